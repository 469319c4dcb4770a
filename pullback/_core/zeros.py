"""Symbolic zeros: a tangent or cotangent known to vanish, of which only the type is stored.

A linear map takes zero to zero, so every rule may pass a symbolic zero on, or omit it from a sum, without further
knowledge. An integer has no directions: its tangent space is {0}, and the dtype of that one tangent is `float0`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.lists import chosen
from pullback._core.types import ShapedArray


class Zero:
    """The zero of a tangent space: `SymbolicZero` to the author of a rule.

    `aval` is the type of the tangent, of dtype `float0` where there is no tangent space.

    >>> Zero.of(ShapedArray((2,), "float32"))
    SymbolicZero(f32[2])
    """

    __slots__ = ("aval",)
    aval: ShapedArray

    def __init__(self, aval: ShapedArray):
        self.aval = aval

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array of zeros it stands for."""
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the array of zeros it stands for."""
        return self.aval.dtype

    @classmethod
    def of(cls, primal_aval: ShapedArray) -> Zero:
        """The zero tangent at a primal of this type."""
        return zero_of(primal_aval)

    def __repr__(self) -> str:
        return f"SymbolicZero({self.aval.str_short()})"


_zeros: dict[ShapedArray, Zero] = {}


def zero_of(primal_aval: ShapedArray) -> Zero:
    """The zero tangent at a primal of this type (one object per type)."""
    zero = _zeros.get(primal_aval)
    if zero is None:
        try:
            tangent = primal_aval.to_tangent_aval()
        except NotImplementedError:  # a type of one's own without tangents
            tangent = ShapedArray((), dtypes.float0)
        zero = _zeros[primal_aval] = Zero(tangent)
    return zero


def nonzero(values: Iterable[Any]) -> tuple[list[Any], list[bool]]:
    """The tangents or cotangents that are neither None nor a symbolic zero; and for each entry whether it is one."""
    values = list(values)
    present = [x is not None and type(x) is not Zero for x in values]
    return chosen(values, present), present
