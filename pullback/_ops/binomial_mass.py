"""Binomial masses of real counts, and what beta functions are beside them, with derivatives that do not cancel.

beta(a, b) is (a + b) / (a b) over the binomial coefficient of a + b over a, which has no pole where a or b vanishes.
"""

from __future__ import annotations

import numpy as np

from pullback._core.primitive import Primitive
from pullback._ops.beta import log_beta_density
from pullback._ops.elementwise import add, div, log, log1p, mul, neg, scalar, square, sub
from pullback._ops.expressions import Expr, kernel, written
from pullback._ops.families import FLOAT, nary
from pullback._ops.stirling import polygamma_step


def _log_mass(a: Expr, b: Expr, p: Expr) -> Expr:
    return log_beta_density(a + 1.0, b + 1.0, p) - (a + b + 1.0).log()


# the logarithm of p**a (1 - p)**b times the binomial coefficient of a + b over a, for a and b >= 0 and 0 < p < 1
log_mass_p: Primitive = nary(
    "binomial_log_mass",
    kernel(_log_mass),
    written(_log_mass),
    lambda t, y, a, b, p: mul(t, add(log(p), polygamma_step(add(a, scalar(a, 1)), b, 0))),
    lambda t, y, a, b, p: mul(t, add(log1p(neg(p)), polygamma_step(add(b, scalar(b, 1)), a, 0))),
    lambda t, y, a, b, p: mul(t, sub(div(a, p), div(b, sub(scalar(p, 1), p)))),
    add=add,
    accepts=FLOAT,
)


def _share(a: Expr, b: Expr) -> Expr:
    return a / (a + b)


# a / (a + b) of positive numbers
share_p: Primitive = nary(
    "share",
    lambda a, b: np.divide(a, a + b),
    written(_share),
    lambda t, y, a, b: mul(t, div(share_p.bind(b, a), add(a, b))),
    lambda t, y, a, b: neg(mul(t, div(y, add(a, b)))),
    add=add,
    accepts=FLOAT,
)
# a b / (a + b): the smaller one times the share of the other
harmonic_p: Primitive = nary(
    "harmonic",
    lambda a, b: np.minimum(a, b) * np.divide(np.maximum(a, b), a + b),
    written(lambda a, b: a.minimum(b) * _share(a.maximum(b), a.minimum(b))),
    lambda t, y, a, b: mul(t, square(share_p.bind(b, a))),
    lambda t, y, a, b: mul(t, square(share_p.bind(a, b))),
    add=add,
    accepts=FLOAT,
)
