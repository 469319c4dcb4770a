"""Signals, as in `scipy.signal`: convolution, correlation, trends and spectra."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.scipy.signal._convolution import convolve as convolve
from pullback.scipy.signal._convolution import convolve2d as convolve2d
from pullback.scipy.signal._convolution import correlate as correlate
from pullback.scipy.signal._convolution import correlate2d as correlate2d
from pullback.scipy.signal._convolution import fftconvolve as fftconvolve
from pullback.scipy.signal._spectra import csd as csd
from pullback.scipy.signal._spectra import istft as istft
from pullback.scipy.signal._spectra import stft as stft
from pullback.scipy.signal._spectra import welch as welch
from pullback.scipy.signal._trends import detrend as detrend

__all__ = [
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "csd",
    "detrend",
    "fftconvolve",
    "istft",
    "stft",
    "welch",
]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
