"""Shardings: which device holds which part, as JAX says it, and what is refused."""

import itertools
import pickle

import jax
import numpy as np
import pytest
from on_meshes import mesh, over, parts_by_device, refusal

import pullback as pb
import pullback.numpy as pnp
from pullback.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

MESHES = {
    "rows": {"shape": (8,), "names": ("a",)},
    "grid": {"shape": (2, 4)},
    "reversed": {"shape": (4, 2), "order": (7, 6, 5, 4, 3, 2, 1, 0)},
    "shuffled": {"shape": (2, 4), "order": (3, 1, 4, 0, 5, 2, 6, 7)},
    "some": {"shape": (2, 2), "order": (5, 2, 7, 1)},
    "box": {"shape": (2, 2, 2), "names": ("a", "b", "c")},
    "flat": {"shape": (1, 8)},
}
PARTS = [None, "a", "b", "c", ("a", "b"), ("b", "a"), ("c", "a"), ("a", "b", "c")]


def specs(names):
    """All specs of up to two entries over axes of these names."""
    for entries in itertools.chain([()], ((part,) for part in PARTS), itertools.product(PARTS, PARTS)):
        used = [name for part in entries if part for name in (part if isinstance(part, tuple) else (part,))]
        if set(used) <= set(names) and len(set(used)) == len(used):
            yield entries


@pytest.mark.parametrize("which", MESHES)
def test_every_spec_gives_each_device_the_part_it_has_in_jax(which):
    settings = MESHES[which]
    for spec in specs(mesh(pb, **settings).axis_names):
        ours, theirs = over(pb, *spec, **settings), over(jax, *spec, **settings)
        assert parts_by_device(ours, (16, 8)) == parts_by_device(theirs, (16, 8)), spec
        assert ours.shard_shape((16, 8)) == theirs.shard_shape((16, 8)), spec
        assert ours.is_fully_replicated == theirs.is_fully_replicated, spec
        assert ours.num_devices == theirs.num_devices
        assert ours.is_fully_addressable
        assert tuple(ours.spec) == tuple(theirs.spec)
        copies = pb.device_put(np.zeros((16, 8), np.float32), ours).addressable_shards
        expected = jax.device_put(np.zeros((16, 8), np.float32), theirs).addressable_shards
        assert {s.device.id: s.replica_id for s in copies} == {s.device.id: s.replica_id for s in expected}, spec


@pytest.mark.parametrize("which", ["grid", "some", "flat"])
def test_equivalence_of_placements_is_jaxs(which):
    settings = MESHES[which]
    every = list(specs(mesh(pb, **settings).axis_names))
    for a, b in itertools.product(every, every):
        ours = over(pb, *a, **settings).is_equivalent_to(over(pb, *b, **settings), 2)
        theirs = over(jax, *a, **settings).is_equivalent_to(over(jax, *b, **settings), 2)
        assert ours == theirs, (a, b)


def test_equivalence_of_other_kinds():
    one = SingleDeviceSharding(pb.devices()[0])
    assert NamedSharding(mesh(pb, (1,), ("a",)), pb.P("a")).is_equivalent_to(one, 1)
    assert one.is_equivalent_to(NamedSharding(mesh(pb, (1,), ("a",)), pb.P()), 3)
    assert not one.is_equivalent_to(SingleDeviceSharding(pb.devices()[1]), 1)
    assert not over(pb).is_equivalent_to(one, 1)
    assert over(pb, "a") != over(pb, "a", None)
    assert over(pb, "a").is_equivalent_to(over(pb, "a", None), 2)


def test_shardings_are_values():
    for ours in (over(pb, "a", ("b",)), SingleDeviceSharding(pb.devices()[2]), over(pb, PartitionSpec.UNCONSTRAINED)):
        again = pickle.loads(pickle.dumps(ours))
        assert again == ours
        assert hash(again) == hash(ours)
    assert pickle.loads(pickle.dumps(PartitionSpec.UNCONSTRAINED)) is PartitionSpec.UNCONSTRAINED
    assert over(pb, "a").update(spec=pb.P("b")) == over(pb, "b")
    assert over(pb, "a").addressable_devices == set(pb.devices()) == over(pb, "a").device_set
    assert over(pb, "a").memory_kind == "device"


def test_shardings_print_as_jax_s_do():
    for spec, options in [
        ((), {}),
        (("a",), {}),
        (("a", None), {}),
        ((("a", "b"),), {}),
        (("a",), {"unreduced": {"b"}}),
        ((None,), {"reduced": {"a", "b"}}),
    ]:
        ours, theirs = [repr(lib.P(*spec, **options)) for lib in (pb, jax)]
        assert ours == theirs or sorted(ours) == sorted(theirs), "a set prints in any order"
        if not options:
            # JAX of one processor may say "unpinned_host" where others say "device"
            kind = jax.devices()[0].default_memory().kind
            text = repr(over(jax, *spec)).replace(f"memory_kind={kind}", "memory_kind=device")
            assert repr(over(pb, *spec)) == text
    abstract = NamedSharding(pb.sharding.AbstractMesh((2,), ("a",)), pb.P("a"))
    assert abstract.memory_kind is None
    assert repr(abstract) == "NamedSharding(mesh=AbstractMesh('a': 2, axis_types=(Auto,)), spec=P('a',))"
    assert repr(pb.numpy.ones(2).sharding) == "SingleDeviceSharding(device=CpuDevice(id=0), memory_kind=device)"


def test_a_placement_that_no_spec_expresses():
    # a program may return parts in an order that no axes of the mesh have
    placed = pb.device_put(np.arange(8.0, dtype=np.float32), over(pb, ("b", "a")))
    found = pb.jit(lambda x: x.reshape(4, 2))(placed)
    assert found.tolist() == np.arange(8.0).reshape(4, 2).tolist()
    assert pb.device_put(found, over(pb)).tolist() == found.tolist()


X = np.zeros((6, 8), np.float32)


def twice(x):
    return x, x


@pytest.mark.parametrize(
    ("call", "kind", "says"),
    [
        (
            lambda: pb.device_put(X, over(pb, "b")),
            ValueError,
            "device_put: x of type f32[6,8]: axis 0 of the shape (6, 8) cannot be divided into 4 equal parts, as "
            "NamedSharding(mesh=Mesh('a': 2, 'b': 4, axis_types=(Auto, Auto)), spec=P('b',), memory_kind=device) asks "
            "for. Pad the array to a multiple of 4, or leave the axis whole with None in the spec",
        ),
        (
            lambda: pb.device_put({"w": [X.T, X]}, over(pb, ("a", "b"))),
            ValueError,
            "device_put: x['w'][1] of type f32[6,8]: axis 0 of the shape (6, 8) cannot be divided into 8 equal parts",
        ),
        (
            lambda: pb.device_put(X, over(pb, None, "a", None)),
            ValueError,
            "P(None, 'a', None) has 3 entries, but the array has 2 axes",
        ),
        (
            lambda: pb.device_put(X, pb.P("a")),
            ValueError,
            "device_put: device: P('a',) needs a mesh of devices. Set one",
        ),
        (lambda: pb.device_put(X, "a"), TypeError, "device_put: device: expected None, a device, a sharding"),
        (lambda: over(pb, "w"), ValueError, "P('w',) names the axis 'w', but the mesh has ('a', 'b')"),
        (lambda: over(pb, "a", "a"), ValueError, "names the axis 'a' of the mesh twice"),
        (lambda: pb.P(("a", 3)), TypeError, "expected names of axes of a mesh"),
        (
            lambda: pb.device_put({"a": X}, {"b": over(pb)}),
            ValueError,
            "device_put: device does not fit x",
        ),
        (
            lambda: pb.jit(pnp.sin, in_shardings=over(pb, "b"))(X),
            ValueError,
            "jit of sin: in_shardings: 'x': axis 0 of the shape (6, 8) cannot be divided into 4 equal parts",
        ),
        (
            lambda: pb.jit(pnp.sin, out_shardings=over(pb, "b"))(X),
            ValueError,
            "jit of sin: out_shardings: a result of type f32[6,8]: axis 0 of the shape (6, 8) cannot be divided",
        ),
        (
            lambda: pb.lax.with_sharding_constraint({"w": X}, over(pb, "b")),
            ValueError,
            "with_sharding_constraint: x['w']: axis 0 of the shape (6, 8) cannot be divided into 4 equal parts",
        ),
        (
            lambda: pb.jit(pnp.sin, in_shardings="a"),
            TypeError,
            "jit: in_shardings: expected None, a device, a sharding",
        ),
        (
            lambda: pb.jit(pnp.sin, in_shardings=(over(pb), over(pb)))(X),
            ValueError,
            "jit of sin: in_shardings does not fit the arguments",
        ),
        (
            lambda: pb.jit(twice, out_shardings=(over(pb),))(X),
            ValueError,
            "out_shardings does not fit the result",
        ),
        (
            lambda: pb.jit(pnp.sin, in_shardings=over(pb, "a"))(pb.device_put(X, over(pb, None, "a"))),
            ValueError,
            "jit of sin: 'x', of type f32[6,8], is placed as",
        ),
        (
            lambda: pb.device_put(X, over(pb, "a")) + pb.device_put(X, pb.devices()[3]),
            ValueError,
            "add: one program runs on one list of devices, but operand 0 is on devices [0, 1, 2, 3, 4, 5, 6, 7], and "
            "operand 1 on devices [3]",
        ),
        (
            lambda: pb.jit(pnp.add)(
                pb.device_put(X, over(pb, "a")), pb.device_put(X, over(pb, "a", order=(7, 6, 5, 4, 3, 2, 1, 0)))
            ),
            ValueError,
            "jit of add: one program runs on one list of devices, but 'x' is on devices [0, 1, 2, 3, 4, 5, 6, 7], and "
            "'y' on devices [7, 6, 5, 4, 3, 2, 1, 0]",
        ),
    ],
)
def test_refusals(call, kind, says):
    raised, message = refusal(call)
    assert raised is kind
    assert says in message


@pytest.mark.parametrize("spec", [(), ("a",), ("a", "b"), (("a", "b"),), (None, "b")])
@pytest.mark.parametrize("kinds", [("Explicit", "Explicit"), ("Explicit", "Auto"), ("Auto", "Auto")])
def test_types_show_shardings_along_explicit_axes(kinds, spec):
    def shown(lib):
        types = tuple([getattr(lib.sharding.AxisType, kind) for kind in kinds])
        mesh = lib.make_mesh((2, 4), ("a", "b"), axis_types=types)
        x = lib.device_put(np.ones((8, 8), np.float32), lib.NamedSharding(mesh, lib.P(*spec)))
        found = lib.typeof(x)
        sharding = found.sharding
        return str(found), tuple(sharding.spec), found.shape, found.dtype

    assert shown(pb) == shown(jax)


def test_types_with_shardings_are_types():
    mesh = pb.make_mesh((2, 4), ("a", "b"))
    x = pb.device_put(np.ones((8, 8), np.float32), pb.NamedSharding(mesh, pb.P("a")))
    shown, plain = pb.typeof(x), x.aval
    assert repr(shown) == "ShapedArray(float32[8@a,8])"
    assert shown == plain
    assert plain == shown
    assert hash(shown) == hash(plain)
    assert shown == pb.typeof(x + 1)
    assert shown != pb.typeof(pb.reshard(x, pb.NamedSharding(mesh, pb.P("b"))))
    assert shown.strip_weak_type() is plain
    assert shown.update() is plain
    assert pickle.loads(pickle.dumps(shown)) == shown
    with pb.set_mesh(mesh):
        assert pb.reshard(np.ones((8, 8)), shown.sharding).sharding.spec == pb.P("a", None)
    seen = []
    pb.jit(lambda x: seen.append(pb.typeof(x)))(x)
    assert seen == [plain]
    assert type(seen[0]) is type(plain)
