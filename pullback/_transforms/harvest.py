"""Taps: named places in a function, whose values and cotangents come out beside the function's result.

`tap_p` is the identity. While taps are collected it marks a value; its derivative marks the tangent, whose transpose
marks the cotangent. A `HarvestTrace` stands below the differentiation and takes down what passes the marks. It has no
tracers: values are those of its parent. Of a jaxpr inside a primitive, `harvest_jaxpr` makes one with further results.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from pullback._core.array import lift
from pullback._core.jaxpr import Equation, Jaxpr, Var, eval_jaxpr, jaxprs_in, subjaxprs
from pullback._core.primitive import Primitive
from pullback._core.staging import stage_open
from pullback._core.trace import Trace, call_with, context
from pullback._core.tree import PyTreeDef
from pullback._core.zeros import Zero
from pullback._ops.identity import embed_constants
from pullback._ops.shape import instantiate

VALUE, TANGENT, COTANGENT = "value", "tangent", "cotangent"
# what a rule says on the backward pass: read by nobody, and kept all the same while taps are collected
LOG = "log"


class Site(NamedTuple):
    """What a tap was given: its name, a pytree of this structure, of which these leaves are the operands."""

    name: str
    tree: PyTreeDef
    leaves: tuple[int, ...]

    def __str__(self):
        return self.name


# --- the mark ---

tap_p = Primitive("tap", multiple_results=True, higher_order=True)
tap_p.per_example = True


def _jvp(primals, tangents, site, kind):
    outs = tap_p.bind(*primals, site=site, kind=kind)
    where = [i for i, t in enumerate(tangents) if type(t) is not Zero]
    if kind != VALUE or not where:
        return outs, tangents
    moving = Site(site.name, site.tree, tuple(site.leaves[i] for i in where))
    marked = iter(tap_p.bind(*(tangents[i] for i in where), site=moving, kind=TANGENT))
    return outs, [t if type(t) is Zero else next(marked) for t in tangents]


def _transpose(cts, *operands, site, kind):
    if kind == COTANGENT:
        return cts
    return tap_p.bind(*map(instantiate, cts), site=site, kind=COTANGENT)


def _batch(trace, operands, dims, site, kind):
    # a value that all examples share is marked for each, so that what is seen does not hang on what is computed how
    moved = [trace.materialize(x, d) for x, d in zip(operands, dims, strict=True)]
    return tap_p.bind(*moved, site=site, kind=kind), 0


tap_p.evaluate = lambda *args, site, kind: list(args)
tap_p.abstract_eval = lambda *avals, site, kind: avals
tap_p.lower = lambda ctx, *operands, site, kind: list(operands)
tap_p.jvp = _jvp
tap_p.transpose = _transpose
tap_p.batch = _batch


def tap_sites(jaxpr: Jaxpr) -> tuple[Site, ...]:
    """The taps in a jaxpr, here and below."""

    def collect():
        sites: list[Site] = []
        for eqn in jaxpr.eqns:
            if eqn.primitive is tap_p:
                sites.append(eqn.params["site"])
            for sub in subjaxprs(eqn):
                sites += tap_sites(sub)
        return tuple(sites)

    return jaxpr.derive("taps", collect)


def logs(eqn: Equation) -> bool:
    """Whether an equation logs something, here or below."""
    if eqn.primitive is tap_p:
        return eqn.params["kind"] == LOG
    return any(sub.derive("logs", partial(_any_logs, sub)) for sub in subjaxprs(eqn))


def _any_logs(jaxpr: Jaxpr) -> bool:
    return any(map(logs, jaxpr.eqns))


def without_taps(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr with its own marks left out, for equations that are to run a second time."""
    if not any(eqn.primitive is tap_p for eqn in jaxpr.eqns):
        return jaxpr
    same: dict[Any, Any] = {}
    eqns: list[Equation] = []
    for eqn in jaxpr.eqns:
        invars = [same.get(v, v) if type(v) is Var else v for v in eqn.invars]
        if eqn.primitive is tap_p:
            same.update(zip(eqn.outvars, invars, strict=True))
        else:
            eqns.append(eqn.replace(invars=invars))
    return Jaxpr(jaxpr.constvars, jaxpr.invars, eqns,
                 [same.get(v, v) if type(v) is Var else v for v in jaxpr.outvars])


# --- the interpreter ---


class Found(NamedTuple):
    """What passed a mark."""

    site: Site
    kind: str
    values: Sequence[Any]


class HarvestTrace(Trace):
    """Takes down what passes the marks, of the kinds asked for; all else passes to the parent."""

    __slots__ = ("found", "kinds")

    def __init__(self, parent: Trace | None, kinds: tuple[str, ...]):
        super().__init__(parent)
        self.transparent = False
        self.found: list[Found] = []
        self.kinds = kinds

    def describe(self) -> str:
        return "tapped"

    def process_primitive(self, primitive, args, params):
        if primitive is tap_p:
            outs = [lift(x) for x in args]
            if params["kind"] in self.kinds:
                self.found.append(Found(params["site"], params["kind"], outs))
            return outs
        if primitive.higher_order:
            jaxprs = list(jaxprs_in(params))
            sites = [site for jaxpr in jaxprs for site in tap_sites(jaxpr)]
            if primitive.harvest is not None and (sites or not jaxprs):
                return primitive.harvest(self, args, params)
            if sites:
                raise NotImplementedError(f"tapped: the tap {sites[0].name!r} stands inside of '{primitive.name}', out "
                                          "of which nothing can be collected. Take the tap out of it.")
        parent = self.parent
        return call_with(parent, parent.process_primitive, primitive, args, params)

    def collect(self, marks: Sequence[tuple[Site, str, int]], values: Sequence[Any]) -> None:
        """Take down further results of a primitive whose jaxpr went through `harvest_jaxpr`."""
        start = 0
        for site, kind, count in marks:
            self.found.append(Found(site, kind, values[start:start + count]))
            start += count


def harvest_flat(fun: Callable, *args: Any, kinds: tuple[str, ...] = (VALUE, COTANGENT)) -> tuple[Any, list[Found]]:
    """The result of a function, and what passed the marks in it."""
    trace = HarvestTrace(context.trace, kinds)
    try:
        return call_with(trace, fun, *args), trace.found
    finally:
        trace.alive = False


def harvest_jaxpr(jaxpr: Jaxpr, kinds: tuple[str, ...] = (VALUE, COTANGENT)
                  ) -> tuple[Jaxpr, tuple[tuple[Site, str, int], ...]]:
    """The jaxpr that returns, after its results, what passes the marks; and which they are, with their numbers."""

    def make():
        marks: list[tuple[Site, str, int]] = []

        def fun(*args):
            outs, found = harvest_flat(lambda *xs: eval_jaxpr(jaxpr, [], *xs), *args, kinds=kinds)
            marks[:] = [(f.site, f.kind, len(f.values)) for f in found]
            return [*outs, *(v for f in found for v in f.values)]

        what = "the harvest of a traced function"
        out, consts = stage_open(fun, jaxpr.in_avals, what)
        return embed_constants(out, consts, what), tuple(marks)

    return jaxpr.derive(("harvest", kinds), make)
