"""Profiles of programs by the engine's profiler, under JAX's names; TensorBoard and Perfetto show them."""

from __future__ import annotations

import functools
import os
import typing as _typing
from collections.abc import Iterator
from contextlib import contextmanager

from pullback._core.arguments import check_callable
from pullback._core.errors import function_name
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import AnyValue, F
from pullback._xla import profiling
from pullback._xla.profiling import Annotation as TraceAnnotation
from pullback._xla.profiling import ProfileData as ProfileData
from pullback._xla.profiling import ProfileEvent as ProfileEvent
from pullback._xla.profiling import ProfileOptions as ProfileOptions
from pullback._xla.profiling import ProfilePlane as ProfilePlane

__all__ = [
    "StepTraceAnnotation",
    "TraceAnnotation",
    "annotate_function",
    "device_memory_profile",
    "register_subprocess",
    "save_device_memory_profile",
    "start_server",
    "start_trace",
    "stop_server",
    "stop_trace",
    "trace",
]


class StepTraceAnnotation(TraceAnnotation):
    """The name of a step of training in a profile: `with StepTraceAnnotation("train", step_num=i):`.

    >>> with StepTraceAnnotation("train", step_num=0):
    ...     pass
    """

    def __init__(self, name: str, **kwargs: AnyValue):
        super().__init__(name, **{"_r": 1, **kwargs})


def start_trace(
    log_dir: os.PathLike[str] | str,
    create_perfetto_link: bool = False,
    create_perfetto_trace: bool = False,
    profiler_options: AnyValue = None,
) -> None:
    """Begin to record a profile, which `stop_trace` writes into a folder.

    Args:
      log_dir: the folder.
      create_perfetto_link: not written yet.
      create_perfetto_trace: whether `perfetto_trace.json.gz` is written beside the files for TensorBoard, which the
        page ui.perfetto.dev opens.
      profiler_options: a `ProfileOptions`, or None.

    Raises: RuntimeError if a profile is being recorded, NotImplementedError for a link.

    >>> import tempfile
    >>> start_trace(tempfile.mkdtemp())
    >>> stop_trace()
    """
    if create_perfetto_link:
        raise NotImplementedError(
            "start_trace: create_perfetto_link is planned, not written yet. Use create_perfetto_trace=True, and open "
            "the file perfetto_trace.json.gz on the page ui.perfetto.dev."
        )
    profiling.start(os.fspath(log_dir), profiler_options, create_perfetto_trace)


def stop_trace() -> None:
    """End the profile and write it. RuntimeError if none is being recorded.

    >>> try:
    ...     stop_trace()
    ... except RuntimeError as error:
    ...     print(error)
    stop_trace: no trace is being recorded; start_trace(folder) begins one.
    """
    profiling.stop()


@contextmanager
def trace(
    log_dir: os.PathLike[str] | str,
    create_perfetto_link: bool = False,
    create_perfetto_trace: bool = False,
    profiler_options: AnyValue = None,
) -> Iterator[None]:
    """Context manager: `start_trace`, and `stop_trace` at its end. Raises what they raise.

    >>> import tempfile
    >>> with trace(tempfile.mkdtemp()):
    ...     pass
    """
    start_trace(log_dir, create_perfetto_link, create_perfetto_trace, profiler_options)
    try:
        yield
    finally:
        stop_trace()


def annotate_function(func: F, name: str | None = None, **decorator_kwargs: AnyValue) -> F:
    """The function, with a name in profiles. TypeError if it is not callable.

    >>> annotate_function(abs, "absolute")(-1)
    1
    """
    check_callable("annotate_function", func)
    annotation = TraceAnnotation(name or function_name(func), **decorator_kwargs)
    return _typing.cast(F, functools.wraps(func)(annotation(func)))


def device_memory_profile(backend: str | None = None) -> bytes:
    """The memory that the engine holds, as a compressed profile for the program `pprof`.

    It tells the lines that made arrays if the option `array_tracebacks` is on from the start: calls are slower then.
    ValueError for a platform that there is not.

    >>> device_memory_profile()[:2] == b"\\x1f\\x8b"
    True
    """
    return profiling.memory(backend)


def save_device_memory_profile(filename: os.PathLike[str] | str, backend: str | None = None) -> None:
    """Write `device_memory_profile` into a file; its errors, and OSError.

    >>> import tempfile
    >>> save_device_memory_profile(os.path.join(tempfile.mkdtemp(), "memory.prof"))
    """
    content = device_memory_profile(backend)
    with open(filename, "wb") as file:
        file.write(content)


def start_server(port: int, requires_backend: bool = True) -> _typing.Any:
    """Start a server that profiling tools connect to, such as TensorBoard.

    Args:
      port: where it listens.
      requires_backend: whether the engine is started before.

    Returns: the server, which lives until `stop_server`.
    Raises: ValueError if one is running.

    >>> import socket
    >>> with socket.socket() as free:
    ...     free.bind(("localhost", 0))
    ...     port = free.getsockname()[1]
    >>> _ = start_server(port)
    >>> stop_server()
    """
    return profiling.start_server(port, requires_backend)


def stop_server() -> None:
    """Stop the server. ValueError if none is running.

    >>> try:
    ...     stop_server()
    ... except ValueError as error:
    ...     print(error)
    stop_server: no server is running
    """
    profiling.stop_server()


def register_subprocess(pid: int, port: int) -> _typing.Callable[[], None]:
    """Profile another process too, whose server listens at a port, and return a function that ends it.

    Raises: RuntimeError from the engine if it cannot.

    >>> callable(register_subprocess)
    True
    """
    return profiling.register_subprocess(pid, port)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
