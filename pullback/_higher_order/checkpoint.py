"""`checkpoint` as a primitive: a function whose derivative recomputes intermediate values instead of storing them.

The linearized function runs and keeps its inputs and the values that the policy allows. The derivative is one linear
equation over these: its jaxpr recomputes the rest and then applies the linear map. Its transpose does the same
backwards. Equations with side effects run once: their results are saved, and they are omitted from the recomputation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pullback._analysis.key_reuse import without_key_uses
from pullback._core import dtypes
from pullback._core.jaxpr import Equation, Jaxpr, Var, eval_jaxpr, gathered, without
from pullback._core.lists import chosen, filled
from pullback._core.primitive import HigherOrder, Primitive
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue
from pullback._core.zeros import Zero, zero_of
from pullback._higher_order.call import called, check_operands, jit_p
from pullback._higher_order.call_rules import active_of, applying, give_call_rules, transposed_call
from pullback._higher_order.custom.remat import remat_rem_p
from pullback._higher_order.policy import PolicyLike as Policy
from pullback._higher_order.policy import allows
from pullback._ops.identity import constant_p
from pullback._ops.rules import keeps_type
from pullback._transforms.accumulators import set_accumulate
from pullback._transforms.dce import dce
from pullback._transforms.harvest import CHECK, VALUE, harvest_bodies
from pullback._transforms.linearize_jaxpr import linearize_jaxpr
from pullback._xla.attributes import int_array

# --- named values, which policies can refer to ---

name_p = Primitive("name")
name_p.kernel = lambda x, name: x
name_p.lower = lambda ctx, x, name: x
keeps_type(name_p)


def _name_jvp(primals, tangents, name):
    return name_p.bind(*primals, name=name), tangents[0]


def _name_batch(trace, operands, dims, name):
    return name_p.bind(*operands, name=name), dims[0]


name_p.jvp = _name_jvp
name_p.transpose = lambda ct, x, name: [ct]
name_p.batch = _name_batch

# --- the checkpointed call ---

checkpoint_p = HigherOrder(
    "checkpoint", lambda params: [called(params["jaxpr"])], lambda params, jaxprs, kept: {**params, "jaxpr": jaxprs[0]}
)


def bind_checkpoint(
    jaxpr: Jaxpr,
    args: Sequence[Any],
    prevent_cse: bool = True,
    policy: Policy | None = None,
    differentiated: bool = False,
) -> list[Any]:
    """Call a traced function (without constants) whose derivative recomputes it.

    `differentiated` marks a derivative: its recomputation must not be merged with the first run.
    """
    return checkpoint_p.bind(*args, jaxpr=jaxpr, prevent_cse=prevent_cse, policy=policy, differentiated=differentiated)


def _type(*avals, jaxpr, **_):
    check_operands("checkpoint", jaxpr, avals)
    return jaxpr.out_avals


def _lower(ctx, *operands, jaxpr, prevent_cse, policy, differentiated):
    solid = [x for x in operands if x.aval.size]
    if not (differentiated and prevent_cse and solid and jaxpr.outvars):
        return ctx.inline(jaxpr, operands)
    # XLA for the CPU drops optimization barriers before it merges equal operations. It merges nothing across a branch;
    # and since the branch reads the cotangents too, nothing in it is computed before they are available.
    avals = list(jaxpr.out_avals)
    return ctx.choose(
        _one(ctx, solid[0]),
        avals,
        [lambda block: [block.constant(0, aval) for aval in avals], lambda block: block.inline(jaxpr, operands)],
    )


def _one(ctx, x):
    """The number 1 in a form that the compiler cannot simplify: the truth of "an odd number is not zero"."""
    first = ctx.op(
        "stablehlo.slice",
        [x],
        make_aval((1,) * x.aval.ndim, x.aval.dtype),
        f"start_indices = {int_array((0,) * x.aval.ndim)}, limit_indices = {int_array((1,) * x.aval.ndim)}, "
        f"strides = {int_array((1,) * x.aval.ndim)}",
    )
    first = ctx.reshape(first, ())
    if dtypes.is_complex(x.aval.dtype):
        first = ctx.op("stablehlo.real", [first], make_aval((), np.finfo(x.aval.dtype).dtype))
    number = ctx.convert(first, np.dtype(np.int32))
    odd = ctx.op("stablehlo.or", [number, ctx.constant(1, number.aval)])
    return ctx.convert(ctx.compare("NE", odd, ctx.constant(0, odd.aval)), np.dtype(np.int32))


class Halves(NamedTuple):
    """A checkpointed function, linearized.

    `known`: inputs -> results, saved values. `linear`: those of (inputs, saved values, active tangents) that are `used`
    -> tangents of the results that have one (`present`).
    """

    known: Jaxpr
    linear: Jaxpr
    used: tuple[bool, ...]
    present: tuple[bool, ...]


def halves_of(jaxpr: Jaxpr, active: tuple[bool, ...], policy: Policy | None) -> Halves:
    """Linearize a function with respect to its active inputs, saving what the policy allows."""
    return jaxpr.derive(("checkpoint", active, policy), lambda: _halves(jaxpr, active, policy))


def _halves(jaxpr: Jaxpr, active: tuple[bool, ...], policy: Policy | None) -> Halves:
    parts = linearize_jaxpr(_checkpointed(jaxpr, policy), active)
    saving = Saving(policy)
    forward = saving.flat(parts.forward)
    n = len(jaxpr.outvars)
    saved, again, first = saving.split(forward, forward.outvars[n:])
    known, _ = dce(Jaxpr([], forward.invars, first, [*forward.outvars[:n], *saved]))
    k = len(parts.forwarded)
    own = parts.linear.invars
    env = dict(zip(own, [*(forward.invars[i] for i in parts.forwarded), *forward.outvars[n:]], strict=False))
    eqns = [eqn.replace(invars=[_rename(v, env) for v in eqn.invars]) for eqn in parts.linear.eqns]
    whole = Jaxpr(
        [],
        [*forward.invars, *saved, *own[k + parts.residuals :]],
        [*again, *eqns],
        [_rename(v, env) for v in parts.linear.outvars],
    )
    # the first run has used the keys
    linear, used = dce(without_key_uses(whole), keep_inputs=False)
    return Halves(known, linear, used, parts.present)


def _checkpointed(jaxpr: Jaxpr, policy: Policy | None) -> Jaxpr:
    """The function with the equations that have rules for `checkpoint` replaced, here and in held jaxprs."""

    def replaced(eqn: Equation) -> Equation:
        primitive = eqn.primitive
        if type(primitive) is not HigherOrder or primitive is checkpoint_p:
            return eqn  # a checkpoint inside asks with its own policy
        if primitive.checkpointed is not None:
            return primitive.checkpointed(eqn, policy)
        held = [h.jaxpr for h in eqn.held]
        changed = [_checkpointed(h, policy) for h in held]
        if all(a is b for a, b in zip(held, changed, strict=True)):
            return eqn
        return eqn.replace(params=primitive.rebuilt(eqn.params, changed))

    def make():
        eqns = list(map(replaced, jaxpr.eqns))
        if all(a is b for a, b in zip(eqns, jaxpr.eqns, strict=True)):
            return None  # not the jaxpr itself, which would keep itself alive
        return Jaxpr(jaxpr.constvars, jaxpr.invars, eqns, jaxpr.outvars)

    return jaxpr.derive(("checkpointed", policy), make) or jaxpr


def _rename(atom: AnyValue, env: dict) -> Any:
    return env.get(atom, atom) if type(atom) is Var else atom


def _flat(jaxpr: Jaxpr) -> Jaxpr:
    """The same function with calls of traced functions inlined, those that were made of rules for `checkpoint` too."""
    eqns: list[Equation] = []

    def expand(inner: Jaxpr, env: dict) -> list[Any]:
        for eqn in inner.eqns:
            invars = [_rename(v, env) for v in eqn.invars]
            called = eqn.primitive in (jit_p, remat_rem_p) or (
                eqn.primitive is checkpoint_p and not eqn.params["differentiated"]
            )
            if called:
                body = eqn.params["jaxpr"]
                outs = expand(body, dict(zip(body.invars, invars, strict=True)))
            else:
                outs = [Var(v.aval) for v in eqn.outvars]
                eqns.append(eqn.replace(invars=invars, outvars=outs))
            env.update(zip(eqn.outvars, outs, strict=True))
        return [_rename(v, env) for v in inner.outvars]

    outvars = expand(jaxpr, {})
    return Jaxpr([], jaxpr.invars, eqns, outvars)


class Part(NamedTuple):
    """The recomputation of wanted values of a function from its inputs and the `saved` values, by equations `again`.

    `first` holds the equations of the function itself, extended to return the saved values.
    """

    saved: list[Var]
    again: list[Equation]
    first: list[Equation]


class Saving:
    """The values that a policy saves of a function. Rules `save` of loops and branches query it for inner functions.

    Results are cached: a loop queries several times, and each time so would the loops inside.
    """

    def __init__(self, policy: Policy | None):
        self.policy = policy
        # keyed by identity; the key objects are kept alive in the values
        self._flat: dict[int, tuple[Jaxpr, Jaxpr]] = {}
        self._kept: dict[int, tuple[Jaxpr, set[Var]]] = {}
        self._saves: dict[tuple, tuple[Equation, tuple | None]] = {}

    def allows(self, eqn: Equation) -> bool:
        """Return whether the policy allows to save the results of an equation."""
        return allows(self.policy, eqn)

    def asks(self, eqn: Equation) -> bool:
        """Return whether an equation decides itself, by its rule `save`, what is saved of it."""
        return _has_save_rule(eqn.primitive) and (self.policy is not None or _rematerializes(eqn))

    def flat(self, jaxpr: Jaxpr) -> Jaxpr:
        """The function as the policy sees it: with calls inlined, since a policy is asked about operations."""
        if self.policy is None and not any(map(_rematerializes, jaxpr.eqns)):
            return jaxpr
        if id(jaxpr) not in self._flat:
            self._flat[id(jaxpr)] = jaxpr, _flat(jaxpr)
        return self._flat[id(jaxpr)][1]

    def kept(self, jaxpr: Jaxpr) -> set[Var]:
        """The values of a flat function that may be saved."""
        if id(jaxpr) not in self._kept:
            self._kept[id(jaxpr)] = (
                jaxpr,
                {
                    v
                    for eqn in map(_without_pure_effects, jaxpr.eqns)
                    if eqn
                    for v in self._savable(eqn)
                    if type(v) is Var
                },
            )
        return self._kept[id(jaxpr)][1]

    def _savable(self, eqn: Equation) -> Sequence[Any]:
        """The values that may be saved at an equation."""
        primitive = eqn.primitive
        if eqn.effectful:
            split = primitive.traits.rematerialized
            return () if split is not None and split(self.policy, **eqn.params) else eqn.outvars
        if primitive is constant_p or _has_save_rule(primitive) or not self.allows(eqn):
            return ()
        # a named value is a copy: save the value that was named
        return eqn.invars if primitive is name_p else eqn.outvars

    def _save(self, eqn: Equation, missing: list[bool]) -> tuple[Equation, Sequence[Var], Equation | None] | None:
        key = (id(eqn), *missing)
        if key not in self._saves:
            self._saves[key] = eqn, eqn.primitive.rule("save")(eqn, missing, self)
        return self._saves[key][1]

    def split(self, jaxpr: Jaxpr, wanted: Sequence[Any], lost: Sequence[Var] = ()) -> Part:
        """Choose the values to save of a flat function for the `wanted` ones. `lost` inputs are unavailable later."""
        keep = self.kept(jaxpr) - (set(jaxpr.invars) - set(lost))
        live = {v for v in wanted if type(v) is Var}
        saved: list[Var] = []
        again: list[Equation] = []
        first: list[Equation] = []
        for eqn in reversed(jaxpr.eqns):
            repeated = _without_pure_effects(eqn)
            if repeated is not None:
                saved += [v for v in eqn.outvars if v in live and v in keep]
                missing = [v in live and v not in keep for v in eqn.outvars]
                if not any(missing):
                    repeated = None
                elif self.asks(eqn) and (answer := self._save(eqn, missing)) is not None:
                    eqn, more, repeated = answer
                    saved += more
            if repeated is not None:
                again.append(repeated.replace(outvars=[Var(v.aval) if v in keep else v for v in repeated.outvars]))
                live.update(v for v in repeated.invars if type(v) is Var)
            first.append(eqn)
        saved += [v for v in jaxpr.invars if v in live and v in keep]
        return Part(list(dict.fromkeys(saved[::-1])), again[::-1], first[::-1])


def _without_pure_effects(eqn: Equation) -> Equation | None:
    """The equation without side effects that return nothing, in held jaxprs too; None if nothing is left."""
    if not eqn.effectful:
        return eqn
    if _is_pure_effect(eqn):
        return None
    held = [h.jaxpr for h in eqn.held]
    without_effects = [without(jaxpr, "mute", _is_pure_effect) for jaxpr in held]
    if all(a is b for a, b in zip(held, without_effects, strict=True)):
        return eqn
    return eqn.replace(params=eqn.primitive.rebuilt(eqn.params, without_effects))


def _is_pure_effect(eqn: Equation) -> bool:
    return eqn.primitive.traits.effectful and not eqn.outvars


def _rematerializes(eqn: Equation) -> bool:
    """Return whether an equation is saved by a rule of its own without a policy too, or runs one that is."""

    def find(inner: Equation) -> Sequence[bool]:
        return [] if inner.primitive.traits.rematerialized is None else [True]

    return bool(find(eqn)) or any(gathered(held.jaxpr, "rematerialized", find) for held in eqn.held)


def _has_save_rule(primitive: Primitive) -> bool:
    """Return whether a policy is asked about the functions in a primitive, rather than about the primitive."""
    return type(primitive) is HigherOrder and primitive.save is not None


def _linearize(trace, primals, tangents, jaxpr, prevent_cse, policy, differentiated):
    active = active_of(tangents)
    halves = halves_of(jaxpr, active, policy)
    results = bind_checkpoint(halves.known, primals, prevent_cse, policy, differentiated)
    n = len(jaxpr.outvars)
    outs, saved = results[:n], results[n:]
    zeros = [zero_of(out.aval) for out in outs]
    if not any(halves.present):
        return outs, zeros
    given = [*primals, *saved, *(t for t in tangents if type(t) is not Zero)]
    touts = bind_checkpoint(halves.linear, chosen(given, halves.used), prevent_cse, policy, True)
    return outs, filled(halves.present, touts, zeros)


def _accumulate(cts, *operands, accums, jaxpr, **params):
    params["differentiated"] = True
    transposed_call(applying(checkpoint_p), cts, operands, accums, jaxpr, params, narrow=True)


def _harvest(trace, args, params):
    # the values of recomputed taps have been recorded already
    kinds = tuple(k for k in trace.kinds if k not in (VALUE, CHECK)) if params["differentiated"] else trace.kinds
    return harvest_bodies(trace, checkpoint_p, args, params, kinds)


checkpoint_p.evaluate = lambda *args, jaxpr, **_: eval_jaxpr(jaxpr, [], *args)
checkpoint_p.abstract_eval = _type
checkpoint_p.lower = _lower
give_call_rules(checkpoint_p)
checkpoint_p.linearize = _linearize
set_accumulate(checkpoint_p, _accumulate)
checkpoint_p.harvest = _harvest

__all__ = ["Halves", "Policy", "bind_checkpoint", "checkpoint_p", "halves_of", "name_p"]
