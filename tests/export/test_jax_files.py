"""Files that JAX opens and files that JAX wrote: value and vjp, both ways."""

from collections import OrderedDict, namedtuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import all_close
from jax import export as jax_export

import pullback as pb
import pullback.numpy as pnp
from pullback import export

pytest.importorskip("flatbuffers", reason="JAX writes and reads its files by it")

W = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)
X = np.array([0.5, -1.0, 2.0, 0.1], dtype="float32")
Pair = namedtuple("Pair", "first second")
export.register_namedtuple_serialization(Pair, serialized_name="tests.Pair")
jax_export.register_namedtuple_serialization(Pair, serialized_name="tests.Pair")


def network(np_):
    def fun(w, x):
        hidden = np_.tanh(w @ x)
        return {"sum": hidden.sum(), "hidden": (hidden, None)}

    return fun


def trees(np_):
    def fun(w, x):
        return Pair([w[0] * 2, x], OrderedDict(b=x + 1, a=(w,)))

    return fun


def integers(np_):
    def fun(w, x):
        return np_.argmax(w @ x), (w > 0).astype("int8"), x.astype("bfloat16")

    return fun


def decomposed(np_):
    def fun(w, x):
        a = w @ w.T + np_.eye(3)
        return np_.linalg.solve(a, w @ x), np_.linalg.cholesky(a)

    return fun


DTYPES = (
    "bool int8 int16 int32 uint8 uint16 uint32 float16 float32 bfloat16 complex64 int4 uint4 float8_e4m3fn float8_e5m2 "
    "float8_e4m3b11fnuz float8_e4m3fnuz float8_e5m2fnuz float8_e3m4 float8_e4m3 float8_e8m0fnu"
).split()
PROGRAMS = [network, trees, integers, decomposed]


def real_total(tree_leaves, outs):
    return sum((out.sum() for out in tree_leaves(outs) if out.dtype == "float32"), start=0.0)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_jax_opens_ours(program):
    exported = export.export(pb.jit(program(pnp)))(W, X)
    read = jax_export.deserialize(exported.serialize(vjp_order=2))
    oracle = program(jnp)
    assert jax.tree.structure(read.call(W, X)) == jax.tree.structure(oracle(W, X))
    all_close(jax.tree.leaves(read.call(W, X)), jax.tree.leaves(oracle(W, X)), 10)
    all_close(jax.tree.leaves(jax.jit(read.call)(W, X)), jax.tree.leaves(oracle(W, X)), 10)
    if program is not integers:

        def loss(fun):
            return lambda w, x: real_total(jax.tree.leaves, fun(w, x))

        all_close(jax.grad(loss(read.call), (0, 1))(W, X), jax.grad(loss(oracle), (0, 1))(W, X), 20)
        if program is network:

            def second(fun):
                return jax.grad(lambda w: jax.grad(loss(fun))(w, X).sum())

            all_close(second(read.call)(W), second(oracle)(W), 20)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_we_open_those_of_jax(program):
    exported = jax_export.export(jax.jit(program(jnp)))(W, X)
    read = export.deserialize(exported.serialize(vjp_order=2))
    ours = program(pnp)
    assert pb.tree.structure(read.call(W, X)) == pb.tree.structure(ours(W, X))
    for run in (lambda f: f, pb.jit):
        all_close(pb.tree.leaves(run(read.call)(W, X)), pb.tree.leaves(ours(W, X)), 10)
    if program is not integers:

        def loss(fun):
            return lambda w, x: real_total(pb.tree.leaves, fun(w, x))

        for run in (lambda f: f, pb.jit):
            all_close(run(pb.grad(loss(read.call), (0, 1)))(W, X), pb.grad(loss(ours), (0, 1))(W, X), 20)
        if program is network:

            def second(fun):
                return pb.grad(lambda w: pb.grad(loss(fun))(w, X).sum())

            all_close(second(read.call)(W), second(ours)(W), 20)
        with pytest.raises(NotImplementedError, match="no forward mode: its file holds no program"):
            pb.jvp(read.call, (W, X), (W, X))
    with pytest.raises(NotImplementedError, match=r"no batching rule.*lax\.map"):
        pb.vmap(read.call, in_axes=(None, 0))(W, X[None])
    mapped = pb.lax.map(lambda x: read.call(W, x), np.stack([X, 2 * X]))
    all_close(pb.tree.leaves(mapped)[0][1], pb.tree.leaves(ours(W, 2 * X))[0], 10)


def test_files_of_several_platforms():
    ours = export.export(pb.jit(network(pnp)), platforms=("cuda", "cpu"))(W, X)
    theirs = jax_export.export(jax.jit(network(jnp)), platforms=("tpu", "cpu"))(W, X)
    expected = jax.tree.leaves(network(jnp)(W, X))
    all_close(jax.tree.leaves(jax_export.deserialize(ours.serialize()).call(W, X)), expected)
    all_close(pb.tree.leaves(export.deserialize(theirs.serialize()).call(W, X)), expected)


def test_keys_both_ways():
    def draw(library):
        return lambda key: library.random.normal(library.random.split(key)[1], (3,))

    expected = draw(jax)(jax.random.key(3))
    theirs = jax_export.export(jax.jit(draw(jax)))(jax.random.key(0)).serialize()
    ours = export.export(pb.jit(draw(pb)))(pb.random.key(0)).serialize()
    all_close(export.deserialize(theirs).call(pb.random.key(3)), expected)
    all_close(jax_export.deserialize(ours).call(jax.random.key(3)), expected)


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes_both_ways(name):
    x = pnp.asarray([1, 1, 1]).astype(name)
    ours = export.export(pb.jit(lambda x: x))(x).serialize()
    theirs = jax_export.export(jax.jit(lambda x: x))(jnp.asarray(np.asarray(x))).serialize()
    for read in (export.deserialize(theirs).call(x), jax_export.deserialize(ours).call(jnp.asarray(np.asarray(x)))):
        np.testing.assert_array_equal(np.asarray(read), np.asarray(x))


def test_what_the_table_says_is_the_same():
    """Names, types, platforms, versions: JAX's reader finds in our file what it finds in its own."""
    ours = jax_export.deserialize(export.export(pb.jit(network(pnp)))(W, X).serialize())
    theirs = jax_export.deserialize(jax_export.export(jax.jit(network(jnp)))(W, X).serialize())
    for field in (
        "fun_name in_avals out_avals in_tree out_tree platforms nr_devices ordered_effects unordered_effects "
        "disabled_safety_checks calling_convention_version module_kept_var_idx uses_global_constants"
    ).split():
        assert getattr(ours, field) == getattr(theirs, field), field
    assert (
        export.minimum_supported_calling_convention_version == jax_export.minimum_supported_calling_convention_version
    )
    assert (
        export.maximum_supported_calling_convention_version == jax_export.maximum_supported_calling_convention_version
    )


def test_unused_arguments_of_jax_are_left_out():
    theirs = jax_export.export(jax.jit(lambda w, x: x * 2))(W, X)
    assert theirs.module_kept_var_idx == (1,)
    all_close(export.deserialize(theirs.serialize()).call(W, X), 2 * X)


def test_a_file_written_again_is_sealed():
    theirs = export.deserialize(jax_export.export(jax.jit(network(jnp)))(W, X).serialize(vjp_order=1))
    again = theirs.serialize(vjp_order=1)
    assert bytes(again[-8:]) == b"pullback"
    assert export.deserialize(again).has_vjp()
    for read in (jax_export.deserialize, export.deserialize):
        all_close(pb.tree.leaves(read(again).call(W, X)), jax.tree.leaves(network(jnp)(W, X)))
