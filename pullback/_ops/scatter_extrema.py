"""Scatter that combines updates with the existing values by product, minimum or maximum."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.zeros import Zero, zero_of
from pullback._ops.assemble import broadcasted_iota, concatenate
from pullback._ops.compare import eq, select
from pullback._ops.elementwise import add, div, mul
from pullback._ops.families import NUMBER, ORDERED, scalar_like
from pullback._ops.gather_numpy import PROMISE, GatherScatterMode, ScatterDimensionNumbers
from pullback._ops.gather_scatter import read_back, scatter_add_p, scatter_primitive
from pullback._ops.scatter_functions import bind_scatter
from pullback._ops.shape import convert_element_type, full, instantiate, reshape
from pullback._ops.slicing import rev, slice_in_dim
from pullback._ops.sort import along_axis, argsort_of

_INDEX = np.dtype(np.int32)

scatter_mul_p: Primitive = scatter_primitive("scatter_mul", np.multiply, "stablehlo.multiply", NUMBER)
scatter_min_p: Primitive = scatter_primitive("scatter_min", np.minimum, "stablehlo.minimum", ORDERED)
scatter_max_p: Primitive = scatter_primitive("scatter_max", np.maximum, "stablehlo.maximum", ORDERED)


def scatter_mul(
    operand: ArrayLike,
    scatter_indices: ArrayLike,
    updates: ArrayLike,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """`operand` with windows of it multiplied by `updates`; errors as `scatter`.

    >>> from pullback import lax, numpy as pnp
    >>> lax.scatter_mul(pnp.ones(3), pnp.full((2, 1), 2), pnp.full(2, 7.), lax.ScatterDimensionNumbers((), (0,), (0,)))
    Array([ 1.,  1., 49.], dtype=float32)
    """
    return bind_scatter(
        scatter_mul_p, operand, scatter_indices, updates, dimension_numbers, indices_are_sorted, unique_indices, mode
    )


def scatter_min(
    operand: ArrayLike,
    scatter_indices: ArrayLike,
    updates: ArrayLike,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """`operand` with the minimum of `updates` and windows of it; errors as `scatter`.

    >>> from pullback import lax, numpy as pnp
    >>> lax.scatter_min(pnp.ones(3), pnp.full((2, 1), 2), pnp.full(2, 7.), lax.ScatterDimensionNumbers((), (0,), (0,)))
    Array([1., 1., 1.], dtype=float32)
    """
    return bind_scatter(
        scatter_min_p, operand, scatter_indices, updates, dimension_numbers, indices_are_sorted, unique_indices, mode
    )


def scatter_max(
    operand: ArrayLike,
    scatter_indices: ArrayLike,
    updates: ArrayLike,
    dimension_numbers: ScatterDimensionNumbers,
    *,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Array:
    """`operand` with the maximum of `updates` and windows of it; errors as `scatter`.

    >>> from pullback import lax, numpy as pnp
    >>> lax.scatter_max(pnp.ones(3), pnp.full((2, 1), 2), pnp.full(2, 7.), lax.ScatterDimensionNumbers((), (0,), (0,)))
    Array([1., 1., 7.], dtype=float32)
    """
    return bind_scatter(
        scatter_max_p, operand, scatter_indices, updates, dimension_numbers, indices_are_sorted, unique_indices, mode
    )


# --- derivatives ---


def _scatter_mul_jvp(primals, tangents, **params):
    x, indices, updates = primals
    y = scatter_mul_p.bind(x, indices, updates, **params)
    t, _, u = tangents
    total: Any = zero_of(y.aval)
    if type(t) is not Zero:
        total = scatter_mul_p.bind(t, indices, updates, **params)
    if type(u) is not Zero:
        part = _by_updates(x, indices, updates, u, params)
        total = part if type(total) is Zero else add(total, part)
    return y, total


def _by_updates(x: Array, indices: Array, updates: Array, u: Any, params: dict) -> Array:
    """The tangent due to those of the updates, each times the other factors at its position."""
    start = read_back(x, indices, updates.aval, params)
    if params["unique_indices"] or updates.aval.size < 2:
        return scatter_add_p.bind(full(x.aval.shape, 0, x.aval.dtype), indices, mul(u, start), **params)
    # the position of each update: positions are counted from 1, and 0 means dropped
    size, n = x.aval.size, updates.aval.size
    numbers = add(broadcasted_iota(_INDEX, (size,), 0), np.int32(1))
    places = reshape(read_back(reshape(numbers, x.aval.shape), indices, updates.aval, params), (n,))
    order = argsort_of(places, 0)
    places, factors, start, u = (along_axis(reshape(v, (n,)), order, 0) for v in (places, updates, start, u))
    zero = scalar_like(0, x.aval.dtype)
    part = select(eq(places, np.int32(0)), zero, mul(mul(u, start), _others(factors, places)))
    target = ScatterDimensionNumbers((), (0,), (0,))
    flat = scatter_add_p.bind(
        full((size + 1,), 0, x.aval.dtype),
        reshape(places, (n, 1)),
        part,
        dimension_numbers=target,
        indices_are_sorted=True,
        unique_indices=False,
        mode=PROMISE,
    )
    return reshape(slice_in_dim(flat, 1, None), x.aval.shape)


def _others(factors: Array, places: Array) -> Array:
    """For each factor the product of the others at its position; the positions are sorted.

    Without quotients, which fail for zeros: the product of the earlier ones times that of the later ones.
    """
    before = _earlier(factors, places)
    after = rev(_earlier(rev(factors, (0,)), rev(places, (0,))), (0,))
    return mul(before, after)


def _earlier(factors: Array, places: Array) -> Array:
    # a product over 1, 2, 4, ... adjacent elements in turn, as long as they have the same position
    n = factors.aval.size
    one = scalar_like(1, factors.aval.dtype)

    def shifted(x, by, fill):
        return concatenate([full((by,), fill, x.aval.dtype), slice_in_dim(x, 0, n - by)], 0)

    def neighbours(x, by):
        return select(eq(places, shifted(places, by, -1)), shifted(x, by, 1), one)

    product, by = neighbours(factors, 1), 1
    while by < n:
        product = mul(product, neighbours(product, by))
        by *= 2
    return product


def _scatter_mul_transpose(ct, x, indices, updates, **params):
    return [scatter_mul_p.bind(ct, indices, updates, **params) if is_linear(x) else None, None, None]


def _extremum_jvp(p: Primitive):
    # all elements that attain the extremum share its derivative equally
    def jvp(primals, tangents, **params):
        x, indices, updates = primals
        y = p.bind(x, indices, updates, **params)
        t, _, u = tangents
        if type(t) is Zero and type(u) is Zero:
            return y, zero_of(y.aval)
        dtype = x.aval.dtype
        kept = convert_element_type(eq(x, y), dtype)
        taken = convert_element_type(eq(updates, read_back(y, indices, updates.aval, params)), dtype)
        share = add(kept, scatter_add_p.bind(full(x.aval.shape, 0, dtype), indices, taken, **params))
        sum_ = scatter_add_p.bind(mul(instantiate(t), kept), indices, mul(instantiate(u), taken), **params)
        return y, div(sum_, share)

    return jvp


scatter_mul_p.jvp = _scatter_mul_jvp
scatter_mul_p.transpose = _scatter_mul_transpose
scatter_mul_p.has(homogeneous=(0,))
scatter_min_p.jvp = _extremum_jvp(scatter_min_p)
scatter_max_p.jvp = _extremum_jvp(scatter_max_p)
