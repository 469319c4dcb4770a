"""Initial value problems: accuracy, both modes to any order, captured values, batches, and what is refused."""

import itertools

import jax
import numpy as np
import pytest
import scipy.integrate
from jax.experimental.ode import odeint as jax_odeint

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


# problems with solutions in closed form: (rate(y, t, θ), solution(t, y0, θ), y0, θ)

def _logistic(t, y0, p):
    growth = pnp.exp(p[0] * (t - t[0]))
    return p[1] * y0 * growth / (p[1] + y0 * (growth - 1))


def _oscillator(t, y0, p):
    w, s = p[0], t - t[0]
    c, d = pnp.cos(w * s), pnp.sin(w * s)
    return pnp.stack([y0[0] * c + y0[1] / w * d, -y0[0] * w * d + y0[1] * c], 1)


PROBLEMS = {
    "decay": (lambda y, t, p: -p[0] * y, lambda t, y0, p: y0 * pnp.exp(-p[0] * (t - t[0])), 1.5, [0.8, 0.0]),
    "logistic": (lambda y, t, p: p[0] * y * (1 - y / p[1]), _logistic, 0.3, [1.4, 2.0]),
    "oscillator": (lambda y, t, p: pnp.stack([y[1], -p[0] ** 2 * y[0]]), _oscillator, [0.5, -1.0], [1.7, 0.0]),
    "forced": (lambda y, t, p: p[0] * pnp.cos(p[1] * t) * y,
               lambda t, y0, p: y0 * pnp.exp(p[0] / p[1] * (pnp.sin(p[1] * t) - pnp.sin(p[1] * t[0]))), 0.7,
               [0.9, 1.3]),
}


@pytest.fixture(params=PROBLEMS)
def problem(request):
    rate, solution, y0, p = PROBLEMS[request.param]
    return rate, solution, pnp.asarray(y0), pnp.asarray(p)


@pytest.mark.parametrize("t", [T, T[::-1].copy(), T + 3], ids=["forwards", "backwards", "late"])
def test_solution(problem, t):
    rate, solution, y0, p = problem
    close(odeint(rate, y0, t, p), solution(t, y0, p))
    close(pb.jit(lambda *args: odeint(rate, *args))(y0, t, p), solution(t, y0, p))


@pytest.mark.parametrize("mode", [pb.jacfwd, pb.jacrev])
@pytest.mark.parametrize("t", [T, T[::-1].copy()], ids=["forwards", "backwards"])
def test_first_derivatives(problem, mode, t):
    rate, solution, y0, p = problem
    got = mode(lambda *args: odeint(rate, *args), (0, 1, 2))(y0, t, p)
    expected = pb.jacfwd(lambda y0, t, p: solution(t, y0, p), (0, 1, 2))(y0, t, p)
    for a, b in zip(got, expected, strict=True):
        close(a, b)


@pytest.mark.parametrize(("outer", "inner"), MODES, ids=NAMES)
def test_second_derivatives(outer, inner):
    rate, solution, y0, p = PROBLEMS["logistic"]
    y0, p, t = pnp.asarray(y0), pnp.asarray(p), pnp.asarray(T[:3])

    def of(solve):
        def f(z):
            return (solve(z[:y0.size].reshape(y0.shape), z[y0.size:y0.size + 2], z[y0.size + 2:]) ** 2).sum()
        return f

    z = pnp.concatenate([y0.reshape(-1), p, t])
    got = pb.jit(outer(inner(of(lambda y0, p, t: odeint(rate, y0, t, p)))))(z)
    close(got, pb.hessian(of(lambda y0, p, t: solution(t, y0, p)))(z), atol=1e-6)


def test_third_derivative():
    def f(k):
        return odeint(lambda y, t: -k * y, 1.0, T[:2])[-1]

    third = pb.jit(pb.jacfwd(pb.jacfwd(pb.grad(f))))
    close(third(0.5), -(0.4 ** 3) * np.exp(-0.2))


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
    inner = pb.grad(lambda p: pb.grad(lambda y0: captured(p, y0, T))(0.3))(args[0])
    close(inner, pb.jacfwd(lambda p: pb.grad(explicit, 1)(p, 0.3, T))(args[0]), atol=1e-7)


def test_captured_under_jit_and_cond():
    def f(k, flag):
        return lax.cond(flag, lambda: odeint(lambda y, t: -k * y, 1.0, T)[-1], lambda: k)

    close(pb.jit(pb.grad(f))(0.5, True), -1.5 * np.exp(-0.75))
    close(pb.grad(f)(0.5, False), 1.0)


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
    grads = pb.grad(lambda y0: odeint(rate, y0, T, 1.5)["x"][-1].sum() + odeint(rate, y0, T, 1.5)["v"][0][-1])(y0)
    close(grads["x"], np.full(2, np.exp(-1.5 * 1.5)))
    close(grads["v"][0], np.exp(3.0), rtol=1e-6)


def test_single_precision():
    with pb.enable_x64(False):
        t = pnp.linspace(0.0, 2.0, 5)
        out = odeint(lambda y, t, k: -k * y, 1.0, t, 0.7)
        assert out.dtype == np.float32
        close(out, np.exp(-0.7 * np.asarray(t)), rtol=2e-6)
        close(pb.grad(lambda k: odeint(lambda y, t: -k * y, 1.0, t)[-1])(0.7), -2 * np.exp(-1.4), rtol=5e-6)


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
    close(mode(lambda t: f_at(t))(pnp.asarray(T)), pb.jacfwd(lambda t: exact_at(t))(pnp.asarray(T)))


def f_at(t):
    return odeint(lambda y, s: 1j * y, pnp.array(2.0 + 0j), t).real


def exact_at(t):
    return 2 * pnp.cos(t - t[0])


def van_der_pol(y, t, mu):
    return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


def test_against_scipy():
    t = np.linspace(0, 8, 30)
    expected = scipy.integrate.solve_ivp(lambda t, y: van_der_pol(y, t, 3.0), (0, 8), [1.0, 0.0], method="DOP853",
                                         t_eval=t, rtol=1e-12, atol=1e-12).y
    got = odeint(van_der_pol, [1.0, 0.0], t, 3.0, rtol=1e-10, atol=1e-10)
    close(pnp.stack(got), expected, rtol=1e-7, atol=1e-8)


def test_gradients_against_jax():
    t = np.linspace(0, 3, 5)
    y0, mu = [np.array(1.0), np.array(0.2)], 1.2

    def loss(solver):
        return lambda y0, t, mu: sum((y ** 2).sum() for y in solver(van_der_pol, y0, t, mu))

    with jax.enable_x64(True):
        expected = jax.grad(loss(jax_odeint), (0, 1, 2))(y0, t, mu)
    got = pb.grad(loss(odeint), (0, 1, 2))(y0, t, mu)
    for a, b in zip(pb.tree_util.tree_leaves(got), pb.tree_util.tree_leaves(expected), strict=True):
        close(a, b, rtol=1e-5, atol=1e-6)


def test_tolerances():
    errors = [abs(float(odeint(lambda y, t: pnp.cos(t) * y, 1.0, T, rtol=tol, atol=tol)[-1]) - np.exp(np.sin(1.5)))
              for tol in (1e-3, 1e-6, 1e-10)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-9
    assert errors[0] < 1e-2


def test_nothing_is_evaluated_beyond_the_end():
    # the square root is real up to the last time only
    t = np.array([0.0, 0.5, 1.0])
    out = odeint(lambda y, t: -pnp.sqrt(1 - t), 1.0, t, rtol=1e-9, atol=1e-9)
    close(out, 1 / 3 + 2 / 3 * (1 - t) ** 1.5, atol=1e-6)


# --- batches: every example takes the steps that it would take alone ---


TRANSFORMS = {"value": lambda f: f, "jit": pb.jit, "grad": pb.grad, "hessian": lambda f: pb.jacfwd(pb.grad(f))}
AXES = [(0, None, None), (None, 0, None), (None, None, 0), (0, 0, 0)]


@pytest.mark.parametrize(("axes", "transform"), [*itertools.product(AXES, ["value", "jit", "grad"]),
                                                 ((0, 0, 0), "hessian")], ids=str)
def test_vmap(axes, transform):
    rng = np.random.default_rng(0)
    batch = (rng.uniform(0.5, 1.5, 3), np.sort(rng.uniform(0, 2, (3, 4)), 1), rng.uniform(0.5, 9.0, 3))

    def f(y0, t, k):
        return (odeint(lambda y, s, k: -k * y * pnp.cos(s), y0, t, k) ** 2).sum()

    g = TRANSFORMS[transform](f)
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
        return pnp.stack([pnp.stack([one(w, y0, end, s) for end in ends])
                          for y0, s in zip(starts, scale, strict=True)])

    scale = pnp.array([1.0, 0.5, 2.0])
    close(batched(weights, scale), listed(weights, scale), rtol=1e-12)
    for a, b in zip(mode(batched, (0, 1))(weights, scale), mode(listed, (0, 1))(weights, scale), strict=True):
        close(a, b, rtol=1e-9, atol=1e-10)


def test_a_lane_that_fails_leaves_the_others_alone():
    # y' = y² has a pole at 1 / y0
    out = pb.vmap(lambda y0: odeint(lambda y, t: y ** 2, y0, np.array([0.0, 0.5, 1.5])))(pnp.array([0.5, 1.0, 0.25]))
    assert np.isnan(out[1, 2])
    assert np.isfinite(np.delete(np.asarray(out).ravel(), 5)).all()
    close(out[0], [0.5, 0.5 / 0.75, 2.0])


# --- use inside of other transformations ---


def test_linearize_and_transpose():
    def f(k):
        return odeint(lambda y, t: -k * y, 1.0, T)

    _, push = pb.linearize(f, 0.8)
    close(push(2.0), pb.jvp(f, (0.8,), (2.0,))[1])
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
        return pb.jvp(lambda k: odeint(lambda y, t: -k * y, 1.0, T), (0.8,), (dot,))[1]

    close(pb.linear_transpose(push, 1.0)(pnp.ones(4))[0], push(1.0).sum())
    transposed = pb.vmap(lambda ct: pb.linear_transpose(pb.jit(push), 1.0)(ct)[0])(pnp.eye(4))
    close(transposed, push(1.0))


@pytest.mark.parametrize("mode", [pb.jacfwd, pb.jacrev])
def test_in_scan(mode):
    def f(k):
        def step(y, _):
            y = odeint(lambda y, t: -k * y, y, pnp.array([0.0, 0.1]))[-1]
            return y, y

        return lax.scan(step, 1.0, None, length=4)[1]

    close(mode(f)(0.5), -0.1 * np.arange(1, 5) * np.exp(-0.05 * np.arange(1, 5)))


def test_solver_runs_once_in_compiled_gradients():
    jaxpr = pb.make_jaxpr(pb.grad(lambda k: odeint(lambda y, t: -k * y, 1.0, T)[-1]))(0.5)
    check_jaxpr(jaxpr)
    names = [eqn.primitive.name for eqn in jaxpr.jaxpr.eqns]
    assert [name for name in names if "odeint" in name] == ["odeint", "odeint_adjoint"]


# --- edges ---


def test_one_time_and_repeated_times():
    close(odeint(lambda y, t: y, 2.0, [0.5]), [2.0])
    close(pb.grad(lambda y: odeint(lambda y, t: y, y, [0.5])[0])(2.0), 1.0)
    t = np.array([0.0, 0.0, 1.0, 1.0])
    close(odeint(lambda y, t: y, 2.0, t), 2 * np.exp(t))
    close(pb.grad(lambda k: odeint(lambda y, t: k * y, 2.0, t).sum())(1.0), 4 * np.e)


def test_constant_slopes_and_steady_states():
    close(odeint(lambda y, t: 1, 0.0, T), T)
    close(odeint(lambda y, t: 0 * y, 3.0, T), np.full(4, 3.0))
    close(odeint(lambda y, t: -y, 0.0, T, atol=0.0), np.zeros(4))


def test_too_many_steps_give_nan():
    out = odeint(lambda y, t: -50 * y, 1.0, T, mxstep=2)
    assert out[0] == 1.0
    assert np.isnan(out[1:]).all()
    assert np.isfinite(odeint(lambda y, t: -50 * y, 1.0, T, mxstep=2000)).all()


def test_short_steps_are_kept():
    # a pulse that long steps would jump over
    def pulse(y, t):
        return pnp.exp(-((t - 5) / 0.01) ** 2)

    close(odeint(pulse, 0.0, [0.0, 10.0], hmax=0.005, rtol=1e-6, atol=1e-8)[-1], 0.01 * np.sqrt(np.pi), rtol=1e-4)


def test_times_out_of_order():
    with pytest.raises(ValueError, match=r"increase throughout .* t\[1:3\]"):
        odeint(lambda y, t: y, 1.0, np.array([0.0, 1.0, 0.5]))
    # where the values are not known, a time that lies behind is nan, not a wrong value
    out = pb.jit(lambda t: odeint(lambda y, t: y, 1.0, t))(np.array([1.0, 0.0, 2.0]))
    assert np.isnan(out[1])
    assert out[0] == 1.0


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: odeint(lambda y, t: {"a": y["a"], "b": y["b"][:1]}, {"a": 1.0, "b": pnp.ones(2)}, T), TypeError, "'b'"),
    (lambda: odeint(lambda y, t: (y, y), 1.0, T), TypeError, "structure"),
    (lambda: odeint(lambda y, t: 1j * y, 1.0, T), TypeError, r"expected f64\[\], got c128"),
    (lambda: odeint(lambda y, t: y, {"n": pnp.arange(3)}, T), TypeError, r"y0\['n'\] must be of floats"),
    (lambda: odeint(lambda y, t: y, "x", T), TypeError, "y0 must be an array"),
    (lambda: odeint(lambda y, t, s: y, 1.0, T, "x"), TypeError, "args"),
    (lambda: odeint(lambda y, t: y, 1.0, 2.0), ValueError, "vector of one or more times"),
    (lambda: odeint(lambda y, t: y, 1.0, 1j * T), TypeError, "real numbers"),
    (lambda: odeint(lambda y, t: y, 1.0, T, rtol=-1), ValueError, "rtol"),
    (lambda: odeint(lambda y, t: y, 1.0, T, hmax=0), ValueError, "hmax"),
    (lambda: odeint(3, 1.0, T), TypeError, "function"),
])
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_collectives_are_refused():
    def f(y0):
        return odeint(lambda y, t: -lax.psum(y, "i"), y0, T)

    with pytest.raises(NotImplementedError, match="takes steps of its own"):
        pb.vmap(f, axis_name="i")(pnp.ones(3))


def test_one_function_under_two_names():
    assert odeint is implicit.odeint
