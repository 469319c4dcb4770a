"""Extension of the library: see `pullback.extend.core`."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.extend import core

__all__ = ["core"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
