"""Policies for `pullback.checkpoint(..., policy=...)`: the choice of the values that a checkpointed function saves.

A policy is called with a primitive, the types of its operands, and its parameters; it returns whether its results may
be saved. Other values are recomputed when the derivative needs them. A custom policy is such a function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.arguments import check_callable
from pullback._core.errors import boundary, described
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._higher_order.checkpoint import name_p
from pullback._ops.conv import conv_general_dilated_p
from pullback._ops.dot import dot_general_p

__all__ = [
    "checkpoint_dots",
    "checkpoint_dots_with_no_batch_dims",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
    "everything_saveable",
    "nothing_saveable",
    "offload_dot_with_no_batch_dims",
    "save_and_offload_only_these_names",
    "save_any_names_but_these",
    "save_anything_except_these_names",
    "save_from_both_policies",
    "save_only_these_names",
]


def everything_saveable(primitive: Primitive, *types: ShapedArray, **params: AnyValue) -> bool:
    """Save everything that the derivative needs, as if there were no checkpoint.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> f = pb.checkpoint(lambda w, x: pnp.sin(w @ x).sum(), policy=everything_saveable)
    >>> for kept in pb.ad_checkpoint.saved_residuals(f, pnp.ones((2, 2)), pnp.ones(2)):
    ...     print(kept)
    f32[2,2] from the argument 'w'
    f32[2] from the argument 'x'
    f32[2] output of cos from ...
    """
    return True


def nothing_saveable(primitive: Primitive, *types: ShapedArray, **params: AnyValue) -> bool:
    """Save only the inputs: the default without a policy.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> f = pb.checkpoint(lambda w, x: pnp.sin(w @ x).sum(), policy=nothing_saveable)
    >>> for kept in pb.ad_checkpoint.saved_residuals(f, pnp.ones((2, 2)), pnp.ones(2)):
    ...     print(kept)
    f32[2,2] from the argument 'w'
    f32[2] from the argument 'x'
    """
    return False


def dots_saveable(primitive: Primitive, *types: ShapedArray, **params: AnyValue) -> bool:
    """Save results of matrix products and convolutions, which are expensive to recompute.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> f = pb.checkpoint(lambda w, x: pnp.sin(w @ x).sum(), policy=dots_saveable)
    >>> for kept in pb.ad_checkpoint.saved_residuals(f, pnp.ones((2, 2)), pnp.ones(2)):
    ...     print(kept)
    f32[2,2] from the argument 'w'
    f32[2] from the argument 'x'
    f32[2] output of dot_general from ...
    """
    return primitive in (dot_general_p, conv_general_dilated_p)


def dots_with_no_batch_dims_saveable(primitive: Primitive, *types: ShapedArray, **params: AnyValue) -> bool:
    """Save results of matrix products without batch axes: of layers with weights, but not of attention scores.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> f = pb.checkpoint(lambda w, x: pnp.sin(w @ x).sum(), policy=dots_with_no_batch_dims_saveable)
    >>> w, x = pnp.ones((5, 2, 2)), pnp.ones((5, 2, 2))
    >>> for kept in pb.ad_checkpoint.saved_residuals(f, w[0], x[0]):
    ...     print(kept)
    f32[2,2] from the argument 'w'
    f32[2,2] from the argument 'x'
    f32[2,2] output of dot_general from ...
    >>> for kept in pb.ad_checkpoint.saved_residuals(f, w, x):
    ...     print(kept)
    f32[5,2,2] from the argument 'w'
    f32[5,2,2] from the argument 'x'
    """
    return primitive is dot_general_p and not any(params["dimension_numbers"][1])


checkpoint_dots = dots_saveable
checkpoint_dots_with_no_batch_dims = dots_with_no_batch_dims_saveable


def _names(function: str, names: tuple[Any, ...]) -> frozenset[str]:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"{function}: a name must be a string, as given to checkpoint_name, got {described(name)}"
                f". Pass several names as several arguments."
            )
    return frozenset(names)


@boundary
def save_only_these_names(*names: str) -> Callable[..., bool]:
    """Save the values that `checkpoint_name` gave one of these names, and nothing else.

    TypeError for a name that is not a string.

    >>> policy = save_only_these_names("hidden", "scores")
    >>> policy(name_p, name="scores"), policy(name_p, name="other"), policy(dot_general_p)
    (True, False, False)
    """
    wanted = _names("save_only_these_names", names)

    def policy(primitive: Any, *types: Any, **params: Any) -> bool:
        return primitive is name_p and params["name"] in wanted

    return policy


@boundary
def save_any_names_but_these(*names: str) -> Callable[..., bool]:
    """Save the values that `checkpoint_name` gave any name but these, and nothing else.

    TypeError for a name that is not a string.

    >>> policy = save_any_names_but_these("scores")
    >>> policy(name_p, name="scores"), policy(name_p, name="other"), policy(dot_general_p)
    (False, True, False)
    """
    unwanted = _names("save_any_names_but_these", names)

    def policy(primitive: Any, *types: Any, **params: Any) -> bool:
        return primitive is name_p and params["name"] not in unwanted

    return policy


@boundary
def save_anything_except_these_names(*names: str) -> Callable[..., bool]:
    """Save everything but the values that `checkpoint_name` gave one of these names.

    The operation before the name gives the same value without the name, and may be saved, as in JAX. TypeError for a
    name that is not a string.

    >>> policy = save_anything_except_these_names("scores")
    >>> policy(name_p, name="scores"), policy(name_p, name="other"), policy(dot_general_p)
    (False, True, True)
    """
    unwanted = _names("save_anything_except_these_names", names)

    def policy(primitive: Any, *types: Any, **params: Any) -> bool:
        return primitive is not name_p or params["name"] not in unwanted

    return policy


@boundary
def save_from_both_policies(policy_1: Callable[..., bool], policy_2: Callable[..., bool]) -> Callable[..., bool]:
    """Save the values that either of two policies saves. TypeError for a policy that is not callable.

    >>> policy = save_from_both_policies(dots_saveable, save_only_these_names("hidden"))
    >>> policy(name_p, name="hidden"), policy(dot_general_p), policy(name_p, name="other")
    (True, True, False)
    """
    for part in (policy_1, policy_2):
        check_callable("save_from_both_policies", part)

    def policy(primitive: Any, *types: Any, **params: Any) -> bool:
        return bool(policy_1(primitive, *types, **params) or policy_2(primitive, *types, **params))

    return policy


# --- policies that name a memory: the CPU computes in the host's, so offloaded values are saved in place ---


def _memories(function: str, offload_src: Any, offload_dst: Any) -> None:
    for argument, kind in (("offload_src", offload_src), ("offload_dst", offload_dst)):
        if kind not in _MEMORIES:
            raise ValueError(f"{function}: {argument} must be one of {', '.join(map(repr, _MEMORIES))}, got {kind!r}")


_MEMORIES = ("device", "pinned_host", "unpinned_host")


@boundary
def save_and_offload_only_these_names(
    *,
    names_which_can_be_saved: Sequence[str],
    names_which_can_be_offloaded: Sequence[str],
    offload_src: str,
    offload_dst: str,
) -> Callable[..., bool]:
    """Save the values that `checkpoint_name` gave one of these names, some of them in the memory `offload_dst`.

    The device is the CPU, whose memory is the host's: there is one memory, and both kinds are saved in it. The policy
    exists for programs that are also written for other devices.

    Raises: TypeError for names that are not strings, ValueError for a name in both lists and for unknown memories.

    >>> policy = save_and_offload_only_these_names(
    ...     names_which_can_be_saved=["hidden"], names_which_can_be_offloaded=["scores"], offload_src="device",
    ...     offload_dst="pinned_host")
    >>> policy(name_p, name="scores"), policy(name_p, name="other")
    (True, False)
    """
    function = "save_and_offload_only_these_names"
    _memories(function, offload_src, offload_dst)
    for names in (names_which_can_be_saved, names_which_can_be_offloaded):
        if isinstance(names, str):
            raise TypeError(f"{function}: expected a sequence of names, got the string {names!r}; write [{names!r}]")
    saved, offloaded = (_names(function, tuple(n)) for n in (names_which_can_be_saved, names_which_can_be_offloaded))
    if saved & offloaded:
        raise ValueError(f"{function}: {min(saved & offloaded)!r} is among the names to save and those to offload")
    return save_only_these_names(*saved, *offloaded)


@boundary
def offload_dot_with_no_batch_dims(offload_src: str, offload_dst: str) -> Callable[..., bool]:
    """Save results of matrix products without batch axes in the memory `offload_dst`, which is the CPU's own.

    Raises: ValueError for unknown memories.

    >>> offload_dot_with_no_batch_dims("device", "pinned_host") is dots_with_no_batch_dims_saveable
    True
    """
    _memories("offload_dot_with_no_batch_dims", offload_src, offload_dst)
    return dots_with_no_batch_dims_saveable
