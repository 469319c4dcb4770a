"""Pytrees, continued: mapping with readable errors, paths to leaves, and prefixes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from pullback._core.errors import Described
from pullback._core.tree import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    IsLeaf,
    PyTreeDef,
    SequenceKey,
    registry,
    tree_flatten,
    tree_leaves,
    tree_structure,
)
from pullback._core.typing import AnyValue, PyTree

KeyPath = tuple[Any, ...]
Difference = tuple[KeyPath, str, str, str]
_MISSING = object()
_flatten_with_path = registry.flatten_with_path


# -- Mapping. --------------------------------------------------------------------------------------------


def tree_map(f: Callable[..., Any], tree: PyTree, *rest: PyTree, is_leaf: IsLeaf = None) -> Any:
    """Apply a function to every leaf.

    Args:
      f: called with a leaf of `tree` and the corresponding subtrees of `rest`.
      tree: the pytree that determines the structure.
      *rest: pytrees that have the structure of `tree`, or have subtrees where `tree` has leaves.
      is_leaf: as for `tree_flatten`.

    Raises:
      ValueError: a tree of `rest` differs; the message names the path, what was expected and what came.

    >>> tree_map(lambda x, y: x + y, {"a": 1, "b": [2]}, {"a": 10, "b": [20]})
    {'a': 11, 'b': [22]}
    """
    if not callable(f):
        raise TypeError(f"tree_map: expected a function as the first argument, got {f!r}")
    leaves, treedef = tree_flatten(tree, is_leaf)
    if not rest:
        return treedef.unflatten([f(leaf) for leaf in leaves])
    columns = _columns("tree_map", treedef, tree, leaves, rest)
    return treedef.unflatten([f(*xs) for xs in zip(leaves, *columns, strict=True)])


def _columns(
    caller: str, treedef: PyTreeDef, tree: PyTree, leaves: list[Any], rest: tuple[Any, ...]
) -> list[list[Any]]:
    """The subtrees of each tree of `rest` at the leaves of `tree`."""
    columns = []
    for i, other in enumerate(rest):
        try:
            columns.append(treedef.flatten_up_to(other))
        except ValueError as error:
            ids = {id(leaf) for leaf in leaves}  # these are the nodes at which `is_leaf` stopped
            stops = functools.partial(_is_among, ids)
            for path, expected, got, why in prefix_errors(tree, other, stops):
                raise ValueError(
                    f"{caller}: tree {i + 1} differs from tree 0 at tree{keystr(path)}: expected {expected}, "
                    f"got {got}{why and f' ({why})'}. Every tree must have the structure of the first, down "
                    "to the leaves of the first."
                ) from error
            raise
    return columns


def _is_among(ids: set[int], node: Any) -> bool:
    return id(node) in ids


def tree_reduce(
    function: Callable[[Any, Any], Any], tree: PyTree, initializer: AnyValue = _MISSING, is_leaf: IsLeaf = None
) -> Any:
    """functools.reduce over the leaves. TypeError for no leaves and no initial value.

    >>> tree_reduce(lambda total, leaf: total + leaf, [1, (2, 3)], 10)
    16
    """
    if not callable(function):
        raise TypeError(f"tree_reduce: expected a function as the first argument, got {function!r}")
    start = () if initializer is _MISSING else (initializer,)
    return functools.reduce(function, tree_leaves(tree, is_leaf), *start)


def tree_reduce_associative(
    operation: Callable[[Any, Any], Any], tree: PyTree, *, identity: AnyValue = _MISSING, is_leaf: IsLeaf = None
) -> Any:
    """The leaves joined by an associative operation: one half, the other, and then both.

    Args:
      operation: an associative function of two values.
      tree: a pytree.
      identity: the result for no leaves.
      is_leaf: says of which nodes the children are not leaves.

    Raises: TypeError if `operation` is not callable; ValueError for no leaves and no identity.

    >>> tree_reduce_associative(lambda x, y: f"({x}{y})", ["a", ("b", "c"), "d", "e"])
    '((ab)(c(de)))'
    """
    if not callable(operation):
        raise TypeError(f"tree_reduce_associative: expected a function as the first argument, got {operation!r}")
    values = tree_leaves(tree, is_leaf)
    if not values:
        if identity is _MISSING:
            raise ValueError("tree_reduce_associative: the tree has no leaves; pass the identity of the operation")
        return identity

    def joined(first: int, last: int) -> Any:
        middle = (first + last) // 2
        return operation(joined(first, middle), joined(middle, last)) if last - first > 1 else values[first]

    return joined(0, len(values))


def tree_all(tree: PyTree, *, is_leaf: IsLeaf = None) -> bool:
    """Return whether every leaf is true; True for a tree without leaves.

    ValueError for an array of several elements, which has no truth value.

    >>> tree_all({"a": True, "b": [1, 0]})
    False
    """
    return all(tree_leaves(tree, is_leaf))


def tree_transpose(outer_treedef: PyTreeDef, inner_treedef: PyTreeDef | None, pytree_to_transpose: PyTree) -> Any:
    """Turn a tree of trees inside out.

    Args:
      outer_treedef: the structure of the outer tree.
      inner_treedef: the structure of each inner tree; None to take it from the first.
      pytree_to_transpose: inner trees at the leaves of the outer structure.

    Raises:
      ValueError: the tree does not have this composed structure.
      TypeError: an argument is not a structure as `tree_structure` returns it.

    >>> tree_transpose(tree_structure([0, 0]), tree_structure({"x": 0}), [{"x": 1}, {"x": 2}])
    {'x': [1, 2]}
    """
    for given, what in ((outer_treedef, "outer_treedef"), (inner_treedef, "inner_treedef")):
        if not isinstance(given, PyTreeDef) and (given is not None or what == "outer_treedef"):
            raise TypeError(f"tree_transpose: {what} must be a structure, as tree_structure gives, got {given!r}")
    try:
        inner_trees = outer_treedef.flatten_up_to(pytree_to_transpose)
    except ValueError as error:
        got = tree_structure(pytree_to_transpose)
        raise ValueError(
            f"tree_transpose: expected a tree whose outer structure is {tree_text(outer_treedef)}; got structure "
            f"{tree_text(got)}."
        ) from error
    if inner_treedef is None:
        if not inner_trees:
            raise ValueError("tree_transpose: the outer structure has no leaves; give inner_treedef.")
        inner_treedef = tree_structure(inner_trees[0])
    rows = []
    for i, inner in enumerate(inner_trees):
        leaves, treedef = tree_flatten(inner)
        if treedef != inner_treedef:
            raise ValueError(
                f"tree_transpose: expected inner trees of structure {tree_text(inner_treedef)}; got "
                f"{tree_text(treedef)} at leaf {i} of the outer structure {tree_text(outer_treedef)}."
            )
        rows.append(leaves)
    columns = zip(*rows, strict=True) if rows else [()] * inner_treedef.num_leaves
    return inner_treedef.unflatten([outer_treedef.unflatten(column) for column in columns])


def broadcast_prefix(prefix_tree: PyTree, full_tree: PyTree, is_leaf: IsLeaf = None) -> list[Any]:
    """Each leaf of a tree prefix, repeated for every leaf of the subtree at its place.

    `is_leaf` is applied to the prefix only: with ``lambda x: x is None``, a None in it counts as a leaf.

    >>> broadcast_prefix((1, 2), ("a", {"b": "c", "d": "e"}))
    [1, 2, 2]
    """
    leaves, treedef = tree_flatten(prefix_tree, is_leaf)
    (subtrees,) = _columns("broadcast_prefix", treedef, prefix_tree, leaves, (full_tree,))
    result: list[Any] = []
    for leaf, subtree in zip(leaves, subtrees, strict=True):
        result += [leaf] * len(tree_leaves(subtree))
    return result


def tree_broadcast(prefix_tree: PyTree, full_tree: PyTree, is_leaf: IsLeaf = None) -> Any:
    """A tree of the structure of `full_tree` whose leaves are those of the prefix, repeated.

    ValueError if it is not a prefix.

    >>> tree_broadcast((1, 2), ("a", {"b": "c", "d": "e"}))
    (1, {'b': 2, 'd': 2})
    """
    return tree_structure(full_tree).unflatten(broadcast_prefix(prefix_tree, full_tree, is_leaf))


# -- Paths. ----------------------------------------------------------------------------------------------


def _with_path(is_leaf: Callable[..., bool] | None, takes_path: bool) -> Callable[[Any, Any], bool] | None:
    if is_leaf is None or takes_path:
        return is_leaf
    return lambda _, node: is_leaf(node)


def tree_flatten_with_path(
    tree: PyTree, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> tuple[list[tuple[KeyPath, Any]], PyTreeDef]:
    """Pairs of path and leaf, and the structure. With `is_leaf_takes_path`, `is_leaf` gets (path, node).

    ValueError for a dict whose keys cannot be sorted.

    >>> tree_flatten_with_path({"a": [1]})[0]
    [((DictKey(key='a'), SequenceKey(idx=0)), 1)]
    """
    try:
        return _flatten_with_path(tree, _with_path(is_leaf, is_leaf_takes_path))
    except (ValueError, TypeError, SystemError):
        if not is_leaf_takes_path:
            tree_flatten(tree, is_leaf)  # raises a readable message, for example about unsortable keys
        raise


def tree_leaves_with_path(
    tree: PyTree, is_leaf: Callable[..., bool] | None = None, is_leaf_takes_path: bool = False
) -> list[tuple[KeyPath, Any]]:
    """Pairs of path and leaf. ValueError for a dict whose keys cannot be sorted.

    >>> [(keystr(path), leaf) for path, leaf in tree_leaves_with_path({"a": [1, 2]})]
    [("['a'][0]", 1), ("['a'][1]", 2)]
    """
    return tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)[0]


def tree_map_with_path(
    f: Callable[..., Any],
    tree: PyTree,
    *rest: PyTree,
    is_leaf: Callable[..., bool] | None = None,
    is_leaf_takes_path: bool = False,
) -> Any:
    """tree_map whose function gets the path of the leaf first. ValueError where structures differ.

    >>> tree_map_with_path(lambda path, x: (keystr(path), x), [5])
    [('[0]', 5)]
    """
    pairs, treedef = tree_flatten_with_path(tree, is_leaf, is_leaf_takes_path)
    leaves = [leaf for _, leaf in pairs]
    columns = _columns("tree_map_with_path", treedef, tree, leaves, rest)
    return treedef.unflatten([f(*pair, *xs) for pair, *xs in zip(pairs, *columns, strict=True)])


def keystr(keys: KeyPath, *, simple: bool = False, separator: str = "") -> str:
    """A path as text: Python's access syntax, or with `simple` the bare names.

    TypeError if `keys` is not a path, or `separator` not a string.

    >>> path = (DictKey("a"), SequenceKey(0), GetAttrKey("w"))
    >>> keystr(path), keystr(path, simple=True, separator="/")
    ("['a'][0].w", 'a/0/w')
    """
    if not isinstance(keys, (tuple, list)) or not isinstance(separator, str):
        raise TypeError(
            f"keystr: expected a path, a tuple of keys, and a string to separate them; got {keys!r} and {separator!r}"
        )
    return separator.join(_simple(key) if simple else str(key) for key in keys)


def _simple(key: AnyValue) -> str:
    match key:
        case SequenceKey():
            return str(key.idx)
        case DictKey() | FlattenedIndexKey():
            return str(key.key)
        case GetAttrKey():
            return key.name
    return str(key)


# -- Differences between trees, for messages. ------------------------------------------------------------


def one_level(node: Any) -> tuple[list[tuple[Any, Any]], Any] | None:
    """(pairs of key and child, auxiliary data) of a container, None for a leaf."""
    found = registry.flatten_one_level_with_keys(node)
    if found is None:
        return None
    pairs, aux = found
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        # jaxlib 0.10 repeats the first field's name as the key of every child
        return [(GetAttrKey(name), child) for name, child in zip(node._fields, node, strict=True)], aux
    return list(pairs), aux


class _Leaf(int):
    """A leaf of which only the position matters: a number, for nodes that compute when they are built."""


def skeleton(treedef: PyTreeDef) -> Any:
    """A tree of that structure, used to name its parts in messages."""
    return treedef.unflatten([_Leaf()] * treedef.num_leaves)


def tree_text(treedef: PyTreeDef) -> str:
    """The text of a structure in messages: the tree with `*` for each leaf.

    >>> from pullback.tree_util import tree_structure
    >>> tree_text(tree_structure({"a": (1, None)}))
    "{'a': (*, None)}"
    """
    return str(treedef).removeprefix("PyTreeDef(").removesuffix(")")


def _describe(node: Any, children: int | None) -> str:
    if children is None:
        if type(node) is _Leaf:
            return "a leaf"
        return node._described() if isinstance(node, Described) else f"a leaf of type {type(node).__name__}"
    if node is None:
        return "None"
    name = type(node).__name__
    if isinstance(node, dict):
        return f"a {name} with keys {list(node)}"
    return f"a {name} of {children} child{'' if children == 1 else 'ren'}"


def _differences(a: PyTree, b: PyTree, path: KeyPath, is_leaf: IsLeaf, prefix: bool) -> Iterator[Difference]:
    level_a = None if is_leaf is not None and is_leaf(a) else one_level(a)
    if level_a is None and prefix:
        return
    level_b = None if not prefix and is_leaf is not None and is_leaf(b) else one_level(b)
    if level_a is None and level_b is None:
        return
    what_a = _describe(a, level_a and len(level_a[0]))
    what_b = _describe(b, level_b and len(level_b[0]))
    if level_a is None or level_b is None:
        yield path, what_a, what_b, leaf_hint(a if level_a is None else b)
        return
    if type(a) is not type(b):
        yield path, what_a, what_b, "the types differ"
        return
    (pairs_a, aux_a), (pairs_b, aux_b) = level_a, level_b
    if isinstance(a, dict) and set(a) != set(b):
        missing, extra = [k for k in a if k not in b], [k for k in b if k not in a]
        parts = [missing and f"missing keys {missing}", extra and f"unexpected keys {extra}"]
        yield path, what_a, what_b, ", ".join(part for part in parts if part)
    elif len(pairs_a) != len(pairs_b):
        yield path, what_a, what_b, "the numbers of children differ"
    elif aux_a != aux_b:
        yield path, f"{what_a} with data {aux_a!r}", f"{what_b} with data {aux_b!r}", "the static data differ"
    else:
        for (key, child_a), (_, child_b) in zip(pairs_a, pairs_b, strict=True):
            yield from _differences(child_a, child_b, (*path, key), is_leaf, prefix)


def leaf_hint(leaf: AnyValue) -> str:
    """The reason why something that looks like a container counts as a leaf, for messages; "" for others.

    >>> class Config(dict):
    ...     pass
    >>> leaf_hint(Config())[:33]
    'Config is a subclass of dict and '
    """
    for container in (dict, list, tuple):
        if isinstance(leaf, container):
            return (
                f"{type(leaf).__qualname__} is a subclass of {container.__name__} and not registered as a "
                "pytree, so it counts as a leaf; register it with register_pytree_node"
            )
    return ""


def equality_errors(tree1: PyTree, tree2: PyTree, is_leaf: IsLeaf = None) -> Iterator[Difference]:
    """Yield the differences between two structures: (path, description in tree1, description in tree2, explanation).

    The explanation may be empty. Nothing is yielded for equal structures.

    >>> for path, one, two, why in equality_errors({"a": (1, 2)}, {"a": [1, 2]}):
    ...     print(f"{keystr(path)}: {one} but {two}: {why}")
    ['a']: a tuple of 2 children but a list of 2 children: the types differ
    """
    return _differences(tree1, tree2, (), is_leaf, prefix=False)


def prefix_errors(prefix_tree: PyTree, full_tree: PyTree, is_leaf: IsLeaf = None) -> Iterator[Difference]:
    """Yield the places where the first tree is not a prefix of the second: (path, expected, got, explanation).

    >>> [(keystr(path), got) for path, _, got, _ in prefix_errors((1, [2]), ({"x": 1}, 3))]
    [('[1]', 'a leaf of type int')]
    """
    return _differences(prefix_tree, full_tree, (), is_leaf, prefix=True)
