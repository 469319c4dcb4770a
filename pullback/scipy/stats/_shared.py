"""Shared parts of the distributions: the standard form of their arguments, and results outside of their support."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import pullback.numpy as pnp
from pullback._core.array import Array, ArrayLike
from pullback.numpy._elementwise.promotion import FLOAT, as_operand, promote_operands, strong


def real(function: str, *args: ArrayLike) -> list[Array]:
    """Arguments as floating arrays of one dtype whose shapes broadcast; weakly typed only if all of them are."""
    arrays = [as_operand(x, function, i) for i, x in enumerate(args)]
    promoted = promote_operands(function, FLOAT, *arrays)
    return promoted if all(x.aval.weak_type for x in arrays) else [strong(x) for x in promoted]


def standard(function: str, x: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> tuple[Array, Array]:
    """`(x - loc) / scale`, and the scale."""
    x, loc, scale = real(function, x, loc, scale)
    return (x - loc) / scale, scale


def where_inside(outside: Array, otherwise: float, fun: Callable[[Array], Array], x: Array, harmless: float) -> Array:
    """`fun(x)`, but `otherwise` outside, where `fun` gets a harmless number, so that its slope there is not nan."""
    return pnp.where(outside, otherwise, fun(pnp.where(outside, harmless, x)))


def where_probability(q: Array, fun: Callable[[Array], Array]) -> Array:
    """`fun(q)` for probabilities, nan for other numbers."""
    return where_inside((q < 0) | (q > 1), np.nan, fun, q, 0.5)


def log1p_square(z: Array) -> Array:
    """`log(1 + z**2)` without overflow, also of its slopes."""
    large = abs(z) > 1
    far, near = pnp.where(large, abs(z), 1), pnp.where(large, 0, z)
    inverse = 1 / far
    return pnp.where(large, 2 * pnp.log(far) + pnp.log1p(inverse * inverse), pnp.log1p(near * near))


def log_of(probability: Array, complement: Array) -> Array:
    """The logarithm of a probability whose complement is known too: accurate near 0 and near 1."""
    high, zero = probability > 0.5, probability == 0
    low = pnp.log(pnp.where(high | zero, 1, probability))
    return pnp.where(high, pnp.log1p(0 - pnp.where(high, complement, 0)), pnp.where(zero, -np.inf, low))


def no_count(n: Array) -> Array:
    """Where a number is none of 0, 1, 2, ...; nan is left to the functions of it."""
    return (n < 0) | (n == np.inf) | (pnp.isfinite(n) & (n != pnp.floor(n)))
