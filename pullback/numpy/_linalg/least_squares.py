"""Least squares, by the singular value decomposition.

The solution, the rank and the singular values come from one decomposition. Its vectors have no derivative where values
repeat, and that of the solution needs none of theirs: functions of the matrix `a` and its factors are differentiated by
`a` alone.
"""

from __future__ import annotations

import numpy as np

from pullback._api.derivatives import jvp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops import svd as svd_ops
from pullback._ops.compare import lt, select
from pullback._ops.elementwise import add, mul, sub
from pullback._ops.families import scalar_like
from pullback._ops.lengths import squared_size
from pullback._ops.matrices import adjoint, check_matrices, conjugate, product, real_part
from pullback._ops.shape import convert_element_type, full, reduce_sum, reshape
from pullback._ops.slicing import slice_in_dim
from pullback.custom_derivatives import custom_jvp
from pullback.numpy._linalg.decompositions import (
    inverse_by_vectors,
    inverse_tangent,
    inverse_values,
    kept_values,
    tolerance_of,
)
from pullback.numpy._products.contractions import promoted

__all__ = ["lstsq"]

_INDEX = np.dtype(np.int32)


@boundary
def lstsq(
    a: ArrayLike, b: ArrayLike, rcond: ArrayLike | None = None, *, numpy_resid: bool = False
) -> tuple[Array, Array, Array, Array]:
    """The solution `x` of smallest length that makes the sum of squares of `b - a @ x` smallest.

    `a`: a matrix `(m, n)`; `b`: a vector `(m,)` or matrix `(m, k)`; dtypes are promoted, integers and bools converted
    to floating point. Singular values of `a` up to `rcond` times the largest count as 0; by default max(m, n) times the
    precision of the dtype, and for a negative number the precision. Returns: `x` `(n,)` or `(n, k)`; the sums of
    squares that remain, `(k,)`, or `(1,)` for a vector; the rank of `a`, int32; its singular values. With `numpy_resid`
    the sums are empty where NumPy's are: for a rank below n, and m <= n; not under jit. `x` is differentiated like the
    pseudo-inverse, see `pinv`. Raises: ValueError for other shapes, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> x, residues, rank, s = pnp.linalg.lstsq(pnp.array([[1., 0.], [0., 2.], [0., 0.]]), pnp.array([1., 4., 3.]))
    >>> print(x, residues)
    [1. 2.] [9.]
    """
    x, y, vector = _overdetermined(a, b)
    m, n = x.aval.shape
    precision = np.finfo(x.aval.dtype).eps
    if rcond is None:
        tolerance = tolerance_of("lstsq", None, x, 1)
    else:
        tolerance = tolerance_of("lstsq", rcond, x, 1)
        negative = lt(tolerance, scalar_like(0, tolerance.aval.dtype))
        tolerance = select(negative, scalar_like(precision, tolerance.aval.dtype), tolerance)
    u, s, vh = _factors(x)
    solution = _least_squares(x, y, tolerance, u, s, vh)
    residues = reduce_sum(squared_size(sub(y, product(x, solution))), (0,))
    rank = reduce_sum(convert_element_type(kept_values(s, tolerance), _INDEX), (0,))
    if numpy_resid and (m <= n or int(rank) < n):
        residues = slice_in_dim(residues, 0, 0)
    return reshape(solution, (n,)) if vector else solution, residues, rank, s


def _overdetermined(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array, bool]:
    """A matrix and as many rows of another in one dtype, and whether those were a vector."""
    x, y = promoted("lstsq", a, b)
    dtype = dtypes.to_inexact(x.aval.dtype, False)[0]
    x, y = convert_element_type(x, dtype), convert_element_type(y, dtype)
    vector = y.aval.ndim == 1
    if x.aval.ndim != 2 or y.aval.ndim not in (1, 2) or y.aval.shape[0] != x.aval.shape[0]:
        raise ValueError(
            f"lstsq: expected a of shape (m, n) and b of shape (m,) or (m, k), got {x.aval.shape} and "
            f"{y.aval.shape}. Use vmap for stacks of them."
        )
    check_matrices("lstsq", x.aval, what="a")
    return x, reshape(y, (*y.aval.shape, 1)) if vector else y, vector


@custom_jvp
def _factors(a: Array) -> tuple[Array, Array, Array]:
    """The decomposition of a matrix, of which only the singular values have a derivative."""
    return svd_ops.svd(a, full_matrices=False)


@_factors.defjvp
def _factors_jvp(primals, tangents):
    (a,), (da,) = primals, tangents
    u, s, vh = _factors(a)
    left, right = _vectors(a, u, vh)
    ds = real_part(reduce_sum(mul(conjugate(left), product(da, adjoint(right))), (0,)))
    return (u, s, vh), (full(u.aval.shape, 0, u.aval.dtype), ds, full(vh.aval.shape, 0, vh.aval.dtype))


@custom_jvp
def _vectors(a: Array, u: Array, vh: Array) -> tuple[Array, Array]:
    """The vectors that were found for `a`, with their derivative, which second derivatives of the values need."""
    return u, vh


@_vectors.defjvp
def _vectors_jvp(primals, tangents):
    du, _, dvh = jvp(lambda a: svd_ops.svd(a, full_matrices=False), primals[:1], tangents[:1])[1]
    return _vectors(*primals), (du, dvh)


@custom_jvp
def _inverse_by_factors(a: Array, rtol: Array, u: Array, s: Array, vh: Array) -> Array:
    """The pseudo-inverse of `a`."""
    return inverse_by_vectors(u, s, vh, rtol)


@_inverse_by_factors.defjvp
def _inverse_by_factors_jvp(primals, tangents):
    p = _inverse_by_factors(*primals)
    return p, inverse_tangent(p, primals[0], tangents[0])


@custom_jvp
def _least_squares(a: Array, b: Array, rtol: Array, u: Array, s: Array, vh: Array) -> Array:
    """The pseudo-inverse of `a` times `b`, never formed: through it, errors grow with the square of the condition."""
    inverse = convert_element_type(reshape(inverse_values(s, rtol), (s.aval.shape[0], 1)), a.aval.dtype)
    return product(adjoint(vh), mul(inverse, product(adjoint(u), b)))


@_least_squares.defjvp
def _least_squares_jvp(primals, tangents):
    (a, b, *factors), (da, db, *_) = primals, tangents
    x, p = _least_squares(*primals), _inverse_by_factors(a, *factors)
    # the tangent of the pseudo-inverse p, applied to b
    residual = sub(b, product(a, x))
    outside = product(adjoint(da), product(adjoint(p), x))
    inside = add(sub(db, product(da, x)), product(adjoint(p), product(adjoint(da), residual)))
    return x, add(product(p, inside), sub(outside, product(p, product(a, outside))))
