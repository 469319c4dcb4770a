"""Matrices and grids by formula: identities, triangles, diagonals, meshes, positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np

from pullback._api.extended_arrays import moves_entries
from pullback._api.vectorize import vmap
from pullback._core import dtypes
from pullback._core.arguments import check_callable
from pullback._core.array import Array, ArrayLike, array_of, lift
from pullback._core.errors import boundary
from pullback._core.trace import context
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue, Device, DTypeLike, ShapeLike
from pullback._ops import shape as shape_ops
from pullback._ops.assemble import broadcasted_iota, concatenate
from pullback._ops.compare import eq, ge, select
from pullback._ops.elementwise import add, scalar
from pullback._ops.shape import shape_of
from pullback._ops.slicing import pad, slice_in_dim
from pullback.numpy._creation.creation import on_device
from pullback.numpy._creation.ranges import arange, from_slice
from pullback.numpy._elementwise.arithmetic import power
from pullback.numpy._elementwise.promotion import as_operand, integer
from pullback.numpy._reductions.reductions import one_axis, summed
from pullback.numpy._searching.nonzero import nonzero

__all__ = [
    "eye",
    "identity",
    "tri",
    "tril",
    "triu",
    "tril_indices",
    "triu_indices",
    "tril_indices_from",
    "triu_indices_from",
    "diag",
    "diagflat",
    "diagonal",
    "diag_indices",
    "diag_indices_from",
    "mask_indices",
    "trace",
    "vander",
    "meshgrid",
    "mgrid",
    "ogrid",
    "indices",
    "fromfunction",
]

_INT32, _BOOL = np.dtype(np.int32), np.dtype(bool)
# a comparison as an operation and as its kernel
_IS, _AT_LEAST = (eq, np.equal), (ge, np.greater_equal)


def _float(dtype: DTypeLike | None) -> np.dtype:
    return dtypes.requested_dtype(dtype, float)


def _where_diagonals(
    name: str, comparison: tuple[Callable, np.ufunc], n: ArrayLike, m: int | None, k: ArrayLike
) -> Array:
    """The mask of the entries (i, j) of an (n, m) matrix where `i + k` compares to `j`."""
    (rows,), (columns,) = shape_of(name, n), shape_of(name, n if m is None else m)
    compare, on_host = comparison
    if type(rows) is type(columns) is type(k) is int:
        k = min(max(k, -rows), columns)  # what lies farther out selects the same
        if context.trace.transparent:
            # as one kernel: the steps of a Kalman filter took 1.3 times as long
            mask = on_host(np.arange(rows).reshape(rows, 1) + k, np.arange(columns))
            return array_of(make_aval((rows, columns), _BOOL), mask)
    row = broadcasted_iota(_INT32, (rows, 1), 0)
    if not (type(k) is int and k == 0):
        offset = shape_ops.convert_element_type(as_operand(k, name, 2), _INT32)
        row = add(row, offset)
    return compare(row, broadcasted_iota(_INT32, (1, columns), 1))


@boundary
def eye(N: int, M: int | None = None, k: int = 0, dtype: DTypeLike | None = None, *, device: Device = None) -> Array:
    """The (N, M) matrix with ones on the k-th diagonal (above the main one, for positive k), zeros elsewhere.

    ValueError for negative lengths, TypeError for others that are not integers.

    >>> import pullback.numpy as pnp
    >>> pnp.eye(2)
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    return on_device(
        "eye", shape_ops.convert_element_type(_where_diagonals("eye", _IS, N, M, k), _float(dtype)), device
    )


@boundary
def identity(n: int, dtype: DTypeLike | None = None) -> Array:
    """The identity matrix of `n` rows. ValueError for a negative number.

    >>> import pullback.numpy as pnp
    >>> pnp.identity(2, int)
    Array([[1, 0],
           [0, 1]], dtype=int32)
    """
    return shape_ops.convert_element_type(_where_diagonals("identity", _IS, n, None, 0), _float(dtype))


@boundary
def tri(N: int, M: int | None = None, k: int = 0, dtype: DTypeLike | None = None) -> Array:
    """The (N, M) matrix with ones on and below the k-th diagonal, zeros above. ValueError for negative lengths.

    >>> import pullback.numpy as pnp
    >>> pnp.tri(2, dtype=int)
    Array([[1, 0],
           [1, 1]], dtype=int32)
    """
    return shape_ops.convert_element_type(_where_diagonals("tri", _AT_LEAST, N, M, k), _float(dtype))


def _matrix(name: str, m: ArrayLike) -> Array:
    x = as_operand(m, name, 0)
    if x.aval.ndim < 2:
        raise ValueError(f"{name}: expected an array of at least 2 axes, got shape {x.aval.shape}")
    return x


@moves_entries
def tril(m: ArrayLike, k: int = 0) -> Array:
    """The matrices along the last two axes with zeros above the k-th diagonal. ValueError for fewer than 2 axes.

    >>> import pullback.numpy as pnp
    >>> pnp.tril(pnp.ones((2, 2)))
    Array([[1., 0.],
           [1., 1.]], dtype=float32)
    """
    x = _matrix("tril", m)
    return select(_where_diagonals("tril", _AT_LEAST, x.aval.shape[-2], x.aval.shape[-1], k), x, _zero(x))


@moves_entries
def triu(m: ArrayLike, k: int = 0) -> Array:
    """The matrices along the last two axes with zeros below the k-th diagonal. ValueError for fewer than 2 axes.

    >>> import pullback.numpy as pnp
    >>> pnp.triu(pnp.ones((2, 2)))
    Array([[1., 1.],
           [0., 1.]], dtype=float32)
    """
    x = _matrix("triu", m)
    return select(_where_diagonals("triu", _AT_LEAST, x.aval.shape[-2], x.aval.shape[-1], k - 1), _zero(x), x)


def _zero(x: Array) -> Array:
    return scalar(x, 0)


def _positions(found: tuple[np.ndarray, ...]) -> tuple[Array, ...]:
    return tuple(lift(p) for p in found)


def _triangle(name: str, find: Callable, n: ArrayLike, k: ArrayLike, m: int | None) -> Any:
    """The indices that NumPy's function `find` returns for an (n, m) matrix."""
    (rows,), (columns,) = shape_of(name, n), shape_of(name, n if m is None else m)
    return _positions(find(rows, integer(name, "k", k), columns))


def _triangle_of(name: str, find: Callable, arr: ArrayLike, k: ArrayLike) -> Any:
    shape = as_operand(arr, name, 0).aval.shape
    if len(shape) != 2:
        raise ValueError(f"{name}: expected a matrix, got shape {shape}")
    return _triangle(name, find, shape[0], k, shape[1])


@boundary
def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, Array]:
    """The positions (rows, columns) on and below the k-th diagonal of an (n, m) matrix.

    ValueError for negative lengths, TypeError for others that are not integers.

    >>> tril_indices(2)
    (Array([0, 1, 1], dtype=int32), Array([0, 0, 1], dtype=int32))
    """
    return _triangle("tril_indices", np.tril_indices, n, k, m)


@boundary
def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Array, Array]:
    """The positions (rows, columns) on and above the k-th diagonal of an (n, m) matrix.

    ValueError for negative lengths, TypeError for others that are not integers.

    >>> triu_indices(2)
    (Array([0, 0, 1], dtype=int32), Array([0, 1, 1], dtype=int32))
    """
    return _triangle("triu_indices", np.triu_indices, n, k, m)


@boundary
def tril_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Array, Array]:
    """`tril_indices` for the shape of a matrix. ValueError for anything but a matrix.

    >>> import pullback.numpy as pnp
    >>> len(tril_indices_from(pnp.ones((2, 2)))[0])
    3
    """
    return _triangle_of("tril_indices_from", np.tril_indices, arr, k)


@boundary
def triu_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Array, Array]:
    """`triu_indices` for the shape of a matrix. ValueError for anything but a matrix.

    >>> import pullback.numpy as pnp
    >>> len(triu_indices_from(pnp.ones((2, 2)), 1)[0])
    1
    """
    return _triangle_of("triu_indices_from", np.triu_indices, arr, k)


@boundary
def mask_indices(n: int, mask_func: Callable, k: int = 0, *, size: int | None = None) -> tuple[Array, ...]:
    """The positions where `mask_func(ones((n, n)), k)` is not zero.

    With `size`, so many of them, filled up with 0: needed where the mask is not known, as under jit.
    TypeError for anything not callable, ValueError for a negative `n` and for a `mask_func` that returns a single
    number.

    >>> import pullback.numpy as pnp
    >>> len(mask_indices(3, pnp.triu)[0])
    6
    """
    (length,) = shape_of("mask_indices", (n,))
    check_callable("mask_indices", mask_func)
    mask = lift(mask_func(lift(np.ones((length, length), bool)), k))
    if not mask.aval.ndim:
        raise ValueError(f"mask_indices: mask_func must return an array with axes, got {mask}")
    return nonzero(mask, size=size)


@boundary
def diag_indices(n: int, ndim: int = 2) -> tuple[Array, ...]:
    """The positions on the main diagonal of an array of `ndim` axes of length `n`.

    ValueError for a negative `n`, TypeError for numbers that are not integers.

    >>> diag_indices(2)
    (Array([0, 1], dtype=int32), Array([0, 1], dtype=int32))
    """
    return (arange(shape_of("diag_indices", (n,))[0]),) * integer("diag_indices", "ndim", ndim)


@boundary
def diag_indices_from(arr: ArrayLike) -> tuple[Array, ...]:
    """`diag_indices` for an array, whose axes must have one length. ValueError for others.

    >>> import pullback.numpy as pnp
    >>> len(diag_indices_from(pnp.ones((2, 2))))
    2
    """
    shape = np.shape(arr)
    if len(shape) < 2 or len({*shape}) > 1:
        raise ValueError(f"diag_indices_from: expected at least 2 axes of one length, got shape {shape}")
    return diag_indices(shape[0], len(shape))


# --- diagonals ---


@moves_entries
def diagonal(a: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The diagonals of the matrices along two axes, along a new last axis. ValueError for fewer than 2 axes.

    >>> import pullback.numpy as pnp
    >>> pnp.diagonal(pnp.arange(4).reshape(2, 2))
    Array([0, 3], dtype=int32)
    """
    return _diagonals("diagonal", a, offset, axis1, axis2)


def _diagonals(name: str, a: ArrayLike, offset: int, axis1: int = 0, axis2: int = 1) -> Array:
    x = _matrix(name, a)
    rank = x.aval.ndim
    i, j = one_axis(name, axis1, rank), one_axis(name, axis2, rank)
    if i == j:
        raise ValueError(f"{name}: axis1 and axis2 must be different axes, got {axis1} and {axis2}")
    offset = integer(name, "offset", offset)
    x = shape_ops.transpose(x, [*(d for d in range(rank) if d not in (i, j)), i, j])
    *lead, n, m = x.aval.shape
    row, column = max(-offset, 0), max(offset, 0)
    count = max(0, min(n - row, m - column))
    if count == 0:
        return shape_ops.full((*lead, 0), 0, x.aval.dtype, x.aval.weak_type)
    # along the flattened matrix, one step down and one to the right is an offset of m + 1
    flat = shape_ops.reshape(x, (*lead, n * m))
    first = row * m + column
    return slice_in_dim(flat, first, first + (count - 1) * (m + 1) + 1, m + 1, len(lead))


@boundary
def trace(
    a: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: DTypeLike | None = None, out: None = None
) -> Array:
    """The sums along the diagonals of the matrices along two axes. ValueError for fewer than 2 axes.

    >>> import pullback.numpy as pnp
    >>> pnp.trace(pnp.eye(3))
    Array(3., dtype=float32)
    """
    return summed("trace", _diagonals("trace", a, offset, axis1, axis2), -1, dtype, out)


@moves_entries
def diag(v: ArrayLike, k: int = 0) -> Array:
    """The matrix with a vector on its k-th diagonal, or the k-th diagonal of a matrix. ValueError for more than 2 axes.

    >>> import pullback.numpy as pnp
    >>> pnp.diag(pnp.array([1, 2]))
    Array([[1, 0],
           [0, 2]], dtype=int32)
    """
    x = as_operand(v, "diag", 0)
    if x.aval.ndim == 2:
        return _diagonals("diag", x, k)
    return _with_diagonal("diag", x, k)


def _with_diagonal(name: str, x: Array, k: ArrayLike) -> Array:
    if x.aval.ndim != 1:
        raise ValueError(f"{name}: expected a vector or a matrix, got shape {x.aval.shape}")
    k = integer(name, "k", k)
    n = x.aval.size + abs(k)
    along = pad(x, _zero(x), [(max(k, 0), max(-k, 0), 0)])
    return select(_where_diagonals(name, _IS, n, n, k), along, _zero(x))


@moves_entries
def diagflat(v: ArrayLike, k: int = 0) -> Array:
    """The matrix with all elements of `v` on its k-th diagonal. TypeError for a `k` that is not an integer.

    >>> import pullback.numpy as pnp
    >>> pnp.diagflat(pnp.ones((1, 2))).shape
    (2, 2)
    """
    x = as_operand(v, "diagflat", 0)
    x = shape_ops.convert_element_type(shape_ops.reshape(x, (x.aval.size,)), x.aval.dtype)  # never weak
    return _with_diagonal("diagflat", x, k)


@boundary
def vander(x: ArrayLike, N: int | None = None, increasing: bool = False) -> Array:
    """The matrix whose rows are the powers of the elements of `x`, from the highest, N - 1, to 0, or the reverse.

    ValueError for anything but a vector.

    >>> import pullback.numpy as pnp
    >>> pnp.vander(pnp.array([2, 3]), 3)
    Array([[4, 2, 1],
           [9, 3, 1]], dtype=int32)
    """
    x = as_operand(x, "vander", 0)
    if x.aval.ndim != 1:
        raise ValueError(f"vander: expected a vector, got shape {x.aval.shape}")
    count = x.aval.size if N is None else integer("vander", "N", N)
    exponents = np.arange(count) if increasing else np.arange(count)[::-1]
    dtype = x.aval.dtype
    base = shape_ops.convert_element_type(shape_ops.reshape(x, (x.aval.size, 1)), dtype)
    powers = power(base, lift(exponents.astype(np.int32)[None, :]))
    return shape_ops.convert_element_type(powers, dtype) if dtypes.is_integer(dtype) else powers


# --- grids ---


@moves_entries
def meshgrid(*xi: ArrayLike, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> list[Array]:
    """The coordinates of the points of a grid: of each of the given vectors an array that varies along its axis only.

    With indexing "ij" the i-th vector runs along axis i, with "xy" the first two are exchanged; sparse arrays have
    length 1 along the other axes. ValueError for anything but a vector.

    >>> import pullback.numpy as pnp
    >>> [g.shape for g in pnp.meshgrid(pnp.arange(2), pnp.arange(3))]
    [(3, 2), (3, 2)]
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    xs = [as_operand(x, "meshgrid", i) for i, x in enumerate(xi)]
    if any(x.aval.ndim > 1 for x in xs):
        raise ValueError(f"meshgrid: expected vectors, got shapes {', '.join(str(x.aval.shape) for x in xs)}")
    axes = list(range(len(xs)))
    if indexing == "xy" and len(axes) >= 2:
        axes[0], axes[1] = 1, 0
    lengths = [0] * len(xs)
    for x, axis in zip(xs, axes, strict=True):
        lengths[axis] = x.aval.size
    out = []
    for x, axis in zip(xs, axes, strict=True):
        x = shape_ops.reshape(x, tuple(x.aval.size if d == axis else 1 for d in range(len(xs))))
        out.append(x if sparse else shape_ops.broadcast_to(x, tuple(lengths)))
    return out


class _Grid:
    """`mgrid` and `ogrid`: to be indexed by slices, a complex step being the number of points, both ends included."""

    def __init__(self, name: str, sparse: bool):
        self.name = name
        self.sparse = sparse

    def __repr__(self) -> str:
        return f"numpy.{self.name}"

    def __getitem__(self, key: slice | tuple[slice, ...]) -> Any:
        if isinstance(key, slice):
            return from_slice(key)
        ranges = [from_slice(s) for s in key]
        dtype = dtypes.promote(*[(r.aval.dtype, False) for r in ranges])[0]
        ranges = [shape_ops.convert_element_type(r, dtype) for r in ranges]
        grids = meshgrid(*ranges, sparse=self.sparse, indexing="ij")
        if self.sparse:
            return grids
        return concatenate([shape_ops.reshape(g, (1, *g.aval.shape)) for g in grids], 0)


mgrid: _Grid = _Grid("mgrid", sparse=False)
ogrid: _Grid = _Grid("ogrid", sparse=True)


@overload
def indices(dimensions: Sequence[int], dtype: DTypeLike | None = None, sparse: Literal[False] = False) -> Array: ...
@overload
def indices(
    dimensions: Sequence[int], dtype: DTypeLike | None = None, *, sparse: Literal[True]
) -> tuple[Array, ...]: ...
@overload
def indices(dimensions: Sequence[int], dtype: DTypeLike | None = None, sparse: bool = False) -> Any: ...
@boundary
def indices(dimensions: Sequence[int], dtype: DTypeLike | None = None, sparse: bool = False) -> Any:
    """The positions along each axis of an array of a shape: stacked, or with `sparse` a tuple that broadcasts.

    ValueError for negative lengths, TypeError for others that are not integers.

    >>> import pullback.numpy as pnp
    >>> pnp.indices((2, 3)).shape
    (2, 2, 3)
    """
    shape = shape_of("indices", dimensions)
    kind = dtypes.requested_dtype(dtype, int)
    ranges = [
        shape_ops.reshape(broadcasted_iota(kind, (n,), 0), tuple(n if d == i else 1 for d in range(len(shape))))
        for i, n in enumerate(shape)
    ]
    if sparse:
        return tuple(ranges)
    if not ranges:
        return shape_ops.full((0,), 0, kind)
    return concatenate([shape_ops.reshape(shape_ops.broadcast_to(r, shape), (1, *shape)) for r in ranges], 0)


@boundary
def fromfunction(function: Callable, shape: ShapeLike, *, dtype: DTypeLike = float, **kwargs: AnyValue) -> Any:
    """The array whose element at (i, j, ...) is `function(i, j, ...)`, which is vectorized over the positions.

    TypeError for anything not callable, ValueError for negative lengths.

    >>> import pullback.numpy as pnp
    >>> pnp.fromfunction(lambda i, j: i + j, (2, 2), dtype=int)
    Array([[0, 1],
           [1, 2]], dtype=int32)
    """
    check_callable("fromfunction", function)
    lengths = shape_of("fromfunction", shape)
    mapped = function if not kwargs else lambda *positions: function(*positions, **kwargs)
    for i in reversed(range(len(lengths))):
        mapped = vmap(mapped, in_axes=tuple(0 if d == i else None for d in range(len(lengths))))
    return mapped(*[arange(n, dtype=dtype) for n in lengths])
