"""Shared parts of operations on stacks of matrices: types, batching, lowering, and matrix algebra for their rules.

The matrices are in the last two axes. Operations support the dtypes of LAPACK.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ConcreteArray, array_of
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray, make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.blas import MODERATE, scipy_blas
from pullback._ops.compare import bitwise_and, bitwise_or, eq, ge, gt, ne, select
from pullback._ops.creation import full_like
from pullback._ops.dot import batch_matmul
from pullback._ops.elementwise import add, mul, sub
from pullback._ops.expressions import emitted
from pullback._ops.families import broadcast_shapes, scalar_like
from pullback._ops.gather_numpy import GatherDimensionNumbers
from pullback._ops.gather_scatter import gather
from pullback._ops.quotients import kinked, quotient_or_nan
from pullback._ops.reduce import reduce_and
from pullback._ops.rounding import is_finite
from pullback._ops.shape import (
    broadcast_in_dim,
    broadcast_to,
    convert_element_type,
    move_axis,
    reshape,
    transpose,
)
from pullback._ops.slicing import slice_in_dim
from pullback._ops.trig import conj, imag, real
from pullback._xla import lapack
from pullback._xla.lowering import Block, Value
from pullback._xla.single_operations import program_if_worth

_INDEX = np.dtype(np.int32)
# stacks of this size are worth a compiled program, once this many matrices have gone through the kernel
_MANY, _A_COMPILATION = 50, 2000


def check_matrices(name: str, aval: ShapedArray, square: bool = False, what: str = "the operand") -> None:
    """Raise, in the user's terms, unless the type is that of a stack of (square) matrices of a LAPACK dtype."""
    shape = aval.shape
    if len(shape) < 2 or (square and shape[-1] != shape[-2]):
        kind = "square matrices" if square else "matrices"
        raise ValueError(f"{name}: expected {kind} in the last two axes of {what}, got shape {shape}")
    if not lapack.takes(aval.dtype):
        raise TypeError(
            f"{name}: expected float32, float64, complex64 or complex128 for {what}, got "
            f"{aval.str_short()}. Convert it with .astype()."
        )


def stacked_batch(p: Primitive) -> Callable:
    """The batching rule of an operation on stacks: the batch axis becomes the first axis of the stack."""

    def batch(trace, args, dims, **params):
        size = next(x.aval.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
        stacked = [
            broadcast_in_dim(x, (size, *x.aval.shape), range(1, x.aval.ndim + 1)) if d is None else move_axis(x, d, 0)
            for x, d in zip(args, dims, strict=True)
        ]
        out = p.bind(*stacked, **params)
        return (out, [0] * len(out)) if p.multiple_results else (out, 0)

    return batch


def refuse_derivative(p: Primitive, instead: str) -> None:
    """Set the jvp rule of a decomposition without derivative: NotImplementedError, with what to do instead."""

    def jvp(primals, tangents, **params):
        outs = p.bind(*primals, **params)
        if any(type(t) is not Zero for t in tangents):
            raise NotImplementedError(f"{p.name} has no derivative: {instead}. stop_gradient takes it as constant.")
        return outs, [zero_of(y.aval) for y in outs]

    p.jvp = jvp


def each_matrix(function: Callable[..., tuple[np.ndarray, ...]], rank: int, *stacks: np.ndarray) -> list[np.ndarray]:
    """Apply a function of single matrices to each matrix of the stacks, and stack its results.

    `rank` is the number of stack axes, which all stacks share. For an empty stack the function
    is called with zeros, for the shapes of its results.
    """
    if math.prod(stacks[0].shape[rank:]) * stacks[-1].shape[-1] <= MODERATE:
        return scipy_blas().on_one_thread(_each_matrix, function, rank, *stacks)
    return _each_matrix(function, rank, *stacks)


def _each_matrix(function: Callable[..., tuple[np.ndarray, ...]], rank: int, *stacks: np.ndarray) -> list[np.ndarray]:
    shape = stacks[0].shape[:rank]
    if 0 in shape:
        likes = function(*[np.zeros(x.shape[rank:], x.dtype) for x in stacks])
        return [np.zeros((*shape, *np.shape(y)), y.dtype) for y in likes]
    results = [function(*[x[i] for x in stacks]) for i in np.ndindex(shape)]
    return [np.stack(ys).reshape(*shape, *np.shape(ys[0])) if rank else ys[0] for ys in zip(*results, strict=True)]


def in_stacks(p: Primitive, kernel: Callable) -> Callable:
    """A kernel that applies `kernel` matrix by matrix, and switches to a compiled program for many matrices.

    A program processes a stack of small matrices up to 30 times faster, once it is compiled.
    """

    def run(*stacks, **params):
        count = math.prod(stacks[0].shape[:-2])
        if count >= _MANY:
            avals = tuple([make_aval(x.shape, x.dtype) for x in stacks])
            program = program_if_worth(p, avals, params, count / _A_COMPILATION)
            if program is not None:
                outs = [out.value for out in program.run(list(map(array_of, avals, stacks)))]
                return outs if p.multiple_results else outs[0]
        return kernel(*stacks, **params)

    return run


@cache
def routine(name: str, dtype: np.dtype) -> Callable:
    """The routine of BLAS or LAPACK, such as "trsm", for matrices of a dtype."""
    from scipy.linalg import blas, lapack

    full_name = "sdcz"["fdFD".index(dtype.char)] + name
    return getattr(blas, full_name, None) or getattr(lapack, full_name)


def stack_aval(aval: ShapedArray, *shape: int, dtype: np.dtype | None = None) -> ShapedArray:
    """The type of results of the given shape, one for each matrix of a stack."""
    return make_aval((*aval.shape[:-2], *shape), aval.dtype if dtype is None else np.dtype(dtype))


def where_done(info: Array, x: Array) -> Array:
    """The results for matrices whose `info` is 0 (success), and nan for the others."""
    done = reshape(eq(info, np.int32(0)), (*info.aval.shape, *(1,) * (x.aval.ndim - info.aval.ndim)))
    return select(done, x, scalar_like(np.nan, x.aval.dtype))


def swapped(x: Array) -> Array:
    """The transposes of matrices."""
    rank = x.aval.ndim
    return transpose(x, (*range(rank - 2), rank - 1, rank - 2))


def adjoint(x: Array) -> Array:
    """The conjugate transposes of matrices."""
    return conjugate(swapped(x))


def conjugate(x: Array) -> Array:
    """The complex conjugate; real numbers are returned as they are."""
    return conj(x) if dtypes.is_complex(x.aval.dtype) else x


def product(*xs: Array) -> Array:
    """The product of stacks of matrices with equal leading axes, from the left."""
    result = xs[0]
    for x in xs[1:]:
        result = batch_matmul(result, x)
    return result


def triangle(x: Array, lower: bool, strict: bool = False) -> Array:
    """The lower or upper triangles of matrices, zero elsewhere; strict ones exclude the diagonal."""
    shape = x.aval.shape
    rows, columns = (broadcasted_iota(_INDEX, shape[-2:], axis) for axis in (0, 1))
    compare = gt if strict else ge
    return select(compare(rows, columns) if lower else compare(columns, rows), x, full_like(x, 0))


def half_diagonal(x: Array) -> Array:
    """Matrices with their diagonals halved."""
    return mul(x, sub(scalar_like(1, x.aval.dtype), mul(identity(x), scalar_like(0.5, x.aval.dtype))))


def identity(x: Array) -> Array:
    """The identity matrix (or its part, if not square) of the shape and dtype of matrices."""
    shape = x.aval.shape[-2:]
    return convert_element_type(eq(*(broadcasted_iota(_INDEX, shape, axis) for axis in (0, 1))), x.aval.dtype)


def diagonals(x: Array) -> Array:
    """The diagonals of square matrices, along the last axis."""
    *lead, n, _ = x.aval.shape
    # along the flattened matrix, one step down and one to the right is an offset of n + 1
    return slice_in_dim(reshape(x, (*lead, n * n)), 0, None, n + 1, len(lead))


def rows(x: Array, order: Array) -> Array:
    """The rows of matrices `(..., n, m)` in another order `(..., n)`, given for each matrix by row indices."""
    if not x.aval.size:
        return x
    *lead, _, m = x.aval.shape
    rank = len(lead)
    stacks = tuple(range(rank))
    numbers = GatherDimensionNumbers(
        offset_dims=(rank + 1,),
        collapsed_slice_dims=(rank,),
        start_index_map=(rank,),
        operand_batching_dims=stacks,
        start_indices_batching_dims=stacks,
    )
    return gather(
        x,
        reshape(order, (*order.aval.shape, 1)),
        numbers,
        (*(1,) * (rank + 1), m),
        unique_indices=True,
        mode="promise_in_bounds",
    )


def side_by_side(name: str, function: Callable[..., Array], stacks: Sequence[Array], b: Array) -> Array:
    """`function(*stacks, b)`, linear in the columns of `b`, with the leading axes of the stacks and of `b` broadcast.

    The first of the stacks consists of matrices, and the others have its leading axes. Where these would have to be
    repeated to match `b`, the matrices of `b` are joined as columns of one matrix instead.
    """
    given = stacks[0].aval.shape[:-2]
    total = broadcast_shapes(name, given, b.aval.shape[:-2])
    rank, skipped = len(total), len(total) - len(given)
    if given == total:
        return function(*stacks, broadcast_to(b, (*total, *b.aval.shape[-2:])))
    padded = (1,) * skipped + given
    own = [i for i in range(rank) if padded[i] == total[i]]
    moved = [i for i in range(rank) if padded[i] != total[i]]
    n, m = b.aval.shape[-2:]
    order = [*own, rank, rank + 1, *moved]
    lead, repeats = [total[i] for i in own], [total[i] for i in moved]
    wide = reshape(transpose(broadcast_to(b, (*total, n, m)), order), (*lead, n, m * math.prod(repeats)))
    narrow = [reshape(x, (*lead, *x.aval.shape[len(given) :])) for x in stacks]
    x = function(*narrow, wide)
    back = [order.index(i) for i in range(rank + 2)]
    return transpose(reshape(x, (*lead, n, m, *repeats)), back)


def eyes(aval: ShapedArray) -> Array:
    """A stack of identity matrices (or their parts, if not square) of a type."""
    diagonal = eq(*(broadcasted_iota(_INDEX, aval.shape[-2:], axis) for axis in (0, 1)))
    return broadcast_to(convert_element_type(diagonal, aval.dtype), aval.shape)


def real_part(x: Array) -> Array:
    """The real part; real numbers are returned as they are."""
    return real(x) if dtypes.is_complex(x.aval.dtype) else x


def hermitian(x: Array, lower: bool) -> Array:
    """The symmetric (Hermitian) matrices with the given lower or upper triangle."""
    half = half_diagonal(triangle(x, lower))
    return add(half, adjoint(half))


# --- iterative routines: they must not get values that are not finite, since they might not return ---


def workspace(name: str, dtype: np.dtype, *sizes: int, **options: int) -> list[int]:
    """The sizes of the workspace with which a routine is fastest."""
    *lengths, _ = routine(f"{name}_lwork", dtype)(*sizes, **options)
    # in single precision a length may have been rounded down
    return [x if isinstance(x, int) else int(np.nextafter(np.float32(x.real), np.float32(np.inf))) + 1 for x in lengths]


def guarded_kernel(function: Callable[..., tuple], x: np.ndarray) -> list[np.ndarray]:
    """`each_matrix` for a routine whose last result is 0 on success; nan for matrices where it failed."""

    def guarded(a):
        finite = np.isfinite(a).all()
        *results, info = function(a if finite else np.zeros_like(a))
        return tuple(results) if finite and info == 0 else tuple(np.full_like(y, np.nan) for y in results)

    return each_matrix(guarded, x.ndim - 2, x)


def guarded_call(
    ctx: Block,
    name: str,
    x: Value,
    out_avals: Sequence[ShapedArray],
    settings: Mapping[str, str | int],
    overwrites: int | None = 0,
) -> list[Value]:
    """`lapack_call` for a routine whose last result is 0 on success; nan for matrices where it failed."""
    rank = x.aval.ndim - 2

    def safe(x):
        parts = [real(x), imag(x)] if dtypes.is_complex(x.aval.dtype) else [x]
        finite = reduce_and(functools.reduce(bitwise_and, map(is_finite, parts)), (rank, rank + 1))
        return [finite, select(reshape(finite, (*finite.aval.shape, 1, 1)), x, scalar_like(0, x.aval.dtype))]

    finite, matrices = emitted(ctx, safe, x)
    info = make_aval(x.aval.shape[:rank], _INDEX)
    results = lapack.lapack_call(ctx, name, [matrices], [*out_avals, info], rank, settings, overwrites)
    return emitted(
        ctx,
        lambda finite, info, *ys: [
            where_done(select(finite, info, np.int32(-1)), y) if dtypes.is_inexact(y.aval.dtype) else y for y in ys
        ],
        finite,
        results[-1],
        *results[:-1],
    )


# --- quotients by the gaps between eigenvalues or singular values ---


def over_gaps(x: Array, w: Array) -> Array:
    """The elements ij of matrices divided by `w[j] - w[i]`, see `quotient_or_nan`; zeros on the diagonals."""
    return _off_diagonal_over(x, sub(as_row(w), as_column(w)))


def over_sums(x: Array, w: Array) -> Array:
    """The elements ij of skew matrices divided by `w[j] + w[i]`, see `quotient_or_nan`."""
    sums = add(as_row(w), as_column(w))
    # for real matrices the diagonals are zeros, whatever a rounding error or a cotangent contains
    return quotient_or_nan(x, sums) if dtypes.is_complex(x.aval.dtype) else _off_diagonal_over(x, sums)


def kinked_vectors(v: Array, w: Array, at_zero: bool = False) -> Array:
    """Vectors, the columns of `v`, for the derivative of their values `w`: see `kinked`, where a value repeats.

    With `at_zero`, where a value is 0 too.
    """
    if type(v) is ConcreteArray or not w.aval.shape[-1]:
        return v
    zero, rank = scalar_like(0, w.aval.dtype), w.aval.ndim
    gaps = sub(as_row(w), as_column(w))
    apart = reduce_and(bitwise_or(ne(gaps, zero), _on_diagonal(gaps)), (rank - 1,))
    if at_zero:
        apart = bitwise_and(apart, ne(w, zero))
    return kinked(v, as_row(apart))


def _on_diagonal(x):
    return broadcast_to(eq(*(broadcasted_iota(_INDEX, x.aval.shape[-2:], axis) for axis in (0, 1))), x.aval.shape)


def _off_diagonal_over(x, y):
    on_diagonal = _on_diagonal(x)
    return quotient_or_nan(
        select(on_diagonal, scalar_like(0, x.aval.dtype), x), select(on_diagonal, scalar_like(1, y.aval.dtype), y)
    )


def as_row(x: Array) -> Array:
    """Vectors as matrices of one row."""
    return reshape(x, (*x.aval.shape[:-1], 1, x.aval.shape[-1]))


def as_column(x: Array) -> Array:
    """Vectors as matrices of one column."""
    return reshape(x, (*x.aval.shape, 1))
