"""Sorting, ranks and the choice of the largest, as projections: with derivatives, and exact for numbers far apart.

Source: Blondel, Teboul, Berthet, Djolonga, Fast differentiable sorting and ranking (2020), with the quadratic
regularization: each is the nearest point of a polytope, of which the plain function is a corner. The time and memory
are those of n² numbers for n along the axis.
"""

from __future__ import annotations

from pullback import lax
from pullback import numpy as pnp
from pullback._api.vectorize import vmap
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.numpy._elementwise.promotion import FLOAT, integer, promote_operands
from pullback.numpy._reductions.reductions import one_axis

__all__ = ["soft_rank", "soft_sort", "soft_top_k"]


def _rows(function: str, x: ArrayLike, strength: ArrayLike, axis: int) -> tuple[Array, Array, int]:
    """The array with the axis last, the strength, and the axis."""
    x, strength = promote_operands(function, FLOAT, x, strength)
    if strength.ndim:
        raise ValueError(f"{function}: strength must be a number, got {strength.aval.str_short()}")
    axis = one_axis(function, axis, x.ndim)
    return pnp.moveaxis(x, axis, -1), strength, axis


def _over_rows(fun, rows: Array, axis: int) -> Array:
    """A function of a vector applied to each row, with the axis back in its place; nan for rows with a nan."""

    def or_nan(row):
        return pnp.where(pnp.isnan(row).any(), pnp.nan, fun(row))

    if rows.size:
        rows = vmap(or_nan)(rows.reshape((-1, rows.shape[-1]))).reshape(rows.shape)
    return pnp.moveaxis(rows, -1, axis)


def _projected(z: Array, w: Array) -> Array:
    """The point nearest to z among the means of all orders of w, where both fall; nan unless both are finite.

    It is z minus the falling sequence nearest to z - w. Within a block that is z less its mean plus that of w, which
    for a block of one is w to the last digit.
    """
    # both from their first entry on: blocks stay, and large numbers do not swallow the other's steps
    z = z - lax.stop_gradient(z[:1])
    gap = lax.stop_gradient(z - (w - w[:1]))
    blocks = _blocks(gap)
    return pnp.where(pnp.isfinite(gap).all(), (z - _means(z, blocks)) + _means(w, blocks), pnp.nan)


def _blocks(y: Array) -> Array:
    """The number of the block of each entry in the falling sequence nearest to y, whose blocks are means of y.

    The value at i is the smallest over j <= i of the largest over k >= i of the means of y[j..k].
    """
    n = y.shape[0]
    sums = pnp.concatenate([pnp.zeros(1, y.dtype), pnp.cumsum(y)])
    j, k = pnp.arange(n)[:, None], pnp.arange(n)[None, :]
    means = pnp.where(k >= j, (sums[1:][None, :] - sums[:-1][:, None]) / (k - j + 1), -pnp.inf)
    largest = lax.cummax(means, axis=1, reverse=True)
    nearest = pnp.min(pnp.where(j <= k, largest, pnp.inf), axis=0)
    return pnp.cumsum(pnp.concatenate([pnp.zeros(1, bool), nearest[1:] != nearest[:-1]]))


def _means(x: Array, blocks: Array) -> Array:
    """The mean of its block for each entry."""
    same = (blocks[:, None] == blocks[None, :]).astype(x.dtype)
    return (same @ x) / pnp.sum(same, axis=1)


@boundary
def soft_sort(x: ArrayLike, strength: ArrayLike = 1.0, axis: int = -1) -> Array:
    """`x` in rising order, where neighbours that are further apart than `1 / strength` move towards each other.

    If no gap is so wide, it is `sort(x)` exactly; for a large strength all become their mean. The sum is that of `x`.

    Args:
      x: a real array with an axis of length n.
      strength: a positive number, in the unit of `1 / x`.
      axis: the axis, the last by default.

    Raises: ValueError for an axis out of range, TypeError for complex numbers.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.rules.soft_sort(pnp.array([3., 1., 1.5]), 0.1), pb.rules.soft_sort(pnp.array([3., 1., 1.5]), 1.))
    [1.  1.5 3. ] [1.   1.75 2.75]
    """
    rows, strength, axis = _rows("soft_sort", x, strength, axis)
    n = rows.shape[-1]
    places = pnp.arange(n, 0, -1, dtype=rows.dtype) / strength

    def one(row):
        return pnp.flip(_projected(places, pnp.flip(pnp.sort(row))))

    return _over_rows(one, rows, axis)


@boundary
def soft_rank(x: ArrayLike, strength: ArrayLike = 1.0, axis: int = -1) -> Array:
    """The ranks of the entries, 1 for the smallest, where numbers nearer than `strength` share theirs.

    Args:
      x: a real array with an axis of length n.
      strength: a positive number, in the unit of `x`. Where all gaps are wider, ranks are exact; a large one makes all
        ranks the mean, (n + 1) / 2.
      axis: the axis, the last by default.

    Raises: ValueError for an axis out of range, TypeError for complex numbers.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.rules.soft_rank(pnp.array([3., 1., 1.5]), 0.1), pb.rules.soft_rank(pnp.array([3., 1., 1.5])))
    [3. 1. 2.] [3.   1.25 1.75]
    """
    rows, strength, axis = _rows("soft_rank", x, strength, axis)
    n = rows.shape[-1]
    places = pnp.arange(n, 0, -1, dtype=rows.dtype)

    def one(row):
        order = pnp.flip(pnp.argsort(row))
        ranks = _projected(row[order] / strength, places)
        return pnp.zeros_like(row).at[order].set(ranks)

    return _over_rows(one, rows, axis)


@boundary
def soft_top_k(x: ArrayLike, k: int, strength: ArrayLike = 1.0, axis: int = -1) -> Array:
    """Weights from 0 to 1 with the sum `k`, which choose the `k` largest entries.

    It is the nearest point to `x / strength` with such weights: exactly 1 and 0 where the largest `k` are further than
    `strength` above the others.

    Args:
      x: a real array with an axis of length n.
      k: the number of entries, an integer from 0 to n.
      strength: a positive number, in the unit of `x`.
      axis: the axis, the last by default.

    Raises: ValueError for another k or an axis out of range, TypeError for complex numbers.
    See: Amos, Koltun, Kolter, The limited multi-label projection layer (2019).

    >>> import pullback as pb, pullback.numpy as pnp
    >>> print(pb.rules.soft_top_k(pnp.array([3., 1., 2.5]), 1, 0.1), pb.rules.soft_top_k(pnp.array([3., 1., 2.5]), 1))
    [1. 0. 0.] [0.75 0.   0.25]
    """
    rows, strength, axis = _rows("soft_top_k", x, strength, axis)
    k = integer("soft_top_k", "k", k)
    if not 0 <= k <= rows.shape[-1]:
        raise ValueError(f"soft_top_k: k must be from 0 to {rows.shape[-1]}, the length of axis {axis}, got {k}")
    return _over_rows(lambda row: _weights(row / strength, k), rows, axis)


def _weights(z: Array, k: int) -> Array:
    """`clip(z - level, 0, 1)` with the sum k."""
    fixed = lax.stop_gradient(z)
    corners = pnp.concatenate([fixed, fixed - 1])  # of the sum as a function of the level, between which it is linear
    sums = pnp.sum(pnp.clip(fixed[None, :] - corners[:, None], 0, 1), axis=1)
    low = pnp.max(pnp.where(sums >= k, corners, -pnp.inf))
    high = pnp.min(pnp.where(sums <= k, corners, pnp.inf))
    height = z - (low + high) / 2
    whole, between = height >= 1, (height > 0) & (height < 1)
    count = pnp.sum(between)
    # what the level is above the first guess, from numbers near 0: large ones would swallow k
    more = (pnp.sum(pnp.where(between, height, 0)) + pnp.sum(whole) - k) / pnp.maximum(count, 1)
    return pnp.where(between, height - more, whole.astype(z.dtype))
