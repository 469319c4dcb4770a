"""Policies of `checkpoint` as objects: how they are asked, shown, compared and combined."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pullback._core.errors import boundary, describe_function, described
from pullback._core.jaxpr import Equation
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue

PolicyLike = Callable[..., Any]


class Decision:
    """What a policy may return in place of a bool; `bool(...)` of it tells whether the result is saved."""

    __slots__ = ("name", "saves")

    def __init__(self, name: str, saves: bool):
        self.name: str = name
        self.saves: bool = saves

    def __bool__(self) -> bool:
        return self.saves

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str:
        return self.name


Saveable: Decision = Decision("Saveable", True)
Recompute: Decision = Decision("Recompute", False)


class Offloadable(NamedTuple):
    """What a policy may return to have a result saved in the memory `dst`: in place here, as the CPU has one memory.

    >>> import pullback as pb
    >>> from pullback.ad_checkpoint import Offloadable
    >>> f = pb.checkpoint(pb.lax.sin, policy=lambda prim, *types, **params: Offloadable("device", "pinned_host"))
    >>> print(pb.grad(f)(0.))
    1.0
    """

    src: str
    dst: str


class Policy:
    """The choice of the values that a checkpointed function saves: a callable object, a base for one's own classes.

    `policy(primitive, *types, **params)` is called with a primitive, the types of its operands and its parameters, and
    returns whether its results may be saved: a bool, or `Saveable`, `Recompute` or `Offloadable` of `ad_checkpoint`.

    Policies are combined by `|`, `&` and `~`, with each other and with plain functions. `checkpoint` keeps what it has
    derived for a policy: a class with settings should define `__eq__` and `__hash__`, as a frozen dataclass does.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from dataclasses import dataclass
    >>> from pullback.checkpoint_policies import Policy, dots_saveable
    >>> @dataclass(frozen=True)
    ... class Small(Policy):
    ...     bytes: int
    ...     def __call__(self, primitive, *types, **params):
    ...         return all(t.size * t.dtype.itemsize <= self.bytes for t in types)
    >>> policy = Small(16) & ~dots_saveable
    >>> print(policy)
    Small(bytes=16) & ~dots_saveable
    >>> f = pb.checkpoint(lambda w, x: pnp.sin(w @ x).sum(), policy=policy)
    >>> print([str(r.aval.str_short()) for r in pb.ad_checkpoint.saved_residuals(f, pnp.ones((9, 2)), pnp.ones(2))])
    ['f32[9,2]', 'f32[2]']
    """

    __slots__ = ()

    def __call__(self, primitive: Any, /, *types: ShapedArray, **params: AnyValue) -> Any:
        """Return whether the results of an operation may be saved."""
        raise NotImplementedError(
            f"{type(self).__name__}: a policy must define __call__(self, primitive, *types, **params) -> bool"
        )

    @boundary
    def __or__(self, other: PolicyLike) -> Policy:
        return _AnyOf(_flat(_AnyOf, self, other, "|"))

    @boundary
    def __ror__(self, other: PolicyLike) -> Policy:
        return _AnyOf(_flat(_AnyOf, other, self, "|"))

    @boundary
    def __and__(self, other: PolicyLike) -> Policy:
        return _AllOf(_flat(_AllOf, self, other, "&"))

    @boundary
    def __rand__(self, other: PolicyLike) -> Policy:
        return _AllOf(_flat(_AllOf, other, self, "&"))

    def __invert__(self) -> Policy:
        return self.policy if isinstance(self, _Not) else _Not(self)


class NamedPolicy(Policy):
    """A policy that is a function of a module, shown by its name."""

    def __init__(self, function: Callable[..., bool]):
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, primitive: Any, /, *types: ShapedArray, **params: AnyValue) -> bool:
        return self.function(primitive, *types, **params)

    def __repr__(self) -> str:
        return self.function.__name__

    def __reduce__(self) -> str:
        return self.function.__name__


class _Combined(Policy):
    """A policy made of others, `parts`."""

    __slots__ = ("parts",)
    sign = ""

    def __init__(self, parts: tuple[PolicyLike, ...]):
        self.parts = parts

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, _Combined) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash((type(self), self.parts))

    def __repr__(self) -> str:
        return f" {self.sign} ".join(
            f"({shown(p)})" if isinstance(p, _Combined) and type(p) is not type(self) else shown(p) for p in self.parts
        )


class _AnyOf(_Combined):
    __slots__ = ()
    sign = "|"

    def __call__(self, primitive: Any, /, *types: ShapedArray, **params: AnyValue) -> bool:
        return any(decided(p, primitive, types, params) for p in self.parts)


class _AllOf(_Combined):
    __slots__ = ()
    sign = "&"

    def __call__(self, primitive: Any, /, *types: ShapedArray, **params: AnyValue) -> bool:
        return all(decided(p, primitive, types, params) for p in self.parts)


class _Not(Policy):
    __slots__ = ("policy",)

    def __init__(self, policy: Policy):
        self.policy = policy

    def __call__(self, primitive: Any, /, *types: ShapedArray, **params: AnyValue) -> bool:
        return not decided(self.policy, primitive, types, params)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Not) and self.policy == other.policy

    def __hash__(self) -> int:
        return hash((_Not, self.policy))

    def __repr__(self) -> str:
        return f"~({self.policy!r})" if isinstance(self.policy, _Combined) else f"~{self.policy!r}"


def _flat(kind: type[_Combined], a: Any, b: Any, sign: str) -> tuple[PolicyLike, ...]:
    for part in (a, b):
        if not callable(part):
            raise TypeError(f"a policy {sign} another: expected a policy or a function, got {described(part)}")
    parts = [p for part in (a, b) for p in (part.parts if isinstance(part, kind) else (part,))]
    return tuple(dict.fromkeys(parts))


def either(a: PolicyLike, b: PolicyLike) -> Policy:
    """The policy that saves what either of two saves."""
    return _AnyOf(_flat(_AnyOf, a, b, "|"))


def shown(policy: PolicyLike | None) -> str:
    """A policy for messages and reports: a function by its name and place."""
    return repr(policy) if policy is None or isinstance(policy, Policy) else describe_function(policy)


def decided(policy: PolicyLike, primitive: Any, types: tuple[ShapedArray, ...], params: dict[str, Any]) -> bool:
    """What a policy says of an operation; TypeError if that is no decision."""
    answer = policy(primitive, *types, **params)
    if answer is True or answer is False:
        return answer
    if isinstance(answer, (np.bool_, Decision, Offloadable)):
        return bool(answer)
    raise TypeError(
        f"checkpoint: the policy {shown(policy)} must return a bool (or Saveable, Recompute, Offloadable), got "
        f"{described(answer)} for the operation '{primitive}'"
    )


def allows(policy: PolicyLike | None, eqn: Equation) -> bool:
    """Return whether a policy allows to save the results of an equation."""
    return policy is not None and decided(policy, eqn.primitive, tuple([v.aval for v in eqn.invars]), eqn.params)
