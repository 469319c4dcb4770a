"""The methods of arrays, installed on `Array` for concrete and traced arrays alike: those of NumPy, and `x.at`.

A function of `pullback.numpy` whose first argument is the array serves as the method of its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, cast

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray, distinct
from pullback._core.errors import boundary, fold
from pullback._core.placed_array import PlacedArray, Shard, shards_of
from pullback._core.sharding import Sharding, SingleDeviceSharding
from pullback._core.trace import Tracer
from pullback._core.typing import AnyValue, Device, DTypeLike, Index
from pullback._ops import shape as shape_ops
from pullback._ops import trig
from pullback._xla import engine
from pullback.numpy._creation import creation, grids
from pullback.numpy._creation.creation import copied
from pullback.numpy._elementwise import complex_parts, logic, rounding, selection
from pullback.numpy._functional import piecewise
from pullback.numpy._indexing import indexing
from pullback.numpy._indexing.at import At
from pullback.numpy._products import contractions
from pullback.numpy._reductions import cumulative, moments, reductions
from pullback.numpy._searching import nonzero, sorting
from pullback.numpy._shape import joining, manipulation
from pullback.numpy._types import queries
from pullback.numpy._types.array_api import array_namespace

# --- indexing and iteration ---


def _getitem(self: Array, key: Index) -> Array:
    """`x[key]`, with NumPy's indexing; indices out of bounds are clamped."""
    try:
        return indexing.getitem(self, key)
    except Exception as error:
        fold(error)
        raise


@boundary
def _setitem(self: Array, key: AnyValue, value: AnyValue) -> NoReturn:
    raise TypeError(
        "arrays are immutable: x[i] = y cannot be done. Use x = x.at[i].set(y), which returns a new array; "
        ".add, .multiply, .min, .max and others update likewise"
    )


@boundary
def _iter(self: Array) -> Iterator[Array]:
    return indexing.iterate(self)


@boundary
def _contains(self: Array, value: ArrayLike) -> bool:
    return bool(reductions.any(logic.equal(self, value)))


def _at(self: Array) -> At:
    """The way to updates by index: `x.at[i].set(y)` is `x[i] = y` that returns a new array.

    >>> import pullback.numpy as pnp
    >>> pnp.zeros(3).at[1].set(5.)
    Array([0., 5., 0.], dtype=float32)
    """
    return At(self)


# --- shapes ---


def _arguments(name: str, args: tuple, default: AnyValue = None) -> Any:
    """`f((1, 2))` and `f(1, 2)` are both allowed."""
    if not args:
        return default
    return args[0] if len(args) == 1 and (args[0] is None or isinstance(args[0], (tuple, list))) else args


@boundary
def _reshape(self: Array, *args: int | Sequence[int], order: str = "C") -> Array:
    """The elements in another shape, given as a tuple or as integers, of which one may be -1.

    ValueError for another number of elements.

    >>> import pullback.numpy as pnp
    >>> pnp.zeros(6).reshape(2, -1).shape
    (2, 3)
    """
    shape = args[0] if len(args) == 1 else args
    return manipulation.reshaped("reshape", self, shape, order)


@boundary
def _transpose(self: Array, *args: int | Sequence[int] | None) -> Array:
    """The array with its axes in another order, by default reversed: axis `i` of the result is axis `args[i]`.

    >>> import pullback.numpy as pnp
    >>> pnp.zeros((2, 3, 4)).transpose(1, 0, 2).shape
    (3, 2, 4)
    """
    return manipulation.permuted("transpose", self, _arguments("transpose", args))


@boundary
def _flatten(self: Array, order: str = "C") -> Array:
    """The elements along one axis, row by row (order "C") or column by column ("F").

    >>> import pullback.numpy as pnp
    >>> pnp.zeros((2, 3)).flatten().shape
    (6,)
    """
    return manipulation.ravel(self, order)


def _t(self: Array) -> Array:
    """The array with its axes reversed.

    >>> import pullback.numpy as pnp
    >>> pnp.zeros((2, 3, 4)).T.shape
    (4, 3, 2)
    """
    return manipulation.permuted("T", self, None)


@boundary
def _mt(self: Array) -> Array:
    """The array with its last two axes swapped; ValueError for fewer than two.

    >>> import pullback.numpy as pnp
    >>> pnp.zeros((2, 3, 4)).mT.shape
    (2, 4, 3)
    """
    return manipulation.matrix_transpose(self)


# --- dtypes ---


@boundary
def _astype(self: Array, dtype: DTypeLike, copy: bool = False, device: Device = None) -> Array:
    """The array in another dtype; see `pullback.numpy.astype`.

    >>> import pullback.numpy as pnp
    >>> pnp.ones(2).astype("int32").dtype
    dtype('int32')
    """
    return creation.on_device("astype", queries.astype(self, dtype, copy=copy), device)


def _real(self: Array) -> Array:
    """The real part; the same numbers if the dtype is real.

    >>> import pullback.numpy as pnp
    >>> pnp.array([1 + 2j]).real
    Array([1.], dtype=float32)
    """
    return trig.real(self) if dtypes.is_complex(self.aval.dtype) else distinct(self, self)


def _imag(self: Array) -> Array:
    """The imaginary part, zeros for real dtypes.

    >>> import pullback.numpy as pnp
    >>> pnp.array([1 + 2j]).imag
    Array([2.], dtype=float32)
    """
    aval = self.aval
    return trig.imag(self) if dtypes.is_complex(aval.dtype) else shape_ops.full(aval.shape, 0, aval.dtype)


def _copy(self: Array) -> Array:
    """A copy, which lives on where the array is donated to a compiled function or deleted.

    >>> import pullback.numpy as pnp
    >>> x = pnp.ones(2)
    >>> y = x.copy()
    >>> x.delete()
    >>> y
    Array([1., 1.], dtype=float32)
    """
    return copied(self)


# --- devices ---


def _device(self: Array) -> Any:
    """The device the array is on.

    >>> import pullback.numpy as pnp
    >>> import pullback as pb
    >>> pnp.ones(2).device in pb.devices()
    True
    """
    placement = _sharding(self)
    return placement.flat_devices[0] if len(placement.flat_devices) == 1 else placement


def _devices(self: Array) -> set:
    """The devices the array is on.

    >>> import pullback.numpy as pnp
    >>> len(pnp.ones(2).devices())
    1
    """
    return _sharding(self).device_set


def _sharding(self: Array) -> Sharding:
    """The placement of the array on devices.

    >>> import pullback.numpy as pnp
    >>> len(pnp.ones(2).sharding.device_set)
    1
    """
    if isinstance(self, Tracer):
        known = self._known()
        return self.aval.sharding if known is None else _sharding(known)
    return self.placement if isinstance(self, PlacedArray) else SingleDeviceSharding(engine.device())


def _shards(self: Array) -> list[Shard]:
    """The parts of the array on the devices of this process.

    >>> import pullback.numpy as pnp
    >>> pnp.ones(2).addressable_shards
    [Shard(device=CpuDevice(id=0), index=(slice(None, None, None),), replica_id=0, data=[1. 1.])]
    """
    x = _with_data(self, "addressable_shards")
    return shards_of(x, _sharding(x), False)


def _global_shards(self: Array) -> list[Shard]:
    """The parts of the array on all devices; those of other processes without data.

    >>> import pullback.numpy as pnp
    >>> len(pnp.ones(2).global_shards)
    1
    """
    x = _with_data(self, "global_shards")
    return shards_of(x, _sharding(x), True)


def _with_data(x: Array, what: str) -> ConcreteArray:
    return x._concrete(f"x.{what}") if isinstance(x, Tracer) else cast(ConcreteArray, x)


def _addressable_data(self: Array, index: int) -> Array:
    """The part on one of the devices of this process, by its number among them.

    >>> import pullback.numpy as pnp
    >>> print(pnp.ones(2).addressable_data(0))
    [1. 1.]
    """
    return cast(Array, _shards(self)[index].data)


def _is_fully_addressable(self: Array) -> bool:
    """Whether all parts are on devices of this process.

    >>> import pullback.numpy as pnp
    >>> pnp.ones(2).is_fully_addressable
    True
    """
    return _sharding(self).is_fully_addressable


def _is_fully_replicated(self: Array) -> bool:
    """Whether each device holds the whole array.

    >>> import pullback.numpy as pnp
    >>> pnp.ones(2).is_fully_replicated
    True
    """
    return _sharding(self).is_fully_replicated


def _committed(self: Array) -> bool:
    """Whether the array was placed: others are moved to where an operation runs.

    >>> import pullback.numpy as pnp
    >>> pnp.ones(2).committed
    False
    """
    return isinstance(self, PlacedArray)


def _copy_to_host_async(self: Array) -> None:
    """Begin to copy the array to the host. On a processor its memory is the host's: nothing is to be done.

    >>> import pullback.numpy as pnp
    >>> pnp.ones(2).copy_to_host_async()
    """


@boundary
def _unsafe_buffer_pointer(self: Array) -> int:
    """The address of the array's memory on its device; it is as good as the array is alive and not donated.

    ValueError if the array is on several devices.

    >>> import pullback.numpy as pnp
    >>> pnp.ones(2).unsafe_buffer_pointer() > 0
    True
    """
    x = _with_data(self, "unsafe_buffer_pointer()")
    if not isinstance(x, PlacedArray):
        return engine.put(x).unsafe_buffer_pointer()
    if len(x.placement.flat_devices) > 1:
        raise ValueError("unsafe_buffer_pointer: the array is on several devices; take x.addressable_data(i) of it")
    return x._checked_buffer().unsafe_buffer_pointer()


@boundary
def _to_device(self: Array, device: Device, *, stream: None = None) -> Array:
    """The array on another device, or with another sharding. ValueError for devices of other processes.

    >>> import pullback.numpy as pnp
    >>> x = pnp.ones(2)
    >>> x.to_device(x.device) is x
    True
    """
    return creation.on_device("to_device", self, device)


_METHODS = {
    "__getitem__": _getitem,
    "__setitem__": _setitem,
    "__iter__": _iter,
    "__contains__": _contains,
    "__array_namespace__": boundary(array_namespace),
    "reshape": _reshape,
    "transpose": _transpose,
    "flatten": _flatten,
    "ravel": manipulation.ravel,
    "squeeze": manipulation.squeeze,
    "swapaxes": manipulation.swapaxes,
    "diagonal": grids.diagonal,
    "trace": grids.trace,
    "repeat": joining.repeat,
    "take": indexing.take,
    "astype": _astype,
    "view": queries.view,
    "byteswap": queries.byteswap,
    "copy": _copy,
    "conj": complex_parts.conj,
    "conjugate": complex_parts.conj,
    "round": rounding.round,
    "clip": selection.clip,
    "choose": piecewise.choose,
    "dot": contractions.dot,
    "sum": reductions.sum,
    "prod": reductions.prod,
    "max": reductions.max,
    "min": reductions.min,
    "mean": moments.mean,
    "std": moments.std,
    "var": moments.var,
    "any": reductions.any,
    "all": reductions.all,
    "argmax": reductions.argmax,
    "argmin": reductions.argmin,
    "ptp": reductions.ptp,
    "cumsum": cumulative.cumsum,
    "cumprod": cumulative.cumprod,
    "sort": sorting.sort,
    "argsort": sorting.argsort,
    "argpartition": sorting.argpartition,
    "searchsorted": sorting.searchsorted,
    "nonzero": nonzero.nonzero,
    "devices": _devices,
    "to_device": _to_device,
    "addressable_data": _addressable_data,
    "copy_to_host_async": _copy_to_host_async,
    "unsafe_buffer_pointer": _unsafe_buffer_pointer,
}
_PROPERTIES = {
    "at": _at,
    "T": _t,
    "mT": _mt,
    "real": _real,
    "imag": _imag,
    "device": _device,
    "sharding": _sharding,
    "addressable_shards": _shards,
    "global_shards": _global_shards,
    "is_fully_addressable": _is_fully_addressable,
    "is_fully_replicated": _is_fully_replicated,
    "committed": _committed,
}


@boundary
def _compress(
    self: Array,
    condition: ArrayLike,
    axis: int | None = None,
    *,
    out: None = None,
    size: int | None = None,
    fill_value: ArrayLike = 0,
) -> Array:
    """The elements along an axis where a condition is true; see `pullback.numpy.compress`.

    >>> import pullback.numpy as pnp
    >>> pnp.arange(3).compress(pnp.array([True, False, True]))
    Array([0, 2], dtype=int32)
    """
    return indexing.compress(condition, self, axis, out=out, size=size, fill_value=fill_value)


def install() -> None:
    """Give `Array` its methods and properties."""
    for name, method in {**_METHODS, "compress": _compress}.items():
        setattr(Array, name, method)
    for name, getter in _PROPERTIES.items():
        setattr(Array, name, property(getter))


install()
