"""The normal distribution on an interval."""

from __future__ import annotations

import math

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.custom_derivatives import custom_jvp
from pullback.scipy import special
from pullback.scipy.stats._shared import real

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]

_ROOT = math.sqrt(0.5)


def _log_mass(a: Array, b: Array) -> Array:
    """The logarithm of the normal probability of an interval, a < b."""
    a, b = pnp.broadcast_arrays(a, b)
    # in the right tail by symmetry
    a, b = pnp.where(a > 0, -b, a), pnp.where(a > 0, -a, b)
    near, tail, narrow = (a >= -1) & (b <= 1), b <= 0, (b - a) * pnp.maximum(1, -a) < 0.02
    within = special.erf(pnp.where(near & ~narrow, b, 1) * _ROOT) - special.erf(
        pnp.where(near & ~narrow, a, -1) * _ROOT
    )
    # far out by the logarithms of both ends; none is subtracted for an infinite one
    out, whole = tail & ~near & ~narrow, a == -np.inf
    upper = special.log_ndtr(pnp.where(out, b, -1))
    lower = special.log_ndtr(pnp.where(out & ~whole, a, -2))
    left = upper + pnp.where(whole, 0, pnp.log(-pnp.expm1(pnp.where(out & ~whole, lower - upper, -1))))
    middle = ~near & ~tail
    outside = special.ndtr(pnp.where(middle, a, -2)) + special.ndtr(-pnp.where(middle, b, 2))
    value = pnp.where(near, pnp.log(within / 2), pnp.where(tail, left, pnp.log1p(-outside)))
    return pnp.where(narrow, _log_narrow_mass(pnp.where(narrow, a, 0), pnp.where(narrow, b, 0.01)), value)


def _log_narrow_mass(a: Array, b: Array) -> Array:
    """By the Taylor series of the density around the middle m, whose derivatives are polynomials of Hermite's in m."""
    width = b - a
    middle = a + width / 2
    square, step = middle * middle, width * width
    series = ((square - 6) * square + 3) * step / 1920 + (square - 1) / 24
    return -square / 2 - math.log(2 * math.pi) / 2 + pnp.log(width) + pnp.log1p(step * series)


def _log_standard_density(z: Array, a: Array, b: Array) -> Array:
    return (z * -0.5) * z - math.log(2 * math.pi) / 2 - _log_mass(a, b)


@custom_jvp
def _share(z: Array, a: Array, b: Array) -> Array:
    """The probability of (a, z) as a share of that of (a, b), a < z < b."""
    total = _log_mass(a, b)
    low = _log_mass(a, z) - total
    high = low > -0.5
    # near 1 by the complement
    return pnp.where(high, 1 - pnp.exp(pnp.where(high, _log_mass(z, b) - total, -1)), pnp.exp(low))


@_share.defjvp
def _(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """By the densities at z and at the ends: differences of probabilities would cancel."""
    z, a, b = primals
    value = _share(z, a, b)
    at_z, at_a, at_b = (pnp.exp(_log_standard_density(v, a, b)) for v in primals)
    of_z, of_a, of_b = tangents
    return value, of_z * at_z - of_a * at_a * _share(-z, -b, -a) - of_b * at_b * value


def _log_density(function: str, x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Array:
    x, a, b, loc, scale = real(function, x, a, b, loc, scale)
    z = (x - loc) / scale
    wrong, outside = ~(a < b), (z < a) | (z > b)
    z, a, b = pnp.where(outside, 0, z), pnp.where(wrong, -1, a), pnp.where(wrong, 1, b)
    value = _log_standard_density(z, a, b) - pnp.log(scale)
    return pnp.where(wrong, np.nan, pnp.where(outside, -np.inf, value))


def _below(function: str, mirrored: bool, log: bool, *args: ArrayLike) -> Array:
    """The distribution function or its logarithm; mirrored, of 1 less it."""
    x, a, b, loc, scale = real(function, *args)
    z = (x - loc) / scale
    if mirrored:
        z, a, b = -z, -b, -a
    wrong, below, above = ~(a < b), z < a, z > b
    inside = ~(wrong | below | above)
    a, b, z = pnp.where(inside, a, -1), pnp.where(inside, b, 1), pnp.where(inside, z, 0)
    if log:
        value = _log_mass(a, z) - _log_mass(a, b)
        high = value > -0.5
        value = pnp.where(high, pnp.log1p(-pnp.where(high, _share(-z, -b, -a), 0.5)), value)
    else:
        value = _share(z, a, b)
    ends = (-np.inf, 0) if log else (0, 1)
    return pnp.where(wrong, np.nan, pnp.where(below, ends[0], pnp.where(above, ends[1], value)))


@boundary
def logpdf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, that of the normal distribution divided by the probability of the interval.

    Args:
      x: a real number or an array of any shape.
      a, b: the ends of the interval for `z = (x - loc) / scale`, possibly infinite; the result is nan unless a < b.
      loc, scale: mean and standard deviation of the normal distribution. All broadcast together; the dtype is the
        promoted one, floating.

    Returns: -inf outside of the interval.
    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import truncnorm
    >>> print(truncnorm.logpdf(0., 0., float("inf")).round(5))
    -0.22579
    """
    return _log_density("truncnorm.logpdf", x, a, b, loc, scale)


@boundary
def pdf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import truncnorm
    >>> print(truncnorm.pdf(0., 0., float("inf")).round(5))
    0.79788
    """
    return pnp.exp(_log_density("truncnorm.pdf", x, a, b, loc, scale))


@boundary
def cdf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import truncnorm
    >>> print(truncnorm.cdf(0., -1., 1.).round(5))
    0.5
    """
    return _below("truncnorm.cdf", False, False, x, a, b, loc, scale)


@boundary
def logcdf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `cdf`. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import truncnorm
    >>> print(truncnorm.logcdf(0., -1., 1.).round(5))
    -0.69315
    """
    return _below("truncnorm.logcdf", False, True, x, a, b, loc, scale)


@boundary
def sf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import truncnorm
    >>> print(truncnorm.sf(0., -1., 1.).round(5))
    0.5
    """
    return _below("truncnorm.sf", True, False, x, a, b, loc, scale)


@boundary
def logsf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `sf`. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import truncnorm
    >>> print(truncnorm.logsf(0., -1., 1.).round(5))
    -0.69315
    """
    return _below("truncnorm.logsf", True, True, x, a, b, loc, scale)
