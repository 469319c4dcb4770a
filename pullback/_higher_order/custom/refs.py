"""References in a function with rules that is traced into one equation: their contents are operands and results.

The function and its forward rules run on these contents, wherever a transformation calls them. What they write to a
reference has no derivative with respect to the arguments: rules say nothing about it. A bwd rule runs later, in the
backward pass, and accesses the references as they are then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.cells import Cell, RefScope, is_outside, read_cell, write_cell, written_by_rule
from pullback._core.discharge import accesses, discharged
from pullback._core.errors import RuleError
from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.trace import call_with
from pullback._core.zeros import zero_of
from pullback._higher_order.custom.call import CustomCall, DerivedCall, replaced


def with_contents(call: CustomCall, jaxpr: Jaxpr) -> tuple[DerivedCall, Jaxpr, list[Cell], list[Cell]]:
    """The call and its jaxpr with contents as leading operands and last results; the references, and those written."""
    read, written = accesses([jaxpr])
    cells = [*read, *written]
    n, k = len(cells), len(written)
    plain = discharged(jaxpr, cells, written)
    m = len(jaxpr.invars)
    moved = Jaxpr([], [*plain.invars[m:], *plain.invars[:m]], plain.eqns, plain.outvars)

    if call.fwd is None and call.jvp is None and (call.transpose or call.remat):
        raise NotImplementedError(
            f"{call.label} accesses {cells[0].described()}, which a function with rules for transposition or "
            "checkpoint alone cannot where it is traced. Read the Ref before, ref[...], and pass that."
        )

    def run(contents, rule, *args):
        scope = RefScope(dict(zip(cells, contents, strict=True)))
        result = call_with(scope, rule, *args)
        for cell, before in zip(read, contents, strict=False):
            if scope.contents[cell.root()] is not before:
                raise RuleError(
                    f"a rule of {call.label} writes to {cell.described()}, which the function itself reads and does "
                    "not write to. Let both write to it, or neither."
                )
        return result, [scope.contents[cell.root()] for cell in written]

    def check_written():
        for cell in written:
            if not is_outside(cell):
                raise ValueError(written_by_rule(cell))

    def jvp(primals, tangents):
        check_written()
        (outs, touts), contents = run(primals[:n], call.jvp, primals[n:], tangents[n:])
        return [*outs, *contents], [*touts, *(zero_of(c.aval) for c in contents)]

    def fwd(primals, active):
        check_written()
        (outs, residuals, static), contents = run(primals[:n], call.fwd, primals[n:], active and active[n:])
        return [*outs, *contents], residuals, static

    def vmap(size, batched, operands):
        if any(batched[:n]):
            return None  # the rule covers arguments only
        (outs, marks), contents = run(operands[:n], call.vmap, size, batched[n:], operands[n:])
        return [*outs, *contents], [*marks, *[False] * k]

    def bwd(static, residuals, cts):
        return [None] * n + list(call.bwd(static, residuals, cts[: len(cts) - k]))

    derived = replaced(
        call,
        fun=lambda *xs: eval_jaxpr(moved, [], *xs),
        jvp=jvp if call.jvp else None,
        fwd=fwd if call.fwd else None,
        bwd=bwd if call.bwd else None,
        vmap=vmap if call.vmap else None,
        linearize=None,
        transpose=None,
        batch=None,
        remat=None,
        contents=k,
        captured=(*cells, *call.captured),
        held=(*[None] * n, *call.held),
    )
    return derived, moved, cells, written


def record_with_refs(trace: Any, primitive: Any, call: CustomCall, jaxpr: Jaxpr, args: Sequence[Any]) -> list[Any]:
    """Record a call whose jaxpr accesses references, in the jaxpr that is being traced."""
    derived, moved, cells, written = with_contents(call, jaxpr)
    outs = trace.record(primitive, [*map(read_cell, cells), *args], {"call": derived, "jaxpr": moved})
    n = len(outs) - len(written)
    for cell, content in zip(written, outs[n:], strict=True):
        write_cell(cell, content)
    return outs[:n]


__all__ = ["record_with_refs", "with_contents"]
