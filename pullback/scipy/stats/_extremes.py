"""The standard Gumbel distribution of the largest of many numbers, whose mirror image is that of the smallest.

Its distribution function is exp(-w) with w = exp(-z).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pullback.numpy as pnp
from pullback._core.array import Array
from pullback._ops.gamma_formulas import bernoulli
from pullback.custom_derivatives import custom_jvp
from pullback.scipy.stats._shared import where_inside

# below, exp(-w) and w exp(-w) are 0 in every dtype, and the slopes of w would be infinite
_LOW = -7.0
# B(2 k) / (2 k (2 k)!), for log(sinh(w / 2) / (w / 2)) in powers of w**2
_SERIES = [float(b / (2 * k * math.factorial(2 * k))) for k, b in enumerate(bernoulli(8), 1)]


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


@custom_jvp
def below(z: Array) -> Array:
    """`exp(-w)`."""
    return _of(0, lambda z, w: pnp.exp(-w), z)


@below.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return below(*primals), tangents[0] * density(*primals)


def log_below(z: Array) -> Array:
    """`-w`."""
    return -pnp.exp(-z)


@custom_jvp
def above(z: Array) -> Array:
    """`1 - exp(-w)`."""
    return _of(1, lambda z, w: -pnp.expm1(-w), z)


@above.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return above(*primals), -tangents[0] * density(*primals)


def log1mexp(w: Array, log_w: Array) -> Array:
    """`log(1 - exp(-w))` for positive w of which the logarithm is known too, also where w is below the range."""
    small = w < 0.5
    near = pnp.where(small, w, 0)
    # log((1 - exp(-w)) / w) = -w / 2 + log(sinh(w / 2) / (w / 2)), whose series keeps the digits of its slopes
    square = near * near
    series = pnp.full_like(near, _SERIES[-1])
    for coefficient in _SERIES[-2::-1]:
        series = series * square + coefficient
    ratio = square * series - near / 2
    return pnp.where(small, ratio + log_w, pnp.log1p(-pnp.exp(-pnp.where(small, 1, w))))


def log_above(z: Array) -> Array:
    """`log(1 - exp(-w))`: -z where w is small."""
    return _of(0, lambda z, w: log1mexp(w, -z), z)


@custom_jvp
def quantile(p: Array) -> Array:
    """The inverse of `below`."""
    return -pnp.log(-pnp.log(p))


@custom_jvp
def _quantile_slope(p: Array) -> Array:
    """`-1 / (p log(p))`, infinite at both ends."""
    return 1 / abs(pnp.where(p == 0, 0, p * pnp.log(pnp.where(p == 0, 1, p))))


@quantile.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return quantile(*primals), tangents[0] * _quantile_slope(*primals)


@_quantile_slope.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # one product, where the chain rule has a difference of terms that leave the range next to 0
    slope = _quantile_slope(*primals)
    return slope, tangents[0] * (slope * (1 + pnp.log(primals[0])) * slope)
