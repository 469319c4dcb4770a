"""Entropic optimal transport, differentiated as the fixed point that it is."""

from __future__ import annotations

import numpy as np

from pullback import implicit
from pullback import numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback._core.errors import boundary
from pullback.nn import logsumexp
from pullback.numpy._elementwise.promotion import FLOAT, promote_operands

__all__ = ["sinkhorn"]


@boundary
def sinkhorn(
    cost: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    epsilon: ArrayLike = 0.1,
    tol: float | None = None,
    max_steps: int = 1000,
) -> Array:
    """The plan P that minimizes `sum(P * cost) - epsilon * entropy(P)` with row sums `a` and column sums `b`.

    Sinkhorn's iteration, on logarithms; derivatives are those of its fixed point, whatever the number of steps.

    Args:
      cost: the cost of moving a unit from i to j, a real array of shape (n, m).
      a, b: what there is to send and to receive, of shapes (n,) and (m,), positive, with the same sum; by default
        1 / n and 1 / m.
      epsilon: a positive number. The smaller, the sharper the plan, and the more steps are needed.
      tol: the relative change of the potentials under which the iteration stops, see `implicit.fixed_point`.
      max_steps: the maximal number of iterations. If it is reached, the column sums are not yet those asked for.

    Returns: the plan, of shape (n, m). The optimal cost is `sum(plan * cost)`.
    Raises: ValueError for shapes that do not fit, TypeError for complex numbers.
    Source: Cuturi, Sinkhorn distances (2013); Luise and others, Differential properties of Sinkhorn approximation
      (2018).

    >>> import pullback as pb, pullback.numpy as pnp
    >>> cost = pnp.array([[0., 1.], [1., 0.]])
    >>> print(pb.rules.sinkhorn(cost, epsilon=0.5).round(3))
    [[0.44 0.06]
     [0.06 0.44]]
    """
    cost, epsilon = promote_operands("sinkhorn", FLOAT, cost, epsilon)
    if cost.ndim != 2 or 0 in cost.shape:
        raise ValueError(f"sinkhorn: cost must be of shape (n, m), with n and m at least 1, got {cost.shape}")
    n, m = cost.shape
    cost, a = promote_operands("sinkhorn", FLOAT, cost, pnp.full((n, 1), 1 / n) if a is None else _column(a, n, "a"))
    cost, b = promote_operands(
        "sinkhorn", FLOAT, cost, pnp.full((m, 1), 1 / m).T if b is None else _column(b, m, "b").T
    )
    dtype = cost.dtype
    # the plan's logarithms are sums of large numbers: half precision would lose what they differ by
    cost, epsilon, a, b = (x.astype(pnp.promote_types(dtype, np.float32)) for x in (cost, epsilon, a, b))
    scaled, log_a, log_b = cost / epsilon, pnp.log(a)[:, 0], pnp.log(b)[0]

    def rows(g):
        return log_a - logsumexp(g[None, :] - scaled, axis=1)

    def step(g):
        # the potentials are known but for a constant, which is chosen: without it the fixed point is not isolated
        new = log_b - logsumexp(rows(g)[:, None] - scaled, axis=0)
        return new - pnp.mean(new)

    g = implicit.fixed_point(step, pnp.zeros_like(log_b), tol=tol, max_steps=max_steps)
    return pnp.exp(rows(g)[:, None] + g[None, :] - scaled).astype(dtype)


def _column(x: ArrayLike, length: int, name: str) -> Array:
    x = pnp.asarray(x)
    if x.shape != (length,):
        raise ValueError(f"sinkhorn: {name} must be of shape ({length},), as cost says, got {x.shape}")
    return x[:, None]
