"""The gamma function, its logarithm and digamma as arithmetic, for kernels and lowerings.

On [1, 2] they are polynomials, with the zeros of the functions as factors, up to 8 the recurrence DLMF 5.5.1 is used,
beyond it Stirling's series DLMF 5.11.1 and 5.11.2, and below 0 the reflections DLMF 5.5.3 and 5.5.4.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb, factorial

import numpy as np

from pullback._ops.expressions import Expr, polynomial

# --- coefficients ---


def bernoulli(count: int) -> list[Fraction]:
    """The Bernoulli numbers B(2), B(4), ..., by their recurrence DLMF 24.5.3."""
    numbers = [Fraction(1)]
    for n in range(1, 2 * count + 1):
        numbers.append(-sum((comb(n + 1, k) * numbers[k] for k in range(n)), Fraction(0)) / (n + 1))
    return numbers[2::2]


_BERNOULLI = bernoulli(10)
_STIRLING = [float(b / (2 * k * (2 * k - 1))) for k, b in enumerate(_BERNOULLI, 1)]
_STIRLING_SLOPE = [float(b / (2 * k)) for k, b in enumerate(_BERNOULLI, 1)]
_SINE = [(-1) ** k * np.pi ** (2 * k) / factorial(2 * k + 1) for k in range(12)]

# polynomials in 2z - 1 on [0, 1], by Chebyshev interpolation in 50 digits: of log(gamma(1 + z)) / (z (z - 1)), to
# 1.2e-18, and of digamma(1 + z) / (z - zero), to 2.6e-18; and in single precision, to 3.8e-9 and 2.3e-8
_LOG_GAMMA = (
    0.4831289505409809,
    -0.07297994795715304,
    0.01572785026864124,
    -0.003913560937626182,
    0.0010498186644489656,
    -0.0002945507015196472,
    8.510090382507709e-05,
    -2.5094328668947195e-05,
    7.511391134979752e-06,
    -2.2742474102383936e-06,
    6.948461695085761e-07,
    -2.1386323384115519e-07,
    6.622899723826762e-08,
    -2.0621027431854287e-08,
    6.448537660005262e-09,
    -2.016947955623982e-09,
    6.34708063084356e-10,
    -2.0874620693971093e-10,
    6.659994986020335e-11,
    -1.5395748006420787e-11,
    4.705387815328221e-12,
    -3.803618166622364e-12,
    1.2510413599689193e-12,
)
_LOG_GAMMA_SINGLE = (
    0.4831289523253834,
    -0.0729799510504546,
    0.015727762009216897,
    -0.00391349979280726,
    0.0010505134374771596,
    -0.0002948871806554151,
    8.320684673258131e-05,
    -2.434717637839731e-05,
    9.563504411088845e-06,
    -2.9794039552436527e-06,
)
_DIGAMMA = (
    0.9510558760318328,
    -0.2118137106407303,
    0.06013562106019684,
    -0.018550615381735008,
    0.005936795278301761,
    -0.0019350666648613071,
    0.0006368880303865817,
    -0.00021074841138175561,
    6.995018825112794e-05,
    -2.3258242519113285e-05,
    7.741234508636364e-06,
    -2.578093954045772e-06,
    8.589060721930695e-07,
    -2.863161166883193e-07,
    9.543298288278275e-08,
    -3.162911147408454e-08,
    1.0527692435026686e-08,
    -3.7083753242807277e-09,
    1.2469984616707403e-09,
    -2.7580994814377e-10,
    8.734528429142953e-11,
    -8.50550766013261e-11,
    2.918622732168261e-11,
)
_DIGAMMA_SINGLE = (
    0.9510558968448778,
    -0.2118137496883773,
    0.060134593418362386,
    -0.018549844882656673,
    0.00594486377213462,
    -0.001939295713995619,
    0.000614986497612365,
    -0.00020139798974585398,
    9.347544668756382e-05,
    -3.200739024271256e-05,
)
_ZERO = Fraction("0.461632144968362341262659542325721328468")  # digamma vanishes at 1 + this: found in 50 digits
_SLOPE = 0.967672245447621  # of digamma there

# --- shared parts ---


def _single_or_double(x: Expr, single, double):
    return double if x.double else single


def _reduced(y: Expr) -> tuple[Expr, Expr, Expr]:
    """z in [0, 1], and p and n, for y in (0, 8): gamma(y) is gamma(1 + z) times p, or by y itself where y < 1,

    and n / p is the sum of the reciprocals of the factors of p.
    """
    z, p, n = y.is_("LT", 1.0).choose(y, y - 1.0), y.lifted(1.0), y.lifted(0.0)
    for j in range(1, 7):
        above = y.is_("GT", j + 1.0)
        factor = above.choose(y - float(j), 1.0)
        n = above.choose(n * factor + p, n)
        p = p * factor
        z = above.choose(y - (j + 1.0), z)
    return z, p, n


def log_gamma_one(z: Expr) -> Expr:
    """log(gamma(1 + z)) for z in [0, 1]."""
    coefficients = _single_or_double(z, _LOG_GAMMA_SINGLE, _LOG_GAMMA)
    return z * (z - 1.0) * polynomial(z * 2.0 - 1.0, coefficients)


def log_gamma_near(y: Expr) -> tuple[Expr, Expr]:
    """log(gamma(y)) for y in (0, 8) in two parts: a small number, and the logarithm of a product."""
    z, p, _ = _reduced(y)
    below = y.is_("LT", 1.0)
    log = below.choose(y, p).log()
    return log_gamma_one(z), below.choose(-log, log)


def gamma_near_parts(y: Expr) -> tuple[Expr, Expr]:
    """gamma(y) for y in (0, 8) as a small exponent, and a factor."""
    z, p, _ = _reduced(y)
    below = y.is_("LT", 1.0)
    return log_gamma_one(z), below.choose(1.0 / y, p)


def gamma_near(y: Expr) -> Expr:
    """gamma(y) for y in [1, 8)."""
    z, p, _ = _reduced(y)
    return log_gamma_one(z).exp() * p


def stirling(y: Expr) -> Expr:
    """log(gamma(y)) - (y - 1/2) log(y) + y - log(2 pi) / 2 for y >= 8."""
    inverse = 1.0 / y
    return inverse * polynomial(inverse * inverse, _single_or_double(y, _STIRLING[:4], _STIRLING))


def log_minus_digamma_far(y: Expr) -> Expr:
    """log(y) - digamma(y) for y >= 8."""
    inverse = 1.0 / y
    series = polynomial(inverse * inverse, _single_or_double(y, _STIRLING_SLOPE[:4], _STIRLING_SLOPE))
    return inverse * (inverse * series + 0.5)


def sine(r: Expr) -> Expr:
    """sin(pi r) / pi for |r| <= 1/2."""
    return r * polynomial(r * r, _single_or_double(r, _SINE[:7], _SINE))


def from_whole(y: Expr) -> tuple[Expr, Expr]:
    """The nearest whole number, and the distance from it."""
    whole = y.round()
    return whole, y - whole


# --- the logarithm ---


def log_gamma(x: Expr) -> Expr:
    """log|gamma(x)|."""
    y = x.abs()
    far, near_zero = y.is_("GE", 8.0), y.is_("LT", 1.0)
    z, p, _ = _reduced(far.choose(1.0, y))
    base = log_gamma_one(z)
    log = far.choose(y, near_zero.choose(y, p)).log()
    # y (log y - 1) is the last to overflow
    beyond = y * (log - 1.0) - log * 0.5 + (stirling(far.choose(y, 8.0)) + 0.5 * np.log(2 * np.pi))
    value = far.choose(y.is_("EQ", np.inf).choose(y, beyond), near_zero.choose(base - log, base + log))
    return x.is_("LT", 0.0).choose(_log_gamma_reflected(y, near_zero.choose(base, value)), value)


def _log_gamma_reflected(y: Expr, above: Expr) -> Expr:
    """log|gamma(-y)|, where `above` is log(gamma(y)), or log(gamma(1 + y)) for y < 1."""
    height = sine(from_whole(y.is_("EQ", np.inf).choose(0.0, y))[1]).abs()
    # at the poles the logarithm is infinite, and for large y `above` is too
    return height.is_("EQ", 0.0).choose(np.inf, -(y.is_("LT", 1.0).choose(height, y * height).log()) - above)


# --- digamma ---


def log_derivative(x: Expr) -> Expr:
    """digamma(x): nan at 0, -1, -2, ..."""
    y = x.abs()
    far, near_zero = y.is_("GE", 8.0), y.is_("LT", 1.0)
    z, p, n = _reduced(far.choose(1.0, y))
    # the zero to more digits than z has: the rest of them times the slope there, since XLA combines adjacent constants
    high = float(np.float64(_ZERO) if x.double else np.float32(_ZERO))
    rest = float(_ZERO - Fraction(high)) * _SLOPE
    coefficients = _single_or_double(x, _DIGAMMA_SINGLE, _DIGAMMA)
    base = (z - high) * polynomial(z * 2.0 - 1.0, coefficients) - rest
    near = base + near_zero.choose(-1.0, n) / near_zero.choose(y, p)
    value = far.choose(y.log() - log_minus_digamma_far(far.choose(y, 8.0)), near)
    # a pole has no sign
    value = y.is_("EQ", 0.0).choose(np.nan, value)
    return x.is_("LT", 0.0).choose(_digamma_reflected(y, near_zero.choose(base, value)), value)


def _digamma_reflected(y: Expr, above: Expr) -> Expr:
    """digamma(-y), where `above` is digamma(y), or digamma(1 + y) for y < 1."""
    _, r = from_whole(y.is_("EQ", np.inf).choose(0.0, y))
    cotangent = np.pi * sine(0.5 - r.abs()) / r.is_("EQ", 0.0).choose(np.nan, sine(r))
    return above + y.is_("LT", 1.0).choose(0.0, 1.0 / y) + cotangent


# --- the function itself ---


def gamma_function(x: Expr) -> Expr:
    """gamma(x): nan at -1, -2, ..., infinite at 0."""
    y = x.abs()
    far, near_zero = y.is_("GE", 8.0), y.is_("LT", 1.0)
    z, p, _ = _reduced(far.choose(1.0, y))
    base = log_gamma_one(z).exp()
    # one factor of the power at a time, so that nothing overflows before the result does
    limit = 200.0 if x.double else 40.0
    large = far.choose(y.minimum(limit), 8.0)
    root = large.power(large * 0.5 - 0.25)
    beyond = root * (-large).exp() * root * (stirling(large).exp() * np.sqrt(2 * np.pi))
    value = far.choose(y.is_("GE", limit).choose(np.inf, beyond), near_zero.choose(base / y, base * p))
    value = x.is_("EQ", 0.0).choose(1.0 / x, y.is_("EQ", y).choose(value, x))
    return x.is_("LT", 0.0).choose(_gamma_reflected(y, near_zero.choose(base, y * value)), value)


def _gamma_reflected(y: Expr, above: Expr) -> Expr:
    """gamma(-y), where `above` is gamma(1 + y)."""
    whole, r = from_whole(y.is_("EQ", np.inf).choose(0.0, y))
    height = sine(r)
    half = whole * 0.5
    height = half.is_("EQ", half.floor()).choose(-height, height)
    return r.is_("EQ", 0.0).choose(np.nan, 1.0 / (height * above))
