"""Statistics of samples: ranks, the most common value, the standard error of the mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import pullback.numpy as pnp
from pullback._api.vectorize import vmap
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._ops.cumulative import cummax
from pullback.numpy._elementwise.promotion import FLOAT, as_operand, promote_operands

__all__ = ["mode", "rankdata", "sem"]


class ModeResult(NamedTuple):
    """The most common value, and how often it occurs."""

    mode: Array
    count: Array  # type: ignore[assignment]


def _check_policy(function: str, nan_policy: str, known: tuple[str, ...]) -> None:
    if nan_policy in ("propagate", "omit", "raise") and nan_policy not in known:
        raise NotImplementedError(
            f"{function}: nan_policy={nan_policy!r} is not implemented, for "
            + (
                "the result would have a size that types do not tell"
                if nan_policy == "omit"
                else "compiled code cannot raise"
            )
        )
    if nan_policy not in known:
        raise ValueError(f"{function}: nan_policy must be 'propagate', 'omit' or 'raise', got {nan_policy!r}")


def _as_columns(function: str, x: Array, axis: int | None) -> tuple[Array, int]:
    """The array with its axis in front and the others in one, and the axis: 0 of a vector for None."""
    x = x.reshape(-1) if axis is None else pnp.atleast_1d(x)
    axis = 0 if axis is None else axis
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{function}: axis {axis} is out of bounds for an array of {x.ndim} dimensions")
    axis %= x.ndim
    return pnp.moveaxis(x, axis, 0).reshape(x.shape[axis], math.prod(x.shape[:axis] + x.shape[axis + 1 :])), axis


@boundary
def mode(a: ArrayLike, axis: int | None = 0, nan_policy: str = "propagate", keepdims: bool = False) -> ModeResult:
    """The most common value along an axis, of several the least, and how often it occurs.

    Args:
      a: an array of any shape and dtype. All nan count as one value, greater than the others.
      axis: None for the whole array.
      nan_policy: "propagate"; the other policies of SciPy's are refused.
      keepdims: whether the axis stays, with length 1.

    Returns: a pair `(mode, count)`; of no values nan and 0.
    Raises: ValueError for an axis out of bounds or an unknown policy, NotImplementedError for a policy refused.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.stats import mode
    >>> value, count = mode(pnp.array([3, 1, 2, 1]))
    >>> print(value, count)
    1 2
    """
    _check_policy("mode", nan_policy, ("propagate",))
    x = as_operand(a, "mode", "a")
    columns, along = _as_columns("mode", x, axis)
    shape: tuple[int, ...] = ()
    if axis is not None:
        full = x.shape or (1,)
        shape = (*full[:along], *([1] if keepdims else []), *full[along + 1 :])
    elif keepdims:
        shape = (1,) * max(x.ndim, 1)
    n = columns.shape[0]
    if n == 0:
        default = pnp.result_type(float)
        return ModeResult(pnp.full(shape, np.nan, default), pnp.zeros(shape, default))
    ordered = pnp.sort(columns, axis=0)
    places = pnp.arange(n)[:, None]
    same = ordered[1:] == ordered[:-1]
    if dtypes.is_inexact(x.dtype):
        same = same | (pnp.isnan(ordered[1:]) & pnp.isnan(ordered[:-1]))
    begins = pnp.concatenate([pnp.ones((1, columns.shape[1]), bool), ~same])
    lengths = places - cummax(pnp.where(begins, places, 0), 0) + 1
    end = pnp.argmax(lengths, axis=0)
    value = pnp.take_along_axis(ordered, end[None], 0)
    return ModeResult(value.reshape(shape), lengths.max(0).reshape(shape))


def _ranks(method: str) -> Callable[[Array], Array]:
    def ranks(x: Array) -> Array:
        if method == "ordinal":
            order = pnp.argsort(x, stable=True)
            return pnp.zeros_like(order).at[order].set(pnp.arange(1, x.size + 1, dtype=order.dtype))
        ordered = pnp.sort(x)
        below = pnp.searchsorted(ordered, x, side="left")
        if method == "dense":
            begins = pnp.concatenate([pnp.ones(1, bool), ordered[1:] != ordered[:-1]])
            return pnp.cumsum(begins)[below]
        if method == "min":
            return below + 1
        upto = pnp.searchsorted(ordered, x, side="right")
        return upto if method == "max" else 0.5 * (below + upto + 1)

    return ranks


@boundary
def rankdata(a: ArrayLike, method: str = "average", *, axis: int | None = None, nan_policy: str = "propagate") -> Array:
    """The ranks of numbers, from 1 on.

    Args:
      a: an array of any shape, of real numbers.
      method: what equal numbers get: the "average", "min" or "max" of their ranks; "dense", the min where the next rank
        follows without a gap; "ordinal", different ranks in the order in which they stand.
      axis: None ranks all entries, as a vector.
      nan_policy: "propagate", so that nan among the numbers makes all ranks nan; the other policies are refused.

    Returns: a floating array of the default dtype, which depends on `a` in steps: its derivative is 0.
    Raises: ValueError for an unknown method or policy, NotImplementedError for a policy refused, TypeError for complex
      numbers.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.stats import rankdata
    >>> print(rankdata(pnp.array([0, 2, 3, 2])))
    [1.  2.5 4.  2.5]
    """
    _check_policy("rankdata", nan_policy, ("propagate",))
    methods = ("average", "min", "max", "dense", "ordinal")
    if method not in methods:
        raise ValueError(f"rankdata: method must be one of {', '.join(map(repr, methods))}, got {method!r}")
    x = as_operand(a, "rankdata", "a")
    if dtypes.is_complex(x.dtype):
        raise TypeError(f"rankdata: a must be of real numbers, got {x.aval.str_short()}")
    columns, along = _as_columns("rankdata", x, axis)
    default = pnp.result_type(float)
    if not columns.size:
        ranks = pnp.zeros(columns.shape, default)
    else:
        ranks = vmap(_ranks(method), 1, 1)(columns).astype(default)
        if dtypes.is_float(x.dtype):
            ranks = pnp.where(pnp.isnan(columns).any(0), np.nan, ranks)
    if axis is None:
        return ranks.reshape(-1)
    full = x.shape or (1,)
    return pnp.moveaxis(ranks.reshape(full[along], *full[:along], *full[along + 1 :]), 0, along)


@boundary
def sem(
    a: ArrayLike, axis: int | None = 0, ddof: int = 1, nan_policy: str = "propagate", *, keepdims: bool = False
) -> Array:
    """The standard error of the mean along an axis, `std(a, ddof) / sqrt(n)` of n numbers.

    Args:
      a: an array of real numbers.
      axis: None for all entries.
      ddof: what is subtracted from n where the mean square is formed.
      nan_policy: "propagate", or "omit" to leave nan out.
      keepdims: whether the axis stays, with length 1.

    Raises: ValueError for an axis out of bounds or an unknown policy, NotImplementedError for the policy "raise",
      TypeError for complex numbers.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.stats import sem
    >>> print(sem(pnp.array([1., 3.])))
    1.0
    """
    _check_policy("sem", nan_policy, ("propagate", "omit"))
    (x,) = promote_operands("sem", FLOAT, a)
    if nan_policy == "omit":
        count = (~pnp.isnan(x)).sum(axis, keepdims=keepdims)
        return pnp.nanstd(x, axis, ddof=ddof, keepdims=keepdims) / pnp.sqrt(count.astype(x.dtype))
    size = x.size if axis is None else x.shape[axis]
    return pnp.std(x, axis, ddof=ddof, keepdims=keepdims) / pnp.asarray(math.sqrt(size), x.dtype)
