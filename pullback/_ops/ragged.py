"""Products of matrices in groups of rows: `ragged_dot`; products with scales for blocks of elements: `scaled_dot`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.typing import DTypeLike, Placement
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.compare import bitwise_and, ge, lt, select
from pullback._ops.cumulative import cumsum
from pullback._ops.dot import DotDimensionNumbersLike, PrecisionLike, dot_general
from pullback._ops.elementwise import mul, sub
from pullback._ops.families import operands, scalar_like
from pullback._ops.shape import broadcast_in_dim, broadcast_to, convert_element_type, move_axis, reshape, transpose
from pullback._ops.sharding_constraint import laid_out

_INDEX = np.dtype(np.int32)


# --- groups of rows ---


@dataclasses.dataclass(frozen=True)
class RaggedDotDimensionNumbers:
    """The axes of `ragged_dot_general`: those of the product, the one in groups, and that of the groups.

    `dot_dimension_numbers` is `((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))`, as in `dot_general`;
    `lhs_ragged_dimensions` is the axis of `lhs` that is divided into groups; `rhs_group_dimensions` the axis of `rhs`
    that runs over the groups, if there is one.

    >>> from pullback import lax
    >>> lax.RaggedDotDimensionNumbers((((1,), (1,)), ((), ())), [0], [0]).lhs_ragged_dimensions
    (0,)
    """

    dot_dimension_numbers: DotDimensionNumbersLike
    lhs_ragged_dimensions: Sequence[int]
    rhs_group_dimensions: Sequence[int]

    def __post_init__(self) -> None:
        (lc, rc), (lb, rb) = self.dot_dimension_numbers
        set_field = object.__setattr__
        set_field(self, "dot_dimension_numbers", ((tuple(lc), tuple(rc)), (tuple(lb), tuple(rb))))
        set_field(self, "lhs_ragged_dimensions", tuple(self.lhs_ragged_dimensions))
        set_field(self, "rhs_group_dimensions", tuple(self.rhs_group_dimensions))


def ragged_dot(
    lhs: ArrayLike,
    rhs: ArrayLike,
    group_sizes: ArrayLike,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    group_offset: None = None,
    out_sharding: Placement = None,
) -> Array:
    """The rows of `lhs`, in groups of the given sizes, each multiplied by the matrix of its group.

    `lhs`: `(m, k)`; `rhs`: `(g, k, n)`, of the same dtype; `group_sizes`: g integers, of consecutive rows. The result
    is `(m, n)`; rows beyond the last group are 0. The time is that of g products of all rows. ValueError for other
    shapes, TypeError for other dtypes, NotImplementedError for a `group_offset`.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.ragged_dot(pnp.ones((3, 1)), pnp.array([[[1.]], [[5.]]]), pnp.array([1, 2])))
    [[1.]
     [5.]
     [5.]]
    """
    numbers = RaggedDotDimensionNumbers((((1,), (1,)), ((), ())), (0,), (0,))
    x, y = operands("ragged_dot", lhs, rhs)
    if (x.aval.ndim, y.aval.ndim) != (2, 3):
        raise ValueError(f"ragged_dot: expected lhs (m, k) and rhs (g, k, n), got shapes {x.shape} and {y.shape}")
    return _ragged(
        "ragged_dot", x, y, group_sizes, numbers, precision, preferred_element_type, group_offset, out_sharding
    )


def ragged_dot_general(
    lhs: ArrayLike,
    rhs: ArrayLike,
    group_sizes: ArrayLike,
    ragged_dot_dimension_numbers: RaggedDotDimensionNumbers,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    group_offset: None = None,
    out_sharding: Placement = None,
) -> Array:
    """`dot_general` of operands of which one axis is divided into groups of consecutive elements.

    If the ragged axis of `lhs` remains in the result, its elements meet the `rhs` of their group (`ragged_dot`). If
    it is summed over, the sum over each group is an entry of a new leading axis. If it is a batch axis, this is
    `dot_general`. `group_sizes`: the sizes of the groups along the last axis, preceded by the batch axes and the axes
    of the same kind before the ragged one, or by none. ValueError for shapes and numbers that do not fit,
    NotImplementedError for a `group_offset`.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> numbers = lax.RaggedDotDimensionNumbers((((0,), (0,)), ((), ())), [0], [])
    >>> x = pnp.array([1., 2., 3.])
    >>> print(lax.ragged_dot_general(x, x, pnp.array([1, 2]), numbers))
    [ 1. 13.]
    """
    x, y = operands("ragged_dot_general", lhs, rhs)
    return _ragged(
        "ragged_dot_general",
        x,
        y,
        group_sizes,
        ragged_dot_dimension_numbers,
        precision,
        preferred_element_type,
        group_offset,
        out_sharding,
    )


def _ragged(
    name: str,
    x: Array,
    y: Array,
    group_sizes: ArrayLike,
    numbers: RaggedDotDimensionNumbers,
    precision: PrecisionLike,
    preferred: DTypeLike | None,
    group_offset: None,
    out_sharding: Placement,
) -> Array:
    if out_sharding is not None:
        result = _ragged(name, x, y, group_sizes, numbers, precision, preferred, group_offset, None)
        return laid_out(name, result, out_sharding)
    if group_offset is not None:
        raise NotImplementedError(f"{name}: group_offset must be None: all groups are computed")
    (lc, rc), (lb, rb) = numbers.dot_dimension_numbers
    if len(numbers.lhs_ragged_dimensions) != 1:
        raise ValueError(f"{name}: expected one ragged axis of lhs, got {numbers.lhs_ragged_dimensions}")
    (ragged,) = numbers.lhs_ragged_dimensions
    groups = numbers.rhs_group_dimensions
    free = ragged not in lc and ragged not in lb
    if len(groups) != free:
        raise ValueError(
            f"{name}: rhs must have {'one group axis' if free else 'no group axis'} for the ragged axis {ragged}, got "
            f"{groups}"
        )
    if ragged in lb:
        return dot_general(x, y, numbers.dot_dimension_numbers, precision, preferred)
    outer = lc[: tuple(lc).index(ragged)] if ragged in lc else [d for d in range(ragged) if d not in lc and d not in lb]
    masked = _in_groups(name, x, lift(group_sizes), ragged, [*lb, *outer])
    if free and masked.aval.shape[0] != y.aval.shape[groups[0]]:
        raise ValueError(
            f"{name}: expected a size for each of {y.aval.shape[groups[0]]} groups, got {masked.aval.shape[0]}"
        )
    left = tuple(d + 1 for d in lc)
    contracting = ((0, *left), (*groups, *rc)) if free else (left, tuple(rc))
    out = dot_general(masked, y, (contracting, (tuple(d + 1 for d in lb), tuple(rb))), precision, preferred)
    return out if free else move_axis(out, len(lb), 0)


def _in_groups(name: str, x: Array, sizes: Array, ragged: int, lead: Sequence[int]) -> Array:
    """The operand for each group, along a new first axis: zero outside of it."""
    if not dtypes.is_integer(sizes.aval.dtype):
        raise TypeError(f"{name}: group_sizes must be integers, got {sizes.aval.str_short()}")
    shape = x.aval.shape
    before = tuple(shape[d] for d in lead)
    if sizes.aval.ndim == 0 or (sizes.aval.ndim > 1 and sizes.aval.shape[:-1] != before):
        raise ValueError(f"{name}: group_sizes must have shape {(*before, 'g')} or ('g',), got {sizes.shape}")
    sizes = convert_element_type(sizes, _INDEX)
    ends = cumsum(sizes, sizes.aval.ndim - 1)
    bounds = []
    for bound in (sub(ends, sizes), ends):
        count = bound.aval.shape[-1]
        if bound.aval.ndim == 1:
            bounds.append(broadcast_in_dim(bound, (count, *shape), (0,)))
            continue
        order = sorted(range(len(lead)), key=lambda i: lead[i])
        bound = transpose(bound, (len(lead), *order))
        bounds.append(broadcast_in_dim(bound, (count, *shape), (0, *(lead[i] + 1 for i in order))))
    places = broadcast_to(broadcasted_iota(_INDEX, shape, ragged), bounds[0].aval.shape)
    inside = bitwise_and(ge(places, bounds[0]), lt(places, bounds[1]))
    return select(inside, broadcast_to(x, inside.aval.shape), scalar_like(0, x.aval.dtype))


# --- blocks with scales ---


def scaled_dot(
    lhs: ArrayLike,
    rhs: ArrayLike,
    *,
    lhs_scale: ArrayLike | None = None,
    rhs_scale: ArrayLike | None = None,
    dimension_numbers: DotDimensionNumbersLike | None = None,
    preferred_element_type: DTypeLike | None = None,
) -> Array:
    """`dot_general` of operands given as blocks of elements with a scale each.

    `lhs`, `rhs`: matrices, or stacks of them, of any dtype, float8 as a rule; `lhs_scale`, `rhs_scale`: of the same
    axes, shorter by a whole factor where one scale counts for several elements. `dimension_numbers` as in
    `dot_general`, by default those of a product of matrices. Computed in float32; the result is of
    `preferred_element_type`, by default bfloat16. ValueError for scales that do not fit.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.scaled_dot(pnp.ones((1, 4)), pnp.ones((4, 1)), lhs_scale=pnp.array([[1., 10.]])))
    [[22]]
    """
    x, y = _scaled("lhs", lhs, lhs_scale), _scaled("rhs", rhs, rhs_scale)
    if dimension_numbers is None:
        if x.aval.ndim != y.aval.ndim or x.aval.ndim not in (2, 3):
            raise ValueError(
                f"scaled_dot: expected two matrices or stacks of them, got shapes {x.shape} and {y.shape}; "
                "dimension_numbers describes other products"
            )
        stack = tuple(range(x.aval.ndim - 2))
        dimension_numbers = (((x.aval.ndim - 1,), (x.aval.ndim - 2,)), (stack, stack))
    kind = dtypes.requested_dtype("bfloat16" if preferred_element_type is None else preferred_element_type)
    return convert_element_type(dot_general(x, y, dimension_numbers), kind)


def _scaled(what: str, operand: ArrayLike, scale: ArrayLike | None) -> Array:
    x = convert_element_type(lift(operand), np.dtype(np.float32))
    if scale is None:
        return x
    s = convert_element_type(lift(scale), np.dtype(np.float32))
    shape = x.aval.shape
    if s.aval.ndim != x.aval.ndim or any(m == 0 or n % m for n, m in zip(shape, s.aval.shape, strict=True)):
        raise ValueError(
            f"scaled_dot: {what}_scale must have the axes of {what}, each of a length that divides its own, got shapes "
            f"{s.shape} and {x.shape}"
        )
    blocks = [k for n, m in zip(shape, s.aval.shape, strict=True) for k in (m, n // m)]
    s = broadcast_to(reshape(s, [k for m in s.aval.shape for k in (m, 1)]), tuple(blocks))
    return mul(x, reshape(s, shape))
