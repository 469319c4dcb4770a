"""Lowering rules in other words: as arithmetic, or as a function of arrays.

An `Expr` is a value being lowered that knows Python's operators.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.staging import stage
from pullback._core.types import make_aval
from pullback._xla.lowering import Block, Value

_BOOL = np.dtype(bool)


class Expr:
    """A value being lowered, with Python's arithmetic; numbers become constants of its type."""

    __slots__ = ("ctx", "value")

    def __init__(self, ctx, value):
        self.ctx = ctx
        self.value = value

    def like(self, x: Any) -> Any:
        return x.value if isinstance(x, Expr) else self.ctx.full_like(self.value, x)

    def op(self, name: str, *others: Any) -> Expr:
        return Expr(self.ctx, self.ctx.op(name, [self.value, *map(self.like, others)]))

    def of(self, name: str, aval: Any) -> Expr:
        """An operation on this value alone, with a result of another type."""
        return Expr(self.ctx, self.ctx.op(name, [self.value], aval))

    def __add__(self, y):
        return self.op("stablehlo.add", y)

    def __sub__(self, y):
        return self.op("stablehlo.subtract", y)

    def __rsub__(self, y):
        return Expr(self.ctx, self.like(y)) - self

    def __mul__(self, y):
        return self.op("stablehlo.multiply", y)

    def __truediv__(self, y):
        return self.op("stablehlo.divide", y)

    def __rtruediv__(self, y):
        return Expr(self.ctx, self.like(y)) / self

    def __neg__(self):
        return self.op("stablehlo.negate")

    def __and__(self, y):
        return self.op("stablehlo.and", y)

    def __or__(self, y):
        return self.op("stablehlo.or", y)

    def __invert__(self):
        return self.op("stablehlo.not")

    def is_(self, direction: str, y: Any) -> Expr:
        return Expr(self.ctx, self.ctx.compare(direction, self.value, self.like(y)))

    def exp(self):
        return self.op("stablehlo.exponential")

    def log(self):
        return self.op("stablehlo.log")

    def abs(self):
        return self.op("stablehlo.abs")

    def lgamma(self):
        return self.op("chlo.lgamma")

    def choose(self, x: Any, y: Any) -> Expr:
        """`x` where this bool is true, else `y`, one of which is an Expr."""
        like = x if isinstance(x, Expr) else y
        return Expr(self.ctx, self.ctx.op("stablehlo.select", [self.value, like.like(x), like.like(y)],
                                          like.value.aval))

    __radd__, __rmul__ = __add__, __mul__


def written(body: Callable) -> Callable:
    """A lowering rule from a function of Exprs; half precision is computed in float32."""

    def lower(ctx, *args):
        dtype = args[0].aval.dtype
        half = dtype.itemsize <= 2 and dtypes.is_float(dtype)
        wide = [ctx.convert(x, np.dtype(np.float32)) if half else x for x in args]
        return ctx.convert(body(*[Expr(ctx, x) for x in wide]).value, dtype)

    return lower


def iterate(state: Sequence[Expr], step: Callable, unfinished: Callable, limit: int = 2000) -> list[Expr]:
    """Repeat `step(n, *state)` for n = 1, 2, ... while `unfinished(*state)` is true anywhere."""
    ctx, aval = state[0].ctx, state[0].value.aval
    count = make_aval((), np.dtype(np.int32))
    flag = make_aval((), _BOOL)
    avals = [count, *[x.value.aval for x in state]]

    def condition(block, args):
        n, *rest = args
        open_ = unfinished(*[Expr(block, x) for x in rest]).value
        body = block.region([flag, flag], lambda b, pq: [b.op("stablehlo.or", pq)])
        axes = ", ".join(map(str, range(aval.ndim)))
        attrs = f"dimensions = array<i64{': ' + axes if axes else ''}>"
        any_ = block.op("stablehlo.reduce", [open_, block.constant(False, flag)], flag, attrs, [body])
        return [block.op("stablehlo.and", [any_, block.compare("LT", n, block.constant(limit, count))])]

    def body(block, args):
        n, *rest = args
        number = block.broadcast(block.convert(n, aval.dtype), aval.shape)
        outs = step(Expr(block, number), *[Expr(block, x) for x in rest])
        return [block.op("stablehlo.add", [n, block.constant(1, count)]), *[x.value for x in outs]]

    start = [ctx.constant(1, count), *[x.value for x in state]]
    outs = ctx.op("stablehlo.while", start, avals, "", [ctx.region(avals, condition), ctx.region(avals, body)])
    return [Expr(ctx, x) for x in outs[1:]]


def continued_fraction(x: Expr, first: Expr, terms: Callable, *carried: Expr) -> Expr:
    """The reciprocal of the continued fraction first + a1 / (b1 + a2 / (b2 + ...)), `terms(n, *carried) = (a, b)`.

    By Lentz's method (Lentz 1976, modified by Thompson and Barnett 1986).
    """
    dtype = x.value.aval.dtype
    tiny = float(np.finfo(dtype).tiny) * 1e4
    eps = float(np.finfo(dtype).eps)

    def nonzero(v):
        return v.abs().is_("LT", tiny).choose(tiny, v)

    def step(n, c_, d, h, delta, *rest):
        a, b = terms(n, *rest)
        d = 1.0 / nonzero(a * d + b)
        c_ = nonzero(b + a / c_)
        delta = c_ * d
        return [c_, d, h * delta, delta, *rest]

    d = 1.0 / nonzero(first)
    start = [nonzero(first) * 0.0 + 1.0 / tiny, d, d, first * 0.0 + 2.0, *carried]
    return iterate(start, step, lambda c_, d, h, delta, *rest: (delta - 1.0).abs().is_("GT", eps))[2]


def emitted(ctx: Block, function: Callable[..., Sequence[Array]], *values: Value) -> list[Value]:
    """What a function of arrays returns for values being lowered: a lowering rule in the words of other operations."""
    closed = stage(function, [x.aval for x in values])
    constants = [ctx.constant(c.value, c.aval.strip_weak_type()) for c in closed.consts]
    return ctx.inline(closed.jaxpr, [*constants, *values])
