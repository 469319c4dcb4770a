"""Compiled programs that outlive who asked for them, so that who asks again finds them: bounded by size."""
from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from pullback._core.config import config
from pullback._core.typing import AnyValue

# XLA does not say what a program takes. Measured, from 1 to 200 operations: this, and 100 bytes for each of its text
_LEAST = 150_000
_PER_CHARACTER = 100


def size_of(text: str) -> int:
    """About the bytes that the program of a module's text takes."""
    return _LEAST + _PER_CHARACTER * len(text)


class Programs:
    """Programs by keys, the one used last at the end; the first go where all take more than the bound.

    The bound is the option `program_cache_max_size`; `most` bounds their number, too.
    """

    def __init__(self, most: float = math.inf):
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Any:
        """The program, or None; TypeError for a key without hash."""
        entry = self._kept.get(key)
        if entry is None:
            return None
        try:
            self._kept.move_to_end(key)
        except KeyError:
            pass  # another thread has just let it go
        return entry[0]

    def keep(self, key: Hashable, program: AnyValue, size: int) -> None:
        """Keep a program as long as there is room."""
        with self._lock:
            before = self._kept.pop(key, None)
            self._kept[key] = program, size
            self.size += size - (before[1] if before else 0)
            while self._kept and (self.size > config.program_cache_max_size or len(self._kept) > self._most):
                self.size -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Let go of all programs."""
        with self._lock:
            self._kept.clear()
            self.size = 0
