"""The slope of the quantile function of the normal distribution, without the exponential of a square.

`1 / density(x)` has the rounding error of x times x**2. As the probability p is given exactly, the ratio of Mills (DLMF
7.8.1), `M(z) = upper(z) / density(z)`, gives the slope as `M(|x|) / min(p, 1 - p)`.
"""

from __future__ import annotations

import math

import numpy as np

from pullback._ops.elementwise import add, mul
from pullback._ops.expressions import Expr, written
from pullback._ops.families import FLOAT, nary, scipy_kernel
from pullback._ops.normal_tail import hazard_below


def _slope(p: Expr, x: Expr) -> Expr:
    z = x.abs()
    rest = p.minimum(1.0 - p)
    return rest.is_("EQ", 0.0).choose(np.inf, 1.0 / (hazard_below(z) * rest))


_erfcx = scipy_kernel("erfcx")


def _slope_kernel(p, x):
    mills = _erfcx(abs(x) * x.dtype.type(math.sqrt(0.5))) * x.dtype.type(math.sqrt(math.pi / 2))
    rest = np.minimum(p, 1 - p)
    return np.where(rest == 0, x.dtype.type(np.inf), mills / rest)


# x is the quantile of p, so the derivative by p is the total one
quantile_slope_p = nary(
    "quantile_slope",
    _slope_kernel,
    written(_slope),
    lambda t, y, p, x: mul(t, mul(mul(x, y), y)),
    None,
    add=add,
    accepts=FLOAT,
)
