"""The order of an array's axes in memory, under JAX's names: arrays are in row-major order, and no other is kept."""

from __future__ import annotations

import typing as _typing
from typing import Any

from pullback._core.layouts import Format as Format
from pullback._core.layouts import Layout as Layout
from pullback._core.lazy import attributes as _attributes
from pullback._core.tree_paths import tree_map
from pullback._core.typing import PyTree
from pullback.numpy import shape

__all__ = ["Format", "Layout", "with_layout_constraint"]


def with_layout_constraint(x: PyTree, layouts: PyTree) -> Any:
    """`x`, whose arrays are in row-major order already.

    `layouts` is a Layout, or a pytree of them as `x`. ValueError for one with another number of axes than its array,
    and for an order other than row-major, which is refused: write the transpose into the program instead.

    >>> import pullback as pb
    >>> with_layout_constraint(pb.numpy.ones((2, 3)), Layout((0, 1))).shape
    (2, 3)
    """
    if isinstance(layouts, Layout):
        one = layouts
        return tree_map(lambda leaf: _constrained(leaf, one), x)
    return tree_map(_constrained, x, layouts)


def _constrained(x: Any, layout: Layout) -> Any:
    axes = len(shape(x))
    if len(layout.major_to_minor) != axes:
        raise ValueError(
            f"with_layout_constraint: major_to_minor has {len(layout.major_to_minor)} axes, and the array {axes}: "
            f"{layout.major_to_minor} for shape {shape(x)}"
        )
    if layout.major_to_minor != tuple(range(axes)):
        raise ValueError(
            f"with_layout_constraint: the order {layout.major_to_minor} is refused: arrays are in row-major order, "
            f"{tuple(range(axes))}. Transpose the array where the program needs another one"
        )
    return x


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
