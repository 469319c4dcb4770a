"""Discrete choices: random orders, draws from a population, and categories of given log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import Axis, Placement, ShapeLike
from pullback._ops.compare import bitwise_not
from pullback._ops.cumulative import cumsum
from pullback._ops.elementwise import log
from pullback._ops.shape import convert_element_type, expand_dims, move_axis, reshape, shape_of, transpose
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.slicing import slice_in_dim
from pullback._ops.sort import along_axis, searchsorted, sort_key_val
from pullback._ops.top_k import top_k
from pullback.random.continuous import standard_gumbel
from pullback.random.generators import random_bits
from pullback.random.keys import KeyLike, PRNGKeyArray, words_of
from pullback.random.samplers import number, randint, split_words, unit_uniform

__all__ = ["categorical", "choice", "permutation"]


def _axis(function: str, axis: Axis, ndim: int) -> int:
    if not isinstance(axis, (int, np.integer)) or not -ndim <= axis < ndim:
        raise ValueError(f"{function}: axis must be an integer in [{-ndim}, {ndim}), got {axis!r}")
    return int(axis) % ndim


def _count(function: str, name: str, x: Array) -> int:
    """A 0-d integer array as a Python integer."""
    if not dtypes.is_integer(x.dtype):
        raise TypeError(
            f"{function}: {name} must be an array of at least one axis, or an integer, got {x.aval.str_short()}"
        )
    return int(x)


# --- permutation ---


def _shuffled(words: Array, x: Array, axis: int, draws: int | None = None) -> Array:
    """The elements of `x` along an axis in random order, each line independently: sorted by random keys.

    Equal keys would favour some orders, so rounds are repeated until about 3 log2(size) bits were drawn for each
    element. Of a vector the first `draws` may be asked for: then the last round does not order the others.
    """
    rounds = math.ceil(3 * math.log(max(1, x.size)) / math.log(2**32 - 1))
    for left in reversed(range(rounds)):
        words, drawn = split_words(words)
        keys = random_bits(drawn, 32, x.shape)
        if draws is not None and not left:
            return along_axis(x, top_k(bitwise_not(keys), draws)[1], 0)
        x = sort_key_val(keys, x, axis)[1]
    return x if draws is None else slice_in_dim(x, 0, draws, 1, axis)


@boundary
def permutation(
    key: KeyLike, x: ArrayLike, axis: int = 0, independent: bool = False, *, out_sharding: Placement = None
) -> Array:
    """The integers below `x`, or the elements of an array along an axis, in random order.

    Args:
      key: a single key, raw or typed.
      x: an integer, or an array.
      axis: the axis to shuffle.
      independent: shuffle each line along the axis independently; otherwise all in the same order.

    Raises:
      TypeError: x is a single number that is not an integer.

    >>> from pullback import random
    >>> random.permutation(random.key(0), 5)
    Array([0, 1, 4, 3, 2], dtype=int32)
    """
    words = words_of("permutation", key)
    x = number("permutation", "x", x)
    if not x.ndim:
        n = _count("permutation", "x", x)
        return laid_out("permutation", _shuffled(words, pnp.arange(n), _axis("permutation", axis, 1)), out_sharding)
    axis = _axis("permutation", axis, x.ndim)
    if independent or x.ndim == 1:
        return laid_out("permutation", _shuffled(words, x, axis), out_sharding)
    return laid_out("permutation", pnp.take(x, _shuffled(words, pnp.arange(x.shape[axis]), 0), axis), out_sharding)


# --- choice ---


@boundary
def choice(
    key: KeyLike,
    a: ArrayLike,
    shape: int | Sequence[int] = (),
    replace: bool = True,
    p: ArrayLike | None = None,
    axis: int = 0,
    mode: str | None = None,
) -> Array:
    """Draws from the integers below `a`, or from the elements of an array along an axis.

    Args:
      key: a single key, raw or typed.
      a: an integer, or an array.
      shape: the shape of the draws; in the result it replaces the axis.
      replace: whether an element can be drawn more than once.
      p: probabilities, one per element; uniform by default.
      axis: the axis to draw along.
      mode: the mode of `gumbel`, which draws without replacement if `p` is given.

    Raises:
      ValueError: more draws than elements without replacement; a draw from an empty population; `p` of another shape.

    >>> from pullback import random
    >>> random.choice(random.key(0), 5, (4,))
    Array([4, 0, 2, 3], dtype=int32)
    """
    if isinstance(a, PRNGKeyArray):  # keys move as their positions do
        axis = _axis("choice", axis, a.ndim)
        return pnp.take(a, choice(key, a.shape[axis], shape, replace, p, mode=mode), axis)
    words = words_of("choice", key, uses=p is not None or not replace)  # `randint` uses it itself
    a = number("choice", "a", a)
    shape = shape_of("choice", shape)
    axis = _axis("choice", axis, a.ndim) if a.ndim else 0
    n = a.shape[axis] if a.ndim else _count("choice", "a", a)
    draws = math.prod(shape)
    full = (*a.shape[:axis], *shape, *a.shape[axis + 1 :])
    if draws == 0:
        return pnp.zeros(full, a.dtype)
    if n <= 0:
        raise ValueError(f"choice: cannot draw from {n} elements")
    if not replace and draws > n:
        raise ValueError(f"choice: cannot draw {draws} times from {n} elements without replacement")
    if p is None and not replace:
        drawn = _shuffled(words, a if a.ndim == 1 else pnp.arange(n), 0, draws)
        return reshape(drawn if a.ndim <= 1 else pnp.take(a, drawn, axis), full)
    drawn = randint(key, shape, 0, n) if p is None else _weighted(words, n, shape, replace, p, mode)
    return reshape(drawn if not a.ndim else pnp.take(a, drawn, axis), full)


def _weighted(words: Array, n: int, shape: tuple[int, ...], replace: bool, p: ArrayLike, mode: str | None) -> Array:
    """Indices below `n` with probabilities `p`."""
    p = number("choice", "p", p)
    p = convert_element_type(p, dtypes.to_inexact(p.dtype, False)[0])
    if p.shape != (n,):
        raise ValueError(f"choice: p must have a probability for each of the {n} elements, got shape {p.shape}")
    if replace:
        cumulative = cumsum(p)
        at = cumulative[-1] * (1 - unit_uniform(words, shape, p.dtype))
        return convert_element_type(searchsorted(cumulative, at), int)
    # the indices of the largest values of log p + gumbel noise are draws without replacement (Gumbel-top-k)
    scores = standard_gumbel("choice", words, (n,), p.dtype, mode) + log(p)
    return convert_element_type(top_k(scores, math.prod(shape))[1], int)


# --- categorical ---


@boundary
def categorical(
    key: KeyLike,
    logits: ArrayLike,
    axis: int = -1,
    shape: ShapeLike | None = None,
    replace: bool = True,
    mode: str | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Indices along an axis, with probabilities softmax(logits).

    Args:
      key: a single key, raw or typed.
      logits: log-probabilities, up to a constant for each line along the axis.
      axis: the axis of the categories.
      shape: the shape of the result, to which that of `logits` without the axis must broadcast; by default that shape.
      replace: whether the draws of one line, along the leading axes of `shape`, may repeat a category.
      mode: the mode of `gumbel`, "low" or "high".

    Raises:
      TypeError: the logits are not floating.
      ValueError: the shape does not match; more draws than categories without replacement.

    >>> import pullback.numpy as pnp
    >>> from pullback import random
    >>> random.categorical(random.key(0), pnp.log(pnp.array([0.1, 0.9])), shape=(5,))
    Array([1, 1, 1, 1, 1], dtype=int32)
    """
    words = words_of("categorical", key)
    logits = number("categorical", "logits", logits)
    if not dtypes.is_float(logits.dtype):
        raise TypeError(f"categorical: logits must be of a floating-point dtype, got {logits.aval.str_short()}")
    if not logits.ndim:
        raise ValueError("categorical: logits must have an axis of categories, got a single number")
    axis = _axis("categorical", axis, logits.ndim)
    batch = (*logits.shape[:axis], *logits.shape[axis + 1 :])
    shape = batch if shape is None else shape_of("categorical", shape)
    front, back = shape[: len(shape) - len(batch)], shape[len(shape) - len(batch) :]
    if len(shape) < len(batch) or any(m not in (1, n) for m, n in zip(batch, back, strict=True)):
        raise ValueError(
            f"categorical: shape must end with what {batch}, the shape of logits without axis {axis}, "
            f"broadcasts to; got {shape}"
        )
    n = logits.shape[axis]
    if replace:
        drawn = (*front, *back[:axis], n, *back[axis:])
        noise = standard_gumbel("categorical", words, drawn, logits.dtype, mode)
        return laid_out(
            "categorical",
            pnp.argmax(noise + expand_dims(logits, range(len(front))), axis=axis + len(front)),
            out_sharding,
        )
    draws = math.prod(front)
    if draws > n:
        raise ValueError(f"categorical: cannot draw {draws} of {n} categories without replacement")
    scores = logits + standard_gumbel("categorical", words, logits.shape, logits.dtype, mode)
    positions = top_k(move_axis(scores, axis, logits.ndim - 1), draws)[1]
    last = positions.ndim - 1
    return laid_out("categorical", reshape(transpose(positions, (last, *range(last))), (*front, *batch)), out_sharding)
