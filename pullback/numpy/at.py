"""Updates by index without mutation: `x.at[index].set(values)` and its kin return a new array.

An index of known integers and slices becomes a dynamic_update_slice (or a pad, where it has strides); positions become
one scatter. Positions out of bounds are dropped, unless `mode` says otherwise.
"""
from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ConcreteArray, from_numpy
from pullback._core.errors import boundary
from pullback._core.primitive import Primitive
from pullback._ops import compare, elementwise
from pullback._ops import shape as shape_ops
from pullback._ops.dynamic_slicing import dynamic_update_slice_p
from pullback._ops.gather_numpy import FILL, PROMISE, GatherScatterMode, ScatterDimensionNumbers
from pullback._ops.gather_scatter import (
    scatter_add_p,
    scatter_max_p,
    scatter_min_p,
    scatter_mul_p,
    scatter_p,
)
from pullback._ops.slicing import pad, rev
from pullback.numpy.creation import ones_like
from pullback.numpy.elementwise import as_operand
from pullback.numpy.index_plan import Plan, dimension_numbers, index_vectors, read_index
from pullback.numpy.indexing import along_axis, gathered, sliced
from pullback.numpy.manipulation import stretched
from pullback.numpy.ufuncs import divide, negative, power

__all__ = ["put_along_axis", "put", "place", "fill_diagonal"]


class At:
    """`x.at`: to be indexed."""

    __slots__ = ("array",)

    def __init__(self, array: Array):
        self.array = array

    def __getitem__(self, key: Any) -> IndexedUpdate:
        return IndexedUpdate(self.array, key)

    def __repr__(self):
        return f"At({self.array!r})"


class IndexedUpdate:
    """`x.at[key]`: the places of an array, to be read or updated.

    Updates broadcast to the shape of `x[key]` and are cast to the dtype of `x`. Where a place is named more than once,
    every update counts, and of several `set`s the last. The options: `mode`, for positions out of bounds, is "drop"
    (updates) or "promise_in_bounds" (get) by default, also "clip" and "fill" (get, with `fill_value`);
    `indices_are_sorted` and `unique_indices` are promises that make compiled code faster; without
    `wrap_negative_indices` negative positions are out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.zeros(3).at[1].set(5.)
    Array([0., 5., 0.], dtype=float32)
    >>> pnp.zeros(3).at[pnp.array([0, 0, 2])].add(1.)
    Array([2., 0., 1.], dtype=float32)
    """

    __slots__ = ("array", "key")

    def __init__(self, array: Array, key: Any):
        self.array = array
        self.key = key

    def __repr__(self):
        return f"IndexedUpdate({self.array!r}, {self.key!r})"

    @boundary
    def get(self, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None,
            fill_value: Any = None, wrap_negative_indices: bool = True) -> Array:
        """`x[key]`, with a say in what positions out of bounds give."""
        chosen = PROMISE if mode is None else GatherScatterMode.from_any(mode)
        plan = read_index(self.array.aval.shape, self.key, clamp=chosen is not FILL, wrap=wrap_negative_indices)
        return gathered(self.array, plan, chosen, fill_value, indices_are_sorted, unique_indices)

    @boundary
    def set(self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None,
            wrap_negative_indices: bool = True) -> Array:
        """`x[key] = values`."""
        return _update(self, "set", scatter_p, None, values, indices_are_sorted, unique_indices, mode,
                       wrap_negative_indices)

    @boundary
    def add(self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None,
            wrap_negative_indices: bool = True) -> Array:
        """`x[key] += values`."""
        return _update(self, "add", scatter_add_p, elementwise.add, values, indices_are_sorted, unique_indices, mode,
                       wrap_negative_indices)

    @boundary
    def subtract(self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False,
                 mode: Any = None, wrap_negative_indices: bool = True) -> Array:
        """`x[key] -= values`."""
        return _update(self, "subtract", scatter_add_p, elementwise.add, negative(values), indices_are_sorted,
                       unique_indices, mode, wrap_negative_indices)

    @boundary
    def multiply(self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False,
                 mode: Any = None, wrap_negative_indices: bool = True) -> Array:
        """`x[key] *= values`."""
        return _update(self, "multiply", scatter_mul_p, elementwise.mul, values, indices_are_sorted, unique_indices,
                       mode, wrap_negative_indices)

    mul = multiply

    @boundary
    def divide(self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False,
               mode: Any = None, wrap_negative_indices: bool = True) -> Array:
        """`x[key] /= values`; of integers in floating point."""
        factors = IndexedUpdate(ones_like(self.array), self.key)
        return divide(self.array, _update(factors, "divide", scatter_mul_p, elementwise.mul, values,
                                          indices_are_sorted, unique_indices, mode, wrap_negative_indices))

    @boundary
    def power(self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False,
              mode: Any = None, wrap_negative_indices: bool = True) -> Array:
        """`x[key] **= values`."""
        exponents = IndexedUpdate(ones_like(self.array), self.key)
        return power(self.array, _update(exponents, "power", scatter_mul_p, elementwise.mul, values,
                                         indices_are_sorted, unique_indices, mode, wrap_negative_indices))

    @boundary
    def min(self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None,
            wrap_negative_indices: bool = True) -> Array:
        """`x[key] = minimum(x[key], values)`."""
        return _update(self, "min", scatter_min_p, elementwise.min, values, indices_are_sorted, unique_indices, mode,
                       wrap_negative_indices)

    @boundary
    def max(self, values: Any, *, indices_are_sorted: bool = False, unique_indices: bool = False, mode: Any = None,
            wrap_negative_indices: bool = True) -> Array:
        """`x[key] = maximum(x[key], values)`."""
        return _update(self, "max", scatter_max_p, elementwise.max, values, indices_are_sorted, unique_indices, mode,
                       wrap_negative_indices)

    @boundary
    def apply(self, func: Callable[[Array], Array], *, indices_are_sorted: bool = False, unique_indices: bool = False,
              mode: Any = None, wrap_negative_indices: bool = True) -> Array:
        """`x[key] = func(x[key])`, `func` being elementwise; a place named n times gets it n times."""
        x = self.array
        options = {"indices_are_sorted": indices_are_sorted, "mode": mode,
                   "wrap_negative_indices": wrap_negative_indices}
        plan = read_index(x.aval.shape, self.key, clamp=False, wrap=wrap_negative_indices)
        if not plan.axes or plan.common == () or unique_indices:
            times: Any = 1
        else:
            counts = IndexedUpdate(shape_ops.full(x.aval.shape, 0, np.dtype(np.int32)), self.key).add(1, **options)
            if not isinstance(counts, ConcreteArray):
                known = counts.known()  # type: ignore[attr-defined]
                if known is None:
                    raise NotImplementedError(
                        "x.at[...].apply with traced positions: how often each place is named is not known. Promise that "
                        "it is at most once, with unique_indices=True, or use set, add, multiply, min or max.")
                counts = known
            times = int(np.max(counts.value, initial=0))
        if times == 1:
            chosen = PROMISE if mode is None else mode
            values = func(gathered(x, read_index(x.aval.shape, self.key, True, wrap_negative_indices),
                                   GatherScatterMode.from_any(chosen)))
            return self.set(values, unique_indices=unique_indices, **options)
        for k in range(times):
            x = compare.select(compare.gt(counts, from_numpy(np.int32(k))),
                               shape_ops.convert_element_type(as_operand(func(x), "apply", 0), x.aval.dtype), x)
        return x


def _update(where: IndexedUpdate, name: str, p: Primitive, combine: Callable | None, values: Any,
            indices_are_sorted: bool, unique_indices: bool, mode: Any, wrap: bool) -> Array:
    x = where.array
    function = f"at[...].{name}"
    plan = read_index(x.aval.shape, where.key, clamp=False, wrap=wrap)
    v = as_operand(values, function, 0)
    v = _fitted(function, v, x, plan)
    if 0 in plan.shape:
        return x
    if not plan.axes:
        if combine is not None:
            v = combine(sliced(x, plan), v)
        return _write(x, v, plan)
    all_of_it = plan.takes_all(x.aval.shape)
    part = x if all_of_it else sliced(x, plan)
    part = shape_ops.reshape(part, plan.middle)
    numbers, _ = dimension_numbers(plan)
    single = plan.common == ()
    out = p.bind(part, index_vectors(plan.positions, plan.common), v,
                 dimension_numbers=ScatterDimensionNumbers(*numbers), mode=GatherScatterMode.from_any(mode),
                 indices_are_sorted=bool(indices_are_sorted) or single,
                 unique_indices=bool(unique_indices) or single)
    return shape_ops.reshape(out, x.aval.shape) if all_of_it else _write(x, out, plan)


def _fitted(function: str, v: Array, x: Array, plan: Plan) -> Array:
    """The values of an update in the dtype of the array and the shape of the index."""
    dtype = x.aval.dtype
    if v.aval.dtype != dtype:
        common = dtypes.join(dtype, x.aval.weak_type, v.aval.dtype, v.aval.weak_type)[0]
        if common != dtype:
            warnings.warn(f"{function}: values of dtype {v.aval.dtype.name} do not fit safely into an array of dtype "
                          f"{dtype.name} and are cast to it. Cast them, or the array, with .astype().",
                          FutureWarning, stacklevel=4)
        v = shape_ops.convert_element_type(v, dtype)
    shape = v.aval.shape
    # as in an assignment, leading axes of length 1 may be too many
    extra = len(shape) - len(plan.shape)
    if extra > 0 and all(n == 1 for n in shape[:extra]):
        v = shape_ops.reshape(v, shape[extra:])
    return stretched(function, v, plan.shape)


def _write(x: Array, v: Array, plan: Plan) -> Array:
    """`x` with what the slices of a plan take replaced by `v`."""
    shape = tuple((b - a + s - 1) // s for a, b, s in zip(plan.starts, plan.limits, plan.strides, strict=True))
    v = rev(shape_ops.reshape(v, shape), plan.reversed_axes)
    if v.aval.weak_type != x.aval.weak_type:
        v = shape_ops.convert_element_type(v, x.aval.dtype, x.aval.weak_type)
    if shape == x.aval.shape:
        return v
    if all(s == 1 for s in plan.strides):
        return dynamic_update_slice_p.bind(x, v, *[from_numpy(np.int32(i)) for i in plan.starts])
    config = [(a, n - (a + (m - 1) * s + 1), s - 1) for a, m, s, n in zip(
        plan.starts, shape, plan.strides, x.aval.shape, strict=True)]
    inside = pad(shape_ops.full(shape, True, np.dtype(bool)), np.bool_(False), config)
    return compare.select(inside, pad(v, elementwise.scalar(v, 0), config), x)


# --- NumPy's functions that write, as functions that return a new array ---


def _refuse_inplace(name: str, inplace: bool) -> None:
    if inplace:
        raise ValueError(f"{name}: arrays are immutable, so nothing can be written in place: pass inplace=False and use the "
                         "result")


@boundary
def put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None, inplace: bool = True, *,
                   mode: str | None = None) -> Array:
    """`arr` with the elements that `take_along_axis` reads replaced by `values`; `inplace` must be False.

    >>> import pullback.numpy as pnp
    >>> pnp.put_along_axis(pnp.zeros((2, 2)), pnp.array([[1], [0]]), 5., 1, inplace=False)
    Array([[0., 5.],
           [5., 0.]], dtype=float32)
    """
    _refuse_inplace("put_along_axis", inplace)
    x = as_operand(arr, "put_along_axis", 0)
    y, vectors, numbers, _ = along_axis("put_along_axis", x, indices, axis, wrap=True)
    v = shape_ops.convert_element_type(as_operand(values, "put_along_axis", 2), x.aval.dtype)
    v = stretched("put_along_axis", v, vectors.aval.shape[:-1])
    if y.aval.shape != x.aval.shape and y.aval.ndim == x.aval.ndim:
        raise ValueError(f"put_along_axis: indices of shape {vectors.aval.shape[:-1]} do not broadcast to an array of shape "
                         f"{x.aval.shape}")
    out = scatter_p.bind(y, vectors, v, dimension_numbers=ScatterDimensionNumbers(*numbers),
                         mode=GatherScatterMode.from_any(mode), indices_are_sorted=False, unique_indices=False)
    return shape_ops.reshape(out, x.aval.shape)


@boundary
def put(a: Any, ind: Any, v: Any, mode: str | None = None, *, inplace: bool = True) -> Array:
    """`a` with the elements at flat positions replaced by values, repeated as needed; `inplace` must be False.

    `mode` is "clip" or "wrap" for positions out of bounds, which are dropped by default.

    >>> import pullback.numpy as pnp
    >>> pnp.put(pnp.zeros(3), pnp.array([0, 2]), 5., inplace=False)
    Array([5., 0., 5.], dtype=float32)
    """
    _refuse_inplace("put", inplace)
    x, index, values = as_operand(a, "put", 0), as_operand(ind, "put", 1), as_operand(v, "put", 2)
    size, count = x.aval.size, index.aval.size
    if not count or not values.aval.size:
        return x
    index = shape_ops.reshape(index, (count,))
    if mode == "wrap":
        index, mode = remainder(index, size), None
    elif mode not in (None, "clip"):
        raise ValueError(f"put: mode must be None, 'clip' or 'wrap', got {mode!r}")
    values = resize(values, (count,))
    flat = IndexedUpdate(shape_ops.reshape(x, (size,)), index).set(values, mode=mode)
    return shape_ops.reshape(flat, x.aval.shape)


@boundary
def place(arr: Any, mask: Any, vals: Any, *, inplace: bool = True) -> Array:
    """`arr` with the elements under a mask replaced by values, repeated as needed; `inplace` must be False.

    >>> import pullback.numpy as pnp
    >>> pnp.place(pnp.zeros(3), pnp.array([True, False, True]), pnp.array([5., 6.]), inplace=False)
    Array([5., 0., 6.], dtype=float32)
    """
    _refuse_inplace("place", inplace)
    x, m, values = as_operand(arr, "place", 0), as_operand(mask, "place", 1), as_operand(vals, "place", 2)
    if m.aval.size != x.aval.size:
        raise ValueError(f"place: the mask must have the size of the array, got shapes {m.aval.shape} and {x.aval.shape}")
    m = shape_ops.reshape(m, (m.aval.size,))
    m = m if m.aval.dtype.kind == "b" else compare.ne(m, elementwise.scalar(m, 0))
    order = elementwise.sub(cumsum(shape_ops.convert_element_type(m, np.int32)), np.int32(1))
    values = shape_ops.convert_element_type(shape_ops.reshape(values, (values.aval.size,)), x.aval.dtype)
    chosen = take(values, remainder(order, values.aval.size), mode="clip")
    return shape_ops.reshape(compare.select(m, chosen, shape_ops.reshape(x, (x.aval.size,))), x.aval.shape)


@boundary
def fill_diagonal(a: Any, val: Any, wrap: bool = False, *, inplace: bool = True) -> Array:
    """`a`, of at least 2 axes, with its main diagonal replaced by `val`, repeated as needed; `inplace` must be False.

    >>> import pullback.numpy as pnp
    >>> pnp.fill_diagonal(pnp.zeros((2, 2)), 5., inplace=False)
    Array([[5., 0.],
           [0., 5.]], dtype=float32)
    """
    _refuse_inplace("fill_diagonal", inplace)
    if wrap:
        raise NotImplementedError("fill_diagonal: wrap=True is not supported")
    x, v = as_operand(a, "fill_diagonal", 0), as_operand(val, "fill_diagonal", 1)
    shape = x.aval.shape
    if len(shape) < 2 or (len(shape) > 2 and len({*shape}) > 1):
        raise ValueError(f"fill_diagonal: expected a matrix, or an array of equal lengths, got shape {shape}")
    n = min(shape)
    values = resize(shape_ops.reshape(v, (v.aval.size,)), (n,)) if v.aval.ndim else v
    return IndexedUpdate(x, (np.arange(n),) * len(shape)).set(values, unique_indices=True)
