"""Products of arrays that sum over axes: dot, matmul, tensordot and similar functions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.config import config
from pullback._core.errors import boundary
from pullback._core.typing import DTypeLike, Placement
from pullback._ops.assemble import concatenate
from pullback._ops.compare import and_p
from pullback._ops.dot import DotDimensionNumbers, PrecisionLike, canonical_precision, dot_general_p, is_wider
from pullback._ops.elementwise import mul_p, neg, sub
from pullback._ops.families import broadcast_shapes
from pullback._ops.shape import broadcast_to, convert_element_type, move_axis, reshape, transpose
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.slicing import index_in_dim
from pullback._ops.trig import conj
from pullback.numpy._elementwise.promotion import as_operand, cast
from pullback.numpy._products.einsum import contracted
from pullback.numpy._reductions.reductions import one_axis, refuse_out

__all__ = ["dot", "vdot", "inner", "outer", "matmul", "tensordot", "kron", "matvec", "vecmat", "vecdot", "cross"]


def promoted(name: str, *args: ArrayLike) -> list[Array]:
    """Two operands in one dtype."""
    arrays = [x if isinstance(x, Array) else as_operand(x, name, i) for i, x in enumerate(args)]
    a, b = arrays[0].aval, arrays[1].aval
    if a.dtype == b.dtype and a.weak_type == b.weak_type:
        return arrays
    dtype, weak = dtypes.promote(*[(x.aval.dtype, x.aval.weak_type) for x in arrays])
    return [cast(x, dtype, weak) for x in arrays]


def contract(
    x: Array, y: Array, numbers: DotDimensionNumbers, precision: PrecisionLike, preferred: DTypeLike | None
) -> Array:
    """`dot_general` with a user's precision and result type."""
    plain = precision is None and config.default_matmul_precision is None
    return dot_general_p.bind(
        x,
        y,
        dimension_numbers=numbers,
        precision=None if plain else canonical_precision(precision),
        preferred_element_type=None if preferred is None else dtypes.requested_dtype(preferred),
    )


def _scaled(x: Array, y: Array, preferred: DTypeLike | None) -> Array:
    """The product with a 0-d operand."""
    if preferred is not None and is_wider(dtypes.resolve(preferred), x.aval.dtype):
        x, y = (convert_element_type(v, dtypes.requested_dtype(preferred)) for v in (x, y))
    z = (and_p if x.aval.dtype.kind == "b" else mul_p).bind(x, y)
    return z if preferred is None else convert_element_type(z, dtypes.requested_dtype(preferred))


# --- matmul: leading axes broadcast ---


@lru_cache(maxsize=4096)
def _matmul_plan(left: tuple[int, ...], right: tuple[int, ...]) -> tuple:
    """Shapes to bring the operands to, dimension numbers, and a permutation of the result's axes (None: leave
    it)."""
    if not left or not right:
        raise ValueError(
            f"matmul: operands must have at least 1 axis, got shapes {left} and {right}; use multiply for "
            "products with scalars"
        )
    i, j = len(left) - 1, max(len(right) - 2, 0)
    if left[i] != right[j]:
        which = "last but one" if len(right) > 1 else "only"
        raise TypeError(
            f"matmul: the last axis of the first operand and the {which} axis of the second must have "
            f"equal lengths, got {left[i]} and {right[j]} in shapes {left} and {right}"
        )
    if len(right) <= 2:
        return None, None, (((i,), (j,)), ((), ())), None
    lead = broadcast_shapes("matmul", left[:-2], right[:-2])
    rank = len(lead)
    # an axis of length 1 that is paired with a longer one (or none) is dropped: the other operand keeps it
    batch_left, batch_right, order = [], [], []
    kept: list[list[int]] = [[], []]
    for a in range(rank):
        lengths = [shape[a - rank - 2] if a - rank - 2 >= -len(shape) else None for shape in (left, right)]
        both = lengths[0] == lengths[1]
        for side in (0, 1):
            if both or (
                lengths[side] is not None
                and lengths[side] == lead[a]
                and (lengths[1 - side] is None or lengths[1 - side] == 1)
            ):
                kept[side].append(a)
        if both:
            batch_left.append(len(kept[0]) - 1)
            batch_right.append(len(kept[1]) - 1)
    new_left = (*(lead[a] for a in kept[0]), *left[-2:])
    new_right = (*(lead[a] for a in kept[1]), *right[-2:])
    numbers = (((len(new_left) - 1,), (len(new_right) - 2,)), (tuple(batch_left), tuple(batch_right)))
    common = [a for a in kept[0] if a in kept[1]]
    # names of the product's axes: leading ones by number, then rows ("rank") and columns ("rank + 1")
    product = [
        *common,
        *(a for a in kept[0] if a not in common),
        *([rank] if len(left) > 1 else []),
        *(a for a in kept[1] if a not in common),
        rank + 1,
    ]
    order = [product.index(a) for a in sorted(product)]
    same = (new_left, new_right) == (left, right)
    return None if same else new_left, new_right, numbers, None if order == sorted(order) else tuple(order)


@boundary
def matmul(
    a: ArrayLike,
    b: ArrayLike,
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Placement = None,
) -> Array:
    """The matrix product over the last two axes, `(..., m, k)` with `(..., k, n)`; leading axes broadcast.

    A vector counts as a row on the left and as a column on the right, and its axis is absent from the result.
    The dtype is the promoted one, or `preferred_element_type`. ValueError for 0-d operands, TypeError if
    lengths do not agree.

    >>> import pullback.numpy as pnp
    >>> pnp.matmul(pnp.array([[1., 2.], [3., 4.]]), pnp.array([1., 10.]))
    Array([21., 43.], dtype=float32)
    """
    if out_sharding is not None:
        return laid_out(
            "matmul", matmul(a, b, precision=precision, preferred_element_type=preferred_element_type), out_sharding
        )
    x, y = promoted("matmul", a, b)
    left, right, numbers, order = _matmul_plan(x.aval.shape, y.aval.shape)
    if left is not None:
        x, y = reshape(x, left), reshape(y, right)
    z = contract(x, y, numbers, precision, preferred_element_type)
    return z if order is None else transpose(z, order)


@boundary
def dot(
    a: ArrayLike,
    b: ArrayLike,
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Placement = None,
) -> Array:
    """The sum of products over the last axis of `a` and the last but one (or only) axis of `b`.

    All other axes of `a`, then those of `b`, are in the result. With a 0-d operand it is the plain product.
    TypeError if lengths do not agree.

    >>> import pullback.numpy as pnp
    >>> print(pnp.dot(pnp.array([1., 2.]), pnp.array([3., 4.])))
    11.0
    """
    if out_sharding is not None:
        return laid_out(
            "dot", dot(a, b, precision=precision, preferred_element_type=preferred_element_type), out_sharding
        )
    return _dot("dot", a, b, precision, preferred_element_type)


def _dot(
    name: str, a: ArrayLike, b: ArrayLike, precision: PrecisionLike, preferred_element_type: DTypeLike | None
) -> Array:
    x, y = promoted(name, a, b)
    m, n = x.aval.ndim, y.aval.ndim
    if m == 0 or n == 0:
        return _scaled(x, y, preferred_element_type)
    numbers = (((m - 1,), (0 if n == 1 else n - 2,)), ((), ()))
    _check_lengths(name, x, y, numbers)
    return contract(x, y, numbers, precision, preferred_element_type)


def _check_lengths(name: str, x: Array, y: Array, numbers: DotDimensionNumbers) -> None:
    (left, right), _ = numbers
    if [x.aval.shape[i] for i in left] != [y.aval.shape[i] for i in right]:
        raise TypeError(
            f"{name}: axes {left} of the first operand, of shape {x.shape}, and {right} of the second, of "
            f"shape {y.shape}, are summed together and must have equal lengths"
        )


@boundary
def vdot(
    a: ArrayLike, b: ArrayLike, *, precision: PrecisionLike = None, preferred_element_type: DTypeLike | None = None
) -> Array:
    """The sum of products of all elements in order, those of `a` conjugated. TypeError for sizes that differ.

    >>> import pullback.numpy as pnp
    >>> print(pnp.vdot(pnp.array([1., 2.]), pnp.array([3., 4.])))
    11.0
    """
    x, y = as_operand(a, "vdot", 0), as_operand(b, "vdot", 1)
    if dtypes.is_complex(x.aval.dtype):
        x = conj(x)
    return _dot("vdot", reshape(x, (x.aval.size,)), reshape(y, (y.aval.size,)), precision, preferred_element_type)


@boundary
def inner(
    a: ArrayLike, b: ArrayLike, *, precision: PrecisionLike = None, preferred_element_type: DTypeLike | None = None
) -> Array:
    """The sum of products over the last axes of both operands. TypeError for lengths that differ.

    >>> import pullback.numpy as pnp
    >>> pnp.inner(pnp.array([[1., 2.], [3., 4.]]), pnp.array([1., 1.]))
    Array([3., 7.], dtype=float32)
    """
    x, y = promoted("inner", a, b)
    if x.aval.ndim == 0 or y.aval.ndim == 0:
        return _scaled(x, y, preferred_element_type)
    numbers = (((x.aval.ndim - 1,), (y.aval.ndim - 1,)), ((), ()))
    _check_lengths("inner", x, y, numbers)
    return contract(x, y, numbers, precision, preferred_element_type)


@boundary
def outer(a: ArrayLike, b: ArrayLike, out: None = None) -> Array:
    """All products of an element of `a` with one of `b`, both flattened: shape (a.size, b.size).

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> pnp.outer(pnp.array([1, 2]), pnp.array([3, 4]))
    Array([[3, 4],
           [6, 8]], dtype=int32)
    """
    refuse_out("outer", out)
    x, y = promoted("outer", a, b)
    return _scaled(reshape(x, (x.aval.size, 1)), reshape(y, (1, y.aval.size)), None)


@boundary
def tensordot(
    a: ArrayLike,
    b: ArrayLike,
    axes: int | Sequence[Any] = 2,
    *,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Placement = None,
) -> Array:
    """The sum of products over pairs of axes: the last `axes` of `a` with the first of `b`, or a pair of axis
    lists. TypeError for lengths that do not agree.

    >>> import pullback.numpy as pnp
    >>> pnp.tensordot(pnp.ones((2, 3, 4)), pnp.ones((3, 4, 5))).shape
    (2, 5)
    """
    if out_sharding is not None:
        return laid_out(
            "tensordot",
            tensordot(a, b, axes, precision=precision, preferred_element_type=preferred_element_type),
            out_sharding,
        )
    x, y = promoted("tensordot", a, b)
    m, n = x.aval.ndim, y.aval.ndim
    if isinstance(axes, (tuple, list)) and len(axes) == 2:
        pair = [tuple(side) if isinstance(side, (tuple, list)) else (side,) for side in axes]
        left, right = (
            tuple(one_axis("tensordot", i, rank) for i in side) for side, rank in zip(pair, (m, n), strict=True)
        )
        if len(left) != len(right):
            raise TypeError(f"tensordot: axes must name as many axes of a as of b, got {axes}")
    elif isinstance(axes, int):
        if not 0 <= axes <= min(m, n):
            raise TypeError(f"tensordot: axes={axes} exceeds the rank of an operand, of shapes {x.shape} and {y.shape}")
        left, right = tuple(range(m - axes, m)), tuple(range(axes))
    else:
        raise TypeError(f"tensordot: axes must be an int or a pair of axis lists, got {axes!r}")
    numbers = ((left, right), ((), ()))
    _check_lengths("tensordot", x, y, numbers)
    return contract(x, y, numbers, precision, preferred_element_type)


@boundary
def kron(a: ArrayLike, b: ArrayLike) -> Array:
    """The Kronecker product: every element of `a` times all of `b`, laid out as blocks.

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> pnp.kron(pnp.array([1, 10]), pnp.array([1, 2]))
    Array([ 1,  2, 10, 20], dtype=int32)
    """
    x, y = promoted("kron", a, b)
    rank = max(x.aval.ndim, y.aval.ndim)
    left = (1,) * (rank - x.aval.ndim) + x.aval.shape
    right = (1,) * (rank - y.aval.ndim) + y.aval.shape
    x = reshape(x, tuple(n for length in left for n in (length, 1)))
    y = reshape(y, tuple(n for length in right for n in (1, length)))
    return reshape(_scaled(x, y, None), tuple(m * n for m, n in zip(left, right, strict=True)))


# --- vectors in stacks ---


@boundary
def matvec(x1: ArrayLike, x2: ArrayLike, /) -> Array:
    """Matrices `(..., m, n)` times vectors `(..., n)`: `(..., m)`; leading axes broadcast.

    ValueError for lengths that do not agree.

    >>> import pullback.numpy as pnp
    >>> pnp.matvec(pnp.ones((5, 2, 3)), pnp.ones(3)).shape
    (5, 2)
    """
    x, y = as_operand(x1, "matvec", 0), as_operand(x2, "matvec", 1)
    _check_inner("matvec", x, y, -1, -1)
    return contracted("matvec", "...mn,...n->...m", (x, y))


def _check_inner(name: str, x: Array, y: Array, left: int, right: int) -> None:
    """Refuse axes to sum over that have two lengths, of which one is 1: `einsum` would stretch it."""
    a, b = x.aval.shape, y.aval.shape
    if len(a) >= -left and len(b) >= -right and a[left] != b[right]:
        raise ValueError(
            f"{name}: axis {left} of the first operand and axis {right} of the second must have one "
            f"length, got shapes {a} and {b}"
        )


@boundary
def vecmat(x1: ArrayLike, x2: ArrayLike, /) -> Array:
    """Conjugated vectors `(..., m)` times matrices `(..., m, n)`: `(..., n)`; leading axes broadcast.

    ValueError for lengths that do not agree.

    >>> import pullback.numpy as pnp
    >>> pnp.vecmat(pnp.ones(2), pnp.ones((5, 2, 3))).shape
    (5, 3)
    """
    x, y = _conjugated("vecmat", x1), as_operand(x2, "vecmat", 1)
    _check_inner("vecmat", x, y, -1, -2)
    return contracted("vecmat", "...m,...mn->...n", (x, y))


@boundary
def vecdot(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    *,
    axis: int = -1,
    precision: PrecisionLike = None,
    preferred_element_type: DTypeLike | None = None,
) -> Array:
    """Sums of products along an axis of both operands, `x1` conjugated; other axes broadcast.

    ValueError for lengths that differ.

    >>> import pullback.numpy as pnp
    >>> pnp.vecdot(pnp.ones((4, 3)), pnp.ones((4, 3)))
    Array([3., 3., 3., 3.], dtype=float32)
    """
    x, y = _conjugated("vecdot", x1), as_operand(x2, "vecdot", 1)
    x, y = (move_axis(v, one_axis("vecdot", axis, v.aval.ndim), v.aval.ndim - 1) for v in (x, y))
    if x.aval.shape[-1] != y.aval.shape[-1]:
        raise ValueError(
            f"vecdot: axis {axis} must have one length in both operands, got shapes {np.shape(x1)} and {np.shape(x2)}"
        )
    return contracted(
        "vecdot", "...i,...i->...", (x, y), precision=precision, preferred_element_type=preferred_element_type
    )


def _conjugated(name: str, x: ArrayLike) -> Array:
    x = as_operand(x, name, 0)
    return conj(x) if dtypes.is_complex(x.aval.dtype) else x


@boundary
def cross(
    a: ArrayLike, b: ArrayLike, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Array:
    """The cross product of vectors of 3 (or 2) components; of 2 with 2, only the third component, and no axis
    for it.

    `axis` is the axis of the components in both operands and the result; other axes broadcast.
    ValueError for other numbers of components.

    >>> import pullback.numpy as pnp
    >>> pnp.cross(pnp.array([1., 0., 0.]), pnp.array([0., 1., 0.]))
    Array([0., 0., 1.], dtype=float32)
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    x, y = promoted("cross", a, b)
    x = move_axis(x, one_axis("cross", axisa, x.aval.ndim), x.aval.ndim - 1)
    y = move_axis(y, one_axis("cross", axisb, y.aval.ndim), y.aval.ndim - 1)
    if x.aval.shape[-1] not in (2, 3) or y.aval.shape[-1] not in (2, 3):
        raise ValueError(f"cross: vectors must have 2 or 3 components, got {x.aval.shape[-1]} and {y.aval.shape[-1]}")
    u, v = _components(x), _components(y)

    def component(i, j):
        terms: list[Any] = [mul_p.bind(u[p], v[q]) if p < len(u) and q < len(v) else None for p, q in ((i, j), (j, i))]
        if terms[0] is None:
            return neg(terms[1])
        return terms[0] if terms[1] is None else sub(*terms)

    if len(u) == len(v) == 2:
        return component(0, 1)
    parts = [component(1, 2), component(2, 0), component(0, 1)]
    shape = broadcast_shapes("cross", x.aval.shape[:-1], y.aval.shape[:-1])
    z = concatenate([broadcast_to(reshape(p, (*p.aval.shape, 1)), (*shape, 1)) for p in parts], len(shape))
    return move_axis(z, len(shape), one_axis("cross", axisc, len(shape) + 1))


def _components(x: Array) -> list[Array]:
    last = x.aval.ndim - 1
    return [index_in_dim(x, i, last, keepdims=False) for i in range(x.aval.shape[-1])]
