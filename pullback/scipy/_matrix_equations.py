"""Triangular, Hessenberg and polar forms of matrices as in `scipy.linalg`, and Sylvester's equation."""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback import lax
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import PyTree
from pullback._higher_order.solvers.linear_solve import solve_as
from pullback._ops.families import broadcast_shapes
from pullback._ops.matrices import check_matrices
from pullback._ops.polar import polar as polar_of_tall
from pullback.numpy._linalg.solving import inexact, square_matrices

__all__ = ["hessenberg", "polar", "rsf2csf", "schur", "solve_sylvester"]


def adjoint(x: Array) -> Array:
    """The conjugate transpose of matrices."""
    return pnp.swapaxes(x.conj(), -1, -2)


def complex_schur(x: Array) -> tuple[Array, Array]:
    """T and q of `x = q @ T @ q^H`, complex."""
    if dtypes.is_complex(x.dtype):
        t, q = lax.linalg.schur(x)
        return t, q
    # the real eigenvalues of a real matrix stay real
    t, q = lax.linalg.schur(x)
    kind = dtypes.promote_types(x.dtype, np.complex64)
    t, turn = lax.linalg.schur(t.astype(kind))
    return t, q.astype(kind) @ turn


@boundary
def schur(a: ArrayLike, output: str = "real") -> tuple[Array, Array]:
    """The Schur decomposition `a = z @ t @ z^H` of square matrices `(..., n, n)`, `z` unitary and `t` triangular.

    `output`: "real", where `t` of a real matrix is real and has blocks of two rows on its diagonal for pairs of complex
    eigenvalues; or "complex". Returns `t` and `z`. They have no derivative here. Raises: ValueError for other shapes
    and outputs, TypeError for half precision.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> t, z = linalg.schur(pnp.array([[2., 1.], [0., 3.]]))
    >>> print(t)
    [[2. 1.]
     [0. 3.]]
    """
    if output not in ("real", "complex"):
        raise ValueError(f"schur: output must be 'real' or 'complex', got {output!r}")
    x = square_matrices("schur", a)
    if output == "complex":
        return complex_schur(x)
    t, z = lax.linalg.schur(x)
    return t, z


@boundary
def rsf2csf(T: ArrayLike, Z: ArrayLike, check_finite: bool = True) -> tuple[Array, Array]:
    """The complex form of a real Schur decomposition: triangular `t` and unitary `z` with `z @ t @ z^H = Z @ T @ Z^T`.

    `T` and `Z`: `(..., n, n)`. `check_finite` is accepted and changes nothing. ValueError for other shapes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> t, z = linalg.rsf2csf(*linalg.schur(pnp.array([[0., 1.], [-1., 0.]])))
    >>> print(abs(t.round(4)))
    [[1. 0.]
     [0. 1.]]
    """
    x, y = square_matrices("rsf2csf", T, "T"), square_matrices("rsf2csf", Z, "Z")
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(f"rsf2csf: T and Z must have one shape, got {x.shape} and {y.shape}")
    kind = dtypes.promote_types(dtypes.promote_types(x.dtype, y.dtype), np.complex64)
    x, y = x.astype(kind), y.astype(kind)
    if x.shape[-1] < 2:
        return x, y
    turn = _turned_blocks(x)
    return pnp.triu(turn @ x @ adjoint(turn)), y @ adjoint(turn)


def _turned_blocks(t: Array) -> Array:
    """The unitary matrix of one rotation for each block of two rows of a real Schur form: blocks have no row in common.

    A rotation takes the eigenvector of the block's first eigenvalue, the one with the positive imaginary part, to the
    first axis.
    """
    middle, b, c = (t.diagonal(k, -2, -1) for k in (0, 1, -1))
    a, d = middle[..., :-1], middle[..., 1:]
    n, eps = t.shape[-1], pnp.finfo(t.dtype).eps
    is_block = abs(c) > eps * (abs(a) + abs(d))
    half = (a - d) / 2
    x = pnp.where(is_block, half + pnp.sqrt(pnp.where(is_block, half * half + b * c, 1)), 1)  # eigenvector: (x, c)
    y = pnp.where(is_block, c, 0)
    length = pnp.sqrt(x.real**2 + x.imag**2 + y.real**2 + y.imag**2)
    cos, sin = x / length, y / length
    one, zero = pnp.ones_like(cos[..., :1]), pnp.zeros_like(cos[..., :1])
    diagonals = [
        (pnp.concatenate([cos.conj(), one], -1) * pnp.concatenate([one, cos], -1), 0),
        (pnp.concatenate([sin.conj(), zero], -1), 1),
        (pnp.concatenate([zero, -sin], -1), -1),
    ]
    first, second, third = (entries[..., None] * pnp.eye(n, k=k, dtype=t.dtype) for entries, k in diagonals)
    return first + second + third


@boundary
def hessenberg(
    a: ArrayLike, *, calc_q: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> Array | tuple[Array, Array]:
    """The form `a = q @ h @ q^H` of square matrices `(..., n, n)`, `h` being 0 below its first subdiagonal.

    With `calc_q` the unitary `q` is returned, too. The other options are accepted and change nothing. It has no
    derivative here. Raises: ValueError for other shapes, TypeError for half precision.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.hessenberg(pnp.array([[1., 2.], [3., 4.]])))
    [[1. 2.]
     [3. 4.]]
    """
    x = square_matrices("hessenberg", a)
    n = x.shape[-1]
    if n == 0:
        return (x, x) if calc_q else x
    packed, factors = lax.linalg.hessenberg(x)
    h = pnp.triu(packed, -1)
    if not calc_q:
        return h
    inner = lax.linalg.householder_product(packed[..., 1:, :-1], factors)
    first = pnp.broadcast_to(pnp.eye(1, n, dtype=x.dtype), (*x.shape[:-2], 1, n))
    rest = pnp.concatenate([pnp.zeros((*x.shape[:-2], n - 1, 1), x.dtype), inner], -1)
    return h, pnp.concatenate([first, rest], -2)


@boundary
def polar(
    a: ArrayLike,
    side: str = "right",
    *,
    method: str = "qdwh",
    eps: float | None = None,
    max_iterations: int | None = None,
) -> tuple[Array, Array]:
    """The polar decomposition of matrices `(..., m, n)`: `a = u @ p`, or `a = p @ u`.

    Args:
      a: float32, float64 or complex.
      side: "right", for `p` `(..., n, n)` behind `u`; "left", for `p` `(..., m, m)` in front of it.
      method: "qdwh" or "svd"; here both come from the singular values.
      eps, max_iterations: accepted, and change nothing.

    Returns: `u` `(..., m, n)` with orthonormal columns, or rows if there are fewer, and `p`, Hermitian, not negative.
      The derivative exists for matrices of full rank.
    Raises: ValueError for other shapes, sides and methods, TypeError for other dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> u, p = linalg.polar(pnp.array([[0., 2.], [-3., 0.]]))
    >>> print(abs(p.round(4)))
    [[3. 0.]
     [0. 2.]]
    """
    if side not in ("right", "left"):
        raise ValueError(f"polar: side must be 'right' or 'left', got {side!r}")
    if method not in ("qdwh", "svd"):
        raise ValueError(f"polar: method must be 'qdwh' or 'svd', got {method!r}")
    x = inexact("polar", a)
    check_matrices("polar", x.aval, what="a")
    tall = x.shape[-2] >= x.shape[-1]
    u, p = polar_of_tall(x if tall else adjoint(x))
    if tall != (side == "right"):
        p = u @ p @ adjoint(u)
    return u if tall else adjoint(u), p


@boundary
def solve_sylvester(A: ArrayLike, B: ArrayLike, C: ArrayLike, *, method: str = "schur", tol: float = 1e-8) -> Array:
    """The solution of `A @ X + X @ B = C`, by the algorithm of Bartels and Stewart, CACM 15 (1972).

    Args:
      A, B, C: matrices `(..., m, m)`, `(..., n, n)` and `(..., m, n)`, whose leading axes broadcast.
      method: "schur" or "eigen"; here both are "schur".
      tol: the solution is nan where the sum of an eigenvalue of `A` and one of `B` is smaller.

    Returns: an array `(..., m, n)`, differentiable in all three through the equation.
    Raises: ValueError for shapes that do not match and another method, TypeError for half precision.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.solve_sylvester(pnp.eye(2), pnp.eye(2), 2 * pnp.eye(2)).round(4))
    [[1. 0.]
     [0. 1.]]
    """
    if method not in ("schur", "eigen"):
        raise ValueError(f"solve_sylvester: method must be 'schur' or 'eigen', got {method!r}")
    a, b = square_matrices("solve_sylvester", A, "A"), square_matrices("solve_sylvester", B, "B")
    c = inexact("solve_sylvester", C)
    m, n = a.shape[-1], b.shape[-1]
    if c.shape[-2:] != (m, n):
        raise ValueError(f"solve_sylvester: C must have shape (..., {m}, {n}), got {c.shape}")
    dtype = pnp.result_type(a, b, c)
    lead = broadcast_shapes("solve_sylvester", a.shape[:-2], b.shape[:-2], c.shape[:-2])
    a, b, c = (pnp.broadcast_to(x.astype(dtype), (*lead, *x.shape[-2:])) for x in (a, b, c))
    if c.size == 0:
        return c

    def forward(_: object, rhs: PyTree) -> Array:
        return _by_triangles(a, b, rhs, tol)

    def backward(_: object, rhs: PyTree) -> Array:
        return _by_triangles(pnp.swapaxes(a, -1, -2), pnp.swapaxes(b, -1, -2), rhs, tol)

    return solve_as("solve_sylvester", ("solve", "solve"), lambda x: a @ x + x @ b, c, forward, backward)


def _by_triangles(a: Array, b: Array, c: Array, tol: float) -> Array:
    """The solution, column by column in the bases in which both matrices are triangular."""
    (r, u), (s, v) = complex_schur(a), complex_schur(b)
    right = adjoint(u) @ c @ v
    one = pnp.eye(r.shape[-1], dtype=r.dtype)

    def column(k: Array, x: Array) -> Array:
        weights = pnp.take(s, k, axis=-1)
        rest = pnp.take(right, k, axis=-1) - (x @ weights[..., None])[..., 0]
        shift = pnp.take(weights, k, axis=-1)[..., None, None]
        solved = lax.linalg.triangular_solve(r + shift * one, rest[..., None], left_side=True)
        return pnp.where(pnp.arange(x.shape[-1]) == k, solved, x)

    x = lax.fori_loop(0, s.shape[-1], column, pnp.zeros_like(right))
    sums = pnp.diagonal(r, axis1=-2, axis2=-1)[..., :, None] + pnp.diagonal(s, axis1=-2, axis2=-1)[..., None, :]
    x = pnp.where((abs(sums) < tol).any((-2, -1), keepdims=True), np.nan, u @ x @ adjoint(v))
    return (x if dtypes.is_complex(c.dtype) else x.real).astype(c.dtype)
