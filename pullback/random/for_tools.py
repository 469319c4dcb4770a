"""The generators of random bits and their keys, for tools (the names of `jax.extend.random`)."""

from __future__ import annotations

import typing as _typing
from typing import Any

import numpy as np

from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.lazy import attributes as _attributes
from pullback._ops.random_bits import threefry2x32, threefry2x32_p
from pullback.numpy import asarray, concatenate, ravel
from pullback.random import keys as random

__all__ = [
    "random_seed",
    "rbg_prng_impl",
    "seed_with_impl",
    "threefry2x32_p",
    "threefry_2x32",
    "threefry_prng_impl",
    "unsafe_rbg_prng_impl",
]

# the generators by name, as `random.key` and `random.wrap_key_data` take them
threefry_prng_impl: str = "threefry2x32"
rbg_prng_impl: str = "rbg"
unsafe_rbg_prng_impl: str = "unsafe_rbg"


def random_seed(seeds: int | ArrayLike, impl: str) -> Any:
    """The typed key of an integer, for a generator; the errors of `random.key`.

    >>> random_seed(3, rbg_prng_impl).dtype
    key<rbg>
    """
    return random.key(seeds, impl=impl)


def seed_with_impl(impl: str, seed: int | ArrayLike) -> Any:
    """The typed key of an integer, for a generator; the errors of `random.key`.

    >>> seed_with_impl(threefry_prng_impl, 3).dtype
    key<fry>
    """
    return random.key(seed, impl=impl)


@boundary
def threefry_2x32(keypair: tuple[ArrayLike, ArrayLike], count: ArrayLike) -> Array:
    """The words of an array, enciphered by Threefry-2x32 with 20 rounds (Salmon et al. 2011), in pairs of its halves.

    Args:
      keypair: two words of 32 bits.
      count: an array of such words.

    Raises: TypeError for other dtypes than uint32.

    >>> import pullback.numpy as pnp
    >>> [hex(x) for x in threefry_2x32((np.uint32(0), np.uint32(0)), pnp.zeros(2, "uint32")).tolist()]
    ['0x6b200159', '0x99ba4efe']
    """
    words = asarray(count)
    keys = [asarray(k) for k in keypair]
    if any(x.dtype != np.uint32 for x in (words, *keys)):
        raise TypeError(f"threefry_2x32: expected words of dtype uint32, got {[str(x.dtype) for x in (words, *keys)]}")
    flat = ravel(words)
    odd = flat.size % 2
    if odd:
        flat = concatenate([flat, np.zeros(1, np.uint32)])
    half = flat.size // 2
    out = concatenate(threefry2x32(keys[0], keys[1], flat[:half], flat[half:]))
    return (out[:-1] if odd else out).reshape(words.shape)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
