"""Keys, the source of random numbers. A function of a key always gives the same numbers for the same key.

A key is a pair of 32-bit words. `PRNGKey` gives it raw, as a uint32 array of shape (2,); `key` gives it typed, as a
`PRNGKeyArray`, which cannot be mistaken for data. Every function of `pullback.random` takes both.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, TypeAlias, overload

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.errors import boundary, described
from pullback._core.public_array import ExtendedArray
from pullback._core.tree import GetAttrKey, register_pytree_node
from pullback._core.types import canonical_dimension, make_aval
from pullback._core.typing import AnyValue, DTypeLike, Index
from pullback._ops.compare import bitwise_not, eq
from pullback._ops.families import operands
from pullback._ops.random_bits import threefry_fold_in, threefry_seed, threefry_split
from pullback._ops.reduce import reduce_and
from pullback._ops.shape import convert_element_type, reshape, shape_of
from pullback.numpy._indexing.indexing import getitem, iterate

__all__ = [
    "PRNGKey",
    "PRNGKeyArray",
    "clone",
    "fold_in",
    "key",
    "key_data",
    "key_dtype",
    "key_impl",
    "split",
    "wrap_key_data",
]

_IMPL = "threefry2x32"
_U32 = np.dtype(np.uint32)
_KEY = make_aval((2,), _U32)
_HOW = "Make a key with random.key(0), and more of them with random.split(key, n)."


class KeyType(dtypes.ExtendedDType):
    """The dtype of typed keys. There is one, `key<fry>`, for the only generator."""

    __slots__ = ()
    type: builtins.type[dtypes.extended] = dtypes.prng_key  # type: ignore[type-abstract]
    name: str = "key<fry>"
    itemsize: int = 8

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyType) or other == self.name

    def __hash__(self) -> int:
        return hash(self.name)


_key_type = KeyType()


class PRNGKeyArray(ExtendedArray):
    """An array of typed keys: a pytree with one child, the words, a uint32 array with a last axis of 2.

    Shape, indexing, iteration and the methods are those of the array of keys, 8 bytes each. `key_data` gives the words.
    TypeError if it is used as data, IndexError for more indices than axes of keys.

    >>> from pullback import random
    >>> keys = random.split(random.key(0), 3)
    >>> keys.shape, keys.dtype, keys[1:].shape
    ((3,), key<fry>, (2,))
    """

    __slots__ = ("_words", "__weakref__")
    __array_priority__ = 1000
    __hash__: ClassVar[None] = None  # type: ignore[assignment]
    dtype: KeyType = _key_type
    itemsize: int = _key_type.itemsize
    _words: Array

    def __init__(self, *args: AnyValue, **kwargs: AnyValue):
        raise TypeError("PRNGKeyArray is not made by calling it: use random.key(seed) or random.wrap_key_data(words)")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array of keys, `()` for a single key."""
        return tuple(self._words.shape[:-1])

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of keys."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes of all keys."""
        return self.size * self.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a single key")
        return self.shape[0]

    def __iter__(self) -> Iterator[PRNGKeyArray]:
        if not self.shape:
            raise TypeError("iteration over a single key: split it first, as in `for k in random.split(key, n)`")
        return map(_typed, iterate(self._words))

    def __getitem__(self, index: Index) -> PRNGKeyArray:
        # an ellipsis would include the axis of words
        full = (*index, slice(None)) if isinstance(index, tuple) and any(i is Ellipsis for i in index) else index
        words = self._words if index is Ellipsis else getitem(self._words, full)
        if words.ndim == 0 or words.shape[-1] != 2:
            raise IndexError(f"too many indices for an array of keys of shape {self.shape}: {index!r}")
        return _typed(words)

    def reshape(self, *shape: int | Sequence[int]) -> PRNGKeyArray:
        """The keys in another shape; one length may be -1."""
        lengths: Any = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        known = math.prod(n for n in lengths if n != -1)
        return _typed(
            reshape(
                self._words, (*(self.size // max(known, 1) if n == -1 else canonical_dimension(n) for n in lengths), 2)
            )
        )

    def ravel(self) -> PRNGKeyArray:
        """The keys along one axis."""
        return self.reshape(self.size)

    flatten = ravel

    def copy(self) -> PRNGKeyArray:
        """The same keys."""
        return self

    def block_until_ready(self) -> PRNGKeyArray:
        """Wait until the keys have been computed; returns them."""
        self._words.block_until_ready()
        return self

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, PRNGKeyArray):
            return NotImplemented
        same = eq(self._words, other._words)
        return reduce_and(same, (same.ndim - 1,))

    def __ne__(self, other: object) -> Any:
        same = PRNGKeyArray.__eq__(self, other)
        return same if same is NotImplemented else bitwise_not(same)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError(
            f"an array of keys of shape {self.shape} was used as data. Draw numbers with it, as in "
            "random.normal(key, shape), or take its words with random.key_data(key)."
        )

    def __bool__(self) -> bool:
        raise TypeError("the truth of a key is not defined")

    def __repr__(self) -> str:
        return f"Array({self.shape}, dtype={self.dtype}) overlaying:\n{self._words}"


# a typed key, or the words of a raw one
KeyLike: TypeAlias = PRNGKeyArray | ArrayLike


def _typed(words: Array) -> PRNGKeyArray:
    keys = object.__new__(PRNGKeyArray)
    keys._words = words
    return keys


register_pytree_node(
    PRNGKeyArray,
    lambda keys: ((keys._words,), None),
    lambda _, children: _typed(children[0]),
    lambda keys: (((GetAttrKey("words"), keys._words),), None),
)


def words_of(function: str, keys: KeyLike) -> Array:
    """The words of a single key, raw or typed; the error for anything else names the function."""
    words = keys._words if type(keys) is PRNGKeyArray else keys
    if isinstance(words, Array) and words.aval is _KEY:
        return words
    return _checked_words(function, keys, single=True)


def _checked_words(function: str, keys: AnyValue, single: bool) -> Array:
    typed = type(keys) is PRNGKeyArray
    try:
        words = keys._words if typed else lift(keys)
    except TypeError:
        raise TypeError(f"{function}: expected a key, got {described(keys)}. {_HOW}") from None
    shape = words.shape
    if words.dtype != _U32 or not shape or shape[-1] != 2:
        raise TypeError(
            f"{function}: expected a key (typed, or raw: uint32 of shape (2,)), got {words.aval.str_short()}. {_HOW}"
        )
    if single and len(shape) > 1:
        raise ValueError(
            f"{function}: expected a single key, got an array of keys of shape {shape[:-1]}. Take one of "
            "them, as in keys[0], or use vmap over the keys."
        )
    return words


def _check_impl(function: str, impl: AnyValue, dtype: AnyValue) -> None:
    if impl is not None and dtype is not None:
        raise ValueError(f"{function}: give impl or dtype, not both")
    asked = dtype if impl is None else impl
    if asked is not None and asked not in (_IMPL, _key_type):
        raise ValueError(f"{function}: unknown generator {asked!r}; the one there is: {_IMPL!r}")


def _seeded(function: str, seed: ArrayLike) -> Array:
    if isinstance(seed, PRNGKeyArray):
        raise TypeError(f"{function}: expected an integer seed, got a key")
    if isinstance(seed, int) and not isinstance(seed, np.generic):
        if not -1 << 63 <= seed < 1 << 63:
            raise OverflowError(f"{function}: the seed must fit 64 bits, got {seed}")
        seed = np.int64(seed)  # without 64-bit types the low half counts
    seed = lift(seed)
    if not dtypes.is_integer(seed.dtype):
        raise TypeError(f"{function}: expected an integer seed, got {seed.aval.str_short()}")
    if seed.shape:
        raise TypeError(
            f"{function}: expected a single seed, got an array of shape {seed.shape}. Use vmap({function}) for many."
        )
    return threefry_seed(seed)


@boundary
def PRNGKey(seed: ArrayLike, *, impl: str | None = None) -> Array:
    """A raw key, a uint32 array of shape (2,), derived from an integer.

    Args:
      seed: an integer, or an integer array of shape (). Without 64-bit types only the low 32 bits are used.
      impl: None or "threefry2x32", the only generator.

    Raises:
      TypeError: the seed is not an integer, or an array of several.

    >>> from pullback import random
    >>> random.PRNGKey(42)
    Array([ 0, 42], dtype=uint32)
    """
    _check_impl("PRNGKey", impl, None)
    return _seeded("PRNGKey", seed)


@boundary
def key(seed: ArrayLike, *, impl: str | None = None, dtype: DTypeLike | None = None) -> PRNGKeyArray:
    """A typed key derived from an integer.

    Args:
      seed: an integer, or an integer array of shape (). Without 64-bit types only the low 32 bits are used.
      impl, dtype: None, "threefry2x32", or the dtype of keys; there is one generator.

    Raises:
      TypeError: the seed is not an integer, or an array of several.

    >>> from pullback import random
    >>> random.key(42)
    Array((), dtype=key<fry>) overlaying:
    [ 0 42]
    """
    _check_impl("key", impl, dtype)
    return _typed(_seeded("key", seed))


def key_dtype(impl_spec: str | None = None) -> KeyType:
    """The dtype of typed keys. ValueError for an unknown generator.

    >>> key_dtype()
    key<fry>
    """
    _check_impl("key_dtype", impl_spec, None)
    return _key_type


@overload
def split(key: PRNGKeyArray, num: int | Sequence[int] = 2) -> PRNGKeyArray: ...
@overload
def split(key: ArrayLike, num: int | Sequence[int] = 2) -> Array: ...
@boundary
def split(key: KeyLike, num: int | Sequence[int] = 2) -> Any:
    """New keys from one: use these, and no longer the old one.

    Args:
      key: a single key, raw or typed.
      num: the number of new keys, or the shape of their array.

    Returns:
      Keys of the same kind: shape (num,) if typed, (num, 2) if raw.

    Raises: TypeError for anything but a key, ValueError for an array of keys and for a negative number.
    See: `bits`, for the generator.

    >>> from pullback import random
    >>> random.split(random.PRNGKey(0))
    Array([[1797259609, 2579123966],
           [ 928981903, 3453687069]], dtype=uint32)
    """
    words = threefry_split(words_of("split", key), shape_of("split", num))
    return _typed(words) if type(key) is PRNGKeyArray else words


@overload
def fold_in(key: PRNGKeyArray, data: ArrayLike) -> PRNGKeyArray: ...
@overload
def fold_in(key: ArrayLike, data: ArrayLike) -> Array: ...
@boundary
def fold_in(key: KeyLike, data: ArrayLike) -> Any:
    """A new key from a key and an integer, such as the number of a step.

    Args:
      key: a single key, raw or typed.
      data: an integer of 32 bits, or an integer array of shape ().

    Raises: TypeError for anything but a key or a single integer, ValueError for an array of keys,
      OverflowError for an integer of more than 32 bits.

    >>> from pullback import random
    >>> random.fold_in(random.PRNGKey(0), 7)
    Array([2716826189,  292468403], dtype=uint32)
    """
    words = words_of("fold_in", key)
    if isinstance(data, int) and not isinstance(data, np.generic):
        if not -1 << 31 <= data < 1 << 32:
            raise OverflowError(f"fold_in: data must fit 32 bits, got {data}")
        data = np.uint32(data & 0xFFFFFFFF)
    (data,) = operands("fold_in", data)
    if data.shape or not dtypes.is_integer(data.dtype):
        raise TypeError(f"fold_in: expected an integer, got {data.aval.str_short()}. Use vmap for many.")
    words = threefry_fold_in(words, convert_element_type(data, _U32))
    return _typed(words) if type(key) is PRNGKeyArray else words


@boundary
def key_data(keys: KeyLike) -> Array:
    """The words of keys: a uint32 array with a last axis of 2. TypeError for anything but a key.

    >>> from pullback import random
    >>> random.key_data(random.key(1))
    Array([0, 1], dtype=uint32)
    """
    return _checked_words("key_data", keys, single=False)


@boundary
def wrap_key_data(
    key_bits_array: ArrayLike, *, impl: str | None = None, dtype: DTypeLike | None = None
) -> PRNGKeyArray:
    """Typed keys from words: from a uint32 array with a last axis of 2.

    TypeError for other arrays, ValueError for an unknown generator.

    >>> from pullback import random
    >>> random.wrap_key_data(random.PRNGKey(1)).shape
    ()
    """
    _check_impl("wrap_key_data", impl, dtype)
    if isinstance(key_bits_array, PRNGKeyArray):
        raise TypeError("wrap_key_data: expected a uint32 array, got keys that are typed already")
    return _typed(_checked_words("wrap_key_data", key_bits_array, single=False))


@boundary
def key_impl(keys: KeyLike) -> str:
    """The name of the generator of keys. TypeError for anything but a key.

    >>> from pullback import random
    >>> random.key_impl(random.key(1))
    'threefry2x32'
    """
    _checked_words("key_impl", keys, single=False)
    return _IMPL


@overload
def clone(key: PRNGKeyArray) -> PRNGKeyArray: ...
@overload
def clone(key: ArrayLike) -> Array: ...
@boundary
def clone(key: KeyLike) -> Any:
    """The same key, for intended reuse. TypeError for anything but a key.

    >>> from pullback import random
    >>> bool(random.clone(random.key(1)) == random.key(1))
    True
    """
    _checked_words("clone", key, single=False)
    return key
