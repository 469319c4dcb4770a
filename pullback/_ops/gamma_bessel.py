"""Incomplete gamma and beta functions and exponentially scaled Bessel functions.

XLA has no operations for these: their lowerings are written here, in `expressions`. The continued fractions are
evaluated by Lentz's method (Lentz 1976, modified by Thompson and Barnett 1986).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._ops import compare as c
from pullback._ops.elementwise import add, div, exp, log, log1p, mul, neg, scalar, sign, sub
from pullback._ops.expressions import Expr, iterate, written
from pullback._ops.families import FLOAT, function_of_one, nary, operands, unary
from pullback._ops.special import lgamma, no_derivative, scipy_kernel


def _fraction(x: Expr, first: Expr, terms: Callable, *carried: Expr) -> Expr:
    """The reciprocal of the continued fraction first + a1 / (b1 + a2 / (b2 + ...)), `terms(n, *carried) = (a, b)`."""
    dtype = x.value.aval.dtype
    tiny = float(np.finfo(dtype).tiny) * 1e4
    eps = float(np.finfo(dtype).eps)

    def nonzero(v):
        return v.abs().is_("LT", tiny).choose(tiny, v)

    def step(n, c_, d, h, delta, *rest):
        a, b = terms(n, *rest)
        d = 1.0 / nonzero(a * d + b)
        c_ = nonzero(b + a / c_)
        delta = c_ * d
        return [c_, d, h * delta, delta, *rest]

    d = 1.0 / nonzero(first)
    start = [nonzero(first) * 0.0 + 1.0 / tiny, d, d, first * 0.0 + 2.0, *carried]
    return iterate(start, step, lambda c_, d, h, delta, *rest: (delta - 1.0).abs().is_("GT", eps))[2]


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
    inverse = _fraction(fx, fx + 1.0 - fa, lambda n, a, x: (n * (a - n), x + 1.0 - a + n * 2.0), fa, fx)
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


# --- the incomplete beta function: its fraction converges fast for x < (a + 1) / (a + b + 2), else use symmetry ---


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
             + b * (-x).op("stablehlo.log_plus_one")).exp()
    part = front * _fraction(u, u * 0.0 + 1.0, _beta_terms, p, q, u) / p
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


# --- Bessel functions of the first kind, times exp(-|x|); i0e by Chebyshev series in x on [0, 8], in 1/x beyond ---

_I0E_NEAR = (
    0.33839763720473798, -0.3046826723431984, 0.1716209015222088, -0.094901097048047625, 0.049305284239670684,
    -0.023737414805899384, 0.010546460394594847, -0.0043243099950503868, 0.0016394756169410116,
    -0.0005763755745382675, 0.00018850288509533351, -5.7541950100422555e-05, 1.6448448070191236e-05,
    -4.4167383580464462e-06, 1.117387538609678e-06, -2.6707938496925342e-07, 6.0469949598634512e-08,
    -1.3000249714761376e-08, 2.6598232275528794e-09, -5.1897924965162344e-10, 9.6757750382949265e-11,
    -1.7267912178012294e-11, 2.9545227447147369e-12, -4.8521012034915669e-13, 7.6109593377473409e-14,
)
_I0E_FAR = (
    0.40224520550705439, 0.0033691164782556774, 6.889758346920645e-05, 2.8913705208295178e-06,
    2.0489185894659716e-07, 2.2666689906534839e-08, 3.3962319538502426e-09, 4.9406024374771225e-10,
    1.1888929512209933e-11, -3.1499169333522331e-11, -1.321622713349914e-11, -1.7941850726000468e-12,
    7.1765454122508144e-13, 3.8526958783153428e-13, 1.5065467276165392e-14, -4.1512711194349846e-14,
    -1.0078335812878966e-14, 3.7970519489893557e-15,
)


def _chebyshev(t: Expr, coefficients: Sequence[float]) -> Expr:
    """The sum of c_k T_k(t), by Clenshaw's recurrence."""
    after, last = t * 0.0, t * 0.0
    for coefficient in reversed(coefficients[1:]):
        after, last = t * 2.0 * after - last + coefficient, after
    return t * after - last + coefficients[0]


@written
def _i0e_lower(x):
    size = x.abs()
    near = size.is_("LE", 8.0)
    inner, outer = near.choose(size, 8.0), near.choose(8.0, size)
    far = _chebyshev(16.0 / outer - 1.0, _I0E_FAR) * outer.op("stablehlo.rsqrt")
    return near.choose(_chebyshev(inner * 0.25 - 1.0, _I0E_NEAR), far)


def _i1e_tangent(t, y, x):
    # i0e - i1e (sign x + 1/x), whose limit at 0 is 1/2
    zero = c.eq(x, scalar(x, 0))
    safe = c.select(zero, scalar(x, 1), x)
    slope = sub(bessel_i0e(safe), mul(bessel_i1e(safe), add(sign(safe), div(scalar(x, 1), safe))))
    return mul(t, c.select(zero, scalar(x, 0.5), slope))


bessel_i0e_p = unary("bessel_i0e", scipy_kernel("i0e"), _i0e_lower,
                     lambda t, x, y: mul(t, sub(bessel_i1e(x), mul(sign(x), y))), FLOAT)
bessel_i1e_p = unary("bessel_i1e", scipy_kernel("i1e"), "chlo.bessel_i1e",
                     lambda t, x, y: _i1e_tangent(t, y, x), FLOAT)

bessel_i0e = function_of_one(__name__, bessel_i0e_p,
    "exp(-|x|) I0(x), the scaled modified Bessel function of order 0 (DLMF 10.25).", "0.", "1.0")
bessel_i1e: Callable[[Any], Array] = function_of_one(__name__, bessel_i1e_p,
    "exp(-|x|) I1(x), the scaled modified Bessel function of order 1 (DLMF 10.25).", "0.", "0.0")
