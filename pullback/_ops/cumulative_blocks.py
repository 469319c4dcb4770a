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

Blocks take XLA 0.3 to 0.8 s longer to compile: they are emitted where the figures above are far apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pullback._core.types import make_aval
from pullback._xla.attributes import int_array

if TYPE_CHECKING:
    from pullback._xla.lowering import Block, Value

_BLOCK = 16
# shorter axes are left to a window
LEAST = 4 * _BLOCK
_LARGE = 1_000_000

Combine = Callable[["Block", "list[Value]"], "Value"]


def pays(ctx: Block, x: Value, axis: int, costly: bool) -> bool:
    """Whether an axis is treated in blocks: of an operation that is `costly`, or of large arrays if it is not the last.

    Other platforms have windows, and so have axes that may be divided among devices.
    """
    module, aval = ctx.module, x.aval
    here = module.platform == "cpu" and not (module.leaves or module.is_spread)
    large = here and aval.size >= _LARGE and axis < aval.ndim - 1
    return here and aval.shape[axis] >= LEAST and (costly or large)


def in_blocks(
    ctx: Block, x: Value, axis: int, reverse: bool, combine: Combine, identity: Any, window: Callable[[Value], Value]
) -> Value:
    """The running operation `combine(block, [a, b])` along an axis; `window(x)` emits that along a short one."""
    shape = x.aval.shape
    n = shape[axis]
    if n < LEAST:
        return window(x)
    count = -(-n // _BLOCK)
    padded = _pad(ctx, x, axis, 0, count * _BLOCK - n, identity)
    parts = ctx.reshape(padded, (*shape[:axis], count, _BLOCK, *shape[axis + 1 :]))
    running: list[Value] = []
    for i in reversed(range(_BLOCK)) if reverse else range(_BLOCK):
        part = _slice(ctx, parts, axis + 1, i, i + 1)
        running.append(combine(ctx, [running[-1], part]) if running else part)
    totals = ctx.reshape(running[-1], (*shape[:axis], count, *shape[axis + 1 :]))
    totals = in_blocks(ctx, totals, axis, reverse, combine, identity, window)
    if reverse:
        running.reverse()
        before = _slice(ctx, _pad(ctx, totals, axis, 0, 1, identity), axis, 1, count + 1)
    else:
        before = _slice(ctx, _pad(ctx, totals, axis, 1, 0, identity), axis, 0, count)
    within = _concatenate(ctx, running, axis + 1)
    axes = [i for i in range(within.aval.ndim) if i != axis + 1]
    whole = combine(ctx, [ctx.broadcast(before, within.aval.shape, axes), within])
    return _slice(ctx, ctx.reshape(whole, padded.aval.shape), axis, 0, n)


def _slice(ctx: Block, x: Value, axis: int, start: int, stop: int) -> Value:
    shape = x.aval.shape
    if (start, stop) == (0, shape[axis]):
        return x
    starts, stops = [0] * len(shape), list(shape)
    starts[axis], stops[axis] = start, stop
    out = make_aval((*shape[:axis], stop - start, *shape[axis + 1 :]), x.aval.dtype)
    attributes = (
        f"start_indices = {int_array(starts)}, limit_indices = {int_array(stops)}, "
        f"strides = {int_array([1] * len(shape))}"
    )
    return ctx.op("stablehlo.slice", [x], out, attributes)


def _pad(ctx: Block, x: Value, axis: int, low: int, high: int, value: Any) -> Value:
    if not (low or high):
        return x
    shape, none = x.aval.shape, [0] * x.aval.ndim
    lows, highs = [*none], [*none]
    lows[axis], highs[axis] = low, high
    out = make_aval((*shape[:axis], shape[axis] + low + high, *shape[axis + 1 :]), x.aval.dtype)
    filler = ctx.constant(value, make_aval((), x.aval.dtype))
    attributes = (
        f"edge_padding_low = {int_array(lows)}, edge_padding_high = {int_array(highs)}, "
        f"interior_padding = {int_array(none)}"
    )
    return ctx.op("stablehlo.pad", [x, filler], out, attributes)


def _concatenate(ctx: Block, xs: Sequence[Value], axis: int) -> Value:
    shape = xs[0].aval.shape
    out = make_aval((*shape[:axis], len(xs), *shape[axis + 1 :]), xs[0].aval.dtype)
    return ctx.op("stablehlo.concatenate", xs, out, f"dimension = {axis} : i64")
