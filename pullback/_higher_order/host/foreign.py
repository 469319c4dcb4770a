"""Calls of functions that are registered with the engine, as primitives: see `pullback.ffi`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pullback._core.errors import RuleNotDefinedError
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray, make_aval
from pullback._higher_order.control.effects_under_vmap import batch_by_scan
from pullback._ops.shape import expand_dims
from pullback._transforms.vmap import BatchTrace
from pullback._xla.foreign import emit_foreign_call


class ForeignCall(NamedTuple):
    """What is called, with which results, and how `vmap` calls it."""

    target: str
    out_avals: tuple[ShapedArray, ...]
    layouts: tuple[tuple[tuple[int, ...] | None, ...], tuple[tuple[int, ...] | None, ...]]
    config: str
    aliases: tuple[tuple[int, int], ...]
    vmap_method: str | None
    version: int

    def __str__(self) -> str:
        return self.target


foreign_call_p = Primitive("ffi_call", multiple_results=True)
effectful_foreign_call_p = Primitive("ffi_call", multiple_results=True)
effectful_foreign_call_p.has(effectful=True)


def _full(axes: Sequence[int] | None, ndim: int) -> Sequence[int]:
    return range(ndim) if axes is None else axes


def _set(p: Primitive, effectful: bool) -> None:
    def lower(ctx, *operands, call: ForeignCall):
        given = call.layouts
        layouts = (
            [_full(axes, x.aval.ndim) for axes, x in zip(given[0], operands, strict=True)],
            [_full(axes, aval.ndim) for axes, aval in zip(given[1], call.out_avals, strict=True)],
        )
        return emit_foreign_call(
            ctx, call.target, operands, call.out_avals, layouts, call.config, call.aliases, effectful, call.version
        )

    def jvp(primals, tangents, call: ForeignCall):
        raise RuleNotDefinedError(
            f"the FFI call to {call.target!r} cannot be differentiated: give it a rule by custom_jvp or custom_vjp"
        )

    def batch(trace: BatchTrace, operands, dims, call: ForeignCall):
        method = call.vmap_method
        if method is None:
            raise NotImplementedError(
                f"the FFI call to {call.target!r} does not say how it is mapped: pass vmap_method to ffi_call, "
                "'sequential' for one call after the other, 'expand_dims' or 'broadcast_all' for one call of all"
            )
        if method.startswith("sequential"):
            return batch_by_scan(trace, p, operands, dims, {"call": call})
        moved = []
        for x, dim in zip(operands, dims, strict=True):
            if dim is None and method == "expand_dims":
                moved.append(expand_dims(x, (0,)))
            elif dim is None and method == "legacy_vectorized":
                moved.append(x)
            else:
                moved.append(trace.materialize(x, dim))
        avals = tuple(make_aval((trace.size, *aval.shape), aval.dtype) for aval in call.out_avals)

        def longer(axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
            return None if axes is None else (0, *(d + 1 for d in axes))

        batched = [dim is not None or method != "legacy_vectorized" for dim in dims]
        layouts = (
            tuple(longer(axes) if b else axes for axes, b in zip(call.layouts[0], batched, strict=True)),
            tuple(map(longer, call.layouts[1])),
        )
        return p.bind(*moved, call=call._replace(out_avals=avals, layouts=layouts)), 0

    p.abstract_eval = lambda *avals, call: list(call.out_avals)
    p.lower = lower
    p.jvp = jvp
    p.batch = batch


_set(foreign_call_p, False)
_set(effectful_foreign_call_p, True)
