"""Reading a program: every number, length and type in it is checked, and nothing in it is run."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from pullback._core import dtypes
from pullback._core.array import array_of
from pullback._core.dimension_values import evaluated
from pullback._core.dimensions import Dimension, Scope
from pullback._core.jaxpr import Equation, Jaxpr, Literal, Var
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray, make_aval, matches
from pullback._core.typing import AnyValue
from pullback._higher_order.custom.call import DerivedCall
from pullback._ops.identity import Constant
from pullback.export._dtypes import dtype_named
from pullback.export._exported import Exported
from pullback.export._flatbuffers import MalformedFileError
from pullback.export._parameters import read_value, scalar_of_bits
from pullback.export._primitives import primitive_named
from pullback.export._program import HEADER, MOST_EXPANDED, SCHEMA
from pullback.export._rules import StoredRules
from pullback.export._symbolic import dimension_of_text

_LONGEST = 2**63 - 1
_MOST_AXES = 64


def program_of_bytes(data: bytes, exported: Exported, values: Mapping[str, Any]) -> Jaxpr:
    """The program of an exported function, with values for variables in its shapes.

    MalformedFileError, naming the place, for what is none.
    """
    if len(data) < HEADER.size:
        raise MalformedFileError("program", f"it has {len(data)} bytes, too few for its header")
    version, packed, length = HEADER.unpack_from(data)
    if version != SCHEMA:
        raise MalformedFileError(
            "program.schema",
            f"the version {version} is not known here, where it is {SCHEMA}: {exported.fun_name} can be called, but "
            "not differentiated or mapped. Read the file with a newer pullback",
        )
    if packed > len(data) - HEADER.size or length > MOST_EXPANDED * (packed + 1000):
        raise MalformedFileError("program.header", f"a document of {length} bytes from {packed} of {len(data)}")
    document = _document(data[HEADER.size : HEADER.size + packed], length)
    scope = next((d.scope for aval in exported.in_words for d in aval.shape if isinstance(d, Dimension)), Scope())
    reader = ProgramReader(document, data, HEADER.size + packed, scope, values)
    main = reader.jaxpr(reader.document.get("main"), "program.main")
    reader.check_types(main.in_avals, exported.in_words, "program.main, inputs")
    reader.check_types(main.out_avals, exported.out_words, "program.main, results")
    return main


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _document(packed: bytes, length: int) -> dict[str, Any]:
    try:
        unpack = zlib.decompressobj()
        text = unpack.decompress(packed, length + 1)
        if len(text) != length or not unpack.eof:
            raise ValueError(f"it has other than the {length} bytes that its header says")
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, zlib.error) as error:
        raise MalformedFileError("program.document", str(error)) from None
    except RecursionError:
        raise MalformedFileError("program.document", "it is nested too deep") from None
    if not isinstance(document, dict):
        raise MalformedFileError("program.document", "expected an object")
    return document


def _is_size(d: AnyValue) -> bool:
    return isinstance(d, Dimension) or (type(d) is int and 0 <= d <= _LONGEST)


class ProgramReader:
    """The parts of a program by their numbers, each read when it is first asked for."""

    def __init__(self, document: dict[str, Any], data: bytes, arrays_at: int, scope: Scope, values: Mapping[str, Any]):
        self.document = document
        self.data = data
        self.arrays_at = arrays_at
        self.scope = scope
        self.values = values
        self._types: dict[int, ShapedArray] = {}
        self._primitives: dict[int, Primitive] = {}
        self._jaxprs: dict[int, Jaxpr] = {}
        self._rules: dict[int, DerivedCall] = {}
        # while a jaxpr is read, its number: those that it holds come before it
        self._below: int | None = None

    # --- parts of the document ---

    def list_of(self, value: AnyValue, where: str, count: int | None = None) -> list[Any]:
        """A list, of so many entries."""
        if not isinstance(value, list) or (count is not None and len(value) != count):
            raise MalformedFileError(
                where, f"expected a list{'' if count is None else f' of {count}'}, got {value!r:.80}"
            )
        return value

    def object_of(self, value: AnyValue, where: str) -> dict[str, Any]:
        """An object."""
        if not isinstance(value, dict):
            raise MalformedFileError(where, f"expected an object, got {value!r:.80}")
        return value

    def text_of(self, value: AnyValue, where: str) -> str:
        """A string."""
        if not isinstance(value, str):
            raise MalformedFileError(where, f"expected a string, got {value!r:.80}")
        return value

    def entry(self, part: str, number: AnyValue, where: str) -> Any:
        """An entry of one of the document's lists."""
        entries = self.list_of(self.document.get(part), f"program.{part}")
        if type(number) is not int or not 0 <= number < len(entries):
            raise MalformedFileError(where, f"{number!r:.40} is none of the {len(entries)} entries of '{part}'")
        return entries[number]

    def check_types(self, given: Sequence[Any], expected: Sequence[Any], where: str) -> None:
        """Refuse types that differ."""
        if list(given) != list(expected) and (len(given) != len(expected) or not all(map(matches, expected, given))):
            texts = [", ".join(t.str_short() for t in types) for types in (expected, given)]
            raise MalformedFileError(where, f"expected the types {texts[0]}, got {texts[1]}")

    def check_count(self, jaxpr: Jaxpr, count: int, where: str) -> None:
        """Refuse a jaxpr with another number of results."""
        if len(jaxpr.outvars) != count:
            raise MalformedFileError(where, f"expected {count} results, got {len(jaxpr.outvars)}")

    # --- what the numbers stand for ---

    def dimension(self, text: AnyValue, where: str) -> Any:
        """A dimension with variables, or the number that it is."""
        try:
            d = dimension_of_text(text, self.scope)
            return evaluated(d, self.values) if self.values else d
        except (ValueError, KeyError, ZeroDivisionError) as error:
            raise MalformedFileError(where, f"{text!r:.80} is no dimension: {error}") from None

    def type(self, number: AnyValue, where: str) -> ShapedArray:
        """A type."""
        known = self._types.get(number) if type(number) is int else None
        if known is None:
            entry = self.entry("types", number, where)
            at = f"program.types[{number}]"
            name, shape, weak = self.list_of(entry, at, 3)
            sizes = [self.dimension(d, at) if isinstance(d, str) else d for d in self.list_of(shape, at)]
            if len(sizes) > _MOST_AXES or not all(map(_is_size, sizes)):
                raise MalformedFileError(at, f"{sizes!r:.80} is the shape of no array")
            if type(weak) is not bool:
                raise MalformedFileError(at, f"{weak!r:.40} says nothing about weakness")
            known = self._types[number] = make_aval(tuple(sizes), dtype_named(name, at), weak)
        return known

    def primitive(self, number: AnyValue, where: str) -> Primitive:
        """A primitive."""
        known = self._primitives.get(number) if type(number) is int else None
        if known is None:
            name = self.entry("primitives", number, where)
            known = primitive_named(name) if isinstance(name, str) else None
            if known is None:
                raise MalformedFileError(
                    f"{where}, program.primitives[{number}]",
                    f"there is no primitive {name!r:.80} here: the file is from {self.document.get('writer')!r:.40}",
                )
            self._primitives[number] = known
        return known

    def array(self, number: AnyValue, where: str) -> Constant:
        """A constant."""
        at = f"program.arrays[{number}]"
        kind, start = self.list_of(self.entry("arrays", number, where), at, 2)
        aval = self.type(kind, at)
        if aval.dtype == dtypes.float0:
            return Constant(array_of(aval, np.broadcast_to(np.zeros((), dtypes.float0), aval.shape)))
        size = math.prod(aval.shape) * aval.dtype.itemsize
        if type(start) is not int or not 0 <= start <= len(self.data) - self.arrays_at - size:
            raise MalformedFileError(at, f"{size} bytes from byte {start!r:.40} on are not there")
        flat = np.frombuffer(self.data, aval.dtype, math.prod(aval.shape), self.arrays_at + start)
        return Constant(array_of(aval, flat.reshape(aval.shape)))

    def rules(self, number: AnyValue, where: str) -> DerivedCall:
        """The call of a function with rules."""
        entry = self.entry("rules", number, where)
        known = self._rules.get(number)
        if known is None:
            known = self._rules[number] = StoredRules(self, entry, f"program.rules[{number}]").call()
        return known

    def jaxpr(self, number: AnyValue, where: str) -> Jaxpr:
        """A jaxpr."""
        entry = self.entry("jaxprs", number, where)
        if self._below is not None and number >= self._below:
            raise MalformedFileError(where, f"the jaxpr {number} does not come before the one that holds it")
        known = self._jaxprs.get(number)
        if known is None:
            outer, self._below = self._below, number
            try:
                known = self._jaxprs[number] = self._read(entry, f"program.jaxprs[{number}]")
            except RecursionError:
                raise MalformedFileError(where, "jaxprs or parameters are nested too deep") from None
            finally:
                self._below = outer
        return known

    def _read(self, entry: AnyValue, where: str) -> Jaxpr:
        entry = self.object_of(entry, where)
        values = [Var(self.type(t, f"{where}.in")) for t in self.list_of(entry.get("in"), f"{where}.in")]
        invars = list(values)
        eqns = []
        for i, given in enumerate(self.list_of(entry.get("eqns"), f"{where}.eqns")):
            eqn = self._equation(given, values, f"{where}.eqns[{i}]")
            values += eqn.outvars
            eqns.append(eqn)
        return Jaxpr([], invars, eqns, self._operands(entry.get("out"), values, f"{where}.out"))

    def _operands(self, given: AnyValue, values: Sequence[Var], where: str) -> list[Any]:
        atoms: list[Any] = []
        for x in self.list_of(given, where):
            if type(x) is int and 0 <= x < len(values):
                atoms.append(values[x])
            elif isinstance(x, list) and len(x) == 2:
                aval = self.type(x[0], where)
                if aval.shape:
                    raise MalformedFileError(where, f"a literal of type {aval.str_short()} is no scalar")
                atoms.append(Literal(scalar_of_bits(aval.dtype, x[1], where), aval))
            else:
                raise MalformedFileError(where, f"{x!r:.40} is none of the {len(values)} values before")
        return atoms

    def _equation(self, given: AnyValue, values: Sequence[Var], where: str) -> Equation:
        given = self.list_of(given, where)
        if len(given) not in (3, 4):
            raise MalformedFileError(where, f"an equation has 3 or 4 parts, got {len(given)}")
        primitive = self.primitive(given[0], where)
        where = f"{where}, {primitive.name}"
        invars = self._operands(given[1], values, where)
        params = {
            key: read_value(self, value, f"{where}.{key}")
            for key, value in (self.object_of(given[3], where) if len(given) == 4 else {}).items()
        }
        avals = [self.type(t, where) for t in self.list_of(given[2], where)]
        try:
            inferred = primitive.infer(tuple([x.aval for x in invars]), params)
        except MalformedFileError:
            raise
        except Exception as error:  # typing rules refuse in their own ways, and trust their parameters otherwise
            raise MalformedFileError(where, f"{type(error).__name__}: {error}") from None
        self.check_types(list(inferred) if primitive.multiple_results else [inferred], avals, where)
        return Equation(primitive, invars, [Var(aval) for aval in avals], params)
