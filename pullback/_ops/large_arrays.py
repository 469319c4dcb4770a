"""Other ways to compute elementwise functions of large arrays of float32.

Measured on 2 cores with 1,000,000 elements:

- compiled sine, cosine and tangent by range reduction and polynomials, which XLA vectorizes, have 15 times the speed of
  XLA's, which call the C library for each element;
- eager functions whose NumPy kernel computes in double precision (`sin`, `cos`) have 2.5 times the speed if the kernel
  evaluates the same polynomial, from 4,096 elements on, and 9 times by a compiled program of it, see
  `_xla/block_programs.py`; with the same bits: all are rounded once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback._core.lazy import LateModule
from pullback._core.primitive import Primitive
from pullback._core.types import at_least, make_aval
from pullback._ops.complex_parts import lowering
from pullback._ops.expressions import Expr, polynomial, where_any, written

if TYPE_CHECKING:
    from pullback._core import divided
    from pullback._xla import block_programs
else:
    divided = LateModule("pullback._core.divided")
    block_programs = LateModule("pullback._xla.block_programs")

LARGE = 65_536
# the elements that a kernel computes in a part of the time in which its program is compiled, for arrays of all sizes
_A_COMPILATION = 2_000_000
_SINGLE, _DOUBLE, _INT = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int32)


def in_double_precision(p: Primitive, name: str, quarter: float) -> None:
    """Have the NumPy kernel of a sine of `x + quarter * pi` compute float32 in double precision, and round once.

    NumPy's float32 sine is off by up to 1.5 units in the last place, XLA's is not. Large arrays are passed to a
    compiled program, once that is worth it; until then `by_blocks` computes them.
    """
    ufunc: Any = p.kernel
    of_number, single = getattr(math, p.name), np.float32
    blocks, large = by_blocks(ufunc, quarter), Primitive(p.name)
    large.abstract_eval, large.lower = p.abstract_eval, _reduced(name, quarter)

    def run(x):
        if type(x) is single:  # a tenth of the time of NumPy's function of one number
            try:
                return single(of_number(x))
            except ValueError:
                return single(np.nan)  # of infinity
        if x.dtype != _SINGLE:
            return ufunc(x)
        if x.size < _MANY:
            return ufunc(x, dtype=_DOUBLE).astype(_SINGLE)
        program = block_programs.program_if_worth(large, _SINGLE, x.size / _A_COMPILATION)
        return blocks(x) if program is None else _in_parts(program.run, block_programs.BLOCK, x)

    p.kernel = run
    p.has(whole=True)


# --- the sine of a multiple of pi and a rest ---

# pi in two parts, of 31 and 53 bits: the multiple of the first by a number of up to 22 bits is exact
_PI, _REST_OF_PI = 3.1415926534682512, 1.2154201013012384e-10
# sin(r) / r by powers of r**2 where |r| <= pi / 2: the minimax polynomial of the relative error, which is 1.4e-16
# (the exchange algorithm of Remez, in mpmath)
_SINE = (
    0.99999999999999985784,
    -0.16666666666665965306,
    0.0083333333332759206757,
    -0.00019841269823222322588,
    2.7557316421269998286e-6,
    -2.5051870882044833673e-8,
    1.6047844587972706791e-10,
    -7.3706622328423840458e-13,
)
# cos(r) by powers of r**2 where |r| <= pi / 4: its series, whose next term is below 1.1e-15
_COSINE = tuple((-1) ** k / math.factorial(2 * k) for k in range(8))
# from here on the multiple of pi would have more bits
_HUGE = 2.0**20


# the elements from which on the kernel evaluates the polynomial, and those that it does at once: they stay in the cache
_MANY, _BLOCK = 4096, 8192
# the sum with it has no fraction, and the integer part as its last bits
_SHIFT = 1.5 * 2.0**52


def _in_parts(compute: Callable[[np.ndarray, np.ndarray, int], None], length: int, x: np.ndarray) -> np.ndarray:
    """The results of what computes those from a start on, `length` of them at most, in all threads if there are many.

    It gets all operands and results, in rows.
    """
    out = np.empty(x.shape, x.dtype)
    source, target, starts = x.reshape(-1), out.reshape(-1), iter(range(0, x.size, length))

    def job() -> None:
        for start in starts:  # the interpreter's lock makes each part one thread's
            compute(source, target, start)

    divided.share(job, x.size >= LARGE)
    return out


def by_blocks(ufunc: np.ufunc, quarter: float) -> Callable:
    """The sine of `x + quarter * pi` of float32, by the polynomial in double precision."""
    kept = threading.local()

    def compute(source, target, start):
        part, out = source[start : start + _BLOCK], target[start : start + _BLOCK]
        n = part.size
        if -_HUGE < part.min() and part.max() < _HUGE:  # false if there is a nan
            try:
                doubles, odd = kept.memory
            except AttributeError:
                doubles, odd = kept.memory = np.empty((3, _BLOCK)), np.empty(_BLOCK, _INT)
            _sine(part, quarter, out, doubles[:, :n], odd[:n])
        else:
            out[:] = ufunc(part, dtype=_DOUBLE)

    return lambda x: _in_parts(compute, _BLOCK, x)


def _sine(x: np.ndarray, quarter: float, out: np.ndarray, doubles: np.ndarray, odd: np.ndarray) -> None:
    """What `circular` emits, in place: `doubles`, three rows, and `odd` are memory to compute in."""
    rest, n, power = doubles
    rest[:] = x
    np.multiply(rest, 1 / np.pi, out=n)
    if quarter:
        n += quarter
    n += _SHIFT
    odd[:] = n.view(np.int64)
    n -= _SHIFT
    if quarter:
        n -= quarter
    np.multiply(n, _PI, out=power)
    rest -= power
    n *= _REST_OF_PI
    rest -= n
    np.multiply(rest, rest, out=power)
    value = np.multiply(power, _SINE[-1], out=n)
    for coefficient in _SINE[-2:0:-1]:
        value += coefficient
        value *= power
    value += _SINE[0]
    value *= rest
    out[:] = value
    # the sign changes with each half turn: the last bit of n becomes that of the sign
    odd <<= 31
    bits = out.view(_INT)
    bits ^= odd


def _rest(y: Expr, multiple: Expr, period: float) -> Expr:
    """What a multiple of `period * pi` leaves of a number of double precision."""
    return (y - multiple * (_PI * period)) - multiple * (_REST_OF_PI * period)


@written
def _large_tangent(x):
    ctx, y = x.ctx, Expr(x.ctx, x.ctx.convert(x.value, _DOUBLE))
    n = (y * (2 / np.pi)).round()
    rest = _rest(y, n, 0.5)
    square = rest * rest
    sine, cosine = rest * polynomial(square, _SINE), polynomial(square, _COSINE)
    # after an odd number of quarter turns it is -cos / sin
    half = n * 0.5
    is_even = half.is_("EQ", half.floor())
    value = Expr(ctx, ctx.convert((is_even.choose(sine, -cosine) / is_even.choose(cosine, sine)).value, _SINGLE))
    value = x.abs().is_("LT", 2.0**-12).choose(x, value)
    return where_any(x.abs().is_("GE", _HUGE), lambda x: x.op("stablehlo.tan"), value, x)


def tangent() -> Callable:
    """The lowering rule of the tangent, XLA's own operation but for large arrays of float32, rounded once there."""
    return if_large(_large_tangent, lowering("stablehlo.tan"))


def if_large(large: Callable | str, plain: Callable) -> Callable:
    """The lowering rule `large` for large arrays of float32, else `plain`.

    "module:name" is a rule in a module beside this one, which is loaded when there is such an array.
    """

    def lower(ctx, x, *others):
        aval = x.aval
        if aval.dtype != _SINGLE or not at_least(aval.size, LARGE):
            return plain(ctx, x, *others)
        if callable(large):
            return large(ctx, x, *others)
        module, _, name = large.partition(":")
        return getattr(import_module(f"pullback._ops.{module}"), name)(ctx, x, *others)

    return lower


# the elements from which on integers are divided as floats, and the types of which all quotients are found so
_MANY_INTEGERS = 4096
_INTEGERS = {np.dtype(name) for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")}


def if_integers(large: str, plain: Callable | None) -> Callable:
    """The lowering rule `large` in `whole_quotients` for large arrays of integers on the processor, else `plain`.

    A divisor that the compiler knows is left to it.
    """
    assert plain is not None, "an elementwise primitive has a rule"

    def lower(ctx, x, y):
        aval = ctx.out_avals[0]
        known = any(constant is y for constant in ctx.constants.values())
        if (
            aval.dtype not in _INTEGERS
            or known
            or ctx.module.platform != "cpu"
            or not at_least(aval.size, _MANY_INTEGERS)
        ):
            return plain(ctx, x, y)
        rule = getattr(import_module("pullback._ops.whole_quotients"), large)
        return rule(ctx, *[ctx.broadcast(v, aval.shape) for v in (x, y)])

    return lower


def with_sign(size: Expr, sign: Expr) -> Expr:
    """Numbers of float32 without signs, with the signs of others: those of zeros and nan are seen, too."""
    number = make_aval(size.value.aval.shape, _INT)
    bit = sign.of("stablehlo.bitcast_convert", number).op("stablehlo.and", -(2**31))
    bits = size.of("stablehlo.bitcast_convert", number).op("stablehlo.or", bit)
    return bits.of("stablehlo.bitcast_convert", size.value.aval)


def circular(name: str, quarter: float) -> Callable:
    """The lowering rule of a sine of `x + quarter * pi`, XLA's own operation but for large arrays of float32.

    The rest is computed in double precision, and the result rounded once: it is off by half a unit in the last place.
    """
    return if_large(_reduced(name, quarter), lowering(name))


def _reduced(name: str, quarter: float) -> Callable:
    def reduced(x: Expr) -> Expr:
        ctx, number = x.ctx, make_aval(x.value.aval.shape, _INT)
        y = Expr(ctx, ctx.convert(x.value, _DOUBLE))
        n = (y * (1 / np.pi) + quarter).round()
        multiple = n - quarter
        rest = _rest(y, multiple, 1.0)
        size = Expr(ctx, ctx.convert((rest * polynomial(rest * rest, _SINE)).value, _SINGLE))
        # the sign changes with each half turn: the last bit of n becomes that of the sign
        odd = Expr(ctx, ctx.convert(n.value, _INT)).op("stablehlo.shift_left", 31)
        return (
            size.of("stablehlo.bitcast_convert", number)
            .op("stablehlo.xor", odd)
            .of("stablehlo.bitcast_convert", x.value.aval)
        )

    @written
    def large(x):
        value = reduced(x)
        if not quarter:
            # the conversion to double precision flushes the smallest numbers, and the reduction loses the sign of -0
            value = x.abs().is_("LT", 2.0**-12).choose(x, value)
        return where_any(x.abs().is_("GE", _HUGE), lambda x: x.op(name), value, x)

    return large
