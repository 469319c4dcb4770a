"""The geometric distribution."""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.scipy import special
from pullback.scipy.stats._shared import no_count, real

__all__ = ["logpmf", "pmf"]


def _parts(function: str, k: ArrayLike, p: ArrayLike, loc: ArrayLike) -> tuple[Array, Array, Array]:
    """The logarithm of the probability of the failures, that of the success, and where k is no count of trials."""
    k, p, loc = real(function, k, p, loc)
    failures = k - loc - 1
    impossible = no_count(failures)
    failures = pnp.where(impossible, 0, failures)
    # without a failure, p may be 1
    return special.xlog1py(failures, -pnp.where(failures == 0, 0, p)), p, impossible


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
    log_failures, p, impossible = _parts("geom.logpmf", k, p, loc)
    return pnp.where(impossible, -np.inf, log_failures + pnp.log(p))


@boundary
def pmf(k: ArrayLike, p: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The probability of `k`. Arguments and errors are those of `logpmf`.

    >>> from pullback.scipy.stats import geom
    >>> print(geom.pmf(2, 0.5))
    0.25
    """
    log_failures, p, impossible = _parts("geom.pmf", k, p, loc)
    return pnp.where(impossible, 0, pnp.exp(log_failures) * p)
