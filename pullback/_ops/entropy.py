"""Relative entropies, accurate where the operands are nearly equal."""

from __future__ import annotations

import numpy as np

from pullback._core.array import Array
from pullback._ops import compare as c
from pullback._ops.elementwise import add, div, mul, neg, scalar
from pullback._ops.expressions import Expr, Host, kernel, written
from pullback._ops.families import FLOAT, nary, scipy_kernel
from pullback._ops.stirling import excess


def _log_ratio(x: Expr, y: Expr) -> tuple[Expr, Expr]:
    """u = (y - x) / x and log(y / x), for positive x and y."""
    u = (y - x) / x
    near = u.abs().is_("LT", 0.5)
    by_logarithms = y.log() - x.log()
    inner = near.choose(u, 0.0)
    return u, near.choose(inner - excess(inner, inner), by_logarithms)


def _with_edges(value, x: Expr, y: Expr, at_zero: Expr) -> Expr:
    both = x.is_("GT", 0.0) & y.is_("GT", 0.0)
    none = x.is_("EQ", 0.0) & y.is_("GE", 0.0)
    inside = value(both.choose(x, 1.0), both.choose(y, 1.0))
    inside = both.choose(inside, none.choose(at_zero, np.inf))
    return (x.is_("EQ", x) & y.is_("EQ", y)).choose(inside, np.nan)


def _rel_entr(x: Expr, y: Expr) -> Expr:
    return _with_edges(lambda x, y: -x * _log_ratio(x, y)[1], x, y, x.lifted(0.0))


def _kl_div(x: Expr, y: Expr) -> Expr:
    def value(x, y):
        u, log = _log_ratio(x, y)
        near = u.abs().is_("LT", 0.5)
        return near.choose(x * excess(near.choose(u, 0.0), u), (y - x) - x * log)

    return _with_edges(value, x, y, y)


_scipy_kl_div = scipy_kernel("kl_div", np.float64)


def _kl_div_kernel(x, y):
    value = _scipy_kl_div(x, y)
    other = (abs(y - x) < 0.5 * x) | np.isinf(value)  # where SciPy's cancels, or x / y is out of range
    if other.any():
        x, y, other = np.broadcast_arrays(x, y, other)
        value = np.array(value)
        value[other] = _kl_div(*(Host(v[other].astype(np.float64)) for v in (x, y))).value
    return value


def _log_of_ratio(x: Expr, y: Expr) -> Expr:
    both = x.is_("GT", 0.0) & y.is_("GT", 0.0)
    value = -_log_ratio(both.choose(x, 1.0), both.choose(y, 1.0))[1]
    return both.choose(value, x.log() - y.log())


def _inside(x: Array, y: Array, value: Array, otherwise: float, end: bool = False) -> Array:
    """The value for positive operands; with `end` also for x = 0."""
    zero = scalar(x, 0)
    return c.select(c.bitwise_and((c.ge if end else c.gt)(x, zero), c.gt(y, zero)), value, scalar(x, otherwise))


def _positive(y: Array) -> Array:
    """Without a 0, whose slopes are infinite."""
    return c.select(c.gt(y, scalar(y, 0)), y, scalar(y, 1))


log_ratio_p = nary(
    "log_ratio",
    kernel(_log_of_ratio),
    written(_log_of_ratio),
    lambda t, z, x, y: div(t, x),
    lambda t, z, x, y: neg(div(t, y)),
    add=add,
    accepts=FLOAT,
)


def log_ratio(x: Array, y: Array) -> Array:
    """`log(x / y)`, accurate near 0."""
    return log_ratio_p.bind(x, y)


# (y - x) / y, whose slopes -1 / y and x / y**2 would cancel if computed by the quotient rule
_relative_step_p = nary(
    "relative_step",
    lambda x, y: (y - x) / y,
    written(lambda x, y: (y - x) / y),
    lambda t, z, x, y: neg(div(t, y)),
    lambda t, z, x, y: mul(div(t, y), div(x, y)),
    add=add,
    accepts=FLOAT,
)
rel_entr_p = nary(
    "rel_entr",
    scipy_kernel("rel_entr", np.float64),
    written(_rel_entr),
    lambda t, z, x, y: mul(t, _inside(x, y, add(log_ratio(x, y), scalar(x, 1)), 0)),
    lambda t, z, x, y: mul(t, _inside(x, y, neg(div(x, _positive(y))), 0, True)),
    add=add,
    accepts=FLOAT,
)
# outside it is q - p, up to a constant
kl_div_p = nary(
    "kl_div",
    _kl_div_kernel,
    written(_kl_div),
    lambda t, z, x, y: mul(t, _inside(x, y, log_ratio(x, y), -1)),
    lambda t, z, x, y: mul(t, _inside(x, y, _relative_step_p.bind(x, _positive(y)), 1, True)),
    add=add,
    accepts=FLOAT,
)
