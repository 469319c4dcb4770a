"""Nearest points of sets: the simplex, balls, matrices with orthonormal columns; and soft thresholding.

On the border between two pieces, where a projection has a kink, its derivative is that of one of them.
"""

from __future__ import annotations

import numpy as np

from pullback import lax
from pullback import numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.custom_derivatives import custom_jvp
from pullback.numpy._elementwise.promotion import FLOAT, INEXACT, promote_operands
from pullback.rules.safe import safe_norm

__all__ = ["project_l1_ball", "project_l2_ball", "project_orthogonal", "project_simplex", "soft_threshold"]


def _last_axis(function: str, x: Array) -> None:
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{function}: expected one number or more along the last axis, got shape {x.shape}")


@boundary
def soft_threshold(x: ArrayLike, threshold: ArrayLike) -> Array:
    """`x`, moved towards 0 by the threshold, and no further: `argmin_z (z - x)**2 / 2 + threshold * abs(z)`.

    Args:
      x: an array, real or complex, of which the absolute value is made smaller.
      threshold: a number that is not negative, or an array that broadcasts. It is differentiated, too.

    The derivative is 0 where the result is 0. Raises: ValueError for shapes that do not broadcast.
    Source: Parikh and Boyd, Proximal algorithms (2014), section 6.5.2.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.rules.soft_threshold(pnp.array([-3., 0.5, 2.]), 1.))
    [-2.  0.  1.]
    """
    x, threshold = promote_operands("soft_threshold", INEXACT, x, threshold)
    threshold = pnp.real(threshold)
    size = abs(lax.stop_gradient(x))
    inside = size <= threshold
    if not pnp.iscomplexobj(x):
        return pnp.where(inside, 0, x - pnp.sign(lax.stop_gradient(x)) * threshold)
    x = pnp.where(inside, 1, x)
    return pnp.where(inside, 0, x * (1 - threshold / abs(x)))


@boundary
def project_simplex(x: ArrayLike, total: ArrayLike = 1.0) -> Array:
    """The nearest point with entries that are not negative and have the sum `total`, along the last axis (sparsemax).

    Args:
      x: a real array of shape (..., n), n at least 1.
      total: a positive number, or an array of shape (...). It is differentiated, too.

    Returns: an array of the shape of `x`, with exact zeros.
    Raises: ValueError for an empty last axis, TypeError for complex numbers.
    Source: Martins and Astudillo, From softmax to sparsemax (2016).

    >>> import pullback as pb, pullback.numpy as pnp
    >>> x = pnp.array([0.5, 1., -1.])
    >>> print(pb.rules.project_simplex(x))
    [0.25 0.75 0.  ]
    >>> print(pb.jacobian(pb.rules.project_simplex)(x)[0])
    [ 0.5 -0.5  0. ]
    """
    x, total = promote_operands("project_simplex", FLOAT, x, pnp.expand_dims(pnp.asarray(total), -1))
    _last_axis("project_simplex", x)
    return _simplex(x, total)


def _simplex(x: Array, total: Array) -> Array:
    # moving all entries by one number changes nothing: numbers near 0 do not swallow the total
    x = x - lax.stop_gradient(pnp.max(x, axis=-1, keepdims=True))
    falling = pnp.flip(pnp.sort(lax.stop_gradient(x), axis=-1), -1)
    counts = pnp.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    levels = (pnp.cumsum(falling, axis=-1) - lax.stop_gradient(total)) / counts
    size = pnp.sum(falling > levels, axis=-1, keepdims=True)
    # a nan is not dropped: it shows
    dropped = lax.stop_gradient(x) <= pnp.take_along_axis(levels, pnp.maximum(size - 1, 0), axis=-1)
    kept = pnp.maximum(pnp.sum(~dropped, axis=-1, keepdims=True), 1)
    # the level once more, of the entries that stay: it is what is differentiated
    level = (pnp.sum(pnp.where(dropped, 0, x), axis=-1, keepdims=True) - total) / kept
    return pnp.where(dropped, 0, x - level)


@boundary
def project_l1_ball(x: ArrayLike, radius: ArrayLike = 1.0) -> Array:
    """The nearest point whose absolute values have at most the sum `radius`, along the last axis.

    Args:
      x: a real array of shape (..., n), n at least 1.
      radius: a positive number, or an array of shape (...). It is differentiated, too.

    Raises: ValueError for an empty last axis, TypeError for complex numbers.
    Source: Duchi and others, Efficient projections onto the l1-ball (2008).

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.rules.project_l1_ball(pnp.array([2., -1., 0.5])))
    [ 1. -0.  0.]
    """
    x, radius = promote_operands("project_l1_ball", FLOAT, x, pnp.expand_dims(pnp.asarray(radius), -1))
    _last_axis("project_l1_ball", x)
    sign = pnp.sign(lax.stop_gradient(x))
    size = sign * x
    inside = pnp.sum(size, axis=-1, keepdims=True) <= radius
    return pnp.where(inside, x, sign * _simplex(size, radius))


@boundary
def project_l2_ball(x: ArrayLike, radius: ArrayLike = 1.0) -> Array:
    """The nearest point whose Euclidean norm is at most `radius`, along the last axis.

    Args:
      x: an array of shape (..., n), real or complex.
      radius: a positive number, or an array of shape (...). It is differentiated, too.

    Raises: ValueError for an empty last axis.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.rules.project_l2_ball(pnp.array([3., 4.])), pb.rules.project_l2_ball(pnp.array([0., 0.5])))
    [0.6 0.8] [0.  0.5]
    """
    x, radius = promote_operands("project_l2_ball", INEXACT, x, pnp.expand_dims(pnp.asarray(radius), -1))
    _last_axis("project_l2_ball", x)
    radius = pnp.real(radius)
    norm = safe_norm(x, axis=-1, keepdims=True)
    inside = norm <= radius
    return pnp.where(inside, x, x * (radius / pnp.where(inside, 1, norm)))


@boundary
def project_orthogonal(x: ArrayLike) -> Array:
    """The nearest matrix with orthonormal columns, or rows: the factor of the polar decomposition.

    Its derivative exists wherever `x` has full rank, also with equal singular values, where that of `svd` does not.

    Args:
      x: an array of shape (..., m, n), real or complex. The columns become orthonormal if m >= n, else the rows. Of
        complex matrices the result is unitary for m = n.

    Returns: an array of the shape of `x`.
    Raises: ValueError for fewer than two axes.
    Source: Higham, Functions of Matrices (2008), chapter 8.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.rules.project_orthogonal(pnp.array([[2., 0.], [0., 3.]])))
    [[1. 0.]
     [0. 1.]]
    """
    (x,) = promote_operands("project_orthogonal", INEXACT, x)
    if x.ndim < 2:
        raise ValueError(f"project_orthogonal: expected a matrix or a batch of matrices, got shape {x.shape}")
    wide = x.shape[-2] < x.shape[-1]
    a = x.astype(pnp.promote_types(x.dtype, np.float32))  # LAPACK has no half precision
    q = _adjoint(_polar(_adjoint(a))) if wide else _polar(a)
    return q.astype(x.dtype)


def _adjoint(x: Array) -> Array:
    return pnp.conj(pnp.matrix_transpose(x))


@custom_jvp
def _polar(x):
    u, _, vh = pnp.linalg.svd(x, full_matrices=False)
    return u @ vh


@_polar.defjvp
def _polar_jvp(primals, tangents):
    # x = q h with qᴴq = 1 and h Hermitian. The differential gives qᴴdx - dxᴴq = h w + w h with w = qᴴdq, a Sylvester
    # equation, and (1 - qqᴴ) dx = (1 - qqᴴ) dq h for what leaves the span of the columns
    (x,), (t,) = primals, tangents
    q = _polar(x)
    h = _adjoint(q) @ x
    h = (h + _adjoint(h)) / 2
    inside = _adjoint(q) @ t
    tangent = q @ _sylvester(h, inside - _adjoint(inside))
    if x.shape[-2] > x.shape[-1]:
        tangent += _adjoint(pnp.linalg.solve(h, _adjoint(t - q @ inside)))
    return q, tangent


def _sylvester(h: Array, b: Array) -> Array:
    """The solution of `h w + w h = b` for a positive definite matrix; it is differentiated as an equation."""

    def solve_with(vectors):
        def solve(_, b):
            inner = (_adjoint(vectors) @ b @ vectors) / (values[..., :, None] + values[..., None, :])
            return vectors @ inner @ _adjoint(vectors)

        return solve

    values, vectors = pnp.linalg.eigh(lax.stop_gradient(h))
    # the transpose of a Hermitian matrix is its conjugate
    return lax.custom_linear_solve(lambda w: h @ w + w @ h, b, solve_with(vectors), solve_with(pnp.conj(vectors)))
