"""Types for annotations: what functions of arrays accept, under JAX's names, and the names that signatures here use.

`ArrayLike` is what a function accepts where it takes an array: an array of this library or of NumPy, or a number. Lists
are none; what `numpy.asarray` makes an array of, lists too, is a `NestedArrayLike`. `DTypeLike` is what names a dtype:
a string, a type of Python's or NumPy's, a dtype, or an object that has one. `PyTree` is another name of `Any`, and
means arrays in nested containers.
"""
from __future__ import annotations

import typing as _typing

from pullback._core.array import ArrayLike, NestedArrayLike
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import Axis, Device, DTypeLike, Index, PyTree, PyTreePrefix, ShapeLike

__all__ = ["ArrayLike", "Axis", "DTypeLike", "Device", "Index", "NestedArrayLike", "PyTree", "PyTreePrefix",
           "ShapeLike"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
