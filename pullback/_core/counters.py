"""Deterministic counts of the library's work, which tests and benchmarks check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_listeners: list[Counter] = []


def count(event: str) -> None:
    """Count an event: `traces`, `lowerings`, `compiles`, `rules`."""
    for listener in _listeners:
        listener[event] += 1


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
    try:
        yield listener
    finally:
        _listeners.remove(listener)
