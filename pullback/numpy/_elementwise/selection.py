"""Choosing between values elementwise (`where`, `clip`, `nan_to_num`), and closeness and equality of arrays."""

from __future__ import annotations

import numpy as np

from pullback._api.extended_arrays import compares, moves_entries
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, distinct
from pullback._core.errors import boundary, fold
from pullback._ops import compare as c
from pullback._ops import elementwise as e
from pullback._ops import reduce, shape, trig
from pullback._ops.assemble import bitcast_convert_type
from pullback._ops.elementwise import scalar
from pullback.numpy._elementwise.logic import truth
from pullback.numpy._elementwise.promotion import (
    ANY,
    NUMBER_FROM_BOOL,
    as_operand,
    binary,
    cast,
    check_shapes,
    operand_for,
    promote_operands,
    strong,
)

_BOOL = np.dtype(bool)
_REAL_SCALARS = frozenset({bool, int, float})


def where(condition: ArrayLike, x: ArrayLike, y: ArrayLike) -> Array:
    """`x` where `condition` is true, else `y`; the three broadcast together.

    `condition` is of bools, or true where nonzero; `x` and `y` are promoted to one dtype. Both are computed, and both
    are differentiated: a nan in the choice not taken can reach a gradient, so make its argument safe too.

    >>> import pullback.numpy as pnp
    >>> print(pnp.where(pnp.arange(3) > 1, 1., 0.))
    [0. 0. 1.]
    """
    try:
        if x is None or y is None:
            raise ValueError(
                "where: expected both x and y, or neither: where(condition) gives the positions of what "
                "is true, where(condition, x, y) chooses"
            )
        mask = truth(as_operand(condition, "where", 0))
        if type(x) is int and isinstance(y, Array):
            x = operand_for(x, "where", 1, y.aval.dtype)
        x = as_operand(x, "where", 1)
        y = operand_for(y, "where", 2, x.aval.dtype)
        a, b = x.aval, y.aval
        if a.dtype != b.dtype or a.weak_type != b.weak_type:
            dtype, weak = dtypes.join(a.dtype, a.weak_type, b.dtype, b.weak_type)
            x, y = cast(x, dtype, weak), cast(y, dtype, weak)
        if not mask.aval.shape == a.shape == b.shape:
            check_shapes("where", [mask.aval, a, b])
        return c.select_p.bind(mask, x, y)
    except Exception as error:
        fold(error)
        raise


_not_below = binary("clip", e.max_p, ANY, "The larger operand.")
_not_above = binary("clip", e.min_p, ANY, "The smaller operand.")


@boundary
def clip(arr: ArrayLike, /, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Array:
    """`arr` with values below `min` raised to it and values above `max` lowered to it; None means no bound.

    The bounds broadcast with `arr`, and all are promoted to one dtype. TypeError for complex numbers. On a bound, the
    derivative is shared between `arr` and the bound.

    >>> import pullback.numpy as pnp
    >>> print(pnp.clip(pnp.arange(4.), 1, 2))
    [1. 1. 2. 2.]
    """
    x = _ordered(arr, 0)
    low = min if min is None or type(min) in _REAL_SCALARS else _ordered(min, 1)
    high = max if max is None or type(max) in _REAL_SCALARS else _ordered(max, 2)
    if low is not None:
        x = _not_below(low, x)
    return distinct(x, arr) if high is None else _not_above(high, x)


def _ordered(x: ArrayLike, position: int) -> Array:
    """An operand of clip; refuses complex numbers."""
    if not isinstance(x, Array):
        x = as_operand(x, "clip", position)
    if dtypes.is_complex(x.aval.dtype):
        raise TypeError(
            f"clip: complex numbers have no order to clip by, got {x.aval.str_short()}; clip the real and "
            "imaginary parts"
        )
    return x


@moves_entries  # keys, whose words are integers, are returned unchanged
def nan_to_num(
    x: ArrayLike,
    copy: bool = True,
    nan: ArrayLike = 0.0,
    posinf: ArrayLike | None = None,
    neginf: ArrayLike | None = None,
) -> Array:
    """`x` with nan replaced by `nan`, and infinities by `posinf` and `neginf`, or the largest finite numbers.

    Integers, bools and keys are returned unchanged. `copy` is there for compatibility with NumPy: the result is a new
    array.
    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.nan_to_num(pnp.array([1., pnp.nan]), nan=-1.))
    [ 1. -1.]
    """
    given, x = x, as_operand(x, "nan_to_num", 0)
    dtype = x.aval.dtype
    if dtypes.is_complex(dtype):
        return trig.complex_p.bind(
            nan_to_num(trig.real_p.bind(x), copy, nan, posinf, neginf),
            nan_to_num(trig.imag_p.bind(x), copy, nan, posinf, neginf),
        )
    if not dtypes.is_float(dtype):
        return distinct(x, given)
    limits = dtypes.finfo(dtype)
    x = where(c.ne_p.bind(x, x), _in_dtype(nan, dtype), x)
    x = where(c.eq_p.bind(x, scalar(x, np.inf)), _in_dtype(limits.max if posinf is None else posinf, dtype), x)
    return where(c.eq_p.bind(x, scalar(x, -np.inf)), _in_dtype(limits.min if neginf is None else neginf, dtype), x)


def _in_dtype(x: ArrayLike, dtype: np.dtype) -> Array:
    return shape.convert_element_type(x, dtype)


# --- closeness and equality ---


@boundary
def isclose(
    a: ArrayLike, b: ArrayLike, rtol: ArrayLike = 1e-05, atol: ArrayLike = 1e-08, equal_nan: bool = False
) -> Array:
    """True where `|a - b| <= atol + rtol * |b|`, elementwise; infinities are close only to themselves.

    With `equal_nan`, nan is close to nan. ValueError for shapes that do not broadcast.

    >>> import pullback.numpy as pnp
    >>> print(pnp.isclose(pnp.array([1., 2.]), pnp.array([1.000001, 2.1])))
    [ True False]
    """
    return _near("isclose", a, b, rtol, atol, equal_nan)


def _near(name: str, a: ArrayLike, b: ArrayLike, rtol: ArrayLike, atol: ArrayLike, equal_nan: bool) -> Array:
    x, y = promote_operands(name, NUMBER_FROM_BOOL, a, b)
    dtype = x.aval.dtype
    same = c.eq_p.bind(x, y)
    if not dtypes.is_inexact(dtype):
        real = dtypes.to_inexact(dtype, False)[0]
        distance = e.sub_p.bind(e.max_p.bind(x, y), e.min_p.bind(x, y))
        size = y
        if dtypes.iinfo(dtype).min:
            # the distance of two signed integers, and the size of the least one, are unsigned
            unsigned = dtypes.resolve(f"u{dtype.name}")
            distance, size = (bitcast_convert_type(v, unsigned) for v in (distance, trig.abs_p.bind(y)))
        distance, size = _in_dtype(distance, real), _in_dtype(size, real)
    else:
        distance, size = trig.abs_p.bind(e.sub_p.bind(x, y)), trig.abs_p.bind(y)
    bound = e.add_p.bind(*promote_operands(name, ANY, atol, e.mul_p.bind(*promote_operands(name, ANY, rtol, size))))
    near = c.le_p.bind(*promote_operands(name, ANY, distance, bound))
    if dtypes.is_inexact(dtype):
        # a tolerance relative to infinity would accept everything
        near = c.and_p.bind(near, c.ne_p.bind(bound, scalar(bound, np.inf)))
    near = c.or_p.bind(near, same)
    if equal_nan:
        near = c.or_p.bind(near, c.and_p.bind(c.ne_p.bind(x, x), c.ne_p.bind(y, y)))
    return strong(near)


def _all(mask: Array) -> Array:
    return reduce.reduce_and(mask, tuple(range(mask.aval.ndim)))


@boundary
def allclose(
    a: ArrayLike, b: ArrayLike, rtol: ArrayLike = 1e-05, atol: ArrayLike = 1e-08, equal_nan: bool = False
) -> Array:
    """True if all elements of `a` and `b` are close, see `isclose`; a bool of shape ().

    ValueError for shapes that do not broadcast.

    >>> import pullback.numpy as pnp
    >>> print(pnp.allclose(pnp.ones(2), 1.000001))
    True
    """
    return _all(_near("allclose", a, b, rtol, atol, equal_nan))


@compares
def array_equal(a1: ArrayLike, a2: ArrayLike, equal_nan: bool = False) -> Array:
    """True if two arrays have one shape and equal elements; a bool of shape ().

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.array_equal(pnp.ones(2), pnp.ones(3)))
    False
    """
    a1, a2 = as_operand(a1, "array_equal", 0), as_operand(a2, "array_equal", 1)
    if a1.aval.shape != a2.aval.shape:
        return shape.full((), False, _BOOL)
    return _all(_same(a1, a2, "array_equal", equal_nan))


@compares
def array_equiv(a1: ArrayLike, a2: ArrayLike) -> Array:
    """True if two arrays are equal after broadcasting; a bool of shape (), False if shapes do not broadcast.

    TypeError for anything but an array or a number.

    >>> import pullback.numpy as pnp
    >>> print(pnp.array_equiv(pnp.ones((2, 2)), pnp.ones(2)))
    True
    """
    a1, a2 = as_operand(a1, "array_equiv", 0), as_operand(a2, "array_equiv", 1)
    try:
        np.broadcast_shapes(a1.aval.shape, a2.aval.shape)
    except ValueError:
        return shape.full((), False, _BOOL)
    return _all(_same(a1, a2, "array_equiv", False))


def _same(x: Array, y: Array, name: str, equal_nan: bool) -> Array:
    x, y = (strong(v) for v in promote_operands(name, ANY, x, y))
    same = c.eq_p.bind(x, y)
    return c.or_p.bind(same, c.and_p.bind(c.ne_p.bind(x, x), c.ne_p.bind(y, y))) if equal_nan else same


__all__ = ["allclose", "array_equal", "array_equiv", "clip", "isclose", "nan_to_num"]
