"""Student's t distribution in standard form: the density and its logarithm, without cancellation in the degrees n.

The density is sqrt(n) / (2 pi) B((n + 1) / 2, 1/2) (1 + z**2 / n)**(-(n + 1) / 2), by DLMF 5.12.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._ops import compare as c
from pullback._ops.beta import log_beta
from pullback._ops.elementwise import add, div, mul, neg, scalar, sqrt, square, sub
from pullback._ops.expressions import Expr, kernel, written
from pullback._ops.families import FLOAT, nary
from pullback._ops.gamma_formulas import bernoulli
from pullback._ops.lengths import direction_p, hypot_p
from pullback._ops.stirling import excess

# --- the decay log(1 + w), w = z**2 / n ---


def _decay(z: Expr, n: Expr) -> tuple[Expr, Expr, Expr]:
    """A bool for w > 1, the ratio of the smaller of |z| and sqrt(n) to the larger one, and log(1 + w)."""
    size, root = z.abs(), n.sqrt()
    far = size.is_("GT", root)
    ratio = far.choose(root, size) / far.choose(size, root.is_("EQ", 0.0).choose(1.0, root))
    near = (ratio * ratio).log1p()
    return far, ratio, far.choose(size.log() * 2.0 - n.log() + near, near)


def _log_scale(n: Expr) -> Expr:
    return log_beta((n + 1.0) * 0.5, n.lifted(0.5)) - math.log(2 * math.pi)


def _log_density(z: Expr, n: Expr) -> Expr:
    return _log_scale(n) + n.log() * 0.5 - (n + 1.0) * 0.5 * _decay(z, n)[2]


def _densities(z: Expr, n: Expr) -> tuple[Expr, Expr]:
    """The density, and the density by n, which does not vanish with it."""
    far, ratio, log = _decay(z, n)
    secant = (ratio * ratio + 1.0).sqrt()
    # for large |z| by a power, since the logarithm has a rounding error of its own magnitude, unless n is as small as
    # the ratio
    direct = far & ratio.is_("GT", 1e-290 if z.double else 1e-36)
    power = direct.choose((direct.choose(ratio, 1.0) / secant).power(n), (far.choose(n, n + 1.0) * log * -0.5).exp())
    scale, root = _log_scale(n).exp() * power, n.sqrt()
    return scale * far.choose(ratio / secant, 1.0) * root, scale / far.choose(z.abs() * secant, root)


def _tail_excess(z: Expr, n: Expr) -> Expr:
    far, ratio, log = _decay(z, n)
    square = ratio * ratio
    share = far.choose(1.0, square) / (square + 1.0)
    return excess(-share, -log)


# --- their slopes: with r**2 = n + z**2 those by z go by (z / r) / r, those by n by the share v = (z / r)**2 ---


def _parts(z: Array, n: Array) -> tuple[Array, Array]:
    """z / r and r."""
    root = sqrt(n)
    return direction_p.bind(z, root), hypot_p.bind(z, root)


# (2**(2k) - 1) B(2k) / (2k): those of the series in 1 / n**2
_SERIES = [float((4**k - 1) * b / (2 * k)) for k, b in enumerate(bernoulli(11), 1)]
_RAISED = 10


def _plus(x: Array, number: float) -> Array:
    return add(x, scalar(x, number))


def _product(n: Array) -> Array:
    """(n + 1) (n + 2)."""
    return mul(_plus(n, 1), _plus(n, 2))


def _rest_slope(n: Array) -> Array:
    """1 / (2n) - (digamma(n / 2 + 1) - digamma((n + 1) / 2)) / 2 - 1 / (n (n + 1) (n + 2)).

    Except for the last term it is the derivative of the logarithm of the factor of the power. By the recurrence DLMF
    5.5.2 it is a sum of positive terms, and for large n the series of 5.11.2.
    """
    inverse = div(scalar(n, 1), _plus(n, 2 * _RAISED))
    w = square(inverse)
    series = scalar(n, _SERIES[-1])
    for coefficient in _SERIES[-2::-1]:
        series = _plus(mul(series, w), coefficient)
    total = mul(series, w)
    for k in range(2 * _RAISED - 2, 0, -2):
        shifted = _plus(n, k)
        total = add(total, div(scalar(n, 1), mul(shifted, _product(shifted))))
    return total


def _half_less(x: Array, z: Array, n: Array) -> Array:
    """(x - log(1 + w) + v) / 2."""
    return mul(scalar(n, 0.5), sub(x, _excess_p.bind(z, n)))


def _log_by_z(z: Array, n: Array) -> Array:
    part, length = _parts(z, n)
    return neg(mul(part, div(_plus(n, 1), length)))


def _log_by_n(z: Array, n: Array) -> Array:
    first = div(scalar(n, 1), mul(n, _product(n)))
    return add(add(first, _rest_slope(n)), _half_less(div(square(_parts(z, n)[0]), n), z, n))


def _over_n_by_n(t: Array, y: Array, z: Array, n: Array) -> Array:
    """The slope of the logarithm is that of the density minus 1 / n, and finite where n is 0."""
    inverse = div(scalar(n, 1), _parts(z, n)[1])
    lost = add(div(_plus(n, 3), _product(n)), square(inverse))
    return mul(t, mul(y, add(_rest_slope(n), _half_less(neg(lost), z, n))))


def _by_n(t: Array, y: Array, z: Array, n: Array) -> Array:
    by_scale = add(div(scalar(n, 1), _product(n)), mul(n, _rest_slope(n)))
    by_power = mul(scalar(n, 0.5), sub(square(_parts(z, n)[0]), mul(n, _excess_p.bind(z, n))))
    small = mul(_density_over_n_p.bind(z, n), add(by_scale, by_power))
    few, one = c.lt(n, scalar(n, 1)), scalar(n, 1)
    return mul(t, c.select(few, small, mul(y, _log_by_n(z, c.select(few, one, n)))))


def _excess_by_z(t: Array, y: Array, z: Array, n: Array) -> Array:
    part, length = _parts(z, n)
    return mul(t, mul(mul(scalar(z, 2), square(part)), div(part, length)))


def _excess_by_n(t: Array, y: Array, z: Array, n: Array) -> Array:
    share = square(_parts(z, n)[0])
    return mul(t, neg(mul(share, div(share, n))))


def _of_two(name: str, body: Callable, by_z: Callable, by_n: Callable) -> Primitive:
    return nary(name, kernel(body), written(body), by_z, by_n, add=add, accepts=FLOAT)


def _density_by_z(t: Array, y: Array, z: Array, n: Array) -> Array:
    return mul(t, mul(y, _log_by_z(z, n)))


# log(1 + w) - w / (1 + w)
_excess_p = _of_two("student_excess", _tail_excess, _excess_by_z, _excess_by_n)
_density_over_n_p = _of_two("student_density_over_n", lambda z, n: _densities(z, n)[1], _density_by_z, _over_n_by_n)
student_density_p = _of_two("student_density", lambda z, n: _densities(z, n)[0], _density_by_z, _by_n)
student_log_density_p = _of_two(
    "student_log_density",
    _log_density,
    lambda t, y, z, n: mul(t, _log_by_z(z, n)),
    lambda t, y, z, n: mul(t, _log_by_n(z, n)),
)
