"""The Bernoulli distribution: 1 with probability p, else 0."""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.binomial_mass import trial_p
from pullback.scipy import special
from pullback.scipy.stats._shared import real, where_inside

__all__ = ["cdf", "logpmf", "pmf", "ppf"]


def _log_mass(function: str, k: ArrayLike, p: ArrayLike, loc: ArrayLike) -> Array:
    k, p, loc = real(function, k, p, loc)
    k = k - loc
    return where_inside((k < 0) | (k > 1), -np.inf, lambda k: special.xlogy(k, p) + special.xlog1py(1 - k, -p), k, 0)


@boundary
def logpmf(k: ArrayLike, p: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The logarithm of the probability of `k`: `log(p)` for `loc + 1`, `log(1 - p)` for `loc`, else -inf.

    Between the two it is linear in `k`, the negative cross entropy of soft labels.

    Args:
      k: a real number or an array of any shape.
      p: the probability of 1.
      loc: the shift. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import bernoulli
    >>> print(bernoulli.logpmf(1, 0.5))
    -0.6931472
    """
    return _log_mass("bernoulli.logpmf", k, p, loc)


@boundary
def pmf(k: ArrayLike, p: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The probability of `k`. Arguments and errors are those of `logpmf`.

    >>> from pullback.scipy.stats import bernoulli
    >>> print(bernoulli.pmf(1, 0.25))
    0.25
    """
    k, p, loc = real("bernoulli.pmf", k, p, loc)
    k = k - loc
    return where_inside((k < 0) | (k > 1), 0, lambda k: trial_p.bind(*pnp.broadcast_arrays(k, p)), k, 0)


@boundary
def cdf(k: ArrayLike, p: ArrayLike) -> Array:
    """The probability of a number up to `k`: 0, from 0 on `1 - p`, and from 1 on 1; nan unless `p` is a probability.

    Errors are those of `logpmf`.

    >>> from pullback.scipy.stats import bernoulli
    >>> print(bernoulli.cdf(0, 0.25))
    0.75
    """
    k, p = real("bernoulli.cdf", k, p)
    value = pnp.where(k < 0, 0, pnp.where(k < 1, 1 - p, 1))
    return pnp.where(pnp.isnan(k) | ~((p >= 0) & (p <= 1)), np.nan, value)


@boundary
def ppf(q: ArrayLike, p: ArrayLike) -> Array:
    """The smaller of 0 and 1 whose `cdf` is at least `q`; nan unless `q` and `p` are probabilities.

    Errors are those of `logpmf`.

    >>> from pullback.scipy.stats import bernoulli
    >>> print(bernoulli.ppf(0.9, 0.25))
    1.0
    """
    q, p = real("bernoulli.ppf", q, p)
    valid = (q >= 0) & (q <= 1) & (p >= 0) & (p <= 1)
    return pnp.where(valid, pnp.where(q <= 1 - p, 0, 1), np.nan).astype(q.dtype)
