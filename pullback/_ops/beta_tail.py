"""The smaller tail of the beta distribution, and its moments, which are the derivatives with respect to the parameters.

By symmetry each tail is that below a number u <= p / (p + q), for parameters p and q:

    front(p, q, u) times the integral over s >= 0 of (t / u)**p ((1 - t) / (1 - u))**(q - 1) at t = u exp(-s), by 1 - u

where front = u**p (1 - u)**q / beta(p, q). The integrand falls from 1 to 0 and has one sign. The trapezoidal rule for
s = S exp(v - exp(-v)) (Takahasi and Mori, "Double exponential formulas for numerical integration", 1974) gives all
digits with a number of nodes that does not grow with the parameters. Where the continued fraction DLMF 8.17.22 needs
fewer steps, it gives the integral.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pullback._ops.expressions import Expr, Host, continued_fraction, iterate, polynomial
from pullback._ops.stirling import digamma_step, excess, scaled_gamma


class Tail(NamedTuple):
    """The smaller tail, and quantities derived from it."""

    good: Expr  # whether a and b are positive and finite and x is in (0, 1); elsewhere they are replaced by such values
    lower: Expr  # whether it is the lower tail
    a: Expr
    b: Expr
    x: Expr
    y: Expr  # 1 - x
    factor: Expr  # front is factor * exp(exponent)
    exponent: Expr
    p: Expr
    q: Expr
    u: Expr
    v: Expr  # 1 - u


def _deviance(p: Expr, n: Expr, distance: Expr, u: Expr) -> Expr:
    """`distance - p log(u n / p)` where `distance = u n - p`: the linear terms of a and b cancel exactly."""
    shift = distance / p
    near = shift.abs().is_("LT", 0.5)
    inner = near.choose(shift, 0.0)
    ratio = u * n / p
    plain = ratio.is_("GT", 1e-30) & ratio.is_("LT", 1e30)
    log = plain.choose(ratio.log(), u.log() + n.log() - p.log())
    return near.choose(p * excess(inner, inner), distance - p * log)


def tail(a: Expr, b: Expr, x: Expr) -> Tail:
    """The smaller tail at x."""
    good = a.is_positive() & b.is_positive() & x.is_("GT", 0.0) & x.is_("LT", 1.0)
    a, b, x = good.choose(a, 1.0), good.choose(b, 1.0), good.choose(x, 0.5)
    # of a subnormal parameter XLA keeps nothing, and half of its inverse overflows
    least = 4.0 * float(np.finfo(np.float64 if a.double else np.float32).tiny)
    a, b = a.maximum(least), b.maximum(least)
    # a sum that overflows belongs to a distribution of width 0
    huge = (a + b).is_("EQ", np.inf)
    a, b = huge.choose(a * 0.125, a), huge.choose(b * 0.125, b)
    y, n = 1.0 - x, a + b
    distance = b * x - a * y
    lower = distance.is_("LE", 0.0)
    deviance = _deviance(a, n, distance, x) + _deviance(b, n, -distance, y)
    (fa, ea), (fb, eb), (fn, en) = (scaled_gamma(z) for z in (a, b, n))
    factor, exponent = fa * (fb / fn), ea + eb - en - deviance
    p, q, u, v = (lower.choose(*pair) for pair in ((a, b), (b, a), (x, y), (y, x)))
    return Tail(good, lower, a, b, x, y, factor, exponent, p, q, u, v)


def smaller(t: Tail, bound: float = 1.0) -> Tail:
    """The same tail; for a parameter below 1, where the median is far from the mean, the tail below the median.

    A smaller `bound` leaves some digits to 1 minus the tail, in exchange for fewer steps.
    """
    front = t.factor * t.exponent.exp()
    other = t.p.is_("LT", bound) & (front / t.p).is_("GT", 0.5)
    p, q, u, v = (other.choose(*pair) for pair in ((t.q, t.p), (t.p, t.q), (t.v, t.u), (t.u, t.v)))
    return t._replace(lower=other.choose(~t.lower, t.lower), p=p, q=q, u=u, v=v)


# --- the integral by the continued fraction ---


def _terms(n, p, q, u):
    one, less = u * 0.0 + 1.0, n - 1.0
    low = p + less * 2.0  # not from p + 1, which loses a tiny p
    middle = low + 1.0
    return [(-(p + less) * (p + q + less) * u / (low * middle), one), (n * (q - n) * u / (middle * (low + 2.0)), one)]


_LARGE = 3000.0


def weight(t: Tail) -> Expr:
    """The tail divided by `front`."""
    if isinstance(t.u, Host):
        return integrals(t, [(0, 0)], t.good)[0] / t.v
    # where the fraction needs fewer than 200 steps
    short = (t.q.is_("GE", 1.0) | t.v.is_("GT", 0.02)) & t.p.is_("LT", _LARGE) & t.q.is_("LT", _LARGE)
    p, q, u = short.choose(t.p, 1.0), short.choose(t.q, 1.0), short.choose(t.u, 0.25)
    fraction = continued_fraction(u, u * 0.0 + 1.0, _terms, p, q, u) / p
    return short.choose(fraction, integrals(t, [(0, 0)], ~short)[0] / t.v)


# --- the integral by quadrature ---


def _node(number: Expr, p: Expr, q: Expr, u: Expr, v: Expr, first: Expr, unit: Expr) -> tuple[Expr, Expr, Expr]:
    """The node s, log((1 - t) / (1 - u)), and the integrand there with its weight.

    The weight is divided by a number with logarithm `unit`, since s may underflow, and s over that number overflow.
    """
    step, start = _spacing(p)
    place = number * step + start
    ladder = (-place).exp()
    log_s = place - ladder + first
    s = (log_s + unit).exp()
    r = u / v
    loss = (-s).expm1()
    rise = s.is_("LT", 1e-20).choose(r.minimum(1.0) * log_s.exp(), -r * loss)
    log = rise.log1p()
    bent = s.is_("LT", 1.0)
    inner = bent.choose(s, 0.0)
    factorials = [1 / 2]
    for k in range(3, 21 if p.double else 12):
        factorials.append(-factorials[-1] / k)
    curve = bent.choose(inner * inner * polynomial(inner, factorials), s + loss)
    slope = (p * v - q * u + u) / v
    rest = q - 1.0
    # for large q the linear terms cancel
    exponent = rest.is_("GE", 0.0).choose(-slope * s - rest * (excess(rise, log) + r * curve), rest * log - p * s)
    return s, log, (ladder + 1.0) * step * (log_s + exponent).exp()


def _spacing(x: Expr) -> tuple[float, float]:
    return (0.12, -3.6) if x.double else (0.25, -2.9)


def integrals(t: Tail, moments: list[tuple[int, int]], needed: Expr) -> list[Expr]:
    """The integrals, where `needed`, with the integrand times powers of log(t) and log(1 - t) minus their means.

    The means are those of the whole distribution: the powers belong to a and b, for either tail.
    """
    p, q = needed.choose(t.p, 1.0), needed.choose(t.q, 1.0)
    u, v = needed.choose(t.u, 0.5), needed.choose(t.v, 0.5)
    r = u / v
    slope = (p * v - q * u + u) / v
    more = (q - 1.0).maximum(0.0)
    scale = q.is_("GE", 1.0).choose(p.minimum(slope.maximum(0.0) + more.sqrt() * r.sqrt() * (r + 1.0).sqrt()), p)
    # the integrand bends at s = 1 / scale, and at s = 1 / r or 1 if that comes first, the unit
    unit = (v / u).minimum(1.0).log()
    between = (0.5 / scale).log() - unit
    first, wide = between.minimum(0.0), between.maximum(0.0)
    step, start = _spacing(p)
    count = ((wide + ((4.6 if p.double else 3.8) - start)) * (1 / step)).floor()
    carried = [p, q, u, v, first, unit]
    if any(i + j for i, j in moments):
        small, large = t.lower.choose(t.x.log(), (-t.x).log1p()), t.lower.choose((-t.x).log1p(), t.x.log())
        carried += [small + digamma_step(t.p, t.q), large + digamma_step(t.q, t.p), t.lower.choose(p * 0.0 + 1.0, 0.0)]

    def terms(number, p, q, u, v, first, unit, small=None, large=None, lower=None):
        s, log, value = _node(number, p, q, u, v, first, unit)
        if small is None:
            return [value] * len(moments)
        below = lower.is_("GT", 0.5)
        near, far = small - s, large + log
        by_a, by_b = below.choose(near, far), below.choose(far, near)
        out = []
        for i, j in moments:
            term = value
            for factor in [by_a] * i + [by_b] * j:
                term = term * factor
            out.append(term)
        return out

    sums = _summed(terms, len(moments), needed.choose(count, 0.0), carried)
    return [total * (v / u).minimum(1.0) for total in sums]


_AT_ONCE = 1 << 8  # the number of elements for which the kernel holds all nodes in memory at once


def _summed(terms, number: int, count: Expr, carried: list[Expr]) -> list[Expr]:
    """The sums of the results of `terms(n, *carried)` over 0 <= n < count."""
    if isinstance(count, Host):
        return _summed_on_host(terms, count, carried)

    def step(n, left, *state):
        sums, given = state[:number], state[number:]
        open_ = left.is_("GT", 0.0)
        added = [total + open_.choose(x, 0.0) for total, x in zip(sums, terms(n - 1.0, *given), strict=True)]
        return [left - 1.0, *added, *given]

    zero = count * 0.0
    state = [count, *[zero] * number, *carried]
    return iterate(state, step, lambda left, *_: left.is_("GT", 0.0), limit=100_000)[1 : 1 + number]


def _summed_on_host(terms, count: Host, carried: list[Expr]) -> list[Expr]:
    shape = np.shape(count.value)
    counts = np.ravel(count.value)
    given = [np.broadcast_to(x.value, shape).ravel() for x in carried]
    parts = []
    for i in range(0, counts.size, _AT_ONCE):
        here = counts[i : i + _AT_ONCE]
        n = np.arange(here.max())[:, None]
        values = terms(Host(n), *[Host(x[i : i + _AT_ONCE]) for x in given])
        parts.append([np.where(n < here, x.value, 0).sum(0) for x in values])
    return [Host(np.concatenate(column).reshape(shape)) for column in zip(*parts, strict=True)]
