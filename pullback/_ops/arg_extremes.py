"""The position of the largest or smallest element along an axis.

It is that of the first nan if there is one, else that of the first of equal elements, as -0 and 0 are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.lazy import LateModule
from pullback._core.primitive import Primitive
from pullback._core.types import at_least, at_most, make_aval
from pullback._core.typing import DTypeLike
from pullback._ops.reduce import highest, lowest
from pullback._ops.rules import zero_jvp
from pullback._ops.shape import canonical_axes, reduced_batch
from pullback._xla.attributes import int_array

if TYPE_CHECKING:
    from pullback._ops import by_size, order_keys
else:
    by_size, order_keys = LateModule("pullback._ops.by_size"), LateModule("pullback._ops.order_keys")

_INT, _LONG = np.dtype(np.int32), np.dtype(np.int64)


def _arg_extreme(name: str, find, direction: str, identity) -> Primitive:
    p = Primitive(name)

    def abstract_eval(x, axes, index_dtype):
        (axis,) = axes
        if dtypes.is_complex(x.dtype):
            raise TypeError(f"{name}: expected a real dtype (complex numbers have no order), got {x.str_short()}")
        if not 0 <= axis < x.ndim or x.shape[axis] == 0:
            raise ValueError(f"{name}: expected an axis of length at least 1, got axis {axis} of shape {x.shape}")
        return make_aval(x.shape[:axis] + x.shape[axis + 1 :], index_dtype)

    def kernel(x, axes, index_dtype):
        if x.dtype.isbuiltin != 1:
            x = x.astype(np.float32 if dtypes.is_float(x.dtype) else np.int32)
        return find(x, axis=axes[0]).astype(index_dtype)

    def lower(ctx, x, axes, index_dtype):
        (axis,) = axes
        n = x.aval.shape[axis]
        if at_most(n, by_size.UNROLLED):
            return _by_pairs(ctx, x, axis, index_dtype, direction, identity)
        if axis == x.aval.ndim - 1 and at_least(n, by_size.ARG_ROW) and by_size.runs_on_host(ctx, [x], ctx.out_avals):
            return by_size.on_host(ctx, f"{__name__}:{name}_on_host", [x], ctx.out_avals)[0]
        return _by_keys(ctx, x, axis, index_dtype, name == "argmax")

    p.abstract_eval, p.kernel, p.lower = abstract_eval, kernel, lower
    p.batch = reduced_batch(p)
    zero_jvp(p)
    return p


def argmax_on_host(operands, results):
    """The positions of the largest elements along the last axis: a routine that programs call."""
    np.copyto(results[0], np.argmax(operands[0], axis=-1))


def argmin_on_host(operands, results):
    """The positions of the smallest elements along the last axis."""
    np.copyto(results[0], np.argmin(operands[0], axis=-1))


def _by_pairs(ctx, x, axis, index_dtype, direction, identity):
    """One reduction of pairs of an element and its position, which XLA does one after the other."""
    scalars = [make_aval((), x.aval.dtype), make_aval((), index_dtype)]
    position = ctx.op("stablehlo.iota", [], make_aval(x.aval.shape, index_dtype), f"iota_dimension = {axis} : i64")
    start = [ctx.constant(identity(x.aval.dtype), scalars[0]), ctx.constant(0, scalars[1])]

    def earlier(block, args):
        a, i, b, j = args
        is_better, is_equal = block.compare(direction, a, b), block.compare("EQ", a, b)
        if dtypes.is_float(a.aval.dtype):
            a_nan, b_nan = block.compare("NE", a, a), block.compare("NE", b, b)
            only_a = block.op("stablehlo.and", [a_nan, block.op("stablehlo.not", [b_nan])])
            is_better = block.op("stablehlo.or", [is_better, only_a])
            is_equal = block.op("stablehlo.or", [is_equal, block.op("stablehlo.and", [a_nan, b_nan])])
        first = block.op("stablehlo.and", [is_equal, block.compare("LT", i, j)])
        chosen = block.op("stablehlo.or", [is_better, first])
        return [block.op("stablehlo.select", [chosen, *pair], pair[0].aval) for pair in ((a, b), (i, j))]

    shape = ctx.out_avals[0].shape
    outs = ctx.op(
        "stablehlo.reduce",
        [x, position, *start],
        [make_aval(shape, x.aval.dtype), make_aval(shape, index_dtype)],
        f"dimensions = {int_array((axis,))}",
        [ctx.region([*scalars, *scalars], earlier)],
    )
    return outs[1]


def _by_keys(ctx, x, axis, index_dtype, largest):
    """Two reductions of integers, which XLA vectorizes: the extreme, and the first position of what is equal to it."""
    keys = order_keys.ordered_integers(ctx, x, nan_last=largest)
    aval, n = keys.aval, x.aval.shape[axis]
    number = _LONG if at_least(n, 2**31) else _INT
    position = ctx.op("stablehlo.iota", [], make_aval(aval.shape, number), f"iota_dimension = {axis} : i64")
    others = [i for i in range(aval.ndim) if i != axis]
    info = np.iinfo(aval.dtype)
    extreme = _reduced(ctx, "maximum" if largest else "minimum", keys, axis, info.min if largest else info.max)
    is_extreme = ctx.compare("EQ", keys, ctx.broadcast(extreme, aval.shape, others))
    found = ctx.op("stablehlo.select", [is_extreme, position, ctx.constant(n, position.aval)], position.aval)
    return ctx.convert(_reduced(ctx, "minimum", found, axis, n), index_dtype)


def _reduced(ctx, name, x, axis, start):
    scalar = make_aval((), x.aval.dtype)
    shape = x.aval.shape[:axis] + x.aval.shape[axis + 1 :]
    body = ctx.region([scalar, scalar], lambda block, ab: [block.op(f"stablehlo.{name}", ab)])
    attributes = f"dimensions = {int_array((axis,))}"
    operands = [x, ctx.constant(start, scalar)]
    return ctx.op("stablehlo.reduce", operands, make_aval(shape, scalar.dtype), attributes, [body])


argmax_p: Primitive = _arg_extreme("argmax", np.argmax, "GT", lowest)
argmin_p: Primitive = _arg_extreme("argmin", np.argmin, "LT", highest)


def argmax(operand: ArrayLike, axis: int, index_dtype: DTypeLike) -> Array:
    """The index of the first of the largest elements along `axis` (of the first nan, if there is one).

    The result has the dtype `index_dtype` and one axis less. TypeError for complex dtypes, ValueError for an axis out
    of bounds or of length 0.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.argmax(np.array([[1, 4], [3, 2]]), 1, "int32"))
    [1 0]
    """
    x = lift(operand)
    return argmax_p.bind(
        x, axes=tuple(canonical_axes("argmax", (axis,), x.aval.ndim)), index_dtype=dtypes.requested_dtype(index_dtype)
    )


def argmin(operand: ArrayLike, axis: int, index_dtype: DTypeLike) -> Array:
    """The index of the first of the smallest elements along `axis` (of the first nan, if there is one).

    The result has the dtype `index_dtype` and one axis less. TypeError for complex dtypes, ValueError for an axis out
    of bounds or of length 0.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.argmin(np.array([[1, 4], [3, 2]]), 1, "int32"))
    [0 1]
    """
    x = lift(operand)
    return argmin_p.bind(
        x, axes=tuple(canonical_axes("argmin", (axis,), x.aval.ndim)), index_dtype=dtypes.requested_dtype(index_dtype)
    )
