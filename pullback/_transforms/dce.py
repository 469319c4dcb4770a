"""Dead-code elimination in jaxprs, and in the primitives that hold them."""

from __future__ import annotations

from collections.abc import Sequence

from pullback._core.errors import kind_of
from pullback._core.jaxpr import Equation, HeldJaxpr, Jaxpr, Var
from pullback._core.lists import chosen, fixed_point
from pullback._core.primitive import HigherOrder
from pullback._transforms.harvest import kept_unread


def dce(jaxpr: Jaxpr, used: tuple[bool, ...] | None = None, keep_inputs: bool = True) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr that computes the `used` results (by default all).

    Returns it, and flags for the inputs it reads; unread inputs are dropped unless `keep_inputs`. Equations with side
    effects stay. Primitives that hold functions are reduced too.
    TypeError for an argument that is not a `Jaxpr` (of a `ClosedJaxpr` pass `.jaxpr`), ValueError for a wrong number of
    flags.

    >>> import pullback as pb
    >>> jaxpr = pb.make_jaxpr(lambda x, y: (x + 1, y * 2))(1., 1.).jaxpr
    >>> smaller, read = dce(jaxpr, (True, False))
    >>> [eqn.primitive for eqn in smaller.eqns], read
    ([add], (True, False))
    """
    if not isinstance(jaxpr, Jaxpr):
        raise TypeError(f"dce: expected a Jaxpr, got {kind_of(jaxpr)}; make_jaxpr(f)(*args).jaxpr is one")
    used = (True,) * len(jaxpr.outvars) if used is None else tuple(used)
    if len(used) != len(jaxpr.outvars):
        raise ValueError(f"dce: used must have an entry for each of the {len(jaxpr.outvars)} results, got {len(used)}")
    return jaxpr.derive(("dce", used, keep_inputs), lambda: _dce(jaxpr, used, keep_inputs))


def _dce(jaxpr: Jaxpr, used: tuple[bool, ...], keep_inputs: bool) -> tuple[Jaxpr, tuple[bool, ...]]:
    outvars = chosen(jaxpr.outvars, used)
    live = {v for v in outvars if type(v) is Var}
    eqns: list[Equation] = []
    for eqn in reversed(jaxpr.eqns):
        used_outs = [v in live for v in eqn.outvars]
        if not any(used_outs) and not eqn.effectful and not kept_unread(eqn):
            continue
        if not all(used_outs):
            eqn = narrowed(eqn, used_outs)
        eqns.append(eqn)
        live.update(v for v in eqn.invars if type(v) is Var)
    eqns.reverse()
    used_inputs = tuple(v in live for v in jaxpr.invars)
    invars = jaxpr.invars if keep_inputs else chosen(jaxpr.invars, used_inputs)
    constvars = jaxpr.constvars if keep_inputs else [v for v in jaxpr.constvars if v in live]
    return Jaxpr(constvars, invars, eqns, outvars), used_inputs


def narrowed(eqn: Equation, used: Sequence[bool]) -> Equation:
    """The equation reduced to the `used` results, and to the carried ones that a loop needs for them."""
    primitive = eqn.primitive
    if type(primitive) is not HigherOrder:
        return eqn
    if primitive.dce is not None:
        return primitive.dce(used, eqn)
    held = eqn.held
    if not any(h.returns for h in held) or any(h.operands is None for h in held):
        return eqn
    (carried,) = {tuple([h.operands[i] for i in h.carried]) for h in held if h.returns and h.operands is not None}
    k = len(carried)

    def results(carry: Sequence[bool]) -> tuple[bool, ...]:
        return (*carry, *used[k:])

    def read(carry: Sequence[bool]) -> set[int]:
        """The indices of the operands that the carried and used results need."""
        reads = [dce(h.jaxpr, results(carry) if h.returns else None)[1] for h in held]
        return {place for h, mask in zip(held, reads, strict=True) for place in chosen(h.operands or (), mask)}

    # the carry that the results need, and the carry that this needs in turn
    carry = fixed_point(lambda carry: [place in read(carry) for place in carried], used[:k])
    inner = {place for h in held for place in h.operands or ()}
    reads = read(carry) | (set(range(len(eqn.invars))) - inner)
    stays = dict(zip(carried, carry, strict=True))
    kept = [stays.get(place, place in reads) for place in range(len(eqn.invars))]
    jaxprs = [_narrowed_body(h, results(carry) if h.returns else None, kept) for h in held]
    return eqn.replace(
        invars=chosen(eqn.invars, kept),
        outvars=chosen(eqn.outvars, results(carry)),
        params=primitive.rebuilt(eqn.params, jaxprs, kept),
    )


def _narrowed_body(held: HeldJaxpr, used: tuple[bool, ...] | None, kept: Sequence[bool]) -> Jaxpr:
    jaxpr, mask = held.jaxpr, tuple([kept[place] for place in held.operands or ()])

    def make():
        smaller, _ = dce(jaxpr, used)
        return Jaxpr([], chosen(jaxpr.invars, mask), smaller.eqns, smaller.outvars)

    return jaxpr.derive(("narrowed", used, mask), make)


__all__ = ["dce", "narrowed"]
