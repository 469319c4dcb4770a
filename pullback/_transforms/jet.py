"""Taylor mode: every primitive is replaced by its rule on truncated power series.

A series is a value with its first derivatives x', x'', ... along a curve. For y = f(x) the chain rule says

    y' = ∂f(x) x',

which is the jvp rule of f at the *series* x and x', both known to one order less than is needed for y: the derivatives
of y are f(x) and the derivatives of ∂f(x) x', and in terms of derivatives x' is x without its first entry. So one rule
serves every primitive that has a jvp rule: run it on series of one order less, down to order 1, where it is forward
mode. A rule that uses the result y itself (that of exp, say) gets it as a series that is computed on demand. This is
the derivation of the recurrences of Griewank and Walther, Evaluating Derivatives (2008), section 13.2, as an
algorithm. If a rule uses its own primitive more than once, the cost grows exponentially with the order: products,
quotients, and primitives that hold functions have a rule of their own, `taylor(primals, series, **params)`, see
`_ops/rules.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.array import ConcreteArray, lift
from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.lists import chosen
from pullback._core.primitive import Primitive
from pullback._core.trace import Trace, Tracer, call_with, context
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of
from pullback._ops.identity import stage_noting
from pullback._ops.shape import zeros_like_aval

_SUBJECT = "the jet of a traced function"

Series = list[Any]


class JetTracer(Tracer):
    """A value with its derivatives along a curve, which may be computed on demand."""

    __slots__ = ("_primal", "_series", "_make")

    def __init__(
        self, trace: JetTrace, primal: AnyValue, series: Series | None, make: Callable[[], Series] | None = None
    ):
        self._trace = trace
        self.aval = primal.aval
        self._primal = primal
        self._series = series
        self._make = make

    @property
    def _known_series(self) -> Series:
        if self._series is None:
            assert self._make is not None
            self._series, self._make = self._make(), None
        return self._series

    def _known(self) -> ConcreteArray | None:
        return self._primal if type(self._primal) is ConcreteArray else self._primal._known()

    def _outer(self) -> Any:
        return self._primal

    def _constant(self) -> bool:
        return False


class JetTrace(Trace):
    """Pushes series of `order` derivatives forward."""

    __slots__ = ("order", "subject", "application")

    def __init__(self, parent: Trace | None, order: int, subject: str = "jet", application: _Application | None = None):
        super().__init__(parent)
        self.order = order
        self.subject = subject
        self.application = application

    def describe(self) -> str:
        return self.subject

    def mine(self, a: AnyValue) -> bool:
        return type(a) is JetTracer and a._trace is self

    def join(self, primal: AnyValue, series: Series | None) -> Any:
        return primal if series is None else JetTracer(self, primal, series)

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        if not any(map(self.mine, args)):
            return call_with(self.parent, primitive.bind, *args, **params)
        if self.application is not None and self.application.matches(primitive, args, params):
            return self.application.result_on_demand(self)
        primals = [a._primal if self.mine(a) else a if isinstance(a, Tracer) else lift(a) for a in args]
        series = [a._known_series if self.mine(a) else None for a in args]
        if primitive.taylor is not None:
            out, out_series = call_with(self.parent, primitive.taylor, primals, series, **params)
        else:
            out, out_series = self.by_jvp(primitive, primals, series, params)
        if primitive.multiple_results:
            return [self.join(p, s) for p, s in zip(out, out_series, strict=True)]
        return self.join(out, out_series)

    def by_jvp(
        self,
        primitive: Primitive,
        primals: Sequence[Any],
        series: Sequence[Series | None],
        params: dict,
        known: AnyValue = None,
    ) -> tuple[Any, Any]:
        """The result and its series, from the jvp rule; `known` is the result, if it has been computed already."""
        rule = primitive.jvp or primitive.rule("jvp")
        many = primitive.multiple_results
        zeros = [zero_of(p.aval) for p in primals]
        if self.order == 1:
            tangents = [z if s is None else s[0] for s, z in zip(series, zeros, strict=True)]
            out, tangent = call_with(self.parent, rule, primals, tangents, **params)
            series_of = [None if type(t) is Zero else [t] for t in (tangent if many else [tangent])]
            return out, series_of if many else series_of[0]
        inner = JetTrace(self.parent, self.order - 1, self.subject)
        values = [p if s is None else JetTracer(inner, p, s[:-1]) for p, s in zip(primals, series, strict=True)]
        tangents = [z if s is None else JetTracer(inner, s[0], s[1:]) for s, z in zip(series, zeros, strict=True)]
        inner.application = _Application(primitive, values, params, known)
        try:
            out, tangent = call_with(inner, rule, values, tangents, **params)
            outs, touts = (out, tangent) if many else ([out], [tangent])
            outs = [p._primal if inner.mine(p) else p for p in outs]
            series_of = [
                None
                if type(t) is Zero
                else [t._primal, *t._known_series]
                if inner.mine(t)
                else [t, *(zeros_like_aval(lift(t).aval) for _ in range(inner.order))]
                for t in touts
            ]
        finally:
            inner.alive = False
        return (outs, series_of) if many else (outs[0], series_of[0])


class _Application:
    """The primitive application whose derivative is being computed, in case its rule applies it again."""

    __slots__ = ("primitive", "args", "params", "known")

    def __init__(self, primitive: Primitive, args: Sequence[Any], params: dict, known: AnyValue):
        self.primitive = primitive
        self.args = args
        self.params = params
        self.known = known

    def matches(self, primitive: Primitive, args: Sequence[Any], params: dict) -> bool:
        return (
            primitive is self.primitive
            and len(args) == len(self.args)
            and all(a is b for a, b in zip(args, self.args, strict=True))
            and _same(params, self.params)
        )

    def result_on_demand(self, trace: JetTrace) -> Any:
        """The result, with a series that is computed on demand."""
        primals = [a._primal if trace.mine(a) else a for a in self.args]
        if self.known is None:
            self.known = call_with(trace.parent, self.primitive.bind, *primals, **self.params)
        done: list[Any] = []

        def series_of(i: int) -> Series:
            if not done:
                series = [a._known_series if trace.mine(a) else None for a in self.args]
                _, computed = trace.by_jvp(self.primitive, primals, series, self.params, self.known)
                done.append(computed if self.primitive.multiple_results else [computed])
            aval = outs[i].aval.to_tangent_aval()
            return [zeros_like_aval(aval) for _ in range(trace.order)] if done[0][i] is None else done[0][i]

        outs = self.known if self.primitive.multiple_results else [self.known]
        tracers = [
            JetTracer(trace, p, None, functools.partial(series_of, i))
            if p.aval.to_tangent_aval().dtype == p.aval.dtype
            else p
            for i, p in enumerate(outs)
        ]
        return tracers if self.primitive.multiple_results else tracers[0]


def _same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(a[k] is b[k] or (type(a[k]) in _PLAIN and a[k] == b[k]) for k in a)


_PLAIN = (int, bool, str, tuple, float)


def jet_flat(
    fun: Callable[..., Sequence[Any]],
    primals: Sequence[Any],
    series: Sequence[Series | None],
    order: int,
    subject: str = "jet",
) -> tuple[list[Any], list[Series | None]]:
    """The results of a flat function and their series; None stands for a series of zeros."""
    trace = JetTrace(context.trace, order, subject)
    args = [trace.join(p, s) for p, s in zip(primals, series, strict=True)]
    try:
        outs = call_with(trace, fun, *args)
        return (
            [out._primal if trace.mine(out) else out for out in outs],
            [out._known_series if trace.mine(out) else None for out in outs],
        )
    finally:
        trace.alive = False


def jet_jaxpr(
    jaxpr: Jaxpr, active: tuple[bool, ...], order: int, instantiated: Sequence[bool] | bool = False
) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr `(primals, series of the active inputs) -> (results, their series)`, each series as `order` values.

    Series that are known to vanish are omitted, unless `instantiated` requests them; the second value flags those that
    are present.
    """
    wanted = (instantiated,) * len(jaxpr.outvars) if isinstance(instantiated, bool) else tuple(instantiated)

    def make():
        def fun(*args):
            n = len(jaxpr.invars)
            outs, series = jet_flat(
                lambda *xs: eval_jaxpr(jaxpr, [], *xs), args[:n], unflatten(active, args[n:], order), order
            )
            series = [
                [zeros_like_aval(lift(o).aval.to_tangent_aval()) for _ in range(order)] if w and s is None else s
                for o, s, w in zip(outs, series, wanted, strict=True)
            ]
            return [*outs, *flatten(series)], tuple([s is not None for s in series])

        avals = [*jaxpr.in_avals, *(v.to_tangent_aval() for v in chosen(jaxpr.in_avals, active) for _ in range(order))]
        return stage_noting(fun, avals, _SUBJECT)

    return jaxpr.derive(("jet", active, order, wanted), make)


def flatten(series: Sequence[Series | None]) -> list[Any]:
    """The entries of the series that are present, in order."""
    return [x for s in series if s is not None for x in s]


def unflatten(present: Sequence[bool], values: Sequence[Any], order: int) -> list[Series | None]:
    """The series from their entries; None for a series that is absent."""
    rest = iter(values)
    return [[next(rest) for _ in range(order)] if p else None for p in present]
