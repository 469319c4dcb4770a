"""The polar decomposition: a matrix as an isometry and a positive one."""

from __future__ import annotations

import numpy as np

from pullback._core.array import Array, ArrayLike, array_of
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops.elementwise import add, mul, sub
from pullback._ops.expressions import emitted
from pullback._ops.families import operands, scalar_like
from pullback._ops.matrices import (
    adjoint,
    as_column,
    as_row,
    check_matrices,
    over_sums,
    product,
    stack_aval,
    stacked_batch,
)
from pullback._ops.quotients import quotient_or_nan
from pullback._ops.shape import convert_element_type
from pullback._ops.svd import svd

polar_p = Primitive("polar", multiple_results=True)


def polar(x: ArrayLike) -> tuple[Array, Array]:
    """`x = u @ h` with orthonormal columns of `u` `(..., m, n)` and symmetric (Hermitian), positive `h` `(..., n, n)`.

    m >= n. The derivative exists for matrices of rank n: it needs no gaps between singular values.
    """
    (x,) = operands("polar", x)
    u, h = polar_p.bind(x)
    return u, h


def _type(x):
    check_matrices("polar", x)
    m, n = x.shape[-2:]
    if m < n:
        raise ValueError(f"polar: expected matrices with at least as many rows as columns, got shape {x.shape}")
    return [make_aval(x.shape, x.dtype), stack_aval(x, n, n)]


def _parts(x: Array) -> tuple[Array, Array, Array]:
    return svd(x, full_matrices=False)


def _evaluate(x: Array) -> list[Array]:
    w, s, vh = _parts(x)
    h = product(adjoint(vh), mul(convert_element_type(as_column(s), x.aval.dtype), vh))
    return [product(w, vh), mul(add(h, adjoint(h)), scalar_like(0.5, x.aval.dtype))]


def _jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    u, h = polar_p.bind(x)
    if type(t) is Zero:
        return [u, h], [zero_of(u.aval), zero_of(h.aval)]
    w, s, vh = _parts(x)
    v = adjoint(vh)
    # In the bases of the singular vectors u' has a skew part that solves s k + k s = y - y^H, with y = w^H x' v
    y = product(adjoint(w), t, v)
    turn = over_sums(sub(y, adjoint(y)), s)
    outside = sub(product(t, v), product(w, y))
    du = add(product(w, turn), quotient_or_nan(outside, as_row(s)))
    dh = sub(y, mul(turn, convert_element_type(as_row(s), y.aval.dtype)))
    return [u, h], [product(du, vh), product(v, dh, vh)]


polar_p.abstract_eval = _type
polar_p.evaluate = _evaluate
polar_p.lower = lambda ctx, x: emitted(ctx, _evaluate, x)
polar_p.jvp = _jvp
polar_p.batch = stacked_batch(polar_p)


def qdwh(
    x: ArrayLike,
    *,
    is_hermitian: bool = False,
    max_iterations: int | None = None,
    eps: float | None = None,
    dynamic_shape: tuple[int, int] | None = None,
) -> tuple[Array, Array, Array, Array]:
    """The polar decomposition `x = u @ h` of matrices with at least as many rows as columns.

    `x`: `(..., m, n)` with m >= n, float32, float64 or complex. Returns `u` with orthonormal columns, the symmetric
    (Hermitian), positive `h`, the number of iterations and whether they converged. Here `u` and `h` come from the
    singular values, so that there are no iterations, and `max_iterations`, `eps` and `is_hermitian` make no difference.
    The derivative exists for matrices of full rank. Raises: ValueError for other shapes, TypeError for other dtypes,
    NotImplementedError for a `dynamic_shape`.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> u, h, _, _ = lax.linalg.qdwh(pnp.array([[0., 2.], [-3., 0.]]))
    >>> print(abs(h.round(4)))
    [[3. 0.]
     [0. 2.]]
    """
    if dynamic_shape is not None:
        raise NotImplementedError("qdwh: dynamic_shape must be None: the whole matrix is decomposed")
    (x,) = operands("qdwh", x)
    check_matrices("qdwh", x.aval)
    if x.aval.shape[-2] < x.aval.shape[-1]:
        raise ValueError(f"qdwh: expected matrices with at least as many rows as columns, got shape {x.shape}")
    u, h = polar_p.bind(x)
    return (
        u,
        h,
        array_of(make_aval((), np.dtype(np.int32)), np.int32(0)),
        array_of(make_aval((), np.dtype(bool)), np.True_),
    )
