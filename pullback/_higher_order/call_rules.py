"""The rules of a primitive that calls one traced function: each transforms the function and calls what comes of it.

`jit`, `checkpoint` and `when` have them. Operands in front that do not go into the function, as the flag of `when`, are
handed on.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.jaxpr import Jaxpr
from pullback._core.lists import chosen, filled, merged, others
from pullback._core.primitive import HigherOrder
from pullback._core.trace import is_linear
from pullback._core.zeros import Zero, zero_of
from pullback._transforms.dce import dce
from pullback._transforms.jet import flatten, jet_jaxpr, unflatten
from pullback._transforms.jvp import jvp_jaxpr
from pullback._transforms.linearize_jaxpr import linearize_jaxpr, transpose_jaxpr
from pullback._transforms.vmap import batch_jaxpr

Bind = Callable[[Sequence[Any], dict[str, Any]], list[Any]]


def active_of(tangents: Sequence[Any]) -> tuple[bool, ...]:
    """Which tangents are not symbolic zeros."""
    return tuple([type(t) is not Zero for t in tangents])


def give_call_rules(p: HigherOrder, leading: int = 0, bind: Bind | None = None) -> None:
    """Set jvp, linearize, Taylor, transpose and batching rule of a primitive whose one function is called.

    The function takes the operands but for `leading` ones. `bind(operands, params)` applies the primitive, if that is
    not all it takes.
    """
    apply: Bind = (lambda operands, params: p.bind(*operands, **params)) if bind is None else bind

    def called(jaxpr: Jaxpr, operands: Sequence[Any], params: dict[str, Any]) -> list[Any]:
        return apply(operands, p.rebuilt(params, [jaxpr]))

    def jvp(primals, tangents, **params):
        jaxpr = function_of(p, params)
        dots = tangents[leading:]
        active = active_of(dots)
        derived, present = jvp_jaxpr(jaxpr, active)
        outs = called(derived, [*primals, *chosen(dots, active)], params)
        n = len(jaxpr.outvars)
        return outs[:n], filled(present, outs[n:], [zero_of(out.aval) for out in outs[:n]])

    def taylor(primals, series, **params):
        jaxpr = function_of(p, params)
        terms = series[leading:]
        active = tuple([s is not None for s in terms])
        order = next(len(s) for s in terms if s is not None)
        derived, present = jet_jaxpr(jaxpr, active, order)
        outs = called(derived, [*primals, *flatten(terms)], params)
        n = len(jaxpr.outvars)
        return outs[:n], unflatten(present, outs[n:], order)

    def linearize(trace, primals, tangents, **params):
        jaxpr = function_of(p, params)
        lead, inputs, dots = primals[:leading], primals[leading:], tangents[leading:]
        active = active_of(dots)
        parts = linearize_jaxpr(jaxpr, active)
        results = called(parts.forward, primals, params)
        n = len(jaxpr.outvars)
        outs, saved = results[:n], results[n:]
        known = [inputs[i] for i in parts.forwarded]
        touts = called(parts.linear, [*lead, *known, *saved, *chosen(dots, active)], params)
        return outs, filled(parts.present, touts, [zero_of(out.aval) for out in outs])

    def transpose(cts, *operands, **params):
        return transposed_call(p, cts, operands, params, leading, apply)

    def batch(trace, operands, dims, **params):
        jaxpr = function_of(p, params)
        derived, out_batched = batch_jaxpr(jaxpr, trace, tuple([d is not None for d in dims[leading:]]))
        moved = [x if d is None else trace.materialize(x, d) for x, d in zip(operands, dims, strict=True)]
        return called(derived, moved, params), [0 if b else None for b in out_batched]

    p.jvp = jvp
    p.taylor = taylor
    p.linearize = linearize
    p.transpose = transpose
    p.batch = batch


def function_of(p: HigherOrder, params: dict[str, Any]) -> Jaxpr:
    """The jaxpr that a call-like primitive calls."""
    return p.bodies(params)[0].jaxpr


def transposed_call(p: HigherOrder, cts: Sequence[Any], operands: Sequence[Any], params: dict[str, Any],
                    leading: int = 0, bind: Bind | None = None, narrow: bool = False) -> list[Any]:
    """The transpose rule; `narrow` leaves out operands that the transposed function does not read."""
    lead, inputs = operands[:leading], operands[leading:]
    linear = tuple([is_linear(x) for x in inputs])
    given = active_of(cts)
    backward, present = transpose_jaxpr(function_of(p, params), linear, given)
    args = [*others(inputs, linear), *chosen(cts, given)]
    if narrow:
        backward, used = dce(backward, keep_inputs=False)
        args = chosen(args, used)
    params = p.rebuilt(params, [backward])
    results = p.bind(*lead, *args, **params) if bind is None else bind([*lead, *args], params)
    cotangents = filled(present, results, [None] * len(present))
    return [*(None for _ in lead), *merged(linear, cotangents, [None] * linear.count(False))]


__all__ = ["active_of", "function_of", "give_call_rules", "transposed_call"]
