"""The gamma function, its logarithm, whose derivative is digamma, and its sign.

Kernels are SciPy's, imported at the first call and run in float64; the compiled formulas are in `gamma_formulas`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._ops import compare as c
from pullback._ops.elementwise import mul, scalar
from pullback._ops.expressions import Host, written
from pullback._ops.families import FLOAT, UnaryFunction, function_of_one, scipy_kernel, unary
from pullback._ops.gamma_formulas import gamma_function, log_derivative, log_gamma
from pullback._ops.remainders import rem
from pullback._ops.rounding import floor
from pullback._ops.special import signbit
from pullback._ops.zeta import polygamma

_scipy_log_gamma = scipy_kernel("gammaln", np.float64)


def _log_gamma_kernel(x):
    value = _scipy_log_gamma(x)
    # SciPy's has only absolute accuracy at the zeros 1 and 2, and is nan at -inf
    other = (x == -np.inf) | (abs(x - 1.55) < 0.85 if x.dtype.itemsize == 8 else False)
    if other.any():
        value = np.array(value)
        value[other] = log_gamma(Host(np.asarray(x[other], np.float64))).value
    return value


lgamma_p: Primitive = unary("lgamma", _log_gamma_kernel, written(log_gamma), lambda t, x, y: mul(t, digamma(x)), FLOAT)


def _digamma_kernel(x):
    # a pole at 0 without a sign, as at -1, -2, ...
    return np.where((x == 0) | (x == -np.inf), np.nan, scipy_kernel("digamma", np.float64)(x))


digamma_p: Primitive = unary(
    "digamma", _digamma_kernel, written(log_derivative), lambda t, x, y: mul(t, polygamma(scalar(x, 1), x)), FLOAT
)


def _gamma_kernel(x):
    wide = np.asarray(x, np.float64)
    return np.where((wide < 0) & (wide == np.floor(wide)), np.nan, scipy_kernel("gamma", np.float64)(x))


gamma_p = unary("gamma", _gamma_kernel, written(gamma_function), lambda t, x, y: mul(t, mul(y, digamma(x))), FLOAT)

lgamma: UnaryFunction = function_of_one(
    __name__,
    lgamma_p,
    "The logarithm of |gamma(x)|: inf at 0 and the negative integers. Its derivative is `digamma`.",
    "1.",
    "0.0",
)
digamma: Callable[[Any], Array] = function_of_one(
    __name__, digamma_p, "The derivative of `lgamma` (DLMF 5.2.2), nan at its poles 0, -1, -2, ...", "1.", "-0.5772157"
)


def gamma_sign(x: Array) -> Array:
    """The sign of the gamma function of a float: that of 0 at 0, nan at the negative integers."""
    whole = floor(x)
    one, nan = scalar(x, 1), scalar(x, np.nan)
    odd = c.ne(rem(whole, scalar(x, 2)), scalar(x, 0))
    below = c.select(c.eq(x, whole), nan, c.select(odd, scalar(x, -1), one))
    above = c.select(signbit(x), scalar(x, -1), one)
    return c.select(c.lt(x, scalar(x, 0)), below, c.select(c.ne(x, x), x, above))


def gamma(x: Array) -> Array:
    """The gamma function of a float."""
    return gamma_p.bind(x)
