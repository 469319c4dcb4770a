"""The search for traced values that outlive their transformation, while the option `check_tracer_leaks` is on."""

from __future__ import annotations

import gc
import types
from typing import Any

from pullback._core.errors import Location, UnexpectedTracerError, user_frame
from pullback._core.trace import Trace, Tracer


def user_line() -> str:
    """The innermost line outside the package, for messages."""
    frame = user_frame()
    return "" if frame is None else str(Location(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))


def refuse_leaks(trace: Trace) -> None:
    """Raise UnexpectedTracerError if something still refers to a value of a trace that has ended.

    Whoever calls it must not have such values in its variables any more.
    """
    gc.collect()  # what refers to itself alone can do no harm
    leaked = [x for x in gc.get_referrers(trace) if isinstance(x, Tracer)]
    if leaked:
        lines = [
            f"  {x.aval.str_short()}: {'; '.join(filter(None, (x._origin(), _holder(x, leaked))))}" for x in leaked
        ]
        raise UnexpectedTracerError(
            f"Leaked trace: {trace.describe()} has ended, but of its values are still referred to:\n"
            + "\n".join(lines)
            + "\nReturn them from the function in place of storing them (check_tracer_leaks is on)."
        )


def _holder(x: Any, known: list[Any]) -> str:
    """What refers to a value: the first thing that is found and has a name."""
    for holder in gc.get_referrers(x):  # no closure here may hold `x` itself
        if holder is known or isinstance(holder, (types.FrameType, Tracer)):
            continue
        if isinstance(holder, types.CellType):
            functions = [f for f in gc.get_referrers(*gc.get_referrers(holder)) if isinstance(f, types.FunctionType)]
            return f"a closure holds it{f', of {functions[0].__qualname__}' if functions else ''}"
        if isinstance(holder, dict):
            return f"{_owner(holder)} holds it{_name(holder, x)}"
        if isinstance(holder, (list, tuple, set)):
            return f"a {type(holder).__name__} of {len(holder)} holds it"
        return f"an object of {type(holder).__name__} holds it{_name(getattr(holder, '__dict__', {}), x)}"
    return ""


def _name(namespace: dict[Any, Any], x: Any) -> str:
    """The name of a value in a namespace, for messages."""
    for name, value in namespace.items():
        if value is x:
            return f" as {name!r}"
    return ""


def _owner(namespace: dict[Any, Any]) -> str:
    for owner in gc.get_referrers(namespace):
        if getattr(owner, "__dict__", None) is namespace:
            name = owner.__name__ if isinstance(owner, types.ModuleType) else None
            return f"the module {name}" if name else f"an object of {type(owner).__name__}"
    return "a dict"


__all__ = ["refuse_leaks", "user_line"]
