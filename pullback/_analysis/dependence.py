"""The dependence of the results of a jaxpr, or of a primitive that holds jaxprs, on its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.jaxpr import HeldJaxpr, Jaxpr, Var
from pullback._core.lists import chosen, fixed_point
from pullback._core.primitive import HigherOrder, Primitive


def depends_on(jaxpr: Jaxpr, marked: tuple[bool, ...]) -> tuple[bool, ...]:
    """A flag for each result: whether it depends on a marked input."""

    def walk():
        live = {v for v, m in zip(jaxpr.invars, marked, strict=True) if m}
        for eqn in jaxpr.eqns:
            operands = tuple([type(v) is Var and v in live for v in eqn.invars])
            if any(operands):
                outs = dependent_results(eqn.primitive, operands, eqn.params, len(eqn.outvars))
                live.update(chosen(eqn.outvars, outs))
        return tuple(type(v) is Var and v in live for v in jaxpr.outvars)

    return jaxpr.derive(("depends", marked), walk)


def dependent_results(
    primitive: Primitive, marked: tuple[bool, ...], params: dict[str, Any], count: int
) -> tuple[bool, ...]:
    """A flag for each of the `count` results of a primitive: whether it may depend on a marked operand."""
    everything = (True,) * count
    if type(primitive) is not HigherOrder:
        return everything
    if primitive.depends is not None:
        return tuple(primitive.depends(marked, **params))
    held = primitive.bodies(params)
    for h in held:
        if h.operands is None:
            return everything
    if not held:
        return everything
    first, *rest = held
    if not rest and not first.carried and len(first.jaxpr.invars) == len(marked):
        return depends_on(first.jaxpr, marked)
    key = ("dependent results", marked, *first[1:], *rest)
    return first.jaxpr.derive(key, lambda: _results_of(held, marked, count))


def _results_of(held: Sequence[HeldJaxpr], marked: tuple[bool, ...], count: int) -> tuple[bool, ...]:
    """Flags for the results that depend on marked operands, if the operands of all held jaxprs are known."""
    everything = (True,) * count
    # an operand that no jaxpr takes selects the jaxpr to run
    inner = {place for h in held for place in h.operands or ()}
    if any(m and place not in inner for place, m in enumerate(marked)):
        return everything
    results, reached = [False] * count, list(marked)
    for h in held:
        if h.returns and h.operands is not None:
            outs, carry = _through(h.jaxpr, [marked[place] for place in h.operands], h.carried)
            results = [a or b for a, b in zip(results, outs, strict=True)]
            for i, c in zip(h.carried, carry, strict=True):
                reached[h.operands[i]] = c
    # a condition that depends on a marked value determines the number of steps
    for h in held:
        if (
            not h.returns
            and h.operands is not None
            and any(depends_on(h.jaxpr, tuple([reached[place] for place in h.operands])))
        ):
            return everything
    return tuple(results)


def _through(jaxpr: Jaxpr, inputs: Sequence[bool], carried: range) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """Flags for the results that depend on marked inputs in some step, and for the carried inputs that then do."""

    def given(carry: tuple[bool, ...]) -> tuple[bool, ...]:
        return (*inputs[: carried.start], *carry, *inputs[carried.stop :])

    start = inputs[carried.start : carried.stop]
    carry = fixed_point(lambda carry: depends_on(jaxpr, given(carry))[: len(carried)], start)
    outs = depends_on(jaxpr, given(carry))
    # a loop of zero steps returns its initial carry
    return (*(a or b for a, b in zip(carry, outs, strict=False)), *outs[len(carried) :]), carry


__all__ = ["dependent_results", "depends_on"]
