"""Values of types of one's own in compiled programs: each variable of such a type becomes the variables of its parts.

`lower_value` and `raise_value` vanish. A primitive that holds jaxprs gets lowered ones, and parts as operands in place
of values; counts of operands among its parameters grow with them (`HigherOrder.rebuilt`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.array import lift
from pullback._core.hitypes import (
    HiType,
    add_values_p,
    detach_value_p,
    lower_value_p,
    part_types,
    raise_value_p,
    unpacked,
)
from pullback._core.jaxpr import Equation, Jaxpr, Var, consts_to_args
from pullback._ops.identity import stage_closed


def lower_types(jaxpr: Jaxpr) -> Jaxpr:
    """The same function of parts in place of values; constants come first among the inputs."""
    if not jaxpr.has_own_types:
        return jaxpr
    return jaxpr.derive("lowered types", lambda: _Lowering().jaxpr(consts_to_args(jaxpr)))


class _Lowering:
    """The equations so far, and what stands for a variable: `parts` for one of an own type, else `same`."""

    def __init__(self) -> None:
        self.eqns: list[Equation] = []
        self.parts: dict[Any, list[Any]] = {}
        self.same: dict[Any, Any] = {}

    def jaxpr(self, jaxpr: Jaxpr) -> Jaxpr:
        invars = self.bound(jaxpr.invars)
        for eqn in jaxpr.eqns:
            self.equation(eqn)
        return Jaxpr([], invars, self.eqns, self.read(jaxpr.outvars))

    def bound(self, variables: Sequence[Var]) -> list[Var]:
        """Variables, with new ones for the parts of those that are no arrays."""
        out: list[Var] = []
        for v in variables:
            if isinstance(v.aval, HiType):
                self.parts[v] = [Var(aval) for aval in part_types(v.aval)]
                out += self.parts[v]
            else:
                out.append(v)
        return out

    def read(self, atoms: Sequence[Any]) -> list[Any]:
        """Atoms, with parts in place of values."""
        out: list[Any] = []
        for a in atoms:
            if type(a) is Var and a in self.parts:
                out += self.parts[a]
            else:
                out.append(self.same.get(a, a) if type(a) is Var else a)
        return out

    def equation(self, eqn: Equation) -> None:
        primitive = eqn.primitive
        invars = self.read(eqn.invars)
        if primitive is lower_value_p:
            self.same.update(zip(eqn.outvars, invars, strict=True))
        elif primitive is raise_value_p or primitive is detach_value_p:
            self.parts[eqn.outvars[0]] = invars
        elif not eqn.held and any(isinstance(v.aval, HiType) for v in (*eqn.invars, *eqn.outvars)):
            self.inline(eqn, invars)
        else:
            params = eqn.params
            if any(held.jaxpr.has_own_types for held in eqn.held):
                counts = [len(part_types(v.aval)) if isinstance(v.aval, HiType) else 1 for v in eqn.invars]
                params = primitive.rebuilt(params, [lower_types(held.jaxpr) for held in eqn.held], counts)
            self.eqns.append(eqn.replace(invars=invars, outvars=self.bound(eqn.outvars), params=params))

    def inline(self, eqn: Equation, invars: Sequence[Any]) -> None:
        """The equations by which a primitive without jaxprs is evaluated, on parts."""

        primitive = eqn.primitive

        def fun(*xs: Any) -> list[Any]:
            values = [unpacked(x) for x in xs] if primitive is add_values_p else xs
            out = primitive.evaluate(*values, **eqn.params)
            return [lift(x) for x in out] if primitive.multiple_results else [lift(out)]

        inner = stage_closed(fun, [v.aval for v in eqn.invars], f"the evaluation of '{primitive.name}'")
        lowered = lower_types(inner)
        self.same.update(zip(lowered.invars, invars, strict=True))
        for each in lowered.eqns:
            self.eqns.append(each.replace(invars=self.read(each.invars)))
        outs = iter(self.read(lowered.outvars))
        for v in eqn.outvars:
            if isinstance(v.aval, HiType):
                self.parts[v] = [next(outs) for _ in part_types(v.aval)]
            else:
                self.same[v] = next(outs)
