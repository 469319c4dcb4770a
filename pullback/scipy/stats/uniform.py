"""The uniform distribution on `[loc, loc + scale]`."""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.scipy.stats._shared import real, where_probability

__all__ = ["cdf", "logpdf", "pdf", "ppf"]


def _log_density(x: Array, loc: Array, scale: Array) -> Array:
    density = pnp.where((x < loc) | (x > loc + scale), -np.inf, -pnp.log(scale))
    return pnp.where(pnp.isnan(x), x, density)


@boundary
def logpdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density: `-log(scale)` from `loc` to `loc + scale`, both included, else -inf.

    Args:
      x: a real number or an array of any shape.
      loc: the lower end.
      scale: the length, positive. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import uniform
    >>> print(uniform.logpdf(0.5, 0., 2.))
    -0.6931472
    """
    return _log_density(*real("uniform.logpdf", x, loc, scale))


@boundary
def pdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import uniform
    >>> print(uniform.pdf(0.5, 0., 2.))
    0.5
    """
    return pnp.exp(_log_density(*real("uniform.pdf", x, loc, scale)))


@boundary
def cdf(x: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function: `(x - loc) / scale` between 0 and 1. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import uniform
    >>> print(uniform.cdf(0.5, 0., 2.))
    0.25
    """
    x, loc, scale = real("uniform.cdf", x, loc, scale)
    z = (x - loc) / scale
    return pnp.where(z < 0, 0, pnp.where(z > 1, 1, z))


@boundary
def ppf(q: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The inverse of `cdf`; nan outside [0, 1]. Errors are those of `logpdf`.

    >>> from pullback.scipy.stats import uniform
    >>> print(uniform.ppf(0.25, 0., 2.))
    0.5
    """
    q, loc, scale = real("uniform.ppf", q, loc, scale)
    return where_probability(q, lambda q: loc + scale * q)
