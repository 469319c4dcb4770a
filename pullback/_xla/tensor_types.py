"""The names of array types in MLIR."""

from __future__ import annotations

import numpy as np

from pullback._core import dtypes
from pullback._core.dimensions import Dimension
from pullback._core.types import ShapedArray

_ELEMENTS = {
    np.dtype(bool): "i1",
    np.dtype(np.int8): "i8",
    np.dtype(np.int16): "i16",
    np.dtype(np.int32): "i32",
    np.dtype(np.int64): "i64",
    np.dtype(np.uint8): "ui8",
    np.dtype(np.uint16): "ui16",
    np.dtype(np.uint32): "ui32",
    np.dtype(np.uint64): "ui64",
    np.dtype(np.float16): "f16",
    np.dtype(np.float32): "f32",
    np.dtype(np.float64): "f64",
    np.dtype(np.complex64): "complex<f32>",
    np.dtype(np.complex128): "complex<f64>",
    dtypes.bfloat16: "bf16",
    dtypes.int4: "i4",
    dtypes.uint4: "ui4",
    dtypes.float8_e4m3fn: "f8E4M3FN",
    dtypes.float8_e5m2: "f8E5M2",
    dtypes.float8_e4m3b11fnuz: "f8E4M3B11FNUZ",
    dtypes.float8_e4m3fnuz: "f8E4M3FNUZ",
    dtypes.float8_e5m2fnuz: "f8E5M2FNUZ",
    dtypes.float8_e3m4: "f8E3M4",
    dtypes.float8_e4m3: "f8E4M3",
    dtypes.float8_e8m0fnu: "f8E8M0FNU",
    dtypes.float0: "i1",
}
_types: dict[ShapedArray, str] = {}


def tensor_type(aval: ShapedArray) -> str:
    """The MLIR name of an array type, such as `tensor<3x4xf32>`."""
    text = _types.get(aval)
    if text is None:
        dims = "".join("?x" if isinstance(d, Dimension) else f"{d}x" for d in aval.shape)
        text = _types[aval] = f"tensor<{dims}{_ELEMENTS[aval.dtype]}>"
    return text
