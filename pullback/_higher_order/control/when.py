"""`when`: a function that is applied only if a flag is true; otherwise its results are zeros.

It skips the steps of a loop that has ended. Zeros are the right derivative of what was not computed, so all rules have
the same form. Under `vmap` with a flag for each example it is still skipped if no flag is set. Otherwise the examples
whose flag is not set are replaced by copies of one whose flag is set: the function is never evaluated on values that it
was not meant for, and no infinity arises in its derivative there, to be multiplied by zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.jaxpr import Equation, Jaxpr, Var, eval_jaxpr
from pullback._core.lists import chosen
from pullback._core.primitive import HigherOrder
from pullback._core.staging import stage_open
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue
from pullback._higher_order.call import called, check_operands
from pullback._higher_order.call_rules import give_call_rules
from pullback._higher_order.control.batched_choice import broadcast_flags, replaceable_by_chosen, replaced_by_chosen
from pullback._higher_order.control.cond import cond_p
from pullback._higher_order.control.effects_under_vmap import batch_by_scan
from pullback._ops.compare import select
from pullback._ops.own_types import default_value
from pullback._ops.reduce import reduce_or
from pullback._ops.shape import convert_element_type, zeros_like_aval
from pullback._transforms.vmap import batch_jaxpr


def _bodies(params):
    jaxpr = params["jaxpr"]
    zeros = jaxpr.derive(
        "zeros", lambda: stage_open(lambda *args: list(map(zeros_like_aval, jaxpr.out_avals)), jaxpr.in_avals)[0]
    )
    # whether it runs is not known
    return [called(jaxpr, 1)._replace(times=None), called(zeros, 1)]


when_p = HigherOrder("when", _bodies, lambda params, jaxprs, kept: {"jaxpr": jaxprs[0]})


def bind_when(flag: AnyValue, jaxpr: Jaxpr, args: Sequence[Any]) -> list[Any]:
    """The results of a traced function (without constants) if `flag` is true, else zeros.

    Zeros of types of one's own are no zeros of parts: there it is a `cond`.
    """
    if any(type(aval) is not ShapedArray for aval in jaxpr.out_avals):
        zeros = jaxpr.derive(
            "zeros", lambda: stage_open(lambda *args: list(map(default_value, jaxpr.out_avals)), jaxpr.in_avals)[0]
        )
        return cond_p.bind(convert_element_type(flag, np.dtype(np.int32)), *args, branches=(zeros, jaxpr))
    return when_p.bind(flag, *args, jaxpr=jaxpr)


def _evaluate(flag, *args, jaxpr):
    return eval_jaxpr(jaxpr, [], *args) if bool(flag) else list(map(zeros_like_aval, jaxpr.out_avals))


def _type(flag, *avals, jaxpr):
    check_operands("when", jaxpr, avals)
    return jaxpr.out_avals


def _lower(ctx, flag, *operands, jaxpr):
    avals = list(jaxpr.out_avals)
    return ctx.choose(
        ctx.convert(flag, np.dtype(np.int32)),
        avals,
        [lambda block: [block.constant(0, aval) for aval in avals], lambda block: block.inline(jaxpr, operands)],
    )


def _batch(trace, operands, dims, jaxpr):
    flag, *args = operands
    batched = tuple(d is not None for d in dims[1:])
    moved = [x if d is None else trace.materialize(x, d) for x, d in zip(args, dims[1:], strict=True)]
    if dims[0] is None:
        derived, out_batched = batch_jaxpr(jaxpr, trace, batched)
        return bind_when(flag, derived, moved), [0 if b else None for b in out_batched]
    if jaxpr.effectful:
        return batch_by_scan(trace, when_p, operands, dims, {"jaxpr": jaxpr})
    derived, _ = batch_jaxpr(jaxpr, trace, batched, True)
    replaceable = replaceable_by_chosen(trace, jaxpr, batched)
    masked = derived.derive(("masked", replaceable), lambda: _masked(derived, replaceable, trace.size))
    flags = trace.materialize(flag, dims[0])
    return bind_when(reduce_or(flags, (0,)), masked, [flags, *moved]), [0] * len(jaxpr.outvars)


def _masked(derived: Jaxpr, replaceable: tuple[bool, ...], size: int) -> Jaxpr:
    def fun(flags, *values):
        outs = eval_jaxpr(derived, [], *replaced_by_chosen(flags, values, replaceable))
        return [select(broadcast_flags(flags, out), out, zeros_like_aval(out.aval)) for out in outs]

    return stage_open(fun, [make_aval((size,), np.dtype(bool)), *derived.in_avals])[0]


def _save(eqn: Equation, missing: Sequence[bool], saving):
    """The operation that returns the values the policy saves in the function, and the one that recomputes the rest."""
    body = saving.flat(eqn.params["jaxpr"])
    kept = saving.kept(body)
    whole = [k and type(v) is Var and v in kept for k, v in zip(missing, body.outvars, strict=True)]
    again = [k and not w for k, w in zip(missing, whole, strict=True)]
    saved = chosen(eqn.outvars, whole)
    if not any(again):
        return eqn, saved, None
    part = saving.split(body, chosen(body.outvars, again))
    stores = [Var(v.aval) for v in part.saved]
    first = Jaxpr([], body.invars, part.first, [*body.outvars, *part.saved])
    repeated = Jaxpr([], [*body.invars, *part.saved], part.again, chosen(body.outvars, again))
    return (
        eqn.replace(outvars=[*eqn.outvars, *stores], params={"jaxpr": first}),
        [*saved, *stores],
        eqn.replace(invars=[*eqn.invars, *stores], outvars=chosen(eqn.outvars, again), params={"jaxpr": repeated}),
    )


def _thread(args, params, jaxprs, read, written):
    # what is not done leaves the references as they are: no zeros
    flag, *operands = args
    body, zeros = jaxprs
    outs = cond_p.bind(
        convert_element_type(flag, np.dtype(np.int32)), *operands, *read, *written, branches=(zeros, body)
    )
    n = len(outs) - len(written)
    return outs[:n], outs[n:]


when_p.evaluate = _evaluate
when_p.abstract_eval = _type
when_p.lower = _lower
give_call_rules(when_p, 1, lambda jaxpr, operands, params: bind_when(operands[0], jaxpr, operands[1:]))
when_p.batch = _batch
when_p.thread = _thread
when_p.save = _save

__all__ = ["bind_when", "when_p"]
