"""Fresnel integrals (DLMF 7.2.7, 7.2.8).

For small arguments by the power series 7.6.4 and 7.6.6, beyond by the auxiliary functions of 7.5.3 and 7.5.4, which are
averages with a Gaussian weight (7.7.10, 7.7.11 with the square of the variable): with y = sqrt(pi / 2) x,

    f = <1 / (1 + (v / y)**4)> / (pi x),  g = <2 v**2 / (1 + (v / y)**4)> / (pi**2 x**3),

whose trapezoidal sums converge exponentially, all terms being positive.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from pullback._core.array import Array
from pullback._ops.elementwise import mul, scalar, sub
from pullback._ops.expressions import Expr, kernel, polynomial, written
from pullback._ops.families import FLOAT, unary
from pullback._ops.rounding import floor
from pullback._ops.trig import cos, sin

_CUT = 1.6


@functools.cache
def _average(double: bool) -> list[tuple[float, float]]:
    """The squares of the abscissas, and weights whose sum is 1, for 1e-16 or 1e-8 from the cut on."""
    step, count = (0.22, 29) if double else (0.45, 10)
    v = np.arange(count) * step
    weights = np.exp(-(v * v)) * (2 * step / math.sqrt(math.pi))
    weights[0] /= 2
    return list(zip((v * v).tolist(), weights.tolist(), strict=True))


def _auxiliary(x: Expr) -> tuple[Expr, Expr]:
    inverse = 1.0 / x
    q = inverse * inverse * (2 / math.pi)
    f, g = x.lifted(0.0), x.lifted(0.0)
    for square, weight in _average(x.double):
        ratio = q * square
        part = weight / (ratio * ratio + 1.0)
        f, g = f + part, g + part * (2 * square)
    return f * inverse * (1 / math.pi), g * (inverse * (inverse * inverse)) * (1 / math.pi**2)


def _series(x: Expr, first: int) -> Expr:
    """The sum of (-1)**k (pi / 2)**n x**(2 n + 1) / (n! (2 n + 1)) over n = 2 k + first."""
    orders = range(first, 38 if x.double else 24, 2)
    terms = [(-1) ** k * (math.pi / 2) ** n / (math.factorial(n) * (2 * n + 1)) for k, n in enumerate(orders)]
    square = x * x
    value = x * polynomial(square * square, terms)
    return value * square if first else value


def _integral(x: Expr, of_sine: bool) -> Expr:
    size = x.abs()
    small = size.is_("LT", _CUT)
    near, far = small.choose(size, 0.0), small.choose(_CUT, size)
    f, g = _auxiliary(far)
    square = far.minimum(1e9 if x.double else 1e4)
    square = square * square
    phase = (square - (square * 0.25).floor() * 4.0) * (math.pi / 2)
    sine, cosine = phase.sin(), phase.cos()
    beyond = 0.5 - (f * cosine + g * sine) if of_sine else 0.5 + (f * sine - g * cosine)
    value = small.choose(_series(near, int(of_sine)), beyond)
    return x.is_("LT", 0.0).choose(-value, x.is_("EQ", x).choose(value, x))


def _fresnel_s(x: Expr) -> Expr:
    return _integral(x, True)


def _fresnel_c(x: Expr) -> Expr:
    return _integral(x, False)


def _phase(x: Array) -> Array:
    """pi / 2 times the square, less whole turns."""
    square = mul(x, x)
    turns = mul(floor(mul(square, scalar(x, 0.25))), scalar(x, 4))
    return mul(sub(square, turns), scalar(x, math.pi / 2))


fresnel_s_p = unary("fresnel_s", kernel(_fresnel_s), written(_fresnel_s), lambda t, x, y: mul(t, sin(_phase(x))), FLOAT)
fresnel_c_p = unary("fresnel_c", kernel(_fresnel_c), written(_fresnel_c), lambda t, x, y: mul(t, cos(_phase(x))), FLOAT)
