"""Sums and elementwise products of BCOOs, with each other and with arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._api.vectorize import vmap
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.experimental.sparse._base import as_format, is_sparse, over_batches
from pullback.experimental.sparse._bcoo import BCOO, _without_duplicates
from pullback.experimental.sparse._entries import in_bounds, masked, matched, without
from pullback.experimental.sparse._layouts import bcoo_broadcast_in_dim, without_columns
from pullback.numpy import asarray, broadcast_shapes, broadcast_to, concatenate, moveaxis, ones, result_type, where


@boundary
def bcoo_reduce_sum(mat: BCOO, *, axes: Sequence[int]) -> BCOO:
    """The sum over axes, as a BCOO of the same entries.

    Args:
      mat: a BCOO.
      axes: the axes that are summed over.

    Raises: TypeError for what is no BCOO; ValueError for an axis that does not exist.

    >>> from pullback.experimental import sparse
    >>> bcoo_reduce_sum(sparse.eye(3, k=1), axes=(0,)).todense().tolist()
    [0.0, 1.0, 1.0]
    """
    as_format("bcoo_reduce_sum", mat, BCOO)
    gone = {operator.index(d) + (mat.ndim if d < 0 else 0) for d in axes}
    if any(not 0 <= d < mat.ndim for d in gone):
        raise ValueError(f"bcoo_reduce_sum: an array of shape {mat.shape} has no axes {tuple(axes)}")
    if not gone:
        return mat
    n_batch, n_sparse = mat.n_batch, mat.n_sparse
    shape = [n for d, n in enumerate(mat.shape) if d not in gone]
    data, indices = mat._full()
    data = data.sum(tuple(d - n_sparse + 1 for d in gone if d >= n_batch + n_sparse), dtype=data.dtype)
    kept = [k for k in range(n_sparse) if k + n_batch not in gone]
    if len(kept) < n_sparse:
        data, indices = without_columns(data, indices, mat._sparse_shape, kept)
    batch = sorted(d for d in gone if d < n_batch)
    if batch:
        left = n_batch - len(batch)
        data, indices = (moveaxis(x, batch, tuple(range(left, n_batch))) for x in (data, indices))
        joined = math.prod(data.shape[left : n_batch + 1])
        data = data.reshape((*data.shape[:left], joined, *data.shape[n_batch + 1 :]))
        indices = indices.reshape((*indices.shape[:left], joined, len(kept)))
    return BCOO((data, indices), shape=shape)


@boundary
def bcoo_multiply_dense(sp_mat: BCOO, v: ArrayLike) -> Array:
    """The entries of the product of a BCOO and an array, which is broadcast to its shape.

    Args:
      sp_mat: a BCOO.
      v: an array of a shape that broadcasts to its.

    Returns: the data of the product, at the indices of `sp_mat`.
    Raises: TypeError for what is no BCOO; ValueError for another shape.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental import sparse
    >>> bcoo_multiply_dense(sparse.eye(2), pnp.array([2., 3.])).tolist()
    [2.0, 3.0]
    """
    as_format("bcoo_multiply_dense", sp_mat, BCOO)
    v = asarray(v)
    if not v.ndim:
        return sp_mat.data * v
    if v.ndim > sp_mat.ndim or broadcast_shapes(v.shape, sp_mat.shape) != sp_mat.shape:
        raise ValueError(f"bcoo_multiply_dense: shape {v.shape} does not broadcast to {sp_mat.shape}")
    v = v.reshape((1,) * (sp_mat.ndim - v.ndim) + v.shape)
    n_sparse = sp_mat.n_sparse

    def product(data, indices, v):
        columns = [indices[:, k] if v.shape[k] > 1 else np.zeros(1, np.int32) for k in range(n_sparse)]
        if any(v.shape[k] > 1 for k in range(n_sparse)):
            return data * v.at[tuple(columns)].get(mode="fill", fill_value=0)
        return data * v.reshape((1, *v.shape[n_sparse:]))

    f: Callable = product
    for d in reversed(range(sp_mat.n_batch)):
        f = vmap(f, (0, 0, 0)) if v.shape[d] > 1 else _with_shared(f)
    return f(*sp_mat._full(), v)


def _with_shared(f: Callable) -> Callable:
    """`f` mapped over data and indices, with the one example that there is of the third argument."""

    def shared(data, indices, v):
        return vmap(f, (0, 0, None))(data, indices, v[0])

    return shared


@boundary
def bcoo_multiply_sparse(lhs: BCOO, rhs: BCOO) -> BCOO:
    """The product of two BCOOs, entry by entry.

    Args:
      lhs, rhs: BCOOs of one layout, with shapes that are equal but for axes of length 1.

    Returns: a BCOO. Where a shape needs no broadcasting its indices are those of that operand; otherwise it has an
      entry for every pair.
    Raises: TypeError for what is no BCOO; ValueError for shapes that do not fit; NotImplementedError for different
      layouts.

    >>> from pullback.experimental import sparse
    >>> M = sparse.eye(2) * 3
    >>> bcoo_multiply_sparse(M, M).data.tolist()
    [9.0, 9.0]
    """
    for mat in (lhs, rhs):
        as_format("bcoo_multiply_sparse", mat, BCOO)
    if (lhs.n_batch, lhs.n_sparse, lhs.n_dense) != (rhs.n_batch, rhs.n_sparse, rhs.n_dense):
        raise NotImplementedError(
            "bcoo_multiply_sparse: arrays of different n_batch, n_sparse or n_dense: use update_layout"
        )
    shape, n_batch, n_sparse = broadcast_shapes(lhs.shape, rhs.shape), lhs.n_batch, lhs.n_sparse
    batch, sparse, rest = shape[:n_batch], shape[n_batch : n_batch + n_sparse], shape[n_batch + n_sparse :]
    if lhs._sparse_shape != sparse and rhs._sparse_shape == sparse:
        lhs, rhs = rhs, lhs
    arrays = [broadcast_to(x, (*batch, *x.shape[n_batch:])) for mat in (lhs, rhs) for x in mat._full()]
    if lhs._sparse_shape == rhs._sparse_shape:

        def product(a, rows, b, others):
            return a * matched(b, others, rows, sparse), rows

        data, indices = over_batches(product, n_batch)(*arrays)
        known = {"indices_sorted": lhs.indices_sorted, "unique_indices": lhs.unique_indices}
        return BCOO((broadcast_to(data, (*batch, lhs.nse, *rest)), indices), shape=shape, **known)
    left, right = lhs._sparse_shape, rhs._sparse_shape
    from_left = np.array(left) == np.array(sparse)
    shared = from_left & (np.array(right) == np.array(sparse))

    def pairs(a, rows, b, others):
        first, second = rows[:, None, :], others[None, :, :]
        kept = ((first == second) | ~shared).all(-1) & in_bounds(rows, left)[:, None] & in_bounds(others, right)
        indices = without(first * from_left + second * ~from_left, kept, sparse)
        data = masked(a[:, None] * b, kept)
        return data.reshape((-1, *data.shape[2:])), indices.reshape((-1, n_sparse))

    data, indices = over_batches(pairs, n_batch)(*arrays)
    return BCOO((broadcast_to(data, (*batch, lhs.nse * rhs.nse, *rest)), indices), shape=shape)


def multiplied(x: Any, y: Any) -> Any:
    """The product of two operands, of which one is a BCOO at least."""
    if is_sparse(x) and is_sparse(y):
        return bcoo_multiply_sparse(*(_of_rank(mat, max(x.ndim, y.ndim)) for mat in (x, y)))
    mat, v = (x, y) if is_sparse(x) else (y, x)
    if isinstance(v, (bool, int, float, complex)) or not np.ndim(v):
        return mat._with(mat.data * v)
    mat = _of_shape(mat, v.shape)
    return mat._with(bcoo_multiply_dense(mat, v))


def _of_rank(mat: BCOO, ndim: int) -> BCOO:
    more = ndim - mat.ndim
    if not more:
        return mat
    return bcoo_broadcast_in_dim(mat, shape=(1,) * more + mat.shape, broadcast_dimensions=range(more, ndim))


def _of_shape(mat: BCOO, shape: tuple[int, ...]) -> BCOO:
    """The array broadcast against a shape."""
    whole = broadcast_shapes(mat.shape, shape)
    if whole == mat.shape:
        return mat
    more = len(whole) - mat.ndim
    return bcoo_broadcast_in_dim(mat, shape=whole, broadcast_dimensions=range(more, len(whole)))


def summed_up(x: Any, y: Any) -> Any:
    """The sum of two operands, of which one is a BCOO at least."""
    if not (is_sparse(x) and is_sparse(y)):
        mat, v = (x, asarray(y)) if is_sparse(x) else (y, asarray(x))
        if broadcast_shapes(mat.shape, v.shape) != v.shape:
            raise NotImplementedError(
                "Addition between a sparse array X and a dense array Y is not implemented when the output shape is "
                "larger than Y.shape. This is to prevent silent densification of a large sparse array. If this is "
                f"your intent, use todense(); got shapes {mat.shape} and {v.shape}."
            )
        return v + mat.todense()
    if x.shape != y.shape:
        raise NotImplementedError(
            f"Addition between sparse arrays of different shapes is not implemented: {x.shape} and {y.shape}"
        )
    if (x.n_batch, x.n_dense) != (y.n_batch, y.n_dense):
        raise NotImplementedError(
            "Addition between sparse arrays with different batch/dense dimensions is not implemented: use update_layout"
        )
    kind = result_type(x.data, y.data)
    (a, rows), (b, others) = x._full(), y._full()
    n = x.n_batch
    data = concatenate([a.astype(kind), b.astype(kind)], n)
    index = result_type(rows, others)
    return BCOO((data, concatenate([rows.astype(index), others.astype(index)], n)), shape=x.shape)


def divided(x: Any, y: Any) -> Any:
    """The quotient of a BCOO and a number or an array."""
    if is_sparse(y):
        raise NotImplementedError(
            "Division by a sparse array is not implemented because it would result in dense output. If this is your "
            "intent, use sparse.todense() to convert your arguments to a dense array."
        )
    if isinstance(y, (bool, int, float, complex)) or not np.ndim(y):
        return x._with(x.data / y)
    y = asarray(y)
    x = _of_shape(x, y.shape)
    entries = bcoo_multiply_dense(x._with(ones(x.data.shape, y.dtype)), y)
    kept = in_bounds(x.indices, x._sparse_shape)
    return x._with(x.data / where(kept.reshape(kept.shape + (1,) * (entries.ndim - kept.ndim)), entries, 1))


def with_each(f: Callable[[Array], Array], x: BCOO, linear: bool = False) -> BCOO:
    """A function of one number, which is zero at zero, of every entry."""
    if not linear and not x.unique_indices:
        x = _without_duplicates(x, x.nse, False)
    return x._with(f(x.data))
