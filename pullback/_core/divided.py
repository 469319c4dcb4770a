"""Elementwise kernels of large arrays, in parts: several threads take them in turns, until none is left.

NumPy's loops give up the interpreter's lock, so that two of them run on two processors, and what a kernel makes on the
way to its result stays in the cache. Nobody waits for a thread that has not woken up when the parts are gone, as it may
be where other programs need the processors. The bits of the results are those of the whole: a part ends where a vector
of a loop does.

Measured on 2 processors that ten other processes wanted as well, so that the gain is the least there is: the derivative
of tanh, a kernel of eight steps, has 1.1, 1.7 and 2 times the speed in parts for 500,000, 1,000,000 and 4,000,000
elements of float32; tanh, one loop, 0.6, 1.2 and 1.4 times, a product 0.7, 0.8 and 1.2 times.

A thread is started when the first array is large enough, and none in a process that has one processor.
"""

from __future__ import annotations

import math
import operator
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import allocator, numpy_state

# the elements of a part: of a kernel of several steps, and of a single loop, in which a part is to last longer than it
# takes to wake a thread
PART, PART_OF_LOOP = 65_536, 262_144
# the elements from which on kernels of several steps and single loops run in parts
LARGE, LARGE_FOR_LOOP = 8 * PART, 15 * PART
# Python's operators, which kernels are since they are faster on numbers
_UFUNCS: dict[Any, np.ufunc] = {
    operator.add: np.add,
    operator.sub: np.subtract,
    operator.mul: np.multiply,
    operator.neg: np.negative,
}
# this module is loaded when there is a large array: new pages for each result would cost more than the arithmetic
allocator.keep_freed_memory()
# beyond this number of threads the memory is what they wait for
_MOST_THREADS = 4


class _Helper:
    """A thread that runs one job at a time."""

    def __init__(self) -> None:
        # both locks are held where there is nothing to do
        self.wake, self.done = threading.Lock(), threading.Lock()
        self.wake.acquire()
        self.done.acquire()
        self.job: Callable[[], None] | None = None
        self.error: BaseException | None = None
        threading.Thread(target=self.work, name="pullback kernels", daemon=True).start()

    def work(self) -> None:
        numpy_state.enter()
        while True:
            self.wake.acquire()
            job, self.error = self.job, None
            try:
                if job is not None:
                    job()
            except BaseException as error:  # raised by the thread that waits
                self.error = error
            job = None  # nothing may keep the arrays of a finished job
            self.done.release()

    def start(self, job: Callable[[], None]) -> None:
        self.job = job
        self.wake.release()

    def finish(self) -> BaseException | None:
        """Wait until the job is done, or take it back if it has not begun; returns the error that it raised."""
        begun = not self.wake.acquire(blocking=False)
        if begun:
            self.done.acquire()
        self.job = None
        error, self.error = (self.error if begun else None), None
        return error


class _Crew:
    """The helpers of a process, which one caller at a time has."""

    def __init__(self) -> None:
        self.taken = threading.Lock()
        self.helpers: list[_Helper] | None = None

    def gather(self) -> list[_Helper]:
        if self.helpers is None:
            self.helpers = [_Helper() for _ in range(min(processors(), _MOST_THREADS) - 1)]
        return self.helpers

    def run(self, job: Callable[[], None]) -> None:
        """Run a job in this thread and in those of the helpers; it ends when its parts are gone."""
        helpers = self.gather()
        for helper in helpers:
            helper.start(job)
        errors: list[BaseException | None] = []
        try:
            job()
        finally:
            try:
                errors = [helper.finish() for helper in helpers]
            except BaseException:
                self.helpers = None  # interrupted while it waited: these may still be at work
                raise
        for error in errors:
            if error is not None:
                raise error


_crew = _Crew()


def _forget() -> None:
    global _crew
    _crew = _Crew()  # threads do not survive a fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def processors() -> int:
    """The number of processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def divided(kernel: Callable, values: Sequence[Any], params: dict[str, Any], shape: tuple[int, ...], dtype: Any) -> Any:
    """The result of an elementwise kernel, of a known type, by parts; as a whole where that is not possible."""
    size = math.prod(shape)
    if size < LARGE:
        return kernel(*values, **params)
    kernel = _UFUNCS.get(kernel, kernel)
    loop = isinstance(kernel, np.ufunc)
    if loop and size < LARGE_FOR_LOOP:
        return kernel(*values, **params)
    flat: list[Any] = [_flat(x, shape) for x in values]
    if any(x is None for x in flat) or _crew.helpers == []:
        return kernel(*values, **params)
    # NumPy chooses a loop by the operands, so that the result may be of another dtype where theirs differs
    into = loop and not params and all(x.dtype == dtype for x in values)
    out = np.empty(shape, dtype)
    length = PART_OF_LOOP if loop else PART
    target, starts = out.reshape(-1), iter(range(0, size, length))

    def job() -> None:
        for start in starts:  # the interpreter's lock makes each part one thread's
            part = slice(start, start + length)
            operands = [x[part] if x.ndim else x for x in flat]
            if into:
                kernel(*operands, out=target[part])
            else:
                target[part] = kernel(*operands, **params)

    share(job)
    return out


def share(job: Callable[[], None], several: bool = True) -> None:
    """Run a job here and, if it is for `several` threads, in those of the helpers, unless another thread has them."""
    crew = _crew
    if not several or crew.helpers == [] or not crew.taken.acquire(blocking=False):
        return job()
    try:
        crew.run(job)
    finally:
        crew.taken.release()


def _flat(x: Any, shape: tuple[int, ...]) -> np.ndarray | np.generic | None:
    """The elements of an operand in a row, or one number; None if they are not in the order of the result's."""
    if x.ndim == 0:
        return x
    return x.reshape(-1) if x.shape == shape and x.flags.c_contiguous else None
