"""What tracing, lowering and compiling took, program by program, for whoever watches: reports and the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pullback._core.config import config

log = logging.getLogger("pullback")


@dataclass(slots=True)
class Compilation:
    """One program: the function, the seconds that each stage took (None: it did not happen), and where it came from.

    `origin` is "compiled", or where the program was found: "disk", or "process" if an equal one was loaded. `reason`
    says why the function was traced. `first_run` is the time of the first call of the program until its results can be
    asked for, which are computed meanwhile. Of a function that is `tiered`, `interpreted` is the number of calls that
    the NumPy kernels answered, and `switched` the seconds from the first request until the program was there.
    """

    name: str
    reason: str = ""
    trace: float | None = None
    lower: float | None = None
    compile: float | None = None
    origin: str = ""
    first_run: float | None = None
    interpreted: int = 0
    switched: float | None = None

    @property
    def seconds(self) -> float:
        """The time of all stages together."""
        return sum(t for t in (self.trace, self.lower, self.compile, self.first_run) if t is not None)


_watchers: list[list[Compilation]] = []


def is_watched() -> bool:
    """Whether programs are to be reported."""
    return bool(_watchers) or config.log_compiles or config.explain_cache_misses


def note(compilation: Compilation) -> None:
    """Report a program; its stages are filled in as they end."""
    for watcher in _watchers:
        watcher.append(compilation)
    if config.explain_cache_misses and compilation.reason:
        log.warning("tracing %s: %s", compilation.name, compilation.reason)


def log_stage(compilation: Compilation, stage: str, seconds: float) -> None:
    """Write a stage to the log if the option `log_compiles` says so."""
    if config.log_compiles:
        found = f" (from {compilation.origin})" if stage == "compile" and compilation.origin != "compiled" else ""
        log.warning("%s of %s took %.3f s%s", stage, compilation.name, seconds, found)


def log_switch(compilation: Compilation) -> None:
    """Write to the log, if the option `log_compiles` says so, that a program answers from now on."""
    if config.log_compiles:
        calls, seconds = compilation.interpreted, compilation.switched
        log.warning("%s: compiled after %.3f s and %d calls of the NumPy kernels", compilation.name, seconds, calls)


@contextmanager
def stage(compilation: Compilation | None, name: str) -> Iterator[None]:
    """Measure a stage, `trace` for example, of a program that is reported."""
    if compilation is None:
        yield
        return
    begin = time.perf_counter()
    yield
    seconds = time.perf_counter() - begin
    setattr(compilation, name, seconds)
    log_stage(compilation, name, seconds)


@contextmanager
def watching() -> Iterator[list[Compilation]]:
    """Collect programs while the context lasts."""
    seen: list[Compilation] = []
    _watchers.append(seen)
    try:
        yield seen
    finally:
        _watchers[:] = [watcher for watcher in _watchers if watcher is not seen]
