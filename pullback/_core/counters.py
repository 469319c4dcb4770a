"""Deterministic counts of the library's work, which tests and benchmarks check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pullback._core.config import config

_listeners: list[Counter] = []
# called when counting begins: what answers too fast to be counted gives way
on_start: list[Callable[[], None]] = []


def count(event: str) -> None:
    """Count an event: `traces`, `compiles`, `interpreted_calls`, ... RuntimeError for traces under `no_tracing`."""
    if event == "traces" and config.no_tracing:
        raise RuntimeError("a function is traced, but the option no_tracing is set")
    for listener in _listeners:
        listener[event] += 1


def is_counting() -> bool:
    """Whether somebody counts."""
    return bool(_listeners)


@contextmanager
def counting() -> Iterator[Counter]:
    """Count events while the context lasts.

    >>> import pullback as pb
    >>> from pullback.debug import counters
    >>> with counters() as seen:
    ...     _ = pb.jit(lambda x: x + 1.0625)(2.)
    >>> seen["compiles"]
    1
    """
    listener: Counter = Counter()
    _listeners.append(listener)
    for act in on_start:
        act()
    try:
        yield listener
    finally:
        _listeners.remove(listener)
