"""`odeint`: the solution of an initial value problem as one operation, independent of the steps of the solver.

Along a solution of y' = f(t, y, θ), a change of the start, of θ or of the times moves it by the tangent equation

    ẏ' = (∂f/∂y) ẏ + (∂f/∂θ) θ̇,    ẏ(t₀) = ẏ₀ − f(t₀, y₀) ṫ₀,    and the result at tᵢ by ẏ(tᵢ) + f(tᵢ, yᵢ) ṫᵢ:

Hairer, Nørsett and Wanner, Solving Ordinary Differential Equations I (1993), section I.14. Its transpose carries a
cotangent a backwards in time by the adjoint equation

    a' = −(∂f/∂y)ᵀ a,    g' = −(∂f/∂θ)ᵀ a,    with a jump of the result's cotangent at every tᵢ,

from which a(t₀) and g(t₀) are the cotangents of y₀ and θ: Pontryagin, Boltyanskii, Gamkrelidze and Mishchenko, The
Mathematical Theory of Optimal Processes (1962); Chen, Rubanova, Bettencourt and Duvenaud, Neural ordinary differential
equations (2018), appendix B. For d(aᵀẏ)/dt = aᵀ(∂f/∂θ)θ̇ for every ẏ, so that ∑ aᵀẏ at the end is the sum that g and
a collect. The adjoint equation needs y again: it is solved backwards together with a, in every interval from the value
of the forward solution at the interval's end.

All three are initial value problems, so each is this operation again, with more unknowns: both modes, to any order. The
tangent and the adjoint equation are separate primitives, each the transpose of the other: an iteration for a linear
system, for example, may need the transpose of either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.array import lift
from pullback._core.jaxpr import Equation, Jaxpr, Var, eval_jaxpr
from pullback._core.lists import chosen, cut
from pullback._core.primitive import HigherOrder
from pullback._core.trace import call_with, is_linear
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of
from pullback._higher_order.bodies import held_under
from pullback._higher_order.call import check_operands
from pullback._higher_order.call_rules import active_of
from pullback._higher_order.control.eager_budget import run_interpreted_once
from pullback._higher_order.control.loops import scan
from pullback._higher_order.solvers.dormand_prince import solve
from pullback._higher_order.solvers.ode_rates import PART, adjoint_rate, in_lanes, params_of, tangent_rate
from pullback._ops.assemble import concatenate
from pullback._ops.elementwise import add, mul, neg
from pullback._ops.identity import stage_closed
from pullback._ops.shape import (
    convert_element_type,
    expand_dims,
    instantiate,
    move_axis,
    reduce_sum,
    zeros_like_aval,
)
from pullback._ops.slicing import index_in_dim, slice_in_dim
from pullback._transforms.jvp import jvp_flat
from pullback._transforms.linearize import LinearizedTracer
from pullback._transforms.vmap import axis_names

# operands: constants, times, start. `lanes` and `laned`: see below. `base`, if the problem has tangents as part of its
# state: the function it was derived from, flags for its constants that have tangents, and that problem's own `base`
odeint_p = HigherOrder("odeint", *held_under("f"))


def _solver(avals: Sequence[ShapedArray], f: Jaxpr, num_consts: int, lanes, laned, settings, base) -> Jaxpr:
    def make():
        rate = in_lanes(f, lanes, laned)
        read = {v for eqn in rate.eqns for v in eqn.invars if type(v) is Var} | set(rate.outvars)
        reads = [v in read for v in rate.invars[num_consts + 1 :]]

        def run(*operands):
            consts = operands[:num_consts]
            return solve(
                lambda t, *ys: eval_jaxpr(rate, [], *consts, t, *ys),
                operands[num_consts],
                operands[num_consts + 1 :],
                reads,
                *settings,
            )

        return stage_closed(run, avals, "odeint")

    return f.derive(("odeint", tuple(avals), lanes, laned, settings), make)


def _interpret(*operands, **params):
    return eval_jaxpr(_solver([x.aval for x in operands], **params), [], *operands)


def _evaluate(*operands, **params):
    f = params["f"]
    if PART in f.cache:
        return _interpret(*operands, **params)
    return run_interpreted_once(odeint_p, operands, params, f, _interpret)


def _type(*avals, f, num_consts, lanes, **_):
    times = avals[num_consts]
    k = len(lanes)
    if not lanes:
        check_operands("odeint", f, [*avals[:num_consts], make_aval((), times.dtype), *avals[num_consts + 1 :]])
    return [make_aval((*y.shape[:k], times.shape[-1], *y.shape[k:]), y.dtype) for y in avals[num_consts + 1 :]]


def _lower(ctx, *operands, **params):
    return ctx.inline(_solver([x.aval for x in operands], **params), operands)


# --- differentiation ---


def _split(values: Sequence[Any], num_consts: int) -> tuple[list[Any], Any, list[Any]]:
    return list(values[:num_consts]), values[num_consts], list(values[num_consts + 1 :])


def _derivative(primals, tangents, solve_tangent: Callable, f, num_consts, lanes, laned, **_unused):
    """Results and tangents. `solve_tangent(ẏ₀)` returns the results, and the tangents at fixed times (None: zero)."""
    consts, times, _ = _split(primals, num_consts)
    const_dots, times_dot, state_dots = _split(tangents, num_consts)
    k = len(lanes)
    if type(times_dot) is Zero:
        start = None if all(type(t) is Zero for t in [*const_dots, *state_dots]) else state_dots
        return solve_tangent(start)
    first = index_in_dim(times, 0, k, False)
    start_slopes = eval_jaxpr(in_lanes(f, lanes, laned), [], *consts, first, *primals[num_consts + 1 :])
    moved = [neg(mul(_along(index_in_dim(times_dot, 0, k, False), s), s)) for s in start_slopes]
    outs, touts = solve_tangent([m if type(t) is Zero else add(t, m) for t, m in zip(state_dots, moved, strict=True)])
    every = in_lanes(f, (times.aval.shape[-1], *lanes), ((False,) * num_consts, *laned))
    slopes = eval_jaxpr(every, [], *consts, times, *outs)
    return outs, [add(t, mul(_along(times_dot, s), s)) for t, s in zip(touts, slopes, strict=True)]


def _along(t: AnyValue, values: Any) -> Any:
    """The tangent of times, in a shape that multiplies slopes."""
    t = convert_element_type(t, values.aval.dtype)
    return expand_dims(t, tuple(range(t.aval.ndim, values.aval.ndim)))


def _jvp(primals, tangents, **params):
    primals = [lift(p) for p in primals]
    n = params["num_consts"]
    consts, times, state = _split(primals, n)

    def solve_tangent(start):
        if start is None:
            outs = odeint_p.bind(*primals, **params)
            return outs, [zero_of(out.aval) for out in outs]
        active = active_of(tangents[:n])
        results = odeint_p.bind(
            *consts,
            *chosen(tangents[:n], active),
            times,
            *state,
            *map(instantiate, start),
            **_with_tangents_params(active, _dots_laned(params["laned"], active), params),
        )
        return results[: len(state)], results[len(state) :]

    return _derivative(primals, tangents, solve_tangent, **params)


def _dots_laned(laned: Sequence[Sequence[bool]], active: Sequence[bool]) -> tuple[tuple[bool, ...], ...]:
    return tuple(tuple(chosen(mask, active)) for mask in laned)


def _linearize(trace, primals, tangents, **params):
    # the solution is computed now; its derivative is recorded on the tape, for tangents or transposition
    primals = [lift(p) for p in primals]
    n = params["num_consts"]
    consts, times, _ = _split(primals, n)
    outs = call_with(trace.parent, odeint_p.bind, *primals, **params)

    def solve_tangent(start):
        if start is None:
            return outs, [zero_of(out.aval) for out in outs]
        active = active_of(tangents[:n])
        return outs, tangent_p.bind(
            *consts,
            times,
            *outs,
            *chosen(tangents[:n], active),
            *map(instantiate, start),
            active=active,
            dots=_dots_laned(params["laned"], active),
            **params,
        )

    return _derivative(primals, tangents, solve_tangent, **params)


# --- the derivative at fixed times, which is linear in the tangents of constants and start ---

# operands: constants, times, the solution, tangents of the `active` constants, tangents of the start; `dots` flags, for
# each lane, the constants' tangents that have it
tangent_p = HigherOrder("odeint_tangent", *held_under("f"))


def _parts(operands: Sequence[Any], f: Jaxpr, num_consts: int, active: Sequence[bool]):
    n, m, k = num_consts, len(f.outvars), sum(active)
    stop = n + 1 + m
    return (
        list(operands[:n]),
        operands[n],
        list(operands[n + 1 : stop]),
        list(operands[stop : stop + k]),
        list(operands[stop + k :]),
    )


def _with_tangents(operands: Sequence[Any], active, params: dict) -> list[Any]:
    """The operands of the problem whose state includes the tangents."""
    k = len(params["lanes"])
    consts, times, solution, const_dots, state_dots = _parts(operands, params["f"], params["num_consts"], active)
    start = [
        zero_of(y.aval.update(shape=(*y.aval.shape[:k], *y.aval.shape[k + 1 :])))
        if type(y) is Zero
        else index_in_dim(y, 0, k, False)
        for y in solution
    ]
    return [*consts, *const_dots, times, *start, *state_dots]


def _with_tangents_params(active, dots, params: dict) -> dict:
    f, n = params["f"], params["num_consts"]
    laned = tuple((*a, *b) for a, b in zip(params["laned"], dots, strict=True))
    return params_of(tangent_rate(f, n, active), n + sum(active), params, laned=laned, base=(f, active, params["base"]))


def _without_tangents(values: Sequence[Any], base: tuple) -> tuple[list[Any], list[Any]]:
    """Split one value per operand into those for the problem itself and those for its tangents."""
    f, active, _ = base
    n, k, m = len(active), sum(active), len(f.outvars)
    return [*values[:n], *values[n + k : -m]], [*values[n : n + k], *values[-m:]]


def _base_params(params: dict) -> dict:
    """The parameters of the problem without the tangents in its state."""
    f, active, base = params["base"]
    n = len(active)
    return params_of(f, n, params, laned=tuple(mask[:n] for mask in params["laned"]), base=base)


def _depends(marked, *, f, base, **_):
    count = len(f.outvars)
    if base is None or any(_without_tangents(marked, base)[0]):
        return (True,) * count
    return (*(False for _ in range(count // 2)), *(True for _ in range(count // 2)))


def _vanishing(zeros, *, f, base, **_):
    m = 0 if base is None else len(f.outvars) // 2
    return [False] * (len(f.outvars) - m) + [all(_without_tangents(zeros, base)[1]) for _ in range(m)]


def _dce(used, eqn: Equation) -> Equation:
    base, m = eqn.params["base"], len(used) // 2
    if base is None or any(used[m:]):
        return eqn
    return eqn.replace(
        invars=_without_tangents(eqn.invars, base)[0], outvars=eqn.outvars[:m], params=_base_params(eqn.params)
    )


def _record(tape, args, params):
    """On a tape: a problem whose state includes linear tangents is solved in two parts."""
    base = params["base"]
    if base is None:
        return tape.record(odeint_p, args, params)
    operands, tangents = _without_tangents(args, base)
    if any(is_linear(a) and a._trace is tape for a in operands):
        return tape.record(odeint_p, args, params)
    n = len(base[1])
    inner = _base_params(params)
    masks = tuple(mask[n:] for mask in params["laned"])

    def run():
        outs = odeint_p.bind(*operands, **inner)
        return [*outs, *tangent_p.bind(*operands[: n + 1], *outs, *tangents, active=base[1], dots=masks, **inner)]

    return call_with(tape, run)


def _push(*operands, active, dots, **params):
    outs = odeint_p.bind(*_with_tangents(operands, active, params), **_with_tangents_params(active, dots, params))
    return outs[len(params["f"].outvars) :]


def _tangent_vanishing(zeros, *, f, num_consts, **_):
    m = len(f.outvars)
    return [all(zeros[num_consts + 1 + m :])] * m


def _tangent_derivative(rule: Callable, primals, tangents, active, dots, **params):
    m = len(params["f"].outvars)
    stop = params["num_consts"] + 1 + m
    if all(type(t) is Zero for t in tangents[:stop]):
        params = {"active": active, "dots": dots, **params}
        return tangent_p.bind(*primals, **params), tangent_p.bind(
            *primals[:stop], *map(instantiate, tangents[stop:]), **params
        )
    outs, touts = rule(
        _with_tangents(primals, active, params),
        _with_tangents(tangents, active, params),
        **_with_tangents_params(active, dots, params),
    )
    return outs[m:], touts[m:]


def _tangent_batch(trace, operands, dims, active, dots, **params):
    n, m, k = params["num_consts"], len(params["f"].outvars), sum(active)
    shared = {*range(n), *range(n + 1 + m, n + 1 + m + k)}
    moved = [
        x if d is None and i in shared else trace.materialize(x, d)
        for i, (x, d) in enumerate(zip(operands, dims, strict=True))
    ]
    batched = [d is not None for d in dims]
    params["lanes"] = (*params["lanes"], trace.size)
    params["laned"] = (*params["laned"], tuple(batched[:n]))
    outs = tangent_p.bind(*moved, active=active, dots=(*dots, tuple(batched[n + 1 + m : n + 1 + m + k])), **params)
    return outs, [0] * len(outs)


def _tangent_transpose(cts, *operands, active, dots, **params):
    stop = params["num_consts"] + 1 + len(params["f"].outvars)
    if any(map(is_linear, operands[:stop])):
        raise TypeError(
            "odeint: the solution is not linear in the start, the times or what func holds, but a linear "
            "function was asked for"
        )
    results = adjoint_p.bind(*operands[:stop], *map(instantiate, cts), active=active, dots=dots, **params)
    return [
        *(None for _ in range(stop)),
        *(ct if is_linear(x) else None for ct, x in zip(results, operands[stop:], strict=True)),
    ]


def _tangent_type(*avals, active, f, num_consts, **_):
    return [y.strip_weak_type() for y in _parts(avals, f, num_consts, active)[2]]


def _lower_by(fun: Callable) -> Callable:
    def lower(ctx, *operands, **params):
        what = "the derivative of odeint"
        return ctx.inline(stage_closed(lambda *xs: fun(*xs, **params), [x.aval for x in operands], what), operands)

    return lower


# --- its transpose, which is linear in the cotangents ---

# operands: constants, times, the solution, a cotangent of each part of it; results: cotangents of the active constants
# and of the start
adjoint_p = HigherOrder("odeint_adjoint", *held_under("f"))


def _pull_back(*operands, active, dots, **params):
    f, n, k, m = params["f"], params["num_consts"], len(params["lanes"]), len(params["f"].outvars)
    consts, times, solution, cts = operands[:n], operands[n], operands[n + 1 : n + 1 + m], operands[n + 1 + m :]
    rate = adjoint_rate(f, n, active)
    # every lane has its own g; for a constant that the lanes share, they are summed at the end
    shape = tuple(reversed(params["lanes"]))
    start_g = [zeros_like_aval(make_aval((*shape, *aval.shape), aval.dtype)) for aval in chosen(f.in_avals[:n], active)]

    def back(carry, interval):
        (later, earlier), values, jumps = interval
        ends = concatenate([expand_dims(later, (k,)), expand_dims(earlier, (k,))], k)
        outs = odeint_p.bind(*consts, ends, *values, *carry, **params_of(rate, n, params))
        a, g = cut([index_in_dim(x, 1, k, False) for x in outs[m:]], m)
        return [*(add(x, jump) for x, jump in zip(a, jumps, strict=True)), *g], None

    def rows(x, start, stop):
        return move_axis(slice_in_dim(x, start, stop, 1, k), k, 0)

    intervals = (
        (rows(times, 1, None), rows(times, 0, -1)),
        [rows(y, 1, None) for y in solution],
        [rows(ct, 0, -1) for ct in cts],
    )
    last = [index_in_dim(ct, -1, k, False) for ct in cts]
    a, g = cut(scan(back, [*last, *start_g], intervals, reverse=True)[0], m)
    shared = [tuple(k - 1 - j for j in range(k) if not dots[j][i]) for i in range(len(g))]
    return [*(reduce_sum(x, axes) if axes else x for x, axes in zip(g, shared, strict=True)), *a]


def _evaluate_adjoint(*operands, **params):
    return run_interpreted_once(adjoint_p, operands, params, params["f"], _pull_back)


def _adjoint_type(*avals, active, dots, lanes, f, num_consts, **_):
    n, k = num_consts, len(lanes)
    consts = [
        make_aval((*(lanes[j] for j in reversed(range(k)) if dots[j][i]), *aval.shape), aval.dtype)
        for i, aval in enumerate(chosen(f.in_avals[:n], active))
    ]
    return [
        *consts,
        *(make_aval((*y.shape[:k], *y.shape[k + 1 :]), y.dtype) for y in avals[n + 1 : n + 1 + len(f.outvars)]),
    ]


def _only_linear(primals, tangents, params: dict) -> tuple[list, list] | None:
    """The derivative of the adjoint if only cotangents have tangents."""
    stop = len(primals) - len(params["f"].outvars)
    if any(type(t) is not Zero for t in tangents[:stop]):
        return None
    return (
        adjoint_p.bind(*primals, **params),
        adjoint_p.bind(*primals[:stop], *map(instantiate, tangents[stop:]), **params),
    )


def _adjoint_jvp(primals, tangents, **params):
    return _only_linear(primals, tangents, params) or jvp_flat(lambda *xs: _pull_back(*xs, **params), primals, tangents)


def _adjoint_linearize(trace, primals, tangents, **params):
    linear = _only_linear(primals, tangents, params)
    if linear is not None:
        return linear
    outs = call_with(trace, _pull_back, *map(trace.join, primals, tangents), **params)
    mine = [type(out) is LinearizedTracer and out._trace is trace for out in outs]
    return (
        [out._primal if m else out for out, m in zip(outs, mine, strict=True)],
        [out._tangent if m else zero_of(out.aval) for out, m in zip(outs, mine, strict=True)],
    )


def _adjoint_transpose(cts, *operands, active, **params):
    stop = len(operands) - len(params["f"].outvars)
    if any(map(is_linear, operands[:stop])):
        raise TypeError(
            "odeint: the adjoint is linear in the cotangents alone, but a linear function of what the "
            "solution depends on was asked for"
        )
    results = tangent_p.bind(*operands[:stop], *map(instantiate, cts), active=active, **params)
    return [
        *(None for _ in range(stop)),
        *(t if is_linear(x) else None for t, x in zip(results, operands[stop:], strict=True)),
    ]


def _adjoint_batch(trace, operands, dims, active, dots, **params):
    n = params["num_consts"]
    moved = [
        x if d is None and i < n else trace.materialize(x, d)
        for i, (x, d) in enumerate(zip(operands, dims, strict=True))
    ]
    params["lanes"] = (*params["lanes"], trace.size)
    params["laned"] = (*params["laned"], tuple(d is not None for d in dims[:n]))
    # every example has its own cotangents, of shared constants too
    outs = adjoint_p.bind(*moved, active=active, dots=(*dots, (True,) * sum(active)), **params)
    return outs, [0] * len(outs)


# --- vectorization ---


def _batch(trace, operands, dims, f, num_consts, lanes, laned, **params):
    if trace.axis_name in axis_names(f):
        raise NotImplementedError(
            f"odeint: func works along the axis {trace.axis_name!r} of an enclosing vmap, but every example takes "
            "steps of its own, so that at no time all of them are there. Solve them as one: give odeint the whole "
            "batch as y0."
        )
    mask = tuple(d is not None for d in dims[:num_consts])
    moved = [
        x if d is None and i < num_consts else trace.materialize(x, d)
        for i, (x, d) in enumerate(zip(operands, dims, strict=True))
    ]
    outs = odeint_p.bind(*moved, f=f, num_consts=num_consts, lanes=(*lanes, trace.size), laned=(*laned, mask), **params)
    return outs, [0] * len(outs)


odeint_p.evaluate = _evaluate
odeint_p.abstract_eval = _type
odeint_p.lower = _lower
odeint_p.jvp = _jvp
odeint_p.linearize = _linearize
odeint_p.record = _record
odeint_p.depends = _depends
odeint_p.dce = _dce
odeint_p.has(vanishing=_vanishing)
odeint_p.batch = _batch
tangent_p.evaluate = _push
tangent_p.abstract_eval = _tangent_type
tangent_p.lower = _lower_by(_push)
tangent_p.jvp = lambda *args, **params: _tangent_derivative(_jvp, *args, **params)
tangent_p.linearize = lambda trace, *args, **params: _tangent_derivative(
    lambda *xs, **inner: _linearize(trace, *xs, **inner), *args, **params
)
tangent_p.transpose = _tangent_transpose
tangent_p.has(vanishing=_tangent_vanishing)
tangent_p.batch = _tangent_batch
adjoint_p.evaluate = _evaluate_adjoint
adjoint_p.abstract_eval = _adjoint_type
adjoint_p.lower = _lower_by(_pull_back)
adjoint_p.jvp = _adjoint_jvp
adjoint_p.linearize = _adjoint_linearize
adjoint_p.transpose = _adjoint_transpose
adjoint_p.batch = _adjoint_batch
__all__ = ["odeint_p"]
