"""What depends on what in a jaxpr: dead-code elimination, and the results that given inputs reach."""
from __future__ import annotations

from pullback._core.config import config
from pullback._core.errors import kind_of
from pullback._core.jaxpr import Equation, Jaxpr, Var
from pullback._transforms.harvest import logs


def dce(jaxpr: Jaxpr, used: tuple[bool, ...] | None = None, keep_inputs: bool = True
        ) -> tuple[Jaxpr, tuple[bool, ...]]:
    """The jaxpr that computes the `used` results (by default all).

    Returns it and which inputs it reads; inputs it does not read are dropped unless `keep_inputs`. Equations that act
    on the world stay. A primitive may narrow its own work by a rule `dce(used, eqn) -> equation`.
    TypeError for what is no `Jaxpr` (of a `ClosedJaxpr` pass `.jaxpr`), ValueError for another number of results.

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
    outvars = [v for v, u in zip(jaxpr.outvars, used, strict=True) if u]
    live = {v for v in outvars if type(v) is Var}
    eqns: list[Equation] = []
    for eqn in reversed(jaxpr.eqns):
        used_outs = [v in live for v in eqn.outvars]
        if not any(used_outs) and not eqn.effectful and not (config.collecting_taps and logs(eqn)):
            continue
        if eqn.primitive.dce is not None and not all(used_outs):
            eqn = eqn.primitive.dce(used_outs, eqn)
        eqns.append(eqn)
        live.update(v for v in eqn.invars if type(v) is Var)
    eqns.reverse()
    used_inputs = tuple(v in live for v in jaxpr.invars)
    invars = jaxpr.invars if keep_inputs else [v for v, u in zip(jaxpr.invars, used_inputs, strict=True) if u]
    constvars = jaxpr.constvars if keep_inputs else [v for v in jaxpr.constvars if v in live]
    return Jaxpr(constvars, invars, eqns, outvars), used_inputs


def depends_on(jaxpr: Jaxpr, marked: tuple[bool, ...]) -> tuple[bool, ...]:
    """Which results depend on the marked inputs."""

    def walk():
        live = {v for v, m in zip(jaxpr.invars, marked, strict=True) if m}
        for eqn in jaxpr.eqns:
            operands = tuple(type(v) is Var and v in live for v in eqn.invars)
            if any(operands):
                rule = eqn.primitive.depends
                outs = rule(operands, **eqn.params) if rule else (True,) * len(eqn.outvars)
                live.update(v for v, d in zip(eqn.outvars, outs, strict=True) if d)
        return tuple(type(v) is Var and v in live for v in jaxpr.outvars)

    return jaxpr.derive(("depends", marked), walk)
