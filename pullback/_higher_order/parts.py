"""Differentiation inside of `shard_map`, while its function is traced and nothing is known yet about what varies.

A function that is differentiated there is traced first, and each operand of its operations becomes "loose": its
cotangent is summed later, when `varying.py` knows, along the axes on which the cotangent varies and the operand does
not (`match`). The cotangent of a result varies as the result does (`vary_as`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pullback._core.dtypes import is_inexact
from pullback._core.jaxpr import Equation, Jaxpr, Var, eval_jaxpr
from pullback._core.primitive import Collective, Primitive
from pullback._core.staging import stage_open
from pullback._core.trace import Tracer, context
from pullback._core.tree import tree_flatten
from pullback._core.types import ShapedArray
from pullback._core.zeros import Zero, zero_of
from pullback._ops.collectives import identity_along, psum_p, pvary_p
from pullback._ops.rules import keeps_type
from pullback._ops.variance import psum_invariant_p

loose_p: Primitive = Primitive("loose")
ended_p: Primitive = Primitive("ended")
# a tangent or cotangent, and the value that it belongs to
loose_tangent_p: Primitive = Primitive("loose_tangent")
match_p: Primitive = Primitive("match")
vary_as_p: Primitive = Primitive("vary_as")


def _like_first(p: Primitive, transposed: Primitive) -> None:
    """The rules of an operation that returns its first operand, and reads of the second where it varies alone."""
    p.abstract_eval = lambda t, x: t
    p.kernel = lambda t, x: t
    p.lower = lambda ctx, t, x: t
    p.transpose = lambda ct, t, x: [transposed.bind(ct, x), None]

    def jvp(primals, tangents):
        t, x = primals
        dt = tangents[0]
        return p.bind(t, x), zero_of(t.aval) if type(dt) is Zero else p.bind(dt, x)

    def batch(trace, operands, dims):
        # the second operand's axes do not matter
        return p.bind(*operands), dims[0]

    p.jvp = jvp
    p.batch = batch


_like_first(loose_tangent_p, match_p)
_like_first(match_p, loose_tangent_p)
_like_first(vary_as_p, vary_as_p)


def _seen(p: Primitive, along: Primitive) -> None:
    keeps_type(p)
    p.kernel = lambda x: x
    p.lower = lambda ctx, x: x
    p.batch = lambda trace, operands, dims: (p.bind(*operands), dims[0])

    def jvp(primals, tangents):
        ((x,), (t,)) = primals, tangents
        return p.bind(x), zero_of(x.aval) if type(t) is Zero else along.bind(t, x)

    p.jvp = jvp


_seen(loose_p, loose_tangent_p)
_seen(ended_p, vary_as_p)

# `pvary` of a loose value, whose cotangents are summed elsewhere
as_varying_p: Primitive = identity_along("as_varying")
as_varying_p.transpose = lambda ct, x, axes: [ct]

STEPS = (loose_p, ended_p, loose_tangent_p, match_p, vary_as_p, as_varying_p)


class Parts:
    """The `shard_map` whose function is being traced: the axes along which it has parts."""

    def __init__(self, names: tuple[Any, ...]):
        self.names = names

    def prepared(self, flat: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
        """A flat function that is about to be differentiated, ready for that inside of `shard_map`."""
        return _prepared(flat, self.names)


@contextmanager
def parts_along(names: tuple[Any, ...]) -> Iterator[None]:
    """Let functions that are differentiated be prepared for values that vary along these axes."""
    outer = context.parts
    context.parts = Parts(names) if names else None
    try:
        yield
    finally:
        context.parts = outer


def _prepared(flat: Callable[..., Sequence[Any]], names: tuple[Any, ...]) -> Callable[..., Sequence[Any]]:
    def fun(*args):
        rest: list[Any] = []

        def traced(*xs):
            outs = flat(*xs)
            # an auxiliary result holds values of this trace too
            leaves, tree = tree_flatten(getattr(flat, "aux", None))
            rest[:] = [leaves, tree, [i for i, x in enumerate(leaves) if isinstance(x, Tracer)], len(outs)]
            return [*outs, *[leaves[i] for i in rest[2]]]

        jaxpr, consts = stage_open(traced, [x.aval for x in args], "a function that is differentiated in shard_map")
        results = eval_jaxpr(loosened(jaxpr, names), [], *consts, *args)
        leaves, tree, places, n = rest
        for i, x in zip(places, results[n:], strict=True):
            leaves[i] = x
        if places:
            flat.aux = tree.unflatten(leaves)  # type: ignore[attr-defined]
        return [ended_p.bind(x) if _is_float(x.aval) else x for x in results[:n]]

    return fun


def loosened(jaxpr: Jaxpr, names: tuple[Any, ...], results: bool = False) -> Jaxpr:
    """The jaxpr with loose operands, and results if asked, and sums along the axes that are one value."""
    return jaxpr.derive(("loosened", names, results), lambda: _loosened(jaxpr, names, results))


def _loosened(jaxpr: Jaxpr, names: tuple[Any, ...], results: bool) -> Jaxpr:
    eqns: list[Equation] = []

    def loose(atom):
        if type(atom) is not Var or not _is_float(atom.aval):
            return atom
        out = Var(atom.aval)
        eqns.append(Equation(loose_p, [atom], [out], {}))
        return out

    for eqn in jaxpr.eqns:
        primitive = eqn.primitive
        if primitive is psum_p and eqn.params[psum_p.axis_param] in names:
            eqns.append(eqn.replace(primitive=psum_invariant_p, invars=[*map(loose, eqn.invars)]))
            continue
        if primitive is pvary_p:
            eqns.append(eqn.replace(primitive=as_varying_p, invars=[*map(loose, eqn.invars)]))
            continue
        if primitive in STEPS or (len(eqn.invars) < 2 and not eqn.held) or type(primitive) is Collective:
            eqns.append(eqn)
            continue
        changes: dict[str, Any] = {}
        if eqn.held and not primitive.traits.ruled:
            bodies = [loosened(h.jaxpr, names, h.returns) for h in eqn.held]
            changes["params"] = primitive.rebuilt(eqn.params, bodies)
        eqns.append(eqn.replace(invars=[*map(loose, eqn.invars)], **changes))
    outvars = [loose(v) for v in jaxpr.outvars] if results else jaxpr.outvars
    return Jaxpr([], jaxpr.invars, eqns, outvars)


def _is_float(aval: Any) -> bool:
    return type(aval) is ShapedArray and is_inexact(aval.dtype)
