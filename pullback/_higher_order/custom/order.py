"""The warning about a rule that is lost at the next order of derivatives.

A rule should compute its primal output by calling the decorated function. If it computes it from other
operations, the derivative of that output is the derivative of these operations, not the rule. That matters
only if the output is differentiated, and then the warning is given: at once, if a transformation that is running
differentiates it; otherwise the output is marked in the jaxpr, by an identity (`rule_output_p`) whose derivative warns.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pullback._core.errors import RuleOrderWarning, describe_function
from pullback._core.jaxpr import Jaxpr, gathered
from pullback._core.primitive import Primitive
from pullback._core.staging import StagedTracer
from pullback._core.typing import PyTree
from pullback._higher_order.custom.backward import accumulating_backward_p, backward_p
from pullback._higher_order.custom.call import CustomCall
from pullback._higher_order.custom.primitive import custom_call_p
from pullback._transforms.jvp import DualTracer
from pullback._transforms.linearize import LinearizedTracer
from pullback._transforms.vmap import BatchTracer


class Identity:
    """The identity of a decorated function, shared with its bound methods; and its rules that were warned about."""

    __slots__ = ("warned",)

    def __init__(self) -> None:
        self.warned: list[Callable[..., Any]] = []


# --- the functions that are called while a rule runs ---


_CALLS = (custom_call_p, backward_p, accumulating_backward_p)


class _Calls(threading.local):
    """The functions called in this thread since the start of the observed rule; None if no rule is observed."""

    noted: set[Identity] | None = None


_calls = _Calls()


def note_call(function: Identity) -> None:
    """Record that a decorated function is called."""
    if _calls.noted is not None:
        _calls.noted.add(function)


def note_calls_in(jaxpr: Jaxpr) -> None:
    """Record that the decorated functions in a jaxpr are called, without tracing it."""
    if _calls.noted is not None:
        _calls.noted.update(_functions_in(jaxpr))


def _functions_in(jaxpr: Jaxpr) -> Sequence[Identity]:
    """The decorated functions that a jaxpr calls, itself or in held jaxprs."""

    def function(eqn):
        called = (
            eqn.params["call"].identity
            if eqn.primitive in (custom_call_p, backward_p, accumulating_backward_p)
            else None
        )
        return () if called is None else [called]

    return gathered(jaxpr, "decorated functions", function)


def observed(function: Identity, fun: Callable, *args: PyTree) -> tuple[Any, bool]:
    """The result of `fun(*args)`, and whether the decorated function was called meanwhile."""
    outer, _calls.noted = _calls.noted, set()
    try:
        return fun(*args), function in _calls.noted
    finally:
        if outer is not None:
            outer |= _calls.noted
        _calls.noted = outer


# --- the warning ---


@dataclass
class LostOrder:
    """A rule that did not call its function. Not hashable: a jaxpr that warns is not shared with those that do not."""

    rule: Callable
    kind: str
    function: Identity
    name: str
    label: str

    def warn(self) -> None:
        """Warn, once for each rule."""
        if self.rule in self.function.warned:
            return
        self.function.warned.append(self.rule)
        code = getattr(self.rule, "__code__", None)
        warnings.warn_explicit(
            f"the {self.kind} rule {describe_function(self.rule)} of {self.label}, does not call {self.name}, and is "
            "being differentiated itself. The second derivative through its primal output is that of the operations in "
            f"the rule, not of the rule. Compute the primal output as {self.name}(...) in the rule.",
            RuleOrderWarning,
            code.co_filename if code else "pullback",
            code.co_firstlineno if code else 1,
        )

    def __str__(self):
        return f"the {self.kind} rule of {self.name}"


rule_output_p = Primitive("rule_output")


def _jvp(primals, tangents, lost: LostOrder):
    lost.warn()
    return primals[0], tangents[0]


rule_output_p.kernel = lambda x, lost: x
rule_output_p.abstract_eval = lambda aval, lost: aval
rule_output_p.lower = lambda ctx, x, lost: x
rule_output_p.jvp = _jvp
rule_output_p.transpose = lambda ct, x, lost: [ct]
rule_output_p.batch = lambda trace, operands, dims, lost: (rule_output_p.bind(operands[0], lost=lost), dims[0])


def warn_if_differentiated(outs: Iterable[Any], call: CustomCall, kind: str, rule: Callable) -> None:
    """Warn about a rule that did not call its function if its primal outputs are differentiated, now or later."""
    if rule in call.identity.warned:
        return
    lost = LostOrder(rule, kind, call.identity, call.name, call.label)
    for out in outs:
        while type(out) is BatchTracer:
            out = out._batch_value
        if type(out) is LinearizedTracer or type(out) is DualTracer:
            lost.warn()
        elif type(out) is StagedTracer:
            out._trace.interpose(out, rule_output_p, {"lost": lost})
