"""Values inside of `shard_map` that are the same on all devices along an axis, or differ: the steps between the two.

A value that is the same everywhere is one value, of which each device has a copy. Used with values that differ, a copy
becomes a value of each device (`pvary`), and the cotangents of the copies are summed. A sum over devices is the
opposite step (`psum_invariant`): its result is one value, whose cotangent each device gets.
"""

from __future__ import annotations

from typing import Any

from pullback._core.array import lift
from pullback._core.primitive import Collective, Primitive
from pullback._core.trace import lookup_axis_size
from pullback._core.tree_paths import tree_map
from pullback._core.typing import AxisName, PyTree
from pullback._ops.collectives import identity_along, psum_p, pvary_p
from pullback._ops.rules import keeps_type, linear_jvp
from pullback._xla.manual import all_reduce

# one value as an operand of a function with rules of its own, whose cotangent the rule may have summed or not
ruled_operand_p: Primitive = identity_along("ruled_operand")
# the cotangent of such an operand: summed over the axes along which it differs
total_p: Primitive = identity_along("total")

# a result of such a function that is one value, though operands differ
ruled_result_p: Primitive = identity_along("ruled_result")

psum_invariant_p: Collective = Collective("psum_invariant", varies=False)
keeps_type(psum_invariant_p)
psum_invariant_p.evaluate = psum_p.evaluate
psum_invariant_p.collective = psum_p.collective
psum_invariant_p.batch = lambda trace, operands, dims, axis_name: (
    psum_invariant_p.bind(*operands, axis_name=axis_name),
    dims[0],
)
psum_invariant_p.lower = lambda ctx, x, axis_name: all_reduce(ctx, x, axis_name, "stablehlo.add")
linear_jvp(psum_invariant_p)
psum_invariant_p.transpose = lambda ct, x, axis_name: [pvary_p.bind(ct, axes=(axis_name,))]


def _summed(ct: Any, axes: tuple[Any, ...]) -> Any:
    for name in axes:
        ct = psum_invariant_p.bind(ct, axis_name=name)
    return ct


pvary_p.transpose = lambda ct, x, axes: [_summed(ct, axes)]
ruled_operand_p.transpose = lambda ct, x, axes: [total_p.bind(ct, axes=axes)]
ruled_result_p.transpose = lambda ct, x, axes: [ruled_result_p.bind(ct, axes=axes)]
total_p.transpose = lambda ct, x, axes: [ruled_operand_p.bind(ct, axes=axes)]


def pvary(x: PyTree, axis_name: AxisName) -> Any:
    """`x`, which is the same on all devices along the axes, as a value of each device, inside of `shard_map`.

    It is rarely needed: operations do it to their operands. The cotangents of all devices are summed. NameError for
    unknown names.

    >>> import pullback as pb
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: x + lax.pvary(1., "i"), axis_name="i")(pb.numpy.ones(2)))
    [2. 2.]
    """
    names = tuple(axis_name) if isinstance(axis_name, (tuple, list)) else (axis_name,)
    for name in names:
        lookup_axis_size(name, "pvary")
    return tree_map(lambda leaf: pvary_p.bind(lift(leaf), axes=names), x)


def pcast(x: PyTree, axis_name: AxisName, *, to: str) -> Any:
    """`x` as a value of another kind along the axes: `to="varying"` is `pvary`.

    ValueError for other kinds: to "reduced" and "unreduced" values nothing in the types leads here.

    >>> import pullback as pb
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: x + lax.pcast(1., "i", to="varying"), axis_name="i")(pb.numpy.ones(2)))
    [2. 2.]
    """
    if to != "varying":
        raise ValueError(f"pcast: to: expected 'varying', got {to!r}")
    return pvary(x, axis_name)
