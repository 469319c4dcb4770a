"""The check that a rule's tangents are linear: whatever is added to a tangent must depend on tangents or be zero.

Operations that may add are marked by the trait `additive`, which names the operands that they are jointly linear in.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Any

import numpy as np

from pullback._analysis.dependence import dependent_results
from pullback._analysis.uniform import Value, is_zero, values_in, vanishes
from pullback._core.jaxpr import Equation, Jaxpr, Literal, Var
from pullback._core.lists import chosen
from pullback._core.primitive import HigherOrder, Primitive
from pullback._core.trace import LinearTracer, is_linear
from pullback._core.types import ShapedArray, is_differentiable
from pullback._core.typing import AnyValue

Marks = Sequence[bool]
Record = Any  # of a tape, whose class is in a higher layer


def not_linear(records: Sequence[Record], outputs: Sequence[Any]) -> Primitive | None:
    """The operation, if any, by which an output is the sum of a linear function of tangents and something else.

    `records` were recorded on a tape while the outputs were computed.
    """
    for record in records:
        if may_add(record.primitive):
            break
    else:
        return None
    # most records are not sums, and most sums are of tangents only: both take a fast path
    live = {t._index for t in outputs if isinstance(t, LinearTracer)}
    for record in reversed(records):
        for node in record.outputs:
            if node._index in live:
                break
        else:
            continue
        primitive, tangents = record.primitive, 0
        for a in record.inputs:
            if isinstance(a, LinearTracer):
                tangents += 1
                # choices by a tangent are refused where they are made
                if type(a.aval) is not ShapedArray or a.aval.dtype.kind not in "iub":
                    live.add(a._index)
        if type(primitive) is HigherOrder or (primitive.traits.additive is not None and tangents < len(record.inputs)):
            found = _adds_on_tape(primitive, record.params, record.inputs)
            if found is not None:
                return found
    return None


def may_add(primitive: Primitive) -> bool:
    """Return whether an operation may add a term that is not linear in tangents to one that is."""
    return primitive.traits.additive is not None or type(primitive) is HigherOrder


def _adds_on_tape(primitive: Primitive, params: dict, inputs: Sequence[Any]) -> Primitive | None:
    """`_adds` for operands on a tape; only operands that must be zero are inspected."""
    additive = primitive.traits.additive
    if additive is None:
        marks = [is_linear(a) for a in inputs]
        given = [a.aval.dtype.type(0) if not m and vanishes(a) else None for a, m in zip(inputs, marks, strict=True)]
        return _adds(primitive, params, marks, given)
    parts = inputs if isinstance(additive, EllipsisType) else [inputs[i] for i in additive]
    others_given = [a for a in parts if not isinstance(a, LinearTracer)]
    return primitive if 0 < len(others_given) < len(parts) and not all(map(vanishes, others_given)) else None


def _adds(primitive: Primitive, params: dict, marks: Marks, given: Sequence[Value]) -> Primitive | None:
    """The operation, this one or one inside it, that adds to a marked operand one that is neither marked nor zero."""
    positions = primitive.traits.additive
    if positions is not None:
        parts = range(len(marks)) if isinstance(positions, EllipsisType) else positions
        if any(marks[i] for i in parts) and not all(marks[i] or is_zero(given[i]) for i in parts):
            return primitive
        return None
    walks = []
    for held in primitive.bodies(params):
        if not held.returns or held.operands is None:
            continue
        marked, values = [marks[i] for i in held.operands], [given[i] for i in held.operands]
        walk = _Walk(held.jaxpr, marked, values, held.carried)
        if walk.found is not None:
            return walk.found
        # a carry that becomes a tangent must start as a tangent or as zero
        first = held.carried.start
        for m, now, value in zip(marked[first:], walk.carry, values[first:], strict=False):
            if now and not m and not is_zero(value):
                return primitive
        # and after a step it must be one again, or zero
        for now, (mark, zero) in zip(walk.carry, walk.outs, strict=False):
            if now and held.times != 0 and not (mark or zero):
                return primitive
        walks.append(walk)
    # if one branch computes a result from tangents, the others compute it from tangents or return zero
    for outs in zip(*(walk.outs for walk in walks), strict=True):
        if any(m for m, _ in outs) and not all(m or z for m, z in outs):
            return primitive
    return None


class _Walk:
    """Propagation of marks along the equations of a jaxpr, with a search for additions to marked values.

    `carry` flags the carried inputs that are marked in some step; `outs` holds for each result whether it is marked,
    and whether it is zero (or of a dtype without derivatives).
    """

    def __init__(self, jaxpr: Jaxpr, marks: Marks, given: Sequence[Value], carried: range):
        self.marks = list(marks)
        self.values = values_in(jaxpr, given, carried)
        while True:
            self.found: Primitive | None = None
            self.marked = set(chosen(jaxpr.invars, self.marks))
            for eqn in jaxpr.eqns:
                self.step(eqn)
            before = self.marks[carried.start : carried.stop]
            self.carry = [m or v in self.marked for m, v in zip(before, jaxpr.outvars, strict=False)]
            if self.carry == before:
                break
            self.marks[carried.start : carried.stop] = self.carry
        self.outs = [(v in self.marked, not is_differentiable(v.aval) or is_zero(self.value(v))) for v in jaxpr.outvars]

    def value(self, atom: AnyValue) -> Value:
        return np.asarray(atom.value)[()] if isinstance(atom, Literal) else self.values.get(atom)

    def step(self, eqn: Equation) -> None:
        marks = tuple([type(v) is Var and v in self.marked for v in eqn.invars])
        if any(marks):
            outs = dependent_results(eqn.primitive, marks, eqn.params, len(eqn.outvars))
            self.marked.update(chosen(eqn.outvars, outs))
            self.found = self.found or _adds(eqn.primitive, eqn.params, marks, [self.value(v) for v in eqn.invars])
