"""Linear systems: their solution, inverses, determinants, the Cholesky decomposition.

Matrices are in the last two axes, and the axes before them index a stack. Integers and bools are
computed in floating point; a half precision is refused, since LAPACK knows none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops import cholesky as cholesky_ops
from pullback._ops import lu
from pullback._ops.determinants import determinant, sign_and_log_of_determinant
from pullback._ops.matrices import adjoint, check_matrices, identity
from pullback._ops.shape import convert_element_type, reshape, transpose
from pullback.numpy._elementwise.promotion import as_operand, integer
from pullback.numpy._products.contractions import promoted
from pullback.numpy._reductions.reductions import one_axis

__all__ = ["SlogdetResult", "cholesky", "det", "inv", "slogdet", "solve", "tensorinv", "tensorsolve"]


def inexact(name: str, x: ArrayLike) -> Array:
    """An operand in floating point."""
    x = as_operand(x, name, 0)
    return convert_element_type(x, dtypes.to_inexact(x.aval.dtype, False)[0])


def square_matrices(name: str, a: ArrayLike, what: str = "a") -> Array:
    """An operand that must be a stack of square matrices, in floating point."""
    x = inexact(name, a)
    check_matrices(name, x.aval, square=True, what=what)
    return x


def system(name: str, a: ArrayLike, b: ArrayLike, what: str = "a") -> tuple[Array, Array, bool]:
    """The operands of a linear system in one dtype: square matrices, a stack of matrices with as many rows, and whether
    those were one vector."""
    x, y = promoted(name, a, b)
    dtype = dtypes.to_inexact(x.aval.dtype, False)[0]
    x, y = convert_element_type(x, dtype), convert_element_type(y, dtype)
    check_matrices(name, x.aval, square=True, what=what)
    left, right = x.aval.shape, y.aval.shape
    vector = len(right) == 1
    if not right or right[-1 if vector else -2] != left[-1]:
        hint = (
            f". For a vector to each of the matrices give b[..., None], of shape {(*right, 1)}."
            if right == left[:-1]
            else ""
        )
        raise ValueError(
            f"{name}: expected b of shape ({left[-1]},) or (..., {left[-1]}, m) for {what} of shape "
            f"{left}, got {right}{hint}"
        )
    if vector:
        y = reshape(y, (*right, 1))
    return x, y, vector


def columns(x: Array, vector: bool) -> Array:
    """A solution in the shape of the given right-hand side."""
    return reshape(x, x.aval.shape[:-1]) if vector else x


@boundary
def solve(a: ArrayLike, b: ArrayLike) -> Array:
    """The solution `x` of `a @ x = b`, by LU decomposition with partial pivoting.

    `a`: `(..., n, n)`; `b`: a vector `(n,)` or matrices `(..., n, m)`, whose leading axes broadcast with those of `a`;
    the result is `(..., n)` or `(..., n, m)`, in the promoted dtype: float32, float64 or complex. A singular matrix
    gives inf or nan. Derivatives of all orders use the one decomposition: x' solves a x' = b' - a' x (Giles, Collected
    matrix derivative results, 2008). A matrix that `vmap` does not map, or that is broadcast, is decomposed once.
    Raises: ValueError for other shapes, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.solve(pnp.array([[2., 0.], [1., 4.]]), pnp.array([2., 9.])))
    [1. 2.]
    """
    x, y, vector = system("solve", a, b)
    return columns(lu.solve("solve", x, y), vector)


@boundary
def inv(a: ArrayLike) -> Array:
    """The inverses of square matrices `(..., n, n)`, by LU decomposition; inf or nan for a singular matrix.

    float32, float64 or complex; integers and bools are converted. To solve a system `solve` is faster and more exact.
    Raises: ValueError for other shapes, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.inv(pnp.array([[2., 0.], [0., 4.]])))
    [[0.5  0.  ]
     [0.   0.25]]
    """
    return inverted("inv", square_matrices("inv", a))


def inverted(name: str, x: Array) -> Array:
    """The inverses of matrices, in the name of a function."""
    return lu.solve(name, x, identity(x))


@boundary
def det(a: ArrayLike) -> Array:
    """The determinants `(...)` of square matrices `(..., n, n)`, in the dtype of `a`; 1 for n = 0.

    float32, float64 or complex; integers and bools are converted. The derivative consists of the cofactors, which are
    found without division: it is right for singular matrices of every rank. Higher derivatives are so up to n = 3; from
    n = 4 on they need an inverse, and are inf, nan or inexact where there is none. `slogdet` neither overflows nor
    underflows. Raises: ValueError for other shapes, TypeError for other dtypes.

    >>> import pullback as pb
    >>> import pullback.numpy as pnp
    >>> a = pnp.array([[1., 2.], [2., 4.]])
    >>> print(pnp.linalg.det(a))
    0.0
    >>> print(pb.grad(pnp.linalg.det)(a))
    [[ 4. -2.]
     [-2.  1.]]
    """
    return determinant(square_matrices("det", a))


class SlogdetResult(NamedTuple):
    """The result of `slogdet`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.slogdet(pnp.eye(2)).sign)
    1.0
    """

    sign: Array
    logabsdet: Array


@boundary
def slogdet(a: ArrayLike, *, method: str | None = None) -> SlogdetResult:
    """The sign and the logarithm of the absolute value of determinants, for square matrices `(..., n, n)`.

    Returns: a named tuple `(sign, logabsdet)` of shape `(...)` with `det = sign * exp(logabsdet)`; `sign` has the dtype
    of `a` and of complex matrices absolute value 1, `logabsdet` is real. A singular matrix gives 0 and -inf, and has no
    derivative. float32, float64 or complex; integers and bools are converted. `method`: None, "lu" or "qr", which
    return the same: it is by LU decomposition in each case. Raises: ValueError for other shapes and methods, TypeError
    for other dtypes.

    >>> import pullback.numpy as pnp
    >>> sign, logabsdet = pnp.linalg.slogdet(pnp.array([[0., 1.], [1., 0.]]))
    >>> print(sign, logabsdet)
    -1.0 0.0
    """
    if method not in (None, "lu", "qr"):
        raise ValueError(f"slogdet: method must be None, 'lu' or 'qr', got {method!r}")
    return SlogdetResult(*sign_and_log_of_determinant(square_matrices("slogdet", a)))


@boundary
def cholesky(a: ArrayLike, *, upper: bool = False, symmetrize_input: bool = True) -> Array:
    """The lower triangular `l` with `l @ l.conj().T = a`, for positive definite matrices `(..., n, n)`.

    With `upper` its conjugate transpose. With `symmetrize_input` that of `(a + a.conj().T) / 2`; otherwise only the
    lower triangle of `a` is read, and has a derivative. A matrix that is not positive definite gives nan. float32,
    float64 or complex; integers and bools are converted. Raises: ValueError for other shapes, TypeError for other
    dtypes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.linalg.cholesky(pnp.array([[4., 2.], [2., 5.]])))
    [[2. 0.]
     [1. 2.]]
    """
    factor = cholesky_ops.cholesky(square_matrices("cholesky", a), symmetrize_input=symmetrize_input)
    return adjoint(factor) if upper else factor


@boundary
def tensorsolve(a: ArrayLike, b: ArrayLike, axes: Sequence[int] | None = None) -> Array:
    """The `x` with `tensordot(a, x, x.ndim) = b`.

    `a` has the shape of `b` and then that of `x`, which have equally many elements; `axes` of `a` are moved to its end
    before. See `solve`. Raises: ValueError for shapes or axes that do not fit, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> a = pnp.eye(6).reshape(2, 3, 3, 2)
    >>> pnp.linalg.tensorsolve(a, pnp.ones((2, 3))).shape
    (3, 2)
    """
    x, y = promoted("tensorsolve", a, b)
    rank = x.aval.ndim
    if axes is not None:
        last = [one_axis("tensorsolve", i, rank) for i in axes]
        x = transpose(x, [*(i for i in range(rank) if i not in last), *last])
    shape, wanted = x.aval.shape, y.aval.shape
    over = shape[len(wanted) :]
    if shape[: len(wanted)] != wanted or math.prod(over) != y.aval.size:
        moved = "" if axes is None else f" with the axes {tuple(axes)} at the end"
        raise ValueError(
            f"tensorsolve: expected a{moved} of the shape of b, {wanted}, followed by one with "
            f"{y.aval.size} elements, got {shape}"
        )
    size = y.aval.size
    x, y, _ = system("tensorsolve", reshape(x, (size, size)), reshape(y, (size,)))
    return reshape(lu.solve("tensorsolve", x, y), over)


@boundary
def tensorinv(a: ArrayLike, ind: int = 2) -> Array:
    """The inverse of `tensordot(a, ·, ind)`, of shape `a.shape[ind:] + a.shape[:ind]`.

    The first `ind` axes of `a` must have as many elements as the others. See `inv`. Raises: ValueError for shapes that
    do not fit and unless `ind` is positive, TypeError for other dtypes.

    >>> import pullback.numpy as pnp
    >>> pnp.linalg.tensorinv(pnp.eye(6).reshape(2, 3, 6)).shape
    (6, 2, 3)
    """
    x = inexact("tensorinv", a)
    ind = integer("tensorinv", "ind", ind)
    shape = x.aval.shape
    if ind <= 0:
        raise ValueError(f"tensorinv: ind must be positive, got {ind}")
    size = math.prod(shape[:ind])
    if size != math.prod(shape[ind:]):
        raise ValueError(
            f"tensorinv: the first {ind} axes of a must have as many elements as the others, got shape {shape}"
        )
    flat = square_matrices("tensorinv", reshape(x, (size, size)))
    return reshape(inverted("tensorinv", flat), (*shape[ind:], *shape[:ind]))
