"""What makes public functions of bare operations: their boundary, their name in messages, what else they take."""

from __future__ import annotations

import functools
import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

from pullback._core.errors import fold, is_internal

# where the functions of `lax` are without boundary and name
_BARE = ("pullback._ops.", "pullback._higher_order.reductions", "pullback._higher_order.control.scatter_apply")


def publish(
    namespace: dict[str, Any],
    otherwise: Mapping[str, Callable[..., Any]] | None = None,
    placed: Iterable[str] = (),
    lay_out: Callable[..., Any] | None = None,
) -> None:
    """Wrap the operations in a public module's namespace with `boundary` and with their name in messages.

    The package itself calls the bare operations, at no cost. The module becomes the `__module__` of the wrapped ones:
    they pickle by name and their examples are run. `otherwise` has by name what is asked for a result when a function
    has raised an error: `(fun, error, args, kwargs)` give it, or NotImplemented. Those `placed` take `out_sharding`,
    which `lay_out(name, result, out_sharding)` obeys.
    """
    for key, value in [*namespace.items()]:
        if isinstance(value, FunctionType) and value.__module__.startswith(_BARE):
            entry = _published(value, (otherwise or {}).get(key), lay_out if key in placed else None)
            entry.__module__ = value.__module__ = namespace["__name__"]
            namespace[key] = entry


def _published(fun: Callable, otherwise: Callable[..., Any] | None, lay_out: Callable[..., Any] | None) -> Callable:
    def plain(*args, **kwargs):
        try:
            return fun(*args, **kwargs)
        except Exception as error:
            if (result := _after(error, fun, otherwise, args, kwargs)) is NotImplemented:
                raise
            return result

    def placing(*args, out_sharding=None, **kwargs):
        try:
            result = fun(*args, **kwargs)
        except Exception as error:
            if (result := _after(error, fun, otherwise, args, kwargs)) is NotImplemented:
                raise
        return result if out_sharding is None else lay_out(fun.__name__, result, out_sharding)  # type: ignore[misc]

    if lay_out is None:
        return functools.wraps(fun)(plain)
    own = inspect.signature(fun)
    more = inspect.Parameter("out_sharding", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Placement")
    placing.__signature__ = own.replace(parameters=[*own.parameters.values(), more])  # type: ignore[attr-defined]
    return functools.wraps(fun)(placing)


def _after(error: Exception, fun: Callable, otherwise: Callable[..., Any] | None, args: Any, kwargs: Any) -> Any:
    """The result all the same; NotImplemented if there is none, with the error prepared for who called."""
    if otherwise is not None and (result := otherwise(fun, error, args, kwargs)) is not NotImplemented:
        return result
    _begin_with_name(error, fun.__name__)
    fold(error)
    return NotImplemented


_begins_with_name = re.compile(r"\w[\w. ]*: ").match


def _begin_with_name(error: Exception, name: str) -> None:
    """Prefix a message of our own with the name of a function, if the message does not name one."""
    own = all(is_internal(frame.f_code) for frame, _ in traceback.walk_tb(error.__traceback__))
    text = error.args[0] if len(error.args) == 1 else None
    if own and type(error) in _REFUSALS and isinstance(text, str) and not _begins_with_name(text):
        error.args = (f"{name}: {text}",)


_REFUSALS = {TypeError, ValueError, OverflowError, IndexError}
