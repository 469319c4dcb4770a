"""Modified Bessel functions of the first kind, unscaled and scaled by exp(-|x|).

Both are expressed by Kummer's function (DLMF 10.39.5), for k = nu + 1/2 and x >= 0 and up to a power of x:

    exp(-x) I_nu(x) = (x / 2)**nu / gamma(nu + 1) * M(k, 2 k, -2 x)

M(a, b, -2 x) is positive. As d/dx M(a, b, -2 x) = -2 a / b M(a + 1, b + 1, -2 x), nothing cancels in derivatives
of any order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from itertools import zip_longest
from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._ops.elementwise import add, mul, neg, scalar, sub
from pullback._ops.expressions import Expr, kernel, written
from pullback._ops.families import FLOAT, UnaryFunction, function_of_one, scipy_kernel, unary
from pullback._ops.trig import side_p

# --- M(n + 1/2, m, -2 x): (x + 5)**(n + 1/2) times it is a polynomial in 1 / (x + 5) up to x = 7, another beyond ---

_SHIFT, _CUT = 5, 7
_NODES = 48
_PI = Decimal("3.14159265358979323846264338328")


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
        return front / (_PI.sqrt() * z**n * z.sqrt()) * total
    while term > total * Decimal("1e-24") or k < z:
        term *= (m - a + k) * z / ((m + k) * (k + 1))
        total += term
        k += 1
    return (-z).exp() * total


@functools.cache
def _cosines() -> list[Decimal]:
    """cos(pi i / (2 _NODES)) for i = 0, ..., 4 _NODES - 1, by the series."""
    out = []
    for i in range(4 * _NODES):
        square = (_PI * (2 * _NODES - i) / (2 * _NODES)) ** 2
        total = term = Decimal(-1)
        for k in range(1, 50, 2):
            term *= -square / (k * (k + 1))
            total += term
        out.append(total)
    return out


def _ends(far: bool) -> tuple[Decimal, Decimal]:
    """The least and largest value of 1 / (x + _SHIFT) in a piece."""
    between = Decimal(1) / (_CUT + _SHIFT)
    return (Decimal(0), between) if far else (between, Decimal(1) / _SHIFT)


@functools.cache
def _coefficients(n: int, m: int, far: bool, eps: float) -> tuple[float, ...]:
    """The coefficients of the powers of u, which is in [-1, 1] on a piece: the Chebyshev series, truncated at `eps`.

    The series is computed from values with 24 digits at the Chebyshev nodes.
    """
    with localcontext() as context:
        context.prec = 28
        least, most = _ends(far)
        cosines, values = _cosines(), list[Decimal]()
        for j in range(_NODES):
            shifted = 2 / (least + most + (most - least) * cosines[2 * j + 1])
            values.append(_exactly(n, m, shifted - _SHIFT) * shifted**n * shifted.sqrt())
        series = [
            sum((v * cosines[k * (2 * j + 1) % (4 * _NODES)] for j, v in enumerate(values)), Decimal(0)) * 2 / _NODES
            for k in range(_NODES)
        ]
        series[0] /= 2
        size = 1 + max(k for k, value in enumerate(series) if abs(value) > Decimal(eps / 8) * min(values))
        # T_(k + 1) = 2 u T_k - T_(k - 1), with whole coefficients
        chebyshev, before = [1] + [0] * size, [0, 1] + [0] * (size - 1)
        total = [Decimal(0)] * size
        for value in series[:size]:
            total = [t + value * c for t, c in zip(total, chebyshev, strict=False)]
            chebyshev, before = [2 * c - d for c, d in zip([0, *chebyshev[:-1]], before, strict=True)], chebyshev
        return tuple(map(float, total))


def _kummer(x: Expr, n: int, m: int, power: int) -> Expr:
    size = x.abs()
    far = size.is_("GT", float(_CUT))
    shifted = size + float(_SHIFT)
    inverse = 1.0 / shifted

    def piece(near: float, beyond: float) -> Expr:
        return far.choose(beyond, x.lifted(near))

    lines = [
        (float(2 / (most - least)), float((most + least) / (most - least)))
        for least, most in (_ends(False), _ends(True))
    ]
    slopes, starts = zip(*lines, strict=True)
    u = inverse * piece(*slopes) - piece(*starts)
    eps = 2.0**-52 if x.double else 2.0**-23
    near, beyond = _coefficients(n, m, False, eps), _coefficients(n, m, True, eps)
    value, *others = [piece(*pair) for pair in reversed(list(zip_longest(near, beyond, fillvalue=0.0)))]
    for coefficient in others:
        value = value * u + coefficient
    # 1 where the result rounds to 1
    value = size.is_("LT", eps / 8).choose(math.sqrt(_SHIFT) * _SHIFT**n, value)
    part = far.choose(1.0 - inverse * float(_SHIFT), far.choose(1.0, size) * inverse)
    # the root of the inverse could be that of a number below the normal range
    for factor in [1.0 / shifted.sqrt()] + [part] * power + [inverse] * (n - power):
        value = value * factor
    return value


def _kummer_tangent(t, x, y, n, m, power):
    slope = mul(scalar(x, -(2 * n + 1) / m), kummer(x, n + 1, m + 1, power))
    if power:
        slope = add(mul(scalar(x, power), kummer(x, n, m, power - 1)), slope)
    return mul(t, mul(side_p.bind(x), slope))


kummer_p = unary("kummer", kernel(_kummer), written(_kummer), _kummer_tangent, FLOAT)


def kummer(x: Array, n: int, m: int, power: int = 0) -> Array:
    """|x|**power M(n + 1/2, m, -2 |x|), for power <= n."""
    return kummer_p.bind(x, n=n, m=m, power=power)


# --- scaled by exp(-|x|) ---


def _i1e(x: Expr) -> Expr:
    value = _kummer(x, 1, 3, 1) * 0.5
    return x.is_("LT", 0.0).choose(-value, value)


def _i1e_tangent(t, x, y):
    return mul(mul(t, scalar(x, 0.5)), sub(kummer(x, 1, 3), kummer(x, 2, 4, 1)))


bessel_i0e_p: Primitive = unary(
    "bessel_i0e",
    scipy_kernel("i0e"),
    written(lambda x: _kummer(x, 0, 1, 0)),
    lambda t, x, y: neg(mul(mul(t, side_p.bind(x)), kummer(x, 1, 2))),
    FLOAT,
)
bessel_i1e_p: Primitive = unary("bessel_i1e", scipy_kernel("i1e"), written(_i1e), _i1e_tangent, FLOAT)

bessel_i0e: UnaryFunction = function_of_one(
    __name__, bessel_i0e_p, "exp(-|x|) I0(x), the scaled modified Bessel function of order 0 (DLMF 10.25).", "0.", "1.0"
)
bessel_i1e: Callable[[Any], Array] = function_of_one(
    __name__, bessel_i1e_p, "exp(-|x|) I1(x), the scaled modified Bessel function of order 1 (DLMF 10.25).", "0.", "0.0"
)

# --- unscaled: 0F1(b; x**2 / 4) = gamma(b) (2 / x)**(b - 1) I_(b - 1)(x); its derivative is x / (2 b) 0F1(b + 1) ---


def _confluent(x: Expr, b: int) -> Expr:
    # exp overflows earlier; and 0 times infinity is nan
    size = x.abs().minimum(4000.0)
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
        scaled = kernel(_kummer)(size, n=b - 1, m=2 * b - 1, power=0)
    root = np.exp(size / 2)
    return root * (root * scaled)


confluent_p = unary(
    "confluent",
    _confluent_kernel,
    written(_confluent),
    lambda t, x, y, b: mul(mul(t, mul(scalar(x, 0.5 / b), x)), confluent(x, b + 1)),
    FLOAT,
)


def confluent(x: Array, b: int) -> Array:
    """0F1(b; x**2 / 4)."""
    return confluent_p.bind(x, b=b)


def i0(x: Array) -> Array:
    """The modified Bessel function of order 0."""
    return confluent(x, 1)


def i1(x: Array) -> Array:
    """The modified Bessel function of order 1."""
    return mul(mul(scalar(x, 0.5), x), confluent(x, 2))
