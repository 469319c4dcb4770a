"""Cotangents of arrays of which an operation read a part: zero elsewhere, they are added up in one buffer.

The transpose of a slice or a gather is an array of zeros with the cotangent written at some positions. Where an array
is read often, as a table of embeddings, the sum of such arrays costs the size of the array for each reading. Transpose
rules may return a `Scattered` instead: the part and where it belongs. A backward pass adds it to what it has: eagerly
in place, if the buffer is its own, otherwise by an operation that the compiler performs in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pullback._core import numpy_state
from pullback._core.array import Array, ConcreteArray, array_of
from pullback._core.config import config, nans_were_debugged
from pullback._core.hitypes import add_values_p
from pullback._core.primitive import Primitive
from pullback._core.trace import context
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._ops.elementwise import add_p
from pullback._ops.shape import zeros_like_aval


def adding(aval: Any) -> Primitive:
    """The sum of two tangents of a type."""
    return add_p if type(aval) is ShapedArray else add_values_p


class Scattered:
    """A cotangent of type `aval` that is zero but where `operands`, arrays, say, by the operation of the subclass."""

    __slots__ = ("aval", "operands", "params")
    aval: ShapedArray
    operands: tuple[Array, ...]
    params: dict[str, Any]

    def __init__(self, aval: ShapedArray, *operands: Array, **params: Any):
        self.aval = aval
        self.operands = operands
        self.params = params

    def form(self) -> ScatteredForm:
        """What it is besides its operands."""
        return ScatteredForm(type(self), self.aval, len(self.operands), self.params)

    def dense(self) -> Array:
        """The cotangent as an array."""
        return self.added_to(zeros_like_aval(self.aval))

    def added_to(self, total: Array) -> Array:
        """The sum with an array of its type, under the current transformation."""
        raise NotImplementedError

    def add_in_place(self, buffer: np.ndarray, *values: Any) -> None:
        """Add it to a NumPy buffer; `values` are those of the operands, in NumPy."""
        raise NotImplementedError

    def add_to(self, buffer: np.ndarray) -> None:
        """Add it to a NumPy buffer; the operands are concrete."""
        with numpy_state.silenced():
            self.add_in_place(buffer, *[x.value for x in self.operands])  # type: ignore[attr-defined]


class ScatteredForm(NamedTuple):
    """A `Scattered` without its operands, which a traced function returns."""

    kind: type[Scattered]
    aval: ShapedArray
    operands: int
    params: dict[str, Any]

    def filled(self, operands: Iterator[Array]) -> Scattered:
        """With the next operands."""
        return self.kind(self.aval, *[next(operands) for _ in range(self.operands)], **self.params)


def added(known: Any, part: Any, owned: bool) -> tuple[Any, bool]:
    """The sum of two cotangents of one type, of which `known` may be None, and whether its buffer may be modified.

    `part` may be `Scattered`. `owned` says that nobody else sees the buffer of `known`: it was made by this function.
    """
    if type(known) is ConcreteArray and type(part) is ConcreteArray:
        aval = known.aval
        if part.aval is not aval or not aval.shape or not _now():
            return add_p.bind(known, part), False
        if not owned:
            return add_p.bind(known, part), True
        buffer: Any = known.value
        with numpy_state.silenced():
            buffer += part.value
        return known, True
    if not isinstance(part, Scattered):
        return (part if known is None else adding(part.aval).bind(known, part)), False
    if not in_place(known, *part.operands):
        return (part.dense() if known is None else part.added_to(known)), False
    buffer = _buffer(known, part.aval, owned)
    part.add_to(buffer)
    return (known if owned else array_of(part.aval, buffer)), True


def _buffer(known: ConcreteArray | None, aval: ShapedArray, owned: bool) -> Any:
    if known is None:
        return np.zeros(aval.shape, aval.dtype)
    return known.value if owned else np.array(known.value, order="C")


def in_place(*operands: AnyValue) -> bool:
    """Return whether an addition of these operands, arrays or None, may run at once, in NumPy."""
    return all(x is None or type(x) is ConcreteArray for x in operands) and _now()


def _now() -> bool:
    return context.trace.transparent and not (nans_were_debugged[0] and config.debugging)


__all__ = ["Scattered", "ScatteredForm", "added", "adding", "in_place"]
