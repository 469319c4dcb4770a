"""Spectra of signals: Fourier transforms of windowed segments, and back."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary as _boundary
from pullback._core.errors import described
from pullback.numpy._elementwise.promotion import INEXACT, as_operand, cast, common_dtype, promote_operands
from pullback.scipy.signal._trends import detrend as _detrend

__all__ = ["csd", "istft", "stft", "welch"]

_AROUND = {"even": "reflect", "constant": "edge", "zeros": "constant"}
_BOUNDARIES = ("even", "odd", "constant", "zeros", None)


class _Segments(NamedTuple):
    """How a signal is cut: the length of a segment, of its Fourier transform, and from one to the next; the window."""

    length: int
    transform: int
    step: int
    window: Array


def _whole(function: str, name: str, n: Any) -> int:
    try:
        return operator.index(n)
    except TypeError:
        raise TypeError(f"{function}: {name} must be an integer, got {described(n)}") from None


def _window(function: str, window: Any, length: int, dtype: np.dtype) -> Array:
    """The weights of a segment: named ones, as SciPy computes them, or those given."""
    if isinstance(window, (str, tuple)):
        from scipy.signal import get_window

        return pnp.asarray(get_window(window, length), dtype)
    weights = pnp.asarray(window, dtype)
    if weights.shape != (length,):
        raise ValueError(f"{function}: window must be a vector of length {length}, got shape {weights.shape}")
    return weights


def _segments(
    function: str, window: Any, nperseg: Any, noverlap: Any, nfft: Any, size: int, dtype: np.dtype
) -> _Segments:
    named = isinstance(window, (str, tuple))
    if nperseg is None:
        length = size if named else pnp.size(window)
    else:
        length = _whole(function, "nperseg", nperseg)
        if length < 1:
            raise ValueError(f"{function}: nperseg must be at least 1, got {length}")
    if length > size:
        if not named:
            raise ValueError(f"{function}: window is longer than the signal, {length} against {size}")
        warnings.warn(
            f"{function}: nperseg={length} is more than the signal's length {size}, which is used", stacklevel=4
        )
        length = size
    overlap = length // 2 if noverlap is None else _whole(function, "noverlap", noverlap)
    if overlap >= length:
        raise ValueError(f"{function}: noverlap must be less than nperseg, {length}, got {overlap}")
    transform = length if nfft is None else _whole(function, "nfft", nfft)
    if transform < length:
        raise ValueError(f"{function}: nfft must be at least nperseg, {length}, got {transform}")
    return _Segments(length, transform, length - overlap, _window(function, window, length, dtype))


def _trend(function: str, detrend: Any, axis: int, ndim: int) -> Callable[[Array], Array]:
    """The function that takes the trend out of the last axis."""
    if isinstance(detrend, str):
        return lambda x: _detrend(x, -1, detrend)
    if callable(detrend):
        if axis == ndim - 1:
            return detrend
        return lambda x: pnp.moveaxis(detrend(pnp.moveaxis(x, -1, axis)), axis, -1)
    if not detrend:
        return lambda x: x
    raise ValueError(f"{function}: detrend must be 'constant', 'linear', a function or False, got {described(detrend)}")


def _extended(function: str, x: Array, how: str | None, n: int) -> Array:
    """The last axis with n more entries on each side."""
    if how is None or n == 0:
        return x
    if how in ("even", "odd") and n >= x.shape[-1]:
        raise ValueError(f"{function}: with boundary={how!r} half of nperseg must be below the signal's length")
    if how == "odd":
        before, after = x[..., n:0:-1], x[..., -2 : -(n + 2) : -1]
        return pnp.concatenate([2 * x[..., :1] - before, x, 2 * x[..., -1:] - after], -1)
    return pnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(n, n)], _AROUND[how])


def _transforms(x: Array, cut: _Segments, trend: Callable[[Array], Array], onesided: bool) -> Array:
    """The Fourier transforms of the segments of the last axis: (..., segments, frequencies)."""
    starts = np.arange(0, x.shape[-1] - cut.length + 1, cut.step)
    pieces = trend(x[..., starts[:, None] + np.arange(cut.length)]) * cut.window
    return pnp.fft.rfft(pieces, cut.transform) if onesided else pnp.fft.fft(pieces, cut.transform)


def _spectra(
    function: str,
    x: ArrayLike,
    y: ArrayLike | None,
    fs: ArrayLike,
    window: Any,
    nperseg: Any,
    noverlap: Any,
    nfft: Any,
    detrend: Any,
    return_onesided: bool,
    scaling: str,
    axis: int,
    *,
    boundary: str | None = None,
    padded: bool = False,
    powers: bool = True,
) -> tuple[Array, Array, Array]:
    """Frequencies, times and spectra, the frequencies at `axis` and the segments last."""
    if scaling not in ("density", "spectrum"):
        raise ValueError(f"{function}: scaling must be 'density' or 'spectrum', got {scaling!r}")
    if boundary not in _BOUNDARIES:
        raise ValueError(f"{function}: boundary must be one of {', '.join(map(repr, _BOUNDARIES))}, got {boundary!r}")
    operands = [as_operand(x, function, "x")] + ([] if y is None else [as_operand(y, function, "y")])
    dtype, weak = common_dtype(function, INEXACT, [v.aval for v in operands])
    # half precision has no Fourier transform
    dtype = np.dtype(np.float32) if dtype.itemsize == 2 else dtype
    signals = [cast(v, dtype, weak) for v in operands]
    ndim = signals[0].ndim
    if signals[-1].ndim != ndim:
        raise ValueError(
            f"{function}: x and y must have the same number of dimensions, got shapes {signals[0].shape} and "
            f"{signals[1].shape}"
        )
    if not -ndim <= axis < ndim:
        raise ValueError(f"{function}: axis {axis} is out of bounds for an array of {ndim} dimensions")
    axis %= ndim
    real = pnp.finfo(dtype).dtype
    if any(v.size == 0 for v in signals):
        others = [v.shape[:axis] + v.shape[axis + 1 :] for v in signals]
        outer = pnp.broadcast_shapes(*others)
        shape = (*outer[:axis], min(v.shape[axis] for v in signals), *outer[axis:])
        return (
            pnp.zeros(shape, real),
            pnp.zeros(shape, real),
            pnp.zeros(shape, dtypes.promote_types(real, np.complex64)),
        )
    cut = _segments(function, window, nperseg, noverlap, nfft, signals[0].shape[axis], dtype)
    signals = [pnp.moveaxis(v, axis, -1) for v in signals]
    size = max(v.shape[-1] for v in signals)
    signals = [
        _extended(function, pnp.pad(v, [(0, 0)] * (ndim - 1) + [(0, size - v.shape[-1])]), boundary, cut.length // 2)
        for v in signals
    ]
    size = signals[0].shape[-1]
    if padded:
        more = (-(size - cut.length) % cut.step) % cut.length
        signals = [pnp.pad(v, [(0, 0)] * (ndim - 1) + [(0, more)]) for v in signals]
        size += more
    onesided = return_onesided
    if onesided and dtypes.is_complex(dtype):
        warnings.warn(
            f"{function}: the spectrum of complex data has two sides; return_onesided is ignored", stacklevel=3
        )
        onesided = False
    trend = _trend(function, detrend, axis, ndim)
    first, *second = [_transforms(v, cut, trend, onesided) for v in signals]
    total = cut.window.sum()
    if powers:
        result = first.conj() * (second[0] if second else first)
        if not second:
            result = result.real
        result = result * (1 / (fs * (cut.window * cut.window).sum()) if scaling == "density" else 1 / total**2)
        if onesided:
            # what the other half holds, but for the frequencies that are their own mirror images
            last = result.shape[-1] - (cut.transform % 2 == 0)
            result = result.at[..., 1:last].multiply(2)
    else:
        result = first / total
    freqs = (pnp.fft.rfftfreq if onesided else pnp.fft.fftfreq)(cut.transform, 1 / fs, dtype=real)
    half = cut.length / 2
    times = pnp.arange(half, size - half + 1, cut.step, dtype=real) / fs
    if boundary is not None:
        times = times - half / fs
    return freqs, times, pnp.moveaxis(result, -1, axis)


@_boundary
def stft(
    x: ArrayLike,
    fs: ArrayLike = 1.0,
    window: str | tuple[Any, ...] | ArrayLike = "hann",
    nperseg: int = 256,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = False,
    return_onesided: bool = True,
    boundary: str | None = "zeros",
    padded: bool = True,
    axis: int = -1,
) -> tuple[Array, Array, Array]:
    """The Fourier transforms of overlapping segments of a signal.

    Args:
      x: an array, the signal along `axis`.
      fs: the number of samples per unit of time.
      window: the weights in a segment, `nperseg` numbers, or a name of `scipy.signal.get_window`.
      nperseg: the length of a segment; that of the signal, with a warning, if it is shorter.
      noverlap: by how much segments overlap, by default half.
      nfft: the length of the transforms, by default `nperseg`; more appends zeros.
      detrend: what is subtracted from each segment: "constant", "linear" (see `detrend`), a function, or nothing.
      return_onesided: whether only frequencies from 0 on are returned, of real signals.
      boundary: how the signal is extended by half a segment at its ends: "even", "odd", "constant", "zeros", or None.
      padded: whether zeros are appended until the last segment is complete.

    Returns: the frequencies, the times of the middles of the segments, and the transforms divided by the sum of the
      window: an array like `x` with the frequencies at `axis` and a new last axis for the segments.
    Raises: ValueError for lengths that do not fit, and for unknown names.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.signal import stft
    >>> frequencies, times, z = stft(pnp.ones(8), nperseg=4)
    >>> print(z.shape, times)
    (3, 5) [0. 2. 4. 6. 8.]
    """
    return _spectra(
        "stft", x, None, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, "spectrum", axis,
        boundary=boundary, padded=padded, powers=False,
    )  # fmt: skip


def _median_bias(n: int) -> float:
    """The median of n periodograms over their mean: Allen et al., arXiv gr-qc/0509116, appendix B."""
    return 1 + sum(1 / (k + 1) - 1 / k for k in range(2, n, 2))


def _averaged(function: str, spectra: Array, average: str) -> Array:
    """The average of the last axis, over the segments."""
    if average not in ("mean", "median"):
        raise ValueError(f"{function}: average must be 'mean' or 'median', got {average!r}")
    if spectra.ndim < 2 or spectra.size == 0:
        return spectra
    if average == "mean" or spectra.shape[-1] == 1:
        return spectra.mean(-1)
    if pnp.iscomplexobj(spectra):
        median: Any = pnp.median(spectra.real, -1) + 1j * pnp.median(spectra.imag, -1)
    else:
        median = pnp.median(spectra, -1)
    return median / _median_bias(spectra.shape[-1])


@_boundary
def csd(
    x: ArrayLike,
    y: ArrayLike | None,
    fs: ArrayLike = 1.0,
    window: str | tuple[Any, ...] | ArrayLike = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    average: str = "mean",
) -> tuple[Array, Array]:
    """The cross power spectrum of two signals, averaged over overlapping segments (Welch's method).

    Args:
      x, y: arrays, the signals along `axis`; the shorter one is filled up with zeros. With y None the spectrum of x.
      scaling: "density", power per unit of frequency, or "spectrum", power.
      average: "mean" or "median".
      fs, window, nperseg, noverlap, nfft, detrend, return_onesided: as for `stft`, but `nperseg` is the length of the
        window or of the signal by default.

    Returns: the frequencies, and the spectrum, with the frequencies at `axis`.
    Raises: ValueError for lengths that do not fit, and for unknown names.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.signal import csd
    >>> frequencies, power = csd(pnp.array([1., -1., 1., -1.]), pnp.array([1., -1., 1., -1.]), window="boxcar")
    >>> print(power)
    [0.+0.j 0.+0.j 4.+0.j]
    """
    freqs, _, power = _spectra(
        "csd", x, y, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis
    )
    if y is not None:
        power = power + 0j
    return freqs, _averaged("csd", power, average)


@_boundary
def welch(
    x: ArrayLike,
    fs: ArrayLike = 1.0,
    window: str | tuple[Any, ...] | ArrayLike = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    detrend: Any = "constant",
    return_onesided: bool = True,
    scaling: str = "density",
    axis: int = -1,
    average: str = "mean",
) -> tuple[Array, Array]:
    """The power spectrum of a signal, averaged over overlapping segments.

    Arguments, result and errors are those of `csd`. Welch, IEEE Trans. Audio Electroacoust. 15 (1967).

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.signal import welch
    >>> frequencies, power = welch(pnp.array([1., -1., 1., -1.]), window="boxcar")
    >>> print(frequencies, power)
    [0.   0.25 0.5 ] [0. 0. 4.]
    """
    freqs, _, power = _spectra(
        "welch", x, None, fs, window, nperseg, noverlap, nfft, detrend, return_onesided, scaling, axis
    )
    return freqs, _averaged("welch", power, average).real


@_boundary
def istft(
    Zxx: ArrayLike,
    fs: ArrayLike = 1.0,
    window: str | tuple[Any, ...] | ArrayLike = "hann",
    nperseg: int | None = None,
    noverlap: int | None = None,
    nfft: int | None = None,
    input_onesided: bool = True,
    boundary: bool = True,
    time_axis: int = -1,
    freq_axis: int = -2,
) -> tuple[Array, Array]:
    """The signal of which these are the Fourier transforms of segments: the inverse of `stft` with the same options.

    Args:
      Zxx: an array with the segments along `time_axis` and the frequencies along `freq_axis`.
      fs, window, noverlap: as given to `stft`.
      nperseg: the length of a segment, by default as many as `Zxx` has frequencies on both sides.
      nfft: the length of the transforms.
      input_onesided: whether `Zxx` holds frequencies from 0 on only; then the signal is real.
      boundary: whether `stft` extended the signal.

    Returns: the times, and the signal along an axis where those of frequencies and segments were.
    Raises: ValueError for less than two axes and for lengths that do not fit.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.signal import istft, stft
    >>> _, x = istft(stft(pnp.arange(8.), nperseg=4)[2], nperseg=4)
    >>> print(x.round(4))
    [0. 1. 2. 3. 4. 5. 6. 7.]
    """
    z = promote_operands("istft", INEXACT, Zxx)[0]
    z = z.astype(np.float32) if z.dtype.itemsize == 2 else z
    if z.ndim < 2:
        raise ValueError(f"istft: Zxx must have two axes, of segments and of frequencies, got shape {z.shape}")
    for name, axis in (("time_axis", time_axis), ("freq_axis", freq_axis)):
        if not -z.ndim <= axis < z.ndim:
            raise ValueError(f"istft: {name} {axis} is out of bounds for an array of {z.ndim} dimensions")
    at, over = time_axis % z.ndim, freq_axis % z.ndim
    if at == over:
        raise ValueError("istft: time_axis and freq_axis must differ")
    z = pnp.moveaxis(z, (at, over), (-2, -1))
    z = z if pnp.iscomplexobj(z) else z + 0j
    usual = 2 * (z.shape[-1] - 1) if input_onesided else z.shape[-1]
    length = usual if nperseg is None else _whole("istft", "nperseg", nperseg)
    if length < 1:
        raise ValueError(f"istft: nperseg must be at least 1, got {length}")
    # an odd length has one more than the even one of as many frequencies
    natural = length if input_onesided and length == usual + 1 else usual
    size = natural if nfft is None else _whole("istft", "nfft", nfft)
    if size < length:
        raise ValueError(f"istft: nfft must be at least nperseg, {length}, got {size}")
    overlap = length // 2 if noverlap is None else _whole("istft", "noverlap", noverlap)
    if overlap >= length:
        raise ValueError(f"istft: noverlap must be less than nperseg, {length}, got {overlap}")
    step = length - overlap
    pieces = (pnp.fft.irfft if input_onesided else pnp.fft.ifft)(z, size)[..., :length]
    weights = _window("istft", window, length, pnp.finfo(pieces.dtype).dtype)
    x = _overlapped(pieces * (weights * weights.sum()), step)
    norm = _overlapped(pnp.broadcast_to(weights * weights, (pieces.shape[-2], length)), step)
    if boundary and length > 1:
        inner = slice(length // 2, x.shape[-1] - length // 2)
        x, norm = x[..., inner], norm[inner]
    x = x / pnp.where(norm > 1e-10, norm, 1)
    times = pnp.arange(x.shape[-1], dtype=norm.dtype) / fs
    return times, pnp.moveaxis(x, -1, at - (over < at))


def _overlapped(pieces: Array, step: int) -> Array:
    """The sum of pieces along the last axis, each by `step` further on than the one before."""
    *outer, count, length = pieces.shape
    blocks = math.ceil(length / step)
    cut = pnp.pad(pieces, [(0, 0)] * (len(outer) + 1) + [(0, blocks * step - length)])
    cut = cut.reshape(*outer, count, blocks, step)
    # of piece i, block j is part of block i + j of the result
    cut = pnp.pad(cut, [(0, 0)] * len(outer) + [(blocks - 1, blocks - 1), (0, 0), (0, 0)])
    number = np.arange(blocks)
    rows = np.arange(count + blocks - 1)[:, None] - number + blocks - 1
    total = cut[..., rows, number, :].sum(-2)
    return total.reshape(*outer, -1)[..., : step * (count - 1) + length]
