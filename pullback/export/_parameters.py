"""Parameters of equations in the schema: how a value of each type is written, and read again.

None, bools, integers, finite floats and strings are those of JSON, tuples are its lists. Any other value is an object
with one entry, whose name tells the type. A parameter of a type that is not in the table is refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol

import numpy as np

from pullback import checkpoint_policies
from pullback._core.dimensions import Dimension
from pullback._core.jaxpr import Equation, Jaxpr
from pullback._core.meshes import AbstractMesh, AxisType, Mesh
from pullback._core.sharding import PartitionSpec
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._higher_order.custom.call import DerivedCall
from pullback._higher_order.custom.class_call import ClassCall
from pullback._higher_order.custom.user_rules import UserCall
from pullback._higher_order.shard_map import Layout
from pullback._ops.accuracy import AccuracyMode
from pullback._ops.beta_tail import Tail
from pullback._ops.conv_axes import ConvDimensionNumbers
from pullback._ops.dot import Precision
from pullback._ops.dot_algorithms import DotAlgorithm, DotAlgorithmPreset
from pullback._ops.fft import FftType
from pullback._ops.gather_numpy import GatherDimensionNumbers, GatherScatterMode, ScatterDimensionNumbers
from pullback._ops.identity import Constant
from pullback._ops.implementations import EighImplementation, EigImplementation, SvdAlgorithm
from pullback._ops.sharding_constraint import concrete_mesh
from pullback._xla import platforms
from pullback.export._dtypes import dtype_named, name_of_dtype
from pullback.export._flatbuffers import MalformedFileError

_ENUMS: dict[str, type[Enum]] = {
    cls.__name__: cls
    for cls in (
        AccuracyMode,
        AxisType,
        DotAlgorithmPreset,
        EigImplementation,
        EighImplementation,
        FftType,
        GatherScatterMode,
        Precision,
        SvdAlgorithm,
    )
}
_RECORDS: dict[str, Any] = {
    cls.__name__: cls
    for cls in (ConvDimensionNumbers, DotAlgorithm, GatherDimensionNumbers, ScatterDimensionNumbers, Tail)
}
_POLICIES = {
    getattr(checkpoint_policies, name): name
    for name in (
        "dots_saveable",
        "dots_with_no_batch_dims_saveable",
        "everything_saveable",
        "nothing_saveable",
    )
}
_NAMED_POLICIES: dict[str, Any] = {
    "save_only_these_names": checkpoint_policies.SaveOnlyTheseNames,
    "save_any_names_but_these": checkpoint_policies.SaveAnyNamesButThese,
}
# the calls of functions with rules
CALLS = (UserCall, ClassCall, DerivedCall)


class Writer(Protocol):
    """What encoders ask of the program that is being written: the numbers of its parts."""

    def type(self, aval: ShapedArray) -> int: ...
    def jaxpr(self, jaxpr: Jaxpr, where: str) -> int: ...
    def array(self, value: np.ndarray, aval: ShapedArray) -> int: ...
    def rules(self, call: AnyValue, eqn: Equation, where: str) -> int: ...


class Reader(Protocol):
    """What decoders ask of the program that is being read: its parts by their numbers."""

    def type(self, number: AnyValue, where: str) -> ShapedArray: ...
    def jaxpr(self, number: AnyValue, where: str) -> Jaxpr: ...
    def array(self, number: AnyValue, where: str) -> Constant: ...
    def rules(self, number: AnyValue, where: str) -> DerivedCall: ...
    def dimension(self, text: AnyValue, where: str) -> Any: ...
    def list_of(self, value: AnyValue, where: str, count: int | None = None) -> list[Any]: ...
    def object_of(self, value: AnyValue, where: str) -> dict[str, Any]: ...
    def text_of(self, value: AnyValue, where: str) -> str: ...
    def check_types(self, given: Sequence[Any], expected: Sequence[Any], where: str) -> None: ...
    def check_count(self, jaxpr: Jaxpr, count: int, where: str) -> None: ...


class Encoding(NamedTuple):
    """How values of a type are written, by `write(writer, value, eqn, where)`, and read again."""

    name: str
    types: tuple[type, ...]
    write: Callable[[Writer, Any, Equation, str], Any]
    read: Callable[[Reader, Any, str], Any]


def _name_in(names: Mapping[str, Any], name: AnyValue, what: str, where: str) -> Any:
    if not isinstance(name, str) or name not in names:
        raise MalformedFileError(where, f"{name!r} is no {what} that is known here")
    return names[name]


def _list(value: AnyValue, count: int | None, where: str) -> list[Any]:
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise MalformedFileError(where, f"expected a list{'' if count is None else f' of {count}'}, got {value!r:.80}")
    return value


def _write_enum(writer: Writer, value: AnyValue, eqn: Equation, where: str) -> Any:
    return [type(value).__name__, value.name]


def _read_enum(reader: Reader, payload: AnyValue, where: str) -> Any:
    kind, name = _list(payload, 2, where)
    return _name_in(_name_in(_ENUMS, kind, "kind of constant", where).__members__, name, kind, where)


def _write_record(writer: Writer, value: AnyValue, eqn: Equation, where: str) -> Any:
    return [type(value).__name__, [write_value(writer, item, eqn, where) for item in value]]


def _read_record(reader: Reader, payload: AnyValue, where: str) -> Any:
    name, items = _list(payload, 2, where)
    record = _name_in(_RECORDS, name, "record", where)
    return record(*[read_value(reader, item, where) for item in _list(items, len(record._fields), where)])


def _write_float(writer: Writer, value: AnyValue, eqn: Equation, where: str) -> Any:
    return repr(value)


def _read_float(reader: Reader, payload: AnyValue, where: str) -> float:
    return _name_in({"nan": math.nan, "inf": math.inf, "-inf": -math.inf}, payload, "number", where)


def _read_complex(reader: Reader, payload: AnyValue, where: str) -> complex:
    real, imag = [read_value(reader, part, where) for part in _list(payload, 2, where)]
    if type(real) is not float or type(imag) is not float:
        raise MalformedFileError(where, "a complex number consists of two floats")
    return complex(real, imag)


def _write_scalar(writer: Writer, value: AnyValue, eqn: Equation, where: str) -> Any:
    return [name_of_dtype(value.dtype), value.tobytes().hex()]


def _read_scalar(reader: Reader, payload: AnyValue, where: str) -> Any:
    name, bits = _list(payload, 2, where)
    return scalar_of_bits(dtype_named(name, where), bits, where)


def scalar_of_bits(dtype: np.dtype, bits: AnyValue, where: str) -> Any:
    """The NumPy scalar whose bytes are written in hexadecimal."""
    try:
        data = bytes.fromhex(bits)
    except (TypeError, ValueError):
        data = b""
    if len(data) != dtype.itemsize:
        raise MalformedFileError(where, f"expected {dtype.itemsize} bytes in hexadecimal, got {bits!r:.40}")
    return np.frombuffer(data, dtype)[0]


def _write_mesh(mesh: AnyValue, where: str) -> list[Any]:
    if not all(isinstance(name, str) for name in mesh.axis_names):
        raise NotImplementedError(f"{where}: axes of a mesh are written with strings as names, got {mesh.axis_names}")
    return [list(mesh.axis_names), list(mesh.axis_sizes), [kind.name for kind in mesh.axis_types]]


def _read_mesh(reader: Reader, payload: AnyValue, where: str) -> AbstractMesh:
    names, sizes, kinds = [_list(part, None, where) for part in _list(payload, 3, where)]
    if not all(type(n) is str for n in names) or not all(type(s) is int and s > 0 for s in sizes):
        raise MalformedFileError(where, "a mesh has strings as names of axes, and numbers as sizes")
    if not len(names) == len(sizes) == len(kinds):
        raise MalformedFileError(where, f"a mesh with {len(names)} names and {len(sizes)} sizes")
    types = tuple([_name_in(AxisType.__members__, kind, "type of an axis", where) for kind in kinds])
    return AbstractMesh(tuple(sizes), tuple(names), types)


def _write_layout(writer: Writer, value: Layout, eqn: Equation, where: str) -> Any:
    return [_write_mesh(value.mesh, where), list(value.names), value.check, value.label]


def _read_layout(reader: Reader, payload: AnyValue, where: str) -> Layout:
    """The layout on the devices of the mesh with these axes that was set, or else on the first devices."""
    axes, names, check, label = _list(payload, 4, where)
    mesh = _read_mesh(reader, axes, where)
    if type(check) is not bool or type(label) is not str or not set(_list(names, None, where)) <= set(mesh.axis_names):
        raise MalformedFileError(where, f"axes {names!r:.80} of {mesh}")
    found = concrete_mesh(mesh)
    if found is None:
        here = platforms.devices()[: mesh.size]
        if len(here) < mesh.size:
            raise MalformedFileError(where, f"a function of parts for {mesh.size} devices, but there are {len(here)}")
        found = Mesh(np.array(here, object).reshape(mesh.axis_sizes), mesh.axis_names, mesh.axis_types)
    return Layout(found, names, check, label)


def _write_spec(writer: Writer, value: PartitionSpec, eqn: Equation, where: str) -> Any:
    parts = [{"any": True} if part is PartitionSpec.UNCONSTRAINED else part for part in value.partitions]
    return [parts, sorted(value.unreduced), sorted(value.reduced)]


def _read_spec(reader: Reader, payload: AnyValue, where: str) -> PartitionSpec:
    parts, unreduced, reduced = [_list(part, None, where) for part in _list(payload, 3, where)]
    given = [PartitionSpec.UNCONSTRAINED if p == {"any": True} else tuple(p) if type(p) is list else p for p in parts]
    try:
        return PartitionSpec(*given, unreduced=frozenset(unreduced), reduced=frozenset(reduced))
    except TypeError as error:
        raise MalformedFileError(where, str(error)) from None


def _write_policy(writer: Writer, value: AnyValue, eqn: Equation, where: str) -> Any:
    for name, cls in _NAMED_POLICIES.items():
        if type(value) is cls:
            return [name, list(value.names)]
    return [_POLICIES[value], []]


def _read_policy(reader: Reader, payload: AnyValue, where: str) -> Any:
    name, names = _list(payload, 2, where)
    if name in _NAMED_POLICIES and all(type(n) is str for n in _list(names, None, where)):
        return getattr(checkpoint_policies, name)(*names)
    return _name_in({known: policy for policy, known in _POLICIES.items()}, name, "policy", where)


ENCODINGS = (
    Encoding("float", (float,), _write_float, _read_float),
    Encoding(
        "complex",
        (complex,),
        lambda writer, value, eqn, where: [write_value(writer, part, eqn, where) for part in (value.real, value.imag)],
        _read_complex,
    ),
    Encoding(
        "dimension",
        (Dimension,),
        lambda writer, value, eqn, where: str(value),
        lambda reader, payload, where: reader.dimension(payload, where),
    ),
    Encoding("scalar", (np.generic,), _write_scalar, _read_scalar),
    Encoding(
        "list",
        (list,),
        lambda writer, value, eqn, where: [write_value(writer, item, eqn, where) for item in value],
        lambda reader, payload, where: [read_value(reader, item, where) for item in _list(payload, None, where)],
    ),
    Encoding(
        "dtype",
        (np.dtype,),
        lambda writer, value, eqn, where: name_of_dtype(value),
        lambda reader, payload, where: dtype_named(payload, where),
    ),
    Encoding("enum", tuple(_ENUMS.values()), _write_enum, _read_enum),
    Encoding("record", tuple(_RECORDS.values()), _write_record, _read_record),
    Encoding(
        "type",
        (ShapedArray,),
        lambda writer, value, eqn, where: writer.type(value),
        lambda reader, payload, where: reader.type(payload, where),
    ),
    Encoding(
        "jaxpr",
        (Jaxpr,),
        lambda writer, value, eqn, where: writer.jaxpr(value, where),
        lambda reader, payload, where: reader.jaxpr(payload, where),
    ),
    Encoding(
        "array",
        (Constant,),
        lambda writer, value, eqn, where: writer.array(value.array.value, value.array.aval),
        lambda reader, payload, where: reader.array(payload, where),
    ),
    Encoding(
        "rules",
        CALLS,
        lambda writer, value, eqn, where: writer.rules(value, eqn, where),
        lambda reader, payload, where: reader.rules(payload, where),
    ),
    Encoding("layout", (Layout,), _write_layout, _read_layout),
    Encoding("spec", (PartitionSpec,), _write_spec, _read_spec),
    Encoding("mesh", (Mesh, AbstractMesh), lambda writer, value, eqn, where: _write_mesh(value, where), _read_mesh),
    Encoding("policy", tuple({*map(type, _POLICIES), *_NAMED_POLICIES.values()}), _write_policy, _read_policy),
)
_BY_TYPE = {cls: encoding for encoding in ENCODINGS for cls in encoding.types}
_BY_NAME = {encoding.name: encoding for encoding in ENCODINGS}
# what JSON's reader makes of what stands for itself
_PLAIN = frozenset((int, str, bool, float, type(None)))


def write_value(writer: Writer, value: AnyValue, eqn: Equation, where: str) -> Any:
    """A parameter as a value of JSON. NotImplementedError, with the place, for a type that is not in the table."""
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is tuple:
        return [write_value(writer, item, eqn, where) for item in value]
    encoding = _BY_TYPE.get(kind) or next((e for e in ENCODINGS if isinstance(value, e.types)), None)
    if encoding is None or (encoding.name == "policy" and value not in _POLICIES and kind not in _BY_TYPE):
        raise NotImplementedError(
            f"{where}: a parameter of the type {kind.__qualname__}, {value!r:.80}, has no place in the schema of files"
        )
    return {encoding.name: encoding.write(writer, value, eqn, where)}


def read_value(reader: Reader, value: AnyValue, where: str) -> Any:
    """A parameter from a value of JSON. MalformedFileError, with the place, for an encoding that is unknown here."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        return tuple([item if type(item) in _PLAIN else read_value(reader, item, where) for item in value])
    if not isinstance(value, dict) or len(value) != 1:
        raise MalformedFileError(where, f"expected an object with one entry, got {value!r:.80}")
    ((name, payload),) = value.items()
    return _name_in(_BY_NAME, name, "encoding of a parameter", where).read(reader, payload, where)


__all__ = ["CALLS", "read_value", "scalar_of_bits", "write_value"]
