"""The check that a value is a tangent, or a cotangent, of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback._core import dtypes
from pullback._core.arguments import aval_of, described_result
from pullback._core.array import Array, is_array_like, lift
from pullback._core.errors import RuleError
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of
from pullback._ops.shape import convert_element_type


def fit_tangent(t: AnyValue, primal: ShapedArray, place: Callable[[], str], error: type[Exception] = RuleError) -> Any:
    """A tangent for a value of type `primal`; an `error` that names its place if its type does not match."""
    expected = primal.to_tangent_aval()
    if type(expected) is not ShapedArray:
        return _fit_own(t, primal, expected, place, error)
    if type(t) is Zero:
        if type(t.aval) is not ShapedArray or t.aval.shape != expected.shape:
            raise error(
                f"{place()} must have the shape and dtype of its primal value: expected "
                f"{expected.str_short()}, got {t!r}"
            )
        return zero_of(primal)
    if isinstance(t, Array) and t.aval is expected:
        return t
    if expected.dtype == dtypes.float0:
        return zero_of(primal)
    if not is_array_like(t):
        raise error(f"{place()} must be an array of type {expected.str_short()}, got {described_result(t)}")
    t = lift(t)
    if type(t.aval) is not ShapedArray:
        raise error(
            f"{place()} must be an array of type {expected.str_short()}, which are the tangents at "
            f"{primal.str_short()}, got a value of type {t.aval.str_short()}"
        )
    if (
        t.aval.dtype != expected.dtype
        and t.aval.weak_type
        and (not dtypes.is_complex(t.aval.dtype) or dtypes.is_complex(expected.dtype))
    ):
        t = convert_element_type(t, expected.dtype, True)
    if t.aval.dtype != expected.dtype or t.aval.shape != expected.shape:
        raise error(
            f"{place()} must have the shape and dtype of its primal value: expected "
            f"{expected.str_short()}, got {t.aval.str_short()}"
        )
    return t


def _fit_own(t: AnyValue, primal: Any, expected: Any, place: Callable[[], str], error: type[Exception]) -> Any:
    """A tangent whose type is one of one's own."""
    if type(t) is Zero and t.aval == expected:
        return zero_of(primal)
    got = aval_of(t).str_short() if is_array_like(t) else described_result(t)
    if not is_array_like(t) or aval_of(t) != expected:
        raise error(
            f"{place()} must have the type of the tangents at {primal.str_short()}: expected a value of type "
            f"{expected.str_short()}, got {got}"
        )
    return lift(t)
