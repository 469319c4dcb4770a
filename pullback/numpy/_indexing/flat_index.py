"""Positions in a flat array and their coordinates: `unravel_index`, `ravel_multi_index`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ConcreteArray, NestedArrayLike
from pullback._core.errors import boundary
from pullback._core.types import at_least
from pullback._core.typing import DTypeLike, ShapeLike
from pullback._ops import compare, elementwise
from pullback._ops import shape as shape_ops
from pullback._ops.elementwise import scalar
from pullback._ops.shape import shape_of
from pullback.numpy._creation.creation import from_list
from pullback.numpy._elementwise.arithmetic import floor_divide, remainder
from pullback.numpy._elementwise.promotion import ANY, as_operand, promote_operands

__all__ = ["unravel_index", "ravel_multi_index"]


@boundary
def unravel_index(indices: NestedArrayLike, shape: ShapeLike) -> tuple[Array, ...]:
    """The positions along each axis of an array of a shape, of positions in the flat array, which are clamped.

    They have the dtype of `indices`, or int32 where that cannot count the elements of an axis. TypeError for
    positions that are not integers.

    >>> import pullback.numpy as pnp
    >>> pnp.unravel_index(5, (2, 3))
    (Array(1, dtype=int32, weak_type=True), Array(2, dtype=int32, weak_type=True))
    """
    flat = as_operand(from_list(indices), "unravel_index", 0)
    lengths = shape_of("unravel_index", shape)
    if not dtypes.is_integer(flat.aval.dtype):
        raise TypeError(f"unravel_index: indices must be integers, got {flat.aval.str_short()}")
    size, given = math.prod(lengths), flat.aval
    if at_least(size, dtypes.iinfo(given.dtype).max + 2):
        flat = shape_ops.convert_element_type(flat, np.int32)
    if not dtypes.is_unsigned(flat.aval.dtype):
        flat = compare.select(compare.lt(flat, scalar(flat, 0)), elementwise.add(flat, scalar(flat, size)), flat)
        flat = elementwise.max(flat, scalar(flat, 0))
    flat = elementwise.min(flat, scalar(flat, size - 1 if size else 0))
    out = []
    for n in reversed(lengths):
        out.append(remainder(flat, n))
        flat = floor_divide(flat, n)
    # negative positions in the flat array may be large ones along an axis
    if flat.aval.dtype != given.dtype and not any(at_least(n, dtypes.iinfo(given.dtype).max + 2) for n in lengths):
        out = [shape_ops.convert_element_type(p, given.dtype) for p in out]
    return tuple(reversed(out))


@boundary
def ravel_multi_index(
    multi_index: Sequence[Any],
    dims: Sequence[int],
    mode: str = "raise",
    order: str = "C",
    *,
    dtype: DTypeLike | None = None,
) -> Array:
    """The positions in the flat array, of positions along each axis of an array of shape `dims`.

    `mode` is "clip" or "wrap" for indices out of bounds; "raise" needs them to be known. It may be a tuple. `dtype`:
    an integer dtype for the result, by default the promoted one of the indices. ValueError for indices out of
    bounds and for a dtype that cannot hold the largest position, TypeError for a `dtype` of no integers.

    >>> import pullback.numpy as pnp
    >>> pnp.ravel_multi_index((pnp.array([1, 0]), pnp.array([2, 1])), (2, 3))
    Array([5, 1], dtype=int32)
    """
    lengths = shape_of("ravel_multi_index", dims)
    if len(multi_index) != len(lengths):
        raise ValueError(
            f"ravel_multi_index: expected positions for each of {len(lengths)} axes, got {len(multi_index)}"
        )
    positions = promote_operands("ravel_multi_index", ANY, *map(from_list, multi_index))
    target = positions[0].aval.dtype if dtype is None and positions else dtypes.canonicalize_dtype(dtype or int)
    if not dtypes.is_integer(target):
        raise TypeError(f"ravel_multi_index: positions must be integers, got {target.name}")
    modes = [mode] * len(lengths) if isinstance(mode, str) else list(mode)
    if order not in ("C", "F"):
        raise ValueError(f"ravel_multi_index: order must be 'C' or 'F', got {order!r}")
    strides = [math.prod(lengths[i + 1 :]) if order == "C" else math.prod(lengths[:i]) for i in range(len(lengths))]
    size = math.prod(lengths)
    if at_least(size, dtypes.iinfo(target).max + 2):
        raise ValueError(
            f"ravel_multi_index: dtype {target.name} cannot hold the positions in an array of shape {lengths}, up to "
            f"{size - 1}: pass the argument dtype, or positions of a wider one"
        )
    total: Any = None
    for p, n, how, stride in zip(positions, lengths, modes, strides, strict=True):
        if not dtypes.is_integer(p.aval.dtype):
            raise TypeError(f"ravel_multi_index: positions must be integers, got {p.aval.str_short()}")
        if at_least(n, dtypes.iinfo(p.aval.dtype).max + 1):
            p = shape_ops.convert_element_type(p, np.int32)  # the length is an operand
        if how == "raise":
            known = (
                p
                if isinstance(p, ConcreteArray)
                else p._concrete(  # type: ignore[attr-defined]
                    "ravel_multi_index with mode 'raise' (use 'clip' or 'wrap')"
                )
            )
            if known.aval.size and (np.min(known.value) < 0 or np.max(known.value) >= n):
                raise ValueError(f"ravel_multi_index: a position is out of bounds for dims {tuple(lengths)}")
        elif how == "clip":
            p = elementwise.min(elementwise.max(p, scalar(p, 0)), scalar(p, n - 1))
        elif how == "wrap":
            p = remainder(p, n)
        else:
            raise ValueError(f"ravel_multi_index: mode must be 'raise', 'clip' or 'wrap', got {how!r}")
        if dtype is not None or p.aval.dtype != target:
            p = shape_ops.convert_element_type(p, target)
        part = elementwise.mul(p, scalar(p, stride))
        total = part if total is None else elementwise.add(total, part)
    return total
