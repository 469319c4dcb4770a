"""The LU decomposition with partial pivoting, and the solution of linear systems by it."""

from __future__ import annotations

import operator

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.compare import eq, ge, select
from pullback._ops.dynamic_slicing import dynamic_index_in_dim
from pullback._ops.elementwise import add, neg, sub
from pullback._ops.expressions import emitted
from pullback._ops.families import operands, scalar_like
from pullback._ops.identity import stop_gradient_p
from pullback._ops.matrices import (
    check_matrices,
    each_matrix,
    identity,
    in_stacks,
    product,
    routine,
    rows,
    side_by_side,
    stack_aval,
    stacked_batch,
    swapped,
    triangle,
)
from pullback._ops.rules import zero_jvp
from pullback._ops.shape import expand_dims, move_axis, reduce_sum, reshape
from pullback._ops.slicing import pad, slice_in_dim
from pullback._ops.small_matrices import are_small_and_many, lu_of_each, lu_solution_of_each
from pullback._ops.sort import argsort_of
from pullback._ops.triangular_solve import triangular_solve
from pullback._xla.lapack import lapack_call

_INDEX = np.dtype(np.int32)

# --- the decomposition: the rows of x in the order of the permutation are l @ u ---

lu_p: Primitive = Primitive("lu", multiple_results=True)


def lu(x: ArrayLike) -> tuple[Array, Array, Array]:
    """The decomposition `x[permutation] = l @ u` of stacks of matrices `(..., m, n)`, by partial pivoting.

    Returns: `lu` of the shape and dtype of `x`, which holds `u` in its upper triangle and the unit lower triangular `l`
    below; `pivots`, int32 `(..., min(m, n))`: the row that each row was swapped with in turn; `permutation`, int32
    `(..., m)`: the row of `x` at each position of the result. A singular matrix gives zeros on the diagonal of
    `u`, and no derivative. The dtype must be float32, float64 or complex. Raises: ValueError for fewer than two axes,
    TypeError for another dtype.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lu, pivots, permutation = lax.linalg.lu(pnp.array([[1., 2.], [2., 8.]]))
    >>> print(lu, permutation)
    [[ 2.   8. ]
     [ 0.5 -2. ]] [1 0]
    """
    (x,) = operands("lu", x)
    factors, pivots, permutation = lu_p.bind(x)
    return factors, pivots, permutation


def _lu_type(x):
    check_matrices("lu", x)
    m, n = x.shape[-2:]
    return [make_aval(x.shape, x.dtype), stack_aval(x, min(m, n), dtype=_INDEX), stack_aval(x, m, dtype=_INDEX)]


def _lu_kernel(x):
    return each_matrix(_factor, x.ndim - 2, x)


def _factor(x):
    m, n = x.shape
    if not x.size:
        return x, np.zeros(min(m, n), _INDEX), np.arange(m, dtype=_INDEX)
    factors, pivots, _ = routine("getrf", x.dtype)(x)
    return factors, pivots, _permuted(pivots, m)


def _permuted(pivots, size):
    order = list(range(size))
    for i, j in enumerate(pivots.tolist()):
        if j != i:
            order[i], order[j] = order[j], order[i]
    return np.array(order, _INDEX)


def _lu_lower(ctx, x):
    if are_small_and_many(x.aval):
        return emitted(ctx, lu_of_each, x)
    outs = list(ctx.out_avals)
    rank = x.aval.ndim - 2
    info = make_aval(x.aval.shape[:rank], _INDEX)
    factors, pivots, _ = lapack_call(ctx, "getrf", [x], [*outs[:2], info], rank)
    # LAPACK counts from 1
    pivots = ctx.op("stablehlo.subtract", [pivots, ctx.full_like(pivots, 1)])
    return [factors, pivots, _permutation_lower(ctx, pivots, x.aval.shape[-2])]


def _lu_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    outs = lu_p.bind(x)
    factors, _, permutation = outs
    zeros = [zero_of(y.aval) for y in outs]
    if type(t) is Zero:
        return outs, zeros
    # With square l and u: p x' = l' u + l u', so l^-1 p x' u^-1 = l^-1 l' + u' u^-1, strictly lower plus upper.
    # Of m > n rows, l gets columns of the identity; of n > m columns, u gets rows of it, which add nothing to l and u.
    m, n = x.aval.shape[-2:]
    left, right = _widened(factors, m, -1), triangle(_widened(factors, n, -2), lower=False)
    if n > m:
        right = select(ge(broadcasted_iota(_INDEX, (n, n), 0), np.int32(m)), identity(right), right)
    inner = triangular_solve(left, rows(t, permutation), left_side=True, lower=True, unit_diagonal=True)
    inner = triangular_solve(right, inner)
    left = add(triangle(left, lower=True, strict=True), identity(left))
    return outs, [
        add(product(left, triangle(inner, lower=True, strict=True)), product(triangle(inner, lower=False), right)),
        *zeros[1:],
    ]


def _widened(x: Array, length: int, axis: int) -> Array:
    """Matrices with one of their axes cut, or padded with zeros, to the given length."""
    axis += x.aval.ndim
    have = x.aval.shape[axis]
    if have >= length:
        return slice_in_dim(x, 0, length, axis=axis)
    return pad(x, scalar_like(0, x.aval.dtype), [(0, length - have if i == axis else 0, 0) for i in range(x.aval.ndim)])


lu_p.abstract_eval = _lu_type
lu_p.kernel = in_stacks(lu_p, _lu_kernel)
lu_p.lower = _lu_lower
lu_p.jvp = _lu_jvp
lu_p.batch = stacked_batch(lu_p)


# --- pivots as a permutation ---

lu_pivots_to_permutation_p: Primitive = Primitive("lu_pivots_to_permutation")


def lu_pivots_to_permutation(pivots: ArrayLike, permutation_size: int) -> Array:
    """The permutation that results from swapping row i with row `pivots[i]`, for i = 0, 1, ...

    `pivots`: int32 `(..., k)` as `lu` returns them; `permutation_size`: the number of rows, at least k. The result is
    int32 `(..., permutation_size)`. Raises: TypeError for another dtype, ValueError for less than one axis or too few
    rows.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.linalg.lu_pivots_to_permutation(pnp.array([2, 2]), 3))
    [2 0 1]
    """
    (pivots,) = operands("lu_pivots_to_permutation", pivots)
    return lu_pivots_to_permutation_p.bind(pivots, permutation_size=operator.index(permutation_size))


def _permutation_type(pivots, permutation_size):
    if pivots.dtype != _INDEX:
        raise TypeError(f"lu_pivots_to_permutation: expected pivots of int32, got {pivots.str_short()}")
    if pivots.ndim == 0 or pivots.shape[-1] > permutation_size:
        raise ValueError(
            "lu_pivots_to_permutation: expected at least one axis, whose length is at most the "
            f"permutation size, got shape {pivots.shape} and size {permutation_size}"
        )
    return make_aval((*pivots.shape[:-1], permutation_size), _INDEX)


def _permutation_kernel(pivots, permutation_size):
    return each_matrix(lambda p: (_permuted(p, permutation_size),), pivots.ndim - 1, pivots)[0]


def _permutation_lower(ctx, pivots, permutation_size):
    count = pivots.aval.shape[-1]
    shape = (*pivots.aval.shape[:-1], permutation_size)
    (start,) = emitted(ctx, lambda _: [broadcasted_iota(_INDEX, shape, len(shape) - 1)], pivots)
    i = ctx.constant(0, make_aval((), _INDEX))
    if not count:
        return start

    def test(block, state):
        return [block.compare("LT", state[0], block.constant(count, state[0].aval))]

    return ctx.loop([i, start, pivots], test, lambda block, state: emitted(block, _swap, *state))[1]


def _swap(i, order, pivots):
    """One step: exchange the entries at position i and at its pivot."""
    last = order.aval.ndim - 1
    place = broadcasted_iota(_INDEX, order.aval.shape, last)
    j = dynamic_index_in_dim(pivots, i, last)
    here, there = eq(place, i), eq(place, j)
    at_i = dynamic_index_in_dim(order, i, last)
    at_j = expand_dims(reduce_sum(select(there, order, np.int32(0)), (last,)), (last,))
    return [add(i, np.int32(1)), select(here, at_j, select(there, at_i, order)), pivots]


lu_pivots_to_permutation_p.abstract_eval = _permutation_type
lu_pivots_to_permutation_p.kernel = _permutation_kernel
lu_pivots_to_permutation_p.lower = _permutation_lower
lu_pivots_to_permutation_p.batch = stacked_batch(lu_pivots_to_permutation_p)
zero_jvp(lu_pivots_to_permutation_p)

# --- solutions: linear in the right-hand side, and differentiated by the matrix without differentiating its factors ---

lu_solve_p = Primitive("lu_solve")


def solve_with_factors(factors: Array, permutation: Array, b: Array, transpose: bool) -> Array:
    """The solution of `a @ x = b`, or of `a.T @ x = b`, from the decomposition of `a`; it has derivatives by
    the factors."""
    if transpose:
        y = triangular_solve(factors, b, left_side=True, transpose_a=True)
        y = triangular_solve(factors, y, left_side=True, lower=True, transpose_a=True, unit_diagonal=True)
        return rows(y, inverse(permutation))
    y = triangular_solve(factors, rows(b, permutation), left_side=True, lower=True, unit_diagonal=True)
    return triangular_solve(factors, y, left_side=True)


def inverse(permutation: Array) -> Array:
    """The inverse permutations."""
    return argsort_of(permutation, permutation.aval.ndim - 1)


def factored(a: Array) -> tuple[Array, Array, Array]:
    """The decomposition as a constant, for operations with their own derivative rule with respect to `a`."""
    factors, pivots, permutation = lu_p.bind(stop_gradient_p.bind(a))
    return factors, pivots, permutation


def solve(name: str, a: Array, b: Array) -> Array:
    """The solution of `a @ x = b` for `a` of shape `(..., n, n)` and `b` `(..., n, m)`, of one dtype; the leading axes
    broadcast, and each matrix is decomposed once, under any differentiation and batching."""
    factors, _, permutation = factored(a)

    def solution(a, factors, permutation, b):
        return lu_solve_p.bind(factors, permutation, a, b, transpose=False)

    return side_by_side(name, solution, [a, factors, permutation], b)


def _solve_type(factors, permutation, a, b, transpose):
    check_matrices("lu_solve", a, square=True, what="a")
    check_matrices("lu_solve", b, what="b")
    fit = factors.shape == a.shape and permutation.shape == a.shape[:-1] == b.shape[:-1]
    if not fit or not factors.dtype == a.dtype == b.dtype:
        raise ValueError(
            "lu_solve: expected factors (..., n, n), a permutation (..., n), the matrix they are of, and "
            f"b (..., n, m), got {', '.join(x.str_short() for x in (factors, permutation, a, b))}"
        )
    return b.strip_weak_type()


def _solve_kernel(factors, permutation, a, b, transpose):
    if not b.size:
        return b
    return each_matrix(_solve_one_transposed if transpose else _solve_one, a.ndim - 2, factors, permutation, b)[0]


def _solve_one(factors, permutation, b):
    y = _solve_triangle(factors, b[permutation], True, False)
    return (_solve_triangle(factors, y, False, False),)


def _solve_one_transposed(factors, permutation, b):
    x = np.empty_like(b)
    y = _solve_triangle(factors, b, False, True)
    x[permutation] = _solve_triangle(factors, y, True, True)
    return (x,)


def _solve_triangle(factors, b, lower, transpose):
    # not getrs for both at once: it starts all threads even for matrices of three rows
    trsm = routine("trsm", b.dtype)
    if factors.flags.f_contiguous:
        return trsm(1.0, factors, b, lower=lower, trans_a=transpose, diag=lower)
    return trsm(1.0, factors.T, b, lower=not lower, trans_a=not transpose, diag=lower)


def _solve_lower(ctx, factors, permutation, a, b, transpose):
    of_each = are_small_and_many(a.aval) and b.aval.shape[-1] <= b.aval.shape[-2]
    solution = lu_solution_of_each if of_each else solve_with_factors

    def solved(factors, permutation, b):
        return [solution(factors, permutation, b, transpose)]

    return emitted(ctx, solved, factors, permutation, b)[0]


def _solve_jvp(primals, tangents, transpose):
    factors, permutation, a, _ = primals
    _, _, da, db = tangents
    x = lu_solve_p.bind(*primals, transpose=transpose)
    if type(da) is Zero and type(db) is Zero:
        return x, zero_of(x.aval)
    # a x = b: a' x + a x' = b', another system with the same matrix. Giles, Collected matrix derivative results (2008).
    if type(da) is not Zero:
        moved = product(swapped(da) if transpose else da, x)
        db = neg(moved) if type(db) is Zero else sub(db, moved)
    return x, lu_solve_p.bind(factors, permutation, a, db, transpose=transpose)


def _solve_transpose(ct, factors, permutation, a, b, transpose):
    return [None, None, None, lu_solve_p.bind(factors, permutation, a, ct, transpose=not transpose)]


def _solve_batch(trace, args, dims, transpose):
    *fixed, b = args
    if any(d is not None for d in dims[:3]):
        return _solve_stacked(trace, args, dims, transpose=transpose)
    # one matrix for all: the right-hand sides become columns of one
    b = move_axis(b, dims[3], b.aval.ndim - 1)
    *lead, m, size = b.aval.shape
    x = lu_solve_p.bind(*fixed, reshape(b, (*lead, m * size)), transpose=transpose)
    return reshape(x, (*lead, m, size)), len(lead) + 1


_solve_stacked = stacked_batch(lu_solve_p)
lu_solve_p.abstract_eval = _solve_type
lu_solve_p.kernel = in_stacks(lu_solve_p, _solve_kernel)
lu_solve_p.lower = _solve_lower
lu_solve_p.jvp = _solve_jvp
lu_solve_p.transpose = _solve_transpose
lu_solve_p.has(homogeneous=(3,))
lu_solve_p.batch = _solve_batch
