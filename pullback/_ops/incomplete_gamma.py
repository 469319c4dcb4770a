"""The regularized incomplete gamma functions.

XLA has no operations for them: their lowerings are written here, in `expressions`.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._ops import compare as c
from pullback._ops.elementwise import add, exp, log, mul, neg, scalar, sub
from pullback._ops.expressions import Expr, continued_fraction, iterate, written
from pullback._ops.families import FLOAT, nary, operands, scipy_kernel
from pullback._ops.gamma import lgamma
from pullback._ops.rules import no_derivative

# --- the incomplete gamma function: by its series where x <= max(a, 1), else by a continued fraction ---


def _gamma_parts(a: Expr, x: Expr) -> tuple[Expr, Expr, Expr]:
    """(whether the series serves, P(a, x) by it, Q(a, x) by the fraction), for a > 0 and finite x > 0."""
    eps = float(np.finfo(x.value.aval.dtype).eps)
    by_series = x.is_("LE", a) | x.is_("LE", 1.0)
    front = (a * x.log() - x - a.lgamma()).exp()
    sa, sx = by_series.choose(a, 1.0), by_series.choose(x, 0.5)
    _, total, *_ = iterate(
        [sa * 0.0 + 1.0, sa * 0.0 + 1.0, sa, sx],
        lambda n, term, total, a, x: (lambda t: [t, total + t, a, x])(term * x / (a + n)),
        lambda term, total, a, x: term.is_("GT", total * eps))
    fa, fx = by_series.choose(1.0, a), by_series.choose(2.0, x)
    inverse = continued_fraction(fx, fx + 1.0 - fa, lambda n, a, x: (n * (a - n), x + 1.0 - a + n * 2.0), fa, fx)
    return by_series, front * total / a, front * inverse


def _gamma_edges(a: Expr, x: Expr, value: Expr, at_zero: float) -> Expr:
    good = a.is_("GT", 0.0) & x.is_("GE", 0.0)
    value = x.is_("EQ", 0.0).choose(at_zero, x.is_("EQ", np.inf).choose(1.0 - at_zero, value))
    return good.choose(value, np.nan)


@written
def _igamma_lower(a, x):
    by_series, lower, upper = _gamma_parts(a, x)
    return _gamma_edges(a, x, by_series.choose(lower, 1.0 - upper), 0.0)


@written
def _igammac_lower(a, x):
    by_series, lower, upper = _gamma_parts(a, x)
    return _gamma_edges(a, x, by_series.choose(1.0 - lower, upper), 1.0)


def _gamma_density(a, x):
    """The derivative of P(a, x) by x: x^(a-1) exp(-x) / gamma(a)."""
    one = scalar(a, 1)
    unclear = c.bitwise_and(c.eq(a, one), c.eq(x, scalar(x, 0)))  # 0 log(0), which is 0
    power = mul(sub(a, one), log(c.select(unclear, one, x)))
    return exp(sub(sub(power, x), lgamma(a)))


igamma_p = nary("igamma", scipy_kernel("gammainc"), _igamma_lower, no_derivative("igamma", "its order a"),
                lambda t, y, a, x: mul(t, _gamma_density(a, x)), add=add, accepts=FLOAT)
igammac_p = nary("igammac", scipy_kernel("gammaincc"), _igammac_lower, no_derivative("igammac", "its order a"),
                 lambda t, y, a, x: neg(mul(t, _gamma_density(a, x))), add=add, accepts=FLOAT)


def igamma(a: Any, x: Any) -> Array:
    """The regularized lower incomplete gamma function P(a, x) for a > 0 and x >= 0, else nan, elementwise.

    Floats of one dtype, of shapes that broadcast; TypeError for others. The derivative by `a` is refused with
    NotImplementedError. Source: DLMF 8.2; compiled, by the series 8.7.1 or the continued fraction 8.9.

    >>> from pullback import lax
    >>> print(f"{lax.igamma(1., 1.):.4f}")
    0.6321
    """
    return igamma_p.bind(*operands("igamma", a, x))


def igammac(a: Any, x: Any) -> Array:
    """The regularized upper incomplete gamma function Q(a, x) = 1 - P(a, x), accurate where it is small; see `igamma`.

    TypeError for operands that are no floats of one dtype.

    >>> from pullback import lax
    >>> print(f"{lax.igammac(1., 1.):.4f}")
    0.3679
    """
    return igammac_p.bind(*operands("igammac", a, x))
