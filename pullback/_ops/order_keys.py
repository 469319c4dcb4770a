"""Floats as integers in the same order, emitted: XLA vectorizes comparisons and extremes of integers, nan or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pullback._core import dtypes
from pullback._core.types import make_aval

if TYPE_CHECKING:
    from pullback._xla.lowering import Block, Value

_FLOAT = np.dtype(np.float32)


def ordered_keys(ctx: Block, x: Value, nan_last: bool, zeros_equal: bool = False) -> Value:
    """Integers in the order of floats of 32 or 64 bits, nan behind or before all; -0 below 0, or equal."""
    integer = np.dtype(f"i{x.aval.dtype.itemsize}")
    aval, info = make_aval(x.aval.shape, integer), np.iinfo(integer)
    bits = ctx.op("stablehlo.bitcast_convert", [x], aval)
    if zeros_equal:
        negative_zero = ctx.compare("EQ", bits, ctx.constant(info.min, aval))
        bits = ctx.op("stablehlo.select", [negative_zero, ctx.constant(0, aval), bits], aval)
    nan = ctx.constant(info.max if nan_last else info.min, aval)
    return ctx.op("stablehlo.select", [ctx.compare("NE", x, x), nan, in_total_order(ctx, bits)], aval)


def ordered_integers(ctx: Block, x: Value, nan_last: bool) -> Value:
    """Signed integers of 32 or 64 bits in the order of real numbers or bools, equal where these are."""
    dtype = x.aval.dtype
    if dtypes.is_float(dtype):
        x = ctx.convert(x, _FLOAT) if dtype.itemsize < 4 else x
        return ordered_keys(ctx, x, nan_last, zeros_equal=True)
    if dtype.itemsize < 4:
        return ctx.convert(x, np.dtype(np.int32))
    if dtype.kind == "i":
        return x
    # unsigned: the upper half is that of the numbers that are not negative
    signed = make_aval(x.aval.shape, np.dtype(f"i{dtype.itemsize}"))
    bits = ctx.op("stablehlo.bitcast_convert", [x], signed)
    return ctx.op("stablehlo.xor", [bits, ctx.constant(np.iinfo(signed.dtype).min, signed)])


def of_keys(ctx: Block, keys: Value, dtype: np.dtype) -> Value:
    """The floats that have these keys."""
    return ctx.op("stablehlo.bitcast_convert", [in_total_order(ctx, keys)], make_aval(keys.aval.shape, dtype))


def in_total_order(ctx: Block, bits: Value) -> Value:
    """The bits of floats as integers in their total order, or back: those of negative numbers grow with their size."""
    aval, size = bits.aval, bits.aval.dtype.itemsize
    sign = ctx.op("stablehlo.shift_right_arithmetic", [bits, ctx.constant(8 * size - 1, aval)])
    flipped = ctx.op("stablehlo.and", [sign, ctx.constant(np.iinfo(aval.dtype).max, aval)])
    return ctx.op("stablehlo.xor", [bits, flipped])
