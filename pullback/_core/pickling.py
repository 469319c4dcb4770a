"""How callables pickle: by name, as functions do, or by value for picklers that write functions themselves."""
from __future__ import annotations

import pickle
import sys
from operator import attrgetter
from typing import Any


def travels_by_value(obj: Any, module: str, name: str) -> bool:
    """Whether the pickler at work should write the parts of `obj`, since another process could not import it by name.

    cloudpickle and its heirs (joblib, dask, ray) write functions of `__main__` and lambdas in full; plain pickle writes
    names alone.
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


def _is_importable(obj: Any, module: str, name: str) -> bool:
    try:
        return attrgetter(name)(sys.modules[module]) is obj
    except (KeyError, AttributeError):
        return False
