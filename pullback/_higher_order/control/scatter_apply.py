"""A function applied to elements as often as they are selected: `scatter_apply`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pullback._core.array import Array, ArrayLike, lift
from pullback._core.typing import Shape
from pullback._higher_order.control.while_loop import while_loop
from pullback._ops.compare import gt, lt, select
from pullback._ops.elementwise import add
from pullback._ops.gather_numpy import GatherScatterMode, ScatterDimensionNumbers
from pullback._ops.reduce import reduce_max
from pullback._ops.scatter_functions import scatter_add
from pullback._ops.shape import convert_element_type, full


def applied_where(mask: Array, func: Callable, x: Array) -> Array:
    value = convert_element_type(lift(func(x)), x.aval.dtype, x.aval.weak_type)
    return select(mask, value, x)


def applied_by_counts(x: Array, counts: Array, func: Callable, most: int) -> Array:
    """`func` applied to each element as often as it is counted; the counts are traced, up to a known bound."""

    def more(state):
        return lt(state[0], reduce_max(counts, range(counts.ndim)))

    def once_more(state):
        k, x = state
        return add(k, np.int32(1)), applied_where(gt(counts, k), func, x)

    return while_loop(more, once_more, (np.int32(0), x), max_steps=most)[1]


def scatter_apply(
    operand: ArrayLike,
    scatter_indices: ArrayLike,
    func: Callable[[Array], Array],
    dimension_numbers: ScatterDimensionNumbers,
    *,
    update_shape: Shape = (),
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """`operand` with the elementwise function `func` applied in windows of it, as often as windows overlap.

    The positions and axes of the windows are those of `scatter`, whose updates would have the shape `update_shape`, by
    default one element for each position. ValueError for dimension numbers that do not fit the shapes.

    >>> from pullback import lax, numpy as pnp
    >>> element = lax.ScatterDimensionNumbers((), (0,), (0,))
    >>> indices = pnp.array([[0], [2], [0]])
    >>> print(lax.scatter_apply(pnp.ones(3), indices, lambda x: 2 * x, element, update_shape=(3,)))
    [4. 1. 2.]
    """
    x, indices = lift(operand), lift(scatter_indices)
    shape = tuple(update_shape) or indices.aval.shape[:-1]
    counts = scatter_add(
        full(x.aval.shape, 0, np.dtype(np.int32)),
        indices,
        full(shape, 1, np.dtype(np.int32)),
        dimension_numbers,
        indices_are_sorted=indices_are_sorted,
        unique_indices=unique_indices,
        mode=mode,
    )
    most = 1 if unique_indices else math.prod(indices.aval.shape[:-1])
    return applied_by_counts(x, counts, func, most)
