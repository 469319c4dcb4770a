"""The gamma distribution."""
from __future__ import annotations

from typing import Any

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array
from pullback._core.errors import boundary
from pullback.scipy import special
from pullback.scipy.stats._shared import log_of, real, where_inside

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]


def _log_density(function: str, x: Any, a: Any, loc: Any, scale: Any) -> Array:
    x, a, loc, scale = real(function, x, a, loc, scale)
    z = (x - loc) / scale
    outside = (z < 0) | (z == np.inf)
    return where_inside(outside, -np.inf, lambda z: special.xlogy(a - 1, z) - z - special.gammaln(a) - pnp.log(scale),
                        z, 1)


def _parts(function: str, x: Any, a: Any, loc: Any, scale: Any) -> tuple[Array, Array]:
    """The probabilities below `x` and above, each accurate where it is small."""
    x, a, loc, scale = real(function, x, a, loc, scale)
    z = (x - loc) / scale
    outside = z < 0
    z = pnp.where(outside, 1, z)
    return pnp.where(outside, 0, special.gammainc(a, z)), pnp.where(outside, 1, special.gammaincc(a, z))


@boundary
def logpdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
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
    return _log_density("gamma.logpdf", x, a, loc, scale)


@boundary
def pdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gamma
    >>> print(gamma.pdf(0., 1.))
    1.0
    """
    return pnp.exp(_log_density("gamma.pdf", x, a, loc, scale))


@boundary
def cdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The distribution function, `gammainc(a, z)`. Arguments and errors are those of `logpdf`.

    It is differentiable in all but `a`: NotImplementedError.

    >>> from pullback.scipy.stats import gamma
    >>> print(gamma.cdf(0., 1.))
    0.0
    """
    return _parts("gamma.cdf", x, a, loc, scale)[0]


@boundary
def logcdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of `cdf`, accurate near 0. Arguments and errors are those of `cdf`.

    >>> from pullback.scipy.stats import gamma
    >>> print(gamma.logcdf(0., 1.))
    -inf
    """
    return log_of(*_parts("gamma.logcdf", x, a, loc, scale))


@boundary
def sf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `cdf`.

    >>> from pullback.scipy.stats import gamma
    >>> print(gamma.sf(0., 1.))
    1.0
    """
    return _parts("gamma.sf", x, a, loc, scale)[1]


@boundary
def logsf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of `sf`, accurate near 0. Arguments and errors are those of `cdf`.

    >>> from pullback.scipy.stats import gamma
    >>> print(gamma.logsf(0., 1.))
    0.0
    """
    below, above = _parts("gamma.logsf", x, a, loc, scale)
    return log_of(above, below)
