"""Sorting, partial sorting and binary search. nan is sorted to the end; sorts are stable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import DTypeLike
from pullback._ops import compare
from pullback._ops import sort as sort_ops
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.elementwise import sub
from pullback._ops.families import scalar_like
from pullback._ops.shape import convert_element_type, full, reshape
from pullback._ops.slicing import index_in_dim, rev
from pullback._ops.sort import along_axis, argsort_of, sort_p
from pullback.numpy._elementwise.promotion import as_operand, cast, integer, operand_for
from pullback.numpy._reductions.reductions import one_axis

__all__ = ["sort", "sort_complex", "argsort", "lexsort", "partition", "argpartition", "searchsorted", "digitize"]

_INDEX = np.dtype(np.int32)


def _operand(name: str, a: ArrayLike, axis: int | None, kind: None, order: None) -> tuple[Array, int]:
    if kind is not None or order is not None:
        # a TypeError: NumPy's own functions then sort the data themselves
        which = "kind" if kind is not None else "order"
        raise TypeError(f"{name}: {which!r} argument to {name} is not supported: use stable=True or stable=False")
    x = as_operand(a, name, 0)
    if axis is None:
        return reshape(x, (x.aval.size,)), 0
    return x, one_axis(name, axis, x.aval.ndim)


@boundary
def sort(
    a: ArrayLike,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
) -> Array:
    """`a` sorted along an axis, or flattened and sorted where `axis` is None.

    nan comes last, or first if `descending`. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.sort(pnp.array([3, 1, 2])))
    [1 2 3]
    """
    x, axis = _operand("sort", a, axis, kind, order)
    (y,) = sort_p.bind(x, dimension=axis, is_stable=bool(stable), num_keys=1)
    return rev(y, (axis,)) if descending else y


@boundary
def sort_complex(a: ArrayLike) -> Array:
    """`a` sorted along its last axis, as complex numbers: by real part, then by imaginary part.

    ValueError for a number without axes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.sort_complex(pnp.array([2, 1])))
    [1.+0.j 2.+0.j]
    """
    x = as_operand(a, "sort_complex", 0)
    if not x.aval.ndim:
        raise ValueError(f"sort_complex: expected an array with an axis, got {x.aval.str_short()}")
    dtype = dtypes.promote((x.aval.dtype, x.aval.weak_type), (np.dtype(np.complex64), True))[0]
    return convert_element_type(sort(x), dtype)


@boundary
def argsort(
    a: ArrayLike,
    axis: int | None = -1,
    *,
    kind: None = None,
    order: None = None,
    stable: bool = True,
    descending: bool = False,
    dtype: DTypeLike | None = None,
) -> Array:
    """The positions along an axis, int32, that sort `a`: `take_along_axis(a, argsort(a), -1)` is sorted.

    Equal elements keep their order, also if `descending`. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.argsort(pnp.array([3, 1, 2])))
    [1 2 0]
    """
    x, axis = _operand("argsort", a, axis, kind, order)
    if descending:
        # both reversed, so that equal elements keep their order
        positions = rev(broadcasted_iota(_INDEX, x.aval.shape, axis), (axis,))
        found = rev(
            sort_p.bind(rev(x, (axis,)), positions, dimension=axis, is_stable=bool(stable), num_keys=1)[1], (axis,)
        )
    else:
        found = argsort_of(x, axis, bool(stable))
    return convert_element_type(found, dtypes.requested_dtype(dtype, int))


@boundary
def lexsort(keys: Sequence[ArrayLike] | Array | np.ndarray, axis: int = -1) -> Array:
    """The positions, int32, that sort by the last key, where it is equal by the last but one, and so on.

    `keys` is a sequence of arrays of one shape, or an array of which the rows are the keys. TypeError for no keys.

    >>> import pullback.numpy as pnp
    >>> print(pnp.lexsort((pnp.array([2, 1, 3]), pnp.array([1, 1, 0]))))
    [2 1 0]
    """
    if isinstance(keys, (Array, np.ndarray)):
        table = as_operand(keys, "lexsort", 0)
        given: Sequence[Any] = [index_in_dim(table, i, 0, keepdims=False) for i in range(len(table))]
    else:
        given = list(keys)
    if not given:
        raise TypeError("lexsort: expected at least one key, got none")
    arrays = [as_operand(k, "lexsort", i) for i, k in enumerate(given)]
    shape = arrays[0].aval.shape
    if any(k.aval.shape != shape for k in arrays):
        raise ValueError(f"lexsort: keys must have one shape, got {', '.join(str(k.shape) for k in arrays)}")
    if not shape:
        return full((), 0, dtypes.canonicalize_dtype(int))
    axis = one_axis("lexsort", axis, len(shape))
    return sort_p.bind(
        *reversed(arrays),
        broadcasted_iota(dtypes.canonicalize_dtype(int), shape, axis),
        dimension=axis,
        is_stable=True,
        num_keys=len(arrays),
    )[-1]


def _check_kth(name: str, kth: int, n: int) -> None:
    if not -n <= integer(name, "kth", kth) < n:
        raise ValueError(f"{name}: kth={kth} is out of bounds for an axis of length {n}")


@boundary
def partition(a: ArrayLike, kth: int, axis: int = -1) -> Array:
    """`a` reordered along an axis so that element `kth` is at its sorted index, smaller ones before, larger
    after.

    All elements are in fact sorted, as a partial sort is no faster when compiled. ValueError for `kth` out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.partition(pnp.array([3, 1, 2]), 1)[1])
    2
    """
    x, axis = _operand("partition", a, axis, None, None)
    _check_kth("partition", kth, x.aval.shape[axis])
    return sort_p.bind(x, dimension=axis, is_stable=True, num_keys=1)[0]


@boundary
def argpartition(a: ArrayLike, kth: int, axis: int = -1) -> Array:
    """The indices, int32, that `partition` a along an axis. ValueError for `kth` out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.argpartition(pnp.array([3, 1, 2]), 1)[1])
    2
    """
    x, axis = _operand("argpartition", a, axis, None, None)
    _check_kth("argpartition", kth, x.aval.shape[axis])
    return argsort_of(x, axis)


@boundary
def searchsorted(
    a: ArrayLike, v: ArrayLike, side: str = "left", sorter: ArrayLike | None = None, *, method: str = "scan"
) -> Array:
    """The indices at which the values `v` can be inserted into the sorted vector `a` to keep it sorted, of the shape of
    `v`.

    They are int32, or int64 for an array too long for that, which needs the option enable_x64.

    Before equal elements if `side` is "left", after them if "right". `sorter` holds positions that sort `a`,
    if it is not sorted. `method` is accepted for compatibility: the search is always binary.
    ValueError for an `a` that is no vector.

    >>> import pullback.numpy as pnp
    >>> print(pnp.searchsorted(pnp.array([1., 2., 3.]), 2.5))
    2
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    if method not in ("scan", "scan_unrolled", "sort", "compare_all", "default"):
        raise ValueError(
            f"searchsorted: method must be 'scan', 'scan_unrolled', 'sort' or 'compare_all', got {method!r}"
        )
    x = as_operand(a, "searchsorted", 0)
    values = operand_for(v, "searchsorted", 1, x.aval.dtype)
    if x.aval.ndim != 1:
        raise ValueError(f"searchsorted: the array to search must be a vector, got shape {x.shape}")
    if sorter is not None:
        x = along_axis(x, as_operand(sorter, "searchsorted", 3), 0)
    dtype, _ = dtypes.promote((x.aval.dtype, x.aval.weak_type), (values.aval.dtype, values.aval.weak_type))
    return sort_ops.searchsorted(cast(x, dtype, False), cast(values, dtype, False), side)


@boundary
def digitize(x: ArrayLike, bins: ArrayLike, right: bool = False, *, method: str | None = None) -> Array:
    """The number of the bin that each element falls into, int32: i where bins[i-1] <= x < bins[i].

    `bins` increases or decreases; with `right`, each bin holds its upper edge instead of its lower one.
    ValueError for bins that are no vector.

    >>> import pullback.numpy as pnp
    >>> print(pnp.digitize(pnp.array([0.5, 1.5, 9.]), pnp.array([0., 1., 2.])))
    [1 2 3]
    """
    values, edges = as_operand(x, "digitize", 0), as_operand(bins, "digitize", 1)
    if edges.aval.ndim != 1:
        raise ValueError(f"digitize: bins must be a vector, got shape {edges.shape}")
    n = edges.aval.size
    side = "left" if right else "right"
    upward = searchsorted(edges, values, side)
    if n < 2:
        return upward
    downward = sub(scalar_like(n, upward.aval.dtype), searchsorted(rev(edges, (0,)), values, side))
    first, last = (index_in_dim(edges, i, 0, keepdims=False) for i in (0, n - 1))
    return compare.select(compare.le(first, last), upward, downward)
