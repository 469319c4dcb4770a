"""Special functions: error functions, logarithms of sums, x log y, and the bits of floating-point numbers.

Kernels are SciPy's, imported at the first call; lowerings are those of XLA's CHLO dialect, or defined here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray, lift
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.types import make_aval
from pullback._core.zeros import Zero, zero_of
from pullback._ops import compare as c
from pullback._ops import trig
from pullback._ops.elementwise import add, div, exp, log, log1p, mul, neg, scalar, square, sub
from pullback._ops.erf_inverse import erf_inv_kernel, erf_inv_large
from pullback._ops.expressions import Expr, iterate, polynomial, written
from pullback._ops.families import (
    FLOAT,
    INTEGER,
    UnaryFunction,
    broadcast_shapes,
    cheap,
    elementwise,
    elementwise_batch,
    function_of_one,
    nary,
    operands,
    scipy_kernel,
    to_bool,
    unary,
)
from pullback._ops.large_arrays import if_large
from pullback._ops.quotients import fraction
from pullback._ops.rounding import round_to_even
from pullback._ops.rules import zero_jvp
from pullback._ops.shape import broadcast_to, unbroadcast
from pullback._ops.sigmoids import logistic

# --- error functions ---

# exp(-x**2), whose derivative is -2 x y: if x**2 is out of range, x y is 0
_gauss_p = unary(
    "gauss",
    lambda x: np.exp(-(x * x)),
    written(lambda x: (-(x * x)).exp()),
    lambda t, x, y: mul(t, mul(scalar(x, -2), mul(x, y))),
    FLOAT,
)
erf_p: Primitive = unary(
    "erf",
    scipy_kernel("erf"),
    "chlo.erf",
    lambda t, x, y: mul(t, mul(scalar(x, 2 / np.sqrt(np.pi)), _gauss_p.bind(x))),
    FLOAT,
)
erfc_p: Primitive = unary(
    "erfc",
    scipy_kernel("erfc"),
    "chlo.erfc",
    lambda t, x, y: mul(t, mul(scalar(x, -2 / np.sqrt(np.pi)), _gauss_p.bind(x))),
    FLOAT,
)
erf_inv_p: Primitive = unary(
    "erf_inv",
    erf_inv_kernel,
    if_large(erf_inv_large, lambda ctx, x: ctx.op("chlo.erf_inv", [x])),
    lambda t, x, y: mul(t, mul(scalar(x, np.sqrt(np.pi) / 2), exp(square(y)))),
    FLOAT,
)

cheap(_gauss_p, erf_p, erfc_p)

erf: UnaryFunction = function_of_one(
    __name__,
    erf_p,
    "The error function 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to `x` (DLMF 7.2.1).",
    "0.",
    "0.0",
)
erfc: UnaryFunction = function_of_one(
    __name__, erfc_p, "`1 - erf(x)`, accurate for large `x` (DLMF 7.2.2).", "0.", "1.0"
)
erf_inv: UnaryFunction = function_of_one(
    __name__, erf_inv_p, "The inverse of `erf` on (-1, 1): -inf and inf at -1 and 1, nan outside.", "0.", "0.0"
)

# --- logarithms of sums: the derivative by `x` is exp(x) / (exp(x) + exp(y)) = logistic(x - y) ---


def _difference(x, y):
    """`x - y`, 0 for equal infinities."""
    if type(y) is ConcreteArray and y.aval.ndim == 0 and np.isfinite(y.value):
        return sub(x, y) if y.value else x
    difference = sub(x, y)
    return c.select(c.bitwise_and(c.eq(x, y), c.ne(difference, difference)), scalar(x, 0), difference)


# log(1 + t) / t by powers of t where 0 <= t <= 1: the minimax polynomial of the relative error, which is 4.7e-9 (the
# exchange algorithm of Remez, in mpmath)
_LOG_ONE_PLUS = (
    0.9999999953,
    -0.4999990242,
    0.333299624,
    -0.2495413342,
    0.1967593803,
    -0.1530558904,
    0.1060364905,
    -0.05695947855,
    0.01985143377,
    -0.003244019055,
)


def _log_one_plus(t: Expr) -> Expr:
    """log(1 + t) for t in [0, 1]: of 4,000,000 exponentials in float32 2.9 ms on 2 cores, by XLA's function 8.7."""
    return t.log1p() if t.double else t * polynomial(t, _LOG_ONE_PLUS)


def _logaddexp(name: str, kernel, base: float):
    rate = float(np.log(base))

    @written
    def lower(x, y):
        difference = x - y
        small = -difference.abs()
        extra = _log_one_plus((small if rate == 1 else small * rate).exp())
        value = x.maximum(y) + (extra if rate == 1 else extra / rate)
        return difference.is_("NE", difference).choose(x + y, value)

    def weight(x, y):
        difference = _difference(x, y)
        return logistic(difference if rate == 1 else mul(scalar(x, rate), difference))

    return nary(
        name,
        kernel,
        lower,
        lambda t, z, x, y: mul(t, weight(x, y)),
        lambda t, z, x, y: mul(t, weight(y, x)),
        add=add,
        accepts=FLOAT,
    )


def _logaddexp_kernel(x, y):
    if max(x.size, y.size) < _MANY or x.dtype.itemsize < 4:
        return np.logaddexp(x, y)  # which calls the C library for each element
    largest, rest = np.maximum(x, y), np.subtract(x, y)
    np.abs(rest, out=rest)
    np.negative(rest, out=rest)
    np.exp(rest, out=rest)
    np.log1p(rest, out=rest)
    np.copyto(rest, rest.dtype.type(0), where=np.isinf(largest))  # not the difference of equal infinities
    return np.add(largest, rest, out=rest)


# 8 times as fast from here on
_MANY = 512
logaddexp_p = _logaddexp("logaddexp", _logaddexp_kernel, np.e)
logaddexp2_p = _logaddexp("logaddexp2", np.logaddexp2, 2.0)
cheap(logaddexp_p, logaddexp2_p)


def logaddexp(x: ArrayLike, y: ArrayLike) -> Array:
    """`log(exp(x) + exp(y))` without overflow."""
    return logaddexp_p.bind(*operands("logaddexp", x, y))


def logaddexp2(x: ArrayLike, y: ArrayLike) -> Array:
    """`log2(2**x + 2**y)` without overflow."""
    return logaddexp2_p.bind(*operands("logaddexp2", x, y))


# --- x log y and similar functions: the value at x = 0 is 0, for any logarithm, and so is the slope along y ---


@written
def _xlogy_lower(x, y):
    return (x.is_("EQ", 0) & y.is_("EQ", y)).choose(0, x * y.log())


@written
def _xlog1py_lower(x, y):
    return (x.is_("EQ", 0) & y.is_("EQ", y)).choose(0, x * y.log1p())


@written
def _entr_lower(x):
    return x.is_("LT", 0).choose(-np.inf, x.is_("EQ", 0).choose(0, -x * x.log()))


xlogy_p = nary(
    "xlogy",
    scipy_kernel("xlogy"),
    _xlogy_lower,
    lambda t, z, x, y: mul(t, log(y)),
    lambda t, z, x, y: mul(t, fraction(x, y)),
    add=add,
    accepts=FLOAT,
)
xlog1py_p = nary(
    "xlog1py",
    scipy_kernel("xlog1py"),
    _xlog1py_lower,
    lambda t, z, x, y: mul(t, log1p(y)),
    lambda t, z, x, y: mul(t, fraction(x, add(y, scalar(y, 1)))),
    add=add,
    accepts=FLOAT,
)


_xlog1py = scipy_kernel("xlog1py")


def _complement_power(x, n):
    return np.exp(_xlog1py(n, -x))


@written
def _complement_power_lower(x, n):
    return n.is_("EQ", 0).choose(1, (n * (-x).log1p()).exp())


def _complement_power_by_x(t: Array, y: Array, x: Array, n: Array) -> Array:
    one = scalar(x, 1)
    constant = c.bitwise_and(c.eq(x, one), c.eq(n, scalar(n, 0)))
    return neg(mul(t, mul(n, complement_power_p.bind(c.select(constant, scalar(x, 0), x), sub(n, one)))))


def _complement_power_by_n(t: Array, y: Array, x: Array, n: Array) -> Array:
    # 0 at x = 1, as along n
    return mul(t, mul(y, log1p(neg(c.select(c.eq(x, scalar(x, 1)), scalar(x, 0), x)))))


# (1 - x)**n, of which 1 - x would lose digits, for x <= 1; its slopes at x = 1 are those of a power at 0
complement_power_p: Primitive = nary(
    "complement_power",
    _complement_power,
    _complement_power_lower,
    _complement_power_by_x,
    _complement_power_by_n,
    add=add,
    accepts=FLOAT,
)
entr_p = unary("entr", scipy_kernel("entr"), _entr_lower, lambda t, x, y: mul(t, neg(add(log(x), scalar(x, 1)))), FLOAT)


def sinc(x: Array) -> Array:
    """`sin(pi x) / (pi x)`, by its series near 0, where the quotient has no derivatives."""
    size = trig.abs(x)
    near = c.lt(size, scalar(size, 0.08))
    z = mul(scalar(x, np.pi), x)
    w = square(c.select(near, z, scalar(z, 0)))
    series = scalar(z, 1)
    # the terms of sin(z) / z in z**2: the next one is below the rounding of float64 for |z| < 0.26
    for k in (6, 5, 4, 3, 2, 1):
        series = sub(scalar(z, 1), mul(mul(w, scalar(z, 1 / (2 * k * (2 * k + 1)))), series))
    away = c.select(near, scalar(z, 1), z)
    if dtypes.is_complex(x.aval.dtype):
        return c.select(near, series, div(trig.sin(away), away))
    # the sine of pi times the remainder of whole periods, which is exact: for large numbers pi * x has no correct digit
    periods = round_to_even(mul(x, scalar(x, 0.5)))
    rest = sub(x, mul(periods, scalar(x, 2)))
    return c.select(near, series, div(trig.sin(mul(scalar(x, np.pi), rest)), away))


# --- clamp ---


def _clamp_kernel(low, x, high):
    raised = np.maximum(x, low)
    return np.minimum(raised, high) if np.ndim(raised) == 0 else np.minimum(raised, high, out=raised)


def _clamp_part(condition: Callable):
    return lambda t, y, low, x, high: c.select(condition(low, x, high), t, scalar(y, 0))


clamp_p: Primitive = nary(
    "clamp",
    _clamp_kernel,
    lambda ctx, low, x, high: ctx.op("stablehlo.clamp", [low, x, high], x.aval),
    _clamp_part(lambda low, x, high: c.bitwise_and(c.gt(low, x), c.lt(low, high))),
    _clamp_part(lambda low, x, high: c.bitwise_and(c.gt(x, low), c.lt(x, high))),
    _clamp_part(lambda low, x, high: c.lt(high, x)),
    add=add,
    accepts=(lambda dtype: not dtypes.is_complex(dtype), "a real dtype"),
)
cheap(clamp_p)


def clamp(min: ArrayLike, x: ArrayLike, max: ArrayLike) -> Array:
    """`x` raised to `min` and lowered to `max`, in its real dtype; each bound is a scalar or has the shape of `x`.

    The derivative by `x` is 1 strictly between the bounds and 0 on them and beyond. ValueError for bounds of other
    shapes, TypeError for complex and for different dtypes.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.clamp(0., np.array([-1., 0.5, 2.]), 1.))
    [0.  0.5 1. ]
    """
    low, x, high = operands("clamp", min, x, max)
    for name, bound in (("min", low), ("max", high)):
        if bound.aval.ndim and bound.aval.shape != x.aval.shape:
            raise ValueError(
                f"clamp: {name} must be a scalar or have the shape {x.aval.shape} of x, got shape {bound.aval.shape}"
            )
    return clamp_p.bind(low, x, high)


# --- the greatest common divisor, by Euclid's algorithm ---


@written
def _gcd_lower(x, y):
    pair = [x, y] if dtypes.is_unsigned(x.value.aval.dtype) else [x.abs(), y.abs()]

    def step(n, a, b):
        done = b.is_("EQ", 0)
        rest = a.op("stablehlo.remainder", done.choose(1, b))
        return [done.choose(a, b), done.choose(b, rest)]

    return iterate(pair, step, lambda a, b: b.is_("NE", 0))[0]


gcd_p = elementwise("gcd", np.gcd, _gcd_lower, INTEGER)
zero_jvp(gcd_p)


def gcd(x: ArrayLike, y: ArrayLike) -> Array:
    """The greatest common divisor of |x| and |y|."""
    return gcd_p.bind(*operands("gcd", x, y))


# --- the bits of floating-point numbers: sign, exponent, scaling by a power of two, the next number ---


def _bits(ctx, x):
    """The bits of a float as a signed integer."""
    return ctx.op("stablehlo.bitcast_convert", [x], make_aval(x.aval.shape, np.dtype(f"i{x.aval.dtype.itemsize}")))


def _widened(ctx, x):
    return ctx.convert(x, np.dtype(np.float32)) if x.aval.dtype.itemsize <= 2 else x


def _format(dtype: np.dtype) -> tuple[int, int]:
    """The width of the fraction, and the bias of the exponent."""
    return (52, 1023) if dtype.itemsize == 8 else (23, 127)


def _signbit_kernel(x):
    return np.signbit(x.astype(np.float32) if x.dtype.itemsize <= 2 else x)


def _signbit_lower(ctx, x):
    bits = _bits(ctx, x)
    return ctx.compare("LT", bits, ctx.full_like(bits, 0))


signbit_p = unary("signbit", _signbit_kernel, _signbit_lower, None, FLOAT, to_bool)


def signbit(x: ArrayLike) -> Array:
    """True where the sign bit is set."""
    return signbit_p.bind(lift(x))


def _exponent_kernel(x):
    return np.frexp(x.astype(np.float32) if x.dtype.itemsize <= 2 else x)[1]


def _exponent_lower(ctx, x):
    # a subnormal number has no exponent of its own: it is scaled into the normal range first
    x = _widened(ctx, x)
    width, bias = _format(x.aval.dtype)
    tiny = ctx.compare("LT", ctx.op("stablehlo.abs", [x]), ctx.full_like(x, 2.0 ** (1 - bias)))
    scaled = ctx.op("stablehlo.multiply", [x, ctx.full_like(x, 2.0 ** (width + 1))])
    bits = _bits(ctx, ctx.op("stablehlo.select", [tiny, scaled, x], x.aval))
    field = ctx.op(
        "stablehlo.and",
        [
            ctx.op("stablehlo.shift_right_logical", [bits, ctx.full_like(bits, width)]),
            ctx.full_like(bits, 2 * bias + 1),
        ],
    )
    offset = ctx.op(
        "stablehlo.select", [tiny, ctx.full_like(bits, bias + width), ctx.full_like(bits, bias - 1)], bits.aval
    )
    zero = ctx.compare("EQ", x, ctx.full_like(x, 0))
    none = ctx.op("stablehlo.or", [zero, ctx.compare("EQ", field, ctx.full_like(field, 2 * bias + 1))])
    exponent = ctx.op(
        "stablehlo.select", [none, ctx.full_like(bits, 0), ctx.op("stablehlo.subtract", [field, offset])], bits.aval
    )
    return ctx.convert(exponent, np.dtype(np.int32))


exponent_p = unary("exponent", _exponent_kernel, _exponent_lower, None, FLOAT, lambda dtype: np.dtype(np.int32))


def exponent(x: ArrayLike) -> Array:
    """The int32 n with 0.5 <= |x| / 2**n < 1; 0 for zero, infinities and nan."""
    return exponent_p.bind(lift(x))


scale_p = Primitive("scale")


def scale(x: ArrayLike, n: ArrayLike) -> Array:
    """`x * 2**n`, without intermediate overflow; `n` is of int32."""
    return scale_p.bind(lift(x), lift(n))


def _scale_type(x, n):
    if not dtypes.is_float(x.dtype) or n.dtype != np.int32:
        raise TypeError(f"scale: expected a float and an int32 exponent, got {x.str_short()} and {n.str_short()}")
    return make_aval(broadcast_shapes("scale", x.shape, n.shape), x.dtype, x.weak_type)


def _scale_kernel(x, n):
    return np.ldexp(x.astype(np.float32) if x.dtype.itemsize <= 2 else x, n)


def _scale_lower(ctx, x, n):
    out = ctx.out_avals[0]
    x, n = ctx.broadcast(x, out.shape), ctx.broadcast(n, out.shape)
    x = _widened(ctx, x)
    width, bias = _format(x.aval.dtype)
    n = ctx.convert(n, np.dtype(f"i{x.aval.dtype.itemsize}"))
    # the exponent of x goes into the powers: the compiler would merge two constant ones into one, out of range
    # (findings/xla_merges_constant_factors.sh)
    bits = ctx.op("stablehlo.bitcast_convert", [x], n.aval)
    mask = (2 * bias + 1) << width
    own = ctx.op("stablehlo.and", [bits, ctx.full_like(n, mask)])
    unit = ctx.op("stablehlo.or", [ctx.op("stablehlo.subtract", [bits, own]), ctx.full_like(n, bias << width)])
    y = ctx.op("stablehlo.bitcast_convert", [unit], x.aval)
    rest = ctx.op(
        "stablehlo.add",
        [
            ctx.op("stablehlo.clamp", [ctx.full_like(n, -5 * bias), n, ctx.full_like(n, 5 * bias)], n.aval),
            ctx.op(
                "stablehlo.subtract",
                [ctx.op("stablehlo.shift_right_logical", [own, ctx.full_like(n, width)]), ctx.full_like(n, bias)],
            ),
        ],
    )
    for _ in range(2):
        part = ctx.op("stablehlo.clamp", [ctx.full_like(n, 1 - bias), rest, ctx.full_like(n, bias)], n.aval)
        power = ctx.op(
            "stablehlo.shift_left", [ctx.op("stablehlo.add", [part, ctx.full_like(n, bias)]), ctx.full_like(n, width)]
        )
        y = ctx.op("stablehlo.multiply", [y, ctx.op("stablehlo.bitcast_convert", [power], x.aval)])
        rest = ctx.op("stablehlo.subtract", [rest, part])
    # 0, infinity and nan are unchanged
    special = ctx.op(
        "stablehlo.or", [ctx.compare("EQ", x, ctx.full_like(x, 0)), ctx.compare("EQ", own, ctx.full_like(n, mask))]
    )
    return ctx.convert(ctx.op("stablehlo.select", [special, x, y], x.aval), out.dtype)


def _scale_jvp(primals, tangents):
    x, n = primals
    y = scale_p.bind(x, n)
    t = tangents[0]
    return y, zero_of(y.aval) if type(t) is Zero else broadcast_to(scale_p.bind(t, n), y.aval.shape)


scale_p.abstract_eval = _scale_type
scale_p.kernel = _scale_kernel
scale_p.lower = _scale_lower
scale_p.jvp = _scale_jvp
scale_p.transpose = lambda ct, x, n: [unbroadcast(scale_p.bind(ct, n), x.aval) if is_linear(x) else None, None]
scale_p.batch = elementwise_batch(scale_p)

nextafter_p: Primitive = elementwise("nextafter", np.nextafter, "chlo.next_after", FLOAT)
zero_jvp(nextafter_p)


def nextafter(x1: ArrayLike, x2: ArrayLike) -> Array:
    """The next number from `x1` towards `x2`, floats of one dtype (else TypeError). Its derivative is 0.

    >>> from pullback import lax
    >>> print(lax.nextafter(1., 2.))
    1.0000001
    """
    return nextafter_p.bind(*operands("nextafter", x1, x2))
