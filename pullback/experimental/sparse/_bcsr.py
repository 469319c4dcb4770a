"""BCSR: matrices whose entries are stored row by row, in batches. What is computed is computed by BCOO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.tree import register_pytree_node_class
from pullback._core.typing import DTypeLike
from pullback.experimental.sparse._base import BatchedSparse, as_format, over_batches, with_batch
from pullback.experimental.sparse._bcoo import BCOO
from pullback.experimental.sparse._products import bcoo_dot_general
from pullback.lax import DotDimensionNumbers
from pullback.numpy import arange, asarray, searchsorted, stack, zeros


@register_pytree_node_class
class BCSR(BatchedSparse):
    """Matrices in compressed rows, in batches.

    Args:
      args: `(data, indices, indptr)`: the entries row by row, of shape (*batch, nse, *dense), the column of each, of
        shape (*batch, nse), and where each row starts, of shape (*batch, rows + 1).
      shape: the shape of the array that is represented, (*batch, rows, columns, *dense).
      indices_sorted, unique_indices: what is known of the indices; it is not checked.

    Raises: ValueError for shapes that do not fit.

    >>> import pullback.numpy as pnp
    >>> M = BCSR.fromdense(pnp.array([[0., 2., 0.], [1., 0., 4.]]))
    >>> print(M, M.indices, M.indptr)
    BCSR(float32[2, 3], nse=3) [1 0 2] [0 1 3]
    >>> print(M @ pnp.ones(3), M.to_bcoo().nse)
    [2. 5.] 3
    """

    _names: tuple[str, ...] = ("data", "indices", "indptr")
    indptr: Any

    @boundary
    def __init__(
        self,
        args: tuple[ArrayLike, ArrayLike, ArrayLike],
        *,
        shape: Sequence[int],
        indices_sorted: bool = False,
        unique_indices: bool = False,
    ):
        self._keep(list(map(asarray, args)), indices_sorted, unique_indices)
        whole, n = tuple(map(int, shape)), self.indices.ndim - 1
        fits = n >= 0 and len(whole) >= n + 2 and self.indptr.ndim == n + 1 and self.indptr.shape[-1] == whole[n] + 1
        if not fits or self.data.shape[n:] != (self.indices.shape[-1], *whole[n + 2 :]):
            raise ValueError(
                f"BCSR: data of shape {self.data.shape}, indices of shape {self.indices.shape} and indptr of shape "
                f"{self.indptr.shape} do not fit the shape {whole}"
            )
        self._tail = whole[n:]
        parts = {x.shape[:n] for x in self._bufs}
        self._batch = None if parts == {whole[:n]} else whole[:n]

    @property
    def nse(self) -> int:
        """The number of stored entries, of each matrix of a batch."""
        return self.indices.shape[-1]

    @property
    def n_batch(self) -> int:
        """The number of batch axes."""
        return self.indices.ndim - 1

    @property
    def n_sparse(self) -> int:
        """The number of sparse axes: 2."""
        return 2

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
    ) -> BCSR:
        """The entries of an array that differ from zero; the arguments and errors of `bcoo_fromdense`."""
        return cls.from_bcoo(BCOO.fromdense(mat, nse=nse, index_dtype=index_dtype, n_dense=n_dense, n_batch=n_batch))

    @classmethod
    @boundary
    def from_bcoo(cls, arr: BCOO) -> BCSR:
        """A BCOO with two sparse axes, row by row. NotImplementedError for another number."""
        as_format("BCSR.from_bcoo", arr, BCOO)
        if arr.n_sparse != 2:
            raise NotImplementedError(f"BCSR.from_bcoo: the array must have two sparse axes, got {arr.n_sparse}")
        if not arr.indices_sorted:
            arr = arr.sort_indices()
        data, indices = arr._full()
        rows = arr._sparse_shape[0]

        def starts(rows_of_entries):
            return searchsorted(rows_of_entries, arange(rows + 1), side="left").astype(indices.dtype)

        indptr = over_batches(starts, arr.n_batch)(indices[..., 0])
        parts = data, indices[..., 1], indptr
        return cls(parts, shape=arr.shape, indices_sorted=True, unique_indices=arr.unique_indices)

    @classmethod
    @boundary
    def from_scipy_sparse(
        cls, mat: Any, *, index_dtype: DTypeLike | None = None, n_dense: int = 0, n_batch: int = 0
    ) -> BCSR:
        """The entries of a sparse matrix of SciPy's. NotImplementedError for batch and dense axes."""
        if n_dense or n_batch:
            raise NotImplementedError("BCSR.from_scipy_sparse: SciPy's matrices have no batch axes and no dense axes")
        rows, kind = mat.tocsr(), index_dtype or np.int32
        return cls((rows.data, rows.indices.astype(kind), rows.indptr.astype(kind)), shape=mat.shape)

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
    ) -> BCSR:
        sizes = tuple(shape)
        if n_dense or n_batch or len(sizes) != 2:
            raise ValueError("empty: a BCSR without entries has two axes, none of a batch and none dense")
        parts = zeros(nse, dtype), zeros(nse, index_dtype), zeros(sizes[0] + 1, index_dtype)
        return cls(parts, shape=sizes)

    @boundary
    def to_bcoo(self) -> BCOO:
        """The same entries as a BCOO."""
        n = self.n_batch
        batch = self.shape[:n]
        data, indices, indptr = (with_batch(x, batch) for x in self._bufs)

        def pairs(indices, indptr):
            places = arange(indices.shape[0], dtype=indptr.dtype)
            row = searchsorted(indptr, places, side="right").astype(indices.dtype) - 1
            return stack([row, indices], -1)

        return BCOO(
            (data, over_batches(pairs, n)(indices, indptr)),
            shape=self.shape,
            indices_sorted=self.indices_sorted,
            unique_indices=self.unique_indices,
        )

    @boundary
    def todense(self) -> Array:
        """The array that is represented."""
        return self.to_bcoo().todense()

    @boundary
    def transpose(self, axes: Sequence[int] | None = None) -> BCSR:
        """The array with its axes in another order; the errors of `bcoo_transpose`."""
        return BCSR.from_bcoo(self.to_bcoo().transpose(axes))

    @boundary
    def sum_duplicates(self, nse: int | None = None, remove_zeros: bool = True) -> BCSR:
        """The entries with the same index added up, as those of a BCOO."""
        return BCSR.from_bcoo(self.to_bcoo().sum_duplicates(nse, remove_zeros))

    @boundary
    def __getitem__(self, item: Any) -> Any:
        return self.to_bcoo()[item]

    @boundary
    def __matmul__(self, other: Any) -> Any:
        return self.to_bcoo() @ other

    @boundary
    def __rmatmul__(self, other: Any) -> Any:
        return other @ self.to_bcoo()

    def __neg__(self) -> Any:
        return BCSR.tree_unflatten(self.tree_flatten()[1], (-self.data, self.indices, self.indptr))


@boundary
def bcsr_fromdense(
    mat: ArrayLike, *, nse: int | None = None, n_batch: int = 0, n_dense: int = 0, index_dtype: DTypeLike = np.int32
) -> BCSR:
    """The entries of an array that differ from zero, as a BCSR; the arguments and errors of `bcoo_fromdense`.

    >>> import pullback.numpy as pnp
    >>> bcsr_fromdense(pnp.eye(3)).indptr.tolist()
    [0, 1, 2, 3]
    """
    return BCSR.fromdense(mat, nse=nse, n_batch=n_batch, n_dense=n_dense, index_dtype=index_dtype)


@boundary
def bcsr_todense(mat: BCSR) -> Array:
    """The array that a BCSR represents. TypeError for anything else.

    >>> import pullback.numpy as pnp
    >>> print(bcsr_todense(bcsr_fromdense(pnp.eye(2)))[0])
    [1. 0.]
    """
    return as_format("bcsr_todense", mat, BCSR).todense()


@boundary
def bcsr_dot_general(
    lhs: BCSR | ArrayLike,
    rhs: ArrayLike,
    *,
    dimension_numbers: DotDimensionNumbers,
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: None = None,
) -> Any:
    """The product of a BCSR and an array; the arguments and errors of `bcoo_dot_general`.

    >>> import pullback.numpy as pnp
    >>> print(bcsr_dot_general(bcsr_fromdense(pnp.eye(2)), pnp.ones(2), dimension_numbers=(((1,), (0,)), ((), ()))))
    [1. 1.]
    """
    left, right = (x.to_bcoo() if isinstance(x, BCSR) else x for x in (lhs, rhs))
    return bcoo_dot_general(
        left,
        right,
        dimension_numbers=dimension_numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


@boundary
def bcsr_sum_duplicates(mat: BCSR, nse: int | None = None) -> BCSR:
    """The entries with the same index added up; the arguments and errors of `bcoo_sum_duplicates`.

    >>> import pullback.numpy as pnp
    >>> bcsr_sum_duplicates(bcsr_fromdense(pnp.eye(2)), nse=3).nse
    3
    """
    return as_format("bcsr_sum_duplicates", mat, BCSR).sum_duplicates(nse, False)
