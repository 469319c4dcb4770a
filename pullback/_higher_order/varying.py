"""Which values of a `shard_map` differ among devices, found in its jaxpr; the steps between kinds of values inserted.

For each value: the axes of the mesh along which it varies. An operation's operands vary along the same axes: those that
do not are made to, by `pvary`, so that transposition sums their cotangents (see `_ops/variance.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.jaxpr import Equation, HeldJaxpr, Jaxpr, Var
from pullback._core.primitive import Collective
from pullback._higher_order.parts import as_varying_p, ended_p, loose_p, loose_tangent_p, match_p, vary_as_p
from pullback._ops.collectives import psum_p, pvary_p
from pullback._ops.variance import psum_invariant_p, ruled_operand_p, ruled_result_p, total_p

# the axes along which a value varies
Axes = frozenset[Any]


def resolved(
    jaxpr: Jaxpr, ins: Sequence[Axes], axes: tuple[Any, ...], apart: Axes = frozenset()
) -> tuple[Jaxpr, tuple[Axes, ...]]:
    """The jaxpr with the steps inserted, and the axes along which its results vary, among `axes`.

    `ins` are those of its inputs. Devices along the axes `apart` may not all run it: ValueError for collectives along
    these, which would wait for ever.
    """
    key = ("varying", tuple(ins), axes, apart)
    return jaxpr.derive(key, lambda: _Resolution(axes, apart).run(jaxpr, ins))


def raised(jaxpr: Jaxpr, outs: Sequence[Axes], to: Sequence[Axes], axes: tuple[Any, ...]) -> Jaxpr:
    """The jaxpr whose results, which vary along `outs`, vary along `to`."""
    if tuple(outs) == tuple(to):
        return jaxpr
    resolution = _Resolution(axes)
    resolution.eqns = list(jaxpr.eqns)
    outvars = []
    for v, have, want in zip(jaxpr.outvars, outs, to, strict=True):
        resolution.known = {v: have} if type(v) is Var else {}
        outvars.append(resolution.raise_to(v, want, pvary_p))
    return Jaxpr([], jaxpr.invars, resolution.eqns, outvars)


class _Resolution:
    """The equations of one jaxpr being rewritten."""

    def __init__(self, axes: tuple[Any, ...], apart: Axes = frozenset()):
        self.axes = axes
        self.apart = apart
        self.eqns: list[Equation] = []
        self.known: dict[Var, Axes] = {}
        self.replaced: dict[Var, Any] = {}
        self.steps: dict[Any, Var] = {}

    def of(self, atom: Any) -> Axes:
        return self.known[atom] if type(atom) is Var else frozenset()

    def ordered(self, axes: Axes) -> tuple[Any, ...]:
        return tuple([name for name in self.axes if name in axes])

    def emit(self, primitive: Any, atom: Any, params: dict[str, Any], axes: Axes) -> Var:
        out = Var(atom.aval)
        self.eqns.append(Equation(primitive, [atom], [out], params))
        self.known[out] = axes
        return out

    def raise_to(self, atom: Any, axes: Axes, step: Any) -> Any:
        """The value as one that varies along these axes; with rules of a user's, only marked (`ruled_operand`)."""
        missing = self.ordered(axes - self.of(atom))
        if not missing or type(atom) is not Var:
            return atom
        key = (step, atom, missing)
        if key not in self.steps:
            varies = axes | self.of(atom) if step is pvary_p else self.of(atom)
            self.steps[key] = self.emit(step, atom, {"axes": missing}, varies)
        return self.steps[key]

    def run(self, jaxpr: Jaxpr, ins: Sequence[Axes]) -> tuple[Jaxpr, tuple[Axes, ...]]:
        self.known.update(zip(jaxpr.invars, ins, strict=True))
        for eqn in jaxpr.eqns:
            self.equation(eqn)
        outvars = [self.read(v) for v in jaxpr.outvars]
        return Jaxpr([], jaxpr.invars, self.eqns, outvars), tuple(map(self.of, outvars))

    def read(self, atom: Any) -> Any:
        return self.replaced.get(atom, atom) if type(atom) is Var else atom

    def equation(self, eqn: Equation) -> None:
        operands = list(map(self.read, eqn.invars))
        union = frozenset().union(*map(self.of, operands))
        primitive = eqn.primitive
        if primitive is total_p:
            along = self.of(operands[0]) & frozenset(eqn.params["axes"])
            self.replaced[eqn.outvars[0]] = self.summed(operands[0], along)
        elif primitive in (pvary_p, as_varying_p):
            self.replaced[eqn.outvars[0]] = self.raise_to(operands[0], union | frozenset(eqn.params["axes"]), pvary_p)
        elif primitive in (loose_p, ended_p):
            self.replaced[eqn.outvars[0]] = operands[0]
        elif primitive in (loose_tangent_p, vary_as_p):
            self.replaced[eqn.outvars[0]] = self.raised_constant(operands[0], union)
        elif primitive is match_p:
            self.replaced[eqn.outvars[0]] = self.summed(operands[0], self.of(operands[0]) - self.of(operands[1]))
        elif primitive is ruled_result_p:
            self.keep(eqn, operands, [union - frozenset(eqn.params["axes"])])
        elif primitive is ruled_operand_p:
            self.keep(eqn, operands, [union])
        elif type(primitive) is Collective and eqn.params[primitive.axis_param] in self.axes:
            self.collective(eqn, operands, union)
        elif eqn.held:
            self.holder(eqn, operands)
        elif primitive.traits.ruled:
            self.keep(eqn, [self.raise_to(x, union, ruled_operand_p) for x in operands], [union] * len(eqn.outvars))
        else:
            self.keep(eqn, [self.raise_to(x, union, pvary_p) for x in operands], [union] * len(eqn.outvars))

    def keep(self, eqn: Equation, operands: list[Any], outs: Sequence[Axes], **changes: Any) -> None:
        self.eqns.append(eqn.replace(invars=operands, **changes))
        self.known.update(zip(eqn.outvars, outs, strict=True))

    def collective(self, eqn: Equation, operands: list[Any], union: Axes) -> None:
        name = eqn.params[eqn.primitive.axis_param]
        if name in self.apart:
            raise ValueError(
                f"{eqn.primitive.name} along {name!r} stands in a branch, or in a loop, that devices along {name!r} "
                "need not all run, since its condition differs among them: those that do would wait for ever. Call it "
                f"before, or make the condition the same for all, by a collective such as pmax over {name!r}. It is at "
                f"{eqn.location}."
            )
        operands = [self.raised_constant(x, union | {name}) for x in operands]
        primitive = psum_invariant_p if eqn.primitive is psum_p else eqn.primitive
        out = union | {name} if eqn.primitive.varies else union - {name}
        self.keep(eqn, operands, [out], primitive=primitive)

    def summed(self, atom: Any, axes: Axes) -> Any:
        """The sum along axes on which the value varies."""
        left = self.of(atom)
        for name in self.ordered(axes):
            left = left - {name}
            atom = self.emit(psum_invariant_p, atom, {"axis_name": name}, left)
        return atom

    def raised_constant(self, atom: Any, axes: Axes) -> Any:
        """A value that varies along these axes; a number too, which has no variable yet."""
        if type(atom) is Var or not axes:
            return self.raise_to(atom, axes, pvary_p)
        return self.emit(pvary_p, atom, {"axes": self.ordered(axes)}, axes)

    def holder(self, eqn: Equation, operands: list[Any]) -> None:
        """An operation that holds functions: what is carried varies along all axes that it does in any step."""
        ins = list(map(self.of, operands))
        held = eqn.held
        ruled = eqn.primitive.traits.ruled
        while True:
            results, tests = self.results(held, ins, len(eqn.outvars))
            grown = [
                axes.union(*[results[h.carried.index(k)] for h in held for k in self.carried_at(h, i)])
                for i, axes in enumerate(ins)
            ]
            # where a loop ends at different steps, or a branch is not taken everywhere, nothing is summed inside
            inner = {i for h in held for i in h.operands or ()}
            grown = [axes | tests if i in inner else axes for i, axes in enumerate(grown)]
            if grown == ins:
                break
            ins = grown
        results = [axes | tests for axes in results]
        jaxprs = []
        for h in held:
            jaxpr, outs = resolved(h.jaxpr, self.inputs(h, ins), self.axes, self.apart | tests)
            jaxprs.append(raised(jaxpr, outs, results, self.axes) if h.returns else jaxpr)
        step = ruled_operand_p if ruled else pvary_p
        union = frozenset().union(*ins)
        raise_all = ruled or any(h.operands is None for h in held)
        given = [self.raise_to(x, union if raise_all else axes, step) for x, axes in zip(operands, ins, strict=True)]
        params = eqn.primitive.rebuilt(eqn.params, jaxprs)
        if not ruled:
            self.keep(eqn, given, results, params=params)
            return
        outvars = [Var(v.aval) for v in eqn.outvars]
        self.eqns.append(eqn.replace(invars=given, outvars=outvars, params=params))
        for v, out, axes in zip(eqn.outvars, outvars, results, strict=True):
            self.known[out] = union
            self.replaced[v] = (
                out if axes == union else self.emit(ruled_result_p, out, {"axes": self.ordered(union - axes)}, axes)
            )

    @staticmethod
    def carried_at(held: HeldJaxpr, operand: int) -> list[int]:
        """The carried inputs of a held jaxpr that are this operand."""
        return [] if held.operands is None else [k for k in held.carried if held.operands[k] == operand]

    @staticmethod
    def inputs(held: HeldJaxpr, ins: Sequence[Axes]) -> list[Axes]:
        """The axes along which the inputs of a held jaxpr vary."""
        if held.operands is None:
            return [frozenset().union(*ins)] * len(held.jaxpr.invars)
        return [ins[i] for i in held.operands]

    def results(self, held: Sequence[HeldJaxpr], ins: Sequence[Axes], count: int) -> tuple[list[Axes], Axes]:
        """The axes along which results vary, and along which the choice of what runs does."""
        found: list[Axes] = [frozenset()] * count
        if not any(h.returns for h in held):
            return [frozenset().union(*ins)] * count, frozenset()
        tests: Axes = frozenset()
        inner = {i for h in held for i in h.operands or ()}
        for i, axes in enumerate(ins):
            if i not in inner:
                tests |= axes
        for h in held:
            _, outs = resolved(h.jaxpr, self.inputs(h, ins), self.axes)
            if h.returns:
                found = [a | b for a, b in zip(found, outs, strict=True)]
                for k, place in enumerate(h.carried):
                    found[k] = found[k] | (frozenset() if h.operands is None else ins[h.operands[place]])
            else:
                tests = tests.union(*outs)
        return found, tests
