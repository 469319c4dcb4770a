"""Dtypes: the extended floating-point types, promotion, and questions about them."""
from pullback._core.dtypes import (
    TypePromotionError,
    bfloat16,
    canonicalize_dtype,
    finfo,
    float0,
    iinfo,
    issubdtype,
    promote_types,
)

__all__ = ["TypePromotionError", "bfloat16", "canonicalize_dtype", "finfo", "float0", "iinfo", "issubdtype",
           "promote_types"]
