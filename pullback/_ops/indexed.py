"""Slices at vectors of positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback._core.array import Array, ArrayLike, lift
from pullback._ops.assemble import concatenate
from pullback._ops.compare import lt, select
from pullback._ops.elementwise import add
from pullback._ops.families import operands
from pullback._ops.gather_numpy import GatherDimensionNumbers
from pullback._ops.gather_scatter import gather
from pullback._ops.shape import canonical_axes, expand_dims


def index_take(src: ArrayLike, idxs: Sequence[ArrayLike], axes: Sequence[int]) -> Array:
    """The slices of `src` at positions along some axes, given by a vector of integers for each; they come first.

    Negative positions count from the end. ValueError for axes out of bounds and vectors of different lengths.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.index_take(pnp.arange(6).reshape(2, 3), (pnp.array([0, 1]), pnp.array([2, 0])), (0, 1)))
    [2 3]
    """
    x = lift(src)
    places = tuple(canonical_axes("index_take", axes, x.aval.ndim))
    vectors = operands("index_take", *idxs)
    if len(vectors) != len(places) or any(v.aval.ndim != 1 for v in vectors):
        raise ValueError(
            f"index_take: expected a vector of positions for each of the axes {places}, got {len(vectors)}"
        )
    columns = []
    for v, axis in zip(vectors, places, strict=True):
        n = np.asarray(x.aval.shape[axis], v.aval.dtype)
        columns.append(expand_dims(select(lt(v, np.asarray(0, n.dtype)), add(v, n), v), (1,)))
    numbers = GatherDimensionNumbers(
        offset_dims=tuple(range(1, x.aval.ndim - len(places) + 1)),
        collapsed_slice_dims=tuple(sorted(places)),
        start_index_map=places,
    )
    sizes = [1 if i in places else n for i, n in enumerate(x.aval.shape)]
    return gather(x, concatenate(columns, 1), numbers, sizes)


def chosen(x: Array, places: np.ndarray, axis: int) -> Array:
    """The entries at known places of an axis, which must exist."""
    sizes = [1 if i == axis else n for i, n in enumerate(x.aval.shape)]
    numbers = GatherDimensionNumbers(
        offset_dims=tuple(i for i in range(x.aval.ndim) if i != axis),
        collapsed_slice_dims=(axis,),
        start_index_map=(axis,),
    )
    return gather(x, places.astype(np.int32)[:, None], numbers, sizes, mode="promise_in_bounds")
