"""Quadratic programs as differentiable functions of all that states them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pullback import lax
from pullback import numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.numpy._elementwise.promotion import FLOAT, promote_operands
from pullback.rules.gradients import with_gradient_of

__all__ = ["QuadraticSolution", "quadratic_program"]

_MAX_STEPS = 60


class QuadraticSolution(NamedTuple):
    """The minimizer of a quadratic program, and the multipliers of its constraints.

    >>> QuadraticSolution(1., 2., 3.).inequality
    2.0
    """

    x: Any
    inequality: Any
    equality: Any


class _Program(NamedTuple):
    """`min x·q x / 2 + c·x` for `g x <= h` and `a x = b`."""

    q: Array
    c: Array
    g: Array
    h: Array
    a: Array
    b: Array


@boundary
def quadratic_program(
    q: ArrayLike,
    c: ArrayLike,
    *,
    g: ArrayLike | None = None,
    h: ArrayLike | None = None,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
) -> QuadraticSolution:
    """The minimizer of `x·q x / 2 + c·x` under `g x <= h` and `a x = b`, differentiable in every argument.

    A primal-dual interior point method finds which inequalities hold with equality; then the solution is that of a
    linear system, which is solved once more and differentiated, so that the method leaves no trace.

    Args:
      q: a symmetric positive semidefinite matrix, (n, n); zeros for a linear program.
      c: a vector, (n,).
      g, h: the inequalities, (m, n) and (m,).
      a, b: the equations, (p, n) and (p,), with independent rows.

    Returns: `x`, (n,), and the multipliers `inequality`, (m,), not negative, and `equality`, (p,). All are nan where
      there is no solution. Where an inequality holds with equality and its multiplier is 0, derivatives are those for
      one of both sides; where those that hold with equality are dependent, they are nan.
    Raises: ValueError for shapes that do not fit, TypeError for complex numbers or half of a pair.
    Source: Amos and Kolter, OptNet: differentiable optimization as a layer (2017); Mehrotra, On the implementation of a
      primal-dual interior point method (1992).

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def nearest(y):  # among points whose coordinates are at most 1
    ...     return pb.rules.quadratic_program(pnp.eye(2), -y, g=pnp.eye(2), h=pnp.ones(2)).x
    >>> print(nearest(pnp.array([3., 0.5])), abs(pb.jacobian(nearest)(pnp.array([3., 0.5])).diagonal()))
    [1.  0.5] [0. 1.]
    """
    given = _program(q, c, g, h, a, b)
    dtype = given.q.dtype
    p = _Program(*(x.astype(pnp.promote_types(dtype, np.float32)) for x in given))  # LAPACK has no half precision
    fixed = _Program(*(lax.stop_gradient(x) for x in p))
    if p.g.shape[0] == 0:
        found, active = None, pnp.zeros(0, bool)
    else:
        x, slack, inequality, equality = _interior_point(fixed)
        found, active = QuadraticSolution(x, inequality, equality), inequality > slack
    return QuadraticSolution(*(part.astype(dtype) for part in _solution(p, active, found)))


def _program(q: Any, c: Any, g: Any, h: Any, a: Any, b: Any) -> _Program:
    q, c = (pnp.asarray(x) for x in (q, c))
    if c.ndim != 1 or q.shape != (c.shape[0], c.shape[0]):
        raise ValueError(f"quadratic_program: q must be (n, n) and c (n,), got shapes {q.shape} and {c.shape}")
    parts = [q, c]
    for names, matrix, bound in (("g and h", g, h), ("a and b", a, b)):
        if (matrix is None) != (bound is None):
            raise TypeError(f"quadratic_program: {names} belong together, got one of them")
        matrix = pnp.zeros((0, c.shape[0]), c.dtype) if matrix is None else pnp.asarray(matrix)
        bound = pnp.zeros(0, c.dtype) if bound is None else pnp.asarray(bound)
        if bound.ndim != 1 or matrix.shape != (bound.shape[0], c.shape[0]):
            raise ValueError(
                f"quadratic_program: {names} must be (m, {c.shape[0]}) and (m,), got shapes {matrix.shape} and "
                f"{bound.shape}"
            )
        parts += [matrix, bound]
    # shapes that have been checked need not broadcast: the dtype alone is common
    scalars = promote_operands("quadratic_program", FLOAT, *(pnp.zeros((), x.dtype) for x in parts))
    return _Program(*(x.astype(scalars[0].dtype) for x in parts))


def _solution(p: _Program, active: Array, found: QuadraticSolution | None) -> QuadraticSolution:
    """The solution of the equations that hold when the active inequalities do."""
    n, m, k = p.c.shape[0], p.h.shape[0], p.b.shape[0]
    mask = active[:, None]
    system = pnp.block(
        [
            [p.q, p.g.T, p.a.T],
            [pnp.where(mask, p.g, 0), pnp.where(mask, 0, pnp.eye(m, dtype=p.q.dtype)), pnp.zeros((m, k), p.q.dtype)],
            [p.a, pnp.zeros((k, m + k), p.q.dtype)],
        ]
    )
    z = pnp.linalg.solve(system, pnp.concatenate([-p.c, pnp.where(active, p.h, 0), p.b]))
    solved = QuadraticSolution(z[:n], z[n : n + m], z[n + m :])
    enough = pnp.sqrt(pnp.finfo(p.q.dtype).eps)
    best = solved
    if found is not None:
        # dependent constraints have no unique multipliers: the point that was found is as good as it gets
        kept = pnp.all(pnp.isfinite(z)) & (_residual(p, solved) <= pnp.maximum(enough, _residual(p, found)))
        # it has no derivative; a factor, since a selection would pass on the nan that it does not select
        unknown = pnp.where(kept, 0, pnp.nan) * sum(pnp.sum(x) for x in p)
        best = QuadraticSolution(
            *(
                pnp.where(kept, x, with_gradient_of(y, pnp.broadcast_to(unknown, y.shape)))
                for x, y in zip(solved, found, strict=True)
            )
        )
    right = _residual(p, best) <= enough
    return QuadraticSolution(*(pnp.where(right, x, pnp.nan) for x in best))


def _residual(p: _Program, z: QuadraticSolution) -> Array:
    """The largest violation of the conditions of Karush, Kuhn and Tucker, each relative to what is added up in it."""

    def largest(*parts):
        return pnp.max(pnp.concatenate([abs(part).reshape(-1) for part in parts]), initial=0)

    forces = (p.q @ z.x, p.c, p.g.T @ z.inequality, p.a.T @ z.equality)
    slack, mismatch = p.h - p.g @ z.x, p.a @ z.x - p.b
    dual, primal = largest(*forces, p.q), largest(p.g @ z.x, p.a @ z.x, p.h, p.b, p.g, p.a)
    violations = (
        (largest(sum(forces)), dual),
        (largest(mismatch, pnp.minimum(slack, 0)), primal),
        (largest(pnp.minimum(z.inequality, 0)), dual),
        (largest(slack * z.inequality), dual * primal),
    )
    shares = [violation / pnp.where(violation == 0, 1, size) for violation, size in violations]
    return lax.stop_gradient(pnp.max(pnp.stack(shares)))


def _interior_point(p: _Program) -> tuple[Array, Array, Array, Array]:
    """The point, slacks, and multipliers of inequalities and equations, by Mehrotra's predictor and corrector."""
    n, m = p.c.shape[0], p.h.shape[0]
    eps = float(pnp.finfo(p.q.dtype).eps)
    corner = pnp.zeros((p.b.shape[0],) * 2, p.q.dtype)

    def direction(weights, dual, primal, equations, products, slack, multipliers):
        matrix = pnp.block([[p.q + p.g.T @ (weights[:, None] * p.g), p.a.T], [p.a, corner]])
        right = pnp.concatenate([-dual - p.g.T @ ((multipliers * primal - products) / slack), -equations])
        step = pnp.linalg.solve(matrix, right)
        d_slack = -primal - p.g @ step[:n]
        return step[:n], d_slack, (-products - multipliers * d_slack) / slack, step[n:]

    def longest(x, dx):
        """The share of a step up to which x stays positive."""
        return pnp.min(pnp.where(dx < 0, -x / pnp.where(dx < 0, dx, -1), 1), initial=1)

    def advance(state):
        x, slack, multipliers, nu, count, _ = state
        dual = p.q @ x + p.c + p.g.T @ multipliers + p.a.T @ nu
        primal, equations = p.g @ x + slack - p.h, p.a @ x - p.b
        gap = slack @ multipliers / m
        around = (multipliers / slack, dual, primal, equations)
        _, ds, dl, _ = direction(*around, slack * multipliers, slack, multipliers)
        share = pnp.minimum(longest(slack, ds), longest(multipliers, dl))
        after = (slack + share * ds) @ (multipliers + share * dl) / m
        products = slack * multipliers + ds * dl - (after / gap) ** 3 * gap
        dx, ds, dl, dn = direction(*around, products, slack, multipliers)
        share = pnp.minimum(1, 0.99 * pnp.minimum(longest(slack, ds), longest(multipliers, dl)))
        new = (x + share * dx, slack + share * ds, multipliers + share * dl, nu + share * dn)
        fine = pnp.all(pnp.isfinite(pnp.concatenate(new)))  # near the end the systems may be singular
        new = tuple(pnp.where(fine, after, before) for after, before in zip(new, state[:4], strict=True))
        errors = pnp.concatenate([abs(dual), abs(primal), abs(equations), gap[None]])
        size = 1 + pnp.max(pnp.concatenate([abs(p.c), abs(p.h), abs(p.b)]))
        return (*new, count + 1, fine & (pnp.max(errors) > 8 * eps * size))

    ones = pnp.ones(m, p.q.dtype)
    start = (pnp.zeros_like(p.c), pnp.maximum(1, p.h), ones, pnp.zeros_like(p.b), 0, True)
    return lax.while_loop(lambda s: s[5] & (s[4] < _MAX_STEPS), advance, start)[:4]
