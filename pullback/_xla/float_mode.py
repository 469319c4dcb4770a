"""The processor's mode in calls from compiled programs to Python: subnormal numbers count there as elsewhere in Python.

The engine's threads take subnormal numbers for 0, as operands and as results, and Python's own floats computed in them
would be flushed, too. The C library's default environment (C23, 7.6) is the mode of IEEE 754; GNU's `fesetenv` sets it.
"""
from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

# FE_DFL_ENV of the GNU C library; another one has it elsewhere
_DEFAULT = ctypes.c_void_p(-1)
# more than any processor's fenv_t takes
_SIZE = 64


def _no_change() -> None:
    return None


def _nothing_to_restore(_: Any) -> None:
    return None


def _find() -> tuple[Callable[[], Any], Callable[[Any], None]]:
    if not sys.platform.startswith("linux"):
        return _no_change, _nothing_to_restore
    try:
        library = ctypes.PyDLL("libm.so.6")  # GNU's; what keeps the interpreter's lock costs least
        get, put = library.fegetenv, library.fesetenv
    except (OSError, AttributeError):
        return _no_change, _nothing_to_restore

    def enter() -> Any:
        outer = ctypes.create_string_buffer(_SIZE)
        get(outer)
        put(_DEFAULT)
        return outer

    return enter, put


# `enter()` begins Python's mode in this thread and returns what `leave` brings back
enter, leave = _find()
