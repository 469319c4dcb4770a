"""Arithmetic, exponentials, and rounding: the elementwise primitives in which most rules are written.

Derivatives of complex functions follow the convention of holomorphic calculus: the tangent rule is complex-linear, and
its transpose does not conjugate.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray, lift
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero
from pullback._ops import complex_parts
from pullback._ops.accuracy import AccurateFunction, function_with_accuracy
from pullback._ops.compare import compare_lower, emit_larger, emit_smaller, gt_p, select_p
from pullback._ops.expressions import iterate, written
from pullback._ops.families import (
    ANY,
    FLOAT,
    NUMBER,
    BinaryFunction,
    cheap,
    elementwise,
    function_of_one,
    function_of_two,
    nary,
    operands,
    scalar_like,
    unary,
)
from pullback._ops.identity import stop_gradient
from pullback._ops.large_arrays import if_integers, if_large
from pullback._ops.rules import bilinear, quotient_taylor
from pullback._ops.shape import broadcast_to, convert_element_type, unbroadcast


def scalar(x: Array, value: AnyValue) -> Array:
    """A constant in the dtype of `x`, for rules."""
    return scalar_like(value, x.aval.dtype)


# --- neg, add, sub, mul, div: on NumPy scalars, Python's operators are ten times as fast as ufuncs ---

neg_p: Primitive = unary("neg", operator.neg, "stablehlo.negate", lambda t, x, y: neg(t), NUMBER)
neg_p.transpose = lambda ct, x: [neg(ct)]

neg: Callable[[Any], Array] = function_of_one(
    __name__, neg_p, "`-x`; of unsigned integers modulo 2 to the number of bits.", "2.", "-2.0"
)


def _sum_jvp(p, second):
    """The jvp of `x + y` and `x - y`: one operation on the tangents."""

    def jvp(primals, tangents):
        z = p.bind(*primals)
        t, u = tangents
        if type(t) is Zero:
            t = Zero(z.aval) if type(u) is Zero else second(u)
        elif type(u) is not Zero:
            t = p.bind(t, u)
        return z, t if type(t) is Zero else broadcast_to(t, z.aval.shape)

    return jvp


add_p: Primitive = elementwise("add", operator.add, "stablehlo.add")
add_p.jvp = _sum_jvp(add_p, lambda u: u)
sub_p: Primitive = elementwise("sub", operator.sub, "stablehlo.subtract")
sub_p.jvp = _sum_jvp(sub_p, neg)
add: BinaryFunction = function_of_two(__name__, add_p, "`x + y`; integers wrap around.", "2., 3.", "5.0")
sub: BinaryFunction = function_of_two(__name__, sub_p, "`x - y`; integers wrap around.", "2., 3.", "-1.0")
mul_p: Primitive = elementwise("mul", operator.mul, "stablehlo.multiply")


def mul(x: ArrayLike, y: ArrayLike, *, out_dtype: np.dtype | None = None) -> Array:
    """`x * y`; integers wrap around.

    `x`, `y`: shapes that broadcast; numbers of one dtype (a Python scalar takes that of an array operand). The result
    has that dtype, or `out_dtype`, to which the operands are converted first. TypeError for two dtypes and for bools,
    ValueError for shapes that do not broadcast.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.mul(2., 3.), lax.mul(np.int8(100), np.int8(2), out_dtype="int32"))
    6.0 200
    """
    if not (isinstance(x, Array) and isinstance(y, Array) and x.aval.dtype is y.aval.dtype):
        x, y = operands("mul", x, y)
    if out_dtype is not None:
        mul_p.abstract_eval(x.aval, y.aval)  # type: ignore[misc]
        x, y = convert_element_type(x, out_dtype), convert_element_type(y, out_dtype)
    return mul_p.bind(x, y)


def times(factor: Callable[..., Array]) -> Callable[..., Array]:
    """The rule `tangent` of `unary`: the product of the tangent and `factor(x, z)`, where z is the result."""

    def tangent(t, x, z, /, **params):
        return mul(t, factor(x, z, **params))

    tangent.factor = factor  # type: ignore[attr-defined]
    return tangent


def _add_transpose(ct, x, y):
    return [unbroadcast(ct, x.aval) if is_linear(x) else None, unbroadcast(ct, y.aval) if is_linear(y) else None]


def _sub_transpose(ct, x, y):
    return [unbroadcast(ct, x.aval) if is_linear(x) else None, unbroadcast(neg(ct), y.aval) if is_linear(y) else None]


def mul_transpose(ct, x, y):
    if is_linear(x):
        return [unbroadcast(mul_p.bind(ct, y), x.aval), None]
    return [None, unbroadcast(mul_p.bind(x, ct), y.aval)]


add_p.has(additive=(0, 1))


sub_p.has(additive=(0, 1))
add_p.transpose = _add_transpose
sub_p.transpose = _sub_transpose
mul_p.transpose = mul_transpose


def truncated_quotient(x, y):
    """Division as XLA defines it: for integers towards zero, and by zero -1."""
    if x.dtype.kind == "f":
        return x / y
    if not dtypes.is_integer(x.dtype):
        return complex_parts.quotient(x, y) if x.dtype.kind == "c" else x / y
    by_zero = y == 0
    divisor = np.where(by_zero, x.dtype.type(1), y)
    quotient = np.floor_divide(x, divisor)
    inexact = (quotient * divisor != x) & ((x < 0) != (divisor < 0))
    minus_one = np.asarray(-1).astype(x.dtype)
    return np.where(by_zero, minus_one, quotient + inexact.astype(x.dtype)).astype(x.dtype)


def _div_second(t, z, x, y):
    # negated before the second division: the compiler turns (x / y) / y into x / (y * y), which overflows too early
    return mul_p.bind(t, div_p.bind(neg(z), y))


div_p: Primitive = nary(
    "div", truncated_quotient, "stablehlo.divide", lambda t, z, x, y: div_p.bind(t, y), _div_second, add=add
)
div_p.lower = if_integers("quotient_lower", div_p.lower)
div: BinaryFunction = function_of_two(
    __name__, div_p, "`x / y`; integers divide towards zero, and by zero to -1.", "-7, 2", "-3"
)


def _div_transpose(ct, x, y):
    if is_linear(y):
        raise TypeError(
            "'div' divides by a tangent: the tangent output of a custom jvp rule must be linear in its tangent inputs"
        )
    return [unbroadcast(div_p.bind(ct, y), x.aval), None]


div_p.transpose = _div_transpose
div_p.has(homogeneous=(0,))


def scaled(n: int, x: Array) -> Array:
    """`n x`, for a Python number."""
    return x if n == 1 else mul(scalar(x, n), x)


cheap(neg_p, add_p, sub_p, mul_p)
bilinear(mul_p, add, scaled)
quotient_taylor(div_p, mul_p, add, neg, scaled)


# --- maximum and minimum: where the operands tie, each gets half ---


def _mask_kernel(x, y, mode):
    ties = np.asarray(np.equal(x, y))
    if mode == "tie":
        return ties.astype(x.dtype)
    wins = np.asarray(np.greater(x, y) if mode == "gt" else np.less(x, y)).astype(x.dtype)
    return wins + ties * x.dtype.type(0.5) if ties.any() else wins


def _mask_lower(ctx, x, y, mode):
    ties = ctx.convert(ctx.compare("EQ", x, y), x.aval.dtype)
    if mode == "tie":
        return ties
    wins = ctx.convert(compare_lower(ctx, mode.upper(), x, y), x.aval.dtype)
    return ctx.op("stablehlo.add", [wins, ctx.op("stablehlo.multiply", [ties, ctx.full_like(x, 0.5)])])


# 1 where `x` wins (is greater, is less), half where it ties; in mode "tie", 1 where it ties
mask_p = nary("mask", _mask_kernel, _mask_lower, None, None, add=add, accepts=NUMBER)


def _selection(name, kernel, lower, first, second):
    def tangent(mode):
        return lambda t, z, x, y: mul(t, mask_p.bind(x, y, mode=mode))

    return nary(name, kernel, lower, tangent(first), tangent(second), add=add, accepts=ANY)


max_p: Primitive = _selection("max", np.maximum, emit_larger, "gt", "lt")
min_p: Primitive = _selection("min", np.minimum, emit_smaller, "lt", "gt")

cheap(mask_p, max_p, min_p)

max: BinaryFunction = function_of_two(
    __name__,
    max_p,
    "The larger of `x` and `y`, nan if either is; complex numbers by real part, then imaginary part. Where they "
    "tie, each has the derivative 1/2.",
    "2., 3.",
    "3.0",
)
min: BinaryFunction = function_of_two(
    __name__,
    min_p,
    "The smaller of `x` and `y`, nan if either is; complex numbers by real part, then imaginary part. Where "
    "they tie, each has the derivative 1/2.",
    "2., 3.",
    "2.0",
)

# --- powers and roots ---

square_p: Primitive = unary(
    "square", complex_parts.square, complex_parts.square_lowering, times(lambda x, y: mul(scalar(x, 2), x)), NUMBER
)
sqrt_p: Primitive = unary(
    "sqrt",
    np.sqrt,
    complex_parts.lowering("stablehlo.sqrt"),
    times(lambda x, y: mul(scalar(x, 0.5), integer_pow(y, -1))),
)
rsqrt_p: Primitive = unary(
    "rsqrt",
    lambda x: np.divide(x.dtype.type(1), np.sqrt(x)),
    if_large("large_powers:rsqrt", lambda ctx, x: ctx.op("stablehlo.rsqrt", [x])),
    times(lambda x, y: mul(scalar(x, -0.5), div(y, x))),
)
cbrt_p: Primitive = unary(
    "cbrt",
    np.cbrt,
    if_large("large_powers:cbrt", complex_parts.lowering("stablehlo.cbrt")),
    lambda t, x, y: div(t, mul(scalar(x, 3), square(y))),
    FLOAT,
)

cheap(square_p)

square: Callable[[Any], Array] = function_of_one(
    __name__, square_p, "`x * x`, not `|x|**2`: complex for complex `x`.", "3.", "9.0"
)
sqrt: AccurateFunction = function_with_accuracy(
    __name__,
    sqrt_p,
    "The square root: nan below 0, in the right half plane for complex `x`. Its derivative at 0 is inf.",
    "9.",
    "3.0",
)
rsqrt: AccurateFunction = function_with_accuracy(
    __name__, rsqrt_p, "One over the square root: inf at 0, nan below.", "4.", "0.5"
)
cbrt: AccurateFunction = function_with_accuracy(
    __name__, cbrt_p, "The real cube root, odd in `x`. Its derivative at 0 is inf.", "-8.", "-2.0"
)


def reciprocal(x: ArrayLike) -> Array:
    """`1 / x`. `x`: any shape, floating-point or complex; TypeError for other dtypes.

    >>> from pullback import lax
    >>> print(lax.reciprocal(4.))
    0.25
    """
    x = operands("reciprocal", x)[0]
    if not dtypes.is_inexact(x.aval.dtype):
        raise TypeError(f"reciprocal: expected a floating-point or complex dtype, got {x.aval.str_short()}")
    return div_p.bind(scalar(x, 1), x)


def _integer_pow_kernel(x, y):
    if y < 0:
        return np.divide(x.dtype.type(1), _integer_pow_kernel(x, -y))
    result, base = None, x
    while y:
        if y & 1:
            result = base if result is None else result * base
        y >>= 1
        if y:
            base = base * base
    return np.ones_like(x) if result is None else result


def _integer_pow_lower(ctx, x, y):
    if y < 0:
        return ctx.op("stablehlo.divide", [ctx.full_like(x, 1), _integer_pow_lower(ctx, x, -y)])
    result, base = None, x
    while y:
        if y & 1:
            result = base if result is None else ctx.op("stablehlo.multiply", [result, base])
        y >>= 1
        if y:
            base = ctx.op("stablehlo.multiply", [base, base])
    return ctx.full_like(x, 1) if result is None else result


def _integer_pow_factor(x, z, y):
    return scalar(x, y) if y in (0, 1) else mul(scalar(x, y), x if y == 2 else integer_pow(x, y - 1))


integer_pow_p = unary("integer_pow", _integer_pow_kernel, _integer_pow_lower, times(_integer_pow_factor), NUMBER)
cheap(integer_pow_p)


def integer_pow(x: ArrayLike, y: int) -> Array:
    """`x`, a number of any shape and dtype, to a power that is a Python integer, by repeated multiplication.

    Raises TypeError for integers to a negative power: the value is not an integer.

    >>> from pullback import lax
    >>> print(lax.integer_pow(2., -2))
    0.25
    """
    x = lift(x)
    if y < 0 and dtypes.is_integer(x.aval.dtype):
        raise TypeError(
            f"integer_pow: {x.aval.str_short()} to the negative power {y} has no integer value; convert to "
            "floating point first"
        )
    return integer_pow_p.bind(x, y=y)


def _pow_first(t, z, x, y):
    # y * x**(y-1), with the required 0 for y == 0 at x == 0, where the formula has 0 * inf
    complex_ = dtypes.is_complex(y.aval.dtype)
    exponent = sub(y, scalar(y, 1))
    # a constant exponent of moderate size is not zero, and loses nothing to the 1
    if complex_ or (type(y) is ConcreteArray and y.aval.ndim == 0 and np.abs(y.value) >= 0.5):
        return mul(t, mul(y, pow(x, exponent)))
    exponent = add(exponent, mul(*(mask_p.bind(z, scalar(z, 0), mode="tie") for z in (x, y))))
    slope = mul(y, pow(x, exponent))
    # y - 1 = exponent + rest: for a small y the exponent has lost digits, and x**rest, a factor near 1, restores them
    rest = sub(y, add(exponent, scalar(y, 1)))
    logarithm = log(select_p.bind(gt_p.bind(x, scalar(x, 0)), x, scalar(x, 1)))
    # of infinity, and of a subnormal x, which compiled code may find to be positive and take the logarithm of 0 of
    finite = max_p.bind(min_p.bind(logarithm, scalar(x, 1e3)), scalar(x, -1e3))
    near_one = add(mul(rest, finite), scalar(x, 1))
    return mul(t, mul(slope, stop_gradient(near_one)))


def _pow_second(t, z, x, y):
    # z * log(x), with 0 where x == 0 (the limit for y > 0)
    base = x if dtypes.is_complex(x.aval.dtype) else add(x, mask_p.bind(x, scalar(x, 0), mode="tie"))
    return mul(t, mul(z, log(base)))


def _pow_kernel(x, y):
    if not dtypes.is_integer(x.dtype):
        if y.ndim == 0 and y == 0.5 and x.dtype.kind == "f":
            # NumPy takes the square root, which differs at -inf and -0
            return np.where(x == -np.inf, x.dtype.type(np.inf), np.sqrt(x) + x.dtype.type(0))
        return np.power(x, y)
    # integers to a negative power: 1 and -1 have an inverse, for the others the quotient 1 / x**-y is 0
    one = x.dtype.type(1)
    power = np.power(x, np.where(y < 0, x.dtype.type(0), y))
    if dtypes.is_unsigned(x.dtype):
        return power
    minus = x == -one
    inverse = np.where(x == one, one, np.where(minus, np.where(y % 2 == 0, one, -one), x.dtype.type(0)))
    return np.where(y < 0, inverse, power)


@written
def _integer_to_integer(x, y):
    # by squaring: XLA's own integer power reads only the low bits of the exponent
    def step(n, base, exponent, result):
        odd = (exponent & 1).is_("NE", 0)
        return [base * base, exponent.op("stablehlo.shift_right_logical", 1), odd.choose(result * base, result)]

    power = iterate([x, y, x * 0 + 1], step, lambda base, exponent, result: exponent.is_("NE", 0))[2]
    if dtypes.is_unsigned(x.value.aval.dtype):
        return power
    odd = (y & 1).is_("NE", 0)
    inverse = x.is_("EQ", 1).choose(1, x.is_("EQ", -1).choose(odd.choose(x, x * 0 + 1), 0))
    return y.is_("LT", 0).choose(inverse, power)


@written
def _real_to_real(x, y):
    # of a subnormal x XLA's sees the sign, and not the size: it counts as 0
    flushed = x.abs().is_("LT", float(np.finfo(np.float64 if x.double else np.float32).tiny)).choose(x * 0, x)
    return flushed.power(y)


_real_power = if_large("large_powers:power", _real_to_real)


def _pow_lower(ctx, x, y):
    if dtypes.is_integer(x.aval.dtype):
        return _integer_to_integer(ctx, x, y)
    return (complex_parts.power_lowering if dtypes.is_complex(x.aval.dtype) else _real_power)(ctx, x, y)


pow_p: Primitive = nary("pow", _pow_kernel, _pow_lower, _pow_first, _pow_second, add=add, accepts=NUMBER)


def pow(x: ArrayLike, y: ArrayLike) -> Array:
    """`x` to the power `y`; 1 where `y` is 0.

    A negative real base with a fractional exponent gives nan; an integer with a negative exponent the quotient of
    integers, rounded towards zero. The derivative by `y` is 0 where `x` is 0.

    `x`, `y`: shapes that broadcast; numbers of one dtype, or integers `y` with another `x`, whose dtype they take.
    The
    result has the common shape and the dtype of `x`. TypeError for other dtypes, ValueError for shapes that do not
    broadcast.

    >>> from pullback import lax
    >>> print(lax.pow(2., 3.))
    8.0
    """
    x, y = (x, y) if isinstance(x, Array) and isinstance(y, Array) else operands("pow", x, y)
    if x.aval.dtype is not y.aval.dtype and dtypes.is_inexact(x.aval.dtype) and dtypes.is_integer(y.aval.dtype):
        y = convert_element_type(y, x.aval.dtype, y.aval.weak_type)
    return pow_p.bind(x, y)


# --- exponentials and logarithms ---

exp_p: Primitive = unary("exp", np.exp, complex_parts.lowering("stablehlo.exponential"), times(lambda x, y: y))
log_p: Primitive = unary("log", np.log, "stablehlo.log", lambda t, x, y: div_p.bind(t, x))
log1p_p: Primitive = unary(
    "log1p", complex_parts.log1p, complex_parts.log1p_lowering, lambda t, x, y: div(t, add(x, scalar(x, 1)))
)
expm1_p: Primitive = unary(
    "expm1",
    complex_parts.expm1,
    complex_parts.lowering("stablehlo.exponential_minus_one"),
    times(lambda x, y: exp(x)),
)

cheap(exp_p, log_p, log1p_p, expm1_p)

exp: AccurateFunction = function_with_accuracy(__name__, exp_p, "e to the power `x`.", "0.", "1.0")
log: AccurateFunction = function_with_accuracy(
    __name__,
    log_p,
    "The natural logarithm: -inf at 0, nan below; of complex numbers with imaginary part in [-pi, pi].",
    "1.",
    "0.0",
)
log1p: AccurateFunction = function_with_accuracy(
    __name__, log1p_p, "log(1 + x), accurate for small `x`: -inf at -1, nan below.", "1e-8", "1e-08"
)
expm1: AccurateFunction = function_with_accuracy(
    __name__, expm1_p, "exp(x) - 1, accurate for small `x`.", "1e-8", "1e-08"
)
