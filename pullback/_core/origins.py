"""The origin of an operation: the user's line, the custom rule, the step of a loop, the backward pass.

The user's line is read from Python's stack. The rest (equation, rule, step, pass) is declared by context managers,
which are entered only while `debug_nans` is on (`origins_are_tracked`). Each remembers the frame that entered it, so
that lines and contexts can be ordered: the one nearest to the operation takes precedence.
"""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Any

from pullback._core.config import config, nans_were_debugged
from pullback._core.errors import Location, internal_files, is_internal


class Origin:
    """The origin of an operation.

    `location` is the user's line that applied it; `forward` the line whose derivative it is, in a backward pass; `rule`
    a custom rule that it belongs to; `steps` the steps of its loops, innermost first; `equations` those that were
    evaluated, or transposed, when it was applied, innermost first; `calls` the user's lines from the outermost call to
    `location`, while `KeepingCalls`.
    """

    __slots__ = ("location", "forward", "backward", "rule", "steps", "equations", "calls")
    backward: bool

    def __init__(self) -> None:
        self.location: Location | None = None
        self.forward: Location | None = None
        self.backward = False
        self.rule: str | None = None
        self.steps: list[str] = []
        self.equations: list[Any] = []
        self.calls: tuple[Location, ...] = ()

    @property
    def placed(self) -> bool:
        """True if a line is known."""
        return self.location is not None or self.forward is not None

    def adopt(self, other: Origin | None, location: Location | None) -> None:
        """Take over the origin of an equation, or its line if there is no origin."""
        if other is None:
            self.location = location
            return
        self.location, self.forward, self.calls = other.location, other.forward, other.calls
        self.backward = self.backward or other.backward
        self.rule = self.rule or other.rule

    def transposed(self, other: Origin | None) -> None:
        """Mark the operation as part of the transpose of an operation of origin `other`."""
        self.backward = True
        if other is not None:
            self.forward = self.forward or other.location or other.forward
            self.rule = self.rule or other.rule
            self.equations += other.equations
            self.calls = other.calls + _beyond(other.calls, self.calls)  # the lines of a rule, below its function's

    def lines(self) -> list[str]:
        """The origin in words, one line each."""
        lines = []
        if self.location is not None:
            lines.append(f"It was made at {_quoted(self.location)}.")
        if self.backward:
            of = f", of the derivative of {_quoted(self.forward)}" if self.forward is not None else ""
            lines.append(f"It was made in the backward pass{of}.")
        if self.rule is not None:
            lines.append(f"It was made by {self.rule}.")
        return lines + [f"It was made in {step}." for step in self.steps]


def _quoted(location: Location) -> str:
    source = linecache.getline(location.filename, location.line).strip()
    return f"{location}: {source}" if source else str(location)


# --- contexts that declare the origin of the operations inside ---


def origins_are_tracked() -> bool:
    """Return whether code that runs operations must declare their origin: while `debug_nans` is on."""
    return nans_were_debugged[0] and config.debugging


class _Entered(threading.local):
    """The contexts entered in this thread, outermost first, each with the frame that entered it."""

    def __init__(self) -> None:
        self.contexts: list[tuple[FrameType, OriginContext]] = []
        self.caller: FrameType | None = None


_entered = _Entered()


class OriginContext:
    """A context that declares something about all operations that run inside it."""

    __slots__ = ()

    def add_to(self, origin: Origin) -> None:
        """Add this context to the origin of an operation; inner contexts have been added already."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        _entered.contexts.append((sys._getframe(1), self))
        return self

    def __exit__(self, *_: object) -> None:
        _entered.contexts.pop()


class AtEquation(OriginContext):
    """The operations evaluate an equation of a jaxpr."""

    __slots__ = ("eqn",)

    def __init__(self, eqn: Any):
        self.eqn = eqn

    def add_to(self, origin: Origin) -> None:
        known = self.eqn.origin
        origin.equations.append(self.eqn)
        if known is not None:
            origin.equations += known.equations
        if not origin.placed:
            origin.adopt(known, self.eqn.location)


class InStep(OriginContext):
    """The operations belong to a step of a loop; `loop` is its description with an article."""

    __slots__ = ("step", "loop")

    def __init__(self, step: int, loop: str):
        self.step = step
        self.loop = loop

    def add_to(self, origin: Origin) -> None:
        origin.steps.append(f"step {self.step} of {self.loop}")


class InRule(OriginContext):
    """The operations belong to a custom rule, described by `label()`."""

    __slots__ = ("label",)

    def __init__(self, label: Callable[[], str]):
        self.label = label

    def add_to(self, origin: Origin) -> None:
        if origin.rule is None:
            origin.rule = self.label()


class InBackwardPass(OriginContext):
    """The operations belong to a backward pass over the records of a tape."""

    __slots__ = ("place", "record")

    def __init__(self, place: Callable[[Any], Origin | None]):
        self.place = place
        self.record: Any = None

    def over(self, records: Iterable[Any]) -> Iterator[Any]:
        """Iterate over the records; the last one yielded is the one being transposed."""
        for self.record in records:
            yield self.record

    def add_to(self, origin: Origin) -> None:
        origin.transposed(None if self.record is None else self.place(self.record))


class KeepingCalls:
    """A context in which origins keep the user's lines between it and the operation, not the last one alone."""

    __slots__ = ("outer",)

    def __enter__(self) -> None:
        self.outer, _entered.caller = _entered.caller, sys._getframe(1)

    def __exit__(self, *_: object) -> None:
        _entered.caller = self.outer


def _calls(frame: FrameType | None) -> tuple[Location, ...]:
    """The user's lines that are being run, from the caller of `KeepingCalls` to a frame; () if it is outside."""
    found = []
    while frame is not None and frame is not _entered.caller:
        if not is_internal(frame.f_code):
            found.append(Location(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return () if frame is None else tuple(reversed(found))


def _beyond(calls: tuple[Location, ...], others: tuple[Location, ...]) -> tuple[Location, ...]:
    """Those of other calls that come after the ones in common."""
    shared = 0
    while shared < min(len(calls), len(others)) and calls[shared] == others[shared]:
        shared += 1
    return others[shared:]


NO_CONTEXT: AbstractContextManager[None] = nullcontext()


def origin_here(frame: FrameType | None = None) -> Origin:
    """The origin of the operation that is being applied."""
    origin = Origin()
    contexts: dict[FrameType, list[OriginContext]] = {}
    if _entered.contexts:
        for entered_by, context in reversed(_entered.contexts):
            contexts.setdefault(entered_by, []).append(context)
    frame = frame or sys._getframe(1)
    placed = False
    # beyond the user's line nothing is looked for but the contexts that are left
    while frame is not None and (contexts or not placed):
        if contexts and frame in contexts:
            for context in contexts.pop(frame):
                context.add_to(origin)
            placed = origin.placed
        elif not placed and not internal_files[frame.f_code.co_filename]:  # `is_internal`
            origin.location = Location(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
            origin.calls = () if _entered.caller is None else _calls(frame)
            placed = True
        frame = frame.f_back
    return origin
