"""Functions along axes: softmax and its relatives, standardization, one-hot codes, and attention."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import Axis, DTypeLike
from pullback._ops import compare as c
from pullback._ops import elementwise as e
from pullback._ops import shape as s
from pullback._ops import softmax as softmaxes
from pullback._ops import trig
from pullback._ops.assemble import broadcasted_iota
from pullback._ops.elementwise import scalar
from pullback._ops.identity import stop_gradient
from pullback._ops.lengths import squared_size
from pullback._ops.reduce import lowest
from pullback._ops.rounding import is_finite_p
from pullback.numpy._elementwise.logic import truth
from pullback.numpy._elementwise.promotion import (
    INEXACT,
    NEVER_WEAK_INEXACT,
    Domain,
    as_operand,
    cast,
    check_shapes,
    common_dtype,
    promote_operands,
)
from pullback.numpy._elementwise.selection import where as choose
from pullback.numpy._reductions import moments
from pullback.numpy._reductions import reductions as r


def _operand(name: str, x: ArrayLike, domain: Domain = NEVER_WEAK_INEXACT) -> Array:
    return promote_operands(name, domain, x)[0]


def _largest(name: str, x: Array, axes: Axis) -> Array:
    return r.largest(name, x, axes, keepdims=True, initial=None if x.aval.size else -np.inf)


def _shift(name: str, x: Array, axes: Axis) -> Array:
    """The largest element along the axes as a constant, 0 where it is infinite; the axes stay, with length 1."""
    largest = _largest(name, x, axes)
    finite = is_finite_p.bind(largest)
    return stop_gradient(c.select_p.bind(finite, largest, scalar(largest, 0)))


def _mask(name: str, where: ArrayLike | None, x: Array) -> Array | None:
    if where is None:
        return None
    mask = truth(as_operand(where, name, 1))
    check_shapes(name, [x.aval, mask.aval])
    return mask


def _with_infinity(x: Array) -> Array:
    """The operand, in float32 if its format has no infinity."""
    has = dtypes.is_complex(x.aval.dtype) or np.isinf(lowest(x.aval.dtype))
    return x if has else s.convert_element_type(x, np.float32)


@boundary
def softmax(x: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None) -> Array:
    """`exp(x) / sum(exp(x))` along `axis`, without overflow.

    Args:
      x: an array of numbers, any shape.
      axis: the axis or axes that the result sums to 1 over; None for all.
      where: a mask that broadcasts against `x`; masked elements have no weight and get 0, even in a row of which
        nothing is left.

    Raises:
      ValueError for an axis out of bounds.

    >>> from pullback import nn
    >>> import pullback.numpy as pnp
    >>> print(nn.softmax(pnp.zeros(4)))
    [0.25 0.25 0.25 0.25]
    """
    x = _operand("softmax", x)
    mask, dtype = _mask("softmax", where, x), x.aval.dtype
    if mask is not None:
        x = choose(mask, _with_infinity(x), -np.inf)
    axes = r.axes_of("softmax", axis, x.aval.ndim)
    if dtypes.is_complex(x.aval.dtype):
        _, terms, rest = _complex_sums("softmax", x, axes)
        total = e.add_p.bind(rest, scalar(rest, 1))
        return e.div_p.bind(terms, total if mask is None else _without_zeros(total))
    return cast(softmaxes.softmax_p.bind(x, axes=axes, empty=mask is not None), dtype, False)


@boundary
def log_softmax(x: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None) -> Array:
    """`log(softmax(x))` along `axis`, accurate where the softmax is small; arguments as for `softmax`.

    Elements that `where` masks get -inf. For complex numbers it is `x - logsumexp(x)`, whose imaginary part need not be
    between -pi and pi. ValueError for an axis out of bounds.

    >>> from pullback import nn
    >>> import pullback.numpy as pnp
    >>> print(nn.log_softmax(pnp.array([0., -1000.])))
    [    0. -1000.]
    """
    x = _operand("log_softmax", x)
    mask = _mask("log_softmax", where, x)
    axes = r.axes_of("log_softmax", axis, x.aval.ndim)
    if mask is None:
        return _log_shares(x, axes)
    # once more at the end, for a row of which nothing is left
    return choose(mask, cast(_log_shares(choose(mask, _with_infinity(x), -np.inf), axes), x.aval.dtype, False), -np.inf)


def _log_shares(x: Array, axes: tuple[int, ...]) -> Array:
    if not dtypes.is_complex(x.aval.dtype):
        return softmaxes.log_softmax_p.bind(x, axes=axes)
    shift, _, rest = _complex_sums("log_softmax", x, axes)
    return e.sub_p.bind(e.sub_p.bind(x, shift), _log_of_one_and(rest))


def _complex_sums(name: str, x: Array, axes: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """The shift of complex numbers, the exponentials, and their sum minus 1; the axes are kept, with length 1.

    The element with the largest real part is subtracted: its exponential is 1, next to which nothing is lost.
    """
    real, imag = (stop_gradient(part.bind(x)) for part in (trig.real_p, trig.imag_p))
    largest = _largest(name, real, axes)
    imag = _largest(name, c.select(c.eq_p.bind(real, largest), imag, scalar(imag, -np.inf)), axes)
    shift = trig.complex_p.bind(*(c.select(is_finite_p.bind(largest), v, scalar(v, 0)) for v in (largest, imag)))
    terms = e.exp_p.bind(e.sub_p.bind(x, shift))
    ones = s.convert_element_type(c.eq_p.bind(x, shift), x.aval.dtype)
    others = r.summed(name, e.sub_p.bind(terms, ones), axes, keepdims=True)
    count = r.summed(name, ones, axes, keepdims=True)
    return shift, terms, e.add_p.bind(others, e.sub_p.bind(count, scalar(count, 1)))


def _without_zeros(total: Array) -> Array:
    """A sum, and 1 where it is over no elements."""
    return c.select(c.eq_p.bind(total, scalar(total, 0)), scalar(total, 1), total)


def _log_of_one_and(rest: Array) -> Array:
    """log(1 + rest); -inf where that is 0, with slope 0: an infinite one would be multiplied by zeros."""
    empty = c.eq_p.bind(rest, scalar(rest, -1))
    value = e.log1p_p.bind(c.select(empty, scalar(rest, 0), rest))
    return c.select(empty, scalar(value, -np.inf), value)


@overload
def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: Literal[False] = False,
    where: ArrayLike | None = None,
) -> Array: ...
@overload
def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    *,
    return_sign: Literal[True],
    where: ArrayLike | None = None,
) -> tuple[Array, Array]: ...
@overload
def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: ArrayLike | None = None,
) -> Any: ...
@boundary
def logsumexp(
    a: ArrayLike,
    axis: Axis = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
    where: ArrayLike | None = None,
) -> Any:
    """`log(sum(b * exp(a)))` along `axis`, without overflow.

    A row of -inf gives -inf, with gradient 0. With `return_sign`, the result is (log of the absolute value, sign);
    without it, a negative sum gives nan.

    Args:
      a: an array of any shape; complex numbers too, without `return_sign`.
      axis: the axis or axes to reduce; None for all.
      b: weights that broadcast against `a`; 0 removes an element from the sum, even an infinite one.
      keepdims: leave the reduced axes, with length 1.
      return_sign: return the sign too.
      where: a mask that broadcasts against `a`.

    Raises:
      ValueError for an axis out of bounds.

    >>> from pullback import nn
    >>> import pullback.numpy as pnp
    >>> print(nn.logsumexp(pnp.array([1000., 0.])))
    1000.0
    """
    return _log_sum_exp("logsumexp", a, axis, b, keepdims, return_sign, where)


def _log_sum_exp(
    name: str, a: ArrayLike, axis: Axis, b: ArrayLike | None, keepdims: bool, return_sign: bool, where: ArrayLike | None
) -> Any:
    if b is None:
        a = _operand(name, a)
    else:
        a, b = promote_operands(name, INEXACT, a, b)
    mask = _mask(name, where, a)
    if b is not None:
        used = truth(b)
        mask = used if mask is None else c.and_p.bind(mask, used)
    dtype = a.aval.dtype
    is_complex = dtypes.is_complex(dtype)
    if mask is not None and (wide := _with_infinity(a)) is not a:
        b = None if b is None else s.convert_element_type(b, np.float32)
        found = _log_sum_exp(name, wide, axis, b, keepdims, return_sign, mask)
        return tuple(cast(x, dtype, False) for x in found) if return_sign else cast(found, dtype, False)
    if mask is not None:
        a = choose(mask, a, -np.inf)
    if b is None and not is_complex and not return_sign:
        axes = r.axes_of(name, axis, a.aval.ndim)
        total = softmaxes.logsumexp_p.bind(a, axes=axes)
        return s.expand_dims(total, axes) if keepdims else total
    if b is None and not return_sign:
        shift, _, rest = _complex_sums(name, a, r.axes_of(name, axis, a.aval.ndim))
        total = e.add_p.bind(shift, _log_of_one_and(rest))
        return total if keepdims else s.squeeze(total, r.axes_of(name, axis, a.aval.ndim))
    shift = _shift(name, trig.real_p.bind(a) if is_complex else a, axis)
    terms = e.exp_p.bind(e.sub_p.bind(a, cast(shift, dtype, False)))
    if b is not None:
        terms = e.mul_p.bind(terms, b)
    total = r.summed(name, terms, axis, keepdims=keepdims)
    shift = shift if keepdims else s.reshape(shift, total.aval.shape)
    if is_complex:
        if return_sign:
            size = trig.abs_p.bind(total)
            return _log_of_sum(size, shift), trig.sign_p.bind(total)
        return e.add_p.bind(e.log_p.bind(total), cast(shift, dtype, False))
    if return_sign:
        return _log_of_sum(trig.abs_p.bind(total), shift), trig.sign_p.bind(total)
    return _log_of_sum(total, shift)


def _log_of_sum(total: Array, shift: Array) -> Array:
    # the logarithm of 0 is a constant here: its infinite slope would be multiplied by the zero slopes of exp(-inf)
    zero = c.eq_p.bind(total, scalar(total, 0))
    value = e.add_p.bind(e.log_p.bind(c.select_p.bind(zero, scalar(total, 1), total)), shift)
    return c.select_p.bind(zero, scalar(value, -np.inf), value)


@boundary
def logmeanexp(x: ArrayLike, axis: Axis = None, where: ArrayLike | None = None, keepdims: bool = False) -> Array:
    """`log(mean(exp(x)))` along `axis`, without overflow. ValueError for an axis out of bounds.

    >>> from pullback import nn
    >>> import pullback.numpy as pnp
    >>> print(nn.logmeanexp(pnp.array([1000., 1000.])))
    1000.0
    """
    x = _operand("logmeanexp", x)
    total = _log_sum_exp("logmeanexp", x, axis, None, keepdims, False, where)
    axes = r.axes_of("logmeanexp", axis, x.aval.ndim)
    count = moments.count_of("logmeanexp", x.aval.shape, axes, keepdims, where, x.aval.dtype)
    return e.sub_p.bind(total, e.log_p.bind(count))


@boundary
def standardize(
    x: ArrayLike,
    axis: Axis = -1,
    mean: ArrayLike | None = None,
    variance: ArrayLike | None = None,
    epsilon: ArrayLike = 1e-5,
    where: ArrayLike | None = None,
    *,
    algorithm: str = "fast",
) -> Array:
    """`(x - mean) / sqrt(variance + epsilon)`, by default with the mean and variance of `x` along `axis`.

    `algorithm` is "fast" or "stable"; both are the stable one here. ValueError for another, and for an axis out of
    bounds.

    >>> from pullback import nn
    >>> import pullback.numpy as pnp
    >>> print(nn.standardize(pnp.array([-1., 1.]), epsilon=0.))
    [-1.  1.]
    """
    if algorithm not in ("fast", "stable"):
        raise ValueError(f"standardize: algorithm must be 'fast' or 'stable', got {algorithm!r}")
    x = _operand("standardize", x, INEXACT)
    if mean is None:
        mean = moments.averaged("standardize", x, axis, keepdims=True, where=where)
    if variance is None:
        distance = x - mean
        variance = moments.averaged("standardize", squared_size(distance), axis, keepdims=True, where=where)
    variance = as_operand(variance, "standardize", 3) + epsilon
    # XLA fuses the derivative of a quotient into one loop: with a factor of 1 / sqrt it took three times as long
    return (x - mean) / e.sqrt_p.bind(cast(variance, *common_dtype("standardize", INEXACT, [variance.aval])))


@boundary
def one_hot(x: ArrayLike, num_classes: int, *, dtype: DTypeLike | None = None, axis: int = -1) -> Array:
    """The one-hot codes of integers: 1 at position `x` of a new axis of length `num_classes`, else 0.

    An integer outside of [0, num_classes) is coded by zeros. The result has the shape of `x` with the new axis at
    `axis`, and dtype float32 unless `dtype` says otherwise. TypeError for a `num_classes` that is not an integer,
    ValueError for a negative one and for an axis out of bounds.

    >>> from pullback import nn
    >>> import pullback.numpy as pnp
    >>> print(nn.one_hot(pnp.array([0, 2]), 3))
    [[1. 0. 0.]
     [0. 0. 1.]]
    """
    x = as_operand(x, "one_hot", 0)
    if not isinstance(num_classes, (int, np.integer)):
        raise TypeError(
            f"one_hot: num_classes must be a Python integer, got {num_classes!r}: it is the length of an "
            "axis, so it cannot depend on traced data"
        )
    if num_classes < 0:
        raise ValueError(f"one_hot: num_classes must not be negative, got {num_classes}")
    dtype = dtypes.requested_dtype(dtype, float)
    rank = x.aval.ndim + 1
    at = r.one_axis("one_hot", axis, rank)
    x = s.expand_dims(x, (at,))
    if x.aval.dtype.itemsize < 4:
        x = s.convert_element_type(x, np.int32)  # a narrow dtype might not hold the number of classes
    classes = broadcasted_iota(x.aval.dtype, tuple(int(num_classes) if i == at else 1 for i in range(rank)), at)
    return s.convert_element_type(c.eq_p.bind(x, classes), dtype)


__all__ = ["log_softmax", "logmeanexp", "logsumexp", "one_hot", "softmax", "standardize"]
