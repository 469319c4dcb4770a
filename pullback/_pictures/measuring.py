"""What an eager run takes: the time of each operation, and the memory of the arrays that are alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from pullback._core.errors import Location
from pullback._core.nans import watching
from pullback._core.option_contexts import debug_nans
from pullback._core.origins import KeepingCalls, Origin, origin_here
from pullback._core.primitive import Primitive


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operation comes from: its pass, the user's lines from the outermost call, the rule, its name.

    `backward` is None where the pass is not known.
    """

    backward: bool | None
    calls: tuple[Location, ...]
    rule: str | None
    primitive: str

    @property
    def location(self) -> Location | None:
        """The innermost line; in a backward pass that of the operation it is the derivative of."""
        return self.calls[-1] if self.calls else None


class Held(NamedTuple):
    """Memory: the bytes of so many `arrays` made at a place.

    `residual` says that they were made in the forward pass, and that the backward pass reads them.
    """

    nbytes: int
    arrays: int
    place: Place
    residual: bool


def place_of(origin: Origin, primitive: str) -> Place:
    """The place of an operation by its origin."""
    line = origin.location or origin.forward
    calls = origin.calls or (() if line is None else (line,))
    return Place(origin.backward, calls, origin.rule, primitive)


class Stopwatch:
    """A `Watcher` that takes the time of each operation: from the end of the one before, without its own."""

    def __init__(self) -> None:
        self.seconds: dict[Place, float] = {}
        self.counts: dict[Place, int] = {}
        self.since = perf_counter()

    def announced(self, primitive: Primitive) -> None:
        """Nothing: what a loop does is seen operation by operation."""

    def observed(self, primitive: Primitive, args: Sequence[Any], outs: Sequence[Any], params: dict[str, Any]) -> None:
        """Add the time since the end of the operation before."""
        spent = perf_counter() - self.since
        place = place_of(origin_here(), primitive.name)
        self.seconds[place] = self.seconds.get(place, 0.0) + spent
        self.counts[place] = self.counts.get(place, 0) + 1
        self.since = perf_counter()


class MemoryMeter:
    """A `Watcher` that follows the memory of results: when it was made, and when its last array was freed."""

    def __init__(self) -> None:
        # (memory, bytes, place), and for what was freed (memory, 0, None)
        self.events: list[tuple[int, int, Place | None]] = []
        self.residuals: set[int] = set()
        self._memory: dict[int, int] = {}
        self._holders: dict[int, int] = {}
        self._owner: dict[int, int] = {}
        self._forward: set[int] = set()
        self._references: dict[int, Any] = {}
        self._count = 0

    def announced(self, primitive: Primitive) -> None:
        """Nothing: what a loop makes is seen operation by operation."""

    def observed(self, primitive: Primitive, args: Sequence[Any], outs: Sequence[Any], params: dict[str, Any]) -> None:
        """Note the memory of the results, unless it is that of an operand."""
        place = place_of(origin_here(), primitive.name)
        if place.backward:
            self.residuals.update(m for a in args if (m := self._owner.get(id(a))) in self._forward and m is not None)
        for out in outs:
            if id(out) not in self._owner:
                self._note(out, place)

    def _note(self, out: Any, place: Place) -> None:
        root, size = _memory_of(out)
        memory = self._memory.get(root)
        if memory is None:
            memory = self._memory[root] = self._count
            self._count += 1
            self.events.append((memory, size, place))
            if not place.backward:
                self._forward.add(memory)
        self._holders[memory] = self._holders.get(memory, 0) + 1
        key = id(out)
        self._owner[key] = memory

        def freed(_: object, key: int = key, root: int = root, memory: int = memory) -> None:
            del self._owner[key], self._references[key]
            self._holders[memory] -= 1
            if not self._holders[memory]:
                del self._holders[memory], self._memory[root]
                self.events.append((memory, 0, None))

        self._references[key] = weakref.ref(out, freed)

    def peak(self) -> tuple[int, list[Held]]:
        """The most bytes in use at once, and what they were, the largest first."""
        live: dict[int, tuple[int, Place]] = {}
        now = most = 0
        last = -1
        events = self.events.copy()
        for i, (memory, size, place) in enumerate(events):
            if place is None:
                now -= live.pop(memory)[0]
            else:
                live[memory] = size, place
                now += size
                if now > most:
                    most, last = now, i
        live.clear()
        for memory, size, place in events[: last + 1]:
            if place is None:
                del live[memory]
            else:
                live[memory] = size, place
        return most, self._summed(live)

    def kept(self) -> list[Held]:
        """The residuals of all passes, whether or not they were in use at once."""
        made = {memory: (size, place) for memory, size, place in self.events if place is not None}
        return self._summed({memory: made[memory] for memory in self.residuals})

    def _summed(self, memories: dict[int, tuple[int, Place]]) -> list[Held]:
        """The memories by place, the largest first."""
        held: dict[tuple[Place, bool], list[int]] = {}
        for memory, (size, place) in memories.items():
            held.setdefault((place, memory in self.residuals), []).append(size)
        rows = [Held(sum(sizes), len(sizes), place, kept) for (place, kept), sizes in held.items()]
        return sorted(rows, key=lambda row: -row.nbytes)


def _memory_of(out: Any) -> tuple[int, int]:
    """The identity and the size of the memory of an array; a view is part of another's."""
    value = getattr(out, "_value", None)
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        return id(value), value.nbytes
    return id(out), out.aval.size * out.aval.dtype.itemsize


def watched(fun: Callable[[], Any], watcher: Stopwatch | MemoryMeter) -> Any:
    """The result of a function that runs operation by operation, each shown to a watcher."""
    with debug_nans(), watching(watcher), KeepingCalls():
        if isinstance(watcher, Stopwatch):
            watcher.since = perf_counter()
        return fun()
