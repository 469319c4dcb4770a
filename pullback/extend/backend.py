"""The engine and its devices, for tools (the names of `jax.extend.backend`)."""

from __future__ import annotations

import typing as _typing
from typing import Any

from pullback._api.devices import check_backend, clear_caches, default_backend, devices
from pullback._core.config import config
from pullback._core.lazy import attributes as _attributes
from pullback._xla import engine

__all__ = ["backends", "clear_backends", "clear_in_memory_compilation_cache", "get_backend", "get_default_device"]


def get_backend(platform: str | None = None) -> Any:
    """The engine's client. RuntimeError for a platform other than "cpu".

    >>> get_backend().platform
    'cpu'
    """
    check_backend("get_backend", platform)
    return engine.client()


def backends() -> dict[str, Any]:
    """The engine's clients by platform. Raises nothing.

    >>> list(backends())
    ['cpu']
    """
    return {default_backend(): engine.client()}


def get_default_device() -> Any:
    """The device that arrays are made on where none is named. Raises nothing.

    >>> get_default_device().platform
    'cpu'
    """
    return config.default_device or devices()[0]


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
