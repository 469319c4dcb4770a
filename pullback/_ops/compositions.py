"""Primitives of JAX's that are compositions here: `bind` applies the operations, and no equation holds the name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.array import Array
from pullback._core.primitive import Primitive
from pullback._core.typing import AnyValue
from pullback._ops import approximate, compare, incomplete_gamma, scatter_functions, shape, stacking, tokens
from pullback._ops.top_k import top_k


class Composition(Primitive):
    """An operation of JAX's that consists of others here: `bind` applies them.

    >>> from pullback import lax
    >>> import pullback.numpy as pnp
    >>> lax.squeeze_p.bind(pnp.ones((1, 3)), dimensions=(0,)).shape
    (3,)
    """

    __slots__ = ("_function",)

    def __init__(self, name: str, function: Callable[..., Any], multiple_results: bool = False):
        super().__init__(name, multiple_results)
        self._function = function

    def bind(self, /, *args: AnyValue, **params: AnyValue) -> Any:
        """Apply the operations."""
        return self._function(*args, **params)


def _stack(*operands: Array, axis: int) -> Array:
    return stacking.stack(operands, axis)


def _unstack(operand: Array, axis: int) -> Sequence[Array]:
    return [*stacking.unstack(operand, axis)]


def _select_n(which: Array, *cases: Array) -> Array:
    return compare.select_n(which, *cases)


def _largest(operand: Array, *, k: int, reduction_dimension: int, is_max_k: bool, **_: AnyValue) -> Sequence[Array]:
    if is_max_k:
        return [*top_k(operand, k, axis=reduction_dimension)]
    return [*approximate.approx_min_k(operand, k, reduction_dimension)]


after_all_p: Composition = Composition("after_all", tokens.after_all)
approx_top_k_p: Composition = Composition("approx_top_k", _largest, multiple_results=True)
copy_p: Composition = Composition("copy", lambda x: tokens.stage(x))
create_token_p: Composition = Composition("create_token", tokens.create_token)
igamma_grad_a_p: Composition = Composition("igamma_grad_a", incomplete_gamma.igamma_grad_a)
scatter_sub_p: Composition = Composition("scatter_sub", scatter_functions.scatter_sub)
select_n_p: Composition = Composition("select_n", _select_n)
squeeze_p: Composition = Composition("squeeze", lambda x, dimensions: shape.squeeze(x, dimensions))
stack_p: Composition = Composition("stack", _stack)
stage_p: Composition = Composition("stage", tokens.stage)
tile_p: Composition = Composition("tile", stacking.tile)
unstack_p: Composition = Composition("unstack", _unstack, multiple_results=True)
