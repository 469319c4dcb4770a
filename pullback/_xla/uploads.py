"""Arguments of warm calls that are not on the device yet: arrays and scalars of NumPy, numbers of Python.

The engine takes 2 microseconds to make a buffer of one. Small ones are written to staging buffers, whose memory is an
array of NumPy's: that takes 0.4, and as soon as the program that was given one has run, it is free again. So a call
with an array of three numbers takes 3.9 microseconds and one with three such arrays 5.4, where they took 5.7 and 10.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.array import ConcreteArray, from_numpy, lift, scalar_aval
from pullback._core.dtypes import canonicalize_dtype
from pullback._core.tree import all_leaves as is_leaf
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue
from pullback._xla.engine import copier, put, sharing

_ndarray = np.ndarray

# the buffers of Python's numbers that were passed
_numbers: dict[Any, Any] = {}
_NUMBERS_LIMIT = 256
_NUMBERS = {float, int, bool, complex}

# A staging buffer: its memory, the buffer, and a result of the program that it was last given to, since when that is
# ready the program has run. They are taken from these lists and put back, so that a buffer has one user at a time.
_Stage = tuple[np.ndarray, Any, Any]
_free: dict[ShapedArray, list[_Stage]] = {}
# the list of types whose buffers have memory of their own, as on a GPU: it stays empty
_NONE: list[_Stage] = []
_TYPES_LIMIT = 256
# in bytes: larger arrays take as long to copy as to pass
_SMALL = 16_384


def is_small(aval: ShapedArray) -> bool:
    """Return whether arrays of a type are small enough to be staged, and to be kept for the sake of that."""
    return 0 < aval.size * aval.dtype.itemsize <= _SMALL and aval.dtype.isbuiltin == 1


def _staged(x: Any, aval: ShapedArray, taken: list[Any]) -> Any:
    """A staging buffer with the data of a small array or number of the type, noted in `taken`; None if none is free."""
    free = _free.get(aval)
    if free is None:
        if not is_small(aval):
            return None
        if len(_free) >= _TYPES_LIMIT:
            _free.clear()
        free = _free.setdefault(aval, [])
    try:
        memory, buffer, last = stage = free.pop()
    except IndexError:
        made = None if free is _NONE else sharing(aval)
        if made is None:
            _free[aval] = _NONE
            return None
        memory, buffer = made
    else:
        try:
            if not last.is_ready():
                free.append(stage)
                return None
        except RuntimeError:  # deleted by now
            return None
    memory[...] = x
    taken.append((free, memory, buffer))
    return buffer


def put_back(taken: list[Any], result: Any) -> None:
    """Make staging buffers available again, for when this result of the program that was given them is ready."""
    for free, memory, buffer in taken:
        free.append((memory, buffer, result))


def buffers_of(
    consts: Sequence[ConcreteArray],
    args: Sequence[Any],
    types: Sequence[ShapedArray],
    donated: Sequence[int] = (),
    taken: list[Any] | None = None,
) -> list[Any] | None:
    """The device buffers of constants and arguments; None if one is deleted, or an argument is not of its type.

    For the options that the types were found with, in a process that `engine.check_process` lets pass. Staging buffers
    are among them only if there is a list `taken`, which collects these, and never for what is donated.
    """
    buffers: list[Any] = []
    try:
        for x in consts:
            buffers.append(x._buffer)
        for i, x in enumerate(args):
            kind, aval = type(x), types[i]
            if kind is ConcreteArray:
                if x.aval is not aval:
                    return None
                try:
                    buffers.append(x._buffer)  # most are there: a call of `put` for each takes twice as long
                except AttributeError:
                    if x.is_deleted():
                        return None
                    buffers.append(put(x))
                continue
            if kind in _NUMBERS:
                if scalar_aval(kind) is not aval:
                    return None
            elif (kind is _ndarray or isinstance(x, np.generic)) and (x.dtype is aval.dtype or _stands_for(x, aval)):
                if x.shape != aval.shape or aval.weak_type:
                    return None
            else:
                # what the registry would take apart is no array, though it may convert to one
                array = lift(x) if is_leaf([x]) else None
                if type(array) is not ConcreteArray or array.aval is not aval:
                    return None
                buffers.append(put(array))
                continue
            buffer = None if taken is None or i in donated else _staged(x, aval, taken)
            buffers.append(_copied(x, kind, aval) if buffer is None else buffer)
    except (AttributeError, TypeError, OverflowError):
        return None  # the general path names the argument
    return buffers


def _copied(x: Any, kind: type, aval: ShapedArray) -> Any:
    """A buffer with the data of a number, or of an array of the dtype."""
    if kind in _NUMBERS:
        return _number(x, kind, aval)
    if x.dtype.isbuiltin != 1:
        return put(from_numpy(np.array(x)))  # the engine does not know it
    # to the device at once: by way of an array here it would be copied twice
    return copier()(np.asarray(x, aval.dtype, order="C"), aval)


def _stands_for(x: np.ndarray | np.generic, aval: ShapedArray) -> bool:
    """Return whether an array is of the dtype that this one is an abbreviation of, where wide types are turned off."""
    return type(x) is np.ndarray and x.dtype.isbuiltin == 1 and canonicalize_dtype(x.dtype) is aval.dtype


def _number(x: Any, kind: type, aval: ShapedArray) -> Any:
    """The buffer of a Python number, the same one if it was passed before; not of zero or such a part: 0. == -0."""
    key = (x, aval)
    known = _numbers.get(key)
    if known is None or known.is_deleted():  # donated to a program
        known = copier()(np.array(x if kind is int else aval.dtype.type(x), aval.dtype), aval)
        if x == x and (x.real and x.imag if kind is complex else x):
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
