"""The primitives under JAX's names. Those that are functions here are keys in tables of rules, and never occur."""

import typing as _typing

from pullback._api.primitive_names import PRIMITIVES
from pullback._core.lazy import attributes as _attributes

__all__ = sorted(PRIMITIVES)

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, PRIMITIVES)
