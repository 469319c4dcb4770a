"""Krylov methods for linear systems: conjugate gradients, BiCGSTAB and GMRES, on vectors.

Each takes a linear function, the right-hand side, a start (None for zero), the size of the residual at which to stop,
the maximal number of steps, and a preconditioner, an approximate inverse of the function (None for none). It stands on
the right where a method leaves the choice, so that residuals are those of the system itself.
`on_vectors` takes a problem on pytrees to such a problem.
Source: Barrett et al., Templates for the Solution of Linear Systems (1994), chapter 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback import lax
from pullback import numpy as pnp
from pullback._core.array import Array
from pullback._core.tree import tree_flatten
from pullback._core.typing import PyTree
from pullback.flatten_util import ravel_pytree

__all__ = ["bicgstab", "cg", "gmres", "on_vectors", "ravel", "scale", "size"]


def ravel(name: str, tree: PyTree) -> tuple[Array, Callable]:
    """The entries of a pytree as one vector, and the inverse function; `name` is the caller, for messages."""
    kinds = [pnp.asarray(x).dtype for x in tree_flatten(tree)[0]]
    if len({kind.kind == "c" for kind in kinds}) > 1:
        raise TypeError(
            f"{name}: the unknowns must be all real or all complex, got the dtypes "
            + ", ".join(kind.name for kind in kinds)
        )
    vector, unravel = ravel_pytree(tree)
    return vector, lambda v: unravel(v.astype(vector.dtype))


def on_vectors(name: str, b: PyTree) -> tuple[Array, Callable, Callable]:
    """The vector of a right-hand side, the way back, and the form on vectors of a function of such pytrees."""
    vector, unravel = ravel(name, b)
    # half precision cannot sum squares
    dtype = pnp.float32 if vector.dtype.itemsize == 2 else vector.dtype

    def on_vector(fun: Callable) -> Callable:
        return lambda v: ravel(name, fun(unravel(v)))[0].astype(dtype)

    return vector.astype(dtype), unravel, on_vector


def scale(largest: Array) -> Any:
    """The power of 2 by which to divide a vector whose square would overflow; 1 for most."""
    info = pnp.finfo(largest.dtype)
    low, high = float(info.tiny) ** 0.5 / float(info.eps), float(info.max) ** 0.5 * float(info.eps)
    far = (largest > 0) & ((largest < low) | (largest > high))
    return pnp.where(far, largest / pnp.frexp(pnp.where(far, largest, 1))[0], 1)


def size(v: Array) -> Array:
    """The square of the length."""
    return pnp.vdot(v, v).real


def _start(matvec: Callable, b: Array, x0: Array | None) -> tuple[Array, Array]:
    """The first iterate and its residual."""
    return (pnp.zeros_like(b), b) if x0 is None else (x0, b - matvec(x0))


def cg(
    matvec: Callable, b: Array, x0: Array | None, limit: Any, max_steps: Any, precondition: Callable | None = None
) -> Array:
    """Conjugate gradients: Hestenes and Stiefel, J. Res. Nat. Bur. Standards 49 (1952)."""
    x, r = _start(matvec, b, x0)
    bound = limit * limit

    def weighed(r: Array) -> tuple[Array, Array, Array]:
        """The residual preconditioned, its product with the residual, and the residual's size."""
        rr = size(r)
        if precondition is None:
            return r, rr, rr
        z = precondition(r)
        return z, pnp.vdot(r, z).real, rr

    def step(state):
        x, r, p, rz, _, k = state
        q = matvec(p)
        alpha = rz / pnp.vdot(p, q).real
        r = r - alpha * q
        z, new, rr = weighed(r)
        return x + alpha * p, r, z + new / rz * p, new, rr, k + 1

    z, rz, rr = weighed(r)
    return lax.while_loop(lambda s: (s[4] > bound) & (s[5] < max_steps), step, (x, r, z, rz, rr, 0))[0]


def bicgstab(
    matvec: Callable, b: Array, x0: Array | None, limit: Any, max_steps: Any, precondition: Callable | None = None
) -> Array:
    """Stabilized biconjugate gradients: van der Vorst, SIAM J. Sci. Stat. Comput. 13 (1992)."""
    x, r = _start(matvec, b, x0)
    bound = limit * limit
    inverse = precondition or (lambda v: v)
    eps = float(pnp.finfo(b.dtype).eps)

    def quotient(a, b):
        # a step of no length where the direction is orthogonal to the shadow residual, or the residual 0 already
        return pnp.where(b == 0, 0, a / pnp.where(b == 0, 1, b))

    def step(state):
        x, r, shadow, p, rho, k = state
        direction = inverse(p)
        v = matvec(direction)
        alpha = quotient(rho, pnp.vdot(shadow, v))
        s = r - alpha * v
        correction = inverse(s)
        t = matvec(correction)
        omega = quotient(pnp.vdot(t, s), size(t))
        r = s - omega * t
        new = pnp.vdot(shadow, r)
        p = r + quotient(new, rho) * quotient(alpha, omega) * (p - omega * v)
        # a residual orthogonal to its shadow says nothing about the next step: begin anew from it
        lost = abs(new) <= eps * pnp.sqrt(size(shadow)) * pnp.sqrt(size(r))
        shadow, p = pnp.where(lost, r, shadow), pnp.where(lost, r, p)
        return x + alpha * direction + omega * correction, r, shadow, p, pnp.where(lost, pnp.vdot(r, r), new), k + 1

    state = (x, r, r, r, pnp.vdot(r, r), 0)
    return lax.while_loop(lambda s: (size(s[1]) > bound) & (s[5] < max_steps), step, state)[0]


def gmres(
    matvec: Callable,
    b: Array,
    x0: Array | None,
    limit: Any,
    max_steps: Any,
    precondition: Callable | None = None,
    *,
    restart: int,
    early: bool,
) -> Array:
    """Generalized minimal residuals: Saad and Schultz, SIAM J. Sci. Stat. Comput. 7 (1986).

    `max_steps` counts restarts. With `early` a cycle ends where the residual reaches the limit, else after `restart`
    directions. The Arnoldi vectors are made orthogonal twice, and the Hessenberg matrix triangular by rotations.
    """
    inverse = precondition or (lambda v: v)
    m, n = restart, b.size
    eps = float(pnp.finfo(b.dtype).eps)

    def extend(state):
        basis, rotated, triangle, _, j = state
        w = matvec(inverse(basis[j]))
        before = pnp.sqrt(size(w))
        column = pnp.zeros(m + 1, b.dtype)
        for _ in range(2):
            part = basis.conj() @ w
            column, w = column + part, w - part @ basis
        after = pnp.sqrt(size(w))
        # nothing new: the space holds the solution
        ends = after <= 4 * eps * before
        after = pnp.where(ends, 0, after)
        basis = basis.at[j + 1].set(w / pnp.where(ends, 1, after) * ~ends)
        column = rotated @ column.at[j + 1].set(after)
        upper, lower = column[j], column[j + 1]
        length = pnp.sqrt(abs(upper) ** 2 + abs(lower) ** 2)
        # a direction that the matrix maps to what others are mapped to gets no weight
        useless = length <= 4 * eps * before
        whole = pnp.where(useless, 1, length)
        c, s = pnp.where(useless, 1, upper / whole), pnp.where(useless, 0, lower / whole)
        first, second = rotated[j], rotated[j + 1]
        rotated = rotated.at[j].set(c.conj() * first + s.conj() * second).at[j + 1].set(c * second - s * first)
        column = column.at[j].set(pnp.where(useless, pnp.inf, length)).at[j + 1].set(0)
        return basis, rotated, triangle.at[:, j].set(column[:m]), ends, j + 1

    def cycle(state):
        x, r, k = state
        length = pnp.sqrt(size(r))
        basis = pnp.zeros((m + 1, n), b.dtype).at[0].set(r / pnp.where(length == 0, 1, length))

        def goes_on(state):
            _, rotated, _, ends, j = state
            more = (j < m) & ~ends
            return more & (length * abs(rotated[j, 0]) > limit) if early else more

        start = (basis, pnp.eye(m + 1, dtype=b.dtype), pnp.eye(m, dtype=b.dtype), False, 0)
        basis, rotated, triangle, _, j = lax.while_loop(goes_on, extend, start)
        right = pnp.where(pnp.arange(m) < j, length * rotated[:m, 0], 0)
        weights = lax.linalg.triangular_solve(triangle, right[:, None], left_side=True)[:, 0]
        x = x + inverse(weights @ basis[:m])
        return x, b - matvec(x), k + 1

    x, r = _start(matvec, b, x0)
    return lax.while_loop(lambda s: (size(s[1]) > limit * limit) & (s[2] < max_steps), cycle, (x, r, 0))[0]
