"""`vmap` of control flow with side effects: examples run one after the other, each with its own branches and steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.lists import chosen, merged, others
from pullback._core.primitive import Primitive
from pullback._core.staging import stage_open
from pullback._higher_order.control.scan import bind_scan
from pullback._higher_order.host.callback import ORDERED_BATCH, has_ordered_call
from pullback._transforms.vmap import BatchTrace, without_leading


def batch_by_scan(
    trace: BatchTrace, primitive: Primitive, operands: Sequence[Any], dims: Sequence[int | None], params: dict[str, Any]
) -> tuple[list[Any], list[int]]:
    """The batching rule that runs the primitive for one example after the other, in a scan."""
    if any(has_ordered_call(held.jaxpr) for held in primitive.bodies(params)):
        raise ValueError(ORDERED_BATCH)
    batched = [d is not None for d in dims]
    shared = others(operands, batched)
    rows = [trace.materialize(x, d) for x, d in zip(chosen(operands, batched), chosen(dims, batched), strict=True)]

    def body(*values):
        return primitive.bind(*merged(batched, values[len(shared) :], values[: len(shared)]), **params)

    avals = [x.aval for x in shared] + [without_leading(x.aval) for x in rows]
    jaxpr, _ = stage_open(body, avals)
    _, outs = bind_scan(shared, [], rows, jaxpr, trace.size, False, 1)
    return outs, [0] * len(outs)
