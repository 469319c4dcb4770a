"""Types for annotations: what functions of arrays accept, and what names a dtype.

`ArrayLike` is what a function accepts where it takes an array: an array of this library or of NumPy, or a number. Lists
are none. `DTypeLike` is what names a dtype: a string, a NumPy type or dtype, or an object that has a `dtype`.
"""
from __future__ import annotations

import typing as _typing
from typing import Any, Protocol

import numpy as np

from pullback._core.array import Array
from pullback._core.lazy import attributes as _attributes

__all__ = ["ArrayLike", "DTypeLike"]


class _HasDType(Protocol):
    @property
    def dtype(self) -> np.dtype: ...


ArrayLike = Array | np.ndarray | np.bool_ | np.number | bool | int | float | complex
DTypeLike = str | type[Any] | np.dtype | _HasDType

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
