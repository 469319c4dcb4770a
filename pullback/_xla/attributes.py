"""Attributes of MLIR operations, and constants, as text."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np

from pullback._core import dtypes
from pullback._core.typing import AnyValue


def int_array(values: Sequence[int]) -> str:
    """An MLIR attribute holding 64-bit integers."""
    return f"array<i64: {', '.join([str(index(n)) for n in values])}>" if len(values) else "array<i64>"


def int_matrix(rows: Sequence[Sequence[int]]) -> str:
    """An MLIR attribute holding a 2-d table of 64-bit integers."""
    if not rows:
        return "dense<> : tensor<0x2xi64>"
    body = ", ".join("[" + ", ".join(map(str, row)) + "]" for row in rows)
    return f"dense<[{body}]> : tensor<{len(rows)}x{len(rows[0])}xi64>"


def dense(value: AnyValue, dtype: np.dtype) -> str:
    """The text inside `dense<...>` of a scalar or an array."""
    array = np.asarray(value, dtype)
    if array.ndim == 0:
        return _scalar_text(array[()], dtype)
    if array.size == 0:
        return ""
    return '"0x' + np.ascontiguousarray(array).tobytes().hex().upper() + '"'


def _scalar_text(x: AnyValue, dtype: np.dtype) -> str:
    if dtype.kind == "b":
        return "true" if x else "false"
    if dtypes.is_integer(dtype):
        return str(int(x))
    if dtypes.is_complex(dtype):
        part = np.dtype(np.float32 if dtype == np.complex64 else np.float64)
        return f"({_scalar_text(part.type(x.real), part)}, {_scalar_text(part.type(x.imag), part)})"
    if np.isfinite(x):
        return f"{float(x):.17e}" if dtype.itemsize > 2 else f"{float(x):e}"
    # MLIR reads values without a decimal form from their bits
    return "0x" + np.asarray(x, dtype).tobytes()[::-1].hex().upper()
