"""Slices with dynamic starts: dynamic_slice and dynamic_update_slice. Starts are clamped to keep the slice inside."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray, lift
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.types import canonical_shape, make_aval
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of
from pullback._ops import elementwise
from pullback._ops.assemble import concatenate
from pullback._ops.compare import lt, select
from pullback._ops.elementwise import add, scalar
from pullback._ops.families import operands
from pullback._ops.gather_numpy import CLIP, GatherDimensionNumbers, ScatterDimensionNumbers
from pullback._ops.gather_scatter import gather_p, scatter_add_p, scatter_p
from pullback._ops.scattered import Scattered
from pullback._ops.shape import (
    broadcast_in_dim,
    broadcast_to,
    convert_element_type,
    instantiate,
    move_axis,
    reshape,
    squeeze,
    zeros_like_aval,
)
from pullback._ops.slicing import axis_of

_INDEX = np.dtype(np.int32)

# --- starts ---


def _starts(name: str, x: Array, start_indices: AnyValue, allow_negative: bool | Sequence[bool]) -> list[Array]:
    """A scalar per axis; negative ones count from the end of the axis, if that is allowed."""
    if isinstance(start_indices, (Array, np.ndarray)):
        vector = lift(start_indices)
        if vector.aval.ndim != 1:
            raise ValueError(
                f"{name}: start_indices must be a sequence of scalars or a 1-d array, got {vector.aval.str_short()}"
            )
        if isinstance(vector, ConcreteArray):
            start_indices = list(np.asarray(vector.value))
        else:
            start_indices = [_component(vector, i) for i in range(vector.aval.shape[0])]
    shape = x.aval.shape
    if len(start_indices) != len(shape):
        raise ValueError(
            f"{name}: expected a start for each of the {len(shape)} axes of shape {shape}, got {len(start_indices)}"
        )
    allowed = [allow_negative] * len(shape) if isinstance(allow_negative, bool) else list(allow_negative)
    starts = [start(name, i, n, a) for i, n, a in zip(start_indices, shape, allowed, strict=True)]
    if len({s.aval.dtype for s in starts}) > 1:
        dtype = np.result_type(*[s.aval.dtype for s in starts])
        wide = dtypes.canonicalize_dtype(dtype) if dtypes.is_integer(dtype) else np.dtype(np.int32)
        starts = [convert_element_type(s, wide) for s in starts]
    return starts


def _component(vector: Array, i: int) -> Array:
    return squeeze(dynamic_slice_p.bind(vector, lift(np.int32(i)), slice_sizes=(1,)), (0,))


def start(name: str, i: AnyValue, length: int, allow_negative: bool = True) -> Array:
    """One start as a scalar array that counts from the beginning of an axis of the given length."""
    kind = type(i)
    if kind is int or kind is np.int64 or kind is np.int32:
        i = int(i)
        return lift(np.int32(min(max(i + length if i < 0 and allow_negative else i, 0), 2**31 - 1)))
    index = lift(i)
    if index.aval.ndim or not dtypes.is_integer(index.aval.dtype):
        raise TypeError(f"{name}: starts must be integer scalars, got {index.aval.str_short()}")
    if dtypes.is_unsigned(index.aval.dtype):
        if isinstance(index, ConcreteArray):
            return start(name, int(index.value), length)
        return as_index(index) if index.aval.dtype.itemsize >= 4 else index
    if not allow_negative:
        return index
    if isinstance(index, ConcreteArray):
        return start(name, int(index.value), length)
    if length > dtypes.iinfo(index.aval.dtype).max:
        index = convert_element_type(index, np.int32)
    return select(lt(index, scalar(index, 0)), add(index, scalar(index, length)), index)


def as_index(x: Array) -> Array:
    """Traced indices as int32; those beyond its range stay out of bounds."""
    dtype = x.aval.dtype
    if dtype.itemsize >= 4 and dtype != _INDEX:
        limits = np.iinfo(np.int32)
        x = elementwise.min(x, scalar(x, limits.max))
        x = x if dtypes.is_unsigned(dtype) else elementwise.max(x, scalar(x, limits.min))
    return convert_element_type(x, _INDEX)


def _check_starts(name: str, x, sizes, starts) -> None:
    if len(sizes) != x.ndim or not all(0 <= s <= n for s, n in zip(sizes, x.shape, strict=True)):
        raise ValueError(f"{name}: a slice of sizes {tuple(sizes)} does not fit into an operand of shape {x.shape}")
    if len(starts) != x.ndim or any(s.ndim or not dtypes.is_integer(s.dtype) for s in starts):
        raise TypeError(
            f"{name}: expected {x.ndim} integer scalars as starts, got {', '.join(s.str_short() for s in starts)}"
        )


def _window(x, sizes, starts):
    return tuple(
        [
            builtins.slice(b, b + s)
            for b, s in ((min(max(int(i), 0), n - s), s) for i, n, s in zip(starts, x.shape, sizes, strict=True))
        ]
    )


def _index_vectors(starts, dims, size: int) -> Array:
    """Batched starts as the rows of an array of index vectors."""
    columns = [broadcast_in_dim(s, (size, 1), () if d is None else (0,)) for s, d in zip(starts, dims, strict=True)]
    return concatenate(columns, 1)


# --- dynamic_slice ---

dynamic_slice_p: Primitive = Primitive("dynamic_slice")


def dynamic_slice(
    operand: ArrayLike,
    start_indices: ArrayLike | Sequence[ArrayLike],
    slice_sizes: Sequence[int],
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Array:
    """The part of `operand` of shape `slice_sizes` that starts at `start_indices`, which may be traced.

    Negative starts count from the end; then starts are clamped, so that the slice is inside.
    ValueError for sizes that do not fit and for another number of starts.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.dynamic_slice(pnp.arange(5), (4,), (3,))
    Array([2, 3, 4], dtype=int32)
    """
    x = lift(operand)
    starts = _starts("dynamic_slice", x, start_indices, allow_negative_indices)
    return dynamic_slice_p.bind(x, *starts, slice_sizes=canonical_shape(slice_sizes))


def _dynamic_slice_type(x, *starts, slice_sizes):
    _check_starts("dynamic_slice", x, slice_sizes, starts)
    return make_aval(slice_sizes, x.dtype, x.weak_type)


def _dynamic_slice_jvp(primals, tangents, slice_sizes):
    x, *starts = primals
    y = dynamic_slice_p.bind(x, *starts, slice_sizes=slice_sizes)
    t = tangents[0]
    return y, zero_of(y.aval) if type(t) is Zero else dynamic_slice_p.bind(t, *starts, slice_sizes=slice_sizes)


class ScatteredWindow(Scattered):
    """The cotangent of an array from that of a dynamic slice: the operands are that cotangent and the starts."""

    __slots__ = ()

    def dense(self) -> Array:
        return dynamic_update_slice_p.bind(zeros_like_aval(self.aval), *self.operands)

    def added_to(self, total: Array) -> Array:
        return dynamic_slice_add_p.bind(total, *self.operands)

    def add_in_place(self, buffer: np.ndarray, *values: Any) -> None:
        ct, *starts = values
        buffer[_window(buffer, np.shape(ct), starts)] += ct


def _dynamic_slice_transpose(ct, x, *starts, slice_sizes):
    return [ScatteredWindow(x.aval, ct, *starts), *[None] * len(starts)]


def _dynamic_slice_batch(trace, args, dims, slice_sizes):
    (x, *starts), (b, *ds) = args, dims
    if all(d is None for d in ds):
        x = move_axis(x, b, 0)
        zero = lift(starts[0].aval.dtype.type(0)) if starts else lift(np.int32(0))
        return dynamic_slice_p.bind(x, zero, *starts, slice_sizes=(x.aval.shape[0], *slice_sizes)), 0
    size = next(s.aval.shape[0] for s, d in zip(starts, ds, strict=True) if d is not None)
    rank = len(slice_sizes)
    axes = tuple(range(rank))
    if b is None:
        numbers = GatherDimensionNumbers(tuple(d + 1 for d in axes), (), axes)
        sizes = slice_sizes
    else:
        x = move_axis(x, b, 0)
        inner = tuple(d + 1 for d in axes)
        numbers = GatherDimensionNumbers(inner, (), inner, (0,), (0,))
        sizes = (min(1, size), *slice_sizes)
    out = gather_p.bind(
        x,
        _index_vectors(starts, ds, size),
        dimension_numbers=numbers,
        slice_sizes=sizes,
        mode=CLIP,
        fill_value=None,
        indices_are_sorted=False,
        unique_indices=b is not None,
    )
    return out, 0


dynamic_slice_p.abstract_eval = _dynamic_slice_type
dynamic_slice_p.kernel = lambda x, *starts, slice_sizes: x[_window(x, slice_sizes, starts)]
dynamic_slice_p.lower = lambda ctx, x, *starts, slice_sizes: ctx.dynamic_slice(x, starts, slice_sizes)
dynamic_slice_p.jvp = _dynamic_slice_jvp
dynamic_slice_p.transpose = _dynamic_slice_transpose
dynamic_slice_p.batch = _dynamic_slice_batch

# --- dynamic_update_slice ---

dynamic_update_slice_p: Primitive = Primitive("dynamic_update_slice")


def dynamic_update_slice(
    operand: ArrayLike,
    update: ArrayLike,
    start_indices: ArrayLike | Sequence[ArrayLike],
    *,
    allow_negative_indices: bool | Sequence[bool] = True,
) -> Array:
    """`operand` with the part that starts at `start_indices` replaced by `update`.

    Negative starts count from the end; then starts are clamped, so that the update is inside.
    ValueError for an update that does not fit and for another number of starts.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.dynamic_update_slice(pnp.zeros(4), pnp.ones(2), (1,))
    Array([0., 1., 1., 0.], dtype=float32)
    """
    x, u = operands("dynamic_update_slice", operand, update)
    starts = _starts("dynamic_update_slice", x, start_indices, allow_negative_indices)
    return dynamic_update_slice_p.bind(x, u, *starts)


def _dynamic_update_slice_type(x, update, *starts):
    if update.dtype != x.dtype:
        raise TypeError(
            f"dynamic_update_slice: operand and update must have one dtype, got {x.str_short()} and "
            f"{update.str_short()}. Convert one with .astype()."
        )
    _check_starts("dynamic_update_slice", x, update.shape, starts)
    return x


def _dynamic_update_slice_kernel(x, update, *starts):
    out = np.array(x, order="C")
    out[_window(out, np.shape(update), starts)] = update
    return out


def _dynamic_update_slice_jvp(primals, tangents):
    x, update, *starts = primals
    y = dynamic_update_slice_p.bind(x, update, *starts)
    t, u = tangents[:2]
    if type(t) is Zero and type(u) is Zero:
        return y, zero_of(y.aval)
    return y, dynamic_update_slice_p.bind(instantiate(t), instantiate(u), *starts)


def _dynamic_update_slice_transpose(ct, x, update, *starts):
    aval = update.aval if isinstance(update, Array) else lift(update).aval
    to_x = dynamic_update_slice_p.bind(ct, zeros_like_aval(aval), *starts) if is_linear(x) else None
    to_update = dynamic_slice_p.bind(ct, *starts, slice_sizes=aval.shape) if is_linear(update) else None
    return [to_x, to_update, *[None] * len(starts)]


def _update_batch(p: Primitive, scattering: Primitive) -> Callable:
    """The batching rule of an update; examples with different starts are updated by the other primitive."""

    def batch(trace, args, dims):
        (x, update, *starts), (b, u, *ds) = args, dims
        size = next(a.aval.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
        x, update = _leading(x, b, size), _leading(update, u, size)
        if all(d is None for d in ds):
            zero = lift(starts[0].aval.dtype.type(0)) if starts else lift(np.int32(0))
            return p.bind(x, update, zero, *starts), 0
        inner = tuple(range(1, x.aval.ndim))
        numbers = ScatterDimensionNumbers(inner, (), inner, (0,), (0,))
        return scattering.bind(
            x,
            _index_vectors(starts, ds, size),
            update,
            dimension_numbers=numbers,
            mode=CLIP,
            indices_are_sorted=False,
            unique_indices=True,
        ), 0

    return batch


def _leading(x: Array, dim: int | None, size: int) -> Array:
    return broadcast_to(x, (size, *x.aval.shape)) if dim is None else move_axis(x, dim, 0)


dynamic_update_slice_p.abstract_eval = _dynamic_update_slice_type
dynamic_update_slice_p.kernel = _dynamic_update_slice_kernel
dynamic_update_slice_p.lower = lambda ctx, x, update, *starts: ctx.op(
    "stablehlo.dynamic_update_slice", [x, update, *starts], ctx.out_avals[0]
)
dynamic_update_slice_p.jvp = _dynamic_update_slice_jvp
dynamic_update_slice_p.transpose = _dynamic_update_slice_transpose
dynamic_update_slice_p.has(additive=(0, 1))
dynamic_update_slice_p.batch = _update_batch(dynamic_update_slice_p, scatter_p)

# --- dynamic_slice_add: an array added to a part of another, for cotangents of dynamic slices ---

dynamic_slice_add_p = Primitive("dynamic_slice_add")


def _dynamic_slice_add_kernel(x, update, *starts):
    out = np.array(x, order="C")
    out[_window(out, np.shape(update), starts)] += update
    return out


def _dynamic_slice_add_lower(ctx, x, update, *starts):
    part = ctx.dynamic_slice(x, starts, update.aval.shape)
    total = ctx.op("stablehlo.add", [part, update])
    return ctx.op("stablehlo.dynamic_update_slice", [x, total, *starts], ctx.out_avals[0])


def _dynamic_slice_add_jvp(primals, tangents):
    x, update, *starts = primals
    y = dynamic_slice_add_p.bind(x, update, *starts)
    t, u = tangents[:2]
    if type(u) is Zero:
        return y, zero_of(y.aval) if type(t) is Zero else t
    return y, dynamic_slice_add_p.bind(instantiate(t), u, *starts)


def _dynamic_slice_add_transpose(ct, x, update, *starts):
    to_update = dynamic_slice_p.bind(ct, *starts, slice_sizes=update.aval.shape) if is_linear(update) else None
    return [ct if is_linear(x) else None, to_update, *[None] * len(starts)]


dynamic_slice_add_p.abstract_eval = _dynamic_update_slice_type
dynamic_slice_add_p.kernel = _dynamic_slice_add_kernel
dynamic_slice_add_p.lower = _dynamic_slice_add_lower
dynamic_slice_add_p.jvp = _dynamic_slice_add_jvp
dynamic_slice_add_p.transpose = _dynamic_slice_add_transpose
dynamic_slice_add_p.has(additive=(0, 1))
dynamic_slice_add_p.batch = _update_batch(dynamic_slice_add_p, scatter_add_p)

# --- along one axis ---


def dynamic_slice_in_dim(
    operand: ArrayLike, start_index: ArrayLike, slice_size: int, axis: int = 0, *, allow_negative_indices: bool = True
) -> Array:
    """`dynamic_slice` along one axis, with the other axes in full.

    IndexError for an axis out of bounds, ValueError for a size that does not fit.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.dynamic_slice_in_dim(pnp.arange(5), 1, 2)
    Array([1, 2], dtype=int32)
    """
    x = lift(operand)
    axis = axis_of("dynamic_slice_in_dim", axis, x.aval)
    starts: list[Any] = [0] * x.aval.ndim
    sizes = list(x.aval.shape)
    starts[axis], sizes[axis] = start_index, operator.index(slice_size)
    return dynamic_slice(x, starts, sizes, allow_negative_indices=allow_negative_indices)


def dynamic_index_in_dim(
    operand: ArrayLike, index: ArrayLike, axis: int = 0, keepdims: bool = True, *, allow_negative_indices: bool = True
) -> Array:
    """The element at `index` along one axis, which is kept with length 1 unless `keepdims` is False.

    IndexError for an axis out of bounds.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.dynamic_index_in_dim(pnp.arange(5), 3, keepdims=False)
    Array(3, dtype=int32)
    """
    out = dynamic_slice_in_dim(operand, index, 1, axis, allow_negative_indices=allow_negative_indices)
    return out if keepdims else squeeze(out, (axis,))


def dynamic_update_slice_in_dim(
    operand: ArrayLike, update: ArrayLike, start_index: ArrayLike, axis: int, *, allow_negative_indices: bool = True
) -> Array:
    """`dynamic_update_slice` along one axis. IndexError for an axis out of bounds.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.dynamic_update_slice_in_dim(pnp.arange(5), pnp.array([7, 8]), 1, 0)
    Array([0, 7, 8, 3, 4], dtype=int32)
    """
    x = lift(operand)
    axis = axis_of("dynamic_update_slice_in_dim", axis, x.aval)
    starts: list[Any] = [0] * x.aval.ndim
    starts[axis] = start_index
    return dynamic_update_slice(x, update, starts, allow_negative_indices=allow_negative_indices)


def dynamic_update_index_in_dim(
    operand: ArrayLike, update: ArrayLike, index: ArrayLike, axis: int, *, allow_negative_indices: bool = True
) -> Array:
    """`operand` with the element at `index` along one axis replaced by `update`, which may lack that axis.

    IndexError for an axis out of bounds.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.dynamic_update_index_in_dim(pnp.arange(3), 9, 1, 0)
    Array([0, 9, 2], dtype=int32)
    """
    x, u = operands("dynamic_update_index_in_dim", operand, update)
    axis = axis_of("dynamic_update_index_in_dim", axis, x.aval)
    if u.aval.ndim != x.aval.ndim:
        u = reshape(u, (*u.aval.shape[:axis], 1, *u.aval.shape[axis:]))
    return dynamic_update_slice_in_dim(x, u, index, axis, allow_negative_indices=allow_negative_indices)
