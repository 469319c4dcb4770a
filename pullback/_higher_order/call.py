"""`jit` as a primitive: the call of a traced function, kept as one equation and compiled as a whole."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.array import ConcreteArray
from pullback._core.config import config
from pullback._core.jaxpr import Equation, HeldJaxpr, Jaxpr, eval_jaxpr
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.types import ShapedArray, matches
from pullback._core.zeros import Zero, zero_of
from pullback._ops.rules import pack
from pullback._transforms.dce import dce, depends_on
from pullback._transforms.jet import flatten, jet_jaxpr, unflatten
from pullback._transforms.jvp import jvp_jaxpr
from pullback._transforms.linearize_jaxpr import linearize_jaxpr, transpose_jaxpr
from pullback._transforms.vmap import batch_jaxpr
from pullback._xla.executable import executable_of

jit_p = Primitive("jit", multiple_results=True, higher_order=True)


def call(jaxpr: Jaxpr, args: Sequence[Any], name: str, inline: bool = False) -> list[Any]:
    """Call a traced function (without constants) under the current transformation."""
    return jit_p.bind(*args, name=name, jaxpr=jaxpr, inline=inline)


def check_operands(what: str, jaxpr: Jaxpr, avals: Sequence[ShapedArray]) -> None:
    """Refuse operands whose types are not those that a nested jaxpr was traced with."""
    expected = jaxpr.in_avals
    if len(expected) != len(avals) or not all(map(matches, expected, avals)):
        raise TypeError(f"{what}: expected operands {expected}, got {list(avals)}")


def _evaluate(*args: ConcreteArray, jaxpr, name, inline):
    if config.debug_nans:
        return eval_jaxpr(jaxpr, [], *args)
    return executable_of(jaxpr).run(args)


def _type(*avals, jaxpr, name, inline):
    check_operands(f"jit of {name}", jaxpr, avals)
    return jaxpr.out_avals


def _lower(ctx, *operands, jaxpr, name, inline):
    return ctx.inline(jaxpr, operands) if inline else ctx.call(jaxpr, operands, name)


def active_of(tangents: Sequence[Any]) -> tuple[bool, ...]:
    """Which tangents are not symbolic zeros."""
    return tuple([type(t) is not Zero for t in tangents])


def _jvp(primals, tangents, jaxpr, name, inline):
    active = active_of(tangents)
    derived, present = jvp_jaxpr(jaxpr, active)
    outs = call(derived, [*primals, *(t for t, a in zip(tangents, active, strict=True) if a)], name, inline)
    n = len(jaxpr.outvars)
    return outs[:n], pack(present, outs[n:], [zero_of(out.aval) for out in outs[:n]])


def _taylor(primals, series, jaxpr, name, inline):
    active = tuple(s is not None for s in series)
    order = next(len(s) for s in series if s is not None)
    derived, present = jet_jaxpr(jaxpr, active, order)
    outs = call(derived, [*primals, *flatten(series)], name, inline)
    n = len(jaxpr.outvars)
    return outs[:n], unflatten(present, outs[n:], order)


def _linearize(trace, primals, tangents, jaxpr, name, inline):
    active = active_of(tangents)
    parts = linearize_jaxpr(jaxpr, active)
    results = call(parts.forward, primals, name, inline)
    n = len(jaxpr.outvars)
    outs, saved = results[:n], results[n:]
    moving = [t for t, a in zip(tangents, active, strict=True) if a]
    touts = call(parts.linear, [*(primals[i] for i in parts.forwarded), *saved, *moving], name, inline)
    return outs, pack(parts.present, touts, [zero_of(out.aval) for out in outs])


def _transpose(cts, *operands, jaxpr, name, inline):
    linear = tuple(is_linear(x) for x in operands)
    given = active_of(cts)
    backward, present = transpose_jaxpr(jaxpr, linear, given)
    known = [x for x, is_lin in zip(operands, linear, strict=True) if not is_lin]
    results = call(backward, [*known, *(ct for ct, g in zip(cts, given, strict=True) if g)], name, inline)
    parts = iter(pack(present, results, [None] * len(present)))
    return [next(parts) if is_lin else None for is_lin in linear]


def _batch(trace, operands, dims, jaxpr, name, inline):
    batched = tuple(d is not None for d in dims)
    derived, out_batched = batch_jaxpr(jaxpr, trace, batched)
    moved = [x if d is None else trace.materialize(x, d) for x, d in zip(operands, dims, strict=True)]
    return call(derived, moved, name, inline), [0 if b else None for b in out_batched]


def _dce(used, eqn: Equation) -> Equation:
    narrowed, used_inputs = dce(eqn.params["jaxpr"], tuple(used), keep_inputs=False)
    return eqn.replace(
        invars=[v for v, u in zip(eqn.invars, used_inputs, strict=True) if u],
        outvars=[v for v, u in zip(eqn.outvars, used, strict=True) if u],
        params={**eqn.params, "jaxpr": narrowed})


jit_p.bodies = lambda jaxpr, **_: [HeldJaxpr(jaxpr)]
jit_p.evaluate = _evaluate
jit_p.abstract_eval = _type
jit_p.lower = _lower
jit_p.jvp = _jvp
jit_p.linearize = _linearize
jit_p.taylor = _taylor
jit_p.transpose = _transpose
jit_p.batch = _batch
jit_p.dce = _dce
jit_p.depends = lambda marked, jaxpr, name, inline: depends_on(jaxpr, marked)
