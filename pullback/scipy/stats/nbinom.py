"""The negative binomial distribution."""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.beta import beta_density, beta_log_density_p
from pullback._ops.special import complement_power_p
from pullback.scipy import special
from pullback.scipy.stats._shared import no_count, real

__all__ = ["logpmf", "pmf"]


@boundary
def logpmf(k: ArrayLike, n: ArrayLike, p: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The logarithm of the probability of m = k - loc failures before n successes, `comb(n + m - 1, m) p**n (1-p)**m`.

    Args:
      k: a real number or an array of any shape.
      n: the number of successes, a positive number.
      p: the probability of a success, in [0, 1].
      loc: the shift. All broadcast together; the dtype is the promoted one, floating.

    Returns: -inf where m is not a count.
    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import nbinom
    >>> print(nbinom.logpmf(0, 2., 0.5))
    -1.3862944
    """
    k, n, p, loc = real("nbinom.logpmf", k, n, p, loc)
    k = k - loc
    impossible = no_count(k)
    k = pnp.where(impossible, 1, k)
    none = k == 0
    m = pnp.where(none, 1, k)
    small = n < 1
    # a beta density of one order more for p, but for small n, which that would lose; without a failure, where it may be
    # near 1, the power that it is
    inner = pnp.where(none | small, 0.5, p)
    density = beta_log_density_p.bind(*pnp.broadcast_arrays(pnp.where(small, 1, n) + 1, m, inner))
    value = density + (pnp.log1p(-inner) + pnp.log(n / (m * (n + m))))
    few = pnp.where(none | ~small, 0.5, p)
    direct = special.xlogy(n, few) + special.xlog1py(m, -few) - special.betaln(pnp.where(small, n, 1), m) - pnp.log(m)
    value = pnp.where(small, direct, value)
    return pnp.where(impossible, -np.inf, pnp.where(none, special.xlogy(n, pnp.where(none, p, 1)), value))


@boundary
def pmf(k: ArrayLike, n: ArrayLike, p: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The probability of `k`. Arguments and errors are those of `logpmf`.

    >>> from pullback.scipy.stats import nbinom
    >>> print(nbinom.pmf(0, 2., 0.5).round(6))
    0.25
    """
    k, n, p, loc = real("nbinom.pmf", k, n, p, loc)
    k = k - loc
    impossible = no_count(k)
    k = pnp.where(impossible, 1, k)
    none = k == 0
    m = pnp.where(none, 1, k)
    small = n < 1
    density = beta_density(*pnp.broadcast_arrays(pnp.where(small, 1, n) + 1, m, p))
    value = density * ((1 - p) * (n / (m * (n + m))))
    few = pnp.where(small, n, 1)
    # by logarithms: the second derivative of a power would overflow where the small n has not been multiplied yet; but
    # at p = 0 its slopes are those of a power
    some = small & (p != 0)
    power = pnp.where(some, 1, p) ** pnp.where(some, 1, n)
    power = pnp.where(some, pnp.exp(special.xlogy(few, pnp.where(some, p, 0.5))), power)
    direct = (
        power
        * complement_power_p.bind(*pnp.broadcast_arrays(p, m))
        * (few / (m * (few + m)))
        / special.beta(few + 1, m)
    )
    value = pnp.where(small, direct, value)
    return pnp.where(impossible, 0, pnp.where(none, power, value))
