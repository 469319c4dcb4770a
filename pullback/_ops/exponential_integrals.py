"""Exponential, sine and cosine integrals, and their generalization of whole order.

Beyond a small argument they are averages with the weight exp(-t) over t > 0 (DLMF 6.2.2, 6.7.13, 6.7.14):

    exp(x) E1(x) = <1 / (x + t)>,  f(x) = <x / (x**2 + t**2)>,  g(x) = <t / (x**2 + t**2)>

with Si = pi/2 - f cos - g sin and Ci = f sin - g cos. An average is the trapezoidal sum in s of t = exp(s - exp(-s)),
which converges exponentially; all its terms are positive. Below it are the power series.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from pullback._core.array import Array
from pullback._ops import compare as c
from pullback._ops.elementwise import add, div, exp, mul, neg, scalar, sub
from pullback._ops.expressions import Expr, continued_fraction, iterate, kernel, polynomial, written
from pullback._ops.families import FLOAT, nary, unary
from pullback._ops.gamma_formulas import log_derivative as digamma
from pullback._ops.gamma_formulas import log_gamma
from pullback._ops.rules import no_derivative
from pullback._ops.trig import cos, sin

_EULER = 0.5772156649015329


@functools.cache
def _average(double: bool) -> list[tuple[float, float]]:
    """Abscissas and weights: 36 suffice for 1e-16 from x = 3 on (E1: from 1 on), 16 for 1e-8."""
    step, most = (0.2, 3.8) if double else (0.4, 3.2)
    s = np.arange(math.floor(-3.4 / step), most / step) * step
    t = np.exp(s - np.exp(-s))
    weights = step * t * (1 + np.exp(-s)) * np.exp(-t)
    return [(a, w) for a, w in zip(t.tolist(), weights.tolist(), strict=True) if w > (1e-19 if double else 1e-11)]


def _scaled_e1(x: Expr) -> Expr:
    """exp(x) E1(x) for x >= 1."""
    total = x.lifted(0.0)
    for t, weight in _average(x.double):
        total = total + weight / (x + t)
    return total


def _auxiliary(x: Expr) -> tuple[Expr, Expr]:
    """f and g for x >= 3."""
    square = x * x
    huge = x.is_("GT", 1e18)
    square = huge.choose(1.0, square)
    f, g = x.lifted(0.0), x.lifted(0.0)
    for t, weight in _average(x.double):
        part = weight / (square + t * t)
        f, g = f + part, g + part * t
    inverse = 1.0 / x
    return huge.choose(inverse, f * x), huge.choose(inverse * inverse, g)


def _e1(x: Expr) -> Expr:
    small = x.is_("LE", 1.0)
    near, far = small.choose(x, 1.0), small.choose(1.0, x)
    count = 19 if x.double else 11
    series = polynomial(near, [(-1) ** k / ((k + 1) * math.factorial(k + 1)) for k in range(count)])
    value = small.choose(near * series - near.log() - _EULER, (-far).exp() * _scaled_e1(far))
    return x.is_("LT", 0.0).choose(np.nan, value)


def _ei_series(x: Expr) -> Expr:
    """The sum of x**k / (k k!) for k > 0 and x > 0."""
    eps = 2.0**-54 if x.double else 2.0**-25

    def step(n: Expr, total: Expr, term: Expr, more: Expr) -> list[Expr]:
        term = term * x / n
        more = term / n
        return [total + more, term, more]

    start = [x * 0.0, x * 0.0 + 1.0, x * 0.0 + 1.0]
    return iterate(start, step, lambda total, term, more: more.is_("GT", total * eps))[0]


def _ei(x: Expr) -> Expr:
    cut, count = (40.0, 41) if x.double else (20.0, 21)
    size = x.abs()
    large = size.is_("GT", cut)
    near, far = large.choose(1.0, size), large.choose(size, cut)
    # the asymptotic series DLMF 6.12.2, whose terms fall until k = x
    inverse = 1.0 / far
    asymptotic = polynomial(inverse, [float(math.factorial(k)) for k in range(count if x.double else 20)])
    root = (far * 0.5).exp()
    positive = large.choose(root * (root * (asymptotic * inverse)), near.log() + _EULER + _ei_series(near))
    positive = x.is_("EQ", np.inf).choose(np.inf, positive)
    return x.is_("LT", 0.0).choose(-_e1(size), positive)


def _en(n: Expr, x: Expr) -> Expr:
    good = n.is_("GE", 1.0) & x.is_("GE", 0.0) & n.is_("EQ", n.floor())
    order, at = good.choose(n, 1.0), good.choose(x, 1.0)
    small = at.is_("LE", 1.0)
    near, far = small.choose(at, 1.0), small.choose(1.0, at)
    fraction = continued_fraction(
        far, far + order, lambda k, p, z: [(-(k * (p + k - 1.0)), z + p + k * 2.0)], order, far
    )
    # DLMF 8.19.8; of the term k = n - 1 the logarithm and digamma stand in front
    total, power = near * 0.0, near * 0.0 + 1.0
    for k in range(19 if x.double else 12):
        below = order - (k + 1.0)
        total = total + below.is_("EQ", 0.0).choose(0.0, power / below.is_("EQ", 0.0).choose(1.0, below))
        power = power * near * (-1.0 / (k + 1))
    safe = near.is_("EQ", 0.0).choose(1.0, near)
    special = ((order - 1.0) * safe.log() - log_gamma(order)).exp() * (digamma(order) - safe.log())
    odd = ((order - 1.0) - ((order - 1.0) * 0.5).floor() * 2.0).is_("EQ", 1.0)
    series = total + odd.choose(-special, special)
    # at 0 the order 1 alone is infinite
    at_zero = order.is_("EQ", 1.0).choose(np.inf, 1.0 / order.is_("EQ", 1.0).choose(2.0, order - 1.0))
    series = near.is_("EQ", 0.0).choose(at_zero, series)
    value = small.choose(series, (-far).exp() * fraction)
    none = n.is_("EQ", 0.0) & x.is_("GE", 0.0)
    value = none.choose((-x).exp() / x, good.choose(value, np.nan))
    return (x.is_("EQ", np.inf) & (good | none)).choose(0.0, value)


def _small_si(x: Expr) -> Expr:
    count = 14 if x.double else 8
    return x * polynomial(x * x, [(-1) ** k / ((2 * k + 1) * math.factorial(2 * k + 1)) for k in range(count)])


def _si(x: Expr) -> Expr:
    size = x.abs()
    small = size.is_("LT", 3.0)
    near, far = small.choose(size, 0.0), small.choose(3.0, size)
    f, g = _auxiliary(far)
    infinite = far.is_("EQ", np.inf)
    turn = infinite.choose(0.0, far)
    value = small.choose(_small_si(near), math.pi / 2 - (f * turn.cos() + g * turn.sin()))
    return x.is_("LT", 0.0).choose(-value, x.is_("EQ", x).choose(value, x))


def _ci(x: Expr) -> Expr:
    size = x.abs()
    small = size.is_("LT", 3.0)
    near, far = small.choose(size, 1.0), small.choose(3.0, size)
    count = 14 if x.double else 8
    square = near * near
    series = square * polynomial(square, [(-1) ** k / (2 * k * math.factorial(2 * k)) for k in range(1, count)])
    f, g = _auxiliary(far)
    turn = far.is_("EQ", np.inf).choose(0.0, far)
    value = small.choose(near.log() + _EULER + series, f * turn.sin() - g * turn.cos())
    value = x.is_("EQ", -np.inf).choose(np.nan, value)
    return x.is_("EQ", x).choose(value, x)


def _one_order_less(n: Array, x: Array) -> Array:
    """The integral of order n - 1, also for n = 0."""
    none = c.eq(n, scalar(n, 0))
    inverse = div(scalar(x, 1), c.select(none, x, scalar(x, 1)))
    least = mul(exp(neg(x)), add(inverse, mul(inverse, inverse)))
    less = c.select(none, scalar(n, 0), sub(n, scalar(n, 1)))
    return c.select(none, least, expn_p.bind(less, x))


def _grown(x: Expr) -> Expr:
    """exp(x) / x, in range as long as the quotient is."""
    root = (x * 0.5).exp()
    return root * (root / x)


def _grown_slope(x: Array, y: Array) -> Array:
    """As a product: a difference of exp(x) / x and exp(x) / x**2 would leave the range before it does."""
    return mul(y, sub(scalar(x, 1), div(scalar(x, 1), x)))


def _sine_quotient(x: Array) -> Array:
    """sin(x) / x, by its series near 0, where the quotient has no derivatives."""
    near = c.lt(mul(x, x), scalar(x, 0.09))
    square = c.select(near, mul(x, x), scalar(x, 0))
    series = scalar(x, 1)
    for k in (6, 5, 4, 3, 2, 1):
        series = sub(scalar(x, 1), mul(mul(square, scalar(x, 1 / (2 * k * (2 * k + 1)))), series))
    away = c.select(near, scalar(x, 1), x)
    return c.select(near, series, div(sin(away), away))


_grown_p = unary("exp_quotient", kernel(_grown), written(_grown), lambda t, x, y: mul(t, _grown_slope(x, y)), FLOAT)
exp1_p = unary("exp1", kernel(_e1), written(_e1), lambda t, x, y: mul(t, _grown_p.bind(neg(x))), FLOAT)
expi_p = unary("expi", kernel(_ei), written(_ei), lambda t, x, y: mul(t, _grown_p.bind(x)), FLOAT)
expn_p = nary(
    "expn",
    kernel(_en),
    written(_en),
    no_derivative("expn", "its order"),
    lambda t, y, n, x: neg(mul(t, _one_order_less(n, x))),
    add=add,
    accepts=FLOAT,
)
si_p = unary("sine_integral", kernel(_si), written(_si), lambda t, x, y: mul(t, _sine_quotient(x)), FLOAT)
ci_p = unary("cosine_integral", kernel(_ci), written(_ci), lambda t, x, y: mul(t, div(cos(x), x)), FLOAT)
