"""Orthogonal and spectral decompositions of matrices, and their applications: norms, ranks, pseudo-inverses.

Matrices are in the last two axes, and the axes before them index a stack. Integers and bools are
computed in floating point; a half precision is refused, since LAPACK knows none. A matrix with nan or inf gives nan.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, overload

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops import eig as eig_ops
from pullback._ops import eigh as eigh_ops
from pullback._ops import qr as qr_ops
from pullback._ops import svd as svd_ops
from pullback._ops.compare import bitwise_and, bitwise_not, gt, lt, ne, select
from pullback._ops.elementwise import add, div, mul, neg, sqrt, square, sub
from pullback._ops.families import broadcast_shapes, scalar_like
from pullback._ops.matrices import adjoint, as_row, check_matrices, product, rows, swapped
from pullback._ops.reduce import reduce_max_p, reduce_min_p, reduce_or
from pullback._ops.shape import convert_element_type, full, reduce_sum, reduce_sum_p, reshape
from pullback._ops.slicing import rev
from pullback._ops.sort import argsort_of, sort
from pullback._ops.trig import abs as magnitude
from pullback.custom_derivatives import custom_jvp
from pullback.numpy._elementwise.logic import truth
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._linalg.solving import inexact, inverted, square_matrices
from pullback.numpy._reductions.reductions import reduced

__all__ = [
    "EigResult",
    "EighResult",
    "QRResult",
    "SVDResult",
    "cond",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "matrix_rank",
    "pinv",
    "qr",
    "svd",
    "svdvals",
]

_INDEX = np.dtype(np.int32)


class QRResult(NamedTuple):
    """The result of `qr`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.qr(pnp.eye(2)).R.shape)
    (2, 2)
    """

    Q: Array
    R: Array


class EighResult(NamedTuple):
    """The result of `eigh`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.eigh(pnp.eye(2)).eigenvalues)
    [1. 1.]
    """

    eigenvalues: Array
    eigenvectors: Array


class EigResult(NamedTuple):
    """The result of `eig`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.eig(pnp.eye(2)).eigenvalues)
    [1.+0.j 1.+0.j]
    """

    eigenvalues: Array
    eigenvectors: Array


class SVDResult(NamedTuple):
    """The result of `svd`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.svd(pnp.eye(2)).S)
    [1. 1.]
    """

    U: Array
    S: Array
    Vh: Array


def _matrices(name: str, a: ArrayLike) -> Array:
    x = inexact(name, a)
    check_matrices(name, x.aval, what="a")
    return x


# --- decompositions ---


@boundary
def qr(a: ArrayLike, mode: str = "reduced") -> Any:
    """The decomposition `a = q @ r` of matrices `(..., m, n)`, `q` with orthonormal columns, `r` upper triangular.

    `mode`: "reduced" (or "full", its old name) gives `q` `(..., m, k)` and `r` `(..., k, n)` with k = min(m, n);
    "complete" the same with k = m; "r" only the reduced `r`; "raw" a pair of LAPACK's reflections, transposed, `(...,
    n, m)`, and their factors `(..., k)`, which have no derivative. The first two are a named tuple `(Q, R)`. float32,
    float64 or complex; integers and bools are converted. For the derivative see `pullback.lax.linalg.qr`. Raises:
    ValueError for other shapes and modes, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> q, r = pnp.linalg.qr(pnp.array([[3., 1.], [4., 2.]]))
    >>> print(pnp.allclose(q @ r, pnp.array([[3., 1.], [4., 2.]])))
    True
    """
    if mode not in ("reduced", "full", "complete", "r", "raw"):
        raise ValueError(f"qr: mode must be 'reduced', 'complete', 'r' or 'raw', got {mode!r}")
    x = _matrices("qr", a)
    if mode == "raw":
        factors, taus = qr_ops.geqrf(x)
        return swapped(factors), taus
    q, r = qr_ops.qr(x, full_matrices=mode == "complete")
    return r if mode == "r" else QRResult(q, r)


@boundary
def eigh(a: ArrayLike, UPLO: str | None = None, symmetrize_input: bool = True) -> EighResult:
    """The eigenvalues and eigenvectors of symmetric (Hermitian) matrices `(..., n, n)`.

    `symmetrize_input` replaces them by `(a + a^H) / 2`; without it only the triangle `UPLO` is read: "L" or
    None the lower one, "U" the upper one. Returns: a named tuple of `eigenvalues` `(..., n)`, real and ascending, and
    `eigenvectors` `(..., n, n)`, the columns. float32, float64 or complex; integers and bools are converted. For the
    derivative, and cases without one, see `pullback.lax.linalg.eigh`. Raises: ValueError for other shapes and another
    `UPLO`, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> w, v = pnp.linalg.eigh(pnp.array([[2., 1.], [1., 2.]]))
    >>> print(pnp.round(w, 4))
    [1. 3.]
    """
    lower = _reads_lower("eigh", UPLO)
    v, w = eigh_ops.eigh(square_matrices("eigh", a), lower=lower, symmetrize_input=symmetrize_input)
    return EighResult(w, v)


def _reads_lower(name: str, UPLO: str | None) -> bool:
    if UPLO not in (None, "L", "U"):
        raise ValueError(f"{name}: UPLO must be 'L', 'U' or None, got {UPLO!r}")
    return UPLO != "U"


@boundary
def eigvalsh(a: ArrayLike, UPLO: str | None = "L", *, symmetrize_input: bool = True) -> Array:
    """The eigenvalues of symmetric (Hermitian) matrices `(..., n, n)`: real, ascending, of shape `(..., n)`.

    For `UPLO`, `symmetrize_input`, dtypes and errors see `eigh`. The derivative is finite where eigenvalues repeat,
    too, and right for symmetric functions of them.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.grad(lambda x: pnp.linalg.eigvalsh(x).sum())(pnp.eye(2)))
    [[1. 0.]
     [0. 1.]]
    """
    lower = _reads_lower("eigvalsh", UPLO)
    return eigh_ops.eigenvalues("eigvalsh", square_matrices("eigvalsh", a), lower, symmetrize_input)


@boundary
def eig(a: ArrayLike) -> EigResult:
    """The eigenvalues and right eigenvectors of square matrices `(..., n, n)`, all complex.

    Returns: a named tuple of `eigenvalues` `(..., n)`, in no order, and `eigenvectors` `(..., n, n)`: the columns, of
    length 1. float32, float64 or complex; integers and bools are converted. For the derivative, and where there is
    none, see `pullback.lax.linalg.eig`. Raises: ValueError for other shapes, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.eig(pnp.array([[0., 1.], [-1., 0.]])).eigenvalues)
    [0.+1.j 0.-1.j]
    """
    w, v = eig_ops.eig(square_matrices("eig", a), compute_left_eigenvectors=False)
    return EigResult(w, v)


@boundary
def eigvals(a: ArrayLike) -> Array:
    """The eigenvalues of square matrices `(..., n, n)`: complex, in no order, of shape `(..., n)`. For dtypes and
    errors see `eig`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.eigvals(pnp.array([[0., 1.], [-1., 0.]])))
    [0.+1.j 0.-1.j]
    """
    return eig_ops.eig(
        square_matrices("eigvals", a), compute_left_eigenvectors=False, compute_right_eigenvectors=False
    )[0]


@overload
def svd(
    a: ArrayLike,
    full_matrices: bool = True,
    compute_uv: Literal[True] = True,
    hermitian: bool = False,
    subset_by_index: tuple[int, int] | None = None,
) -> SVDResult: ...
@overload
def svd(
    a: ArrayLike,
    full_matrices: bool = True,
    *,
    compute_uv: Literal[False],
    hermitian: bool = False,
    subset_by_index: tuple[int, int] | None = None,
) -> Array: ...
@overload
def svd(
    a: ArrayLike,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
    subset_by_index: tuple[int, int] | None = None,
) -> Any: ...
@boundary
def svd(
    a: ArrayLike,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
    subset_by_index: tuple[int, int] | None = None,
) -> Any:
    """The singular value decomposition `a = u @ diag(s) @ vh` of matrices `(..., m, n)`.

    Returns: a named tuple of `U` `(..., m, k)`, `S` `(..., min(m, n))`, real and descending, and `Vh` `(..., k, n)`,
    where k is min(m, n), or m and n with `full_matrices`; without `compute_uv` only `S`. `hermitian`: square matrices
    that are symmetric (Hermitian), which is not checked, are decomposed by `eigh`. `subset_by_index`: with
    `full_matrices=False`, a pair (start, stop) that chooses among the values. float32, float64 or complex; integers and
    bools are converted. For the derivative, and cases without one, see `pullback.lax.linalg.svd`. Raises: ValueError
    for other shapes and subsets, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.svd(pnp.array([[3., 0.], [0., -4.]]), compute_uv=False))
    [4. 3.]
    """
    if not hermitian:
        result = svd_ops.svd(
            _matrices("svd", a), full_matrices=full_matrices, compute_uv=compute_uv, subset_by_index=subset_by_index
        )
        return SVDResult(*result) if compute_uv else result
    if subset_by_index is not None:
        raise ValueError("svd: subset_by_index is not available with hermitian=True; slice the results")
    x = square_matrices("svd", a)
    return SVDResult(*_hermitian_svd(x)) if compute_uv else _hermitian_values("svd", x)


def _hermitian_svd(x: Array) -> tuple[Array, Array, Array]:
    """Singular values as sizes of eigenvalues."""
    v, w = eigh_ops.eigh(x)
    last = w.aval.ndim - 1
    order = argsort_of(neg(magnitude(w)), last)
    v = swapped(rows(swapped(v), order))
    w = reshape(rows(reshape(w, (*w.aval.shape, 1)), order), w.aval.shape)
    one = scalar_like(1, v.aval.dtype)
    signs = select(lt(w, scalar_like(0, w.aval.dtype)), neg(one), one)
    return v, magnitude(w), adjoint(mul(v, as_row(signs)))


def _hermitian_values(name: str, x: Array) -> Array:
    sizes = magnitude(eigh_ops.eigenvalues(name, x, True, True))
    return rev(sort(sizes), (sizes.aval.ndim - 1,))


@boundary
def svdvals(x: ArrayLike, /) -> Array:
    """The singular values of matrices `(..., m, n)`: real, descending, of shape `(..., min(m, n))`.

    float32, float64 or complex; integers and bools are converted. The derivative is finite where values repeat or are
    0 too, and right for symmetric functions of them. Raises: ValueError for fewer than two axes, TypeError for other
    dtypes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.svdvals(pnp.array([[3., 0.], [0., -4.]])))
    [4. 3.]
    """
    return svd_ops.singular_values("svdvals", _matrices("svdvals", x))


# --- by singular values ---


def singular_norm(x: Array, ord: int | float | str | None) -> Array:
    """The norm of matrices in floating point, of order 2 (largest), -2 (smallest) or "nuc" (sum of singular values)."""
    s = svd_ops.singular_values("norm", x)
    last = (s.aval.ndim - 1,)
    if ord == "nuc":
        return reduce_sum(s, last)
    if not s.aval.shape[-1]:
        if ord == -2:
            raise ValueError(
                f"norm: a matrix without elements has no smallest singular value, got shape {x.aval.shape}"
            )
        return full(s.aval.shape[:-1], 0, s.aval.dtype)
    return reduced(reduce_max_p if ord == 2 else reduce_min_p, s, last, False)


@boundary
def cond(x: ArrayLike, p: int | float | str | None = None) -> Array:
    """The condition numbers of matrices `(..., m, n)`, real, of shape `(...)`: in the norm `p`, |x| times |x^-1|.

    `p`: None or 2, the quotient of the largest and the smallest singular value; -2, its inverse; for square matrices
    also "fro", "nuc", 1, -1, inf and -inf, see `norm`. That of a singular matrix is inf (or very large), of a matrix
    with nan or inf nan. Integers and bools are converted. Raises: ValueError for another `p`, for other shapes and for
    matrices without elements, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.cond(pnp.array([[2., 0.], [0., 4.]])))
    2.0
    """
    matrices = _matrices("cond", x)
    if 0 in matrices.aval.shape[-2:]:
        raise ValueError(f"cond: expected matrices with elements, got shape {matrices.aval.shape}")
    if p not in (None, 2, -2, "fro", "nuc", 1, -1, np.inf, -np.inf):
        raise ValueError(f"cond: p must be None, 2, -2, 'fro', 'nuc', 1, -1, inf or -inf, got {p!r}")
    if p not in (None, 2, -2):
        square_matrices("cond", matrices)
    if p in (1, -1, np.inf, -np.inf):
        y = mul(_largest_sum(matrices, p), _largest_sum(inverted("cond", matrices), p))
    else:
        y = _cond_of_values(svd_ops.singular_values("cond", matrices), p)
    last = matrices.aval.ndim - 1
    had_nan = reduce_or(ne(matrices, matrices), (last - 1, last))
    singular = bitwise_and(ne(y, y), bitwise_not(had_nan))
    return select(singular, scalar_like(np.inf, y.aval.dtype), y)


def _largest_sum(x: Array, p: float) -> Array:
    """The norm of order 1, -1, inf or -inf: the largest or the smallest sum over a column or a row."""
    sums = reduced(reduce_sum_p, magnitude(x), (x.aval.ndim - (2 if abs(p) == 1 else 1),), False)
    return reduced(reduce_max_p if p > 0 else reduce_min_p, sums, (sums.aval.ndim - 1,), False)


def _cond_of_values(s: Array, p: int | float | str | None) -> Array:
    last = s.aval.ndim - 1
    if p in ("fro", "nuc"):
        values = square(s) if p == "fro" else s
        y = mul(reduce_sum(values, (last,)), reduce_sum(div(scalar_like(1, s.aval.dtype), values), (last,)))
        return sqrt(y) if p == "fro" else y
    largest, smallest = (reduced(reducer, s, (last,), False) for reducer in (reduce_max_p, reduce_min_p))
    return div(smallest, largest) if p == -2 else div(largest, smallest)


@boundary
def matrix_rank(
    M: ArrayLike, rtol: ArrayLike | None = None, *, hermitian: bool = False, tol: ArrayLike | None = None
) -> Array:
    """The number of singular values of matrices `(..., m, n)` that count as nonzero; int32, of shape `(...)`.

    Those above `rtol` times the largest, by default max(m, n) times the precision of the dtype; or those above `tol`.
    Both broadcast against `(...)`. `hermitian`: the matrices are symmetric (Hermitian), and their eigenvalues are
    taken. For a number or vector: whether it is nonzero. Raises: ValueError for both tolerances at once and
    (`hermitian`) other shapes, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.matrix_rank(pnp.array([[1., 2.], [2., 4.]])))
    1
    """
    if rtol is not None and tol is not None:
        raise ValueError("matrix_rank: expected rtol or tol, not both")
    x = inexact("matrix_rank", M)
    if x.aval.ndim < 2:
        return convert_element_type(reduce_or(truth(x), tuple(range(x.aval.ndim))), _INDEX)
    if hermitian:
        s = _hermitian_values("matrix_rank", square_matrices("matrix_rank", x))
    else:
        s = svd_ops.singular_values("matrix_rank", x)
    if tol is None:
        kept = kept_values(s, tolerance_of("matrix_rank", rtol, x, 1))
    else:
        kept = gt(s, tolerance_of("matrix_rank", tol, x, 1))
    return reduce_sum(convert_element_type(kept, _INDEX), (s.aval.ndim - 1,))


def tolerance_of(name: str, rtol: ArrayLike | None, x: Array, factor: int) -> Array:
    """A tolerance for the singular values of each matrix, with a last axis for these."""
    dtype = np.finfo(x.aval.dtype).dtype
    if rtol is None:
        return full((1,), factor * max(x.aval.shape[-2:]) * np.finfo(dtype).eps, dtype)
    given = convert_element_type(as_operand(rtol, name, "rtol"), dtype)
    lead = x.aval.shape[:-2]
    if broadcast_shapes(name, given.aval.shape, lead) != lead:
        raise ValueError(
            f"{name}: the tolerance must be a number or broadcast to the leading axes {lead} of the "
            f"matrices, got shape {given.aval.shape}"
        )
    return reshape(given, (*given.aval.shape, 1))


def kept_values(s: Array, rtol: Array) -> Array:
    """True for singular values above a tolerance, relative to the largest."""
    last = s.aval.ndim - 1
    if not s.aval.shape[last]:
        return gt(s, s)
    return gt(s, mul(rtol, reduced(reduce_max_p, s, (last,), True)))


def inverse_values(s: Array, rtol: Array) -> Array:
    """The inverses of singular values, and 0 for those that count as 0; nan if there are no values."""
    one = scalar_like(1, s.aval.dtype)
    kept = kept_values(s, rtol)
    inverse = select(kept, div(one, select(kept, s, one)), scalar_like(0, s.aval.dtype))
    return select(ne(s, s), s, inverse)


@boundary
def pinv(
    a: ArrayLike, rtol: ArrayLike | None = None, hermitian: bool = False, *, rcond: ArrayLike | None = None
) -> Array:
    """The pseudo-inverses `(..., n, m)` of matrices `(..., m, n)`, by Moore and Penrose.

    Singular values up to `rtol` times the largest count as 0, by default 10 max(m, n) times the precision of the dtype;
    `rcond` is its old name. It broadcasts against `(...)`. `hermitian`: the matrices are symmetric (Hermitian), and
    `eigh` is used. float32, float64 or complex; integers and bools are converted. The derivative is that among matrices
    of the same rank, also where that is not full: Golub and Pereyra, The differentiation of pseudo-inverses and
    nonlinear least squares problems whose variables separate (1973). Raises: ValueError for other shapes and for both
    names at once, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.pinv(pnp.array([[2., 0.], [0., 0.]])))
    [[0.5 0. ]
     [0.  0. ]]
    """
    if rtol is not None and rcond is not None:
        raise ValueError("pinv: expected rtol or rcond, which is its old name, not both")
    x = eigh_ops.hermitian_operand("pinv", square_matrices("pinv", a), True) if hermitian else _matrices("pinv", a)
    tolerance = tolerance_of("pinv", rcond if rtol is None else rtol, x, 10)
    return _pseudo_inverse(bool(hermitian), x, tolerance)


def _pseudo_inverse_by_values(hermitian: bool, x: Array, rtol: Array) -> Array:
    u, s, vh = _hermitian_svd(x) if hermitian else svd_ops.svd(x, full_matrices=False)
    return inverse_by_vectors(u, s, vh, rtol)


def inverse_by_vectors(u: Array, s: Array, vh: Array, rtol: Array) -> Array:
    """The pseudo-inverse of `u @ diag(s) @ vh`."""
    inverse = convert_element_type(inverse_values(s, rtol), u.aval.dtype)
    return product(mul(adjoint(vh), as_row(inverse)), adjoint(u))


_pseudo_inverse = custom_jvp(_pseudo_inverse_by_values, nondiff_argnums=(0,))


@_pseudo_inverse.defjvp
def _pseudo_inverse_jvp(hermitian, primals, tangents):
    (x, rtol), (t, _) = primals, tangents
    p = _pseudo_inverse(hermitian, x, rtol)
    return p, inverse_tangent(p, x, t)


def inverse_tangent(p: Array, x: Array, t: Array) -> Array:
    """The tangent of the pseudo-inverse `p` of `x`, for the tangent `t` of `x`."""
    # p' = -p x' p + p p^H x'^H (1 - x p) + (1 - p x) x'^H p^H p
    into_rows = product(p, product(adjoint(p), adjoint(t)))
    into_columns = product(product(adjoint(t), adjoint(p)), p)
    return add(
        sub(sub(into_rows, product(into_rows, x, p)), product(p, t, p)),
        sub(into_columns, product(p, product(x, into_columns))),
    )
