"""Updates by index without mutation: methods such as `x.at[index].set(values)` return a new array.

An index of known integers and slices becomes a dynamic_update_slice (or a pad, if it has strides); index arrays become
one scatter. Indices out of bounds are dropped, unless `mode` says otherwise.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from pullback._core import dtypes, numpy_state
from pullback._core.array import Array, ArrayLike, ConcreteArray, array_of, from_numpy
from pullback._core.errors import boundary
from pullback._core.nans import is_watched
from pullback._core.primitive import Primitive
from pullback._core.typing import Index
from pullback._higher_order.control.scatter_apply import applied_by_counts, applied_where
from pullback._ops import compare, elementwise
from pullback._ops import shape as shape_ops
from pullback._ops.accumulate import is_half
from pullback._ops.dynamic_slicing import dynamic_update_slice_p
from pullback._ops.gather_numpy import FILL, PROMISE, GatherScatterMode, ScatterDimensionNumbers, mode_of
from pullback._ops.gather_scatter import scatter_add_p, scatter_p
from pullback._ops.scatter_extrema import scatter_max_p, scatter_min_p, scatter_mul_p
from pullback._ops.slicing import pad, rev
from pullback.numpy._creation.creation import ones_like
from pullback.numpy._elementwise.arithmetic import divide, negative, power
from pullback.numpy._elementwise.promotion import operand_for
from pullback.numpy._indexing.indexing import UnknownIndex, gathered, is_basic, numpy_index, sliced
from pullback.numpy._indexing.plan import Plan, dimension_numbers, index_vectors, read_index
from pullback.numpy._shape.manipulation import stretched

__all__: list[str] = []


class At:
    """`x.at`: to be indexed.

    >>> import pullback.numpy as pnp
    >>> pnp.zeros(3).at[1:].add(5.)
    Array([0., 5., 5.], dtype=float32)
    """

    __slots__ = ("array",)

    def __init__(self, array: Array):
        self.array = array

    def __getitem__(self, key: Index) -> IndexedUpdate:
        return IndexedUpdate(self.array, key)

    def __repr__(self) -> str:
        return f"At({self.array!r})"


class IndexedUpdate:
    """`x.at[key]`: the selected elements of an array, to be read or updated.

    Updates broadcast to the shape of `x[key]` and are cast to the dtype of `x`. If an element is selected more than
    once, every update counts, and of several `set`s the last. The options: `mode`, for indices out of bounds, is "drop"
    (updates) or "promise_in_bounds" (get) by default, also "clip" and "fill" (get, with `fill_value`);
    `indices_are_sorted` and `unique_indices` are promises that make compiled code faster; without
    `wrap_negative_indices` negative indices are out of bounds.

    >>> import pullback.numpy as pnp
    >>> pnp.zeros(3).at[1].set(5.)
    Array([0., 5., 0.], dtype=float32)
    >>> pnp.zeros(3).at[pnp.array([0, 0, 2])].add(1.)
    Array([2., 0., 1.], dtype=float32)
    """

    __slots__ = ("array", "key")

    def __init__(self, array: Array, key: Index):
        self.array = array
        self.key = key

    def __repr__(self) -> str:
        return f"IndexedUpdate({self.array!r}, {self.key!r})"

    @boundary
    def get(
        self,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
        fill_value: ArrayLike | None = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """`x[key]`, with options for the treatment of indices out of bounds."""
        chosen = PROMISE if mode is None else mode_of("at[...].get", mode)
        plan = read_index(self.array.aval.shape, self.key, clamp=chosen is not FILL, wrap=wrap_negative_indices)
        return gathered(self.array, plan, chosen, fill_value, indices_are_sorted, unique_indices)

    @boundary
    def set(
        self,
        values: ArrayLike,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """`x[key] = values`."""
        return _update(
            self, "set", scatter_p, None, values, indices_are_sorted, unique_indices, mode, wrap_negative_indices
        )

    @boundary
    def add(
        self,
        values: ArrayLike,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """`x[key] += values`."""
        return _update(
            self,
            "add",
            scatter_add_p,
            elementwise.add,
            values,
            indices_are_sorted,
            unique_indices,
            mode,
            wrap_negative_indices,
        )

    @boundary
    def subtract(
        self,
        values: ArrayLike,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """`x[key] -= values`."""
        return _update(
            self,
            "subtract",
            scatter_add_p,
            elementwise.add,
            negative(values),
            indices_are_sorted,
            unique_indices,
            mode,
            wrap_negative_indices,
        )

    @boundary
    def multiply(
        self,
        values: ArrayLike,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """`x[key] *= values`."""
        return _update(
            self,
            "multiply",
            scatter_mul_p,
            elementwise.mul,
            values,
            indices_are_sorted,
            unique_indices,
            mode,
            wrap_negative_indices,
        )

    mul = multiply

    @boundary
    def divide(
        self,
        values: ArrayLike,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """`x[key] /= values`; of integers in floating point."""
        factors = IndexedUpdate(_ones_for(self.array, float), self.key)
        return divide(
            self.array,
            _update(
                factors,
                "divide",
                scatter_mul_p,
                elementwise.mul,
                values,
                indices_are_sorted,
                unique_indices,
                mode,
                wrap_negative_indices,
            ),
        )

    @boundary
    def power(
        self,
        values: ArrayLike,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """`x[key] **= values`."""
        exponents = IndexedUpdate(_ones_for(self.array, int), self.key)
        return power(
            self.array,
            _update(
                exponents,
                "power",
                scatter_mul_p,
                elementwise.mul,
                values,
                indices_are_sorted,
                unique_indices,
                mode,
                wrap_negative_indices,
            ),
        )

    @boundary
    def min(
        self,
        values: ArrayLike,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """`x[key] = minimum(x[key], values)`."""
        return _update(
            self,
            "min",
            scatter_min_p,
            elementwise.min,
            values,
            indices_are_sorted,
            unique_indices,
            mode,
            wrap_negative_indices,
        )

    @boundary
    def max(
        self,
        values: ArrayLike,
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """`x[key] = maximum(x[key], values)`."""
        return _update(
            self,
            "max",
            scatter_max_p,
            elementwise.max,
            values,
            indices_are_sorted,
            unique_indices,
            mode,
            wrap_negative_indices,
        )

    @boundary
    def apply(
        self,
        func: Callable[[Array], Array],
        *,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
        mode: str | GatherScatterMode | None = None,
        wrap_negative_indices: bool = True,
    ) -> Array:
        """`x[key] = func(x[key])`, `func` being elementwise; an element selected n times gets it n times.

        With traced indices it is a loop, if they may select an element twice: `unique_indices` promises that they do
        not.
        """
        x = self.array
        chosen = PROMISE if mode is None else mode_of("at[...].apply", mode)
        options: dict[str, Any] = {
            "indices_are_sorted": indices_are_sorted,
            "mode": mode,
            "wrap_negative_indices": wrap_negative_indices,
        }
        plan = read_index(x.aval.shape, self.key, clamp=False, wrap=wrap_negative_indices)
        if not plan.axes or plan.common == () or unique_indices:
            times: Any = 1
        else:
            counts = IndexedUpdate(shape_ops.full(x.aval.shape, 0, np.dtype(np.int32)), self.key).add(1, **options)
            if not isinstance(counts, ConcreteArray):
                known = counts._known()  # type: ignore[attr-defined]
                if known is None:
                    return applied_by_counts(x, counts, func, math.prod(plan.common))
                counts = known
            times = int(np.max(counts.value, initial=0))
        if times == 1:
            values = func(gathered(x, read_index(x.aval.shape, self.key, True, wrap_negative_indices), chosen))
            return self.set(values, unique_indices=unique_indices, **options)
        for k in range(times):
            x = applied_where(compare.gt(counts, from_numpy(np.int32(k))), func, x)
        return x


def _update(
    where: IndexedUpdate,
    name: str,
    p: Primitive,
    combine: Callable | None,
    values: ArrayLike,
    indices_are_sorted: bool,
    unique_indices: bool,
    mode: str | GatherScatterMode | None,
    wrap: bool,
) -> Array:
    x = where.array
    if x.aval.dtype.kind == "b":
        p, combine = _FOR_BOOLS.get(p, (p, combine))
    function = f"at[...].{name}"
    v = operand_for(values, function, 0, x.aval.dtype)
    chosen = mode_of(function, mode)
    if type(x) is ConcreteArray and type(v) is ConcreteArray and v.aval.dtype == x.aval.dtype and mode is None and wrap:
        out = _by_numpy(x, where.key, v, combine)
        if out is not None:
            return out
    plan = read_index(x.aval.shape, where.key, clamp=False, wrap=wrap)
    v = _fitted(function, v, x, plan)
    if 0 in plan.shape or 0 in x.aval.shape:
        return x
    if not plan.axes:
        if combine is not None:
            v = combine(sliced(x, plan), v)
        return write_part(x, v, plan)
    all_of_it = plan.takes_all(x.aval.shape)
    part = x if all_of_it else sliced(x, plan)
    part = shape_ops.reshape(part, plan.middle)
    numbers, _ = dimension_numbers(plan)
    single = plan.common == ()
    out = p.bind(
        part,
        index_vectors(plan.positions, plan.common),
        v,
        dimension_numbers=ScatterDimensionNumbers(*numbers),
        mode=chosen,
        indices_are_sorted=bool(indices_are_sorted) or single,
        unique_indices=bool(unique_indices) or single,
    )
    return shape_ops.reshape(out, x.aval.shape) if all_of_it else write_part(x, out, plan)


def _ones_for(x: Array, kind: type) -> Array:
    """Ones like `x`, of the default dtype of a kind where `x` is of bools."""
    return ones_like(x, kind if x.aval.dtype.kind == "b" else None)


# sums of bools are `or`, products `and`, as those of arrays of them
_FOR_BOOLS: dict[Primitive, tuple[Primitive, Callable]] = {
    scatter_add_p: (scatter_max_p, elementwise.max),
    scatter_mul_p: (scatter_min_p, elementwise.min),
}
_SMALL = 4096
_UFUNCS: dict[Any, np.ufunc] = {
    elementwise.add: np.add,
    elementwise.mul: np.multiply,
    elementwise.min: np.minimum,
    elementwise.max: np.maximum,
}


def _by_numpy(x: ConcreteArray, key: Index, v: ConcreteArray, combine: Callable | None) -> Array | None:
    """The update by NumPy itself, if everything is known and in bounds; else None, for the general path."""
    if is_watched():
        return None
    token = numpy_state.enter()
    try:
        place = numpy_index(key)
        out = np.array(x.value)
        if combine is None:
            out[place] = v.value
        elif is_half(out.dtype) and not is_basic(key):
            return None  # sums of several updates at one index are rounded once, by the kernel of scatter
        elif is_basic(key):
            out[place] = _UFUNCS[combine](out[place], v.value)
        elif out.size <= _SMALL:
            _UFUNCS[combine].at(out, place, v.value)
        else:
            # the kernel of scatter is faster than ufunc.at
            return None
    except (IndexError, TypeError, ValueError, OverflowError, UnknownIndex):
        return None
    finally:
        numpy_state.leave(token)
    return array_of(x.aval, out)


def _fitted(function: str, v: Array, x: Array, plan: Plan) -> Array:
    """The values of an update in the dtype of the array and the shape of the index."""
    dtype = x.aval.dtype
    if v.aval.dtype != dtype:
        common = dtypes.join(dtype, x.aval.weak_type, v.aval.dtype, v.aval.weak_type)[0]
        if common != dtype:
            warnings.warn(
                f"{function}: values of dtype {v.aval.dtype.name} do not fit safely into an array of dtype "
                f"{dtype.name} and are cast to it. Cast them, or the array, with .astype().",
                FutureWarning,
                stacklevel=4,
            )
        v = shape_ops.convert_element_type(v, dtype)
    shape = v.aval.shape
    # as in an assignment, leading axes of length 1 may be too many
    extra = len(shape) - len(plan.shape)
    if extra > 0 and all(n == 1 for n in shape[:extra]):
        v = shape_ops.reshape(v, shape[extra:])
    return stretched(function, v, plan.shape)


def write_part(x: Array, v: Array, plan: Plan) -> Array:
    """`x` with the part selected by the slices of a plan replaced by `v`."""
    shape = tuple((b - a + s - 1) // s for a, b, s in zip(plan.starts, plan.limits, plan.strides, strict=True))
    v = rev(shape_ops.reshape(v, shape), plan.reversed_axes)
    if shape != x.aval.shape and all(s == 1 for s in plan.strides):
        return dynamic_update_slice_p.bind(x, v, *[from_numpy(np.int32(i)) for i in plan.starts])
    if shape != x.aval.shape:
        v = _interleaved(x, v, plan)
    return shape_ops.convert_element_type(v, x.aval.dtype, x.aval.weak_type)


def _interleaved(x: Array, v: Array, plan: Plan) -> Array:
    shape = v.aval.shape
    config = [
        (a, n - (a + (m - 1) * s + 1), s - 1)
        for a, m, s, n in zip(plan.starts, shape, plan.strides, x.aval.shape, strict=True)
    ]
    inside = pad(shape_ops.full(shape, True, np.dtype(bool)), np.bool_(False), config)
    return compare.select(inside, pad(v, elementwise.scalar(v, 0), config), x)
