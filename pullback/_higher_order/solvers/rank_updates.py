"""Products and factors of symmetric matrices that a matrix or a vector is added to."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._higher_order.control.loops import scan
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.compare import eq, gt, select
from pullback._ops.dynamic_slicing import dynamic_index_in_dim
from pullback._ops.elementwise import add, div, mul, sub
from pullback._ops.families import operands, scalar_like
from pullback._ops.lengths import hypot_p
from pullback._ops.matrices import check_matrices, product, swapped, triangle

_INDEX = np.dtype(np.int32)


@boundary
def symmetric_product(
    a_matrix: ArrayLike,
    c_matrix: ArrayLike,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    symmetrize_output: bool = False,
) -> Array:
    """`alpha * a @ a^T + beta * c`, for a symmetric `c`.

    `a_matrix`: `(..., m, n)`; `c_matrix`: `(..., m, m)`, real numbers of one dtype, float32 or float64. With
    `symmetrize_output` the upper triangle is that of the lower one, also where `c` is not symmetric. Raises: ValueError
    for other shapes, TypeError for other dtypes.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.linalg.symmetric_product(pnp.array([[1.], [2.]]), pnp.eye(2), beta=1.0))
    [[2. 2.]
     [2. 5.]]
    """
    name = "symmetric_product"
    a, c = operands(name, a_matrix, c_matrix)
    check_matrices(name, a.aval, what="a_matrix")
    if a.aval.dtype != c.aval.dtype or dtypes.is_complex(a.aval.dtype):
        raise TypeError(
            f"{name}: expected real numbers of one dtype, got {a.aval.str_short()} and {c.aval.str_short()}"
        )
    m = a.aval.shape[-2]
    if c.aval.shape != (*a.aval.shape[:-2], m, m):
        raise ValueError(f"{name}: expected a (..., m, n) and c (..., m, m), got {a.shape} and {c.shape}")
    out = mul(product(a, swapped(a)), scalar_like(alpha, a.aval.dtype))
    if beta != 0:
        out = add(out, mul(c, scalar_like(beta, c.aval.dtype)))
    if symmetrize_output:
        out = add(triangle(out, lower=True), swapped(triangle(out, lower=True, strict=True)))
    return out


@boundary
def cholesky_update(r_matrix: ArrayLike, w_vector: ArrayLike) -> Array:
    """The upper triangular `r` with `r^T @ r = r_matrix^T @ r_matrix + w @ w^T`, in a time proportional to n**2.

    `r_matrix`: `(n, n)`, upper triangular; `w_vector`: `(n,)`; real numbers of one dtype, float32 or float64. The
    diagonal of the result is not negative. By rotations of the rows, which need no inverse; it is differentiable.
    Raises: ValueError for other shapes, TypeError for other dtypes.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.linalg.cholesky_update(pnp.array([[3., 0.], [0., 1.]]), pnp.array([4., 0.])))
    [[5. 0.]
     [0. 1.]]
    """
    name = "cholesky_update"
    r, w = operands(name, r_matrix, w_vector)
    check_matrices(name, r.aval, square=True, what="r_matrix")
    if r.aval.dtype != w.aval.dtype or dtypes.is_complex(r.aval.dtype):
        raise TypeError(
            f"{name}: expected real numbers of one dtype, got {r.aval.str_short()} and {w.aval.str_short()}"
        )
    n = r.aval.shape[-1]
    if r.aval.ndim != 2 or w.aval.shape != (n,):
        raise ValueError(f"{name}: expected a matrix (n, n) and a vector (n,), got {r.shape} and {w.shape}; use vmap")
    if n == 0:
        return r
    one, zero = scalar_like(1, r.aval.dtype), scalar_like(0, r.aval.dtype)

    def rotate(w: Array, item: Any) -> tuple[Array, Array]:
        k, row = item
        x, y = (dynamic_index_in_dim(v, k, 0, False) for v in (row, w))
        size = hypot_p.bind(x, y)
        some = gt(size, zero)
        safe = select(some, size, one)
        c, s = select(some, div(x, safe), one), select(some, div(y, safe), zero)
        above = add(mul(c, row), mul(s, w))
        below = sub(mul(c, w), mul(s, row))
        # what the rotation makes zero is zero, without its rounding error
        return select(eq(broadcasted_iota(_INDEX, (n,), 0), k), zero, below), above

    return scan(rotate, w, (broadcasted_iota(_INDEX, (n,), 0), triangle(r, lower=False)))[1]
