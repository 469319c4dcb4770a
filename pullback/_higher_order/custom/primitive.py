"""Functions with their own rules: the one mechanism behind `custom_jvp`, `custom_vjp` and `custom_vmap`.

`custom_call_p` is bound with a `CustomCall`, a flat function and its flat rules. Eagerly, and under differentiation,
both run as plain Python. Under tracing the function becomes a jaxpr inside one equation, and the rules stay with it,
so that a transformation applied later still finds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._analysis.dependence import depends_on
from pullback._analysis.linearity import may_add, not_linear
from pullback._analysis.uniform import vanishes
from pullback._core import counters
from pullback._core.array import lift
from pullback._core.cells import cells_of
from pullback._core.errors import RuleError, RuleNotDefinedError, UnexpectedTracerError
from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.lists import chosen
from pullback._core.primitive import HigherOrder
from pullback._core.staging import stage_open
from pullback._core.trace import call_with, context, is_linear
from pullback._core.types import ShapedArray
from pullback._core.zeros import Zero, zero_of
from pullback._higher_order.call import called
from pullback._higher_order.call_rules import active_of
from pullback._higher_order.custom.backward import (
    forward_refused,
    is_for_transposition,
    tangents_by_backward,
)
from pullback._higher_order.custom.call import CustomCall, closing_over, replaced
from pullback._higher_order.custom.refs import record_with_refs
from pullback._higher_order.custom.remat import checkpointed
from pullback._higher_order.custom.vmap import BatchedCall, jvp_with_batching_rule
from pullback._ops.own_types import undefined_value
from pullback._ops.scattered import adding
from pullback._transforms.dce import dce
from pullback._transforms.harvest import CHECK, harvest_jaxpr, tap_sites, without_taps
from pullback._transforms.jvp import jvp_flat
from pullback._transforms.linearize import Node, Tape
from pullback._xla.evaluate import evaluator


def _bodies(params):
    jaxpr = params.get("jaxpr")
    return () if jaxpr is None else [called(jaxpr)]


custom_call_p = HigherOrder("custom_call", _bodies, lambda params, jaxprs, kept: {**params, "jaxpr": jaxprs[0]})
custom_call_p.has(ruled=True)


def _evaluate(*args, call: CustomCall, **_):
    return [lift(out) for out in call.fun(*args)]


def _stage(trace, args, params):
    operands, staged = _staged(args, params)
    if cells_of(staged["jaxpr"]):
        return record_with_refs(trace, custom_call_p, staged["call"], staged["jaxpr"], operands)
    return trace.record(custom_call_p, operands, staged)


def _staged(args, params) -> tuple[Sequence[Any], dict[str, Any]]:
    """The operands and parameters of a call with its function as a jaxpr."""
    if "jaxpr" in params:
        return args, params
    args = [lift(a) for a in args]
    consts, params = _as_jaxpr(params["call"], [a.aval for a in args])
    return [*consts, *args], params


def _as_jaxpr(call: CustomCall, avals: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    """The parameters of a call with its function as a jaxpr; constants that tracing has found are leading operands."""
    jaxpr, consts = stage_open(call.fun, avals, call.label)

    def fun(*xs):
        return eval_jaxpr(jaxpr, [], *xs)

    staged = (
        closing_over(call, consts, fun)
        if consts
        else replaced(call, fun=fun, key=call.key, rules_key=call.rules_key, dce=call.dce)
    )
    return consts, {"call": staged, "jaxpr": jaxpr}


def _type(*avals, call: CustomCall, jaxpr: Jaxpr):
    return jaxpr.out_avals


def _lower(ctx, *operands, call, jaxpr):
    return ctx.inline(jaxpr, operands)


class _ScratchTape(Tape):
    """A temporary tape: on it a fwd rule shows which residuals it saves, and the types of its results."""

    __slots__ = ()


def stand_in(scratch: Tape, aval: Any) -> Any:
    """A tangent on the scratch tape; of a type of one's own, which has no operations, a value that must not matter."""
    return scratch.node(aval) if type(aval) is ShapedArray else undefined_value(aval)


def _record(tape, args, params):
    """Record the call of a function with tangents, inside a jvp rule. It is linear: its bwd rule is its transpose."""
    call: CustomCall = params["call"]
    if call.transpose is not None and not any(map(is_linear, args[: len(call.captured)])):
        return tape.record_part(custom_call_p, *_staged(args, params))
    is_tangent = [is_linear(a) and a._trace is tape for a in args]
    if call.bwd is not None and not isinstance(tape, _ScratchTape) and not any(is_tangent[: len(call.captured)]):
        scratch = _ScratchTape(tape.parent, tape.subject)
        stand_ins = [stand_in(scratch, a.aval) if m else a for a, m in zip(args, is_tangent, strict=True)]
        outs, residuals, static = call_with(scratch, call.fwd, stand_ins, tuple(is_tangent))
        if not any(is_linear(r) and r._trace is scratch for r in residuals):
            tangents = [a if m else zero_of(a.aval) for a, m in zip(args, is_tangent, strict=True)]
            return call_with(tape, tangents_by_backward, call, outs, residuals, static, tangents)
    # without such a rule, or if the rule saves tangents, the operations of the function are recorded
    return call_with(tape, call.fun, *args)


def _jvp(primals, tangents, call: CustomCall, **_):
    def through_function(given):
        return jvp_flat(call.fun, primals, given)

    if call.jvp is None and call.fwd is None and call.vmap is not None:
        return jvp_with_batching_rule(custom_call_p, call, primals, tangents)
    if call.jvp is None and call.fwd is None and call.forward == "primal":
        return through_function(tangents)
    return _with_captured_tangents(
        call, tangents, lambda given: _by_rule(_forward, call, primals, given), through_function
    )


def _linearize(trace, primals, tangents, call: CustomCall, **_):
    if not call.captured:
        bwd = call.bwd
        if bwd is not None or call.jvp is not None:
            return _reverse(call, primals, tangents)  # the same as below, faster

    def through_function(given):
        outs = call_with(trace, call.fun, *map(trace.join, primals, given))
        return trace.split(outs)

    undefined = call.jvp is None and call.fwd is None and call.linearize is None
    if undefined and (call.vmap is not None or call.forward == "primal"):
        return through_function(tangents)
    return _with_captured_tangents(
        call, tangents, lambda given: _by_rule(_reverse, call, primals, given), through_function
    )


def _with_captured_tangents(call: CustomCall, tangents, by_rule, through_function):
    """Results and tangents: by the rule with respect to the arguments, by the function for captured values.

    With x the arguments and θ what f closes over, f' = rule(x, x'; θ) + ∂f/∂θ(x; θ) θ'.
    """
    n = len(call.captured)
    if all(type(t) is Zero for t in tangents[:n]):
        return by_rule(tangents)
    for t, name in zip(tangents, call.held):
        if name is not None and type(t) is not Zero:
            raise UnexpectedTracerError(
                f"{call.label}: {name} is in nondiff_argnums, but the function is differentiated with respect to it. "
                "Make the argument an ordinary one; a rule may return None (or zeros) for it."
            )
    zeros = [t if type(t) is Zero else Zero(t.aval) for t in tangents]
    if all(type(t) is Zero for t in tangents[n:]):
        return through_function(tangents)
    outs, touts = by_rule([*zeros[:n], *tangents[n:]])
    _, more = through_function([*tangents[:n], *zeros[n:]])
    return outs, [
        b if type(a) is Zero else a if type(b) is Zero else adding(a.aval).bind(a, b)
        for a, b in zip(touts, more, strict=True)
    ]


def _by_rule(rule, call: CustomCall, primals, tangents):
    """Results and tangents by a rule, which says nothing about what is written to references."""
    outs, touts = rule(call, primals, tangents)
    if call.contents:
        n = len(outs) - call.contents
        touts = [*touts[:n], *(zero_of(out.aval) for out in outs[n:])]
    return outs, touts


def _forward(call: CustomCall, primals, tangents):
    """Results and tangents, by the jvp rule or by the source of forward mode that the author named."""
    if call.jvp is not None:
        counters.count("rules")
        outs, touts = call.jvp(primals, tangents)
        if len(outs) > 1 and not all(active_of(tangents)):
            # a result that depends only on arguments without tangent has none, though a rule gives it zeros
            touts = [
                zero_of(out.aval) if type(t) is not Zero and vanishes(t) else t
                for out, t in zip(outs, touts, strict=True)
            ]
        return outs, touts
    if call.fwd is None:
        raise _no_rule(call)
    active = active_of(tangents)
    if call.forward is None and not is_for_transposition():
        call.fwd(primals, active)
        raise forward_refused(call)
    counters.count("rules")
    if call.forward == "primal":
        return jvp_flat(call.fun, primals, tangents)
    if call.forward == "fwd":
        return jvp_flat(lambda *xs: call.fwd(xs, None)[0], primals, tangents)
    outs, residuals, static = call.fwd(primals, active)
    return outs, tangents_by_backward(call, outs, residuals, static, tangents)


# what to look at where a jvp rule treats primals as tangents
_ORDER = (
    "A jvp rule is called as rule(primals, tangents) and returns (primal_out, tangent_out), in this order: see whether "
    "the two are interchanged."
)


def _with_notes_of(error: Exception, other: RuleError) -> RuleError:
    """The other error, with the notes and the origin of an error."""
    for note in getattr(error, "__notes__", ()):
        other.add_note(note)
    other.origin = getattr(error, "origin", None)  # type: ignore[attr-defined]
    return other


def _reverse(call: CustomCall, primals, tangents):
    """Results, and their tangents on the tape: the linear map of the bwd rule, or else the jvp rule, recorded."""
    if call.bwd is None:
        rule = call.linearize or call.jvp
        if rule is None:
            raise _no_rule(call)
        counters.count("rules")
        tape: Any = context.trace
        records = tape.records
        begin = len(records)
        try:
            outs, touts = rule(primals, tangents)
        except TypeError as error:
            if getattr(error, "nonlinear_on", None) is tape:
                raise _with_notes_of(error, RuleError(f"{call.jvp_label()}: {error}. {_ORDER}")) from None
            raise
        for i, out in enumerate(outs):
            if type(out) is Node and out._trace is tape:
                raise RuleError(
                    f"{call.jvp_label()} returned a primal output that depends on the tangent inputs"
                    f"{f' (leaf {i})' * (len(outs) > 1)}: expected the value of {call.name}, computed from the primals "
                    f"alone. {_ORDER}"
                )
        if tape.untransposable:
            tape.name_rule(records[begin:], call.jvp_label)
        for t in touts:
            if type(t) is not Node and type(t) is not Zero:
                touts = _without_values(call, outs, touts)
                break
        for record in records[begin:]:
            if may_add(record.primitive):
                _check_linear(call, records[begin:], touts)
                break
        return outs, touts
    counters.count("rules")
    outs, residuals, static = call.fwd(primals, active_of(tangents))
    return outs, tangents_by_backward(call, outs, residuals, static, tangents)


def _without_values(call: CustomCall, outs, touts) -> list[Any]:
    """The tangents that a jvp rule returned in reverse mode, with symbolic zeros for values, which must vanish."""
    for t in touts:
        if type(t) is not Node and type(t) is not Zero and not vanishes(t):
            raise RuleError(
                f"{call.jvp_label()} returned a tangent output that does not depend on the "
                f"tangent inputs, {t!r}: a tangent output must be linear in them, so that it can be "
                f"transposed. {_ORDER}"
            )
    return [t if type(t) is Node else zero_of(out.aval) for out, t in zip(outs, touts, strict=True)]


def _check_linear(call: CustomCall, records, touts) -> None:
    culprit = not_linear(records, touts)
    if culprit is not None:
        raise RuleError(
            f"{call.jvp_label()} returned a tangent output that is not linear in the tangent "
            f"inputs: '{culprit.name}' puts together what depends on them and what does not. Leave out "
            "what does not vanish with the tangents."
        )


def _no_rule(call: CustomCall) -> RuleNotDefinedError:
    return RuleNotDefinedError(
        f"{call.label} is decorated with custom rules, but none for differentiation is defined, or none was when it "
        f"was traced. Define one with {' or '.join(f'{call.name}.{method}' for method in call.definable)}."
    )


def _batch(trace, operands, dims, call: CustomCall, **_):
    if call.batch is not None:
        result = call.batch(trace, operands, dims)
        if result is not None:
            return result
    batched = BatchedCall(call, tuple(dims), trace)
    if call.vmap is not None and call.jvp is None and call.fwd is None:
        outs = batched.fun_by_rule(*operands)  # further transformations see the operations of the vmap rule
    else:
        outs = custom_call_p.bind(*operands, call=batched.call())
    return outs, batched.out_dims()


def _harvest(trace, args, params):
    call = params["call"]
    if trace.parent is evaluator:
        # nothing differentiates the call any more: the function runs without its rules
        return [lift(out) for out in call_with(trace, call.fun, *args)]
    # the call keeps its rules for a later differentiation; taps are collected in a second run of the function
    operands, staged = _staged(args, params)
    jaxpr = staged["jaxpr"]
    if CHECK in trace.kinds and tap_sites(jaxpr, (CHECK,)):
        outs = call_with(trace.parent, custom_call_p.bind, *operands, **_unchecked(**staged))
    else:
        outs = call_with(trace.parent, custom_call_p.bind, *args, **params)
    if tap_sites(jaxpr, trace.kinds):
        derived, marks = harvest_jaxpr(jaxpr, trace.kinds)
        n = len(jaxpr.outvars)
        taps, _ = dce(without_taps(derived), (False,) * n + (True,) * (len(derived.outvars) - n))
        trace.collect(marks, call_with(trace.parent, eval_jaxpr, taps, [], *operands))
    return outs


def _unchecked(call: CustomCall, jaxpr: Jaxpr) -> dict[str, Any]:
    """The parameters of a call whose function makes no checks."""
    unchecked, _ = dce(without_taps(jaxpr, CHECK))

    def fun(*xs):
        return eval_jaxpr(unchecked, [], *xs)

    return {"call": replaced(call, fun=fun, rules_key=call.rules_key), "jaxpr": unchecked}


def _depends(marked, call: CustomCall, jaxpr: Jaxpr):
    # a rule may give a derivative with respect to an argument that the function ignores
    ruled = call.jvp is not None or call.fwd is not None
    return (any(marked),) * len(jaxpr.outvars) if ruled else depends_on(jaxpr, marked)


def _dce(used, eqn):
    """The call as it is, since its rules compute all results, unless its author knows a smaller one."""
    call = eqn.params["call"]
    smaller = None if call.dce is None or not any(used) else call.dce(used)
    if smaller is None:
        return eqn
    reduced, operands, results = smaller
    invars = chosen(eqn.invars, operands)
    consts, params = _as_jaxpr(reduced, [v.aval for v in invars])
    if consts:
        return eqn  # its methods refer to traced values
    return eqn.replace(invars=invars, outvars=chosen(eqn.outvars, results), params=params)


def _show(params):
    """An instance of a class with rules is shown under its own name, with its own params."""
    instance = params["call"].key
    return None if instance is None else (type(instance).__name__, instance.pp_params())


custom_call_p.show = _show
custom_call_p.depends = _depends
custom_call_p.evaluate = _evaluate
custom_call_p.stage = _stage
custom_call_p.record = _record
custom_call_p.abstract_eval = _type
custom_call_p.lower = _lower
custom_call_p.jvp = _jvp
custom_call_p.linearize = _linearize
custom_call_p.transpose = lambda cts, *operands, call, **_: call.transpose(cts, operands)
custom_call_p.batch = _batch
custom_call_p.dce = _dce
custom_call_p.checkpointed = checkpointed
custom_call_p.harvest = _harvest
