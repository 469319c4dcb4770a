"""Compiled programs on disk, under JAX's names: see `compilation_cache.compilation_cache`."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.experimental.compilation_cache import compilation_cache as compilation_cache

__all__ = ["compilation_cache"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
