"""`Partial`: a function with some of its arguments, which are children of a pytree."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pullback._core.tree import GetAttrKey, register_pytree_node
from pullback._core.typing import AnyValue, PyTree


class _Opaque:
    """A functools.partial as a plain callable, so that partial does not merge its arguments with new ones."""

    __slots__ = ("func",)

    def __init__(self, func: Callable) -> None:
        self.func = func

    def __call__(self, *args: AnyValue, **keywords: AnyValue) -> Any:
        return self.func(*args, **keywords)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Opaque) and self.func is other.func

    def __hash__(self) -> int:
        return id(self.func)

    def __repr__(self) -> str:
        return repr(self.func)


class Partial(functools.partial[Any]):
    """functools.partial that is a pytree: its arguments are children, its function is structure.

    The arguments of a partial given as the function are not children: ``Partial(functools.partial(f, x))``
    makes x static.

    >>> from pullback.tree_util import tree_leaves
    >>> tree_leaves(Partial(max, 1, key=2))
    [1, 2]
    """

    def __new__(cls, func: Callable, /, *args: PyTree, **keywords: PyTree) -> Partial:
        if isinstance(func, functools.partial):
            func = _Opaque(func)
        return super().__new__(cls, func, *args, **keywords)


register_pytree_node(
    Partial,
    lambda p: ((p.args, p.keywords), p.func),
    lambda func, children: Partial(func, *children[0], **children[1]),
    lambda p: ([(GetAttrKey("args"), p.args), (GetAttrKey("keywords"), p.keywords)], p.func),
)
