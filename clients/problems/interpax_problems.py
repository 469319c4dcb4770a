"""Splines in one to three dimensions, their derivatives, and by Fourier series."""

import interpax
import jax
import jax.numpy as jnp

_X = jnp.linspace(0.0, 2.0, 9)
_F = jnp.sin(2 * _X) + 0.3 * _X
_Q = jnp.array([0.05, 0.4, 1.13, 1.7])


def methods_in_one_dimension():
    results = []
    for method in ("nearest", "linear", "cubic", "cubic2", "cardinal", "catmull-rom", "monotonic", "akima"):
        results.append(interpax.interp1d(_Q, _X, _F, method=method))
        results.append(jax.grad(lambda f, m=method: interpax.interp1d(_Q, _X, f, method=m).sum())(_F))
    return results


def derivatives_and_periods():
    return [
        interpax.interp1d(_Q, _X, _F, method="cubic2", derivative=1),
        interpax.interp1d(_Q + 2.0, _X[:-1], _F[:-1], method="cubic", period=2.0),
        interpax.interp1d(jnp.array([-1.0, 3.0]), _X, _F, extrap=True),
        interpax.interp1d(jnp.array([-1.0, 3.0]), _X, _F, extrap=0.0),
    ]


def planes_and_volumes():
    y = jnp.linspace(-1.0, 1.0, 7)
    plane = jnp.cos(_X)[:, None] * jnp.exp(y)
    volume = plane[..., None] + jnp.linspace(0.0, 1.0, 5) ** 2
    q = jnp.array([-0.5, 0.1, 0.3, 0.9])
    return [interpax.interp2d(_Q, q, _X, y, plane, method=m) for m in ("linear", "cubic", "cubic2")] + [
        interpax.interp3d(_Q, q, q**2, _X, y, jnp.linspace(0.0, 1.0, 5), volume, method=m) for m in ("linear", "cubic")
    ]


def classes_as_pytrees():
    spline = interpax.Interpolator1D(_X, _F, method="cubic2")
    spline_grad = jax.jit(jax.vmap(jax.grad(lambda q, s: s(q)), in_axes=(0, None)))(_Q, spline)
    cubic, pchip, akima = (
        interpax.CubicSpline(_X, _F),
        interpax.PchipInterpolator(_X, _F),
        interpax.Akima1DInterpolator(_X, _F),
    )
    return (
        spline(_Q),
        spline_grad,
        [s(_Q) for s in (cubic, pchip, akima)],
        cubic.integrate(0.0, 1.5),
        cubic.derivative()(_Q),
    )


def fourier():
    values = jnp.sin(jnp.linspace(0.0, 2 * jnp.pi, 8, endpoint=False)) ** 3
    return interpax.fft_interp1d(values, 12), interpax.fft_interp2d(values[:, None] * values, 10, 12)
