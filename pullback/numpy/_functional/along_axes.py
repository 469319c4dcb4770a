"""Functions along axes: `apply_along_axis`, `apply_over_axes`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._api.vectorize import vmap
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.public_array import ExtendedArray
from pullback._core.typing import PyTree
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._reductions.reductions import one_axis
from pullback.numpy._shape.manipulation import expand_dims

__all__ = ["apply_along_axis", "apply_over_axes"]


@boundary
def apply_along_axis(func1d: Callable, axis: int, arr: ArrayLike, *args: PyTree, **kwargs: PyTree) -> Any:
    """`func1d` of every vector along an axis; the axes of its result replace the axis.

    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.apply_along_axis(lambda v: v - v[0], 1, pnp.arange(4).reshape(2, 2))
    Array([[0, 1],
           [0, 1]], dtype=int32)
    """
    x = arr if isinstance(arr, ExtendedArray) else as_operand(arr, "apply_along_axis", 2)
    rank = x.ndim
    i = one_axis("apply_along_axis", axis, rank)

    def mapped(v):
        return func1d(v, *args, **kwargs)

    for d in range(1, rank - i):
        mapped = vmap(mapped, in_axes=d, out_axes=-1)
    for _ in range(i):
        mapped = vmap(mapped, in_axes=0, out_axes=0)
    return mapped(x)


@boundary
def apply_over_axes(func: Callable, a: ArrayLike, axes: int | Sequence[int]) -> Array:
    """`func(x, axis)` for one axis after the other; an axis it drops is kept with length 1.

    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.apply_over_axes(pnp.sum, pnp.ones((2, 3)), (0, 1))
    Array([[6.]], dtype=float32)
    """
    x = a if isinstance(a, ExtendedArray) else as_operand(a, "apply_over_axes", 1)
    rank = x.ndim
    for axis in axes if isinstance(axes, (tuple, list)) else (axes,):
        i = one_axis("apply_over_axes", axis, rank)
        y = func(x, i)
        if y.ndim == rank - 1:
            y = expand_dims(y, i)
        if y.ndim != rank:
            raise ValueError(
                f"apply_over_axes: the function must keep the number of axes, {rank}, or drop the one it "
                f"is given; it returned shape {y.shape}"
            )
        x = y
    return x


# --- positions in a flat array ---
