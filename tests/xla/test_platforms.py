"""Platforms beside the processor's. A second client of the processor's stands for one: its devices are its own."""

import pickle
import sys

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._core.placed_array import PlacedArray
from pullback._xla import disk_cache, engine, placement, platforms


@pytest.fixture
def far(monkeypatch):
    """The devices of a platform "far", of which there are four."""
    client = engine.xla_client().make_cpu_client(asynchronous=True, num_devices=4)
    monkeypatch.setitem(platforms._clients, "far", client)
    yield client.local_devices()
    pb.config.update("jax_platforms", None)
    platforms._default.cache_clear()
    platforms._first.cache_clear()


@pytest.fixture
def far_first(far):
    pb.config.update("jax_platforms", "far,cpu")
    return far


def places(x):
    return x.sharding.flat_devices


def wave(x):
    return pnp.sin(x) * 2


def test_the_first_platform_is_where_programs_run(far_first):
    assert pb.default_backend() == "far"
    assert pb.devices() == pb.devices("far") == pb.local_devices(backend="far") == far_first
    assert pb.devices("cpu") == engine.devices()
    assert pb.device_count() == pb.local_device_count() == 4
    y = pb.jit(wave)(np.arange(3.0))
    assert places(y) == (far_first[0],)
    np.testing.assert_allclose(y, 2 * np.sin(np.arange(3.0)), rtol=1e-6)
    # an operation runs where its operand is, and so do derivatives
    assert places(y + 1) == places(pnp.cumsum(y)) == places(pb.grad(lambda x: wave(x).sum())(y)) == (far_first[0],)


def test_eager_operations_on_numpys_memory_stay_on_the_host(far_first):
    x = pnp.arange(3.0)
    assert not isinstance(x * 2, PlacedArray)
    assert places(x) == (engine.device(),)
    assert places(pb.device_put(x)) == (engine.device(),)
    assert places(pb.device_put(x, far_first[0])) == (far_first[0],)


def test_a_warm_call_sees_another_choice(far):
    f = pb.jit(wave)
    x = pnp.arange(3.0)
    for _ in range(2):
        assert places(f(x)) == (engine.device(),)
        pb.config.update("jax_platforms", "far")
        assert places(f(x)) == places(f(x)) == (far[0],)
        pb.config.update("jax_platforms", "cpu,far")
        assert places(f(x)) == (engine.device(),)
        with pb.default_device(far[1]):
            assert places(f(x)) == (far[1],)
        with pb.default_device("far"):
            assert places(f(x)) == (far[0],)
        pb.config.update("jax_platforms", None)
        pb.config.update("jax_platform_name", "far")
        assert places(f(x)) == (far[0],)
        pb.config.update("jax_platform_name", None)


def test_the_arguments_of_jit(far):
    x = pnp.arange(3.0)
    assert places(pb.jit(wave, backend="far")(x)) == (far[0],)
    assert places(pb.jit(wave, device=far[2])(x)) == (far[2],)
    assert not isinstance(pb.jit(wave, backend="cpu")(x), PlacedArray)
    pb.config.update("jax_platforms", "far,cpu")
    y = pb.jit(wave, backend="cpu")(x)
    assert isinstance(y, PlacedArray)  # on the host because somebody said so
    assert places(y) == (engine.device(),)
    np.testing.assert_allclose(y, 2 * np.sin(np.arange(3.0)), rtol=1e-6)
    with pytest.raises(RuntimeError, match="jit: Unknown backend 'tpu': the backends are 'cpu', 'far'"):
        pb.jit(wave, backend="tpu")


def test_arrays_are_moved_between_platforms(far):
    x = pb.device_put(np.arange(6, dtype=np.int16).reshape(2, 3), far[1])
    assert places(x) == (far[1],)
    y = pb.device_put(x, far[3])
    # by the engine: the value was never on the host
    assert not hasattr(x, "_collected")
    assert places(y) == (far[3],)
    assert y.tolist() == [[0, 1, 2], [3, 4, 5]]
    back = pb.device_put(y, engine.device())
    assert not isinstance(back, PlacedArray)
    assert back.tolist() == y.tolist()
    other = pb.device_put(back, engine.devices()[1])
    assert pb.device_put(other, far[0]).tolist() == y.tolist()


@pytest.mark.parametrize("dtype", ["bool", "float32", "bfloat16", "float8_e5m2", "int4", "complex64"])
def test_parts_are_copied_where_numpy_cannot_read_them(far, monkeypatch, dtype):
    mesh = pb.sharding.Mesh(np.array(far).reshape(2, 2), ("x", "y"))
    value = np.arange(8).reshape(4, 2).astype(pb.dtypes.canonicalize_dtype(dtype))
    x = pb.device_put(value, pb.NamedSharding(mesh, pb.P("x", "y")))
    monkeypatch.setattr(placement, "is_readable", lambda device: device not in far)
    assert np.array_equal(np.asarray(x), value)
    parts = [shard.data for shard in x.addressable_shards]
    assert [places(part) for part in parts] == [(device,) for device in far]
    assert np.array_equal(np.asarray(parts[1]), value[:2, 1:])


def test_meshes_of_a_platform(far_first):
    mesh = pb.make_mesh((4,), ("x",))
    assert mesh.flat_devices == tuple(far_first)
    x = pb.device_put(np.arange(8.0), pb.NamedSharding(mesh, pb.P("x")))
    total = pb.jit(lambda x: (x * x).sum())(x)
    assert (float(total), set(places(total))) == (140.0, set(far_first))
    assert pickle.loads(pickle.dumps(x.sharding)) == x.sharding
    host = pb.sharding.Mesh(np.array(engine.devices()[:4]), ("x",))
    assert pickle.loads(pickle.dumps(host)) == host != mesh
    mapped = pb.pmap(wave, backend="far")(np.arange(4.0))
    assert set(places(mapped)) == set(far_first)


def test_a_program_is_of_one_platform(far):
    a, b = pb.device_put(1.0, far[0]), pb.device_put(1.0, engine.devices()[1])
    with pytest.raises(ValueError, match=r"'a' is on devices \[0\] of 'far', and 'b' on devices \[1\] of 'cpu'"):
        pb.jit(lambda a, b: a + b)(a, b)


def test_the_name_of_a_program_on_disk_depends_on_its_platform(far, monkeypatch):
    client = far[0].client
    here, there = disk_cache.name_of("module", ()), disk_cache.name_of("module", (), client)
    assert here == disk_cache.name_of("module", (), engine.client()) != there
    # two plugins may report one version: their files tell them apart
    disk_cache._surroundings.cache_clear()
    monkeypatch.setitem(platforms._identities, "far", "/plugin.so 100 1")
    first = disk_cache.name_of("module", (), client)
    disk_cache._surroundings.cache_clear()
    monkeypatch.setitem(platforms._identities, "far", "/plugin.so 100 2")
    assert len({here, there, first, disk_cache.name_of("module", (), client)}) == 4
    disk_cache._surroundings.cache_clear()


def test_what_a_platform_lacks_is_refused_by_name(far):
    x = pb.device_put(np.eye(2), far[0])
    with pytest.raises(NotImplementedError, match="the routine 'potrf' of LAPACK is not available on 'far'"):
        pnp.linalg.cholesky(x)
    with pytest.raises(NotImplementedError, match="calls to the host are not available on 'far'"):
        pb.jit(lambda x: pb.pure_callback(np.sin, x, x))(x)
    assert np.array_equal(pnp.linalg.cholesky(pb.device_put(x, engine.device())), np.eye(2))


def test_functions_and_rules_by_platform(far):
    def choose(x):
        return lax.platform_dependent(x, cpu=lambda x: x, far=lambda x: x + 1)

    assert float(pb.jit(choose)(1.0)) == 1.0
    pb.config.update("jax_platforms", "far")
    assert float(pb.jit(choose)(1.0)) == 2.0

    p = pb.extend.core.Primitive("by_platform")
    p.def_abstract_eval(lambda x: x)
    double = pb.interpreters.mlir.lower_fun(lambda x: x + x, multiple_results=False)
    triple = pb.interpreters.mlir.lower_fun(lambda x: 3 * x, multiple_results=False)
    pb.interpreters.mlir.register_lowering(p, triple, platform="far")
    assert float(pb.jit(p.bind)(1.0)) == 3.0
    with pytest.raises(NotImplementedError, match="there is no lowering rule for 'cpu', only for 'far'"):
        pb.jit(p.bind, backend="cpu")(1.0)
    pb.interpreters.mlir.register_lowering(p, double)
    assert float(pb.jit(lambda x: p.bind(x), backend="cpu")(1.0)) == 2.0
    assert float(pb.jit(lambda x: p.bind(x) + 0)(1.0)) == 3.0


def test_tools_see_each_platform(far):
    from pullback.extend import backend

    x = pb.device_put(np.ones(3), far[0])
    assert any(y is x for y in pb.live_arrays("far"))
    assert not any(y is x for y in pb.live_arrays("cpu"))
    assert backend.get_backend("far") is far[0].client
    assert backend.get_backend() is engine.client()
    assert list(backend.backends())[:2] == ["cpu", "far"]
    assert far[0].memory_stats() is None  # as for JAX's processors
    assert pb.profiler.device_memory_profile("far")
    pb.config.update("jax_platforms", "far")
    assert backend.get_default_device() is far[0]


def four_sines(x):
    def step(c, _):
        return pnp.sin(c), None

    return lax.scan(step, x, None, length=4)[0]


def test_loops_on_another_platform(far_first):
    x = pb.device_put(np.float32(0.5), far_first[1])
    assert places(lax.fori_loop(0, 3, lambda i, y: pnp.cos(y), x)) == (far_first[1],)
    y = pb.jit(pb.grad(four_sines))(x)
    assert places(y) == (far_first[1],)
    np.testing.assert_allclose(y, pb.grad(four_sines)(np.float32(0.5)), rtol=1e-6)


def test_platforms_that_there_are_not():
    with pytest.raises(RuntimeError, match=r"devices: Unknown backend 'tpu': the only backend is 'cpu'$"):
        pb.devices("tpu")
    pb.config.update("jax_platforms", "somewhere,cpu")
    try:
        with pytest.raises(
            RuntimeError, match="config option 'platforms': Unknown backend 'somewhere': the only backend"
        ):
            pb.jit(wave)(1.0)
        assert float(pnp.sin(0.0)) == 0.0  # eager code asks nobody
    finally:
        pb.config.update("jax_platforms", None)
    assert "jax_plugins" not in sys.modules
