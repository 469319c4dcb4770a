"""A user's function and rules, on pytrees, as the flat call that `custom_rules` works with.

Every error names the rule and its definition, the call, the argument or leaf by path, what was expected, what came.
"""
from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import CodeType, FrameType
from typing import Any

import numpy as np

from pullback._core.arguments import argument_path, described_result, flatten_result
from pullback._core.array import Array, ConcreteArray, is_array_like, lift
from pullback._core.config import nans_were_debugged
from pullback._core.errors import (
    ConcretizationTypeError,
    RuleError,
    RuleNotDefinedError,
    RuleOrderWarning,
    describe_function,
    is_internal,
)
from pullback._core.origins import NO_CONTEXT, InRule, origins_are_tracked
from pullback._core.staging import StagedTracer, call_optionally, stage_open
from pullback._core.trace import context
from pullback._core.tree import PyTreeDef, tree_flatten
from pullback._core.tree_paths import keystr, skeleton, tree_flatten_with_path
from pullback._core.types import ShapedArray, matches
from pullback._core.zeros import Zero
from pullback._higher_order.custom.captures import StandIns, closed_over
from pullback._higher_order.custom.checks import (
    LEAF,
    argument_cotangents,
    check_call,
    check_pair,
    check_tangent,
    first_difference,
    leaves_of,
    zeros_for_user,
)
from pullback._transforms.jvp import DualTracer
from pullback._transforms.linearize import LinearizedTracer
from pullback._transforms.vmap import BatchTracer, without_leading


@dataclass(frozen=True, eq=False, slots=True)
class CustomVJPPrimal:
    """What a fwd rule with `symbolic_zeros` gets for a leaf: its value, and whether it is being differentiated.

    >>> import pullback as pb
    >>> product = pb.custom_vjp(lambda x, y: x * y)
    >>> def fwd(x, y):
    ...     print(x.perturbed, y.perturbed)
    ...     return x.value * y.value, y.value
    >>> product.defvjp(fwd, lambda y, ct: (ct * y, None), symbolic_zeros=True)
    >>> print(pb.grad(product)(2., 3.))
    True False
    3.0
    """

    value: Any
    perturbed: bool


def call_site() -> tuple[CodeType, int]:
    """Where the user's code is now; the line is looked up only if a message needs it."""
    frame = sys._getframe(2)
    while frame.f_back is not None and is_internal(frame.f_code):
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def watch_staged(x: Any, watch: Callable) -> None:
    """Have `watch` called when the equation that makes a staged value is run under a transformation."""
    while type(x) is BatchTracer:
        x = x.value
    if type(x) is StagedTracer:
        for eqn in reversed(x.owner.eqns):
            if x.atom in eqn.outvars:
                eqn.watch = watch
                break


def differentiated(x: Any) -> bool:
    """Whether a transformation around this one follows the derivative of a value."""
    while type(x) is BatchTracer:
        x = x.value
    return type(x) is LinearizedTracer or type(x) is DualTracer


class _Inside(threading.local):
    """The functions whose fwd rules, being differentiated themselves, run in this thread."""

    functions: tuple[Any, ...] = ()


_inside = _Inside()

# what rules are called with, for messages
_JVP, _FWD, _VMAP = "primals, tangents", "*args", "axis_size, in_batched, *args"
_BWD = {"bwd rule": "residuals, cotangent", "transpose": "others, cotangent"}


def in_rule(label: Callable[[], str], run: Callable, *args: Any) -> Any:
    with InRule(label) if origins_are_tracked() else NO_CONTEXT:
        return run(*args)


class FlatCall:
    """One call of a decorated function: the function and its rules on the leaves of its differentiable arguments.

    `carrier` is the decorated function with its rules. `fixed` holds the arguments at the `nondiff` positions of
    `count`; `keywords` what was given to keyword-only parameters, which function and rules get by keyword. `at_once`
    says that nothing is being traced.
    """

    __slots__ = ("carrier", "in_tree", "fixed", "nondiff", "count", "keywords", "site", "out_tree", "out_avals",
                 "forward", "at_once")
    captured = held = ()

    def __init__(self, carrier: Any, in_tree: PyTreeDef, fixed: Sequence[Any], nondiff: Sequence[int], count: int,
                 keywords: dict[str, Any], site: tuple[CodeType, int] | None, at_once: bool):
        self.carrier = carrier
        self.in_tree = in_tree
        self.fixed = fixed
        self.nondiff = nondiff
        self.count = count
        self.keywords = keywords
        self.site = site
        self.at_once = at_once
        self.out_tree: Any = None
        self.out_avals: list[ShapedArray] | None = None
        self.forward = carrier.forward
        if carrier.forward == "fwd" and any(carrier.fun is fun for fun in _inside.functions):
            self.forward = "primal"

    # the rules as `CustomCall` has them; not stored, since a method that its object holds is a cycle

    @property
    def jvp(self) -> Callable | None:
        rule = self._jvp if self.carrier.jvp_rule is not None else None
        return rule if rule is None or not nans_were_debugged[0] else partial(in_rule, self.jvp_label, rule)

    @property
    def fwd(self) -> Callable | None:
        rule = self._fwd if self.carrier.fwd_rule is not None else None
        return rule if rule is None or not nans_were_debugged[0] else partial(in_rule, self.fwd_label, rule)

    @property
    def bwd(self) -> Callable | None:
        rule = self._bwd if self.carrier.bwd_rule is not None else None
        return rule if rule is None or not nans_were_debugged[0] else partial(in_rule, self.bwd_label, rule)

    @property
    def vmap(self) -> Callable | None:
        return self._vmap if self.carrier.vmap_rule is not None else None

    @property
    def calls(self) -> list[int]:
        return self.carrier.calls

    @property
    def definable(self) -> Sequence[str]:
        return self.carrier.definable

    @property
    def name(self) -> str:
        return self.carrier.__name__

    @property
    def label(self) -> str:
        code, instruction = self.site or call_site()
        line = next((n for start, end, n in code.co_lines() if start <= instruction < end), code.co_firstlineno)
        return (f"{type(self.carrier).__name__} function {describe_function(self.carrier.fun)}, "
                f"called at {code.co_filename}:{line}")

    def __str__(self):
        return self.name

    def arguments(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """All positional arguments of the user's function, from the leaves of the differentiable ones."""
        return self.in_order(self.in_tree.unflatten(leaves), self.fixed)

    def in_order(self, differentiable: Sequence[Any], fixed: Sequence[Any]) -> Sequence[Any]:
        """A value for every position, from those of the differentiable arguments and those of the others."""
        if not self.nondiff:
            return differentiable
        mine, rest = iter(fixed), iter(differentiable)
        return [next(mine) if i in self.nondiff else next(rest) for i in range(self.count)]

    def position(self, i: int) -> int:
        """The position in the user's signature of the `i`-th differentiable argument."""
        return [p for p in range(self.count) if p not in self.nondiff][i]

    def path(self, i: int) -> str:
        """The `i`-th differentiable argument in words."""
        return argument_path(self.carrier.fun, self.position(i))

    def spans(self) -> Iterator[slice]:
        """Where the leaves of each differentiable argument stand."""
        n = 0
        for child in self.in_tree.children():
            yield slice(n, n + child.num_leaves)
            n += child.num_leaves

    def fun(self, *leaves):
        outs, self.out_tree = flatten_result(type(self.carrier).__name__, self.carrier.fun,
                                             self.carrier.fun(*self.arguments(leaves), **self.keywords))
        self.out_avals = [out.aval for out in outs]
        return outs

    # --- what every rule must keep to ---

    def ask(self, label: Callable[[], str], rule: Callable, form: str, *args: Any) -> Any:
        """Call a rule; `form` says what it is called with, for the message about one that does not take that."""
        try:
            return call_optionally(rule, args, self.keywords)
        except TypeError as error:
            self.check_call(label, rule, form, len(args), error)
            raise

    def check_call(self, label: Callable[[], str], rule: Callable, form: str, count: int, error: TypeError) -> None:
        """Raise RuleError for a rule that cannot take its arguments; what went wrong inside of it is left as it is."""
        code = getattr(rule, "__code__", None)
        if code is None or not is_internal(code):  # what we put around rules looks for itself
            leading = "*nondiff, " if self.fixed and not form.endswith("*args") else ""
            check_call(label, rule, leading + form, count, self.keywords, error)

    def check_covered(self, covered: Sequence[int] | None, active: Sequence[bool], what: str) -> None:
        """Refuse differentiation with respect to an argument that a rule was not written for."""
        if covered is None:
            return
        for i, span in enumerate(self.spans()):
            if i not in covered and any(active[span]):
                rest = ", ".join(self.path(j).removeprefix("argument ") for j in covered) or "no argument"
                raise RuleNotDefinedError(
                    f"{self.label}: there is no derivative with respect to {self.path(i)}: the {what} covers {rest} "
                    f"alone. Extend the rule, or pass lax.stop_gradient of the argument to call it a constant.")

    def check_primals(self, label: Callable[[], str], value: Any, outs: Sequence[Array], tree: PyTreeDef) -> None:
        """Refuse a rule's primal output that differs from what the function returned when it ran."""
        avals = self.out_avals or []
        if tree != self.out_tree:
            path, expected, got = first_difference(skeleton(self.out_tree), value)
            raise RuleError(f"{label()} must return a primal output with the structure of the function's result, but "
                            f"at {path} expected {expected}, got {got}")
        for i, (out, aval) in enumerate(zip(outs, avals, strict=True)):
            if not matches(aval, out.aval):
                where = keystr(tree_flatten_with_path(value)[0][i][0])
                raise RuleError(f"{label()}: the primal output{' at ' + where if where else ''} must be what the "
                                f"function returns: expected {aval.str_short()}, got {out.aval.str_short()}")

    def check_order(self, rule: Callable, kind: str, calls_before: int, primals: Sequence[Any], outs: Sequence[Any]
                    ) -> None:
        """Warn of a rule that is lost at the next order: its primal output came about without the function.

        Whether there is a next order shows now, or, in a function that is being traced, when that is differentiated.
        """
        if self.carrier.calls[0] != calls_before or set(map(type, outs)) == _EAGER:
            return
        label, name, warned = self.label, self.name, self.carrier.warned

        def warn(values):
            if rule in warned or not any(map(differentiated, values)):
                return
            warned.append(rule)
            code = getattr(rule, "__code__", None)
            warnings.warn_explicit(
                f"the {kind} rule {describe_function(rule)} of {label}, does not call {name}, and is being "
                "differentiated itself. The second derivative through its primal output is that of the operations in "
                f"the rule, not of the rule. Compute the primal output as {name}(...) in the rule.",
                RuleOrderWarning, code.co_filename if code else "pullback", code.co_firstlineno if code else 1)

        if any(map(differentiated, primals)):
            warn(outs)
        for out in outs:
            watch_staged(out, warn)

    def jvp_label(self) -> str:
        return f"the jvp rule {describe_function(self.carrier.jvp_rule)} of {self.label}"

    def _jvp(self, primals, tangents):
        carrier, label = self.carrier, self.jvp_label
        rule, covered, calls = carrier.jvp_rule, carrier.jvp_argnums, carrier.calls[0]
        given = tangents if carrier.jvp_symbolic_zeros else [
            zeros_for_user(t.aval) if type(t) is Zero else t for t in tangents]
        dots = self.in_tree.unflatten(given)
        if covered is not None:
            covered = carrier.differentiable(covered, self.nondiff, self.count)
            self.check_covered(covered, [type(t) is not Zero for t in tangents], "jvp rule")
            dots = tuple(dots[i] for i in covered)
        if self.at_once and not self.keywords:
            try:
                result = rule(*self.fixed, self.in_tree.unflatten(primals), dots)
            except TypeError as error:
                self.check_call(label, rule, _JVP, len(self.fixed) + 2, error)
                raise
        else:
            result = self.ask(label, rule, _JVP, *self.fixed, self.in_tree.unflatten(primals), dots)
        primal_out, tangent_out = check_pair(label, result, "(primal_out, tangent_out)")
        if isinstance(primal_out, Array) and isinstance(tangent_out, Array):
            outs, leaves, out_tree, dot_tree = [primal_out], [tangent_out], LEAF, LEAF
        else:
            outs, out_tree = leaves_of(label, "primal output", primal_out)
            leaves, dot_tree = tree_flatten(tangent_out)
        if self.out_avals is not None:
            self.check_primals(label, primal_out, outs, out_tree)
        if out_tree != dot_tree:
            path, expected, got = first_difference(primal_out, tangent_out)
            raise RuleError(f"{label()} must return a tangent output with the structure of the primal output, "
                            f"but at {path} expected {expected}, got {got}. Return a tangent for each primal result.")
        touts = [dot if isinstance(dot, Array) and dot.aval is out.aval.to_tangent_aval() else
                 check_tangent(dot, out, label, "tangent output", tangent_out, i)
                 for i, (out, dot) in enumerate(zip(outs, leaves, strict=True))]
        self.check_order(rule, "jvp", calls, primals, outs)
        self.out_tree = out_tree
        return outs, touts

    # --- the vjp rule ---

    def fwd_label(self) -> str:
        return f"the fwd rule {describe_function(self.carrier.fwd_rule)} of {self.label}"

    def bwd_label(self) -> str:
        return f"the {self.carrier.bwd_role} {describe_function(self.carrier.bwd_rule)} of {self.label}"

    def _fwd(self, primals, active):
        carrier = self.carrier
        rule, covered, calls = carrier.fwd_rule, carrier.vjp_argnums, carrier.calls[0]
        if covered is not None:
            covered = carrier.differentiable(covered, self.nondiff, self.count)
            self.check_covered(covered, active or [True] * len(primals), "vjp rule")
        given = primals
        if carrier.vjp_symbolic_zeros:
            given = list(map(CustomVJPPrimal, primals, active or [True] * len(primals)))
        label = self.fwd_label
        if self.at_once and active is not None and not self.keywords:
            try:
                result = rule(*self.arguments(given))
            except TypeError as error:
                self.check_call(label, rule, _FWD, self.count, error)
                raise
        else:
            outer = _inside.functions
            if active is None:
                # the function that the rule calls takes its derivative from itself, or there would be no end
                _inside.functions = (*outer, carrier.fun)
            try:
                result = self.ask(label, rule, _FWD, *self.arguments(given))
            finally:
                _inside.functions = outer
        primal_out, residuals = check_pair(label, result, "(primal_out, residuals)")
        outs, out_tree = leaves_of(label, "primal output", primal_out)
        if self.out_avals is not None:
            self.check_primals(label, primal_out, outs, out_tree)
        if active is not None:
            self.check_order(rule, "fwd", calls, primals, outs)
        self.out_tree = out_tree
        leaves, tree = tree_flatten(residuals)
        arrays, static = [], []
        for leaf in leaves:
            if isinstance(leaf, Array) or is_array_like(leaf):
                arrays.append(lift(leaf))
                static.append(_ARRAY)
            elif isinstance(leaf, CustomVJPPrimal):
                raise RuleError(f"{self.fwd_label()}: a residual is a whole CustomVJPPrimal; save its .value")
            else:
                static.append(leaf)
        # functions and objects may be saved too; what they hold that is traced goes along
        held = closed_over(leaf for leaf in static if leaf is not _ARRAY) if len(arrays) < len(leaves) else []
        return outs, [*arrays, *held], (tree, static, out_tree, [p.aval for p in primals], covered, held)

    def _bwd(self, static, residuals, cts):
        tree, pattern, out_tree, in_avals, covered, held = static
        arrays = iter(residuals)
        saved = tree.unflatten([next(arrays) if leaf is _ARRAY else leaf for leaf in pattern])
        given = cts if self.carrier.vjp_symbolic_zeros else [
            zeros_for_user(ct.aval) if type(ct) is Zero else ct for ct in cts]
        rule, form = self.carrier.bwd_rule, _BWD[self.carrier.bwd_role]
        args = *self.fixed, saved, out_tree.unflatten(given)
        if not held:
            if not (self.at_once and context.trace.transparent) or self.keywords:
                return self._check_cotangents(self.ask(self.bwd_label, rule, form, *args), in_avals, covered)
            try:
                result = rule(*args)
            except TypeError as error:
                self.check_call(self.bwd_label, rule, form, len(args), error)
                raise
            return self._check_cotangents(result, in_avals, covered)
        stand_ins = StandIns(held, list(arrays))
        return stand_ins.run(
            lambda: self._check_cotangents(self.ask(self.bwd_label, rule, form, *args), in_avals, covered))

    def _check_cotangents(self, result: Any, in_avals: Sequence[ShapedArray], covered: Sequence[int] | None
                          ) -> list[Any]:
        if covered is None and type(result) is tuple and len(result) == len(in_avals) == self.in_tree.num_nodes - 1:
            # each argument is one array, and most often each cotangent is as it should be
            for ct, aval in zip(result, in_avals, strict=True):
                if ct is not None and not (isinstance(ct, Array) and ct.aval is aval.to_tangent_aval()):
                    break
            else:
                return list(result)
        children = self.in_tree.children()
        expected = range(len(children)) if covered is None else covered
        which = "differentiable arguments" if covered is None else "arguments that the rule covers"
        if not isinstance(result, (tuple, list)):
            advice = " For one argument that is a tuple of length 1: return (ct,)." if len(expected) == 1 else ""
            raise RuleError(f"{self.bwd_label()} must return a tuple with a cotangent for each of the {len(expected)} "
                            f"{which}, got {described_result(result)}.{advice}")
        if len(result) != len(expected):
            raise RuleError(f"{self.bwd_label()} must return a cotangent for each of the {len(expected)} {which}, got "
                            f"{len(result)}. Use None for an argument whose cotangent is zero.")
        given = dict(zip(expected, result, strict=True))
        flat: list[Any] = []
        for i, (child, span) in enumerate(zip(children, self.spans(), strict=True)):

            def place(i=i):
                return f"{self.bwd_label()}, cotangent of {self.path(i)}"

            flat += argument_cotangents(place, given.get(i), child, in_avals[span])
        return flat

    # --- the vmap rule ---

    def vmap_label(self) -> str:
        return f"the vmap rule {describe_function(self.carrier.vmap_rule)} of {self.label}"

    def _vmap(self, size, batched, operands):
        types = self.result_types(batched, operands)
        flags = self.in_order(self.in_tree.unflatten(batched), [False] * len(self.fixed))
        result = self.ask(self.vmap_label, self.carrier.vmap_rule, _VMAP, size, list(flags), *self.arguments(operands))
        out, out_batched = check_pair(self.vmap_label, result, "(out, out_batched)")
        outs, out_tree = leaves_of(self.vmap_label, "result", out)
        marks, marks_tree = tree_flatten(out_batched)
        if marks_tree != out_tree and isinstance(out_batched, bool):
            marks = [out_batched] * len(outs)
        elif marks_tree != out_tree:
            path, expected, got = first_difference(out, out_batched)
            raise RuleError(f"{self.vmap_label()} must return out_batched, a bool for each leaf of its result, but at "
                            f"{path} expected {expected}, got {got}")
        for (place, _), x, mark in zip(tree_flatten_with_path(out)[0], outs, marks, strict=True):
            if isinstance(mark, (bool, np.bool_)) and mark and x.aval.shape[:1] != (size,):
                at = f" at {keystr(place)}" if place else ""
                raise RuleError(f"{self.vmap_label()}: the result{at} is marked as batched, so its leading axis must "
                                f"have the length {size}, got {x.aval.str_short()}")
            elif not isinstance(mark, (bool, np.bool_)):
                raise RuleError(f"{self.vmap_label()} must return out_batched, a bool for each leaf of its result, got "
                                f"{described_result(mark)}")
        if types is not None:
            tree, avals = types
            if tree != out_tree:
                path, what, got = first_difference(skeleton(tree), out)
                raise RuleError(f"{self.vmap_label()} must return a result with the structure of the function's, but "
                                f"at {path} expected {what}, got {got}")
            for (place, _), x, mark, aval in zip(tree_flatten_with_path(out)[0], outs, marks, avals, strict=True):
                shape = x.aval.shape[1:] if mark else x.aval.shape
                if shape != aval.shape or x.aval.dtype != aval.dtype:
                    at = f" at {keystr(place)}" if place else ""
                    raise RuleError(f"{self.vmap_label()}: the result{at} must be what the function returns"
                                    f"{', with a leading axis' if mark else ''}: expected {aval.str_short()} for each "
                                    f"example, got {x.aval.str_short()}")
        self.out_tree = out_tree
        return outs, [bool(m) for m in marks]

    def result_types(self, batched: Sequence[bool], operands: Sequence[Any]) -> tuple[PyTreeDef, Any] | None:
        """The structure and types of the function's result for one example; None if it cannot be traced."""
        avals = [without_leading(x.aval) if b else x.aval for x, b in zip(operands, batched, strict=True)]
        try:
            jaxpr, _ = stage_open(self.fun, avals, self.name)
        except ConcretizationTypeError:
            return None
        return self.out_tree, jaxpr.out_avals


_ARRAY = object()
_EAGER = {ConcreteArray}
_RULES = {getattr(FlatCall, f"_{kind}").__code__: kind for kind in ("jvp", "fwd", "bwd")}


def without_end(carrier: Any) -> str | None:
    """What to add to a RecursionError met in a call of the function, if one of its rules has come back to itself."""
    frame: FrameType | None = sys._getframe(1)
    kinds = []
    while frame is not None:
        kind = _RULES.get(frame.f_code)
        if kind is not None and frame.f_locals["self"].carrier is carrier:
            kinds.append(kind)
        frame = frame.f_back
    if len(kinds) < 2:
        return None
    rule = getattr(carrier, f"{kinds[0]}_rule")
    return (f"the {kinds[0]} rule {describe_function(rule)} differentiates {describe_function(carrier.fun)}, whose "
            f"derivative that rule is, and so asks for itself without end: {len(kinds)} times over. Differentiate in "
            "the rule a function that is not decorated, or write the derivative out.")
