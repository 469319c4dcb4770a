"""A user's function and rules, on pytrees, as a `CustomCall` on flat lists of arrays.

Every error names the rule and its definition, the call, the argument or leaf by path, the expected and the given value.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pullback._core.arguments import flatten_result
from pullback._core.array import Array, ConcreteArray, is_array_like, lift
from pullback._core.config import nans_were_debugged
from pullback._core.errors import (
    ConcretizationTypeError,
    RuleError,
    RuleNotDefinedError,
    describe_function,
    is_internal,
)
from pullback._core.origins import NO_CONTEXT, InRule, origins_are_tracked
from pullback._core.staging import call_optionally, stage_open
from pullback._core.trace import context
from pullback._core.tree import PyTreeDef, tree_flatten
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, PyTree
from pullback._core.zeros import Zero
from pullback._higher_order.custom.captures import StandIns, closed_over
from pullback._higher_order.custom.checks import (
    LEAF,
    argument_cotangents,
    check_batched,
    check_call,
    check_examples,
    check_number,
    check_pair,
    check_primals,
    check_tangent,
    first_difference,
    leaves_of,
    zeros_for_user,
)
from pullback._higher_order.custom.labels import CallLabels, CallSite
from pullback._higher_order.custom.order import observed, warn_if_differentiated
from pullback._higher_order.custom.signature import Layout, spans
from pullback._transforms.vmap import without_leading


@dataclass(frozen=True, eq=False, slots=True)
class CustomVJPPrimal:
    """A leaf passed to a fwd rule with `symbolic_zeros`: its value, and whether it is being differentiated.

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


class _Running(threading.local):
    """The functions whose fwd rules, being differentiated themselves, run in this thread."""

    functions: tuple[Any, ...] = ()


_running = _Running()

# the parameters of rules, for messages
_JVP, _FWD, _VMAP = "primals, tangents", "*args", "axis_size, in_batched, *args"
_BWD = {"bwd rule": "residuals, cotangent", "transpose": "others, cotangent"}


class _Array:
    """A placeholder for an array among the leaves of the residuals."""


@dataclass(eq=False, slots=True)
class Saved:
    """The residuals of a fwd rule without their arrays, and the data for checking the bwd rule's results.

    `tree` and `leaves` are the residuals with `_Array` in place of arrays, `out_tree` the structure of the function's
    result, `in_avals` the types of the primals, `covered` the indices of the arguments that the rule covers, and
    `captured` the tracers in residuals that are functions or objects.
    """

    tree: PyTreeDef
    leaves: Sequence[Any]
    out_tree: PyTreeDef
    in_avals: Sequence[ShapedArray]
    covered: Sequence[int] | None
    captured: Sequence[Any]


def _in_rule(label: Callable[[], str], run: Callable, *args: PyTree) -> Any:
    with InRule(label) if origins_are_tracked() else NO_CONTEXT:
        return run(*args)


class UserCall(CallLabels):
    """One call of a decorated function: the function and its rules on the leaves of its differentiable arguments.

    `decorated` is the function with its rules, `fixed` holds the nondifferentiable arguments, `keywords` the arguments
    of keyword-only parameters, which rules get by keyword too. `out_tree` is the structure of the result, set when
    function or rule has run, `out_avals` its types, set when the function has.
    """

    __slots__ = ("in_tree", "fixed", "keywords", "forward", "out_tree", "out_avals")
    captured: Sequence[Any] = ()
    held: Sequence[str | None] = ()

    def __init__(
        self,
        decorated: AnyValue,
        layout: Layout,
        in_tree: PyTreeDef,
        fixed: Sequence[Any],
        keywords: dict[str, Any],
        site: CallSite | None,
    ):
        self.decorated = decorated
        self.layout = layout
        self.in_tree = in_tree
        self.fixed = fixed
        self.keywords = keywords
        self.site = site
        self.out_tree: Any = None
        self.out_avals: list[ShapedArray] | None = None
        self.forward = decorated.forward
        if decorated.forward == "fwd" and any(decorated.fun is fun for fun in _running.functions):
            self.forward = "primal"

    # the rules are not stored: a method held by its object would be a cycle

    @property
    def jvp(self) -> Callable | None:
        rule = self._jvp if self.decorated.jvp_rule is not None else None
        return rule if rule is None or not nans_were_debugged[0] else partial(_in_rule, self.jvp_label, rule)

    @property
    def fwd(self) -> Callable | None:
        rule = self._fwd if self.decorated.fwd_rule is not None else None
        return rule if rule is None or not nans_were_debugged[0] else partial(_in_rule, self.fwd_label, rule)

    @property
    def bwd(self) -> Callable | None:
        rule = self._bwd if self.decorated.bwd_rule is not None else None
        return rule if rule is None or not nans_were_debugged[0] else partial(_in_rule, self.bwd_label, rule)

    @property
    def vmap(self) -> Callable | None:
        return self._vmap if self.decorated.vmap_rule is not None else None

    @property
    def identity(self) -> Any:
        return self.decorated.identity

    @property
    def definable(self) -> Sequence[str]:
        return self.decorated.definable

    def __str__(self) -> str:
        return self.name

    def arguments(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """All positional arguments of the user's function, from the leaves of the differentiable ones."""
        return self.layout.join(self.in_tree.unflatten(leaves), self.fixed)

    def fun(self, *leaves):
        outs, self.out_tree = flatten_result(
            type(self.decorated).__name__,
            self.decorated.fun,
            self.decorated.fun(*self.arguments(leaves), **self.keywords),
        )
        self.out_avals = [out.aval for out in outs]
        return outs

    # --- calls of rules ---

    def ask(self, label: Callable[[], str], rule: Callable, form: str, args: Sequence[Any]) -> Any:
        """Call a rule; `form` describes its arguments, for the message about one that does not accept them."""
        try:
            if context.trace.transparent:
                return rule(*args, **self.keywords)
            return call_optionally(rule, args, self.keywords)
        except TypeError as error:
            code = getattr(rule, "__code__", None)
            if code is None or not is_internal(code):  # the package's own wrappers of rules check this themselves
                leading = "*nondiff, " if self.fixed and not form.endswith("*args") else ""
                check_call(label, rule, leading + form, len(args), self.keywords, error)
            origin = getattr(error, "origin", None)
            if origin is not None and origin.rule is None:
                origin.rule = label()
                error.add_note(f"It was made by {origin.rule}.")
            raise
        except RecursionError as error:
            vars(error).setdefault("rules", []).append((self.decorated, form))
            raise

    def ask_for_output(
        self, label: Callable[[], str], rule: Callable, form: str, args: Sequence[Any], primals: Sequence[Any]
    ) -> tuple[Any, bool]:
        """Call a rule that returns the primal output; returns also whether it may have done so without the function."""
        for x in primals:
            if type(x) is not ConcreteArray:
                # a transformation around the rule may follow its operations
                result, called = observed(self.decorated.identity, self.ask, label, rule, form, args)
                return result, not called
        return self.ask(label, rule, form, args), False

    def check_covered(self, covered: Sequence[int], active: Sequence[bool], what: str) -> None:
        """Refuse differentiation with respect to an argument that a rule does not cover."""
        for i, span in enumerate(spans(self.in_tree)):
            if i not in covered and any(active[span]):
                rest = ", ".join(self.path(j).removeprefix("argument ") for j in covered) or "no argument"
                raise RuleNotDefinedError(
                    f"{self.label}: there is no derivative with respect to {self.path(i)}: the {what} covers {rest} "
                    f"alone. Extend the rule, or pass lax.stop_gradient of the argument to call it a constant."
                )

    # --- the jvp rule ---

    def _jvp(self, primals, tangents):
        decorated, label, rule = self.decorated, self.jvp_label, self.decorated.jvp_rule
        given = (
            tangents
            if decorated.jvp_symbolic_zeros
            else [zeros_for_user(t.aval) if type(t) is Zero else t for t in tangents]
        )
        dots = self.in_tree.unflatten(given)
        if decorated.jvp_argnums is not None:
            covered = decorated.covered(decorated.jvp_argnums, self.layout)
            self.check_covered(covered, [type(t) is not Zero for t in tangents], "jvp rule")
            dots = tuple(dots[i] for i in covered)
        args = *self.fixed, self.in_tree.unflatten(primals), dots
        result, lost = self.ask_for_output(label, rule, _JVP, args, primals)
        primal_out, tangent_out = check_pair(label, result, "(primal_out, tangent_out)")
        if isinstance(primal_out, Array) and isinstance(tangent_out, Array):
            outs, leaves, out_tree, dot_tree = [primal_out], [tangent_out], LEAF, LEAF
        else:
            outs, out_tree = leaves_of(label, "primal output", primal_out)
            leaves, dot_tree = tree_flatten(tangent_out)
        if self.out_avals is not None:
            check_primals(label, primal_out, outs, out_tree, self.out_tree, self.out_avals)
        if out_tree != dot_tree:
            path, expected, got = first_difference(primal_out, tangent_out)
            raise RuleError(
                f"{label()} must return a tangent output with the structure of the primal output, "
                f"but at {path} expected {expected}, got {got}. Return a tangent for each primal result."
            )
        touts = [
            dot
            if isinstance(dot, Array) and dot.aval is out.aval.to_tangent_aval()
            else check_tangent(dot, out, label, "tangent output", tangent_out, i)
            for i, (out, dot) in enumerate(zip(outs, leaves, strict=True))
        ]
        if lost:
            warn_if_differentiated(outs, self, "jvp", rule)
        self.out_tree = out_tree
        return outs, touts

    # --- the vjp rule ---

    def _fwd(self, primals, active):
        decorated, label, rule = self.decorated, self.fwd_label, self.decorated.fwd_rule
        given, covered = primals, None
        if decorated.vjp_argnums is not None:
            covered = decorated.covered(decorated.vjp_argnums, self.layout)
            self.check_covered(covered, active or [True] * len(primals), "vjp rule")
        if decorated.vjp_symbolic_zeros:
            given = list(map(CustomVJPPrimal, primals, active or [True] * len(primals)))
        if active is not None:
            result, lost = self.ask_for_output(label, rule, _FWD, self.arguments(given), primals)
        else:
            result, lost = self._ask_to_differentiate(label, rule, self.arguments(given)), False
        primal_out, residuals = check_pair(label, result, "(primal_out, residuals)")
        outs, out_tree = leaves_of(label, "primal output", primal_out)
        if self.out_avals is not None:
            check_primals(label, primal_out, outs, out_tree, self.out_tree, self.out_avals)
        if lost:
            warn_if_differentiated(outs, self, "fwd", rule)
        self.out_tree = out_tree
        leaves, tree = tree_flatten(residuals)
        arrays, static = [], []
        for leaf in leaves:
            if isinstance(leaf, Array) or is_array_like(leaf):
                arrays.append(lift(leaf))
                static.append(_Array)
            elif isinstance(leaf, CustomVJPPrimal):
                raise RuleError(f"{label()}: a residual is a whole CustomVJPPrimal; save its .value")
            else:
                static.append(leaf)
        # functions and objects may be saved too; the traced values that they hold are saved with them
        captured = closed_over(leaf for leaf in static if leaf is not _Array) if len(arrays) < len(leaves) else ()
        return outs, [*arrays, *captured], Saved(tree, static, out_tree, [p.aval for p in primals], covered, captured)

    def _ask_to_differentiate(self, label: Callable[[], str], rule: Callable, args: Sequence[Any]) -> Any:
        """Call a fwd rule whose operations are differentiated.

        The function that it calls takes its derivative from its own operations, otherwise the recursion would not end.
        """
        outer = _running.functions
        _running.functions = (*outer, self.decorated.fun)
        try:
            return self.ask(label, rule, _FWD, args)
        finally:
            _running.functions = outer

    def _bwd(self, static: Saved, residuals, cts):
        decorated, rule, saved = self.decorated, self.decorated.bwd_rule, residuals
        n = len(residuals) - len(static.captured)
        if len(static.leaves) > n:
            arrays = iter(residuals)
            saved = [next(arrays) if leaf is _Array else leaf for leaf in static.leaves]
        given = (
            cts if decorated.vjp_symbolic_zeros else [zeros_for_user(ct.aval) if type(ct) is Zero else ct for ct in cts]
        )
        args = *self.fixed, static.tree.unflatten(saved), static.out_tree.unflatten(given)
        if static.captured:
            return StandIns(static.captured, residuals[n:]).run(self._cotangents, rule, args, static)
        return self._cotangents(rule, args, static)

    def _cotangents(self, rule: Callable, args: Sequence[Any], static: Saved) -> list[Any]:
        """Call the bwd rule, and check what it returns."""
        result = self.ask(self.bwd_label, rule, _BWD[self.decorated.bwd_role], args)
        in_avals, covered = static.in_avals, static.covered
        if covered is None and type(result) is tuple and len(result) == len(in_avals) == self.in_tree.num_nodes - 1:
            # each argument is one array, and usually each cotangent is valid
            for ct, aval in zip(result, in_avals, strict=True):
                if ct is not None and not (isinstance(ct, Array) and ct.aval is aval.to_tangent_aval()):
                    break
            else:
                return list(result)
        children = self.in_tree.children()
        expected = range(len(children)) if covered is None else covered
        which = "differentiable arguments" if covered is None else "arguments that the rule covers"
        given = dict(zip(expected, check_number(self.bwd_label, result, len(expected), which), strict=True))
        flat: list[Any] = []
        for i, (child, span) in enumerate(zip(children, spans(self.in_tree), strict=True)):

            def place(i=i):
                return f"{self.bwd_label()}, cotangent of {self.path(i)}"

            flat += argument_cotangents(place, given.get(i), child, in_avals[span])
        return flat

    # --- the vmap rule ---

    def _vmap(self, size, batched, operands):
        types = self.result_types(batched, operands)
        flags = self.layout.join(self.in_tree.unflatten(batched), [False] * len(self.fixed))
        args = size, list(flags), *self.arguments(operands)
        result = self.ask(self.vmap_label, self.decorated.vmap_rule, _VMAP, args)
        out, out_batched = check_pair(self.vmap_label, result, "(out, out_batched)")
        outs, out_tree = leaves_of(self.vmap_label, "result", out)
        marks = check_batched(self.vmap_label, out, outs, out_tree, out_batched, size)
        if types is not None:
            check_examples(self.vmap_label, out, outs, out_tree, marks, *types)
        self.out_tree = out_tree
        return outs, marks

    def result_types(self, batched: Sequence[bool], operands: Sequence[Any]) -> tuple[PyTreeDef, Any] | None:
        """The structure and types of the function's result for one example; None if it cannot be traced."""
        avals = [without_leading(x.aval) if b else x.aval for x, b in zip(operands, batched, strict=True)]
        try:
            jaxpr, _ = stage_open(self.fun, avals, self.name)
        except ConcretizationTypeError:
            return None
        return self.out_tree, jaxpr.out_avals


_KINDS = {_JVP: "jvp", _FWD: "fwd", **dict.fromkeys(_BWD.values(), "bwd")}


def recursion_message(error: RecursionError, decorated: AnyValue) -> str | None:
    """The message about a rule that calls itself recursively, if that is the cause of the error.

    `error.rules` are the rules that the error has passed through, the innermost first.
    """
    kinds = [
        _KINDS[form]
        for rules_of, form in getattr(error, "rules", ())
        if form in _KINDS and rules_of.identity is decorated.identity
    ]
    if len(kinds) < 2:
        return None
    rule = getattr(decorated, f"{kinds[0]}_rule")
    return (
        f"the {kinds[0]} rule {describe_function(rule)} differentiates {describe_function(decorated.fun)}, whose "
        "derivative that rule is, and so asks for itself without end. Differentiate in the rule a function that is "
        "not decorated, or write the derivative out."
    )
