"""Dtypes: the extended floating-point types, promotion, and questions about them."""

import typing as _typing
from importlib import import_module as _import_module
from typing import Any

import numpy as _np

from pullback._core.arguments import aval_of as _aval_of
from pullback._core.array import lift
from pullback._core.dtypes import ExtendedDType as _ExtendedDType
from pullback._core.dtypes import (
    TypePromotionError,
    bfloat16,
    extended,
    finfo,
    float0,
    iinfo,
    is_bool,
    is_complex,
    is_integer,
    itemsize_bits,
    prng_key,
    promote_types,
)
from pullback._core.dtypes import canonicalize_dtype as _canonicalize_dtype
from pullback._core.dtypes import issubdtype as _issubdtype
from pullback._core.dtypes import promote as _promote
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import DTypeLike as _DTypeLike

__all__ = [
    "TypePromotionError",
    "bfloat16",
    "canonicalize_dtype",
    "extended",
    "finfo",
    "float0",
    "iinfo",
    "issubdtype",
    "itemsize_bits",
    "prng_key",
    "promote_types",
    "result_type",
    "scalar_type_of",
]


def issubdtype(a: _DTypeLike, b: _DTypeLike) -> bool:
    """Whether a dtype is below another, or of an abstract kind: `numpy.issubdtype` under JAX's names of its arguments.

    TypeError for what is no dtype and no kind.

    >>> issubdtype("bfloat16", _np.floating), issubdtype("float32", _np.integer)
    (True, False)
    """
    return _issubdtype(a, b)


def result_type(*args: Any, return_weak_type_flag: bool = False) -> Any:
    """The dtype of `numpy.result_type`, and with `return_weak_type_flag` whether it is weak.

    TypeError for what has no dtype.

    >>> result_type("int8", 1.5), result_type(1, 1.5, return_weak_type_flag=True)
    (dtype('float32'), (dtype('float32'), True))
    """
    dtype = _import_module("pullback.numpy").result_type(*args)
    if not return_weak_type_flag:
        return dtype
    return dtype, _promote(*map(_kind, args))[1]


def _kind(x: Any) -> tuple[Any, bool]:
    """The dtype of an array, a number or a dtype, and whether it is weak."""
    try:
        aval = _aval_of(x)
    except TypeError:
        return _canonicalize_dtype(x), False
    return aval.dtype, aval.weak_type


def canonicalize_dtype(dtype: _DTypeLike | None, allow_extended_dtype: bool = False) -> _np.dtype | _ExtendedDType:
    """The dtype that arrays asked for with `dtype` have; None stands for float.

    64-bit kinds become 32-bit ones (complex128 complex64) unless ``config.enable_x64``. The dtype of typed keys stays
    as it is with `allow_extended_dtype`.

    TypeError if `dtype` is not a dtype, or one that arrays cannot have (object, str, datetime, ...).

    >>> canonicalize_dtype(None), canonicalize_dtype("int8"), canonicalize_dtype(complex)
    (dtype('float32'), dtype('int8'), dtype('complex64'))
    """
    if isinstance(dtype, _ExtendedDType) and allow_extended_dtype:
        return dtype
    return _canonicalize_dtype(float if dtype is None else dtype)


def scalar_type_of(x: Any) -> type:
    """The Python type of the kind of an array's or number's entries. TypeError for anything else.

    >>> import pullback.numpy as pnp
    >>> scalar_type_of(pnp.ones(3)), scalar_type_of(2)
    (<class 'float'>, <class 'int'>)
    """
    dtype = lift(x).dtype
    return bool if is_bool(dtype) else int if is_integer(dtype) else complex if is_complex(dtype) else float


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
