"""`ufunc`: an elementwise function with NumPy's methods that fold it along axes and over indices; `frompyfunc`.

The elementwise functions of this module's neighbours are plain functions, which are called faster than an object; those
that JAX has as ufuncs carry the same attributes (`known_ufuncs.py`), and are instances of `ufunc` to `isinstance`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from pullback._api.vectorize import vmap
from pullback._core import dtypes
from pullback._core.arguments import check_callable
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary, function_name
from pullback._core.typing import AnyValue, Axis, DTypeLike, Index
from pullback._higher_order.control.cond import switch
from pullback._higher_order.control.loops import scan
from pullback._ops import shape
from pullback._ops.assemble import broadcasted_iota, concatenate
from pullback._ops.compare import bitwise_and, eq, lt, select
from pullback._ops.creation import convert_element_type
from pullback._ops.elementwise import add
from pullback._ops.slicing import slice_in_dim
from pullback.numpy._creation.creation import array, as_array
from pullback.numpy._elementwise.promotion import as_operand, integer
from pullback.numpy._functional.vectorize import vectorize
from pullback.numpy._reductions import reductions as r

__all__ = ["frompyfunc", "ufunc"]

_INDEX = np.dtype(np.int32)


class _UfuncType(type):
    """Functions with the attributes of a ufunc are instances of the class."""

    def __instancecheck__(cls, instance: object) -> bool:
        if type(instance) is FunctionType:
            return isinstance(getattr(instance, "reduce", None), type(_A_UFUNC.reduce))
        return super().__instancecheck__(instance)


class ufunc(metaclass=_UfuncType):
    """A function of scalars applied elementwise, with methods that fold it; `frompyfunc` makes one.

    `func` takes `nin` scalars to `nout`; `identity` is a value that leaves the other operand as it is, or None.
    `call`, `reduce`, `accumulate`, `at` and `reduceat` are faster ways to do what the methods of these names do. Two
    operands and one result are needed for all methods but `at`. ValueError for other counts, TypeError for what
    cannot be called.

    >>> import pullback.numpy as pnp
    >>> area = pnp.ufunc(lambda x, y: x * y, 2, 1, name="area", identity=1)
    >>> print(area(pnp.array([1., 2.]), 3.), area.reduce(pnp.array([2., 3.])))
    [3. 6.] 6.0
    """

    def __init__(
        self,
        func: Callable[..., Any],
        /,
        nin: int,
        nout: int,
        *,
        name: str | None = None,
        nargs: int | None = None,
        identity: Any = None,
        call: Callable[..., Any] | None = None,
        reduce: Callable[..., Any] | None = None,
        accumulate: Callable[..., Any] | None = None,
        at: Callable[..., Any] | None = None,
        reduceat: Callable[..., Any] | None = None,
    ):
        check_callable("ufunc", func)
        self.nin: int = integer("ufunc", "nin", nin)
        self.nout: int = integer("ufunc", "nout", nout)
        if self.nin < 1 or self.nout < 1:
            raise ValueError(f"ufunc: nin and nout must be positive, got {nin} and {nout}")
        self.nargs: int = self.nin if nargs is None else nargs
        self.identity = identity
        self.__name__: str = name or function_name(func)
        self._func = func
        self._call = call or vectorize(func)
        self._ways = {"reduce": reduce, "accumulate": accumulate, "at": at, "reduceat": reduceat}

    def __repr__(self) -> str:
        return f"<pullback.numpy.ufunc {self.__name__!r}>"

    def _key(self) -> tuple[Any, ...]:
        return self._func, self.nin, self.nout, self.__name__, self.identity, *self._ways.values()

    def __hash__(self) -> int:
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return type(other) is ufunc and self._key() == other._key()

    @boundary
    def __call__(self, *args: ArrayLike, out: None = None, where: None = None) -> Any:
        r.refuse_out(self.__name__, out)
        if where is not None:
            raise NotImplementedError(
                f"{self.__name__}: the argument 'where' is not supported: use where(condition, f(x, y), otherwise)"
            )
        if len(args) != self.nin:
            raise TypeError(f"{self.__name__}: expected {self.nin} operands, got {len(args)}")
        return self._call(*args)

    def _folds(self, method: str) -> str:
        """The name for messages, if the function can be folded."""
        if (self.nin, self.nout) != (2, 1):
            raise ValueError(
                f"{self.__name__}.{method}: only functions of two operands with one result can be folded, this has "
                f"{self.nin} and {self.nout}"
            )
        return f"{self.__name__}.{method}"

    def _operand(self, name: str, a: ArrayLike, dtype: DTypeLike | None) -> Array:
        x = as_operand(a, name, 0)
        return x if dtype is None else convert_element_type(x, dtype)

    @boundary
    def reduce(
        self,
        a: ArrayLike,
        axis: Axis = 0,
        dtype: DTypeLike | None = None,
        out: None = None,
        keepdims: bool = False,
        initial: ArrayLike | None = None,
        where: ArrayLike | None = None,
    ) -> Array:
        """The function folded over an axis, from the left: `f(f(a[0], a[1]), a[2])` and so on.

        `axis` None is all elements. `initial` comes before the first; `where` is a mask of the elements that count,
        and needs an `initial` or an identity, as an axis without elements does. ValueError without one.

        >>> import pullback.numpy as pnp
        >>> print(pnp.subtract.reduce(pnp.array([7, 2, 1])))
        4
        """
        name = self._folds("reduce")
        r.refuse_out(name, out)
        if where is not None and self.identity is None and initial is None:
            raise ValueError(f"{name}: a mask (where) needs an initial value, for the function has no identity")
        way = self._ways["reduce"]
        if way is not None:
            x = a if dtype is None else self._operand(name, a, dtype)
            y = way(x, axis=axis, keepdims=keepdims, initial=initial, where=where)
            return y if dtype is None else convert_element_type(y, dtype)
        x = self._operand(name, a, dtype)
        given = x.aval.shape
        if axis is None:
            x, i = shape.reshape(x, (x.aval.size,)), 0
        else:
            i = self._one_axis(name, axis, x.aval.ndim)
        x = shape.move_axis(x, i, 0)
        start = self.identity if initial is None else initial
        first: Array | None = None
        if start is not None:
            first = shape.broadcast_to(convert_element_type(as_array(name, start), x.aval.dtype), x.aval.shape[1:])
        elif not x.aval.shape[0]:
            raise ValueError(f"{name}: there is no element along the axis, and the function has no identity")
        mask = None
        if where is not None:
            mask = shape.broadcast_to(as_operand(where, name, "where"), given)
            mask = shape.move_axis(shape.reshape(mask, (mask.aval.size,)) if axis is None else mask, i, 0)
        y = self._folded(x, first, mask)
        if keepdims:
            kept = (1,) * len(given) if axis is None else (*given[:i], 1, *given[i + 1 :])
            y = shape.reshape(y, kept)
        return y

    def _one_axis(self, name: str, axis: Axis, rank: int) -> int:
        axes = r.axes_of(name, axis, rank)
        if len(axes) != 1:
            raise NotImplementedError(
                f"{name}: the order in which several axes are folded would matter; fold one, or None for all"
            )
        return axes[0]

    def _folded(self, x: Array, first: Array | None, mask: Array | None) -> Array:
        """The fold over the leading axis."""
        if first is None:
            first = shape.reshape(slice_in_dim(x, 0, 1), x.aval.shape[1:])
            x = slice_in_dim(x, 1, None)
        if not x.aval.shape[0]:
            return first
        step = shape.reshape(slice_in_dim(x, 0, 1), x.aval.shape[1:])
        first = convert_element_type(first, as_array(self.__name__, self(first, step)).aval.dtype)

        def fold(total, parts):
            element, counts = parts
            result = self(total, convert_element_type(element, total.dtype))
            return (result if counts is None else select(counts, result, total)), None

        return scan(fold, first, (x, mask))[0]

    @boundary
    def accumulate(self, a: ArrayLike, axis: int = 0, dtype: DTypeLike | None = None, out: None = None) -> Array:
        """What `reduce` gives for the elements up to each: `a[0]`, `f(a[0], a[1])`, ... along an axis.

        ValueError for an axis out of bounds.

        >>> import pullback.numpy as pnp
        >>> print(pnp.subtract.accumulate(pnp.array([7, 2, 1])))
        [7 5 4]
        """
        name = self._folds("accumulate")
        r.refuse_out(name, out)
        x = self._operand(name, a, dtype)
        i = r.one_axis(name, axis, x.aval.ndim)
        if x.aval.shape[i] == 0:
            return x
        way = self._ways["accumulate"]
        if way is not None:
            return way(x, axis=i)
        x = shape.move_axis(x, i, 0)
        first = slice_in_dim(x, 0, 1)
        start = shape.reshape(first, x.aval.shape[1:])
        start = convert_element_type(start, as_array(name, self(start, start)).aval.dtype)

        def step(total, element):
            result = self(total, convert_element_type(element, total.dtype))
            return result, result

        rest = scan(step, start, slice_in_dim(x, 1, None))[1]
        return shape.move_axis(concatenate([convert_element_type(first, rest.dtype), rest], 0), 0, i)

    @boundary
    def reduceat(
        self, a: ArrayLike, indices: AnyValue, axis: int = 0, dtype: DTypeLike | None = None, out: None = None
    ) -> Array:
        """The folds of the stretches that begin at each index and end before the next, the last at the end.

        Where an index is not smaller than the next, the element at the index. IndexError for indices outside of the
        axis, TypeError for others than a vector of integers.

        >>> import pullback.numpy as pnp
        >>> print(pnp.add.reduceat(pnp.arange(8), pnp.array([0, 4, 1, 5])))
        [ 6  4 10 18]
        """
        name = self._folds("reduceat")
        r.refuse_out(name, out)
        x = self._operand(name, a, dtype)
        i = r.one_axis(name, axis, x.aval.ndim)
        starts = as_array(name, indices)
        if starts.aval.ndim != 1 or not dtypes.is_integer(starts.aval.dtype):
            raise TypeError(f"{name}: indices must be a vector of integers, got {starts.aval.str_short()}")
        way = self._ways["reduceat"]
        if way is not None:
            return way(x, starts, axis=i)
        x = shape.move_axis(x, i, 0)
        n, k = x.aval.shape[0], starts.aval.size
        _check_positions(name, starts, n)
        starts = convert_element_type(starts, _INDEX)
        if k == 0 or n == 0:
            return shape.move_axis(shape.full((k, *x.aval.shape[1:]), 0, x.aval.dtype), 0, i)
        ends = concatenate([slice_in_dim(starts, 1, None), shape.full((1,), n, _INDEX)], 0)
        first = shape.reshape(slice_in_dim(x, 0, 1), x.aval.shape[1:])
        first = convert_element_type(first, as_array(name, self(first, first)).aval.dtype)

        def stretch(start, end):
            def step(total, item):
                place, element = item
                element = convert_element_type(element, total.dtype)
                # before the stretch or behind it, at its start, or within it
                within = convert_element_type(bitwise_and(lt(start, place), lt(place, end)), _INDEX)
                where = add(convert_element_type(eq(place, start), _INDEX), add(within, within))
                ways: list[Callable[..., Any]] = [lambda t, e: t, lambda t, e: e, self]
                return switch(where, ways, total, element), None

            return scan(step, first, (broadcasted_iota(_INDEX, (n,), 0), x))[0]

        return shape.move_axis(vmap(stretch)(starts, ends), 0, i)

    @boundary
    def at(self, a: ArrayLike, indices: Index, b: ArrayLike | None = None, /, *, inplace: bool = True) -> Array:
        """`a` with `a[i] = f(a[i], b)` for each of the indices in turn: repeated ones count as often as they occur.

        As arrays are not modified, `inplace` must be False; the result is a new array of the dtype of `a`. Indices
        out of bounds are left out. NotImplementedError for `inplace`, TypeError if `b` is missing or is not wanted.

        >>> import pullback.numpy as pnp
        >>> print(pnp.add.at(pnp.zeros(3), pnp.array([0, 2, 0]), 1., inplace=False))
        [2. 0. 1.]
        """
        name = f"{self.__name__}.at"
        if inplace:
            raise NotImplementedError(f"{name}: arrays are not modified; pass inplace=False, and use the result")
        if self.nin not in (1, 2) or self.nout != 1 or (b is None) != (self.nin == 1):
            raise TypeError(f"{name}: expected {self.nin - 1} operands beside a, and one result of the function")
        x = as_operand(a, name, 0)
        way = self._ways["at"]
        if way is not None and b is not None:
            return way(x, indices, as_operand(b, name, 2))
        count = x.aval.size
        numbers = shape.reshape(broadcasted_iota(_INDEX, (count,), 0), x.aval.shape)
        places = numbers.at[indices].get(mode="fill", fill_value=count)
        size = places.aval.size
        flat = shape.reshape(x, (count,))
        items: Any = shape.reshape(places, (size,))
        if b is not None:
            value = shape.broadcast_to(as_operand(b, name, 2), places.aval.shape)
            items = (items, shape.reshape(value, (size,)))

        def step(values, item):
            place, *operands = item if isinstance(item, tuple) else (item,)
            old = values.at[place].get(mode="clip")
            new = convert_element_type(self(old, *operands), values.dtype)
            return values.at[place].set(new, mode="drop"), None

        return shape.reshape(scan(step, flat, items)[0], x.aval.shape) if count and size else array(x)

    @boundary
    def outer(self, A: ArrayLike, B: ArrayLike, /) -> Array:
        """The function of all pairs of an element of `A` and one of `B`: the shape of `A` followed by that of `B`.

        ValueError for a function that does not have two operands.

        >>> import pullback.numpy as pnp
        >>> print(pnp.add.outer(pnp.array([0, 10]), pnp.array([1, 2])))
        [[ 1  2]
         [11 12]]
        """
        name = self._folds("outer")
        x, y = as_operand(A, name, 0), as_operand(B, name, 1)
        return self(shape.reshape(x, (*x.aval.shape, *(1,) * y.aval.ndim)), y)


_A_UFUNC = ufunc(abs, 1, 1)


def _check_positions(name: str, places: Array, n: int) -> None:
    """Refuse positions outside of an axis, as far as they are known."""
    values = getattr(places, "value", None)
    if values is not None and np.size(values) and not (0 <= np.min(values) and np.max(values) < n):
        raise IndexError(f"{name}: the indices must be from 0 to {n - 1}, got {np.asarray(values)}")


@boundary
def frompyfunc(func: Callable[..., Any], /, nin: int, nout: int, *, identity: Any = None) -> ufunc:
    """The `ufunc` of a function that takes `nin` scalars to `nout`, by `vectorize`; `identity` leaves an operand as is.

    ValueError for counts that are not positive, TypeError for what cannot be called.

    >>> import pullback.numpy as pnp
    >>> hypotenuse = pnp.frompyfunc(lambda x, y: pnp.sqrt(x * x + y * y), 2, 1, identity=0)
    >>> print(hypotenuse.outer(pnp.array([0., 3.]), pnp.array([4.])))
    [[4.]
     [5.]]
    """
    return ufunc(func, nin, nout, identity=identity)
