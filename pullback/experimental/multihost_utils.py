"""Functions that several processes call together, under JAX's names: there is one, so that nothing is waited for."""

from __future__ import annotations

import typing as _typing
from typing import Any

import numpy as np

from pullback._api.devices import device_get
from pullback._core.lazy import attributes as _attributes
from pullback._core.tree_paths import tree_map
from pullback._core.typing import PyTree

__all__ = [
    "assert_equal",
    "broadcast_one_to_all",
    "global_array_to_host_local_array",
    "host_local_array_to_global_array",
    "process_allgather",
    "reached_preemption_sync_point",
    "sync_global_devices",
]


def sync_global_devices(name: str) -> None:
    """Wait for all processes to come here: for the one that calls. Raises nothing.

    >>> sync_global_devices("saved")
    """


def assert_equal(in_tree: PyTree, fail_message: str = "") -> None:
    """Raise an error unless all processes have the same values: the one has. Raises nothing.

    >>> assert_equal({"a": 1})
    """


def broadcast_one_to_all(in_tree: PyTree, is_source: bool | None = None) -> Any:
    """The values of the first process, as NumPy data. Raises nothing.

    >>> broadcast_one_to_all({"a": np.ones(2)})["a"].tolist()
    [1.0, 1.0]
    """
    return tree_map(np.asarray, device_get(in_tree))


def process_allgather(in_tree: PyTree, tiled: bool = False) -> Any:
    """The values of all processes along a new leading axis, or with `tiled` along the first, as NumPy data.

    Raises nothing.

    >>> process_allgather(np.ones(2)).shape, process_allgather(np.ones(2), tiled=True).shape
    ((1, 2), (2,))
    """
    return tree_map(lambda x: np.asarray(x) if tiled and np.ndim(x) else np.asarray(x)[None], device_get(in_tree))


def host_local_array_to_global_array(local_inputs: PyTree, global_mesh: Any, pspecs: PyTree) -> Any:
    """The arrays of all processes, put together: those of the one. Raises nothing.

    >>> host_local_array_to_global_array(np.ones(2), None, None).tolist()
    [1.0, 1.0]
    """
    return local_inputs


def global_array_to_host_local_array(global_inputs: PyTree, global_mesh: Any, pspecs: PyTree) -> Any:
    """The parts of arrays in this process: all of them. Raises nothing.

    >>> global_array_to_host_local_array(np.ones(2), None, None).tolist()
    [1.0, 1.0]
    """
    return global_inputs


def reached_preemption_sync_point(step_id: int) -> bool:
    """Return whether the processes are about to be stopped: not that one knows of. Raises nothing.

    >>> reached_preemption_sync_point(3)
    False
    """
    return False


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
