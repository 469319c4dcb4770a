"""Kummer's confluent hypergeometric function M(a, b, x) (DLMF 13.2.2), differentiable in all three.

For negative x by exp(x) M(b - a, b, -x) (13.2.39), for positive x by the power series, far out by the asymptotic one
(13.7.1). The derivatives by the parameters are those of the terms. For large parameters of opposite signs the terms
cancel; where no digit is left the result is nan.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._ops.elementwise import add, div, mul, neg, scalar
from pullback._ops.expressions import Expr, iterate, kernel, written
from pullback._ops.families import FLOAT, nary
from pullback._ops.gamma_formulas import gamma_function, log_derivative, log_gamma
from pullback._ops.rules import no_derivative


def _whole_below(a: Expr) -> Expr:
    """True at 0, -1, -2, ..."""
    return a.is_("LE", 0.0) & a.is_("EQ", a.floor())


def _sums(factor: Callable, slopes: bool, *parameters: Expr) -> list[Expr]:
    """The sum of products of factors, and its derivatives by two parameters.

    `factor(n, *parameters)` is the factor from one term to the next and its two derivatives, for n = 1, 2, ...
    """
    first = parameters[0]
    eps = 2.0**-54 if first.double else 2.0**-25
    zero, one = first * 0.0, first * 0.0 + 1.0
    count = len(parameters)

    def small(term: Expr, total: Expr) -> Expr:
        return term.abs().is_("LE", total.abs() * eps)

    def step(n: Expr, *state: Expr) -> list[Expr]:
        carried, (total, term, *rest) = state[:count], state[count:]
        r, by_a, by_b = factor(n, *carried)
        if not slopes:
            term = term * r
            biggest, slope = rest
            return [*carried, total + term, term, biggest.maximum(term.abs()), slope + n * term]
        total_a, term_a, total_b, term_b = rest
        term_a, term_b, term = term_a * r + term * by_a, term_b * r + term * by_b, term * r
        return [*carried, total + term, term, total_a + term_a, term_a, total_b + term_b, term_b]

    def unfinished(*state: Expr) -> Expr:
        total, term, *rest = state[count:]
        done = small(term, total)
        if slopes:
            done = done & small(rest[1], rest[0]) & small(rest[3], rest[2])
        return ~done & total.abs().is_("LT", np.inf)

    # the first step is taken in any case: sums of derivatives that are 0 would look finished
    state = step(one, *parameters, one, one, *([zero] * 4 if slopes else [one, zero]))
    state = iterate(state, lambda n, *rest: step(n + 1.0, *rest), unfinished)[count:]
    if slopes:
        return [state[0], state[2], state[4]]
    # where the terms cancel, no digit is left; but next to a zero, where y times the slope does not vanish, few matter
    total, _, biggest, slope = state
    return [total.abs().maximum(slope.abs()).is_("LT", biggest * (64 * eps)).choose(np.nan, total)]


def _power(n: Expr, a: Expr, b: Expr, y: Expr) -> tuple[Expr, Expr, Expr]:
    """The factor between terms of the power series."""
    top, bottom = a + (n - 1.0), b + (n - 1.0)
    over = y / (bottom * n)
    r = top * over
    return r, over, -(r / bottom)


def _inverse(n: Expr, p: Expr, q: Expr, y: Expr) -> tuple[Expr, Expr, Expr]:
    """The factor between terms of the asymptotic series, of p = b - a and q = 1 - a."""
    left, right = p + (n - 1.0), q + (n - 1.0)
    # it diverges, while other elements may still need terms: it ends with the smallest
    grows = n.is_("GT", 31.0) & (left * right).abs().is_("GE", n * y)
    over = grows.choose(0.0, 1.0 / (n * y))
    return left * right * over, -((left + right) * over), right * over


def _for_positive(a: Expr, b: Expr, y: Expr, slopes: bool) -> tuple[list[Expr], list[Expr], Expr]:
    """The results by both series for y >= 0, the asymptotic ones without a factor, and where these are to be taken."""
    p, q = b - a, 1.0 - a
    limit = (p.abs() + 30.0) * (q.abs() + 30.0) * (1.5 / 31)
    far = y.is_("GT", limit) & ~_whole_below(a)
    series = _sums(_power, slopes, a, b, far.choose(0.0, y))
    tail = _sums(_inverse, slopes, far.choose(p, 0.0), far.choose(q, 0.0), far.choose(y, 1e4))
    return series, tail, far


def _kummer_m(a: Expr, b: Expr, x: Expr, of: str = "") -> Expr:
    negative = x.is_("LT", 0.0)
    y, order = x.abs(), negative.choose(b - a, a)
    series, tail, far = _for_positive(order, b, y, bool(of))
    # gamma(b) / gamma(a) y**(a - b), by logarithms where a factor leaves the range
    large = 30.0 if x.double else 12.0
    inside = far & order.abs().is_("LT", large) & b.abs().is_("LT", large)
    outside = far & ~inside
    at, size = far.choose(order, 1.0), far.choose(y, 1.0)
    below = far.choose(b, 1.0)
    front = (
        gamma_function(inside.choose(below, 1.0))
        / gamma_function(inside.choose(at, 1.0))
        * size.power(inside.choose(at - below, 0.0))
    )
    logs = log_gamma(outside.choose(below, 1.0)) - log_gamma(outside.choose(at, 1.0)) + (at - below) * size.log()
    # the signs of the gamma functions are those of the reciprocals at moderate arguments
    sign = _gamma_sign(below) * _gamma_sign(at)
    front = outside.choose(sign * outside.choose(logs, 0.0).exp(), front)
    root = (negative.choose(0.0, x) * 0.5).exp()

    def scaled(by_series: Expr, by_tail: Expr) -> Expr:
        """Times exp(x), or exp(-y) of what has exp(y) already."""
        near = negative.choose((negative & ~far).choose(x, 0.0).exp() * by_series, by_series)
        return far.choose(root * (root * (front * by_tail)), near)

    if not of:
        value = scaled(series[0], tail[0])
        return x.is_("EQ", x).choose(value, x)
    log = size.log()
    by_order = scaled(series[1], tail[1] + tail[0] * (log - log_derivative(at)))
    by_b = scaled(series[2], tail[2] + tail[0] * (log_derivative(below) - log))
    if of == "a":
        return negative.choose(-by_order, by_order)
    return negative.choose(by_order + by_b, by_b)


def _gamma_sign(a: Expr) -> Expr:
    whole = a.floor()
    odd = (whole - (whole * 0.5).floor() * 2.0).is_("EQ", 1.0)
    return (a.is_("LT", 0.0) & odd).choose(-1.0, a * 0.0 + 1.0)


def _raised(a: Array, b: Array, x: Array) -> tuple[Array, Array, Array]:
    return add(a, scalar(a, 1)), add(b, scalar(b, 1)), x


def _by_x(a: Array, b: Array, x: Array, of: str = "") -> Array:
    """The derivative by x, a / b M(a + 1, b + 1, x), or that of it by a parameter."""
    ratio = div(a, b)
    slope = mul(ratio, hyp1f1_p.bind(*_raised(a, b, x), of=of))
    if not of:
        return slope
    value = hyp1f1_p.bind(*_raised(a, b, x), of="")
    own = div(value, b) if of == "a" else neg(mul(div(ratio, b), value))
    return add(own, slope)


def _by_parameter(of_which: str):
    refuse = no_derivative("hyp1f1 once differentiated by a parameter", "a parameter again")

    def rule(t: Array, y: Array, a: Array, b: Array, x: Array, of: str = "") -> Array:
        if of:
            return refuse(t, y, a, b, x)
        return mul(t, hyp1f1_p.bind(a, b, x, of=of_which))

    return rule


hyp1f1_p: Primitive = nary(
    "hyp1f1",
    kernel(_kummer_m),
    written(_kummer_m),
    _by_parameter("a"),
    _by_parameter("b"),
    lambda t, y, a, b, x, of="": mul(t, _by_x(a, b, x, of)),
    add=add,
    accepts=FLOAT,
)
