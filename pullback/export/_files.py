"""Files of exported functions: what `Exported.serialize` writes and `deserialize` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pullback._core.dimensions import Scope
from pullback._core.errors import boundary, described
from pullback._core.meshes import AbstractMesh
from pullback.export import _at_sizes  # noqa: F401, which says how calls find it
from pullback.export._exported import Exported, later
from pullback.export._exporting import NEWEST_CONVENTION, OLDEST_CONVENTION
from pullback.export._flatbuffers import MalformedFileError
from pullback.export._layout import assemble, take_apart
from pullback.export._program import program_to_bytes
from pullback.export._trees import tree_of_table, tree_to_table
from pullback.export._types import (
    NamedAxes,
    aval_of_table,
    aval_to_table,
    checks_of_tables,
    checks_to_tables,
    mesh_of_table,
    mesh_to_table,
    named_axes_of_table,
    spec_to_table,
)

# what readers of JAX's before 2026 look for; the fields tell the rest
_SERIALIZATION_VERSION = 3


def _to_bytes(exported: Exported, vjp_order: int) -> bytearray:
    return assemble(_to_table(exported, vjp_order), _program(exported))


def _program(exported: Exported) -> bytes:
    if not exported.has_program:
        return b""
    return program_to_bytes(exported) if exported._stored_program is None else exported._stored_program


def _to_table(exported: Exported, vjp_order: int) -> dict[str, Any]:
    avals = list(dict.fromkeys([*exported.in_avals, *exported.out_avals]))
    places = [*exported._in_named_shardings, *exported._out_named_shardings]
    named = list(dict.fromkeys([at for at in places if at is not None]))
    meshes = list(dict.fromkeys([at.mesh for at in named]))
    if vjp_order and not exported.has_vjp():
        raise ValueError(f"serialize: {exported.fun_name} holds no derivative of order {vjp_order}")
    return {
        "serialization_version": _SERIALIZATION_VERSION,
        "function_name": exported.fun_name,
        "in_tree": tree_to_table(exported.in_tree),
        "out_tree": tree_to_table(exported.out_tree),
        "nr_devices": exported.nr_devices,
        "platforms": list(exported.platforms),
        "disabled_checks": checks_to_tables(exported.disabled_safety_checks),
        "mlir_module_serialized": exported.mlir_module_serialized,
        "calling_convention_version": exported.calling_convention_version,
        "module_kept_var_idx": list(exported.module_kept_var_idx),
        "uses_global_constants": exported.uses_global_constants,
        "unique_avals": [aval_to_table(aval) for aval in avals],
        "unique_abstract_meshes": [mesh_to_table(mesh) for mesh in meshes],
        "unique_named_shardings": [
            {"spec": spec_to_table(at.spec, len(at.spec)), "abstract_mesh_idx": meshes.index(at.mesh)} for at in named
        ],
        "in_avals_idxs": [avals.index(aval) for aval in exported.in_avals],
        "out_avals_idxs": [avals.index(aval) for aval in exported.out_avals],
        "in_shardings_idxs": [0 if at is None else 1 + named.index(at) for at in exported._in_named_shardings],
        "out_shardings_idxs": [0 if at is None else 1 + named.index(at) for at in exported._out_named_shardings],
        "vjp": _to_table(exported.vjp(), vjp_order - 1) if vjp_order else None,
    }


@boundary
def deserialize(blob: bytes | bytearray | memoryview) -> Exported:
    """The exported function of a file that `Exported.serialize` wrote, or JAX's.

    Nothing in the file is run, and every size is checked before it is used. A file that was damaged is refused by its
    digest; one of JAX's has none, and a damaged module in it may end the process when it is first called.

    Raises: MalformedFileError, a ValueError that names the field, for a file that is damaged or none, or of a version
      that is unknown here; TypeError for anything but bytes.

    >>> import pullback as pb
    >>> from pullback import export
    >>> exported = export.deserialize(export.export(pb.jit(lambda x: x * x))(1.).serialize())
    >>> print(exported.call(3.), pb.vmap(pb.grad(exported.call))(pb.numpy.arange(3.)))
    9.0 [0. 2. 4.]
    """
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise TypeError(f"deserialize: expected the bytes of a file, got {described(blob)}")
    table, program = take_apart(blob)
    return _of_table(table, program, "", Scope())


def _of_table(table: Mapping[str, Any], program: bytes | None, at: str, scope: Scope) -> Exported:
    for field in ("function_name", "in_tree", "out_tree", "platforms", "mlir_module_serialized"):
        if field not in table:
            raise MalformedFileError(f"{at}{field}", "missing: this is no file of an exported function")
    version = table.get("calling_convention_version", 0)
    if not OLDEST_CONVENTION <= version <= NEWEST_CONVENTION:
        raise MalformedFileError(
            f"{at}calling_convention_version",
            f"{version}, but the versions {OLDEST_CONVENTION} to {NEWEST_CONVENTION} are known here",
        )
    for field in ("ordered_effects", "unordered_effects"):
        if table.get(field):
            names = [effect.get("type_name", "?") for effect in table[field]]
            raise MalformedFileError(f"{at}{field}", f"functions with side effects are not called here: {names}")
    in_places, out_places = _places(table, at)
    in_avals, out_avals = _avals(table, "in", at, scope), _avals(table, "out", at, scope)
    for field, given, avals in (("in", in_places, in_avals), ("out", out_places, out_avals)):
        if len(given) != len(avals):
            raise MalformedFileError(f"{at}{field}_shardings_idxs", f"{len(given)} for {len(avals)} values")
    kept = table.get("module_kept_var_idx", [])
    if any(i >= len(in_avals) for i in kept) or kept != sorted(set(kept)):
        raise MalformedFileError(f"{at}module_kept_var_idx", f"{kept} of {len(in_avals)} arguments")
    devices = table.get("nr_devices", 0) or max(table.get("nr_devices_short", 0), 0)
    if devices < 1 or not table.get("platforms"):
        raise MalformedFileError(f"{at}nr_devices", f"{devices} devices of the platforms {table.get('platforms')}")
    exported = Exported(
        table["function_name"],
        tree_of_table(table["in_tree"], in_avals, f"{at}in_tree"),
        in_avals,
        tree_of_table(table["out_tree"], out_avals, f"{at}out_tree"),
        out_avals,
        in_places,
        out_places,
        devices,
        table["platforms"],
        checks_of_tables(table.get("disabled_checks", [])),
        table["mlir_module_serialized"],
        version,
        kept,
        table.get("uses_global_constants", False),
        None,
        _of_table(table["vjp"], None, f"{at}vjp.", scope) if table.get("vjp") else None,
    )
    if program:
        exported.keep_program(program)
    return exported


def _avals(table: Mapping[str, Any], which: str, at: str, scope: Scope) -> list[Any]:
    unique, indices = table.get("unique_avals", []), table.get(f"{which}_avals_idxs")
    if not indices:
        given = [
            aval_of_table(t, f"{at}{which}_avals[{i}]", scope) for i, t in enumerate(table.get(f"{which}_avals", []))
        ]
    else:
        known = [aval_of_table(t, f"{at}unique_avals[{i}]", scope) for i, t in enumerate(unique)]
        _check_indices(f"{at}{which}_avals_idxs", indices, len(known))
        given = [known[i] for i in indices]
    return given


def _places(table: Mapping[str, Any], at: str) -> tuple[list[NamedAxes | None], list[NamedAxes | None]]:
    """The placements of arguments and of results."""
    meshes: list[AbstractMesh] = [
        mesh_of_table(t, f"{at}unique_abstract_meshes[{i}]")
        for i, t in enumerate(table.get("unique_abstract_meshes", []))
    ]
    named = [
        named_axes_of_table(t, meshes, f"{at}unique_named_shardings[{i}]")
        for i, t in enumerate(table.get("unique_named_shardings", []))
    ]

    def of(which: str) -> list[NamedAxes | None]:
        indices: Sequence[int] | None = table.get(f"{which}_shardings_idxs")
        if indices:
            _check_indices(f"{at}{which}_shardings_idxs", indices, len(named) + 1)
            return [None if i == 0 or named[i - 1].mesh.empty else named[i - 1] for i in indices]
        places: list[NamedAxes | None] = []
        for i, t in enumerate(table.get(f"{which}_shardings", [])):
            where = f"{at}{which}_shardings[{i}]"
            if t.get("hlo_sharding_proto"):
                raise MalformedFileError(where, "placements as HLO wrote them before 2026 are not read here")
            given = t.get("named_sharding")
            places.append(None if given is None else named_axes_of_table(given, meshes, f"{where}.named_sharding"))
        return places

    return of("in"), of("out")


def _check_indices(where: str, indices: Sequence[int], count: int) -> None:
    for i, index in enumerate(indices):
        if index >= count:
            raise MalformedFileError(f"{where}[{i}]", f"{index}, but there are {count}")


later.to_bytes = _to_bytes
