"""Lists of entries: indices of shape (nse, n_sparse) beside data of shape (nse, ...), of one matrix without batch axes.

An entry with an index out of bounds is padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback._core.array import Array
from pullback.lax import sort
from pullback.numpy import arange, asarray, concatenate, cumsum, full, roll, stack, where, zeros
from pullback.ops import segment_sum


def sizes_of(indices: Array, sizes: Sequence[int]) -> Array:
    """The sizes of the sparse axes, which are the indices of padding."""
    return asarray(np.array(sizes, indices.dtype))


def in_bounds(indices: Array, sizes: Sequence[int]) -> Array:
    """Which entries are no padding; `indices` may have batch axes."""
    return (indices < sizes_of(indices, sizes)).all(-1)


def without(indices: Array, kept: Array, sizes: Sequence[int]) -> Array:
    """The indices, those of entries that are not kept as padding; with batch axes too."""
    return where(kept[..., None], indices, sizes_of(indices, sizes))


def masked(data: Array, kept: Array) -> Array:
    """The data, zero for entries that are not kept; with batch axes too."""
    return where(kept.reshape(kept.shape + (1,) * (data.ndim - kept.ndim)), data, zeros((), data.dtype))


def in_order(indices: Array) -> tuple[Array, Array]:
    """The order in which the rows are sorted, and the rows in this order."""
    count, columns = indices.shape
    places = arange(count, dtype=np.int32)
    if columns == 0:
        return places, indices
    *rows, order = sort((*(indices[:, j] for j in range(columns)), places), num_keys=columns)
    return order, stack(rows, -1)


def groups(indices: Array, sizes: Sequence[int]) -> tuple[Array, Array, Array]:
    """For each entry the number of its index among the different ones; these in order; how many are no padding.

    Padding comes last, as one index.
    """
    count = indices.shape[0]
    order, rows = in_order(without(indices, in_bounds(indices, sizes), sizes))
    new = (rows != roll(rows, 1, 0)).any(-1) | (arange(count) == 0)
    number = cumsum(new, dtype=np.int32) - 1
    numbers = zeros(count, np.int32).at[order].set(number, unique_indices=True)
    different = full(indices.shape, sizes_of(indices, sizes)).at[number].set(rows)
    return numbers, different, (new & in_bounds(rows, sizes)).sum()


def added(data: Array, numbers: Array, length: int) -> Array:
    """The sums of the data with each number, for the numbers below `length`."""
    if data.dtype == np.bool_:
        return segment_sum(data.astype(np.int32), numbers, length).astype(np.bool_)
    return segment_sum(data, numbers, length)


def summed(data: Array, indices: Array, sizes: Sequence[int], nse: int) -> tuple[Array, Array]:
    """The entries with different indices, sorted, in a list of length `nse`, which cuts or pads it."""
    numbers, different, _ = groups(indices, sizes)
    total = added(masked(data, in_bounds(indices, sizes)), numbers, nse)
    more = max(nse - different.shape[0], 0)
    padding = full((more, indices.shape[1]), sizes_of(indices, sizes))
    return total, concatenate([different[:nse], padding]) if more else different[:nse]


def matched(data: Array, indices: Array, others: Array, sizes: Sequence[int]) -> Array:
    """For each row of `others` the sum of the data at this index, zero where there is none."""
    numbers, _, _ = groups(concatenate([indices, others]), sizes)
    count = indices.shape[0]
    total = added(masked(data, in_bounds(indices, sizes)), numbers[:count], count + others.shape[0])
    return total[numbers[count:]]
