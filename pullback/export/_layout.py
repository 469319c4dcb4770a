"""The layout of a file: JAX's table `Exported`, then the program and a seal, which JAX's reader does not look at.

    +----------------------------+
    | the table, a FlatBuffer    |  as JAX 0.10 reads and writes it
    +----------------------------+
    | the program                |  see `_program`; absent in files of JAX's
    +----------------------------+
    | seal, 56 bytes             |  u64 where the program begins, u64 where it ends, SHA-256 of all bytes before the
    +----------------------------+  digest, and the mark

The seal tells whether a byte was damaged. StableHLO's own reader ends the process for some damaged modules, so that a
module is given to it only from a file whose seal is right, or that has none because it is JAX's.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Any

from pullback.export._flatbuffers import MalformedFileError, read, tables, write

# the tables of jax.export's files, with their fields in the order of slots; version 11 of the format
TABLES = tables(
    {
        "PyTreeDef": "kind:i8 children:[PyTreeDef] children_names:[string] custom_name:string custom_auxdata:[u8]",
        "AbstractDevice": "device_kind:string num_cores:u32 platform:string",
        "AbstractMesh": "axis_sizes:[u32] axis_names:[string] axis_types:[i8] abstract_device:AbstractDevice",
        "PartitionSpecOneAxis": "axes:[string]",
        "PartitionSpec": "partitions:[PartitionSpecOneAxis] reduced:[string] unreduced:[string]",
        "NamedSharding": "mesh:AbstractMesh spec:PartitionSpec memory_kind:string abstract_mesh_idx:u32",
        "AbstractValue": "kind:i8 shape:[string] dtype:i8 memory_space:i8",
        "Sharding": "kind:i8 hlo_sharding_proto:[u8] named_sharding:NamedSharding",
        "Effect": "type_name:string",
        "DisabledSafetyCheck": "kind:i8 custom_call_target:string",
        "Exported": (
            "serialization_version:u16 function_name:string in_tree:PyTreeDef in_avals:[AbstractValue] "
            "out_tree:PyTreeDef out_avals:[AbstractValue] nr_devices_short:i16 in_shardings:[Sharding] "
            "out_shardings:[Sharding] platforms:[string] ordered_effects:[Effect] unordered_effects:[Effect] "
            "disabled_checks:[DisabledSafetyCheck] mlir_module_serialized:[u8] calling_convention_version:u16 "
            "module_kept_var_idx:[u16] uses_global_constants:bool vjp:Exported nr_devices:u32 "
            "unique_avals:[AbstractValue] unique_abstract_meshes:[AbstractMesh] "
            "unique_named_shardings:[NamedSharding] in_avals_idxs:[u32] out_avals_idxs:[u32] "
            "in_shardings_idxs:[u32] out_shardings_idxs:[u32]"
        ),
    }
)
_MARK = b"pullback"
# in a field that JAX does not write any more, and does not read where there is `nr_devices`: that a seal follows
_SEALED = -1
_SEAL = struct.Struct("<QQ32s8s")
_SPAN = struct.Struct("<QQ")


def assemble(table: Mapping[str, Any], program: bytes) -> bytearray:
    """The bytes of a file."""
    out = write({**table, "nr_devices_short": _SEALED}, TABLES, "Exported")
    begin = len(out)
    out += program
    out += _SPAN.pack(begin, len(out))
    out += hashlib.sha256(out).digest()
    out += _MARK
    return out


def take_apart(data: bytes | bytearray | memoryview) -> tuple[dict[str, Any], bytes | None]:
    """The table of a file and its program, None if it has no seal. MalformedFileError for damaged and foreign files."""
    view = memoryview(data).cast("B").toreadonly()
    if len(view) < 8:
        raise MalformedFileError("file", f"it has {len(view)} bytes, too few for an exported function")
    if bytes(view[-8:]) != _MARK:
        table = read(view, TABLES, "Exported")
        if table.get("nr_devices_short") == _SEALED:
            raise MalformedFileError("seal", "it is missing: the file was cut off, or damaged")
        return table, None
    if len(view) < _SEAL.size:
        raise MalformedFileError("seal", f"the file has {len(view)} bytes, too few for it")
    begin, end, digest, _ = _SEAL.unpack_from(view, len(view) - _SEAL.size)
    if hashlib.sha256(view[:-40]).digest() != digest:
        raise MalformedFileError("seal", "the SHA-256 digest differs: the file was damaged on its way")
    if not 8 <= begin <= end == len(view) - _SEAL.size:
        raise MalformedFileError("seal", f"the program is said to lie from byte {begin} to {end} of {len(view)}")
    return read(view[:begin], TABLES, "Exported"), bytes(view[begin:end])
