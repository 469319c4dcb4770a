"""Running sums and products."""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.primitive import Primitive
from pullback._core.typing import DTypeLike
from pullback._ops.assemble import concatenate
from pullback._ops.cumulative import cumprod_p, cumsum_p
from pullback._ops.shape import convert_element_type, full, reshape
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._reductions.reductions import one_axis, refuse_out, summed_dtype

__all__ = ["cumsum", "cumprod", "cumulative_sum", "cumulative_prod"]


def cumulated(name: str, p: Primitive, a: ArrayLike, axis: int | None, dtype: DTypeLike | None, out: None) -> Array:
    """The running sum or product for the function `name`, which errors are to name."""
    refuse_out(name, out)
    x = as_operand(a, name, 0)
    if axis is None:
        x, axis = reshape(x, (x.aval.size,)), 0
    target = summed_dtype(x.aval.dtype, False) if dtype is None else dtypes.requested_dtype(dtype)
    if target.kind == "b":
        # bools add by "or", as in NumPy
        return convert_element_type(cumulated(name, p, a, axis, np.int32, out), target)
    return p.bind(convert_element_type(x, target), axis=one_axis(name, axis, x.aval.ndim), reverse=False)


@boundary
def cumsum(a: ArrayLike, axis: int | None = None, dtype: DTypeLike | None = None, out: None = None) -> Array:
    """Running sums along an axis, of the flattened array where `axis` is None; bools are counted.

    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.cumsum(pnp.array([1, 2, 3])))
    [1 3 6]
    """
    return cumulated("cumsum", cumsum_p, a, axis, dtype, out)


@boundary
def cumprod(a: ArrayLike, axis: int | None = None, dtype: DTypeLike | None = None, out: None = None) -> Array:
    """Running products along an axis, of the flattened array where `axis` is None.

    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.cumprod(pnp.array([1, 2, 3])))
    [1 2 6]
    """
    return cumulated("cumprod", cumprod_p, a, axis, dtype, out)


def _inclusive(name, p, x, axis, dtype, include_initial, initial):
    x = as_operand(x, name, 0)
    if x.aval.ndim == 0:
        raise ValueError(f"{name}: expected an array with at least one axis, got a scalar")
    if axis is None:
        if x.aval.ndim > 1:
            raise ValueError(f"{name}: axis may be left out for vectors only, got shape {x.shape}")
        axis = 0
    axis = one_axis(name, axis, x.aval.ndim)
    y = cumulated(name, p, x, axis, dtype, None)
    if include_initial:
        shape = y.aval.shape
        first = full((*shape[:axis], 1, *shape[axis + 1 :]), initial, y.aval.dtype)
        y = concatenate([first, y], axis)
    return y


@boundary
def cumulative_sum(
    x: ArrayLike, /, *, axis: int | None = None, dtype: DTypeLike | None = None, include_initial: bool = False
) -> Array:
    """Running sums along an axis, which may be left out for a vector; integers are summed in the default
    integer type.

    With `include_initial` the result begins with 0 and is one longer. ValueError for a scalar.

    >>> import pullback.numpy as pnp
    >>> print(pnp.cumulative_sum(pnp.array([1, 2, 3]), include_initial=True))
    [0 1 3 6]
    """
    x = as_operand(x, "cumulative_sum", 0)
    return _inclusive(
        "cumulative_sum", cumsum_p, x, axis, summed_dtype(x.aval.dtype) if dtype is None else dtype, include_initial, 0
    )


@boundary
def cumulative_prod(
    x: ArrayLike, /, *, axis: int | None = None, dtype: DTypeLike | None = None, include_initial: bool = False
) -> Array:
    """Running products along an axis, which may be left out for a vector; integers keep their dtype.

    With `include_initial` the result begins with 1 and is one longer. ValueError for a scalar.

    >>> import pullback.numpy as pnp
    >>> print(pnp.cumulative_prod(pnp.array([1, 2, 3]), include_initial=True))
    [1 1 2 6]
    """
    return _inclusive("cumulative_prod", cumprod_p, x, axis, dtype, include_initial, 1)
