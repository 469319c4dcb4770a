"""Arrays joined, cut apart and repeated: concatenate and stack, split, tile, repeat, block, append."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._api.extended_arrays import moves_entries
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray, NestedArrayLike, distinct
from pullback._core.errors import kind_of
from pullback._core.trace import Tracer
from pullback._core.typing import AnyValue, DTypeLike, Placement, ShapeLike
from pullback._ops import assemble
from pullback._ops import shape as shape_ops
from pullback._ops.gather_numpy import CLIP, GatherDimensionNumbers
from pullback._ops.gather_scatter import gather
from pullback._ops.scatter_functions import scatter_add
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.slicing import slice_in_dim
from pullback.numpy._creation.creation import array, as_array
from pullback.numpy._elementwise.promotion import as_operand, cast, integer
from pullback.numpy._reductions.cumulative import cumsum
from pullback.numpy._reductions.reductions import one_axis, refuse_out
from pullback.numpy._shape.manipulation import atleast_1d, atleast_2d, atleast_3d

__all__ = [
    "concatenate",
    "concat",
    "stack",
    "unstack",
    "vstack",
    "hstack",
    "dstack",
    "column_stack",
    "append",
    "block",
    "split",
    "array_split",
    "hsplit",
    "vsplit",
    "dsplit",
    "tile",
    "repeat",
]


def _sequence(name: str, arrays: Sequence[ArrayLike] | Array | np.ndarray) -> list[Array]:
    """The operands of a join, of one dtype. An array stands for the sequence of its rows."""
    if isinstance(arrays, (Array, np.ndarray)):
        x = as_operand(arrays, name, 0)
        if x.aval.ndim == 0:
            raise ValueError(f"{name}: expected a sequence of arrays, got a 0-d array")
        return list(unstack(x))
    if not isinstance(arrays, (tuple, list)):
        raise TypeError(f"{name}: expected a sequence of arrays, got {kind_of(arrays)}")
    if not len(arrays):
        raise ValueError(f"{name}: expected at least one array, got an empty sequence")
    return [as_array(name, x) if isinstance(x, (tuple, list)) else as_operand(x, name, i) for i, x in enumerate(arrays)]


def _promoted(arrays: list[Array], dtype: DTypeLike | None = None) -> list[Array]:
    if dtype is not None:
        kind = dtypes.requested_dtype(dtype)
        return [shape_ops.convert_element_type(x, kind) for x in arrays]
    first = arrays[0].aval
    if all(x.aval.dtype == first.dtype and x.aval.weak_type == first.weak_type for x in arrays):
        return arrays
    kind, weak = dtypes.promote(*{(x.aval.dtype, x.aval.weak_type): None for x in arrays})
    return [cast(x, kind, weak) for x in arrays]


@moves_entries
def concatenate(
    arrays: Sequence[ArrayLike] | Array | np.ndarray, axis: int | None = 0, dtype: DTypeLike | None = None
) -> Array:
    """The arrays joined along an axis they have, in their common dtype; with axis None they are flattened first.

    ValueError for shapes that differ apart from the axis, an axis out of bounds, or no arrays.

    >>> import pullback.numpy as pnp
    >>> pnp.concatenate([pnp.zeros(1), pnp.arange(2)])
    Array([0., 0., 1.], dtype=float32)
    """
    return joined("concatenate", _sequence("concatenate", arrays), axis, dtype)


def joined(name: str, xs: list[Array], axis: int | None, dtype: DTypeLike | None = None) -> Array:
    """`concatenate` for the function `name`, which errors are to name."""
    if getattr(axis, "ndim", 0):
        raise TypeError(f"{name}: axis must be an integer, got an array. The arrays go into one list: {name}([x, y])")
    xs = _promoted(xs, dtype)
    if axis is None:
        xs = [shape_ops.reshape(x, (x.aval.size,)) for x in xs]
        axis = 0
    shape = xs[0].aval.shape
    if not shape:
        raise ValueError(f"{name}: arrays without axes cannot be joined along one: use stack")
    i = one_axis(name, axis, len(shape))
    shapes = [x.aval.shape for x in xs]
    if any(s != shape and (len(s) != len(shape) or s[:i] != shape[:i] or s[i + 1 :] != shape[i + 1 :]) for s in shapes):
        raise ValueError(
            f"{name}: the arrays must have equal shapes apart from axis {i}, got {', '.join(map(str, shapes))}"
        )
    return assemble.concatenate(xs, i)


@moves_entries
def concat(arrays: Sequence[ArrayLike] | Array | np.ndarray, /, *, axis: int | None = 0) -> Array:
    """`concatenate`, by its name in the array API; the same errors.

    >>> import pullback.numpy as pnp
    >>> pnp.concat([pnp.zeros(1), pnp.ones(1)])
    Array([0., 1.], dtype=float32)
    """
    return joined("concat", _sequence("concat", arrays), axis)


@moves_entries
def stack(
    arrays: Sequence[ArrayLike] | Array | np.ndarray, axis: int = 0, out: None = None, dtype: DTypeLike | None = None
) -> Array:
    """The arrays, which have one shape, joined along a new axis. ValueError for shapes that differ, or no arrays.

    >>> import pullback.numpy as pnp
    >>> pnp.stack([pnp.zeros(2), pnp.ones(2)], axis=1)
    Array([[0., 1.],
           [0., 1.]], dtype=float32)
    """
    refuse_out("stack", out)
    xs = _promoted(_sequence("stack", arrays), dtype)
    shape = xs[0].aval.shape
    if any(x.aval.shape != shape for x in xs):
        raise ValueError(f"stack: the arrays must have one shape, got {', '.join(str(x.aval.shape) for x in xs)}")
    to = one_axis("stack", axis, len(shape) + 1)
    longer = (*shape[:to], 1, *shape[to:])
    return assemble.concatenate([shape_ops.reshape(x, longer) for x in xs], to)


@moves_entries
def unstack(x: ArrayLike, /, *, axis: int = 0) -> tuple[Array, ...]:
    """Split `x` into arrays along an axis, which they lack. ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.unstack(pnp.arange(2))
    (Array(0, dtype=int32), Array(1, dtype=int32))
    """
    x = as_operand(x, "unstack", 0)
    shape = x.aval.shape
    if not shape:
        raise ValueError("unstack: expected an array with axes, got a 0-d array")
    i = one_axis("unstack", axis, len(shape))
    if shape[i] == 0:
        return ()
    rest = (*shape[:i], *shape[i + 1 :])
    return tuple(shape_ops.reshape(part, rest) for part in assemble.split(x, (1,) * shape[i], i))


@moves_entries
def vstack(tup: Sequence[ArrayLike] | Array | np.ndarray, dtype: DTypeLike | None = None) -> Array:
    """The arrays below each other: joined along the first axis, vectors as rows.

    ValueError for shapes that differ apart from that axis.

    >>> import pullback.numpy as pnp
    >>> pnp.vstack([pnp.zeros(2), pnp.ones(2)]).shape
    (2, 2)
    """
    return joined("vstack", [atleast_2d(x) for x in _sequence("vstack", tup)], 0, dtype)


@moves_entries
def hstack(tup: Sequence[ArrayLike] | Array | np.ndarray, dtype: DTypeLike | None = None) -> Array:
    """The arrays stacked horizontally: joined along the second axis, vectors along their only one.

    ValueError for shapes that differ apart from that axis.

    >>> import pullback.numpy as pnp
    >>> pnp.hstack([pnp.zeros(2), pnp.ones(2)]).shape
    (4,)
    """
    xs = [atleast_1d(x) for x in _sequence("hstack", tup)]
    return joined("hstack", xs, 0 if xs[0].ndim == 1 else 1, dtype)


@moves_entries
def dstack(tup: Sequence[ArrayLike] | Array | np.ndarray, dtype: DTypeLike | None = None) -> Array:
    """The arrays behind each other: joined along the third axis. ValueError for shapes that differ.

    >>> import pullback.numpy as pnp
    >>> pnp.dstack([pnp.zeros(2), pnp.ones(2)]).shape
    (1, 2, 2)
    """
    return joined("dstack", [atleast_3d(x) for x in _sequence("dstack", tup)], 2, dtype)


@moves_entries
def column_stack(tup: Sequence[ArrayLike] | Array | np.ndarray) -> Array:
    """The arrays as columns next to each other, vectors as single columns. ValueError for lengths that differ.

    >>> import pullback.numpy as pnp
    >>> pnp.column_stack([pnp.zeros(2), pnp.ones(2)])
    Array([[0., 1.],
           [0., 1.]], dtype=float32)
    """
    xs = _sequence("column_stack", tup)
    return joined("column_stack", [x if x.aval.ndim > 1 else shape_ops.reshape(x, (x.aval.size, 1)) for x in xs], 1)


@moves_entries
def append(arr: NestedArrayLike, values: NestedArrayLike, axis: int | None = None) -> Array:
    """`values` after `arr` along an axis; without one, both flattened.

    ValueError for shapes that differ apart from the axis.

    >>> import pullback.numpy as pnp
    >>> pnp.append(pnp.arange(2), 5)
    Array([0, 1, 5], dtype=int32)
    """
    return joined("append", [as_array("append", arr), as_array("append", values)], axis)


@moves_entries
def block(arrays: NestedArrayLike) -> Array:
    """An array of blocks: innermost lists are joined along the last axis, those around them along the one before.

    ValueError for an empty list and for shapes that do not match.

    >>> import pullback.numpy as pnp
    >>> pnp.block([[pnp.ones((1, 1)), pnp.zeros((1, 2))]])
    Array([[1., 0., 0.]], dtype=float32)
    """
    depth = _depth(arrays)
    rank = max(depth, *_ranks(arrays))
    return _block(arrays, depth, rank, 0)


def _depth(x: NestedArrayLike) -> int:
    if not isinstance(x, list):
        if isinstance(x, tuple):
            raise TypeError("block: expected nested lists of arrays, got a tuple")
        return 0
    if not x:
        raise ValueError("block: a list of blocks must not be empty")
    depths = {_depth(part) for part in x}
    if len(depths) > 1:
        raise ValueError("block: the lists must all be nested to the same depth")
    return depths.pop() + 1


def _ranks(x: NestedArrayLike) -> list[int]:
    return [r for part in x for r in _ranks(part)] if isinstance(x, list) else [0, np.ndim(x)]


def _block(x: AnyValue, depth: int, rank: int, level: int) -> Array:
    if level == depth:
        part = as_operand(x, "block", 0)
        return distinct(shape_ops.reshape(part, (1,) * (rank - part.aval.ndim) + part.aval.shape), x)
    return joined("block", [_block(part, depth, rank, level + 1) for part in x], rank - depth + level)


# --- cutting ---


def _split(
    name: str, ary: ArrayLike, indices_or_sections: int | Sequence[int] | Array | np.ndarray, axis: int, even: bool
) -> list[Array]:
    x = as_operand(ary, name, 0)
    i = one_axis(name, axis, x.aval.ndim)
    n = x.aval.shape[i]
    if isinstance(indices_or_sections, Tracer):
        indices_or_sections = indices_or_sections._concrete(f"{name}: indices_or_sections")
    if isinstance(indices_or_sections, (tuple, list)) or np.ndim(indices_or_sections):
        ends = [integer(name, "an entry of indices_or_sections", e) for e in np.asarray(indices_or_sections)]
        ends = [min(e if e >= 0 else max(e + n, 0), n) for e in ends]
        edges = [0, *ends, n]
    else:
        parts = integer(name, "indices_or_sections", indices_or_sections)
        if parts <= 0 or (even and n % parts):
            raise ValueError(
                f"{name}: an axis of length {n} cannot be cut into {parts} equal parts"
                + (": array_split allows unequal ones" if parts > 0 else "")
            )
        small, longer = divmod(n, parts)
        edges = [0]
        for k in range(parts):
            edges.append(edges[-1] + small + (k < longer))
    if all(a <= b for a, b in zip(edges, edges[1:])):  # noqa: RUF007
        return list(assemble.split(x, [b - a for a, b in zip(edges, edges[1:])], i))  # noqa: RUF007
    return [slice_in_dim(x, a, max(a, b), 1, i) for a, b in zip(edges, edges[1:])]  # noqa: RUF007


@moves_entries
def split(ary: ArrayLike, indices_or_sections: int | Sequence[int] | Array | np.ndarray, axis: int = 0) -> list[Array]:
    """`ary` cut along an axis into a number of equal parts, or before the given positions.

    ValueError for a length that cannot be divided so (see `array_split`) and for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.split(pnp.arange(4), 2)
    [Array([0, 1], dtype=int32), Array([2, 3], dtype=int32)]
    """
    return _split("split", ary, indices_or_sections, axis, even=True)


@moves_entries
def array_split(
    ary: ArrayLike, indices_or_sections: int | Sequence[int] | Array | np.ndarray, axis: int = 0
) -> list[Array]:
    """`split` into parts whose lengths may differ by one.

    ValueError for an axis out of bounds and for less than one part.

    >>> import pullback.numpy as pnp
    >>> pnp.array_split(pnp.arange(3), 2)
    [Array([0, 1], dtype=int32), Array([2], dtype=int32)]
    """
    return _split("array_split", ary, indices_or_sections, axis, even=False)


@moves_entries
def hsplit(ary: ArrayLike, indices_or_sections: int | Sequence[int] | Array | np.ndarray) -> list[Array]:
    """`split` along the second axis, or the only one. ValueError for arrays without axes.

    >>> import pullback.numpy as pnp
    >>> [x.shape for x in pnp.hsplit(pnp.ones((2, 4)), 2)]
    [(2, 2), (2, 2)]
    """
    return _split("hsplit", ary, indices_or_sections, 0 if np.ndim(ary) == 1 else 1, even=True)


@moves_entries
def vsplit(ary: ArrayLike, indices_or_sections: int | Sequence[int] | Array | np.ndarray) -> list[Array]:
    """`split` along the first axis.

    ValueError for an array without axes, and for a number of parts that does not divide its length.

    >>> import pullback.numpy as pnp
    >>> [x.shape for x in pnp.vsplit(pnp.ones((2, 4)), 2)]
    [(1, 4), (1, 4)]
    """
    return _split("vsplit", ary, indices_or_sections, 0, even=True)


@moves_entries
def dsplit(ary: ArrayLike, indices_or_sections: int | Sequence[int] | Array | np.ndarray) -> list[Array]:
    """`split` along the third axis. ValueError for arrays with fewer than three axes.

    >>> import pullback.numpy as pnp
    >>> [x.shape for x in pnp.dsplit(pnp.ones((1, 1, 4)), 2)]
    [(1, 1, 2), (1, 1, 2)]
    """
    return _split("dsplit", ary, indices_or_sections, 2, even=True)


# --- repeating ---


@moves_entries
def tile(A: ArrayLike, reps: ShapeLike | np.ndarray) -> Array:
    """`A` as a whole repeated along its axes, the last one for a single number; more numbers add axes in front.

    ValueError for negative repetitions.

    >>> import pullback.numpy as pnp
    >>> pnp.tile(pnp.arange(2), 2)
    Array([0, 1, 0, 1], dtype=int32)
    """
    x = as_operand(A, "tile", 0)
    given: Any = reps if isinstance(reps, (tuple, list)) or np.ndim(reps) else (reps,)
    counts = [integer("tile", "an entry of reps", r) for r in given]
    if any(r < 0 for r in counts):
        raise ValueError(f"tile: reps must not be negative, got {reps}")
    rank = max(len(counts), x.aval.ndim)
    counts = [1] * (rank - len(counts)) + counts
    shape = (1,) * (rank - x.aval.ndim) + x.aval.shape
    if all(r == 1 for r in counts):
        return distinct(shape_ops.reshape(x, shape), A)
    # every axis is preceded by one that runs over its repetitions
    wide = shape_ops.reshape(x, tuple(n for m in shape for n in (1, m)))
    wide = shape_ops.broadcast_to(wide, tuple(n for r, m in zip(counts, shape, strict=True) for n in (r, m)))
    return shape_ops.reshape(wide, tuple(r * m for r, m in zip(counts, shape, strict=True)))


@moves_entries
def repeat(
    a: ArrayLike,
    repeats: ArrayLike | Sequence[int],
    axis: int | None = None,
    *,
    total_repeat_length: int | None = None,
    out_sharding: Placement = None,
) -> Array:
    """`a` with every element along an axis repeated: `repeats` times, or by its own entry of `repeats`.

    Without an axis, `a` is flattened. Traced `repeats` need `total_repeat_length`, the length of the result, which then
    is truncated, or filled with the last element. ValueError for an axis out of bounds and for `repeats` of another
    length.

    >>> import pullback.numpy as pnp
    >>> pnp.repeat(pnp.arange(2), 2)
    Array([0, 0, 1, 1], dtype=int32)
    """
    y = _repeated(as_operand(a, "repeat", 0), repeats, axis, total_repeat_length)
    return y if out_sharding is None else laid_out("repeat", y, out_sharding)


def _repeated(x: Array, repeats: AnyValue, axis: int | None, total_repeat_length: int | None) -> Array:
    if axis is None:
        x, axis = shape_ops.reshape(x, (x.aval.size,)), 0
    i = one_axis("repeat", axis, x.aval.ndim)
    shape = x.aval.shape
    n = shape[i]
    counts: Any = as_operand(np.asarray(repeats) if isinstance(repeats, (tuple, list)) else repeats, "repeat", 1)
    if not dtypes.is_integer(counts.aval.dtype) or counts.aval.ndim > 1 or counts.aval.size not in (1, n):
        raise ValueError(
            f"repeat: repeats must be an integer, or {n} of them, for axis {axis} of shape {shape}, got "
            f"{counts.aval.str_short()}"
        )
    if isinstance(counts, Tracer) and counts._known() is not None:
        counts = counts._known()
    if isinstance(counts, ConcreteArray):
        numbers = np.asarray(counts.value)
        if numbers.min(initial=0) < 0:
            raise ValueError(f"repeat: repeats must not be negative, got {repeats}")
        if numbers.size == 1 and total_repeat_length is None:
            r = int(numbers.reshape(()))
            wide = shape_ops.reshape(x, (*shape[: i + 1], 1, *shape[i + 1 :]))
            wide = shape_ops.broadcast_to(wide, (*shape[: i + 1], r, *shape[i + 1 :]))
            return shape_ops.reshape(wide, (*shape[:i], n * r, *shape[i + 1 :]))
        positions = np.repeat(np.arange(n), numbers)
        if total_repeat_length is not None:
            short = total_repeat_length - len(positions)
            filler = positions[-1] if len(positions) else 0
            positions = np.concatenate([positions, np.full(max(short, 0), filler)])[:total_repeat_length]
        index = array(positions.astype(np.int32))
    elif total_repeat_length is None:
        counts._concrete("repeat with traced repeats and no total_repeat_length")
        raise AssertionError
    else:
        index = _positions(
            shape_ops.broadcast_to(shape_ops.reshape(counts, (counts.aval.size,)), (n,)), total_repeat_length
        )
    if n == 0:
        return shape_ops.full((*shape[:i], 0, *shape[i + 1 :]), 0, x.aval.dtype, x.aval.weak_type)
    return rows(x, index, i)


def _positions(counts: Array, total: int) -> Array:
    """The index of the element of each repetition, where the numbers of repetitions are data."""
    # a step up at every index where an element ends; if it ends beyond the result, the step is dropped
    ends = shape_ops.convert_element_type(cumsum(counts), np.int32)
    ends = shape_ops.reshape(slice_in_dim(ends, 0, -1), (counts.aval.size - 1, 1))
    steps = scatter_add(
        shape_ops.full((total,), 0, np.dtype(np.int32)),
        ends,
        shape_ops.full((counts.aval.size - 1,), 1, np.dtype(np.int32)),
        GatherDimensionNumbers((), (0,), (0,)),  # type: ignore[arg-type]
    )
    return cumsum(steps)


def rows(x: Array, index: Array, axis: int) -> Array:
    """The elements of `x` along an axis at the positions of a 1-d array, which are clamped."""
    shape = x.aval.shape
    numbers = GatherDimensionNumbers(tuple(d for d in range(len(shape)) if d != axis), (axis,), (axis,))
    sizes = (*shape[:axis], 1, *shape[axis + 1 :])
    return gather(x, shape_ops.reshape(index, (*index.aval.shape, 1)), numbers, sizes, mode=CLIP)
