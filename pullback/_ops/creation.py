"""Constant arrays, index arrays and conversion, for a dtype given by the user, which is checked here."""

from __future__ import annotations

from collections.abc import Sequence

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.typing import DTypeLike, Placement, ShapeLike
from pullback._ops import assemble
from pullback._ops import shape as shape_ops
from pullback._ops.shape import broadcast_in_dim_p, shape_of
from pullback._ops.sharding_constraint import laid_out


def convert_element_type(operand: ArrayLike, new_dtype: DTypeLike, weak_type: bool = False) -> Array:
    """`operand` in another dtype. Floats to integers truncate and saturate, complex to real drops the imaginary part.

    The derivative is the conversion back, 0 unless both dtypes are floating-point or complex. TypeError for
    anything but an array or a number, and for a dtype that arrays cannot have.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.convert_element_type(np.float32([1.7, -1.7, 3e10]), "int32"))
    [         1         -1 2147483647]
    """
    try:
        x = lift(operand)
    except TypeError as error:
        raise TypeError(f"convert_element_type: {error}") from None
    return shape_ops.convert_element_type(x, dtypes.requested_dtype(new_dtype), weak_type)


def full(
    shape: int | Sequence[int],
    fill_value: ArrayLike,
    dtype: DTypeLike | None = None,
    weak_type: bool = False,
    *,
    sharding: Placement = None,
) -> Array:
    """An array of a shape, filled with one scalar; its dtype is that of the scalar unless another is given.

    `sharding` is where it is to be, as in `pullback.reshard`.
    ValueError for negative lengths, TypeError for lengths that are not integers and for a `fill_value` with axes.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.full((3,), 7, np.dtype("int32")))
    [7 7 7]
    """
    if sharding is not None:
        return laid_out("full", full(shape, fill_value, dtype, weak_type), sharding)
    lengths = shape_of("full", shape)
    if dtype is not None and type(fill_value) in (bool, int, float, complex):
        return shape_ops.full(lengths, fill_value, dtypes.requested_dtype(dtype), weak_type)
    x = lift(fill_value)
    if x.aval.ndim:
        raise TypeError(
            f"full: fill_value must be a scalar, got {x.aval.str_short()}; an array is repeated by broadcast_in_dim"
        )
    if dtype is not None:
        return shape_ops.full(lengths, x, dtypes.requested_dtype(dtype), weak_type)
    return x if lengths == () else broadcast_in_dim_p.bind(x, shape=lengths, dims=())


def full_like(
    x: ArrayLike,
    fill_value: ArrayLike,
    dtype: DTypeLike | None = None,
    shape: ShapeLike | None = None,
    sharding: Placement = None,
) -> Array:
    """An array filled with one scalar, of the shape and dtype of `x` unless others are given.

    `sharding` is where it is to be, as in `pullback.reshard`.
    TypeError for anything but an array, and for a `fill_value` with axes; ValueError for negative lengths.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.full_like(np.ones((2, 2)), 7.))
    [[7. 7.]
     [7. 7.]]
    """
    if sharding is not None:
        return laid_out("full_like", full_like(x, fill_value, dtype, shape), sharding)
    x = lift(x)
    shape = x.aval.shape if shape is None else shape
    if dtype is not None:
        return full(shape, fill_value, dtype)
    if getattr(fill_value, "ndim", 0):
        raise TypeError(
            f"full_like: fill_value must be a scalar, got shape {lift(fill_value).shape}; an array is "
            "repeated by broadcast_in_dim"
        )
    return shape_ops.full(shape_of("full_like", shape), fill_value, x.aval.dtype, x.aval.weak_type)


def iota(dtype: DTypeLike, size: int) -> Array:
    """The numbers 0, 1, ... size - 1 in a dtype. ValueError for a negative size.

    >>> from pullback import lax
    >>> lax.iota("float32", 3)
    Array([0., 1., 2.], dtype=float32)
    """
    return broadcasted_iota(dtype, (size,), 0)


def broadcasted_iota(dtype: DTypeLike, shape: Sequence[int], dimension: int) -> Array:
    """An array of a shape whose elements are their index along one axis.

    ValueError for an axis out of bounds and for negative lengths.

    >>> from pullback import lax
    >>> lax.broadcasted_iota(int, (2, 3), 1)
    Array([[0, 1, 2],
           [0, 1, 2]], dtype=int32)
    """
    return assemble.broadcasted_iota(dtypes.requested_dtype(dtype), shape, dimension)
