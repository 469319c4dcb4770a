"""Functions that rearrange axes and elements: reshape, transpose and similar ones, flip, roll, broadcasting."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._api.extended_arrays import moves_entries
from pullback._core.array import Array, ArrayLike, ConcreteArray, NestedArrayLike, distinct
from pullback._core.errors import boundary
from pullback._core.types import ShapedArray, as_size
from pullback._core.typing import AnyValue, Placement, ShapeLike
from pullback._ops import broadcasting
from pullback._ops import shape as shape_ops
from pullback._ops.assemble import concatenate
from pullback._ops.dynamic_slicing import dynamic_slice_in_dim
from pullback._ops.elementwise import scalar, sub
from pullback._ops.families import broadcast_shapes as broadcast
from pullback._ops.shape import shape_of
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.slicing import rev, slice_in_dim
from pullback.numpy._creation.creation import asarray, copied
from pullback.numpy._elementwise.arithmetic import remainder
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._reductions.reductions import axes_of, one_axis

__all__ = [
    "reshape",
    "ravel",
    "transpose",
    "permute_dims",
    "matrix_transpose",
    "swapaxes",
    "moveaxis",
    "rollaxis",
    "expand_dims",
    "squeeze",
    "broadcast_to",
    "broadcast_arrays",
    "broadcast_shapes",
    "flip",
    "fliplr",
    "flipud",
    "rot90",
    "roll",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
]

# --- shapes ---


@moves_entries
def reshape(
    a: ArrayLike, shape: ShapeLike, order: str = "C", *, copy: bool | None = None, out_sharding: Placement = None
) -> Array:
    """The elements of `a` in another shape, of which one length may be -1, to be inferred.

    `order` is 'C' (the last axis runs fastest) or 'F' (the first does). ValueError where the sizes differ.

    >>> import pullback.numpy as pnp
    >>> pnp.reshape(pnp.arange(4), (2, -1))
    Array([[0, 1],
           [2, 3]], dtype=int32)
    """
    x = as_operand(a, "reshape", 0)
    y = reshaped("reshape", x, shape, order)
    return y if out_sharding is None else laid_out("reshape", y, out_sharding)


def reshaped(name: str, x: Array, shape: ShapeLike | tuple[Any, ...], order: str = "C") -> Array:
    """`reshape` of an array, in the name of a function."""
    target = complete_shape(name, x.aval, shape)
    if order == "C" or order == "A":
        return shape_ops.reshape(x, target)
    if order != "F":
        raise ValueError(f"{name}: order must be 'C', 'F' or 'A', got {order!r}")
    backwards = shape_ops.reshape(_reversed(x), target[::-1])
    return _reversed(backwards)


def _reversed(x: Array) -> Array:
    return shape_ops.transpose(x, tuple(range(x.aval.ndim))[::-1])


def complete_shape(name: str, aval: ShapedArray, shape: AnyValue) -> tuple[int, ...]:
    """The shape that a user's one means for an array, with -1 filled in."""
    try:
        lengths = list(shape) if isinstance(shape, (tuple, list)) or np.ndim(shape) else [shape]
        lengths = [as_size(n) for n in lengths]
    except TypeError:
        shape_of(name, shape)
        raise
    unknown = [i for i, n in enumerate(lengths) if n == -1]
    if len(unknown) > 1 or any(n < -1 for n in lengths):
        raise ValueError(f"{name}: a shape has non-negative lengths, of which one may be -1, got {shape}")
    if unknown:
        known = 1
        for n in lengths:
            known *= n if n != -1 else 1
        if known == 0 or aval.size % known:
            raise ValueError(
                f"{name}: cannot turn shape {aval.shape} ({aval.size} elements) into {shape}: the lengths "
                f"given make {known}, which does not divide {aval.size}"
            )
        lengths[unknown[0]] = aval.size // known
    target = tuple(lengths)
    if math.prod(target) != aval.size:
        raise ValueError(f"{name}: cannot turn shape {aval.shape} ({aval.size} elements) into {target}")
    return target


@moves_entries
def ravel(a: ArrayLike, order: str = "C", *, out_sharding: Placement = None) -> Array:
    """The elements of `a` along one axis. `order` is as for `reshape`; ValueError for others.

    >>> import pullback.numpy as pnp
    >>> pnp.ravel(pnp.ones((2, 2)))
    Array([1., 1., 1., 1.], dtype=float32)
    """
    x = as_operand(a, "ravel", 0)
    y = reshaped("ravel", x, (x.aval.size,), "C" if order == "K" else order)
    if out_sharding is not None:
        return laid_out("ravel", y, out_sharding)
    return copied(x) if y is x is a else y


@moves_entries
def expand_dims(a: ArrayLike, axis: int | Sequence[int]) -> Array:
    """`a` with axes of length 1 inserted at the positions `axis` of the result.

    ValueError for a position out of bounds or named twice.

    >>> import pullback.numpy as pnp
    >>> pnp.expand_dims(pnp.arange(3), (0, -1)).shape
    (1, 3, 1)
    """
    x = as_operand(a, "expand_dims", 0)
    count = len(axis) if isinstance(axis, (tuple, list, range)) else 1
    return distinct(shape_ops.expand_dims(x, axes_of("expand_dims", axis, x.aval.ndim + count)), a)


@moves_entries
def squeeze(a: ArrayLike, axis: int | Sequence[int] | None = None) -> Array:
    """`a` without the axes of length 1, all or those named; ValueError where one is longer.

    >>> import pullback.numpy as pnp
    >>> pnp.squeeze(pnp.ones((1, 2, 1)), 0).shape
    (2, 1)
    """
    x = as_operand(a, "squeeze", 0)
    shape = x.aval.shape
    if axis is None:
        return distinct(shape_ops.reshape(x, tuple(n for n in shape if n != 1)), a)
    axes = axes_of("squeeze", axis, len(shape))
    if any(shape[i] != 1 for i in axes):
        raise ValueError(f"squeeze: the axes {axis} of shape {shape} must have length 1 to be left out")
    return distinct(shape_ops.reshape(x, tuple(n for i, n in enumerate(shape) if i not in axes)), a)


@moves_entries
def broadcast_to(array: ArrayLike, shape: ShapeLike, *, out_sharding: Placement = None) -> Array:
    """`array` repeated to a shape, as operands of different shapes are: axes of length 1 stretch, leading ones appear.

    ValueError for a shape to which it does not broadcast.

    >>> import pullback.numpy as pnp
    >>> pnp.broadcast_to(pnp.arange(2), (2, 2))
    Array([[0, 1],
           [0, 1]], dtype=int32)
    """
    x = as_operand(array, "broadcast_to", 0)
    y = stretched("broadcast_to", x, shape_of("broadcast_to", shape))
    return y if out_sharding is None else laid_out("broadcast_to", y, out_sharding)


def stretched(name: str, x: Array, shape: tuple[int, ...]) -> Array:
    """`broadcast_to` of an array, in the name of a function."""
    own = x.aval.shape
    if own == shape:
        return x
    lead = len(shape) - len(own)
    if lead < 0 or any(n != m and n != 1 for n, m in zip(own, shape[lead:], strict=True)):
        raise ValueError(
            f"{name}: shape {own} does not broadcast to {shape}: from the last axis on, lengths must be equal, or 1"
        )
    return shape_ops.broadcast_to(x, shape)


@moves_entries
def broadcast_arrays(*args: ArrayLike) -> list[Array]:
    """The arguments, each repeated to the shape they broadcast to together. ValueError for shapes that do not.

    >>> import pullback.numpy as pnp
    >>> [x.shape for x in pnp.broadcast_arrays(pnp.ones((2, 1)), pnp.ones(3))]
    [(2, 3), (2, 3)]
    """
    arrays = [as_operand(x, "broadcast_arrays", i) for i, x in enumerate(args)]
    if not arrays:
        return []
    shape = broadcast("broadcast_arrays", *[x.aval.shape for x in arrays])
    return [distinct(shape_ops.broadcast_to(x, shape), x) for x in arrays]


@boundary
def broadcast_shapes(*shapes: ShapeLike) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to together. ValueError for shapes that do not.

    >>> broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    return broadcasting.broadcast_shapes(*shapes)


@moves_entries
def atleast_1d(*arys: NestedArrayLike) -> Any:
    """The arguments as arrays of at least 1 axis; a list of them, where there are several.

    TypeError for anything but an array.

    >>> import pullback.numpy as pnp
    >>> pnp.atleast_1d(1.).shape
    (1,)
    """
    return _each("atleast_1d", arys, lambda x: shape_ops.reshape(x, x.aval.shape or (1,)))


@moves_entries
def atleast_2d(*arys: NestedArrayLike) -> Any:
    """The arguments as arrays of at least 2 axes, new ones in front. TypeError for anything but an array.

    >>> import pullback.numpy as pnp
    >>> pnp.atleast_2d(pnp.ones(3)).shape
    (1, 3)
    """
    return _each("atleast_2d", arys, lambda x: shape_ops.reshape(x, (1,) * (2 - x.aval.ndim) + x.aval.shape))


def _to_3d(x: Array) -> Array:
    shape = x.aval.shape
    if len(shape) == 2:
        return shape_ops.reshape(x, (*shape, 1))
    return shape_ops.reshape(x, (1, *(shape or (1,)), 1)) if len(shape) < 2 else x


@moves_entries
def atleast_3d(*arys: NestedArrayLike) -> Any:
    """The arguments as arrays of at least 3 axes: a vector becomes (1, n, 1), a matrix (m, n, 1).

    TypeError for anything but an array.

    >>> import pullback.numpy as pnp
    >>> pnp.atleast_3d(pnp.ones(3)).shape
    (1, 3, 1)
    """
    return _each("atleast_3d", arys, _to_3d)


def _each(name, arys, change):
    if len(arys) == 1:
        # a list of numbers is one array here, as in NumPy
        x = arys[0]
        return distinct(change(asarray(x) if isinstance(x, (list, tuple)) else as_operand(x, name, 0)), x)
    return [distinct(change(as_operand(x, name, i)), x) for i, x in enumerate(arys)]


# --- the order of axes ---


@moves_entries
def transpose(a: ArrayLike, axes: Sequence[int] | None = None) -> Array:
    """`a` with its axes in another order, by default reversed: axis `i` of the result is `axes[i]` of `a`.

    ValueError unless `axes` names each axis once.

    >>> import pullback.numpy as pnp
    >>> pnp.transpose(pnp.ones((2, 3))).shape
    (3, 2)
    """
    return permuted("transpose", as_operand(a, "transpose", 0), axes)


def permuted(name: str, x: Array, axes: Sequence[int] | None) -> Array:
    """`transpose` of an array, in the name of a function."""
    rank = x.aval.ndim
    if axes is None:
        return _reversed(x)
    order = tuple(one_axis(name, a, rank) for a in axes)
    if sorted(order) != list(range(rank)):
        raise ValueError(f"{name}: axes must name each of the {rank} axes of shape {x.aval.shape} once, got {axes}")
    return shape_ops.transpose(x, order)


@moves_entries
def permute_dims(a: ArrayLike, /, axes: Sequence[int]) -> Array:
    """`transpose`, with the order given. ValueError unless `axes` names each axis once.

    >>> import pullback.numpy as pnp
    >>> pnp.permute_dims(pnp.ones((2, 3)), (1, 0)).shape
    (3, 2)
    """
    return permuted("permute_dims", as_operand(a, "permute_dims", 0), axes)


@moves_entries
def matrix_transpose(x: ArrayLike, /) -> Array:
    """`x` with its last two axes swapped. ValueError for fewer than two axes.

    >>> import pullback.numpy as pnp
    >>> pnp.matrix_transpose(pnp.ones((4, 2, 3))).shape
    (4, 3, 2)
    """
    x = as_operand(x, "matrix_transpose", 0)
    rank = x.aval.ndim
    if rank < 2:
        raise ValueError(f"matrix_transpose: expected at least 2 axes, got shape {x.aval.shape}")
    return shape_ops.transpose(x, (*range(rank - 2), rank - 1, rank - 2))


@moves_entries
def swapaxes(a: ArrayLike, axis1: int, axis2: int) -> Array:
    """`a` with two axes exchanged. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.swapaxes(pnp.ones((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    x = as_operand(a, "swapaxes", 0)
    order = list(range(x.aval.ndim))
    i, j = one_axis("swapaxes", axis1, len(order)), one_axis("swapaxes", axis2, len(order))
    order[i], order[j] = j, i
    return distinct(shape_ops.transpose(x, order), a)


@moves_entries
def moveaxis(a: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """`a` with axes moved to other positions, the rest in order. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.moveaxis(pnp.ones((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    x = as_operand(a, "moveaxis", 0)
    rank = x.aval.ndim
    sources, targets = (
        [one_axis("moveaxis", i, rank) for i in (axes if isinstance(axes, (tuple, list)) else (axes,))]
        for axes in (source, destination)
    )
    if len(sources) != len(targets) or len({*sources}) != len(sources) or len({*targets}) != len(targets):
        raise ValueError(
            f"moveaxis: source and destination must name as many axes, each once, got {source} and {destination}"
        )
    order = [i for i in range(rank) if i not in sources]
    for to, i in sorted(zip(targets, sources, strict=True)):
        order.insert(to, i)
    return distinct(shape_ops.transpose(x, order), a)


@moves_entries
def rollaxis(a: ArrayLike, axis: int, start: int = 0) -> Array:
    """`a` with one axis moved back until it is before the axis `start`. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.rollaxis(pnp.ones((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    x = as_operand(a, "rollaxis", 0)
    rank = x.aval.ndim
    i = one_axis("rollaxis", axis, rank)
    if not -rank <= start <= rank:
        raise ValueError(f"rollaxis: start must lie in [{-rank}, {rank}], got {start}")
    to = start + rank if start < 0 else start
    return distinct(shape_ops.move_axis(x, i, to - 1 if i < to else to), a)


# --- the order of elements ---


@moves_entries
def flip(m: ArrayLike, axis: int | Sequence[int] | None = None) -> Array:
    """`m` with the elements along the axes (all, by default) in reverse order. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.flip(pnp.arange(3))
    Array([2, 1, 0], dtype=int32)
    """
    x = as_operand(m, "flip", 0)
    return rev(x, axes_of("flip", axis, x.aval.ndim))


@moves_entries
def fliplr(m: ArrayLike) -> Array:
    """`m` with its second axis reversed. ValueError for fewer than two axes.

    >>> import pullback.numpy as pnp
    >>> pnp.fliplr(pnp.arange(4).reshape(2, 2))
    Array([[1, 0],
           [3, 2]], dtype=int32)
    """
    x = as_operand(m, "fliplr", 0)
    return rev(x, axes_of("fliplr", 1, x.aval.ndim))


@moves_entries
def flipud(m: ArrayLike) -> Array:
    """`m` with its first axis reversed. ValueError for an array without axes.

    >>> import pullback.numpy as pnp
    >>> pnp.flipud(pnp.arange(4).reshape(2, 2))
    Array([[2, 3],
           [0, 1]], dtype=int32)
    """
    x = as_operand(m, "flipud", 0)
    return rev(x, axes_of("flipud", 0, x.aval.ndim))


@moves_entries
def rot90(m: ArrayLike, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """`m` rotated by `k` quarter turns in the plane of two axes, from the first towards the second.

    ValueError for axes out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.rot90(pnp.arange(4).reshape(2, 2))
    Array([[1, 3],
           [0, 2]], dtype=int32)
    """
    x = as_operand(m, "rot90", 0)
    if len(axes) != 2:
        raise ValueError(f"rot90: axes must be two different axes, got {axes}")
    i, j = (one_axis("rot90", a, x.aval.ndim) for a in axes)
    if i == j:
        raise ValueError(f"rot90: axes must be two different axes, got {axes}")
    turns = operator.index(k) % 4
    if turns == 0:
        return distinct(x, m)
    if turns == 2:
        return rev(x, (i, j))
    order = list(range(x.aval.ndim))
    order[i], order[j] = j, i
    return rev(shape_ops.transpose(x, order), (i,)) if turns == 1 else shape_ops.transpose(rev(x, (i,)), order)


@moves_entries
def roll(a: ArrayLike, shift: ArrayLike | Sequence[int], axis: int | Sequence[int] | None = None) -> Array:
    """`a` with its elements shifted by `shift`; those beyond the end reappear at the beginning.

    Without an axis, along the flattened array. `shift` may be traced, and it may be a sequence, one per axis.
    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.roll(pnp.arange(4), 1)
    Array([3, 0, 1, 2], dtype=int32)
    """
    x = as_operand(a, "roll", 0)
    if axis is None:
        flat = shape_ops.reshape(x, (x.aval.size,))
        return distinct(shape_ops.reshape(roll(flat, shift, 0), x.aval.shape), a)
    axes = [one_axis("roll", i, x.aval.ndim) for i in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    if isinstance(shift, (tuple, list)):
        shifts = list(shift)
    else:
        s = as_operand(shift, "roll", 1)
        shifts = [s[i] for i in range(s.aval.shape[0])] if s.aval.ndim else [s]
    if len(shifts) == 1 or len(axes) == 1:
        shifts, axes = shifts * len(axes), axes * len(shifts)
    if len(shifts) != len(axes):
        raise ValueError(f"roll: shift and axis must have as many entries, got {shift} and {axis}")
    for s, i in zip(shifts, axes, strict=True):
        x = _rolled(x, s, i)
    return distinct(x, a)


def _rolled(x: Array, shift: AnyValue, axis: int) -> Array:
    n = x.aval.shape[axis]
    if n == 0:
        return x
    if isinstance(shift, Array) and not isinstance(shift, ConcreteArray):
        twice = concatenate([x, x], axis)
        return dynamic_slice_in_dim(twice, sub(scalar(shift, n), remainder(shift, n)), n, axis)
    k = operator.index(shift) % n
    if k == 0:
        return x
    return concatenate([slice_in_dim(x, n - k, n, 1, axis), slice_in_dim(x, 0, n - k, 1, axis)], axis)
