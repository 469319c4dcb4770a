"""Modules and their attributes that are loaded at their first use, and the error for a missing name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attributes(
    module: str,
    lazy: Mapping[str, str] | None = None,
    *,
    public: Mapping[str, str] | None = None,
    modules: str = "",
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a module.

    `lazy` maps a name to the module, or "module:attribute", that it is loaded from; `public` maps modules to the names
    that are loaded from them; `modules` names those below this one. Modules call this under `if not TYPE_CHECKING`, so
    that a type checker knows exactly the existing names.
    """
    where = {name: f"{module}.{name}" for name in modules.split()}
    for source, names in (public or {}).items():
        where.update((name, f"{source}:{name}") for name in names.split())
    where.update(lazy or {})

    def __getattr__(name: str) -> Any:
        if name in where:
            source, _, attribute = where[name].partition(":")
            value = import_module(source)
            if attribute:
                value = getattr(value, attribute)
                setattr(sys.modules[module], name, value)  # later lookups do not call this function
            return value
        if name.startswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        # the table of JAX's names that are missing here is loaded only when such a name is requested
        raise import_module("pullback._core.missing").error(module, name, sys._getframe(1))

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[module]), *where})

    return __getattr__, __dir__


class LateModule:
    """A module that is loaded when an attribute of it is first read.

    It stands for the import, which type checkers see, of a module that costs time and that few calls need.
    """

    def __init__(self, name: str):
        self.__name__ = name

    def __reduce__(self) -> tuple[type[LateModule], tuple[str]]:
        return LateModule, (self.__name__,)  # functions that are pickled by value take it along

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)  # later lookups do not call this function
        return value
