"""Scatters as functions: `scatter`, `scatter_add`, `scatter_sub`."""

from __future__ import annotations

from pullback._core.array import Array, ArrayLike, lift
from pullback._ops.elementwise import neg
from pullback._ops.families import operands
from pullback._ops.gather_numpy import (
    GatherScatterMode,
    ScatterDimensionNumbers,
)
from pullback._ops.gather_scatter import scatter_add_p, scatter_p


def bind_scatter(p, operand, indices, updates, dimension_numbers, indices_are_sorted, unique_indices, mode):
    x, u = operands(p.name, operand, updates)
    numbers = ScatterDimensionNumbers(*map(tuple, dimension_numbers))
    return p.bind(
        x,
        lift(indices),
        u,
        dimension_numbers=numbers,
        indices_are_sorted=bool(indices_are_sorted),
        unique_indices=bool(unique_indices),
        mode=GatherScatterMode.from_any(mode),
    )


def scatter(
    operand: ArrayLike,
    scatter_indices: ArrayLike,
    updates: ArrayLike,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """`operand` with windows at the positions `scatter_indices` replaced by `updates`.

    Where windows overlap, the last one wins. See `ScatterDimensionNumbers`, `GatherScatterMode`.
    ValueError for dimension numbers that do not fit the shapes, TypeError for operands of different dtypes.

    >>> from pullback import lax, numpy as pnp
    >>> element = lax.ScatterDimensionNumbers((), (0,), (0,))
    >>> lax.scatter(pnp.zeros(3), pnp.array([[2], [0]]), pnp.array([5., 7.]), element)
    Array([7., 0., 5.], dtype=float32)
    """
    return bind_scatter(
        scatter_p, operand, scatter_indices, updates, dimension_numbers, indices_are_sorted, unique_indices, mode
    )


def scatter_add(
    operand: ArrayLike,
    scatter_indices: ArrayLike,
    updates: ArrayLike,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """`operand` with `updates` added to windows of it, all of them where windows overlap; errors as `scatter`.

    >>> from pullback import lax, numpy as pnp
    >>> lax.scatter_add(pnp.ones(3), pnp.full((2, 1), 2), pnp.full(2, 7.), lax.ScatterDimensionNumbers((), (0,), (0,)))
    Array([ 1.,  1., 15.], dtype=float32)
    """
    return bind_scatter(
        scatter_add_p, operand, scatter_indices, updates, dimension_numbers, indices_are_sorted, unique_indices, mode
    )


def scatter_sub(
    operand: ArrayLike,
    scatter_indices: ArrayLike,
    updates: ArrayLike,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """`operand` with `updates` subtracted from windows of it, all of them where windows overlap; errors as `scatter`.

    >>> from pullback import lax, numpy as pnp
    >>> lax.scatter_sub(pnp.ones(3), pnp.full((2, 1), 2), pnp.full(2, 7.), lax.ScatterDimensionNumbers((), (0,), (0,)))
    Array([  1.,   1., -13.], dtype=float32)
    """
    x, u = operands("scatter_sub", operand, updates)
    return bind_scatter(
        scatter_add_p, x, scatter_indices, neg(u), dimension_numbers, indices_are_sorted, unique_indices, mode
    )
