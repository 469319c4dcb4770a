"""Trigonometric and hyperbolic functions and their inverses, and the parts of complex numbers."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, lift
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.types import make_aval
from pullback._ops.compare import eq, select
from pullback._ops.elementwise import add, div, mul, neg, rsqrt, scalar, sign, square, sub
from pullback._ops.families import COMPLEX, FLOAT, NUMBER, nary, operands, unary
from pullback._ops.shape import unbroadcast

# --- circular ---


def _rounded(kernel: Callable) -> Callable:
    """A kernel that evaluates float32 in double precision: NumPy's float32 sine is off by up to 2 ulp, XLA's is not."""
    single, double = np.dtype(np.float32), np.dtype(np.float64)
    return lambda x: kernel(x, dtype=double).astype(single) if x.dtype == single else kernel(x)


sin_p = unary("sin", _rounded(np.sin), "stablehlo.sine", lambda t, x, y: mul(t, cos(x)))
cos_p = unary("cos", _rounded(np.cos), "stablehlo.cosine", lambda t, x, y: mul(t, neg(sin(x))))
tan_p = unary("tan", np.tan, "stablehlo.tan", lambda t, x, y: mul(t, add(scalar(x, 1), square(y))))
asin_p = unary("asin", np.arcsin, "chlo.asin", lambda t, x, y: mul(t, rsqrt(_one_minus_square(x))))
acos_p = unary("acos", np.arccos, "chlo.acos", lambda t, x, y: mul(t, neg(rsqrt(_one_minus_square(x)))))
atan_p = unary("atan", np.arctan, "chlo.atan", lambda t, x, y: div(t, add(scalar(x, 1), square(x))))


def _one_minus_square(x):
    # by its factors: near 1, the square has already lost the digits that are left
    return mul(sub(scalar(x, 1), x), add(scalar(x, 1), x))


def sin(x: Any) -> Array:
    """The sine of `x` in radians."""
    return sin_p.bind(x)


def cos(x: Any) -> Array:
    """The cosine of `x` in radians."""
    return cos_p.bind(x)


def tan(x: Any) -> Array:
    """The tangent of `x` in radians."""
    return tan_p.bind(x)


def asin(x: Any) -> Array:
    """The arc sine, in radians."""
    return asin_p.bind(x)


def acos(x: Any) -> Array:
    """The arc cosine, in radians."""
    return acos_p.bind(x)


def atan(x: Any) -> Array:
    """The arc tangent, in radians."""
    return atan_p.bind(x)


def _atan2_norm(x, y):
    return add(square(x), square(y))


atan2_p = nary("atan2", np.arctan2, "stablehlo.atan2",
               lambda t, z, x, y: mul(t, div(y, _atan2_norm(x, y))),
               lambda t, z, x, y: mul(t, neg(div(x, _atan2_norm(x, y)))), add=add, accepts=FLOAT)


def atan2(x: Any, y: Any) -> Array:
    """The angle of the point (y, x), in radians."""
    return atan2_p.bind(*operands("atan2", x, y))


# --- hyperbolic ---

sinh_p = unary("sinh", np.sinh, "chlo.sinh", lambda t, x, y: mul(t, cosh(x)))
cosh_p = unary("cosh", np.cosh, "chlo.cosh", lambda t, x, y: mul(t, sinh(x)))
tanh_p = unary("tanh", np.tanh, "stablehlo.tanh", lambda t, x, y: mul(t, sub(scalar(x, 1), square(y))))
asinh_p = unary("asinh", np.arcsinh, "chlo.asinh", lambda t, x, y: mul(t, rsqrt(add(square(x), scalar(x, 1)))))
acosh_p = unary("acosh", np.arccosh, "chlo.acosh",
                lambda t, x, y: mul(t, mul(rsqrt(sub(x, scalar(x, 1))), rsqrt(add(x, scalar(x, 1))))))
atanh_p = unary("atanh", np.arctanh, "chlo.atanh", lambda t, x, y: div(t, _one_minus_square(x)))


def sinh(x: Any) -> Array:
    """The hyperbolic sine."""
    return sinh_p.bind(x)


def cosh(x: Any) -> Array:
    """The hyperbolic cosine."""
    return cosh_p.bind(x)


def tanh(x: Any) -> Array:
    """The hyperbolic tangent."""
    return tanh_p.bind(x)


def asinh(x: Any) -> Array:
    """The inverse hyperbolic sine."""
    return asinh_p.bind(x)


def acosh(x: Any) -> Array:
    """The inverse hyperbolic cosine."""
    return acosh_p.bind(x)


def atanh(x: Any) -> Array:
    """The inverse hyperbolic tangent."""
    return atanh_p.bind(x)


# --- parts of complex numbers ---


def real_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of the real part."""
    if not dtypes.is_complex(dtype):
        return dtype
    return np.dtype(np.float32 if dtype == np.complex64 else np.float64)


def complex_dtype(dtype: np.dtype) -> np.dtype:
    """The complex dtype with such a real part."""
    return np.dtype(np.complex128 if dtype == np.float64 else np.complex64)


real_p: Primitive = unary("real", np.real, lambda ctx, x: ctx.op("stablehlo.real", [x], ctx.out_avals[0]),
               lambda t, x, y: real_p.bind(t), COMPLEX, real_dtype)
imag_p: Primitive = unary("imag", np.imag, lambda ctx, x: ctx.op("stablehlo.imag", [x], ctx.out_avals[0]),
               lambda t, x, y: imag_p.bind(t), COMPLEX, real_dtype)


def _complex_kernel(x, y):
    out = np.empty(np.broadcast_shapes(np.shape(x), np.shape(y)), complex_dtype(x.dtype))
    out.real, out.imag = x, y
    return out


complex_p: Primitive = nary("complex", _complex_kernel,
                            lambda ctx, x, y: ctx.op("stablehlo.complex", [x, y], ctx.out_avals[0]),
                            lambda t, z, x, y: complex_p.bind(t, scalar(t, 0)),
                            lambda t, z, x, y: complex_p.bind(scalar(t, 0), t),
                            add=add, accepts=FLOAT, out_dtype=complex_dtype)


def complex(x: Any, y: Any) -> Array:
    """The complex number x + iy of two real ones."""
    return complex_p.bind(*operands("complex", x, y))


def real(x: Any) -> Array:
    """The real part of a complex array."""
    return real_p.bind(x)


def imag(x: Any) -> Array:
    """The imaginary part of a complex array."""
    return imag_p.bind(x)


# the pairing of cotangents is bilinear, without conjugation: <ct, x + iy> takes the real part of ct x + i ct y


def _complex_transpose(ct, x, y):
    return [unbroadcast(real(ct), x.aval) if is_linear(x) else None,
            unbroadcast(imag(neg(ct)), y.aval) if is_linear(y) else None]


real_p.transpose = lambda ct, x: [complex(ct, scalar(ct, 0))]
imag_p.transpose = lambda ct, x: [complex(scalar(ct, 0), neg(ct))]
complex_p.transpose = _complex_transpose

def _conj_lower(ctx, x):
    part = make_aval(x.aval.shape, real_dtype(x.aval.dtype))
    re, im = ctx.op("stablehlo.real", [x], part), ctx.op("stablehlo.imag", [x], part)
    return ctx.op("stablehlo.complex", [re, ctx.op("stablehlo.negate", [im])], x.aval)


conj_p: Primitive = unary("conj", np.conj, _conj_lower, lambda t, x, y: conj_p.bind(t), COMPLEX)


def conj(x: Any) -> Array:
    """The complex conjugate."""
    return conj_p.bind(x)


conj_p.transpose = lambda ct, x: [conj(ct)]

# --- absolute value: |x| of complex x has the real derivative Re(conj(x) t) / |x| ---


def _abs_tangent(t, x, y):
    if not dtypes.is_complex(x.aval.dtype):
        return mul(t, sign(x))
    # 0 at 0; written by |x| itself, not by the sign of x, which counts as locally constant
    size = select(eq(y, scalar(y, 0)), scalar(y, 1), y)
    return div(real(mul(t, conj(x))), size)


abs_p = unary("abs", np.abs, lambda ctx, x: ctx.op("stablehlo.abs", [x], ctx.out_avals[0]), _abs_tangent, NUMBER,
              real_dtype)


def abs(x: Any) -> Array:
    """The absolute value."""
    x = lift(x)
    return x if x.aval.dtype.kind == "u" else abs_p.bind(x)
