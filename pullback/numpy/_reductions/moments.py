"""Means and variances."""

from __future__ import annotations

import math
from typing import Any, Literal, overload

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray
from pullback._core.errors import boundary
from pullback._core.typing import Axis, DTypeLike
from pullback._ops import compare, elementwise
from pullback._ops.accumulate import accumulator
from pullback._ops.families import scalar_like
from pullback._ops.lengths import norm_p, squared_size
from pullback._ops.shape import broadcast_to, convert_element_type, reduce_sum_p, reshape
from pullback._ops.trig import real_dtype
from pullback.numpy._elementwise.promotion import as_operand, cast, strong
from pullback.numpy._reductions.reductions import axes_of, masked, reduced, refuse_out

__all__ = ["mean", "average", "var", "std"]


# --- means and variances ---


def count_of(
    name: str, shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool, where: ArrayLike | None, dtype: np.dtype
) -> Array:
    """The number of elements in a reduction: a scalar, or an array if a mask decides."""
    if where is None:
        return scalar_like(math.prod(shape[i] for i in axes), dtype)
    mask = as_operand(where, name, "where")
    return reduced(reduce_sum_p, convert_element_type(broadcast_to(mask, shape), dtype), axes, keepdims)


def mean_in(name: str, x: Array, axes: tuple[int, ...], keepdims: bool, where: ArrayLike | None) -> Array:
    """The mean in the dtype of `x`."""
    given = x if where is None else masked(name, x, where, 0)
    total = reduced(reduce_sum_p, given, axes, keepdims)
    return elementwise.div_p.bind(total, count_of(name, given.aval.shape, axes, keepdims, where, x.aval.dtype))


@boundary
def mean(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: ArrayLike | None = None,
) -> Array:
    """The arithmetic mean over `axis`: of integers a float32, of half precision computed in float32. Nan of
    nothing. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.mean(pnp.array([[1, 2], [3, 4]]), axis=1)
    Array([1.5, 3.5], dtype=float32)
    """
    return averaged("mean", a, axis, dtype, out, keepdims, where)


def averaged(
    name: str,
    a: ArrayLike,
    axis: Axis,
    dtype: DTypeLike | None = None,
    out: None = None,
    keepdims: bool = False,
    where: ArrayLike | None = None,
) -> Array:
    """`mean` for the function `name`."""
    refuse_out(name, out)
    x = as_operand(a, name, 0)
    target = dtypes.to_inexact(x.aval.dtype, False)[0] if dtype is None else dtypes.requested_dtype(dtype)
    inner = accumulator(dtypes.to_inexact(target, False)[0])
    y = mean_in(
        name, convert_element_type(x, inner, x.aval.weak_type), axes_of(name, axis, x.aval.ndim), keepdims, where
    )
    return convert_element_type(y, target)


@overload
def average(
    a: ArrayLike,
    axis: Axis = None,
    weights: ArrayLike | None = None,
    returned: Literal[False] = False,
    keepdims: bool = False,
) -> Array: ...
@overload
def average(
    a: ArrayLike,
    axis: Axis = None,
    weights: ArrayLike | None = None,
    *,
    returned: Literal[True],
    keepdims: bool = False,
) -> tuple[Array, Array]: ...
@overload
def average(
    a: ArrayLike, axis: Axis = None, weights: ArrayLike | None = None, returned: bool = False, keepdims: bool = False
) -> Any: ...
@boundary
def average(
    a: ArrayLike, axis: Axis = None, weights: ArrayLike | None = None, returned: bool = False, keepdims: bool = False
) -> Any:
    """The mean over `axis`, weighted if `weights` is given; with `returned`, the pair of it and the sum of
    weights.

    `weights` has the shape of `a`, or is a vector along the one `axis`.
    ValueError for an axis out of bounds and for weights of another shape.

    >>> import pullback.numpy as pnp
    >>> print(pnp.average(pnp.array([1., 2.]), weights=pnp.array([3., 1.])))
    1.25
    """
    x = as_operand(a, "average", 0)
    axes = axes_of("average", axis, x.aval.ndim)
    if weights is None:
        result = averaged("average", x, axis, keepdims=keepdims)
        total = scalar_like(math.prod(x.aval.shape[i] for i in axes), result.aval.dtype)
    else:
        w = as_operand(weights, "average", "weights")
        dtype = dtypes.to_inexact(*dtypes.promote((x.aval.dtype, x.aval.weak_type), (w.aval.dtype, w.aval.weak_type)))[
            0
        ]
        x, w = cast(x, dtype, False), cast(w, dtype, False)
        if w.aval.shape != x.aval.shape:
            if w.aval.ndim != 1 or len(axes) != 1 or w.aval.size != x.aval.shape[axes[0]]:
                raise ValueError(
                    f"average: weights must have the shape of a, {x.shape}, or be a vector along one "
                    f"axis; got shape {w.shape} with axis={axis}"
                )
            w = broadcast_to(
                reshape(w, tuple(x.aval.shape[i] if i in axes else 1 for i in range(x.aval.ndim))), x.aval.shape
            )
        total = reduced(reduce_sum_p, w, axes, keepdims)
        result = elementwise.div(reduced(reduce_sum_p, elementwise.mul(x, w), axes, keepdims), total)
    return (result, broadcast_to(strong(total), result.aval.shape)) if returned else result


def freedom_of(name: str, count: Array, ddof: ArrayLike) -> Array:
    """The count minus `ddof`; nan if nothing is left, so that a division by it is nan."""
    dtype = count.aval.dtype
    if type(count) is ConcreteArray and count.aval.ndim == 0 and isinstance(ddof, (int, float)):
        left = float(count.value) - ddof
        return scalar_like(left if left > 0 else np.nan, dtype)
    freedom = elementwise.sub(count, convert_element_type(as_operand(ddof, name, "ddof"), dtype))
    return compare.select_p.bind(compare.gt(freedom, scalar_like(0, dtype)), freedom, scalar_like(np.nan, dtype))


@boundary
def var(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    *,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    correction: int | float | None = None,
) -> Array:
    """The variance over `axis`: the mean of |a - mean(a)|**2, divided by the count minus `ddof`.

    `correction` is another name of `ddof`; `mean`, if known already, must have the reduced axes with length
    1. The result is real; dtypes as for `mean`. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.var(pnp.array([1., 2., 3., 4.])))
    1.25
    """
    return _variance("var", a, axis, dtype, out, ddof, keepdims, where, mean, correction)


@boundary
def std(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    *,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    correction: int | float | None = None,
) -> Array:
    """The standard deviation over `axis`, the square root of `var`. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.std(pnp.array([1., 3.])))
    1.0
    """
    return _variance("std", a, axis, dtype, out, ddof, keepdims, where, mean, correction, rooted=True)


def _variance(name, a, axis, dtype, out, ddof, keepdims, where, mean, correction, rooted=False):
    refuse_out(name, out)
    if correction is not None:
        if ddof:
            raise ValueError(f"{name}: ddof and correction are two names of one argument, got {ddof} and {correction}")
        ddof = correction
    x = as_operand(a, name, 0)
    inexact = dtypes.to_inexact(x.aval.dtype, False)[0]
    if dtype is not None:
        dtype = dtypes.requested_dtype(dtype)
        if dtypes.is_complex(inexact) and not dtypes.is_complex(dtype):
            raise ValueError(f"{name}: the variance of complex numbers is computed in a complex dtype, got {dtype}")
        inexact = dtypes.to_inexact(dtype, False)[0]
    axes = axes_of(name, axis, x.aval.ndim)
    x = convert_element_type(x, accumulator(inexact))
    center = (
        mean_in(name, x, axes, True, where)
        if mean is None
        else cast(as_operand(mean, name, "mean"), x.aval.dtype, False)
    )
    distance = elementwise.sub(x, center)
    if where is not None:
        distance = masked(name, distance, where, 0)
    part = real_dtype(distance.aval.dtype)
    freedom = freedom_of(name, count_of(name, distance.aval.shape, axes, keepdims, where, part), ddof)
    if rooted:
        # as a length, whose derivative is 0 where all are equal
        y = elementwise.div(reduced(norm_p, distance, axes, keepdims), elementwise.sqrt(freedom))
    else:
        y = elementwise.div(reduced(reduce_sum_p, squared_size(distance), axes, keepdims), freedom)
    if dtype is not None:
        return convert_element_type(y, real_dtype(dtype))
    return convert_element_type(y, y.aval.dtype if dtypes.is_complex(inexact) else inexact)
