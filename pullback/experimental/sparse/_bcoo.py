"""BCOO: arrays of which the entries are stored that differ from zero, each beside its index, in batches.

The shape has three parts: batch axes, sparse axes and dense axes. `data` has shape (*batch, nse, *dense) and `indices`
(*batch, nse, n_sparse). Entries with the same index add up; an index out of bounds marks padding. A BCOO is a pytree
of these two arrays. Its batch axes are read off them, so that `vmap` takes one away and gives it back.
"""

from __future__ import annotations

import typing as _typing
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import ConcretizationTypeError, boundary
from pullback._core.tree import register_pytree_node_class
from pullback._core.typing import DTypeLike, Shape
from pullback.experimental.sparse._base import (
    BatchedSparse,
    as_format,
    number_of_entries,
    over_batches,
    with_batch,
)
from pullback.experimental.sparse._entries import groups, in_order, masked, sizes_of, summed
from pullback.numpy import asarray, eye, full, moveaxis, nonzero, ones, stack, where, zeros


@register_pytree_node_class
class BCOO(BatchedSparse):
    """A sparse array: entries and their indices, in batches.

    Args:
      args: `(data, indices)`, of shapes (*batch, nse, *dense) and (*batch, nse, n_sparse). A batch axis of length 1 is
        broadcast.
      shape: the shape of the array that is represented, (*batch, *sparse, *dense).
      indices_sorted, unique_indices: what is known of the indices; it is not checked.

    Raises: ValueError for shapes that do not fit; TypeError for indices that are no integers.

    >>> import pullback.numpy as pnp
    >>> M = BCOO.fromdense(pnp.array([[0., 2., 0.], [1., 0., 4.]]))
    >>> M
    BCOO(float32[2, 3], nse=3)
    >>> print(M.data, M.indices.tolist())
    [2. 1. 4.] [[0, 1], [1, 0], [1, 2]]
    >>> print(M @ pnp.ones(3), (M * 2).todense()[1])
    [2. 5.] [2. 0. 8.]
    """

    _names: tuple[str, ...] = ("data", "indices")

    @boundary
    def __init__(
        self,
        args: tuple[ArrayLike, ArrayLike],
        *,
        shape: Sequence[int],
        indices_sorted: bool = False,
        unique_indices: bool = False,
    ):
        self._keep(list(map(asarray, args)), indices_sorted, unique_indices)
        self._place(_checked(self.data, self.indices, tuple(map(int, shape))))

    def _place(self, shape: Shape) -> None:
        """Keep the shape of an example; that of the batch only if the arrays do not have it."""
        n_batch = self.indices.ndim - 2
        self._tail = shape[n_batch:]
        fits = self.indices.shape[:n_batch] == self.data.shape[:n_batch] == shape[:n_batch]
        self._batch = None if fits else shape[:n_batch]

    @property
    def nse(self) -> int:
        """The number of stored entries, of each matrix of a batch."""
        return self.indices.shape[-2]

    @property
    def n_batch(self) -> int:
        """The number of batch axes."""
        return self.indices.ndim - 2

    @property
    def n_sparse(self) -> int:
        """The number of sparse axes."""
        return self.indices.shape[-1]

    def _full(self) -> tuple[Array, Array]:
        """Data and indices with all their batch axes."""
        batch = self.shape[: self.n_batch]
        return with_batch(self.data, batch), with_batch(self.indices, batch)

    def _with(self, data: Array) -> BCOO:
        """Other data at the same indices."""
        return BCOO(
            (data, self.indices),
            shape=self.shape[: self.n_batch + self.n_sparse] + data.shape[self.n_batch + 1 :],
            indices_sorted=self.indices_sorted,
            unique_indices=self.unique_indices,
        )

    @classmethod
    @boundary
    def fromdense(
        cls,
        mat: ArrayLike,
        *,
        nse: int | None = None,
        index_dtype: DTypeLike = np.int32,
        n_dense: int = 0,
        n_batch: int = 0,
    ) -> BCOO:
        """The entries of an array that differ from zero, as `bcoo_fromdense`."""
        return bcoo_fromdense(mat, nse=nse, index_dtype=index_dtype, n_dense=n_dense, n_batch=n_batch)

    @classmethod
    @boundary
    def from_scipy_sparse(
        cls, mat: Any, *, index_dtype: DTypeLike | None = None, n_dense: int = 0, n_batch: int = 0
    ) -> BCOO:
        """The entries of a sparse array of SciPy's. NotImplementedError for batch and dense axes."""
        if n_dense or n_batch:
            raise NotImplementedError("BCOO.from_scipy_sparse: SciPy's arrays have no batch axes and no dense axes")
        entries = mat.tocoo()
        rows = np.stack(entries.coords if hasattr(entries, "coords") else (entries.row, entries.col), -1)
        return cls((entries.data, rows.astype(index_dtype or np.int32)), shape=mat.shape)

    @classmethod
    def _empty(
        cls,
        shape: Sequence[int],
        *,
        dtype: DTypeLike | None = None,
        index_dtype: DTypeLike = "int32",
        n_dense: int = 0,
        n_batch: int = 0,
        nse: int = 0,
    ) -> BCOO:
        shape = tuple(shape)
        n_sparse = _split("empty", shape, n_batch, n_dense)
        batch, sparse, rest = shape[:n_batch], shape[n_batch : n_batch + n_sparse], shape[n_batch + n_sparse :]
        indices = full((*batch, nse, n_sparse), np.array(sparse), dtype=index_dtype)
        data = zeros((*batch, nse, *rest), dtype)
        return cls((data, indices), shape=shape, indices_sorted=True, unique_indices=True)

    @classmethod
    def _eye(
        cls,
        N: int,
        M: int,
        k: int,
        *,
        dtype: DTypeLike | None = None,
        index_dtype: DTypeLike = "int32",
        n_batch: int = 0,
        n_dense: int = 0,
    ) -> BCOO:
        if n_batch or n_dense:
            length = max(0, min(M - k, N) - max(0, -k))
            nse = min(1, length) if n_batch else length
            return bcoo_fromdense(
                eye(N, M, k, dtype), nse=nse, n_batch=n_batch, n_dense=n_dense, index_dtype=index_dtype
            )
        rows = np.arange(max(0, -k), max(0, -k, min(M - k, N)))
        indices = np.stack([rows, rows + k], -1).astype(np.dtype(index_dtype))
        return cls((ones(len(rows), dtype), indices), shape=(N, M), indices_sorted=True, unique_indices=True)

    @boundary
    def todense(self) -> Array:
        """The array that is represented."""
        return bcoo_todense(self)

    @boundary
    def astype(self, dtype: DTypeLike) -> BCOO:
        """The array with another dtype."""
        return self._with(self.data.astype(dtype))

    @boundary
    def sort_indices(self) -> BCOO:
        """The entries in the order of their indices."""
        return bcoo_sort_indices(self)

    @boundary
    def sum_duplicates(self, nse: int | None = None, remove_zeros: bool = True) -> BCOO:
        """The entries with the same index added up, as `bcoo_sum_duplicates`; with `remove_zeros` without zeros."""
        return _without_duplicates(self, nse, remove_zeros)

    def _kind(self) -> str:
        more = "".join(f", {name}={n}" for name in ("n_batch", "n_dense") if (n := getattr(self, name)))
        return super()._kind() + more

    if _typing.TYPE_CHECKING:  # installed by _operators.py, which uses functions on BCOO

        def transpose(self, axes: Sequence[int] | None = None) -> BCOO: ...
        def reshape(self, *shape: Any) -> BCOO: ...
        def update_layout(
            self, *, n_batch: int | None = None, n_dense: int | None = None, on_inefficient: str | None = "error"
        ) -> BCOO: ...


def _split(caller: str, shape: Shape, n_batch: int, n_dense: int) -> int:
    """The number of sparse axes, where the others are given."""
    n_sparse = len(shape) - n_batch - n_dense
    if min(n_batch, n_dense, n_sparse) < 0:
        raise ValueError(f"{caller}: an array of shape {shape} has no {n_batch} batch axes and {n_dense} dense axes")
    return n_sparse


def _checked(data: Any, indices: Any, shape: Shape) -> Shape:
    """The shape, if data and indices fit."""
    if not dtypes.is_integer(indices.dtype):
        raise TypeError(f"BCOO: indices must be integers, got dtype {indices.dtype}")
    if indices.ndim < 2:
        raise ValueError(f"BCOO: indices must have shape (*batch, nse, n_sparse), got {indices.shape}")
    n_batch, n_sparse = indices.ndim - 2, indices.shape[-1]
    n_dense = len(shape) - n_batch - n_sparse
    expected = (*shape[:n_batch], indices.shape[-2], *shape[n_batch + n_sparse :])
    fits = n_dense >= 0 and data.ndim == len(expected)
    fits = fits and data.shape[n_batch:] == expected[n_batch:]
    fits = fits and all(
        n in (1, size) for x in (data, indices) for n, size in zip(x.shape[:n_batch], shape[:n_batch], strict=True)
    )
    if not fits:
        raise ValueError(
            f"BCOO: indices of shape {indices.shape} and the shape {shape} ask for data of shape {expected}, "
            f"got {data.shape}"
        )
    return shape


@boundary
def bcoo_fromdense(
    mat: ArrayLike, *, nse: int | None = None, n_batch: int = 0, n_dense: int = 0, index_dtype: DTypeLike = np.int32
) -> BCOO:
    """The entries of an array that differ from zero, as a BCOO.

    Args:
      mat: an array.
      nse: the number of entries to store; needed in traced code. More are padding, with fewer the last are left out.
      n_batch, n_dense: the numbers of leading batch axes and of trailing dense axes.
      index_dtype: the dtype of the indices.

    Raises: ValueError for more axes than there are; ConcretizationTypeError if `nse` is needed.

    >>> import pullback.numpy as pnp
    >>> bcoo_fromdense(pnp.eye(3), nse=4).indices.tolist()
    [[0, 0], [1, 1], [2, 2], [3, 3]]
    """
    mat = asarray(mat)
    n_sparse = _split("bcoo_fromdense", mat.shape, n_batch, n_dense)
    mask = (mat != 0).any(tuple(range(n_batch + n_sparse, mat.ndim)))
    if nse is None:
        counts = mask.sum(tuple(range(n_batch, n_batch + n_sparse)))
        nse = number_of_entries("bcoo_fromdense", counts, ConcretizationTypeError)
    fill: Any = mat.shape[n_batch : n_batch + n_sparse]

    def entries(mask, mat):
        if not n_sparse:
            indices = zeros((nse, 0), index_dtype)
            return masked(_at(mat, indices), (np.arange(nse) == 0) & mask), indices
        indices = stack(nonzero(mask, size=nse, fill_value=fill), -1).astype(index_dtype)
        return _at(mat, indices), indices

    data, indices = over_batches(entries, n_batch)(mask, mat)
    return BCOO((data, indices), shape=mat.shape, indices_sorted=True, unique_indices=True)


def _at(mat: Array, indices: Array) -> Array:
    """The entries of an array, without batch axes, at indices; zero for padding."""
    if not indices.shape[-1]:
        return with_batch(mat[None], (indices.shape[0],))
    return mat.at[tuple(moveaxis(indices, -1, 0))].get(mode="fill", fill_value=0)


@boundary
def bcoo_todense(mat: BCOO) -> Array:
    """The array that a BCOO represents. TypeError for anything else.

    >>> from pullback.experimental import sparse
    >>> bcoo_todense(sparse.eye(2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    as_format("bcoo_todense", mat, BCOO)
    sizes, is_sorted = mat._sparse_shape, mat.indices_sorted

    def whole(data, indices):
        if not sizes:
            return data.sum(0, dtype=data.dtype)
        start = zeros((*sizes, *data.shape[1:]), data.dtype)
        places = start.at[tuple(moveaxis(indices, -1, 0))]
        if data.dtype == np.bool_:
            return places.max(data, mode="drop")
        return places.add(data, mode="drop", indices_are_sorted=is_sorted)

    return over_batches(whole, mat.n_batch)(*mat._full())


@boundary
def bcoo_extract(sparr: BCOO, arr: ArrayLike, *, assume_unique: bool | None = None) -> BCOO:
    """The entries of an array at the indices of a BCOO.

    Args:
      sparr: a BCOO.
      arr: an array of its shape.
      assume_unique: whether the indices are taken to be different: by default where it is known. If not, the entry of
        an index that occurs several times is at its first place, with zeros at the others.

    Raises: TypeError for what is no BCOO; ValueError for another shape.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental import sparse
    >>> bcoo_extract(sparse.eye(2), pnp.array([[1., 2.], [3., 4.]])).data.tolist()
    [1.0, 4.0]
    """
    as_format("bcoo_extract", sparr, BCOO)
    mat = asarray(arr)
    if mat.shape != sparr.shape:
        raise ValueError(f"bcoo_extract: expected an array of shape {sparr.shape}, got {mat.shape}")
    unique = sparr.unique_indices if assume_unique is None else assume_unique
    sizes, nse = sparr._sparse_shape, sparr.nse

    def entries(mat, indices):
        data = _at(mat, indices)
        if unique:
            return data
        numbers, _, _ = groups(indices, sizes)
        places = np.arange(nse, dtype=np.int32)
        first = full(nse, nse, np.int32).at[numbers].min(places)
        return masked(data, first[numbers] == places)

    return sparr._with(over_batches(entries, sparr.n_batch)(mat, sparr._full()[1]))


@boundary
def bcoo_sort_indices(mat: BCOO) -> BCOO:
    """The entries in the order of their indices. TypeError for what is no BCOO.

    >>> from pullback.experimental import sparse
    >>> bcoo_sort_indices(sparse.eye(2, k=1).T).indices.tolist()
    [[1, 0]]
    """
    as_format("bcoo_sort_indices", mat, BCOO)

    def ordered(data, indices):
        order, rows = in_order(indices)
        return data[order], rows

    data, indices = over_batches(ordered, mat.n_batch)(*mat._full())
    return BCOO((data, indices), shape=mat.shape, indices_sorted=True, unique_indices=mat.unique_indices)


@boundary
def bcoo_sum_duplicates(mat: BCOO, nse: int | None = None) -> BCOO:
    """The entries with the same index added up, sorted.

    Args:
      mat: a BCOO.
      nse: the number of entries to store; needed in traced code. More are padding, with fewer the last are left out.

    Raises: TypeError for what is no BCOO; ValueError if `nse` is needed.

    >>> from pullback.experimental import sparse
    >>> M = sparse.eye(2)
    >>> (M + M).nse, bcoo_sum_duplicates(M + M).data.tolist()
    (4, [2.0, 2.0])
    """
    return _without_duplicates(as_format("bcoo_sum_duplicates", mat, BCOO), nse, False)


def _without_duplicates(mat: BCOO, nse: int | None, remove_zeros: bool) -> BCOO:
    data, indices = mat._full()
    n_batch, sizes = mat.n_batch, mat._sparse_shape
    if remove_zeros:
        stored = (data != 0).any(tuple(range(n_batch + 1, data.ndim)))
        indices = where(stored[..., None], indices, sizes_of(indices, sizes)) if sizes else indices
    if nse is None:
        _, _, counts = over_batches(lambda rows: groups(rows, sizes), n_batch)(indices)
        nse = number_of_entries("bcoo_sum_duplicates", counts, ValueError)
    length = int(nse)
    data, indices = over_batches(lambda data, rows: summed(data, rows, sizes, length), n_batch)(data, indices)
    return BCOO((data, indices), shape=mat.shape, indices_sorted=True, unique_indices=True)
