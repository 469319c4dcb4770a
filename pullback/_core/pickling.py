"""Pickling of callables: by name, like functions, or by value for picklers that write functions themselves.

Primitives are pickled by name too: they are found in the module that holds them.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from importlib import import_module
from operator import attrgetter
from typing import Any

from pullback._core.errors import function_name
from pullback._core.typing import AnyValue


def travels_by_value(obj: AnyValue, module: str, name: str) -> bool:
    """Return whether the current pickler should write `obj` by value: another process could not import it by name.

    cloudpickle and picklers derived from it (joblib, dask, ray) write lambdas and functions of `__main__` in full;
    plain pickle writes only names.
    """
    return writes_functions() and (module == "__main__" or not _is_importable(obj, module, name))


def writes_functions() -> bool:
    """Return whether the pickler at work writes functions by value."""
    frame = sys._getframe(1)
    while frame is not None:
        pickler = frame.f_locals.get("self")
        if isinstance(pickler, pickle.Pickler):
            return hasattr(pickler, "reducer_override")
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _is_importable(obj: AnyValue, module: str, name: str) -> bool:
    try:
        return attrgetter(name)(sys.modules[module]) is obj
    except (KeyError, AttributeError):
        return False


_homes: dict[int, tuple[str, str]] = {}


def home_of(obj: AnyValue, what: str) -> tuple[str, str]:
    """The module and the name of an object that exists once, such as a primitive; TypeError if no module holds it."""
    home = _homes.get(id(obj))
    if home is None:
        own = sorted(sys.modules.items(), key=lambda item: not item[0].startswith("pullback."))
        for name, module in own:
            for attribute, value in list(getattr(module, "__dict__", {}).items()):
                if value is obj:
                    _homes[id(obj)] = name, attribute
                    return name, attribute
        raise TypeError(f"{what} cannot be pickled: no module holds it under a name, by which it could be found again")
    return home


def at_home(module: str, name: str) -> Any:
    """The object that `home_of` found."""
    return getattr(import_module(module), name)


class NamedFunction:
    """The place of a function that was left behind in another process: its name, for messages."""

    def __init__(self, name: str):
        self.__name__ = name

    def __call__(self, *args: AnyValue, **kwargs: AnyValue) -> Any:
        raise TypeError(f"{self.__name__} was not pickled")


def named_function(fun: Callable) -> Any:
    """The function, if it can be pickled, else its name."""
    try:
        pickle.dumps(fun)
    except Exception:
        return fun if writes_functions() else NamedFunction(function_name(fun))
    return fun
