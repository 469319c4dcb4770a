"""The exponential distribution."""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.nn.activations import log1mexp
from pullback.scipy.stats._shared import real, standard, where_inside, where_probability

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def _log_density(z: Array, scale: Array) -> Array:
    return pnp.where(z < 0, -np.inf, -z - pnp.log(scale))


@boundary
def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, `-z - log(scale)` with `z = (x - loc) / scale`; -inf for negative z.

    Args:
      x: a real number or an array of any shape.
      loc: the lower end.
      scale: the mean distance from it, positive. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import expon
    >>> print(expon.logpdf(1., scale=2.))
    -1.1931472
    """
    return _log_density(*standard("expon.logpdf", x, loc, scale))


@boundary
def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import expon
    >>> print(expon.pdf(0., scale=2.))
    0.5
    """
    return pnp.exp(_log_density(*standard("expon.pdf", x, loc, scale)))


@boundary
def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import expon
    >>> print(expon.cdf(0.))
    0.0
    """
    z, _ = standard("expon.cdf", x, loc, scale)
    return where_inside(z < 0, 0, lambda z: -pnp.expm1(-z), z, 0)


@boundary
def logcdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `cdf`, accurate at both ends. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import expon
    >>> print(expon.logcdf(1e-20).round(2))
    -46.05
    """
    z, _ = standard("expon.logcdf", x, loc, scale)
    return where_inside(z < 0, -np.inf, log1mexp, z, 1)


@boundary
def sf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import expon
    >>> print(expon.sf(0.))
    1.0
    """
    z, _ = standard("expon.sf", x, loc, scale)
    return where_inside(z < 0, 1, lambda z: pnp.exp(-z), z, 0)


@boundary
def logsf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `sf`. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import expon
    >>> print(expon.logsf(100.))
    -100.0
    """
    z, _ = standard("expon.logsf", x, loc, scale)
    return pnp.where(z < 0, 0, -z)


@boundary
def ppf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The inverse of `cdf`; nan outside [0, 1]. Errors are those of `logpdf`.

    >>> from pullback.scipy.stats import expon
    >>> print(expon.ppf(0.5))
    0.6931472
    """
    q, loc, scale = real("expon.ppf", q, loc, scale)
    return where_probability(q, lambda q: loc - scale * pnp.log1p(-q))
