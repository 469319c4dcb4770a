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
from pullback._core.config import nans_were_debugged
from pullback._core.errors import (
    ConcretizationTypeError,
    RuleError,
    RuleNotDefinedError,
    describe_function,
)
from pullback._core.hitypes import registered
from pullback._core.staging import stage_open
from pullback._core.tree import PyTreeDef
from pullback._core.tree_paths import keystr, skeleton, tree_flatten_with_path
from pullback._core.types import ShapedArray, is_differentiable
from pullback._core.typing import AnyValue, PyTree
from pullback._core.zeros import Zero
from pullback._higher_order.custom.call import RematRules
from pullback._higher_order.custom.checks import (
    check_batched,
    check_examples,
    check_pair,
    leaves_of,
)
from pullback._higher_order.custom.labels import CallLabels, CallSite
from pullback._higher_order.custom.logs import log_all
from pullback._higher_order.custom.order import warn_if_differentiated
from pullback._higher_order.custom.ruled_call import (
    Residuals,
    RuledCall,
    for_user,
    instantiated,
    located,
    seeing_values,
)
from pullback._higher_order.custom.signature import Layout, spans
from pullback._transforms.accumulators import NullAccum, ValAccum
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
_ACCUMULATING = "bwd rule with accumulators"
_BWD = {
    "bwd rule": "residuals, cotangent",
    "transpose": "others, cotangent",
    _ACCUMULATING: "residuals, cotangent, *accumulators",
}


@dataclass(eq=False, slots=True)
class Saved:
    """What a bwd rule gets or is checked by, besides arrays.

    `residuals` are those of the fwd rule without their arrays, `out_tree` the structure of the function's result,
    `in_avals` the types of the primals, and `covered` the indices of the arguments that the rule covers. Residuals that
    are `structured` are a pair.
    """

    residuals: Residuals
    out_tree: PyTreeDef
    in_avals: Sequence[ShapedArray]
    covered: Sequence[int] | None
    structured: bool = False


class Same:
    """An argument in a key: equal to the same object, and to an equal one of its type if it is hashable."""

    __slots__ = ("value", "_hash")

    def __init__(self, value: AnyValue):
        self.value = value
        try:
            self._hash: int | None = hash((type(value), value))
        except TypeError:
            self._hash = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Same):
            return False
        a, b = self.value, other.value
        return a is b or (self._hash is not None and self._hash == other._hash and type(a) is type(b) and bool(a == b))

    def __hash__(self) -> int:
        return id(self.value) if self._hash is None else self._hash


class UserCall(CallLabels, RuledCall):
    """One call of a decorated function: the function and its rules on the leaves of its differentiable arguments.

    `decorated` is the function with its rules, `fixed` holds the nondifferentiable arguments, `keywords` the arguments
    of keyword-only parameters, which rules get by keyword too. `out_tree` is the structure of the result, set when
    function or rule has run, `out_avals` its types, set when the function has.
    """

    __slots__ = ("in_tree", "fixed", "keywords", "forward", "out_tree", "out_avals")
    captured: Sequence[Any] = ()
    contents = 0
    held: Sequence[str | None] = ()
    linearize = batch = transpose = key = dce = None

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
        self.in_tree: Any = in_tree
        self.fixed: Sequence[Any] = fixed
        self.keywords: dict[str, Any] = keywords
        self.site = site
        self.out_tree: Any = None
        self.out_avals: list[ShapedArray] | None = None
        self.forward: Any = decorated.forward
        if decorated.forward == "fwd" and any(decorated.fun is fun for fun in _running.functions):
            self.forward = "primal"

    @property
    def rules_key(self) -> Any:
        """The decorated function, and the arguments that its rules get besides operands."""
        keywords = tuple([(name, Same(value)) for name, value in self.keywords.items()])
        return self.decorated, self.in_tree, tuple(map(Same, self.fixed)), keywords, self.forward

    # the rules are not stored: a method held by its object would be a cycle

    @property
    def jvp(self) -> Callable | None:
        if self.decorated.jvp_rule is None:
            return None
        return located(self._jvp, self.jvp_label) if nans_were_debugged[0] else self._jvp

    @property
    def fwd(self) -> Callable | None:
        if self.decorated.fwd_rule is None:
            return None if self.decorated.remat_rules is None else self.decorated.remat_rules.both(self)
        return located(self._fwd, self.fwd_label) if nans_were_debugged[0] else self._fwd

    @property
    def bwd(self) -> Callable | None:
        if self.decorated.bwd_rule is None:
            return None if self.decorated.remat_rules is None else self.decorated.remat_rules.of(self).bwd
        return located(self._bwd, self.bwd_label) if nans_were_debugged[0] else self._bwd

    @property
    def vmap(self) -> Callable | None:
        return self._vmap if self.decorated.vmap_rule is not None else None

    @property
    def remat(self) -> RematRules | None:
        return None if self.decorated.remat_rules is None else self.decorated.remat_rules.of(self)

    @property
    def definable(self) -> Sequence[str]:
        return self.decorated.definable

    def __str__(self) -> str:
        return self.name

    def arguments(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """All positional arguments of the user's function, from the leaves of the differentiable ones."""
        return self.layout.join(self.differentiable(leaves), self.fixed)

    def differentiable(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """The differentiable arguments, from their leaves."""
        given = for_user(leaves) if registered else leaves
        return tuple(given) if self.in_tree is self.layout.of_arrays else self.in_tree.unflatten(given)

    def fun(self, *leaves: Any) -> Any:
        outs, self.out_tree = flatten_result(
            type(self.decorated).__name__,
            self.decorated.fun,
            (seeing_values(self.decorated.fun) if registered else self.decorated.fun)(
                *self.arguments(leaves), **self.keywords
            ),
        )
        self.out_avals = [out.aval for out in outs]
        return outs

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
        given = tangents
        if not decorated.jvp_symbolic_zeros:
            for t in tangents:
                if type(t) is Zero:
                    given = [instantiated(t) for t in tangents]
                    break
        dots = self.differentiable(given)
        if decorated.jvp_argnums is not None:
            covered = decorated.covered(decorated.jvp_argnums, self.layout)
            self.check_covered(covered, [type(t) is not Zero for t in tangents], "jvp rule")
            dots = tuple(dots[i] for i in covered)
        args = *self.fixed, self.differentiable(primals), dots
        result, lost = self.ask_for_output(label, rule, _JVP, args, primals)
        primal_out, tangent_out = check_pair(label, result, "(primal_out, tangent_out)")
        outs, out_tree = self.outputs(label, primal_out)
        touts = self.tangents(label, primal_out, tangent_out, outs, out_tree)
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
            given = list(map(CustomVJPPrimal, for_user(given), active or [True] * len(primals)))
        if active is not None:
            result, lost = self.ask_for_output(label, rule, _FWD, self.arguments(given), primals)
        else:
            result, lost = self._ask_to_differentiate(label, rule, self.arguments(given)), False
        structured = decorated.bwd_role == _ACCUMULATING and isinstance(result, (tuple, list)) and len(result) == 3
        if structured:
            result = result[0], (result[1], result[2])
        primal_out, residuals = check_pair(label, result, "(primal_out, residuals)")
        outs, out_tree = self.outputs(label, primal_out)
        if lost:
            warn_if_differentiated(outs, self, "fwd", rule)
        self.out_tree = out_tree
        saved, rest = Residuals.of(residuals)
        if decorated.vjp_symbolic_zeros and any(isinstance(leaf, CustomVJPPrimal) for leaf in rest.leaves):
            raise RuleError(f"{label()}: a residual is a whole CustomVJPPrimal; save its .value")
        return outs, saved, Saved(rest, out_tree, [p.aval for p in primals], covered, structured)

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
        if self.decorated.bwd_role == _ACCUMULATING:
            sums = {i: ValAccum(aval) for i, aval in enumerate(static.in_avals) if is_differentiable(aval)}
            self._accumulate(static, residuals, cts, sums)
            return [sums[i].val if i in sums else None for i in range(len(static.in_avals))]
        return static.residuals.restored(residuals, self._cotangents, self._cotangent(static, cts), static)

    def _cotangent(self, static: Saved, cts: Sequence[Any]) -> PyTree:
        given = cts if self.decorated.vjp_symbolic_zeros else [instantiated(ct) for ct in cts]
        return static.out_tree.unflatten(for_user(given))

    def _cotangents(self, saved: PyTree, ct: PyTree, static: Saved) -> list[Any]:
        decorated = self.decorated
        args = *self.fixed, saved, ct
        result = self.ask(self.bwd_label, decorated.bwd_rule, _BWD[decorated.bwd_role], args)
        return self.cotangents(result, static.in_avals, static.covered)

    @property
    def accumulate(self) -> Callable | None:
        by_accumulators = self.decorated.bwd_rule is not None and self.decorated.bwd_role == _ACCUMULATING
        return located(self._accumulate, self.bwd_label) if by_accumulators else None

    def _accumulate(self, static: Saved, residuals, cts, sums: dict[int, Any]) -> None:
        accums = [sums.get(i) or NullAccum(aval) for i, aval in enumerate(static.in_avals)]
        for i, accum in enumerate(accums):
            accum.where = partial(self._leaf_label, i)

        def backward(saved):
            given = saved if static.structured else (saved,)
            args = *self.fixed, *given, self._cotangent(static, cts), *self.in_tree.unflatten(accums)
            logs = self.ask(self.bwd_label, self.decorated.bwd_rule, _BWD[_ACCUMULATING], args)
            log_all(logs, self.bwd_label)

        static.residuals.restored(residuals, backward)

    def _leaf_label(self, i: int) -> str:
        path = tree_flatten_with_path(skeleton(self.in_tree))[0][i][0]
        return f"{self.bwd_label()}, cotangent of {self.path(path[0].idx)}{keystr(path[1:])}"

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
        if form in _KINDS and getattr(rules_of, "identity", None) is decorated.identity
    ]
    if len(kinds) < 2:
        return None
    rule = getattr(decorated, f"{kinds[0]}_rule")
    return (
        f"the {kinds[0]} rule {describe_function(rule)} differentiates {describe_function(decorated.fun)}, whose "
        "derivative that rule is, and so asks for itself without end. Differentiate in the rule a function that is "
        "not decorated, or write the derivative out."
    )
