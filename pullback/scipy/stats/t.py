"""Student's t distribution."""
from __future__ import annotations

from typing import Any

import pullback.numpy as pnp
from pullback._core.array import Array
from pullback._core.errors import boundary
from pullback.scipy import special
from pullback.scipy.stats._shared import log1p_square, real

__all__ = ["logpdf", "pdf"]


def _log_density(function: str, x: Any, df: Any, loc: Any, scale: Any) -> Array:
    x, df, loc, scale = real(function, x, df, loc, scale)
    z, root = (x - loc) / scale, pnp.sqrt(df)
    # the quotient of z and the root may overflow
    far = abs(z) > root / float(pnp.finfo(z.dtype).eps)
    outside = 2 * pnp.log(pnp.where(far, abs(z), 1)) - pnp.log(df)
    decay = pnp.where(far, outside, log1p_square(pnp.where(far, 0, z) / root))
    return -special.betaln(df / 2, 0.5) - pnp.log(df) / 2 - pnp.log(scale) - (df + 1) / 2 * decay


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
