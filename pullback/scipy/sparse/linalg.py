"""Iterative methods for linear systems, as in `scipy.sparse.linalg`, on arrays and pytrees of arrays.

A solution is differentiated through the equation that it solves, not through the iteration (`lax.custom_linear_solve`):
both modes and every order, with the same method and tolerances. The right-hand side and what `A` closes over have
derivatives; the start, the preconditioner and the tolerances, on which an exact solution does not depend, have none.
An iteration that has not converged after `maxiter` steps returns its last iterate.
"""

from __future__ import annotations

import functools
import operator
import typing as _typing
from collections.abc import Callable
from typing import Any, TypeAlias

import pullback._krylov as krylov
import pullback.numpy as pnp
from pullback._api.linear_maps import linear_transpose
from pullback._core.array import Array, ArrayLike, is_array_like
from pullback._core.errors import RuleNotDefinedError, boundary, described
from pullback._core.lazy import attributes as _attributes
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.typing import PyTree
from pullback._higher_order.bodies import lift_tree
from pullback._higher_order.solvers.linear_solve import solve_as

__all__ = ["bicgstab", "cg", "gmres"]

_Operator: TypeAlias = Callable[[Any], Any] | ArrayLike


@boundary
def cg(
    A: _Operator,
    b: PyTree,
    x0: PyTree | None = None,
    *,
    tol: ArrayLike = 1e-5,
    atol: ArrayLike = 0.0,
    maxiter: ArrayLike | None = None,
    M: _Operator | None = None,
) -> tuple[Any, None]:
    """Solve `A x = b` by conjugate gradients, for a Hermitian and positive definite `A`.

    Args:
      A: a matrix of shape (n, n), an object with `A @ x`, or a linear function of an array or a pytree like `b`.
      b: the right-hand side, an array or a pytree of arrays, in floating point or converted to it.
      x0: the start, of the structure and shapes of `b`; zero by default.
      tol, atol: it stops where the length of `b - A x` is at most `max(tol * length(b), atol)`.
      maxiter: the maximal number of steps, by default ten times the number of unknowns.
      M: an approximate inverse of `A`, Hermitian and positive definite, in one of the forms of `A`.

    Returns: the solution, like `b`, and None, where SciPy tells whether it converged.
    Raises: TypeError for an `A` or `M` that is none of these, or that changes the structure or types of `b`; ValueError
      for a matrix that is not square, and for an `x0` unlike `b`.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.sparse.linalg import cg
    >>> x, _ = cg(pnp.array([[2., 1.], [1., 2.]]), pnp.array([3., 3.]))
    >>> print(x)
    [1. 1.]
    """
    return _solved("cg", krylov.cg, A, b, x0, tol, atol, maxiter, M, definite=True), None


@boundary
def bicgstab(
    A: _Operator,
    b: PyTree,
    x0: PyTree | None = None,
    *,
    tol: ArrayLike = 1e-5,
    atol: ArrayLike = 0.0,
    maxiter: ArrayLike | None = None,
    M: _Operator | None = None,
) -> tuple[Any, None]:
    """Solve `A x = b` by stabilized biconjugate gradients, for any invertible `A`.

    Arguments, result and errors are those of `cg`; `M` need not be Hermitian.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.sparse.linalg import bicgstab
    >>> x, _ = bicgstab(pnp.array([[2., 1.], [0., 4.]]), pnp.array([4., 8.]))
    >>> print(x.round(4))
    [1. 2.]
    """
    return _solved("bicgstab", krylov.bicgstab, A, b, x0, tol, atol, maxiter, M), None


@boundary
def gmres(
    A: _Operator,
    b: PyTree,
    x0: PyTree | None = None,
    *,
    tol: ArrayLike = 1e-5,
    atol: ArrayLike = 0.0,
    restart: int = 20,
    maxiter: ArrayLike | None = None,
    M: _Operator | None = None,
    solve_method: str = "batched",
) -> tuple[Any, Array]:
    """Solve `A x = b` by generalized minimal residuals, for any invertible `A`.

    Args:
      A, b, x0, tol, atol, M: as for `cg`; `M` need not be Hermitian.
      restart: the number of directions after which the method begins anew from its iterate; so many vectors are kept.
      maxiter: the maximal number of restarts, by default ten times the number of unknowns.
      solve_method: "batched" looks at the residual after every `restart` directions, "incremental" after each.

    Returns: the solution, like `b`, and -1 if it is nan, else 0.
    Raises: as `cg`; ValueError for an unknown `solve_method` and a `restart` below 1.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.sparse.linalg import gmres
    >>> x, _ = gmres(pnp.array([[2., 1.], [0., 4.]]), pnp.array([4., 8.]))
    >>> print(x.round(4))
    [1. 2.]
    """
    if solve_method not in ("batched", "incremental"):
        raise ValueError(f"gmres: solve_method must be 'batched' or 'incremental', got {solve_method!r}")
    try:
        directions = operator.index(restart)
    except TypeError:
        raise TypeError(f"gmres: restart must be an integer, got {described(restart)}") from None
    if directions < 1:
        raise ValueError(f"gmres: restart must be at least 1, got {directions}")
    count = sum(x.size for x in lift_tree("gmres", "b", b)[0])
    method = functools.partial(krylov.gmres, restart=min(directions, count), early=solve_method == "incremental")
    x = _solved("gmres", method, A, b, x0, tol, atol, maxiter, M)
    lost = [pnp.isnan(leaf).any() for leaf in tree_flatten(x)[0]]
    return x, pnp.where(functools.reduce(operator.or_, lost, pnp.asarray(False)), -1, 0)


def _solved(
    name: str,
    method: Callable,
    A: Any,
    b: PyTree,
    x0: PyTree | None,
    tol: ArrayLike,
    atol: ArrayLike,
    maxiter: ArrayLike | None,
    M: Any,
    definite: bool = False,
) -> Any:
    """The solution by a method of `_krylov`, as the solution of a linear equation for all transformations."""
    matvec = _function(name, "A", A)
    leaves, tree = lift_tree(name, "b", b)
    if is_array_like(A) and len(leaves) == 1:
        leaves = [leaves[0].astype(pnp.result_type(leaves[0], pnp.asarray(A).dtype))]
    leaves = [x if pnp.issubdtype(x.dtype, pnp.inexact) else x.astype(float) for x in leaves]
    b = tree_unflatten(tree, leaves)
    if not sum(x.size for x in leaves):
        return b
    vector, unravel, on_vector = krylov.on_vectors(name, b)
    start = None if x0 is None else _vector_like(name, x0, leaves, tree).astype(vector.dtype)
    steps = 10 * vector.size if maxiter is None else maxiter
    inverse = None if M is None else _function(name, "M", M)

    def solver(inverse: Callable | None) -> Callable:
        def solve(apply: Callable, rhs: PyTree) -> Any:
            v = on_vector(lambda x: x)(krylov.ravel(name, rhs)[0])
            # tangents may be far smaller or larger than what they are tangents of
            unit = krylov.scale(abs(v).max())
            v = v / unit
            limit = pnp.maximum(tol * pnp.sqrt(krylov.size(v)), atol / unit).astype(v.real.dtype)
            first = None if start is None else start / unit
            x = method(on_vector(apply), v, first, limit, steps, None if inverse is None else on_vector(inverse))
            return unravel(unit * x)

        return solve

    symmetric = definite and not pnp.iscomplexobj(vector)
    backward = inverse if inverse is None or symmetric else _transposed(inverse, b)
    return solve_as(name, ("solve", "solve"), matvec, b, solver(inverse), solver(backward), symmetric)


def _function(name: str, argument: str, given: Any) -> Callable:
    """The linear function that a matrix, an object with `@` or a function is."""
    if callable(given):
        return given
    if is_array_like(given):
        matrix = pnp.asarray(given)
        shape: Any = matrix.shape
    elif hasattr(given, "__matmul__"):
        matrix, shape = given, getattr(given, "shape", (0, 0))
    else:
        raise TypeError(f"{name}: {argument} must be a matrix or a linear function, got {described(given)}")
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"{name}: {argument} must be a square matrix or a function, got shape {tuple(shape)}")
    return lambda x: matrix @ x


def _transposed(inverse: Callable, b: PyTree) -> Callable:
    """The transpose of a preconditioner for the transposed system; itself if it has none, which takes more steps."""
    try:
        transpose = linear_transpose(inverse, b)
    except (TypeError, NotImplementedError, RuleNotDefinedError):
        return inverse
    return lambda x: transpose(x)[0]


def _vector_like(name: str, x0: PyTree, leaves: list[Array], tree: Any) -> Array:
    """The start as a vector, which must have the structure and shapes of `b`."""
    starts, got = lift_tree(name, "x0", x0)
    if got != tree:
        raise ValueError(f"{name}: x0 must have the structure of b, {tree}, got {got}")
    shapes, expected = [x.shape for x in starts], [x.shape for x in leaves]
    if shapes != expected:
        raise ValueError(f"{name}: x0 must have the shapes of b, {expected}, got {shapes}")
    return krylov.ravel(name, tree_unflatten(tree, [x.astype(y.dtype) for x, y in zip(starts, leaves, strict=True)]))[0]


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
