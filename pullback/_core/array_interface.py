"""Declarations of the operators and methods of arrays, for type checkers and editors.

The implementations use operations from higher layers: `numpy/_arrays/operators.py` and `methods.py` install them on
`Array`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, TypeVar

import numpy as np

from pullback._core.errors import Described
from pullback._core.typing import Axis, Device, DTypeLike, Index, NumpyLike, Placement

A = TypeVar("A", bound="ArrayInterface")
# `ArrayLike`, seen from below
Operand: TypeAlias = "ArrayInterface | NumpyLike"


class ArrayInterface(Described):
    """Declarations only; nothing exists at run time."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __add__(self, other: Operand) -> Self: ...
        def __radd__(self, other: Operand) -> Self: ...
        def __sub__(self, other: Operand) -> Self: ...
        def __rsub__(self, other: Operand) -> Self: ...
        def __mul__(self, other: Operand) -> Self: ...
        def __rmul__(self, other: Operand) -> Self: ...
        def __truediv__(self, other: Operand) -> Self: ...
        def __rtruediv__(self, other: Operand) -> Self: ...
        def __floordiv__(self, other: Operand) -> Self: ...
        def __rfloordiv__(self, other: Operand) -> Self: ...
        def __mod__(self, other: Operand) -> Self: ...
        def __rmod__(self, other: Operand) -> Self: ...
        def __pow__(self, other: Operand) -> Self: ...
        def __rpow__(self, other: Operand) -> Self: ...
        def __matmul__(self, other: Operand) -> Self: ...
        def __rmatmul__(self, other: Operand) -> Self: ...
        def __and__(self, other: Operand) -> Self: ...
        def __rand__(self, other: Operand) -> Self: ...
        def __or__(self, other: Operand) -> Self: ...
        def __ror__(self, other: Operand) -> Self: ...
        def __xor__(self, other: Operand) -> Self: ...
        def __rxor__(self, other: Operand) -> Self: ...
        def __lshift__(self, other: Operand) -> Self: ...
        def __rlshift__(self, other: Operand) -> Self: ...
        def __rshift__(self, other: Operand) -> Self: ...
        def __rrshift__(self, other: Operand) -> Self: ...
        def __lt__(self, other: Operand) -> Self: ...
        def __le__(self, other: Operand) -> Self: ...
        def __gt__(self, other: Operand) -> Self: ...
        def __ge__(self, other: Operand) -> Self: ...
        def __eq__(self, other: object) -> Self: ...  # type: ignore[override]
        def __ne__(self, other: object) -> Self: ...  # type: ignore[override]
        def __divmod__(self, other: Operand) -> tuple[Self, Self]: ...
        def __rdivmod__(self, other: Operand) -> tuple[Self, Self]: ...
        def __neg__(self) -> Self: ...
        def __pos__(self) -> Self: ...
        def __abs__(self) -> Self: ...
        def __invert__(self) -> Self: ...
        def __round__(self, ndigits: int | None = None) -> Self: ...
        def __getitem__(self, key: Index) -> Self: ...
        def __iter__(self) -> Iterator[Self]: ...
        def __contains__(self, value: Operand) -> bool: ...
        def __bool__(self) -> bool: ...
        def __int__(self) -> int: ...
        def __float__(self) -> float: ...
        def __complex__(self) -> complex: ...
        def __index__(self) -> int: ...
        def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray: ...
        def __array_namespace__(self, *, api_version: str | None = None) -> ModuleType: ...
        @property
        def T(self) -> Self: ...
        @property
        def mT(self) -> Self: ...
        @property
        def real(self) -> Self: ...
        @property
        def imag(self) -> Self: ...
        @property
        def at(self) -> Places[Self]: ...
        @property
        def device(self) -> Device: ...
        @property
        def sharding(self) -> Any: ...
        def devices(self) -> set[Device]: ...
        def to_device(self, device: Device, *, stream: None = None) -> Self: ...
        def unsafe_buffer_pointer(self) -> int: ...
        def block_until_ready(self) -> Self: ...
        def astype(self, dtype: DTypeLike | None, copy: bool = False, device: Device = None) -> Self: ...
        def view(self, dtype: DTypeLike | None = None, type: None = None) -> Self: ...
        def copy(self) -> Self: ...
        def item(self, *args: int) -> Any: ...
        def tolist(self) -> Any: ...
        def reshape(self, *args: int | Sequence[int], order: str = "C") -> Self: ...
        def transpose(self, *args: int | Sequence[int] | None) -> Self: ...
        def flatten(self, order: str = "C") -> Self: ...
        def ravel(self, order: str = "C") -> Self: ...
        def squeeze(self, axis: Axis = None) -> Self: ...
        def swapaxes(self, axis1: int, axis2: int) -> Self: ...
        def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self: ...
        def trace(
            self, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: DTypeLike | None = None, out: None = None
        ) -> Self: ...
        def repeat(
            self, repeats: Operand | Sequence[int], axis: int | None = None, *, total_repeat_length: int | None = None
        ) -> Self: ...
        def take(
            self,
            indices: Operand,
            axis: int | None = None,
            out: None = None,
            mode: str | None = None,
            unique_indices: bool = False,
            indices_are_sorted: bool = False,
            fill_value: Operand | None = None,
        ) -> Self: ...
        def compress(
            self,
            condition: Operand | Sequence[bool],
            axis: int | None = None,
            *,
            out: None = None,
            size: int | None = None,
            fill_value: Operand = 0,
        ) -> Self: ...
        def nonzero(
            self, *, size: int | None = None, fill_value: Operand | Sequence[Any] | None = None
        ) -> tuple[Self, ...]: ...
        def conj(self) -> Self: ...
        def conjugate(self) -> Self: ...
        def round(self, decimals: int = 0, out: None = None) -> Self: ...
        def clip(self, /, min: Operand | None = None, max: Operand | None = None) -> Self: ...
        def dot(
            self,
            b: Operand,
            *,
            precision: Any = None,
            preferred_element_type: DTypeLike | None = None,
            out_sharding: Placement = None,
        ) -> Self: ...
        def sort(
            self,
            axis: int | None = -1,
            *,
            kind: None = None,
            order: None = None,
            stable: bool = True,
            descending: bool = False,
        ) -> Self: ...
        def argsort(
            self,
            axis: int | None = -1,
            *,
            kind: None = None,
            order: None = None,
            stable: bool = True,
            descending: bool = False,
            dtype: DTypeLike | None = None,
        ) -> Self: ...
        def argpartition(self, kth: int, axis: int = -1) -> Self: ...
        def searchsorted(
            self, v: Operand, side: str = "left", sorter: Operand | None = None, *, method: str = "scan"
        ) -> Self: ...
        def cumsum(self, axis: int | None = None, dtype: DTypeLike | None = None, out: None = None) -> Self: ...
        def cumprod(self, axis: int | None = None, dtype: DTypeLike | None = None, out: None = None) -> Self: ...
        def argmax(self, axis: int | None = None, out: None = None, keepdims: bool | None = None) -> Self: ...
        def argmin(self, axis: int | None = None, out: None = None, keepdims: bool | None = None) -> Self: ...
        def sum(
            self,
            axis: Axis = None,
            dtype: DTypeLike | None = None,
            out: None = None,
            keepdims: bool = False,
            initial: Operand | None = None,
            where: Operand | None = None,
            promote_integers: bool = True,
        ) -> Self: ...
        def prod(
            self,
            axis: Axis = None,
            dtype: DTypeLike | None = None,
            out: None = None,
            keepdims: bool = False,
            initial: Operand | None = None,
            where: Operand | None = None,
            promote_integers: bool = True,
        ) -> Self: ...
        def max(
            self,
            axis: Axis = None,
            out: None = None,
            keepdims: bool = False,
            initial: Operand | None = None,
            where: Operand | None = None,
        ) -> Self: ...
        def min(
            self,
            axis: Axis = None,
            out: None = None,
            keepdims: bool = False,
            initial: Operand | None = None,
            where: Operand | None = None,
        ) -> Self: ...
        def mean(
            self,
            axis: Axis = None,
            dtype: DTypeLike | None = None,
            out: None = None,
            keepdims: bool = False,
            *,
            where: Operand | None = None,
        ) -> Self: ...
        def std(
            self,
            axis: Axis = None,
            dtype: DTypeLike | None = None,
            out: None = None,
            ddof: int = 0,
            keepdims: bool = False,
            *,
            where: Operand | None = None,
            mean: Operand | None = None,
            correction: int | float | None = None,
        ) -> Self: ...
        def var(
            self,
            axis: Axis = None,
            dtype: DTypeLike | None = None,
            out: None = None,
            ddof: int = 0,
            keepdims: bool = False,
            *,
            where: Operand | None = None,
            mean: Operand | None = None,
            correction: int | float | None = None,
        ) -> Self: ...
        def any(
            self, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Operand | None = None
        ) -> Self: ...
        def all(
            self, axis: Axis = None, out: None = None, keepdims: bool = False, *, where: Operand | None = None
        ) -> Self: ...
        def ptp(self, axis: Axis = None, out: None = None, keepdims: bool = False) -> Self: ...


if TYPE_CHECKING:

    class Places(Protocol[A]):
        """`x.at`, whose class is in `numpy/_indexing/at.py`."""

        def __getitem__(self, key: Index) -> Updates[A]: ...

    class Updates(Protocol[A]):
        """`x.at[key]`."""

        def get(
            self,
            *,
            indices_are_sorted: bool = False,
            unique_indices: bool = False,
            mode: str | Enum | None = None,
            fill_value: Operand | None = None,
            wrap_negative_indices: bool = True,
        ) -> A: ...
        def apply(
            self,
            func: Callable[[A], A],
            *,
            indices_are_sorted: bool = False,
            unique_indices: bool = False,
            mode: str | Enum | None = None,
            wrap_negative_indices: bool = True,
        ) -> A: ...
        def set(
            self,
            values: Operand,
            *,
            indices_are_sorted: bool = False,
            unique_indices: bool = False,
            mode: str | Enum | None = None,
            wrap_negative_indices: bool = True,
        ) -> A: ...
        def add(
            self,
            values: Operand,
            *,
            indices_are_sorted: bool = False,
            unique_indices: bool = False,
            mode: str | Enum | None = None,
            wrap_negative_indices: bool = True,
        ) -> A: ...
        def subtract(
            self,
            values: Operand,
            *,
            indices_are_sorted: bool = False,
            unique_indices: bool = False,
            mode: str | Enum | None = None,
            wrap_negative_indices: bool = True,
        ) -> A: ...
        def multiply(
            self,
            values: Operand,
            *,
            indices_are_sorted: bool = False,
            unique_indices: bool = False,
            mode: str | Enum | None = None,
            wrap_negative_indices: bool = True,
        ) -> A: ...
        def mul(
            self,
            values: Operand,
            *,
            indices_are_sorted: bool = False,
            unique_indices: bool = False,
            mode: str | Enum | None = None,
            wrap_negative_indices: bool = True,
        ) -> A: ...
        def divide(
            self,
            values: Operand,
            *,
            indices_are_sorted: bool = False,
            unique_indices: bool = False,
            mode: str | Enum | None = None,
            wrap_negative_indices: bool = True,
        ) -> A: ...
        def power(
            self,
            values: Operand,
            *,
            indices_are_sorted: bool = False,
            unique_indices: bool = False,
            mode: str | Enum | None = None,
            wrap_negative_indices: bool = True,
        ) -> A: ...
        def min(
            self,
            values: Operand,
            *,
            indices_are_sorted: bool = False,
            unique_indices: bool = False,
            mode: str | Enum | None = None,
            wrap_negative_indices: bool = True,
        ) -> A: ...
        def max(
            self,
            values: Operand,
            *,
            indices_are_sorted: bool = False,
            unique_indices: bool = False,
            mode: str | Enum | None = None,
            wrap_negative_indices: bool = True,
        ) -> A: ...


def own_conversion(x: Any) -> Any:
    """The method by which an object gives itself as an array, by our name or JAX's; None if it has none."""
    return getattr(x, "__pullback_array__", None) or getattr(x, "__jax_array__", None)
