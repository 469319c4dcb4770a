"""The beta function, and the regularized incomplete beta function with the density that is its derivative.

XLA has no operations for them: their lowerings are written with `expressions`, which also serve as kernels.
"""

from __future__ import annotations

import math

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._ops import compare as c
from pullback._ops.beta_tail import integrals, smaller, tail, weight
from pullback._ops.elementwise import add, div, log, log1p, mul, neg, scalar, sub
from pullback._ops.expressions import Expr, kernel, where_any, written
from pullback._ops.families import FLOAT, nary, operands
from pullback._ops.gamma_formulas import log_gamma
from pullback._ops.quotients import fraction
from pullback._ops.stirling import polygamma_step, scaled_gamma
from pullback._ops.zeta import polygamma

# --- log |beta(a, b)| ---


def _parts(good: Expr, a: Expr, b: Expr) -> tuple[Expr, Expr, Expr, Expr, Expr]:
    """log(beta) as an exponent and the logarithms of a factor and of a divisor; and the larger of a and b, and
    a + b.
    """
    small, large = good.choose(a.minimum(b), 1.0), good.choose(a.maximum(b), 1.0)
    n = small + large
    ratio = small / n
    ordinary = ratio.is_("GT", 1e-30)
    log = ordinary.choose(ratio.log(), small.log() - n.log())
    rest = ordinary.choose(large * (-ratio).log1p(), -small)
    (fs, es), (fl, el), (fn, en) = (scaled_gamma(z) for z in (small, large, n))
    return small * log + rest + (en - el - es), fn / fl, fs, large, n


def log_beta(a: Expr, b: Expr) -> Expr:
    good = a.is_positive() & b.is_positive()
    exponent, above, under, large, n = _parts(good, a, b)
    # one logarithm would be enough, but the compiler turns the quotient of three numbers into one by a product, which
    # underflows
    value = exponent + (above.log() - under.log())
    infinite = a.is_("EQ", np.inf) & b.is_("GT", 0.0) | b.is_("EQ", np.inf) & a.is_("GT", 0.0)
    value = (infinite | n.is_("EQ", np.inf)).choose(-np.inf, value)
    direct = ~good & ~infinite | value.abs().is_("LT", 0.5) & large.is_("LT", 8.0)
    return where_any(direct, lambda a, b: log_gamma(a) + log_gamma(b) - log_gamma(a + b), value, a, b)


log_beta_p = nary(
    "log_beta",
    kernel(log_beta),
    written(log_beta),
    lambda t, y, a, b: neg(mul(t, polygamma_step(a, b, 0))),
    lambda t, y, a, b: neg(mul(t, polygamma_step(b, a, 0))),
    add=add,
    accepts=FLOAT,
)

# --- beta(a, b): its exponent is moderate where the logarithm is large because of a factor ---


def _beta(a: Expr, b: Expr) -> Expr:
    good = a.is_positive() & b.is_positive()
    exponent, above, under, _, _ = _parts(good, a, b)
    value = good.choose(exponent.exp() * above, 1.0) / under
    return where_any(~good, lambda a, b: log_beta(a, b).exp(), value, a, b)


# |beta|: the sign is a constant
beta_size_p = nary(
    "beta_size",
    kernel(_beta),
    written(_beta),
    lambda t, y, a, b: neg(mul(t, mul(y, polygamma_step(a, b, 0)))),
    lambda t, y, a, b: neg(mul(t, mul(y, polygamma_step(b, a, 0)))),
    add=add,
    accepts=FLOAT,
)

# --- the logarithm of the density: x**(a - 1) (1 - x)**(b - 1) / beta(a, b) ---


def _raised(a: Expr, b: Expr) -> tuple[Expr, Expr, Expr]:
    """The parameters, and whether tiny ones are raised by 2**_RAISED, which multiplies the density."""
    # it is proportional to a tiny parameter, and to two of them: what is made of the smallest number is subnormal
    tiny = a.minimum(b).is_("LT", 2.0**-900 if a.double else 2.0**-110)
    moderate = 2.0**-450 if a.double else 2.0**-60
    factor = 2.0**_RAISED
    return *((tiny & z.is_("LT", moderate)).choose(z * factor, z) for z in (a, b)), tiny


_RAISED = 24


def log_beta_density(a: Expr, b: Expr, x: Expr) -> Expr:
    """The logarithm of the density at x."""
    some, other, tiny = _raised(a, b)
    t = tail(some, other, x)
    # by the quotient, so that the logarithms of a tiny parameter and of a tiny x do not cancel
    ratio = t.factor / t.x
    plain = ratio.is_("GT", 1e-30) & ratio.is_("LT", 1e30)
    log = plain.choose(ratio, t.factor).log() - plain.choose(1.0, t.x).log()
    value = log + t.exponent - (-t.x).log1p()
    return _density_at_ends(a, b, x, tiny.choose(value - _RAISED * math.log(2), value))


def _density_at_ends(a: Expr, b: Expr, x: Expr, value: Expr) -> Expr:
    """The logarithm of the density where it differs from `value`: at the ends, and for parameters 0 and infinity."""
    valid = a.is_("GE", 0.0) & b.is_("GE", 0.0)
    # for parameters 0 and infinity all mass is at one end
    spread = a.is_positive() & b.is_positive()
    value = spread.choose(value, -np.inf)
    for end, p, q in ((0.0, a, b), (1.0, b, a)):
        there = p.is_("EQ", 1.0).choose(q.log(), p.is_("LT", 1.0).choose(np.inf, p * 0.0 - np.inf))
        value = x.is_("EQ", end).choose(there, value)
    outside = x.is_("LT", 0.0) | x.is_("GT", 1.0)
    return (valid & x.is_("EQ", x)).choose(outside.choose(-np.inf, value), np.nan)


beta_log_density_p = nary(
    "beta_log_density",
    kernel(log_beta_density),
    written(log_beta_density),
    lambda t, y, a, b, x: mul(t, _log_less_mean(a, b, log(x))),
    lambda t, y, a, b, x: mul(t, _log_less_mean(b, a, log1p(neg(x)))),
    lambda t, y, a, b, x: mul(
        t, sub(fraction(sub(a, scalar(a, 1)), x), fraction(sub(b, scalar(b, 1)), sub(scalar(x, 1), x)))
    ),
    add=add,
    accepts=FLOAT,
)


def _log_less_mean(a, b, logarithm):
    """log(x) minus its mean under the distribution, digamma(a) - digamma(a + b); for 1 - x exchange a and b."""
    return add(logarithm, polygamma_step(a, b, 0))


# --- the density divided by x (1 - x) to the power k: its derivatives contain no product of 0 and infinity ---


def _divided_density(a: Expr, b: Expr, x: Expr, k: int) -> Expr:
    some, other, tiny = _raised(a, b)
    t = tail(some, other, x)
    spread, count = t.x * t.y, k + 1
    half = (t.exponent * 0.5).exp()
    for _ in range(count // 2):
        half = half / spread
    if count % 2:
        half = half / spread.sqrt()
    # values that vanish before the division; otherwise the logarithms have rounding errors of their own magnitude
    logs = t.x.log() + (-t.x).log1p()
    vanishes = t.exponent.is_("LT", -1300.0 if x.double else -160.0)
    half = vanishes.choose(((t.exponent - logs * float(count)) * 0.5).exp(), half)
    inside = a.is_("GT", 0.0) & b.is_("GT", 0.0) & x.is_("GT", 0.0) & x.is_("LT", 1.0) & t.good
    edges = _divided_at_ends(a, b, x, k)
    value = t.factor * half * half
    return inside.choose(tiny.choose(value * 2.0**-_RAISED, value), edges)


def _divided_at_ends(a: Expr, b: Expr, x: Expr, k: int) -> Expr:
    """The divided density where it is none of `a, b > 0` and `0 < x < 1`; at an end one factor is 0, infinite or 1."""
    if k == 0:
        return _density_at_ends(a, b, x, x * 0.0).exp()
    value = x * 0.0
    for end, p, q in ((0.0, a, b), (1.0, b, a)):
        # 1 / beta(k + 1, q)
        constant = q
        for j in range(1, k + 1):
            constant = constant * (q + float(j)) * (1.0 / j)
        there = p.is_("EQ", k + 1.0).choose(constant, p.is_("LT", k + 1.0).choose(np.inf, p * 0.0))
        value = x.is_("EQ", end).choose(there, value)
    outside = x.is_("LT", 0.0) | x.is_("GT", 1.0)
    valid = a.is_("GE", 0.0) & b.is_("GE", 0.0) & x.is_("EQ", x)
    return valid.choose(outside.choose(0.0, value), np.nan)


def _times_log(y: Array, a: Array, b: Array, x: Array, upper: bool, k: int = 0) -> Array:
    """`y`, like x**(a - 1 - k), times the logarithm of x less its mean; or with `upper` those of 1 - x, and b.

    Where y and x are 0 it is 0. By x its slope there is that of x log(x), infinite, if y is like x, else 0.
    """
    u, power = (sub(scalar(x, 1), x), b) if upper else (x, a)
    end = c.bitwise_and(c.eq(y, scalar(y, 0)), c.eq(u, scalar(u, 0)))
    some = c.select(end, scalar(x, 0.5), x)
    less = _log_less_mean(b, a, log1p(neg(some))) if upper else _log_less_mean(a, b, log(some))
    bent = c.bitwise_and(end, c.eq(power, scalar(power, k + 2)))
    slope = mul(y, c.select(end, scalar(x, 0), less))
    return c.select(bent, neg(fraction(c.select(bent, u, scalar(x, 0)), scalar(x, 0))), slope)


def _density_by(y, a, b, x, upper, k):
    """By a, or with `upper` by b: 0 where the density vanishes, not 0 times infinity."""
    inside = c.bitwise_and(c.bitwise_and(c.gt(x, scalar(x, 0)), c.lt(x, scalar(x, 1))), c.eq(y, scalar(y, 0)))
    none = c.bitwise_or(inside, c.le(b if upper else a, scalar(a, 0)))
    return c.select(none, y, _times_log(y, a, b, x, upper, k))


def _density_by_x(t, y, a, b, x, k):
    """x**p (1 - x)**q has the slope (p (1 - x) - q x) x**(p - 1) (1 - x)**(q - 1); at an end one may be flat."""
    p, q = sub(a, scalar(a, k + 1)), sub(b, scalar(b, k + 1))
    rest = sub(scalar(x, 1), x)
    low = c.bitwise_and(c.eq(x, scalar(x, 0)), c.eq(p, scalar(p, 0)))
    high = c.bitwise_and(c.eq(x, scalar(x, 1)), c.eq(q, scalar(q, 0)))
    flat = c.bitwise_or(low, high)
    some = c.select(flat, scalar(x, 0.5), x)
    slope = mul(beta_density_p.bind(a, b, some, k=k + 1), sub(mul(p, sub(scalar(x, 1), some)), mul(q, some)))
    # where the power of x, or of 1 - x, is a constant, the slope of the other
    by_other = c.select(low, neg(div(q, c.select(low, rest, scalar(x, 1)))), div(p, c.select(high, x, scalar(x, 1))))
    return mul(t, c.select(flat, mul(y, by_other), slope))


beta_density_p = nary(
    "beta_density",
    kernel(_divided_density),
    written(_divided_density),
    lambda t, y, a, b, x, k: mul(t, _density_by(y, a, b, x, False, k)),
    lambda t, y, a, b, x, k: mul(t, _density_by(y, a, b, x, True, k)),
    _density_by_x,
    add=add,
    accepts=FLOAT,
)


def beta_density(a: Array, b: Array, x: Array) -> Array:
    """`x**(a - 1) (1 - x)**(b - 1) / beta(a, b)`."""
    return beta_density_p.bind(a, b, x, k=0)


_LIMIT = 1e6  # beyond it SciPy loses digits
_TINY = 0.01  # for smaller parameters 1 minus a tail loses more than a factor of 20

# --- the incomplete function: the smaller tail is computed, the other one is 1 minus that ---


def _with_ends(a: Expr, b: Expr, x: Expr, value: Expr, at_zero: float, at_one: float) -> Expr:
    """The value below and above all x where there is no density: at 0, at 1, and for parameters 0 and infinity."""
    valid = a.is_("GE", 0.0) & b.is_("GE", 0.0) & x.is_("GE", 0.0) & x.is_("LE", 1.0)
    value = x.is_("EQ", 0.0).choose(at_zero, x.is_("EQ", 1.0).choose(at_one, value))
    # all mass is at 0, or at 1
    low, high = a.is_("EQ", 0.0) | b.is_("EQ", np.inf), b.is_("EQ", 0.0) | a.is_("EQ", np.inf)
    value = low.choose(at_one, high.choose(at_zero, value))
    return (valid & ~(low & high)).choose(value, np.nan)


def _betainc(a: Expr, b: Expr, x: Expr, upper: bool = False) -> Expr:
    t = smaller(tail(a, b, x), _TINY)
    part = (t.factor * weight(t) * t.exponent.exp()).minimum(1.0)
    near = ~t.lower if upper else t.lower
    return _with_ends(a, b, x, near.choose(part, 1.0 - part), *((1.0, 0.0) if upper else (0.0, 1.0)))


def _betainc_kernel(a, b, x, upper: bool = False):
    from scipy import special

    # in double precision: SciPy's own float32 functions were wrong by more than the rounding error
    a, b, x = (np.asarray(z, np.float64) for z in (a, b, x))
    value = (special.betaincc if upper else special.betainc)(a, b, x)
    # where a b underflows SciPy's betainc is wrong in its first digit
    plain = (a * b > 1e-300) & (a > 0) & (a < _LIMIT) & (b < _LIMIT) & (x > 0) & (x < 1)
    return value if np.all(plain) else np.where(plain, value, kernel(_betainc)(a, b, x, upper=upper))


def _log_betainc(a: Expr, b: Expr, x: Expr, upper: bool) -> Expr:
    t = smaller(tail(a, b, x), _TINY)
    rest = weight(t)
    part = t.factor * rest * t.exponent.exp()
    direct = part.is_("GT", 1e-30)
    log = direct.choose(direct.choose(part, 1.0).log(), t.factor.log() + rest.log() + t.exponent)
    near = ~t.lower if upper else t.lower
    value = near.choose(log, (-near.choose(0.0, part)).log1p())
    return _with_ends(a, b, x, value, *((0.0, -np.inf) if upper else (-np.inf, 0.0)))


def _signed(t: Array, upper: bool) -> Array:
    return neg(t) if upper else t


regularized_incomplete_beta_p: Primitive = nary(
    "regularized_incomplete_beta",
    _betainc_kernel,
    written(_betainc),
    lambda t, y, a, b, x, upper=False: _signed(mul(t, _moment(a, b, x, 1, 0)), upper),
    lambda t, y, a, b, x, upper=False: _signed(mul(t, _moment(a, b, x, 0, 1)), upper),
    lambda t, y, a, b, x, upper=False: _signed(mul(t, beta_density(a, b, x)), upper),
    add=add,
    accepts=FLOAT,
)

log_betainc_p = nary(
    "log_betainc",
    kernel(_log_betainc),
    written(_log_betainc),
    lambda t, y, a, b, x, upper: _signed(mul(t, _moment(a, b, x, 1, 0, _side(upper))), upper),
    lambda t, y, a, b, x, upper: _signed(mul(t, _moment(a, b, x, 0, 1, _side(upper))), upper),
    lambda t, y, a, b, x, upper: _signed(mul(t, _hazard(a, b, x, upper)), upper),
    add=add,
    accepts=FLOAT,
)


def _side(upper: bool) -> str:
    return "upper" if upper else "lower"


# --- the density over the incomplete function; for the smaller tail it is a reciprocal without large terms ---


def _hazard_formula(a: Expr, b: Expr, x: Expr, upper: bool) -> Expr:
    t = smaller(tail(a, b, x), _TINY)
    part = weight(t)
    near = ~t.lower if upper else t.lower
    front = t.factor * t.exponent.exp()
    value = near.choose(1.0 / part, front / (1.0 - near.choose(0.0, front * part))) / t.x / t.y
    density = _density_at_ends(a, b, x, x * 0.0)
    log = _with_ends(a, b, x, x * 0.0, *((0.0, -np.inf) if upper else (-np.inf, 0.0)))
    none = density.is_("EQ", -np.inf)  # where both may vanish
    return t.good.choose(value, none.choose(density, density - log).exp())


def _hazard_by_x(t, y, a, b, x, upper):
    one = scalar(x, 1)
    # at the end where all probability is below, or above, it is the density, and has its slope
    end = c.eq(x, scalar(x, 0 if upper else 1))
    some, there = c.select(end, scalar(x, 0.5), x), c.select(end, x, scalar(x, 0.5))
    falls = sub(fraction(sub(a, one), some), fraction(sub(b, one), sub(one, some)))
    at_end = _density_by_x(one, y, a, b, there, 0)
    slope = c.select(end, sub(at_end, _signed(mul(y, y), upper)), mul(y, sub(falls, _signed(y, upper))))
    return mul(t, slope)


def _hazard_by(i: int, j: int):
    def rule(t, y, a, b, x, upper):
        less = _times_log(y, a, b, x, not i)
        return mul(t, sub(less, mul(y, _signed(_moment(a, b, x, i, j, _side(upper)), upper))))

    return rule


_hazard_p = nary(
    "beta_hazard",
    kernel(_hazard_formula),
    written(_hazard_formula),
    _hazard_by(1, 0),
    _hazard_by(0, 1),
    _hazard_by_x,
    add=add,
    accepts=FLOAT,
)


def _hazard(a: Array, b: Array, x: Array, upper: bool) -> Array:
    return _hazard_p.bind(a, b, x, upper=upper)


# --- its derivatives: moments of log(t) and log(1 - t), minus their means, over the smaller tail ---


def _moments(a: Expr, b: Expr, x: Expr, i: int, j: int, over: str | None) -> Expr:
    t = smaller(tail(a, b, x))
    whole, moment = integrals(t, [(0, 0), (i, j)], t.good)
    front = t.factor * t.exponent.exp() / t.v
    value = front * moment
    if over is not None:
        near = t.lower if over == "lower" else ~t.lower
        value = near.choose(moment / t.good.choose(whole, 1.0), value / (1.0 - near.choose(0.0, front * whole)))
    valid = a.is_("GE", 0.0) & b.is_("GE", 0.0) & x.is_("GE", 0.0) & x.is_("LE", 1.0)
    return valid.choose(t.good.choose(t.lower.choose(value, -value), 0.0), np.nan)


def _moved(a, b, x, i: int, j: int, over: str | None, by: int) -> Array:
    """The derivative of a moment over a fixed tail by a, or (by = 1) by b: one more power, and shifted means."""
    both = polygamma(scalar(a, 1), add(a, b))
    first, second = (both, polygamma_step(b, a, 1)) if by else (polygamma_step(a, b, 1), both)
    slope = _moment(a, b, x, i + 1 - by, j + by, over)
    if i:
        slope = add(slope, mul(mul(scalar(a, i), first), _moment(a, b, x, i - 1, j, over)))
    if j:
        slope = add(slope, mul(mul(scalar(a, j), second), _moment(a, b, x, i, j - 1, over)))
    return slope


def _moment_tangent(by: int):
    def rule(t, y, a, b, x, i, j, over):
        slope = _moved(a, b, x, i, j, over, by)
        if over is not None:
            change = mul(y, _moment(a, b, x, 1 - by, by, over))
            slope = sub(slope, _signed(change, over == "upper"))
        return mul(t, slope)

    return rule


def _moment_at(t, y, a, b, x, i, j, over):
    upper = over == "upper"
    rate = beta_density(a, b, x) if over is None else _hazard(a, b, x, upper)
    value = rate
    for high in [False] * i + [True] * j:
        value = _times_log(value, a, b, x, high)
    return mul(t, value if over is None else sub(value, mul(rate, _signed(y, upper))))


beta_moment_p = nary(
    "beta_moment",
    kernel(_moments),
    written(_moments),
    _moment_tangent(0),
    _moment_tangent(1),
    _moment_at,
    add=add,
    accepts=FLOAT,
)


def _moment(a, b, x, i: int, j: int, over: str | None = None) -> Array:
    """The integral of the density over the lower tail at x, or minus that over the upper tail if this is smaller,
    with the factor (log(t) - mean)**i (log(1 - t) - mean)**j; divided by the incomplete function if `over` is "lower"
    or "upper".
    """
    return beta_moment_p.bind(a, b, x, i=i, j=j, over=over)


def betainc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Array:
    """The regularized incomplete beta function I_x(a, b) for a, b >= 0 and x in [0, 1], else nan, elementwise.

    Floats of one dtype, of shapes that broadcast; TypeError for others. It is differentiable in all three.
    For parameters 0 and infinity it is the limit. Source: DLMF 8.17; the continued fraction 8.17.22, or quadrature.

    >>> from pullback import lax
    >>> print(f"{lax.betainc(1., 2., 0.5):.4f}")
    0.7500
    """
    return regularized_incomplete_beta_p.bind(*operands("betainc", a, b, x))
