"""The logarithm of the gamma function, of complex numbers by its parts: each keeps its digits beside a larger other."""

from __future__ import annotations

import math

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops import gamma, gamma_formulas
from pullback.custom_derivatives import custom_jvp
from pullback.lax import complex as complex_of
from pullback.numpy._elementwise.promotion import INEXACT, promote_operands

__all__ = ["loggamma"]


@boundary
def loggamma(x: ArrayLike) -> Array:
    """The logarithm of the gamma function; of complex numbers the branch that is real for positive numbers and analytic

    but for a cut along the negative axis. For negative real numbers it is nan: give complex ones.

    `x`: numbers, any shape. TypeError for bools and integers too wide.

    >>> from pullback.scipy import special
    >>> print(special.loggamma(3.).round(5), special.loggamma(1j).real.round(3))
    0.69315 -0.651
    """
    (x,) = promote_operands("loggamma", INEXACT, x)
    if not dtypes.is_complex(x.dtype):
        negative = x < 0
        return pnp.where(negative, np.nan, gamma.lgamma_p.bind(pnp.where(negative, 1, x)))
    return _log_gamma(x)


@custom_jvp
def _log_gamma(z: Array) -> Array:
    below = pnp.signbit(z.imag)
    x, y = z.real, abs(z.imag)
    # what is proportional to a tiny y is scaled, that its terms be no subnormal numbers, which are flushed
    info = pnp.finfo(y.dtype)
    scale = float(128 / info.eps)
    scaled = (y < scale * float(info.tiny)) & (x > 1 / scale)
    y = pnp.where(scaled, scale * y, y)
    left = x < 0.5
    size, angle = _right(pnp.where(left, 1 - x, x), y)
    log_sine, angle_of_sine = _log_sine(pnp.where(left, x, 0.25), pnp.where(left, y, 1))
    # gamma(z) gamma(1 - z) = pi / sin(pi z) (DLMF 5.5.3); 1 - z is on the other side of the axis
    size = pnp.where(left, math.log(math.pi) - log_sine - size, size)
    angle = pnp.where(left, angle - angle_of_sine, angle)
    angle = pnp.where(scaled, angle / scale, angle)
    return complex_of(size, pnp.where(below, -angle, angle))


# a formula of its own: the parts' derivatives would take several times as long
_log_gamma.defjvps(lambda dz, _, z: dz * _digamma(z))


def _digamma(z: Array) -> Array:
    left, below = z.real < 0.5, pnp.signbit(z.imag)
    right = pnp.where(left, 1 - z, z)
    far = right + _SHIFT
    inverse = 1 / far
    square = inverse * inverse
    series = pnp.full_like(z, _DIGAMMA[-1])
    for coefficient in _DIGAMMA[-2::-1]:
        series = series * square + coefficient
    value = pnp.log(far) - (0.5 + series * inverse) * inverse
    for k in range(_SHIFT):
        value = value - 1 / (right + k)
    # cot(pi z) = i (1 + 2 / (exp(2 i pi z) - 1)): above the axis the exponential is small (DLMF 5.5.4)
    above = pnp.where(left, pnp.where(below, z.conj(), z), 0.25 + 1j)
    cotangent = 1j * (1 + 2 / pnp.expm1(2j * math.pi * (above - pnp.round(above.real))))
    return pnp.where(left, value - math.pi * pnp.where(below, cotangent.conj(), cotangent), value)


def _log_sine(x: Array, y: Array) -> tuple[Array, Array]:
    """The parts of log(sin(pi (x + iy))), for y >= 0, of the branch that is analytic above the axis and real on (0, 1).

    sin(pi x) cosh(pi y) + i cos(pi x) sinh(pi y), times 2 exp(-pi y), which would overflow without.
    """
    whole = pnp.round(x)
    rest = x - whole
    # not cos(pi x), which would be negative of a rounded pi / 2
    sine, cosine = pnp.sin(math.pi * rest), pnp.sin(math.pi * (0.5 - abs(rest)))
    loss = -pnp.expm1(-2 * math.pi * y)
    scaled = pnp.log(complex_of(sine * (2 - loss), cosine * loss))
    return scaled.real + (math.pi * y - math.log(2)), scaled.imag - math.pi * whole


_SHIFT = 10
_STIRLING = [float(b / (2 * k * (2 * k - 1))) for k, b in enumerate(gamma_formulas.bernoulli(9), 1)]
_DIGAMMA = [(2 * k - 1) * c for k, c in enumerate(_STIRLING, 1)]  # DLMF 5.11.2


def _right(x: Array, y: Array) -> tuple[Array, Array]:
    """The parts for x >= 1/2 and y >= 0: Stirling's series (DLMF 5.11.1), next to 0 at x + 10, less the factors' logs.

    Next to 0 the real part is that of x and what y adds, each accurate where it vanishes; the series is then the
    difference of that at z and that at x, written without a subtraction.
    """
    near = (x < _SHIFT) & (y < _SHIFT)
    size, angle = _factors(pnp.where(near, x, 1), pnp.where(near, y, 0))
    far = pnp.where(near, x + _SHIFT, x)
    ratio = y / far
    log_far, turn = pnp.log(far), pnp.log1p(complex_of(pnp.zeros_like(x), ratio))
    base = pnp.where(near, gamma.lgamma_p.bind(pnp.where(near, x, 1)), (far - 0.5) * log_far - far + _HALF_LOG_TWO_PI)
    series, series_angle = _stirling(near, far, y)
    size = base + ((far - 0.5) * turn.real - y * turn.imag + series - size)
    # a tiny ratio may be subnormal
    arc = pnp.where(ratio < float(pnp.finfo(x.dtype).eps) ** 2, y - 0.5 * ratio, (far - 0.5) * turn.imag)
    return size, arc + y * (log_far + turn.real - 1) + series_angle - angle


_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def _factors(x: Array, y: Array) -> tuple[Array, Array]:
    """The parts of the sum of log(1 + iy / (x + k)), two factors at a time, whose angles stay below pi."""
    square = y * y
    grown, angle = pnp.zeros_like(x), pnp.zeros_like(x)
    for k in range(0, _SHIFT, 2):
        first, second = x + k, x + (k + 1)
        product = first * second
        angle = angle + pnp.arctan2(y * (first + second), product - square)
        ratio = square / product
        more = ratio * ((first * first + second * second) / product + ratio)
        grown = grown + more + grown * more
    return 0.5 * pnp.log1p(grown), angle


def _stirling(near: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """The parts of Stirling's series at z = x + iy, where `near` less its value at x."""
    inverse = 1 / complex_of(x, y)
    u, v = inverse.real, inverse.imag
    at_x = pnp.where(near, 1 / x, 0)
    square_at_x = at_x * at_x
    square, square_angle = u * u - v * v, 2 * u * v
    # 1/z - 1/x and the real part of 1/z^2 - 1/x^2
    step = pnp.where(near, y * v * at_x, u)
    square_step = pnp.where(near, y * v * square_at_x * (3 * x * u - y * v), square)
    value = pnp.full_like(x, _STIRLING[-1])
    more, angle = pnp.zeros_like(x), pnp.zeros_like(x)
    for coefficient in _STIRLING[-2::-1]:
        more, angle = (
            more * square - angle * square_angle + value * square_step,
            more * square_angle + angle * square + value * square_angle,
        )
        value = value * square_at_x + coefficient
    # the sum times 1/z, less the sum at x times 1/x
    return more * u - angle * v + value * step, (value + more) * v + angle * u
