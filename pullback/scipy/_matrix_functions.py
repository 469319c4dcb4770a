"""Functions of matrices: the exponential and its derivative along a direction."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import pullback.numpy as pnp
from pullback._api.derivatives import jvp
from pullback._core.array import Array, ArrayLike, ConcreteArray
from pullback._core.errors import boundary
from pullback._higher_order.control.while_loop import while_loop
from pullback._ops import bases, compare, elementwise, rounding
from pullback._ops import lu as lu_ops
from pullback._ops.families import scalar_like
from pullback._ops.identity import stop_gradient_p
from pullback._ops.matrices import identity, product
from pullback._ops.reduce import reduce_max
from pullback._ops.shape import convert_element_type, reduce_sum, reshape
from pullback._ops.triangular_solve import triangular_solve
from pullback._ops.trig import abs as magnitude
from pullback._ops.trig import real_dtype
from pullback.numpy._elementwise.promotion import integer
from pullback.numpy._linalg.solving import square_matrices

__all__ = ["expm", "expm_frechet"]

# the degree of the Padé approximant, and the norm up to which it and its derivative are exact to rounding. Higham, The
# scaling and squaring method for the matrix exponential revisited (2005); Al-Mohy and Higham, Computing the Fréchet
# derivative of the matrix exponential (2009), table 6.1.
_DEGREES = {np.dtype(np.float32): (7, 3.0), np.dtype(np.float64): (13, 4.74)}


@boundary
def expm(A: ArrayLike, *, upper_triangular: bool = False, max_squarings: int = 16) -> Array:
    """The exponentials of square matrices `(..., n, n)`, by a Padé approximant, scaling and squaring.

    A matrix that would have to be halved more than `max_squarings` times gives nan. With `upper_triangular` the
    matrices must be so, and save the LU decomposition. float32, float64 or complex; integers and bools are converted.
    Differentiable to any order. Raises: ValueError for other shapes and a negative `max_squarings`, TypeError for other
    dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.expm(pnp.array([[0., 1.], [0., 0.]])))
    [[1. 1.]
     [0. 1.]]
    """
    x = square_matrices("expm", A, "A")
    limit = integer("expm", "max_squarings", max_squarings)
    if limit < 0:
        raise ValueError(f"expm: max_squarings must be at least 0, got {limit}")
    if x.aval.size == 0:
        return x
    degree, reach = _DEGREES[real_dtype(x.aval.dtype)]
    rank = x.aval.ndim
    norm = reduce_max(reduce_sum(magnitude(stop_gradient_p.bind(x)), (rank - 2,)), (rank - 2,))
    halvings = rounding.ceil(elementwise.log(norm / reach) / math.log(2))
    halvings = compare.select(compare.gt(norm, reach), halvings, scalar_like(0, norm.aval.dtype))
    enough = compare.le(halvings, scalar_like(limit, norm.aval.dtype))
    halvings = compare.select(enough, halvings, scalar_like(0, norm.aval.dtype))
    each = (*halvings.aval.shape, 1, 1)
    scale = bases.exp2(elementwise.neg(halvings))
    small = elementwise.mul(x, reshape(convert_element_type(scale, x.aval.dtype), each))
    y = _quotient(*_pade(small, degree), upper_triangular)
    halvings = reshape(halvings, each)
    most = reduce_max(halvings, tuple(range(rank)))

    def square(state):
        i, y = state
        return i + 1, compare.select(compare.lt(i, halvings), product(y, y), y)

    y = _repeated(square, y, most, limit)
    return compare.select(reshape(enough, each), y, scalar_like(np.nan, y.aval.dtype))


def _repeated(step: Callable, y: Array, count: Array, limit: int) -> Array:
    """The steps of a loop: their number if it is known, else a loop with a bound."""
    state = scalar_like(0, count.aval.dtype), y
    if type(count) is ConcreteArray:
        for _ in range(int(count)):
            state = step(state)
        return state[1]
    return while_loop(lambda state: compare.lt(state[0], count), step, state, max_steps=limit)[1]


def _pade(x: Array, degree: int) -> tuple[Array, Array]:
    """The odd and the even part of the numerator of the approximant; the denominator has their difference."""
    f = math.factorial
    c = [f(2 * degree - k) * f(degree) / (f(2 * degree) * f(degree - k) * f(k)) for k in range(degree + 1)]
    one, x2 = identity(x), product(x, x)
    x4 = product(x2, x2)
    powers = [one, x2, x4, product(x4, x2)]

    def total(coefficients, of):
        terms = [elementwise.mul(p, scalar_like(k, x.aval.dtype)) for k, p in zip(coefficients, of, strict=True)]
        result = terms[0]
        for term in terms[1:]:
            result = elementwise.add(result, term)
        return result

    parts = []
    for start in (1, 0):
        part = total(c[start:8:2], powers)
        if degree > 7:
            part = elementwise.add(part, product(powers[3], total(c[start + 8 :: 2], powers[1:])))
        parts.append(part)
    return product(x, parts[0]), parts[1]


def _quotient(odd: Array, even: Array, triangular: bool) -> Array:
    over, under = elementwise.add(even, odd), elementwise.sub(even, odd)
    if triangular:
        return triangular_solve(under, over, left_side=True)
    return lu_ops.solve("expm", under, over)


@boundary
def expm_frechet(
    A: ArrayLike, E: ArrayLike, *, method: str | None = None, compute_expm: bool = True
) -> Array | tuple[Array, Array]:
    """The derivatives of the exponentials of square matrices `A` along `E`, both of shape `(..., n, n)`.

    Args:
      A, E: matrices, as for `expm`; leading axes broadcast, dtypes are promoted.
      method: accepted, and changes nothing: the algorithm of `expm` is differentiated.
      compute_expm: whether `expm(A)` is returned, too.

    Returns: `(expm(A), derivative)`, or the derivative.
    Raises: ValueError for other shapes, TypeError for other dtypes.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.expm_frechet(pnp.zeros((2, 2)), pnp.eye(2), compute_expm=False))
    [[1. 0.]
     [0. 1.]]
    """
    x, direction = square_matrices("expm_frechet", A, "A"), square_matrices("expm_frechet", E, "E")
    if x.shape[-2:] != direction.shape[-2:]:
        raise ValueError(f"expm_frechet: A and E must have one shape, got {x.shape} and {direction.shape}")
    dtype = pnp.result_type(x, direction)
    x, direction = pnp.broadcast_arrays(x.astype(dtype), direction.astype(dtype))
    value, derivative = jvp(expm, (x,), (direction,))
    return (value, derivative) if compute_expm else derivative
