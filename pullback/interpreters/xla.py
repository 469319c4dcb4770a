"""The tables in which libraries enter array types of their own, under JAX's names."""

from __future__ import annotations

import typing as _typing
from collections.abc import Callable
from typing import Any

import numpy as _np

from pullback._api.trace_state import get_aval as _get_aval
from pullback._core.array import Array as _Array
from pullback._core.array import lift as _lift
from pullback._core.array_interface import own_conversion as _own_conversion
from pullback._core.lazy import attributes as _attributes


class ArrayTypes(dict[type, Callable[[Any], Any]]):
    """Functions by the class of the arrays that they take.

    Whatever has `__array__` or `__jax_array__` is an array here, so an entry of such a class changes nothing. TypeError
    for other classes: they would not become arrays.

    >>> class Variable:
    ...     def __array__(self): ...
    >>> canonicalize_dtype_handlers[Variable] = canonicalize_dtype_handlers[_np.ndarray]
    """

    def __setitem__(self, cls: type, function: Callable[[Any], Any]) -> None:
        if not (hasattr(cls, "__array__") or _own_conversion(cls) is not None):
            raise TypeError(
                f"{cls.__name__} cannot be entered as a class of arrays: it needs a method __jax_array__ or "
                "__array__, by which its objects become arrays"
            )
        super().__setitem__(cls, function)


_KNOWN = (_np.ndarray, _np.generic, _Array, bool, int, float, complex)

# the arrays of objects of these classes, in the dtypes that there are; and the types of these
canonicalize_dtype_handlers: ArrayTypes = ArrayTypes(dict.fromkeys(_KNOWN, _lift))
pytype_aval_mappings: ArrayTypes = ArrayTypes(dict.fromkeys(_KNOWN, _get_aval))

__all__ = ["canonicalize_dtype_handlers", "pytype_aval_mappings"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
