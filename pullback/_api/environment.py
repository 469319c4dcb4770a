"""What there is: the arrays that are alive, and the versions and devices that they live on."""

from __future__ import annotations

import gc
import platform
import sys
from importlib.metadata import version
from typing import Any

import numpy as np

from pullback._api.devices import check_backend, devices, process_count
from pullback._core.array import Array, ConcreteArray
from pullback._core.errors import boundary
from pullback._core.placed_array import PlacedArray
from pullback._core.version import __version__
from pullback._xla import platforms


@boundary
def live_arrays(platform: str | None = None) -> list[Array]:
    """The arrays that are alive in this process, those that the library keeps for itself among them.

    Args:
      platform: the platform that they are on, such as "cpu" or "gpu", or None for all.

    Raises: RuntimeError for a platform that there is not.

    >>> import pullback.numpy as pnp
    >>> x = pnp.arange(12345.)
    >>> any(y is x for y in live_arrays())
    True
    """
    check_backend("live_arrays", platform)
    arrays: list[Any] = [x for x in gc.get_objects() if type(x) in (ConcreteArray, PlacedArray)]
    if platform is None:
        return arrays
    client = platforms.client_of(platform)
    return [x for x in arrays if x.sharding.flat_devices[0].client is client]


def print_environment_info(return_string: bool = False) -> str | None:
    """Print the versions and devices that a report of a fault should name, or return the text. Raises nothing.

    >>> print_environment_info(return_string=True).splitlines()[0].split()[0]
    'pullback:'
    """
    rows = {
        "pullback": __version__,
        "jaxlib": version("jaxlib"),
        "numpy": np.__version__,
        "python": sys.version.replace("\n", " "),
        "device info": f"{devices()[0].device_kind}-{len(devices())}, {process_count()} process",
        "platform": platform.platform(),
    }
    text = "\n".join(f"{name + ':':<13}{value}" for name, value in rows.items())
    if return_string:
        return text
    print(text)
    return None


@boundary
def ds(start: Any, size: Any = None, stride: int | None = None) -> Any:
    """The places of a part of an axis, for an index: `size` places from `start` on, in steps of `stride`.

    Args:
      start: where it starts, or with this argument alone the size, from 0 on; it may be traced.
      size: how many places, an integer.
      stride: the step, 1 by default.

    Returns: a slice, or an array of places if the start is traced.
    Raises: TypeError for a size or stride that is no integer.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pnp.arange(5)[ds(1, 3)], ds(3))
    [1 2 3] slice(0, 3, None)
    >>> print(pb.jit(lambda x, i: x[ds(i, 2)])(pnp.arange(5), 3))
    [3 4]
    """
    if size is None:
        start, size = 0, start
    for name, value in (("size", size), ("stride", 1 if stride is None else stride)):
        if not isinstance(value, (int, np.integer)):
            raise TypeError(f"ds: the {name} must be an integer, got {value!r}")
    step = 1 if stride is None else int(stride)
    if isinstance(start, (int, np.integer)):
        return slice(int(start), int(start) + int(size) * step, stride)
    return start + np.arange(size, dtype=np.int32) * step
