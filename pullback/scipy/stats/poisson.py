"""The Poisson distribution."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.incomplete_gamma import gamma_density, log_gamma_density
from pullback.scipy import special
from pullback.scipy.stats._shared import no_count, real, where_inside

__all__ = ["cdf", "entropy", "logpmf", "pmf"]


def _mass(function: str, k: ArrayLike, mu: ArrayLike, loc: ArrayLike, impossible: float, mass: Callable) -> Array:
    """`mass(k + 1, mu)`, or `impossible` unless k is a count: mu^k exp(-mu) / k! is a gamma density of order k + 1."""
    k, mu, loc = real(function, k, mu, loc)
    k = k - loc
    return where_inside(no_count(k), impossible, lambda k: mass(k + 1, mu), k, 0)


@boundary
def logpmf(k: ArrayLike, mu: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The logarithm of the probability `mu**n exp(-mu) / n!` with `n = k - loc`; -inf where n is not a count.

    Args:
      k: a real number or an array of any shape.
      mu: the mean, not negative.
      loc: the shift. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import poisson
    >>> print(poisson.logpmf(0, 2.))
    -2.0
    """
    return _mass("poisson.logpmf", k, mu, loc, -np.inf, log_gamma_density)


@boundary
def pmf(k: ArrayLike, mu: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The probability of `k`. Arguments and errors are those of `logpmf`.

    >>> from pullback.scipy.stats import poisson
    >>> print(poisson.pmf(0, 0.))
    1.0
    """
    return _mass("poisson.pmf", k, mu, loc, 0, gamma_density)


@boundary
def cdf(k: ArrayLike, mu: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The probability of a number up to `k`. Arguments and errors are those of `logpmf`.

    >>> from pullback.scipy.stats import poisson
    >>> print(poisson.cdf(-1, 2.))
    0.0
    """
    k, mu, loc = real("poisson.cdf", k, mu, loc)
    k = k - loc
    return where_inside(k < 0, 0, lambda k: special.gammaincc(pnp.floor(k) + 1, mu), k, 0)


_LARGE = 100
_COUNTS = 240  # beyond 14 standard deviations of the largest mean below


@boundary
def entropy(mu: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The entropy `-sum(pmf * logpmf)`, for any `loc`; nan for a negative `mu`.

    Up to a mean of 100 the sum, beyond it the asymptotic series. Errors are those of `logpmf`.

    >>> from pullback.scipy.stats import poisson
    >>> print(poisson.entropy(0.))
    0.0
    """
    mu, loc = real("poisson.entropy", mu, loc)
    mu = pnp.broadcast_to(mu, pnp.broadcast_shapes(mu.shape, loc.shape))
    large = mu > _LARGE
    r = 1 / pnp.where(large, mu, _LARGE)
    series = (1 + math.log(2 * math.pi) - pnp.log(r)) / 2
    for power, coefficient in enumerate((1 / 12, 1 / 24, 19 / 360, 9 / 80, 863 / 2520), 1):
        series = series - coefficient * r**power
    counts = pnp.arange(_COUNTS, dtype=mu.dtype)
    logs = log_gamma_density(counts + 1, pnp.where(large | (mu == 0), 1, mu)[..., None])
    at_zero = special.entr(pnp.where(mu == 0, mu, 1))  # which it is like there
    return pnp.where(large, series, pnp.where(mu == 0, at_zero, -(pnp.exp(logs) * logs).sum(-1)))
