"""What is refused outside of `pullback.numpy`: in whose name, and with a traceback that ends at the user's line."""

import inspect
import pickle
from functools import partial

import jax
import numpy as np
import pytest
from refusals import raises
from wrappers import EAGER_AND_JIT

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_jvp, custom_rules, custom_vjp, errors, lax, tree_util

V = pnp.ones(3)


# ---- operations: each under its name, at the user's line

OPERATIONS = {
    f"{prefix}{name}": getattr(module, name)
    for module, prefix in ((lax, ""), (lax.linalg, "linalg."))
    for name in module.__all__
    if inspect.isfunction(getattr(module, name)) and name != "create_token"  # which takes anything
}

# under the name of the operation that they are made of
MADE_OF_OTHERS = {
    "bitwise_not": "not",
    "empty": "full",
    **dict.fromkeys(
        (
            "conv",
            "conv_dimension_numbers",
            "conv_general_permutations",
            "conv_general_shape_tuple",
            "conv_transpose_shape_tuple",
            "conv_with_general_padding",
        ),
        "conv_general_dilated",
    ),
}

# no axis has the name "text"
OTHER_ERRORS = {
    "conv_shape_tuple": ValueError,
    "padtype_to_pads": ValueError,
    "platform_dependent": NotImplementedError,
    "pcast": ValueError,
    **dict.fromkeys(
        (
            "all_gather",
            "all_to_all",
            "axis_index",
            "axis_size",
            "pbroadcast",
            "pmax",
            "pmean",
            "pmin",
            "ppermute",
            "pshuffle",
            "pvary",
            "psum",
            "psum_scatter",
            "pswapaxes",
        ),
        NameError,
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_refuse_text(name):
    f = OPERATIONS[name]
    given = [p for p in inspect.signature(f).parameters.values() if p.default is p.empty]
    args = ["text" for p in given if p.kind is not p.KEYWORD_ONLY]
    keywords = {p.name: "text" for p in given if p.kind is p.KEYWORD_ONLY}
    with raises(OTHER_ERRORS.get(name, TypeError)) as info:
        f(*args, **keywords)
    assert str(info.value).startswith(f"{MADE_OF_OTHERS.get(name, f.__name__)}: ")


def test_operations_are_at_home_where_they_are_shown():
    for module in (lax, lax.linalg):
        for f in map(module.__dict__.get, module.__all__):
            if inspect.isfunction(f):
                assert pickle.loads(pickle.dumps(f)) is f
    assert lax.sin.__module__ == "pullback.lax"
    assert str(inspect.signature(lax.index_in_dim)).startswith("(operand: 'ArrayLike', index: 'int', axis: 'int' = 0")


def test_errors_of_the_users_computation_keep_their_words():
    def computation(x, y):
        raise ValueError("from the user")

    with raises(ValueError) as info:
        lax.reduce(V, 0.0, computation, (0,))
    assert str(info.value) == "from the user"
    with raises(TypeError, "reduce: ", "'text'"):
        lax.reduce(V, 0.0, lambda x, y: "text", (0,))


# ---- the definition of rules


def f(x):
    return 2.0 * x


def two(x):
    return f(x), None


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (partial(custom_jvp, 3), TypeError, "custom_jvp: expected a function, got 3"),
        (partial(custom_vjp, f, jvp="q"), ValueError, "custom_vjp: jvp must be one of"),
        (partial(custom_jvp, f, nondiff_argnames="typo"), ValueError, "no parameter 'typo'"),
        (
            partial(custom_jvp, f, nondiff_argnames=3),
            TypeError,
            "custom_jvp: nondiff_argnames must be a string or a sequence of strings, got 3",
        ),
        (partial(custom_jvp, f, nondiff_argnums="x"), TypeError, "custom_jvp: nondiff_argnums must be"),
        (partial(custom_jvp(f).defjvp, 3), TypeError, "expected a function as the jvp rule, got 3"),
        (partial(custom_jvp(f).defjvp, two, argnums="x"), TypeError, "argnums must be an int or a sequence of ints"),
        (partial(custom_jvp(f).defjvps, 3), TypeError, "defjvps expects functions, None or ..., got 3 as rule 0"),
        (partial(custom_vjp(f).defvjp, 3, f), TypeError, "expected a function as the fwd rule, got 3"),
        (partial(custom_vjp(f).defvjp_with_logs, f, 3), TypeError, "expected a function as the bwd rule, got 3"),
        (partial(custom_rules(f).defvmap, 3), TypeError, "expected a function as the vmap rule, got 3"),
        (partial(custom_rules(f).deftranspose, 3), TypeError, "expected a function as the transpose, got 3"),
        (
            partial(pb.jit, f, static_argnames=3),
            TypeError,
            "jit: static_argnames must be a string or a sequence of strings",
        ),
        (partial(pb.jit, f, donate_argnames=["x", 3]), TypeError, "jit: donate_argnames must be"),
    ],
)
def test_what_is_no_rule(call, error, part):
    with raises(error, part):
        call()


# ---- rules that do not take what they are called with


def takes_one(x):
    return x


def takes_two(x, y):
    return two(x)


def right_bwd(residuals, ct):
    return (ct,)


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
@pytest.mark.parametrize(
    ("method", "rules", "parts"),
    [
        ("defvjp", [two, takes_one], ["the bwd rule takes_one", "rule(residuals, cotangent)", "takes 1"]),
        ("defvjp", [takes_two, right_bwd], ["the fwd rule takes_two", "rule(*args)", "'y'"]),
        ("defjvp", [takes_one], ["the jvp rule takes_one", "rule(primals, tangents)", "takes 1 positional"]),
        ("defjvps", [takes_one], ["rule 0, takes_one", "set by defjvps", "rule(tangent, primal_out, *primals)"]),
        ("deftranspose", [takes_one], ["the transpose takes_one", "rule(others, cotangent)"]),
        ("defvjp_with_logs", [two, takes_one], ["the bwd rule takes_one", "set by defvjp_with_logs"]),
    ],
)
def test_a_rule_of_the_wrong_arity(method, rules, parts, wrap):
    g = custom_rules(f)
    getattr(g, method)(*rules)
    with raises(errors.RuleError, *parts, __file__, "custom_rules function f", "but: "):
        wrap(pb.grad(g))(1.0)


def test_other_rules_of_the_wrong_arity():
    g = custom_rules(f)
    g.defvmap(takes_one)
    with raises(errors.RuleError, "the vmap rule takes_one", "rule(axis_size, in_batched, *args)"):
        pb.vmap(g)(V)
    h = custom_jvp(lambda name, x: x, nondiff_argnums=0)
    h.defjvp(takes_two)
    with raises(errors.RuleError, "rule(*nondiff, primals, tangents)"):
        pb.grad(lambda x: h("a", x))(1.0)
    with_keywords = custom_jvp(lambda x, *, k: x)
    with_keywords.defjvp(takes_two)
    with raises(errors.RuleError, "keyword-only arguments", "k, but: "):
        pb.grad(lambda x: with_keywords(x, k=1))(1.0)


# rules that call `two` with too many arguments, or too few


def wrong_fwd(x):
    return two(x, x)


def wrong_bwd(residuals, ct):
    return two(ct, ct)


def wrong_jvp(primals, tangents):
    return two()


def wrong_rule_of_an_argument(t, out, x):
    return two()


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
@pytest.mark.parametrize(
    ("method", "rules"),
    [
        ("defvjp", [two, wrong_bwd]),
        ("defvjp", [wrong_fwd, right_bwd]),
        ("defjvp", [wrong_jvp]),
        ("defjvps", [wrong_rule_of_an_argument]),
        ("deftranspose", [wrong_jvp]),
    ],
)
def test_type_errors_inside_of_rules_are_left_alone(method, rules, wrap):
    g = custom_rules(f)
    getattr(g, method)(*rules)
    with raises(TypeError) as info:
        wrap(pb.grad(g))(1.0)
    assert str(info.value).startswith("two() ")


# ---- control flow


def step(c, x):
    return c, x


def loop_of_traced_length(**settings):
    """A compiled loop, whose length is an argument."""
    return pb.jit(lambda n: lax.fori_loop(0, n, step, 0.0, **settings))


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (partial(lax.cond, None, f, f, 1.0), TypeError, "cond: pred: expected an array or a number, got None"),
        (partial(lax.switch, None, [f], 1.0), TypeError, "switch: index: expected an array or a number, got None"),
        (partial(lax.switch, True, [f], 1.0), TypeError, "switch: the index must be a scalar integer"),
        (
            partial(lax.fori_loop, None, 3, step, 0.0),
            TypeError,
            "fori_loop: lower: expected an array or a number, got None",
        ),
        (
            partial(lax.fori_loop, 0, "a", step, 0.0),
            TypeError,
            "fori_loop: upper: expected an array or a number, got 'a'",
        ),
        (partial(lax.fori_loop, 0, 2**40, step, 0.0), OverflowError, "fori_loop: upper: "),
        (
            partial(lax.fori_loop, 0, np.int64(2**32 + 2), step, 0.0),
            OverflowError,
            "fori_loop: upper=4294967298 does not",
        ),
        (partial(lax.fori_loop, -(2**31), 2**31 - 1, step, 0.0), ValueError, "fori_loop: upper - lower must be"),
        (partial(lax.fori_loop, 0, 3, step, 0.0, unroll=-1), ValueError, "fori_loop: unroll must be at least 0"),
        (partial(loop_of_traced_length(unroll=2), 3), ValueError, "fori_loop: unroll=2 needs"),
        (partial(loop_of_traced_length(unroll="a"), 3), TypeError, "fori_loop: unroll must be an"),
        (partial(lax.scan, step, 0.0, V, length=-1), ValueError, "scan: length must be at least 0"),
        (partial(lax.map, f, V, batch_size="a"), TypeError, "map: batch_size must be an integer that is known"),
        (partial(lax.map, f, V, batch_size=1.5), TypeError, "map: batch_size must be an integer that is known"),
        (partial(lax.map, f, V, batch_size=True), TypeError, "map: batch_size must be an integer that is known"),
        (partial(lax.while_loop, f, f, 1.0, max_steps=2**31), ValueError, "while_loop: max_steps must be at least 0"),
    ],
)
def test_control_flow(call, error, part):
    with raises(error, part):
        call()


def count(length, unroll=1):
    return lax.scan(step, 0.0, None, length=length, unroll=unroll)


@pytest.mark.parametrize(
    ("settings", "error", "part"),
    [
        ({"length": -1}, ValueError, "scan: length must be at least 0 and less than 2**31, got -1"),
        ({"length": 2.7}, TypeError, "scan: length must be an integer that is known"),
        ({"length": "3"}, TypeError, "scan: length must be an integer that is known"),
        ({"length": 2**31 + 5}, ValueError, "scan: length must be at least 0 and less than 2**31, got 2147483653"),
        ({"length": 3, "unroll": -3}, ValueError, "scan: unroll must be at least 0"),
        ({"length": 3, "unroll": 2.7}, TypeError, "scan: unroll must be an integer that is known"),
        ({"length": 3, "unroll": "a"}, TypeError, "scan: unroll must be an integer that is known"),
    ],
)
def test_settings_of_scan(settings, error, part):
    with raises(error, part):
        count(**settings)


def test_settings_of_scan_in_compiled_functions():
    with raises(ValueError, "scan: length must be at least 0"):
        pb.jit(lambda: count(-1))()
    with raises(TypeError, "scan: length must be an integer that is known"):
        pb.jit(count)(3)


def counted(lib, unroll):
    return lib.lax.scan(lambda c, _: (c + 1, None), 0.0, None, length=3, unroll=unroll)[0]


def summed(lib, unroll, n=3):
    return lib.lax.fori_loop(0, n, lambda i, x: x + i, 0.0, unroll=unroll)


@pytest.mark.parametrize("lib", [pb, jax], ids=["pullback", "jax"])
def test_bools_and_zero_unroll(lib):
    """True and 0 are all steps, False is one, as JAX has it."""
    for unroll in (True, False, 0):
        assert float(counted(lib, unroll)) == 3.0
        assert float(summed(lib, unroll)) == 3.0
    for unroll in (None, False, 1):
        assert float(lib.jit(partial(summed, lib, unroll))(3)) == 3.0


# ---- numbers of 64 bits that choose, where arrays have 32

WIDE = [np.int64(2**32), np.uint64(2**40), np.array(2**32), np.array(2**63, np.uint64), 2**40, np.float64(1e-300)]


@pytest.mark.parametrize("pred", WIDE)
def test_a_predicate_is_tested_before_it_is_narrowed(pred):
    assert float(lax.cond(pred, lambda: 1.0, lambda: 2.0)) == 1.0
    assert float(lax.cond(pred * 0, lambda: 1.0, lambda: 2.0)) == 2.0


@pytest.mark.parametrize("index", [i for i in WIDE if not isinstance(i, float)])
def test_an_index_is_clamped_before_it_is_narrowed(index):
    branches = [lambda: 0.0, lambda: 1.0, lambda: 2.0]
    assert float(lax.switch(index, branches)) == 2.0
    assert float(lax.switch(-int(index), branches)) == 0.0
    assert float(lax.switch(index * 0 + 1, branches)) == 1.0


def test_indices_of_other_widths():
    branches = [partial(float, i) for i in range(200)]
    for index, chosen in (
        (np.int8(-1), 0),
        (np.uint8(150), 150),
        (pnp.asarray(np.uint8(255)), 199),
        (pnp.asarray(np.uint32(2**32 - 1)), 199),
    ):
        assert float(lax.switch(index, branches)) == chosen

    @pb.jit
    def chosen_of_four(index):
        return lax.switch(index, branches[:4])

    with pb.enable_x64(True):
        for index, chosen in ((2**32, 199), (-(2**32), 0), (3, 3)):
            assert float(chosen_of_four(np.int64(index))) == min(chosen, 3)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("dtype", ["int64", "int32", "bool", "float32", "float64"])
def test_the_mean_along_an_axis_has_the_dtype_of_jax(dtype, wide):
    def mean(lib):
        return lib.vmap(lambda x: lib.lax.pmean(x, "i"), axis_name="i")(np.arange(3).astype(dtype))

    with pb.enable_x64(wide), jax.enable_x64(wide):
        ours, theirs = mean(pb), mean(jax)
    assert (ours.dtype, ours.tolist()) == (theirs.dtype, theirs.tolist())


# ---- trees, devices, programs, checks

endless: list = [1.0]
endless.append(endless)


def sum_of_text(x):
    return lax.psum("a", "i")


def compiled(x):
    return pb.jit(f).lower(1.0).compile()(x)


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (
            partial(pb.block_until_ready, {1: 2.0, "a": 3.0}),
            ValueError,
            "the keys of the dict at tree cannot be sorted",
        ),
        (
            partial(pb.device_put, {"a": ["s"]}),
            TypeError,
            "device_put: x at ['a'][0] must be an array or a number, got 's'",
        ),
        (partial(pb.device_put, [2**40]), OverflowError, "device_put: x at [0]: Python integer"),
        (partial(compiled, "a"), TypeError, "compiled f: (args, kwargs) at [0][0] must be an array"),
        (partial(pb.vmap(sum_of_text, axis_name="i"), V), TypeError, "psum: expected an array or a number"),
        (partial(pb.check_rules, f, 1.0, order=None), TypeError, "check_rules: order must be an integer, got None"),
        (partial(pb.check_rules, f, 1.0, modes=None), ValueError, "check_rules: modes must hold 'jvp', 'vjp' or both"),
        (partial(pb.jit(f), endless), RecursionError, "the tree contains itself, or is nested too deep"),
        (partial(pb.grad(f), endless), RecursionError, "the tree contains itself, or is nested too deep"),
    ],
)
def test_names_and_paths(call, error, part):
    with raises(error, part):
        call()


@pytest.mark.parametrize(
    ("call", "error", "part"),
    [
        (partial(tree_util.tree_leaves, [1], is_leaf=3), TypeError, "is_leaf must be a function or None, got 3"),
        (
            partial(tree_util.tree_map_with_path, f, [1], is_leaf=3),
            TypeError,
            "is_leaf must be a function or None, got 3",
        ),
        (
            partial(tree_util.tree_reduce, 3, (1, 2)),
            TypeError,
            "tree_reduce: expected a function as the first argument",
        ),
        (partial(tree_util.tree_flatten, endless), RecursionError, "the tree contains itself, or is nested too deep"),
        (partial(tree_util.tree_leaves_with_path, endless), RecursionError, "the tree contains itself"),
    ],
)
def test_trees(call, error, part):
    with pytest.raises(error) as info:
        call()
    assert part in str(info.value)
