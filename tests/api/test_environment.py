"""Live arrays, versions, index parts, options that are kept, logs: what JAX's programs ask of a process."""

import logging

import jax
import numpy as np
import pytest
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import random
from pullback.extend import backend
from pullback.extend import core as extend_core


def test_live_arrays():
    x = pnp.arange(7.0)
    assert any(y is x for y in pb.live_arrays())
    del x
    assert not any(y.shape == (7,) and y.dtype == np.float32 and y[-1] == 6 for y in pb.live_arrays())
    with raises(RuntimeError, "live_arrays", "gpu"):
        pb.live_arrays("gpu")


def test_environment_info(capsys):
    assert pb.print_environment_info() is None
    text = capsys.readouterr().out
    assert text.strip() == pb.print_environment_info(return_string=True)
    assert f"pullback:    {pb.__version__}" in text


@pytest.mark.parametrize(("args", "part"), [((3,), slice(3)), ((1, 3), slice(1, 4)), ((0, 2, 2), slice(0, 4, 2))])
def test_parts_of_an_axis(args, part):
    x = np.arange(6.0)
    np.testing.assert_array_equal(pnp.asarray(x)[pb.ds(*args)], x[part])


def test_parts_of_an_axis_at_traced_places():
    ref = pb.new_ref(pnp.zeros((5, 2)))

    @pb.jit
    def f(ref, i):
        ref[pb.ds(i, 2)] = pnp.ones((2, 2))
        return ref[pb.ds(i - 1, 2), 0]

    np.testing.assert_array_equal(f(ref, 2), [0, 1])
    np.testing.assert_array_equal(ref[...][:, 0], [0, 0, 1, 1, 0])
    with raises(TypeError, "ds: the size must be an integer"):
        pb.ds(0, 1.5)


OPTIONS = (
    "allow_f16_reductions",
    "array_garbage_collection_guard",
    "auto_pcast",
    "jax2tf_associative_scan_reductions",
    "legacy_prng_key",
    "no_execution",
    "remove_size_one_mesh_axis_from_type",
    "softmax_custom_jvp",
    "thread_guard",
)


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_are_kept(name):
    before = pb.config.read(name)
    with getattr(pb, name)("a value"):
        assert pb.config.read(name) == "a value"
    assert pb.config.read(name) == before


def test_no_tracing():
    f = pb.jit(lambda x: x + 1)
    f(1.0)
    with pb.no_tracing():
        assert f(2.0) == 3
        with raises(RuntimeError, "no_tracing"):
            f(pnp.ones(2))
    assert f(pnp.ones(2))[0] == 2


def test_typed_keys_by_an_option():
    with pb.enable_custom_prng():
        key = random.PRNGKey(3)
    assert key.dtype == random.key(3).dtype
    assert random.PRNGKey(3).dtype == np.uint32


def test_logs(caplog):
    with caplog.at_level(logging.INFO, "pullback.debug"):
        pb.jit(lambda x: pb.debug.log("x is {}", x))(2.0)
        pb.effects_barrier()
    assert [record.getMessage() for record in caplog.records] == ["x is 2.0"]
    with raises(ValueError, "placeholder"):
        pb.debug.log("x is {}")
    with raises(TypeError, "debug.log", "format string"):
        pb.debug.log(3)


def test_names_of_dtypes_are_classes():
    """As in JAX; those that the engine has not are names."""
    for name in ("float32", "int8", "bool", "bfloat16", "complex64", "int2", "float4_e2m1fn"):
        ours, theirs = getattr(pnp, name), getattr(jax.numpy, name)
        assert isinstance(ours, type)
        assert isinstance(theirs, type)
        assert np.dtype(ours) == np.dtype(theirs)
        assert ours.__name__ == theirs.__name__ or name == "bool"
        assert ours == theirs.dtype
    assert isinstance(np.float32(1), pnp.float32)
    assert not isinstance(np.float64(1), pnp.float32)
    assert pb.dtypes.itemsize_bits(pnp.int2) == jax.dtypes.itemsize_bits(jax.numpy.int2)
    with raises(TypeError, "arrays cannot have dtype int2"):
        pnp.zeros(2, pnp.int2)


def test_helpers_of_tools():
    assert extend_core.unsafe_am_i_under_a_vmap_DO_NOT_USE() is False
    seen = []
    pb.vmap(lambda x: seen.append(extend_core.unsafe_am_i_under_a_vmap_DO_NOT_USE()) or x)(pnp.ones(2))
    assert seen == [True]
    assert backend.get_backend() is backend.backends()["cpu"]
    assert backend.get_default_device() == pb.devices()[0]
    tree = pb.tree.structure(((1, {"a": 2}), {"y": 3, "x": [4, 5]}))
    theirs = jax.tree.structure(((1, {"a": 2}), {"y": 3, "x": [4, 5]}))
    for numbers, names in [((0,), ("x",)), ((1,), ()), ((), ("y",))]:
        assert pb.api_util.donation_vector(numbers, names, tree) == jax.api_util.donation_vector(numbers, names, theirs)
    assert pb.api_util.rebase_donate_argnums((0, 3), (1,)) == jax.api_util.rebase_donate_argnums((0, 3), (1,))
    with raises(ValueError, "rebase_donate_argnums", "static"):
        pb.api_util.rebase_donate_argnums((0,), (0,))


def test_reductions_in_pairs():
    tree = {"a": "1", "b": ["2", ("3", "4")], "c": "5"}

    def joined(x, y):
        return f"({x}{y})"

    assert pb.tree.reduce_associative(joined, tree) == jax.tree.reduce_associative(joined, tree)
    assert pb.tree.reduce_associative(joined, [], identity="") == ""
    with pytest.raises(ValueError, match="no leaves"):
        pb.tree.reduce_associative(joined, {})


def test_primitives_that_are_compositions():
    r, w = np.triu(np.ones((3, 3), np.float32)) + np.eye(3, dtype=np.float32), np.ones(3, np.float32)
    lax, theirs = pb.lax.linalg, jax.lax.linalg
    np.testing.assert_allclose(lax.cholesky_update_p.bind(r, w), theirs.cholesky_update(r, w), rtol=1e-5)
    np.testing.assert_allclose(lax.symmetric_product_p.bind(r, r @ r.T, alpha=2.0, beta=1.0), 3 * r @ r.T, rtol=1e-5)


def test_generators_for_tools():
    from jax.extend import random as theirs

    from pullback.extend import random as ours

    key = (np.uint32(3), np.uint32(4))
    for count in (np.arange(6, dtype=np.uint32), np.arange(5, dtype=np.uint32)):
        np.testing.assert_array_equal(ours.threefry_2x32(key, count), theirs.threefry_2x32(key, count))
    seeded = ours.seed_with_impl(ours.threefry_prng_impl, 5)
    assert (random.key_data(seeded) == random.key_data(random.key(5))).all()
    assert random.key_impl(ours.random_seed(5, ours.unsafe_rbg_prng_impl)) == "unsafe_rbg"
    with raises(TypeError, "threefry_2x32", "uint32"):
        ours.threefry_2x32(key, np.arange(3))


def test_numbers_that_no_key_determines():
    @pb.jit
    def draw(a, b):
        return pb.lax.rng_uniform(a, b, (1000,))

    first, second = draw(2.0, 4.0), draw(2.0, 4.0)
    for x in (first, second):
        assert ((x >= 2) & (x < 4)).all()
        assert abs(float(x.mean()) - 3) < 0.2  # ten standard deviations
    assert (first != second).any()
    with raises(TypeError, "rng_uniform", "scalars of one dtype"):
        pb.lax.rng_uniform(0, 1, (2,))


def test_primitives_that_occur_nowhere():
    for name in ("device_put_p", "eq_to_p", "select_and_scatter_add_p"):
        p = getattr(pb.lax, name)
        assert p is getattr(extend_core.primitives, name)
        with pytest.raises(NotImplementedError, match="tables of rules"):
            p.bind(1.0)
    assert pb.lax.linalg.ormqr_p is extend_core.primitives.ormqr_p


def test_keys_of_compiled_functions_follow_the_option():
    """A function that was compiled without typed keys is traced anew with them."""
    f = pb.jit(lambda seed: pb.random.PRNGKey(seed))
    for typed in (False, True, False):
        with pb.enable_custom_prng(typed):
            assert f(0).shape == (() if typed else (2,))
