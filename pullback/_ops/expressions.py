"""Helpers for lowering rules: values with Python's arithmetic operators, and rules from functions of arrays.

An `Expr` is a value being lowered that supports Python's operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.staging import stage
from pullback._core.types import make_aval

if TYPE_CHECKING:
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

    def lifted(self, x: Any) -> Expr:
        """A number as a constant of this type."""
        return Expr(self.ctx, self.like(x))

    def op(self, name: str, *others: Any) -> Expr:
        return Expr(self.ctx, self.ctx.op(name, [self.value, *map(self.like, others)]))

    def of(self, name: str, aval: Any) -> Expr:
        """An operation on this value only, with a result of another type."""
        return Expr(self.ctx, self.ctx.op(name, [self.value], aval))

    def __add__(self, y):
        return self.op("stablehlo.add", y)

    def __sub__(self, y):
        return self.op("stablehlo.subtract", y)

    def __rsub__(self, y):
        return self.lifted(y) - self

    def __mul__(self, y):
        return self.op("stablehlo.multiply", y)

    def __truediv__(self, y):
        return self.op("stablehlo.divide", y)

    def __rtruediv__(self, y):
        return self.lifted(y) / self

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

    def is_positive(self) -> Expr:
        """Whether this is above 0 and finite; of a subnormal number no, as compiled code takes it for 0."""
        # x > 0 is false of one, but x > 0 & x < inf is a test of bits, and true (findings/xla_subnormal_positive.sh)
        least = np.finfo(np.float64 if self.double else np.float32).tiny
        return self.is_("GE", float(least)) & self.is_("LT", np.inf)

    def exp(self):
        return self.op("stablehlo.exponential")

    def log(self):
        return self.op("stablehlo.log")

    def sin(self):
        return self.op("stablehlo.sine")

    def cos(self):
        return self.op("stablehlo.cosine")

    def log1p(self):
        value = self.op("stablehlo.log_plus_one")
        if self.value.aval.dtype != np.float64:
            return value
        # XLA's is up to 128 ulp off between -0.4142 and -0.2929 (jaxlib 0.10.2), where 1 + x is exact
        return self.is_("LT", -0.25).choose((self + 1).log(), value)

    def abs(self):
        return self.op("stablehlo.abs")

    def expm1(self):
        return self.op("stablehlo.exponential_minus_one")

    def sqrt(self):
        return self.op("stablehlo.sqrt")

    def power(self, y: Any) -> Expr:
        return self.op("stablehlo.power", y)

    def floor(self):
        return self.op("stablehlo.floor")

    def round(self):
        """The nearest whole number, the even one of two."""
        return self.op("stablehlo.round_nearest_even")

    def minimum(self, y: Any) -> Expr:
        return self.op("stablehlo.minimum", y)

    def maximum(self, y: Any) -> Expr:
        return self.op("stablehlo.maximum", y)

    def lgamma(self):
        return self.op("chlo.lgamma")

    @property
    def double(self) -> bool:
        """True for a value of dtype float64."""
        return self.value.aval.dtype.itemsize == 8

    def choose(self, x: Any, y: Any) -> Expr:
        """`x` where this bool is true, else `y`, one of which is an Expr."""
        like = x if isinstance(x, Expr) else y
        return Expr(
            self.ctx, self.ctx.op("stablehlo.select", [self.value, like.like(x), like.like(y)], like.value.aval)
        )

    __radd__, __rmul__ = __add__, __mul__


_ON_HOST: dict[str, Callable] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "negate": np.negative,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "exponential": np.exp,
    "log": np.log,
    "sine": np.sin,
    "cosine": np.cos,
    "exponential_minus_one": np.expm1,
    "log_plus_one": np.log1p,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "power": np.power,
    "floor": np.floor,
    "round_nearest_even": np.rint,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "LT": np.less,
    "LE": np.less_equal,
    "GT": np.greater,
    "GE": np.greater_equal,
    "EQ": np.equal,
    "NE": np.not_equal,
}


class Host(Expr):
    """An `Expr` on the host: a NumPy array of float64, so that one formula is both a kernel and a lowering."""

    __slots__ = ()

    def __init__(self, value):
        super().__init__(None, value)

    def like(self, x: Any) -> Any:
        return x.value if isinstance(x, Expr) else x

    def lifted(self, x: Any) -> Expr:
        return Host(np.float64(x))

    def op(self, name: str, *others: Any) -> Expr:
        return Host(_ON_HOST[name.removeprefix("stablehlo.")](self.value, *map(self.like, others)))

    def is_(self, direction: str, y: Any) -> Expr:
        return self.op(direction, y)

    def choose(self, x: Any, y: Any) -> Expr:
        return Host(np.where(self.value, self.like(x), self.like(y)))

    def is_positive(self) -> Expr:
        return self.is_("GT", 0.0) & self.is_("LT", np.inf)

    def log1p(self):
        return self.op("stablehlo.log_plus_one")

    @property
    def double(self) -> bool:
        return True


def written(body: Callable) -> Callable:
    """A lowering rule from a function of Exprs; half precision is computed in float32."""

    def lower(ctx, *args, **params):
        dtype = args[0].aval.dtype
        half = dtype.itemsize <= 2 and dtypes.is_float(dtype)
        wide = np.dtype(np.float32) if half else dtype
        return ctx.convert(body(*[Expr(ctx, ctx.convert(x, wide)) for x in args], **params).value, dtype)

    return lower


def kernel(body: Callable) -> Callable:
    """The kernel of the same function, computed in float64."""

    def run(*args, **params):
        return body(*[Host(np.asarray(x, np.float64)) for x in args], **params).value

    return run


def polynomial(t: Expr, coefficients: Sequence[float]) -> Expr:
    """The polynomial with these coefficients, that of the constant first, by Horner's rule."""
    total = t * coefficients[-1] + coefficients[-2]
    for coefficient in coefficients[-3::-1]:
        total = total * t + coefficient
    return total


def _anywhere(block: Block, condition: Value) -> Value:
    """A bool that is true if any element of an array of bools is."""
    flag = make_aval((), _BOOL)
    body = block.region([flag, flag], lambda b, pq: [b.op("stablehlo.or", pq)])
    axes = ", ".join(map(str, range(condition.aval.ndim)))
    attrs = f"dimensions = array<i64{': ' + axes if axes else ''}>"
    return block.op("stablehlo.reduce", [condition, block.constant(False, flag)], flag, attrs, [body])


def if_any(condition: Expr, compute: Callable[..., Expr], otherwise: Callable[..., Expr], *args: Expr) -> Expr:
    """`compute(*args)` if the condition holds anywhere, else `otherwise(*args)`; the other one is not computed."""
    if isinstance(condition, Host):
        return compute(*args) if np.any(condition.value) else otherwise(*args)
    ctx = condition.ctx

    def branch(function):
        return lambda block: [function(*[Expr(block, x.value) for x in args]).value]

    index = ctx.convert(_anywhere(ctx, condition.value), np.dtype(np.int32))
    return Expr(ctx, ctx.choose(index, [args[0].value.aval], [branch(otherwise), branch(compute)])[0])


def where_any(condition: Expr, compute: Callable[..., Expr], otherwise: Expr, *args: Expr) -> Expr:
    """`compute(*args)` where the condition holds, else `otherwise`; nothing is computed if it holds nowhere."""

    def some(known, condition, *args):
        return condition.choose(compute(*args), known)

    return if_any(condition, some, lambda known, *rest: known, otherwise, condition, *args)


def repeat(count: int, state: Sequence[Expr], step: Callable) -> list[Expr]:
    """Repeat `step(n, *state)`, emitted once, for n = 0, ..., `count` - 1, which has the type of `state[0]`."""
    if isinstance(state[0], Host):
        for n in range(count):
            state = step(Host(np.float64(n)), *state)
        return list(state)
    ctx, aval = state[0].ctx, state[0].value.aval
    number = make_aval((), np.dtype(np.int32))

    def body(block, args):
        n, *rest = args
        filled = block.broadcast(block.convert(n, aval.dtype), aval.shape)
        outs = step(Expr(block, filled), *[Expr(block, x) for x in rest])
        return [block.op("stablehlo.add", [n, block.constant(1, number)]), *[x.value for x in outs]]

    outs = ctx.loop(
        [ctx.constant(0, number), *[x.value for x in state]],
        lambda block, args: [block.compare("LT", args[0], block.constant(count, number))],
        body,
    )
    return [Expr(ctx, x) for x in outs[1:]]


def iterate(state: Sequence[Expr], step: Callable, unfinished: Callable, limit: int = 2000) -> list[Expr]:
    """Repeat `step(n, *state)` for n = 1, 2, ... while `unfinished(*state)` is true anywhere."""
    if isinstance(state[0], Host):
        n = 1
        while n < limit and np.any(unfinished(*state).value):
            state, n = step(Host(np.float64(n)), *state), n + 1
        return list(state)
    ctx, aval = state[0].ctx, state[0].value.aval
    count = make_aval((), np.dtype(np.int32))
    avals = [count, *[x.value.aval for x in state]]

    def condition(block, args):
        n, *rest = args
        any_ = _anywhere(block, unfinished(*[Expr(block, x) for x in rest]).value)
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
    """The reciprocal of the continued fraction first + a1 / (b1 + a2 / (b2 + ...)).

    `terms(n, *carried)` is a list of the next few (a, b), for n = 1, 2, ...; more at once reduce the number of loop
    steps. By Lentz's method (Lentz 1976, modified by Thompson and Barnett 1986).
    """
    info = np.finfo(np.float64 if x.double else np.float32)
    tiny, eps = float(info.tiny) * 1e4, float(info.eps)

    def nonzero(v):
        return v.abs().is_("LT", tiny).choose(tiny, v)

    def step(n, c_, d, h, delta, *rest):
        for a, b in terms(n, *rest):
            d = 1.0 / nonzero(a * d + b)
            c_ = nonzero(b + a / c_)
            delta = c_ * d
            h = h * delta
        return [c_, d, h, delta, *rest]

    d = 1.0 / nonzero(first)
    start = [nonzero(first) * 0.0 + 1.0 / tiny, d, d, first * 0.0 + 2.0, *carried]
    return iterate(start, step, lambda c_, d, h, delta, *rest: (delta - 1.0).abs().is_("GT", eps))[2]


def emitted(ctx: Block, function: Callable[..., Sequence[Array]], *values: Value) -> list[Value]:
    """Apply a function of arrays to values being lowered, to write a lowering rule in terms of other operations."""
    closed = stage(function, [x.aval for x in values])
    constants = [ctx.constant(c.value, c.aval.strip_weak_type()) for c in closed.consts]
    return ctx.inline(closed.jaxpr, [*constants, *values])
