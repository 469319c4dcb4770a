"""softmax, log_softmax and logsumexp along axes, of real numbers.

With R, the sum of exp(x - max(x)) over all elements but the largest, the probability of the largest is 1 / (1 + R),
and its logarithm -log1p(R). R is the sum over all elements minus 1, if that is 0.5 or more; if it is less, the
largest element dominates, and the others are summed without it.

Values needed by the derivative are computed together with the result, so that the exponentials are computed once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._core.types import kept_shape
from pullback._core.zeros import Zero, zero_of
from pullback._ops.elementwise import add, div, exp, log1p, max_p, min_p, mul, neg, scalar, sub
from pullback._ops.reduce import reduce_max_p
from pullback._ops.rounding import floor
from pullback._ops.shape import reduce_sum_p, reduced_type, reshape
from pullback._ops.softmax_slope import host_sum, kept_sum, lowered, push_p
from pullback._ops.trig import abs_p

_SINGLE = np.dtype(np.float32)

# --- values, and the values that derivatives need, as functions of arrays ---


def _largest(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """The largest element, and the shift subtracted from all: that, or the largest number where it is infinite."""
    largest = reshape(reduce_max_p.bind(x, axes=axes), kept_shape(x.aval.shape, axes))
    end = float(dtypes.finfo(x.aval.dtype).max)
    # as XLA's loops over rows do not fuse a `clamp` either, which it makes of a minimum
    below = neg(max_p.bind(neg(largest), scalar(x, -end)))
    return largest, max_p.bind(below, scalar(x, -end))


def _sums(x: Array, shift: Array, axes: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
    """The exponentials; 1 where they are near 1, else 0; 1 or 0 for whether the largest dominates; and R.

    The exponential of the largest is 1, or next to it: XLA may compute `x` once for the maximum and again, with another
    rounding, for the difference. If the largest dominates, the total is below 1.5, all others are below 0.75. All this
    is arithmetic, without selection by a bool: see softmax_slope.py.
    """
    terms = exp(sub(x, shift))
    one, zero = scalar(x, 1), scalar(x, 0)
    ones = min_p.bind(floor(add(terms, scalar(x, 0.25))), one)
    total = kept_sum(terms, axes)
    # the total is 0 in a row without a finite number
    alone = max_p.bind(sub(one, abs_p.bind(sub(floor(add(total, scalar(x, 0.5))), one))), zero)
    others = kept_sum(sub(terms, ones), axes)
    # with infinities, nothing is known about the others
    rest = add(mul(alone, min_p.bind(others, one)), mul(sub(one, alone), sub(total, one)))
    return terms, ones, alone, rest


def _log_total(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """The logarithm of the sum of the exponentials, as two numbers to be added."""
    shift = _largest(x, axes)[1]
    return shift, log1p(_sums(x, shift, axes)[-1])


def _softmax(x: Array, axes: tuple[int, ...], empty: bool) -> list[Array]:
    if empty:
        return [_shares(x, axes)[0]]
    terms = exp(sub(x, _largest(x, axes)[0]))
    return [div(terms, kept_sum(terms, axes))]


def _log_softmax(x: Array, axes: tuple[int, ...]) -> list[Array]:
    shift, log = _log_total(x, axes)
    return [sub(sub(x, shift), log)]


def _logsumexp(x: Array, axes: tuple[int, ...]) -> list[Array]:
    return [reshape(add(*_log_total(x, axes)), reduced_type("logsumexp", x.aval, axes).shape)]


def _shares(x: Array, axes: tuple[int, ...]) -> list[Array]:
    """The softmax, and `q` and `marks` as defined in softmax_slope.py."""
    shift = _largest(x, axes)[1]
    terms, ones, alone, rest = _sums(x, shift, axes)
    total = max_p.bind(add(rest, scalar(x, 1)), scalar(x, 1))
    marks = mul(ones, alone)
    q = div(sub(sub(terms, marks), mul(marks, rest)), total)
    return [div(terms, total), q, marks]


def _log_softmax_parts(x: Array, axes: tuple[int, ...]) -> list[Array]:
    return [*_log_softmax(x, axes), *_shares(x, axes)[1:]]


def _logsumexp_parts(x: Array, axes: tuple[int, ...]) -> list[Array]:
    return [*_logsumexp(x, axes), _shares(x, axes)[0]]


# --- the same on the host, in float32 at least ---


def _host(x, axes):
    """The shift, the largest element, the exponentials, and R."""
    x = x.astype(_SINGLE) if x.dtype.itemsize < 4 else x
    largest = np.max(x, axes, keepdims=True, initial=-np.inf) if x.size == 0 else np.max(x, axes, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, x.dtype.type(0))
    terms = np.subtract(x, shift, out=np.empty_like(x))
    np.exp(terms, out=terms)
    total = host_sum(terms, axes)
    rest = total - x.dtype.type(1)
    alone = (total >= 1) & (total < 2)
    if alone.any():
        largest_ones = x == shift
        np.copyto(terms, 0, where=largest_ones)
        rest = np.where(alone, host_sum(terms, axes), rest)
        np.copyto(terms, 1, where=largest_ones)
    return x, shift, largest, terms, rest


def _host_softmax(x, axes):
    x, _, _, terms, rest = _host(x, axes)
    return np.divide(terms, np.where(rest == -1, x.dtype.type(1), rest + x.dtype.type(1)), out=terms)


def _softmax_kernel(x, axes, empty):
    if empty:
        return _host_softmax(x, axes)
    x = x.astype(_SINGLE) if x.dtype.itemsize < 4 else x
    largest = np.max(x, axes, keepdims=True, initial=-np.inf) if x.size == 0 else np.max(x, axes, keepdims=True)
    terms = np.subtract(x, largest, out=np.empty_like(x))
    np.exp(terms, out=terms)
    return np.divide(terms, host_sum(terms, axes), out=terms)


def _host_log(largest, rest):
    return np.where(largest == np.inf, largest, np.log1p(rest))


def _log_softmax_kernel(x, axes):
    x, shift, largest, _, rest = _host(x, axes)
    out = np.subtract(x, shift, out=np.empty_like(x))
    return np.subtract(out, _host_log(largest, rest), out=out)


def _logsumexp_kernel(x, axes):
    _, shift, largest, _, rest = _host(x, axes)
    return np.squeeze(shift + _host_log(largest, rest), axes)[()]


def _host_shares(x, shift, terms, rest):
    one = x.dtype.type(1)
    total = np.where(rest == -1, one, rest + one)
    p = np.divide(terms, total, out=terms)
    alone = (rest >= 0) & (rest < 1)
    q, marks = p, np.broadcast_to(x.dtype.type(0), x.shape)
    if alone.any():
        marks = (x == np.where(alone, shift, x.dtype.type(np.nan))).astype(x.dtype)
        q = np.where(marks, -(rest / total), p)
    infinite = rest == np.inf
    # next to an infinity no share is known: in compiled code it is R times a mark
    return p, np.where(infinite, one * np.nan, q) if infinite.any() else q, marks


def _log_softmax_parts_kernel(x, axes):
    x, shift, largest, terms, rest = _host(x, axes)
    y = np.subtract(x, shift, out=np.empty_like(x))
    np.subtract(y, _host_log(largest, rest), out=y)
    return [y, *_host_shares(x, shift, terms, rest)[1:]]


def _logsumexp_parts_kernel(x, axes):
    x, shift, largest, terms, rest = _host(x, axes)
    y = np.squeeze(shift + _host_log(largest, rest), axes)[()]
    return [y, _host_shares(x, shift, terms, rest)[0]]


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
