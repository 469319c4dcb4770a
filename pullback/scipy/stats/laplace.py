"""The Laplace distribution."""

from __future__ import annotations

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.scipy.stats._shared import standard

__all__ = ["cdf", "logpdf", "pdf"]


def _log_density(z: Array, scale: Array) -> Array:
    return -abs(z) - pnp.log(2 * scale)


@boundary
def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, `-abs(x - loc) / scale - log(2 * scale)`.

    Args:
      x: a real number or an array of any shape.
      loc: the mean.
      scale: the mean distance from it, positive. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import laplace
    >>> print(laplace.logpdf(0.))
    -0.6931472
    """
    return _log_density(*standard("laplace.logpdf", x, loc, scale))


@boundary
def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import laplace
    >>> print(laplace.pdf(0.))
    0.5
    """
    return pnp.exp(_log_density(*standard("laplace.pdf", x, loc, scale)))


@boundary
def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import laplace
    >>> print(laplace.cdf(0.))
    0.5
    """
    z, _ = standard("laplace.cdf", x, loc, scale)
    low = z < 0
    return pnp.where(low, pnp.exp(pnp.where(low, z, 0)) / 2, 1 - pnp.exp(pnp.where(low, 0, -z)) / 2)
