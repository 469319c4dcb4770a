"""Arrays of devices for meshes. Devices of a processor are all as near to each other, so that they keep their order."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from pullback._core.errors import boundary
from pullback._xla import platforms

__all__ = ["create_device_mesh", "create_hybrid_device_mesh"]


@boundary
def create_device_mesh(
    mesh_shape: Sequence[int],
    devices: Sequence[Any] | None = None,
    *,
    contiguous_submeshes: bool = False,
    allow_split_physical_axes: bool = False,
) -> np.ndarray:
    """The devices in an array of a shape, for `Mesh`.

    Args:
      mesh_shape: the shape; its product is the number of devices.
      devices: the devices; by default all.
      contiguous_submeshes, allow_split_physical_axes: accepted; they are about machines whose devices lie on a grid.

    ValueError for another number of devices.

    >>> import pullback as pb
    >>> create_device_mesh((1, 1), pb.devices()[:1]).shape
    (1, 1)
    """
    given = platforms.devices() if devices is None else list(devices)
    if prod(mesh_shape) != len(given):
        raise ValueError(
            f"create_device_mesh: a mesh of shape {tuple(mesh_shape)} has {prod(mesh_shape)} devices, got {len(given)}"
        )
    return np.array(given, object).reshape(tuple(mesh_shape))


@boundary
def create_hybrid_device_mesh(
    mesh_shape: Sequence[int],
    dcn_mesh_shape: Sequence[int],
    devices: Sequence[Any] | None = None,
    *,
    process_is_granule: bool = False,
    should_sort_granules_by_key: bool = True,
    allow_split_physical_axes: bool = False,
) -> np.ndarray:
    """The devices of several processes in an array: along each axis, so many processes of so many devices.

    Args:
      mesh_shape: the shape of the devices of a process.
      dcn_mesh_shape: the shape of the processes, of the same length.
      devices: the devices; by default all.
      process_is_granule, should_sort_granules_by_key, allow_split_physical_axes: accepted; devices go by process.

    ValueError for another number of devices or of processes.

    >>> import pullback as pb
    >>> create_hybrid_device_mesh((1, 1), (1, 1), pb.devices()[:1]).shape
    (1, 1)
    """
    name = "create_hybrid_device_mesh"
    given = platforms.devices() if devices is None else list(devices)
    if len(mesh_shape) != len(dcn_mesh_shape):
        raise ValueError(f"{name}: expected shapes of one length, got {tuple(mesh_shape)} and {tuple(dcn_mesh_shape)}")
    by_process: dict[int, list[Any]] = {}
    for device in given:
        by_process.setdefault(device.process_index, []).append(device)
    if len(by_process) != prod(dcn_mesh_shape) or any(len(own) != prod(mesh_shape) for own in by_process.values()):
        raise ValueError(
            f"{name}: expected {prod(dcn_mesh_shape)} processes of {prod(mesh_shape)} devices, got "
            f"{[len(own) for own in by_process.values()]}"
        )
    rank = len(mesh_shape)
    grid = np.array([by_process[i] for i in sorted(by_process)], object).reshape(*dcn_mesh_shape, *mesh_shape)
    order = [axis for pair in zip(range(rank), range(rank, 2 * rank), strict=True) for axis in pair]
    return grid.transpose(order).reshape([n * k for n, k in zip(dcn_mesh_shape, mesh_shape, strict=True)])
