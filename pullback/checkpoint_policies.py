"""Policies for `pullback.checkpoint(..., policy=...)`: the choice of the values that a checkpointed function saves.

A policy is called with a primitive, the types of its operands, and its parameters; it returns whether its results may
be saved. Other values are recomputed when the derivative needs them. A policy of one's own is such a function, or an
object of a class derived from `Policy`; they are combined by `|`, `&` and `~`, compared by value, and shown as written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from pullback._core.arguments import check_callable
from pullback._core.errors import boundary, described
from pullback._core.primitive import Primitive
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue
from pullback._higher_order.checkpoint import name_p
from pullback._higher_order.policy import NamedPolicy, either
from pullback._higher_order.policy import Policy as Policy
from pullback._ops.conv import conv_general_dilated_p
from pullback._ops.dot import dot_general_p

__all__ = [
    "Policy",
    "SaveAndOffloadOnlyTheseNames",
    "SaveAnyNamesButThese",
    "SaveOnlyTheseNames",
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


@NamedPolicy
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


@NamedPolicy
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


@NamedPolicy
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


@NamedPolicy
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


def _names(function: str, names: tuple[Any, ...]) -> tuple[str, ...]:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"{function}: a name must be a string, as given to checkpoint_name, got {described(name)}"
                f". Pass several names as several arguments."
            )
    return tuple(sorted(set(names)))


@dataclass(frozen=True, init=False, repr=False)
class _ByName(Policy):
    """A policy about the values that `checkpoint_name` gave a name."""

    names: tuple[str, ...]
    function: ClassVar[str]

    @boundary
    def __init__(self, *names: str):
        object.__setattr__(self, "names", _names(self.function, names))

    def __repr__(self) -> str:
        return f"{self.function}({', '.join(map(repr, self.names))})"


class SaveOnlyTheseNames(_ByName):
    """The class of policies that `save_only_these_names` makes.

    >>> SaveOnlyTheseNames("hidden") == save_only_these_names("hidden")
    True
    """

    function = "save_only_these_names"

    def __call__(self, primitive: Any, /, *types: ShapedArray, **params: AnyValue) -> bool:
        return primitive is name_p and params["name"] in self.names


class SaveAnyNamesButThese(_ByName):
    """The class of policies that `save_any_names_but_these` makes.

    >>> SaveAnyNamesButThese("hidden") == save_any_names_but_these("hidden")
    True
    """

    function = "save_any_names_but_these"

    def __call__(self, primitive: Any, /, *types: ShapedArray, **params: AnyValue) -> bool:
        return primitive is name_p and params["name"] not in self.names


class _AnythingExcept(_ByName):
    function = "save_anything_except_these_names"

    def __call__(self, primitive: Any, /, *types: ShapedArray, **params: AnyValue) -> bool:
        return primitive is not name_p or params["name"] not in self.names


@boundary
def save_only_these_names(*names: str) -> Policy:
    """Save the values that `checkpoint_name` gave one of these names, and nothing else.

    TypeError for a name that is not a string.

    >>> policy = save_only_these_names("hidden", "scores")
    >>> policy(name_p, name="scores"), policy(name_p, name="other"), policy(dot_general_p)
    (True, False, False)
    """
    return SaveOnlyTheseNames(*names)


@boundary
def save_any_names_but_these(*names: str) -> Policy:
    """Save the values that `checkpoint_name` gave any name but these, and nothing else.

    TypeError for a name that is not a string.

    >>> policy = save_any_names_but_these("scores")
    >>> policy(name_p, name="scores"), policy(name_p, name="other"), policy(dot_general_p)
    (False, True, False)
    """
    return SaveAnyNamesButThese(*names)


@boundary
def save_anything_except_these_names(*names: str) -> Policy:
    """Save everything but the values that `checkpoint_name` gave one of these names.

    The operation before the name gives the same value without the name, and may be saved, as in JAX. TypeError for a
    name that is not a string.

    >>> policy = save_anything_except_these_names("scores")
    >>> policy(name_p, name="scores"), policy(name_p, name="other"), policy(dot_general_p)
    (False, True, True)
    """
    return _AnythingExcept(*names)


@boundary
def save_from_both_policies(policy_1: Callable[..., Any], policy_2: Callable[..., Any]) -> Policy:
    """Save the values that either of two policies saves: `policy_1 | policy_2`. TypeError for what is not callable.

    >>> policy = save_from_both_policies(dots_saveable, save_only_these_names("hidden"))
    >>> policy(name_p, name="hidden"), policy(dot_general_p), policy(name_p, name="other")
    (True, True, False)
    >>> policy
    dots_saveable | save_only_these_names('hidden')
    """
    for part in (policy_1, policy_2):
        check_callable("save_from_both_policies", part)
    return either(policy_1, policy_2)


# --- policies that name a memory: the CPU computes in the host's, so offloaded values are saved in place ---


def _memories(function: str, offload_src: Any, offload_dst: Any) -> None:
    for argument, kind in (("offload_src", offload_src), ("offload_dst", offload_dst)):
        if kind not in _MEMORIES:
            raise ValueError(f"{function}: {argument} must be one of {', '.join(map(repr, _MEMORIES))}, got {kind!r}")


_MEMORIES = ("device", "pinned_host", "unpinned_host")


@dataclass(frozen=True, init=False, repr=False)
class SaveAndOffloadOnlyTheseNames(Policy):
    """The class of policies that `save_and_offload_only_these_names` makes.

    >>> SaveAndOffloadOnlyTheseNames(["hidden"], ["scores"], "device", "pinned_host").names_which_can_be_offloaded
    ('scores',)
    """

    names_which_can_be_saved: tuple[str, ...]
    names_which_can_be_offloaded: tuple[str, ...]
    offload_src: str
    offload_dst: str

    @boundary
    def __init__(
        self,
        names_which_can_be_saved: Sequence[str],
        names_which_can_be_offloaded: Sequence[str],
        offload_src: str,
        offload_dst: str,
    ):
        function = "save_and_offload_only_these_names"
        _memories(function, offload_src, offload_dst)
        both = []
        for names in (names_which_can_be_saved, names_which_can_be_offloaded):
            if isinstance(names, str):
                raise TypeError(
                    f"{function}: expected a sequence of names, got the string {names!r}; write [{names!r}]"
                )
            both.append(_names(function, tuple(names)))
        saved, offloaded = both
        for name in saved:
            if name in offloaded:
                raise ValueError(f"{function}: {name!r} is among the names to save and those to offload")
        for field, value in zip(fields(self), (saved, offloaded, offload_src, offload_dst), strict=True):
            object.__setattr__(self, field.name, value)

    def __call__(self, primitive: Any, /, *types: ShapedArray, **params: AnyValue) -> bool:
        return primitive is name_p and (
            params["name"] in self.names_which_can_be_saved or params["name"] in self.names_which_can_be_offloaded
        )

    def __repr__(self) -> str:
        given = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields(self))
        return f"save_and_offload_only_these_names({given})"


@boundary
def save_and_offload_only_these_names(
    *,
    names_which_can_be_saved: Sequence[str],
    names_which_can_be_offloaded: Sequence[str],
    offload_src: str,
    offload_dst: str,
) -> Policy:
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
    return SaveAndOffloadOnlyTheseNames(
        names_which_can_be_saved, names_which_can_be_offloaded, offload_src, offload_dst
    )


@boundary
def offload_dot_with_no_batch_dims(offload_src: str, offload_dst: str) -> Policy:
    """Save results of matrix products without batch axes in the memory `offload_dst`, which is the CPU's own.

    Raises: ValueError for unknown memories.

    >>> offload_dot_with_no_batch_dims("device", "pinned_host") is dots_with_no_batch_dims_saveable
    True
    """
    _memories("offload_dot_with_no_batch_dims", offload_src, offload_dst)
    return dots_with_no_batch_dims_saveable
