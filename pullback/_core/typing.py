"""The names that signatures use for arguments: dtypes, axes, shapes, indices, pytrees.

They are for readers and type checkers; no function uses them at run time. `ArrayLike` is defined beside `Array`.
`pullback.typing` exports the public ones. An alias of `Any` names a meaning that Python's types cannot express.
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

    # parameters that may be omitted, as in `custom_jvp[Array]`
    Q = _ParamSpecWithDefault("Q", default=...)

    class CallableObject(Generic[R, Q]):
        """Call the object, with the parameters and the result of the function it wraps."""

        def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R: ...
else:
    Q = P

    class CallableObject:
        """Call the object, with the parameters and the result of the function it wraps."""

        __slots__ = ()
        __class_getitem__ = classmethod(GenericAlias)


class SupportsDType(Protocol):
    """An object that has a dtype: an array, or a scalar type of `pullback.numpy`."""

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""


# data of arrays, in types outside of this library
Number: TypeAlias = bool | int | float | complex | np.bool_ | np.number
NumpyLike: TypeAlias = np.ndarray | np.bool_ | np.number | bool | int | float | complex

# a string, a Python or NumPy type, a dtype, or an object that has one
DTypeLike: TypeAlias = str | type[Any] | np.dtype | SupportsDType

Axis: TypeAlias = int | Sequence[int] | None
Shape: TypeAlias = tuple[int, ...]
ShapeLike: TypeAlias = int | Sequence[int]
# the name of an axis, as in `vmap(..., axis_name=...)`, or several
AxisName: TypeAlias = Hashable
# the key in `x[...]`: integers, slices, `...`, None, arrays, sequences, or a tuple of these
Index: TypeAlias = int | slice | EllipsisType | SupportsDType | Sequence[Any] | None

# arrays in nested containers: tuples, lists, dicts, None, registered classes; a leaf may be any object
PyTree: TypeAlias = Any
# a prefix of a pytree: each of its leaves stands for all the leaves below that node
PyTreePrefix: TypeAlias = Any
# a device as `pullback.devices()` lists them, of a class of the engine's
Device: TypeAlias = Any
# a sharding, a spec over the current mesh, a device, or None
Placement: TypeAlias = Any
# a value of any type: passed on unchanged, or checked by the function itself
AnyValue: TypeAlias = Any
