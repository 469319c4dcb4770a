"""Initial value problems: accuracy, both modes to any order, captured values, batches, and what is refused."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import scipy.integrate
from jax.experimental.ode import odeint as jax_odeint
from wrappers import eager

import pullback as pb
import pullback.numpy as pnp
from pullback import implicit, lax
from pullback.core import check_jaxpr
from pullback.experimental.ode import odeint

MODES = list(itertools.product([pb.jacfwd, pb.jacrev], repeat=2))
NAMES = [f"{a.__name__} of {b.__name__}" for a, b in MODES]
T = np.array([0.0, 0.4, 1.1, 1.5])
RTOL = 1e-6  # tens of tolerances: steps add up, and the quartic between their ends is less exact than they


@pytest.fixture(autouse=True)
def double_precision():
    with pb.enable_x64(True):
        yield


def close(got, expected, rtol=RTOL, atol=3e-7):
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=rtol, atol=atol)


def rate_of_decay(y, t, k):
    return -k * y


def decay(k, t=T, y0=1.0, **options):
    """y0 exp(-k t), whose rate closes over k."""
    return odeint(lambda y, t: -k * y, y0, t, **options)


def last_of_decay(k):
    return decay(k)[-1]


# problems with solutions in closed form


class Problem(NamedTuple):
    rate: Callable  # of y, t, θ
    solution: Callable  # of t, y0, θ
    y0: Any
    p: Any


def linear_rate(y, t, p):
    return -p[0] * y


def exponential(t, y0, p):
    return y0 * pnp.exp(-p[0] * (t - t[0]))


def logistic_rate(y, t, p):
    return p[0] * y * (1 - y / p[1])


def logistic(t, y0, p):
    growth = pnp.exp(p[0] * (t - t[0]))
    return p[1] * y0 * growth / (p[1] + y0 * (growth - 1))


def oscillator_rate(y, t, p):
    return pnp.stack([y[1], -(p[0] ** 2) * y[0]])


def oscillator(t, y0, p):
    w, s = p[0], t - t[0]
    c, d = pnp.cos(w * s), pnp.sin(w * s)
    return pnp.stack([y0[0] * c + y0[1] / w * d, -y0[0] * w * d + y0[1] * c], 1)


def forced_rate(y, t, p):
    return p[0] * pnp.cos(p[1] * t) * y


def forced(t, y0, p):
    return y0 * pnp.exp(p[0] / p[1] * (pnp.sin(p[1] * t) - pnp.sin(p[1] * t[0])))


PROBLEMS = {
    "decay": Problem(linear_rate, exponential, 1.5, [0.8, 0.0]),
    "logistic": Problem(logistic_rate, logistic, 0.3, [1.4, 2.0]),
    "oscillator": Problem(oscillator_rate, oscillator, [0.5, -1.0], [1.7, 0.0]),
    "forced": Problem(forced_rate, forced, 0.7, [0.9, 1.3]),
}


@pytest.fixture(params=PROBLEMS)
def problem(request):
    rate, solution, y0, p = PROBLEMS[request.param]
    return rate, solution, pnp.asarray(y0), pnp.asarray(p)


@pytest.mark.parametrize("t", [T, T[::-1].copy(), T + 3], ids=["forwards", "backwards", "late"])
def test_solution(problem, t):
    rate, solution, y0, p = problem
    close(odeint(rate, y0, t, p), solution(t, y0, p))
    close(pb.jit(partial(odeint, rate))(y0, t, p), solution(t, y0, p))


@pytest.mark.parametrize("mode", [pb.jacfwd, pb.jacrev])
@pytest.mark.parametrize("t", [T, T[::-1].copy()], ids=["forwards", "backwards"])
def test_first_derivatives(problem, mode, t):
    rate, solution, y0, p = problem
    got = mode(partial(odeint, rate), (0, 1, 2))(y0, t, p)
    expected = pb.jacfwd(lambda y0, t, p: solution(t, y0, p), (0, 1, 2))(y0, t, p)
    for a, b in zip(got, expected, strict=True):
        close(a, b)


@pytest.mark.parametrize(("outer", "inner"), MODES, ids=NAMES)
def test_second_derivatives(outer, inner):
    rate, solution, y0, p = PROBLEMS["logistic"]
    y0, p, t = pnp.asarray(y0), pnp.asarray(p), pnp.asarray(T[:3])

    def sum_of_squares(solve, z):
        return (solve(z[: y0.size].reshape(y0.shape), z[y0.size + 2 :], z[y0.size : y0.size + 2]) ** 2).sum()

    def closed_form(y0, t, p):
        return solution(t, y0, p)

    z = pnp.concatenate([y0.reshape(-1), p, t])
    got = pb.jit(outer(inner(partial(sum_of_squares, partial(odeint, rate)))))(z)
    close(got, pb.hessian(partial(sum_of_squares, closed_form))(z), atol=1e-6)


def test_third_derivative():
    def f(k):
        return decay(k, T[:2])[-1]

    third = pb.jit(pb.jacfwd(pb.jacfwd(pb.grad(f))))
    close(third(0.5), -(0.4**3) * np.exp(-0.2))


def test_captured_values_are_arguments():
    def captured(p, y0, t):
        return odeint(lambda y, s: pnp.sin(p[0] * s) - p[1] * y, y0, t)[-1]

    def explicit(p, y0, t):
        return odeint(lambda y, s, p: pnp.sin(p[0] * s) - p[1] * y, y0, t, p)[-1]

    args = (pnp.array([1.2, 0.4]), 0.3, T)
    for mode in (pb.grad, pb.jacfwd):
        for a, b in zip(mode(captured, (0, 1, 2))(*args), mode(explicit, (0, 1, 2))(*args), strict=True):
            close(a, b, rtol=1e-12)

    # a value captured one transformation further out, beside one that is not differentiated
    def slope_of_captured(p):
        return pb.grad(lambda y0: captured(p, y0, T))(0.3)

    def slope_of_explicit(p):
        return pb.grad(explicit, 1)(p, 0.3, T)

    close(pb.grad(slope_of_captured)(args[0]), pb.jacfwd(slope_of_explicit)(args[0]), atol=1e-7)


def test_captured_under_jit_and_cond():
    def f(k, flag):
        return lax.cond(flag, last_of_decay, lambda k: k, k)

    def closing(k, flag):
        return lax.cond(flag, lambda: last_of_decay(k), lambda: k)

    for fun in (f, closing):
        close(pb.jit(pb.grad(fun))(0.5, True), -1.5 * np.exp(-0.75))
        close(pb.grad(fun)(0.5, False), 1.0)


def test_pytrees_and_dtypes():
    y0 = {"x": pnp.array([1.0, 2.0]), "v": (np.float32(0.5),), "none": pnp.zeros((0, 3))}

    def rate(y, t, k):
        return {"x": -k * y["x"], "v": (2 * y["v"][0],), "none": y["none"]}

    out = odeint(rate, y0, T, 1.5)
    assert out["v"][0].dtype == np.float32
    assert out["x"].shape == (4, 2)
    assert out["none"].shape == (4, 0, 3)
    close(out["x"][:, 1], 2 * np.exp(-1.5 * T))
    close(out["v"][0], 0.5 * np.exp(2 * T), rtol=1e-6)

    def total(y0):
        return odeint(rate, y0, T, 1.5)["x"][-1].sum() + odeint(rate, y0, T, 1.5)["v"][0][-1]

    grads = pb.grad(total)(y0)
    close(grads["x"], np.full(2, np.exp(-1.5 * 1.5)))
    close(grads["v"][0], np.exp(3.0), rtol=1e-6)


def test_single_precision():
    with pb.enable_x64(False):
        t = pnp.linspace(0.0, 2.0, 5)
        out = odeint(rate_of_decay, 1.0, t, 0.7)
        assert out.dtype == np.float32
        close(out, np.exp(-0.7 * np.asarray(t)), rtol=2e-6)
        close(pb.grad(lambda k: decay(k, t)[-1])(0.7), -2 * np.exp(-1.4), rtol=5e-6)


@pytest.mark.parametrize("mode", [pb.jacfwd, pb.jacrev])
def test_complex(mode):
    def f(w):
        z = odeint(lambda y, t: 1j * w * y, pnp.array(1.0 + 0.5j), T)
        return pnp.stack([z.real, z.imag])

    def closed(w):
        z = (1 + 0.5j) * pnp.exp(1j * w * T)
        return pnp.stack([z.real, z.imag])

    close(f(1.3), closed(1.3))
    close(mode(f)(1.3), pb.jacfwd(closed)(1.3))


@pytest.mark.parametrize("mode", [pb.jacfwd, pb.jacrev])
def test_complex_by_the_times(mode):
    def f(t):
        return odeint(lambda y, s: 1j * y, pnp.array(2.0 + 0j), t).real

    def closed(t):
        return 2 * pnp.cos(t - t[0])

    close(mode(f)(pnp.asarray(T)), pb.jacfwd(closed)(pnp.asarray(T)))


def van_der_pol(y, t, mu):
    return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


def test_against_scipy():
    t = np.linspace(0, 8, 30)
    expected = scipy.integrate.solve_ivp(
        lambda t, y: van_der_pol(y, t, 3.0), (0, 8), [1.0, 0.0], method="DOP853", t_eval=t, rtol=1e-12, atol=1e-12
    ).y
    got = odeint(van_der_pol, [1.0, 0.0], t, 3.0, rtol=1e-10, atol=1e-10)
    close(pnp.stack(got), expected, rtol=1e-7, atol=1e-8)


def test_gradients_against_jax():
    t = np.linspace(0, 3, 5)
    y0, mu = [np.array(1.0), np.array(0.2)], 1.2

    def loss(solver, y0, t, mu):
        return sum((y**2).sum() for y in solver(van_der_pol, y0, t, mu))

    with jax.enable_x64(True):
        expected = jax.grad(partial(loss, jax_odeint), (0, 1, 2))(y0, t, mu)
    got = pb.grad(partial(loss, odeint), (0, 1, 2))(y0, t, mu)
    for a, b in zip(pb.tree_util.tree_leaves(got), pb.tree_util.tree_leaves(expected), strict=True):
        close(a, b, rtol=1e-5, atol=1e-6)


def test_tolerances():
    def error(tol):
        last = odeint(lambda y, t: pnp.cos(t) * y, 1.0, T, rtol=tol, atol=tol)[-1]
        return abs(float(last) - np.exp(np.sin(1.5)))

    errors = [error(tol) for tol in (1e-3, 1e-6, 1e-10)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9
    assert errors[0] < 1e-2


def test_nothing_is_evaluated_beyond_the_end():
    # the square root is real up to the last time only
    t = np.array([0.0, 0.5, 1.0])
    out = odeint(lambda y, t: -pnp.sqrt(1 - t), 1.0, t, rtol=1e-9, atol=1e-9)
    close(out, 1 / 3 + 2 / 3 * (1 - t) ** 1.5, atol=1e-6)


# --- batches: every example takes the steps that it would take alone ---


AXES = [(0, None, None), (None, 0, None), (None, None, 0), (0, 0, 0)]


def jacfwd_of_grad(f):
    return pb.jacfwd(pb.grad(f))


@pytest.mark.parametrize(
    ("axes", "transform"), [*itertools.product(AXES, [eager, pb.jit, pb.grad]), ((0, 0, 0), jacfwd_of_grad)]
)
def test_vmap(axes, transform):
    rng = np.random.default_rng(0)
    batch = (rng.uniform(0.5, 1.5, 3), np.sort(rng.uniform(0, 2, (3, 4)), 1), rng.uniform(0.5, 9.0, 3))

    def f(y0, t, k):
        return (odeint(lambda y, s, k: -k * y * pnp.cos(s), y0, t, k) ** 2).sum()

    g = transform(f)
    got = pb.vmap(g, axes)(*(b if a == 0 else b[1] for b, a in zip(batch, axes, strict=True)))
    expected = [g(*(b[i] if a == 0 else b[1] for b, a in zip(batch, axes, strict=True))) for i in range(3)]
    close(got, pnp.stack(expected), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("mode", [pb.jacfwd, pb.jacrev])
def test_derivatives_of_batches(mode):
    weights = pnp.asarray(np.random.default_rng(1).normal(size=(2, 2)))
    starts, ends = pnp.asarray(np.random.default_rng(2).normal(size=(3, 2))), pnp.array([0.5, 1.0])

    def one(w, y0, end, scale):
        return odeint(lambda y, t: scale * pnp.tanh(w @ y), y0, pnp.stack([0.0, end]))[-1]

    def batched(w, scale):
        grid = pb.vmap(pb.vmap(one, (None, None, 0, None)), (None, 0, None, 0))
        return grid(w, starts, ends, scale)

    def listed(w, scale):
        return pnp.stack([pnp.stack([one(w, y0, end, s) for end in ends]) for y0, s in zip(starts, scale, strict=True)])

    scale = pnp.array([1.0, 0.5, 2.0])
    close(batched(weights, scale), listed(weights, scale), rtol=1e-12)
    for a, b in zip(mode(batched, (0, 1))(weights, scale), mode(listed, (0, 1))(weights, scale), strict=True):
        close(a, b, rtol=1e-9, atol=1e-10)


def test_a_lane_that_fails_leaves_the_others_alone():
    # y' = y² has a pole at 1 / y0
    def f(y0):
        return odeint(lambda y, t: y**2, y0, np.array([0.0, 0.5, 1.5]))

    out = pb.vmap(f)(pnp.array([0.5, 1.0, 0.25]))
    assert np.isnan(out[1, 2])
    assert np.isfinite(np.delete(np.asarray(out).ravel(), 5)).all()
    close(out[0], [0.5, 0.5 / 0.75, 2.0])


# --- use inside of other transformations ---


def test_linearize_and_transpose():
    _, push = pb.linearize(decay, 0.8)
    close(push(2.0), pb.jvp(decay, (0.8,), (2.0,))[1])
    close(pb.jit(push)(2.0), push(2.0))
    close(pb.vmap(push)(pnp.arange(2.0))[1], push(1.0))


@pytest.mark.parametrize("mode", [pb.jacfwd, pb.jacrev])
def test_shooting(mode):
    # y'' = -y, y(0) = 0, y(1) = a: the slope at 0 is a / sin 1
    def slope(a):
        def miss(v):
            return odeint(lambda y, t: pnp.stack([y[1], -y[0]]), pnp.stack([0.0, v]), pnp.array([0.0, 1.0]))[-1, 0] - a

        return implicit.root(miss, 1.0, tol=1e-10)

    close(slope(2.0), 2 / np.sin(1))
    close(mode(slope)(2.0), 1 / np.sin(1))


@pytest.mark.parametrize(("outer", "inner"), MODES[1:2], ids=NAMES[1:2])
def test_shooting_from_a_place_that_moves(outer, inner):
    # y'' = -k y, y(0) = h, y(1) = 0: the slope at 0 is -h w / tan w with w = sqrt k
    def slope(p):
        def miss(v):
            y = odeint(lambda y, t: pnp.stack([y[1], -p[0] * y[0]]), pnp.stack([p[1], v]), pnp.array([0.0, 1.0]))
            return y[-1, 0]

        return implicit.root(miss, 1.0, tol=1e-10)

    def closed(p):
        w = pnp.sqrt(p[0])
        return -p[1] * w / pnp.tan(w)

    p = pnp.array([1.3, 0.7])
    close(inner(slope)(p), pb.jacfwd(closed)(p))
    close(pb.jit(outer(inner(slope)))(p), pb.hessian(closed)(p), rtol=1e-5)


def test_transpose_of_the_tangent():
    def push(dot):
        return pb.jvp(decay, (0.8,), (dot,))[1]

    def pull(ct):
        return pb.linear_transpose(pb.jit(push), 1.0)(ct)[0]

    close(pb.linear_transpose(push, 1.0)(pnp.ones(4))[0], push(1.0).sum())
    close(pb.vmap(pull)(pnp.eye(4)), push(1.0))


@pytest.mark.parametrize("mode", [pb.jacfwd, pb.jacrev])
def test_in_scan(mode):
    def f(k):
        def step(y, _):
            y = decay(k, pnp.array([0.0, 0.1]), y)[-1]
            return y, y

        return lax.scan(step, 1.0, None, length=4)[1]

    close(mode(f)(0.5), -0.1 * np.arange(1, 5) * np.exp(-0.05 * np.arange(1, 5)))


def test_solver_runs_once_in_compiled_gradients():
    jaxpr = pb.make_jaxpr(pb.grad(last_of_decay))(0.5)
    check_jaxpr(jaxpr)
    names = [eqn.primitive.name for eqn in jaxpr.jaxpr.eqns]
    assert [name for name in names if "odeint" in name] == ["odeint", "odeint_adjoint"]


# --- edges ---


def growth(k, t, y0=2.0):
    """y0 exp(k t), whose rate closes over k."""
    return odeint(lambda y, t: k * y, y0, t)


def test_one_time_and_repeated_times():
    close(growth(1.0, [0.5]), [2.0])
    close(pb.grad(lambda y0: growth(1.0, [0.5], y0)[0])(2.0), 1.0)
    t = np.array([0.0, 0.0, 1.0, 1.0])
    close(growth(1.0, t), 2 * np.exp(t))
    close(pb.grad(lambda k: growth(k, t).sum())(1.0), 4 * np.e)


def test_constant_slopes_and_steady_states():
    close(odeint(lambda y, t: 1, 0.0, T), T)
    close(odeint(lambda y, t: 0 * y, 3.0, T), np.full(4, 3.0))
    close(odeint(lambda y, t: -y, 0.0, T, atol=0.0), np.zeros(4))


def test_too_many_steps_give_nan():
    out = decay(50, mxstep=2)
    assert out[0] == 1.0
    assert np.isnan(out[1:]).all()
    assert np.isfinite(decay(50, mxstep=2000)).all()


def test_short_steps_are_kept():
    # a pulse that long steps would jump over
    def pulse(y, t):
        return pnp.exp(-(((t - 5) / 0.01) ** 2))

    close(odeint(pulse, 0.0, [0.0, 10.0], hmax=0.005, rtol=1e-6, atol=1e-8)[-1], 0.01 * np.sqrt(np.pi), rtol=1e-4)


def test_times_out_of_order():
    with pytest.raises(ValueError, match=r"increase throughout .* t\[1:3\]"):
        growth(1.0, np.array([0.0, 1.0, 0.5]))
    # where the values are not known, a time that lies behind is nan, not a wrong value
    out = pb.jit(lambda t: growth(1.0, t, 1.0))(np.array([1.0, 0.0, 2.0]))
    assert np.isnan(out[1])
    assert out[0] == 1.0


def identity(y, t, *args):
    return y


def shorter_leaf(y, t):
    return {"a": y["a"], "b": y["b"][:1]}


def pair(y, t):
    return y, y


def complex_slope(y, t):
    return 1j * y


@pytest.mark.parametrize(
    ("args", "options", "error", "message"),
    [
        ((shorter_leaf, {"a": 1.0, "b": pnp.ones(2)}, T), {}, TypeError, "'b'"),
        ((pair, 1.0, T), {}, TypeError, "structure"),
        ((complex_slope, 1.0, T), {}, TypeError, r"expected f64\[\], got c128"),
        ((identity, {"n": pnp.arange(3)}, T), {}, TypeError, r"y0\['n'\] must be of floats"),
        ((identity, "x", T), {}, TypeError, "y0 must be an array"),
        ((identity, 1.0, T, "x"), {}, TypeError, "args"),
        ((identity, 1.0, 2.0), {}, ValueError, "vector of one or more times"),
        ((identity, 1.0, 1j * T), {}, TypeError, "real numbers"),
        ((identity, 1.0, T), {"rtol": -1}, ValueError, "rtol"),
        ((identity, 1.0, T), {"hmax": 0}, ValueError, "hmax"),
        ((3, 1.0, T), {}, TypeError, "function"),
    ],
)
def test_refusals(args, options, error, message):
    with pytest.raises(error, match=message):
        odeint(*args, **options)


def test_collectives_are_refused():
    def f(y0):
        return odeint(lambda y, t: -lax.psum(y, "i"), y0, T)

    with pytest.raises(NotImplementedError, match="takes steps of its own"):
        pb.vmap(f, axis_name="i")(pnp.ones(3))


def test_one_function_under_two_names():
    assert odeint is implicit.odeint
