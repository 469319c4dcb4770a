"""The Pareto distribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.scipy import special
from pullback.scipy.stats import _extremes
from pullback.scipy.stats._shared import real, where_inside, where_probability

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "ppf", "sf"]


def _above(
    function: str, x: ArrayLike, b: ArrayLike, loc: ArrayLike, scale: ArrayLike, below: float, fun: Callable
) -> Array:
    """`fun(z, b, scale)` for z = (x - loc) / scale, and the value below 1."""
    x, b, loc, scale = real(function, x, b, loc, scale)
    z = (x - loc) / scale
    return where_inside(z < 1, below, lambda z: fun(z, b, scale), z, 2)


def _cdf(z: Array, b: Array, scale: Array) -> Array:
    return -pnp.expm1(-b * pnp.log(z))


def _sf(z: Array, b: Array, scale: Array) -> Array:
    return z**-b


@boundary
def logpdf(x: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, `b / (scale * z**(b + 1))` with `z = (x - loc) / scale >= 1`.

    Args:
      x: a real number or an array of any shape.
      b: the exponent of the tail, positive.
      loc: the shift.
      scale: a positive number. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import pareto
    >>> print(pareto.logpdf(2., 1.).round(5))
    -1.38629
    """

    def log_density(z: Array, b: Array, scale: Array) -> Array:
        return pnp.log(b / scale) - special.xlogy(b + 1, z)

    return _above("pareto.logpdf", x, b, loc, scale, -np.inf, log_density)


@boundary
def pdf(x: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import pareto
    >>> print(pareto.pdf(2., 1.))
    0.25
    """
    return _above("pareto.pdf", x, b, loc, scale, 0, lambda z, b, scale: b * z**-b / z / scale)


@boundary
def cdf(x: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, `1 - z**-b`. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import pareto
    >>> print(pareto.cdf(2., 1.).round(6))
    0.5
    """
    return _above("pareto.cdf", x, b, loc, scale, 0, _cdf)


@boundary
def logcdf(x: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `cdf`, accurate at both ends. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import pareto
    >>> print(pareto.logcdf(2., 1.).round(5))
    -0.69315
    """

    def log_cdf(z: Array, b: Array, scale: Array) -> Array:
        log_z = pnp.log(z)
        end = z == 1  # where the probability is 0
        log_w = pnp.log(b) + pnp.log(pnp.where(end, 1, log_z))
        return pnp.where(end, -np.inf, _extremes.log1mexp(b * log_z, log_w))

    return _above("pareto.logcdf", x, b, loc, scale, -np.inf, log_cdf)


@boundary
def sf(x: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import pareto
    >>> print(pareto.sf(2., 1.))
    0.5
    """
    return _above("pareto.sf", x, b, loc, scale, 1, _sf)


@boundary
def logsf(x: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `sf`. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import pareto
    >>> print(pareto.logsf(2., 1.))
    -0.6931472
    """
    return _above("pareto.logsf", x, b, loc, scale, 0, lambda z, b, scale: -special.xlogy(b, z))


@boundary
def ppf(q: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The inverse of `cdf`; nan outside [0, 1]. Errors are those of `logpdf`.

    >>> from pullback.scipy.stats import pareto
    >>> print(pareto.ppf(0.5, 1.).round(6))
    2.0
    """
    q, b, loc, scale = real("pareto.ppf", q, b, loc, scale)
    return loc + scale * where_probability(q, lambda q: pnp.exp(-pnp.log1p(-q) / b))
