"""Pytrees, with JAX's as the oracle where both support a container."""

import collections
import copy
import dataclasses
import functools
import os
import pickle
import subprocess
import sys
from typing import NamedTuple

import jax
import pytest

import pullback as pb
from pullback import tree, tree_util
from pullback._core.tree import registry
from pullback._core.tree_paths import broadcast_prefix, equality_errors, leaf_hint, prefix_errors
from pullback.tree_util import (
    DictKey,
    FlattenedIndexKey,
    GetAttrKey,
    Partial,
    SequenceKey,
    keystr,
    register_dataclass,
    register_pytree_node,
    register_pytree_node_class,
    register_pytree_with_keys,
    register_pytree_with_keys_class,
    register_static,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_structure,
    tree_transpose,
)

Point = collections.namedtuple("Point", ["x", "y"])


class DictSubclass(dict):
    pass


@register_pytree_node_class
class Box:
    def __init__(self, *items, label=None):
        self.items, self.label = items, label

    def tree_flatten(self):
        return self.items, self.label

    @classmethod
    def tree_unflatten(cls, label, items):
        return cls(*items, label=label)


TREES = [
    1,
    None,
    (),
    [],
    {},
    [1, (2, None, {"b": 3, "a": [4]})],
    Point(1, [2, 3]),
    collections.OrderedDict(b=1, a=(2, 3)),
    collections.defaultdict(int, b=1, a=[2]),
    {"n": Point(None, 2)},
    DictSubclass(a=1),
]


@pytest.mark.parametrize("value", TREES, ids=repr)
def test_flatten_agrees_with_jax_and_round_trips(value):
    leaves, treedef = tree_flatten(value)
    assert leaves == jax.tree.leaves(value)
    assert str(treedef) == str(jax.tree.structure(value))
    back = tree_util.tree_unflatten(treedef, leaves)
    assert back == value
    assert type(back) is type(value)
    ours = [(keystr(path), leaf) for path, leaf in tree.leaves_with_path(value)]
    assert ours == [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree.leaves_with_path(value)]


def test_dicts_flatten_in_sorted_order_and_ordered_ones_in_theirs():
    assert tree_leaves({"b": 1, "a": 2}) == [2, 1]
    assert tree_leaves(collections.OrderedDict([("b", 1), ("a", 2)])) == [1, 2]
    back = tree_map(str, collections.defaultdict(list, b=1, a=2))
    assert back.default_factory is list
    assert back == {"a": "2", "b": "1"}


def test_deque():
    value = collections.deque([1, [2]], maxlen=3)
    back = tree_map(lambda x: x + 1, value)
    assert back == collections.deque([2, [3]])
    assert back.maxlen == 3
    assert keystr(tree.leaves_with_path(value)[1][0]) == "[1][0]"


def test_is_leaf():
    leaves = tree_leaves([1, (2, 3), None], is_leaf=lambda x: x is None or isinstance(x, tuple))
    assert leaves == [1, (2, 3), None]
    by_path = tree.leaves_with_path({"a": [1], "b": [2]}, lambda path, x: path == (DictKey("b"),), True)
    assert by_path == [((DictKey("a"), SequenceKey(0)), 1), ((DictKey("b"),), [2])]


def test_our_registry_is_not_that_of_jax():
    assert tree_leaves(Box(1, 2)) == [1, 2]
    box = Box(1, 2)
    assert jax.tree.leaves(box) == [box]


def test_treedefs():
    treedef = tree_structure((1, [2, 3]))
    assert tree_util.treedef_children(treedef) == [tree_structure(1), tree_structure([2, 3])]
    assert tree_util.treedef_tuple(tree_util.treedef_children(treedef)) == treedef
    assert hash(treedef) == hash(tree_structure((7, [8, 9])))
    assert tree_util.treedef_is_leaf(tree_structure(1))
    assert not any(tree_util.treedef_is_leaf(tree_structure(t)) for t in ((), None, [1]))
    with pytest.raises(ValueError, match="expected 3, got 2"):
        tree_util.tree_unflatten(treedef, [1, 2])


def test_treedefs_copy_and_pickle():
    for value in TREES[:-1]:
        treedef = tree_structure(value)
        assert copy.deepcopy(treedef) == treedef
        assert pickle.loads(pickle.dumps(treedef)) == treedef
    assert copy.deepcopy(registry) is registry


def test_all_leaves():
    assert tree_util.all_leaves([1, "a"])
    assert not tree_util.all_leaves([1, None])
    assert tree_util.all_leaves([1, None], is_leaf=lambda x: x is None)
    assert not tree_util.all_leaves([1, [2]], is_leaf=lambda x: x is None)


def test_short_names_are_the_long_ones():
    for name in set(tree.__all__) - {"static"}:
        assert getattr(tree, name) is getattr(tree_util, f"tree_{name}")
    assert set(tree.__all__) <= {name for name in dir(jax.tree) if name[0] != "_"}
    assert set(tree_util.__all__) <= {name for name in dir(jax.tree_util) if name[0] != "_"}


# -- mapping


def test_map_takes_subtrees_below_the_leaves_of_the_first():
    assert tree_map(lambda a, b: (a, b), {"x": 1}, {"x": [5, 6]}) == {"x": (1, [5, 6])}
    found = tree.map_with_path(lambda p, a, b: (keystr(p), a + b), [1, 2], [10, 20])
    assert found == [("[0]", 11), ("[1]", 22)]


MISMATCHES = [
    (
        {"a": [1, 2]},
        {"a": [1, 2, 3]},
        r"tree\['a'\]: expected a list of 2 children, got a list of 3 children",
    ),
    ({"a": [1, 2]}, {"a": (1, 2)}, r"tree\['a'\]: expected a list .*, got a tuple .*types differ"),
    ({"a": 1, "b": 2}, {"a": 1, "c": 2}, r"missing keys \['b'\], unexpected keys \['c'\]"),
    ([1, None], [1, 5], r"tree\[1\]: expected None, got a leaf of type int"),
    (Point(1, (2,)), Point(1, 3), r"tree\.y: expected a tuple of 1 child, got a leaf of type int"),
    ([{"a": 1}], [DictSubclass(a=1)], "DictSubclass is a subclass of dict and not registered"),
    (Box(1, label="p"), Box(1, label="q"), "a Box of 1 child with data 'p', got .*'q'.*static data differ"),
]


@pytest.mark.parametrize(("first", "second", "message"), MISMATCHES)
@pytest.mark.parametrize("function", [tree_map, tree.map_with_path])
def test_mismatches_are_explained(function, first, second, message):
    with pytest.raises(ValueError, match=message) as caught:
        function(lambda *_: 0, first, first, second)
    assert "tree 2 differs from tree 0" in str(caught.value)
    assert "JAX" not in str(caught.value)


def test_mismatch_below_what_is_leaf_stopped_at_is_none():
    stop = {"is_leaf": lambda x: isinstance(x, tuple)}
    assert tree_map(lambda a, b: b, [(1, 2)], [(3,)], **stop) == [(3,)]
    with pytest.raises(ValueError, match="list of 2 children"):
        tree_map(lambda a, b: b, [(1, 2)], [(3,), 4], **stop)


def test_reduce_and_all():
    assert tree.reduce(lambda a, b: a - b, [10, (2, 3)]) == 5
    assert tree.reduce(lambda a, b: a + [b], {"b": 1, "a": 2}, []) == [2, 1]
    assert tree.reduce(lambda a, b: b, None, None) is None
    with pytest.raises(TypeError, match="empty"):
        tree.reduce(max, ())
    assert tree.all(())
    assert not tree.all([True, 0])


def test_transpose():
    outer, inner = tree_structure({"a": 0, "b": 0}), tree_structure((0, [0]))
    value = {"a": (1, [2]), "b": (3, [4])}
    expected = ({"a": 1, "b": 3}, [{"a": 2, "b": 4}])
    assert tree_transpose(outer, inner, value) == tree_transpose(outer, None, value) == expected
    assert tree_transpose(tree_structure([]), inner, []) == ([], [[]])
    with pytest.raises(ValueError, match="give inner_treedef"):
        tree_transpose(tree_structure([]), None, [])
    with pytest.raises(ValueError, match=r"expected inner trees of structure .* at leaf 1"):
        tree_transpose(outer, inner, {"a": (1, [2]), "b": (3, 4)})
    with pytest.raises(ValueError, match="whose outer structure is"):
        tree_transpose(outer, inner, [1])


def test_broadcast():
    full = ({"x": 1, "y": None}, [2, 3], 4)
    assert broadcast_prefix((7, 8, 9), full) == [7, 8, 8, 9]
    assert broadcast_prefix(None, full, is_leaf=lambda x: x is None) == [None] * 4
    assert tree.broadcast((7, 8, 9), full) == ({"x": 7, "y": None}, [8, 8], 9)
    with pytest.raises(ValueError, match="tuple of 2 children, got a tuple of 3 children"):
        tree.broadcast((7, 8), full)


MIXED = {1: 0, "a": 1}


@pytest.mark.parametrize("bad", [MIXED, [({"k": {None: 0, "a": 1}},)], collections.defaultdict(int, MIXED)])
@pytest.mark.parametrize("function", [tree_leaves, tree.leaves_with_path])
def test_unsortable_keys_are_explained(function, bad):
    with pytest.raises(ValueError, match=r"at tree.* cannot be sorted .* Use keys of one type"):
        function(bad)


# -- paths and differences


def test_keystr():
    path = (DictKey("a"), SequenceKey(1), GetAttrKey("w"), FlattenedIndexKey(2), "other")
    assert keystr(path) == "['a'][1].w[<flat index 2>]other"
    assert keystr(path, simple=True, separator="/") == "a/1/w/2/other"
    theirs = jax.tree_util
    same = (theirs.DictKey("a"), theirs.SequenceKey(1), theirs.GetAttrKey("w"), theirs.FlattenedIndexKey(2))
    assert keystr(path[:4], simple=True, separator=".") == theirs.keystr(same, simple=True, separator=".")


def test_equality_errors():
    assert list(equality_errors({"a": (1, 2)}, {"a": (3, 4)})) == []
    errors = equality_errors([1, (2,), {"k": 3}], [(1,), [2], {"j": 3}])
    assert [(keystr(path), why) for path, _, _, why in errors] == [
        ("[0]", ""),
        ("[1]", "the types differ"),
        ("[2]", "missing keys ['k'], unexpected keys ['j']"),
    ]


def test_prefix_errors():
    assert list(prefix_errors((1, 2), ([1], {"x": 2}))) == []
    ((path, expected, got, why),) = prefix_errors({"a": (1, 2)}, {"a": (1,)})
    assert (keystr(path), expected, got) == ("['a']", "a tuple of 2 children", "a tuple of 1 child")
    assert why == "the numbers of children differ"


def test_leaf_hint():
    assert "register_pytree_node" in leaf_hint(DictSubclass())
    assert leaf_hint(3.0) == ""


# -- registration


def test_register_node_and_keys():
    class Plain:
        def __init__(self, *items):
            self.items = items

    register_pytree_node(Plain, lambda p: (p.items, None), lambda _, items: Plain(*items))
    assert keystr(tree.leaves_with_path(Plain(1, [2]))[1][0]) == "[<flat index 1>][0]"
    with pytest.raises(ValueError, match="Plain is already a pytree"):
        register_pytree_node(Plain, lambda p: (p.items, None), lambda _, items: Plain(*items))
    with pytest.raises(TypeError, match="expected a class; got 3"):
        register_pytree_node(3, None, None)

    class Keyed(Plain):
        pass

    register_pytree_with_keys(
        Keyed,
        lambda k: ([(DictKey(i), x) for i, x in enumerate(k.items)], None),
        lambda _, items: Keyed(*items),
    )
    assert tree_leaves(Keyed(1, [2])) == [1, 2]
    assert keystr(tree.leaves_with_path(Keyed(1, [2]))[1][0]) == "[1][0]"


def test_register_classes():
    @register_pytree_with_keys_class
    class Keyed:
        def __init__(self, x):
            self.x = x

        def tree_flatten_with_keys(self):
            return [(GetAttrKey("x"), self.x)], None

        @classmethod
        def tree_unflatten(cls, _, children):
            return cls(*children)

    assert tree_map(lambda v: v + 1, Keyed(1)).x == 2
    assert keystr(tree.leaves_with_path(Keyed(1))[0][0]) == ".x"
    with pytest.raises(TypeError, match="class Half must define the method tree_unflatten"):
        register_pytree_node_class(type("Half", (), {"tree_flatten": lambda self: ((), None)}))


def test_register_dataclass_infers_static_fields():
    @register_dataclass
    @dataclasses.dataclass
    class Layer:
        weight: object
        bias: object
        name: str = tree.static(default="n")
        cache: object = dataclasses.field(default=None, init=False)

    layer = Layer(1, [2], "first")
    leaves, treedef = tree_flatten(layer)
    assert leaves == [1, 2]
    assert treedef != tree_structure(Layer(1, [2], "second"))
    assert treedef.unflatten(leaves) == layer
    assert [keystr(path) for path, _ in tree.leaves_with_path(layer)] == [".weight", ".bias[0]"]


def test_register_dataclass_checks_its_fields():
    @dataclasses.dataclass
    class Layer:
        weight: object
        name: str
        extra: object = None

    with pytest.raises(ValueError, match=r"missing \['extra', 'name'\], unknown \['b'\]"):
        register_dataclass(Layer, ["weight"], ["b"])
    with pytest.raises(ValueError, match="given twice"):
        register_dataclass(Layer, ["weight", "extra"], ["name", "extra"])
    with pytest.raises(TypeError, match="both"):
        register_dataclass(Layer, ["weight"])
    with pytest.raises(TypeError, match="no dataclass"):
        register_dataclass(Unhashable)
    assert register_dataclass(Layer, ["weight"], ["name"], drop_fields=["extra"]) is Layer
    assert tree_map(lambda x: -x, Layer(1, "n", 5)) == Layer(-1, "n")
    with pytest.raises(ValueError, match="already a pytree"):
        register_dataclass(Layer, ["weight"], ["name"], drop_fields=["extra"])


def test_a_class_of_named_tuples_takes_what_is_registered():
    class Interval(NamedTuple):
        low: float
        unit: str

    register_pytree_node(Interval, lambda i: ((i.low,), i.unit), lambda unit, children: Interval(*children, unit))
    leaves, treedef = tree_flatten([Interval(1.0, "m"), 2.0])
    assert leaves == [1.0, 2.0]
    assert treedef.unflatten([3.0, 4.0]) == [Interval(3.0, "m"), 4.0]
    assert pb.jit(lambda i: Interval(i.low * 2, i.unit))(Interval(1.5, "m")) == Interval(3.0, "m")
    with pytest.raises(ValueError, match="Interval is already a pytree"):
        register_pytree_node(Interval, lambda i: ((), i), lambda i, _: i)


def test_a_static_class_whose_hash_comes_later():
    """A decorator above adds it, as `dataclass(frozen=True)` above a class with `__eq__` does."""

    @dataclasses.dataclass(frozen=True)
    @register_static
    class Mode:
        name: str

        def __eq__(self, other):
            return isinstance(other, Mode) and self.name == other.name

    def hashed(cls):
        cls.__hash__ = lambda self: hash(self.name)
        return cls

    @hashed
    @register_static
    class Unit:
        def __init__(self, name):
            self.name = name

        def __eq__(self, other):
            return isinstance(other, Unit) and self.name == other.name

    for cls in (Mode, Unit):
        assert tree_structure([1, cls("a")]) == tree_structure([1, cls("a")]) != tree_structure([1, cls("b")])
        assert hash(tree_structure(cls("a"))) == hash(tree_structure(cls("a")))


def test_register_static():
    @register_static
    @dataclasses.dataclass(frozen=True)
    class Mode:
        name: str

    leaves, treedef = tree_flatten([1, Mode("fast")])
    assert leaves == [1]
    assert treedef.unflatten([2]) == [2, Mode("fast")]
    assert treedef == tree_structure([1, Mode("fast")])
    assert treedef != tree_structure([1, Mode("slow")])
    assert list(prefix_errors(Mode("a"), Mode("a"))) == []


def test_partial():
    def call(*args, **keywords):
        return args, keywords

    leaves, treedef = tree_flatten(Partial(call, 1, [2], k=3))
    assert leaves == [1, 2, 3]
    assert treedef.unflatten([4, 5, 6])(7) == ((4, [5], 7), {"k": 6})
    assert treedef == tree_structure(Partial(call, 0, [0], k=0))
    assert treedef != tree_structure(Partial(print, 0, [0], k=0))


@pytest.mark.parametrize("inner", [functools.partial, Partial])
def test_partial_of_a_partial_keeps_inner_arguments_static(inner):
    def call(*args):
        return args

    func = inner(call, 1)
    assert tree_leaves(Partial(func, 2)) == jax.tree.leaves(jax.tree_util.Partial(func, 2)) == [2]
    assert Partial(func, 2)(3) == (1, 2, 3)
    assert tree_structure(Partial(func, 2)) == tree_structure(Partial(func, 9))
    assert tree_map(lambda x: x, Partial(func, 2))(3) == (1, 2, 3)


def test_treedef_tuple_takes_structures():
    with pytest.raises(TypeError, match="treedef_tuple: expected structures of trees, got 1 of type int"):
        tree_util.treedef_tuple([tree_structure(0), 1])


def test_importing_pytrees_imports_neither_jax_nor_the_xla_client():
    code = "import sys, pullback._core.tree_paths; print(*sys.modules)"
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    loaded = done.stdout.split()
    assert "jaxlib._jax" in loaded
    assert [name for name in loaded if name.split(".")[0] == "jax" or "xla_client" in name] == []


def test_arrays_are_told_by_their_type():
    with pytest.raises(ValueError, match=r"expected a tuple of 2 children, got an array of type f32\[3\]"):
        tree_map(lambda x, y: x, (1, 2), pb.numpy.ones(3))


class Unhashable:
    __hash__ = None


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: tree_util.tree_unflatten(3, [1]), ["tree_unflatten", "structure", "3"]),
        (lambda: tree_util.tree_unflatten(tree_util.tree_structure([1]), 5), ["tree_unflatten", "iterable", "5"]),
        (lambda: tree_util.tree_map(3, [1]), ["tree_map", "function", "3"]),
        (lambda: tree_util.tree_transpose(3, None, [1]), ["tree_transpose", "outer_treedef", "3"]),
        (lambda: tree_flatten(tree_util.register_static(Unhashable)()), ["register_static", "Unhashable", "__hash__"]),
        (lambda: register_dataclass(int, ["real"], []), ["register_dataclass", "int", "class of your own"]),
    ],
)
def test_what_is_refused(call, parts):
    with pytest.raises(TypeError) as info:
        call()
    for part in parts:
        assert part in str(info.value), str(info.value)


def test_one_level_of_a_container():
    node = {"b": [2, 3], "a": 1}
    assert tree_util.flatten_one_level(node) == jax.tree_util.flatten_one_level(node)
    assert tree_util.flatten_one_level((1, [2]))[0] == (1, [2])
    assert [tree_util.keystr((key,)) for key, _ in tree_util.flatten_one_level_with_keys(node)[0]] == ["['a']", "['b']"]
    with pytest.raises(ValueError, match="flatten_one_level: expected a container, got 3 of type int, a leaf"):
        tree_util.flatten_one_level(3)
    assert [tree_util.is_tree_node(kind) for kind in (list, dict, type(None), int)] == [True, True, True, False]
    with pytest.raises(TypeError, match="is_tree_node: expected a class, got 3"):
        tree_util.is_tree_node(3)
    assert tree_util.default_registry.flatten(node)[0] == [1, 2, 3]
