"""The pace of Python's cyclic garbage collector while a long program is recorded, on a tape or in a jaxpr.

A tape grows by several objects with each operation. None of them is part of a cycle, but the collector looks at each
again and again: while it is young, in the next generation, and in every full collection, of which there is one
each time that the objects have grown by a quarter. In a chain of 100,000 operations that made each 1.7 times as costly
as in a chain of 1,000. So while a recording is long, the next collection waits for as many young objects as it has:
each is looked at once, and the garbage that waits is at most of the size of what is recorded. When that is gone the
thresholds are what they were.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

# a recording tells its length each time that it has grown by so many operations; shorter ones leave the collector alone
STEP = 1_024
# of each operation on a tape: its record, the tuples of its operands and nodes, the node, and an array
_OBJECTS = 5


class _Pace:
    """The thresholds without long recordings, those set for them, and the lengths of the recordings that live."""

    def __init__(self) -> None:
        self.without = self.set = gc.get_threshold()
        self.lengths: dict[int, int] = {}

    def longer(self, recording: Any, length: int) -> None:
        key = id(recording)
        if key not in self.lengths:
            weakref.finalize(recording, self.gone, key).atexit = False
        self.lengths[key] = length
        self.apply()

    def gone(self, key: int) -> None:
        del self.lengths[key]
        self.apply()

    def apply(self) -> None:
        now = gc.get_threshold()
        if now != self.set:
            self.without = now  # the user has set them meanwhile
        first, second, third = self.without
        if first:  # 0 turns the collector off
            first = max(first, _OBJECTS * sum(self.lengths.values()))
        self.set = (first, second, third)
        gc.set_threshold(*self.set)


_pace = _Pace()


def longer(recording: Any, length: int) -> None:
    """Set the pace for a recording that lives, and has so many operations."""
    _pace.longer(recording, length)
