"""The program in a file: jaxprs and rules in a documented schema, from which every transformation follows.

The program is a header, a document of JSON, compressed, and the bytes of its arrays:

    u32 version of the schema, u64 bytes of the compressed document, u64 of the document itself, then both parts

    {"writer":     "pullback 1.2",
     "types":      [["float32", [3, 4], false], ...],           dtype, shape, weak;
                                                                sizes with variables as text, "2*n"
     "primitives": ["mul", ...],
     "arrays":     [[type, first byte], ...],                   constants, in the bytes that follow, little-endian
     "jaxprs":     [{"in": [type, ...], "eqns": [equation, ...], "out": [operand, ...]}, ...],
     "rules":      [{...}, ...],                                see `_rules`
     "main":       jaxpr}

All but names are numbers of entries in these lists. The values of a jaxpr are numbered as they appear, its inputs
first; an operand is such a number, or `[type, "bytes in hexadecimal"]` for a literal. An equation is
`[primitive, [operand, ...], [type of a result, ...], {parameter: value}]`, see `_parameters`. The jaxprs that a
jaxpr's equations hold come before it; rules refer to any.

Where values are placed is not in the program: for its derivatives the compiler chooses. Nor are lines of source.

The types of results are those that the reader's own primitives infer, or the file is refused.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.dimensions import Dimension
from pullback._core.jaxpr import Equation, Jaxpr, Literal, Var, consts_to_args, without
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._core.version import __version__
from pullback._higher_order.custom.order import rule_output_p
from pullback._ops.sharding_constraint import sharding_constraint_p
from pullback.export._calling import as_call_of_program
from pullback.export._dtypes import name_of_dtype
from pullback.export._exported import Exported
from pullback.export._parameters import write_value
from pullback.export._primitives import is_in_schema
from pullback.export._rules import RulesWriter

SCHEMA = 1
HEADER = struct.Struct("<IQQ")
# A document that is so many times longer than its compressed form is no one's program, but meant to fill the memory
MOST_EXPANDED = 200


# identities that are about this process: a note on a rule's author, and the devices that a value is placed on
_LEFT_HERE = (rule_output_p, sharding_constraint_p)


class ProgramWriter:
    """The lists of the document, to which entries are added as they are met."""

    def __init__(self, where: str):
        self.where = where
        self.types: dict[ShapedArray, int] = {}
        self.primitives: dict[str, int] = {}
        self.arrays: list[list[int]] = []
        self.data = bytearray()
        self.jaxprs: list[Any] = []
        self.rules_writer = RulesWriter(self)
        # the numbers of jaxprs by identity; the objects are kept, so that no other one gets it
        self._known: dict[int, tuple[int, Jaxpr]] = {}

    def type(self, aval: ShapedArray) -> int:
        """The number of a type."""
        if not isinstance(aval, ShapedArray):
            raise NotImplementedError(f"{self.where}: values of type {aval} have no place in files")
        return self.types.setdefault(aval, len(self.types))

    def array(self, value: np.ndarray, aval: ShapedArray) -> int:
        """The number of a constant."""
        value = np.ascontiguousarray(value)
        if value.dtype.byteorder == ">" or (sys.byteorder == "big" and value.dtype.itemsize > 1):
            value = value.byteswap()
        self.data += bytes(-len(self.data) % 8)
        self.arrays.append([self.type(aval), len(self.data)])
        self.data += b"" if aval.dtype == dtypes.float0 else value.tobytes()
        return len(self.arrays) - 1

    def rules(self, call: AnyValue, eqn: Equation, where: str) -> int:
        """The number of the rules of a call."""
        return self.rules_writer.number(call, [v.aval for v in eqn.invars], where)

    def jaxpr(self, jaxpr: Jaxpr, where: str) -> int:
        """The number of a jaxpr, after those that it holds."""
        known = self._known.get(id(jaxpr))
        if known is not None:
            return known[0]
        plain = consts_to_args(without(jaxpr, "left here", lambda eqn: eqn.primitive in _LEFT_HERE, False))
        numbers: dict[Var, int] = {}
        for v in plain.invars:
            numbers[v] = len(numbers)
        entry = {
            "in": [self.type(v.aval) for v in plain.invars],
            "eqns": [self._equation(eqn, numbers, f"{where}, equation {i}") for i, eqn in enumerate(plain.eqns)],
            "out": self._operands(plain.outvars, numbers),
        }
        self.jaxprs.append(entry)
        self._known[id(jaxpr)] = (len(self.jaxprs) - 1, jaxpr)
        return len(self.jaxprs) - 1

    def _equation(self, eqn: Equation, numbers: dict[Var, int], where: str) -> list[Any]:
        eqn = as_call_of_program(eqn)
        primitive = eqn.primitive
        if not is_in_schema(primitive):
            line = f", applied at {eqn.location}" if eqn.location else ""
            raise NotImplementedError(f"{where}: the primitive '{primitive.name}'{line}, has no place in files")
        operands = self._operands(eqn.invars, numbers)
        params = {
            name: write_value(self, value, eqn, f"{where}, {primitive.name}.{name}")
            for name, value in eqn.params.items()
        }
        for v in eqn.outvars:
            numbers[v] = len(numbers)
        number = self.primitives.setdefault(primitive.name, len(self.primitives))
        return [number, operands, [self.type(v.aval) for v in eqn.outvars], *([params] if params else [])]

    def _operands(self, atoms: Sequence[Any], numbers: dict[Var, int]) -> list[Any]:
        return [
            [self.type(a.aval), np.asarray(a.value, a.aval.dtype).tobytes().hex()]
            if isinstance(a, Literal)
            else numbers[a]
            for a in atoms
        ]

    def document(self, main: int) -> dict[str, Any]:
        """The document."""
        return {
            "writer": f"pullback {__version__}",
            "types": [
                [name_of_dtype(t.dtype), [str(d) if isinstance(d, Dimension) else d for d in t.shape], t.weak_type]
                for t in self.types
            ],
            "primitives": list(self.primitives),
            "arrays": self.arrays,
            "jaxprs": self.jaxprs,
            "rules": self.rules_writer.entries,
            "main": main,
        }


def program_to_bytes(exported: Exported) -> bytes:
    """The program of an exported function. NotImplementedError, with the place, for what has none in the schema."""
    writer = ProgramWriter(f"serialize: {exported.fun_name}")
    main = writer.jaxpr(exported.program, writer.where)
    document = json.dumps(writer.document(main), separators=(",", ":"), allow_nan=False).encode()
    packed = zlib.compress(document, 6)
    if len(document) > MOST_EXPANDED * len(packed):
        packed = zlib.compress(document, 0)
    return HEADER.pack(SCHEMA, len(packed), len(document)) + packed + bytes(writer.data)
