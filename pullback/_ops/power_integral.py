"""The integral of log(s)**k s**(m - 1) over s from 1 to x: for k = 0 (x**m - 1) / m, transforms by powers.

With l = log(x) it is l**(k + 1) times the integral of u**k exp(m l u) over u from 0 to 1. Its derivative by m has
k + 1 for k.
"""

from __future__ import annotations

import math

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._ops.compare import eq, lt, select
from pullback._ops.elementwise import add, exp, integer_pow, log, log1p, mul, pow, scalar, sub
from pullback._ops.expressions import Expr, kernel, polynomial, written
from pullback._ops.families import FLOAT, nary
from pullback._ops.identity import stop_gradient
from pullback._ops.rounding import round_to_even
from pullback._ops.special import xlog1py_p
from pullback._ops.trig import abs as absolute


def _moment(t: Expr, order: int) -> tuple[Expr, Expr]:
    """The integral of u**order exp(t u) over u from 0 to 1, as two factors, of which the second may be huge."""
    cut = order + 2.0
    size = t.abs()
    near, positive = size.is_("LE", cut), t.is_("GE", 0.0)
    inner = near.choose(size, 0.0)
    # two series with positive terms: in powers of t, and of -t in front of exp(t) (DLMF 13.2.39)
    count = 24 + 3 * order if t.double else 14 + 2 * order
    rising = polynomial(inner, [1 / (math.factorial(j) * (order + 1 + j)) for j in range(count)])
    falling = [math.factorial(order) / math.factorial(order + 1 + j) for j in range(count)]
    series = positive.choose(rising, (-inner).exp() * polynomial(inner, falling))
    far = near.choose(cut, t)
    # of exp(t) its root twice: what it is multiplied by may bring it back into the range
    grown = positive.choose(far * 0.5, far).exp()
    value = positive.choose(grown - 1.0 / grown, grown - 1.0) / far
    for k in range(1, order + 1):
        value = (grown - value * float(k)) / far
    value = grown.is_("EQ", np.inf).choose(np.inf, t.is_("EQ", -np.inf).choose(0.0, value))
    return near.choose(series, value), (near | ~positive).choose(1.0, grown)


def _power_integral(x: Expr, m: Expr, order: int, shifted: bool) -> Expr:
    l = x.log1p() if shifted else x.log()  # noqa: E741
    product = (l.is_("EQ", 0.0) | m.is_("EQ", 0.0)).choose(0.0, l * m)
    endless, falls = l.abs().is_("EQ", np.inf), l.is_("LT", 0.0)
    value, factor = _moment(product, order)
    power = endless.choose(0.0, l)
    for _ in range(order + 1):
        value = value * power
    # from 0 or to infinity
    converges = falls.choose(m, -m).is_("GT", 0.0)
    sign = (-1.0) ** (order + 1)
    whole = converges.choose(m, 1.0)
    whole = sign * math.factorial(order) / (whole if order == 0 else whole.power(order + 1.0))
    without = converges.choose(whole, falls.choose(l.lifted(sign * np.inf), np.inf))
    return endless.choose(without, value * factor)


def _by_x(t: Array, y: Array, x: Array, m: Array, order: int, shifted: bool) -> Array:
    # of a small m, what m - 1 would lose of its digits: x to the power of it is a factor near 1
    grid = 2.0 ** dtypes.finfo(m.dtype).nmant
    rounded = mul(round_to_even(mul(m, scalar(m, grid))), scalar(m, 1 / grid))
    lost = stop_gradient(select(lt(absolute(m), scalar(m, 0.5)), sub(m, rounded), scalar(m, 0)))
    exponent = sub(sub(m, lost), scalar(m, 1))
    power = exp(xlog1py_p.bind(exponent, x)) if shifted else pow(x, exponent)
    logarithm = (log1p if shifted else log)(x)
    finite = stop_gradient(select(lt(absolute(logarithm), scalar(x, np.inf)), logarithm, scalar(x, 0)))
    power = mul(power, add(mul(lost, finite), scalar(m, 1)))
    if order:
        power = select(eq(power, scalar(power, 0)), power, mul(integer_pow(logarithm, order), power))
    return mul(t, power)


power_integral_p: Primitive = nary(
    "power_integral",
    kernel(_power_integral),
    written(_power_integral),
    _by_x,
    lambda t, y, x, m, order, shifted: mul(t, power_integral_p.bind(x, m, order=order + 1, shifted=shifted)),
    add=add,
    accepts=FLOAT,
)
