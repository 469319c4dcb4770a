"""`scan` as a primitive: a loop of known length that carries a value and stacks results, with all its rules.

Operands are `consts, carry, xs`; the body maps `consts, carry, x` to `carry, y`. Linearized, the loop becomes two: a
forward one that also stacks its residuals, and a linear one over them. Residuals that are constants of the loop are not
stacked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._analysis.dependence import dependent_results, depends_on
from pullback._core.jaxpr import HeldJaxpr, Jaxpr, Var, eval_jaxpr
from pullback._core.lists import chosen, cut, filled, fixed_point, merged, others
from pullback._core.origins import NO_CONTEXT, InStep, origins_are_tracked
from pullback._core.primitive import HigherOrder
from pullback._core.trace import is_linear
from pullback._core.types import ShapedArray, matches
from pullback._core.zeros import zero_of
from pullback._higher_order.call import check_operands
from pullback._higher_order.call_rules import active_of, wanted_of
from pullback._higher_order.control.eager_budget import are_placed, cost, is_beyond, run_compiled
from pullback._higher_order.control.scan_lowering import lower
from pullback._higher_order.control.scan_saving import save
from pullback._ops.identity import stage_closed
from pullback._ops.own_types import by_parts, entry, leading_length, placeholder, stack_entries
from pullback._ops.shape import instantiate, move_axis, zeros_like_aval
from pullback._transforms.accumulators import NOWHERE, ValAccum, set_accumulate, taken_of
from pullback._transforms.dce import dce
from pullback._transforms.harvest import without_taps
from pullback._transforms.jet import flatten, jet_jaxpr, unflatten
from pullback._transforms.jvp import jvp_jaxpr
from pullback._transforms.linearize import Linearized
from pullback._transforms.linearize_jaxpr import linearize_jaxpr
from pullback._transforms.transpose import pull, record_linear
from pullback._transforms.vmap import batch_jaxpr, with_leading, without_leading


def _bodies(params):
    jaxpr, n, m = params["jaxpr"], params["num_consts"], params["num_carry"]
    return [HeldJaxpr(jaxpr, range(len(jaxpr.invars)), range(n, n + m), params["length"])]


def _rebuilt(params, jaxprs, kept):
    params = {**params, "jaxpr": jaxprs[0]}
    if kept is not None:
        consts, carry, _ = _split(kept, params["num_consts"], params["num_carry"])
        params |= {"num_consts": sum(consts), "num_carry": sum(carry)}
    return params


scan_p: HigherOrder = HigherOrder("scan", _bodies, _rebuilt)


def bind_scan(
    consts: Sequence[Any],
    carry: Sequence[Any],
    xs: Sequence[Any],
    jaxpr: Jaxpr,
    length: int,
    reverse: bool,
    unroll: int,
) -> tuple[list[Any], list[Any]]:
    """Run the loop under the current transformation; returns the last carry and the stacked results."""
    outs = scan_p.bind(
        *consts,
        *carry,
        *xs,
        jaxpr=jaxpr,
        length=length,
        reverse=reverse,
        num_consts=len(consts),
        num_carry=len(carry),
        unroll=unroll,
    )
    return outs[: len(carry)], outs[len(carry) :]


def _thread(args, params, jaxprs, read, written):
    num_consts, num_carry, n = params["num_consts"], params["num_carry"], len(args)
    (jaxpr,) = jaxprs
    consts, carry, xs = _split(args, num_consts, num_carry)
    own_consts, own_carry, own_xs = _split(jaxpr.invars[:n], num_consts, num_carry)
    contents = jaxpr.invars[n:]
    k, end = len(read), len(jaxpr.outvars) - len(written)
    body = Jaxpr(
        [],
        [*own_consts, *contents[:k], *own_carry, *contents[k:], *own_xs],
        jaxpr.eqns,
        [*jaxpr.outvars[:num_carry], *jaxpr.outvars[end:], *jaxpr.outvars[num_carry:end]],
    )
    last, stacked = bind_scan(
        [*consts, *read], [*carry, *written], xs, body, params["length"], params["reverse"], params["unroll"]
    )
    return [*last[:num_carry], *stacked], last[num_carry:]


def _split(values: Sequence[Any], num_consts: int, num_carry: int) -> tuple[list, list, list]:
    m = num_consts + num_carry
    return list(values[:num_consts]), list(values[num_consts:m]), list(values[m:])


def _evaluate(*operands, jaxpr, length, reverse, num_consts, num_carry, unroll):
    if is_beyond(length * (cost(jaxpr) + 2)) or are_placed(operands):
        params = {
            "jaxpr": jaxpr,
            "length": length,
            "reverse": reverse,
            "num_consts": num_consts,
            "num_carry": num_carry,
            "unroll": unroll,
        }
        return run_compiled(scan_p, operands, params, jaxpr)
    consts, carry, xs = _split(operands, num_consts, num_carry)
    rows: list[list[Any]] = [[] for _ in jaxpr.outvars[num_carry:]]
    tracked = origins_are_tracked()
    for i in reversed(range(length)) if reverse else range(length):
        with InStep(i, f"a scan of {length}") if tracked else NO_CONTEXT:
            outs = eval_jaxpr(jaxpr, [], *consts, *carry, *(entry(x, i) for x in xs))
        carry = outs[:num_carry]
        for row, y in zip(rows, outs[num_carry:], strict=True):
            row.append(y)
    results = []
    for row, v in zip(rows, jaxpr.outvars[num_carry:], strict=True):
        if reverse:
            row.reverse()
        results.append(stack_entries(row, v.aval))
    return [*carry, *results]


def _type(*avals, jaxpr, length, reverse, num_consts, num_carry, unroll):
    consts, carry, xs = _split(avals, num_consts, num_carry)
    check_operands("scan", jaxpr, [*consts, *carry, *map(without_leading, xs)])
    if not all(map(matches, carry, jaxpr.out_avals)):
        raise TypeError(f"scan: the carry changes its type from {carry} to {jaxpr.out_avals[:num_carry]}")
    return [*carry, *(with_leading(y, length) for y in jaxpr.out_avals[num_carry:])]


# --- differentiation ---


def _jvp(primals, tangents, jaxpr, length, reverse, num_consts, num_carry, unroll):
    c_dot, carry_dot, x_dot = _split(tangents, num_consts, num_carry)
    c_act, x_act = active_of(c_dot), active_of(x_dot)
    ys = len(jaxpr.outvars) - num_carry
    none = (False,) * ys
    act = fixed_point(
        lambda carry: jvp_jaxpr(jaxpr, (*c_act, *carry, *x_act), (*carry, *none))[1][:num_carry], active_of(carry_dot)
    )
    derived, present = jvp_jaxpr(jaxpr, (*c_act, *act, *x_act), (*act, *none))
    # inputs: consts, carry, x, then their tangents; outputs: carry, y, then their tangents
    consts, carry, x = _split(derived.invars[: len(primals)], num_consts, num_carry)
    dots = derived.invars[len(primals) :]
    i, j = sum(c_act), sum(c_act) + sum(act)
    n = len(jaxpr.outvars)
    outs, touts = derived.outvars[:n], derived.outvars[n:]
    body = Jaxpr(
        [],
        [*consts, *dots[:i], *carry, *dots[i:j], *x, *dots[j:]],
        derived.eqns,
        [*outs[:num_carry], *touts[: sum(act)], *outs[num_carry:], *touts[sum(act) :]],
    )
    cs, carries, xs = _split(primals, num_consts, num_carry)
    last, stacked = bind_scan(
        [*cs, *chosen(c_dot, c_act)],
        [*carries, *map(instantiate, chosen(carry_dot, act))],
        [*xs, *chosen(x_dot, x_act)],
        body,
        length,
        reverse,
        unroll,
    )
    primals_out = [*last[:num_carry], *stacked[:ys]]
    tangents_out = [*last[num_carry:], *stacked[ys:]]
    return primals_out, filled((*act, *present[num_carry:]), tangents_out, [zero_of(o.aval) for o in primals_out])


def _taylor(primals, series, jaxpr, length, reverse, num_consts, num_carry, unroll):
    c_act, start, x_act = _split([s is not None for s in series], num_consts, num_carry)
    order = next(len(s) for s in series if s is not None)
    none = (False,) * (len(jaxpr.outvars) - num_carry)
    act = fixed_point(
        lambda carry: jet_jaxpr(jaxpr, (*c_act, *carry, *x_act), order, (*carry, *none))[1][:num_carry], tuple(start)
    )
    derived, present = jet_jaxpr(jaxpr, (*c_act, *act, *x_act), order, (*act, *none))
    # inputs: consts, carry, x, then their series; outputs: carry, y, then their series
    n, i, j = len(jaxpr.outvars), order * sum(c_act), order * (sum(c_act) + sum(act))
    consts, carry, x = _split(derived.invars[: len(primals)], num_consts, num_carry)
    terms, outs, out_terms = derived.invars[len(primals) :], derived.outvars[:n], derived.outvars[n:]
    k = order * sum(act)
    body = Jaxpr(
        [],
        [*consts, *terms[:i], *carry, *terms[i:j], *x, *terms[j:]],
        derived.eqns,
        [*outs[:num_carry], *out_terms[:k], *outs[num_carry:], *out_terms[k:]],
    )
    cs, carries, xs = _split(primals, num_consts, num_carry)
    c_series, carry_series, x_series = _split(series, num_consts, num_carry)
    moved = [
        s or [zeros_like_aval(p.aval.to_tangent_aval())] * order
        for p, s, a in zip(carries, carry_series, act, strict=True)
        if a
    ]
    last, stacked = bind_scan(
        [*cs, *flatten(c_series)], [*carries, *flatten(moved)], [*xs, *flatten(x_series)], body, length, reverse, unroll
    )
    return (
        [*last[:num_carry], *stacked[: len(none)]],
        unflatten((*act, *present[num_carry:]), [*last[num_carry:], *stacked[len(none) :]], order),
    )


def _linearize(trace, primals, tangents, jaxpr, length, reverse, num_consts, num_carry, unroll):
    c_dot, carry_dot, x_dot = _split(tangents, num_consts, num_carry)
    c_act, x_act = active_of(c_dot), active_of(x_dot)
    ys = len(jaxpr.outvars) - num_carry
    none = (False,) * ys
    act = fixed_point(
        lambda carry: linearize_jaxpr(jaxpr, (*c_act, *carry, *x_act), (*carry, *none)).present[:num_carry],
        active_of(carry_dot),
    )
    parts = linearize_jaxpr(jaxpr, (*c_act, *act, *x_act), (*act, *none))
    # inputs of the linear half: constants stay constants, the carry is stacked, xs are scanned again
    read_consts = [i for i in parts.forwarded if i < num_consts]
    read_carry = [i for i in parts.forwarded if num_consts <= i < num_consts + num_carry]
    read_xs = [i for i in parts.forwarded if i >= num_consts + num_carry]
    forward = parts.forward
    n = len(jaxpr.outvars)
    cs, carries, xs = _split(primals, num_consts, num_carry)
    # residuals that are equal in every step, computed from constants of the loop, are computed once
    varies = depends_on(forward, (False,) * num_consts + (True,) * (num_carry + len(xs)))
    fixed = [not (v or forward.effectful) for v in varies[n:]]
    saved_once: list[Any] = []
    if any(fixed):
        once, reads = dce(
            without_taps(Jaxpr([], forward.invars, forward.eqns, chosen(forward.outvars[n:], fixed))), keep_inputs=False
        )
        # these results do not depend on the equation's other operands
        stand_ins = [
            *cs,
            *(
                placeholder(v.aval) if r else None
                for v, r in zip(forward.invars[num_consts:], reads[num_consts:], strict=True)
            ),
        ]
        saved_once = eval_jaxpr(once, [], *chosen(stand_ins, reads))
    # a residual may be stacked already, as a result
    stacks = dict.fromkeys(v for v in forward.outvars[num_carry:n] if type(v) is Var)
    wanted = [*others(forward.outvars[n:], fixed), *(forward.invars[i] for i in read_carry)]
    more = [v for v in wanted if v not in stacks]
    last, stacked = bind_scan(
        cs, carries, xs, Jaxpr([], forward.invars, forward.eqns, [*forward.outvars[:n], *more]), length, reverse, unroll
    )
    values = dict(zip([*forward.outvars[num_carry:n], *more], stacked, strict=True))
    saved = [values[v] for v in wanted]
    k = len(parts.forwarded)
    given = dict(zip(parts.forwarded, parts.linear.invars[:k], strict=True))
    residuals = parts.linear.invars[k : k + parts.residuals]
    dots = parts.linear.invars[k + parts.residuals :]
    i, j = sum(c_act), sum(c_act) + sum(act)
    linear = Jaxpr(
        [],
        [
            *(given[p] for p in read_consts),
            *chosen(residuals, fixed),
            *dots[:i],
            *dots[i:j],
            *others(residuals, fixed),
            *(given[p] for p in read_carry),
            *(given[p] for p in read_xs),
            *dots[j:],
        ],
        parts.linear.eqns,
        parts.linear.outvars,
    )
    tlast, tstacked = bind_scan(
        [*(primals[p] for p in read_consts), *saved_once, *chosen(c_dot, c_act)],
        list(map(instantiate, chosen(carry_dot, act))),
        [*saved, *(primals[p] for p in read_xs), *chosen(x_dot, x_act)],
        linear,
        length,
        reverse,
        unroll,
    )
    primals_out = [*last, *stacked[:ys]]
    return primals_out, filled(
        (*act, *parts.present[num_carry:]), [*tlast, *tstacked], [zero_of(o.aval) for o in primals_out]
    )


def _accumulate(cts, *operands, accums, jaxpr, length, reverse, num_consts, num_carry, unroll):
    linear = [is_linear(x) for x in operands]
    c_lin, _, x_lin = _split(linear, num_consts, num_carry)
    params = {"jaxpr": jaxpr, "length": length, "num_consts": num_consts, "num_carry": num_carry}
    depends = dependent_results(scan_p, tuple(linear), params, len(jaxpr.outvars))[:num_carry]
    if not all(depends):
        _accumulate_counting(cts, operands, accums, depends, jaxpr, length, reverse, num_consts, num_carry, unroll)
        return
    # a carry whose initial value is known but that is linear later is an instantiated tangent: it starts at zero
    consts, _, xs = _split(operands, num_consts, num_carry)
    known_c, known_x = others(consts, c_lin), others(xs, x_lin)
    to_c, to_carry, to_x = _split(accums, num_consts, num_carry)
    to_c, to_x = chosen(to_c, c_lin), chosen(to_x, x_lin)
    c_wanted, x_wanted = wanted_of(to_c), wanted_of(to_x)
    c_avals = chosen(jaxpr.in_avals[:num_consts], c_lin)
    carry_avals = jaxpr.in_avals[num_consts : num_consts + num_carry]
    y_avals = jaxpr.out_avals[num_carry:]
    mask = (*c_lin, *depends, *x_lin)

    def step(*args):
        # the cotangents of constants are carried, and every step adds to them
        kc, ct_c, ct_carry, kx, ct_y = cut(args, len(known_c), sum(c_wanted), num_carry, len(known_x))
        sums = list(map(ValAccum, chosen(c_avals, c_wanted), ct_c))
        into = [
            *filled(c_wanted, sums, [NOWHERE] * len(c_wanted)),
            *[None] * num_carry,
            *[None if w else NOWHERE for w in x_wanted],
        ]
        results = pull(_record_body(jaxpr, mask, [*kc, *kx]), [*ct_carry, *ct_y], into=into)
        _, carried, rest = cut(results, len(c_avals), num_carry)
        return [*(accum.val for accum in sums), *map(instantiate, [*carried, *chosen(rest, x_wanted)])]

    x_avals = [without_leading(x.aval) for x in known_x]

    def stage_step():
        avals = [*(c.aval for c in known_c), *chosen(c_avals, c_wanted), *carry_avals, *x_avals, *y_avals]
        return stage_closed(step, avals, "the transpose of a scan")

    backward = jaxpr.derive(("scan transpose", mask, c_wanted, x_wanted), stage_step)
    to_c, to_x = chosen(to_c, c_wanted), chosen(to_x, x_wanted)
    starts = [
        zeros_like_aval(aval) if (before := taken_of(accum, aval)) is None else before
        for accum, aval in zip(to_c, chosen(c_avals, c_wanted), strict=True)
    ]
    last, stacked = bind_scan(
        known_c,
        [*starts, *map(instantiate, cts[:num_carry])],
        [*known_x, *map(instantiate, cts[num_carry:])],
        backward,
        length,
        not reverse,
        unroll,
    )
    for accum, ct in zip([*to_c, *to_carry, *to_x], [*last, *stacked], strict=True):
        if accum is not None:
            accum.add(ct)


def _record_body(jaxpr: Jaxpr, mask: Sequence[bool], known: Sequence[Any]) -> Linearized:
    """The body on a tape, as a function of its marked inputs; the other inputs have the `known` values."""

    def body(*nodes):
        return eval_jaxpr(jaxpr, [], *merged(mask, nodes, known))

    return record_linear(body, chosen(jaxpr.in_avals, mask))


def _accumulate_counting(cts, operands, accums, depends, jaxpr, length, reverse, num_consts, num_carry, unroll):
    """The transpose of a loop part of whose carry is known (a counter): a first loop computes it, as further xs."""
    consts, carry, xs = _split(operands, num_consts, num_carry)
    known = [not d for d in depends]
    counting, used = dce(without_taps(jaxpr), (*known, *(False for _ in jaxpr.outvars[num_carry:])), keep_inputs=False)
    c_used, carry_used, x_used = _split(used, num_consts, num_carry)
    kept = [u or k for u, k in zip(carry_used, known, strict=True)]
    invars = iter(counting.invars)
    all_inputs = [next(invars) if u else Var(v.aval) for u, v in zip(used, jaxpr.invars, strict=True)]
    c_in, carry_in, x_in = _split(all_inputs, num_consts, num_carry)
    carried = chosen(carry_in, kept)
    body = Jaxpr(
        [], [*chosen(c_in, c_used), *carried, *chosen(x_in, x_used)], counting.eqns, [*counting.outvars, *carried]
    )
    _, stacked = bind_scan(chosen(consts, c_used), chosen(carry, kept), chosen(xs, x_used), body, length, reverse, 1)
    # the loop itself, with the counter among its xs
    c_vars, carry_vars, x_vars = _split(jaxpr.invars, num_consts, num_carry)
    rest = Jaxpr(
        [],
        [*c_vars, *chosen(carry_vars, depends), *chosen(carry_vars, known), *x_vars],
        jaxpr.eqns,
        [*chosen(jaxpr.outvars[:num_carry], depends), *jaxpr.outvars[num_carry:]],
    )
    to_c, to_carry, to_x = _split(accums, num_consts, num_carry)
    _accumulate(
        [*chosen(cts[:num_carry], depends), *cts[num_carry:]],
        *consts,
        *chosen(carry, depends),
        *stacked,
        *xs,
        accums=[*to_c, *chosen(to_carry, depends), *[None] * len(stacked), *to_x],
        jaxpr=rest,
        length=length,
        reverse=reverse,
        num_consts=num_consts,
        num_carry=sum(depends),
        unroll=unroll,
    )


# --- vectorization ---


def _swapped(x: Any) -> Any:
    """A value of a type of one's own with the axes of batch and loop exchanged, in front of its parts."""
    inner = without_leading(x.aval)
    ty = with_leading(with_leading(without_leading(inner), leading_length(x.aval) or 0), leading_length(inner) or 0)
    return by_parts(lambda part: move_axis(part, 0, 1), ty, x)


def _batch(trace, operands, dims, jaxpr, length, reverse, num_consts, num_carry, unroll):
    c_dims, carry_dims, x_dims = _split([d is not None for d in dims], num_consts, num_carry)
    ys = len(jaxpr.outvars) - num_carry
    none = (False,) * ys
    batched = fixed_point(
        lambda carry: batch_jaxpr(jaxpr, trace, (*c_dims, *carry, *x_dims), (*carry, *none))[1][:num_carry],
        tuple(carry_dims),
    )
    derived, out_batched = batch_jaxpr(jaxpr, trace, (*c_dims, *batched, *x_dims), (*batched, *none))
    cs, carries, xs = _split(list(zip(operands, dims, strict=True)), num_consts, num_carry)
    consts = [x if d is None else trace.materialize(x, d) for x, d in cs]
    carry = [trace.materialize(x, d) if b else x for (x, d), b in zip(carries, batched, strict=True)]
    scanned = [x if d is None else move_axis(x, d, 1) if type(x.aval) is ShapedArray else _swapped(x) for x, d in xs]
    last, stacked = bind_scan(consts, carry, scanned, derived, length, reverse, unroll)
    marks = out_batched[num_carry:]
    own = [b and type(y.aval) is not ShapedArray for y, b in zip(stacked, marks, strict=True)]
    stacked = [_swapped(y) if m else y for y, m in zip(stacked, own, strict=True)]
    dims = [0 if m else 1 if b else None for b, m in zip(marks, own, strict=True)]
    return [*last, *stacked], [*(0 if b else None for b in batched), *dims]


scan_p.thread = _thread
scan_p.evaluate = _evaluate
scan_p.abstract_eval = _type
scan_p.lower = lower
scan_p.jvp = _jvp
scan_p.linearize = _linearize
scan_p.taylor = _taylor
set_accumulate(scan_p, _accumulate)
scan_p.batch = _batch
scan_p.save = save

__all__ = ["bind_scan", "scan_p"]
