"""Powers and factorials: binomial coefficients, Bernoulli numbers, transforms by powers, the multivariate gamma."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops import beta as beta_ops
from pullback._ops import gamma, gamma_formulas
from pullback._ops.power_integral import power_integral_p
from pullback._ops.stirling import polygamma_step
from pullback.custom_derivatives import SymbolicZero, custom_jvp
from pullback.lax import stop_gradient
from pullback.numpy._elementwise.promotion import FLOAT, Operand, elementwise, integer, promote_operands

__all__ = ["bernoulli", "boxcox", "boxcox1p", "comb", "multigammaln"]


@elementwise(FLOAT)
def boxcox(x: Operand, lmbda: Operand) -> Array:
    """The transform of Box and Cox, `(x**lmbda - 1) / lmbda`, the logarithm for `lmbda` = 0; nan for negative `x`.

    It and its derivatives keep their digits for small `lmbda`. Box and Cox, J. Royal Statist. Soc. B 26 (1964).

    >>> from pullback.scipy import special
    >>> print(special.boxcox(2., 0.))
    0.6931472
    """
    return power_integral_p.bind(x, lmbda, order=0, shifted=False)


@elementwise(FLOAT)
def boxcox1p(x: Operand, lmbda: Operand) -> Array:
    """`boxcox(1 + x, lmbda)`, accurate for small `x`.

    >>> from pullback.scipy import special
    >>> print(special.boxcox1p(1., 2.))
    1.5
    """
    return power_integral_p.bind(x, lmbda, order=0, shifted=True)


@boundary
def comb(N: ArrayLike, k: ArrayLike, *, repetition: bool = False) -> Array:
    """The number of ways to choose `k` of `N` things, `N! / (k! (N - k)!)`, also of real numbers; 0 unless 0 <= k <= N.

    Args:
      N, k: real numbers or bools; their shapes broadcast. The dtype is floating. For whole numbers the result is whole.
      repetition: whether a thing may be chosen several times: then it is `comb(N + k - 1, k)`.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy import special
    >>> print(special.comb(5, 2), special.comb(5, 2, repetition=True))
    10.0 15.0
    """
    N, k = promote_operands("comb", FLOAT, N, k)
    if not repetition:
        return _comb(N, k)
    nothing = (k == 0) & (N >= 0)
    return pnp.where(nothing, 1, _comb(pnp.where(nothing, 1, N + k - 1), k))


def _comb(n: Array, k: Array) -> Array:
    possible = (k <= n) & (n >= 0) & (k >= 0)
    n, k = pnp.where(possible, n, 1), pnp.where(possible, k, 1)
    value = _coefficient(n, k)
    whole = (n == pnp.floor(n)) & (k == pnp.floor(k)) & (value < 1 / float(pnp.finfo(n.dtype).eps))
    value = pnp.where(whole, value + stop_gradient(pnp.round(value) - value), value)
    return pnp.where(possible, value, pnp.where(pnp.isnan(n) | pnp.isnan(k), np.nan, 0))


@custom_jvp
def _coefficient(n: Array, k: Array) -> Array:
    """The binomial coefficient for 0 <= k <= n. Its slopes are declared, as those of its factors cancel for tiny n."""
    info = pnp.finfo(n.dtype)
    size = beta_ops.beta_size_p.bind(n - k + 1, k + 1)
    # of a tiny number the reciprocal, or its derivatives, may leave the range
    small = size < float(info.tiny) ** 0.25
    by_logarithm = pnp.exp(-beta_ops.log_beta_p.bind(n - k + 1, k + 1) - pnp.log(n + 1))
    return pnp.where(small, by_logarithm, 1 / (pnp.where(small, 1, size) * (n + 1)))


def _coefficient_jvp(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    n, k = primals
    value, slope = _coefficient(n, k), pnp.zeros_like(n)
    of_n, of_k = (None if isinstance(t, SymbolicZero) else t for t in tangents)
    if of_n is not None:
        slope = polygamma_step(n - k + 1, k, 0) * of_n
    if of_k is not None:
        rest = n - k
        less = k <= rest
        apart = pnp.where(less, rest - k, k - rest)
        by_k = polygamma_step(pnp.where(less, k, rest) + 1, apart, 0)
        slope = slope + pnp.where(less, by_k, -by_k) * of_k
    return value, value * slope


_coefficient.defjvp(_coefficient_jvp, symbolic_zeros=True)


@boundary
def bernoulli(n: int) -> Array:
    """The Bernoulli numbers B(0), ..., B(n), with B(1) = -1/2 (DLMF 24.2.1), in the default floating dtype.

    TypeError for what is no integer, ValueError for a negative one.

    >>> from pullback.scipy import special
    >>> print(special.bernoulli(4).round(4))
    [ 1.     -0.5     0.1667  0.     -0.0333]
    """
    last = integer("bernoulli", "n", n)
    if last < 0:
        raise ValueError(f"bernoulli: n must be at least 0, got {last}")
    numbers = np.zeros(last + 1)
    numbers[:2] = (1, -0.5)[: last + 1]
    # up to the first that leaves the range, whose size grows from there on
    for half, number in enumerate(gamma_formulas.bernoulli(min(last, 260) // 2), 1):
        numbers[2 * half] = _float(number)
    numbers[262::4], numbers[264::4] = np.inf, -np.inf
    with np.errstate(over="ignore"):
        return pnp.asarray(numbers.astype(pnp.result_type(float)))


def _float(number: object) -> float:
    try:
        return float(number)  # type: ignore[arg-type]
    except OverflowError:
        return math.copysign(math.inf, 1 if number > 0 else -1)  # type: ignore[operator]


@boundary
def multigammaln(a: ArrayLike, d: int) -> Array:
    """The logarithm of the multivariate gamma function (DLMF 35.3.4), of order `d`, for `a` > (d - 1) / 2.

    `a`: real numbers, any shape. TypeError for others and for a `d` that is no integer, ValueError for one below 1.

    >>> from pullback.scipy import special
    >>> print(special.multigammaln(2., 1))
    0.0
    """
    order = integer("multigammaln", "d", d)
    if order < 1:
        raise ValueError(f"multigammaln: d must be at least 1, got {order}")
    (a,) = promote_operands("multigammaln", FLOAT, a)
    steps = pnp.asarray(np.arange(order) / 2, a.dtype)
    return gamma.lgamma_p.bind(a[..., None] - steps).sum(-1) + order * (order - 1) / 4 * math.log(math.pi)
