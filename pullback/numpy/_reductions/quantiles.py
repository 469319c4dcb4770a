"""Quantiles: medians, percentiles, and their variants that leave out nan."""

from __future__ import annotations

import math

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray
from pullback._core.errors import boundary
from pullback._core.types import kept_shape
from pullback._core.typing import Axis, Placement
from pullback._ops import compare, elementwise, reduce, rounding
from pullback._ops.cumulative import cumsum_p
from pullback._ops.families import scalar_like
from pullback._ops.shape import (
    broadcast_to,
    convert_element_type,
    expand_dims,
    move_axis,
    reduce_sum_p,
    reshape,
    transpose,
)
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.slicing import slice_in_dim
from pullback._ops.sort import along_axis, sort_p
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._reductions.ignoring_nan import is_nan
from pullback.numpy._reductions.reductions import axes_of, refuse_out

__all__ = ["quantile", "percentile", "median", "nanquantile", "nanpercentile", "nanmedian"]

_METHODS = ("linear", "lower", "higher", "midpoint", "nearest", "inverted_cdf")
_INDEX = np.dtype(np.int32)


def _quantile(
    name: str,
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis,
    out: None,
    method: str,
    keepdims: bool,
    skip_nan: bool,
    weights: ArrayLike | None = None,
    scale: float = 1.0,
) -> Array:
    refuse_out(name, out)
    if method not in _METHODS:
        raise ValueError(f"{name}: method must be one of {', '.join(_METHODS)}, got {method!r}")
    if weights is not None and method != "inverted_cdf":
        raise ValueError(f"{name}: with weights, method must be 'inverted_cdf', got {method!r}")
    x, q = as_operand(a, name, 0), as_operand(q, name, 1)
    if dtypes.is_complex(x.aval.dtype) or dtypes.is_complex(q.aval.dtype):
        raise ValueError(f"{name}: complex numbers have no order, got {x.aval.str_short()} and {q.aval.str_short()}")
    dtype = dtypes.to_inexact(x.aval.dtype, False)[0]
    axes = axes_of(name, axis, x.aval.ndim)
    x = convert_element_type(x, dtype)
    # the axes of the quantile become the last one
    kept = tuple(i for i in range(x.aval.ndim) if i not in axes)
    batch = tuple(x.aval.shape[i] for i in kept)
    n = math.prod(x.aval.shape[i] for i in axes)
    if n == 0:
        raise ValueError(f"{name}: there are no elements along axis {axis} of shape {x.shape}")
    values = reshape(transpose(x, (*kept, *axes)), (*batch, n))
    if weights is None:
        (values,) = sort_p.bind(values, dimension=len(batch), is_stable=False, num_keys=1)
    else:
        w = _aligned_weights(name, weights, x, axes)
        w = reshape(transpose(w, (*kept, *axes)), (*batch, n))
        values, w = sort_p.bind(values, w, dimension=len(batch), is_stable=True, num_keys=1)
    # positions in at least float32
    place = np.promote_types(np.float32, dtype) if dtype.itemsize >= 4 else np.dtype(np.float32)
    shape, k = q.aval.shape, q.aval.size
    q = reshape(convert_element_type(q, place), (*(1,) * len(batch), k))
    if scale != 1.0:
        q = elementwise.div(q, scalar_like(scale, place))
    invalid = is_nan(values)
    if skip_nan:
        count = reduce_sum_p.bind(convert_element_type(compare.not_p.bind(invalid), place), axes=(len(batch),))
        count = reshape(count, (*batch, 1))
        bad = compare.eq_p.bind(count, scalar_like(0, place))
    else:
        count = scalar_like(n, place)
        bad = reshape(reduce.reduce_or_p.bind(invalid, axes=(len(batch),)), (*batch, 1))
    if weights is None:
        y = _interpolate(values, q, count, (*batch, k), method)
    else:
        y = _weighted(values, compare.select_p.bind(invalid, scalar_like(0, w.aval.dtype), w) if skip_nan else w, q)
    y = compare.select_p.bind(bad, scalar_like(np.nan, dtype), y)
    y = move_axis(y, len(batch), 0)
    if keepdims:
        batch = kept_shape(x.aval.shape, axes)
    return reshape(y, (*shape, *batch))


def _interpolate(values: Array, q: Array, count: Array, shape: tuple[int, ...], method: str) -> Array:
    """The quantiles of sorted values, of which the first `count` along the last axis are valid."""
    place, axis = count.aval.dtype, values.aval.ndim - 1
    last = elementwise.max(elementwise.sub(count, scalar_like(1, place)), scalar_like(0, place))
    if method == "inverted_cdf":
        position = elementwise.sub(rounding.ceil(elementwise.mul(q, count)), scalar_like(1, place))
    else:
        position = elementwise.mul(q, last)
    low, high = rounding.floor(position), rounding.ceil(position)
    share = elementwise.sub(position, low)

    def at(where):
        where = elementwise.max(elementwise.min(where, last), scalar_like(0, place))
        return along_axis(values, broadcast_to(convert_element_type(where, _INDEX), shape), axis)

    if method in ("lower", "inverted_cdf"):
        return at(low)
    if method == "higher":
        return at(high)
    if method == "nearest":
        # a tie selects the lower one
        return at(rounding.ceil(elementwise.sub(position, scalar_like(0.5, place))))
    below, above = at(low), at(high)
    dtype = values.aval.dtype
    share = convert_element_type(share, dtype)
    if method == "midpoint":
        positive = compare.gt(share, scalar_like(0, dtype))
        share = compare.select_p.bind(positive, scalar_like(0.5, dtype), scalar_like(0, dtype))
    mixed = elementwise.add(
        elementwise.mul(below, elementwise.sub(scalar_like(1, dtype), share)), elementwise.mul(above, share)
    )
    # exactly at an element it is that element, be it infinite
    return compare.select_p.bind(compare.eq(share, scalar_like(0, dtype)), below, mixed)


def _aligned_weights(name: str, weights: ArrayLike, x: Array, axes: tuple[int, ...]) -> Array:
    """The weights in the shape of `x`; a vector of weights is along the one axis."""
    w = as_operand(weights, name, "weights")
    if dtypes.is_complex(w.aval.dtype):
        raise ValueError(f"{name}: weights must be real, got {w.aval.str_short()}")
    shape = x.aval.shape
    if w.aval.shape == tuple(shape[i] for i in axes):
        w = reshape(w, tuple(n if i in axes else 1 for i, n in enumerate(shape)))
    elif w.aval.ndim != len(shape) or any(m not in (1, n) for m, n in zip(w.aval.shape, shape, strict=True)):
        raise ValueError(
            f"{name}: weights must have the shape {shape} of the array, or its lengths along axis, got {w.aval.shape}"
        )
    if type(w) is ConcreteArray and w.aval.size and np.min(w.value) < 0:
        raise ValueError(f"{name}: weights must not be negative, got {np.min(w.value)}")
    at_least = np.promote_types(np.float32, w.aval.dtype) if not dtypes.is_float(w.aval.dtype) else w.aval.dtype
    w = convert_element_type(w, dtypes.canonicalize_dtype(at_least if at_least.itemsize >= 4 else np.float32))
    return broadcast_to(w, shape)


def _weighted(values: Array, weights: Array, q: Array) -> Array:
    """Of sorted values the first at which the share of the weights reaches `q`, and that has a weight; nan without any.

    `values`, `weights`: (..., n); `q`: (1, ..., 1, k). Returns (..., k).
    """
    axis, dtype = values.aval.ndim - 1, weights.aval.dtype
    *batch, n = values.aval.shape
    sums = cumsum_p.bind(weights, axis=axis, reverse=False)
    total = slice_in_dim(sums, n - 1, n, axis=axis)
    goal = elementwise.mul(convert_element_type(q, dtype), total)
    reached = compare.bitwise_and(
        compare.ge_p.bind(expand_dims(sums, (axis + 1,)), expand_dims(goal, (axis,))),
        expand_dims(compare.gt_p.bind(sums, scalar_like(0, dtype)), (axis + 1,)),
    )
    before = reduce_sum_p.bind(convert_element_type(compare.not_p.bind(reached), _INDEX), axes=(axis,))
    where = elementwise.min(before, np.int32(n - 1))
    chosen = along_axis(values, broadcast_to(where, (*batch, where.aval.shape[-1])), axis)
    some = compare.gt_p.bind(total, scalar_like(0, dtype))
    return compare.select_p.bind(some, chosen, scalar_like(np.nan, values.aval.dtype))


@boundary
def quantile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """The value below which a share `q` (0 to 1) of the elements over `axis` is; nan if one of them is nan.

    The axes of `q` come first in the result. Between two elements, `method` decides: "linear", "lower",
    "higher", "midpoint", "nearest", or "inverted_cdf". In the dtype of `a`; of integers in floating point.
    `weights` count an element that many times, which only "inverted_cdf" supports: they have the shape of `a`,
    or its lengths along `axis`. ValueError for an unknown method, for weights of another shape and negative ones; a `q`
    out of range is clipped.

    >>> import pullback.numpy as pnp
    >>> print(pnp.quantile(pnp.array([1., 2., 3., 4.]), 0.5))
    2.5
    """
    return _quantile("quantile", a, q, axis, out, method, keepdims, False, weights)


@boundary
def nanquantile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """`quantile` of the elements that are not nan; nan if there are none.

    ValueError for complex numbers, for an axis out of bounds, for no elements at all and for an unknown `method`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nanquantile(pnp.array([1., pnp.nan, 3.]), 0.5))
    2.0
    """
    return _quantile("nanquantile", a, q, axis, out, method, keepdims, True, weights)


@boundary
def percentile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
    out_sharding: Placement = None,
) -> Array:
    """`quantile` with `q` in percent, from 0 to 100. A `q` out of range is clipped; for errors see `quantile`.

    `out_sharding` is where the result is to be, as in `pullback.reshard`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.percentile(pnp.array([1., 2., 3., 4., 5.]), 25))
    2.0
    """
    result = _quantile("percentile", a, q, axis, out, method, keepdims, False, weights, 100.0)
    return laid_out("percentile", result, out_sharding)


@boundary
def nanpercentile(
    a: ArrayLike,
    q: ArrayLike,
    axis: Axis = None,
    out: None = None,
    overwrite_input: bool = False,
    method: str = "linear",
    keepdims: bool = False,
    *,
    weights: ArrayLike | None = None,
) -> Array:
    """`percentile` of the elements that are not nan; nan if there are none. For errors see `nanquantile`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nanpercentile(pnp.array([1., pnp.nan, 3.]), 50))
    2.0
    """
    return _quantile("nanpercentile", a, q, axis, out, method, keepdims, True, weights, 100.0)


@boundary
def median(
    a: ArrayLike, axis: Axis = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False
) -> Array:
    """The middle element over `axis` in sorted order, or the mean of the two in the middle; nan if one is
    nan. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.median(pnp.array([5., 1., 3.])))
    3.0
    """
    return _quantile("median", a, 0.5, axis, out, "midpoint", keepdims, False)


@boundary
def nanmedian(
    a: ArrayLike, axis: Axis = None, out: None = None, overwrite_input: bool = False, keepdims: bool = False
) -> Array:
    """`median` of the elements that are not nan; nan if there are none. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nanmedian(pnp.array([5., pnp.nan, 3.])))
    4.0
    """
    return _quantile("nanmedian", a, 0.5, axis, out, "midpoint", keepdims, True)
