"""The generalized normal distribution."""

from __future__ import annotations

import math

import pullback.numpy as pnp
from pullback._api.derivatives import jvp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.custom_derivatives import custom_jvp
from pullback.scipy import special
from pullback.scipy.stats._shared import real

__all__ = ["cdf", "logpdf", "pdf"]


def _log_density(x: Array, beta: Array) -> Array:
    return -(abs(x) ** beta) - special.gammaln(1 + 1 / beta) - math.log(2)


def _beyond(x: Array, beta: Array) -> Array:
    """Half of the probability beyond |x|, or of that within it for positive x, so that both tails are accurate."""
    order, size = 1 / beta, abs(x)
    # next to 0 the power may underflow: there the density is that at 0
    near = size**beta < float(pnp.finfo(x.dtype).eps) / 4
    power = pnp.where(near, 1, size) ** beta
    flat = pnp.where(near, x, 0) * pnp.exp(-special.gammaln(1 + order))
    below, above = special.gammaincc(order, power) / 2, special.gammainc(order, power) / 2
    return pnp.where(near, 0.5 + flat / 2, pnp.where(x < 0, below, 0.5 + above))


@custom_jvp
def _below(x: Array, beta: Array) -> Array:
    return _beyond(x, beta)


@_below.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    # by x the density, which the chain of an infinite slope and one of 0 does not give at 0
    x, beta = primals
    _, by_beta = jvp(lambda beta: _beyond(x, beta), (beta,), (tangents[1],))
    return _below(x, beta), by_beta + tangents[0] * pnp.exp(_log_density(x, beta))


@boundary
def logpdf(x: ArrayLike, beta: ArrayLike) -> Array:
    """The logarithm of the density, `exp(-abs(x)**beta) / (2 gamma(1 + 1 / beta))`.

    Args:
      x: a real number or an array of any shape.
      beta: the shape, positive. Both broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import gennorm
    >>> print(gennorm.logpdf(1., 1.))
    -1.6931472
    """
    return _log_density(*real("gennorm.logpdf", x, beta))


@boundary
def pdf(x: ArrayLike, beta: ArrayLike) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gennorm
    >>> print(gennorm.pdf(0., 1.))
    0.5
    """
    return pnp.exp(_log_density(*real("gennorm.pdf", x, beta)))


@boundary
def cdf(x: ArrayLike, beta: ArrayLike) -> Array:
    """The distribution function, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import gennorm
    >>> print(gennorm.cdf(0., 2.))
    0.5
    """
    return _below(*pnp.broadcast_arrays(*real("gennorm.cdf", x, beta)))
