"""The incomplete gamma functions and their derivatives in the order a, as arithmetic in float64.

With t = x exp(s) in DLMF 8.2.1 and 8.2.2, P(a, x) and Q(a, x) are x^a exp(-x) / gamma(a) times the integrals of

    exp(a s - x (exp(s) - 1))

over s < 0 and s > 0. The smaller of the two, P for x <= a and Q beyond, has a decreasing integrand, which is
integrated by Gauss-Legendre quadrature as far as it matters. The derivatives of the integrals in a are the moments of
s: none cancels. For a < 1 and x <= 1 the power series DLMF 8.7.1 is used.
"""

from __future__ import annotations

import functools
from math import comb, factorial
from typing import Any, NamedTuple

import numpy as np

from pullback._core.typing import AnyValue
from pullback._ops.expressions import Expr, Host, polynomial
from pullback._ops.gamma_formulas import (
    gamma_near,
    gamma_near_parts,
    log_derivative,
    log_gamma_near,
    log_gamma_one,
    log_minus_digamma_far,
    stirling,
)
from pullback._ops.zeta import scaled_zeta

_TINY = 2.2250738585072014e-308  # stands for an order of 0, whose derivatives are limits


class Digits(NamedTuple):
    """The effort for the digits of a dtype: the range of integration, the number of nodes, the terms of series."""

    reach: float
    nodes: int
    exponential: int
    power: int
    steps: int


SINGLE, DOUBLE = Digits(18.0, 13, 9, 11, 2), Digits(42.0, 33, 17, 20, 4)


@functools.cache
def _rule(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1]; they are denser near 0, where the integrand is largest."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    u = (nodes + 1) / 2
    return u * (0.25 + 0.75 * u), weights / 2 * (0.25 + 1.5 * u)


# --- the factors of the integrals: x^a exp(-x) / gamma(a), and log(x) - digamma(a) ---


def _distance(a: Expr, x: Expr) -> tuple[Expr, Expr]:
    """u - log(1 + u) and log(1 + u) for u = (x - a) / a."""
    u, r = (x - a) / a, (x - a) / (x + a)
    near = u.abs().is_("LT", 0.5)
    square = near.choose(r * r, 0.0)
    by_series = r * (u - square * 2.0 * polynomial(square, [1 / (2 * j + 3) for j in range(17)]))
    # the quotient for a tiny x would be below the normal range
    tiny = x.is_("LT", 1e-290)
    log = (near.choose(1.0, tiny.choose(x * 2.0**100, x) / a)).log() - tiny.choose(100 * np.log(2), x.lifted(0.0))
    return near.choose(by_series, u - log), near.choose(u - by_series, log)


def front(a: Expr, x: Expr, digits: Digits, over: int = 0) -> Expr:
    """x^a exp(-x) / gamma(a), or its quotient by x^over, which may be finite where x^a vanishes."""
    far, small = a.is_("GE", 8.0), a.is_("LT", 1.0)
    if digits is SINGLE:
        # one logarithm, of x / a or of x
        phi, log = _distance(far.choose(a, 1.0), x)
        rest, product = gamma_near_parts(far.choose(1.0, a))
        exponent = far.choose(-a * phi - stirling(far.choose(a, 8.0)), a * log - x - rest)
        value = far.choose((a * (0.5 / np.pi)).sqrt(), 1.0 / product) * exponent.exp()
        for _ in range(over):
            value = value / x
        return value
    phi, _ = _distance(a, x)
    some = far.choose(2.0, small.choose(1.0, a))
    factor = far.choose(
        (a * (0.5 / np.pi)).sqrt() * (-stirling(far.choose(a, 8.0))).exp(),
        small.choose(a * (-log_gamma_one(small.choose(a, 0.0))).exp(), 1.0 / gamma_near(some)),
    )
    # half of the power at a time, as the factors may overflow; near a by its logarithm, which is small
    least = x.minimum(4000.0)
    apart = far | small  # in between, a less a whole number is exact
    half = far.choose(x / a, least).power((a - apart.choose(0.0, a.lifted(float(over)))) * 0.5)
    half = half * (far.choose(x - a, least) * -0.5).exp()
    near = far & (x - a).abs().is_("LT", a * 0.5)
    by_logarithm = (-a * near.choose(phi, 0.0)).exp()
    for _ in range(over):
        half, by_logarithm = half / apart.choose(x, 1.0).sqrt(), by_logarithm / x
    value = near.choose(factor * by_logarithm, (factor * half) * half)
    return (far & (a * phi).is_("GT", 1400.0)).choose(0.0, value)


def log_front(a: Expr, x: Expr) -> Expr:
    """The logarithm of `front`."""
    far, small = a.is_("GE", 8.0), a.is_("LT", 1.0)
    by_distance = (a * (0.5 / np.pi)).log() * 0.5 - stirling(far.choose(a, 8.0)) - a * _distance(a, x)[0]
    small, log = log_gamma_near(far.choose(1.0, a))
    return far.choose(by_distance, a * x.log() - x - small - log)


def log_minus_digamma(a: Expr, x: Expr) -> Expr:
    """log(x) - digamma(a)."""
    far = a.is_("GE", 8.0)
    some = far.choose(a, 8.0)
    return far.choose(_distance(some, x)[1] + log_minus_digamma_far(some), x.log() - log_derivative(far.choose(1.0, a)))


def _polygamma(n: int, a: Expr) -> Expr:
    s = a.lifted(n + 1.0)
    half = a.power(a.lifted(-0.5 * (n + 1)))
    return half * scaled_zeta(s, a)[0] * half * float((-1) ** (n + 1) * factorial(n))


def _moments(first: Expr, a: Expr, order: int) -> list[Expr]:
    """The derivatives by a of x^a / gamma(a), divided by it, where `first` is log(x) - digamma(a)."""
    slopes = [first, *[-_polygamma(m, a) for m in range(1, order)]]
    return moments_of(slopes, first.lifted(1.0), order)


def front_moments(a: Expr, x: Expr, order: int) -> list[Expr]:
    """The derivatives by a of `front`, divided by it."""
    # the pole of gamma at 0 is a separate factor, so that its powers do not cancel
    small = a.is_("LT", 1.0)
    some = small.choose(a + 1.0, a)
    factor = [a.lifted(1.0), small.choose(1.0 / a, 0.0), *[a.lifted(0.0)] * order][: order + 1]
    return _leibniz(_moments(log_minus_digamma(some, x), some, order), factor)


def moments_of(slopes: list[Expr], one: AnyValue, order: int) -> list[Expr]:
    """The derivatives of f divided by f, from those of log f: complete Bell polynomials."""
    out = [one]
    for j in range(order):
        total = out[j] * slopes[0]
        for i in range(1, j + 1):
            total = total + out[j - i] * slopes[i] * float(comb(j, i))
        out.append(total)
    return out


def slopes_of(moments: list[Expr]) -> list[Expr]:
    """The derivatives of log f, from those of f divided by f."""
    out: list[Expr] = []
    for j in range(1, len(moments)):
        total = moments[j]
        for i in range(1, j):
            total = total - out[i - 1] * moments[j - i] * float(comb(j - 1, i - 1))
        out.append(total)
    return out


def _leibniz(f: list[Expr], g: list[Expr]) -> list[Expr]:
    out = []
    for n in range(len(f)):
        total = f[0] * g[n]
        for k in range(1, n + 1):
            total = total + f[k] * g[n - k] * float(comb(n, k))
        out.append(total)
    return out


# --- the integrals ---


def _excess(z: Expr, x: Expr, digits: Digits) -> Expr:
    """(exp(z) - 1 - z) x."""
    near = z.abs().is_("LT", 1.0)
    # x first, as z * z may be too small for a normal number
    by_series = (z * x) * z * polynomial(z, [1 / factorial(k + 2) for k in range(digits.exponential)])
    return near.choose(by_series, ((z.exp() - 1.0 if digits is SINGLE else z.expm1()) - z) * x)


def _to(x: Expr, dtype: type) -> Expr:
    """Converted to the dtype if it is compiled."""
    return x if isinstance(x, Host) else Expr(x.ctx, x.ctx.convert(x.value, np.dtype(dtype)))


def integrals(a: Expr, x: Expr, up: Expr, digits: Digits, order: int) -> list[Expr]:
    """The integrals of s^k exp(a s - x (exp(s) - 1)), k = 0, ..., `order`, over s > 0 where `up`, else over s < 0."""
    slope = (x - a).abs()
    # the range: where the exponent equals the reach, by Newton's method from the solution of its second-order expansion
    width = 2.0 * digits.reach / (slope + (slope * slope + x * (2.0 * digits.reach)).sqrt())
    if digits is SINGLE and not order:
        # the error of the exponent is small where its exponential is not
        a, x, slope, width = (_to(v, np.float32) for v in (a, x, slope, width))
    sign = up.choose(1.0, a.lifted(-1.0))
    start = up.choose(((width * a + digits.reach) / x + 1.0).log().minimum(width), width)
    far = start
    for _ in range(digits.steps):
        growth = (sign * far).expm1()
        value = slope * far + x * (growth - sign * far)
        far = far - (value - digits.reach) / (slope + x * sign * growth)
    width = width.is_("LT", 0.1).choose(width, far)

    def terms(node: Any, weight: Any, width: Expr, slope: Expr, x: Expr, sign: Expr) -> list[Expr]:
        s = width * node
        value = (-(slope * s + _excess(sign * s, x, digits))).exp() * weight
        out = [value]
        for _ in range(order):
            out.append(out[-1] * sign * s)
        return out

    nodes, weights = _rule(digits.nodes)
    if isinstance(x, Host):
        wide = [Host(np.asarray(v.value)[..., None]) for v in (width, slope, x, sign)]
        sums: list[Expr] = [Host(t.value.sum(-1)) for t in terms(Host(nodes), Host(weights), *wide)]
    else:
        sums = terms(float(nodes[0]), float(weights[0]), width, slope, x, sign)
        for node, weight in zip(nodes[1:], weights[1:], strict=True):
            sums = [p + q for p, q in zip(sums, terms(float(node), float(weight), width, slope, x, sign), strict=True)]
    return [_to(v * width, np.float64) for v in sums]


# --- the power series ---


def _series(a: Expr, x: Expr, terms: int, order: int) -> list[Expr]:
    """The derivatives by a of the sum of (-x)^n / n! a / (a + n) over n >= 1."""
    if not order:
        # over one denominator
        above, below = a.lifted(0.0), a.lifted(1.0)
        power = a
        for n in range(1, terms + 1):
            power = power * x * (-1.0 / n)
            above, below = above * (a + float(n)) + power * below, below * (a + float(n))
        return [above / below]
    totals = [a.lifted(0.0)] * (order + 1)
    power = a.lifted(1.0)
    for n in range(1, terms + 1):
        power = power * x * (-1.0 / n)
        inverse = 1.0 / (a + float(n))
        part = power * inverse
        totals[0] = totals[0] + part * a
        for k in range(1, order + 1):
            part = part * inverse
            totals[k] = totals[k] + part * float((-1) ** (k + 1) * factorial(k) * n)
    return totals


# --- the functions ---


class Parts(NamedTuple):
    """The parts of the functions: of the smaller of P and Q, or of P by the series."""

    series: Expr  # whether the series is used
    up: Expr  # whether the integral is Q, not P
    before: Expr  # the factor of the integrals
    integrals: list[Expr]
    power: Expr  # x^a / gamma(1 + a), and its logarithm: the factor of the series
    exponent: Expr
    sums: list[Expr]
    ratios: list[Expr]  # the derivatives by a of the smaller one, or by the series, divided by it


def parts(a: Expr, x: Expr, digits: Digits, order: int, log_x: Expr | None = None) -> Parts:
    """The parts for a > 0 and finite x > 0, and for the logarithm of x, in case x itself underflows."""
    series = a.is_("LT", 1.0) & x.is_("LE", 1.0)
    ia, ix = series.choose(1.0, a), series.choose(1.0, x)
    up = ia.is_("LT", 1.0) | ix.is_("GT", ia)
    moments = integrals(ia, ix, up, digits, order)
    sa, sx = series.choose(a, 0.5), series.choose(x, 0.5)
    sums = _series(sa, sx, digits.power, order)
    log_one = log_gamma_one(sa)
    log = sx.log() if log_x is None else series.choose(log_x, -1.0)
    exponent = sa * log - log_one
    power = exponent.exp() if digits is SINGLE else sx.power(sa) * (-log_one).exp()
    ratios: list[Expr] = [a.lifted(1.0)]
    if order:
        relative = [m / moments[0] for m in moments]
        by_integral = _leibniz(front_moments(ia, ix, order), [ia.lifted(1.0), *relative[1:]])
        one = sa + 1.0
        total = sums[0] + 1.0
        by_series = _leibniz(
            _moments(log - log_derivative(one), one, order), [sa.lifted(1.0), *[v / total for v in sums[1:]]]
        )
        ratios = [series.choose(p, q) for p, q in zip(by_series, by_integral, strict=True)]
    return Parts(series, up, front(ia, ix, digits), moments, power, exponent, sums, ratios)


def both(p: Parts) -> tuple[Expr, Expr]:
    """P and Q, each accurate where it is small."""
    smaller = p.before * p.integrals[0]
    below = p.series.choose(p.power * (p.sums[0] + 1.0), p.up.choose(1.0 - smaller, smaller))
    above = p.series.choose(-(p.exponent.expm1()) - p.power * p.sums[0], p.up.choose(smaller, 1.0 - smaller))
    return below, above


def slope(p: Parts, order: int) -> Expr:
    """The derivative of P of this order by a, divided by the smaller of P and Q, or by P if the series is used."""
    return (p.up & ~p.series).choose(-p.ratios[order], p.ratios[order])


def guarded(a: Expr, x: Expr) -> tuple[Expr, Expr, Expr]:
    """A bool for whether a and x are valid, and a and x with invalid values replaced by harmless ones."""
    inside = x.is_positive() & a.is_("GE", 0.0) & a.is_("LT", np.inf)
    return inside, inside.choose(a.maximum(_TINY), 1.0), inside.choose(x, 1.0)


def _log1p(x: Expr) -> Expr:
    # XLA's is 100 ulp off near -0.4
    near = x.abs().is_("LT", 0.25)
    return near.choose(near.choose(x, 0.0).log1p(), (near.choose(0.0, x) + 1.0).log())


def probability(a: Expr, x: Expr, digits: Digits, upper: bool) -> Expr:
    """P(a, x), or Q(a, x)."""
    inside, ga, gx = guarded(a, x)
    value = both(parts(ga, gx, digits, 0))[upper]
    value = a.is_("EQ", 0.0).choose(float(not upper), value.maximum(0.0).minimum(1.0))
    at_end = x.is_("EQ", 0.0).choose(
        float(upper),
        x.is_("EQ", np.inf).choose(float(not upper), a.is_("EQ", np.inf).choose(float(upper), a.lifted(np.nan))),
    )
    unclear = (x.is_("EQ", 0.0) & a.is_("EQ", 0.0)) | (x.is_("EQ", np.inf) & a.is_("EQ", np.inf))
    good = a.is_("GE", 0.0) & x.is_("GE", 0.0) & ~unclear
    return good.choose(inside.choose(value, at_end), np.nan)


def derivative(a: Expr, x: Expr, digits: Digits, order: int) -> Expr:
    """The derivative by a of P(a, x), of this order."""
    inside, ga, gx = guarded(a, x)
    p = parts(ga, gx, digits, order)
    scale = p.series.choose(p.power * (p.sums[0] + 1.0), p.before * p.integrals[0])
    value = scale * slope(p, order)
    good = a.is_("GE", 0.0) & x.is_("GE", 0.0)
    return inside.choose(value, good.choose(0.0, a.lifted(np.nan)))


def log_probability(a: Expr, x: Expr, digits: Digits, upper: bool, order: int) -> Expr:
    """The derivative by a of log P(a, x), or log Q(a, x), of this order."""
    inside, ga, gx = guarded(a, x)
    p = parts(ga, gx, digits, order)
    below, above = both(p)
    wanted, other = (above, below) if upper else (below, above)
    small = (~p.series & p.up) if upper else (p.series | ~p.up)  # the ratios belong to the requested one
    if order:
        scale = p.series.choose(below, p.before * p.integrals[0])
        sign = -1.0 if upper else 1.0
        # the other one, by its own derivatives
        others = [a.lifted(1.0), *[slope(p, k) * scale / wanted * sign for k in range(1, order + 1)]]
        ratios = [small.choose(r, o) for r, o in zip(p.ratios, others, strict=True)]
        value = slopes_of(ratios)[-1]
        good = a.is_("GE", 0.0) & x.is_("GE", 0.0)
        return inside.choose(value, good.choose(0.0, a.lifted(np.nan)))
    by_parts = p.series.choose(
        p.exponent + _log1p(p.sums[0]),
        log_front(p.series.choose(1.0, ga), p.series.choose(1.0, gx)) + p.integrals[0].log(),
    )
    vanishes = small & wanted.is_("LT", 1e-290)
    value = other.is_("LT", 0.5).choose(_log1p(-other), vanishes.choose(by_parts, vanishes.choose(1.0, wanted).log()))
    edges = probability(a, x, digits, upper).log()
    return inside.choose(a.is_("EQ", 0.0).choose(edges, value), edges)


def density(a: Expr, x: Expr, digits: Digits, order: int) -> Expr:
    """The derivative by a of x^(a-1) exp(-x) / gamma(a), of this order."""
    inside, ga, gx = guarded(a, x)
    value = front(ga, gx, digits, 1)
    if order:
        value = value * front_moments(ga, gx, order)[order]
        edge = by_order_at_zero(a, order)
    else:  # 0^(a-1)
        edge = a.is_("EQ", 1.0).choose(1.0, a.is_("LT", 1.0).choose(np.inf, a.lifted(0.0)))
    value = x.is_("EQ", 0.0).choose(edge, inside.choose(value, 0.0))
    return (a.is_("GE", 0.0) & x.is_("GE", 0.0)).choose(value, np.nan)


def by_order_at_zero(a: Expr, order: int) -> Expr:
    """The derivative of x^(a-1) by a, of this order of 1 or more, at x = 0: as the power of log(x) in it."""
    return a.is_("GT", 1.0).choose(0.0, a.lifted((-1.0) ** order * np.inf))


def slope_at_zero(a: Expr) -> Expr:
    """The derivative of the density by x at x = 0: that of order a - 1, minus 1 for a = 1."""
    return a.is_("EQ", 1.0).choose(-1.0, _power_at_zero(a - 1.0))


def density_by_x(a: Expr, x: Expr, digits: Digits, order: int) -> Expr:
    """The derivative of `density` by x."""
    inside, ga, gx = guarded(a, x)
    value = front(ga, gx, digits, 2) * (ga - 1.0 - gx)
    if order:
        moments = front_moments(ga, gx, order)
        value = value * moments[order] + front(ga, gx, digits, 2) * moments[order - 1] * float(order)
        # (a - 1) x^(a-2) log(x)^order, and for a = 1 the term before it
        steep = a.is_("GT", 1.0).choose((-1.0) ** order, a.lifted(-((-1.0) ** order))) * np.inf
        edge = a.is_("GT", 2.0).choose(0.0, steep)
    else:
        edge = slope_at_zero(a)
    value = x.is_("EQ", 0.0).choose(edge, inside.choose(value, 0.0))
    return (a.is_("GE", 0.0) & x.is_("GE", 0.0)).choose(value, np.nan)


def density_twice_by_x(a: Expr, x: Expr, digits: Digits) -> Expr:
    """The second derivative of the density by x."""
    inside, ga, gx = guarded(a, x)
    less = ga - 1.0 - gx
    before = front(ga, gx, digits, 2)
    value = inside.choose(before.is_("EQ", 0.0).choose(0.0, before * (less * (less / gx) - (ga - 1.0) / gx)), 0.0)
    edge = _power_at_zero(a - 2.0) - _power_at_zero(a - 1.0) * 2.0 + _power_at_zero(a)
    # of two infinities the one with the lower power dominates
    lower = a.is_("LT", 3.0) & a.is_("NE", 1.0) & a.is_("NE", 2.0)
    edge = lower.choose(_power_at_zero(a - 2.0), edge)
    value = x.is_("EQ", 0.0).choose(edge, value)
    return (a.is_("GE", 0.0) & x.is_("GE", 0.0)).choose(value, np.nan)


def _power_at_zero(a: Expr) -> Expr:
    """x^(a - 1) / gamma(a) at x = 0, for a > -2: 0 for whole a but 1."""
    positive = (a.is_("GT", 0.0) & a.is_("LT", 1.0)) | (a.is_("LT", -1.0) & a.is_("GT", -2.0))
    negative = a.is_("LT", 0.0) & a.is_("GT", -1.0)
    one = a.is_("EQ", 1.0).choose(1.0, a.lifted(0.0))
    return positive.choose(np.inf, negative.choose(-np.inf, one))


def log_density(a: Expr, x: Expr, digits: Digits) -> Expr:
    """The logarithm of the density."""
    inside, ga, gx = guarded(a, x)
    # not from the front, as log(x) would cancel where a is 1
    few = ga.is_("LT", 8.0)
    small, log = log_gamma_near(few.choose(ga, 1.0))
    near = (ga - 1.0) * gx.log() - gx - small - log
    value = inside.choose(few.choose(near, log_front(few.choose(8.0, ga), gx) - gx.log()), -np.inf)
    edge = a.is_("EQ", 1.0).choose(0.0, a.is_("LT", 1.0).choose(np.inf, a.lifted(-np.inf)))
    value = x.is_("EQ", 0.0).choose(edge, value)
    return (a.is_("GE", 0.0) & x.is_("GE", 0.0)).choose(value, np.nan)


def log_slope_by_order(a: Expr, x: Expr, digits: Digits) -> Expr:
    """Its derivative by a, log(x) - digamma(a)."""
    good = a.is_("GT", 0.0) & x.is_("GE", 0.0)
    return good.choose(log_minus_digamma(good.choose(a, 1.0), good.choose(x, 1.0)), np.nan)


def quantile_slope(a: Expr, log_x: Expr, digits: Digits) -> Expr:
    """The derivative by a of log(x) at fixed P(a, x): that of P by a over that by log(x)."""
    x = log_x.exp().maximum(_TINY)
    p = parts(a, x, digits, 1, log_x)
    by_series = (p.sums[0] + 1.0) * x.exp() / a
    return -slope(p, 1) * p.series.choose(by_series, p.integrals[0])
