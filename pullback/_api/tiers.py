"""Tiers of a compiled function: the NumPy kernels answer calls while XLA compiles, and then the program does.

The first call with arguments of new types requests the program, in the background (`_xla/background.py`), and is
answered by the first tier (`_higher_order/first_tier.py`), if that is expected to be sooner than the compiler. Once the
program is there it is the program of the traced function, as if it had been compiled in a call.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from pullback._core import compilations, counters
from pullback._core.compilations import Compilation
from pullback._core.config import config
from pullback._core.errors import described, function_name
from pullback._core.jaxpr import Jaxpr
from pullback._core.typing import AnyValue
from pullback._higher_order.first_tier import Interpreted, answers_sooner, head_start
from pullback._xla import engine
from pullback._xla.background import Job, background
from pullback._xla.executable import Executable, ProgramOfValues


class TracedFunction(Protocol):
    """What is compiled: `program` is in its `__dict__` as soon as it is compiled, and `compile` makes it."""

    jaxpr: Jaxpr
    donated: frozenset[int]
    name: str
    report: Compilation | None
    tiers: Tiers | None

    @property
    def num_written(self) -> int:
        """The number of results that are written to references."""

    def compile(self) -> Executable | ProgramOfValues:
        """The program."""


class Tiers:
    """The tiers of one traced function. `wanted` is the argument of `jit`; None stands for the option `jit_tiered`."""

    def __init__(self, wanted: bool | None):
        self._wanted = wanted
        self._job: Job | None = None
        self._first: Interpreted | None = None

    def current(self, traced: TracedFunction) -> Executable | ProgramOfValues | Interpreted:
        """What answers a call now: the program, or else the first tier."""
        program = vars(traced).get("program")
        if program is None:
            engine.check_process()
            job = self._requested(traced)
            if self._first is not None and not job.done and self._may_answer():
                return self._first
            background.finish(job)
            program = self._result(traced, job)
        counters.count("compiled_calls")
        return program

    def wait(self, traced: TracedFunction, timeout: float | None) -> bool:
        """Wait for the program if it has been requested; False if it is not there in time."""
        if self._job is None or "program" in vars(traced):
            return True
        engine.check_process()
        job = self._requested(traced)
        background.bring_forward(job)
        if background.closed:
            background.finish(job)
        if not job.wait(timeout):
            return False
        self._result(traced, job)
        return True

    def _may_answer(self) -> bool:
        wanted = config.jit_tiered if self._wanted is None else self._wanted
        return wanted and not background.closed

    def _requested(self, traced: TracedFunction) -> Job:
        """The job that compiles the program: a new one at the first call, and in a process that was forked since."""
        with background.requesting:
            if self._job is None or self._job.lost:
                jaxpr = traced.jaxpr
                self._job = Job(f"compiling {traced.name}", _compiling(traced), head_start(jaxpr))
                sooner = self._may_answer() and answers_sooner(jaxpr)
                if sooner:
                    owned, report = traced.num_written, traced.report
                    self._first = Interpreted(jaxpr, traced.donated, self._job, owned, report)
                background.submit(self._job)
            return self._job

    def _result(self, traced: TracedFunction, job: Job) -> Executable | ProgramOfValues:
        if job.error is None:
            return job.result
        traced.tiers = None  # later calls compile, and fail, as those of other functions do
        raise named(job.error, traced.name)


def named(error: BaseException, name: str) -> BaseException:
    """The compiler's error, with the name of the function, whose call it may not come from."""
    if error.args and isinstance(error.args[0], str) and name not in error.args[0]:
        error.args = (f"jit of {name}, while it was compiled: {error.args[0]}", *error.args[1:])
    return error


def _compiling(traced: TracedFunction) -> Callable[[], Any]:
    """A function that compiles the program, unless the function has been freed by then."""
    reference, begin = weakref.ref(traced), time.perf_counter()

    def compile_now() -> Any:
        traced = reference()
        if traced is None:
            return None
        report = traced.report
        program = traced.compile()
        if report is not None:
            report.switched = time.perf_counter() - begin
            compilations.log_switch(report)
        vars(traced)["program"] = program
        return program

    return compile_now


def check_tiered(tiered: bool | None) -> None:
    """Refuse values other than True, False and None."""
    if tiered is not None and type(tiered) is not bool:
        raise TypeError(f"jit: tiered must be True, False or None (the option jit_tiered), got {described(tiered)}")


def wait_for(fun: Callable, traces: Iterable[Any], timeout: float | None) -> None:
    """Wait until the programs of these traces that have been requested are there."""
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout >= 0):
        raise ValueError(f"wait: timeout must be a number of seconds, 0 or more, or None; got {described(timeout)}")
    end = None if timeout is None else time.monotonic() + timeout
    tiered = [traced for traced in traces if getattr(traced, "tiers", None) is not None]
    for i, traced in enumerate(tiered):
        tiers = traced.tiers
        if tiers is not None and not tiers.wait(traced, None if end is None else max(0.0, end - time.monotonic())):
            raise TimeoutError(
                f"wait: {function_name(fun)} is still being compiled after {timeout} s, "
                f"{len(tiered) - i} of its programs; calls go on being answered by the NumPy kernels meanwhile"
            )


# fast paths of tiered functions: they are cleared when somebody begins to count, since what they answer is not counted
_fast_paths: weakref.WeakSet[Any] = weakref.WeakSet()


def watch(fast_path: AnyValue) -> None:
    """Have the calls of a tiered function counted, whose fast path this is, while somebody counts."""
    _fast_paths.add(fast_path)


def _forget_fast_paths() -> None:
    for fast_path in list(_fast_paths):
        fast_path.clear()


counters.on_start.append(_forget_fast_paths)
