"""The threads of the two BLAS libraries in a process: NumPy's and SciPy's.

OpenBLAS distributes matrices of a hundred rows over all its threads. An idle thread keeps its processor busy for
some milliseconds, waiting for more work; if two libraries have threads, or other programs need the processors, each
waits for the other's time slice to end. On two processors the eager gradient of a Gaussian process with 120 points took
55 ms this way, and 5 on one thread. Work that one thread does in less time than that is kept on one.
"""

from __future__ import annotations

import ctypes
import importlib
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from pullback._core.typing import AnyValue

# multiplications that one thread performs in half a millisecond
MODERATE = 256**3
# whether others are at work in this process: SciPy's library, or XLA, which compiles in the background. Then it matters
# for matrix products too, which use NumPy's library only
_shared = False


class Library:
    """A BLAS library, identified by an extension module that is linked with it."""

    def __init__(self, module: str):
        # symbols are looked up in the libraries of the module; another kind of BLAS is left alone
        linked = ctypes.PyDLL(importlib.import_module(module).__file__)
        names = [f"{prefix}openblas_%s_num_threads{suffix}" for prefix in ("scipy_", "") for suffix in ("64_", "")]
        self._get: Callable[[], int] = lambda: 1
        self._set: Callable[[int], Any] = lambda count: None
        for name in names:
            if hasattr(linked, name % "set"):
                self._get, self._set = getattr(linked, name % "get"), getattr(linked, name % "set")
        self._lock = threading.Lock()
        self._inside = 0
        self._before = 1

    def on_one_thread(self, function: Callable, *args: Any) -> Any:
        """Call a function while the library is limited to one thread."""
        with self._lock:
            if self._inside == 0:
                self._before = self._get()
                if self._before > 1:
                    self._set(1)
            self._inside += 1
        try:
            return function(*args)
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0 and self._before > 1:
                    self._set(self._before)


@cache
def numpy_blas() -> Library:
    """The library of NumPy's matrix products."""
    return Library("numpy.linalg._umath_linalg")


@cache
def scipy_blas() -> Library:
    """The library of SciPy's routines."""
    share_processors()
    return Library("scipy.linalg._flapack")


def share_processors() -> None:
    """Keep matrix products of moderate size on one thread from now on."""
    global _shared
    _shared = True


def takes_threads(m: int, k: int, n: int) -> bool:
    """Return whether OpenBLAS uses threads for a product of matrices although one thread would be fast enough."""
    work = m * k * n
    return (work > 2304 * 4 if m == 1 or n == 1 else work > 65536 * 4) and work <= MODERATE


def product(x: AnyValue, y: AnyValue, multiply: Callable) -> Any:
    """A product of matrices of a size that `takes_threads`."""
    return numpy_blas().on_one_thread(multiply, x, y) if _shared else multiply(x, y)
