"""What `jax._src.tree_util._registry` answers: whether a class is a registered pytree node."""

from __future__ import annotations

from pullback._core.tree import registry


class _Registry:
    def __contains__(self, cls: object) -> bool:
        return isinstance(cls, type) and registry.is_node(cls)


nodes = _Registry()
