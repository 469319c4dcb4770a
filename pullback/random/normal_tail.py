"""Normal numbers in a far tail, in coordinates of the tail.

The distribution function agrees with 1 to most of its digits there, so its inverse has no accuracy. The distance d from
the bound solves log(Q(bound + d) / Q(bound)) = log(v) instead, for the upper tail Q and v uniform below 1.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array

_DEPTH = 18


@functools.cache
def _start(dtype: np.dtype) -> float:
    """The point where half of the digits of erf are lost to 1: 3.6 in float32."""
    tail = float(dtypes.finfo(dtype).eps) ** 0.5
    return next(k / 16 for k in range(1000) if math.erfc(k / 16 / math.sqrt(2)) < tail)


def far_out(low: Array | np.ndarray, high: Array | np.ndarray) -> Any:
    """True where both bounds are in one tail, so far out that digits are lost."""
    return (low > _start(low.dtype)) | (high < -_start(low.dtype))


def _mills(x: Array) -> Array:
    """Q(x) divided by the density, for x > 1: Laplace's continued fraction (DLMF 7.9.4)."""
    value = x
    for k in range(_DEPTH, 0, -1):
        value = x + k / value
    return 1 / value


def tail_normal(u: Array, low: Array, high: Array) -> Array:
    """Normal numbers in (low, high), where both are in a far tail, from `u` uniform in [0, 1)."""
    if low.dtype.itemsize < 4:
        return tail_normal(*(z.astype(np.float32) for z in (u, low, high))).astype(low.dtype)
    upper = low > 0
    near, far = pnp.where(upper, low, -high), pnp.where(upper, high, -low)
    at_bound = _mills(near)

    def fall(distance):
        """log(Q(near + distance) / Q(near)), and the ratio of Mills there."""
        ratio = _mills(near + distance)
        return pnp.log(ratio / at_bound) - distance * (near + distance / 2), ratio

    # the lower tail ends at `far`, beyond which the share exp(fall) remains
    finite = far < np.inf
    inside = pnp.where(finite, -pnp.expm1(fall(pnp.where(finite, far - near, 1))[0]), 1)
    target = -pnp.log1p(-u * inside)
    # Newton's method, from the solution without the ratio of Mills
    distance = 2 * target / (near + pnp.sqrt(near * near + 2 * target))
    for _ in range(3 if low.dtype.itemsize == 4 else 4):
        value, ratio = fall(distance)
        distance = distance + (value + target) * ratio
    x = near + distance
    return pnp.where(upper, x, -x)
