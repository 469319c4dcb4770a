"""What JAX's own registries answer: classes of pytree nodes, engines that have been started, the processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pullback._core.tree import registry
from pullback._xla import distributed, engine


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


class _Processes:
    """Which process this is, and jaxlib's client for meeting the others, None for one process alone."""

    @property
    def process_id(self) -> int:
        session = distributed.session()
        return 0 if session is None else session.process

    @property
    def num_processes(self) -> int:
        session = distributed.session()
        return 1 if session is None else session.count

    @property
    def client(self) -> Any:
        session = distributed.session()
        return None if session is None else session.client


processes = _Processes()
