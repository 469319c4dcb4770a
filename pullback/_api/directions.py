"""Values of types of one's own in the checks of rules, which know arrays alone: by their tangents.

A value has no differences: nothing says what the sum of it and a tangent is. What the rules say of it can be checked:
linearity, both modes against each other, `vmap` and `jit`. An argument that is such a value becomes an array of its
tangents, zero, by which it is displaced: the value stays what it is, and the derivative is that of the value. A result
becomes an array of zeros with its derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pullback._core.hitypes import HiType
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray, is_differentiable
from pullback._core.zeros import Zero, zero_of
from pullback._ops.elementwise import add
from pullback._ops.shape import zeros_like_aval

displace_p = Primitive("displace")
direction_p = Primitive("direction")


def is_by_tangents(aval: Any) -> bool:
    """Return whether values of a type can be replaced by their tangents: these are arrays with derivatives."""
    if not isinstance(aval, HiType) or not is_differentiable(aval):
        return False
    return type(aval.to_tangent_aval()) is ShapedArray


def displaced(x: Any, t: Any) -> Any:
    """The value, with the derivative of a sum of it and an array of tangents."""
    return displace_p.bind(x, t)


def direction(x: Any) -> Any:
    """An array of zeros with the derivative of the value."""
    return direction_p.bind(x)


def _displace_jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    given = [t for t in tangents if type(t) is not Zero]
    out = displace_p.bind(*primals)
    return out, zero_of(out.aval) if not given else given[0] if len(given) == 1 else add(*given)


def _batch(primitive: Primitive) -> Any:
    def batch(trace: Any, operands: Sequence[Any], dims: Sequence[Any]) -> tuple[Any, int]:
        return primitive.bind(*[trace.materialize(x, d) for x, d in zip(operands, dims, strict=True)]), 0

    return batch


for _p in (displace_p, direction_p):
    _p.has(own_types=True)
    _p.batch = _batch(_p)
displace_p.abstract_eval = lambda x, t: x
displace_p.evaluate = lambda x, t: x
displace_p.jvp = _displace_jvp
direction_p.abstract_eval = lambda x: x.to_tangent_aval()
direction_p.evaluate = lambda x: zeros_like_aval(x.aval.to_tangent_aval())
direction_p.jvp = lambda primals, tangents: (direction_p.bind(*primals), tangents[0])
