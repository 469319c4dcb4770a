"""Events that programs record and listen to, under JAX's names. The package records none: see `debug.counters`."""

from __future__ import annotations

import typing as _typing
from collections.abc import Callable
from typing import Any

from pullback._core.arguments import check_callable
from pullback._core.lazy import attributes as _attributes

__all__ = [
    "clear_event_listeners",
    "record_event",
    "record_event_duration_secs",
    "record_event_time_span",
    "record_scalar",
    "register_event_duration_secs_listener",
    "register_event_listener",
    "register_event_time_span_listener",
    "register_scalar_listener",
    "unregister_event_duration_listener",
    "unregister_event_listener",
    "unregister_event_time_span_listener",
    "unregister_scalar_listener",
]

_listeners: dict[str, list[Callable[..., Any]]] = {"event": [], "duration": [], "time span": [], "scalar": []}


def _register(kind: str, callback: Callable[..., Any]) -> None:
    check_callable("a listener to events", callback)
    _listeners[kind].append(callback)


def _unregister(kind: str, callback: Callable[..., Any]) -> None:
    if callback not in _listeners[kind]:
        raise ValueError(f"the function is no listener: {callback!r}. Register it first.")
    _listeners[kind].remove(callback)


def _record(kind: str, *what: Any, **labels: str | int) -> None:
    for callback in tuple(_listeners[kind]):
        callback(*what, **labels)


def register_event_listener(callback: Callable[..., Any]) -> None:
    """Have `callback(event, **labels)` called for each event. TypeError if it is not callable.

    >>> register_event_listener(print)
    >>> record_event("/mine/started")
    /mine/started
    >>> unregister_event_listener(print)
    """
    _register("event", callback)


def register_event_duration_secs_listener(callback: Callable[..., Any]) -> None:
    """Have `callback(event, seconds, **labels)` called for each duration. TypeError if it is not callable.

    >>> register_event_duration_secs_listener(print)
    >>> record_event_duration_secs("/mine/step", 0.5)
    /mine/step 0.5
    >>> unregister_event_duration_listener(print)
    """
    _register("duration", callback)


def register_event_time_span_listener(callback: Callable[..., Any]) -> None:
    """Have `callback(event, start, end, **labels)` called for each span. TypeError if it is not callable.

    >>> register_event_time_span_listener(print)
    >>> record_event_time_span("/mine/step", 0.5, 1.5)
    /mine/step 0.5 1.5
    >>> unregister_event_time_span_listener(print)
    """
    _register("time span", callback)


def register_scalar_listener(callback: Callable[..., Any]) -> None:
    """Have `callback(event, value, **labels)` called for each number. TypeError if it is not callable.

    >>> register_scalar_listener(print)
    >>> record_scalar("/mine/loss", 3)
    /mine/loss 3
    >>> unregister_scalar_listener(print)
    """
    _register("scalar", callback)


def unregister_event_listener(callback: Callable[..., Any]) -> None:
    """Undo `register_event_listener`. ValueError if it was not called.

    >>> register_event_listener(print)
    >>> unregister_event_listener(print)
    """
    _unregister("event", callback)


def unregister_event_duration_listener(callback: Callable[..., Any]) -> None:
    """Undo `register_event_duration_secs_listener`. ValueError if it was not called.

    >>> register_event_duration_secs_listener(print)
    >>> unregister_event_duration_listener(print)
    """
    _unregister("duration", callback)


def unregister_event_time_span_listener(callback: Callable[..., Any]) -> None:
    """Undo `register_event_time_span_listener`. ValueError if it was not called.

    >>> register_event_time_span_listener(print)
    >>> unregister_event_time_span_listener(print)
    """
    _unregister("time span", callback)


def unregister_scalar_listener(callback: Callable[..., Any]) -> None:
    """Undo `register_scalar_listener`. ValueError if it was not called.

    >>> register_scalar_listener(print)
    >>> unregister_scalar_listener(print)
    """
    _unregister("scalar", callback)


def clear_event_listeners() -> None:
    """Forget all listeners. Raises nothing.

    >>> clear_event_listeners()
    """
    for callbacks in _listeners.values():
        callbacks.clear()


def record_event(event: str, **kwargs: str | int) -> None:
    """Tell the listeners of an event. What they raise is passed on.

    >>> record_event("/mine/started", host="a")
    """
    _record("event", event, **kwargs)


def record_event_duration_secs(event: str, duration: float, **kwargs: str | int) -> None:
    """Tell the listeners of a duration in seconds. What they raise is passed on.

    >>> record_event_duration_secs("/mine/step", 0.5)
    """
    _record("duration", event, duration, **kwargs)


def record_event_time_span(event: str, start_time: float, end_time: float, **kwargs: str | int) -> None:
    """Tell the listeners of a span of time. What they raise is passed on.

    >>> record_event_time_span("/mine/step", 0.5, 1.5)
    """
    _record("time span", event, start_time, end_time, **kwargs)


def record_scalar(event: str, value: float, **kwargs: str | int) -> None:
    """Tell the listeners of a number. What they raise is passed on.

    >>> record_scalar("/mine/loss", 3.0)
    """
    _record("scalar", event, value, **kwargs)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
