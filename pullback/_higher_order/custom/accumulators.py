"""The accumulators that a backward rule adds cotangents to, one for each leaf of the arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero
from pullback._higher_order.custom.checks import fit_tangent
from pullback._ops.elementwise import add_p


class NullAccum:
    """The accumulator of an argument that is not differentiated: it takes any cotangent, and drops it."""

    __slots__ = ("aval",)

    def __init__(self, aval: ShapedArray):
        self.aval = aval

    def accum(self, ct: AnyValue) -> None:
        """Drop a cotangent."""

    def freeze(self) -> Any:
        """The sum of what was added, None for zero."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.aval.str_short()})"


class ValAccum(NullAccum):
    """An accumulator that holds the sum of the cotangents added so far."""

    __slots__ = ("place", "value")

    def __init__(self, aval: ShapedArray, place: Callable[[], str]):
        self.aval = aval
        self.place = place
        self.value: Any = None

    def accum(self, ct: AnyValue) -> None:
        """Add a cotangent; None and symbolic zeros add nothing."""
        if ct is None:
            return
        ct = fit_tangent(ct, self.aval, self.place)
        if type(ct) is not Zero:
            self.value = ct if self.value is None else add_p.bind(self.value, ct)

    def freeze(self) -> Any:
        return self.value
