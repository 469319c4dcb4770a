"""The solution of triangular systems."""

from __future__ import annotations

from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._core.zeros import Zero
from pullback._ops.elementwise import neg, sub
from pullback._ops.expressions import emitted
from pullback._ops.families import operands
from pullback._ops.matrices import (
    check_matrices,
    conjugate,
    each_matrix,
    in_stacks,
    product,
    routine,
    stacked_batch,
    swapped,
    triangle,
)
from pullback._ops.shape import expand_dims, reshape
from pullback._ops.small_matrices import are_small_and_many, triangular_solution_of_each
from pullback._xla.lapack import lapack_call

triangular_solve_p: Primitive = Primitive("triangular_solve")


def triangular_solve(
    a: ArrayLike,
    b: ArrayLike,
    *,
    left_side: bool = False,
    lower: bool = False,
    transpose_a: bool = False,
    conjugate_a: bool = False,
    unit_diagonal: bool = False,
) -> Array:
    """The solution `x` of `op(a) @ x = b` (`left_side`) or `x @ op(a) = b`, for triangular `a`.

    `a`: `(..., n, n)`, of which the lower or the upper triangle is read; with `unit_diagonal` its diagonal is taken to
    ones. `b`: `(..., n, m)` or, if `op(a)` is on the right, `(..., m, n)`, with the same leading axes and
    dtype: float32, float64 or complex; or a vector `(..., n)`, as is the result then. `op` transposes or conjugates,
    or both. If `a` is singular, the result contains inf or nan. Raises: ValueError for other shapes, TypeError for
    other dtypes.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> a, b = pnp.array([[2., 0.], [1., 4.]]), pnp.array([[2.], [9.]])
    >>> print(lax.linalg.triangular_solve(a, b, left_side=True, lower=True))
    [[1.]
     [2.]]
    """
    a, b = operands("triangular_solve", a, b)
    shape = b.aval.shape
    if b.aval.ndim == a.aval.ndim - 1:
        b = expand_dims(b, (b.aval.ndim if left_side else b.aval.ndim - 1,))
    x = triangular_solve_p.bind(
        a,
        b,
        left_side=bool(left_side),
        lower=bool(lower),
        transpose_a=bool(transpose_a),
        conjugate_a=bool(conjugate_a),
        unit_diagonal=bool(unit_diagonal),
    )
    return reshape(x, shape)


def _type(a, b, *, left_side, **_):
    check_matrices("triangular_solve", a, square=True, what="a")
    check_matrices("triangular_solve", b, what="b")
    if a.dtype != b.dtype:
        raise TypeError(
            f"triangular_solve: a and b must have one dtype, got {a.str_short()} and {b.str_short()}. "
            "Convert one with .astype()."
        )
    if a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2 if left_side else -1]:
        fit = "(..., n, n) and (..., n, m)" if left_side else "(..., n, n) and (..., m, n)"
        raise ValueError(
            f"triangular_solve: expected a and b of shapes {fit} with equal leading axes, got {a.shape} and {b.shape}"
        )
    return make_aval(b.shape, b.dtype)


def _kernel(a, b, left_side, lower, transpose_a, conjugate_a, unit_diagonal):
    if b.size == 0:
        return b
    if conjugate_a and transpose_a and a.dtype.kind == "c":
        a = a.conj()
    # scipy's routine takes column-major matrices: it gets the transpose, which has that layout, and undoes it
    op = 0 if transpose_a else 2 if conjugate_a else 1
    trsm = routine("trsm", b.dtype)
    return each_matrix(
        lambda a, b: (trsm(1.0, a, b, side=not left_side, lower=not lower, trans_a=op, diag=unit_diagonal),),
        a.ndim - 2,
        a.swapaxes(-1, -2),
        b,
    )[0]


def _lower(ctx, a, b, left_side, lower, transpose_a, conjugate_a, unit_diagonal):
    if are_small_and_many(a.aval) and max(b.aval.shape[-2:]) <= a.aval.shape[-1]:

        def solution(a, b):
            return [triangular_solution_of_each(a, b, left_side, lower, transpose_a, unit_diagonal)]

        return emitted(ctx, solution, a, b)[0]
    if conjugate_a and not transpose_a:
        a = emitted(ctx, lambda a: [conjugate(a)], a)[0]
    op = "N" if not transpose_a else "C" if conjugate_a else "T"
    settings = {
        "side": "L" if left_side else "R",
        "uplo": "L" if lower else "U",
        "trans_x": op,
        "diag": "U" if unit_diagonal else "N",
    }
    return lapack_call(ctx, "trsm", [a, b], [ctx.out_avals[0]], b.aval.ndim - 2, settings, overwrites=1)[0]


def _jvp(primals, tangents, **params):
    (a, b), (da, db) = primals, tangents
    x = triangular_solve_p.bind(a, b, **params)
    if type(da) is Zero:
        return x, db if type(db) is Zero else triangular_solve_p.bind(a, db, **params)
    # op(a)' x + op(a) x' = b', or the same from the right; only the triangle counts
    da = triangle(da, params["lower"], strict=params["unit_diagonal"])
    if params["conjugate_a"]:
        da = conjugate(da)
    if params["transpose_a"]:
        da = swapped(da)
    moved = product(da, x) if params["left_side"] else product(x, da)
    return x, triangular_solve_p.bind(a, neg(moved) if type(db) is Zero else sub(db, moved), **params)


def _transpose(ct, a, b, *, transpose_a, **params):
    return [None, triangular_solve_p.bind(a, ct, transpose_a=not transpose_a, **params)]


triangular_solve_p.abstract_eval = _type
triangular_solve_p.kernel = in_stacks(triangular_solve_p, _kernel)
triangular_solve_p.lower = _lower
triangular_solve_p.jvp = _jvp
triangular_solve_p.transpose = _transpose
triangular_solve_p.has(homogeneous=(1,))
triangular_solve_p.batch = stacked_batch(triangular_solve_p)
