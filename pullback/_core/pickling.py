"""Pickling of callables: by name, like functions, or by value for picklers that write functions themselves."""

from __future__ import annotations

import pickle
import sys
from operator import attrgetter

from pullback._core.typing import AnyValue


def travels_by_value(obj: AnyValue, module: str, name: str) -> bool:
    """Return whether the current pickler should write `obj` by value: another process could not import it by name.

    cloudpickle and picklers derived from it (joblib, dask, ray) write lambdas and functions of `__main__` in full;
    plain pickle writes only names.
    """
    return _pickler_writes_functions() and (module == "__main__" or not _is_importable(obj, module, name))


def _pickler_writes_functions() -> bool:
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
