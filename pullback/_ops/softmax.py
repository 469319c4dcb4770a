"""softmax, log_softmax and logsumexp along axes, of real numbers.

With R, the sum of exp(x - max(x)) over all elements but the largest, the probability of the largest is 1 / (1 + R),
and its logarithm -log1p(R). R is the total, the sum over all elements, minus 1, if that is 0.5 or more; if it is less,
the largest element dominates, and the others are summed without it.

Values needed by the derivative are computed together with the result, so that the exponentials are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray, at_least, kept_shape
from pullback._core.zeros import Zero, zero_of
from pullback._ops import compare as c
from pullback._ops.elementwise import add, div, exp, log1p, max_p, min_p, mul, neg, scalar, sub
from pullback._ops.expressions import emitted
from pullback._ops.reduce import largest_number_p
from pullback._ops.rounding import floor
from pullback._ops.shape import convert_element_type, reduce_sum_p, reduced_type, reshape
from pullback._ops.softmax_slope import apart, host_sum, kept_sum, lowered, push_p

if TYPE_CHECKING:
    from pullback._xla.lowering import Block, Value

_SINGLE = np.dtype(np.float32)
# elements, in all and of a row, from which on logsumexp looks whether any element dominates
_LARGE, _LONG = 10_000, 64

# --- values, and the values that derivatives need, as functions of arrays ---


def _largest(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """The largest element, and the shift subtracted from all: that, or the largest number where it is infinite."""
    largest = reshape(largest_number_p.bind(x, axes=axes), kept_shape(x.aval.shape, axes))
    end = float(dtypes.finfo(x.aval.dtype).max)
    # as XLA's loops over rows do not fuse a `clamp` either, which it makes of a minimum
    below = neg(max_p.bind(neg(largest), scalar(x, -end)))
    return largest, max_p.bind(below, scalar(x, -end))


def _rest(terms: Array, total: Array, axes: tuple[int, ...]) -> Array:
    """R from the exponentials and their total.

    If the largest dominates, the others are below 0.5, and its own term here is 1 - 1. Its exponential is 1, or next to
    it: XLA may compute an operand once for the maximum and again, with another rounding, for the difference. All this
    is arithmetic, without selection by a bool: see softmax_slope.py.
    """
    others = kept_sum(min_p.bind(terms, sub(scalar(terms, 1), terms)), axes)

    def line(slope: float, value: float) -> Array:
        return sub(mul(total, scalar(total, slope)), scalar(total, value))

    # a row without a finite number has a total of 0, and R is -1; the second minimum is the larger one from 1.5 on
    return max_p.bind(min_p.bind(others, line(4, 1)), min_p.bind(line(1, 1), line(2, 2.5)))


def _sums(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """The shift, the exponentials, and R."""
    shift = _largest(x, axes)[1]
    terms = exp(sub(x, shift))
    return shift, terms, _rest(terms, kept_sum(terms, axes), axes)


def _softmax(x: Array, axes: tuple[int, ...], empty: bool) -> list[Array]:
    if empty:
        return [_shares(*_sums(x, axes)[1:])[0]]
    terms = exp(sub(x, _largest(x, axes)[0]))
    return [div(terms, kept_sum(terms, axes))]


def _log_softmax(x: Array, axes: tuple[int, ...]) -> list[Array]:
    shift, _, rest = _sums(x, axes)
    return [sub(sub(x, shift), log1p(rest))]


def _logsumexp(x: Array, axes: tuple[int, ...]) -> list[Array]:
    shift, _, rest = _sums(x, axes)
    return [_of_rows(x.aval, axes, shift, rest)]


def _of_rows(x: ShapedArray, axes: tuple[int, ...], shift: Array, rest: Array) -> Array:
    return reshape(add(shift, log1p(rest)), reduced_type("logsumexp", x, axes).shape)


def _shares(terms: Array, rest: Array) -> list[Array]:
    """The softmax, and `q` and `marks` as defined in softmax_slope.py."""
    total = apart(max_p.bind(add(rest, scalar(rest, 1)), scalar(rest, 1)))
    p = div(terms, total)
    marks = floor(add(p, scalar(p, 1 / 3)))
    return [p, sub(sub(p, mul(marks, p)), mul(marks, div(rest, total))), marks]


def _log_softmax_parts(x: Array, axes: tuple[int, ...]) -> list[Array]:
    shift, terms, rest = _sums(x, axes)
    return [sub(sub(x, shift), log1p(rest)), *_shares(terms, rest)[1:]]


def _logsumexp_parts(x: Array, axes: tuple[int, ...]) -> list[Array]:
    shift, terms, rest = _sums(x, axes)
    return [_of_rows(x.aval, axes, shift, rest), _shares(terms, rest)[0]]


def _lower_logsumexp(ctx: Block, x: Value, axes: tuple[int, ...]) -> Value:
    """Of large arrays the others are summed only if an element dominates in a row: the total stores no exponentials.

    Without one, rows of 4096 x 1024 take 0.55 of the time, Sinkhorn's of 512 x 1000 half; with one, 1.1 times.
    In short rows one dominates nearly always: 8192 x 10 took 1.6 times as long. log_softmax and derivatives store
    something anyway, and gain nothing or lose.
    """
    dtype = x.aval.dtype
    large = at_least(x.aval.size, _LARGE) and at_least(math.prod(x.aval.shape[a] for a in axes), _LONG)
    if not ctx.module.is_local or not large:
        return lowered(_logsumexp)(ctx, x, axes=axes)

    def totals(x: Array) -> list[Array]:
        x = convert_element_type(x, _SINGLE) if dtype.itemsize < 4 else x
        shift = _largest(x, axes)[1]
        total = kept_sum(exp(sub(x, shift)), axes)
        dominated = convert_element_type(c.lt(total, scalar(total, 1.5)), np.dtype(np.int32))
        some = largest_number_p.bind(dominated, axes=tuple(range(x.aval.ndim)))
        return [some, x, shift, total, sub(total, scalar(total, 1))]

    def others(block: Block) -> list[Value]:
        return emitted(block, lambda x, shift, total: [_rest(exp(sub(x, shift)), total, axes)], x, shift, total)

    def finish(shift: Array, rest: Array) -> list[Array]:
        return [convert_element_type(_of_rows(x.aval, axes, shift, rest), dtype)]

    some, x, shift, total, rest = emitted(ctx, totals, x)
    (rest,) = ctx.choose(some, [rest.aval], [lambda block: [rest], others])
    return emitted(ctx, finish, shift, rest)[0]


# --- the same on the host, in float32 at least ---


def _host_largest(x, axes):
    if x.size == 0:
        return np.max(x, axes, keepdims=True, initial=-np.inf)
    return np.maximum.reduce(x, axes, keepdims=True)  # what `np.max` calls, 1.5 µs sooner


def _host(x, axes):
    """The operand in float32 at least, the shift, the exponentials, and R."""
    x = x.astype(_SINGLE) if x.dtype.itemsize < 4 else x
    largest = _host_largest(x, axes)
    shift = np.where(np.isfinite(largest), largest, x.dtype.type(0))
    terms = np.subtract(x, shift, out=np.empty_like(x))
    np.exp(terms, out=terms)
    total = host_sum(terms, axes)
    rest = total - x.dtype.type(1)
    alone = (total >= 1) & (total < 2)
    if np.count_nonzero(alone):
        largest_ones = x == shift
        np.copyto(terms, 0, where=largest_ones)
        rest = np.where(alone, host_sum(terms, axes), rest)
        np.copyto(terms, 1, where=largest_ones)
    return x, shift, terms, rest


def _host_softmax(x, axes):
    x, _, terms, rest = _host(x, axes)
    return np.divide(terms, _host_total(rest), out=terms)


def _softmax_kernel(x, axes, empty):
    if empty:
        return _host_softmax(x, axes)
    x = x.astype(_SINGLE) if x.dtype.itemsize < 4 else x
    largest = _host_largest(x, axes)
    terms = np.subtract(x, largest, out=np.empty_like(x))
    np.exp(terms, out=terms)
    return np.divide(terms, host_sum(terms, axes), out=terms)


def _log_softmax_kernel(x, axes):
    x, shift, _, rest = _host(x, axes)
    out = np.subtract(x, shift, out=np.empty_like(x))
    return np.subtract(out, np.log1p(rest), out=out)


def _logsumexp_kernel(x, axes):
    _, shift, _, rest = _host(x, axes)
    return (shift + np.log1p(rest)).squeeze(axes)[()]


def _host_total(rest):
    """The sum of the exponentials; 1 where it is 0."""
    one = rest.dtype.type(1)
    return np.where(rest == -1, one, rest + one)


def _host_shares(x, shift, terms, rest):
    one, total = x.dtype.type(1), _host_total(rest)
    p = np.divide(terms, total, out=terms)
    alone = (rest >= 0) & (rest < 1)
    q, marks = p, np.broadcast_to(x.dtype.type(0), x.shape)
    if np.count_nonzero(alone):
        marks = (x == np.where(alone, shift, x.dtype.type(np.nan))).astype(x.dtype)
        q = np.where(marks, -(rest / total), p)
    infinite = rest == np.inf
    # next to an infinity no share is known: in compiled code it is R times a mark
    return np.where(infinite, one * np.nan, q) if np.count_nonzero(infinite) else q, marks


def _log_softmax_parts_kernel(x, axes):
    x, shift, terms, rest = _host(x, axes)
    y = np.subtract(x, shift, out=np.empty_like(x))
    np.subtract(y, np.log1p(rest), out=y)
    return [y, *_host_shares(x, shift, terms, rest)]


def _logsumexp_parts_kernel(x, axes):
    x, shift, terms, rest = _host(x, axes)
    y = (shift + np.log1p(rest)).squeeze(axes)[()]
    return [y, np.divide(terms, _host_total(rest), out=terms)]


def _without_the_largest(p: Array, t: Array, axes: tuple[int, ...]) -> Array:
    """`t` minus its value at the element whose probability is near 1, if there is one.

    Arithmetic again: with a selection the gradient of attention, 8 x 256 x 8 x 64, takes 50 ms in place of 22.
    """
    marks = floor(add(p, scalar(p, 1 / 3)))
    return sub(t, kept_sum(mul(marks, t), axes))


def _softmax_tangent(t, x, axes, p):
    t = _without_the_largest(p, t, axes)
    return mul(p, sub(t, kept_sum(mul(p, t), axes)))


def _log_softmax_tangent(t, x, axes, y, q, marks):
    return push_p.bind(t, q, marks, axes=axes)


def _log_softmax_parts_tangents(t, x, axes, y, q, marks):
    s = push_p.bind(t, q, marks, axes=axes)
    return [s, mul(add(q, marks), s), zero_of(marks.aval)]


def _logsumexp_tangent(t, x, axes, y, p):
    return reduce_sum_p.bind(mul(p, t), axes=axes)


def _logsumexp_parts_tangents(t, x, axes, y, p):
    return [_logsumexp_tangent(t, x, axes, y, p), _softmax_tangent(t, x, axes, p)]


# --- the primitives ---


def _along_axes(name: str, kernel: Callable, function: Callable, keeps: bool, parts: int = 0) -> Primitive:
    """A function along axes; with `parts` further results of the operand's shape, which the derivative needs."""
    p = Primitive(name, multiple_results=parts > 0)

    def infer(x, axes, **params):
        reduced = reduced_type(name, x, axes)
        y = x if keeps else reduced
        return [y] + [x] * parts if parts else y

    def batch(trace, operands, dims, axes, **params):
        (x,), (b,) = operands, dims
        inner = tuple(a + (a >= b) for a in axes)
        first = b if keeps else b - sum(a < b for a in inner)
        return p.bind(x, axes=inner, **params), [first] + [b] * parts if parts else first

    p.abstract_eval, p.kernel, p.lower, p.batch = infer, kernel, lowered(function), batch
    return p


def _derivative_from_parts(p: Primitive, parts: Primitive, tangent: Callable, tangents: Callable) -> None:
    """Set the jvp rules of a function and of its parts: with a tangent, the parts are computed in its place."""

    def jvp(primals, ts, axes):
        (x,), (t,) = primals, ts
        if type(t) is Zero:
            y = p.bind(x, axes=axes)
            return y, zero_of(y.aval)
        outs = parts.bind(x, axes=axes)
        return outs[0], tangent(t, x, axes, *outs)

    def jvp_parts(primals, ts, axes):
        (x,), (t,) = primals, ts
        outs = parts.bind(x, axes=axes)
        return outs, [zero_of(y.aval) for y in outs] if type(t) is Zero else tangents(t, x, axes, *outs)

    p.jvp, parts.jvp = jvp, jvp_parts


def _softmax_jvp(primals, ts, axes, empty):
    (x,), (t,) = primals, ts
    p = softmax_p.bind(x, axes=axes, empty=empty)
    return p, zero_of(p.aval) if type(t) is Zero else _softmax_tangent(t, x, axes, p)


# `empty`: a row without a finite number gives zeros, not nan
softmax_p = _along_axes("softmax", _softmax_kernel, _softmax, True)
softmax_p.jvp = _softmax_jvp
log_softmax_p = _along_axes("log_softmax", _log_softmax_kernel, _log_softmax, True)
logsumexp_p = _along_axes("logsumexp", _logsumexp_kernel, _logsumexp, False)
logsumexp_p.lower = _lower_logsumexp
log_softmax_parts_p = _along_axes("log_softmax_parts", _log_softmax_parts_kernel, _log_softmax_parts, True, 2)
_derivative_from_parts(
    log_softmax_p,
    log_softmax_parts_p,
    _log_softmax_tangent,
    _log_softmax_parts_tangents,
)
logsumexp_parts_p = _along_axes("logsumexp_parts", _logsumexp_parts_kernel, _logsumexp_parts, False, 1)
_derivative_from_parts(
    logsumexp_p,
    logsumexp_parts_p,
    _logsumexp_tangent,
    _logsumexp_parts_tangents,
)
