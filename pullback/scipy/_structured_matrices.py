"""Matrices given by few numbers: along diagonals, as companions of polynomials, of binomial coefficients."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import DTypeLike
from pullback._ops.assemble import concatenate as joined
from pullback._ops.families import broadcast_shapes, scalar_like
from pullback._ops.matrices import conjugate
from pullback._ops.shape import broadcast_to, convert_element_type, reshape
from pullback._ops.slicing import pad, rev, slice_in_dim
from pullback.numpy._elementwise.promotion import INEXACT, as_operand, cast, integer, promote_operands
from pullback.numpy._indexing.indexing import take

__all__ = [
    "block_diag",
    "circulant",
    "companion",
    "convolution_matrix",
    "dft",
    "fiedler",
    "fiedler_companion",
    "hadamard",
    "hankel",
    "helmert",
    "hilbert",
    "invhilbert",
    "invpascal",
    "leslie",
    "pascal",
    "toeplitz",
]

# --- along diagonals ---


@boundary
def block_diag(*arrs: ArrayLike) -> Array:
    """The matrix with the given ones along its diagonal, and zeros elsewhere; of shape (1, 0) for none.

    A vector counts as one row and a number as a matrix of one entry; dtypes are promoted. ValueError for more than two
    axes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.block_diag(pnp.array([[1, 2], [3, 4]]), 5))
    [[1 2 0]
     [3 4 0]
     [0 0 5]]
    """
    xs = [as_operand(x, "block_diag", i) for i, x in enumerate(arrs or (np.zeros((1, 0), np.float32),))]
    for i, x in enumerate(xs):
        if x.aval.ndim > 2:
            raise ValueError(f"block_diag: expected matrices, vectors or numbers, got shape {x.shape} at argument {i}")
    dtype, weak = dtypes.promote(*[(x.aval.dtype, x.aval.weak_type) for x in xs])
    xs = [reshape(cast(x, dtype, weak), (1,) * (2 - x.aval.ndim) + x.aval.shape) for x in xs]
    width, before = sum(x.aval.shape[1] for x in xs), 0
    strips = []
    for x in xs:
        after = before + x.aval.shape[1]
        strips.append(pad(x, scalar_like(0, dtype), [(0, 0, 0), (before, width - after, 0)]))
        before = after
    return joined(strips, 0)


@boundary
def toeplitz(c: ArrayLike, r: ArrayLike | None = None) -> Array:
    """The matrices of shape `(..., m, n)` whose entries depend only on the diagonal they are on.

    `c`: the first column `(..., m)`; `r`: the first row `(..., n)`, of which the first entry is not read, by default
    the conjugate of `c`. Leading axes broadcast, dtypes are promoted. TypeError for anything but an array, ValueError
    for leading axes that do not broadcast.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.toeplitz(pnp.array([1, 2, 3]), pnp.array([1, 4])))
    [[1 4]
     [2 1]
     [3 2]]
    """
    column = as_operand(c, "toeplitz", 0)
    row = conjugate(column) if r is None else as_operand(r, "toeplitz", 1)
    dtype, _ = dtypes.promote(*[(x.aval.dtype, x.aval.weak_type) for x in (column, row)])
    column, row = (convert_element_type(reshape(x, x.aval.shape or (1,)), dtype) for x in (column, row))
    lead = broadcast_shapes("toeplitz", column.aval.shape[:-1], row.aval.shape[:-1])
    m, n = column.aval.shape[-1], row.aval.shape[-1]
    column, row = broadcast_to(column, (*lead, m)), broadcast_to(row, (*lead, n))
    axis = len(lead)
    # from the lower left corner up and then to the right
    around = joined([rev(column, (axis,)), slice_in_dim(row, min(n, 1), n, axis=axis)], axis)
    return take(around, m - 1 - np.arange(m)[:, None] + np.arange(n), axis=axis)


def _vectors(name: str, argument: str, x: ArrayLike, least: int) -> Array:
    """An array of vectors of at least this length."""
    vectors = as_operand(x, name, argument)
    if vectors.ndim == 0 or vectors.shape[-1] < least:
        raise ValueError(f"{name}: {argument} must have at least {least} entries in the last axis, got {vectors.shape}")
    return vectors


def _size(name: str, n: int, least: int = 0) -> int:
    size = integer(name, "n", n)
    if size < least:
        raise ValueError(f"{name}: n must be at least {least}, got {size}")
    return size


@boundary
def circulant(c: ArrayLike) -> Array:
    """The matrices of shape `(..., n, n)` whose columns are `c`, of shape `(..., n)`, moved on by one each time.

    ValueError for a number.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.circulant(pnp.array([1, 2, 3])))
    [[1 3 2]
     [2 1 3]
     [3 2 1]]
    """
    column = _vectors("circulant", "c", c, 0)
    n = column.shape[-1]
    return take(column, (np.arange(n)[:, None] - np.arange(n)) % max(n, 1), axis=column.ndim - 1)


@boundary
def hankel(c: ArrayLike, r: ArrayLike | None = None) -> Array:
    """The matrices of shape `(..., m, n)` whose entries depend only on the sum of their indices.

    `c`: the first column `(..., m)`; `r`: the last row `(..., n)`, of which the first entry is not read, by default
    zeros like `c`. Leading axes broadcast, dtypes are promoted. ValueError for leading axes that do not broadcast.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.hankel(pnp.array([1, 2]), pnp.array([2, 7, 8])))
    [[1 2 7]
     [2 7 8]]
    """
    column = pnp.atleast_1d(as_operand(c, "hankel", "c"))
    row = pnp.zeros_like(column) if r is None else pnp.atleast_1d(as_operand(r, "hankel", "r"))
    lead = broadcast_shapes("hankel", column.shape[:-1], row.shape[:-1])
    m, n = column.shape[-1], row.shape[-1]
    column, row = pnp.broadcast_to(column, (*lead, m)), pnp.broadcast_to(row, (*lead, n))
    along = pnp.concatenate([column, row[..., 1:]], -1)
    return take(along, np.arange(m)[:, None] + np.arange(n), axis=len(lead))


@boundary
def convolution_matrix(a: ArrayLike, n: int, mode: str = "full") -> Array:
    """The matrices by which a vector of length `n` is multiplied to convolve it with `a`.

    Args:
      a: vectors of length m, of shape `(..., m)`.
      n: the number of columns, at least 1.
      mode: as in `numpy.convolve`: "full", m + n - 1 rows; "same", the middle max(m, n); "valid", max(m, n) - min(m, n)
        + 1, where one of the vectors is inside of the other.

    Raises: ValueError for an empty `a`, an `n` below 1 and another mode.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.convolution_matrix(pnp.array([1, 2]), 2))
    [[1 0]
     [2 1]
     [0 2]]
    """
    vectors = _vectors("convolution_matrix", "a", a, 1)
    m, columns = vectors.shape[-1], _size("convolution_matrix", n, 1)
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"convolution_matrix: mode must be 'full', 'same' or 'valid', got {mode!r}")
    rows = m + columns - 1
    length = {"full": rows, "same": max(m, columns), "valid": max(m, columns) - min(m, columns) + 1}[mode]
    start = (rows - length) // 2
    place = np.arange(start, start + length)[:, None] - np.arange(columns)
    entries = take(vectors, np.clip(place, 0, m - 1), axis=vectors.ndim - 1)
    return pnp.where((place >= 0) & (place < m), entries, pnp.zeros((), vectors.dtype))


# --- of polynomials and populations ---


@boundary
def companion(a: ArrayLike) -> Array:
    """The companion matrices of polynomials, whose eigenvalues are the roots.

    `a`: the coefficients, of shape `(..., n)` with n >= 2, that of the highest power first and not 0. The result has
    shape `(..., n - 1, n - 1)`. ValueError for fewer coefficients.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.companion(pnp.array([1., -3., 2.])))
    [[ 3. -2.]
     [ 1.  0.]]
    """
    (x,) = promote_operands("companion", INEXACT, _vectors("companion", "a", a, 2))
    n = x.shape[-1] - 1
    first = -x[..., 1:] / x[..., :1]
    below = pnp.broadcast_to(pnp.eye(n - 1, n, dtype=x.dtype), (*x.shape[:-1], n - 1, n))
    return pnp.concatenate([first[..., None, :], below], -2)


@boundary
def fiedler(a: ArrayLike) -> Array:
    """The matrices of the distances `abs(a[i] - a[j])`, of shape `(..., n, n)` for `a` of shape `(..., n)`.

    ValueError for a number.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.fiedler(pnp.array([1, 4])))
    [[0 3]
     [3 0]]
    """
    x = _vectors("fiedler", "a", a, 0)
    return abs(x[..., :, None] - x[..., None, :])


@boundary
def fiedler_companion(a: ArrayLike) -> Array:
    """The companion matrices of polynomials that have five diagonals: Fiedler, Linear Algebra Appl. 372 (2003).

    `a`: the coefficients, of shape `(..., n)` with n >= 1, that of the highest power first and not 0. The result has
    shape `(..., n - 1, n - 1)`. ValueError for none.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.fiedler_companion(pnp.array([1., -3., 2.])))
    [[ 3. -2.]
     [ 1.  0.]]
    """
    (x,) = promote_operands("fiedler_companion", INEXACT, _vectors("fiedler_companion", "a", a, 1))
    n = x.shape[-1] - 1
    coefficients = -x[..., 1:] / x[..., :1]
    index, ones = np.full((n, n), -1), np.zeros((n, n))
    for i in range(n):
        if i % 2:
            ones[i, max(i - 2, 0)] = 1
            continue
        index[i, max(i - 1, 0)] = i
        if i + 1 < n:
            index[i, i + 1] = i + 1
        if i + 2 < n:
            ones[i, i + 2] = 1
    entries = take(coefficients, np.clip(index, 0, max(n - 1, 0)), axis=coefficients.ndim - 1)
    return pnp.where(index >= 0, entries, pnp.asarray(ones, coefficients.dtype))


@boundary
def leslie(f: ArrayLike, s: ArrayLike) -> Array:
    """The matrices of Leslie's model of a population: its fertilities in the first row, survivals below.

    `f`: of shape `(..., n)` with n >= 2; `s`: of shape `(..., n - 1)`. Leading axes broadcast, dtypes are promoted.
    ValueError for other lengths.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.leslie(pnp.array([0., 2.]), pnp.array([0.5])))
    [[0.  2. ]
     [0.5 0. ]]
    """
    births, lives = _vectors("leslie", "f", f, 2), _vectors("leslie", "s", s, 1)
    n = births.shape[-1]
    if lives.shape[-1] != n - 1:
        raise ValueError(f"leslie: s must have one entry less than f, got shapes {births.shape} and {lives.shape}")
    lead = broadcast_shapes("leslie", births.shape[:-1], lives.shape[:-1])
    dtype = pnp.result_type(births, lives)
    births = pnp.broadcast_to(births.astype(dtype), (*lead, n))
    lives = pnp.broadcast_to(lives.astype(dtype), (*lead, n - 1))
    below = lives[..., :, None] * pnp.eye(n - 1, n, dtype=dtype)
    return pnp.concatenate([births[..., None, :], below], -2)


# --- of one number ---


@boundary
def dft(n: int, scale: str | None = None, *, dtype: DTypeLike | None = None) -> Array:
    """The matrix of the discrete Fourier transform of length `n`, `exp(-2 pi i j k / n)`.

    `scale`: None, "sqrtn" divides by the root of n, "n" by n. `dtype`: complex, by default the default one. Raises:
    ValueError for another scale or a negative `n`, TypeError for another dtype.

    >>> from pullback.scipy import linalg
    >>> print(linalg.dft(2).real)
    [[ 1.  1.]
     [ 1. -1.]]
    """
    size = _size("dft", n)
    kind = pnp.result_type(complex) if dtype is None else dtypes.requested_dtype(dtype)
    if not dtypes.is_complex(kind):
        raise TypeError(f"dft: dtype must be complex, got {kind.name}")
    if scale not in (None, "sqrtn", "n"):
        raise ValueError(f"dft: scale must be None, 'sqrtn' or 'n', got {scale!r}")
    k = np.arange(size)
    turns = np.outer(k, k) % max(size, 1) / max(size, 1)
    matrix = np.exp(-2j * np.pi * turns)
    return pnp.asarray(matrix / {None: 1, "sqrtn": math.sqrt(max(size, 1)), "n": max(size, 1)}[scale], kind)


@boundary
def hadamard(n: int, dtype: DTypeLike = int) -> Array:
    """Sylvester's matrix of 1 and -1 with orthogonal rows, for a power of two `n`, in `dtype`; ValueError for others.

    >>> from pullback.scipy import linalg
    >>> print(linalg.hadamard(2))
    [[ 1  1]
     [ 1 -1]]
    """
    size = _size("hadamard", n, 1)
    if size & (size - 1):
        raise ValueError(f"hadamard: n must be a power of two, got {size}")
    k = np.arange(size)
    parity = np.array([[bin(i & j).count("1") % 2 for j in k] for i in k])
    return pnp.asarray(1 - 2 * parity, dtypes.requested_dtype(dtype))


@boundary
def helmert(n: int, full: bool = False) -> Array:
    """The n - 1 orthonormal contrasts of Helmert as rows, each of one entry against all before it.

    With `full` a first row of the equal entries is added. ValueError for an `n` below 1.

    >>> from pullback.scipy import linalg
    >>> print(linalg.helmert(2).round(4))
    [[ 0.7071 -0.7071]]
    """
    size = _size("helmert", n, 1)
    k = np.arange(1, size)
    below = np.tril(np.ones((size - 1, size)))
    below[np.arange(size - 1), np.arange(1, size)] = -k
    rows = below / np.sqrt(k * (k + 1.0))[:, None]
    first = np.full((1, size), 1 / math.sqrt(size))
    return pnp.asarray(np.concatenate([first, rows]) if full else rows, pnp.result_type(float))


def _rounded(matrix: list[list[int | Fraction]], n: int) -> Array:
    """Exact entries in the default floating dtype; infinite ones where they leave its range."""

    def number(x: int | Fraction) -> float:
        try:
            return float(x)
        except OverflowError:
            return math.inf if x > 0 else -math.inf

    with np.errstate(over="ignore"):
        values = np.array([[number(x) for x in row] for row in matrix], np.float64).reshape(n, n)
        return pnp.asarray(values.astype(pnp.result_type(float)))


@boundary
def hilbert(n: int) -> Array:
    """Hilbert's matrix `1 / (i + j + 1)` of shape `(n, n)`; ValueError for a negative `n`.

    >>> from pullback.scipy import linalg
    >>> print(linalg.hilbert(2).round(4))
    [[1.     0.5   ]
     [0.5    0.3333]]
    """
    k = np.arange(_size("hilbert", n))
    return pnp.asarray(1 / (k[:, None] + k + 1.0), pnp.result_type(float))


@boundary
def invhilbert(n: int) -> Array:
    """The inverse of Hilbert's matrix, of whole numbers, each rounded once; ValueError for a negative `n`.

    >>> from pullback.scipy import linalg
    >>> print(linalg.invhilbert(2))
    [[ 4. -6.]
     [-6. 12.]]
    """
    size = _size("invhilbert", n)

    def entry(i: int, j: int) -> int:
        front = (-1) ** (i + j) * (i + j - 1)
        binomials = math.comb(size + i - 1, size - j) * math.comb(size + j - 1, size - i)
        return front * binomials * math.comb(i + j - 2, i - 1) ** 2

    return _rounded([[entry(i, j) for j in range(1, size + 1)] for i in range(1, size + 1)], size)


def _check_kind(name: str, kind: str | None) -> str:
    if kind not in (None, "symmetric", "lower", "upper"):
        raise ValueError(f"{name}: kind must be 'symmetric', 'lower' or 'upper', got {kind!r}")
    return kind or "symmetric"


@boundary
def pascal(n: int, kind: str | None = None) -> Array:
    """Pascal's matrix of binomial coefficients, of shape `(n, n)`, each rounded once.

    `kind`: "symmetric" (None), `comb(i + j, i)`; "lower", `comb(i, j)`; "upper", the transpose of that. ValueError for
    another kind and a negative `n`.

    >>> from pullback.scipy import linalg
    >>> print(linalg.pascal(3))
    [[1. 1. 1.]
     [1. 2. 3.]
     [1. 3. 6.]]
    """
    size, kind = _size("pascal", n), _check_kind("pascal", kind)
    if kind == "symmetric":
        return _rounded([[math.comb(i + j, i) for j in range(size)] for i in range(size)], size)
    lower = _rounded([[math.comb(i, j) for j in range(size)] for i in range(size)], size)
    return lower if kind == "lower" else lower.T


@boundary
def invpascal(n: int, kind: str | None = None) -> Array:
    """The inverse of Pascal's matrix, of whole numbers, each rounded once. Arguments and errors are those of `pascal`.

    >>> from pullback.scipy import linalg
    >>> print(linalg.invpascal(2))
    [[ 2. -1.]
     [-1.  1.]]
    """
    size, kind = _size("invpascal", n), _check_kind("invpascal", kind)
    signed = [[(-1) ** (i + j) * math.comb(i, j) for j in range(size)] for i in range(size)]
    if kind == "symmetric":
        return _rounded(
            [[sum(signed[k][i] * signed[k][j] for k in range(size)) for j in range(size)] for i in range(size)], size
        )
    lower = _rounded(signed, size)
    return lower if kind == "lower" else lower.T
