"""Running operations in blocks, emitted: within blocks of 16 elements side by side, then over the blocks' results.

XLA's own way, a window as long as the axis, combines 16 elements anew for each result, one after the other. Here each
of the 15 steps combines long vectors. Processor time in ms, on two cores of a busy machine (AVX-512, jaxlib 0.10.2):

| operation | by a window | in blocks |
|---|---|---|
| cumlogsumexp of 1,000,000 / of 1,000 | 355 / 0.49 | 10 / 0.08 |
| cumlogsumexp of 400 rows of 1,000 | 145 | 13 |
| cumsum, cummax of 4096 x 1024 down the columns | 67, 84 | 10, 7 |
| cumsum, cummax of 400 x 1000 down the columns | 1.9, 3.8 | 1.4, 1.7 |
| cumsum, cummax of 4,000,000 | 44, 58 | 39, 42 |

Blocks take XLA 0.3 to 0.8 s longer to compile: they are emitted where the figures above are far apart. The last axis of
large arrays has a way of its own, `cumulative_lanes.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pullback._core.types import at_least, make_aval

if TYPE_CHECKING:
    from pullback._xla.lowering import Block, Value

_BLOCK = 16
# shorter axes are left to a window
LEAST = 4 * _BLOCK
_LARGE = 1_000_000

Combine = Callable[["Block", "list[Value]"], "Value"]


def pays(ctx: Block, x: Value, axis: int, costly: bool) -> bool:
    """Whether an axis is treated in blocks: of an operation that is `costly`, or of large arrays if not the last."""
    aval = x.aval
    if not is_here(ctx) or not at_least(aval.shape[axis], LEAST):
        return False
    return costly or (axis < aval.ndim - 1 and at_least(aval.size, _LARGE))


def is_here(ctx: Block) -> bool:
    """Whether the program runs on this processor, with no axis divided among devices."""
    module = ctx.module
    return module.platform == "cpu" and not (module.leaves or module.is_spread)


def in_blocks(
    ctx: Block, x: Value, axis: int, reverse: bool, combine: Combine, identity: Any, window: Callable[[Value], Value]
) -> Value:
    """The running operation `combine(block, [a, b])` along an axis; `window(x)` emits that along a short one."""
    shape = x.aval.shape
    n = shape[axis]
    if n < LEAST:
        return window(x)
    count = -(-n // _BLOCK)
    padded = emit_pad(ctx, x, axis, 0, count * _BLOCK - n, identity)
    parts = ctx.reshape(padded, (*shape[:axis], count, _BLOCK, *shape[axis + 1 :]))
    running: list[Value] = []
    for i in reversed(range(_BLOCK)) if reverse else range(_BLOCK):
        part = emit_slice(ctx, parts, axis + 1, i, i + 1)
        running.append(combine(ctx, [running[-1], part]) if running else part)
    totals = ctx.reshape(running[-1], (*shape[:axis], count, *shape[axis + 1 :]))
    totals = in_blocks(ctx, totals, axis, reverse, combine, identity, window)
    if reverse:
        running.reverse()
        before = emit_slice(ctx, emit_pad(ctx, totals, axis, 0, 1, identity), axis, 1, count + 1)
    else:
        before = emit_slice(ctx, emit_pad(ctx, totals, axis, 1, 0, identity), axis, 0, count)
    within = emit_concatenate(ctx, running, axis + 1, parts.aval.shape)
    axes = [i for i in range(within.aval.ndim) if i != axis + 1]
    whole = combine(ctx, [ctx.broadcast(before, within.aval.shape, axes), within])
    return emit_slice(ctx, ctx.reshape(whole, padded.aval.shape), axis, 0, n)


def emit_slice(ctx: Block, x: Value, axis: int, start: int, stop: int) -> Value:
    """Part of an axis."""
    shape = x.aval.shape
    if (start, stop) == (0, shape[axis]):
        return x
    starts, stops = [0] * len(shape), list(shape)
    starts[axis], stops[axis] = start, stop
    return ctx.slice(x, starts, stops, [1] * len(shape))


def emit_pad(ctx: Block, x: Value, axis: int, low: int, high: int, value: Any) -> Value:
    """A longer axis, with so many elements of a value before and behind."""
    if not (low or high):
        return x
    shape, none = x.aval.shape, [0] * x.aval.ndim
    lows, highs = [*none], [*none]
    lows[axis], highs[axis] = low, high
    out = make_aval((*shape[:axis], shape[axis] + low + high, *shape[axis + 1 :]), x.aval.dtype)
    filler = ctx.constant(value, make_aval((), x.aval.dtype))
    return ctx.pad(x, filler, lows, highs, none, out)


def emit_concatenate(ctx: Block, xs: Sequence[Value], axis: int, shape: tuple[int, ...]) -> Value:
    """The values one behind the other along an axis; the result has that shape."""
    return ctx.op("stablehlo.concatenate", xs, make_aval(shape, xs[0].aval.dtype), f"dimension = {axis} : i64")
