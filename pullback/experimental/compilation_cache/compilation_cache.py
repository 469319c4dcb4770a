"""Where compiled programs are kept on disk, under JAX's names; `pullback.compilation_cache` says what is there."""

from __future__ import annotations

import os
import typing as _typing

from pullback._core.config import config
from pullback._core.lazy import attributes as _attributes

__all__ = ["is_persistent_cache_enabled", "reset_cache", "set_cache_dir"]


def set_cache_dir(path: str | os.PathLike[str]) -> None:
    """Keep compiled programs in a folder: the option `compilation_cache_dir`. Raises nothing.

    >>> import tempfile
    >>> before = config.compilation_cache_dir
    >>> set_cache_dir(tempfile.mkdtemp())
    >>> is_persistent_cache_enabled()
    True
    >>> config.update("compilation_cache_dir", before)
    """
    config.update("compilation_cache_dir", os.fspath(path))


def is_persistent_cache_enabled() -> bool:
    """Return whether compiled programs are kept in a folder. Raises nothing.

    >>> is_persistent_cache_enabled() == (config.compilation_cache_dir is not None)
    True
    """
    return config.compilation_cache_dir is not None


def reset_cache() -> None:
    """Nothing: the folder is read at each use, so that none is held open. Raises nothing.

    >>> reset_cache()
    """


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
