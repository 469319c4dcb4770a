"""A generator of random numbers with a state: each draw folds a counter, held in a `Ref`, into the key."""

from __future__ import annotations

import dataclasses
import operator
import secrets
import typing as _typing
from collections.abc import Sequence

import numpy as np

from pullback import random as _random
from pullback._api.refs import new_ref as _new_ref
from pullback._api.trace_state import trace_state_clean as _trace_state_clean
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary as _boundary
from pullback._core.lazy import attributes as _attributes
from pullback._core.refs import Ref
from pullback._core.typing import DTypeLike
from pullback.numpy import asarray as _asarray
from pullback.numpy import zeros as _zeros
from pullback.random.key_arrays import PRNGKeyArray
from pullback.tree_util import register_dataclass as _register_dataclass

__all__ = ["StatefulPRNG", "stateful_rng"]

Size: _typing.TypeAlias = "int | Sequence[int] | None"


def _shape_of_draw(size: Size, *parameters: ArrayLike) -> tuple[int, ...]:
    if size is None:
        return np.broadcast_shapes(*map(np.shape, parameters))
    return tuple(map(operator.index, size)) if isinstance(size, Sequence) else (operator.index(size),)


@_register_dataclass
@dataclasses.dataclass(frozen=True)
class StatefulPRNG:
    """A generator whose draws follow one another; `stateful_rng` makes it.

    It is a pytree of a key and a `Ref`, hence an argument of transformed functions, which draw from it as other code
    does. What holds for a `Ref` holds for it: no transformed function returns it, no loop carries it.

    >>> rng = stateful_rng(42)
    >>> print(rng.uniform(), rng.uniform())
    0.5302608 0.72766423
    """

    _base_key: PRNGKeyArray
    _counter: Ref

    @_boundary
    def key(self, shape: int | Sequence[int] = ()) -> PRNGKeyArray:
        """A new key, or an array of keys; the counter goes on by one.

        Raises ValueError for a generator that `split` has made, outside of the `vmap` it is for.

        >>> import pullback as pb
        >>> bool(stateful_rng(0).key() == pb.random.fold_in(pb.random.key(0), 0))
        True
        """
        if self._base_key.shape:
            raise ValueError(
                f"StatefulPRNG.key: this generator was split into shape {self._base_key.shape}: pass it to a function "
                "under vmap, or use spawn, which returns a list of generators"
            )
        key = _random.fold_in(self._base_key, self._counter[...])
        self._counter.addupdate(1)
        size = _shape_of_draw(shape)
        return _random.split(key, size) if size else key

    @_boundary
    def random(self, size: Size = None, dtype: DTypeLike = float) -> Array:
        """Floats that are uniform in [0, 1). TypeError for a dtype that has no floats.

        >>> stateful_rng(42).random(2).shape
        (2,)
        """
        return _random.uniform(self.key(), _shape_of_draw(size), dtype)

    @_boundary
    def uniform(self, low: ArrayLike = 0, high: ArrayLike = 1, size: Size = None, *, dtype: DTypeLike = float) -> Array:
        """Floats that are uniform in [low, high), of the shape that the bounds broadcast to unless `size` is given.

        Raises ValueError for shapes that do not broadcast, TypeError for a dtype that has no floats.

        >>> stateful_rng(42).uniform(0, [1., 10.]).shape
        (2,)
        """
        shape = _shape_of_draw(size, low, high)
        return _random.uniform(self.key(), shape, dtype, _asarray(low), _asarray(high))

    @_boundary
    def normal(self, loc: ArrayLike = 0, scale: ArrayLike = 1, size: Size = None, *, dtype: DTypeLike = float) -> Array:
        """Normal numbers of that mean and deviation, of the shape that these broadcast to unless `size` is given.

        Raises ValueError for shapes that do not broadcast, TypeError for a dtype that has no floats.

        >>> stateful_rng(42).normal(size=(3, 2)).shape
        (3, 2)
        """
        drawn = _random.normal(self.key(), _shape_of_draw(size, loc, scale), dtype)
        return (_asarray(loc) + _asarray(scale) * drawn).astype(dtype)

    @_boundary
    def integers(
        self, low: ArrayLike, high: ArrayLike | None = None, size: Size = None, *, dtype: DTypeLike = int
    ) -> Array:
        """Integers in [low, high), or in [0, low) without `high`, of the shape of the bounds unless `size` is given.

        Raises ValueError for shapes that do not broadcast, TypeError for a dtype that has no integers.

        >>> bool((stateful_rng(42).integers(10, size=100) < 10).all())
        True
        """
        low, high = (0, low) if high is None else (low, high)
        shape = _shape_of_draw(size, low, high)
        return _random.randint(self.key(), shape, _asarray(low), _asarray(high), dtype)

    @_boundary
    def split(self, num: int | Sequence[int]) -> StatefulPRNG:
        """Independent generators in one object, one for each example of a `vmap`. Raises what `key` raises.

        >>> import pullback as pb, pullback.numpy as pnp
        >>> def noisy(rng, x):
        ...     return x + rng.uniform()
        >>> pb.vmap(noisy)(stateful_rng(123).split(3), pnp.zeros(3))
        Array([0.35525954, 0.21937883, 0.5336956 ], dtype=float32)
        """
        return StatefulPRNG(self.key(num), _new_ref(_zeros(num, int)))

    @_boundary
    def spawn(self, n_children: int) -> list[StatefulPRNG]:
        """A list of independent generators. Raises what `key` raises.

        >>> [rng.integers(0, 10, 2).tolist() for rng in stateful_rng(123).spawn(2)]
        [[4, 5], [2, 1]]
        """
        return [StatefulPRNG(key, _new_ref(0)) for key in self.key(n_children)]


@_boundary
def stateful_rng(seed: ArrayLike | None = None, *, impl: str | None = None) -> StatefulPRNG:
    """A generator whose draws follow one another, as NumPy's `default_rng`.

    Args:
      seed: an integer; None, outside of transformed code, for one that nobody knows.
      impl: the algorithm, as in `pullback.random.key`.

    Raises: TypeError without a seed in transformed code, where it would be drawn once, and what `random.key` raises.

    >>> import pullback as pb
    >>> rng = stateful_rng(42)
    >>> draw = pb.jit(rng.normal)
    >>> print(draw() == draw())
    False
    """
    if seed is None:
        if not _trace_state_clean():
            raise TypeError(
                "stateful_rng: expected a seed inside transformed code, where one drawn from the system would be the "
                "same at every call: stateful_rng(0), or pass the generator as an argument"
            )
        seed = np.int64(secrets.randbits(63))
    return StatefulPRNG(_random.key(seed, impl=impl), _new_ref(0))


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
