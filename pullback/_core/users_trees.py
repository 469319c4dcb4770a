"""The functions on pytrees as users call them: arrays of extended dtypes, such as typed keys, are leaves.

To the package such an array is a container of its words, so that every transformation handles it; to users it is an
array. The predicate that tells them costs a call for each node, and is used once there is such an array in the process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

from pullback._core import tree, tree_paths
from pullback._core.errors import described
from pullback._core.public_array import ExtendedArray
from pullback._core.tree_paths import keystr as keystr  # the examples call it
from pullback._core.typing import F, PyTree

# set when the first array of an extended dtype is made
extended_arrays_exist = [False]


def _is_extended(x: Any) -> bool:
    return isinstance(x, ExtendedArray)


def _for_users(fun: F, takes_path: bool = False) -> F:
    """The function, with arrays of extended dtypes among the leaves, whatever its `is_leaf` says."""
    at: Any = _position(fun)

    @functools.wraps(fun)
    def entry(*args, **kwargs):
        if not extended_arrays_exist[0]:
            return fun(*args, **kwargs)
        by_position = at is not None and len(args) > at
        given = args[at] if by_position else kwargs.get("is_leaf")
        if given is None:
            # a tree that contains itself is refused here: jaxlib loses count of the recursion if a predicate meets its
            # limit, so that every later call of this process would be refused
            for x in args:
                tree.tree_flatten(x)
        path = kwargs.get("is_leaf_takes_path") or (takes_path and by_position and len(args) > at + 1 and args[at + 1])
        leaf = _either(given, bool(path))
        if by_position:
            return fun(*args[:at], leaf, *args[at + 1 :], **kwargs)
        return fun(*args, **{**kwargs, "is_leaf": leaf})

    entry.__module__ = __name__
    return cast(F, entry)


def _position(fun: Callable[..., Any]) -> int | None:
    """The position of the parameter `is_leaf`; None if it is passed by keyword alone."""
    code = fun.__code__
    names = code.co_varnames[: code.co_argcount]
    return names.index("is_leaf") if "is_leaf" in names else None


def _either(given: Callable[..., Any] | None, takes_path: bool) -> Callable[..., Any]:
    if given is not None and not callable(given):
        return given  # the function says what is wrong with it
    if takes_path:
        return lambda path, x: isinstance(x, ExtendedArray) or (given is not None and given(path, x))
    if given is None:
        return _is_extended
    return lambda x: isinstance(x, ExtendedArray) or given(x)


tree_flatten: Callable[..., tuple[list[Any], Any]] = _for_users(tree.tree_flatten)
tree_leaves: Callable[..., list[Any]] = _for_users(tree.tree_leaves)
tree_structure: Callable[..., Any] = _for_users(tree.tree_structure)
all_leaves: Callable[..., bool] = _for_users(tree.all_leaves)
tree_map: Callable[..., Any] = _for_users(tree_paths.tree_map)
tree_reduce: Callable[..., Any] = _for_users(tree_paths.tree_reduce)
tree_all: Callable[..., bool] = _for_users(tree_paths.tree_all)
tree_broadcast: Callable[..., Any] = _for_users(tree_paths.tree_broadcast)
tree_flatten_with_path: Callable[..., tuple[list[tuple[Any, Any]], Any]] = _for_users(
    tree_paths.tree_flatten_with_path, takes_path=True
)
tree_leaves_with_path: Callable[..., list[tuple[Any, Any]]] = _for_users(
    tree_paths.tree_leaves_with_path, takes_path=True
)
tree_map_with_path: Callable[..., Any] = _for_users(tree_paths.tree_map_with_path, takes_path=True)


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
