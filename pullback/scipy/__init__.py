"""The functions of SciPy on arrays of this library."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.scipy import cluster as cluster
from pullback.scipy import fft as fft
from pullback.scipy import integrate as integrate
from pullback.scipy import interpolate as interpolate
from pullback.scipy import linalg as linalg
from pullback.scipy import ndimage as ndimage
from pullback.scipy import optimize as optimize
from pullback.scipy import signal as signal
from pullback.scipy import sparse as sparse
from pullback.scipy import spatial as spatial
from pullback.scipy import special as special
from pullback.scipy import stats as stats

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
