"""The type of a value in transformations."""

from __future__ import annotations

from typing import Any, overload

from pullback._core.arguments import aval_of
from pullback._core.array import ArrayLike
from pullback._core.errors import boundary
from pullback._core.placed_array import PlacedArray
from pullback._core.public_array import ExtendedArray
from pullback._core.refs import Ref, RefType
from pullback._core.spread_type import shown_type
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue


@overload
def typeof(x: Ref) -> RefType: ...
@overload
def typeof(x: ArrayLike) -> ShapedArray: ...
@overload
def typeof(x: AnyValue) -> Any: ...
@boundary
def typeof(x: Any) -> Any:
    """The shape, dtype and weak type of an array or a number; traced values have them too; of a Ref, its content; of
    keys, their shape and dtype; of a value of a type of one's own, that type (see `experimental.hijax`).

    That of an array over explicit axes of a mesh shows how it is spread along these, `typeof(x).sharding`; types of
    traced values do not.

    TypeError for anything else.

    >>> import pullback as pb
    >>> t = pb.typeof(pb.numpy.ones((2, 3)))
    >>> print(t, t.shape, t.dtype)
    float32[2,3] (2, 3) float32
    """
    if isinstance(x, (Ref, ExtendedArray)):
        return x.aval
    if type(x) is PlacedArray:
        return shown_type(x)
    try:
        return aval_of(x)
    except TypeError as error:
        raise TypeError(f"typeof: {error}") from None
