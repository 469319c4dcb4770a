"""The traces and programs of `jit`, kept on the function that they are of."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from pullback._core.typing import AnyValue


class JitCache:
    """The cache of jit for a function. It is an attribute of the function, so that both are freed together.

    A global table would keep alive every function whose trace refers to it, as custom rules do.
    """

    __slots__ = ("caches", "owner")

    def __init__(self, owner: AnyValue = None):
        self.owner = owner
        self.caches: dict[tuple, dict] = {}

    def __reduce__(self) -> str | tuple[Any, ...]:
        return JitCache, ()  # a copied or pickled function starts with an empty cache


def shared_cache(fun: Callable, settings: tuple) -> dict:
    """The cache shared by all jits of one function with the same settings, so that `jit(f)` in a loop compiles once."""
    first_equal = getattr(type(fun), "__first_equal__", None)
    if first_equal is not None:
        fun = first_equal(fun)  # equal instances of a primitive class are one function
    elif not isinstance(fun, types.FunctionType) and "__wrapped__" not in getattr(fun, "__dict__", ()):
        return {}
    namespace = fun.__dict__
    jit_cache = namespace.get("__pullback_jit__")
    if jit_cache is None or jit_cache.owner is not fun:  # functools.wraps copies attributes
        jit_cache = namespace["__pullback_jit__"] = JitCache(fun)
    return jit_cache.caches.setdefault(settings, {})
