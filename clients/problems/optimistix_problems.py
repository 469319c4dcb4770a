"""Roots, fixed points, least squares and minima, with their implicit derivatives."""

import jax
import jax.numpy as jnp
import optimistix as optx

_Y0 = jnp.array([0.6, 0.9])


def _system(y, args):
    return jnp.array([y[0] ** 2 + y[1] - args[0], jnp.sin(y[0]) + y[1] ** 2 - args[1]])


_ARGS = jnp.array([1.5, 1.3])


def _root(solver):
    def f(args):
        return optx.root_find(_system, solver, _Y0, args, max_steps=200).value

    pair = jnp.stack([_ARGS, _ARGS])
    return f(_ARGS), jax.jacobian(f)(_ARGS), jax.jvp(f, (_ARGS,), (jnp.ones(2),)), jax.vmap(f)(pair)


def newton():
    return _root(optx.Newton(rtol=1e-6, atol=1e-6))


def chord():
    return _root(optx.Chord(rtol=1e-6, atol=1e-6))


def bisection():
    def f(a):
        solver = optx.Bisection(rtol=1e-6, atol=1e-6)
        return optx.root_find(lambda y, args: y**3 - args, solver, 1.0, a, options={"lower": 0.0, "upper": 5.0}).value

    return f(8.0), jax.grad(f)(8.0)


def root_by_least_squares():
    return _root(optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6))


def fixed_points():
    def f(theta):
        solver = optx.FixedPointIteration(rtol=1e-7, atol=1e-7)
        return optx.fixed_point(lambda y, args: jnp.cos(args * y), solver, jnp.array([0.5, 0.7]), theta).value.sum()

    def by_newton(theta):
        solver = optx.Newton(rtol=1e-6, atol=1e-6)
        return optx.fixed_point(lambda y, args: jnp.cos(args * y), solver, jnp.array(0.5), theta).value

    return f(0.8), jax.grad(f)(0.8), by_newton(0.8), jax.grad(by_newton)(0.8)


def _residual(y, args):
    t, data = args
    return y["a"] * jnp.exp(-y["b"] * t) + y["c"] - data


def _fit(solver, max_steps=256):
    t = jnp.linspace(0.0, 2.0, 30)

    def f(scale):
        data = scale * (2.0 * jnp.exp(-1.5 * t) + 0.3) + 0.05 * jnp.sin(9 * t)
        start = {"a": jnp.array(1.0), "b": jnp.array(1.0), "c": jnp.array(0.0)}
        return optx.least_squares(_residual, solver, start, (t, data), max_steps=max_steps).value

    return f(1.0), jax.jacobian(f)(1.0)


def levenberg_marquardt():
    return _fit(optx.LevenbergMarquardt(rtol=1e-7, atol=1e-7))


def indirect_levenberg_marquardt():
    return _fit(optx.IndirectLevenbergMarquardt(rtol=1e-6, atol=1e-6))


def gauss_newton():
    return _fit(optx.GaussNewton(rtol=1e-7, atol=1e-7))


def dogleg():
    return _fit(optx.Dogleg(rtol=1e-6, atol=1e-6))


def _rosenbrock(y, args):
    return (args - y[0]) ** 2 + 10.0 * (y[1] - y[0] ** 2) ** 2


def _minimum(solver, max_steps=2000):
    def f(a):
        return optx.minimise(_rosenbrock, solver, jnp.array([-0.5, 0.8]), a, max_steps=max_steps).value

    return f(1.0), jax.jacobian(f)(1.0)


def bfgs():
    return _minimum(optx.BFGS(rtol=1e-6, atol=1e-6))


def lbfgs():
    return _minimum(optx.LBFGS(rtol=1e-6, atol=1e-6))


def nonlinear_conjugate_gradient():
    return _minimum(optx.NonlinearCG(rtol=1e-6, atol=1e-6))


def gradient_descent():
    return _minimum(optx.GradientDescent(0.02, rtol=1e-5, atol=1e-6), 5000)


def nelder_mead():
    solver = optx.NelderMead(rtol=1e-5, atol=1e-5)
    return optx.minimise(_rosenbrock, solver, jnp.array([-0.5, 0.8]), 1.0, max_steps=2000).value


def golden_section():
    solver = optx.GoldenSearch(rtol=1e-5, atol=1e-5)
    return optx.minimise(lambda y, a: (y - a) ** 2, solver, 0.5, 0.3, options={"lower": -1.0, "upper": 2.0}).value


def optax_inside():
    import optax

    solver = optx.OptaxMinimiser(optax.adam(0.05), rtol=1e-4, atol=1e-4)
    return optx.minimise(_rosenbrock, solver, jnp.array([-0.5, 0.8]), 1.0, max_steps=3000).value


def best_so_far():
    solver = optx.BestSoFarMinimiser(optx.BFGS(rtol=1e-6, atol=1e-6))
    return optx.minimise(_rosenbrock, solver, jnp.array([-0.5, 0.8]), 1.0).value
