"""Helpers for the `batch` rules of primitive classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.array import lift
from pullback._core.errors import boundary
from pullback._core.flat_function import WithAux
from pullback._core.lists import chosen, filled
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import broadcast_prefix
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, PyTree, PyTreePrefix
from pullback._core.zeros import Zero
from pullback._higher_order.custom.class_call import AxisData
from pullback._ops.shape import move_axis
from pullback._transforms.vmap import batch_flat, repeated, with_leading


def _is_none(x: AnyValue) -> bool:
    return x is None


def _with_dims(function: str, tree: PyTree, dims: PyTreePrefix) -> tuple[list[Any], list[int | None], Any]:
    leaves, treedef = tree_flatten(tree)
    try:
        return leaves, broadcast_prefix(dims, tree, _is_none), treedef
    except ValueError as error:
        raise ValueError(f"{function}: the axes do not match the structure of the arguments: {error}") from None


@boundary
def bdims_at_front(axis_data: AxisData, args: PyTree, dims: PyTreePrefix) -> Any:
    """The arguments of a batch rule with the batch axis in front, repeated along it where they have none.

    Raises: ValueError if `dims` does not have the structure of `args`.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental.hijax import AxisData, bdims_at_front
    >>> x, y = bdims_at_front(AxisData(None, 3), (pnp.ones((2, 3)), 1.), (1, None))
    >>> x.shape, y.shape
    ((3, 2), (3,))
    """
    leaves, axes, tree = _with_dims("bdims_at_front", args, dims)
    in_front = [
        repeated(lift(x), axis_data.size) if d is None else _to_front(lift(x), d)
        for x, d in zip(leaves, axes, strict=True)
    ]
    return tree_unflatten(tree, in_front)


def _to_front(x: Any, dim: Any) -> Any:
    """`x` with its batch axis in front, where a value of a type of one's own has it."""
    return x if type(x.aval) is not ShapedArray else move_axis(x, dim if dim >= 0 else dim + x.aval.ndim, 0)


@boundary
def unmap_avals(axis_data: AxisData, avals: PyTree, dims: PyTreePrefix) -> Any:
    """The types with the batch axis at `dims`, from the types of one example.

    Raises: ValueError if `dims` does not have the structure of `avals`.

    >>> import pullback as pb
    >>> from pullback.experimental.hijax import AxisData, unmap_avals
    >>> unmap_avals(AxisData(None, 3), (pb.typeof(1.), pb.typeof(1)), (0, None))
    (ShapedArray(float32[3]), ShapedArray(int32[]))
    """
    leaves, axes, tree = _with_dims("unmap_avals", avals, dims)
    return tree_unflatten(tree, [_unmapped(axis_data.size, aval, d) for aval, d in zip(leaves, axes, strict=True)])


def _unmapped(size: int, aval: Any, dim: int | None) -> Any:
    if dim is None:
        return aval.strip_weak_type()
    if type(aval) is not ShapedArray:
        return with_leading(aval, size)
    shape = aval.shape
    at = dim if dim >= 0 else dim + len(shape) + 1
    return aval.update(shape=(*shape[:at], size, *shape[at:]), weak_type=False)


@boundary
def vmap_rule(
    axis_data: AxisData, f: Callable[..., Any], in_axes: PyTreePrefix, out_axes: PyTreePrefix = 0
) -> Callable[..., Any]:
    """`vmap` of a function over the axis of a batch rule, in whose arguments and results symbolic zeros may stand.

    A zero in an argument has the type of the whole batch; the function gets one of the type of an example.

    Raises: ValueError if the axes do not match arguments or results, or the axis of a result that has one is None.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback.experimental.hijax import AxisData, Zero, vmap_rule
    >>> def f(x, t):
    ...     return x, t
    >>> vmap_rule(AxisData(None, 3), f, 0)(pnp.zeros(3), Zero(pb.typeof(pnp.zeros(3))))[1]
    SymbolicZero(f32[3])
    """

    @boundary
    def mapped(*args: PyTree) -> Any:
        leaves, axes, tree = _with_dims(
            "vmap_rule", tuple(args), tuple(in_axes) if isinstance(in_axes, list) else in_axes
        )
        present = [type(x) is not Zero for x in leaves]
        inner = [
            None if p else Zero(x.aval if d is None else _example(x.aval, d))
            for x, d, p in zip(leaves, axes, present, strict=True)
        ]

        @WithAux
        def of_arrays(*arrays):
            outs, out_tree = tree_flatten(f(*tree_unflatten(tree, filled(present, arrays, inner))))
            return [out for out in outs if type(out) is not Zero], (out_tree, outs)

        arrays = [lift(x) for x in chosen(leaves, present)]
        places = [
            d if d is None or d >= 0 else d + x.aval.ndim for x, d in zip(arrays, chosen(axes, present), strict=True)
        ]
        values, dims, trace = batch_flat(of_arrays, arrays, places, axis_data.size, axis_data.name)
        out_tree, outs = of_arrays.aux
        wanted = broadcast_prefix(out_axes, tree_unflatten(out_tree, [0] * len(outs)), _is_none)
        found = iter(zip(values, dims, strict=True))
        results: list[Any] = []
        for out, d in zip(outs, wanted, strict=True):
            if type(out) is Zero:
                results.append(Zero(_unmapped(axis_data.size, out.aval, d)))
                continue
            value, dim = next(found)
            if d is None and dim is not None:
                raise ValueError("vmap_rule: out_axes is None for a result that differs among the examples")
            rank = value.aval.ndim + (dim is None)
            results.append(value if d is None else trace.materialize(value, dim, d if d >= 0 else d + rank))
        return tree_unflatten(out_tree, results)

    return mapped


def _example(aval: Any, dim: int) -> Any:
    at = dim if dim >= 0 else dim + len(aval.shape)
    return aval.update(shape=aval.shape[:at] + aval.shape[at + 1 :])


__all__: Sequence[str] = ["bdims_at_front", "unmap_avals", "vmap_rule"]
