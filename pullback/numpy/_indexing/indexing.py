"""Indexing: `x[...]` with all that NumPy has, and the functions that read by position.

Integers, slices, None and Ellipsis become slices and a reshape; index arrays become one gather. Indices out of
bounds are clamped (in `take` and `take_along_axis`, they give nan or the like): while tracing they are not known.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from pullback._api.extended_arrays import moves_entries
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray, NestedArrayLike, array_of, lift
from pullback._core.config import config
from pullback._core.nans import is_watched
from pullback._core.trace import Tracer
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue, Index
from pullback._ops import compare
from pullback._ops import shape as shape_ops
from pullback._ops.assemble import iota, split
from pullback._ops.dynamic_slicing import dynamic_slice, start
from pullback._ops.families import broadcast_shapes
from pullback._ops.gather_numpy import CLIP, FILL, PROMISE, GatherDimensionNumbers, GatherScatterMode, mode_of
from pullback._ops.gather_scatter import gather_p
from pullback._ops.slicing import rev, slice_p
from pullback.numpy._elementwise.arithmetic import remainder
from pullback.numpy._elementwise.logic import truth
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._indexing.plan import Plan, counted, dimension_numbers, index_vectors, read_index, within_int32
from pullback.numpy._reductions.reductions import one_axis, refuse_out
from pullback.numpy._searching.nonzero import true_positions

__all__ = ["take", "take_along_axis", "compress", "extract", "ix_"]

# --- x[...] ---


def getitem(x: Array, key: Index) -> Array:
    """`x[key]`."""
    if type(x) is ConcreteArray and not is_watched():
        try:
            # NumPy itself, if everything is known and in bounds; indices that it refuses take the general path below
            plain = numpy_index(key)
            out: Any = x.value[plain]  # type: ignore[index]
        except (IndexError, TypeError, OverflowError, UnknownIndex):
            pass
        else:
            aval = x.aval
            return array_of(make_aval(out.shape, aval.dtype, aval.weak_type), out)
    # checkify looks at indices as they were given
    return gathered(x, read_index(x.aval.shape, key, clamp=not config.collecting_taps), PROMISE)


class UnknownIndex(Exception):
    """An index that is not made only of known integers, slices and arrays."""


_BASIC = frozenset({int, slice, type(None), type(Ellipsis)})


def is_basic(key: Index) -> bool:
    """Return whether an index is made only of known integers and slices."""
    return type(key) in _BASIC or (type(key) is tuple and all(type(k) in _BASIC for k in key))


def numpy_index(key: Index) -> Any:
    """A known index as NumPy takes it, else UnknownIndex."""
    kind = type(key)
    if kind in _BASIC:
        return key
    if isinstance(key, tuple) and kind is tuple:
        return tuple([k if type(k) in _BASIC else _numpy_part(k) for k in key])
    return _numpy_part(key) if kind is not list else _unknown()


def _unknown():
    raise UnknownIndex


def _numpy_part(key: AnyValue) -> Any:
    kind = type(key)
    if kind is ConcreteArray:
        return key.value
    if kind is bool or isinstance(key, (np.ndarray, np.generic)):
        return key
    if kind is list:
        value = np.asarray(key)
        return value if value.dtype.kind in "iub" else _unknown()
    raise UnknownIndex


def sliced(x: Array, plan: Plan) -> Array:
    """The part of `x` that the slices of an index take, in the plan's middle shape."""
    shape = x.aval.shape
    if not plan.takes_all(shape):
        if plan.limits != shape or any(plan.starts) or any(s != 1 for s in plan.strides):
            strides = plan.strides if any(s != 1 for s in plan.strides) else None
            x = slice_p.bind(x, start_indices=plan.starts, limit_indices=plan.limits, strides=strides)
        x = rev(x, plan.reversed_axes)
    return shape_ops.reshape(x, plan.middle)


def gathered(
    x: Array,
    plan: Plan,
    mode: GatherScatterMode,
    fill_value: ArrayLike | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
) -> Array:
    """The elements of `x` selected by an index."""
    y = sliced(x, plan)
    if not plan.axes:
        return y
    if any(plan.middle[axis] == 0 for axis in plan.axes):
        if 0 in plan.shape:
            return shape_ops.full(plan.shape, 0, x.aval.dtype)  # there is no element to read, and none is requested
        shape = x.aval.shape
        raise IndexError(f"index is out of bounds for axis {shape.index(0)} of length 0 of shape {shape}")
    single = plan.common == ()
    if single and mode is not FILL and 0 not in plan.shape:
        starts: list[Any] = [0] * y.aval.ndim
        for axis, p in zip(plan.axes, plan.positions, strict=True):
            starts[axis] = start(
                "indexing", int(p) if isinstance(p, np.ndarray) else p, plan.middle[axis], allow_negative=False
            )
        sizes = tuple(1 if i in plan.axes else n for i, n in enumerate(plan.middle))
        return shape_ops.reshape(dynamic_slice(y, starts, sizes, allow_negative_indices=False), plan.shape)
    numbers, sizes = dimension_numbers(plan)
    return gather_p.bind(
        y,
        index_vectors(plan.positions, plan.common),
        dimension_numbers=numbers,
        slice_sizes=sizes,
        mode=mode,
        fill_value=fill_value,
        indices_are_sorted=indices_are_sorted or single,
        unique_indices=unique_indices or single,
    )


def iterate(x: Array) -> Iterator[Array]:
    """The arrays along the first axis, one after the other."""
    aval = x.aval
    if aval.ndim == 0:
        raise TypeError("iteration over a 0-d array: it has no axis to iterate over")
    inner = make_aval(aval.shape[1:], aval.dtype, aval.weak_type)
    if type(x) is ConcreteArray and not is_watched():
        return (array_of(inner, row) for row in np.asarray(x.value))
    if not aval.shape[0]:
        return iter(())
    # one operation: its transpose is one concatenation
    return (shape_ops.reshape(part, inner.shape) for part in split(x, (1,) * aval.shape[0], 0))


# --- reading by position ---


@moves_entries
def take(
    a: ArrayLike,
    indices: NestedArrayLike,
    axis: int | None = None,
    out: None = None,
    mode: str | None = None,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    fill_value: ArrayLike | None = None,
) -> Array:
    """The elements of `a` along an axis (flattened, without one) at integer positions; negative ones from the end.

    `mode` treats indices out of bounds: "fill" (the default; `fill_value`, or nan, or the extreme integer), "clip",
    "wrap", or "raise" for an IndexError, which needs indices that are known. TypeError for indices that are not
    integers, ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.take(pnp.arange(3.), pnp.array([2, 7]))
    Array([ 2., nan], dtype=float32)
    """
    refuse_out("take", out)
    x = as_operand(a, "take", 0)
    index = positions_of("take", np.asarray(indices) if isinstance(indices, (list, tuple)) else indices)
    if axis is None:
        x, i = shape_ops.reshape(x, (x.aval.size,)), 0
    else:
        i = one_axis("take", axis, x.aval.ndim)
    if not dtypes.is_integer(index.aval.dtype):
        raise TypeError(f"take: indices must be integers, got {index.aval.str_short()}")
    n = x.aval.shape[i]
    if n == 0 and index.aval.size:
        raise IndexError(f"take: axis {i} of shape {x.aval.shape} has length 0, so nothing can be taken from it")
    if mode == "wrap":
        # a narrow dtype might not hold the length
        narrow = index.aval.dtype.itemsize < 4
        index, mode = remainder(shape_ops.convert_element_type(index, int) if narrow else index, n), "promise_in_bounds"
    elif mode == "raise":
        known = (
            index._concrete("take with mode 'raise' (use 'fill', 'clip' or 'wrap')")
            if isinstance(index, Tracer)
            else index
        )
        value = np.asarray(known.value)  # type: ignore[attr-defined]
        outside = value[(value < -n) | (value >= n)]
        if outside.size:
            raise IndexError(f"take: index {outside[0]} is out of bounds for axis {i} of length {n}")
        mode = "promise_in_bounds"
    if n == 0:  # nothing, of nothing
        shape = x.aval.shape
        return shape_ops.reshape(x, (*shape[:i], *index.aval.shape, *shape[i + 1 :]))
    wrap = mode != "clip"
    key = (*[slice(None)] * i, _known(index))
    plan = read_index(x.aval.shape, key, clamp=False, wrap=wrap)
    return gathered(x, plan, mode_of("take", mode), fill_value, indices_are_sorted, unique_indices)


def positions_of(name: str, indices: NestedArrayLike) -> Array:
    """`as_operand` of indices: NumPy's 64-bit indices are not truncated, but stay out of bounds."""
    if isinstance(indices, (np.ndarray, np.generic)) and indices.dtype.kind in "iu":
        indices = within_int32(np.asarray(indices))
    return as_operand(indices, name, 1)


def _known(x: Array) -> Any:
    value = x._known() if isinstance(x, Tracer) else x
    return x if value is None else np.asarray(value.value)  # type: ignore[attr-defined]


def along_axis(
    name: str, arr: Array, indices: ArrayLike, axis: int | None, wrap: bool
) -> tuple[Array, Array, GatherDimensionNumbers, int]:
    """Operand and index vectors of a gather of one element per index along an axis, the other axes running along."""
    index = positions_of(name, indices)
    if not dtypes.is_integer(index.aval.dtype):
        raise TypeError(f"{name}: indices must be integers, got {index.aval.str_short()}")
    if axis is None:
        if index.aval.ndim != 1:
            raise ValueError(f"{name}: with axis None, indices must have 1 axis, got shape {index.aval.shape}")
        arr, axis = shape_ops.reshape(arr, (arr.aval.size,)), 0
    rank = arr.aval.ndim
    if index.aval.ndim != rank:
        raise ValueError(
            f"{name}: indices must have as many axes as the array, got shapes {index.aval.shape} and {arr.aval.shape}"
        )
    i = one_axis(name, axis, rank)
    around = broadcast_shapes(name, *[(*s[:i], 1, *s[i + 1 :]) for s in (arr.aval.shape, index.aval.shape)])
    n = arr.aval.shape[i]
    arr = shape_ops.broadcast_to(arr, (*around[:i], n, *around[i + 1 :]))
    index = shape_ops.broadcast_to(index, (*around[:i], index.aval.shape[i], *around[i + 1 :]))
    vectors = index_vectors((counted(_known(index), n, wrap),), index.aval.shape)
    others = tuple(d for d in range(rank) if d != i)
    return arr, vectors, GatherDimensionNumbers((), (i,), (i,), others, others), i


@moves_entries
def take_along_axis(
    arr: ArrayLike,
    indices: ArrayLike,
    axis: int | None = -1,
    mode: str | GatherScatterMode | None = None,
    fill_value: ArrayLike | None = None,
    *,
    wrap_negative_indices: bool | None = None,
) -> Array:
    """`arr[..., indices[..., j, ...], ...]` for each j along an axis: it applies results of argsort and argmax.

    All other axes broadcast. `mode` treats indices out of bounds: "fill" (the default), "clip", "promise_in_bounds".
    ValueError for another number of axes.

    >>> import pullback.numpy as pnp
    >>> pnp.take_along_axis(pnp.array([[5, 3], [1, 2]]), pnp.array([[1], [0]]), 1)
    Array([[3],
           [1]], dtype=int32)
    """
    x = as_operand(arr, "take_along_axis", 0)
    chosen = mode_of("take_along_axis", mode)
    wrap = chosen is not CLIP if wrap_negative_indices is None else wrap_negative_indices
    y, vectors, numbers, i = along_axis("take_along_axis", x, indices, axis, wrap)
    if y.aval.shape[i] == 0 and vectors.aval.size:
        raise IndexError(
            f"take_along_axis: axis {i} of shape {y.aval.shape} has length 0, so nothing can be taken from it"
        )
    if 0 in vectors.aval.shape[:-1]:
        return shape_ops.full(vectors.aval.shape[:-1], 0, y.aval.dtype, y.aval.weak_type)
    return gather_p.bind(
        y,
        vectors,
        dimension_numbers=numbers,
        slice_sizes=(1,) * y.aval.ndim,
        mode=chosen,
        fill_value=fill_value,
        indices_are_sorted=False,
        unique_indices=False,
    )


@moves_entries
def compress(
    condition: NestedArrayLike,
    a: ArrayLike,
    axis: int | None = None,
    *,
    size: int | None = None,
    fill_value: ArrayLike = 0,
    out: None = None,
) -> Array:
    """The elements of `a` along an axis where a 1-d condition is true.

    With `size`, as many elements as that: cut, or completed with `fill_value`; without, the condition must be known.
    ValueError for an axis out of bounds, errors.ConcretizationTypeError for a traced condition without `size`.

    >>> import pullback.numpy as pnp
    >>> pnp.compress(pnp.array([True, False, True]), pnp.arange(3))
    Array([0, 2], dtype=int32)
    """
    refuse_out("compress", out)
    mask = as_operand(np.asarray(condition) if isinstance(condition, (list, tuple)) else condition, "compress", 0)
    return _chosen("compress", mask, as_operand(a, "compress", 1), axis, size, fill_value)


def _chosen(name: str, mask: Array, x: Array, axis: int | None, size: int | None, fill_value: ArrayLike) -> Array:
    if mask.aval.ndim != 1:
        raise ValueError(f"{name}: the condition must have 1 axis, got shape {mask.aval.shape}")
    if axis is None:
        x, axis = shape_ops.reshape(x, (x.aval.size,)), 0
    i = one_axis(name, axis, x.aval.ndim)
    known: Any = mask._known() if isinstance(mask, Tracer) else mask
    if known is None:
        n = x.aval.shape[i]
        found, count = true_positions(name, truth(mask), size)
        valid = compare.lt(iota(np.dtype(np.int32), found.aval.size), shape_ops.convert_element_type(count, np.int32))
        return take(x, compare.select(valid, found, np.int32(n)), i, mode="fill", fill_value=fill_value)
    positions = np.flatnonzero(np.asarray(known.value))
    if positions.size and positions[-1] >= x.aval.shape[i]:
        raise IndexError(
            f"{name}: the condition of length {mask.aval.shape[0]} is true beyond the length of axis "
            f"{i} of shape {x.aval.shape}"
        )
    if size is None:
        return take(x, positions, i)
    padded = np.full(operator.index(size), x.aval.shape[i], np.int32)
    padded[: len(positions)] = positions[:size]
    return take(x, padded, i, mode="fill", fill_value=fill_value)


@moves_entries
def extract(condition: ArrayLike, arr: ArrayLike, *, size: int | None = None, fill_value: ArrayLike = 0) -> Array:
    """The elements of `arr`, flattened, where a condition is true; for `size` and `fill_value` see `compress`.

    IndexError for a condition that is true beyond the end of `arr`, errors.ConcretizationTypeError for a traced one
    without `size`.

    >>> import pullback.numpy as pnp
    >>> x = pnp.arange(4)
    >>> pnp.extract(x % 2 == 1, x)
    Array([1, 3], dtype=int32)
    """
    mask = as_operand(condition, "extract", 0)
    return _chosen(
        "extract", shape_ops.reshape(mask, (mask.aval.size,)), as_operand(arr, "extract", 1), None, size, fill_value
    )


@moves_entries
def ix_(*args: NestedArrayLike) -> tuple[Array, ...]:
    """Arrays that index the grid of the given 1-d positions (or masks): the i-th runs along the i-th axis.

    ValueError unless the arguments are 1-d.

    >>> import pullback.numpy as pnp
    >>> [x.shape for x in pnp.ix_(pnp.arange(2), pnp.arange(3))]
    [(2, 1), (1, 3)]
    """
    out = []
    for i, given in enumerate(args):
        x = lift(np.asarray(given)) if isinstance(given, (list, tuple, range)) else as_operand(given, "ix_", i)
        if x.aval.ndim != 1:
            raise ValueError(f"ix_: argument {i} must have 1 axis, got shape {x.aval.shape}")
        if x.aval.dtype.kind == "b":
            chosen = x._concrete("ix_ of a mask") if isinstance(x, Tracer) else x
            x = lift(np.flatnonzero(np.asarray(chosen.value)))  # type: ignore[attr-defined]
        out.append(shape_ops.reshape(x, (*(1,) * i, x.aval.size, *(1,) * (len(args) - i - 1))))
    return tuple(out)
