"""A call of a primitive that is a class with rules, as a `CustomCall` on flat lists of arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from pullback._core.arguments import argument_path, described_result
from pullback._core.config import nans_were_debugged
from pullback._core.errors import RuleError, RuleNotDefinedError, describe_function
from pullback._core.hitypes import registered
from pullback._core.refs import Ref
from pullback._core.trace import is_linear
from pullback._core.tree import PyTreeDef
from pullback._core.tree_paths import tree_map
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, AxisName, PyTree
from pullback._core.zeros import Zero
from pullback._higher_order.custom.call import RematRules
from pullback._higher_order.custom.checks import check_pair
from pullback._higher_order.custom.class_checks import Declared, fitted_batch, flags_of
from pullback._higher_order.custom.class_dce import reduced
from pullback._higher_order.custom.class_remat import ClassWithRemat
from pullback._higher_order.custom.labels import CallSite, call_site, place_of
from pullback._higher_order.custom.logs import log_all
from pullback._higher_order.custom.order import warn_if_differentiated
from pullback._higher_order.custom.primitive import custom_call_p
from pullback._higher_order.custom.ruled_call import (
    Residuals,
    for_user,
    instantiated,
    located,
    seeing_values,
)
from pullback._higher_order.custom.signature import spans
from pullback._higher_order.custom.vmap import BatchedCall
from pullback._transforms.accumulators import GradAccum, NullAccum, ValAccum
from pullback._transforms.jvp import jvp_flat
from pullback._transforms.vmap import moved

# the parameters of rules, for messages
_FORMS = {
    "jvp": "primals, tangents",
    "lin": "nzs_in, *primals",
    "linearized": "residuals, *tangents",
    "vjp_fwd": "nzs_in, *args",
    "vjp_bwd": "residuals, cotangent, *accumulators",
    "vjp_bwd_retval": "residuals, cotangent",
    "vjp_bwd_retval_logs": "residuals, cotangent",
    "transpose": "cotangent, *accumulators_or_values",
    "batch": "axis_data, args, dims",
    "batch_dim_rule": "axis_data, dims",
}
# the accumulator of a reference
_DROPPED = NullAccum(ShapedArray((), "float32"))


class AxisData(NamedTuple):
    """The axis that `vmap` maps over, for `batch` rules: its name, or None, and its size.

    >>> from pullback.experimental.hijax import AxisData
    >>> AxisData("i", 3).size
    3

    `spmd_name` and `explicit_mesh_axis` are None: there are no devices to spread the axis over.
    """

    name: AxisName | None
    size: int
    spmd_name: None = None
    explicit_mesh_axis: None = None


@dataclass(eq=False, slots=True)
class Saved:
    """What the backward rule gets besides arrays: the rest of the residuals, and which arguments are differentiated.

    `nonzero` flags the results that have a derivative, None if all may have one.
    """

    residuals: Residuals
    structured: bool
    active: Sequence[bool]
    nonzero: Sequence[bool] | None


class ClassCall(ClassWithRemat):
    """One call of an instance of a class with rules.

    `decorated` is the instance. Its declared types are those of every call.
    """

    __slots__ = ("decorated", "declared", "rules", "site")
    fixed: Sequence[Any] = ()
    keywords: dict[str, Any] = {}
    captured: Sequence[Any] = ()
    contents = 0
    held: Sequence[str | None] = ()
    vmap = None
    result_type = "out_aval declares"
    definable: Sequence[str] = "def jvp", "def vjp_fwd and vjp_bwd_retval", "def lin and linearized"

    def __init__(self, instance: AnyValue, declared: Declared, rules: AnyValue, site: CallSite | None):
        self.decorated = instance
        self.declared = declared
        self.rules = rules
        self.site = site

    @property
    def key(self) -> Any:
        """Calls of equal instances are the same call, but for the references in their arguments."""
        return None if self.declared.holds_refs else self.decorated

    @property
    def rules_key(self) -> Any:
        """That of the instance."""
        return self.key

    def __str__(self) -> str:
        return str(self.decorated)

    @property
    def identity(self) -> Any:
        return self.decorated.__hiprim__().identity

    # --- types and names ---

    @property
    def in_tree(self) -> PyTreeDef:
        return self.declared.in_tree

    @property
    def out_tree(self) -> PyTreeDef:
        return self.declared.out_tree

    @property
    def out_avals(self) -> Sequence[ShapedArray]:  # type: ignore[override]
        return self.declared.out_avals

    @property
    def name(self) -> str:
        """The name of the class."""
        return type(self.decorated).__name__

    @property
    def label(self) -> str:
        """The instance and the line of the call."""
        return f"the primitive {self.decorated}, called at {place_of(self.site or call_site())}"

    def rule_label(self, name: str) -> Callable[[], str]:
        """The function that names a rule in messages."""

        def label():
            rule = describe_function(getattr(self.decorated, name))
            return f"the rule {'' if rule.startswith(name) else name + ', '}{rule} of {self.label}"

        return label

    def jvp_label(self) -> str:
        """The rule that forward mode runs."""
        return self.rule_label("jvp" if self.rules.forward == "jvp" else "linearized")()

    def fwd_label(self) -> str:
        """The rule for the forward pass."""
        return self.rule_label("vjp_fwd")()

    def bwd_label(self) -> str:
        """The rule for cotangents."""
        return self.rule_label(self.rules.backward)()

    def path(self, i: int) -> str:
        return argument_path(self.decorated.expand, i)

    def arguments(self, leaves: Sequence[Any]) -> Sequence[Any]:
        """The arguments, from their leaves."""
        leaves = for_user(leaves)
        return leaves if self.declared.plain else self.declared.in_tree.unflatten(leaves)

    def beside(self, leaves: Sequence[Any], ref: Any) -> Sequence[Any]:
        """Flags, tangents, accumulators or axes in the structure of the arguments, with `ref` in the place of a Ref."""
        args = self.arguments(leaves)
        if not self.declared.holds_refs:
            return args
        return tree_map(lambda x: ref if isinstance(x, Ref) else x, tuple(args))

    # --- the function ---

    @property
    def expand(self) -> Callable:
        """The function of the class."""
        return seeing_values(self.decorated.expand) if registered else self.decorated.expand

    def fun(self, *leaves):
        return self.declared.results(self.decorated, self.expand(*self.arguments(leaves)))

    # --- forward mode ---

    @property
    def jvp(self) -> Callable | None:
        forward = self.rules.forward
        if forward == "jvp":
            return located(self._jvp, self.jvp_label)
        if forward == "lin":
            return located(self._lin, self.jvp_label)
        return located(self._by_linearity, self.rule_label("transpose")) if forward == "transpose" else None

    @property
    def linearize(self) -> Callable | None:
        """The rule that reverse mode records without a vjp rule, where it is another one than that of forward mode."""
        reverse, forward = self.rules.reverse, self.rules.forward
        if reverse == forward or reverse == "vjp":
            return None
        if reverse == "lin":
            return located(self._lin, self.rule_label("linearized"))
        return self._as_function if reverse == "expand" else located(self._jvp, self.jvp_label)

    @property
    def forward(self) -> str | None:
        return {"vjp": "transpose", "expand": "primal"}.get(self.rules.forward)

    def _as_function(self, primals, tangents):
        return jvp_flat(self.fun, primals, tangents)

    def _jvp(self, primals, tangents):
        rule = self.decorated.jvp
        args = tuple(self.arguments(primals)), tuple(self.beside(tangents, None))
        result, lost = self.ask_for_output(self.jvp_label, rule, _FORMS["jvp"], args, primals)
        primal_out, tangent_out = check_pair(self.jvp_label, result, "(primal_out, tangent_out)")
        outs, out_tree = self.outputs(self.jvp_label, primal_out)
        touts = self.tangents(self.jvp_label, primal_out, tangent_out, outs, out_tree)
        if lost:
            warn_if_differentiated(outs, self, "jvp", type(self.decorated).jvp)
        return outs, touts

    def _lin(self, primals, tangents):
        instance, label = self.decorated, self.rule_label("lin")
        nzs_in = self.beside([type(t) is not Zero for t in tangents], False)
        args = tuple(nzs_in), *self.arguments(primals)
        result, lost = self.ask_for_output(label, instance.lin, _FORMS["lin"], args, primals)
        primal_out, residuals, *more = _parts(label, result, "(primal_out, residuals), or a third, nzs_out", 3)
        outs, out_tree = self.outputs(label, primal_out)
        nonzero = flags_of(label, more[0], out_tree) if more else None
        label = self.rule_label("linearized")
        args = residuals, *self.beside(tangents, None)
        tangent_out = self.ask(label, instance.linearized, _FORMS["linearized"], args)
        touts = self.tangents(label, primal_out, tangent_out, outs, out_tree)
        if nonzero is not None:
            touts = [t if nz else Zero(t.aval) for t, nz in zip(touts, nonzero, strict=True)]
        if lost:
            warn_if_differentiated(outs, self, "lin", type(instance).lin)
        return outs, touts

    def _by_linearity(self, primals, tangents):
        """The function of a linear function's tangents; arguments that it is not linear in are constants."""
        linear = self.rules.linear
        for i, span in enumerate(spans(self.in_tree)):
            if i not in linear and any(type(t) is not Zero for t in tangents[span]):
                raise RuleNotDefinedError(
                    f"{self.label}: there is no derivative with respect to {self.path(i)}: the class has a transpose "
                    f"rule alone, for linear_argnums={tuple(linear)}. Define jvp or vjp_fwd, or pass lax.stop_gradient "
                    "of the argument to call it a constant."
                )
        outs = custom_call_p.bind(*primals, call=self)
        moving = list(primals)
        for i, span in enumerate(spans(self.in_tree)):
            if i in linear:
                moving[span] = [instantiated(t) for t in tangents[span]]
        return outs, custom_call_p.bind(*moving, call=self)

    # --- reverse mode ---

    @property
    def fwd(self) -> Callable | None:
        if self.rules.reverse != "vjp":
            return None
        return self._fwd if not nans_were_debugged[0] else located(self._fwd, self.fwd_label)

    @property
    def bwd(self) -> Callable | None:
        if self.rules.reverse != "vjp":
            return None
        return self._bwd if not nans_were_debugged[0] else located(self._bwd, self.bwd_label)

    def _fwd(self, primals, active):
        instance, label = self.decorated, self.fwd_label
        if active is None:
            active = [True] * len(primals)
        args = tuple(self.beside(active, False)), *self.arguments(primals)
        result, lost = self.ask_for_output(label, instance.vjp_fwd, _FORMS["vjp_fwd"], args, primals)
        primal_out, residuals, *more = _parts(
            label, result, "(primal_out, residuals), and after these nzs_out and structured residuals if it has them", 4
        )
        outs, out_tree = self.outputs(label, primal_out)
        nonzero = flags_of(label, more[0], out_tree) if more and more[0] is not None else None
        structured = len(more) == 2
        if lost:
            warn_if_differentiated(outs, self, "vjp_fwd", type(instance).vjp_fwd)
        saved, rest = Residuals.of((residuals, more[1]) if structured else residuals)
        return outs, saved, Saved(rest, structured, active, nonzero)

    @property
    def accumulate(self) -> Callable | None:
        return self._accumulate if self.rules.reverse == "vjp" and self.rules.backward == "vjp_bwd" else None

    def _bwd(self, static: Saved, residuals, cts):
        rules = self.rules
        cts = _of_interest(static, cts)
        if cts is None:
            return [None] * len(static.active)
        if rules.backward == "vjp_bwd":
            avals = self.declared.in_avals
            accums = {i: ValAccum(avals[i]) for i, active in enumerate(static.active) if active}
            self._accumulate(static, residuals, cts, accums)
            return [accums[i].freeze() if i in accums else None for i in range(len(avals))]
        if static.structured:
            raise RuleError(f"{self.fwd_label()} returned structured residuals, which need vjp_bwd")
        return static.residuals.restored(residuals, self._cotangents, self.cotangent(cts))

    def _cotangents(self, saved: PyTree, ct: PyTree) -> list[Any]:
        name = self.rules.backward
        result = self.ask(self.bwd_label, getattr(self.decorated, name), _FORMS[name], (saved, ct))
        if name == "vjp_bwd_retval_logs":
            result, logs = check_pair(self.bwd_label, result, "(cotangents, logs)")
            log_all(logs, self.bwd_label)
        return self.cotangents(result, self.declared.in_avals)

    def _accumulate(self, static: Saved, residuals, cts, accums: Mapping[int, GradAccum | None]) -> None:
        """Run `vjp_bwd` with an accumulator for each leaf; cotangents of what is not differentiated are dropped."""
        cts = _of_interest(static, cts)
        if cts is None:
            return
        leaves: list[GradAccum] = []
        for i, aval in enumerate(self.declared.in_avals):
            accum = accums.get(i) or NullAccum(aval)
            if not accum.where:
                accum.where = partial(self._leaf_label, i)
            leaves.append(accum)
        ct = self.cotangent(cts)

        def run(saved):
            given = saved if static.structured else (saved,)
            rule, args = self.decorated.vjp_bwd, (*given, ct, *self.beside(leaves, _DROPPED))
            log_all(self.ask(self.bwd_label, rule, _FORMS["vjp_bwd"], args), self.bwd_label)
            return []

        static.residuals.restored(residuals, run)

    def cotangent(self, cts: Sequence[Any]) -> Any:
        """The cotangent of the result, from those of its leaves."""
        cts = for_user(cts)
        return cts[0] if self.declared.single else self.declared.out_tree.unflatten(cts)

    def _leaf_label(self, i: int) -> str:
        return f"{self.bwd_label()}, cotangent of {self.declared.leaf_path(self.decorated, i)}"

    @property
    def remat(self) -> RematRules | None:
        return self.remat_rules() if "remat" in self.rules.defined else None

    # --- the transpose of a linear function ---

    @property
    def transpose(self) -> Callable | None:
        return self._transpose if "transpose" in self.rules.defined else None

    def _transpose(self, cts, operands):
        label = self.rule_label("transpose")
        accums = [
            ValAccum(aval, where=f"{label()}, cotangent of {self.declared.leaf_path(self.decorated, i)}")
            if is_linear(x)
            else None
            for i, (x, aval) in enumerate(zip(operands, self.declared.in_avals, strict=True))
        ]
        given = [x if accum is None else accum for x, accum in zip(operands, accums, strict=True)]
        args = self.cotangent(cts), *self.arguments(given)
        result = self.ask(label, self.decorated.transpose, _FORMS["transpose"], args)
        if result is not None:
            raise RuleError(
                f"{label()} must add the cotangents to the accumulators that it gets, and return None; got "
                f"{described_result(result)}"
            )
        return [None if accum is None else accum.freeze() for accum in accums]

    # --- what is not computed, or again ---

    @property
    def dce(self) -> Callable | None:
        return self._dce if "dce" in self.rules.defined else None

    def _dce(self, used):
        found = reduced(self, used)
        if found is None:
            return None
        smaller, operands, results = found
        made = smaller.__hiprim__()
        return ClassCall(smaller, made.declared, made.rules, self.site), operands, results

    # --- vmap ---

    @property
    def batch(self) -> Callable | None:
        """`batch(trace, operands, dims) -> (outs, out_dims)`"""
        return self._batch if self.rules.batch is not None else None

    def _batch(self, trace, operands, dims):
        name = self.rules.batch
        axes: list[int | None]
        instance, label, axis = self.decorated, self.rule_label(name), AxisData(trace.axis_name, trace.size)
        specs = [
            d if d is None or type(x.aval) is ShapedArray else x.aval.leading_axis_spec()
            for x, d in zip(operands, dims, strict=True)
        ]
        given = tuple(self.beside(specs, None))
        if name == "batch":
            args = axis, tuple(self.arguments(operands)), given
            result, lost = self.ask_for_output(label, instance.batch, _FORMS["batch"], args, operands)
            out, out_dims = check_pair(label, result, "(out, out_dims)")
            outs, axes = fitted_batch(label, self.declared, out, out_dims, trace.size)
            if lost:
                warn_if_differentiated(outs, self, "batch", type(instance).batch)
            return outs, axes
        batched = BatchedCall(self, tuple(dims), trace)
        outs = custom_call_p.bind(*operands, call=batched.call())
        wanted = self.ask(label, instance.batch_dim_rule, _FORMS[name], (axis, given))
        axes = []
        for i, (at, to) in enumerate(zip(batched.out_dims(), self.declared.dims_of(label, wanted), strict=True)):
            if at is not None and to is None:
                raise RuleError(f"{label()} returned None as the batch axis of a result that has one")
            if at is not None and to is not None:
                outs[i] = moved(outs[i], at, to)
            axes.append(None if at is None else to)
        return outs, axes


def _of_interest(static: Saved, cts: Sequence[Any]) -> Sequence[Any] | None:
    """The cotangents of the results that have a derivative, and zeros; None if all are zeros."""
    if static.nonzero is None:
        return cts
    cts = [ct if nz else Zero(ct.aval) for ct, nz in zip(cts, static.nonzero, strict=True)]
    return None if all(type(ct) is Zero for ct in cts) else cts


def recursion_message(error: RecursionError, instance: AnyValue) -> str | None:
    """The message about a rule of a class that asks for itself, if that is the cause of the error."""
    forms = [form for rules_of, form in getattr(error, "rules", ()) if type(rules_of) is type(instance)]
    name = next((name for name, form in _FORMS.items() if forms and form == forms[0]), None)
    if name is None or len(forms) < 2:
        return None
    return (
        f"the rule {describe_function(getattr(instance, name))} of {instance} transforms the primitive whose rule it "
        "is, and so asks for itself without end. Transform in the rule what the primitive is made of, such as "
        "self.expand, or write the result out."
    )


def _parts(label: Callable[[], str], result: AnyValue, expected: str, most: int) -> Sequence[Any]:
    """The parts of a forward rule's result: two, and up to `most`."""
    if isinstance(result, (tuple, list)) and 2 <= len(result) <= most:
        return result
    raise RuleError(f"{label()} must return {expected}, got {described_result(result)}")
