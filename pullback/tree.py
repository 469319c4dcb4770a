"""Pytree functions under short names: ``tree.map``, ``tree.leaves``, ... (the names of ``jax.tree``)."""

import dataclasses
import typing as _typing
from typing import Any

from pullback._core.lazy import attributes as _attributes
from pullback._core.tree import (
    tree_unflatten as unflatten,
)
from pullback._core.tree_paths import (
    tree_transpose as transpose,
)
from pullback._core.typing import AnyValue
from pullback._core.users_trees import (
    tree_all as all,
)
from pullback._core.users_trees import (
    tree_broadcast as broadcast,
)
from pullback._core.users_trees import (
    tree_flatten as flatten,
)
from pullback._core.users_trees import (
    tree_flatten_with_path as flatten_with_path,
)
from pullback._core.users_trees import (
    tree_leaves as leaves,
)
from pullback._core.users_trees import (
    tree_leaves_with_path as leaves_with_path,
)
from pullback._core.users_trees import (
    tree_map as map,
)
from pullback._core.users_trees import (
    tree_map_with_path as map_with_path,
)
from pullback._core.users_trees import (
    tree_reduce as reduce,
)
from pullback._core.users_trees import (
    tree_reduce_associative as reduce_associative,
)
from pullback._core.users_trees import (
    tree_structure as structure,
)

__all__ = [
    "all",
    "broadcast",
    "flatten",
    "flatten_with_path",
    "leaves",
    "leaves_with_path",
    "map",
    "map_with_path",
    "reduce",
    "reduce_associative",
    "static",
    "structure",
    "transpose",
    "unflatten",
]


def static(**kwargs: AnyValue) -> Any:
    """A dataclass field that is part of the structure, not a child: its metadata has static=True.

    >>> from pullback.tree_util import register_dataclass, tree_leaves
    >>> @register_dataclass
    ... @dataclasses.dataclass
    ... class Layer:
    ...     weight: float
    ...     name: str = static(default="")
    >>> tree_leaves(Layer(1.0, "in"))
    [1.0]
    """
    metadata = {**(kwargs.pop("metadata", None) or {}), "static": True}
    return dataclasses.field(metadata=metadata, **kwargs)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
