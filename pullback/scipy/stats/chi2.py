"""The chi-squared distribution, the gamma distribution of order `df / 2` and scale 2."""

from __future__ import annotations

from collections.abc import Callable

from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.scipy.stats import gamma
from pullback.scipy.stats._shared import real

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]


def _gamma(fun: Callable, name: str, x: ArrayLike, df: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Array:
    x, df, loc, scale = real(name, x, df, loc, scale)
    return fun(x, df / 2, loc, 2 * scale)


@boundary
def logpdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, of `z**(df / 2 - 1) exp(-z / 2)` up to a factor, with `z = (x - loc) / scale > 0`.

    Args:
      x: a real number or an array of any shape.
      df: the degrees of freedom, positive.
      loc: the lower end.
      scale: a positive number. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.logpdf(2., 2.))
    -1.6931472
    """
    return _gamma(gamma.logpdf, "chi2.logpdf", x, df, loc, scale)


@boundary
def pdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.pdf(0., 2.))
    0.5
    """
    return _gamma(gamma.pdf, "chi2.pdf", x, df, loc, scale)


@boundary
def cdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, `gammainc(df / 2, z / 2)`. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.cdf(2., 2.))
    0.63212055
    """
    return _gamma(gamma.cdf, "chi2.cdf", x, df, loc, scale)


@boundary
def logcdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `cdf`, accurate in both tails. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.logcdf(0., 2.))
    -inf
    """
    return _gamma(gamma.logcdf, "chi2.logcdf", x, df, loc, scale)


@boundary
def sf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.sf(2., 2.))
    0.36787945
    """
    return _gamma(gamma.sf, "chi2.sf", x, df, loc, scale)


@boundary
def logsf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `sf`, accurate in both tails. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.logsf(200., 2.))
    -100.0
    """
    return _gamma(gamma.logsf, "chi2.logsf", x, df, loc, scale)
