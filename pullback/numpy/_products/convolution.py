"""Convolution and correlation of vectors."""

from __future__ import annotations

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import DTypeLike
from pullback._ops.conv import conv_general_dilated
from pullback._ops.dot import PrecisionLike
from pullback._ops.shape import convert_element_type, reshape
from pullback._ops.slicing import rev
from pullback._ops.trig import conj
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._products.contractions import promoted

__all__ = ["convolve", "correlate"]


# --- convolution of vectors ---


def _slide(
    name: str, a: ArrayLike, v: ArrayLike, mode: str, flip: bool, precision: PrecisionLike, preferred: DTypeLike | None
) -> Array:
    x, y = promoted(name, a, v)
    if x.aval.ndim != 1 or y.aval.ndim != 1:
        raise ValueError(f"{name}: expected two vectors, got shapes {x.shape} and {y.shape}")
    if not x.aval.size or not y.aval.size:
        raise ValueError(f"{name}: expected vectors with elements, got shapes {x.shape} and {y.shape}")
    dtype, weak = dtypes.to_inexact(x.aval.dtype, x.aval.weak_type)
    x, y = convert_element_type(x, dtype, weak), convert_element_type(y, dtype, weak)
    swap = x.aval.size < y.aval.size
    if swap:
        x, y = y, x
    if flip:
        y = rev(y, (0,))
    n = y.aval.size
    pads = {"full": (n - 1, n - 1), "same": (n // 2, n - n // 2 - 1), "valid": (0, 0)}.get(mode)
    if pads is None:
        raise ValueError(f"{name}: mode must be 'full', 'same' or 'valid', got {mode!r}")
    z = conv_general_dilated(
        reshape(x, (1, 1, x.aval.size)),
        reshape(y, (1, 1, n)),
        (1,),
        [pads],
        precision=precision,
        preferred_element_type=preferred,
    )
    z = reshape(z, (z.aval.size,))
    # exchanging the operands of a correlation reverses it
    return rev(z, (0,)) if swap and not flip else z


@boundary
def convolve(
    a: ArrayLike,
    v: ArrayLike,
    mode: str = "full",
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> Array:
    """The convolution of two vectors of lengths m and n; of integers a float32.

    `mode` is "full" (length m + n - 1), "same" (the middle, of length max(m, n)) or "valid" (where they
    overlap fully). ValueError for anything but a vector, or has no elements, and for another mode.

    >>> import pullback.numpy as pnp
    >>> pnp.convolve(pnp.array([1., 2., 3.]), pnp.array([1., 1.]))
    Array([1., 3., 5., 3.], dtype=float32)
    """
    return _slide("convolve", a, v, mode, True, precision, preferred_element_type)


@boundary
def correlate(
    a: ArrayLike,
    v: ArrayLike,
    mode: str = "valid",
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> Array:
    """The cross-correlation of two vectors: like `convolve`, with `v` not reversed but conjugated.

    ValueError for anything but a vector, or has no elements, and for another mode.

    >>> import pullback.numpy as pnp
    >>> pnp.correlate(pnp.array([1., 2., 3.]), pnp.array([1., 1.]))
    Array([3., 5.], dtype=float32)
    """
    y = as_operand(v, "correlate", 1)
    if dtypes.is_complex(y.aval.dtype):
        y = conj(y)
    return _slide("correlate", a, y, mode, False, precision, preferred_element_type)
