"""Random bits by Threefry-2x32 with 20 rounds: the counter-based generator of Salmon, Moraes, Dror and Shaw,
"Parallel random numbers: as easy as 1, 2, 3" (SC 2011).

A key is a pair of uint32, an array of keys has a last axis of 2. The 64-bit counters 0, 1, 2, ... in row-major order
are encrypted under the key, so each number depends on the key and on its own index only, not on the array's size.
The bits are those of JAX with its default settings (`threefry2x32`, `jax_threefry_partitionable`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.jaxpr import Jaxpr
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray, at_most, make_aval
from pullback._ops.families import broadcast_shapes, elementwise_batch, elementwise_lower
from pullback._ops.rules import zero_jvp
from pullback._ops.shape import broadcast_to, move_axis
from pullback._xla.lowering import Block, Value
from pullback._xla.single_operations import single_equation

_U32 = np.dtype(np.uint32)
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_MASK = 0xFFFFFFFF

# --- threefry2x32: the cipher, elementwise ---

threefry2x32_p: Primitive = Primitive("threefry2x32", multiple_results=True)


def threefry2x32(key_high: ArrayLike, key_low: ArrayLike, count_high: ArrayLike, count_low: ArrayLike) -> list[Array]:
    """The pair of counts, encrypted under the pair of keys: four uint32 arrays that broadcast, to two."""
    return threefry2x32_p.bind(key_high, key_low, count_high, count_low)


def _cipher_type(*avals: ShapedArray) -> list[ShapedArray]:
    if any(aval.dtype != _U32 for aval in avals):
        raise TypeError(f"threefry2x32: operands must be uint32, got {', '.join(a.str_short() for a in avals)}")
    return [make_aval(broadcast_shapes("threefry2x32", *[aval.shape for aval in avals]), _U32)] * 2


def _encrypt(k0: np.ndarray, k1: np.ndarray, x0: np.ndarray, x1: np.ndarray) -> None:
    """The cipher in place on the counts `x0`, `x1` (arrays of one shape, to which the keys broadcast)."""
    schedule = (k0, k1, k0 ^ k1 ^ _U32.type(_PARITY))
    spare = np.empty_like(x1)
    np.add(x0, k0, x0)
    np.add(x1, k1, x1)
    for i in range(5):
        for left, right in _SHIFTS[i % 2]:
            np.add(x0, x1, x0)
            np.left_shift(x1, left, spare)
            np.right_shift(x1, right, x1)
            np.bitwise_or(x1, spare, x1)
            np.bitwise_xor(x1, x0, x1)
        np.add(x0, schedule[(i + 1) % 3], x0)
        np.add(x1, schedule[(i + 2) % 3], x1)
        np.add(x1, _U32.type(i + 1), x1)


_SHIFTS = tuple(tuple((_U32.type(r), _U32.type(32 - r)) for r in group) for group in _ROTATIONS)


def _encrypt_one(k0: int, k1: int, x0: int, x1: int) -> tuple[int, int]:
    """The cipher on a single pair, in Python integers: a tenth of the time of NumPy on an array of one."""
    schedule = (k0, k1, k0 ^ k1 ^ _PARITY)
    x0, x1 = (x0 + k0) & _MASK, (x1 + k1) & _MASK
    for i in range(5):
        for r in _ROTATIONS[i % 2]:
            x0 = (x0 + x1) & _MASK
            x1 = ((x1 << r | x1 >> (32 - r)) & _MASK) ^ x0
        x0 = (x0 + schedule[(i + 1) % 3]) & _MASK
        x1 = (x1 + schedule[(i + 2) % 3] + i + 1) & _MASK
    return x0, x1


def _cipher_kernel(k0, k1, x0, x1):
    shape = np.broadcast_shapes(np.shape(k0), np.shape(k1), np.shape(x0), np.shape(x1))
    x0, x1 = np.array(np.broadcast_to(x0, shape)), np.array(np.broadcast_to(x1, shape))
    _encrypt(np.asarray(k0), np.asarray(k1), x0, x1)
    return [x0, x1]


def _emit_cipher(ctx: Block, k0: Value, k1: Value, x0: Value, x1: Value) -> list[Value]:
    def op(name, x, y):
        return ctx.op(f"stablehlo.{name}", [x, y])

    schedule = (k0, k1, op("xor", op("xor", k0, k1), ctx.full_like(k0, _PARITY)))
    x0, x1 = op("add", x0, k0), op("add", x1, k1)
    for i in range(5):
        for r in _ROTATIONS[i % 2]:
            x0 = op("add", x0, x1)
            rotated = op(
                "or",
                op("shift_left", x1, ctx.full_like(x1, r)),
                op("shift_right_logical", x1, ctx.full_like(x1, 32 - r)),
            )
            x1 = op("xor", rotated, x0)
        x0 = op("add", x0, schedule[(i + 1) % 3])
        x1 = op("add", op("add", x1, schedule[(i + 2) % 3]), ctx.full_like(x1, i + 1))
    return [x0, x1]


threefry2x32_p.abstract_eval = _cipher_type
threefry2x32_p.kernel = _cipher_kernel
threefry2x32_p.lower = elementwise_lower(_emit_cipher)
zero_jvp(threefry2x32_p)
threefry2x32_p.batch = elementwise_batch(threefry2x32_p)

# --- shared by the operations on keys ---


def _check_keys(name: str, keys: ShapedArray) -> None:
    if keys.dtype != _U32 or keys.ndim == 0 or keys.shape[-1] != 2:
        raise TypeError(f"{name}: keys must be uint32 with a last axis of length 2, got {keys.str_short()}")


def _keys_batch(p: Primitive) -> Callable:
    """The batching rule: further axes of the keys stay in front."""

    def batch(trace, operands, dims, **params):
        return p.bind(move_axis(operands[0], dims[0], 0), **params), 0

    return batch


_BLOCK = 1 << 15
_FEW = 12


def _encrypted_counters(keys: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Both halves of the encrypted counters of `shape`, for each key; in blocks that stay in the cache."""
    lead = keys.shape[:-1]
    n = math.prod(shape)
    if not lead and n <= _FEW:
        k0, k1 = keys.tolist()
        few = np.array([_encrypt_one(k0, k1, 0, i) for i in range(n)], _U32).reshape(*shape, 2)
        return few[..., 0], few[..., 1]
    keys = keys.reshape(-1, 1, 2)
    high, low = np.empty((2, len(keys), n), _U32)
    rows = max(1, _BLOCK // max(n, 1))
    for row in range(0, len(keys), rows):
        part = keys[row : row + rows]
        for start in range(0, n, _BLOCK):
            x0, x1 = high[row : row + rows, start : start + _BLOCK], low[row : row + rows, start : start + _BLOCK]
            x0[...] = start >> 32
            x1[...] = np.arange(x1.shape[1], dtype=_U32) + _U32.type(start & _MASK)
            _encrypt(part[..., 0], part[..., 1], x0, x1)
    return high.reshape(*lead, *shape), low.reshape(*lead, *shape)


@functools.lru_cache(maxsize=1024)
def _cipher_jaxpr(shape: tuple[int, ...]) -> Jaxpr:
    """The cipher on arrays of a shape, as a jaxpr, so that a module holds it once."""
    return single_equation(threefry2x32_p, (make_aval(shape, _U32),) * 4, {})


def _emit_encrypted_counters(ctx: Block, keys: Value, shape: tuple[int, ...]) -> list[Value]:
    lead = keys.aval.shape[:-1]
    full = (*lead, *shape)
    high, low = _emit_counters(ctx, full, len(lead))
    halves = [ctx.broadcast(_half(ctx, keys, i), full, range(len(lead))) for i in (0, 1)]
    return ctx.call(_cipher_jaxpr(full), [*halves, high, low], "threefry2x32")


def _half(ctx: Block, keys: Value, i: int) -> Value:
    lead = keys.aval.shape[:-1]
    part = ctx.slice(keys, (*(0,) * len(lead), i), (*lead, i + 1), (1,) * (len(lead) + 1))
    return ctx.reshape(part, lead)


def _emit_counters(ctx: Block, shape: tuple[int, ...], skipped: int) -> list[Value]:
    """The high and low halves of the row-major indices over the axes from `skipped` on, as a sum over axes.

    A sum, not a reshaped iota, since each device of a sharded program can then compute its own part.
    """
    small = at_most(math.prod(shape[skipped:]), 1 << 32)
    wide = make_aval(shape, _U32 if small else np.dtype(np.uint64))
    total = ctx.constant(0, wide)
    for axis in range(skipped, len(shape)):
        stride = math.prod(shape[axis + 1 :])
        position = ctx.op("stablehlo.iota", [], wide, f"iota_dimension = {axis} : i64")
        total = ctx.op("stablehlo.add", [total, ctx.op("stablehlo.multiply", [position, ctx.constant(stride, wide)])])
    if small:
        return [ctx.constant(0, wide), total]
    return [
        ctx.convert(ctx.op("stablehlo.shift_right_logical", [total, ctx.constant(32, wide)]), _U32),
        ctx.convert(total, _U32),
    ]


# --- random_bits ---

random_bits_p = Primitive("random_bits")


def threefry_random_bits(keys: ArrayLike, bit_width: int, shape: Sequence[int]) -> Array:
    """Unsigned integers of `bit_width` (8, 16, 32, 64) random bits: keys [..., 2] give [..., *shape]."""
    return random_bits_p.bind(keys, bit_width=bit_width, shape=tuple(shape))


def _bits_type(keys, bit_width, shape):
    _check_keys("random_bits", keys)
    return make_aval((*keys.shape[:-1], *shape), np.dtype(f"uint{bit_width}"))


def _bits_kernel(keys, bit_width, shape):
    high, low = _encrypted_counters(keys, shape)
    if bit_width == 64:
        return high.astype(np.uint64) << np.uint64(32) | low
    return np.bitwise_xor(high, low).astype(f"uint{bit_width}", copy=False)


def _bits_lower(ctx, keys, bit_width, shape):
    high, low = _emit_encrypted_counters(ctx, keys, shape)
    if bit_width < 64:
        return ctx.convert(ctx.op("stablehlo.xor", [high, low]), np.dtype(f"uint{bit_width}"))
    high, low = (ctx.convert(x, np.dtype(np.uint64)) for x in (high, low))
    return ctx.op("stablehlo.or", [ctx.op("stablehlo.shift_left", [high, ctx.full_like(high, 32)]), low])


random_bits_p.abstract_eval = _bits_type
random_bits_p.kernel = _bits_kernel
random_bits_p.lower = _bits_lower
zero_jvp(random_bits_p)
random_bits_p.batch = _keys_batch(random_bits_p)

# --- random_split ---

random_split_p = Primitive("random_split")


def threefry_split(keys: ArrayLike, shape: Sequence[int]) -> Array:
    """New keys: keys [..., 2] give [..., *shape, 2]."""
    return random_split_p.bind(keys, shape=tuple(shape))


def _pairs(ctx: Block, x: Value, y: Value, out: ShapedArray) -> Value:
    """Two arrays as one with a last axis of 2."""
    parts = [ctx.reshape(part, (*part.aval.shape, 1)) for part in (x, y)]
    return ctx.op("stablehlo.concatenate", parts, out, f"dimension = {out.ndim - 1} : i64")


def _split_type(keys, shape):
    _check_keys("random_split", keys)
    return make_aval((*keys.shape[:-1], *shape, 2), _U32)


def _split_lower(ctx, keys, shape):
    out = ctx.out_avals[0]
    high, low = _emit_encrypted_counters(ctx, keys, shape)
    return _pairs(ctx, high, low, out)


random_split_p.abstract_eval = _split_type
random_split_p.kernel = lambda keys, shape: np.stack(_encrypted_counters(keys, shape), axis=-1)
random_split_p.lower = _split_lower
zero_jvp(random_split_p)
random_split_p.batch = _keys_batch(random_split_p)

# --- random_fold_in ---

random_fold_in_p = Primitive("random_fold_in")


def threefry_fold_in(keys: ArrayLike, data: ArrayLike) -> Array:
    """New keys that depend on uint32 data: keys [..., 2] and data [...] give [..., 2]."""
    return random_fold_in_p.bind(keys, data)


def _fold_in_type(keys, data):
    _check_keys("random_fold_in", keys)
    if data.dtype != _U32 or data.shape != keys.shape[:-1]:
        raise TypeError(f"random_fold_in: data must be uint32 of shape {keys.shape[:-1]}, got {data.str_short()}")
    return keys


def _fold_in_kernel(keys, data):
    if keys.ndim == 1:
        k0, k1 = keys.tolist()
        return np.array(_encrypt_one(k0, k1, 0, int(data)), _U32)
    x0, x1 = np.zeros(np.shape(data), _U32), np.array(data)
    _encrypt(keys[..., 0], keys[..., 1], x0, x1)
    return np.stack([x0, x1], axis=-1)


def _fold_in_lower(ctx, keys, data):
    out = ctx.out_avals[0]
    halves = [_half(ctx, keys, i) for i in (0, 1)]
    high, low = ctx.call(_cipher_jaxpr(data.aval.shape), [*halves, ctx.full_like(data, 0), data], "threefry2x32")
    return _pairs(ctx, high, low, out)


def _fold_in_batch(trace, operands, dims):
    size = next(x.aval.shape[d] for x, d in zip(operands, dims, strict=True) if d is not None)
    keys, data = (
        broadcast_to(x, (size, *x.aval.shape)) if d is None else move_axis(x, d, 0)
        for x, d in zip(operands, dims, strict=True)
    )
    return random_fold_in_p.bind(keys, data), 0


random_fold_in_p.abstract_eval = _fold_in_type
random_fold_in_p.kernel = _fold_in_kernel
random_fold_in_p.lower = _fold_in_lower
zero_jvp(random_fold_in_p)
random_fold_in_p.batch = _fold_in_batch

# --- random_seed ---

random_seed_p = Primitive("random_seed")


def threefry_seed(seeds: ArrayLike) -> Array:
    """Keys from integers: the bits of a 64-bit seed, or zeros and the bits of a narrower one; [...] gives [..., 2]."""
    return random_seed_p.bind(seeds)


def _seed_type(seeds):
    if not dtypes.is_integer(seeds.dtype):
        raise TypeError(f"random_seed: seeds must be integers, got {seeds.str_short()}")
    return make_aval((*seeds.shape, 2), _U32)


def _seed_kernel(seeds):
    seeds = np.asarray(seeds)
    high = seeds.view(np.uint64) >> np.uint64(32) if seeds.dtype.itemsize == 8 else np.zeros(seeds.shape, _U32)
    return np.stack([high.astype(_U32), seeds.astype(_U32)], axis=-1)


def _seed_lower(ctx, seeds):
    out = ctx.out_avals[0]
    low = ctx.convert(seeds, _U32)
    high = ctx.full_like(low, 0)
    if seeds.aval.dtype.itemsize == 8:
        shifted = ctx.op("stablehlo.shift_right_logical", [seeds, ctx.full_like(seeds, 32)])
        high = ctx.convert(shifted, _U32)
    return _pairs(ctx, high, low, out)


random_seed_p.abstract_eval = _seed_type
random_seed_p.kernel = _seed_kernel
random_seed_p.lower = _seed_lower
zero_jvp(random_seed_p)
random_seed_p.batch = lambda trace, operands, dims: (random_seed_p.bind(move_axis(operands[0], dims[0], 0)), 0)
