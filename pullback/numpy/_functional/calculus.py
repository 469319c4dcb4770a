"""Differences, integrals, interpolation and covariances of sampled data."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, NestedArrayLike, distinct
from pullback._core.errors import boundary
from pullback._core.typing import Axis, DTypeLike
from pullback._ops import compare, elementwise
from pullback._ops import shape as shape_ops
from pullback._ops.accumulate import accumulator
from pullback._ops.assemble import concatenate
from pullback._ops.elementwise import add, div, mul, scalar, sub
from pullback._ops.slicing import slice_in_dim
from pullback._ops.trig import abs as magnitude
from pullback._ops.trig import complex as make_complex
from pullback.numpy._creation.creation import as_array
from pullback.numpy._elementwise.arithmetic import divide, remainder
from pullback.numpy._elementwise.complex_parts import conj, imag, real
from pullback.numpy._elementwise.functions import sqrt
from pullback.numpy._elementwise.promotion import (
    ANY,
    INEXACT,
    STRONG_FLOAT,
    as_operand,
    common_dtype,
    integer,
    promote_operands,
)
from pullback.numpy._elementwise.selection import clip, where
from pullback.numpy._products.contractions import dot
from pullback.numpy._reductions.cumulative import cumsum
from pullback.numpy._reductions.moments import average
from pullback.numpy._reductions.reductions import axes_of, one_axis, sum
from pullback.numpy._searching.sorting import argsort, searchsorted
from pullback.numpy._shape.joining import joined, rows

__all__ = ["diff", "ediff1d", "gradient", "trapezoid", "interp", "unwrap", "cov", "corrcoef"]


def _differences(x: Array, axis: int) -> Array:
    n = x.aval.shape[axis]
    if n == 0:
        return x
    after, before = slice_in_dim(x, 1, n, 1, axis), slice_in_dim(x, 0, n - 1, 1, axis)
    return compare.ne(after, before) if x.aval.dtype.kind == "b" else sub(after, before)


@boundary
def diff(
    a: ArrayLike, n: int = 1, axis: int = -1, prepend: ArrayLike | None = None, append: ArrayLike | None = None
) -> Array:
    """The `n`-th differences of adjacent elements along an axis, shorter by n; values may be prepended and appended.

    ValueError for an axis out of bounds and for a negative `n`.

    >>> import pullback.numpy as pnp
    >>> pnp.diff(pnp.array([1, 4, 9]))
    Array([3, 5], dtype=int32)
    """
    x = as_operand(a, "diff", 0)
    n = integer("diff", "n", n)
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    i = one_axis("diff", axis, x.aval.ndim)
    if n == 0:
        return distinct(x, a)
    parts: list[Array | None] = []
    for value in (prepend, append):
        if value is not None:
            v = as_array("diff", value)
            shape = (*x.aval.shape[:i], 1, *x.aval.shape[i + 1 :])
            parts.append(shape_ops.broadcast_to(v, shape) if v.aval.ndim == 0 else v)
        else:
            parts.append(None)
    pieces = [p for p in (parts[0], x, parts[1]) if p is not None]
    x = joined("diff", pieces, i) if len(pieces) > 1 else x
    for _ in range(n):
        x = _differences(x, i)
    return x


@boundary
def ediff1d(ary: ArrayLike, to_end: ArrayLike | None = None, to_begin: ArrayLike | None = None) -> Array:
    """The differences of adjacent elements in the flattened array, with values prepended and appended.

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> pnp.ediff1d(pnp.array([1, 4, 9]), to_begin=0)
    Array([0, 3, 5], dtype=int32)
    """
    x = as_operand(ary, "ediff1d", 0)
    out = [_differences(shape_ops.reshape(x, (x.aval.size,)), 0)]
    for extra, first in ((to_begin, True), (to_end, False)):
        if extra is not None:
            e = as_array("ediff1d", extra)
            e = shape_ops.convert_element_type(shape_ops.reshape(e, (e.aval.size,)), x.aval.dtype, x.aval.weak_type)
            out = [e, *out] if first else [*out, e]
    return concatenate(out, 0)


@boundary
def gradient(f: ArrayLike, *varargs: ArrayLike, axis: Axis = None, edge_order: int | None = None) -> Any:
    """The slopes of sampled values along axes: second-order central differences, one-sided at the ends.

    `varargs`: nothing (unit distances), one distance for all axes, or per axis a distance or the coordinates. One array
    for one axis, a list for several. Axes need at least 2 samples. ValueError for fewer, and for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.gradient(pnp.array([1., 4., 9.]))
    Array([3., 4., 5.], dtype=float32)
    """
    if edge_order not in (None, 1):
        raise NotImplementedError(f"gradient: edge_order must be 1, got {edge_order}")
    (y,) = promote_operands("gradient", INEXACT, f)
    axes = (
        axes_of("gradient", axis, y.aval.ndim)
        if not isinstance(axis, (tuple, list))
        else tuple(one_axis("gradient", i, y.aval.ndim) for i in axis)
    )
    if len(varargs) == 0:
        spacings: list[Any] = [1.0] * len(axes)
    elif len(varargs) == 1:
        spacings = [varargs[0]] * len(axes)
    elif len(varargs) == len(axes):
        spacings = list(varargs)
    else:
        raise TypeError(f"gradient: expected no spacing, one, or one for each of {len(axes)} axes, got {len(varargs)}")
    out = [_slopes(y, as_array("gradient", h), i) for i, h in zip(axes, spacings, strict=True)]
    return out[0] if len(out) == 1 else out


def _slopes(y: Array, h: Array, axis: int) -> Array:
    n = y.aval.shape[axis]
    if n < 2:
        raise ValueError(f"gradient: axis {axis} of shape {y.aval.shape} must have at least 2 samples")

    def at(a: int, b: int) -> Array:
        return slice_in_dim(y, a, b, 1, axis)

    y, h = _promoted(y, h)
    if h.aval.ndim == 0:
        inner = div(sub(at(2, n), at(0, n - 2)), mul(h, scalar(h, 2)))
        first, last = div(sub(at(1, 2), at(0, 1)), h), div(sub(at(n - 1, n), at(n - 2, n - 1)), h)
        return concatenate([first, inner, last], axis)
    if h.aval.shape != (n,):
        raise ValueError(f"gradient: coordinates along axis {axis} must have shape ({n},), got {h.aval.shape}")
    steps = _differences(shape_ops.reshape(h, tuple(n if d == axis else 1 for d in range(y.aval.ndim))), axis)
    slopes = div(sub(at(1, n), at(0, n - 1)), steps)
    m = n - 1
    one, two = slice_in_dim(steps, 0, m - 1, 1, axis), slice_in_dim(steps, 1, m, 1, axis)
    left, right = slice_in_dim(slopes, 0, m - 1, 1, axis), slice_in_dim(slopes, 1, m, 1, axis)
    inner = div(add(mul(two, left), mul(one, right)), add(one, two))
    return concatenate([slice_in_dim(slopes, 0, 1, 1, axis), inner, slice_in_dim(slopes, m - 1, m, 1, axis)], axis)


def _promoted(x: Array, y: Array) -> tuple[Array, Array]:
    """Both arrays in the dtype to which they promote."""
    kind, weak = dtypes.to_inexact(*dtypes.join(x.aval.dtype, x.aval.weak_type, y.aval.dtype, y.aval.weak_type))
    return shape_ops.convert_element_type(x, kind, weak), shape_ops.convert_element_type(y, kind, weak)


@boundary
def trapezoid(y: ArrayLike, x: ArrayLike | None = None, dx: ArrayLike = 1.0, axis: int = -1) -> Array:
    """The integral of sampled values along an axis by the trapezoidal rule, at coordinates `x` or at distances `dx`.

    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.trapezoid(pnp.array([1., 2., 3.]))
    Array(4., dtype=float32)
    """
    if x is None:
        (values,) = promote_operands("trapezoid", INEXACT, y)
        values, step = promote_operands("trapezoid", INEXACT, values, dx)
        i = one_axis("trapezoid", axis, values.aval.ndim)
        steps = step
    else:
        values, places = _promoted(as_operand(y, "trapezoid", 0), as_operand(x, "trapezoid", 1))
        i = one_axis("trapezoid", axis, values.aval.ndim)
        if places.aval.ndim == 1:
            shape = tuple(places.aval.size if d == i else 1 for d in range(values.aval.ndim))
            places = shape_ops.reshape(places, shape)
            steps = _differences(places, i)
        else:
            steps = _differences(places, i - values.aval.ndim + places.aval.ndim)
    n = values.aval.shape[i]
    if n == 0:
        return sum(values, axis=i)
    pairs = add(slice_in_dim(values, 1, n, 1, i), slice_in_dim(values, 0, n - 1, 1, i))
    return mul(sum(mul(pairs, steps), axis=i), scalar(values, 0.5))


@boundary
def interp(
    x: ArrayLike,
    xp: NestedArrayLike,
    fp: NestedArrayLike,
    left: ArrayLike | None = None,
    right: ArrayLike | None = None,
    period: ArrayLike | None = None,
) -> Array:
    """The piecewise linear function through the points (xp, fp), at `x`; xp must increase.

    Beyond the ends its value is that of the end, or `left` and `right` ("extrapolate" continues the line). With a
    `period`, points are taken modulo it, and xp need not be sorted.
    ValueError unless xp and fp are vectors of one length.

    >>> import pullback.numpy as pnp
    >>> pnp.interp(2.5, pnp.array([1., 2., 3.]), pnp.array([3., 2., 0.]))
    Array(1., dtype=float32)
    """
    places, points = _promoted(as_operand(x, "interp", 0), as_array("interp", xp))
    (values,) = promote_operands("interp", INEXACT, as_array("interp", fp))
    kind, weak = common_dtype("interp", INEXACT, [places.aval, points.aval, values.aval])
    values = shape_ops.convert_element_type(values, kind, weak)
    if points.aval.ndim != 1 or values.aval.shape != points.aval.shape or not points.aval.size:
        raise ValueError(
            f"interp: xp and fp must be vectors of one length, at least 1, got shapes {points.aval.shape} "
            f"and {values.aval.shape}"
        )
    if period is not None:
        length = shape_ops.convert_element_type(as_operand(period, "interp", 5), points.aval.dtype)
        places, points = remainder(places, length), remainder(points, length)
        order = argsort(points)
        points, values = rows(points, order, 0), rows(values, order, 0)
        n = points.aval.size
        before, after = sub(slice_in_dim(points, n - 1, n), length), add(slice_in_dim(points, 0, 1), length)
        points = concatenate([before, points, after], 0)
        values = concatenate([slice_in_dim(values, n - 1, n), values, slice_in_dim(values, 0, 1)], 0)
    n = points.aval.size
    flat = shape_ops.reshape(places, (places.aval.size,))
    i = clip(searchsorted(points, flat, side="right"), 1, max(n - 1, 1))
    low = sub(i, scalar(i, 1))
    x0, y0 = rows(points, low, 0), rows(values, low, 0)
    dx, dy = sub(rows(points, i, 0), x0), sub(rows(values, i, 0), y0)
    # where two points coincide the line is taken flat
    flat_step = compare.eq(dx, scalar(dx, 0))
    divisor = compare.select(flat_step, shape_ops.full(dx.aval.shape, 1, dx.aval.dtype), dx)
    slope = div(dy, shape_ops.convert_element_type(divisor, kind, weak))
    rise = mul(shape_ops.convert_element_type(sub(flat, x0), kind, weak), slope)
    out = add(y0, compare.select(flat_step, scalar(dy, 0), rise))
    first, last = slice_in_dim(points, 0, 1), slice_in_dim(points, n - 1, n)
    for end, given, beyond, k in ((first, left, compare.lt, 0), (last, right, compare.gt, n - 1)):
        if isinstance(given, str):
            if given != "extrapolate":
                raise ValueError(f"interp: left and right must be values or 'extrapolate', got {given!r}")
            continue
        if period is not None:
            continue
        value = slice_in_dim(values, k, k + 1) if given is None else given
        out = where(beyond(flat, end), value, out)
    return shape_ops.reshape(out, places.aval.shape)


@boundary
def unwrap(
    p: ArrayLike, discont: NestedArrayLike | None = None, axis: int = -1, period: ArrayLike = 2 * np.pi
) -> Array:
    """`p` with jumps along an axis of more than `discont` (half a period) turned into their complement to a period.

    TypeError for complex numbers, ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> print(pnp.unwrap(pnp.array([0., 3., 6.5, 0.5]), period=7))
    [0.  3.  6.5 7.5]
    """
    (x,) = promote_operands("unwrap", ANY, p)
    if dtypes.is_complex(x.aval.dtype):
        raise TypeError("unwrap: expected real numbers, got complex ones")
    given = x.aval.dtype
    if not (dtypes.is_integer(given) and isinstance(period, int)):
        x, _ = promote_operands("unwrap", STRONG_FLOAT, x, 1.0)  # integers in the default floating dtype
    length = scalar(x, period) if isinstance(period, (int, float)) else as_operand(period, "unwrap", 3)
    i = one_axis("unwrap", axis, x.aval.ndim)
    jumps = _differences(x, i)
    if dtypes.is_integer(x.aval.dtype):
        half, at_half = scalar(x, -(period // 2)), period % 2 == 0  # type: ignore[operator]
        wrapped = add(remainder(sub(jumps, half), length), half)
        top = sub(scalar(x, 0), half)
    else:
        top = div(length, scalar(x, 2))
        half, at_half = elementwise.neg(top), True
        wrapped = add(remainder(sub(jumps, half), length), half)
    if at_half:
        # half a period forwards stays that, and is not one backwards
        wrapped = where(compare.bitwise_and(compare.eq(wrapped, half), compare.gt(jumps, scalar(x, 0))), top, wrapped)
    fix = sub(wrapped, jumps)
    limit = top if discont is None else as_array("unwrap", discont)
    fix = where(compare.lt(*_promoted(magnitude(jumps), limit)), scalar(x, 0), fix)
    n = x.aval.shape[i]
    rest = add(slice_in_dim(x, 1, n, 1, i), cumsum(fix, i))
    return concatenate([slice_in_dim(x, 0, 1, 1, i), rest], i)


@boundary
def cov(
    m: ArrayLike,
    y: ArrayLike | None = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: ArrayLike | None = None,
    aweights: ArrayLike | None = None,
    dtype: DTypeLike | None = None,
) -> Array:
    """The covariance matrix of variables (the rows of `m`, or with rowvar False its columns) over observations.

    Divided by N - 1, or with `bias` by N, or by N - `ddof`. `fweights` count observations, `aweights` weigh them.
    ValueError for more than 2 axes.

    >>> import pullback.numpy as pnp
    >>> pnp.cov(pnp.array([[0., 1., 2.], [2., 1., 0.]]))
    Array([[ 1., -1.],
           [-1.,  1.]], dtype=float32)
    """
    matrix, kind = _covariance("cov", m, y, rowvar, bias, ddof, fweights, aweights, dtype)
    return shape_ops.convert_element_type(matrix, kind)


def _covariance(
    name: str,
    m: ArrayLike,
    y: ArrayLike | None,
    rowvar: bool,
    bias: bool,
    ddof: int | None,
    fweights: ArrayLike | None,
    aweights: NestedArrayLike | None,
    dtype: DTypeLike | None,
) -> tuple[Array, np.dtype]:
    """The matrix in the dtype that it is accumulated in, and the dtype it is to have."""
    parts = [_variables(name, v, rowvar, first) for v, first in ((m, True), (y, False)) if v is not None]
    x = joined(name, parts, 0) if len(parts) > 1 else parts[0]
    if dtype is not None:
        x = shape_ops.convert_element_type(x, dtypes.requested_dtype(dtype))
    (x,) = promote_operands(name, INEXACT, x)
    kind = x.aval.dtype
    x = shape_ops.convert_element_type(x, accumulator(kind))
    count = x.aval.shape[1]
    less = (0 if bias else 1) if ddof is None else ddof
    weights: Any = None
    for given, argument in ((fweights, "fweights"), (aweights, "aweights")):
        if given is None:
            continue
        w = as_array(name, given)
        if w.aval.shape != (count,):
            raise ValueError(f"{name}: {argument} must have shape ({count},), got {w.aval.shape}")
        if argument == "fweights" and not dtypes.is_integer(w.aval.dtype):
            raise TypeError(f"{name}: fweights count observations, so they must be integers, got {w.aval.str_short()}")
        w = shape_ops.convert_element_type(w, x.aval.dtype)
        weights = w if weights is None else mul(weights, w)
    centre = average(x, axis=1, weights=weights, keepdims=True)
    if weights is None:
        norm: Any = scalar(x, count - less)
    else:
        total = sum(weights)
        spread = (
            total
            if aweights is None
            else div(sum(mul(weights, shape_ops.convert_element_type(as_array(name, aweights), x.aval.dtype))), total)
        )
        unit = scalar(total, 1) if aweights is None else spread
        norm = total if less == 0 else sub(total, mul(scalar(total, less), unit))
    x = sub(x, centre)
    weighted = x if weights is None else mul(x, weights)
    matrix = div(dot(weighted, shape_ops.transpose(conj(x), (1, 0))), norm)
    return shape_ops.reshape(matrix, tuple(n for n in matrix.aval.shape if n != 1)), kind


def _variables(name: str, v: NestedArrayLike, rowvar: bool, first: bool) -> Array:
    x = as_array(name, v)
    if x.aval.ndim > 2:
        raise ValueError(f"{name}: expected at most 2 axes, got shape {x.aval.shape}")
    if x.aval.ndim < 2:
        return shape_ops.reshape(x, (1, x.aval.size))
    return x if rowvar or (first is False and x.aval.shape[0] == 1) else shape_ops.transpose(x, (1, 0))


@boundary
def corrcoef(x: ArrayLike, y: ArrayLike | None = None, rowvar: bool = True, dtype: DTypeLike | None = None) -> Array:
    """The correlation matrix: the covariances divided by the standard deviations. ValueError for more than 2 axes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.corrcoef(pnp.array([[0., 1., 2.], [4., 2., 0.]])))
    [[ 1. -1.]
     [-1.  1.]]
    """
    c, kind = _covariance("corrcoef", x, y, rowvar, False, None, None, None, dtype)
    if c.aval.ndim == 0:
        return shape_ops.convert_element_type(div(c, c), kind)
    n = c.aval.shape[0]
    flat = shape_ops.reshape(c, (n * n,))
    variances = slice_in_dim(flat, 0, n * n, n + 1)
    deviations = sqrt(real(variances))
    r = divide(divide(c, shape_ops.reshape(deviations, (n, 1))), deviations)
    if dtypes.is_complex(r.aval.dtype):
        return make_complex(clip(real(r), -1, 1), clip(imag(r), -1, 1))
    return shape_ops.convert_element_type(clip(r, -1, 1), kind)
