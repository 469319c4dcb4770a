"""Reductions over axes: sums, products, extremes, logic, means and variances.

`axis` is None (all axes), an int or a tuple of ints, negative ones counted from the end; `keepdims` leaves
reduced axes with length 1; `where`, a mask that broadcasts against the array, selects the elements that count.
Results are never weakly typed.
"""

from __future__ import annotations

import builtins
import math

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.primitive import Primitive
from pullback._core.types import kept_shape
from pullback._core.typing import Axis, DTypeLike
from pullback._ops import arg_extremes, compare, elementwise, reduce
from pullback._ops.families import scalar_like
from pullback._ops.shape import canonical_axes, convert_element_type, reduce_sum_p, reshape
from pullback.numpy._elementwise.logic import truth
from pullback.numpy._elementwise.promotion import as_operand, operand_for, strong

__all__ = ["sum", "prod", "max", "min", "amax", "amin", "any", "all", "count_nonzero", "ptp", "argmax", "argmin"]

_BOOL, _INT, _UINT = np.dtype(bool), np.dtype(int), np.dtype(np.uint64)


# --- shared by reductions; other modules of this layer use it too ---


def axes_of(name: str, axis: Axis, rank: int) -> tuple[int, ...]:
    """The axes that a user's `axis` means, as sorted non-negative ints."""
    if axis is None:
        return tuple(range(rank))
    if type(axis) is int and -rank <= axis < rank:
        return (axis % rank,)
    return tuple(sorted(canonical_axes(name, axis if isinstance(axis, (tuple, list, range)) else (axis,), rank)))


def one_axis(name: str, axis: Axis, rank: int) -> int:
    """The one axis that a user's `axis` means."""
    if axis is None or isinstance(axis, (tuple, list, range)):
        raise TypeError(f"{name}: axis must be an int, got {axis!r}")
    return axes_of(name, axis, rank)[0]


def refuse_out(name: str, out: None) -> None:
    """Refuse `out`: arrays are never modified."""
    if out is not None:
        raise NotImplementedError(f"{name}: the argument 'out' is not supported, arrays are immutable: use the result")


def summed_dtype(dtype: np.dtype, promote_integers: bool = True) -> np.dtype:
    """The dtype of sums and products: bools count, and integers get the width of the default integer."""
    if dtype == _BOOL:
        return dtypes.canonicalize_dtype(_INT)
    if promote_integers and dtypes.is_integer(dtype):
        wide = dtypes.canonicalize_dtype(_UINT if dtypes.iinfo(dtype).min == 0 else _INT)
        return wide if wide.itemsize > dtype.itemsize else dtype
    return dtype


def masked(name: str, x: Array, where: ArrayLike, otherwise: bool | int | float | complex | np.generic) -> Array:
    """`x` with the elements that the mask excludes replaced by a scalar."""
    mask = as_operand(where, name, "where")
    if mask.aval.dtype != _BOOL:
        raise TypeError(f"{name}: where must be a mask of bools, got {mask.aval.str_short()}")
    return compare.select_p.bind(mask, x, scalar_like(otherwise, x.aval.dtype))


def reduced(p: Primitive, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """`x` reduced by a primitive over some axes, which stay with length 1 if asked."""
    shape = x.aval.shape
    y = p.bind(x, axes=axes)
    if keepdims:
        y = reshape(y, kept_shape(shape, axes))
    return convert_element_type(y, y.aval.dtype) if y.aval.weak_type else y


def summed(
    name: str,
    a: ArrayLike,
    axis: Axis,
    dtype: DTypeLike | None = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    promote_integers: bool = True,
) -> Array:
    """`sum` for the function `name`, which errors are to name."""
    return _numeric(
        name, a, reduce_sum_p, axis, dtype, out, keepdims, initial, where, promote_integers, 0, elementwise.add
    )


def multiplied(
    name: str,
    a: ArrayLike,
    axis: Axis,
    dtype: DTypeLike | None,
    out: None,
    keepdims: bool,
    initial: ArrayLike | None,
    where: ArrayLike | None,
    promote_integers: bool = True,
) -> Array:
    """`prod` for the function `name`."""
    return _numeric(
        name, a, reduce.reduce_prod_p, axis, dtype, out, keepdims, initial, where, promote_integers, 1, elementwise.mul
    )


def _numeric(name, a, p, axis, dtype, out, keepdims, initial, where, promote_integers, identity, combine):
    refuse_out(name, out)
    x = as_operand(a, name, 0)
    aval = x.aval
    target = summed_dtype(aval.dtype, promote_integers) if dtype is None else dtypes.requested_dtype(dtype)
    if target != aval.dtype:
        x = convert_element_type(x, target)
    if target == _BOOL:
        p = reduce.reduce_and_p if identity else reduce.reduce_or_p
    if where is not None:
        x = masked(name, x, where, identity)
    y = reduced(p, x, axes_of(name, axis, x.aval.ndim), keepdims)
    if initial is not None:
        y = combine(y, _initial(name, initial, y.aval.dtype))
    return y


def _initial(name, initial, dtype):
    value = operand_for(initial, name, "initial", dtype)
    if value.aval.ndim:
        raise ValueError(f"{name}: initial must be a scalar, got shape {value.shape}")
    return convert_element_type(value, dtype)


# --- sum, prod ---


@boundary
def sum(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    promote_integers: bool = True,
) -> Array:
    """The sum over `axis`.

    Bools are counted, and integers are summed in the default integer type unless `promote_integers` is False.
    TypeError for anything but an array; ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.sum(pnp.array([[1., 2.], [3., 4.]]), axis=0)
    Array([4., 6.], dtype=float32)
    """
    return summed("sum", a, axis, dtype, out, keepdims, initial, where, promote_integers)


@boundary
def prod(
    a: ArrayLike,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    promote_integers: bool = True,
) -> Array:
    """The product over `axis`; dtypes as for `sum`. Its derivatives are right where elements are zero.

    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.prod(pnp.array([2., 3., 4.])))
    24.0
    """
    return multiplied("prod", a, axis, dtype, out, keepdims, initial, where, promote_integers)


# --- max, min ---


def largest(
    name: str,
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """`max` for the function `name`."""
    return _extreme(name, a, reduce.reduce_max_p, axis, out, keepdims, initial, where, reduce.lowest, elementwise.max)


def smallest(
    name: str,
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """`min` for the function `name`."""
    return _extreme(name, a, reduce.reduce_min_p, axis, out, keepdims, initial, where, reduce.highest, elementwise.min)


def _extreme(name, a, p, axis, out, keepdims, initial, where, identity, combine):
    refuse_out(name, out)
    x = as_operand(a, name, 0)
    axes = axes_of(name, axis, x.aval.ndim)
    if initial is None:
        if where is not None:
            raise ValueError(f"{name}: with where, give initial: what the result is where no element takes part")
        if builtins.any(x.aval.shape[i] == 0 for i in axes):
            raise ValueError(
                f"{name}: axis {axis} of shape {x.shape} has no elements, so there is none to return; give initial"
            )
    if where is not None:
        x = masked(name, x, where, identity(x.aval.dtype))
    y = reduced(p, x, axes, keepdims)
    return y if initial is None else combine(y, _initial(name, initial, y.aval.dtype))


@boundary
def max(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """The largest element over `axis`, nan if there is one. If several are largest, they share the
    derivative.

    ValueError if there are no elements and no `initial`, or if there is `where` and no `initial`.

    >>> import pullback.numpy as pnp
    >>> pnp.max(pnp.array([[1, 5], [7, 2]]), axis=1)
    Array([5, 7], dtype=int32)
    """
    return largest("max", a, axis, out, keepdims, initial, where)


@boundary
def min(
    a: ArrayLike,
    axis: Axis = None,
    out: None = None,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Array:
    """The smallest element over `axis`, nan if there is one; see `max`. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.min(pnp.array([[1, 5], [7, 2]]), axis=1)
    Array([1, 2], dtype=int32)
    """
    return smallest("min", a, axis, out, keepdims, initial, where)


amax = max
amin = min


@boundary
def ptp(a: ArrayLike, axis: Axis = None, out: None = None, keepdims: bool = False) -> Array:
    """The largest element minus the smallest ("peak to peak"), over `axis`.

    ValueError for an axis out of bounds, or if there are no elements.

    >>> import pullback.numpy as pnp
    >>> print(pnp.ptp(pnp.array([3, 9, 4])))
    6
    """
    x = as_operand(a, "ptp", 0)
    return elementwise.sub(*(f("ptp", x, axis, out, keepdims) for f in (largest, smallest)))


# --- logic ---


def _logical(name, a, p, axis, out, keepdims, where, identity):
    refuse_out(name, out)
    x = strong(truth(as_operand(a, name, 0)))
    if where is not None:
        x = masked(name, x, where, identity)
    return reduced(p, x, axes_of(name, axis, x.aval.ndim), keepdims)


@boundary
def any(
    a: ArrayLike, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: ArrayLike | None = None
) -> Array:
    """True if an element over `axis` is true, that is, not zero. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.any(pnp.array([0, 0, 3])))
    True
    """
    return _logical("any", a, reduce.reduce_or_p, axis, out, keepdims, where, False)


@boundary
def all(
    a: ArrayLike, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: ArrayLike | None = None
) -> Array:
    """True if all elements over `axis` are true, that is, not zero. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.all(pnp.array([0, 0, 3])))
    False
    """
    return _logical("all", a, reduce.reduce_and_p, axis, out, keepdims, where, True)


@boundary
def count_nonzero(a: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Array:
    """The number of elements over `axis` that differ from zero, an int32. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.count_nonzero(pnp.array([0, 1, 2])))
    2
    """
    return summed("count_nonzero", truth(as_operand(a, "count_nonzero", 0)), axis, keepdims=keepdims)


# --- argmax, argmin ---


def arg_extreme(name: str, p: Primitive, a: ArrayLike, axis: int | None, out: None, keepdims: bool | None) -> Array:
    """The position of an extreme element, in the flattened array where `axis` is None."""
    refuse_out(name, out)
    x = as_operand(a, name, 0)
    shape = x.aval.shape
    if axis is None:
        kept = (1,) * len(shape)
        x, position = reshape(x, (math.prod(shape),)), 0
    else:
        position = one_axis(name, axis, len(shape))
        kept = kept_shape(shape, (position,))
    if x.aval.shape[position] == 0:
        raise ValueError(f"{name}: there is no element to point at along axis {axis} of shape {shape}")
    y = p.bind(x, axes=(position,), index_dtype=dtypes.canonicalize_dtype(_INT))
    return reshape(y, kept) if keepdims else y


@boundary
def argmax(a: ArrayLike, axis: int | None = None, out: None = None, keepdims: bool | None = None) -> Array:
    """The index of the first of the largest elements along `axis`, an int32; nan counts as the largest.

    Without `axis`, the index in the flattened array. ValueError if there are no elements.

    >>> import pullback.numpy as pnp
    >>> print(pnp.argmax(pnp.array([1., 7., 7.])))
    1
    """
    return arg_extreme("argmax", arg_extremes.argmax_p, a, axis, out, keepdims)


@boundary
def argmin(a: ArrayLike, axis: int | None = None, out: None = None, keepdims: bool | None = None) -> Array:
    """The index of the first of the smallest elements along `axis`, an int32; nan counts as the smallest.

    Without `axis`, the index in the flattened array. ValueError if there are no elements.

    >>> import pullback.numpy as pnp
    >>> print(pnp.argmin(pnp.array([4., 1., 1.])))
    1
    """
    return arg_extreme("argmin", arg_extremes.argmin_p, a, axis, out, keepdims)
