"""Random bits by Philox-4x32 with 10 rounds: the counter-based generator of Salmon, Moraes, Dror and Shaw,
"Parallel random numbers: as easy as 1, 2, 3" (SC 2011), with the keys and counters of XLA's RngBitGenerator.

A key is four uint32. The first two are the cipher's key; the counter is a number of 128 bits whose upper half they
are, too, and whose lower half begins with the other two. Each block of four words that is drawn has its own counter.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._core.typing import DTypeLike, Placement, ShapeLike
from pullback._ops.assemble import broadcasted_iota, concatenate
from pullback._ops.compare import bitwise_and, bitwise_or, bitwise_xor, eq, lt, shift_left
from pullback._ops.creation import full
from pullback._ops.elementwise import add, mul
from pullback._ops.expressions import emitted
from pullback._ops.integer_bits import mulhi
from pullback._ops.rules import zero_jvp
from pullback._ops.shape import broadcast_to, convert_element_type, expand_dims, move_axis, reshape, shape_of
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.slicing import index_in_dim, slice_in_dim

_U32, _U64 = np.dtype(np.uint32), np.dtype(np.uint64)
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF

rng_bit_generator_p: Primitive = Primitive("rng_bit_generator", multiple_results=True)


def philox_bits(keys: ArrayLike, bit_width: int, shape: Sequence[int]) -> list[Array]:
    """Keys [..., 4] give the keys that follow and unsigned integers [..., *shape] of so many (8 to 64) random bits."""
    return rng_bit_generator_p.bind(keys, bit_width=bit_width, shape=tuple(shape))


def _blocks(bit_width: int, shape: tuple[int, ...]) -> int:
    """The number of blocks of four words that are drawn."""
    return -(-math.prod(shape) * (2 if bit_width == 64 else 1) // 4)


def _type(keys, bit_width, shape):
    if keys.dtype != _U32 or keys.ndim == 0 or keys.shape[-1] != 4:
        raise TypeError(f"rng_bit_generator: keys must be uint32 with a last axis of length 4, got {keys.str_short()}")
    return [make_aval(keys.shape, _U32), make_aval((*keys.shape[:-1], *shape), np.dtype(f"uint{bit_width}"))]


def _kernel(keys, bit_width, shape):
    keys = np.asarray(keys)
    count = _blocks(bit_width, shape)
    one = _U32.type(1)
    words = [keys[..., i : i + 1] for i in range(4)]
    steps = np.arange(count, dtype=_U32)
    counter = [words[2] + steps]
    carried = counter[0] < steps
    for word in (words[3], words[0], words[1]):
        counter.append(word + carried * one)
        carried = carried & (counter[-1] == 0)
    key = [words[0], words[1]]
    for _ in range(10):
        products = [counter[2 * i].astype(_U64) * _U64.type(_MULTIPLIERS[i]) for i in (0, 1)]
        low = [p.astype(_U32) for p in products]
        high = [(p >> _U64.type(32)).astype(_U32) for p in products]
        counter = [high[1] ^ counter[1] ^ key[0], low[1], high[0] ^ counter[3] ^ key[1], low[0]]
        key = [k + _U32.type(w) for k, w in zip(key, _WEYL, strict=True)]
    bits = np.stack(counter, axis=-1).reshape(*keys.shape[:-1], 4 * count)
    if bit_width == 64:
        bits = bits[..., ::2] | bits[..., 1::2].astype(_U64) << _U64.type(32)
    bits = bits[..., : math.prod(shape)].astype(f"uint{bit_width}", copy=False)
    following = keys.copy()
    following[..., 2] += _U32.type(count & _MASK)
    following[..., 3] += (following[..., 2] < count) * one
    return [following, bits.reshape((*keys.shape[:-1], *shape))]


def _number(x: int, like: Array) -> Array:
    return full(like.aval.shape, x & _MASK, _U32)


def _flag(x: Array) -> Array:
    return convert_element_type(x, _U32)


def _draw(keys: Array, bit_width: int, shape: tuple[int, ...]) -> list[Array]:
    """The bits and the following keys, by operations on arrays."""
    lead, last = keys.aval.shape[:-1], keys.aval.ndim - 1
    count = _blocks(bit_width, shape)
    words = [broadcast_to(slice_in_dim(keys, i, i + 1, axis=last), (*lead, count)) for i in range(4)]
    steps = broadcasted_iota(_U32, (*lead, count), last)
    counter = [add(words[2], steps)]
    carried = lt(counter[0], steps)
    for word in (words[3], words[0], words[1]):
        counter.append(add(word, _flag(carried)))
        carried = bitwise_and(carried, eq(counter[-1], _number(0, counter[-1])))
    key = [words[0], words[1]]
    for _ in range(10):
        factors = [_number(m, steps) for m in _MULTIPLIERS]
        low = [mul(counter[2 * i], factors[i]) for i in (0, 1)]
        high = [mulhi(counter[2 * i], factors[i]) for i in (0, 1)]
        counter = [
            bitwise_xor(bitwise_xor(high[1], counter[1]), key[0]),
            low[1],
            bitwise_xor(bitwise_xor(high[0], counter[3]), key[1]),
            low[0],
        ]
        key = [add(k, _number(w, k)) for k, w in zip(key, _WEYL, strict=True)]
    bits = reshape(concatenate([expand_dims(c, (last + 1,)) for c in counter], last + 1), (*lead, 4 * count))
    if bit_width == 64:
        pairs = reshape(bits, (*lead, 2 * count, 2))
        low_half, high_half = (
            convert_element_type(index_in_dim(pairs, i, last + 1, keepdims=False), _U64) for i in (0, 1)
        )
        bits = bitwise_or(low_half, shift_left(high_half, full(high_half.aval.shape, 32, _U64)))
    bits = convert_element_type(slice_in_dim(bits, 0, math.prod(shape), axis=last), np.dtype(f"uint{bit_width}"))
    start = [slice_in_dim(keys, i, i + 1, axis=last) for i in range(4)]
    lower = add(start[2], _number(count, start[2]))
    upper = add(start[3], _flag(lt(lower, _number(count, lower))))
    return [concatenate([start[0], start[1], lower, upper], last), reshape(bits, (*lead, *shape))]


rng_bit_generator_p.abstract_eval = _type
rng_bit_generator_p.kernel = _kernel
rng_bit_generator_p.lower = lambda ctx, keys, **params: emitted(ctx, lambda keys: _draw(keys, **params), keys)
rng_bit_generator_p.batch = lambda trace, operands, dims, **params: (
    rng_bit_generator_p.bind(move_axis(operands[0], dims[0], 0), **params),
    [0, 0],
)
zero_jvp(rng_bit_generator_p)


# --- as a function of its own ---


class RandomAlgorithm(enum.IntEnum):
    """The generators of `rng_bit_generator`: the default one is Philox.

    >>> from pullback import lax
    >>> lax.RandomAlgorithm.RNG_PHILOX.name
    'RNG_PHILOX'
    """

    RNG_DEFAULT = 0
    RNG_THREE_FRY = 1
    RNG_PHILOX = 2


def rng_bit_generator(
    key: ArrayLike,
    shape: ShapeLike,
    dtype: DTypeLike = np.uint32,
    algorithm: RandomAlgorithm = RandomAlgorithm.RNG_DEFAULT,
    *,
    out_sharding: Placement = None,
) -> list[Array]:
    """The key that follows, and unsigned integers of random bits in a shape: a list of both.

    `key`: four uint32. `dtype`: an unsigned integer dtype of 8 to 64 bits. The generator is Philox-4x32, and the
    numbers are those of XLA; `vmap` gives each key its own. TypeError for another key, ValueError for another dtype,
    NotImplementedError for another algorithm.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> key, bits = lax.rng_bit_generator(pnp.array([0, 42, 0, 42], dtype="uint32"), (2,))
    >>> print(bits)
    [2620864722 2991908441]
    """
    if out_sharding is not None:
        following, bits = rng_bit_generator(key, shape, dtype, algorithm)
        return [following, laid_out("rng_bit_generator", bits, out_sharding)]
    if RandomAlgorithm(algorithm) is RandomAlgorithm.RNG_THREE_FRY:
        raise NotImplementedError("rng_bit_generator: the algorithm is Philox; random.bits draws by Threefry")
    kind = dtypes.requested_dtype(dtype)
    if kind.kind != "u" or kind.isbuiltin != 1:
        raise ValueError(f"rng_bit_generator: dtype must be uint8, uint16, uint32 or uint64, got {kind.name}")
    keys: Any = lift(key)
    if keys.aval.shape != (4,):
        raise TypeError(f"rng_bit_generator: expected a key of four uint32, got {keys.aval.str_short()}")
    return philox_bits(keys, kind.itemsize * 8, shape_of("rng_bit_generator", shape))
