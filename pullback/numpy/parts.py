"""Parts of numbers, elementwise: rounding, real and imaginary part, sign, fraction and exponent."""
from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, distinct
from pullback._core.errors import boundary, described
from pullback._ops import bessel, lengths, shape, special, trig
from pullback._ops import compare as c
from pullback._ops import elementwise as e
from pullback._ops.elementwise import scalar
from pullback.numpy.elementwise import (
    DEFAULT_INEXACT,
    FLOAT,
    NEVER_WEAK_FLOAT,
    STRONG_FLOAT,
    as_operand,
    cast,
    common_dtype,
    elementwise,
    promote_operands,
    unary,
)
from pullback.numpy.logic import no_out

_HERE = "pullback.numpy.parts"

# --- rounding ---


def _exact(dtype):
    return not dtypes.is_inexact(dtype)


def _rounding(name: str, primitive, says: str, result: str):
    return unary(name, primitive, FLOAT, f"""{says} Integers and bools come back as they are.

    >>> import pullback.numpy as pnp
    >>> print(pnp.{name}(pnp.array([-1.5, 0.5])))
    {result}
    """, unchanged=_exact, module=_HERE, parameters="x")


floor = _rounding("floor", e.floor_p, "The largest integer not above `x`.", "[-2.  0.]")
ceil = _rounding("ceil", e.ceil_p, "The smallest integer not below `x`.", "[-1.  1.]")
trunc = _rounding("trunc", e.trunc_p, "The next integer towards zero.", "[-1.  0.]")
fix = trunc


def _nearest(x: Array) -> Array:
    if dtypes.is_complex(x.aval.dtype):
        return trig.complex_p.bind(e.round_to_even(trig.real_p.bind(x)), e.round_to_even(trig.imag_p.bind(x)))
    return e.round_to_even(x)


@elementwise(DEFAULT_INEXACT)
def rint(x: Any, /) -> Array:
    """The nearest integer in floating point, halves to even.

    >>> import pullback.numpy as pnp
    >>> print(pnp.rint(pnp.array([0.5, 1.5])))
    [0. 2.]
    """
    return _nearest(x)


@boundary
def round(a: Any, decimals: int = 0, out: None = None) -> Array:
    """`a` rounded to `decimals` decimal places (a Python integer, maybe negative), halves to even, in its dtype.

    TypeError for other `decimals`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.round(pnp.array([0.125, 2.5]), 2))
    [0.12 2.5 ]
    """
    return _rounded("round", a, decimals, out)


@boundary
def around(a: Any, decimals: int = 0, out: None = None) -> Array:
    """`round`, by its old name; the same errors.

    >>> import pullback.numpy as pnp
    >>> print(pnp.around(pnp.array([0.125, 2.5]), 2))
    [0.12 2.5 ]
    """
    return _rounded("around", a, decimals, out)


def _rounded(name: str, a: Any, decimals: int, out: Any) -> Array:
    no_out(name, out)
    a = as_operand(a, name, 0)
    if not isinstance(decimals, (int, np.integer)):
        raise TypeError(f"{name}: decimals must be a Python integer, got {described(decimals)}")
    dtype = a.aval.dtype
    if not dtypes.is_inexact(dtype):
        if dtype.kind == "b":
            raise TypeError(f"{name}: bools cannot be rounded; convert them with .astype(int)")
        return distinct(a, a) if decimals >= 0 else _round_integers(a, 10 ** -int(decimals))
    if decimals == 0:
        return _nearest(a)
    # 10**decimals does not fit half precision
    half = dtype.itemsize <= 2
    x = shape.convert_element_type(a, np.float32) if half else a
    factor = scalar(x, 10.0 ** builtin_abs(int(decimals)))
    if decimals > 0:
        x = e.div_p.bind(_nearest(e.mul_p.bind(x, factor)), factor)
    else:
        x = e.mul_p.bind(_nearest(e.div_p.bind(x, factor)), factor)
    return shape.convert_element_type(x, dtype, a.aval.weak_type) if half else x


def _round_integers(a: Array, factor: int) -> Array:
    dtype = a.aval.dtype
    if factor > 2 * dtypes.iinfo(dtype).max:
        return shape.full(a.aval.shape, 0, dtype, a.aval.weak_type)
    wide = shape.convert_element_type(a, np.float64 if dtype.itemsize >= 4 else np.float32)
    near = e.round_to_even(e.div_p.bind(wide, scalar(wide, factor)))
    return shape.convert_element_type(e.mul_p.bind(near, scalar(near, factor)), dtype, a.aval.weak_type)


builtin_abs = abs


def to_integers(x: Array) -> Array:
    """Rounded values in an integer dtype, as Python's `round` of one argument has it."""
    if not dtypes.is_float(x.aval.dtype):
        return x
    return shape.convert_element_type(x, dtypes.canonicalize_dtype(int))


# --- parts of complex numbers ---


@boundary
def real(val: Any, /) -> Array:
    """The real part; of real numbers, the same numbers. TypeError for what is no array or number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.real(1 + 2j))
    1.0
    """
    x = as_operand(val, "real", 0)
    return trig.real_p.bind(x) if dtypes.is_complex(x.aval.dtype) else distinct(x, val)


@boundary
def imag(val: Any, /) -> Array:
    """The imaginary part; of real numbers, zeros. TypeError for what is no array or number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.imag(1 + 2j))
    2.0
    """
    x = as_operand(val, "imag", 0)
    if dtypes.is_complex(x.aval.dtype):
        return trig.imag_p.bind(x)
    return shape.full(x.aval.shape, 0, x.aval.dtype, x.aval.weak_type)


@boundary
def conjugate(x: Any, /) -> Array:
    """The complex conjugate; of real numbers, the same numbers. TypeError for what is no array or number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.conjugate(1 + 2j))
    (1-2j)
    """
    z = as_operand(x, "conjugate", 0)
    return trig.conj_p.bind(z) if dtypes.is_complex(z.aval.dtype) else distinct(z, x)


conj = conjugate


@boundary
def angle(z: Any, deg: bool = False) -> Array:
    """The angle of complex numbers in (-pi, pi], in degrees with `deg`. TypeError for what is no array or number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.angle(1j, deg=True))
    90.0
    """
    z = as_operand(z, "angle", 0)
    z = cast(z, *common_dtype("angle", DEFAULT_INEXACT, [z.aval]))
    re = real(z)
    im = imag(z)
    result = lengths.atan2_p.bind(im, re)
    return e.mul_p.bind(result, scalar(result, 180 / np.pi)) if deg else result


# --- sign, neighbours, fraction and exponent ---


@boundary
def signbit(x: Any, /) -> Array:
    """Whether the sign is negative, as bools: true of -0.0, too. TypeError for complex numbers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.signbit(pnp.array([-0., 1.])))
    [ True False]
    """
    x = as_operand(x, "signbit", 0)
    dtype = x.aval.dtype
    if dtypes.is_float(dtype):
        return special.signbit(x)
    if dtypes.is_complex(dtype):
        raise TypeError(f"signbit: a complex number has no sign, got {x.aval.str_short()}")
    return c.lt_p.bind(x, scalar(x, 0))


@elementwise(FLOAT)
def copysign(x1: Any, x2: Any, /) -> Array:
    """|x1| with the sign of `x2`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.copysign(2., -0.))
    -2.0
    """
    size = trig.abs_p.bind(x1)
    return c.select_p.bind(special.signbit(x2), e.neg_p.bind(size), size)


@elementwise(FLOAT)
def nextafter(x: Any, y: Any, /) -> Array:
    """The next number that the dtype can hold from `x` towards `y`. Its derivative is 0.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nextafter(1., 2.))
    1.0000001
    """
    return special.nextafter(x, y)


@elementwise(NEVER_WEAK_FLOAT)
def spacing(x: Any, /) -> Array:
    """The distance from `x` to the next number away from zero, with the sign of `x`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.spacing(1.))
    1.1920929e-07
    """
    away = c.select_p.bind(special.signbit(x), scalar(x, -np.inf), scalar(x, np.inf))
    return e.sub_p.bind(special.nextafter(x, away), x)


@elementwise(STRONG_FLOAT)
def heaviside(x1: Any, x2: Any, /) -> Array:
    """The step function: 0 for negative `x1`, 1 for positive, `x2` at 0, nan at nan.

    >>> import pullback.numpy as pnp
    >>> print(pnp.heaviside(pnp.array([-1., 0., 1.]), 0.5))
    [0.  0.5 1. ]
    """
    zero, one = scalar(x1, 0), scalar(x1, 1)
    step = c.select_p.bind(c.lt_p.bind(x1, zero), zero, c.select_p.bind(c.gt_p.bind(x1, zero), one, x2))
    return c.select_p.bind(c.ne_p.bind(x1, x1), x1, step)


@elementwise(FLOAT)
def modf(x: Any, /) -> tuple[Array, Array]:
    """The fractional and the integral part, both with the sign of `x`.

    >>> import pullback.numpy as pnp
    >>> print(*pnp.modf(-1.5))
    -0.5 -1.0
    """
    whole = e.trunc_p.bind(x)
    infinite = c.eq_p.bind(trig.abs_p.bind(x), scalar(x, np.inf))
    fraction = c.select_p.bind(infinite, scalar(x, 0), e.sub_p.bind(x, whole))
    return fraction, whole


@elementwise(NEVER_WEAK_FLOAT)
def frexp(x: Any, /) -> tuple[Array, Array]:
    """`(m, e)` with `x == m * 2**e`: m in the dtype of `x`, 0.5 <= |m| < 1 (or 0, inf, nan), e of int32.

    >>> import pullback.numpy as pnp
    >>> print(*pnp.frexp(12.))
    0.75 4
    """
    exponent = special.exponent(x)
    return special.scale(x, e.neg_p.bind(exponent)), exponent


@boundary
def ldexp(x1: Any, x2: Any, /) -> Array:
    """`x1 * 2**x2`, exactly; `x2` is of integers. TypeError for complex `x1` and for `x2` that is not of integers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.ldexp(0.75, 4))
    12.0
    """
    x1, x2 = as_operand(x1, "ldexp", 0), as_operand(x2, "ldexp", 1)
    if not dtypes.is_integer(x2.aval.dtype) and x2.aval.dtype.kind != "b":
        raise TypeError(f"ldexp: the exponent must be of integers, got {x2.aval.str_short()}")
    (x1,) = promote_operands("ldexp", NEVER_WEAK_FLOAT, x1)
    kind = x2.aval.dtype
    if kind.itemsize > 4 or kind == np.uint32:
        # far beyond the exponents of floats, and not to be wrapped around
        x2 = e.min(x2, kind.type(2 ** 31 - 1))
        x2 = x2 if kind.kind == "u" else e.max(x2, kind.type(-2 ** 31))
    return special.scale(x1, shape.convert_element_type(x2, np.int32))


@elementwise(FLOAT)
def i0(x: Any) -> Array:
    """The modified Bessel function of the first kind, of order 0.

    >>> import pullback.numpy as pnp
    >>> print(pnp.i0(0.))
    1.0
    """
    return bessel.i0(x)


__all__ = [
    "angle", "around", "ceil", "conj", "conjugate", "copysign", "fix", "floor", "frexp", "heaviside", "i0", "imag",
    "ldexp", "modf", "nextafter", "real", "rint", "round", "signbit", "spacing", "trunc",
]
