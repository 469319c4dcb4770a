"""Gauss's hypergeometric function F(a, b; c; x) for real x <= 1 (DLMF 15.2.1).

For negative x by that of x / (x - 1) (15.8.1), up to 0.9 by the power series, beyond it in powers of the distance w
from 1: by 15.8.4, or where c - a - b is a whole number by 15.8.10, which has logarithms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._ops.elementwise import add, div, mul, scalar
from pullback._ops.expressions import Expr, iterate, kernel, written
from pullback._ops.families import FLOAT, nary
from pullback._ops.gamma_formulas import gamma_function, log_derivative
from pullback._ops.rules import no_derivative


def _whole_below(a: Expr) -> Expr:
    """True at 0, -1, -2, ..."""
    return a.is_("LE", 0.0) & a.is_("EQ", a.floor())


def _reciprocal_gamma(x: Expr) -> Expr:
    pole = _whole_below(x)
    return pole.choose(0.0, 1.0 / gamma_function(pole.choose(1.0, x)))


def _loop(step: Callable, *state: Expr) -> list[Expr]:
    """`step(n, *state)` for n = 0, 1, ... until the last in the state, a term, is small against the first, the sum.

    The first step is taken in any case.
    """
    eps = 2.0**-54 if state[0].double else 2.0**-25

    def unfinished(total: Expr, *rest: Expr) -> Expr:
        return ~rest[-1].abs().is_("LE", total.abs() * eps) & total.abs().is_("LT", np.inf)

    start = step(state[0] * 0.0, *state)
    return iterate(start, step, unfinished, limit=5000)


def _series(a: Expr, b: Expr, c: Expr, z: Expr) -> Expr:
    """The power series."""

    def step(n: Expr, total: Expr, a: Expr, b: Expr, c: Expr, z: Expr, term: Expr) -> list[Expr]:
        term = term * ((a + n) * (b + n) / ((c + n) * (n + 1.0)) * z)
        return [total + term, a, b, c, z, term]

    one = z * 0.0 + 1.0
    return _loop(step, one, a, b, c, z, one)[0]


def _powers_and_roots(a: Expr, b: Expr, c: Expr, s: Expr, w: Expr) -> Expr:
    """For s = c - a - b that is not whole."""
    first = gamma_function(s) * _reciprocal_gamma(c - a) * _reciprocal_gamma(c - b) * _series(a, b, 1.0 - s, w)
    second = gamma_function(-s) * _reciprocal_gamma(a) * _reciprocal_gamma(b) * _series(c - a, c - b, s + 1.0, w)
    return gamma_function(c) * (first + w.power(s) * second)


def _powers_and_logarithms(a: Expr, b: Expr, c: Expr, m: Expr, w: Expr) -> Expr:
    """For c = a + b + m with m = 0, 1, 2, ..."""

    def finite(n: Expr, total: Expr, a: Expr, b: Expr, m: Expr, w: Expr, term: Expr) -> list[Expr]:
        # from the term n to the next one: (m - n - 1)! loses a factor
        last = n.is_("GE", m - 1.0)
        factor = (a + n) * (b + n) / ((n + 1.0) * last.choose(1.0, m - 1.0 - n)) * -w
        term = last.choose(0.0, term * factor)
        return [total + term, a, b, m, w, term]

    some = m.is_("GE", 1.0)
    first = some.choose(gamma_function(some.choose(m, 1.0)), 0.0)
    front = _loop(finite, first, a, b, m, w, first)[0]
    front = front * _reciprocal_gamma(a + m) * _reciprocal_gamma(b + m)
    inverse = _reciprocal_gamma(m + 1.0)
    bracket = w.log() - log_derivative(w * 0.0 + 1.0) - log_derivative(m + 1.0)
    bracket = bracket + log_derivative(a + m) + log_derivative(b + m)

    def logarithmic(
        n: Expr, total: Expr, a: Expr, b: Expr, m: Expr, w: Expr, weight: Expr, bracket: Expr, term: Expr
    ) -> list[Expr]:
        p, q = a + m + n, b + m + n
        weight = weight * (p * q / ((n + 1.0) * (m + n + 1.0)) * w)
        bracket = bracket + 1.0 / p + 1.0 / q - 1.0 / (n + 1.0) - 1.0 / (m + n + 1.0)
        term = weight * bracket
        return [total + term, a, b, m, w, weight, bracket, term]

    total = inverse * bracket
    back = _loop(logarithmic, total, a, b, m, w, inverse, bracket, total)[0]
    half = m * 0.5
    sign = half.is_("EQ", half.floor()).choose(-1.0, w * 0.0 + 1.0)
    back = back * sign * w.power(m) * _reciprocal_gamma(a) * _reciprocal_gamma(b)
    return gamma_function(c) * (front + back)


def _hyp2f1(a: Expr, b: Expr, c: Expr, x: Expr) -> Expr:
    # a polynomial by its first parameter
    swap = _whole_below(b) & ~_whole_below(a)
    a, b = swap.choose(b, a), swap.choose(a, b)
    negative, finite = x.is_("LT", 0.0), _whole_below(a)
    inside = x.is_("LE", 1.0) | finite
    x = inside.choose(x, 0.0)
    w = negative.choose(1.0 / (1.0 - negative.choose(x, 0.0)), 1.0 - x)
    z = negative.choose(-x * w, x)
    b = negative.choose(c - b, b)
    s = c - a - b
    largest = a.abs().maximum(b.abs()).maximum(c.abs())
    near_one = z.is_("GT", 0.9) & ~finite & ~_whole_below(b) & largest.is_("LT", 50.0 if x.double else 15.0)
    by_series = _series(a, b, c, near_one.choose(0.0, z))
    # of a negative s by Euler's transformation (15.8.1), so that s >= -1/2
    turn = s.is_("LT", -0.5)
    p, q, t = turn.choose(c - a, a), turn.choose(c - b, b), s.abs()
    t = turn.choose(t, s)
    whole = t.round()
    even = (t - whole).abs().is_("LE", 1e-13 if x.double else 2e-6)
    at_one = w.is_("EQ", 0.0)
    distance = (near_one & ~at_one).choose(w, 0.05)
    use = near_one & ~at_one
    rooted, logged = use & ~even, use & even
    by_roots = _powers_and_roots(
        rooted.choose(p, 0.3), rooted.choose(q, 0.4), rooted.choose(c, 1.2), rooted.choose(t, 0.5), distance
    )
    by_logarithms = _powers_and_logarithms(
        logged.choose(p, 0.3), logged.choose(q, 0.4), logged.choose(c, 1.7), logged.choose(whole, 1.0), distance
    )
    beyond = even.choose(by_logarithms, by_roots) * turn.choose(distance.power(turn.choose(s, 0.0)), 1.0)
    # Gauss's sum 15.4.20
    sum_exists = s.is_("GT", 0.0)
    total = gamma_function(sum_exists.choose(c, 1.0)) * gamma_function(sum_exists.choose(s, 1.0))
    total = total * _reciprocal_gamma(c - a) * _reciprocal_gamma(c - b)
    beyond = at_one.choose(sum_exists.choose(total, np.inf), beyond)
    value = near_one.choose(beyond, by_series)
    value = value * negative.choose(w.power(a), 1.0)
    return inside.choose(value, np.nan)


hyp2f1_p: Primitive = nary(
    "hyp2f1",
    kernel(_hyp2f1),
    written(_hyp2f1),
    *(no_derivative("hyp2f1", f"the parameter {name}") for name in "abc"),
    lambda t, y, a, b, c, x: mul(t, _by_x(a, b, c, x)),
    add=add,
    accepts=FLOAT,
)


def _by_x(a: Array, b: Array, c: Array, x: Array) -> Array:
    one = scalar(x, 1)
    return mul(div(mul(a, b), c), hyp2f1_p.bind(add(a, one), add(b, one), add(c, one), x))
