"""Continuous distributions given by formulas in uniform or normal numbers, most of them inverse distribution functions:
exponential, gumbel, laplace, logistic, cauchy, pareto, rayleigh, weibull, lognormal, triangular, wald, maxwell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, lift
from pullback._core.errors import boundary
from pullback._core.typing import DTypeLike, Placement, ShapeLike
from pullback._ops.compare import lt, select
from pullback._ops.elementwise import exp, log, log1p, neg, pow, sqrt
from pullback._ops.families import broadcast_shapes
from pullback._ops.shape import broadcast_to, shape_of
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.trig import abs as absolute
from pullback._ops.trig import sign, tan
from pullback.numpy._indexing.indexing import iterate
from pullback.random.keys import KeyLike, words_of
from pullback.random.samplers import (
    float_dtype,
    normal_samples,
    parameter,
    sample_shape,
    sign_samples,
    split_words,
    standard_normal,
    uniform_between,
    unit_uniform,
)

__all__ = [
    "cauchy",
    "double_sided_maxwell",
    "exponential",
    "gumbel",
    "laplace",
    "logistic",
    "lognormal",
    "maxwell",
    "pareto",
    "rayleigh",
    "triangular",
    "wald",
    "weibull_min",
]


def _above(words: Array, shape: tuple[int, ...], low: ArrayLike, dtype: np.dtype) -> Array:
    """Uniform floats in [low, 1)."""
    return uniform_between(words, shape, lift(np.asarray(low, dtype)[()]), lift(dtype.type(1)))


# --- without parameters ---


def standard_exponential(words: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Exponential floats of mean 1."""
    return neg(log1p(neg(unit_uniform(words, shape, dtype))))


@boundary
def exponential(
    key: KeyLike, shape: int | Sequence[int] = (), dtype: DTypeLike | None = None, *, out_sharding: Placement = None
) -> Array:
    """Exponential numbers of mean 1: density exp(-x) for x >= 0.

    Args:
      key: a single key, raw or typed.
      shape: the shape of the result.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.exponential(random.key(0), (1000,)).mean().round(1)
    Array(1., dtype=float32)
    """
    words = words_of("exponential", key)
    return laid_out(
        "exponential",
        standard_exponential(words, shape_of("exponential", shape), float_dtype("exponential", dtype)),
        out_sharding,
    )


def standard_gumbel(function: str, words: Array, shape: tuple[int, ...], dtype: np.dtype, mode: str | None) -> Array:
    """Gumbel floats; `function` is named in the error about an unknown mode."""
    if mode is None or mode == "low":
        return neg(log(neg(log(_above(words, shape, dtypes.finfo(dtype).tiny, dtype)))))
    if mode != "high":
        raise ValueError(f"{function}: mode must be 'low', 'high' or None, got {mode!r}")
    info = dtypes.finfo(dtype)
    high, low = iterate(unit_uniform(words, (2, *shape), dtype))
    x = select(high >= 0.5, high, high + 2.0**-info.nmant * low + float(info.tiny))
    return neg(log(neg(log1p(neg(x)))))


@boundary
def gumbel(
    key: KeyLike,
    shape: int | Sequence[int] = (),
    dtype: DTypeLike | None = None,
    mode: str | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Gumbel numbers: distribution function exp(-exp(-x)).

    Args:
      key: a single key, raw or typed.
      shape: the shape of the result.
      dtype: a floating dtype.
      mode: "low" (the default), or "high" for twice the digits, which reach further into the tail.

    Raises: TypeError and ValueError as everywhere in `pullback.random`. ValueError also for another mode.

    >>> from pullback import random
    >>> random.gumbel(random.key(0), (1000,)).mean().round(1)
    Array(0.6, dtype=float32)
    """
    words = words_of("gumbel", key)
    return laid_out(
        "gumbel",
        standard_gumbel("gumbel", words, shape_of("gumbel", shape), float_dtype("gumbel", dtype), mode),
        out_sharding,
    )


@boundary
def laplace(
    key: KeyLike, shape: int | Sequence[int] = (), dtype: DTypeLike | None = None, *, out_sharding: Placement = None
) -> Array:
    """Laplace numbers: density exp(-|x|) / 2.

    Args:
      key: a single key, raw or typed.
      shape: the shape of the result.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> abs(random.laplace(random.key(0), (1000,))).mean().round(1)
    Array(1., dtype=float32)
    """
    words = words_of("laplace", key)
    dtype = float_dtype("laplace", dtype)
    u = _above(words, shape_of("laplace", shape), -1.0 + float(dtypes.finfo(dtype).epsneg), dtype)
    return laid_out("laplace", sign(u) * log1p(neg(absolute(u))), out_sharding)


@boundary
def logistic(
    key: KeyLike, shape: int | Sequence[int] = (), dtype: DTypeLike | None = None, *, out_sharding: Placement = None
) -> Array:
    """Logistic numbers: distribution function 1 / (1 + exp(-x)).

    Args:
      key: a single key, raw or typed.
      shape: the shape of the result.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> (random.logistic(random.key(0), (1000,)) > 0).mean().round(1)
    Array(0.5, dtype=float32)
    """
    words = words_of("logistic", key)
    dtype = float_dtype("logistic", dtype)
    u = _above(words, shape_of("logistic", shape), dtypes.finfo(dtype).tiny, dtype)
    return laid_out("logistic", log(u) - log1p(neg(u)), out_sharding)


@boundary
def cauchy(
    key: KeyLike, shape: int | Sequence[int] = (), dtype: DTypeLike | None = None, *, out_sharding: Placement = None
) -> Array:
    """Cauchy numbers: density 1 / (pi (1 + x**2)).

    Args:
      key: a single key, raw or typed.
      shape: the shape of the result.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> (abs(random.cauchy(random.key(0), (1000,))) < 1).mean().round(1)
    Array(0.5, dtype=float32)
    """
    words = words_of("cauchy", key)
    dtype = float_dtype("cauchy", dtype)
    u = _above(words, shape_of("cauchy", shape), dtypes.finfo(dtype).eps, dtype)
    return laid_out("cauchy", tan(np.pi * (u - 0.5)), out_sharding)


def standard_maxwell(words: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """The lengths of normal vectors in three dimensions."""
    vectors = standard_normal(words, (*shape, 3), dtype)
    return sqrt(pnp.sum(vectors * vectors, axis=-1))


@boundary
def maxwell(
    key: KeyLike, shape: int | Sequence[int] = (), dtype: DTypeLike | None = None, *, out_sharding: Placement = None
) -> Array:
    """Maxwell numbers: density sqrt(2 / pi) x**2 exp(-x**2 / 2) for x >= 0.

    Args:
      key: a single key, raw or typed.
      shape: the shape of the result.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.maxwell(random.key(0), (1000,)).mean().round(1)
    Array(1.6, dtype=float32)
    """
    words = words_of("maxwell", key)
    return laid_out(
        "maxwell", standard_maxwell(words, shape_of("maxwell", shape), float_dtype("maxwell", dtype)), out_sharding
    )


# --- with parameters, by which the results are differentiable ---


@boundary
def double_sided_maxwell(
    key: KeyLike, loc: ArrayLike, scale: ArrayLike, shape: int | Sequence[int] = (), dtype: DTypeLike | None = None
) -> Array:
    """Maxwell numbers with a random sign, times `scale`, plus `loc`.

    The result has the shape of `loc` and `scale` broadcast together, with `shape` in front; if `shape` is empty,
    with that shape in front again. TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.double_sided_maxwell(random.key(0), 0., 1., (4,)).shape
    (4,)
    """
    words = words_of("double_sided_maxwell", key)
    dtype = float_dtype("double_sided_maxwell", dtype)
    loc = parameter("double_sided_maxwell", "loc", loc, dtype)
    scale = parameter("double_sided_maxwell", "scale", scale, dtype)
    common = sample_shape("double_sided_maxwell", None, loc=loc, scale=scale)
    shape = (*(shape_of("double_sided_maxwell", shape) or common), *common)
    for_length, for_sign = split_words(words)
    return sign_samples(for_sign, shape, dtype) * standard_maxwell(for_length, shape, dtype) * scale + loc


@boundary
def lognormal(
    key: KeyLike,
    sigma: ArrayLike = 1.0,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """exp(sigma x) of normal numbers x.

    Args:
      key: a single key, raw or typed.
      sigma: a number, or an array that broadcasts to `shape`.
      shape: the shape of the result; by default that of `sigma`.
      dtype: a floating or complex dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.lognormal(random.key(0), 0.1, (1000,)).mean().round(1)
    Array(1., dtype=float32)
    """
    dtype = dtypes.requested_dtype(dtype, float)
    sigma = parameter("lognormal", "sigma", sigma, dtype)
    return laid_out(
        "lognormal",
        exp(normal_samples("lognormal", key, sample_shape("lognormal", shape, sigma=sigma), dtype) * sigma),
        out_sharding,
    )


@boundary
def pareto(
    key: KeyLike,
    b: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Pareto numbers: density b / x**(b + 1) for x >= 1.

    Args:
      key: a single key, raw or typed.
      b: a positive number, or an array that broadcasts to `shape`.
      shape: the shape of the result; by default that of `b`.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> bool((random.pareto(random.key(0), 3., (1000,)) >= 1).all())
    True
    """
    words = words_of("pareto", key)
    dtype = float_dtype("pareto", dtype)
    b = parameter("pareto", "b", b, dtype)
    return laid_out(
        "pareto", exp(standard_exponential(words, sample_shape("pareto", shape, b=b), dtype) / b), out_sharding
    )


@boundary
def rayleigh(
    key: KeyLike,
    scale: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Rayleigh numbers: density x exp(-x**2 / (2 scale**2)) / scale**2 for x >= 0.

    Args:
      key: a single key, raw or typed.
      scale: a positive number, or an array that broadcasts to `shape`.
      shape: the shape of the result; by default that of `scale`.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.rayleigh(random.key(0), 2., (1000,)).mean().round(1)
    Array(2.5, dtype=float32)
    """
    words = words_of("rayleigh", key)
    dtype = float_dtype("rayleigh", dtype)
    scale = parameter("rayleigh", "scale", scale, dtype)
    return laid_out(
        "rayleigh",
        scale * sqrt(log(unit_uniform(words, sample_shape("rayleigh", shape, scale=scale), dtype)) * -2),
        out_sharding,
    )


@boundary
def weibull_min(
    key: KeyLike,
    scale: ArrayLike,
    concentration: ArrayLike,
    shape: int | Sequence[int] = (),
    dtype: DTypeLike | None = None,
) -> Array:
    """Weibull numbers: distribution function 1 - exp(-(x / scale)**concentration) for x >= 0.

    Args:
      key: a single key, raw or typed.
      scale, concentration: positive numbers, or arrays; the result has their shape broadcast with `shape`.
      shape: the shape of the random numbers.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.weibull_min(random.key(0), 1., 1., (1000,)).mean().round(1)
    Array(1., dtype=float32)
    """
    words = words_of("weibull_min", key)
    dtype = float_dtype("weibull_min", dtype)
    scale = parameter("weibull_min", "scale", scale, dtype)
    power = 1.0 / parameter("weibull_min", "concentration", concentration, dtype)
    shape = shape_of("weibull_min", shape)
    broadcast_shapes("weibull_min", shape, scale.shape, power.shape)
    return pow(standard_exponential(words, shape, dtype), power) * scale


@boundary
def triangular(
    key: KeyLike,
    left: ArrayLike,
    mode: ArrayLike,
    right: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Triangular numbers: the density rises linearly from `left` to `mode` and falls to `right`.

    Args:
      key: a single key, raw or typed.
      left, mode, right: numbers in ascending order, or arrays that broadcast to `shape`.
      shape: the shape of the result; by default that of the parameters, broadcast together.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.triangular(random.key(0), 0., 1., 2., (1000,)).mean().round(1)
    Array(1., dtype=float32)
    """
    words = words_of("triangular", key)
    dtype = float_dtype("triangular", dtype)
    left, mode, right = (
        parameter("triangular", name, x, dtype) for name, x in (("left", left), ("mode", mode), ("right", right))
    )
    shape = sample_shape("triangular", shape, left=left, mode=mode, right=right)
    u = unit_uniform(words, shape, dtype)
    rising = left + sqrt(u * (right - left) * (mode - left))
    falling = right - sqrt((1 - u) * (right - left) * (right - mode))
    return laid_out("triangular", select(lt(u, (mode - left) / (right - left)), rising, falling), out_sharding)


@boundary
def wald(
    key: KeyLike,
    mean: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Wald (inverse Gaussian) numbers of scale 1, by the method of Michael, Schucany and Haas (1976).

    Args:
      key: a single key, raw or typed.
      mean: a positive number, or an array that broadcasts to `shape`.
      shape: the shape of the result; by default that of `mean`.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> bool((random.wald(random.key(0), 1., (1000,)) > 0).all())
    True
    """
    words = words_of("wald", key)
    dtype = float_dtype("wald", dtype)
    mean = parameter("wald", "mean", mean, dtype)
    shape = sample_shape("wald", shape, mean=mean)
    mean = broadcast_to(mean, shape)
    for_normal, for_choice = split_words(words)
    y = pnp.square(standard_normal(for_normal, shape, dtype))
    choice = unit_uniform(for_choice, shape, dtype)
    squared = mean * mean
    x = mean + squared * y / 2 - mean / 2 * sqrt(4 * mean * y + squared * (y * y))
    return laid_out("wald", select(choice <= mean / (mean + x), x, squared / x), out_sharding)
