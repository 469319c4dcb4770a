"""JAX's first primitives and mutable types of one's own: classes that libraries derive from, refused in use.

A library that offers such types as an option derives its classes when it is imported. What pullback has in their place
is `HiPrim`, `HiType` and references.
"""

from __future__ import annotations

from typing import Any, NoReturn

from pullback._core.errors import boundary
from pullback._core.typing import AnyValue


class HiPrimitive:
    """A primitive on values of mutable types. It has a name and can be derived from; `bind` raises NotImplementedError.

    >>> HiPrimitive("get_box").name
    'get_box'
    """

    multiple_results = False

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return self.name

    @boundary
    def bind(self, *args: AnyValue, **params: AnyValue) -> NoReturn:
        """Not there: primitives on values that change their types while they are traced are refused."""
        raise NotImplementedError(
            f"{type(self).__name__}.bind: {self.name} is an operation on values of a mutable type, which pullback has "
            "not. Use experimental.hijax.HiPrim for operations, new_ref for what changes"
        )


class MutableHiType:
    """A type whose values change while a function is traced; it can be derived from, its values are no arguments.

    >>> issubclass(MutableHiType, object)
    True
    """

    has_qdd = True


class AllowedEffects:
    """The effects that loops and branches may have: all, so that adding one changes nothing."""

    def add_type(self, effect: type[Any]) -> None:
        """Accepted, without effect."""


control_flow_allowed_effects: AllowedEffects = AllowedEffects()
