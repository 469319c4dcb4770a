"""Bits, and the uniform, normal and Bernoulli distributions; the checks of arguments that all samplers share.

The bits of a float in [0, 1) are drawn, not its value: random digits under the exponent of 1 give a float in
[1, 2), exactly and evenly spaced.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import pullback.numpy as pnp
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, ConcreteArray, is_array_like, lift
from pullback._core.config import config
from pullback._core.errors import boundary, described
from pullback._core.typing import DTypeLike, Placement, ShapeLike
from pullback._higher_order.control.cond import cond
from pullback._ops.assemble import bitcast_convert_type
from pullback._ops.compare import bitwise_and, gt, le, lt, or_p, select, shift_right_logical_p
from pullback._ops.elementwise import add, add_p, div, max_p, mul, mul_p, scalar, sub, sub_p
from pullback._ops.elementwise import max as maximum
from pullback._ops.elementwise import min as minimum
from pullback._ops.families import broadcast_shapes, scalar_like
from pullback._ops.identity import stop_gradient
from pullback._ops.remainders import rem
from pullback._ops.shape import broadcast_to, convert_element_type, shape_of
from pullback._ops.sharding_constraint import laid_out
from pullback._ops.special import erf, erf_inv, nextafter
from pullback._ops.trig import complex as make_complex
from pullback._xla.evaluate import eagerly
from pullback.numpy._indexing.indexing import iterate
from pullback.random.generators import random_bits, split_keys
from pullback.random.keys import KeyLike, PRNGKeyArray, words_of
from pullback.random.normal_tail import far_out, tail_normal

__all__ = ["bernoulli", "bits", "normal", "rademacher", "randint", "truncated_normal", "uniform"]

# --- arguments ---


def float_dtype(function: str, dtype: DTypeLike | None) -> np.dtype:
    """The requested floating dtype; None means float32, or float64 with 64-bit types."""
    dtype = dtypes.requested_dtype(dtype, float)
    if not dtypes.is_float(dtype):
        raise ValueError(f"{function}: dtype must be a floating-point dtype, got {dtype.name}")
    return dtype


def integer_dtype(function: str, dtype: DTypeLike | None) -> np.dtype:
    """The requested integer dtype; None means int32, or int64 with 64-bit types."""
    dtype = dtypes.requested_dtype(dtype, int)
    if not dtypes.is_integer(dtype):
        raise ValueError(f"{function}: dtype must be an integer dtype, got {dtype.name}")
    return dtype


def number(function: str, name: str, x: ArrayLike) -> Array:
    """A parameter as an array; TypeError for anything but a number, in particular for a key."""
    if isinstance(x, PRNGKeyArray):
        raise TypeError(f"{function}: {name} must be a number or an array, got a key")
    if not is_array_like(x):
        raise TypeError(f"{function}: {name} must be a number or an array, got {described(x)}")
    return lift(x)


def parameter(function: str, name: str, x: ArrayLike, dtype: np.dtype) -> Array:
    """A real parameter of a distribution, in the dtype of the samples."""
    x = number(function, name, x)
    if dtypes.is_complex(x.dtype):
        raise TypeError(f"{function}: {name} must be real, got {x.aval.str_short()}")
    return convert_element_type(x, dtype)


def sample_shape(function: str, shape: ShapeLike | None, **parameters: Array) -> tuple[int, ...]:
    """The shape of the samples: as requested, or else that of the parameters, which must broadcast to it."""
    common = broadcast_shapes(function, *[x.shape for x in parameters.values()])
    if shape is None:
        return common
    shape = shape_of(function, shape)
    try:
        fits = not common or broadcast_shapes(function, shape, common) == shape
    except ValueError:
        fits = False
    if not fits:
        got = ", ".join(f"{name} {x.shape}" for name, x in parameters.items())
        raise ValueError(
            f"{function}: parameters must broadcast to the shape of the samples, {shape}; got shapes {got}"
        )
    return shape


def known(fun: Callable, *args: Array) -> Any:
    """`fun(*args)`, computed immediately if the arguments are known, so that nothing is staged for it."""
    return eagerly(fun, *args) if all(isinstance(x, ConcreteArray) for x in args) else fun(*args)


def split_words(words: Array, n: int = 2) -> list[Array]:
    """New keys from one, as a list."""
    return list(iterate(split_keys(words, (n,))))


# --- bits ---


@boundary
def bits(
    key: KeyLike, shape: int | Sequence[int] = (), dtype: DTypeLike | None = None, *, out_sharding: Placement = None
) -> Array:
    """Random bits, as unsigned integers.

    Args:
      key: a single key, raw or typed.
      shape: the shape of the result.
      dtype: an unsigned integer dtype; uint32 by default, uint64 with 64-bit types.

    Raises:
      ValueError: dtype is not unsigned; key is an array of several.

    See: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), for the generator,
    Threefry-2x32 with 20 rounds.

    >>> from pullback import random
    >>> random.bits(random.key(0), (2,))
    Array([4070199207, 4202968722], dtype=uint32)
    """
    words = words_of("bits", key)
    dtype = dtypes.requested_dtype(dtype, np.uint64)
    if dtype.kind != "u":
        raise ValueError(f"bits: dtype must be an unsigned integer dtype, got {dtype.name}")
    return laid_out("bits", random_bits(words, dtype.itemsize * 8, shape_of("bits", shape)), out_sharding)


# --- uniform ---


@functools.cache
def _layout(dtype: np.dtype) -> tuple[int, np.dtype, Array, Array, Array]:
    """The number of bits to draw, the integer dtype of that width, the number of bits to drop, the bits of 1, and 1."""
    info = dtypes.finfo(dtype)
    unsigned = np.dtype(f"uint{info.bits}")
    drawn = 8 if info.nmant < 8 else info.bits
    one = np.ones((), dtype)
    return drawn, unsigned, lift(unsigned.type(drawn - info.nmant)), lift(one.view(unsigned)[()]), lift(one[()])


def unit_uniform(words: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Floats in [0, 1)."""
    drawn, unsigned, drop, exponent, one = _layout(dtype)
    digits = convert_element_type(random_bits(words, drawn, shape), unsigned)
    digits = or_p.bind(shift_right_logical_p.bind(digits, drop), exponent)
    return sub_p.bind(bitcast_convert_type(digits, dtype), one)


def uniform_from(words: Array, shape: tuple[int, ...], low: Array, span: Array) -> Array:
    """Floats in [low, low + span); both are of one dtype and broadcast to the shape."""
    # rounding may give a sum below `low`
    return max_p.bind(low, add_p.bind(mul_p.bind(unit_uniform(words, shape, low.dtype), span), low))


def uniform_between(words: Array, shape: tuple[int, ...], low: Array, high: Array) -> Array:
    """Floats in [low, high); both are of one dtype and broadcast to the shape."""
    return uniform_from(words, shape, low, known(sub, high, low))


@boundary
def uniform(
    key: KeyLike,
    shape: int | Sequence[int] = (),
    dtype: DTypeLike | None = None,
    minval: ArrayLike = 0.0,
    maxval: ArrayLike = 1.0,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Floats that are uniform in [minval, maxval).

    Args:
      key: a single key, raw or typed.
      shape: the shape of the result.
      dtype: a floating dtype; float32 by default, float64 with 64-bit types.
      minval, maxval: numbers, or arrays that broadcast to `shape`. The result is differentiable in them.

    Raises:
      ValueError: the dtype is not floating; the bounds do not broadcast to the shape.

    >>> from pullback import random
    >>> random.uniform(random.key(0), (3,), minval=-1, maxval=1)
    Array([ 0.895334  ,  0.95715976, -0.33541703], dtype=float32)
    """
    words = words_of("uniform", key)
    dtype = float_dtype("uniform", dtype)
    if type(minval) in (int, float) and type(maxval) in (int, float) and minval == 0 and maxval == 1:
        return laid_out("uniform", unit_uniform(words, shape_of("uniform", shape), dtype), out_sharding)
    low, high = parameter("uniform", "minval", minval, dtype), parameter("uniform", "maxval", maxval, dtype)
    return laid_out(
        "uniform",
        uniform_between(words, sample_shape("uniform", shape, minval=low, maxval=high), low, high),
        out_sharding,
    )


# --- randint ---


def _clipped(x: Array, range_of: np.dtype, above: int = 0) -> Array:
    """Integers clipped to the range of a dtype, extended by `above` at its end."""
    target, own = dtypes.iinfo(range_of), dtypes.iinfo(x.dtype)
    low, high = max(int(target.min), int(own.min)), min(int(target.max) + above, int(own.max))
    return minimum(maximum(x, scalar(x, low)), scalar(x, high))


def _bound(name: str, x: ArrayLike, dtype: np.dtype) -> Array:
    info = dtypes.iinfo(dtype)
    if type(x) is int and int(info.min) <= x <= int(info.max):
        return scalar_like(x, dtype)  # the default integer may be too narrow for it
    x = number("randint", name, x)
    if dtypes.is_integer(x.dtype):
        return x
    if dtypes.is_complex(x.dtype):
        raise TypeError(f"randint: {name} must be an integer, got {x.aval.str_short()}")
    return convert_element_type(x, int)


def _range(low: Array, high: Array, dtype: np.dtype) -> tuple[Array, Array, Array]:
    """The least integer of [low, high) in a dtype, the number of integers (unsigned), and 2**bits modulo that number.

    An empty range counts as the one integer `low`. The count of the full range of a dtype wraps to 0; XLA's remainder
    by 0 is the dividend, so that all bits are kept.
    """
    limit = min(int(dtypes.iinfo(dtype).max), int(dtypes.iinfo(high.dtype).max))
    beyond = gt(high, scalar(high, limit))
    low, high = (convert_element_type(_clipped(x, dtype), dtype) for x in (low, high))
    unsigned = np.dtype(f"uint{dtype.itemsize * 8}")
    span = convert_element_type(sub(high, low), unsigned)
    span = select(le(high, low), scalar(span, 1), span)
    span = select(bitwise_and(beyond, gt(high, low)), add(span, scalar(span, 1)), span)
    half = rem(scalar(span, 1 << dtype.itemsize * 4), span)  # squared, as 2**bits itself does not fit
    return low, span, rem(mul(half, half), span)


def _sampled_range(low: Array, high: Array, dtype: np.dtype) -> tuple[Array, Array, Array]:
    """`_range` in the dtype that is drawn: integers of fewer than 32 bits are drawn as int32."""
    if dtype.itemsize >= 4:
        return _range(low, high, dtype)
    low = _clipped(convert_element_type(low, np.int32), dtype)
    return _range(low, _clipped(convert_element_type(high, np.int32), dtype, 1), np.dtype(np.int32))


@functools.lru_cache(maxsize=256)
def _constant_range(minval: int, maxval: int, dtype: np.dtype, x64: bool) -> tuple[Array, Array, Array]:
    return eagerly(_sampled_range, _bound("minval", minval, dtype), _bound("maxval", maxval, dtype), dtype)


@boundary
def randint(
    key: KeyLike,
    shape: int | Sequence[int],
    minval: ArrayLike,
    maxval: ArrayLike,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Integers that are uniform in [minval, maxval).

    Args:
      key: a single key, raw or typed.
      shape: the shape of the result.
      minval, maxval: integers, or integer arrays that broadcast to `shape`. Where maxval <= minval, the result is
        minval. Floats lose their fraction, as they do in JAX.
      dtype: an integer dtype; int32 by default, int64 with 64-bit types. A bound outside of its range is clipped to it.

    Raises:
      ValueError: the dtype is not an integer dtype; the bounds do not broadcast to the shape.
      TypeError: a bound is complex, or not a number.

    >>> from pullback import random
    >>> random.randint(random.key(0), (5,), 0, 10)
    Array([9, 0, 2, 3, 1], dtype=int32)
    """
    words = words_of("randint", key)
    dtype = integer_dtype("randint", dtype)
    if type(minval) is int and type(maxval) is int:
        shape = shape_of("randint", shape)
        low, span, multiplier = _constant_range(minval, maxval, dtype, config.enable_x64)
    else:
        low, high = _bound("minval", minval, dtype), _bound("maxval", maxval, dtype)
        shape = sample_shape("randint", shape, minval=low, maxval=high)
        low, span, multiplier = known(lambda low, high: _sampled_range(low, high, dtype), low, high)
    first, second = (random_bits(w, low.dtype.itemsize * 8, shape) for w in split_words(words))
    offset = rem(add(mul(rem(first, span), multiplier), rem(second, span)), span)
    return laid_out(
        "randint", convert_element_type(add(low, convert_element_type(offset, low.dtype)), dtype), out_sharding
    )


# --- normal ---


@functools.cache
def _open_interval(dtype: np.dtype) -> tuple[Array, Array, Array]:
    """The float after -1, its distance to 1, and the square root of 2."""
    one = np.ones((), dtype)
    low = np.nextafter(-one, np.zeros((), dtype)).astype(dtype)
    return lift(low[()]), lift((one - low).astype(dtype)[()]), lift(np.sqrt(2).astype(dtype))


def standard_normal(words: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """Normal floats of mean 0 and variance 1, by the inverse of the distribution function."""
    low, span, root = _open_interval(dtype)
    return mul_p.bind(root, erf_inv(uniform_from(words, shape, low, span)))


@boundary
def normal(
    key: KeyLike, shape: int | Sequence[int] = (), dtype: DTypeLike | None = None, *, out_sharding: Placement = None
) -> Array:
    """Normal numbers of mean 0 and variance 1, by the inverse of the distribution function.

    Args:
      key: a single key, raw or typed.
      shape: the shape of the result.
      dtype: a floating or complex dtype; float32 by default, float64 with 64-bit types. The parts of complex numbers
        have variance 1/2.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.normal(random.key(0), (3,)).round(3)
    Array([ 1.623,  2.025, -0.434], dtype=float32)
    """
    return laid_out("normal", normal_samples("normal", key, shape_of("normal", shape), dtype), out_sharding)


def normal_samples(function: str, key: KeyLike, shape: tuple[int, ...], dtype: DTypeLike | None) -> Array:
    """`normal` for another function, which errors name."""
    words = words_of(function, key)
    dtype = dtypes.requested_dtype(dtype, float)
    if not dtypes.is_complex(dtype):
        return standard_normal(words, shape, float_dtype(function, dtype))
    part = np.dtype(f"float{dtype.itemsize * 4}")
    re, im = (standard_normal(w, shape, part) for w in split_words(words))
    return make_complex(*(div(x, scalar(x, np.sqrt(2))) for x in (re, im)))


@boundary
def truncated_normal(
    key: KeyLike,
    lower: ArrayLike,
    upper: ArrayLike,
    shape: ShapeLike | None = None,
    dtype: DTypeLike | None = None,
    *,
    out_sharding: Placement = None,
) -> Array:
    """Normal numbers of mean 0 and variance 1, conditioned to be in (lower, upper), accurate in far tails too.

    Args:
      key: a single key, raw or typed.
      lower, upper: numbers, or arrays that broadcast to `shape`.
      shape: the shape of the result; by default that of the bounds.
      dtype: a floating dtype.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> x = random.truncated_normal(random.key(0), -1, 1, (1000,))
    >>> bool((abs(x) < 1).all())
    True
    """
    words = words_of("truncated_normal", key)
    dtype = float_dtype("truncated_normal", dtype)
    low = parameter("truncated_normal", "lower", lower, dtype)
    high = parameter("truncated_normal", "upper", upper, dtype)
    shape = sample_shape("truncated_normal", shape, lower=low, upper=high)
    root = _open_interval(dtype)[2]
    plain = low, high
    concrete = isinstance(low, ConcreteArray) and isinstance(high, ConcreteArray)
    some_far = not concrete or eagerly(far_out, low, high).value.any()
    if some_far:
        far = known(far_out, low, high)
        plain = known(
            lambda low, high, far: (select(far, scalar(low, 0), low), select(far, scalar(high, 1), high)),
            low,
            high,
            far,
        )
    ends = [known(lambda x: erf(div(x, root)), x) for x in plain]
    x = mul(root, erf_inv(uniform_between(words, shape, *ends)))
    if some_far:

        def in_tails(low, high, far):
            bounds = select(far, low, scalar(low, 8)), select(far, high, scalar(high, 9))
            return broadcast_to(tail_normal(unit_uniform(words, shape, dtype), *bounds), shape)

        def nowhere(low, high, far):
            return broadcast_to(scalar(low, 0), shape)

        # outside the branch, the compiler contracts operations as it does in JAX
        tails = in_tails(low, high, far) if concrete else cond(pnp.any(far), in_tails, nowhere, low, high, far)
        x = select(far, tails, x)
    inner_low, inner_high = (
        known(lambda x, to=to: nextafter(stop_gradient(x), scalar(x, to)), x)
        for x, to in ((low, np.inf), (high, -np.inf))
    )
    return laid_out("truncated_normal", minimum(maximum(x, inner_low), inner_high), out_sharding)


# --- Bernoulli ---


@boundary
def bernoulli(
    key: KeyLike,
    p: ArrayLike = 0.5,
    shape: ShapeLike | None = None,
    mode: str = "low",
    *,
    out_sharding: Placement = None,
) -> Array:
    """True with probability `p`.

    Args:
      key: a single key, raw or typed.
      p: a floating-point number, or an array.
      shape: the shape of the result; by default that of `p`, which must broadcast to it.
      mode: "low", or "high" for twice the digits, if probabilities below 1e-7 matter.

    Raises:
      TypeError: p is not floating.

    >>> from pullback import random
    >>> random.bernoulli(random.key(0), 0.5, (4,))
    Array([False, False,  True,  True], dtype=bool)
    """
    words = words_of("bernoulli", key)
    if mode not in ("high", "low"):
        raise ValueError(f"bernoulli: mode must be 'high' or 'low', got {mode!r}")
    p = number("bernoulli", "p", p)
    if not dtypes.is_float(p.dtype):
        raise TypeError(f"bernoulli: p must be of a floating-point dtype, got {p.aval.str_short()}. Write 1. for 1.")
    shape = sample_shape("bernoulli", shape, p=p)
    if mode == "low":
        return laid_out("bernoulli", lt(unit_uniform(words, shape, p.dtype), p), out_sharding)
    coarse, fine = iterate(unit_uniform(words, (2, *shape), p.dtype))
    return laid_out(
        "bernoulli", lt(mul(fine, scalar(fine, 2.0 ** -dtypes.finfo(p.dtype).nmant)), sub(p, coarse)), out_sharding
    )


def sign_samples(words: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """1 or -1, in the given dtype."""
    half = dtypes.canonicalize_dtype(float)
    heads = lt(unit_uniform(words, shape, half), half.type(0.5))
    return select(heads, lift(np.array(1, dtype)[()]), lift(np.array(-1, dtype)[()]))


@boundary
def rademacher(
    key: KeyLike, shape: int | Sequence[int] = (), dtype: DTypeLike | None = None, *, out_sharding: Placement = None
) -> Array:
    """1 or -1, each with probability one half.

    Args:
      key: a single key, raw or typed.
      shape: the shape of the result.
      dtype: any signed dtype; int32 by default, int64 with 64-bit types.

    Raises: TypeError and ValueError as everywhere in `pullback.random`.

    >>> from pullback import random
    >>> random.rademacher(random.key(0), (4,))
    Array([-1, -1,  1,  1], dtype=int32)
    """
    words = words_of("rademacher", key)
    dtype = dtypes.requested_dtype(dtype, int)
    if dtypes.is_bool(dtype) or dtypes.is_unsigned(dtype):
        raise ValueError(f"rademacher: dtype must be one that holds -1, got {dtype.name}")
    return laid_out("rademacher", sign_samples(words, shape_of("rademacher", shape), dtype), out_sharding)
