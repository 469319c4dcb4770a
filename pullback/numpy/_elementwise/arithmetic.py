"""Arithmetic, exponentials and trigonometry, elementwise: the functions of NumPy on arrays of any shape.

Operands broadcast together and are promoted to one dtype; Python scalars take the dtype of the array operands. All
functions raise ValueError if shapes do not broadcast, and TypeError for dtypes without the operation.
"""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, distinct
from pullback._core.errors import boundary, fold
from pullback._core.trace import context
from pullback._ops import compare as c
from pullback._ops import elementwise as e
from pullback._ops import rounding as rounding_ops
from pullback._ops import trig
from pullback._ops.elementwise import scalar
from pullback._ops.remainders import floor_quotient_p, rem_p
from pullback._ops.shape import convert_element_type
from pullback.numpy._elementwise.promotion import (
    FLOAT,
    INEXACT,
    NUMBER,
    NUMBER_FROM_BOOL,
    PYTHON_SCALARS,
    REAL_FROM_BOOL,
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

add: UfuncOfTwo = binary(
    "add",
    e.add_p,
    NUMBER,
    for_bools=c.or_p,
    doc="""`x + y`, elementwise; of bools, `x or y`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.add(pnp.arange(3), 0.5))
    [0.5 1.5 2.5]
    """,
)
subtract: UfuncOfTwo = binary(
    "subtract",
    e.sub_p,
    NUMBER,
    """`x - y`, elementwise. TypeError for bools, as in NumPy.

    >>> import pullback.numpy as pnp
    >>> print(pnp.subtract(pnp.arange(3), 1))
    [-1  0  1]
    """,
)
multiply: UfuncOfTwo = binary(
    "multiply",
    e.mul_p,
    NUMBER,
    for_bools=c.and_p,
    doc="""`x * y`, elementwise; of bools, `x and y`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.multiply(pnp.arange(3), 2))
    [0 2 4]
    """,
)
divide: UfuncOfTwo = binary(
    "divide",
    e.div_p,
    INEXACT,
    """`x / y`, elementwise; of integers and bools in floating point.

    >>> import pullback.numpy as pnp
    >>> print(pnp.divide(pnp.arange(3), 2))
    [0.  0.5 1. ]
    """,
)
true_divide: UfuncOfTwo = divide


_DOUBLE = np.dtype(np.float64)


def _floor_divide(x: Array, y: Array) -> Array:
    dtype = x.aval.dtype
    if dtypes.is_float(dtype):
        return _divmod_float(x, y)[0] if dtype == _DOUBLE else floor_quotient_p.bind(x, y)
    quotient = e.div_p.bind(x, y)
    if dtypes.is_unsigned(dtype):
        return quotient
    rest = rem_p.bind(x, y)
    below = c.and_p.bind(c.ne_p.bind(trig.sign_p.bind(x), trig.sign_p.bind(y)), c.ne_p.bind(rest, scalar(rest, 0)))
    return c.select_p.bind(below, e.sub_p.bind(quotient, scalar(quotient, 1)), quotient)


def _divmod_float(x: Array, y: Array) -> tuple[Array, Array]:
    rest = rem_p.bind(x, y)
    quotient = e.div_p.bind(e.sub_p.bind(x, rest), y)
    zero = scalar(y, 0)
    below = c.and_p.bind(c.ne_p.bind(rest, zero), c.ne_p.bind(trig.sign_p.bind(y), trig.sign_p.bind(rest)))
    quotient = c.select_p.bind(below, e.sub_p.bind(quotient, scalar(y, 1)), quotient)
    # dividing by zero must not pass through the infinite remainder
    quotient = c.select_p.bind(c.eq_p.bind(y, zero), e.div_p.bind(x, y), quotient)
    return rounding_ops.round_to_even(quotient), c.select_p.bind(below, e.add_p.bind(rest, y), rest)


def _rest(x: Array, y: Array) -> Array:
    """The remainder with the sign of `x`; of integers by zero it is 0, as NumPy has it."""
    rest = rem_p.bind(x, y)
    if dtypes.is_float(x.aval.dtype):
        return rest
    return c.select_p.bind(c.eq_p.bind(y, scalar(y, 0)), scalar(rest, 0), rest)


def _remainder(x: Array, y: Array) -> Array:
    rest = _rest(x, y)
    if dtypes.is_unsigned(x.aval.dtype):
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

    Raises TypeError for an integer to a negative such integer: its value is not an integer.

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
                raise TypeError(
                    f"power: an integer array ({x.aval.str_short()}) cannot be raised to the negative "
                    f"power {y}: use floating point, such as x ** {y}.0"
                )
        return context.trace.process_primitive(e.integer_pow_p, (x,), {"y": int(y)})  # type: ignore[arg-type]
    except Exception as error:
        fold(error)
        raise


pow = power


@elementwise(INEXACT)
def float_power(x: Array, y: Array, /) -> Array:
    """`x` to the power `y` in floating point, for all dtypes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.float_power(2, -1))
    0.5
    """
    return e.pow_p.bind(x, y)


negative: UfuncOfOne = unary(
    "negative",
    e.neg_p,
    NUMBER,
    """`-x`, elementwise. TypeError for bools, as in NumPy.

    >>> import pullback.numpy as pnp
    >>> print(pnp.negative(2.))
    -2.0
    """,
)


@boundary
def positive(x: ArrayLike, /) -> Array:
    """`+x`: the same numbers, in a new array. TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.positive(2.))
    2.0
    """
    return distinct(as_operand(x, "positive", 0), x)


def _has_no_sign(dtype):
    return dtypes.is_bool(dtype) or dtypes.is_unsigned(dtype)


absolute: UfuncOfOne = unary(
    "absolute",
    trig.abs_p,
    NUMBER,
    unchanged=_has_no_sign,
    doc="""|x|, real for complex `x`. Its
    derivative at 0 is 0.

    >>> import pullback.numpy as pnp
    >>> print(pnp.absolute(3 + 4j))
    5.0
    """,
)
abs = absolute
fabs: UfuncOfOne = unary(
    "fabs",
    trig.abs_p,
    FLOAT,
    """|x| in floating point, of real `x`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fabs(-3))
    3.0
    """,
)
sign: UfuncOfOne = unary(
    "sign",
    trig.sign_p,
    NUMBER,
    """-1, 0 or 1 by the sign of `x`; `x / |x|` of complex numbers. The
    derivative is 0 at real numbers and at 0, and along a complex `x`, which `x / |x|` does not change with.

    >>> import pullback.numpy as pnp
    >>> print(pnp.sign(pnp.array([-2., 0., 3.])))
    [-1.  0.  1.]
    """,
)
square: UfuncOfOne = unary(
    "square",
    e.square_p,
    NUMBER_FROM_BOOL,
    """`x * x`, elementwise.

    >>> import pullback.numpy as pnp
    >>> print(pnp.square(3))
    9
    """,
)


@elementwise(INEXACT)
def reciprocal(x: Array, /) -> Array:
    """`1 / x` in floating point.

    >>> import pullback.numpy as pnp
    >>> print(pnp.reciprocal(2))
    0.5
    """
    return e.div_p.bind(scalar(x, 1), x)


__all__ = [
    "abs",
    "absolute",
    "add",
    "divide",
    "divmod",
    "fabs",
    "float_power",
    "floor_divide",
    "fmod",
    "mod",
    "multiply",
    "negative",
    "positive",
    "pow",
    "power",
    "reciprocal",
    "remainder",
    "sign",
    "square",
    "subtract",
    "true_divide",
]
