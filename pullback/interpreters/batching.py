"""Batching rules of primitives under JAX's names: tables, and functions that fill them."""

from __future__ import annotations

import typing as _typing
from collections.abc import Sequence
from typing import Any

from pullback._api.rule_tables import AxisData as AxisData
from pullback._api.rule_tables import axis_primitive_batchers, fancy_primitive_batchers, primitive_batchers
from pullback._core.array import Array
from pullback._core.lazy import attributes as _attributes
from pullback._core.primitive import Primitive
from pullback._core.typing import AxisName
from pullback._ops.shape import broadcast_in_dim, move_axis
from pullback._transforms.vmap import BatchTrace as BatchTrace
from pullback._transforms.vmap import BatchTracer as BatchTracer

__all__ = [
    "axis_primitive_batchers",
    "bdim_at_front",
    "broadcast",
    "defbroadcasting",
    "defreducer",
    "defvectorized",
    "fancy_primitive_batchers",
    "not_mapped",
    "primitive_batchers",
]

# the batch axis of an operand that all examples share
not_mapped: None = None


def broadcast(x: Array, sz: int, axis: int, mesh_axis: AxisName | None = None) -> Array:
    """The array with a new axis of length `sz` at `axis`, along which it is repeated. ValueError for a wrong axis.

    `mesh_axis` is ignored: types hold no shardings.

    >>> import pullback.numpy as pnp
    >>> broadcast(pnp.ones(2), 3, 0).shape
    (3, 2)
    """
    shape = list(x.shape)
    shape.insert(axis, sz)
    return broadcast_in_dim(x, tuple(shape), tuple(i for i in range(len(shape)) if i != axis))


def bdim_at_front(x: Array, bdim: int | None, size: int, mesh_axis: AxisName | None = None) -> Array:
    """The array with its batch axis first, a new one of length `size` if it has none. ValueError for a wrong axis.

    `mesh_axis` is ignored: types hold no shardings.

    >>> import pullback.numpy as pnp
    >>> bdim_at_front(pnp.ones((2, 3)), 1, 3).shape, bdim_at_front(pnp.ones(2), None, 3).shape
    ((3, 2), (3, 2))
    """
    return broadcast(x, size, 0) if bdim is None else move_axis(x, bdim, 0)


def _length(operands: Sequence[Any], dims: Sequence[Any]) -> int:
    return next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)


def defvectorized(prim: Primitive) -> None:
    """Set the batching rule of a primitive that treats every leading axis alike, as an elementwise one of one operand.

    TypeError for anything but a primitive.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> p = pb.extend.core.Primitive("double")
    >>> _ = p.def_impl(lambda x: x + x), p.def_abstract_eval(lambda x: x)
    >>> defvectorized(p)
    >>> print(pb.vmap(p.bind)(pnp.ones(2)))
    [2. 2.]
    """

    def rule(operands: Sequence[Any], dims: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        size = _length(operands, dims)
        first = next(d for d in dims if d is not None)
        if any(d != first for d in dims):
            operands, first = [bdim_at_front(x, d, size) for x, d in zip(operands, dims, strict=True)], 0
        out = prim.bind(*operands, **params)
        return out, [first] * len(out) if prim.multiple_results else first

    primitive_batchers[prim] = rule


def defbroadcasting(prim: Primitive) -> None:
    """Set the batching rule of an elementwise primitive, whose operands are brought to one rank.

    TypeError for anything but a primitive.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> p = pb.extend.core.Primitive("plus")
    >>> _ = p.def_impl(lambda x, y: x + y), p.def_abstract_eval(lambda x, y: x)
    >>> defbroadcasting(p)
    >>> print(pb.vmap(p.bind, (0, None))(pnp.ones(2), 1.))
    [2. 2.]
    """
    defvectorized(prim)


def defreducer(prim: Primitive, ident: Any = None) -> None:
    """Set the batching rule of a primitive that reduces one operand along its parameter `axes`.

    TypeError for anything but a primitive.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> p = pb.extend.core.Primitive("total")
    >>> _ = p.def_impl(lambda x, axes: x.sum(axes))
    >>> _ = p.def_abstract_eval(lambda x, axes: x.update(shape=x.shape[:-1]))
    >>> defreducer(p)
    >>> print(pb.vmap(lambda x: p.bind(x, axes=(0,)))(pnp.ones((2, 3))))
    [3. 3.]
    """

    def rule(operands: Sequence[Any], dims: Sequence[Any], *, axes: Sequence[int], **params: Any) -> tuple[Any, Any]:
        (x,), (d,) = operands, dims
        return prim.bind(move_axis(x, d, 0), axes=tuple(axis + 1 for axis in axes), **params), 0

    primitive_batchers[prim] = rule


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
