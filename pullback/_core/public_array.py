"""`pullback.Array`: the class of arrays as users name it, of which typed keys are instances, as they are in JAX.

Inside the package `Array` is an array of numbers (`_core/array.py`), and asking whether something is one costs little.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pullback._core import array


class ExtendedArray:
    """The base of arrays whose elements are no numbers, such as keys: an instance of `pullback.Array`, no operand."""

    __slots__ = ()


class _ArrayType(type):
    """Who is an array: the classes of arrays of numbers, and those of others."""

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, (array.Array, ExtendedArray))

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, (array.Array, ExtendedArray))


if TYPE_CHECKING:
    Array = array.Array
else:
    class Array(array.Array, metaclass=_ArrayType):
        __doc__ = array.Array.__doc__
        __slots__ = ()
