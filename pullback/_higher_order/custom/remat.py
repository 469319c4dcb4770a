"""Custom rules under `checkpoint`: the forward pass runs `fwd`, the recomputation `rem`, which the bwd rule follows.

Before a checkpointed function is linearized, its calls with such rules are replaced (`checkpointed`). Linearization
then meets `remat_p`, the two rules in one operation: in itself it runs both. Its rule `save` splits it for whoever
recomputes, a `checkpoint` or a loop inside of one: the residuals of `fwd` are saved, and the second run is a call of
`rem`. With what only `rem` computes being unused, the first run is reduced to `remat_fwd_p`, `fwd` alone. A checkpoint
around that one splits `remat_fwd_p` in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pullback._core.flat_function import WithAux
from pullback._core.jaxpr import Equation, Jaxpr, Var, eval_jaxpr
from pullback._core.lists import chosen, cut
from pullback._core.primitive import HigherOrder
from pullback._core.staging import stage_open
from pullback._higher_order.call import called, check_operands
from pullback._higher_order.call_rules import give_call_rules
from pullback._higher_order.custom.call import CustomCall, RematRules, replaced
from pullback._higher_order.policy import allows
from pullback._transforms.dce import dce
from pullback._transforms.linear_forms import form_of, record_form
from pullback._transforms.linearize import linearize_flat
from pullback._transforms.transpose import pull


@dataclass(frozen=True, eq=False, slots=True)
class Halves:
    """The rules of one call, traced.

    `first`: operands -> results, residuals. `again`: residuals, operands -> results, residuals of the bwd rule.
    `policy` is that of the checkpoint; `by_policy` tells whether it matters to `first`.
    """

    first: Jaxpr
    again: Jaxpr
    results: int
    policy: Any
    by_policy: bool
    name: str

    def __str__(self) -> str:
        return f"rules of {self.name}"

    def repeated(self, eqn: Equation, residuals: Sequence[Any], wanted: Sequence[bool]) -> tuple[Equation, list[Any]]:
        """The call of `rem` that computes the wanted results of `again`, into variables of `eqn`; what it reads."""
        outs = [v for v, w in zip(eqn.outvars, wanted, strict=False) if w]
        again, read = dce(self.again, tuple(wanted), keep_inputs=False)
        operands = chosen([*residuals, *eqn.invars], read)
        call = eqn.replace(primitive=remat_rem_p, invars=operands, outvars=outs, params={"jaxpr": again, "rules": None})
        return call, chosen(residuals, read[: len(residuals)])


def _calling(name: str) -> HigherOrder:
    """A primitive that calls its parameter `jaxpr`. What is derived from it is a call by `remat_rem_p`."""
    p = HigherOrder(
        name, lambda params: [called(params["jaxpr"])], lambda params, jaxprs, kept: {"jaxpr": jaxprs[0], "rules": None}
    )

    def abstract_eval(*avals, jaxpr, rules):
        check_operands(name, jaxpr, avals)
        return jaxpr.out_avals

    p.evaluate = lambda *args, jaxpr, rules: eval_jaxpr(jaxpr, [], *args)
    p.abstract_eval = abstract_eval
    p.lower = lambda ctx, *operands, jaxpr, rules: ctx.inline(jaxpr, operands)
    give_call_rules(p, apply=lambda jaxpr, operands, params: _call(jaxpr, operands))
    return p


# operands -> results, residuals of the bwd rule, residuals of fwd
remat_p = _calling("custom_remat")
# operands -> results, residuals of fwd
remat_fwd_p = _calling("custom_remat_fwd")
# residuals of fwd, operands -> results, residuals of the bwd rule
remat_rem_p = _calling("custom_remat_rem")


def _call(jaxpr: Jaxpr, operands: Sequence[Any]) -> list[Any]:
    return remat_rem_p.bind(*operands, jaxpr=jaxpr, rules=None)


def _save(eqn: Equation, missing: Sequence[bool], saving: Any):
    rules: Halves | None = eqn.params["rules"]
    if rules is None:
        return None
    m = len(rules.again.outvars)
    stores = eqn.outvars[m:]
    repeated, read = rules.repeated(eqn, stores, missing[:m])
    return eqn, list(dict.fromkeys([*read, *chosen(stores, missing[m:])])), repeated


def _dce(used: Sequence[bool], eqn: Equation) -> Equation:
    """`fwd` alone where no residual of the bwd rule is used."""
    rules: Halves | None = eqn.params["rules"]
    if rules is None:
        return eqn
    n, m = rules.results, len(rules.again.outvars)
    if any(used[n:m]):
        return eqn
    outvars = [*eqn.outvars[:n], *eqn.outvars[m:]]
    return eqn.replace(primitive=remat_fwd_p, outvars=outvars, params={"jaxpr": rules.first, "rules": rules})


def _shared(policy: Any, rules: Halves) -> bool:
    """Return whether a checkpoint with this policy saves the residuals that one inside has asked for."""
    return rules.policy == policy or not rules.by_policy


def _save_first(eqn: Equation, missing: Sequence[bool], saving: Any):
    rules: Halves | None = eqn.params["rules"]
    if saving.allows(eqn):
        return eqn, chosen(eqn.outvars, missing), None
    if rules is None or not _shared(saving.policy, rules):
        return None
    n = rules.results
    wanted = [*missing[:n], *[False] * (len(rules.again.outvars) - n)]  # of `again`
    stores, repeated = eqn.outvars[n:], None
    saved = chosen(stores, missing[n:])
    if any(wanted):
        repeated, read = rules.repeated(eqn, stores, wanted)
        saved = list(dict.fromkeys([*saved, *read]))
    return eqn, saved, repeated


def rules_by_function(first: Callable[..., tuple[Any, Any, Callable]], by_policy: bool) -> RematRules:
    """Rules of which the second is a function that is differentiated.

    `first(policy, primals, active) -> (outs, residuals, again)`, and `again(residuals, primals) -> outs`.
    """

    def rem(again, residuals, primals, active):
        outs, linear = linearize_flat(lambda *xs: again(residuals, xs), primals, active)
        form, saved = form_of(linear)
        return outs, saved, form

    def bwd(form, saved, cts):
        return pull(record_form(form, list(saved)), cts)

    return RematRules(first, rem, bwd, by_policy)


remat_p.save = _save
remat_p.dce = _dce
# an effect of `fwd` stays in the forward pass; that of `rem` would be repeated by checkpoints around
remat_p.has(rematerialized=lambda policy, jaxpr, rules: rules is not None and not rules.again.effectful)
remat_fwd_p.save = _save_first
remat_fwd_p.dce = lambda used, eqn: eqn  # the rule computes all results
remat_fwd_p.has(
    rematerialized=lambda policy, jaxpr, rules: (
        rules is not None and _shared(policy, rules) and not rules.again.effectful
    )
)


def described_result(eqn: Equation, i: int) -> str | None:
    """What a result of one of the two operations is, for reports."""
    rules: Halves | None = eqn.params["rules"]
    if rules is None:
        return None
    if i < rules.results:
        return f"output of {rules.name}"
    rule = "rem" if eqn.primitive is remat_p and i < len(rules.again.outvars) else "fwd"
    return f"residual of the {rule} rule of {rules.name}"


def checkpointed(eqn: Equation, policy: Any) -> Equation:
    """The call that goes by its rules under `checkpoint`, unless the policy allows to save what it computes."""
    call: CustomCall = eqn.params["call"]
    if call.remat is None:
        return eqn
    if allows(policy, eqn):
        return eqn
    return eqn.replace(params={**eqn.params, "call": _by_remat_rules(eqn.primitive, call, policy)})


def _by_remat_rules(primitive: HigherOrder, call: CustomCall, policy: Any):
    rules = call.remat
    assert rules is not None

    def fwd(primals, active):
        @WithAux
        def first(*xs):
            if rules.fwd is None:
                outs = primitive.bind(*xs, call=call)
                return outs, (len(outs), None)
            outs, residuals, static = rules.fwd(policy, xs, active)
            return [*outs, *residuals], (len(outs), static)

        @WithAux
        def again(*args):
            if rules.rem is None:
                outs, residuals, static = call.fwd(args, active)
            else:
                saved, xs = cut(args, m)
                outs, residuals, static = rules.rem(first.aux[1], saved, xs, active)
            return [*outs, *residuals], static

        avals = [x.aval for x in primals]
        jaxpr1, consts1 = stage_open(first, avals, call.label)
        n = first.aux[0]
        m = len(jaxpr1.outvars) - n
        jaxpr2, consts2 = stage_open(again, [*jaxpr1.out_avals[n:], *avals], call.label)
        consts = [*consts1, *consts2]
        halves = _halves(jaxpr1, jaxpr2, len(consts1), len(consts2), n, policy, rules.by_policy, call.name)
        results = remat_p.bind(*consts, *primals, jaxpr=_whole(halves), rules=halves)
        return results[:n], results[n : len(jaxpr2.outvars)], again.aux

    bwd = {} if rules.bwd is None else {"bwd": rules.bwd}
    return replaced(call, fwd=fwd, remat=None, **bwd)


def _halves(jaxpr1, jaxpr2, k1, k2, n, policy, by_policy, name) -> Halves:
    """Both jaxprs with the constants of both as leading operands."""
    consts1, inputs1 = cut(jaxpr1.invars, k1)
    consts2, saved, inputs2 = cut(jaxpr2.invars, k2, len(jaxpr1.outvars) - n)
    unread1, unread2 = ([Var(v.aval) for v in consts] for consts in (consts2, consts1))
    first = Jaxpr([], [*consts1, *unread1, *inputs1], jaxpr1.eqns, jaxpr1.outvars)
    again = Jaxpr([], [*saved, *unread2, *consts2, *inputs2], jaxpr2.eqns, jaxpr2.outvars)
    return Halves(first, again, n, policy, by_policy, name)


def _whole(halves: Halves) -> Jaxpr:
    """Operands -> results, residuals of the bwd rule, residuals of fwd: both rules, one after the other."""
    n = halves.results

    def both(*operands):
        outs, residuals = cut(_call(halves.first, operands), n)
        return [*outs, *_call(halves.again, [*residuals, *operands])[n:], *residuals]

    return stage_open(both, halves.first.in_avals)[0]


__all__ = ["checkpointed", "described_result", "remat_fwd_p", "remat_p", "rules_by_function"]
