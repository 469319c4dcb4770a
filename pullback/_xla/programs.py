"""A cache of compiled programs that outlive their requesters, bounded by size."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from pullback._core.config import config
from pullback._core.typing import AnyValue

# XLA does not report the size of a program. Measured, from 1 to 200 operations: this, and 100 bytes for each of its
# text
_LEAST = 150_000
_PER_CHARACTER = 100


def size_of(text: str) -> int:
    """The approximate size in bytes of the program of a module's text."""
    return _LEAST + _PER_CHARACTER * len(text)


class Programs:
    """Programs by keys, least recently used first; these are evicted if the total size exceeds the bound.

    The bound is the option `program_cache_max_size`; `most` bounds the number of programs too.
    """

    def __init__(self, most: float = math.inf):
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Any:
        """The program, or None; TypeError for a key that is not hashable."""
        entry = self._kept.get(key)
        if entry is None:
            return None
        try:
            self._kept.move_to_end(key)
        except KeyError:
            pass  # another thread has just evicted it
        return entry[0]

    def keep(self, key: Hashable, program: AnyValue, size: int) -> None:
        """Keep a program, evicting others if necessary."""
        with self._lock:
            before = self._kept.pop(key, None)
            self._kept[key] = program, size
            self.size += size - (before[1] if before else 0)
            while self._kept and (self.size > config.program_cache_max_size or len(self._kept) > self._most):
                self.size -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Evict all programs."""
        with self._lock:
            self._kept.clear()
            self.size = 0
