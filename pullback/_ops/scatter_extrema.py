"""Scatter that multiplies, or takes the smaller or the larger, where it meets what is there."""
from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.zeros import Zero, zero_of
from pullback._ops.compare import eq
from pullback._ops.elementwise import add, div, mul
from pullback._ops.families import NUMBER, ORDERED
from pullback._ops.gather_numpy import ScatterDimensionNumbers
from pullback._ops.gather_scatter import bind_scatter, read_back, scatter_add_p, scatter_primitive
from pullback._ops.shape import convert_element_type, full, instantiate

scatter_mul_p = scatter_primitive("scatter_mul", np.multiply, "stablehlo.multiply", NUMBER)
scatter_min_p = scatter_primitive("scatter_min", np.minimum, "stablehlo.minimum", ORDERED)
scatter_max_p = scatter_primitive("scatter_max", np.maximum, "stablehlo.maximum", ORDERED)


def scatter_mul(operand: Any, scatter_indices: Any, updates: Any, dimension_numbers: ScatterDimensionNumbers, *,
                indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None) -> Array:
    """`operand` with windows of it multiplied by `updates`; errors as `scatter`.

    >>> from pullback import lax, numpy as pnp
    >>> lax.scatter_mul(pnp.ones(3), pnp.full((2, 1), 2), pnp.full(2, 7.), lax.ScatterDimensionNumbers((), (0,), (0,)))
    Array([ 1.,  1., 49.], dtype=float32)
    """
    return bind_scatter(scatter_mul_p, operand, scatter_indices, updates, dimension_numbers, indices_are_sorted,
                        unique_indices, mode)


def scatter_min(operand: Any, scatter_indices: Any, updates: Any, dimension_numbers: ScatterDimensionNumbers, *,
                indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None) -> Array:
    """`operand` with the minimum of `updates` and windows of it; errors as `scatter`.

    >>> from pullback import lax, numpy as pnp
    >>> lax.scatter_min(pnp.ones(3), pnp.full((2, 1), 2), pnp.full(2, 7.), lax.ScatterDimensionNumbers((), (0,), (0,)))
    Array([1., 1., 1.], dtype=float32)
    """
    return bind_scatter(scatter_min_p, operand, scatter_indices, updates, dimension_numbers, indices_are_sorted,
                        unique_indices, mode)


def scatter_max(operand: Any, scatter_indices: Any, updates: Any, dimension_numbers: ScatterDimensionNumbers, *,
                indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None) -> Array:
    """`operand` with the maximum of `updates` and windows of it; errors as `scatter`.

    >>> from pullback import lax, numpy as pnp
    >>> lax.scatter_max(pnp.ones(3), pnp.full((2, 1), 2), pnp.full(2, 7.), lax.ScatterDimensionNumbers((), (0,), (0,)))
    Array([1., 1., 7.], dtype=float32)
    """
    return bind_scatter(scatter_max_p, operand, scatter_indices, updates, dimension_numbers, indices_are_sorted,
                        unique_indices, mode)


# --- derivatives ---


def _scatter_mul_jvp(primals, tangents, **params):
    x, indices, updates = primals
    y = scatter_mul_p.bind(x, indices, updates, **params)
    t, _, u = tangents
    total: Any = zero_of(y.aval)
    if type(t) is not Zero:
        total = scatter_mul_p.bind(t, indices, updates, **params)
    if type(u) is not Zero:
        if not params["unique_indices"]:
            raise NotImplementedError("scatter_mul: the derivative with respect to the updates is known only where no "
                                      "place is written to twice: say so with unique_indices=True")
        part = scatter_add_p.bind(full(x.aval.shape, 0, x.aval.dtype), indices,
                                  mul(u, read_back(x, indices, updates.aval, params)), **params)
        total = part if type(total) is Zero else add(total, part)
    return y, total


def _scatter_mul_transpose(ct, x, indices, updates, **params):
    return [scatter_mul_p.bind(ct, indices, updates, **params) if is_linear(x) else None, None, None]


def _extremum_jvp(p: Primitive):
    # all that attain the extremum share its derivative equally
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
scatter_min_p.jvp = _extremum_jvp(scatter_min_p)
scatter_max_p.jvp = _extremum_jvp(scatter_max_p)
