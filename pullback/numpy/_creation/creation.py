"""Arrays from Python and NumPy data, and constant arrays.

The data of an array is never shared with memory that the user can modify: data of NumPy and others is copied. The
default dtype is that of the data, with 64-bit types narrowed unless `config.enable_x64`; `device` may name the one host
device, or be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._api.extended_arrays import moves_entries
from pullback._core import dtypes
from pullback._core.array import (
    Array,
    ArrayLike,
    ConcreteArray,
    NestedArrayLike,
    array_of,
    from_numpy,
    lift,
    scalar_array,
)
from pullback._core.array_interface import own_conversion
from pullback._core.dlpack import from_exporter
from pullback._core.errors import boundary
from pullback._core.numpy_state import silenced
from pullback._core.placed_array import PlacedArray
from pullback._core.trace import Tracer
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue, Device, DTypeLike, Placement, ShapeLike
from pullback._ops import shape as shape_ops
from pullback._ops.assemble import concatenate
from pullback._ops.shape import shape_of
from pullback._ops.sharding_constraint import check_fits, laid_out, sharding_constraint_p, sharding_of
from pullback.numpy._elementwise.promotion import as_operand, constant

__all__ = [
    "array",
    "asarray",
    "zeros",
    "ones",
    "full",
    "empty",
    "zeros_like",
    "ones_like",
    "full_like",
    "empty_like",
    "copy",
]

_SCALARS = frozenset({bool, int, float, complex})
_WHOLE = frozenset({bool, int})


def on_device(name: str, x: Array, device: Device, out_sharding: Placement = None) -> Array:
    """The array where the arguments of the function `name` say: a device, a sharding, or None; or else a spec."""
    if out_sharding is not None:
        return laid_out(name, x, out_sharding)
    place = None if device is None else sharding_of(f"{name}: device", device)
    if place is None:
        return x
    check_fits(f"{name}: an array of type {x.aval.str_short()}", place, x.aval.shape)
    return sharding_constraint_p.bind(x, sharding=place)


# --- of data ---


@moves_entries
def array(
    object: NestedArrayLike,
    dtype: DTypeLike | None = None,
    *,
    copy: bool | None = True,
    order: str | None = "K",
    ndmin: int = 0,
    device: Device = None,
    out_sharding: Placement = None,
) -> Array:
    """An array from numbers, nested sequences of numbers and arrays, NumPy data, or objects with `__array__` or DLPack.

    A Python scalar becomes a weakly typed 0-d array; the elements of a list are promoted to a common dtype. With
    `ndmin`, axes of length 1 are put in front. Raises TypeError for anything but numbers, ValueError for ragged lists.

    >>> import pullback.numpy as pnp
    >>> pnp.array([[1, 2], [3, 4.5]])
    Array([[1. , 2. ],
           [3. , 4.5]], dtype=float32)
    """
    if order not in (None, "K", "A", "C"):
        raise NotImplementedError(f"array: order must be 'K', 'A' or 'C', arrays have no memory order; got {order!r}")
    out = _convert("array", object, dtype, copy)
    if out.aval.ndim < ndmin:
        out = shape_ops.reshape(out, (1,) * (ndmin - out.aval.ndim) + out.aval.shape)
    return on_device("array", out, device, out_sharding)


@moves_entries
def asarray(
    a: NestedArrayLike,
    dtype: DTypeLike | None = None,
    order: str | None = None,
    *,
    copy: bool | None = None,
    device: Device = None,
    out_sharding: Placement = None,
) -> Array:
    """`a` as an array, unchanged if it already is one of that dtype; see `array`. TypeError for anything but numbers.

    >>> import pullback.numpy as pnp
    >>> pnp.asarray([True, False])
    Array([ True, False], dtype=bool)
    """
    if dtype is None and not copy and device is None and out_sharding is None and isinstance(a, Array):
        return a
    if order not in (None, "K", "A", "C"):
        raise NotImplementedError(f"asarray: order must be 'K', 'A' or 'C', arrays have no memory order; got {order!r}")
    if device is not None or out_sharding is not None:
        return on_device("asarray", _convert("asarray", a, dtype, copy), device, out_sharding)
    return _convert("asarray", a, dtype, copy)


def as_array(name: str, x: AnyValue) -> Array:
    """`asarray` for the function `name`, which errors are to name."""
    return _convert(name, x, None, None)


def _convert(name: str, x: AnyValue, dtype: DTypeLike | None, copy: bool | None) -> Array:
    target = None if dtype is None else dtypes.requested_dtype(dtype)
    if isinstance(x, Array):
        y = x if target is None else shape_ops.convert_element_type(x, target)
        return copied(x) if copy and y is x else y
    if copy is False:
        raise ValueError(
            f"{name}: copy=False asks for an array that shares memory with a {type(x).__name__}, but what "
            "an array holds is never shared: leave copy out"
        )
    kind = type(x)
    if kind in _SCALARS:
        return scalar_array(x) if target is None else from_numpy(_scalar(name, x, target))
    if isinstance(x, (list, tuple, range)):
        return _from_sequence(name, x, target)
    if x is None or isinstance(x, str):
        raise TypeError(f"{name}: expected numbers, got {x!r}: it is no array, nor a sequence of numbers")
    if isinstance(x, (np.ndarray, np.generic)):
        return from_numpy(_numpy_value(name, x, target))
    if (convert := own_conversion(x)) is not None:
        return _convert(name, convert(), target, None)
    if hasattr(x, "__array__"):
        try:
            return from_numpy(_numpy_value(name, np.asarray(x), target))
        except TypeError:
            if not hasattr(x, "__dlpack__"):
                raise  # PyTorch's bfloat16 has no NumPy form, and crosses by DLPack
    if hasattr(x, "__dlpack__"):
        return from_numpy(_numpy_value(name, from_exporter(x), target))
    if isinstance(x, (bool, int, float, complex)):
        return _convert(name, lift(x), target, None)
    if isinstance(x, (bytes, bytearray)):
        raise TypeError(f"{name}: expected numbers, got {kind.__name__}: use frombuffer, which takes a dtype")
    try:
        value = np.asarray(memoryview(x))
    except TypeError:
        raise TypeError(
            f"{name}: expected an array, a number or a sequence of them, got {x!r} of type "
            f"{kind.__module__}.{kind.__qualname__}"
        ) from None
    return from_numpy(_numpy_value(name, value, target))


def _scalar(name: str, x: bool | int | float | complex | np.generic, dtype: np.dtype) -> Any:
    if isinstance(x, complex) and not dtypes.is_complex(dtype):
        raise TypeError(f"{name}: the complex number {x} has no value in {dtype.name}: use .real or abs() of it")
    return np.asarray(x, dtype)[()] if dtype.isbuiltin == 1 else dtype.type(x)


def _numpy_value(name: str, x: np.ndarray | np.generic, target: np.dtype | None) -> Any:
    """A copy of NumPy data in a dtype that arrays can have."""
    try:
        target = dtypes.canonicalize_dtype(x.dtype) if target is None else target
        dtypes.canonicalize_dtype(x.dtype)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    if isinstance(x, np.generic):
        x = np.asarray(x)
    if dtypes.is_complex(x.dtype) and not dtypes.is_complex(target) and target.kind != "b":
        x = x.real
    return np.array(x, dtype=target, order="C", subok=False)


def _from_sequence(name: str, x: Sequence[Any], target: np.dtype | None) -> Array:
    leaves: dict[Any, None] = {}  # the types of the elements, each once
    tracers = _collect(name, x, leaves)
    if target is None:
        pairs = [
            (dtypes.python_scalar_dtype(leaf), leaf is not bool) if isinstance(leaf, type) else leaf for leaf in leaves
        ]
        target = dtypes.promote(*pairs)[0] if pairs else dtypes.canonicalize_dtype(float)
    if tracers:
        return _stacked(name, x, target)
    try:
        return from_numpy(np.array(_plain(x), dtype=target))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _collect(name: str, x: Sequence[Any], leaves: dict) -> bool:
    """Note the types of the leaves of a nested sequence; whether one of them is traced."""
    kinds = set(map(type, x))
    if kinds <= _SCALARS:
        leaves.update(dict.fromkeys(kinds))
        return False
    traced = False
    for element in x:
        kind = type(element)
        if kind in _SCALARS:
            leaves[kind] = None
        elif isinstance(element, (list, tuple, range)):
            traced = _collect(name, element, leaves) or traced
        elif isinstance(element, Array):
            leaves[element.aval.dtype, element.aval.weak_type] = None
            traced = traced or isinstance(element, Tracer)
        else:
            element = _convert(name, element, None, None)
            leaves[element.aval.dtype, element.aval.weak_type] = None
            traced = traced or isinstance(element, Tracer)
    return traced


def _plain(x: AnyValue) -> Any:
    """A nested sequence with arrays replaced by their NumPy values."""
    if isinstance(x, (list, tuple)):
        return [_plain(element) if type(element) not in _SCALARS else element for element in x]
    return x.value if isinstance(x, ConcreteArray) else x


def _stacked(name: str, x: AnyValue, dtype: np.dtype) -> Array:
    if not isinstance(x, (list, tuple, range)):
        return shape_ops.convert_element_type(_convert(name, x, None, None), dtype)
    if not len(x):
        return from_numpy(np.zeros((0,), dtype))
    parts = [_stacked(name, element, dtype) for element in x]
    shapes = {part.aval.shape for part in parts}
    if len(shapes) > 1:
        raise ValueError(
            f"{name}: the elements of a sequence must have one shape, got {' and '.join(map(str, sorted(shapes)))}"
        )
    return concatenate([shape_ops.reshape(part, (1, *part.aval.shape)) for part in parts], 0)


@moves_entries
def copy(a: NestedArrayLike, order: str | None = None) -> Array:
    """A copy of `a`, which lives on where `a` is donated to a compiled function or deleted.

    TypeError for anything but an array or (nested lists of) numbers.

    >>> import pullback.numpy as pnp
    >>> pnp.copy(pnp.arange(2))
    Array([0, 1], dtype=int32)
    """
    return _convert("copy", a, None, True)


def copied(x: Array) -> Array:
    """A concrete array with its own data; a traced value unchanged, since it cannot be donated."""
    if isinstance(x, PlacedArray):
        return x.copied()
    if not isinstance(x, ConcreteArray):
        return x
    value = x.value
    return array_of(x.aval, value if isinstance(value, np.generic) else np.array(value))


# --- of one value ---


@moves_entries
def zeros(
    shape: ShapeLike, dtype: DTypeLike | None = None, *, device: Device = None, out_sharding: Placement = None
) -> Array:
    """An array of zeros, by default of floats.

    ValueError for negative lengths, TypeError for others that are not integers.

    >>> import pullback.numpy as pnp
    >>> pnp.zeros(2)
    Array([0., 0.], dtype=float32)
    """
    return on_device(
        "zeros", shape_ops.full(shape_of("zeros", shape), 0, dtypes.requested_dtype(dtype, float)), device, out_sharding
    )


@boundary
def ones(
    shape: ShapeLike, dtype: DTypeLike | None = None, *, device: Device = None, out_sharding: Placement = None
) -> Array:
    """An array of ones, by default of floats.

    ValueError for negative lengths, TypeError for others that are not integers.

    >>> import pullback.numpy as pnp
    >>> pnp.ones((1, 2), int)
    Array([[1, 1]], dtype=int32)
    """
    return on_device(
        "ones", shape_ops.full(shape_of("ones", shape), 1, dtypes.requested_dtype(dtype, float)), device, out_sharding
    )


@moves_entries
def empty(
    shape: ShapeLike, dtype: DTypeLike | None = None, *, device: Device = None, out_sharding: Placement = None
) -> Array:
    """An array of a shape with unspecified values: zeros.

    ValueError for negative lengths, TypeError for others that are not integers.

    >>> import pullback.numpy as pnp
    >>> pnp.empty(2).shape
    (2,)
    """
    return on_device(
        "empty", shape_ops.full(shape_of("empty", shape), 0, dtypes.requested_dtype(dtype, float)), device, out_sharding
    )


@moves_entries
def full(
    shape: ShapeLike,
    fill_value: ArrayLike,
    dtype: DTypeLike | None = None,
    *,
    device: Device = None,
    out_sharding: Placement = None,
) -> Array:
    """An array of a shape filled with `fill_value`, which broadcasts to it; its dtype by default.

    ValueError for a `fill_value` that does not broadcast.

    >>> import pullback.numpy as pnp
    >>> pnp.full((2, 2), 7)
    Array([[7, 7],
           [7, 7]], dtype=int32, weak_type=True)
    """
    kind = None if dtype is None else dtypes.requested_dtype(dtype)
    return on_device("full", _filled("full", shape_of("full", shape), fill_value, kind), device, out_sharding)


def _filled(name: str, shape: tuple[int, ...], value: AnyValue, dtype: np.dtype | None, weak: bool = False) -> Array:
    if dtype is not None and (type(value) in _WHOLE or (type(value) is float and dtypes.is_float(dtype))):
        with silenced():
            x: Array = constant(value, make_aval((), dtype, weak))
    else:
        x = _convert(name, value, None, None)
        x = x if dtype is None else shape_ops.convert_element_type(x, dtype, weak)
    own = x.aval.shape
    if len(own) > len(shape) or any(n not in (1, m) for n, m in zip(reversed(own), reversed(shape), strict=False)):
        raise ValueError(f"{name}: fill_value must broadcast to the shape {shape}, got shape {own}")
    return shape_ops.broadcast_to(x, shape)


def _like(
    name: str, a: ArrayLike, dtype: DTypeLike | None, shape: ShapeLike | None
) -> tuple[tuple[int, ...], np.dtype, bool]:
    if not isinstance(a, Array) and hasattr(a, "shape") and hasattr(a, "dtype"):
        own, own_dtype, weak = tuple(a.shape), dtypes.canonicalize_dtype(a.dtype), getattr(a, "weak_type", False)
    else:
        aval = as_operand(a, name, 0).aval
        own, own_dtype, weak = aval.shape, aval.dtype, aval.weak_type
    if dtype is not None:
        own_dtype, weak = dtypes.requested_dtype(dtype), False
    return own if shape is None else shape_of(name, shape), own_dtype, weak


def _place_like(a: ArrayLike, shape: tuple[int, ...], device: Device) -> Any:
    """Where an array of this shape like `a` is to be: beside it, if it was placed and has the same shape."""
    if device is None and isinstance(a, PlacedArray) and a.aval.shape == shape:
        return a.placement
    return device


@moves_entries
def zeros_like(
    a: ArrayLike,
    dtype: DTypeLike | None = None,
    shape: ShapeLike | None = None,
    *,
    device: Device = None,
    out_sharding: Placement = None,
) -> Array:
    """An array of zeros of the shape and dtype of `a`, where no others are given.

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> pnp.zeros_like(pnp.arange(2))
    Array([0, 0], dtype=int32)
    """
    own, kind, weak = _like("zeros_like", a, dtype, shape)
    return on_device("zeros_like", shape_ops.full(own, 0, kind, weak), _place_like(a, own, device), out_sharding)


@moves_entries
def ones_like(
    a: ArrayLike,
    dtype: DTypeLike | None = None,
    shape: ShapeLike | None = None,
    *,
    device: Device = None,
    out_sharding: Placement = None,
) -> Array:
    """An array of ones of the shape and dtype of `a`, where no others are given.

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> pnp.ones_like(pnp.arange(2), dtype=float)
    Array([1., 1.], dtype=float32)
    """
    own, kind, weak = _like("ones_like", a, dtype, shape)
    return on_device("ones_like", shape_ops.full(own, 1, kind, weak), _place_like(a, own, device), out_sharding)


@moves_entries
def empty_like(
    prototype: ArrayLike, dtype: DTypeLike | None = None, shape: ShapeLike | None = None, *, device: Device = None
) -> Array:
    """An array of the shape and dtype of `prototype` with unspecified values: zeros.

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> pnp.empty_like(pnp.arange(2)).shape
    (2,)
    """
    own, kind, weak = _like("empty_like", prototype, dtype, shape)
    return on_device("empty_like", shape_ops.full(own, 0, kind, weak), _place_like(prototype, own, device))


@moves_entries
def full_like(
    a: ArrayLike,
    fill_value: ArrayLike,
    dtype: DTypeLike | None = None,
    shape: ShapeLike | None = None,
    *,
    device: Device = None,
    out_sharding: Placement = None,
) -> Array:
    """An array filled with `fill_value`, of the shape and dtype of `a` where no others are given.

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> pnp.full_like(pnp.arange(2.), 7)
    Array([7., 7.], dtype=float32)
    """
    own, kind, weak = _like("full_like", a, dtype, shape)
    return on_device(
        "full_like", _filled("full_like", own, fill_value, kind, weak), _place_like(a, own, device), out_sharding
    )


def from_list(x: NestedArrayLike) -> Any:
    """An array in place of a list or tuple, which most functions refuse; any other value unchanged."""
    return asarray(x) if isinstance(x, (list, tuple)) else x
