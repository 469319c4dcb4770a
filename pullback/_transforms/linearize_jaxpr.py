"""Linearization of jaxprs, for primitives that hold them: a forward jaxpr with residuals, and a linear one.

The linear jaxpr is read off the tape, record by record; nothing is traced twice. A residual that is itself an input of
the original jaxpr is not saved: the linear jaxpr takes that input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pullback._core.array import ConcreteArray
from pullback._core.jaxpr import Equation, Jaxpr, Literal, Var, eval_jaxpr
from pullback._core.lists import chosen, cut, filled, merged, others
from pullback._core.origins import Origin
from pullback._core.staging import StagedTracer, StagingTrace, stage_open
from pullback._core.trace import call_with
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero
from pullback._ops.identity import constant_equations, stage_closed, stage_noting
from pullback._ops.scattered import Scattered, ScatteredForm
from pullback._ops.shape import instantiate
from pullback._transforms.accumulators import NOWHERE, Parts, ValAccum
from pullback._transforms.linearize import Linearized, Node, Record, linearize_flat
from pullback._transforms.transpose import pull, record_linear

_SUBJECT = "the linearization of a traced function"
_TRANSPOSE = "the transpose of a traced function"


class LinearizedJaxpr(NamedTuple):
    """The two halves of a linearized jaxpr.

    `forward`: inputs -> results, residuals. `linear`: forwarded inputs, residuals, active tangents -> tangents of the
    results that have one (`present`). `forwarded` lists the indices of the inputs that the linear half reads directly.
    """

    forward: Jaxpr
    linear: Jaxpr
    forwarded: tuple[int, ...]
    residuals: int
    present: tuple[bool, ...]


def linearize_jaxpr(
    jaxpr: Jaxpr, active: tuple[bool, ...], instantiated: tuple[bool, ...] | bool = False
) -> LinearizedJaxpr:
    """Linearize with respect to the active inputs; `instantiated` results get a tangent even if it vanishes."""
    if isinstance(instantiated, bool):
        instantiated = (instantiated,) * len(jaxpr.outvars)
    return jaxpr.derive(("linearize", active, instantiated), lambda: _linearize(jaxpr, active, instantiated))


def _linearize(jaxpr: Jaxpr, active, instantiated) -> LinearizedJaxpr:
    trace = StagingTrace(_SUBJECT)
    args = [trace.new_input(aval) for aval in jaxpr.in_avals]

    def run():
        outs, linear = linearize_flat(lambda *xs: eval_jaxpr(jaxpr, [], *xs), args, active)
        tangents = []
        for t, i in zip(linear.outputs, instantiated, strict=True):
            # the zero of an own type is a value, which the forward half saves
            tangents.append(instantiate(t) if i and type(t) is Zero and type(t.aval) is not ShapedArray else t)
        return outs, linear, tangents

    try:
        outs, linear, tangents = call_with(trace, run)
        present = tuple(i or type(t) is not Zero for t, i in zip(tangents, instantiated, strict=True))
        reader = _TapeReader(trace, linear, active)
        linear_eqns, linear_outs = reader.read(chosen(tangents, present))
        position = {a._atom: i for i, a in enumerate(args)}
        outvars = [a._atom if type(a) is StagedTracer and a._trace is trace else trace.constant(a) for a in outs]
        # arrays captured by rules are constants of both halves
        constants = dict(trace.constants.values())
        shared = [v for v in reader.residuals if v in constants]
        residuals = [v for v in reader.residuals if v not in constants]
        forwarded = [v for v in residuals if v in position]
        saved = [v for v in residuals if v not in position]
        known = constant_equations(list(constants), list(constants.values()), _SUBJECT)
        forward = Jaxpr([], trace.invars, [*known, *trace.needed([*outvars, *saved])], [*outvars, *saved])
        inputs = [reader.residuals[v] for v in (*forwarded, *saved)] + reader.tangent_vars
        known = constant_equations([reader.residuals[v] for v in shared], [constants[v] for v in shared], _SUBJECT)
        second = Jaxpr([], inputs, [*known, *linear_eqns], linear_outs)
        return LinearizedJaxpr(forward, second, tuple(position[v] for v in forwarded), len(saved), present)
    finally:
        trace.alive = False


def equations_of(
    records: Iterable[tuple[Record, Origin | None]], atom: Callable[[Any], Var | Literal], variables: dict[int, Var]
) -> list[Equation]:
    """Operations of a tape as equations. `atom` gives their operands; `variables`, by index, gets their nodes."""
    eqns = []
    for record, place in records:
        invars = [atom(a) for a in record.inputs]
        outvars = [variables.setdefault(node._index, Var(node.aval)) for node in record.outputs]
        eqns.append(Equation(record.primitive, invars, outvars, record.params, origin=place))
    return eqns


class _TapeReader:
    """Converts a tape to equations. Values from the forward pass become inputs, collected in `residuals`."""

    def __init__(self, trace: StagingTrace, linear: Linearized, active):
        self.trace = trace
        self.linear = linear
        self.residuals: dict[Var, Var] = {}
        self.variables: dict[int, Var] = {}
        self.tangent_vars: list[Var] = []
        for node, a in zip(linear.inputs, active, strict=True):
            if a:
                assert node is not None
                var = self.variables[node._index] = Var(node.aval)
                self.tangent_vars.append(var)

    def read(self, outputs: list[Any]) -> tuple[list[Equation], list[Any]]:
        eqns = equations_of(self.linear.needed(outputs, narrow=True), self.atom, self.variables)
        outvars: list[Any] = []
        for t in outputs:
            if type(t) is Zero:
                # not saved as a residual, of which nobody could tell that it vanishes
                zero, _ = stage_open(lambda t=t: [instantiate(t)], [], _SUBJECT)
                eqns += zero.eqns
                outvars += zero.outvars
            else:
                outvars.append(self.atom(t))
        return eqns, outvars

    def _mine(self, a: AnyValue) -> bool:
        return type(a) is Node and a._trace is self.linear.tape

    def atom(self, a: AnyValue) -> Var | Literal:
        if self._mine(a):
            return self.variables[a._index]
        if type(a) is ConcreteArray and a.aval.ndim == 0:
            return Literal(a.value, a.aval)
        atom = a._atom if type(a) is StagedTracer and a._trace is self.trace else self.trace.constant(a)
        if isinstance(atom, Literal):
            return atom
        return self.residuals.setdefault(atom, Var(atom.aval))


def transpose_jaxpr(
    jaxpr: Jaxpr, linear: tuple[bool, ...], cotangents: tuple[bool, ...], wanted: tuple[bool, ...]
) -> tuple[Jaxpr, list[list[ScatteredForm | None]]]:
    """The transpose of a jaxpr that is linear in the marked inputs.

    It maps `(other inputs, cotangents of the marked results)` to cotangents of those linear inputs that are `wanted`.
    The second value lists, for each of them, what is to be added: None for an array, the next result, or the form of a
    `Scattered`, whose operands are the next results.
    """

    def make():
        nonlinear = others(jaxpr.in_avals, linear)
        given = chosen(jaxpr.out_avals, cotangents)

        def fun(*args):
            known, cts = cut(args, len(nonlinear))
            cts = filled(cotangents, cts, list(map(Zero, jaxpr.out_avals)))
            sums = [Parts(aval) for aval in chosen(chosen(jaxpr.in_avals, linear), wanted)]
            pull(_open(jaxpr, linear, known), cts, into=filled(wanted, sums, [NOWHERE] * len(wanted)))
            results: list[Any] = []
            forms: list[list[ScatteredForm | None]] = []
            for accum in sums:
                forms.append([])
                for part in accum.parts():
                    scattered = isinstance(part, Scattered)
                    forms[-1].append(part.form() if scattered else None)
                    results += part.operands if scattered else [part]
            return results, forms

        return stage_noting(fun, [*nonlinear, *given], _TRANSPOSE)

    return jaxpr.derive(("transpose", linear, cotangents, wanted), make)


def transpose_jaxpr_full(
    jaxpr: Jaxpr,
    linear: tuple[bool, ...],
    wanted: tuple[bool, ...] | None = None,
    carried: tuple[bool, ...] | None = None,
) -> Jaxpr:
    """The transpose with a cotangent for every result and every linear input that is `wanted`, zeros included.

    Where inputs are `carried`, the values of their cotangents so far are further inputs, to which it adds.
    """

    def make():
        nonlinear = others(jaxpr.in_avals, linear)
        avals = chosen(jaxpr.in_avals, linear)
        takes = (True,) * len(avals) if wanted is None else wanted
        goes_on = (False,) * len(avals) if carried is None else carried

        def fun(*args):
            known, cts, before = cut(args, len(nonlinear), len(jaxpr.outvars))
            values = filled(goes_on, before, [None] * len(avals))
            sums = [
                ValAccum(aval, value) if w else NOWHERE for aval, value, w in zip(avals, values, takes, strict=True)
            ]
            pull(_open(jaxpr, linear, known), cts, into=sums)
            return [instantiate(accum.freeze()) for accum in chosen(sums, takes)]

        return stage_closed(fun, [*nonlinear, *jaxpr.out_avals, *chosen(avals, goes_on)], _TRANSPOSE)

    return jaxpr.derive(("transpose_full", linear, wanted, carried), make)


def _open(jaxpr: Jaxpr, linear, known) -> Linearized:
    """Record a jaxpr on a tape of its own, as a function of its linear inputs."""
    avals = chosen(jaxpr.in_avals, linear)

    def fun(*nodes):
        return eval_jaxpr(jaxpr, [], *merged(linear, nodes, known))

    return record_linear(fun, avals)
