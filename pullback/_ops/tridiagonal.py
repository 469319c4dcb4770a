"""The solution of tridiagonal systems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray, make_aval
from pullback._core.zeros import Zero
from pullback._ops.elementwise import add, mul, neg, sub
from pullback._ops.expressions import emitted
from pullback._ops.families import operands, scalar_like
from pullback._ops.matrices import (
    as_column,
    each_matrix,
    in_stacks,
    routine,
    stacked_batch,
    where_done,
)
from pullback._ops.slicing import pad
from pullback._xla import lapack
from pullback._xla.lapack import lapack_call

_INDEX = np.dtype(np.int32)
tridiagonal_solve_p: Primitive = Primitive("tridiagonal_solve")


def tridiagonal_solve(
    dl: ArrayLike, d: ArrayLike, du: ArrayLike, b: ArrayLike, *, perturb_singular: bool = False
) -> Array:
    """The solution x of `a @ x = b` for matrices with three diagonals, in a time proportional to their number of rows.

    `dl`, `d`, `du`: `(..., n)`, the diagonal below the main one, the main one and the one above it; the first element
    of `dl` and the last of `du` lie outside and are not read. `b`: `(..., n, m)`. All of one dtype, float32, float64
    or complex. By elimination with row exchanges; a singular matrix gives nan. It is differentiable in all operands.
    Raises: ValueError for other shapes, TypeError for other dtypes, NotImplementedError for `perturb_singular`.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> dl, d, du = pnp.array([0., 1.]), pnp.array([2., 3.]), pnp.array([1., 0.])
    >>> print(lax.linalg.tridiagonal_solve(dl, d, du, pnp.array([[4.], [7.]])))
    [[1.]
     [2.]]
    """
    if perturb_singular:
        raise NotImplementedError("tridiagonal_solve: perturb_singular must be False: pivots are taken as they are")
    return tridiagonal_solve_p.bind(*operands("tridiagonal_solve", dl, d, du, b))


def _type(dl: ShapedArray, d: ShapedArray, du: ShapedArray, b: ShapedArray) -> ShapedArray:
    avals = (dl, d, du, b)
    if len({x.dtype for x in avals}) > 1 or not lapack.takes(b.dtype):
        raise TypeError(
            "tridiagonal_solve: expected operands of one dtype, float32, float64, complex64 or complex128, got "
            f"{', '.join(x.str_short() for x in avals)}. Convert them with .astype()."
        )
    if d.ndim == 0 or dl.shape != d.shape or du.shape != d.shape or b.shape[:-1] != d.shape:
        raise ValueError(
            "tridiagonal_solve: expected diagonals of shape (..., n) and b of shape (..., n, m) with equal leading "
            f"axes, got {dl.shape}, {d.shape}, {du.shape} and {b.shape}"
        )
    return make_aval(b.shape, b.dtype)


def _kernel(dl, d, du, b):
    if b.size == 0:
        return b

    def solve(b, dl, d, du):
        if len(d) == 1:
            with np.errstate(all="ignore"):
                return (np.where(d[0] == 0, b.dtype.type(np.nan), b / d[0]),)
        *_, x, info = routine("gtsv", b.dtype)(dl[1:], d, du[:-1], b)
        return (x if info == 0 else np.full_like(b, np.nan),)

    return each_matrix(solve, b.ndim - 2, b, dl, d, du)[0]


def _lower(ctx, dl, d, du, b):
    out = ctx.out_avals[0]
    if 0 in out.shape:
        return b
    rank = b.aval.ndim - 2
    info = make_aval(b.aval.shape[:rank], _INDEX)
    avals = [x.aval for x in (dl, d, du, b)]
    *_, x, done = lapack_call(ctx, "gtsv", [dl, d, du, b], [*avals, info], rank)
    return emitted(ctx, lambda x, done: [where_done(done, x)], x, done)[0]


def _shifted(x: Array, by: int, axis: int) -> Array:
    """Entries moved along an axis, zeros coming in."""
    config = [(by, -by, 0) if i == axis else (0, 0, 0) for i in range(x.aval.ndim)]
    return pad(x, scalar_like(0, x.aval.dtype), config)


def _product(diagonals: Sequence[Any], x: Array) -> Array | None:
    """The product of a tridiagonal matrix, whose diagonals may be zeros, with `x`."""
    axis = x.aval.ndim - 2
    parts = [
        mul(as_column(diagonal), _shifted(x, by, axis) if by else x)
        for diagonal, by in zip(diagonals, (1, 0, -1), strict=True)
        if type(diagonal) is not Zero
    ]
    total = None
    for part in parts:
        total = part if total is None else add(total, part)
    return total


def _jvp(primals, tangents):
    *diagonals, b = primals
    x = tridiagonal_solve_p.bind(*diagonals, b)
    *moves, db = tangents
    moved = _product(moves, x)
    if moved is None:
        return x, tridiagonal_solve_p.bind(*diagonals, db) if type(db) is not Zero else db
    return x, tridiagonal_solve_p.bind(*diagonals, neg(moved) if type(db) is Zero else sub(db, moved))


def _transpose(ct, dl, d, du, b):
    axis = ct.aval.ndim - 2
    return [None, None, None, tridiagonal_solve_p.bind(_shifted(du, 1, axis), d, _shifted(dl, -1, axis), ct)]


tridiagonal_solve_p.abstract_eval = _type
tridiagonal_solve_p.kernel = in_stacks(tridiagonal_solve_p, _kernel)
tridiagonal_solve_p.lower = _lower
tridiagonal_solve_p.jvp = _jvp
tridiagonal_solve_p.transpose = _transpose
tridiagonal_solve_p.has(homogeneous=(3,))
tridiagonal_solve_p.batch = stacked_batch(tridiagonal_solve_p)
