"""The beta distribution on `[loc, loc + scale]`."""
from __future__ import annotations

from typing import Any

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array
from pullback._core.errors import boundary
from pullback.scipy import special
from pullback.scipy.stats._shared import log_of, real, where_inside

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]


def _log_density(function: str, x: Any, a: Any, b: Any, loc: Any, scale: Any) -> Array:
    x, a, b, loc, scale = real(function, x, a, b, loc, scale)
    z = (x - loc) / scale

    def inside(z):
        return special.xlogy(a - 1, z) + special.xlog1py(b - 1, -z) - special.betaln(a, b) - pnp.log(scale)

    return where_inside((x < loc) | (x > loc + scale), -np.inf, inside, z, 0.5)


def _parts(function: str, x: Any, a: Any, b: Any, loc: Any, scale: Any) -> tuple[Array, Array]:
    """The probabilities below `x` and above, each accurate where it is small."""
    x, a, b, loc, scale = real(function, x, a, b, loc, scale)
    z = (x - loc) / scale
    outside = (z < 0) | (z > 1)
    end = pnp.where(z < 0, 0, 1)
    z = pnp.where(outside, 0.5, z)
    below, above = special.betainc(a, b, z), special.betainc(b, a, 1 - z)
    return pnp.where(outside, end, below), pnp.where(outside, 1 - end, above)


@boundary
def logpdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the density, `z**(a - 1) (1 - z)**(b - 1) / (beta(a, b) * scale)` with `z = (x - loc) / scale`.

    Args:
      x: a real number or an array of any shape.
      a, b: the shape of the distribution, positive.
      loc: the lower end.
      scale: the length, positive. All broadcast together; the dtype is the promoted one, floating.

    Returns: -inf outside of the interval.
    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import beta
    >>> print(beta.logpdf(0.5, 1., 1., scale=2.))
    -0.6931472
    """
    return _log_density("beta.logpdf", x, a, b, loc, scale)


@boundary
def pdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import beta
    >>> print(beta.pdf(0.5, 1., 1., scale=2.))
    0.5
    """
    return pnp.exp(_log_density("beta.pdf", x, a, b, loc, scale))


@boundary
def cdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The distribution function, `betainc(a, b, z)`. Arguments and errors are those of `logpdf`.

    It is differentiable in all but `a` and `b`: NotImplementedError.

    >>> from pullback.scipy.stats import beta
    >>> print(beta.cdf(0.25, 1., 1.))
    0.25
    """
    return _parts("beta.cdf", x, a, b, loc, scale)[0]


@boundary
def logcdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of `cdf`, accurate near 0. Arguments and errors are those of `cdf`.

    >>> from pullback.scipy.stats import beta
    >>> print(beta.logcdf(1., 1., 1.))
    0.0
    """
    return log_of(*_parts("beta.logcdf", x, a, b, loc, scale))


@boundary
def sf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `cdf`.

    >>> from pullback.scipy.stats import beta
    >>> print(beta.sf(0.25, 1., 1.))
    0.75
    """
    return _parts("beta.sf", x, a, b, loc, scale)[1]


@boundary
def logsf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of `sf`, accurate near 0. Arguments and errors are those of `cdf`.

    >>> from pullback.scipy.stats import beta
    >>> print(beta.logsf(0., 1., 1.))
    0.0
    """
    below, above = _parts("beta.logsf", x, a, b, loc, scale)
    return log_of(above, below)
