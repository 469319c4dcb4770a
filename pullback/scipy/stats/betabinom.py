"""The beta-binomial distribution: the binomial one whose probability of a success has a beta distribution."""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.beta import beta_log_density_p
from pullback.lax import stop_gradient
from pullback.scipy.stats._shared import no_count, real

__all__ = ["logpmf", "pmf"]


def _log_mass(function: str, k: ArrayLike, n: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike) -> Array:
    k, n, a, b, loc = real(function, k, n, a, b, loc)
    k = k - loc
    impossible = no_count(k) | (k > n)
    wrong = no_count(n) | ~(a > 0) | ~(b > 0)
    k, n = pnp.where(impossible | wrong, 0, k), pnp.where(wrong, 1, n)
    a, b = pnp.where(wrong, 1, a), pnp.where(wrong, 1, b)
    # where all trials end alike, the mass has no pole at 0 in the parameter of the other end, but the densities below
    # have: with one more for it they have none
    ends = (k == 0) | (k == n)
    rest = pnp.where(ends, pnp.log(n + a + b) - pnp.log(a + b), 0)
    a, b = pnp.where(k == 0, a + 1, a), pnp.where((k == n) & (k > 0), b + 1, b)
    # Bayes: prior times likelihood is the evidence times the posterior, whatever the probability p; near the mode of
    # the posterior the three beta densities have accurate logarithms, which are not large
    info = pnp.finfo(k.dtype)
    p = stop_gradient(pnp.clip((k + a) / (n + a + b), info.tiny, 1 - info.eps / 2))

    def density(a: Array, b: Array) -> Array:
        return beta_log_density_p.bind(*pnp.broadcast_arrays(a, b, p))

    value = density(k + 1, n - k + 1) - pnp.log(n + 1) + (density(a, b) - density(k + a, n - k + b)) + rest
    return pnp.where(wrong, np.nan, pnp.where(impossible, -np.inf, value))


@boundary
def logpmf(k: ArrayLike, n: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The logarithm of the probability of m = k - loc successes in n, `comb(n, m) beta(m + a, n - m + b) / beta(a, b)`.

    Args:
      k: a real number or an array of any shape.
      n: the number of trials; nan for what is not a count.
      a, b: the shape of the distribution of the probability of a success, positive, else the result is nan.
      loc: the shift. All broadcast together; the dtype is the promoted one, floating.

    Returns: -inf where m is not a count or exceeds n.
    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import betabinom
    >>> print(betabinom.logpmf(1, 3, 1., 1.).round(5))
    -1.38629
    """
    return _log_mass("betabinom.logpmf", k, n, a, b, loc)


@boundary
def pmf(k: ArrayLike, n: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The probability of `k`. Arguments and errors are those of `logpmf`.

    >>> from pullback.scipy.stats import betabinom
    >>> print(betabinom.pmf(1, 3, 1., 1.).round(5))
    0.25
    """
    return pnp.exp(_log_mass("betabinom.pmf", k, n, a, b, loc))
