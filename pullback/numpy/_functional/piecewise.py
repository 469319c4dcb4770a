"""Choices among arrays: `select`, `choose`, `piecewise`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._api.extended_arrays import moves_entries
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray, NestedArrayLike, distinct, lift
from pullback._core.errors import boundary
from pullback._core.typing import PyTree
from pullback._ops import compare
from pullback._ops import shape as shape_ops
from pullback._ops.elementwise import scalar
from pullback._ops.identity import only_where
from pullback.numpy._creation.creation import from_list
from pullback.numpy._elementwise.arithmetic import remainder
from pullback.numpy._elementwise.logic import logical_and, logical_not
from pullback.numpy._elementwise.promotion import ANY, as_operand, operand_for, promote_operands
from pullback.numpy._elementwise.selection import where
from pullback.numpy._reductions.reductions import refuse_out
from pullback.numpy._shape.joining import unstack

__all__ = ["select", "choose", "piecewise"]


@moves_entries
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: ArrayLike = 0) -> Array:
    """For each entry, the choice whose condition is the first to be true there, or else the default. All broadcast.

    TypeError for conditions that are not bools, ValueError for another count of choices.

    >>> import pullback.numpy as pnp
    >>> x = pnp.arange(4)
    >>> pnp.select([x < 1, x > 2], [x, x * 10], -1)
    Array([ 0, -1, -1, 30], dtype=int32)
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ValueError(
            f"select: expected a choice for each condition, and at least one, got {len(condlist)} "
            f"conditions and {len(choicelist)} choices"
        )
    *choices, out = promote_operands("select", ANY, *map(from_list, choicelist), default)
    for i, (condition, choice) in reversed(list(enumerate(zip(condlist, choices, strict=True)))):
        mask = as_operand(from_list(condition), "select", 0)
        if mask.aval.dtype.kind != "b":
            raise TypeError(f"select: conditions must be masks of bools, number {i} is {mask.aval.str_short()}")
        out = compare.select(mask, choice, out)
    shape = np.broadcast_shapes(out.aval.shape, *(c.aval.shape for c in choices))
    return shape_ops.broadcast_to(out, shape)


@moves_entries
def choose(a: NestedArrayLike, choices: Sequence[ArrayLike] | Array, out: None = None, mode: str = "raise") -> Array:
    """For each entry, the choice that the integers `a` select there. All broadcast.

    `mode` is "clip" or "wrap" for indices out of bounds; "raise" needs `a` to be known.
    TypeError for indices of choices that are not integers, ValueError for those out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.choose(pnp.array([1, 0]), [pnp.array([1, 2]), pnp.array([10, 20])])
    Array([10,  2], dtype=int32)
    """
    refuse_out("choose", out)
    number = as_operand(from_list(a), "choose", 0)
    arrays = promote_operands("choose", ANY, *[from_list(c) for c in choices])
    n = len(arrays)
    if not dtypes.is_integer(number.aval.dtype):
        raise TypeError(f"choose: the numbers of choices must be integers, got {number.aval.str_short()}")
    if mode == "wrap":
        number = remainder(number, n)
    elif mode == "raise":
        known = (
            number
            if isinstance(number, ConcreteArray)
            else number._concrete(  # type: ignore[attr-defined]
                "choose with mode 'raise' (use 'clip' or 'wrap')"
            )
        )
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
def piecewise(
    x: ArrayLike, condlist: Sequence[ArrayLike] | Array, funclist: Sequence[Any], *args: PyTree, **kw: PyTree
) -> Array:
    """The function (or constant) of the last condition that is true, applied to `x`, elementwise.

    One more function than conditions is the default, which else is 0. An array of conditions has one for each function
    along its first axis, or else is one condition, as in NumPy. All functions are evaluated everywhere; the derivative
    is that of the selected one, whatever the others are there.
    ValueError for another count of functions.

    >>> import pullback.numpy as pnp
    >>> x = pnp.array([-2., 3.])
    >>> pnp.piecewise(x, [x < 0, x >= 0], [lambda x: -x, lambda x: 10 * x])
    Array([ 2., 30.], dtype=float32)
    """
    x = as_operand(x, "piecewise", 0)
    functions = list(funclist)
    if not isinstance(condlist, (list, tuple)):
        conditions = as_operand(condlist, "piecewise", 1)
        ndim = conditions.aval.ndim
        several = ndim > x.aval.ndim or (ndim and len(conditions) in (len(functions), len(functions) - 1))
        condlist = unstack(conditions) if several else [conditions]
    masks = [as_operand(from_list(c), "piecewise", 1) for c in condlist]
    if len(functions) == len(masks):
        default: Any = 0
    elif len(functions) == len(masks) + 1:
        default = functions.pop()
    else:
        raise ValueError(
            f"piecewise: expected a function for each of {len(masks)} conditions, and perhaps a default, "
            f"got {len(functions)}"
        )

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
