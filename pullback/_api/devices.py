"""Device placement: the devices of this process, and transfers of pytrees to and from them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._core.config import forget_traces, override
from pullback._core.errors import boundary
from pullback._core.placed_array import PlacedArray
from pullback._core.tree import tree_leaves
from pullback._core.tree_paths import tree_map
from pullback._core.typing import PyTree
from pullback._xla import distributed, executable, placement, platforms


def check_backend(function: str, backend: str | None) -> None:
    """Refuse a platform that does not exist."""
    if backend not in (None, platforms.HOST):
        platforms.client_of(backend, function)


def devices(backend: str | None = None) -> list[Any]:
    """The devices of a platform in all processes: "cpu", "gpu" or "cuda", by default where programs run.

    RuntimeError for a platform that there is not, or whose plugin finds no device.

    >>> import pullback as pb
    >>> len(pb.devices()) == pb.device_count()
    True
    """
    return platforms.devices(backend, "devices")


def local_devices(
    process_index: int | None = None, backend: str | None = None, host_id: int | None = None
) -> list[Any]:
    """The devices of this process, or of another one, by its index; of a platform as in `devices`.

    `host_id` is JAX's former name of `process_index`. RuntimeError for a platform that there is not, ValueError for a
    process that there is not.

    >>> local_devices() == devices()
    True
    """
    process_index = host_id if process_index is None else process_index
    if process_index is None:
        return platforms.local_devices(backend, "local_devices")
    if process_index not in range(process_count()):
        raise ValueError(
            f"local_devices: process_index: expected one of 0 to {process_count() - 1}, got {process_index!r}"
        )
    found = platforms.devices(backend, "local_devices")
    return [device for device in found if device.process_index == process_index]


def device_count(backend: str | None = None) -> int:
    """The number of devices of all processes. RuntimeError for a platform that there is not.

    >>> device_count() == len(devices())
    True
    """
    return len(platforms.devices(backend, "device_count"))


def process_index(backend: str | None = None) -> int:
    """The index of this process among all, from 0. RuntimeError for a platform that there is not.

    >>> import pullback as pb
    >>> pb.process_index()
    0
    """
    check_backend("process_index", backend)
    session = distributed.session()
    return 0 if session is None else session.process


def process_count(backend: str | None = None) -> int:
    """The number of processes that run this program together. RuntimeError for a platform that there is not.

    >>> import pullback as pb
    >>> pb.process_count()
    1
    """
    check_backend("process_count", backend)
    session = distributed.session()
    return 1 if session is None else session.count


def process_indices(backend: str | None = None) -> list[int]:
    """The indices of all processes, from 0. RuntimeError for a platform that there is not.

    >>> import pullback as pb
    >>> pb.process_indices()
    [0]
    """
    return list(range(process_count(backend)))


def _renamed(old: str, new: str) -> None:
    warnings.warn(f"{old} is the former name of {new}: use that one", DeprecationWarning, stacklevel=3)


def host_id(backend: str | None = None) -> int:
    """The former name of `process_index`: warns with a DeprecationWarning. Its errors.

    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     host_id()
    0
    """
    _renamed("host_id", "process_index")
    return process_index(backend)


def host_count(backend: str | None = None) -> int:
    """The former name of `process_count`: warns with a DeprecationWarning. Its errors.

    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     host_count()
    1
    """
    _renamed("host_count", "process_count")
    return process_count(backend)


def host_ids(backend: str | None = None) -> list[int]:
    """The former name of `process_indices`: warns with a DeprecationWarning. Its errors.

    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     host_ids()
    [0]
    """
    _renamed("host_ids", "process_indices")
    return process_indices(backend)


def local_device_count(backend: str | None = None) -> int:
    """The number of devices of this process. RuntimeError for a platform that there is not.

    >>> import pullback as pb
    >>> pb.local_device_count() == len(pb.local_devices())
    True
    """
    return len(platforms.local_devices(backend, "local_device_count"))


def default_backend() -> str:
    """The platform that programs are compiled for if nothing else is said: "cpu", or "gpu" for any maker's.

    It is the first of the option `platforms` if that is set; else NVIDIA's, if its plugin and a device are there.
    RuntimeError if that one cannot be used.

    >>> default_backend()
    'cpu'
    """
    return platforms.family_of(platforms.default())


@boundary
def device_get(x: PyTree) -> Any:
    """The leaves of a pytree as read-only NumPy arrays; leaves that are not arrays stay as they are.

    TracerArrayConversionError for traced values without data.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.device_get({"a": pnp.arange(3), "b": "text"})
    {'a': array([0, 1, 2], dtype=int32), 'b': 'text'}
    """

    def fetch(leaf):
        return np.asarray(leaf) if isinstance(leaf, Array) else leaf

    return tree_map(fetch, x)


@boundary
def copy_to_host_async(x: PyTree) -> Any:
    """Call `copy_to_host_async` of the leaves of a pytree that are arrays; returns the pytree. Raises nothing.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.copy_to_host_async({"a": pnp.arange(3), "b": "text"})["b"]
    'text'
    """
    arrays: list[Any] = [leaf for leaf in tree_leaves(x) if isinstance(leaf, Array)]
    for array in arrays:
        array.copy_to_host_async()
    return x


@boundary
def block_until_ready(x: PyTree) -> Any:
    """Wait until every array of a pytree has been computed; returns the pytree.

    >>> import pullback as pb
    >>> print(pb.block_until_ready(pb.jit(lambda x: x + 1)(1.)))
    2.0
    """
    spread = []
    for leaf in tree_leaves(x):
        if type(leaf) is PlacedArray:
            spread.append(leaf)
        elif isinstance(leaf, Array):
            leaf.block_until_ready()
    if spread:
        placement.wait_for_all(spread)
    return x


def effects_barrier() -> None:
    """Wait until calls to the host have run, which they have when the function that makes them returns. Raises nothing.

    >>> import pullback as pb
    >>> pb.effects_barrier()
    """


def default_device(new_val: Any = None) -> Any:
    """Context manager: the device, or the platform, that programs run on if nothing else is said.

    ValueError for a device that is none of this process, RuntimeError for a platform that there is not.

    >>> import pullback as pb
    >>> with pb.default_device(pb.devices()[0]):
    ...     print(pb.numpy.ones(2))
    [1. 1.]
    """
    if isinstance(new_val, str):
        check_backend("default_device", new_val)
    elif new_val is not None and not any(new_val in client.local_devices() for client in platforms.started().values()):
        raise ValueError(
            f"default_device: new_val: expected a device of this process (pullback.local_devices()), got {new_val!r}"
        )
    return override("default_device", new_val)


def clear_caches() -> None:
    """Forget everything traced and compiled until now: it is done again when it is asked for. Raises nothing.

    >>> import pullback as pb
    >>> pb.clear_caches()
    """
    forget_traces()
    executable.lasting.clear()
    executable.recent.clear()
