"""Student's t distribution."""

from __future__ import annotations

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.student import student_density_p, student_log_density_p
from pullback.scipy.stats._shared import real

__all__ = ["logpdf", "pdf"]


def _standard(
    function: str, x: ArrayLike, df: ArrayLike, loc: ArrayLike, scale: ArrayLike
) -> tuple[Array, Array, Array]:
    x, df, loc, scale = real(function, x, df, loc, scale)
    return (x - loc) / scale, df, scale


@boundary
def logpdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
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
    z, df, scale = _standard("t.logpdf", x, df, loc, scale)
    return student_log_density_p.bind(z, df) - pnp.log(scale)


@boundary
def pdf(x: ArrayLike, df: ArrayLike, loc: ArrayLike = 0, scale: ArrayLike = 1) -> Array:
    """The density. Arguments and errors are those of `logpdf`.

    >>> from pullback.scipy.stats import t
    >>> print(t.pdf(0., 1.).round(6))
    0.31831
    """
    z, df, scale = _standard("t.pdf", x, df, loc, scale)
    return student_density_p.bind(z, df) / scale
