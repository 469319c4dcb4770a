"""Parts of a BCOO: slices at fixed and at computed places, rows at an array of places, reversed axes."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from pullback._api.vectorize import vmap
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import Shape
from pullback.experimental.sparse._base import as_format
from pullback.experimental.sparse._bcoo import BCOO, _without_duplicates
from pullback.experimental.sparse._entries import in_bounds, masked, without
from pullback.experimental.sparse._layouts import bcoo_squeeze
from pullback.lax import GatherDimensionNumbers, GatherScatterMode, dynamic_slice, rev
from pullback.lax import slice as slice_
from pullback.numpy import asarray, clip, stack


@boundary
def bcoo_slice(
    mat: BCOO, *, start_indices: Sequence[int], limit_indices: Sequence[int], strides: Sequence[int] | None = None
) -> BCOO:
    """A slice, as `lax.slice`.

    Args:
      mat: a BCOO.
      start_indices, limit_indices: for each axis where the slice starts, and where it ends, exclusively.
      strides: for each axis the step, by default 1.

    Raises: TypeError for what is no BCOO; ValueError for places outside of the shape.

    >>> from pullback.experimental import sparse
    >>> bcoo_slice(sparse.eye(4), start_indices=(1, 0), limit_indices=(3, 4)).todense().tolist()
    [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]
    """
    as_format("bcoo_slice", mat, BCOO)
    starts, limits = tuple(map(operator.index, start_indices)), tuple(map(operator.index, limit_indices))
    steps = (1,) * mat.ndim if strides is None else tuple(map(operator.index, strides))
    fits = len(starts) == len(limits) == len(steps) == mat.ndim
    if not fits or any(
        not 0 <= a <= b <= n or c < 1 for a, b, c, n in zip(starts, limits, steps, mat.shape, strict=True)
    ):
        raise ValueError(
            f"bcoo_slice: start_indices={starts}, limit_indices={limits} and strides={steps} do not lie in shape "
            f"{mat.shape}"
        )
    shape = tuple(-((a - b) // c) for a, b, c in zip(starts, limits, steps, strict=True))

    def part(x: Array, axes: Sequence[int | None]) -> Array:
        at = [(0, n, 1) if d is None else (starts[d], limits[d], steps[d]) for d, n in zip(axes, x.shape, strict=True)]
        return slice_(x, *zip(*at, strict=True))

    first = range(mat.n_batch, mat.n_batch + mat.n_sparse)
    return _part(mat, shape, part, [starts[d] for d in first], [steps[d] for d in first])


@boundary
def bcoo_dynamic_slice(mat: BCOO, start_indices: Sequence[ArrayLike], slice_sizes: Sequence[int]) -> BCOO:
    """A slice at computed places, as `lax.dynamic_slice`.

    Args:
      mat: a BCOO.
      start_indices: for each axis where the slice starts; moved so that it lies inside.
      slice_sizes: its shape.

    Raises: TypeError for what is no BCOO; ValueError for sizes beyond the shape.

    >>> from pullback.experimental import sparse
    >>> bcoo_dynamic_slice(sparse.eye(4), (1, 1), (2, 2)).todense().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    as_format("bcoo_dynamic_slice", mat, BCOO)
    shape = tuple(map(operator.index, slice_sizes))
    given = list(start_indices)
    if (
        len(given) != mat.ndim
        or len(shape) != mat.ndim
        or any(not 0 <= size <= n for size, n in zip(shape, mat.shape, strict=True))
    ):
        raise ValueError(
            f"bcoo_dynamic_slice: {len(given)} start_indices and slice_sizes={shape} do not fit shape {mat.shape}"
        )
    starts = [
        clip(asarray(a).astype(mat.indices.dtype), 0, n - size)
        for a, size, n in zip(given, shape, mat.shape, strict=True)
    ]

    def part(x: Array, axes: Sequence[int | None]) -> Array:
        at = [0 if d is None else starts[d] for d in axes]
        sizes = [n if d is None else shape[d] for d, n in zip(axes, x.shape, strict=True)]
        return dynamic_slice(x, at, sizes)

    first = range(mat.n_batch, mat.n_batch + mat.n_sparse)
    return _part(mat, shape, part, [starts[d] for d in first], [1] * mat.n_sparse)


def _part(mat: BCOO, shape: Shape, part: Any, starts: Sequence[Any], steps: Sequence[int]) -> BCOO:
    """The entries in a part; `part` takes it of an array, of which it is told the axes."""
    n_batch, n_sparse = mat.n_batch, mat.n_sparse
    batch = tuple(range(n_batch))
    data, indices = mat._full()
    data = part(data, (*batch, None, *range(n_batch + n_sparse, mat.ndim)))
    indices = part(indices, (*batch, None, None))
    sizes = shape[n_batch : n_batch + n_sparse]
    if not n_sparse or (sizes == mat._sparse_shape and not any(step > 1 for step in steps)):
        return BCOO((data, indices), shape=shape, indices_sorted=mat.indices_sorted, unique_indices=mat.unique_indices)
    valid = in_bounds(indices, mat._sparse_shape)
    columns = []
    for k, (start, step, size) in enumerate(zip(starts, steps, sizes, strict=True)):
        place = indices[..., k] - start
        valid = valid & (place >= 0) & (place < size * step)
        if step > 1:
            valid, place = valid & (place % step == 0), place // step
        columns.append(place)
    indices = without(stack(columns, -1), valid, sizes)
    out = BCOO((masked(data, valid), indices), shape=shape)
    most = math.prod(sizes)
    return out if most >= mat.nse else _without_flags(_without_duplicates(out, most, False))


def _without_flags(mat: BCOO) -> BCOO:
    return BCOO((mat.data, mat.indices), shape=mat.shape)


@boundary
def bcoo_gather(
    operand: BCOO,
    start_indices: ArrayLike,
    dimension_numbers: GatherDimensionNumbers,
    slice_sizes: Shape,
    *,
    unique_indices: bool = False,
    indices_are_sorted: bool = False,
    mode: str | GatherScatterMode | None = None,
    fill_value: ArrayLike | None = None,
) -> BCOO:
    """Slices of a BCOO at an array of places, as `lax.gather`, with places moved so that they lie inside.

    Args:
      operand: a BCOO.
      start_indices, dimension_numbers, slice_sizes: which slices, as in `lax.gather`.
      unique_indices, indices_are_sorted: ignored.
      mode: how to treat places outside: "clip", or a promise that there are none.
      fill_value: ignored, as nothing is filled.

    Returns: a BCOO with a batch axis for each axis of places, in front.
    Raises: TypeError for what is no BCOO; NotImplementedError for another order of axes, and for a mode that fills.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental import sparse
    >>> sparse.eye(3)[pnp.array([2, 0])].todense().tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    as_format("bcoo_gather", operand, BCOO)
    numbers, places = dimension_numbers, asarray(start_indices)
    if mode is not None and GatherScatterMode.from_any(mode) == GatherScatterMode.FILL_OR_DROP:
        raise NotImplementedError(
            "bcoo_gather: places outside cannot be filled, since that is no sparse array; use mode='clip'"
        )
    n_batch = places.ndim - 1
    kept = [d for d in range(operand.ndim) if d not in numbers.collapsed_slice_dims]
    if tuple(numbers.offset_dims) != tuple(range(n_batch, n_batch + len(kept))) or numbers.operand_batching_dims:
        raise NotImplementedError("bcoo_gather: the axes of places must come first, and be of no batch")
    sizes = tuple(map(operator.index, slice_sizes))

    def one(place: Array) -> BCOO:
        starts: list[Any] = [0] * operand.ndim
        for k, d in enumerate(numbers.start_index_map):
            starts[d] = place[k]
        return bcoo_squeeze(bcoo_dynamic_slice(operand, starts, sizes), dimensions=numbers.collapsed_slice_dims)

    f = one
    for _ in range(n_batch):
        f = vmap(f)
    return f(places)


@boundary
def bcoo_rev(operand: BCOO, dimensions: Sequence[int]) -> BCOO:
    """A BCOO with axes reversed, as `lax.rev`.

    Args:
      operand: a BCOO.
      dimensions: the axes.

    Raises: TypeError for what is no BCOO; ValueError for an axis that does not exist.

    >>> from pullback.experimental import sparse
    >>> bcoo_rev(sparse.eye(2), (0,)).indices.tolist()
    [[1, 0], [0, 1]]
    """
    as_format("bcoo_rev", operand, BCOO)
    axes = {operator.index(d) for d in dimensions}
    if any(not 0 <= d < operand.ndim for d in axes):
        raise ValueError(f"bcoo_rev: an array of shape {operand.shape} has no axes {tuple(dimensions)}")
    n_batch, n_sparse = operand.n_batch, operand.n_sparse
    data, indices = operand._full()
    data = rev(data, [d if d < n_batch else d - n_sparse + 1 for d in axes if not 0 <= d - n_batch < n_sparse])
    indices = rev(indices, [d for d in axes if d < n_batch])
    if n_sparse:
        sizes = operand._sparse_shape
        columns = [sizes[k] - 1 - indices[..., k] if k + n_batch in axes else indices[..., k] for k in range(n_sparse)]
        indices = without(stack(columns, -1), in_bounds(indices, sizes), sizes)
    return BCOO((data, indices), shape=operand.shape, unique_indices=operand.unique_indices)
