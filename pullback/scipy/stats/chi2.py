"""The chi-squared distribution, the gamma distribution of order `df / 2` and scale 2."""

from __future__ import annotations

import math

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.incomplete_gamma import gamma_density, log_gamma_density, log_igamma
from pullback.scipy import special
from pullback.scipy.stats._shared import real, where_inside

__all__ = ["cdf", "logcdf", "logpdf", "logsf", "pdf", "sf"]

_SMALL = 1e-30


def _halves(
    function: str, x: ArrayLike, df: ArrayLike, loc: ArrayLike, scale: ArrayLike
) -> tuple[Array, Array, Array, Array]:
    """`df / 2`, `(x - loc) / scale`, a share of it, and the scale.

    The share is a half, but 1 for the smallest numbers, as compiled code has no halves of these. So close to 0 the
    distribution is a power, and what 1 instead of a half makes is known: 2**(df / 2) times the part below.
    """
    x, df, loc, scale = real(function, x, df, loc, scale)
    z = (x - loc) / scale
    return df / 2, z, pnp.where((z > 0) & (z < _SMALL), 1.0, 0.5).astype(z.dtype), scale


@boundary
def logpdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of the density, of `z**(df / 2 - 1) exp(-z / 2)` up to a factor, with `z = (x - loc) / scale > 0`.

    Args:
      x: a real number or an array of any shape.
      df: the degrees of freedom, positive.
      loc: the lower end.
      scale: a positive number. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.logpdf(2., 2.))
    -1.6931472
    """
    a, z, share, scale = _halves("chi2.logpdf", x, df, loc, scale)
    outside = (z < 0) | (z == np.inf)
    rest = pnp.log(scale) + math.log(2) * pnp.where(share == 1, a, 1)
    return where_inside(outside, -np.inf, lambda z: log_gamma_density(a, z) - rest, share * z, 1)


@boundary
def pdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.pdf(0., 2.))
    0.5
    """
    a, z, share, scale = _halves("chi2.pdf", x, df, loc, scale)
    outside = (z < 0) | (z == np.inf)
    factor = pnp.where(share == 1, pnp.exp2(-a), 0.5)
    return where_inside(outside, 0, lambda z: gamma_density(a, z) * factor / scale, share * z, 1)


@boundary
def cdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The distribution function, `gammainc(df / 2, z / 2)`. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.cdf(2., 2.))
    0.63212055
    """
    a, z, share, _ = _halves("chi2.cdf", x, df, loc, scale)
    factor = pnp.where(share == 1, pnp.exp2(-a), 1)
    return where_inside(z < 0, 0, lambda z: special.gammainc(a, z) * factor, share * z, 1)


@boundary
def logcdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `cdf`, accurate in both tails. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.logcdf(0., 2.))
    -inf
    """
    a, z, share, _ = _halves("chi2.logcdf", x, df, loc, scale)
    less = math.log(2) * pnp.where(share == 1, a, 0)
    return where_inside(z < 0, -np.inf, lambda z: log_igamma(a, z) - less, share * z, 1)


@boundary
def sf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """`1 - cdf`, accurate where it is small. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.sf(2., 2.))
    0.36787945
    """
    a, z, share, _ = _halves("chi2.sf", x, df, loc, scale)
    less = -math.log(2) * pnp.where(share == 1, a, 0)
    return where_inside(z < 0, 1, lambda z: special.gammaincc(a, z) * pnp.exp(less) - pnp.expm1(less), share * z, 1)


@boundary
def logsf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The logarithm of `sf`, accurate in both tails. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import chi2
    >>> print(chi2.logsf(200., 2.))
    -100.0
    """
    a, z, share, _ = _halves("chi2.logsf", x, df, loc, scale)
    less = -math.log(2) * pnp.where(share == 1, a, 1)

    def part(z: Array) -> Array:
        log = log_igamma(a, z, upper=True)
        most = pnp.log1p(pnp.expm1(log) * pnp.exp(less))
        some = pnp.logaddexp(log + less, pnp.log(-pnp.expm1(less)))
        return pnp.where(share == 1, pnp.where(log > -0.5, most, some), log)

    return where_inside(z < 0, 0, part, share * z, 1)
