"""The geometric distribution."""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.special import complement_power_p
from pullback.scipy import special
from pullback.scipy.stats._shared import no_count, real

__all__ = ["logpmf", "pmf"]


def _parts(function: str, k: ArrayLike, p: ArrayLike, loc: ArrayLike) -> tuple[Array, Array, Array]:
    """The number of failures, the probability of a success, and where k is no count of trials."""
    k, p, loc = real(function, k, p, loc)
    failures = k - loc - 1
    impossible = no_count(failures)
    return pnp.where(impossible, 0, failures), p, impossible


@boundary
def logpmf(k: ArrayLike, p: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The logarithm of the probability that the first success is trial m = k - loc, `(1 - p)**(m - 1) p`.

    Args:
      k: a real number or an array of any shape.
      p: the probability of a success, in [0, 1].
      loc: the shift. All broadcast together; the dtype is the promoted one, floating.

    Returns: -inf where m is not 1, 2, 3, ...
    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import geom
    >>> print(geom.logpmf(2, 0.5))
    -1.3862944
    """
    failures, p, impossible = _parts("geom.logpmf", k, p, loc)
    return pnp.where(impossible, -np.inf, special.xlog1py(failures, -p) + pnp.log(p))


@boundary
def pmf(k: ArrayLike, p: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The probability of `k`. Arguments and errors are those of `logpmf`.

    >>> from pullback.scipy.stats import geom
    >>> print(geom.pmf(2, 0.5))
    0.25
    """
    failures, p, impossible = _parts("geom.pmf", k, p, loc)
    return pnp.where(impossible, 0, complement_power_p.bind(*pnp.broadcast_arrays(p, failures)) * p)
