"""Comparisons, logic, bits, tests of numbers, and selection, elementwise."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from pullback._core import dtypes
from pullback._core.arguments import refuse_keywords
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.lazy import LateModule
from pullback._core.primitive import Primitive
from pullback._core.public_array import extended_arrays_exist
from pullback._core.typing import F
from pullback._ops import compare as c
from pullback._ops import elementwise as e
from pullback._ops import rounding as rounding_ops
from pullback._ops import shape, special, trig
from pullback._ops.elementwise import scalar
from pullback.numpy._elementwise.promotion import (
    ANY,
    BITS,
    INTEGER_FROM_BOOL,
    STRONG_INTEGER,
    UfuncOfOne,
    UfuncOfTwo,
    as_operand,
    binary,
    check_shapes,
    elementwise,
    strong,
    unary,
)

if TYPE_CHECKING:
    from pullback._api import extended_arrays
else:
    extended_arrays = LateModule("pullback._api.extended_arrays")

_BOOL = np.dtype(bool)


# --- comparisons ---


def _comparison(name: str, primitive: Primitive, symbol: str, result: str) -> UfuncOfTwo:
    order = "Complex numbers are ordered by real part, then by imaginary part.\n\n    "
    if symbol in ("==", "!="):
        order = ""
    return binary(
        name,
        primitive,
        ANY,
        f"""`x {symbol} y`, elementwise, as bools.

    {order}>>> import pullback.numpy as pnp
    >>> print(pnp.{name}(pnp.arange(3), 1))
    {result}
    """,
        module=__name__,
    )


equal: UfuncOfTwo = _comparison("equal", c.eq_p, "==", "[False  True False]")
not_equal: UfuncOfTwo = _comparison("not_equal", c.ne_p, "!=", "[ True False  True]")
less: UfuncOfTwo = _comparison("less", c.lt_p, "<", "[ True False False]")
less_equal: UfuncOfTwo = _comparison("less_equal", c.le_p, "<=", "[ True  True False]")
greater: UfuncOfTwo = _comparison("greater", c.gt_p, ">", "[False False  True]")
greater_equal: UfuncOfTwo = _comparison("greater_equal", c.ge_p, ">=", "[False  True  True]")


# --- logic on truth values ---


def truth(x: Array) -> Array:
    """True where an element is nonzero; bools are unchanged. As in JAX, for numbers it is weak only without axes."""
    if x.aval.dtype == _BOOL:
        return x
    return c.ne_p.bind(strong(x) if x.aval.weak_type and x.aval.ndim else x, scalar(x, 0))


def _truths(name: str, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = as_operand(x, name, 0), as_operand(y, name, 1)
    check_shapes(name, [x.aval, y.aval])
    # with a weak number a bool is weak too; it does not affect whether the result is weak
    kinds = dtypes.promote((x.aval.dtype, x.aval.weak_type), (y.aval.dtype, y.aval.weak_type))
    weak = kinds[1] and kinds[0] != _BOOL and not x.aval.ndim and not y.aval.ndim
    return (shape.convert_element_type(truth(x), _BOOL, weak), shape.convert_element_type(truth(y), _BOOL, weak))


@boundary
def logical_and(x: ArrayLike, y: ArrayLike, /, *, out: None = None, where: None = None) -> Array:
    """`x and y`, elementwise; a number is true where it is nonzero. ValueError for shapes that do not broadcast.

    >>> import pullback.numpy as pnp
    >>> print(pnp.logical_and(pnp.arange(3), True))
    [False  True  True]
    """
    refuse_keywords("logical_and", out, where)
    return c.and_p.bind(*_truths("logical_and", x, y))


@boundary
def logical_or(x: ArrayLike, y: ArrayLike, /, *, out: None = None, where: None = None) -> Array:
    """`x or y`, elementwise; a number is true where it is nonzero. ValueError for shapes that do not broadcast.

    >>> import pullback.numpy as pnp
    >>> print(pnp.logical_or(pnp.arange(3), False))
    [False  True  True]
    """
    refuse_keywords("logical_or", out, where)
    return c.or_p.bind(*_truths("logical_or", x, y))


@boundary
def logical_xor(x: ArrayLike, y: ArrayLike, /, *, out: None = None, where: None = None) -> Array:
    """True where exactly one of `x` and `y` is true. ValueError for shapes that do not broadcast.

    >>> import pullback.numpy as pnp
    >>> print(pnp.logical_xor(pnp.arange(3), True))
    [ True False False]
    """
    refuse_keywords("logical_xor", out, where)
    return c.xor_p.bind(*_truths("logical_xor", x, y))


@boundary
def logical_not(x: ArrayLike, /) -> Array:
    """`not x`, elementwise. TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.logical_not(pnp.arange(3)))
    [ True False False]
    """
    return c.not_p.bind(truth(as_operand(x, "logical_not", 0)))


# --- bits ---


def _bits(name: str, primitive: Primitive, symbol: str, result: str) -> UfuncOfTwo:
    return binary(
        name,
        primitive,
        BITS,
        f"""`x {symbol} y`, of integers or bools.

    >>> import pullback.numpy as pnp
    >>> print(pnp.{name}(6, 3))
    {result}
    """,
        module=__name__,
    )


bitwise_and: UfuncOfTwo = _bits("bitwise_and", c.and_p, "&", "2")
bitwise_or: UfuncOfTwo = _bits("bitwise_or", c.or_p, "|", "7")
bitwise_xor: UfuncOfTwo = _bits("bitwise_xor", c.xor_p, "^", "5")
invert: UfuncOfOne = unary(
    "invert",
    c.not_p,
    BITS,
    """`~x`: every bit flipped; the negation of bools.

    >>> import pullback.numpy as pnp
    >>> print(pnp.invert(5))
    -6
    """,
    module=__name__,
)
bitwise_not: UfuncOfOne = invert
bitwise_invert: UfuncOfOne = invert
left_shift: UfuncOfTwo = binary(
    "left_shift",
    c.shift_left_p,
    INTEGER_FROM_BOOL,
    doc="""`x << y`; 0 where `y` is not in [0, bits of the dtype).

    >>> import pullback.numpy as pnp
    >>> print(pnp.left_shift(3, 2))
    12
    """,
    module=__name__,
)


@elementwise(INTEGER_FROM_BOOL)
def right_shift(x: Array, y: Array, /) -> Array:
    """`x >> y`: filled from the left with the sign, or with 0 for unsigned integers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.right_shift(-8, 2))
    -2
    """
    return (c.shift_right_logical_p if dtypes.is_unsigned(x.aval.dtype) else c.shift_right_arithmetic_p).bind(x, y)


bitwise_left_shift: UfuncOfTwo = left_shift
bitwise_right_shift = right_shift


@elementwise(BITS)
def bitwise_count(x: Array, /) -> Array:
    """The number of bits set in |x|, as uint8; of a bool 0 or 1.

    >>> import pullback.numpy as pnp
    >>> print(pnp.bitwise_count(7))
    3
    """
    if x.aval.dtype.kind == "b":
        return shape.convert_element_type(x, np.uint8)
    x = x if dtypes.is_unsigned(x.aval.dtype) else trig.abs_p.bind(x)
    return shape.convert_element_type(c.population_count_p.bind(x), np.uint8)


@elementwise(STRONG_INTEGER)
def gcd(x1: Array, x2: Array) -> Array:
    """The greatest common divisor of |x1| and |x2|; 0 of two zeros.

    >>> import pullback.numpy as pnp
    >>> print(pnp.gcd(12, 18))
    6
    """
    return special.gcd(x1, x2)


@elementwise(STRONG_INTEGER)
def lcm(x1: Array, x2: Array) -> Array:
    """The least common multiple of |x1| and |x2|; 0 where either is 0.

    >>> import pullback.numpy as pnp
    >>> print(pnp.lcm(4, 6))
    12
    """
    divisor = special.gcd(x1, x2)
    divisor = c.select_p.bind(c.eq_p.bind(divisor, scalar(divisor, 0)), scalar(divisor, 1), divisor)
    multiple = e.mul_p.bind(x1, e.div_p.bind(x2, divisor))
    return multiple if dtypes.is_unsigned(x1.aval.dtype) else trig.abs_p.bind(multiple)


# --- tests of numbers ---


def _asks_of_numbers(fun: F) -> F:
    """A test of numbers, which an element of an extended dtype, such as a key, answers as an integer does."""

    @functools.wraps(fun)
    def entry(*args, **kwargs):
        try:
            return fun(*args, **kwargs)
        except TypeError as error:
            if not extended_arrays_exist[0]:
                raise
            return extended_arrays.of_one_word(fun, error, args, kwargs)

    return entry  # type: ignore[return-value]


def _is_finite(x: Array) -> Array:
    dtype = x.aval.dtype
    if dtypes.is_complex(dtype):
        return c.and_p.bind(*(rounding_ops.is_finite_p.bind(part.bind(x)) for part in (trig.real_p, trig.imag_p)))
    return rounding_ops.is_finite_p.bind(x) if dtypes.is_float(dtype) else shape.full(x.aval.shape, True, _BOOL)


def _is_inf(x: Array) -> Array:
    dtype = x.aval.dtype
    if dtypes.is_complex(dtype):
        return c.or_p.bind(_is_inf(trig.real_p.bind(x)), _is_inf(trig.imag_p.bind(x)))
    if not dtypes.is_float(dtype):
        return shape.full(x.aval.shape, False, _BOOL)
    return c.eq_p.bind(trig.abs_p.bind(strong(x)), scalar(x, np.inf))


@_asks_of_numbers
@elementwise(ANY)
def isfinite(x: Array, /) -> Array:
    """True where `x` is neither infinite nor nan.

    >>> import pullback.numpy as pnp
    >>> print(pnp.isfinite(pnp.array([1., pnp.inf, pnp.nan])))
    [ True False False]
    """
    return _is_finite(x)


@_asks_of_numbers
@elementwise(ANY)
def isinf(x: Array, /) -> Array:
    """True where `x`, or one of its complex parts, is infinite.

    >>> import pullback.numpy as pnp
    >>> print(pnp.isinf(pnp.array([1., pnp.inf, pnp.nan])))
    [False  True False]
    """
    return _is_inf(x)


@_asks_of_numbers
@elementwise(ANY)
def isnan(x: Array, /) -> Array:
    """True where `x`, or one of its complex parts, is nan.

    >>> import pullback.numpy as pnp
    >>> print(pnp.isnan(pnp.array([1., pnp.inf, pnp.nan])))
    [False False  True]
    """
    return c.ne_p.bind(x, x)


def _is_infinity(name: str, x: Array, value: float) -> Array:
    dtype = x.aval.dtype
    if dtypes.is_complex(dtype):
        raise ValueError(f"{name}: a complex infinity has no sign, got {x.aval.str_short()}")
    if not dtypes.is_float(dtype):
        return shape.full(x.aval.shape, False, _BOOL)
    return c.eq_p.bind(strong(x), scalar(x, value))


@_asks_of_numbers
def isposinf(x: ArrayLike, /, out: None = None) -> Array:
    """True where `x` is positive infinity. ValueError for complex numbers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.isposinf(pnp.array([-pnp.inf, pnp.inf])))
    [False  True]
    """
    no_out("isposinf", out)
    return _is_infinity("isposinf", as_operand(x, "isposinf", 0), np.inf)


@_asks_of_numbers
def isneginf(x: ArrayLike, /, out: None = None) -> Array:
    """True where `x` is negative infinity. ValueError for complex numbers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.isneginf(pnp.array([-pnp.inf, pnp.inf])))
    [ True False]
    """
    no_out("isneginf", out)
    return _is_infinity("isneginf", as_operand(x, "isneginf", 0), -np.inf)


@boundary
def iscomplex(x: ArrayLike) -> Array:
    """True where the imaginary part is not 0. TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.iscomplex(pnp.array([1., 1j])))
    [False  True]
    """
    x = as_operand(x, "iscomplex", 0)
    if not dtypes.is_complex(x.aval.dtype):
        return shape.full(x.aval.shape, False, _BOOL, x.aval.weak_type and not x.aval.ndim)
    return truth(trig.imag_p.bind(x))


@boundary
def isreal(x: ArrayLike) -> Array:
    """True where the imaginary part is 0. TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.isreal(pnp.array([1., 1j])))
    [ True False]
    """
    x = as_operand(x, "isreal", 0)
    if not dtypes.is_complex(x.aval.dtype):
        return shape.full(x.aval.shape, True, _BOOL, x.aval.weak_type and not x.aval.ndim)
    return c.not_p.bind(truth(trig.imag_p.bind(x)))


def no_out(name: str, out: None) -> None:
    """Refuse NumPy's `out` argument: arrays are not written to."""
    if out is not None:
        raise NotImplementedError(f"{name}: arrays are immutable, so there is no out argument; use the returned array")


__all__ = [
    "bitwise_and",
    "bitwise_count",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "equal",
    "gcd",
    "greater",
    "greater_equal",
    "invert",
    "iscomplex",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "lcm",
    "left_shift",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "right_shift",
]
