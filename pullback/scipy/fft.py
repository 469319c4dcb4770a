"""Discrete cosine transforms, as in `scipy.fft`: type 2 and its inverse, along one axis or several.

They compute in float32, or in float64 if the input has that precision, complex numbers part by part; integers, bools
and narrower floats are converted. They are linear and differentiable to any order.
"""

from __future__ import annotations

import math
import typing as _typing
from collections.abc import Callable, Sequence

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import Axis
from pullback._ops.assemble import concatenate, iota
from pullback._ops.elementwise import add, mul, neg, scalar
from pullback._ops.fft import as_transformable, half
from pullback._ops.shape import full, move_axis
from pullback._ops.slicing import pad, rev, slice_in_dim
from pullback._ops.trig import complex as from_parts
from pullback._ops.trig import cos, imag, real, sin
from pullback.numpy._elementwise.promotion import as_operand
from pullback.numpy._reductions.reductions import one_axis
from pullback.numpy.fft import axes_and_lengths, check_norm, irfft, length, resized, rfft

__all__ = ["dct", "idct", "dctn", "idctn"]

# J. Makhoul, A fast cosine transform in one and two dimensions (1980): with the elements at even indices first and
# those at odd indices after them in reverse, the transform is a Fourier transform, rotated by a quarter of a step per
# element


def _dct(x: Array, norm: str | None) -> Array:
    """Along the last axis, of reals."""
    n, last = x.aval.shape[-1], x.aval.ndim - 1
    even, odd = slice_in_dim(x, 0, n, 2, last), slice_in_dim(x, 1, n, 2, last)
    turned = mul(rfft(concatenate([even, rev(odd, (last,))], last)), _turn(n, -1, x))
    # the rest of the rotated transform follows from the imaginary parts
    rest = rev(slice_in_dim(imag(turned), 1, n - half(n) + 1, 1, last), (last,))
    return mul(concatenate([real(turned), neg(rest)], last), _sizes(n, norm, x, inverse=False))


def _idct(y: Array, norm: str | None) -> Array:
    """The inverse of `_dct`."""
    n, last = y.aval.shape[-1], y.aval.ndim - 1
    y = mul(y, _sizes(n, norm, y, inverse=True))
    kept = half(n)
    mirrored = _padded(rev(slice_in_dim(y, n - kept + 1, n, 1, last), (last,)), 1, 0)
    v = irfft(mul(from_parts(slice_in_dim(y, 0, kept, 1, last), neg(mirrored)), _turn(n, 1, y)), n)
    middle = (n + 1) // 2
    even, odd = slice_in_dim(v, 0, middle, 1, last), rev(slice_in_dim(v, middle, n, 1, last), (last,))
    return add(_padded(even, 0, (n + 1) % 2, 1), _padded(odd, 1, n % 2, 1)) if n > 1 else even


def _padded(x: Array, low: int, high: int, interior: int = 0) -> Array:
    config = [(0, 0, 0)] * (x.aval.ndim - 1) + [(low, high, interior)]
    return pad(x, scalar(x, 0), config)


def _turn(n: int, sign: int, like: Array) -> Array:
    """exp(sign i pi k / 2n) for the elements k of half of a transform."""
    angle = mul(iota(like.aval.dtype, half(n)), scalar(like, math.pi / (2 * n)))
    return from_parts(cos(angle), mul(sin(angle), scalar(like, sign)))


def _sizes(n: int, norm: str | None, like: Array, inverse: bool) -> Array:
    """The factors of the elements."""
    first, others = (math.sqrt(1 / n), math.sqrt(2 / n)) if norm == "ortho" else (2.0, 2.0)
    if inverse:
        first, others = 1 / first, 1 / others
    return pad(full((n - 1,), others, like.aval.dtype), scalar(like, first), [(1, 0, 0)])


# --- along the axes a user names ---


def _operand(name: str, x: ArrayLike, type: int, norm: str | None) -> Array:
    if type != 2:
        raise NotImplementedError(f"{name}: only type 2 is available, got type={type!r}")
    check_norm(name, norm, (None, "backward", "ortho"))
    x = as_operand(x, name, 0)
    return as_transformable(x, dtypes.is_complex(x.aval.dtype))


def _over(
    name: str, transform: Callable, x: Array, axes: Sequence[int], lengths: Sequence[int] | None, norm: str | None
) -> Array:
    if lengths is not None:
        x = resized(x, axes, lengths)
    for axis in axes:
        if x.aval.shape[axis] == 0:
            raise ValueError(f"{name}: axis {axis} of shape {x.aval.shape} has no elements, expected at least 1")
    if dtypes.is_complex(x.aval.dtype):
        return from_parts(*(_over(name, transform, part, axes, None, norm) for part in (real(x), imag(x))))
    last = x.aval.ndim - 1
    for axis in axes:
        x = move_axis(transform(move_axis(x, axis, last), norm), last, axis)
    return x


def _along_one(
    name: str, transform: Callable, x: ArrayLike, type: int, n: int | None, axis: Axis, norm: str | None
) -> Array:
    x = _operand(name, x, type, norm)
    axes = (one_axis(name, axis, x.aval.ndim),)
    return _over(name, transform, x, axes, None if n is None else [length(name, "n", n)], norm)


def _along_many(
    name: str,
    transform: Callable,
    x: ArrayLike,
    type: int,
    s: Sequence[int] | None,
    axes: Sequence[int] | None,
    norm: str | None,
) -> Array:
    x = _operand(name, x, type, norm)
    return _over(name, transform, x, *axes_and_lengths(name, x.aval.shape, s, axes), norm)


@boundary
def dct(x: ArrayLike, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The cosine transform of `x` along an axis: element k is twice the sum over j of x[j] cos(pi k (2 j + 1) / 2n).

    `x`: any dtype, at least one axis; with `n`, it is cut to `n` elements or filled up with zeros. `norm`
    "ortho" divides element 0 by 2 sqrt(n), the others by sqrt(2n), which makes the transform orthogonal; None and
    "backward" leave it unchanged. ValueError for an axis out of bounds or without elements, for n < 1 and for another
    norm, TypeError for anything but an array, NotImplementedError for a `type` other than 2.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy import fft
    >>> print(fft.dct(pnp.array([1., 2., 3., 2.])).round(4))
    [16.     -2.6131 -2.8284  1.0824]
    """
    return _along_one("dct", _dct, x, type, n, axis, norm)


@boundary
def idct(x: ArrayLike, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The inverse of `dct`. Arguments and errors are those of `dct`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy import fft
    >>> print(fft.idct(fft.dct(pnp.array([1., 2., 3., 2.]))).round(4))
    [1. 2. 3. 2.]
    """
    return _along_one("idct", _idct, x, type, n, axis, norm)


@boundary
def dctn(
    x: ArrayLike,
    type: int = 2,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """`dct` along several axes, one after the other; all of them unless `axes` names some.

    `s` are the lengths along these axes, to which `x` is cut or filled up with zeros; without `axes` they are those of
    the last ones. Errors are those of `dct`, and ValueError for axes named twice and lengths not as many as axes.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy import fft
    >>> print(fft.dctn(pnp.array([[1., 2.], [3., 4.]]), norm="ortho").round(4))
    [[ 5. -1.]
     [-2.  0.]]
    """
    return _along_many("dctn", _dct, x, type, s, axes, norm)


@boundary
def idctn(
    x: ArrayLike,
    type: int = 2,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str | None = None,
) -> Array:
    """The inverse of `dctn`. Arguments and errors are those of `dctn`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy import fft
    >>> print(fft.idctn(pnp.array([[5., -1.], [-2., 0.]]), norm="ortho").round(4))
    [[1. 2.]
     [3. 4.]]
    """
    return _along_many("idctn", _idct, x, type, s, axes, norm)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
