"""Owen's function T(h, a), the integral of exp(-h**2 (1 + x**2) / 2) / (1 + x**2) from 0 to a, divided by 2 pi.

Owen, Ann. Math. Statist. 27 (1956). For |a| <= 1 by Gauss's rule, over as far as the integrand matters; for larger ones
by T(a h, 1 / a) (his equation 2.3).
"""

from __future__ import annotations

import functools
import math

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._ops.elementwise import add, div, exp, mul, scalar, square
from pullback._ops.elementwise import max as maximum
from pullback._ops.elementwise import min as minimum
from pullback._ops.expressions import Expr, Host, kernel, written
from pullback._ops.families import FLOAT, nary, scipy_kernel
from pullback._ops.special import erf

_ENDLESS = 1e3


@functools.cache
def _rule(double: bool) -> list[tuple[float, float]]:
    """Abscissas in [0, 1] and weights."""
    nodes, weights = np.polynomial.legendre.leggauss(40 if double else 18)
    return list(zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True))


def _within(h: Expr, a: Expr) -> Expr:
    """T for h >= 0 and 0 <= a <= 1."""
    reach = (8.7 if h.double else 5.8) / h.maximum(1.0)
    end = a.minimum(reach)
    scaled = h * end
    total = h.lifted(0.0)
    for node, weight in _rule(h.double):
        x, y = end * node, scaled * node
        total = total + (y * y * -0.5).exp() * weight / (x * x + 1.0)
    return total * end * (h * (h * -0.5)).exp() * (0.5 / math.pi)


def _tail(x: Expr) -> Expr:
    """1 - Phi(x)."""
    y = x * math.sqrt(0.5)
    return (Host(_erfc(y.value)) if isinstance(y, Host) else y.op("chlo.erfc")) * 0.5


def _owens_t(h: Expr, a: Expr) -> Expr:
    high, size = h.abs(), a.abs()
    large = size.is_("GT", 1.0)
    # nothing times infinity
    nothing = high.is_("EQ", 0.0) | size.is_("EQ", 0.0)
    # from far below on T is 0: of an infinite one no part of an integral could be taken
    high = high.minimum(_ENDLESS)
    wide = nothing.choose(0.0, (high * size).minimum(_ENDLESS))
    part = _within(large.choose(wide, high), large.choose(1.0 / large.choose(size, 1.0), size))
    p, q = _tail(high), _tail(wide)
    value = large.choose((p + q) * 0.5 - p * q - part, part)
    return a.is_("LT", 0.0).choose(-value, value)


def _by_a(h: Array, a: Array) -> Array:
    # its square must not overflow; beyond, the result is below the normal numbers
    end = math.sqrt(dtypes.finfo(a.dtype).max) / 2
    a = maximum(minimum(a, scalar(a, end)), scalar(a, -end))
    weight = add(scalar(a, 1), square(a))
    exponent = mul(mul(scalar(h, -0.5), h), mul(h, weight))
    return mul(div(exp(exponent), weight), scalar(a, 0.5 / math.pi))


def _by_h(h: Array, a: Array) -> Array:
    density = exp(mul(mul(scalar(h, -0.5), h), h))
    return mul(mul(density, scalar(h, -0.5 / math.sqrt(2 * math.pi))), erf(mul(mul(h, a), scalar(h, math.sqrt(0.5)))))


_erfc = scipy_kernel("erfc")
_scipy_owens_t = scipy_kernel("owens_t", np.float64)
_own_owens_t = kernel(_owens_t)


def _owens_t_kernel(h, a):
    # SciPy's is up to 100 units off in double precision
    return (_own_owens_t if h.dtype == np.float64 else _scipy_owens_t)(h, a)


owens_t_p = nary(
    "owens_t",
    _owens_t_kernel,
    written(_owens_t),
    lambda t, y, h, a: mul(t, _by_h(h, a)),
    lambda t, y, h, a: mul(t, _by_a(h, a)),
    add=add,
    accepts=FLOAT,
)
