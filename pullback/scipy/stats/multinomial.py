"""The multinomial distribution."""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.incomplete_gamma import log_gamma_density
from pullback.scipy.stats._shared import no_count, real

__all__ = ["logpmf", "pmf"]


def _standard(function: str, x: ArrayLike, n: ArrayLike, p: ArrayLike) -> tuple[Array, Array, Array, Array]:
    """Arguments of one dtype, counts of 0 where x is impossible; and where it is."""
    x, n, p = real(function, x, pnp.expand_dims(n, -1), p)
    n = n[..., 0]
    if not x.ndim or not p.ndim:
        raise ValueError(f"{function}: x and p must have an axis of categories, got shapes {x.shape} and {p.shape}")
    impossible = no_count(x).any(-1) | (x.sum(-1) != n) | no_count(n)
    return pnp.where(impossible[..., None], 0, x), pnp.where(impossible, 0, n), p, impossible


def _log_mass(x: Array, n: Array, p: Array) -> Array:
    # independent Poisson counts of these means, given their sum: of each the logarithm is accurate and not large
    parts = log_gamma_density(*pnp.broadcast_arrays(x + 1, n[..., None] * p))
    return parts.sum(-1) - log_gamma_density(n + 1, n) + n * (p.sum(-1) - 1)


@boundary
def logpmf(x: ArrayLike, n: ArrayLike, p: ArrayLike) -> Array:
    """The logarithm of the probability of the counts x in n trials, `n! prod(p**x / x!)`.

    Args:
      x: counts of shape (..., k) of k categories.
      n: the number of trials, of shape (...).
      p: the probabilities of shape (..., k), whose sum is 1. All broadcast together.

    Returns: an array of shape (...), -inf where x has other numbers than counts or its sum is not n.
    Raises: TypeError for complex numbers, ValueError for numbers and for shapes that do not broadcast.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.stats import multinomial
    >>> print(multinomial.logpmf(pnp.array([1, 1]), 2, pnp.array([0.5, 0.5])).round(5))
    -0.69315
    """
    x, n, p, impossible = _standard("multinomial.logpmf", x, n, p)
    return pnp.where(impossible, -np.inf, _log_mass(x, n, p))


@boundary
def pmf(x: ArrayLike, n: ArrayLike, p: ArrayLike) -> Array:
    """The probability of the counts. Arguments and errors are those of `logpmf`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.stats import multinomial
    >>> print(multinomial.pmf(pnp.array([1, 1]), 2, pnp.array([0.5, 0.5])).round(5))
    0.5
    """
    x, n, p, impossible = _standard("multinomial.pmf", x, n, p)
    # what did occur, with a probability of 0, is a factor of its own, whose slopes are those of a power: the mass of a
    # likely one, and the power of the ratio
    never = (p == 0) & (x > 0)
    likely = x / pnp.where(n == 0, 1, n)[..., None]
    mass = pnp.exp(_log_mass(x, n, pnp.where(never, likely, p)))
    ratio = pnp.where(never, p, 1) / pnp.where(never, likely, 1)
    return pnp.where(impossible, 0, mass * (ratio ** pnp.where(never, x, 0)).prod(-1))
