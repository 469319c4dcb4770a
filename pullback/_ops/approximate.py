"""Largest and smallest elements that may be found approximately, and are exact here."""

from __future__ import annotations

from pullback._core.array import Array, ArrayLike, lift
from pullback._ops.elementwise import neg
from pullback._ops.top_k import top_k


def approx_max_k(
    operand: ArrayLike,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> tuple[Array, Array]:
    """The `k` largest elements along an axis, in descending order, and their positions: here exact, as `top_k`.

    `recall_target` is how many of them an approximate search would have to find; with this and the other two parameters
    programs say how it may be shortened. ValueError for a `k` above the length of the axis and another recall.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.approx_max_k(pnp.array([1., 7., 3.]), 2)[0])
    [7. 3.]
    """
    _check_recall("approx_max_k", recall_target)
    return top_k(operand, k, axis=reduction_dimension)


def approx_min_k(
    operand: ArrayLike,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
) -> tuple[Array, Array]:
    """The `k` smallest elements along an axis, in ascending order, and their positions. See `approx_max_k`.

    ValueError for a `k` above the length of the axis and another recall.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> print(lax.approx_min_k(pnp.array([1., 7., 3.]), 2)[0])
    [1. 3.]
    """
    _check_recall("approx_min_k", recall_target)
    values, places = top_k(neg(lift(operand)), k, axis=reduction_dimension)
    return neg(values), places


def _check_recall(name: str, recall: float) -> None:
    if not 0 < recall <= 1:
        raise ValueError(f"{name}: recall_target must be above 0 and at most 1, got {recall}")
