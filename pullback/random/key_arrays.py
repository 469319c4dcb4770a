"""Arrays of typed keys, and their dtype."""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray
from pullback._core.errors import described
from pullback._core.placed_array import Shard
from pullback._core.public_array import ExtendedArray, extended_arrays_exist
from pullback._core.sharding import unspread
from pullback._core.tree import GetAttrKey
from pullback._core.types import ExtendedType, ShapedArray, ShapeDtypeStruct, canonical_dimension
from pullback._core.typing import AnyValue, DTypeLike, Index
from pullback._core.users_trees import begin_extended_arrays, register_extended_array
from pullback._ops.compare import bitwise_not, eq
from pullback._ops.key_uses import are_checked, following, unused, used
from pullback._ops.reduce import reduce_and
from pullback._ops.shape import reshape, transpose
from pullback.numpy._indexing.indexing import getitem, iterate
from pullback.random.generators import GENERATORS, Generator


class KeyType(dtypes.ExtendedDType):
    """The dtype of typed keys, one for each generator: `key<fry>`, `key<rbg>`, `key<urbg>`."""

    __slots__ = ("generator", "name", "itemsize")
    type: builtins.type[dtypes.extended] = dtypes.prng_key  # type: ignore[type-abstract]
    generator: Generator
    name: str
    itemsize: int

    def __init__(self, generator: Generator):
        self.generator = generator
        self.name = f"key<{generator.tag}>"
        self.itemsize = 4 * generator.words

    def struct(self, shape: tuple[int, ...], sharding: Any = None) -> Any:
        """Keys of that shape without data, for functions that are traced."""
        words: Any = ShapeDtypeStruct((*shape, self.generator.words), np.uint32, sharding=sharding)
        return typed(words, self)

    def aval(self, shape: tuple[int, ...]) -> KeyAval:
        """The type of the arrays of keys of that shape."""
        return KeyAval(shape, self)

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return other.name == self.name if isinstance(other, KeyType) else other == self.name

    def __hash__(self) -> int:
        return hash(self.name)


KEY_TYPES = {name: KeyType(generator) for name, generator in GENERATORS.items()}


class PRNGKeyArray(ExtendedArray):
    """An array of typed keys: a pytree with one child, the words, a uint32 array with a last axis of 2 or 4.

    Shape, indexing, iteration and the methods are those of the array of keys, 8 or 16 bytes each. `key_data` gives the
    words. TypeError if it is used as data, IndexError for more indices than axes of keys.

    >>> from pullback import random
    >>> keys = random.split(random.key(0), 3)
    >>> keys.shape, keys.dtype, keys[1:].shape
    ((3,), key<fry>, (2,))
    """

    __slots__ = ("_words", "dtype", "__weakref__")
    __array_priority__ = 1000
    __hash__: ClassVar[None] = None  # type: ignore[assignment]
    dtype: KeyType
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
    def itemsize(self) -> int:
        """The number of bytes of a key."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """The number of bytes of all keys."""
        return self.size * self.itemsize

    @property
    def _data(self) -> Any:
        """The words, known: only such arrays have a place and memory."""
        return self._words

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a single key")
        return self.shape[0]

    def __iter__(self) -> Iterator[PRNGKeyArray]:
        if not self.shape:
            raise TypeError("iteration over a single key: split it first, as in `for k in random.split(key, n)`")
        if are_checked() and not isinstance(self._words, ConcreteArray):
            return map(self.__getitem__, range(self.shape[0]))
        return map(self.of_words, iterate(self._words))

    def __getitem__(self, index: Index) -> PRNGKeyArray:
        # an ellipsis would include the axis of words
        full = (*index, slice(None)) if isinstance(index, tuple) and any(i is Ellipsis for i in index) else index
        checked = are_checked() and index is not Ellipsis
        all_words = self._taken_from(index) if checked and _is_static(index) else self._words
        words = all_words if index is Ellipsis else getitem(all_words, full)
        if words.ndim == 0 or words.shape[-1] != self.dtype.generator.words:
            raise IndexError(f"too many indices for an array of keys of shape {self.shape}: {index!r}")
        return self.of_words(words) if all_words is not self._words or not checked else self.moved(words)

    def _taken_from(self, index: Index) -> Array:
        """The words, with the keys at a static index used: each belongs to what it was taken for."""
        flags = np.zeros(self.shape, bool)
        flags[index] = True  # type: ignore[index]
        return unused(used(self._words, "indexing", flags))

    @property
    def words(self) -> Array:
        """The words of the keys, as `key_data` gives them."""
        return self._words

    def of_words(self, words: Array) -> PRNGKeyArray:
        """The keys of the same generator with these words."""
        return typed(words, self.dtype)

    def moved(self, words: Array) -> PRNGKeyArray:
        """Keys with these words, which are those of this array at other places."""
        return typed(following(words, self._words) if are_checked() else words, self.dtype)

    def joined(self, words: Array, others: Sequence[Any], function: str) -> PRNGKeyArray:
        """Keys with these words, which a function has moved here from this array and `others`."""
        if not others:
            return self.moved(words)
        if are_checked():
            for keys in (self, *others):
                used(keys.words, function)
        return self.of_words(words)

    @property
    def aval(self) -> KeyAval:
        """Shape and dtype."""
        return KeyAval(self.shape, self.dtype)

    @property
    def T(self) -> PRNGKeyArray:
        """The keys with their axes in reverse."""
        return self.transpose()

    def transpose(self, *axes: Any) -> PRNGKeyArray:
        """The keys with their axes permuted, by default reversed."""
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], Sequence) else axes or range(self.ndim)[::-1]
        return self.moved(transpose(self._words, (*[a % self.ndim for a in order], self.ndim)))

    def squeeze(self, axis: int | Sequence[int] | None = None) -> PRNGKeyArray:
        """The keys without axes of length 1."""
        axes = range(self.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        gone = {a % self.ndim for a in axes if axis is not None or self.shape[a] == 1}
        return self.reshape([n for i, n in enumerate(self.shape) if i not in gone])

    def swapaxes(self, axis1: int, axis2: int) -> PRNGKeyArray:
        """The keys with two axes interchanged."""
        order = list(range(self.ndim))
        order[axis1], order[axis2] = order[axis2], order[axis1]
        return self.transpose(order)

    def take(self, indices: ArrayLike, axis: int | None = None, **how: Any) -> PRNGKeyArray:
        """The keys at positions along an axis, by default of the flattened array; keywords as for other arrays."""
        flat = self.ravel() if axis is None else self
        return self.moved(flat.words.take(indices, axis=0 if axis is None else axis % self.ndim, **how))

    @property
    def at(self) -> KeysAt:
        """Updates at an index: `keys.at[0].set(key)`, `keys.at[0].get()`."""
        return KeysAt(self)

    @property
    def device(self) -> Any:
        """The device the keys are on."""
        return self._words.device

    @property
    def sharding(self) -> Any:
        """The distribution of the keys over devices: entirely on one."""
        return self._words.sharding

    def devices(self) -> set[Any]:
        """The devices the keys are on, a set of one."""
        return self._words.devices()

    @property
    def is_fully_addressable(self) -> bool:
        """Whether all keys are in this process."""
        return self._data.is_fully_addressable

    @property
    def is_fully_replicated(self) -> bool:
        """Whether each device has all keys."""
        return self._data.is_fully_replicated

    @property
    def committed(self) -> bool:
        """Whether the keys were put where they are."""
        return self._data.committed

    @property
    def addressable_shards(self) -> list[Shard]:
        """The parts of the array on the devices of this process, with keys as their data."""
        return self._shards(self._data.addressable_shards)

    @property
    def global_shards(self) -> list[Shard]:
        """The parts of the array on all devices; those of other processes without data."""
        return self._shards(self._data.global_shards)

    def addressable_data(self, index: int) -> PRNGKeyArray:
        """The part on one of the devices of this process, by its number among them."""
        return self.of_words(self._data.addressable_data(index))

    def _shards(self, shards: Sequence[Shard]) -> list[Shard]:
        """Parts of the array of words as parts of the array of keys."""
        return [
            Shard(at.device, at.index[:-1], at.replica_id, None if at.data is None else self.of_words(at.data))
            for at in shards
        ]

    def is_deleted(self) -> bool:
        """Whether the memory of the keys has been freed."""
        return self._data.is_deleted()

    def delete(self) -> None:
        """Free the memory of the keys."""
        self._data.delete()

    def copy_to_host_async(self) -> None:
        """Begin to copy the words to the host, where they are on a device."""
        self._data.copy_to_host_async()

    def reshape(self, *shape: int | Sequence[int]) -> PRNGKeyArray:
        """The keys in another shape; one length may be -1."""
        lengths: Any = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        known = math.prod(n for n in lengths if n != -1)
        target = [self.size // max(known, 1) if n == -1 else canonical_dimension(n) for n in lengths]
        return self.moved(reshape(self._words, (*target, self.dtype.generator.words)))

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
        if other.dtype != self.dtype:
            raise TypeError(f"keys of different generators are not compared: {self.dtype} and {other.dtype}")
        same = eq(self._words, other._words)
        return reduce_and(same, (same.ndim - 1,))

    def __ne__(self, other: object) -> Any:
        same = PRNGKeyArray.__eq__(self, other)
        return same if same is NotImplemented else bitwise_not(same)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError(
            f"an array of keys of shape {self.shape} was used as data. Draw numbers with it, as in "
            "random.normal(key, shape), or take its words with random.key_data(key)"
        )

    def __bool__(self) -> bool:
        raise TypeError("the truth of a key is not defined")

    def __repr__(self) -> str:
        return f"Array({self.shape}, dtype={self.dtype}) overlaying:\n{self._words}"


class KeyAval(ExtendedType):
    """The type of an array of keys, for what asks for `x.aval`: its shape and dtype."""

    __slots__ = ("shape", "dtype", "words")
    weak_type: bool = False

    def __init__(self, shape: tuple[int, ...], dtype: KeyType):
        self.shape: tuple[int, ...] = shape
        self.dtype: KeyType = dtype
        self.words: ShapedArray = ShapedArray((*shape, dtype.generator.words), np.uint32)

    def of_words(self, words: AnyValue) -> PRNGKeyArray:
        """The keys with these words, known or traced."""
        return typed(words, self.dtype)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of keys."""
        return math.prod(self.shape)

    @property
    def sharding(self) -> Any:
        """The placement that the type prescribes: none, as for other arrays."""
        return unspread(self.ndim)

    def str_short(self) -> str:
        """The type as `key<fry>[3]`."""
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"

    __repr__ = str_short

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyAval) and (self.shape, self.dtype) == (other.shape, other.dtype)

    def __hash__(self) -> int:
        return hash((self.shape, self.dtype))


class KeysAt:
    """`keys.at`, to be indexed."""

    __slots__ = ("_keys", "_index")

    def __init__(self, keys: PRNGKeyArray, index: Any = None):
        self._keys = keys
        self._index = index

    def __getitem__(self, index: Index) -> KeysAt:
        return KeysAt(self._keys, index)

    def get(self, **how: Any) -> PRNGKeyArray:
        """The keys at the index; the keywords, as `mode`, are those of `at[...].get` of other arrays."""
        return self._keys.moved(self._words.get(**how)) if how else self._keys[self._index]

    def set(self, keys: PRNGKeyArray, **how: Any) -> PRNGKeyArray:
        """The array with other keys at the index; TypeError for anything but keys. Keywords as for other arrays."""
        if not isinstance(keys, PRNGKeyArray):
            raise TypeError(f"keys.at[...].set: expected typed keys, got {described(keys)}")
        if keys.dtype != self._keys.dtype:
            raise TypeError(f"keys.at[...].set: expected keys of type {self._keys.dtype}, got {keys.dtype}")
        if are_checked():
            used(keys.words, "keys.at[...].set")
        return self._keys.moved(self._words.set(keys.words, **how))

    @property
    def _words(self) -> Any:
        """The words at the index, to be updated."""
        index = self._index
        full = (*index, builtins.slice(None)) if isinstance(index, tuple) and any(i is ... for i in index) else index
        return self._keys.words.at[... if full is ... else full]


def _is_static(index: Any) -> bool:
    """Whether an index consists of numbers, slices, None and an ellipsis."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is None or p is Ellipsis or isinstance(p, (int, np.integer, builtins.slice)) for p in parts)


def typed(words: Array, dtype: KeyType) -> PRNGKeyArray:
    """The keys of a type with these words."""
    if not extended_arrays_exist[0]:
        begin_extended_arrays()
    keys = object.__new__(PRNGKeyArray)
    keys._words, keys.dtype = words, dtype
    return keys


def _of_children(dtype: KeyType, children: Sequence[Any]) -> Any:
    words = children[0]
    if type(words) is np.ndarray and words.dtype == dtypes.float0:
        return np.zeros(words.shape[:-1], dtypes.float0)  # the tangent of keys
    return typed(words, dtype)


register_extended_array(
    PRNGKeyArray,
    lambda keys: ((keys._words,), keys.dtype),
    _of_children,
    lambda keys: (((GetAttrKey("words"), keys._words),), keys.dtype),
)
