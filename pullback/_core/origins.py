"""Where a NaN was born: the operation, its operands, the line, the pass, the rule, the step of a loop.

The evaluator hands over what each operation took and gave while `debug_nans` is on. The first NaN raises, or, inside
of `find_nan`, is put down and the run goes on. The story is read off Python's frames, outward from the operation, when
there is one to tell; functions of the package that know a part of it are registered by their code (`tells`).
"""
from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.errors import Location, is_internal
from pullback._core.jaxpr import eval_jaxpr


class Origin:
    """Where an operation comes from.

    `location` is the user's line that applied it; `forward` the line whose derivative it is, in a backward pass; `rule`
    a custom rule that it belongs to; `steps` the steps of the loops it stands in, innermost first.
    """

    __slots__ = ("location", "forward", "backward", "rule", "steps")

    def __init__(self) -> None:
        self.location: Location | None = None
        self.forward: Location | None = None
        self.backward = False
        self.rule: str | None = None
        self.steps: list[str] = []

    @property
    def placed(self) -> bool:
        """Whether a line is known."""
        return self.location is not None or self.forward is not None

    def adopt(self, other: Origin | None, location: Location | None) -> None:
        """Take over the origin of an equation, or its line where that is all there is."""
        if other is None:
            self.location = location
            return
        self.location, self.forward = other.location, other.forward
        self.backward = self.backward or other.backward
        self.rule = self.rule or other.rule

    def transposed(self, other: Origin | None) -> None:
        """Say that the operation belongs to the transpose of one of another origin."""
        self.backward = True
        if other is not None:
            self.forward = self.forward or other.location or other.forward
            self.rule = self.rule or other.rule

    def lines(self) -> list[str]:
        """The story, a line each."""
        told = []
        if self.location is not None:
            told.append(f"It was made at {_quoted(self.location)}.")
        if self.backward:
            of = f", of the derivative of {_quoted(self.forward)}" if self.forward is not None else ""
            told.append(f"It was made in the backward pass{of}.")
        if self.rule is not None:
            told.append(f"It was made by {self.rule}.")
        return told + [f"It was made in {step}." for step in self.steps]


def _quoted(location: Location) -> str:
    source = linecache.getline(location.filename, location.line).strip()
    return f"{location}: {source}" if source else str(location)


Teller = Callable[[dict[str, Any], Origin], None]
_tellers: dict[CodeType, Teller] = {}


def tells(function: Any, teller: Teller) -> None:
    """Register what the frames of a function of the package tell: `teller(its local variables, origin)`."""
    assert isinstance(function, FunctionType)
    _tellers[function.__code__] = teller


def origin_here(frame: FrameType | None = None) -> Origin:
    """The origin of the operation that is applied now."""
    origin = Origin()
    frame = frame or sys._getframe(1)
    while frame is not None:
        teller = _tellers.get(frame.f_code)
        if teller is not None:
            teller(frame.f_locals, origin)
        elif not origin.placed and not is_internal(frame.f_code):
            origin.location = Location(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return origin


def _tell_equation(local: dict[str, Any], origin: Origin) -> None:
    if not origin.placed and "eqn" in local:
        origin.adopt(local["eqn"].origin, local["eqn"].location)


tells(eval_jaxpr, _tell_equation)

# --- what was found ---


@dataclass
class Birth:
    """A NaN (or an infinity) in the result of an operation.

    `made` is False where an operand had one already, which no operation before had made. `result` and `operands`
    describe them in words; `index` is the first place in the result, `count` how many there are.
    """

    kind: str
    primitive: str
    made: bool
    result: str
    operands: list[str]
    index: tuple[int, ...]
    count: int
    origin: Origin

    @property
    def location(self) -> Location | None:
        """The user's line that applied the operation."""
        return self.origin.location

    @property
    def forward(self) -> Location | None:
        """In a backward pass, the line whose derivative the operation belongs to, where that is known."""
        return self.origin.forward

    @property
    def backward(self) -> bool:
        """Whether the operation belongs to a backward pass."""
        return self.origin.backward

    @property
    def rule(self) -> str | None:
        """The custom rule that the operation belongs to, with the places of definition."""
        return self.origin.rule

    @property
    def steps(self) -> list[str]:
        """The steps of the loops that the operation ran in, innermost first."""
        return self.origin.steps

    @property
    def headline(self) -> str:
        """What happened."""
        if self.made:
            return f"'{self.primitive}' made {_A[self.kind]}"
        return f"'{self.primitive}' was given {_A[self.kind]} that no operation made, and passed it on"

    @property
    def details(self) -> list[str]:
        """Where, and out of what, a line each."""
        return [*self.origin.lines(), f"result: {self.result}",
                *(f"operand {i}: {operand}" for i, operand in enumerate(self.operands))]

    def __str__(self) -> str:
        return "\n".join([self.headline, *("  " + line for line in self.details)])


_A = {"nan": "a nan", "inf": "an inf"}
_TESTS: dict[str, Callable] = {"nan": np.isnan, "inf": np.isinf}


class Watch(threading.local):
    """Who wants to know, in this thread: a list of births, or None to raise; and whether of infinities too."""

    births: list[Birth] | None = None
    infs = False


_watch = Watch()
_MANY = 16


@contextmanager
def watching(infs: bool) -> Iterator[list[Birth]]:
    """Put births down in a list while the context lasts, in place of raising."""
    outer = _watch.births, _watch.infs
    births: list[Birth] = []
    _watch.births, _watch.infs = births, infs
    try:
        yield births
    finally:
        _watch.births, _watch.infs = outer


def find(kind: str, value: Any) -> np.ndarray | None:
    """A mask of the NaNs (or infinities) in a value; None if there are none."""
    value = np.asarray(value)
    if not dtypes.is_inexact(value.dtype):
        return None
    mask = _TESTS[kind](value)
    return mask if mask.any() else None


def inspect_operation(primitive: Any, operands: Sequence[Any], results: Sequence[Any]) -> None:
    """Look for NaNs in what an operation gave; `operands` and `results` are NumPy values."""
    kinds = ("nan", "inf") if _watch.infs else ("nan",)
    for kind in kinds:
        for result in results:
            mask = find(kind, result)
            if mask is not None:
                _report(kind, primitive, operands, np.asarray(result), mask)
                return


def _report(kind: str, primitive: Any, operands: Sequence[Any], result: np.ndarray, mask: np.ndarray) -> None:
    births = _watch.births
    given = any(find(k, x) is not None for x in operands for k in ("nan", kind))
    if births is not None and (len(births) >= _MANY or (given and births)):
        return
    index = tuple(int(i) for i in np.argwhere(mask)[0])
    told = [describe_value(x, index if x.shape == result.shape else () if x.ndim == 0 else None)
            for x in map(np.asarray, operands)]
    birth = Birth(kind, primitive.name, not given, describe_value(result, None), told, index, int(mask.sum()),
                  origin_here(sys._getframe(2)))
    if births is None:
        error = FloatingPointError(f"{birth.headline} (debug_nans is on)")
        error.add_note("\n".join(birth.details))
        raise error
    if not any(_same_place(birth, other) for other in births):
        births.append(birth)


def _same_place(a: Birth, b: Birth) -> bool:
    return (a.primitive, a.kind, a.location, a.forward, a.rule) == (b.primitive, b.kind, b.location, b.forward, b.rule)


def describe_value(value: np.ndarray, there: tuple[int, ...] | None) -> str:
    """The type of a value, and how much of it is not finite; its entry at a place `there`, unless that is empty."""
    text = f"{value.dtype.name}[{','.join(map(str, value.shape))}]"
    parts = []
    for kind in ("nan", "inf"):
        mask = find(kind, value)
        if mask is not None:
            many = "" if value.ndim == 0 else f"{int(mask.sum())} of {value.size} "
            first = "" if value.ndim == 0 else f", the first at {[int(i) for i in np.argwhere(mask)[0]]}"
            parts.append(f"{many}{kind}{first}")
    text += ", " + (" and ".join(parts) or "finite")
    if there is None or (parts and not value.ndim):
        return text
    return f"{text}: {value[there]}" + (f" at {list(there)}" if there else "")
