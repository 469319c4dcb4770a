"""Primitives that change the shape or the dtype but no value, and the sum that is the transpose of broadcasting."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray, NestedArrayLike, distinct, from_numpy, lift
from pullback._core.config import nans_were_debugged
from pullback._core.lazy import LateModule
from pullback._core.numpy_state import silenced
from pullback._core.primitive import Primitive
from pullback._core.trace import Tracer
from pullback._core.types import ShapedArray, canonical_shape, make_aval
from pullback._core.typing import AnyValue, DTypeLike, ShapeLike
from pullback._core.zeros import Zero, zero_of
from pullback._ops.accumulate import accumulator, reduced
from pullback._ops.rules import linear_jvp
from pullback._xla.attributes import int_array

if TYPE_CHECKING:
    from pullback._core import nans
else:
    nans = LateModule("pullback._core.nans")

# --- shapes and axes given by users ---


def shape_of(name: str, shape: AnyValue) -> tuple[int, ...]:
    """A shape given by the user, as a tuple of ints; the error for a traced size suggests an alternative."""
    try:
        return canonical_shape(shape)
    except TypeError as error:
        raise TypeError(
            f"{name}: {error} (jit: static_argnums or static_argnames.)" if _has_tracer(shape) else f"{name}: {error}"
        ) from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _has_tracer(shape: ShapeLike) -> bool:
    return isinstance(shape, Tracer) or (isinstance(shape, (tuple, list)) and any(isinstance(d, Tracer) for d in shape))


def canonical_axes(name: str, axes: Iterable[Any], rank: int) -> tuple[int, ...]:
    """Axes given by the user, in their order, as distinct ints in [0, rank); negative ones count from the end."""
    try:
        given = tuple(axes)
    except TypeError:
        raise TypeError(f"{name}: axes must be a sequence of ints, got {axes!r}") from None
    found = []
    for a in given:
        try:
            a = operator.index(a)
        except TypeError:
            if isinstance(a, Tracer):
                raise  # the message is complete
            raise TypeError(f"{name}: an axis must be an int, got {a!r} of type {type(a).__name__}") from None
        if not -rank <= a < rank:
            raise np.exceptions.AxisError(f"{name}: axis {a} is out of bounds for an array of {rank} axes")
        found.append(a % rank)
    if len(set(found)) != len(found):
        raise ValueError(f"{name}: {given} names an axis twice, of an array of {rank} axes")
    return tuple(found)


# --- broadcast_in_dim: the operand's axes become `dims` of the result, the others repeat ---

broadcast_in_dim_p: Primitive = Primitive("broadcast_in_dim")


def broadcast_in_dim(operand: ArrayLike, shape: Sequence[int], broadcast_dimensions: Sequence[int]) -> Array:
    """`operand` repeated to `shape`, its axis `i` becoming axis `broadcast_dimensions[i]`; length 1 may stretch.

    Any dtype. ValueError unless each of the operand's axes has an axis of its length in [0, len(shape)).

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.broadcast_in_dim(np.array([1, 2]), (2, 3), (0,)))
    [[1 1 1]
     [2 2 2]]
    """
    x = lift(operand)
    shape, dims = tuple(shape), tuple(broadcast_dimensions)
    if x.shape == shape and dims == tuple(range(len(shape))):
        return distinct(x, operand)
    return broadcast_in_dim_p.bind(x, shape=shape, dims=dims)


def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """`x` repeated to `shape`, its axes aligned with the last ones."""
    x = lift(x)
    if x.aval.shape == shape:
        return x
    return broadcast_in_dim_p.bind(x, shape=shape, dims=tuple(range(len(shape) - x.aval.ndim, len(shape))))


def _broadcast_type(x, shape, dims):
    if len(dims) != x.ndim:
        raise ValueError(
            "broadcast_in_dim: broadcast_dimensions must name an axis of the result for each of the "
            f"operand's {x.ndim} axes, got {dims}"
        )
    for length, d in zip(x.shape, dims, strict=True):
        if d < 0 or d >= len(shape) or (length != shape[d] and length != 1):
            raise ValueError(
                f"broadcast_in_dim: operand of shape {x.shape} does not broadcast to {shape} along "
                f"{dims}: every axis must have the length of its target, or length 1"
            )
    return make_aval(shape, x.dtype, x.weak_type)


def _broadcast_kernel(x, shape, dims):
    if x.ndim == 0:
        out = np.empty(shape, x.dtype)
        out.fill(x)
        return out
    inner = [1] * len(shape)
    for length, d in zip(x.shape, dims, strict=True):
        inner[d] = length
    in_order = x if list(dims) == sorted(dims) else x.transpose(np.argsort(dims))
    return np.broadcast_to(in_order.reshape(inner), shape)


def _broadcast_transpose(ct, x, shape, dims):
    kept = {d for d, length in zip(dims, x.aval.shape, strict=True) if length == shape[d]}
    summed = _sum(ct, tuple(d for d in range(len(shape)) if d not in kept))
    order = sorted(kept)
    summed = transpose(summed, tuple(order.index(d) for d in dims if d in kept))
    return [reshape(summed, x.aval.shape)]


def _broadcast_batch(trace, operands, batch_dims, shape, dims):
    (x,), (b,) = operands, batch_dims
    size = x.shape[b]
    inner = tuple(d + 1 for d in dims)
    out = broadcast_in_dim_p.bind(x, shape=(size, *shape), dims=(*inner[:b], 0, *inner[b:]))
    return out, 0


broadcast_in_dim_p.abstract_eval = _broadcast_type
broadcast_in_dim_p.kernel = _broadcast_kernel
broadcast_in_dim_p.lower = lambda ctx, x, shape, dims: ctx.broadcast(x, shape, dims)
linear_jvp(broadcast_in_dim_p)
broadcast_in_dim_p.transpose = _broadcast_transpose
broadcast_in_dim_p.batch = _broadcast_batch

# --- reduce_sum ---

reduce_sum_p: Primitive = Primitive("reduce_sum")


def reduce_sum(operand: ArrayLike, axes: Sequence[int]) -> Array:
    """The sum over `axes`, in the operand's dtype: half precision is accumulated in float32, integers wrap around.

    ValueError for axes out of bounds or named twice; negative ones count from the end.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.reduce_sum(np.array([[1, 2], [3, 4]]), (0,)))
    [4 6]
    """
    x = lift(operand)
    return distinct(_sum(x, tuple(sorted(canonical_axes("reduce_sum", axes, x.aval.ndim)))), operand)


def _sum(x: Array, axes: tuple[int, ...]) -> Array:
    return reduce_sum_p.bind(x, axes=axes) if axes else x


def reduced_type(name: str, x: ShapedArray, axes: tuple[int, ...]) -> ShapedArray:
    """The type of a reduction over `axes`."""
    if not all(type(a) is int and 0 <= a < x.ndim for a in axes) or len(set(axes)) != len(axes):
        raise ValueError(f"{name}: axes must be distinct and lie in [0, {x.ndim}) for shape {x.shape}, got {axes}")
    return make_aval(tuple(n for i, n in enumerate(x.shape) if i not in axes), x.dtype, x.weak_type)


def reduced_batch(p: Primitive):
    """The batching rule of a reduction over `axes`: the batch axis stays."""

    def batch(trace, operands, dims, axes, **params):
        (x,), (b,) = operands, dims
        inner = tuple(a + (a >= b) for a in axes)
        return p.bind(x, axes=inner, **params), b - sum(a < b for a in inner)

    return batch


def reduce_lower(op: str | Callable, initial):
    """The lowering of a reduction by a binary operation with an initial value (a function of the dtype).

    The operation is a name, or a function `op(block, x, y)` that emits it.
    """
    accumulates = op in ("stablehlo.add", "stablehlo.multiply")

    def lower(ctx, x, axes):
        x = ctx.convert(x, accumulator(x.aval.dtype)) if accumulates else x
        start = ctx.constant(initial(x.aval.dtype), make_aval((), x.aval.dtype))
        return ctx.convert(emit_reduction(ctx, op, x, start, axes), ctx.out_avals[0].dtype)

    return lower


def emit_reduction(ctx, op, x, start, axes):
    """Emit the reduction over axes by the operation, from the value `start` on."""
    scalar = start.aval
    body = ctx.region([scalar, scalar], lambda block, ab: [op(block, *ab) if callable(op) else block.op(op, ab)])
    aval = make_aval(tuple([n for i, n in enumerate(x.aval.shape) if i not in axes]), scalar.dtype)
    return ctx.op("stablehlo.reduce", [x, start], aval, f"dimensions = {int_array(axes)}", [body])


def _sum_transpose(ct, x, axes):
    shape = x.aval.shape
    return [broadcast_in_dim(ct, shape, tuple([i for i in range(len(shape)) if i not in axes]))]


reduce_sum_p.abstract_eval = lambda x, axes: reduced_type("reduce_sum", x, axes)
reduce_sum_p.kernel = lambda x, axes: reduced(np.add, x, axes)
reduce_sum_p.lower = reduce_lower("stablehlo.add", lambda dtype: 0)
linear_jvp(reduce_sum_p)
reduce_sum_p.transpose = _sum_transpose
reduce_sum_p.batch = reduced_batch(reduce_sum_p)

# --- reshape ---

reshape_p: Primitive = Primitive("reshape")


def reshape(operand: ArrayLike, new_sizes: Sequence[int], dimensions: Sequence[int] | None = None) -> Array:
    """The elements of `operand`, in row-major order, in a shape of as many elements (else ValueError); any dtype.

    `dimensions`: an order of the axes that is applied first, as by `transpose`.

    >>> import numpy as np
    >>> from pullback import lax
    >>> print(lax.reshape(np.array([1, 2, 3, 4]), (2, 2)))
    [[1 2]
     [3 4]]
    """
    x = lift(operand)
    shape = tuple(new_sizes)
    if dimensions is not None:
        x = transpose(x, dimensions)
    if x.aval.shape == shape:
        return x if shape else distinct(x, operand)
    return reshape_p.bind(x, shape=shape)


def _reshape_type(x, shape):
    if math.prod(shape) != x.size:
        raise ValueError(
            f"reshape: cannot turn shape {x.shape} ({x.size} elements) into {shape} ({math.prod(shape)} elements)"
        )
    return make_aval(shape, x.dtype, x.weak_type)


def _reshape_batch(trace, operands, dims, shape):
    x = move_axis(operands[0], dims[0], 0)
    return reshape(x, (x.shape[0], *shape)), 0


reshape_p.abstract_eval = _reshape_type
reshape_p.kernel = lambda x, shape: x.reshape(shape)
reshape_p.lower = lambda ctx, x, shape: ctx.reshape(x, shape)
linear_jvp(reshape_p)
reshape_p.transpose = lambda ct, x, shape: [reshape(ct, x.aval.shape)]
reshape_p.batch = _reshape_batch


def expand_dims(array: ArrayLike, dimensions: Sequence[int]) -> Array:
    """`array` with axes of length 1 at the given positions of the result, negative ones counting from its end.

    ValueError for positions out of bounds or named twice.

    >>> import numpy as np
    >>> from pullback import lax
    >>> lax.expand_dims(np.zeros((2, 3)), (0, -1)).shape
    (1, 2, 3, 1)
    """
    x = lift(array)
    axes = tuple(dimensions)
    rank = x.aval.ndim + len(axes)
    where = canonical_axes("expand_dims", axes, rank)
    rest = iter(x.aval.shape)
    return distinct(reshape(x, tuple(1 if i in where else next(rest) for i in range(rank))), array)


def squeeze(array: ArrayLike, dimensions: Sequence[int]) -> Array:
    """`array` without the given axes, which must have length 1; negative ones count from the end.

    ValueError for axes of another length, out of bounds or named twice.

    >>> import numpy as np
    >>> from pullback import lax
    >>> lax.squeeze(np.zeros((1, 3, 1)), (0,)).shape
    (3, 1)
    """
    x = lift(array)
    shape = x.aval.shape
    left_out = canonical_axes("squeeze", dimensions, len(shape))
    for a in left_out:
        if shape[a] != 1:
            raise ValueError(f"squeeze: axis {a} of shape {shape} has length {shape[a]}, expected 1")
    return reshape(x, tuple([n for i, n in enumerate(shape) if i not in left_out]))


# --- transpose ---

transpose_p: Primitive = Primitive("transpose")


def transpose(operand: ArrayLike, permutation: Sequence[int]) -> Array:
    """`operand` with its axes in another order: axis `i` of the result is axis `permutation[i]` of the operand.

    ValueError unless `permutation` has each of 0, ..., operand.ndim - 1 once.

    >>> import numpy as np
    >>> from pullback import lax
    >>> lax.transpose(np.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x = lift(operand)
    permutation = tuple(permutation)
    if permutation == tuple(range(x.aval.ndim)):
        return x
    return transpose_p.bind(x, permutation=permutation)


def move_axis(x: Array, source: int, to: int) -> Array:
    """`x` with one axis moved to another position, the others in order."""
    if source == to:
        return x
    order = [i for i in range(x.aval.ndim) if i != source]
    order.insert(to, source)
    return transpose_p.bind(x, permutation=tuple(order))


def _transpose_type(x, permutation):
    if sorted(permutation) != list(range(x.ndim)):
        raise ValueError(f"transpose: permutation {permutation} does not permute the {x.ndim} axes of shape {x.shape}")
    return make_aval(tuple(x.shape[i] for i in permutation), x.dtype, x.weak_type)


def _inverse(permutation):
    return tuple(sorted(range(len(permutation)), key=permutation.__getitem__))


def _transpose_batch(trace, operands, dims, permutation):
    (x,), (b,) = operands, dims
    return transpose(x, (b, *(p + (p >= b) for p in permutation))), 0


transpose_p.abstract_eval = _transpose_type
transpose_p.kernel = lambda x, permutation: x.transpose(permutation)
transpose_p.lower = lambda ctx, x, permutation: ctx.once(
    "stablehlo.transpose", [x], ctx.out_avals[0], f"permutation = {int_array(permutation)}"
)
linear_jvp(transpose_p)
broadcast_in_dim_p.has(rearranging=True, cheap=True)
reshape_p.has(rearranging=True, cheap=True)
transpose_p.has(rearranging=True)
transpose_p.transpose = lambda ct, x, permutation: [transpose(ct, _inverse(permutation))]
transpose_p.batch = _transpose_batch

# --- convert_element_type ---

convert_element_type_p: Primitive = Primitive("convert_element_type")


def is_scalar_constant(x: Array) -> TypeGuard[ConcreteArray]:
    """Return whether `x` is a number that is known now, and nobody follows every value (`nans.watching`)."""
    return type(x) is ConcreteArray and x.aval.ndim == 0 and not (nans_were_debugged[0] and nans.is_watched())


def convert_element_type(x: ArrayLike, dtype: DTypeLike | None, weak_type: bool = False) -> Array:
    """`x` in another dtype. `dtype` is an `np.dtype`; `lax.convert_element_type` accepts any dtype-like value."""
    x = lift(x)
    dtype = dtype if isinstance(dtype, np.dtype) else dtypes.canonicalize_dtype(dtype)
    if x.aval.dtype == dtype and x.aval.weak_type == weak_type:
        return x
    if is_scalar_constant(x):
        # a constant: converted now, even while a function is being staged
        with silenced():
            return from_numpy(np.asarray(_convert_kernel(x.value, dtype, weak_type))[()], weak_type)
    return convert_element_type_p.bind(x, dtype=dtype, weak_type=weak_type)


def _convert_kernel(x, dtype, weak_type):
    if x.dtype == dtype:
        return x
    if dtype.kind == "b":
        return x != 0
    if dtypes.is_complex(x.dtype) and not dtypes.is_complex(dtype):
        x = x.real
    if dtypes.is_integer(dtype) and dtypes.is_float(x.dtype):
        return _saturate(np.asarray(x), dtype)
    return x.astype(dtype)


def _saturate(x, dtype):
    bounds = dtypes.iinfo(dtype)
    if x.dtype.itemsize < 8:
        x = x.astype(np.float64)
    low, high = float(bounds.min), float(bounds.max)
    inside = (x > low) & (x < high)
    out = np.where(inside, x, 0).astype(dtype)
    return np.where(x >= high, dtype.type(bounds.max), np.where(x <= low, dtype.type(bounds.min), out))


def _convert_lower(ctx, x, dtype, weak_type):
    if dtype.kind == "b" and x.aval.dtype.kind != "b":
        return ctx.compare("NE", x, ctx.full_like(x, 0))
    if dtypes.is_complex(x.aval.dtype) and not dtypes.is_complex(dtype):
        real = np.dtype(np.float32 if x.aval.dtype == np.complex64 else np.float64)
        x = ctx.op("stablehlo.real", [x], make_aval(x.aval.shape, real))
    return ctx.convert(x, dtype)


def _convert_jvp(primals, tangents, dtype, weak_type):
    (x,), (t,) = primals, tangents
    y = convert_element_type_p.bind(x, dtype=dtype, weak_type=weak_type)
    if type(t) is Zero or not dtypes.is_inexact(dtype):
        return y, zero_of(y.aval)
    return y, convert_element_type_p.bind(t, dtype=dtype, weak_type=weak_type)


def _convert_transpose(ct, x, dtype, weak_type):
    if not dtypes.is_inexact(dtype) or not dtypes.is_inexact(x.aval.dtype):
        raise TypeError(
            f"'convert_element_type' takes a tangent from {x.aval.dtype} to {dtype}: the tangent output of "
            "a custom jvp rule (or the function given to linear_transpose) must be linear in its inputs"
        )
    return [convert_element_type(ct, x.aval.dtype, x.aval.weak_type)]


convert_element_type_p.abstract_eval = lambda x, dtype, weak_type: make_aval(x.shape, dtype, weak_type)
convert_element_type_p.kernel = _convert_kernel
convert_element_type_p.has(elementwise=True, cheap=True)
convert_element_type_p.lower = _convert_lower
convert_element_type_p.jvp = _convert_jvp
convert_element_type_p.transpose = _convert_transpose
convert_element_type_p.batch = lambda trace, xs, dims, **params: (convert_element_type_p.bind(*xs, **params), dims[0])

# --- helpers for transformations ---


def zeros_like_aval(aval: Any) -> Array:
    """An array of zeros of a type; of a type of one's own, its zero."""
    if type(aval) is not ShapedArray:
        zero = lift(aval.vspace_zero())
        if zero.aval != aval:
            raise TypeError(
                f"{type(aval).__name__}.vspace_zero must return a value of type {aval.str_short()}, got one of type "
                f"{zero.aval.str_short()}"
            )
        return zero
    return full(aval.shape, 0, aval.dtype, aval.weak_type)


def full(shape: tuple[int, ...], fill_value: NestedArrayLike, dtype: np.dtype, weak_type: bool = False) -> Array:
    """An array filled with one scalar. `dtype` is an `np.dtype`; `lax.full` accepts any dtype-like value."""
    if isinstance(fill_value, Array):
        scalar = convert_element_type(fill_value, dtype, weak_type)
    else:
        scalar = from_numpy(np.asarray(fill_value).astype(dtype)[()], weak_type)
    return scalar if shape == () else broadcast_in_dim_p.bind(scalar, shape=shape, dims=())


def unbroadcast(ct: Array, aval: ShapedArray) -> Array:
    """The cotangent of an operand that was broadcast to the shape of `ct`."""
    shape = ct.aval.shape
    if shape == aval.shape:
        return ct
    lead = len(shape) - aval.ndim
    axes = tuple(i for i in range(len(shape)) if i < lead or aval.shape[i - lead] != shape[i])
    return reshape(_sum(ct, axes), aval.shape)


def instantiate(tangent: AnyValue) -> Array:
    """A symbolic zero as an array of zeros (of bools, if its dtype is float0); any other value unchanged.

    >>> zero = Zero(make_aval((2,), np.dtype("float32")))
    >>> print(instantiate(zero))
    [0. 0.]
    """
    if type(tangent) is not Zero:
        return tangent
    aval = tangent.aval
    if type(aval) is not ShapedArray:
        return zeros_like_aval(aval)
    # rules compute with their arguments, which float0 does not allow
    return full(aval.shape, False, np.dtype(bool)) if aval.dtype == dtypes.float0 else zeros_like_aval(aval)
