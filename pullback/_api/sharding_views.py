"""How arrays are spread over devices, for people: `inspect_array_sharding` and drawings of shardings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from pullback._core.array import ArrayLike, lift
from pullback._core.errors import boundary, described
from pullback._core.meshes import label_of
from pullback._core.sharding import Sharding
from pullback._core.typing import AnyValue, ShapeLike
from pullback._ops.inspect_sharding import inspect_sharding_p


@boundary
def inspect_array_sharding(value: ArrayLike, *, callback: Callable[[Sharding], None]) -> None:
    """Call a function with the sharding of an array: eagerly at once, in a traced function when it is compiled.

    In a compiled function it is what the compiler chose, and the function is called once for each program. Under `vmap`
    the sharding is that of the whole batch.

    TypeError for anything but an array or a number, NotImplementedError inside of `shard_map`.

    >>> import pullback as pb
    >>> inspect_array_sharding(pb.numpy.ones(2), callback=lambda place: print(place.num_devices))
    1
    """
    if not callable(callback):
        raise TypeError(f"inspect_array_sharding: callback must be a function of a sharding, got {described(callback)}")
    inspect_sharding_p.bind(lift(value), report=lambda aval, sharding: callback(sharding))


@boundary
def visualize_array_sharding(arr: ArrayLike, **kwargs: AnyValue) -> None:
    """Print which device holds which part of an array of one or two axes, see `visualize_sharding`.

    In a compiled function it is printed when the function is compiled. ValueError for other numbers of axes.

    >>> import pullback as pb
    >>> visualize_array_sharding(pb.numpy.ones((2, 3)))
    ┌─────────┐
    │  CPU 0  │
    └─────────┘
    """

    def show(aval, sharding):
        visualize_sharding(aval.shape, sharding, **kwargs)

    x = lift(arr)
    _check_rank("visualize_array_sharding", x.aval.shape)
    inspect_sharding_p.bind(x, report=show)


@boundary
def visualize_sharding(
    shape: ShapeLike,
    sharding: Sharding,
    *,
    use_color: bool = True,
    scale: float = 1.0,
    min_width: int = 9,
    max_width: int = 80,
    color_map: AnyValue = None,
) -> None:
    """Print which device holds which part of an array of this shape, of one or two axes, as boxes.

    Args:
      shape: the shape of the array.
      sharding: how it is spread over devices.
      use_color, color_map: accepted for compatibility; nothing is coloured.
      scale: the height of a row of parts: about 1 line of text for each.
      min_width, max_width: bounds of the width of a box, and of the whole.

    ValueError for other numbers of axes, and for a shape that cannot be divided.

    >>> import pullback as pb
    >>> visualize_sharding((4,), pb.numpy.ones(4).sharding)
    ┌─────────┐
    │  CPU 0  │
    └─────────┘
    """
    whole = (shape,) if isinstance(shape, int) else tuple(shape)
    _check_rank("visualize_sharding", whole)
    sharding.shard_shape(whole)
    tiles = sharding.tiles(len(whole))
    labels = np.empty(tiles.shape[:-1], object)
    for place in np.ndindex(labels.shape):
        labels[place] = label_of([sharding.flat_devices[i] for i in tiles[place]])
    grid = labels.reshape(1, -1) if labels.ndim == 1 else labels
    print(_drawn(grid, max(1, round(scale)), min_width, max_width))


def _check_rank(function: str, shape: Sequence[int]) -> None:
    if len(shape) not in (1, 2):
        raise ValueError(f"{function}: an array of one or two axes can be drawn, got the shape {tuple(shape)}")


def _drawn(labels: np.ndarray, height: int, min_width: int, max_width: int) -> str:
    rows, columns = labels.shape
    most = max(min_width, (max_width - 1) // columns - 1)
    width = min(most, max(min_width, *(len(label) + 2 for label in labels.flat)))
    bar = "─" * width
    above, below = (height - 1) // 2, height // 2
    lines = ["┌" + "┬".join([bar] * columns) + "┐"]
    for i in range(rows):
        parts = [_wrapped(label, width) for label in labels[i]]
        depth = max(map(len, parts))
        cells = [[""] * (above + (depth - len(p)) // 2) + p for p in parts]
        for line in range(above + depth + below):
            texts = [cell[line] if line < len(cell) else "" for cell in cells]
            lines.append("│" + "│".join(text.center(width) for text in texts) + "│")
        lines.append(("├" + "┼".join([bar] * columns) + "┤") if i < rows - 1 else "└" + "┴".join([bar] * columns) + "┘")
    return "\n".join(lines)


def _wrapped(label: str, width: int) -> list[str]:
    return [label[i * width : (i + 1) * width] for i in range(math.ceil(len(label) / width))]
