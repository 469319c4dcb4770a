"""Transposition: a backward pass over a tape of linear operations, from cotangents of results to those of inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pullback._core.array import ConcreteArray, lift
from pullback._core.config import config, nans_were_debugged
from pullback._core.errors import RuleError, RuleNotDefinedError
from pullback._core.origins import InBackwardPass
from pullback._core.primitive import HigherOrder, Primitive
from pullback._core.ref_changes import refs_exist, undone_on_error, watched
from pullback._core.trace import call_with, context
from pullback._core.zeros import Zero
from pullback._ops.elementwise import add_p, mul_p, mul_transpose
from pullback._ops.scattered import added
from pullback._transforms.accumulators import NOWHERE, GradAccum, NullAccum, ValAccum
from pullback._transforms.linearize import Linearized, Node, Record, Tape, new_tape

_NO_PARAMS: dict[str, Any] = {}


def pull(
    linear: Linearized,
    cotangents: Sequence[Any],
    once: bool = False,
    records: Iterable[Record] | None = None,
    into: Sequence[GradAccum | None] | None = None,
) -> list[Any]:
    """Apply the transpose of a linear map: a cotangent, or a symbolic zero, for each of its inputs (None for inactive).

    Runs under the current transformation, so that it can itself be differentiated, batched or staged. A map that is
    used `once` is consumed on the way: a residual is freed as soon as it has been read. If the pass fails, what it has
    written to references is undone. `records` are the records of the map in reverse order, if the caller follows the
    walk. The cotangents of inputs with an accumulator in `into` are added to that, and None is returned for them; what
    only a `NullAccum` would take is not computed.
    """
    if refs_exist[0] and not watched() and not cannot_fail(linear):
        return undone_on_error(pull, linear, cotangents, once, records, into)
    tape = linear.tape
    if records is None:
        records = _taken(linear.records) if once else reversed(linear.records)
        if nans_were_debugged[0] and config.debugging:
            with InBackwardPass(tape.place) as backward_pass:
                return pull(linear, cotangents, records=backward_pass.over(records), into=into)
    values: list[Any] = [None] * tape.size
    # the nodes whose values are buffers of this walk
    owned: set[int] = set()
    if into is not None:
        records = _directed(linear, into, values, records)
    for node, given in zip(linear.outputs, cotangents):
        if type(node) is Node and node._trace is tape and type(given) is not Zero:
            if values[node._index] is None:
                values[node._index] = given
            else:
                _add(values, owned, node._index, given)
    for record in records:
        outputs = record.outputs
        primitive = record.primitive
        if primitive.multiple_results:
            for node in outputs:
                if values[node._index] is not None:
                    break
            else:
                continue
            ct: Any = []
            for node in outputs:
                index = node._index
                known = values[index]
                ct.append(Zero(node.aval) if known is None else known)
                values[index] = None
            if type(primitive) is HigherOrder and primitive.accumulate is not None:
                _accumulate(tape, record, ct, values, owned)
                continue
        else:
            index = outputs[0]._index
            ct = values[index]
            if ct is None:
                continue
            values[index] = None
            if primitive.transpose is mul_transpose and type(ct) is ConcreteArray:
                # what the transpose rule does where nothing was broadcast; most records of a chain are such products
                operand, factor = record.inputs
                if type(operand) is ConcreteArray:
                    operand, factor = factor, operand
                if type(factor) is ConcreteArray and operand.aval.shape == ct.aval.shape:
                    part = context.trace.process_primitive(mul_p, (ct, factor), _NO_PARAMS)
                    index = operand._index
                    if values[index] is None:
                        values[index] = part
                    else:
                        _add(values, owned, index, part)
                    continue
        rule = primitive.transpose or _missing(tape, record)
        parts = rule(ct, *record.inputs, **record.params)
        if len(parts) != len(record.inputs):
            raise RuleError(
                f"the transpose rule of '{primitive.name}' must return a cotangent (or None) for each of "
                f"{len(record.inputs)} operands, got {len(parts)}"
            )
        for operand, part in zip(record.inputs, parts):
            if part is None or type(operand) is not Node or operand._trace is not tape:
                continue
            index = operand._index
            if type(part) is ConcreteArray and values[index] is None:
                values[index] = part
            elif type(part) is not Zero:
                _add(values, owned, index, part)
    results: list[Any] = []
    for node in linear.inputs:
        if node is None:
            results.append(None)
        else:
            value = values[node._index]
            results.append(Zero(node.aval) if value is None else None if isinstance(value, GradAccum) else value)
    return results


def cannot_fail(linear: Linearized) -> bool:
    """Return whether a map is transposed by the package's own rules alone, on arrays: nothing need be undone."""
    return context.trace.parent is None and all(type(record.primitive) is Primitive for record in linear.records)


def _add(values: list[Any], owned: set[int], index: int, part: Any) -> None:
    """Add a cotangent to that of a node."""
    known = values[index]
    if type(known) is ConcreteArray and type(part) is ConcreteArray and not known.aval.shape:
        values[index] = add_p.bind(known, part)
        return
    if isinstance(known, GradAccum):
        known.add(part)
        return
    values[index], mine = added(known, part, index in owned)
    if mine:
        owned.add(index)


def _accumulate(tape: Tape, record: Record, cts: list[Any], values: list[Any], owned: set[int]) -> None:
    """Run the rule of an operation that takes accumulators of the cotangents of its operands."""
    made: dict[int, ValAccum] = {}
    accums: list[GradAccum | None] = []
    for operand in record.inputs:
        if type(operand) is not Node or operand._trace is not tape:
            accums.append(None)
            continue
        index = operand._index
        known = values[index]
        if isinstance(known, GradAccum):
            accums.append(NullAccum(operand.aval) if known is NOWHERE else known)
            continue
        if index not in made:
            made[index] = accum = ValAccum(operand.aval, known)
            accum.owned = index in owned
        accums.append(made[index])
    rule = record.primitive.accumulate  # type: ignore[attr-defined]
    rule(cts, *record.inputs, accums=accums, **record.params)
    for index, accum in made.items():
        values[index] = accum.val
        if accum.owned:
            owned.add(index)


def _directed(
    linear: Linearized, into: Sequence[GradAccum | None], values: list[Any], records: Iterable[Record]
) -> Iterable[Record]:
    """Put accumulators in the places of the inputs' values; returns the records that lead to an input of interest."""
    tape = linear.tape
    led = set()
    for node, accum in zip(linear.inputs, into, strict=True):
        if node is not None:
            values[node._index] = accum
            if not isinstance(accum, NullAccum):
                led.add(node._index)
    if not any(isinstance(accum, NullAccum) for accum in into):
        return records
    for record in linear.records:
        if any(type(x) is Node and x._trace is tape and x._index in led for x in record.inputs):
            led.update([node._index for node in record.outputs])
    for index in range(tape.size):
        if index not in led:
            values[index] = NOWHERE
    return (record for record in records if record.outputs and record.outputs[0]._index in led)


def _taken(records: list[Record]) -> Iterator[Record]:
    while records:
        yield records.pop()


def _missing(tape: Tape, record: Record) -> Callable:
    """Raise for an operation that has no transpose rule, with its origin."""
    try:
        return record.primitive.rule("transpose")
    except RuleNotDefinedError as missing:
        error, origin = missing, tape.untransposable.get(id(record))
        if origin is not None and origin.rule is not None:
            error = RuleNotDefinedError(
                f"'{record.primitive.name}' has no transpose rule, and {origin.rule} applies it to what depends on the "
                "tangent inputs: a tangent output must be linear in them, so that it can be transposed. If "
                f"'{record.primitive.name}' is a primitive of yours, and linear, give it one (def_transpose)."
            )
        for line in origin.lines() if origin is not None else ():
            error.add_note(line)
        raise error from None


def record_linear(
    fun: Callable[..., Sequence[Any]], avals: Sequence[Any], subject: str = "linear_transpose"
) -> Linearized:
    """Record a function that is linear in all its (flat) arguments, without knowing their values."""
    tape = new_tape(context.trace, subject)
    inputs = [Node(tape, aval) for aval in avals]
    try:
        outs = call_with(tape, fun, *inputs)
    finally:
        records = tape.finish()
    return Linearized(tape, records, inputs, [lift(out) for out in outs])
