"""Transfers of arrays to and from the devices of a placement."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from pullback._core import placed_array
from pullback._core.array import ConcreteArray, array_of
from pullback._core.placed_array import PlacedArray, placed
from pullback._core.sharding import Sharding, SingleDeviceSharding
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue, Shape
from pullback._xla import distributed, engine, platforms


@lru_cache(4096)
def label(placement: Sharding, ndim: int, first: int = 0) -> Any:
    """The engine's description of a placement of arrays of this rank, its devices rotated so that `first` leads."""
    return _label(placement.tiles(ndim), placement.flat_devices, first)


def _label(tiles: np.ndarray, devices: tuple[Any, ...], first: int = 0) -> Any:
    rotated = engine.device_list((*devices[first:], *devices[:first]))
    return engine.xla_client()._xla.GSPMDSharding(rotated, described(tiles))


def described(tiles: np.ndarray) -> Any:
    """The engine's description of parts, by the positions of the devices that hold them (see `Sharding.tiles`)."""
    kinds = engine.xla_client().OpSharding
    result = kinds()
    if tiles.shape[-1] == tiles.size:
        result.type = kinds.Type.REPLICATED
    else:
        result.type = kinds.Type.OTHER
        result.tile_assignment_dimensions = list(tiles.shape)
        result.tile_assignment_devices = tiles.ravel().tolist()
        result.replicate_on_last_tile_dim = True
    return result


@lru_cache(4096)
def kept(placement: Sharding) -> Sharding:
    """The first placement that was equal to this one: warm calls compare placements by identity."""
    return placement


@lru_cache(4096)
def representative(placement: Sharding, ndim: int) -> Sharding:
    """The first placement whose devices, in this order, held the same parts of arrays of this rank."""
    tiles = placement.tiles(ndim)
    key = placement.flat_devices, tiles.shape, np.sort(tiles, -1).tobytes()
    return _representatives.setdefault(key, placement)


_representatives: dict[Any, Sharding] = {}


@lru_cache(4096)
def indices_here(placement: Sharding, shape: Shape) -> tuple[list[Any], list[Any]]:
    """The devices of this process, and the part of an array that each is to hold. ValueError for indivisible axes."""
    found = placement.addressable_devices_indices_map(shape)
    return list(found), [(*index, Ellipsis) for index in found.values()]  # the ellipsis: views of scalars are arrays


def is_default(placement: Sharding) -> bool:
    """Return whether it is where arrays are if nothing else is said."""
    return (
        isinstance(placement, SingleDeviceSharding)
        and placement.device == engine.device()
        and platforms.elsewhere() is None
    )


@lru_cache(4096)
def _transfer(placement: Sharding, aval: ShapedArray) -> tuple[ShapedArray, Any, list[Any], list[Any]]:
    """What a transfer of an array of this type needs: the type of its parts' carriers, the label, devices, indices."""
    inside = engine.carrier(aval)
    return inside, label(placement, aval.ndim), *indices_here(placement, aval.shape)


def put(x: ConcreteArray, placement: Sharding) -> ConcreteArray:
    """The array at this placement; itself if it is there. ValueError for an axis that cannot be divided."""
    placement = kept(placement)
    if type(x) is PlacedArray:
        if x.placement is placement:
            return x
        ndim = x.aval.ndim
        if representative(x.placement, ndim) is representative(placement, ndim):
            return placed(x.aval, x._checked_buffer(), placement)
        if _is_copied_part_by_part(x.placement, placement, ndim):
            return placed(x.aval, copy_buffer(x._checked_buffer(), x.aval, placement), placement)
    if is_default(placement):
        return array_of(x.aval, x.value) if type(x) is PlacedArray else x
    engine.check_process()
    value = np.asarray(x.value)
    if value.dtype.isbuiltin != 1:
        value = engine.carried_value(value)
    aval, described, devices, indices = _transfer(placement, x.aval)
    return placed(x.aval, _buffer(aval, described, devices, [value[i] for i in indices]), placement)


def buffer_at(x: ConcreteArray, place: Sharding) -> Any:
    """The buffer of an array at a place."""
    found = put(x, place)
    return found._checked_buffer() if type(found) is PlacedArray else engine.put(found)


def _is_copied_part_by_part(old: Sharding, new: Sharding, ndim: int) -> bool:
    """Return whether the engine moves an array by itself, each part from one device to another: not by the host."""
    ends = {platforms.name_of(at.flat_devices[0]) for at in (old, new)}
    return (
        ends != {platforms.HOST}
        and not is_default(new)
        and old.is_fully_addressable
        and new.is_fully_addressable
        and np.array_equal(old.tiles(ndim), new.tiles(ndim))
    )


def buffer_of_parts(aval: ShapedArray, placement: Sharding, devices: list[Any], parts: Sequence[np.ndarray]) -> Any:
    """The buffer of NumPy values, one for each device of this process; their memory is not modified later."""
    engine.check_process()
    return _buffer(aval, label(placement, aval.ndim), devices, parts)


def _buffer(aval: ShapedArray, described: AnyValue, devices: list[Any], parts: Sequence[np.ndarray]) -> Any:
    values = [part if part.flags.c_contiguous else part.copy() for part in parts]
    return engine.xla_client().batched_device_put(aval, described, values, devices, True, enable_x64=True)


def wait(buffer: AnyValue, aval: ShapedArray, placement: Sharding) -> None:
    """Wait until a buffer has been computed, by all processes that its devices belong to."""
    if distributed.session() is None:
        engine.wait(buffer)
    else:
        what = f"an array {aval.str_short()} over {placement.num_devices} devices"
        distributed.wait(what, buffer, distributed.processes_of(placement.flat_devices))


def wait_for_all(arrays: Sequence[PlacedArray]) -> None:
    """Wait until arrays have been computed: by one call of the engine where they belong to this process alone."""
    if distributed.session() is None and not engine.is_left_behind():
        buffers = [x._buffer for x in arrays if x.buffer is not None]
        engine.xla_client()._xla.batched_block_until_ready(buffers)
    else:
        for x in arrays:
            x.block_until_ready()


class _Capsule:
    """What NumPy reads a buffer's memory from."""

    __slots__ = ("capsule",)

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **_: AnyValue) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def read_parts(buffer: AnyValue, aval: ShapedArray, placement: Sharding) -> list[tuple[Any, np.ndarray]]:
    """The devices of this process, and the NumPy value of what each holds.

    The engine hands out the first part of a buffer alone (the others would have it import another package), so the
    devices are rotated.
    """
    wait(buffer, aval, placement)
    xla = engine.xla_client()._xla
    keep = xla.ArrayCopySemantics.REUSE_INPUT
    mine = placement.addressable_devices
    readable = placement.flat_devices
    if not is_readable(readable[0]):
        readable = _staging(len(readable))
        buffer = _copied(buffer, placement.tiles(aval.ndim), readable)
    result = []
    for i, device in enumerate(placement.flat_devices):
        if device in mine:
            rotated = xla.reorder_shards(buffer, _label(placement.tiles(aval.ndim), readable, i), keep) if i else buffer
            part = np.from_dlpack(_Capsule(xla.buffer_to_dlpack_managed_tensor(rotated)))
            result.append((device, _own_value(part, aval)))
    return result


def is_readable(device: Any) -> bool:
    """Return whether NumPy can read the memory of a device."""
    return device.platform == "cpu"


@lru_cache(16)
def _staging(count: int) -> tuple[Any, ...]:
    """So many devices of the processor's, to which parts are copied from memory that NumPy cannot read."""
    return tuple(engine.xla_client().make_cpu_client(asynchronous=True, num_devices=count).local_devices())


def _copied(buffer: AnyValue, tiles: np.ndarray, devices: tuple[Any, ...]) -> Any:
    """A buffer of the same parts on these devices, with memory of its own."""
    xc = engine.xla_client()
    (result,) = xc.batched_copy_array_to_devices_with_sharding(
        [buffer], [engine.device_list(devices)], [_label(tiles, devices)], [xc.ArrayCopySemantics.ALWAYS_COPY]
    )
    return result


def _own_value(part: np.ndarray, aval: ShapedArray) -> np.ndarray:
    return part if part.dtype == aval.dtype else engine.host_value(part, make_aval(part.shape, aval.dtype))


def from_parts(aval: ShapedArray, placement: Sharding, parts: dict[Any, np.ndarray]) -> ConcreteArray:
    """The array of the parts that the devices of this process are to hold, in the order of the placement's devices."""
    if is_default(placement):
        (value,) = parts.values()
        return array_of(aval, value)
    values = [engine.carried_value(np.asarray(value)) for value in parts.values()]
    return placed(aval, buffer_of_parts(engine.carrier(aval), placement, list(parts), values), placement)


def copy_buffer(buffer: AnyValue, aval: ShapedArray, placement: Sharding) -> Any:
    """A buffer of the same parts with memory of its own, on the devices of a placement."""
    return _copied(buffer, placement.tiles(aval.ndim), placement.flat_devices)


placed_array.install_placement(read_parts, put, copy_buffer, wait)
