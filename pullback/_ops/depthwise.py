"""Depthwise convolutions, emitted: shifted copies of the input times one number for each channel, added up.

XLA's own are loops that it does not vectorize. Processor time in ms, two busy cores, AVX-512, jaxlib 0.10.2, float32:

| input, kernel | convolution, by XLA | as shifts | its gradients, by XLA | as shifts |
|---|---|---|---|---|
| 8 x 64 x 56 x 56, 3 x 3 | 43 | 2.1 | 144 | 43 |
| 8 x 56 x 56 x 64, 3 x 3, the channels last | 38 | 2.2 | 124 | 39 |
| 8 x 56 x 56 x 64, 7 x 7 in steps of 2 | 28 | 2.2 | 559 | 68 |
| 8 x 256 x 2048, 4 | 339 | 3.4 | 776 | 68 |
| 1 x 8 x 8 x 8, 3 x 3 | 0.09 | 0.03 | 0.16 | 0.08 |

A kernel of 7 x 7 takes XLA 0.6 s to compile, and the gradient of one 1 to 2 s, which is left to it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pullback._core import dtypes
from pullback._core.types import make_aval
from pullback._ops.conv_axes import ConvDimensionNumbers, dilated
from pullback._xla.attributes import int_array

if TYPE_CHECKING:
    from pullback._xla.lowering import Block, Value

# each place of the kernel is an operation, or for its gradient a sum, which is larger
_MOST_PLACES, _MOST_SUMS = 64, 25


def depthwise(
    ctx: Block,
    x: Value,
    w: Value,
    numbers: ConvDimensionNumbers,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    of_input: Sequence[int],
    of_kernel: Sequence[int],
    feature_groups: int,
    batch_groups: int,
) -> Value | None:
    """The convolution as shifts if each channel is a group, or that for the gradient of such a kernel; else None.

    `of_input` and `of_kernel` are the dilations. Half precision is accumulated in float32.
    """
    out, module = ctx.out_avals[0], ctx.module
    if module.platform != "cpu" or module.leaves or module.is_spread or not dtypes.is_float(x.aval.dtype):
        return None
    lhs, rhs, result = numbers
    channels = x.aval.shape[lhs[1]] if feature_groups > 1 else x.aval.shape[lhs[0]]
    if out.dtype != x.aval.dtype or w.aval.shape[rhs[0]] != channels or channels == 1:
        return None
    dtype = np.dtype(np.float32) if x.aval.dtype.itemsize < 4 else x.aval.dtype
    sizes = [out.shape[axis] for axis in result[2:]]
    if feature_groups == channels and math.prod(w.aval.shape[axis] for axis in rhs[2:]) <= _MOST_PLACES:
        emit = _forward
    elif batch_groups == channels and math.prod(sizes) <= _MOST_SUMS:
        emit = _of_kernel
    else:
        return None
    x, w = ctx.convert(x, dtype), ctx.convert(w, dtype)
    x = _dilated(ctx, x, lhs, padding, of_input)
    return ctx.convert(emit(ctx, x, w, numbers, sizes, strides, of_kernel), out.dtype)


def _forward(ctx, x, w, numbers, sizes, strides, dilations):
    """For each place of the kernel, the input from there on times the numbers of the kernel."""
    lhs, rhs, result = numbers
    channels, ones = x.aval.shape[lhs[1]], [1] * len(sizes)
    total = None
    for place in itertools.product(*(range(w.aval.shape[axis]) for axis in rhs[2:])):
        part = _part(ctx, x, lhs, [k * d for k, d in zip(place, dilations, strict=True)], sizes, strides)
        factors = ctx.reshape(_part(ctx, w, rhs, place, ones, ones), (channels,))
        term = ctx.op("stablehlo.multiply", [part, ctx.broadcast(factors, part.aval.shape, [lhs[1]])])
        total = term if total is None else ctx.op("stablehlo.add", [total, term])
    return _arranged(ctx, total, lhs, result)


def _of_kernel(ctx, x, w, numbers, sizes, strides, dilations):
    """For each place of the result, a kernel's gradient, the sum over examples and places of input times cotangent.

    The channels are the batch of the input and the features of the kernel, the examples the other way round.
    """
    lhs, rhs, result = numbers
    w = _arranged(ctx, w, rhs, lhs)
    extents = [w.aval.shape[axis] for axis in lhs[2:]]
    scalar, channels = make_aval((), x.aval.dtype), make_aval((x.aval.shape[lhs[0]],), x.aval.dtype)
    start = ctx.constant(0, scalar)
    attributes = f"dimensions = {int_array(sorted(lhs[1:]))}"
    sums = []
    for place in itertools.product(*map(range, sizes)):
        part = _part(ctx, x, lhs, [k * s for k, s in zip(place, strides, strict=True)], extents, dilations)
        term = ctx.op("stablehlo.multiply", [part, w])
        body = ctx.region([scalar, scalar], lambda block, ab: [block.op("stablehlo.add", ab)])
        total = ctx.op("stablehlo.reduce", [term, start], channels, attributes, [body])
        sums.append(ctx.reshape(total, (1, *channels.shape)))
    aval = make_aval((len(sums), *channels.shape), scalar.dtype)
    stacked = ctx.op("stablehlo.concatenate", sums, aval, "dimension = 0 : i64")
    rank = len(sizes)
    return _arranged(ctx, ctx.reshape(stacked, (*sizes, *channels.shape, 1)), (rank + 1, rank, *range(rank)), result)


def _dilated(ctx, x, spec, padding, dilations):
    """The input with zeros around it and between its elements."""
    low, high, between = ([0] * x.aval.ndim for _ in range(3))
    shape = list(x.aval.shape)
    for axis, (before, behind), step in zip(spec[2:], padding, dilations, strict=True):
        low[axis], high[axis], between[axis] = before, behind, step - 1
        shape[axis] = dilated(shape[axis], step) + before + behind
    attributes = (
        f"edge_padding_low = {int_array(low)}, edge_padding_high = {int_array(high)}, "
        f"interior_padding = {int_array(between)}"
    )
    zero = ctx.constant(0, make_aval((), x.aval.dtype))
    return ctx.op("stablehlo.pad", [x, zero], make_aval(tuple(shape), x.aval.dtype), attributes)


def _part(ctx, x, spec, starts, extents, steps):
    """So many elements along each spatial axis, from a start on."""
    first, last, strides, shape = [0] * x.aval.ndim, list(x.aval.shape), [1] * x.aval.ndim, list(x.aval.shape)
    for axis, start, extent, step in zip(spec[2:], starts, extents, steps, strict=True):
        first[axis], last[axis], strides[axis] = start, start + (extent - 1) * step + 1, step
        shape[axis] = extent
    attributes = (
        f"start_indices = {int_array(first)}, limit_indices = {int_array(last)}, strides = {int_array(strides)}"
    )
    return ctx.op("stablehlo.slice", [x], make_aval(tuple(shape), x.aval.dtype), attributes)


def _arranged(ctx, x, spec, wanted):
    """The axes that `spec` names, in the order in which `wanted` names them."""
    order = [0] * x.aval.ndim
    for source, axis in zip(spec, wanted, strict=True):
        order[axis] = source
    if order == sorted(order):
        return x
    aval = make_aval(tuple(x.aval.shape[axis] for axis in order), x.aval.dtype)
    return ctx.op("stablehlo.transpose", [x], aval, f"permutation = {int_array(order)}")
