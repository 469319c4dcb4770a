"""Reductions over segments: the rows of an array, grouped by an id for each."""

from __future__ import annotations

import functools
import typing as _typing
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import ConcretizationTypeError, boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.typing import Placement
from pullback._higher_order.control.associative_scan import associative_scan
from pullback._ops.gather_numpy import CLIP, GatherScatterMode, mode_of
from pullback._ops.reduce import highest, lowest
from pullback._ops.sharding_constraint import laid_out
from pullback.custom_derivatives import custom_jvp
from pullback.numpy._elementwise.promotion import as_operand, integer

__all__ = ["segment_max", "segment_min", "segment_prod", "segment_sum"]


def _lowest(dtype: np.dtype) -> Any:
    return -np.inf if dtypes.is_complex(dtype) else lowest(dtype)


def _highest(dtype: np.dtype) -> Any:
    return np.inf if dtypes.is_complex(dtype) else highest(dtype)


@boundary
def segment_sum(
    data: ArrayLike,
    segment_ids: ArrayLike,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: str | GatherScatterMode | None = None,
    out_sharding: Placement = None,
) -> Array:
    """The sum of the rows of each segment: `out[i] = sum(data[segment_ids == i], axis=0)`; 0 for an empty one.

    Args:
      data: an array of numbers; its rows are along the first axis.
      segment_ids: integers, one for each row. They may repeat and need no order. A row whose id is negative or at least
        `num_segments` is dropped.
      num_segments: the length of the result's first axis; the largest id plus 1 by default. It cannot depend on traced
        data, so under `jit` it must be given.
      indices_are_sorted, unique_indices: promises about the ids that make compiled code faster; if they are broken,
        results are undefined.
      bucket_size: sum blocks of this many rows first and then their sums, which rounds less in long segments.
      mode: the treatment of rows with ids out of range: "drop", the default, "clip" to the nearest segment, or
        "promise_in_bounds", which means that there are none.
      out_sharding: where the result is to be; see `pullback.reshard`.

    Returns: an array of shape `(num_segments, *data.shape[1:])` and the dtype of `data`.
    Raises: TypeError for ids that are not integers and for bools as data; ValueError for shapes that do not match, a
      negative `num_segments` and a `bucket_size` below 1; ConcretizationTypeError if `num_segments` is missing and
      the ids are traced.

    >>> import pullback.numpy as pnp
    >>> from pullback import ops
    >>> print(ops.segment_sum(pnp.array([1., 2., 3.]), pnp.array([0, 2, 0])))
    [4. 0. 2.]
    """
    result = _segments(
        "segment_sum", data, segment_ids, num_segments, indices_are_sorted, unique_indices, bucket_size, mode
    )
    return laid_out("segment_sum", result, out_sharding)


@boundary
def segment_prod(
    data: ArrayLike,
    segment_ids: ArrayLike,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: str | GatherScatterMode | None = None,
    out_sharding: Placement = None,
) -> Array:
    """The product of the rows of each segment, 1 for an empty one. Arguments and errors are those of `segment_sum`.

    >>> import pullback.numpy as pnp
    >>> from pullback import ops
    >>> print(ops.segment_prod(pnp.array([1., 2., 3.]), pnp.array([0, 2, 0])))
    [3. 1. 2.]
    """
    result = _segments(
        "segment_prod", data, segment_ids, num_segments, indices_are_sorted, unique_indices, bucket_size, mode
    )
    return laid_out("segment_prod", result, out_sharding)


@boundary
def segment_max(
    data: ArrayLike,
    segment_ids: ArrayLike,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: str | GatherScatterMode | None = None,
    out_sharding: Placement = None,
) -> Array:
    """The largest entries of the rows of each segment; for an empty one the lowest value of the dtype, -inf in floats.

    Bools are accepted too. Arguments and errors are those of `segment_sum`. Equal entries share the derivative.

    >>> import pullback.numpy as pnp
    >>> from pullback import ops
    >>> print(ops.segment_max(pnp.array([1., 2., 3.]), pnp.array([0, 2, 0])))
    [  3. -inf   2.]
    """
    result = _segments(
        "segment_max", data, segment_ids, num_segments, indices_are_sorted, unique_indices, bucket_size, mode
    )
    return laid_out("segment_max", result, out_sharding)


@boundary
def segment_min(
    data: ArrayLike,
    segment_ids: ArrayLike,
    num_segments: int | None = None,
    indices_are_sorted: bool = False,
    unique_indices: bool = False,
    bucket_size: int | None = None,
    mode: str | GatherScatterMode | None = None,
    out_sharding: Placement = None,
) -> Array:
    """The smallest entries of the rows of each segment; for an empty one the highest value of the dtype, inf in floats.

    Bools are accepted too. Arguments and errors are those of `segment_sum`. Equal entries share the derivative.

    >>> import pullback.numpy as pnp
    >>> from pullback import ops
    >>> print(ops.segment_min(pnp.array([1., 2., 3.]), pnp.array([0, 2, 0])))
    [ 1. inf  2.]
    """
    result = _segments(
        "segment_min", data, segment_ids, num_segments, indices_are_sorted, unique_indices, bucket_size, mode
    )
    return laid_out("segment_min", result, out_sharding)


# the update of x.at[...], the reduction of several buckets, and the value of an empty segment
_REDUCTIONS: dict[str, tuple[str, Callable[..., Array], Callable[[np.dtype], Any]]] = {
    "segment_sum": ("add", pnp.sum, lambda dtype: 0),
    "segment_prod": ("multiply", pnp.prod, lambda dtype: 1),
    "segment_max": ("max", pnp.max, _lowest),
    "segment_min": ("min", pnp.min, _highest),
}


class _Settings(NamedTuple):
    """The settings that are independent of the data: the number of segments, and the options of the update."""

    segments: int
    indices_are_sorted: bool
    unique_indices: bool
    mode: Any


def _segments(
    name: str,
    data: ArrayLike,
    segment_ids: ArrayLike,
    num_segments: int | None,
    indices_are_sorted: bool,
    unique_indices: bool,
    bucket_size: int | None,
    mode: str | GatherScatterMode | None,
) -> Array:
    x, ids = _operands(name, data, segment_ids)
    segments = _count(name, ids) if num_segments is None else integer(name, "num_segments", num_segments)
    if segments < 0:
        raise ValueError(f"{name}: num_segments must not be negative, got {segments}")
    mode = mode_of(name, mode)
    if mode is CLIP:
        # a narrow dtype might not hold the number of segments
        ids = pnp.clip(ids.astype(int) if ids.dtype.itemsize < 4 else ids, 0, max(segments - 1, 0))
    settings = _Settings(segments, bool(indices_are_sorted), bool(unique_indices), mode)
    if bucket_size is None:
        return _scattered(name, x, ids, settings)
    size, n = integer(name, "bucket_size", bucket_size), x.shape[0]
    if size < 1:
        raise ValueError(f"{name}: bucket_size must be positive, got {size}")
    # each bucket has an extra segment at either end, for the rows that are dropped, so that sorted ids stay sorted
    count, width = -(-n // size), segments + 2
    places = pnp.arange(n) // size * width + pnp.clip(ids.astype(int), -1, segments) + 1
    parts = _scattered(name, x, places, settings._replace(segments=count * width, unique_indices=False))
    _, reduction, identity = _REDUCTIONS[name]
    return reduction(parts.reshape(count, width, *x.shape[1:])[:, 1:-1], axis=0, initial=identity(x.dtype)).astype(
        x.dtype
    )


def _operands(name: str, data: ArrayLike, segment_ids: ArrayLike) -> tuple[Array, Array]:
    x, ids = as_operand(data, name, "data"), as_operand(segment_ids, name, "segment_ids")
    if not dtypes.is_integer(ids.dtype):
        raise TypeError(f"{name}: segment_ids must be integers, got {ids.aval.str_short()}")
    if ids.ndim != 1 or x.shape[:1] != ids.shape:
        raise ValueError(
            f"{name}: segment_ids must be a vector with an entry for each row of data, got segment_ids of "
            f"shape {ids.shape} and data of shape {x.shape}"
        )
    if x.dtype.kind == "b" and name in ("segment_sum", "segment_prod"):
        raise TypeError(f"{name}: data must be numbers, got {x.aval.str_short()}; convert it with .astype(int)")
    if dtypes.is_complex(x.dtype) and name in ("segment_max", "segment_min"):
        raise TypeError(f"{name}: data must be real, for complex numbers have no order; got {x.aval.str_short()}")
    return x, ids


def _count(name: str, ids: Array) -> int:
    if ids.size == 0:
        raise ValueError(f"{name}: without segment_ids the number of segments is unknown; give num_segments")
    try:
        return int(pnp.max(ids)) + 1
    except ConcretizationTypeError:
        raise ConcretizationTypeError(
            f"{name}: the number of segments is the length of an axis, but here it would depend on segment_ids that "
            "are traced. Give num_segments."
        ) from None


def _scattered(name: str, x: Array, ids: Array, settings: _Settings) -> Array:
    if name == "segment_prod":
        return _product(x, ids, settings)
    return _updated(name, x, ids, settings)


def _updated(name: str, x: Array, ids: Array, settings: _Settings) -> Array:
    update, _, identity = _REDUCTIONS[name]
    segments, *options = settings
    empty = pnp.full((segments, *x.shape[1:]), identity(x.dtype), x.dtype)
    if not segments:
        return empty  # every row is dropped, and an axis of length 0 takes no index
    return getattr(empty.at[ids], update)(
        x, **dict(zip(settings._fields[1:], options, strict=True)), wrap_negative_indices=False
    )


# --- the derivative of a product: the sum of the tangents, each times the product of the other factors ---


@functools.partial(custom_jvp, nondiff_argnums=(2,))
def _product(x: Array, ids: Array, settings: _Settings) -> Array:
    return _updated("segment_prod", x, ids, settings)


@_product.defjvp
def _(settings: _Settings, primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[Array, Array]:
    x, ids = primals
    return _product(x, ids, settings), _updated("segment_sum", _others(x, ids) * tangents[0], ids, settings)


def _others(x: Array, ids: Array) -> Array:
    """For each row, the product of the other rows of its segment: right for factors of 0, as is its derivative.

    It is the product of the rows before and after it, in the order of the ids.
    """
    order = pnp.argsort(ids)
    rows, ids = x[order], ids[order]
    new = (ids[1:] != ids[:-1]).reshape(-1, *(1,) * (x.ndim - 1))
    first = pnp.ones_like(rows[:1])
    edge = pnp.ones((1, *new.shape[1:]), bool)

    def combine(a, b):
        return a[0] | b[0], pnp.where(b[0], 1, a[1]) * b[1]

    before = (pnp.concatenate([edge, new]), pnp.concatenate([first, pnp.where(new, 1, rows[:-1])]))
    behind = (pnp.concatenate([new, edge]), pnp.concatenate([pnp.where(new, 1, rows[1:]), first]))
    product = associative_scan(combine, before)[1] * associative_scan(combine, behind, reverse=True)[1]
    return product[pnp.argsort(order)]


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
