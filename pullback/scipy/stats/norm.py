"""The normal distribution."""

from __future__ import annotations

import math

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.numpy._elementwise.promotion import strong
from pullback.scipy import special
from pullback.scipy._normal_quantile import normal_quantile
from pullback.scipy.stats._shared import real, standard

__all__ = ["cdf", "isf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def _log_density(z: Array, scale: Array) -> Array:
    # the slopes of the factors do not overflow, as that of z * z does
    return (z * -0.5) * z - math.log(2 * math.pi) / 2 - pnp.log(abs(scale))


@boundary
def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, `-z**2 / 2 - log(scale * sqrt(2 pi))` with `z = (x - loc) / scale`.

    Args:
      x: a real number or an array of any shape.
      loc: the mean.
      scale: the standard deviation, positive. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import norm
    >>> print(norm.logpdf(0.))
    -0.9189385
    """
    return _log_density(*standard("norm.logpdf", x, loc, scale))


@boundary
def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import norm
    >>> print(norm.pdf(0.))
    0.3989423
    """
    return pnp.exp(_log_density(*standard("norm.pdf", x, loc, scale)))


@boundary
def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import norm
    >>> print(norm.cdf(0.))
    0.5
    """
    z, _ = standard("norm.cdf", x, loc, scale)
    return special.ndtr(strong(z))


@boundary
def logcdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `cdf`, accurate at both ends, and so is its derivative.

    Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import norm
    >>> print(norm.logcdf(-100.))
    -5005.5244
    """
    z, _ = standard("norm.logcdf", x, loc, scale)
    return special.log_ndtr(strong(z))


@boundary
def sf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import norm
    >>> print(norm.sf(0.))
    0.5
    """
    z, _ = standard("norm.sf", x, loc, scale)
    return special.ndtr(-strong(z))


@boundary
def logsf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `sf`, accurate at both ends. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import norm
    >>> print(norm.logsf(100.))
    -5005.5244
    """
    z, _ = standard("norm.logsf", x, loc, scale)
    return special.log_ndtr(-strong(z))


@boundary
def ppf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The inverse of `cdf`, accurate down to the smallest probabilities; nan outside [0, 1].

    Errors are those of `logpdf`.

    >>> from pullback.scipy.stats import norm
    >>> print(norm.ppf(0.5))
    0.0
    """
    q, loc, scale = real("norm.ppf", q, loc, scale)
    return loc + scale * normal_quantile(strong(q))


@boundary
def isf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The inverse of `sf`, accurate down to the smallest probabilities; nan outside [0, 1].

    Errors are those of `logpdf`.

    >>> from pullback.scipy.stats import norm
    >>> print(norm.isf(0.5))
    0.0
    """
    q, loc, scale = real("norm.isf", q, loc, scale)
    return loc - scale * normal_quantile(strong(q))
