"""The Cholesky decomposition of symmetric (Hermitian) positive definite matrices."""

from __future__ import annotations

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops.blas import MODERATE, numpy_blas
from pullback._ops.elementwise import add, mul
from pullback._ops.expressions import emitted
from pullback._ops.families import operands, scalar_like
from pullback._ops.matrices import (
    adjoint,
    check_matrices,
    each_matrix,
    half_diagonal,
    hermitian,
    product,
    stacked_batch,
    triangle,
    where_done,
)
from pullback._ops.small_matrices import are_small_and_many, cholesky_of_each
from pullback._ops.triangular_solve import triangular_solve
from pullback._xla.lapack import lapack_call

cholesky_p: Primitive = Primitive("cholesky")


def cholesky(x: ArrayLike, *, symmetrize_input: bool = True) -> Array:
    """The lower triangular `l` with `l @ l.conj().T == x`, for stacks of positive definite matrices `(..., n, n)`.

    With `symmetrize_input` that of `(x + x.conj().T) / 2`; otherwise only the lower triangle of `x` is read (and has a
    derivative). A matrix that is not positive definite gives nan. The dtype, float32, float64 or complex, is kept.
    Raises: ValueError for another shape, TypeError for another dtype. The derivative is that of Murray, Differentiation
    of the Cholesky decomposition (2016).

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.linalg.cholesky(pnp.array([[4., 2.], [2., 5.]])))
    [[2. 0.]
     [1. 2.]]
    """
    (x,) = operands("cholesky", x)
    check_matrices("cholesky", x.aval, square=True)
    if symmetrize_input:
        x = mul(add(x, adjoint(x)), scalar_like(0.5, x.aval.dtype))
    return cholesky_p.bind(x)


def _type(x):
    check_matrices("cholesky", x, square=True)
    return make_aval(x.shape, x.dtype)


def _kernel(x):
    moderate = x.shape[-1] ** 3 <= MODERATE
    try:
        return numpy_blas().on_one_thread(np.linalg.cholesky, x) if moderate else np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        return each_matrix(_factor_or_nan, x.ndim - 2, x)[0]


def _factor_or_nan(x):
    try:
        return (np.linalg.cholesky(x),)
    except np.linalg.LinAlgError:
        return (np.tril(np.full_like(x, np.nan)),)


def _lower(ctx, x):
    if are_small_and_many(x.aval):
        return emitted(ctx, lambda x: [cholesky_of_each(x)], x)[0]
    rank = x.aval.ndim - 2
    outs = [x.aval, make_aval(x.aval.shape[:rank], np.dtype(np.int32))]
    factor, info = lapack_call(ctx, "potrf", [x], outs, rank, {"uplo": "L"})
    return emitted(ctx, lambda factor, info: [triangle(where_done(info, factor), lower=True)], factor, info)[0]


def _jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    factor = cholesky_p.bind(x)
    if type(t) is Zero:
        return factor, zero_of(factor.aval)
    # only the lower triangle is read, and it determines the upper one
    t = hermitian(t, lower=True)
    # l' = l phi(l^-1 x' l^-H), where phi takes the lower triangle and half of the diagonal
    left = triangular_solve(factor, t, left_side=True, lower=True)
    inner = triangular_solve(factor, left, lower=True, transpose_a=True, conjugate_a=True)
    return factor, product(factor, half_diagonal(triangle(inner, lower=True)))


cholesky_p.abstract_eval = _type
cholesky_p.kernel = _kernel
cholesky_p.lower = _lower
cholesky_p.jvp = _jvp
cholesky_p.batch = stacked_batch(cholesky_p)
