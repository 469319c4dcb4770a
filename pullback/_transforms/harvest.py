"""Taps: named values in a function, collected with their cotangents alongside the function's result.

`tap_p` is the identity. While taps are collected it marks a value; its derivative marks the tangent, whose transpose
marks the cotangent. A `HarvestTrace`, below the differentiation in the stack, records the marked values. It has no
tracers: values are those of its parent. `harvest_jaxpr` turns the taps in a held jaxpr into further results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pullback._core.array import lift
from pullback._core.config import config
from pullback._core.jaxpr import Equation, Jaxpr, eval_jaxpr, gathered, without
from pullback._core.primitive import Forgetting, HigherOrder, Primitive
from pullback._core.staging import stage_open
from pullback._core.trace import Trace, call_with, context
from pullback._core.tree import PyTreeDef
from pullback._core.typing import PyTree
from pullback._core.zeros import Zero
from pullback._ops.identity import stage_noting
from pullback._ops.shape import instantiate, zeros_like_aval

VALUE, TANGENT, COTANGENT = "value", "tangent", "cotangent"
# what a rule logs in the backward pass: never read, but kept while taps are collected
LOG = "log"
# the outcome of a check, for `checkify`: `tapped` passes it on, as `checkify` does what users tap
CHECK = "check"
KINDS = VALUE, TANGENT, COTANGENT, LOG, CHECK
# by kind, what hears of a tap that nobody has collected: of its site, and its values, or None in a compiled program
uncollected: dict[str, Callable[[Site, Sequence[Any] | None], None]] = {}


class Site(NamedTuple):
    """The argument of a tap: a name, the structure of the tapped pytree, and the leaves that are the operands."""

    name: str
    tree: PyTreeDef
    leaves: tuple[int, ...]

    def __str__(self) -> str:
        return self.name


# --- the primitive ---

tap_p = Primitive("tap", multiple_results=True)
tap_p.types = Forgetting()  # a site keeps the structure of what was tapped
tap_p.has(per_example=True)


def _jvp(primals, tangents, site, kind):
    outs = tap_p.bind(*primals, site=site, kind=kind)
    active = [i for i, t in enumerate(tangents) if type(t) is not Zero]
    if kind != VALUE or not active:
        return outs, tangents
    tangent_site = Site(site.name, site.tree, tuple(site.leaves[i] for i in active))
    marked = iter(tap_p.bind(*(tangents[i] for i in active), site=tangent_site, kind=TANGENT))
    return outs, [t if type(t) is Zero else next(marked) for t in tangents]


def _transpose(cts, *operands, site, kind):
    if kind in (COTANGENT, CHECK):
        return cts
    return tap_p.bind(*map(instantiate, cts), site=site, kind=COTANGENT)


def _batch(trace, operands, dims, site, kind):
    # a value shared by all examples is marked once for each, so that the record does not depend on what is batched
    moved = [trace.materialize(x, d) for x, d in zip(operands, dims, strict=True)]
    return tap_p.bind(*moved, site=site, kind=kind), 0


def _evaluate(*args, site, kind):
    if kind in uncollected:
        uncollected[kind](site, args)
    return list(args)


def _lower(ctx, *operands, site, kind):
    if kind in uncollected:
        uncollected[kind](site, None)
    return list(operands)


tap_p.evaluate = _evaluate
tap_p.abstract_eval = lambda *avals, site, kind: avals
tap_p.lower = _lower
tap_p.jvp = _jvp
tap_p.transpose = _transpose
tap_p.batch = _batch


def tap_sites(jaxpr: Jaxpr, kinds: tuple[str, ...] = KINDS) -> list[Site]:
    """The taps of the given kinds in a jaxpr and in the jaxprs it holds."""
    found = gathered(jaxpr, "taps", lambda eqn: [eqn.params] if eqn.primitive is tap_p else ())
    return [params["site"] for params in found if params["kind"] in kinds]


def kept_unread(eqn: Equation) -> bool:
    """Return whether an equation without readers has, or holds, a check, or a log while taps are collected."""
    found = set(_unread(eqn)).union(*(gathered(held.jaxpr, "unread taps", _unread) for held in eqn.held))
    return CHECK in found or (LOG in found and config.collecting_taps)


def _unread(eqn: Equation) -> list[str]:
    return [eqn.params["kind"]] if eqn.primitive is tap_p and eqn.params["kind"] in (LOG, CHECK) else []


def without_taps(jaxpr: Jaxpr, kind: str | None = None) -> Jaxpr:
    """The jaxpr without its own taps, for equations that run a second time; or without all taps of a kind."""
    if kind is None:
        return without(jaxpr, "taps", lambda eqn: eqn.primitive is tap_p, inside=False)
    return without(jaxpr, f"{kind} taps", lambda eqn: eqn.primitive is tap_p and eqn.params["kind"] == kind)


# --- the interpreter ---


class TapValues(NamedTuple):
    """The values recorded at one tap."""

    site: Site
    kind: str
    values: Sequence[Any]


class HarvestTrace(Trace):
    """Records the values at taps of the given kinds; all else passes to the parent."""

    __slots__ = ("found", "kinds")

    def __init__(self, parent: Trace | None, kinds: tuple[str, ...]):
        super().__init__(parent)
        self.transparent = False
        self.found: list[TapValues] = []
        self.kinds = kinds

    def describe(self) -> str:
        return "tapped"

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        if primitive is tap_p:
            outs = [lift(x) for x in args]
            if params["kind"] not in self.kinds:
                return call_with(self.parent, self.parent.process_primitive, primitive, outs, params)
            self.found.append(TapValues(params["site"], params["kind"], outs))
            return outs
        if type(primitive) is HigherOrder:
            held = primitive.bodies(params)
            tapped = any(tap_sites(h.jaxpr, self.kinds) for h in held)
            if primitive.harvest is not None and (tapped or not held):
                return primitive.harvest(self, args, params)
            if tapped:
                return harvest_bodies(self, primitive, args, params)
        parent = self.parent
        return call_with(parent, parent.process_primitive, primitive, args, params)

    def collect(self, marks: Sequence[tuple[Site, str, int]], values: Sequence[Any]) -> None:
        """Record the further results of a primitive whose jaxpr went through `harvest_jaxpr`."""
        start = 0
        for site, kind, count in marks:
            self.found.append(TapValues(site, kind, values[start : start + count]))
            start += count


def harvest_flat(
    fun: Callable, *args: PyTree, kinds: tuple[str, ...] = (VALUE, COTANGENT)
) -> tuple[Any, list[TapValues]]:
    """The result of a function, and the values recorded at its taps."""
    trace = HarvestTrace(context.trace, kinds)
    try:
        return call_with(trace, fun, *args), trace.found
    finally:
        trace.alive = False


def harvest_jaxpr(
    jaxpr: Jaxpr, kinds: tuple[str, ...] = (VALUE, COTANGENT)
) -> tuple[Jaxpr, tuple[tuple[Site, str, int], ...]]:
    """The jaxpr with the values at its taps as further results; and the site, kind and number of values of each."""

    def make():
        def fun(*args):
            outs, found = harvest_flat(lambda *xs: eval_jaxpr(jaxpr, [], *xs), *args, kinds=kinds)
            marks = tuple([(f.site, f.kind, len(f.values)) for f in found])
            return [*outs, *(v for f in found for v in f.values)], marks

        return stage_noting(fun, jaxpr.in_avals, "the harvest of a traced function")

    return jaxpr.derive(("harvest", kinds), make)


# --- taps inside held jaxprs: further results, stacked if the primitive is a loop ---


def harvest_bodies(
    trace: HarvestTrace, primitive: HigherOrder, args: Sequence[Any], params: dict, kinds: tuple[str, ...] | None = None
) -> list[Any]:
    """Apply a primitive and record the values at the taps in its jaxprs, of the given kinds."""
    kinds = trace.kinds if kinds is None else kinds
    held = primitive.bodies(params)
    for h in held:
        for site in tap_sites(h.jaxpr, kinds):
            if h.times is None and h.operands is not None:
                raise NotImplementedError(
                    f"tapped: the tap {site.name!r} stands in a while_loop or in another operation that runs it an "
                    "unknown number of times, so what it saw in each step cannot be stacked. Use scan, or fori_loop "
                    "with constant bounds; or carry what you want to see."
                )
            if not h.returns or h.operands is None:
                raise NotImplementedError(
                    f"tapped: the tap {site.name!r} stands inside of '{primitive.name}', out of "
                    "which nothing can be collected. Take the tap out of it."
                )
    jaxprs, marks = _harvest_choices([h.jaxpr for h in held if h.returns], kinds)
    n = len(held[0].jaxpr.outvars)
    further = iter(jaxprs)
    jaxprs = [next(further) if h.returns else h.jaxpr for h in held]
    outs = call_with(trace.parent, primitive.bind, *args, **primitive.rebuilt(params, jaxprs))
    trace.collect(marks, outs[n:])
    return outs[:n]


def _harvest_choices(
    jaxprs: Sequence[Jaxpr], kinds: tuple[str, ...]
) -> tuple[list[Jaxpr], Sequence[tuple[Site, str, int]]]:
    """Alternative jaxprs with the same further results: the values at the taps of any of them."""
    harvested = [harvest_jaxpr(jaxpr, kinds) for jaxpr in jaxprs]
    if len(jaxprs) == 1:
        return [harvested[0][0]], harvested[0][1]
    # taps of one name and type in several alternatives share a result; an alternative without it gives zeros
    slots: dict[tuple, list[Any]] = {}
    places = []
    for jaxpr, (derived, marks) in zip(jaxprs, harvested, strict=True):
        start = len(jaxpr.outvars)
        mine = {}
        for site, kind, count in marks:
            outputs = range(start, start + count)
            start += count
            avals = [derived.out_avals[i] for i in outputs]
            n = 0
            while (site, kind, tuple(avals), n) in mine:
                n += 1
            key = (site, kind, tuple(avals), n)
            mine[key] = outputs
            slots.setdefault(key, avals)
        places.append(mine)
    filled = [
        _with_slots(derived, len(jaxpr.outvars), mine, slots)
        for jaxpr, (derived, _), mine in zip(jaxprs, harvested, places, strict=True)
    ]
    return filled, [(site, kind, len(avals)) for site, kind, avals, _ in slots]


def _with_slots(jaxpr: Jaxpr, n: int, mine: dict, slots: dict) -> Jaxpr:
    def fun(*args):
        outs = eval_jaxpr(jaxpr, [], *args)
        further = [
            x
            for key, avals in slots.items()
            for x in ([outs[i] for i in mine[key]] if key in mine else map(zeros_like_aval, avals))
        ]
        return [*outs[:n], *further]

    return stage_open(fun, jaxpr.in_avals)[0]
