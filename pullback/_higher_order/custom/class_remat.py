"""The rule `remat` of a primitive class: what `checkpoint` keeps of the primitive, and the function that runs again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pullback._core.arguments import described_result
from pullback._core.errors import RuleError, describe_function
from pullback._core.typing import AnyValue
from pullback._higher_order.custom.call import RematRules
from pullback._higher_order.custom.remat import rules_by_function
from pullback._higher_order.custom.ruled_call import Residuals, RuledCall


class RematTrace(NamedTuple):
    """What a rule `remat` gets before the arguments: the `policy` of the innermost checkpoint, None if it has none.

    >>> from pullback.experimental.hijax import RematTrace
    >>> RematTrace(None).policy is None
    True
    """

    policy: Callable[..., Any] | None


class ClassWithRemat(RuledCall):
    """The part of a call of a primitive class that runs its rule `remat`."""

    __slots__ = ()
    rule_label: Callable[[str], Callable[[], str]]
    arguments: Callable[[Sequence[Any]], Sequence[Any]]

    @property
    def label(self) -> str:
        """The instance and the line of the call, for messages."""
        raise NotImplementedError

    def remat_rules(self) -> RematRules:
        """The rule on leaves."""
        return rules_by_function(self._first, by_policy=True)

    def _first(self, policy: AnyValue, primals: Sequence[Any], active: Sequence[bool]):
        label = self.rule_label("remat")
        older = self.decorated._hiprim_older
        lead, form = (policy, "policy, *args") if older else (RematTrace(policy), "trace, *args")
        result = self.ask(label, self.decorated.remat, form, (lead, *self.arguments(primals)))
        if not isinstance(result, (tuple, list)) or len(result) != (2 if older else 3) or not callable(result[-1]):
            parts, of = (
                ("(out, rem)", "the arguments")
                if older
                else (
                    "(out, residuals, rem)",
                    "the residuals and the arguments",
                )
            )
            raise RuleError(
                f"{label()} must return {parts}, rem a function of {of} that gives the result again; got "
                f"{described_result(result)}"
            )
        out, *residuals, rem = result
        outs, _ = self.outputs(label, out)
        # what `rem` closes over is saved with the residuals
        saved, rest = Residuals.of((residuals, rem))

        def again(values: Sequence[Any], xs: Sequence[Any]) -> Sequence[Any]:
            return rest.restored(values, lambda kept: self._again(kept[0], kept[1], xs))

        return outs, saved, again

    def _again(self, residuals: Sequence[Any], rem: Callable[..., Any], xs: Sequence[Any]) -> Sequence[Any]:
        def label():
            return f"the function {describe_function(rem)} that remat returned, of {self.label}"

        form = "residuals, *args" if residuals else "*args"
        return self.outputs(label, self.ask(label, rem, form, (*residuals, *self.arguments(xs))))[0]


__all__ = ["ClassWithRemat", "RematTrace"]
