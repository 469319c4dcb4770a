"""The order of an array's axes in memory, under JAX's names: arrays are in row-major order, and no other is kept."""

from __future__ import annotations

import typing as _typing
from dataclasses import dataclass
from typing import Any, ClassVar

from pullback._core.errors import described
from pullback._core.lazy import attributes as _attributes
from pullback._core.sharding import Sharding
from pullback._core.tree_paths import tree_map
from pullback._core.typing import PyTree
from pullback.numpy import shape

__all__ = ["Format", "Layout", "with_layout_constraint"]


class _Auto:
    """The layout that the compiler chooses."""

    def __repr__(self) -> str:
        return "AUTO"


@dataclass(frozen=True)
class Layout:
    """The axes of an array from the one with the largest steps in memory to the one with the smallest.

    ValueError unless `major_to_minor` has each axis once.

    >>> Layout((0, 1)).major_to_minor
    (0, 1)
    """

    major_to_minor: tuple[int, ...]
    tiling: tuple[tuple[int, ...], ...] | None = None
    sub_byte_element_size_in_bits: int = 0
    AUTO: ClassVar[Any] = _Auto()

    def __post_init__(self) -> None:
        object.__setattr__(self, "major_to_minor", tuple(self.major_to_minor))
        if sorted(self.major_to_minor) != list(range(len(self.major_to_minor))):
            raise ValueError(f"Layout: major_to_minor must have each axis once, got {self.major_to_minor}")


@dataclass(frozen=True)
class Format:
    """A layout and a placement.

    ValueError for a layout without a placement; TypeError for values of other types.

    >>> import pullback as pb
    >>> Format(Layout((0, 1)), pb.numpy.ones((2, 3)).sharding).layout
    Layout(major_to_minor=(0, 1), tiling=None, sub_byte_element_size_in_bits=0)
    """

    layout: Layout | _Auto | None = None
    sharding: Sharding | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.layout, (Layout, _Auto, type(None))):
            raise TypeError(f"Format: layout must be a Layout, Layout.AUTO or None, got {described(self.layout)}")
        if not isinstance(self.sharding, (Sharding, type(None))):
            raise TypeError(f"Format: sharding must be a Sharding or None, got {described(self.sharding)}")
        if isinstance(self.layout, Layout) and self.sharding is None:
            raise ValueError("Format: a layout needs a placement: give sharding, for example that of an array")


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
