"""Products with the unitary matrix of a QR decomposition that is given by its reflections."""

from __future__ import annotations

from pullback._core.array import Array, ArrayLike
from pullback._ops.elementwise import add, mul, sub
from pullback._ops.families import operands
from pullback._ops.matrices import (
    adjoint,
    as_column,
    check_matrices,
    conjugate,
    identity,
    product,
    triangle,
)
from pullback._ops.slicing import slice_in_dim
from pullback._ops.triangular_solve import triangular_solve


def ormqr(a: ArrayLike, taus: ArrayLike, c: ArrayLike, *, left: bool = True, transpose: bool = False) -> Array:
    """`q @ c` (`left`) or `c @ q` with the product q of k reflections `1 - tau * v @ v^H`, without making q.

    `a`: `(..., m, n)`, whose columns hold the vectors `v` below the diagonal, each with an implicit 1 on the diagonal
    and zeros above, as in `numpy.linalg.qr(x, mode="raw")`, transposed; `taus`: `(..., k)` with k <= min(m, n); `c`:
    `(..., m, p)`, or `(..., p, m)` if q is on the right. With `transpose` the adjoint of q takes its place. All of one
    dtype, float32, float64 or complex; the leading axes are equal. It is differentiable in all operands. Raises:
    ValueError for other shapes, TypeError for other dtypes.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.linalg.ormqr(pnp.array([[9.], [1.]]), pnp.array([1.]), pnp.array([[1.], [0.]])))
    [[ 0.]
     [-1.]]
    """
    a, taus, c = operands("ormqr", a, taus, c)
    check_matrices("ormqr", a.aval, what="a")
    check_matrices("ormqr", c.aval, what="c")
    if not a.aval.dtype == taus.aval.dtype == c.aval.dtype:
        raise TypeError(
            f"ormqr: operands must have one dtype, got {a.aval.str_short()}, {taus.aval.str_short()} and "
            f"{c.aval.str_short()}. Convert one with .astype()."
        )
    m, n = a.aval.shape[-2:]
    lead = a.aval.shape[:-2]
    fits = taus.aval.ndim > 0 and taus.aval.shape[:-1] == lead and taus.aval.shape[-1] <= min(m, n)
    if not fits or c.aval.shape[:-2] != lead or c.aval.shape[-2 if left else -1] != m:
        place = "c (..., m, p)" if left else "c (..., p, m)"
        raise ValueError(
            f"ormqr: expected a (..., m, n), taus (..., k) with k <= min(m, n), and {place} with equal leading axes, "
            f"got {a.shape}, {taus.shape} and {c.shape}"
        )
    if left:
        return _reflected(a, taus, c, transpose)
    return adjoint(_reflected(a, taus, adjoint(c), not transpose))


def _reflected(a: Array, taus: Array, c: Array, transposed: bool) -> Array:
    k = taus.aval.shape[-1]
    if 0 in (k, *c.aval.shape):
        return c
    # q = 1 - v t v^H with (1 + d g) t = d, where d is the diagonal matrix of taus and g the strict upper triangle of
    # v^H v (Puglisi, Modification of the Householder method based on the compact WY representation, 1992)
    below = triangle(slice_in_dim(a, 0, k, axis=-1), lower=True, strict=True)
    v = add(below, identity(below))
    gram = triangle(product(adjoint(v), v), lower=False, strict=True)
    system, turned = mul(as_column(taus), gram), product(adjoint(v), c)
    if transposed:
        solved = triangular_solve(
            system, turned, left_side=True, transpose_a=True, conjugate_a=True, unit_diagonal=True
        )
        inner = mul(as_column(conjugate(taus)), solved)
    else:
        inner = triangular_solve(system, mul(as_column(taus), turned), left_side=True, unit_diagonal=True)
    return sub(c, product(v, inner))
