"""softmax, log_softmax and logsumexp along axes, of real numbers.

With R, the sum of exp(x - max(x)) over all elements but the largest, the probability of the largest is 1 / (1 + R),
and its logarithm -log1p(R). The derivative of the softmax p in the direction t is p (t - sum(p t)). For a p near 1 this
is a difference of nearly equal numbers; but the softmax does not change when one number is added to all elements, so
that t may stand for its difference to the t of the largest, whose own share is then 0.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._core.zeros import Zero, zero_of
from pullback._ops import compare as c
from pullback._ops.elementwise import add, div, exp, floor, is_finite, log1p, mul, scalar, sub
from pullback._ops.expressions import emitted
from pullback._ops.reduce import kept_shape, reduce_max_p
from pullback._ops.shape import convert_element_type, reduce_sum_p, reduced_batch, reduced_type, reshape

_SINGLE = np.dtype(np.float32)


def _sum(x: Array, axes: tuple[int, ...]) -> Array:
    return reshape(reduce_sum_p.bind(x, axes=axes), kept_shape(x.aval.shape, axes))


def _largest(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """The largest element, and what is subtracted from all: that, or 0 where it is infinite."""
    largest = reshape(reduce_max_p.bind(x, axes=axes), kept_shape(x.aval.shape, axes))
    return largest, c.select(is_finite(largest), largest, scalar(x, 0))


def _rest(terms: Array, axes: tuple[int, ...]) -> Array:
    """The sum of the exponentials less the 1 of the largest."""
    ones = floor(terms)
    return add(_sum(sub(terms, ones), axes), sub(_sum(ones, axes), scalar(terms, 1)))


def _softmax(x: Array, axes: tuple[int, ...], empty: bool) -> Array:
    largest, shift = _largest(x, axes)
    if not empty:
        terms = exp(sub(x, largest))
        return div(terms, _sum(terms, axes))
    # the sums are those of the logarithm that this is the derivative of: in compiled code they are made once
    terms = exp(sub(x, shift))
    total = add(_rest(terms, axes), scalar(x, 1))
    total = c.select(c.eq(largest, scalar(x, np.inf)), largest, total)
    return div(terms, c.select(c.eq(total, scalar(total, 0)), scalar(total, 1), total))


def _log_total(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """The logarithm of the sum of the exponentials, as two numbers to be added."""
    largest, shift = _largest(x, axes)
    rest = _rest(exp(sub(x, shift)), axes)
    return shift, c.select(c.eq(largest, scalar(x, np.inf)), largest, log1p(rest))


def _log_softmax(x: Array, axes: tuple[int, ...]) -> Array:
    shift, rest = _log_total(x, axes)
    return sub(sub(x, shift), rest)


def _logsumexp(x: Array, axes: tuple[int, ...]) -> Array:
    total = add(*_log_total(x, axes))
    return reshape(total, reduced_type("logsumexp", x.aval, axes).shape)


def _host(x, axes):
    """The same on the host, in float32 at least: what is subtracted, the largest element, the exponentials."""
    x = x.astype(_SINGLE) if x.dtype.itemsize < 4 else x
    largest = np.max(x, axes, keepdims=True, initial=-np.inf) if x.size == 0 else np.max(x, axes, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, x.dtype.type(0))
    return x, shift, largest


def _host_sum(x, axes):
    return np.reshape(reduce_sum_p.rule("kernel")(x, axes), kept_shape(x.shape, axes))


def _softmax_kernel(x, axes, empty):
    x, shift, largest = _host(x, axes)
    terms = np.exp(x - (shift if empty else largest))
    total = _host_sum(terms, axes)
    return terms / (np.where(total == 0, x.dtype.type(1), total) if empty else total)


def _host_log_total(x, axes):
    x, shift, largest = _host(x, axes)
    terms = np.exp(x - shift)
    ones = np.floor(terms)
    rest = _host_sum(terms - ones, axes) + (_host_sum(ones, axes) - x.dtype.type(1))
    return x, shift, np.where(largest == np.inf, largest, np.log1p(rest))


def _log_softmax_kernel(x, axes):
    x, shift, rest = _host_log_total(x, axes)
    return x - shift - rest


def _logsumexp_kernel(x, axes):
    _, shift, rest = _host_log_total(x, axes)
    return np.squeeze(shift + rest, axes)[()]


def _lowered(function: Callable) -> Callable:
    """The lowering of a function of arrays, in float32 at least."""

    def lower(ctx, x, **params):
        dtype = x.aval.dtype

        def wide(x):
            if dtype.itemsize >= 4:
                return [function(x, **params)]
            return [convert_element_type(function(convert_element_type(x, _SINGLE), **params), dtype)]

        return emitted(ctx, wide, x)[0]

    return lower


def _without_the_largest(p: Array, t: Array, axes: tuple[int, ...]) -> Array:
    """`t` less its value at the element whose probability is near 1, if there is one."""
    return sub(t, _sum(c.select(c.gt(p, scalar(p, 2 / 3)), t, scalar(t, 0)), axes))


def _softmax_tangent(t, x, p, axes, empty):
    t = _without_the_largest(p, t, axes)
    return mul(p, sub(t, _sum(mul(p, t), axes)))


def _log_softmax_tangent(t, x, y, axes):
    p = softmax_p.bind(x, axes=axes, empty=True)
    t = _without_the_largest(p, t, axes)
    return sub(t, _sum(mul(p, t), axes))


def _logsumexp_tangent(t, x, y, axes):
    return reduce_sum_p.bind(mul(softmax_p.bind(x, axes=axes, empty=True), t), axes=axes)


def _along_axes(name: str, kernel: Callable, function: Callable, tangent: Callable, keeps: bool = True) -> Primitive:
    p = Primitive(name)

    def infer(x, axes, **params):
        reduced = reduced_type(name, x, axes)
        return x if keeps else reduced

    def jvp(primals, tangents, **params):
        (x,), (t,) = primals, tangents
        y = p.bind(x, **params)
        return y, zero_of(y.aval) if type(t) is Zero else tangent(t, x, y, **params)

    def batch(operands, dims, axes, **params):
        (x,), (b,) = operands, dims
        return p.bind(x, axes=tuple(a + (a >= b) for a in axes), **params), b

    p.abstract_eval, p.kernel, p.lower, p.jvp = infer, kernel, _lowered(function), jvp
    p.batch = batch if keeps else reduced_batch(p)
    return p


# `empty`: a row without a finite number gives zeros, not nan
softmax_p = _along_axes("softmax", _softmax_kernel, _softmax, _softmax_tangent)
log_softmax_p = _along_axes("log_softmax", _log_softmax_kernel, _log_softmax, _log_softmax_tangent)
logsumexp_p = _along_axes("logsumexp", _logsumexp_kernel, _logsumexp, _logsumexp_tangent, keeps=False)
