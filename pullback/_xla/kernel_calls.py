"""Calls of NumPy routines from compiled programs, on the engine's own memory: no copies, 10 µs a call.

Unlike a callback (`host_calls`), a routine is a function of a module, which any process finds by its name: programs
that call some are kept in memory and on disk as others are. Their runs are waited for: an interpreter that ends gives
nobody its lock any more. One function is made known to the engine for all routines, by its interface for foreign
functions (jaxlib's header xla/ffi/api/c_api.h, version 0.1); a string that each call carries says which one it runs.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from pullback._core.types import ShapedArray
from pullback._xla import foreign
from pullback._xla.float_mode import enter, leave
from pullback._xla.lowering import Block, Value

_TARGET = "pullback_kernel"
# the interface's numbers of dtypes
_DTYPES = {
    1: np.dtype(bool),
    2: np.dtype(np.int8),
    3: np.dtype(np.int16),
    4: np.dtype(np.int32),
    5: np.dtype(np.int64),
    6: np.dtype(np.uint8),
    7: np.dtype(np.uint16),
    8: np.dtype(np.uint32),
    9: np.dtype(np.uint64),
    10: np.dtype(np.float16),
    11: np.dtype(np.float32),
    12: np.dtype(np.float64),
    15: np.dtype(np.complex64),
    18: np.dtype(np.complex128),
}
_KNOWN = frozenset(_DTYPES.values())


def can_call(ctx: Block, avals: Sequence[ShapedArray]) -> bool:
    """Return whether the program may call routines with arrays of these types.

    It may not if it leaves this process, runs on another platform, or where arrays were placed: on several devices the
    partitioner would bring whole arrays to each.
    """
    return ctx.module.is_local and ctypes.sizeof(ctypes.c_void_p) == 8 and all(aval.dtype in _KNOWN for aval in avals)


def kernel_call(
    ctx: Block,
    name: str,
    operands: Sequence[Value],
    out_avals: Sequence[ShapedArray],
    *numbers: int,
    in_place: bool = False,
) -> list[Value]:
    """Emit a call of a routine, `routine(operands, results, *numbers)`, which writes the results.

    It is named as "module:function", gets NumPy arrays of the program's memory, and may keep none of them. The first
    result is the first operand's memory if it works `in_place`.
    """
    _register()
    ctx.module.waits = True
    layouts = [range(x.aval.ndim) for x in operands], [range(aval.ndim) for aval in out_avals]
    config = foreign.setting({"call": " ".join([name, *map(str, numbers)])})
    avals = [aval.strip_weak_type() for aval in out_avals]
    return foreign.emit_foreign_call(ctx, _TARGET, operands, avals, layouts, config, [(0, 0)] * in_place, False, 4)


# --- the interface: each structure begins with its size and a list of extensions ---


def _structure(name: str, *fields: tuple[str, Any]) -> Any:
    head = [("size", ctypes.c_size_t), ("extensions", ctypes.c_void_p)]
    return type(name, (ctypes.Structure,), {"_fields_": [*head, *fields]})


_Pointers = ctypes.POINTER(ctypes.c_void_p)
_Version = _structure("Version", ("major", ctypes.c_int), ("minor", ctypes.c_int))
_Buffer = _structure(
    "Buffer",
    ("dtype", ctypes.c_int),
    ("data", ctypes.c_void_p),
    ("rank", ctypes.c_int64),
    ("dims", ctypes.POINTER(ctypes.c_int64)),
)
_Values = _structure("Values", ("count", ctypes.c_int64), ("types", ctypes.c_void_p), ("values", _Pointers))
_Settings = _structure(
    "Settings",
    ("count", ctypes.c_int64),
    ("types", ctypes.c_void_p),
    ("names", ctypes.c_void_p),
    ("values", _Pointers),
)
_Error = _structure("Error", ("message", ctypes.c_char_p), ("code", ctypes.c_int))
_MakeError = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Error))
_Interface = _structure("Interface", ("version", _Version), ("internal", ctypes.c_void_p), ("make_error", _MakeError))
_Frame = _structure(
    "Frame",
    ("interface", ctypes.POINTER(_Interface)),
    ("context", ctypes.c_void_p),
    ("stage", ctypes.c_int),
    ("operands", _Values),
    ("results", _Values),
    ("settings", _Settings),
)


class _Text(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Metadata(ctypes.Structure):
    """What the engine asks for when the function is registered."""

    _fields_ = (("size", ctypes.c_size_t), ("version", _Version), ("traits", ctypes.c_uint32))


class _Extension(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("kind", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("metadata", ctypes.POINTER(_Metadata)),
    )


_METADATA, _INTERNAL = 1, 13
_Function = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Frame))


def _arrays(values: Any) -> list[np.ndarray]:
    arrays = []
    for i in range(values.count):
        buffer = ctypes.cast(values.values[i], ctypes.POINTER(_Buffer)).contents
        shape, dtype = buffer.dims[: buffer.rank], _DTYPES[buffer.dtype]
        size = math.prod(shape) * dtype.itemsize
        memory = (ctypes.c_char * size).from_address(buffer.data) if size else None
        arrays.append(np.ndarray(shape, dtype, memory))
    return arrays


@cache
def _routine(name: str) -> Callable[..., None]:
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)


def _run(pointer: Any) -> int | None:
    frame = pointer.contents
    if frame.extensions:
        extension = ctypes.cast(frame.extensions, ctypes.POINTER(_Extension)).contents
        if extension.kind == _METADATA:
            extension.metadata.contents.version.major = 0
            extension.metadata.contents.version.minor = 1
            return None
    call = "?"
    try:
        text = ctypes.cast(frame.settings.values[0], ctypes.POINTER(_Text)).contents
        call = ctypes.string_at(text.start, text.length).decode()
        name, *numbers = call.split()
        mode = enter()
        try:
            _routine(name)(_arrays(frame.operands), _arrays(frame.results), *map(int, numbers))
        finally:
            leave(mode)
    except BaseException as error:  # the engine must not unwind: it gets an error of its own
        message = f"the routine {call!r} on the host failed: {type(error).__name__}: {error}"
        made = _Error(ctypes.sizeof(_Error), None, message.encode(), _INTERNAL)
        return frame.interface.contents.make_error(ctypes.byref(made))
    return None


@cache
def _register() -> Any:
    """Make the function known to the engine, once; the result keeps it alive."""
    function = _Function(_run)
    foreign.register(_TARGET, foreign.capsule(function), "cpu", 1)
    return function
