"""Constants, and the dtypes as NumPy has them: `float32` names a dtype, and called it makes an array of it."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from pullback._core import dtypes
from pullback._core.array import ArrayLike
from pullback._core.errors import boundary
from pullback._core.public_array import Array
from pullback._core.typing import DTypeLike
from pullback.numpy._creation.creation import asarray

pi: float = np.pi
e: float = np.e
euler_gamma: float = np.euler_gamma
inf: float = np.inf
nan: float = np.nan
newaxis: None = None
ComplexWarning = np.exceptions.ComplexWarning
ndarray = Array

# the abstract kinds, for issubdtype
generic = np.generic
number = np.number
inexact = np.inexact
floating = np.floating
complexfloating = np.complexfloating
integer = np.integer
signedinteger = np.signedinteger
unsignedinteger = np.unsignedinteger
character = np.character
flexible = np.flexible
object_ = np.object_


class ScalarType(builtins.type):
    """A dtype under its name, a class without instances: `float32(x)` is `asarray(x, dtype=float32)`, its errors too.

    >>> import pullback.numpy as pnp
    >>> pnp.float32(2)
    Array(2., dtype=float32)
    >>> pnp.zeros(2, pnp.int8).dtype == pnp.int8
    True
    """

    dtype: np.dtype

    def __new__(mcs, dtype: DTypeLike) -> ScalarType:
        kind = np.dtype(dtype)
        members = {"dtype": kind, "__doc__": mcs.__doc__, "__module__": "pullback.numpy"}
        return super().__new__(mcs, kind.name, (), members)

    def __init__(cls, dtype: DTypeLike):
        super().__init__(cls.__name__, (), {})

    @boundary
    def __call__(cls, x: ArrayLike = 0) -> Array:
        return asarray(x, dtype=cls.dtype)

    @property
    def type(cls) -> builtins.type:
        """The NumPy scalar class."""
        return cls.dtype.type

    def __instancecheck__(cls, x: object) -> builtins.bool:
        return isinstance(x, cls.dtype.type)

    def __eq__(cls, other: object) -> builtins.bool:
        if isinstance(other, ScalarType):
            return cls.dtype == other.dtype
        # a dtype, a type, or a name: NumPy takes None for float64, and `bool` is a dtype in this module
        return isinstance(other, (np.dtype, builtins.type, str)) and cls.dtype == other

    def __hash__(cls) -> int:
        return hash(cls.dtype.type)  # as the NumPy class that it equals

    def __repr__(cls) -> str:
        return f"pullback.numpy.{cls.__name__}"


bool_: ScalarType = ScalarType(np.bool_)
bool: ScalarType = bool_
int8: ScalarType = ScalarType(np.int8)
int16: ScalarType = ScalarType(np.int16)
int32: ScalarType = ScalarType(np.int32)
int64: ScalarType = ScalarType(np.int64)
uint8: ScalarType = ScalarType(np.uint8)
uint16: ScalarType = ScalarType(np.uint16)
uint32: ScalarType = ScalarType(np.uint32)
uint64: ScalarType = ScalarType(np.uint64)
float16: ScalarType = ScalarType(np.float16)
float32: ScalarType = ScalarType(np.float32)
float64: ScalarType = ScalarType(np.float64)
complex64: ScalarType = ScalarType(np.complex64)
complex128: ScalarType = ScalarType(np.complex128)
bfloat16: ScalarType = ScalarType(dtypes.bfloat16)
# names alone: the engine has no arrays of these
int2: ScalarType = ScalarType(ml_dtypes.int2)
uint2: ScalarType = ScalarType(ml_dtypes.uint2)
if TYPE_CHECKING or hasattr(ml_dtypes, "int1"):  # which ml_dtypes 0.5 lacks
    int1: ScalarType = ScalarType(ml_dtypes.int1)
    uint1: ScalarType = ScalarType(ml_dtypes.uint1)
float4_e2m1fn: ScalarType = ScalarType(ml_dtypes.float4_e2m1fn)
float6_e2m3fn: ScalarType = ScalarType(ml_dtypes.float6_e2m3fn)
float6_e3m2fn: ScalarType = ScalarType(ml_dtypes.float6_e3m2fn)
int4: ScalarType = ScalarType(dtypes.int4)
uint4: ScalarType = ScalarType(dtypes.uint4)
float8_e3m4: ScalarType = ScalarType(dtypes.float8_e3m4)
float8_e4m3: ScalarType = ScalarType(dtypes.float8_e4m3)
float8_e8m0fnu: ScalarType = ScalarType(dtypes.float8_e8m0fnu)
float8_e4m3fn: ScalarType = ScalarType(dtypes.float8_e4m3fn)
float8_e4m3fnuz: ScalarType = ScalarType(dtypes.float8_e4m3fnuz)
float8_e4m3b11fnuz: ScalarType = ScalarType(dtypes.float8_e4m3b11fnuz)
float8_e5m2: ScalarType = ScalarType(dtypes.float8_e5m2)
float8_e5m2fnuz: ScalarType = ScalarType(dtypes.float8_e5m2fnuz)
# the default widths: of 32-bit parts without the option enable_x64
int_: ScalarType = int64
uint: ScalarType = uint64
float_: ScalarType = float64
complex_: ScalarType = complex128
single: ScalarType = float32
double: ScalarType = float64
csingle: ScalarType = complex64
cdouble: ScalarType = complex128
dtype = np.dtype

__all__ = [
    "pi",
    "e",
    "euler_gamma",
    "inf",
    "nan",
    "newaxis",
    "ndarray",
    "generic",
    "number",
    "inexact",
    "floating",
    "complexfloating",
    "integer",
    "signedinteger",
    "unsignedinteger",
    "character",
    "flexible",
    "object_",
    "bool_",
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "bfloat16",
    "int2",
    "int4",
    "uint2",
    "uint4",
    "float4_e2m1fn",
    "float6_e2m3fn",
    "float6_e3m2fn",
    "float8_e3m4",
    "float8_e4m3",
    "float8_e8m0fnu",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e4m3b11fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "int_",
    "uint",
    "float_",
    "complex_",
    "single",
    "double",
    "csingle",
    "cdouble",
    "dtype",
    "ScalarType",
]

if not TYPE_CHECKING:
    if hasattr(ml_dtypes, "int1"):
        __all__ += ["int1", "uint1"]

    def __getattr__(name: str) -> Any:
        if name in ("int1", "uint1"):
            raise AttributeError(f"numpy.{name} needs ml_dtypes 0.6, which has it; here is {ml_dtypes.__version__}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
