"""Functions of flat lists of arrays that have more to say than the list they return: its structure, or a second result.

What runs or traces a function passes it arrays and takes a list of arrays. These classes keep the rest, to be read when
the function has run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from pullback._core.arguments import flatten_result
from pullback._core.array import Array
from pullback._core.tree import PyTreeDef
from pullback._core.typing import PyTree

T = TypeVar("T")


class FlatFunction:
    """A function of pytrees as one of their leaves; `out_tree` is the structure of its last result.

    `in_tree` is the structure of the tuple of arguments. `call` is called with them, or else `fun` itself; errors
    name `fun` and the user's entry, `function`.
    """

    __slots__ = ("function", "fun", "in_tree", "call", "out_tree")
    out_tree: PyTreeDef

    def __init__(self, function: str, fun: Callable, in_tree: PyTreeDef, call: Callable | None = None):
        self.function = function
        self.fun = fun
        self.in_tree = in_tree
        self.call = call or fun

    def __call__(self, *leaves: PyTree) -> list[Array]:
        result = self.call(*self.in_tree.unflatten(leaves))
        outs, self.out_tree = flatten_result(self.function, self.fun, result)
        return outs


class WithAux(Generic[T]):
    """A function that returns a list of arrays and something else, as one that returns the list; `aux` is the rest."""

    __slots__ = ("fun", "aux")
    aux: T

    def __init__(self, fun: Callable[..., tuple[Sequence[Any], T]]):
        self.fun = fun

    def __call__(self, *args: PyTree) -> Sequence[Any]:
        outs, self.aux = self.fun(*args)
        return outs
