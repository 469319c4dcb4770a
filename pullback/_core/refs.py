"""Mutable arrays: a `Ref` is a handle of a `Cell`, which holds an array, or the tracer that stands for one.

So derivatives and batches of functions that make references of their own need no rules: the content is a value as any
other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pullback._core.array import Array, ConcreteArray, array_of
from pullback._core.cells import Cell, resolved, staging_of
from pullback._core.errors import Described, Location, UnexpectedTracerError, boundary, is_internal
from pullback._core.hitypes import is_own_value
from pullback._core.public_array import ExtendedArray
from pullback._core.ref_changes import refs_exist
from pullback._core.tree import PyTreeDef, tree_flatten
from pullback._core.types import ShapedArray, ShapeDtypeStruct, length
from pullback._core.typing import AnyValue, DTypeLike, Index


class RefType:
    """The type of a reference: that of its content. `tree` is the structure of content that is a node of a pytree.

    >>> RefType(ShapedArray((4,), "float32"))
    Ref{float32[4]}
    """

    __slots__ = ("inner", "tree")
    inner: ShapedArray
    tree: PyTreeDef | None

    def __init__(self, inner: ShapedArray, tree: PyTreeDef | None = None):
        self.inner = inner
        self.tree = tree

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the content."""
        return self.like().shape

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the content."""
        return self.like().dtype

    @property
    def ndim(self) -> int:
        """The number of axes of the content."""
        return self.like().ndim

    @property
    def size(self) -> int:
        """The number of elements of the content."""
        return self.like().size

    def like(self) -> Any:
        """Something with the shape and dtype of the content."""
        return (
            self.inner
            if self.tree is None
            else self.tree.unflatten([ShapeDtypeStruct(self.inner.shape, self.inner.dtype)])
        )

    def str_short(self) -> str:
        """The type as jaxprs print it."""
        return f"Ref{{{self.inner.str_short()}}}"

    def __repr__(self) -> str:
        return f"Ref{{{self.inner}}}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RefType) and self.inner == other.inner and self.tree == other.tree

    def __hash__(self) -> int:
        return hash((RefType, self.inner))


def _user_location() -> Location | None:
    frame = sys._getframe(1)
    while frame.f_back is not None and is_internal(frame.f_code):
        frame = frame.f_back
    return Location(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


class Ref(Described):
    """A mutable array: `ref[...]` reads it, `ref[...] = x` writes it. Made by `new_ref`.

    Reads give arrays, which later writes do not change. Writes are strict: shape and dtype must be those of the part
    that is written. Indices are those of arrays, without None; integers and slices may be traced, index arrays out of
    bounds are clamped. `ref.at[i]` is a Ref to a part.

    >>> import pullback as pb
    >>> ref = pb.new_ref(pb.numpy.zeros(3))
    >>> ref[1] = 5.
    >>> ref[0] += 1.
    >>> ref
    Ref([1., 5., 0.], dtype=float32)
    """

    __slots__ = ("cell", "path", "aval_of_part", "tree", "__weakref__")
    cell: Cell
    path: tuple[Any, ...]  # the indices that lead from the cell's content to this part
    aval_of_part: ShapedArray
    tree: PyTreeDef | None  # the structure of a content that is a node with one leaf, which the cell holds: keys

    @boundary
    def __init__(self, *args: AnyValue, **kwargs: AnyValue):
        raise TypeError("pullback.Ref is not made by calling it: use pullback.new_ref(...)")

    @property
    def aval(self) -> RefType:
        """The type, `Ref{float32[3]}` for example."""
        return RefType(self.aval_of_part, self.tree)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.aval.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""
        return self.aval.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.aval.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.aval.size

    @property
    def weak_type(self) -> bool:
        """False: a reference has a dtype of its own."""
        return False

    @property
    def at(self) -> RefIndexer:
        """`ref.at[i]` is a Ref to a part: it can be read and written, and passed to functions.

        >>> import pullback as pb
        >>> ref = pb.new_ref(pb.numpy.zeros((2, 2)))
        >>> row = ref.at[1]
        >>> row[...] = pb.numpy.ones(2)
        >>> print(ref[...])
        [[0. 0.]
         [1. 1.]]
        """
        return RefIndexer(self)

    @property
    def sharding(self) -> Any:
        """The placement of the content."""
        return self[...].sharding

    if TYPE_CHECKING:  # installed by the layer that can index arrays

        def __getitem__(self, key: Index) -> Array: ...
        def __setitem__(self, key: Index, value: AnyValue) -> None: ...
        def addupdate(self, x: AnyValue, idx: Index = ...) -> None:
            """Add to the content, or to a part of it."""

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __len__(self) -> int:
        return length(self.shape)

    def __bool__(self) -> bool:
        raise TypeError(_INSTEAD.format("bool(ref)"))

    def _described(self) -> str:
        return f"a Ref of type {self.aval.str_short()[4:-1]}"

    def __repr__(self) -> str:
        end = self.cell.root().end
        if end is not None:
            return f"Ref({self.aval_of_part.str_short()}, ended by {end})"
        try:
            cell = resolved(self.cell)
            if staging_of(cell, "read") is None and is_own_value(cell.content):
                return f"Ref({self[...]!r})"
            if staging_of(cell, "read") is None and isinstance(cell.content, ConcreteArray):
                return f"Ref{repr(self[...]).removeprefix('Array')}"
        except UnexpectedTracerError:
            pass
        return f"Ref({self.aval_of_part.str_short()}, traced)"

    @boundary
    def __iter__(self) -> Any:
        raise TypeError(
            "a Ref is not iterated over: its parts could change in between. Iterate over the array it holds, ref[...]."
        )

    @boundary
    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError("a Ref is not an array: read what it holds, ref[...] or ref[i], and use that")

    @boundary
    def __reduce__(self) -> str | tuple[Any, ...]:
        return _rebuilt, (self[...],)

    @boundary
    def __copy__(self) -> Ref:
        return _rebuilt(self[...])

    @boundary
    def __deepcopy__(self, memo: dict[int, Any]) -> Ref:
        return _rebuilt(self[...])


_INSTEAD = "a Ref is not an array: {} needs what it holds. Read it first, ref[...] or ref[i]."
_OPERATORS = "add sub mul truediv floordiv mod divmod pow matmul and or xor lshift rshift".split()


def _refusing(name: str, form: str) -> Callable[..., Any]:
    @boundary
    def refuse(*operands: AnyValue) -> Any:
        raise TypeError(_INSTEAD.format(form))

    refuse.__name__ = f"__{name}__"
    return refuse


for _name in _OPERATORS:
    for _prefix in ("", "r"):
        setattr(Ref, f"__{_prefix}{_name}__", _refusing(_prefix + _name, "an operator"))
for _name in ("neg", "pos", "abs", "invert", "lt", "le", "gt", "ge"):
    setattr(Ref, f"__{_name}__", _refusing(_name, "an operator"))
for _name in ("float", "int", "complex", "index"):
    setattr(Ref, f"__{_name}__", _refusing(_name, "a number"))


class RefIndexer:
    """`ref.at`, to be indexed: `ref.at[i]` is a Ref to a part."""

    __slots__ = ("ref",)

    def __init__(self, ref: Ref):
        self.ref: Ref = ref

    if TYPE_CHECKING:

        def __getitem__(self, key: Index) -> Ref: ...

    def __repr__(self) -> str:
        return f"{self.ref!r}.at"


def handle_of(
    cell: Cell, path: tuple[Any, ...] = (), aval: ShapedArray | None = None, tree: PyTreeDef | None = None
) -> Ref:
    """A reference to a cell, or to a part of it; `tree` is the structure of a content that is a node."""
    ref = object.__new__(Ref)
    ref.cell, ref.path, ref.aval_of_part, ref.tree = cell, path, aval or cell.aval, tree
    return ref


def of_leaf(ref: Ref) -> Ref:
    """The reference to the array itself that the cell holds, where the content is a node."""
    return ref if ref.tree is None else handle_of(ref.cell, ref.path, ref.aval_of_part)


def make_ref(content: Array, alone: bool = False, tree: PyTreeDef | None = None) -> Ref:
    """A reference made here, in the current trace, that holds an array.

    With `alone`, nobody else holds the array: its data may be written to.
    """
    refs_exist[0] = True
    aval: Any = content.aval
    aval = aval.strip_weak_type() if type(aval) is ShapedArray else aval
    return handle_of(Cell(content, aval, alone, _user_location()), tree=tree)


def _rebuilt(content: Any) -> Ref:
    if isinstance(content, ExtendedArray):
        (leaf,), tree = tree_flatten(content)
        ref = _rebuilt(leaf)
        return handle_of(ref.cell, tree=tree)
    if isinstance(content, ConcreteArray):
        return make_ref(array_of(content.aval, np.array(content.value)), alone=True)
    return make_ref(content)


__all__ = ["Ref", "RefIndexer", "RefType", "handle_of", "make_ref", "of_leaf"]
