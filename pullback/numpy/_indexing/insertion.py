"""NumPy's functions that write by position, as functions that return a new array, and those that resize."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pullback._api.extended_arrays import moves_entries
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, NestedArrayLike, distinct
from pullback._core.errors import boundary
from pullback._core.trace import Tracer
from pullback._core.typing import ShapeLike
from pullback._ops import compare, elementwise
from pullback._ops import shape as shape_ops
from pullback._ops.assemble import concatenate
from pullback._ops.gather_numpy import ScatterDimensionNumbers, mode_of
from pullback._ops.gather_scatter import scatter_p
from pullback._ops.shape import shape_of
from pullback._ops.slicing import slice_in_dim
from pullback.numpy._creation.creation import as_array
from pullback.numpy._elementwise.arithmetic import remainder
from pullback.numpy._elementwise.promotion import as_operand, operand_for
from pullback.numpy._indexing.at import IndexedUpdate
from pullback.numpy._indexing.indexing import along_axis, take
from pullback.numpy._reductions.cumulative import cumsum
from pullback.numpy._reductions.reductions import axes_of, one_axis
from pullback.numpy._searching.nonzero import true_positions
from pullback.numpy._shape.manipulation import stretched

__all__ = ["put_along_axis", "put", "place", "fill_diagonal", "insert", "delete", "resize", "trim_zeros"]


def _refuse_inplace(name: str, inplace: bool) -> None:
    if inplace:
        raise ValueError(
            f"{name}: arrays are immutable, so nothing can be written in place: pass inplace=False and use the result"
        )


@moves_entries
def put_along_axis(
    arr: ArrayLike,
    indices: ArrayLike,
    values: ArrayLike,
    axis: int | None,
    inplace: bool = True,
    *,
    mode: str | None = None,
) -> Array:
    """`arr` with the elements that `take_along_axis` reads replaced by `values`; `inplace` must be False.

    ValueError for another number of axes.

    >>> import pullback.numpy as pnp
    >>> pnp.put_along_axis(pnp.zeros((2, 2)), pnp.array([[1], [0]]), 5., 1, inplace=False)
    Array([[0., 5.],
           [5., 0.]], dtype=float32)
    """
    _refuse_inplace("put_along_axis", inplace)
    x = as_operand(arr, "put_along_axis", 0)
    y, vectors, numbers, _ = along_axis("put_along_axis", x, indices, axis, wrap=True)
    v = shape_ops.convert_element_type(operand_for(values, "put_along_axis", 2, x.aval.dtype), x.aval.dtype)
    v = stretched("put_along_axis", v, vectors.aval.shape[:-1])
    if y.aval.shape != x.aval.shape and y.aval.ndim == x.aval.ndim:
        raise ValueError(
            f"put_along_axis: indices of shape {vectors.aval.shape[:-1]} do not broadcast to an array of "
            f"shape {x.aval.shape}"
        )
    out = scatter_p.bind(
        y,
        vectors,
        v,
        dimension_numbers=ScatterDimensionNumbers(*numbers),
        mode=mode_of("put_along_axis", mode),
        indices_are_sorted=False,
        unique_indices=False,
    )
    return shape_ops.reshape(out, x.aval.shape)


@moves_entries
def put(a: ArrayLike, ind: ArrayLike, v: ArrayLike, mode: str | None = None, *, inplace: bool = True) -> Array:
    """`a` with the elements at flat indices replaced by values, repeated as needed; `inplace` must be False.

    `mode` is "clip" or "wrap" for indices out of bounds, which are dropped by default. ValueError for another `mode`,
    TypeError for positions that are not integers.

    >>> import pullback.numpy as pnp
    >>> pnp.put(pnp.zeros(3), pnp.array([0, 2]), 5., inplace=False)
    Array([5., 0., 5.], dtype=float32)
    """
    _refuse_inplace("put", inplace)
    x, index = as_operand(a, "put", 0), as_operand(ind, "put", 1)
    values = operand_for(v, "put", 2, x.aval.dtype)
    if not (dtypes.is_integer(index.aval.dtype) or dtypes.is_bool(index.aval.dtype)):
        raise TypeError(f"put: ind must be of integers, got {index.aval.str_short()}: convert it with .astype(int)")
    size, count = x.aval.size, index.aval.size
    if not count or not values.aval.size:
        return x
    index = shape_ops.reshape(index, (count,))
    if mode == "wrap":
        narrow = index.aval.dtype.itemsize < 4  # it might not hold the size
        index, mode = remainder(shape_ops.convert_element_type(index, int) if narrow else index, size), None
    elif mode not in (None, "clip"):
        raise ValueError(f"put: mode must be None, 'clip' or 'wrap', got {mode!r}")
    values = resize(values, (count,))
    flat = IndexedUpdate(shape_ops.reshape(x, (size,)), index).set(values, mode=mode)
    return shape_ops.reshape(flat, x.aval.shape)


@moves_entries
def place(arr: ArrayLike, mask: ArrayLike, vals: ArrayLike, *, inplace: bool = True) -> Array:
    """`arr` with the elements under a mask replaced by values, repeated as needed; `inplace` must be False.

    ValueError for a mask of another size than `arr`, and for no values.

    >>> import pullback.numpy as pnp
    >>> pnp.place(pnp.zeros(3), pnp.array([True, False, True]), pnp.array([5., 6.]), inplace=False)
    Array([5., 0., 6.], dtype=float32)
    """
    _refuse_inplace("place", inplace)
    x, m = as_operand(arr, "place", 0), as_operand(mask, "place", 1)
    values = operand_for(vals, "place", 2, x.aval.dtype)
    if m.aval.size != x.aval.size:
        raise ValueError(
            f"place: the mask must have the size of the array, got shapes {m.aval.shape} and {x.aval.shape}"
        )
    if x.aval.size and not values.aval.size:
        raise ValueError(f"place: vals must have at least one value, got shape {values.aval.shape}")
    m = shape_ops.reshape(m, (m.aval.size,))
    m = m if m.aval.dtype.kind == "b" else compare.ne(m, elementwise.scalar(m, 0))
    order = elementwise.sub(cumsum(shape_ops.convert_element_type(m, np.int32)), np.int32(1))
    values = shape_ops.convert_element_type(shape_ops.reshape(values, (values.aval.size,)), x.aval.dtype)
    chosen = take(values, remainder(order, values.aval.size), mode="clip")
    return shape_ops.reshape(compare.select(m, chosen, shape_ops.reshape(x, (x.aval.size,))), x.aval.shape)


@moves_entries
def fill_diagonal(a: ArrayLike, val: NestedArrayLike, wrap: bool = False, *, inplace: bool = True) -> Array:
    """`a`, of at least 2 axes, with its main diagonal replaced by `val`, repeated as needed; `inplace` must be False.

    ValueError for several axes of different lengths.

    >>> import pullback.numpy as pnp
    >>> pnp.fill_diagonal(pnp.zeros((2, 2)), 5., inplace=False)
    Array([[5., 0.],
           [0., 5.]], dtype=float32)
    """
    _refuse_inplace("fill_diagonal", inplace)
    if wrap:
        raise NotImplementedError("fill_diagonal: wrap=True is not supported")
    x = as_operand(a, "fill_diagonal", 0)
    v = operand_for(val, "fill_diagonal", 1, x.aval.dtype)
    shape = x.aval.shape
    if len(shape) < 2 or (len(shape) > 2 and len({*shape}) > 1):
        raise ValueError(f"fill_diagonal: expected a matrix, or an array of equal lengths, got shape {shape}")
    n = min(shape)
    values = _resized("fill_diagonal", shape_ops.reshape(v, (v.aval.size,)), (n,)) if v.aval.ndim else v
    return IndexedUpdate(x, (np.arange(n),) * len(shape)).set(values, unique_indices=True)


# --- longer and shorter arrays ---


@moves_entries
def resize(a: NestedArrayLike, new_shape: ShapeLike) -> Array:
    """The elements of `a` in another shape: repeated from the beginning, or cut. ValueError for negative lengths.

    >>> import pullback.numpy as pnp
    >>> pnp.resize(pnp.arange(3), (2, 2))
    Array([[0, 1],
           [2, 0]], dtype=int32)
    """
    return distinct(_resized("resize", as_array("resize", a), new_shape), a)


def _resized(name: str, x: Array, new_shape: ShapeLike) -> Array:
    shape = shape_of(name, new_shape)
    size = math.prod(shape)
    flat = shape_ops.reshape(x, (x.aval.size,))
    if not x.aval.size:
        return shape_ops.full(shape, 0, x.aval.dtype, x.aval.weak_type)
    copies = -(-size // x.aval.size)
    if copies > 1:
        flat = shape_ops.reshape(shape_ops.broadcast_to(flat, (copies, x.aval.size)), (copies * x.aval.size,))
    return shape_ops.reshape(slice_in_dim(flat, 0, size) if flat.aval.size != size else flat, shape)


def _positions(name: str, obj: int | slice | NestedArrayLike, n: int) -> np.ndarray:
    """The indices along an axis selected by an integer, a slice, integers or a mask; they must be known."""
    if isinstance(obj, slice):
        return np.arange(n)[obj]
    value = np.asarray(obj)
    if value.dtype.kind == "b":
        if value.shape != (n,):
            raise ValueError(f"{name}: a mask must have the length {n} of the axis, got shape {value.shape}")
        return value.nonzero()[0]
    if value.size == 0:
        return np.zeros(0, np.int64)
    if not dtypes.is_integer(value.dtype):
        raise IndexError(f"{name}: positions must be integers, got {value.dtype.name}")
    return value if value.dtype.isbuiltin == 1 else value.astype(np.int64)  # NumPy indexes with no other ones


@moves_entries
def delete(
    arr: ArrayLike, obj: int | slice | NestedArrayLike, axis: int | None = None, *, assume_unique_indices: bool = False
) -> Array:
    """`arr` without the elements along an axis (flattened, without one) at positions, or that a slice names.

    Traced positions (of jit, say) need the promise `assume_unique_indices` that none is given twice, for the length of
    the result depends on it; out of bounds, they are clipped. IndexError for known indices out of bounds,
    errors.ConcretizationTypeError for traced ones without the promise, and for a traced mask.

    >>> import pullback.numpy as pnp
    >>> pnp.delete(pnp.arange(4), pnp.array([0, 2]))
    Array([1, 3], dtype=int32)
    """
    x = as_operand(arr, "delete", 0)
    if axis is None:
        x, axis = shape_ops.reshape(x, (x.aval.size,)), 0
    i = one_axis("delete", axis, x.aval.ndim)
    n = x.aval.shape[i]
    if (
        isinstance(obj, Tracer)
        and obj._known() is None
        and dtypes.is_integer(obj.aval.dtype)
        and (assume_unique_indices or obj.aval.size <= 1)
    ):
        return _without(x, obj, i)
    gone = np.atleast_1d(_positions("delete", obj, n)).ravel()
    if gone.size and (gone.min() < -n or gone.max() >= n):
        raise IndexError(f"delete: positions {obj} are out of bounds for axis {i} of length {n}")
    kept = np.ones(n, bool)
    kept[gone] = False
    places = (~kept).nonzero()[0]
    if not places.size:
        return distinct(x, arr)
    if places[-1] - places[0] < places.size:
        # the removed part is one block: two slices are compiled and transposed at a lower cost than a gather
        return concatenate([slice_in_dim(x, 0, places[0], axis=i), slice_in_dim(x, places[-1] + 1, n, axis=i)], i)
    return take(x, kept.nonzero()[0], i, mode="clip", unique_indices=True, indices_are_sorted=True)


def _without(x: Array, obj: Array, axis: int) -> Array:
    """`x` without the elements at traced indices, which are distinct."""
    n, k = x.aval.shape[axis], obj.aval.size
    if not k:
        return x
    at = shape_ops.convert_element_type(shape_ops.reshape(obj, (k,)), np.int32)
    at = compare.select(compare.lt(at, np.int32(0)), elementwise.add(at, np.int32(n)), at)
    at = elementwise.max(elementwise.min(at, np.int32(n - 1)), np.int32(0))
    no, yes = (shape_ops.full(shape, value, np.dtype(bool)) for shape, value in (((n,), False), ((k,), True)))
    gone = scatter_p.bind(
        no,
        shape_ops.reshape(at, (k, 1)),
        yes,
        dimension_numbers=ScatterDimensionNumbers((), (0,), (0,)),
        mode=mode_of("delete", "clip"),
        indices_are_sorted=False,
        unique_indices=False,
    )
    return take(
        x,
        true_positions("delete", compare.bitwise_not(gone), n - k)[0],
        axis,
        mode="clip",
        unique_indices=True,
        indices_are_sorted=True,
    )


@moves_entries
def insert(
    arr: ArrayLike, obj: int | slice | NestedArrayLike, values: NestedArrayLike, axis: int | None = None
) -> Array:
    """`arr` with values inserted before known indices along an axis (flattened, without one).

    IndexError for indices out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.insert(pnp.arange(3), 1, 9)
    Array([0, 9, 1, 2], dtype=int32)
    """
    x = as_operand(arr, "insert", 0)
    v = operand_for(values, "insert", 2, x.aval.dtype) if type(values) is int else as_array("insert", values)
    v = shape_ops.convert_element_type(v, x.aval.dtype)
    if axis is None:
        x, axis = shape_ops.reshape(x, (x.aval.size,)), 0
    i = one_axis("insert", axis, x.aval.ndim)
    n = x.aval.shape[i]
    where = _positions("insert", obj, n)
    if where.ndim == 0 and v.aval.ndim == x.aval.ndim and v.aval.ndim:
        # one index and several values: all are inserted there
        v = shape_ops.move_axis(v, 0, i) if x.aval.ndim > 1 and v.aval.shape[i] == 1 else v
        places = np.full(v.aval.shape[i], int(where))
    else:
        places = np.atleast_1d(where).ravel()
    if places.size and (places.min() < -n or places.max() > n):
        raise IndexError(f"insert: positions {obj} are out of bounds for axis {i} of length {n}")
    places = np.where(places < 0, places + n, places)
    count = places.size
    if where.ndim == 0 and v.aval.ndim < x.aval.ndim:
        v = shape_ops.reshape(v, (*v.aval.shape[:i], 1, *v.aval.shape[i:])) if v.aval.ndim == x.aval.ndim - 1 else v
    v = stretched("insert", v, (*x.aval.shape[:i], count, *x.aval.shape[i + 1 :]))
    order = np.argsort(places, kind="stable")
    new = places[order] + np.arange(count)
    source = np.empty(n + count, np.int64)
    is_new = np.zeros(n + count, bool)
    is_new[new] = True
    source[new] = n + order
    source[~is_new] = np.arange(n)
    both = concatenate([x, v], i)
    return take(both, source, i, mode="clip", unique_indices=True)


@boundary
def trim_zeros(
    filt: ArrayLike | Sequence[ArrayLike], trim: str = "fb", axis: int | Sequence[int] | None = None
) -> Array:
    """An array, which must be known, without the zeros in front ("f" in `trim`) and at the back ("b").

    For several axes, each loses the slices of zeros at its ends; `axis` selects them, None all. ValueError for axes
    out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.trim_zeros(pnp.array([0, 1, 0, 2, 0]))
    Array([1, 0, 2], dtype=int32)
    """
    x = as_array("trim_zeros", filt)
    found = np.nonzero(np.asarray(x))
    front, back = "f" in trim.lower(), "b" in trim.lower()
    if not (front or back):
        return x
    for i in axes_of("trim_zeros", axis, x.aval.ndim):
        there = found[i]
        low = int(there.min()) if front and there.size else 0
        high = 0 if not there.size else int(there.max()) + 1 if back else x.aval.shape[i]
        x = slice_in_dim(x, low, high, axis=i)
    return x
