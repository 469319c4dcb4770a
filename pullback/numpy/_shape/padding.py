"""`pad`: arrays continued beyond their edges."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._api.extended_arrays import moves_entries
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, distinct
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue
from pullback._ops import shape as shape_ops
from pullback._ops.assemble import broadcasted_iota, concatenate
from pullback._ops.elementwise import add, div, mul, scalar, sub
from pullback._ops.rounding import floor
from pullback._ops.slicing import pad as pad_op
from pullback._ops.slicing import rev, slice_in_dim
from pullback.numpy._elementwise.promotion import as_operand, constant
from pullback.numpy._elementwise.rounding import round
from pullback.numpy._reductions.moments import mean
from pullback.numpy._reductions.quantiles import median
from pullback.numpy._reductions.reductions import max, min
from pullback.numpy._shape.joining import unstack
from pullback.numpy._types.queries import astype

__all__ = ["pad"]


def _per_axis(name: str, what: str, value: AnyValue, rank: int) -> list[tuple[Any, Any]]:
    """A pair per axis, from one value, one pair, or a pair (or value) per axis."""
    if isinstance(value, dict):
        pairs = [(0, 0)] * rank
        for axis, entry in value.items():
            pairs[axis] = (entry, entry) if np.ndim(entry) == 0 else tuple(entry)
        return pairs
    entries = list(value) if isinstance(value, (tuple, list)) or np.ndim(value) else [value]
    if all(np.ndim(e) == 0 for e in entries):
        if len(entries) == 1:
            return [(entries[0], entries[0])] * rank
        if len(entries) == 2:
            return [(entries[0], entries[1])] * rank
    elif all(np.ndim(e) == 1 and len(e) in (1, 2) for e in entries):
        pairs = [(e[0], e[0]) if len(e) == 1 else (e[0], e[1]) for e in entries]
        if len(pairs) in (1, rank):
            return pairs * rank if len(pairs) == 1 else pairs
    raise ValueError(
        f"{name}: {what} must be a value, a pair (before, after), or a pair for each of the {rank} axes, got {value!r}"
    )


def _widths(pad_width: AnyValue, rank: int) -> list[tuple[int, int]]:
    try:
        widths = [
            (operator.index(low), operator.index(high)) for low, high in _per_axis("pad", "pad_width", pad_width, rank)
        ]
    except TypeError as error:
        raise TypeError(
            f"pad: pad_width must be made of concrete integers, got {pad_width!r}: {error}. Under jit, "
            "widths must be static (static_argnums)."
        ) from None
    if any(w < 0 for pair in widths for w in pair):
        raise ValueError(f"pad: pad_width must not be negative, got {pad_width!r}")
    return widths


def _constant(x: Array, widths: Sequence[tuple[int, int]], constant_values: AnyValue = 0) -> Array:
    rank = x.aval.ndim
    if np.ndim(constant_values) == 0:
        value = _value(x, constant_values)
        return pad_op(x, value, [(low, high, 0) for low, high in widths])
    values = _per_axis("pad", "constant_values", constant_values, rank)
    for axis, ((low, high), (before, after)) in enumerate(zip(widths, values, strict=True)):
        for width, value, config in ((low, before, (low, 0, 0)), (high, after, (0, high, 0))):
            if width:
                entries = [(0, 0, 0)] * rank
                entries[axis] = config
                x = pad_op(x, _value(x, value), entries)
    return x


def _value(x: Array, value: AnyValue) -> Array:
    if type(value) in (bool, int, float):
        return constant(value, make_aval((), x.aval.dtype, x.aval.weak_type))
    return shape_ops.convert_element_type(as_operand(value, "pad", 3), x.aval.dtype)


def _around(edge: Callable[[Array, int, int, bool], Array]) -> Callable[..., Array]:
    """Pad one axis after the other, with the values that `edge(x, axis, width, before)` returns for each end."""

    def padded(x: Array, widths: Any) -> Array:
        for axis, (low, high) in enumerate(widths):
            if low or high:
                parts = [edge(x, axis, low, True)] if low else []
                parts.append(x)
                if high:
                    parts.append(edge(x, axis, high, False))
                x = concatenate(parts, axis)
        return x

    return padded


def _repeated(x: Array, axis: int, width: int) -> Array:
    shape = x.aval.shape
    return shape_ops.broadcast_to(x, (*shape[:axis], width, *shape[axis + 1 :]))


def _end(x: Array, axis: int, before: bool) -> Array:
    n = x.aval.shape[axis]
    return slice_in_dim(x, 0, 1, 1, axis) if before else slice_in_dim(x, n - 1, n, 1, axis)


_edge = _around(lambda x, axis, width, before: _repeated(_end(x, axis, before), axis, width))


def _by_position(
    x: Array, widths: Sequence[tuple[int, int]], positions: Callable[[int, int, int], np.ndarray]
) -> Array:
    """Pad with elements of the array itself, at the indices `positions(n, low, high)` along an axis of length n."""
    for axis, (low, high) in enumerate(widths):
        if low or high:
            x = _runs(x, axis, positions(x.aval.shape[axis], low, high))
    return x


def _runs(x: Array, axis: int, source: np.ndarray) -> Array:
    """The elements of an axis at known positions that run up and down in long stretches: slices and reversed slices."""
    parts = []
    i = 0
    while i < len(source):
        j = i + 1
        step = int(source[j] - source[i]) if j < len(source) else 1
        while j < len(source) and source[j] - source[j - 1] == step and step in (1, -1):
            j += 1
        low, high = sorted((int(source[i]), int(source[j - 1])))
        part = slice_in_dim(x, low, high + 1, 1, axis)
        parts.append(rev(part, (axis,)) if source[j - 1] < source[i] else part)
        i = j
    return concatenate(parts, axis)


def _wrap(n: int, low: int, high: int) -> np.ndarray:
    return np.arange(-low, n + high) % n


def _symmetric(n: int, low: int, high: int) -> np.ndarray:
    position = np.arange(-low, n + high) % (2 * n)
    return np.where(position < n, position, 2 * n - 1 - position)


def _reflect(n: int, low: int, high: int) -> np.ndarray:
    if n == 1:
        return np.zeros(low + 1 + high, int)
    position = np.arange(-low, n + high) % (2 * (n - 1))
    return np.where(position < n, position, 2 * (n - 1) - position)


def _odd(x: Array, widths: Sequence[tuple[int, int]], repeat_edge: bool) -> Array:
    """Reflection in both the edge's value and its index; one stretch at a time, each reflecting everything so far."""
    skip = 0 if repeat_edge else 1
    for axis, (low, high) in enumerate(widths):
        for width, before in ((low, True), (high, False)):
            while width:
                n = x.aval.shape[axis]
                edge = _end(x, axis, before)
                if n == 1:
                    part, chunk = _repeated(edge, axis, width), width
                else:
                    chunk = width if width < n - skip + 1 else n - skip
                    inner = (
                        slice_in_dim(x, skip, skip + chunk, 1, axis)
                        if before
                        else slice_in_dim(x, n - skip - chunk, n - skip, 1, axis)
                    )
                    part = sub(add(edge, edge), rev(inner, (axis,)))
                x = concatenate([part, x] if before else [x, part], axis)
                width -= chunk
    return x


def _ramp(x: Array, widths: Sequence[tuple[int, int]], end_values: AnyValue = 0) -> Array:
    ends = _per_axis("pad", "end_values", end_values, x.aval.ndim)
    kind = x.aval.dtype if dtypes.is_inexact(x.aval.dtype) else np.dtype(np.float32)
    for axis, ((low, high), values) in enumerate(zip(widths, ends, strict=True)):
        parts = [x]
        for width, before, value in ((low, True, values[0]), (high, False, values[1])):
            if not width:
                continue
            edge = shape_ops.convert_element_type(_end(x, axis, before), kind)
            end = shape_ops.convert_element_type(as_operand(value, "pad", 3), kind)
            k = shape_ops.reshape(
                broadcasted_iota(kind, (width,), 0), tuple(width if d == axis else 1 for d in range(x.aval.ndim))
            )
            ramp = add(end, div(mul(sub(edge, end), k), scalar(edge, width)))
            ramp = astype(floor(ramp) if dtypes.is_integer(x.aval.dtype) else ramp, x.aval.dtype)
            parts = [ramp, *parts] if before else [*parts, rev(ramp, (axis,))]
        x = concatenate(parts, axis)
    return x


def _statistic(function: Callable, x: Array, widths: Sequence[tuple[int, int]], stat_length: AnyValue = None) -> Array:
    lengths = (
        [(None, None)] * x.aval.ndim
        if stat_length is None
        else _per_axis("pad", "stat_length", stat_length, x.aval.ndim)
    )

    for axis, ((low, high), (first, last)) in enumerate(zip(widths, lengths, strict=True)):
        n = x.aval.shape[axis]
        parts = [x]
        for width, before, length in ((low, True, first), (high, False, last)):
            if not width:
                continue
            count = n if length is None else np.minimum(operator.index(length), n)
            used = slice_in_dim(x, 0, int(count), 1, axis) if before else slice_in_dim(x, n - int(count), n, 1, axis)
            value = function(used, axis=axis, keepdims=True)
            if dtypes.is_integer(x.aval.dtype) and dtypes.is_inexact(value.aval.dtype):
                value = round(value)
            filler = _repeated(astype(value, x.aval.dtype), axis, width)
            parts = [filler, *parts] if before else [*parts, filler]
        x = concatenate(parts, axis)
    return x


def _even_or_odd(
    x: Array, widths: Sequence[tuple[int, int]], positions: Callable, repeat_edge: bool, reflect_type: str
) -> Array:
    if reflect_type == "even":
        return _by_position(x, widths, positions)
    if reflect_type != "odd":
        raise ValueError(f"pad: reflect_type must be 'even' or 'odd', got {reflect_type!r}")
    return _odd(x, widths, repeat_edge)


def _by_function(x: Array, widths: Sequence[tuple[int, int]], function: Callable, kwargs: dict) -> Array:
    """The user's `function(vector, (before, after), axis, kwargs)`, which returns the vector of the padded length."""
    x = _constant(x, widths)
    for axis in range(x.aval.ndim):
        moved = shape_ops.move_axis(x, axis, x.aval.ndim - 1)
        lead = moved.aval.shape[:-1]
        n = moved.aval.shape[-1]
        rows = shape_ops.reshape(moved, (math.prod(lead), n))
        done = [function(row, widths[axis], axis, kwargs) for row in unstack(rows)]
        stacked = concatenate([shape_ops.reshape(as_operand(r, "pad", 2), (1, n)) for r in done], 0)
        x = shape_ops.move_axis(shape_ops.reshape(stacked, (*lead, n)), x.aval.ndim - 1, axis)
    return x


_MODES: dict[str, tuple[Callable, tuple[str, ...]]] = {
    "constant": (_constant, ("constant_values",)),
    "empty": (_constant, ()),
    "edge": (_edge, ()),
    "wrap": (lambda x, widths: _by_position(x, widths, _wrap), ()),
    "reflect": (
        lambda x, widths, reflect_type="even": _even_or_odd(x, widths, _reflect, False, reflect_type),
        ("reflect_type",),
    ),
    "symmetric": (
        lambda x, widths, reflect_type="even": _even_or_odd(x, widths, _symmetric, True, reflect_type),
        ("reflect_type",),
    ),
    "linear_ramp": (_ramp, ("end_values",)),
    **{
        name: (lambda x, widths, stat_length=None, f=f: _statistic(f, x, widths, stat_length), ("stat_length",))
        for name, f in (("maximum", max), ("minimum", min), ("mean", mean), ("median", median))
    },
}


@moves_entries
def pad(
    array: ArrayLike,
    pad_width: int | Sequence[Any] | dict[int, Any] | np.ndarray,
    mode: str | Callable = "constant",
    **kwargs: AnyValue,
) -> Array:
    """`array` continued beyond its edges, by a width, a pair (before, after), or a pair per axis (or a dict of axes).

    `mode` selects the values: "constant" (`constant_values`, 0 by default), "edge", "wrap", "reflect" and "symmetric"
    (`reflect_type`), "linear_ramp" (`end_values`), "maximum", "minimum", "mean" and "median" (`stat_length`), "empty",
    or a function `f(vector, (before, after), axis, kwargs)` that returns each padded vector.
    ValueError for an unknown mode and for widths that fit no axis.

    >>> import pullback.numpy as pnp
    >>> pnp.pad(pnp.arange(3), (1, 2), mode="edge")
    Array([0, 0, 1, 2, 2, 2], dtype=int32)
    """
    x = as_operand(array, "pad", 0)
    widths = _widths(pad_width, x.aval.ndim)
    if callable(mode):
        return _by_function(x, widths, mode, kwargs)
    if mode not in _MODES:
        raise ValueError(f"pad: unknown mode {mode!r}: expected a function or one of {', '.join(_MODES)}")
    function, known = _MODES[mode]
    if unknown := set(kwargs) - set(known):
        raise ValueError(
            f"pad: mode {mode!r} takes no {', '.join(sorted(unknown))}"
            + (f", only {', '.join(known)}" if known else "")
        )
    if mode not in ("constant", "empty"):
        for n, pair in zip(x.aval.shape, widths, strict=True):
            if n == 0 and any(pair):
                raise ValueError(f"pad: an axis of length 0 (shape {x.aval.shape}) can be padded with constants only")
    return distinct(function(x, widths, **kwargs), array)
