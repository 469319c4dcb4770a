"""The Faddeeva function w(z) = exp(-z**2) erfc(-i z) (DLMF 7.2.3), and its derivatives.

In the upper half plane w is 2 i z / pi times the integral of exp(-t**2) / (z**2 - t**2) over t > 0, a trapezoidal sum
of which, with the contribution of the pole at z where that matters, converges exponentially: Al Azah and
Chandler-Wilde, SIAM J. Numer. Anal. 59 (2021). So do those of its derivatives (`dawson.derivative_weight`).
"""

from __future__ import annotations

import math

import numpy as np

from pullback._core.primitive import Primitive
from pullback._ops.complex_parts import parts, together
from pullback._ops.dawson import STEP, terms
from pullback._ops.elementwise import mul
from pullback._ops.expressions import Expr, Host
from pullback._ops.families import COMPLEX, scipy_kernel, unary

Pair = tuple[Expr, Expr]


def _times(a: Pair, b: Pair) -> Pair:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _of_exponential(value: Pair, x: Expr, y: Expr, order: int) -> Pair:
    """The derivative of a multiple of exp(-z**2): E' = -2 z E, E'' = -2 (z E' + E), ..."""
    before, z = value, (x, y)
    for n in range(order):
        product = _times(z, value)
        if n:
            product = product[0] + before[0] * float(n), product[1] + before[1] * float(n)
        before, value = value, (product[0] * -2.0, product[1] * -2.0)
    return value


def _series(x: Expr, y: Expr, order: int) -> Pair:
    """For |z| < 1/2, by DLMF 7.6.2: the sum of (i z)**k / Gamma(k / 2 + 1), differentiated."""
    count = 26 if x.double else 14
    coefficients = [math.perm(k, order) / math.gamma(k / 2 + 1) for k in range(order, order + count)]
    u, v = -y, x
    re, im = x * 0.0 + coefficients[-1], x * 0.0
    for coefficient in coefficients[-2::-1]:
        re, im = _times((re, im), (u, v))
        re = re + coefficient
    turned = [(re, im), (-im, re), (-re, -im), (im, -re)]  # times i**order
    return turned[order % 4]


def _quadrant(x: Expr, y: Expr, order: int) -> Pair:
    """w, or its derivative, for x >= 0 and y >= 0."""
    far = x.maximum(y).is_("GT", 1e8 if x.double else 1e4)
    x_near, y_near = far.choose(1.0, x), far.choose(1.0, y)
    if order > 1:
        # the sum is divided by powers of z
        near = x_near.maximum(y_near).is_("LT", 0.35)
        x_small, y_small = near.choose(x_near, 0.0), near.choose(y_near, 0.0)
        x_near, y_near = near.choose(1.0, x_near), near.choose(1.0, y_near)
    # the abscissas are whole or half-integral multiples of the step, whichever are farther from x
    rest = (x_near - (x_near * (1 / STEP)).round() * STEP) * (1 / STEP)
    halves = rest.abs().is_("LT", 0.25)
    cross = x_near * y_near * 2.0
    zero = x_near * 0.0
    re, im = zero, zero
    for t, s, low, high in terms(order, x.double):
        at = halves.choose(t, zero + s)
        a = (x_near - at) * (x_near + at) - y_near * y_near
        scaled = halves.choose(low, zero + high) * (1.0 / (a * a + cross * cross))
        re, im = re + scaled * a, im - scaled
    if order == 0:
        # half of the term at 0; where z is 0, a pole of it, the half-integral multiples are chosen
        a = (x_near - y_near) * (x_near + y_near)
        scaled = halves.choose(0.0, 0.5 / halves.choose(1.0, a * a + cross * cross))
        re, im = re + scaled * a, im - scaled
    # times 2 i step z**(1 - order) / pi; the imaginary part of the sum times 2 x y, which for tiny numbers comes last
    factor = (-2 if order % 2 else 2) * STEP / math.pi
    value = im * cross * -factor, re * factor
    if order == 0:
        value = (
            y_near * ((im * x_near * x_near * -2.0 - re) * factor),
            x_near * ((re - im * y_near * y_near * 2.0) * factor),
        )
    elif order > 1:
        size = x_near * x_near + y_near * y_near
        inverse = x_near / size, -y_near / size
        for _ in range(order - 1):
            value = _times(value, inverse)
    # 2 exp(-z**2) q / (q + 1), or q - 1, with q = exp(2 pi i z / step)
    angle = rest * (2 * math.pi)
    cosine, sine = angle.cos(), angle.sin()
    size = (y_near * (-2 * math.pi / STEP)).exp()
    sign = halves.choose(1.0, zero - 1.0)
    below_re, below_im = size * cosine + sign, size * sine
    square = below_re * below_re + below_im * below_im
    height = ((y_near - x_near) * (y_near + x_near) - y_near * (2 * math.pi / STEP)).exp() * 2.0
    phase = angle - cross
    top = height * phase.cos(), height * phase.sin()
    pole = _of_exponential(_times(top, (below_re / square, -below_im / square)), x_near, y_near, order)
    without = y_near.is_("GE", x_near.maximum(math.pi / STEP))
    value = without.choose(value[0], value[0] + pole[0]), without.choose(value[1], value[1] + pole[1])
    if order > 1:
        small = _series(x_small, y_small, order)
        value = near.choose(small[0], value[0]), near.choose(small[1], value[1])
    # i / (sqrt(pi) z), and its derivatives
    largest = far.choose(x.maximum(y), 1.0)
    u, v = x / largest, y / largest
    scale = 1.0 / largest / (u * u + v * v)
    inverse = u * scale, -v * scale
    tail = inverse
    for _ in range(order):
        tail = _times(tail, inverse)
    root = (-1) ** order * math.factorial(order) / math.sqrt(math.pi)
    return far.choose(tail[1] * -root, value[0]), far.choose(tail[0] * root, value[1])


def _faddeeva(x: Expr, y: Expr, order: int) -> Pair:
    re, im = _quadrant(x.abs(), y.abs(), order)
    # w(-conj(z)) = conj(w(z)), and below the axis w(z) = 2 exp(-z**2) - w(-z)
    left, below = x.is_("LT", 0.0), y.is_("LT", 0.0)
    mirrored = (left & ~below) | (~left & below)
    if order % 2:
        re = mirrored.choose(-re, re)
    else:
        im = mirrored.choose(-im, im)
    inner = below.choose(y, 0.0)
    height, phase = ((inner - x) * (inner + x)).exp() * 2.0, x * inner * -2.0
    out = _of_exponential((height * phase.cos(), height * phase.sin()), x, inner, order)
    if order % 2:
        return below.choose(out[0] + re, re), below.choose(out[1] + im, im)
    return below.choose(out[0] - re, re), below.choose(out[1] - im, im)


def _lower(ctx, z, order=0):
    value = Expr(ctx, z)
    return together(*_faddeeva(*parts(value), order), value).value


_scipy_wofz = scipy_kernel("wofz", np.complex64)


def _kernel(z, order=0):
    if not order:
        value = _scipy_wofz(z)
        # SciPy's loses digits of the imaginary part next to 0 (180 ulp at 0.0013 + 1e-24j, SciPy 1.17)
        near = np.abs(z) < 0.1
        if z.dtype.itemsize == 16 and np.any(near):
            value = np.array(value)
            some = z[near]
            re, im = _series(Host(some.real), Host(some.imag), 0)
            value[near] = re.value + 1j * im.value
        return value
    re, im = _faddeeva(Host(z.real.astype(np.float64)), Host(z.imag.astype(np.float64)), order)
    return (re.value + 1j * im.value).astype(z.dtype)


wofz_p: Primitive = unary(
    "wofz", _kernel, _lower, lambda t, z, y, order=0: mul(t, wofz_p.bind(z, order=order + 1)), COMPLEX
)
