"""Window functions, by which samples are weighted before a Fourier transform."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.bessel import bessel_i0e
from pullback._ops.elementwise import div, exp, mul
from pullback._ops.trig import abs as magnitude
from pullback.numpy._creation.creation import asarray
from pullback.numpy._elementwise.promotion import STRONG_FLOAT, integer, promote_operands

__all__ = ["bartlett", "blackman", "hamming", "hanning", "kaiser"]


def _places(name: str, M: int) -> np.ndarray:
    """The places of M samples from -1 to 1, both halves mirror images to the last digit."""
    count = integer(name, "M", M)
    if count < 0:
        raise ValueError(f"{name}: the number of samples M must not be negative, got {count}")
    return np.arange(1 - count, count, 2) / max(count - 1, 1)


def _samples(name: str, M: int, weight: Callable[[np.ndarray], np.ndarray]) -> Array:
    """A window in the default floating-point dtype, computed in double precision; a single sample is 1."""
    places = _places(name, M)
    values = np.ones(1) if places.size == 1 else weight(places)
    return asarray(values.astype(dtypes.canonicalize_dtype(float)))


@boundary
def bartlett(M: int) -> Array:
    """The triangular window of `M` samples: 0 at the ends, 1 in the middle.

    ValueError for a negative `M`, TypeError if it is no integer.

    >>> import pullback.numpy as pnp
    >>> print(pnp.bartlett(5))
    [0.  0.5 1.  0.5 0. ]
    """
    return _samples("bartlett", M, lambda x: 1 - np.abs(x))


@boundary
def blackman(M: int) -> Array:
    """Blackman's window of `M` samples: `0.42 + 0.5 cos(pi x) + 0.08 cos(2 pi x)` for x from -1 to 1.

    It is 0 at the ends. ValueError for a negative `M`, TypeError if it is no integer.

    >>> import pullback.numpy as pnp
    >>> print(pnp.blackman(3))
    [0. 1. 0.]
    """
    # factored, with c = cos(pi x) and cos(2 pi x) = 2 c**2 - 1, so that the ends are 0 without a rounding error
    return _samples("blackman", M, lambda x: (1 + np.cos(np.pi * x)) * (0.34 + 0.16 * np.cos(np.pi * x)))


@boundary
def hamming(M: int) -> Array:
    """Hamming's window of `M` samples: `0.54 + 0.46 cos(pi x)` for x from -1 to 1.

    ValueError for a negative `M`, TypeError if it is no integer.

    >>> import pullback.numpy as pnp
    >>> print(pnp.hamming(3))
    [0.08 1.   0.08]
    """
    return _samples("hamming", M, lambda x: 0.54 + 0.46 * np.cos(np.pi * x))


@boundary
def hanning(M: int) -> Array:
    """Hann's window of `M` samples: `0.5 + 0.5 cos(pi x)` for x from -1 to 1.

    It is 0 at the ends. ValueError for a negative `M`, TypeError if it is no integer.

    >>> import pullback.numpy as pnp
    >>> print(pnp.hanning(5))
    [0.  0.5 1.  0.5 0. ]
    """
    return _samples("hanning", M, lambda x: 0.5 + 0.5 * np.cos(np.pi * x))


@boundary
def kaiser(M: int, beta: ArrayLike) -> Array:
    """Kaiser's window of `M` samples: `i0(beta sqrt(1 - x**2)) / i0(beta)` for x from -1 to 1.

    `beta`: a real number, by which the window can be differentiated; a larger one makes it narrower, without overflow.
    ValueError for a negative `M` and a `beta` with axes, TypeError for others that are no integer or real number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.kaiser(3, 0.))
    [1. 1. 1.]
    """
    places = _places("kaiser", M)
    (b,) = promote_operands("kaiser", STRONG_FLOAT, beta)
    if b.aval.ndim:
        raise ValueError(f"kaiser: beta must be a number, got shape {b.shape}")
    if places.size == 1:
        places = np.zeros(1)
    half = np.sqrt((1 - places) * (1 + places))
    # i0(y) = exp(|y|) i0e(y); what the exponents of both leave, half - 1, without cancellation
    rest = -(places**2) / (1 + half)
    root, lack = (asarray(v.astype(b.aval.dtype)) for v in (half, rest))
    size = magnitude(b)
    return mul(exp(mul(size, lack)), div(bessel_i0e(mul(b, root)), bessel_i0e(b)))
