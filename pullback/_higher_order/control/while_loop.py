"""`while_loop`: a loop whose length depends on data.

Forward mode differentiates the loop as it is. Reverse mode would need unbounded memory, unless the number of steps has
a bound: then the differentiated loop consists of scans, see `bounded_while`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core.arguments import check_callable
from pullback._core.array import ArrayLike, lift
from pullback._core.errors import boundary, describe_function
from pullback._core.jaxpr import HeldJaxpr, Jaxpr, Var, eval_jaxpr
from pullback._core.lists import chosen, filled, fixed_point
from pullback._core.origins import NO_CONTEXT, InStep, origins_are_tracked
from pullback._core.primitive import HigherOrder
from pullback._core.staging import stage_open
from pullback._core.trace import call_with
from pullback._core.tree import tree_structure, tree_unflatten, treedef_tuple
from pullback._core.types import make_aval, matches
from pullback._core.typing import PyTree, R
from pullback._core.zeros import zero_of
from pullback._higher_order.bodies import (
    check_same_structure,
    check_same_types,
    known_count,
    lift_tree,
    promote_weak,
    trace_body,
)
from pullback._higher_order.call import check_operands
from pullback._higher_order.call_rules import active_of
from pullback._higher_order.control.batched_choice import replaceable_by_chosen, replaced_by_chosen
from pullback._higher_order.control.bounded_while import nested_scans
from pullback._higher_order.control.eager_budget import are_placed, cost, is_beyond, run_compiled
from pullback._higher_order.control.effects_under_vmap import batch_by_scan
from pullback._higher_order.control.pack_lowering import spread, stacked
from pullback._higher_order.control.packing import packed
from pullback._higher_order.host.callback import without_debug_callbacks
from pullback._ops.own_types import chosen_entries
from pullback._ops.reduce import reduce_or
from pullback._ops.shape import instantiate
from pullback._transforms.jvp import jvp_jaxpr
from pullback._transforms.linearize import LinearizedTracer
from pullback._transforms.vmap import batch_jaxpr


def _bodies(params):
    cond, body, n, m = params["cond_jaxpr"], params["body_jaxpr"], params["cond_consts"], params["body_consts"]
    end = n + len(body.invars)
    return [
        HeldJaxpr(body, range(n, end), range(m, len(body.invars)), None),
        HeldJaxpr(cond, (*range(n), *range(n + m, end)), times=None, returns=False),
    ]


def _rebuilt(params, jaxprs, kept):
    params = {**params, "body_jaxpr": jaxprs[0], "cond_jaxpr": jaxprs[1]}
    if kept is not None:
        conds, consts, _ = _split(kept, params["cond_consts"], params["body_consts"])
        params |= {"cond_consts": sum(conds), "body_consts": sum(consts)}
    return params


while_p: HigherOrder = HigherOrder("while", _bodies, _rebuilt)
_leaf = tree_structure(0)


@boundary
def while_loop(
    cond_fun: Callable[[Any], ArrayLike],
    body_fun: Callable[[Any], R],
    init_val: PyTree,
    *,
    max_steps: int | None = None,
) -> R:
    """Apply `body_fun` to a value as long as `cond_fun` of it is true.

    Args:
      cond_fun: from the carried value to a scalar bool.
      body_fun: from the carried value to the next one, of the same structure, shapes and dtypes.
      init_val: the first value, a pytree of arrays.
      max_steps: the maximal number of steps. The loop then ends, whatever the condition says, and returns the value it
        has reached without notice. Carry a flag or a counter to know, or test the condition on the result.

    Differentiable in forward mode (`jvp`, `jacfwd`), and with `max_steps` in reverse mode (`grad`, `vjp`) and to any
    order. Reverse mode keeps about the square root of `max_steps` carries, and computes every step a second time; its
    time is proportional to the steps that run, not to `max_steps`. Closed-over values are differentiated too.

    Without a bound, use `fori_loop` or `scan` for reverse mode if the number of steps is known, or give the loop a rule
    with `custom_vjp`.
    Raises: TypeError naming the leaf of the carry whose type changes, or if the condition is not a scalar bool;
    TypeError or ValueError if `max_steps` is negative or not a concrete integer.

    >>> from pullback import lax
    >>> print(lax.while_loop(lambda x: x < 100., lambda x: 2 * x, 3.))
    192.0
    >>> import pullback as pb
    >>> print(pb.grad(lambda x: lax.while_loop(lambda x: x < 100., lambda x: 2 * x, x, max_steps=20))(3.))
    64.0
    """
    check_callable("while_loop: cond_fun", cond_fun)
    check_callable("while_loop: body_fun", body_fun)
    bound = (
        None
        if max_steps is None
        else known_count(
            "while_loop",
            "max_steps",
            max_steps,
            0,
            " A bound that depends on data belongs into cond_fun, beside a fixed max_steps.",
        )
    )
    leaves, tree = lift_tree("while_loop", "init_val", init_val)
    args_tree = treedef_tuple((tree,))
    body = trace_body("while_loop", body_fun, args_tree, _avals(leaves), "body_fun")
    check_same_structure(
        "while_loop",
        f"body_fun ({describe_function(body_fun)}) must return a carry with the structure of init_val",
        tree,
        body.out_tree,
        "Return the carry as it came in.",
    )
    promoted = promote_weak(leaves, body.jaxpr.out_avals)
    if promoted is not None:
        leaves = promoted
        body = trace_body("while_loop", body_fun, args_tree, _avals(leaves), "body_fun")
    check_same_types(
        "while_loop",
        f"body_fun ({describe_function(body_fun)}) must keep the types of the carry",
        tree,
        _avals(leaves),
        body.jaxpr.out_avals,
        "Convert with .astype() in the body, or give init_val the type that the body returns.",
    )
    cond = trace_body("while_loop", cond_fun, args_tree, _avals(leaves), "cond_fun")
    if cond.out_tree != _leaf or cond.jaxpr.out_avals[0].shape != () or cond.jaxpr.out_avals[0].dtype != np.bool_:
        got = ", ".join(a.str_short() for a in cond.jaxpr.out_avals)
        raise TypeError(
            f"while_loop: cond_fun ({describe_function(cond_fun)}) must return a scalar bool, got "
            f"{got if cond.out_tree == _leaf else cond.out_tree}. For a batch, write the loop for one example and use "
            "vmap; to go on while any entry asks for it, reduce with .any()."
        )
    outs = while_p.bind(
        *cond.consts,
        *body.consts,
        *leaves,
        cond_jaxpr=cond.jaxpr,
        body_jaxpr=body.jaxpr,
        cond_consts=len(cond.consts),
        body_consts=len(body.consts),
        max_steps=bound,
    )
    return tree_unflatten(tree, outs)


def _thread(args, params, jaxprs, read, written):
    n, m, k = params["cond_consts"], params["body_consts"], len(read)
    cond_values, body_values, carry = _split(args, n, m)
    body, cond = (
        Jaxpr([], [*v[:c], *v[end : end + k], *v[c:end], *v[end + k :]], jaxpr.eqns, jaxpr.outvars)
        for jaxpr, c in zip(jaxprs, (m, n), strict=True)
        for v, end in [(jaxpr.invars, c + len(carry))]
    )
    outs = while_p.bind(
        *cond_values,
        *read,
        *body_values,
        *read,
        *carry,
        *written,
        cond_jaxpr=cond,
        body_jaxpr=body,
        cond_consts=n + k,
        body_consts=m + k,
        max_steps=params["max_steps"],
    )
    return outs[: len(carry)], outs[len(carry) :]


def _avals(leaves: Sequence[Any]) -> list[Any]:
    return [x.aval for x in leaves]


def _split(operands: Sequence[Any], cond_consts: int, body_consts: int) -> tuple[list, list, list]:
    n, m = cond_consts, cond_consts + body_consts
    return list(operands[:n]), list(operands[n:m]), list(operands[m:])


def _evaluate(*operands, cond_jaxpr, body_jaxpr, cond_consts, body_consts, max_steps):
    params: dict[str, Any] = {
        "cond_jaxpr": cond_jaxpr,
        "body_jaxpr": body_jaxpr,
        "cond_consts": cond_consts,
        "body_consts": body_consts,
    }
    if are_placed(operands):
        return run_compiled(while_p, operands, {**params, "max_steps": max_steps}, body_jaxpr)
    cond_values, body_values, carry = _split(operands, cond_consts, body_consts)
    step = cost(cond_jaxpr) + cost(body_jaxpr) + 1
    spent = 0
    tracked = origins_are_tracked()
    while max_steps != 0:
        with InStep(spent // step, "a while_loop") if tracked else NO_CONTEXT:
            if not bool(eval_jaxpr(cond_jaxpr, [], *cond_values, *carry)[0]):
                break
            carry = eval_jaxpr(body_jaxpr, [], *body_values, *carry)
        spent += step
        if max_steps is not None:
            max_steps -= 1
        if is_beyond(spent):
            now = [*cond_values, *body_values, *carry]
            return run_compiled(while_p, now, {**params, "max_steps": max_steps}, body_jaxpr)
    return carry


def _type(*avals, cond_jaxpr, body_jaxpr, cond_consts, body_consts, max_steps):
    cond_values, body_values, carry = _split(avals, cond_consts, body_consts)
    check_operands("while_loop", cond_jaxpr, [*cond_values, *carry])
    check_operands("while_loop", body_jaxpr, [*body_values, *carry])
    if not all(map(matches, carry, body_jaxpr.out_avals)):
        raise TypeError(f"while_loop: the carry changes its type from {carry} to {body_jaxpr.out_avals}")
    return carry


def _lower(ctx, *operands, cond_jaxpr, body_jaxpr, cond_consts, body_consts, max_steps):
    state = [*operands]
    cond_values, body_values, carry = _split(state, cond_consts, body_consts)
    loop = packed(body_jaxpr, body_consts, len(carry))
    if loop is not None:
        body_values, carry = stacked(ctx, body_values, loop.consts), stacked(ctx, carry, loop.carry)
        state = [*cond_values, *body_values, *carry]
    n, m, end = cond_consts, cond_consts + len(body_values), len(state)
    # the number of steps, if there is a bound, is the last element of the state
    count = [] if max_steps is None else [ctx.constant(0, make_aval((), np.dtype(np.int32)))]

    def test(block, xs):
        now = xs[m:end] if loop is None else spread(block, xs[m:end], loop.carry, inside=True)
        goes_on = block.inline(cond_jaxpr, [*xs[:n], *now])
        if max_steps is None:
            return goes_on
        within = block.compare("LT", xs[end], block.constant(max_steps, xs[end].aval))
        return [block.op("stablehlo.and", [*goes_on, within])]

    def step(block, xs):
        more = [block.op("stablehlo.add", [x, block.constant(1, x.aval)]) for x in xs[end:]]
        return [*xs[:m], *block.inline(body_jaxpr if loop is None else loop.jaxpr, xs[n:end]), *more]

    last = ctx.loop([*state, *count], test, step)[m:end]
    return last if loop is None else spread(ctx, last, loop.carry)


def _jvp(primals, tangents, cond_jaxpr, body_jaxpr, cond_consts, body_consts, max_steps):
    cond_values, body_values, carry = _split(primals, cond_consts, body_consts)
    _, body_dots, carry_dots = _split(tangents, cond_consts, body_consts)
    const_active = active_of(body_dots)
    # flags for the parts of the carry that get a tangent in some step
    active = fixed_point(lambda carry: jvp_jaxpr(body_jaxpr, (*const_active, *carry), carry)[1], active_of(carry_dots))
    derived, _ = jvp_jaxpr(body_jaxpr, (*const_active, *active), active)
    # (consts, carry, const tangents, carry tangents) -> (consts, const tangents, carry, carry tangents)
    n, c = len(body_values), len(carry)
    invars, k = derived.invars, sum(const_active)
    body = Jaxpr(
        [],
        [*invars[:n], *invars[n + c : n + c + k], *invars[n : n + c], *invars[n + c + k :]],
        derived.eqns,
        derived.outvars,
    )
    extra = [Var(aval.to_tangent_aval()) for aval in chosen(_avals(carry), active)]
    cond = Jaxpr([], [*cond_jaxpr.invars, *extra], cond_jaxpr.eqns, cond_jaxpr.outvars)
    outs = while_p.bind(
        *cond_values,
        *body_values,
        *chosen(body_dots, const_active),
        *carry,
        *map(instantiate, chosen(carry_dots, active)),
        cond_jaxpr=cond,
        body_jaxpr=body,
        cond_consts=cond_consts,
        body_consts=body_consts + k,
        max_steps=max_steps,
    )
    return outs[:c], filled(active, outs[c:], [zero_of(out.aval) for out in outs[:c]])


def _linearize(trace, primals, tangents, **params):
    if params["max_steps"] is not None:
        duals = [trace.join(p, t) for p, t in zip(primals, tangents, strict=True)]
        outs = call_with(trace, eval_jaxpr, nested_scans(**params), [], *duals)
        mine = [isinstance(out, LinearizedTracer) and out._trace is trace for out in outs]
        return (
            [out._primal if m else out for out, m in zip(outs, mine, strict=True)],
            [out._tangent if m else zero_of(out.aval) for out, m in zip(outs, mine, strict=True)],
        )
    # the primal loop runs now; its derivative runs it again with the tangents, when a tangent is given
    primals = [lift(p) for p in primals]
    outs = call_with(trace.parent, while_p.bind, *primals, **params)
    silent = {key: without_debug_callbacks(params[key]) for key in ("cond_jaxpr", "body_jaxpr")}
    _, touts = _jvp(primals, tangents, **{**params, **silent})
    return outs, touts


def _record(tape, args, params):
    if params["max_steps"] is not None:
        # a linear loop keeps none of the tangents; its counters are computed first, in one scan
        return call_with(tape, eval_jaxpr, nested_scans(**params, nested=False), [], *args)
    return tape.record_part(while_p, args, params)


def _transpose(cts, *operands, body_jaxpr, **params):
    where = next((eqn.location for eqn in body_jaxpr.eqns if eqn.location), None)
    raise ValueError(
        "reverse-mode differentiation (grad, vjp) does not go through a while_loop, whose number of steps is not "
        f"known: it would need unbounded memory{f'. Its body is at {where}' if where else ''}. Give the loop a bound, "
        "while_loop(..., max_steps=N), and it does, in memory that grows like the square root of N. Otherwise use "
        "fori_loop with constant bounds or scan, which have a known number of steps; forward mode (jvp, jacfwd); or a "
        "derivative rule of its own for the whole computation (custom_vjp, by the implicit function "
        "theorem for fixed points)."
    )


def _batch(trace, operands, dims, cond_jaxpr, body_jaxpr, cond_consts, body_consts, max_steps):
    cond_dims, body_dims, carry_dims = _split([d is not None for d in dims], cond_consts, body_consts)

    def condition_is_batched(carry):
        """Return whether the condition differs among examples."""
        return batch_jaxpr(cond_jaxpr, trace, (*cond_dims, *carry))[1][0]

    def step(carry):
        _, after = batch_jaxpr(body_jaxpr, trace, (*body_dims, *carry), carry)
        return (True,) * len(carry) if condition_is_batched(carry) else after

    batched = fixed_point(step, carry_dims)
    pred_batched = condition_is_batched(batched)
    if pred_batched and (cond_jaxpr.effectful or body_jaxpr.effectful):
        return batch_by_scan(
            trace,
            while_p,
            operands,
            dims,
            {
                "cond_jaxpr": cond_jaxpr,
                "body_jaxpr": body_jaxpr,
                "cond_consts": cond_consts,
                "body_consts": body_consts,
                "max_steps": max_steps,
            },
        )
    body, _ = batch_jaxpr(body_jaxpr, trace, (*body_dims, *batched), batched)
    cond, _ = batch_jaxpr(cond_jaxpr, trace, (*cond_dims, *batched))
    moved = [trace.materialize(x, d) if d is not None else x for x, d in zip(operands, dims, strict=True)]
    cond_values, body_values, carry = _split(moved, cond_consts, body_consts)
    carry = [
        trace.materialize(x, 0 if was else None) if b else x
        for x, was, b in zip(carry, carry_dims, batched, strict=True)
    ]
    if pred_batched:
        # in reverse mode the derivative of the body at a stopped example matters, though it is multiplied by zero
        replaceable = (
            None
            if max_steps is None
            else replaceable_by_chosen(trace, body_jaxpr, [*body_dims, *(True for _ in carry)])
        )
        cond, body, body_values, body_consts = _until_all_stop(cond, body, cond_values, body_values, carry, replaceable)
    outs = while_p.bind(
        *cond_values,
        *body_values,
        *carry,
        cond_jaxpr=cond,
        body_jaxpr=body,
        cond_consts=cond_consts,
        body_consts=body_consts,
        max_steps=max_steps,
    )
    return outs, [0 if b else None for b in batched]


def _until_all_stop(cond: Jaxpr, body: Jaxpr, cond_values, body_values, carry, replaceable):
    """The loop over a batch: it continues while any example does, and examples that have stopped keep their carry.

    With `replaceable`, the flags of the batched operands, the body sees an example that continues in their place.
    """
    n, m = len(cond_values), len(body_values)

    def any_continues(*args):
        return [reduce_or(eval_jaxpr(cond, [], *args)[0], (0,))]

    def step(*args):
        conds, consts, values = args[:n], args[n : n + m], args[n + m :]
        goes_on = eval_jaxpr(cond, [], *conds, *values)[0]
        seen = [*consts, *values]
        if replaceable is not None:
            seen = replaced_by_chosen(goes_on, seen, replaceable)
        return [chosen_entries(goes_on, new, old) for new, old in zip(eval_jaxpr(body, [], *seen), values, strict=True)]

    cond_avals, const_avals, carry_avals = _avals(cond_values), _avals(body_values), _avals(carry)
    new_cond, _ = stage_open(any_continues, [*cond_avals, *carry_avals])
    new_body, _ = stage_open(step, [*cond_avals, *const_avals, *carry_avals])
    return new_cond, new_body, [*cond_values, *body_values], n + m


while_p.thread = _thread
while_p.evaluate = _evaluate
while_p.abstract_eval = _type
while_p.lower = _lower
while_p.jvp = _jvp
while_p.linearize = _linearize
while_p.record = _record
while_p.transpose = _transpose
while_p.batch = _batch

__all__ = ["while_loop", "while_p"]
