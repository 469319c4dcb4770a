"""checkpoint: values and derivatives as without it, what is computed again, what is kept."""

import jax
import numpy as np
import pytest
from agreement import all_close
from checkpointed import POLICIES, W, chain, count, f32, name_of, products
from functions import with_tangent
from transformations import JAX, PB, agree
from wrappers import EAGER_AND_JIT, eager

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.ad_checkpoint import checkpoint_name, print_saved_residuals, saved_residuals

X = np.array([0.3, -0.7, 1.1], f32)


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
        @lib.t.checkpoint
        def checkpointed_step(c, w):
            return layer(lib, c, w), c.sum()

        def step(c, w):
            return layer(lib, c, w), None

        def fun(x, ws):
            first, sums = lib.lax.scan(checkpointed_step, x, ws)
            second = lib.t.checkpoint(lambda c: lib.lax.scan(step, c, ws)[0])(first)
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


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_custom_rules_inside_stay_alive(wrap):
    calls = []

    @pb.custom_vjp
    def f(x):
        return x * x

    def fwd(x):
        return x * x, x

    def bwd(x, ct):
        calls.append("bwd")
        return (10.0 * x * ct,)

    f.defvjp(fwd, bwd)
    g = with_tangent(lambda x: x * x, lambda x, t: 100.0 * x * t)
    assert float(wrap(pb.grad(pb.checkpoint(lambda x: pnp.cos(f(x)))))(0.5)) == pytest.approx(-5 * np.sin(0.25))
    assert float(wrap(pb.grad(pb.checkpoint(lambda x: pnp.sin(f(x)))))(0.0)) == 0.0
    assert float(wrap(pb.grad(pb.checkpoint(f)))(3.0)) == 30.0
    assert float(wrap(pb.grad(pb.checkpoint(g)))(3.0)) == 300.0
    assert float(wrap(pb.grad(pb.grad(pb.checkpoint(g))))(3.0)) == 100.0
    np.testing.assert_array_equal(wrap(pb.vmap(pb.grad(pb.checkpoint(f))))(np.arange(3, dtype=f32)), [0, 10, 20])
    assert calls


def test_remat_is_checkpoint():
    assert pb.remat is pb.checkpoint is pb.ad_checkpoint.checkpoint


# --- what is computed again ---


def test_number_of_products_for_each_policy():
    assert products(PB, checkpointed=False) == 18
    # the last product of a block is not needed again, but is what its tanh was computed from
    assert products(PB) == 24
    for policy in POLICIES:
        assert products(PB, getattr(pb.checkpoint_policies, policy)) == products(
            JAX, getattr(jax.checkpoint_policies, policy)
        ), policy


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p.save_only_these_names("first"),
        lambda p: p.save_only_these_names("second"),
        lambda p: p.save_only_these_names("first", "second"),
        lambda p: p.save_any_names_but_these("first"),
        lambda p: p.save_any_names_but_these("first", "second"),
        lambda p: p.save_anything_except_these_names("second"),
        lambda p: p.save_from_both_policies(p.nothing_saveable, p.dots_saveable),
        lambda p: p.save_from_both_policies(p.save_only_these_names("first"), p.save_only_these_names("second")),
    ],
)
def test_names_as_in_jax(make):
    assert products(PB, make(pb.checkpoint_policies)) <= products(JAX, make(jax.checkpoint_policies))
    x, ws = np.ones((2, 3), f32), list(W[:3])
    all_close(
        pb.grad(chain(PB, make(pb.checkpoint_policies)), (0, 1))(x, ws),
        jax.grad(chain(JAX, checkpointed=False), (0, 1))(x, ws),
    )


def test_a_saved_name_saves_the_value_it_was_given_to():
    # tanh's derivative is made of its result, which the name was given to afterwards
    policy = pb.checkpoint_policies.save_only_these_names("y")
    f = pb.checkpoint(lambda x: checkpoint_name(pnp.tanh(x), "y"), policy=policy)
    assert count(PB, pb.grad(f), 1.0, what="tanh") == 1


def test_a_policy_looks_into_jit():
    f = pb.checkpoint(pb.jit(lambda x, w: pnp.sin(x @ w)), policy=pb.checkpoint_policies.dots_saveable)
    assert count(PB, pb.grad(lambda x, w: f(x, w).sum()), np.ones((2, 3), f32), W[0]) == 2


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
                x = wrap(block)(x, ws[i : i + 8])
            return x.sum()

        return pb.jit(pb.grad(loss)).lower(x, ws).compile().memory_analysis().temp_size_in_bytes

    plain = temp(eager)
    assert plain >= 64 * x.nbytes
    # eight inputs of blocks, and one block at work
    assert temp(pb.checkpoint) <= 18 * x.nbytes
    # the layers are calls of functions, which are cut at other places: a kilobyte of pointers
    assert temp(pb.checkpoint(prevent_cse=False)) == pytest.approx(plain, rel=1e-3)


# --- what is kept ---


def kept(fun, *args):
    return sum(r.aval.size for r in saved_residuals(fun, *args))


def test_only_inputs_are_kept():
    x = np.ones((2, 3), f32)

    def fun(x, w):
        return pnp.sin(pnp.sin(pnp.sin(x @ w)))

    assert [str(r) for r in saved_residuals(pb.checkpoint(fun), x, W[0])] == [
        "f32[2,3] from the argument 'x'",
        "f32[3,3] from the argument 'w'",
    ]
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

    transform = pb.jit if compiled else eager

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
