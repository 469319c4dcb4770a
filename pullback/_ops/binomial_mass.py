"""Binomial masses of real counts, and what beta functions are beside them, with derivatives that do not cancel.

beta(a, b) is (a + b) / (a b) over the binomial coefficient of a + b over a, which has no pole where a or b vanishes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._ops import compare as c
from pullback._ops.beta import log_beta_density
from pullback._ops.elementwise import add, div, log, log1p, mul, neg, scalar, square, sub
from pullback._ops.expressions import Expr, kernel, where_any, written
from pullback._ops.families import FLOAT, nary, scipy_kernel
from pullback._ops.stirling import log_gamma_bend, polygamma_bend, polygamma_step

# --- the mass p**k (1 - p)**(1 - k) of one trial, for labels k between 0 and 1 too ---

_xlogy, _xlog1py = scipy_kernel("xlogy"), scipy_kernel("xlog1py")


def _trial_kernel(k, p):
    return np.exp(_xlogy(k, p) + _xlog1py(1 - k, -p))


@written
def _trial(k, p):
    high, low = k.is_("EQ", 0).choose(0, k * p.log()), k.is_("EQ", 1).choose(0, (1 - k) * (-p).log1p())
    return (high + low).exp()


def _trial_by_p(t: Array, y: Array, k: Array, p: Array) -> Array:
    one, zero = scalar(k, 1), scalar(k, 0)
    # at p = 0 and 1 the slope of p or of 1 - p; for other labels there is none
    end = c.bitwise_or(c.eq(p, zero), c.eq(p, one))
    some = c.select(end, scalar(p, 0.5), p)
    at_end = c.select(c.eq(k, one), one, c.select(c.eq(k, zero), scalar(k, -1), scalar(k, np.nan)))
    slope = div(mul(y, sub(k, some)), mul(some, sub(one, some)))
    return mul(t, c.select(end, at_end, slope))


trial_p: Primitive = nary(
    "trial",
    _trial_kernel,
    _trial,
    lambda t, y, k, p: mul(t, mul(y, sub(log(p), log1p(neg(p))))),
    _trial_by_p,
    add=add,
    accepts=FLOAT,
)

# --- the masses of several ---


def _log_mass(a: Expr, b: Expr, p: Expr) -> Expr:
    return log_beta_density(a + 1.0, b + 1.0, p) - (a + b + 1.0).log()


def _log_ratio(k: Expr, m: Expr, a: Expr, b: Expr) -> Expr:
    # Bayes: prior times likelihood is the evidence times the posterior, whatever the probability p; near the mode of
    # the posterior the three masses have accurate logarithms, which are not large
    info = np.finfo(np.float64 if k.double else np.float32)
    p = ((k + a) / (k + m + a + b)).maximum(float(info.tiny)).minimum(1 - float(info.eps) / 2)
    return _log_mass(k, m, p) + (_log_mass(a, b, p) - _log_mass(k + a, m + b, p))


def _slope(t: Any, k: Any, m: Any, a: Any, b: Any) -> Array:
    """By k: of digamma at k + 1, k + m + 1, k + a + 1 and k + m + a + b + 1, in the order that loses least."""
    near, one = c.lt(a, m), scalar(k, 1)
    less, more, far = c.select(near, a, m), c.select(near, m, a), add(c.select(near, a, m), b)
    step = polygamma_step(add(k, one), less, 0)
    return mul(t, sub(step, polygamma_step(add(add(k, one), more), far, 0)))


# the logarithm of the binomial coefficients of k + m over k and of a + b over a, over that of their sum
log_ratio_p: Primitive = nary(
    "binomial_log_ratio",
    kernel(_log_ratio),
    written(_log_ratio),
    lambda t, y, k, m, a, b: _slope(t, k, m, a, b),
    lambda t, y, k, m, a, b: _slope(t, m, k, b, a),
    lambda t, y, k, m, a, b: _slope(t, a, b, k, m),
    lambda t, y, k, m, a, b: _slope(t, b, a, m, k),
    add=add,
    accepts=FLOAT,
)


def _bend(z: Expr, a: Expr, n: Expr, order: int) -> Expr:
    def some(z, a, n):
        return polygamma_bend(z, a, n, order) if order else log_gamma_bend(z, a, n)

    return where_any(n.is_("GT", 0.0), some, n * 0.0, z, a, n)


# log gamma at z + a + n and z less that at z + a and z + n, for n = 0, 1, ..., and its derivatives by z
_bend_p: Primitive = nary(
    "log_gamma_bend",
    kernel(_bend),
    written(_bend),
    lambda t, y, z, a, n, order: mul(t, _bend_p.bind(z, a, n, order=order + 1)),
    lambda t, y, z, a, n, order: mul(t, polygamma_step(add(z, a), n, order)),
    lambda t, y, z, a, n, order: mul(t, polygamma_step(add(z, n), a, order)),
    add=add,
    accepts=FLOAT,
)


def log_alike(n: Array, a: Array, b: Array, successes: Array) -> Array:
    """The logarithm of the probability that none of n trials is a success, or that all are; 0 for n = 0."""
    # b (b + 1) ... (b + n - 1) over that of a + b, whose logarithm is small where it is next to 1
    one = scalar(a, 1)
    none = _bend_p.bind(
        c.select(successes, one, b), c.select(successes, one, a), c.select(successes, scalar(n, 0), n), order=0
    )
    every = _bend_p.bind(
        c.select(successes, a, one), c.select(successes, b, one), c.select(successes, n, scalar(n, 0)), order=0
    )
    return neg(add(none, every))


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
