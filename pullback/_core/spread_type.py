"""The type of an array that is spread over explicit axes of a mesh, as `typeof` shows it. Programs know it without."""

from __future__ import annotations

from typing import Any

from pullback._core import dtypes
from pullback._core.meshes import AxisType
from pullback._core.placed_array import PlacedArray
from pullback._core.sharding import NamedSharding, PartitionSpec
from pullback._core.types import ShapedArray


class SpreadArrayType(ShapedArray):
    """The type of an array with the placement along explicit axes of its mesh; equal to the type without it."""

    __slots__ = ("_plain", "_sharding")
    _plain: ShapedArray
    _sharding: NamedSharding

    def __new__(cls, plain: ShapedArray, sharding: NamedSharding) -> SpreadArrayType:
        self = object.__new__(cls)
        self.shape, self.dtype, self.weak_type = plain.shape, plain.dtype, plain.weak_type
        self.ndim, self.size, self.scalar = plain.ndim, plain.size, plain.scalar
        self._tangent, self._strong = plain.to_tangent_aval(), plain.strip_weak_type()
        self._plain, self._sharding = plain, sharding
        return self

    @property
    def sharding(self) -> NamedSharding:
        """The placement: over the mesh without its devices, along its explicit axes."""
        return self._sharding

    def without(self) -> ShapedArray:
        """The type without the placement."""
        return self._plain

    def _dimensions(self) -> str:
        parts = []
        for i, size in enumerate(self.shape):
            names = self._sharding.spec.of_axis(i)
            at = f"@({','.join(map(str, names))})" if len(names) > 1 else f"@{names[0]}" if names else ""
            parts.append(f"{size}{at}")
        return f"[{','.join(parts)}]"

    def _named(self) -> str:
        return f"{self.dtype.name}{self._dimensions()}"

    def str_short(self) -> str:
        """The type in short, such as `f32[3@x,4]`."""
        return f"{dtypes.short_name(self.dtype)}{self._dimensions()}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SpreadArrayType):
            return self._plain is other._plain and self._sharding == other._sharding
        return self._plain is other

    def __hash__(self) -> int:
        return hash(self._plain)

    def __reduce__(self) -> tuple[Any, ...]:
        return SpreadArrayType, (self._plain, self._sharding)


def shown_type(x: PlacedArray) -> ShapedArray:
    """The type of an array as `typeof` shows it: with its placement along explicit axes, if there are such."""
    place = x.placement
    if not isinstance(place, NamedSharding) or AxisType.Explicit not in place.mesh.axis_types:
        return x.aval
    mesh = place.mesh
    explicit = {name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind is AxisType.Explicit}
    parts = []
    for i in range(x.aval.ndim):
        names = tuple([name for name in place.spec.of_axis(i) if name in explicit])
        parts.append(names if len(names) > 1 else names[0] if names else None)
    return SpreadArrayType(x.aval, NamedSharding(mesh.abstract_mesh, PartitionSpec(*parts)))
