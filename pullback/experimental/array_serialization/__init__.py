"""Arrays in files, under JAX's names: see `array_serialization.serialization`."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes

__all__: list[str] = []

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
