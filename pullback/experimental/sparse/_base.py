"""What the sparse formats share: their base class, warnings, and functions over batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from pullback._api.vectorize import vmap
from pullback._core.array import Array
from pullback._core.errors import boundary, described
from pullback._core.trace import Tracer
from pullback._core.typing import Shape
from pullback.numpy import asarray, broadcast_to


class SparseEfficiencyError(ValueError):
    """An operation would store far more than the sparse array does.

    >>> from pullback.experimental import sparse
    >>> try:
    ...     sparse.eye(3).update_layout(n_batch=1)
    ... except SparseEfficiencyError as error:
    ...     print(type(error).__name__)
    SparseEfficiencyError
    """


class SparseEfficiencyWarning(UserWarning):
    """An operation stores far more than the sparse array does.

    >>> issubclass(SparseEfficiencyWarning, UserWarning)
    True
    """


for _error in (SparseEfficiencyError, SparseEfficiencyWarning):
    _error.__module__ = "pullback.experimental.sparse"  # which tracebacks show


def _lacking(what: str) -> Any:
    """The method that says that a format has no such operation."""

    @boundary
    def method(self: JAXSparse, *args: Any, **kwargs: Any) -> Any:
        """NotImplementedError: the format has none; BCOO does."""
        raise NotImplementedError(f"{type(self).__name__} has no {what}: use BCOO, or todense()")

    return method


class JAXSparse:
    """The base class of sparse arrays: a shape, and the arrays of stored entries.

    >>> from pullback.experimental import sparse
    >>> isinstance(sparse.eye(3), JAXSparse)
    True
    """

    __hash__: None = None  # type: ignore[assignment]
    __array_ufunc__ = None  # NumPy's operators leave the operation to ours
    __array_priority__ = 100

    data: Any

    def __init__(self, args: tuple[Any, ...], *, shape: Sequence[int]):
        self._given_shape = tuple(shape)

    @property
    def shape(self) -> Shape:
        """The shape of the array that is represented."""
        return self._given_shape

    @property
    def _bufs(self) -> tuple[Any, ...]:
        """The arrays that hold the entries and where they are."""
        raise NotImplementedError(
            f"{type(self).__name__}._bufs: a class of sparse arrays says what arrays it consists of"
        )

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the entries."""
        return self.data.dtype

    @property
    def nse(self) -> int:
        """The number of stored entries, of each matrix of a batch."""
        return self.data.shape[0]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of entries, those that are not stored too."""
        return math.prod(self.shape)

    @property
    def T(self) -> Any:
        """The transpose."""
        return self.transpose()

    def todense(self) -> Array:
        """The array that is represented."""
        raise NotImplementedError(f"{type(self).__name__}.todense is not there")

    def transpose(self, axes: Sequence[int] | None = None) -> Any:
        """The array with its axes in another order. NotImplementedError where the format has no such thing."""
        raise NotImplementedError(f"{type(self).__name__}.transpose: transpose a BCOO instead")

    def block_until_ready(self) -> Any:
        """This array, when its entries are computed."""
        for x in self._bufs:
            x.block_until_ready()
        return self

    sum: Any = _lacking("sum")
    __getitem__: Any = _lacking("indexing")
    __neg__: Any = _lacking("-x")
    __pos__: Any = _lacking("+x")
    __abs__: Any = _lacking("abs")
    __matmul__: Any = _lacking("x @ y")
    __rmatmul__: Any = _lacking("y @ x")
    __mul__: Any = _lacking("x * y")
    __rmul__: Any = _lacking("y * x")
    __add__: Any = _lacking("x + y")
    __radd__: Any = _lacking("y + x")
    __sub__: Any = _lacking("x - y")
    __rsub__: Any = _lacking("y - x")
    __truediv__: Any = _lacking("x / y")
    __rtruediv__: Any = _lacking("y / x")
    __pow__: Any = _lacking("x ** y")
    __rpow__: Any = _lacking("y ** x")

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"len: this {type(self).__name__} has no axes")
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def _kind(self) -> str:
        return f"{self.dtype.name}{list(self.shape)}, nse={self.nse}"

    def __repr__(self) -> str:
        try:
            kind = self._kind()
        except (AttributeError, IndexError, TypeError):  # a pytree of something else than arrays
            kind = ", ".join(map(repr, self._bufs))
        return f"{type(self).__name__}({kind})"


class BatchedSparse(JAXSparse):
    """What the formats with batch and dense axes share: the shape of an example, `_tail`, beside that of the batch.

    `_batch` is None where the arrays have the shape of the batch, so that a mapped or reshaped one is right as it is.
    """

    _names: tuple[str, ...]
    indices: Any
    indices_sorted: bool
    unique_indices: bool
    _tail: Shape
    _batch: Shape | None

    def _keep(self, arrays: Sequence[Any], indices_sorted: bool, unique_indices: bool) -> None:
        """Keep the arrays, and what is known of the indices."""
        for name, value in zip(self._names, arrays, strict=True):
            setattr(self, name, value)
        self.indices_sorted, self.unique_indices = indices_sorted, unique_indices

    @property
    def _bufs(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self._names)

    @property
    def n_batch(self) -> int:
        """The number of batch axes."""
        raise NotImplementedError

    @property
    def n_sparse(self) -> int:
        """The number of sparse axes."""
        raise NotImplementedError

    @property
    def n_dense(self) -> int:
        """The number of dense axes."""
        return self.data.ndim - 1 - self.n_batch

    @property
    def shape(self) -> Shape:
        """The shape of the array that is represented."""
        return (self.indices.shape[: self.n_batch] if self._batch is None else self._batch) + self._tail

    @property
    def _sparse_shape(self) -> Shape:
        return self._tail[: self.n_sparse]

    def tree_flatten(self) -> tuple[tuple[Any, ...], Any]:
        """The arrays, and what is no array."""
        return self._bufs, (self._tail, self._batch, self.indices_sorted, self.unique_indices)

    @classmethod
    def tree_unflatten(cls, aux_data: Any, children: Any) -> Self:
        """What `tree_flatten` took apart, or the same of anything in the place of its arrays."""
        self = object.__new__(cls)
        self._tail, self._batch, indices_sorted, unique_indices = aux_data
        self._keep(children, indices_sorted, unique_indices)
        return self


def is_sparse(x: Any) -> bool:
    """Return whether `x` is a sparse array."""
    return isinstance(x, JAXSparse)


def over_batches(f: Callable[..., Any], n_batch: int) -> Callable[..., Any]:
    """The function mapped over the leading `n_batch` axes of all its arguments."""
    for _ in range(n_batch):
        f = vmap(f)
    return f


def with_batch(x: Array, batch: Sequence[int]) -> Array:
    """An array whose leading axes are broadcast to the shape of the batch."""
    shape = (*batch, *x.shape[len(batch) :])
    return x if x.shape == shape else broadcast_to(x, shape)


def as_format(caller: str, x: Any, format: type) -> Any:
    """Refuse what is no sparse array of the format."""
    if not isinstance(x, format):
        raise TypeError(f"{caller}: expected a {format.__name__}, got {described(x)}")
    return x


def number_of_entries(caller: str, counts: Array, error: type[Exception]) -> int:
    """The largest of the counts of a batch, which must be known."""
    value = counts._known() if isinstance(counts, Tracer) else counts
    if value is None:
        raise error(
            f"{caller}: nse must be specified in traced code, inside jit for example: the number of entries decides "
            "the shapes of the result"
        )
    return int(np.max(np.asarray(value), initial=0))


def dense(x: Any) -> Any:
    """The array that a sparse array represents; an array itself."""
    return x.todense() if is_sparse(x) else asarray(x)
