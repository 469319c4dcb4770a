"""Real part, imaginary part, conjugate and angle, elementwise."""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, distinct
from pullback._core.errors import boundary
from pullback._ops import elementwise as e
from pullback._ops import lengths, shape, trig
from pullback._ops.elementwise import scalar
from pullback.numpy._elementwise.promotion import (
    DEFAULT_INEXACT,
    as_operand,
    cast,
    common_dtype,
)

__all__ = ["angle", "conj", "conjugate", "imag", "real"]


@boundary
def real(val: ArrayLike, /) -> Array:
    """The real part; of real numbers, the same numbers. TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.real(1 + 2j))
    1.0
    """
    x = as_operand(val, "real", 0)
    return trig.real_p.bind(x) if dtypes.is_complex(x.aval.dtype) else distinct(x, val)


@boundary
def imag(val: ArrayLike, /) -> Array:
    """The imaginary part; of real numbers, zeros. TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.imag(1 + 2j))
    2.0
    """
    x = as_operand(val, "imag", 0)
    if dtypes.is_complex(x.aval.dtype):
        return trig.imag_p.bind(x)
    return shape.full(x.aval.shape, 0, x.aval.dtype, x.aval.weak_type)


@boundary
def conjugate(x: ArrayLike, /) -> Array:
    """The complex conjugate; of real numbers, the same numbers. TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.conjugate(1 + 2j))
    (1-2j)
    """
    z = as_operand(x, "conjugate", 0)
    return trig.conj_p.bind(z) if dtypes.is_complex(z.aval.dtype) else distinct(z, x)


conj = conjugate


@boundary
def angle(z: ArrayLike, deg: bool = False) -> Array:
    """The angle of complex numbers in (-pi, pi], in degrees with `deg`. TypeError for anything but arrays or numbers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.angle(1j, deg=True))
    90.0
    """
    z = as_operand(z, "angle", 0)
    z = cast(z, *common_dtype("angle", DEFAULT_INEXACT, [z.aval]))
    re = real(z)
    im = imag(z)
    result = lengths.atan2_p.bind(im, re)
    return e.mul_p.bind(result, scalar(result, 180 / np.pi)) if deg else result
