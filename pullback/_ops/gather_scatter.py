"""Gather and scatter: windows read from, and written to, positions given by an array of indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.types import ShapedArray, at_least, make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops.accumulate import accumulator
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.compare import eq, select
from pullback._ops.elementwise import add
from pullback._ops.families import ANY, NUMBER
from pullback._ops.gather_numpy import (
    CLIP,
    FILL,
    GatherDimensionNumbers,
    GatherScatterMode,
    ScatterDimensionNumbers,
    fill_for,
    gather_kernel,
    scatter_into,
    scatter_kernel,
    window_sizes,
)
from pullback._ops.scattered import Scattered
from pullback._ops.shape import (
    broadcast_in_dim,
    full,
    instantiate,
    move_axis,
    reshape,
    zeros_like_aval,
)
from pullback._xla.attributes import int_array

if TYPE_CHECKING:
    from pullback._xla.lowering import Block, Value

# --- shared by gather and scatter ---


def _check_axes(name: str, what: str, axes: Sequence[int], ndim: int) -> None:
    if len(set(axes)) != len(axes) or not all(0 <= d < ndim for d in axes):
        raise ValueError(f"{name}: {what} must be distinct and lie in [0, {ndim}), got {tuple(axes)}")


def _check_numbers(name: str, numbers: GatherDimensionNumbers, x, indices, sizes) -> None:
    if not dtypes.is_integer(indices.dtype):
        raise TypeError(f"{name}: indices must be integers, got {indices.str_short()}")
    if indices.ndim == 0 or indices.shape[-1] != len(numbers.start_index_map):
        raise ValueError(
            f"{name}: the last axis of the indices must hold the {len(numbers.start_index_map)} positions "
            f"along the operand's axes {numbers.start_index_map}, got shape {indices.shape}"
        )
    dropped = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    _check_axes(name, "collapsed and batching axes", dropped, x.ndim)
    _check_axes(name, "indexed and batching axes", (*numbers.start_index_map, *numbers.operand_batching_dims), x.ndim)
    _check_axes(name, "batching axes of the indices", numbers.start_indices_batching_dims, indices.ndim - 1)
    if len(numbers.operand_batching_dims) != len(numbers.start_indices_batching_dims) or any(
        x.shape[a] != indices.shape[b]
        for a, b in zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=False)
    ):
        raise ValueError(
            f"{name}: batching axes of operand and indices must pair up with equal lengths, got "
            f"{numbers.operand_batching_dims} of {x.shape} and {numbers.start_indices_batching_dims} of "
            f"{indices.shape}"
        )
    if len(sizes) != x.ndim or any(not 0 <= s <= n for s, n in zip(sizes, x.shape, strict=True)):
        raise ValueError(f"{name}: windows of sizes {tuple(sizes)} do not fit into an operand of shape {x.shape}")
    if any(sizes[d] > 1 for d in dropped):
        raise ValueError(f"{name}: windows must have length 1 along the axes {dropped}, got sizes {tuple(sizes)}")
    _check_axes(name, "window axes of the result", numbers.offset_dims, indices.ndim - 1 + len(numbers.offset_dims))
    if len(numbers.offset_dims) != x.ndim - len(dropped):
        raise ValueError(
            f"{name}: expected a window axis in the result for each of the {x.ndim - len(dropped)} axes "
            f"of the operand that are not collapsed, got {numbers.offset_dims}"
        )


def _last_starts(x, indices, numbers, sizes):
    """The last start for which a window is inside, per component of the index vector, within the indices' dtype."""
    top = int(dtypes.iinfo(indices.dtype).max)
    last = [x.shape[d] - sizes[d] for d in numbers.start_index_map]
    return [top if at_least(n, top) else n for n in last]


def _bounds(ctx, x, indices, numbers, sizes):
    """Constants of the indices' type: the first and the last start of a window that is inside."""
    last = _last_starts(x.aval, indices.aval, numbers, sizes)
    upper = ctx.broadcast(ctx.vector(last, indices.aval.dtype), indices.aval.shape)
    return ctx.full_like(indices, 0), upper


def _clamped(ctx, x, indices, numbers, sizes):
    low, high = _bounds(ctx, x, indices, numbers, sizes)
    return ctx.op("stablehlo.clamp", [low, indices, high], indices.aval)


def signed(ctx: Block, indices: Value) -> Value:
    """Indices in a dtype that XLA reads correctly: it reads unsigned ones as signed, and narrow ones by their range."""
    dtype = indices.aval.dtype
    wide = np.dtype(np.int64 if dtype.itemsize == 8 else np.int32)
    if dtypes.is_unsigned(dtype) and dtype.itemsize >= 4:
        indices = ctx.op("stablehlo.minimum", [indices, ctx.full_like(indices, dtypes.iinfo(wide).max)])
    return ctx.convert(indices, wide)


def _bracket(values: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, values)) + "]"


def _shift(axes: Sequence[int], lead: tuple[int, ...] = ()) -> tuple[int, ...]:
    return (*lead, *(d + 1 for d in axes))


# --- gather ---

gather_p: Primitive = Primitive("gather")


def gather(
    operand: ArrayLike,
    start_indices: ArrayLike,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Sequence[int],
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: str | GatherScatterMode | None = None,
    fill_value: ArrayLike | None = None,
) -> Array:
    """Windows of `operand`, of shape `slice_sizes`, that start at the vectors along the last axis of `start_indices`.

    See `GatherDimensionNumbers` for the axes and `GatherScatterMode` for windows that extend outside; `fill_value` is
    by default nan, the lowest integer, the highest unsigned integer, or True. ValueError for dimension numbers that do
    not fit the shapes.

    >>> from pullback import lax, numpy as pnp
    >>> rows = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
    >>> lax.gather(pnp.arange(6).reshape(3, 2), pnp.array([[2], [0]]), rows, (1, 2))
    Array([[4, 5],
           [0, 1]], dtype=int32)
    """
    numbers = GatherDimensionNumbers(*map(tuple, dimension_numbers))
    return gather_p.bind(
        lift(operand),
        lift(start_indices),
        dimension_numbers=numbers,
        slice_sizes=tuple(slice_sizes),
        indices_are_sorted=bool(indices_are_sorted),
        unique_indices=bool(unique_indices),
        mode=GatherScatterMode.from_any(mode),
        fill_value=fill_value,
    )


def _gather_type(x, indices, dimension_numbers, slice_sizes, **_):
    numbers = dimension_numbers
    _check_numbers("gather", numbers, x, indices, slice_sizes)
    dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    window = iter([n for d, n in enumerate(slice_sizes) if d not in dropped])
    batch = iter(indices.shape[:-1])
    rank = indices.ndim - 1 + len(numbers.offset_dims)
    shape = tuple(next(window) if i in numbers.offset_dims else next(batch) for i in range(rank))
    return make_aval(shape, x.dtype, x.weak_type)


def _gather_lower(
    ctx, x, indices, dimension_numbers, slice_sizes, mode, fill_value, indices_are_sorted, unique_indices
):
    n = dimension_numbers
    out = ctx.out_avals[0]
    indices = signed(ctx, indices)
    attrs = (
        f"dimension_numbers = #stablehlo.gather<offset_dims = {_bracket(n.offset_dims)}, "
        f"collapsed_slice_dims = {_bracket(n.collapsed_slice_dims)}, "
        f"operand_batching_dims = {_bracket(n.operand_batching_dims)}, "
        f"start_indices_batching_dims = {_bracket(n.start_indices_batching_dims)}, "
        f"start_index_map = {_bracket(n.start_index_map)}, index_vector_dim = {indices.aval.ndim - 1}>, "
        f"indices_are_sorted = {str(indices_are_sorted).lower()}"
    )
    # the operation itself clamps, as mode clip requires
    result = ctx.gather(x, indices, slice_sizes, out, attrs)
    if mode is not FILL or not n.start_index_map:
        return result
    low, high = _bounds(ctx, x, indices, n, slice_sizes)
    inside = ctx.op("stablehlo.and", [ctx.compare("GE", indices, low), ctx.compare("LE", indices, high)])
    batch = make_aval(indices.aval.shape[:-1], np.dtype(bool))
    cell = make_aval((), np.dtype(bool))
    valid = ctx.op(
        "stablehlo.reduce",
        [inside, ctx.constant(True, cell)],
        batch,
        f"dimensions = {int_array((indices.aval.ndim - 1,))}",
        [ctx.region([cell, cell], lambda block, ab: [block.op("stablehlo.and", ab)])],
    )
    places = [i for i in range(out.ndim) if i not in n.offset_dims]
    if batch.shape != out.shape or places != list(range(batch.ndim)):
        valid = ctx.broadcast(valid, out.shape, places)
    return ctx.op("stablehlo.select", [valid, result, ctx.constant(fill_for(out.dtype, fill_value), out)], out)


def _gather_jvp(primals, tangents, **params):
    x, indices = primals
    y = gather_p.bind(x, indices, **params)
    t = tangents[0]
    if type(t) is Zero:
        return y, zero_of(y.aval)
    return y, gather_p.bind(t, indices, **{**params, "fill_value": 0})


class ScatteredWindows(Scattered):
    """The cotangent of the operand of a gather: the operands are the indices and the cotangent of the result."""

    __slots__ = ()

    def added_to(self, total: Array) -> Array:
        return scatter_add_p.bind(total, *self.operands, **self.params)

    def add_in_place(self, buffer: np.ndarray, *values: Any) -> None:
        indices, ct = values
        scatter_into(buffer, indices, ct, np.add, **self.params)


def _gather_transpose(ct, x, indices, dimension_numbers, slice_sizes, fill_value, **params):
    return [
        ScatteredWindows(x.aval, indices, ct, dimension_numbers=ScatterDimensionNumbers(*dimension_numbers), **params),
        None,
    ]


def _gather_batch(trace, args, dims, dimension_numbers, slice_sizes, **params):
    (x, indices), (b, i) = args, dims
    n = dimension_numbers
    if i is None:
        x = move_axis(x, b, 0)
        numbers = GatherDimensionNumbers(
            _shift(n.offset_dims, (0,)),
            _shift(n.collapsed_slice_dims),
            _shift(n.start_index_map),
            _shift(n.operand_batching_dims),
            n.start_indices_batching_dims,
        )
        slice_sizes = (x.aval.shape[0], *slice_sizes)
    elif b is None:
        indices = move_axis(indices, i, 0)
        numbers = n._replace(
            offset_dims=_shift(n.offset_dims), start_indices_batching_dims=_shift(n.start_indices_batching_dims)
        )
    else:
        x, indices = move_axis(x, b, 0), move_axis(indices, i, 0)
        numbers = GatherDimensionNumbers(
            _shift(n.offset_dims),
            _shift(n.collapsed_slice_dims),
            _shift(n.start_index_map),
            _shift(n.operand_batching_dims, (0,)),
            _shift(n.start_indices_batching_dims, (0,)),
        )
        slice_sizes = (min(1, x.aval.shape[0]), *slice_sizes)
    # the examples of a batch read disjoint positions, but in no common order
    params = {**params, "indices_are_sorted": False} if i is not None else params
    params = {**params, "unique_indices": False} if b is None else params
    return gather_p.bind(x, indices, dimension_numbers=numbers, slice_sizes=slice_sizes, **params), 0


gather_p.abstract_eval = _gather_type
gather_p.kernel = gather_kernel
gather_p.lower = _gather_lower
gather_p.jvp = _gather_jvp
gather_p.transpose = _gather_transpose
gather_p.batch = _gather_batch

# --- scatter: one family, by how an update is combined with the existing value ---


def _scatter_type(name: str, accepts: tuple):
    """The typing rule: the result has the operand's type."""
    predicate, description = accepts

    def abstract_eval(x, indices, updates, dimension_numbers, **_):
        if not predicate(x.dtype):
            raise TypeError(f"{name}: expected {description}, got {x.str_short()}")
        _check_scatter(x, indices, updates, dimension_numbers)
        return x

    return abstract_eval


def _check_scatter(x, indices, updates, n) -> None:
    if x.dtype != updates.dtype:
        raise TypeError(
            f"scatter: operand and updates must have one dtype, got {x.str_short()} and "
            f"{updates.str_short()}. Convert one with .astype()."
        )
    _check_axes("scatter", "update_window_dims", n.update_window_dims, updates.ndim)
    _check_axes("scatter", "inserted and batching axes", (*n.inserted_window_dims, *n.operand_batching_dims), x.ndim)
    expected = x.ndim - len(n.inserted_window_dims) - len(n.operand_batching_dims)
    if len(n.update_window_dims) != expected:
        raise ValueError(
            f"scatter: expected a window axis in the updates for each of the {expected} axes of the "
            "operand that are neither inserted nor batching, got update_window_dims "
            f"{n.update_window_dims}"
        )
    sizes = window_sizes(n, x.ndim, updates.shape)
    # windows along inserted axes of length 0 cannot be written
    numbers = GatherDimensionNumbers(*n)
    _check_numbers(
        "scatter",
        numbers,
        x,
        indices,
        tuple(
            min(s, m) if d in n.inserted_window_dims or d in n.operand_batching_dims else s
            for d, (s, m) in enumerate(zip(sizes, x.shape, strict=True))
        ),
    )
    batch = tuple(m for i, m in enumerate(updates.shape) if i not in n.update_window_dims)
    if batch != indices.shape[:-1]:
        raise ValueError(
            f"scatter: the updates of shape {updates.shape} must have the indices' axes "
            f"{indices.shape[:-1]} beside the window axes {n.update_window_dims}, got {batch}"
        )


def _scatter_lower(op):
    accumulates = op in ("stablehlo.add", "stablehlo.multiply")

    def lower(ctx, x, indices, updates, dimension_numbers, mode, indices_are_sorted, unique_indices):
        n = dimension_numbers
        out = ctx.out_avals[0]
        indices = signed(ctx, indices)
        if mode is CLIP and n.scatter_dims_to_operand_dims:
            sizes = window_sizes(n, x.aval.ndim, updates.aval.shape)
            indices = _clamped(ctx, x, indices, GatherDimensionNumbers(*n), sizes)
        attrs = (
            f"scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = "
            f"{_bracket(n.update_window_dims)}, inserted_window_dims = {_bracket(n.inserted_window_dims)}, "
            f"input_batching_dims = {_bracket(n.operand_batching_dims)}, "
            f"scatter_indices_batching_dims = {_bracket(n.scatter_indices_batching_dims)}, "
            f"scatter_dims_to_operand_dims = {_bracket(n.scatter_dims_to_operand_dims)}, "
            f"index_vector_dim = {indices.aval.ndim - 1}>, "
            f"indices_are_sorted = {str(indices_are_sorted).lower()}, "
            f"unique_indices = {str(unique_indices).lower()}"
        )
        if accumulates and not unique_indices:
            x, updates = (ctx.convert(v, accumulator(out.dtype)) for v in (x, updates))
        cell = make_aval((), x.aval.dtype)
        body = ctx.region([cell, cell], lambda block, ab: [ab[1] if op is None else block.op(op, ab)])
        y = ctx.op("stablehlo.scatter", [x, indices, updates], make_aval(out.shape, x.aval.dtype), attrs, [body])
        return ctx.convert(y, out.dtype)

    return lower


def _scatter_batch(p: Primitive):
    def batch(trace, args, dims, dimension_numbers, **params):
        (x, indices, updates), (b, i, u) = args, dims
        size = next(a.aval.shape[d] for a, d in zip(args, dims, strict=True) if d is not None)
        x, updates = _leading(x, b, size), _leading(updates, u, size)
        n = dimension_numbers
        if i is None:
            numbers = ScatterDimensionNumbers(
                _shift(n.update_window_dims, (0,)),
                _shift(n.inserted_window_dims),
                _shift(n.scatter_dims_to_operand_dims),
                _shift(n.operand_batching_dims),
                n.scatter_indices_batching_dims,
            )
        else:
            indices = move_axis(indices, i, 0)
            numbers = ScatterDimensionNumbers(
                _shift(n.update_window_dims),
                _shift(n.inserted_window_dims),
                _shift(n.scatter_dims_to_operand_dims),
                _shift(n.operand_batching_dims, (0,)),
                _shift(n.scatter_indices_batching_dims, (0,)),
            )
            params = {**params, "indices_are_sorted": False}
        return p.bind(x, indices, updates, dimension_numbers=numbers, **params), 0

    return batch


def _leading(x: Array, dim: int | None, size: int) -> Array:
    if dim is not None:
        return move_axis(x, dim, 0)
    shape = (size, *x.aval.shape)
    return broadcast_in_dim(x, shape, tuple(range(1, len(shape))))


def scatter_primitive(name: str, ufunc, op, accepts=ANY) -> Primitive:
    p = Primitive(name)
    p.abstract_eval = _scatter_type(name, accepts)
    p.kernel = scatter_kernel(ufunc)
    p.lower = _scatter_lower(op)
    p.batch = _scatter_batch(p)
    return p


scatter_p: Primitive = scatter_primitive("scatter", None, None)
scatter_add_p: Primitive = scatter_primitive("scatter_add", np.add, "stablehlo.add", NUMBER)


# --- derivatives ---


def read_back(x: Array, indices: Array, updates_aval: ShapedArray, params: dict) -> Array:
    """The windows that a scatter with these parameters writes to; 0 for those that it drops."""
    numbers = params["dimension_numbers"]
    # with broken promises scatter drops the update, but gather would clamp
    mode = CLIP if params["mode"] is CLIP else FILL
    return gather_p.bind(
        x,
        indices,
        dimension_numbers=GatherDimensionNumbers(*numbers),
        slice_sizes=window_sizes(numbers, x.aval.ndim, updates_aval.shape),
        mode=mode,
        fill_value=0,
        indices_are_sorted=params["indices_are_sorted"],
        unique_indices=params["unique_indices"],
    )


def _linear_in_both(p: Primitive):
    def jvp(primals, tangents, **params):
        x, indices, updates = primals
        y = p.bind(x, indices, updates, **params)
        t, _, u = tangents
        if type(t) is Zero and type(u) is Zero:
            return y, zero_of(y.aval)
        return y, p.bind(instantiate(t), indices, instantiate(u), **params)

    p.has(additive=(0, 2))
    return jvp


def _scatter_add_transpose(ct, x, indices, updates, **params):
    return [
        ct if is_linear(x) else None,
        None,
        read_back(ct, indices, updates.aval, params) if is_linear(updates) else None,
    ]


def _scatter_transpose(ct, x, indices, updates, **params):
    to_x = to_updates = None
    aval = updates.aval
    if is_linear(x):
        to_x = scatter_p.bind(ct, indices, zeros_like_aval(aval), **params)
    if is_linear(updates):
        to_updates = read_back(ct, indices, aval, params)
        if not params["unique_indices"]:
            # of several updates to one position only the last counts: number them and see whose number remains
            count = np.dtype(np.int32)
            numbered = add(reshape(broadcasted_iota(count, (aval.size,), 0), aval.shape), np.int32(1))
            stayed = scatter_p.bind(full(x.aval.shape, 0, count), indices, numbered, **params)
            won = eq(read_back(stayed, indices, aval, params), numbered)
            to_updates = select(won, to_updates, zeros_like_aval(to_updates.aval))
    return [to_x, None, to_updates]


scatter_p.jvp = _linear_in_both(scatter_p)
scatter_p.transpose = _scatter_transpose
scatter_add_p.jvp = _linear_in_both(scatter_add_p)
scatter_add_p.transpose = _scatter_add_transpose
