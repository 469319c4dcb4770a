"""Orthogonal and spectral decompositions as in `scipy.linalg`, on stacks of matrices in the last two axes.

Integers and bools are computed in floating point; half precision is refused, since LAPACK knows none. The options
`overwrite_a`, `overwrite_b`, `check_finite`, `lwork` and `turbo` are accepted and change nothing: arrays are never
written to, and a matrix with nan or inf gives nan.
"""

from __future__ import annotations

from typing import Any

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops import qr as qr_ops
from pullback._ops import svd as svd_ops
from pullback._ops.cholesky import cholesky
from pullback._ops.eigh import eigenvalues
from pullback._ops.eigh import eigh as decomposed
from pullback._ops.matrices import adjoint, check_matrices, product
from pullback._ops.triangular_solve import triangular_solve
from pullback.numpy._linalg.solving import inexact, square_matrices, system

__all__ = ["eigh", "eigh_tridiagonal", "eigvalsh", "qr", "qr_multiply", "svd", "svdvals"]


def _matrices(name: str, a: ArrayLike) -> Array:
    x = inexact(name, a)
    check_matrices(name, x.aval, what="a")
    return x


@boundary
def qr(
    a: ArrayLike,
    overwrite_a: bool = False,
    lwork: int | None = None,
    mode: str = "full",
    pivoting: bool = False,
    check_finite: bool = True,
) -> tuple[Array, ...]:
    """The decomposition `a = q @ r` of matrices `(..., m, n)`, `q` with orthonormal columns, `r` upper triangular.

    `mode`: "full", `q` `(..., m, m)` and `r` `(..., m, n)`; "economic", `q` `(..., m, k)` and `r` `(..., k, n)` with k
    = min(m, n); "r", only `r` of "full", still in a tuple. With `pivoting` the last result is int32 `p` `(..., n)`,
    such that `a[:, p] = q @ r` with the elements on the diagonal of `r` descending in size. For the derivative see
    `pullback.lax.linalg.qr`. Raises: ValueError for other shapes and modes, TypeError for other dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> q, r = linalg.qr(pnp.array([[3.], [4.]]), mode="economic")
    >>> print(r)
    [[-5.]]
    """
    if mode not in ("full", "economic", "r"):
        raise ValueError(f"qr: mode must be 'full', 'economic' or 'r', got {mode!r}")
    results = qr_ops.qr(_matrices("qr", a), pivoting=pivoting, full_matrices=mode != "economic")
    return results[1:] if mode == "r" else results


@boundary
def qr_multiply(
    a: ArrayLike,
    c: ArrayLike,
    mode: str = "right",
    pivoting: bool = False,
    conjugate: bool = False,
    overwrite_a: bool = False,
    overwrite_c: bool = False,
) -> tuple[Array, ...]:
    """The product of the q of `qr(a, mode="economic")` and a matrix, with the r.

    Args:
      a: matrices `(..., m, n)`; k is min(m, n).
      c: with mode "right" `(..., p, m)`, for `c @ q`; with "left" `(..., k, p)`, for `q @ c`. A vector counts as a row,
        or a column, and gives a vector.
      mode: "right" or "left".
      pivoting: whether the permutation of `qr` is the third result.
      conjugate: whether q is conjugated.

    Raises: ValueError for other shapes and modes, TypeError for other dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> product, r = linalg.qr_multiply(pnp.array([[3.], [4.]]), pnp.array([3., 4.]))
    >>> print(product, r)
    [-5.] [[-5.]]
    """
    if mode not in ("left", "right"):
        raise ValueError(f"qr_multiply: mode must be 'left' or 'right', got {mode!r}")
    x, other = _matrices("qr_multiply", a), inexact("qr_multiply", c)
    q, *rest = qr_ops.qr(x, pivoting=pivoting, full_matrices=False)
    q = pnp.conj(q) if conjugate else q
    vector = other.ndim == 1
    if vector:
        other = other[:, None] if mode == "left" else other[None]
    inner = (other.shape[-2], q.shape[-1]) if mode == "left" else (other.shape[-1], q.shape[-2])
    if other.ndim < 2 or inner[0] != inner[1]:
        raise ValueError(
            f"qr_multiply: with mode {mode!r} c must have length {inner[1]} along its axis beside q, got shape "
            f"{pnp.shape(c)}"
        )
    result = pnp.matmul(q, other) if mode == "left" else pnp.matmul(other, q)
    if vector:
        result = result[..., 0] if mode == "left" else result[..., 0, :]
    return (result, *rest)


@boundary
def svd(
    a: ArrayLike,
    full_matrices: bool = True,
    compute_uv: bool = True,
    overwrite_a: bool = False,
    check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:
    """The singular value decomposition `a = u @ diag(s) @ vh` of matrices `(..., m, n)`.

    Returns: `u` `(..., m, k)`, `s` `(..., min(m, n))`, real and descending, and `vh` `(..., k, n)`, where k is min(m,
    n), or m and n with `full_matrices`; without `compute_uv` only `s`. `lapack_driver`: "gesdd" or "gesvd", which
    return the same: it is by gesdd in each case. For the derivative see `pullback.lax.linalg.svd`. Raises: ValueError
    for other shapes and drivers, TypeError for other dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.svd(pnp.array([[3., 0.], [0., -4.]]), compute_uv=False))
    [4. 3.]
    """
    if lapack_driver not in ("gesdd", "gesvd"):
        raise ValueError(f"svd: lapack_driver must be 'gesdd' or 'gesvd', got {lapack_driver!r}")
    return svd_ops.svd(_matrices("svd", a), full_matrices=full_matrices, compute_uv=compute_uv)


@boundary
def svdvals(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The singular values of matrices `(..., m, n)`: real, descending, of shape `(..., min(m, n))`.

    Raises: ValueError for fewer than two axes, TypeError for other dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.svdvals(pnp.array([[3., 0.], [0., -4.]])))
    [4. 3.]
    """
    return svd_ops.singular_values("svdvals", _matrices("svdvals", a))


@boundary
def eigh(
    a: ArrayLike,
    b: ArrayLike | None = None,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    turbo: bool = True,
    eigvals: None = None,
    type: int = 1,
    check_finite: bool = True,
) -> Any:
    """The eigenvalues and eigenvectors of symmetric (Hermitian) matrices `(..., n, n)`.

    Returns: `w` `(..., n)`, real and ascending, and `v` `(..., n, n)`, the columns; with `eigvals_only` only `w`. `a`
    is replaced by `(a + a^H) / 2`, so that `lower` changes nothing but rounding errors. With positive definite `b`, of
    the shape of `a`, the problem is `a @ v = b @ v * w` (`type` 1), `a @ b @ v = v * w` (2) or `b @ a @ v = v * w` (3),
    and the vectors have length 1 by `b`, in type 3 by its inverse; a `b` that is not positive definite gives nan. For
    the derivative see `pullback.lax.linalg.eigh`. Raises: ValueError for other shapes and types, TypeError for other
    dtypes, NotImplementedError for `eigvals`: slice the results.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> w, v = linalg.eigh(pnp.array([[1., 0.], [0., 8.]]), pnp.array([[1., 0.], [0., 4.]]))
    >>> print(w)
    [1. 2.]
    """
    if eigvals is not None:
        raise NotImplementedError(f"eigh: eigvals={eigvals!r} is not supported: slice the results")
    return _eigh("eigh", a, b, lower, eigvals_only, type)


@boundary
def eigvalsh(
    a: ArrayLike,
    b: ArrayLike | None = None,
    *,
    lower: bool = True,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    type: int = 1,
    check_finite: bool = True,
) -> Array:
    """The eigenvalues of symmetric (Hermitian) matrices, as `eigh` with `eigvals_only`; the errors are the same.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.eigvalsh(pnp.array([[3., 0.], [0., 1.]])))
    [1. 3.]
    """
    return _eigh("eigvalsh", a, b, lower, True, type)


def _eigh(name: str, a: ArrayLike, b: ArrayLike | None, lower: bool, values_only: bool, type: int) -> Any:
    if type not in (1, 2, 3):
        raise ValueError(f"{name}: type must be 1, 2 or 3, got {type!r}")
    if b is None:
        x = square_matrices(name, a)
        if values_only:
            return eigenvalues(name, x, bool(lower), True)
        v, w = decomposed(x, lower=lower)
        return w, v
    x, y, _ = system(name, a, b)
    if x.aval.shape != y.aval.shape:
        raise ValueError(f"{name}: expected a and b of one shape, got {x.aval.shape} and {y.aval.shape}")
    # with b = l l^H the problem is that of one matrix, whose vectors are l^H v, in type 3 l^-1 v
    factor = cholesky(y)
    if type == 1:
        reduced = triangular_solve(factor, x, left_side=True, lower=True)
        reduced = triangular_solve(factor, reduced, lower=True, transpose_a=True, conjugate_a=True)
    else:
        reduced = product(adjoint(factor), x, factor)
    if values_only:
        return eigenvalues(name, reduced, bool(lower), True)
    v, w = decomposed(reduced, lower=lower)
    if type == 3:
        return w, product(factor, v)
    return w, triangular_solve(factor, v, left_side=True, lower=True, transpose_a=True, conjugate_a=True)


@boundary
def eigh_tridiagonal(
    d: ArrayLike,
    e: ArrayLike,
    *,
    eigvals_only: bool = False,
    select: str = "a",
    select_range: tuple[float, float] | None = None,
    tol: float | None = None,
    key: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Eigenvalues, rising, and eigenvectors of symmetric tridiagonal matrices, which are formed for it.

    Args:
      d: the diagonals, real, of shape `(..., n)`.
      e: the numbers beside them, real, of shape `(..., n - 1)`.
      eigvals_only: whether only the eigenvalues are returned.
      select: "a" for all, "i" for those with the indices from `select_range[0]` to `select_range[1]`, both included.
      tol, key: accepted, and change nothing.

    Returns: eigenvalues `(..., n)`, and unit eigenvectors as columns.
    Raises: ValueError for other shapes, unknown selections and indices outside; TypeError for other dtypes;
      NotImplementedError for the selection "v" of a range of values, whose number types do not tell.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.eigh_tridiagonal(pnp.array([2., 2.]), pnp.array([1.]), eigvals_only=True).round(4))
    [1. 3.]
    """
    if select == "v":
        raise NotImplementedError(
            "eigh_tridiagonal: select='v' is not implemented, for types do not tell how many eigenvalues are in a "
            "range; select all of them, and compare"
        )
    if select not in ("a", "i"):
        raise ValueError(f"eigh_tridiagonal: select must be 'a' or 'i', got {select!r}")
    diagonal, beside = inexact("eigh_tridiagonal", d), inexact("eigh_tridiagonal", e)
    if pnp.iscomplexobj(diagonal) or pnp.iscomplexobj(beside):
        raise TypeError("eigh_tridiagonal: d and e must be real")
    n = diagonal.shape[-1] if diagonal.ndim else 0
    if not n or beside.ndim != diagonal.ndim or beside.shape[-1] != n - 1:
        raise ValueError(
            f"eigh_tridiagonal: e must have one entry less than d, got shapes {diagonal.shape} and {beside.shape}"
        )
    dtype = pnp.result_type(diagonal, beside)
    diagonal, beside = diagonal.astype(dtype), beside.astype(dtype)
    low = beside[..., :, None] * pnp.eye(n - 1, n, dtype=dtype)
    low = pnp.concatenate([pnp.zeros((*low.shape[:-2], 1, n), dtype), low], -2)
    matrix = diagonal[..., :, None] * pnp.eye(n, dtype=dtype) + low + pnp.swapaxes(low, -1, -2)
    first, last = 0, n - 1
    if select == "i":
        if select_range is None or not 0 <= select_range[0] <= select_range[1] < n:
            raise ValueError(
                f"eigh_tridiagonal: select_range must be two indices of {n} eigenvalues, in order, got {select_range}"
            )
        first, last = int(select_range[0]), int(select_range[1])
    if eigvals_only:
        return eigenvalues("eigh_tridiagonal", matrix, True, True)[..., first : last + 1]
    v, w = decomposed(matrix, lower=True)
    return w[..., first : last + 1], v[..., first : last + 1]
