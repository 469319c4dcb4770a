"""Shardings: the placement of arrays on devices, and the specs that name the axes of a mesh."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pullback._core.errors import described
from pullback._core.lazy import LateModule
from pullback._core.meshes import NO_MESH, AbstractMesh, Mesh, label_of
from pullback._core.typing import AnyValue, Shape

if TYPE_CHECKING:
    from pullback._core import notebooks
else:
    notebooks = LateModule("pullback._core.notebooks")

Index = tuple[slice, ...]


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

    def index(self, part: AnyValue) -> int:
        """The first axis of the array with this entry; ValueError if none has it."""
        return self.partitions.index(part)

    def count(self, part: AnyValue) -> int:
        """The number of axes of the array with this entry."""
        return self.partitions.count(part)

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
        return _spec, (self.partitions, self.unreduced, self.reduced)

    def of_axis(self, i: int) -> tuple[Any, ...]:
        """The names of the mesh's axes that an axis of the array is spread over."""
        part = self.partitions[i] if i < len(self.partitions) else None
        if part is None or isinstance(part, _Unconstrained):
            return ()
        return part if isinstance(part, tuple) else (part,)

    @property
    def names(self) -> tuple[Any, ...]:
        """All axes of a mesh that it names."""
        return tuple([name for i in range(len(self.partitions)) for name in self.of_axis(i)])

    def __repr__(self) -> str:
        parts = [repr(part) for part in self.partitions]
        for sums in ("unreduced", "reduced"):
            if names := getattr(self, sums):
                parts.append(f"{sums}={{{', '.join(sorted(map(repr, names)))}}}")
        # one entry alone with the comma of a tuple
        return f"P({', '.join(parts)}{',' * (len(parts) == len(self.partitions) == 1)})"


def _spec(partitions, unreduced, reduced):
    return PartitionSpec(*partitions, unreduced=unreduced, reduced=reduced)


class _Unconstrained:
    """Stands for an axis of an array that may be spread over any axes of a mesh."""

    def __reduce__(self) -> str | tuple[Any, ...]:
        return getattr, (PartitionSpec, "UNCONSTRAINED")

    def __repr__(self) -> str:
        return "UNCONSTRAINED"


PartitionSpec.UNCONSTRAINED = _Unconstrained()


class Sharding:
    """The placement of an array on devices. Its kinds: `SingleDeviceSharding`, `NamedSharding`.

    >>> import pullback as pb
    >>> isinstance(pb.numpy.ones(2).sharding, Sharding)
    True
    """

    __slots__ = ("_here", "_tiles_by_rank")

    @property
    def flat_devices(self) -> tuple[Any, ...]:
        """The devices in the order of compiled programs."""
        raise NotImplementedError(f"{type(self).__name__} has no devices")

    def _tiles(self, ndim: int) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} says nothing about parts")

    def tiles(self, ndim: int) -> np.ndarray:
        """The positions of devices in `flat_devices`, by the part of an array of this rank that they hold.

        Of shape `(*counts, copies)`: the number of parts along each axis, and of devices with the same part.
        """
        try:
            return self._tiles_by_rank[ndim]
        except (AttributeError, KeyError):
            if not hasattr(self, "_tiles_by_rank"):
                self._tiles_by_rank: dict[int, np.ndarray] = {}
            result = self._tiles_by_rank[ndim] = self._tiles(ndim)
            return result

    @property
    def device_set(self) -> set[Any]:
        """The devices that hold a part of the array."""
        return set(self.flat_devices)

    # two names of JAX's inside that orbax reads
    @property
    def _device_assignment(self) -> tuple[Any, ...]:
        return tuple(self.flat_devices)

    @property
    def _addressable_device_assignment(self) -> tuple[Any, ...]:
        return tuple(device for device in self.flat_devices if device in self.addressable_devices)

    @property
    def addressable_devices(self) -> set[Any]:
        """Those of this process."""
        try:
            return self._here
        except AttributeError:
            own = {device for device in self.flat_devices if device.process_index == device.client.process_index()}
            self._here: set[Any] = own
            return own

    @property
    def num_devices(self) -> int:
        """The number of devices."""
        return len(self.flat_devices)

    @property
    def is_fully_replicated(self) -> bool:
        """Whether each device holds the whole array."""
        return len(self.flat_devices) == 1

    @property
    def is_fully_addressable(self) -> bool:
        """Whether all devices belong to this process."""
        return len(self.addressable_devices) == len(self.flat_devices)

    @property
    def memory_kind(self) -> str | None:
        """The kind of memory: that of the devices, None for a mesh without devices."""
        return "device" if self.flat_devices else None

    def with_memory_kind(self, kind: str) -> Sharding:
        """The placement in another kind of memory; ValueError for others than that of the device."""
        if kind not in ("device", "unpinned_host"):
            raise ValueError(f"with_memory_kind: the one kind of memory is 'device', got {kind!r}")
        return self

    def shard_shape(self, global_shape: Shape) -> Shape:
        """The shape of the part of an array on one device; ValueError for axes that cannot be divided.

        >>> import pullback as pb
        >>> NamedSharding(Mesh(pb.devices()[:1], "x"), PartitionSpec("x")).shard_shape((4, 2))
        (4, 2)
        """
        shape = tuple(global_shape)
        counts = self.tiles(len(shape)).shape[:-1]
        for i, (size, count) in enumerate(zip(shape, counts, strict=True)):
            if size % count:
                raise ValueError(self.indivisible(shape, i, count))
        return tuple([size // count for size, count in zip(shape, counts, strict=True)])

    def indivisible(self, shape: Shape, axis: int, count: int) -> str:
        """The message for an axis of an array that cannot be divided equally."""
        return (
            f"axis {axis} of the shape {shape} cannot be divided into {count} equal parts, as {self} asks for. Pad the "
            f"array to a multiple of {count}, or leave the axis whole with None in the spec"
        )

    def devices_indices_map(self, global_shape: Shape) -> dict[Any, Index]:
        """The part of an array that each device holds, as an index.

        >>> import pullback as pb
        >>> place = NamedSharding(Mesh(pb.devices()[:1], "x"), PartitionSpec("x"))
        >>> list(place.devices_indices_map((4, 2)).values())
        [(slice(None, None, None), slice(None, None, None))]
        """
        return dict(zip(self.flat_devices, self.indices(tuple(global_shape)), strict=True))

    def addressable_devices_indices_map(self, global_shape: Shape) -> dict[Any, Index]:
        """Those of the devices of this process."""
        mine = self.addressable_devices
        return {device: index for device, index in self.devices_indices_map(global_shape).items() if device in mine}

    def indices(self, shape: Shape) -> list[Index]:
        """The part of an array of this shape for each of `flat_devices`."""
        tiles = self.tiles(len(shape))
        part = self.shard_shape(shape)
        result: list[Any] = [None] * len(self.flat_devices)
        for place in np.ndindex(tiles.shape):
            result[tiles[place]] = tuple(
                [
                    slice(None) if count == 1 else slice(k * n, (k + 1) * n)
                    for k, n, count in zip(place, part, tiles.shape, strict=False)
                ]
            )
        return result

    def is_equivalent_to(self, other: Sharding, ndim: int) -> bool:
        """Whether each device holds the same part of arrays of this rank."""
        if self is other or self == other:
            return True
        if self.flat_devices != other.flat_devices:
            return False
        mine, theirs = self.tiles(ndim), other.tiles(ndim)
        return mine.shape == theirs.shape and np.array_equal(np.sort(mine, -1), np.sort(theirs, -1))


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
    def flat_devices(self) -> tuple[Any, ...]:
        """The one device."""
        return (self.device,)

    @property
    def is_fully_replicated(self) -> bool:
        """Always: the one device holds the whole array."""
        return True

    def _tiles(self, ndim: int) -> np.ndarray:
        return np.zeros((1,) * (ndim + 1), int)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, SingleDeviceSharding) and self.device == other.device)

    def __hash__(self) -> int:
        return hash(self.device)

    def __reduce__(self) -> tuple[Any, ...]:
        return _on_mesh, (Mesh([self.device], ("device",)),)

    def __repr__(self) -> str:
        return f"SingleDeviceSharding(device={self.device!r}, memory_kind={self.memory_kind})"


def _on_mesh(mesh: Mesh) -> SingleDeviceSharding:
    return SingleDeviceSharding(mesh.flat_devices[0])


class NamedSharding(Sharding):
    """The placement of an array over a mesh: for each axis of the array, the axes of the mesh that it is spread over.

    TypeError for anything but a mesh and a `PartitionSpec`, ValueError for names that the mesh has not, and for a name
    that occurs twice.

    >>> import pullback as pb
    >>> NamedSharding(Mesh(pb.devices()[:1], ("x",)), PartitionSpec("x", None))
    NamedSharding(mesh=Mesh('x': 1, axis_types=(Auto,)), spec=P('x', None), memory_kind=device)
    """

    __slots__ = ("mesh", "spec", "_hash")
    _hash: int

    def __init__(self, mesh: AbstractMesh, spec: PartitionSpec, *, memory_kind: str | None = None):
        if not isinstance(mesh, AbstractMesh) or not isinstance(spec, PartitionSpec):
            raise TypeError(f"NamedSharding: expected a Mesh and a PartitionSpec, got {mesh!r} and {spec!r}")
        seen = set()
        for name in (*spec.names, *spec.unreduced, *spec.reduced):
            if name not in mesh.axis_names:
                raise ValueError(f"NamedSharding: {spec} names the axis {name!r}, but the mesh has {mesh.axis_names}")
            if name in seen:
                raise ValueError(f"NamedSharding: {spec} names the axis {name!r} of the mesh twice")
            seen.add(name)
        if memory_kind is not None:
            self.with_memory_kind(memory_kind)
        self.mesh: AbstractMesh = mesh
        self.spec: PartitionSpec = spec

    @property
    def flat_devices(self) -> tuple[Any, ...]:
        """The devices of the mesh, row by row."""
        return self.mesh.flat_devices if isinstance(self.mesh, Mesh) else ()

    @property
    def is_fully_replicated(self) -> bool:
        """Whether each device holds the whole array."""
        sizes = self.mesh.shape
        return math.prod([sizes[name] for name in self.spec.names]) == 1

    def _tiles(self, ndim: int) -> np.ndarray:
        mesh, spec = self.mesh, self.spec
        if len(spec) > ndim:
            raise ValueError(
                f"{spec} has {len(spec)} entries, but the array has {ndim} ax{'i' if ndim == 1 else 'e'}s: one entry "
                "for each axis, or fewer"
            )
        sizes = mesh.shape
        counts = [math.prod([sizes[name] for name in spec.of_axis(i)]) for i in range(ndim)]
        named = [mesh.axis_names.index(name) for name in spec.names]
        rest = [i for i in range(len(mesh.axis_names)) if i not in named]
        positions = np.arange(math.prod(mesh.axis_sizes)).reshape(mesh.axis_sizes)
        return positions.transpose(*named, *rest).reshape(*counts, -1)

    def update(self, *, mesh: AbstractMesh | None = None, spec: PartitionSpec | None = None) -> NamedSharding:
        """The placement with another mesh or spec."""
        return NamedSharding(self.mesh if mesh is None else mesh, self.spec if spec is None else spec)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, NamedSharding) and self.spec == other.spec and self.mesh == other.mesh
        )

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            self._hash = hash((self.mesh, self.spec))
            return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedSharding, (self.mesh, self.spec)

    def __repr__(self) -> str:
        kind = self.memory_kind
        return f"NamedSharding(mesh={self.mesh!r}, spec={self.spec!r}{f', memory_kind={kind}' if kind else ''})"

    def _repr_html_(self) -> str:
        devices = self.flat_devices
        if not devices or len(self.spec) > 2:
            return notebooks.preformatted(repr(self))
        tiles = self.tiles(len(self.spec))
        # a part of the array in each box, the axis of an array of one axis from left to right
        boxes = tiles.reshape(*(1,) * (3 - tiles.ndim), *tiles.shape)
        labels = [[label_of([devices[i] for i in box]) for box in row] for row in boxes]
        return notebooks.grid(repr(self), labels)


class TiledSharding(Sharding):
    """A placement that the compiler chose and that no spec of the mesh expresses: the parts, one by one."""

    __slots__ = ("devices", "positions")

    def __init__(self, devices: Sequence[Any], positions: np.ndarray):
        self.devices: tuple[Any, ...] = tuple(devices)
        self.positions: np.ndarray = positions

    @property
    def flat_devices(self) -> tuple[Any, ...]:
        """The devices in the order of the program that chose the placement."""
        return self.devices

    @property
    def is_fully_replicated(self) -> bool:
        """Whether each device holds the whole array."""
        return self.positions.shape[-1] == self.positions.size

    def _tiles(self, ndim: int) -> np.ndarray:
        return self.positions

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, TiledSharding)
            and self.devices == other.devices
            and np.array_equal(self.positions, other.positions)
        )

    def __hash__(self) -> int:
        return hash((self.devices, self.positions.tobytes()))

    def __repr__(self) -> str:
        return f"TiledSharding({self.positions.shape[:-1]}, {len(self.devices)} devices)"


def unspread(ndim: int) -> NamedSharding:
    """The placement in the type of an array of that rank: spread over no axis of any mesh."""
    return NamedSharding(NO_MESH, PartitionSpec(*(None,) * ndim))


def spec_of(mesh: Mesh, tiles: np.ndarray) -> NamedSharding | TiledSharding:
    """The placement over the mesh, in the order of its devices, with these parts."""
    ndim = tiles.ndim - 1
    for parts in _assignments(tiles.shape[:-1], [n for n, size in mesh.shape.items() if size > 1], mesh.shape):
        while parts and parts[-1] is None:
            parts.pop()
        candidate = NamedSharding(mesh, PartitionSpec(*parts))
        if np.array_equal(np.sort(candidate.tiles(ndim), -1), np.sort(tiles, -1)):
            return candidate
    return TiledSharding(mesh.flat_devices, tiles)


def _assignments(counts: Sequence[int], free: Sequence[Any], sizes: Any) -> Iterator[list[Any]]:
    """The ways to choose distinct axes of a mesh for each axis of an array, whose sizes have these products."""
    if not counts:
        yield []
        return
    for names in _products(counts[0], free, sizes):
        rest = [name for name in free if name not in names]
        for others in _assignments(counts[1:], rest, sizes):
            yield [None if not names else names[0] if len(names) == 1 else names, *others]


def _products(count: int, free: Sequence[Any], sizes: Any) -> Iterator[tuple[Any, ...]]:
    if count == 1:
        yield ()
        return
    for name in free:
        if count % sizes[name] == 0:
            rest = [other for other in free if other != name]
            for names in _products(count // sizes[name], rest, sizes):
                yield (name, *names)
