"""Custom rules in the schema: each as a jaxpr, and the call that reads them.

The rules of a call are an entry of the document's list `rules`:

    {"name": "log1pexp", "label": "where it was decorated and called",
     "types": [type, ...],         of the operands; the first `captured` are values that the function closes over
     "captured": 0,
     "fun": jaxpr,                 the function
     "jvp": [jaxpr, [bool, ...]],  of primals and the tangents of differentiable operands, to results and those of their
                                   tangents that the flags say do not vanish
     "vjp": [fwd, bwd, [bool, ...]],
                                   of primals to results and residuals; of these and cotangents of differentiable
                                   results to the cotangents of operands that the flags say do not vanish
     "forward": null,              where forward mode comes from without a jvp rule: "transpose", "fwd", "primal"
     "derived": jaxpr}             the function that forward mode differentiates if it is "fwd"

Only those that are there are written. A rule that calls its function refers to the entry that it is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.types import ShapedArray, is_differentiable, is_trivial
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, nonzero, zero_of
from pullback._higher_order.custom.call import CustomCall, DerivedCall
from pullback._ops.identity import stage_closed, stage_noting
from pullback._ops.shape import instantiate
from pullback.export._flatbuffers import MalformedFileError
from pullback.export._parameters import Reader, Writer

_FORWARD = (None, "transpose", "fwd", "primal")
# a rule that calls its function with other arguments, whose rule calls it with others still, is given up
_DEEPEST = 16


def _active(avals: Sequence[ShapedArray], captured: int) -> list[bool]:
    """The operands that have tangents: of the arguments, those that are differentiable."""
    return [i >= captured and is_differentiable(aval) for i, aval in enumerate(avals)]


class RulesWriter:
    """The rules of the calls in a program, each traced when it is first met."""

    def __init__(self, program: Writer):
        self.program = program
        self.entries: list[dict[str, Any]] = []
        self._known: dict[Any, tuple[int, Any]] = {}
        self._depth = 0

    def number(self, call: CustomCall, avals: Sequence[ShapedArray], where: str) -> int:
        """The number of the rules of a call on operands of these types."""
        key: Any = id(call) if call.rules_key is None else (call.rules_key, tuple(avals), len(call.captured))
        try:
            known = self._known.get(key)
        except TypeError:  # an argument in the key is not hashable
            key = id(call)
            known = self._known.get(key)
        if known is not None:
            return known[0]
        number = len(self.entries)
        entry: dict[str, Any] = {}
        self.entries.append(entry)
        self._known[key] = (number, call)
        if self._depth == _DEEPEST:
            raise NotImplementedError(
                f"{where}: the rules of {call.label} call it with other types or arguments without end"
            )
        self._depth += 1
        try:
            self._fill(entry, call, list(avals), f"{where}, rules of {call.name}")
        finally:
            self._depth -= 1
        return number

    def _fill(self, entry: dict[str, Any], call: CustomCall, avals: list[ShapedArray], where: str) -> None:
        program, captured = self.program, len(call.captured)
        active = _active(avals, captured)
        if call.contents:
            raise NotImplementedError(f"{where}: a function with rules that writes to a Ref has no place in files")
        if call.jvp is None and call.fwd is None and (call.linearize or call.transpose):
            raise NotImplementedError(
                f"{where}: it is differentiated by a transpose rule or by linearization alone, which have no place in "
                "files: give it a jvp or a vjp rule"
            )

        def add(jaxpr: Jaxpr, rule: str) -> int:
            return program.jaxpr(jaxpr, f"{where}, {rule}")

        entry.update(
            name=call.name,
            label=call.label,
            types=[program.type(aval) for aval in avals],
            captured=captured,
            fun=add(stage_closed(call.fun, avals, where), "function"),
        )
        forward = call.forward
        if call.jvp is not None:
            jaxpr, present = _traced_jvp(call, avals, active, where)
            entry["jvp"] = [add(jaxpr, "jvp rule"), present]
        if call.fwd is not None:
            fwd, bwd, present = _traced_vjp(call, avals, active, where)
            entry["vjp"] = [add(fwd, "fwd rule"), add(bwd, "bwd rule"), present]
            if forward == "fwd":
                derived = stage_closed(lambda *xs: call.fwd(list(xs), None)[0], avals, where)
                entry["derived"] = add(derived, "fwd rule")
        elif call.jvp is None:
            forward = "primal"  # a function with a rule for vmap alone is mapped as any other
        entry["forward"] = forward


def _traced_jvp(call: CustomCall, avals: list[ShapedArray], active: list[bool], where: str) -> tuple[Jaxpr, list[bool]]:
    n = len(avals)

    def rule(*args):
        given = iter(args[n:])
        tangents = [next(given) if a else zero_of(aval) for a, aval in zip(active, avals, strict=True)]
        outs, touts = call.jvp(list(args[:n]), tangents)
        moving, present = nonzero(touts)
        return [*outs, *moving], list(present)

    dots = [aval.to_tangent_aval() for a, aval in zip(active, avals, strict=True) if a]
    return stage_noting(rule, [*avals, *dots], f"{where}, jvp rule")


def _traced_vjp(
    call: CustomCall, avals: list[ShapedArray], active: list[bool], where: str
) -> tuple[Jaxpr, Jaxpr, list[bool]]:
    def forward(*primals):
        outs, residuals, static = call.fwd(list(primals), tuple(active))
        return [*outs, *residuals], (len(outs), static)

    fwd, (count, static) = stage_noting(forward, avals, f"{where}, fwd rule")
    outs, residuals = fwd.out_avals[:count], fwd.out_avals[count:]
    live = [not is_trivial(aval.to_tangent_aval()) for aval in outs]

    def backward(*args):
        given = iter(args[len(residuals) :])
        cts = [next(given) if a else Zero(aval.to_tangent_aval()) for a, aval in zip(live, outs, strict=True)]
        cts_in = call.bwd(static, list(args[: len(residuals)]), cts)
        moving, present = nonzero(cts_in)
        return list(moving), list(present)

    dots = [aval.to_tangent_aval() for a, aval in zip(live, outs, strict=True) if a]
    bwd, present = stage_noting(backward, [*residuals, *dots], f"{where}, bwd rule")
    return fwd, bwd, present


class StoredRules:
    """The rules of an entry, whose jaxprs are read when they are first run: they may refer to the entry itself."""

    def __init__(self, reader: Reader, entry: Any, where: str):
        self.reader = reader
        self.where = where
        self.entry = entry = reader.object_of(entry, where)
        self.name: str = reader.text_of(entry.get("name"), f"{where}.name")
        self.label: str = reader.text_of(entry.get("label"), f"{where}.label")
        self.avals = [reader.type(t, f"{where}.types") for t in reader.list_of(entry.get("types"), f"{where}.types")]
        self.captured = entry.get("captured")
        if type(self.captured) is not int or not 0 <= self.captured <= len(self.avals):
            raise MalformedFileError(f"{where}.captured", f"{self.captured!r} of {len(self.avals)} operands")
        self.active = _active(self.avals, self.captured)
        if entry.get("forward") not in _FORWARD:
            raise MalformedFileError(f"{where}.forward", f"{entry['forward']!r} is no source of forward mode")

    def call(self) -> DerivedCall:
        """The call with these rules."""
        entry, has_vjp = self.entry, "vjp" in self.entry
        return DerivedCall(
            self.fun,
            self.name,
            self.label,
            jvp=self.jvp if "jvp" in entry else None,
            fwd=self.fwd if has_vjp else None,
            bwd=self.bwd if has_vjp else None,
            captured=(None,) * self.captured,
            held=(None,) * self.captured,
            forward=entry.get("forward"),
            rules_key=("stored", self),
            definable=("defjvp", "defvjp"),
        )

    def part(self, rule: str, i: int | None = None) -> Any:
        """An entry of a rule."""
        where = f"{self.where}.{rule}"
        value = self.entry.get(rule)
        return value if i is None else self.reader.list_of(value, where, 3 if rule == "vjp" else 2)[i]

    def jaxpr(self, rule: str, i: int | None = None, avals: Sequence[ShapedArray] | None = None) -> Jaxpr:
        """The jaxpr of a rule, whose inputs must have these types."""
        where = f"{self.where}.{rule}"
        jaxpr = self.reader.jaxpr(self.part(rule, i), where)
        if avals is not None:
            self.reader.check_types(jaxpr.in_avals, avals, f"{where}, inputs")
        return jaxpr

    def flags(self, rule: str, i: int, count: int) -> list[bool]:
        """The flags of a rule."""
        flags = self.reader.list_of(self.part(rule, i), f"{self.where}.{rule}", count)
        if not all(type(flag) is bool for flag in flags):
            raise MalformedFileError(f"{self.where}.{rule}", f"expected flags, got {flags}")
        return flags

    def fun(self, *operands: AnyValue) -> list[Any]:
        """The function."""
        return eval_jaxpr(self.jaxpr("fun", avals=self.avals), [], *operands)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The jvp rule."""
        dots = [aval.to_tangent_aval() for a, aval in zip(self.active, self.avals, strict=True) if a]
        jaxpr = self.jaxpr("jvp", 0, [*self.avals, *dots])
        count = len(self.jaxpr("fun").outvars)
        present = self.flags("jvp", 1, count)
        self.reader.check_count(jaxpr, count + sum(present), f"{self.where}.jvp")
        given = [instantiate(t) for a, t in zip(self.active, tangents, strict=True) if a]
        results = eval_jaxpr(jaxpr, [], *primals, *given)
        moving = iter(results[count:])
        outs = results[:count]
        return outs, [next(moving) if p else zero_of(out.aval) for p, out in zip(present, outs, strict=True)]

    def fwd(self, primals: Sequence[Any], active: Sequence[bool] | None) -> tuple[list[Any], list[Any], None]:
        """The fwd rule, or the function that is differentiated in its place."""
        if active is None and "derived" in self.entry:
            return eval_jaxpr(self.jaxpr("derived", avals=self.avals), [], *primals), [], None
        results = eval_jaxpr(self.jaxpr("vjp", 0, self.avals), [], *primals)
        count = len(self.jaxpr("fun").outvars)
        if len(results) < count:
            raise MalformedFileError(f"{self.where}.vjp", f"fwd returns {len(results)} values, less than the function")
        return results[:count], results[count:], None

    def bwd(self, static: None, residuals: Sequence[Any], cts: Sequence[Any]) -> list[Any]:
        """The bwd rule."""
        given = [instantiate(ct) for ct in cts if not is_trivial(ct.aval)]
        avals = [*(r.aval for r in residuals), *(ct.aval for ct in given)]
        jaxpr = self.jaxpr("vjp", 1, avals)
        present = self.flags("vjp", 2, len(self.avals))
        self.reader.check_count(jaxpr, sum(present), f"{self.where}.vjp, bwd")
        results = iter(eval_jaxpr(jaxpr, [], *residuals, *given))
        return [next(results) if p else None for p in present]
