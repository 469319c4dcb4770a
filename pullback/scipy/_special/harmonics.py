"""Spherical harmonics."""

from __future__ import annotations

import math

import numpy as np

import pullback.numpy as pnp
from pullback import lax
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.trace import Tracer
from pullback.numpy._elementwise.promotion import FLOAT, INTEGER, integer, promote_operands

__all__ = ["sph_harm_y"]


@boundary
def sph_harm_y(
    n: ArrayLike,
    m: ArrayLike,
    theta: ArrayLike,
    phi: ArrayLike,
    diff_n: int | None = None,
    n_max: int | None = None,
) -> Array:
    """The spherical harmonic of degree `n` and order `m` (DLMF 14.30.1), orthonormal, with Condon and Shortley's phase.

    Args:
      n, m: integers, the degree and the order; 0 results where |m| > n or n < 0.
      theta: the angle from the axis, in [0, pi].
      phi: the angle around it. All four broadcast together; both angles are differentiable.
      diff_n: not supported.
      n_max: the largest degree, a Python integer; greater ones are replaced by it. By default the largest of `n`,
        which then must be concrete.

    Returns: complex numbers of the common shape.
    Raises: NotImplementedError for `diff_n`; TypeError for `n` or `m` that are no integers, and a traced `n` without
      `n_max`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy import special
    >>> print(special.sph_harm_y(pnp.array([0, 1]), pnp.array([0, 0]), 0., 0.).real.round(5))
    [0.28209 0.4886 ]
    """
    if diff_n is not None:
        raise NotImplementedError("sph_harm_y: diff_n is not supported; differentiate the function itself")
    degree, order = promote_operands("sph_harm_y", INTEGER, n, m)
    theta, phi = promote_operands("sph_harm_y", FLOAT, theta, phi)
    if n_max is None:
        if isinstance(degree, Tracer):
            raise TypeError("sph_harm_y: n is traced, so its largest value is not known: give n_max, a Python integer")
        n_max = int(np.max(np.asarray(degree), initial=0))
    last = integer("sph_harm_y", "n_max", n_max)
    degree, positive = pnp.minimum(degree, last), abs(order)
    cosine, sine = pnp.cos(theta), pnp.sin(theta)
    m_float = positive.astype(theta.dtype)
    zero = pnp.zeros(pnp.broadcast_shapes(degree.shape, order.shape, theta.shape), theta.dtype)

    def step(l: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:  # noqa: E741
        """The normalized Legendre functions of degree l, by DLMF 14.7.10 and the recurrence 14.10.3."""
        diagonal, before, here, result = state
        k = l.astype(theta.dtype)
        grown = -pnp.sqrt((2 * k + 1) / (2 * k)) * sine
        diagonal = pnp.where(l <= positive, diagonal * grown, diagonal)
        above = l > positive
        square = pnp.where(above, k * k - m_float * m_float, 1)
        a = pnp.sqrt((4 * k * k - 1) / square)
        b = pnp.sqrt(pnp.maximum((k - 1) * (k - 1) - m_float * m_float, 0) / pnp.maximum(4 * (k - 1) * (k - 1) - 1, 1))
        following = pnp.where(above, a * (cosine * here - b * before), pnp.where(l == positive, diagonal, 0))
        return diagonal, here, following, pnp.where(l == degree, following, result)

    first = zero + math.sqrt(0.25 / math.pi)
    here = pnp.where(positive == 0, first, zero)
    start = (first, zero, here, pnp.where(degree == 0, here, zero))
    value = lax.fori_loop(1, last + 1, step, start)[3]
    # the negative orders are conjugates, with the sign of the order's parity
    value = pnp.where((order < 0) & (positive % 2 == 1), -value, value)
    turn = order.astype(phi.dtype) * phi
    return lax.complex(value * pnp.cos(turn), value * pnp.sin(turn))
