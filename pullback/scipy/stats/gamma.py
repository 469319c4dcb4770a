"""The gamma distribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.incomplete_gamma import gamma_density, log_gamma_density, log_igamma
from pullback.scipy import special
from pullback.scipy.stats._shared import real, where_inside

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]


def _part(
    function: str, x: ArrayLike, a: ArrayLike, loc: ArrayLike, scale: ArrayLike, outside: float, part: Callable
) -> Array:
    """A function of `a` and `(x - loc) / scale`, and its value below 0."""
    x, a, loc, scale = real(function, x, a, loc, scale)
    z = (x - loc) / scale
    return where_inside(z < 0, outside, lambda z: part(a, z), z, 1)


@boundary
def logpdf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, `z**(a - 1) exp(-z) / (gamma(a) * scale)` with `z = (x - loc) / scale > 0`.

    Args:
      x: a real number or an array of any shape.
      a: the order, positive.
      loc: the lower end.
      scale: a positive number. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import gamma
    >>> print(gamma.logpdf(1., 2.))
    -1.0
    """
    x, a, loc, scale = real("gamma.logpdf", x, a, loc, scale)
    z = (x - loc) / scale
    outside = (z < 0) | (z == np.inf)
    return where_inside(outside, -np.inf, lambda z: log_gamma_density(a, z) - pnp.log(scale), z, 1)


@boundary
def pdf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gamma
    >>> print(gamma.pdf(0., 1.))
    1.0
    """
    x, a, loc, scale = real("gamma.pdf", x, a, loc, scale)
    z = (x - loc) / scale
    return where_inside((z < 0) | (z == np.inf), 0, lambda z: gamma_density(a, z) / scale, z, 1)


@boundary
def cdf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, `gammainc(a, z)`. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gamma
    >>> print(gamma.cdf(0., 1.))
    0.0
    """
    return _part("gamma.cdf", x, a, loc, scale, 0, special.gammainc)


@boundary
def logcdf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `cdf`, accurate in both tails. Arguments and errors are those of `cdf`.

    >>> from pullback.scipy.stats import gamma
    >>> print(gamma.logcdf(0., 1.))
    -inf
    """
    return _part("gamma.logcdf", x, a, loc, scale, -np.inf, log_igamma)


@boundary
def sf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `cdf`.

    >>> from pullback.scipy.stats import gamma
    >>> print(gamma.sf(0., 1.))
    1.0
    """
    return _part("gamma.sf", x, a, loc, scale, 1, special.gammaincc)


@boundary
def logsf(x: ArrayLike, a: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `sf`, accurate in both tails. Arguments and errors are those of `cdf`.

    >>> from pullback.scipy.stats import gamma
    >>> print(gamma.logsf(0., 1.))
    0.0
    """
    return _part("gamma.logsf", x, a, loc, scale, 0, lambda a, z: log_igamma(a, z, upper=True))
