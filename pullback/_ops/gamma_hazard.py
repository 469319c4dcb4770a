"""The hazards of the gamma distribution, its density over P(a, x) or Q(a, x), by which their logarithms change.

Away from the middle their slopes are differences of what is nearly equal, and come from continued fractions.
"""

from __future__ import annotations

import numpy as np

from pullback._ops.expressions import Expr
from pullback._ops.incomplete_gamma_formulas import (
    DOUBLE,
    Digits,
    both,
    by_order_at_zero,
    density,
    front_moments,
    guarded,
    moments_of,
    parts,
    slope,
    slope_at_zero,
    slopes_of,
)


def hazard(a: Expr, x: Expr, digits: Digits, upper: bool, order: int) -> Expr:
    """The derivative by a of x^(a-1) exp(-x) / gamma(a) / P(a, x), or / Q(a, x), of this order."""
    inside, ga, gx = guarded(a, x)
    p = parts(ga, gx, digits, order)
    below, above = both(p)
    small = (~p.series & p.up) if upper else (~p.series & ~p.up)
    front_of_all = p.series.choose(p.power * ga * (-gx).exp(), p.before)
    whole = p.series.choose(ga * (-gx).exp() / (p.sums[0] + 1.0), 1.0 / p.integrals[0]) if not upper else None
    other = front_of_all / (above if upper else below)
    value = small.choose(1.0 / p.integrals[0], other if whole is None else p.series.choose(whole, other)) / gx
    if order:
        # the logarithm is that of the density minus that of the probability
        of_density = slopes_of(front_moments(ga, gx, order))
        sign = -1.0 if upper else 1.0
        scale = p.series.choose(below, p.before * p.integrals[0])
        wanted = above if upper else below
        near = (~p.series & p.up) if upper else (p.series | ~p.up)
        ratios = [
            a.lifted(1.0),
            *[near.choose(p.ratios[k], slope(p, k) * scale / wanted * sign) for k in range(1, order + 1)],
        ]
        exact = slopes_of([ga.lifted(1.0), *[m / p.integrals[0] for m in p.integrals[1:]]])
        slopes = [small.choose(-e, d - r) for e, d, r in zip(exact, of_density, slopes_of(ratios), strict=True)]
        value = value * moments_of(slopes, a.lifted(1.0), order)[order]
        # at x = 0, where Q is 1 and does not change with a, it is the derivative of the density
        edge = x.is_("EQ", 0.0).choose(by_order_at_zero(a, order), np.nan) if upper else a.lifted(np.nan)
        return inside.choose(value, a.is_("GT", 0.0).choose(edge, np.nan))
    at_zero = density(a, x, digits, 0) if upper else a.lifted(np.inf)
    if upper:  # next to 0, where Q is 1, x^a may vanish though x^(a-1) does not
        value = (gx.is_("LT", 1e-30) & ga.is_("GT", 1.0)).choose(at_zero, value)
    edge = x.is_("EQ", 0.0).choose(at_zero, x.is_("EQ", np.inf).choose(float(upper), a.lifted(np.nan)))
    return inside.choose(value, a.is_("GT", 0.0).choose(edge, np.nan))


def _upper_fall(a: Expr, x: Expr, levels: int) -> Expr:
    """(a - 1) / x - 1 + h for the hazard h = density / Q: from the second level on, Legendre's continued fraction."""
    rest = x + (2 * levels + 1.0) - a
    for n in range(levels, 1, -1):
        rest = x + (2 * n - 1.0) - a - (n - a) * float(n) / rest
    return (a - 1.0) / (x * rest)


def _lower_fall(a: Expr, x: Expr, levels: int) -> Expr:
    """(a - 1) / x - 1 - h for h = density / P, by h = (a - x + x / (a + 1 - x + 2 x / (a + 2 - x + ...))) / x."""
    less = a - x
    rest = less + float(levels)
    for n in range(levels, 1, -1):
        rest = less + (n - 1.0) + x * float(n) / rest
    return -(1.0 / x + 1.0 / rest)


def hazard_by_x(a: Expr, x: Expr, digits: Digits, upper: bool) -> Expr:
    """The derivative of the hazard h by x, h ((a - 1) / x - 1 - h), with + h for Q."""
    value = hazard(a, x, digits, upper, 0)
    inside, ga, gx = guarded(a, x)
    change = (ga - 1.0) / gx - 1.0
    some = inside.choose(value, 1.0)
    # away from the middle these cancel: there by continued fractions, whose first level cancels exactly
    double = digits is DOUBLE
    if upper:
        root = ga.sqrt()
        far = gx.is_("GT", ga + root * (root * root * 0.5).minimum(8.0) + (2.6 if double else 1.0))
        by_fraction = _upper_fall(far.choose(ga, 1.0), far.choose(gx, 20.0), 40 if double else 16)
        change = change + some
    else:
        far = gx.is_("LT", 0.5) | (ga - gx).is_("GT", gx.sqrt() * 8.0)
        by_fraction = _lower_fall(far.choose(ga, 1.0), far.choose(gx, 0.25), 20 if double else 10)
        change = change - some
    change = far.choose(by_fraction, change)
    # at x = 0 that of the density over Q = 1, where a steep one is steeper than h**2; or of 1 / x
    at_zero = a.is_("LT", 1.0).choose(-np.inf, slope_at_zero(a) + value * value) if upper else a.lifted(-np.inf)
    edge = (x.is_("EQ", 0.0) & a.is_("GT", 0.0)).choose(at_zero, np.nan)
    return inside.choose(value.is_("EQ", 0.0).choose(0.0, value * change), edge)
