"""A solver of initial value problems: Runge-Kutta steps of order 5 with adaptive lengths, and dense output.

The pair of formulas of orders 5 and 4 is that of Dormand and Prince, A family of embedded Runge-Kutta formulae, J.
Comp. Appl. Math. 6 (1980), table 2 (RK5(4)7M); the quartic through a step that of Shampine, Some practical Runge-Kutta
formulas, Math. Comp. 46 (1986). The first step and the control of the others follow Hairer, Nørsett and Wanner, Solving
Ordinary Differential Equations I (1993), section II.4.

The solver is never differentiated. What it does at several places, the function above all, is compiled
once (`apart`). It handles problems in lanes: the leading
axes of the times and of every part of the state are independent problems, each with its own step lengths, so that each
lane of a batch takes the same steps as it would alone.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.lists import chosen, cut, merged, others
from pullback._higher_order.apart import apart
from pullback._higher_order.control.loops import scan
from pullback._higher_order.control.while_loop import while_loop
from pullback._higher_order.solvers.packing import Packing
from pullback._ops.assemble import concatenate
from pullback._ops.compare import bitwise_and, bitwise_or, ge, gt, le, lt, select
from pullback._ops.elementwise import add, div, max, min, mul, pow, sqrt, square, sub
from pullback._ops.reduce import reduce_or
from pullback._ops.rounding import is_finite
from pullback._ops.shape import convert_element_type, expand_dims, full, move_axis, reduce_sum
from pullback._ops.slicing import index_in_dim, slice_in_dim
from pullback._ops.trig import abs

# the tableau: the position of each stage in the step, and its weights of the earlier slopes
_NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# the solution of order 5 minus that of order 4
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
# the coefficients of θ, θ², θ³ and θ⁴ in the weights of the seven slopes, at the fraction θ of a step
_QUARTIC = (
    (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (
        -8048581381 / 2820520608,
        0.0,
        131558114200 / 32700410799,
        -1754552775 / 470086768,
        127303824393 / 49829197408,
        -282668133 / 205662961,
        40617522 / 29380423,
    ),
    (
        8663915743 / 2820520608,
        0.0,
        -68118460800 / 10900136933,
        14199869525 / 1410260304,
        -318862633887 / 49829197408,
        2019193451 / 616988883,
        -110615467 / 29380423,
    ),
    (
        -12715105075 / 11282082432,
        0.0,
        87487479700 / 32700410799,
        -10690763975 / 1880347072,
        701980252875 / 199316789632,
        -1453857185 / 822651844,
        69997945 / 29380423,
    ),
)
_MOST_STEPS = 2**31 - 1
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 10.0

State = list[Array]


def solve(
    f: Callable[..., Sequence[Array]],
    times: Array,
    start: Sequence[Array],
    reads: Sequence[bool],
    rtol: float,
    atol: float,
    mxstep: float,
    hmax: float,
) -> State:
    """The solution of `y' = f(t, *y)` at the times, of shape `lanes + (n,)`, from `start` at the first of them.

    `reads` flags the parts of the state that `f` depends on. Every part has the lanes as leading axes; in the result an
    axis for the times follows them. Values that were not reached, because steps became too short or too many, are nan.
    """
    lanes, dtype = times.aval.ndim - 1, times.aval.dtype
    first, last = index_in_dim(times, 0, lanes, False), index_in_dim(times, -1, lanes, False)
    one = _constant(first, 1)
    # steps are forward in σt, with σ = -1 where the times decrease
    sign = select(ge(last, first), one, _constant(first, -1))
    scaled = mul(times, expand_dims(sign, (lanes,)))
    begin, end = mul(first, sign), mul(last, sign)
    tiny = float(dtypes.finfo(dtype).eps)
    # no step can be controlled more finely than the rounding of values
    rtol = builtins.max(rtol, *(float(dtypes.finfo(y.aval.dtype).eps) for y in start))

    packing = Packing([y.aval for y in start], reads, lanes)

    def rate(t: Array, *read: Array) -> State:
        rest = [_constant(v, 0) for v in others(packed, packing.reads)]
        found = f(mul(sign, t), *packing.unpacked(merged(packing.reads, read, rest)))
        return [mul(_like(sign, d), d) for d in packing.packed(found)]

    def size(parts: State) -> Array:
        """The largest root mean square among the parts, so that a small part is not hidden by a large one."""
        total: Any = None
        for x in parts:
            if x.aval.size:
                axes = tuple(range(lanes, x.aval.ndim))
                count = float(np.prod([x.aval.shape[i] for i in axes]))
                mean = div(reduce_sum(square(convert_element_type(abs(x), dtype)), axes), _scalar(dtype, count))
                total = sqrt(mean) if total is None else max(total, sqrt(mean))
        return _constant(first, 0) if total is None else total

    def relative_to(*arrays: Array) -> State:
        """The size of something in units of the tolerance, where the state is as large as given."""
        scaled = []
        for x, largest in zip(*cut(arrays, len(packed)), strict=True):
            scale = add(_scalar(largest.aval.dtype, atol), mul(_scalar(largest.aval.dtype, rtol), largest))
            # a tolerance of 0 is met by values that do not change
            scale = max(scale, _scalar(largest.aval.dtype, float(dtypes.finfo(scale.aval.dtype).tiny)))
            scaled.append(div(x, convert_element_type(scale, x.aval.dtype)))
        return [size(packing.unpacked(scaled))]

    packed = packing.packed(start)
    values = [v.aval for v in packed]
    rate_at = apart(rate, [first.aval.strip_weak_type(), *chosen(values, packing.reads)], "rate")
    relative = apart(relative_to, [*values, *(abs(v).aval for v in packed)], "relative size")

    def slope(t: Array, y: State) -> State:
        return rate_at(t, *chosen(y, packing.reads))

    # at large times a step must exceed the rounding, and must not go beyond the end
    seen = mul(_scalar(dtype, 16 * tiny), max(abs(begin), abs(end)))

    def guess(d0: Array, d1: Array) -> Array:
        small = _constant(first, 1e-5)
        tried = select(
            bitwise_or(lt(d0, small), lt(d1, small)),
            _constant(first, 1e-6),
            div(mul(_scalar(dtype, 0.01), d0), max(d1, small)),
        )
        tried = min(max(tried, seen), sub(end, begin))
        return select(gt(tried, _constant(first, 0)), tried, one)

    def first_step(y: State, k: State) -> Array:
        sizes = [abs(v) for v in y]
        (d0,), (d1,) = relative(*y, *sizes), relative(*k, *sizes)
        h = guess(d0, d1)
        ahead = slope(add(begin, h), _combine(y, h, [k], (1.0,)))
        (change,) = relative(*(sub(b, a) for a, b in zip(k, ahead, strict=True)), *sizes)
        largest = max(d1, div(change, h))
        still = le(largest, _constant(first, 1e-15))
        second = select(
            still,
            max(_constant(first, 1e-6), mul(h, _scalar(dtype, 1e-3))),
            pow(div(_constant(first, 0.01), select(still, one, largest)), _constant(first, 0.2)),
        )
        long = min(mul(h, _scalar(dtype, 100.0)), second)
        return max(select(is_finite(long), long, h), seen)

    def length(t: Array, h: Array) -> Array:
        return min(min(h, _constant(first, hmax)), sub(end, t))

    def going(state, target) -> Array:
        t, h, count = state[1], state[2], state[3]
        moves = bitwise_and(lt(t, target), gt(add(t, length(t, h)), t))
        limit = full((), builtins.min(mxstep, _MOST_STEPS), np.dtype(np.int32))
        return bitwise_and(moves, lt(count, limit))

    def step(state, target):
        _, t, h, count, moved, old, y, kept = state
        active = going(state, target)
        h = length(t, h)
        # a step begins with the last slope of the one before, or with its first if that was rejected
        slopes = [_where(moved, kept[-1], kept[0])]
        for node, weights in zip(_NODES, _STAGES, strict=True):
            new = _combine(y, h, slopes, weights)
            slopes.append(slope(add(t, mul(_scalar(dtype, node), h)), new))
        error = _combine(None, h, slopes, _ERROR)
        (ratio,) = relative(*error, *(max(abs(a), abs(b)) for a, b in zip(y, new, strict=True)))
        # a ratio of nan rejects the step
        accepted = bitwise_and(active, le(ratio, one))
        factor = mul(_scalar(dtype, _SAFETY), pow(max(ratio, _constant(first, 1e-10)), _constant(first, -0.2)))
        factor = min(max(factor, _constant(first, _SHRINK)), select(accepted, _constant(first, _GROW), one))
        factor = select(is_finite(ratio), factor, _constant(first, _SHRINK))
        whole = ge(h, sub(end, t))
        arrived = select(whole, end, add(t, h))
        after: tuple[Array, ...] = (t, select(accepted, arrived, t), mul(h, factor), add(count, 1), accepted)
        new = _where(accepted, new, y)
        if not lanes:  # the loop runs while its one lane does
            return (*after, y, new, slopes)
        after = tuple(select(active, a, b) for a, b in zip(after, state[:5], strict=True))
        slopes = [_where(active, a, b) for a, b in zip(slopes, kept, strict=True)]
        return (*after, _where(active, y, old), new, slopes)

    def advance(state, target):
        state = (*state[:3], _constant(first, 0, np.dtype(np.int32)), *state[4:])
        state = while_loop(lambda s: _any(going(s, target)), lambda s: step(s, target), state)
        before, t, _, _, _, old, y, slopes = state
        # the last step, of which the slopes are: nothing but its end, t, where it was rejected
        span = sub(t, before)
        theta = div(sub(target, before), select(gt(span, _constant(first, 0)), span, one))
        weights = [_constant(theta, 0)] * 7
        for row in reversed(_QUARTIC):
            weights = [mul(theta, add(_scalar(dtype, c), w)) for c, w in zip(row, weights, strict=True)]
        between = _combine(old, span, slopes, weights)
        known = bitwise_and(le(before, target), le(target, t))
        exact = ge(target, t)
        return state, [
            select(_across_axes(known, v), select(_across_axes(exact, v), v, b), _nan(v))
            for v, b in zip(y, between, strict=True)
        ]

    k = slope(begin, packed)
    count, never = (_constant(first, 0, np.dtype(kind)) for kind in (np.int32, bool))
    state = (begin, begin, first_step(packed, k), count, never, packed, packed, [k] * 7)
    targets = move_axis(slice_in_dim(scaled, 1, None, 1, lanes), lanes, 0)
    _, rest = scan(advance, state, targets)
    rest = packing.unpacked(rest, 1)
    return [move_axis(concatenate([expand_dims(y, (0,)), ys], 0), 0, lanes) for y, ys in zip(start, rest, strict=True)]


def _combine(y: State | None, h: Array, slopes: Sequence[State], weights: Sequence[float | Array]) -> State:
    """`y + h Σ w k`, for each part."""
    out = []
    for i, first in enumerate(slopes[0]):
        total: Any = None
        for k, w in zip(slopes, weights, strict=True):
            if isinstance(w, Array) or w:
                weight = _like(w, first) if isinstance(w, Array) else _scalar(first.aval.dtype, w)
                part = mul(weight, k[i])
                total = part if total is None else add(total, part)
        total = mul(_like(h, total), total)
        out.append(total if y is None else add(y[i], total))
    return out


def _across_axes(x: Array, values: Array) -> Array:
    """A number (or bool) of each lane, in a shape that broadcasts along the axes of `values`."""
    return expand_dims(x, tuple(range(x.aval.ndim, values.aval.ndim)))


def _like(x: Array, values: Array) -> Array:
    """The array `x` in the dtype of `values`."""
    return _across_axes(convert_element_type(x, values.aval.dtype), values)


def _where(mask: Array, x: State, y: State) -> State:
    return [select(_across_axes(mask, a), a, b) for a, b in zip(x, y, strict=True)]


def _any(mask: Array) -> Array:
    return reduce_or(mask, tuple(range(mask.aval.ndim)))


def _scalar(dtype: np.dtype, value: float) -> Array:
    return full((), value, dtype)


def _constant(like: Array, value: float, dtype: np.dtype | None = None) -> Array:
    return full(like.aval.shape, value, dtype or like.aval.dtype)


def _nan(like: Array) -> Array:
    return full(like.aval.shape, np.nan, like.aval.dtype)


__all__ = ["solve"]
