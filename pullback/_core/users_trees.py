"""The functions on pytrees as users call them: arrays of extended dtypes, such as typed keys, are leaves.

To the package such an array is a container of its words, so that every transformation handles it; to users it is an
array. The functions are those of `tree` and `tree_paths`, in a namespace of their own: the functions of jaxlib that it
names are replaced when the first array of an extended dtype is made. Until then the two ways to flatten are one
(with a wrapper in between, `tree.map` of five leaves took 1.15 times as long).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from pullback._core import tree, tree_paths
from pullback._core.errors import described
from pullback._core.public_array import ExtendedArray, extended_arrays_exist
from pullback._core.tree_paths import keystr as keystr  # the examples call it
from pullback._core.typing import F, PyTree

# another object after each time that such an array was flattened
_last_flattened: list[object] = [None]


def register_extended_array(
    cls: type[ExtendedArray],
    flatten: Callable[[Any], tuple[Any, Any]],
    unflatten: Callable[[Any, Any], Any],
    flatten_with_keys: Callable[[Any], tuple[Any, Any]],
) -> None:
    """`register_pytree_node` for a class of arrays of an extended dtype."""
    tree.register_pytree_node(cls, _noting(flatten), unflatten, _noting(flatten_with_keys))


def _noting(flatten: Callable[[Any], tuple[Any, Any]]) -> Callable[[Any], tuple[Any, Any]]:
    def note_and_flatten(x):
        _last_flattened[0] = object()
        return flatten(x)

    return note_and_flatten


def begin_extended_arrays() -> None:
    """The first array of an extended dtype is made: from now on users' functions look for them."""
    extended_arrays_exist[0] = True
    _names.update(_flatten=_flatten, _flatten_with_path=_flatten_with_path, _all_leaves=_all_leaves)


def _is_extended(x: Any) -> bool:
    return isinstance(x, ExtendedArray)


def _flatten(x: PyTree, is_leaf: tree.IsLeaf = None) -> tuple[list[Any], tree.PyTreeDef]:
    if is_leaf is not None:
        return tree.registry.flatten(x, (lambda x: _is_extended(x) or is_leaf(x)) if callable(is_leaf) else is_leaf)
    # a predicate costs a call for each node: most trees have no such array
    before = _last_flattened[0]
    found = tree.registry.flatten(x)
    return found if _last_flattened[0] is before else tree.registry.flatten(x, _is_extended)


def _flatten_with_path(x: PyTree, is_leaf: Callable[[Any, Any], bool] | None) -> tuple[list[Any], tree.PyTreeDef]:
    if is_leaf is not None and not callable(is_leaf):
        return tree.registry.flatten_with_path(x, is_leaf)
    if is_leaf is None:
        # a tree that contains itself is refused here: jaxlib loses count of the recursion if a predicate meets its
        # limit, so that every later call of this process would be refused
        before = _last_flattened[0]
        tree.registry.flatten(x)
        if _last_flattened[0] is before:
            return tree.registry.flatten_with_path(x, None)
    return tree.registry.flatten_with_path(
        x, lambda path, x: _is_extended(x) or (is_leaf is not None and is_leaf(path, x))
    )


def _all_leaves(registry: Any, items: Iterable[Any]) -> bool:
    return tree._all_leaves(registry, [x for x in items if not _is_extended(x)])


_names: dict[str, Any] = {**vars(tree), **vars(tree_paths)}


def _for_users(fun: F) -> F:
    """The function in the namespace of users' functions."""
    original = cast(FunctionType, fun)
    code = original.__code__.replace()  # the interpreter specializes code for one namespace
    own = FunctionType(code, _names, original.__name__, original.__defaults__, original.__closure__)
    for attribute in ("__kwdefaults__", "__doc__", "__annotations__"):
        setattr(own, attribute, getattr(original, attribute))
    own.__module__ = __name__
    _names[original.__name__] = own
    return cast(F, own)


if TYPE_CHECKING:
    from pullback._core.tree import all_leaves as all_leaves
    from pullback._core.tree import tree_flatten as tree_flatten
    from pullback._core.tree import tree_leaves as tree_leaves
    from pullback._core.tree import tree_structure as tree_structure
    from pullback._core.tree_paths import tree_all as tree_all
    from pullback._core.tree_paths import tree_broadcast as tree_broadcast
    from pullback._core.tree_paths import tree_flatten_with_path as tree_flatten_with_path
    from pullback._core.tree_paths import tree_leaves_with_path as tree_leaves_with_path
    from pullback._core.tree_paths import tree_map as tree_map
    from pullback._core.tree_paths import tree_map_with_path as tree_map_with_path
    from pullback._core.tree_paths import tree_reduce as tree_reduce
    from pullback._core.tree_paths import tree_reduce_associative as tree_reduce_associative
else:
    tree_flatten = _for_users(tree.tree_flatten)
    tree_leaves = _for_users(tree.tree_leaves)
    tree_structure = _for_users(tree.tree_structure)
    all_leaves = _for_users(tree.all_leaves)
    tree_map = _for_users(tree_paths.tree_map)
    tree_reduce = _for_users(tree_paths.tree_reduce)
    tree_reduce_associative = _for_users(tree_paths.tree_reduce_associative)
    tree_all = _for_users(tree_paths.tree_all)
    _for_users(tree_paths.broadcast_prefix)  # what tree_broadcast calls
    tree_broadcast = _for_users(tree_paths.tree_broadcast)
    tree_flatten_with_path = _for_users(tree_paths.tree_flatten_with_path)
    tree_leaves_with_path = _for_users(tree_paths.tree_leaves_with_path)
    tree_map_with_path = _for_users(tree_paths.tree_map_with_path)


@functools.lru_cache(maxsize=1024)
def places_of_words(treedef: tree.PyTreeDef) -> tuple[int, ...]:
    """The numbers of the leaves of a structure that are the words of an array of an extended dtype."""
    places: list[int] = []
    count = 0

    def walk(part: tree.PyTreeDef) -> None:
        nonlocal count
        data = part.node_data()
        if data is not None and isinstance(data[0], type) and issubclass(data[0], ExtendedArray):
            places.append(count)
        count += data is None
        for child in part.children():
            walk(child)

    walk(treedef)
    return tuple(places)


def is_tree_node(typ: type) -> bool:
    """Return whether objects of a type are containers. TypeError for anything but a class.

    >>> is_tree_node(list), is_tree_node(int)
    (True, False)
    """
    if not isinstance(typ, type):
        raise TypeError(f"is_tree_node: expected a class, got {described(typ)}")
    named_tuple = issubclass(typ, tuple) and hasattr(typ, "_fields")
    return not issubclass(typ, ExtendedArray) and (tree.registry.is_node(typ) or named_tuple)


def flatten_one_level(tree: PyTree) -> tuple[tuple[Any, ...], Any]:
    """The children of a container, and its auxiliary data. ValueError for a leaf.

    >>> flatten_one_level({"a": 1, "b": [2]})
    ((1, [2]), ('a', 'b'))
    """
    pairs, aux = flatten_one_level_with_keys(tree)
    return tuple(child for _, child in pairs), aux


def flatten_one_level_with_keys(tree: PyTree) -> tuple[list[tuple[Any, Any]], Any]:
    """The children of a container with their keys, and its auxiliary data. ValueError for a leaf.

    >>> flatten_one_level_with_keys([5])
    ([(SequenceKey(idx=0), 5)], None)
    """
    found = None if isinstance(tree, ExtendedArray) else tree_paths.one_level(tree)
    if found is None:
        raise ValueError(f"flatten_one_level: expected a container, got {described(tree)}, a leaf")
    return found
