"""Reductions that leave out elements that are nan."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.primitive import Primitive
from pullback._core.typing import Axis, DTypeLike
from pullback._ops import arg_extremes, compare, elementwise, reduce
from pullback._ops.accumulate import accumulator
from pullback._ops.cumulative import cumprod_p, cumsum_p
from pullback._ops.families import scalar_like
from pullback._ops.lengths import norm_p, squared_size
from pullback._ops.shape import convert_element_type, reduce_sum_p
from pullback._ops.trig import real_dtype
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._reductions import cumulative as running
from pullback.numpy._reductions import moments, reductions
from pullback.numpy._reductions.moments import freedom_of
from pullback.numpy._reductions.reductions import axes_of, masked, reduced, refuse_out

__all__ = [
    "nansum",
    "nanprod",
    "nanmax",
    "nanmin",
    "nanargmax",
    "nanargmin",
    "nanmean",
    "nanvar",
    "nanstd",
    "nancumsum",
    "nancumprod",
]


def is_nan(x: Array) -> Array:
    """True where elements are nan: where they differ from themselves."""
    return compare.ne_p.bind(x, x)


def _without(x: Array, replacement: bool | int | float | complex | np.generic) -> Array:
    if not dtypes.is_inexact(x.aval.dtype):
        return x
    return compare.select_p.bind(is_nan(x), scalar_like(replacement, x.aval.dtype), x)


@boundary
def nansum(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """`sum` with nan counting as 0. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nansum(pnp.array([1., pnp.nan])))
    1.0
    """
    return reductions.summed(
        "nansum", _without(as_operand(a, "nansum", 0), 0), axis, dtype, out, keepdims, initial, where
    )


@boundary
def nanprod(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """`prod` with nan counting as 1. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nanprod(pnp.array([3., pnp.nan])))
    3.0
    """
    return reductions.multiplied(
        "nanprod", _without(as_operand(a, "nanprod", 0), 1), axis, dtype, out, keepdims, initial, where
    )


def _extreme(name, a, find, identity, axis, out, keepdims, initial, where):
    x = as_operand(a, name, 0)
    if not dtypes.is_inexact(x.aval.dtype):
        return find(name, x, axis, out, keepdims, initial, where)
    y = find(name, _without(x, identity(x.aval.dtype)), axis, out, keepdims, initial, where)
    # of nothing but nan, the result is nan
    nothing = is_nan(x) if where is None else masked(name, is_nan(x), where, True)
    if initial is not None:
        return y
    empty = reductions.all(nothing, axis, keepdims=keepdims)
    return compare.select_p.bind(empty, scalar_like(np.nan, y.aval.dtype), y)


@boundary
def nanmax(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """`max` of the elements that are not nan; nan if there are none. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nanmax(pnp.array([1., pnp.nan])))
    1.0
    """
    return _extreme("nanmax", a, reductions.largest, reduce.lowest, axis, out, keepdims, initial, where)


@boundary
def nanmin(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """`min` of the elements that are not nan; nan if there are none. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nanmin(pnp.array([1., pnp.nan])))
    1.0
    """
    return _extreme("nanmin", a, reductions.smallest, reduce.highest, axis, out, keepdims, initial, where)


def _position(
    name: str,
    p: Primitive,
    identity: Callable[[np.dtype], bool | int | float | complex | np.generic],
    a: ArrayLike,
    axis: int | None,
    out: None,
    keepdims: bool | None,
) -> Array:
    x = as_operand(a, name, 0)
    if not dtypes.is_inexact(x.aval.dtype):
        return reductions.arg_extreme(name, p, x, axis, out, keepdims)
    found = reductions.arg_extreme(name, p, _without(x, identity(x.aval.dtype)), axis, out, keepdims)
    empty = reductions.all(is_nan(x), axis, keepdims=bool(keepdims))
    return compare.select_p.bind(empty, scalar_like(-1, found.aval.dtype), found)


@boundary
def nanargmax(a: ArrayLike, axis: int | None = None, out: None = None, keepdims: bool | None = None) -> Array:
    """`argmax` among the elements that are not nan; -1 if there are none. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nanargmax(pnp.array([pnp.nan, 1., 2.])))
    2
    """
    return _position("nanargmax", arg_extremes.argmax_p, reduce.lowest, a, axis, out, keepdims)


@boundary
def nanargmin(a: ArrayLike, axis: int | None = None, out: None = None, keepdims: bool | None = None) -> Array:
    """`argmin` among the elements that are not nan; -1 if there are none. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nanargmin(pnp.array([pnp.nan, 1., 2.])))
    1
    """
    return _position("nanargmin", arg_extremes.argmin_p, reduce.highest, a, axis, out, keepdims)


def _present(name: str, x: Array, where: ArrayLike | None) -> Array:
    """The mask of the elements that count."""
    present = compare.not_p.bind(is_nan(x))
    return present if where is None else masked(name, present, where, False)


def _counted(present: Array, axes: tuple[int, ...], keepdims: bool, dtype: np.dtype) -> Array:
    return reduced(reduce_sum_p, convert_element_type(present, dtype), axes, keepdims)


def _kept(x: Array, present: Array) -> Array:
    return compare.select_p.bind(present, x, scalar_like(0, x.aval.dtype))


@boundary
def nanmean(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    keepdims: bool = False,
    where: ArrayLike | None = None,
) -> Array:
    """`mean` of the elements that are not nan; nan if there are none. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nanmean(pnp.array([1., pnp.nan, 3.])))
    2.0
    """
    refuse_out("nanmean", out)
    x = as_operand(a, "nanmean", 0)
    if not dtypes.is_inexact(x.aval.dtype):
        return moments.averaged("nanmean", x, axis, dtype, out, keepdims, where)
    target = x.aval.dtype if dtype is None else dtypes.requested_dtype(dtype)
    axes = axes_of("nanmean", axis, x.aval.ndim)
    x = convert_element_type(x, accumulator(dtypes.to_inexact(target, False)[0]))
    present = _present("nanmean", x, where)
    total = reduced(reduce_sum_p, _kept(x, present), axes, keepdims)
    return convert_element_type(elementwise.div(total, _counted(present, axes, keepdims, x.aval.dtype)), target)


def _variance(name, a, axis, dtype, out, ddof, keepdims, where, mean, rooted=False):
    refuse_out(name, out)
    x = as_operand(a, name, 0)
    target = dtypes.to_inexact(x.aval.dtype if dtype is None else dtypes.requested_dtype(dtype), False)[0]
    axes = axes_of(name, axis, x.aval.ndim)
    x = convert_element_type(x, accumulator(target))
    present = _present(name, x, where)
    if mean is None:
        center = elementwise.div(
            reduced(reduce_sum_p, _kept(x, present), axes, True), _counted(present, axes, True, x.aval.dtype)
        )
    else:
        center = convert_element_type(as_operand(mean, name, "mean"), x.aval.dtype)
    distance = _kept(elementwise.sub(x, center), present)
    freedom = freedom_of(name, _counted(present, axes, keepdims, real_dtype(distance.aval.dtype)), ddof)
    if rooted:
        # as a length, whose derivative is 0 where all are equal
        y = elementwise.div(reduced(norm_p, distance, axes, keepdims), elementwise.sqrt(freedom))
    else:
        y = elementwise.div(reduced(reduce_sum_p, squared_size(distance), axes, keepdims), freedom)
    return convert_element_type(y, real_dtype(target))


@boundary
def nanvar(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
) -> Array:
    """`var` of the elements that are not nan; nan if there are none. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nanvar(pnp.array([1., pnp.nan, 3.])))
    1.0
    """
    return _variance("nanvar", a, axis, dtype, out, ddof, keepdims, where, mean)


@boundary
def nanstd(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    ddof: int = 0,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
) -> Array:
    """`std` of the elements that are not nan; nan if there are none. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nanstd(pnp.array([1., pnp.nan, 3.])))
    1.0
    """
    return _variance("nanstd", a, axis, dtype, out, ddof, keepdims, where, mean, rooted=True)


@boundary
def nancumsum(a: ArrayLike, axis: int | None = None, dtype: DTypeLike | None = None, out: None = None) -> Array:
    """`cumsum` with nan counting as 0. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nancumsum(pnp.array([1., pnp.nan, 3.])))
    [1. 1. 4.]
    """
    return running.cumulated("nancumsum", cumsum_p, _without(as_operand(a, "nancumsum", 0), 0), axis, dtype, out)


@boundary
def nancumprod(a: ArrayLike, axis: int | None = None, dtype: DTypeLike | None = None, out: None = None) -> Array:
    """`cumprod` with nan counting as 1. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nancumprod(pnp.array([2., pnp.nan, 3.])))
    [2. 2. 6.]
    """
    return running.cumulated("nancumprod", cumprod_p, _without(as_operand(a, "nancumprod", 0), 1), axis, dtype, out)
