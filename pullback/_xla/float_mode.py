"""The processor's floating-point mode in calls from compiled programs to Python: subnormals are not flushed there.

The engine's threads treat subnormal numbers as 0, as operands and as results, so Python's own floats would be flushed
in them too. The C library's default environment (C23, 7.6) is the mode of IEEE 754; GNU's `fesetenv` sets it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

# FE_DFL_ENV of the GNU C library; other libraries define it differently
_DEFAULT = ctypes.c_void_p(-1)
# larger than any processor's fenv_t
_SIZE = 64


def _no_change() -> None:
    return None


def _nothing_to_restore(_: Any) -> None:
    return None


def _find() -> tuple[Callable[[], Any], Callable[[Any], None]]:
    if not sys.platform.startswith("linux"):
        return _no_change, _nothing_to_restore
    try:
        library = ctypes.PyDLL("libm.so.6")  # GNU's; keeping the interpreter's lock is cheapest
        get, put = library.fegetenv, library.fesetenv
    except (OSError, AttributeError):
        return _no_change, _nothing_to_restore

    def enter() -> Any:
        outer = ctypes.create_string_buffer(_SIZE)
        get(outer)
        put(_DEFAULT)
        return outer

    return enter, put


# `enter()` sets Python's mode in this thread and returns the state that `leave` restores
enter, leave = _find()
