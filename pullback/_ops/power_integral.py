"""(exp(m l) - 1) / m, the integral of exp(m t) from 0 to l, of a logarithm l and an exponent m: transforms by powers.

Its derivatives are exp(m l), and l**2 times the integral of u exp(m l u) over u from 0 to 1.
"""

from __future__ import annotations

import math

import numpy as np

from pullback._core.primitive import Primitive
from pullback._ops.elementwise import add, exp, mul, square
from pullback._ops.expressions import Expr, kernel, polynomial, written
from pullback._ops.families import FLOAT, nary, unary


def _moment(t: Expr, order: int) -> Expr:
    """The integral of u**order exp(t u) over u from 0 to 1."""
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
    value, grown = far.expm1() / far, far.exp()
    for k in range(1, order + 1):
        value = (grown - value * float(k)) / far
    value = t.is_("EQ", np.inf).choose(np.inf, t.is_("EQ", -np.inf).choose(0.0, value))
    return near.choose(series, value)


moment_p: Primitive = unary(
    "exponential_moment",
    kernel(_moment),
    written(_moment),
    lambda t, x, y, order: mul(t, moment_p.bind(x, order=order + 1)),
    FLOAT,
)


def _power_integral(l: Expr, m: Expr) -> Expr:  # noqa: E741
    product = (l.is_("EQ", 0.0) | m.is_("EQ", 0.0)).choose(0.0, l * m)
    bottomless = l.is_("EQ", -np.inf)
    value = bottomless.choose(0.0, l) * _moment(product, 0)
    raised = m.is_("GT", 0.0)
    return bottomless.choose(raised.choose(-1.0 / raised.choose(m, 1.0), -np.inf), value)


power_integral_p = nary(
    "power_integral",
    kernel(_power_integral),
    written(_power_integral),
    lambda t, y, l, m: mul(t, exp(mul(l, m))),  # noqa: E741
    lambda t, y, l, m: mul(t, mul(square(l), moment_p.bind(mul(l, m), order=1))),  # noqa: E741
    add=add,
    accepts=FLOAT,
)
