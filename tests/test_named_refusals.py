"""What is refused outside of `pullback.numpy`: in whose name, and with a traceback that ends at the user's line."""

import inspect
import pickle

import jax
import numpy as np
import pytest
from test_errors import PACKAGE, chain, frames

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_jvp, custom_rules, custom_vjp, errors, lax, tree_util

V = pnp.ones(3)


def says(call, kind, *parts):
    """The message of a call's error, which holds the parts, after checking that the traceback shows none of ours."""
    with pytest.raises(kind) as info:
        call()
    assert type(info.value) is kind
    assert [name for error in chain(info.value) for name in frames(error) if name.startswith(PACKAGE)] == []
    assert frames(info.value)[-1] == __file__
    for part in parts:
        assert part in str(info.value), str(info.value)
    return str(info.value)


# ---- operations: each under its name, at the user's line

OPERATIONS = {f"{prefix}{name}": getattr(module, name) for module, prefix in ((lax, ""), (lax.linalg, "linalg."))
              for name in module.__all__ if inspect.isfunction(getattr(module, name))}

# under the name of the operation that they are made of
MADE_OF_OTHERS = {"bitwise_not": "not", **dict.fromkeys(
    ("conv", "conv_dimension_numbers", "conv_with_general_padding"), "conv_general_dilated")}

# no axis has the name "text"
OTHER_ERRORS = {"padtype_to_pads": ValueError, **dict.fromkeys(
    ("all_gather", "axis_index", "axis_size", "pmax", "pmean", "pmin", "ppermute", "psum"), NameError)}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_refuse_text(name):
    f = OPERATIONS[name]
    given = [p for p in inspect.signature(f).parameters.values() if p.default is p.empty]
    args = ["text" for p in given if p.kind is not p.KEYWORD_ONLY]
    keywords = {p.name: "text" for p in given if p.kind is p.KEYWORD_ONLY}
    text = says(lambda: f(*args, **keywords), OTHER_ERRORS.get(name, TypeError))
    assert text.startswith(f"{MADE_OF_OTHERS.get(name, f.__name__)}: ")


def test_operations_are_at_home_where_they_are_shown():
    for module in (lax, lax.linalg):
        for f in map(module.__dict__.get, module.__all__):
            if inspect.isfunction(f):
                assert pickle.loads(pickle.dumps(f)) is f
    assert lax.sin.__module__ == "pullback.lax"
    assert str(inspect.signature(lax.index_in_dim)).startswith("(operand: 'Any', index: 'int', axis: 'int' = 0")


def test_errors_of_the_users_computation_keep_their_words():
    def computation(x, y):
        raise ValueError("from the user")

    assert says(lambda: lax.reduce(V, 0., computation, (0,)), ValueError) == "from the user"
    says(lambda: lax.reduce(V, 0., lambda x, y: "text", (0,)), TypeError, "reduce: ", "'text'")


# ---- the definition of rules


def f(x):
    return 2. * x


def two(x):
    return f(x), None


@pytest.mark.parametrize(("call", "error", "part"), [
    (lambda: custom_jvp(3), TypeError, "custom_jvp: expected a function, got 3"),
    (lambda: custom_vjp(f, jvp="q"), ValueError, "custom_vjp: jvp must be one of"),
    (lambda: custom_jvp(f, nondiff_argnames="typo"), ValueError, "no parameter 'typo'"),
    (lambda: custom_jvp(f, nondiff_argnames=3), TypeError,
     "custom_jvp: nondiff_argnames must be a string or a sequence of strings, got 3"),
    (lambda: custom_jvp(f, nondiff_argnums="x"), TypeError, "custom_jvp: nondiff_argnums must be"),
    (lambda: custom_jvp(f).defjvp(3), TypeError, "expected a function as the jvp rule, got 3"),
    (lambda: custom_jvp(f).defjvp(two, argnums="x"), TypeError, "argnums must be an int or a sequence of ints"),
    (lambda: custom_jvp(f).defjvps(3), TypeError, "defjvps expects functions, None or ..., got 3 as rule 0"),
    (lambda: custom_vjp(f).defvjp(3, f), TypeError, "expected a function as the fwd rule, got 3"),
    (lambda: custom_vjp(f).defvjp_with_logs(f, 3), TypeError, "expected a function as the bwd rule, got 3"),
    (lambda: custom_rules(f).defvmap(3), TypeError, "expected a function as the vmap rule, got 3"),
    (lambda: custom_rules(f).deftranspose(3), TypeError, "expected a function as the transpose, got 3"),
    (lambda: pb.jit(f, static_argnames=3), TypeError, "jit: static_argnames must be a string or a sequence of strings"),
    (lambda: pb.jit(f, donate_argnames=["x", 3]), TypeError, "jit: donate_argnames must be"),
])
def test_what_is_no_rule(call, error, part):
    says(call, error, part)


# ---- rules that do not take what they are called with


def gradient(define, staged=False):
    """The call of the gradient of a function with rules."""
    g = custom_rules(f)
    define(g)
    return lambda: (pb.jit if staged else lambda h: h)(pb.grad(g))(1.)


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize(("define", "parts"), [
    (lambda g: g.defvjp(two, lambda r: r), ["the bwd rule <lambda>", "rule(residuals, cotangent)", "takes 1"]),
    (lambda g: g.defvjp(lambda x, y: two(x), lambda r, ct: (ct,)), ["the fwd rule <lambda>", "rule(*args)", "'y'"]),
    (lambda g: g.defjvp(lambda p: p), ["the jvp rule <lambda>", "rule(primals, tangents)", "takes 1 positional"]),
    (lambda g: g.defjvps(lambda t: t), ["rule 0, <lambda>", "set by defjvps", "rule(tangent, primal_out, *primals)"]),
    (lambda g: g.deftranspose(lambda ct: ct), ["the transpose <lambda>", "rule(others, cotangent)"]),
    (lambda g: g.defvjp_with_logs(two, lambda r: r), ["the bwd rule <lambda>", "set by defvjp_with_logs"])])
def test_a_rule_of_the_wrong_arity(define, parts, staged):
    says(gradient(define, staged), errors.RuleError, *parts, __file__, "custom_rules function f", "but: ")


def test_other_rules_of_the_wrong_arity():
    g = custom_rules(f)
    g.defvmap(lambda args: args)
    says(lambda: pb.vmap(g)(V), errors.RuleError, "the vmap rule <lambda>", "rule(axis_size, in_batched, *args)")
    h = custom_jvp(lambda name, x: x, nondiff_argnums=0)
    h.defjvp(lambda p, t: (p, t))
    says(lambda: pb.grad(lambda x: h("a", x))(1.), errors.RuleError, "rule(*nondiff, primals, tangents)")
    with_keywords = custom_jvp(lambda x, *, k: x)
    with_keywords.defjvp(lambda p, t: (p, t))
    says(lambda: pb.grad(lambda x: with_keywords(x, k=1))(1.), errors.RuleError, "keyword-only arguments", "k, but: ")


@pytest.mark.parametrize("staged", [False, True])
@pytest.mark.parametrize("define", [
    lambda g: g.defvjp(two, lambda r, ct: two(ct, ct)), lambda g: g.defvjp(lambda x: two(x, x), lambda r, ct: (ct,)),
    lambda g: g.defjvp(lambda p, t: two()), lambda g: g.defjvps(lambda t, out, x: two()),
    lambda g: g.deftranspose(lambda others, ct: two())])
def test_type_errors_inside_of_rules_are_left_alone(define, staged):
    assert says(gradient(define, staged), TypeError).startswith("two() ")


# ---- control flow


def step(c, x):
    return c, x


def count(**settings):
    return lambda: lax.scan(step, 0., None, **{"length": 3, **settings})


@pytest.mark.parametrize(("call", "error", "part"), [
    (lambda: lax.cond(None, f, f, 1.), TypeError, "cond: pred: expected an array or a number, got None"),
    (lambda: lax.switch(None, [f], 1.), TypeError, "switch: index: expected an array or a number, got None"),
    (lambda: lax.switch(True, [f], 1.), TypeError, "switch: the index must be a scalar integer"),
    (lambda: lax.fori_loop(None, 3, step, 0.), TypeError, "fori_loop: lower: expected an array or a number, got None"),
    (lambda: lax.fori_loop(0, "a", step, 0.), TypeError, "fori_loop: upper: expected an array or a number, got 'a'"),
    (lambda: lax.fori_loop(0, 2 ** 40, step, 0.), OverflowError, "fori_loop: upper: "),
    (lambda: lax.fori_loop(0, np.int64(2 ** 32 + 2), step, 0.), OverflowError, "fori_loop: upper=4294967298 does not"),
    (lambda: lax.fori_loop(-2 ** 31, 2 ** 31 - 1, step, 0.), ValueError, "fori_loop: upper - lower must be"),
    (lambda: lax.fori_loop(0, 3, step, 0., unroll=-1), ValueError, "fori_loop: unroll must be at least 0"),
    (lambda: pb.jit(lambda n: lax.fori_loop(0, n, step, 0., unroll=2))(3), ValueError, "fori_loop: unroll=2 needs"),
    (lambda: pb.jit(lambda n: lax.fori_loop(0, n, step, 0., unroll="a"))(3), TypeError, "fori_loop: unroll must be an"),
    (count(length=-1), ValueError, "scan: length must be at least 0 and less than 2**31, got -1"),
    (lambda: pb.jit(count(length=-1))(), ValueError, "scan: length must be at least 0"),
    (lambda: lax.scan(step, 0., V, length=-1), ValueError, "scan: length must be at least 0"),
    (count(length=2.7), TypeError, "scan: length must be an integer that is known"),
    (count(length="3"), TypeError, "scan: length must be an integer that is known"),
    (count(length=2 ** 31 + 5), ValueError, "scan: length must be at least 0 and less than 2**31, got 2147483653"),
    (lambda: pb.jit(lambda n: count(length=n)())(3), TypeError, "scan: length must be an integer that is known"),
    (count(unroll=-3), ValueError, "scan: unroll must be at least 0"),
    (count(unroll=2.7), TypeError, "scan: unroll must be an integer that is known"),
    (count(unroll="a"), TypeError, "scan: unroll must be an integer that is known"),
    (lambda: lax.map(f, V, batch_size="a"), TypeError, "map: batch_size must be an integer that is known"),
    (lambda: lax.map(f, V, batch_size=1.5), TypeError, "map: batch_size must be an integer that is known"),
    (lambda: lax.map(f, V, batch_size=True), TypeError, "map: batch_size must be an integer that is known"),
    (lambda: lax.while_loop(f, f, 1., max_steps=2 ** 31), ValueError, "while_loop: max_steps must be at least 0"),
])
def test_control_flow(call, error, part):
    says(call, error, part)


def test_bools_and_zero_unroll():
    """True and 0 are all steps, False is one, as JAX has it."""
    for unroll in (True, False, 0):
        for lib in (pb, jax):
            assert float(lib.lax.scan(lambda c, _: (c + 1, None), 0., None, length=3, unroll=unroll)[0]) == 3.
            assert float(lib.lax.fori_loop(0, 3, lambda i, x: x + i, 0., unroll=unroll)) == 3.
    for unroll in (None, False, 1):
        for lib in (pb, jax):
            looped = lib.jit(lambda n, lib=lib, u=unroll: lib.lax.fori_loop(0, n, lambda i, x: x + i, 0., unroll=u))
            assert float(looped(3)) == 3.


# ---- numbers of 64 bits that choose, where arrays have 32

WIDE = [np.int64(2 ** 32), np.uint64(2 ** 40), np.array(2 ** 32), np.array(2 ** 63, np.uint64), 2 ** 40,
        np.float64(1e-300)]


@pytest.mark.parametrize("pred", WIDE)
def test_a_predicate_is_tested_before_it_is_narrowed(pred):
    assert float(lax.cond(pred, lambda: 1., lambda: 2.)) == 1.
    assert float(lax.cond(pred * 0, lambda: 1., lambda: 2.)) == 2.


@pytest.mark.parametrize("index", [i for i in WIDE if not isinstance(i, float)])
def test_an_index_is_clamped_before_it_is_narrowed(index):
    branches = [lambda: 0., lambda: 1., lambda: 2.]
    assert float(lax.switch(index, branches)) == 2.
    assert float(lax.switch(-int(index), branches)) == 0.
    assert float(lax.switch(index * 0 + 1, branches)) == 1.


def test_indices_of_other_widths():
    branches = [lambda i=i: float(i) for i in range(200)]
    for index, chosen in ((np.int8(-1), 0), (np.uint8(150), 150), (pnp.asarray(np.uint8(255)), 199),
                          (pnp.asarray(np.uint32(2 ** 32 - 1)), 199)):
        assert float(lax.switch(index, branches)) == chosen
    with pb.enable_x64(True):
        for index, chosen in ((2 ** 32, 199), (-2 ** 32, 0), (3, 3)):
            assert float(pb.jit(lambda i: lax.switch(i, branches[:4]))(np.int64(index))) == min(chosen, 3)


def test_the_mean_along_an_axis_has_the_dtype_of_jax():
    for dtype in ("int64", "int32", "bool", "float32", "float64"):
        xs = np.arange(3).astype(dtype)
        for wide in (False, True):
            with pb.enable_x64(wide), jax.enable_x64(wide):
                ours, theirs = (lib.vmap(lambda x, lib=lib: lib.lax.pmean(x, "i"), axis_name="i")(xs)
                                for lib in (pb, jax))
            assert (ours.dtype, ours.tolist()) == (theirs.dtype, theirs.tolist())


# ---- trees, devices, programs, checks

endless: list = [1.]
endless.append(endless)


@pytest.mark.parametrize(("call", "error", "part"), [
    (lambda: pb.block_until_ready({1: 2., "a": 3.}), ValueError, "the keys of the dict at tree cannot be sorted"),
    (lambda: pb.device_put({"a": ["s"]}), TypeError, "device_put: x at ['a'][0] must be an array or a number, got 's'"),
    (lambda: pb.device_put([2 ** 40]), OverflowError, "device_put: x at [0]: Python integer"),
    (lambda: pb.jit(f).lower(1.).compile()("a"), TypeError, "compiled f: (args, kwargs) at [0][0] must be an array"),
    (lambda: pb.vmap(lambda x: lax.psum("a", "i"), axis_name="i")(V), TypeError, "psum: expected an array or a number"),
    (lambda: pb.check_rules(f, 1., order=None), TypeError, "check_rules: order must be an integer, got None"),
    (lambda: pb.check_rules(f, 1., modes=None), ValueError, "check_rules: modes must hold 'jvp', 'vjp' or both"),
    (lambda: pb.jit(f)(endless), RecursionError, "the tree contains itself, or is nested too deep"),
    (lambda: pb.grad(f)(endless), RecursionError, "the tree contains itself, or is nested too deep"),
])
def test_names_and_paths(call, error, part):
    says(call, error, part)


@pytest.mark.parametrize(("call", "error", "part"), [
    (lambda: tree_util.tree_leaves([1], is_leaf=3), TypeError, "is_leaf must be a function or None, got 3"),
    (lambda: tree_util.tree_map_with_path(f, [1], is_leaf=3), TypeError, "is_leaf must be a function or None, got 3"),
    (lambda: tree_util.tree_reduce(3, (1, 2)), TypeError, "tree_reduce: expected a function as the first argument"),
    (lambda: tree_util.tree_flatten(endless), RecursionError, "the tree contains itself, or is nested too deep"),
    (lambda: tree_util.tree_leaves_with_path(endless), RecursionError, "the tree contains itself"),
])
def test_trees(call, error, part):
    with pytest.raises(error) as info:
        call()
    assert part in str(info.value)
