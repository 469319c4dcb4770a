"""Other layouts of the entries of a BCOO: transposed, reshaped, broadcast, joined, with other batch or dense axes."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core.array import Array
from pullback._core.errors import boundary
from pullback._core.typing import Shape
from pullback.experimental.sparse._base import SparseEfficiencyError, SparseEfficiencyWarning, as_format, with_batch
from pullback.experimental.sparse._bcoo import BCOO
from pullback.experimental.sparse._entries import in_bounds, masked, sizes_of, without
from pullback.lax import broadcast_in_dim
from pullback.numpy import arange, broadcast_to, concatenate, moveaxis, pad, where, zeros


@boundary
def bcoo_transpose(mat: BCOO, *, permutation: Sequence[int]) -> BCOO:
    """A BCOO with its axes in another order.

    Args:
      mat: a BCOO.
      permutation: the axes in their new order; batch, sparse and dense axes stay among themselves.

    Raises: TypeError for what is no BCOO; ValueError for what is no permutation; NotImplementedError for one that mixes
      the three kinds of axes, for which `update_layout` can make all of one kind.

    >>> from pullback.experimental import sparse
    >>> bcoo_transpose(sparse.eye(2, 3, 1), permutation=(1, 0)).indices.tolist()
    [[1, 0], [2, 1]]
    """
    as_format("bcoo_transpose", mat, BCOO)
    order = tuple(map(operator.index, permutation))
    if sorted(order) != list(range(mat.ndim)):
        raise ValueError(f"bcoo_transpose: {order} is no permutation of the {mat.ndim} axes")
    n_batch, n_sparse = mat.n_batch, mat.n_sparse
    batch, sparse, rest = order[:n_batch], order[n_batch : n_batch + n_sparse], order[n_batch + n_sparse :]
    if sorted(batch) != list(range(n_batch)):
        raise NotImplementedError(
            f"transpose permutation cannot permute batch axes with non-batch axes; got permutation {order}, with "
            f"n_batch={n_batch}. update_layout(n_batch=0) makes sparse axes of them."
        )
    if sorted(sparse) != list(range(n_batch, n_batch + n_sparse)):
        raise NotImplementedError(
            f"transpose permutation cannot permute dense axes with non-dense axes; got permutation {order}, with "
            f"n_dense={mat.n_dense}. update_layout(n_dense=0) makes sparse axes of them."
        )
    data = mat.data.transpose((*batch, n_batch, *(i - n_sparse + 1 for i in rest)))
    indices = mat.indices[..., np.array([i - n_batch for i in sparse], np.int32)] if n_sparse else mat.indices
    indices = indices.transpose((*batch, n_batch, n_batch + 1))
    kept = sparse == tuple(range(n_batch, n_batch + n_sparse))
    return BCOO(
        (data, indices),
        shape=[mat.shape[i] for i in order],
        indices_sorted=mat.indices_sorted and kept,
        unique_indices=mat.unique_indices,
    )


def _blocks(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """The axes of two shapes of one size, cut into parts of equal sizes."""
    parts, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        left, right = [i] if i < len(old) else [], [j] if j < len(new) else []
        i, j = i + len(left), j + len(right)
        while (a := math.prod(old[k] for k in left)) != (b := math.prod(new[k] for k in right)):
            if a < b:
                left.append(i)
                i += 1
            else:
                right.append(j)
                j += 1
        parts.append((left, right))
    return parts


def _in_shape(indices: Array, old: Shape, new: Shape) -> Array:
    """The indices of the entries of an array of shape `old` in its reshaped form."""
    columns: dict[int, Any] = {}
    for left, right in _blocks(old, new):
        if math.prod(old[k] for k in left) > np.iinfo(indices.dtype).max:
            raise OverflowError(
                f"bcoo_reshape: from {old} to {new} needs indices beyond {indices.dtype}: use 64-bit indices"
            )
        place: Any = zeros(indices.shape[:-1], indices.dtype)
        for k in left:
            place = place * old[k] + indices[..., k]
        for k in reversed(right):
            columns[k] = place % new[k] if k != right[0] else place
            place = place // new[k]
    moved = _columns(indices, [columns[k] for k in range(len(new))])
    return without(moved, in_bounds(indices, old), new)


def _columns(indices: Array, columns: Sequence[Array]) -> Array:
    if not columns:
        return zeros((*indices.shape[:-1], 0), indices.dtype)
    return concatenate([column[..., None] for column in columns], -1)


def _cut(sizes: Shape, count: int) -> int | None:
    """How many of the leading sizes have the product `count`, the most of them; None if there is no such number."""
    found = [i for i in range(len(sizes) + 1) if math.prod(sizes[:i]) == count]
    return found[-1] if found else None


@boundary
def bcoo_reshape(
    mat: BCOO, *, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None, sharding: None = None
) -> BCOO:
    """A BCOO with another shape.

    Args:
      mat: a BCOO.
      new_sizes: the shape, of the same size, whose leading axes are those of the batch, and the last the dense ones.
      dimensions: the order in which the axes are read.
      sharding: only None.

    Raises: TypeError for what is no BCOO; ValueError for another size, and for axes that mix batch, sparse and dense
      ones; OverflowError if the indices are too large for their dtype.

    >>> from pullback.experimental import sparse
    >>> bcoo_reshape(sparse.eye(2), new_sizes=(4,)).indices.tolist()
    [[0], [3]]
    """
    as_format("bcoo_reshape", mat, BCOO)
    if dimensions is not None:
        mat = bcoo_transpose(mat, permutation=dimensions)
    new = tuple(map(operator.index, new_sizes))
    if math.prod(new) != mat.size:
        raise ValueError(f"bcoo_reshape: an array of shape {mat.shape} cannot have the shape {new}")
    if not mat.size:
        return BCOO._empty(new, dtype=mat.dtype, index_dtype=mat.indices.dtype)
    n_batch, n_sparse = mat.n_batch, mat.n_sparse
    leading = _cut(new, math.prod(mat.shape[:n_batch]))
    if leading is None:
        raise ValueError(
            f"bcoo_reshape: new shape cannot mix batch and sparse dimensions; got shape={mat.shape} new_shape={new} "
            f"with n_batch={n_batch}"
        )
    count = _cut(new[leading:], math.prod(mat._sparse_shape))
    if count is None:
        raise ValueError(
            f"bcoo_reshape: new shape cannot mix sparse and dense dimensions; got shape={mat.shape} new_shape={new} "
            f"with n_dense={mat.n_dense}"
        )
    batch, sparse, rest = new[:leading], new[leading : leading + count], new[leading + count :]
    data, indices = mat._full() if n_batch else (mat.data, mat.indices)
    moved = _in_shape(indices, mat.shape[n_batch : n_batch + n_sparse], sparse)
    if not count:
        data = masked(data, in_bounds(indices, mat._sparse_shape))
    return BCOO((data.reshape((*batch, mat.nse, *rest)), moved.reshape((*batch, mat.nse, count))), shape=new)


def without_columns(data: Array, indices: Array, sizes: Shape, kept: Sequence[int]) -> tuple[Array, Array]:
    """Data and indices, of which some columns are kept."""
    valid = in_bounds(indices, sizes)
    moved = without(_columns(indices, [indices[..., k] for k in kept]), valid, [sizes[k] for k in kept])
    return (data if kept else masked(data, valid)), moved


@boundary
def bcoo_squeeze(arr: BCOO, *, dimensions: Sequence[int]) -> BCOO:
    """A BCOO without some of its axes of length 1.

    Args:
      arr: a BCOO.
      dimensions: the axes.

    Raises: TypeError for what is no BCOO; ValueError for an axis of another length.

    >>> from pullback.experimental import sparse
    >>> bcoo_squeeze(sparse.empty((1, 3)), dimensions=(0,))
    BCOO(float32[3], nse=0)
    """
    as_format("bcoo_squeeze", arr, BCOO)
    gone = {operator.index(d) % max(arr.ndim, 1) for d in dimensions}
    if any(d >= arr.ndim or arr.shape[d] != 1 for d in gone):
        raise ValueError(f"bcoo_squeeze: the axes {tuple(dimensions)} of shape {arr.shape} must have length 1")
    n_batch, n_sparse = arr.n_batch, arr.n_sparse
    kept = [d - n_batch for d in range(n_batch, n_batch + n_sparse) if d not in gone]
    data, indices = without_columns(arr.data, arr.indices, arr._sparse_shape, kept)
    batch = tuple(d for d in gone if d < n_batch)
    rest = tuple(d - n_sparse + 1 for d in gone if d >= n_batch + n_sparse)
    return BCOO(
        (data.squeeze(batch + rest), indices.squeeze(batch)),
        shape=[n for d, n in enumerate(arr.shape) if d not in gone],
        unique_indices=arr.unique_indices and bool(kept),
    )


@boundary
def bcoo_broadcast_in_dim(
    mat: BCOO, *, shape: Shape, broadcast_dimensions: Sequence[int], sharding: None = None
) -> BCOO:
    """A BCOO with further axes: in front and among the batch axes of any length, elsewhere of length 1.

    Args:
      mat: a BCOO.
      shape: the new shape.
      broadcast_dimensions: for each axis of `mat` its place in it.
      sharding: only None.

    Raises: TypeError for what is no BCOO; ValueError for axes that do not fit; NotImplementedError for longer sparse
      axes, for which entries would be stored again and again.

    >>> from pullback.experimental import sparse
    >>> bcoo_broadcast_in_dim(sparse.eye(2), shape=(3, 2, 2), broadcast_dimensions=(1, 2))
    BCOO(float32[3, 2, 2], nse=2, n_batch=1)
    """
    as_format("bcoo_broadcast_in_dim", mat, BCOO)
    new, dims = tuple(map(int, shape)), tuple(map(operator.index, broadcast_dimensions))
    fits = len(dims) == mat.ndim and list(dims) == sorted(set(dims)) and all(0 <= d < len(new) for d in dims)
    if not fits or any(n not in (1, new[d]) for n, d in zip(mat.shape, dims, strict=True)):
        raise ValueError(
            f"bcoo_broadcast_in_dim: an array of shape {mat.shape} with its axes at {dims} does not fit shape {new}"
        )
    n_batch, n_sparse = mat.n_batch, mat.n_sparse
    leading = dims[n_batch] if n_batch < mat.ndim else len(new)
    trailing = dims[n_batch + n_sparse - 1] + 1 if mat.n_dense and n_sparse else len(new)
    if mat.n_dense and not n_sparse:
        trailing = leading
    places = {d: k for k, d in enumerate(dims[n_batch : n_batch + n_sparse])}
    for d in range(leading, trailing):
        if new[d] != (mat._sparse_shape[places[d]] if d in places else 1):
            raise NotImplementedError(
                "Adding sparse dimensions with lengths != 1: an entry would be stored for each of the "
                f"{new[d]} places along axis {d}. Use todense(), or update_layout for batch axes."
            )
    data, indices = mat.data, mat.indices
    columns = [
        indices[..., places[d]] if d in places else zeros(indices.shape[:-1], indices.dtype)
        for d in range(leading, trailing)
    ]
    sizes = new[leading:trailing]
    moved = without(_columns(indices, columns), in_bounds(indices, mat._sparse_shape), sizes)
    nse = mat.nse
    data = broadcast_in_dim(
        data,
        (*new[:leading], nse, *new[trailing:]),
        (*dims[:n_batch], leading, *(d - trailing + leading + 1 for d in dims[n_batch + n_sparse :])),
    )
    moved = broadcast_in_dim(moved, (*new[:leading], nse, len(sizes)), (*dims[:n_batch], leading, leading + 1))
    return BCOO((data, moved), shape=new)


@boundary
def bcoo_concatenate(operands: Sequence[BCOO], *, dimension: int) -> BCOO:
    """Several BCOOs joined along an axis.

    Args:
      operands: BCOOs of one layout, whose shapes differ in this axis alone.
      dimension: the axis, of the batch or a sparse one.

    Raises: TypeError for what is no BCOO; ValueError for shapes that do not fit; NotImplementedError for different
      layouts, and for a dense axis.

    >>> from pullback.experimental import sparse
    >>> bcoo_concatenate([sparse.eye(2), sparse.eye(2)], dimension=1).indices.tolist()
    [[0, 0], [1, 1], [0, 2], [1, 3]]
    """
    mats = [as_format("bcoo_concatenate", mat, BCOO) for mat in operands]
    if not mats:
        raise ValueError("bcoo_concatenate: there is nothing to join")
    first, dim = mats[0], operator.index(dimension)
    if any((mat.n_batch, mat.n_sparse, mat.n_dense) != (first.n_batch, first.n_sparse, first.n_dense) for mat in mats):
        raise NotImplementedError(
            "bcoo_concatenate: arrays of different n_batch, n_sparse or n_dense: use update_layout"
        )
    others = {mat.shape[:dim] + mat.shape[dim + 1 :] for mat in mats}
    if not 0 <= dim < first.ndim or len(others) > 1:
        raise ValueError(f"bcoo_concatenate: shapes {[mat.shape for mat in mats]} do not fit along axis {dimension}")
    n_batch, n_sparse = first.n_batch, first.n_sparse
    if dim >= n_batch + n_sparse:
        raise NotImplementedError("Concatenation along dense dimensions.")
    total = sum(mat.shape[dim] for mat in mats)
    shape = (*first.shape[:dim], total, *first.shape[dim + 1 :])
    if dim < n_batch:
        nse = max(mat.nse for mat in mats)
        longer = [_with_padding(mat, nse) for mat in mats]
        return BCOO((concatenate([d for d, _ in longer], dim), concatenate([i for _, i in longer], dim)), shape=shape)
    column, start = np.arange(n_sparse) == dim - n_batch, 0
    data, indices = [], []
    for mat in mats:
        rows = mat._full()[1]
        shift = (column * start).astype(rows.dtype)
        indices.append(without(rows + shift, in_bounds(rows, mat._sparse_shape), shape[n_batch : n_batch + n_sparse]))
        data.append(mat._full()[0])
        start += mat.shape[dim]
    return BCOO((concatenate(data, n_batch), concatenate(indices, n_batch)), shape=shape)


def _with_padding(mat: BCOO, nse: int) -> tuple[Array, Array]:
    data, indices = mat._full()
    more = nse - mat.nse
    if not more:
        return data, indices
    widths = [(0, more if d == mat.n_batch else 0) for d in range(data.ndim)]
    padding = broadcast_to(sizes_of(indices, mat._sparse_shape), (*indices.shape[:-2], more, mat.n_sparse))
    return pad(data, widths), concatenate([indices, padding], -2)


@boundary
def bcoo_update_layout(
    mat: BCOO, *, n_batch: int | None = None, n_dense: int | None = None, on_inefficient: str | None = "error"
) -> BCOO:
    """A BCOO with other numbers of batch axes and dense axes; the rest are sparse.

    Args:
      mat: a BCOO.
      n_batch, n_dense: the numbers, those of `mat` by default.
      on_inefficient: "error", "warn" or None: what happens if more has to be stored.

    Raises: TypeError for what is no BCOO; ValueError for impossible numbers; SparseEfficiencyError.

    >>> from pullback.experimental import sparse
    >>> bcoo_update_layout(sparse.eye(3, n_batch=1), n_batch=0)
    BCOO(float32[3, 3], nse=3)
    """
    as_format("bcoo_update_layout", mat, BCOO)
    batch = mat.n_batch if n_batch is None else operator.index(n_batch)
    dense = mat.n_dense if n_dense is None else operator.index(n_dense)
    if batch < 0 or dense < 0 or batch + dense > mat.ndim:
        raise ValueError(f"bcoo_update_layout: shape {mat.shape} has no n_batch={batch} and n_dense={dense}")
    if on_inefficient not in ("error", "warn", None):
        raise ValueError(f"bcoo_update_layout: on_inefficient must be 'error', 'warn' or None, got {on_inefficient!r}")
    if dense > mat.n_dense and any(n > 1 for n in mat.shape[mat.ndim - dense : mat.ndim - mat.n_dense]):
        _complain(mat, "n_dense", mat.n_dense, dense, on_inefficient)
    if batch > mat.n_batch and any(n > 1 for n in mat.shape[mat.n_batch : batch]):
        _complain(mat, "n_batch", mat.n_batch, batch, on_inefficient)
    # axes become sparse before others cease to be
    while mat.n_dense > dense:
        mat = _first_dense_to_sparse(mat)
    while mat.n_batch > batch:
        mat = last_batch_to_sparse(mat)
    while mat.n_dense < dense:
        mat = _last_sparse_to_dense(mat)
    while mat.n_batch < batch:
        mat = _first_sparse_to_batch(mat)
    return mat


def _complain(mat: BCOO, what: str, old: int, new: int, how: str | None) -> None:
    text = f"For matrix of shape {mat.shape}, increasing {what} from {old} to {new} results in inefficient storage. "
    if how == "error":
        raise SparseEfficiencyError(
            f"{text}To disable this error, set the on_inefficient argument of bcoo_update_layout to 'warn' or None."
        )
    if how == "warn":
        warnings.warn(
            f"{text}To disable this warning, set the on_inefficient argument of bcoo_update_layout to None.",
            SparseEfficiencyWarning,
            stacklevel=4,
        )


def _first_dense_to_sparse(mat: BCOO) -> BCOO:
    data, indices = mat._full()
    at, size = mat.n_batch, data.shape[mat.n_batch + 1]
    places = broadcast_to(arange(size, dtype=indices.dtype)[:, None], (*indices.shape[:-1], size, 1))
    rows = broadcast_to(indices[..., None, :], (*indices.shape[:-1], size, mat.n_sparse))
    joined = concatenate([rows, places], -1)
    joined = without(joined, in_bounds(rows, mat._sparse_shape), (*mat._sparse_shape, size))
    joined = joined.reshape((*indices.shape[:-2], mat.nse * size, mat.n_sparse + 1))
    return BCOO((data.reshape((*data.shape[:at], mat.nse * size, *data.shape[at + 2 :])), joined), shape=mat.shape)


def last_batch_to_sparse(mat: BCOO) -> BCOO:
    """The last batch axis made the first sparse axis, with the entries of all its examples in one list."""
    data, indices = mat._full()
    at = mat.n_batch - 1
    size = mat.shape[at]
    places = broadcast_to(arange(size, dtype=indices.dtype)[:, None, None], (*indices.shape[:-1], 1))
    joined = without(
        concatenate([places, indices], -1), in_bounds(indices, mat._sparse_shape), (size, *mat._sparse_shape)
    )
    joined = joined.reshape((*indices.shape[:at], size * mat.nse, mat.n_sparse + 1))
    return BCOO((data.reshape((*data.shape[:at], size * mat.nse, *data.shape[at + 2 :])), joined), shape=mat.shape)


def _last_sparse_to_dense(mat: BCOO) -> BCOO:
    data, indices = mat._full()
    size = mat._sparse_shape[-1]
    kept = in_bounds(indices, mat._sparse_shape)
    chosen = (indices[..., -1:] == arange(size, dtype=indices.dtype)) & kept[..., None]
    chosen = chosen.reshape(chosen.shape + (1,) * mat.n_dense)
    spread = where(chosen, data[(slice(None),) * (mat.n_batch + 1) + (None,)], zeros((), data.dtype))
    return BCOO((spread, indices[..., :-1]), shape=mat.shape)


def _first_sparse_to_batch(mat: BCOO) -> BCOO:
    data, indices = mat._full()
    at, size = mat.n_batch, mat._sparse_shape[0]
    kept = in_bounds(indices, mat._sparse_shape)
    chosen = (indices[..., 0] == arange(size, dtype=indices.dtype).reshape((size, *(1,) * (at + 1)))) & kept
    whole = with_batch(data[None], (size,))
    rows = with_batch(indices[None, ..., 1:], (size,))
    return BCOO((moveaxis(masked(whole, chosen), 0, at), moveaxis(rows, 0, at)), shape=mat.shape)
