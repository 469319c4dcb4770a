"""Broadcasting of shapes, new leading axes, and merged axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pullback._core.array import Array, ArrayLike, lift
from pullback._core.typing import ShapeLike
from pullback._ops import families
from pullback._ops.shape import broadcast_in_dim, reshape, shape_of

__all__ = ["broadcast", "broadcast_shapes", "collapse"]


def broadcast_shapes(*shapes: ShapeLike) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to together, as NumPy does; `()` for none.

    ValueError for shapes that do not broadcast.

    >>> from pullback import lax
    >>> lax.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    if not shapes:
        return ()
    lengths = [shape_of("broadcast_shapes", s) for s in shapes]
    return families.broadcast_shapes("broadcast_shapes: Incompatible shapes for broadcasting", *lengths)


def broadcast(operand: ArrayLike, sizes: Sequence[int]) -> Array:
    """Copies of `operand` along new leading axes of the lengths `sizes`: shape `(*sizes, *operand.shape)`.

    ValueError for a negative length, TypeError for anything but an array.

    >>> import pullback.numpy as pnp
    >>> from pullback import lax
    >>> lax.broadcast(pnp.arange(3), (2,))
    Array([[0, 1, 2],
           [0, 1, 2]], dtype=int32)
    """
    x = lift(operand)
    new = shape_of("broadcast", sizes)
    rank = len(new) + x.aval.ndim
    return broadcast_in_dim(x, (*new, *x.aval.shape), range(len(new), rank))


def collapse(operand: ArrayLike, start_dimension: int, stop_dimension: int | None = None) -> Array:
    """The axes from `start_dimension` up to but not including `stop_dimension` merged into one; by default to the last.

    Positions are those of Python's slices: they may count from the end, and an empty range adds an axis of length 1.
    TypeError for anything but an array, and for positions that are not integers.

    >>> import pullback.numpy as pnp
    >>> from pullback import lax
    >>> lax.collapse(pnp.zeros((2, 3, 4)), 0, 2).shape
    (6, 4)
    """
    x = lift(operand)
    start, stop, _ = slice(start_dimension, stop_dimension).indices(x.aval.ndim)
    shape, stop = x.aval.shape, max(start, stop)
    return reshape(x, (*shape[:start], math.prod(shape[start:stop]), *shape[stop:]))
