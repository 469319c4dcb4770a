"""The meaning of an index for an array: the parts of `x[...]`, parsed once, for reading and for updates.

NumPy's rules: an index is a tuple of integers, slices, None (a new axis), one Ellipsis, integer arrays and masks. With
an array among them, integers count as arrays too; all arrays broadcast together, and their common axes take the
position of the first one, or the front, if something else is between them.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ConcreteArray, from_numpy, lift
from pullback._core.array_interface import own_conversion
from pullback._core.dimensions import Dimension, max_dim, min_dim
from pullback._core.errors import InconclusiveDimensionOperation, NonConcreteBooleanIndexError, described
from pullback._core.trace import Tracer
from pullback._core.types import as_size, at_least
from pullback._core.typing import AnyValue, Index
from pullback._ops import shape as shape_ops
from pullback._ops.assemble import concatenate
from pullback._ops.compare import lt, select
from pullback._ops.dynamic_slicing import as_index
from pullback._ops.elementwise import add, scalar
from pullback._ops.families import broadcast_shapes
from pullback._ops.gather_numpy import GatherDimensionNumbers

_INT32 = np.dtype(np.int32)
_FAR = 2**40  # beyond the length of any axis


class Plan(NamedTuple):
    """A parsed index.

    `starts`, `limits`, `strides`: a slice along every axis (whole axes for those that `positions` index).
    `reversed_axes`: the axes to be reversed after it. `middle`: the shape with new axes, which still has the axes that
    an integer drops. `axes`: the axes of `middle` that `positions` index (NumPy data, or traced arrays). `place`: the
    index of the positions' common axes among the others. `shape`: that of the result.
    """

    starts: tuple[int, ...]
    limits: tuple[int, ...]
    strides: tuple[int, ...]
    reversed_axes: tuple[int, ...]
    middle: tuple[int, ...]
    axes: tuple[int, ...]
    positions: tuple[Any, ...]
    common: tuple[int, ...]
    place: int
    shape: tuple[int, ...]

    def takes_all(self, shape: tuple[int, ...]) -> bool:
        """True if the slices leave the array unchanged."""
        return (
            self.limits == shape
            and not self.reversed_axes
            and not any(self.starts)
            and all(s == 1 for s in self.strides)
        )


def read_index(x_shape: tuple[int, ...], key: Index, clamp: bool, wrap: bool = True) -> Plan:
    """Parse an index. `clamp`: known integers out of bounds are clamped; otherwise they stay positions, for the
    gather or scatter to deal with. `wrap`: negative positions count from the end."""
    entries = list(key) if type(key) is tuple else [key]
    parts = []
    for i, entry in enumerate(entries):
        parts.extend(_parts(entry, i, key))
    taken = sum(p[1].ndim if p[0] == "mask" else p[0] in ("slice", "int", "scalar", "array") for p in parts)
    if taken > len(x_shape):
        raise IndexError(
            f"too many indices: the array has {len(x_shape)} axes, shape {x_shape}, but {taken} were indexed"
        )
    dots = [i for i, p in enumerate(parts) if p[0] == "..."]
    if len(dots) > 1:
        raise IndexError("an index can have only one Ellipsis (...)")
    rest = [("slice", slice(None), -1)] * (len(x_shape) - taken)
    if dots:
        parts[dots[0] : dots[0] + 1] = rest
    else:
        parts += rest
    parts = _masks_as_positions(parts, x_shape)
    arrays = [p for p in parts if p[0] in ("array", "flag")]
    starts: list[int] = []
    limits: list[int] = []
    strides: list[int] = []
    backwards: list[int] = []
    middle: list[int] = []
    dropped: list[int] = []
    axes: list[int] = []
    positions: list[Any] = []
    origins: list[int] = []
    for kind, value, origin in parts:
        if kind == "new":
            middle.append(1)
            continue
        if kind == "flag":
            axes.append(len(middle))
            positions.append(np.zeros(1 if value else 0, np.int32))
            origins.append(origin)
            middle.append(1)
            continue
        axis = len(starts)
        n = x_shape[axis]
        if kind == "slice":
            start, limit, step = _slice_bounds(value, n)
            if step < 0:
                backwards.append(axis)
                count = max_dim(0, (start - limit - step - 1) // -step)
                start, limit, step = (start + (count - 1) * step, start + 1, -step) if count else (0, 0, 1)
            starts.append(start)
            limits.append(limit)
            strides.append(step)
            middle.append((limit - start + step - 1) // step)
            continue
        if kind == "int" and not arrays:
            i = value + n if value < 0 and wrap else value
            if n == 0:
                raise IndexError(f"index {value} is out of bounds for axis {axis} of length 0 of shape {x_shape}")
            if clamp:
                i = min(max(i, 0), n - 1)
            if 0 <= i < n:
                starts.append(i)
                limits.append(i + 1)
                strides.append(1)
                dropped.append(len(middle))
                middle.append(1)
                continue
        starts.append(0)
        limits.append(n)
        strides.append(1)
        axes.append(len(middle))
        origins.append(origin)
        if kind == "int":
            value = np.asarray(min(max(value, -_FAR), _FAR), np.int64)
        positions.append(counted(value, n, wrap))
        middle.append(n)
    common = (
        broadcast_shapes("indexing", *[p.aval.shape if isinstance(p, Array) else np.shape(p) for p in positions])
        if positions
        else ()
    )
    together = not arrays or all(b - a <= 1 for a, b in zip(origins, origins[1:]))  # noqa: RUF007
    first = axes[0] if axes and together else 0
    place = first - sum(d < first for d in dropped) if together else 0
    others = [n for i, n in enumerate(middle) if i not in axes and i not in dropped]
    shape = (*others[:place], *common, *others[place:])
    # the middle shape keeps no axis that an integer drops: reading removes them with one reshape
    kept = [i for i in range(len(middle)) if i not in dropped]
    renumbered = {old: new for new, old in enumerate(kept)}
    return Plan(
        tuple(starts),
        tuple(limits),
        tuple(strides),
        tuple(backwards),
        tuple(middle[i] for i in kept),
        tuple(renumbered[a] for a in axes),
        tuple(positions),
        common,
        place,
        shape,
    )


def _masks_as_positions(parts: list[tuple], x_shape: tuple[int, ...]) -> list[tuple]:
    if not any(p[0] == "mask" for p in parts):
        return parts
    out: list[tuple] = []
    axis = 0
    for part in parts:
        kind, value, origin = part
        if kind == "mask":
            if value.shape != x_shape[axis : axis + value.ndim]:
                raise IndexError(
                    f"a mask of shape {value.shape} does not fit the axes it indexes, of lengths "
                    f"{x_shape[axis : axis + value.ndim]} in shape {x_shape}: it must have the same lengths"
                )
            out.extend(("array", positions, origin) for positions in value.nonzero())
            axis += value.ndim
        else:
            out.append(part)
            axis += kind in ("slice", "int", "scalar", "array")
    return out


def _parts(entry: AnyValue, origin: int, key: Index) -> list[tuple[str, Any, int]]:
    kind = type(entry)
    if kind is int:
        return [("int", entry, origin)]
    if kind is slice:
        return [("slice", entry, origin)]
    if entry is None:
        return [("new", None, origin)]
    if entry is Ellipsis:
        return [("...", None, origin)]
    if kind is bool or kind is np.bool_:
        return [("flag", bool(entry), origin)]
    if isinstance(entry, Tracer):
        known = entry._known()
        if known is None:
            if entry.aval.dtype.kind == "b":
                raise NonConcreteBooleanIndexError(
                    f"indexing with a traced mask of type {entry.aval.str_short()}: the shape of the result would "
                    f"depend on data, in {entry._trace.describe()}. Use numpy.where(mask, x, y), a reduction with "
                    "where=mask, x.at[...] with positions, or numpy.nonzero(mask, size=...) for a fixed "
                    "number of them."
                )
            _check_integer(entry.aval.dtype, key)
            return [("scalar" if entry.aval.ndim == 0 else "array", entry, origin)]
        entry = known
    if isinstance(entry, str):
        raise TypeError(f"an array cannot be indexed with a string, got {entry!r}")
    if isinstance(entry, ConcreteArray):
        value = np.asarray(entry.value)
    elif isinstance(entry, (np.ndarray, np.generic)):
        value = np.asarray(entry)
    elif isinstance(entry, (list, tuple)):
        if (kind is tuple and type(key) is not tuple) or key is entry:
            raise TypeError(_sequence_message)
        if any(isinstance(e, Tracer) for e in entry):
            return _parts(concatenate([shape_ops.reshape(lift(e), (1,)) for e in entry], 0), origin, key)
        value = np.asarray(entry)
        value = value.astype(np.int64) if value.size == 0 else value
    elif hasattr(entry, "__array__") or own_conversion(entry) is not None:
        return _parts(lift(entry), origin, key)
    else:
        try:
            return [("int", operator.index(entry), origin)]
        except TypeError:
            raise TypeError(
                f"an index must be made of integers, slices, None, Ellipsis and arrays of integers or "
                f"bools, got {described(entry)}"
            ) from None
    if value.dtype.kind == "b":
        if value.ndim == 0:
            return [("flag", bool(value), origin)]
        return [("mask", value, origin)]
    _check_integer(value.dtype, key)
    return [("int", int(value), origin)] if value.ndim == 0 else [("array", value, origin)]


_sequence_message = (
    "a list is no index, for it could mean a tuple of indices or an array of positions: write "
    "x[numpy.array([...])] or x[tuple(...)]"
)


def _check_integer(dtype: np.dtype, key: Index) -> None:
    if not dtypes.is_integer(dtype):
        raise TypeError(
            f"an index must be of integers or bools, got {dtype.name}"
            + (": convert it with .astype(int)" if dtypes.is_float(dtype) else "")
        )


def _slice_bounds(s: slice, n: int) -> tuple[int, int, int]:
    try:
        start, limit, step = s.indices(n)
        return start, max(start, limit) if step > 0 else limit, step
    except InconclusiveDimensionOperation:
        return _symbolic_bounds(s, n)
    except TypeError as error:
        traced = any(isinstance(b, Tracer) for b in (s.start, s.stop, s.step))
        hint = (
            (
                ": the bounds of a slice are its shape, so they must be known. Use lax.dynamic_slice for a place that "
                "is data, static_argnums for a length"
            )
            if traced
            else ""
        )
        raise type(error)(f"slice({s.start!r}, {s.stop!r}, {s.step!r}): {error}{hint}") from None


def _symbolic_bounds(s: slice, n: Any) -> tuple[Any, Any, int]:
    """As `s.indices(n)`, the limit not before the start, where some of the numbers are symbolic."""
    step = 1 if s.step is None else operator.index(s.step)
    if step == 0:
        raise ValueError("slice step cannot be zero")
    first, last = (0, n) if step > 0 else (-1, n - 1)

    def place(bound: Any, default: Any) -> Any:
        if bound is None:
            return default
        bound = as_size(bound)
        return min_dim(max_dim(bound + n if bound < 0 else bound, first), last)

    start, limit = place(s.start, first if step > 0 else last), place(s.stop, last if step > 0 else first)
    return start, max_dim(start, limit) if step > 0 else limit, step


def counted(p: np.ndarray | Array, n: int, wrap: bool) -> Any:
    """Positions that count from the beginning of an axis of length n."""
    if isinstance(p, np.ndarray):
        if not wrap or p.dtype.kind not in "iV":
            return p
        if not isinstance(n, Dimension):
            return np.where(p < 0, p.astype(np.int64) + n, p)
        if not (p < 0).any():
            return p
        p = lift(within_int32(p).astype(np.int32))
    if not dtypes.is_unsigned(p.aval.dtype) and wrap:
        if at_least(n, dtypes.iinfo(p.aval.dtype).max + 1) or isinstance(n, Dimension):
            p = shape_ops.convert_element_type(p, _INT32)
        p = select(lt(p, scalar(p, 0)), add(p, scalar(p, n)), p)
    return p


def within_int32(p: np.ndarray) -> np.ndarray:
    """Indices as int32; values beyond its range stay out of bounds."""
    limits = np.iinfo(np.int32)
    if dtypes.is_unsigned(p.dtype):
        return np.minimum(p, limits.max) if p.dtype.itemsize >= 4 else p
    return np.clip(p, limits.min, limits.max) if p.dtype.itemsize > 4 else p


def index_vectors(positions: tuple[Any, ...], common: tuple[int, ...]) -> Array:
    """The positions as vectors along the last axis of one array."""
    if all(isinstance(p, np.ndarray) for p in positions):
        stacked = np.empty((*common, len(positions)), np.int32)
        for k, p in enumerate(positions):
            stacked[..., k] = within_int32(p)
        return from_numpy(stacked)
    columns = []
    for p in positions:
        p = lift(within_int32(p).astype(np.int32)) if isinstance(p, np.ndarray) else p
        if p.aval.dtype != _INT32 and (len(positions) > 1 or p.aval.dtype.itemsize < 4):
            p = as_index(p)
        columns.append(shape_ops.reshape(shape_ops.broadcast_to(p, common), (*common, 1)))
    return concatenate(columns, len(common))


def dimension_numbers(plan: Plan) -> tuple[GatherDimensionNumbers, tuple[int, ...]]:
    """Those of the gather of a plan's positions from an array of its middle shape, and the sizes of its windows."""
    end = plan.place + len(plan.common)
    windows = tuple(i for i in range(len(plan.shape)) if not plan.place <= i < end)
    sizes = tuple(1 if i in plan.axes else n for i, n in enumerate(plan.middle))
    return GatherDimensionNumbers(windows, plan.axes, plan.axes), sizes
