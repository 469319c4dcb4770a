"""Rounding, and whether numbers are finite."""

from __future__ import annotations

import enum

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._ops.families import (
    FLOAT,
    UnaryFunction,
    function_of_one,
    to_bool,
    unary,
)

# --- rounding, and finiteness ---

floor_p: Primitive = unary("floor", np.floor, "stablehlo.floor", None, FLOAT)
ceil_p: Primitive = unary("ceil", np.ceil, "stablehlo.ceil", None, FLOAT)
trunc_p = unary(
    "trunc",
    np.trunc,
    lambda ctx, x: ctx.op(
        "stablehlo.select",
        [ctx.compare("LT", x, ctx.full_like(x, 0)), ctx.op("stablehlo.ceil", [x]), ctx.op("stablehlo.floor", [x])],
        x.aval,
    ),
    None,
    FLOAT,
)


class RoundingMethod(enum.IntEnum):
    """The rounding of halves by `round`.

    >>> RoundingMethod.TO_NEAREST_EVEN.name
    'TO_NEAREST_EVEN'
    """

    AWAY_FROM_ZERO = 0
    TO_NEAREST_EVEN = 1


def _round_kernel(x, rounding_method):
    if rounding_method == RoundingMethod.TO_NEAREST_EVEN:
        return np.rint(x)
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.sign(x), whole)


def _round_lower(ctx, x, rounding_method):
    to_even = rounding_method == RoundingMethod.TO_NEAREST_EVEN
    return ctx.op("stablehlo.round_nearest_even" if to_even else "stablehlo.round_nearest_afz", [x])


round_p: Primitive = unary("round", _round_kernel, _round_lower, None, FLOAT)
is_finite_p: Primitive = unary(
    "is_finite", np.isfinite, lambda ctx, x: ctx.op("stablehlo.is_finite", [x], ctx.out_avals[0]), None, FLOAT, to_bool
)

floor: UnaryFunction = function_of_one(
    __name__, floor_p, "The largest integer not above `x`. Its derivative is 0 everywhere.", "-1.5", "-2.0"
)
ceil: UnaryFunction = function_of_one(
    __name__, ceil_p, "The smallest integer not below `x`. Its derivative is 0 everywhere.", "-1.5", "-1.0"
)


def trunc(x: ArrayLike) -> Array:
    """The nearest integer towards zero."""
    return trunc_p.bind(x)


def round(x: ArrayLike, rounding_method: RoundingMethod = RoundingMethod.AWAY_FROM_ZERO) -> Array:
    """The nearest integer, halves away from zero or to the even one, in the floating-point dtype and shape of `x`.

    Its derivative is 0 everywhere. TypeError for other dtypes.

    >>> from pullback import lax
    >>> print(lax.round(2.5), lax.round(2.5, lax.RoundingMethod.TO_NEAREST_EVEN))
    3.0 2.0
    """
    return round_p.bind(x, rounding_method=int(rounding_method))


def round_to_even(x: ArrayLike) -> Array:
    """The nearest integer, halves to the even one."""
    return round_p.bind(x, rounding_method=1)


is_finite: UnaryFunction = function_of_one(
    __name__, is_finite_p, "Whether `x` is neither infinite nor nan.", "2.", "True", gives="is of bool"
)
