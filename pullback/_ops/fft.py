"""The discrete Fourier transform over the last axes: complex, from reals to half of the spectrum, and back.

With w = exp(-2 pi i / n), along each axis: FFT sums x[j] w^(jk) over j, IFFT sums x[k] w^(-jk) over k and divides by n.
RFFT is FFT of real numbers without the redundant half: for the last axis it gives the first n // 2 + 1 elements. IRFFT
goes back to n real numbers.
"""

from __future__ import annotations

import enum
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.meshes import Mesh
from pullback._core.primitive import Primitive
from pullback._core.sharding import NamedSharding, PartitionSpec
from pullback._core.trace import Tracer
from pullback._core.types import make_aval
from pullback._ops.elementwise import mul
from pullback._ops.expressions import emitted
from pullback._ops.families import operands, scalar_like
from pullback._ops.rules import linear_jvp
from pullback._ops.shape import convert_element_type, full, move_axis, transpose
from pullback._ops.slicing import pad
from pullback._ops.trig import complex_dtype, conj, real_dtype
from pullback._xla.attributes import int_array

fft_p: Primitive = Primitive("fft")


class FftType(enum.Enum):
    """The kind of transform: complex or its inverse, from reals to half of the spectrum or its inverse.

    >>> FftType.RFFT.name
    'RFFT'
    """

    FFT = 0
    IFFT = 1
    RFFT = 2
    IRFFT = 3


_REAL = (np.dtype(np.float32), np.dtype(np.float64))
_COMPLEX = (np.dtype(np.complex64), np.dtype(np.complex128))


def fft(x: ArrayLike, fft_type: FftType | str, fft_lengths: Sequence[int]) -> Array:
    """The discrete Fourier transform of the last axes of `x`, as many as `fft_lengths` has entries, any number.

    `fft_type` is an `FftType` or its name: "FFT", "IFFT" (divided by the number of elements), "RFFT" of real numbers or
    "IRFFT" to real numbers. `fft_lengths` are the lengths of those axes (on the real side); on the complex side of RFFT
    and IRFFT the last axis has `n // 2 + 1` elements for a length n. Computes in float32 and complex64, or float64 and
    complex128; narrower numbers and integers are converted, and reals to complex numbers except for RFFT.

    Raises: ValueError for an unknown transform and for lengths that `x` does not have, TypeError for complex numbers
    under RFFT and for lengths that are not integers.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.fft(np.float32([1, 2, 3, 4]), "RFFT", (4,)))
    [10.+0.j -2.+2.j -2.+0.j]
    """
    (x,) = operands("fft", x)
    kind = _known_type(fft_type)
    if kind is FftType.RFFT and dtypes.is_complex(x.aval.dtype):
        raise TypeError(f"fft: RFFT takes real numbers, got {x.aval.str_short()}. Use FFT, or take .real of it.")
    lengths = _known_lengths(fft_lengths)
    x = as_transformable(x, kind is not FftType.RFFT)
    return fft_p.bind(x, fft_type=kind, fft_lengths=lengths) if lengths else x


def as_transformable(x: Array, complex: bool) -> Array:
    """`x` in the dtype of the transform: the complex or the real one with parts of at least 32 bits."""
    dtype = dtypes.to_inexact(x.aval.dtype, False)[0]
    if complex:
        dtype = dtype if dtypes.is_complex(dtype) else complex_dtype(dtype)
    elif dtype.itemsize < 4:
        dtype = np.dtype(np.float32)
    return convert_element_type(x, dtype)


def half(n: int) -> int:
    """The number of elements of the transform of n reals."""
    return n // 2 + 1 if n else 0


def _known_type(fft_type: Any) -> FftType:
    if isinstance(fft_type, FftType):
        return fft_type
    if isinstance(fft_type, str) and fft_type.upper() in FftType.__members__:
        return FftType[fft_type.upper()]
    raise ValueError(f"fft: fft_type must be an FftType or one of {[*FftType.__members__]}, got {fft_type!r}")


def _known_lengths(fft_lengths: Any) -> tuple[int, ...]:
    try:
        return tuple(operator.index(n) for n in fft_lengths)
    except TypeError:
        if isinstance(fft_lengths, (tuple, list)) and any(isinstance(n, Tracer) for n in fft_lengths):
            raise  # the message is complete
        raise TypeError(
            "fft: fft_lengths must be a sequence of ints, one for each of the last axes to transform, got "
            f"{fft_lengths!r}"
        ) from None


# --- type ---


def _type(x, fft_type, fft_lengths):
    accepts = _REAL if fft_type is FftType.RFFT else _COMPLEX
    if x.dtype not in accepts:
        raise TypeError(
            f"fft: {fft_type.name} takes {' or '.join(d.name for d in accepts)}, got "
            f"{x.str_short()}. Convert it with .astype()."
        )
    rank = len(fft_lengths)
    if not 1 <= rank <= x.ndim:
        raise ValueError(
            f"fft: fft_lengths must have an entry for each axis to transform, at least 1 and at most the "
            f"{x.ndim} of shape {x.shape}, got {fft_lengths}"
        )
    expected = _halved(fft_lengths) if fft_type is FftType.IRFFT else fft_lengths
    if x.shape[-rank:] != expected:
        raise ValueError(
            f"fft: {fft_type.name} with fft_lengths {fft_lengths} takes an operand whose last axes have "
            f"the lengths {expected}, got shape {x.shape}. Cut it or pad it with zeros, as the functions "
            "of pullback.numpy.fft do."
        )
    if fft_type is FftType.RFFT:
        return make_aval((*x.shape[:-rank], *_halved(fft_lengths)), complex_dtype(x.dtype))
    if fft_type is FftType.IRFFT:
        return make_aval((*x.shape[:-rank], *fft_lengths), real_dtype(x.dtype))
    return make_aval(x.shape, x.dtype)


def _halved(lengths):
    return (*lengths[:-1], half(lengths[-1]))


# --- evaluation ---


def _kernel(x, fft_type, fft_lengths):
    out = _type(make_aval(x.shape, x.dtype), fft_type, fft_lengths)
    if not x.size:
        return np.zeros(out.shape, out.dtype)
    # in double precision: exact to the last digit of single, and NumPy's single precision is slower still
    wide = x.astype(np.float64 if fft_type is FftType.RFFT else np.complex128, copy=False)
    name = fft_type.name.lower()
    if len(fft_lengths) == 1:
        y = getattr(np.fft, name)(wide, fft_lengths[0])
    else:
        y = getattr(np.fft, name + "n")(wide, fft_lengths, range(-len(fft_lengths), 0))
    return y.astype(out.dtype, copy=False)


def _lower(ctx, x, fft_type, fft_lengths):
    out = ctx.out_avals[0]
    if 0 in out.shape:
        return ctx.constant(0, out)
    if len(fft_lengths) > 3:
        return emitted(ctx, lambda x: [_over_many_axes(x, fft_type, fft_lengths)], x)[0]
    y = ctx.op(
        "stablehlo.fft",
        [_row_by_row(ctx, _undivided(ctx, x, len(fft_lengths)))],
        out,
        f"fft_type = #stablehlo<fft_type {fft_type.name}>, fft_length = {int_array(fft_lengths)}",
    )
    return _undivided(ctx, _row_by_row(ctx, y), len(fft_lengths))


def _undivided(ctx, x, count):
    """The same array, its last axes whole on each device: XLA's partitioner (0.10.2) divides few lengths of them."""
    spread = ctx.module.spread
    devices = 1 if spread is None else len(spread.devices)
    if devices == 1 or ctx.module.manual is not None or x.aval.shape[-1] % devices**2 == 0:
        return x
    mesh = spread.mesh or Mesh(np.array(spread.devices, object), ("devices",))
    spec = PartitionSpec(*[PartitionSpec.UNCONSTRAINED] * (x.aval.ndim - count), *[None] * count)
    attribute = spread.attribute(NamedSharding(mesh, spec), x.aval.ndim)
    return ctx.op("sdy.sharding_constraint", [x], None, f"sharding = {attribute}")


def _row_by_row(ctx, x):
    """The same array in row-major layout. A consumer that requires column-major layout, as LAPACK does, would pass
    it on to the transform, and XLA for the CPU then refuses to run (findings/xla_fft_layout.sh)."""
    order = f"[dense<{list(reversed(range(x.aval.ndim)))}> : tensor<{x.aval.ndim}xindex>]"
    return ctx.op(
        "stablehlo.custom_call",
        [x],
        x.aval,
        f'call_target_name = "LayoutConstraint", operand_layouts = {order}, result_layouts = {order}',
    )


def _over_many_axes(x, fft_type, fft_lengths):
    """The transform over more axes than StableHLO supports: the last three, then the others with these as a batch."""
    others, last = fft_lengths[:-3], fft_lengths[-3:]
    if fft_type is FftType.IRFFT:
        return fft_p.bind(_over_leading_axes(x, FftType.IFFT, others), fft_type=fft_type, fft_lengths=last)
    y = fft_p.bind(x, fft_type=fft_type, fft_lengths=last)
    return _over_leading_axes(y, FftType.IFFT if fft_type is FftType.IFFT else FftType.FFT, others)


def _over_leading_axes(x, fft_type, lengths):
    rank = x.aval.ndim
    batch = rank - 3 - len(lengths)
    order = (*range(batch), *range(rank - 3, rank), *range(batch, rank - 3))
    y = fft_p.bind(transpose(x, order), fft_type=fft_type, fft_lengths=lengths)
    return transpose(y, sorted(range(rank), key=order.__getitem__))


# --- derivatives: a linear map, with a matrix that is symmetric for FFT and IFFT. The pairing is without conjugation
# ---


def _transpose(ct, x, fft_type, fft_lengths):
    if fft_type in (FftType.FFT, FftType.IFFT):
        return [fft_p.bind(ct, fft_type=fft_type, fft_lengths=fft_lengths)]
    n, size = fft_lengths[-1], math.prod(fft_lengths)
    if fft_type is FftType.RFFT:
        # Re sum_k ct[k] w^(jk), where IRFFT counts all k twice except those that are their own mirror images
        weighted = mul(conj(ct), _mirrored(n, size, size / 2, ct.aval.dtype))
        return [fft_p.bind(weighted, fft_type=FftType.IRFFT, fft_lengths=fft_lengths)]
    y = conj(fft_p.bind(ct, fft_type=FftType.RFFT, fft_lengths=fft_lengths))
    return [mul(y, _mirrored(n, 1 / size, 2 / size, y.aval.dtype))] if size else [y]


def _mirrored(n, alone, twice, dtype):
    """For each element of half of the transform of n reals, `twice` if the other half has it too, else `alone`."""
    count = half(n)
    ends = min(count, 2 - n % 2)  # the first, and the last for even n
    inner = full((count - ends,), twice, dtype)
    return pad(inner, scalar_like(alone, dtype), [(min(count, 1), ends - min(count, 1), 0)])


def _batch(trace, args, dims, fft_type, fft_lengths):
    (x,), (b,) = args, dims
    if b >= x.aval.ndim - len(fft_lengths):
        x, b = move_axis(x, b, 0), 0
    return fft_p.bind(x, fft_type=fft_type, fft_lengths=fft_lengths), b


fft_p.abstract_eval = _type
fft_p.kernel = _kernel
fft_p.lower = _lower
linear_jvp(fft_p)
fft_p.transpose = _transpose
fft_p.batch = _batch
