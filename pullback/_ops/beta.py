"""The regularized incomplete beta function.

XLA has no operation for it: its lowering is written here, in `expressions`.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._ops.elementwise import add, exp, log, log1p, mul, neg, scalar, sub
from pullback._ops.expressions import continued_fraction, written
from pullback._ops.families import FLOAT, nary, operands, scipy_kernel
from pullback._ops.gamma import lgamma
from pullback._ops.rules import no_derivative

# --- the fraction converges fast for x < (a + 1) / (a + b + 2), else use symmetry ---


def _beta_terms(n, a, b, x):
    # the coefficients come in pairs: n = 2m or 2m + 1
    half = (n * 0.5).op("stablehlo.floor")
    even = half * (b - half) * x / ((a + half * 2.0 - 1.0) * (a + half * 2.0))
    odd = -(a + half) * (a + b + half) * x / ((a + half * 2.0) * (a + half * 2.0 + 1.0))
    return n.is_("EQ", half * 2.0).choose(even, odd), x * 0.0 + 1.0


@written
def _betainc_lower(a, b, x):
    direct = x.is_("LT", (a + 1.0) / (a + b + 2.0))
    p, q, u = direct.choose(a, b), direct.choose(b, a), direct.choose(x, 1.0 - x)
    front = ((a + b).lgamma() - a.lgamma() - b.lgamma() + a * x.log()
             + b * (-x).log1p()).exp()
    part = front * continued_fraction(u, u * 0.0 + 1.0, _beta_terms, p, q, u) / p
    value = direct.choose(part, 1.0 - part)
    good = a.is_("GT", 0.0) & b.is_("GT", 0.0) & x.is_("GE", 0.0) & x.is_("LE", 1.0)
    return good.choose(x.is_("EQ", 0.0).choose(0.0, x.is_("EQ", 1.0).choose(1.0, value)), np.nan)


def _beta_density(a, b, x):
    """The derivative of I_x(a, b) by x: x^(a-1) (1-x)^(b-1) / B(a, b)."""
    one = scalar(x, 1)
    log_beta = sub(add(lgamma(a), lgamma(b)), lgamma(add(a, b)))
    return exp(sub(add(mul(sub(a, one), log(x)), mul(sub(b, one), log1p(neg(x)))), log_beta))


regularized_incomplete_beta_p = nary(
    "regularized_incomplete_beta", scipy_kernel("betainc"), _betainc_lower,
    no_derivative("betainc", "its parameter a"), no_derivative("betainc", "its parameter b"),
    lambda t, y, a, b, x: mul(t, _beta_density(a, b, x)), add=add, accepts=FLOAT)


def betainc(a: Any, b: Any, x: Any) -> Array:
    """The regularized incomplete beta function I_x(a, b) for a, b > 0 and x in [0, 1], else nan, elementwise.

    Floats of one dtype, of shapes that broadcast; TypeError for others. The derivatives by `a` and `b` are refused with
    NotImplementedError. Source: DLMF 8.17; compiled, by the continued fraction 8.17.22.

    >>> from pullback import lax
    >>> print(f"{lax.betainc(1., 2., 0.5):.4f}")
    0.7500
    """
    return regularized_incomplete_beta_p.bind(*operands("betainc", a, b, x))
