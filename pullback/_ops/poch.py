"""The rising factorial gamma(z + m) / gamma(z), DLMF 5.2.5, and its derivatives, without cancellation."""

from __future__ import annotations

import numpy as np

from pullback._core.array import Array
from pullback._ops import compare as c
from pullback._ops import trig
from pullback._ops.elementwise import add, div, mul, neg, scalar, sub
from pullback._ops.expressions import Expr, Host, written
from pullback._ops.families import FLOAT, nary, scipy_kernel
from pullback._ops.gamma import digamma, gamma
from pullback._ops.gamma_formulas import from_whole, gamma_function, sine
from pullback._ops.rounding import floor
from pullback._ops.stirling import excess, polygamma_step, scaled_gamma
from pullback._ops.zeta import polygamma


def _positive(z: Expr, m: Expr, n: Expr) -> Expr:
    """For z > 0 and n = z + m > 0; below 1 it is z / n times that of z + 1."""
    low = z.is_("LT", 1.0)
    above, under = low.choose(z, 1.0), low.choose(n, 1.0)
    z, n = low.choose(z + 1.0, z), low.choose(n + 1.0, n)
    u = m / z
    log = u.abs().is_("LT", 0.5).choose(0.0, n.log() - z.log())
    (fz, ez), (fn, en) = scaled_gamma(z), scaled_gamma(n)
    # half of the product at a time: its factors overflow before it does
    exponent = z * excess(u, log)
    half = n.power(m * 0.5) * ((ez - en - exponent) * 0.5).exp()
    # far beyond the finite range one of its factors is infinite and the other 0
    beyond = (m * n.log() - exponent).is_("GT", 3000.0 if z.double else 400.0)
    return beyond.choose(np.inf, half * above * (fz / fn / under) * half)


def _signed_sine(x: Expr) -> Expr:
    """sin(pi x) / pi."""
    whole, r = from_whole(x)
    half = whole * 0.5
    return half.is_("EQ", half.floor()).choose(sine(r), -sine(r))


_FEW = 8


def _product(z: Expr, m: Expr) -> Expr:
    """The product for whole m from -8 to 8, factor by factor."""
    start, count = m.is_("LT", 0.0).choose(z + m, z), m.abs()
    total = z.lifted(1.0)
    for k in range(_FEW):
        total = count.is_("GT", float(k)).choose(total * (start + float(k)), total)
    return m.is_("LT", 0.0).choose(total.is_("EQ", 0.0).choose(np.inf, 1.0 / total), total)


def _poch(z: Expr, m: Expr) -> Expr:
    few = m.is_("EQ", m.floor()) & m.abs().is_("LE", float(_FEW))
    return few.choose(_product(z, few.choose(m, 0.0)), _quotient(z, m))


def _quotient(z: Expr, m: Expr) -> Expr:
    n = z + m
    good = z.abs().is_("LT", np.inf) & m.abs().is_("LT", np.inf)
    z, m, n = good.choose(z, 1.0), good.choose(m, 1.0), good.choose(n, 2.0)
    low_z, low_n = z.is_("LE", 0.0), n.is_("LE", 0.0)
    both, mixed = low_z & low_n, (low_z | low_n) & ~(low_z & low_n)
    # both of one sign: below 0 by reflection, DLMF 5.5.3, where the sines of a whole m give only a sign
    ratio = _positive(
        mixed.choose(1.0, both.choose(1.0 - n, z)), mixed.choose(0.0, m), mixed.choose(1.0, both.choose(1.0 - z, n))
    )
    half = m * 0.5
    sign = half.is_("EQ", half.floor()).choose(1.0, z.lifted(-1.0))
    sine_n = _signed_sine(n)
    turn = m.is_("EQ", m.floor()).choose(sign, sine_n.is_("EQ", 0.0).choose(np.inf, _signed_sine(z) / sine_n))
    value = both.choose(turn * ratio, ratio)
    # of different signs: a product, or its reciprocal
    above, below = low_z.choose(n, z), low_z.choose(z, n)
    product = gamma_function(mixed.choose(above, 1.0)) * _signed_sine(below)
    product = product * gamma_function(mixed.choose(1.0 - below, 1.0))
    across = low_z.choose(product, product.is_("EQ", 0.0).choose(np.inf, 1.0 / product))
    return good.choose(mixed.choose(across, value), np.nan)


def _step(a: Array, b: Array) -> Array:
    """digamma(a + b) - digamma(a), for either sign of b."""
    back = c.lt(b, scalar(b, 0))
    step = polygamma_step(c.select(back, add(a, b), a), c.select(back, neg(b), b), 0)
    return c.select(back, neg(step), step)


def _sine_at(r: Array) -> Array:
    return mul(trig.sin(mul(scalar(r, np.pi), r)), scalar(r, 1 / np.pi))


# sin(pi r) / pi (digamma(n) - digamma(z)) at r = 0: computed for the sake of its derivatives alone
_at_root_p = nary(
    "poch_at_root",
    lambda r, z, n: np.zeros(np.broadcast_shapes(r.shape, z.shape, n.shape), r.dtype),
    written(lambda r, z, n: r * 0.0),
    lambda t, y, r, z, n: mul(t, mul(trig.cos(mul(scalar(r, np.pi), r)), _step(z, sub(n, z)))),
    lambda t, y, r, z, n: neg(mul(t, mul(_sine_at(r), polygamma(scalar(z, 1), z)))),
    lambda t, y, r, z, n: mul(t, mul(_sine_at(r), polygamma(scalar(z, 1), n))),
    add=add,
    accepts=FLOAT,
)


def _below_one(z: Array, m: Array, n: Array) -> Array:
    """The derivative by z in (0, 1) of z / n times a function of z + 1, which neither cancels nor overflows."""
    above = add(z, scalar(z, 1))
    return mul(poch_p.bind(above, m), add(mul(div(m, n), div(scalar(n, 1), n)), mul(div(z, n), _step(above, m))))


def _by_z(t: Array, y: Array, z: Array, m: Array) -> Array:
    one, zero = scalar(z, 1), scalar(z, 0)
    below = c.bitwise_and(c.bitwise_and(c.gt(z, zero), c.lt(z, one)), c.gt(add(z, m), zero))
    some = [c.select(below, v, one) for v in (z, m, add(z, m))]
    away = [c.select(below, one, v) for v in (z, m)]
    return mul(t, c.select(below, _below_one(*some), _away_by_z(y, *away)))


def _away_by_z(y: Array, z: Array, m: Array) -> Array:
    n, zero, one = add(z, m), scalar(z, 0), scalar(z, 1)
    whole = c.eq(z, floor(z))
    # below 0, for whole m, it is reflected; at a pole of gamma(z) alone it vanishes, and has a slope
    turned = c.bitwise_and(c.bitwise_and(c.le(z, zero), c.le(n, zero)), c.eq(m, floor(m)))
    root = c.bitwise_and(c.bitwise_and(c.le(z, zero), whole), c.gt(n, zero))
    base = c.select(turned, sub(one, n), c.select(root, one, z))
    step = mul(y, _step(base, m))
    half = mul(z, scalar(z, 0.5))
    above, below = c.select(root, n, one), c.select(root, sub(one, z), one)
    # by reflection gamma(n) gamma(1 - z) sin(pi z) / pi, whose slope has a second term, which vanishes here
    rest = c.select(root, sub(z, floor(z)), zero)
    turn = add(trig.cos(mul(scalar(z, np.pi), rest)), _at_root_p.bind(rest, below, above))
    at_root = mul(mul(gamma(above), gamma(below)), turn)
    at_root = c.select(c.eq(half, floor(half)), at_root, neg(at_root))
    return c.select(root, at_root, c.select(turned, neg(step), step))


def _by_m(t: Array, y: Array, z: Array, m: Array) -> Array:
    return mul(t, mul(y, digamma(add(z, m))))


_scipy_poch = scipy_kernel("poch", np.float64)


def _kernel(z, m):
    value = _scipy_poch(z, m)
    # SciPy subtracts logarithms of gamma functions, or divides functions that overflow
    far = (z > 0) & (z + m > 0) & (z < np.inf) & (m < np.inf)
    if far.any():
        z, m, far = np.broadcast_arrays(z, m, far)
        a, b = (Host(v[far].astype(np.float64)) for v in (z, m))
        few = (b.value == np.floor(b.value)) & (abs(b.value) <= _FEW)
        value = np.array(value)
        value[far] = np.where(few, value[far], _positive(a, b, a + b).value)
    return value


poch_p = nary("poch", _kernel, written(_poch), _by_z, _by_m, add=add, accepts=FLOAT)
