"""How a contraction is emitted: as stacks of matrices whose stacked axes are in front, or small ones as sums.

XLA brings batch axes to the front by itself, but then it copies a transposed matrix wherever the contracted axis is
the last one, and fuses nothing across such copies (jaxlib 0.10.2). Emitted as transpositions that keep the other axes
in their order, the two products of attention, 8 x 256 x 8 x 64, and the softmax between them are one loop over
matrices: 17 ms in place of 36.

XLA calls a routine for each matrix of a stack that has more than three columns, however small: 4096 products of 4 x 4
take 1.9 ms, and 0.06 ms as sums of four products of entries; 1024 of 6 x 6 take 0.45 and 0.05 ms. From 8 x 8 on there
is nothing to gain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pullback._core.array import Array
from pullback._core.types import ShapedArray, make_aval
from pullback._ops.elementwise import add, mul
from pullback._ops.expressions import emitted
from pullback._ops.shape import reshape
from pullback._ops.slicing import slice_in_dim

if TYPE_CHECKING:
    from pullback._xla.lowering import Block, Value

Axes = tuple[int, ...]
# what is a sum: the lengths of the contracted axis, the longest of the others, and the least number of matrices
_SHORT, _SIDE, _COUNT = range(4, 8), 8, 8


def product(ctx: Block, x: Value, y: Value, axes: Sequence[tuple[Axes, Axes]], out: ShapedArray, attrs: str) -> Value:
    """Emit the product of two values over `axes`, which are the contracted ones and the stacked ones of each."""
    (lc, rc), (lb, rb) = axes
    front = tuple(range(len(lb)))
    # a partitioner would lose the axes that are merged
    if not ctx.module.is_local or not (lc and lb and _kept(x, lc, lb) and _kept(y, rc, rb)):
        return _dot(ctx, x, y, axes, out, attrs)
    small = _is_small(x.aval, y.aval, axes, out)
    if lb == front and rb == front and not small:
        return _dot(ctx, x, y, axes, out, attrs)
    order = sorted(range(len(lc)), key=lambda i: lc[i])
    left, left_axis = _stacked(ctx, x, lb, tuple(lc[i] for i in order))
    right, right_axis = _stacked(ctx, y, rb, tuple(rc[i] for i in order))
    if small:
        (z,) = emitted(ctx, lambda u, v: [_sum_of_products(u, left_axis, v, right_axis)], left, right)
    else:
        lengths = (left.aval.shape[0], left.aval.shape[3 - left_axis], right.aval.shape[3 - right_axis])
        z = _dot(ctx, left, right, (((left_axis,), (right_axis,)), ((0,), (0,))), make_aval(lengths, out.dtype), attrs)
    return ctx.op("stablehlo.reshape", [z], out)


def _is_small(x: ShapedArray, y: ShapedArray, axes: Sequence[tuple[Axes, Axes]], out: ShapedArray) -> bool:
    """Whether a product is that of many small matrices in one real dtype."""
    (lc, _), (lb, _) = axes
    k, count = (math.prod(x.shape[i] for i in some) for some in (lc, lb))
    if k not in _SHORT or count < _COUNT or not x.dtype == y.dtype == out.dtype or x.dtype.char not in "fd":
        return False
    return all(2 <= aval.size // (k * count) <= _SIDE for aval in (x, y))


def _sum_of_products(x: Array, i: int, y: Array, j: int) -> Array:
    """The product of stacks of matrices over the axes i and j, as a sum over them."""
    total, count = None, x.aval.shape[0]
    for k in range(x.aval.shape[i]):
        u, v = slice_in_dim(x, k, k + 1, axis=i), slice_in_dim(y, k, k + 1, axis=j)
        term = mul(reshape(u, (count, u.aval.size // count, 1)), reshape(v, (count, 1, v.aval.size // count)))
        total = term if total is None else add(total, term)
    assert total is not None
    return total


def _kept(x: Value, contracted: Axes, batch: Axes) -> list[int]:
    """The axes that are the result's too; a product of vectors, which has none, is a loop that XLA writes itself."""
    return [i for i in range(x.aval.ndim) if i not in batch and i not in contracted]


def _stacked(ctx: Block, x: Value, batch: Axes, contracted: Axes) -> tuple[Value, int]:
    """The operand as a stack of matrices, and which axis of them is the contracted one."""
    shape = x.aval.shape
    kept = _kept(x, contracted, batch)
    first = contracted[-1] < kept[0]
    permutation = (*batch, *contracted, *kept) if first else (*batch, *kept, *contracted)
    if permutation != tuple(range(len(shape))):
        aval = make_aval(tuple(shape[i] for i in permutation), x.aval.dtype)
        attrs = f"permutation = array<i64: {', '.join(map(str, permutation))}>"
        x = ctx.once("stablehlo.transpose", [x], aval, attrs)
    count, m, k = (math.prod(shape[i] for i in axes) for axes in (batch, kept, contracted))
    return ctx.reshape(x, (count, k, m) if first else (count, m, k)), 1 if first else 2


def _dot(ctx: Block, x: Value, y: Value, axes: Sequence[tuple[Axes, Axes]], out: ShapedArray, attrs: str) -> Value:
    (lc, rc), (lb, rb) = axes
    numbers = ", ".join(
        f"{name} = [{', '.join(map(str, axes))}]"
        for name, axes in (
            ("lhs_batching_dimensions", lb),
            ("rhs_batching_dimensions", rb),
            ("lhs_contracting_dimensions", lc),
            ("rhs_contracting_dimensions", rc),
        )
        if axes
    )
    # equal ones once, as transpositions: for those that it merges itself, XLA may choose a layout that it cannot emit
    attrs = f"dot_dimension_numbers = #stablehlo.dot<{numbers}>, {attrs}"
    return ctx.once("stablehlo.dot_general", [x, y], out, attrs)
