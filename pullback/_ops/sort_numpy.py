"""Stable sorts of NumPy values by sorts that are not stable, which NumPy vectorizes and which have 10 times the speed.

Measured with 1,000,000 elements of float32 on a busy processor with AVX-512: positions 72 ms, where
`np.argsort(kind="stable")` takes 610 and the unstable one 140; values 9 ms.
"""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.typing import AnyValue

_INT, _LONG = np.dtype(np.int32), np.dtype(np.int64)
_SIGN = np.int32(-(2**31))


def comparable(x: AnyValue) -> AnyValue:
    """A NumPy value with the same order, in a dtype that NumPy sorts."""
    if x.dtype.isbuiltin != 1:
        return x.astype(np.float32 if dtypes.is_float(x.dtype) else np.int32)
    return x


def sorted_values(x: np.ndarray, axis: int, out: np.ndarray | None = None) -> np.ndarray:
    """`x` sorted along an axis, in `out` if it is given: as by a stable sort, where 0 and -0 are equal."""
    if dtypes.is_complex(x.dtype):
        y = np.sort(x, axis=axis, kind="stable")
    elif out is None:
        y = np.sort(x, axis=axis)
    else:
        np.copyto(out, x)
        y = out
        y.sort(axis=axis)
    if dtypes.is_float(x.dtype) and _has_negative_zero(x):
        _restore_zeros(x, y, axis)
    if out is not None and y is not out:
        np.copyto(out, y)
    return y


def stable_order(x: np.ndarray, axis: int) -> np.ndarray:
    """The positions that sort `x` along an axis, those of equal elements in order: 0 and -0, and all nan, are equal."""
    n = x.shape[axis]
    if dtypes.is_complex(x.dtype) or n >= 2**31:
        return np.argsort(x, axis=axis, kind="stable")
    x = np.moveaxis(x, axis, -1)
    if x.dtype.itemsize <= 4:
        # one sort of numbers of 64 bits: the key, then the position
        order: np.ndarray = _with_positions(_ordered(x)).astype(_INT)
    else:
        order = np.argsort(x, axis=-1)
        ordered = np.take_along_axis(x, order, -1)
        starts = ordered[..., 1:] != ordered[..., :-1]
        if dtypes.is_float(x.dtype):
            starts &= ~(np.isnan(ordered[..., 1:]) & np.isnan(ordered[..., :-1]))
        if not starts.all():
            # the positions of equal elements are sorted: by the number of the run of equal ones, then the position
            runs = np.zeros(order.shape, _INT)
            np.cumsum(starts, axis=-1, dtype=_INT, out=runs[..., 1:])
            order = _sorted_pairs(runs, order).astype(_INT)
    return np.moveaxis(order, -1, axis)


def first_in_order(x: np.ndarray, k: int) -> np.ndarray:
    """The first `k` positions of the stable order along the last axis, of at most 32 bits or of fewer than 2**31."""
    n = x.shape[-1]
    if x.dtype.itemsize > 4 or n >= 2**31:
        return np.argsort(x, axis=-1, kind="stable")[..., :k]
    pairs = _ordered(x).astype(_LONG, order="C")
    pairs <<= 32
    pairs |= np.arange(n, dtype=_LONG)
    return smallest(pairs, k).astype(_INT)


def smallest(x: np.ndarray, k: int) -> np.ndarray:
    """The `k` smallest along the last axis, sorted: 2 ms for a few of 1,000,000 in place of 8."""
    if 0 < k < x.shape[-1]:
        x = np.partition(x, k - 1, axis=-1)
    return np.sort(x[..., :k], axis=-1)


def order_by(keys: list[np.ndarray], axis: int) -> np.ndarray:
    """The positions that sort the keys along an axis, later keys deciding between equal ones."""
    order = stable_order(keys[-1], axis)
    for key in keys[-2::-1]:
        order = np.take_along_axis(order, stable_order(np.take_along_axis(key, order, axis), axis), axis)
    return order


def sorted_together(operands: list[np.ndarray], axis: int, num_keys: int) -> list[np.ndarray]:
    """All operands in the stable order of the first `num_keys` of them."""
    order = order_by([comparable(x) for x in operands[:num_keys]], axis)
    return [
        order.astype(x.dtype, copy=False)
        if _is_positions(x, axis)
        else x[order]
        if x.ndim == 1
        else np.take_along_axis(x, order, axis)
        for x in operands
    ]


def _has_negative_zero(x: np.ndarray) -> bool:
    bits = np.ascontiguousarray(x).view(f"i{x.dtype.itemsize}")
    return bool((bits == np.iinfo(bits.dtype).min).any())


def _restore_zeros(x: np.ndarray, y: np.ndarray, axis: int) -> None:
    """Give the zeros of the sorted `y` the signs and the order of those of `x`: each row has as many."""
    rows, ordered = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)
    ordered[ordered == 0] = rows[rows == 0]


def _ordered(x: np.ndarray) -> np.ndarray:
    """int32 with the order of `x`, of a real dtype of up to 32 bits: equal where the elements are."""
    if not dtypes.is_float(x.dtype):
        if x.dtype != np.uint32:
            return x.astype(_INT)
        return x.view(_INT) ^ _SIGN
    bits = np.add(x, np.float32(0), dtype=np.float32).view(_INT)  # -0 becomes 0
    bits = bits ^ ((bits >> 31) & np.int32(2**31 - 1))
    missing = np.isnan(x)
    if missing.any():
        bits[missing] = 2**31 - 1
    return bits


def _with_positions(keys: np.ndarray) -> np.ndarray:
    return _sorted_pairs(keys, np.arange(keys.shape[-1], dtype=_LONG))


def _sorted_pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pairs of a number of 32 bits and one below 2**31, in one number of 64 bits each, sorted along the last axis."""
    pairs = first.astype(_LONG, order="C")
    pairs <<= 32
    pairs |= second
    pairs.sort(axis=-1)
    return pairs


def _is_positions(x: np.ndarray, axis: int) -> bool:
    """Whether `x` has the positions along the axis: they are the order itself, which need not be gathered."""
    n = x.shape[axis]
    if x.dtype.kind not in "iu" or n < 2 or not x.size or n - 1 > np.iinfo(x.dtype).max:
        return False
    rows = np.moveaxis(x, axis, -1)
    if rows.flat[1] != 1 or rows.flat[x.size - 1] != n - 1:
        return False
    return bool((rows == np.arange(n, dtype=x.dtype)).all())
