"""The right-skewed Gumbel distribution, of the largest of many numbers."""

from __future__ import annotations

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.scipy.stats import _extremes
from pullback.scipy.stats._shared import real, standard, where_probability

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


@boundary
def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, `exp(-z - exp(-z)) / scale` with `z = (x - loc) / scale`.

    Args:
      x: a real number or an array of any shape.
      loc: the mode.
      scale: a positive number. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import gumbel_r
    >>> print(gumbel_r.logpdf(0.).round(5))
    -1.0
    """
    z, scale = standard("gumbel_r.logpdf", x, loc, scale)
    return _extremes.log_density(z) - pnp.log(scale)


@boundary
def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_r
    >>> print(gumbel_r.pdf(0.).round(5))
    0.36788
    """
    z, scale = standard("gumbel_r.pdf", x, loc, scale)
    return _extremes.density(z) / scale


@boundary
def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_r
    >>> print(gumbel_r.cdf(0.).round(5))
    0.36788
    """
    return _extremes.below(standard("gumbel_r.cdf", x, loc, scale)[0])


@boundary
def logcdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `cdf`, accurate at both ends. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_r
    >>> print(gumbel_r.logcdf(0.).round(5))
    -1.0
    """
    return _extremes.log_below(standard("gumbel_r.logcdf", x, loc, scale)[0])


@boundary
def sf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_r
    >>> print(gumbel_r.sf(0.).round(5))
    0.63212
    """
    return _extremes.above(standard("gumbel_r.sf", x, loc, scale)[0])


@boundary
def logsf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `sf`, accurate at both ends. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_r
    >>> print(gumbel_r.logsf(0.).round(5))
    -0.45868
    """
    return _extremes.log_above(standard("gumbel_r.logsf", x, loc, scale)[0])


@boundary
def ppf(p: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The inverse of `cdf`; infinite at 0 and 1, nan outside [0, 1]. Errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_r
    >>> print(gumbel_r.ppf(0.5).round(5))
    0.36651
    """
    p, loc, scale = real("gumbel_r.ppf", p, loc, scale)
    return loc + scale * where_probability(p, _extremes.quantile)
