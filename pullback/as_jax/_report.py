"""The names that a program asked for and pullback has not, with where it asked."""

from __future__ import annotations

import atexit
import sys
from types import FrameType
from typing import TextIO

from pullback._core import missing
from pullback._core.errors import is_internal

_asked: dict[tuple[str, str], dict[str, None]] = {}  # module and name -> places, in order


def _place(frame: FrameType | None) -> str:
    """The file and line outside of the package, and of Python's import system, that runs."""
    while frame is not None:
        code = frame.f_code
        if not is_internal(code) and "importlib" not in code.co_filename:
            return f"{code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "an unknown place"


def _note(module: str, name: str) -> None:
    _asked.setdefault((module, name), {})[_place(sys._getframe(1))] = None


def report(file: TextIO | None = None) -> None:
    """Print the names that were asked for and are missing since `report_at_exit`, why, and where: nothing if none was.

    A name may have been asked for by `hasattr`, or within `try`, by a program that can do without. Raises nothing.

    >>> report()
    """
    out = file or sys.stderr
    for (module, name), places in sorted(_asked.items()):
        if name in vars(sys.modules.get(module, sys)):
            continue  # a module, asked for before it was imported
        print(missing.explanation(module, name), file=out)
        for place in places:
            print(f"    {place}", file=out)


def report_at_exit() -> None:
    """Note missing names from now on, and print them on stderr when the process ends. Raises nothing.

    >>> callable(report_at_exit)
    True
    """
    if missing.listener is None:
        missing.listener = _note
        atexit.register(report)
