"""Arithmetic, exponentials and trigonometry, elementwise: the functions of NumPy on arrays of any shape.

Operands broadcast together and are promoted to one dtype; Python scalars take the dtype of the arrays beside them. All
functions raise ValueError where shapes do not broadcast, and TypeError for dtypes without the operation.
"""
from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, distinct
from pullback._core.errors import boundary, fold
from pullback._core.trace import context
from pullback._ops import bases, lengths, sigmoids, special, trig
from pullback._ops import compare as c
from pullback._ops import elementwise as e
from pullback._ops.elementwise import scalar
from pullback._ops.shape import convert_element_type
from pullback.numpy._elementwise.promotion import (
    ANY,
    FLOAT,
    INEXACT,
    NUMBER,
    NUMBER_FROM_BOOL,
    PYTHON_SCALARS,
    REAL_FROM_BOOL,
    STRONG_FLOAT,
    STRONG_INEXACT,
    UfuncOfOne,
    UfuncOfTwo,
    as_operand,
    binary,
    cast,
    common_dtype,
    elementwise,
    unary,
)

# --- arithmetic ---

add: UfuncOfTwo = binary("add", e.add_p, NUMBER, for_bools=c.or_p, doc="""`x + y`, elementwise; of bools, `x or y`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.add(pnp.arange(3), 0.5))
    [0.5 1.5 2.5]
    """)
subtract: UfuncOfTwo = binary("subtract", e.sub_p, NUMBER, """`x - y`, elementwise. TypeError for bools, as in NumPy.

    >>> import pullback.numpy as pnp
    >>> print(pnp.subtract(pnp.arange(3), 1))
    [-1  0  1]
    """)
multiply: UfuncOfTwo = binary("multiply", e.mul_p, NUMBER, for_bools=c.and_p,
                              doc="""`x * y`, elementwise; of bools, `x and y`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.multiply(pnp.arange(3), 2))
    [0 2 4]
    """)
divide: UfuncOfTwo = binary("divide", e.div_p, INEXACT,
                            """`x / y`, elementwise; of integers and bools in floating point.

    >>> import pullback.numpy as pnp
    >>> print(pnp.divide(pnp.arange(3), 2))
    [0.  0.5 1. ]
    """)
true_divide: UfuncOfTwo = divide


def _floor_divide(x: Array, y: Array) -> Array:
    if dtypes.is_float(x.aval.dtype):
        return _divmod_float(x, y)[0]
    quotient = e.div_p.bind(x, y)
    if x.aval.dtype.kind == "u":
        return quotient
    rest = e.rem_p.bind(x, y)
    below = c.and_p.bind(c.ne_p.bind(trig.sign_p.bind(x), trig.sign_p.bind(y)), c.ne_p.bind(rest, scalar(rest, 0)))
    return c.select_p.bind(below, e.sub_p.bind(quotient, scalar(quotient, 1)), quotient)


def _divmod_float(x: Array, y: Array) -> tuple[Array, Array]:
    rest = e.rem_p.bind(x, y)
    quotient = e.div_p.bind(e.sub_p.bind(x, rest), y)
    zero = scalar(y, 0)
    below = c.and_p.bind(c.ne_p.bind(rest, zero), c.ne_p.bind(trig.sign_p.bind(y), trig.sign_p.bind(rest)))
    quotient = c.select_p.bind(below, e.sub_p.bind(quotient, scalar(y, 1)), quotient)
    # dividing by zero must not go through the infinite rest
    quotient = c.select_p.bind(c.eq_p.bind(y, zero), e.div_p.bind(x, y), quotient)
    return e.round_to_even(quotient), c.select_p.bind(below, e.add_p.bind(rest, y), rest)


def _rest(x: Array, y: Array) -> Array:
    """The remainder with the sign of `x`; of integers by zero it is 0, as NumPy has it."""
    rest = e.rem_p.bind(x, y)
    if dtypes.is_float(x.aval.dtype):
        return rest
    return c.select_p.bind(c.eq_p.bind(y, scalar(y, 0)), scalar(rest, 0), rest)


def _remainder(x: Array, y: Array) -> Array:
    rest = _rest(x, y)
    if x.aval.dtype.kind == "u":
        return rest
    zero = scalar(y, 0)
    below = c.and_p.bind(c.ne_p.bind(c.lt_p.bind(rest, zero), c.lt_p.bind(y, zero)), c.ne_p.bind(rest, zero))
    return c.select_p.bind(below, e.add_p.bind(rest, y), rest)


@elementwise(REAL_FROM_BOOL)
def floor_divide(x: Array, y: Array, /) -> Array:
    """The largest integer not above `x / y`, in the promoted dtype.

    >>> import pullback.numpy as pnp
    >>> print(pnp.floor_divide(pnp.array([-3, 3]), 2))
    [-2  1]
    """
    return _floor_divide(x, y)


@elementwise(REAL_FROM_BOOL)
def remainder(x: Array, y: Array, /) -> Array:
    """`x - y * floor(x / y)`: the remainder with the sign of `y`, as Python's `%`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.remainder(pnp.array([-3, 3]), 2))
    [1 1]
    """
    return _remainder(x, y)


mod = remainder


@elementwise(REAL_FROM_BOOL)
def divmod(x: Array, y: Array, /) -> tuple[Array, Array]:
    """`(floor_divide(x, y), remainder(x, y))`.

    >>> import pullback.numpy as pnp
    >>> print(*pnp.divmod(pnp.array([-3, 3]), 2))
    [-2  1] [1 1]
    """
    if dtypes.is_float(x.aval.dtype):
        return _divmod_float(x, y)
    return _floor_divide(x, y), _remainder(x, y)


@elementwise(REAL_FROM_BOOL)
def fmod(x: Array, y: Array, /) -> Array:
    """The remainder of `x / y` with the sign of `x`, as C's fmod.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fmod(pnp.array([-3, 3]), 2))
    [-1  1]
    """
    return _rest(x, y)


_general_power = binary("power", e.pow_p, NUMBER_FROM_BOOL, "`x` to the power `y`, of one dtype.")


def power(x: ArrayLike, y: ArrayLike, /) -> Array:
    """`x` to the power `y`, elementwise. A Python or NumPy integer as `y` is a repeated multiplication in the
    dtype of `x`, exact for integers.

    Raises TypeError for an integer to a negative such integer: its value is no integer.

    >>> import pullback.numpy as pnp
    >>> print(pnp.power(pnp.arange(3), 2), pnp.power(4., 0.5))
    [0 1 4] 2.0
    """
    try:
        kind = type(y)
        if kind is not int and not isinstance(y, np.integer):
            z = _general_power(x, y)
            if z.aval.weak_type and kind not in PYTHON_SCALARS:
                # exponents that are an array of integers make the result strong, as in JAX
                exponent = as_operand(y, "power", 1).aval
                strong = dtypes.is_integer(exponent.dtype) and not exponent.weak_type
                if not dtypes.is_inexact(exponent.dtype) and (strong or not dtypes.is_inexact(z.aval.dtype)):
                    return convert_element_type(z, z.aval.dtype)
            return z
        if not isinstance(x, Array):
            x = as_operand(x, "power", 0)
        dtype = x.aval.dtype
        if not dtypes.is_inexact(dtype):
            x = cast(x, *common_dtype("power", NUMBER_FROM_BOOL, [x.aval]))
            if y < 0:  # type: ignore[operator]
                raise TypeError(f"power: an integer array ({x.aval.str_short()}) cannot be raised to the negative "
                                f"power {y}: use floating point, such as x ** {y}.0")
        return context.trace.process_primitive(e.integer_pow_p, (x,), {"y": int(y)})  # type: ignore[arg-type]
    except Exception as error:
        fold(error)
        raise


pow = power


@elementwise(INEXACT)
def float_power(x: Array, y: Array, /) -> Array:
    """`x` to the power `y` in floating point, whatever the dtypes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.float_power(2, -1))
    0.5
    """
    return e.pow_p.bind(x, y)


negative: UfuncOfOne = unary("negative", e.neg_p, NUMBER, """`-x`, elementwise. TypeError for bools, as in NumPy.

    >>> import pullback.numpy as pnp
    >>> print(pnp.negative(2.))
    -2.0
    """)


@boundary
def positive(x: ArrayLike, /) -> Array:
    """`+x`: the same numbers, in an array of its own. TypeError for what is no array or number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.positive(2.))
    2.0
    """
    return distinct(as_operand(x, "positive", 0), x)


def _has_no_sign(dtype):
    return dtype.kind in "bu"


absolute: UfuncOfOne = unary("absolute", trig.abs_p, NUMBER, unchanged=_has_no_sign,
                             doc="""|x|, real for complex `x`. Its
    derivative at 0 is 0.

    >>> import pullback.numpy as pnp
    >>> print(pnp.absolute(3 + 4j))
    5.0
    """)
abs = absolute
fabs: UfuncOfOne = unary("fabs", trig.abs_p, FLOAT, """|x| in floating point, of real `x`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fabs(-3))
    3.0
    """)
sign: UfuncOfOne = unary("sign", trig.sign_p, NUMBER,
                         """-1, 0 or 1 by the sign of `x`; `x / |x|` of complex numbers. The
    derivative is 0 at real numbers and at 0, and along a complex `x`, which `x / |x|` does not change with.

    >>> import pullback.numpy as pnp
    >>> print(pnp.sign(pnp.array([-2., 0., 3.])))
    [-1.  0.  1.]
    """)
square: UfuncOfOne = unary("square", e.square_p, NUMBER_FROM_BOOL, """`x * x`, elementwise.

    >>> import pullback.numpy as pnp
    >>> print(pnp.square(3))
    9
    """)


@elementwise(INEXACT)
def reciprocal(x: Array, /) -> Array:
    """`1 / x` in floating point.

    >>> import pullback.numpy as pnp
    >>> print(pnp.reciprocal(2))
    0.5
    """
    return e.div_p.bind(scalar(x, 1), x)


# --- functions of one inexact operand: one primitive, one line of documentation, one example ---


def _function(name: str, primitive, says: str, argument: str, result: str, domain=INEXACT) -> UfuncOfOne:
    return unary(name, primitive, domain, f"""{says}

    >>> import pullback.numpy as pnp
    >>> print(pnp.{name}({argument}))
    {result}
    """)


sqrt: UfuncOfOne = _function("sqrt", e.sqrt_p,
                             "The square root, nan of negative real numbers. Its derivative at 0 is inf.", "4", "2.0")
cbrt: UfuncOfOne = _function("cbrt", e.cbrt_p, "The cube root, odd in `x`. Its derivative at 0 is inf.", "-8", "-2.0",
                             FLOAT)
exp: UfuncOfOne = _function("exp", e.exp_p, "e to the power `x`.", "0.", "1.0")
exp2: UfuncOfOne = _function("exp2", bases.exp2_p, "2 to the power `x`.", "3.", "8.0")
expm1: UfuncOfOne = _function("expm1", e.expm1_p, "`exp(x) - 1`, accurate near 0.", "1e-8", "1e-08")
log: UfuncOfOne = _function("log", e.log_p, "The natural logarithm: -inf at 0, nan of negative real numbers.", "1.",
                            "0.0")
log1p: UfuncOfOne = _function("log1p", e.log1p_p, "`log(1 + x)`, accurate near 0.", "1e-8", "1e-08")
sin: UfuncOfOne = _function("sin", trig.sin_p, "The sine of `x` in radians.", "0.", "0.0")
cos: UfuncOfOne = _function("cos", trig.cos_p, "The cosine of `x` in radians.", "0.", "1.0")
tan: UfuncOfOne = _function("tan", trig.tan_p, "The tangent of `x` in radians.", "0.", "0.0")
arcsin: UfuncOfOne = _function("arcsin", trig.asin_p, "The arc sine in radians, nan outside of [-1, 1].", "1.",
                               "1.5707964")
arccos: UfuncOfOne = _function("arccos", trig.acos_p, "The arc cosine in radians, nan outside of [-1, 1].", "1.", "0.0")
arctan: UfuncOfOne = _function("arctan", trig.atan_p, "The arc tangent in radians, in [-pi/2, pi/2].", "1.",
                               "0.7853982")
sinh: UfuncOfOne = _function("sinh", trig.sinh_p, "The hyperbolic sine.", "0.", "0.0")
cosh: UfuncOfOne = _function("cosh", trig.cosh_p, "The hyperbolic cosine.", "0.", "1.0")
tanh: UfuncOfOne = _function("tanh", sigmoids.tanh_p, "The hyperbolic tangent.", "0.", "0.0")
arcsinh: UfuncOfOne = _function("arcsinh", trig.asinh_p, "The inverse hyperbolic sine.", "0.", "0.0")
arccosh: UfuncOfOne = _function("arccosh", trig.acosh_p, "The inverse hyperbolic cosine, nan below 1.", "1.", "0.0")
arctanh: UfuncOfOne = _function("arctanh", trig.atanh_p, "The inverse hyperbolic tangent, nan outside of [-1, 1].",
                                "0.", "0.0")
asin: UfuncOfOne = arcsin
acos: UfuncOfOne = arccos
atan: UfuncOfOne = arctan
asinh: UfuncOfOne = arcsinh
acosh: UfuncOfOne = arccosh
atanh: UfuncOfOne = arctanh


log2: UfuncOfOne = _function("log2", bases.log2_p, "The logarithm to base 2.", "8", "3.0")
log10: UfuncOfOne = _function("log10", bases.log10_p, "The logarithm to base 10.", "1.", "0.0")


@elementwise(INEXACT)
def logaddexp(x: Array, y: Array, /) -> Array:
    """`log(exp(x) + exp(y))` without overflow; its derivatives are safe at infinite operands.

    >>> import pullback.numpy as pnp
    >>> print(pnp.logaddexp(1000., 0.))
    1000.0
    """
    return _logaddexp_complex(x, y) if dtypes.is_complex(x.aval.dtype) else special.logaddexp(x, y)


def _logaddexp_complex(x: Array, y: Array) -> Array:
    # ordered by real part, so that the exponential cannot overflow; the imaginary part is taken to [-pi, pi]
    large, small = e.max_p.bind(x, y), e.min_p.bind(x, y)
    value = e.add_p.bind(large, e.log1p_p.bind(e.exp_p.bind(e.sub_p.bind(small, large))))
    angle = trig.imag_p.bind(value)
    turns = e.round_to_even(e.mul_p.bind(angle, scalar(angle, 0.5 / np.pi)))
    angle = e.sub_p.bind(angle, e.mul_p.bind(turns, scalar(angle, 2 * np.pi)))
    return trig.complex_p.bind(trig.real_p.bind(value), angle)


@elementwise(STRONG_INEXACT)
def logaddexp2(x: Array, y: Array, /) -> Array:
    """`log2(2**x + 2**y)` without overflow; its derivatives are safe at infinite operands.

    >>> import pullback.numpy as pnp
    >>> print(pnp.logaddexp2(1000., 1000.))
    1001.0
    """
    if not dtypes.is_complex(x.aval.dtype):
        return special.logaddexp2(x, y)
    rate = scalar(x, np.log(2))
    return e.div_p.bind(_logaddexp_complex(e.mul_p.bind(x, rate), e.mul_p.bind(y, rate)), rate)


arctan2: UfuncOfTwo = binary("arctan2", lengths.atan2_p, FLOAT,
                             """The angle of the point `(y, x)` in (-pi, pi]: `arctan2(x, y)`.

    The first argument is the ordinate, as in NumPy.

    >>> import pullback.numpy as pnp
    >>> print(pnp.arctan2(0., 1.))
    0.0
    """)
atan2: UfuncOfTwo = arctan2


hypot: UfuncOfTwo = binary("hypot", lengths.hypot_p, STRONG_FLOAT,
                           """`sqrt(x**2 + y**2)` without overflow; infinite if either is.

    The gradient at the origin, where the surface has its tip, is 0, and the second derivative there nan.

    >>> import pullback.numpy as pnp
    >>> print(pnp.hypot(3, 4))
    5.0
    """)


# --- maximum and minimum ---

maximum: UfuncOfTwo = binary("maximum", e.max_p, ANY, """The larger operand; nan if either is.

    Complex numbers are ordered by real part, then by imaginary part. Where operands tie, each has half the derivative.

    >>> import pullback.numpy as pnp
    >>> print(pnp.maximum(pnp.arange(3), 1))
    [1 1 2]
    """)
minimum: UfuncOfTwo = binary("minimum", e.min_p, ANY, """The smaller operand; nan if either is.

    Complex numbers are ordered by real part, then by imaginary part. Where operands tie, each has half the derivative.

    >>> import pullback.numpy as pnp
    >>> print(pnp.minimum(pnp.arange(3), 1))
    [0 1 1]
    """)


@elementwise(ANY)
def fmax(x1: Array, x2: Array) -> Array:
    """The larger operand; where one is nan, the other.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fmax(pnp.nan, 1.))
    1.0
    """
    return c.select_p.bind(c.or_p.bind(c.gt_p.bind(x1, x2), c.ne_p.bind(x2, x2)), x1, x2)


@elementwise(ANY)
def fmin(x1: Array, x2: Array) -> Array:
    """The smaller operand; where one is nan, the other.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fmin(pnp.nan, 1.))
    1.0
    """
    return c.select_p.bind(c.or_p.bind(c.lt_p.bind(x1, x2), c.ne_p.bind(x2, x2)), x1, x2)


# --- angles ---


@elementwise(INEXACT)
def deg2rad(x: Array, /) -> Array:
    """Degrees to radians.

    >>> import pullback.numpy as pnp
    >>> print(pnp.deg2rad(180.))
    3.1415927
    """
    return e.mul_p.bind(x, scalar(x, np.pi / 180))


@elementwise(INEXACT)
def rad2deg(x: Array, /) -> Array:
    """Radians to degrees.

    >>> import pullback.numpy as pnp
    >>> print(pnp.rad2deg(pnp.pi))
    180.0
    """
    return e.mul_p.bind(x, scalar(x, 180 / np.pi))


radians = deg2rad
degrees = rad2deg


@elementwise(INEXACT)
def sinc(x: Array, /) -> Array:
    """`sin(pi x) / (pi x)`, 1 at 0; all its derivatives are right at 0.

    >>> import pullback.numpy as pnp
    >>> print(pnp.sinc(0.))
    1.0
    """
    return special.sinc(x)


__all__ = [
    "abs", "absolute", "acos", "acosh", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh",
    "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "deg2rad", "degrees", "divide", "divmod", "exp",
    "exp2", "expm1", "fabs", "float_power", "floor_divide", "fmax", "fmin", "fmod", "hypot", "log", "log10", "log1p",
    "log2", "logaddexp", "logaddexp2", "maximum", "minimum", "mod", "multiply", "negative", "positive", "pow", "power",
    "rad2deg", "radians", "reciprocal", "remainder", "sign", "sin", "sinc", "sinh", "sqrt", "square", "subtract", "tan",
    "tanh", "true_divide",
]
