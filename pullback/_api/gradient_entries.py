"""What `with_refs` takes and returns for an argument, and what stands among the residuals of a VJP object."""

from __future__ import annotations

from typing import Any

from pullback._core.tree import register_pytree_node


class _Entry:
    """An entry without content. It is a pytree without leaves, so that it can enter and leave a compiled function."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class GradValue(_Entry):
    """For `with_refs`: the gradient of this argument is returned, as an array.

    >>> import pullback as pb
    >>> ref = pb.new_ref(0.)
    >>> _, f_vjp = pb.vjp(lambda x, y: x * y, 2., 3.)
    >>> f_vjp.with_refs(pb.ad.GradValue(), ref)(1.)
    (Array(3., dtype=float32, weak_type=True), GradRef())
    """

    __slots__ = ()


class DontWant(_Entry):
    """For `with_refs`: the gradient of this argument is not wanted, and not computed.

    >>> import pullback as pb
    >>> _, f_vjp = pb.vjp(lambda x, y: x * y, 2., 3.)
    >>> f_vjp.with_refs(pb.ad.DontWant(), pb.ad.GradValue())(1.)
    (DidntWant(), Array(2., dtype=float32, weak_type=True))
    """

    __slots__ = ()


class GradRef(_Entry):
    """In a result: the gradient of this argument was added to its Ref.

    >>> import pullback as pb
    >>> ref = pb.new_ref(100.)
    >>> pb.vjp(lambda x: 2. * x, 3.)[1].with_refs(ref)(1.)
    (GradRef(),)
    >>> print(ref[...])
    102.0
    """

    __slots__ = ()


class DidntWant(_Entry):
    """In a result: the gradient of this argument was not wanted.

    >>> import pullback as pb
    >>> pb.vjp(lambda x: 2. * x, 3.)[1].with_refs(pb.ad.DontWant())(1.)
    (DidntWant(),)
    """

    __slots__ = ()


class NotNeeded(_Entry):
    """Among `args_res`: the value of this argument is not needed in the backward pass.

    >>> import pullback as pb
    >>> pb.vjp(lambda x, y: x + 2. * y, 1., 1.)[1].args_res
    [NotNeeded(), NotNeeded()]
    """

    __slots__ = ()


class NotSaveable(_Entry):
    """Among `args_res`: the value of this argument is needed, but was not saved. Put it there before the call.

    >>> import pullback as pb
    >>> _, f_vjp = pb.vjp(lambda x, w: x * w, 3., 2., saveable_args=(True, False))
    >>> f_vjp.args_res
    [Array(3., dtype=float32, weak_type=True), NotSaveable()]
    """

    __slots__ = ()


def is_entry(x: Any) -> bool:
    """Return whether a value is one of these entries."""
    return isinstance(x, _Entry)


def _register(cls: type) -> None:
    register_pytree_node(cls, lambda entry: ((), None), lambda aux, children: cls())


for _cls in (GradValue, DontWant, GradRef, DidntWant, NotNeeded, NotSaveable):
    _register(_cls)

__all__ = ["DidntWant", "DontWant", "GradRef", "GradValue", "NotNeeded", "NotSaveable", "is_entry"]
