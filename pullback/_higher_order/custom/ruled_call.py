"""How rules of a user's are called and what they return is checked: for decorated functions and classes alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from pullback._core.array import Array, ConcreteArray, is_array_like, lift
from pullback._core.config import nans_were_debugged
from pullback._core.errors import RuleError, is_internal
from pullback._core.hitypes import registered, unpacked
from pullback._core.origins import InRule, origins_are_tracked
from pullback._core.own_attributes import in_user_code
from pullback._core.refs import Ref
from pullback._core.staging import call_optionally
from pullback._core.trace import context
from pullback._core.tree import LEAF, PyTreeDef, tree_flatten
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, PyTree
from pullback._core.zeros import Zero
from pullback._higher_order.custom.captures import StandIns, closed_over
from pullback._higher_order.custom.checks import (
    argument_cotangents,
    check_call,
    check_number,
    check_primals,
    check_tangent,
    first_difference,
    leaves_of,
    note_call,
    zeros_for_user,
)
from pullback._higher_order.custom.labels import place_of
from pullback._higher_order.custom.order import Identity, observed
from pullback._higher_order.custom.signature import spans

# residuals of these types are handed on as they are, so that a bwd rule can branch on them, traced or not
_PYTHON_NUMBERS = frozenset((bool, int, float, complex))


class _Array:
    """A placeholder for an array among the leaves of the residuals."""


@dataclass(eq=False, slots=True)
class Residuals:
    """The residuals of a fwd rule without their arrays: `tree` and `leaves`, with `_Array` in place of arrays.

    `captured` are the tracers in residuals that are functions or objects; their values follow the arrays.
    """

    tree: PyTreeDef
    leaves: Sequence[Any]
    captured: Sequence[Any]

    @staticmethod
    def of(residuals: PyTree) -> tuple[list[Any], Residuals]:
        """The arrays to save, and the rest of the residuals."""
        leaves, tree = tree_flatten(residuals)
        arrays: list[Any] = []
        rest: list[Any] = []
        for leaf in leaves:
            if isinstance(leaf, Array) or (
                type(leaf) not in _PYTHON_NUMBERS and not isinstance(leaf, Ref) and is_array_like(leaf)
            ):
                arrays.append(lift(leaf))
                rest.append(_Array)
            else:
                rest.append(leaf)
        # functions and objects may be saved too; the traced values that they hold are saved with them
        captured = closed_over(leaf for leaf in rest if leaf is not _Array) if len(arrays) < len(leaves) else ()
        return [*arrays, *captured], Residuals(tree, rest, captured)

    def restored(self, saved: Sequence[Any], run: Callable[..., Any], *args: Any) -> Any:
        """`run(residuals, *args)`, with the saved values in their places, those that functions hold too."""
        n = len(saved) - len(self.captured)
        leaves: Sequence[Any] = saved
        if len(self.leaves) > n:
            arrays = iter(saved)
            leaves = [next(arrays) if leaf is _Array else leaf for leaf in self.leaves]
        residuals = self.tree.unflatten(for_user(leaves))
        if self.captured:
            return StandIns(self.captured, saved[n:]).run(run, residuals, *args)
        return run(residuals, *args)


def for_user(xs: Sequence[Any]) -> Sequence[Any]:
    """Operands for the user's code: of a traced value of a type of one's own, a value of its class."""
    # a value whose parts nobody reads leaves nothing in a jaxpr: it may be differentiated later
    return [call_optionally(unpacked, (x,), {}) for x in xs] if registered else xs


def results_for_user(outs: Sequence[Any]) -> Sequence[Any]:
    """Results of a function with rules: where another one, or a rule, calls it, values of types of one's own."""
    return for_user(outs) if registered and in_user_code.depth else outs


def seeing_values(fun: Callable) -> Callable:
    """A function or rule of the user's, in which traced values of types of one's own have the attributes of a value."""

    def run(*args, **keywords):
        in_user_code.depth += 1
        try:
            return fun(*args, **keywords)
        finally:
            in_user_code.depth -= 1

    return run


def _in_rule(label: Callable[[], str], run: Callable, *args: PyTree) -> Any:
    if not origins_are_tracked():
        return run(*args)
    described = label()  # now, since the line of the call is that of the innermost frame of the user's
    with InRule(lambda: described):
        return run(*args)


def located(rule: Callable, label: Callable[[], str]) -> Callable:
    """A rule that is named as the origin of its operations, where origins may be tracked."""
    return rule if not nans_were_debugged[0] else partial(_in_rule, label, rule)


class RuledCall:
    """A call of a function with rules, on pytrees.

    `decorated` is what has the rules, `fixed` its nondifferentiable arguments, `keywords` the arguments that rules get
    by keyword. `in_tree` is the structure of the differentiable arguments, `out_tree` that of the result, `out_avals`
    the types of its leaves; None while they are not known.
    """

    __slots__ = ()
    decorated: Any
    in_tree: PyTreeDef
    out_tree: Any
    out_avals: Sequence[ShapedArray] | None
    fixed: Sequence[Any]
    keywords: dict[str, Any]
    bwd_label: Callable[[], str]
    # what says the type of the result, for messages
    result_type: ClassVar[str] = "the function returns"

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        slots = [name for cls in type(self).__mro__ for name in cls.__dict__.get("__slots__", ())]
        state = {name: getattr(self, name) for name in slots if hasattr(self, name)}
        if state["site"] is not None:
            state["site"] = place_of(state["site"])  # code is not pickled
        return None, state

    @property
    def identity(self) -> Identity:
        """What `order` knows the function by."""
        return self.decorated.identity

    def path(self, i: int) -> str:
        """The `i`-th differentiable argument, for messages."""
        raise NotImplementedError

    def ask(self, label: Callable[[], str], rule: Callable, form: str, args: Sequence[Any]) -> Any:
        """Call a rule; `form` describes its arguments, for the message about one that does not accept them."""
        run = seeing_values(rule) if registered else rule
        try:
            if context.trace.transparent:
                return run(*args, **self.keywords)
            return call_optionally(run, args, self.keywords)
        except (TypeError, ValueError, AttributeError) as error:
            code = getattr(rule, "__code__", None)
            if code is None or not is_internal(code):  # the package's own wrappers of rules check this themselves
                leading = "*nondiff, " if self.fixed and not form.endswith("*args") else ""
                check_call(label, rule, leading + form, len(args), self.keywords, error)
                note_call(label, leading + form, self.in_tree.children(), error)
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
                result, called = observed(self.identity, self.ask, label, rule, form, args)
                return result, not called
        return self.ask(label, rule, form, args), False

    # --- checks of results ---

    def outputs(self, label: Callable[[], str], value: AnyValue) -> tuple[list[Array], PyTreeDef]:
        """The leaves of a rule's primal output and its structure, checked against what the function returns."""
        if isinstance(value, Array):
            outs, out_tree = [value], LEAF
        else:
            outs, out_tree = leaves_of(label, "primal output", value)
        if self.out_avals is not None:
            check_primals(label, value, outs, out_tree, self.out_tree, self.out_avals, self.result_type)
        return outs, out_tree

    def tangents(
        self,
        label: Callable[[], str],
        primal_out: AnyValue,
        tangent_out: AnyValue,
        outs: Sequence[Array],
        out_tree: PyTreeDef,
    ) -> list[Any]:
        """The leaves of a rule's tangent output, each checked against its primal."""
        if isinstance(tangent_out, Array):
            if out_tree is LEAF and tangent_out.aval is outs[0].aval.to_tangent_aval():
                return [tangent_out]
            leaves, dot_tree = [tangent_out], LEAF
        else:
            leaves, dot_tree = tree_flatten(tangent_out)
        if out_tree != dot_tree:
            path, expected, got = first_difference(primal_out, tangent_out)
            raise RuleError(
                f"{label()} must return a tangent output with the structure of the primal output, "
                f"but at {path} expected {expected}, got {got}. Return a tangent for each primal result."
            )
        return [
            dot
            if isinstance(dot, Array) and dot.aval is out.aval.to_tangent_aval()
            else check_tangent(dot, out, label, "tangent output", tangent_out, i)
            for i, (out, dot) in enumerate(zip(outs, leaves, strict=True))
        ]

    def cotangents(
        self, result: AnyValue, in_avals: Sequence[ShapedArray], covered: Sequence[int] | None = None
    ) -> list[Any]:
        """The leaves of the cotangents that a bwd rule returned, None for a zero, each checked against its primal."""
        if covered is None and type(result) is tuple and len(result) == len(in_avals) == self.in_tree.num_nodes - 1:
            # each argument is one array, and usually each cotangent is valid
            for ct, aval in zip(result, in_avals, strict=True):
                if ct is None:
                    continue
                expected = aval.to_tangent_aval()
                if not isinstance(ct, Array) or (ct.aval is not expected and ct.aval.strip_weak_type() is not expected):
                    break
            else:
                return list(result)
        children = self.in_tree.children()
        given_for = range(len(children)) if covered is None else covered
        which = "differentiable arguments" if covered is None else "arguments that the rule covers"
        given = dict(zip(given_for, check_number(self.bwd_label, result, len(given_for), which), strict=True))
        flat: list[Any] = []
        for i, (child, span) in enumerate(zip(children, spans(self.in_tree), strict=True)):

            def place(i=i):
                return f"{self.bwd_label()}, cotangent of {self.path(i)}"

            flat += argument_cotangents(place, given.get(i), child, in_avals[span])
        return flat


def instantiated(t: AnyValue) -> Any:
    """A tangent or cotangent for a rule that takes arrays alone."""
    return zeros_for_user(t.aval) if type(t) is Zero else t
