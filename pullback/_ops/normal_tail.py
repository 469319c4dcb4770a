"""The logarithm of the normal distribution function Phi, and its derivatives, without cancellation.

The first is the hazard h(x) = phi(x) / Phi(x), the second -h u with the excess u(x) = x + h(x), which for large
negative x is 1 / |x|.
"""

from __future__ import annotations

import math

import numpy as np

from pullback._core.array import Array
from pullback._ops import compare as c
from pullback._ops.elementwise import add, div, mul, neg, scalar, square, sub
from pullback._ops.expressions import Expr, Host, polynomial, written
from pullback._ops.families import FLOAT, scipy_kernel, unary

# (1 + z) u(-z) for z >= 0 in powers of (z - 4) / (z + 4): its Chebyshev series, computed with 50 digits in mpmath
_SINGLE = (
    1.12803573,
    -0.0620564442,
    -0.192104471,
    0.192934923,
    -0.061059388,
    -0.0307967659,
    0.0323530276,
    -0.000992646413,
    -0.0103981621,
    0.00293530417,
    0.00243924957,
    -0.00116892769,
    -0.000323711918,
    0.000202280235,
)
_DOUBLE = (
    1.1280357224473553,
    -0.062056379981136397,
    -0.19210374819081645,
    0.19293246887907771,
    -0.061071084204487477,
    -0.030769392021608697,
    0.032424205078159382,
    -0.0011290861298264802,
    -0.010605539408856003,
    0.0032926607008123716,
    0.0027520408333967321,
    -0.0016937145418632257,
    -0.00056040203524037643,
    0.00063900450575967061,
    6.8806076311013367e-5,
    -0.00020243786497594705,
    9.0517762326657363e-6,
    5.5325134197934872e-5,
    -9.9963833275575651e-6,
    -1.2792422958624941e-5,
    4.2563249451136946e-6,
    2.3310414860421707e-6,
    -1.2556821488910981e-6,
    -2.7929054520015151e-7,
    2.4858876818989038e-7,
    9.8918431546414974e-9,
    -2.4818859017491897e-8,
    1.6983050156830869e-9,
)


def scaled_excess(z: Expr) -> Expr:
    return polynomial(1.0 - 8.0 / (z + 4.0), _DOUBLE if z.double else _SINGLE)


def hazard_below(z: Expr) -> Expr:
    """h(-z) for z >= 0."""
    return z + scaled_excess(z) / (z + 1.0)


def _above(z: Expr) -> Expr:
    """Phi(-z) for z >= 0."""
    return (z * math.sqrt(0.5)).op("chlo.erfc") * 0.5


def _hazard_above(z: Expr) -> Expr:
    return (z * (z * -0.5)).exp() * math.sqrt(0.5 / math.pi) / (1.0 - _above(z))


def _hazard(x: Expr) -> Expr:
    z = x.abs()
    return x.is_("LT", 0.0).choose(hazard_below(z), _hazard_above(z))


def _bend(x: Expr) -> Expr:
    """h u; below 0 the hazard is divided, as u may be below the normal range."""
    z, above = x.abs(), _hazard_above(x.abs())
    return x.is_("LT", 0.0).choose(hazard_below(z) / (z + 1.0) * scaled_excess(z), above * (x + above))


def _log(x: Expr) -> Expr:
    z = x.abs()
    below = -(z * (z * 0.5)) - hazard_below(z).log() - math.log(2 * math.pi) / 2
    return x.is_("LT", 0.0).choose(below, (-_above(z)).log1p())


_erfcx = scipy_kernel("erfcx")


def _hazard_kernel(x):
    return np.divide(x.dtype.type(math.sqrt(2 / math.pi)), _erfcx(x * x.dtype.type(-math.sqrt(0.5))))


def _bend_kernel(x):
    hazard = _hazard_kernel(x)
    below = x < 0
    z = Host(np.where(below, -x, 0).astype(np.float64))
    return np.where(below, hazard / (z.value + 1) * scaled_excess(z).value, hazard * (x + hazard))


# for large negative x, h u = 1 - 1/x**2 + 6/x**4 - 50/x**6 + ..., by the series of h (DLMF 7.12.1); these are the
# coefficients of
# its derivative 2/x**3 - 24/x**5 + ..., which has accurate derivatives too
_SLOPES = (2, 24, 300, 4144, 63540, 1077384, 20094620, 410014560, 9104132196)


def _bend_slope(x: Array, bend: Array) -> Array:
    far = c.lt(x, scalar(x, -30 if x.aval.dtype.itemsize == 8 else -10))
    one = scalar(x, 1)
    inverse = div(one, c.select(far, x, neg(one)))
    w = square(inverse)
    series = scalar(x, _SLOPES[-1])
    for coefficient in _SLOPES[-2::-1]:
        series = sub(scalar(x, coefficient), mul(w, series))
    hazard = _hazard_p.bind(x)
    return c.select(far, mul(mul(inverse, w), series), sub(mul(hazard, sub(one, bend)), mul(bend, add(x, hazard))))


_bend_p = unary("normal_bend", _bend_kernel, written(_bend), lambda t, x, y: mul(t, _bend_slope(x, y)), FLOAT)
_hazard_p = unary(
    "normal_hazard", _hazard_kernel, written(_hazard), lambda t, x, y: neg(mul(t, _bend_p.bind(x))), FLOAT
)
log_ndtr_p = unary(
    "log_ndtr", scipy_kernel("log_ndtr"), written(_log), lambda t, x, y: mul(t, _hazard_p.bind(x)), FLOAT
)
