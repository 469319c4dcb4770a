"""The Hurwitz zeta function and the derivatives of digamma: polygamma(n, x) = (-1)^(n+1) n! zeta(n+1, x), DLMF 5.15.

Both come from Euler and Maclaurin's formula, DLMF 25.11.5, for q^s zeta(s, q), which neither overflows nor vanishes.
The derivatives in s are those of its terms, which are computed as Taylor series in s. Kernels are SciPy's where it
is accurate.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import Any

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._ops.elementwise import add, mul, neg, scalar
from pullback._ops.expressions import Expr, iterate, kernel, repeat, written
from pullback._ops.families import FLOAT, elementwise, nary, operands, scipy_kernel
from pullback._ops.gamma_formulas import bernoulli, gamma_function, log_derivative, log_gamma
from pullback._ops.rules import no_derivative, per_operand_jvp

_CORRECTIONS = [float(b / factorial(2 * j)) for j, b in enumerate(bernoulli(12), 1)]

# --- truncated Taylor series in s: lists of coefficients ---


def _product(a: list[Expr], b: list[Expr]) -> list[Expr]:
    out = []
    for n in range(len(a)):
        total = a[0] * b[n]
        for k in range(1, n + 1):
            total = total + a[k] * b[n - k]
        out.append(total)
    return out


def _plus(a: list[Expr], number: Any) -> list[Expr]:
    return [a[0] + number, *a[1:]]


def _line(start: Expr, order: int) -> list[Expr]:
    """The series of s, at `start`."""
    zero = start.lifted(0.0)
    return [start, start.lifted(1.0), *[zero] * order][: order + 1]


def _power(value: Expr, log: Expr, order: int) -> list[Expr]:
    """The series of b^-s, whose value is `value`, where `log` is log(b)."""
    out = [value]
    for n in range(1, order + 1):
        out.append(out[-1] * log * (-1.0 / n))
    return out


def scaled_zeta(s: Expr, q: Expr, order: int = 0) -> list[Expr]:
    """The Taylor coefficients in s of q^s zeta(s, q), for s > 1 and q > 0."""
    # terms come in triples, since a loop over single terms would cost more than the terms
    triples, corrections = (3, _CORRECTIONS) if s.double else (2, _CORRECTIONS[:6])
    q = q.maximum(1e-306 if s.double else 1e-36)  # there the first term dominates, and the others are finite
    count = 3 * triples + 1

    def add_triple(n, s, q, *total):
        for k in (1.0, 2.0, 3.0):
            log = ((n * 3.0 + k) / q).log1p()
            total = tuple(a + b for a, b in zip(total, _power((-s * log).exp(), log, order), strict=True))
        return [s, q, *total]

    total = repeat(triples, [s, q, s.lifted(1.0), *[s.lifted(0.0)] * order], add_triple)[2:]
    log, w = (float(count) / q).log1p(), q + float(count)
    # beyond 40 w, where its series would overflow, the rest is negligible
    t = _line(s.minimum(w * 40.0), order)
    step = 1.0 / w
    series = [s.lifted(corrections[-1]), *[s.lifted(0.0)] * order]
    for j in range(len(corrections) - 1, 0, -1):
        pair = _product(_plus(t, 2.0 * j - 1.0), _plus(t, 2.0 * j))
        series = _plus([x * step * step for x in _product(series, pair)], corrections[j - 1])
    rest = _plus([x * step for x in _product(series, t)], 0.5)
    integral = w / (s - 1.0)
    for n in range(order + 1):
        rest[n] = rest[n] + integral
        integral = -integral / (s - 1.0)
    return [a + b for a, b in zip(total, _product(_power((-s * log).exp(), log, order), rest), strict=True)]


# --- the Hurwitz zeta function ---


def _is_whole(x: Expr) -> Expr:
    return x.floor().is_("EQ", x)


def _parity(s: Expr) -> Expr:
    """(-1)^s for whole s."""
    half = s * 0.5
    return half.is_("EQ", half.floor()).choose(1.0, s.lifted(-1.0))


def _by_reflection(value: Callable[..., Expr], s: Expr, q: Expr, *also: Expr) -> Expr:
    """The sum of (k + q)^-s over k >= 0 for any q, from `value(s, q, *also)`, that for q > 0.

    Below 0, for whole s, the sum goes up from the fraction r of q, and down from 1 - r to q, one term per step.
    """
    sign = _parity(s)

    def step(n, total, part, s, q, sign, *also):
        below = q.is_("LT", 0.0)
        first, second = part.is_("EQ", 0.0), part.is_("EQ", 1.0)
        ceiling = -((-q).floor())
        argument = first.choose(q - q.floor(), second.choose(ceiling - q, 1.0 - q))
        weight = first.choose(1.0, second.choose(sign, -sign))
        term = value(s, below.choose(argument, first.choose(q, 1.0)), *also)
        return [total + below.choose(weight, first.choose(1.0, s.lifted(0.0))) * term, part + 1.0, s, q, sign, *also]

    def unfinished(total, part, s, q, *_):
        return part.is_("EQ", 0.0) | (part.is_("LT", 3.0) & q.is_("LT", 0.0))

    return iterate([s.lifted(0.0), s.lifted(0.0), s, q, sign, *also], step, unfinished, 4)[0]


def _far_by_order(s: Expr, q: Expr, order: int) -> Expr:
    """The derivative of this order by s of q^(1 - s) / (s - 1), the integral, by Leibniz' rule."""
    log, inverse = q.log(), 1.0 / (s - 1.0)
    total, power = log.lifted(1.0), log.lifted(1.0)
    for k in range(1, order + 1):
        power = power * log
        total = total * inverse * float(k) + power
    return q.power(1.0 - s) * inverse * total * (-1.0) ** order


def _hurwitz(s: Expr, q: Expr, order: int = 0) -> Expr:
    """The derivative of this order by s of zeta(s, q)."""

    def value(s: Expr, q: Expr) -> Expr:
        # half of the power on each side, so that it does not underflow before the result does
        half = q.power(s * -0.5)
        series = scaled_zeta(s, q, order)
        if order:
            series = _product(series, _power(s.lifted(1.0), q.log(), order))
        total = half * (series[order] * float(factorial(order))) * half
        # for large q only the integral remains, whose parts overflow
        far = q.is_("GT", 1e18 if s.double else 1e9)
        if not order:
            total = far.choose(q.power(1.0 - s) / (s - 1.0), total)
        else:
            total = far.choose(_far_by_order(s, q, order), total)
        return q.is_("EQ", np.inf).choose(0.0, total)

    pole = q.is_("LE", 0.0) & _is_whole(q)
    if order:
        # below 0 it is defined for whole s only
        total = value(s, q.is_("GT", 0.0).choose(q, 1.0))
        total = q.is_("LT", 0.0).choose(np.nan, total)
    else:
        total = _by_reflection(value, s.is_("GT", 1.0).choose(s, 2.0), pole.choose(1.0, q))
        total = (q.is_("LT", 0.0) & ~_is_whole(s)).choose(np.nan, total)
    at_one = (-1.0) ** order * np.inf
    total = s.is_("LE", 1.0).choose(s.is_("EQ", 1.0).choose(at_one, s.lifted(np.nan)), total)
    total = (pole & s.is_("GE", 1.0)).choose(np.inf if order == 0 else np.nan, total)
    return (s.is_("EQ", s) & q.is_("EQ", q)).choose(total, np.nan)


_scipy_zeta = scipy_kernel("zeta", np.float64)


def _zeta_kernel(s, q):
    # SciPy's sum ends before the integral is added, if the first term is large
    other = (q < 0) | (s == np.inf) | (s < 2) & (q < 1e-6)
    if not other.any():
        return _scipy_zeta(s, q)
    return np.where(other, kernel(_hurwitz)(s, q), _scipy_zeta(s, np.maximum(q, 0)))


zeta_derivative_p = elementwise("zeta_derivative", kernel(_hurwitz), written(_hurwitz), FLOAT)
per_operand_jvp(
    zeta_derivative_p,
    add,
    lambda t, y, s, q, order: mul(t, zeta_derivative_p.bind(s, q, order=order + 1)),
    # zeta(s, q)' = -s zeta(s + 1, q), differentiated by s
    lambda t, y, s, q, order: mul(
        t,
        neg(
            add(
                mul(s, zeta_derivative_p.bind(add(s, scalar(s, 1)), q, order=order)),
                mul(scalar(s, order), _of_order(add(s, scalar(s, 1)), q, order - 1)),
            )
        ),
    ),
)
zeta_p: Primitive = nary(
    "zeta",
    _zeta_kernel,
    written(_hurwitz),
    lambda t, y, s, q: mul(t, _of_order(s, q, 1)),
    lambda t, y, s, q: mul(t, neg(mul(s, zeta(add(s, scalar(s, 1)), q)))),
    add=add,
    accepts=FLOAT,
)


def _of_order(s: Array, q: Array, order: int) -> Array:
    return zeta_derivative_p.bind(s, q, order=order) if order else zeta_p.bind(s, q)


# --- the derivatives of digamma ---


def _polygamma(n: Expr, x: Expr) -> Expr:
    largest = 170.0 if n.double else 34.0  # the largest n whose n! is finite

    def value(s: Expr, q: Expr, product: Expr, log: Expr) -> Expr:
        by_logarithm = (log * 0.5 - s * 0.5 * q.log()).exp()
        half = log.is_("EQ", 0.0).choose(q.power(s * -0.5), by_logarithm)
        return q.is_("EQ", np.inf).choose(0.0, half * product * scaled_zeta(s, q)[0] * half)

    pole = x.is_("LE", 0.0) & _is_whole(x)
    whole = n.is_("GE", 1.0) & _is_whole(n)
    s = whole.choose(n, 1.0) + 1.0
    some = n.is_("LE", largest)
    product = gamma_function(some.choose(s, 1.0))
    log = some.choose(0.0, log_gamma(some.choose(2.0, s)))
    total = _by_reflection(value, s, pole.choose(1.0, x), product, log)
    total = _parity(s) * pole.choose(np.inf, total)
    total = whole.choose(total, n.is_("EQ", 0.0).choose(log_derivative(x), np.nan))
    return x.is_("EQ", x).choose(total, x)


def _polygamma_kernel(n, x):
    from scipy import special

    order, wide = np.asarray(n, np.float64), np.asarray(x, np.float64)
    value = np.where(order % 2 == 0, -1, 1) * special.gamma(order + 1) * special.zeta(order + 1, np.maximum(wide, 0))
    # the order 0 next to 0!, and intermediate overflow and underflow
    good = np.isfinite(value) & (value != 0) & (wide > 0) & (order >= 1) & (order == np.floor(order))
    return value if np.all(good) else np.where(good, value, kernel(_polygamma)(order, wide))


polygamma_p: Primitive = nary(
    "polygamma",
    _polygamma_kernel,
    written(_polygamma),
    no_derivative("polygamma", "its order"),
    lambda t, y, n, x: mul(t, polygamma(add(n, scalar(n, 1)), x)),
    add=add,
    accepts=FLOAT,
)


def polygamma(m: ArrayLike, x: ArrayLike) -> Array:
    """The derivative of order `m` of `digamma` at `x` (DLMF 5.15), elementwise: nan for invalid orders.

    `m`: whole numbers in the floating-point dtype of `x`; shapes broadcast. TypeError for other dtypes or two of them.
    The derivative by `m` raises NotImplementedError.

    >>> from pullback import lax
    >>> print(f"{lax.polygamma(1., 1.):.4f}")
    1.6449
    """
    return polygamma_p.bind(*operands("polygamma", m, x))


def zeta(x: ArrayLike, q: ArrayLike) -> Array:
    """The Hurwitz zeta function, the sum of `(k + q)**-x` over k >= 0, for `x` > 1 (DLMF 25.11), elementwise.

    It is nan for `x` < 1, and for `q` < 0 unless `x` is whole. Floats of one dtype, of shapes that broadcast; TypeError
    for others. It is differentiable in both.

    >>> from pullback import lax
    >>> print(f"{lax.zeta(2., 1.):.4f}")
    1.6449
    """
    return zeta_p.bind(*operands("zeta", x, q))
