"""The slope of the quantile function of the normal distribution, without the exponential of a square.

`1 / density(x)` has the rounding error of x times x**2. As the probability p is given exactly, the ratio of Mills (DLMF
7.8.1), `M(z) = upper(z) / density(z)`, gives the slope as `M(|x|) / min(p, 1 - p)`.
"""
from __future__ import annotations

import math

import numpy as np

from pullback._ops.elementwise import add, mul
from pullback._ops.expressions import Expr, polynomial, written
from pullback._ops.families import FLOAT, nary, scipy_kernel

# (1 + z) M(z) for z >= 0 in powers of (z - 4) / (z + 4): its Chebyshev series, computed with 40 digits in mpmath
_SINGLE = (
    1.18326187, -0.242399648, 0.035091918, 0.0716899931, -0.0807086304, 0.0449631363, -0.012535248, -0.000730099331,
    0.00173033425, -0.000211945488, -0.000202017385, 3.15046746e-05, 1.88014146e-05)
_DOUBLE = (
    1.1832619145678034, -0.2423996705218074, 0.03509188023474832, 0.07169048120136096, -0.08070800967906948,
    0.04495912907942534, -0.012539103620020172, -0.0007159509389343426, 0.0017418487694129512, -0.0002367014896228787,
    -0.00022021554632224076, 5.326563960096377e-05, 3.415868615651822e-05, -8.60188663234564e-06,
    -6.5529797889382895e-06, 1.010149243524485e-06, 1.3900133753450062e-06, 1.0633980470022923e-08,
    -2.859015007405093e-07, -5.844326186367925e-08, 4.982572934263548e-08, 2.2205063936815332e-08,
    -5.993287684848944e-09, -4.779664948926488e-09, 2.500572331325151e-10, 4.934984427261487e-10,
    3.0456323858061805e-11)


def _slope(p: Expr, x: Expr) -> Expr:
    z = x.abs()
    scaled = polynomial((z - 4.0) / (z + 4.0), _DOUBLE if x.double else _SINGLE)
    rest = p.least(1.0 - p)
    return rest.is_("EQ", 0.0).choose(np.inf, scaled / ((z + 1.0) * rest))


_erfcx = scipy_kernel("erfcx")


def _slope_kernel(p, x):
    mills = _erfcx(abs(x) * x.dtype.type(math.sqrt(0.5))) * x.dtype.type(math.sqrt(math.pi / 2))
    rest = np.minimum(p, 1 - p)
    return np.where(rest == 0, x.dtype.type(np.inf), mills / rest)


# x is that of p, so the derivative by p is all of it
quantile_slope_p = nary("quantile_slope", _slope_kernel, written(_slope),
                        lambda t, y, p, x: mul(t, mul(mul(x, y), y)), None, add=add, accepts=FLOAT)
