"""`optimization_barrier`: what the compiler must not move operations across."""

from __future__ import annotations

from typing import Any

from pullback._core.array import lift
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.typing import PyTree
from pullback._core.zeros import Zero

optimization_barrier_p: Primitive = Primitive("optimization_barrier", multiple_results=True)


def optimization_barrier(operand: PyTree, /) -> Any:
    """The operand, a pytree of arrays, all of which is computed before anything that uses the result.

    The compiler does not merge or fuse what is before with what is behind it; eagerly nothing happens. Derivatives pass
    a barrier of their own. TypeError for leaves that are no arrays.

    >>> from pullback import lax
    >>> print(lax.optimization_barrier(2.0))
    2.0
    """
    leaves, structure = tree_flatten(operand)
    return tree_unflatten(structure, optimization_barrier_p.bind(*map(lift, leaves)) if leaves else [])


def _passed(values):
    """The values behind a barrier, symbolic zeros and None as they are."""
    given = [v for v in values if v is not None and type(v) is not Zero]
    behind = iter(optimization_barrier_p.bind(*given) if given else [])
    return [v if v is None or type(v) is Zero else next(behind) for v in values]


def _transpose(cts, *operands):
    return _passed([ct if is_linear(x) else None for ct, x in zip(cts, operands, strict=True)])


optimization_barrier_p.abstract_eval = lambda *avals: list(avals)
optimization_barrier_p.kernel = lambda *values: list(values)
optimization_barrier_p.lower = lambda ctx, *operands: ctx.op(
    "stablehlo.optimization_barrier", list(operands), list(ctx.out_avals)
)
optimization_barrier_p.jvp = lambda primals, tangents: (optimization_barrier_p.bind(*primals), _passed(tangents))
optimization_barrier_p.transpose = _transpose
optimization_barrier_p.batch = lambda trace, operands, dims: (optimization_barrier_p.bind(*operands), dims)
optimization_barrier_p.has(additive=..., vanishing=lambda zeros: zeros)
