"""Modified Bessel functions of the first kind, as they are and times exp(-|x|).

Both are made of Kummer's function (DLMF 10.39.5), for k = nu + 1/2 and x >= 0 and up to a power of x:

    exp(-x) I_nu(x) = (x / 2)**nu / gamma(nu + 1) * M(k, 2 k, -2 x)

M(a, b, -2 x) is positive. As d/dx M(a, b, -2 x) = -2 a / b M(a + 1, b + 1, -2 x), nothing cancels in derivatives
of any order.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._ops.elementwise import add, mul, neg, scalar, sub
from pullback._ops.expressions import Expr, written
from pullback._ops.families import FLOAT, function_of_one, scipy_kernel, unary
from pullback._ops.trig import side_p

# --- M(n + 1/2, m, -2 x), by one Chebyshev series in (x - 8) / (x + 8) for (x + 1)**(n + 1/2) times it ---

_MIDDLE = 8
_NODES = 72


def _exactly(n: int, m: int, x: Decimal) -> Decimal:
    """M(n + 1/2, m, -2 x) by its asymptotic series (DLMF 13.7.2), or by 13.2.39 and the series 13.2.2."""
    half = Decimal("0.5")
    a, z = n + half, 2 * x
    total = term = Decimal(1)
    k = 0
    if z > 80:
        while abs(term) > total * Decimal("1e-24"):
            term *= (a + k) * (a - m + 1 + k) / ((k + 1) * z)
            total += term
            k += 1
        # gamma(m) / gamma(m - n - 1/2), of which the half-integral one is a product times sqrt(pi)
        front = Decimal(math.factorial(m - 1))
        for j in range(m - n - 1):
            front /= j + half
        return front / (Decimal("3.14159265358979323846264338328").sqrt() * z ** n * z.sqrt()) * total
    while term > total * Decimal("1e-24") or k < z:
        term *= (m - a + k) * z / ((m + k) * (k + 1))
        total += term
        k += 1
    return (-z).exp() * total


def _cosine(i: int) -> float:
    """cos(pi i / (2 _NODES)), exactly rounded or nearly so: by the cosine or sine of at most pi / 4."""
    quarter, rest = divmod(i + _NODES // 2, _NODES)
    angle = math.pi / (2 * _NODES) * (rest - _NODES // 2)
    return (math.cos(angle), -math.sin(angle), -math.cos(angle), math.sin(angle))[quarter % 4]


@functools.cache
def _coefficients(n: int, m: int) -> tuple[float, ...]:
    """The coefficients of the series in float64, from values with 24 digits at the nodes of Chebyshev."""
    values = []
    with localcontext() as context:
        context.prec = 28
        for j in range(_NODES):
            t = Decimal(_cosine(2 * j + 1))
            x = _MIDDLE * (1 + t) / (1 - t)
            values.append(float(_exactly(n, m, x) * (x + 1) ** n * (x + 1).sqrt()))
    series = [2 / _NODES * math.fsum(v * _cosine(k * (2 * j + 1)) for j, v in enumerate(values)) for k in range(_NODES)]
    return (series[0] / 2, *series[1:])


def _needed(n: int, m: int, eps: float) -> tuple[float, ...]:
    """The coefficients up to the last one that counts."""
    series = _coefficients(n, m)
    limit = eps / 8 * abs(math.fsum(series))
    return series[:1 + max(k for k, value in enumerate(series) if abs(value) > limit)]


def _sum(series: tuple[float, ...], slope: Any, side: Any) -> Any:
    """The Chebyshev series at t, for slope = 2 (|t| - 1) and side = the sign of t.

    By Clenshaw's recurrence in the form of Reinsch, whose error does not grow towards the ends (Oliver, "An error
    analysis of the modified Clenshaw method", 1977); T_k(-t) = (-1)**k T_k(t).
    """
    total, difference = slope * 0.0, slope * 0.0
    for k in range(len(series) - 1, 0, -1):
        difference = slope * total + difference + (side * series[k] if k % 2 else series[k])
        total = difference + total
    return slope * 0.5 * total + difference + series[0]


def _kummer(x: Expr, n: int, m: int, power: int) -> Expr:
    size = x.abs()
    far = size.is_("GT", float(_MIDDLE))
    slope = far.choose(-4.0 * _MIDDLE, size * -4.0) / (size + float(_MIDDLE))
    side = far.choose(size.least(1.0).most(1.0), -1.0)
    inverse = 1.0 / (size + 1.0)
    part = far.choose(1.0 - inverse, far.choose(1.0, size) * inverse)
    value = _sum(_needed(n, m, 2.0 ** -52 if x.double else 2.0 ** -23), slope, side)
    # the root of the inverse would be that of a number that may be too small for a normal one
    for factor in [1.0 / (size + 1.0).sqrt()] + [part] * power + [inverse] * (n - power):
        value = value * factor
    return value


def _kummer_kernel(x, n: int, m: int, power: int):
    size = np.abs(x.astype(np.float64))
    far = size > _MIDDLE
    slope = np.where(far, -4.0 * _MIDDLE, -4.0 * np.where(far, 1.0, size)) / (size + _MIDDLE)
    inverse = 1 / (size + 1)
    part = np.where(far, 1 - inverse, np.where(far, 1.0, size) * inverse)
    value = _sum(_needed(n, m, 2.0 ** -52), slope[()], np.where(far, 1.0, -1.0)[()])
    return value * np.sqrt(inverse) * part ** power * inverse ** (n - power)


def _kummer_tangent(t, x, y, n, m, power):
    slope = mul(scalar(x, -(2 * n + 1) / m), kummer(x, n + 1, m + 1, power))
    if power:
        slope = add(mul(scalar(x, power), kummer(x, n, m, power - 1)), slope)
    return mul(t, mul(side_p.bind(x), slope))


kummer_p = unary("kummer", _kummer_kernel, written(_kummer), _kummer_tangent, FLOAT)


def kummer(x: Array, n: int, m: int, power: int = 0) -> Array:
    """|x|**power M(n + 1/2, m, -2 |x|), for power <= n."""
    return kummer_p.bind(x, n=n, m=m, power=power)


# --- times exp(-|x|) ---


def _i1e(x: Expr) -> Expr:
    value = _kummer(x, 1, 3, 1) * 0.5
    return x.is_("LT", 0.0).choose(-value, value)


def _i1e_tangent(t, x, y):
    return mul(mul(t, scalar(x, 0.5)), sub(kummer(x, 1, 3), kummer(x, 2, 4, 1)))


bessel_i0e_p = unary("bessel_i0e", scipy_kernel("i0e"), written(lambda x: _kummer(x, 0, 1, 0)),
                     lambda t, x, y: neg(mul(mul(t, side_p.bind(x)), kummer(x, 1, 2))), FLOAT)
bessel_i1e_p = unary("bessel_i1e", scipy_kernel("i1e"), written(_i1e), _i1e_tangent, FLOAT)

bessel_i0e = function_of_one(__name__, bessel_i0e_p,
    "exp(-|x|) I0(x), the scaled modified Bessel function of order 0 (DLMF 10.25).", "0.", "1.0")
bessel_i1e: Callable[[Any], Array] = function_of_one(__name__, bessel_i1e_p,
    "exp(-|x|) I1(x), the scaled modified Bessel function of order 1 (DLMF 10.25).", "0.", "0.0")

# --- as they are: 0F1(b; x**2 / 4) = gamma(b) (2 / x)**(b - 1) I_(b - 1)(x); its derivative is x / (2 b) 0F1(b + 1) ---


def _confluent(x: Expr, b: int) -> Expr:
    # exp overflows earlier; and 0 times infinity is no number
    size = x.abs().least(4000.0)
    root = (size * 0.5).exp()
    return root * (root * _kummer(size, b - 1, 2 * b - 1, 0))


def _confluent_kernel(x, b: int):
    from scipy import special

    size = np.minimum(np.abs(x.astype(np.float64)), 4000.0)
    if b == 1:
        scaled = special.i0e(size)
    elif b == 2:
        zero = size == 0
        scaled = np.where(zero, 1, 2 * special.i1e(size) / np.where(zero, 1, size))
    else:
        scaled = _kummer_kernel(size, b - 1, 2 * b - 1, 0)
    root = np.exp(size / 2)
    return root * (root * scaled)


confluent_p = unary("confluent", _confluent_kernel, written(_confluent),
                    lambda t, x, y, b: mul(mul(t, mul(scalar(x, 0.5 / b), x)), confluent(x, b + 1)), FLOAT)


def confluent(x: Array, b: int) -> Array:
    """0F1(b; x**2 / 4)."""
    return confluent_p.bind(x, b=b)


def i0(x: Array) -> Array:
    """The modified Bessel function of order 0."""
    return confluent(x, 1)


def i1(x: Array) -> Array:
    """The modified Bessel function of order 1."""
    return mul(mul(scalar(x, 0.5), x), confluent(x, 2))
