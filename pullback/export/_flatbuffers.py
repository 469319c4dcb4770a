"""The FlatBuffers encoding, by its specification (flatbuffers.dev, "FlatBuffer internals"): tables to dicts and back.

The package `flatbuffers` reads what it is told to read; a file from elsewhere needs every offset and length checked
before it is followed, which is what this reader does. A table is described by its fields, in the order of their slots:
`{"Mesh": "sizes:[u32] names:[string]"}`. Absent fields are left out of the dict, unknown slots are skipped.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping
from typing import Any

from pullback._core.typing import AnyValue

_SCALARS = {"i8": "<b", "u8": "<B", "i16": "<h", "u16": "<H", "i32": "<i", "u32": "<I", "bool": "<?"}
_FORMS = {kind: struct.Struct(form) for kind, form in _SCALARS.items()}
_U16, _U32, _I32 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<i")
# deeper nesting is no one's program: it would end the reader by Python's recursion limit
DEEPEST = 100
# a place deep inside is named by the beginning and the end of its path
_LONGEST_NAME = 240

Fields = Mapping[str, tuple[tuple[str, str], ...]]


class MalformedFileError(ValueError):
    """A file that is not what it should be: `field` names the part of it, `problem` says what is wrong.

    >>> from pullback import export
    >>> try:
    ...     export.deserialize(b"something else")
    ... except export.MalformedFileError as error:
    ...     print(error.field)
    Exported
    """

    def __init__(self, field: str, problem: str):
        if len(field) > _LONGEST_NAME:
            field = f"{field[: _LONGEST_NAME // 2]}...{field[-_LONGEST_NAME // 2 :]}"
        super().__init__(f"deserialize: {field}: {problem}")
        self.field = field
        self.problem = problem


def tables(described: Mapping[str, str]) -> Fields:
    """The fields of each table as pairs of name and type, from `"name:type name:type"`."""
    return {
        name: tuple([(field, kind) for field, _, kind in (part.partition(":") for part in text.split())])
        for name, text in described.items()
    }


class _Reader:
    def __init__(self, data: memoryview, fields: Fields):
        self.data = data
        self.fields = fields
        # one table may be referred to many times, each time to be read: no honest file has more than bytes for it
        self.budget = len(data)

    def number(self, form: struct.Struct, at: int, where: str) -> int:
        if at < 0 or at + form.size > len(self.data):
            raise MalformedFileError(where, f"lies at byte {at}, outside of the {len(self.data)} bytes")
        return form.unpack_from(self.data, at)[0]

    def follow(self, at: int, where: str) -> int:
        step = self.number(_U32, at, where)
        if step < 4 or at + step + 4 > len(self.data):
            raise MalformedFileError(where, f"its offset {step} leads out of the {len(self.data)} bytes")
        return at + step

    def span(self, at: int, size: int, where: str) -> int:
        """The length of the vector at a place, whose entries have so many bytes each."""
        length = self.number(_U32, at, where)
        if length > (len(self.data) - at - 4) // size:
            raise MalformedFileError(where, f"its length {length} does not fit into the {len(self.data)} bytes")
        return length

    def table(self, name: str, at: int, where: str, depth: int) -> dict[str, Any]:
        self.budget -= 1
        if self.budget < 0 or depth > DEEPEST:
            raise MalformedFileError(where, f"tables are nested more than {DEEPEST} deep, or refer to one another")
        entries = at - self.number(_I32, at, where)
        size = self.number(_U16, entries, where)
        if size < 4 or entries + size > len(self.data):
            raise MalformedFileError(where, f"its list of fields has {size} bytes")
        found = {}
        for slot, (field, kind) in enumerate(self.fields[name]):
            place = 4 + 2 * slot
            if place + 2 > size:
                break
            offset = self.number(_U16, entries + place, where)
            if offset:
                found[field] = self.value(kind, at + offset, f"{where}.{field}" if where else field, depth)
        return found

    def value(self, kind: str, at: int, where: str, depth: int) -> Any:
        if kind in _FORMS:
            return self.number(_FORMS[kind], at, where)
        start = self.follow(at, where)
        if kind == "string":
            try:
                return str(self.bytes(start, where), "utf-8")
            except UnicodeDecodeError as error:
                raise MalformedFileError(where, f"not UTF-8: {error}") from None
        if kind == "[u8]":
            return self.bytes(start, where)
        if not kind.startswith("["):
            return self.table(kind, start, where, depth + 1)
        inner = kind[1:-1]
        form = _SCALARS.get(inner)
        if form is not None:
            length = self.span(start, struct.calcsize(form), where)
            return list(struct.unpack_from(f"<{length}{form[1]}", self.data, start + 4))
        length = self.span(start, 4, where)
        return [self.value(inner, start + 4 + 4 * i, f"{where}[{i}]", depth) for i in range(length)]

    def bytes(self, at: int, where: str) -> bytes:
        length = self.span(at, 1, where)
        return bytes(self.data[at + 4 : at + 4 + length])


def read(data: memoryview, fields: Fields, root: str) -> dict[str, Any]:
    """The root table of a buffer as a dict. MalformedFileError, naming the field, for what is none."""
    reader = _Reader(data, fields)
    return reader.table(root, reader.follow(0, root), "", 0)


def write(value: Mapping[str, Any], fields: Fields, root: str) -> bytearray:
    """A buffer whose root table has the given values; what is None or missing is left out."""
    out = bytearray(4)
    # offsets lead forward: what a table refers to is written after it, and the place is filled in then
    waiting: deque[tuple[int, str, Any]] = deque([(0, root, value)])
    lists: dict[bytes, int] = {}
    while waiting:
        place, kind, given = waiting.popleft()
        out += bytes(-len(out) % 4)
        if kind in fields:
            start = _write_table(out, fields[kind], given, lists, waiting)
        else:
            start = len(out)
            _write_vector(out, kind, given, waiting)
        _U32.pack_into(out, place, start - place)
    return out


def _write_table(
    out: bytearray,
    fields: tuple[tuple[str, str], ...],
    value: Mapping[str, Any],
    lists: dict[bytes, int],
    waiting: deque[tuple[int, str, Any]],
) -> int:
    present = [(slot, kind, value[name]) for slot, (name, kind) in enumerate(fields) if value.get(name) is not None]
    forms = {slot: struct.Struct(_SCALARS.get(kind, "<I")) for slot, kind, _ in present}
    offsets = [0] * (1 + max(forms, default=-1))
    end = 4
    for slot in sorted(forms, key=lambda s: -forms[s].size):  # large ones first: all are aligned
        offsets[slot] = end
        end += forms[slot].size
    entries = struct.pack(f"<{2 + len(offsets)}H", 4 + 2 * len(offsets), end, *offsets)
    at = lists.get(entries)
    if at is None:
        at = lists[entries] = len(out)
        out += entries
        out += bytes(-len(out) % 4)
    start = len(out)
    out += bytes(end)
    _I32.pack_into(out, start, start - at)
    for slot, kind, given in present:
        if kind in _SCALARS:
            forms[slot].pack_into(out, start + offsets[slot], given)
        else:
            waiting.append((start + offsets[slot], kind, given))
    return start


def _write_vector(out: bytearray, kind: str, value: AnyValue, waiting: deque[tuple[int, str, Any]]) -> None:
    if kind == "string":
        value = value.encode()
    out += _U32.pack(len(value))
    if kind in ("string", "[u8]"):
        out += value
        out += b"\0"
        return
    inner = kind[1:-1]
    if inner in _SCALARS:
        out += struct.pack(f"<{len(value)}{_SCALARS[inner][1]}", *value)
        return
    start = len(out)
    out += bytes(4 * len(value))
    waiting.extend([(start + 4 * i, inner, item) for i, item in enumerate(value)])
