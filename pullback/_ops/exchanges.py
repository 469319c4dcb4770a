"""Exchanges along the named axis of an enclosing `vmap`: permutations, transpositions with a positional axis."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.array import lift
from pullback._core.primitive import Collective
from pullback._core.trace import lookup_axis_size
from pullback._core.tree_paths import tree_map
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue, AxisName, PyTree
from pullback._ops.assemble import concatenate
from pullback._ops.collectives import all_gather, axis_index, groups_of, psum, psum_scatter_p, refuse_unmapped
from pullback._ops.dynamic_slicing import dynamic_index_in_dim
from pullback._ops.rules import keeps_type, linear_jvp
from pullback._ops.shape import broadcast_in_dim, canonical_axes, move_axis, reshape, zeros_like_aval
from pullback._ops.slicing import index_in_dim, slice_in_dim
from pullback._xla.attributes import int_array, int_matrix
from pullback._xla.manual import channel, groups_attribute, manual_of

_INDEX = np.dtype(np.int32)

# --- permutations ---

ppermute_p: Collective = Collective("ppermute")
keeps_type(ppermute_p)
refuse_unmapped(ppermute_p)


def _permuted(trace, operands, dims, axis_name, perm):
    rows = trace.materialize(operands[0], dims[0])
    source = {target: sender for sender, target in perm}
    zero = zeros_like_aval(make_aval((1, *rows.aval.shape[1:]), rows.aval.dtype))
    parts = [slice_in_dim(rows, source[i], source[i] + 1) if i in source else zero for i in range(trace.size)]
    return concatenate(parts, 0), 0


def _lower_permutation(ctx, x, axis_name, perm):
    manual = manual_of(ctx, axis_name)
    if manual is None:
        return x if perm else ctx.constant(0, x.aval)
    pairs = [(group[sender], group[target]) for group in manual.groups((axis_name,)) for sender, target in perm]
    attributes = f"source_target_pairs = {int_matrix(pairs)}, {channel(ctx)}"
    return ctx.op("stablehlo.collective_permute", [x], None, attributes)


ppermute_p.collective = _permuted
ppermute_p.batch = lambda trace, operands, dims, axis_name, perm: (
    ppermute_p.bind(*operands, axis_name=axis_name, perm=perm),
    dims[0],
)
ppermute_p.lower = _lower_permutation
linear_jvp(ppermute_p)
ppermute_p.transpose = lambda ct, x, axis_name, perm: [
    ppermute_p.bind(ct, axis_name=axis_name, perm=tuple(sorted((target, sender) for sender, target in perm)))
]


def ppermute(x: PyTree, axis_name: AxisName, perm: Sequence[tuple[int, int]]) -> Any:
    """Values sent along a named axis by pairs `(source, target)`; an index that receives nothing gets zeros.

    ValueError for indices out of bounds and for two sources of one target, NameError for unknown names.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: lax.ppermute(x, "i", [(0, 1)]), axis_name="i")(pnp.array([1., 3.])))
    [0. 1.]
    """
    size = lookup_axis_size(axis_name, "ppermute")
    sources: set[int] = set()
    targets: set[int] = set()
    for sender, target in perm:
        if not (0 <= sender < size and 0 <= target < size) or target in targets or sender in sources:
            raise ValueError(f"ppermute: perm must send to distinct positions in [0, {size}), got {tuple(perm)}")
        sources.add(sender)
        targets.add(target)
    pairs = tuple(sorted((int(sender), int(target)) for sender, target in perm))
    return tree_map(lambda leaf: ppermute_p.bind(lift(leaf), axis_name=axis_name, perm=pairs), x)


def pshuffle(x: PyTree, axis_name: AxisName, perm: Sequence[int]) -> Any:
    """Values rearranged along a named axis: index i gets that of index `perm[i]`.

    ValueError unless `perm` holds each index once, NameError for unknown names.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: lax.pshuffle(x, "i", [2, 0, 1]), axis_name="i")(pnp.array([1., 3., 5.])))
    [5. 1. 3.]
    """
    size = lookup_axis_size(axis_name, "pshuffle")
    if sorted(perm) != list(range(size)):
        raise ValueError(f"pshuffle: perm must hold each of 0 to {size - 1} once, got {tuple(perm)}")
    return ppermute(x, axis_name, [(source, target) for target, source in enumerate(perm)])


def pbroadcast(x: PyTree, axis_name: AxisName, source: int) -> Any:
    """The value at index `source` of a named axis, at all of them.

    IndexError for a source out of bounds, TypeError for one that is no integer, NameError for unknown names.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: lax.pbroadcast(x, "i", 1), axis_name="i")(pnp.array([1., 3.])))
    [3. 3.]
    """
    size = lookup_axis_size(axis_name, "pbroadcast")
    place = operator.index(source)
    if not 0 <= place < size:
        raise IndexError(f"pbroadcast: source must be from 0 to {size - 1}, got {source}")
    return tree_map(lambda leaf: index_in_dim(all_gather(lift(leaf), axis_name), place, 0, False), x)


# --- transpositions: a positional axis becomes the named one, and the named one a positional axis ---

all_to_all_p: Collective = Collective("all_to_all")
refuse_unmapped(all_to_all_p)


def _exchanged(shape: Sequence[int], split_axis: int, concat_axis: int) -> tuple[int, ...]:
    rest = [n for i, n in enumerate(shape) if i != split_axis]
    return (*rest[:concat_axis], shape[split_axis], *rest[concat_axis:])


def _type(x, axis_name, split_axis, concat_axis):
    return make_aval(_exchanged(x.shape, split_axis, concat_axis), x.dtype, x.weak_type)


def _collective(trace, operands, dims, axis_name, split_axis, concat_axis):
    (x,), (d,) = operands, dims
    if d is None:
        # all values are equal: each index gets its piece as often as there are indices
        pieces = move_axis(x, split_axis, 0)
        shape = (*pieces.aval.shape[: concat_axis + 1], trace.size, *pieces.aval.shape[concat_axis + 1 :])
        kept = [i for i in range(len(shape)) if i != concat_axis + 1]
        return broadcast_in_dim(pieces, shape, kept), 0
    x = move_axis(move_axis(x, d, 0), split_axis + 1, 0)  # the new named axis, the old one, the others
    return move_axis(x, 1, concat_axis + 1), 0


def _batch(trace, operands, dims, axis_name, split_axis, concat_axis):
    x = move_axis(operands[0], dims[0], 0)
    return all_to_all_p.bind(x, axis_name=axis_name, split_axis=split_axis + 1, concat_axis=concat_axis + 1), 0


def _lower(ctx, x, axis_name, split_axis, concat_axis):
    manual = manual_of(ctx, axis_name)
    if manual is not None:
        size = manual.size(axis_name)
        attributes = (
            f"split_dimension = {split_axis} : i64, concat_dimension = {split_axis} : i64, split_count = {size} : i64, "
            f"{groups_attribute(manual.groups((axis_name,)))}, {channel(ctx)}"
        )
        x = ctx.op("stablehlo.all_to_all", [x], None, attributes)
    order = [i for i in range(x.aval.ndim) if i != split_axis]
    order.insert(concat_axis, split_axis)
    return ctx.op("stablehlo.transpose", [x], ctx.out_avals[0], f"permutation = {int_array(order)}")


all_to_all_p.abstract_eval = _type
all_to_all_p.collective = _collective
all_to_all_p.batch = _batch
all_to_all_p.lower = _lower
linear_jvp(all_to_all_p)
all_to_all_p.transpose = lambda ct, x, axis_name, split_axis, concat_axis: [
    all_to_all_p.bind(ct, axis_name=axis_name, split_axis=concat_axis, concat_axis=split_axis)
]


def all_to_all(
    x: PyTree,
    axis_name: AxisName,
    split_axis: int,
    concat_axis: int,
    *,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
    tiled: bool = False,
) -> Any:
    """Index i of a named axis gets the i-th piece along `split_axis` of the values at all indices, for every leaf.

    The pieces become an axis of the result, at position `concat_axis`: the named axis and the axis `split_axis`, of
    equal lengths, are exchanged. With `tiled` the pieces are as many consecutive elements as fit, and are
    concatenated along an existing axis. `axis_index_groups`: lists of indices, all of one length, that exchange among
    themselves. ValueError for axes that do not fit and for groups of different lengths, NameError for unknown names.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: lax.all_to_all(x, "i", 0, 0), axis_name="i")(pnp.array([[1., 2.], [3., 4.]])))
    [[1. 3.]
     [2. 4.]]
    """
    return _exchange("all_to_all", x, axis_name, split_axis, concat_axis, axis_index_groups, tiled)


def _exchange(
    name: str, x: PyTree, axis_name: AxisName, split_axis: int, concat_axis: int, groups: AnyValue, tiled: bool
) -> Any:
    size = lookup_axis_size(axis_name, name)
    parts = groups_of(name, axis_name, groups, equal=True)
    count = size if parts is None else len(parts[0])

    def exchange(leaf):
        leaf = lift(leaf)
        rank = leaf.aval.ndim
        ((split,), (concat,)) = (canonical_axes(name, (axis,), rank) for axis in (split_axis, concat_axis))
        length = leaf.aval.shape[split]
        if length % count if tiled else length != count:
            wanted = f"a multiple of {count}" if tiled else f"the length {count}"
            raise ValueError(
                f"{name}: the axis {split} of shape {leaf.shape} must have {wanted}, the number of indices along "
                f"{axis_name!r}{'' if parts is None else ' in a group'}"
            )
        if tiled:
            shape = leaf.aval.shape
            leaf = reshape(leaf, (*shape[:split], count, length // count, *shape[split + 1 :]))
        if parts is None:
            out = all_to_all_p.bind(leaf, axis_name=axis_name, split_axis=split, concat_axis=concat)
        else:
            rows = all_gather(leaf, axis_name, axis_index_groups=parts)
            own = dynamic_index_in_dim(_places(parts, size), axis_index(axis_name), 0, False)
            out = move_axis(dynamic_index_in_dim(rows, own, split + 1, False), 0, concat)
        if not tiled:
            return out
        shape = out.aval.shape
        return reshape(out, (*shape[:concat], shape[concat] * shape[concat + 1], *shape[concat + 2 :]))

    return tree_map(exchange, x)


def _places(parts: list[list[int]], size: int) -> np.ndarray:
    """The place of each index in its group."""
    places = np.empty(size, _INDEX)
    for part in parts:
        places[part] = np.arange(len(part))
    return places


def pswapaxes(
    x: PyTree, axis_name: AxisName, axis: int, *, axis_index_groups: Sequence[Sequence[int]] | None = None
) -> Any:
    """A named axis and a positional one of the same length exchanged: `all_to_all` from an axis to itself.

    ValueError for an axis of another length, NameError for unknown names.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: lax.pswapaxes(x, "i", 0), axis_name="i")(pnp.array([[1., 2.], [3., 4.]])))
    [[1. 3.]
     [2. 4.]]
    """
    return _exchange("pswapaxes", x, axis_name, axis, axis, axis_index_groups, False)


# --- sums of which each index keeps a part ---


def psum_scatter(
    x: PyTree,
    axis_name: AxisName,
    *,
    scatter_dimension: int = 0,
    axis_index_groups: Sequence[Sequence[int]] | None = None,
    tiled: bool = False,
) -> Any:
    """The sum over a named axis, of which index i keeps the i-th piece along `scatter_dimension`, for every leaf.

    The axis `scatter_dimension`, as long as the named one, is removed; with `tiled` the pieces are as many consecutive
    elements as fit, and the axis stays. `axis_index_groups`: lists of indices, all of one length, with a sum each.
    ValueError for an axis that does not fit, NameError for unknown names.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(pb.vmap(lambda x: lax.psum_scatter(x, "i"), axis_name="i")(pnp.array([[1., 2.], [3., 4.]])))
    [4. 6.]
    """
    name = "psum_scatter"
    names = tuple(axis_name) if isinstance(axis_name, (tuple, list)) else (axis_name,)
    size = int(np.prod([lookup_axis_size(n, name) for n in names]))
    parts = groups_of(name, axis_name, axis_index_groups, equal=True)
    count = size if parts is None else len(parts[0])

    def scatter(leaf):
        leaf = lift(leaf)
        (place,) = canonical_axes(name, (scatter_dimension,), leaf.aval.ndim)
        shape = leaf.aval.shape
        if shape[place] % count if tiled else shape[place] != count:
            wanted = f"a multiple of {count}" if tiled else f"the length {count}"
            raise ValueError(
                f"{name}: the axis {place} of shape {leaf.shape} must have {wanted}, the number of indices along "
                f"{axis_name!r}{'' if parts is None else ' in a group'}"
            )
        if tiled:
            leaf = reshape(leaf, (*shape[:place], count, shape[place] // count, *shape[place + 1 :]))
        if parts is None and len(names) == 1:
            return psum_scatter_p.bind(leaf, axis_name=names[0], axis=place, size=size)
        if parts is None:
            return dynamic_index_in_dim(psum(leaf, names), axis_index(names), place, False)
        own = dynamic_index_in_dim(_places(parts, size), axis_index(axis_name), 0, False)
        return dynamic_index_in_dim(psum(leaf, axis_name, axis_index_groups=parts), own, place, False)

    return tree_map(scatter, x)
