"""Reading and writing references by index. In eager code NumPy writes in place, where nobody else holds the data.

Indices are those of arrays, without None. Known integers must lie within bounds; index arrays, and integers that are
traced, are clamped. Writes take exactly the shape and dtype of the part.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from pullback._core import dtypes, numpy_state
from pullback._core.array import Array, ArrayLike, ConcreteArray, array_of, lift
from pullback._core.cells import Cell, owned_data, read_cell, resolved, staging_of, write_cell
from pullback._core.errors import boundary, described
from pullback._core.ref_changes import note_change, watched
from pullback._core.refs import Ref, RefIndexer, handle_of, of_leaf
from pullback._core.tree import tree_flatten
from pullback._core.types import ShapedArray, make_aval
from pullback._core.typing import AnyValue, Index
from pullback._ops import elementwise
from pullback._ops import shape as shape_ops
from pullback._ops.accumulate import is_half
from pullback._ops.dynamic_slicing import dynamic_update_slice_p, start
from pullback._ops.gather_numpy import CLIP, ScatterDimensionNumbers, scatter_into
from pullback.numpy._indexing.at import At, write_part
from pullback.numpy._indexing.indexing import UnknownIndex, getitem, is_basic, numpy_index, sliced
from pullback.numpy._indexing.plan import dimension_numbers, index_vectors, read_index

__all__: list[str] = []


_ZERO = np.int8(0)
_FEW = 4096  # up to so many elements, ufunc.at takes less time than the kernel of scatter


class _OutOfBounds(IndexError, ValueError):
    """An index out of bounds: an IndexError as NumPy raises it, and a ValueError as JAX does."""


_OutOfBounds.__name__ = "IndexError"


def _checked(ref: Ref, key: Index) -> None:
    """Refuse what is an index of arrays but not of references."""
    if key is Ellipsis:
        return
    entries = key if type(key) is tuple else (key,)
    axis, shape = 0, ref.shape
    taken = sum([_axes_of(k) for k in entries])
    for k in entries:
        if k is None:
            raise TypeError(
                f"the index {key!r} of {ref._described()} has None, which would make a new axis: a part of a Ref has "
                "the axes that it has. Read it, and index the array: ref[...][None]."
            )
        if type(k) is slice:
            if k.step is not None and type(k.step) is int and k.step < 1:
                raise ValueError(
                    f"the index {key!r} of {ref._described()} has a slice with step {k.step}: steps must be at least 1"
                )
        elif isinstance(k, (int, np.integer)) and not isinstance(k, bool) and axis < len(shape):
            n = shape[axis]
            if not -n <= k < n:
                raise _OutOfBounds(
                    f"index {int(k)} is out of bounds for axis {axis} of {ref._described()}, which has length {n}"
                )
        axis += len(shape) - taken if k is Ellipsis else _axes_of(k)


def _axes_of(entry: AnyValue) -> int:
    """The number of axes that an entry of an index takes."""
    if entry is None or entry is Ellipsis or isinstance(entry, (bool, np.bool_)):
        return 0
    dtype = getattr(entry, "dtype", None)
    return entry.ndim if dtype is not None and dtype.kind == "b" else 1


def part_aval(ref: Ref, key: Index) -> ShapedArray:
    """The type of a part."""
    if key is Ellipsis:
        return ref.aval_of_part
    aval = ref.aval_of_part
    try:
        shape = np.broadcast_to(_ZERO, aval.shape)[numpy_index(key)].shape
    except (IndexError, TypeError, OverflowError, UnknownIndex):
        shape = read_index(aval.shape, key, clamp=True).shape
    return make_aval(shape, aval.dtype)


def fitted(ref: Ref, value: AnyValue, aval: ShapedArray) -> Array:
    """A value that is to be written, as an array of the type of the part; ValueError for any other."""
    if isinstance(value, Ref):
        raise ValueError(
            f"a Ref was written to {ref.cell.described()}, which holds arrays: read it, other_ref[...], and write that"
        )
    v = lift(value)
    if v.aval is aval or (type(aval) is not ShapedArray and v.aval == aval):
        return v
    given = v.aval
    if type(aval) is not ShapedArray or type(given) is not ShapedArray:
        raise ValueError(
            f"a value of type {given.str_short()} was written to {ref.cell.described()}: it takes values of its type"
        )
    same_kind = given.weak_type and given.dtype.kind != "b" and dtypes.join(given.dtype, True, aval.dtype, False)
    if given.shape != aval.shape or (given.dtype != aval.dtype and not (same_kind and _is_kind(given, aval))):
        raise ValueError(
            f"a value of type {given.str_short()} was written to a part of type {aval.str_short()} of "
            f"{ref.cell.described()}. Writes neither broadcast nor convert: give the value that shape and dtype, with "
            "numpy.broadcast_to and .astype()."
        )
    return shape_ops.convert_element_type(v, aval.dtype, False)


def _is_kind(given: ShapedArray, aval: ShapedArray) -> bool:
    """Return whether a Python number may be written: a float to any floating-point dtype, and so on."""
    return any(
        is_kind(given.dtype) and is_kind(aval.dtype)
        for is_kind in (dtypes.is_integer, dtypes.is_float, dtypes.is_complex)
    )


def _held(ref: Ref, verb: str) -> ConcreteArray | None:
    """The content, if it is a concrete array that can be accessed now."""
    cell = resolved(ref.cell)
    if staging_of(cell, verb) is None and type(cell.content) is ConcreteArray:
        return cell.content
    return None


@boundary
def getitem_of_ref(self: Ref, key: Index) -> Array:
    """`ref[key]`: an array, which later writes do not change."""
    if self.tree is not None:
        whole = self.tree.unflatten([getitem_of_ref(of_leaf(self), ...)])
        _checked(self, key)
        return whole if key is Ellipsis else whole[key]
    _checked(self, key)
    if key is Ellipsis and not self.path:
        return read_cell(self.cell)
    content = _held(self, "read")
    if content is None:
        x = read_cell(self.cell)
    else:
        x = content
    for step in self.path:
        x = getitem(x, step)
    x = x if key is Ellipsis else getitem(x, key)
    if content is not None and type(x) is ConcreteArray:
        if x is content:
            resolved(self.cell).alone = False
        elif isinstance(x.value, np.ndarray) and x.value.base is not None:
            x = array_of(x.aval, x.value.copy())
    return x


@boundary
def setitem_of_ref(self: Ref, key: Index, value: AnyValue) -> None:
    """`ref[key] = value`."""
    _write(self, key, value, False)


@boundary
def addupdate_of_ref(self: Ref, x: ArrayLike, idx: Index = ...) -> None:
    """Add to the content, or to a part of it. A position that occurs more than once gets every value.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> ref = pb.new_ref(pnp.zeros(3))
    >>> ref.addupdate(pnp.ones(2), pnp.array([1, 1]))
    >>> print(ref[...])
    [0. 2. 0.]
    """
    _write(self, idx, x, True)


def _write(ref: Ref, key: Index, value: AnyValue, add: bool) -> None:
    _checked(ref, key)
    if ref.tree is not None:
        _write_leaf(ref, key, value, add)
        return
    cell = ref.cell
    if key is Ellipsis and not ref.path and not add:
        write_cell(cell, fitted(ref, value, cell.aval))
        return
    v = fitted(ref, value, part_aval(ref, key))
    if _held(ref, "written to") is not None and type(v) is ConcreteArray and _in_place(ref, key, v, add):
        return
    keys = [*ref.path, key]
    write_cell(cell, _updated(read_cell(cell), keys, v, add))


def _write_leaf(ref: Ref, key: Index, value: AnyValue, add: bool) -> None:
    """Write a node, keys, by its leaf."""
    leaves, tree = tree_flatten(value)
    if add or tree != ref.tree:
        raise ValueError(
            f"{described(value)} was {'added' if add else 'written'} to {ref._described()}, which takes "
            f"{'no sums' if add else 'values of its own type only'}"
        )
    whole = isinstance(key, tuple) and any(k is Ellipsis for k in key)
    _write(of_leaf(ref), (*key, slice(None)) if whole else key, leaves[0], False)  # type: ignore[misc]


def _in_place(ref: Ref, key: Index, v: ConcreteArray, add: bool) -> bool:
    """Write by NumPy itself, into the data that the reference holds; False where that is not possible."""
    cell = resolved(ref.cell)
    if cell.aval.ndim == 0:
        return False
    token = numpy_state.enter()
    try:
        keys = [numpy_index(k) for k in ref.path]
        if not all(map(is_basic, keys)):
            return False
        place = numpy_index(key)
        part = _part(owned_data(cell), keys)
        repeats = add and not is_basic(key)
        few = repeats and v.aval.size <= _FEW and not is_half(part.dtype)
        plan = read_index(part.shape, key, clamp=True) if repeats and not few else None
        if plan is not None and (is_half(part.dtype) or part.dtype.kind == "b" or not plan.takes_all(part.shape)):
            return False
        if watched():
            note_change(cell, partial(_undo, cell, keys, place, np.array(part[place])), False)
        if plan is not None:
            numbers = ScatterDimensionNumbers(*dimension_numbers(plan)[0])
            vectors: Any = index_vectors(plan.positions, plan.common)
            scatter_into(part, vectors.value, v.value, np.add, numbers, False, CLIP)
        elif few:
            np.add.at(part, place, v.value)
        elif add:
            whole = (*place, ...) if isinstance(place, tuple) else (place, ...) if place is not ... else place
            part[whole] += v.value
        else:
            part[place] = v.value
    except (IndexError, TypeError, OverflowError, UnknownIndex):
        return False
    finally:
        numpy_state.leave(token)
    return True


def _part(data: np.ndarray, keys: list[Any]) -> np.ndarray:
    """The part of data that basic indices lead to, to be written to."""
    for k in keys:
        data = data[(*k, ...) if isinstance(k, tuple) else (k, ...)]
    return data


def _undo(cell: Cell, keys: list[Any], place: Any, before: np.ndarray) -> None:
    _part(owned_data(cell), keys)[place] = before


def _updated(x: Array, keys: list[Index], v: Array, add: bool) -> Array:
    """The content with the part that the indices lead to replaced, or added to."""
    key = keys[0]
    if len(keys) > 1:
        return _replaced(x, key, _updated(getitem(x, key), keys[1:], v, add))
    if key is Ellipsis:
        return elementwise.add(x, v) if add and x.dtype.kind != "b" else At(x)[...].add(v) if add else v
    if not add:
        return _replaced(x, key, v)
    plan = read_index(x.aval.shape, key, clamp=True)
    if plan.common == () and x.dtype.kind != "b":
        return _replaced(x, key, elementwise.add(getitem(x, key), v))
    return At(x)[key].add(v, mode="clip")


def _replaced(x: Array, key: Index, v: Array) -> Array:
    """`x` with a part replaced; at a traced integer by a dynamic_update_slice, which clamps it."""
    if key is Ellipsis:
        return v
    plan = read_index(x.aval.shape, key, clamp=True)
    if 0 in plan.shape:
        return x
    if plan.axes and plan.common == ():
        part = sliced(x, plan)
        starts: list[Any] = [0] * part.aval.ndim
        for axis, p in zip(plan.axes, plan.positions, strict=True):
            starts[axis] = int(p) if isinstance(p, np.ndarray) else p
        sizes = [1 if i in plan.axes else n for i, n in enumerate(plan.middle)]
        where = [start("indexing", i, n, allow_negative=False) for i, n in zip(starts, plan.middle, strict=True)]
        part = dynamic_update_slice_p.bind(part, shape_ops.reshape(v, tuple(sizes)), *where)
        return write_part(x, part, plan)
    return At(x)[key].set(v, mode="clip")


@boundary
def part_of_ref(self: RefIndexer, key: Index) -> Ref:
    """`ref.at[key]`: a Ref to a part."""
    ref = self.ref
    _checked(ref, key)
    if key is Ellipsis:
        return handle_of(ref.cell, ref.path, ref.aval_of_part, ref.tree)
    if ref.tree is not None and isinstance(key, tuple) and any(k is Ellipsis for k in key):
        key = (*key, slice(None))  # the axis of the leaf
    return handle_of(ref.cell, (*ref.path, key), part_aval(ref, key), ref.tree)


def install() -> None:
    """Give references their operators."""
    Ref.__getitem__ = getitem_of_ref  # type: ignore[method-assign]
    Ref.__setitem__ = setitem_of_ref  # type: ignore[method-assign]
    Ref.addupdate = addupdate_of_ref  # type: ignore[method-assign]
    RefIndexer.__getitem__ = part_of_ref  # type: ignore[method-assign]


install()
