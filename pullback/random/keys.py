"""Keys, the source of random numbers. A function of a key always gives the same numbers for the same key.

A key is a pair of 32-bit words, or four of them for the generators rbg and unsafe_rbg. `PRNGKey` gives it raw, as a
uint32 array of shape (2,) or (4,); `key` gives it typed, as a `PRNGKeyArray`, which knows its generator and cannot be
mistaken for data. Every function of `pullback.random` takes both; raw keys of four words count as rbg's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, overload

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.config import config, keys_were_checked
from pullback._core.errors import boundary, described
from pullback._core.types import make_aval
from pullback._core.typing import AnyValue, DTypeLike
from pullback._ops.families import operands
from pullback._ops.key_uses import are_checked, unused, used
from pullback._ops.shape import convert_element_type, shape_of
from pullback.random.generators import for_samplers, generator_of
from pullback.random.key_arrays import KEY_TYPES, KeyType, PRNGKeyArray, typed

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

_U32 = np.dtype(np.uint32)
_KEY = make_aval((2,), _U32)
_HOW = "Make a key with random.key(0), and more of them with random.split(key, n)."


# a typed key, or the words of a raw one
KeyLike: TypeAlias = PRNGKeyArray | ArrayLike


def words_of(function: str, keys: KeyLike, uses: bool = True) -> Array:
    """The words of a single key, raw or typed, that the function `uses`; the error for anything else names it."""
    words = keys._words if type(keys) is PRNGKeyArray else keys
    if keys_were_checked[0] and uses and words is not keys and config.debug_key_reuse:
        kind: Any = keys.dtype  # type: ignore[union-attr]
        keys = typed(used(_checked_words(function, keys, single=True), function), kind)
        words = keys._words
    if isinstance(words, Array) and words.aval is _KEY:
        return words
    words = _checked_words(function, keys, single=True)
    return for_samplers(words, keys.dtype.generator) if type(keys) is PRNGKeyArray else words


def _checked_words(function: str, keys: AnyValue, single: bool) -> Array:
    typed = type(keys) is PRNGKeyArray
    try:
        words = keys._words if typed else lift(keys)
    except TypeError:
        raise TypeError(f"{function}: expected a key, got {described(keys)}. {_HOW}") from None
    shape = words.shape
    if words.dtype != _U32 or not shape or shape[-1] not in (2, 4):
        raise TypeError(
            f"{function}: expected a key (typed, or raw: uint32 of shape (2,)), got {words.aval.str_short()}. {_HOW}"
        )
    if single and len(shape) > 1:
        raise ValueError(
            f"{function}: expected a single key, got an array of keys of shape {shape[:-1]}. Take one of "
            "them, as in keys[0], or use vmap over the keys."
        )
    return words


def _asked(function: str, impl: AnyValue, dtype: AnyValue) -> KeyType:
    """The dtype of keys that is asked for by the name of a generator, or itself."""
    if impl is not None and dtype is not None:
        raise ValueError(f"{function}: give impl or dtype, not both")
    asked = dtype if impl is None else impl
    if asked is None:
        return KEY_TYPES[config.default_prng_impl]
    for name, kind in KEY_TYPES.items():
        if asked == name or asked == kind:
            return kind
    raise ValueError(f"{function}: unknown generator {asked!r}; there are {', '.join(map(repr, KEY_TYPES))}")


def _seeded(function: str, seed: ArrayLike, kind: KeyType) -> Array:
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
    return kind.generator.seed(seed)


@boundary
def PRNGKey(seed: ArrayLike, *, impl: str | None = None) -> Array:
    """A raw key, a uint32 array of shape (2,) or (4,), derived from an integer.

    Args:
      seed: an integer, or an integer array of shape (). Without 64-bit types only the low 32 bits are used.
      impl: the generator, "threefry2x32", "rbg" or "unsafe_rbg"; by default that of the option `default_prng_impl`.

    Raises:
      TypeError: the seed is not an integer, or an array of several.
      ValueError: there is no such generator.

    >>> from pullback import random
    >>> random.PRNGKey(42)
    Array([ 0, 42], dtype=uint32)
    """
    if config.enable_custom_prng:
        return key(seed, impl=impl)  # type: ignore[return-value]
    return _seeded("PRNGKey", seed, _asked("PRNGKey", impl, None))


@boundary
def key(seed: ArrayLike, *, impl: str | None = None, dtype: DTypeLike | None = None) -> PRNGKeyArray:
    """A typed key derived from an integer.

    Args:
      seed: an integer, or an integer array of shape (). Without 64-bit types only the low 32 bits are used. impl,
      dtype: the generator, "threefry2x32", "rbg" or "unsafe_rbg", or the dtype of its keys; by default that of the
        option `default_prng_impl`.

    Raises:
      TypeError: the seed is not an integer, or an array of several.
      ValueError: there is no such generator.

    >>> from pullback import random
    >>> random.key(42)
    Array((), dtype=key<fry>) overlaying:
    [ 0 42]
    """
    kind = _asked("key", impl, dtype)
    return typed(_seeded("key", seed, kind), kind)


def key_dtype(impl_spec: str | None = None) -> KeyType:
    """The dtype of the typed keys of a generator. ValueError for an unknown one.

    >>> key_dtype()
    key<fry>
    """
    return _asked("key_dtype", impl_spec, None)


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
    words = words_of("split", key)
    if type(key) is PRNGKeyArray:
        return typed(key.dtype.generator.split(key._words, shape_of("split", num)), key.dtype)
    return generator_of(words).split(words, shape_of("split", num))


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
    words = words_of("fold_in", key, uses=False)
    if isinstance(data, int) and not isinstance(data, np.generic):
        if not -1 << 31 <= data < 1 << 32:
            raise OverflowError(f"fold_in: data must fit 32 bits, got {data}")
        data = np.uint32(data & 0xFFFFFFFF)
    (data,) = operands("fold_in", data)
    if data.shape or not dtypes.is_integer(data.dtype):
        raise TypeError(f"fold_in: expected an integer, got {data.aval.str_short()}. Use vmap for many.")
    data = convert_element_type(data, _U32)
    if type(key) is PRNGKeyArray:
        return typed(key.dtype.generator.fold_in(key._words, data), key.dtype)
    return generator_of(words).fold_in(words, data)


@boundary
def key_data(keys: KeyLike) -> Array:
    """The words of keys: a uint32 array with a last axis of 2 or 4. TypeError for anything but a key.

    >>> from pullback import random
    >>> random.key_data(random.key(1))
    Array([0, 1], dtype=uint32)
    """
    return _checked_words("key_data", keys, single=False)


@boundary
def wrap_key_data(
    key_bits_array: ArrayLike, *, impl: str | None = None, dtype: DTypeLike | None = None
) -> PRNGKeyArray:
    """Typed keys from words: from a uint32 array with a last axis of 2, or of 4 for the generators that have four.

    TypeError for other arrays, ValueError for an unknown generator.

    >>> from pullback import random
    >>> random.wrap_key_data(random.PRNGKey(1)).shape
    ()
    """
    kind = _asked("wrap_key_data", impl, dtype)
    if isinstance(key_bits_array, PRNGKeyArray):
        raise TypeError("wrap_key_data: expected a uint32 array, got keys that are typed already")
    words = _checked_words("wrap_key_data", key_bits_array, single=False)
    if words.shape[-1] != kind.generator.words:
        raise TypeError(
            f"wrap_key_data: keys of {kind.generator.name} have {kind.generator.words} words, got "
            f"{words.aval.str_short()}"
        )
    return typed(unused(words) if are_checked() else words, kind)


@boundary
def key_impl(keys: KeyLike) -> str:
    """The name of the generator of keys. TypeError for anything but a key.

    >>> from pullback import random
    >>> random.key_impl(random.key(1))
    'threefry2x32'
    """
    words = _checked_words("key_impl", keys, single=False)
    return keys.dtype.generator.name if type(keys) is PRNGKeyArray else generator_of(words).name


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
    words = _checked_words("clone", key, single=False)
    return typed(unused(words), key.dtype) if type(key) is PRNGKeyArray and are_checked() else key
