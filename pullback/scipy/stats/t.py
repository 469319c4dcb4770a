"""Student's t distribution."""
from __future__ import annotations

import math
from typing import Any

import pullback.numpy as pnp
from pullback._core.array import Array
from pullback._core.errors import boundary
from pullback.scipy import special
from pullback.scipy.stats._shared import log1p_square, real

__all__ = ["logpdf", "pdf"]


def _log_gamma_step(n: Array) -> Array:
    """`gammaln(n + 1/2) - gammaln(n)`: for large n, where that cancels, by the asymptotic series of DLMF 5.11.13."""
    large = n > (50 if n.dtype.itemsize == 8 else 10)
    far, near = pnp.where(large, n, 10), pnp.where(large, 1, n)
    r = 1 / far
    square = r * r
    series = pnp.log(far) / 2 - r * (1 / 8 - square * (1 / 192 - square * (1 / 640 - square * (17 / 14336))))
    return pnp.where(large, series, special.gammaln(near + 0.5) - special.gammaln(near))


def _log_density(function: str, x: Any, df: Any, loc: Any, scale: Any) -> Array:
    x, df, loc, scale = real(function, x, df, loc, scale)
    z = (x - loc) / (scale * pnp.sqrt(df))
    return _log_gamma_step(df / 2) - pnp.log(math.pi * df) / 2 - pnp.log(scale) - (df + 1) / 2 * log1p_square(z)


@boundary
def logpdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The logarithm of the density, proportional to `(1 + z**2 / df)**(-(df + 1) / 2)` with `z = (x - loc) / scale`.

    Args:
      x: a real number or an array of any shape.
      df: the degrees of freedom, positive.
      loc: the median.
      scale: a positive number. All broadcast together; the dtype is the promoted one, floating.

    Raises: TypeError for complex numbers, ValueError for shapes that do not broadcast.

    >>> from pullback.scipy.stats import t
    >>> print(t.logpdf(0., 1.))
    -1.1447299
    """
    return _log_density("t.logpdf", x, df, loc, scale)


@boundary
def pdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import t
    >>> print(t.pdf(0., 1.).round(6))
    0.31831
    """
    return pnp.exp(_log_density("t.pdf", x, df, loc, scale))
