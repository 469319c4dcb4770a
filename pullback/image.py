"""Images in another size: `resize`, and `scale_and_translate`, which can be differentiated by scale and translation.

An image is an array of any number of axes, of which some are spatial. Along each of those, an element of the result
is a weighted sum of elements near its place. Element i of an axis stands for the interval from i to i + 1.
"""

import enum as _enum
import typing as _typing
from collections.abc import Sequence as _Sequence

import numpy as _np

import pullback.numpy as _pnp
from pullback._core import dtypes as _dtypes
from pullback._core.array import Array as _Array
from pullback._core.array import ArrayLike as _ArrayLike
from pullback._core.errors import boundary as _boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import AnyValue as _AnyValue
from pullback._ops.accumulate import accumulator as _accumulator
from pullback._ops.dot import Precision as _Precision
from pullback._ops.dot import PrecisionLike as _PrecisionLike
from pullback._ops.dot import dot_general as _dot_general
from pullback._ops.indexed import chosen as _chosen
from pullback._ops.shape import canonical_axes as _canonical_axes
from pullback._ops.shape import convert_element_type as _convert
from pullback._ops.shape import move_axis as _move_axis
from pullback._ops.shape import shape_of as _shape_of
from pullback.numpy._elementwise.promotion import as_operand as _as_operand

__all__ = ["ResizeMethod", "resize", "scale_and_translate"]

_NAMES = {
    "NEAREST": "nearest",
    "LINEAR": "linear bilinear trilinear triangle",
    "LANCZOS3": "lanczos3",
    "LANCZOS5": "lanczos5",
    "CUBIC": "cubic bicubic tricubic",
    "CUBIC_PYTORCH": "cubic-pytorch bicubic-pytorch",
    "AREA": "area",
}


class ResizeMethod(_enum.Enum):
    """How an element of a resized image is computed from those near its place.

    NEAREST takes the nearest one, LINEAR interpolates, CUBIC interpolates by Keys' cubic with the parameter -1/2, and
    LANCZOS3 and LANCZOS5 weigh by sinc functions of these radii. AREA is the mean over the element's interval.
    CUBIC_PYTORCH is CUBIC with antialiasing; without, the parameter is -3/4, and elements beyond the edges are those at
    the edges, as far as two beyond.

    >>> from pullback import image
    >>> image.ResizeMethod.from_string("bilinear")
    <ResizeMethod.LINEAR: 1>
    """

    NEAREST = 0
    LINEAR = 1
    LANCZOS3 = 2
    LANCZOS5 = 3
    CUBIC = 4
    CUBIC_PYTORCH = 5
    AREA = 6

    @staticmethod
    def from_string(s: str) -> "ResizeMethod":
        """The method of a name: "nearest", "linear", "cubic", "lanczos3", ... ValueError for an unknown one."""
        for member, names in _NAMES.items():
            if s in names.split():
                return ResizeMethod[member]
        known = " ".join(_NAMES.values()).split()
        raise ValueError(f"the method must be a ResizeMethod or one of {known}, got {s!r}")


# --- kernels: the weight of an element at a distance from a place, x >= 0; `xp` is NumPy or pullback.numpy ---


def _triangle(xp: _typing.Any, x: _typing.Any) -> _typing.Any:
    return xp.maximum(1 - x, 0)


def _cubic(a: float) -> _typing.Callable:
    """Keys, Cubic convolution interpolation for digital image processing (1981), with the free parameter `a`."""

    def kernel(xp, x):
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return xp.where(x < 1, near, xp.where(x < 2, far, 0))

    return kernel


def _lanczos(radius: int) -> _typing.Callable:
    def kernel(xp, x):
        return xp.where(x < radius, xp.sinc(x) * xp.sinc(x / radius), 0)

    return kernel


_KERNELS = {
    ResizeMethod.LINEAR: _triangle,
    ResizeMethod.CUBIC: _cubic(-0.5),
    ResizeMethod.CUBIC_PYTORCH: _cubic(-0.5),
    ResizeMethod.LANCZOS3: _lanczos(3),
    ResizeMethod.LANCZOS5: _lanczos(5),
}


def _weights(
    xp: _typing.Any,
    method: ResizeMethod,
    n: int,
    count: int,
    scale: _typing.Any,
    translation: _typing.Any,
    antialias: bool,
    dtype: _np.dtype,
) -> _typing.Any:
    """The weights (n, count) of the elements of an axis in those of the result.

    The place u of the old axis is `scale * u + translation` on the new one.
    """
    elements = _np.arange(n, dtype=dtype)[:, None]
    stretch = 1 / scale
    if method is ResizeMethod.AREA:
        edges = (_np.arange(count + 1, dtype=dtype) - translation) * stretch
        low, high = edges[:-1], edges[1:]
        weights = xp.maximum(xp.minimum(elements + 1, high) - xp.maximum(elements, low), 0)
        middles = (low + high) / 2 - 0.5
    else:
        middles = (_np.arange(count, dtype=dtype) + 0.5 - translation) * stretch - 0.5
        if method is ResizeMethod.CUBIC_PYTORCH and not antialias:
            return _with_edges(xp, elements, middles, n)
        # antialiasing: where the image shrinks, all the elements that fall on one of the result count
        width = xp.maximum(stretch, 1) if antialias else 1
        weights = _KERNELS[method](xp, xp.abs(middles - elements) / width)
    total = weights.sum(0)
    inside = (middles >= -0.5) & (middles <= n - 0.5) & (xp.abs(total) > 1000 * float(_dtypes.finfo(dtype).eps))
    # what lies outside is zero; the weights of the others sum to 1, also at the edges
    return xp.where(inside, weights / xp.where(inside, total, 1), 0)


def _with_edges(xp: _typing.Any, elements: _typing.Any, middles: _typing.Any, n: int) -> _typing.Any:
    """Cubic weights, those of elements beyond the edges added to the edges'."""
    first = xp.floor(middles)
    weights: _typing.Any = 0
    for k in (-1, 0, 1, 2):
        place = first + k
        # the image is continued by two elements on both sides
        weight = xp.where((place >= -2) & (place <= n + 1), _cubic(-0.75)(xp, xp.abs(middles - place)), 0)
        weights = weights + xp.where(elements == xp.clip(place, 0, n - 1), weight, 0)
    total = weights.sum(0)
    inside = xp.abs(total) > 1000 * float(_dtypes.finfo(middles.dtype).eps)
    return xp.where(inside, weights / xp.where(inside, total, 1), 0)


# --- functions ---


def _method_of(name: str, method: _AnyValue) -> ResizeMethod:
    if isinstance(method, ResizeMethod):
        return method
    try:
        return ResizeMethod.from_string(method)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _target(name: str, x: _Array, shape: _Sequence[int]) -> tuple[int, ...]:
    target = _shape_of(name, shape)
    if len(target) != x.ndim:
        raise ValueError(f"{name}: shape must have a length for each of the {x.ndim} axes of the image, got {target}")
    return target


def _resampled(
    x: _Array, axes: _Sequence[int], weights: _Sequence[_typing.Any], wide: _np.dtype, precision: _PrecisionLike
) -> _Array:
    """The image with the weights applied along each axis, first where it shrinks most."""
    dtype = _dtypes.to_inexact(x.dtype, x.weak_type)[0]
    x = _convert(x, _dtypes.promote((dtype, False), (wide, False))[0])
    order = sorted(range(len(axes)), key=lambda i: weights[i].shape[1] / max(weights[i].shape[0], 1))
    for i in order:
        axis = axes[i]
        matrix = _convert(_pnp.asarray(weights[i]), x.dtype)
        x = _move_axis(_dot_general(x, matrix, (((axis,), (0,)), ((), ())), precision), x.ndim - 1, axis)
    return _convert(x, dtype)


@_boundary
def resize(
    image: _ArrayLike,
    shape: _Sequence[int],
    method: str | ResizeMethod,
    antialias: bool = True,
    precision: _PrecisionLike = _Precision.HIGHEST,
) -> _Array:
    """An image in another shape; axes whose length stays are left alone.

    Args:
      image: an array of any number of axes, any dtype.
      shape: the new length of each axis.
      method: a `ResizeMethod`, or a name of one.
      antialias: whether all the elements that an element of a smaller result stands for take part in it.
      precision: that of products, see `lax.dot_general`.

    Returns: the image, in floating point, but for "nearest".

    Raises: ValueError for an unknown method and another number of axes.

    >>> from pullback import image
    >>> import pullback.numpy as pnp
    >>> print(image.resize(pnp.array([0., 1., 2., 3.]), (2,), "linear"))
    [0.71428573 2.2857141 ]
    """
    x = _as_operand(image, "resize", "image")
    target = _target("resize", x, shape)
    how = _method_of("resize", method)
    axes = [i for i, (n, m) in enumerate(zip(x.shape, target, strict=True)) if n != m]
    empty = [i for i in axes if x.shape[i] == 0 and target[i]]
    if empty:
        raise ValueError(f"resize: an image of shape {x.shape} without elements cannot get the shape {target}")
    if how is ResizeMethod.NEAREST:
        for i in axes:
            places = _np.floor((_np.arange(target[i]) + 0.5) * (x.shape[i] / max(target[i], 1)))
            x = _chosen(x, _np.minimum(places, x.shape[i] - 1).astype(_np.int32), i)
        return x
    double = _np.dtype(_np.float64)
    weights = [
        _weights(_np, how, n, m, m / n, 0.0, antialias, double) if m else _np.zeros((n, 0))
        for n, m in ((x.shape[i], target[i]) for i in axes)
    ]
    return _resampled(x, axes, weights, _accumulator(_dtypes.to_inexact(x.dtype, x.weak_type)[0]), precision)


@_boundary
def scale_and_translate(
    image: _ArrayLike,
    shape: _Sequence[int],
    spatial_dims: _Sequence[int],
    scale: _ArrayLike,
    translation: _ArrayLike,
    method: str | ResizeMethod,
    antialias: bool = True,
    precision: _PrecisionLike = _Precision.HIGHEST,
) -> _Array:
    """An image of which place u along an axis moves to `scale * u + translation`; 0 where no part of it arrives.

    (CUBIC_PYTORCH without antialiasing first continues the edges by two elements.)

    Args:
      image: an array of any number of axes, any dtype.
      shape: the length of each axis of the result.
      spatial_dims: the axes that are scaled.
      scale, translation: vectors with a real number for each of those axes; both are differentiable.
      method: a `ResizeMethod` other than NEAREST, or a name of one.
      antialias: whether all the elements that an element of a smaller result stands for take part in it.
      precision: that of products, see `lax.dot_general`.

    Raises: ValueError for an unknown method, for other shapes, and for an axis of another length that is not scaled.

    >>> from pullback import image
    >>> import pullback.numpy as pnp
    >>> x = pnp.array([0., 1., 2., 3.])
    >>> print(image.scale_and_translate(x, (4,), (0,), pnp.array([1.]), pnp.array([0.5]), "linear"))
    [0.  0.5 1.5 2.5]
    """
    name = "scale_and_translate"
    x = _as_operand(image, name, "image")
    target = _target(name, x, shape)
    axes = list(_canonical_axes(name, spatial_dims, x.ndim))
    how = _method_of(name, method)
    if how is ResizeMethod.NEAREST:
        raise ValueError(f"{name}: the nearest element is found by resize; here the method must be another")
    for i in range(x.ndim):
        if i not in axes and target[i] != x.shape[i]:
            raise ValueError(
                f"{name}: the axis {i} is not among spatial_dims {tuple(axes)}, so its length must stay {x.shape[i]}, "
                f"got {target[i]}"
            )
    dtype = _dtypes.to_inexact(x.dtype, x.weak_type)[0]
    wide = _dtypes.to_inexact(_np.real(_np.zeros(0, _accumulator(dtype))).dtype, False)[0]
    numbers = []
    for what, given in (("scale", scale), ("translation", translation)):
        v = _as_operand(given, name, what)
        if v.shape != (len(axes),):
            raise ValueError(f"{name}: {what} must have a number for each of {len(axes)} axes, got shape {v.shape}")
        numbers.append(_convert(v, wide))
    weights = [
        _weights(_pnp, how, x.shape[i], target[i], numbers[0][k], numbers[1][k], antialias, wide)
        for k, i in enumerate(axes)
    ]
    return _resampled(x, axes, weights, wide, precision)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
