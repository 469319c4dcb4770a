"""The Faddeeva function w(z) = exp(-z**2) erfc(-i z) (DLMF 7.2.3), and its derivative.

In the upper half plane w is 2 i z / pi times the integral of exp(-t**2) / (z**2 - t**2) over t > 0, a trapezoidal sum
of which, with the contribution of the pole at z where that matters, converges exponentially: Al Azah and
Chandler-Wilde, SIAM J. Numer. Anal. 59 (2021). Since the sum of the weights alone is that of the Gaussian, the
derivative is such a sum with the weights -2 t**2 exp(-t**2), without cancellation.
"""

from __future__ import annotations

import math

import numpy as np

from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._ops.complex_parts import parts, together
from pullback._ops.elementwise import add, mul, scalar
from pullback._ops.expressions import Expr, Host
from pullback._ops.families import COMPLEX, scipy_kernel, unary

_STEP = 0.5


def _times(a: tuple[Expr, Expr], b: tuple[Expr, Expr]) -> tuple[Expr, Expr]:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _quadrant(x: Expr, y: Expr, order: int) -> tuple[Expr, Expr]:
    """w, or its derivative, for x >= 0 and y >= 0."""
    far = x.maximum(y).is_("GT", 1e8 if x.double else 3e3)
    x_near, y_near = far.choose(1.0, x), far.choose(1.0, y)
    # the abscissas are whole or half-integral multiples of the step, whichever are farther from x
    turns = x_near * (1 / _STEP)
    rest = turns - turns.round()
    halves = rest.abs().is_("LT", 0.25)
    cross = x_near * y_near * 2.0
    zero = x_near * 0.0
    re, im = zero, zero
    for k in range(14 if x.double else 10):
        t = halves.choose((k + 0.5) * _STEP, zero + k * _STEP)
        weights = [math.exp(-s * s) * (s * s if order else 1.0) for s in ((k + 0.5) * _STEP, k * _STEP)]
        weight = halves.choose(weights[0], zero + weights[1] * (0.5 if k == 0 else 1.0))
        a = (x_near - t) * (x_near + t) - y_near * y_near
        # k = 0 at z = 0 is no pole: there the half-integral multiples are chosen
        scaled = weight / (a * a + cross * cross)
        re, im = re + scaled * a, im - scaled * cross
    if order:
        sum_re, sum_im = im * (4 * _STEP / math.pi), re * (-4 * _STEP / math.pi)
    else:
        # times 2 i step z / pi
        factor = 2 * _STEP / math.pi
        sum_re, sum_im = (x_near * im + y_near * re) * -factor, (x_near * re - y_near * im) * factor
    # 2 exp(-z**2) q / (q + 1), or q - 1, with q = exp(2 pi i z / step)
    angle = rest * (2 * math.pi)
    cosine, sine = angle.cos(), angle.sin()
    size = (y_near * (-2 * math.pi / _STEP)).exp()
    sign = halves.choose(1.0, zero - 1.0)
    below_re, below_im = size * cosine + sign, size * sine
    square = below_re * below_re + below_im * below_im
    height = ((y_near - x_near) * (y_near + x_near) - y_near * (2 * math.pi / _STEP)).exp() * 2.0
    phase = angle - cross
    top = height * phase.cos(), height * phase.sin()
    pole_re, pole_im = _times(top, (below_re / square, -below_im / square))
    if order:
        pole_re, pole_im = (x_near * pole_re - y_near * pole_im) * -2.0, (x_near * pole_im + y_near * pole_re) * -2.0
    without = y_near.is_("GE", x_near.maximum(math.pi / _STEP))
    re = without.choose(sum_re, sum_re + pole_re)
    im = without.choose(sum_im, sum_im + pole_im)
    # i / (sqrt(pi) z), and its derivative -i / (sqrt(pi) z**2)
    largest = far.choose(x.maximum(y), 1.0)
    u, v = x / largest, y / largest
    scale = 1.0 / largest / (u * u + v * v)
    p, q = u * scale, v * scale
    far_re, far_im = (p * q * -2.0, q * q - p * p) if order else (q, p)
    root = 1 / math.sqrt(math.pi)
    far_re, far_im = far_re * root, far_im * root
    return far.choose(far_re, re), far.choose(far_im, im)


def _faddeeva(x: Expr, y: Expr, order: int) -> tuple[Expr, Expr]:
    re, im = _quadrant(x.abs(), y.abs(), order)
    # w(-conj(z)) = conj(w(z)), and below the axis w(z) = 2 exp(-z**2) - w(-z)
    left, below = x.is_("LT", 0.0), y.is_("LT", 0.0)
    mirrored = (left & ~below) | (~left & below)
    if order:
        re = mirrored.choose(-re, re)
    else:
        im = mirrored.choose(-im, im)
    inner = below.choose(y, 0.0)
    height, phase = ((inner - x) * (inner + x)).exp() * 2.0, x * inner * -2.0
    out = height * phase.cos(), height * phase.sin()
    if order:
        out = _times(out, (x * -2.0, inner * -2.0))
        return below.choose(out[0] + re, re), below.choose(out[1] + im, im)
    return below.choose(out[0] - re, re), below.choose(out[1] - im, im)


def _lower(ctx, z, order=0):
    value = Expr(ctx, z)
    return together(*_faddeeva(*parts(value), order), value).value


_scipy_wofz = scipy_kernel("wofz", np.complex64)


def _kernel(z, order=0):
    if not order:
        return _scipy_wofz(z)
    re, im = _faddeeva(Host(z.real.astype(np.float64)), Host(z.imag.astype(np.float64)), order)
    return (re.value + 1j * im.value).astype(z.dtype)


def _tangent(t: Array, z: Array, y: Array, order: int = 0) -> Array:
    if not order:
        return mul(t, wofz_p.bind(z, order=1))
    # of the second order: -2 w - 2 z w'
    return mul(t, mul(scalar(z, -2), add(wofz_p.bind(z), mul(z, y))))


wofz_p: Primitive = unary("wofz", _kernel, _lower, _tangent, COMPLEX)
