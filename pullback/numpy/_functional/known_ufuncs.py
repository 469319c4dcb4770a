"""NumPy's ufunc methods of the functions that JAX has them for, by the reductions that are primitives or one sum.

The public module loads these functions from here, so that they come with their methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.primitive import Primitive
from pullback._core.typing import AnyValue, Axis
from pullback._ops import cumulative, elementwise, softmax
from pullback._ops import reduce as reductions
from pullback._ops.families import scalar_like
from pullback.numpy._elementwise.arithmetic import add, multiply, negative, subtract
from pullback.numpy._elementwise.functions import logaddexp, logaddexp2, maximum, minimum
from pullback.numpy._elementwise.logic import (
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    logical_and,
    logical_or,
    logical_xor,
    truth,
)
from pullback.numpy._elementwise.promotion import INEXACT, as_operand, operand_for, promote_operands
from pullback.numpy._functional.ufuncs import ufunc
from pullback.numpy._reductions import reductions as r


def _attach(function: Callable, nin: int, identity: Any = None, **ways: Any) -> None:
    """Give a plain function the attributes and methods of a ufunc."""
    made = ufunc(function, nin, 1, name=function.__name__, identity=identity, call=function, **ways)
    for name in ("nin", "nout", "nargs", "identity", "reduce", "accumulate", "reduceat", "at", "outer"):
        setattr(function, name, getattr(made, name))


def _by_primitive(function: Callable, p: Primitive, identity: Any, prepare: Callable[[Array], Array]) -> Callable:
    """The way to `reduce` by a primitive, over any axes."""
    name = f"{function.__name__}.reduce"

    def way(a: ArrayLike, axis: Axis, keepdims: bool, initial: ArrayLike | None, where: ArrayLike | None) -> Array:
        x = prepare(as_operand(a, name, 0))
        if where is not None:
            x = r.masked(name, x, where, identity)
        y = r.reduced(p, x, r.axes_of(name, axis, x.aval.ndim), keepdims)
        return y if initial is None else function(y, prepare(operand_for(initial, name, "initial", x.aval.dtype)))

    return way


def _unchanged(x: Array) -> Array:
    return x


def _real_inexact(name: str) -> Callable[[Array], Array]:
    def prepare(x: Array) -> Array:
        (x,) = promote_operands(name, INEXACT, x)
        if dtypes.is_complex(x.aval.dtype):
            raise TypeError(
                f"{name}: expected real numbers, got {x.aval.str_short()}; use nn.logsumexp for complex ones"
            )
        return x

    return prepare


def _logaddexp2_reduce(a: ArrayLike, axis: Axis, keepdims: bool, initial: AnyValue, where: AnyValue) -> Array:
    (x,) = promote_operands("logaddexp2.reduce", INEXACT, a)
    rate = scalar_like(np.log(2), x.aval.dtype)
    total = _logaddexp_reduce(elementwise.mul(x, rate), axis=axis, keepdims=keepdims, initial=None, where=where)
    y = elementwise.div(total, rate)
    return y if initial is None else logaddexp2(y, initial)


def _logaddexp_accumulate(x: Array, axis: int) -> Array:
    return cumulative.cumlogsumexp_p.bind(_real_inexact("logaddexp.accumulate")(x), axis=axis, reverse=False)


def _running(p: Primitive) -> Callable:
    def way(x: Array, axis: int) -> Array:
        return p.bind(x, axis=axis, reverse=False)

    return way


def _sums(x: ArrayLike, axis: Axis, keepdims: bool, initial: Any, where: Any) -> Array:
    return r.summed("add.reduce", x, axis, None, None, keepdims, initial, where)


def _products(x: ArrayLike, axis: Axis, keepdims: bool, initial: Any, where: Any) -> Array:
    return r.multiplied("multiply.reduce", x, axis, None, None, keepdims, initial, where)


def _extremes(name: str, reduction: Callable) -> Callable:
    def way(x: ArrayLike, axis: Axis, keepdims: bool, initial: Any, where: Any) -> Array:
        return reduction(name, x, axis, keepdims=keepdims, initial=initial, where=where)

    return way


def _updates(method: str) -> Callable:
    def way(x: Array, indices: Any, b: Array) -> Array:
        return getattr(x.at[indices], method)(b)

    return way


_logaddexp_reduce = _by_primitive(logaddexp, softmax.logsumexp_p, -np.inf, _real_inexact("logaddexp.reduce"))

_attach(negative, 1)
_attach(add, 2, 0, reduce=_sums, accumulate=_running(cumulative.cumsum_p), at=_updates("add"))
_attach(subtract, 2, at=_updates("subtract"))
_attach(multiply, 2, 1, reduce=_products, accumulate=_running(cumulative.cumprod_p), at=_updates("multiply"))
_attach(maximum, 2, reduce=_extremes("maximum.reduce", r.largest), at=_updates("max"))
_attach(minimum, 2, reduce=_extremes("minimum.reduce", r.smallest), at=_updates("min"))
_attach(logaddexp, 2, -np.inf, reduce=_logaddexp_reduce, accumulate=_logaddexp_accumulate)
_attach(logaddexp2, 2, -np.inf, reduce=_logaddexp2_reduce)
for _function, _p, _identity, _prepare in (
    (bitwise_and, reductions.reduce_and_p, -1, _unchanged),
    (bitwise_or, reductions.reduce_or_p, 0, _unchanged),
    (bitwise_xor, reductions.reduce_xor_p, 0, _unchanged),
    (logical_and, reductions.reduce_and_p, True, truth),
    (logical_or, reductions.reduce_or_p, False, truth),
    (logical_xor, reductions.reduce_xor_p, False, truth),
):
    _attach(_function, 2, _identity, reduce=_by_primitive(_function, _p, _identity, _prepare))
