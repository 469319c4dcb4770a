"""Distinct elements, and how often each integer occurs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.types import canonical_dimension
from pullback._core.typing import Placement
from pullback._ops import compare, elementwise, reduce
from pullback._ops.assemble import broadcasted_iota, concatenate
from pullback._ops.cumulative import cumsum_p
from pullback._ops.families import scalar_like
from pullback._ops.gather_numpy import ScatterDimensionNumbers
from pullback._ops.scatter_functions import scatter_add
from pullback._ops.shape import convert_element_type, full, move_axis, reshape, shape_of
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.slicing import index_in_dim, slice_in_dim
from pullback._ops.sort import along_axis, argsort_of, sort_p
from pullback.numpy._elementwise.promotion import as_operand, operand_for
from pullback.numpy._reductions.reductions import largest, one_axis
from pullback.numpy._searching.nonzero import static_count, true_positions

__all__ = [
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "bincount",
]

_INDEX = np.dtype(np.int32)


# --- unique ---


def equal_elements(a: Array, b: Array, equal_nan: bool) -> Array:
    """`a == b`; with `equal_nan` also where both are nan."""
    equal = compare.eq_p.bind(a, b)
    if equal_nan and dtypes.is_inexact(a.aval.dtype):
        both = compare.and_p.bind(compare.ne_p.bind(a, a), compare.ne_p.bind(b, b))
        equal = compare.or_p.bind(equal, both)
    return equal


def _take(x: Array, rows: Array) -> Array:
    """Rows of a matrix, or elements of a vector."""
    if x.aval.ndim == 1:
        return along_axis(x, rows, 0)
    k, m = rows.aval.size, x.aval.shape[1]
    return along_axis(x, elementwise.add(reshape(rows, (k, 1)), full((1, m), 0, _INDEX)), 0)


@boundary
def unique(
    ar: ArrayLike,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
    sorted: bool = True,
) -> Any:
    """The distinct elements of `ar`, sorted; or, with `axis`, its distinct slices along it.

    On request also, in this order, as int32: where each first occurs, which of them each element is (in the
    shape of `ar`), and how often each occurs. With `size`, results of that length, cut off or filled up with
    `fill_value` (the smallest element by default): needed under jit, where data is not known.
    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.unique(pnp.array([3, 1, 3])))
    [1 3]
    """
    return unique_for("unique", ar, return_index, return_inverse, return_counts, axis, equal_nan, size, fill_value)


def unique_for(
    name: str,
    ar: ArrayLike,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    equal_nan: bool = False,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Any:
    """`unique` for the function `name`, which errors are to name."""
    x = as_operand(ar, name, 0)
    shape = x.aval.shape
    if axis is None:
        rows = reshape(x, (x.aval.size,))
        rest: tuple[int, ...] = ()
        inverse_shape = shape
    else:
        axis = one_axis(name, axis, len(shape))
        moved = move_axis(x, axis, 0)
        rest = moved.aval.shape[1:]
        rows = reshape(moved, (shape[axis], math.prod(rest)))
        inverse_shape = (shape[axis],)
    if axis is None and rows.aval.size and not (return_index or return_inverse or return_counts):
        return _distinct_values(name, rows, equal_nan, size, fill_value)
    found = _distinct(name, rows, equal_nan, size, fill_value)
    values = found.values
    if axis is not None:
        values = move_axis(reshape(values, (values.aval.shape[0], *rest)), 0, axis)
    index = dtypes.canonicalize_dtype(int)
    extra = [
        convert_element_type(part, index)
        for part, wanted in (
            (found.positions, return_index),
            (reshape(found.inverse, inverse_shape), return_inverse),
            (found.counts, return_counts),
        )
        if wanted
    ]
    return (values, *extra) if extra else values


class _Distinct(NamedTuple):
    values: Array
    positions: Array
    inverse: Array
    counts: Array


def _distinct_values(name: str, x: Array, equal_nan: bool, size: int | None, fill_value: ArrayLike | None) -> Array:
    """The distinct elements of a vector alone: a sort of them needs no positions, and has 3 times the speed."""
    (ordered,) = sort_p.bind(x, dimension=0, is_stable=True, num_keys=1)
    return _run_values(name, ordered, equal_nan, size, fill_value)[2]


def _run_values(
    name: str, ordered: Array, equal_nan: bool, size: int | None, fill_value: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Of sorted elements or rows: which are the first of equal ones, where these are, and their values, filled up."""
    n = ordered.aval.shape[0]
    same = equal_elements(slice_in_dim(ordered, 1, n), slice_in_dim(ordered, 0, n - 1), equal_nan)
    if ordered.aval.ndim == 2:
        same = reduce.reduce_and_p.bind(same, axes=(1,))
    begins = concatenate([full((1,), True, np.dtype(bool)), compare.not_p.bind(same)], 0)
    starts, count = true_positions(name, begins, size)
    size = starts.aval.size
    values = _take(ordered, starts)
    if fill_value is not None:
        k = broadcasted_iota(_INDEX, (size,), 0)
        valid = compare.lt_p.bind(k, convert_element_type(count, _INDEX))
        mask = reshape(valid, (size, *(1,) * (values.aval.ndim - 1)))
        fill = convert_element_type(operand_for(fill_value, name, 1, values.aval.dtype), values.aval.dtype)
        values = compare.select(mask, values, fill)
    return begins, starts, values


def _distinct(name: str, rows: Array, equal_nan: bool, size: int | None, fill_value: ArrayLike | None) -> _Distinct:
    n = rows.aval.shape[0]
    if n == 0:
        size = 0 if size is None else shape_of(name, (size,))[0]
        if size and fill_value is None:
            raise ValueError(f"{name}: an empty array has no element to fill up to size with; give fill_value")
        values = full((size, *rows.aval.shape[1:]), 0 if fill_value is None else fill_value, rows.aval.dtype)
        return _Distinct(values, *(full((k,), 0, _INDEX) for k in (size, 0, size)))
    if rows.aval.ndim == 1:
        order = argsort_of(rows, 0)
    else:
        columns = [index_in_dim(rows, j, 1, keepdims=False) for j in range(rows.aval.shape[1])]
        order = (
            sort_p.bind(
                *columns, broadcasted_iota(_INDEX, (n,), 0), dimension=0, is_stable=True, num_keys=len(columns)
            )[-1]
            if columns
            else broadcasted_iota(_INDEX, (n,), 0)
        )
    begins, starts, values = _run_values(name, _take(rows, order), equal_nan, size, fill_value)
    size = starts.aval.size
    # the index of the distinct element at each sorted position, brought back to the original order
    group = elementwise.sub(
        cumsum_p.bind(convert_element_type(begins, _INDEX), axis=0, reverse=False), scalar_like(1, _INDEX)
    )
    inverse = along_axis(group, argsort_of(order, 0), 0)
    return _Distinct(values, along_axis(order, starts, 0), inverse, count_into(group, size, _INDEX))


def count_into(places: Array, size: int, dtype: np.dtype, weights: Array | None = None) -> Array:
    """The number (or the sum of the weights) of the entries equal to each number below `size`; others are ignored."""
    n = places.aval.size
    given = full((n,), 1, dtype) if weights is None else weights
    return scatter_add(
        full((size,), 0, dtype), reshape(places, (n, 1)), given, ScatterDimensionNumbers((), (0,), (0,)), mode="drop"
    )


class UniqueAll(NamedTuple):
    """The result of `unique_all`."""

    values: Array
    indices: Array
    inverse_indices: Array
    counts: Array


class UniqueCounts(NamedTuple):
    """The result of `unique_counts`."""

    values: Array
    counts: Array


class UniqueInverse(NamedTuple):
    """The result of `unique_inverse`."""

    values: Array
    inverse_indices: Array


@boundary
def unique_all(x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None) -> UniqueAll:
    """The distinct elements with first positions, inverse and counts; nan differs from itself. See `unique`.

    Errors as there.

    >>> import pullback.numpy as pnp
    >>> print(pnp.unique_all(pnp.array([3, 1, 3])).counts)
    [1 2]
    """
    return UniqueAll(*unique_for("unique_all", x, True, True, True, size=size, fill_value=fill_value))


@boundary
def unique_counts(x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None) -> UniqueCounts:
    """The distinct elements and how often each occurs; nan differs from itself. See `unique`. Errors as there.

    >>> import pullback.numpy as pnp
    >>> print(pnp.unique_counts(pnp.array([3, 1, 3])).values)
    [1 3]
    """
    return UniqueCounts(*unique_for("unique_counts", x, return_counts=True, size=size, fill_value=fill_value))


@boundary
def unique_inverse(x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None) -> UniqueInverse:
    """The distinct elements and which of them each element is; nan differs from itself. See `unique`. Errors as there.

    >>> import pullback.numpy as pnp
    >>> print(pnp.unique_inverse(pnp.array([3, 1, 3])).inverse_indices)
    [1 0 1]
    """
    return UniqueInverse(*unique_for("unique_inverse", x, return_inverse=True, size=size, fill_value=fill_value))


@boundary
def unique_values(x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None) -> Array:
    """The distinct elements; nan differs from itself. See `unique`. Errors as there.

    >>> import pullback.numpy as pnp
    >>> print(pnp.unique_values(pnp.array([3, 1, 3])))
    [1 3]
    """
    return unique_for("unique_values", x, size=size, fill_value=fill_value)


# --- bins ---


@boundary
def bincount(
    x: ArrayLike,
    weights: ArrayLike | None = None,
    minlength: int = 0,
    *,
    length: int | None = None,
    out_sharding: Placement = None,
) -> Array:
    """The number of occurrences of each of 0, 1, 2, ... in a vector of integers (int32), or the sum of their `weights`.

    The result is as long as the largest element needs, at least `minlength`, or of the given `length`, which
    is needed under jit. Negative elements count as 0, and those beyond `length` are ignored. `out_sharding` is where
    the result is to be, as in `pullback.reshard`. TypeError for anything but a vector of integers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.bincount(pnp.array([1, 1, 3])))
    [0 2 0 1]
    """
    values = as_operand(x, "bincount", 0)
    if not dtypes.is_integer(values.aval.dtype) or values.aval.ndim != 1:
        raise TypeError(f"bincount: expected a vector of integers, got {values.aval.str_short()}")
    minlength = canonical_dimension(minlength)
    if values.aval.dtype.itemsize < 4:
        values = convert_element_type(values, _INDEX)  # a narrow dtype might not hold the largest plus one
    if length is None:
        least = -1 if dtypes.iinfo(values.aval.dtype).min else 0
        top = (
            elementwise.add(largest("bincount", values, initial=least), scalar_like(1, values.aval.dtype))
            if (values.aval.size)
            else scalar_like(0, _INDEX)
        )
        length = max(minlength, _length(top))
    else:
        length = max(minlength, canonical_dimension(length))
    values = elementwise.max(values, scalar_like(0, values.aval.dtype))
    if weights is None:
        return laid_out("bincount", count_into(values, length, dtypes.canonicalize_dtype(int)), out_sharding)
    w = as_operand(weights, "bincount", 1)
    if w.aval.shape != values.aval.shape:
        raise ValueError(f"bincount: weights must have the shape of x, {values.shape}, got {w.shape}")
    counts = count_into(values, length, w.aval.dtype, convert_element_type(w, w.aval.dtype))
    return laid_out("bincount", counts, out_sharding)


def _length(top: Array) -> int:
    try:
        return static_count("bincount", top)
    except TypeError as error:
        raise type(error)(
            str(error).replace(
                "size=n) keeps the first n results, and fills up with fill_value if there are fewer",
                "length=n) counts what is below n",
            )
        ) from None
