"""What operations on stacks of matrices share: types, batching, lowering, and matrix algebra for their rules.

The matrices lie in the last two axes. Operations take them in the dtypes that LAPACK knows.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._core.staging import stage
from pullback._core.types import ShapedArray, make_aval
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.compare import eq, ge, gt, select
from pullback._ops.dot import batch_matmul
from pullback._ops.elementwise import mul, sub
from pullback._ops.families import scalar_like
from pullback._ops.shape import broadcast_in_dim, convert_element_type, full_like, move_axis, reshape, transpose
from pullback._ops.trig import conj
from pullback._xla import lapack
from pullback._xla.lowering import Block, Value

_INDEX = np.dtype(np.int32)


def check_matrices(name: str, aval: ShapedArray, square: bool = False, what: str = "the operand") -> None:
    """Raise, in the user's words, unless the type is that of a stack of (square) matrices LAPACK can take."""
    shape = aval.shape
    if len(shape) < 2 or (square and shape[-1] != shape[-2]):
        kind = "square matrices" if square else "matrices"
        raise ValueError(f"{name}: expected {kind} in the last two axes of {what}, got shape {shape}")
    if not lapack.takes(aval.dtype):
        raise TypeError(f"{name}: expected float32, float64, complex64 or complex128 for {what}, got "
                        f"{aval.str_short()}. Convert it with .astype().")


def stacked_batch(p: Primitive) -> Callable:
    """The batching rule of an operation that works on stacks: the batch becomes the first axis of the stack."""

    def batch(args, dims, **params):
        size = next(x.aval.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
        stacked = [broadcast_in_dim(x, (size, *x.aval.shape), range(1, x.aval.ndim + 1)) if d is None
                   else move_axis(x, d, 0) for x, d in zip(args, dims, strict=True)]
        out = p.bind(*stacked, **params)
        return (out, [0] * len(out)) if p.multiple_results else (out, 0)

    return batch


def emitted(ctx: Block, function: Callable[..., Sequence[Array]], *values: Value) -> list[Value]:
    """What a function of arrays returns for values being lowered: a lowering rule in the words of other operations."""
    closed = stage(function, [x.aval for x in values])
    constants = [ctx.constant(c.value, c.aval.strip_weak_type()) for c in closed.consts]
    return ctx.inline(closed.jaxpr, [*constants, *values])


def each_matrix(function: Callable[..., tuple[np.ndarray, ...]], rank: int, *stacks: np.ndarray) -> list[np.ndarray]:
    """A kernel from a function of single matrices: applied to each of the stacks, its results stacked.

    `rank` is the number of axes that number the matrices; the stacks agree in them. Of an empty stack the function
    sees zeros, for the shapes of its results.
    """
    shape = stacks[0].shape[:rank]
    if 0 in shape:
        likes = function(*[np.zeros(x.shape[rank:], x.dtype) for x in stacks])
        return [np.zeros((*shape, *np.shape(y)), y.dtype) for y in likes]
    results = [function(*[x[i] for x in stacks]) for i in np.ndindex(shape)]
    return [np.stack(ys).reshape(*shape, *np.shape(ys[0])) if rank else ys[0] for ys in zip(*results, strict=True)]


def stack_aval(aval: ShapedArray, *shape: int, dtype: Any = None) -> ShapedArray:
    """The type of results of the given shape, one for each matrix of a stack."""
    return make_aval((*aval.shape[:-2], *shape), aval.dtype if dtype is None else np.dtype(dtype))


def where_done(info: Array, x: Array) -> Array:
    """The results of the matrices for which a routine said it was done (0), and nan for the others."""
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
    """The complex conjugate, of real numbers too."""
    return conj(x) if dtypes.is_complex(x.aval.dtype) else x


def product(*xs: Array) -> Array:
    """The product of stacks of matrices with equal leading axes, from the left."""
    result = xs[0]
    for x in xs[1:]:
        result = batch_matmul(result, x)
    return result


def triangle(x: Array, lower: bool, strict: bool = False) -> Array:
    """The lower or upper triangles of matrices, zero elsewhere; strict ones are without the diagonal."""
    shape = x.aval.shape
    rows, columns = (broadcasted_iota(_INDEX, shape[-2:], axis) for axis in (0, 1))
    compare = gt if strict else ge
    return select(compare(rows, columns) if lower else compare(columns, rows), x, full_like(x, 0))


def half_diagonal(x: Array) -> Array:
    """Matrices with their diagonals halved."""
    return mul(x, sub(scalar_like(1, x.aval.dtype), mul(identity(x), scalar_like(0.5, x.aval.dtype))))


def identity(x: Array) -> Array:
    """The identity matrix (or its part, where they are not square) of the shape and dtype of matrices."""
    shape = x.aval.shape[-2:]
    return convert_element_type(eq(*(broadcasted_iota(_INDEX, shape, axis) for axis in (0, 1))), x.aval.dtype)
