"""`vmap` of control flow that acts on the world: each example runs by itself, so that it takes its own way only."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.jaxpr import jaxprs_in
from pullback._core.primitive import Primitive
from pullback._core.staging import stage_open
from pullback._core.types import make_aval
from pullback._higher_order.control.scan import bind_scan
from pullback._higher_order.host.callback import ORDERED_BATCH, has_ordered_call


def acts(params: dict[str, Any]) -> bool:
    """Whether some jaxpr among the parameters of a primitive acts on the world."""
    return any(jaxpr.effectful for jaxpr in jaxprs_in(params))


def one_by_one(trace: Any, primitive: Primitive, operands: Sequence[Any], dims: Sequence[int | None],
               params: dict[str, Any]) -> tuple[list[Any], list[int]]:
    """The batching rule that binds the primitive for one example after the other, in a scan."""
    if any(map(has_ordered_call, jaxprs_in(params))):
        raise ValueError(ORDERED_BATCH)
    batched = [d is not None for d in dims]
    shared = [x for x, b in zip(operands, batched, strict=True) if not b]
    rows = [trace.materialize(x, d) for x, d in zip(operands, dims, strict=True) if d is not None]

    def body(*values):
        common, row = iter(values[:len(shared)]), iter(values[len(shared):])
        return primitive.bind(*[next(row) if b else next(common) for b in batched], **params)

    avals = [x.aval for x in shared] + [make_aval(x.aval.shape[1:], x.aval.dtype, x.aval.weak_type) for x in rows]
    jaxpr, _ = stage_open(body, avals)
    _, outs = bind_scan(shared, [], rows, jaxpr, trace.size, False, 1)
    return outs, [0] * len(outs)
