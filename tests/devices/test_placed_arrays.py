"""Arrays on several devices: placed, read, copied, pickled, printed, made of parts, and what is refused."""

import copy
import pickle

import jax
import ml_dtypes
import numpy as np
import pytest
from on_meshes import LIBRARIES, both, mesh, over, put, refusal, same_places, same_values

import pullback as pb
import pullback.numpy as pnp
from pullback import dtypes
from pullback.experimental.layout import Format, Layout
from pullback.sharding import SingleDeviceSharding

X = np.arange(64, dtype=np.float32).reshape(8, 8) / 8
DTYPES = [
    "bool", "int8", "uint8", "int16", "int32", "uint32", "float16", "float32", "complex64", ml_dtypes.bfloat16,
    ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.int4, ml_dtypes.uint4,
]  # fmt: skip
SPECS = [(), ("a",), (None, "b"), ("a", "b"), (("a", "b"),), (("b", "a"), None), ("b", "a")]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_every_dtype_is_placed_computed_with_and_read(dtype):
    value = (X * 2).astype(dtype)

    def compute(lib):
        x = put(lib, value, "a", "b")
        moved = lib.device_put(x, over(lib, "b", "a"))
        return [
            x,
            moved,
            lib.jit(lambda x: x.T)(x),
            x[2],
            lib.numpy.real(x).astype("float32"),
            x.addressable_shards[3].data,
        ]

    results = both(compute)
    assert results[0].dtype == np.dtype(dtype)
    assert np.array_equal(np.asarray(results[0]), value)
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(results[0]))), value)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_moves_between_all_placements(spec):
    for other in SPECS:

        def compute(lib, other=other):
            return lib.device_put(put(lib, X, *spec), over(lib, *other))

        assert both(compute).sharding == over(pb, *other)
    back = pb.device_put(put(pb, X, *spec), pb.devices()[0])
    assert back.sharding == SingleDeviceSharding(pb.devices()[0])
    assert np.array_equal(np.asarray(back), X)


@pytest.mark.parametrize("which", [{"shape": (2, 2), "order": (5, 2, 7, 1)}, {"order": (7, 6, 5, 4, 3, 2, 1, 0)}])
def test_meshes_of_some_devices_and_of_another_order(which):
    def compute(lib):
        x = put(lib, X, "b", "a", **which)
        return [x, x + 1, lib.jit(lambda x: x @ x)(x), x.sum(0), lib.device_put(x, over(lib, "a", **which))]

    both(compute)


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        (np.float32(2), ()),
        (np.zeros((0, 8), np.float32), (None, "b")),
        (np.zeros((0, 8), np.float32), ("a", "b")),
        (np.zeros((8, 0), np.float32), ("a",)),
    ],
)
def test_scalars_and_empty_arrays(value, spec):
    def compute(lib):
        x = put(lib, value, *spec)
        return [x, x + 1, lib.jit(lambda x: x * 2)(x), x.sum()]

    both(compute)


def test_values_without_information():
    zeros = pb.device_put(np.zeros(8, dtypes.float0), over(pb, "a"))
    assert zeros.dtype == dtypes.float0
    assert zeros.shape == (8,)
    gradient = pb.grad(lambda x: (x * 1.0).sum(), allow_int=True)(put(pb, np.arange(8, dtype=np.int32), "a"))
    assert gradient.dtype == dtypes.float0


def test_typed_keys():
    def compute(lib):
        keys = lib.device_put(lib.random.split(lib.random.key(0), 8), over(lib, "a"))
        assert keys.sharding.spec == lib.P("a")
        drawn = lib.vmap(lib.random.normal)(keys), lib.jit(lib.vmap(lib.random.normal))(keys)
        one = lib.random.key_data(keys[3]), lib.random.key_data(keys)
        wide = lib.jit(lambda k: lib.random.normal(k, (8, 8)), out_shardings=over(lib, "a", "b"))(lib.random.key(1))
        return drawn, one, wide

    both(compute, places=False)


def test_what_an_array_knows_of_its_place():
    x, theirs = put(pb, X, "b"), put(jax, X, "b")
    for name in ("is_fully_addressable", "is_fully_replicated", "committed", "nbytes", "size", "ndim", "itemsize"):
        assert getattr(x, name) == getattr(theirs, name), name
    assert x.devices() == set(pb.devices())
    assert len(x.addressable_shards) == len(x.global_shards) == 8
    for ours, their in zip(x.addressable_shards, theirs.addressable_shards, strict=True):
        assert (ours.device.id, ours.index, ours.replica_id) == (their.device.id, their.index, their.replica_id)
        assert ours.data.tolist() == their.data.tolist()
        assert ours.data.sharding == SingleDeviceSharding(ours.device)
        assert repr(ours).startswith(f"Shard(device={ours.device!r}, index=(slice(")
    assert x.addressable_data(3).tolist() == theirs.addressable_data(3).tolist()
    x.copy_to_host_async()
    tree = {"x": x, "text": "text"}
    assert pb.copy_to_host_async(tree) is tree
    assert not pnp.ones(2).sharding.num_devices > 1
    assert pb.typeof(x) == pb.typeof(pnp.asarray(X))


def test_reading():
    for spec in SPECS:
        x = put(pb, X, *spec)
        assert np.array_equal(np.asarray(x), X)
        assert np.array_equal(np.array(x), X)
        assert np.array_equal(pb.device_get({"a": x})["a"], X)
        assert np.array_equal(np.from_dlpack(x), X)
        assert np.array_equal(pnp.from_dlpack(x), X)
        assert np.array_equal(np.asarray(x, dtype=np.float64), X)
        assert x.tolist() == X.tolist()
        assert [row.tolist() for row in x] == X.tolist()
        assert (x[3, 4].item(), float(x[3, 4]), int(x[7, 7]), bool(x[0, 0]), len(x)) == (3.5, 3.5, 7, False, 8)
        with pytest.raises(ValueError, match="read-only"):
            np.asarray(x)[0, 0] = 1
    with pytest.raises(TypeError, match="scalar"):
        float(put(pb, X, "a"))


def test_printing_is_that_of_the_whole_array():
    x = put(pb, X[:, :2], "a")
    assert repr(x) == repr(put(jax, X[:, :2], "a")) == repr(pnp.asarray(X[:, :2]))
    assert str(x) == str(X[:, :2])
    assert f"{x[1, 1]:.3f}" == "1.125"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pnp.copy, lambda x: pnp.array(x, copy=True)])
def test_copies_live_on(copied):
    x = put(pb, X, "a", "b")
    other = copied(x)
    assert other.sharding == x.sharding
    pb.jit(lambda x: x + 1, donate_argnums=0)(x)
    assert x.is_deleted()
    assert np.array_equal(np.asarray(other), X)
    assert other[1].tolist() == X[1].tolist()


def test_pickles_are_whole_arrays():
    for spec in SPECS:
        x = put(pb, X, *spec)
        again = pickle.loads(pickle.dumps(x))
        assert np.array_equal(np.asarray(again), X)
        same_places(again, pickle.loads(pickle.dumps(put(jax, X, *spec))))


def test_deleted_arrays():
    x = put(pb, X, "a")
    x.delete()
    assert x.is_deleted()
    for use in (np.asarray, repr, pnp.sin, pb.jit(pnp.sin)):
        if use is not repr:
            kind, says = refusal(use, x)
            assert kind is RuntimeError
            assert "f32[8,8] has been deleted" in says


def test_trees_and_prefixes():
    tree = {"p": [X, X[0]], "q": {"r": X}}

    def compute(lib):
        whole = lib.device_put(tree, over(lib, "a"))
        parts = lib.device_put(tree, {"p": over(lib, "a"), "q": {"r": over(lib, None, "b")}})
        some = lib.device_put(tree, {"p": [over(lib, "b"), None], "q": over(lib)})
        return whole, parts, some

    both(compute)


def test_arrays_like_others_are_beside_them():
    def compute(lib):
        x = put(lib, X, "a", "b")
        like = [lib.numpy.zeros_like(x), lib.numpy.ones_like(x, dtype="int32"), lib.numpy.full_like(x, 3)]
        return [*like, lib.numpy.empty_like(x) * 0]

    both(compute)
    assert pnp.zeros_like(put(pb, X, "a", "b"), shape=(3,)).sharding.num_devices == 1


def test_creation_on_devices():
    def compute(lib):
        np_ = lib.numpy
        made = [np_.zeros((8, 2), device=over(lib, "a")), np_.ones(8, device=over(lib, "b"))]
        made += [np_.full((8,), 2.0, device=over(lib, "b")), np_.asarray(X, device=over(lib, "a", "b"))]
        return [*made, np_.arange(8, device=over(lib, "a")), np_.asarray(X, device=lib.devices()[3])]

    both(compute)
    kind, says = refusal(pnp.zeros, (3,), device=over(pb, "a"))
    assert kind is ValueError
    assert says.startswith("zeros: an array of type f32[3]: axis 0 of the shape (3,) cannot be divided into 2 equal")


# --- arrays on one other device ---


def test_one_other_device():
    def compute(lib):
        x = lib.device_put(X, lib.devices()[3])
        return [x, x + 1, lib.numpy.sin(x) * 2, x[2:4], x @ x, lib.jit(lambda x: x.sum(0))(x), lib.grad(total(lib))(x)]

    for x in both(compute):
        assert x.devices() == {pb.devices()[3]}
        assert x.device == pb.devices()[3]


def total(lib):
    def f(x):
        return (lib.numpy.sin(x) * x).sum()

    return f


def test_compiled_functions_run_on_the_default_device():
    with pb.default_device(pb.devices()[5]):
        x = pb.jit(pnp.sin)(X)
        assert x.devices() == {pb.devices()[5]}
        moved = pb.jit(pnp.sin)(put(pb, X, "a"))
    assert (x + 1).devices() == {pb.devices()[5]}
    assert moved.sharding == over(pb, "a")
    assert np.array_equal(np.asarray(x), np.asarray(pb.jit(pnp.sin)(X)))


# --- arrays made of parts ---


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_from_a_callback(spec):
    calls = []

    def part(index):
        calls.append(index)
        return X[index]

    def compute(lib):
        return lib.make_array_from_callback((8, 8), over(lib, *spec), part)

    both(compute)
    count = len({tuple((s.start, s.stop) for s in index) for index in calls})
    calls.clear()
    pb.make_array_from_callback((8, 8), over(pb, *spec), part)
    assert len(calls) == count


def test_from_single_device_arrays():
    def compute(lib):
        parts = [lib.device_put(X[:2] + i, device) for i, device in enumerate(lib.devices())]
        made = lib.make_array_from_single_device_arrays((16, 8), over(lib, ("a", "b")), parts)
        again = lib.make_array_from_single_device_arrays((16, 8), over(lib, ("a", "b")), parts[::-1])
        shards = [s.data for s in put(lib, X, "a", "b").addressable_shards]
        return made, again, lib.make_array_from_single_device_arrays((8, 8), over(lib, "a", "b"), shards)

    both(compute)


def test_from_the_data_of_this_process():
    def compute(lib):
        made = [lib.make_array_from_process_local_data(over(lib, *spec), X) for spec in SPECS]
        tree = lib.make_array_from_process_local_data(over(lib, "a"), {"u": X, "v": X[0]})
        return made, tree, lib.make_array_from_process_local_data(over(lib, "a"), X, (8, 8))

    both(compute)


def part_of_row(index):
    return X[0][index]


def whole_row(index):
    return X[0]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: pb.make_array_from_callback((6,), over(pb, "b"), part_of_row),
            "make_array_from_callback: an array of shape (6,): axis 0 of the shape (6,) cannot be divided",
        ),
        (
            lambda: pb.make_array_from_callback((8,), over(pb, "b"), whole_row),
            "data_callback returned an array of shape (8,) for the index (slice(0, 2, None),), expected (2,)",
        ),
        (
            lambda: pb.make_array_from_callback((8,), over(pb, "b"), part_of_row, dtype="int32"),
            "data_callback returned an array of dtype float32, expected int32",
        ),
        (
            lambda: pb.make_array_from_single_device_arrays((8,), over(pb, "a"), [pnp.ones(4)]),
            "expected an array for each of 8 devices of this process, got 1",
        ),
        (
            lambda: pb.make_array_from_single_device_arrays((8,), over(pb, "a"), [pnp.ones(3)] * 8),
            "arrays[0] is of type f32[3], expected f32[4], a part of f32[8] as",
        ),
        (
            lambda: pb.make_array_from_single_device_arrays((8,), over(pb, "a"), [np.ones(3)] * 8),
            "arrays: expected a sequence of arrays with data",
        ),
        (
            lambda: pb.make_array_from_process_local_data(over(pb, "a"), X, (16, 8)),
            "the data of this process has shape (8, 8), but its devices hold parts of shape (16, 8) of an array of",
        ),
        (lambda: pb.make_array_from_process_local_data(None, X), "sharding: expected a sharding, got None"),
    ],
)
def test_refusals(call, says):
    assert says in refusal(call)[1]


def test_libraries_are_compared_on_equal_meshes():
    ours, theirs = [mesh(lib) for lib in LIBRARIES]
    assert ours.device_ids.tolist() == theirs.device_ids.tolist()
    same_values(put(pb, X, "a"), put(jax, X, "a"), places=True)


def test_a_format_is_a_placement():
    """A layout goes along with it, as in `x.format` and in what checkpoints are restored by."""
    for layout in (None, Layout((0, 1)), Layout.AUTO):
        x = pb.device_put(np.ones((4, 2)), Format(layout, over(pb, "a")))
        assert x.sharding == over(pb, "a")
    with pytest.raises(ValueError, match=r"the order \(1, 0\) is refused: arrays are in row-major order, \(0, 1\)"):
        pb.device_put(np.ones((4, 2)), Format(Layout((1, 0)), over(pb, "a")))
