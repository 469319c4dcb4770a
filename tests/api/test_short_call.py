"""Warm calls of compiled functions: they give what the first call gave, whatever goes in and comes out."""

import dataclasses
import functools
import sys
from collections import namedtuple

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback._api import short_call
from pullback._api.jit import Compiler
from pullback.tree_util import register_dataclass, register_pytree_node, tree_leaves, tree_map, tree_structure

X = pnp.arange(3.0)
Pair = namedtuple("Pair", "a b")


class Box:
    """Equal to what its content is equal to, and with all the attributes that its content has."""

    def __init__(self, content):
        self.content = content

    def __eq__(self, other):
        return self.content == other

    def __getattr__(self, name):
        if name == "content":
            raise AttributeError(name)
        return getattr(self.content, name)


register_pytree_node(Box, lambda box: ((box.content,), None), lambda _, children: Box(*children))


@register_dataclass
@dataclasses.dataclass
class Strict:
    """A class that looks at what it is made of."""

    a: object

    def __post_init__(self):
        self.length = self.a.shape[0]


def nothing(x, y):
    return None


def array(x, y):
    return x + y


def empty_tuple(x, y):
    return ()


def empty_list(x, y):
    return []


def tuple_of_one(x, y):
    return (x,)


def list_of_one(x, y):
    return [x]


def list_of_three(x, y):
    return [x, y, x]


def dictionary(x, y):
    return {"b": x, "a": (y, None)}


def nested(x, y):
    return x, [y]


def constants(x, y):
    return x, 1.0, pnp.ones(2)


def box(x, y):
    return Box(x)


def boxes(x, y):
    return Box(x), Box(y)


def strict(x, y):
    return Strict(x)


def many(x, y):
    return [x * i for i in range(120)]


@pytest.mark.parametrize(
    "fun",
    [
        nothing,
        array,
        empty_tuple,
        empty_list,
        tuple_of_one,
        list_of_one,
        list_of_three,
        dictionary,
        Pair,
        nested,
        constants,
        box,
        boxes,
        strict,
        many,
    ],
)
def test_results_of_every_structure(fun):
    compiled, expected = pb.jit(fun), fun(X, X + 1)
    x, y = pb.jit(lambda x: (x, x + 1))(X)
    for _ in range(3):
        got = compiled(x, y)
        assert tree_structure(got) == tree_structure(expected)
        for a, b in zip(tree_leaves(got), tree_leaves(expected), strict=True):
            assert pnp.asarray(a).dtype == pnp.asarray(b).dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 200])
def test_numbers_of_arguments(n):
    compiled = pb.jit(lambda *xs: [x + i for i, x in enumerate(xs)])
    xs = pb.jit(lambda: [pnp.full(2, float(i)) for i in range(n)])()
    for _ in range(3):
        np.testing.assert_array_equal(pnp.asarray(compiled(*xs)).reshape(n, 2), np.arange(n)[:, None] * np.full(2, 2.0))


def test_an_object_with_the_attributes_of_an_array_is_not_one():
    scaled = pb.jit(lambda q: Box(q.content * 2) if isinstance(q, Box) else q * 100)
    both = pb.jit(lambda q, r: Box(q.content * 2) if isinstance(q, Box) else q * 100 + r)
    x = pb.jit(lambda x: x)(X)
    for _ in range(3):
        assert scaled(Box(x)).content.tolist() == both(Box(x), x).content.tolist() == [0, 2, 4]
        assert scaled(x).tolist() == [0, 100, 200]
        assert both(x, x).tolist() == [0, 101, 202]


def test_types_and_options_that_change_between_calls():
    compiled = pb.jit(lambda x, y: (x + y) / 3)
    rows = [(np.float32, np.float32), (np.int32, np.float32), (np.float32, np.float32), (np.float16, np.float16)]
    for a, b in rows * 2:
        x, y = pnp.ones(2, a), pnp.ones(2, b)
        for _ in range(2):
            assert compiled(x, y).dtype == ((x + y) / 3).dtype
        with pb.enable_x64():
            assert compiled(pnp.ones(2, np.float64), y).dtype == np.float64
        with pb.disable_jit():
            assert compiled(x, y).dtype == ((x + y) / 3).dtype


def general_calls(compiled, calls, monkeypatch):
    """How many of the calls went the general way."""
    seen = []
    call = Compiler._traced

    def counted(self, *args):
        seen.append(1)
        return call(self, *args)

    monkeypatch.setattr(Compiler, "_traced", counted)
    for args, kwargs in calls:
        compiled(*args, **kwargs)
    return len(seen)


def test_what_goes_the_short_way_from_the_second_call_on(monkeypatch):
    captured = pnp.arange(3.0)
    x, host, number = X + 1, np.ones(3, np.float32), 2.0
    cases = {
        "nested": (pb.jit(lambda p, s: (p["a"] * s["c"][0], p["b"])), ({"a": x, "b": (x, None)}, {"c": [x]}), {}),
        "keywords": (pb.jit(lambda x, *, y: x - y), (x,), {"y": x + 1}),
        "static position": (pb.jit(lambda x, n: x * n, static_argnums=1), (x, 3), {}),
        "static name": (pb.jit(lambda x, mode: x if mode == "a" else -x, static_argnames="mode"), (x,), {"mode": "b"}),
        "captured": (pb.jit(lambda x: x + captured), (x,), {}),
        "from NumPy": (pb.jit(lambda x: x * 2), (host,), {}),
        "number": (pb.jit(lambda x: x * 2), (number,), {}),
        "nothing": (pb.jit(lambda: captured * 2), (), {}),
    }
    for name, (compiled, args, kwargs) in cases.items():
        expected = tree_map(pnp.asarray, compiled.__wrapped__(*args, **kwargs))
        first = compiled(*args, **kwargs)
        with monkeypatch.context() as patch:
            assert general_calls(compiled, [(args, kwargs)] * 3, patch) == 0, name
        for got in (first, compiled(*args, **kwargs)):
            assert tree_structure(got) == tree_structure(expected)
            for a, b in zip(tree_leaves(got), tree_leaves(expected), strict=True):
                assert a.dtype == b.dtype, name
                np.testing.assert_array_equal(a, b)


def test_structures_static_values_and_types_that_change_between_calls():
    @functools.partial(pb.jit, static_argnums=1, static_argnames="sign")
    def scaled(tree, n, sign=1, **more):
        return [leaf * n * sign + sum(more.values()) for leaf in tree_leaves(tree)]

    for _ in range(3):
        for tree in ({"a": X}, {"b": X}, [X], [X, X], (X,), {"a": X.astype("int32")}, {"a": 1.0}, {"a": np.arange(3)}):
            for n in (2, 2.0, True, np.float64(2)):
                for sign in (1, -1, -1.0):
                    for more in ({}, {"y": X}, {"z": X}, {"z": 1}):
                        got = scaled(tree, n, sign=sign, **more)
                        lifted, lifted_more = tree_map(pnp.asarray, tree), tree_map(pnp.asarray, more)
                        expected = scaled.__wrapped__(lifted, n, sign, **lifted_more)
                        for a, b in zip(got, expected, strict=True):
                            assert (a.dtype, a.weak_type) == (b.dtype, b.weak_type)
                            np.testing.assert_array_equal(a, b)


def test_memory_of_numpy_may_change_after_a_warm_call():
    twice = pb.jit(lambda tree: tree["x"] * 2)
    host = np.ones(4096, np.float32)
    results = []
    for i in range(4):
        host[:] = i
        results.append(twice({"x": host}))
    host[:] = -1
    assert [float(y[5]) for y in results] == [0, 2, 4, 6]


def test_arrays_of_numpy_are_copied_once(monkeypatch):
    """To the device, not to an array here that is copied to the device then."""
    total = pb.jit(lambda tree: sum(x.sum() for x in tree))
    leaves = [np.full(5, i, np.float32) for i in range(4)]
    total(leaves)
    lifted = []
    lift = short_call.lift

    def counted(x):
        lifted.append(x)
        return lift(x)

    monkeypatch.setattr(short_call, "lift", counted)
    assert float(total(leaves)) == 30
    assert lifted == []
    # what the engine does not take as it is
    assert float(total([x.astype(np.float64) for x in leaves])) == 30
    assert float(total([np.stack([x, x], 1)[:, 0] for x in leaves])) == 30
    assert len(lifted) == 8


def test_errors_of_warm_calls_name_the_argument():
    compiled = pb.jit(lambda tree, *, y: tree["a"] + y)
    for _ in range(2):
        compiled({"a": X}, y=X)
    with pytest.raises(TypeError, match=r"jit of .*'tree', leaf \['a'\]"):
        compiled({"a": "text"}, y=X)
    with pytest.raises(ValueError, match="cannot be sorted"):
        compiled({"a": X, 1: X}, y=X)
    x = pb.jit(lambda x: x)(X)
    compiled({"a": x}, y=x)
    x.delete()
    with pytest.raises(RuntimeError, match="deleted"):
        compiled({"a": x}, y=X)


def test_a_captured_array_that_was_deleted():
    captured = pb.jit(lambda x: x + 1)(X)
    compiled = pb.jit(lambda x: x + captured)
    for _ in range(2):
        assert compiled(X).tolist() == [1, 3, 5]
    captured.delete()
    with pytest.raises(RuntimeError, match="deleted"):
        compiled(X)


def test_numbers_of_python_keep_their_kind_and_sign():
    reciprocal, same = pb.jit(lambda x: 1 / x), pb.jit(lambda x: x)
    for _ in range(3):
        for x in (0.0, -0.0, 2.0, float("nan"), -4.0):
            np.testing.assert_array_equal(reciprocal(x), np.float32(1) / np.float32(x) if x else np.copysign(np.inf, x))
        for x, kind in ((1, "int32"), (1.0, "float32"), (True, "bool"), (0, "int32"), (1, "int32")):
            result = same(x)
            assert result.dtype == kind
            assert result.weak_type == (kind != "bool")
        with pytest.raises(OverflowError, match="2147483648"):
            same(2**31)


def test_static_arguments_and_keywords_that_change_one_by_one():
    traced, counts = [], []

    def weighted(x, n, *, y, mode=None):
        traced.append((n, mode))
        return x * n + y if mode is None else x * n - y

    compiled = pb.jit(weighted, static_argnums=1, static_argnames="mode")
    a, b = pnp.float32(2), np.float32([10, 20])
    for _ in range(2):
        for n in (2, 3, 2.0, True, 2):
            np.testing.assert_array_equal(compiled(a, n, y=b), 2 * n + b)
            np.testing.assert_array_equal(compiled(a, n, y=b), 2 * n + b)
            np.testing.assert_array_equal(compiled(a, n, y=b, mode="less"), 2 * n - b)
            np.testing.assert_array_equal(compiled(a, n, mode="less", y=b), 2 * n - b)
            np.testing.assert_array_equal(compiled(b, n, y=a), b * n + 2)
        counts.append(len(traced))
    assert counts[0] == counts[1]
    with pytest.raises(TypeError, match="mood"):
        compiled(a, 2, y=b, mood="less")
    with pytest.raises(TypeError, match="y"):
        compiled(a, 2, mode="less")


def test_static_arguments_that_can_change_are_compared_by_value():
    class Settings:
        def __init__(self, n):
            self.n = n

        def __hash__(self):
            return hash(self.n)

        def __eq__(self, other):
            return self.n == other.n

    settings = Settings(2)
    compiled = pb.jit(lambda x, settings: x * settings.n, static_argnums=1)
    assert [float(compiled(3.0, settings)) for _ in range(3)] == [6, 6, 6]
    settings.n = 5
    assert [float(compiled(3.0, settings)) for _ in range(3)] == [15, 15, 15]


@pytest.mark.parametrize(
    ("call", "most"),
    [
        (lambda f: f(np.float32([1, 2]), np.float32([3, 4])), 9),
        (lambda f: f(1.5, 2.5), 12),
        (lambda f: f(X, y=X), 3),
        (lambda f: f(np.float32([1, 2]), y=2.5), 12),
    ],
    ids=["arrays of NumPy", "numbers", "a keyword", "all"],
)
def test_warm_calls_take_few_calls_of_python_functions(call, most):
    compiled = pb.jit(lambda x, y: x + y)
    for _ in range(3):
        call(compiled)
    count = 0

    def note(frame, event, arg):
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        call(compiled)
    finally:
        sys.setprofile(None)
    assert count - 1 <= most  # without the one of the test's own
