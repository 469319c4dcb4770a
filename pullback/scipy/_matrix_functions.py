"""Functions of matrices: the exponential and its derivative, the square root, and functions given by the user."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import pullback.numpy as pnp
from pullback import lax
from pullback._api.derivatives import jvp
from pullback._core import dtypes
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
from pullback.custom_derivatives import custom_jvp
from pullback.numpy._elementwise.promotion import integer
from pullback.numpy._linalg.solving import square_matrices
from pullback.scipy._matrix_equations import adjoint, complex_schur, solve_sylvester

__all__ = ["expm", "expm_frechet", "funm", "sqrtm"]

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


# --- the square root, and any function ---


@boundary
def sqrtm(A: ArrayLike, blocksize: int = 1) -> Array:
    """The principal square roots of square matrices `(..., n, n)`, complex: Björck and Hammarling (1983).

    A matrix without a root gives nan; a negative eigenvalue has its root above the real axis. It is differentiable
    where the root is regular. `blocksize` must be 1. Raises: ValueError for other shapes, TypeError for half precision,
    NotImplementedError for another `blocksize`.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.sqrtm(pnp.array([[4., 0.], [0., 9.]])).real)
    [[2. 0.]
     [0. 3.]]
    """
    if blocksize != 1:
        raise NotImplementedError(f"sqrtm: blocksize must be 1, got {blocksize!r}")
    x = square_matrices("sqrtm", A, "A")
    return _square_root(x)


@custom_jvp
def _square_root(x: Array) -> Array:
    if x.size == 0:
        return x.astype(dtypes.promote_types(x.dtype, np.complex64))
    t, q = complex_schur(x)
    n = t.shape[-1]
    w = pnp.diagonal(t, axis1=-2, axis2=-1)
    one, places = pnp.eye(n, dtype=t.dtype), np.arange(n)
    # a zero without a sign
    roots = pnp.sqrt(lax.complex(w.real, pnp.where(w.imag == 0, 0, w.imag)))

    def column(j: Array, root: Array) -> Array:
        """(R + r I) y = t for the rows above the diagonal, of the part of the root that is known."""
        last = pnp.take(roots, j, axis=-1)[..., None]
        known = roots + last
        # a zero stands for an eigenvalue 0 that occurs twice: then the entry is 0, or there is no root
        lost = (known == 0) & (places < j)
        diagonal = pnp.where((places >= j) | lost, 1, known)
        above = pnp.where(places < j, pnp.take(t, j, axis=-1), 0)
        matrix = pnp.triu(root, 1) + diagonal[..., None] * one
        entries = lax.linalg.triangular_solve(matrix, above[..., None], left_side=True)[..., 0]
        entries = pnp.where(lost & (entries != 0), np.nan, entries) + pnp.where(places == j, last, 0)
        return pnp.where(places == j, entries[..., None], root)

    root = lax.fori_loop(0, n, column, pnp.zeros_like(t))
    return q @ root @ adjoint(q)


@_square_root.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # X dX + dX X = dA
    root = _square_root(*primals)
    return root, solve_sylvester(root, root, tangents[0], tol=0)


@boundary
def funm(A: ArrayLike, func: Callable[[Array], Array], disp: bool = True) -> Array | tuple[Array, Array]:
    """A function of a square matrix, given as a function of numbers: complex, by Parlett's recurrence.

    Golub and Van Loan, Matrix Computations (2013), algorithm 9.1.1. Eigenvalues that are next to equal belong
    together: if more than two do and the matrix has no basis of eigenvectors, the result is not accurate.

    Args:
      A: a matrix `(n, n)`.
      func: a function of complex arrays, element by element.
      disp: if False, an estimate of the relative error is returned, too.

    Returns: a complex matrix, differentiable in `A` where that has a basis of eigenvectors, and in what `func` holds.
    Raises: ValueError for another shape, TypeError for half precision.

    >>> from pullback.scipy import linalg
    >>> import pullback.numpy as pnp
    >>> print(linalg.funm(pnp.array([[0., 1.], [0., 1.]]), pnp.exp).real.round(4))
    [[1.     1.7183]
     [0.     2.7183]]
    """
    x = square_matrices("funm", A, "A")
    if x.ndim != 2:
        raise ValueError(f"funm: A must be one matrix, got shape {x.shape}")
    eps = float(pnp.finfo(x.dtype).eps)

    @custom_jvp
    def function(x: Array) -> tuple[Array, Array]:
        t, q = complex_schur(x)
        value, gap = _parlett(t, func)
        size = abs(pnp.triu(t, 1)).sum(0).max() if t.size else pnp.zeros((), value.real.dtype)
        error = pnp.clip(eps / pnp.where(gap == 0, eps, gap) * size, eps, 1)
        return q @ value @ adjoint(q), error

    @function.defjvp
    def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        # in the basis of eigenvectors times the divided differences: Higham, Functions of Matrices (2008), theorem 3.11
        result = function(*primals)
        w, v = pnp.linalg.eig(primals[0])
        inner = pnp.linalg.solve(v, tangents[0] @ v)
        change = v @ (_divided(func, w) * inner)
        return result, (pnp.linalg.solve(v.T, change.T).T, pnp.zeros_like(result[1]))

    value, error = function(x)
    return value if disp else (value, error)


def _divided(func: Callable, w: Array) -> Array:
    """The divided differences of a function at pairs of numbers, the derivative where they are next to equal."""
    apart = w[:, None] - w
    mean = (w[:, None] + w) / 2
    near = abs(apart) <= 8 * float(pnp.finfo(w.dtype).eps) ** 0.5 * (abs(w[:, None]) + abs(w))
    _, slope = jvp(func, (mean,), (pnp.ones_like(mean),))
    values = func(w)
    return pnp.where(near, slope, (values[:, None] - values) / pnp.where(near, 1, apart))


def _parlett(t: Array, func: Callable) -> tuple[Array, Array]:
    """The function of a triangular matrix, and the least distance of two eigenvalues: T F = F T, band by band."""
    n = t.shape[-1]
    w = pnp.diagonal(t)
    values = func(w)
    eps = float(pnp.finfo(t.dtype).eps)
    apart, mean = w - w[:, None], (w + w[:, None]) / 2
    scale = abs(w).max() if n else 0
    near = abs(apart) <= 16 * eps * scale
    # of equal eigenvalues the slope between them, by a difference, for the function may be any
    step = eps ** (1 / 3) * pnp.maximum(abs(mean), 1).astype(t.dtype)
    slope = (func(mean + step) - func(mean - step)) / (2 * step)
    band = np.arange(n) - np.arange(n)[:, None]

    def fill(p: Array, f: Array) -> Array:
        found = pnp.where(near, t * slope, (t @ f - f @ t) / pnp.where(near, 1, apart))
        return pnp.where(band == p, found, f)

    value = lax.fori_loop(1, n, fill, pnp.diag(values)) if n else t
    gaps = pnp.where(band > 0, abs(apart), np.inf)
    return value, gaps.min() if n else pnp.zeros((), w.real.dtype)
