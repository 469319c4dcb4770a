"""The names that signatures use for what may be given as a dtype, an axis, a shape, an index, a pytree.

They are for readers and type checkers; no function looks at them. `ArrayLike` stands beside `Array`. `pullback.typing`
shows what users may want. An alias of `Any` says what is meant where Python's types cannot.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from types import EllipsisType, GenericAlias
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeAlias, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
R_co = TypeVar("R_co", covariant=True)
# what goes beside a result: with has_aux=True, or row by row out of a scan
Aux = TypeVar("Aux")

if TYPE_CHECKING:
    from typing_extensions import ParamSpec as _ParamSpecWithDefault

    # parameters that may be left unsaid, as in `custom_jvp[Array]`
    Q = _ParamSpecWithDefault("Q", default=...)

    class CallableObject(Generic[R, Q]):
        """An object that is called as the function it was made of."""

        def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R: ...
else:
    Q = P

    class CallableObject:
        """An object that is called as the function it was made of."""

        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)


class SupportsDType(Protocol):
    """An object that has a dtype: an array, or a scalar type of `pullback.numpy`."""

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""


# what arrays are made of, in other words than this library's
Number: TypeAlias = bool | int | float | complex | np.bool_ | np.number
NumpyLike: TypeAlias = np.ndarray | np.bool_ | np.number | bool | int | float | complex

# a string, a type of Python's or NumPy's, a dtype, or what has one
DTypeLike: TypeAlias = str | type[Any] | np.dtype | SupportsDType

Axis: TypeAlias = int | Sequence[int] | None
Shape: TypeAlias = tuple[int, ...]
ShapeLike: TypeAlias = int | Sequence[int]
# the name of an axis, as in `vmap(..., axis_name=...)`, or several
AxisName: TypeAlias = Hashable
# what stands in the brackets of `x[...]`: integers, slices, `...`, None, arrays, sequences, or a tuple of these
Index: TypeAlias = int | slice | EllipsisType | SupportsDType | Sequence[Any] | None

# arrays in nested containers: tuples, lists, dicts, None, registered classes; as a leaf, any object may stand in it
PyTree: TypeAlias = Any
# a pytree that ends early: each of its leaves counts for all the leaves below that place
PyTreePrefix: TypeAlias = Any
# a device as `pullback.devices()` lists them, of a class of the engine's
Device: TypeAlias = Any
# a value of any type: handed on as it is, or checked by the function itself
AnyValue: TypeAlias = Any
