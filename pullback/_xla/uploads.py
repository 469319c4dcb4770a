"""Arguments of warm calls that are not on the device yet: arrays and scalars of NumPy, numbers of Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core.array import ConcreteArray, lift, scalar_aval
from pullback._core.dtypes import canonicalize_dtype
from pullback._core.tree import all_leaves as is_leaf
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue
from pullback._xla.engine import copier, put

# the buffers of Python's numbers that were passed
_numbers: dict[Any, Any] = {}
_NUMBERS_LIMIT = 256
_NUMBERS = {float, int, bool, complex}


def buffers_of(consts: Sequence[ConcreteArray], args: Sequence[Any], types: Sequence[ShapedArray]) -> list[Any] | None:
    """The device buffers of constants and arguments; None if one is deleted, or an argument is not of its type.

    For the options that the types were found with, in a process that `engine.check_process` lets pass.
    """
    copied = copier()
    buffers: list[Any] = []
    try:
        for x in consts:
            buffers.append(x._buffer)
        for x, aval in zip(args, types, strict=True):
            kind = type(x)
            if kind is ConcreteArray:
                if x.aval is not aval or (not hasattr(x, "_buffer") and x.is_deleted()):
                    return None
                buffers.append(put(x))
            elif kind is np.ndarray and x.dtype is aval.dtype and x.flags.c_contiguous and x.dtype.isbuiltin == 1:
                # copied to the device at once: by way of an array here it would be copied twice
                if x.shape != aval.shape or aval.weak_type:
                    return None
                buffers.append(copied(x, aval))
            elif kind in _NUMBERS:
                if scalar_aval(kind) is not aval:
                    return None
                buffers.append(_number(x, kind, aval, copied))
            else:
                # what the registry would take apart is no array, though it may convert to one
                array = lift(x) if is_leaf([x]) else None
                if type(array) is not ConcreteArray or array.aval is not aval:
                    return None
                buffers.append(put(array))
    except (AttributeError, TypeError, OverflowError):
        return None  # the general path names the argument
    return buffers


def _number(x: Any, kind: type, aval: ShapedArray, copied: Callable[[np.ndarray, ShapedArray], Any]) -> Any:
    """The buffer of a Python number, the same one if it was passed before; not of zero, since 0. == -0."""
    key = (x, aval)
    known = _numbers.get(key)
    if known is None or known.is_deleted():  # donated to a program
        known = copied(np.array(x if kind is int else aval.dtype.type(x), aval.dtype), aval)
        if x and x == x:
            if len(_numbers) >= _NUMBERS_LIMIT:
                _numbers.clear()
            _numbers[key] = known
    return known


def type_of(x: AnyValue) -> ShapedArray:
    """The type of an argument as an array on the first device, found without a copy; TypeError for anything else."""
    kind = type(x)
    if kind is ConcreteArray:
        return x.aval
    if (kind is np.ndarray or isinstance(x, np.generic)) and x.dtype.isbuiltin == 1:
        return make_aval(x.shape, canonicalize_dtype(x.dtype))
    if kind in _NUMBERS:
        return scalar_aval(kind)
    array = lift(x)
    if type(array) is not ConcreteArray:
        raise TypeError
    return array.aval
