"""Constants, and the dtypes as NumPy has them: `float32` names a dtype, and called it makes an array of it."""
from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.errors import boundary
from pullback._core.public_array import Array
from pullback.numpy._creation.creation import asarray

pi = np.pi
e = np.e
euler_gamma = np.euler_gamma
inf = np.inf
nan = np.nan
newaxis = None
ndarray = Array

# the abstract kinds, for issubdtype
generic, number, inexact, floating = np.generic, np.number, np.inexact, np.floating
complexfloating, integer = np.complexfloating, np.integer
signedinteger, unsignedinteger, character, flexible = np.signedinteger, np.unsignedinteger, np.character, np.flexible
object_ = np.object_


class ScalarType:
    """A dtype under its name. `float32(x)` is `asarray(x, dtype=float32)`, its errors too.

    >>> import pullback.numpy as pnp
    >>> pnp.float32(2)
    Array(2., dtype=float32)
    >>> pnp.zeros(2, pnp.int8).dtype == pnp.int8
    True
    """

    __slots__ = ("dtype", "__name__")

    def __init__(self, dtype: Any):
        self.dtype = np.dtype(dtype)
        self.__name__ = self.dtype.name

    @boundary
    def __call__(self, x: Any = 0) -> Array:
        return asarray(x, dtype=self.dtype)

    @property
    def type(self) -> type:
        """The NumPy scalar class."""
        return self.dtype.type

    def __eq__(self, other):
        if isinstance(other, ScalarType):
            return self.dtype == other.dtype
        # a dtype, a type, or a name: NumPy takes None for float64, and `bool` is a dtype in this module
        return isinstance(other, (np.dtype, type, str)) and self.dtype == other

    def __hash__(self):
        return hash(self.dtype)

    def __repr__(self):
        return f"pullback.numpy.{self.__name__}"


bool_ = bool = ScalarType(np.bool_)
int8, int16, int32, int64 = map(ScalarType, (np.int8, np.int16, np.int32, np.int64))
uint8, uint16, uint32, uint64 = map(ScalarType, (np.uint8, np.uint16, np.uint32, np.uint64))
float16, float32, float64 = map(ScalarType, (np.float16, np.float32, np.float64))
complex64, complex128 = map(ScalarType, (np.complex64, np.complex128))
bfloat16 = ScalarType(dtypes.bfloat16)
int4, uint4 = ScalarType(dtypes.int4), ScalarType(dtypes.uint4)
float8_e3m4, float8_e4m3, float8_e8m0fnu = map(ScalarType, (
    dtypes.float8_e3m4, dtypes.float8_e4m3, dtypes.float8_e8m0fnu))
float8_e4m3fn, float8_e4m3fnuz, float8_e4m3b11fnuz = map(ScalarType, (
    dtypes.float8_e4m3fn, dtypes.float8_e4m3fnuz, dtypes.float8_e4m3b11fnuz))
float8_e5m2, float8_e5m2fnuz = map(ScalarType, (dtypes.float8_e5m2, dtypes.float8_e5m2fnuz))
# the default widths: of 32-bit parts without the option enable_x64
int_, uint, float_, complex_ = int64, uint64, float64, complex128
single, double, csingle, cdouble = float32, float64, complex64, complex128
dtype = np.dtype

__all__ = ["pi", "e", "euler_gamma", "inf", "nan", "newaxis", "ndarray", "generic", "number", "inexact", "floating",
           "complexfloating", "integer", "signedinteger", "unsignedinteger", "character", "flexible", "object_",
           "bool_", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
           "float32", "float64", "complex64", "complex128", "bfloat16", "int4", "uint4", "float8_e3m4", "float8_e4m3",
           "float8_e8m0fnu", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2",
           "float8_e5m2fnuz", "int_", "uint", "float_", "complex_", "single", "double", "csingle", "cdouble", "dtype",
           "ScalarType"]
