"""Determinants and cofactors, from the LU decomposition.

They are functions of the factors and of the matrix these belong to: their values come from the factors, and their
derivatives are those with respect to the matrix, so that none, of any order, differentiates or repeats the
decomposition.
"""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops.assemble import broadcasted_iota, concatenate
from pullback._ops.compare import ge, ne, select
from pullback._ops.creation import full_like
from pullback._ops.elementwise import add, log, mul, neg, sub
from pullback._ops.expressions import emitted
from pullback._ops.families import scalar_like
from pullback._ops.lu import factored, inverse, lu_solve_p
from pullback._ops.matrices import diagonals, identity, product, rows, stacked_batch, swapped
from pullback._ops.reduce import reduce_prod
from pullback._ops.remainders import rem
from pullback._ops.shape import convert_element_type, reduce_sum, reshape, transpose
from pullback._ops.slicing import index_in_dim, pad, slice_in_dim
from pullback._ops.triangular_solve import triangular_solve
from pullback._ops.trig import abs as magnitude
from pullback._ops.trig import complex as complex_of
from pullback._ops.trig import imag, real, real_dtype, sign

_INDEX = np.dtype(np.int32)


def determinant(a: Array) -> Array:
    """The determinants of a stack of square matrices; for up to 3 rows as polynomials of the entries."""
    n = a.aval.shape[-1]
    if n > 3:
        factors, pivots, permutation = factored(a)
        return lu_det_p.bind(factors, pivots, permutation, a)
    if n == 0:
        return full_like(a, 1, shape=a.aval.shape[:-2])
    entries = [[_entry(a, i, j) for j in range(n)] for i in range(n)]
    return _expanded(entries)


def _entry(a: Array, i: int, j: int) -> Array:
    rank = a.aval.ndim
    return index_in_dim(index_in_dim(a, i, rank - 2, keepdims=False), j, rank - 2, keepdims=False)


def _expanded(entries: list[list[Array]]) -> Array:
    """By Laplace's expansion along the first row."""
    first, *rest = entries
    total = first[0]
    for j, x in enumerate(first if rest else ()):
        term = mul(x, _expanded([row[:j] + row[j + 1 :] for row in rest]))
        total = term if j == 0 else sub(total, term) if j % 2 else add(total, term)
    return total


def sign_and_log_of_determinant(a: Array) -> tuple[Array, Array]:
    """The sign (for complex matrices: the phase) of determinants and the logarithm of their absolute values."""
    factors, pivots, permutation = factored(a)
    phase, log_size = lu_slogdet_p.bind(factors, pivots, permutation, a)
    return phase, log_size


# --- shared by the rules; x stands for the factors ---


def _parity(pivots: Array, dtype: np.dtype) -> Array:
    """The determinants of the permutations: -1 to the number of rows that were swapped."""
    shape = pivots.aval.shape
    last = len(shape) - 1
    swapped_rows = convert_element_type(ne(pivots, broadcasted_iota(_INDEX, shape, last)), _INDEX)
    odd = rem(reduce_sum(swapped_rows, (last,)), np.int32(2))
    return convert_element_type(sub(np.int32(1), mul(odd, np.int32(2))), dtype)


def _parity_kernel(pivots):
    return 1 - 2 * (np.count_nonzero(pivots != np.arange(pivots.shape[-1]), axis=-1) % 2)


def _trace(x: Array) -> Array:
    return reduce_sum(diagonals(x), (x.aval.ndim - 2,))


def _solved(factors, permutation, a, t):
    return lu_solve_p.bind(factors, permutation, a, t, transpose=False)


# --- the determinant ---

lu_det_p = Primitive("lu_det")


def _det_type(factors, pivots, permutation, a):
    return make_aval(a.shape[:-2], a.dtype)


def _det_kernel(factors, pivots, permutation, a):
    d = np.diagonal(factors, axis1=-2, axis2=-1)
    return np.prod(d, axis=-1) * _parity_kernel(pivots)


def _det_lower(ctx, factors, pivots, permutation, a):
    def value(factors, pivots):
        d = diagonals(factors)
        return [mul(reduce_prod(d, (d.aval.ndim - 1,)), _parity(pivots, d.aval.dtype))]

    return emitted(ctx, value, factors, pivots)[0]


def _det_jvp(primals, tangents):
    y = lu_det_p.bind(*primals)
    t = tangents[3]
    if type(t) is Zero:
        return y, zero_of(y.aval)
    # Jacobi's formula: the sum of the cofactors times the tangents of their entries
    rank = t.aval.ndim
    return y, reduce_sum(mul(lu_cofactors_p.bind(*primals), t), (rank - 2, rank - 1))


lu_det_p.abstract_eval = _det_type
lu_det_p.kernel = _det_kernel
lu_det_p.lower = _det_lower
lu_det_p.jvp = _det_jvp
lu_det_p.batch = stacked_batch(lu_det_p)

# --- its sign and logarithm ---

lu_slogdet_p = Primitive("lu_slogdet", multiple_results=True)


def _slogdet_type(factors, pivots, permutation, a):
    return [make_aval(a.shape[:-2], a.dtype), make_aval(a.shape[:-2], real_dtype(a.dtype))]


def _slogdet_kernel(factors, pivots, permutation, a):
    d = np.diagonal(factors, axis1=-2, axis2=-1)
    size = np.abs(d)
    signs = np.divide(d, size, out=np.zeros_like(d), where=size != 0)
    return np.prod(signs, axis=-1) * _parity_kernel(pivots), np.sum(np.log(size), axis=-1)


def _slogdet_lower(ctx, factors, pivots, permutation, a):
    def value(factors, pivots):
        d = diagonals(factors)
        last = (d.aval.ndim - 1,)
        phase = mul(reduce_prod(sign(d), last), _parity(pivots, d.aval.dtype))
        return [phase, reduce_sum(log(magnitude(d)), last)]

    return emitted(ctx, value, factors, pivots)


def _slogdet_jvp(primals, tangents):
    phase, size = outs = lu_slogdet_p.bind(*primals)
    t = tangents[3]
    if type(t) is Zero:
        return outs, [zero_of(phase.aval), zero_of(size.aval)]
    # the derivative of log det a is tr(a^-1 a'): its real part is that of the logarithm, its imaginary part that of the
    # phase
    factors, _, permutation, a = primals
    rate = _trace(_solved(factors, permutation, a, t))
    if not dtypes.is_complex(rate.aval.dtype):
        return outs, [zero_of(phase.aval), rate]
    turn = imag(rate)
    return outs, [mul(phase, complex_of(full_like(turn, 0), turn)), real(rate)]


lu_slogdet_p.abstract_eval = _slogdet_type
lu_slogdet_p.kernel = _slogdet_kernel
lu_slogdet_p.lower = _slogdet_lower
lu_slogdet_p.jvp = _slogdet_jvp
lu_slogdet_p.batch = stacked_batch(lu_slogdet_p)

# --- cofactors: the derivatives of the determinant by the entries ---

lu_cofactors_p = Primitive("lu_cofactors")


def _cofactors(factors: Array, pivots: Array, permutation: Array) -> Array:
    """The matrices of cofactors, without division by entries that may be zero.

    With p a = l u the transpose of the cofactors is adj(a) = adj(u) adj(l) adj(p^T) = det(p) adj(u) l^-1 p.
    """
    adjugate = _upper_adjugate(factors)
    x = triangular_solve(factors, adjugate, lower=True, unit_diagonal=True)
    x = rows(swapped(x), inverse(permutation))
    parity = _parity(pivots, x.aval.dtype)
    return mul(x, reshape(parity, (*parity.aval.shape, 1, 1)))


def _upper_adjugate(u: Array) -> Array:
    """The adjugates of the upper triangles of matrices, by halves:

    the adjugate of ((a, b), (0, c)) is ((det(c) adj(a), -adj(a) b adj(c)), (0, det(a) adj(c))). All blocks of one size
    are computed at once, starting from blocks of one row; rows of the identity, of determinant 1, pad the last ones.
    """
    n = u.aval.shape[-1]
    lead = u.aval.shape[:-2]
    axis = len(lead)
    full = 1 << (n - 1).bit_length()
    zero = scalar_like(0, u.aval.dtype)
    if full > n:
        u = pad(u, zero, [(0, 0, 0)] * axis + [(0, full - n, 0)] * 2)
        u = select(ge(broadcasted_iota(_INDEX, (full, full), 0), np.int32(n)), identity(u), u)
    dets = diagonals(u)
    adjugates = full_like(u, 1, shape=(*lead, full, 1, 1))
    size = 1
    while size < full:
        count = full // (2 * size)
        beside = _blocks(u, size, count)
        left, right = (_every_other(adjugates, i, axis) for i in (0, 1))
        left_det, right_det = (_every_other(dets, i, axis) for i in (0, 1))
        if count == 1:  # without the padding
            beside = slice_in_dim(beside, 0, n - size, axis=axis + 2)
            right = slice_in_dim(slice_in_dim(right, 0, n - size, axis=axis + 1), 0, n - size, axis=axis + 2)
        stretch = (*lead, count, 1, 1)
        corner = neg(product(left, beside, right))
        upper = concatenate([mul(left, reshape(right_det, stretch)), corner], axis + 2)
        lower = mul(right, reshape(left_det, stretch))
        lower = concatenate([full_like(lower, 0, shape=(*lower.aval.shape[:-1], size)), lower], axis + 2)
        adjugates = concatenate([upper, lower], axis + 1)
        dets = mul(left_det, right_det)
        size *= 2
    return reshape(adjugates, (*lead, n, n))


def _blocks(u: Array, size: int, count: int) -> Array:
    """The upper right quarters of the diagonal square blocks of twice the size."""
    lead = u.aval.shape[:-2]
    axis = len(lead)
    x = reshape(u, (*lead, count, 2 * size, count, 2 * size))
    x = slice_in_dim(slice_in_dim(x, 0, size, axis=axis + 1), size, 2 * size, axis=axis + 3)
    x = transpose(x, (*range(axis), axis, axis + 2, axis + 1, axis + 3))
    # in a flat list of the blocks, one step down and one to the right is an offset of count + 1
    return slice_in_dim(reshape(x, (*lead, count * count, size, size)), 0, None, count + 1, axis)


def _every_other(x: Array, start: int, axis: int) -> Array:
    return slice_in_dim(x, start, None, 2, axis)


def _cofactors_jvp(primals, tangents):
    y = lu_cofactors_p.bind(*primals)
    t = tangents[3]
    if type(t) is Zero:
        return y, zero_of(y.aval)
    # y = det(a) a^-T, so y' = tr(a^-1 a') y - y (a^-1 a')^T; it needs an inverse
    factors, _, permutation, a = primals
    rate = _solved(factors, permutation, a, t)
    trace = _trace(rate)
    return y, sub(mul(reshape(trace, (*trace.aval.shape, 1, 1)), y), product(y, swapped(rate)))


lu_cofactors_p.abstract_eval = lambda factors, pivots, permutation, a: a.strip_weak_type()
lu_cofactors_p.evaluate = lambda factors, pivots, permutation, a: _cofactors(factors, pivots, permutation)
lu_cofactors_p.lower = lambda ctx, factors, pivots, permutation, a: emitted(
    ctx, lambda *args: [_cofactors(*args)], factors, pivots, permutation
)[0]
lu_cofactors_p.jvp = _cofactors_jvp
lu_cofactors_p.batch = stacked_batch(lu_cofactors_p)
