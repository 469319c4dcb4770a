"""Work in the background: a few threads, and a stack of jobs from which they take the newest.

Threads are started when there is work, and end when there is none. They are daemons, so that no job that waits keeps
the interpreter from ending; one that runs is waited for, since the engine aborts a process that ends while it compiles.
A forked child has none of the threads: the jobs of its parent are `lost` to it.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from typing import Any

from pullback._core.compilations import log
from pullback._core.config import config, seen_as


class Job:
    """A function to be called once, and then its `result` or its `error`.

    It is called with the options that the thread which makes the job sees. A thread that takes it waits for
    `head_start` seconds first, or until somebody hurries: what is computed meanwhile should not share the processor.
    """

    __slots__ = ("what", "result", "error", "lost", "_function", "_head_start", "_options", "_hurried", "_ended")

    def __init__(self, what: str, function: Callable[[], Any], head_start: float = 0.0):
        self.what: str = what
        self.result: Any = None
        self.error: BaseException | None = None
        self.lost: bool = False
        self._function: Callable[[], Any] | None = function
        self._head_start = head_start
        self._options = dict(config.__dict__)
        self._hurried = threading.Event()
        self._ended = threading.Event()

    @property
    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._ended.is_set()

    def hurry(self) -> None:
        """End the head start."""
        self._hurried.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is a result or an error; False if there is none in time."""
        self.hurry()
        return self._ended.wait(timeout)

    def run(self) -> None:
        """Call the function, in this thread."""
        function, self._function = self._function, None
        assert function is not None
        try:
            with seen_as(self._options):
                self.result = function()
        except BaseException as error:
            self.error = error
        self._ended.set()

    def run_behind(self) -> None:
        """Call the function in a thread of the background, where nobody sees its error."""
        self._hurried.wait(self._head_start)
        self.run()
        if self.error is not None:
            log.error("%s failed in the background: %s", self.what, self.error)


class Background:
    """The threads and their jobs."""

    def __init__(self, threads: int):
        self._most = threads
        self._closed = False
        self._clear()

    def _clear(self) -> None:
        self.requesting = threading.Lock()  # for whoever makes a job, so that there is one
        self._lock = threading.Lock()
        self._waiting: list[Job] = []
        self._running: dict[threading.Thread, Job] = {}

    @property
    def closed(self) -> bool:
        """Whether the interpreter is about to end: jobs that wait will not begin."""
        return self._closed

    def submit(self, job: Job) -> None:
        """Have a job done, before all that wait."""
        with self._lock:
            self._waiting.append(job)
            if len(self._running) >= self._most or self._closed:
                return
            thread = threading.Thread(target=self._work, name="pullback-compiler", daemon=True)
            self._running[thread] = job  # any of them, until the thread has taken one
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            with self._lock:
                del self._running[thread]
            self.finish(job)

    def bring_forward(self, job: Job) -> None:
        """Have a job that waits done next."""
        with self._lock:
            if job in self._waiting:
                self._waiting.remove(job)
                self._waiting.append(job)

    def finish(self, job: Job) -> None:
        """Return when a job is done: it is done in this thread, unless another has begun."""
        with self._lock:
            waits = job in self._waiting
            if waits:
                self._waiting.remove(job)
        if waits:
            job.run()
        else:
            job.wait()

    def _work(self) -> None:
        thread = threading.current_thread()
        while True:
            with self._lock:
                if not self._waiting or self._closed:
                    del self._running[thread]
                    return
                job = self._running[thread] = self._waiting.pop()
            job.run_behind()

    def close(self) -> None:
        """Let no job begin any more, and wait for those that run."""
        with self._lock:
            self._closed = True
            running = dict(self._running)
        for job in running.values():
            job.hurry()
        for thread in running:
            thread.join()

    def after_fork(self) -> None:
        """Forget the parent's threads and jobs, in a child."""
        for job in (*self._waiting, *self._running.values()):
            job.lost = True
        self._clear()


background = Background(1 if (os.cpu_count() or 1) <= 2 else 2)
atexit.register(background.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=background.after_fork)
