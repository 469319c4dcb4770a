"""The engine's profiler: sessions, whose results TensorBoard and Perfetto read, and names for spans of time in them."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from pathlib import Path
from typing import Any

from jaxlib import _profile_data, _profiler

from pullback._core.typing import AnyValue
from pullback._xla import engine, platforms

ProfileOptions: Any = _profiler.ProfileOptions
ProfileData: Any = _profile_data.ProfileData
ProfileEvent: Any = _profile_data.ProfileEvent
ProfilePlane: Any = _profile_data.ProfilePlane
register_subprocess: Any = _profiler.register_subprocess

_lock = threading.Lock()
# the session that records, its folder, and whether it is written for Perfetto too
_session: list[tuple[Any, str, bool]] = []
_server: list[Any] = []


def start(folder: str, options: AnyValue = None, perfetto: bool = False) -> None:
    """Begin a session, which writes a file for Perfetto too if asked; RuntimeError if one is running."""
    with _lock:
        if _session:
            raise RuntimeError("start_trace: a trace is being recorded already; stop_trace() ends it.")
        engine.client()
        session = _profiler.ProfilerSession() if options is None else _profiler.ProfilerSession(options)
        _session.append((session, folder, perfetto))


def stop() -> None:
    """End the session and write its results; RuntimeError if none is running."""
    with _lock:
        if not _session:
            raise RuntimeError("stop_trace: no trace is being recorded; start_trace(folder) begins one.")
        session, folder, perfetto = _session.pop()
        session.stop_and_export(folder)
    if perfetto:
        _write_for_perfetto(folder)


def _write_for_perfetto(folder: str) -> None:
    """Write the events of the newest profile in a folder into `perfetto_trace.json.gz` beside it."""
    newest = max(Path(folder).glob("plugins/profile/*/*.trace.json.gz"), key=lambda path: path.stat().st_mtime_ns)
    with gzip.open(newest, "rt", encoding="utf-8") as file:
        trace = json.load(file)
    trace.pop("metadata", None)  # Perfetto expects a table of another kind there
    with gzip.open(newest.with_name("perfetto_trace.json.gz"), "wt", encoding="utf-8") as file:
        json.dump(trace, file)


def operation_times(run: Callable[[], Any]) -> dict[str, float]:
    """The seconds of each operation of the programs that run meanwhile, by XLA's names; RuntimeError in a session."""
    with _lock:
        if _session:
            raise RuntimeError("a trace is being recorded; end it first, with stop_trace()")
        options = ProfileOptions()
        options.python_tracer_level = 0
        session = _profiler.ProfilerSession(options)
        try:
            run()
        finally:
            recorded = session.stop()
    times: dict[str, float] = {}
    for plane in ProfileData.from_serialized_xspace(recorded).planes:
        for line in plane.lines:
            for event in line.events:
                name = dict(event.stats).get("hlo_op")
                if name is not None:
                    times[str(name)] = times.get(str(name), 0.0) + event.duration_ns * 1e-9
    return times


def running() -> bool:
    """Return whether a session is running."""
    return bool(_session)


def memory(platform: str | None) -> bytes:
    """The memory that the engine holds, as a compressed profile; RuntimeError for a platform that there is not."""
    name = platforms.default() if platform is None else platform
    return gzip.compress(platforms.client_of(name, "device_memory_profile").heap_profile())


def start_server(port: int, with_engine: bool) -> Any:
    """Start a server for profiling tools; ValueError if one is running."""
    with _lock:
        if _server:
            raise ValueError("start_server: a server is running already; stop_server() stops it")
        if with_engine:
            engine.client()
        _server.append(_profiler.start_server(port))
        return _server[0]


def stop_server() -> None:
    """Stop the server; ValueError if none is running."""
    with _lock:
        if not _server:
            raise ValueError("stop_server: no server is running")
        _server.clear()


class Annotation(ContextDecorator):
    """A name for a span of time in a profile; nothing while no session is running.

    >>> with Annotation("mine"):
    ...     pass
    """

    def __init__(self, name: str, **metadata: AnyValue):
        self.name = name
        self.metadata = metadata
        self._span: Any = None

    def __enter__(self) -> Annotation:
        if running():
            span = self._span = _profiler.TraceMe(self.name, **self.metadata)
            span.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        span, self._span = self._span, None
        if span is not None:
            span.__exit__(*error)

    def _recreate_cm(self) -> Annotation:
        return type(self)(self.name, **self.metadata)  # a decorated function may be called by several threads
