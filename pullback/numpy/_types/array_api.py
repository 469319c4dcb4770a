"""The namespace information required by the Python array API standard: its version and its capabilities.

Source: the standard, version 2024.12, https://data-apis.org/array-api/2024.12/API_specification/inspection.html.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from pullback._api.devices import devices
from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.errors import boundary
from pullback._core.typing import Device

__array_api_version__ = "2024.12"
# the additions of a later version do not affect users of an earlier one
_VERSIONS = ("2021.12", "2022.12", "2023.12", __array_api_version__)

_KINDS = {
    "bool": ("bool",),
    "signed integer": ("int8", "int16", "int32", "int64"),
    "unsigned integer": ("uint8", "uint16", "uint32", "uint64"),
    "real floating": ("float32", "float64"),
    "complex floating": ("complex64", "complex128"),
}
_KINDS["integral"] = _KINDS["signed integer"] + _KINDS["unsigned integer"]
_KINDS["numeric"] = _KINDS["integral"] + _KINDS["real floating"] + _KINDS["complex floating"]


class _Information:
    """The result of `__array_namespace_info__()`; the methods are those of the standard."""

    __slots__ = ()

    def capabilities(self) -> dict[str, bool | int]:
        # eager code could say yes twice, a traced function cannot
        return {"boolean indexing": False, "data-dependent shapes": False, "max dimensions": 64}

    def default_device(self) -> Any:
        return devices()[0]

    def devices(self) -> list[Any]:
        return devices()

    def default_dtypes(self, *, device: Device = None) -> dict[str, np.dtype]:
        _check_device("default_dtypes", device)
        kinds = {"real floating": float, "complex floating": complex, "integral": int, "indexing": int}
        return {name: dtypes.python_scalar_dtype(kind) for name, kind in kinds.items()}

    @boundary
    def dtypes(self, *, device: Device = None, kind: str | tuple[str, ...] | None = None) -> dict[str, np.dtype]:
        _check_device("dtypes", device)
        kinds = kind if isinstance(kind, tuple) else ("bool", "numeric") if kind is None else (kind,)
        unknown = [k for k in kinds if k not in _KINDS]
        if unknown:
            raise ValueError(
                f"__array_namespace_info__().dtypes: kind must be one of {', '.join(map(repr, _KINDS))}, "
                f"or a tuple of them, got {unknown[0]!r}"
            )
        found = {name: np.dtype(name) for k in kinds for name in _KINDS[k]}
        return {name: dtype for name, dtype in found.items() if dtypes.canonicalize_dtype(dtype) == dtype}


def _check_device(function: str, device: Device) -> None:
    if device is not None and device not in devices():
        raise ValueError(f"__array_namespace_info__().{function}: expected None or one of {devices()}, got {device!r}")


def __array_namespace_info__() -> _Information:
    """The capabilities of this namespace, for the array API standard's inspection functions.

    >>> import pullback.numpy as pnp
    >>> pnp.__array_namespace_info__().dtypes(kind="real floating")
    {'float32': dtype('float32')}
    """
    return _Information()


def array_namespace(self: Array, *, api_version: str | None = None) -> ModuleType:
    """The module with the functions of arrays; ValueError for a version of the standard that it does not follow."""
    if api_version not in (None, *_VERSIONS):
        raise ValueError(
            f"__array_namespace__: api_version {api_version!r} is not available; the versions are "
            f"{', '.join(_VERSIONS)}"
        )
    return sys.modules["pullback.numpy"]
