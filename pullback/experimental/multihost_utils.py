"""Functions that several processes call together, under JAX's names; a single process does not wait for anyone."""

from __future__ import annotations

import typing as _typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pullback._api import host_local, shared_data
from pullback._core.errors import ProcessFailureError, boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.meshes import Mesh
from pullback._core.typing import PyTree, PyTreePrefix
from pullback._xla import distributed

__all__ = [
    "ProcessFailureError",
    "assert_equal",
    "broadcast_one_to_all",
    "global_array_to_host_local_array",
    "host_local_array_to_global_array",
    "live_devices",
    "process_allgather",
    "reached_preemption_sync_point",
    "sync_global_devices",
]


@boundary
def sync_global_devices(name: str) -> None:
    """Wait for all processes to come here, for at most `config.collective_timeout_secs`.

    Args:
      name: of this place; places with different names are not the same.

    Raises:
      ProcessFailureError: a process died, hangs or left.
      TimeoutError: a process did not come.
      RuntimeError: all processes wait, at different places.

    >>> sync_global_devices("saved")
    """
    session = distributed.session()
    if session is not None:
        session.meet(f"sync_global_devices({name!r})")


@boundary
def assert_equal(in_tree: PyTree, fail_message: str = "") -> None:
    """Raise AssertionError, with the path of the leaf, unless all processes have the same values; NaNs are equal.

    Other errors are those of `sync_global_devices`, and ValueError for shapes, dtypes or structures that differ.

    >>> assert_equal({"a": 1})
    """
    shared_data.require_equal("assert_equal", "in_tree", in_tree, fail_message)


@boundary
def broadcast_one_to_all(in_tree: PyTree, is_source: bool | None = None) -> Any:
    """The values of one process, as NumPy data, in all processes.

    Args:
      in_tree: a pytree of arrays and numbers, with the same structure, shapes and dtypes in all processes.
      is_source: whether this process gives the values, True in one of them; by default process 0 does.

    Errors are those of `sync_global_devices`, and ValueError for shapes, dtypes or structures that differ.

    >>> import numpy as np
    >>> broadcast_one_to_all({"a": np.ones(2)})["a"].tolist()
    [1.0, 1.0]
    """
    return shared_data.broadcast("broadcast_one_to_all", in_tree, is_source)


@boundary
def process_allgather(in_tree: PyTree, tiled: bool = False) -> Any:
    """The values of all processes along a new leading axis, or with `tiled` along the first, as NumPy data.

    Args:
      in_tree: a pytree of arrays and numbers, with the same structure, shapes and dtypes in all processes.
      tiled: whether to join the values along their first axis; numbers get an axis in either case. For arrays over
        several processes, whose whole value is returned, it must be True.

    Errors are those of `sync_global_devices`, and ValueError for shapes, dtypes or structures that differ.

    >>> import numpy as np
    >>> process_allgather(np.ones(2)).shape, process_allgather(np.ones(2), tiled=True).shape
    ((1, 2), (2,))
    """

    return shared_data.gather("process_allgather", in_tree, tiled)


@boundary
def host_local_array_to_global_array(local_inputs: PyTree, global_mesh: Mesh, pspecs: PyTreePrefix) -> Any:
    """The arrays over all processes of which each process has a part, as an array of its own.

    Args:
      local_inputs: a pytree of arrays and NumPy data: what this process has. Arrays over processes stay as they are.
      global_mesh: a mesh of the devices of all processes.
      pspecs: a `PartitionSpec`, or a pytree prefix of them: how the whole array is spread over the mesh. An axis that
        is spread over processes is as long as all their parts.

    TypeError for anything but a mesh and specs, ValueError for data that does not fill the parts of this process.

    >>> import numpy as np, pullback as pb
    >>> print(host_local_array_to_global_array(np.ones(2), pb.make_mesh((1,), ("x",)), pb.P("x")))
    [1. 1.]
    """
    return host_local.to_global("host_local_array_to_global_array", local_inputs, global_mesh, pspecs)


@boundary
def global_array_to_host_local_array(global_inputs: PyTree, global_mesh: Mesh, pspecs: PyTreePrefix) -> Any:
    """The parts of arrays that this process holds, each as an array of its own; the reverse of the function above.

    Args:
      global_inputs: a pytree of arrays. Those that are of this process alone stay as they are.
      global_mesh: a mesh of the devices of all processes.
      pspecs: a `PartitionSpec`, or a pytree prefix of them: how the arrays are spread; they are moved if they are not.

    TypeError for anything but a mesh and specs, ValueError for specs that do not fit.

    >>> import numpy as np, pullback as pb
    >>> print(global_array_to_host_local_array(np.ones(2), pb.make_mesh((1,), ("x",)), pb.P("x")))
    [1. 1.]
    """
    return host_local.to_local("global_array_to_host_local_array", global_inputs, global_mesh, pspecs)


@contextmanager
def live_devices(devices: Sequence[Any]) -> Iterator[list[Any]]:
    """Context manager: those of the devices whose processes are alive, on which they all agree.

    All processes that have one of the devices come here, and are waited for unless they are gone. At the end they meet
    again: either all have reached it, or all that are left get an error. What runs over these devices needs none of the
    processes that are gone; the state that it works on must come from a checkpoint.

    Args:
      devices: devices of this and other processes.

    Raises:
      RuntimeError: `distributed.initialize` was not called.
      ValueError: none of the devices belongs to this process.
      ProcessFailureError: a process died, hangs or raised an error within the `with` statement; `error.processes`.
      TimeoutError: a process did not come.

    >>> import pullback as pb
    >>> with live_devices(pb.devices()) as alive:
    ...     pass
    Traceback (most recent call last):
        ...
    RuntimeError: live_devices: this process has not joined others: call distributed.initialize first
    """
    session = distributed.session()
    if session is None:
        raise RuntimeError("live_devices: this process has not joined others: call distributed.initialize first")
    among = distributed.processes_of(devices)
    if session.process not in among:
        raise ValueError(f"live_devices: devices: none of {list(devices)} belongs to this process, {session.process}")
    came = tuple(session.meet("live_devices", alive=True, among=among))
    try:
        yield [device for device in devices if device.process_index in came]
    except BaseException as error:
        text = f"{type(error).__name__}: {error}"[:2000].encode()
        session.meet("the end of live_devices", text, alive=True, among=came)
        raise
    words = session.meet("the end of live_devices", alive=True, among=came)
    failed = {p: session.reason(p) for p in came if p not in words}
    failed |= {p: f"process {p} raised {text.decode(errors='replace')}" for p, text in words.items() if text}
    if failed:
        raise ProcessFailureError(f"live_devices: {'; '.join(failed.values())}", list(failed))


def reached_preemption_sync_point(step_id: int) -> bool:
    """Return whether the processes are about to be stopped: not that one knows of. Raises nothing.

    >>> reached_preemption_sync_point(3)
    False
    """
    return False


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
