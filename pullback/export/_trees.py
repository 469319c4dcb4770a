"""Structures of pytrees as tables of a file, and the registration of one's own types of nodes."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from pullback._core.array import Array
from pullback._core.errors import boundary, described
from pullback._core.tree import PyTreeDef, registry, tree_structure
from pullback._core.tree_paths import skeleton
from pullback._core.typing import AnyValue, PyTree
from pullback.export._flatbuffers import MalformedFileError
from pullback.random.key_arrays import KeyAval, PRNGKeyArray, typed

_T = TypeVar("_T", bound=type)
_LEAF, _NONE, _TUPLE, _LIST, _DICT, _CUSTOM = range(6)


class _NodeType(NamedTuple):
    """How nodes of a type are written and read."""

    cls: type
    name: str
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]
    build: Callable[[Any, Sequence[Any]], Any]


_by_type: dict[type, _NodeType] = {}
_by_name: dict[str, _NodeType] = {}


@boundary
def register_pytree_node_serialization(
    nodetype: _T,
    *,
    serialized_name: str,
    serialize_auxdata: Callable[[Any], bytes],
    deserialize_auxdata: Callable[[bytes], Any],
    from_children: Callable[[Any, Sequence[Any]], Any] | None = None,
) -> _T:
    """Say how nodes of a registered type are written to files of exported functions; returns the type.

    Args:
      nodetype: a class that `tree_util.register_pytree_node` knows.
      serialized_name: the name of the type in files.
      serialize_auxdata: turns the second result of the type's flatten function into bytes.
      deserialize_auxdata: turns the bytes of a file into that. It gets whatever the file says: it must check it.
      from_children: builds a node of this and its children; by default the type's unflatten function.

    ValueError for a type or a name that is registered already, TypeError for a name that is no string.

    >>> import json, pullback as pb
    >>> from pullback import export, tree_util
    >>> class Pair:
    ...     def __init__(self, name, a, b):
    ...         self.name, self.a, self.b = name, a, b
    >>> _ = tree_util.register_pytree_node(
    ...     Pair, lambda p: ((p.a, p.b), p.name), lambda name, ab: Pair(name, *ab)
    ... )
    >>> _ = export.register_pytree_node_serialization(
    ...     Pair, serialized_name="example.Pair", serialize_auxdata=str.encode, deserialize_auxdata=bytes.decode
    ... )
    >>> exported = export.export(pb.jit(lambda p: p.a * p.b))(Pair("x", 1., 2.))
    >>> print(export.deserialize(exported.serialize()).call(Pair("x", 3., 4.)))
    12.0
    """
    if not isinstance(nodetype, type) or not isinstance(serialized_name, str):
        raise TypeError(
            "register_pytree_node_serialization: expected a class and a string for its name, got "
            f"{described(nodetype)} and {described(serialized_name)}"
        )
    known = _by_type.get(nodetype) or _by_name.get(serialized_name)
    if known is not None:
        raise ValueError(
            f"register_pytree_node_serialization: {known.cls.__qualname__} is registered already, as {known.name!r}"
        )
    node = _NodeType(
        nodetype, serialized_name, serialize_auxdata, deserialize_auxdata, from_children or _unflattening(nodetype)
    )
    _by_type[nodetype] = _by_name[serialized_name] = node
    return nodetype


def _unflattening(nodetype: type) -> Callable[[Any, Sequence[Any]], Any]:
    def build(aux: Any, children: Sequence[Any]) -> Any:
        structure = PyTreeDef.from_node_data_and_children(
            registry, (nodetype, aux), [tree_structure(0) for _ in children]
        )
        return structure.unflatten(children)

    return build


@boundary
def register_namedtuple_serialization(nodetype: _T, *, serialized_name: str) -> _T:
    """Say under which name a namedtuple is written to files of exported functions; returns the type.

    ValueError for a type that is no namedtuple, or if the type or the name is registered already.

    >>> import pullback as pb
    >>> from collections import namedtuple
    >>> from pullback import export
    >>> State = export.register_namedtuple_serialization(namedtuple("State", "x v"), serialized_name="example.State")
    >>> exported = export.export(pb.jit(lambda s: s._replace(x=s.x + s.v)))(State(0., 1.))
    >>> print(export.deserialize(exported.serialize()).call(State(2., 3.)).x)
    5.0
    """
    fields = getattr(nodetype, "_fields", None)
    if not (isinstance(nodetype, type) and issubclass(nodetype, tuple) and isinstance(fields, tuple)):
        raise ValueError(
            f"register_namedtuple_serialization: {described(nodetype)} is no namedtuple; for other types use "
            "register_pytree_node_serialization"
        )
    names = list(fields)

    def build(given: Any, children: Sequence[Any]) -> Any:
        if given != names or len(children) != len(names):
            raise ValueError(f"{nodetype.__qualname__} has the fields {names}, in the file {given!r}")
        return nodetype(*children)

    return register_pytree_node_serialization(
        nodetype,
        serialized_name=serialized_name,
        serialize_auxdata=lambda aux: json.dumps(names).encode(),
        deserialize_auxdata=json.loads,
        from_children=build,
    )


def _ordered_keys(keys: Any) -> bytes:
    if not all(isinstance(key, str) for key in keys):
        raise TypeError(f"serialize: an OrderedDict is written with strings as keys, got {list(keys)}")
    return json.dumps(list(keys)).encode()


def _ordered_dict(keys: Any, children: Sequence[Any]) -> Any:
    if not isinstance(keys, list) or len(keys) != len(children) or not all(isinstance(k, str) for k in keys):
        raise ValueError(f"an OrderedDict of {len(children)} values with the keys {keys!r}")
    return OrderedDict(zip(keys, children, strict=True))


register_pytree_node_serialization(
    OrderedDict,
    serialized_name="collections.OrderedDict",
    serialize_auxdata=_ordered_keys,
    deserialize_auxdata=json.loads,
    from_children=_ordered_dict,
)


def tree_to_table(treedef: PyTreeDef) -> dict[str, Any]:
    """The table of a structure. Typed keys are leaves of it, as they are to users."""
    data, children = treedef.node_data(), treedef.children()
    if data is None:
        return {"kind": _LEAF}
    kind, aux = data
    if kind is PRNGKeyArray:
        return {"kind": _LEAF}
    table: dict[str, Any] = {"children": [tree_to_table(child) for child in children] or None}
    if kind is type(None):
        return {"kind": _NONE}
    if kind in (tuple, list):
        return table | {"kind": _TUPLE if kind is tuple else _LIST}
    if kind is dict:
        if not all(isinstance(key, str) for key in aux):
            raise TypeError(f"serialize: a dict is written with strings as keys, got {list(aux)}")
        return table | {"kind": _DICT, "children_names": list(aux) or None}
    node = _by_type.get(kind)
    if node is None:
        raise ValueError(
            f"serialize: {skeleton(treedef)!r} is of the type {kind.__qualname__}, which has no name in files: call "
            "export.register_pytree_node_serialization or export.register_namedtuple_serialization, here and where "
            "the file is read"
        )
    written = node.write(aux)
    if not isinstance(written, (bytes, bytearray)):
        raise TypeError(
            f"serialize: serialize_auxdata of {kind.__qualname__} must return bytes, got {described(written)}"
        )
    return table | {"kind": _CUSTOM, "custom_name": node.name, "custom_auxdata": bytes(written)}


def leaf_avals(treedef: PyTreeDef, avals: Sequence[Any]) -> list[Any]:
    """The types of the leaves that users see, from those of the package's, to which a key is an array of words."""
    rest = iter(avals)

    def walk(tree: PyTreeDef) -> Iterator[Any]:
        data = tree.node_data()
        if data is None:
            yield next(rest)
        elif data[0] is PRNGKeyArray:
            yield KeyAval(next(rest).shape[:-1], data[1])
        else:
            for child in tree.children():
                yield from walk(child)

    return list(walk(treedef))


def tree_of_table(table: Mapping[str, Any], avals: Sequence[Any], where: str) -> PyTreeDef:
    """The structure of a table whose leaves have the given types."""
    leaves = iter(avals)
    built = _build(table, leaves, where)
    if next(leaves, None) is not None:
        raise MalformedFileError(where, f"the structure has fewer than {len(avals)} leaves")
    return tree_structure(built)


def _build(table: Mapping[str, Any], leaves: Iterator[Any], where: str) -> PyTree:
    kind, below = table.get("kind", _LEAF), table.get("children", [])
    if kind == _LEAF:
        aval = next(leaves, None)
        if aval is None:
            raise MalformedFileError(where, "the structure has more leaves than there are types")
        # the type of an array stands for it: only the structure is kept
        return typed(cast(Array, aval), aval.dtype) if isinstance(aval, KeyAval) else aval
    children = [_build(child, leaves, f"{where}.children[{i}]") for i, child in enumerate(below)]
    if kind == _NONE:
        return None
    if kind == _TUPLE:
        return tuple(children)
    if kind == _LIST:
        return children
    if kind == _DICT:
        names = table.get("children_names", [])
        if len(set(names)) != len(children) or names != sorted(names):
            raise MalformedFileError(f"{where}.children_names", f"{names} for {len(children)} children")
        return dict(zip(names, children, strict=True))
    if kind != _CUSTOM:
        raise MalformedFileError(f"{where}.kind", f"the number {kind} stands for no container")
    return _build_custom(table, children, where)


def _build_custom(table: Mapping[str, Any], children: Sequence[Any], where: str) -> AnyValue:
    name = table.get("custom_name", "")
    node = _by_name.get(name)
    if node is None:
        raise MalformedFileError(
            f"{where}.custom_name",
            f"no type is registered as {name!r}: call export.register_pytree_node_serialization or "
            "export.register_namedtuple_serialization before",
        )
    try:
        return node.build(node.read(table.get("custom_auxdata", b"")), children)
    except Exception as error:
        raise MalformedFileError(f"{where}.custom_auxdata", f"{type(error).__name__}: {error}") from None
