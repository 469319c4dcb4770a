"""The rule `dce` of a primitive class: what is left of an application of which some results are used.

`dce(used_outs, live_ins) -> (used_ins, kept_outs, instance)`, and `dce(used_outs)` of a `VJPHiPrimitive`: the arguments
of the instance are the leaves flagged by `used_ins`, in order, its results those flagged by `kept_outs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.arguments import described_result
from pullback._core.errors import RuleError
from pullback._core.types import matches
from pullback._higher_order.custom.class_checks import flags_of


def reduced(call: Any, used: Sequence[bool]) -> tuple[Any, list[bool], list[bool]] | None:
    """An instance that computes the used results, and flags for its operands and results; None for the same one."""
    instance, declared, label = call.decorated, call.declared, call.rule_label("dce")
    args = [declared.out_tree.unflatten(used)]
    form = "used_outs"
    if not instance._hiprim_older:
        args.append(declared.in_tree.unflatten([True] * len(declared.in_avals)))
        form = "used_outs, live_ins"
    result = call.ask(label, instance.dce, form, args)
    if not isinstance(result, tuple) or len(result) != 3:
        raise RuleError(f"{label()} must return (used_ins, kept_outs, instance), got {described_result(result)}")
    used_ins, kept_outs, smaller = result
    if smaller is instance:
        return None
    if not hasattr(smaller, "__hiprim__"):
        raise RuleError(
            f"{label()} must return an instance of a primitive class as its third result, got "
            f"{described_result(smaller)}, though some results are used"
        )
    ins, outs = flags_of(label, used_ins, declared.in_tree), flags_of(label, kept_outs, declared.out_tree)
    if any(u and not k for u, k in zip(used, outs, strict=True)):
        raise RuleError(f"{label()} returned kept_outs={kept_outs!r}, which leaves out a result that is used")
    new = smaller.__hiprim__().declared
    for what, flags, avals, got in (
        ("arguments", ins, declared.in_avals, new.in_avals),
        ("results", outs, declared.out_avals, new.out_avals),
    ):
        kept = [aval for aval, flag in zip(avals, flags, strict=True) if flag]
        if len(kept) != len(got) or not all(map(matches, kept, got)):
            raise RuleError(
                f"{label()} returned {smaller}, whose {what} must have the types of those that it keeps: expected "
                f"{[aval.str_short() for aval in kept]}, got {[aval.str_short() for aval in got]}"
            )
    return smaller, ins, outs


__all__ = ["reduced"]
