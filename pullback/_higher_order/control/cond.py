"""`cond` and `switch`: one of several traced functions, chosen by an index that may be known only at run time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import numpy as np

from pullback._core import dtypes
from pullback._core.arguments import check_callable
from pullback._core.array import ArrayLike
from pullback._core.discharge import thread_call
from pullback._core.errors import boundary, describe_function, described, standing_for
from pullback._core.hitypes import detach_value_p
from pullback._core.jaxpr import Equation, Jaxpr, Var, eval_jaxpr
from pullback._core.lists import chosen, filled, others
from pullback._core.primitive import HigherOrder
from pullback._core.staging import stage_open
from pullback._core.trace import is_linear
from pullback._core.tree import tree_unflatten
from pullback._core.types import ShapedArray, is_differentiable, make_aval, matches
from pullback._core.typing import AnyValue, PyTree, R
from pullback._core.zeros import zero_of
from pullback._higher_order.bodies import (
    Body,
    check_same_structure,
    check_same_types,
    lift_operand,
    lift_tree,
    share_constants,
    trace_body,
)
from pullback._higher_order.call import called, check_operands
from pullback._higher_order.call_rules import active_of, wanted_of
from pullback._higher_order.control.batched_choice import chosen_operands
from pullback._higher_order.control.effects_under_vmap import batch_by_scan
from pullback._ops.compare import eq, ne
from pullback._ops.elementwise import max as max_
from pullback._ops.elementwise import min as min_
from pullback._ops.identity import stop_gradient_p
from pullback._ops.own_types import chosen_entries, placeholder
from pullback._ops.shape import convert_element_type, full, instantiate
from pullback._transforms.accumulators import set_accumulate, taken_of
from pullback._transforms.jvp import jvp_jaxpr
from pullback._transforms.linearize_jaxpr import linearize_jaxpr, transpose_jaxpr_full
from pullback._transforms.vmap import batch_jaxpr

cond_p: HigherOrder = HigherOrder(
    "cond",
    lambda params: [called(branch, 1) for branch in params["branches"]],
    lambda params, jaxprs, kept: {"branches": tuple(jaxprs)},
)
_index = make_aval((), np.dtype(np.int32))


_NOT_GIVEN: Any = object()


@boundary
def cond(
    pred: ArrayLike,
    true_fun: Callable[..., R],
    false_fun: Callable[..., R],
    *operands: PyTree,
    operand: PyTree = _NOT_GIVEN,
) -> R:
    """`true_fun(*operands)` if `pred`, else `false_fun(*operands)`; `pred` may be traced.

    Both functions are traced, and must return the same structure with the same shapes and dtypes; only the chosen one
    runs. Under `vmap` with a batched `pred` both run, and the results are selected.

    Args:
      pred: a scalar bool (or number, true if not zero).
      operand: the one operand, in place of `operands`; as in older programs of JAX's, which may also write
        `cond(pred, x, true_fun, y, false_fun)` for `true_fun(x)` if `pred`, else `false_fun(y)`.

    Raises: TypeError naming the leaf whose type differs between the results.

    >>> from pullback import lax
    >>> print(lax.cond(True, lambda x: x + 1, lambda x: x - 1, 5.))
    6.0
    """
    if isinstance(pred, (int, float, complex)) or _in_numpy(pred, "iufc"):
        pred = pred != 0  # before 64 bits become 32, which might make it zero
    p = lift_operand("cond", "pred", pred)
    if p.aval.shape != ():
        raise TypeError(
            f"cond: the predicate must be a scalar, got shape {p.aval.shape}. For an elementwise choice "
            "use numpy.where; to decide for each example of a batch, use vmap."
        )
    if len(operands) == 2 and callable(false_fun) and callable(operands[1]) and not callable(true_fun):
        x, on_true, (y, on_false) = true_fun, false_fun, operands
        true_fun, false_fun, operands = _of_first(on_true), _of_second(on_false), (x, y)
    operands = _with_operand("cond", operands, operand)
    if not callable(true_fun) or not callable(false_fun):
        raise TypeError(f"cond: expected two functions after the predicate, got {true_fun!r} and {false_fun!r}")
    if p.aval.dtype != np.bool_:
        p = ne(p, full((), 0, p.aval.dtype))
    index = convert_element_type(p, np.dtype(np.int32))
    return _choose("cond", index, (false_fun, true_fun), ("false_fun", "true_fun"), operands)


def _of_first(fun: Callable[..., R]) -> Callable[..., R]:
    @standing_for(fun)
    def branch(x, y):
        return fun(x)

    return branch


def _of_second(fun: Callable[..., R]) -> Callable[..., R]:
    @standing_for(fun)
    def branch(x, y):
        return fun(y)

    return branch


def _with_operand(function: str, operands: tuple[Any, ...], operand: Any) -> tuple[Any, ...]:
    if operand is _NOT_GIVEN:
        return operands
    if operands:
        raise TypeError(f"{function}: the operands are given by position or by operand=, got both")
    return (operand,)


@boundary
def switch(
    index: ArrayLike, branches: Sequence[Callable[..., R]], *operands: PyTree, operand: PyTree = _NOT_GIVEN
) -> R:
    """`branches[index](*operands)`, the index clamped to the valid range; it may be traced.

    `operand`, the one operand, may be given in place of `operands`.

    Raises: TypeError if the index is not a scalar integer, or naming the leaf whose type differs between the results.

    >>> from pullback import lax
    >>> print(lax.switch(1, [lambda x: x, lambda x: 10 * x], 5.))
    50.0
    """
    operands = _with_operand("switch", operands, operand)
    try:
        branches = tuple(branches)
    except TypeError:
        raise TypeError(f"switch: branches must be a sequence of functions, got {described(branches)}") from None
    for n, branch in enumerate(branches):
        check_callable(f"switch: branches[{n}]", branch)
    if not branches:
        raise ValueError("switch: expected at least one branch")
    last = len(branches) - 1
    if (isinstance(index, int) and not isinstance(index, bool)) or (_in_numpy(index, "iu") and index.ndim == 0):
        index = np.int32(min(max(int(index), 0), last))  # before 64 bits become 32
    i = lift_operand("switch", "index", index)
    if i.aval.shape != () or not dtypes.is_integer(i.aval.dtype):
        raise TypeError(f"switch: the index must be a scalar integer, got {i.aval.str_short()}")
    if i.aval.dtype.itemsize < 4:
        i = convert_element_type(i, np.dtype(np.int32))  # which can hold the number of branches
    number = i.aval.dtype.type
    i = convert_element_type(min_(max_(i, number(0)), number(last)), np.dtype(np.int32))
    return _choose("switch", i, branches, tuple(f"branches[{n}]" for n in range(len(branches))), operands)


def _in_numpy(x: AnyValue, kinds: str) -> TypeGuard[np.ndarray | np.generic]:
    """Return whether the value is a NumPy one, in a dtype of one of the kinds."""
    return (type(x) is np.ndarray or isinstance(x, np.generic)) and x.dtype.kind in kinds


def _choose(
    function: str, index: ArrayLike, funs: Sequence[Callable], parts: Sequence[str], operands: Sequence[Any]
) -> Any:
    leaves, in_tree = lift_tree(function, "the operands", tuple(operands), refs=True)
    avals = [x.aval for x in leaves]
    bodies = [trace_body(function, fun, in_tree, avals, part) for fun, part in zip(funs, parts, strict=True)]
    first = bodies[0]
    for part, fun, body in zip(parts[1:], funs[1:], bodies[1:], strict=True):
        check_same_structure(
            function,
            f"{part} ({describe_function(fun)}) must return what {parts[0]} returns",
            first.out_tree,
            body.out_tree,
            "All branches must return one structure.",
        )
    jaxprs, consts = share_constants(bodies)
    jaxprs = _unify_types(function, jaxprs, parts, funs, first)
    if len(jaxprs) == 1:
        outs = eval_jaxpr(jaxprs[0], [], *consts, *leaves)
    else:
        outs = cond_p.bind(index, *consts, *leaves, branches=tuple(jaxprs))
    return tree_unflatten(first.out_tree, outs)


def _unify_types(function, jaxprs, parts, funs, first: Body) -> list[Jaxpr]:
    """The branches, with weakly typed results converted to the strong dtypes of the others' results."""
    columns = list(zip(*(j.out_avals for j in jaxprs), strict=True))
    targets = []
    for column in columns:
        if any(type(a) is not ShapedArray for a in column):
            targets.append(column[0])
            continue
        strong = next((a for a in column if not a.weak_type), None)
        lead = strong or column[0]
        dtype = lead.dtype if strong else dtypes.promote(*((a.dtype, True) for a in column))[0]
        targets.append(make_aval(lead.shape, dtype, strong is None))
    fitted = []
    for jaxpr in jaxprs:
        # weak types promote only as in arithmetic, and bools never: 1.5 with an int32 is 1.5
        fits = [
            a is not t
            and type(a) is type(t) is ShapedArray
            and a.shape == t.shape
            and (
                a.dtype == t.dtype
                or (
                    a.weak_type
                    and a.dtype.kind != "b"
                    and dtypes.join(a.dtype, True, t.dtype, t.weak_type)[0] == t.dtype
                )
            )
            for a, t in zip(jaxpr.out_avals, targets, strict=True)
        ]
        fitted.append(_converted(jaxpr, targets, fits) if any(fits) else jaxpr)
    for part, fun, jaxpr in zip(parts[1:], funs[1:], fitted[1:], strict=True):
        check_same_types(
            function,
            f"{part} ({describe_function(fun)}) must return the types that {parts[0]} returns",
            first.out_tree,
            fitted[0].out_avals,
            jaxpr.out_avals,
            "Convert with .astype(), or give the branches results of one shape.",
        )
    return fitted


def _converted(jaxpr: Jaxpr, targets: Sequence[ShapedArray], fits: Sequence[bool]) -> Jaxpr:
    def fun(*args):
        outs = eval_jaxpr(jaxpr, [], *args)
        return [
            convert_element_type(o, t.dtype, t.weak_type) if f else o
            for o, t, f in zip(outs, targets, fits, strict=True)
        ]

    return stage_open(fun, jaxpr.in_avals)[0]


# --- the rules ---


def _evaluate(index, *operands, branches):
    return eval_jaxpr(branches[int(index)], [], *operands)


def _type(index, *avals, branches):
    if not matches(index, _index):
        raise TypeError(f"cond: the index must have type i32[], got {index.str_short()}")
    for branch in branches:
        check_operands("cond", branch, avals)
    return branches[0].out_avals


def _lower(ctx, index, *operands, branches):
    bodies = [lambda block, b=b: block.inline(b, operands) for b in branches]
    return ctx.choose(index, branches[0].out_avals, bodies)


def _jvp(primals, tangents, branches):
    index, *operands = primals
    active = active_of(tangents[1:])
    present = tuple(map(any, zip(*(jvp_jaxpr(b, active)[1] for b in branches), strict=True)))
    derived = tuple(jvp_jaxpr(b, active, present)[0] for b in branches)
    outs = cond_p.bind(index, *operands, *chosen(tangents[1:], active), branches=derived)
    n = len(present)
    return outs[:n], filled(present, outs[n:], [zero_of(out.aval) for out in outs[:n]])


def _linearize(trace, primals, tangents, branches):
    index, *operands = primals
    active = active_of(tangents[1:])
    present = tuple(map(any, zip(*(linearize_jaxpr(b, active).present for b in branches), strict=True)))
    parts = [linearize_jaxpr(b, active, present) for b in branches]
    n = len(present)
    # a residual that is a result of its branch needs no slot
    results = [{v: i for i, v in enumerate(part.forward.outvars[:n]) if type(v) is Var} for part in parts]
    further = [[v for v in part.forward.outvars[n:] if v not in own] for part, own in zip(parts, results, strict=True)]
    # a constant of one branch must not share a slot with an active value of another: it would become active too
    moving = [_differentiable_values(part.forward) for part in parts]
    keys, places = _slots([[(v.aval, v in m) for v in own] for own, m in zip(further, moving, strict=True)])
    slots = [aval for aval, _ in keys]
    forward = tuple(
        _in_slots(Jaxpr([], part.forward.invars, part.forward.eqns, [*part.forward.outvars[:n], *own]), n, mine, slots)
        for part, own, mine in zip(parts, further, places, strict=True)
    )
    outs = cond_p.bind(index, *operands, branches=forward)
    # the slots in which the linear half of each branch finds its residuals
    found = []
    for part, result, own, mine in zip(parts, results, further, places, strict=True):
        at = result | {v: n + slot for v, slot in zip(own, mine, strict=True)}
        found.append([at[v] for v in part.forward.outvars[n:]])
    read = sorted({i for part in parts for i in part.forwarded})
    read_outs = sorted({i for mine in found for i in mine})
    linear = []
    for part, mine in zip(parts, found, strict=True):
        k, r = len(part.forwarded), part.residuals
        inner = part.linear.invars
        operand = dict(zip(part.forwarded, inner[:k], strict=True))
        residuals = dict(zip(mine, inner[k : k + r], strict=True))
        linear.append(
            Jaxpr(
                [],
                [
                    *(operand.get(i) or Var(operands[i].aval) for i in read),
                    *(residuals.get(i) or Var(outs[i].aval) for i in read_outs),
                    *inner[k + r :],
                ],
                part.linear.eqns,
                part.linear.outvars,
            )
        )
    given = chosen(tangents[1:], active)
    touts = cond_p.bind(
        index, *(operands[i] for i in read), *(outs[i] for i in read_outs), *given, branches=tuple(linear)
    )
    return outs[:n], filled(present, touts, [zero_of(out.aval) for out in outs[:n]])


def _differentiable_values(jaxpr: Jaxpr) -> set[Var]:
    """The values that have a derivative if all inputs have one."""
    found = {v for v in jaxpr.invars if is_differentiable(v.aval)}
    for eqn in jaxpr.eqns:
        if eqn.primitive not in (stop_gradient_p, detach_value_p) and any(
            type(v) is Var and v in found for v in eqn.invars
        ):
            found.update(v for v in eqn.outvars if is_differentiable(v.aval))
    return found


def _slots(needs: Sequence[Sequence[Any]]) -> tuple[list[Any], list[list[int]]]:
    """Slots for the residuals of all branches, shared by type, and the slots that each branch fills with its own.

    Each branch fills the other slots with zeros.
    """
    slots: list[Any] = []
    places = []
    for kinds in needs:
        free = list(range(len(slots)))
        mine = []
        for kind in kinds:
            slot = next((s for s in free if slots[s] == kind), None)
            if slot is None:
                slot = len(slots)
                slots.append(kind)
            else:
                free.remove(slot)
            mine.append(slot)
        places.append(mine)
    return slots, places


def _in_slots(forward: Jaxpr, n: int, mine: Sequence[int], slots: Sequence[ShapedArray]) -> Jaxpr:
    def fun(*args):
        outs = eval_jaxpr(forward, [], *args)
        residuals = dict(zip(mine, outs[n:], strict=True))
        return [*outs[:n], *(residuals[s] if s in residuals else placeholder(a) for s, a in enumerate(slots))]

    return stage_open(fun, forward.in_avals)[0]


def _accumulate(cts, index, *operands, accums, branches):
    linear = tuple(is_linear(x) for x in operands)
    sums = chosen(accums[1:], linear)
    wanted = wanted_of(sums)
    # a branch adds to what is there: an array of zeros for a part that another branch reads would cost every step of a
    # loop around
    before = [
        taken_of(accum, aval) if w else None
        for accum, aval, w in zip(sums, chosen(branches[0].in_avals, linear), wanted, strict=True)
    ]
    carried = tuple(value is not None for value in before)
    backward = tuple(transpose_jaxpr_full(b, linear, wanted, carried) for b in branches)
    given = [*others(operands, linear), *map(instantiate, cts), *chosen(before, carried)]
    for accum, ct in zip(chosen(sums, wanted), cond_p.bind(index, *given, branches=backward), strict=True):
        accum.add(ct)


def _batch(trace, operands, dims, branches):
    index, *rest = operands
    batched = tuple(d is not None for d in dims[1:])
    moved = [x if d is None else trace.materialize(x, d) for x, d in zip(rest, dims[1:], strict=True)]
    if dims[0] is not None and any(branch.effectful for branch in branches):
        return batch_by_scan(trace, cond_p, operands, dims, {"branches": branches})
    if dims[0] is not None:
        # the index is batched: all branches run, and the results are selected
        index = trace.materialize(index, dims[0])
        outs: list[Any] = []
        for i, branch in enumerate(branches):
            chosen = eq(index, np.int32(i))
            given = chosen_operands(trace, chosen, branch, moved, batched)
            results = eval_jaxpr(batch_jaxpr(branch, trace, batched, True)[0], [], *given)
            outs = (
                [chosen_entries(chosen, new, old) for old, new in zip(outs, results, strict=True)] if outs else results
            )
        return outs, [0] * len(outs)
    out_batched = tuple(map(any, zip(*(batch_jaxpr(b, trace, batched)[1] for b in branches), strict=True)))
    derived = tuple(batch_jaxpr(b, trace, batched, out_batched)[0] for b in branches)
    return cond_p.bind(index, *moved, branches=derived), [0 if b else None for b in out_batched]


def _save(eqn: Equation, missing: Sequence[bool], saving):
    """The branches that return the values the policy saves in them, and those that recompute the rest from these."""
    bodies = [saving.flat(b) for b in eqn.params["branches"]]
    kept = [saving.kept(b) for b in bodies]
    whole = [
        k and any(type(b.outvars[i]) is Var and b.outvars[i] in keep for b, keep in zip(bodies, kept, strict=True))
        for i, k in enumerate(missing)
    ]
    saved = chosen(eqn.outvars, whole)
    again = [i for i, (k, w) in enumerate(zip(missing, whole, strict=True)) if k and not w]
    if not again:
        return eqn, saved, None
    parts = [saving.split(b, [b.outvars[i] for i in again]) for b in bodies]
    slots, places = _slots([[v.aval for v in part.saved] for part in parts])
    stores = [Var(aval) for aval in slots]
    n = len(eqn.outvars)
    first = tuple(
        _in_slots(Jaxpr([], b.invars, part.first, [*b.outvars, *part.saved]), n, mine, slots)
        for b, part, mine in zip(bodies, parts, places, strict=True)
    )
    branches = []
    for b, part, mine in zip(bodies, parts, places, strict=True):
        inner = dict(zip(mine, part.saved, strict=True))
        branches.append(
            Jaxpr(
                [],
                [*b.invars, *(inner.get(s) or Var(aval) for s, aval in enumerate(slots))],
                part.again,
                [b.outvars[i] for i in again],
            )
        )
    return (
        eqn.replace(outvars=[*eqn.outvars, *stores], params={"branches": first}),
        [*saved, *stores],
        eqn.replace(
            invars=[*eqn.invars, *stores], outvars=[eqn.outvars[i] for i in again], params={"branches": tuple(branches)}
        ),
    )


cond_p.evaluate = _evaluate
cond_p.abstract_eval = _type
cond_p.lower = _lower
cond_p.jvp = _jvp
cond_p.linearize = _linearize
set_accumulate(cond_p, _accumulate)
cond_p.batch = _batch
cond_p.save = _save
cond_p.thread = thread_call(cond_p)

__all__ = ["cond", "cond_p", "switch"]
