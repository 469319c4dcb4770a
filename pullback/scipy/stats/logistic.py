"""The logistic distribution."""

from __future__ import annotations

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.sigmoids import log_logistic_slope_p, logistic_slope_p
from pullback.scipy import special
from pullback.scipy.stats._shared import real, standard

__all__ = ["cdf", "isf", "logpdf", "pdf", "ppf", "sf"]


def _log_density(z: Array, scale: Array) -> Array:
    return log_logistic_slope_p.bind(z) - pnp.log(scale)


@boundary
def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, `expit(z) * expit(-z) / scale` with `z = (x - loc) / scale`.

    Args:
      x: a real number or an array of any shape.
      loc: the mean.
      scale: a positive number. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import logistic
    >>> print(logistic.logpdf(0.))
    -1.3862944
    """
    return _log_density(*standard("logistic.logpdf", x, loc, scale))


@boundary
def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import logistic
    >>> print(logistic.pdf(0.))
    0.25
    """
    z, scale = standard("logistic.pdf", x, loc, scale)
    return logistic_slope_p.bind(z) / scale


@boundary
def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import logistic
    >>> print(logistic.cdf(0.))
    0.5
    """
    z, _ = standard("logistic.cdf", x, loc, scale)
    return special.expit(z)


@boundary
def sf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import logistic
    >>> print(logistic.sf(0.))
    0.5
    """
    z, _ = standard("logistic.sf", x, loc, scale)
    return special.expit(-z)


@boundary
def ppf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The inverse of `cdf`; nan outside [0, 1]. Errors are those of `logpdf`.

    >>> from pullback.scipy.stats import logistic
    >>> print(logistic.ppf(0.5))
    0.0
    """
    x, loc, scale = real("logistic.ppf", x, loc, scale)
    return loc + scale * special.logit(x)


@boundary
def isf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The inverse of `sf`; nan outside [0, 1]. Errors are those of `logpdf`.

    >>> from pullback.scipy.stats import logistic
    >>> print(logistic.isf(0.5))
    0.0
    """
    x, loc, scale = real("logistic.isf", x, loc, scale)
    return loc - scale * special.logit(x)
