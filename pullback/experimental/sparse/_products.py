"""Products of BCOOs with arrays and with each other, contracted over any axes.

An axis of the left operand is free, or it goes with an axis of the right one, as an axis of the batch of products or to
be summed over. Batch axes of a BCOO are mapped over; what is left is a list of entries: the right operand is read at
their indices, multiplied, and the products are added at the indices of the free axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._api.vectorize import vmap
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import DTypeLike, Shape
from pullback.experimental.sparse._bcoo import BCOO, _without_duplicates
from pullback.experimental.sparse._entries import in_bounds, masked, without
from pullback.experimental.sparse._layouts import bcoo_update_layout
from pullback.lax import DotDimensionNumbers, dot_general
from pullback.numpy import asarray, broadcast_to, concatenate, moveaxis, zeros

# an axis of the result: of the batch of products, free of the left operand, free of the right one
_Label = tuple[str, int]


class _Numbers:
    """Which axes of two operands go together."""

    def __init__(self, caller: str, numbers: DotDimensionNumbers, left: Shape, right: Shape):
        (lhs, rhs), (lhs_batch, rhs_batch) = numbers
        self.contract = [(int(a), int(b)) for a, b in zip(lhs, rhs, strict=True)]
        self.batch = [(int(a), int(b)) for a, b in zip(lhs_batch, rhs_batch, strict=True)]
        pairs = self.contract + self.batch
        fits = all(0 <= a < len(left) and 0 <= b < len(right) for a, b in pairs)
        if not fits or any(left[a] != right[b] for a, b in pairs):
            raise ValueError(
                f"{caller}: shapes {left} and {right} do not fit dimension_numbers={numbers}: axes that go together "
                "must exist and have equal lengths"
            )
        self.left = [d for d in range(len(left)) if d not in {a for a, _ in pairs}]
        self.right = [d for d in range(len(right)) if d not in {b for _, b in pairs}]

    def labels(self) -> list[_Label]:
        """The axes of the result."""
        return [
            *(("batch", k) for k in range(len(self.batch))),
            *(("left", d) for d in self.left),
            *(("right", d) for d in self.right),
        ]

    def swapped(self) -> DotDimensionNumbers:
        """The numbers of the product of the right operand and the left one."""
        pairs = self.contract, self.batch
        return tuple((tuple(b for _, b in some), tuple(a for a, _ in some)) for some in pairs)  # type: ignore[return-value]


@boundary
def bcoo_dot_general(
    lhs: BCOO | ArrayLike,
    rhs: BCOO | ArrayLike,
    *,
    dimension_numbers: DotDimensionNumbers,
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: None = None,
) -> Any:
    """The product of two operands, as `lax.dot_general`, of which one is a BCOO at least.

    Args:
      lhs, rhs: BCOOs or arrays. Of two BCOOs neither has dense axes, and an axis of the batch of products is one of the
        batch of both.
      dimension_numbers: `((lhs_contracting, rhs_contracting), (lhs_batch, rhs_batch))`, the axes that are summed over
        and those of the batch of products.
      precision: as in `lax.dot_general`.
      preferred_element_type: the dtype of the result.
      out_sharding: only None.

    Returns: an array, or of two BCOOs a BCOO, with an entry for each pair of entries, but no more than it has places.
    Raises: ValueError for axes that do not fit; NotImplementedError for BCOOs that are not as described.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental import sparse
    >>> print(bcoo_dot_general(sparse.eye(2), pnp.array([1., 2.]), dimension_numbers=(((1,), (0,)), ((), ()))))
    [1. 2.]
    """
    left, right = (x if isinstance(x, BCOO) else asarray(x) for x in (lhs, rhs))
    if isinstance(left, BCOO) and isinstance(right, BCOO):
        return _of_two(left, right, dimension_numbers, preferred_element_type)
    if isinstance(left, Array) and isinstance(right, Array):
        return dot_general(left, right, dimension_numbers, precision, preferred_element_type)
    how = {"precision": precision, "preferred_element_type": preferred_element_type}
    numbers = _Numbers("bcoo_dot_general", dimension_numbers, left.shape, right.shape)
    if isinstance(left, BCOO) and isinstance(right, Array):
        out, labels = _of_one(left, right, numbers, how)
    elif isinstance(left, Array) and isinstance(right, BCOO):
        mirrored = _Numbers("bcoo_dot_general", numbers.swapped(), right.shape, left.shape)
        out, labels = _of_one(right, left, mirrored, how)
        other = {"left": "right", "right": "left", "batch": "batch"}
        labels = [(other[side], d) for side, d in labels]
    return out.transpose([labels.index(label) for label in numbers.labels()])


def _of_one(mat: BCOO, x: Array, numbers: _Numbers, how: dict[str, Any]) -> tuple[Array, list[_Label]]:
    """The product of a BCOO and an array, and the axes of the result."""
    partner = {a: (b, "contract", 0) for a, b in numbers.contract}
    partner.update({a: (b, "batch", k) for k, (a, b) in enumerate(numbers.batch)})
    axes = list(range(x.ndim))  # those of `x` that are left where the entries are multiplied
    mapped: list[tuple[int, int | None, str, int]] = []
    for d in range(mat.n_batch):
        at, role, k = partner.get(d, (None, "left", d))
        mapped.append((d, at, role, k))
    for _, at, _, _ in mapped:
        if at is not None:
            axes.remove(at)
    product, labels = _product_of_entries(mat, partner, axes, numbers, how)
    f: Callable = product
    remaining = list(axes)
    for _, at, _, _ in reversed(mapped):
        place = None
        if at is not None:
            place = sum(b < at for b in remaining)
            remaining.insert(place, at)
        f = vmap(f, (0, 0, place))
    out = f(*mat._full(), x)
    gone = [i for i, (_, _, role, _) in enumerate(mapped) if role == "contract"]
    out = out.sum(tuple(gone), dtype=out.dtype)
    outer = [(role, k) for _, _, role, k in mapped if role != "contract"]
    return out, [*outer, *labels]


def _product_of_entries(
    mat: BCOO, partner: dict[int, tuple[int, str, int]], axes: list[int], numbers: _Numbers, how: dict[str, Any]
) -> tuple[Callable, list[_Label]]:
    """The product of one matrix of a batch, as a function, and its axes; `axes` are those of the array."""
    n_batch, n_sparse = mat.n_batch, mat.n_sparse
    sparse = list(range(n_batch, n_batch + n_sparse))
    dense = list(range(n_batch + n_sparse, mat.ndim))
    read = [d for d in sparse if d in partner]
    kept = [d for d in sparse if partner.get(d, (0, "left", 0))[1] != "contract"]
    sizes = [mat.shape[d] for d in kept]
    rest = [b for b in axes if b not in {partner[d][0] for d in read}]
    summed = [d for d in dense if d in partner and partner[d][1] == "contract"]
    batch = [d for d in dense if d in partner and partner[d][1] == "batch"]

    def label(d: int) -> _Label:
        return ("batch", partner[d][2]) if d in partner else ("left", d)

    free = [label(d) for d in dense if d not in partner]
    others: list[_Label] = [("right", b) for b in rest if b in numbers.right]
    labels = [*map(label, kept), *map(label, batch), *free, *others]
    at_data = {d: i + 1 for i, d in enumerate(dense)}

    def product(data, indices, x):
        lead = 1 if read else 0
        if read:
            x = moveaxis(x, [axes.index(partner[d][0]) for d in read], tuple(range(len(read))))
            columns = tuple(indices[:, d - n_batch] for d in read)
            x = x.at[columns].get(mode="fill", fill_value=0)
        elif not kept:
            data = masked(data, in_bounds(indices, mat._sparse_shape))
        at_x = {b: i + lead for i, b in enumerate(rest)}
        pairs = [at_data[d] for d in summed], [at_x[partner[d][0]] for d in summed]
        together = [at_data[d] for d in batch], [at_x[partner[d][0]] for d in batch]
        if read:
            together = [0, *together[0]], [0, *together[1]]
        out = dot_general(data, x, (pairs, together), **how)
        if not read:
            out = moveaxis(out, len(batch), 0)
        if not kept:
            return out.sum(0, dtype=out.dtype)
        start = zeros((*sizes, *out.shape[1:]), out.dtype)
        ordered = mat.indices_sorted and kept == sparse[: len(kept)]
        columns = tuple(indices[:, d - n_batch] for d in kept)
        return start.at[columns].add(out, mode="drop", indices_are_sorted=ordered)

    return product, labels


@boundary
def bcoo_dot_general_sampled(
    A: ArrayLike, B: ArrayLike, indices: ArrayLike, *, dimension_numbers: DotDimensionNumbers
) -> Array:
    """The product of two arrays, as `lax.dot_general`, at some places only.

    Args:
      A, B: arrays.
      indices: the places in the product, of shape (*batch, nse, n_sparse), as in a BCOO.
      dimension_numbers: as in `lax.dot_general`.

    Returns: the data of a BCOO with these indices; zero for padding.
    Raises: ValueError for axes or indices that do not fit.

    >>> import pullback.numpy as pnp
    >>> numbers = (((1,), (0,)), ((), ()))
    >>> print(bcoo_dot_general_sampled(pnp.eye(2), pnp.ones((2, 3)), pnp.array([[0, 2]]), dimension_numbers=numbers))
    [1.]
    """
    a, b, places = asarray(A), asarray(B), asarray(indices)
    numbers = _Numbers("bcoo_dot_general_sampled", dimension_numbers, a.shape, b.shape)
    labels = numbers.labels()
    alone = {"left": lambda d: (d, None), "right": lambda e: (None, e)}
    axes: list[tuple[Any, Any]] = [numbers.batch[k] if kind == "batch" else alone[kind](k) for kind, k in labels]
    n_batch = places.ndim - 2
    if n_batch < 0 or n_batch + places.shape[-1] > len(axes):
        raise ValueError(
            f"bcoo_dot_general_sampled: indices of shape {places.shape} do not fit a product with {len(axes)} axes"
        )
    sampled = axes[n_batch : n_batch + places.shape[-1]]
    in_a, in_b = (
        [d for d in range(x.ndim) if d not in {pair[side] for pair in axes[:n_batch]}] for side, x in enumerate((a, b))
    )
    f: Callable = _sampled(in_a, in_b, sampled, axes[n_batch + len(sampled) :], numbers)
    left, right = list(in_a), list(in_b)
    for d, e in reversed(axes[:n_batch]):
        f = vmap(f, (_inserted(left, d), _inserted(right, e), 0))
    batch = [b.shape[e] if d is None else a.shape[d] for d, e in axes[:n_batch]]
    return f(a, b, broadcast_to(places, (*batch, *places.shape[-2:])))


def _inserted(axes: list[int], d: int | None) -> int | None:
    if d is None:
        return None
    place = sum(other < d for other in axes)
    axes.insert(place, d)
    return place


def _sampled(in_a: list[int], in_b: list[int], sampled: Sequence, rest: Sequence, numbers: _Numbers) -> Callable:
    """The product without batch axes, read at the `sampled` axes of the result; `rest` are the others."""

    def read(x: Array, axes: list[int], side: int, indices: Array) -> tuple[Array, list[int]]:
        """The operand with the entries in front, and its other axes."""
        chosen = [(pair[side], k) for k, pair in enumerate(sampled) if pair[side] is not None]
        left = [d for d in axes if d not in {d for d, _ in chosen}]
        if not chosen:
            return broadcast_to(x[None], (indices.shape[0], *x.shape)), left
        x = moveaxis(x, [axes.index(d) for d, _ in chosen], tuple(range(len(chosen))))
        return x.at[tuple(indices[:, k] for _, k in chosen)].get(mode="fill", fill_value=0), left

    def product(a, b, indices):
        a, left = read(a, in_a, 0, indices)
        b, right = read(b, in_b, 1, indices)
        together = [(d, e) for d, e in rest if d is not None and e is not None]
        pairs = [(left.index(d) + 1, right.index(e) + 1) for d, e in numbers.contract]
        batch = [(0, 0), *((left.index(d) + 1, right.index(e) + 1) for d, e in together)]
        contract = [d for d, _ in pairs], [e for _, e in pairs]
        out = dot_general(a, b, (contract, ([d for d, _ in batch], [e for _, e in batch])))
        gone = {d for d, _ in numbers.contract}, {e for _, e in numbers.contract}
        order = [
            *together,
            *((d, None) for d in left if d not in gone[0] and (d, None) in rest),
            *((None, e) for e in right if e not in gone[1] and (None, e) in rest),
        ]
        return out.transpose((0, *(order.index(pair) + 1 for pair in rest)))

    return product


def _of_two(lhs: BCOO, rhs: BCOO, dimension_numbers: DotDimensionNumbers, kind: DTypeLike | None) -> BCOO:
    """The product of two BCOOs: of every pair of entries whose indices agree."""
    numbers = _Numbers("bcoo_dot_general", dimension_numbers, lhs.shape, rhs.shape)
    if lhs.n_dense or rhs.n_dense:
        raise NotImplementedError(
            "bcoo_dot_general: of two sparse arrays neither may have dense axes: use update_layout"
        )
    if any(d >= lhs.n_batch or e >= rhs.n_batch for d, e in numbers.batch):
        raise NotImplementedError(
            "bcoo_dot_general batch dimensions must be among the batch dimensions in the sparse representation. got "
            f"lhs_batch={tuple(d for d, _ in numbers.batch)}, n_batch={lhs.n_batch}"
        )
    order = [d for d, _ in numbers.batch] + [d for d in numbers.left if d < lhs.n_batch]
    lhs, left_axes = _with_leading(lhs, order)
    rhs, right_axes = _with_leading(rhs, [e for _, e in numbers.batch])
    columns = left_axes[lhs.n_batch :], right_axes[rhs.n_batch :]
    free = [columns[0].index(d) for d in numbers.left if d in columns[0]]
    others = [columns[1].index(e) for e in numbers.right]
    match = [(columns[0].index(d), columns[1].index(e)) for d, e in numbers.contract]
    sizes = [lhs._sparse_shape[k] for k in free] + [rhs._sparse_shape[k] for k in others]

    def product(a, rows, b, columns_):
        kept = in_bounds(rows, lhs._sparse_shape)[:, None] & in_bounds(columns_, rhs._sparse_shape)
        for k, other in match:
            kept = kept & (rows[:, k][:, None] == columns_[:, other])
        out = masked(a[:, None] * b if kind is None else a[:, None].astype(kind) * b.astype(kind), kept)
        pair = (len(rows), len(columns_))
        first = broadcast_to(rows[:, None, np.array(free, np.int32)], (*pair, len(free)))
        second = broadcast_to(columns_[None, :, np.array(others, np.int32)], (*pair, len(others)))
        joined = without(concatenate([first, second.astype(first.dtype)], -1), kept, sizes)
        return out.reshape(-1), joined.reshape((pair[0] * pair[1], len(sizes)))

    f: Callable = product
    for k in reversed(range(lhs.n_batch)):
        shared = k >= len(numbers.batch)
        f = vmap(f, (0, 0, None, None) if shared else (0, 0, 0, 0))
    data, indices = f(*lhs._full(), *rhs._full())
    out = BCOO((data, indices), shape=(*lhs.shape[: lhs.n_batch], *sizes))
    most = int(np.prod(sizes))
    if most >= out.nse:
        return out
    out = _without_duplicates(out, most, False)
    return BCOO((out.data, out.indices), shape=out.shape)


def _with_leading(mat: BCOO, order: list[int]) -> tuple[BCOO, list[int]]:
    """The array with the axes in `order` as its batch axes, and its axes as numbered before."""
    others = [d for d in range(mat.n_batch) if d not in order]
    data, indices = mat._full()
    front = [*order, *others]
    data, indices = (moveaxis(x, front, tuple(range(len(front)))) for x in (data, indices))
    shape = [mat.shape[d] for d in front] + list(mat.shape[mat.n_batch :])
    moved = BCOO((data, indices), shape=shape)
    return bcoo_update_layout(moved, n_batch=len(order)), [*front, *range(mat.n_batch, mat.ndim)]
