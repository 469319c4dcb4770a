"""custom_root under every transformation, with JAX and closed forms as oracles."""

import numpy as np
import pytest
from transformations import agree

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr

f32 = np.float32
X = np.array([0.3, 1.7, 2.6], f32)
A = np.array([[4.0, 1.0, 0.5], [-1.0, 5.0, 0.3], [0.2, 0.7, 6.0]], f32)


def divide_by_slope(g, y):
    """The tangent's equation of numbers."""
    return y / g(1.0)


def one_step(f, x):
    """The root of maps of slope one."""
    return x - f(x)


def elementwise(lib):
    """A solver for maps that act on every entry alone."""

    def newton(f, x):
        def step(_, x):
            y, t = lib.t.jvp(f, (x,), (lib.np.ones_like(x),))
            return x - y / t

        return lib.lax.fori_loop(0, 8, step, x)

    def divide(g, y):
        return y / g(lib.np.ones_like(y))

    return newton, divide


def test_closed_over_values_agree_with_jax():
    def make(lib):
        newton, divide = elementwise(lib)

        def fun(a, b):
            return lib.lax.custom_root(lambda x: x * x * x + b * x - a, lib.np.ones_like(a), newton, divide)

        return fun

    agree(make, X, X[::-1].copy() + 1, scale=100.0)


def test_aux_agrees_with_jax():
    def make(lib):
        newton, divide = elementwise(lib)

        def solve(f, x):
            x = newton(f, x)
            return x, {"residual": f(x) * 0 + 2}

        def fun(a):
            return lib.lax.custom_root(lambda x: x * x - a, a, solve, divide, has_aux=True)

        return fun

    agree(make, X, scale=100.0)


def test_aux_of_integers_is_passed_on():
    def solve(f, x):
        return one_step(f, x), 8

    def fun(a):
        return lax.custom_root(lambda x: x - a, a, solve, divide_by_slope, has_aux=True)

    (x, steps), (t, nothing) = pb.jvp(fun, (3.0,), (2.0,))
    assert (float(x), int(steps), float(t), nothing.dtype) == (3, 8, 2, pb.dtypes.float0)
    assert float(pb.grad(lambda a: fun(a)[0])(3.0)) == 1


def newton_sqrt(a):
    """The fixed point of x -> (x + a / x) / 2, found by a loop of unknown length."""

    def solve(f, x):
        def step(state):
            x, _ = state
            return x + f(x), x

        return lax.while_loop(lambda s: abs(s[0] - s[1]) > 1e-6 * s[0], step, (x, x + 1))[0]

    return lax.custom_root(lambda x: 0.5 * (x + a / x) - x, a, solve, divide_by_slope)


@pytest.mark.parametrize("outer", [pb.grad, pb.jacfwd, pb.jacrev])
@pytest.mark.parametrize("inner", [pb.grad, pb.jacfwd, pb.jacrev])
def test_second_derivative_of_the_square_root(outer, inner):
    assert abs(float(inner(newton_sqrt)(2.0)) - 0.35355338) < 1e-6
    for fun in (outer(inner(newton_sqrt)), pb.jit(outer(inner(newton_sqrt))), outer(inner(pb.jit(newton_sqrt)))):
        assert abs(float(fun(2.0)) + 0.08838835) < 1e-6
    a = np.array([1.0, 2.0, 3.0], f32)
    np.testing.assert_allclose(pb.vmap(outer(inner(newton_sqrt)))(a), -(a**-1.5) / 4, rtol=1e-5)


def test_third_derivative():
    assert abs(float(pb.grad(pb.jacfwd(pb.grad(newton_sqrt)))(2.0)) - 3 / 8 * 2**-2.5) < 1e-6


def linear_root(a, b, tangent_solve):
    """The root of a @ x - b, found by a loop."""

    def solve(f, x):
        return lax.fori_loop(0, 60, lambda _, x: x - f(x) / 5, x)

    return lax.custom_root(lambda x: a @ x - b, pnp.zeros_like(b), solve, tangent_solve)


def relax(g, y):
    def step(state):
        x, k = state
        return x + (y - g(x)) / 5, k + 1

    return lax.while_loop(lambda s: s[1] < 60, step, (y, 0))[0]


def by_inverse(g, y):
    return pnp.asarray(np.linalg.inv(A)) @ y


@pytest.mark.parametrize("tangent_solve", [relax, by_inverse])
@pytest.mark.parametrize("jacobian", [pb.jacfwd, pb.jacrev])
def test_a_map_that_is_not_symmetric(tangent_solve, jacobian):
    # a solver that knows the inverse, and never asks for the map, is transposed itself
    inverse = np.linalg.inv(A.astype(float))
    da, db = jacobian(lambda a, b: linear_root(a, b, tangent_solve), (0, 1))(A, X)
    np.testing.assert_allclose(db, inverse, atol=1e-6)
    np.testing.assert_allclose(da, -np.einsum("ij,k->ijk", inverse, inverse @ X), atol=1e-6)


def test_pytrees():
    def solution(a):
        def f(x):
            return {"u": x["u"] ** 2 - a, "v": x["v"] - x["u"] * a}

        def solve(f, x):
            return {"u": a**0.5, "v": a**1.5}

        def tangent_solve(g, y):
            du = pb.jvp(lambda u: g({"u": u, "v": 0.0}), (0.0,), (1.0,))[1]
            dv = pb.jvp(lambda v: g({"u": 0.0, "v": v}), (0.0,), (1.0,))[1]
            det = du["u"] * dv["v"] - du["v"] * dv["u"]
            return {"u": (y["u"] * dv["v"] - y["v"] * dv["u"]) / det, "v": (y["v"] * du["u"] - y["u"] * du["v"]) / det}

        return lax.custom_root(f, {"u": 1.0, "v": 1.0}, solve, tangent_solve)["v"]

    for d in (pb.grad, pb.jacfwd):
        np.testing.assert_allclose(d(solution)(4.0), 3.0, rtol=1e-6)
        for e in (pb.grad, pb.jacfwd):
            np.testing.assert_allclose(e(d(solution))(4.0), 0.375, rtol=1e-5)


def test_the_guess_has_no_derivative():
    def fun(guess):
        return lax.custom_root(lambda x: x - 3.0, guess, one_step, divide_by_slope)

    assert float(fun(7.0)) == 3.0
    assert float(pb.grad(fun)(7.0)) == 0


def test_tangent_solve_may_close_over_traced_values():
    def fun(a):
        def tangent_solve(g, y):
            return y / (2 * x0(a)) + 0 * g(y)

        return lax.custom_root(lambda x: x * x - a, a, lambda f, x: x0(a), tangent_solve)

    def x0(a):
        return a**0.5

    assert abs(float(pb.grad(fun)(4.0)) - 0.25) < 1e-6
    assert abs(float(pb.jit(pb.grad(pb.jit(fun)))(4.0)) - 0.25) < 1e-6


def test_tangent_solve_is_not_called_where_nothing_is_differentiated():
    def refuse(g, y):
        raise AssertionError

    assert float(lax.custom_root(lambda x: x - 3.0, 1.0, one_step, refuse)) == 3.0


def test_a_root_of_integers_has_no_silent_derivative():
    def fun(a):
        def equation(s):
            return s[0], s[1] - a

        def solve(f, s):
            return s[0] * 0, a

        i, x = lax.custom_root(equation, (1, 2.0), solve, lambda g, y: y)
        return x + i

    assert float(fun(3.0)) == 3.0
    with pytest.raises(TypeError, match="integers"):
        pb.grad(fun)(3.0)


def test_the_jaxpr_holds_one_equation():
    jaxpr = pb.make_jaxpr(newton_sqrt)(2.0)
    check_jaxpr(jaxpr)
    assert [eqn.primitive.name for eqn in jaxpr.eqns].count("root") == 1


def identity(x):
    return x


def first_two(x):
    return x[:2]


def guess(f, x):
    return x


def two_of_the_guess(f, x):
    return x[:2]


def map_of_two(f, x):
    return f(x[:2])


def right_side(g, y):
    return y


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        ((first_two, X, guess, right_side), {}, r"\bf \("),
        ((identity, X, two_of_the_guess, right_side), {}, r"\bsolve \("),
        ((identity, X, map_of_two, right_side), {}, "first argument"),
        ((identity, X, guess, right_side), {"has_aux": True}, "pair"),
        ((identity, "x", guess, right_side), {}, "initial_guess must be an array"),
    ],
)
def test_what_does_not_fit_is_named(args, options, words):
    with pytest.raises(TypeError, match=words):
        lax.custom_root(*args, **options)


def test_a_tangent_that_does_not_fit_is_named():
    def fun(a):
        return lax.custom_root(lambda x: x - a, X, lambda f, x: a, lambda g, y: y[:2])

    with pytest.raises(TypeError, match="solve"):
        pb.jacfwd(fun)(X)
