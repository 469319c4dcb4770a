"""Forward mode: every primitive is replaced by its jvp rule, on pairs of a primal and a tangent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.array import ConcreteArray, lift
from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.lists import chosen, cut, filled
from pullback._core.primitive import Primitive
from pullback._core.trace import Trace, Tracer, call_with, context
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of
from pullback._ops.identity import stage_noting
from pullback._ops.shape import instantiate

_SUBJECT = "the jvp of a traced function"


class DualTracer(Tracer):
    """A primal value with its tangent (perhaps a symbolic zero)."""

    __slots__ = ("_primal", "_tangent")

    def __init__(self, trace: Trace, primal: AnyValue, tangent: AnyValue):
        self._trace = trace
        self.aval = primal.aval
        self._primal: Any = primal
        self._tangent: Any = tangent

    def _known(self) -> ConcreteArray | None:
        return self._primal if type(self._primal) is ConcreteArray else self._primal._known()

    def _outer(self) -> Any:
        return self._primal

    def _constant(self) -> bool:
        return False


class JVPTrace(Trace):
    """Pushes tangents forward along with primals."""

    __slots__ = ("subject",)

    def __init__(self, parent: Trace | None, subject: str = "jvp"):
        super().__init__(parent)
        self.subject: str = subject

    def describe(self) -> str:
        return self.subject

    def split(self, args: Sequence[Any]) -> tuple[list[Any], list[Any], bool]:
        """Primals, tangents, and whether any of the values belongs to this trace."""
        primals, tangents, active = [], [], False
        for a in args:
            if type(a) is DualTracer and a._trace is self:
                primals.append(a._primal)
                tangents.append(a._tangent)
                active = True
            else:
                primals.append(a)
                tangents.append(None)
        return primals, tangents, active

    def join(self, primal: AnyValue, tangent: AnyValue) -> Any:
        return primal if type(tangent) is Zero else DualTracer(self, primal, tangent)

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        primals, tangents, active = self.split(args)
        if not active:
            return call_with(self.parent, primitive.bind, *args, **params)
        tangents = [zero_tangent(p) if t is None else t for p, t in zip(primals, tangents, strict=True)]
        rule = primitive.jvp or primitive.rule("jvp")
        primal_out, tangent_out = call_with(self.parent, rule, primals, tangents, **params)
        if primitive.multiple_results:
            return [self.join(p, t) for p, t in zip(primal_out, tangent_out, strict=True)]
        return self.join(primal_out, tangent_out)


def zero_tangent(primal: AnyValue) -> Zero:
    """The symbolic zero tangent at a value."""
    return zero_of(lift(primal).aval)


def jvp_flat(
    fun: Callable[..., Sequence[Any]], primals: Sequence[Any], tangents: Sequence[Any], subject: str = "jvp"
) -> tuple[list, list]:
    """The results of a flat function and their tangents. Tangents, given and returned, may be symbolic zeros."""
    trace = JVPTrace(context.trace, subject)
    duals = [trace.join(p, t) for p, t in zip(primals, tangents, strict=True)]
    try:
        outs = call_with(trace, fun, *duals)
    finally:
        trace.alive = False
    primals_out, tangents_out, _ = trace.split(outs)
    return primals_out, [zero_tangent(p) if t is None else t for p, t in zip(primals_out, tangents_out, strict=True)]


def jvp_jaxpr(
    jaxpr: Jaxpr, active: tuple[bool, ...], instantiated: tuple[bool, ...] | bool = False
) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr `(primals, tangents of the active inputs) -> (results, their tangents)`.

    Tangents of results that are known to vanish are omitted, unless `instantiated` requests them; the second value
    flags those that are present.
    """
    if isinstance(instantiated, bool):
        instantiated = (instantiated,) * len(jaxpr.outvars)

    def make():
        def fun(*args):
            primals, given = cut(args, len(jaxpr.invars))
            tangents = filled(active, given, [zero_of(p.aval) for p in primals])
            outs, touts = jvp_flat(lambda *xs: eval_jaxpr(jaxpr, [], *xs), primals, tangents)
            present = tuple([i or type(t) is not Zero for t, i in zip(touts, instantiated, strict=True)])
            return [*outs, *map(instantiate, chosen(touts, present))], present

        avals = [*jaxpr.in_avals, *(v.to_tangent_aval() for v in chosen(jaxpr.in_avals, active))]
        return stage_noting(fun, avals, _SUBJECT)

    return jaxpr.derive(("jvp", active, instantiated), make)
