"""Dawson's integral F(x) = exp(-x**2) times the integral of exp(t**2) from 0 to x (DLMF 7.2.5), and its derivatives.

It is sqrt(pi) / 2 times the imaginary part of the Faddeeva function on the real axis, a trapezoidal sum of which, with
the contribution of the pole at x, converges exponentially: Al Azah and Chandler-Wilde, SIAM J. Numer. Anal. 59 (2021).
"""

from __future__ import annotations

import math

from pullback._core.primitive import Primitive
from pullback._ops.elementwise import mul
from pullback._ops.expressions import Expr, kernel, polynomial, written
from pullback._ops.families import FLOAT, unary

_STEP = 0.5


def _value(size: Expr) -> Expr:
    """F(x) for x >= 0."""
    small, huge = size.is_("LT", 0.5), size.is_("GT", 1e9 if size.double else 1e5)
    near = small.choose(size, 0.0)
    # DLMF 7.6.3
    count = 14 if size.double else 8
    terms = [(-2.0) ** k / math.prod(range(1, 2 * k + 2, 2)) for k in range(count)]
    series = near * polynomial(near * near, terms)
    x = (small | huge).choose(1.0, size)
    # the abscissas are whole or half-integral multiples of the step, whichever are farther away
    turns = x * (1 / _STEP)
    rest = turns - turns.round()
    halves = rest.abs().is_("LT", 0.25)
    square = x * x
    total = halves.choose(0.0, 0.5 / square)
    for k in range(1, 14 if size.double else 10):
        low, high = ((k - 0.5) * _STEP) ** 2, (k * _STEP) ** 2
        total = total + halves.choose(math.exp(-low), size.lifted(math.exp(-high))) / (
            square - halves.choose(low, size.lifted(high))
        )
    angle = rest * math.pi
    slope = halves.choose(angle.sin(), -angle.cos()) / halves.choose(angle.cos(), angle.sin())
    value = ((-square).exp() * slope + x * total * (2 * _STEP / math.pi)) * (math.sqrt(math.pi) / 2)
    safe = size.is_("EQ", 0.0).choose(1.0, size)
    return small.choose(series, huge.choose(0.5 / safe, value))


def _dawson(x: Expr, order: int = 0) -> Expr:
    size = x.abs()
    value = _value(size)
    if order:
        # by F' = 1 - 2 x F and what follows of it; beyond, where that cancels, by the asymptotic series DLMF 7.12.1
        before, value = value, 1.0 - size * value * 2.0
        for n in range(1, order):
            before, value = value, (size * value + before * float(n)) * -2.0
        cut, count = (6.5, 32) if x.double else (4.3, 16)
        far = size.is_("GT", cut)
        inverse = 1.0 / far.choose(size, cut)
        sign = -1 if order % 2 else 1
        terms = [
            sign * math.prod(range(1, 2 * k, 2)) / 2.0 ** (k + 1) * math.prod(2 * k + 1 + j for j in range(order))
            for k in range(count)
        ]
        tail = inverse * polynomial(inverse * inverse, terms)
        for _ in range(order):
            tail = tail * inverse
        value = far.choose(tail, value)
    return x.is_("LT", 0.0).choose(-value, value) if order % 2 == 0 else value


dawson_p: Primitive = unary(
    "dawson",
    kernel(_dawson),
    written(_dawson),
    lambda t, x, y, order=0: mul(t, dawson_p.bind(x, order=order + 1)),
    FLOAT,
)
