"""Processes that share a computation: there is one, so that programs which ask which they are get an answer."""
from __future__ import annotations

from pullback._api.devices import device_count


def _check(function: str, backend: str | None) -> None:
    if backend not in (None, "cpu"):
        raise RuntimeError(f"{function}: the only backend is 'cpu', got {backend!r}")


def process_index(backend: str | None = None) -> int:
    """The number of this process among all: 0. RuntimeError for a backend other than "cpu".

    >>> import pullback as pb
    >>> pb.process_index()
    0
    """
    _check("process_index", backend)
    return 0


def process_count(backend: str | None = None) -> int:
    """The number of processes: 1. RuntimeError for a backend other than "cpu".

    >>> import pullback as pb
    >>> pb.process_count()
    1
    """
    _check("process_count", backend)
    return 1


def local_device_count(backend: str | None = None) -> int:
    """The number of devices of this process. RuntimeError for a backend other than "cpu".

    >>> import pullback as pb
    >>> pb.local_device_count() == len(pb.local_devices())
    True
    """
    _check("local_device_count", backend)
    return device_count()
