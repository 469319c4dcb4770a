"""Memory for large results of kernels, which is taken again when nobody holds it any more.

The C library returns large pieces to the system when they are freed, and the next result gets new pages, one fault for
each 4096 bytes, which takes longer than the arithmetic.

A result is a view of a block, an array of bytes, and so is every view of it: NumPy refers to the owner of the memory,
XLA to the array that it got. A block is free when this module alone refers to it. Blocks are kept up to `KEPT` bytes,
those of sizes that were not needed for the longest time go first; memory of which somebody holds a view is freed when
it is let go, as any. Results are aligned as XLA wants the arrays that it takes without a copy.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from typing import Any

import numpy as np

# bytes from which on a result gets a block, and those that are kept in blocks
LARGE, KEPT = 1 << 17, 1 << 26
_ALIGNED = 64
# blocks of one size that are looked at: where a program holds more, a new one costs less than to look at all
_LOOKS = 8


class _Blocks:
    """The blocks of a process, with the place in each where a result begins."""

    def __init__(self) -> None:
        self.taken = threading.Lock()
        self.size = 0
        self.of_size: OrderedDict[int, list[tuple[np.ndarray, int]]] = OrderedDict()

    def array(self, shape: tuple[int, ...], dtype: np.dtype, size: int) -> np.ndarray:
        """A new array in a free block, or in a new one."""
        blocks = self.of_size.get(size)
        if blocks is None:
            blocks = self.of_size[size] = []
        else:
            self.of_size.move_to_end(size)
            for i in range(min(len(blocks), _LOOKS)):
                if _references(blocks[i][0]) == _IDLE:
                    block = blocks.pop(i)
                    blocks.append(block)  # those that were taken long ago are looked at first
                    return np.ndarray(shape, dtype, *block)
        memory = np.empty(size + _ALIGNED, np.uint8)
        start = -memory.ctypes.data % _ALIGNED
        blocks.append((memory, start))
        self.size += size
        while self.size > KEPT:
            least, others = next(iter(self.of_size.items()))
            del others[0]
            self.size -= least
            if not others:
                del self.of_size[least]
        return np.ndarray(shape, dtype, memory, start)


# what counts the references to an object, where the interpreter does: the one from the block's pair, and its own
_references: Any = getattr(sys, "getrefcount", None)
_IDLE = 2
_counts = _references is not None and getattr(sys, "_is_gil_enabled", lambda: True)()
_blocks = _Blocks()


def empty(shape: tuple[int, ...], dtype: np.dtype, count: int) -> np.ndarray:
    """A new array of `count` elements, which are not set yet; their dtype holds no objects."""
    size, blocks = count * dtype.itemsize, _blocks
    # memory that another thread is about to take is not waited for
    if not LARGE <= size <= KEPT or not _counts or not blocks.taken.acquire(False):
        return np.empty(shape, dtype)
    try:
        return blocks.array(shape, dtype, size)
    finally:
        blocks.taken.release()


def clear() -> None:
    """Return the memory of free blocks to the system."""
    global _blocks
    _blocks = _Blocks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=clear)  # another thread may have had the lock
