"""`rng_uniform`: numbers that no key determines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pullback._api.callbacks import io_callback
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.errors import boundary
from pullback._core.types import ShapeDtypeStruct

_generator = np.random.default_rng()


@boundary
def rng_uniform(a: ArrayLike, b: ArrayLike, shape: Sequence[int]) -> Array:
    """Numbers drawn from `[a, b)` by a generator of the process, on the host: each call gives others.

    `random.uniform` is a function of a key in place of this.

    Args:
      a, b: floating-point scalars of one dtype.
      shape: that of the result.

    Raises: TypeError for other bounds.

    >>> from pullback import lax
    >>> lax.rng_uniform(2., 3., (3,)).shape
    (3,)
    """
    low, high = lift(a), lift(b)
    kind = low.aval.dtype
    if low.aval.shape or high.aval.shape or kind != high.aval.dtype or not dtypes.is_float(kind):
        raise TypeError(
            f"rng_uniform: expected two floating-point scalars of one dtype, got {low.aval.str_short()} and "
            f"{high.aval.str_short()}"
        )
    sizes = tuple(map(int, shape))

    def draw(low, high):
        return _generator.uniform(np.float64(low), np.float64(high), sizes).astype(kind)

    return io_callback(draw, ShapeDtypeStruct(sizes, kind), low, high)
