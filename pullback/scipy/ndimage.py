"""Images of any number of dimensions, as in `scipy.ndimage`."""

from __future__ import annotations

import functools
import itertools
import operator
import typing as _typing
from collections.abc import Callable, Sequence

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback.numpy._elementwise.promotion import as_operand

__all__ = ["map_coordinates"]


def _mirrored(index: Array, size: int) -> Array:
    """Reflected about the centers of the outermost pixels: d c b | a b c d | c b a."""
    period = max(2 * (size - 1), 1)
    index = index % period
    return pnp.where(index < size, index, period - index)


def _reflected(index: Array, size: int) -> Array:
    """Reflected about the outer edges of the outermost pixels: c b a | a b c d | d c b."""
    index = index % (2 * size)
    return pnp.where(index < size, index, 2 * size - 1 - index)


# the pixel that stands for one outside of the image
_INSIDE: dict[str, Callable[[Array, int], Array]] = {
    "constant": lambda index, size: pnp.clip(index, 0, size - 1),
    "nearest": lambda index, size: pnp.clip(index, 0, size - 1),
    "wrap": lambda index, size: index % size,
    "mirror": _mirrored,
    "reflect": _reflected,
}


def _round(x: Array) -> Array:
    """The nearest whole number, of two the one away from 0."""
    return pnp.where(x < 0, pnp.ceil(x - 0.5), pnp.floor(x + 0.5))


@boundary
def map_coordinates(
    input: ArrayLike,
    coordinates: Sequence[ArrayLike],
    order: int,
    mode: str = "constant",
    cval: ArrayLike = 0.0,
) -> Array:
    """The values of an image between its pixels, by interpolation.

    Args:
      input: an array of n dimensions, none of length 0; pixels have whole coordinates.
      coordinates: n arrays of real numbers that broadcast together, one for each axis.
      order: 0 takes the nearest pixel, 1 interpolates linearly.
      mode: what is beyond the image: "constant", pixels of the value `cval`; "nearest", the outermost pixels; "wrap",
        the image again (SciPy's "grid-wrap"; its "grid-constant" is "constant" here); "mirror", reflected about the
        center of the outermost pixels; "reflect", about their outer edge.
      cval: a number.

    Returns: an array of the shape of the coordinates and the dtype of `input`; of integers, the rounded one.
    Raises: NotImplementedError for another order or mode; ValueError for a wrong number of coordinates.

    The result is linear in `input`; by a coordinate the derivative is the slope of the piece above it.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.ndimage import map_coordinates
    >>> image = pnp.arange(12.).reshape(3, 4)
    >>> print(map_coordinates(image, [pnp.array([0.5, 1.5]), pnp.array([1.5, 2.5])], order=1))
    [3.5 8.5]
    """
    image = as_operand(input, "map_coordinates", "input")
    positions = [as_operand(x, "map_coordinates", f"coordinates[{i}]") for i, x in enumerate(coordinates)]
    if len(positions) != image.ndim:
        raise ValueError(
            f"map_coordinates: expected {image.ndim} arrays of coordinates, one for each axis of input, got "
            f"{len(positions)}"
        )
    if mode not in _INSIDE:
        raise NotImplementedError(
            f"map_coordinates: mode {mode!r} is not implemented, use one of {', '.join(map(repr, _INSIDE))}"
        )
    if order not in (0, 1):
        raise NotImplementedError(f"map_coordinates: order must be 0 or 1, got {order!r}")
    if image.size == 0:
        raise ValueError(f"map_coordinates: input must have pixels, got shape {image.shape}")
    outside = pnp.asarray(cval, image.dtype)

    def neighbours(x: Array, size: int) -> list[tuple[Array, Array | None, Array | None]]:
        """The pixels next to a coordinate: index, whether it is in the image, and weight."""
        if dtypes.is_complex(x.dtype):
            raise TypeError(f"map_coordinates: coordinates must be real numbers, got {x.aval.str_short()}")
        near: list[tuple[Array, Array | None]] = [(x, None)]
        if dtypes.is_float(x.dtype):
            near = [(_round(x), None)]
            if order == 1:
                low = pnp.floor(x)
                near = [(low, 1 - (x - low)), (low + 1, x - low)]
        out = []
        for index, weight in near:
            # in floating point, which holds any coordinate
            inside = (index >= 0) & (index < size) if mode == "constant" else None
            pixel = _INSIDE[mode](index, size)
            out.append((pnp.where(pnp.isnan(pixel), 0, pixel).astype(np.int32), inside, weight))
        return out

    total: Array | None = None
    for corner in itertools.product(*map(neighbours, positions, image.shape)):
        indices, insides, weights = zip(*corner, strict=True) if corner else ((), (), ())
        part = image[indices] if indices else image
        if mode == "constant" and insides:
            part = pnp.where(functools.reduce(operator.and_, insides), part, outside)
        for weight in weights:
            part = part if weight is None else weight * part
        total = part if total is None else total + part
    assert total is not None
    return (_round(total) if dtypes.is_integer(image.dtype) and dtypes.is_float(total.dtype) else total).astype(
        image.dtype
    )


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
