"""Meshes: arrays of devices with named axes, and the current mesh."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback._core.config import config, set_state
from pullback._core.lazy import LateModule
from pullback._core.typing import AnyValue

if TYPE_CHECKING:
    from pullback._core import notebooks
else:
    notebooks = LateModule("pullback._core.notebooks")


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


def label_of(devices: Sequence[Any]) -> str:
    """The name of devices in drawings: their platform and their numbers."""
    return f"{devices[0].platform.upper()} {','.join(str(device.id) for device in sorted(devices, key=lambda d: d.id))}"


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
    def are_all_axes_auto(self) -> bool:
        """Whether the compiler chooses the placements along every axis; False without axes."""
        return bool(self.axis_types) and all(kind is AxisType.Auto for kind in self.axis_types)

    @property
    def are_all_axes_explicit(self) -> bool:
        """Whether every axis is explicit; False without axes."""
        return bool(self.axis_types) and all(kind is AxisType.Explicit for kind in self.axis_types)

    @property
    def are_all_axes_manual(self) -> bool:
        """Whether every axis is manual; False without axes."""
        return bool(self.axis_types) and all(kind is AxisType.Manual for kind in self.axis_types)

    @property
    def abstract_mesh(self) -> AbstractMesh:
        """The axes alone."""
        return self

    def _key(self) -> tuple[Any, ...]:
        return self.axis_sizes, self.axis_names, self.axis_types

    def __eq__(self, other: object) -> bool:
        return self is other or (type(other) is type(self) and self._key() == other._key())

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        axes = ", ".join(f"{name!r}: {size}" for name, size in self.shape.items())
        types = ", ".join(kind.name for kind in self.axis_types)
        return f"{type(self).__name__}({axes or '()'}, axis_types=({types}{',' * (len(self.axis_types) == 1)}))"


class Mesh(AbstractMesh, ContextDecorator):
    """Devices in an array with named axes.

    ValueError for names that do not fit the array's axes, and for a device that occurs twice.

    >>> import pullback as pb
    >>> mesh = Mesh(pb.devices()[:1], ("x",))
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
        self.devices.flags.writeable = False
        names = _axis_names("Mesh", axis_names)
        if self.devices.ndim != len(names):
            raise ValueError(
                f"Mesh: expected a name for each of the {self.devices.ndim} axes of the array of devices, got {names}"
            )
        if len(set(self.devices.flat)) != self.devices.size:
            raise ValueError(f"Mesh: the devices must differ, got {list(self.devices.flat)}")
        super().__init__(self.devices.shape, names, axis_types)

    @cached_property
    def flat_devices(self) -> tuple[Any, ...]:
        """The devices row by row: their order in compiled programs."""
        return tuple(self.devices.flat)

    @cached_property
    def abstract_mesh(self) -> AbstractMesh:
        """The axes alone."""
        return AbstractMesh(self.axis_sizes, self.axis_names, self.axis_types)

    @cached_property
    def local_devices(self) -> list[Any]:
        """The devices of the mesh in this process."""
        return [device for device in self.flat_devices if device.process_index == device.client.process_index()]

    @property
    def local_mesh(self) -> Mesh:
        """The part of the mesh in this process; ValueError if its devices form no box in the mesh."""
        if not self.is_multi_process:
            return self
        mine = np.isin(self.device_ids, [device.id for device in self.local_devices])
        box = tuple(slice(where.min(), where.max() + 1) for where in np.nonzero(mine))
        if self.devices[box].size != len(self.local_devices):
            raise ValueError(f"{self}.local_mesh: the devices of this process form no box in the mesh")
        return Mesh(self.devices[box], self.axis_names, self.axis_types)

    @property
    def device_ids(self) -> np.ndarray:
        """The numbers of the devices, in the shape of the mesh."""
        return np.array([device.id for device in self.flat_devices], int).reshape(self.devices.shape)

    @property
    def is_multi_process(self) -> bool:
        """Whether there are devices of other processes."""
        return len(self.local_devices) != self.devices.size

    def _repr_html_(self) -> str:
        rows = self.devices.reshape(-1, self.devices.shape[-1] if self.devices.ndim else 1)
        return notebooks.grid(repr(self), [[label_of([device]) for device in row] for row in rows])

    def __enter__(self) -> Mesh:
        set_state("meshes", (*config.meshes, self))
        return self

    def __exit__(self, *error: object) -> None:
        set_state("meshes", config.meshes[:-1])

    @cached_property
    def _known_key(self) -> tuple[Any, ...]:
        return *super()._key(), self.flat_devices

    @cached_property
    def _known_hash(self) -> int:
        return hash(self._known_key)

    def _key(self) -> tuple[Any, ...]:
        return self._known_key

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    def __hash__(self) -> int:
        return self._known_hash

    def __reduce__(self) -> str | tuple[Any, ...]:
        platform = _platform_of(self.devices.flat[0]) if self.devices.size else "cpu"
        return _mesh_of_ids, (self.device_ids, self.axis_names, self.axis_types, platform)


def _mesh_of_ids(ids: np.ndarray, names: tuple[Any, ...], types: tuple[AxisType, ...], platform: str = "cpu") -> Mesh:
    """The mesh of the devices with these numbers, of a platform of this process."""
    known = {device.id: device for device in _devices_of(platform)}
    missing = sorted(set(ids.flat) - set(known))
    if missing:
        raise ValueError(f"unpickling a mesh: there are no devices of the numbers {missing} here, only {sorted(known)}")
    return Mesh(np.array([known[i] for i in ids.flat], object).reshape(ids.shape), names, types)


def _load_platforms(platform: str) -> Sequence[Any]:
    import_module("pullback._xla.platforms")  # installs the functions
    return _devices_of(platform)


_devices_of: Callable[[str], Sequence[Any]] = _load_platforms
_platform_of: Callable[[Any], str]


def install_devices(devices_of: Callable[[str], Sequence[Any]], platform_of: Callable[[Any], str]) -> None:
    """Install the functions that list a platform's devices and name a device's platform (called once)."""
    global _devices_of, _platform_of
    _devices_of, _platform_of = devices_of, platform_of


NO_MESH = AbstractMesh((), ())
