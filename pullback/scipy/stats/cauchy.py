"""The Cauchy distribution."""

from __future__ import annotations

import math

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.custom_derivatives import custom_jvp
from pullback.scipy.stats._shared import log1p_square, log_of, real, standard, where_probability

__all__ = ["cdf", "isf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def _log_density(z: Array, scale: Array) -> Array:
    return -log1p_square(z) - pnp.log(math.pi * scale)


def _density(z: Array, scale: Array) -> Array:
    # the square of the length does not overflow before the density vanishes, nor do its slopes
    inverse = 1 / pnp.hypot(1, z)
    return inverse * inverse / (math.pi * scale)


def _below(z: Array) -> Array:
    # the angle keeps the digits that 1/2 + arctan(z) / pi cancels
    return pnp.arctan2(1, -z) / math.pi


def _log_below(z: Array) -> Array:
    # far below, where the probability may underflow, it is 1 / (pi abs(z))
    far = z < -1 / float(pnp.finfo(z.dtype).eps)
    near = pnp.where(far, -1, z)
    return pnp.where(far, -pnp.log(pnp.where(far, -z, 1)) - math.log(math.pi), log_of(_below(near), _below(-near)))


@custom_jvp
def _quantile(q: Array) -> Array:
    # the tangent of the nearest of the angles 0, pi / 2 and pi: -cot(pi q) or tan(pi (q - 1/2))
    center, high = abs(q - 0.5) < 0.25, q > 0.5
    slope = pnp.tan(math.pi * pnp.where(center, q - 0.5, pnp.where(high, 1 - q, q)))
    return pnp.where(center, slope, pnp.where(high, 1, -1) / slope)


@_quantile.defjvp
def _(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    # by the value, which is large, not by the tangent of q, whose square vanishes first
    z = _quantile(*primals)
    return z, tangents[0] * (math.pi * (1 + z * z))


@boundary
def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, `1 / (pi * scale * (1 + z**2))` with `z = (x - loc) / scale`.

    Args:
      x: a real number or an array of any shape.
      loc: the median.
      scale: the distance of the quartiles from it, positive. All broadcast together; the dtype is the promoted one,
        floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import cauchy
    >>> print(cauchy.logpdf(0.))
    -1.14473
    """
    return _log_density(*standard("cauchy.logpdf", x, loc, scale))


@boundary
def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import cauchy
    >>> print(cauchy.pdf(0.))
    0.31830987
    """
    return _density(*standard("cauchy.pdf", x, loc, scale))


@boundary
def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import cauchy
    >>> print(cauchy.cdf(-1e30))
    3.1830988e-31
    """
    return _below(standard("cauchy.cdf", x, loc, scale)[0])


@boundary
def logcdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `cdf`, accurate at both ends. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import cauchy
    >>> print(cauchy.logcdf(0.))
    -0.6931472
    """
    return _log_below(standard("cauchy.logcdf", x, loc, scale)[0])


@boundary
def sf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import cauchy
    >>> print(cauchy.sf(1e30))
    3.1830988e-31
    """
    return _below(-standard("cauchy.sf", x, loc, scale)[0])


@boundary
def logsf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `sf`, accurate at both ends. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import cauchy
    >>> print(cauchy.logsf(0.))
    -0.6931472
    """
    return _log_below(-standard("cauchy.logsf", x, loc, scale)[0])


@boundary
def ppf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The inverse of `cdf`; nan outside [0, 1]. Errors are those of `logpdf`.

    >>> from pullback.scipy.stats import cauchy
    >>> print(cauchy.ppf(0.75).round(3))
    1.0
    """
    q, loc, scale = real("cauchy.ppf", q, loc, scale)
    return loc + scale * where_probability(q, _quantile)


@boundary
def isf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The inverse of `sf`; nan outside [0, 1]. Errors are those of `logpdf`.

    >>> from pullback.scipy.stats import cauchy
    >>> print(cauchy.isf(0.25).round(3))
    1.0
    """
    q, loc, scale = real("cauchy.isf", q, loc, scale)
    return loc - scale * where_probability(q, _quantile)
