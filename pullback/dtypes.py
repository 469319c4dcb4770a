"""Dtypes: the extended floating-point types, promotion, and questions about them."""

import typing as _typing

from pullback._core.dtypes import (
    TypePromotionError,
    bfloat16,
    canonicalize_dtype,
    extended,
    finfo,
    float0,
    iinfo,
    issubdtype,
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
    "prng_key",
    "promote_types",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {"result_type": "pullback.numpy:result_type"})
