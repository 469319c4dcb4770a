"""Normal random vectors of given mean and covariance, and random orthogonal matrices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import DTypeLike, Placement, ShapeLike
from pullback._ops.cholesky import cholesky
from pullback._ops.eigh import eigh
from pullback._ops.families import broadcast_shapes
from pullback._ops.qr import qr
from pullback._ops.shape import shape_of
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.svd import svd
from pullback.numpy._elementwise.promotion import integer
from pullback.random.keys import KeyLike, words_of
from pullback.random.samplers import float_dtype, normal, parameter, standard_normal

__all__ = ["multivariate_normal", "orthogonal"]

_NAME = "multivariate_normal"


@boundary
def multivariate_normal(
    key: KeyLike,
    mean: ArrayLike,
    cov: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    method: str = "cholesky",
    *,
    out_sharding: Placement = None,
) -> Array:
    """Normal random vectors: `mean + factor @ z` with `factor @ factor.T == cov` and z of independent normal numbers.

    Args:
      key: a single key, raw or typed.
      mean: an array of shape (..., n). The result is differentiable in it and in `cov`.
      cov: symmetric, positive definite matrices of shape (..., n, n).
      shape: the shape of the result without its last axis, to which the leading axes of `mean` and `cov` broadcast; by
        default the shape to which these broadcast together.
      dtype: a floating dtype.
      method: the choice of the factor. "cholesky": lower triangular; nan for a matrix that is not positive definite.
        "eigh" or "svd": scaled eigenvectors or singular vectors, for singular matrices too; the derivative is nan
        where eigenvalues are repeated.

    Raises: ValueError for a `mean` and `cov` that do not match, and another `method`; else as everywhere in
      `pullback.random`.

    >>> import pullback.numpy as pnp
    >>> from pullback import random
    >>> cov = pnp.array([[2., 1.], [1., 2.]])
    >>> print(pnp.cov(random.multivariate_normal(random.key(0), pnp.zeros(2), cov, (10000,)).T).round(1))
    [[2. 1.]
     [1. 2.]]
    """
    words = words_of(_NAME, key)
    dtype = float_dtype(_NAME, dtype)
    if method not in _FACTORS:
        raise ValueError(f"{_NAME}: method must be one of {', '.join(map(repr, _FACTORS))}, got {method!r}")
    # decompositions need 32 bits
    mean, cov = (
        parameter(_NAME, name, x, max(dtype, np.dtype(np.float32), key=lambda d: d.itemsize))
        for name, x in (("mean", mean), ("cov", cov))
    )
    if mean.ndim < 1 or cov.ndim < 2 or cov.shape[-2:] != mean.shape[-1:] * 2:
        raise ValueError(
            f"{_NAME}: expected mean of shape (..., n) and cov of shape (..., n, n), got {mean.shape} and {cov.shape}"
        )
    common = broadcast_shapes(_NAME, mean.shape[:-1], cov.shape[:-2])
    batch = common if shape is None else shape_of(_NAME, shape)
    if len(common) > len(batch) or any(n not in (1, m) for n, m in zip(common[::-1], batch[::-1], strict=False)):
        raise ValueError(
            f"{_NAME}: the leading axes of mean and cov must broadcast to shape {batch}; got mean of "
            f"shape {mean.shape} and cov of shape {cov.shape}"
        )
    z = standard_normal(words, (*batch, mean.shape[-1]), dtype)
    return laid_out("multivariate_normal", (mean + pnp.matvec(_FACTORS[method](cov), z)).astype(dtype), out_sharding)


def _by_eigenvectors(cov: Array) -> Array:
    vectors, values = eigh(cov)
    return vectors * pnp.sqrt(pnp.maximum(values, 0))[..., None, :]  # rounding can make a 0 negative


def _by_singular_vectors(cov: Array) -> Array:
    vectors, values, _ = svd(cov)
    return vectors * pnp.sqrt(values)[..., None, :]


_FACTORS: dict[str, Callable[[Array], Array]] = {
    "cholesky": cholesky,
    "eigh": _by_eigenvectors,
    "svd": _by_singular_vectors,
}


@boundary
def orthogonal(
    key: KeyLike,
    n: int,
    shape: ShapeLike = (),
    dtype: DTypeLike | None = None,
    m: int | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Random orthogonal matrices, uniform in the group (the Haar measure); unitary ones of a complex dtype.

    Args:
      key: a single key, raw or typed.
      n: the number of rows.
      shape: the shape of the stack of matrices.
      dtype: a floating or complex dtype of 32 bits at least.
      m: the number of columns, n by default. Then the rows are orthonormal if n <= m, and the columns if m <= n.

    Returns: an array of shape (*shape, n, m).
    Raises: ValueError for a negative n or m; else as everywhere in `pullback.random`.
    See: Mezzadri, "How to generate random matrices from the classical compact groups" (2007).

    >>> from pullback import random
    >>> x = random.orthogonal(random.key(0), 3)
    >>> print(abs(x @ x.T).round(3))
    [[1. 0. 0.]
     [0. 1. 0.]
     [0. 0. 1.]]
    """
    words_of("orthogonal", key, uses=False)  # `normal` uses it
    dtype = dtypes.requested_dtype(dtype, float)
    if not dtypes.is_inexact(dtype) or dtype.itemsize < 4:
        raise ValueError(f"orthogonal: dtype must be floating or complex, of 32 bits at least, got {dtype.name}")
    n = integer("orthogonal", "n", n)
    m = n if m is None else integer("orthogonal", "m", m)
    if n < 0 or m < 0:
        raise ValueError(f"orthogonal: n and m must not be negative, got {n} and {m}")
    q, r = qr(normal(key, (*shape_of("orthogonal", shape), max(n, m), min(n, m)), dtype), full_matrices=False)
    # a positive diagonal of r makes the factor unique, and uniform
    x = q * pnp.sign(pnp.diagonal(r, axis1=-2, axis2=-1))[..., None, :]
    return laid_out("orthogonal", pnp.matrix_transpose(x) if n < m else x, out_sharding)
