"""The left-skewed Gumbel distribution, of the smallest of many numbers."""

from __future__ import annotations

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.scipy.stats import _extremes
from pullback.scipy.stats._shared import real, standard, where_probability

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


@boundary
def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, `exp(z - exp(z)) / scale` with `z = (x - loc) / scale`.

    Args:
      x: a real number or an array of any shape.
      loc: the mode.
      scale: a positive number. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import gumbel_l
    >>> print(gumbel_l.logpdf(0.).round(5))
    -1.0
    """
    z, scale = standard("gumbel_l.logpdf", x, loc, scale)
    return _extremes.log_density(-z) - pnp.log(scale)


@boundary
def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_l
    >>> print(gumbel_l.pdf(0.).round(5))
    0.36788
    """
    z, scale = standard("gumbel_l.pdf", x, loc, scale)
    return _extremes.density(-z) / scale


@boundary
def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_l
    >>> print(gumbel_l.cdf(0.).round(5))
    0.63212
    """
    return _extremes.above(-standard("gumbel_l.cdf", x, loc, scale)[0])


@boundary
def logcdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `cdf`, accurate at both ends. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_l
    >>> print(gumbel_l.logcdf(0.).round(5))
    -0.45868
    """
    return _extremes.log_above(-standard("gumbel_l.logcdf", x, loc, scale)[0])


@boundary
def sf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_l
    >>> print(gumbel_l.sf(0.).round(5))
    0.36788
    """
    return _extremes.below(-standard("gumbel_l.sf", x, loc, scale)[0])


@boundary
def logsf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `sf`, accurate at both ends. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_l
    >>> print(gumbel_l.logsf(0.).round(5))
    -1.0
    """
    return _extremes.log_below(-standard("gumbel_l.logsf", x, loc, scale)[0])


@boundary
def ppf(p: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The inverse of `cdf`; infinite at 0 and 1, nan outside [0, 1]. Errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gumbel_l
    >>> print(gumbel_l.ppf(0.5).round(5))
    -0.36651
    """
    p, loc, scale = real("gumbel_l.ppf", p, loc, scale)
    return loc + scale * where_probability(p, lambda p: pnp.log(-pnp.log1p(-p)))
