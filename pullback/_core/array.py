"""`Array`, the public array class. A concrete array holds a NumPy value or a device buffer, and converts between them.

The data of an array is never modified after it is made; NumPy data that a user still holds is copied on the way in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from pullback._core import dlpack, dtypes
from pullback._core.array_interface import ArrayInterface, own_conversion
from pullback._core.config import config
from pullback._core.errors import boundary
from pullback._core.types import ShapedArray, TypeOfValue, length, make_aval
from pullback._core.typing import AnyValue, DTypeLike, NumpyLike


class Array(ArrayInterface):
    """An n-dimensional array, concrete or traced. Made by `pullback.numpy.array` and its neighbours.

    Operators and methods are those of `numpy.ndarray`, without mutation: `x.at[i].set(v)` returns a new array.

    >>> import pullback.numpy as pnp
    >>> pnp.arange(3.) + 1
    Array([1., 2., 3.], dtype=float32)
    """

    __slots__ = ()
    __array_priority__ = 1000
    aval: ShapedArray

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__name__ = "Array"  # Python's own messages name the class of an operand; users know this one

    @boundary
    def __init__(self, *args: AnyValue, **kwargs: AnyValue):
        raise TypeError("pullback.Array is not made by calling it: use pullback.numpy.array(...)")

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes.

        >>> import pullback.numpy as pnp
        >>> pnp.zeros((2, 3)).shape
        (2, 3)
        """
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements.

        >>> import pullback.numpy as pnp
        >>> pnp.zeros((2, 3)).dtype
        dtype('float32')
        """
        return self.aval.dtype

    @property
    def weak_type(self) -> bool:
        """True if the dtype came from a Python scalar, so that it yields to any other dtype in promotion.

        >>> import pullback.numpy as pnp
        >>> pnp.asarray(1.).weak_type, pnp.asarray([1.]).weak_type
        (True, False)
        """
        return self.aval.weak_type

    @property
    def ndim(self) -> int:
        """The number of axes.

        >>> import pullback.numpy as pnp
        >>> pnp.zeros((2, 3)).ndim
        2
        """
        return self.aval.ndim

    @property
    def size(self) -> int:
        """The number of elements.

        >>> import pullback.numpy as pnp
        >>> pnp.zeros((2, 3)).size
        6
        """
        return self.aval.size

    @property
    def itemsize(self) -> int:
        """The number of bytes of an element.

        >>> import pullback.numpy as pnp
        >>> pnp.zeros((2, 3)).itemsize
        4
        """
        return self.aval.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The number of bytes of all elements.

        >>> import pullback.numpy as pnp
        >>> pnp.zeros((2, 3)).nbytes
        24
        """
        return self.aval.size * self.aval.dtype.itemsize

    def _described(self) -> str:
        return f"an array of type {self.aval.str_short()}"

    @boundary
    def __len__(self) -> int:
        return length(self.aval.shape)

    @boundary
    def __hash__(self) -> int:
        raise TypeError(
            "unhashable type: 'Array' (an array cannot be a dict key, a set member or a static argument; "
            "use its .tobytes(), or pass it as an ordinary argument)"
        )


# an array, or a number; lists are none: `numpy.asarray` makes an array of them
ArrayLike: TypeAlias = Array | NumpyLike
# the argument of `numpy.asarray`: an array, a number, or a sequence of them, nested to any depth
NestedArrayLike: TypeAlias = ArrayLike | Sequence[Any]

_asarray = np.asarray


class ConcreteArray(Array):
    """An array with data: a NumPy value, a device buffer, or both after a conversion."""

    __slots__ = ("aval", "_value", "_buffer", "_memory", "__weakref__")
    # unset rather than None where absent: hot paths read them directly and catch AttributeError
    _value: Any
    _buffer: Any
    # the memory of the buffer, once `np.asarray` asked for it; before, None if the data was made on the device, else
    # False, since a look at an unset slot takes 0.2 microseconds
    _memory: Any

    # made by `array_of` and `array_on_device`: a constructor in Python would double the cost of an array
    if TYPE_CHECKING:

        def __init__(self) -> None: ...
    else:
        __init__ = object.__init__

    @property
    def buffer(self) -> Any:
        """The device buffer, or None."""
        return getattr(self, "_buffer", None)

    @property
    def value(self) -> np.ndarray | np.generic:
        """The data as a NumPy value, read from the device at the first use. It must not be modified."""
        value = getattr(self, "_value", None)
        if value is not None:
            return value
        buffer = getattr(self, "_buffer", None)
        if buffer is None:
            raise RuntimeError(
                f"Array {self.aval.str_short()} has been deleted: its buffer was donated to a compiled "
                "function or freed by .delete(). Use the function's result, or do not donate."
            )
        value = self._value = _read_buffer(buffer, self.aval)
        return value

    # --- conversions to Python and NumPy values ---

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        memory: Any = self._memory
        if dtype is None and memory is False:
            view = _read_only(self._value)
            return view.copy() if copy else view
        # not the view is kept but the memory it is of: a user may set the shape of a view
        source = getattr(self, "_buffer", None) if memory is None else memory
        if dtype is None and not _forked and source is not None and (view := _asarray(source)).dtype is self.aval.dtype:
            if memory is None:
                self._memory = view.base
            return view.copy() if copy else view
        return self._exported(dtype, copy)

    @boundary
    def _exported(self, dtype: DTypeLike | None, copy: bool | None) -> np.ndarray:
        value = np.asarray(self.value)
        if dtype is not None and value.dtype != dtype:
            if copy is False:
                raise ValueError(
                    f"np.asarray(..., dtype={np.dtype(dtype).name!r}, copy=False): the array has dtype "
                    f"{self.dtype.name}, so a copy cannot be avoided"
                )
            return value.astype(dtype)
        return value.copy() if copy else _read_only(value)

    @boundary
    def __bool__(self) -> bool:
        if self.aval.size != 1:
            raise ValueError(f"the truth value of an array of shape {self.shape} is ambiguous: use .any() or .all()")
        return bool(self.value)

    @boundary
    def __float__(self) -> float:
        return float(self._scalar("float"))

    @boundary
    def __int__(self) -> int:
        return int(self._scalar("int"))

    @boundary
    def __complex__(self) -> complex:
        return complex(self._scalar("complex"))

    @boundary
    def __index__(self) -> int:
        if self.aval.ndim or not dtypes.is_integer(self.dtype):
            raise TypeError(f"only an integer array of shape () can be used as an index, got {self.aval.str_short()}")
        return int(self.value)

    def _scalar(self, kind: str):
        if self.aval.ndim:
            raise TypeError(
                f"{kind}(): only an array of shape () converts to a Python scalar, got shape {self.shape}. "
                "Take one element first, with x[i] or x.item(i)."
            )
        return self.value

    @boundary
    def item(self, *args: int) -> Any:
        """The single element (or the one at the given index) as a Python scalar; ValueError if there are several.

        >>> import pullback.numpy as pnp
        >>> pnp.arange(3.).item(2)
        2.0
        """
        return self.value.item(*args)

    @boundary
    def tolist(self) -> Any:
        """The elements as nested lists of Python scalars.

        >>> import pullback.numpy as pnp
        >>> pnp.zeros((1, 2)).tolist()
        [[0.0, 0.0]]
        """
        return self.value.tolist()

    @boundary
    def tobytes(self, order: Literal["C", "F"] = "C") -> bytes:
        """The bytes of the elements, row by row (order "C") or column by column ("F").

        >>> import pullback.numpy as pnp
        >>> len(pnp.zeros((2, 3)).tobytes())
        24
        """
        return np.asarray(self.value).tobytes(order)

    def __repr__(self) -> str:
        weak = ", weak_type=True" if self.aval.weak_type else ""
        if self.is_deleted():
            return f"Array(deleted, shape={self.shape}, dtype={self.dtype.name})"
        value = np.asarray(self.value)
        dtype = f"dtype={self.dtype.name}{weak}"
        if value.size == 0:
            return f"Array([], shape={self.shape}, {dtype})"
        text = np.array2string(value, prefix="Array(", suffix=",", separator=", ")
        room = 75 - len(text.rsplit("\n", 1)[-1]) - (6 if "\n" not in text else 0)
        gap = " " if len(dtype) <= room else "\n      "
        return f"Array({text},{gap}{dtype})"

    @boundary
    def __str__(self) -> str:
        return str(np.asarray(self.value))

    @boundary
    def __format__(self, spec: str) -> str:
        if self.aval.ndim and spec:
            raise TypeError(f"the format {spec!r} is for a single number, not for an array of shape {self.shape}")
        return format(np.asarray(self.value)[()] if self.aval.ndim == 0 else str(self), spec)

    @boundary
    def __reduce__(self) -> str | tuple[Any, ...]:
        return _rebuild, (np.asarray(self.value), self.aval.weak_type)

    # a copy may share data, which is never modified; it must outlive the donation of the original
    @boundary
    def __copy__(self) -> ConcreteArray:
        return array_of(self.aval, self.value)

    @boundary
    def __deepcopy__(self, memo: dict[int, Any]) -> ConcreteArray:
        return array_of(self.aval, self.value)

    @boundary
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        value = np.asarray(self.value)
        if not dlpack.is_exchanged(value.dtype):
            raise BufferError(
                f"DLPack: arrays of dtype {self.dtype.name} are not exchanged. Convert first, with "
                ".astype('float32') say, or exchange the bits with .view of an integer dtype."
            )
        if value.dtype.isbuiltin != 1:
            if copy is False:
                raise BufferError(f"DLPack: arrays of dtype {self.dtype.name} cross as a copy; leave copy=False out")
            return dlpack.to_capsule(value)
        # importers may write into memory that is marked read-only (PyTorch does): only copy=False shares ours
        if copy is not False:
            return np.array(value).__dlpack__(stream=stream, dl_device=dl_device)
        return dlpack.shared(_read_only(value), stream, max_version, dl_device)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    # --- device buffers ---

    def block_until_ready(self) -> ConcreteArray:
        """Wait until the data has been computed; returns the array.

        >>> import pullback.numpy as pnp
        >>> print(pnp.ones(2).block_until_ready())
        [1. 1.]
        """
        buffer = getattr(self, "_buffer", None)
        if buffer is not None:
            if _forked:
                _wait_for(buffer)
            else:
                buffer.block_until_ready()
        return self

    def is_ready(self) -> bool:
        """True if the data has been computed.

        >>> import pullback.numpy as pnp
        >>> pnp.ones(2).block_until_ready().is_ready()
        True
        """
        return self.buffer is None or self.buffer.is_ready()

    def is_deleted(self) -> bool:
        """True if the data was donated or freed.

        >>> import pullback.numpy as pnp
        >>> pnp.ones(2).is_deleted()
        False
        """
        return not hasattr(self, "_value") and self.buffer is None

    def delete(self) -> None:
        """Free the data; later use of the array raises RuntimeError.

        >>> import pullback.numpy as pnp
        >>> x = pnp.ones(2)
        >>> x.delete()
        >>> x
        Array(deleted, shape=(2,), dtype=float32)
        """
        self._memory = None
        for slot in ("_value", "_buffer"):
            if hasattr(self, slot):
                delattr(self, slot)


def array_of(aval: ShapedArray, value: AnyValue) -> ConcreteArray:
    """An array that holds a NumPy value of its type."""
    array = ConcreteArray()
    array.aval = aval
    array._value = value
    array._memory = False
    return array


def array_on_device(aval: ShapedArray, buffer: AnyValue) -> ConcreteArray:
    """An array that holds a device buffer of its type."""
    array = ConcreteArray()
    array.aval = aval
    array._buffer = buffer
    array._memory = None
    return array


def distinct(result: Array, operand: object) -> Array:
    """The result; if it is the concrete operand itself, a new array around the same data.

    The new array stays valid when the operand is donated to a compiled function or deleted.
    """
    return array_of(operand.aval, operand.value) if result is operand and type(operand) is ConcreteArray else result


def _read_only(value: np.ndarray) -> np.ndarray:
    view = value[...]  # an array of a scalar, too
    view.flags.writeable = False
    return view


def _rebuild(value: np.ndarray, weak_type: bool) -> ConcreteArray:
    return from_numpy(value, weak_type)


def _no_engine(*args: Any) -> Any:
    raise RuntimeError("no engine has been started, so no buffer can exist")


_read_buffer: Callable[[Any, ShapedArray], np.ndarray] = _no_engine
_wait_for: Callable[[Any], None] = _no_engine
# whether the engine's threads are those of the parent process, so that waiting for them may not end
_forked = False


def install_buffer_reader(read: Callable[[Any, Any], np.ndarray], wait: Callable[[Any], None], forked: bool) -> None:
    """Install the functions that read a device buffer and wait for it, which heed a fork (called by the engine)."""
    global _read_buffer, _wait_for, _forked
    _read_buffer, _wait_for, _forked = read, wait, forked


def from_numpy(value: np.ndarray | np.generic, weak_type: bool = False) -> ConcreteArray:
    """An array around a NumPy value that no other code will modify."""
    return array_of(make_aval(value.shape, value.dtype, weak_type), value)


_scalar_types = {bool, int, float, complex}
_scalar_avals: dict[tuple[type, bool], ShapedArray] = {}


def scalar_aval(kind: type) -> ShapedArray:
    """The type of a Python scalar of class `kind`: 0-d and weak (except bool)."""
    key = (kind, config.enable_x64)
    aval = _scalar_avals.get(key)
    if aval is None:
        aval = _scalar_avals[key] = make_aval((), dtypes.python_scalar_dtype(kind), kind is not bool)
    return aval


def scalar_array(x: bool | int | float | complex) -> ConcreteArray:
    """A Python scalar as a weakly typed 0-d array (a bool is not weak)."""
    aval = _scalar_avals.get((type(x), config.enable_x64)) or scalar_aval(type(x))
    try:
        return array_of(aval, aval.dtype.type(x))
    except OverflowError:
        raise OverflowError(
            f"Python integer {x} does not fit {aval.dtype.name}: give it a wider dtype, or turn on 64-bit "
            "types with pullback.config.update('enable_x64', True)"
        ) from None


def lift(x: AnyValue) -> Array:
    """An operand as an `Array`: arrays and tracers as they are, Python scalars weakly typed, NumPy data copied.

    Raises TypeError for anything else: strings, None, lists (pass those to `pullback.numpy.array`).
    """
    if isinstance(x, Array):
        return x
    kind = type(x)
    if kind in _scalar_types:
        return scalar_array(x)
    if isinstance(x, (np.ndarray, np.generic)):
        if kind is not np.ndarray and getattr(x, "mask", None) is not None:
            raise TypeError("masked arrays are not supported, since their mask would be lost: use x.filled(value)")
        return from_numpy(_canonical_copy(x))
    if isinstance(x, (bool, int, float, complex)):
        python_type: Any = next(t for t in (bool, int, float, complex) if isinstance(x, t))
        return scalar_array(python_type(x))
    if (convert := own_conversion(x)) is not None:
        return lift(convert())
    if hasattr(x, "__array__"):
        return from_numpy(_canonical_copy(np.asarray(x)))
    if isinstance(typeof := getattr(kind, "aval", None), TypeOfValue):
        return typeof.operand(x)
    raise TypeError(f"expected an array or a number, got {x!r} of type {kind.__module__}.{kind.__qualname__}")


def is_array_like(x: object) -> bool:
    """Return whether `lift` accepts the value."""
    return (
        isinstance(x, (Array, np.ndarray, np.generic, bool, int, float, complex))
        or own_conversion(x) is not None
        or hasattr(x, "__array__")
        or isinstance(getattr(type(x), "aval", None), TypeOfValue)
    ) and not isinstance(x, type)


def _canonical_copy(x: np.ndarray | np.generic) -> np.ndarray | np.generic:
    dtype = dtypes.canonicalize_dtype(x.dtype)
    if isinstance(x, np.generic):
        return x if x.dtype == dtype else np.asarray(x).astype(dtype)[()]
    return np.array(x, dtype=dtype, order="C", subok=False)
