"""Exponentials, logarithms, trigonometric functions, extrema and angles, elementwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.lazy import LateModule
from pullback._ops import bases, lengths, sigmoids, trig
from pullback._ops import compare as c
from pullback._ops import elementwise as e
from pullback._ops import rounding as rounding_ops
from pullback._ops.elementwise import scalar
from pullback.numpy._elementwise.promotion import (
    ANY,
    FLOAT,
    INEXACT,
    STRONG_FLOAT,
    STRONG_INEXACT,
    UfuncOfOne,
    UfuncOfTwo,
    binary,
    elementwise,
    unary,
)

if TYPE_CHECKING:
    from pullback._ops import special
else:
    special = LateModule("pullback._ops.special")

__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "cos",
    "cosh",
    "deg2rad",
    "degrees",
    "exp",
    "exp2",
    "expm1",
    "fmax",
    "fmin",
    "hypot",
    "log",
    "log10",
    "log1p",
    "log2",
    "logaddexp",
    "logaddexp2",
    "maximum",
    "minimum",
    "rad2deg",
    "radians",
    "sin",
    "sinc",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
]


# --- functions of one inexact operand: one primitive, one line of documentation, one example ---


def _function(name: str, primitive, says: str, argument: str, result: str, domain=INEXACT) -> UfuncOfOne:
    return unary(
        name,
        primitive,
        domain,
        f"""{says}

    >>> import pullback.numpy as pnp
    >>> print(pnp.{name}({argument}))
    {result}
    """,
        module=__name__,
    )


sqrt: UfuncOfOne = _function(
    "sqrt", e.sqrt_p, "The square root, nan of negative real numbers. Its derivative at 0 is inf.", "4", "2.0"
)
cbrt: UfuncOfOne = _function(
    "cbrt", e.cbrt_p, "The cube root, odd in `x`. Its derivative at 0 is inf.", "-8", "-2.0", FLOAT
)
exp: UfuncOfOne = _function("exp", e.exp_p, "e to the power `x`.", "0.", "1.0")
exp2: UfuncOfOne = _function("exp2", bases.exp2_p, "2 to the power `x`.", "3.", "8.0")
expm1: UfuncOfOne = _function("expm1", e.expm1_p, "`exp(x) - 1`, accurate near 0.", "1e-8", "1e-08")
log: UfuncOfOne = _function(
    "log", e.log_p, "The natural logarithm: -inf at 0, nan of negative real numbers.", "1.", "0.0"
)
log1p: UfuncOfOne = _function("log1p", e.log1p_p, "`log(1 + x)`, accurate near 0.", "1e-8", "1e-08")
sin: UfuncOfOne = _function("sin", trig.sin_p, "The sine of `x` in radians.", "0.", "0.0")
cos: UfuncOfOne = _function("cos", trig.cos_p, "The cosine of `x` in radians.", "0.", "1.0")
tan: UfuncOfOne = _function("tan", trig.tan_p, "The tangent of `x` in radians.", "0.", "0.0")
arcsin: UfuncOfOne = _function(
    "arcsin", trig.asin_p, "The arc sine in radians, nan outside of [-1, 1].", "1.", "1.5707964"
)
arccos: UfuncOfOne = _function("arccos", trig.acos_p, "The arc cosine in radians, nan outside of [-1, 1].", "1.", "0.0")
arctan: UfuncOfOne = _function(
    "arctan", trig.atan_p, "The arc tangent in radians, in [-pi/2, pi/2].", "1.", "0.7853982"
)
sinh: UfuncOfOne = _function("sinh", trig.sinh_p, "The hyperbolic sine.", "0.", "0.0")
cosh: UfuncOfOne = _function("cosh", trig.cosh_p, "The hyperbolic cosine.", "0.", "1.0")
tanh: UfuncOfOne = _function("tanh", sigmoids.tanh_p, "The hyperbolic tangent.", "0.", "0.0")
arcsinh: UfuncOfOne = _function("arcsinh", trig.asinh_p, "The inverse hyperbolic sine.", "0.", "0.0")
arccosh: UfuncOfOne = _function("arccosh", trig.acosh_p, "The inverse hyperbolic cosine, nan below 1.", "1.", "0.0")
arctanh: UfuncOfOne = _function(
    "arctanh", trig.atanh_p, "The inverse hyperbolic tangent, nan outside of [-1, 1].", "0.", "0.0"
)
asin: UfuncOfOne = arcsin
acos: UfuncOfOne = arccos
atan: UfuncOfOne = arctan
asinh: UfuncOfOne = arcsinh
acosh: UfuncOfOne = arccosh
atanh: UfuncOfOne = arctanh


log2: UfuncOfOne = _function("log2", bases.log2_p, "The logarithm to base 2.", "8", "3.0")
log10: UfuncOfOne = _function("log10", bases.log10_p, "The logarithm to base 10.", "1.", "0.0")


@elementwise(INEXACT)
def logaddexp(x: Array, y: Array, /, *, out: None = None, where: None = None) -> Array:
    """`log(exp(x) + exp(y))` without overflow; its derivatives are safe at infinite operands.

    >>> import pullback.numpy as pnp
    >>> print(pnp.logaddexp(1000., 0.))
    1000.0
    """
    return _logaddexp_complex(x, y) if dtypes.is_complex(x.aval.dtype) else special.logaddexp(x, y)


def _logaddexp_complex(x: Array, y: Array) -> Array:
    # ordered by real part, so that the exponential cannot overflow; the imaginary part is taken to [-pi, pi]
    large, small = e.max_p.bind(x, y), e.min_p.bind(x, y)
    value = e.add_p.bind(large, e.log1p_p.bind(e.exp_p.bind(e.sub_p.bind(small, large))))
    angle = trig.imag_p.bind(value)
    turns = rounding_ops.round_to_even(e.mul_p.bind(angle, scalar(angle, 0.5 / np.pi)))
    angle = e.sub_p.bind(angle, e.mul_p.bind(turns, scalar(angle, 2 * np.pi)))
    return trig.complex_p.bind(trig.real_p.bind(value), angle)


@elementwise(STRONG_INEXACT)
def logaddexp2(x: Array, y: Array, /, *, out: None = None, where: None = None) -> Array:
    """`log2(2**x + 2**y)` without overflow; its derivatives are safe at infinite operands.

    >>> import pullback.numpy as pnp
    >>> print(pnp.logaddexp2(1000., 1000.))
    1001.0
    """
    if not dtypes.is_complex(x.aval.dtype):
        return special.logaddexp2(x, y)
    rate = scalar(x, np.log(2))
    return e.div_p.bind(_logaddexp_complex(e.mul_p.bind(x, rate), e.mul_p.bind(y, rate)), rate)


arctan2: UfuncOfTwo = binary(
    "arctan2",
    lengths.atan2_p,
    FLOAT,
    """The angle of the point `(y, x)` in (-pi, pi]: `arctan2(x, y)`.

    The first argument is the ordinate, as in NumPy.

    >>> import pullback.numpy as pnp
    >>> print(pnp.arctan2(0., 1.))
    0.0
    """,
    module=__name__,
)
atan2: UfuncOfTwo = arctan2


hypot: UfuncOfTwo = binary(
    "hypot",
    lengths.hypot_p,
    STRONG_FLOAT,
    """`sqrt(x**2 + y**2)` without overflow; infinite if either is.

    The gradient at the origin, where the surface has its tip, is 0, and the second derivative there nan.

    >>> import pullback.numpy as pnp
    >>> print(pnp.hypot(3, 4))
    5.0
    """,
    module=__name__,
)


# --- maximum and minimum ---

maximum: UfuncOfTwo = binary(
    "maximum",
    e.max_p,
    ANY,
    """The larger operand; nan if either is.

    Complex numbers are ordered by real part, then by imaginary part. Where operands tie, each has half the derivative.

    >>> import pullback.numpy as pnp
    >>> print(pnp.maximum(pnp.arange(3), 1))
    [1 1 2]
    """,
    module=__name__,
)
minimum: UfuncOfTwo = binary(
    "minimum",
    e.min_p,
    ANY,
    """The smaller operand; nan if either is.

    Complex numbers are ordered by real part, then by imaginary part. Where operands tie, each has half the derivative.

    >>> import pullback.numpy as pnp
    >>> print(pnp.minimum(pnp.arange(3), 1))
    [0 1 1]
    """,
    module=__name__,
)


@elementwise(ANY)
def fmax(x1: Array, x2: Array) -> Array:
    """The larger operand; where one is nan, the other.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fmax(pnp.nan, 1.))
    1.0
    """
    return c.select_p.bind(c.or_p.bind(c.gt_p.bind(x1, x2), c.ne_p.bind(x2, x2)), x1, x2)


@elementwise(ANY)
def fmin(x1: Array, x2: Array) -> Array:
    """The smaller operand; where one is nan, the other.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fmin(pnp.nan, 1.))
    1.0
    """
    return c.select_p.bind(c.or_p.bind(c.lt_p.bind(x1, x2), c.ne_p.bind(x2, x2)), x1, x2)


# --- angles ---


@elementwise(INEXACT)
def deg2rad(x: Array, /) -> Array:
    """Degrees to radians.

    >>> import pullback.numpy as pnp
    >>> print(pnp.deg2rad(180.))
    3.1415927
    """
    return e.mul_p.bind(x, scalar(x, np.pi / 180))


@elementwise(INEXACT)
def rad2deg(x: Array, /) -> Array:
    """Radians to degrees.

    >>> import pullback.numpy as pnp
    >>> print(pnp.rad2deg(pnp.pi))
    180.0
    """
    return e.mul_p.bind(x, scalar(x, 180 / np.pi))


radians = deg2rad
degrees = rad2deg


@elementwise(INEXACT)
def sinc(x: Array, /) -> Array:
    """`sin(pi x) / (pi x)`, 1 at 0; all its derivatives are right at 0.

    >>> import pullback.numpy as pnp
    >>> print(pnp.sinc(0.))
    1.0
    """
    return special.sinc(x)
