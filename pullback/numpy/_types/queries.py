"""Questions about shapes and dtypes, and conversion between dtypes."""

from __future__ import annotations

import math

import numpy as np

from pullback._api.extended_arrays import keeps_dtype
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, is_array_like, lift
from pullback._core.dtypes import finfo, iinfo, issubdtype, promote_types
from pullback._core.errors import boundary
from pullback._core.typing import AnyValue, Axis, Device, DTypeLike, SupportsDType
from pullback._ops import compare, elementwise
from pullback._ops import shape as shape_ops
from pullback._ops.assemble import bitcast_convert_type, concatenate
from pullback._ops.slicing import rev, slice_in_dim
from pullback._ops.trig import complex as make_complex
from pullback._ops.trig import imag, real_dtype
from pullback._ops.trig import real as real_part
from pullback.numpy._creation.creation import copied
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._reductions.reductions import axes_of

__all__ = [
    "shape",
    "ndim",
    "size",
    "astype",
    "iscomplexobj",
    "isrealobj",
    "isscalar",
    "result_type",
    "promote_types",
    "can_cast",
    "issubdtype",
    "isdtype",
    "finfo",
    "iinfo",
    "iterable",
]


@boundary
def shape(a: ArrayLike | None) -> tuple[int, ...]:
    """The lengths of the axes; () for None, as in JAX. TypeError for anything else but an array or a number.

    >>> import pullback.numpy as pnp
    >>> pnp.shape(pnp.zeros((2, 3)))
    (2, 3)
    """
    return () if a is None else _shape("shape", a)


def _shape(name: str, a: ArrayLike) -> tuple[int, ...]:
    own = getattr(a, "shape", None)
    return tuple(own) if own is not None else as_operand(a, name, 0).aval.shape


@boundary
def ndim(a: ArrayLike) -> int:
    """The number of axes. TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> pnp.ndim(1.)
    0
    """
    return len(_shape("ndim", a))


@boundary
def size(a: ArrayLike, axis: Axis = None) -> int:
    """The number of elements, or the length of an axis (the product over several).

    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.size(pnp.zeros((2, 3))), pnp.size(pnp.zeros((2, 3)), 1)
    (6, 3)
    """
    own = _shape("size", a)
    return math.prod(own[i] for i in axes_of("size", axis, len(own)))


@keeps_dtype
def astype(x: ArrayLike, dtype: DTypeLike, /, *, copy: bool = False, device: Device = None) -> Array:
    """`x` in another dtype (None: the default float). Floats to integers round towards zero, complex to real drop the
    imaginary part. TypeError for anything but a dtype.

    >>> import pullback.numpy as pnp
    >>> pnp.astype(pnp.array([1.7, -1.7]), int)
    Array([ 1, -1], dtype=int32)
    """
    x = as_operand(x, "astype", 0)
    target = dtypes.resolve(float if dtype is None else dtype)
    if target != x.aval.dtype:  # which may have 64 bits where these are off by now
        target = dtypes.requested_dtype(dtype, float)
    if dtypes.is_complex(x.aval.dtype) and not dtypes.is_complex(target) and target.kind != "b":
        x = real_part(x)
    y = shape_ops.convert_element_type(x, target)
    return copied(x) if copy and y is x else y


def iscomplexobj(x: ArrayLike) -> bool:
    """Return whether the dtype is complex.

    >>> iscomplexobj(1j), iscomplexobj([1., 2.])
    (True, False)
    """
    dtype = getattr(x, "dtype", None)
    if isinstance(dtype, dtypes.ExtendedDType):
        return False
    return dtypes.is_complex(np.dtype(dtype)) if dtype is not None else bool(np.iscomplexobj(x))


def isrealobj(x: ArrayLike) -> bool:
    """Return whether the dtype is not complex.

    >>> isrealobj(1.)
    True
    """
    return not iscomplexobj(x)


def isscalar(element: object) -> bool:
    """True for a Python or NumPy scalar, or an array without axes.

    >>> import pullback.numpy as pnp
    >>> isscalar(1.), isscalar(pnp.array(1.)), isscalar(pnp.ones(1))
    (True, True, False)
    """
    if isinstance(element, (Array, np.ndarray)):
        return element.ndim == 0
    return bool(np.isscalar(element))


@boundary
def result_type(*args: ArrayLike | DTypeLike) -> np.dtype:
    """The common dtype to which arrays, scalars and dtypes are promoted; Python scalars yield to the others.

    TypeError for anything but a dtype.

    >>> import pullback.numpy as pnp
    >>> pnp.result_type(pnp.zeros(2, "int8"), 1.0)
    dtype('float32')
    """
    if not args:
        raise ValueError("result_type: expected at least one array, scalar or dtype, got none")
    kinds = [dtype for x in args if isinstance(dtype := getattr(x, "dtype", x), dtypes.ExtendedDType)]
    if kinds:
        if len({*kinds}) > 1 or len(kinds) < len(args):
            raise TypeError(f"result_type: {kinds[0]} is promoted with no other dtype, got {args!r}")
        return kinds[0]  # type: ignore[return-value]
    return dtypes.promote(*map(_dtype_and_weakness, args))[0]


def _dtype_and_weakness(x: AnyValue) -> tuple[np.dtype, bool]:
    if x is bool or x is int or x is float or x is complex:  # by identity: `float64 == float`
        return dtypes.python_scalar_dtype(x), x is not bool
    if is_array_like(x):
        aval = lift(x).aval
        return aval.dtype, aval.weak_type
    if hasattr(x, "shape") and hasattr(x, "dtype") and not isinstance(x, type):
        return dtypes.canonicalize_dtype(x.dtype), getattr(x, "weak_type", False)
    return dtypes.canonicalize_dtype(x), False


def can_cast(from_: ArrayLike | DTypeLike, to: DTypeLike, casting: str = "safe") -> bool:
    """Return whether a dtype can be cast to another by a rule of NumPy: no, equiv, safe, same_kind or unsafe.

    TypeError for anything but a dtype.

    >>> can_cast("int8", "float32"), can_cast("float32", "int8")
    (True, False)
    """
    from_ = from_.dtype if hasattr(from_, "dtype") and not isinstance(from_, type) else from_
    return bool(np.can_cast(np.dtype(from_), np.dtype(to), casting=casting))  # type: ignore[arg-type]


_KINDS = {
    "bool": np.bool_,
    "signed integer": np.signedinteger,
    "unsigned integer": np.unsignedinteger,
    "integral": np.integer,
    "real floating": np.floating,
    "complex floating": np.complexfloating,
    "numeric": np.number,
}


def isdtype(dtype: DTypeLike | SupportsDType, kind: DTypeLike | tuple[DTypeLike, ...]) -> bool:
    """Return whether a dtype is of a kind: a dtype, the name of a kind ("integral", "real floating" ...), or a tuple.

    ValueError for an unknown kind.

    >>> isdtype(np.dtype("float32"), ("integral", "real floating"))
    True
    """
    for k in kind if isinstance(kind, tuple) else (kind,):
        if isinstance(k, str) and k in _KINDS:
            if dtypes.issubdtype(dtype, _KINDS[k]):
                return True
        elif isinstance(k, str) and k not in np.sctypeDict:
            raise ValueError(f"isdtype: unknown kind {k!r}: expected a dtype or one of {', '.join(_KINDS)}")
        elif np.dtype(k) == np.dtype(dtype):
            return True
    return False


def iterable(y: ArrayLike) -> bool:
    """Return whether `iter(y)` works: arrays without axes cannot be iterated over.

    >>> import pullback.numpy as pnp
    >>> iterable(pnp.ones(2)), iterable(pnp.array(1.))
    (True, False)
    """
    return bool(np.iterable(y)) and not (isinstance(y, Array) and y.ndim == 0)


@boundary
def view(x: Array, dtype: DTypeLike | None = None, type: None = None) -> Array:
    """The bytes of an array read as another dtype, the last axis growing or shrinking with the size of an element.

    >>> import pullback.numpy as pnp
    >>> pnp.array([1, -1], "int16").view("uint8")
    Array([  1,   0, 255, 255], dtype=uint8)
    """
    if type is not None:
        raise NotImplementedError("view: the argument 'type' is not supported, there is one class of arrays")
    target = dtypes.requested_dtype(dtype, float)
    own = x.aval.dtype
    if own == target:
        return x
    if own.kind == "b":
        return view(shape_ops.convert_element_type(x, np.uint8), target)
    if target.kind == "b":
        y = view(x, np.uint8)
        return compare.ne(y, elementwise.scalar(y, 0))
    if dtypes.is_complex(own):
        if not x.aval.ndim:
            _refuse_view(x, target)
        pairs = [shape_ops.reshape(half, (*x.aval.shape, 1)) for half in (real_part(x), imag(x))]
        return view(_merged(concatenate(pairs, x.aval.ndim)), target)
    if dtypes.is_complex(target):
        y = view(x, real_dtype(target))
        shape = y.aval.shape
        if not shape or shape[-1] % 2:
            _refuse_view(x, target)
        half = (*shape[:-1], shape[-1] // 2)
        return make_complex(*[shape_ops.reshape(slice_in_dim(y, k, None, 2, -1), half) for k in (0, 1)])
    if target.itemsize < own.itemsize:
        if not x.aval.ndim:
            _refuse_view(x, target)
        return _merged(bitcast_convert_type(x, target))
    if target.itemsize > own.itemsize:
        parts = target.itemsize // own.itemsize
        shape = x.aval.shape
        if not shape or shape[-1] % parts:
            _refuse_view(x, target)
        x = shape_ops.reshape(x, (*shape[:-1], shape[-1] // parts, parts))
    return bitcast_convert_type(x, target)


def _merged(x: Array) -> Array:
    *lead, n, parts = x.aval.shape
    return shape_ops.reshape(x, (*lead, n * parts))


def _refuse_view(x: Array, target: np.dtype) -> None:
    raise ValueError(f"view: the last axis of {x.aval.str_short()} does not divide into elements of {target.name}")


@boundary
def byteswap(x: Array) -> Array:
    """The elements with their bytes in the other order; of complex ones, those of each part.

    >>> import pullback.numpy as pnp
    >>> pnp.array([1, 256], "int16").byteswap()
    Array([256,   1], dtype=int16)
    """
    own = x.aval.dtype
    if dtypes.is_complex(own):
        return make_complex(byteswap(real_part(x)), byteswap(imag(x)))
    if own.itemsize == 1:
        return x
    return bitcast_convert_type(rev(bitcast_convert_type(x, np.uint8), (x.aval.ndim,)), own)
