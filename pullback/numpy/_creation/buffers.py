"""Arrays of the memory of other objects, and of iterables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, lift
from pullback._core.dlpack import from_exporter
from pullback._core.errors import boundary, kind_of
from pullback._core.typing import AnyValue, Device, DTypeLike
from pullback.numpy._creation.creation import on_device

__all__ = ["from_dlpack", "frombuffer", "fromiter"]


@boundary
def frombuffer(buffer: AnyValue, dtype: DTypeLike = float, count: int = -1, offset: int = 0) -> Array:
    """A 1-d array of the bytes of a buffer, read as `count` numbers (-1: all) of a dtype from a byte on; copied.

    ValueError for bytes that are not a whole number of elements.

    >>> import pullback.numpy as pnp
    >>> pnp.frombuffer(b"abc", dtype="uint8")
    Array([97, 98, 99], dtype=uint8)
    """
    return lift(np.frombuffer(buffer, dtype=np.dtype(dtypes.requested_dtype(dtype)), count=count, offset=offset))


@boundary
def from_dlpack(x: AnyValue, /, *, device: Device = None, copy: bool | None = None) -> Array:
    """An array of a tensor of another library on the host, through the DLPack protocol; copied.

    bfloat16 and float8 are supported too. TypeError for an object without `__dlpack__` and for elements that have no
    dtype here, BufferError for memory of another device.

    >>> import numpy as np
    >>> from_dlpack(np.arange(3, dtype="int32"))
    Array([0, 1, 2], dtype=int32)
    """
    if isinstance(x, Array):
        return on_device("from_dlpack", x, device)
    if not hasattr(x, "__dlpack__"):
        raise TypeError(f"from_dlpack: expected an object with __dlpack__, got {kind_of(x)}")
    return on_device("from_dlpack", lift(from_exporter(x)), device)


@boundary
def fromiter(iterable: Iterable[Any], dtype: DTypeLike, count: int = -1) -> Array:
    """A 1-d array of the numbers of an iterable. ValueError for items that cannot be converted.

    >>> fromiter((i * i for i in range(3)), "int32")
    Array([0, 1, 4], dtype=int32)
    """
    return lift(np.fromiter(iterable, dtypes.requested_dtype(dtype), count))
