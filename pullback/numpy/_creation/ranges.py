"""Ranges of numbers: by step, by count, by exponents, by ratio."""

from __future__ import annotations

import math
from typing import Any, Literal, overload

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray, NestedArrayLike, from_numpy, lift
from pullback._core.dimensions import Dimension, max_dim
from pullback._core.errors import boundary
from pullback._core.trace import Tracer
from pullback._core.typing import AnyValue, Device, DTypeLike, Placement
from pullback._ops import shape as shape_ops
from pullback._ops.assemble import broadcasted_iota, concatenate
from pullback._ops.elementwise import add, div, mul, scalar, sub
from pullback._ops.rounding import floor
from pullback._ops.slicing import slice_in_dim
from pullback.numpy._creation.creation import on_device
from pullback.numpy._elementwise.arithmetic import power, sign
from pullback.numpy._elementwise.functions import log10
from pullback.numpy._elementwise.promotion import INEXACT, as_operand, integer, promote_operands
from pullback.numpy._reductions.reductions import one_axis

_WIDER: dict[np.dtype, np.dtype] = {
    dtypes.bfloat16: np.dtype(np.float32),
    np.dtype(np.float16): np.dtype(np.float32),
    np.dtype(np.float32): np.dtype(np.float64),
    np.dtype(np.complex64): np.dtype(np.complex128),
}

__all__ = ["arange", "linspace", "logspace", "geomspace"]


def _number(name: str, argument: str, x: AnyValue) -> Any:
    """A bound of a range, which must be known, as a scalar with its dtype."""
    if isinstance(x, Tracer):
        x = x._concrete(f"{name}: argument {argument}")
    if isinstance(x, Dimension):
        return x
    x = x.value if isinstance(x, ConcreteArray) else x
    if np.ndim(x) != 0:
        raise TypeError(f"{name}: {argument} must be a scalar, got an array of shape {np.shape(x)}")
    if not isinstance(x, (bool, int, float, complex, np.generic, np.ndarray)):
        raise TypeError(f"{name}: {argument} must be a number, got {x!r}")
    if np.iscomplexobj(x):
        raise ValueError(
            f"{name}: {argument} must be real, got {x}: complex numbers have no order to go along; use "
            "linspace, or multiply a range of integers"
        )
    return x


@boundary
def arange(
    start: ArrayLike,
    stop: ArrayLike | None = None,
    step: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    device: Device = None,
    out_sharding: Placement = None,
) -> Array:
    """The numbers from `start` (0, if only one bound is given) up to `stop`, which is left out, in steps.

    They are computed as `start + i * step`, in the requested dtype or that common to the arguments, which must be known
    while tracing. ValueError for a step of 0 and for complex numbers, TypeError for anything but a number.

    >>> import pullback.numpy as pnp
    >>> pnp.arange(1, 8, 3)
    Array([1, 4, 7], dtype=int32)
    """
    given = [_number("arange", n, x) for n, x in (("start", start), ("stop", stop), ("step", step)) if x is not None]
    if dtype is None:
        kind = dtypes.promote(*[(a.aval.dtype, a.aval.weak_type) for a in map(lift, given)])[0]
    else:
        kind = dtypes.requested_dtype(dtype)
    values = [x.item() if isinstance(x, (np.generic, np.ndarray)) else x for x in given]
    first, last = (0, values[0]) if stop is None else (values[0], values[1])
    if stop is None and step is not None:
        first, last = 0, values[0]
    by = 1 if step is None else values[-1]
    if by == 0:
        raise ValueError("arange: step must not be 0")
    if isinstance(last - first, Dimension):
        size = max_dim(0, -((first - last) // by))
    else:
        size = max(0, math.ceil((last - first) / by))
    if kind.kind == "b":
        return on_device("arange", lift(np.arange(first, last, by, dtype=bool)), device, out_sharding)
    out = broadcasted_iota(kind, (size,), 0)
    if by != 1:
        out = mul(out, _in(kind, by))
    if first != 0:
        out = add(out, _in(kind, first))
    return on_device("arange", out, device, out_sharding)


def _in(dtype: np.dtype, value: NestedArrayLike) -> Array:
    if isinstance(value, Dimension):
        return Dimension.to_array(value, dtype)
    return from_numpy(np.asarray(value).astype(dtype)[()])


@overload
def linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    retstep: Literal[False] = False,
    dtype: DTypeLike | None = None,
    axis: int = 0,
    *,
    device: Device = None,
) -> Array: ...
@overload
def linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    *,
    retstep: Literal[True],
    dtype: DTypeLike | None = None,
    axis: int = 0,
    device: Device = None,
) -> tuple[Array, Array]: ...
@overload
def linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DTypeLike | None = None,
    axis: int = 0,
    *,
    device: Device = None,
) -> Any: ...
@boundary
def linspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DTypeLike | None = None,
    axis: int = 0,
    *,
    device: Device = None,
) -> Any:
    """`num` numbers at equal distances from `start` to `stop`, which is the last one unless `endpoint` is False.

    The bounds may be arrays: they broadcast, and the numbers run along a new axis. With `retstep`, the pair of them and
    the distance. Integer dtypes are rounded down. ValueError for a negative `num`, TypeError for
    one that is not an integer.

    >>> import pullback.numpy as pnp
    >>> pnp.linspace(0, 1, 3)
    Array([0. , 0.5, 1. ], dtype=float32)
    """
    out, distance = _spaced("linspace", start, stop, num, endpoint, dtype, axis)
    out = on_device("linspace", out, device)
    return (out, distance) if retstep else out


def _spaced(
    name: str,
    start: ArrayLike,
    stop: ArrayLike,
    num: int,
    endpoint: bool,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> tuple[Array, Array]:
    """The numbers and their distance, for the function `name`, which errors are to name."""
    num = integer(name, "num", num)
    if num < 0:
        raise ValueError(f"{name}: num must not be negative, got {num}")
    low, high = promote_operands(name, INEXACT, start, stop)
    target = dtypes.requested_dtype(dtype) if dtype is not None else low.aval.dtype
    kind = low.aval.dtype
    if dtype is not None and dtypes.is_inexact(target):
        kind = dtypes.promote((kind, low.aval.weak_type), (target, False))[0]
    low, high = (shape_ops.convert_element_type(x, kind) for x in (low, high))
    gaps = num - 1 if endpoint else num
    distance = div(sub(high, low), scalar(low, gaps)) if gaps > 0 else scalar(low, np.nan)
    # computed in the next wider dtype, so that exactly representable values are exact
    given = kind
    kind = _WIDER.get(kind, kind)
    low, high = (shape_ops.convert_element_type(x, kind) for x in (low, high))
    rank = max(low.aval.ndim, high.aval.ndim)
    shape = np.broadcast_shapes(low.aval.shape, high.aval.shape)
    if num == 0:
        out = shape_ops.full((0, *shape), 0, kind)
    elif num == 1:
        out = shape_ops.broadcast_to(low, (1, *shape))
    else:
        real = np.dtype(kind.type(0).real.dtype) if dtypes.is_complex(kind) else kind
        steps, total = broadcasted_iota(real, (gaps, *(1,) * rank), 0), _in(real, gaps)
        # a wider dtype holds the sum before it is divided, 0 where the result is: XLA's quotients are not exact
        sum_first = float(dtypes.finfo(kind).max) > 1e30 * float(dtypes.finfo(given).max)
        t = steps if sum_first else div(steps, total)
        rest = sub(total if sum_first else _in(real, 1), t)
        if real != kind:
            t, rest, total = (shape_ops.convert_element_type(x, kind) for x in (t, rest, total))
        out = add(mul(low, rest), mul(high, t))
        out = shape_ops.broadcast_to(div(out, total) if sum_first else out, (gaps, *shape))
        if endpoint:
            # placed, not computed: 0 times an infinite start is nan, and 0 + -0. is 0.
            out = concatenate([out, shape_ops.broadcast_to(high, (1, *shape))], 0)
    out = shape_ops.move_axis(out, 0, one_axis(name, axis, rank + 1))
    out = shape_ops.convert_element_type(out, given)
    if dtypes.is_integer(target):
        out = floor(out)
    return shape_ops.convert_element_type(out, target), distance


@boundary
def logspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    base: ArrayLike = 10.0,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> Array:
    """Powers of `base` whose exponents are `linspace(start, stop, num)`.

    ValueError for a negative `num`, TypeError for one that is not an integer.

    >>> import pullback.numpy as pnp
    >>> print(pnp.logspace(0, 2, 3))
    [  1.  10. 100.]
    """
    exponents, _ = _spaced("logspace", start, stop, num, endpoint, axis=axis)
    out = power(as_operand(base, "logspace", "base"), exponents)
    return out if dtype is None else shape_ops.convert_element_type(out, dtypes.requested_dtype(dtype))


@boundary
def geomspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: int = 50,
    endpoint: bool = True,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> Array:
    """`num` numbers at equal ratios from `start` to `stop`, which must be of one sign.

    Where the signs differ, or a bound is 0, the interior values are nan; between complex numbers it is a spiral.
    ValueError for a negative `num`, TypeError for another that is not an integer.

    >>> import pullback.numpy as pnp
    >>> print(pnp.round(pnp.geomspace(1, 8, 4), 3))
    [1. 2. 4. 8.]
    """
    low, high = promote_operands("geomspace", INEXACT, start, stop)
    unit = sign(low)
    exponents, _ = _spaced("geomspace", log10(div(low, unit)), log10(div(high, unit)), num, endpoint)
    out = mul(unit, power(10.0, exponents))
    if out.aval.shape[0] and (endpoint or num == 1):
        # the ends are exact
        shape = (1, *out.aval.shape[1:])
        parts = [shape_ops.broadcast_to(low, shape)]
        if num > 2:
            parts.append(_middle(out))
        if num > 1:
            parts.append(shape_ops.broadcast_to(high, shape))
        out = concatenate(parts, 0)
    out = shape_ops.move_axis(out, 0, one_axis("geomspace", axis, out.aval.ndim))
    return shape_ops.convert_element_type(out, out.aval.dtype if dtype is None else dtypes.requested_dtype(dtype))


def _middle(x: Array) -> Array:
    n = x.aval.shape[0]
    return slice_in_dim(x, 1, n - 1)


def from_slice(s: slice) -> Array:
    """The numbers of a slice; with an imaginary step, that many numbers, both ends included."""
    start = 0 if s.start is None else s.start
    step = 1 if s.step is None else s.step
    if isinstance(step, complex):
        return linspace(start, s.stop, int(abs(step)))
    return arange(start, s.stop, step)
