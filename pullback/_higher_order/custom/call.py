"""One call of a function with rules, flat: the function, its rules, and the traced values that they close over."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pullback._higher_order.custom.captures import StandIns


@dataclass(frozen=True, eq=False)
class CustomCall:
    """A flat function with rules. Tangents and cotangents may be symbolic zeros in every one of them.

    `jvp(primals, tangents) -> (outs, tangents_out)`; `fwd(primals, active) -> (outs, residuals, static)`, where
    `active` says which primals are differentiated, None that this rule itself is; `bwd(static, residuals,
    cotangents) -> cotangents_in`. `static` is whatever the backward rule must know that is no array.
    `vmap(size, batched, operands) -> (outs, batched)`, or None where the rule does not apply.

    `label` names the function, its definition and its call, for messages. The first operands are values for the
    `captured` tracers, which function and rules refer to; the rules give them no tangent and no cotangent.
    `forward` says where forward mode comes from if there is no jvp rule: "transpose" of the bwd rule, or the derivative
    of the "fwd" rule or of the "primal" function. `calls` counts the calls of the decorated function,
    `definable` are the methods by which it is given a derivative, `held` names the captured tracers that stand in
    arguments which are not differentiated (None for the others).
    """

    fun: Callable[..., Sequence[Any]]
    name: str
    label: str
    jvp: Any = None
    fwd: Any = None
    bwd: Any = None
    vmap: Any = None
    captured: Sequence[Any] = ()
    forward: str | None = None
    calls: list[int] | None = None
    definable: Sequence[str] = ()
    held: Sequence[str | None] = ()

    def __str__(self):
        rules = [rule for rule, given in (("jvp", self.jvp), ("vjp", self.bwd), ("vmap", self.vmap)) if given]
        return f"{self.name} with {' and '.join(rules) or 'no'} rule"


def closing_over(call: Any, tracers: Sequence[Any], fun: Callable | None = None,
                 held: Sequence[str | None] = ()) -> CustomCall:
    """The call with values for `tracers` in front of its operands, where its function and rules refer to them.

    `fun` is a function that takes these values already; `held` names those of them that arguments hold.
    """
    n = len(tracers)

    def run(values, rule, *args):
        return StandIns(tracers, values).run(rule, *args)

    def fwd(primals, active):
        outs, residuals, static = run(primals[:n], call.fwd, primals[n:], active and active[n:])
        return outs, [*primals[:n], *residuals], static

    def bwd(static, residuals, cts):
        return [None] * n + list(run(residuals[:n], call.bwd, static, residuals[n:], cts))

    def vmap(size, batched, operands):
        if any(batched[:n]):
            return None  # the rule speaks of arguments alone
        return run(operands[:n], call.vmap, size, batched[n:], operands[n:])

    return CustomCall(
        fun or (lambda *xs: run(xs[:n], call.fun, *xs[n:])), call.name, call.label,
        (lambda primals, tangents: run(primals[:n], call.jvp, primals[n:], tangents[n:])) if call.jvp else None,
        fwd if call.fwd else None, bwd if call.bwd else None, vmap if call.vmap else None,
        (*tracers, *call.captured), call.forward, call.calls, call.definable, (*(held or [None] * n), *call.held))
