"""Discrete Fourier transforms, as in `numpy.fft`: of complex numbers, of reals, of spectra with a symmetry.

All compute in float32 and complex64, or in float64 and complex128 if the input has that precision; integers, bools
and narrower floats are converted. They are linear, differentiable to any order, and take any number of axes.

Lengths (`n`, `s`): along each axis the input is cut to that many elements or padded with zeros. `norm` determines where
the division by the number N of transformed elements takes place: "backward" (or None) divides the inverse by N,
"forward" the forward transform, and "ortho" both by the root of N, which makes them unitary.
"""

from __future__ import annotations

import math
import typing as _typing
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import Axis, Device, DTypeLike
from pullback._ops.assemble import iota
from pullback._ops.compare import ge, select
from pullback._ops.elementwise import div, mul, sub
from pullback._ops.families import scalar_like
from pullback._ops.fft import FftType, as_transformable, fft_p, half
from pullback._ops.shape import canonical_axes, convert_element_type
from pullback._ops.shape import transpose as transposed
from pullback._ops.slicing import pad
from pullback._ops.trig import conj
from pullback.numpy._creation.creation import on_device
from pullback.numpy._elementwise.promotion import as_operand, integer
from pullback.numpy._reductions.reductions import one_axis
from pullback.numpy._shape.manipulation import roll

__all__ = [
    "fft",
    "ifft",
    "fft2",
    "ifft2",
    "fftn",
    "ifftn",
    "rfft",
    "irfft",
    "rfft2",
    "irfft2",
    "rfftn",
    "irfftn",
    "hfft",
    "ihfft",
    "fftfreq",
    "rfftfreq",
    "fftshift",
    "ifftshift",
]

_FORWARD = (FftType.FFT, FftType.RFFT)
_SWAPPED = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}

# --- shared by the transforms ---


def check_norm(name: str, norm: str | None, known: Sequence[Any] = tuple(_SWAPPED)) -> None:
    """Refuse an unknown normalization."""
    if not (norm is None or isinstance(norm, str)) or norm not in known:
        raise ValueError(f"{name}: norm must be one of {', '.join(map(repr, known))}, got {norm!r}")


def axes_and_lengths(
    name: str, shape: tuple[int, ...], s: Sequence[int] | None, axes: Sequence[int] | None
) -> tuple[tuple[int, ...], list[int] | None]:
    """The axes to transform, in [0, rank), and the lengths the user asks for there (None: those of the array)."""
    rank = len(shape)
    if s is None:
        return tuple(range(rank)) if axes is None else canonical_axes(name, axes, rank), None
    if not isinstance(s, (tuple, list)):
        raise TypeError(f"{name}: s must be a sequence of ints, one for each axis to transform, got {s!r}")
    lengths = [length(name, f"s[{i}]", n) for i, n in enumerate(s)]
    if axes is None and len(lengths) > rank:
        raise ValueError(f"{name}: s has {len(lengths)} lengths, got an array of {rank} axes")
    axes = tuple(range(rank - len(lengths), rank)) if axes is None else canonical_axes(name, axes, rank)
    if len(axes) != len(lengths):
        raise ValueError(f"{name}: s must have a length for each of the axes {axes}, got {tuple(s)}")
    return axes, lengths


def length(name: str, argument: str, n: int | None) -> int:
    """A length along an axis that the user asks for."""
    n = integer(name, argument, n)
    if n < 1:
        raise ValueError(f"{name}: {argument} must be at least 1, got {n}")
    return n


def resized(x: Array, axes: Sequence[int], lengths: Sequence[int]) -> Array:
    """`x` cut to the lengths along the axes, or filled up with zeros."""
    config = [(0, 0, 0)] * x.aval.ndim
    for axis, n in zip(axes, lengths, strict=True):
        config[axis] = (0, n - x.aval.shape[axis], 0)
    return pad(x, scalar_like(0, x.aval.dtype), config)


def _operand(name: str, a: ArrayLike, kind: FftType) -> Array:
    x = as_operand(a, name, 0)
    if kind is FftType.RFFT and dtypes.is_complex(x.aval.dtype):
        raise TypeError(f"{name}: expected real numbers, got {x.aval.str_short()}. Use fft, or take .real of it.")
    return as_transformable(x, kind is not FftType.RFFT)


def _transform(
    name: str, kind: FftType, x: Array, axes: tuple[int, ...], lengths: list[int] | None, norm: str | None
) -> Array:
    check_norm(name, norm)
    if not axes:
        if kind in (FftType.RFFT, FftType.IRFFT):
            raise ValueError(f"{name}: expected at least one axis to transform, got none of shape {x.aval.shape}")
        return x
    if lengths is None:
        lengths = [x.aval.shape[i] for i in axes]
        if kind is FftType.IRFFT:
            lengths[-1] = max(2 * (lengths[-1] - 1), 0)
    taken = [*lengths[:-1], half(lengths[-1])] if kind is FftType.IRFFT else lengths
    x = resized(x, axes, taken)
    rank = x.aval.ndim
    order = (*(i for i in range(rank) if i not in axes), *axes)
    y = fft_p.bind(transposed(x, order), fft_type=kind, fft_lengths=tuple(lengths))
    y = transposed(y, sorted(range(rank), key=order.__getitem__))
    return _normalized(y, kind in _FORWARD, math.prod(lengths), norm)


def _normalized(y: Array, forward: bool, size: int, norm: str | None) -> Array:
    """The result of the primitive, which divides the inverse by the size, with the division that `norm` requires."""
    if norm in (None, "backward") or size == 0:
        return y
    root = size if norm == "forward" else math.sqrt(size)
    return mul(y, scalar_like(1 / root if forward else root, y.aval.dtype))


def _along_one(name: str, kind: FftType, a: ArrayLike, n: int | None, axis: Axis, norm: str | None) -> Array:
    x = _operand(name, a, kind)
    axes = (one_axis(name, axis, x.aval.ndim),)
    return _transform(name, kind, x, axes, None if n is None else [length(name, "n", n)], norm)


def _along_two(
    name: str, kind: FftType, a: ArrayLike, s: Sequence[int] | None, axes: Sequence[int] | None, norm: str | None
) -> Array:
    if not isinstance(axes, (tuple, list)) or len(axes) != 2:
        raise ValueError(
            f"{name}: axes must be two ints, got {axes!r}. For other numbers of axes there is {name[:-1]}n."
        )
    return _along_many(name, kind, a, s, axes, norm)


def _along_many(
    name: str, kind: FftType, a: ArrayLike, s: Sequence[int] | None, axes: Sequence[int] | None, norm: str | None
) -> Array:
    x = _operand(name, a, kind)
    return _transform(name, kind, x, *axes_and_lengths(name, x.aval.shape, s, axes), norm)


# --- complex numbers ---


@boundary
def fft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The transform of `a` along an axis: element k is the sum over j of a[j] exp(-2 pi i j k / n). Complex.

    `a`: any dtype, at least one axis. With `n`, it is cut to `n` elements or filled up with zeros. For `norm`, None,
    "backward", "ortho" or "forward", see `pullback.numpy.fft`. ValueError for an axis out of bounds, for n < 1 and for
    another norm, TypeError for anything but an array.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.fft(pnp.array([1., 2., 3., 4.])))
    [10.+0.j -2.+2.j -2.+0.j -2.-2.j]
    """
    return _along_one("fft", FftType.FFT, a, n, axis, norm)


@boundary
def ifft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The inverse of `fft`: element j is the sum over k of a[k] exp(2 pi i j k / n), divided by n. Complex.

    Arguments and errors are those of `fft`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.ifft(pnp.array([10, -2+2j, -2, -2-2j])))
    [1.+0.j 2.+0.j 3.+0.j 4.+0.j]
    """
    return _along_one("ifft", FftType.IFFT, a, n, axis, norm)


@boundary
def fft2(
    a: ArrayLike, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None
) -> Array:
    """The transform of `a` along two axes, see `fftn`. Its errors are those of `fftn`, and ValueError for other `axes`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.fft2(pnp.array([[1., 2.], [3., 4.]])))
    [[10.+0.j -2.+0.j]
     [-4.+0.j  0.+0.j]]
    """
    return _along_two("fft2", FftType.FFT, a, s, axes, norm)


@boundary
def ifft2(
    a: ArrayLike, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None
) -> Array:
    """The inverse of `fft2`, along two axes. Its errors are those of `fftn`, and ValueError for other `axes`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.ifft2(pnp.array([[10., -2.], [-4., 0.]])))
    [[1.+0.j 2.+0.j]
     [3.+0.j 4.+0.j]]
    """
    return _along_two("ifft2", FftType.IFFT, a, s, axes, norm)


@boundary
def fftn(
    a: ArrayLike, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None
) -> Array:
    """The transform of `a` along several axes, one after the other; all of them unless `axes` names some. Complex.

    `s` are the lengths along these axes, to which `a` is cut or filled up with zeros; without `axes` they are those of
    the last ones. For `norm` see `pullback.numpy.fft`. ValueError for axes out of bounds or named twice, for lengths
    below 1 or not as many as axes, and for another norm; TypeError for anything but an array.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.fftn(pnp.array([[1., 2.], [3., 4.]]), axes=(0,)))
    [[ 4.+0.j  6.+0.j]
     [-2.+0.j -2.+0.j]]
    """
    return _along_many("fftn", FftType.FFT, a, s, axes, norm)


@boundary
def ifftn(
    a: ArrayLike, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None
) -> Array:
    """The inverse of `fftn`, complex. Arguments and errors are those of `fftn`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.ifftn(pnp.array([[4., 6.], [-2., -2.]]), axes=(0,)))
    [[1.+0.j 2.+0.j]
     [3.+0.j 4.+0.j]]
    """
    return _along_many("ifftn", FftType.IFFT, a, s, axes, norm)


# --- reals ---


@boundary
def rfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The first `n // 2 + 1` elements of `fft` of real numbers; the others are the conjugates of these. Complex.

    Arguments and errors are those of `fft`; TypeError for complex numbers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.rfft(pnp.array([1., 2., 3., 4.])))
    [10.+0.j -2.+2.j -2.+0.j]
    """
    return _along_one("rfft", FftType.RFFT, a, n, axis, norm)


@boundary
def irfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The inverse of `rfft`: `n` real numbers, by default `2 * (m - 1)` where `a` has m elements.

    `n // 2 + 1` elements are read. What symmetry rules out, an imaginary part of the first (and of the last, for even
    n), counts for nothing. Arguments and errors are those of `fft`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.irfft(pnp.array([10, -2+2j, -2])))
    [1. 2. 3. 4.]
    """
    return _along_one("irfft", FftType.IRFFT, a, n, axis, norm)


@boundary
def rfft2(
    a: ArrayLike, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None
) -> Array:
    """The transform of real numbers along two axes, see `rfftn`. Its errors are those of `rfftn`, and ValueError for
    other `axes`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.rfft2(pnp.array([[1., 2., 3.], [4., 5., 6.]])).shape)
    (2, 2)
    """
    return _along_two("rfft2", FftType.RFFT, a, s, axes, norm)


@boundary
def irfft2(
    a: ArrayLike, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None
) -> Array:
    """The inverse of `rfft2`, real. Its errors are those of `irfftn`, and ValueError for other `axes`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.irfft2(pnp.array([[10., -2.], [-4., 0.]])))
    [[1. 2.]
     [3. 4.]]
    """
    return _along_two("irfft2", FftType.IRFFT, a, s, axes, norm)


@boundary
def rfftn(
    a: ArrayLike, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None
) -> Array:
    """`rfft` along the last of the axes, then `fft` along the others. Complex.

    Arguments and errors are those of `fftn`; TypeError for complex numbers, ValueError for no axes at all.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.rfftn(pnp.array([[1., 2.], [3., 4.]])))
    [[10.+0.j -2.+0.j]
     [-4.+0.j  0.+0.j]]
    """
    return _along_many("rfftn", FftType.RFFT, a, s, axes, norm)


@boundary
def irfftn(
    a: ArrayLike, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None
) -> Array:
    """The inverse of `rfftn`: `ifft` along all axes but the last, then `irfft` along this one. Real.

    Along the last axis the result has, unless `s` says otherwise, `2 * (m - 1)` elements if `a` has m. Arguments and
    errors are those of `fftn`; ValueError for no axes at all.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.irfftn(pnp.array([[10., -2.], [-4., 0.]]), s=(2, 3)).shape)
    (2, 3)
    """
    return _along_many("irfftn", FftType.IRFFT, a, s, axes, norm)


# --- spectra that are real ---


@boundary
def hfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The real transform of a signal of which half is given, the other half being the conjugates: `n` real numbers.

    By default n is `2 * (m - 1)` where `a` has m elements. Arguments and errors are those of `fft`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.hfft(pnp.array([2.5, -0.5-0.5j, -0.5])))
    [1. 2. 3. 4.]
    """
    check_norm("hfft", norm)
    x = _operand("hfft", a, FftType.IRFFT)
    return _along_one("hfft", FftType.IRFFT, conj(x), n, axis, _SWAPPED[norm])


@boundary
def ihfft(a: ArrayLike, n: int | None = None, axis: int = -1, norm: str | None = None) -> Array:
    """The inverse of `hfft`: the first `n // 2 + 1` elements of a signal whose transform is real. Complex.

    Arguments and errors are those of `fft`; TypeError for complex numbers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.ihfft(pnp.array([1., 2., 3., 4.])))
    [ 2.5-0.j  -0.5-0.5j -0.5-0.j ]
    """
    check_norm("ihfft", norm)
    return conj(_along_one("ihfft", FftType.RFFT, a, n, axis, _SWAPPED[norm]))


# --- frequencies, and their order ---


@boundary
def fftfreq(n: int, d: ArrayLike = 1.0, *, dtype: DTypeLike | None = None, device: Device = None) -> Array:
    """The frequencies that belong to the elements of `fft` of `n` samples taken `d` apart: 0, positive, negative ones.

    Of the default float dtype unless `dtype` is another float or complex one; `d` is a real scalar, perhaps traced.
    ValueError for n < 0, TypeError for an n that is not an integer, for another `d` and for a dtype of integers.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.fftfreq(4, 0.5))
    [ 0.   0.5 -1.  -0.5]
    """
    n = _count("fftfreq", n)
    k = iota(np.dtype(np.int32), n)
    wrapped = select(ge(k, np.int32((n + 1) // 2)), sub(k, np.int32(n)), k)
    return _frequencies("fftfreq", wrapped, n, d, dtype, device)


@boundary
def rfftfreq(n: int, d: ArrayLike = 1.0, *, dtype: DTypeLike | None = None, device: Device = None) -> Array:
    """The frequencies that belong to the `n // 2 + 1` elements of `rfft` of `n` samples taken `d` apart, from 0 on.

    Arguments and errors are those of `fftfreq`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.rfftfreq(4, 0.5))
    [0.  0.5 1. ]
    """
    n = _count("rfftfreq", n)
    return _frequencies("rfftfreq", iota(np.dtype(np.int32), n // 2 + 1), n, d, dtype, device)


def _count(name: str, n: ArrayLike) -> int:
    n = integer(name, "n", n)
    if n < 0:
        raise ValueError(f"{name}: n must be at least 0, got {n}")
    return n


def _frequencies(name: str, k: Array, n: int, d: ArrayLike, dtype: DTypeLike | None, device: Device) -> Array:
    dtype = dtypes.requested_dtype(dtype, float)
    if not dtypes.is_inexact(dtype):
        raise TypeError(f"{name}: dtype must be a floating-point or complex one, got {dtype}")
    aval = as_operand(d, name, "d").aval
    if aval.ndim or dtypes.is_complex(aval.dtype):
        raise TypeError(f"{name}: d must be a real scalar, got {aval.str_short()}")
    return on_device(name, div(convert_element_type(k, dtype), convert_element_type(n * d, dtype)), device)


@boundary
def fftshift(x: ArrayLike, axes: Axis = None) -> Array:
    """`x` with the frequency 0 brought from the beginning to the middle, along the axes (all, by default).

    Any dtype, which it keeps. ValueError for an axis out of bounds, TypeError for anything but an array.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.fftshift(pnp.fft.fftfreq(4, 0.25)))
    [-2. -1.  0.  1.]
    """
    return _shifted("fftshift", x, axes, 1)


@boundary
def ifftshift(x: ArrayLike, axes: Axis = None) -> Array:
    """The inverse of `fftshift`: the middle brought to the beginning. Arguments and errors are those of `fftshift`.

    >>> import pullback.numpy as pnp
    >>> print(pnp.fft.ifftshift(pnp.arange(5)))
    [2 3 4 0 1]
    """
    return _shifted("ifftshift", x, axes, -1)


def _shifted(name: str, x: ArrayLike, axes: Axis, sign: int) -> Array:
    x = as_operand(x, name, 0)
    rank = x.aval.ndim
    given = range(rank) if axes is None else axes if isinstance(axes, (tuple, list)) else (axes,)
    where = [one_axis(name, i, rank) for i in given]
    return roll(x, [sign * (x.aval.shape[i] // 2) for i in where], where)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
