"""Which files tracebacks leave out, under JAX's names."""

import typing as _typing

from pullback._core.errors import register_exclusion
from pullback._core.lazy import attributes as _attributes

__all__ = ["register_exclusion"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
