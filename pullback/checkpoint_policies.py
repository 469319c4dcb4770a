"""What a checkpointed function may save: policies for `pullback.checkpoint(..., policy=...)`.

A policy is called with a primitive, the types of its operands, and its parameters; it says whether its results may be
saved. What may not be saved is computed again when the derivative needs it. A policy of one's own is such a function.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pullback._core.arguments import check_callable
from pullback._core.errors import boundary
from pullback._higher_order.checkpoint import name_p
from pullback._ops.conv import conv_general_dilated_p
from pullback._ops.dot import dot_general_p

__all__ = ["checkpoint_dots", "checkpoint_dots_with_no_batch_dims", "dots_saveable",
           "dots_with_no_batch_dims_saveable", "everything_saveable", "nothing_saveable", "save_any_names_but_these",
           "save_anything_except_these_names", "save_from_both_policies", "save_only_these_names"]


def everything_saveable(primitive: Any, *types: Any, **params: Any) -> bool:
    """Save all that the derivative needs, as if there were no checkpoint."""
    return True


def nothing_saveable(primitive: Any, *types: Any, **params: Any) -> bool:
    """Save the inputs alone: what is done without a policy."""
    return False


def dots_saveable(primitive: Any, *types: Any, **params: Any) -> bool:
    """Save results of matrix products and convolutions, which are expensive to compute again."""
    return primitive in (dot_general_p, conv_general_dilated_p)


def dots_with_no_batch_dims_saveable(primitive: Any, *types: Any, **params: Any) -> bool:
    """Save results of matrix products without batch axes: of layers with weights, say, but not of attention scores."""
    return primitive is dot_general_p and not any(params["dimension_numbers"][1])


checkpoint_dots = dots_saveable
checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable


def _names(function: str, names: tuple[Any, ...]) -> frozenset[str]:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{function}: a name must be a string, as given to checkpoint_name, got {name!r} of type "
                            f"{type(name).__name__}. Pass several names as several arguments.")
    return frozenset(names)


@boundary
def save_only_these_names(*names: str) -> Callable[..., bool]:
    """Save the values that `checkpoint_name` gave one of these names, and nothing else."""
    wanted = _names("save_only_these_names", names)

    def policy(primitive: Any, *types: Any, **params: Any) -> bool:
        return primitive is name_p and params["name"] in wanted

    return policy


@boundary
def save_any_names_but_these(*names: str) -> Callable[..., bool]:
    """Save the values that `checkpoint_name` gave any name but these, and nothing else."""
    unwanted = _names("save_any_names_but_these", names)

    def policy(primitive: Any, *types: Any, **params: Any) -> bool:
        return primitive is name_p and params["name"] not in unwanted

    return policy


@boundary
def save_anything_except_these_names(*names: str) -> Callable[..., bool]:
    """Save everything but the values that `checkpoint_name` gave one of these names.

    The operation before the name gives the same value without the name, and may be saved, as in JAX.
    """
    unwanted = _names("save_anything_except_these_names", names)

    def policy(primitive: Any, *types: Any, **params: Any) -> bool:
        return primitive is not name_p or params["name"] not in unwanted

    return policy


@boundary
def save_from_both_policies(policy_1: Callable[..., bool], policy_2: Callable[..., bool]) -> Callable[..., bool]:
    """Save what either of two policies saves."""
    for part in (policy_1, policy_2):
        check_callable("save_from_both_policies", part)

    def policy(primitive: Any, *types: Any, **params: Any) -> bool:
        return bool(policy_1(primitive, *types, **params) or policy_2(primitive, *types, **params))

    return policy
