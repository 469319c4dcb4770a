"""A scan whose steps are grouped into nested, checkpointed blocks, so that reverse mode keeps few carries.

With `levels` levels the blocks hold `b`, `b²`, ... steps, `b` the root of that order of their number. Reverse mode
keeps at most `b` carries of each level, and computes each step once more for each level.

See: Griewank and Walther, Evaluating Derivatives (2008), chapter 12, on multilevel checkpointing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pullback._core.jaxpr import Jaxpr
from pullback._core.lists import cut
from pullback._core.staging import stage_open
from pullback._core.types import make_aval
from pullback._higher_order.checkpoint import Policy, bind_checkpoint
from pullback._higher_order.control.scan import bind_scan
from pullback._ops.assemble import concatenate
from pullback._ops.shape import reshape
from pullback._ops.slicing import slice_in_dim


def blocks_of(steps: int, levels: int | None) -> tuple[int, list[tuple[int, int]]]:
    """The base, and the blocks to run one after another: pairs of a level and a count, largest first.

    A block of level `i` holds `base**i` steps. Without `levels` the base is 2, with as many levels as it takes.
    """
    if levels is None:
        base, levels = 2, max(1, steps.bit_length() - 1)
    else:
        # a root that is an integer must not be rounded up
        base = max(2, math.ceil(round(steps ** (1 / levels), 9)))
    runs = []
    for level in reversed(range(levels)):
        count, steps = divmod(steps, base**level)
        if count:
            runs.append((level, count))
    return base, runs


def bind_checkpointed_scan(
    consts: Sequence[Any],
    carry: Sequence[Any],
    xs: Sequence[Any],
    body: Jaxpr,
    length: int,
    reverse: bool,
    levels: int | None,
    policy: Policy | None,
) -> tuple[list[Any], list[Any]]:
    """The last carry and the stacked results of a scan in blocks; `policy` is that of a single step."""
    m, k = len(consts), len(carry)
    base, runs = blocks_of(length, levels)
    blocks = [_checkpointed(body, policy)]

    def run(block: Jaxpr, size: int, count: int, args: Sequence[Any]) -> list[Any]:
        # rows of the blocks: (count, size, ...), and (count, ...) where a block is one step
        first, start, rows = cut(args, m, k)
        grouped = [reshape(x, (count, size, *x.aval.shape[1:])) if size > 1 else x for x in rows]
        last, stacked = bind_scan(first, start, grouped, block, count, reverse, 1)
        return [*last, *(reshape(y, (count * size, *y.aval.shape[2:])) if size > 1 else y for y in stacked)]

    def larger(level: int) -> Jaxpr:
        size, inner = base ** (level - 1), blocks[level - 1]
        rows = [make_aval((size * base, *aval.shape), aval.dtype, aval.weak_type) for aval in body.in_avals[m + k :]]
        block = stage_open(lambda *args: run(inner, size, base, args), [*body.in_avals[: m + k], *rows])[0]
        return _checkpointed(block, None)

    for level in range(1, 1 + max((level for level, _ in runs), default=0)):
        blocks.append(larger(level))
    parts: list[list[Any]] = []
    done, last = 0, list(carry)
    for level, count in runs:
        n = count * base**level
        begin = length - done - n if reverse else done
        rows = [slice_in_dim(x, begin, begin + n) if n < length else x for x in xs]
        last, ys = cut(run(blocks[level], base**level, count, [*consts, *last, *rows]), k)
        parts.append(ys)
        done += n
    if len(parts) == 1:
        return last, parts[0]
    if not parts:
        last, ys = bind_scan(consts, carry, xs, body, 0, reverse, 1)
        return last, ys
    ordered = parts[::-1] if reverse else parts
    return last, [concatenate(list(ys), 0) for ys in zip(*ordered, strict=True)]


def _checkpointed(jaxpr: Jaxpr, policy: Policy | None) -> Jaxpr:
    # inside a scan the first run and the recomputation are in different loops: nothing can be merged
    return stage_open(lambda *args: bind_checkpoint(jaxpr, args, False, policy), jaxpr.in_avals)[0]


__all__ = ["bind_checkpointed_scan", "blocks_of"]
