"""Bits as the elements of an array, and packed into bytes."""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.types import canonical_dimension
from pullback._ops.compare import bitwise_and, ne, shift_right_logical
from pullback._ops.elementwise import mul
from pullback._ops.families import scalar_like
from pullback._ops.shape import broadcast_to, convert_element_type, move_axis, reduce_sum, reshape
from pullback._ops.slicing import pad, slice_in_dim
from pullback.numpy._creation.creation import asarray
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._reductions.reductions import one_axis

__all__ = ["packbits", "unpackbits"]

_BYTE = np.dtype(np.uint8)


def _order(name: str, bitorder: str) -> np.ndarray:
    """The places of the eight bits of a byte, in the order that they have as elements."""
    if bitorder not in ("big", "little"):
        raise ValueError(f"{name}: bitorder must be 'big' or 'little', got {bitorder!r}")
    places = np.arange(8, dtype=_BYTE)
    return places[::-1].copy() if bitorder == "big" else places


def _along_last(name: str, x: Array, axis: int | None) -> tuple[Array, int]:
    """The array with the axis last (flat, if that is None), and the axis."""
    if axis is None:
        return reshape(x, (x.aval.size,)), 0
    i = one_axis(name, axis, x.aval.ndim)
    return move_axis(x, i, x.aval.ndim - 1), i


@boundary
def packbits(a: ArrayLike, axis: int | None = None, bitorder: str = "big") -> Array:
    """The truth of elements as bits, eight to a byte (uint8), along an axis, or of the flattened array.

    `a`: integers or bools. The last byte is filled up with zeros. With `bitorder` "big" the first element is the
    highest bit, with "little" the lowest. TypeError for other dtypes, ValueError for an axis out of bounds and
    another order.

    >>> import pullback.numpy as pnp
    >>> print(pnp.packbits(pnp.array([1, 0, 0, 0, 0, 0, 1, 1])))
    [131]
    """
    x = as_operand(a, "packbits", 0)
    if not (x.aval.dtype.kind == "b" or dtypes.is_integer(x.aval.dtype)):
        raise TypeError(f"packbits: expected integers or bools, got {x.aval.str_short()}")
    places = _order("packbits", bitorder)
    x, i = _along_last("packbits", x, axis)
    *lead, n = x.aval.shape
    bits = convert_element_type(ne(x, scalar_like(0, x.aval.dtype)), _BYTE)
    bits = pad(bits, scalar_like(0, _BYTE), [*[(0, 0, 0)] * len(lead), (0, -n % 8, 0)])
    bits = reshape(bits, (*lead, -(-n // 8), 8))
    weights = broadcast_to(asarray(_BYTE.type(1) << places), bits.aval.shape)
    return move_axis(reduce_sum(mul(bits, weights), (len(lead) + 1,)), len(lead), i)


@boundary
def unpackbits(a: ArrayLike, axis: int | None = None, count: int | None = None, bitorder: str = "big") -> Array:
    """The bits of bytes as elements 0 and 1 (uint8), eight for each byte along an axis, or of the flattened array.

    `a`: uint8. `count` is the number of bits to return: zeros fill it up, and a negative one leaves out so many at the
    end. With `bitorder` "big" the highest bit comes first. TypeError for other dtypes, ValueError for an axis out of
    bounds and another order.

    >>> import pullback.numpy as pnp
    >>> print(pnp.unpackbits(pnp.array([131], dtype="uint8")))
    [1 0 0 0 0 0 1 1]
    """
    x = as_operand(a, "unpackbits", 0)
    if x.aval.dtype != _BYTE:
        raise TypeError(f"unpackbits: expected uint8, got {x.aval.str_short()}. Convert it with .astype().")
    places = _order("unpackbits", bitorder)
    x, i = _along_last("unpackbits", x, axis)
    *lead, n = x.aval.shape
    shape = (*lead, n, 8)
    repeated = broadcast_to(reshape(x, (*lead, n, 1)), shape)
    bits = bitwise_and(shift_right_logical(repeated, broadcast_to(asarray(places), shape)), scalar_like(1, _BYTE))
    bits = reshape(bits, (*lead, 8 * n))
    if count is not None:
        length = max(8 * n + count, 0) if count < 0 else canonical_dimension(count)
        kept = slice_in_dim(bits, 0, min(length, 8 * n), axis=len(lead))
        bits = pad(kept, scalar_like(0, _BYTE), [*[(0, 0, 0)] * len(lead), (0, max(length - 8 * n, 0), 0)])
    return move_axis(bits, len(lead), i)
