"""The gamma distribution, and those derived from it: beta, dirichlet, chisquare, t, f, generalized_normal, ball.

All but the last two are differentiable in their parameters, see `gamma_sampler`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import DTypeLike, Placement, ShapeLike
from pullback._ops.elementwise import exp, pow, sqrt
from pullback._ops.elementwise import max as maximum
from pullback._ops.identity import stop_gradient
from pullback._ops.reduce import reduce_max
from pullback._ops.shape import broadcast_to, shape_of
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.trig import abs as absolute
from pullback.random.continuous import standard_exponential
from pullback.random.gamma_sampler import random_gamma
from pullback.random.generators import split_keys
from pullback.random.keys import KeyLike, words_of
from pullback.random.samplers import (
    float_dtype,
    parameter,
    sample_shape,
    sign_samples,
    split_words,
    standard_normal,
)

__all__ = ["ball", "beta", "chisquare", "dirichlet", "f", "gamma", "generalized_normal", "loggamma", "t"]


def _samples(words: Array, a: Array, shape: tuple[int, ...], log_space: bool) -> Array:
    return random_gamma(split_keys(words, shape), broadcast_to(a, shape), log_space)


@boundary
def gamma(
    key: KeyLike,
    a: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Gamma numbers: density x**(a - 1) exp(-x) / gamma(a) for x > 0.

    Args:
      key: a single key, raw or typed.
      a: a positive number, or an array that broadcasts to `shape`. The result is differentiable in it.
      shape: the shape of the result; by default that of `a`.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.
    See: Marsaglia and Tsang, "A simple method for generating gamma variables" (2000); for the derivative Figurnov,
    Mohamed and Mnih, "Implicit reparameterization gradients" (2018).

    >>> from pullback import random
    >>> random.gamma(random.key(0), 3., (1000,)).mean().round(1)
    Array(3., dtype=float32)
    """
    words = words_of("gamma", key)
    a = parameter("gamma", "a", a, float_dtype("gamma", dtype))
    return laid_out("gamma", _samples(words, a, sample_shape("gamma", shape, a=a), log_space=False), out_sharding)


@boundary
def loggamma(
    key: KeyLike,
    a: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """The logarithms of gamma numbers, which do not underflow for small parameters `a`.

    Args:
      key: a single key, raw or typed.
      a: a positive number, or an array that broadcasts to `shape`. The result is differentiable in it.
      shape: the shape of the result; by default that of `a`.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.
    See: `gamma`.

    >>> from pullback import random
    >>> bool(random.loggamma(random.key(0), 1e-3) < -50)
    True
    """
    words = words_of("loggamma", key)
    a = parameter("loggamma", "a", a, float_dtype("loggamma", dtype))
    return laid_out("loggamma", _samples(words, a, sample_shape("loggamma", shape, a=a), log_space=True), out_sharding)


@boundary
def beta(
    key: KeyLike,
    a: ArrayLike,
    b: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Beta numbers: density proportional to x**(a - 1) (1 - x)**(b - 1) on (0, 1).

    Args:
      key: a single key, raw or typed.
      a, b: positive numbers, or arrays that broadcast to `shape`. The result is differentiable in them.
      shape: the shape of the result; by default that of `a` and `b`, broadcast together.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.beta(random.key(0), 2., 2., (1000,)).mean().round(1)
    Array(0.5, dtype=float32)
    """
    words = words_of("beta", key)
    dtype = float_dtype("beta", dtype)
    a, b = parameter("beta", "a", a, dtype), parameter("beta", "b", b, dtype)
    shape = sample_shape("beta", shape, a=a, b=b)
    x, y = (_samples(w, p, shape, log_space=True) for w, p in zip(split_words(words), (a, b), strict=True))
    largest = maximum(x, y)
    x, y = exp(x - largest), exp(y - largest)
    return laid_out("beta", x / (x + y), out_sharding)


@boundary
def dirichlet(
    key: KeyLike,
    alpha: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Dirichlet vectors: positive entries that add up to 1.

    Args:
      key: a single key, raw or typed.
      alpha: an array of positive numbers whose last axis runs over the entries. The result is differentiable in it.
      shape: the shape of the result without that axis; by default that of `alpha` without it.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`. ValueError also for a single number.

    >>> import pullback.numpy as pnp
    >>> from pullback import random
    >>> random.dirichlet(random.key(0), pnp.ones(3), (5,)).shape
    (5, 3)
    """
    words = words_of("dirichlet", key)
    alpha = parameter("dirichlet", "alpha", alpha, float_dtype("dirichlet", dtype))
    if not alpha.ndim:
        raise ValueError("dirichlet: alpha must have an axis of entries, got a single number")
    lead = alpha.shape[:-1] if shape is None else shape_of("dirichlet", shape)
    full = sample_shape("dirichlet", (*lead, alpha.shape[-1]), alpha=alpha)
    x = _samples(words, alpha, full, log_space=True)
    if not x.size:
        return laid_out("dirichlet", x, out_sharding)
    x = exp(x - stop_gradient(pnp.expand_dims(reduce_max(x, (x.ndim - 1,)), -1)))
    return laid_out("dirichlet", x / pnp.sum(x, axis=-1, keepdims=True), out_sharding)


def _chisquare(words: Array, df: Array, shape: tuple[int, ...]) -> Array:
    return exp(_samples(words, df / 2, shape, log_space=True)) * 2


@boundary
def chisquare(
    key: KeyLike,
    df: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Chi-square numbers: sums of `df` squared normal numbers.

    Args:
      key: a single key, raw or typed.
      df: a positive number, or an array that broadcasts to `shape`. The result is differentiable in it.
      shape: the shape of the result; by default that of `df`.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> bool((random.chisquare(random.key(0), 3., (100,)) > 0).all())
    True
    """
    words = words_of("chisquare", key)
    df = parameter("chisquare", "df", df, float_dtype("chisquare", dtype))
    return laid_out("chisquare", _chisquare(words, df, sample_shape("chisquare", shape, df=df)), out_sharding)


@boundary
def t(
    key: KeyLike,
    df: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Student's t: a normal number over the root of a chi-square number of `df` degrees, divided by `df`.

    Args:
      key: a single key, raw or typed.
      df: a positive number, or an array that broadcasts to `shape`. The result is differentiable in it.
      shape: the shape of the result; by default that of `df`.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.t(random.key(0), 5., (3,)).shape
    (3,)
    """
    words = words_of("t", key)
    dtype = float_dtype("t", dtype)
    df = parameter("t", "df", df, dtype)
    shape = sample_shape("t", shape, df=df)
    for_normal, for_gamma = split_words(words)
    half = df / 2
    return laid_out(
        "t",
        standard_normal(for_normal, shape, dtype) * sqrt(half / _samples(for_gamma, half, shape, log_space=False)),
        out_sharding,
    )


@boundary
def f(
    key: KeyLike,
    dfnum: ArrayLike,
    dfden: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """F numbers: the ratio of two chi-square numbers, each over its degrees of freedom.

    Args:
      key: a single key, raw or typed.
      dfnum, dfden: positive numbers, or arrays that broadcast to `shape`. The result is differentiable in them.
      shape: the shape of the result; by default that of the parameters, broadcast together.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> bool((random.f(random.key(0), 3., 4., (100,)) > 0).all())
    True
    """
    words = words_of("f", key)
    dtype = float_dtype("f", dtype)
    dfnum, dfden = parameter("f", "dfnum", dfnum, dtype), parameter("f", "dfden", dfden, dtype)
    shape = sample_shape("f", shape, dfnum=dfnum, dfden=dfden)
    below, above = split_words(words)
    return laid_out(
        "f", (_chisquare(above, dfnum, shape) / dfnum) / (_chisquare(below, dfden, shape) / dfden), out_sharding
    )


def _generalized_normal(name: str, words: Array, p: ArrayLike, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    for_gamma, for_sign = split_words(words)
    p = parameter(name, "p", p, dtype)
    inverse = 1 / p
    sample_shape(name, shape, p=p)
    size = _samples(for_gamma, inverse, shape, log_space=False)
    return sign_samples(for_sign, shape, dtype) * pow(size, inverse)


@boundary
def generalized_normal(
    key: KeyLike,
    p: ArrayLike,
    shape: int | Sequence[int] = (),
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Generalized normal numbers: density proportional to exp(-|x|**p).

    Args:
      key: a single key, raw or typed.
      p: a positive number.
      shape: the shape of the result.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.generalized_normal(random.key(0), 4., (3,)).shape
    (3,)
    """
    words = words_of("generalized_normal", key)
    dtype = float_dtype("generalized_normal", dtype)
    return laid_out(
        "generalized_normal",
        _generalized_normal("generalized_normal", words, p, shape_of("generalized_normal", shape), dtype),
        out_sharding,
    )


@boundary
def ball(
    key: KeyLike,
    d: int,
    p: float = 2,
    shape: int | Sequence[int] = (),
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Points uniformly distributed in the unit ball of the p-norm in `d` dimensions, by the method of Barthe, Guedon,
    Mendelson and Naor (2005).

    Args:
      key: a single key, raw or typed.
      d: the number of dimensions, the length of the result's last axis.
      p: a positive number.
      shape: the shape of the result without that axis.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> bool((random.ball(random.key(0), 2, shape=(100,))**2).sum(-1).max() < 1)
    True
    """
    words = words_of("ball", key)
    dtype = float_dtype("ball", dtype)
    shape = shape_of("ball", shape)
    for_direction, for_radius = split_words(words)
    x = _generalized_normal("ball", for_direction, p, (*shape, *shape_of("ball", (d,))), dtype)
    power = parameter("ball", "p", p, dtype)
    total = pnp.sum(pow(absolute(x), power), axis=-1) + standard_exponential(for_radius, shape, dtype)
    return laid_out("ball", x / pnp.expand_dims(pow(total, 1 / power), -1), out_sharding)
