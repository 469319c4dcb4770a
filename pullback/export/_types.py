"""Types, shardings and safety checks as tables of a file, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pullback._core import dtypes
from pullback._core.dimensions import Dimension, Scope
from pullback._core.meshes import AbstractMesh, AxisType
from pullback._core.sharding import PartitionSpec
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue
from pullback.export._dtypes import DTYPES, NUMBER_OF_DTYPE
from pullback.export._flatbuffers import MalformedFileError
from pullback.export._symbolic import dimension_of_text
from pullback.random.key_arrays import KeyAval

_DEVICE = 1  # the memory that arrays are in
_AXIS_TYPES = (None, AxisType.Auto, AxisType.Explicit, AxisType.Manual)
# no array has more axes, nor a longer one
_MOST_AXES, _LONGEST = 64, 2**63 - 1


@dataclass(frozen=True, slots=True)
class NamedAxes:
    """Where a value is to be: a mesh without devices, and for each axis of the array those of the mesh.

    >>> NamedAxes(AbstractMesh((2,), ("x",)), PartitionSpec("x", None))
    NamedAxes(mesh=AbstractMesh('x': 2, axis_types=(Auto,)), spec=P('x', None))
    """

    mesh: AbstractMesh
    spec: PartitionSpec


class DisabledSafetyCheck:
    """A check that `export` or a call leaves out: made by `platform()` and `custom_call(target)`.

    >>> DisabledSafetyCheck.custom_call("my_kernel")
    custom_call:my_kernel
    """

    __slots__ = ("_text",)
    _text: str

    def __init__(self, _impl: str):
        self._text = _impl

    @classmethod
    def platform(cls) -> DisabledSafetyCheck:
        """The check that the platform of a call is one of those that the function was exported for."""
        return cls("platform")

    @classmethod
    def custom_call(cls, target_name: str) -> DisabledSafetyCheck:
        """The check of calls of a function outside of the module, which may mean another thing elsewhere."""
        return cls(f"custom_call:{target_name}")

    def is_custom_call(self) -> str | None:
        """The name of the function that may be called; None for another check."""
        kind, _, target = self._text.partition(":")
        return target if kind == "custom_call" and target else None

    def __repr__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DisabledSafetyCheck) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def checks_to_tables(checks: Sequence[DisabledSafetyCheck]) -> list[dict[str, Any]]:
    """The tables of disabled checks."""
    targets = [check.is_custom_call() for check in checks]
    return [{"kind": 0} if t is None else {"kind": 1, "custom_call_target": t} for t in targets]


def checks_of_tables(tables: Sequence[Mapping[str, Any]]) -> tuple[DisabledSafetyCheck, ...]:
    """The disabled checks of tables."""
    checks = []
    for i, table in enumerate(tables):
        kind, target = table.get("kind", 0), table.get("custom_call_target")
        if kind == 1 and target is not None:
            checks.append(DisabledSafetyCheck.custom_call(target))
        elif kind == 0:
            checks.append(DisabledSafetyCheck.platform())
        elif kind != 2:  # of shapes: a check that old versions of JAX had
            raise MalformedFileError(f"disabled_checks[{i}]", f"its kind {kind} is unknown")
    return tuple(checks)


def aval_to_table(aval: AnyValue) -> dict[str, Any]:
    """The table of a type."""
    number = NUMBER_OF_DTYPE.get(aval.dtype)
    if number is None:
        raise TypeError(f"serialize: a value of type {aval.str_short()} has no place in the format")
    return {"shape": [str(d) for d in aval.shape], "dtype": number, "memory_space": _DEVICE, "kind": 0}


def aval_of_table(table: Mapping[str, Any], where: str, scope: Scope) -> ShapedArray | KeyAval:
    """The type of a table, its variables in `scope`."""
    if table.get("kind", 0) != 0:
        raise MalformedFileError(f"{where}.kind", f"{table['kind']} is no array")
    number = table.get("dtype", 0)
    dtype = DTYPES[number] if 0 <= number < len(DTYPES) else None
    if dtype is None:
        raise MalformedFileError(f"{where}.dtype", f"the number {number} stands for none that arrays have here")
    shape = table.get("shape", [])
    if len(shape) > _MOST_AXES:
        raise MalformedFileError(f"{where}.shape", f"it has {len(shape)} axes")
    sizes = tuple([_size(d, scope, where) for d in shape])
    return dtype.aval(sizes) if isinstance(dtype, dtypes.ExtendedDType) else make_aval(sizes, dtype)


def _size(text: str, scope: Scope, where: str) -> Any:
    if not (text.isascii() and text.isdigit()):
        try:
            found = dimension_of_text(text, scope)
        except ValueError as error:
            raise MalformedFileError(f"{where}.shape", f"an axis is no number and no expression: {error}") from None
    else:
        found = int(text) if len(text) < 20 else _LONGEST + 1
    if not isinstance(found, Dimension) and not 0 <= found <= _LONGEST:
        raise MalformedFileError(f"{where}.shape", "an axis is longer than any array, or shorter")
    return found


def words_of(aval: AnyValue) -> ShapedArray:
    """The type of the array of a leaf: for keys that of their words."""
    return aval.words if isinstance(aval, KeyAval) else aval


def mesh_to_table(mesh: AbstractMesh) -> dict[str, Any]:
    """The table of the axes of a mesh."""
    return {
        "axis_sizes": list(mesh.axis_sizes),
        "axis_names": [str(name) for name in mesh.axis_names],
        "axis_types": [_AXIS_TYPES.index(kind) for kind in mesh.axis_types],
    }


def mesh_of_table(table: Mapping[str, Any], where: str) -> AbstractMesh:
    """The axes of a mesh."""
    sizes, names = table.get("axis_sizes", []), table.get("axis_names", [])
    kinds = [_AXIS_TYPES[k] if 0 < k < len(_AXIS_TYPES) else None for k in table.get("axis_types", [])]
    if not len(sizes) == len(names) == len(kinds) == len(set(names)) or None in kinds or 0 in sizes:
        raise MalformedFileError(where, f"a mesh with axes {list(zip(names, sizes))} of types {kinds}")
    return AbstractMesh(sizes, names, tuple([kind for kind in kinds if kind is not None]))


def spec_to_table(spec: PartitionSpec, ndim: int) -> dict[str, Any]:
    """The table of a spec."""
    return {
        "partitions": [{"axes": [str(name) for name in spec.of_axis(i)]} for i in range(ndim)],
        "reduced": sorted(map(str, spec.reduced)),
        "unreduced": sorted(map(str, spec.unreduced)),
    }


def named_axes_of_table(table: Mapping[str, Any], meshes: Sequence[AbstractMesh], where: str) -> NamedAxes:
    """The mesh and the spec of a sharding."""
    if meshes:
        index = table.get("abstract_mesh_idx", 0)
        if index >= len(meshes):
            raise MalformedFileError(f"{where}.abstract_mesh_idx", f"{index}, but there are {len(meshes)} meshes")
        mesh = meshes[index]
    else:
        mesh = mesh_of_table(table.get("mesh", {}), f"{where}.mesh")
    given = table.get("spec", {})
    parts = []
    for i, part in enumerate(given.get("partitions", [])):
        names = part.get("axes", [])
        if not all(name in mesh.axis_names for name in names):
            raise MalformedFileError(f"{where}.spec.partitions[{i}]", f"the mesh has no axes {names}")
        parts.append(None if not names else names[0] if len(names) == 1 else tuple(names))
    return NamedAxes(
        mesh, PartitionSpec(*parts, unreduced=given.get("unreduced", ()), reduced=given.get("reduced", ()))
    )
