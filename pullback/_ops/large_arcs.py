"""Compiled inverse circular functions of large arrays of float32, by polynomials.

XLA's call the C library for each element; these it vectorizes. Milliseconds for 4,000,000 elements on 2 cores, of XLA's
and of these: atan 23 and 1.7, atan2 46 and 2.4, asin 28 and 1.7, acos 38 and 1.8. The largest errors, in units in the
last place: atan 1.4, atan2 1.5, asin 2.3 (XLA's 2.2), acos 1.3 (1.6).
"""

from __future__ import annotations

import math

import numpy as np

from pullback._ops.expressions import Expr, polynomial, written
from pullback._ops.large_arrays import with_sign

# The minimax polynomials of the relative error of the function (the exchange algorithm of Remez, in mpmath):
# (atan(t) - t) / t**3 by powers of t**2 where 0 <= t <= 1, to 2.6e-9
_ATAN = (
    -0.3333329909,
    0.1999854829,
    -0.1426424164,
    0.109521855,
    -0.08403449451,
    0.057957578,
    -0.03117782998,
    0.010914597,
    -0.001793619691,
)
# (asin(t) - t) / t**3 by powers of t**2 where 0 <= t <= 1/2, to 2.8e-10
_ASIN = (0.1666665999, 0.07500504192, 0.04451695381, 0.03180772734, 0.01443858074, 0.0375164729)

# pi / 2 in two parts, of which the second is what float32 has rounded off
_QUARTER = float(np.float32(math.pi / 2))
_REST = math.pi / 2 - _QUARTER


def _odd(t: Expr, coefficients: tuple[float, ...]) -> Expr:
    """t + t**3 P(t**2), of subnormal t themselves, which the sum flushes to zero."""
    square = t * t
    return t.is_("LT", 2.0**-13).choose(t, t + t * (square * polynomial(square, coefficients)))


@written
def atan(x):
    size = x.abs()
    beyond = size.is_("GT", 1)
    arc = _odd(beyond.choose(1 / size, size), _ATAN)
    return with_sign(beyond.choose(_QUARTER - (arc - _REST), arc), x)


@written
def atan2(y, x):
    """The arc of the smaller side by the larger one, in its octant."""
    across, along = x.abs(), y.abs()
    large, small = across.maximum(along), across.minimum(along)
    # equal sides may both be 0 or infinite
    ratio = large.is_("EQ", small).choose(large.is_("EQ", 0).choose(large, 1), small / large)
    arc = _odd(ratio, _ATAN)
    steep, left = along.is_("GT", across), with_sign(x.lifted(1), x).is_("LT", 0)
    back = steep.is_("NE", left)
    turned = back.choose(-arc, arc)
    quarters = steep.choose(turned + _REST, left.choose(turned + 2 * _REST, turned))
    return with_sign(steep.choose(quarters + _QUARTER, left.choose(quarters + 2 * _QUARTER, quarters)), y)


def _arc_of_half(size: Expr) -> tuple[Expr, Expr]:
    """Whether `size` is beyond 1/2, and asin(size), or there asin(sqrt((1 - size) / 2))."""
    beyond = size.is_("GT", 0.5)
    return beyond, _odd(beyond.choose(((1 - size) * 0.5).sqrt(), size), _ASIN)


@written
def asin(x):
    beyond, arc = _arc_of_half(x.abs())
    return with_sign(beyond.choose(_QUARTER - (arc * 2 - _REST), arc), x)


@written
def acos(x):
    beyond, arc = _arc_of_half(x.abs())
    arc, left = with_sign(arc, x), x.is_("LT", 0)
    near = arc * 2
    return beyond.choose(left.choose(2 * _QUARTER + (near + 2 * _REST), near), _QUARTER - (arc - _REST))
