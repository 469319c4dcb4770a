"""The placement of arrays, as types: meshes of devices, and the ways to spread an array over them.

There is one device, so every placement is the whole array on it. Programs that name their meshes run unchanged on a
mesh of one device; a mesh of more is refused.
"""

from __future__ import annotations

import enum
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ContextDecorator
from typing import Any, ClassVar

import numpy as np

from pullback._core.errors import described
from pullback._core.typing import AnyValue, Shape


class AxisType(enum.Enum):
    """What decides how arrays are spread along an axis of a mesh.

    >>> AxisType.Auto
    <AxisType.Auto: 1>
    """

    Auto = enum.auto()
    Explicit = enum.auto()
    Manual = enum.auto()

    def __repr__(self) -> str:
        return f"<AxisType.{self.name}: {self.value}>"


class PartitionSpec:
    """For each axis of an array, the axes of a mesh that it is spread over: a name, a tuple of names, or None.

    TypeError for anything else.

    >>> spec = PartitionSpec("x", None)
    >>> spec, spec[0], len(spec), spec == PartitionSpec("x", None)
    (P('x', None), 'x', 2, True)
    """

    __slots__ = ("partitions", "unreduced", "reduced")
    UNCONSTRAINED: ClassVar[Any]

    def __init__(self, *partitions: AnyValue, unreduced: AnyValue = frozenset(), reduced: AnyValue = frozenset()):
        for part in partitions:
            for name in part if isinstance(part, tuple) else (part,):
                if not (name is None or isinstance(name, (str, _Unconstrained))):
                    raise TypeError(
                        "PartitionSpec: expected names of axes of a mesh, tuples of names, or None, got "
                        f"{described(part)}"
                    )
        self.partitions: tuple[Any, ...] = partitions
        self.unreduced: frozenset[Any] = frozenset(unreduced)
        self.reduced: frozenset[Any] = frozenset(reduced)

    def __getitem__(self, index: Any) -> Any:
        return self.partitions[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.partitions)

    def __len__(self) -> int:
        return len(self.partitions)

    def __add__(self, other: object) -> PartitionSpec:
        if not isinstance(other, (PartitionSpec, tuple)):
            return NotImplemented
        return PartitionSpec(*self.partitions, *other)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PartitionSpec) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return self.partitions, self.unreduced, self.reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return PartitionSpec, self.partitions

    def __repr__(self) -> str:
        return f"P({', '.join(map(repr, self.partitions))})"


class _Unconstrained:
    """Stands for an axis of an array that may be spread over any axes of a mesh."""

    def __repr__(self) -> str:
        return "UNCONSTRAINED"


PartitionSpec.UNCONSTRAINED = _Unconstrained()


def _axis_names(what: str, names: Any) -> tuple[Any, ...]:
    given = (names,) if isinstance(names, str) else tuple(names)
    if len(set(given)) != len(given):
        raise ValueError(f"{what}: the names of the axes must differ, got {given}")
    return given


def _axis_types(what: str, types: Any, count: int) -> tuple[AxisType, ...]:
    given = (AxisType.Auto,) * count if types is None else (types,) * count if isinstance(types, AxisType) else types
    if len(given) != count or not all(isinstance(kind, AxisType) for kind in given):
        raise ValueError(f"{what}: axis_types must be an AxisType for each of {count} axes, got {types!r}")
    return tuple(given)


class AbstractMesh:
    """The axes of a mesh, without devices: sizes and names.

    ValueError for names and sizes of different numbers, and for equal names.

    >>> mesh = AbstractMesh((1, 1), ("x", "y"))
    >>> mesh.shape["x"], mesh.axis_names, mesh.empty
    (1, ('x', 'y'), False)
    """

    def __init__(
        self,
        axis_sizes: Sequence[int],
        axis_names: str | Sequence[Any],
        axis_types: AxisType | tuple[AxisType, ...] | None = None,
        *,
        abstract_device: AnyValue = None,
    ):
        self.axis_sizes: tuple[int, ...] = tuple(axis_sizes)
        self.axis_names: tuple[Any, ...] = _axis_names(type(self).__name__, axis_names)
        if len(self.axis_sizes) != len(self.axis_names):
            raise ValueError(
                f"{type(self).__name__}: expected a name for each axis, got sizes {self.axis_sizes} and names "
                f"{self.axis_names}"
            )
        self.axis_types: tuple[AxisType, ...] = _axis_types(type(self).__name__, axis_types, len(self.axis_names))

    @property
    def shape(self) -> OrderedDict[Any, int]:
        """The sizes of the axes by their names."""
        return OrderedDict(zip(self.axis_names, self.axis_sizes, strict=True))

    @property
    def shape_tuple(self) -> tuple[tuple[Any, int], ...]:
        """Pairs of names and sizes."""
        return tuple(self.shape.items())

    @property
    def size(self) -> int:
        """The number of devices; 0 without axes."""
        return math.prod(self.axis_sizes) if self.axis_sizes else 0

    @property
    def empty(self) -> bool:
        """Whether there are no axes."""
        return not self.axis_names

    @property
    def abstract_mesh(self) -> AbstractMesh:
        """The axes alone."""
        return self

    def _key(self) -> tuple[Any, ...]:
        return self.axis_sizes, self.axis_names, self.axis_types

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        axes = ", ".join(f"{name!r}: {size}" for name, size in self.shape.items())
        types = ", ".join(kind.name for kind in self.axis_types)
        return f"{type(self).__name__}({axes or '()'}, axis_types=({types}{',' * (len(self.axis_types) == 1)}))"


class Mesh(AbstractMesh, ContextDecorator):
    """Devices in an array with named axes: of one device, since there is one.

    NotImplementedError for more than one device, ValueError for names that do not fit the array's axes.

    >>> import pullback as pb
    >>> mesh = Mesh(pb.devices(), ("x",))
    >>> mesh, mesh.size
    (Mesh('x': 1, axis_types=(Auto,)), 1)
    """

    devices: np.ndarray

    def __init__(
        self,
        devices: AnyValue,
        axis_names: str | Sequence[Any],
        axis_types: AxisType | tuple[AxisType, ...] | None = None,
    ):
        self.devices = np.array(devices, dtype=object)
        if self.devices.size > 1:
            raise NotImplementedError(
                f"Mesh: there is one device, and meshes of several are planned, not written yet; got {devices!r}"
            )
        names = _axis_names("Mesh", axis_names)
        if self.devices.ndim != len(names):
            raise ValueError(
                f"Mesh: expected a name for each of the {self.devices.ndim} axes of the array of devices, got {names}"
            )
        super().__init__(self.devices.shape, names, axis_types)

    @property
    def abstract_mesh(self) -> AbstractMesh:
        """The axes alone."""
        return AbstractMesh(self.axis_sizes, self.axis_names, self.axis_types)

    @property
    def local_mesh(self) -> Mesh:
        """The part of the mesh in this process: all of it."""
        return self

    @property
    def local_devices(self) -> list[Any]:
        """The devices of the mesh in this process, which are all."""
        return list(self.devices.flat)

    @property
    def device_ids(self) -> np.ndarray:
        """The numbers of the devices, in the shape of the mesh."""
        return np.array([device.id for device in self.devices.flat], int).reshape(self.devices.shape)

    @property
    def is_multi_process(self) -> bool:
        """Whether there are devices of other processes: never."""
        return False

    def __enter__(self) -> Mesh:
        current.meshes = (*current.meshes, self)
        return self

    def __exit__(self, *error: object) -> None:
        current.meshes = current.meshes[:-1]

    def _key(self) -> tuple[Any, ...]:
        return *super()._key(), tuple(self.devices.flat)


class _Current(threading.local):
    """The meshes that this thread has entered."""

    meshes: tuple[AbstractMesh, ...] = ()


current = _Current()
NO_MESH = AbstractMesh((), ())


class Sharding:
    """The placement of an array on devices. Its kinds: `SingleDeviceSharding`, `NamedSharding`.

    >>> import pullback as pb
    >>> isinstance(pb.numpy.ones(2).sharding, Sharding)
    True
    """

    __slots__ = ()

    @property
    def device_set(self) -> set[Any]:
        """The devices that hold a part of the array."""
        raise NotImplementedError(f"{type(self).__name__} has no devices")

    @property
    def addressable_devices(self) -> set[Any]:
        """Those of this process: all of them."""
        return self.device_set

    @property
    def num_devices(self) -> int:
        """The number of devices."""
        return len(self.device_set)

    @property
    def is_fully_replicated(self) -> bool:
        """Whether each device holds the whole array: always, of one device."""
        return True

    @property
    def is_fully_addressable(self) -> bool:
        """Whether all devices belong to this process: always."""
        return True

    @property
    def memory_kind(self) -> str | None:
        """The kind of memory: that of the device."""
        return "device"

    def with_memory_kind(self, kind: str) -> Sharding:
        """The placement in another kind of memory; ValueError for others than that of the device."""
        if kind not in ("device", "unpinned_host"):
            raise ValueError(f"with_memory_kind: the one kind of memory is 'device', got {kind!r}")
        return self

    def shard_shape(self, global_shape: Shape) -> Shape:
        """The shape of the part of an array on one device: that of the array."""
        return tuple(global_shape)

    def devices_indices_map(self, global_shape: Shape) -> dict[Any, tuple[slice, ...]]:
        """The part of an array that each device holds, as an index: everything."""
        return {device: (slice(None),) * len(global_shape) for device in self.device_set}

    addressable_devices_indices_map = devices_indices_map

    def is_equivalent_to(self, other: Sharding, ndim: int) -> bool:
        """Whether arrays of this rank are placed equally: if the devices are the same."""
        return self.device_set == other.device_set


class SingleDeviceSharding(Sharding):
    """The placement of an array: entirely on one device.

    >>> import pullback as pb
    >>> pb.numpy.ones(2).sharding == SingleDeviceSharding(pb.devices()[0])
    True
    """

    __slots__ = ("device",)

    def __init__(self, device: AnyValue, *, memory_kind: str | None = None):
        self.device: Any = device
        if memory_kind is not None:
            self.with_memory_kind(memory_kind)

    @property
    def device_set(self) -> set[Any]:
        """The one device."""
        return {self.device}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SingleDeviceSharding) and self.device == other.device

    def __hash__(self) -> int:
        return hash(self.device)

    def __repr__(self) -> str:
        return f"SingleDeviceSharding(device={self.device!r})"


class NamedSharding(Sharding):
    """The placement of an array over a mesh: for each axis of the array, the axes of the mesh that it is spread over.

    TypeError for anything but a mesh and a `PartitionSpec`, ValueError for names that the mesh has not.

    >>> import pullback as pb
    >>> NamedSharding(Mesh(pb.devices(), ("x",)), PartitionSpec("x", None))
    NamedSharding(mesh=Mesh('x': 1, axis_types=(Auto,)), spec=P('x', None))
    """

    __slots__ = ("mesh", "spec")

    def __init__(self, mesh: AbstractMesh, spec: PartitionSpec, *, memory_kind: str | None = None):
        if not isinstance(mesh, AbstractMesh) or not isinstance(spec, PartitionSpec):
            raise TypeError(f"NamedSharding: expected a Mesh and a PartitionSpec, got {mesh!r} and {spec!r}")
        for part in spec:
            for name in part if isinstance(part, tuple) else (part,):
                if isinstance(name, str) and name not in mesh.axis_names:
                    raise ValueError(
                        f"NamedSharding: {spec} names the axis {name!r}, but the mesh has {mesh.axis_names}"
                    )
        if memory_kind is not None:
            self.with_memory_kind(memory_kind)
        self.mesh: AbstractMesh = mesh
        self.spec: PartitionSpec = spec

    @property
    def device_set(self) -> set[Any]:
        """The devices of the mesh."""
        return set(self.mesh.devices.flat) if isinstance(self.mesh, Mesh) else set()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedSharding) and (self.mesh, self.spec) == (other.mesh, other.spec)

    def __hash__(self) -> int:
        return hash((self.mesh, self.spec))

    def __repr__(self) -> str:
        return f"NamedSharding(mesh={self.mesh!r}, spec={self.spec!r})"


def unspread(ndim: int) -> NamedSharding:
    """The placement in the type of an array of that rank: spread over no axis of any mesh."""
    return NamedSharding(NO_MESH, PartitionSpec(*(None,) * ndim))
