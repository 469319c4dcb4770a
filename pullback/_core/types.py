"""Abstract values: the types of arrays, without data.

A `ShapedArray` is interned: equal types are one object, so that a cache keyed by types hashes and compares by identity.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np

from pullback._core import dtypes
from pullback._core.errors import InconclusiveDimensionOperation, described
from pullback._core.sharding import unspread
from pullback._core.typing import AnyValue, DTypeLike, Shape, ShapeLike


class AbstractValue:
    """The base of the types of values: of arrays, keys, references, and those of one's own.

    >>> issubclass(ShapedArray, AbstractValue)
    True
    """

    __slots__ = ()


class ExtendedType(AbstractValue):
    """The base of the types of arrays of extended dtypes, such as keys: `words` is the type of their words.

    `of_words(x)` is the array that these words are of.
    """

    __slots__ = ()
    words: ShapedArray

    def of_words(self, words: AnyValue) -> Any:
        """The array with these words."""
        raise NotImplementedError


class OwnType(AbstractValue):
    """The base of the types of values that are no arrays, see `hitypes`, which documents the methods."""

    def vspace_zero(self) -> Any:
        """The value that is zero, for a type of tangents."""
        raise NotImplementedError

    def str_short(self) -> str:
        """The type as jaxprs and messages print it."""
        raise NotImplementedError


class TypeOfValue:
    """The attribute `aval` of a class of values that are no arrays."""

    __slots__ = ()

    def operand(self, x: AnyValue) -> Any:
        """A value as an operand of primitives."""
        raise NotImplementedError


class NotAnArrayError(TypeError, AttributeError):
    """A value of a type of one's own was used as an array.

    >>> issubclass(NotAnArrayError, TypeError)
    True
    """


def no_array(ty: AnyValue) -> str:
    """The sentence about an array operation that met a value of a type of one's own, and what to do instead."""
    return (
        f"a value of the type {ty.str_short()} is no array, and operations of arrays do not take it. Compute with it "
        "in a function with rules (custom_rules, custom_jvp, custom_vjp of pullback), which gets the value itself, or "
        "one made of traced parts."
    )


class ShapedArray(AbstractValue):
    """The type of an array: shape, dtype, and whether the dtype is weak (came from a Python scalar).

    Equal types are one object. TypeError for a shape not made of integers, ValueError for negative ones.

    >>> a = ShapedArray((2, 3), "float32")
    >>> a, a.ndim, a.size, a is ShapedArray((2, 3), np.dtype("float32"))
    (ShapedArray(float32[2,3]), 2, 6, True)
    """

    __slots__ = ("shape", "dtype", "weak_type", "ndim", "size", "scalar", "_tangent", "_strong", "__weakref__")
    shape: tuple[int, ...]
    dtype: np.dtype
    weak_type: bool
    ndim: int
    size: int
    # NumPy's class of such scalars; None for other shapes
    scalar: type | None
    _tangent: ShapedArray | None
    _strong: ShapedArray | None

    def __new__(
        cls, shape: ShapeLike, dtype: DTypeLike, weak_type: bool = False, *, sharding: AnyValue = None
    ) -> ShapedArray:
        # a placement is no part of the type: where arrays are does not change what is computed
        try:
            return _interned[shape, dtype, weak_type]  # type: ignore[index]
        except (KeyError, TypeError):
            pass
        shape = tuple(canonical_dimension(d) for d in shape)  # type: ignore[union-attr]
        if isinstance(dtype, dtypes.ExtendedDType):
            return dtype.aval(shape)
        dtype = dtypes.canonicalize_dtype(dtype) if not isinstance(dtype, np.dtype) else dtype
        return make_aval(shape, dtype, bool(weak_type))

    def __reduce__(self) -> str | tuple[Any, ...]:
        return ShapedArray, (self.shape, self.dtype, self.weak_type)

    def __copy__(self) -> ShapedArray:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ShapedArray:
        return self

    def __repr__(self) -> str:
        return f"ShapedArray({self._named()}{', weak_type=True' if self.weak_type else ''})"

    def __str__(self) -> str:
        return f"{'~' * self.weak_type}{self._named()}"

    def _named(self) -> str:
        name = "float0" if self.dtype == dtypes.float0 else self.dtype.name
        return f"{name}[{','.join(map(str, self.shape))}]"

    def str_short(self) -> str:
        """The type as jaxprs print it, such as `f32[3,4]`."""
        return f"{dtypes.short_name(self.dtype)}[{','.join(map(str, self.shape))}]"

    @property
    def sharding(self) -> Any:
        """The placement that the type prescribes: none; where an array is, it says itself."""
        return unspread(self.ndim)

    def update(
        self, shape: Shape | None = None, dtype: np.dtype | None = None, weak_type: bool | None = None
    ) -> ShapedArray:
        """This type with some of its parts replaced."""
        return make_aval(
            self.shape if shape is None else shape,
            self.dtype if dtype is None else dtype,
            self.weak_type if weak_type is None else weak_type,
        )

    def strip_weak_type(self) -> ShapedArray:
        """This type, not weak."""
        strong = self._strong
        if strong is None:
            strong = self._strong = make_aval(self.shape, self.dtype, False) if self.weak_type else self
        return strong

    def to_tangent_aval(self) -> ShapedArray:
        """The type of tangents and cotangents at such a value: its own if inexact, else `float0`."""
        tangent = self._tangent
        if tangent is None:
            dtype = dtypes.tangent_dtype(self.dtype)
            tangent = self if dtype == self.dtype else make_aval(self.shape, dtype, False)
            self._tangent = tangent
        return tangent

    at_least_vspace = to_tangent_aval  # JAX's former name


_interned: dict[tuple[tuple[int, ...], np.dtype, bool], ShapedArray] = {}


def make_aval(shape: tuple[int, ...], dtype: np.dtype, weak_type: bool = False) -> ShapedArray:
    """The interned `ShapedArray`; shape must be a tuple of ints and dtype a canonical `np.dtype`."""
    key = (shape, dtype, weak_type)
    aval = _interned.get(key)
    if aval is None:
        aval = object.__new__(ShapedArray)
        aval.shape, aval.dtype, aval.weak_type = shape, dtype, weak_type
        aval.ndim, aval.size = len(shape), math.prod(shape)
        aval.scalar = None if shape else dtype.type
        aval._tangent = aval._strong = None
        aval = _interned.setdefault(key, aval)
    return aval


def as_size(n: Any) -> Any:
    """An integer as an int; a symbolic dimension as it is. TypeError for others."""
    try:
        return operator.index(n)
    except InconclusiveDimensionOperation:
        return n


def at_least(n: Any, bound: int) -> bool:
    """Whether a size is known to be at least a bound: for a choice among forms that are all right."""
    return n >= bound if type(n) is int else n.is_at_least(bound)


def at_most(n: Any, bound: int) -> bool:
    """Whether a size is known to be at most a bound."""
    return n <= bound if type(n) is int else n.is_at_most(bound)


def canonical_dimension(d: SupportsIndex) -> int:
    """One entry of a shape as an int, a symbolic one as it is. TypeError unless it is a non-negative integer."""
    try:
        size = as_size(d)
    except TypeError:
        raise TypeError(
            f"shapes must be made of concrete integers, got {described(d)}. "
            "Under jit, a size that depends on data must be a static argument."
        ) from None
    if type(size) is int and size < 0:
        raise ValueError(f"shapes must be made of non-negative integers, got {size}")
    return size


def kept_shape(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """The shape of a reduction that keeps the reduced axes, with length 1."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def canonical_shape(shape: AnyValue) -> tuple[int, ...]:
    """A shape given by the user (a sequence of integers, or one integer) as a tuple of ints."""
    if type(shape) is tuple and all(type(d) is int and d >= 0 for d in shape):
        return shape
    if np.ndim(shape) == 0 and not isinstance(shape, (tuple, list)):
        return (canonical_dimension(shape),)
    return tuple(canonical_dimension(d) for d in shape)


def length(shape: tuple[int, ...]) -> int:
    """The value of `len` for an array of that shape."""
    if not shape:
        raise TypeError("len() of a 0-d array")
    return shape[0]


def matches(expected: ShapedArray, got: ShapedArray) -> bool:
    """Return whether two types agree up to weakness."""
    if expected is got:
        return True
    if type(expected) is not ShapedArray or type(got) is not ShapedArray:
        return expected == got
    return expected.shape == got.shape and expected.dtype == got.dtype


def is_differentiable(aval: AnyValue) -> bool:
    """Return whether values of a type have tangents other than zero."""
    if type(aval) is ShapedArray:
        return dtypes.is_inexact(aval.dtype)
    try:
        return not is_trivial(aval.to_tangent_aval())
    except NotImplementedError:
        return False


def is_trivial(aval: AnyValue) -> bool:
    """Return whether a type of tangents has but one element: that of arrays of `float0`, at integers and bools."""
    return type(aval) is ShapedArray and aval.dtype == dtypes.float0


class ShapeDtypeStruct:
    """A stand-in for an array in `eval_shape`, `jit(f).lower` and `linear_transpose`: shape and dtype, no data.

    >>> import pullback as pb
    >>> pb.ShapeDtypeStruct((2, 3), "float32")
    ShapeDtypeStruct(shape=(2, 3), dtype=float32)
    """

    __slots__ = ("shape", "dtype", "weak_type", "sharding")
    shape: tuple[int, ...]
    dtype: np.dtype
    weak_type: bool
    sharding: Any

    def __init__(
        self, shape: ShapeLike, dtype: DTypeLike | None, *, sharding: AnyValue = None, weak_type: bool = False
    ):
        self.shape = canonical_shape(shape)
        self.dtype: Any = dtype if isinstance(dtype, dtypes.ExtendedDType) else dtypes.requested_dtype(dtype)
        self.weak_type = weak_type
        self.sharding = sharding

    @property
    def aval(self) -> ShapedArray:
        """Shape, dtype and weakness as a `ShapedArray`."""
        return make_aval(self.shape, self.dtype, self.weak_type)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return length(self.shape)

    def __repr__(self) -> str:
        weak = ", weak_type=True" if self.weak_type else ""
        place = "" if self.sharding is None else f", sharding={self.sharding!r}"
        return f"ShapeDtypeStruct(shape={self.shape}, dtype={self.dtype.name}{weak}{place})"

    @classmethod
    def like(cls, x: AnyValue) -> ShapeDtypeStruct:
        """The structure of an array, a number or another structure; of an array that was placed, with its sharding.

        TypeError for anything else.

        >>> import pullback as pb
        >>> pb.ShapeDtypeStruct.like(pb.numpy.ones((2, 3)))
        ShapeDtypeStruct(shape=(2, 3), dtype=float32)
        """
        if type(x) in (bool, int, float, complex):
            return cls((), dtypes.python_scalar_dtype(type(x)), weak_type=type(x) is not bool)
        aval: Any = getattr(x, "aval", x)
        dtype: Any = getattr(aval, "dtype", None)
        if isinstance(aval, type) or not isinstance(dtype, np.dtype | dtypes.ExtendedDType):
            raise TypeError(f"ShapeDtypeStruct.like: expected an array or a number, got {described(x)}")
        placed = getattr(x, "committed", isinstance(x, ShapeDtypeStruct))
        asked: Any = dtype if isinstance(dtype, dtypes.ExtendedDType) else dtypes.canonicalize_dtype(dtype)
        weak = getattr(aval, "weak_type", False)
        return cls(aval.shape, asked, sharding=x.sharding if placed else None, weak_type=weak)

    def update(self, **changes: AnyValue) -> ShapeDtypeStruct:
        """The structure with other values of some of its parts. TypeError for parts that it has not.

        >>> ShapeDtypeStruct((2, 3), "float32").update(shape=(4,))
        ShapeDtypeStruct(shape=(4,), dtype=float32)
        """
        parts = {"shape": self.shape, "dtype": self.dtype, "weak_type": self.weak_type, "sharding": self.sharding}
        return ShapeDtypeStruct(**{**parts, **changes})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeDtypeStruct) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return self.shape, self.dtype, self.weak_type, self.sharding


def struct_of(aval: AnyValue) -> AnyValue:
    """What stands for a value of a type in results of `eval_shape`: of a type of one's own the type itself."""
    if type(aval) is not ShapedArray:
        return aval
    return ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
