"""The ends of a loop that was packed, in the compiled program: values are stacked before it, and taken apart after."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from pullback._core.jaxpr import Jaxpr
from pullback._core.types import ShapedArray
from pullback._higher_order.control.packing import Layout, with_axis
from pullback._ops.identity import stage_closed
from pullback._ops.slicing import index_in_dim


def stacked(ctx: Any, values: Sequence[Any], layout: Layout, axis: int = 0) -> list[Any]:
    """The values of a layout, packs along a new axis."""
    return [values[item] if isinstance(item, int) else _stack(ctx, [values[i] for i in item], axis) for item in layout]


def _stack(ctx: Any, values: list[Any], axis: int) -> Any:
    known = ctx.constants.get(("stacked", axis, *[x.name for x in values]))
    if known is not None:
        return known
    rows = [ctx.reshape(x, with_axis(x.aval, 1, axis).shape) for x in values]
    return ctx.op(
        "stablehlo.concatenate", rows, with_axis(values[0].aval, len(values), axis), f"dimension = {axis} : i64"
    )


def spread(ctx: Any, values: Sequence[Any], layout: Layout, axis: int = 0, inside: bool = False) -> list[Any]:
    """The inverse of `stacked`; `inside` the loop, where other operations read the entries."""
    found: dict[int, Any] = {}
    for x, item in zip(values, layout, strict=True):
        if isinstance(item, int):
            found[item] = x
            continue
        plain, rows = inside or ctx.order is not None or ctx.module.is_spread, []
        for start in range(0, len(item), _AT_ONCE):
            jaxpr = _entries(x.aval, axis, start)
            if plain:
                rows += ctx.inline(jaxpr, [x])
            else:
                attributes = f"callee = @{ctx.module.function(jaxpr, 'entries')}{_ONE_KERNEL}"
                rows += ctx.op("func.call", [x], list(jaxpr.out_avals), attributes)
        # a loop that takes the same pack takes it whole
        ctx.constants["stacked", axis, *[row.name for row in rows]] = x
        found.update(zip(item, rows, strict=True))
    return [found[i] for i in range(len(found))]


# XLA makes a kernel of each result of the program, which takes 10 to 30 ms to compile, but one of all in such a call:
# 3 ms for each of 32 entries, for more of them it grows
_ONE_KERNEL = ', mhlo.frontend_attributes = {inlineable = "false", xla_cpu_small_call = "true"}'
_AT_ONCE = 32


@cache
def _entries(aval: ShapedArray, axis: int, start: int) -> Jaxpr:
    """Entries of an array along an axis, one by one."""
    places = range(start, min(start + _AT_ONCE, aval.shape[axis]))

    def entries(x):
        return [index_in_dim(x, i, axis, keepdims=False) for i in places]

    return stage_closed(entries, [aval], "the entries of a pack")


__all__ = ["spread", "stacked"]
