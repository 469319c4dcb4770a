"""Waiting for other processes, in such a way that one can stop waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
# seconds between two looks at the state of the other processes; the end of a call is noticed at once
_PAUSE = 0.05


class Latch:
    """An event that comes once. A lock that is held until then: who waits is woken by one system call."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let it come."""
        self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Wait for it, for so long at most; whether it has come."""
        came = self._lock.acquire(timeout=seconds)
        if came:
            self._lock.release()  # to others that wait
        return came

    def wait_watched(self, check: Callable[[], None]) -> None:
        """Wait for it; `check` is called again and again meanwhile, and may raise."""
        while not self.wait(_PAUSE):
            check()


class _Call:
    """A call, and its result or error once it is done; `rest`, if it is a function, is called after that."""

    __slots__ = ("function", "done", "result", "error", "rest", "ended")

    def __init__(self, function: Callable[[], tuple[Any, Callable[[], Any] | None]]):
        self.function: Any = function
        self.done = Latch()
        self.ended = Latch()
        self.result: Any = None
        self.error: BaseException | None = None

    def make(self) -> None:
        """Make the call, and drop what it holds: buffers, whose memory the next program is to have."""
        rest = None
        try:
            self.result, rest = self.function()
        except BaseException as error:
            self.error = error
        self.function = None
        self.done.set()
        if rest is not None:
            try:
                rest()
            except RuntimeError:
                pass  # who reads the results is told


class _Helper:
    """A thread that makes one call after another. One that never returns from a call is not used again."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[_Call] = SimpleQueue()
        threading.Thread(target=self.work, name="pullback waits", daemon=True).start()

    def work(self) -> None:
        """Make the calls that come."""
        while True:
            call = self.calls.get()
            call.make()
            idle.append(self)
            call.ended.set()
            running.discard(call)
            del call


idle: list[_Helper] = []
running: set[_Call] = set()


def settle(seconds: float) -> None:
    """Wait for calls that run: a thread that comes back from the engine while Python ends would abort the process."""
    deadline = time.monotonic() + seconds
    for call in list(running):
        call.ended.wait(max(0.0, deadline - time.monotonic()))


def call_watched(function: Callable[[], T], check: Callable[[], None]) -> T:
    """The result of a call that may never return; `check` is called again and again meanwhile, and may raise."""
    return begin_watched(lambda: (function(), None), check)[0]


def begin_watched(
    function: Callable[[], tuple[T, Callable[[], Any] | None]], check: Callable[[], None]
) -> tuple[T, Latch]:
    """The first result of a call that may never return, as soon as it is there; and the end of its second.

    The second result is a function, which is called after that in the same thread, or None.
    """
    call = _Call(function)
    try:
        helper = idle.pop()
    except IndexError:
        helper = _Helper()
    running.add(call)
    helper.calls.put(call)
    call.done.wait_watched(check)
    if call.error is not None:
        raise call.error
    return call.result, call.ended
