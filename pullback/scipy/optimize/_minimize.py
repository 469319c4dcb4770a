"""Minimization by quasi-Newton methods, with derivatives of the minimum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import pullback.numpy as pnp
from pullback import implicit, lax
from pullback._api.derivatives import grad, value_and_grad
from pullback._core import dtypes
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary, describe_function, described
from pullback._higher_order.solvers.root import Words, root_as
from pullback.numpy._elementwise.promotion import FLOAT, promote_operands
from pullback.scipy.optimize._line_search import line_search

__all__ = ["OptimizeResults", "minimize"]


class OptimizeResults(NamedTuple):
    """What `minimize` found.

    `x` is the solution, `fun` the function there and `jac` its gradient; `success` whether that is as small as asked,
    and `status` 0 if so, 1 if `maxiter` was reached, 3 if no step along the last direction was found. `hess_inv` is the
    estimate of the inverse of the Hessian, None for methods that keep none. `nfev`, `njev` and `nit` count the
    evaluations of function and gradient and the iterations.

    >>> import pullback.numpy as pnp
    >>> from pullback.scipy.optimize import minimize
    >>> found = minimize(lambda x: (x**2).sum(), pnp.ones(2), method="BFGS")
    >>> print(found.success, found.x)
    True [0. 0.]
    """

    x: Array
    success: bool | Array
    status: int | Array
    fun: Array
    jac: Array
    hess_inv: Array | None
    nfev: int | Array
    njev: int | Array
    nit: int | Array


_BFGS = "bfgs"
_LIMITED = "l-bfgs-experimental-do-not-rely-on-this"
_OPTIONS = {
    _BFGS: ("maxiter", "norm", "gtol", "line_search_maxiter"),
    _LIMITED: ("maxiter", "norm", "maxcor", "ftol", "gtol", "maxfun", "maxgrad", "maxls"),
}


@boundary
def minimize(
    fun: Callable,
    x0: ArrayLike,
    args: tuple[Any, ...] = (),
    *,
    method: str,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> OptimizeResults:
    """A local minimum of a function of a vector, differentiable in `args` and in all that `fun` closes over.

    Args:
      fun: `fun(x, *args)`, from a vector and the arguments to a real number.
      x0: the start, of shape (n,). The minimum has no derivative with respect to it.
      args: a tuple.
      method: "BFGS", or "l-bfgs-experimental-do-not-rely-on-this", which keeps the last steps in place of a matrix.
      tol: the same as the option `gtol`, which wins.
      options: `maxiter` (200 n), `norm` (its order, infinity) and `gtol` (1e-5): it stops where that norm of the
        gradient is less. For BFGS `line_search_maxiter` (10), the trials along a direction. For the other method
        `maxcor` (10), the steps kept, `ftol`, the relative decrease below which it stops, `maxfun` and `maxgrad`,
        bounds of the evaluations, and `maxls` (20), the trials.

    Returns: an `OptimizeResults`. The derivatives of `x`, and with it of `fun` and `jac`, are those of an exact
      minimum, where the Hessian is regular; the other results have none.
    Raises: ValueError for another method, unknown options and an `x0` that is no vector; TypeError for `args` that are
      no tuple and a `fun` that does not return a number.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback.scipy.optimize import minimize
    >>> def nearest(a):
    ...     return minimize(lambda x: ((x - a) ** 2).sum() + x[0] ** 2, pnp.zeros(2), method="BFGS").x
    >>> print(nearest(pnp.array([2., 3.])).round(3))
    [1. 3.]
    >>> print(pb.jacobian(nearest)(pnp.array([2., 3.])).round(3))
    [[0.5 0. ]
     [0.  1. ]]
    """
    if not isinstance(args, tuple):
        raise TypeError(f"minimize: args must be a tuple, got {described(args)}")
    chosen = method.lower() if isinstance(method, str) else method
    if chosen not in _OPTIONS:
        raise ValueError(f"minimize: method must be 'BFGS' or {_LIMITED!r}, got {method!r}")
    given = dict(options or {})
    unknown = [name for name in given if name not in _OPTIONS[chosen]]
    if unknown:
        raise ValueError(
            f"minimize: unknown options {', '.join(map(repr, unknown))}; {method} has {', '.join(_OPTIONS[chosen])}"
        )
    (start,) = promote_operands("minimize", FLOAT, x0)
    if start.ndim != 1:
        raise ValueError(f"minimize: x0 must be a vector, got shape {start.shape}")
    if tol is not None:
        given.setdefault("gtol", tol)

    def objective(x: Array) -> Array:
        value = pnp.asarray(fun(x, *args))
        if value.shape != () or not dtypes.is_float(value.dtype):
            raise TypeError(
                f"minimize: fun ({describe_function(fun)}) must return a real number, got {value.aval.str_short()}"
            )
        return value.astype(start.dtype)

    def find(_: Callable, x: Array) -> tuple[Array, tuple]:
        return _search(objective, x, given, None if chosen == _BFGS else given.get("maxcor", 10))

    words = Words("minimize", "x0", "solver", "linear_solver")
    x, (converged, status, inverse, nfev, nit) = root_as(
        words, grad(objective), start, find, implicit.linear_solve, has_aux=True
    )
    value, gradient = value_and_grad(objective)(x)
    return OptimizeResults(x, converged, status, value, gradient, inverse if chosen == _BFGS else None, nfev, nfev, nit)


class _State(NamedTuple):
    """An iterate, the function and its gradient there, and what is known of the Hessian."""

    x: Array
    f: Array
    g: Array
    memory: Any
    nit: Any
    nfev: Any
    converged: Any
    failed: Any


def _search(objective: Callable, x: Array, options: dict[str, Any], kept: int | None) -> tuple[Array, tuple]:
    """The iteration: with a matrix, or with `kept` steps."""
    n, dtype = x.shape[0], x.dtype
    maxiter = options.get("maxiter")
    maxiter = 200 * n if maxiter is None else maxiter
    order, gtol, ftol = (
        options.get("norm", np.inf),
        options.get("gtol", 1e-5),
        options.get("ftol", 2.220446049250313e-09),
    )
    trials = options.get("line_search_maxiter", 10) if kept is None else options.get("maxls", 20)
    evaluations = [limit for limit in (options.get("maxfun"), options.get("maxgrad")) if limit is not None]
    evaluate = value_and_grad(objective)

    def small(g: Array) -> Any:
        return pnp.linalg.norm(g, ord=order) < gtol if n else pnp.asarray(True)

    def goes_on(s: _State) -> Any:
        more = ~s.converged & ~s.failed & (s.nit < maxiter)
        for limit in evaluations:
            more = more & (s.nfev < limit)
        return more

    def step(s: _State) -> _State:
        direction = -_apply(s.memory, s.g)
        # far too long at first, when nothing is known of the scale
        length = pnp.linalg.norm(direction)
        first = pnp.where((s.nit == 0) & (length > 1), 1 / pnp.where(length == 0, 1, length), 1).astype(dtype)
        found = line_search(evaluate, s.x, direction, s.f, s.g, first, trials)
        x = s.x + found.length * direction
        converged = small(found.gradient)
        if kept is not None:
            largest = pnp.maximum(pnp.maximum(abs(s.f), abs(found.value)), 1)
            converged = converged | (found.good & ((s.f - found.value) <= ftol * largest))
        memory = _update(s.memory, x - s.x, found.gradient - s.g, s.nit)
        return _State(x, found.value, found.gradient, memory, s.nit + 1, s.nfev + found.count, converged, ~found.good)

    f, g = evaluate(x)
    memory: Any = pnp.eye(n, dtype=dtype)
    if kept is not None:
        memory = (pnp.zeros((kept, n), dtype), pnp.zeros((kept, n), dtype), pnp.zeros(kept, dtype), pnp.ones((), dtype))
    start = _State(x, f, g, memory, 0, 1, small(g), False)
    end = lax.while_loop(goes_on, step, start)
    status = pnp.where(end.converged, 0, pnp.where(end.failed, 3, 1))
    inverse = end.memory if kept is None else pnp.zeros((), dtype)
    return end.x, (end.converged, status, inverse, end.nfev, end.nit)


def _apply(memory: Any, g: Array) -> Array:
    """The inverse of the Hessian, as far as known, times a vector: of steps by Nocedal and Wright's algorithm 7.4."""
    if isinstance(memory, Array):
        return memory @ g
    steps, changes, products, factor = memory
    known = products > 0
    inverses = pnp.where(known, 1 / pnp.where(known, products, 1), 0)

    def down(g: Array, pair: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        step, change, inverse = pair
        weight = inverse * (step @ g)
        return g - weight * change, weight

    def up(r: Array, pair: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
        step, change, inverse, weight = pair
        return r + step * (weight - inverse * (change @ r)), None

    # the newest are last
    g, weights = lax.scan(down, g, (steps, changes, inverses), reverse=True)
    return lax.scan(up, factor * g, (steps, changes, inverses, weights))[0]


def _update(memory: Any, step: Array, change: Array, nit: Any) -> Any:
    """What is known after a step, unless the gradient did not rise along it (their equations 6.17, 6.20 and 7.20)."""
    product, square = step @ change, change @ change
    usable = (product > 0) & pnp.isfinite(product) & (square > 0)
    safe = pnp.where(usable, product, 1)
    scale = safe / pnp.where(usable, square, 1)
    if isinstance(memory, Array):
        inverse = pnp.where(nit == 0, scale, 1) * memory
        turned = inverse @ change
        grown = (safe + change @ turned) / safe / safe * pnp.outer(step, step)
        mixed = pnp.outer(turned, step)
        return pnp.where(usable, inverse + grown - (mixed + mixed.T) / safe, memory)

    def shifted(old: Array, new: Array) -> Array:
        return pnp.where(usable, pnp.concatenate([old[1:], new[None]]), old)

    steps, changes, products, factor = memory
    return (
        shifted(steps, step),
        shifted(changes, change),
        shifted(products, product),
        pnp.where(usable, scale, factor),
    )
