"""Arrays as sets: membership, union, intersection, differences. Elements are compared by ==, so nan is in no set;
but of several nans in one array a result holds one."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np

from pullback._api.extended_arrays import searches
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops import compare
from pullback._ops.assemble import broadcasted_iota, concatenate
from pullback._ops.elementwise import min as minimum
from pullback._ops.families import scalar_like
from pullback._ops.shape import convert_element_type, full, reshape
from pullback._ops.slicing import slice_in_dim
from pullback._ops.sort import along_axis, argsort_of, searchsorted
from pullback.numpy._elementwise.promotion import ANY, as_operand, cast, common_dtype, operand_for, strong
from pullback.numpy._searching.counting import equal_elements, unique_for
from pullback.numpy._searching.nonzero import true_positions

__all__ = ["intersect1d", "isin", "setdiff1d", "setxor1d", "union1d"]

_METHODS = ("auto", "binary_search", "compare_all", "sort")
_INDEX = np.dtype(np.int32)


def _two(name: str, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array, tuple[int, ...]]:
    """Two arrays as vectors of one dtype, and the shape of the first."""
    if type(x) is int and isinstance(y, Array):
        x = operand_for(x, name, 0, y.aval.dtype)
    x = as_operand(x, name, 0)
    y = operand_for(y, name, 1, x.aval.dtype)
    dtype, weak = common_dtype(name, ANY, [x.aval, y.aval])
    return (reshape(cast(x, dtype, weak), (x.aval.size,)), reshape(cast(y, dtype, weak), (y.aval.size,)), x.aval.shape)


def _sorted(x: Array) -> tuple[Array, Array]:
    """The elements in ascending order, and where they came from."""
    order = argsort_of(x, 0)
    return along_axis(x, order, 0), order


def _places(ordered: Array, x: Array) -> Array:
    """The index of each of `x` in a sorted nonempty vector, if it occurs there."""
    found = searchsorted(ordered, x, "left")
    return minimum(found, scalar_like(ordered.aval.size - 1, found.aval.dtype))


def _member(x: Array, ordered: Array) -> Array:
    """True for elements that are in a sorted vector."""
    if ordered.aval.size == 0:
        return full(x.aval.shape, False, np.dtype(bool))
    return compare.eq_p.bind(along_axis(ordered, _places(ordered, x), 0), x)


def _first(ordered: Array) -> Array:
    """True for elements of a sorted vector that differ from the previous one, and for the first nan."""
    n = ordered.aval.size
    if n == 0:
        return full((0,), True, np.dtype(bool))
    same = equal_elements(slice_in_dim(ordered, 1, n), slice_in_dim(ordered, 0, n - 1), True)
    return concatenate([full((1,), True, np.dtype(bool)), compare.not_p.bind(same)], 0)


def _chosen(name: str, mask: Array, size: int | None, parts: list[tuple[Array, Any]]) -> list[Array]:
    """The marked elements of vectors, cut off or filled up to `size` with a number for each; None: the first one."""
    if mask.aval.size == 0:
        return [full((size or 0,), 0 if fill is None else fill, x.aval.dtype) for x, fill in parts]
    at, count = true_positions(name, mask, size)
    if size is None:
        return [along_axis(x, at, 0) for x, _ in parts]
    valid = compare.lt_p.bind(broadcasted_iota(_INDEX, (at.aval.size,), 0), convert_element_type(count, _INDEX))
    first = slice_in_dim(true_positions(name, mask, 1)[0], 0, 1)
    out = []
    for x, fill in parts:
        rest = along_axis(x, first, 0) if fill is None else full((1,), fill, x.aval.dtype)
        out.append(compare.select(valid, along_axis(x, at, 0), rest))
    return out


@searches
def isin(
    element: ArrayLike,
    test_elements: ArrayLike,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    method: str = "auto",
) -> Array:
    """True where elements are among the test elements (with `invert`, where they are not), in the shape of `element`.

    `assume_unique` and `method` ("auto", "binary_search", "compare_all" or "sort") are accepted for compatibility: the
    search is always binary. TypeError for anything but an array, ValueError for another method.

    >>> import pullback.numpy as pnp
    >>> print(pnp.isin(pnp.array([[1, 2], [3, 4]]), pnp.array([4, 1])))
    [[ True False]
     [False  True]]
    """
    if method not in _METHODS:
        raise ValueError(f"isin: method must be one of {', '.join(map(repr, _METHODS))}, got {method!r}")
    x, tests, shape = _two("isin", element, test_elements)
    found = strong(reshape(_member(x, _sorted(tests)[0]), shape))
    return compare.not_p.bind(found) if invert else found


@boundary
def union1d(ar1: ArrayLike, ar2: ArrayLike, *, size: int | None = None, fill_value: ArrayLike | None = None) -> Array:
    """The distinct elements of both arrays, sorted.

    With `size`, a result of that length, cut off or filled up with `fill_value` (the smallest element by default):
    needed under jit, where data is not known. TypeError for anything but an array.

    >>> import pullback.numpy as pnp
    >>> print(pnp.union1d(pnp.array([3, 1]), pnp.array([2, 3])))
    [1 2 3]
    """
    x, y, _ = _two("union1d", ar1, ar2)
    return unique_for("union1d", concatenate([x, y], 0), equal_nan=True, size=size, fill_value=fill_value)


@overload
def intersect1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    return_indices: Literal[False] = False,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Array: ...
@overload
def intersect1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    *,
    return_indices: Literal[True],
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> tuple[Array, Array, Array]: ...
@overload
def intersect1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Any: ...
@boundary
def intersect1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Any:
    """The distinct elements that both arrays have, sorted; with `return_indices` also where each first occurs in both.

    `size` and `fill_value` as for `union1d`; indices are filled up with the lengths of the arrays. `assume_unique` is
    accepted for compatibility. TypeError for anything but an array.

    >>> import pullback.numpy as pnp
    >>> print(pnp.intersect1d(pnp.array([3, 1, 1]), pnp.array([1, 3, 4])))
    [1 3]
    """
    x, y, _ = _two("intersect1d", ar1, ar2)
    (x, from_x), (y, from_y) = _sorted(x), _sorted(y)
    mask = compare.and_p.bind(_first(x), _member(x, y))
    parts: list[tuple[Array, Any]] = [(x, fill_value)]
    if return_indices:
        in_y = along_axis(from_y, _places(y, x), 0) if y.aval.size else full(x.aval.shape, 0, _INDEX)
        parts += [(from_x, x.aval.size), (in_y, y.aval.size)]
    chosen = _chosen("intersect1d", mask, size, parts)
    return tuple(chosen) if return_indices else chosen[0]


@boundary
def setdiff1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Array:
    """The distinct elements of `ar1` that `ar2` does not have, sorted; with `assume_unique` in the order of `ar1`.

    The dtype is that of `ar1`. `size` as for `union1d`; `fill_value` is 0 by default. TypeError for anything but an
    array.

    >>> import pullback.numpy as pnp
    >>> print(pnp.setdiff1d(pnp.array([3, 1, 2, 3]), pnp.array([2])))
    [1 3]
    """
    x = as_operand(ar1, "setdiff1d", 0)
    x = reshape(x, (x.aval.size,))
    if not assume_unique:
        x = _sorted(x)[0]
    promoted, y, _ = _two("setdiff1d", x, ar2)
    mask = compare.not_p.bind(_member(promoted, _sorted(y)[0]))
    if not assume_unique:
        mask = compare.and_p.bind(mask, _first(x))
    return _chosen("setdiff1d", mask, size, [(x, 0 if fill_value is None else fill_value)])[0]


@boundary
def setxor1d(
    ar1: ArrayLike,
    ar2: ArrayLike,
    assume_unique: bool = False,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Array:
    """The distinct elements that one of the arrays has and the other has not, sorted.

    `size` and `fill_value` as for `union1d`. `assume_unique` is accepted for compatibility. TypeError for anything but
    an array.

    >>> import pullback.numpy as pnp
    >>> print(pnp.setxor1d(pnp.array([3, 1]), pnp.array([1, 4])))
    [3 4]
    """
    x, y, _ = _two("setxor1d", ar1, ar2)
    x, y = _sorted(x)[0], _sorted(y)[0]
    either, order = _sorted(concatenate([x, y], 0))
    alone = [compare.and_p.bind(_first(a), compare.not_p.bind(_member(a, b))) for a, b in ((x, y), (y, x))]
    return _chosen("setxor1d", along_axis(concatenate(alone, 0), order, 0), size, [(either, fill_value)])[0]
