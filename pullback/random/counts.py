"""Distributions of counts: poisson, geometric, binomial, multinomial."""

from __future__ import annotations

from typing import Any

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.errors import boundary
from pullback._core.typing import DTypeLike, Placement, ShapeLike
from pullback._higher_order.control.loops import scan
from pullback._higher_order.control.while_loop import while_loop
from pullback._ops.compare import select
from pullback._ops.cumulative import cumsum
from pullback._ops.elementwise import log, log1p, sqrt
from pullback._ops.gamma import lgamma
from pullback._ops.reduce import reduce_or
from pullback._ops.rounding import ceil, floor
from pullback._ops.shape import broadcast_to, convert_element_type, full, move_axis, shape_of
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.special import clamp
from pullback._ops.trig import abs as absolute
from pullback.random.generators import split_keys
from pullback.random.keys import KeyLike, words_of
from pullback.random.samplers import (
    float_dtype,
    integer_dtype,
    number,
    parameter,
    sample_shape,
    split_words,
    unit_uniform,
)

__all__ = ["binomial", "geometric", "multinomial", "poisson"]


def _any(x: Array) -> Array:
    return reduce_or(x, tuple(range(x.ndim)))


def _probability(function: str, p: ArrayLike) -> Array:
    p = number(function, "p", p)
    if dtypes.is_complex(p.dtype):
        raise TypeError(f"{function}: p must be real, got {p.aval.str_short()}")
    return convert_element_type(p, dtypes.to_inexact(p.dtype, p.weak_type)[0])


# --- geometric ---


@boundary
def geometric(
    key: KeyLike,
    p: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """The number of trials until the first success, each trial with success probability `p`.

    Args:
      key: a single key, raw or typed.
      p: a number in (0, 1], or an array that broadcasts to `shape`.
      shape: the shape of the result; by default that of `p`.
      dtype: an integer dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.geometric(random.key(0), 0.5, (1000,)).mean().round(1)
    Array(2., dtype=float32)
    """
    words = words_of("geometric", key)
    dtype = integer_dtype("geometric", dtype)
    p = _probability("geometric", p)
    u = unit_uniform(words, sample_shape("geometric", shape, p=p), p.dtype)
    u = select(u == 0, full(u.shape, 1, u.dtype), u)
    return laid_out("geometric", convert_element_type(floor(log(u) / log1p(-p)) + 1, dtype), out_sharding)


# --- poisson ---


def _poisson_by_products(words: Array, lam: Array, dtype: np.dtype) -> Array:
    """For small `lam`, by Knuth's method: the number of uniform numbers whose product is above exp(-lam)."""
    shape = lam.shape

    def unfinished(carry: Any) -> Array:
        return _any(carry[2] > -lam)

    def step(carry: Any) -> Any:
        words, count, product = carry
        words, drawn = split_words(words)
        count = select(product > -lam, count + 1, count)
        return words, count, product + log(unit_uniform(drawn, shape, lam.dtype))

    return while_loop(unfinished, step, (words, full(shape, 0, dtype), full(shape, 0, lam.dtype)))[1] - 1


def _poisson_by_rejection(words: Array, lam: Array, dtype: np.dtype) -> Array:
    """For large `lam`, PTRS of W. Hoermann, "The transformed rejection method for generating Poisson random
    variables" (1993)."""
    shape = lam.shape
    log_lam = log(lam)
    b = 0.931 + 2.53 * sqrt(lam)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)

    def step(carry: Any) -> Any:
        words, found, accepted = carry
        words, for_u, for_v = split_words(words, 3)
        u = unit_uniform(for_u, shape, lam.dtype) - 0.5
        v = unit_uniform(for_v, shape, lam.dtype)
        us = 0.5 - absolute(u)
        k = floor((2 * a / us + b) * u + lam + 0.43)
        density = log(v * inverse_alpha / (a / (us * us) + b))
        inside = (us >= 0.07) & (v <= v_r)
        outside = (k < 0) | ((us < 0.013) & (v > us))
        accept = inside | (~outside & (density <= -lam + k * log_lam - lgamma(k + 1)))
        return words, select(accept, k, found), accepted | accept

    start = (words, full(shape, -1, lam.dtype), full(shape, False, np.dtype(bool)))
    return convert_element_type(while_loop(lambda carry: _any(~carry[2]), step, start)[1], dtype)


@boundary
def poisson(
    key: KeyLike,
    lam: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Poisson counts: k with probability lam**k exp(-lam) / k!.

    Args:
      key: a single key, raw or typed.
      lam: a number that is not negative, or an array that broadcasts to `shape`; the result is -1 where it is nan.
      shape: the shape of the result; by default that of `lam`.
      dtype: an integer dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.
    See: Knuth, The Art of Computer Programming 2, section 3.4.1, for small means; for large ones Hoermann, "The
    transformed rejection method for generating Poisson random variables" (1993).

    >>> from pullback import random
    >>> random.poisson(random.key(0), 3., (1000,)).mean().round(0)
    Array(3., dtype=float32)
    """
    words = words_of("poisson", key)
    dtype = integer_dtype("poisson", dtype)
    lam = parameter("poisson", "lam", lam, np.dtype(np.float32))
    shape = sample_shape("poisson", shape, lam=lam)
    lam = broadcast_to(lam, shape)
    small = (lam != lam) | (lam < 10)
    few = _poisson_by_products(words, select(small, lam, full(shape, 0, lam.dtype)), dtype)
    many = _poisson_by_rejection(words, select(small, full(shape, 1e5, lam.dtype), lam), dtype)
    return laid_out("poisson", select(lam == 0, full(shape, 0, dtype), select(small, few, many)), out_sharding)


# --- binomial ---


def _binomial_by_waiting(words: Array, count: Array, p: Array, dtype: np.dtype) -> Array:
    """For small means: the number of geometric waiting times that fit into `count` trials."""
    shape = count.shape
    log_miss = log1p(-p)

    def step(carry: Any) -> Any:
        words, hits, trials = carry
        drawn, words = split_words(words)
        hits = select(trials <= count, hits + 1, hits)
        return words, hits, trials + ceil(log(unit_uniform(drawn, shape, p.dtype)) / log_miss)

    start = (words, full(shape, 0, p.dtype), full(shape, 0, p.dtype))
    return convert_element_type(while_loop(lambda carry: _any(carry[2] <= count), step, start)[1] - 1, dtype)


_TAIL = (
    0.0810614667953272,
    0.0413406959554092,
    0.0276779256849983,
    0.02079067210376509,
    0.0166446911898211,
    0.0138761288230707,
    0.0118967099458917,
    0.010411265261972,
    0.00925546218271273,
    0.00833056343336287,
)


def _stirling_tail(k: Array) -> Array:
    """log(k!) minus Stirling's formula for it: from a table up to 9, by its series above."""
    tabled = k <= 9
    k = clamp(0.0, k, 9.0)
    square = (k + 1) * (k + 1)
    series = (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1)
    table = lift(np.array(_TAIL, k.dtype))
    return select(tabled, table[convert_element_type(floor(k), np.int32)], series)


def _binomial_by_rejection(words: Array, count: Array, p: Array, dtype: np.dtype) -> Array:
    """For large means, BTRS of W. Hoermann, "The generation of binomial random variates" (1993)."""
    shape = count.shape
    stddev = sqrt(count * p * (1 - p))
    b = 1.15 + 2.53 * stddev
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = count * p + 0.5
    v_r = 0.92 - 4.2 / b
    r = p / (1 - p)
    alpha = (2.83 + 5.1 / b) * stddev
    m = floor((count + 1) * p)

    def step(carry: Any) -> Any:
        words, found, accepted = carry
        words, for_u, for_v = split_words(words, 3)
        u = unit_uniform(for_u, shape, p.dtype)
        v = unit_uniform(for_v, shape, p.dtype)
        u = u - 0.5
        us = 0.5 - absolute(u)
        inside = (us >= 0.07) & (v <= v_r)
        k = floor((2 * a / us + b) * u + c)
        outside = (k < 0) | (k > count)
        v = log(v * alpha / (a / (us * us) + b))
        bound = (
            (m + 0.5) * log((m + 1) / (r * (count - m + 1)))
            + (count + 1) * log((count - m + 1) / (count - k + 1))
            + (k + 0.5) * log(r * (count - k + 1) / (k + 1))
            + _stirling_tail(m)
            + _stirling_tail(count - m)
            - _stirling_tail(k)
            - _stirling_tail(count - k)
        )
        accept = inside | (~outside & (v <= bound))
        return words, select(accept, k, found), accepted | accept

    start = (words, full(shape, -1, p.dtype), full(shape, False, np.dtype(bool)))
    return convert_element_type(while_loop(lambda carry: _any(~carry[2]), step, start)[1], dtype)


@boundary
def binomial(
    key: KeyLike, n: ArrayLike, p: ArrayLike, shape: ShapeLike | None = None, dtype: DTypeLike | None = None
) -> Array:
    """The number of successes in `n` trials, each with success probability `p`.

    Args:
      key: a single key, raw or typed.
      n: numbers of trials that broadcast to `shape`.
      p: probabilities that broadcast to `shape`. The result is nan where they are not between 0 and 1.
      shape: the shape of the result; by default that of the parameters, broadcast together.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.
    See: for large means Hoermann, "The generation of binomial random variates" (1993).

    >>> from pullback import random
    >>> random.binomial(random.key(0), 10, 0.5, (1000,)).mean().round(0)
    Array(5., dtype=float32)
    """
    words = words_of("binomial", key)
    dtype = float_dtype("binomial", dtype)
    p = _probability("binomial", p)
    n = parameter("binomial", "n", n, p.dtype)
    shape = sample_shape("binomial", shape, n=n, p=p)
    return _binomial(words, broadcast_to(n, shape), broadcast_to(p, shape), dtype)


def _binomial(words: Array, count: Array, p: Array, dtype: np.dtype) -> Array:
    def constant(value: float) -> Array:
        return full(count.shape, value, p.dtype)

    rare = p < 0.5
    q = select(rare, p, 1.0 - p)
    no_count = (count != count) | (count < 0)
    no_bound = absolute(count) == np.inf
    invalid = (q != q) | (q < 0)
    q = select(invalid, constant(0.01), q)
    by_waiting = no_count | (count * q <= 10)
    count = floor(count)
    few = _binomial_by_waiting(words, select(by_waiting, count, constant(0)), q, dtype)
    many = _binomial_by_rejection(
        words, select(by_waiting, constant(1e4), count), select(by_waiting, constant(0.5), q), dtype
    )
    hits = select(by_waiting, few, many)
    wrong = invalid | no_count
    hits = select(wrong, full(hits.shape, np.nan, dtype), hits)
    hits = select(no_bound & ~wrong, full(hits.shape, np.inf, dtype), hits)
    return select(rare | wrong | no_bound, hits, convert_element_type(count, dtype) - hits)


@boundary
def multinomial(
    key: KeyLike,
    n: ArrayLike,
    p: ArrayLike,
    *,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    unroll: int | bool = 1,
) -> Array:
    """The numbers of `n` trials that fall into each category.

    Args:
      key: a single key, raw or typed.
      n: numbers of trials that broadcast to `shape` without its last axis.
      p: probabilities that broadcast to `shape`, whose last axis runs over the categories.
      shape: the shape of the result; by default that of `p`.
      dtype: the dtype of the result; by default float32.
      unroll: the option of the `scan` over the categories.

    Raises: TypeError and ValueError as everywhere in `pullback.random`. ValueError also for a single `p`.

    >>> import pullback.numpy as pnp
    >>> from pullback import random
    >>> random.multinomial(random.key(0), 10., pnp.array([0.2, 0.3, 0.5])).sum()
    Array(10., dtype=float32)
    """
    words = words_of("multinomial", key)
    dtype = dtypes.requested_dtype(dtype, float)
    p = _probability("multinomial", p)
    if not p.ndim:
        raise ValueError("multinomial: p must have an axis of categories, got a single number")
    shape = sample_shape("multinomial", p.shape if shape is None else shape_of("multinomial", shape), p=p)
    n = parameter("multinomial", "n", n, p.dtype)
    n = broadcast_to(n, sample_shape("multinomial", shape[:-1], n=n))
    p = move_axis(broadcast_to(p, shape), len(shape) - 1, 0)
    # each category takes its share of the remaining trials
    left = cumsum(p, axis=0, reverse=True)
    ratios = clamp(0.0, p / select(left == 0, full(left.shape, 1, left.dtype), left), 1.0)

    def step(remaining: Array, category: Any) -> Any:
        ratio, words = category
        taken = _binomial(words, remaining, ratio, n.dtype)
        return remaining - taken, taken

    taken = scan(step, n, (ratios, split_keys(words, (ratios.shape[0],))), unroll=unroll)[1]
    return convert_element_type(pnp.moveaxis(taken, 0, -1), dtype)
