"""The binomial distribution."""

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


def _standard(
    function: str, k: ArrayLike, n: ArrayLike, p: ArrayLike, loc: ArrayLike
) -> tuple[Array, Array, Array, Array, Array]:
    """`k - loc` and `n`, harmless numbers where that is impossible; `p`; where it is; and where n is no count."""
    k, n, p, loc = real(function, k, n, p, loc)
    k = k - loc
    impossible, wrong = no_count(k) | (k > n), no_count(n)
    return pnp.where(impossible | wrong, 0, k), pnp.where(wrong, 1, n), p, impossible, wrong


@boundary
def logpmf(k: ArrayLike, n: ArrayLike, p: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The logarithm of the probability of m = k - loc successes in n trials, `comb(n, m) p**m (1 - p)**(n - m)`.

    Args:
      k: a real number or an array of any shape.
      n: the number of trials; nan for what is not a count.
      p: the probability of a success, in [0, 1].
      loc: the shift. All broadcast together; the dtype is the promoted one, floating.

    Returns: -inf where m is not a count or exceeds n.
    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import binom
    >>> print(binom.logpmf(1, 2, 0.5))
    -0.6931472
    """
    k, n, p, impossible, wrong = _standard("binom.logpmf", k, n, p, loc)
    # a beta density divided by n + 1; at both ends, where it is near 1, the power that it is
    none, all_ = (k == 0), (k == n)
    inner = pnp.where(none | all_, 0.5, p)
    value = beta_log_density_p.bind(*pnp.broadcast_arrays(k + 1, n - k + 1, inner)) - pnp.log(n + 1)
    value = pnp.where(none, special.xlog1py(n, -pnp.where(none, p, 0)), value)
    value = pnp.where(all_ & ~none, special.xlogy(n, pnp.where(all_, p, 1)), value)
    return pnp.where(wrong, np.nan, pnp.where(impossible, -np.inf, value))


@boundary
def pmf(k: ArrayLike, n: ArrayLike, p: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The probability of `k`. Arguments and errors are those of `logpmf`.

    >>> from pullback.scipy.stats import binom
    >>> print(binom.pmf(1, 2, 0.5))
    0.5
    """
    k, n, p, impossible, wrong = _standard("binom.pmf", k, n, p, loc)
    # a beta density divided by n + 1; at both ends the power that it is, which has all digits near 1
    none, all_ = (k == 0), (k == n)
    inner = pnp.where(none | all_, 0.5, p)
    value = beta_density(*pnp.broadcast_arrays(k + 1, n - k + 1, inner)) / (n + 1)
    value = pnp.where(none, complement_power_p.bind(*pnp.broadcast_arrays(pnp.where(none, p, 0), n)), value)
    value = pnp.where(all_ & ~none, pnp.where(all_, p, 1) ** n, value)
    return pnp.where(wrong, np.nan, pnp.where(impossible, 0, value))
