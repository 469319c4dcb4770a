"""Bits of integers: leading zeros, and the upper half of a product."""

from __future__ import annotations

import numpy as np

from pullback._core.primitive import Primitive
from pullback._ops.expressions import written
from pullback._ops.families import (
    BinaryFunction,
    UnaryFunction,
    elementwise,
    function_of_one,
    function_of_two,
)
from pullback._ops.rules import zero_jvp

# the narrow integers of four bits have no operations on bits
_INTEGER = (lambda dtype: dtype.kind in "iu", "an integer dtype of 8 bits or more")


def _unsigned(x):
    return x.view(np.dtype(f"u{x.dtype.itemsize}"))


def _leading_zeros(x):
    # every step halves the number of bits in which the highest one is searched for
    rest, count = _unsigned(np.asarray(x)), np.full(np.shape(x), x.dtype.itemsize * 8, x.dtype)
    step = x.dtype.itemsize * 4
    while step:
        upper = rest >> rest.dtype.type(step)
        found = upper != 0
        count = np.where(found, count - x.dtype.type(step), count)
        rest = np.where(found, upper, rest)
        step //= 2
    return count - rest.astype(x.dtype)


clz_p: Primitive = elementwise("clz", _leading_zeros, "stablehlo.count_leading_zeros", _INTEGER, arity=1)
zero_jvp(clz_p)
clz: UnaryFunction = function_of_one(
    __name__, clz_p, "The number of zero bits before the highest one that is set.", "1", "31"
)


def _upper_product(x, y, half, mask, right):
    """The upper half of the product of unsigned numbers, from the products of their halves of `half` bits.

    No sum exceeds the width: (2**h - 1)**2 + 2 (2**h - 1) = 4**h - 1.
    """
    x0, x1, y0, y1 = x & mask, right(x), y & mask, right(y)
    middle = x1 * y0 + right(x0 * y0)
    return x1 * y1 + right(middle) + right((middle & mask) + x0 * y1)


def _mulhi_kernel(x, y):
    dtype = x.dtype
    half = dtype.itemsize * 4
    x, y = np.broadcast_arrays(x, y)
    if dtype.itemsize < 8:
        wide = np.dtype(f"{dtype.kind}8")
        return (x.astype(wide) * y.astype(wide) >> wide.type(2 * half)).astype(dtype)
    u, v = _unsigned(np.ascontiguousarray(x)), _unsigned(np.ascontiguousarray(y))
    kind = u.dtype.type
    product = _upper_product(u, v, half, kind(2**half - 1), lambda z: z >> kind(half))
    if dtype.kind == "i":
        # a negative number stands for itself plus two to the width
        product = product - np.where(x < 0, v, kind(0)) - np.where(y < 0, u, kind(0))
    return product.view(dtype).reshape(x.shape)


def _mulhi_lower(ctx, x, y):
    dtype = x.aval.dtype
    if dtype.itemsize == 8:
        return _mulhi_by_halves(ctx, x, y)
    wide = np.dtype(f"{dtype.kind}8")
    product = ctx.op("stablehlo.multiply", [ctx.convert(v, wide) for v in (x, y)])
    shift = ctx.full_like(product, dtype.itemsize * 8)
    return ctx.convert(ctx.op("stablehlo.shift_right_logical", [product, shift]), dtype)


@written
def _mulhi_by_halves(x, y):
    dtype = x.value.aval.dtype
    half = dtype.itemsize * 4
    product = _upper_product(x, y, half, 2**half - 1, lambda z: z.op("stablehlo.shift_right_logical", half))
    if dtype.kind == "i":
        product = product - x.is_("LT", 0).choose(y, x * 0) - y.is_("LT", 0).choose(x, x * 0)
    return product


mulhi_p: Primitive = elementwise("mulhi", _mulhi_kernel, _mulhi_lower, _INTEGER)
zero_jvp(mulhi_p)
mulhi: BinaryFunction = function_of_two(
    __name__,
    mulhi_p,
    "The upper half of the bits of the product `x * y`, which has twice the width.",
    "2**30, 8",
    "2",
)
