"""The von Mises distribution of angles."""

from __future__ import annotations

import math

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.scipy import special
from pullback.scipy.stats._shared import real

__all__ = ["logpdf", "pdf"]


def _parts(function: str, x: ArrayLike, kappa: ArrayLike) -> tuple[Array, Array, Array]:
    """`kappa * (cos(x) - 1)`, the integral of its exponential, and where kappa is wrong."""
    x, kappa = real(function, x, kappa)
    wrong = ~(kappa >= 0)
    kappa = pnp.where(wrong, 1, kappa)
    half = pnp.sin(x / 2)
    return -2 * kappa * half * half, 2 * math.pi * special.i0e(kappa), wrong


@boundary
def logpdf(x: ArrayLike, kappa: ArrayLike) -> Array:
    """The logarithm of the density, `exp(kappa cos(x)) / (2 pi i0(kappa))`.

    Args:
      x: an angle or an array of any shape.
      kappa: the concentration; nan where it is negative. Both broadcast; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import vonmises
    >>> print(vonmises.logpdf(0., 1.).round(5))
    -1.07379
    """
    exponent, mass, wrong = _parts("vonmises.logpdf", x, kappa)
    return pnp.where(wrong, np.nan, exponent - pnp.log(mass))


@boundary
def pdf(x: ArrayLike, kappa: ArrayLike) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import vonmises
    >>> print(vonmises.pdf(0., 0.).round(5))
    0.15915
    """
    exponent, mass, wrong = _parts("vonmises.pdf", x, kappa)
    return pnp.where(wrong, np.nan, pnp.exp(exponent) / mass)
