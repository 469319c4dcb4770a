"""checkpoint: values and derivatives as without it, what is computed again, what is kept."""

import functools

import jax
import jax.ad_checkpoint
import numpy as np
import pytest
from agreement import all_close
from transformations import JAX, PB, agree

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.ad_checkpoint import checkpoint_name, print_saved_residuals, saved_residuals
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)
W = np.random.default_rng(0).standard_normal((4, 3, 3)).astype(f32) / 2
POLICIES = ("everything_saveable", "nothing_saveable", "dots_saveable", "checkpoint_dots",
            "dots_with_no_batch_dims_saveable", "checkpoint_dots_with_no_batch_dims")


def name_of(lib):
    return checkpoint_name if lib.t is pb else jax.ad_checkpoint.checkpoint_name


def policies_of(lib):
    return lib.t.checkpoint_policies


def layer(lib, x, w):
    h = name_of(lib)(lib.np.dot(w, x), "product")
    return name_of(lib)(lib.lax.sin(h), "result") * x


# --- values and derivatives ---


@pytest.mark.parametrize("policy", [None, *POLICIES])
def test_every_transformation(policy):
    def make(lib):
        chosen = getattr(policies_of(lib), policy) if policy else None
        block = lib.t.checkpoint(lambda x, w: layer(lib, layer(lib, x, w), w), policy=chosen)
        return lambda x, w: block(block(x, w), w)

    agree(make, X, W[0], compiled=policy is None)


def test_prevent_cse_off_and_nesting():
    def make(lib):
        inner = lib.t.checkpoint(lambda x, w: layer(lib, x, w), prevent_cse=False)
        return lib.t.checkpoint(lambda x, w: inner(lib.lax.sin(inner(x, w)), w))

    agree(make, X, W[0], compiled=True)


def test_body_of_a_scan_and_scan_inside():
    def make(lib):
        def fun(x, ws):
            step = lib.t.checkpoint(lambda c, w: (layer(lib, c, w), c.sum()))
            first, sums = lib.lax.scan(step, x, ws)
            second = lib.t.checkpoint(lambda c: lib.lax.scan(lambda c, w: (layer(lib, c, w), None), c, ws)[0])(first)
            return second, sums

        return fun

    agree(make, X, W, compiled=True)


def test_control_flow_and_jit_inside():
    def make(lib):
        @lib.t.checkpoint
        def fun(x, a):
            y = lib.t.jit(lib.lax.sin)(x * a)
            y = lib.lax.cond(y.sum() > 0, lambda y: y * a, lambda y: lib.lax.cos(y), y)
            return lib.lax.fori_loop(0, 3, lambda i, c: lib.lax.sin(c) * a, y)

        return fun

    agree(make, X, f32(1.2))


def test_closed_over_values_are_differentiated():
    def make(lib):
        def fun(x, a):
            scale = a * a
            return lib.t.checkpoint(lambda y: lib.lax.sin(scale * y))(x)

        return fun

    agree(make, X, f32(1.2))


def test_pytrees_keywords_and_mixed_dtypes():
    def make(lib):
        @lib.t.checkpoint
        def fun(d, *, k, n=None):
            return {"y": d["x"] * k, "n": n, "k": k + 1, "e": (), "x": d["x"]}

        return lambda x: fun({"x": lib.lax.sin(x), "n": None}, k=np.int32(3))

    agree(make, X)


def test_static_arguments():
    @pb.checkpoint(static_argnums=(1, -1))
    def power(x, n, flag):
        return pnp.sin(x) ** n if flag else x

    assert float(pb.grad(power)(0.5, 2, True)) == pytest.approx(np.sin(1.0), rel=1e-6)
    assert float(pb.jit(pb.grad(lambda x: power(x, 2, False)))(0.5)) == 1.0


def test_custom_rules_inside_stay_alive():
    calls = []

    @pb.custom_vjp
    def f(x):
        return x * x

    f.defvjp(lambda x: (x * x, x), lambda x, ct: (calls.append(1) or 10.0 * x * ct,))

    @pb.custom_jvp
    def g(x):
        return x * x

    g.defjvp(lambda primals, tangents: (g(*primals), 100.0 * primals[0] * tangents[0]))
    for transform in (lambda h: h, pb.jit):
        assert float(transform(pb.grad(pb.checkpoint(lambda x: pnp.sin(f(x)))))(0.0)) == 0.0
        assert float(transform(pb.grad(pb.checkpoint(f)))(3.0)) == 30.0
        assert float(transform(pb.grad(pb.checkpoint(g)))(3.0)) == 300.0
        assert float(transform(pb.grad(pb.grad(pb.checkpoint(g))))(3.0)) == 100.0
        np.testing.assert_array_equal(transform(pb.vmap(pb.grad(pb.checkpoint(f))))(np.arange(3, dtype=f32)),
                                      [0, 10, 20])
    assert calls


def test_remat_is_checkpoint():
    assert pb.remat is pb.checkpoint is pb.ad_checkpoint.checkpoint


# --- what is computed again ---


def chain(lib, policy=None, checkpointed=True):
    """Three checkpointed layers of two products each."""
    def block(x, w):
        x = name_of(lib)(lib.np.tanh(lib.np.dot(x, w)), "first")
        return lib.np.tanh(name_of(lib)(lib.np.dot(x, w), "second"))

    block = lib.t.checkpoint(block, policy=policy) if checkpointed else block

    def loss(x, ws):
        for w in ws:
            x = block(x, w)
        return x.sum()

    return loss


def equations(jaxpr):
    """All equations, here and below."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def count(lib, fun, *args, what="dot_general"):
    closed = lib.t.make_jaxpr(fun)(*args)
    if lib.t is pb:
        check_jaxpr(closed)
    return sum(eqn.primitive.name == what for eqn in equations(closed.jaxpr))


def products(lib, policy=None, checkpointed=True):
    return count(lib, lib.t.grad(chain(lib, policy, checkpointed), (0, 1)), np.ones((2, 3), f32), list(W[:3]))


def test_number_of_products_for_each_policy():
    assert products(PB, checkpointed=False) == 18
    # the last product of a block is not needed again, but is what its tanh was computed from
    assert products(PB) == 24
    for policy in POLICIES:
        assert products(PB, getattr(pb.checkpoint_policies, policy)) == products(
            JAX, getattr(jax.checkpoint_policies, policy)), policy


@pytest.mark.parametrize("make", [
    lambda p: p.save_only_these_names("first"), lambda p: p.save_only_these_names("second"),
    lambda p: p.save_only_these_names("first", "second"), lambda p: p.save_any_names_but_these("first"),
    lambda p: p.save_any_names_but_these("first", "second"), lambda p: p.save_anything_except_these_names("second"),
    lambda p: p.save_from_both_policies(p.nothing_saveable, p.dots_saveable),
    lambda p: p.save_from_both_policies(p.save_only_these_names("first"), p.save_only_these_names("second"))])
def test_names_as_in_jax(make):
    assert products(PB, make(pb.checkpoint_policies)) <= products(JAX, make(jax.checkpoint_policies))
    x, ws = np.ones((2, 3), f32), list(W[:3])
    all_close(pb.grad(chain(PB, make(pb.checkpoint_policies)), (0, 1))(x, ws),
              jax.grad(chain(JAX, checkpointed=False), (0, 1))(x, ws))


def test_a_saved_name_saves_the_value_it_was_given_to():
    # tanh's derivative is made of its result, which the name was given to afterwards
    policy = pb.checkpoint_policies.save_only_these_names("y")
    f = pb.checkpoint(lambda x: checkpoint_name(pnp.tanh(x), "y"), policy=policy)
    assert count(PB, pb.grad(f), 1.0, what="tanh") == 1


def test_a_policy_looks_into_jit():
    f = pb.checkpoint(pb.jit(lambda x, w: pnp.sin(x @ w)), policy=pb.checkpoint_policies.dots_saveable)
    assert count(PB, pb.grad(lambda x, w: f(x, w).sum()), np.ones((2, 3), f32), W[0]) == 2


def looped(lib, policy, reverse=False):
    """A checkpointed loop whose body has two products, and a branch with one, with named values."""
    name = name_of(lib)

    def body(c, w):
        first = name(lib.np.tanh(lib.np.dot(c, w)), "first")
        second = lib.t.jit(lambda y: name(lib.np.sin(lib.np.dot(y, w)), "second"))(first)
        third = lib.lax.cond(second.sum() > 0.1, lambda y: name(lib.np.tanh(lib.np.dot(y, w)), "third"),
                             lambda y: lib.np.cos(y), name(second * c, "product"))
        return name(third + c, "carry"), first.sum()

    @functools.partial(lib.t.checkpoint, policy=policy)
    def fun(x, ws):
        last, sums = lib.lax.scan(body, x, ws, reverse=reverse)
        return lib.np.sin(last) * sums.sum()

    return lambda x, ws: fun(x, ws).sum()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("make", [
    *[lambda p, n=name: getattr(p, n) for name in POLICIES],
    *[lambda p, n=names: p.save_only_these_names(*n) for names in (
        ("first",), ("second",), ("third",), ("carry",), ("product", "third"), ("first", "second", "third", "carry"))],
    lambda p: p.save_any_names_but_these("first"), lambda p: p.save_anything_except_these_names("first", "carry")])
def test_a_policy_looks_into_loops_and_branches(make, reverse):
    """As in JAX, which runs as many products; and the derivatives are those without a policy."""
    policy = make(pb.checkpoint_policies)
    fun = looped(PB, policy, reverse)
    x, ws = np.ones((2, 3), f32), np.stack(W[:3])
    n = count(PB, pb.grad(fun, (0, 1)), x, ws)
    assert n <= count(JAX, jax.grad(looped(JAX, make(jax.checkpoint_policies), reverse), (0, 1)), x, ws)
    expected = jax.grad(looped(JAX, None, reverse), (0, 1))(x, ws)
    for grads in (pb.grad(fun, (0, 1))(x, ws), pb.jit(pb.grad(fun, (0, 1)))(x, ws)):
        for got, want in zip(grads, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6)
    direction = np.cos(np.arange(6, dtype=f32)).reshape(2, 3)
    got = pb.jvp(lambda x: pb.grad(fun)(x, ws), (x,), (direction,))[1]
    want = jax.jvp(lambda x: jax.grad(looped(JAX, None, reverse))(x, ws), (x,), (direction,))[1]
    np.testing.assert_allclose(got, want, rtol=5e-5, atol=1e-5)


def stacked_twice(x):
    def outer(c, _):
        def body(c, _):
            y = pnp.sin(c)
            return y * y, (y, y)
        c, (a, b) = lax.scan(body, c, None, length=2)
        return c * a.sum(0) * b.sum(0), None
    return lax.scan(outer, x, None, length=3)[0].sum()


def stacked_once(x):
    def body(c, _):
        y = pnp.sin(c)
        return y * y, y
    c, ys = lax.scan(body, x, None, length=4)
    return (ys * ys).sum() + c.sum()


def chosen(x):
    y, z = lax.cond(x.sum() > 0, lambda x: (pnp.sin(x) * pnp.sin(x), pnp.sin(x)), lambda x: (x, x * x), x)
    return (y * z * z).sum()


def sines(primitive, *_, **__):
    return primitive.name == "sin"


@pytest.mark.parametrize("fun", [stacked_twice, stacked_once, chosen])
def test_what_is_a_result_and_a_residual(fun):
    for policy in (sines, pb.checkpoint_policies.everything_saveable):
        checkpointed = pb.checkpoint(fun, policy=policy)
        check_jaxpr(pb.make_jaxpr(pb.grad(checkpointed))(X))
        for grad in (pb.grad(checkpointed), pb.jit(pb.grad(checkpointed))):
            np.testing.assert_allclose(grad(X), pb.grad(fun)(X), rtol=1e-5)


def test_what_is_a_result_and_a_residual_is_stored_once():
    stacks = [r for r in saved_residuals(pb.checkpoint(stacked_once, policy=sines), X) if r.aval.ndim == 2]
    assert len(stacks) == 1, stacks
    plain = [r for r in saved_residuals(stacked_once, X) if "output of sin" in str(r)]
    assert len(plain) == 1, plain


def test_a_policy_is_asked_once_about_an_operation_however_deep():
    asked = []

    def policy(primitive, *_, **__):
        asked.append(primitive)
        return primitive.name == "tanh"

    def nested(depth, c):
        if depth == 0:
            return pnp.sin(c[1]) * c[2], pnp.tanh(c[2]), c[0] * 1.
        return lax.scan(lambda c, _: (nested(depth - 1, c), None), c, None, length=2)[0]

    counts = []
    for depth in (1, 5):
        asked.clear()
        pb.make_jaxpr(pb.grad(pb.checkpoint(lambda x, d=depth: nested(d, (x, x, x))[0].sum(), policy=policy)))(X)
        counts.append(len(asked))
    assert counts[1] <= counts[0] + 40


def test_policies_that_offload_save():
    """There is one memory; the names and the number of products are JAX's."""
    def policy(p):
        return p.save_and_offload_only_these_names(
            names_which_can_be_saved=["first"], names_which_can_be_offloaded=["second"], offload_src="device",
            offload_dst="pinned_host")

    assert products(PB, policy(pb.checkpoint_policies)) == products(
        PB, pb.checkpoint_policies.save_only_these_names("first", "second"))
    assert pb.checkpoint_policies.offload_dot_with_no_batch_dims(
        "device", "pinned_host") is pb.checkpoint_policies.dots_with_no_batch_dims_saveable
    given = {"names_which_can_be_saved": ["a"], "names_which_can_be_offloaded": ["b"], "offload_src": "device",
             "offload_dst": "pinned_host"}
    for wrong, error, message in (
            ({"offload_dst": "disk"}, ValueError, "offload_dst must be one of"),
            ({"names_which_can_be_saved": "a"}, TypeError, "expected a sequence of names"),
            ({"names_which_can_be_saved": [1]}, TypeError, "a name must be a string"),
            ({"names_which_can_be_offloaded": ["a"]}, ValueError, "'a' is among the names to save and those to")):
        with pytest.raises(error, match=message):
            pb.checkpoint_policies.save_and_offload_only_these_names(**{**given, **wrong})


def test_what_is_saved_in_a_loop_is_stacked_and_not_computed_again():
    x, ws = np.ones((2, 3), f32), np.stack(W[:3])
    fewer = [count(PB, pb.grad(looped(PB, policy)), x, ws) for policy in (
        None, pb.checkpoint_policies.save_only_these_names("first"), pb.checkpoint_policies.dots_saveable)]
    assert fewer[0] == fewer[1] + 1 == fewer[2] + 3
    kept = [str(r) for r in pb.ad_checkpoint.saved_residuals(
        looped(PB, pb.checkpoint_policies.save_only_these_names("second")), x, ws)]
    assert sum(r.startswith("f32[3,2,3]") for r in kept) == 1, kept


def test_a_policy_of_ones_own_sees_primitives_types_and_parameters():
    seen = []

    def policy(primitive, *types, **params):
        seen.append((primitive.name, [t.str_short() for t in types], sorted(params)))
        return primitive.name == "exp"

    f = pb.checkpoint(lambda x: pnp.sin(pnp.exp(pnp.sin(x))), policy=policy)
    assert count(PB, pb.grad(f), 1.0, what="exp") == 1
    assert ("exp", ["f32[]"], []) in seen


def test_work_is_done_once_more_and_not_twice():
    f = pb.checkpoint(lambda x: pnp.sin(pnp.sin(pnp.sin(x))))
    # the last sine is not needed in the derivative
    assert count(PB, pb.grad(f), 1.0, what="sin") == 3 + 2


def test_the_compiler_does_not_merge_the_second_run_with_the_first():
    x, ws = np.ones((256, 256), f32), [np.full((256, 256), 0.01, f32)] * 64

    def block(x, ws):
        for w in ws:
            x = pnp.tanh(x @ w)
        return x

    def temp(wrap):
        def loss(x, ws):
            for i in range(0, 64, 8):
                x = wrap(block)(x, ws[i:i + 8])
            return x.sum()

        return pb.jit(pb.grad(loss)).lower(x, ws).compile().memory_analysis().temp_size_in_bytes

    plain = temp(lambda f: f)
    assert plain >= 64 * x.nbytes
    # eight inputs of blocks, and one block at work
    assert temp(pb.checkpoint) <= 18 * x.nbytes
    assert temp(pb.checkpoint(prevent_cse=False)) == plain


# --- what is kept ---


def kept(fun, *args):
    return sum(r.aval.size for r in saved_residuals(fun, *args))


def test_only_inputs_are_kept():
    x = np.ones((2, 3), f32)

    def fun(x, w):
        return pnp.sin(pnp.sin(pnp.sin(x @ w)))

    assert [str(r) for r in saved_residuals(pb.checkpoint(fun), x, W[0])] == [
        "f32[2,3] from the argument 'x'", "f32[3,3] from the argument 'w'"]
    assert kept(fun, x, W[0]) == 6 + 9 + 3 * 6


def test_an_eager_tape_holds_only_what_is_kept():
    x = pnp.ones((2, 3))

    def fun(x):
        for _ in range(10):
            x = pnp.sin(x)
        return x

    def held(f):
        return sum(leaf.size for leaf in pb.tree.leaves(pb.vjp(f, x)[1]))

    assert held(pb.checkpoint(fun)) == x.size
    assert held(fun) == 10 * x.size


def test_inputs_that_the_derivative_does_not_need_are_not_kept():
    f = pb.checkpoint(lambda x, y: pnp.sin(x) + 2.0 * y)
    assert [str(r) for r in saved_residuals(f, 1.0, 2.0)] == ["f32[] from the argument 'x'"]


def test_print_saved_residuals_names_what_is_saved_and_its_line(capsys):
    def fun(x, w):
        h = checkpoint_name(pnp.sin(x @ w), "hidden")
        return pnp.sin(h)

    line = fun.__code__.co_firstlineno + 1
    policy = pb.checkpoint_policies.save_only_these_names("hidden")
    print_saved_residuals(pb.checkpoint(fun, policy=policy), np.ones((2, 3), f32), W[0])
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["f32[2,3] from the argument 'x'", "f32[3,3] from the argument 'w'"]
    assert printed[2].startswith("f32[2,3] named 'hidden' from ")
    assert printed[2].endswith(f"test_checkpoint.py:{line} (fun)")
    print_saved_residuals(lambda x: pnp.sin(x), 1.0)
    assert capsys.readouterr().out.startswith("f32[] output of cos from ")


# --- effects ---


@pytest.mark.parametrize("compiled", [False, True])
def test_effects_happen_once(compiled):
    seen = []

    def look(x):
        pb.debug.callback(lambda v: seen.append(round(float(v), 3)), x)
        return pnp.sin(x)

    transform = pb.jit if compiled else lambda f: f

    def loop(x):
        return lax.scan(lambda c, _: (look(c), None), x, None, 3)[0]

    for fun in (look, lambda x: pb.checkpoint(look)(x), loop, pb.jit(look)):
        seen.clear()
        expected = float(pb.grad(fun)(0.5))
        once = list(seen)
        seen.clear()
        assert float(pb.block_until_ready(transform(pb.grad(pb.checkpoint(fun)))(0.5))) == pytest.approx(expected)
        assert seen == once


def test_what_an_effect_returns_is_kept():
    calls = []

    def host(x):
        calls.append(1)
        return np.float32(len(calls))

    def fun(x):
        n = pb.experimental.io_callback(host, pb.ShapeDtypeStruct((), f32), lax.stop_gradient(x))
        return pnp.sin(x * n)

    assert float(pb.grad(pb.checkpoint(fun))(0.5)) == pytest.approx(np.cos(0.5), rel=1e-6)
    assert len(calls) == 1


# --- errors ---


def test_errors_say_what_is_wrong():
    with pytest.raises(TypeError, match="checkpoint: policy must be a function such as"):
        pb.checkpoint(pnp.sin, policy="dots_saveable")
    with pytest.raises(TypeError, match="checkpoint: expected a function"):
        pb.checkpoint(3)
    with pytest.raises(TypeError, match="checkpoint_name: the name must be a string, got 3"):
        checkpoint_name(1.0, 3)
    for names in ("save_only_these_names", "save_any_names_but_these", "save_anything_except_these_names"):
        with pytest.raises(TypeError, match=f"{names}: a name must be a string.* got 3 of type int"):
            getattr(pb.checkpoint_policies, names)("a", 3)
    with pytest.raises(TypeError, match="save_from_both_policies: expected a function, got 3"):
        pb.checkpoint_policies.save_from_both_policies(pb.checkpoint_policies.dots_saveable, 3)
    with pytest.raises(TypeError, match="checkpoint of <lambda>: argument 'x'"):
        pb.checkpoint(lambda x: x)("text")
    with pytest.raises(pb.errors.TracerBoolConversionError, match="static"):
        pb.checkpoint(lambda x: x if x > 0 else -x)(1.0)
