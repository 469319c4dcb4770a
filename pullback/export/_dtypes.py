"""Dtypes in files: their numbers in JAX's tables, and their names in the schema of programs."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.typing import AnyValue
from pullback.export._flatbuffers import MalformedFileError
from pullback.random.key_arrays import KEY_TYPES

# by the numbers that jax.export gives them
DTYPES: tuple[Any, ...] = (
    np.dtype(bool),
    *map(np.dtype, ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")),
    *map(np.dtype, ("float16", "float32", "float64", "complex64", "complex128")),
    dtypes.bfloat16,
    dtypes.int4,
    dtypes.uint4,
    dtypes.float8_e4m3b11fnuz,
    dtypes.float8_e4m3fn,
    dtypes.float8_e4m3fnuz,
    dtypes.float8_e5m2,
    dtypes.float8_e5m2fnuz,
    dtypes.float0,
    dtypes.float8_e4m3,
    dtypes.float8_e3m4,
    dtypes.float8_e8m0fnu,
    None,  # float4_e2m1fn, which no array has here
    *(KEY_TYPES[name] for name in ("threefry2x32", "rbg", "unsafe_rbg")),
)
NUMBER_OF_DTYPE = {dtype: i for i, dtype in enumerate(DTYPES) if dtype is not None}
# the dtypes of arrays: those of keys have words
_NAMES = {"float0" if d == dtypes.float0 else d.name: d for d in DTYPES if isinstance(d, np.dtype)}


def name_of_dtype(dtype: np.dtype) -> str:
    """The name of a dtype of arrays."""
    return "float0" if dtype == dtypes.float0 else dtype.name


def dtype_named(name: AnyValue, where: str) -> np.dtype:
    """The dtype of that name."""
    if not isinstance(name, str) or name not in _NAMES:
        raise MalformedFileError(where, f"{name!r} is no dtype that is known here")
    return _NAMES[name]
