"""The wrapped Cauchy distribution of angles."""

from __future__ import annotations

import math

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.scipy.stats._shared import real

__all__ = ["logpdf", "pdf"]


def _quotient(function: str, x: ArrayLike, c: ArrayLike) -> tuple[Array, Array, Array, Array]:
    """The two parts of the density, where x is outside of the circle, and where c is wrong."""
    x, c = real(function, x, c)
    outside, wrong = (x < 0) | (x > 2 * math.pi), ~((c > 0) & (c < 1))
    x, c = pnp.where(outside, 0, x), pnp.where(wrong, 0.5, c)
    half = pnp.sin(x / 2)
    return (1 - c) * (1 + c) / (2 * math.pi), (1 - c) * (1 - c) + 4 * c * half * half, outside, wrong


@boundary
def logpdf(x: ArrayLike, c: ArrayLike) -> Array:
    """The logarithm of the density, `(1 - c**2) / (2 pi (1 + c**2 - 2 c cos(x)))`.

    Args:
      x: an angle, or an array of any shape; the result is -inf outside of [0, 2 pi].
      c: the concentration; nan outside of (0, 1). Both broadcast; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import wrapcauchy
    >>> print(wrapcauchy.logpdf(0., 0.5).round(5))
    -0.73926
    """
    above, below, outside, wrong = _quotient("wrapcauchy.logpdf", x, c)
    return pnp.where(wrong, np.nan, pnp.where(outside, -np.inf, pnp.log(above / below)))


@boundary
def pdf(x: ArrayLike, c: ArrayLike) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import wrapcauchy
    >>> print(wrapcauchy.pdf(0., 0.5).round(5))
    0.47746
    """
    above, below, outside, wrong = _quotient("wrapcauchy.pdf", x, c)
    return pnp.where(wrong, np.nan, pnp.where(outside, 0, above / below))
