"""Whether what a rule made of tangents is linear in them: what adds to a tangent depends on tangents, or is zero.

The operations that may add say so: `additive` names the operands that they are linear in together.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import ConcreteArray
from pullback._core.jaxpr import Equation, Jaxpr, Literal, Var
from pullback._core.staging import StagedTracer
from pullback._core.trace import Tracer, is_linear

Marks = Sequence[bool]
Primitive = Any  # the classes are above this file
Record = Any


def not_linear(records: Sequence[Record], outputs: Sequence[Any]) -> Primitive | None:
    """The operation, if there is one, by which an output is a linear function of tangents and something else.

    `records` are what a tape recorded while the outputs were made.
    """
    for record in records:
        if record.primitive.additive is not None or record.primitive.higher_order:
            break
    else:
        return None
    live = {t.index for t in outputs if is_linear(t)}
    for record in reversed(records):
        if any(node.index in live for node in record.outputs):
            marks = [is_linear(a) for a in record.inputs]
            zeros = [not m and vanishes(a) for a, m in zip(record.inputs, marks, strict=True)]
            found = _adds(record.primitive, record.params, marks, zeros)
            if found is not None:
                return found
            # that choices are made by a tangent is refused where they are
            live.update(a.index for a in record.inputs if is_linear(a) and dtypes.is_inexact(a.aval.dtype))
    return None


def _adds(primitive: Primitive, params: dict, marks: Marks, zeros: Marks) -> Primitive | None:
    """The operation, this one or one inside of it, that adds to marked operands what is neither marked nor zero."""
    positions = primitive.additive
    if positions is not None:
        chosen = range(len(marks)) if positions is ... else positions
        if any(marks[i] for i in chosen) and not all(marks[i] or zeros[i] for i in chosen):
            return primitive
        return None
    for jaxpr, start, carried in _bodies(params, len(marks)):
        inner, known = list(marks[start:]), list(zeros[start:])
        first = inner[carried]
        while True:
            walk = _Walk(jaxpr, inner, known)
            carry = [m or n for m, n in zip(inner[carried], walk.marked_outs, strict=False)]
            if carry == inner[carried]:
                break
            inner[carried] = carry
        # a carry that becomes a tangent begins as one, or as zero
        for begins, is_marked, is_zero in zip(first, inner[carried], known[carried], strict=True):
            if is_marked and not begins and not is_zero:
                return primitive
        if walk.found is not None:
            return walk.found
    return None


_NO_CARRY = slice(0, 0)


def _bodies(params: dict, operands: int) -> list[tuple[Jaxpr, int, slice]]:
    """The functions inside, where the operands that they take begin, and which of their inputs they carry around."""
    jaxpr = params.get("jaxpr")
    if isinstance(jaxpr, Jaxpr) and len(jaxpr.invars) == operands:
        carried = _NO_CARRY
        if "num_carry" in params:
            carried = slice(params["num_consts"], params["num_consts"] + params["num_carry"])
        return [(jaxpr, 0, carried)]
    return [(branch, 1, _NO_CARRY) for branch in params.get("branches", ())]


class _Walk:
    """What is marked, what is known to be zero, and what is added to what is marked, along the equations of a jaxpr."""

    def __init__(self, jaxpr: Jaxpr, marks: Marks, zeros: Marks):
        self.marked = {v for v, m in zip(jaxpr.invars, marks, strict=True) if m}
        self.zero = {v for v, z in zip(jaxpr.invars, zeros, strict=True) if z}
        self.found: Primitive | None = None
        for eqn in jaxpr.eqns:
            self.step(eqn)
        self.marked_outs = [v in self.marked for v in jaxpr.outvars]

    def is_zero(self, atom: Any) -> bool:
        return _all_zero(atom.value) if isinstance(atom, Literal) else atom in self.zero

    def step(self, eqn: Equation) -> None:
        marks = [type(v) is Var and v in self.marked for v in eqn.invars]
        zeros = [self.is_zero(v) for v in eqn.invars]
        if any(marks):
            depends = eqn.primitive.depends
            outs = depends(tuple(marks), **eqn.params) if depends else [True] * len(eqn.outvars)
            self.marked.update(v for v, d in zip(eqn.outvars, outs, strict=True) if d)
            self.found = self.found or _adds(eqn.primitive, eqn.params, marks, zeros)
        else:
            self.zero.update(v for v, z in zip(eqn.outvars, zeros_made(eqn, zeros), strict=True) if z)


# --- zeros ---


def vanishes(x: Any) -> bool:
    """Whether a value is known to be zero: by its data, or, where it is traced, by the operations it comes from."""
    while isinstance(x, Tracer) and not isinstance(x, StagedTracer):
        # a batched value, or one that an outer transformation differentiates
        x = next((getattr(x, name) for name in ("value", "primal") if hasattr(x, name)), None)
    return _staged_zero(x) if isinstance(x, StagedTracer) else isinstance(x, ConcreteArray) and _all_zero(x.value)


def _all_zero(value: Any) -> bool:
    return not np.any(value)


def _staged_zero(x: StagedTracer) -> bool:
    needed, slice_ = {x.atom}, []
    for eqn in reversed(x.owner.eqns):
        if any(v in needed for v in eqn.outvars):
            slice_.append(eqn)
            needed.update(v for v in eqn.invars if type(v) is Var)
    constants = {var: value for var, value in x.owner.constants.values() if var in needed}
    zeros = {var for var, value in constants.items() if vanishes(value)}
    for eqn in reversed(slice_):
        known = [_all_zero(v.value) if isinstance(v, Literal) else v in zeros for v in eqn.invars]
        zeros.update(v for v, z in zip(eqn.outvars, zeros_made(eqn, known), strict=True) if z)
    return x.atom in zeros


def zeros_made(eqn: Equation, zeros: Marks) -> list[bool]:
    """Which results of an equation are zero, given which operands are."""
    primitive, none = eqn.primitive, [False] * len(eqn.outvars)
    if not any(zeros):
        return none
    bodies = _bodies(eqn.params, len(zeros))
    if bodies:
        made = [_zeros_of_body(jaxpr, zeros[start:], carried) for jaxpr, start, carried in bodies]
        return [all(flags) for flags in zip(*made, strict=True)]
    if primitive.bilinear:
        return [True]
    if primitive.homogeneous is not None:
        return [all(zeros[i] for i in primitive.homogeneous)] * len(eqn.outvars)
    if primitive.transpose is None or primitive.higher_order:
        return none
    # linear in its operands that are no indices and masks
    return [all(z for z, v in zip(zeros, eqn.invars, strict=True) if dtypes.is_inexact(v.aval.dtype))] * len(none)


def _zeros_of_body(jaxpr: Jaxpr, zeros: Marks, carried: slice) -> list[bool]:
    known = list(zeros)
    while True:
        walk = _Walk(jaxpr, [False] * len(known), known)
        outs = [walk.is_zero(v) for v in jaxpr.outvars]
        carry = [z and o for z, o in zip(known[carried], outs, strict=False)]
        if carry == known[carried]:
            return outs
        known[carried] = carry


