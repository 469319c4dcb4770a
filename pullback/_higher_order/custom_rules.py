"""Functions with rules of their own: the one mechanism behind `custom_jvp`, `custom_vjp` and their kin.

A `CustomCall` holds a flat function and the flat rules its user gave. Eagerly, and under differentiation, both run as
plain Python. Under tracing the function becomes a jaxpr inside one equation, and the rules stay beside it, so that
a transformation applied later still finds them.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pullback._core import counters, dtypes
from pullback._core.array import ConcreteArray, lift
from pullback._core.errors import RuleError, RuleNotDefinedError
from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.primitive import Primitive
from pullback._core.staging import stage_open
from pullback._core.trace import call_with, is_linear
from pullback._core.zeros import Zero, zero_of
from pullback._ops.identity import embed_constants
from pullback._ops.shape import instantiate, reduce_sum, zeros_like_aval
from pullback._transforms.jvp import jvp_flat
from pullback._transforms.linearize import Tape
from pullback._transforms.transpose import pull, record_linear
from pullback._transforms.vmap import BatchTrace, batch_flat


@dataclass(frozen=True, eq=False)
class CustomCall:
    """A flat function with rules. Tangents and cotangents may be symbolic zeros in every one of them.

    `jvp(primals, tangents) -> (outs, tangents_out)`; `fwd(*primals) -> (outs, residuals, static)`;
    `bwd(static, residuals, cotangents) -> cotangents_in`. `static` is whatever the backward rule must know that is no
    array. `label` names the function and its definition, for messages. The first `captured` operands are values that
    the function closed over; the rules do not know of them. `forward` says where forward mode comes from if there is
    no jvp rule: "transpose" of the bwd rule, or the derivative of the "fwd" rule or of the "primal" function.
    """

    fun: Callable[..., Sequence[Any]]
    name: str
    label: str
    jvp: Any = None
    fwd: Any = None
    bwd: Any = None
    captured: int = 0
    forward: str | None = None

    def __str__(self):
        rules = [rule for rule, given in (("jvp", self.jvp), ("vjp", self.bwd)) if given]
        return f"{self.name} with {' and '.join(rules) or 'no'} rule"


custom_call_p = Primitive("custom_call", multiple_results=True, higher_order=True)

FORWARD_REFUSED = "can't apply forward-mode autodiff (jvp) to a custom_vjp function."


def _evaluate(*args, call: CustomCall, **_):
    return [lift(out) for out in call.fun(*args)]


def _stage(trace, args, params):
    call: CustomCall = params["call"]
    if "jaxpr" in params:
        return trace.record(custom_call_p, args, params)
    args = [lift(a) for a in args]
    jaxpr, consts = stage_open(call.fun, [a.aval for a in args], call.label)
    staged = CustomCall(lambda *xs: eval_jaxpr(jaxpr, [], *xs), call.name, call.label, call.jvp, call.fwd, call.bwd,
                        forward=call.forward)
    staged = _with_captured(staged, len(consts))
    return trace.record(custom_call_p, [*consts, *args], {"call": staged, "jaxpr": jaxpr})


def _with_captured(call: CustomCall, n: int) -> CustomCall:
    """The call with `n` captured values in front of its arguments; its rules do not know of them."""
    if n == 0:
        return call

    return replace(call, captured=n,
                   jvp=(lambda primals, tangents: call.jvp(primals[n:], tangents[n:])) if call.jvp else None,
                   fwd=(lambda *primals: call.fwd(*primals[n:])) if call.fwd else None,
                   bwd=(lambda *args: [None] * n + list(call.bwd(*args))) if call.bwd else None)


def _type(*avals, call: CustomCall, jaxpr: Jaxpr):
    return jaxpr.out_avals


def _lower(ctx, *operands, call, jaxpr):
    return ctx.inline(jaxpr, operands)


class _Trial(Tape):
    """A tape to throw away: what a fwd rule keeps of a linear function, and its results' types, are read off it."""

    __slots__ = ()


def _record(tape, args, params):
    """A function of tangents inside a jvp rule: linear, so its own bwd rule, if it has one, is its transpose."""
    call: CustomCall = params["call"]
    if call.bwd is not None and not isinstance(tape, _Trial):
        trial = _Trial(tape.parent, tape.subject)
        moves = [is_linear(a) and a.owner is tape for a in args]
        stand_ins = [trial.node(a.aval) if m else a for a, m in zip(args, moves, strict=True)]
        outs, residuals, static = call_with(trial, call.fwd, *stand_ins)
        if not any(is_linear(r) and r.owner is trial for r in residuals):
            moving = [a if m else zero_of(a.aval) for a, m in zip(args, moves, strict=True)]
            return call_with(tape, _tangents_by_backward, call, outs, residuals, static, moving)
    # otherwise what it does to them is recorded, step by step
    return call_with(tape, call.fun, *args)


def _refuse_captured(call: CustomCall, tangents: Sequence[Any]) -> None:
    if any(type(t) is not Zero for t in tangents[:call.captured]):
        raise RuleError(f"{call.label} closes over a value that is being differentiated, but its rule only covers "
                        "its arguments. Pass the value as an argument.")


def _jvp(primals, tangents, call: CustomCall, **_):
    _refuse_captured(call, tangents)
    if call.jvp is not None:
        counters.count("rules")
        return call.jvp(primals, tangents)
    if call.fwd is None:
        raise _no_rule(call)
    if call.forward is None:
        call.fwd(*primals)
        raise _forward_refused(call)
    counters.count("rules")
    if call.forward == "primal":
        return jvp_flat(call.fun, primals, tangents)
    if call.forward == "fwd":
        return jvp_flat(lambda *xs: call.fwd(*xs)[0], primals, tangents)
    outs, residuals, static = call.fwd(*primals)
    return outs, _tangents_by_backward(call, outs, residuals, static, tangents)


def _no_rule(call: CustomCall) -> RuleNotDefinedError:
    return RuleNotDefinedError(
        f"{call.label} is decorated with custom rules, but none for differentiation is defined. Define one with "
        f"{call.name}.defjvp(rule) or {call.name}.defjvps(*rules) if it is a custom_jvp function, and with "
        f"{call.name}.defvjp(fwd, bwd) if it is a custom_vjp function.")


def _linearize(trace, primals, tangents, call: CustomCall, **_):
    if call.bwd is None:
        outs, touts = _jvp(primals, tangents, call)
        for t in touts:
            if type(t) is ConcreteArray and np.any(t.value):
                raise RuleError(f"the jvp rule of {call.label} returned a tangent output that does not depend on the "
                                f"tangent inputs, {t!r}: a tangent output must be linear in them, so that it can "
                                "be transposed.")
        return outs, touts
    _refuse_captured(call, tangents)
    counters.count("rules")
    outs, residuals, static = call.fwd(*primals)
    return outs, _tangents_by_backward(call, outs, residuals, static, tangents)


def _tangents_by_backward(call: CustomCall, outs, residuals, static, tangents) -> list[Any]:
    """The tangents of the results, as the linear map whose transpose is the bwd rule."""
    where = tuple(i for i, t in enumerate(tangents) if type(t) is not Zero)
    touts = backward_p.bind(*residuals, *(tangents[i] for i in where), call=call, static=Static(static), where=where,
                            out_avals=tuple(out.aval.to_tangent_aval() for out in outs))
    return [t if out.aval.to_tangent_aval().dtype == out.aval.dtype else zero_of(out.aval)
            for t, out in zip(touts, outs, strict=True)]


custom_call_p.evaluate = _evaluate
custom_call_p.stage = _stage
custom_call_p.record = _record
custom_call_p.abstract_eval = _type
custom_call_p.lower = _lower
custom_call_p.jvp = _jvp
custom_call_p.linearize = _linearize

# --- the derivative of a function with a backward rule: a linear map known only by its transpose ---


class _Backward(Primitive):
    """The linear map. On a tape it waits to be transposed; on known tangents it is applied, if its author allows."""

    __slots__ = ()

    def bind(self, *args: Any, **params: Any) -> Any:
        if any(map(is_linear, args)):
            return super().bind(*args, **params)
        return _apply(*args, **params)


backward_p = _Backward("custom_backward", multiple_results=True, higher_order=True)


class Static:
    """What a backward rule must know that is no array; compared by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __repr__(self):
        return "static"


def _forward_refused(call: CustomCall) -> TypeError:
    error = TypeError(FORWARD_REFUSED)
    error.add_note(
        f"It is the {call.label}, which has a vjp rule alone. To let forward mode through, say where it comes from: "
        f"{call.name}.defjvp(rule) for a rule of its own; or custom_vjp(..., jvp='transpose') to transpose the bwd "
        "rule, jvp='fwd' to differentiate the fwd rule, jvp='primal' to differentiate the function itself.")
    return error


def _apply(*operands, call: CustomCall, static: Static, where, out_avals) -> list[Any]:
    """The linear map applied to tangents: the bwd rule, recorded as a function of cotangents, and transposed."""
    if call.jvp is None and call.forward is None:
        raise _forward_refused(call)
    n = len(operands) - len(where)
    residuals, tangents = operands[:n], operands[n:]
    live = [i for i, aval in enumerate(out_avals) if aval.dtype != dtypes.float0]
    present: list[bool] = []

    def backward(*nodes):
        cts: list[Any] = [Zero(aval) for aval in out_avals]
        for i, node in zip(live, nodes, strict=True):
            cts[i] = node
        cts_in = call.bwd(static.value, residuals, cts)
        picked = [cts_in[i] for i in where]
        present[:] = [ct is not None and type(ct) is not Zero for ct in picked]
        return [ct for ct, p in zip(picked, present, strict=True) if p]

    counters.count("rules")
    try:
        linear = record_linear(backward, [out_avals[i] for i in live], f"the bwd rule of {call.name}")
        touts = pull(linear, [t for t, p in zip(tangents, present, strict=True) if p])
    except (RuleNotDefinedError, TypeError) as error:
        error.add_note(f"The bwd rule of {call.label} cannot be transposed, as jvp='transpose' asks: it must be linear "
                       "in the cotangent.")
        raise
    results = [zeros_like_aval(aval) for aval in out_avals]
    for i, t in zip(live, touts, strict=True):
        results[i] = instantiate(t)
    return results


def _backward_transpose(cts, *operands, call: CustomCall, static, where, out_avals):
    n = len(operands) - len(where)
    residuals = operands[:n]
    if any(map(is_linear, residuals)):
        raise RuleError(f"the vjp rule of {call.label} saved a tangent among its residuals")
    counters.count("rules")
    cts_in = call.bwd(static.value, residuals, cts)
    picked = [cts_in[i] for i in where]
    return [None] * n + [None if type(ct) is Zero else ct for ct in picked]


def _backward_lower(ctx, *operands, **params):
    what = f"the bwd rule of {params['call'].label}"
    jaxpr, consts = stage_open(lambda *xs: _apply(*xs, **params), [x.aval for x in operands], what)
    return ctx.inline(embed_constants(jaxpr, consts, what), operands)


backward_p.abstract_eval = lambda *avals, call, static, where, out_avals: out_avals
backward_p.lower = _backward_lower
backward_p.transpose = _backward_transpose

# --- vmap: the function and each of its rules, batched in the same way ---


def _batch(trace, operands, dims, call: CustomCall, **_):
    batched = BatchedCall(call, tuple(dims), trace)
    outs = custom_call_p.bind(*operands, call=batched.call())
    return outs, [0] * len(outs)


class BatchedCall:
    """The rules of a call under `vmap`; results and their tangents have their batch axis in front."""

    def __init__(self, inner: CustomCall, dims: tuple, trace: BatchTrace):
        self.inner = inner
        self.dims = dims
        self.size = trace.size
        self.axis_name = trace.axis_name
        self.tag = trace.tag

    def call(self) -> CustomCall:
        inner = self.inner
        return CustomCall(self.fun, inner.name, inner.label, self.jvp if inner.jvp else None,
                          self.fwd if inner.fwd else None, self.bwd if inner.bwd else None, inner.captured,
                          inner.forward)

    def run(self, fun, values, dims):
        return batch_flat(fun, values, dims, self.size, self.axis_name, self.tag)

    def fun(self, *values):
        outs, dims, trace = self.run(self.inner.fun, values, self.dims)
        return [trace.materialize(v, d) for v, d in zip(outs, dims, strict=True)]

    def jvp(self, primals, tangents):
        n = len(primals)
        where = [i for i, t in enumerate(tangents) if type(t) is not Zero]
        zeros: list[Any] = []

        def rule(*args):
            inner_primals = args[:n]
            inner_tangents = [zero_of(lift(p).aval) for p in inner_primals]
            for i, t in zip(where, args[n:], strict=True):
                inner_tangents[i] = t
            outs, touts = self.inner.jvp(list(inner_primals), inner_tangents)
            zeros[:] = [type(t) is Zero for t in touts]
            return [*outs, *(t for t in touts if type(t) is not Zero)]

        results, dims, trace = self.run(rule, [*primals, *(tangents[i] for i in where)],
                                        [*self.dims, *(self.dims[i] for i in where)])
        flat = [trace.materialize(v, d) for v, d in zip(results, dims, strict=True)]
        outs, rest = flat[:len(zeros)], iter(flat[len(zeros):])
        return outs, [zero_of(out.aval) if z else next(rest) for out, z in zip(outs, zeros, strict=True)]

    def fwd(self, *primals):
        shape: list[Any] = []

        def rule(*args):
            outs, residuals, static = self.inner.fwd(*args)
            shape[:] = [len(outs), static]
            return [*outs, *residuals]

        results, dims, trace = self.run(rule, primals, self.dims)
        n, static = shape
        outs = [trace.materialize(v, d) for v, d in zip(results[:n], dims[:n], strict=True)]
        return outs, [lift(r) for r in results[n:]], (static, tuple(dims[n:]))

    def bwd(self, static, residuals, cts):
        inner_static, residual_dims = static
        where = [i for i, ct in enumerate(cts) if type(ct) is not Zero]
        shape: list[Any] = []

        def rule(*args):
            inner_cts = [Zero(_without_leading(ct.aval)) if type(ct) is Zero else None for ct in cts]
            for i, ct in zip(where, args[len(residuals):], strict=True):
                inner_cts[i] = ct
            cts_in = self.inner.bwd(inner_static, args[:len(residuals)], inner_cts)
            shape[:] = [ct is not None and type(ct) is not Zero for ct in cts_in]
            return [ct for ct, p in zip(cts_in, shape, strict=True) if p]

        results, dims, trace = self.run(rule, [*residuals, *(cts[i] for i in where)],
                                        [*residual_dims, *(0 for _ in where)])
        parts = iter(zip(results, dims, strict=True))
        cts_in: list[Any] = []
        for present, dim in zip(shape, self.dims, strict=True):
            if not present:
                cts_in.append(None)
                continue
            value, d = next(parts)
            if dim is not None:
                cts_in.append(trace.materialize(value, d, dim))
            else:
                # an argument shared by the whole batch: its cotangent is the sum over it
                cts_in.append(reduce_sum(trace.materialize(value, d), (0,)))
        return cts_in


def _without_leading(aval):
    return aval.update(shape=aval.shape[1:])


custom_call_p.batch = _batch

