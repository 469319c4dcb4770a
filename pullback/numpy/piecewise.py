"""Choices among arrays, functions along axes, and positions in a flat array."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._api.vectorize import vmap
from pullback._core import dtypes
from pullback._core.array import Array, ConcreteArray, distinct, lift
from pullback._core.errors import boundary
from pullback._ops import compare, elementwise
from pullback._ops import shape as shape_ops
from pullback._ops.elementwise import scalar
from pullback._ops.identity import only_where
from pullback._ops.shape import shape_of
from pullback.numpy.creation import asarray
from pullback.numpy.elementwise import ANY, as_operand, operand_for, promote_operands
from pullback.numpy.joining import unstack
from pullback.numpy.logic import logical_and, logical_not
from pullback.numpy.reductions import one_axis, refuse_out
from pullback.numpy.selection import where
from pullback.numpy.ufuncs import floor_divide, remainder

__all__ = ["select", "choose", "piecewise", "apply_along_axis", "apply_over_axes", "unravel_index", "ravel_multi_index"]


@boundary
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Array:
    """Of each place, the choice whose condition is the first to be true there, or else the default. All broadcast.

    TypeError for conditions that are no bools, ValueError for another count of choices.

    >>> import pullback.numpy as pnp
    >>> x = pnp.arange(4)
    >>> pnp.select([x < 1, x > 2], [x, x * 10], -1)
    Array([ 0, -1, -1, 30], dtype=int32)
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError(f"select: expected a choice for each condition, and at least one, got {len(condlist)} "
                         f"conditions and {len(choicelist)} choices")
    *choices, out = promote_operands("select", ANY, *map(_array, choicelist), default)
    for i, (condition, choice) in reversed(list(enumerate(zip(condlist, choices, strict=True)))):
        mask = as_operand(_array(condition), "select", 0)
        if mask.aval.dtype.kind != "b":
            raise TypeError(f"select: conditions must be masks of bools, number {i} is {mask.aval.str_short()}")
        out = compare.select(mask, choice, out)
    shape = np.broadcast_shapes(out.aval.shape, *(c.aval.shape for c in choices))
    return shape_ops.broadcast_to(out, shape)


def _array(x: Any) -> Any:
    return asarray(x) if isinstance(x, (list, tuple)) else x


@boundary
def choose(a: Any, choices: Any, out: None = None, mode: str = "raise") -> Array:
    """Of each place, the choice that the integers `a` number there. All broadcast.

    `mode` is "clip" or "wrap" for numbers out of bounds; "raise" needs `a` to be known.
    TypeError for numbers of choices that are no integers, ValueError for those out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.choose(pnp.array([1, 0]), [pnp.array([1, 2]), pnp.array([10, 20])])
    Array([10,  2], dtype=int32)
    """
    refuse_out("choose", out)
    number = as_operand(_array(a), "choose", 0)
    arrays = promote_operands("choose", ANY, *[_array(c) for c in choices])
    n = len(arrays)
    if not dtypes.is_integer(number.aval.dtype):
        raise TypeError(f"choose: the numbers of choices must be integers, got {number.aval.str_short()}")
    if mode == "wrap":
        number = remainder(number, n)
    elif mode == "raise":
        known = number if isinstance(number, ConcreteArray) else number.concrete(  # type: ignore[attr-defined]
            "choose with mode 'raise' (use 'clip' or 'wrap')")
        if known.aval.size and (np.min(known.value) < 0 or np.max(known.value) >= n):
            raise ValueError(f"choose: a number of a choice is out of bounds for {n} choices")
    elif mode != "clip":
        raise ValueError(f"choose: mode must be 'raise', 'clip' or 'wrap', got {mode!r}")
    result = arrays[0]
    for i, choice in enumerate(arrays[1:], 1):
        result = compare.select(compare.ge(number, scalar(number, i)), choice, result)
    shape = np.broadcast_shapes(number.aval.shape, *(c.aval.shape for c in arrays))
    return distinct(shape_ops.broadcast_to(result, shape), result)


@boundary
def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Array:
    """The function (or constant) of the last condition that is true, applied to `x`, elementwise.

    One more function than conditions is the default, which else is 0. All are evaluated everywhere; the derivative is
    that of the one that counts, whatever the others do there.
    ValueError for another count of functions.

    >>> import pullback.numpy as pnp
    >>> x = pnp.array([-2., 3.])
    >>> pnp.piecewise(x, [x < 0, x >= 0], [lambda x: -x, lambda x: 10 * x])
    Array([ 2., 30.], dtype=float32)
    """
    x = as_operand(x, "piecewise", 0)
    if not isinstance(condlist, (list, tuple)):
        conditions = as_operand(condlist, "piecewise", 1)
        condlist = unstack(conditions) if conditions.aval.ndim > x.aval.ndim else [conditions]
    masks = [as_operand(_array(c), "piecewise", 1) for c in condlist]
    functions = list(funclist)
    if len(functions) == len(masks):
        default: Any = 0
    elif len(functions) == len(masks) + 1:
        default = functions.pop()
    else:
        raise ValueError(f"piecewise: expected a function for each of {len(masks)} conditions, and perhaps a default, "
                         f"got {len(functions)}")

    def applied(f, mask):
        # where another function counts, this one may have no derivative
        value = f(only_where(mask, x), *args, **kw) if callable(f) else f
        return shape_ops.convert_element_type(operand_for(value, "piecewise", 2, x.aval.dtype), x.aval.dtype)

    free, own = lift(np.True_), []
    for mask in reversed(masks):  # of several that are true the last one counts
        own.append(logical_and(mask, free))
        free = logical_and(free, logical_not(mask))
    out = shape_ops.broadcast_to(applied(default, free), x.aval.shape)
    for mask, f in zip(reversed(own), functions, strict=True):
        out = where(mask, applied(f, mask), out)
    return out


# --- functions along axes ---


@boundary
def apply_along_axis(func1d: Callable, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """`func1d` of every vector along an axis; what it returns takes the place of the axis.

    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.apply_along_axis(lambda v: v - v[0], 1, pnp.arange(4).reshape(2, 2))
    Array([[0, 1],
           [0, 1]], dtype=int32)
    """
    x = as_operand(arr, "apply_along_axis", 2)
    rank = x.aval.ndim
    i = one_axis("apply_along_axis", axis, rank)

    def mapped(v):
        return func1d(v, *args, **kwargs)

    for d in range(1, rank - i):
        mapped = vmap(mapped, in_axes=d, out_axes=-1)
    for _ in range(i):
        mapped = vmap(mapped, in_axes=0, out_axes=0)
    return mapped(x)


@boundary
def apply_over_axes(func: Callable, a: Any, axes: int | Sequence[int]) -> Array:
    """`func(x, axis)` for one axis after the other; an axis it drops is kept with length 1.

    ValueError for an axis out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.apply_over_axes(pnp.sum, pnp.ones((2, 3)), (0, 1))
    Array([[6.]], dtype=float32)
    """
    x = as_operand(a, "apply_over_axes", 1)
    rank = x.aval.ndim
    for axis in axes if isinstance(axes, (tuple, list)) else (axes,):
        i = one_axis("apply_over_axes", axis, rank)
        y = func(x, i)
        if y.ndim == rank - 1:
            y = shape_ops.expand_dims(y, (i,))
        if y.ndim != rank:
            raise ValueError(f"apply_over_axes: the function must keep the number of axes, {rank}, or drop the one it "
                             f"is given; it returned shape {y.shape}")
        x = y
    return x


# --- positions in a flat array ---


@boundary
def unravel_index(indices: Any, shape: Any) -> tuple[Array, ...]:
    """The positions along each axis of an array of a shape, of positions in the flat array, which are clamped.

    TypeError for positions that are no integers.

    >>> import pullback.numpy as pnp
    >>> pnp.unravel_index(5, (2, 3))
    (Array(1, dtype=int32, weak_type=True), Array(2, dtype=int32, weak_type=True))
    """
    flat = as_operand(_array(indices), "unravel_index", 0)
    lengths = shape_of("unravel_index", shape)
    if not dtypes.is_integer(flat.aval.dtype):
        raise TypeError(f"unravel_index: indices must be integers, got {flat.aval.str_short()}")
    size = math.prod(lengths)
    if flat.aval.dtype.kind != "u":
        flat = compare.select(compare.lt(flat, scalar(flat, 0)), elementwise.add(flat, scalar(flat, size)), flat)
        flat = elementwise.max(flat, scalar(flat, 0))
    flat = elementwise.min(flat, scalar(flat, size - 1 if size else 0))
    out = []
    for n in reversed(lengths):
        out.append(remainder(flat, n))
        flat = floor_divide(flat, n)
    return tuple(reversed(out))


@boundary
def ravel_multi_index(multi_index: Sequence[Any], dims: Sequence[int], mode: str = "raise", order: str = "C", *,
                      dtype: Any = None) -> Array:
    """The positions in the flat array, of positions along each axis of an array of shape `dims`.

    `mode` is "clip" or "wrap" for positions out of bounds; "raise" needs them to be known. It may be a tuple. `dtype`:
    an integer dtype for the result, by default the promoted one of the positions. ValueError for positions out of
    bounds, TypeError for a `dtype` of no integers.

    >>> import pullback.numpy as pnp
    >>> pnp.ravel_multi_index((pnp.array([1, 0]), pnp.array([2, 1])), (2, 3))
    Array([5, 1], dtype=int32)
    """
    lengths = shape_of("ravel_multi_index", dims)
    if len(multi_index) != len(lengths):
        raise ValueError(f"ravel_multi_index: expected positions for each of {len(lengths)} axes, got "
                         f"{len(multi_index)}")
    positions = promote_operands("ravel_multi_index", ANY, *map(_array, multi_index))
    target = positions[0].aval.dtype if dtype is None and positions else dtypes.canonicalize_dtype(dtype or int)
    if not dtypes.is_integer(target):
        raise TypeError(f"ravel_multi_index: positions must be integers, got {target.name}")
    modes = [mode] * len(lengths) if isinstance(mode, str) else list(mode)
    if order not in ("C", "F"):
        raise ValueError(f"ravel_multi_index: order must be 'C' or 'F', got {order!r}")
    strides = [math.prod(lengths[i + 1:]) if order == "C" else math.prod(lengths[:i]) for i in range(len(lengths))]
    total: Any = None
    for p, n, how, stride in zip(positions, lengths, modes, strides, strict=True):
        if not dtypes.is_integer(p.aval.dtype):
            raise TypeError(f"ravel_multi_index: positions must be integers, got {p.aval.str_short()}")
        if how == "raise":
            known = p if isinstance(p, ConcreteArray) else p.concrete(  # type: ignore[attr-defined]
                "ravel_multi_index with mode 'raise' (use 'clip' or 'wrap')")
            if known.aval.size and (np.min(known.value) < 0 or np.max(known.value) >= n):
                raise ValueError(f"ravel_multi_index: a position is out of bounds for dims {tuple(lengths)}")
        elif how == "clip":
            p = elementwise.min(elementwise.max(p, scalar(p, 0)), scalar(p, n - 1))
        elif how == "wrap":
            p = remainder(p, n)
        else:
            raise ValueError(f"ravel_multi_index: mode must be 'raise', 'clip' or 'wrap', got {how!r}")
        p = p if dtype is None else shape_ops.convert_element_type(p, target)
        part = elementwise.mul(p, scalar(p, stride))
        total = part if total is None else elementwise.add(total, part)
    return total
