"""How accurate a program asks elementwise functions to be: `AccuracyMode`, `Tolerance`, and functions that take them.

There is one implementation of each function, which is the most accurate there is: it satisfies both modes.
"""

from __future__ import annotations

import enum
from typing import Protocol

from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.typing import AnyValue
from pullback._ops.families import public


class AccuracyMode(enum.Enum):
    """The accuracy of an elementwise function: the compiler's choice, or the highest; here both are the same.

    >>> from pullback import lax
    >>> print(lax.exp(0.0, accuracy=lax.AccuracyMode.HIGHEST))
    1.0
    """

    HIGHEST = 1
    DEFAULT = 2


class Tolerance:
    """The error that a program accepts: absolute, relative, or in units in the last place. ValueError for none of them.

    >>> from pullback import lax
    >>> lax.Tolerance(rtol=1e-6)
    Tolerance(atol=0.0, rtol=1e-06, ulps=0)
    """

    __slots__ = ("atol", "rtol", "ulps")

    def __init__(self, atol: float = 0.0, rtol: float = 0.0, ulps: int = 0):
        if not (atol or rtol or ulps) or min(atol, rtol, ulps) < 0:
            raise ValueError(f"Tolerance: expected a positive atol, rtol or ulps, got {atol}, {rtol} and {ulps}")
        self.atol: float = atol
        self.rtol: float = rtol
        self.ulps: int = ulps

    def __repr__(self) -> str:
        return f"Tolerance(atol={self.atol}, rtol={self.rtol}, ulps={self.ulps})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tolerance) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[float, float, int]:
        return self.atol, self.rtol, self.ulps


class AccurateFunction(Protocol):
    """A function of one operand, elementwise, whose accuracy may be asked for."""

    def __call__(self, x: ArrayLike, *, accuracy: AccuracyMode | Tolerance | None = None) -> Array:
        """The result has the shape of the operand."""


def _check(name: str, accuracy: AnyValue) -> None:
    if not isinstance(accuracy, (AccuracyMode, Tolerance)):
        raise NotImplementedError(f"{name}: accuracy must be None, an AccuracyMode or a Tolerance, got {accuracy!r}")


def function_with_accuracy(
    module: str, p: Primitive, says: str, argument: str, result: str, *, name: str = ""
) -> AccurateFunction:
    """The public function that applies `p`, as `function_of_one` makes it, with a parameter `accuracy`."""
    named = name or p.name

    def function(x: ArrayLike, *, accuracy: AccuracyMode | Tolerance | None = None) -> Array:
        if accuracy is not None:
            _check(named, accuracy)
        return p.bind(x)

    accepts = p.abstract_eval.accepts  # type: ignore[union-attr]
    return public(
        function,
        module,
        named,
        f"""{says}

    `x`: any shape; {accepts}. The result has its shape and that dtype. TypeError for other dtypes. `accuracy`, an
    `AccuracyMode` or a `Tolerance`, is accepted, and NotImplementedError is raised for other values.
""",
        argument,
        result,
    )
