"""`pullback.Array`, the public class of arrays: typed keys are instances too, as they are in JAX.

Inside the package `Array` is the class of numeric arrays (`_core/array.py`), for which isinstance is fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pullback._core import array
from pullback._core.typing import AnyValue

# set when the first array of an extended dtype is made
extended_arrays_exist = [False]


class ExtendedArray:
    """The base of arrays of non-numeric elements, such as keys: instances of `pullback.Array` that are not operands.

    An element is a row of the array `words`, which has one more axis; `of_words` makes an array of them.
    """

    __slots__ = ()
    words: Any
    shape: Any
    dtype: Any
    aval: Any
    of_words: Callable[[Any], Any]
    reshape: Callable[..., Any]
    joined: Callable[..., Any]


class _ArrayType(type):
    """The metaclass that makes numeric and extended arrays instances of `pullback.Array`."""

    def __instancecheck__(cls, x: AnyValue) -> bool:
        return isinstance(x, (array.Array, ExtendedArray))

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, (array.Array, ExtendedArray))


if TYPE_CHECKING:
    Array = array.Array
else:

    class Array(array.Array, metaclass=_ArrayType):
        __doc__ = array.Array.__doc__
        __slots__ = ()
