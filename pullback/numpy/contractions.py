"""Products of arrays that sum over axes: dot, matmul, tensordot and their kin."""
from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.errors import boundary
from pullback._ops.conv import conv_general_dilated
from pullback._ops.dot import canonical_precision, dot_general_p
from pullback._ops.elementwise import mul_p, neg, sub
from pullback._ops.families import broadcast_shapes
from pullback._ops.shape import broadcast_to, convert_element_type, move_axis, reshape, transpose
from pullback._ops.slicing import rev, slice_in_dim
from pullback._ops.trig import conj
from pullback.numpy.elementwise import as_operand, cast
from pullback.numpy.reductions import one_axis

__all__ = ["dot", "vdot", "inner", "outer", "matmul", "tensordot", "kron", "matvec", "vecmat", "vecdot", "cross",
           "convolve", "correlate"]


def promoted(name: str, *args: Any) -> tuple[list[Array], bool]:
    """The operands in one dtype, and whether it is weak."""
    arrays = [as_operand(x, name, i) for i, x in enumerate(args)]
    first = arrays[0].aval
    if all(x.aval.dtype == first.dtype and x.aval.weak_type == first.weak_type for x in arrays):
        return arrays, first.weak_type
    dtype, weak = dtypes.promote(*[(x.aval.dtype, x.aval.weak_type) for x in arrays])
    return [cast(x, dtype, weak) for x in arrays], weak


def contract(x: Array, y: Array, numbers: Any, precision: Any, preferred: Any) -> Array:
    """`dot_general` with a user's precision and result type."""
    return dot_general_p.bind(
        x, y, dimension_numbers=numbers, precision=None if precision is None else canonical_precision(precision),
        preferred_element_type=None if preferred is None else dtypes.canonicalize_dtype(preferred))


def _scaled(x: Array, y: Array, preferred: Any) -> Array:
    """The product with a 0-d operand."""
    z = (and_p if x.aval.dtype.kind == "b" else mul_p).bind(x, y)
    return z if preferred is None else convert_element_type(z, preferred)


# --- matmul: leading axes broadcast ---


@lru_cache(maxsize=4096)
def _matmul_plan(left: tuple[int, ...], right: tuple[int, ...]) -> tuple:
    """Shapes to bring the operands to, dimension numbers, and a permutation of the result's axes (None: leave it)."""
    if not left or not right:
        raise ValueError(f"matmul: operands must have at least 1 axis, got shapes {left} and {right}; use multiply for "
                         "products with scalars")
    i, j = len(left) - 1, max(len(right) - 2, 0)
    if left[i] != right[j]:
        raise TypeError(f"matmul: the last axis of the first operand and the {'last but one' if len(right) > 1 else 'only'} "
                        f"axis of the second must have equal lengths, got {left[i]} and {right[j]} in shapes {left} and "
                        f"{right}")
    if len(right) <= 2:
        return left, right, (((i,), (j,)), ((), ())), None
    lead = broadcast_shapes("matmul", left[:-2], right[:-2])
    rank = len(lead)
    # an axis of length 1 that meets a longer one (or none) is dropped: the other operand has it for itself
    batch_left, batch_right, order = [], [], []
    kept: list[list[int]] = [[], []]
    for a in range(rank):
        lengths = [shape[a - rank - 2] if a - rank - 2 >= -len(shape) else None for shape in (left, right)]
        both = lengths[0] == lengths[1]
        for side in (0, 1):
            if both or (lengths[side] is not None and lengths[side] == lead[a] and (
                    lengths[1 - side] is None or lengths[1 - side] == 1)):
                kept[side].append(a)
        if both:
            batch_left.append(len(kept[0]) - 1)
            batch_right.append(len(kept[1]) - 1)
    new_left = (*(lead[a] for a in kept[0]), *left[-2:])
    new_right = (*(lead[a] for a in kept[1]), *right[-2:])
    numbers = (((len(new_left) - 1,), (len(new_right) - 2,)), (tuple(batch_left), tuple(batch_right)))
    common = [a for a in kept[0] if a in kept[1]]
    # names of the product's axes: leading ones by number, then rows ("rank") and columns ("rank + 1")
    product = [*common, *(a for a in kept[0] if a not in common), *([rank] if len(left) > 1 else []),
               *(a for a in kept[1] if a not in common), rank + 1]
    order = [product.index(a) for a in sorted(product)]
    return new_left, new_right, numbers, None if order == sorted(order) else tuple(order)


@boundary
def matmul(a: Any, b: Any, *, precision: Any = None, preferred_element_type: Any = None,
           out_sharding: None = None) -> Array:
    """The matrix product over the last two axes, `(..., m, k)` with `(..., k, n)`; leading axes broadcast.

    A vector counts as a row on the left and as a column on the right, and its axis is absent from the result. The dtype is
    the promoted one, or `preferred_element_type`. ValueError for 0-d operands, TypeError if lengths do not agree.

    >>> import pullback.numpy as pnp
    >>> pnp.matmul(pnp.array([[1., 2.], [3., 4.]]), pnp.array([1., 10.]))
    Array([21., 43.], dtype=float32)
    """
    (x, y), _ = promoted("matmul", a, b)
    left, right, numbers, order = _matmul_plan(x.aval.shape, y.aval.shape)
    z = contract(reshape(x, left), reshape(y, right), numbers, precision, preferred_element_type)
    return z if order is None else transpose(z, order)
