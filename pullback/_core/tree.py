"""Pytrees: nested containers as lists of leaves, through the package's own registry in jaxlib's C++.

Maps, paths, prefixes and messages about mismatches are in `tree_paths`. The registry is separate from JAX's: types
registered there are unknown here, and vice versa.
"""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pullback._core.typing import AnyValue, PyTree

# read once, when jaxlib is loaded: silences the engine's startup messages on stderr unless the user asks for them
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

from jaxlib._jax import pytree as _pytree
from jaxlib._jax.pytree import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    PyTreeDef,
    SequenceKey,
)

from pullback._core.errors import described
from pullback._core.lazy import LateModule

if TYPE_CHECKING:
    import dataclasses
else:
    dataclasses = LateModule("dataclasses")

__all__ = [
    "DictKey",
    "FlattenedIndexKey",
    "GetAttrKey",
    "IsLeaf",
    "PyTreeDef",
    "SequenceKey",
    "all_leaves",
    "flatten",
    "register_dataclass",
    "register_pytree_node",
    "register_pytree_node_class",
    "register_pytree_with_keys",
    "register_pytree_with_keys_class",
    "register_static",
    "registry",
    "tree_flatten",
    "tree_leaves",
    "tree_structure",
    "tree_unflatten",
    "treedef_children",
    "treedef_is_leaf",
    "treedef_tuple",
]

registry = _pytree.PyTreeRegistry()
# both names let a treedef pickle: its registry is found again by import
registry.__module__ = __name__
registry.__name__ = "registry"

_flatten = registry.flatten
_all_leaves = _pytree.all_leaves

_Type = TypeVar("_Type", bound=type[Any])
IsLeaf = Callable[[Any], bool] | None


# -- Flatten and unflatten. ------------------------------------------------------------------------------


def tree_flatten(tree: PyTree, is_leaf: IsLeaf = None) -> tuple[list[Any], PyTreeDef]:
    """The leaves of a pytree, left to right, and its structure.

    Containers are list, tuple, namedtuple, dict (in sorted key order), OrderedDict, defaultdict, deque, None
    (no leaves) and registered types; anything else, including subclasses of these, is a leaf.

    Args:
      tree: any object.
      is_leaf: called on every node; where it returns True, the node is a leaf.

    Raises:
      ValueError: the keys of a dict cannot be sorted; RecursionError: the tree contains itself.

    >>> tree_flatten({"b": 1, "a": (2, None)})
    ([2, 1], PyTreeDef({'a': (*, None), 'b': *}))
    """
    try:
        return _flatten(tree, is_leaf)
    except (ValueError, TypeError, SystemError, RecursionError) as error:
        _explain(tree, is_leaf, error)
        raise


flatten = tree_flatten

# the structures of one leaf, and of a list of one: compared by identity before they are compared by value
LEAF = tree_flatten(0)[1]
LIST_OF_ONE = tree_flatten([0])[1]


def tree_unflatten(treedef: PyTreeDef, leaves: Iterable[Any]) -> Any:
    """The pytree of a structure and its leaves. ValueError for a wrong number of leaves, TypeError for no structure.

    >>> tree_unflatten(tree_structure({"b": 0, "a": 0}), [1, 2])
    {'a': 1, 'b': 2}
    """
    try:
        return treedef.unflatten(leaves)
    except (AttributeError, TypeError):
        if isinstance(treedef, PyTreeDef) and isinstance(leaves, Iterable):
            raise  # raised by a class that the user registered
        raise TypeError(
            "tree_unflatten: expected a structure, as tree_structure gives, and an iterable of leaves; got "
            f"{treedef!r} and {leaves!r}"
        ) from None


def tree_leaves(tree: PyTree, is_leaf: IsLeaf = None) -> list[Any]:
    """The leaves of a pytree. ValueError for a dict whose keys cannot be sorted.

    >>> tree_leaves([1, (2, {"x": 3})])
    [1, 2, 3]
    """
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: PyTree, is_leaf: IsLeaf = None) -> PyTreeDef:
    """The structure of a pytree: hashable, comparable, printable. ValueError for a dict whose keys cannot be sorted.

    >>> tree_structure([1, (2, 3)])
    PyTreeDef([*, (*, *)])
    """
    return tree_flatten(tree, is_leaf)[1]


def _explain(tree: PyTree, is_leaf: IsLeaf, cause: Exception) -> None:
    """Raise for an infinite tree, and for the first dict whose keys cannot be sorted; return if neither is found."""
    if isinstance(cause, RecursionError) or isinstance(cause.__cause__, RecursionError):
        raise RecursionError("tree_flatten: the tree contains itself, or is nested too deep") from None
    if is_leaf is not None and not callable(is_leaf):
        raise TypeError(f"tree_flatten: is_leaf must be a function or None, got {is_leaf!r}") from None
    stack = [(tree, "")]
    while stack:
        node, where = stack.pop()
        if is_leaf is not None and is_leaf(node):
            continue
        if type(node) in (dict, defaultdict):
            try:
                keys = sorted(node)
            except TypeError as error:
                types = ", ".join(sorted({type(key).__name__ for key in node}))
                raise ValueError(
                    f"tree_flatten: the keys of the {type(node).__name__} at tree{where} cannot be sorted "
                    f"({error}). A dict flattens in sorted key order, so its keys must compare with each "
                    f"other; got keys of types {types}. Use keys of one type, or an OrderedDict, which keeps "
                    "its own order."
                ) from cause
            stack += [(node[key], f"{where}[{key!r}]") for key in reversed(keys)]
            continue
        children = registry.flatten_one_level(node)
        if children is not None:
            parts = list(children[0])
            stack += [(parts[i], f"{where}[{i}]") for i in reversed(range(len(parts)))]


# -- Treedefs. -------------------------------------------------------------------------------------------


def _check_treedef(function: str, treedef: Any) -> None:
    if not isinstance(treedef, PyTreeDef):
        raise TypeError(
            f"{function}: expected the structure of a tree, got {described(treedef)}"
            f"; tree_structure(x) is the structure of x"
        )


def treedef_is_leaf(treedef: PyTreeDef) -> bool:
    """Return whether the structure is a single leaf; not so for None and empty containers, which have no leaf.

    TypeError if it is not a structure.

    >>> treedef_is_leaf(tree_structure(3)), treedef_is_leaf(tree_structure(None))
    (True, False)
    """
    _check_treedef("treedef_is_leaf", treedef)
    return treedef.num_nodes == 1 and treedef.num_leaves == 1


def treedef_children(treedef: PyTreeDef) -> list[PyTreeDef]:
    """The structures one level below; [] for a leaf. TypeError if it is not a structure.

    >>> treedef_children(tree_structure((1, [2])))
    [PyTreeDef(*), PyTreeDef([*])]
    """
    _check_treedef("treedef_children", treedef)
    return treedef.children()


def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef:
    """The structure of a tuple of trees, from their structures. TypeError if one is not a structure.

    >>> treedef_tuple([tree_structure(1), tree_structure([2])])
    PyTreeDef((*, [*]))
    """
    given = list(treedefs)
    for i, treedef in enumerate(given):
        if not isinstance(treedef, PyTreeDef):
            raise TypeError(
                f"treedef_tuple: expected structures of trees, got {described(treedef)}"
                f" at position {i}; tree_structure(x) is the structure of x"
            )
    return _pytree.treedef_tuple(registry, given)


def all_leaves(iterable: Iterable[Any], is_leaf: IsLeaf = None) -> bool:
    """Return whether every element is a leaf. TypeError if the argument is not iterable.

    >>> all_leaves([1, "a"]), all_leaves([1, [2]])
    (True, False)
    """
    items = list(iterable)
    if is_leaf is None:
        return _all_leaves(registry, items)
    leaves = tree_leaves(items, is_leaf)
    return len(leaves) == len(items) and all(leaf is item for leaf, item in zip(leaves, items, strict=True))


# -- Registration. ---------------------------------------------------------------------------------------


_registered: weakref.WeakSet[type] = weakref.WeakSet()  # classes of tuples


def _check_class(caller: str, cls: Any) -> None:
    """Refuse to register something that is not a class, a built-in container, or a registered class."""
    if not isinstance(cls, type):
        raise TypeError(f"{caller}: expected a class; got {cls!r}.")
    # the class of a named tuple is already a container, which registration overrides
    named_tuple = issubclass(cls, tuple) and hasattr(cls, "_fields") and cls not in _registered
    if registry.is_node(cls) and not named_tuple:
        raise ValueError(f"{caller}: {cls.__qualname__} is already a pytree; register it once.")
    if cls.__module__ in ("builtins", "numpy"):
        raise TypeError(
            f"{caller}: {cls.__qualname__} is a type that everybody shares; register a class of your own, "
            "made from it if need be."
        )


def _register(caller: str, cls: type, flatten: Callable, unflatten: Callable, with_keys: Callable | None) -> None:
    _check_class(caller, cls)
    for function in (flatten, unflatten, *([] if with_keys is None else [with_keys])):
        if not callable(function):
            raise TypeError(
                f"{caller}: expected functions to take a {cls.__qualname__} apart and to make one; got {function!r}."
            )
    registry.register_node(cls, flatten, unflatten, with_keys)
    if issubclass(cls, tuple):
        _registered.add(cls)


def register_pytree_node(
    nodetype: type,
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_func: Callable[[Any, Any], Any],
    flatten_with_keys_func: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Any]] | None = None,
) -> None:
    """Make a class a pytree container.

    Args:
      nodetype: the class; its subclasses are not included. It may be that of a named tuple, before the first use.
      flatten_func: node -> (children, auxiliary data); the data must be hashable and comparable.
      unflatten_func: (auxiliary data, children) -> node.
      flatten_with_keys_func: node -> (pairs of key and child, auxiliary data), for readable paths.

    Raises:
      ValueError: the class is registered already.

    >>> class Pair:
    ...     def __init__(self, x, y):
    ...         self.x, self.y = x, y
    >>> register_pytree_node(Pair, lambda p: ((p.x, p.y), None), lambda aux, children: Pair(*children))
    >>> tree_leaves(Pair(1, [2, 3]))
    [1, 2, 3]
    """
    _register("register_pytree_node", nodetype, flatten_func, unflatten_func, flatten_with_keys_func)


def register_pytree_with_keys(
    nodetype: type,
    flatten_with_keys: Callable[[Any], tuple[Iterable[tuple[Any, Any]], Any]],
    unflatten_func: Callable[[Any, Any], Any],
    flatten_func: Callable[[Any], tuple[Iterable[Any], Any]] | None = None,
) -> None:
    """Like `register_pytree_node`, for a class whose children have keys; `flatten_func` is for speed only.

    TypeError for arguments that are not classes or functions, ValueError for a class that is registered already.

    >>> class Box:
    ...     def __init__(self, item):
    ...         self.item = item
    >>> register_pytree_with_keys(
    ...     Box, lambda b: (((GetAttrKey("item"), b.item),), None), lambda aux, children: Box(*children)
    ... )
    >>> tree_leaves(Box(5))
    [5]
    """
    if flatten_func is None:

        def flatten_func(node: Any) -> tuple[list[Any], Any]:
            pairs, aux = flatten_with_keys(node)
            return [child for _, child in pairs], aux

    _register("register_pytree_with_keys", nodetype, flatten_func, unflatten_func, flatten_with_keys)


def _require_methods(caller: str, cls: type, *names: str) -> None:
    if not isinstance(cls, type):
        raise TypeError(f"{caller}: expected a class; got {cls!r}.")
    for name in names:
        if not callable(getattr(cls, name, None)):
            raise TypeError(f"{caller}: class {cls.__qualname__} must define the method {name}.")


def register_pytree_node_class(cls: _Type) -> _Type:
    """Class decorator: a pytree by its methods ``tree_flatten`` and (a classmethod) ``tree_unflatten``.

    TypeError for a class without these methods, ValueError for one that is registered already.

    >>> @register_pytree_node_class
    ... class Point:
    ...     def __init__(self, x, y):
    ...         self.x, self.y = x, y
    ...     def tree_flatten(self):
    ...         return (self.x, self.y), None
    ...     @classmethod
    ...     def tree_unflatten(cls, aux, children):
    ...         return cls(*children)
    >>> tree_leaves(Point(1, [2]))
    [1, 2]
    """
    caller = "register_pytree_node_class"
    _require_methods(caller, cls, "tree_flatten", "tree_unflatten")
    methods: Any = cls
    _register(caller, cls, methods.tree_flatten, methods.tree_unflatten, None)
    return cls


def register_pytree_with_keys_class(cls: _Type) -> _Type:
    """Class decorator: as `register_pytree_node_class`, with ``tree_flatten_with_keys`` for readable paths.

    TypeError for a class without the methods, ValueError for one that is registered already.

    >>> @register_pytree_with_keys_class
    ... class Named:
    ...     def __init__(self, x):
    ...         self.x = x
    ...     def tree_flatten_with_keys(self):
    ...         return ((GetAttrKey("x"), self.x),), None
    ...     @classmethod
    ...     def tree_unflatten(cls, aux, children):
    ...         return cls(*children)
    >>> tree_leaves(Named([1, 2]))
    [1, 2]
    """
    _require_methods("register_pytree_with_keys_class", cls, "tree_flatten_with_keys", "tree_unflatten")
    methods: Any = cls
    flatten_func = getattr(cls, "tree_flatten", None)
    register_pytree_with_keys(cls, methods.tree_flatten_with_keys, methods.tree_unflatten, flatten_func)
    return cls


def register_dataclass(
    nodetype: _Type,
    data_fields: Sequence[str] | None = None,
    meta_fields: Sequence[str] | None = None,
    drop_fields: Sequence[str] = (),
) -> _Type:
    """Make a dataclass a pytree; usable as a class decorator.

    Args:
      nodetype: a dataclass, or, with both lists of fields given, a class whose constructor takes the fields
        by keyword.
      data_fields: the fields that are children. Without both lists, each field with metadata
        ``dict(static=True)`` is a meta field, all others are data fields.
      meta_fields: the fields that are part of the structure; hashable and comparable.
      drop_fields: fields to leave out; they must have defaults.

    Raises:
      ValueError: the lists overlap, or name other fields than the constructor has.

    >>> from dataclasses import dataclass, field
    >>> @register_dataclass
    ... @dataclass
    ... class Layer:
    ...     weight: float
    ...     name: str = field(default="", metadata=dict(static=True))
    >>> tree_flatten(Layer(1.0, "in"))
    ([1.0], PyTreeDef(CustomNode(Layer[('in',)], [*])))
    """
    _check_class("register_dataclass", nodetype)
    where = f"register_dataclass: {nodetype.__qualname__}"
    if (data_fields is None) != (meta_fields is None):
        raise TypeError(f"{where}: give both data_fields and meta_fields, or neither.")
    in_init = {}
    if dataclasses.is_dataclass(nodetype):
        in_init = {f.name: f for f in dataclasses.fields(nodetype) if f.init and f.name not in drop_fields}
    elif data_fields is None:
        raise TypeError(f"{where} is no dataclass; give data_fields and meta_fields.")
    if data_fields is None or meta_fields is None:
        meta_fields = [name for name, f in in_init.items() if f.metadata.get("static", False)]
        data_fields = [name for name in in_init if name not in meta_fields]
    given = [*data_fields, *meta_fields]
    if len(set(given)) != len(given):
        raise ValueError(f"{where}: a field is given twice among data_fields and meta_fields: {given}.")
    if dataclasses.is_dataclass(nodetype) and set(given) != set(in_init):
        raise ValueError(
            f"{where}: data_fields and meta_fields must together be the fields of its constructor; "
            f"missing {sorted(set(in_init) - set(given))}, unknown {sorted(set(given) - set(in_init))}."
        )
    registry.register_dataclass_node(nodetype, list(data_fields), list(meta_fields))
    return nodetype


def register_static(cls: _Type) -> _Type:
    """Class decorator: instances have no leaves and are part of the structure; they must hash and compare.

    TypeError for an argument that is not a class, and, at first use, for an instance without a hash (a decorator above
    may still add one to the class); ValueError for a class that is registered already.

    >>> @register_static
    ... class Mode(str):
    ...     pass
    >>> tree_leaves([1, Mode("fast")])
    [1]
    """
    _register("register_static", cls, _static_parts, lambda obj, _: obj, _static_parts)
    return cls


def _static_parts(obj: AnyValue) -> tuple[tuple, Any]:
    if type(obj).__hash__ is None:
        raise TypeError(
            f"register_static: instances of {type(obj).__qualname__} do not hash, and structures must. "
            "Define __hash__ beside __eq__; a dataclass has both with frozen=True."
        )
    return (), obj


def _keyed(make_key: Callable, keys: Iterable, children: Iterable) -> list[tuple[Any, Any]]:
    return [(make_key(key), child) for key, child in zip(keys, children, strict=True)]


register_pytree_node(
    OrderedDict,
    lambda d: (tuple(d.values()), tuple(d)),
    lambda keys, children: OrderedDict(zip(keys, children, strict=True)),
    lambda d: (_keyed(DictKey, d, d.values()), tuple(d)),
)


def _flatten_defaultdict(d: defaultdict) -> tuple[list[Any], tuple]:
    keys = tuple(sorted(d))
    return [d[key] for key in keys], (d.default_factory, keys)


def _flatten_defaultdict_with_keys(d: defaultdict) -> tuple[list[tuple[Any, Any]], tuple]:
    children, (factory, keys) = _flatten_defaultdict(d)
    return _keyed(DictKey, keys, children), (factory, keys)


register_pytree_node(
    defaultdict,
    _flatten_defaultdict,
    lambda aux, children: defaultdict(aux[0], zip(aux[1], children, strict=True)),
    _flatten_defaultdict_with_keys,
)
register_pytree_node(
    deque,
    lambda d: (tuple(d), d.maxlen),
    lambda maxlen, children: deque(children, maxlen),
    lambda d: (_keyed(SequenceKey, range(len(d)), d), d.maxlen),
)
