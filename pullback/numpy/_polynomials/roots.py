"""Polynomials by their roots, the roots of polynomials, and polynomials fitted to samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback._core.typing import AnyValue
from pullback._higher_order.control.loops import scan
from pullback._ops.assemble import concatenate
from pullback._ops.compare import eq, lt, select
from pullback._ops.creation import full as filled
from pullback._ops.elementwise import div, mul, neg, sqrt, sub
from pullback._ops.families import scalar_like
from pullback._ops.lengths import squared_size
from pullback._ops.matrices import adjoint, product
from pullback._ops.shape import convert_element_type, reduce_sum, reshape
from pullback._ops.slicing import slice_in_dim
from pullback._ops.trig import complex_dtype
from pullback.numpy._creation.creation import asarray
from pullback.numpy._creation.grids import vander
from pullback.numpy._elementwise.promotion import as_operand, integer
from pullback.numpy._linalg.decompositions import eigvals, pinv
from pullback.numpy._linalg.least_squares import lstsq
from pullback.numpy._polynomials.arithmetic import coefficients, in_floating_point, known_values
from pullback.numpy._products.contractions import promoted
from pullback.numpy._reductions.reductions import argmin
from pullback.numpy._searching.sorting import argsort
from pullback.numpy._shape.manipulation import roll

__all__ = ["poly", "polyfit", "roots"]


@boundary
def poly(seq_of_zeros: ArrayLike) -> Array:
    """The coefficients of the polynomial with the given roots, the highest power, whose coefficient is 1, first.

    `seq_of_zeros`: a vector of n roots, or a square matrix, whose characteristic polynomial results: complex,
    whether or not its roots are. In floating point, n + 1 elements. ValueError for other shapes.

    >>> import pullback.numpy as pnp
    >>> print(pnp.poly(pnp.array([1, 2, 3])))
    [  1.  -6.  11.  -6.]
    """
    x = as_operand(seq_of_zeros, "poly", "seq_of_zeros")
    if x.aval.ndim == 2 and x.aval.shape[0] == x.aval.shape[1]:
        x = eigvals(x)
    elif x.aval.ndim > 1:
        raise ValueError(f"poly: seq_of_zeros must be a vector of roots or a square matrix, got shape {x.shape}")
    (x,) = in_floating_point(reshape(x, (x.aval.size,)))
    one, zero = filled((1,), 1, x.aval.dtype), filled((1,), 0, x.aval.dtype)
    if not x.aval.size:
        return one

    def times(p, root):
        # the product with the polynomial (1, -root), in the leading elements of a vector of the final length
        return sub(p, mul(root, concatenate([zero, slice_in_dim(p, 0, -1)], 0))), None

    start = concatenate([one, filled((x.aval.size,), 0, x.aval.dtype)], 0)
    return scan(times, start, x)[0]


@boundary
def roots(p: ArrayLike, *, strip_zeros: bool = True) -> Array:
    """The roots of a polynomial, given by a vector of coefficients, the highest power first: complex, in no order.

    They are the eigenvalues of the companion matrix. Zeros at both ends of `p` are left out first, and roots of 0 put
    in for those at the end; their number depends on the values, so that `strip_zeros` must be False under jit: then
    zeros of the highest powers give nan. The derivative exists where a root is simple. ValueError for more than one
    axis.

    >>> import pullback.numpy as pnp
    >>> print(pnp.sort(pnp.roots(pnp.array([1., -3., 2.])).real))
    [1. 2.]
    """
    (x,) = in_floating_point(coefficients("roots", p, "p"))
    dtype = complex_dtype(x.aval.dtype)
    at_zero = 0
    if strip_zeros:
        kept = np.flatnonzero(known_values("roots: to leave out zeros (strip_zeros=False does not)", x))
        first, last = (int(kept[0]), int(kept[-1])) if kept.size else (0, -1)
        at_zero = x.aval.size - 1 - last if kept.size else 0
        x = slice_in_dim(x, first, last + 1)
    if x.aval.size < 2:
        found = filled((0,), 0, dtype)
    else:
        found = eigvals(_companion(x)) if strip_zeros else _roots_with_zeros(x)
    return concatenate([filled((at_zero,), 0, dtype), found], 0) if at_zero else found


def _roots_with_zeros(x: Array) -> Array:
    """The roots, and nan for each coefficient of a highest power that is 0: these are moved to the end, where they are
    roots of 0, which go behind the others.
    """
    degree = x.aval.size - 1
    is_zero = eq(x, scalar_like(0, x.aval.dtype))
    nothing = is_zero.all()
    lacking = select(nothing, np.int32(degree + 1), argmin(is_zero))
    found = eigvals(_companion(roll(select(nothing, filled(x.aval.shape, 1, x.aval.dtype), x), neg(lacking))))
    found = found[argsort(eq(found, scalar_like(0, found.aval.dtype)))]
    kept = lt(asarray(np.arange(degree, dtype="int32")), sub(np.int32(degree), lacking))
    return select(kept, found, filled(found.aval.shape, complex("nan+nanj"), found.aval.dtype))


def _companion(x: Array) -> Array:
    """The matrix whose characteristic polynomial has these coefficients, up to a factor."""
    degree = x.aval.size - 1
    row = neg(div(slice_in_dim(x, 1, None), slice_in_dim(x, 0, 1)))
    return concatenate([reshape(row, (1, degree)), asarray(np.eye(degree - 1, degree), x.aval.dtype)], 0)


@boundary
def polyfit(
    x: ArrayLike,
    y: ArrayLike,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: ArrayLike | None = None,
    cov: bool | str = False,
) -> Any:
    """The polynomial of degree `deg` closest to samples, by least squares: its coefficients, the highest power first.

    `x`: m places; `y`: values `(m,)`, or `(m, k)` for k polynomials; `w`: weights `(m,)` of the differences. Singular
    values up to `rcond` times the largest count as 0, by default m times the precision. The result is `(deg + 1,)` or
    `(deg + 1, k)`. With `full` also what `numpy.linalg.lstsq` returns: sums of squares, rank, singular values, and
    `rcond`. With `cov` also the covariance matrix of the coefficients `(deg + 1, deg + 1)` (or `(..., k)`), scaled by
    the mean of squares unless `cov` is "unscaled". ValueError for other shapes, a negative degree, and fewer samples
    than the scaled covariance needs.

    >>> import pullback.numpy as pnp
    >>> p = pnp.polyfit(pnp.array([0., 1., 2., 3.]), pnp.array([1., 3., 5., 7.]), 1)
    >>> bool(pnp.allclose(p, pnp.array([2., 1.]), atol=1e-5))
    True
    """
    order = integer("polyfit", "deg", deg) + 1
    places, values = in_floating_point(*promoted("polyfit", _samples("x", x, 1), _samples("y", y, 2)))
    count = places.aval.size
    if order < 1:
        raise ValueError(f"polyfit: the degree must not be negative, got {deg}")
    if not count or values.aval.shape[0] != count:
        raise ValueError(
            f"polyfit: expected samples x (m,) and y (m,) or (m, k), m > 0, got {places.shape} and {values.shape}"
        )
    if cov not in (True, False, "unscaled"):
        raise ValueError(f"polyfit: cov must be a bool or 'unscaled', got {cov!r}")
    dtype = places.aval.dtype
    powers = vander(places, order)
    if w is not None:
        weights = convert_element_type(_samples("w", w, 1), dtype)
        if weights.aval.size != count:
            raise ValueError(f"polyfit: w must have shape ({count},), got {weights.shape}")
        powers = mul(powers, reshape(weights, (count, 1)))
        values = mul(values, reshape(weights, (count, 1) if values.aval.ndim == 2 else (count,)))
    # columns of length 1: the powers of large numbers differ much in size
    lengths = sqrt(reduce_sum(squared_size(powers), (0,)))
    lengths = select(lt(scalar_like(0, lengths.aval.dtype), lengths), lengths, scalar_like(1, lengths.aval.dtype))
    scale = convert_element_type(lengths, dtype)
    system = div(powers, reshape(scale, (1, order)))
    rcond = count * float(dtypes.finfo(dtype).eps) if rcond is None else rcond
    solution, residues, rank, s = lstsq(system, values, rcond)
    result = div(solution, reshape(scale, (order, 1) if values.aval.ndim == 2 else (order,)))
    if full:
        return result, residues, rank, s, asarray(rcond)
    if not cov:
        return result
    inverse = div(pinv(system, rcond), reshape(scale, (order, 1)))
    matrix = product(inverse, adjoint(inverse))
    if cov == "unscaled":
        return result, matrix
    if count <= order:
        raise ValueError(
            f"polyfit: the scaled covariance needs more samples than coefficients, got {count} and {order}; "
            "use cov='unscaled'"
        )
    means = div(residues, scalar_like(count - order, residues.aval.dtype))
    if values.aval.ndim == 1:
        return result, mul(matrix, convert_element_type(reshape(means, ()), dtype))
    return result, mul(reshape(matrix, (order, order, 1)), convert_element_type(means, dtype))


def _samples(argument: str, x: AnyValue, most: int) -> Array:
    values = as_operand(x, "polyfit", argument)
    if not 1 <= values.aval.ndim <= most:
        raise ValueError(
            f"polyfit: {argument} must have {'1 axis' if most == 1 else '1 or 2 axes'}, got {values.shape}"
        )
    return values
