"""Attributes of public modules: what is loaded at its first use, and what is said of a name that there is not."""
from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attributes(module: str, lazy: Mapping[str, str] | None = None
               ) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a module.

    `lazy` maps names to what they stand for: a module, or "module:attribute" of one. Modules set them under
    `if not TYPE_CHECKING`, so that a type checker knows the names that are there, and no others.
    """
    where = {} if lazy is None else dict(lazy)

    def __getattr__(name: str) -> Any:
        if name in where:
            source, _, attribute = where[name].partition(":")
            value = import_module(source)
            if attribute:
                value = getattr(value, attribute)
                setattr(sys.modules[module], name, value)  # found without this function from now on
            return value
        if name.startswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        # the table of what JAX has and this library has not is loaded by whoever asks for such a name
        raise AttributeError(import_module("pullback._core.missing").explanation(module, name))

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[module]), *where})

    return __getattr__, __dir__
