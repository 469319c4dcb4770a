"""Meshes and placements on the one device: programs that name them run, and more devices are refused by name."""

import pickle

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.sharding import (
    AbstractMesh,
    AxisType,
    Mesh,
    NamedSharding,
    PartitionSpec,
    Sharding,
    SingleDeviceSharding,
    get_abstract_mesh,
    get_mesh,
    set_mesh,
    use_abstract_mesh,
)

MESH = pb.make_mesh((1, 1), ("x", "y"))


def test_partition_specs():
    spec = pb.P("x", ("y", "z"), None)
    theirs = jax.P("x", ("y", "z"), None)
    assert repr(spec) == repr(theirs)
    assert (tuple(spec), len(spec), spec[1], spec[:2]) == (tuple(theirs), 3, ("y", "z"), ("x", ("y", "z")))
    assert spec == PartitionSpec("x", ("y", "z"), None)
    assert spec != ("x", ("y", "z"), None)
    assert len({spec, pb.P("x", ("y", "z"), None), pb.P("x")}) == 2
    assert spec + pb.P("w") == pb.P("x", ("y", "z"), None, "w")
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert pb.tree.leaves({"a": spec}) == [spec]
    with pytest.raises(TypeError, match="PartitionSpec: expected names of axes of a mesh, tuples of names, or None"):
        pb.P(3)


def test_meshes():
    assert (MESH.shape["x"], MESH.axis_names, MESH.size, MESH.empty) == (1, ("x", "y"), 1, False)
    assert MESH.devices.shape == MESH.device_ids.shape == (1, 1)
    assert MESH.axis_types == (AxisType.Explicit, AxisType.Explicit)
    assert pb.make_mesh((1, 1), ("x", "y")) == MESH != Mesh(np.array(pb.devices()[:1]).reshape(1, 1), ("x", "y"))
    assert MESH.abstract_mesh == AbstractMesh((1, 1), ("x", "y"), AxisType.Explicit)
    assert repr(Mesh(pb.devices()[:1], "x")) == "Mesh('x': 1, axis_types=(Auto,))"
    assert hash(MESH) == hash(pb.make_mesh((1, 1), ("x", "y")))


def refusal(call, *args, **keywords):
    with pytest.raises(Exception) as info:
        call(*args, **keywords)
    return type(info.value), str(info.value)


def test_more_devices_than_there_are():
    kind, says = refusal(Mesh, pb.devices()[:1] * 2, "x")
    assert kind is ValueError
    assert "the devices must differ" in says
    count = len(pb.devices())
    kind, says = refusal(pb.make_mesh, (2 * count,), ("x",))
    assert kind is ValueError
    assert f"make_mesh: a mesh of shape ({2 * count},) needs {2 * count} devices" in says
    assert "num_cpu_devices" in says


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Mesh(pb.devices()[:1], ("x", "y")), "expected a name for each of the 1 axes"),
        (lambda: AbstractMesh((1,), ("x", "x")), "the names of the axes must differ"),
        (lambda: AbstractMesh((1, 1), "x"), "expected a name for each axis"),
        (lambda: AbstractMesh((1,), "x", (AxisType.Auto,) * 2), "axis_types must be an AxisType for each of 1 axes"),
        (lambda: NamedSharding(MESH, pb.P("w")), "names the axis 'w', but the mesh has"),
        (lambda: NamedSharding(MESH, ("x",)), "expected a Mesh and a PartitionSpec"),
        (lambda: pnp.ones(2).sharding.with_memory_kind("pinned_host"), "the one kind of memory is 'device'"),
        (lambda: set_mesh(3), "set_mesh: expected a mesh"),
        (lambda: pb.shard_map(pnp.sin, out_specs=pb.P())(1.0), "shard_map of sin: expected a mesh"),
    ],
)
def test_refusals(call, says):
    assert says in refusal(call)[1]


def test_the_placement_of_arrays():
    x = pnp.ones((2, 3))
    for place in (x.sharding, NamedSharding(MESH, pb.P("x"))):
        assert isinstance(place, Sharding)
        assert place.device_set == place.addressable_devices == {x.device}
        assert place.is_fully_replicated
        assert place.is_fully_addressable
        assert place.num_devices == 1
        assert place.memory_kind == "device"
        assert place.with_memory_kind("device") is place
        assert place.shard_shape(x.shape) == x.shape
        assert place.devices_indices_map(x.shape) == {x.device: (slice(None), slice(None))}
        assert place.is_equivalent_to(x.sharding, 2)
        assert pb.device_put(x, place) is not None
        assert pnp.asarray([1.0], device=place).sharding == place
        assert pb.jit(lambda y: y + 1, in_shardings=place, out_shardings=place)(x).shape == (2, 3)
    assert x.sharding == SingleDeviceSharding(x.device) == pb.sharding.make_single_device_sharding(x.device)
    assert NamedSharding(MESH, pb.P("x")) == NamedSharding(MESH, pb.P("x")) != NamedSharding(MESH, pb.P("y"))


def test_the_placement_in_a_type():
    place = pb.typeof(pnp.ones((2, 3))).sharding
    theirs = jax.typeof(jax.numpy.ones((2, 3))).sharding
    assert repr(place) == repr(theirs)
    assert place.spec == pb.P(None, None)
    assert place.mesh == get_abstract_mesh()

    def types(x):
        assert x.aval.sharding == place
        return x

    pb.jit(types)(pnp.ones((2, 3)))


def test_structs_with_a_placement():
    place = NamedSharding(MESH, pb.P("x"))
    struct = pb.ShapeDtypeStruct((2,), "float32", sharding=place)
    assert struct.sharding is place
    assert struct == pb.ShapeDtypeStruct((2,), "float32", sharding=place) != pb.ShapeDtypeStruct((2,), "float32")
    assert struct.update(sharding=None) == pb.ShapeDtypeStruct((2,), "float32")
    assert "sharding=NamedSharding" in repr(struct)
    assert pb.jit(pnp.sin).lower(struct).compile()(pnp.ones(2)).shape == (2,)


def test_the_current_mesh():
    assert get_mesh().empty
    assert get_abstract_mesh().empty
    with MESH:
        assert get_mesh() is MESH
        assert get_abstract_mesh() == MESH.abstract_mesh
        with use_abstract_mesh(AbstractMesh((1,), ("w",))):
            assert get_abstract_mesh().axis_names == ("w",)
    with set_mesh(MESH):
        assert get_mesh() is MESH
    assert get_mesh().empty


def test_constraints_are_identities():
    place = NamedSharding(MESH, pb.P("x"))

    def f(x):
        y, z = lax.with_sharding_constraint((x, x * 2), place)
        return (pb.reshard(y, pb.P(None)) * z).sum()

    assert pb.jit(pb.grad(f))(pnp.ones(2)).tolist() == [4.0, 4.0]
    assert (
        "with_sharding_constraint: shardings: expected None, a device"
        in refusal(lax.with_sharding_constraint, 1.0, "gpu")[1]
    )


def test_pmap_of_one_example():
    def f(x, n, y):
        return lax.psum(x * n, "i") + y, lax.axis_index("i")

    mapped = pb.pmap(f, axis_name="i", in_axes=(0, None, None), static_broadcasted_argnums=1, out_axes=(0, 0))
    value, index = mapped(pnp.ones((1, 3)), 2, 1.0)
    assert value.tolist() == [[3.0, 3.0, 3.0]]
    assert index.tolist() == [0]
    assert pb.pmap(lambda x: {"a": x})(pnp.ones((1, 2)))["a"].shape == (1, 2)
    assert "'pmap': Unknown backend" not in refusal(pb.pmap, pnp.sin, backend="gpu")[1]


def test_shard_map_on_one_device():
    def f(x, y):
        i = lax.axis_index("x")
        return lax.psum(x, "x") + lax.all_gather(y, "y", tiled=True) + i, x.sum()

    specs = {"in_specs": (pb.P("x"), pb.P(None)), "out_specs": (pb.P("x"), pb.P())}
    mapped = pb.shard_map(f, mesh=MESH, **specs)
    value, total = mapped(pnp.ones((2, 3)), pnp.ones((2, 3)))
    assert value.tolist() == [[2.0] * 3] * 2
    assert total.shape == ()
    with MESH:
        again = pb.shard_map(f, **specs)
    assert pb.jit(again)(pnp.ones((2, 3)), pnp.ones((2, 3)))[0].tolist() == value.tolist()
    decorated = pb.shard_map(mesh=MESH, out_specs=pb.P())(pnp.sum)
    assert pb.grad(decorated)(pnp.ones(3)).tolist() == [1.0] * 3
