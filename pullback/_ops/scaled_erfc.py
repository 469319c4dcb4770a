"""exp(x**2) erfc(x) (DLMF 7.2.2) and its derivatives.

By y' = 2 x y - 2 / sqrt(pi), from which follow y'' = 2 x y' + 2 y and so on. For negative x all terms have one sign.
For positive ones they cancel: there the first is the quotient of the excess and the hazard of the normal distribution,
as y = sqrt(2 / pi) / h(-sqrt(2) x), and the second a polynomial, from which those of higher order follow.
"""

from __future__ import annotations

import math

import numpy as np

from pullback._core.primitive import Primitive
from pullback._ops.elementwise import mul
from pullback._ops.expressions import Expr, kernel, polynomial, written
from pullback._ops.families import FLOAT, scipy_kernel, unary
from pullback._ops.normal_tail import hazard_below, scaled_excess

_SLOPE = 2 / math.sqrt(math.pi)

# (1 + x)**3 y''(x) for x >= 0 in powers of (x - 3.5) / (x + 3.5): its Chebyshev series, computed with 60 digits in
# mpmath
_SINGLE = (
    1.94299153,
    -1.16323016,
    0.170915025,
    0.568479705,
    -0.657826378,
    0.308166244,
    0.0395226373,
    -0.152364457,
    0.0891665003,
    -0.00526846662,
    -0.0216543286,
    0.0097427102,
    0.000980801939,
    -0.00133600348,
    9.38010393e-5,
)
_DOUBLE = (
    1.9429915243350523,
    -1.1632303688959255,
    0.17091523920162833,
    0.56848754805742052,
    -0.65783098015459224,
    0.30808005515165595,
    0.039560546522806356,
    -0.15194376691772396,
    0.089011313251635109,
    -0.0063362247393029055,
    -0.021302053173067947,
    0.011232237731600142,
    0.00051920733483333421,
    -0.0024639907588798714,
    0.00044062274476268196,
    0.00042800933380581976,
    -0.00014373111378398841,
    -7.6738107648639599e-5,
    3.3781533448189815e-5,
    1.5751880566313289e-5,
    -6.9850422852959261e-6,
    -3.5997385343836703e-6,
    1.2596373359133879e-6,
    7.939673993857823e-7,
    -1.751012683744813e-7,
    -1.3591101616506047e-7,
    1.3571251900704181e-8,
    1.2494339561594703e-8,
)


def _second(x: Expr) -> Expr:
    inverse = 1.0 / (x + 1.0)
    value = polynomial(1.0 - 7.0 / (x + 3.5), _DOUBLE if x.double else _SINGLE)
    return value * inverse * inverse * inverse


def _ratio(x: Expr, start: int, order: int) -> Expr:
    """The derivative of one order over that of another, for x > 0, where forwards the recurrence cancels.

    The ratio r_n of the orders n and n - 1 is -2 n / (2 x - r_(n + 1)): from one far up, by the first terms of its
    expansion in powers of 1 / sqrt(x**2 + 2 n), backwards.
    """
    last = order + (64 if x.double else 20)
    root = (x * x + 2.0 * last).sqrt()
    ratio = (x - root) * (1.0 - 0.5 / (root * root))
    product = x.lifted(1.0)
    for n in range(last - 1, start, -1):
        ratio = -2.0 * n / (x * 2.0 - ratio)
        if n <= order:
            product = product * ratio
    return product


def _recurrence(x: Expr, before: Expr, value: Expr, start: int, order: int) -> Expr:
    """From the derivatives of the orders `start` - 1 and `start`."""
    for n in range(start, order):
        before, value = value, (x * value + before * float(n)) * 2.0
    return value


def _below(x: Expr, order: int) -> Expr:
    """For x <= 0."""
    above = math.sqrt(2 / math.pi) / hazard_below(x * -math.sqrt(2))
    value = (x * x).exp() * 2.0 - above
    return _recurrence(x, value, x * value * 2.0 - _SLOPE, 1, order) if order else value


def _above(x: Expr, order: int) -> Expr:
    """For x >= 0."""
    z = x * math.sqrt(2)
    hazard = hazard_below(z)
    if order == 0:
        return math.sqrt(2 / math.pi) / hazard
    first = scaled_excess(z) / (z + 1.0) / hazard * -_SLOPE
    if order == 1:
        return first
    if order == 2:
        return _second(x)
    second = _second(x)
    far = x.is_("GT", 1.2)
    by_ratio = second * _ratio(far.choose(x.minimum(1e10), 2.0), 2, order)
    return far.choose(by_ratio, _recurrence(x, first, second, 2, order))


def _scaled_erfc(x: Expr, order: int = 0) -> Expr:
    negative = x.is_("LT", 0.0)
    return negative.choose(_below(negative.choose(x, 0.0), order), _above(negative.choose(0.0, x), order))


_scipy = scipy_kernel("erfcx")
_formula = kernel(_scaled_erfc)


def _kernel(x: np.ndarray, order: int = 0) -> np.ndarray:
    return _formula(x, order=order) if order else _scipy(x)


erfcx_p: Primitive = unary(
    "erfcx",
    _kernel,
    written(_scaled_erfc),
    lambda t, x, y, order=0: mul(t, erfcx_p.bind(x, order=order + 1)),
    FLOAT,
)
