"""The generators of random bits, and how each derives keys from integers and from keys.

`threefry2x32` has keys of two words, `rbg` and `unsafe_rbg` of four. `rbg` draws bits by Philox-4x32 and derives keys
by Threefry, from both halves of a key; `unsafe_rbg` derives them by Philox too, which is faster and less well
studied. The numbers are those of JAX.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from pullback._core.array import Array, ArrayLike, lift
from pullback._ops.assemble import concatenate
from pullback._ops.compare import bitwise_xor
from pullback._ops.creation import full
from pullback._ops.philox import philox_bits
from pullback._ops.random_bits import threefry_fold_in, threefry_random_bits, threefry_seed, threefry_split
from pullback._ops.shape import broadcast_to, expand_dims, move_axis, reshape
from pullback._ops.slicing import index_in_dim, slice_in_dim


@dataclasses.dataclass(frozen=True)
class Generator:
    """A generator: its name, the tag of its dtype `key<tag>`, the number of words of a key, and how keys are made."""

    name: str
    tag: str
    words: int
    seed: Callable[[ArrayLike], Array]
    split: Callable[[ArrayLike, Sequence[int]], Array]
    fold_in: Callable[[ArrayLike, ArrayLike], Array]


def _halves(keys: ArrayLike) -> Array:
    """Keys [..., 4] as pairs of keys [..., 2, 2]."""
    words = lift(keys)
    return reshape(words, (*words.aval.shape[:-1], 2, 2))


def _whole(halves: Array) -> Array:
    return reshape(halves, (*halves.aval.shape[:-2], 4))


def _seed(seeds: ArrayLike) -> Array:
    half = threefry_seed(seeds)
    return concatenate([half, half], half.aval.ndim - 1)


def _split(keys: ArrayLike, shape: Sequence[int]) -> Array:
    rank = lift(keys).aval.ndim - 1
    parts = threefry_split(_halves(keys), shape)
    return _whole(move_axis(parts, rank, rank + len(shape)))


def _fold_in(keys: ArrayLike, data: ArrayLike) -> Array:
    x = lift(data)
    both = broadcast_to(expand_dims(x, (x.aval.ndim,)), (*x.aval.shape, 2))
    return _whole(threefry_fold_in(_halves(keys), both))


# so many keys are drawn for each that is used
_SPARE = 10


def _unsafe_split(keys: ArrayLike, shape: Sequence[int]) -> Array:
    words = lift(keys)
    lead, count = words.aval.shape[:-1], math.prod(shape)
    drawn = philox_bits(words, 32, (_SPARE * count, 4))[1]
    if count:
        drawn = slice_in_dim(drawn, 0, None, _SPARE, axis=len(lead))
    return reshape(drawn, (*lead, *shape, 4))


def _unsafe_fold_in(keys: ArrayLike, data: ArrayLike) -> Array:
    drawn = philox_bits(_seed(data), 32, (_SPARE, 4))[1]
    return bitwise_xor(keys, index_in_dim(drawn, _SPARE - 1, drawn.aval.ndim - 2, keepdims=False))


THREEFRY = Generator("threefry2x32", "fry", 2, threefry_seed, threefry_split, threefry_fold_in)
RBG = Generator("rbg", "rbg", 4, _seed, _split, _fold_in)
UNSAFE_RBG = Generator("unsafe_rbg", "urbg", 4, _seed, _unsafe_split, _unsafe_fold_in)
GENERATORS = {generator.name: generator for generator in (THREEFRY, RBG, UNSAFE_RBG)}


def generator_of(words: Array) -> Generator:
    """The generator of raw keys, by their number of words."""
    return RBG if words.aval.shape[-1] == 4 else THREEFRY


# --- for samplers, which see words alone: those of unsafe_rbg get a fifth, by which they are known from rbg's ---

_MARKED = 5


def for_samplers(words: Array, generator: Generator) -> Array:
    """The words of keys as samplers take them."""
    if generator is not UNSAFE_RBG:
        return words
    zero = full((*words.aval.shape[:-1], 1), 0, words.aval.dtype)
    return concatenate([words, zero], words.aval.ndim - 1)


def _unmarked(words: Array) -> Array:
    return slice_in_dim(words, 0, 4, axis=words.aval.ndim - 1)


def random_bits(words: Array, bit_width: int, shape: Sequence[int]) -> Array:
    """Unsigned integers of so many (8, 16, 32, 64) random bits: keys [..., words] give [..., *shape]."""
    count = words.aval.shape[-1]
    if count == 2:
        return threefry_random_bits(words, bit_width, shape)
    return philox_bits(_unmarked(words) if count == _MARKED else words, bit_width, shape)[1]


def split_keys(words: Array, shape: Sequence[int]) -> Array:
    """New keys: keys [..., words] give [..., *shape, words]."""
    if words.aval.shape[-1] == _MARKED:
        return for_samplers(UNSAFE_RBG.split(_unmarked(words), shape), UNSAFE_RBG)
    return generator_of(words).split(words, shape)
