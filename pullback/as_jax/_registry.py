"""What JAX's own registries answer: which classes are pytree nodes, and which engines have been started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pullback._core.tree import registry
from pullback._xla import engine


class _Registry:
    def __contains__(self, cls: object) -> bool:
        return isinstance(cls, type) and registry.is_node(cls)


nodes = _Registry()


class _Backends(Mapping[str, Any]):
    """The engine's client by its platform, once it has been started; reading does not start it."""

    def __iter__(self) -> Iterator[str]:
        return iter([engine.client().platform] if engine.is_started() else [])

    def __len__(self) -> int:
        return int(engine.is_started())

    def __getitem__(self, platform: str) -> Any:
        if platform not in list(self):
            raise KeyError(platform)
        return engine.client()


backends = _Backends()
