"""Implicit differentiation: solutions of equations as differentiable functions of everything in the equations.

`fixed_point`, `root`, `argmin`, `linear_solve` and `odeint` find a solution by any algorithm and differentiate the
equation, not the algorithm: memory does not grow with the number of steps, and forward mode, reverse mode, their
compositions, `jit` and `vmap` all work. The mathematics is documented with `lax.custom_root`, `lax.custom_linear_solve`
and, for differential equations, in `_higher_order/solvers/ode.py`.

If a solver does not reach the tolerance in `max_steps` steps, its last iterate is returned (`odeint` gives nan);
derivatives are those of an exact solution. Complex unknowns require functions that are holomorphic in them.
"""

from __future__ import annotations

import operator
import typing as _typing
from collections.abc import Callable
from typing import Any

import pullback._krylov as krylov
from pullback import lax
from pullback import numpy as pnp
from pullback._api.derivatives import grad
from pullback._api.linear_maps import linear_transpose, linearize
from pullback._api.vectorize import vmap
from pullback._core.arguments import check_callable, flatten_result
from pullback._core.array import is_array_like
from pullback._core.errors import boundary, describe_function, described, standing_for
from pullback._core.lazy import attributes as _attributes
from pullback._core.trace import Tracer
from pullback._core.tree import tree_flatten, tree_structure, tree_unflatten
from pullback._core.typing import PyTree
from pullback._higher_order.bodies import check_same_structure, check_same_types, lift_tree, promote_weak
from pullback._higher_order.solvers.initial_value import odeint
from pullback._higher_order.solvers.linear_solve import solve_as
from pullback._higher_order.solvers.root import Words, root_as

# up to this many unknowns the matrix is built: 512² numbers are 1 MB in single precision
_DENSE_LIMIT = 512
_LEAF = tree_structure(0)


@boundary
def fixed_point(
    f: Callable,
    x_init: PyTree,
    *args: PyTree,
    solver: Callable | None = None,
    linear_solver: str | Callable = "auto",
    tol: float | None = None,
    max_steps: int = 1000,
) -> Any:
    """The solution of `x = f(x, *args)`, differentiable in `args` and in everything that `f` closes over.

    Args:
      f: from `x`, an array or a pytree of arrays, and `args` to the same structure and types as `x`.
      x_init: the start of the search. The result has no derivative with respect to it.
      solver: `solver(g, x_init)` returns the fixed point of `g(x) = f(x, *args)`. By default `g` is applied until `x`
        no longer changes, which converges where `g` is a contraction.
      linear_solver: the method of solving for derivatives, see `linear_solve`; also a function `(matvec, b)`. "neumann"
        is the quickest for large problems whose `f` contracts strongly.
      tol: the relative change (in the largest entry) under which the iteration stops, by default 8 units of rounding.
      max_steps: the maximal number of iterations.

    Raises: TypeError if `f` changes the structure or types of `x`.
    See: Christianson, Reverse accumulation and attractive fixed points, Optimization Methods and Software 3 (1994).

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def sqrt(a):
    ...     return pb.implicit.fixed_point(lambda x, a: (x + a / x) / 2, a, a)
    >>> print(sqrt(4.), pb.grad(sqrt)(4.))
    2.0 0.25
    """
    words = _problem_words("fixed_point", f, solver, max_steps, tol)

    def iterate(residual, x):
        def step(state):
            x, _, k = state
            return _map(lambda a, b: a - b, x, residual(x)), x, k + 1

        # the test is in the condition: XLA runs a body of few parts in one thread, without waiting for others
        def goes_on(state):
            x, last, k = state
            return ((k == 0) | _exceeds_tolerance(last, _map(lambda a, b: a - b, x, last), tol)) & (k < max_steps)

        return lax.while_loop(goes_on, step, (x, x, 0))[0]

    # x - f(x): linearized it is I - J, whose inverse a Neumann series gives where f contracts
    @standing_for(f)
    def residual(x):
        return _map(lambda a, b: b - a, _checked_result("fixed_point", "f", f, f(x, *args), x, words.guess), x)

    find = iterate if solver is None else standing_for(solver)(lambda _, x: solver(lambda y: f(y, *args), x))
    solve = _tangent_solver("fixed_point", linear_solver, "bicgstab")
    return root_as(words, residual, _floats("fixed_point", x_init), find, solve)


@boundary
def root(
    f: Callable,
    x_init: PyTree,
    *args: PyTree,
    solver: Callable | None = None,
    linear_solver: str | Callable = "auto",
    tol: float | None = None,
    max_steps: int = 50,
) -> Any:
    """The solution of `f(x, *args) = 0`, differentiable in `args` and in everything that `f` closes over.

    Args:
      f: from `x`, an array or a pytree of arrays, and `args` to the same structure and types as `x`.
      x_init: the start of the search. The result has no derivative with respect to it.
      solver: `solver(g, x_init)` returns a root of `g(x) = f(x, *args)`. By default Newton's method, with full steps.
      linear_solver: the method of solving for Newton steps and derivatives, see `linear_solve`; also a function
        `(matvec, b)`.
      tol: the relative size of the step (in the largest entry) under which Newton's method stops, by default 8 units
        of rounding.
      max_steps: the maximal number of Newton steps.

    Raises: TypeError if `f` changes the structure or types of `x`.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def cbrt(a):
    ...     return pb.implicit.root(lambda x, a: x ** 3 - a, a, a)
    >>> print(cbrt(8.), pb.grad(cbrt)(8.))
    2.0 0.083333...
    """
    words = _problem_words("root", f, solver, max_steps, tol)
    solve = _tangent_solver("root", linear_solver, "bicgstab")

    @standing_for(f)
    def residual(x):
        return f(x, *args)

    find = _newton(solve, tol, max_steps) if solver is None else solver
    return root_as(words, residual, _floats("root", x_init), find, solve)


@boundary
def argmin(
    f: Callable,
    x_init: PyTree,
    *args: PyTree,
    solver: Callable | None = None,
    linear_solver: str | Callable = "auto",
    tol: float | None = None,
    max_steps: int = 50,
) -> Any:
    """The minimizer of `f(x, *args)` over `x`, differentiable in `args` and in everything that `f` closes over.

    Args:
      f: from `x`, an array or a pytree of arrays, and `args` to a scalar. The derivative of the minimizer exists where
        the Hessian in `x` is positive definite.
      x_init: the start of the search. The result has no derivative with respect to it.
      solver: `solver(g, x_init)` returns a minimizer of `g(x) = f(x, *args)`. By default Newton's method on the
        gradient, with full steps: exact after one for quadratic functions, to be started near the minimum for others.
      linear_solver: the method of solving for Newton steps and derivatives, see `linear_solve`; also a function
        `(matvec, b)`.
      tol: the relative size of the step (in the largest entry) under which Newton's method stops, by default 8 units
        of rounding.
      max_steps: the maximal number of Newton steps.

    Raises: TypeError for an `f` without a real scalar result, for anything not callable or not a number of steps;
      ValueError for a negative number of steps or an unknown `linear_solver`.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def shrunk(weight):
    ...     return pb.implicit.argmin(lambda x: (x - 3.) ** 2 + weight * x ** 2, 0.)
    >>> print(shrunk(1.), pb.grad(shrunk)(1.))
    1.5 -0.75
    """
    words = _problem_words("argmin", f, solver, max_steps, tol)
    solve = _tangent_solver("argmin", linear_solver, "cg")

    @standing_for(f)
    def objective(x):
        leaves, tree = flatten_result("argmin", f, f(x, *args))
        if tree != _LEAF or leaves[0].shape != () or not pnp.issubdtype(leaves[0].dtype, pnp.floating):
            got = leaves[0].aval.str_short() if tree == _LEAF else tree
            raise TypeError(
                f"argmin: f ({describe_function(f)}) must return a scalar, a real floating-point number, got {got}"
            )
        return leaves[0]

    find = _newton(solve, tol, max_steps) if solver is None else standing_for(solver)(lambda _, x: solver(objective, x))
    return root_as(words, grad(objective), _floats("argmin", x_init), find, solve)


@boundary
def linear_solve(
    matvec: Callable,
    b: PyTree,
    *,
    method: str = "auto",
    symmetric: bool = False,
    tol: float | None = None,
    max_steps: int | None = None,
) -> Any:
    """The solution of `matvec(x) = b`, differentiable in `b` and in everything that `matvec` closes over.

    Args:
      matvec: a linear function of an array, or a pytree of arrays, to the structure and types of `b`.
      b: the right-hand side.
      method: "dense" builds the matrix and eliminates with pivots; "cg" is for symmetric (Hermitian) positive
        definite maps, "bicgstab" for others; "neumann" sums the Neumann series, which converges for maps that differ
        from the identity by a contraction; "normal_cg" applies "cg" to the normal equations, the slowest to
        converge and the hardest to break. "auto" is "dense" up to 512 unknowns, then "bicgstab".
      symmetric: whether `matvec` is its own transpose, so that it need not be transposed.
      tol: the size of the residual, relative to `b`, under which an iteration stops, by default 8 units of rounding.
      max_steps: the maximal number of iterations, by default ten times the number of unknowns.

    Raises: ValueError for an unknown method; TypeError if `matvec` changes the structure or types of `b`.
    Source: Barrett et al., Templates for the Solution of Linear Systems (1994), chapter 2.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> a = pnp.array([[2., 1.], [0., 4.]])
    >>> print(pb.implicit.linear_solve(lambda x: a @ x, pnp.array([4., 8.])))
    [1. 2.]
    """
    check_callable("linear_solve: matvec", matvec)
    _method("linear_solve", "method", method)
    if max_steps is not None:
        _check_steps("linear_solve", max_steps)
    _check_tolerance("linear_solve", tol)

    def solve(apply, rhs):
        return _solve(apply, rhs, method, "bicgstab", tol, max_steps)

    return solve_as("linear_solve", ("solve", "solve"), matvec, _floats("linear_solve", b), solve, solve, symmetric)


# --- checks of the arguments ---


def _problem_words(function: str, f: Any, solver: Any, max_steps: Any, tol: Any) -> Words:
    """The names of the parts of a problem in messages, after a check of the arguments."""
    check_callable(f"{function}: f", f)
    if solver is not None:
        check_callable(f"{function}: solver", solver)
    _check_steps(function, max_steps)
    _check_tolerance(function, tol)
    return Words(function, "x_init", "solver", "linear_solver")


def _check_tolerance(function: str, tol: Any) -> None:
    if tol is not None and (not is_array_like(tol) or isinstance(tol, complex)):
        raise TypeError(f"{function}: tol must be a number or None, got {described(tol)}")


def _check_steps(function: str, max_steps: Any) -> None:
    """Refuse an invalid number of steps; a traced one is accepted for its type."""
    if isinstance(max_steps, Tracer) and max_steps.shape == () and pnp.issubdtype(max_steps.dtype, pnp.integer):
        return
    try:
        if isinstance(max_steps, bool):
            raise TypeError
        negative = operator.index(max_steps) < 0
    except TypeError:
        raise TypeError(f"{function}: max_steps must be an integer, got {described(max_steps)}") from None
    if negative:
        raise ValueError(f"{function}: max_steps must be at least 0, got {max_steps!r}")


def _checked_result(function: str, part: str, fun: Callable, result: PyTree, x: PyTree, of: str) -> Any:
    """The return value of a user's function, which must have the structure and types of `x`."""
    xs, tree = tree_flatten(x)
    leaves, got = flatten_result(function, fun, result)
    what = f"{part} ({describe_function(fun)}) must return a value with the structure and types of {of}"
    check_same_structure(function, what, tree, got, "")
    avals = [pnp.asarray(a).aval for a in xs]
    leaves = promote_weak(leaves, avals) or leaves
    check_same_types(function, what, tree, avals, [a.aval for a in leaves], f"Convert with .astype() in {part}.")
    return tree_unflatten(tree, leaves)


# --- pytrees ---


def _floats(function: str, tree: PyTree) -> Any:
    """The pytree with Python ints and integer arrays converted to floats: unknowns are real numbers."""
    name = "b" if function == "linear_solve" else "x_init"
    leaves, treedef = lift_tree(function, name, tree)
    return tree_unflatten(treedef, [x if pnp.issubdtype(x.dtype, pnp.inexact) else x.astype(float) for x in leaves])


def _map(fun: Callable, *trees: Any) -> Any:
    columns = [tree_flatten(tree)[0] for tree in trees]
    return tree_unflatten(tree_flatten(trees[0])[1], [fun(*xs) for xs in zip(*columns, strict=True)])


def _ravel(tree: PyTree) -> tuple[Any, Callable]:
    """The entries of a pytree as one vector, and the inverse function."""
    return krylov.ravel("implicit", tree)


def _exceeds_tolerance(x: PyTree, dx: Any, tol: float | None) -> Any:
    """Return whether a step changes any entry by more than the tolerance, relative to the largest entry."""
    dx, x = _ravel(dx)[0], _ravel(x)[0]
    if x.size == 0:
        return pnp.asarray(False)
    return abs(dx).max() > _tolerance(tol, x) * abs(x).max()


def _tolerance(tol: float | None, x: PyTree) -> float:
    return 8 * float(pnp.finfo(x.dtype).eps) if tol is None else tol


# --- solvers ---


def _newton(solve: Callable, tol: float | None, max_steps: int) -> Callable:
    """Newton's method with full steps."""

    def find(f, x):
        def step(state):
            x, _, k = state
            y, derivative = linearize(f, x)
            dx = solve(derivative, y)
            return _map(lambda a, b: a - b, x, dx), _exceeds_tolerance(x, dx, tol), k + 1

        return lax.while_loop(lambda s: s[1] & (s[2] < max_steps), step, (x, True, 0))[0]

    return find


def _tangent_solver(function: str, linear_solver: str | Callable, large: str) -> Callable:
    """The function `(matvec, b)` that the caller gave, or named."""
    if callable(linear_solver):
        given = linear_solver

        @standing_for(given)
        def solve(matvec, b):
            return _checked_result(function, "linear_solver", given, given(matvec, b), b, "its second argument")

        return solve
    _method(function, "linear_solver", linear_solver)
    return lambda matvec, b: _solve(matvec, b, linear_solver, large, None, None)


def _method(function: str, what: str, method: Any) -> None:
    if not isinstance(method, str) or (method != "auto" and method not in _METHODS):
        raise ValueError(
            f"{function}: {what} must be 'auto', {', '.join(map(repr, _METHODS))}"
            f"{' or a function (matvec, b)' if what == 'linear_solver' else ''}, got {method!r}"
        )


def _solve(matvec: Callable, b: PyTree, method: str, large: str, tol: float | None, max_steps: int | None) -> Any:
    vector, unravel, on_vector = krylov.on_vectors("implicit", b)
    n = vector.size
    if n == 0:
        return b
    if method == "auto":
        method = "dense" if n <= _DENSE_LIMIT else large
    steps, limit = 10 * n if max_steps is None else max_steps, _tolerance(tol, _ravel(b)[0])
    scale = 1 if method == "dense" else krylov.scale(abs(vector).max())
    return unravel(scale * _METHODS[method](on_vector(matvec), vector / scale, limit, steps))


def _dense(matvec, b, tol, max_steps):
    """Gauss-Jordan elimination with partial pivoting: Higham, Accuracy and Stability (2002), section 14.4."""
    n = b.size
    rows = pnp.arange(n)
    table = pnp.concatenate([vmap(matvec)(pnp.eye(n, dtype=b.dtype)).T, b[:, None]], axis=1)

    def eliminate(k, table):
        column = pnp.take(table, k, axis=1)
        p = pnp.argmax(pnp.where(rows < k, -1, abs(column)))
        pivot, other = pnp.take(table, p, axis=0), pnp.take(table, k, axis=0)
        table = pnp.where((rows == p)[:, None], other, table)
        pivot = pivot / pnp.take(pivot, k)
        factors = pnp.where(rows == k, 0, pnp.take(table, k, axis=1))
        return pnp.where((rows == k)[:, None], pivot, table - factors[:, None] * pivot)

    return lax.fori_loop(0, n, eliminate, table)[:, n]


def _cg(matvec, b, tol, max_steps):
    return krylov.cg(matvec, b, None, tol * pnp.sqrt(krylov.size(b)), max_steps)


def _bicgstab(matvec, b, tol, max_steps):
    return krylov.bicgstab(matvec, b, None, tol * pnp.sqrt(krylov.size(b)), max_steps)


def _normal_cg(matvec, b, tol, max_steps):
    """Conjugate gradients for AᴴA x = Aᴴb: Barrett et al., Templates (1994), section 2.3.3."""
    transposed = linear_transpose(matvec, b)

    def adjoint(v):
        return transposed(v.conj())[0].conj()

    return _cg(lambda v: adjoint(matvec(v)), adjoint(b), tol, max_steps)


def _neumann(matvec, b, tol, max_steps):
    """The sum of (I - A)^k b, by x <- x + (b - A x): Templates (1994), section 2.2.1 (Richardson's form)."""
    limit = tol**2 * krylov.size(b)

    def step(state):
        x, r, k = state
        x = x + r
        return x, b - matvec(x), k + 1

    return lax.while_loop(lambda s: (krylov.size(s[1]) > limit) & (s[2] < max_steps), step, (pnp.zeros_like(b), b, 0))[
        0
    ]


_METHODS = {"dense": _dense, "cg": _cg, "bicgstab": _bicgstab, "neumann": _neumann, "normal_cg": _normal_cg}

__all__ = ["argmin", "fixed_point", "linear_solve", "odeint", "root"]

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
