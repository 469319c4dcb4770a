"""A pytree of arrays as one vector, and back: for algorithms that want a vector."""

from __future__ import annotations

import typing as _typing
from collections.abc import Callable
from typing import Any

from pullback import numpy as pnp
from pullback._core.array import Array
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.tree import tree_unflatten
from pullback._core.typing import PyTree
from pullback._higher_order.bodies import lift_tree

__all__ = ["ravel_pytree"]


@boundary
def ravel_pytree(pytree: PyTree) -> tuple[Array, Callable[[Any], Any]]:
    """The entries of all leaves in one vector, and the function that makes such a pytree of a vector.

    The vector has the dtype that the leaves promote to. `unravel(vector)` casts each leaf back to its own; where all
    have one dtype, leaves have that of the vector. Both are linear, and differentiable. A tree without leaves gives an
    empty vector.

    Raises: TypeError for leaves that are not arrays; of `unravel`, ValueError for a vector of another length, TypeError
      for one of another dtype, if the leaves differ in theirs.

    >>> import pullback.numpy as pnp
    >>> vector, unravel = ravel_pytree({"w": pnp.ones((2, 2)), "b": 3.})
    >>> print(vector, unravel(2 * vector)["b"])
    [3. 1. 1. 1. 1.] 6.0
    """
    leaves, treedef = lift_tree("ravel_pytree", "pytree", pytree)
    shapes, types, sizes = [x.shape for x in leaves], [x.dtype for x in leaves], [x.size for x in leaves]
    dtype = pnp.result_type(*leaves) if leaves else pnp.result_type(float)
    mixed = len(set(types)) > 1
    vector = pnp.concatenate([x.astype(dtype).reshape(-1) for x in leaves]) if leaves else pnp.zeros(0, dtype)

    @boundary
    def unravel(vector: Any) -> Any:
        """The pytree whose entries are those of a vector."""
        (v,), _ = lift_tree("unravel", "vector", vector)
        if v.shape != (sum(sizes),):
            raise ValueError(f"unravel: expected a vector of {sum(sizes)} entries, got shape {v.shape}")
        if mixed and v.dtype != dtype:
            raise TypeError(
                f"unravel: expected a vector of dtype {dtype.name}, got {v.dtype.name}; convert it with "
                f".astype({dtype.name!r})"
            )
        parts, start = [], 0
        for shape, kind, size in zip(shapes, types, sizes, strict=True):
            part = v[start : start + size].reshape(shape)
            if not mixed:
                kind = v.dtype
            parts.append(part.real.astype(kind) if pnp.iscomplexobj(v) and kind.kind != "c" else part.astype(kind))
            start += size
        return tree_unflatten(treedef, parts)

    return vector, unravel


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
