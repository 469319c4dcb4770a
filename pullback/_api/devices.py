"""Device placement: the devices of this process, and transfers of pytrees to and from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core.array import Array, ConcreteArray
from pullback._core.config import forget_traces, override
from pullback._core.errors import boundary
from pullback._core.hitypes import all_parts, registered
from pullback._core.sharding import PartitionSpec
from pullback._core.trace import context
from pullback._core.tree import tree_leaves, tree_unflatten
from pullback._core.tree_paths import tree_map
from pullback._core.typing import AnyValue, PyTree, PyTreePrefix
from pullback._higher_order.bodies import lift_tree
from pullback._xla import engine, executable
from pullback._xla.evaluate import evaluator


def check_backend(function: str, backend: str | None) -> None:
    """Refuse a platform that does not exist."""
    if backend not in (None, "cpu"):
        raise RuntimeError(f"{function}: the only backend is 'cpu', got {backend!r}")


def check_one_device(function: str, argument: str, places: AnyValue) -> None:
    """Refuse anything but the one device, in a pytree of devices, shardings of arrays, and None."""
    for place in () if places is None else tree_leaves(places):
        if type(place) is not PartitionSpec and {engine.device()} != getattr(place, "device_set", {place}):
            raise ValueError(
                f"{function}: {argument}: expected None, or the device or sharding of an array (x.device, "
                f"x.sharding), got {place!r}. All arrays are on one device: leave {argument} out."
            )


def devices(backend: str | None = None) -> list[Any]:
    """The devices of this process; the only backend is "cpu". RuntimeError for others.

    >>> import pullback as pb
    >>> len(pb.devices())
    1
    """
    check_backend("devices", backend)
    return engine.devices()


def local_devices(process_index: int | None = None, backend: str | None = None) -> list[Any]:
    """The devices of this process, which are all devices.

    RuntimeError for a backend other than "cpu", ValueError for another process than 0.

    >>> local_devices() == devices()
    True
    """
    check_backend("local_devices", backend)
    if process_index not in (None, 0):
        raise ValueError(f"local_devices: the one process has process_index 0, got {process_index!r}")
    return engine.devices()


def device_count(backend: str | None = None) -> int:
    """The number of devices. RuntimeError for a backend other than "cpu".

    >>> device_count()
    1
    """
    check_backend("device_count", backend)
    return len(engine.devices())


def process_index(backend: str | None = None) -> int:
    """The index of this process among all: 0. RuntimeError for a backend other than "cpu".

    >>> import pullback as pb
    >>> pb.process_index()
    0
    """
    check_backend("process_index", backend)
    return 0


def process_count(backend: str | None = None) -> int:
    """The number of processes: 1. RuntimeError for a backend other than "cpu".

    >>> import pullback as pb
    >>> pb.process_count()
    1
    """
    check_backend("process_count", backend)
    return 1


def local_device_count(backend: str | None = None) -> int:
    """The number of devices of this process. RuntimeError for a backend other than "cpu".

    >>> import pullback as pb
    >>> pb.local_device_count() == len(pb.local_devices())
    True
    """
    check_backend("local_device_count", backend)
    return device_count()


def default_backend() -> str:
    """The platform that programs are compiled for.

    >>> default_backend()
    'cpu'
    """
    return "cpu"


@boundary
def device_put(
    x: PyTree, device: PyTreePrefix = None, *, donate: PyTreePrefix = False, may_alias: PyTreePrefix = None
) -> Any:
    """The leaves of a pytree as arrays with a device buffer; values do not change, and tracers are returned as is.

    Args:
      x: a pytree of arrays, NumPy data and numbers.
      device: None, or the one device: itself, or the sharding of an array.
      donate, may_alias: whether the memory of `x` may be reused for the result. This is always so for arrays, which are
        never modified, and never for NumPy data, which is copied.

    TypeError for anything but an array or a number, ValueError for another device.

    >>> import pullback as pb, numpy as np
    >>> pb.device_put({"a": np.arange(3, dtype="int32")})
    {'a': Array([0, 1, 2], dtype=int32)}
    """
    check_one_device("device_put", "device", device)
    arrays, tree = lift_tree("device_put", "x", x)
    for array in all_parts(arrays) if registered and context.trace is evaluator else arrays:
        if type(array) is ConcreteArray:
            engine.put(array)
    return tree_unflatten(tree, arrays)


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
def block_until_ready(x: PyTree) -> Any:
    """Wait until every array of a pytree has been computed; returns the pytree.

    >>> import pullback as pb
    >>> print(pb.block_until_ready(pb.jit(lambda x: x + 1)(1.)))
    2.0
    """
    for leaf in tree_leaves(x):
        if isinstance(leaf, Array):
            leaf.block_until_ready()
    return x


def effects_barrier() -> None:
    """Wait until calls to the host have run, which they have when the function that makes them returns. Raises nothing.

    >>> import pullback as pb
    >>> pb.effects_barrier()
    """


def default_device(new_val: Any = None) -> Any:
    """Context manager: the device of new arrays. ValueError for another than the one there is.

    >>> import pullback as pb
    >>> with pb.default_device(pb.devices()[0]):
    ...     print(pb.numpy.ones(2))
    [1. 1.]
    """
    if not isinstance(new_val, str):
        check_one_device("default_device", "new_val", new_val)
    else:
        check_backend("default_device", new_val)
    return override("default_device", new_val)


def clear_caches() -> None:
    """Forget everything traced and compiled until now: it is done again when it is asked for. Raises nothing.

    >>> import pullback as pb
    >>> pb.clear_caches()
    """
    forget_traces()
    executable.lasting.clear()
    executable.recent.clear()
