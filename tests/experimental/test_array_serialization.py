"""Arrays in TensorStore's files: `experimental.array_serialization`."""

import asyncio
import sys

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.experimental.array_serialization import serialization, tensorstore_impl


def place(*spec):
    return pb.NamedSharding(pb.make_mesh((4, 2), ("a", "b")), pb.P(*spec))


def test_specs_say_where_an_array_is():
    spec = tensorstore_impl.get_tensorstore_spec
    assert spec("/a/b/c") == {
        "driver": "zarr3",
        "kvstore": {"driver": "ocdbt", "base": {"driver": "file", "path": "/a/b"}, "path": "c"},
    }
    assert spec("s3://bucket/a//c", ocdbt=False, driver="zarr")["kvstore"] == {
        "driver": "s3",
        "bucket": "bucket",
        "path": "a/c",
    }
    assert spec("/a/c", process_idx=2)["kvstore"]["base"]["path"] == "/a/process_2"
    x = pb.device_put(pnp.zeros((8, 4), pnp.bfloat16), place("a", "b"))
    assert spec("/a/c", arr=x)["metadata"] == {
        "shape": [8, 4],
        "data_type": "bfloat16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}},
    }
    assert serialization.get_tensorstore_spec("c", arr=pnp.zeros(3))["metadata"]["chunks"] == [3]


def test_specs_refuse_what_is_no_place():
    with pytest.raises(ValueError, match="ckpt_path must be absolute, got 'a/b'"):
        tensorstore_impl.get_tensorstore_spec("a/b")
    for address in ("gs://bucket", "ftp://bucket/a"):
        with pytest.raises(ValueError, match="expected a path, or gs:// or s3:// with a bucket"):
            serialization.get_tensorstore_spec(address)
    with pytest.raises(ValueError, match="expected 'zarr3' or 'zarr', got 'n5'"):
        tensorstore_impl.get_tensorstore_spec("/a/b", arr=pnp.ones(1), driver="n5")


def test_without_tensorstore_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(ImportError, match="async_serialize needs the package tensorstore, which is not installed: pip"):
        serialization.run_serialization([pnp.ones(2)], [serialization.get_tensorstore_spec("/tmp/x")])
    with pytest.raises(ImportError, match="async_deserialize needs the package tensorstore"):
        serialization.run_deserialization([pnp.ones(2).sharding], [serialization.get_tensorstore_spec("/tmp/x")])


def test_where_an_array_goes_must_be_a_sharding():
    with pytest.raises(TypeError, match="async_deserialize: in_type must be a sharding"):
        serialization.run_deserialization(["cpu"], [serialization.get_tensorstore_spec("/tmp/x")])


def test_an_error_in_the_background_is_raised_once():
    def fails():
        raise OSError("no room")

    manager = serialization.GlobalAsyncCheckpointManager()
    manager.serialize([], [], on_commit_callback=fails)
    with pytest.raises(OSError, match="no room"):
        manager.wait_until_finished()
    manager.check_for_errors()


def test_no_more_than_the_limit_is_read_at_a_time():
    held, most = [0], [0]

    async def read(limit, count):
        await limit.wait_for_bytes(count)
        held[0] += count
        most[0] = max(most[0], held[0])
        await asyncio.sleep(0)
        held[0] -= count
        await limit.release_bytes(count)

    async def read_all():
        limit = serialization._Limit(100)
        await asyncio.gather(*(read(limit, count) for count in (60, 50, 40, 100, 10)))
        assert limit.free == 100

    asyncio.run(read_all())
    assert most[0] == 100


def test_arrays_on_eight_devices_are_saved_and_restored_elsewhere(tmp_path):
    pytest.importorskip("tensorstore")
    x = pb.device_put(pnp.arange(64.0).reshape(8, 8), place("a", "b"))
    y = pb.device_put(pnp.arange(8, dtype=pnp.bfloat16), place())
    paths = [str(tmp_path / "x"), str(tmp_path / "y")]
    committed = []
    manager = serialization.GlobalAsyncCheckpointManager()
    manager.serialize_with_paths([x, y], paths, on_commit_callback=lambda: committed.append(True))
    manager.wait_until_finished()
    assert committed == [True]
    again, other = manager.deserialize_with_paths([place("b"), place("a")], paths)
    assert (again.sharding, other.sharding, other.dtype) == (place("b"), place("a"), y.dtype)
    np.testing.assert_array_equal(again, x)
    np.testing.assert_array_equal(other.astype(np.float32), np.arange(8))
    # of another shape, and of another dtype
    (cut,) = manager.deserialize_with_paths([place("b")], paths[:1], [(10, 3)], [np.int32])
    expected = np.zeros((10, 3), np.int32)
    expected[:8] = np.arange(64).reshape(8, 8)[:, :3]
    np.testing.assert_array_equal(cut, expected)
    assert cut.dtype == np.int32


def test_a_database_of_arrays(tmp_path):
    pytest.importorskip("tensorstore")
    x = pb.device_put(pnp.arange(12).reshape(4, 3), place("a"))
    specs = [tensorstore_impl.get_tensorstore_spec(tmp_path / name) for name in "xy"]
    serialization.run_serialization([x, -x], specs)
    wanted = pb.ShapeDtypeStruct((4, 3), np.float32, sharding=place("b"))
    read, negative = serialization.run_deserialization([wanted, x.sharding], specs)
    np.testing.assert_array_equal(read, np.arange(12.0).reshape(4, 3))
    np.testing.assert_array_equal(negative, -np.arange(12).reshape(4, 3))
    assert (read.dtype, read.sharding) == (np.float32, place("b"))
