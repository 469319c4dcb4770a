"""The engine and its devices, for tools (the names of `jax.extend.backend`)."""

from __future__ import annotations

import typing as _typing
from typing import Any

from pullback._api.devices import clear_caches
from pullback._core.lazy import attributes as _attributes
from pullback._xla import platforms

__all__ = ["backends", "clear_backends", "clear_in_memory_compilation_cache", "get_backend", "get_default_device"]


def get_backend(platform: str | None = None) -> Any:
    """The engine's client of a platform, by default of that which programs run on. RuntimeError for one there is not.

    >>> get_backend().platform
    'cpu'
    """
    return platforms.client_of(platforms.default() if platform is None else platform, "get_backend")


def backends() -> dict[str, Any]:
    """The engine's clients by platform, of those that have been started. Raises nothing.

    >>> list(backends())
    ['cpu']
    """
    platforms.default()
    return platforms.started()


def get_default_device() -> Any:
    """The device that arrays are made on where none is named. Raises nothing.

    >>> get_default_device().platform
    'cpu'
    """
    return platforms.first()


def clear_in_memory_compilation_cache() -> None:
    """Forget compiled programs, as `clear_caches`. Raises nothing.

    >>> clear_in_memory_compilation_cache()
    """
    clear_caches()


def clear_backends() -> None:
    """Forget compiled programs: the engine itself stays, since arrays live in it. Raises nothing.

    >>> clear_backends()
    """
    clear_caches()


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
