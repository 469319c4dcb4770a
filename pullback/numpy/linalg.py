"""Linear algebra: norms, powers and chains of products; linear systems are in `solving`, and `decompositions` in a file
of theirs."""

from __future__ import annotations

import typing as _typing
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.array import Array, ArrayLike, distinct
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import Axis, DTypeLike
from pullback._ops import elementwise
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.compare import eq, select
from pullback._ops.dot import PrecisionLike
from pullback._ops.families import scalar_like
from pullback._ops.lengths import norm_p
from pullback._ops.reduce import reduce_max_p, reduce_min_p
from pullback._ops.shape import broadcast_to, convert_element_type, expand_dims, reduce_sum_p, reshape
from pullback._ops.trig import abs as magnitude
from pullback.numpy._creation import grids
from pullback.numpy._elementwise.logic import truth
from pullback.numpy._elementwise.promotion import as_operand, integer
from pullback.numpy._linalg.decompositions import (
    EighResult,
    EigResult,
    QRResult,
    SVDResult,
    cond,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    matrix_rank,
    pinv,
    qr,
    singular_norm,
    svd,
    svdvals,
)
from pullback.numpy._linalg.least_squares import lstsq
from pullback.numpy._linalg.solving import (
    SlogdetResult,
    cholesky,
    det,
    inexact,
    inv,
    inverted,
    slogdet,
    solve,
    square_matrices,
    tensorinv,
    tensorsolve,
)
from pullback.numpy._products import contractions
from pullback.numpy._products.contractions import matmul, promoted, tensordot, vecdot
from pullback.numpy._products.einsum import contracted
from pullback.numpy._reductions.reductions import axes_of, one_axis, reduced
from pullback.numpy._shape.manipulation import matrix_transpose, moveaxis

__all__ = [
    "EigResult",
    "EighResult",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]


@boundary
def cross(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Array:
    """The cross product of vectors of 3 components, along `axis`; other axes broadcast.

    ValueError for other numbers of components: `pullback.numpy.cross` takes vectors of 2.

    >>> import pullback.numpy as pnp
    >>> pnp.linalg.cross(pnp.array([1., 0., 0.]), pnp.array([0., 1., 0.]))
    Array([0., 0., 1.], dtype=float32)
    """
    x, y = promoted("linalg.cross", x1, x2)
    lengths = [v.aval.shape[one_axis("linalg.cross", axis, v.aval.ndim)] for v in (x, y)]
    if lengths != [3, 3]:
        raise ValueError(
            f"linalg.cross: vectors must have 3 components along axis {axis}, got {lengths[0]} and {lengths[1]}"
        )
    return contractions.cross(x, y, axis=axis)


@boundary
def outer(x1: ArrayLike, x2: ArrayLike, /) -> Array:
    """All products of an element of the vector `x1` with one of the vector `x2`: a matrix.

    ValueError for other numbers of axes: `pullback.numpy.outer` flattens.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.outer(pnp.array([1, 2]), pnp.array([3, 4])))
    [[3 4]
     [6 8]]
    """
    x, y = promoted("linalg.outer", x1, x2)
    if x.aval.ndim != 1 or y.aval.ndim != 1:
        raise ValueError(f"linalg.outer: expected two vectors, got shapes {x.aval.shape} and {y.aval.shape}")
    return contractions.outer(x, y)


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _extreme(name: str, ord: int | float, sizes: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The largest of numbers that are not negative, 0 of none; for a negative `ord`, the smallest."""
    if all(sizes.aval.shape[axis] for axis in axes):
        return reduced(reduce_max_p if ord > 0 else reduce_min_p, sizes, axes, keepdims)
    if ord > 0:
        return reduced(reduce_sum_p, sizes, axes, keepdims)
    raise ValueError(
        f"{name}: ord={ord} is the smallest of some sizes, but of an empty axis there are none; got shape "
        f"{sizes.shape}. Give ord={-ord}, which is 0 there."
    )


def _vector_norm(name: str, x: Array, ord: Any, axes: tuple[int, ...], keepdims: bool) -> Array:
    if ord is None or ord == 2:
        return reduced(norm_p, x, axes, keepdims)
    if isinstance(ord, str):
        raise ValueError(f"{name}: ord={ord!r} is a norm of matrices; of vectors give a number, inf or -inf")
    if ord in (np.inf, -np.inf):
        return _extreme(name, ord, magnitude(x), axes, keepdims)
    if ord == 0:
        sizes = magnitude(x)
        return reduced(reduce_sum_p, convert_element_type(truth(sizes), sizes.aval.dtype), axes, keepdims)
    if ord == 1:
        return reduced(reduce_sum_p, magnitude(x), axes, keepdims)
    sizes = magnitude(x)
    zero, one = (scalar_like(n, sizes.aval.dtype) for n in (0, 1))
    p = convert_element_type(as_operand(ord, name, 1), sizes.aval.dtype)
    if isinstance(ord, (int, float)) and ord > 1:
        total = reduced(reduce_sum_p, elementwise.pow(sizes, p), axes, keepdims)
        tip = eq(total, zero)
    else:
        # at the tip, where all is zero, each power is a cusp with an infinite slope, which no zero makes 0
        tip = eq(reduced(reduce_max_p, sizes, axes, True), zero)
        total = reduced(reduce_sum_p, elementwise.pow(select(tip, one, sizes), p), axes, keepdims)
        tip = reshape(tip, total.aval.shape)
    return select(tip, zero, elementwise.pow(select(tip, one, total), elementwise.div(one, p)))


def _matrix_norm(name: str, x: Array, ord: Any, rows: int, columns: int, keepdims: bool) -> Array:
    if rows == columns:
        raise ValueError(f"{name}: the two axes of a matrix must differ, got {rows} twice")
    if ord is None or ord == "fro":
        return _vector_norm(name, x, None, tuple(sorted((rows, columns))), keepdims)
    if ord in (2, -2, "nuc"):
        y = singular_norm(moveaxis(x, (rows, columns), (-2, -1)), ord)
        return expand_dims(y, sorted((rows, columns))) if keepdims else y
    if ord not in (1, -1, np.inf, -np.inf):
        raise ValueError(f"{name}: ord of a matrix must be None, 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, got {ord!r}")
    summed, over = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = reduced(reduce_sum_p, magnitude(x), (summed,), True)
    y = _extreme(name, ord, sums, (over,), True)
    if keepdims:
        return y
    return reshape(y, tuple(n for i, n in enumerate(y.aval.shape) if i not in (rows, columns)))


@boundary
def norm(x: ArrayLike, ord: int | float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Array:
    """A norm of vectors or matrices, real.

    Without `axis` and `ord`, the 2-norm of all elements. `axis` is the axis of vectors, or a pair of axes of
    matrices; without it, `x` is one vector or one matrix. `ord` of vectors: None or 2, 1, inf, -inf, 0 (the
    count of nonzeros) or any number p, for sum(|x|**p)**(1/p); of matrices: None or "fro" (root of the sum of
    squares), 1 or -1 (the largest or smallest column sum), inf or -inf (of row sums), 2 or -2 (the largest or smallest
    singular value), "nuc" (the sum of singular values). Of an empty axis the largest is 0.

    The gradient where all elements are 0 is 0 for every `ord` of vectors but 1, inf and -inf, which have the
    derivatives of the sum and the extremes of |x| (see docs/conventions.md).
    ValueError for another `ord`, for the smallest of an empty axis, and for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.norm(pnp.array([3., 4.])))
    5.0
    """
    x = inexact("norm", x)
    rank = x.aval.ndim
    if axis is None and ord is None:
        return _vector_norm("norm", x, None, tuple(range(rank)), keepdims)
    axes = (
        tuple(range(rank))
        if axis is None
        else tuple(one_axis("norm", a, rank) for a in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    )
    if len(axes) == 1:
        return _vector_norm("norm", x, ord, axes, keepdims)
    if len(axes) != 2:
        raise ValueError(f"norm: with ord={ord!r} and axis={axis!r} expected vectors or matrices, got shape {x.shape}")
    return _matrix_norm("norm", x, ord, *axes, keepdims)


@boundary
def vector_norm(x: ArrayLike, /, *, axis: Axis = None, keepdims: bool = False, ord: int | float | str = 2) -> Array:
    """The norm of vectors along an axis or several; without `axis`, of all elements. For `ord` see `norm`.

    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.vector_norm(pnp.array([3., 4.]), ord=1))
    7.0
    """
    x = inexact("vector_norm", x)
    return _vector_norm("vector_norm", x, ord, axes_of("vector_norm", axis, x.aval.ndim), keepdims)


@boundary
def matrix_norm(x: ArrayLike, /, *, keepdims: bool = False, ord: int | float | str | None = "fro") -> Array:
    """The norm of matrices in the last two axes. For `ord` see `norm`. ValueError for fewer than two axes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.matrix_norm(pnp.array([[1., 2.], [3., 4.]]), ord=1))
    6.0
    """
    x = inexact("matrix_norm", x)
    if x.aval.ndim < 2:
        raise ValueError(f"matrix_norm: expected matrices in the last two axes, got shape {x.shape}")
    return _matrix_norm("matrix_norm", x, ord, x.aval.ndim - 2, x.aval.ndim - 1, keepdims)


@boundary
def diagonal(x: ArrayLike, /, *, offset: int = 0) -> Array:
    """The diagonals of matrices `(..., m, n)`, or those `offset` places above. ValueError for fewer than two axes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.diagonal(pnp.array([[1, 2], [3, 4]])))
    [1 4]
    """
    return grids.diagonal(x, offset, -2, -1)


@boundary
def trace(x: ArrayLike, /, *, offset: int = 0, dtype: DTypeLike | None = None) -> Array:
    """The sums along the diagonals of matrices `(..., m, n)`, or `offset` places above. ValueError for less than two
    axes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.trace(pnp.array([[1, 2], [3, 4]])))
    5
    """
    return grids.trace(x, offset, -2, -1, dtype)


@boundary
def matrix_power(a: ArrayLike, n: int) -> Array:
    """The product of `n` square matrices `a` of shape `(..., k, k)`, by repeated squaring; the identity for n = 0.

    The dtype is kept; for a negative `n` it is the power of the inverse, in floating point. TypeError for other shapes,
    an `n` that is not an integer, and for an inverse in half precision.

    >>> import pullback.numpy as pnp
    >>> pnp.linalg.matrix_power(pnp.array([[1., 1.], [0., 1.]]), 3)
    Array([[1., 3.],
           [0., 1.]], dtype=float32)
    """
    x = as_operand(a, "matrix_power", 0)
    n = integer("matrix_power", "n", n)
    shape = x.aval.shape
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise TypeError(f"matrix_power: expected square matrices in the last two axes, got shape {shape}")
    if n < 0:
        n, x = -n, inverted("matrix_power", square_matrices("matrix_power", x))
    result: Array | None = None
    while n:
        if n & 1:
            result = x if result is None else matmul(result, x)
        n >>= 1
        if n:
            x = matmul(x, x)
    if result is None:
        index, square = np.dtype(np.int32), shape[-2:]
        diagonal = eq(broadcasted_iota(index, square, 0), broadcasted_iota(index, square, 1))
        return broadcast_to(convert_element_type(diagonal, x.aval.dtype), shape)
    return distinct(result, a)


@boundary
def multi_dot(arrays: Sequence[Any], *, precision: PrecisionLike = None) -> Array:
    """The product of two or more matrices, in the order that costs least. The first and the last may be
    vectors. ValueError for lengths that do not agree, or a single array.

    >>> import pullback.numpy as pnp
    >>> pnp.linalg.multi_dot([pnp.ones((2, 3)), pnp.ones((3, 4)), pnp.ones(4)])
    Array([12., 12.], dtype=float32)
    """
    xs = [as_operand(x, "multi_dot", i) for i, x in enumerate(arrays)]
    if len(xs) < 2:
        raise ValueError(f"multi_dot: expected at least two arrays, got {len(xs)}")
    ranks = [x.aval.ndim for x in xs]
    if any(r != 2 for r in ranks[1:-1]) or not {ranks[0], ranks[-1]} <= {1, 2}:
        raise ValueError(f"multi_dot: expected matrices (vectors at the ends), got shapes {[x.shape for x in xs]}")
    terms = [_LETTERS[i : i + 2] for i in range(len(xs))]
    if ranks[0] == 1:
        terms[0] = terms[0][1]
    if ranks[-1] == 1:
        terms[-1] = terms[-1][0]
    out = (terms[0][0] if ranks[0] == 2 else "") + (terms[-1][1] if ranks[-1] == 2 else "")
    return contracted("multi_dot", ",".join(terms) + "->" + out, xs, precision=precision)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
