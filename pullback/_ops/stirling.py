"""Ratios of the gamma function and differences of polygamma functions, without cancellation.

Stirling's series is that of DLMF 5.11.1; an argument that is too small for it is increased by the recurrence 5.5.1.
"""

from __future__ import annotations

import math

import numpy as np

from pullback._core.array import Array
from pullback._core.typing import AnyValue
from pullback._ops.elementwise import add, mul, scalar
from pullback._ops.expressions import Expr, kernel, polynomial, where_any, written
from pullback._ops.families import FLOAT, nary
from pullback._ops.gamma_formulas import bernoulli, log_derivative
from pullback._ops.zeta import polygamma

_BERNOULLI = [float(number) for number in bernoulli(10)]
_RAISED = 8
# (a + 1) (a + 2) ... (a + 7), in powers of a
_RISING = (5040.0, 13068.0, 13132.0, 6769.0, 1960.0, 322.0, 28.0, 1.0)


def excess(u: Expr, log: Expr) -> Expr:
    """`u - log(1 + u)`, at least 0; the logarithm is given, and used where |u| > 1/2."""
    # with w = u / (2 + u) it is u w - 2 (w**3 / 3 + w**5 / 5 + ...), as log(1 + u) = 2 artanh(w)
    near = u.abs().is_("LT", 0.5)
    inner = near.choose(u, 0.0)
    w = inner / (inner + 2.0)
    square = w * w
    series = polynomial(square, [1 / k for k in range(3, 28 if u.double else 14, 2)])
    return near.choose(w * (inner - square * series * 2.0), u - log)


def scaled_gamma(a: Expr) -> tuple[Expr, Expr]:
    """`a**a exp(-a) / gamma(a)` for a > 0, as a factor and the exponent of another one, both of moderate size."""
    low = a.is_("LT", float(_RAISED))
    z = low.choose(a + float(_RAISED), a)
    r = 1.0 / z
    terms = [b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI, 1)]
    series = r * polynomial(r * r, terms if a.double else terms[:4])
    few = low.choose(a, 1.0)
    square = r * r
    product = polynomial(few, _RISING) * (square * square) * (square * square * math.exp(_RAISED))
    raised = few * (few * r).maximum(1e-300 if a.double else 1e-37).log()
    root = (z * (0.5 / math.pi)).sqrt()
    return low.choose(few * (product * root), root), low.choose(raised, 0.0) - series


def _step(a: Expr, b: Expr, n: int) -> Expr:
    """`polygamma(n, a + b) - polygamma(n, a)` for a > 0 and b >= 0: sums of terms of one sign."""
    raised = 10 if a.double else 6
    # b in two parts, one of them 1; the smaller one is raised, so that no term vanishes, unless the first one is all
    b_large, b_small = b.minimum(2.0**1020 if b.double else 2.0**125).maximum(1.0), b.minimum(1.0)
    first = a.is_("LT", 1e-9 if a.double else 1e-4)
    lift = 400 if a.double else 60
    b_small = b_small * first.choose(1.0, b.lifted(2.0**lift))
    order = math.factorial(n)
    total = a * 0.0
    for k in range(raised):
        total = total + _power_step(a + float(k), b, b_large, b_small, [0.0] * (n + 1) + [float(order)])
    z = a + float(raised)
    # the series of DLMF 5.11.2 and its derivatives, in powers of 1 / z
    powers = [0.0] * (n + 18 if a.double else n + 8)
    if n:
        powers[n] = float(math.factorial(n - 1))
    powers[n + 1] = order / 2
    for k, number in enumerate(_BERNOULLI, 1):
        if 2 * k + n < len(powers):
            powers[2 * k + n] = number * math.factorial(2 * k + n - 1) / math.factorial(2 * k)
    total = total + _power_step(z, b, b_large, b_small, powers)
    tiny = b.is_("LT", 1e-20)
    if n == 0:
        total = total + tiny.choose(b_small / z, 0.0)
    total = total * first.choose(1.0, b.lifted(2.0**-lift))
    return total + tiny.choose(0.0, b / z).log1p() if n == 0 else -total if n % 2 else total


def _ratio(a: Expr, n: Expr, low: Expr, high: Expr) -> Expr:
    """a n / (low high) for n <= high, without a product that leaves the range."""
    return a.minimum(n) * (a.maximum(n) / high) / low


def log_gamma_bend(z: Expr, a: Expr, n: Expr) -> Expr:
    """`f(z + a + n) - f(z + a) - f(z + n) + f(z)` of f = log gamma, for z > 0, a > 0 and n >= 1: sums of one sign."""
    # it is proportional to an a far below 1 and z; in the terms that are, a tiny one is raised, that none vanishes
    tiny = a.is_("LT", 2.0**-600 if z.double else 2.0**-80)
    lift = 400 if z.double else 50
    up, down = tiny.choose(2.0**lift, z.lifted(1.0)), tiny.choose(2.0**-lift, z.lifted(1.0))
    above = z.is_("GE", 1.0)
    first = above.choose(a * up, a)
    # f(z) is f(z + 1) - log(z), and (z + a) (z + n) is z (z + a + n) + a n; a tiny z is raised, where 1 does not matter
    far = 500 if z.double else 64
    within = _ratio(first, n, z, z + a + n).is_("LT", 1e200 if z.double else 1e30)
    low = within.choose(z, z * 2.0**far)
    start = _ratio(first, n, low, z + a + n).log1p() + within.choose(0.0, z.lifted(far * math.log(2)))
    start = start * above.choose(down, 1.0)
    a = a * up
    total = z * 0.0
    for k in range(1, _RAISED):
        total = total + _ratio(a, n, z + float(k), z + float(k) + a + n).log1p()
    z = z + float(_RAISED)
    # Stirling's series: the linear terms cancel exactly; of a far below z products in place of logarithms
    part, across = a.minimum(n) * (a.maximum(n) / (z + a + n)), a / (z + n)
    plain = across.is_("GT", 1e-20 if z.double else 1e-10)
    bent = plain.choose(n * across.log1p() - (z - 0.5) * (part / z).log1p(), part * (0.5 / z))
    powers = [0.0] * (20 if z.double else 8)
    for k, number in enumerate(_BERNOULLI, 1):
        if 2 * k - 1 < len(powers):
            powers[2 * k - 1] = number / (2 * k * (2 * k - 1))
    a_large, a_small = a.maximum(1.0), a.minimum(1.0)
    series = _power_step(z, a, a_large, a_small, powers) - _power_step(z + n, a, a_large, a_small, powers)
    return start + (total + (a * (n / (z + a)).log1p() + bent + series)) * down


def polygamma_bend(z: Expr, a: Expr, n: Expr, order: int) -> Expr:
    """The derivative of `log_gamma_bend` by z of this order, from 1 on: it has the sign of (-1)**order."""
    lift = 400 if z.double else 50
    tiny = a.is_("LT", 2.0**-600 if z.double else 2.0**-80) & z.is_("GE", 1.0)
    a = tiny.choose(a * 2.0**lift, a)
    a_large, a_small = a.minimum(2.0**1020 if z.double else 2.0**125).maximum(1.0), a.minimum(1.0)

    def bend(z, powers):
        return _power_step(z, a, a_large, a_small, powers) - _power_step(z + n, a, a_large, a_small, powers)

    total = z * 0.0
    for k in range(_RAISED):
        total = total + bend(z + float(k), [0.0] * order + [float(math.factorial(order - 1))])
    z = z + float(_RAISED)
    powers = [0.0] * (order + 19 if z.double else order + 8)
    powers[order] = math.factorial(order - 1) / 2
    for k, number in enumerate(_BERNOULLI, 1):
        if 2 * k + order - 1 < len(powers):
            powers[2 * k + order - 1] = number * math.factorial(2 * k + order - 2) / math.factorial(2 * k)
    # the first term, log(z) or a power, is nearly all: it is written out as far as there are forms of one sign
    if order == 1:
        total = total + _ratio(a, n, z, z + a + n).log1p()
    elif order == 2:
        total = total + (a / (z + a)) * (n / (z + n)) * (z / (z + a + n) + 1.0) / z
    else:
        powers[order - 1] = float(math.factorial(order - 2))
    total = (total + bend(z, powers)) * tiny.choose(2.0**-lift, z.lifted(1.0))
    return -total if order % 2 else total


def digamma_step(a: Expr, b: Expr) -> Expr:
    """`digamma(a + b) - digamma(a)` for a > 0 and b >= 0."""
    return _step(a, b, 0)


def _power_step(z: Expr, b: Expr, b_large: Expr, b_small: Expr, powers: list[float]) -> Expr:
    """The polynomial in 1 / z minus that in 1 / (z + b), by its divided difference, with b in two factors."""
    # for a larger b the sum z + b has no reciprocal in the normal range
    upper, lower = 1.0 / z, 1.0 / (z + b.minimum(2.0**1020 if b.double else 2.0**125))
    value, slope = lower * 0.0 + powers[-1], lower * 0.0
    for coefficient in powers[-2::-1]:
        slope = slope * upper + value
        value = value * lower + coefficient if coefficient else value * lower
    return (b_large * lower) * (b_small * upper * slope)


def _polygamma_step(a: Expr, b: Expr, n: int) -> Expr:
    good = a.is_positive() & b.is_("GE", 0.0) & b.is_("LT", np.inf)
    value = _step(good.choose(a, 1.0), good.choose(b, 1.0), n)
    if n:
        return good.choose(value, np.nan)
    return where_any(~good, lambda a, b: log_derivative(a + b) - log_derivative(a), value, a, b)


polygamma_step_p = nary(
    "polygamma_step",
    kernel(_polygamma_step),
    written(_polygamma_step),
    lambda t, y, a, b, n: mul(t, polygamma_step(a, b, n + 1)),
    lambda t, y, a, b, n: mul(t, polygamma(scalar(a, n + 1), add(a, b))),
    add=add,
    accepts=FLOAT,
)


def polygamma_step(a: AnyValue, b: AnyValue, n: int) -> Array:
    """`polygamma(n, a + b) - polygamma(n, a)` of positive operands; for n = 0 also of negative ones."""
    return polygamma_step_p.bind(a, b, n=n)
