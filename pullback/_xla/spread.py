"""How a program is spread over devices: the meshes and shardings that its module names, and the compiler's settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.meshes import AbstractMesh, Mesh
from pullback._core.sharding import (
    NamedSharding,
    PartitionSpec,
    Sharding,
    SingleDeviceSharding,
    TiledSharding,
    spec_of,
)
from pullback._core.typing import AnyValue
from pullback._xla import engine, platforms


class Spread:
    """The devices of a program, and where its arguments and results are: None where the compiler may choose."""

    def __init__(
        self,
        devices: tuple[Any, ...],
        mesh: Mesh | None,
        ins: Sequence[Sharding | None],
        outs: Sequence[Sharding | None],
    ):
        self.devices: tuple[Any, ...] = devices
        self.mesh: Mesh | None = mesh
        self.ins: tuple[Sharding | None, ...] = tuple(ins)
        self.outs: tuple[Sharding | None, ...] = tuple(outs)
        self.platform: str = platforms.name_of(devices[0])
        self._meshes: dict[str, str] = {}
        # what messages call the program
        self.name = ""

    def header(self) -> str:
        """The declarations of the meshes that the module has named."""
        return "".join(f"sdy.mesh @{name} = {text}\n" for text, name in self._meshes.items())

    def _mesh(self, axes: str, ids: Sequence[int]) -> str:
        order = "" if list(ids) == list(range(len(self.devices))) else f", device_ids={list(ids)}"
        return self._meshes.setdefault(f"<[{axes}]{order}>", f"mesh_{len(self._meshes)}")

    def first_device(self) -> str:
        """The name of the mesh without axes, in the module, that is the first device."""
        return self._meshes.setdefault("<[], device_ids=[0]>", "first_device")

    def mesh_name(self, mesh: AbstractMesh) -> str:
        """The name of a mesh in the module; ValueError for other devices than the program's."""
        axes = ", ".join(
            f'"{axis_name(mesh, name)}"={size}' for name, size in zip(mesh.axis_names, mesh.axis_sizes, strict=True)
        )
        return self._mesh(axes, self.positions(mesh.flat_devices if isinstance(mesh, Mesh) else self.devices))

    def positions(self, devices: tuple[Any, ...]) -> Sequence[int]:
        """The numbers of devices in the program; ValueError for others than its own."""
        if devices == self.devices:
            return range(len(devices))
        place = {device: i for i, device in enumerate(self.devices)}
        if set(devices) != set(place):
            raise ValueError(
                f"one program runs on the devices {[d.id for d in self.devices]}, but a sharding in it names "
                f"{[d.id for d in devices]}. Put all arrays and constraints on meshes of the same devices"
            )
        return [place[device] for device in devices]

    def attribute(self, sharding: Sharding, ndim: int) -> str:
        """A sharding of values of this rank, as an attribute of the module."""
        if isinstance(sharding, NamedSharding):
            entries = [_entry(sharding.mesh, sharding.spec, i) for i in range(ndim)]
            unreduced = ", ".join(f'"{axis_name(sharding.mesh, name)}"' for name in sharding.spec.unreduced)
            more = f", unreduced={{{unreduced}}}" if unreduced else ""
            return f"#sdy.sharding<@{self.mesh_name(sharding.mesh)}, [{', '.join(entries)}]{more}>"
        positions = self.positions(sharding.flat_devices)
        tiles = sharding.tiles(ndim)
        axes = ", ".join(f'"t{i}"={n}' for i, n in enumerate(tiles.shape))
        name = self._mesh(axes, [positions[i] for i in tiles.ravel()])
        entries = [f'{{"t{i}"}}' if n > 1 else "{}" for i, n in enumerate(tiles.shape[:-1])]
        return f"#sdy.sharding<@{name}, [{', '.join(entries)}]>"

    def value(self, mesh: AbstractMesh, spec: PartitionSpec, ndim: int) -> str:
        """A sharding in a list of those of several values."""
        entries = ", ".join([_entry(mesh, spec, i) for i in range(ndim)])
        return f"<@{self.mesh_name(mesh)}, [{entries}]>"

    def axes(self, mesh: AbstractMesh, names: Sequence[Any]) -> str:
        """Axes of a mesh in an attribute."""
        return ", ".join(f'"{axis_name(mesh, name)}"' for name in names)

    def settings(self) -> Any:
        """The compiler's settings."""
        xc = engine.xla_client()
        n = len(self.devices)
        settings = xc.CompileOptions()
        build = settings.executable_build_options
        settings.num_replicas = build.num_replicas = 1
        settings.num_partitions = build.num_partitions = n
        ids = np.array([[device.id for device in self.devices]])
        settings.device_assignment = build.device_assignment = xc.DeviceAssignment.create(ids)
        build.use_spmd_partitioning = build.use_shardy_partitioner = True
        if self.ins:
            build.allow_spmd_sharding_propagation_to_parameters = [sharding is None for sharding in self.ins]
        if self.outs:
            build.allow_spmd_sharding_propagation_to_output = [sharding is None for sharding in self.outs]
        return settings

    def whole(self) -> Sharding:
        """The placement of an array that is entirely on each device."""
        if self.mesh is None:
            return SingleDeviceSharding(self.devices[0])
        return NamedSharding(self.mesh, PartitionSpec())

    def chosen(self, described: AnyValue, ndim: int) -> Sharding:
        """The sharding that the compiler chose for values of this rank, from the engine's description."""
        tiles = tiles_of(engine.xla_client().HloSharding.from_proto(described), ndim, len(self.devices))
        return self.tiled(tiles) if self.mesh is None else spec_of(self.mesh, tiles)

    def tiled(self, tiles: np.ndarray) -> Sharding:
        """The sharding of these parts, without a spec."""
        return TiledSharding(self.devices, tiles)


def axis_name(mesh: AbstractMesh, name: AnyValue) -> str:
    """The name of an axis in a module, which has strings for names."""
    text = str(name)
    return text if isinstance(name, str) and text.isidentifier() else f"axis_{mesh.axis_names.index(name)}"


def _entry(mesh: AbstractMesh, spec: PartitionSpec, i: int) -> str:
    names = ", ".join(f'"{axis_name(mesh, name)}"' for name in spec.of_axis(i))
    is_open = i < len(spec) and spec[i] is PartitionSpec.UNCONSTRAINED
    return "{?}" if is_open else f"{{{names}}}"


def tiles_of(found: AnyValue, ndim: int, count: int) -> np.ndarray:
    """The positions of devices by the part that they hold, see `Sharding.tiles`, from the engine's sharding."""
    if found.is_replicated() or not found.is_tiled():
        return np.arange(count).reshape((1,) * ndim + (count,))
    shape = found.tile_assignment_dimensions()
    counts = shape[:ndim]
    return np.array(found.tile_assignment_devices()).reshape(*counts, -1)
