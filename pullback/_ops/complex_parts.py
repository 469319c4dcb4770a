"""Complex functions for which the compiler or NumPy loses digits: kernels and lowerings in real arithmetic.

At infinities, signed zeros and on branch cuts the values are those of the C standard (ISO C 9899, Annex G). The
functions here are chosen by dtype: real values use the functions of the compiler and NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pullback._core import dtypes
from pullback._core.types import make_aval
from pullback._ops.expressions import Expr, polynomial, written

# --- NumPy ---


def _joined(re, im, like):
    out = np.empty(np.broadcast_shapes(np.shape(re), np.shape(im)), like.dtype)
    out.real, out.imag = re, im
    return out[()]


def quotient(x, y):
    """`x / y` of complex numbers: a finite number divided by an infinite one is 0, a number divided by 0 infinite."""
    z = np.true_divide(x, y)
    wrong = np.isnan(z)
    if not wrong.any():
        return z
    a, b, c, d = (v.astype(np.float64) for v in (np.real(x), np.imag(x), np.real(y), np.imag(y)))
    by_zero = (c == 0) & (d == 0)
    by_infinity = np.isfinite(a) & np.isfinite(b) & (np.isinf(c) | np.isinf(d))
    of_infinity = (np.isinf(a) | np.isinf(b)) & np.isfinite(c) & np.isfinite(d) & ~by_zero
    a, b = (np.where(of_infinity, np.copysign(np.isinf(v), v), v) for v in (a, b))
    c, d = (np.where(by_infinity, np.copysign(np.isinf(v), v), v) for v in (c, d))
    scale = np.where(by_infinity, 0.0, np.inf)
    re, im = scale * (a * c + b * d), scale * (b * c - a * d)
    pole = np.copysign(np.inf, c)
    re, im = np.where(by_zero, pole * a, re), np.where(by_zero, pole * b, im)
    right = wrong & (by_zero | by_infinity | of_infinity)
    return np.where(right, _joined(re, im, np.zeros((), np.complex128)), z).astype(z.dtype)[()]


def square(x):
    if not dtypes.is_complex(x.dtype):
        return np.square(x)
    # by factors: the squares of the parts could cancel, and overflow
    half, product = x.real.dtype.type(0.5), x.real * x.imag
    re, im = half * x.real, half * x.imag
    return _joined((re - im) * (re + im) * 4, product + product, x)


def log1p(x):
    """log(1 + x); near 0 the real part is half of log1p(2 re + re**2 + im**2), which NumPy does not use."""
    if not dtypes.is_complex(x.dtype):
        return np.log1p(x)
    re, im = x.real.astype(np.float64), x.imag.astype(np.float64)
    near = (np.abs(re) < 0.5) & (np.abs(im) < 0.5)
    u, v = np.where(near, re, 0.0), np.where(near, im, 0.0)
    # by a quarter of the number: the absolute value of the largest ones is out of range
    far = np.log(np.hypot(0.25 + 0.25 * re, 0.25 * im)) + np.log(4.0)
    size = np.where(near, 0.5 * np.log1p(u * (2 + u) + v * v), np.log(np.hypot(1 + re, im)))
    return _joined(np.where(np.isinf(size), far, size), np.arctan2(im, 1 + re), x)


def expm1(x):
    y = np.expm1(x)
    if not dtypes.is_complex(x.dtype):
        return y
    # NumPy's product exp(re) sin(im) overflows before it is large; exp scales its own
    e = np.exp(x)
    on_axis, far = x.imag == 0, (x.real > 1) | (x.real == -np.inf)
    re = np.where(on_axis, np.expm1(x.real), np.where(far, e.real - x.real.dtype.type(1), y.real))
    return _joined(re, np.where(on_axis, x.imag, np.where(far, e.imag, y.imag)), x)


# --- XLA ---


def parts(z: Expr) -> tuple[Expr, Expr]:
    """The real and the imaginary part of a complex value being lowered."""
    aval = z.value.aval
    part = make_aval(aval.shape, np.dtype(f"f{aval.dtype.itemsize // 2}"))
    return z.of("stablehlo.real", part), z.of("stablehlo.imag", part)


def together(re: Expr, im: Expr, z: Expr) -> Expr:
    return Expr(re.ctx, re.ctx.op("stablehlo.complex", [re.value, im.value], z.value.aval))


def _negative(x: Expr) -> Expr:
    """True if the sign bit is set, which comparisons do not see at 0."""
    aval = x.value.aval
    return x.of("stablehlo.bitcast_convert", make_aval(aval.shape, np.dtype(f"i{aval.dtype.itemsize}"))).is_("LT", 0)


def _signed(size: Expr, sign: Expr) -> Expr:
    size = size.abs()
    return _negative(sign).choose(-size, size)


def _real_sinh(y: Expr, far: Expr) -> Expr:
    """sinh(y) by the first terms of its series below 1, where the compiler's is up to 3 ulp off; else `far`."""
    square = y * y
    series = polynomial(square, [1 / math.factorial(2 * k + 1) for k in range(1, 9 if y.double else 6)])
    return y.abs().is_("LT", 1).choose(y + y * (square * series), far)


def _times(factor: Expr, y: Expr, function: str) -> Expr:
    """`factor * cosh(y)` or `factor * sinh(y)`, in range wherever the product is."""
    half = (y.abs() * 0.5).exp()
    sign = _signed(y.lifted(1.0), y) if function == "sinh" else None
    far = factor * half * 0.5 * half
    far, zero = (far, factor) if sign is None else (far * sign, factor * sign)
    real = y.op("chlo.cosh") if sign is None else _real_sinh(y, y.op("chlo.sinh"))
    # a factor of 0 is that of a number on an axis, and remains 0 whatever y is
    return factor.is_("EQ", 0).choose(zero, y.abs().is_("GT", 20).choose(far, factor * real))


def _sine(z: Expr) -> Expr:
    x, y = parts(z)
    return together(_times(x.op("stablehlo.sine"), y, "cosh"), _times(x.op("stablehlo.cosine"), y, "sinh"), z)


def _cosine(z: Expr) -> Expr:
    x, y = parts(z)
    return together(_times(x.op("stablehlo.cosine"), y, "cosh"), -_times(x.op("stablehlo.sine"), y, "sinh"), z)


def _sinh(z: Expr) -> Expr:
    x, y = parts(z)
    return together(_times(y.op("stablehlo.cosine"), x, "sinh"), _times(y.op("stablehlo.sine"), x, "cosh"), z)


def _cosh(z: Expr) -> Expr:
    x, y = parts(z)
    return together(_times(y.op("stablehlo.cosine"), x, "cosh"), _times(y.op("stablehlo.sine"), x, "sinh"), z)


def _exponential(z: Expr) -> Expr:
    x, y = parts(z)
    found = z.exp()  # at -inf it is a zero with the signs of the cosine and of the sine, but nan where y has none
    return y.abs().is_("LT", np.inf).choose(found, x.is_("EQ", -np.inf).choose(0, found))


def times(z: Expr, factor: float) -> Expr:
    """A complex number times a real one, by parts: a complex factor would make nan of inf and 0."""
    x, y = parts(z)
    return together(x * factor, y * factor, z)


def _square(z: Expr) -> Expr:
    x, y = parts(z)
    difference, total = x - y, x + y  # one may be infinite where the other is 0
    zero = difference.is_("EQ", 0) | total.is_("EQ", 0)
    # 2 x y, such that neither 2 x overflows nor x y underflows
    small = x.abs().is_("LT", 1)
    return together(zero.choose(0, difference * total), small.choose(x + x, x) * small.choose(y, y + y), z)


def _expm1(z: Expr) -> Expr:
    """exp(x) cos(y) - 1 = expm1(x) cos(y) - (1 - cos(y)), with the last by the sine; by the exponential for large x."""
    x, y = parts(z)
    re, im = parts(_exponential(z))
    sine, cosine = y.op("stablehlo.sine"), y.op("stablehlo.cosine")
    below_one = cosine.is_("GT", 0).choose(sine * sine / (cosine + 1), 1 - cosine)
    on_axis, real = y.is_("EQ", 0), x.expm1()
    far = x.is_("GT", 1) | x.is_("EQ", -np.inf)
    re = on_axis.choose(real, far.choose(re - 1, real * cosine - below_one))
    return together(re, on_axis.choose(y, im), z)


def _log1p(z: Expr) -> Expr:
    """The compiler's function, which fails for numbers with real part -1 whose square underflows."""
    x, y = parts(z)
    re, im = parts(z.op("stablehlo.log_plus_one"))
    return together(x.is_("EQ", -1).choose(y.abs().log(), re), im, z)


def _near_pole(x: Expr, y: Expr, value: Expr) -> Expr:
    """The real part of atanh(x + iy), since the compiler's `value` fails near 1 and -1.

    There |1 + z| / |1 - z| is 2 / |y| or its inverse.
    """
    beside = x.abs().is_("EQ", 1) & y.abs().is_("LT", 1e-10)
    return beside.choose(x * 0.5 * (math.log(2) - y.abs().log()), value)


def _atanh(z: Expr) -> Expr:
    re, im = parts(z.op("chlo.atanh"))
    return together(_near_pole(*parts(z), re), im, z)


def _atan(z: Expr) -> Expr:
    """atan(z) = -i atanh(i z), and i z = -y + i x."""
    x, y = parts(z)
    re, im = parts(z.op("chlo.atan"))
    return together(re, _near_pole(y, x, im), z)


def _tanh_parts(x: Expr, y: Expr) -> tuple[Expr, Expr]:
    """The parts of tanh(x + iy), (sinh(x) cosh(x) + i sin(y) cos(y)) / (sinh(x)**2 + cos(y)**2).

    Without differences: near a pole it is as accurate as cos(y). For large |x| it is sign(x) + 4i exp(-2|x|) sin(y)
    cos(y).
    """
    inverse = (-x.abs()).exp()
    large = 1 / inverse
    sinh, cosh = _real_sinh(x.abs(), (large - inverse) * 0.5), (large + inverse) * 0.5
    sine, cosine = y.op("stablehlo.sine"), y.op("stablehlo.cosine")
    product = sine * cosine
    below = sinh * sinh + cosine * cosine
    far = x.abs().is_("GT", 20)
    re = far.choose(1, sinh * cosh / below)
    im = far.choose(product * 4 * inverse * inverse, product / below)
    # for infinite x only the sign remains, whatever y is, and for y = 0 the real function
    return _signed(re, x), (y.is_("EQ", 0) | inverse.is_("EQ", 0)).choose(_signed(y.lifted(0.0), product), im)


def _tanh(z: Expr) -> Expr:
    return together(*_tanh_parts(*parts(z)), z)


def _tan(z: Expr) -> Expr:
    """tan(z) = -i tanh(i z); tanh is odd in the real and even in the imaginary part."""
    x, y = parts(z)
    im, re = _tanh_parts(y, x)
    return together(re, im, z)


def _sign(z: Expr) -> Expr:
    """z / |z|, by scaled parts."""
    x, y = parts(z)
    size = x.abs().op("stablehlo.maximum", y.abs())
    zero, infinite = size.is_("EQ", 0), size.is_("EQ", np.inf)
    scale = (zero | infinite).choose(1, size)
    u, v = (infinite.choose(_signed(w.abs().is_("EQ", np.inf).choose(w.lifted(1.0), 0), w), w / scale) for w in (x, y))
    u, v = (infinite.choose(w.is_("EQ", w).choose(w, 0), w) for w in (u, v))
    length = (u * u + v * v).op("stablehlo.sqrt")
    length = zero.choose(1, length)
    return together(zero.choose(0, u / length), zero.choose(0, v / length), z)


def _on_cuts(op: str, sign_of: int, opposite: bool = False) -> Callable[[Expr], Expr]:
    """The compiler's function, with the sign that C gives to one part: that of the operand's part, or the opposite."""

    def lowered(z):
        found, given = list(parts(z.op(op))), parts(z)[sign_of]
        found[sign_of] = _signed(found[sign_of], -given if opposite else given)
        return together(found[0], found[1], z)

    return lowered


_COMPLEX: dict[str, Callable[[Expr], Expr]] = {
    "stablehlo.sine": _sine,
    "stablehlo.cosine": _cosine,
    "chlo.sinh": _sinh,
    "chlo.cosh": _cosh,
    "stablehlo.exponential": _exponential,
    "stablehlo.sqrt": _on_cuts("stablehlo.sqrt", 1),
    "stablehlo.sign": _sign,
    "chlo.asin": _on_cuts("chlo.asin", 1),
    "chlo.acos": _on_cuts("chlo.acos", 1, opposite=True),
    "stablehlo.tan": _tan,
    "stablehlo.tanh": _tanh,
    "chlo.atan": _atan,
    "chlo.atanh": _atanh,
    "stablehlo.exponential_minus_one": _expm1,
    "chlo.acosh": _on_cuts("chlo.acosh", 1),
    "chlo.asinh": _on_cuts("chlo.asinh", 0),
}


def lowering(op: str) -> Callable:
    """The lowering to an operation of the compiler; for complex operands to the function defined here."""

    def lower(ctx, x):
        if dtypes.is_complex(x.aval.dtype):
            return _COMPLEX[op](Expr(ctx, x)).value
        return ctx.op(op, [x])

    return lower


square_lowering = written(lambda x: _square(x) if dtypes.is_complex(x.value.aval.dtype) else x * x)
log1p_lowering = written(lambda x: _log1p(x) if dtypes.is_complex(x.value.aval.dtype) else x.log1p())


@written
def power_lowering(x, y):
    # exp(y log x) is nan at 0, where the power is 0 for exponents in the right half plane
    part = make_aval(y.value.aval.shape, np.dtype(f"f{y.value.aval.dtype.itemsize // 2}"))
    right = y.of("stablehlo.real", part).is_("GT", 0)
    return (x.is_("EQ", 0) & right).choose(0, x.op("stablehlo.power", y))
