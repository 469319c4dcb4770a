"""Convolution and correlation in any number of dimensions, directly or by Fourier transforms."""

from __future__ import annotations

from collections.abc import Sequence

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary as _boundary
from pullback._ops.conv import conv_general_dilated
from pullback._ops.dot import PrecisionLike
from pullback.numpy._elementwise.promotion import INEXACT, as_operand, cast, common_dtype
from pullback.numpy._shape.padding import pad

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "fftconvolve"]

_MODES = ("full", "same", "valid")


def _operands(function: str, in1: ArrayLike, in2: ArrayLike, mode: str, ndim: int | None = None) -> list[Array]:
    """Two arrays of one inexact dtype and as many dimensions, with entries."""
    if mode not in _MODES:
        raise ValueError(f"{function}: mode must be 'full', 'same' or 'valid', got {mode!r}")
    operands = [as_operand(x, function, name) for x, name in ((in1, "in1"), (in2, "in2"))]
    shapes = operands[0].shape, operands[1].shape
    if len(shapes[0]) != len(shapes[1]) or (ndim is not None and len(shapes[0]) != ndim):
        count = "the same number of dimensions" if ndim is None else f"{ndim} dimensions"
        raise ValueError(f"{function}: in1 and in2 must have {count}, got shapes {shapes[0]} and {shapes[1]}")
    if 0 in (*shapes[0], *shapes[1]):
        raise ValueError(f"{function}: in1 and in2 must have entries, got shapes {shapes[0]} and {shapes[1]}")
    dtype, weak = common_dtype(function, INEXACT, [x.aval for x in operands])
    return [cast(x, dtype, weak) for x in operands]


def _part(function: str, mode: str, m: Sequence[int], n: Sequence[int], late: bool = False) -> list[tuple[int, int]]:
    """Start and length along each axis of what a mode takes of the full convolution of lengths m and n."""
    if mode == "full":
        return [(0, a + b - 1) for a, b in zip(m, n, strict=True)]
    if mode == "same":
        return [((b if late else b - 1) // 2, a) for a, b in zip(m, n, strict=True)]
    pairs = list(zip(m, n, strict=True))
    if not (all(a >= b for a, b in pairs) or all(a <= b for a, b in pairs)):
        raise ValueError(
            f"{function}: with mode 'valid' one of in1 and in2 must be as large as the other along each axis, got "
            f"shapes {tuple(m)} and {tuple(n)}"
        )
    return [(min(a, b) - 1, abs(a - b) + 1) for a, b in pairs]


def _direct(x: Array, y: Array, part: Sequence[tuple[int, int]], precision: PrecisionLike) -> Array:
    """A part of the full convolution: start and length along each axis."""
    if x.ndim == 0:
        return x * y
    if y.size > x.size:
        x, y = y, x
    pads = []
    for m, n, (start, length) in zip(x.shape, y.shape, part, strict=True):
        low = n - 1 - start
        pads.append((low, length + n - 1 - m - low))
    strides = (1,) * x.ndim
    return conv_general_dilated(x[None, None], pnp.flip(y)[None, None], strides, pads, precision=precision)[0, 0]


@_boundary
def convolve(
    in1: ArrayLike,
    in2: ArrayLike,
    mode: str = "full",
    method: str = "auto",
    precision: PrecisionLike = None,
) -> Array:
    """The convolution of two arrays, along all axes.

    Args:
      in1, in2: arrays of the same number of dimensions; integers are computed in floating point.
      mode: "full"; "same", the middle of that, with the shape of `in1`; or "valid", where one is inside of the other.
      method: "direct" or "auto" sums products; "fft" multiplies Fourier transforms, which is faster for two large ones.
      precision: as in `lax.conv`.

    Raises: ValueError for another mode or method, other numbers of dimensions, and arrays without entries; with "valid"
      for shapes neither of which contains the other.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.signal import convolve
    >>> print(convolve(pnp.array([1., 2., 3.]), pnp.array([1., 1.])))
    [1. 3. 5. 3.]
    """
    return _convolved("convolve", in1, in2, mode, method, precision, conjugate=False)


@_boundary
def correlate(
    in1: ArrayLike,
    in2: ArrayLike,
    mode: str = "full",
    method: str = "auto",
    precision: PrecisionLike = None,
) -> Array:
    """The cross-correlation of two arrays: the convolution of `in1` with `in2` reversed and conjugated.

    Arguments and errors are those of `convolve`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.signal import correlate
    >>> print(correlate(pnp.array([1., 2., 3.]), pnp.array([0., 1.])))
    [1. 2. 3. 0.]
    """
    return _convolved("correlate", in1, in2, mode, method, precision, conjugate=True)


def _convolved(
    function: str, in1: ArrayLike, in2: ArrayLike, mode: str, method: str, precision: PrecisionLike, conjugate: bool
) -> Array:
    if method not in ("auto", "direct", "fft"):
        raise ValueError(f"{function}: method must be 'auto', 'direct' or 'fft', got {method!r}")
    x, y = _operands(function, in1, in2, mode)
    if conjugate:
        y = pnp.flip(y.conj())
    part = _part(function, mode, x.shape, y.shape)
    return _transformed(x, y, range(x.ndim), part) if method == "fft" else _direct(x, y, part, precision)


@_boundary
def convolve2d(
    in1: ArrayLike,
    in2: ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: ArrayLike = 0,
    precision: PrecisionLike = None,
) -> Array:
    """The convolution of two matrices.

    Args:
      in1, in2, mode, precision: as for `convolve`.
      boundary: what is around `in1`: "fill", `fillvalue`; "wrap", itself again; "symm", its mirror images.
      fillvalue: a number.

    Raises: ValueError as `convolve`, for what is no matrix and for another boundary.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.signal import convolve2d
    >>> print(convolve2d(pnp.eye(2), pnp.ones((2, 2)), mode="same"))
    [[1. 1.]
     [1. 2.]]
    """
    return _of_matrices("convolve2d", in1, in2, mode, boundary, fillvalue, precision, conjugate=False)


@_boundary
def correlate2d(
    in1: ArrayLike,
    in2: ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: ArrayLike = 0,
    precision: PrecisionLike = None,
) -> Array:
    """The cross-correlation of two matrices. Arguments and errors are those of `convolve2d`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.signal import correlate2d
    >>> print(correlate2d(pnp.eye(2), pnp.ones((2, 2)), mode="valid"))
    [[2.]]
    """
    return _of_matrices("correlate2d", in1, in2, mode, boundary, fillvalue, precision, conjugate=True)


_AROUND = {"fill": "constant", "wrap": "wrap", "symm": "symmetric"}


def _of_matrices(
    function: str,
    in1: ArrayLike,
    in2: ArrayLike,
    mode: str,
    boundary: str,
    fillvalue: ArrayLike,
    precision: PrecisionLike,
    conjugate: bool,
) -> Array:
    x, y = _operands(function, in1, in2, mode, ndim=2)
    if boundary not in _AROUND:
        raise ValueError(f"{function}: boundary must be 'fill', 'wrap' or 'symm', got {boundary!r}")
    part = _part(function, mode, x.shape, y.shape, late=conjugate)
    if conjugate:
        y = pnp.flip(y.conj())
    plain = mode == "valid" or (boundary == "fill" and not pnp.ndim(fillvalue) and _is_zero(fillvalue))
    if plain:
        result = _direct(x, y, part, precision)
        # SciPy exchanges the operands where the second contains the first
        swapped = conjugate and mode == "valid" and x.shape != y.shape and y.size > x.size
        return result.conj() if swapped else result
    widths = [(n - 1, n - 1) for n in y.shape]
    more = {"constant_values": fillvalue} if boundary == "fill" else {}
    wide = pad(x, widths, _AROUND[boundary], **more)
    # the same entries, further in
    moved = [(start + n - 1, length) for (start, length), n in zip(part, y.shape, strict=True)]
    return _direct(wide, y, moved, precision)


def _is_zero(x: ArrayLike) -> bool:
    return isinstance(x, (bool, int, float, complex)) and x == 0


@_boundary
def fftconvolve(in1: ArrayLike, in2: ArrayLike, mode: str = "full", axes: int | Sequence[int] | None = None) -> Array:
    """The convolution of two arrays by Fourier transforms.

    Args:
      in1, in2, mode: as for `convolve`.
      axes: one or several axes, all by default; along the others the arrays are multiplied, and broadcast.

    Raises: ValueError as `convolve`, for axes out of bounds or named twice, and other axes that do not broadcast.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.signal import fftconvolve
    >>> print(fftconvolve(pnp.array([1., 2., 3.]), pnp.array([1., 1.])).round(4))
    [1. 3. 5. 3.]
    """
    x, y = _operands("fftconvolve", in1, in2, mode)
    chosen = range(x.ndim) if axes is None else (axes,) if isinstance(axes, int) else tuple(axes)
    for axis in chosen:
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"fftconvolve: axis {axis} is out of bounds for arrays of {x.ndim} dimensions")
    along = sorted(axis % x.ndim for axis in chosen)
    if len(set(along)) != len(along):
        raise ValueError(f"fftconvolve: axes names an axis twice: {tuple(chosen)}")
    for axis in range(x.ndim):
        if axis not in along and x.shape[axis] != y.shape[axis] and 1 not in (x.shape[axis], y.shape[axis]):
            raise ValueError(
                f"fftconvolve: along axis {axis}, which is not one of axes, shapes {x.shape} and {y.shape} do not "
                "broadcast"
            )
    part = _part("fftconvolve", mode, [x.shape[i] for i in along], [y.shape[i] for i in along])
    return _transformed(x, y, along, part)


def _transformed(x: Array, y: Array, axes: Sequence[int], part: Sequence[tuple[int, int]]) -> Array:
    """A part of the full convolution along these axes, by Fourier transforms."""
    long = [axis for axis in axes if x.shape[axis] > 1 and y.shape[axis] > 1]
    if long:
        lengths = [x.shape[i] + y.shape[i] - 1 for i in long]
        # half precision has no transform
        dtype = x.dtype
        if dtype.itemsize == 2:
            x, y = x.astype("float32"), y.astype("float32")
        forward, back = (pnp.fft.fftn, pnp.fft.ifftn) if dtype.kind == "c" else (pnp.fft.rfftn, pnp.fft.irfftn)
        full = back(forward(x, lengths, long) * forward(y, lengths, long), lengths, long).astype(dtype)
    else:
        full = x * y
    index = [slice(None)] * full.ndim
    for axis, (start, length) in zip(axes, part, strict=True):
        index[axis] = slice(start, start + length)
    return full[tuple(index)]
