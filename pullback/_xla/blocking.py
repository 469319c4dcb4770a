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


class _Call:
    """A call, and its result or error once it is done."""

    __slots__ = ("function", "done", "result", "error")

    def __init__(self, function: Callable[[], Any]):
        self.function = function
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None


class _Helper:
    """A thread that makes one call after another. One that never returns from a call is not used again."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[_Call] = SimpleQueue()
        threading.Thread(target=self.work, name="pullback waits", daemon=True).start()

    def work(self) -> None:
        """Make the calls that come."""
        while True:
            call = self.calls.get()
            try:
                call.result = call.function()
            except BaseException as error:
                call.error = error
            idle.append(self)
            call.done.set()
            abandoned.discard(call)
            del call


idle: list[_Helper] = []
# calls that were still running when their caller stopped waiting
abandoned: set[_Call] = set()


def settle(seconds: float) -> None:
    """Wait for abandoned calls: a thread that comes back from the engine while Python ends would abort the process."""
    deadline = time.monotonic() + seconds
    for call in list(abandoned):
        call.done.wait(max(0.0, deadline - time.monotonic()))


def wait_watched(is_ready: Callable[[], bool], check: Callable[[], None]) -> None:
    """Wait until something is ready, by asking more and more seldom; `check` is called meanwhile, and may raise."""
    pause, looked = 2e-5, time.monotonic()
    while not is_ready():
        time.sleep(pause)
        pause = min(1e-3, pause * 1.1)
        now = time.monotonic()
        if now - looked > _PAUSE:
            check()
            looked = now


def call_watched(function: Callable[[], T], check: Callable[[], None]) -> T:
    """The result of a call that may never return; `check` is called again and again meanwhile, and may raise."""
    call = _Call(function)
    try:
        helper = idle.pop()
    except IndexError:
        helper = _Helper()
    helper.calls.put(call)
    try:
        while not call.done.wait(_PAUSE):
            check()
    except BaseException:
        abandoned.add(call)
        raise
    if call.error is not None:
        raise call.error
    return call.result
