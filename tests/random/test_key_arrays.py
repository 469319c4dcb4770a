"""Typed keys as arrays: leaves of users' pytrees, moved by NumPy's functions, with the attributes of arrays."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import random, tree, tree_util

KEYS, THEIRS = random.split(random.key(0), 6), jax.random.split(jax.random.key(0), 6)


def agree(ours, theirs):
    assert ours.shape == theirs.shape
    assert str(ours.dtype) == str(theirs.dtype)
    assert np.array_equal(random.key_data(ours), jax.random.key_data(theirs))


def test_keys_are_leaves():
    pair = {"a": KEYS[0], "b": [KEYS, pnp.ones(2)]}
    leaves, treedef = tree.flatten(pair)
    assert len(leaves) == treedef.num_leaves == 3
    assert leaves[0] is pair["a"]
    assert tree.unflatten(treedef, leaves)["b"][0] is KEYS
    assert tree.map(lambda x: x.shape, pair) == {"a": (), "b": [(6,), (2,)]}
    assert tree.map(lambda x, n: n, pair, {"a": 1, "b": [2, 3]}) == {"a": 1, "b": [2, 3]}
    assert [pb.tree_util.keystr(path) for path, _ in tree.leaves_with_path(pair)] == ["['a']", "['b'][0]", "['b'][1]"]
    assert tree.leaves(pair, lambda x: isinstance(x, list)) == [pair["a"], pair["b"]]
    assert tree.leaves(pair, is_leaf=lambda x: isinstance(x, list))[1] is pair["b"]
    assert tree.map_with_path(lambda path, x: len(path), pair) == {"a": 1, "b": [2, 2]}
    assert tree.broadcast((1, 2), (KEYS, {"a": KEYS[0]})) == (1, {"a": 2})
    assert pb.tree_util.all_leaves([KEYS, 1])
    assert not pb.tree_util.all_leaves([KEYS, [1]])
    assert tree.all({"a": True}, is_leaf=None)
    assert isinstance(KEYS, pb.Array)


def test_the_flags_of_paths_reach_the_function():
    flat = pb.tree_util.tree_flatten_with_path(
        {"a": [KEYS, 1], "b": [2]}, is_leaf=lambda path, x: len(path) == 1 and x == [2], is_leaf_takes_path=True
    )[0]
    assert [pb.tree_util.keystr(path) for path, _ in flat] == ["['a'][0]", "['a'][1]", "['b']"]


@pytest.mark.parametrize(
    "move",
    [
        lambda np_, k: np_.stack([k[0], k[1]]),
        lambda np_, k: np_.stack([k, k[::-1]], axis=1),
        lambda np_, k: np_.concatenate([k, k[:2]]),
        lambda np_, k: np_.where(np_.arange(6) < 2, k, k[::-1]),
        lambda np_, k: np_.where(True, k[0], k[1]),
        lambda np_, k: np_.reshape(k, (2, 3)),
        lambda np_, k: np_.expand_dims(k, -1),
        lambda np_, k: np_.squeeze(k[None]),
        lambda np_, k: np_.broadcast_to(k[0], (3, 2)),
        lambda np_, k: np_.take(k, np_.array([3, 1])),
        lambda np_, k: np_.tile(k, 2),
        lambda np_, k: np_.repeat(k, 2),
        lambda np_, k: np_.roll(k, 1),
        lambda np_, k: np_.flip(k),
        lambda np_, k: np_.split(k, 2)[1],
        lambda np_, k: np_.moveaxis(k.reshape(2, 3), 0, 1),
        lambda np_, k: np_.swapaxes(k.reshape(2, 3), 0, 1),
        lambda np_, k: k.reshape(2, 3).T,
        lambda np_, k: k.reshape(1, 2, 3).transpose(1, 0, 2),
        lambda np_, k: k.reshape(1, 2, 3).squeeze(0),
        lambda np_, k: k.at[1].set(k[0]),
        lambda np_, k: k.reshape(2, 3).at[..., 0].set(k[4]),
        lambda np_, k: k.at[2:].get(),
    ],
)
def test_functions_that_move_entries(move):
    expected = move(jnp, THEIRS)
    agree(move(pnp, KEYS), expected)
    agree(pb.jit(move, static_argnums=0)(pnp, KEYS), expected)


def test_under_vmap():
    agree(pb.vmap(lambda k: pnp.stack([k, k]))(KEYS), jax.vmap(lambda k: jnp.stack([k, k]))(THEIRS))


def test_attributes():
    assert KEYS.aval == pb.random.split(random.key(1), 6).aval
    assert str(KEYS.aval) == "key<fry>[6]"
    assert (KEYS.ndim, KEYS.aval.ndim, KEYS.is_fully_addressable) == (1, 1, True)
    assert KEYS.devices() == {KEYS.device} == KEYS.sharding.device_set
    assert pnp.issubdtype(KEYS.dtype, pb.dtypes.prng_key)
    assert not pnp.issubdtype(KEYS.dtype, pnp.inexact)
    assert not pnp.iscomplexobj(KEYS)


def test_types_of_keys():
    struct = pb.ShapeDtypeStruct((3,), KEYS.dtype)
    assert repr(struct) == repr(jax.ShapeDtypeStruct((3,), THEIRS.dtype))
    assert pb.eval_shape(random.key, 0) == pb.ShapeDtypeStruct((), KEYS.dtype)
    out = pb.eval_shape(lambda keys: {"key": keys[0], "x": pb.vmap(random.normal)(keys)}, struct)
    assert out == {"key": pb.ShapeDtypeStruct((), KEYS.dtype), "x": pb.ShapeDtypeStruct((3,), "float32")}


def test_what_computes_refuses_keys():
    for call in (lambda: pnp.sin(KEYS), lambda: pnp.sum(KEYS), lambda: KEYS.at[0].set(1)):
        with pytest.raises(TypeError, match=r"an array of keys of shape|expected typed keys"):
            call()
    with pytest.raises(TypeError, match="stack: argument 1: expected an array or a number, got 'a'"):
        pnp.stack([KEYS, "a"])


_COUNT = """
import sys, pullback.numpy as pnp
from pullback import tree, tree_util
from pullback._core import tree as nodes, tree_paths as paths

t = {"a": 1, "b": [2, 3]}
calls = [
    (tree.flatten, nodes.tree_flatten, (t,), {}),
    (tree.leaves, nodes.tree_leaves, (t,), {}),
    (tree.structure, nodes.tree_structure, (t,), {}),
    (tree.map, paths.tree_map, (max, t, t), {}),
    (tree.map, paths.tree_map, (abs, t), {"is_leaf": callable}),
    (tree.reduce, paths.tree_reduce, (max, t), {}),
    (tree.leaves_with_path, paths.tree_leaves_with_path, (t,), {}),
    (tree_util.all_leaves, nodes.all_leaves, ([1, 2],), {}),
]


def instructions(f, args, kwargs):
    def trace(frame, event, arg):
        frame.f_trace_opcodes = True
        counts[event == "opcode"] += 1
        return trace

    counts = [0, 0]
    sys.settrace(trace)
    f(*args, **kwargs)
    sys.settrace(None)
    return counts[1]


for public, internal, args, kwargs in calls:
    print(public.__name__, instructions(public, args, kwargs), instructions(internal, args, kwargs))
"""


def test_functions_on_trees_cost_nothing_more_before_there_are_keys():
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=True, env=env)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 8
    for name, public, internal in lines:
        assert int(public) == int(internal) > 0, name


def test_trees_without_keys_are_flattened_without_a_predicate():
    calls = []
    previous = sys.getprofile()
    sys.setprofile(lambda frame, event, arg: calls.append(frame.f_code.co_name) if event == "call" else None)
    tree.leaves([1] * 100)
    sys.setprofile(previous)
    assert calls == ["tree_leaves", "tree_flatten", "_flatten"]


def test_functions_that_move_entries_have_one_wrapper():
    for name in ("reshape", "where", "concatenate", "transpose", "stack", "take"):
        assert not hasattr(getattr(pnp, name).__wrapped__, "__wrapped__"), name


@pytest.mark.parametrize(
    "name", ["tree_flatten", "tree_structure", "tree_leaves_with_path", "tree_flatten_with_path", "tree_all"]
)
def test_trees_that_contain_themselves_are_refused_when_there_are_keys(name):
    assert KEYS.size  # keys have been made
    endless: list = [1.0]
    endless.append(endless)
    for _ in range(2):  # the second call shows that Python still counts its recursion right
        with pytest.raises(RecursionError, match="the tree contains itself"):
            getattr(tree_util, name)(endless)


def test_arrays_of_keys_are_compared():
    for library, keys in ((pnp, KEYS), (jnp, THEIRS)):
        assert bool(library.array_equal(keys, keys))
        assert bool(library.array_equal(keys, keys, equal_nan=True))
        assert not bool(library.array_equal(keys, keys[::-1]))
        assert not bool(library.array_equal(keys, keys[:5]))
        assert bool(library.array_equiv(keys[:1], keys[0]))
        with pytest.raises(TypeError):
            library.array_equal(keys, library.arange(6))
    assert bool(pb.jit(pnp.array_equal)(KEYS, KEYS))
    with pytest.raises(TypeError, match=r"array_equal: keys are compared with keys .* got key<fry> and float"):
        pnp.array_equal(KEYS, 1.0)


def moved(library, keys):
    flags = np.array([True, False, True, True, False, True])
    grid = keys.reshape(3, 2)
    return [
        library.asarray(keys),
        library.array(keys),
        library.copy(keys),
        library.astype(keys, keys.dtype),
        library.zeros_like(keys),
        *library.array_split(keys, 4),
        library.append(keys, keys[0]),
        library.insert(keys, 2, keys[0]),
        library.delete(keys, 1),
        library.resize(keys, (2, 2)),
        library.compress(flags, keys),
        library.extract(flags, keys),
        library.choose(np.array([0, 1, 1, 0, 0, 1]), [keys, keys[::-1]]),
        library.diagonal(grid),
        library.matrix_transpose(grid),
        library.column_stack([grid, grid]),
        library.dstack([grid, grid]),
        library.block([grid, grid]),
        *library.vsplit(grid, 3),
        *library.hsplit(grid, 2),
        *library.broadcast_arrays(grid[0], grid),
        library.tril(grid),
        library.nan_to_num(grid),
    ]


def test_more_functions_move_keys():
    for ours, theirs in zip(moved(pnp, KEYS), moved(jnp, THEIRS), strict=True):
        agree(ours, theirs)
    agree(pb.jit(lambda keys: pnp.asarray(keys)[1:])(KEYS), THEIRS[1:])
    with pytest.raises(TypeError, match="astype: keys are not converted"):
        pnp.astype(KEYS, "uint32")
