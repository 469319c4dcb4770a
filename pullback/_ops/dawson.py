"""Dawson's integral F(x) = exp(-x**2) times the integral of exp(t**2) from 0 to x (DLMF 7.2.5), and its derivatives.

It is sqrt(pi) / 2 times the imaginary part of the Faddeeva function on the real axis, of which a trapezoidal sum, with
the contribution of the pole at x, converges exponentially: Al Azah and Chandler-Wilde, SIAM J. Numer. Anal. 59 (2021).
So do those of its derivatives (`derivative_weight`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pullback._core.primitive import Primitive
from pullback._ops.elementwise import mul
from pullback._ops.expressions import Expr, kernel, polynomial, written
from pullback._ops.families import FLOAT, unary

# the sums of the first orders are exact to 2**-53 with it, and all orders share their denominators; its multiples are
# exact
STEP = 7 / 16


def hermite(order: int, x: float) -> float:
    """Hermite's polynomial H_n (DLMF 18.9.13)."""
    before, value = 0.0, 1.0
    for n in range(order):
        before, value = value, 2 * x * value - 2 * n * before
    return value


def derivative_weight(order: int, t: float) -> float:
    """The weight of exp(-t**2) in the derivative of order n of the Faddeeva function, t**n H_n(t).

    By parts, w'(z) is i / pi times the integral over all t of the derivative of exp(-t**2) divided by z - t, and so on:
    Rodrigues' formula, DLMF 18.5.5. The two halves together have 2 z / (z**2 - t**2) or 2 t / (z**2 - t**2); since
    H_n is orthogonal to lower powers, this can be replaced by 2 z**(1 - n) t**n / (z**2 - t**2), whose integral does
    not cancel where z is large.
    """
    return t**order * hermite(order, t)


def terms(order: int, double: bool) -> Iterator[tuple[float, float, float, float]]:
    """Abscissas, half-integral and whole, and what their terms are multiplied by, as far as that matters."""
    bound = 2.0 ** (-58 if double else -29) * math.factorial(order)
    k, last = 1, math.inf
    while k * STEP < 2 or last > bound:
        t, s = (k - 0.5) * STEP, k * STEP
        low, high = (math.exp(-v * v) * derivative_weight(order, v) for v in (t, s))
        yield t, s, low, high
        k, last = k + 1, abs(low)


def _series(x: Expr, order: int) -> Expr:
    """For 0 <= x < 1/2, by DLMF 7.6.3 and what follows of F' = 1 - 2 x F."""
    count = 14 if x.double else 8
    coefficients = [(-2.0) ** k / math.prod(range(1, 2 * k + 2, 2)) for k in range(count)]
    value = x * polynomial(x * x, coefficients)
    if order:
        before, value = value, 1.0 - x * value * 2.0
        for n in range(1, order):
            before, value = value, (x * value + before * float(n)) * -2.0
    return value


def _sum(x: Expr, order: int) -> Expr:
    # the abscissas are whole or half-integral multiples of the step, whichever are farther away
    rest = (x - (x * (1 / STEP)).round() * STEP) * (1 / STEP)
    halves = rest.abs().is_("LT", 0.25)
    square = x * x
    total = x * 0.0 if order else halves.choose(0.0, 0.5 / square)
    for t, s, low, high in terms(order, x.double):
        inverse = 1.0 / (square - halves.choose(t * t, x.lifted(s * s)))
        total = total + halves.choose(low, x.lifted(high)) * inverse
    angle = rest * math.pi
    slope = halves.choose(angle.sin(), -angle.cos()) / halves.choose(angle.cos(), angle.sin())
    near = x.minimum(30.0)  # beyond, the exponential is 0
    before, factor = None, (-square).exp()
    for n in range(order):
        following = near * factor * 2.0
        before, factor = factor, following if before is None else following - before * float(2 * n)
    total = total * x if order == 0 else total
    for _ in range(order - 1):
        total = total / x
    sign = -1 if order % 2 else 1
    return factor * slope * (sign * math.sqrt(math.pi) / 2) + total * (sign * STEP / math.sqrt(math.pi))


def _dawson(x: Expr, order: int = 0) -> Expr:
    size = x.abs()
    small, huge = size.is_("LT", 0.5), size.is_("GT", 1e9 if size.double else 1e5)
    # far out it is 1 / (2 x), DLMF 7.12.1
    inverse = 1.0 / huge.choose(size, 1.0)
    tail = inverse * ((-1) ** order * math.factorial(order) / 2)
    for _ in range(order):
        tail = tail * inverse
    value = huge.choose(tail, _sum((small | huge).choose(1.0, size), order))
    value = small.choose(_series(small.choose(size, 0.0), order), value)
    return x.is_("LT", 0.0).choose(-value, value) if order % 2 == 0 else value


dawson_p: Primitive = unary(
    "dawson",
    kernel(_dawson),
    written(_dawson),
    lambda t, x, y, order=0: mul(t, dawson_p.bind(x, order=order + 1)),
    FLOAT,
)
