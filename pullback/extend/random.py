"""The generators of random bits and their keys, for tools (the names of `jax.extend.random`)."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes

_NAMES = (
    "random_seed rbg_prng_impl seed_with_impl threefry2x32_p threefry_2x32 threefry_prng_impl unsafe_rbg_prng_impl"
).split()

__all__ = sorted(_NAMES)

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {name: f"pullback.random.for_tools:{name}" for name in _NAMES})
