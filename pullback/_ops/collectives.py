"""Operations along the named axis of an enclosing `vmap`: reductions, indices and gathers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, lift
from pullback._core.primitive import Collective, Primitive
from pullback._core.trace import context, lookup_axis_size
from pullback._core.tree_paths import tree_map
from pullback._core.types import make_aval
from pullback._core.typing import AxisName, PyTree
from pullback._ops.assemble import concatenate, iota
from pullback._ops.dynamic_slicing import dynamic_index_in_dim
from pullback._ops.elementwise import add, div, mul, scalar
from pullback._ops.reduce import reduce_max, reduce_min
from pullback._ops.rules import keeps_type, linear_jvp, zero_jvp
from pullback._ops.shape import (
    canonical_axes,
    convert_element_type,
    expand_dims,
    move_axis,
    reduce_sum,
    reshape,
)
from pullback._ops.slicing import slice_in_dim
from pullback._xla.manual import all_reduce, channel, groups_attribute, manual_of
from pullback._xla.manual import axis_index as index_along


def _names(function: str, axis_name: AxisName) -> tuple:
    names = tuple(axis_name) if isinstance(axis_name, (tuple, list)) else (axis_name,)
    for name in names:
        lookup_axis_size(name, function)
    return names


def refuse_unmapped(p: Primitive) -> None:
    def evaluate(*args, axis_name, **_):
        lookup_axis_size(axis_name, p.name)
        raise NameError(f"{p.name}: the axis {axis_name!r} belongs to a vmap that has ended")

    p.evaluate = evaluate


def _reducer(name: str, reduce: Callable, shared: Callable, operation: str) -> Collective:
    """A reduction over the named axis. `shared(x, size)` is the result for an unbatched value."""
    p = Collective(name, varies=False)
    keeps_type(p)
    refuse_unmapped(p)

    def collective(trace, operands, dims, axis_name):
        (x,), (d,) = operands, dims
        return (shared(x, trace.size) if d is None else reduce(x, (d,))), None

    p.collective = collective
    p.batch = lambda trace, operands, dims, axis_name: (p.bind(*operands, axis_name=axis_name), dims[0])
    p.lower = lambda ctx, x, axis_name: all_reduce(ctx, x, axis_name, operation)
    return p


psum_p: Collective = _reducer("psum", reduce_sum, lambda x, size: mul(x, scalar(x, size)), "stablehlo.add")
linear_jvp(psum_p)
psum_p.transpose = lambda ct, x, axis_name: [psum_p.bind(ct, axis_name=axis_name)]
pmax_p: Collective = _reducer("pmax", reduce_max, lambda x, size: x, "stablehlo.maximum")
pmin_p: Collective = _reducer("pmin", reduce_min, lambda x, size: x, "stablehlo.minimum")


def _reduced_over(
    p: Primitive, reduce: Callable, x: PyTree, axis_name: AxisName, groups: Sequence[Sequence[int]] | None
) -> Any:
    names = _names(p.name, axis_name)
    parts = groups_of(p.name, axis_name, groups)

    def whole(leaf):
        leaf = lift(leaf)
        if leaf.aval.dtype == np.bool_ and p is psum_p:
            leaf = convert_element_type(leaf, np.int32)
        if parts is not None:
            return _of_own_group(leaf, axis_name, parts, lambda rows: reduce(rows, (0,)))
        for name in names:
            leaf = p.bind(leaf, axis_name=name)
        return leaf

    return tree_map(whole, x)


# --- groups: a partition of the indices along one axis, each group processed separately ---


def groups_of(
    function: str, axis_name: AxisName, groups: Sequence[Sequence[int]] | None, equal: bool = False
) -> list[list[int]] | None:
    """The groups given by the user, after a check that every index is in exactly one of them (and of equal lengths)."""
    if groups is None:
        return None
    if isinstance(axis_name, (tuple, list)) and len(axis_name) != 1:
        raise ValueError(f"{function}: axis_index_groups are of one axis, got the names {tuple(axis_name)}")
    size = int(np.prod([lookup_axis_size(name, function) for name in _names(function, axis_name)]))
    try:
        parts = [[operator.index(i) for i in group] for group in groups]
    except TypeError:
        raise TypeError(f"{function}: axis_index_groups must be a list of lists of positions, got {groups!r}") from None
    if sorted(i for group in parts for i in group) != list(range(size)) or not all(parts):
        raise ValueError(
            f"{function}: axis_index_groups must hold each position of the axis {axis_name!r}, from 0 to "
            f"{size - 1}, once, got {groups!r}"
        )
    if equal and len(set(map(len, parts))) > 1:
        raise ValueError(f"{function}: axis_index_groups must have one length, got {groups!r}")
    return parts


def _of_own_group(x: Array, axis_name: AxisName, groups: list[list[int]], compute: Callable[[Array], Array]) -> Array:
    """The result of `compute` on the rows of the group of the current index."""
    name = axis_name[0] if isinstance(axis_name, (tuple, list)) else axis_name
    rows = all_gather(x, name)
    results = [
        expand_dims(compute(concatenate([slice_in_dim(rows, i, i + 1) for i in group], 0)), (0,)) for group in groups
    ]
    group_of = np.empty(rows.shape[0], np.int32)
    for k, group in enumerate(groups):
        group_of[group] = k
    own = dynamic_index_in_dim(group_of, axis_index(name), 0, False)
    return dynamic_index_in_dim(concatenate(results, 0), own, 0, False)


# --- a step inside of `shard_map`, see `variance.py` ---


def identity_along(name: str) -> Primitive:
    """An operation that changes nothing, along `axes`, but how its cotangent is combined."""
    p = Primitive(name)
    keeps_type(p)
    p.kernel = lambda x, axes: x
    p.lower = lambda ctx, x, axes: x
    p.batch = lambda trace, operands, dims, axes: (p.bind(*operands, axes=axes), dims[0])
    linear_jvp(p)
    return p


# one value, seen as a value of each device
pvary_p: Primitive = identity_along("pvary")


def psum(x: PyTree, axis_name: AxisName, *, axis_index_groups: Sequence[Sequence[int]] | None = None) -> Any:
    """The sum over a named axis (or several) of every leaf of `x`; of bools as int32.

    `axis_index_groups`: lists of indices along the axis, each index in exactly one of them; each index then gets the
    sum over its group. NameError if no enclosing `vmap` has an axis of that name, ValueError for groups that are not a
    partition.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: x / lax.psum(x, "i"), axis_name="i")(pnp.array([1., 3.]))
    Array([0.25, 0.75], dtype=float32)
    """
    return _reduced_over(psum_p, reduce_sum, x, axis_name, axis_index_groups)


def pmean(x: PyTree, axis_name: AxisName, *, axis_index_groups: Sequence[Sequence[int]] | None = None) -> Any:
    """The mean over a named axis (or several) of every leaf of `x`; of integers and bools in floating point.

    `axis_index_groups` as in `psum`. NameError if no enclosing `vmap` has an axis of that name.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: x - lax.pmean(x, "i"), axis_name="i")(pnp.array([1., 3.])))
    [-1.  1.]
    """
    size = int(np.prod([lookup_axis_size(name, "pmean") for name in _names("pmean", axis_name)]))
    parts = groups_of("pmean", axis_name, axis_index_groups)

    def mean(rows):
        return div(reduce_sum(rows, (0,)), scalar(rows, rows.shape[0]))

    def over(leaf):
        leaf = lift(leaf)
        leaf = convert_element_type(leaf, *dtypes.to_inexact(leaf.aval.dtype, leaf.aval.weak_type))
        if parts is not None:
            return _of_own_group(leaf, axis_name, parts, mean)
        if context.parts is not None:  # a mean counts a value that is the same everywhere as that of each device
            leaf = pvary_p.bind(leaf, axes=_names("pmean", axis_name))
        total = psum(leaf, axis_name)
        return div(total, scalar(total, size))

    return tree_map(over, x)


def pmax(x: PyTree, axis_name: AxisName, *, axis_index_groups: Sequence[Sequence[int]] | None = None) -> Any:
    """The maximum over a named axis (or several) of every leaf of `x`, of real dtypes.

    `axis_index_groups` as in `psum`. It can be differentiated around the `vmap` that names the axis, not inside it.
    NameError for unknown names.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: lax.pmax(x, "i"), axis_name="i")(pnp.array([1., 3.])))
    [3. 3.]
    """
    return _reduced_over(pmax_p, reduce_max, x, axis_name, axis_index_groups)


def pmin(x: PyTree, axis_name: AxisName, *, axis_index_groups: Sequence[Sequence[int]] | None = None) -> Any:
    """The minimum over a named axis (or several) of every leaf of `x`, of real dtypes.

    `axis_index_groups` as in `psum`. It can be differentiated around the `vmap` that names the axis, not inside it.
    NameError for unknown names.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: lax.pmin(x, "i"), axis_name="i")(pnp.array([1., 3.])))
    [1. 1.]
    """
    return _reduced_over(pmin_p, reduce_min, x, axis_name, axis_index_groups)


# --- indices ---

axis_index_p: Collective = Collective("axis_index")
axis_index_p.abstract_eval = lambda axis_name: make_aval((), np.dtype(np.int32))
axis_index_p.collective = lambda trace, operands, dims, axis_name: (iota(np.dtype(np.int32), trace.size), 0)
axis_index_p.lower = lambda ctx, axis_name: index_along(ctx, axis_name)
zero_jvp(axis_index_p)
refuse_unmapped(axis_index_p)


def axis_index(axis_name: AxisName) -> Array:
    """The index along a named axis, an int32 scalar; for several axes, the row-major index on their grid.

    NameError for unknown names.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> pb.vmap(lambda x: x + lax.axis_index("i"), axis_name="i")(pnp.zeros(3))
    Array([0., 1., 2.], dtype=float32)
    """
    index: Any = None
    for name in _names("axis_index", axis_name):
        here = axis_index_p.bind(axis_name=name)
        index = here if index is None else add(mul(index, lookup_axis_size(name, "axis_index")), here)
    return index


def axis_size(axis_name: AxisName) -> int:
    """The length of a named axis (the product for several), a Python integer. NameError for unknown names.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: x / lax.axis_size("i"), axis_name="i")(pnp.array([1., 3.])))
    [0.5 1.5]
    """
    return int(np.prod([lookup_axis_size(name, "axis_size") for name in _names("axis_size", axis_name)]))


# --- gathers ---

all_gather_p: Collective = Collective("all_gather")
refuse_unmapped(all_gather_p)


def _all_gather_type(x, axis_name, axis, size):
    return make_aval((*x.shape[:axis], size, *x.shape[axis:]), x.dtype, x.weak_type)


def _all_gather_collective(trace, operands, dims, axis_name, axis, size):
    return trace.materialize(operands[0], dims[0], axis), None


def _all_gather_batch(trace, operands, dims, axis_name, axis, size):
    (x,), (d,) = operands, dims
    out = all_gather_p.bind(move_axis(x, d, 0), axis_name=axis_name, axis=axis + 1, size=size)
    return out, 0


def _all_gather_lower(ctx, x, axis_name, axis, size):
    shape = x.aval.shape
    x = ctx.op("stablehlo.reshape", [x], make_aval((*shape[:axis], 1, *shape[axis:]), x.aval.dtype))
    manual = manual_of(ctx, axis_name)
    if manual is None:
        return x
    attributes = f"{groups_attribute(manual.groups((axis_name,)))}, {channel(ctx)}, use_global_device_ids"
    return ctx.op("stablehlo.all_gather", [x], ctx.out_avals[0], f"all_gather_dim = {axis} : i64, {attributes}")


all_gather_p.abstract_eval = _all_gather_type
all_gather_p.collective = _all_gather_collective
all_gather_p.batch = _all_gather_batch
all_gather_p.lower = _all_gather_lower
linear_jvp(all_gather_p)
all_gather_p.transpose = lambda ct, x, axis_name, axis, size: [
    psum_scatter_p.bind(ct, axis_name=axis_name, axis=axis, size=size)
]

# --- sums of which each index keeps a part ---

psum_scatter_p: Collective = Collective("psum_scatter")
refuse_unmapped(psum_scatter_p)


def _psum_scatter_collective(trace, operands, dims, axis_name, axis, size):
    (x,), (d,) = operands, dims
    total = mul(x, scalar(x, trace.size)) if d is None else reduce_sum(move_axis(x, d, 0), (0,))
    return move_axis(total, axis, 0), 0


def _psum_scatter_batch(trace, operands, dims, axis_name, axis, size):
    x = move_axis(operands[0], dims[0], 0)
    return psum_scatter_p.bind(x, axis_name=axis_name, axis=axis + 1, size=size), 0


def _psum_scatter_lower(ctx, x, axis_name, axis, size):
    manual = manual_of(ctx, axis_name)
    if manual is not None:
        scalar_type = make_aval((), x.aval.dtype)
        region = ctx.region([scalar_type, scalar_type], lambda block, args: [block.op("stablehlo.add", list(args))])
        shape = x.aval.shape
        part = make_aval((*shape[:axis], 1, *shape[axis + 1 :]), x.aval.dtype)
        attributes = f"{groups_attribute(manual.groups((axis_name,)))}, {channel(ctx)}, use_global_device_ids"
        attributes = f"scatter_dimension = {axis} : i64, {attributes}"
        x = ctx.op("stablehlo.reduce_scatter", [x], part, attributes, [region])
    return ctx.op("stablehlo.reshape", [x], ctx.out_avals[0])


psum_scatter_p.abstract_eval = lambda x, axis_name, axis, size: make_aval(
    (*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype, x.weak_type
)
psum_scatter_p.collective = _psum_scatter_collective
psum_scatter_p.batch = _psum_scatter_batch
psum_scatter_p.lower = _psum_scatter_lower
linear_jvp(psum_scatter_p)
psum_scatter_p.transpose = lambda ct, x, axis_name, axis, size: [
    all_gather_p.bind(ct, axis_name=axis_name, axis=axis, size=size)
]


def all_gather(
    x: PyTree,
    axis_name: AxisName,
    *,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
    axis: int = 0,
    tiled: bool = False,
    to: str = "varying",
) -> Any:
    """The values at all indices along a named axis, stacked along `axis`, for every leaf of `x`.

    Args:
      x: a pytree of arrays.
      axis_name: the name of the axis, or a tuple of names, whose indices count row by row.
      axis_index_groups: lists of indices, all of one length, each index in exactly one of them: an index gets the
        values of its group only.
      axis: the position of the new axis in the result, negative ones counting from its end.
      tiled: whether the values are concatenated along an existing `axis` instead of stacked along a new one.
      to: "varying"; NotImplementedError for JAX's other kinds, which types of arrays hold there.

    Raises: NameError for unknown names, ValueError for an axis out of bounds and for groups of different lengths.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: lax.all_gather(x, "i"), axis_name="i")(pnp.array([1., 3.])))
    [[1. 3.]
     [1. 3.]]
    """
    if to != "varying":
        raise NotImplementedError(f"all_gather: to must be 'varying': types hold no kinds of axes; got {to!r}")
    names = _names("all_gather", axis_name)
    sizes = [lookup_axis_size(name, "all_gather") for name in names]
    parts = groups_of("all_gather", axis_name, axis_index_groups, equal=True)

    def gather(leaf):
        leaf = lift(leaf)
        shape = leaf.aval.shape
        (place,) = canonical_axes("all_gather", (axis,), len(shape) + (not tiled))
        if parts is None:
            rows = leaf
            for name, size in zip(reversed(names), reversed(sizes), strict=True):
                rows = all_gather_p.bind(rows, axis_name=name, axis=place, size=size)
            if len(names) > 1:
                rows = reshape(rows, (*shape[:place], int(np.prod(sizes)), *shape[place:]))
        else:
            rows = _of_own_group(leaf, axis_name, parts, lambda rows: move_axis(rows, 0, place))
        if not tiled:
            return rows
        return reshape(rows, (*shape[:place], rows.aval.shape[place] * shape[place], *shape[place + 1 :]))

    return tree_map(gather, x)
