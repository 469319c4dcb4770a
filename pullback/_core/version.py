"""The version of the package, which stands here alone: pyproject.toml reads it."""

from __future__ import annotations

__version__ = "0.1.0"
__version_info__: tuple[int, ...] = tuple(int(part) for part in __version__.split(".")[:3])
