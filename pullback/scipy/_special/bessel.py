"""Bessel functions of the first kind, of all whole orders up to one."""

from __future__ import annotations

import math

import numpy as np

import pullback.numpy as pnp
from pullback import lax
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.custom_derivatives import custom_jvp
from pullback.numpy._elementwise.promotion import FLOAT, integer, promote_operands

__all__ = ["bessel_jn"]

_HANKEL_FROM = 25  # the asymptotic series is exact in double precision from here on


@boundary
def bessel_jn(z: ArrayLike, *, v: int, n_iter: int = 50) -> Array:
    """The Bessel functions of the first kind J(0), ..., J(v) at `z` (DLMF 10.2.2).

    Args:
      z: a real number or an array of any shape, in floating point or converted to it.
      v: the largest order, an integer of at least 0.
      n_iter: accepted, and changes nothing: the recurrence takes as many steps as are needed.

    Returns: an array of shape `(v + 1, *z.shape)`, differentiable in `z`.
    Raises: TypeError for complex numbers and a `v` that is no integer, ValueError for a negative one.

    >>> from pullback.scipy import special
    >>> print(special.bessel_jn(1., v=2).round(5))
    [0.7652  0.44005 0.1149 ]
    """
    order = integer("bessel_jn", "v", v)
    if order < 0:
        raise ValueError(f"bessel_jn: v must be at least 0, got {order}")
    integer("bessel_jn", "n_iter", n_iter)
    (x,) = promote_operands("bessel_jn", FLOAT, z)
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    return _orders(wide, order).astype(x.dtype)


def _orders(x: Array, last: int) -> Array:
    @custom_jvp
    def values(x: Array) -> Array:
        return _all(x, last)

    @values.defjvp
    def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        # DLMF 10.6.1, with J(-1) = -J(1)
        more = _orders(primals[0], last + 1)
        below = pnp.concatenate([-more[1:2], more[:last]])
        return values(*primals), (below - more[1:]) / 2 * tangents[0]

    return values(x)


def _all(x: Array, last: int) -> Array:
    """J(0), ..., J(last), by recurrence downwards for small numbers and upwards for large ones."""
    size, cut = abs(x), max(_HANKEL_FROM, last)
    tiny = size < (1e-4 if x.dtype.itemsize == 8 else 1e-2)
    large = size > cut
    down = _downwards(pnp.where(tiny | large, 1, size), last, cut)
    # every order at once, with the greatest power first
    up = _upwards(pnp.where(large & (size < np.inf), size, cut + 1), last)
    least = _first_terms(pnp.where(tiny, size, 0), last)
    value = pnp.where(tiny, least, pnp.where(large, up, down))
    odd = (np.arange(last + 1) % 2 == 1).reshape(-1, *(1,) * x.ndim)
    value = pnp.where(odd & (x < 0), -value, value)
    return pnp.where(pnp.isnan(x), x, pnp.where(size == np.inf, 0, value))


def _first_terms(x: Array, last: int) -> Array:
    """The first two terms of the power series DLMF 10.2.2."""
    half, rows, power = x / 2, [], pnp.ones_like(x)
    for n in range(last + 1):
        rows.append(power * (1 - half * half / (n + 1)))
        power = power * (half / (n + 1))
    return pnp.stack(rows)


def _downwards(x: Array, last: int, cut: int) -> Array:
    """Miller's algorithm: from an order at which J is negligible, then by J(0) + 2 J(2) + 2 J(4) + ... = 1."""
    top = 2 * math.ceil((cut + 12 * cut ** (1 / 3) + 30) / 2)

    def step(i: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        above, here, total, kept = state
        k = top - i
        below = (2 * k / x) * here - above
        # the recurrence grows: everything is scaled to numbers up to 1
        scale = 1 / pnp.maximum(abs(below), 1)
        below, here = below * scale, here * scale
        total = total * scale + pnp.where((k - 1) % 2 == 0, pnp.where(k == 1, 1, 2) * below, 0)
        chosen = (pnp.arange(last + 1) == k - 1).reshape(-1, *(1,) * x.ndim)
        return here, below, total, pnp.where(chosen, below, kept * scale)

    zero = pnp.zeros_like(x)
    start = (zero, zero + 1, zero, pnp.zeros((last + 1, *x.shape), x.dtype))
    _, _, total, kept = lax.fori_loop(0, top, step, start)
    return kept / total


def _hankel(x: Array, order: int) -> tuple[Array, Array]:
    """P and Q of Hankel's expansion (DLMF 10.17.3)."""
    coefficient, parts = 1.0, ([], [])  # type: tuple[float, tuple[list[float], list[float]]]
    for k in range(24):
        parts[k % 2].append((-1) ** (k // 2) * coefficient)
        coefficient *= (4 * order * order - (2 * k + 1) ** 2) / (8 * (k + 1))
    square = 1 / (x * x)
    p, q = (pnp.zeros_like(x), pnp.zeros_like(x))
    for a, b in zip(reversed(parts[0]), reversed(parts[1]), strict=True):
        p, q = p * square + a, q * square + b
    return p, q / x


def _upwards(x: Array, last: int) -> Array:
    """J(0) and J(1) by Hankel's expansion, then the recurrence DLMF 10.6.1, stable up to the order x."""
    cosine, sine = pnp.cos(x), pnp.sin(x)
    front = 1 / pnp.sqrt(math.pi * x)
    (p, q), (r, s) = _hankel(x, 0), _hankel(x, 1)
    rows = [front * (p * (cosine + sine) - q * (sine - cosine)), front * (r * (sine - cosine) + s * (sine + cosine))]
    for n in range(1, last):
        rows.append(2 * n / x * rows[n] - rows[n - 1])
    return pnp.stack(rows[: last + 1])
