"""The methods and operators of BCOOs that are made of functions on BCOOs, installed on the class."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core.array import is_array_like
from pullback._core.errors import boundary
from pullback.experimental.sparse import _arithmetic, _layouts
from pullback.experimental.sparse._base import is_sparse
from pullback.experimental.sparse._bcoo import BCOO
from pullback.experimental.sparse._products import bcoo_dot_general
from pullback.experimental.sparse.transform import sparsify
from pullback.numpy import matmul, reshape, sum


def _binary(f: Callable[[Any, Any], Any], reflected: bool = False) -> Callable[[Any, Any], Any]:
    """The operator of a function of two operands; other types than arrays and BCOOs get their turn."""

    @boundary
    def method(self, other):
        if not (isinstance(other, BCOO) or (is_array_like(other) and not is_sparse(other))):
            return NotImplemented
        return f(other, self) if reflected else f(self, other)

    return method


@sparsify
def _matmul(x, y):
    return matmul(x, y)


def _product(x: Any, y: Any) -> Any:
    """`x @ y`, at once for the two forms that need no broadcasting."""
    if x.ndim == 2 and np.ndim(y if not is_sparse(y) else y.data) and y.ndim <= 2 and x.shape[1] == y.shape[0]:
        return bcoo_dot_general(x, y, dimension_numbers=(((1,), (0,)), ((), ())))
    return _matmul(x, y)


def _pow(x: Any, y: Any) -> Any:
    return _power(x, y) if not isinstance(y, int) else sparsify(lambda x: x**y)(x)


@sparsify
def _power(x, y):
    return x**y


def _comparison(f: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    @sparsify
    def compared(x, y):
        return f(x, y)

    return _binary(compared)


@boundary
def _getitem(self, item):
    @sparsify
    def part(x):
        return x[item]

    return part(self)


@boundary
def _reshape(self: BCOO, *shape: Any) -> BCOO:
    """The array with another shape, as `numpy.reshape`; the errors of `bcoo_reshape`."""
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    return sparsify(lambda x: reshape(x, sizes))(self)


@boundary
def _sum(self: BCOO, *args: Any, **kwargs: Any) -> Any:
    """The sum over axes, as `numpy.sum`: a BCOO, or of all entries an array."""
    return sparsify(lambda x: sum(x, *args, **kwargs))(self)


@boundary
def _transpose(self: BCOO, axes: Sequence[int] | None = None) -> BCOO:
    """The array with its axes in another order, by default reversed; the errors of `bcoo_transpose`."""
    order = range(self.ndim)[::-1] if axes is None else [operator.index(d) % self.ndim for d in axes]
    return _layouts.bcoo_transpose(self, permutation=order)


@boundary
def _update_layout(
    self: BCOO, *, n_batch: int | None = None, n_dense: int | None = None, on_inefficient: str | None = "error"
) -> BCOO:
    """The array with other numbers of batch and dense axes, as `bcoo_update_layout`."""
    return _layouts.bcoo_update_layout(self, n_batch=n_batch, n_dense=n_dense, on_inefficient=on_inefficient)


def _difference(x: Any, y: Any) -> Any:
    return _arithmetic.summed_up(x, -y)


def _members() -> dict[str, Callable[..., Any]]:
    return {
        "__neg__": lambda self: self._with(-self.data),
        "__pos__": lambda self: self,
        "__abs__": lambda self: _arithmetic.with_each(abs, self),
        "__add__": _binary(_arithmetic.summed_up),
        "__radd__": _binary(_arithmetic.summed_up, True),
        "__sub__": _binary(_difference),
        "__rsub__": _binary(_difference, True),
        "__mul__": _binary(_arithmetic.multiplied),
        "__rmul__": _binary(_arithmetic.multiplied, True),
        "__truediv__": _binary(_arithmetic.divided),
        "__rtruediv__": _binary(_arithmetic.divided, True),
        "__pow__": _binary(_pow),
        "__rpow__": _binary(_power, True),
        "__matmul__": _binary(_product),
        "__rmatmul__": _binary(_matmul, True),
        "__eq__": _comparison(operator.eq),
        "__ne__": _comparison(operator.ne),
        "__lt__": _comparison(operator.lt),
        "__le__": _comparison(operator.le),
        "__gt__": _comparison(operator.gt),
        "__ge__": _comparison(operator.ge),
        "__getitem__": _getitem,
        "sum": _sum,
        "reshape": _reshape,
        "transpose": _transpose,
        "update_layout": _update_layout,
    }


def install() -> None:
    """Install them."""
    for name, function in _members().items():
        function.__name__ = name
        function.__qualname__ = f"BCOO.{name}"
        setattr(BCOO, name, function)
