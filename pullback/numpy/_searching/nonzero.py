"""The indices of nonzero elements. Their number depends on data: under jit, `size` must be given."""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np

from pullback._api.extended_arrays import moves_entries
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray
from pullback._core.errors import ConcretizationTypeError, boundary
from pullback._core.trace import Tracer
from pullback._ops import compare
from pullback._ops.assemble import broadcasted_iota, concatenate
from pullback._ops.elementwise import div
from pullback._ops.families import scalar_like
from pullback._ops.remainders import rem
from pullback._ops.shape import convert_element_type, full, reshape, shape_of
from pullback._ops.true_positions import true_positions as positions_of_true
from pullback.numpy._elementwise import selection
from pullback.numpy._elementwise.logic import truth
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._reductions.reductions import count_nonzero

__all__ = ["nonzero", "flatnonzero", "argwhere", "where"]

_INDEX = np.dtype(np.int32)


def static_count(name: str, count: Array) -> int:
    """A count that determines a shape; the error for an unknown one refers to `size`."""
    value: Any = count._known() if isinstance(count, Tracer) else count
    if not isinstance(value, ConcreteArray):
        where = count._trace.describe()  # type: ignore[attr-defined]
        raise ConcretizationTypeError(
            f"{name}: the shape of the result depends on data that is not known in {where}. Give its size: "
            f"{name}(..., size=n) keeps the first n results, and fills up with fill_value if there are fewer. Or use "
            "where(condition, x, y), or call it outside of the transformation."
        )
    return int(value.value)


def true_positions(name: str, mask: Array, size: int | None) -> tuple[Array, Array]:
    """The flat indices of true elements (0 after the last), and their number; both int32."""
    count = count_nonzero(mask)
    size = static_count(name, count) if size is None else shape_of(name, (size,))[0]
    return positions_of_true(reshape(mask, (mask.aval.size,)), size), count


def _unravel(flat: Array, shape: tuple[int, ...]) -> list[Array]:
    parts = []
    for i, n in enumerate(shape):
        below = math.prod(shape[i + 1 :])
        part = div(flat, scalar_like(max(below, 1), _INDEX))
        parts.append(rem(part, scalar_like(max(n, 1), _INDEX)) if i else part)
    return parts


@boundary
def nonzero(a: ArrayLike, *, size: int | None = None, fill_value: ArrayLike | None = None) -> tuple[Array, ...]:
    """The positions of nonzero elements in row-major order: a vector of indices (int32) for each axis.

    With `size`, vectors of that length, cut off or filled up with `fill_value` (0, or one number for each
    axis): needed under jit, where data is not known. ValueError for a scalar.

    >>> import pullback.numpy as pnp
    >>> pnp.nonzero(pnp.array([0, 5, 0, 7]))
    (Array([1, 3], dtype=int32),)
    """
    x = as_operand(a, "nonzero", 0)
    return _nonzero("nonzero", x, size, fill_value)


def _nonzero(name: str, x: Array, size: int | None, fill_value: ArrayLike | None) -> tuple[Array, ...]:
    shape = x.aval.shape
    if not shape:
        raise ValueError(f"{name}: expected an array with at least one axis, got a scalar; use atleast_1d(x)")
    if size is None and type(x) is ConcreteArray:
        index = dtypes.canonicalize_dtype(int)
        return tuple(as_operand(part.astype(index), name, 0) for part in np.nonzero(x.value))
    mask = truth(x)
    flat, count = true_positions(name, mask, size)
    parts = [convert_element_type(part, dtypes.canonicalize_dtype(int)) for part in _unravel(flat, shape)]
    if fill_value is not None:
        fills = fill_value if isinstance(fill_value, (tuple, list)) else (fill_value,) * len(shape)
        if len(fills) != len(shape):
            raise ValueError(
                f"{name}: fill_value must be a number, or one for each of {len(shape)} axes, got {fill_value!r}"
            )
        valid = compare.lt_p.bind(broadcasted_iota(_INDEX, flat.aval.shape, 0), convert_element_type(count, _INDEX))
        parts = [
            compare.select_p.bind(valid, part, convert_element_type(as_operand(fill, name, 1), part.aval.dtype))
            for part, fill in zip(parts, fills, strict=True)
        ]
    return tuple(parts)


@boundary
def flatnonzero(a: ArrayLike, *, size: int | None = None, fill_value: ArrayLike | None = None) -> Array:
    """The positions of nonzero elements in the flattened array; for `size` and `fill_value` see `nonzero`.

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.flatnonzero(pnp.array([[0, 5], [7, 0]])))
    [1 2]
    """
    x = as_operand(a, "flatnonzero", 0)
    return _nonzero("flatnonzero", reshape(x, (x.aval.size,)), size, fill_value)[0]


@boundary
def argwhere(a: ArrayLike, *, size: int | None = None, fill_value: ArrayLike | None = None) -> Array:
    """The positions of nonzero elements as rows, of shape (count, a.ndim); for `size` and `fill_value` see
    `nonzero`. TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.argwhere(pnp.array([[0, 5], [7, 0]])))
    [[0 1]
     [1 0]]
    """
    x = as_operand(a, "argwhere", 0)
    if not x.aval.ndim:
        index = dtypes.canonicalize_dtype(int)
        rows = _nonzero("argwhere", reshape(x, (1,)), size, fill_value)[0].aval.size
        return full((rows, 0), 0, index)
    parts = _nonzero("argwhere", x, size, fill_value)
    return concatenate([reshape(part, (part.aval.size, 1)) for part in parts], 1)


@overload
def where(condition: ArrayLike, x: ArrayLike, y: ArrayLike, /) -> Array: ...
@overload
def where(
    condition: ArrayLike,
    x: None = None,
    y: None = None,
    /,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> tuple[Array, ...]: ...
@moves_entries
def where(
    condition: ArrayLike,
    x: ArrayLike | None = None,
    y: ArrayLike | None = None,
    /,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Any:
    """`x` where `condition` is true, else `y`; the three broadcast together. Without `x` and `y`,
    `nonzero(condition)`.

    `condition` is of bools, or true where nonzero; `x` and `y` are promoted to one dtype. Both are computed,
    and both are differentiated: a nan in the choice not taken can reach a gradient, so make its argument
    safe too. ValueError for shapes that do not broadcast.

    >>> import pullback.numpy as pnp
    >>> print(pnp.where(pnp.arange(3) > 1, 1., 0.))
    [0. 0. 1.]
    """
    if x is None and y is None:
        return _nonzero("where", as_operand(condition, "where", 0), size, fill_value)
    if size is not None or fill_value is not None:
        raise ValueError("where: size and fill_value belong to where(condition), not to where(condition, x, y)")
    return selection.where(condition, x, y)  # type: ignore[arg-type]  # None is refused as any other non-array
