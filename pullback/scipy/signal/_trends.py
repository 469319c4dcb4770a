"""Signals without their mean or their trend."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.numpy._elementwise.promotion import INEXACT, promote_operands

__all__ = ["detrend"]


@boundary
def detrend(
    data: ArrayLike,
    axis: int = -1,
    type: str = "linear",
    bp: int | Sequence[int] | np.ndarray = 0,
    overwrite_data: None = None,
) -> Array:
    """The data less their mean, or less the straight lines nearest to them, along an axis.

    Args:
      data: an array of at least one dimension.
      axis: an integer.
      type: "constant" subtracts the mean, "linear" a line.
      bp: indices at which a new line begins; for lines only.
      overwrite_data: not supported, since arrays are not written to.

    Raises: ValueError for another type, an axis out of bounds and an index outside of the data; NotImplementedError for
      `overwrite_data`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.signal import detrend
    >>> print(detrend(pnp.array([1., 2., 4.]), type="constant").round(4))
    [-1.3333 -0.3333  1.6667]
    """
    if overwrite_data is not None:
        raise NotImplementedError("detrend: overwrite_data is not supported, arrays are not written to; leave it out")
    if type not in ("constant", "linear"):
        raise ValueError(f"detrend: type must be 'constant' or 'linear', got {type!r}")
    (x,) = promote_operands("detrend", INEXACT, data)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"detrend: axis {axis} is out of bounds for an array of {x.ndim} dimensions")
    if type == "constant":
        return x - x.mean(axis, keepdims=True)
    n = x.shape[axis]
    ends = np.unique(np.concatenate([np.atleast_1d(bp), [0, n]]))
    if ends[0] < 0 or ends[-1] > n:
        raise ValueError(f"detrend: bp must be indices of data of length {n} along the axis, got {bp}")
    rows = pnp.moveaxis(x, axis, -1)
    parts = [_without_line(rows[..., low:high]) for low, high in itertools.pairwise(ends)]
    return pnp.moveaxis(pnp.concatenate(parts, -1) if parts else rows, -1, axis)


def _without_line(x: Array) -> Array:
    """The last axis less the line nearest to it: its mean, and its part along the centered abscissa."""
    n = x.shape[-1]
    x = x - x.mean(-1, keepdims=True)
    if n < 2:
        return x
    abscissa = np.arange(n) - (n - 1) / 2
    unit = pnp.asarray(abscissa / np.linalg.norm(abscissa), x.real.dtype)
    return x - (x @ unit)[..., None] * unit
