"""The standard Gumbel distribution of the largest of many numbers, whose mirror image is that of the smallest.

Its distribution function is exp(-w) with w = exp(-z).
"""

from __future__ import annotations

from collections.abc import Callable

import pullback.numpy as pnp
from pullback._core.array import Array
from pullback.custom_derivatives import custom_jvp
from pullback.scipy.stats._shared import where_inside

# below, exp(-w) and w exp(-w) are 0 in every dtype, and the slopes of w would be infinite
_LOW = -7.0


def _of(value: float, fun: Callable[[Array, Array], Array], z: Array) -> Array:
    return where_inside(z < _LOW, value, lambda z: fun(z, pnp.exp(-z)), z, 0)


@custom_jvp
def log_density(z: Array) -> Array:
    """`-z - w`."""
    return -z - pnp.exp(-z)


@log_density.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # w - 1, which vanishes at the mode
    return log_density(*primals), tangents[0] * pnp.expm1(-primals[0])


@custom_jvp
def density(z: Array) -> Array:
    """`w exp(-w)`."""
    return _of(0, lambda z, w: w * pnp.exp(-w), z)


@density.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    value = density(*primals)
    return value, tangents[0] * value * pnp.expm1(-pnp.maximum(primals[0], _LOW))


def below(z: Array) -> Array:
    """`exp(-w)`."""
    return _of(0, lambda z, w: pnp.exp(-w), z)


def log_below(z: Array) -> Array:
    """`-w`."""
    return -pnp.exp(-z)


def above(z: Array) -> Array:
    """`1 - exp(-w)`."""
    return _of(1, lambda z, w: -pnp.expm1(-w), z)


def log_above(z: Array) -> Array:
    """`log(1 - exp(-w))`: -z where w is small."""

    def log(z: Array, w: Array) -> Array:
        eps = float(pnp.finfo(z.dtype).eps)
        small, tiny = w < 0.5, w < eps
        near = pnp.where(small & ~tiny, w, 0.5)
        # (1 - exp(-w)) / w is 1 - w / 2 up to rounding where w is tiny
        ratio = pnp.where(tiny, -w / 2, pnp.log(-pnp.expm1(-near) / near))
        return pnp.where(small, ratio - z, pnp.log1p(-pnp.exp(-pnp.where(small, 1, w))))

    return _of(0, log, z)
