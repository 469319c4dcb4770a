"""The beta-binomial distribution: the binomial one whose probability of a success has a beta distribution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.binomial_mass import harmonic_p, log_alike, log_ratio_p, share_p
from pullback.scipy.stats._shared import no_count, real

__all__ = ["logpmf", "pmf"]


class _Mass(NamedTuple):
    """A mass: the exponential of `log` times harmonic(x, y) / harmonic(far_x, far_y), of (k + a, m + b).

    Where all trials end alike, x is the parameter of what did not happen, and x = far_x; its poles cancel.
    """

    wrong: Array
    impossible: Array
    every: Array  # whether all trials are successes, of one or more
    alike: Array  # whether all trials end alike
    near: Array  # whether they do, with a probability that may be next to 1
    log: Array
    n: Array
    a: Array
    b: Array
    x: Array
    y: Array
    far_x: Array
    far_y: Array


def _mass(function: str, k: ArrayLike, n: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike) -> _Mass:
    k, n, a, b, loc = pnp.broadcast_arrays(*real(function, k, n, a, b, loc))
    k = k - loc
    impossible = no_count(k) | (k > n)
    wrong = no_count(n) | ~(a > 0) | ~(b > 0)
    k, n = pnp.where(impossible | wrong, 0, k), pnp.where(wrong, 1, n)
    a, b = pnp.where(wrong, 1, a), pnp.where(wrong, 1, b)
    log, every = log_ratio_p.bind(k, n - k, a, b), (k == n) & (k > 0)
    x, y = pnp.where(every, b, a), pnp.where(every, a, b)
    far_x, far_y = x + pnp.where(every, n - k, k), y + pnp.where(every, k, n - k)
    alike = every | (k == 0)
    near = alike & ((x * n < 0.5 * y) | (x < 0.1) & (x < 0.1 * y))
    return _Mass(wrong, impossible, every, alike, near, log, n, a, b, x, y, far_x, far_y)


def _log_near(mass: _Mass) -> Array:
    """The logarithm of the mass where it may be next to 1, by a formula of one sign; elsewhere 0."""
    return log_alike(pnp.where(mass.near, mass.n, 0), mass.a, mass.b, mass.every)


def _log_harmonic(x: Array, y: Array) -> Array:
    less = x < y
    return pnp.log(pnp.where(less, x, y)) + pnp.log(share_p.bind(pnp.where(less, y, x), pnp.where(less, x, y)))


@boundary
def logpmf(k: ArrayLike, n: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The logarithm of the probability of m = k - loc successes in n, `comb(n, m) beta(m + a, n - m + b) / beta(a, b)`.

    Args:
      k: a real number or an array of any shape.
      n: the number of trials; nan for what is not a count.
      a, b: the shape of the distribution of the probability of a success, positive, else the result is nan.
      loc: the shift. All broadcast together; the dtype is the promoted one, floating.

    Returns: -inf where m is not a count or exceeds n.
    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import betabinom
    >>> print(betabinom.logpmf(1, 3, 1., 1.).round(5))
    -1.38629
    """
    mass = _mass("betabinom.logpmf", k, n, a, b, loc)
    alike = pnp.log(share_p.bind(mass.y, mass.x)) - pnp.log(share_p.bind(mass.far_y, mass.x))
    inside = _log_harmonic(mass.x, mass.y) - _log_harmonic(mass.far_x, mass.far_y)
    value = mass.log + pnp.where(mass.alike, alike, inside)
    value = pnp.where(mass.near, _log_near(mass), value)
    return pnp.where(mass.wrong, np.nan, pnp.where(mass.impossible, -np.inf, value))


@boundary
def pmf(k: ArrayLike, n: ArrayLike, a: ArrayLike, b: ArrayLike, loc: ArrayLike = 0) -> Array:
    """The probability of `k`. Arguments and errors are those of `logpmf`.

    >>> from pullback.scipy.stats import betabinom
    >>> print(betabinom.pmf(1, 3, 1., 1.).round(5))
    0.25
    """
    mass = _mass("betabinom.pmf", k, n, a, b, loc)
    alike = share_p.bind(mass.y, mass.x) / share_p.bind(mass.far_y, mass.x)
    inside = harmonic_p.bind(mass.x, mass.y) / harmonic_p.bind(mass.far_x, mass.far_y)
    value = pnp.exp(mass.log) * pnp.where(mass.alike, alike, inside)
    value = pnp.where(mass.near, pnp.exp(_log_near(mass)), value)
    return pnp.where(mass.wrong, np.nan, pnp.where(mass.impossible, 0, value))
