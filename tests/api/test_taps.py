"""`tap` and `tapped`: values and cotangents of named places come out, stacked over loops; unused, taps are nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from wrappers import grad_in_vmap, grad_of_jit, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.debug import tap, tapped
from pullback.errors import RuleError

XS = np.array([0.1, 0.2, 0.3, -0.4], np.float32)


def loss(w, xs):
    def cell(h, x):
        h = tap(pnp.tanh(w * h + x), "h")
        return h, None

    return lax.scan(cell, pnp.float32(0.25), xs)[0] ** 2


def perturbed(w, xs, extra):
    """The same loss in JAX, with a perturbation where the tap stands."""

    def cell(h, row):
        x, e = row
        return jnp.tanh(w * h + x) + e, None

    return jax.lax.scan(cell, jnp.float32(0.25), (xs, extra))[0] ** 2


def outside(f):
    return tapped(pb.grad(f))


def outside_jit_of_grad(f):
    return tapped(jit_of_grad(f))


def outside_grad_of_jit(f):
    return tapped(grad_of_jit(f))


def inside_jit(f):
    return pb.jit(tapped(pb.grad(f)))


def of_value_and_grad(f):
    def run(*args):
        (_, gradient), taps = tapped(pb.value_and_grad(f))(*args)
        return gradient, taps

    return run


def of_checkpoint(f):
    return tapped(pb.grad(pb.checkpoint(f)))


def of_checkpoint_inside_jit(f):
    return pb.jit(of_checkpoint(f))


@pytest.mark.parametrize(
    "tapped_grad",
    [
        outside,
        outside_jit_of_grad,
        outside_grad_of_jit,
        inside_jit,
        of_value_and_grad,
        of_checkpoint,
        of_checkpoint_inside_jit,
    ],
)
def test_a_tap_in_a_scan_returns_the_stacked_cotangents(tapped_grad):
    gradient, taps = tapped_grad(loss)(0.5, XS)
    want = jax.grad(perturbed, (0, 2))(0.5, XS, jnp.zeros(4))
    np.testing.assert_allclose(gradient, want[0], rtol=1e-5)
    np.testing.assert_allclose(taps.cotangents["h"], want[1], rtol=1e-5)
    h, hs = 0.25, []
    for x in XS:
        h = np.tanh(0.5 * h + x)
        hs.append(h)
    np.testing.assert_allclose(taps.values["h"], hs, rtol=1e-5)


def test_unused_it_is_not_in_the_jaxpr():
    def plain(w, xs):
        return lax.scan(lambda h, x: (pnp.tanh(w * h + x), None), pnp.float32(0.25), xs)[0] ** 2

    for f, g in ((loss, plain), (pb.grad(loss), pb.grad(plain)), (pb.jit(loss), pb.jit(plain))):
        text = str(pb.make_jaxpr(f)(0.5, XS))
        assert "tap" not in text
        assert text.replace("name=loss", "name=plain") == str(pb.make_jaxpr(g)(0.5, XS))
    x = pnp.array([1.0])
    assert tap(x, "x") is x


def test_collected_it_is_no_operation_of_the_jaxpr_either():
    assert " = tap" not in str(pb.make_jaxpr(tapped(pb.grad(loss)))(0.5, XS))


def test_a_compiled_function_keeps_both_traces():
    compiled = pb.jit(pb.grad(loss))
    before = compiled(0.5, XS)
    (_, taps), after = tapped(compiled)(0.5, XS), compiled(0.5, XS)
    assert taps.cotangents["h"].shape == (4,)
    assert float(before) == float(after)


def test_closed_form():
    def f(x):
        y = tap(x * x, "y")
        z = tap(pnp.sin(y), "z")
        return 3.0 * z

    gradient, taps = tapped(pb.grad(f))(2.0)
    assert float(gradient) == pytest.approx(12.0 * np.cos(4.0), rel=1e-5)
    assert float(taps.values["y"]) == 4.0
    assert float(taps.cotangents["z"]) == 3.0
    assert float(taps.cotangents["y"]) == pytest.approx(3.0 * np.cos(4.0), rel=1e-5)
    value, taps = tapped(f)(2.0)
    assert float(value) == pytest.approx(3.0 * np.sin(4.0), rel=1e-5)
    assert taps.cotangents == {}


def test_a_constant_of_the_loop_has_a_cotangent_for_each_step():
    def f(w, xs):
        return lax.scan(lambda h, x: (tap(w, "w") * h + x, None), 1.0, xs)[0]

    for run in (tapped(pb.grad(f)), pb.jit(tapped(pb.grad(f)))):
        gradient, taps = run(2.0, np.zeros(3, np.float32))
        assert float(gradient) == 12.0
        np.testing.assert_allclose(taps.cotangents["w"], [4.0, 4.0, 4.0])
        np.testing.assert_allclose(taps.values["w"], [2.0, 2.0, 2.0])


def test_nested_loops_stack_twice():
    def inner(j, x):
        return tap(2.0 * x, "n")

    def outer(i, x):
        return lax.fori_loop(0, 2, inner, x)

    def f(x):
        return lax.fori_loop(0, 3, outer, x)

    for run in (tapped(pb.grad(f)), pb.jit(tapped(pb.grad(f)))):
        _, taps = run(1.0)
        np.testing.assert_array_equal(taps.values["n"], [[2, 4], [8, 16], [32, 64]])
        np.testing.assert_array_equal(taps.cotangents["n"], [[32, 16], [8, 4], [2, 1]])


def test_under_vmap():
    def f(x):
        return pnp.sum(tap(x * x, "y") * 5.0)

    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    for run in (tapped(pb.vmap(pb.grad(f))), pb.vmap(tapped(pb.grad(f))), pb.jit(tapped(pb.vmap(pb.grad(f))))):
        _, taps = run(rows)
        np.testing.assert_array_equal(taps.values["y"], rows**2)
        np.testing.assert_array_equal(taps.cotangents["y"], np.full((3, 2), 5.0))
    # axes of loops stand before those of batches
    _, taps = tapped(pb.vmap(pb.grad(loss), (0, None)))(np.array([0.5, 0.6], np.float32), XS)
    assert taps.cotangents["h"].shape == (4, 2)
    _, taps = pb.vmap(tapped(pb.grad(loss)), (0, None))(np.array([0.5, 0.6], np.float32), XS)
    assert taps.cotangents["h"].shape == (2, 4)


def test_branches():
    def f(x):
        return lax.cond(x > 0, lambda x: tap(x * 2.0, "a") * 3.0, lambda x: tap(x * 5.0, "a") + tap(x, "b"), x)

    for run in (tapped(pb.grad(f)), pb.jit(tapped(pb.grad(f))), tapped(pb.grad(pb.jit(f)))):
        _, taps = run(1.0)
        assert {k: float(v) for k, v in taps.values.items()} == {"a": 2.0, "b": 0.0}
        assert {k: float(v) for k, v in taps.cotangents.items()} == {"a": 3.0, "b": 0.0}
        _, taps = run(-1.0)
        assert {k: float(v) for k, v in taps.values.items()} == {"a": -5.0, "b": -1.0}
        assert {k: float(v) for k, v in taps.cotangents.items()} == {"a": 1.0, "b": 1.0}


def test_what_taps_show_is_differentiated_and_mapped_like_any_result():
    def f(x):
        return 5.0 * tap(x * x, "y") ** 2

    def cotangent(x):
        return tapped(pb.grad(f))(x)[1].cotangents["y"]

    assert float(cotangent(3.0)) == 90.0
    for derivative in (pb.grad(cotangent), pb.jacfwd(cotangent), pb.jit(pb.grad(cotangent))):
        assert float(derivative(3.0)) == 60.0
    rows = lax.scan(lambda c, x: (c, cotangent(x)), 0.0, pnp.arange(3.0))[1]
    np.testing.assert_array_equal(rows, [0.0, 10.0, 40.0])


def test_out_of_other_primitives_it_is_refused_by_name():
    def solve(a):
        return lax.custom_linear_solve(lambda x: a * tap(x, "inside"), 1.0, lambda mv, b: b / mv(1.0), symmetric=True)

    with pytest.raises(NotImplementedError, match="the tap 'inside' stands inside of 'linear_solve'"):
        tapped(pb.grad(solve))(2.0)
    assert float(pb.grad(solve)(2.0)) == -0.25


def test_a_name_met_twice_has_a_list_in_order():
    def f(x):
        y = tap(2.0 * x, "t")
        return 7.0 * tap(3.0 * y, "t")

    for run in (tapped(pb.grad(f)), tapped(pb.grad(pb.jit(f))), tapped(pb.jit(pb.grad(f)))):
        _, taps = run(1.0)
        assert list(map(float, taps.values["t"])) == [2.0, 6.0]
        assert list(map(float, taps.cotangents["t"])) == [21.0, 7.0]


def test_pytrees_and_integers():
    def f(p):
        p = tap(p, "p")
        return p["w"] * 2.0 * p["n"]

    _, taps = tapped(pb.grad(f, allow_int=True))({"w": 1.0, "n": 3})
    assert int(taps.values["p"]["n"]) == 3
    assert float(taps.cotangents["p"]["w"]) == 6.0
    assert taps.cotangents["p"]["n"] is None


def test_python_decides_on_values():
    def f(x):
        y = tap(x * x, "y")
        return y if y > 1.0 else tap(-y, "minus")

    assert set(tapped(pb.grad(f))(2.0)[1].cotangents) == {"y"}
    assert set(tapped(pb.grad(f))(0.5)[1].cotangents) == {"y", "minus"}


def test_inside_of_custom_rules():
    @pb.custom_vjp
    def square(x):
        return tap(x * x, "fun")

    def bwd(x, ct):
        return (tap(2.0 * x * ct, "bwd"),)

    square.defvjp(lambda x: (tap(x * x, "fwd"), x), bwd)
    for run in (tapped(square), tapped(pb.jit(square)), pb.jit(tapped(square))):
        assert float(run(3.0)[1].values["fun"]) == 9.0
    for run in (tapped(pb.grad(square)), tapped(pb.grad(pb.jit(square))), pb.jit(tapped(pb.grad(square)))):
        gradient, taps = run(3.0)
        assert float(gradient) == float(taps.values["bwd"]) == 6.0
        assert float(taps.values["fwd"]) == 9.0
    # who differentiates later still finds the rule
    square.defvjp(lambda x: (x * x, x), lambda x, ct: (100.0 * ct,))
    assert float(pb.grad(lambda x: tapped(square)(x)[0])(3.0)) == 100.0
    assert float(pb.grad(pb.jit(lambda x: tapped(square)(x)[0]))(3.0)) == 100.0


def test_the_innermost_collects():
    def f(x):
        return tap(x * x, "y")

    (_, inner), outer = tapped(tapped(f))(3.0)
    assert float(inner.values["y"]) == 9.0
    assert outer.values == {}


@pytest.mark.parametrize("bounded", [False, True])
def test_a_while_loop_is_refused_by_name(bounded):
    def f(x):
        return lax.while_loop(lambda x: x < 10.0, lambda x: tap(2.0 * x, "q"), x, max_steps=9 if bounded else None)

    run = tapped(pb.grad(f)) if bounded else tapped(f)
    with pytest.raises(NotImplementedError, match="the tap 'q' stands in a while_loop"):
        run(1.0)
    assert float(f(1.0)) == 16.0


def test_it_changes_the_cotangent():
    def f(x):
        return 10.0 * tap(x, bwd=lambda ct: pnp.clip(ct, -1.0, 1.0))

    for transform in (pb.grad, jit_of_grad, grad_of_jit, grad_in_vmap):
        assert float(transform(f)(np.float32(2.0))) == 1.0
    # forward mode passes it
    assert float(pb.jvp(f, (2.0,), (1.0,))[1]) == 10.0
    assert float(f(2.0)) == 20.0

    def clipped_to_two(i, x):
        return 3.0 * tap(x, bwd=lambda ct: pnp.clip(ct, -2.0, 2.0))

    def loop(x):
        return lax.fori_loop(0, 4, clipped_to_two, x)

    def reversed_in_sign(x):
        return 10.0 * tap(x, "n", bwd=lambda ct: -ct)

    assert float(pb.grad(loop)(1.0)) == 2.0
    _, taps = tapped(pb.grad(reversed_in_sign))(2.0)
    assert float(taps.cotangents["n"]) == -10.0


def test_a_changed_pytree():
    def scale(ct):
        assert ct["n"] is None
        return {"w": 2.0 * ct["w"], "n": None}

    g = pb.grad(lambda p: tap(p, bwd=scale)["w"] * 3.0, allow_int=True)({"w": 1.0, "n": 2})
    assert float(g["w"]) == 6.0


def test_wrong_changes_are_named():
    def wrong(ct):
        return ct, ct

    with pytest.raises(RuleError, match=r"the function bwd, .*wrong.*must return a cotangent with the structure"):
        pb.grad(lambda x: tap(x, bwd=wrong))(1.0)

    def of_another_shape(ct):
        return pnp.ones(3)

    with pytest.raises(RuleError, match="cotangent must have the shape and dtype"):
        pb.grad(lambda x: tap(x, bwd=of_another_shape))(1.0)


def test_wrong_calls():
    with pytest.raises(TypeError, match="tap: give it a name"):
        tap(1.0)
    with pytest.raises(TypeError, match="the name must be a string"):
        tap(1.0, 3)
    with pytest.raises(TypeError, match="tapped: expected a function"):
        tapped(3)
    with pytest.raises(TypeError, match="tap: x"):
        tapped(lambda x: tap({"a": "text"}, "name"))(1.0)
