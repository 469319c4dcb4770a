"""Static slices of arrays: slice and pad, which are each other's transposes, and rev."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.array import Array, ArrayLike, distinct, lift
from pullback._core.errors import InconclusiveDimensionOperation
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.types import ShapedArray, as_size, at_least, make_aval
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of
from pullback._ops.compare import select
from pullback._ops.dilated_operands import without_cut_elements
from pullback._ops.elementwise import add, scalar, sub
from pullback._ops.families import operands
from pullback._ops.rules import linear_jvp
from pullback._ops.scattered import Scattered
from pullback._ops.shape import full, instantiate, move_axis, reduce_sum, reshape, squeeze
from pullback._xla.attributes import int_array

# from how many times the part on, the cotangent of a small part is added in place
_FEW_PARTS = 8

# --- slice: x[start:limit:stride] along every axis ---

slice_p: Primitive = Primitive("slice")


def slice(
    operand: ArrayLike, start_indices: Sequence[int], limit_indices: Sequence[int], strides: Sequence[int] | None = None
) -> Array:
    """The part of `operand` from `start_indices` up to `limit_indices`, every `strides`-th element, along each axis.

    All three have an entry per axis, with 0 <= start <= limit <= length and stride >= 1, else ValueError.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.slice(pnp.arange(6), (1,), (6,), (2,))
    Array([1, 3, 5], dtype=int32)
    """
    x = lift(operand)
    return slice_p.bind(
        x,
        start_indices=_ints("slice", start_indices),
        limit_indices=_ints("slice", limit_indices),
        strides=None if strides is None else _ints("slice", strides),
    )


def _ints(name: str, values: Sequence[Any]) -> tuple[int, ...]:
    try:
        return tuple(map(operator.index, values))
    except InconclusiveDimensionOperation:
        return tuple(map(as_size, values))
    except TypeError as error:
        raise TypeError(f"{name}: positions and sizes must be Python integers, got {values!r}: {error}") from None


def _slice_type(x, start_indices, limit_indices, strides):
    steps = (1,) * x.ndim if strides is None else strides
    if not len(start_indices) == len(limit_indices) == len(steps) == x.ndim:
        raise ValueError(
            f"slice: start_indices {start_indices}, limit_indices {limit_indices} and strides {strides} "
            f"must each have an entry for the {x.ndim} axes of shape {x.shape}"
        )
    shape = []
    for n, start, limit, step in zip(x.shape, start_indices, limit_indices, steps, strict=True):
        if not 0 <= start <= limit <= n or step < 1:
            raise ValueError(
                f"slice: expected 0 <= start <= limit <= length and stride >= 1 along every axis, got "
                f"start_indices {start_indices}, limit_indices {limit_indices}, strides {strides} for "
                f"shape {x.shape}"
            )
        shape.append((limit - start + step - 1) // step)
    return make_aval(tuple(shape), x.dtype, x.weak_type)


def _slice_kernel(x, start_indices, limit_indices, strides):
    if strides is None:
        return x[tuple(map(builtins.slice, start_indices, limit_indices))]
    return x[tuple(map(builtins.slice, start_indices, limit_indices, strides))]


def _slice_lower(ctx, x, start_indices, limit_indices, strides):
    steps = (1,) * x.aval.ndim if strides is None else strides
    return ctx.slice(x, start_indices, limit_indices, steps)


class ScatteredSlice(Scattered):
    """The cotangent of an array from that of a slice: zero outside the slice."""

    __slots__ = ()

    def dense(self) -> Array:
        (ct,), starts, steps = self.operands, self.params["start_indices"], self.params["strides"]
        config = []
        for n, start, m, step in zip(self.aval.shape, starts, ct.aval.shape, steps, strict=True):
            covered = start if m == 0 else start + (m - 1) * step + 1
            config.append((start, n - covered, 0 if m == 0 else step - 1))
        return pad(ct, scalar(ct, 0), config)

    def added_to(self, total: Array) -> Array:
        (ct,), steps = self.operands, self.params["strides"]
        # the compiler fuses an addition of a padded array with others; a small part is better added in place
        if any(s != 1 for s in steps) or not at_least(self.aval.size - _FEW_PARTS * ct.aval.size, 0):
            return add(total, self.dense())
        return slice_add_p.bind(total, ct, start_indices=self.params["start_indices"])

    def add_in_place(self, buffer: np.ndarray, *values: Any) -> None:
        (ct,), starts, steps = values, self.params["start_indices"], self.params["strides"]
        window = [builtins.slice(b, b + n * s, s) for b, n, s in zip(starts, np.shape(ct), steps, strict=True)]
        buffer[tuple(window)] += ct


def _slice_transpose(ct, x, start_indices, limit_indices, strides):
    steps = (1,) * x.aval.ndim if strides is None else strides
    return [ScatteredSlice(x.aval, ct, start_indices=start_indices, strides=steps)]


def _slice_batch(trace, args, dims, start_indices, limit_indices, strides):
    (x,), (b,) = args, dims
    steps = None if strides is None else _insert(strides, b, 1)
    return slice_p.bind(
        x,
        start_indices=_insert(start_indices, b, 0),
        limit_indices=_insert(limit_indices, b, x.aval.shape[b]),
        strides=steps,
    ), b


def _insert(values: tuple, i: int, value: AnyValue) -> tuple:
    return (*values[:i], value, *values[i:])


slice_p.abstract_eval = _slice_type
slice_p.kernel = _slice_kernel
slice_p.lower = _slice_lower
linear_jvp(slice_p)
slice_p.transpose = _slice_transpose
slice_p.batch = _slice_batch

# --- slice_add: an array added to a part of another, for cotangents of slices ---

slice_add_p = Primitive("slice_add")


def _slice_add_type(x, update, start_indices):
    if x.dtype != update.dtype:
        raise TypeError(f"slice_add: operands must have one dtype, got {x.str_short()} and {update.str_short()}")
    if not len(start_indices) == update.ndim == x.ndim or any(
        not 0 <= b <= b + m <= n for n, b, m in zip(x.shape, start_indices, update.shape, strict=True)
    ):
        raise ValueError(
            f"slice_add: an update of shape {update.shape} at {start_indices} does not fit into shape {x.shape}"
        )
    return x


def _slice_add_kernel(x, update, start_indices):
    out = np.array(x, order="C")
    out[tuple([builtins.slice(b, b + m) for b, m in zip(start_indices, np.shape(update), strict=True)])] += update
    return out


def _slice_add_lower(ctx, x, update, start_indices):
    index = make_aval((), np.dtype(np.int32))
    starts = [ctx.constant(b, index) for b in start_indices]
    part = ctx.dynamic_slice(x, starts, update.aval.shape)
    total = ctx.op("stablehlo.add", [part, update])
    return ctx.op("stablehlo.dynamic_update_slice", [x, total, *starts], ctx.out_avals[0])


def _slice_add_jvp(primals, tangents, start_indices):
    y = slice_add_p.bind(*primals, start_indices=start_indices)
    t, u = tangents
    if type(u) is Zero:
        return y, zero_of(y.aval) if type(t) is Zero else t
    return y, slice_add_p.bind(instantiate(t), u, start_indices=start_indices)


def _slice_add_transpose(ct, x, update, start_indices):
    limits = tuple([b + m for b, m in zip(start_indices, update.aval.shape, strict=True)])
    to_update = slice(ct, start_indices, limits) if is_linear(update) else None
    return [ct if is_linear(x) else None, to_update]


def _slice_add_batch(trace, args, dims, start_indices):
    x, update = (trace.materialize(a, d) for a, d in zip(args, dims, strict=True))
    return slice_add_p.bind(x, update, start_indices=(0, *start_indices)), 0


slice_add_p.abstract_eval = _slice_add_type
slice_add_p.kernel = _slice_add_kernel
slice_add_p.lower = _slice_add_lower
slice_add_p.jvp = _slice_add_jvp
slice_add_p.transpose = _slice_add_transpose
slice_add_p.has(additive=(0, 1))
slice_add_p.batch = _slice_add_batch


def slice_in_dim(
    operand: ArrayLike, start_index: int | None, limit_index: int | None, stride: int = 1, axis: int = 0
) -> Array:
    """`operand[start:limit:stride]` along one axis; None and negative positions as in Python.

    IndexError for an axis out of bounds.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.slice_in_dim(pnp.arange(6), 1, -1)
    Array([1, 2, 3, 4], dtype=int32)
    """
    x = lift(operand)
    axis = axis_of("slice_in_dim", axis, x.aval)
    n = x.aval.shape[axis]
    start = 0 if start_index is None else as_size(start_index)
    limit = n if limit_index is None else as_size(limit_index)
    starts, limits, steps = [0] * x.aval.ndim, list(x.aval.shape), [1] * x.aval.ndim
    starts[axis], limits[axis] = start + n if start < 0 else start, limit + n if limit < 0 else limit
    steps[axis] = stride
    return slice(x, starts, limits, steps)


def index_in_dim(operand: ArrayLike, index: int, axis: int = 0, keepdims: bool = True) -> Array:
    """The element at `index` along one axis, which is kept with length 1 unless `keepdims` is False.

    IndexError for an axis or an index out of bounds.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.index_in_dim(pnp.arange(6), -1, keepdims=False)
    Array(5, dtype=int32)
    """
    x = lift(operand)
    axis = axis_of("index_in_dim", axis, x.aval)
    n, i = x.aval.shape[axis], operator.index(index)
    if not -n <= i < n:
        raise IndexError(f"index_in_dim: index {i} is out of bounds for axis {axis} of length {n}")
    i += n if i < 0 else 0
    out = slice_in_dim(x, i, i + 1, 1, axis)
    return out if keepdims else squeeze(out, (axis,))


def axis_of(name: str, axis: AnyValue, aval: ShapedArray) -> int:
    """An axis as a non-negative int; IndexError if it is out of bounds."""
    i = operator.index(axis)
    if not -aval.ndim <= i < aval.ndim:
        raise IndexError(f"{name}: axis {i} is out of bounds for an array of shape {aval.shape} with {aval.ndim} axes")
    return i % aval.ndim


# --- pad: (low, high, interior) elements of padding before, after and between, along every axis ---

pad_p: Primitive = Primitive("pad")


def pad(operand: ArrayLike, padding_value: ArrayLike, padding_config: Sequence[tuple[int, int, int]]) -> Array:
    """`operand` with copies of a scalar around and between its elements.

    `padding_config` has an entry (low, high, interior) per axis; negative low or high cut elements off (after the
    interior padding), interior must be >= 0. ValueError for another configuration.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.pad(pnp.arange(3), 9, [(1, -1, 1)])
    Array([9, 0, 9, 1, 9], dtype=int32)
    """
    x, value = operands("pad", operand, padding_value)
    config = tuple(_ints("pad", entry) for entry in padding_config)
    if all(n == 0 for entry in config for n in entry) and len(config) == x.aval.ndim:
        _pad_type(x.aval, value.aval, config)
        return distinct(x, operand)
    return pad_p.bind(x, value, padding_config=config)


def _pad_type(x, value, padding_config):
    if x.dtype != value.dtype:
        raise TypeError(
            f"pad: operand and padding_value must have one dtype, got {x.str_short()} and "
            f"{value.str_short()}. Convert one with .astype()."
        )
    if value.ndim:
        raise ValueError(f"pad: padding_value must be a scalar, got shape {value.shape}")
    if len(padding_config) != x.ndim or any(len(entry) != 3 or entry[2] < 0 for entry in padding_config):
        raise ValueError(
            f"pad: padding_config must have an entry (low, high, interior) with interior >= 0 for each of "
            f"the {x.ndim} axes of shape {x.shape}, got {padding_config}"
        )
    shape = tuple(_padded(n, *entry) for n, entry in zip(x.shape, padding_config, strict=True))
    if any(n < 0 for n in shape):
        raise ValueError(f"pad: padding_config {padding_config} takes more from shape {x.shape} than there is")
    return make_aval(shape, x.dtype, x.weak_type and value.weak_type)


def _padded(n: int, low: int, high: int, interior: int) -> int:
    return low + high + n + max(n - 1, 0) * interior


def _pad_kernel(x, value, padding_config):
    shape = tuple(_padded(n, *entry) for n, entry in zip(np.shape(x), padding_config, strict=True))
    out = np.full(shape, value, x.dtype)
    source, target = [], []
    for n, m, (low, _, interior) in zip(np.shape(x), shape, padding_config, strict=True):
        step = interior + 1
        first = -(low // step) if low < 0 else 0  # the first element that is not cut off
        position = low + first * step
        count = min(n - first, -((position - m) // step)) if position < m else 0
        if count <= 0:
            return out
        source.append(builtins.slice(first, first + count))
        target.append(builtins.slice(position, position + (count - 1) * step + 1, step))
    out[tuple(target)] = x[tuple(source)]
    return out


def _pad_lower(ctx, x, value, padding_config):
    x, paddings = without_cut_elements(ctx, x, [(low, high, interior + 1) for low, high, interior in padding_config])
    low, high, steps = zip(*paddings, strict=True) if paddings else ((), (), ())
    return ctx.pad(x, value, low, high, [step - 1 for step in steps], ctx.out_avals[0])


def _pad_jvp(primals, tangents, padding_config):
    y = pad_p.bind(*primals, padding_config=padding_config)
    if all(type(t) is Zero for t in tangents):
        return y, zero_of(y.aval)
    return y, pad_p.bind(*map(instantiate, tangents), padding_config=padding_config)


def _pad_transpose(ct, x, value, padding_config):
    shape = x.aval.shape if hasattr(x, "aval") else np.shape(x)
    cut = pad(ct, scalar(ct, 0), [(-low, -high, 0) for low, high, _ in padding_config])
    steps = [interior + 1 for _, _, interior in padding_config]
    back = slice(cut, (0,) * len(shape), cut.aval.shape, steps) if any(s > 1 for s in steps) else cut
    to_value = None
    if is_linear(value):
        axes = tuple(range(len(shape)))
        to_value = sub(reduce_sum(ct, axes), reduce_sum(back, axes))
    return [back if is_linear(x) else None, to_value]


def _pad_batch(trace, args, dims, padding_config):
    (x, value), (b, v) = args, dims
    if v is None:
        return pad_p.bind(x, value, padding_config=_insert(padding_config, b, (0, 0, 0))), b
    # a padding value per example: pad with zeros, then write the values at the padded positions
    x = move_axis(x, b, 0) if b is not None else x
    lead = ((0, 0, 0),) if b is not None else ()
    config = (*lead, *padding_config)
    zeros = pad_p.bind(x, scalar(x, 0), padding_config=config)
    inside = pad_p.bind(full(x.aval.shape, True, np.dtype(bool)), lift(np.bool_(False)), padding_config=config)
    rank = len(padding_config)
    if b is None:
        zeros, inside = (reshape(a, (1, *a.aval.shape)) for a in (zeros, inside))
    return select(inside, zeros, reshape(value, (value.aval.shape[0], *(1,) * rank))), 0


pad_p.abstract_eval = _pad_type
pad_p.kernel = _pad_kernel
pad_p.lower = _pad_lower
pad_p.jvp = _pad_jvp
pad_p.transpose = _pad_transpose
pad_p.has(additive=(0, 1))
pad_p.batch = _pad_batch

# --- rev ---

rev_p: Primitive = Primitive("rev")


def rev(operand: ArrayLike, dimensions: Sequence[int]) -> Array:
    """`operand` with the elements along the given axes in reverse order.

    ValueError for axes out of bounds or named twice.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.rev(pnp.arange(3), (0,))
    Array([2, 1, 0], dtype=int32)
    """
    x = lift(operand)
    dimensions = _ints("rev", dimensions)
    return rev_p.bind(x, dimensions=dimensions) if dimensions else distinct(x, operand)


def _rev_type(x, dimensions):
    if len(set(dimensions)) != len(dimensions) or not all(0 <= d < x.ndim for d in dimensions):
        raise ValueError(
            f"rev: dimensions must be distinct and lie in [0, {x.ndim}) for shape {x.shape}, got {dimensions}"
        )
    return x


rev_p.abstract_eval = _rev_type
rev_p.kernel = lambda x, dimensions: np.flip(x, dimensions)
rev_p.lower = lambda ctx, x, dimensions: ctx.op(
    "stablehlo.reverse", [x], ctx.out_avals[0], f"dimensions = {int_array(dimensions)}"
)
linear_jvp(rev_p)
slice_p.has(rearranging=True)
rev_p.has(rearranging=True)
rev_p.transpose = lambda ct, x, dimensions: [rev(ct, dimensions)]
rev_p.batch = lambda trace, args, dims, dimensions: (
    rev(args[0], tuple(d + (d >= dims[0]) for d in dimensions)),
    dims[0],
)
