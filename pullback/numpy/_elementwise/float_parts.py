"""Sign, adjacent values, fraction and exponent of floats, elementwise; and `i0`."""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops import bessel, shape, special, trig
from pullback._ops import compare as c
from pullback._ops import elementwise as e
from pullback._ops import rounding as rounding_ops
from pullback._ops.elementwise import scalar
from pullback.numpy._elementwise.promotion import (
    FLOAT,
    NEVER_WEAK_FLOAT,
    STRONG_FLOAT,
    as_operand,
    elementwise,
    promote_operands,
    strong,
)

__all__ = ["copysign", "frexp", "heaviside", "i0", "ldexp", "modf", "nextafter", "signbit", "spacing"]


@boundary
def signbit(x: ArrayLike, /) -> Array:
    """True where the sign is negative, including -0.0. TypeError for complex numbers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.signbit(pnp.array([-0., 1.])))
    [ True False]
    """
    x = as_operand(x, "signbit", 0)
    dtype = x.aval.dtype
    if dtypes.is_float(dtype):
        return special.signbit(strong(x))
    if dtypes.is_complex(dtype):
        raise TypeError(f"signbit: a complex number has no sign, got {x.aval.str_short()}")
    return c.lt_p.bind(strong(x), scalar(x, 0))


@elementwise(FLOAT)
def copysign(x1: Array, x2: Array, /) -> Array:
    """|x1| with the sign of `x2`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.copysign(2., -0.))
    -2.0
    """
    size = trig.abs_p.bind(x1)
    return c.select_p.bind(special.signbit(x2), e.neg_p.bind(size), size)


@elementwise(FLOAT)
def nextafter(x: Array, y: Array, /) -> Array:
    """The next number that the dtype can hold from `x` towards `y`. Its derivative is 0.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nextafter(1., 2.))
    1.0000001
    """
    return special.nextafter(x, y)


@elementwise(NEVER_WEAK_FLOAT)
def spacing(x: Array, /) -> Array:
    """The distance from `x` to the next number away from zero, with the sign of `x`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.spacing(1.))
    1.1920929e-07
    """
    away = c.select_p.bind(special.signbit(x), scalar(x, -np.inf), scalar(x, np.inf))
    return e.sub_p.bind(special.nextafter(x, away), x)


@elementwise(STRONG_FLOAT)
def heaviside(x1: Array, x2: Array, /) -> Array:
    """The step function: 0 for negative `x1`, 1 for positive, `x2` at 0, nan at nan.

    >>> import pullback.numpy as pnp
    >>> print(pnp.heaviside(pnp.array([-1., 0., 1.]), 0.5))
    [0.  0.5 1. ]
    """
    zero, one = scalar(x1, 0), scalar(x1, 1)
    step = c.select_p.bind(c.lt_p.bind(x1, zero), zero, c.select_p.bind(c.gt_p.bind(x1, zero), one, x2))
    return c.select_p.bind(c.ne_p.bind(x1, x1), x1, step)


@elementwise(FLOAT)
def modf(x: Array, /, *, out: None = None) -> tuple[Array, Array]:
    """The fractional and the integral part, both with the sign of `x`.

    >>> import pullback.numpy as pnp
    >>> print(*pnp.modf(-1.5))
    -0.5 -1.0
    """
    whole = rounding_ops.trunc_p.bind(x)
    infinite = c.eq_p.bind(trig.abs_p.bind(x), scalar(x, np.inf))
    fraction = c.select_p.bind(infinite, scalar(x, 0), e.sub_p.bind(x, whole))
    return fraction, whole


@elementwise(NEVER_WEAK_FLOAT)
def frexp(x: Array, /) -> tuple[Array, Array]:
    """`(m, e)` with `x == m * 2**e`: m in the dtype of `x`, 0.5 <= |m| < 1 (or 0, inf, nan), e of int32.

    >>> import pullback.numpy as pnp
    >>> print(*pnp.frexp(12.))
    0.75 4
    """
    exponent = special.exponent(x)
    return special.scale(x, e.neg_p.bind(exponent)), exponent


@boundary
def ldexp(x1: ArrayLike, x2: ArrayLike, /) -> Array:
    """`x1 * 2**x2`, exactly; `x2` is of integers. TypeError for complex `x1` and for `x2` that is not of integers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.ldexp(0.75, 4))
    12.0
    """
    x1, x2 = as_operand(x1, "ldexp", 0), as_operand(x2, "ldexp", 1)
    if not dtypes.is_integer(x2.aval.dtype) and x2.aval.dtype.kind != "b":
        raise TypeError(f"ldexp: the exponent must be of integers, got {x2.aval.str_short()}")
    (x1,) = promote_operands("ldexp", NEVER_WEAK_FLOAT, x1)
    kind = x2.aval.dtype
    if kind.itemsize > 4 or kind == np.uint32:
        # far beyond the exponents of floats, and not to be wrapped around
        x2 = e.min(x2, kind.type(2**31 - 1))
        x2 = x2 if dtypes.is_unsigned(kind) else e.max(x2, kind.type(-(2**31)))
    return special.scale(x1, shape.convert_element_type(x2, np.int32))


@elementwise(FLOAT)
def i0(x: Array) -> Array:
    """The modified Bessel function of the first kind, of order 0.

    >>> import pullback.numpy as pnp
    >>> print(pnp.i0(0.))
    1.0
    """
    return bessel.i0(x)
