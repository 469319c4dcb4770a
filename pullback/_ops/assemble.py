"""Construction of arrays: concatenate, split, iota, and the reinterpretation of bits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.primitive import Primitive
from pullback._core.trace import is_linear
from pullback._core.types import canonical_shape, make_aval
from pullback._core.typing import DTypeLike
from pullback._core.zeros import Zero, zero_of
from pullback._ops.families import operands as operand_list
from pullback._ops.rules import zero_jvp
from pullback._ops.shape import broadcast_in_dim, instantiate, move_axis
from pullback._ops.slicing import axis_of
from pullback._ops.slicing import slice as slice_op

# --- concatenate ---

concatenate_p: Primitive = Primitive("concatenate")


def concatenate(operands: Sequence[Any], dimension: int) -> Array:
    """The operands, of one dtype and of equal lengths along all other axes, joined along an axis.

    ValueError for other shapes or no operands, TypeError for two dtypes.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.concatenate([pnp.arange(2), pnp.arange(3)], 0)
    Array([0, 1, 0, 1, 2], dtype=int32)
    """
    if not len(operands):
        raise ValueError("concatenate: expected at least one operand, got none")
    xs = operand_list("concatenate", *operands)
    if len(xs) == 1:
        return xs[0]
    return concatenate_p.bind(*xs, dimension=dimension)


def _concatenate_type(*xs, dimension):
    first = xs[0]
    if not 0 <= dimension < first.ndim:
        raise ValueError(
            f"concatenate: dimension must lie in [0, {first.ndim}) for operands of shape {first.shape}, "
            f"got {dimension}" + ("" if first.ndim else ". Scalars are joined by stack.")
        )
    rest = (*first.shape[:dimension], *first.shape[dimension + 1 :])
    for x in xs:
        if x.ndim != first.ndim or (*x.shape[:dimension], *x.shape[dimension + 1 :]) != rest:
            raise ValueError(
                f"concatenate: operands must have equal shapes apart from axis {dimension}, got "
                f"{', '.join(str(a.shape) for a in xs)}"
            )
        if x.dtype != first.dtype:
            raise TypeError(
                f"concatenate: operands must have one dtype, got {', '.join(a.str_short() for a in xs)}. "
                "Convert with .astype(), or use pullback.numpy.concatenate, which promotes."
            )
    length = sum(x.shape[dimension] for x in xs)
    return make_aval((*rest[:dimension], length, *rest[dimension:]), first.dtype, all(x.weak_type for x in xs))


def _concatenate_jvp(primals, tangents, dimension):
    y = concatenate_p.bind(*primals, dimension=dimension)
    if all(type(t) is Zero for t in tangents):
        return y, zero_of(y.aval)
    return y, concatenate_p.bind(*map(instantiate, tangents), dimension=dimension)


def _concatenate_transpose(ct, *xs, dimension):
    shape = ct.aval.shape
    start, parts = [0] * len(shape), []
    for x in xs:
        limit = [*shape]
        limit[dimension] = start[dimension] + lift(x).aval.shape[dimension]
        parts.append(slice_op(ct, start, limit) if is_linear(x) else None)
        start[dimension] = limit[dimension]
    return parts


def _concatenate_batch(trace, args, dims, dimension):
    size = next(x.aval.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
    moved = []
    for x, d in zip(args, dims, strict=True):
        if d is None:
            shape = (size, *x.aval.shape)
            moved.append(broadcast_in_dim(x, shape, tuple(range(1, len(shape)))))
        else:
            moved.append(move_axis(x, d, 0))
    return concatenate_p.bind(*moved, dimension=dimension + 1), 0


concatenate_p.abstract_eval = _concatenate_type
concatenate_p.kernel = lambda *xs, dimension: np.concatenate(xs, axis=dimension)
concatenate_p.lower = lambda ctx, *xs, dimension: ctx.op(
    "stablehlo.concatenate", xs, ctx.out_avals[0], f"dimension = {dimension} : i64"
)
concatenate_p.jvp = _concatenate_jvp
concatenate_p.transpose = _concatenate_transpose
concatenate_p.has(additive=...)
concatenate_p.batch = _concatenate_batch


# --- split: it has several results, so that its transpose is one concatenation ---

split_p: Primitive = Primitive("split", multiple_results=True)


def split(operand: ArrayLike, sizes: Sequence[int], axis: int = 0) -> list[Array]:
    """`operand` cut along an axis into pieces of the given sizes, which must add up to the axis' length.

    ValueError if they do not.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.split(pnp.arange(5), (2, 3))
    [Array([0, 1], dtype=int32), Array([2, 3, 4], dtype=int32)]
    """
    x = lift(operand)
    return split_p.bind(x, sizes=canonical_shape(sizes), axis=axis_of("split", axis, x.aval))


def _split_type(x, sizes, axis):
    if sum(sizes) != x.shape[axis]:
        raise ValueError(
            f"split: sizes {sizes} must add up to the length {x.shape[axis]} of axis {axis} of shape "
            f"{x.shape}, got {sum(sizes)}"
        )
    return [make_aval((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype, x.weak_type) for n in sizes]


def _split_lower(ctx, x, sizes, axis):
    outs, start = [], 0
    for n in sizes:
        starts, limits = [0] * x.aval.ndim, list(x.aval.shape)
        starts[axis], limits[axis] = start, start + n
        outs.append(ctx.slice(x, starts, limits, (1,) * x.aval.ndim))
        start += n
    return outs


def _split_jvp(primals, tangents, **params):
    (x,), (t,) = primals, tangents
    ys = split_p.bind(x, **params)
    return ys, [zero_of(y.aval) for y in ys] if type(t) is Zero else split_p.bind(t, **params)


def _split_batch(trace, args, dims, sizes, axis):
    (x,), (b,) = args, dims
    return split_p.bind(x, sizes=sizes, axis=axis + (axis >= b)), [b] * len(sizes)


split_p.abstract_eval = _split_type
split_p.kernel = lambda x, sizes, axis: np.split(x, list(itertools.accumulate(sizes))[:-1], axis)
split_p.lower = _split_lower
split_p.jvp = _split_jvp
split_p.transpose = lambda cts, x, sizes, axis: [concatenate([instantiate(ct) for ct in cts], axis)]
split_p.batch = _split_batch

# --- iota: the index along an axis ---

iota_p: Primitive = Primitive("iota")


def iota(dtype: DTypeLike, size: int) -> Array:
    """The numbers 0, 1, ... size - 1. `dtype` is an `np.dtype`; `lax.iota` accepts any dtype-like value."""
    return broadcasted_iota(dtype, (size,), 0)


def broadcasted_iota(dtype: DTypeLike, shape: Sequence[int], dimension: int) -> Array:
    """The index along one axis. `dtype` is an `np.dtype`; `lax.broadcasted_iota` accepts any dtype-like value."""
    dtype = dtype if isinstance(dtype, np.dtype) else dtypes.canonicalize_dtype(dtype)
    return iota_p.bind(dtype=dtype, shape=canonical_shape(shape), dimension=dimension)


def _iota_type(dtype, shape, dimension):
    if dtype.kind == "b" or dtype == dtypes.float0:
        raise TypeError(f"iota: expected a numeric dtype, got {dtype}")
    if not 0 <= dimension < len(shape):
        raise ValueError(f"iota: dimension must lie in [0, {len(shape)}) for shape {shape}, got {dimension}")
    return make_aval(shape, dtype)


def _iota_kernel(dtype, shape, dimension):
    n = shape[dimension]
    if len(shape) == 1:
        return np.arange(n).astype(dtype) if dtype.kind not in "iuf" else np.arange(n, dtype=dtype)
    inner = [1] * len(shape)
    inner[dimension] = n
    return np.broadcast_to(np.arange(n).astype(dtype).reshape(inner), shape)


iota_p.abstract_eval = _iota_type
iota_p.kernel = _iota_kernel
iota_p.lower = lambda ctx, dtype, shape, dimension: ctx.op(
    "stablehlo.iota", [], ctx.out_avals[0], f"iota_dimension = {dimension} : i64"
)

# --- bitcast_convert_type ---

bitcast_convert_type_p: Primitive = Primitive("bitcast_convert_type")


def bitcast_convert_type(operand: ArrayLike, new_dtype: DTypeLike) -> Array:
    """The bits of `operand` read as another dtype.

    To a narrower dtype, a last axis is added that runs over the parts (the lowest bits first); to a wider one, a last
    axis of that length is required and removed. TypeError for bools and complex numbers.

    >>> from pullback import lax
    >>> lax.bitcast_convert_type(1., "int32")
    Array(1065353216, dtype=int32)
    """
    x = lift(operand)
    # a 64-bit value is reinterpreted as 64 bits, even if 64-bit types are off
    dtype = dtypes.resolve(new_dtype) if x.aval.dtype.itemsize == 8 else dtypes.requested_dtype(new_dtype)
    return bitcast_convert_type_p.bind(x, new_dtype=dtype)


def _bits(dtype: np.dtype) -> int:
    return 4 if dtype in (dtypes.int4, dtypes.uint4) else dtype.itemsize * 8


def _bitcast_type(x, new_dtype):
    old, new = _bits(x.dtype), _bits(new_dtype)
    if (x.dtype.kind == "b") != (new_dtype.kind == "b") or dtypes.is_complex(x.dtype) != dtypes.is_complex(new_dtype):
        raise TypeError(
            f"bitcast_convert_type: cannot read the bits of {x.str_short()} as {new_dtype.name}: bools and "
            "complex numbers have no other reading. Convert the values with .astype()."
        )
    shape = x.shape
    if new < old:
        shape = (*shape, old // new)
    elif new > old:
        if not shape or shape[-1] != new // old:
            raise ValueError(
                f"bitcast_convert_type: from {x.dtype.name} to {new_dtype.name} the last axis must have "
                f"length {new // old}, got shape {shape}"
            )
        shape = shape[:-1]
    return make_aval(shape, new_dtype)


def _bitcast_kernel(x, new_dtype):
    x = np.asarray(x)
    if _bits(x.dtype) == 4 or _bits(new_dtype) == 4:
        return _bitcast_nibbles(x, new_dtype)
    if x.dtype.itemsize == new_dtype.itemsize:
        return np.ascontiguousarray(x).reshape(x.shape).view(new_dtype)
    if x.dtype.itemsize > new_dtype.itemsize:
        parts = x.dtype.itemsize // new_dtype.itemsize
        return np.ascontiguousarray(x.reshape((*x.shape, 1))).view(new_dtype).reshape((*x.shape, parts))
    return np.ascontiguousarray(x).view(new_dtype).reshape(x.shape[:-1])


def _bitcast_nibbles(x, new_dtype):
    # a 4-bit integer takes a byte in NumPy: pack and unpack explicitly
    if _bits(x.dtype) == _bits(new_dtype):
        return (
            x.view(np.uint8).__and__(15).astype(new_dtype)
            if new_dtype == dtypes.uint4
            else (((x.view(np.uint8) & 15) ^ 8).astype(np.int8) - 8).astype(new_dtype)
        )
    if _bits(x.dtype) == 4:
        nibbles = x.astype(np.uint8 if x.dtype == dtypes.uint4 else np.int8).view(np.uint8) & 15
        packed = np.ascontiguousarray(nibbles[..., 0::2] | (nibbles[..., 1::2] << 4))
        return packed.view(new_dtype).reshape(x.shape[:-1])
    raw = np.ascontiguousarray(x.reshape((*x.shape, 1))).view(np.uint8)
    nibbles = np.stack([raw & 15, raw >> 4], axis=-1).reshape((*x.shape, -1))
    return (
        nibbles.astype(new_dtype)
        if new_dtype == dtypes.uint4
        else ((nibbles ^ 8).astype(np.int8) - 8).astype(new_dtype)
    )


def _bitcast_batch(trace, args, dims, new_dtype):
    x = move_axis(args[0], dims[0], 0)
    return bitcast_convert_type_p.bind(x, new_dtype=new_dtype), 0


bitcast_convert_type_p.abstract_eval = _bitcast_type
bitcast_convert_type_p.kernel = _bitcast_kernel
bitcast_convert_type_p.lower = lambda ctx, x, new_dtype: ctx.op("stablehlo.bitcast_convert", [x], ctx.out_avals[0])
zero_jvp(bitcast_convert_type_p)
bitcast_convert_type_p.batch = _bitcast_batch
