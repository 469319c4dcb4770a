"""Linear algebra with sparse matrices: direct solution of systems, and the largest eigenvalues."""

from __future__ import annotations

import typing as _typing
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback import lax
from pullback._api.callbacks import pure_callback
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary, described
from pullback._core.lazy import attributes as _attributes
from pullback._core.types import ShapeDtypeStruct
from pullback.experimental.sparse._bcsr import BCSR
from pullback.numpy import asarray, concatenate, finfo, zeros_like
from pullback.numpy.linalg import eigh, norm, qr

__all__ = ["lobpcg_standard", "spsolve"]

# SuperLU's names of the orders in which columns are eliminated, by the numbers of JAX's argument `reorder`
_ORDERS = ("NATURAL", "MMD_AT_PLUS_A", "COLAMD", "MMD_ATA")


@boundary
def spsolve(
    data: ArrayLike,
    indices: ArrayLike,
    indptr: ArrayLike,
    b: ArrayLike,
    tol: float = 1e-6,
    reorder: int = 1,
) -> Array:
    """Solve `A x = b` for a sparse matrix in compressed rows, by SciPy's sparse LU decomposition on the host.

    Args:
      data, indices, indptr: the entries of `A` row by row, the column of each, and where each row starts.
      b: the right-hand side, of shape (n,).
      tol: ignored: the solution is direct.
      reorder: the order of elimination: 0 as it is, 1 by minimum degree on A + A^T, 2 by column, 3 on A^T A.

    Returns: the solution. It is differentiated through the equation, with respect to `data` and `b`, in both modes.
    Raises: ValueError for shapes that do not fit; TypeError for dtypes that are not floating point or complex.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental import sparse
    >>> A = sparse.BCSR.fromdense(pnp.array([[2., 1.], [0., 4.]]))
    >>> print(spsolve(A.data, A.indices, A.indptr, pnp.array([4., 8.])))
    [1. 2.]
    """
    data, indices, indptr, b = map(asarray, (data, indices, indptr, b))
    if b.ndim != 1 or indptr.shape != (b.shape[0] + 1,) or data.shape != indices.shape or data.ndim != 1:
        raise ValueError(
            f"spsolve: expected data and indices of one length, indptr of shape (n + 1,) and b of shape (n,), got "
            f"{data.shape}, {indices.shape}, {indptr.shape} and {b.shape}"
        )
    if data.dtype != b.dtype or not dtypes.is_inexact(b.dtype):
        raise TypeError(f"spsolve: data and b must be of one inexact dtype, got {data.dtype} and {b.dtype}")
    if reorder not in range(len(_ORDERS)):
        raise ValueError(f"spsolve: reorder must be 0, 1, 2 or 3, got {reorder!r}")
    size = b.shape[0]
    mat = BCSR((data, indices, indptr), shape=(size, size)).to_bcoo()

    def on_host(transposed: bool) -> Callable[..., np.ndarray]:
        def solved(data, indices, indptr, b):
            from scipy.sparse import csr_matrix
            from scipy.sparse.linalg import MatrixRankWarning
            from scipy.sparse.linalg import spsolve as by_scipy

            parts = tuple(np.ascontiguousarray(x) for x in (data, indices, indptr))
            whole = csr_matrix(parts, shape=(size, size))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MatrixRankWarning)  # a singular matrix gives nan, as everywhere here
                x = by_scipy((whole.T if transposed else whole).tocsc(), np.asarray(b), permc_spec=_ORDERS[reorder])
            return np.asarray(x, np.asarray(b).dtype)

        return solved

    def solver(transposed: bool) -> Callable[..., Array]:
        def solve(_: Any, b: Array) -> Array:
            kind = ShapeDtypeStruct(b.shape, b.dtype)
            fixed = (lax.stop_gradient(data), indices, indptr)
            return pure_callback(on_host(transposed), kind, *fixed, b, vmap_method="sequential")

        return solve

    return lax.custom_linear_solve(lambda x: mat @ x, b, solver(False), solver(True))


@boundary
def lobpcg_standard(
    A: ArrayLike | Callable[[Array], Array], X: ArrayLike, m: int = 100, tol: float | None = None
) -> tuple[Array, Array, Array]:
    """The largest eigenvalues of a symmetric matrix, by locally optimal block conjugate gradients (Knyazev 2001).

    Args:
      A: a matrix of shape (n, n), or a function that multiplies it by a matrix of shape (n, k).
      X: where it starts, of shape (n, k), with 0 < 5 k < n; its columns span the space that is improved.
      m: the maximal number of steps.
      tol: it stops where every residual is below `tol` times the sum of the eigenvalue and the scale of `A X`: by
        default ten times the precision of the dtype.

    Returns: the k largest eigenvalues, from above, their eigenvectors of shape (n, k), and the number of steps.
    Raises: ValueError for shapes that do not fit; TypeError for a dtype that is no floating point.

    >>> import pullback.numpy as pnp
    >>> values, vectors, _ = lobpcg_standard(pnp.diag(pnp.arange(1., 13.)), pnp.eye(12, 2) + 0.1)
    >>> print(values.round(3))
    [12. 11.]
    """
    x = asarray(X)
    if x.ndim != 2 or not 0 < 5 * x.shape[1] < x.shape[0]:
        raise ValueError(f"lobpcg_standard: X must have shape (n, k) with 0 < 5 k < n, got {x.shape}")
    if not dtypes.is_float(x.dtype):
        raise TypeError(f"lobpcg_standard: X must be of a floating point dtype, got {x.dtype}")
    if callable(A):
        apply: Callable[[Array], Array] = A
    elif np.shape(A) == (x.shape[0], x.shape[0]):
        matrix = asarray(A)

        def apply(x: Array) -> Array:
            return matrix @ x
    else:
        raise ValueError(f"lobpcg_standard: A must be a function or have shape {(x.shape[0],) * 2}, got {described(A)}")
    count = x.shape[1]
    bound = 10 * float(finfo(x.dtype).eps) if tol is None else tol

    def ritz(basis: Array) -> tuple[Array, Array, Array]:
        """The best approximations in a space: values from above, vectors, and their coefficients."""
        basis, _ = qr(basis)
        values, coefficients = eigh(basis.T @ apply(basis))
        best = coefficients[:, ::-1][:, :count]
        return values[::-1][:count], basis @ best, best

    def residual(values: Array, x: Array) -> tuple[Array, Array]:
        image = apply(x)
        rest = image - x * values
        return rest, norm(rest, axis=0) <= bound * (abs(values) + norm(image, axis=0))

    def more(state: tuple[Array, ...]) -> Array:
        step, _, _, _, _, done = state
        return (step < m) & ~done

    def improved(state: tuple[Array, ...]) -> tuple[Array, ...]:
        step, _, x, direction, rest, _ = state
        values, better, _ = ritz(concatenate([x, rest, direction], 1))
        direction = better - x @ (x.T @ better)
        rest, small = residual(values, better)
        return step + 1, values, better, direction, rest, small.all()

    values, x, _ = ritz(x)
    rest, small = residual(values, x)
    start = (asarray(0, np.int32), values, x, zeros_like(x), rest, small.all())
    step, values, x, _, _, _ = lax.while_loop(more, improved, start)
    return values, x, step


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
