"""Warm calls of compiled functions: they give what the first call gave, whatever goes in and comes out."""

import dataclasses
import functools
import sys
from collections import defaultdict, namedtuple

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback._api.jit import Compiler
from pullback._xla import uploads
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
    lift = uploads.lift

    def counted(x):
        lifted.append(x)
        return lift(x)

    monkeypatch.setattr(uploads, "lift", counted)
    assert float(total(leaves)) == 30
    assert lifted == []
    assert float(total([x.astype(np.float64) for x in leaves])) == 30
    assert float(total([np.stack([x, x], 1)[:, 0] for x in leaves])) == 30
    assert lifted == []


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
    for x in (3.0, pnp.float32(3)):
        settings.n = 2
        assert [float(compiled(x, settings)) for _ in range(3)] == [6, 6, 6]
        settings.n = 5
        assert [float(compiled(x, settings)) for _ in range(3)] == [15, 15, 15]


@pytest.mark.parametrize(
    ("call", "most"),
    [
        (lambda f: f(X, X), 2),
        (lambda f: f(np.float32([1, 2]), np.float32([3, 4])), 6),
        (lambda f: f(1.5, 2.5), 8),
        (lambda f: f(X, y=X), 2),
        (lambda f: f(np.float32([1, 2]), y=2.5), 7),
    ],
    ids=["arrays", "arrays of NumPy", "numbers", "a keyword", "all"],
)
def test_warm_calls_take_few_calls_of_python_functions(call, most):
    compiled = pb.jit(lambda x, y: x + y)
    for _ in range(3):
        call(compiled)
    assert python_calls(lambda: call(compiled)) - 1 <= most  # without the one of the test's own


def python_calls(run):
    count = 0

    def note(frame, event, arg):
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count - 1


TREE = {"b": (X, [X + 1, None]), "a": {1: X + 2, 0: ()}, "it's {0}": [X]}


def test_structures_of_builtins_are_read_and_made_by_generated_code():
    """Nothing else is called: in particular not the registry, nor what makes an array."""

    def scaled(tree, scale, *, more):
        return tree_map(lambda x: x * scale + more["x"], tree)

    compiled = pb.jit(scaled, static_argnums=1)
    tree, more = pb.jit(lambda tree: tree)(TREE), {"x": pb.jit(lambda x: x)(X)}
    expected = compiled(tree, 3, more=more)
    compiled(tree, 3, more=more)
    assert python_calls(functools.partial(compiled, tree, 3, more=more)) <= 3  # and one that compares the static value
    got = compiled(tree, 3, more=more)
    assert tree_structure(got) == tree_structure(expected) == tree_structure(TREE)
    assert list(got) == list(expected)
    assert list(got["a"]) == list(expected["a"])
    for y, x in zip(tree_leaves(got), tree_leaves(TREE), strict=True):
        np.testing.assert_array_equal(y, x * 3 + X)


def test_structures_that_differ_in_one_place():
    compiled = pb.jit(lambda tree: sum(x.sum() * (i + 1) for i, x in enumerate(tree_leaves(tree))))
    base = {"a": (X, [X]), "b": None}
    others = [
        {"a": (X, [X]), "c": None},
        {"a": (X, [X]), "b": None, "c": X},
        {"a": [X, [X]], "b": None},
        {"a": (X, [X, X]), "b": None},
        {"a": (X, [X]), "b": X},
        {"a": (X, {"x": X}), "b": None},
        {"a": (X, Box(X)), "b": None},
        {"a": X, "b": None},
        Pair(X, X),
        namedtuple("Other", "a b")(X, X),
        defaultdict(list, base),
        {True: X},
        {1: X},
    ]
    for other in others:
        for _ in range(2):
            for tree in (base, other):
                expected = sum(3.0 * (i + 1) for i in range(len(tree_leaves(tree))))
                assert float(compiled(tree)) == float(compiled(tree)) == expected
                assert float(compiled(tree_map(np.asarray, tree))) == expected


def test_donated_arguments_of_warm_calls_are_deleted():
    compiled = pb.jit(lambda p, x: ({"w": p["w"] + x}, x.sum()), donate_argnums=0)
    kept = pb.jit(lambda x: x + 1)(X)
    p = {"w": pb.jit(lambda x: x * 1)(X)}
    for i in range(5):
        before = p
        p, _ = compiled(p, kept)
        assert before["w"].is_deleted()
        assert not kept.is_deleted()
        np.testing.assert_array_equal(p["w"], X + (i + 1) * kept)
        with pytest.raises(RuntimeError, match="deleted"):
            compiled(before, kept)
    run = functools.partial(compiled, p, kept)
    assert python_calls(run) <= 3  # the call, the generated function, and `delete`
    host = np.ones(3, np.float32)
    for _ in range(3):
        np.testing.assert_array_equal(compiled({"w": host}, kept)[0]["w"], host + kept)
    both = pb.jit(lambda x, y: (x + y, x - y), donate_argnums=(0, 1))
    for _ in range(3):
        assert [float(z) for z in both(2.5, 1.0)] == [3.5, 1.5]
        assert [int(z) for z in both(2, 3)] == [5, -1]


def test_equal_static_values_are_one():
    """Equal, of one type, but another object."""
    traced = []
    compiled = pb.jit(lambda x, n, name: (traced.append(n), x * len(name) + n)[1], static_argnums=(1, 2))
    for n, name in [(1000, "ab"), (1000.0, "ab"), (True, "ab"), (1, "ab"), (1000, "abc")] * 3:
        n, name = type(n)(str(int(n))) if type(n) is not bool else n, "".join(name)
        assert float(compiled(pnp.float32(2), n, name)) == 2 * len(name) + n
    assert len(traced) == 5


def test_reading_a_result_calls_one_python_function():
    y = pb.jit(lambda x: x + 1)(X)
    assert python_calls(lambda: np.asarray(y)) == 1
    assert python_calls(y.block_until_ready) == 0  # itself
    value = np.asarray(y)
    assert value.tolist() == [1, 2, 3]
    assert not value.flags.writeable
    own = np.array(y)
    own[0] = 7
    assert value[0] == np.asarray(y)[0] == float(y[0]) == 1
    assert np.asarray(y, np.float64).dtype == np.float64
    for dtype in ("bfloat16", "float16", "int4", "bool", "complex64"):
        z = pb.jit(lambda x, dtype=dtype: x.astype(dtype))(X)
        assert np.asarray(z).dtype == np.array(z).dtype == z.dtype
        assert np.asarray(z).real.astype(np.float32).tolist() == ([0, 1, 1] if dtype == "bool" else [0, 1, 2])
    y.delete()
    with pytest.raises(RuntimeError, match="deleted"):
        np.asarray(y)


def test_complex_numbers_that_differ_in_the_sign_of_a_zero():
    # the buffers of Python's numbers are remembered, and such numbers are equal
    root, power = pb.jit(pnp.sqrt), pb.jit(lambda z: 1j * pnp.log(z))
    for _ in range(3):
        assert root(complex(-1, 0.0)) == 1j
        assert root(complex(-1, -0.0)) == -1j
        assert power(complex(-1, 0.0)).real < 0 < power(complex(-1, -0.0)).real
