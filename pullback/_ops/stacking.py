"""Arrays stacked, repeated and broadcast along further axes."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.typing import AnyValue, DTypeLike, Placement, ShapeLike
from pullback._ops.assemble import concatenate, split
from pullback._ops.creation import full
from pullback._ops.shape import broadcast_in_dim, broadcast_to, canonical_axes, expand_dims, reshape, squeeze
from pullback._ops.sharding_constraint import laid_out


def broadcast_like(arr: ArrayLike, like_arr: ArrayLike) -> Array:
    """`arr` broadcast to the shape of another array. ValueError for a shape that does not broadcast to it.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.broadcast_like(pnp.arange(3), pnp.zeros((2, 3))).shape
    (2, 3)
    """
    return broadcast_to(lift(arr), lift(like_arr).aval.shape)


def broadcast_to_rank(x: ArrayLike, rank: int) -> Array:
    """`x` with axes of length 1 in front, so that it has `rank` of them. ValueError for a rank below its own.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.broadcast_to_rank(pnp.arange(3), 3).shape
    (1, 1, 3)
    """
    x = lift(x)
    if rank < x.aval.ndim:
        raise ValueError(f"broadcast_to_rank: expected a rank of at least {x.aval.ndim}, that of x, got {rank}")
    return expand_dims(x, range(rank - x.aval.ndim))


def stack(operands: Sequence[ArrayLike], axis: int = 0) -> Array:
    """Arrays of one shape and dtype along a new axis.

    ValueError for no arrays, other shapes and an axis out of bounds, TypeError for other dtypes.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.stack([pnp.arange(2), pnp.arange(2)], 1))
    [[0 0]
     [1 1]]
    """
    parts = [lift(x) for x in operands]
    if not parts or len({x.aval.shape for x in parts}) > 1:
        shapes = [x.shape for x in parts]
        raise ValueError(f"stack: expected arrays of one shape, at least one, got shapes {shapes}")
    (place,) = canonical_axes("stack", (axis,), parts[0].aval.ndim + 1)
    return concatenate([expand_dims(x, (place,)) for x in parts], place)


def unstack(x: ArrayLike, axis: int = 0) -> tuple[Array, ...]:
    """The entries of an array along an axis, a tuple. ValueError for an axis out of bounds.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> len(lax.unstack(pnp.zeros((2, 3)), 1))
    3
    """
    x = lift(x)
    (place,) = canonical_axes("unstack", (axis,), x.aval.ndim)
    parts = split(x, (1,) * x.aval.shape[place], place) if x.aval.shape[place] else []
    return tuple(squeeze(part, (place,)) for part in parts)


def tile(operand: ArrayLike, reps: Sequence[int]) -> Array:
    """The array repeated `reps[i]` times along axis i. ValueError unless there is such a number for each axis.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.tile(pnp.arange(2), (2,)))
    [0 1 0 1]
    """
    x = lift(operand)
    shape = x.aval.shape
    counts = tuple(int(r) for r in reps)
    if len(counts) != len(shape) or any(r < 0 for r in counts):
        raise ValueError(
            f"tile: reps must have a number that is not negative for each of {len(shape)} axes, got {reps}"
        )
    if not shape:
        return x
    # every axis is preceded by one that runs over its repetitions
    wide = tuple(k for r, n in zip(counts, shape, strict=True) for k in (r, n))
    repeated = broadcast_in_dim(x, wide, range(1, 2 * len(shape), 2))
    return reshape(repeated, tuple(r * n for r, n in zip(counts, shape, strict=True)))


def empty(shape: ShapeLike, dtype: DTypeLike, *, out_sharding: Placement = None) -> Array:
    """An array whose elements are to be overwritten; they are zeros. ValueError for negative lengths.

    >>> from pullback import lax
    >>> lax.empty((2,), "float32").shape
    (2,)
    """
    if out_sharding is not None:
        return laid_out("empty", full(shape, 0, dtype), out_sharding)
    return full(shape, 0, dtype)


def shape_as_value(shape: Sequence[int]) -> Array:
    """The lengths of a shape as a vector of integers. TypeError for lengths that are no integers.

    >>> from pullback import lax
    >>> print(lax.shape_as_value((2, 3)))
    [2 3]
    """
    return lift(np.array([*map(operator.index, shape)], dtypes.canonicalize_dtype(int)))


def dtype(x: AnyValue) -> np.dtype:
    """The dtype that an array, a number, a type or a dtype has. TypeError for other values.

    >>> from pullback import lax
    >>> lax.dtype(1.0)
    dtype('float32')
    """
    if isinstance(x, (type, np.dtype, str)):
        return dtypes.canonicalize_dtype(x)
    return lift(x).aval.dtype
