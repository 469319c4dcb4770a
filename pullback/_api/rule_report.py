"""What `check_rules` reports: what failed, and from what the rules are derived that a function does not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pullback._api.primitive_class import HiPrim
from pullback._api.rules import custom_rules
from pullback._core.notebooks import preformatted


@dataclass
class Report:
    """The result of `check_rules`: a line for each failure, and notes on what was not checked or is worth knowing.

    `derived` says, for a function with rules, from what the rules that it does not have are derived.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> pb.check_rules(pnp.sin, 1.).ok
    True
    """

    subject: str
    derived: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checks: int = 0

    @property
    def ok(self) -> bool:
        """True if nothing failed."""
        return not self.failures

    def __str__(self) -> str:
        verdict = "all passed" if self.ok else f"{len(self.failures)} failed"
        lines = [f"check_rules of {self.subject}: {self.checks} checks, {verdict}"]
        lines += ["  " + line for line in self.failures]
        lines += [f"  {mode} is derived from {source}" for mode, source in self.derived.items()]
        return "\n".join(lines + ["  note: " + line for line in self.notes])

    def _repr_html_(self) -> str:
        return preformatted(str(self))


def derived_modes(fun: Callable) -> dict[str, str]:
    """For each mode that a function with rules has no rule for, from what it is derived."""
    if isinstance(fun, HiPrim):
        return fun.derived()
    if not isinstance(fun, custom_rules) or (fun.jvp_rule is None) == (fun.bwd_rule is None):
        return {}
    if fun.bwd_rule is None:
        return {"vjp": "the jvp rule, transposed"}
    sources = {
        "transpose": f"the {fun.bwd_role}, transposed",
        "fwd": "the fwd rule, differentiated",
        "primal": "the function, differentiated",
    }
    return {"jvp": sources[fun.forward]} if fun.forward is not None else {}
