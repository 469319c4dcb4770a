"""Uniform values: traced values whose entries are all known to be one number, zero in particular.

A value is known if it is computed from constants by operations that keep entries equal, or from zeros by operations
that keep zeros: bilinear ones, linear ones, and those with the traits `homogeneous` and `vanishing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from pullback._core import dtypes, numpy_state
from pullback._core.array import ConcreteArray
from pullback._core.jaxpr import Equation, HeldJaxpr, Jaxpr, Literal, Var
from pullback._core.primitive import HigherOrder
from pullback._core.staging import StagedTracer, StagingTrace
from pullback._core.trace import Tracer
from pullback._core.types import ShapedArray, is_differentiable
from pullback._core.typing import AnyValue

# the number that equals every entry, or None if unknown
Value = Any


def vanishes(x: AnyValue) -> bool:
    """Return whether a value is known to be zero: by its data, or, if traced, by the operations that compute it."""
    if type(x) is ConcreteArray:
        return not _has_nonzero(x.value)
    while isinstance(x, Tracer) and not isinstance(x, StagedTracer):
        # a batched value, or one under differentiation by an outer transformation
        x = x._outer()
    if isinstance(x, StagedTracer):
        return is_zero(_known_values(x._trace).get(x._atom))
    return type(x) is ConcreteArray and not _has_nonzero(x.value)


def is_zero(value: Value) -> bool:
    """Return whether the value is known to be zero; nan, which stands for undefined entries, counts as zero."""
    return value is not None and not _has_nonzero(value)


def _has_nonzero(value: AnyValue) -> bool:
    """Return whether an entry is neither zero nor nan; all entries of a float0 array are zero."""
    if value.dtype == dtypes.float0:
        return False
    if not value.shape:
        return bool(value != 0 and value == value)
    return bool(np.any(value)) and bool(np.any(value[value == value]))


# --- along the equations of a trace, each of which is visited once ---


class _KnownValues:
    """The known values of a trace, up to some equation and constant."""

    __slots__ = ("values", "equations", "constants")

    def __init__(self) -> None:
        self.values: dict[Var, Value] = {}
        self.equations = 0
        self.constants = 0


_values_of_traces: WeakKeyDictionary[StagingTrace, _KnownValues] = WeakKeyDictionary()


def _known_values(trace: StagingTrace) -> dict[Var, Value]:
    known = _values_of_traces.get(trace)
    if known is None or known.equations > len(trace.eqns):
        known = _values_of_traces[trace] = _KnownValues()
    for var, value in list(trace.constants.values())[known.constants :]:
        if vanishes(value):
            known.values[var] = var.aval.dtype.type(0)
    known.constants = len(trace.constants)
    for eqn in trace.eqns[known.equations :]:
        _propagate(eqn, known.values)
    known.equations = len(trace.eqns)
    return known.values


def _propagate(eqn: Equation, values: dict[Var, Value]) -> None:
    given = [_value_of(v, values) for v in eqn.invars]
    for var, value in zip(eqn.outvars, results(eqn, given), strict=True):
        if value is not None:
            values[var] = value


def values_in(jaxpr: Jaxpr, given: Sequence[Value], carried: range = range(0)) -> dict[Var, Value]:
    """The known values in a jaxpr, from those of its inputs; the `carried` ones take results of earlier steps."""
    given = list(given)
    while True:
        values = {var: value for var, value in zip(jaxpr.invars, given, strict=True) if value is not None}
        for eqn in jaxpr.eqns:
            _propagate(eqn, values)
        outs = [_value_of(v, values) for v in jaxpr.outvars]
        before = [given[i] for i in carried]
        carry = [a if _equal(a, b) else None for a, b in zip(before, outs, strict=False)]
        if all(a is b for a, b in zip(carry, before, strict=True)):
            return values
        for i, value in zip(carried, carry, strict=True):
            given[i] = value


def _value_of(atom: AnyValue, values: dict[Var, Value]) -> Value:
    if isinstance(atom, Literal):
        return np.asarray(atom.value)[()]
    value = values.get(atom)
    empty = value is None and type(atom.aval) is ShapedArray and atom.aval.size == 0
    return atom.aval.dtype.type(0) if empty else value


def _equal(a: Value, b: Value) -> bool:
    return a is not None and b is not None and bool(a == b)


def results(eqn: Equation, given: Sequence[Value]) -> list[Value]:
    """The known values of the results of an equation, from those of its operands."""
    primitive, params = eqn.primitive, eqn.params
    nothing: list[Value] = [None] * len(eqn.outvars)
    traits = primitive.traits
    found = [
        _results_of(held, [given[place] for place in held.operands])
        for held in eqn.held
        if held.returns and held.operands is not None
    ]
    if found:
        return [
            first if all(_equal(first, other) for other in rest) else None for first, *rest in zip(*found, strict=True)
        ]
    zeros = [is_zero(value) for value in given]
    if traits.vanishing is not None:
        return [
            v.aval.dtype.type(0) if vanish else None
            for v, vanish in zip(eqn.outvars, traits.vanishing(zeros, **params), strict=True)
        ]
    if isinstance(primitive, HigherOrder):
        return nothing
    if given and all(value is not None for value in given):
        if traits.rearranging and len(given) == 1:
            return [given[0]] if eqn.invars[0].aval.size else nothing
        if traits.elementwise:
            return [_evaluated(eqn, given)]
    if traits.bilinear:
        vanish = any(zeros)
    elif traits.homogeneous is not None:
        vanish = all(zeros[i] for i in traits.homogeneous)
    elif primitive.transpose is not None and any(zeros):
        # linear in all operands except indices and masks
        vanish = all(z for z, v in zip(zeros, eqn.invars, strict=True) if is_differentiable(v.aval))
    else:
        vanish = False
    return [v.aval.dtype.type(0) for v in eqn.outvars] if vanish else nothing


def _results_of(held: HeldJaxpr, given: Sequence[Value]) -> list[Value]:
    jaxpr, carried = held.jaxpr, held.carried
    if all(value is None for value in given):
        outs = list(jaxpr.derive("uniform results", lambda: _result_values(jaxpr, given, carried)))
    else:
        outs = _result_values(jaxpr, given, carried)
    if carried and not held.times:
        # a loop that takes no step returns its initial carry
        initial = [given[i] for i in carried]
        outs[: len(carried)] = [a if _equal(a, b) else None for a, b in zip(outs, initial, strict=False)]
    return outs


def _result_values(jaxpr: Jaxpr, given: Sequence[Value], carried: range) -> list[Value]:
    values = values_in(jaxpr, given, carried)
    return [_value_of(v, values) for v in jaxpr.outvars]


def _evaluated(eqn: Equation, given: Sequence[Value]) -> Value:
    try:
        with numpy_state.silenced():
            out = eqn.primitive.kernel(*given, **eqn.params)
        return np.asarray(out).astype(eqn.outvars[0].aval.dtype, copy=False)[()]
    except (TypeError, ValueError, ArithmeticError):
        return None
