"""Nothing: `jax.lib` has no public names any more; programs that import it find an empty module."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes

__all__: list[str] = []

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
