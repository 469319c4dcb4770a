"""Spence's function, the dilogarithm of 1 - x (DLMF 25.12.1)."""

from __future__ import annotations

import math

import numpy as np

from pullback._core.array import Array
from pullback._ops import compare as c
from pullback._ops.elementwise import div, log, mul, neg, scalar, sub
from pullback._ops.expressions import Expr, kernel, polynomial, written
from pullback._ops.families import FLOAT, unary
from pullback._ops.gamma_formulas import bernoulli

# Li2(1 - exp(-u)) = u - u**2 / 4 + sum of B(2k) u**(2k + 1) / (2k + 1)!
_TERMS = [1.0] + [float(b / math.factorial(2 * k + 1)) for k, b in enumerate(bernoulli(9), 1)]


def _spence(x: Expr) -> Expr:
    # by that of 1 / x above 1, and by that of 1 - x below 1/2 (DLMF 25.12.4, 25.12.6)
    large = x.is_("GT", 1.0)
    inner = large.choose(1.0 / large.choose(x, 1.0), x)
    low = inner.is_("LT", 0.5)
    at = low.choose(1.0 - inner, inner)
    # the logarithm of a number next to 1
    distance = large.choose((x - 1.0) / large.choose(x, 1.0), 1.0 - inner)
    u = -(low.choose(-inner, -distance).log1p())
    value = u * (polynomial(u * u, _TERMS if x.double else _TERMS[:6]) - u * 0.25)
    positive = inner.is_("GT", 0.0)
    logarithm = positive.choose(inner, 1.0).log()
    value = low.choose(math.pi**2 / 6 + positive.choose(logarithm * u, 0.0) - value, value)
    value = large.choose(-value - logarithm * logarithm * 0.5, value)
    value = x.is_("EQ", np.inf).choose(-np.inf, value)
    return x.is_("GE", 0.0).choose(value + at * 0.0, np.nan)


def _slope(x: Array) -> Array:
    """-log(x) / (x - 1), by its series near 1, where the quotient has no derivatives."""
    y = sub(x, scalar(x, 1))
    near = c.lt(mul(y, y), scalar(x, 0.04))
    inner = c.select(near, y, scalar(x, 0))
    count = 26 if x.aval.dtype.itemsize == 8 else 12
    series = scalar(x, 1 / count)
    for k in range(count - 1, 0, -1):
        series = sub(scalar(x, 1 / k), mul(inner, series))
    away = c.select(near, scalar(x, 1), y)
    return neg(c.select(near, series, div(log(c.select(near, scalar(x, 2), x)), away)))


spence_p = unary("spence", kernel(_spence), written(_spence), lambda t, x, y: mul(t, _slope(x)), FLOAT)
