"""Meshes: their devices, the current one, and what is refused."""

import copy
import pickle

import jax
import numpy as np
import pytest
from on_meshes import mesh, over, parts_by_device, refusal

import pullback as pb
import pullback.numpy as pnp
from pullback.sharding import AbstractMesh, AxisType, Mesh, get_abstract_mesh, get_mesh, set_mesh


def test_eight_devices():
    assert pb.device_count() == pb.local_device_count() == 8
    assert [device.id for device in pb.devices()] == list(range(8))
    assert pb.devices() == pb.local_devices() == pb.devices("cpu")
    assert len(set(pb.devices())) == 8
    device = pb.devices()[3]
    assert (device.platform, device.process_index, device.id) == ("cpu", 0, 3)
    assert isinstance(device, pb.Device)


@pytest.mark.parametrize(("shape", "names"), [((8,), ("a",)), ((2, 4), ("a", "b")), ((2, 2, 2), ("a", "b", "c"))])
def test_meshes_know_what_jaxs_do(shape, names):
    ours, theirs = mesh(pb, shape, names), mesh(jax, shape, names)
    for name in ("axis_names", "size", "empty", "shape_tuple", "axis_sizes", "is_multi_process"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert dict(ours.shape) == dict(theirs.shape)
    assert ours.devices.shape == theirs.devices.shape == shape
    assert ours.device_ids.tolist() == theirs.device_ids.tolist()
    assert len(ours.local_devices) == len(theirs.local_devices) == 8
    assert str(ours) == str(theirs)
    assert ours.abstract_mesh.shape_tuple == theirs.abstract_mesh.shape_tuple
    assert ours.local_mesh is ours


def test_meshes_are_values():
    ours = mesh(pb)
    assert pickle.loads(pickle.dumps(ours)) == ours
    assert copy.deepcopy(ours) == ours
    again = Mesh(np.array(pb.devices()).reshape(2, 4), ("a", "b"))
    assert again == ours
    assert hash(again) == hash(ours)
    assert ours != mesh(pb, order=(7, 6, 5, 4, 3, 2, 1, 0))
    assert ours != mesh(pb, (4, 2))
    assert ours.abstract_mesh == mesh(pb, order=(7, 6, 5, 4, 3, 2, 1, 0)).abstract_mesh
    with pytest.raises(ValueError, match="read-only"):
        ours.devices[0, 0] = None


def test_make_mesh():
    made = pb.make_mesh((2, 4), ("a", "b"))
    assert made.axis_types == (AxisType.Explicit,) * 2
    assert made.device_ids.tolist() == mesh(pb).device_ids.tolist()
    some = pb.make_mesh((2,), ("a",), devices=pb.devices()[5:])
    assert some.device_ids.tolist() == [5, 6]
    kind, says = refusal(pb.make_mesh, (3, 4), ("a", "b"))
    assert kind is ValueError
    assert says.startswith("make_mesh: a mesh of shape (3, 4) needs 12 devices, and there are 8.")


def spec_of(lib):
    with lib.set_mesh(mesh(lib)):
        inside = lib.sharding.get_abstract_mesh().axis_names
        placed = lib.device_put(np.arange(8.0, dtype=np.float32), lib.P("b"))
        constrained = lib.jit(lambda x: lib.lax.with_sharding_constraint(x, lib.P("a")))(np.ones(8, np.float32))
        compiled = lib.jit(lambda x: x + 1)(np.ones(8, np.float32))
        asked = lib.jit(lambda x: x + 1, in_shardings=lib.P("a"), out_shardings=lib.P("b"))(np.ones(8, np.float32))
    return inside, [placed, constrained, compiled, asked]


def test_the_mesh_that_was_set():
    (ours, mine), (theirs, their) = spec_of(pb), spec_of(jax)
    assert ours == theirs == ("a", "b")
    for x, y in zip(mine, their, strict=True):
        assert x.tolist() == y.tolist()
        assert parts_by_device(x.sharding, x.shape) == parts_by_device(y.sharding, y.shape)
        assert x.sharding.spec == pb.P(*y.sharding.spec)
    assert get_mesh().empty
    assert get_abstract_mesh().empty


def test_a_mesh_set_for_good():
    set_mesh(mesh(pb))
    try:
        assert get_mesh() is mesh(pb)
        with set_mesh(mesh(pb, (8,), ("c",))):
            assert get_mesh().axis_names == ("c",)
        assert get_mesh() is mesh(pb)
        assert pb.jit(pnp.sin)(1.0).sharding == over(pb)
    finally:
        set_mesh(None)
    assert get_mesh().empty
    assert pb.jit(pnp.sin)(1.0).sharding.num_devices == 1


def test_arguments_that_were_placed_decide():
    elsewhere = pb.device_put(np.ones(4, np.float32), pb.devices()[3])
    with set_mesh(mesh(pb)):
        assert pb.jit(pnp.sin)(elsewhere).devices() == {pb.devices()[3]}


def test_an_entered_mesh_is_for_specs_alone():
    with mesh(pb):
        assert pb.device_put(np.ones(4, np.float32), pb.P("b")).sharding == over(pb, "b")
        assert pb.jit(pnp.sin)(1.0).sharding.num_devices == 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Mesh(pb.devices(), ("a", "b")), "expected a name for each of the 1 axes"),
        (lambda: Mesh([pb.devices()[0]] * 2, "a"), "the devices must differ"),
        (lambda: Mesh(np.array(pb.devices()).reshape(2, 4), ("a", "a")), "the names of the axes must differ"),
        (lambda: AbstractMesh((2, 4), ("a",)), "expected a name for each axis, got sizes (2, 4)"),
        (lambda: set_mesh(over(pb, "a")), "set_mesh: expected a mesh, got"),
        (lambda: pb.make_mesh((2,), ("a",), (AxisType.Auto,) * 2), "axis_types must be an AxisType for each of 1 axes"),
        (lambda: pb.devices("tpu"), "the only backend is 'cpu'"),
        (lambda: pb.default_device(3), "expected a device of this process"),
    ],
)
def test_refusals(call, says):
    assert says in refusal(call)[1]


def test_kinds_of_axes_and_places_of_entries():
    for lib in (pb, jax):
        kinds = lib.sharding.AxisType
        for types in ((), (kinds.Auto,), (kinds.Explicit, kinds.Explicit), (kinds.Manual,), (kinds.Auto, kinds.Manual)):
            mesh = lib.sharding.AbstractMesh((2,) * len(types), tuple("xy"[: len(types)]), types)
            asked = [mesh.are_all_axes_auto, mesh.are_all_axes_explicit, mesh.are_all_axes_manual]
            assert asked == [bool(types) and {*types} == {kind} for kind in (kinds.Auto, kinds.Explicit, kinds.Manual)]
        spec = lib.P("x", None, ("y", "z"), None)
        assert (spec.index(None), spec.index(("y", "z")), spec.count(None), spec.count("y")) == (1, 2, 2, 0)
        with pytest.raises(ValueError, match="not in tuple"):
            spec.index("y")
