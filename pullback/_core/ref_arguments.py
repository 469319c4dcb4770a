"""References among the arguments of functions that are traced: their leaves are no arrays.

A leaf that is a Ref is replaced by a node without leaves, from which `unflatten` makes a Ref again. So the arrays of a
call stay its leaves, and the function gets its references in their places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback._core.cells import Cell, aliased
from pullback._core.refs import Ref, handle_of
from pullback._core.tree import register_pytree_node, tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_flatten_with_path
from pullback._core.typing import PyTree


class PassedRef:
    """A node of a pytree that stands for a reference."""

    __slots__ = ("ref",)

    def __init__(self, ref: Ref):
        self.ref = ref


register_pytree_node(PassedRef, lambda node: ((), node.ref), lambda ref, _: ref)


def holds_refs(leaves: Sequence[Any]) -> bool:
    """Return whether one of the leaves is a reference."""
    return any(isinstance(x, Ref) for x in leaves)


def passed_as_they_are(tree: PyTree) -> PyTree:
    """The tree with nodes without leaves for its references, which `unflatten` puts back."""
    leaves, treedef = tree_flatten(tree)
    return tree_unflatten(treedef, [PassedRef(x) if isinstance(x, Ref) else x for x in leaves])


def passed(tree: PyTree, where: Callable[[tuple[Any, ...]], str], compiled: bool = False) -> tuple[PyTree, list[Cell]]:
    """The tree with nodes without leaves for its references; what they become has cells of its own, which follow.

    `where(path)` is the place of a leaf, in words. A reference of a `compiled` function is none in particular, and has
    the type of the part that is passed.
    ValueError if a reference occurs twice.
    """
    with_paths, treedef = tree_flatten_with_path(tree)
    leaves: list[Any] = []
    cells: list[Cell] = []
    places: dict[Cell, str] = {}
    for path, x in with_paths:
        if not isinstance(x, Ref):
            leaves.append(x)
            continue
        place = where(path)
        root = x.cell.root()
        if root in places:
            raise ValueError(aliased(f"the Ref that is {places[root]}", f"the one that is {place}"))
        places[root] = place
        if compiled:
            cell = Cell(None, x.aval_of_part, origin=place)
            handle = handle_of(cell, tree=x.tree)
        else:
            cell = Cell(None, x.cell.aval, origin=place, target=x.cell)
            handle = handle_of(cell, x.path, x.aval_of_part, x.tree)
        cells.append(cell)
        leaves.append(PassedRef(handle))
    return tree_unflatten(treedef, leaves), cells
