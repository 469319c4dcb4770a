"""Sorting along an axis, and binary search.

The order is that of `<`, with nan last (after infinity), -0.0 equal to 0.0, and complex numbers by real, then
imaginary part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.config import config
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.by_size import on_host, runs_on_host
from pullback._ops.gather_numpy import GatherDimensionNumbers
from pullback._ops.gather_scatter import gather
from pullback._ops.order_keys import ordered_integers
from pullback._ops.rules import zero_jvp
from pullback._ops.shape import broadcast_in_dim, full, move_axis, reshape
from pullback._ops.slicing import axis_of
from pullback._ops.sort_numpy import comparable, order_by, sorted_together, sorted_values
from pullback._ops.trig import real_dtype
from pullback._xla.attributes import int_array

_INDEX = np.dtype(np.int32)


def along_axis(x: Array, indices: Array, axis: int) -> Array:
    """Elements of `x` at indices along an axis; all other axes are paired. Indices must be
    valid."""
    if indices.aval.size == 0:
        return full(indices.aval.shape, 0, x.aval.dtype, x.aval.weak_type)  # no window fits into an empty axis
    others = tuple(i for i in range(x.aval.ndim) if i != axis)
    numbers = GatherDimensionNumbers((), (axis,), (axis,), others, others)
    return gather(x, reshape(indices, (*indices.aval.shape, 1)), numbers, (1,) * x.aval.ndim, mode="promise_in_bounds")


# --- sort ---

sort_p: Primitive = Primitive("sort", multiple_results=True)


def sort(
    operand: ArrayLike | Sequence[ArrayLike], dimension: int = -1, is_stable: bool = True, num_keys: int = 1
) -> Any:
    """The operand sorted along an axis; several operands are all reordered by the first `num_keys` of them.

    Later keys decide between equal earlier ones; `is_stable` keeps equal elements in order.
    IndexError for an axis out of bounds, ValueError for shapes that differ.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> keys, values = lax.sort((pnp.array([3, 1, 2]), pnp.array([10, 20, 30])))
    >>> values
    Array([20, 30, 10], dtype=int32)
    """
    many = isinstance(operand, Sequence)
    xs = [lift(x) for x in operand] if isinstance(operand, Sequence) else [lift(operand)]
    if not 1 <= num_keys <= len(xs):
        raise ValueError(f"sort: num_keys must lie between 1 and the number of operands, {len(xs)}, got {num_keys}")
    outs = sort_p.bind(
        *xs, dimension=axis_of("sort", dimension, xs[0].aval), is_stable=bool(is_stable), num_keys=int(num_keys)
    )
    return tuple(outs) if many else outs[0]


def sort_key_val(
    keys: ArrayLike, values: ArrayLike, dimension: int = -1, is_stable: bool = True
) -> tuple[Array, Array]:
    """The keys sorted along an axis, and the values, of the same shape (else ValueError), reordered with them.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.sort_key_val(pnp.array([3, 1, 2]), pnp.array([10, 20, 30]))[1]
    Array([20, 30, 10], dtype=int32)
    """
    return sort((keys, values), dimension, is_stable)


def argsort_of(x: Array, axis: int, is_stable: bool = True) -> Array:
    """The indices along an axis that sort the array, as int32."""
    positions = broadcasted_iota(_INDEX, x.aval.shape, axis)
    return sort_p.bind(x, positions, dimension=axis, is_stable=is_stable, num_keys=1)[1]


def _sort_type(*xs, dimension, is_stable, num_keys):
    for x in xs:
        if x.shape != xs[0].shape:
            raise ValueError(f"sort: operands must have one shape, got {', '.join(str(x.shape) for x in xs)}")
    return list(xs)


def _sort_kernel(*xs, dimension, is_stable, num_keys):
    if len(xs) == 1:
        return [sorted_values(comparable(xs[0]), dimension)]
    return sorted_together(list(xs), dimension, num_keys)


def sort_on_host(operands, results):
    """Sort along the last axis: a routine that programs call."""
    sorted_values(operands[0], -1, results[0])


def sort_in_place(operands, results):
    """Sort integers along the last axis: the result is the operand's memory."""
    results[0].sort(axis=-1)


def order_on_host(operands, results):
    """The positions along the last axis in the order of the operands, of which later ones decide between equal ones."""
    np.copyto(results[0], order_by(operands, -1))


def _before(block, a, b):
    """Two values of type i1: whether a comes before b, and whether they are equal in order."""
    if dtypes.is_complex(a.aval.dtype):
        part = make_aval(a.aval.shape, real_dtype(a.aval.dtype))
        pairs = [[block.op(f"stablehlo.{name}", [x], part) for x in (a, b)] for name in ("real", "imag")]
        (less, equal), (less_too, equal_too) = (_before(block, *pair) for pair in pairs)
        return (
            block.op("stablehlo.or", [less, block.op("stablehlo.and", [equal, less_too])]),
            block.op("stablehlo.and", [equal, equal_too]),
        )
    less, equal = block.compare("LT", a, b), block.compare("EQ", a, b)
    if dtypes.is_float(a.aval.dtype):
        a_nan, b_nan = block.compare("NE", a, a), block.compare("NE", b, b)
        only_b = block.op("stablehlo.and", [b_nan, block.op("stablehlo.not", [a_nan])])
        less = block.op("stablehlo.or", [less, only_b])
        equal = block.op("stablehlo.or", [equal, block.op("stablehlo.and", [a_nan, b_nan])])
    return less, equal


def _sort_lower(ctx, *xs, dimension, is_stable, num_keys):
    scalars = [make_aval((), x.aval.dtype) for x in xs for _ in range(2)]

    def comparator(block, args):
        less, equal = _before(block, args[0], args[1])
        for i in range(1, num_keys):
            less_too, equal_too = _before(block, args[2 * i], args[2 * i + 1])
            less = block.op("stablehlo.or", [less, block.op("stablehlo.and", [equal, less_too])])
            equal = block.op("stablehlo.and", [equal, equal_too])
        return [less]

    if xs[0].aval.ndim == 0:
        return list(xs)
    if runs_on_host(ctx, xs[:num_keys], ctx.out_avals[:num_keys]):
        rows = [_axis_last(ctx, x, dimension) for x in xs]
        outs = _rows_on_host(ctx, rows, num_keys)
        return [_axis_last(ctx, y, dimension, back=True) for y in outs]
    attrs = f"dimension = {dimension} : i64, is_stable = {str(is_stable).lower()}"
    return ctx.op("stablehlo.sort", xs, [x.aval for x in xs], attrs, [ctx.region(scalars, comparator)])


def _rows_on_host(ctx, rows, num_keys):
    """Sort rows by a routine on the host. XLA gathers several in its order, in 0.8 ms per million, where NumPy needs 5,
    and leaves out those that nothing reads."""
    aval = rows[0].aval
    if len(rows) == 1:
        return on_host(ctx, f"{__name__}:sort_on_host", rows, [aval])
    if num_keys == 1 and aval.dtype.itemsize <= 4:
        order = _order_of_pairs(ctx, rows[0])
    else:
        order = on_host(ctx, f"{__name__}:order_on_host", rows[:num_keys], [make_aval(aval.shape, _INDEX)])[0]
    return [gathered(ctx, x, order) for x in rows]


def gathered(ctx, x, positions):
    """The elements at positions along the last axis."""
    shape, last = positions.aval.shape, x.aval.ndim - 1
    others = list(range(last))
    attributes = (
        f"dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [{last}], operand_batching_dims = {others}, "
        f"start_indices_batching_dims = {others}, start_index_map = [{last}], index_vector_dim = {last + 1}>"
    )
    out = make_aval(shape, x.aval.dtype)
    return ctx.gather(x, ctx.reshape(positions, (*shape, 1)), [1] * (last + 1), out, attributes)


def _order_of_pairs(ctx, x):
    """The order of rows of up to 32 bits: numbers of 64 bits, of an element's key and its position, are sorted."""
    pairs = with_positions(ctx, ordered_integers(ctx, x, nan_last=True))
    (ordered,) = on_host(ctx, f"{__name__}:sort_in_place", [pairs], [pairs.aval], in_place=True)
    return ctx.convert(ordered, _INDEX)


def with_positions(ctx, keys, positions=None):
    """Numbers of 64 bits: a key of 32 bits, then its position, by default that along the last axis."""
    aval = make_aval(keys.aval.shape, np.dtype(np.int64))
    high = ctx.op("stablehlo.shift_left", [ctx.convert(keys, aval.dtype), ctx.constant(32, aval)])
    if positions is None:
        low = ctx.op("stablehlo.iota", [], aval, f"iota_dimension = {aval.ndim - 1} : i64")
    else:
        low = ctx.convert(positions, aval.dtype)
    return ctx.op("stablehlo.or", [high, low])


def _axis_last(ctx, x, axis, back=False):
    """A value with the axis behind all others, or moved from there to its place."""
    last = x.aval.ndim - 1
    if axis == last:
        return x
    others = [i for i in range(last + 1) if i != axis]
    order = [*range(axis), last, *range(axis, last)] if back else [*others, axis]
    aval = make_aval(tuple(x.aval.shape[i] for i in order), x.aval.dtype)
    return ctx.op("stablehlo.transpose", [x], aval, f"permutation = {int_array(order)}")


def _sort_jvp(primals, tangents, dimension, is_stable, num_keys):
    if all(type(t) is Zero for t in tangents):
        outs = sort_p.bind(*primals, dimension=dimension, is_stable=is_stable, num_keys=num_keys)
        return outs, [zero_of(y.aval) for y in outs]
    positions = broadcasted_iota(_INDEX, primals[0].aval.shape, dimension)
    *outs, order = sort_p.bind(*primals, positions, dimension=dimension, is_stable=is_stable, num_keys=num_keys)
    return outs, [
        zero_of(y.aval) if type(t) is Zero else along_axis(t, order, dimension)
        for t, y in zip(tangents, outs, strict=True)
    ]


def _sort_batch(trace, args, dims, dimension, is_stable, num_keys):
    size = next(x.aval.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
    moved = []
    for x, d in zip(args, dims, strict=True):
        shape = x.aval.shape
        moved.append(broadcast_in_dim(x, (size, *shape), range(1, len(shape) + 1)) if d is None else move_axis(x, d, 0))
    outs = sort_p.bind(*moved, dimension=dimension + 1, is_stable=is_stable, num_keys=num_keys)
    return outs, [0] * len(outs)


sort_p.abstract_eval = _sort_type
sort_p.kernel = _sort_kernel
sort_p.lower = _sort_lower
sort_p.jvp = _sort_jvp
sort_p.batch = _sort_batch
sort_p.has(rearranging=True)

# --- searchsorted ---

searchsorted_p = Primitive("searchsorted")


def searchsorted(sorted_array: ArrayLike, values: ArrayLike, side: str = "left") -> Array:
    """The indices at which `values`, of any shape, can be inserted into a sorted vector to keep it sorted: before equal
    elements, or
    after ("right")."""
    a, v = lift(sorted_array), lift(values)
    return searchsorted_p.bind(a, v, side=side, batch_dims=0)


def _searchsorted_type(a, v, side, batch_dims):
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    if a.ndim != batch_dims + 1:
        raise ValueError(f"searchsorted: the array to search must be a vector, got shape {a.shape}")
    if a.dtype != v.dtype:
        raise TypeError(f"searchsorted: expected two arrays of one dtype, got {a.str_short()} and {v.str_short()}")
    return make_aval(v.shape, _position_dtype(a.shape[-1]))


def _position_dtype(n: int) -> np.dtype:
    """The dtype that can hold the indices into a vector of `n` elements, including `n`."""
    if n <= np.iinfo(_INDEX).max:
        return _INDEX
    if not config.enable_x64:
        raise ValueError(
            f"searchsorted: places in an array of {n} elements do not fit int32: "
            "config.update('enable_x64', True) makes them int64"
        )
    return np.dtype(np.int64)


def _searchsorted_kernel(a, v, side, batch_dims):
    a, v = comparable(a), comparable(v)
    dtype = _position_dtype(a.shape[-1])
    if not batch_dims:
        return np.asarray(np.searchsorted(a, v, side)).astype(dtype)
    out = np.empty(v.shape, dtype)
    for i in np.ndindex(*v.shape[:batch_dims]):
        out[i] = np.searchsorted(a[i], v[i], side)
    return out


def _searchsorted_lower(ctx, a, v, side, batch_dims):
    """Binary search of all values at once: each step tests whether 2**j more elements are less than the
    value."""
    n = a.aval.shape[-1]
    found = make_aval(v.aval.shape, _position_dtype(n))
    position = ctx.constant(0, found)
    if n == 0:
        return position
    batch = ", ".join(map(str, range(batch_dims)))
    attrs = (
        f"dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [{batch_dims}], "
        f"operand_batching_dims = [{batch}], start_indices_batching_dims = [{batch}], "
        f"start_index_map = [{batch_dims}], index_vector_dim = {found.ndim}>, "
        f"slice_sizes = {int_array((1,) * (batch_dims + 1))}, indices_are_sorted = false"
    )
    for j in reversed(range(n.bit_length())):
        further = ctx.op("stablehlo.add", [position, ctx.constant(2**j, found)])
        last = ctx.op("stablehlo.subtract", [further, ctx.constant(1, found)])
        element = ctx.op("stablehlo.gather", [a, ctx.reshape(last, (*found.shape, 1))], v.aval, attrs)
        if side == "left":
            stands_before, _ = _before(ctx, element, v)
        else:
            value_before, _ = _before(ctx, v, element)
            stands_before = ctx.op("stablehlo.not", [value_before])
        inside = ctx.compare("LE", further, ctx.constant(n, found))
        go = ctx.op("stablehlo.and", [inside, stands_before])
        position = ctx.op("stablehlo.select", [go, further, position], found)
    return position


def _searchsorted_batch(trace, args, dims, side, batch_dims):
    (a, v), (da, dv) = args, dims
    if da is None and batch_dims == 0:
        return searchsorted_p.bind(a, v, side=side, batch_dims=0), dv
    size = a.aval.shape[da] if da is not None else v.aval.shape[dv]
    a, v = (
        broadcast_in_dim(x, (size, *x.aval.shape), range(1, x.aval.ndim + 1)) if d is None else move_axis(x, d, 0)
        for x, d in ((a, da), (v, dv))
    )
    return searchsorted_p.bind(a, v, side=side, batch_dims=batch_dims + 1), 0


searchsorted_p.abstract_eval = _searchsorted_type
searchsorted_p.kernel = _searchsorted_kernel
searchsorted_p.lower = _searchsorted_lower
searchsorted_p.batch = _searchsorted_batch
zero_jvp(searchsorted_p)
