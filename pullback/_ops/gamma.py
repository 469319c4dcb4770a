"""The gamma function: its logarithm, whose derivative is digamma, and its sign.

Kernels are SciPy's, imported at the first call.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._ops import compare as c
from pullback._ops.elementwise import exp, floor, mul, rem, scalar
from pullback._ops.families import FLOAT, function_of_one, scipy_kernel, unary
from pullback._ops.special import signbit
from pullback._ops.zeta import polygamma


def _lgamma_kernel(x):
    return np.where(np.isinf(x), np.inf, scipy_kernel("gammaln")(x))


lgamma_p = unary("lgamma", _lgamma_kernel, "chlo.lgamma", lambda t, x, y: mul(t, digamma(x)), FLOAT)


def _digamma_kernel(x):
    return np.where(x == 0, np.nan, scipy_kernel("digamma")(x))  # a pole has no sign, as at -1, -2, ...


def _digamma_lower(ctx, x):
    # what the compiler has at 0 differs from version to version: -inf or nan
    pole = ctx.compare("EQ", x, ctx.full_like(x, 0))
    return ctx.op("stablehlo.select", [pole, ctx.full_like(x, np.nan), ctx.op("chlo.digamma", [x])], x.aval)


digamma_p = unary("digamma", _digamma_kernel, _digamma_lower,
                  lambda t, x, y: mul(t, polygamma(scalar(x, 1), x)), FLOAT)

lgamma = function_of_one(__name__, lgamma_p,
    "The logarithm of |gamma(x)|: inf at 0 and the negative integers. Its derivative is `digamma`.", "1.", "0.0")
digamma: Callable[[Any], Array] = function_of_one(__name__, digamma_p,
    "The derivative of `lgamma` (DLMF 5.2.2), nan at its poles 0, -1, -2, ...", "1.", "-0.5772157")


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
    return mul(gamma_sign(x), exp(lgamma(x)))
