"""Transposition: a backward pass over a tape of linear operations, from cotangents of results to those of inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pullback._core.array import lift
from pullback._core.config import config, nans_were_debugged
from pullback._core.errors import RuleError, RuleNotDefinedError
from pullback._core.origins import InBackwardPass
from pullback._core.trace import call_with, context
from pullback._core.zeros import Zero
from pullback._ops.elementwise import add_p
from pullback._transforms.linearize import Linearized, Node, Record, Tape, new_tape


def pull(
    linear: Linearized, cotangents: Sequence[Any], once: bool = False, records: Iterable[Record] | None = None
) -> list[Any]:
    """Apply the transpose of a linear map: a cotangent, or a symbolic zero, for each of its inputs (None for inactive).

    Runs under the current transformation, so that it can itself be differentiated, batched or staged. A map that is
    used `once` is consumed on the way: a residual is freed as soon as it has been read. `records` are the records of
    the map in reverse order, if the caller follows the walk.
    """
    tape = linear.tape
    if records is None:
        records = _taken(linear.records) if once else reversed(linear.records)
        if nans_were_debugged[0] and config.debug_nans:
            with InBackwardPass(tape.place) as backward_pass:
                return pull(linear, cotangents, records=backward_pass.over(records))
    values: list[Any] = [None] * tape.size
    for node, given in zip(linear.outputs, cotangents, strict=True):
        if type(node) is Node and node.owner is tape and type(given) is not Zero:
            known = values[node.index]
            values[node.index] = given if known is None else add_p.bind(known, given)
    for record in records:
        outputs = record.outputs
        primitive = record.primitive
        if primitive.multiple_results:
            for node in outputs:
                if values[node.index] is not None:
                    break
            else:
                continue
            ct: Any = []
            for node in outputs:
                index = node.index
                known = values[index]
                ct.append(Zero(node.aval) if known is None else known)
                values[index] = None
        else:
            index = outputs[0].index
            ct = values[index]
            if ct is None:
                continue
            values[index] = None
        rule = primitive.transpose or _missing(tape, record)
        parts = rule(ct, *record.inputs, **record.params)
        if len(parts) != len(record.inputs):
            raise RuleError(
                f"the transpose rule of '{primitive.name}' must return a cotangent (or None) for each of "
                f"{len(record.inputs)} operands, got {len(parts)}"
            )
        for operand, part in zip(record.inputs, parts, strict=True):
            if part is None or type(operand) is not Node or operand.owner is not tape or type(part) is Zero:
                continue
            index = operand.index
            known = values[index]
            values[index] = part if known is None else add_p.bind(known, part)
    results: list[Any] = []
    for node in linear.inputs:
        if node is None:
            results.append(None)
        else:
            value = values[node.index]
            results.append(Zero(node.aval) if value is None else value)
    return results


def _taken(records: list[Record]) -> Iterator[Record]:
    while records:
        yield records.pop()


def _missing(tape: Tape, record: Record) -> Callable:
    """Raise for an operation that has no transpose rule, with its origin."""
    try:
        return record.primitive.rule("transpose")
    except RuleNotDefinedError as error:
        origin = tape.untransposable.get(id(record))
        for line in origin.lines() if origin is not None else ():
            error.add_note(line)
        raise


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
