"""Histograms: how many samples, or how much weight, fall into which bin."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import AnyValue
from pullback._ops import compare, elementwise
from pullback._ops.assemble import concatenate
from pullback._ops.families import scalar_like
from pullback._ops.shape import broadcast_to, convert_element_type, full, reduce_sum_p, reshape, shape_of
from pullback._ops.slicing import index_in_dim, slice_in_dim
from pullback.numpy._creation.ranges import linspace
from pullback.numpy._elementwise.promotion import as_operand, cast
from pullback.numpy._products.contractions import promoted
from pullback.numpy._reductions.reductions import largest, smallest
from pullback.numpy._searching.counting import count_into
from pullback.numpy._searching.sorting import searchsorted

__all__ = ["histogram", "histogram2d", "histogram_bin_edges", "histogramdd"]

_INDEX = np.dtype(np.int32)


# --- one variable ---


@boundary
def histogram_bin_edges(
    a: ArrayLike, bins: ArrayLike = 10, range: Sequence[ArrayLike] | None = None, weights: ArrayLike | None = None
) -> Array:
    """The edges of the bins that `histogram` counts in: `bins` equal ones over `range` or all of `a`, or
    `bins` itself. ValueError for bins with more than one axis or a negative number of them.

    >>> import pullback.numpy as pnp
    >>> print(pnp.histogram_bin_edges(pnp.array([0., 1.]), bins=2))
    [0.  0.5 1. ]
    """
    return _edges("histogram_bin_edges", as_operand(a, "histogram_bin_edges", 0), bins, range)


def _edges(name: str, x: Array, bins: ArrayLike, range: Sequence[ArrayLike] | None) -> Array:
    dtype = dtypes.to_inexact(x.aval.dtype, False)[0]
    if isinstance(bins, str):
        raise NotImplementedError(f"{name}: bins must be a number or an array of edges, got {bins!r}")
    if np.ndim(bins) > 1:
        raise ValueError(f"{name}: bins must be a number or a vector of edges, got shape {np.shape(bins)}")
    if np.ndim(bins) == 1:
        return cast(as_operand(bins, name, 1), dtype, False)
    if range is not None:
        low, high = (cast(as_operand(v, name, 2), dtype, False) for v in range)
    elif x.aval.size:
        low, high = (convert_element_type(f(name, x), dtype) for f in (smallest, largest))
    else:
        low, high = scalar_like(0, dtype), scalar_like(1, dtype)
    # a range of no width becomes one of width 1
    narrow = compare.eq(low, high)
    half = scalar_like(0.5, dtype)
    low = compare.select(narrow, elementwise.sub(low, half), low)
    high = compare.select(narrow, elementwise.add(high, half), high)
    return linspace(low, high, shape_of(name, bins)[0] + 1, dtype=dtype)


@boundary
def histogram(
    a: ArrayLike,
    bins: ArrayLike = 10,
    range: Sequence[ArrayLike] | None = None,
    weights: ArrayLike | None = None,
    density: bool | None = None,
) -> tuple[Array, Array]:
    """The number of elements of `a` (or the sum of their `weights`) in each bin, and the edges of the
    bins.

    `bins` is a number of equal bins over `range`, by default all of `a`, or the edges themselves. The last
    bin holds its upper edge. Counts are floating, as JAX's are; with `density` they are divided to integrate
    to 1. ValueError for bins with more than one axis or a negative number of them, and for weights of another shape.

    >>> import pullback.numpy as pnp
    >>> print(pnp.histogram(pnp.array([0., 1., 1.]), bins=2)[0])
    [1. 2.]
    """
    x = as_operand(a, "histogram", 0)
    dtype = dtypes.to_inexact(x.aval.dtype, False)[0]
    edges = _edges("histogram", x, bins, range)
    x = reshape(convert_element_type(x, dtype), (x.aval.size,))
    if weights is None:
        w = full((x.aval.size,), 1, dtype)
    else:
        w = as_operand(weights, "histogram", 3)
        if w.aval.shape != np.shape(a):
            raise ValueError(f"histogram: weights must have the shape of a, {np.shape(a)}, got {w.shape}")
        w = reshape(convert_element_type(w, dtypes.to_inexact(w.aval.dtype, False)[0]), (x.aval.size,))
    n = edges.aval.size
    counts = slice_in_dim(count_into(_bins(x, edges), n, w.aval.dtype, w), 1, n)
    if density:
        widths = elementwise.sub(slice_in_dim(edges, 1, n), slice_in_dim(edges, 0, n - 1))
        total = reduce_sum_p.bind(counts, axes=(0,))
        counts = elementwise.div(elementwise.div(counts, convert_element_type(widths, counts.aval.dtype)), total)
    return counts, edges


def _bins(x: Array, edges: Array) -> Array:
    """The number of edges below or at each sample: 0 before the first bin, that of the edges beyond the last."""
    last = edges.aval.size - 1
    place = searchsorted(edges, x, "right")
    at_end = compare.eq(x, index_in_dim(edges, last, 0, keepdims=False))
    return compare.select(at_end, scalar_like(last, place.aval.dtype), place)


# --- several variables ---


@boundary
def histogramdd(
    sample: ArrayLike,
    bins: ArrayLike | list[ArrayLike] = 10,
    range: Sequence[Array | Sequence[ArrayLike] | None] | None = None,
    weights: ArrayLike | None = None,
    density: bool | None = None,
) -> tuple[Array, list[Array]]:
    """The number of points (or the sum of their `weights`) in each box of a grid, and the edges of the bins per axis.

    `sample`: n points in d dimensions, `(n, d)`. `bins`: a number of equal bins, or for each dimension a number or
    the edges; `range`: None, or for each dimension a pair of bounds or None, for those of the sample; `weights`:
    `(n,)`. The last bins hold their upper edges; points outside are not counted. Counts are int32, sums of weights
    floating; with `density` they are divided to integrate to 1. ValueError for other shapes and numbers of bins or
    ranges.

    >>> import pullback.numpy as pnp
    >>> counts, edges = pnp.histogramdd(pnp.array([[0., 0.], [1., 3.], [2., 3.]]), bins=2)
    >>> print(counts)
    [[1 0]
     [0 2]]
    """
    return _grid_of_counts("histogramdd", as_operand(sample, "histogramdd", 0), bins, range, weights, density)


def _grid_of_counts(
    name: str, sample: Array, bins: AnyValue, range: AnyValue, weights: AnyValue, density: bool | None
) -> tuple[Array, list[Array]]:
    if sample.aval.ndim != 2:
        raise ValueError(f"{name}: expected points of shape (n, d), got {sample.shape}")
    n, d = sample.aval.shape
    dtype = dtypes.to_inexact(sample.aval.dtype, False)[0]
    each = list(bins) if isinstance(bins, (list, tuple)) or np.ndim(bins) else [bins] * d
    if len(each) != d:
        raise ValueError(f"{name}: bins must be a number or one entry for each of {d} dimensions, got {len(each)}")
    bounds = [None] * d if range is None else list(range)
    if len(bounds) != d or any(r is not None and len(r) != 2 for r in bounds):
        raise ValueError(f"{name}: range must be a pair or None for each of {d} dimensions, got {range!r}")
    if weights is None:
        w, kind = None, dtypes.canonicalize_dtype(int)
    else:
        w = as_operand(weights, name, 3)
        if w.aval.shape != (n,):
            raise ValueError(f"{name}: weights must have shape ({n},), one for each point, got {w.shape}")
        kind = dtypes.promote((w.aval.dtype, w.aval.weak_type), (dtype, False))[0]
        w = convert_element_type(w, kind)
    columns = [reshape(slice_in_dim(sample, i, i + 1, axis=1), (n,)) for i in builtins.range(d)]
    edges = [_edges(name, x, b, r) for x, b, r in zip(columns, each, bounds, strict=True)]
    sizes = [e.aval.size - 1 for e in edges]
    flat, inside = scalar_like(0, _INDEX), scalar_like(True, np.dtype(bool))
    for x, e, size in zip(columns, edges, sizes, strict=True):
        bin_of = elementwise.sub(_bins(convert_element_type(x, dtype), e), scalar_like(1, _INDEX))
        fits = compare.bitwise_and(
            compare.ge(bin_of, scalar_like(0, _INDEX)), compare.lt(bin_of, scalar_like(size, _INDEX))
        )
        inside = compare.bitwise_and(inside, fits)
        flat = elementwise.add(elementwise.mul(flat, scalar_like(size, _INDEX)), bin_of)
    total = math.prod(sizes)
    places = broadcast_to(compare.select(inside, flat, scalar_like(total, _INDEX)), (n,))
    counts = reshape(count_into(places, total, kind, w), tuple(sizes))
    if density:
        counts = convert_element_type(counts, dtype)
        counts = elementwise.div(counts, reduce_sum_p.bind(counts, axes=tuple(builtins.range(d))))
        for i, (e, size) in enumerate(zip(edges, sizes, strict=True)):
            widths = elementwise.sub(slice_in_dim(e, 1, None), slice_in_dim(e, 0, size))
            along = [size if j == i else 1 for j in builtins.range(d)]
            counts = elementwise.div(counts, convert_element_type(reshape(widths, along), counts.aval.dtype))
    return counts, edges


@boundary
def histogram2d(
    x: ArrayLike,
    y: ArrayLike,
    bins: ArrayLike | list[ArrayLike] = 10,
    range: Sequence[Array | Sequence[ArrayLike] | None] | None = None,
    weights: ArrayLike | None = None,
    density: bool | None = None,
) -> tuple[Array, Array, Array]:
    """The number of points (x, y), or the sum of their `weights`, in each box of a grid, and the edges of both axes.

    `x`, `y`: `(n,)`. `bins`: a number of equal bins, the edges for both axes, or a pair with one of the two for each
    axis. `range`, `weights` and `density` are those of `histogramdd`. ValueError for other shapes.

    >>> import pullback.numpy as pnp
    >>> counts, x_edges, y_edges = pnp.histogram2d(pnp.array([0., 1., 2.]), pnp.array([0., 3., 3.]), bins=2)
    >>> print(counts)
    [[1 0]
     [0 2]]
    """
    name = "histogram2d"
    columns = promoted(name, as_operand(x, name, 0), as_operand(y, name, 1))
    if columns[0].aval.ndim != 1 or columns[0].aval.shape != columns[1].aval.shape:
        raise ValueError(f"{name}: expected two vectors of one length, got {columns[0].shape} and {columns[1].shape}")
    n = columns[0].aval.size
    sample = concatenate([reshape(v, (n, 1)) for v in columns], 1)
    if (isinstance(bins, (list, tuple)) or np.ndim(bins)) and len(bins) not in (1, 2):  # type: ignore[arg-type]
        bins = [bins, bins]  # type: ignore[list-item]
    counts, edges = _grid_of_counts(name, sample, bins, range, weights, density)
    return counts, edges[0], edges[1]
