"""Meshes of devices and placements of arrays, under JAX's names."""

import typing as _typing

from pullback._api.meshes import (
    get_abstract_mesh,
    get_mesh,
    make_single_device_sharding,
    reshard,
    set_mesh,
    use_abstract_mesh,
)
from pullback._core.lazy import attributes as _attributes
from pullback._core.meshes import AbstractMesh, AxisType, Mesh
from pullback._core.sharding import NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

__all__ = [
    "AbstractMesh",
    "AxisType",
    "Mesh",
    "NamedSharding",
    "PartitionSpec",
    "Sharding",
    "SingleDeviceSharding",
    "get_abstract_mesh",
    "get_mesh",
    "make_single_device_sharding",
    "reshard",
    "set_mesh",
    "use_abstract_mesh",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
