"""The Dirichlet distribution."""

from __future__ import annotations

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.binomial_mass import share_p
from pullback._ops.incomplete_gamma import log_gamma_density
from pullback._ops.stirling import polygamma_step
from pullback.custom_derivatives import custom_jvp
from pullback.numpy._elementwise.promotion import FLOAT, as_operand, cast, common_dtype

__all__ = ["logpdf", "pdf"]


@custom_jvp
def _log_inside(x: Array, logs: Array, alpha: Array) -> Array:
    """The logarithm of the density of positive proportions; of the concentrations, all axes but the first have size 1.

    Its derivatives are declared, as those of the terms for a large scale would cancel: by x as if by its logarithms.
    """
    # independent gamma variates, given their sum: their densities have accurate logarithms, which are not large
    total = alpha.sum(0)
    scale = pnp.maximum(total, 1)  # a smaller one would make products with it vanish
    parts = log_gamma_density(*pnp.broadcast_arrays(alpha, scale * x)).sum(0)
    return parts - log_gamma_density(total, scale) + (len(alpha) - 1) * pnp.log(scale) + scale * (x.sum(0) - 1)


@_log_inside.defjvp
def _log_inside_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    (x, logs, alpha), (_, of_logs, of_alpha) = primals, tangents
    # the sums of the others, without a difference
    zero = pnp.zeros_like(alpha[:1])
    before = pnp.concatenate([zero, pnp.cumsum(alpha[:-1], 0)])
    others = before + pnp.concatenate([pnp.cumsum(alpha[:0:-1], 0)[::-1], zero])
    # digamma(total) - digamma(alpha), whose pole at 0 is apart: there a tangent of 0 gives 0
    step = polygamma_step(alpha + 1, others, 0)
    by_alpha = (logs + step) * of_alpha + of_alpha / alpha * share_p.bind(others, alpha)
    return _log_inside(x, logs, alpha), ((alpha - 1) * of_logs + by_alpha).sum(0)


def _log_density(function: str, x: ArrayLike, alpha: ArrayLike) -> Array:
    operands = [as_operand(x, function, "x"), as_operand(alpha, function, "alpha")]
    dtype, weak = common_dtype(function, FLOAT, [v.aval for v in operands])
    x, alpha = (cast(v, dtype, weak) for v in operands)
    if alpha.ndim != 1:
        raise ValueError(f"{function}: alpha must be a vector, got shape {alpha.shape}")
    k = alpha.shape[0]
    if not x.ndim or x.shape[0] not in (k, k - 1):
        raise ValueError(f"{function}: x must have {k} or {k - 1} entries along its first axis, got shape {x.shape}")
    whole = x if x.shape[0] == k else pnp.concatenate([x, 1 - x.sum(0, keepdims=True)])
    inside = (whole > 0).all(0) & (abs(whole.sum(0) - 1) < max(1e-6, 4 * float(pnp.finfo(dtype).eps)))
    x = pnp.where(inside, x, 1 / k)
    logs = pnp.log(x)
    if x.shape[0] == k - 1:
        some = x.sum(0, keepdims=True)
        x, logs = pnp.concatenate([x, 1 - some]), pnp.concatenate([logs, pnp.log1p(-some)])
    value = _log_inside(x, logs, alpha.reshape(k, *(1,) * (x.ndim - 1)))
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
