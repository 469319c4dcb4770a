"""Sparse arrays from nothing: empty, of ones on a diagonal, drawn at random; and back to arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import random
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.trace import Tracer
from pullback._core.typing import DTypeLike
from pullback.experimental.sparse._base import JAXSparse, dense, over_batches
from pullback.experimental.sparse._bcoo import BCOO, _split
from pullback.experimental.sparse._bcsr import BCSR
from pullback.experimental.sparse._matrices import COO, CSC, CSR
from pullback.experimental.sparse.transform import todense_p
from pullback.numpy import stack, unravel_index, zeros

_FORMATS: dict[str, Any] = {"bcoo": BCOO, "bcsr": BCSR, "coo": COO, "csr": CSR, "csc": CSC}


def _format(caller: str, name: str) -> Any:
    if name not in _FORMATS:
        raise ValueError(f"{caller}: sparse_format must be one of {', '.join(_FORMATS)}, got {name!r}")
    return _FORMATS[name]


@boundary
def todense(arr: JAXSparse | ArrayLike) -> Array:
    """The array that a sparse array represents; an array itself. In `sparsify` of the traced one.

    TypeError for anything else.

    >>> import pullback.numpy as pnp
    >>> print(todense(eye(2))[0], todense(pnp.ones(2)))
    [1. 0.] [1. 1.]
    """
    return todense_p.bind(arr) if isinstance(arr, Tracer) else dense(arr)


@boundary
def empty(
    shape: Sequence[int],
    dtype: DTypeLike | None = None,
    index_dtype: DTypeLike = "int32",
    sparse_format: str = "bcoo",
    **kwds: Any,
) -> Any:
    """A sparse array without entries.

    Args:
      shape: its shape.
      dtype, index_dtype: those of the entries and of their indices.
      sparse_format: "bcoo", "bcsr", "coo", "csr" or "csc".
      kwds: of a BCOO `n_batch`, `n_dense`, and `nse`, the number of entries, which are padding.

    Raises: ValueError for another format, and for a shape that it cannot have.

    >>> empty((2, 3))
    BCOO(float32[2, 3], nse=0)
    """
    return _format("empty", sparse_format)._empty(tuple(shape), dtype=dtype, index_dtype=index_dtype, **kwds)


@boundary
def eye(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: DTypeLike | None = None,
    index_dtype: DTypeLike = "int32",
    sparse_format: str = "bcoo",
    **kwds: Any,
) -> Any:
    """A sparse matrix with ones on a diagonal.

    Args:
      N, M: its shape, square by default.
      k: which diagonal: above the main one, or below it if negative.
      dtype, index_dtype: those of the entries and of their indices.
      sparse_format: "bcoo", "bcsr", "coo", "csr" or "csc".
      kwds: of a BCOO `n_batch` and `n_dense`.

    Raises: ValueError for another format.

    >>> eye(2, 3, k=1).indices.tolist()
    [[0, 1], [1, 2]]
    """
    kind = _format("eye", sparse_format)
    N, M, k = operator.index(N), operator.index(N if M is None else M), operator.index(k)
    if kind is BCSR:
        return BCSR.from_bcoo(BCOO._eye(N, M, k, dtype=dtype, index_dtype=index_dtype, **kwds))
    return kind._eye(N, M, k, dtype=dtype, index_dtype=index_dtype, **kwds)


@boundary
def random_bcoo(
    key: Array,
    shape: Sequence[int],
    *,
    dtype: DTypeLike = np.float64,
    indices_dtype: DTypeLike | None = None,
    nse: int | float = 0.2,
    n_batch: int = 0,
    n_dense: int = 0,
    unique_indices: bool = True,
    sorted_indices: bool = False,
    generator: Callable[..., Array] = random.uniform,
    **kwds: Any,
) -> BCOO:
    """A BCOO with random entries at random places.

    Args:
      key: a key of `random`.
      shape: its shape.
      dtype, indices_dtype: those of the entries and of their indices.
      nse: the number of entries of each matrix of a batch, or if it is below 1 their share, rounded up.
      n_batch, n_dense: the numbers of batch axes and of dense axes.
      unique_indices: whether the places of a matrix are all different.
      sorted_indices: whether they are sorted.
      generator, kwds: the function that draws the entries: `generator(key, shape=, dtype=, **kwds)`.

    Raises: ValueError for more different places than there are, and for more axes.

    >>> from pullback import random
    >>> random_bcoo(random.key(0), (4, 5), nse=0.3, dtype="float32")
    BCOO(float32[4, 5], nse=6)
    """
    whole = tuple(map(operator.index, shape))
    n_sparse = _split("random_bcoo", whole, n_batch, n_dense)
    batch, sparse, rest = whole[:n_batch], whole[n_batch : n_batch + n_sparse], whole[n_batch + n_sparse :]
    places = math.prod(sparse)
    count = math.ceil(nse * places) if 0 <= nse < 1 else operator.index(nse)  # type: ignore[arg-type]
    if unique_indices and count > places:
        raise ValueError(f"random_bcoo: nse={nse} entries of unique indices do not fit in sparse axes {sparse}")
    kind = np.dtype(indices_dtype if indices_dtype is not None else np.int32)
    for_data, for_indices = random.split(key)

    def rows(key: Array) -> Array:
        if not n_sparse:
            return zeros((count, 0), kind)
        if unique_indices:
            drawn = random.choice(key, places, (count,), replace=False)
        else:
            drawn = random.randint(key, (count,), 0, places)
        return stack(unravel_index(drawn, sparse), -1).astype(kind)

    indices = over_batches(rows, n_batch)(random.split(for_indices, batch)) if n_batch else rows(for_indices)
    data = generator(for_data, shape=(*batch, count, *rest), dtype=dtype, **kwds)
    out = BCOO((data, indices), shape=whole, unique_indices=unique_indices)
    return out.sort_indices() if sorted_indices else out
