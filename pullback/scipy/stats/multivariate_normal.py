"""The normal distribution of vectors."""

from __future__ import annotations

import math

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.cholesky import cholesky
from pullback._ops.triangular_solve import triangular_solve
from pullback.numpy._elementwise.promotion import FLOAT, as_operand, cast, common_dtype

__all__ = ["logpdf", "pdf"]

_LOG_2PI = math.log(2 * math.pi)


def _log_density(function: str, x: ArrayLike, mean: ArrayLike, cov: ArrayLike) -> Array:
    operands = [as_operand(v, function, name) for v, name in ((x, "x"), (mean, "mean"), (cov, "cov"))]
    dtype, weak = common_dtype(function, FLOAT, [v.aval for v in operands])
    x, mean, cov = (cast(v, dtype, weak) for v in operands)
    if mean.ndim == 0:
        if cov.ndim > 1:
            raise ValueError(f"{function}: mean is a number, so cov must be the variance, got shape {cov.shape}")
        return -((x - mean) ** 2 / cov + _LOG_2PI + pnp.log(cov)) / 2
    n = mean.shape[-1]
    if x.ndim and x.shape[-1] != n:
        raise ValueError(
            f"{function}: x and mean must have one length along the last axis, got shapes {x.shape} and {mean.shape}"
        )
    distance = x - mean
    if cov.ndim == 0:
        return -((distance**2).sum(-1) / cov + n * (_LOG_2PI + pnp.log(cov))) / 2
    if cov.shape[-2:] != (n, n):
        raise ValueError(
            f"{function}: cov must be a number or have shape (..., {n}, {n}) for a mean of shape "
            f"{mean.shape}, got {cov.shape}"
        )
    factor = cholesky(cov)
    whitened = _solve(factor, distance)
    volume = pnp.log(pnp.diagonal(factor, axis1=-2, axis2=-1)).sum(-1)
    return -((whitened**2).sum(-1) + n * _LOG_2PI) / 2 - volume


def _solve(factor: Array, vectors: Array) -> Array:
    """The solutions of triangular systems, for one factor with all vectors as columns."""
    n = factor.shape[-1]
    if factor.ndim == 2:
        columns = vectors.reshape(-1, n).T
        return triangular_solve(factor, columns, left_side=True, lower=True).T.reshape(vectors.shape)
    batch = pnp.broadcast_shapes(factor.shape[:-2], vectors.shape[:-1])
    factor = pnp.broadcast_to(factor, (*batch, n, n))
    columns = pnp.broadcast_to(vectors, (*batch, n))[..., None]
    return triangular_solve(factor, columns, left_side=True, lower=True)[..., 0]


@boundary
def logpdf(x: ArrayLike, mean: ArrayLike, cov: ArrayLike, allow_singular: None = None) -> Array:
    """The logarithm of the density of vectors, `-(y @ inv(cov) @ y + log(det(2 pi cov))) / 2` with `y = x - mean`.

    Args:
      x: an array of shape (..., n), or a number.
      mean: an array of shape (..., n); a number for numbers `x`, which then may have any shape.
      cov: positive definite matrices of shape (..., n, n), or a number, the variance of each component. The leading
        axes of all broadcast together. If a matrix is not positive definite, the result is nan.
      allow_singular: not supported.

    Returns: an array of those leading axes.
    Raises: ValueError for shapes that do not match, TypeError for complex numbers, NotImplementedError for
      `allow_singular`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.stats import multivariate_normal
    >>> print(multivariate_normal.logpdf(pnp.zeros(2), pnp.zeros(2), pnp.eye(2)))
    -1.837877
    """
    if allow_singular is not None:
        raise NotImplementedError(
            "multivariate_normal.logpdf: allow_singular is not supported; give a covariance that "
            "is positive definite, and leave the argument out"
        )
    return _log_density("multivariate_normal.logpdf", x, mean, cov)


@boundary
def pdf(x: ArrayLike, mean: ArrayLike, cov: ArrayLike) -> Array:
    """The density of vectors. Arguments and errors are those of `logpdf`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.stats import multivariate_normal
    >>> print(multivariate_normal.pdf(pnp.zeros(2), pnp.zeros(2), pnp.eye(2)).round(5))
    0.15915
    """
    return pnp.exp(_log_density("multivariate_normal.pdf", x, mean, cov))
