"""Derivatives that do not exist in most directions, at the tip of a cone or where values repeat: they are nan there.

`quotient_or_nan` gives a derivative where the tangent or cotangent is 0, and nan otherwise. But a cotangent of 0 does
not always say that nothing depends on the value: the slope that it was multiplied by may vanish at this point alone, as
that of |x|**2 at the tip. Values of which this is to be feared pass through `kinked`.
"""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ConcreteArray
from pullback._core.primitive import Primitive
from pullback._ops.compare import eq, select
from pullback._ops.elementwise import add, mul, neg
from pullback._ops.families import nary, scalar_like
from pullback._ops.shape import convert_element_type, unbroadcast


def _nan(dtype):
    """nan, of complex dtypes in both parts."""
    return dtype.type(complex(np.nan, np.nan) if dtypes.is_complex(dtype) else np.nan)


def _quotient(x, y):
    if np.all(y):
        return x / y
    zero, nan = x.dtype.type(0), _nan(x.dtype)
    return np.where(y == 0, np.where(x == 0, zero, nan), x / y)


def _quotient_lower(ctx, x, y):
    zero = ctx.full_like(x, 0)
    by_zero = ctx.op(
        "stablehlo.select", [ctx.compare("EQ", x, zero), zero, ctx.full_like(x, _nan(x.aval.dtype))], x.aval
    )
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


def _kinked_transpose(ct, x, y):
    nothing = eq(y, scalar_like(0, y.aval.dtype))
    return [unbroadcast(select(nothing, scalar_like(_nan(ct.aval.dtype), ct.aval.dtype), ct), x.aval), None]


kinked_p: Primitive = nary(
    "kinked", lambda x, y: x, lambda ctx, x, y: x, lambda t, z, x, y: kinked_p.bind(t, y), None, add=add
)
kinked_p.transpose = _kinked_transpose
kinked_p.has(homogeneous=(0,))


def kinked(x: Array, y: Array) -> Array:
    """`x`, that has no derivative where `y`, which broadcasts to it, is 0: cotangents are nan there, 0 among them."""
    return x if type(x) is ConcreteArray else kinked_p.bind(x, convert_element_type(y, x.aval.dtype))


# --- slopes of products with a logarithm: 0 / 0 is 0, since along x = 0 they do not change ---


def _fraction(x, y):
    if np.all(y):
        return x / y
    return np.where((x == 0) & (y == 0), x.dtype.type(0), x / y)


def _fraction_lower(ctx, x, y):
    zero = ctx.full_like(x, 0)
    both = ctx.op("stablehlo.and", [ctx.compare("EQ", x, zero), ctx.compare("EQ", y, zero)])
    return ctx.op("stablehlo.select", [both, zero, ctx.op("stablehlo.divide", [x, y])], x.aval)


def _fraction_transpose(ct, x, y):
    return [unbroadcast(fraction_p.bind(ct, y), x.aval), None]


fraction_p: Primitive = nary(
    "fraction",
    _fraction,
    _fraction_lower,
    lambda t, z, x, y: fraction_p.bind(t, y),
    lambda t, z, x, y: neg(mul(t, fraction_p.bind(z, y))),
    add=add,
)
fraction_p.transpose = _fraction_transpose
fraction_p.has(homogeneous=(0,))


def fraction(x: Array, y: Array) -> Array:
    """`x / y` for real numbers of one dtype, 0 where both are 0."""
    return fraction_p.bind(x, y)
