"""The rules of primitives that call one traced function: each rule transforms the function and calls the result.

`jit`, `checkpoint` and `when` use them. Leading operands that the function does not take, such as the flag of `when`,
are passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.discharge import thread_call
from pullback._core.jaxpr import Jaxpr
from pullback._core.lists import chosen, filled, others
from pullback._core.primitive import HigherOrder
from pullback._core.trace import is_linear
from pullback._core.zeros import Zero, zero_of
from pullback._transforms.accumulators import GradAccum, NullAccum, set_accumulate
from pullback._transforms.dce import dce
from pullback._transforms.jet import flatten, jet_jaxpr, unflatten
from pullback._transforms.jvp import jvp_jaxpr
from pullback._transforms.linearize_jaxpr import linearize_jaxpr, transpose_jaxpr
from pullback._transforms.vmap import batch_jaxpr

# (jaxpr, operands, the other parameters) to results
Apply = Callable[[Jaxpr, Sequence[Any], dict[str, Any]], list[Any]]


def active_of(tangents: Sequence[Any]) -> tuple[bool, ...]:
    """Flags for the tangents that are not symbolic zeros."""
    return tuple([type(t) is not Zero for t in tangents])


def give_call_rules(p: HigherOrder, leading: int = 0, apply: Apply | None = None) -> None:
    """Set the jvp, linearize, Taylor, transpose and batching rules of a primitive that calls its parameter `jaxpr`.

    The function takes the operands after the `leading` ones. `apply` binds the primitive, if a plain bind is not
    enough.
    """
    call = applying(p) if apply is None else apply

    def jvp(primals, tangents, *, jaxpr, **params):
        dots = tangents[leading:] if leading else tangents
        active = active_of(dots)
        derived, present = jvp_jaxpr(jaxpr, active)
        outs = call(derived, [*primals, *chosen(dots, active)], params)
        n = len(jaxpr.outvars)
        return outs[:n], filled(present, outs[n:], [zero_of(out.aval) for out in outs[:n]])

    def taylor(primals, series, *, jaxpr, **params):
        terms = series[leading:]
        active = tuple([s is not None for s in terms])
        order = next(len(s) for s in terms if s is not None)
        derived, present = jet_jaxpr(jaxpr, active, order)
        outs = call(derived, [*primals, *flatten(terms)], params)
        n = len(jaxpr.outvars)
        return outs[:n], unflatten(present, outs[n:], order)

    def linearize(trace, primals, tangents, *, jaxpr, **params):
        dots = tangents[leading:] if leading else tangents
        active = active_of(dots)
        parts = linearize_jaxpr(jaxpr, active)
        results = call(parts.forward, primals, params)
        n = len(jaxpr.outvars)
        outs, saved = results[:n], results[n:]
        known = [primals[leading + i] for i in parts.forwarded]
        touts = call(parts.linear, [*primals[:leading], *known, *saved, *chosen(dots, active)], params)
        return outs, filled(parts.present, touts, [zero_of(out.aval) for out in outs])

    def accumulate(cts, *operands, accums, jaxpr, **params):
        transposed_call(call, cts, operands, accums, jaxpr, params, leading)

    def batch(trace, operands, dims, *, jaxpr, **params):
        derived, out_batched = batch_jaxpr(jaxpr, trace, tuple([d is not None for d in dims[leading:]]))
        moved = [x if d is None else trace.materialize(x, d) for x, d in zip(operands, dims, strict=True)]
        return call(derived, moved, params), [0 if b else None for b in out_batched]

    p.thread = thread_call(p)
    p.jvp = jvp
    p.taylor = taylor
    p.linearize = linearize
    set_accumulate(p, accumulate)
    p.batch = batch


def applying(p: HigherOrder) -> Apply:
    """The function that binds a primitive."""
    return lambda jaxpr, operands, params: p.bind(*operands, jaxpr=jaxpr, **params)


def wanted_of(accums: Sequence[GradAccum | None]) -> tuple[bool, ...]:
    """Flags for the accumulators that take what is added."""
    return tuple([not isinstance(accum, NullAccum) for accum in accums])


def transposed_call(
    call: Apply,
    cts: Sequence[Any],
    operands: Sequence[Any],
    accums: Sequence[Any],
    jaxpr: Jaxpr,
    params: dict[str, Any],
    leading: int = 0,
    narrow: bool = False,
) -> None:
    """The rule `accumulate`; `narrow` drops operands that the transposed function does not read."""
    inputs = operands[leading:] if leading else operands
    linear = tuple([is_linear(x) for x in inputs])
    sums = chosen(accums[leading:], linear)
    given, wanted = active_of(cts), wanted_of(sums)
    backward, forms = transpose_jaxpr(jaxpr, linear, given, wanted)
    args = [*others(inputs, linear), *chosen(cts, given)]
    if narrow:
        backward, used = dce(backward, keep_inputs=False)
        args = chosen(args, used)
    results = iter(call(backward, [*operands[:leading], *args], params))
    for accum, parts in zip(chosen(sums, wanted), forms, strict=True):
        for form in parts:
            accum.add(next(results) if form is None else form.filled(results))


__all__ = ["active_of", "applying", "give_call_rules", "transposed_call", "wanted_of"]
