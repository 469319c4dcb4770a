"""COO, CSR and CSC: single matrices in the classic formats, for which BCOO computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.tree import register_pytree_node_class
from pullback._core.typing import DTypeLike
from pullback.experimental.sparse._base import JAXSparse, as_format
from pullback.experimental.sparse._bcoo import BCOO
from pullback.experimental.sparse._bcsr import BCSR
from pullback.numpy import asarray, stack


class _Matrix(JAXSparse):
    """What the formats of one matrix share: `data` and two arrays that say where the entries are."""

    _names: tuple[str, str]

    @boundary
    def __init__(self, args: tuple[ArrayLike, ArrayLike, ArrayLike], *, shape: Sequence[int]):
        data, first, second = map(asarray, args)
        super().__init__((), shape=tuple(map(int, shape)))
        if self.ndim != 2 or {x.ndim for x in (data, first, second)} != {1}:
            raise ValueError(f"{type(self).__name__}: a matrix of shape (n, m), and three lists, are expected")
        self.data = data
        for name, value in zip(self._names, (first, second), strict=True):
            setattr(self, name, value)

    @property
    def _bufs(self) -> tuple[Any, ...]:
        return (self.data, *(getattr(self, name) for name in self._names))

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        """The three arrays, and the shape."""
        return self._bufs, (self.shape,)

    @classmethod
    def tree_unflatten(cls, aux_data: Any, children: Any) -> Self:
        """A matrix of what `tree_flatten` gave, or of anything in the place of its arrays."""
        self = object.__new__(cls)
        self.data, first, second = children
        for name, value in zip(cls._names, (first, second), strict=True):
            setattr(self, name, value)
        (self._given_shape,) = aux_data
        return self

    def _bcoo(self) -> BCOO:
        raise NotImplementedError

    @classmethod
    def _of(cls, mat: BCOO) -> Self:
        raise NotImplementedError

    def _transposed(self) -> Any:
        raise NotImplementedError

    @boundary
    def transpose(self, axes: Sequence[int] | None = None) -> Any:
        """The transpose: a CSC of a CSR, a CSR of a CSC. NotImplementedError for another order of axes."""
        if axes is not None and tuple(axes) != (1, 0):
            raise NotImplementedError(f"{type(self).__name__}.transpose: axes must be (1, 0), got {axes}")
        return self._transposed()

    @classmethod
    @boundary
    def fromdense(cls, mat: ArrayLike, *, nse: int | None = None, index_dtype: DTypeLike = np.int32) -> Self:
        """The entries of a matrix that differ from zero; the arguments and errors of `bcoo_fromdense`."""
        return cls._of(BCOO.fromdense(mat, nse=nse, index_dtype=index_dtype))

    @classmethod
    def _empty(cls, shape: Sequence[int], *, dtype: DTypeLike | None = None, index_dtype: DTypeLike = "int32") -> Self:
        if len(tuple(shape)) != 2:
            raise ValueError(f"empty: a {cls.__name__} has two axes, got shape {tuple(shape)}")
        return cls._of(BCOO._empty(shape, dtype=dtype, index_dtype=index_dtype))

    @classmethod
    def _eye(cls, N: int, M: int, k: int, *, dtype: DTypeLike | None = None, index_dtype: DTypeLike = "int32") -> Self:
        return cls._of(BCOO._eye(N, M, k, dtype=dtype, index_dtype=index_dtype))

    @boundary
    def todense(self) -> Array:
        """The matrix that is represented."""
        return self._bcoo().todense()

    @boundary
    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, JAXSparse):
            raise NotImplementedError(f"{type(self).__name__} has no product with a sparse array: use BCOO")
        return self._bcoo() @ other

    @boundary
    def __rmatmul__(self, other: Any) -> Any:
        return other @ self._bcoo()


@register_pytree_node_class
class COO(_Matrix):
    """A matrix as a list of entries with their rows and columns; BCOO can more.

    Args:
      args: `(data, row, col)`, of shape (nse,) each.
      shape: the shape of the matrix.
      rows_sorted, cols_sorted: what is known of the order; it is not checked.

    Raises: ValueError for shapes that do not fit.

    >>> import pullback.numpy as pnp
    >>> M = COO.fromdense(pnp.array([[0., 2.], [1., 0.]]))
    >>> print(M, M.row, M.col, M @ pnp.ones(2))
    COO(float32[2, 2], nse=2) [0 1] [1 0] [2. 1.]
    """

    _names = ("row", "col")
    row: Any
    col: Any

    def __init__(
        self,
        args: tuple[ArrayLike, ArrayLike, ArrayLike],
        *,
        shape: Sequence[int],
        rows_sorted: bool = False,
        cols_sorted: bool = False,
    ):
        super().__init__(args, shape=shape)

    def _bcoo(self) -> BCOO:
        return BCOO((self.data, stack([self.row, self.col], -1)), shape=self.shape)

    @classmethod
    def _of(cls, mat: BCOO) -> COO:
        return cls((mat.data, mat.indices[:, 0], mat.indices[:, 1]), shape=mat.shape)

    def _transposed(self) -> COO:
        return COO((self.data, self.col, self.row), shape=self.shape[::-1])


@register_pytree_node_class
class CSR(_Matrix):
    """A matrix in compressed rows; BCSR can more.

    Args:
      args: `(data, indices, indptr)`: the entries row by row, the column of each, and where each row starts.
      shape: the shape of the matrix.

    Raises: ValueError for shapes that do not fit.

    >>> import pullback.numpy as pnp
    >>> M = CSR.fromdense(pnp.array([[0., 2.], [1., 0.]]))
    >>> print(M, M.indices, M.indptr, M @ pnp.ones(2))
    CSR(float32[2, 2], nse=2) [1 0] [0 1 2] [2. 1.]
    """

    _names = ("indices", "indptr")
    indices: Any
    indptr: Any

    def _bcoo(self) -> BCOO:
        return BCSR(self._bufs, shape=self.shape).to_bcoo()

    @classmethod
    def _of(cls, mat: BCOO) -> CSR:
        return cls(BCSR.from_bcoo(mat)._bufs, shape=mat.shape)

    def _transposed(self) -> CSC:
        return CSC(self._bufs, shape=self.shape[::-1])


@register_pytree_node_class
class CSC(_Matrix):
    """A matrix in compressed columns.

    Args:
      args: `(data, indices, indptr)`: the entries column by column, the row of each, and where each column starts.
      shape: the shape of the matrix.

    Raises: ValueError for shapes that do not fit.

    >>> import pullback.numpy as pnp
    >>> M = CSC.fromdense(pnp.array([[0., 2.], [1., 0.]]))
    >>> print(M, M.indices, M.indptr, M.T)
    CSC(float32[2, 2], nse=2) [1 0] [0 1 2] CSR(float32[2, 2], nse=2)
    """

    _names = ("indices", "indptr")
    indices: Any
    indptr: Any

    def _bcoo(self) -> BCOO:
        return self._transposed()._bcoo().transpose()

    @classmethod
    def _of(cls, mat: BCOO) -> CSC:
        return cls(BCSR.from_bcoo(mat.transpose())._bufs, shape=mat.shape)

    def _transposed(self) -> CSR:
        return CSR(self._bufs, shape=self.shape[::-1])


@boundary
def coo_fromdense(mat: ArrayLike, *, nse: int | None = None, index_dtype: DTypeLike = np.int32) -> COO:
    """The entries of a matrix that differ from zero, as a COO; the arguments and errors of `bcoo_fromdense`.

    >>> import pullback.numpy as pnp
    >>> coo_fromdense(pnp.eye(3))
    COO(float32[3, 3], nse=3)
    """
    return COO.fromdense(mat, nse=nse, index_dtype=index_dtype)


@boundary
def csr_fromdense(mat: ArrayLike, *, nse: int | None = None, index_dtype: DTypeLike = np.int32) -> CSR:
    """The entries of a matrix that differ from zero, as a CSR; the arguments and errors of `bcoo_fromdense`.

    >>> import pullback.numpy as pnp
    >>> csr_fromdense(pnp.eye(3))
    CSR(float32[3, 3], nse=3)
    """
    return CSR.fromdense(mat, nse=nse, index_dtype=index_dtype)


@boundary
def coo_todense(mat: COO) -> Array:
    """The matrix that a COO represents. TypeError for anything else.

    >>> import pullback.numpy as pnp
    >>> print(coo_todense(coo_fromdense(pnp.eye(2)))[1])
    [0. 1.]
    """
    return as_format("coo_todense", mat, COO).todense()


@boundary
def csr_todense(mat: CSR) -> Array:
    """The matrix that a CSR represents. TypeError for anything else.

    >>> import pullback.numpy as pnp
    >>> print(csr_todense(csr_fromdense(pnp.eye(2)))[1])
    [0. 1.]
    """
    return as_format("csr_todense", mat, CSR).todense()


def _times(caller: str, mat: Any, x: ArrayLike, transpose: bool, ndim: int) -> Array:
    x = asarray(x)
    if x.ndim != ndim:
        raise ValueError(f"{caller}: expected an operand with {ndim} axes, got shape {x.shape}")
    return (mat.T if transpose else mat) @ x


@boundary
def coo_matvec(mat: COO, v: ArrayLike, transpose: bool = False) -> Array:
    """The product of a COO, or of its transpose, and a vector. TypeError or ValueError for anything else.

    >>> import pullback.numpy as pnp
    >>> print(coo_matvec(coo_fromdense(pnp.eye(2)), pnp.ones(2)))
    [1. 1.]
    """
    return _times("coo_matvec", as_format("coo_matvec", mat, COO), v, transpose, 1)


@boundary
def coo_matmat(mat: COO, B: ArrayLike, *, transpose: bool = False) -> Array:
    """The product of a COO, or of its transpose, and a matrix. TypeError or ValueError for anything else.

    >>> import pullback.numpy as pnp
    >>> coo_matmat(coo_fromdense(pnp.eye(2)), pnp.ones((2, 3))).shape
    (2, 3)
    """
    return _times("coo_matmat", as_format("coo_matmat", mat, COO), B, transpose, 2)


@boundary
def csr_matvec(mat: CSR, v: ArrayLike, transpose: bool = False) -> Array:
    """The product of a CSR, or of its transpose, and a vector. TypeError or ValueError for anything else.

    >>> import pullback.numpy as pnp
    >>> print(csr_matvec(csr_fromdense(pnp.eye(2)), pnp.ones(2)))
    [1. 1.]
    """
    return _times("csr_matvec", as_format("csr_matvec", mat, CSR), v, transpose, 1)


@boundary
def csr_matmat(mat: CSR, B: ArrayLike, *, transpose: bool = False) -> Array:
    """The product of a CSR, or of its transpose, and a matrix. TypeError or ValueError for anything else.

    >>> import pullback.numpy as pnp
    >>> csr_matmat(csr_fromdense(pnp.eye(2)), pnp.ones((2, 3))).shape
    (2, 3)
    """
    return _times("csr_matmat", as_format("csr_matmat", mat, CSR), B, transpose, 2)
