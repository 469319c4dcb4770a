"""Sums and products along axes in kernels, in blocks, so that rounding errors do not grow with the number of terms.

NumPy adds pairwise along a contiguous axis, but row by row, with one rounding after the other, along all others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.typing import AnyValue

_BLOCK = 16
_MANY = 64  # terms that are added sequentially
_PIECE = 1 << 15
_FLOAT32 = np.dtype(np.float32)
_WIDE = {_FLOAT32: np.dtype(np.float64), np.dtype(np.complex64): np.dtype(np.complex128)}


def is_half(dtype: np.dtype) -> bool:
    """Return whether values of the dtype are accumulated in float32 and rounded once, eagerly and compiled."""
    return dtype.itemsize <= 2 and dtypes.is_float(dtype)


def accumulator(dtype: np.dtype) -> np.dtype:
    """The dtype in which sums and products of a dtype are accumulated."""
    return _FLOAT32 if is_half(dtype) else dtype


def reduced(ufunc: np.ufunc, x: AnyValue, axes: tuple[int, ...]) -> Any:
    """`ufunc.reduce`, of `np.add` or `np.multiply`, over axes in the dtype of `x`."""
    dtype = x.dtype
    if is_half(dtype):
        return np.asarray(reduced(ufunc, x.astype(_FLOAT32), axes)).astype(dtype)
    if x.size <= _MANY or not axes:
        return ufunc.reduce(x, axes, dtype)
    shape = x.shape
    count = 1
    for axis in axes:
        count *= shape[axis]
    if count <= _MANY:
        return ufunc.reduce(x, axes, dtype)
    if x.flags.c_contiguous:
        if ufunc is np.add and axes[0] == len(shape) - len(axes):
            return ufunc.reduce(x, axes, dtype)  # NumPy adds pairwise along the last axes
        return _in_blocks(ufunc, x, axes)
    order = sorted(range(x.ndim), key=lambda axis: -x.strides[axis])
    moved = x.transpose(order)
    if not moved.flags.c_contiguous:
        # NumPy adds pairwise along the axis of the shortest stride
        wide = dtype if order[-1] in axes and count <= _MANY * shape[order[-1]] else _WIDE.get(dtype, dtype)
        return np.asarray(ufunc.reduce(x, axes, wide)).astype(dtype, copy=False)
    out = _in_blocks(ufunc, moved, tuple(sorted(order.index(axis) for axis in axes)))
    kept = [axis for axis in order if axis not in axes]
    return out.transpose(np.argsort(kept)) if kept != sorted(kept) else out


def _in_blocks(ufunc: np.ufunc, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """The reduction of a contiguous array over sorted axes: adjacent axes together, the last ones first."""
    shape = list(x.shape)
    stop = len(axes)
    while stop:
        start = stop - 1
        while start and axes[start - 1] == axes[start] - 1:
            start -= 1
        first, last = axes[start], axes[stop - 1] + 1
        before, count, behind = map(math.prod, (shape[:first], shape[first:last], shape[last:]))
        x = _rows(ufunc, x.reshape(before, count, behind))
        shape[first:last] = []
        stop = start
    return x.reshape(shape)


def _rows(ufunc: np.ufunc, x: np.ndarray) -> np.ndarray:
    """The reduction over the middle axis: blocks of distant rows, which are long vectors, then their results."""
    before, count, behind = x.shape
    dtype = x.dtype
    if behind == 1 and ufunc is np.add:
        return ufunc.reduce(x.reshape(before, count), 1, dtype)
    while count > 2 * _BLOCK:
        blocks = count // _BLOCK
        whole = blocks * _BLOCK
        head = ufunc.reduce(x[:, :whole].reshape(before, _BLOCK, blocks * behind), 1, dtype)
        head = head.reshape(before, blocks, behind)
        x = np.concatenate([head, x[:, whole:]], 1) if whole < count else head
        count = x.shape[1]
    return ufunc.reduce(x, 1, dtype)


def running(x: np.ndarray, axis: int) -> np.ndarray:
    """`np.add.accumulate` along an axis: in a wider dtype, or in blocks, to which totals of earlier ones are added."""
    dtype = x.dtype
    count = x.shape[axis]
    if not dtypes.is_inexact(dtype) or count <= _MANY or not x.size:
        return np.add.accumulate(x, axis, dtype)
    shape = x.shape
    before, behind = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    if behind == 1:
        return _running_wide(x.reshape(before, count), _WIDE.get(dtype, dtype)).reshape(shape)
    blocks = count // _BLOCK
    whole = blocks * _BLOCK
    x = x.reshape(before, count, behind)
    out = np.empty(x.shape, dtype)
    parts = out[:, :whole].reshape(before, blocks, _BLOCK, behind)  # a view
    np.add.accumulate(x[:, :whole].reshape(parts.shape), 2, dtype, out=parts)
    np.add.accumulate(x[:, whole:], 1, dtype, out=out[:, whole:])
    totals = running(parts[:, :, -1], 1)
    parts[:, 1:] += totals[:, :-1, None]
    out[:, whole:] += totals[:, -1:]
    return out.reshape(shape)


def _running_wide(x: np.ndarray, wide: np.dtype) -> np.ndarray:
    """The running sums of rows in a wider dtype, computed in pieces to save memory."""
    out = np.empty(x.shape, x.dtype)
    step = min(x.shape[1], _PIECE)
    for first in range(0, x.shape[0], _PIECE // step):
        rows, sums = x[first : first + _PIECE // step], out[first : first + _PIECE // step]
        carry: Any = 0
        for begin in range(0, x.shape[1], step):
            part = rows[:, begin : begin + step].astype(wide)
            part[:, :1] += carry
            np.add.accumulate(part, 1, out=part)
            carry = part[:, -1:]
            sums[:, begin : begin + step] = part
    return out
