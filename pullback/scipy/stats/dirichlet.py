"""The Dirichlet distribution."""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.incomplete_gamma import log_gamma_density
from pullback.lax import stop_gradient
from pullback.numpy._elementwise.promotion import FLOAT, as_operand, cast, common_dtype

__all__ = ["logpdf", "pdf"]


def _log_density(function: str, x: ArrayLike, alpha: ArrayLike) -> Array:
    operands = [as_operand(x, function, "x"), as_operand(alpha, function, "alpha")]
    dtype, weak = common_dtype(function, FLOAT, [v.aval for v in operands])
    x, alpha = (cast(v, dtype, weak) for v in operands)
    if alpha.ndim != 1:
        raise ValueError(f"{function}: alpha must be a vector, got shape {alpha.shape}")
    k = alpha.shape[0]
    if not x.ndim or x.shape[0] not in (k, k - 1):
        raise ValueError(f"{function}: x must have {k} or {k - 1} entries along its first axis, got shape {x.shape}")
    if x.shape[0] == k - 1:
        x = pnp.concatenate([x, 1 - x.sum(0, keepdims=True)])
    excess = x.sum(0) - 1
    inside = (x > 0).all(0) & (abs(excess) < max(1e-6, 4 * float(pnp.finfo(dtype).eps)))
    x = pnp.where(inside, x, 1 / k)
    alpha = alpha.reshape(k, *(1,) * (x.ndim - 1))
    # independent gamma variates, given their sum: their densities have accurate logarithms, which are not large
    total = alpha.sum(0)
    scale = stop_gradient(total)
    parts = log_gamma_density(*pnp.broadcast_arrays(alpha, scale * x)).sum(0)
    value = parts - log_gamma_density(total, scale) + (k - 1) * pnp.log(scale) + scale * pnp.where(inside, excess, 0)
    return pnp.where(inside, value, -np.inf)


@boundary
def logpdf(x: ArrayLike, alpha: ArrayLike) -> Array:
    """The logarithm of the density of proportions, of `prod(x**(alpha - 1))` up to a factor.

    Args:
      x: positive numbers of shape (k, ...), whose sum along the first axis is 1; or of shape (k - 1, ...), without the
        last.
      alpha: the k concentrations, positive.

    Returns: an array of shape (...), -inf where x is no such vector.
    Raises: TypeError for complex numbers, ValueError for other shapes.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.stats import dirichlet
    >>> print(dirichlet.logpdf(pnp.array([0.5, 0.5]), pnp.array([2., 1.])).round(5))
    0.0
    """
    return _log_density("dirichlet.logpdf", x, alpha)


@boundary
def pdf(x: ArrayLike, alpha: ArrayLike) -> Array:
    """The density of proportions. Arguments and errors are those of `logpdf`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.stats import dirichlet
    >>> print(dirichlet.pdf(pnp.array([0.5, 0.5]), pnp.array([2., 1.])).round(5))
    1.0
    """
    return pnp.exp(_log_density("dirichlet.pdf", x, alpha))
