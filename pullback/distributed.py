"""Several processes, on one machine or many, as one: each runs the same program and holds a part of every array."""

from __future__ import annotations

import os
import platform
import typing as _typing
from collections.abc import Sequence
from importlib import metadata
from typing import TypeVar

from pullback._core.errors import ProcessFailureError, boundary, described
from pullback._core.lazy import attributes as _attributes
from pullback._core.version import __version__
from pullback._xla import distributed, engine, joining

__all__ = ["ProcessFailureError", "initialize", "is_initialized", "shutdown"]


T = TypeVar("T")


@boundary
def initialize(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    local_device_ids: int | Sequence[int] | None = None,
    cluster_detection_method: str | None = None,
    initialization_timeout: float = 300,
    heartbeat_timeout_seconds: float = 100,
    shutdown_timeout_seconds: float = 300,
    coordinator_bind_address: str | None = None,
    slice_index: int | None = None,
    partition_index: int | None = None,
) -> None:
    """Join the other processes. To be called in each of them before anything is compiled or moved to a device.

    Process 0 starts a coordinator, a small program of its own that outlives it, by which the processes find each other
    and hear who died or hangs: then what waits for that process raises `ProcessFailureError`, which names it.

    Args:
      coordinator_address: where the coordinator listens, "host:port", an address of the machine of process 0; by
        default the environment variable JAX_COORDINATOR_ADDRESS. The other processes wait for it to be there.
      num_processes: how many processes there are.
      process_id: which of them this is, from 0.
      local_device_ids: which accelerators of this machine belong to this process; without effect on the CPU. By default
        the environment variable JAX_LOCAL_DEVICE_IDS, or all.
      cluster_detection_method: None or "deactivate"; nothing is detected.
      initialization_timeout: how many seconds to wait until all processes have joined.
      heartbeat_timeout_seconds: after how many seconds without a sign of life a process is given up. One that dies is
        noticed at once.
      shutdown_timeout_seconds: how long a process that ends waits for the others to end.
      coordinator_bind_address: what the coordinator listens at, by default the environment variable
        JAX_COORDINATOR_BIND_ADDRESS, or all addresses of the machine.
      slice_index, partition_index: None; slices of accelerators are not known here.

    Raises:
      RuntimeError: called twice, or after the engine was started; the port is in use; a process was refused, since its
        num_processes, its process_id or its versions do not fit.
      TimeoutError: the coordinator cannot be reached, or a process did not join, within the time limit.
      TypeError, ValueError: arguments that are missing or of the wrong kind.
      NotImplementedError: for the detection of clusters, and for slices.

    >>> try:
    ...     initialize("10.0.0.1:1234", num_processes=2, process_id=2)
    ... except ValueError as error:
    ...     print(error)
    distributed.initialize: process_id: expected one of 0 to 1, since num_processes is 2, got 2
    """
    if cluster_detection_method not in (None, "deactivate"):
        raise NotImplementedError(
            f"distributed.initialize: cluster_detection_method={cluster_detection_method!r}: clusters are not "
            "detected. Pass coordinator_address, num_processes and process_id, from the variables that the cluster "
            "sets (SLURM_NTASKS and SLURM_PROCID, OMPI_COMM_WORLD_SIZE and OMPI_COMM_WORLD_RANK, ...)"
        )
    if slice_index is not None or partition_index is not None:
        raise NotImplementedError("distributed.initialize: slice_index and partition_index: there are no slices")
    address = coordinator_address or os.environ.get("JAX_COORDINATOR_ADDRESS")
    _require_all(coordinator_address=address, num_processes=num_processes, process_id=process_id)
    address = _checked("coordinator_address", address, str, "'host:port'")
    num_processes = _checked("num_processes", num_processes, int, "an int")
    process_id = _checked("process_id", process_id, int, "an int")
    if num_processes < 1:
        raise ValueError(f"distributed.initialize: num_processes: expected 1 or more, got {num_processes}")
    if not 0 <= process_id < num_processes:
        raise ValueError(
            f"distributed.initialize: process_id: expected one of 0 to {num_processes - 1}, since num_processes is "
            f"{num_processes}, got {process_id}"
        )
    _check_devices(local_device_ids)
    for argument, seconds in (
        ("initialization_timeout", initialization_timeout),
        ("heartbeat_timeout_seconds", heartbeat_timeout_seconds),
        ("shutdown_timeout_seconds", shutdown_timeout_seconds),
    ):
        if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not 0 < seconds < 10**6:
            raise ValueError(f"distributed.initialize: {argument}: expected seconds, more than 0, got {seconds!r}")
    terms = joining.Terms(
        address,
        coordinator_bind_address or os.environ.get("JAX_COORDINATOR_BIND_ADDRESS"),
        process_id,
        num_processes,
        timeout=initialization_timeout,
        heartbeat=heartbeat_timeout_seconds,
        leave_timeout=shutdown_timeout_seconds,
        versions=_versions(),
    )
    if distributed.session() is not None:
        raise RuntimeError(
            "distributed.initialize: this process has joined already; it is called once in the life of a process"
        )
    if engine.is_started():
        raise RuntimeError(
            "distributed.initialize: the engine has been started: something was compiled, moved to a device, or asked "
            "for devices. Join before that, in the first lines of the program"
        )
    joining.join(terms)


def _require_all(**arguments: object) -> None:
    missing = [name for name, value in arguments.items() if value is None]
    if missing:
        raise ValueError(
            f"distributed.initialize: {', '.join(missing)}: expected a value, got None. Clusters are not detected; the "
            "address can be given by the environment variable JAX_COORDINATOR_ADDRESS too"
        )


def _checked(argument: str, value: object, kind: type[T], expected: str) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"distributed.initialize: {argument}: expected {expected}, got {described(value)}")
    return value


def _check_devices(ids: int | Sequence[int] | None) -> None:
    if ids is None:
        text = os.environ.get("JAX_LOCAL_DEVICE_IDS", "")
        parts = [part.strip() for part in text.split(",")] if text else []
        if not all(part.isdecimal() for part in parts):
            raise ValueError(f"environment variable JAX_LOCAL_DEVICE_IDS: expected numbers with commas, got {text!r}")
        return
    numbers = [ids] if isinstance(ids, int) else list(ids)
    if not all(isinstance(i, int) and i >= 0 for i in numbers) or len(set(numbers)) < len(numbers):
        raise ValueError(f"distributed.initialize: local_device_ids: expected different numbers from 0, got {ids!r}")


def _versions() -> dict[str, str]:
    return {"pullback": __version__, "jaxlib": metadata.version("jaxlib"), "on": platform.machine()}


def is_initialized() -> bool:
    """Return whether this process has joined others, and has not left them. Raises nothing.

    >>> is_initialized()
    False
    """
    session = distributed.session()
    return session is not None and not session.left


@boundary
def shutdown() -> None:
    """Leave the other processes, when they do the same or after shutdown_timeout_seconds; nothing without others.

    It happens by itself when the program ends. After it no program that spans processes runs here. Raises nothing.

    >>> shutdown()
    """
    distributed.leave()


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
