"""How taps come out of the primitives that hold jaxprs: as further results, stacked where the primitive is a loop."""
from __future__ import annotations

from typing import Any

from pullback._core.array import lift
from pullback._core.jaxpr import Jaxpr, eval_jaxpr, jaxprs_in
from pullback._core.staging import stage_open
from pullback._core.trace import call_with
from pullback._higher_order.call import jit_p
from pullback._higher_order.checkpoint import checkpoint_p
from pullback._higher_order.control.cond import cond_p
from pullback._higher_order.control.scan import scan_p
from pullback._higher_order.control.when import when_p
from pullback._higher_order.control.while_loop import while_p
from pullback._higher_order.custom.primitive import custom_call_p
from pullback._ops.shape import zeros_like_aval
from pullback._transforms.dce import dce
from pullback._transforms.harvest import VALUE, harvest_jaxpr, tap_sites
from pullback._xla.evaluate import evaluator


def _further_results(primitive: Any):
    """The rule of a primitive that returns what its jaxpr returns (a loop stacks what comes last)."""

    def harvest(trace, args, params):
        jaxpr = params["jaxpr"]
        # what a checkpoint computes again has been seen
        kinds = tuple(k for k in trace.kinds if k != VALUE) if params.get("differentiated") else trace.kinds
        derived, marks = harvest_jaxpr(jaxpr, kinds)
        outs = call_with(trace.parent, primitive.bind, *args, **{**params, "jaxpr": derived})
        n = len(jaxpr.outvars)
        trace.collect(marks, outs[n:])
        return outs[:n]

    return harvest


def _cond(trace, args, params):
    branches = params["branches"]
    harvested = [harvest_jaxpr(branch, trace.kinds) for branch in branches]
    # a mark of one name and type in several branches is one result; a branch without it gives zeros
    slots: dict[tuple, list[Any]] = {}
    places = []
    for branch, (derived, marks) in zip(branches, harvested, strict=True):
        start = len(branch.outvars)
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
    filled = tuple(_filled(derived, len(branch.outvars), mine, slots)
                   for branch, (derived, _), mine in zip(branches, harvested, places, strict=True))
    outs = call_with(trace.parent, cond_p.bind, *args, **{**params, "branches": filled})
    n = len(branches[0].outvars)
    trace.collect([(site, kind, len(avals)) for site, kind, avals, _ in slots], outs[n:])
    return outs[:n]


def _filled(jaxpr: Jaxpr, n: int, mine: dict, slots: dict) -> Jaxpr:
    def fun(*args):
        outs = eval_jaxpr(jaxpr, [], *args)
        further = [x for key, avals in slots.items()
                   for x in ([outs[i] for i in mine[key]] if key in mine else map(zeros_like_aval, avals))]
        return [*outs[:n], *further]

    return stage_open(fun, jaxpr.in_avals)[0]


def _while(trace, args, params):
    sites = [site for jaxpr in jaxprs_in(params) for site in tap_sites(jaxpr)]
    raise NotImplementedError(
        f"tapped: the tap {sites[0].name!r} stands in a while_loop, whose number of steps is not known, so what it saw "
        "in each step cannot be stacked. Use scan, or fori_loop with constant bounds; or carry what you want to see.")


def _custom_call(trace, args, params):
    call = params["call"]
    if trace.parent is evaluator:
        # what was to be differentiated has been: the function runs as it is
        return [lift(out) for out in call_with(trace, call.fun, *args)]
    # the call keeps its rules for those who differentiate later; taps are read off a second run of the function
    outs = call_with(trace.parent, custom_call_p.bind, *args, **params)
    jaxpr = params.get("jaxpr")
    if jaxpr is None:
        jaxpr, consts = stage_open(call.fun, [lift(x).aval for x in args], call.label)
        args = [*consts, *args]
    if tap_sites(jaxpr):
        derived, marks = harvest_jaxpr(jaxpr, trace.kinds)
        n = len(jaxpr.outvars)
        taps, _ = dce(derived, (False,) * n + (True,) * (len(derived.outvars) - n))
        trace.collect(marks, call_with(trace.parent, eval_jaxpr, taps, [], *args))
    return outs


def install_harvest_rules() -> None:
    """Give the primitives their rules (called once by the module that collects taps)."""
    for primitive in (jit_p, scan_p, checkpoint_p):
        primitive.harvest = _further_results(primitive)
    cond_p.harvest = _cond
    while_p.harvest = _while
    when_p.harvest = _while  # a step of a while_loop with a bound
    custom_call_p.harvest = _custom_call
