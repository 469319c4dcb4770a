"""Compiled cube roots and powers of large arrays of float32, rounded once from double precision.

4,000,000 of XLA's cube roots, calls of the C library, take 18 ms, these 2.1 (2 cores); powers 10 and 3.8. They are off
by 0.55 units in the last place, XLA's by 0.95 and 0.74.
"""

from __future__ import annotations

import numpy as np

from pullback._core.types import make_aval
from pullback._ops.expressions import Expr, polynomial, written
from pullback._ops.large_arrays import with_sign

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)
_INT, _LONG = np.dtype(np.int32), np.dtype(np.int64)


def _converted(x: Expr, dtype: np.dtype) -> Expr:
    return Expr(x.ctx, x.ctx.convert(x.value, dtype))


def _bits(x: Expr, dtype: np.dtype) -> Expr:
    """The same bits, as numbers of another dtype."""
    return x.of("stablehlo.bitcast_convert", make_aval(x.value.aval.shape, dtype))


# --- roots ---


@written
def rsqrt(x):
    """By a quotient: of 4,000,000 elements in 1.5 ms (2 cores). XLA's takes 7 where its operand comes from memory."""
    # infinity keeps the compiler from taking this for its own operation
    value = 1 / x.sqrt().minimum(np.inf)
    # no quotient at the end: the compiler turns its derivative, another one, into 1 / (root * x)
    return x.is_("LT", 0).choose(np.nan, value)


# less a third of the bits of x, these are the bits of x**(-1/3) to 3.5 % (the best such number, found by trying all)
_THIRD = 0x54A20000


@written
def cbrt(x):
    """The root's reciprocal to 1e-5 by its series in float32, the root to 1e-9 by a step in double precision."""
    size = x.abs()
    guess = _bits(_converted(_converted(_bits(size, _INT), _SINGLE) * (-1 / 3) + _THIRD, _INT), _SINGLE)
    error = 1 - (size * guess) * (guess * guess)
    # (1 - error)**(-1/3)
    inverse = guess + guess * (error * polynomial(error, (1 / 3, 2 / 9, 14 / 81)))
    slope = inverse * inverse
    root, wide, third = (_converted(v, _DOUBLE) for v in (size * slope, size, slope * (1 / 3)))
    root = _converted(root + (wide - root * root * root) * third, _SINGLE)
    return with_sign(size.is_("LT", np.inf).choose(root, size), x)


# --- powers: x**y = 2**(y log2(x)) ---

# minimax polynomials of the relative error (the exchange algorithm of Remez, in mpmath): log2(1 + u) / u where 1 + u is
# in [sqrt(1/2), sqrt(2)], to 1.6e-11 (the shorter one in u / (2 + u) takes three times the time: XLA does not vectorize
# that division); 2**f where |f| <= 1/2, to 1.9e-9
_LOG2 = (
    1.442695040868709,
    -0.7213475208688214,
    0.4808983613942154,
    -0.3606736748089404,
    0.2885372935078145,
    -0.240453166521507,
    0.2061753599087116,
    -0.1803005846925954,
    0.1587697786694728,
    -0.1431565795601516,
    0.1447486673734685,
    -0.1428390653516351,
    0.07736982401820637,
)
_EXP2 = (
    1.0000000005539585,
    0.693147205738024745,
    0.24022646891490203,
    0.0555032877562606734,
    0.00961848888964032619,
    0.00133999316627147219,
    0.00015345826819083381,
)
_ROOT_OF_HALF = int(np.float32(0.5**0.5).view(np.int32))
# the sum with it has no fraction, and the integer part as its last bits
_SHIFT = 1.5 * 2.0**52


def _log2(size: Expr) -> Expr:
    """In double precision, of positive numbers; of 0 and infinity a number whose multiples are beyond all exponents."""
    exponent = (_bits(size, _INT) - _ROOT_OF_HALF).op("stablehlo.shift_right_arithmetic", 23)
    fraction = _converted(_bits(_bits(size, _INT) - exponent.op("stablehlo.shift_left", 23), _SINGLE), _DOUBLE)
    rest = fraction - 1
    value = _converted(exponent, _DOUBLE) + rest * polynomial(rest, _LOG2)
    tiny = size.is_("LT", float(np.finfo(np.float32).tiny))
    return tiny.choose(-1e300, size.is_("EQ", np.inf).choose(1e300, value))


def _exp2(t: Expr) -> Expr:
    """In double precision."""
    t = t.maximum(-200.0).minimum(200.0)
    whole = t.round()
    power = polynomial(t - whole, _EXP2)
    return _bits(_bits(power, _LONG) + _bits(whole + _SHIFT, _LONG).op("stablehlo.shift_left", 52), _DOUBLE)


@written
def power(x, y):
    size = x.abs()
    # finite, as infinity times the logarithm of 1 is nan
    exponent = _converted(y, _DOUBLE).maximum(-1e30).minimum(1e30)
    value = _converted(_exp2(exponent * _log2(size)), _SINGLE)
    half, whole = y * 0.5, y.is_("EQ", y.floor())
    odd = whole & half.is_("NE", half.floor())
    value = odd.choose(with_sign(value, x), value)
    undefined = (x.is_("LT", 0) & x.is_("GT", -np.inf) & ~whole) | x.is_("NE", x) | y.is_("NE", y)
    one = y.is_("EQ", 0) | x.is_("EQ", 1)
    return one.choose(1, undefined.choose(np.nan, value))
