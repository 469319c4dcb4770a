"""Rounding, elementwise."""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, distinct
from pullback._core.errors import boundary, described
from pullback._core.primitive import Primitive
from pullback._ops import elementwise as e
from pullback._ops import rounding as rounding_ops
from pullback._ops import shape, trig
from pullback._ops.elementwise import scalar
from pullback._ops.families import UnaryFunction
from pullback.numpy._elementwise.logic import no_out
from pullback.numpy._elementwise.promotion import (
    DEFAULT_INEXACT,
    FLOAT,
    as_operand,
    elementwise,
    unary,
)

__all__ = ["around", "ceil", "fix", "floor", "rint", "round", "trunc"]


def _exact(dtype):
    return not dtypes.is_inexact(dtype)


def _rounding(name: str, primitive: Primitive, says: str, result: str) -> UnaryFunction:
    return unary(
        name,
        primitive,
        FLOAT,
        f"""{says} Integers and bools come back as they are.

    >>> import pullback.numpy as pnp
    >>> print(pnp.{name}(pnp.array([-1.5, 0.5])))
    {result}
    """,
        unchanged=_exact,
        module=__name__,
        parameters="x",
    )


floor: UnaryFunction = _rounding("floor", rounding_ops.floor_p, "The largest integer not above `x`.", "[-2.  0.]")
ceil: UnaryFunction = _rounding("ceil", rounding_ops.ceil_p, "The smallest integer not below `x`.", "[-1.  1.]")
trunc: UnaryFunction = _rounding("trunc", rounding_ops.trunc_p, "The next integer towards zero.", "[-1.  0.]")
fix: UnaryFunction = trunc


def _nearest(x: Array) -> Array:
    if dtypes.is_complex(x.aval.dtype):
        return trig.complex_p.bind(*(rounding_ops.round_to_even(part.bind(x)) for part in (trig.real_p, trig.imag_p)))
    return rounding_ops.round_to_even(x)


@elementwise(DEFAULT_INEXACT)
def rint(x: Array, /) -> Array:
    """The nearest integer in floating point, halves to even.

    >>> import pullback.numpy as pnp
    >>> print(pnp.rint(pnp.array([0.5, 1.5])))
    [0. 2.]
    """
    return _nearest(x)


@boundary
def round(a: ArrayLike, decimals: int = 0, out: None = None) -> Array:
    """`a` rounded to `decimals` decimal places (a Python integer, maybe negative), halves to even, in its dtype.

    TypeError for other `decimals`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.round(pnp.array([0.125, 2.5]), 2))
    [0.12 2.5 ]
    """
    return _rounded("round", a, decimals, out)


@boundary
def around(a: ArrayLike, decimals: int = 0, out: None = None) -> Array:
    """`round`, by its old name; the same errors.

    >>> import pullback.numpy as pnp
    >>> print(pnp.around(pnp.array([0.125, 2.5]), 2))
    [0.12 2.5 ]
    """
    return _rounded("around", a, decimals, out)


def _rounded(name: str, a: ArrayLike, decimals: int, out: None) -> Array:
    no_out(name, out)
    a = as_operand(a, name, 0)
    if not isinstance(decimals, (int, np.integer)):
        raise TypeError(f"{name}: decimals must be a Python integer, got {described(decimals)}")
    dtype = a.aval.dtype
    if not dtypes.is_inexact(dtype):
        if dtype.kind == "b":
            raise TypeError(f"{name}: bools cannot be rounded; convert them with .astype(int)")
        return distinct(a, a) if decimals >= 0 else _round_integers(a, 10 ** -int(decimals))
    if decimals == 0:
        return _nearest(a)
    # 10**decimals does not fit half precision
    half = dtype.itemsize <= 2
    x = shape.convert_element_type(a, np.float32) if half else a
    factor = scalar(x, 10.0 ** builtin_abs(int(decimals)))
    if decimals > 0:
        x = e.div_p.bind(_nearest(e.mul_p.bind(x, factor)), factor)
    else:
        x = e.mul_p.bind(_nearest(e.div_p.bind(x, factor)), factor)
    return shape.convert_element_type(x, dtype, a.aval.weak_type) if half else x


def _round_integers(a: Array, factor: int) -> Array:
    dtype = a.aval.dtype
    if factor > 2 * dtypes.iinfo(dtype).max:
        return shape.full(a.aval.shape, 0, dtype, a.aval.weak_type)
    wide = shape.convert_element_type(a, np.float64 if dtype.itemsize >= 4 else np.float32)
    near = rounding_ops.round_to_even(e.div_p.bind(wide, scalar(wide, factor)))
    return shape.convert_element_type(e.mul_p.bind(near, scalar(near, factor)), dtype, a.aval.weak_type)


builtin_abs = abs


def to_integers(x: Array) -> Array:
    """Rounded values in an integer dtype, as Python's `round` of one argument has it."""
    if not dtypes.is_float(x.aval.dtype):
        return x
    return shape.convert_element_type(x, dtypes.canonicalize_dtype(int))
