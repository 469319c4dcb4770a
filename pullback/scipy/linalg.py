"""Linear algebra as in `scipy.linalg`, on stacks of matrices in the last two axes.

Integers and bools are computed in floating point; half precision is refused, since LAPACK knows none. The options
`overwrite_a`, `overwrite_b`, `check_finite` and `debug` are accepted and change nothing: arrays are never written to,
and matrices with entries that are not finite give nan or inf.
"""

from __future__ import annotations

import typing as _typing
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary, kind_of
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import AnyValue
from pullback._ops import cholesky as cholesky_ops
from pullback._ops import compare, elementwise
from pullback._ops import lu as lu_ops
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.matrices import adjoint, check_matrices, conjugate, identity, rows, side_by_side, triangle
from pullback._ops.shape import convert_element_type, reshape
from pullback._ops.slicing import slice_in_dim
from pullback._ops.triangular_solve import triangular_solve
from pullback._ops.trig import real_dtype
from pullback.numpy import linalg
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._linalg.solving import columns, inexact, square_matrices, system
from pullback.scipy._matrix_equations import hessenberg, polar, rsf2csf, schur, solve_sylvester
from pullback.scipy._matrix_functions import expm, expm_frechet, funm, sqrtm
from pullback.scipy._spectral import eigh, eigh_tridiagonal, eigvalsh, qr, qr_multiply, svd, svdvals
from pullback.scipy._structured_matrices import (
    block_diag,
    circulant,
    companion,
    convolution_matrix,
    dft,
    fiedler,
    fiedler_companion,
    hadamard,
    hankel,
    helmert,
    hilbert,
    invhilbert,
    invpascal,
    leslie,
    pascal,
    toeplitz,
)

__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "circulant",
    "companion",
    "convolution_matrix",
    "det",
    "dft",
    "eigh",
    "eigh_tridiagonal",
    "eigvalsh",
    "expm",
    "expm_frechet",
    "fiedler",
    "fiedler_companion",
    "funm",
    "hadamard",
    "hankel",
    "helmert",
    "hessenberg",
    "hilbert",
    "inv",
    "invhilbert",
    "invpascal",
    "leslie",
    "lu",
    "lu_factor",
    "lu_solve",
    "pascal",
    "polar",
    "qr",
    "qr_multiply",
    "rsf2csf",
    "schur",
    "solve",
    "solve_sylvester",
    "solve_triangular",
    "sqrtm",
    "svd",
    "svdvals",
    "toeplitz",
]

# --- linear systems ---


@boundary
def solve(
    a: ArrayLike,
    b: ArrayLike,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    debug: bool = False,
    check_finite: bool = True,
    assume_a: str = "gen",
) -> Array:
    """The solution `x` of `a @ x = b`.

    `a`: `(..., n, n)`; `b`: a vector `(n,)` or matrices `(..., n, m)`; leading axes broadcast, dtypes are promoted.
    `assume_a`: "pos" uses the Cholesky decomposition of a positive definite `a`, of which only the upper triangle (the
    lower one with `lower`) is read; "gen", "sym" and "her" use the LU decomposition of all of `a`. A singular matrix
    gives inf or nan. Raises: ValueError for other shapes or another `assume_a`, TypeError for other dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.solve(pnp.array([[4., 2.], [2., 5.]]), pnp.array([6., 7.]), assume_a="pos"))
    [1. 1.]
    """
    if assume_a not in ("gen", "sym", "her", "pos"):
        raise ValueError(f"solve: assume_a must be 'gen', 'sym', 'her' or 'pos', got {assume_a!r}")
    if assume_a != "pos":
        return linalg.solve(a, b)
    x, y, vector = system("solve", a, b)
    return columns(_cholesky_solve("solve", _cholesky(x, lower), y, lower), vector)


@boundary
def solve_triangular(
    a: ArrayLike,
    b: ArrayLike,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    debug: object = None,
    check_finite: bool = True,
) -> Array:
    """The solution `x` of `op(a) @ x = b` for triangular `a`.

    `a`: `(..., n, n)`, of which only the upper triangle (the lower one with `lower`) is read, with `unit_diagonal` also
    not its diagonal, which counts as ones. `b`: a vector `(n,)` or matrices `(..., n, m)`; leading axes broadcast,
    dtypes are promoted. `trans`: 0 or "N" for `a` itself, 1 or "T" for its transpose, 2 or "C" for its conjugate
    transpose. A singular matrix gives inf or nan. Raises: ValueError for other shapes or another `trans`, TypeError for
    other dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.solve_triangular(pnp.array([[2., 0.], [1., 4.]]), pnp.array([2., 9.]), lower=True))
    [1. 2.]
    """
    op = {0: "N", 1: "T", 2: "C"}.get(trans, trans) if isinstance(trans, int) else trans
    if op not in ("N", "T", "C"):
        raise ValueError(f"solve_triangular: trans must be 0, 1, 2, 'N', 'T' or 'C', got {trans!r}")
    x, y, vector = system("solve_triangular", a, b)
    options = {"lower": lower, "transpose_a": op != "N", "conjugate_a": op == "C", "unit_diagonal": unit_diagonal}
    return columns(_triangular("solve_triangular", x, y, **options), vector)


def _triangular(name: str, a: Array, b: Array, **options: bool) -> Array:
    return side_by_side(name, lambda a, b: triangular_solve(a, b, left_side=True, **options), [a], b)


@boundary
def inv(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The inverses of square matrices, as `numpy.linalg.inv`, with its errors.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.inv(pnp.array([[2., 0.], [0., 4.]])))
    [[0.5  0.  ]
     [0.   0.25]]
    """
    return linalg.inv(a)


@boundary
def det(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The determinants of square matrices, as `numpy.linalg.det`, with its derivatives and errors.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.det(pnp.array([[1., 2.], [3., 4.]])))
    -2.0
    """
    return linalg.det(a)


# --- the Cholesky decomposition ---


@boundary
def cholesky(a: ArrayLike, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Array:
    """The upper triangular `u` with `u.conj().T @ u = a`, or with `lower` the lower triangular `l` with `l @ l.conj().T
    = a`, for positive definite matrices `(..., n, n)`.

    Only that triangle of `a` is read, and has a derivative. A matrix that is not positive definite gives nan. Raises:
    ValueError for other shapes, TypeError for other dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.cholesky(pnp.array([[4., 2.], [2., 5.]])))
    [[2. 1.]
     [0. 2.]]
    """
    return _cholesky(square_matrices("cholesky", a), lower)


def _cholesky(x: Array, lower: bool) -> Array:
    factor = cholesky_ops.cholesky(x if lower else adjoint(x), symmetrize_input=False)
    return factor if lower else adjoint(factor)


@boundary
def cho_factor(
    a: ArrayLike, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Array, bool]:
    """The factor that `cholesky` returns, and `lower`: the input of `cho_solve`. ValueError and TypeError as there.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> factor = linalg.cho_factor(pnp.array([[4., 2.], [2., 5.]]))
    >>> print(linalg.cho_solve(factor, pnp.array([6., 7.])))
    [1. 1.]
    """
    return _cholesky(square_matrices("cho_factor", a), lower), lower


@boundary
def cho_solve(
    c_and_lower: tuple[Any, bool], b: ArrayLike, overwrite_b: bool = False, check_finite: bool = True
) -> Array:
    """The solution `x` of `a @ x = b`, given the result of `cho_factor` for `a`.

    `b`: a vector `(n,)` or matrices `(..., n, m)`; leading axes broadcast, dtypes are promoted. Differentiable in the
    factor. Raises: ValueError for other shapes, TypeError for other dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.cho_solve((2 * pnp.eye(2), True), pnp.array([4., 8.])))
    [1. 2.]
    """
    c, lower = _pair("cho_solve", "c_and_lower", c_and_lower, "cho_factor")
    x, y, vector = system("cho_solve", c, b, "the factor")
    return columns(_cholesky_solve("cho_solve", x, y, bool(lower)), vector)


def _cholesky_solve(name: str, factor: Array, b: Array, lower: bool) -> Array:
    for adjoint_of in (False, True) if lower else (True, False):
        b = _triangular(name, factor, b, lower=lower, transpose_a=adjoint_of, conjugate_a=adjoint_of)
    return b


def _pair(name: str, argument: str, value: AnyValue, source: str) -> tuple[Any, Any]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name}: {argument} must be the pair that {source} returns, got {kind_of(value)}")
    return value[0], value[1]


# --- the LU decomposition ---


@boundary
def lu_factor(a: ArrayLike, overwrite_a: bool = False, check_finite: bool = True) -> tuple[Array, Array]:
    """The LU decomposition of matrices `(..., m, n)` with partial pivoting, as `lu_solve` takes it.

    Returns: `lu` of the shape of `a`, with the upper triangular `u` in its upper triangle and the unit lower triangular
    `l` below, and `pivots`, int32 `(..., min(m, n))`: the row that each row was swapped with. A singular matrix gives
    zeros on the diagonal of `u`, and no derivative. Raises: ValueError for fewer than two axes, TypeError for other
    dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.lu_solve(linalg.lu_factor(pnp.array([[0., 2.], [4., 0.]])), pnp.array([2., 4.])))
    [1. 1.]
    """
    factors, pivots, _ = _factored("lu_factor", a)
    return factors, pivots


def _factored(name: str, a: ArrayLike) -> tuple[Array, Array, Array]:
    x = inexact(name, a)
    check_matrices(name, x.aval, what="a")
    return lu_ops.lu(x)


@boundary
def lu_solve(
    lu_and_piv: tuple[Any, Any], b: ArrayLike, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True
) -> Array:
    """The solution `x` of `op(a) @ x = b`, given the result of `lu_factor` for a square `a`.

    `b`: a vector `(n,)` or matrices `(..., n, m)`; leading axes broadcast, dtypes are promoted. `trans`: 0 for `a`, 1
    for its transpose, 2 for its conjugate transpose. Differentiable in the factors; where the matrix itself is at hand,
    `solve` has the better derivative. Raises: ValueError for other shapes or another `trans`, TypeError for other
    dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.lu_solve(linalg.lu_factor(pnp.array([[0., 2.], [4., 0.]])), pnp.array([4., 2.]), trans=1))
    [1. 1.]
    """
    factors, pivots = _pair("lu_solve", "lu_and_piv", lu_and_piv, "lu_factor")
    if trans not in (0, 1, 2):
        raise ValueError(f"lu_solve: trans must be 0, 1 or 2, got {trans!r}")
    x, y, vector = system("lu_solve", factors, b, "the factors")
    pivots = as_operand(pivots, "lu_solve", "piv")
    if pivots.aval.shape != x.aval.shape[:-1]:
        raise ValueError(
            f"lu_solve: expected pivots of shape {x.aval.shape[:-1]} for factors of shape {x.aval.shape}, "
            f"got {pivots.aval.shape}"
        )
    if not dtypes.is_integer(pivots.aval.dtype):
        raise TypeError(f"lu_solve: expected pivots of integers, got {pivots.aval.str_short()}")
    pivots = convert_element_type(pivots, np.int32)
    permutation = lu_ops.lu_pivots_to_permutation(pivots, x.aval.shape[-1])
    if trans == 2:
        y = conjugate(y)

    def solution(factors, permutation, b):
        return lu_ops.solve_with_factors(factors, permutation, b, trans != 0)

    y = side_by_side("lu_solve", solution, [x, permutation], y)
    return columns(conjugate(y) if trans == 2 else y, vector)


@boundary
def lu(
    a: ArrayLike, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Array, ...]:
    """The decomposition `a = p @ l @ u` of matrices `(..., m, n)`, by partial pivoting.

    Returns: `(p, l, u)`, a permutation matrix `(..., m, m)`, real; a lower triangle with ones on the diagonal `(..., m,
    k)` and an upper one `(..., k, n)`, k = min(m, n). With `permute_l` the pair `(p @ l, u)`. Raises: ValueError for
    fewer than two axes, TypeError for other dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> p, l, u = linalg.lu(pnp.array([[1., 2.], [2., 8.]]))
    >>> print(l, u)
    [[1.  0. ]
     [0.5 1. ]] [[ 2.  8.]
     [ 0. -2.]]
    """
    x, _, permutation = _factored("lu", a)
    m, n = x.aval.shape[-2:]
    rank, k = x.aval.ndim, min(m, n)
    left = slice_in_dim(x, 0, k, axis=rank - 1)
    left = elementwise.add(triangle(left, lower=True, strict=True), identity(left))
    upper = triangle(slice_in_dim(x, 0, k, axis=rank - 2), lower=False)
    if permute_l:
        return rows(left, lu_ops.inverse(permutation)), upper
    place = broadcasted_iota(np.dtype(np.int32), (m, m), 0)
    on = compare.eq(place, reshape(permutation, (*x.aval.shape[:-2], 1, m)))
    return convert_element_type(on, real_dtype(x.aval.dtype)), left, upper


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
