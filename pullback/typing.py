"""Types for annotations: the arguments of functions of arrays, under JAX's names, and the names that signatures use.

`ArrayLike` is the type of array arguments: an array of this library or of NumPy, or a number, but no list. Anything
that `numpy.asarray` accepts, including lists, is a `NestedArrayLike`. `DTypeLike` is anything that names a dtype: a
string, a Python or NumPy type, a dtype, or an object that has one. `PyTree` is an alias of `Any` that means arrays in
nested containers.
"""

from __future__ import annotations

import typing as _typing

from pullback._core.array import ArrayLike, NestedArrayLike
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import Axis, Device, DTypeLike, Index, PyTree, PyTreePrefix, ShapeLike

__all__ = [
    "ArrayLike",
    "Axis",
    "DTypeLike",
    "Device",
    "Index",
    "NestedArrayLike",
    "PyTree",
    "PyTreePrefix",
    "ShapeLike",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
