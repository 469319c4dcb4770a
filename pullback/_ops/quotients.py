"""The quotient for derivatives that do not exist in most directions: at the tip of a cone, or where values repeat."""

from __future__ import annotations

import numpy as np

from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._ops.elementwise import add, mul, neg
from pullback._ops.families import nary
from pullback._ops.shape import convert_element_type, unbroadcast


def _quotient(x, y):
    if np.all(y):
        return x / y
    zero, nan = x.dtype.type(0), x.dtype.type(np.nan)
    return np.where(y == 0, np.where(x == 0, zero, nan), x / y)


def _quotient_lower(ctx, x, y):
    zero = ctx.full_like(x, 0)
    by_zero = ctx.op("stablehlo.select", [ctx.compare("EQ", x, zero), zero, ctx.full_like(x, np.nan)], x.aval)
    return ctx.op("stablehlo.select", [ctx.compare("EQ", y, zero), by_zero, ctx.op("stablehlo.divide", [x, y])], x.aval)


def _quotient_transpose(ct, x, y):
    return [unbroadcast(quotient_or_nan_p.bind(ct, y), x.aval), None]


# Where a derivative does not exist its contribution to a tangent is nan, but only if there is one: values that do not
# depend on it keep their derivative.
quotient_or_nan_p: Primitive = nary(
    "quotient_or_nan",
    _quotient,
    _quotient_lower,
    lambda t, z, x, y: quotient_or_nan_p.bind(t, y),
    lambda t, z, x, y: neg(quotient_or_nan_p.bind(mul(z, t), y)),
    add=add,
)
quotient_or_nan_p.transpose = _quotient_transpose
quotient_or_nan_p.has(homogeneous=(0,))


def quotient_or_nan(x: Array, y: Array) -> Array:
    """`x / y` for real or complex `y`: where `y` is 0, 0 for an `x` of 0 and nan for any other."""
    return quotient_or_nan_p.bind(x, convert_element_type(y, x.aval.dtype))
