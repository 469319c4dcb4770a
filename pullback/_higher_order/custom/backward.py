"""The derivative of a function with a backward rule: a linear map of which only the transpose is known.

The derivative J is a real-linear map, of complex numbers too, and a bwd rule is its transpose under the pairing
<c, t> = Re(sum c t), without conjugation: <J t, c> = <t, Jᵀ c>. Where J is complex-linear, as for a holomorphic
function, Jᵀ is the plain transpose of its matrix: a bwd rule multiplies by f'(z), not by its conjugate. The gradient of
a real function is then ∂f/∂x − i ∂f/∂y, the conjugate of the direction of steepest ascent. For the calculus see
Kreutz-Delgado, The Complex Gradient Operator and the CR-Calculus (2009), arXiv:0906.4835; PyTorch conjugates.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pullback._core import counters
from pullback._core.errors import RuleError, RuleNotDefinedError
from pullback._core.flat_function import WithAux
from pullback._core.lists import chosen, filled
from pullback._core.primitive import HigherOrder, Primitive
from pullback._core.staging import stage_open
from pullback._core.trace import context, is_linear
from pullback._core.types import is_trivial
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, nonzero, zero_of
from pullback._higher_order.custom.call import CustomCall, replaced
from pullback._ops.identity import embed_constants
from pullback._ops.own_types import placeholder
from pullback._ops.shape import instantiate, zeros_like_aval
from pullback._transforms.dce import dce
from pullback._transforms.linearize import Node, Record, Tape
from pullback._transforms.transpose import pull, record_linear
from pullback._transforms.vmap import batch_flat, with_leading

FORWARD_REFUSED = "can't apply forward-mode autodiff (jvp) to a custom_vjp function."


def forward_refused(call: CustomCall) -> TypeError:
    """The error of forward mode for a function with only a bwd rule; its notes suggest what to do."""
    error = TypeError(FORWARD_REFUSED)
    error.add_note(
        f"It is the {call.label}, which has a vjp rule alone. To let forward mode through, say where it comes from: "
        f"{call.name}.defjvp(rule) for a rule of its own; or custom_vjp(..., jvp='transpose') to transpose the bwd "
        "rule, jvp='fwd' to differentiate the fwd rule, jvp='primal' to differentiate the function itself. "
        "hessian and jacfwd use forward mode; jacrev(grad(f)) is a Hessian without it."
    )
    return error


def tangents_by_backward(call: CustomCall, outs, residuals, static, tangents) -> list[Any]:
    """The tangents of a call's results: the linear map whose transpose is the bwd rule, applied to the tangents."""
    tape: Any = context.trace
    taped, partial = type(tape) is Tape, False
    operands, where = [*residuals], []
    for i, t in enumerate(tangents):
        if type(t) is not Zero:
            where.append(i)
            operands.append(t)
            taped = taped and type(t) is Node and t._trace is tape
        elif not is_trivial(t.aval):
            partial = True
    out_avals = tuple([out.aval.to_tangent_aval() for out in outs])
    params = {"call": call, "static": Static(static, partial), "where": tuple(where), "out_avals": out_avals}
    p = backward_p if call.accumulate is None else accumulating_backward_p
    touts = tape.append(p, operands, params, out_avals) if taped else p.bind(*operands, **params)
    return [zero_of(out.aval) if is_trivial(aval) else t for t, out, aval in zip(touts, outs, out_avals, strict=True)]


class Static:
    """The residuals of a bwd rule that are not arrays, as a parameter; compared by identity.

    `partial` says that some arguments are not differentiated, so that the rule may not need all its residuals.
    """

    __slots__ = ("value", "partial")

    def __init__(self, value: AnyValue, partial: bool):
        self.value = value
        self.partial = partial

    def __repr__(self) -> str:
        return "static"


class _Tracing(threading.local):
    """The number of contexts `for_transposition` entered in this thread."""

    depth = 0


_tracing = _Tracing()


@contextmanager
def for_transposition() -> Iterator[None]:
    """Allow functions being traced to contain the linear map, even if it cannot be applied: only a transpose may run.

    If such a function runs in forward mode after all, the map is applied or refused then.
    """
    _tracing.depth += 1
    try:
        yield
    finally:
        _tracing.depth -= 1


def is_for_transposition() -> bool:
    """Return whether a function that may contain the linear map is being traced."""
    return _tracing.depth > 0


# the linear map, and the one whose bwd rule takes accumulators
backward_p = HigherOrder("custom_backward")
accumulating_backward_p = HigherOrder("custom_backward")
backward_p.has(ruled=True)
accumulating_backward_p.has(ruled=True)


def _at_once(args, params):
    """Apply the map to known tangents; on a tape, or in a function traced `for_transposition`, it is recorded."""
    return None if is_for_transposition() or any(map(is_linear, args)) else _apply(*args, **params)


def _apply(*operands, call, static: Static, where, out_avals) -> list[Any]:
    """Apply the linear map to tangents: record the bwd rule as a function of cotangents, and transpose it."""
    if call.jvp is None and call.forward is None:
        raise forward_refused(call)
    n = len(operands) - len(where)
    residuals, tangents = operands[:n], operands[n:]
    live = [i for i, aval in enumerate(out_avals) if not is_trivial(aval)]

    @WithAux
    def backward(*nodes):
        cts: list[Any] = [Zero(aval) for aval in out_avals]
        for i, node in zip(live, nodes, strict=True):
            cts[i] = node
        cts_in = call.bwd(static.value, residuals, cts)
        return nonzero([cts_in[i] for i in where])

    counters.count("rules")
    try:
        linear = record_linear(backward, [out_avals[i] for i in live], f"the bwd rule of {call.name}")
        touts = pull(linear, chosen(tangents, backward.aux))
    except (RuleNotDefinedError, TypeError) as error:
        error.add_note(
            f"The bwd rule of {call.label} cannot be transposed, as jvp='transpose' asks, or forward mode of a class "
            "without a rule for it: it must be linear in the cotangent. Or define a jvp rule."
        )
        raise
    results = [zeros_like_aval(aval) for aval in out_avals]
    for i, t in zip(live, touts, strict=True):
        results[i] = instantiate(t)
    return results


def _residuals(operands, call, where):
    residuals = operands[: len(operands) - len(where)]
    if any(map(is_linear, residuals)):
        raise RuleError(f"the vjp rule of {call.label} saved a tangent among its residuals")
    counters.count("rules")
    return residuals


def _accumulate(cts, *operands, accums, call, static, where, out_avals):
    given = dict(zip(where, accums[len(accums) - len(where) :], strict=True))
    call.accumulate(static.value, _residuals(operands, call, where), cts, given)


def _transpose(cts, *operands, call, static, where, out_avals):
    n = len(operands) - len(where)
    cts_in = call.bwd(static.value, _residuals(operands, call, where), cts)
    results: list[Any] = [None] * n
    for i in where:
        ct = cts_in[i]
        results.append(None if type(ct) is Zero else ct)
    return results


def _batch(trace, operands, dims, call, static, where, out_avals):
    n = len(operands) - len(where)
    batched = [trace.materialize(x, d) for x, d in zip(operands[n:], dims[n:], strict=True)]

    def bwd(value, residuals, cts):
        live = [i for i, ct in enumerate(cts) if type(ct) is not Zero]

        @WithAux
        def rule(*args):
            inner: list[Any] = [Zero(aval) for aval in out_avals]
            for i, ct in zip(live, args[n:], strict=True):
                inner[i] = ct
            return nonzero(call.bwd(value, args[:n], inner))

        outs, out_dims, inside = batch_flat(
            rule, [*residuals, *(cts[i] for i in live)], [*dims[:n], *(0 for _ in live)], trace.size, trace.axis_name
        )
        given = [inside.materialize(out, d) for out, d in zip(outs, out_dims, strict=True)]
        return filled(rule.aux, given, [None] * len(rule.aux))

    derived = replaced(
        call,
        jvp=None,
        fwd=None,
        vmap=None,
        batch=None,
        transpose=None,
        linearize=None,
        bwd=bwd,
        forward=None if call.jvp is None and call.forward is None else "transpose",
    )
    avals = tuple([with_leading(aval, trace.size) for aval in out_avals])
    outs = backward_p.bind(*operands[:n], *batched, call=derived, static=static, where=where, out_avals=avals)
    return outs, [0] * len(outs)


def _lower(ctx, *operands, **params):
    what = f"the bwd rule of {params['call'].label}"
    jaxpr, consts = stage_open(lambda *xs: _apply(*xs, **params), [x.aval for x in operands], what)
    return ctx.inline(embed_constants(jaxpr, consts, what), operands)


def structured_residuals(primitive: Primitive, operands: Sequence[Any], params: dict[str, Any]) -> Any:
    """The structured residuals among the operands of a bwd rule, a pytree; None if it has none."""
    if primitive not in (backward_p, accumulating_backward_p) or not getattr(
        params["static"].value, "structured", False
    ):
        return None
    residuals = operands[: len(operands) - len(params["where"])]
    return params["static"].value.residuals.restored(residuals, lambda saved: saved[1])


def _narrow(record: Record) -> Record:
    """The record without the residuals that only cotangents of arguments without derivative need.

    The rule is traced to find them. From then on it gets zeros in their place: results computed from them are not read.
    """
    params = record.params
    call, static, where, out_avals = params["call"], params["static"], params["where"], params["out_avals"]
    n = len(record.inputs) - len(where)
    if not static.partial or n == 0:
        return record
    avals = [r.aval for r in record.inputs[:n]]
    live = [i for i, aval in enumerate(out_avals) if not is_trivial(aval)]

    def picked(*args):
        cts: list[Any] = [Zero(aval) for aval in out_avals]
        for i, ct in zip(live, args[n:], strict=True):
            cts[i] = ct
        cts_in = call.bwd(static.value, args[:n], cts)
        return nonzero([cts_in[i] for i in where])[0]

    jaxpr, consts = stage_open(picked, [*avals, *(out_avals[i] for i in live)], f"the bwd rule of {call.label}")
    reads = dce(jaxpr)[1][len(consts) : len(consts) + n]
    if all(reads):
        return record

    def bwd(value, residuals, cts):
        saved = iter(residuals)
        return call.bwd(value, [next(saved) if r else placeholder(a) for r, a in zip(reads, avals, strict=True)], cts)

    narrowed = replaced(call, bwd=bwd)
    inputs = chosen(record.inputs[:n], reads) + list(record.inputs[n:])
    return Record(
        backward_p, inputs, {**params, "call": narrowed, "static": Static(static.value, False)}, record.outputs
    )


for p in (backward_p, accumulating_backward_p):
    p.at_once = _at_once
    p.narrow = _narrow
    p.batch = _batch
    p.evaluate = _apply
    p.abstract_eval = lambda *avals, call, static, where, out_avals: out_avals
    p.lower = _lower
    p.transpose = _transpose
accumulating_backward_p.accumulate = _accumulate
