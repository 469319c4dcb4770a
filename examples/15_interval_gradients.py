"""Certified derivatives: intervals that hold the exact gradient, whatever rounding does.

An ``Interval`` holds a lower and an upper bound. Every operation rounds outwards, so that the exact value lies
between. The gradient is computed by the same operations, with intervals as tangents and cotangents, and is an
enclosure of the exact gradient: here of a polynomial that is given by its coefficients, near a root of order 7, where
float64 gets no digit right, and at a point where it does. mpmath computes the exact values.
"""

import dataclasses
from typing import Any

import mpmath
import numpy as np
from claims import section, show

import pullback as pb
import pullback.numpy as pnp
from pullback.experimental.hijax import HiType, ShapedArray, register_hitype


@dataclasses.dataclass(frozen=True)
class IntervalType(HiType):
    """The type of an array of intervals. Its tangents are intervals too."""

    shape: tuple[int, ...]

    def lo_ty(self):
        return [ShapedArray(self.shape, "float64")] * 2

    def lower_val(self, value):
        return [value.low, value.high]

    def raise_val(self, low, high):
        return Interval(low, high)

    def to_tangent_aval(self):
        return self

    def vspace_zero(self):
        return Interval(pnp.zeros(self.shape), pnp.zeros(self.shape))

    def vspace_add(self, x, y):
        return add(x, y)

    def dec_rank(self, size, spec):
        return IntervalType(self.shape[1:])

    def inc_rank(self, size, spec):
        return IntervalType((size, *self.shape))


@dataclasses.dataclass(frozen=True)
class Interval:
    low: Any
    high: Any


def interval(x):
    """A float64 number, or an array of them, as an interval of width zero."""
    return Interval(pnp.asarray(x, "float64"), pnp.asarray(x, "float64"))


def outwards(low, high):
    """The next floats below and above: results of + - * / are rounded to nearest, so they are off by less."""
    return Interval(pnp.nextafter(low, -np.inf), pnp.nextafter(high, np.inf))


register_hitype(Interval, lambda x: IntervalType(x.low.shape))


@pb.custom_rules
def add(x, y):
    return outwards(x.low + y.low, x.high + y.high)


@pb.custom_rules
def negative(x):
    return Interval(-x.high, -x.low)


@pb.custom_rules
def multiply(x, y):
    ends = pnp.stack([x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high])
    return outwards(ends.min(0), ends.max(0))


@pb.custom_rules
def reciprocal(x):
    """Of intervals that do not hold zero."""
    return outwards(1 / x.high, 1 / x.low)


def slope_of_reciprocal(x):
    y = reciprocal(x)
    return negative(multiply(y, y))


# the derivatives are made of the same operations, and so are enclosures as well
add.defjvps(lambda t, out, x, y: t, lambda t, out, x, y: t)
add.defvjp(lambda x, y: (add(x, y), None), lambda _, ct: (ct, ct))
negative.defjvps(lambda t, out, x: negative(t))
negative.defvjp(lambda x: (negative(x), None), lambda _, ct: (negative(ct),))
multiply.defjvps(lambda t, out, x, y: multiply(t, y), lambda t, out, x, y: multiply(x, t))
multiply.defvjp(lambda x, y: (multiply(x, y), (x, y)), lambda xy, ct: (multiply(ct, xy[1]), multiply(xy[0], ct)))
reciprocal.defjvps(lambda t, out, x: multiply(slope_of_reciprocal(x), t))
reciprocal.defvjp(lambda x: (reciprocal(x), x), lambda x, ct: (multiply(slope_of_reciprocal(x), ct),))

# operators of known and of traced values
OPERATORS = {
    "add": lambda x, y: add(x, y),
    "sub": lambda x, y: add(x, negative(y)),
    "mul": lambda x, y: multiply(x, y),
    "truediv": lambda x, y: multiply(x, reciprocal(y)),
}
for name, function in OPERATORS.items():
    setattr(Interval, f"__{name}__", function)
    setattr(IntervalType, f"_{name}", staticmethod(function))


def expanded(x, y, number):
    """``(x - 1)**7 / y``, from the coefficients of the power; `number` makes constants of what x and y are."""
    total = number(1.0)
    for c in (-7.0, 21.0, -35.0, 35.0, -21.0, 7.0, -1.0):
        total = total * x + number(c)
    return total / y


def exact_gradient(f, *point):
    """The gradient by mpmath, with 60 digits."""
    with mpmath.workdps(60):
        numbers = [mpmath.mpf(x) for x in point]
        return [mpmath.diff(lambda *z: f(*z, mpmath.mpf), numbers, [int(i == j) for j in range(2)]) for i in range(2)]


def holds(x, exact):
    """Whether the exact number lies in the interval; ends are compared as they are, without rounding."""
    return bool(mpmath.mpf(float(x.low)) <= exact <= mpmath.mpf(float(x.high)))


def all_hold(xs, exact):
    return [holds(x, value) for x, value in zip(xs, exact, strict=True)]


def enclosed(x, y):
    return expanded(x, y, interval)


def gradient(x, y):
    """The gradient by reverse mode. A result that is no array needs a cotangent of its own: the number 1."""
    return pb.vjp(enclosed, x, y)[1](interval(1.0))


with pb.enable_x64():
    section("A point where all digits cancel")

    point = 1.001, 3.0
    exact = exact_gradient(expanded, *point)
    plain = pb.grad(lambda x, y: expanded(x, y, float), (0, 1))(*map(pnp.asarray, point))
    show("float64 knows a digit", abs(float(plain[0]) - exact[0]) < abs(exact[0]), False)
    bounds = gradient(*map(interval, point))
    show("the intervals hold the exact gradient", all_hold(bounds, exact), [True, True])
    show("and say that no digit is known", float(bounds[0].low) < 0 < float(bounds[0].high), True)

    section("Another point: 10 digits are certain")

    point = 2.5, 3.0
    exact = exact_gradient(expanded, *point)
    for mode in ("eager", "compiled"):
        bounds = (pb.jit(gradient) if mode == "compiled" else gradient)(*map(interval, point))
        show(f"{mode}: the intervals hold the exact gradient", all_hold(bounds, exact), [True, True])
        width = max(float(g.high - g.low) / abs(float(g.low)) for g in bounds)
        show(f"{mode}: they are narrower than 1e-10", width < 1e-10, True)

    section("Forward mode, second derivatives, and an uncertain argument")

    tangents = (interval(1.0), interval(0.0))
    slope = pb.jvp(enclosed, tuple(map(interval, point)), tangents)[1]
    show("forward mode holds the exact slope", holds(slope, exact[0]), True)
    second = pb.jvp(gradient, tuple(map(interval, point)), tangents)[1]
    with mpmath.workdps(60):
        curvature = mpmath.diff(lambda *z: expanded(*z, mpmath.mpf), list(map(mpmath.mpf, point)), (2, 0))
    show("the second derivative too", holds(second[0], curvature), True)
    wide = gradient(Interval(pnp.asarray(2.49), pnp.asarray(2.51)), interval(3.0))
    inside = [all_hold(wide, exact_gradient(expanded, x, 3.0)) for x in (2.49, 2.4955, 2.5, 2.51)]
    show("all gradients for x in [2.49, 2.51]", inside, [[True, True]] * 4)
