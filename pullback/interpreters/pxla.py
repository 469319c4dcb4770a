"""A module that libraries import for what only programs of other processes would need of it; it has no names."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes

__all__: list[str] = []

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
