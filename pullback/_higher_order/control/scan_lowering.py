"""What `scan` is compiled to: a while loop that reads its inputs, and writes its results, at the index of the step."""

from __future__ import annotations

import numpy as np

from pullback._core.types import at_least, make_aval
from pullback._higher_order.control.pack_lowering import spread, stacked
from pullback._higher_order.control.packing import LEAST, packed
from pullback._transforms.vmap import with_leading


def lower(ctx, *operands, jaxpr, length, reverse, num_consts, num_carry, unroll):
    """The lowering rule of `scan`."""
    settings = {"length": length, "reverse": reverse, "unroll": unroll}
    body = packed(jaxpr, num_consts, num_carry) if at_least(length, LEAST) else None
    if body is None:
        return _emit(ctx, *operands, jaxpr=jaxpr, num_consts=num_consts, num_carry=num_carry, **settings)
    end = num_consts + num_carry
    consts = stacked(ctx, operands[:num_consts], body.consts)
    carry = stacked(ctx, operands[num_consts:end], body.carry)
    xs = stacked(ctx, operands[end:], body.xs, 1)
    n = len(carry)
    outs = _emit(ctx, *consts, *carry, *xs, jaxpr=body.jaxpr, num_consts=len(consts), num_carry=n, **settings)
    return [*spread(ctx, outs[:n], body.carry), *spread(ctx, outs[n:], body.ys, 1)]


def _emit(ctx, *operands, jaxpr, length, reverse, num_consts, num_carry, unroll):
    ys_avals = [with_leading(y, length).strip_weak_type() for y in jaxpr.out_avals[num_carry:]]
    index = make_aval((), np.dtype(np.int32))
    zero = ctx.constant(0, index)
    buffers = [ctx.constant(0, y) for y in ys_avals]
    if length == 0:
        return [*operands[num_consts : num_consts + num_carry], *buffers]
    state = [zero, *operands, *buffers]
    n, m = 1 + num_consts, 1 + num_consts + num_carry
    k = 1 + len(operands)
    most = max(1, min(unroll, length)) if type(length) is int else 1
    steps = next(d for d in range(most, 0, -1) if length % d == 0)

    def test(block, args):
        return [block.compare("LT", args[0], block.dimension(length))]

    def body(block, args):
        i, carry, ys = args[0], args[n:m], args[k:]
        for _ in range(steps):
            where = i
            if reverse:
                where = block.op("stablehlo.subtract", [block.dimension(length - 1), i])
            xs = [_read(block, x, where) for x in args[m:k]]
            outs = block.inline(jaxpr, [*args[1:n], *carry, *xs])
            carry = outs[:num_carry]
            ys = [_write(block, y, buffer, where) for y, buffer in zip(outs[num_carry:], ys, strict=True)]
            i = block.op("stablehlo.add", [i, block.constant(1, index)])
        return [i, *args[1:n], *carry, *args[m:k], *ys]

    outs = ctx.loop(state, test, body)
    return [*outs[n:m], *outs[k:]]


def _read(block, x, i):
    inner = x.aval.shape[1:]
    zero = block.constant(0, i.aval)
    return block.reshape(block.dynamic_slice(x, [i, *(zero for _ in inner)], (1, *inner)), inner)


def _write(block, y, buffer, i):
    zero = block.constant(0, i.aval)
    row = block.reshape(y, (1, *y.aval.shape))
    return block.op("stablehlo.dynamic_update_slice", [buffer, row, i, *(zero for _ in y.aval.shape)], buffer.aval)


__all__ = ["lower"]
