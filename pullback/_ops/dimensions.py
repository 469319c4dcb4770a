"""Symbolic dimensions as values."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._core.dimensions import Dimension
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval

_INT = np.dtype(np.int32)
dimension_value_p: Primitive = Primitive("dimension_value")


def dimension_value(dim: Any, dtype: np.dtype = _INT) -> Array:
    """A symbolic dimension as a weakly typed number."""
    return dimension_value_p.bind(dim=dim, dtype=dtype)


dimension_value_p.abstract_eval = lambda dim, dtype: make_aval((), dtype, True)
dimension_value_p.kernel = lambda dim, dtype: dtype.type(dim)
dimension_value_p.lower = lambda ctx, dim, dtype: ctx.convert(ctx.dimension(dim), dtype)
Dimension.to_array = dimension_value
