"""Dtypes: the extended floating-point types, promotion, and questions about them."""

import typing as _typing
from typing import Any

from pullback._core.array import lift
from pullback._core.dtypes import (
    TypePromotionError,
    bfloat16,
    canonicalize_dtype,
    extended,
    finfo,
    float0,
    iinfo,
    is_bool,
    is_complex,
    is_integer,
    issubdtype,
    itemsize_bits,
    prng_key,
    promote_types,
)
from pullback._core.lazy import attributes as _attributes

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
    "scalar_type_of",
]


def scalar_type_of(x: Any) -> type:
    """The Python type of the kind of an array's or number's entries. TypeError for anything else.

    >>> import pullback.numpy as pnp
    >>> scalar_type_of(pnp.ones(3)), scalar_type_of(2)
    (<class 'float'>, <class 'int'>)
    """
    dtype = lift(x).dtype
    return bool if is_bool(dtype) else int if is_integer(dtype) else complex if is_complex(dtype) else float


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {"result_type": "pullback.numpy:result_type"})
