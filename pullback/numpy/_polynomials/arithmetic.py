"""Polynomials as vectors of coefficients, the highest power first: values, arithmetic, derivatives and integrals."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike, NestedArrayLike
from pullback._core.errors import boundary
from pullback._core.trace import Tracer
from pullback._higher_order.control.loops import scan
from pullback._ops import shape as shape_ops
from pullback._ops.accumulate import accumulator
from pullback._ops.assemble import concatenate
from pullback._ops.creation import full
from pullback._ops.elementwise import add, div, mul, sub
from pullback._ops.slicing import index_in_dim, slice_in_dim
from pullback.numpy._creation.creation import as_array, asarray
from pullback.numpy._elementwise.promotion import as_operand, integer
from pullback.numpy._products.contractions import promoted
from pullback.numpy._products.convolution import convolve

__all__ = ["polyadd", "polyder", "polydiv", "polyint", "polymul", "polysub", "polyval"]


# --- values ---


@boundary
def polyval(p: ArrayLike, x: ArrayLike, *, unroll: int = 16) -> Array:
    """The polynomial whose coefficients are along the first axis of `p`, the highest first, at `x`.

    ValueError for coefficients without an axis.

    >>> import pullback.numpy as pnp
    >>> pnp.polyval(pnp.array([3., 0., 1.]), 5.)
    Array(76., dtype=float32)
    """
    coefficients, place = _polynomial(p, x)
    shape = np.broadcast_shapes(coefficients.aval.shape[1:], place.aval.shape)
    total = shape_ops.full(shape, 0, place.aval.dtype)
    for k in range(coefficients.aval.shape[0]):
        c = shape_ops.reshape(slice_in_dim(coefficients, k, k + 1), coefficients.aval.shape[1:])
        total = shape_ops.broadcast_to(c, shape) if k == 0 else add(mul(total, place), c)
    return total


def _polynomial(p: NestedArrayLike, x: NestedArrayLike) -> tuple[Array, Array]:
    a, b = as_array("polyval", p), as_array("polyval", x)
    if a.aval.ndim == 0:
        raise ValueError("polyval: the coefficients must lie along an axis, got a 0-d array")
    kind, _ = dtypes.join(a.aval.dtype, a.aval.weak_type, b.aval.dtype, b.aval.weak_type)
    return shape_ops.convert_element_type(a, kind), shape_ops.convert_element_type(b, kind)


# --- sums and products ---


def coefficients(name: str, p: ArrayLike, argument: str) -> Array:
    """A vector of coefficients; a number is the constant polynomial."""
    x = as_operand(p, name, argument)
    if x.aval.ndim > 1:
        raise ValueError(f"{name}: {argument} must be a vector of coefficients, got shape {x.shape}")
    return shape_ops.reshape(x, (x.aval.size,))


def in_floating_point(*xs: Array) -> list[Array]:
    """Arrays of one dtype in the inexact dtype that it is computed in."""
    dtype, weak = dtypes.to_inexact(xs[0].aval.dtype, xs[0].aval.weak_type)
    return [shape_ops.convert_element_type(x, dtype, weak) for x in xs]


def _padded(x: Array, length: int) -> Array:
    """Coefficients with zeros for the powers up to a length."""
    missing = length - len(x)
    return concatenate([full((missing, *x.aval.shape[1:]), 0, x.aval.dtype), x], 0) if missing > 0 else x


def _aligned(name: str, a1: ArrayLike, a2: ArrayLike) -> list[Array]:
    """Both with zeros for the powers that the other has alone, which go along the first axis."""
    operands = [as_operand(a1, name, "a1"), as_operand(a2, name, "a2")]
    x, y = promoted(name, *(shape_ops.reshape(p, (1,)) if p.aval.ndim == 0 else p for p in operands))
    length = max(len(x), len(y))
    if x.aval.ndim == y.aval.ndim == 1:
        return [_padded(x, length), _padded(y, length)]
    long, short = (x, y) if len(x) == length else (y, x)
    try:
        short = shape_ops.broadcast_to(short, (len(short), *long.aval.shape[1:]))
    except ValueError:
        raise ValueError(
            f"{name}: the shapes {x.aval.shape} and {y.aval.shape} do not align: the one with fewer coefficients, "
            "which go along the first axis, must broadcast to the other's last ones"
        ) from None
    return [_padded(long, length), _padded(short, length)] if long is x else [_padded(short, length), long]


@boundary
def polyadd(a1: ArrayLike, a2: ArrayLike) -> Array:
    """The sum of two polynomials, given by vectors of coefficients, the highest power first.

    The result is as long as the longer one. Dtypes are promoted; a number is a constant polynomial. Further axes are
    those of several polynomials: the one with fewer coefficients must broadcast to the other's. ValueError otherwise.

    >>> import pullback.numpy as pnp
    >>> print(pnp.polyadd(pnp.array([1, 2]), pnp.array([9, 5, 4])))
    [9 6 6]
    """
    return add(*_aligned("polyadd", a1, a2))


@boundary
def polysub(a1: ArrayLike, a2: ArrayLike) -> Array:
    """The difference of two polynomials, given by vectors of coefficients, the highest power first.

    The result is as long as the longer one. Dtypes are promoted; a number is a constant polynomial. Further axes are
    those of several polynomials: the one with fewer coefficients must broadcast to the other's. ValueError otherwise.

    >>> import pullback.numpy as pnp
    >>> print(pnp.polysub(pnp.array([2, 10, -2]), pnp.array([3, 10, -4])))
    [-1  0  2]
    """
    return sub(*_aligned("polysub", a1, a2))


def known_values(purpose: str, x: Array) -> np.ndarray:
    """The values of an array that decide about a shape; under jit an error that names the purpose."""
    return (x._concrete(purpose) if isinstance(x, Tracer) else x).value  # type: ignore[attr-defined]


def _without_leading_zeros(x: Array) -> Array:
    """Coefficients from the first that is not zero; not under jit."""
    found = np.flatnonzero(known_values("polynomials: to leave out zeros (trim_leading_zeros=False does not)", x))
    return slice_in_dim(x, int(found[0]) if found.size else x.aval.size, None)


@boundary
def polymul(a1: ArrayLike, a2: ArrayLike, *, trim_leading_zeros: bool = False) -> Array:
    """The product of two polynomials, given by vectors of coefficients, the highest power first.

    The result has one element less than both together, and is in floating point. With `trim_leading_zeros`, which is
    not possible under jit, zeros of the highest powers are first left out, as NumPy does. ValueError for more than one
    axis.

    >>> import pullback.numpy as pnp
    >>> print(pnp.polymul(pnp.array([1, 2]), pnp.array([3, 4])))
    [ 3. 10.  8.]
    """
    x, y = in_floating_point(*promoted("polymul", coefficients("polymul", a1, "a1"), coefficients("polymul", a2, "a2")))
    if trim_leading_zeros:
        x, y = (_without_leading_zeros(p) for p in (x, y))
    # a polynomial without coefficients is zero
    x, y = (p if p.aval.size else _padded(p, 1) for p in (x, y))
    return convolve(x, y)


@boundary
def polydiv(u: ArrayLike, v: ArrayLike, *, trim_leading_zeros: bool = False) -> tuple[Array, Array]:
    """The quotient and the remainder of two polynomials, given by vectors of coefficients, the highest power first.

    In floating point. The remainder has the length of `u`, with zeros for the higher powers, unless
    `trim_leading_zeros` leaves them out, which is not possible under jit. The first coefficient of `v` must not be
    zero, or the results are inf and nan. ValueError for more than one axis and for a `v` without coefficients.

    >>> import pullback.numpy as pnp
    >>> quotient, remainder = pnp.polydiv(pnp.array([1., 5., 7.]), pnp.array([1., 2.]))
    >>> print(quotient, remainder)
    [1. 3.] [0. 0. 1.]
    """
    x, y = in_floating_point(*promoted("polydiv", coefficients("polydiv", u, "u"), coefficients("polydiv", v, "v")))
    if not y.aval.size:
        raise ValueError("polydiv: v must have a coefficient, got an empty vector")
    m, n = x.aval.size, y.aval.size
    if m < n:
        quotient, remainder = full((1,), 0, x.aval.dtype), x
    else:
        leading, rest = index_in_dim(y, 0, 0, keepdims=False), slice_in_dim(y, 1, None)

        def step(kept, following):
            # what is kept of u, one power further: its first element is what v is subtracted for
            window = concatenate([kept, shape_ops.reshape(following, (1,))], 0)
            factor = div(index_in_dim(window, 0, 0, keepdims=False), leading)
            return sub(slice_in_dim(window, 1, None), mul(factor, rest)), factor

        kept, quotient = scan(step, slice_in_dim(x, 0, n - 1), slice_in_dim(x, n - 1, None))
        remainder = _padded(kept, m)
    return quotient, _without_leading_zeros(remainder) if trim_leading_zeros else remainder


# --- derivatives and integrals ---


def _order(name: str, m: int) -> int:
    order = integer(name, "m", m)
    if order < 0:
        other = {"polyder": "polyint integrates", "polyint": "polyder differentiates"}[name]
        raise ValueError(f"{name}: the order m must not be negative, got {order}; {other}")
    return order


def _factors(powers: np.ndarray, order: int) -> np.ndarray:
    """The factors that `order` derivatives give to these powers of a variable."""
    return functools.reduce(np.multiply, [powers - float(k) for k in range(order)], np.ones(powers.shape))


def _by_factors(combine: Callable[[Array, Array], Array], x: Array, factors: np.ndarray) -> Array:
    """Coefficients times factors, or over them; half precision, which might not hold the factors, in float32."""
    wide = accumulator(x.aval.dtype)
    y = combine(shape_ops.convert_element_type(x, wide), asarray(factors, wide))
    return shape_ops.convert_element_type(y, x.aval.dtype, x.aval.weak_type)


@boundary
def polyder(p: ArrayLike, m: int = 1) -> Array:
    """The `m`-th derivative of a polynomial, given by a vector of coefficients, the highest power first.

    In floating point, shorter by `m`. ValueError for a negative `m` and for more than one axis.

    >>> import pullback.numpy as pnp
    >>> print(pnp.polyder(pnp.array([1., 2., 3.])))
    [2. 2.]
    """
    order = _order("polyder", m)
    (x,) = in_floating_point(coefficients("polyder", p, "p"))
    count = max(x.aval.size - order, 0)
    powers = np.arange(x.aval.size - 1, order - 1, -1)[:count]
    return _by_factors(mul, slice_in_dim(x, 0, count), _factors(powers, order))


@boundary
def polyint(p: ArrayLike, m: int = 1, k: ArrayLike | None = None) -> Array:
    """The `m`-th integral of a polynomial, given by a vector of coefficients, the highest power first.

    In floating point, longer by `m`. `k` holds the constants of the m integrations, in their order, or one for all; by
    default they are 0. ValueError for a negative `m`, for more than one axis and for another number of constants.

    >>> import pullback.numpy as pnp
    >>> print(pnp.polyint(pnp.array([2., 2.]), k=3.))
    [1. 2. 3.]
    """
    order = _order("polyint", m)
    x, constants = promoted(
        "polyint", coefficients("polyint", p, "p"), coefficients("polyint", 0 if k is None else k, "k")
    )
    x, constants = in_floating_point(x, constants)
    if constants.aval.size not in (1, order):
        raise ValueError(
            f"polyint: k must be one constant or {order}, one for each integration, got shape {constants.shape}"
        )
    if order == 0:
        return x
    constants = shape_ops.broadcast_to(constants, (order,))
    # the constant of the j-th integration is integrated by those that follow it
    later = np.arange(order - 1, -1, -1)
    powers = np.arange(x.aval.size - 1, -1, -1) + order
    divisors = [_factors(powers, order), np.cumprod([1.0, *range(1, order)])[later]]
    parts = [_by_factors(div, y, d) for y, d in zip((x, constants), divisors, strict=True)]
    return concatenate(parts, 0)
