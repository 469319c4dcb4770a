"""Exchange of arrays with other libraries by DLPack, under JAX's names."""

import typing as _typing

from pullback._core.dlpack import is_exchanged
from pullback._core.dtypes import resolve
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import DTypeLike
from pullback.numpy import from_dlpack

__all__ = ["from_dlpack", "is_supported_dtype"]


def is_supported_dtype(dtype: DTypeLike) -> bool:
    """Return whether arrays of a dtype cross by DLPack. TypeError for anything but a dtype.

    >>> is_supported_dtype("float32"), is_supported_dtype("int4")
    (True, False)
    """
    return bool(is_exchanged(resolve(dtype)))


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
