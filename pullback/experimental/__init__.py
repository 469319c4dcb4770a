"""Experimental parts: each is a module, to be imported by its name; `io_callback` is here."""

import typing as _typing

from pullback._api.callbacks import io_callback as io_callback
from pullback._core.lazy import attributes as _attributes

__all__ = ["io_callback"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {"compilation_cache": "pullback.experimental.compilation_cache"})
