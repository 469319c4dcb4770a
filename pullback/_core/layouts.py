"""The order of an array's axes in memory: arrays are in row-major order, and no other is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pullback._core.errors import described
from pullback._core.sharding import Sharding


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


def placement_of(where: str, given: Format) -> Sharding | None:
    """The placement that a format says; ValueError for a layout other than row-major, which is refused."""
    layout = given.layout
    if isinstance(layout, Layout) and layout.major_to_minor != tuple(range(len(layout.major_to_minor))):
        raise ValueError(
            f"{where}: the order {layout.major_to_minor} is refused: arrays are in row-major order, "
            f"{tuple(range(len(layout.major_to_minor)))}. Transpose the array where the program needs another one"
        )
    return given.sharding
