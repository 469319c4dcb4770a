"""A user's rules for `checkpoint`, `fwd`, `rem` and `bwd`, as the `RematRules` of a call.

`fwd` and `rem` are called and checked as a fwd rule is, each with an argument before those of the function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pullback._core.errors import describe_function
from pullback._core.typing import AnyValue
from pullback._higher_order.custom.call import RematRules
from pullback._higher_order.custom.user_rules import UserCall


@dataclass(frozen=True, eq=False, slots=True)
class UserRemat:
    """The rules that `defremat` or `custom_remat` set; without `fwd`, those of `defvjp(..., optimize_remat=True)`.

    `by_policy` says that `fwd` gets the policy as its first argument, `with_fixed` that `bwd` gets the
    nondifferentiable arguments.
    """

    fwd: Callable[..., Any] | None = None
    rem: Callable[..., Any] | None = None
    bwd: Callable[..., Any] | None = None
    by_policy: bool = False
    symbolic_zeros: bool = False
    with_fixed: bool = True

    def parts(self) -> tuple[Callable[..., Any] | None, ...]:
        """The user's functions, which may hold captured traced values."""
        return self.fwd, self.rem, self.bwd

    def of(self, call: UserCall) -> RematRules:
        """The rules of one call, on leaves."""
        return RematRules() if self.fwd is None else _CallRules(self, call).rules()

    def both(self, call: UserCall) -> Callable:
        """The rules as a fwd rule: `rem` runs at once."""
        return _CallRules(self, call).both


class _Half(UserCall):
    """A call whose fwd rule is one of the rules, which gets `lead` before the arguments."""

    __slots__ = ("lead", "role", "form")

    def __init__(self, call: UserCall, rules: UserRemat, role: str, lead: tuple[Any, ...], form: str):
        decorated = object.__new__(type(call.decorated))
        decorated.__dict__.update(
            call.decorated.__dict__,
            fwd_rule=getattr(rules, role),
            bwd_rule=rules.bwd,
            bwd_role="bwd rule",
            vjp_argnums=None,
            vjp_symbolic_zeros=rules.symbolic_zeros,
            forward=call.forward,
        )
        super().__init__(decorated, call.layout, call.in_tree, call.fixed, call.keywords, call.site)
        self.lead, self.role, self.form = lead, role, form
        self.out_tree, self.out_avals = call.out_tree, call.out_avals

    def arguments(self, leaves: Sequence[Any]) -> Sequence[Any]:
        return (*self.lead, *super().arguments(leaves))

    def ask(self, label: Callable[[], str], rule: Callable, form: str, args: Sequence[Any]) -> Any:
        return super().ask(label, rule, self.form if rule is self.decorated.fwd_rule else form, args)

    def fwd_label(self) -> str:
        return f"the {self.role} rule {describe_function(self.decorated.fwd_rule)} of {self.label}"


class _CallRules:
    """The rules of one call."""

    __slots__ = ("user", "call")

    def __init__(self, user: UserRemat, call: UserCall):
        self.user = user
        self.call = call

    def rules(self) -> RematRules:
        return RematRules(self.fwd, self.rem, self.bwd, self.user.by_policy)

    def fwd(self, policy: AnyValue, primals, active):
        lead, form = ((policy,), "policy, *args") if self.user.by_policy else ((), "*args")
        half = _Half(self.call, self.user, "fwd", lead, form)
        assert half.fwd is not None
        outs, residuals, saved = half.fwd(primals, active)
        self.call.out_tree = half.out_tree
        return outs, residuals, (half.out_tree, [out.aval for out in outs], saved)

    def rem(self, static, residuals, primals, active):
        out_tree, out_avals, saved = static

        def rule(lead):
            half = _Half(self.call, self.user, "rem", (lead,), "residuals, *args")
            half.out_tree, half.out_avals = out_tree, out_avals
            assert half.fwd is not None
            return *half.fwd(primals, active), half

        outs, residuals, saved, half = saved.residuals.restored(residuals, rule)
        if not self.user.with_fixed:
            half.fixed, half.keywords = (), {}
        return outs, residuals, (half, saved)

    def bwd(self, static, residuals, cts):
        half, saved = static
        return half.bwd(saved, residuals, cts)

    def both(self, primals, active):
        outs, residuals, static = self.fwd(None, primals, active)
        return outs, *self.rem(static, residuals, primals, active)[1:]


__all__ = ["UserRemat"]
