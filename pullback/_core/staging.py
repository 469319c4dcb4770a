"""Staging: tracing a Python function to a jaxpr, by running it on tracers that record every primitive."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pullback._core import collector
from pullback._core.array import ConcreteArray, lift
from pullback._core.collector import STEP
from pullback._core.config import config, leaks_are_checked
from pullback._core.errors import UnexpectedTracerError, internal_files
from pullback._core.hitypes import lower_value_p, raise_value_p
from pullback._core.jaxpr import ClosedJaxpr, Equation, Jaxpr, Literal, Var, consts_to_args
from pullback._core.lazy import LateModule
from pullback._core.origins import origin_here
from pullback._core.primitive import HigherOrder, Primitive
from pullback._core.scopes import scopes
from pullback._core.trace import Trace, Tracer, call_with, check_alive, context, encloses, refuse_choice_by_tangent
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue

if TYPE_CHECKING:
    from pullback._core import leaks
else:
    leaks = LateModule("pullback._core.leaks")


class StagedTracer(Tracer):
    """A value of the function being staged; `_atom` names it in the jaxpr."""

    __slots__ = ("_atom",)
    _trace: StagingTrace

    def __init__(self, trace: StagingTrace, aval: ShapedArray, var: Var):
        self._trace = trace
        self.aval = aval
        self._atom: Var = var

    def _origin(self) -> str:
        trace = self._trace
        for eqn in trace.eqns:
            if any(v is self._atom for v in eqn.outvars):
                return f"it was made by '{eqn.primitive.name}' at {eqn.location}"
        for i, v in enumerate(trace.invars):
            if v is self._atom:
                return f"it is argument {trace.input_name(i)}"
        return ""


class StagingTrace(Trace):
    """Records primitives as equations of a jaxpr."""

    only_records: bool = True
    __slots__ = ("eqns", "invars", "constants", "subject", "names", "optional", "outer_scopes")

    def __init__(self, subject: str = "a function", names: Sequence[str] | None = None):
        super().__init__(context.trace)
        self.transparent = False
        self.eqns: list[Equation] = []
        self.invars: list[Var] = []
        self.constants: dict[int, tuple[Var, Any]] = {}
        self.subject: str = subject
        self.names: Sequence[str] | None = names
        self.optional: list[list[int]] = []
        self.outer_scopes: int = len(scopes.names)

    def describe(self) -> str:
        return f"the tracing of {self.subject}"

    def input_name(self, i: int) -> str:
        return self.names[i] if self.names and i < len(self.names) else str(i)

    def new_input(self, aval: ShapedArray) -> StagedTracer:
        var = Var(aval)
        self.invars.append(var)
        return StagedTracer(self, aval, var)

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        if type(primitive) is HigherOrder and primitive.stage is not None:
            return primitive.stage(self, args, params)
        if primitive is raise_value_p and (whole := self.raised(args, params["ty"])) is not None:
            return whole
        return self.record(primitive, args, params)

    def record(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Append an equation; returns its tracer, or the list of them."""
        invars = [a._atom if type(a) is StagedTracer and a._trace is self else self.constant(a) for a in args]
        out = primitive.infer(tuple([v.aval for v in invars]), params)
        frame = sys._getframe(2)
        while internal_files[frame.f_code.co_filename] and (outer := frame.f_back) is not None:  # `is_internal`
            frame = outer
        origin = origin_here() if config.debugging else None
        names = scopes.names[self.outer_scopes :]
        if not (len(self.eqns) + 1) % STEP:
            collector.longer(self, len(self.eqns) + 1)
        if primitive.multiple_results:
            outvars = [Var(aval) for aval in out]
            self.eqns.append(Equation(primitive, invars, outvars, params, frame.f_code, frame.f_lineno, origin, names))
            return [StagedTracer(self, v.aval, v) for v in outvars]
        var = Var(out)
        self.eqns.append(Equation(primitive, invars, [var], params, frame.f_code, frame.f_lineno, origin, names))
        return StagedTracer(self, out, var)

    def constant(self, x: AnyValue) -> Var | Literal:
        """The atom for a value from outside: a literal for a scalar, else a constant variable."""
        x = lift(x)
        if isinstance(x, ConcreteArray):
            if x.aval.ndim == 0 and id(x) not in context.captured:
                return Literal(x.value, x.aval)
        elif isinstance(x, Tracer):
            check_alive(x)
            if type(x) is StagedTracer and x._trace is self:
                return x._atom
        known = self.constants.get(id(x))
        if known is None:
            if isinstance(x, Tracer):
                check_encloses(x, self)
            known = self.constants[id(x)] = (Var(x.aval), x)
        return known[0]

    def raised(self, parts: Sequence[Any], ty: Any) -> StagedTracer | None:
        """The tracer whose parts these are, in order; None if there is none."""
        first = parts[0] if parts else None
        if type(first) is StagedTracer and first._trace is self:
            for eqn in reversed(self.eqns):
                if first._atom in eqn.outvars:
                    same = eqn.primitive is lower_value_p and len(parts) == len(eqn.outvars)
                    if same and all(getattr(p, "_atom", None) is v for p, v in zip(parts, eqn.outvars, strict=True)):
                        whole: Any = eqn.invars[0]
                        return StagedTracer(self, whole.aval, whole) if whole.aval == ty else None
                    return None
        return None

    def interpose(self, tracer: StagedTracer, primitive: Primitive, params: dict[str, Any]) -> None:
        """Insert an identity primitive between a result and all its readers."""
        for i in reversed(range(len(self.eqns))):
            eqn = self.eqns[i]
            if tracer._atom in eqn.outvars:
                inner = Var(tracer.aval)
                outvars = [inner if v is tracer._atom else v for v in eqn.outvars]
                identity = Equation(primitive, [inner], [tracer._atom], params, eqn.code, eqn.line, eqn.origin)
                self.eqns[i : i + 1] = [eqn.replace(outvars=outvars), identity]
                for span in self.optional:
                    span[:] = [end + (end > i) for end in span]
                return

    def needed(self, outvars: Sequence[Any]) -> list[Equation]:
        """The equations, without unused ones that a custom rule staged (the spans `optional`)."""
        if not self.optional or config.collecting_taps:
            return self.eqns
        droppable = {i for start, stop in self.optional for i in range(start, stop)}
        live = set(outvars)
        kept = []
        for i in reversed(range(len(self.eqns))):
            eqn = self.eqns[i]
            if i not in droppable or eqn.effectful or not live.isdisjoint(eqn.outvars):
                kept.append(eqn)
                live.update(eqn.invars)
        kept.reverse()
        return kept

    def finish(self, outs: Sequence[Any]) -> ClosedJaxpr:
        """The jaxpr that returns `outs`, with the values of its constants."""
        outvars = [a._atom if type(a) is StagedTracer and a._trace is self else self.constant(a) for a in outs]
        constvars = [var for var, _ in self.constants.values()]
        values = [value for _, value in self.constants.values()]
        return ClosedJaxpr(Jaxpr(constvars, self.invars, self.needed(outvars), outvars), values)


def call_optionally(fun: Callable, args: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """Call a function whose staged equations may be dropped from the jaxpr if they are unused."""
    trace: Trace | None = context.trace
    while trace is not None and not isinstance(trace, StagingTrace):
        trace = trace.parent
    if trace is None or config.collecting_taps:
        return fun(*args, **keywords)
    span = [len(trace.eqns)] * 2
    trace.optional.append(span)
    try:
        return fun(*args, **keywords)
    finally:
        span[1] = len(trace.eqns)


def check_encloses(x: Tracer, trace: Trace) -> None:
    """Refuse a tracer whose transformation does not enclose `trace`."""
    if not encloses(x, trace):
        raise UnexpectedTracerError(foreign_tracer_message(x, trace.describe()))


def foreign_tracer_message(x: Tracer, place: str) -> str:
    """The message for a live tracer that is used outside its transformation."""
    refuse_choice_by_tangent(x)
    return (
        f"a value of type {x.aval.str_short()} traced by {x._trace.describe()} was used in {place}, which is "
        "outside of that transformation. If a function with custom rules, or one of its rules, closes over the "
        "value, pass it as an argument; from a callback or another thread, return it."
    )


def stage(
    fun: Callable[..., Sequence[Any]],
    avals: Sequence[ShapedArray],
    subject: str = "a function",
    names: Sequence[str] | None = None,
) -> ClosedJaxpr:
    """Trace a function of flat arguments that returns a flat sequence.

    Constants of the result are arrays, or tracers of enclosing transformations.
    """
    trace = StagingTrace(subject, names)
    args = [trace.new_input(aval) for aval in avals]
    try:
        outs = call_with(trace, fun, *args)
        closed = trace.finish(outs)
    finally:
        trace.alive = False
    if leaks_are_checked():
        del args, outs
        leaks.refuse_leaks(trace)
    return closed


def stage_open(
    fun: Callable[..., Sequence[Any]],
    avals: Sequence[ShapedArray],
    subject: str = "a function",
    names: Sequence[str] | None = None,
) -> tuple[Jaxpr, list[Any]]:
    """Like `stage`, but with the constants as leading inputs of the jaxpr; returns it and their values."""
    closed = stage(fun, avals, subject, names)
    return consts_to_args(closed.jaxpr), closed.consts
