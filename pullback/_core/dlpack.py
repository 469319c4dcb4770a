"""DLPack for dtypes that NumPy does not exchange: bfloat16 and float8 are exchanged as bits under their own type codes.

The structures and type codes are those of DLPack 1.1, `dlpack/dlpack.h` (https://dmlc.github.io/dlpack/latest/c_api.html).
A producer makes the structure anew for each capsule, so its type code may be rewritten before a consumer reads it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np

from pullback._core.typing import AnyValue

_CPU, _PINNED = 1, 3
_UINT = 1
# the codes of types that have a single width
_CODES = {
    np.dtype(ml_dtypes.bfloat16): 4,
    np.dtype(ml_dtypes.float8_e3m4): 7,
    np.dtype(ml_dtypes.float8_e4m3): 8,
    np.dtype(ml_dtypes.float8_e4m3b11fnuz): 9,
    np.dtype(ml_dtypes.float8_e4m3fn): 10,
    np.dtype(ml_dtypes.float8_e4m3fnuz): 11,
    np.dtype(ml_dtypes.float8_e5m2): 12,
    np.dtype(ml_dtypes.float8_e5m2fnuz): 13,
    np.dtype(ml_dtypes.float8_e8m0fnu): 14,
}
_DTYPES = {(code, 8 * dtype.itemsize): dtype for dtype, code in _CODES.items()}
_FAMILIES = {0: "int", 1: "uint", 2: "float", 3: "opaque", 5: "complex", 6: "bool"}


class _Tensor(ctypes.Structure):
    """DLTensor, the first field of the structure behind an unversioned capsule."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    ]


_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def _tensor(capsule: AnyValue) -> _Tensor:
    return _Tensor.from_address(_pointer(capsule, b"dltensor"))


class _Recoded:
    """A capsule whose elements NumPy reads as unsigned integers."""

    def __init__(self, capsule: AnyValue):
        self.capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU, 0


def is_exchanged(dtype: np.dtype) -> bool:
    """Return whether arrays of the dtype can be exported as a capsule."""
    return dtype in _CODES or dtype.isbuiltin == 1


def to_capsule(value: np.ndarray) -> Any:
    """A capsule with a copy of an array whose dtype NumPy does not exchange."""
    capsule = np.array(value.view(f"u{value.dtype.itemsize}")).__dlpack__()
    _tensor(capsule).code = _CODES[value.dtype]
    return capsule


def shared(value: np.ndarray, stream: int | None, max_version: tuple[int, int] | None, dl_device: Any) -> Any:
    """A capsule over the memory of an immutable array, for `copy=False`; older capsules cannot say "read-only"."""
    if max_version is None or tuple(max_version) < (1, 0):
        raise BufferError(
            "DLPack: copy=False shares the memory of an immutable array, and only a capsule of version (1, 0) or newer "
            f"can say that it is read-only, got max_version={max_version}. Pass max_version=(1, 0), or leave "
            "copy=False out, which exports a copy."
        )
    return value.__dlpack__(stream=stream, max_version=max_version, dl_device=dl_device, copy=False)


def from_exporter(x: AnyValue) -> np.ndarray:
    """The data of a tensor that exports itself, without a copy.

    TypeError for an element type without a dtype here, BufferError for memory of another device.
    """
    device, _ = x.__dlpack_device__()
    if device not in (_CPU, _PINNED):
        raise BufferError(
            f"from_dlpack: the tensor lies on a device of DLPack's type {int(device)}, not on the CPU. "
            "Copy it there first, with tensor.cpu() say."
        )
    try:
        return np.from_dlpack(x)
    except (RuntimeError, BufferError):  # of element types without a dtype: before NumPy 2.5, and since
        capsule = x.__dlpack__()
        tensor = _tensor(capsule)
    dtype = _DTYPES.get((tensor.code, tensor.bits))
    if dtype is None or tensor.lanes != 1:
        kind = f"{_FAMILIES.get(tensor.code, f'code {tensor.code}, ')}{tensor.bits}"
        raise TypeError(
            f"from_dlpack: elements of type {kind}{f' x {tensor.lanes}' if tensor.lanes != 1 else ''} have "
            "no dtype here. Convert the tensor first, to float32 say."
        )
    tensor.code = _UINT
    return np.from_dlpack(_Recoded(capsule)).view(dtype)
