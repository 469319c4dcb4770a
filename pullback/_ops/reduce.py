"""Reductions over axes: maximum, minimum, product, logic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.lazy import LateModule
from pullback._core.primitive import Primitive
from pullback._core.types import at_least, kept_shape, make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops.accumulate import reduced
from pullback._ops.assemble import concatenate
from pullback._ops.compare import emit_larger, emit_smaller
from pullback._ops.elementwise import add_p, div_p, mask_p, mul_p
from pullback._ops.families import ANY, BITS, FLOAT, NUMBER, elementwise
from pullback._ops.rules import linear_jvp, zero_jvp
from pullback._ops.shape import (
    canonical_axes,
    emit_reduction,
    full,
    reduce_lower,
    reduce_sum_p,
    reduced_batch,
    reduced_type,
    reshape,
    transpose,
)
from pullback._ops.slicing import slice_in_dim

if TYPE_CHECKING:
    from pullback._ops import order_keys
else:
    order_keys = LateModule("pullback._ops.order_keys")

# the elements from which on extremes of floats lose nan: the loops of solvers are over fewer, as a rule, and looking
# takes 2 microseconds (fixed points of 512 numbers 94 without, 151 with it)
_LARGE = 4_096


def lowest(dtype: np.dtype) -> Any:
    """The least value of a dtype: the identity of max."""
    if dtype.kind == "b":
        return False
    if dtypes.is_complex(dtype):
        return dtype.type(complex(-np.inf, -np.inf))
    return dtypes.iinfo(dtype).min if dtypes.is_integer(dtype) else _infinity(dtype, -1)


def highest(dtype: np.dtype) -> Any:
    """The greatest value of a dtype: the identity of min."""
    if dtype.kind == "b":
        return True
    if dtypes.is_complex(dtype):
        return dtype.type(complex(np.inf, np.inf))
    return dtypes.iinfo(dtype).max if dtypes.is_integer(dtype) else _infinity(dtype, 1)


def _infinity(dtype, sign):
    # some 8-bit floats have no infinity, and one has no negative numbers
    infinity = np.asarray(sign * np.inf).astype(dtype)[()]
    limits = dtypes.finfo(dtype)
    return infinity if not np.isnan(infinity) else limits.max if sign > 0 else limits.min


def _axes(name: str, x: Array, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(canonical_axes(name, axes, x.aval.ndim)))


def _reduction(name: str, kernel, op: str, identity, accepts) -> Primitive:
    p = Primitive(name)
    predicate, description = accepts

    def abstract_eval(x, axes):
        if not predicate(x.dtype):
            raise TypeError(f"{name}: expected {description}, got {x.str_short()}")
        return reduced_type(name, x, axes)

    p.abstract_eval = abstract_eval
    p.kernel = kernel
    p.lower = reduce_lower(op, identity)
    p.batch = reduced_batch(p)
    return p


# --- max and min: where elements tie, each gets an equal share of the tangent ---


def _extreme_kernel(ufunc, initial):
    def kernel(x, axes):
        if x.dtype.isbuiltin != 1 or x.size == 0:
            # extended floats reduce in float32, which holds them all; an empty maximum is the identity
            wide = x
            if x.dtype.isbuiltin != 1:
                wide = x.astype(np.float32 if dtypes.is_float(x.dtype) else np.int32)
            return np.asarray(ufunc.reduce(wide, axes, initial=initial(x.dtype))).astype(x.dtype)
        return ufunc.reduce(x, axes)

    return kernel


def _extreme_jvp(p):
    def jvp(primals, tangents, axes):
        (x,), (t,) = primals, tangents
        y = p.bind(x, axes=axes)
        if type(t) is Zero:
            return y, zero_of(y.aval)
        at = mask_p.bind(x, reshape(y, kept_shape(x.aval.shape, axes)), mode="tie")
        total = reduce_sum_p.bind(mul_p.bind(t, at), axes=axes)
        return y, div_p.bind(total, reduce_sum_p.bind(at, axes=axes))

    p.jvp = jvp


def seeing_nan(ctx, op, identity, x, reduced):
    """A max or min, as `op` says, that `reduced(block, x, start)` emits; in large arrays on CPUs nan is looked for.

    XLA (jaxlib 0.10.2) hands extremes of 4,096 floats or more to YNNPACK, which loses nan, in a tenth of the time
    that XLA takes itself. A sum of nan is nan, so that integers are compared only where that of an array is.
    """
    aval = x.aval
    found = reduced(ctx, x, ctx.constant(identity(aval.dtype), make_aval((), aval.dtype)))
    if not (dtypes.is_float(aval.dtype) and ctx.module.platform == "cpu" and at_least(aval.size, _LARGE)):
        return found
    wide = ctx.convert(x, np.dtype(np.float32)) if aval.dtype.itemsize < 4 else x
    zero = ctx.constant(0, make_aval((), wide.aval.dtype))
    total = emit_reduction(ctx, "stablehlo.add", wide, zero, tuple(range(aval.ndim)))

    def by_integers(block):
        last = op == "stablehlo.maximum"
        start = block.constant(identity(aval.dtype), make_aval((), wide.aval.dtype))
        keys, start = (order_keys.ordered_keys(block, y, nan_last=last) for y in (wide, start))
        extreme = order_keys.of_keys(block, reduced(block, keys, start), wide.aval.dtype)
        return [block.convert(extreme, aval.dtype)]

    index = ctx.convert(ctx.compare("NE", total, total), np.dtype(np.int32))
    return ctx.choose(index, [found.aval], [lambda block: [found], by_integers])[0]


def _extreme_lower(op, emit, identity):
    def lower(ctx, x, axes):
        return seeing_nan(ctx, op, identity, x, lambda block, x, start: emit_reduction(block, emit, x, start, axes))

    return lower


reduce_max_p: Primitive = _reduction("reduce_max", _extreme_kernel(np.maximum, lowest), emit_larger, lowest, ANY)
reduce_min_p: Primitive = _reduction("reduce_min", _extreme_kernel(np.minimum, highest), emit_smaller, highest, ANY)
reduce_max_p.lower = _extreme_lower("stablehlo.maximum", emit_larger, lowest)
reduce_min_p.lower = _extreme_lower("stablehlo.minimum", emit_smaller, highest)
# for lowering rules whose other operations carry nan on, as those of softmax do
largest_number_p: Primitive = _reduction(
    "largest_number", _extreme_kernel(np.maximum, lowest), emit_larger, lowest, ANY
)
_extreme_jvp(reduce_max_p)
reduce_max_p.has(rearranging=True)
reduce_min_p.has(rearranging=True)
_extreme_jvp(reduce_min_p)


def reduce_max(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """The largest element over `axes`; nan if there is one, the least value of the dtype if there are no
    elements.

    Complex numbers are ordered by real part, then by imaginary part. If several elements are largest, each gets an
    equal share of the derivative. ValueError for axes out of bounds or named twice.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.reduce_max(np.array([[1, 4], [3, 2]]), (0,)))
    [3 4]
    """
    x = lift(operand)
    return reduce_max_p.bind(x, axes=_axes("reduce_max", x, axes))


def reduce_min(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """The smallest element over `axes`; nan if there is one, the greatest value of the dtype if there are no
    elements.

    Complex numbers are ordered by real part, then by imaginary part. If several elements are smallest, each gets an
    equal share of the derivative. ValueError for axes out of bounds or named twice.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.reduce_min(np.array([[1, 4], [3, 2]]), (0,)))
    [1 2]
    """
    x = lift(operand)
    return reduce_min_p.bind(x, axes=_axes("reduce_min", x, axes))


# --- prod ---


def _prod_jvp(primals, tangents, axes):
    (x,), (t,) = primals, tangents
    y = reduce_prod_p.bind(x, axes=axes)
    if type(t) is Zero or x.aval.size == 0:
        return y, zero_of(y.aval)
    kept = tuple(i for i in range(x.aval.ndim) if i not in axes)
    outer = tuple(x.aval.shape[i] for i in kept)
    flat = (math.prod(x.aval.shape[i] for i in axes), *outer)
    return y, _product_tangent(*(reshape(transpose(v, (*axes, *kept)), flat) for v in (x, t)))


def _product_tangent(x, t):
    """The tangent of the product over the first axis, halves multiplied pairwise: it needs no division, even for
    zeros."""
    while (count := x.aval.shape[0]) > 1:
        half = count // 2
        if count % 2:
            x = concatenate([x, full((1, *x.aval.shape[1:]), 1, x.aval.dtype)], 0)
            t = concatenate([t, full((1, *t.aval.shape[1:]), 0, t.aval.dtype)], 0)
            half += 1
        a, b = slice_in_dim(x, 0, half), slice_in_dim(x, half, 2 * half)
        t = add_p.bind(mul_p.bind(slice_in_dim(t, 0, half), b), mul_p.bind(a, slice_in_dim(t, half, 2 * half)))
        x = mul_p.bind(a, b)
    return reshape(t, t.aval.shape[1:])


reduce_prod_p: Primitive = _reduction(
    "reduce_prod", lambda x, axes: reduced(np.multiply, x, axes), "stablehlo.multiply", lambda dtype: 1, NUMBER
)
reduce_prod_p.jvp = _prod_jvp


def reduce_prod(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """The product over `axes`, in the dtype of the operand, a number; its derivatives are right even for zeros.

    TypeError for bools, ValueError for axes out of bounds or named twice.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.reduce_prod(np.array([[1, 4], [3, 2]]), (0,)))
    [3 8]
    """
    x = lift(operand)
    return reduce_prod_p.bind(x, axes=_axes("reduce_prod", x, axes))


# --- logic ---


def _bit_reduction(name, ufunc, op, identity):
    p = _reduction(name, lambda x, axes: ufunc.reduce(x, axis=axes), op, identity, BITS)
    zero_jvp(p)
    return p


reduce_and_p: Primitive = _bit_reduction(
    "reduce_and",
    np.bitwise_and,
    "stablehlo.and",
    lambda dtype: True if dtype.kind == "b" else highest(dtype) if dtypes.is_unsigned(dtype) else -1,
)
reduce_or_p: Primitive = _bit_reduction("reduce_or", np.bitwise_or, "stablehlo.or", lambda dtype: 0)
reduce_xor_p: Primitive = _bit_reduction("reduce_xor", np.bitwise_xor, "stablehlo.xor", lambda dtype: 0)


def reduce_and(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """Bitwise "and" over `axes`, of bools or integers (else TypeError); the empty reduction is True or all bits set.

    ValueError for axes out of bounds or named twice; negative ones count from the end.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.reduce_and(np.array([6, 3]), (0,)))
    2
    """
    x = lift(operand)
    return reduce_and_p.bind(x, axes=_axes("reduce_and", x, axes))


def reduce_or(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """Bitwise "or" over `axes`, of bools or integers (else TypeError); the empty reduction is False or 0.

    ValueError for axes out of bounds or named twice; negative ones count from the end.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.reduce_or(np.array([6, 3]), (0,)))
    7
    """
    x = lift(operand)
    return reduce_or_p.bind(x, axes=_axes("reduce_or", x, axes))


def reduce_xor(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """Bitwise "exclusive or" over `axes`, of bools or integers (else TypeError); the empty reduction is False or 0.

    ValueError for axes out of bounds or named twice; negative ones count from the end.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.reduce_xor(np.array([6, 3]), (0,)))
    5
    """
    x = lift(operand)
    return reduce_xor_p.bind(x, axes=_axes("reduce_xor", x, axes))


# --- reduce_precision: a reduction of the bits of each element, not over axes ---


def _reduce_precision_lower(ctx, x, exponent_bits, mantissa_bits):
    return ctx.op(
        "stablehlo.reduce_precision",
        [x],
        ctx.out_avals[0],
        f"exponent_bits = {exponent_bits} : i32, mantissa_bits = {mantissa_bits} : i32",
    )


reduce_precision_p: Primitive = elementwise("reduce_precision", None, _reduce_precision_lower, FLOAT, arity=1)
linear_jvp(reduce_precision_p)
reduce_precision_p.transpose = lambda ct, x, **params: [reduce_precision_p.bind(ct, **params)]


def reduce_precision(operand: ArrayLike, exponent_bits: int, mantissa_bits: int) -> Array:
    """Floats rounded to a format of fewer exponent and mantissa bits, kept in their dtype.

    Its derivative rounds the tangent in the same way. ValueError for `exponent_bits` < 1 and `mantissa_bits` < 0,
    TypeError for other dtypes.

    >>> from pullback import lax
    >>> print(lax.reduce_precision(3.14159, exponent_bits=5, mantissa_bits=2))
    3.0
    """
    if exponent_bits < 1 or mantissa_bits < 0:
        raise ValueError(
            "reduce_precision: expected exponent_bits >= 1 and mantissa_bits >= 0, got "
            f"{exponent_bits} and {mantissa_bits}"
        )
    return reduce_precision_p.bind(lift(operand), exponent_bits=int(exponent_bits), mantissa_bits=int(mantissa_bits))
