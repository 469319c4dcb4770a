"""Gather and scatter in NumPy: the dimension numbers, the addressed elements, and the kernels.

An index vector (along the last axis of `indices`) is the start of a window of the operand; `slice_sizes` is its shape.
Index arrays have batch axes, windows have window axes; the result (of gather) or the updates (of scatter) have
both, the window's at `offset_dims`.
"""

from __future__ import annotations

import enum
import math
from typing import Any, NamedTuple

import numpy as np

from pullback._core import dtypes
from pullback._core.array import ArrayLike
from pullback._core.typing import AnyValue
from pullback._ops.accumulate import accumulator


class GatherScatterMode(enum.Enum):
    """The treatment of windows that extend beyond the operand.

    `CLIP` moves them inside. `FILL_OR_DROP` fills their elements (gather) or leaves the operand unchanged (scatter).
    `PROMISE_IN_BOUNDS` means that the caller guarantees that there are none. `ONE_HOT` is the same as `FILL_OR_DROP`.

    >>> GatherScatterMode.from_any("fill")
    <GatherScatterMode.FILL_OR_DROP: 2>
    """

    CLIP = 1
    FILL_OR_DROP = 2
    PROMISE_IN_BOUNDS = 3
    ONE_HOT = 4

    @staticmethod
    def from_any(mode: AnyValue) -> GatherScatterMode:
        """The mode of a name: clip, fill, drop, promise_in_bounds, one_hot; None is fill. ValueError for others."""
        if isinstance(mode, GatherScatterMode):
            return GatherScatterMode.FILL_OR_DROP if mode is GatherScatterMode.ONE_HOT else mode
        try:
            return _MODES[mode]
        except (KeyError, TypeError):
            raise ValueError(
                f"unknown out-of-bounds mode {mode!r}: expected clip, fill, drop or promise_in_bounds"
            ) from None


def mode_of(function: str, mode: AnyValue) -> GatherScatterMode:
    """The mode for a value given by the user of `function`."""
    try:
        return GatherScatterMode.from_any(mode)
    except ValueError as error:
        raise ValueError(f"{function}: {error}") from None


CLIP, FILL, PROMISE = GatherScatterMode.CLIP, GatherScatterMode.FILL_OR_DROP, GatherScatterMode.PROMISE_IN_BOUNDS
_MODES = {None: FILL, "fill": FILL, "drop": FILL, "one_hot": FILL, "clip": CLIP, "promise_in_bounds": PROMISE}


class GatherDimensionNumbers(NamedTuple):
    """The roles of axes in a gather.

    `offset_dims`: the axes of the result that run over the window. `collapsed_slice_dims`: axes of the operand along
    which the window has length 1, without an axis in the result. `start_index_map`: the operand's axis of each
    component of an index vector. `operand_batching_dims` are paired with `start_indices_batching_dims` of the indices.

    >>> rows = GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
    >>> rows.operand_batching_dims
    ()
    """

    offset_dims: tuple[int, ...]
    collapsed_slice_dims: tuple[int, ...]
    start_index_map: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    start_indices_batching_dims: tuple[int, ...] = ()


class ScatterDimensionNumbers(NamedTuple):
    """The roles of axes in a scatter: those of the gather that reads the same elements.

    `update_window_dims` is the gather's `offset_dims`, `inserted_window_dims` its `collapsed_slice_dims`,
    `scatter_dims_to_operand_dims` its `start_index_map`, `scatter_indices_batching_dims` its
    `start_indices_batching_dims`.

    >>> ScatterDimensionNumbers((1,), (0,), (0,)).inserted_window_dims
    (0,)
    """

    update_window_dims: tuple[int, ...]
    inserted_window_dims: tuple[int, ...]
    scatter_dims_to_operand_dims: tuple[int, ...]
    operand_batching_dims: tuple[int, ...] = ()
    scatter_indices_batching_dims: tuple[int, ...] = ()


def window_sizes(
    numbers: ScatterDimensionNumbers, operand_ndim: int, updates_shape: tuple[int, ...]
) -> tuple[int, ...]:
    """The size of the windows that a scatter writes, along every axis of the operand."""
    single = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    lengths = iter([updates_shape[d] for d in numbers.update_window_dims])
    return tuple(1 if d in single else next(lengths) for d in range(operand_ndim))


def fill_for(dtype: np.dtype, fill_value: ArrayLike | None) -> Any:
    """The scalar that fills a gather: as asked, or nan, the lowest integer, the highest unsigned one, True."""
    if fill_value is not None:
        return np.asarray(fill_value).astype(dtype)[()]
    if dtypes.is_inexact(dtype):
        return np.asarray(np.nan).astype(dtype)[()]
    if dtype.kind == "b":
        return np.True_
    limits = dtypes.iinfo(dtype)
    return dtype.type(limits.max if dtypes.is_unsigned(dtype) else limits.min)


class _Addresses(NamedTuple):
    """The positions of the windows in the operand, with its axes reordered."""

    order: tuple[int, ...]  # the operand's axes: first those that index vectors address, then those that windows span
    places: tuple[np.ndarray, ...]  # indices along the former; they broadcast to batch axes + window axes
    valid: np.ndarray | None  # over the batch axes: whether each window is inside; None if all are
    layout: tuple[int, ...]  # the axes of the result (as gather's typing has it), in the order of batch + `order`


def _addresses(shape, indices, numbers: GatherDimensionNumbers, sizes, clip: bool) -> _Addresses:
    indices = np.asarray(indices)
    batch = indices.shape[:-1]
    nb = len(batch)
    component = {d: k for k, d in enumerate(numbers.start_index_map)}
    batching = dict(zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True))
    placed = [d for d, n in enumerate(shape) if d in batching or sizes[d] != n or (d in component and not clip)]
    spanned = [d for d in range(len(shape)) if d not in placed]
    valid = None
    index = []
    for position, d in enumerate(placed):
        if d in batching:
            axis = batching[d]
            start = np.arange(batch[axis]).reshape([-1 if a == axis else 1 for a in range(nb)])
        elif d in component:
            start = indices[..., component[d]]
            if start.dtype == np.uint64:
                start = np.minimum(start, np.uint64(2**63 - 1)).astype(np.int64)
            elif start.dtype.kind not in "iu" or start.dtype.itemsize < 4:
                start = start.astype(np.int64)
            last = shape[d] - sizes[d]
            if start.size and (start.min() < 0 or start.max() > last):
                if not clip:
                    inside = (start >= 0) & (start <= last)
                    valid = inside if valid is None else valid & inside
                start = np.clip(start, 0, last)
        else:
            start = np.zeros((1,) * nb, np.intp)
        window = [1] * len(placed)
        if sizes[d] != 1:
            window[position] = sizes[d]
            start = start.reshape((*start.shape, *(1,) * len(placed))) + np.arange(sizes[d]).reshape(window)
        else:
            start = start.reshape((*start.shape, *window))
        index.append(start)
    if index and not any(d in component for d in placed):
        # no index vector addresses these axes: the whole batch reads the same windows
        index[0] = np.broadcast_to(index[0], (*batch, *index[0].shape[nb:]))
    dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    offsets = iter(numbers.offset_dims)
    place = {d: next(offsets) for d in range(len(shape)) if d not in dropped}
    batch_places = [i for i in range(nb + len(numbers.offset_dims)) if i not in numbers.offset_dims]
    layout = (*batch_places, *(place.get(d, -1) for d in (*placed, *spanned)))
    return _Addresses((*placed, *spanned), tuple(index), valid, layout)


def _identity(order: tuple[int, ...]) -> bool:
    return order == tuple(range(len(order)))


def gather_kernel(x, indices, dimension_numbers, slice_sizes, mode, fill_value, **_):
    """The windows of `x` that start at `indices`."""
    x, indices = np.asarray(x), np.asarray(indices)
    where = _addresses(x.shape, indices, dimension_numbers, slice_sizes, mode is not FILL)
    if 0 in slice_sizes or 0 in indices.shape[:-1]:
        lengths = (*indices.shape[:-1], *(slice_sizes[d] for d in where.order))
        out = np.empty(lengths, x.dtype)
    else:
        source = x if _identity(where.order) else x.transpose(where.order)
        out = _read(source, where.places, indices.shape[:-1])
        if where.valid is not None:
            valid = where.valid.reshape((*where.valid.shape, *(1,) * (out.ndim - where.valid.ndim)))
            out = np.where(valid, out, fill_for(x.dtype, fill_value))
    return _arrange(out, where.layout)


def _read(source, index, batch):
    if not index:
        return np.broadcast_to(source, (*batch, *source.shape))
    if len(index) == 1 and index[0].shape[-1] == 1:
        rows = index[0].reshape(index[0].shape[:-1])
        return np.take(source, rows, axis=0).reshape((*index[0].shape, *source.shape[1:]))
    out = source[index]
    return out if isinstance(out, np.ndarray) else np.asarray(out)


def _arrange(out, layout):
    kept = [i for i in layout if i >= 0]
    out = out.reshape([n for n, i in zip(out.shape, layout, strict=True) if i >= 0])
    return out if _identity(tuple(kept)) else out.transpose(np.argsort(kept))


def scatter_kernel(combine):
    """A kernel that writes updates into a copy of the operand: `combine` is a ufunc, or None to overwrite."""

    def kernel(x, indices, updates, dimension_numbers, unique_indices, mode, **_):
        out = np.array(x, order="C")
        scatter_into(out, indices, updates, combine, dimension_numbers, unique_indices, mode)
        return out

    return kernel


def scatter_into(out, indices, updates, combine, dimension_numbers, unique_indices, mode, **_) -> None:
    """Write updates into an array in place; `combine` as for `scatter_kernel`."""
    indices, updates = np.asarray(indices), np.asarray(updates)
    if not updates.size or not out.size:
        return
    numbers = GatherDimensionNumbers(*dimension_numbers)
    sizes = window_sizes(dimension_numbers, out.ndim, updates.shape)
    where = _addresses(out.shape, indices, numbers, sizes, mode is CLIP)
    updates = _disarrange(updates, where, sizes, indices.shape[:-1])
    target = out if _identity(where.order) else out.transpose(where.order)
    index = where.places
    if where.valid is not None:
        nb = indices.ndim - 1
        full = np.broadcast_shapes(*[i.shape for i in index])
        index = tuple(np.broadcast_to(i, (*indices.shape[:-1], *i.shape[nb:]))[where.valid] for i in index)
        updates = updates.reshape((*full, *target.shape[len(index) :]))[where.valid]
        if not updates.size:
            return
    _write(target, index, updates, combine, unique_indices)


def _disarrange(updates, where, sizes, batch):
    kept = [i for i in where.layout if i >= 0]
    if not _identity(tuple(kept)):
        updates = updates.transpose(kept)
    return updates.reshape((*batch, *(sizes[d] for d in where.order)))


def _write(target, index, updates, combine, unique):
    if combine is not None and index and (unique or all(i.size == 1 for i in index)):
        target[index] = combine(target[index], updates)
        return
    # several terms are added up in half precision's accumulator, and rounded once
    wide = accumulator(target.dtype) if combine in (np.add, np.multiply) else target.dtype
    if wide != target.dtype:
        updates = updates.astype(wide)
    trailing = target.shape[len(index) :]
    by_rows = trailing or wide != target.dtype
    if not index:
        # every window is the whole operand
        updates = updates.reshape((-1, *target.shape))
        total = updates[-1] if combine is None else combine(target.astype(wide), updates[0])
        for u in updates[1:] if combine is not None else ():
            combine(total, u, out=total)
        target[...] = total
    elif combine is None:
        target[index] = updates
    elif not target.flags.c_contiguous:
        total = target.astype(wide, copy=False)
        combine.at(total, index, updates)
        target[...] = total
    elif not by_rows:
        combine.at(target, index, updates)
    else:
        # rows: sort the updates by index, combine those with equal indices, and write every row once
        rows = np.ravel_multi_index(np.broadcast_arrays(*index), target.shape[: len(index)]).ravel()
        width = math.prod(trailing)
        places, parts = target.reshape(-1, width), updates.reshape(-1, width)
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        first = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
        distinct = rows[first]
        sums = combine.reduceat(parts[order], first, axis=0)
        places[distinct] = combine(places[distinct].astype(wide, copy=False), sums)
