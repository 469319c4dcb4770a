"""Arrays that were placed: on several devices, each with a part, or on another device than new arrays are on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core.array import ConcreteArray, array_of
from pullback._core.errors import boundary
from pullback._core.sharding import Index, Sharding, SingleDeviceSharding
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue


class PlacedArray(ConcreteArray):
    """A concrete array whose data is where `placement` says, in a buffer of the engine that spans these devices.

    It has no NumPy value: operations run where the data is. `value` collects the parts on the host.
    """

    __slots__ = ("placement", "_collected")
    placement: Sharding
    _collected: np.ndarray

    @property
    def value(self) -> np.ndarray:
        """The whole array as a NumPy value; it must not be modified."""
        try:
            return self._collected
        except AttributeError:
            pass
        buffer = self._checked_buffer()
        if not self.placement.is_fully_addressable:
            if not self.placement.is_fully_replicated:
                raise RuntimeError(
                    f"the array {self.aval.str_short()} has parts on devices of other processes, so that its value "
                    "cannot be read here. Read the parts of this process by .addressable_shards, or collect the array "
                    "in every process with multihost_utils.process_allgather(x, tiled=True)."
                )
            return _read_parts(buffer, self.aval, self.placement)[0][1]
        parts = _read_parts(buffer, self.aval, self.placement)
        if self.placement.is_fully_replicated:
            value = parts[0][1]
        else:
            value = np.empty(self.aval.shape, self.aval.dtype)
            for index, part in zip(self.placement.indices(self.aval.shape), parts, strict=True):
                value[index] = part[1]
            value.flags.writeable = False
        self._collected = value
        return value

    def _checked_buffer(self) -> Any:
        if self.buffer is None:
            raise RuntimeError(
                f"Array {self.aval.str_short()} has been deleted: its buffer was donated to a compiled "
                "function or freed by .delete(). Use the function's result, or do not donate."
            )
        return self._buffer

    def __array__(self, dtype: AnyValue = None, copy: bool | None = None) -> np.ndarray:
        return self._exported(dtype, copy)

    def _known(self) -> ConcreteArray:
        """The array: its value is known while functions are traced."""
        return self

    def block_until_ready(self) -> PlacedArray:
        """Wait until the data has been computed; returns the array."""
        if self.buffer is not None:
            _wait(self._buffer, self.aval, self.placement)
        return self

    def is_deleted(self) -> bool:
        """True if the data was donated or freed."""
        return self.buffer is None

    def delete(self) -> None:
        """Free the data; later use of the array raises RuntimeError."""
        for slot in ("_buffer", "_collected"):
            if hasattr(self, slot):
                delattr(self, slot)

    def __repr__(self) -> str:
        if self.is_deleted() or self.placement.is_fully_addressable or self.placement.is_fully_replicated:
            return super().__repr__()
        return (
            f"Array(shape={self.shape}, dtype={self.dtype.name}, {len(self.placement.addressable_devices)} of "
            f"{self.placement.num_devices} devices in this process)"
        )

    @boundary
    def __copy__(self) -> ConcreteArray:
        return self.copied()

    @boundary
    def __deepcopy__(self, memo: dict[int, Any]) -> ConcreteArray:
        return self.copied()

    def copied(self) -> ConcreteArray:
        """The same array with data of its own, at the same place."""
        return placed(self.aval, _copy_buffer(self._checked_buffer(), self.aval, self.placement), self.placement)


def placed(aval: ShapedArray, buffer: AnyValue, placement: Sharding) -> PlacedArray:
    """An array that holds a buffer of the engine on the devices of its placement."""
    array = PlacedArray()
    array.aval = aval
    array._buffer = buffer
    array.placement = placement
    return array


class Shard:
    """The part of an array on one device.

    Attributes: `device`; `index`, which part of the array it is; `data`, the part, as an array on that device;
    `replica_id`, the number of this copy of the part.

    >>> import pullback as pb
    >>> pb.numpy.ones(2).addressable_shards[0].index
    (slice(None, None, None),)
    """

    def __init__(self, device: AnyValue, index: Index, replica_id: int, data: Any):
        self.device: Any = device
        self.index: Index = index
        self.replica_id: int = replica_id
        self._data = data

    @property
    def data(self) -> Any:
        """The part, as an array on the device; None on a device of another process."""
        return self._data

    def __repr__(self) -> str:
        shown = np.asarray(self._data) if isinstance(self._data, ConcreteArray) else self._data
        data = "" if shown is None else f", data={shown}"
        return f"Shard(device={self.device!r}, index={self.index}, replica_id={self.replica_id}{data})"


def shards_of(x: ConcreteArray, placement: Sharding, everywhere: bool) -> list[Shard]:
    """The parts of an array on the devices of this process, or on all."""
    shape = x.aval.shape
    if not isinstance(x, PlacedArray):
        (device,) = placement.flat_devices
        return [Shard(device, (slice(None),) * len(shape), 0, x)]
    tiles = placement.tiles(len(shape))
    copies = np.empty(len(placement.flat_devices), int)
    copies[tiles] = np.arange(tiles.shape[-1])
    read = dict(_read_parts(x._checked_buffer(), x.aval, placement))
    aval = make_aval(placement.shard_shape(shape), x.aval.dtype, x.aval.weak_type)
    result = []
    for device, index, copy in zip(placement.flat_devices, placement.indices(shape), copies, strict=True):
        if device in read:
            data = _on_device(array_of(aval, read[device]), SingleDeviceSharding(device))
            result.append(Shard(device, index, int(copy), data))
        elif everywhere:
            result.append(Shard(device, index, int(copy), None))
    return result


_read_parts: Callable[[Any, ShapedArray, Sharding], Sequence[tuple[Any, np.ndarray]]]
_on_device: Callable[[ConcreteArray, Sharding], ConcreteArray]
_copy_buffer: Callable[[Any, ShapedArray, Sharding], Any]
_wait: Callable[[Any, ShapedArray, Sharding], None]


def install_placement(
    read_parts: Callable[[Any, ShapedArray, Sharding], Sequence[tuple[Any, np.ndarray]]],
    on_device: Callable[[ConcreteArray, Sharding], ConcreteArray],
    copy_buffer: Callable[[Any, ShapedArray, Sharding], Any],
    wait: Callable[[Any, ShapedArray, Sharding], None],
) -> None:
    """Install the functions that read the parts of a buffer, place an array, copy a buffer and wait (by the engine)."""
    global _read_parts, _on_device, _copy_buffer, _wait
    _read_parts, _on_device, _copy_buffer, _wait = read_parts, on_device, copy_buffer, wait
