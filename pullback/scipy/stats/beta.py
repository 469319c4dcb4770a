"""The beta distribution on `[loc, loc + scale]`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.beta import beta_density, beta_log_density_p, log_betainc_p, regularized_incomplete_beta_p
from pullback.scipy.stats._shared import real

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]


def _apply(
    function: str,
    at_ends: tuple[float, float],
    fun: Callable[..., Array],
    x: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    loc: ArrayLike,
    scale: ArrayLike,
) -> Array:
    """`fun(a, b, z)`, and below and above the interval the values at its ends."""
    x, a, b, loc, scale = real(function, x, a, b, loc, scale)
    z = (x - loc) / scale
    below, above = z < 0, z > 1
    inside = fun(a, b, pnp.where(below | above, 0.5, z), scale)
    return pnp.where(below, at_ends[0], pnp.where(above, at_ends[1], inside))


def _incomplete(upper: bool) -> Callable[..., Array]:
    return lambda a, b, z, scale: regularized_incomplete_beta_p.bind(a, b, z, upper=upper)


def _log_incomplete(upper: bool) -> Callable[..., Array]:
    return lambda a, b, z, scale: log_betainc_p.bind(a, b, z, upper=upper)


def _log_density(a: Array, b: Array, z: Array, scale: Array) -> Array:
    return beta_log_density_p.bind(a, b, z) - pnp.log(scale)


@boundary
def logpdf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
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
    return _apply("beta.logpdf", (-np.inf, -np.inf), _log_density, x, a, b, loc, scale)


@boundary
def pdf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import beta
    >>> print(beta.pdf(0.5, 1., 1., scale=2.))
    0.5
    """
    return _apply("beta.pdf", (0, 0), lambda a, b, z, scale: beta_density(a, b, z) / scale, x, a, b, loc, scale)


@boundary
def cdf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, `betainc(a, b, z)`. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import beta
    >>> print(beta.cdf(0.25, 1., 1.))
    0.25
    """
    return _apply("beta.cdf", (0, 1), _incomplete(False), x, a, b, loc, scale)


@boundary
def logcdf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `cdf`, accurate at both ends, also where `cdf` underflows. Arguments and errors are those of
    `logpdf`.

    >>> from pullback.scipy.stats import beta
    >>> print(beta.logcdf(1., 1., 1.))
    0.0
    """
    return _apply("beta.logcdf", (-np.inf, 0), _log_incomplete(False), x, a, b, loc, scale)


@boundary
def sf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import beta
    >>> print(beta.sf(0.25, 1., 1.))
    0.75
    """
    return _apply("beta.sf", (1, 0), _incomplete(True), x, a, b, loc, scale)


@boundary
def logsf(x: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `sf`, accurate at both ends. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import beta
    >>> print(beta.logsf(0., 1., 1.))
    0.0
    """
    return _apply("beta.logsf", (0, -np.inf), _log_incomplete(True), x, a, b, loc, scale)
