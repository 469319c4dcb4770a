"""The QR decomposition: Householder's reflections, and their product."""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops.elementwise import add, mul, neg, sub
from pullback._ops.expressions import emitted
from pullback._ops.families import operands, scalar_like
from pullback._ops.implementations import check_magma
from pullback._ops.matrices import (
    adjoint,
    as_column,
    check_matrices,
    diagonals,
    each_matrix,
    eyes,
    identity,
    in_stacks,
    product,
    routine,
    rows,
    stack_aval,
    stacked_batch,
    swapped,
    triangle,
)
from pullback._ops.shape import broadcast_to, instantiate
from pullback._ops.slicing import pad, slice_in_dim
from pullback._ops.triangular_solve import triangular_solve
from pullback._ops.trig import complex as complex_of
from pullback._ops.trig import imag
from pullback._xla.lapack import lapack_call

_INDEX = np.dtype(np.int32)

# --- the reflections that reduce a matrix to triangular form, as LAPACK stores them ---

geqrf_p = Primitive("geqrf", multiple_results=True)


def geqrf(x: Array, pivoting: bool = False) -> list[Array]:
    """The factor `r` in the upper triangle, reflections below it, and their factors `taus`; with pivoting also the
    column of `x` at each position."""
    return geqrf_p.bind(x, pivoting=pivoting)


def _reflections_type(x, pivoting):
    check_matrices("qr", x)
    m, n = x.shape[-2:]
    return [make_aval(x.shape, x.dtype), stack_aval(x, min(m, n)), *([stack_aval(x, n, dtype=_INDEX)] * pivoting)]


def _reflections_kernel(x, pivoting):

    def reflect(a):
        m, n = a.shape
        if min(m, n) == 0:
            return a, np.zeros(0, a.dtype), *([np.arange(n, dtype=_INDEX)] * pivoting)
        if pivoting:
            factors, order, taus, *_ = routine("geqp3", x.dtype)(a, lwork=_space(n))
            return factors, taus, (order - 1).astype(_INDEX)
        factors, taus, *_ = routine("geqrf", x.dtype)(a, lwork=_space(n))
        return factors, taus

    return each_matrix(reflect, x.ndim - 2, x)


def _space(n):
    """The workspace for blocks of 64 columns, more than LAPACK's query returns."""
    return 64 * (n + 2)


def _reflections_lower(ctx, x, pivoting):
    outs = list(ctx.out_avals)
    rank = x.aval.ndim - 2
    if 0 in x.aval.shape:
        positions = [ctx.op("stablehlo.iota", [], aval, f"iota_dimension = {rank} : i64") for aval in outs[2:]]
        return [x, ctx.constant(0, outs[1]), *positions]
    if not pivoting:
        return lapack_call(ctx, "geqrf", [x], outs, rank)
    free = ctx.constant(0, outs[2])
    factors, order, taus = lapack_call(ctx, "geqp3", [x, free], [outs[0], outs[2], outs[1]], rank)
    # LAPACK counts from 1
    return [factors, taus, ctx.op("stablehlo.subtract", [order, ctx.full_like(order, 1)])]


geqrf_p.abstract_eval = _reflections_type
geqrf_p.kernel = in_stacks(geqrf_p, _reflections_kernel)
geqrf_p.lower = _reflections_lower
geqrf_p.batch = stacked_batch(geqrf_p)

# --- their product ---

householder_product_p: Primitive = Primitive("householder_product")


def householder_product(a: ArrayLike, taus: ArrayLike) -> Array:
    """The first n columns of the product of k reflections `1 - tau * v @ v^H`.

    `a`: `(..., m, n)` with m >= n, whose columns hold the vectors `v` below the diagonal, each with an implicit 1 on
    the diagonal and zeros above; `taus`: `(..., k)` with k <= n. Both of one dtype, float32, float64 or complex. The
    result has the shape of `a`. Raises: ValueError for other shapes, TypeError for other dtypes.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.linalg.householder_product(pnp.array([[9.], [1.]]), pnp.array([1.])))
    [[ 0.]
     [-1.]]
    """
    return householder_product_p.bind(*operands("householder_product", a, taus))


def _product_type(a, taus):
    check_matrices("householder_product", a, what="a")
    if a.dtype != taus.dtype:
        raise TypeError(
            f"householder_product: a and taus must have one dtype, got {a.str_short()} and "
            f"{taus.str_short()}. Convert one with .astype()."
        )
    m, n = a.shape[-2:]
    if m < n or taus.shape[:-1] != a.shape[:-2] or taus.ndim == 0 or taus.shape[-1] > n:
        raise ValueError(
            "householder_product: expected a of shape (..., m, n) with m >= n, and taus (..., k) with "
            f"k <= n and equal leading axes, got {a.shape} and {taus.shape}"
        )
    return make_aval(a.shape, a.dtype)


def _product_kernel(a, taus):
    name = "ungqr" if dtypes.is_complex(a.dtype) else "orgqr"

    def multiply(a, taus):
        if a.size == 0 or taus.size == 0:
            return (np.eye(*a.shape, dtype=a.dtype),)
        return (routine(name, a.dtype)(a, taus, lwork=_space(a.shape[1]))[0],)

    return each_matrix(multiply, a.ndim - 2, a, taus)[0]


def _product_lower(ctx, a, taus):
    if 0 in a.aval.shape or 0 in taus.aval.shape:
        return emitted(ctx, lambda a: [eyes(a.aval)], a)[0]
    name = "ungqr" if dtypes.is_complex(a.aval.dtype) else "orgqr"
    return lapack_call(ctx, name, [a, taus], [ctx.out_avals[0]], a.aval.ndim - 2)[0]


def _product_jvp(primals, tangents):
    a, taus = primals
    y = householder_product_p.bind(a, taus)
    if all(type(t) is Zero for t in tangents):
        return y, zero_of(y.aval)
    da, dtaus = map(instantiate, tangents)
    k, n = taus.aval.shape[-1], a.aval.shape[-1]
    # The product is 1 - v t v^H with (1 + d g) t = d, where d is the diagonal matrix of taus and g the strict upper
    # triangle of v^H v (Puglisi, Modification of the Householder method based on the compact WY representation, 1992)
    a, da = (triangle(slice_in_dim(x, 0, k, axis=-1), lower=True, strict=True) for x in (a, da))
    v = add(a, identity(a))
    gram = triangle(product(adjoint(v), v), lower=False, strict=True)
    turned = product(adjoint(da), v)
    dgram = triangle(add(turned, adjoint(turned)), lower=False, strict=True)
    system, d, dd = mul(as_column(taus), gram), _diagonal_matrices(taus), _diagonal_matrices(dtaus)
    t = triangular_solve(system, d, left_side=True, unit_diagonal=True)
    moved = add(mul(as_column(dtaus), gram), mul(as_column(taus), dgram))
    dt = triangular_solve(system, sub(dd, product(moved, t)), left_side=True, unit_diagonal=True)
    top, dtop = (adjoint(slice_in_dim(x, 0, n, axis=-2)) for x in (v, da))
    return y, neg(add(product(add(product(da, t), product(v, dt)), top), product(v, t, dtop)))


def _diagonal_matrices(x: Array) -> Array:
    square = broadcast_to(as_column(x), (*x.aval.shape, x.aval.shape[-1]))
    return mul(square, identity(square))


householder_product_p.abstract_eval = _product_type
householder_product_p.kernel = in_stacks(householder_product_p, _product_kernel)
householder_product_p.lower = _product_lower
householder_product_p.jvp = _product_jvp
householder_product_p.batch = stacked_batch(householder_product_p)

# --- the decomposition ---

qr_p: Primitive = Primitive("qr", multiple_results=True)


def qr(
    x: ArrayLike, *, pivoting: bool = False, full_matrices: bool = True, use_magma: bool | None = None
) -> tuple[Array, ...]:
    """The decomposition `x = q @ r` with orthonormal columns of `q` and upper triangular `r`.

    `x`: `(..., m, n)`, float32, float64 or complex. Returns `q` `(..., m, k)` and `r` `(..., k, n)` where k is m with
    `full_matrices`, else min(m, n). With `pivoting` also int32 `p` `(..., n)`, such that `x[:, p] = q @ r` with the
    elements on the diagonal of `r` descending in size. The diagonal of `r` is real, of any sign. Raises: ValueError for
    fewer than two axes, TypeError for other dtypes.

    The derivative exists where the first min(m, n) columns are linearly independent; elsewhere it is inf or nan. The
    columns that `full_matrices` adds change as little as possible. Source: Walter and Lehmann, On evaluating
    higher-order derivatives of the QR decomposition of tall matrices with full column rank in forward and reverse mode
    algorithmic differentiation (2010); wide matrices by their first m columns.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> q, r = lax.linalg.qr(pnp.array([[3.], [4.]]), full_matrices=False)
    >>> print(r)
    [[-5.]]
    """
    check_magma("qr", use_magma)
    (x,) = operands("qr", x)
    check_matrices("qr", x.aval)
    return tuple(qr_p.bind(x, pivoting=bool(pivoting), full_matrices=bool(full_matrices)))


def _type(x, pivoting, full_matrices):
    check_matrices("qr", x)
    m, n = x.shape[-2:]
    k = m if full_matrices else min(m, n)
    return [stack_aval(x, m, k), stack_aval(x, k, n), *([stack_aval(x, n, dtype=_INDEX)] * pivoting)]


def _evaluate(x, pivoting, full_matrices):
    factors, taus, *order = geqrf_p.bind(x, pivoting=pivoting)
    m, n = x.aval.shape[-2:]
    k = m if full_matrices else min(m, n)
    if k > n:
        zero = scalar_like(0, x.aval.dtype)
        columns = pad(factors, zero, [*[(0, 0, 0)] * (x.aval.ndim - 1), (0, k - n, 0)])
    else:
        columns = slice_in_dim(factors, 0, k, axis=-1)
    q = householder_product_p.bind(columns, taus)
    return [q, triangle(slice_in_dim(factors, 0, k, axis=-2), lower=False), *order]


def _jvp(primals, tangents, pivoting, full_matrices):
    (x,), (t,) = primals, tangents
    q, r, *order = outs = qr_p.bind(x, pivoting=pivoting, full_matrices=full_matrices)
    zeros = [zero_of(y.aval) for y in outs]
    if type(t) is Zero:
        return outs, zeros
    if pivoting:
        t = swapped(rows(swapped(t), *order))
    m, k = q.aval.shape[-2:]
    n = min(m, r.aval.shape[-1])
    # With skew a = q^H q', the first n columns of q^H x' r^-1 are a plus an upper triangle with a real diagonal
    first, square = slice_in_dim(t, 0, n, axis=-1), slice_in_dim(slice_in_dim(r, 0, n, axis=-1), 0, n, axis=-2)
    moved = triangular_solve(square, first)
    below = triangle(product(adjoint(q), moved), lower=True, strict=True)
    if k > n:
        below = pad(below, scalar_like(0, x.aval.dtype), [*[(0, 0, 0)] * (x.aval.ndim - 1), (0, k - n, 0)])
    turn = sub(below, adjoint(below))
    if dtypes.is_complex(x.aval.dtype):
        phases = imag(diagonals(product(adjoint(slice_in_dim(q, 0, n, axis=-1)), moved)))
        phases = _diagonal_matrices(complex_of(scalar_like(0, phases.aval.dtype), phases))
        turn = add(
            turn, pad(phases, scalar_like(0, x.aval.dtype), [*[(0, 0, 0)] * (x.aval.ndim - 2), *[(0, k - n, 0)] * 2])
        )
    dq = product(q, turn)
    if k < m:
        dq = add(dq, sub(moved, product(q, product(adjoint(q), moved))))
    dr = triangle(sub(product(adjoint(q), t), product(turn, r)), lower=False)
    return outs, [dq, dr, *zeros[2:]]


qr_p.abstract_eval = _type
qr_p.evaluate = _evaluate
qr_p.lower = lambda ctx, x, **params: emitted(ctx, lambda x: _evaluate(x, **params), x)
qr_p.jvp = _jvp
qr_p.batch = stacked_batch(qr_p)
