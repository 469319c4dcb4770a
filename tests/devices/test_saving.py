"""Saved pytrees: written from one number of devices, read on another; damaged folders."""

import json

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp

pytest.importorskip("safetensors", reason="the extra `saving` is not installed")

from pullback.saving import load, save

P = pb.P
DTYPES = ("float32", "bfloat16", "float16", "int8", "uint32", "bool", "complex64", "float8_e4m3fn", "int4")


def on(count, *spec):
    return pb.NamedSharding(pb.make_mesh((count,), ("x",), devices=pb.devices()[:count]), P(*spec))


def grid(*spec):
    return pb.NamedSharding(pb.make_mesh((4, 2), ("x", "y")), P(*spec))


def tree():
    x = np.arange(48, dtype=np.float32).reshape(8, 6)
    return {
        "w": pb.device_put(x, grid("x", "y")),
        "copied": pb.device_put(x[:2], grid()),
        "scalar": pnp.float32(3),
        "many": [pb.device_put(pnp.asarray(np.arange(8) % 2, dtype), on(8, "x")) for dtype in DTYPES],
        "empty": np.zeros((0, 3), np.float32),
    }


def like(value, place):
    return pb.tree.map(
        lambda x: pb.ShapeDtypeStruct(x.shape, x.dtype, sharding=place if x.shape == (8, 6) else None), value
    )


def same(a, b):
    assert pb.tree.structure(a) == pb.tree.structure(b)
    for u, v in zip(pb.tree.leaves(a), pb.tree.leaves(b), strict=True):
        v = pnp.asarray(v)
        assert (u.shape, u.dtype) == (v.shape, v.dtype)
        np.testing.assert_array_equal(np.asarray(u.astype("complex64")), np.asarray(v.astype("complex64")))


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_other_numbers_of_devices(tmp_path, count):
    saved = tree()
    save(tmp_path / "step", saved)
    place = on(count, "x")
    loaded = load(tmp_path / "step", like(pb.tree.map(pnp.asarray, saved), place))
    same(loaded, saved)
    assert loaded["w"].sharding.is_equivalent_to(place, 2)
    columns = load(tmp_path / "step", saved, {**dict.fromkeys(saved), "w": grid(None, "y")})
    same(columns, saved)
    assert columns["w"].addressable_shards[0].data.shape == (8, 3)


def test_equal_parts_are_written_once(tmp_path):
    x = np.ones((64, 64), np.float32)
    save(tmp_path / "a", {"x": pb.device_put(x, grid())})
    (file,) = (tmp_path / "a").glob("*.safetensors")
    assert file.stat().st_size < 2 * x.nbytes


def refused(*args):
    with pytest.raises((ValueError, OSError, TypeError)) as info:
        load(*args)
    return str(info.value)


def test_what_does_not_fit(tmp_path):
    save(tmp_path / "a", {"x": pnp.ones(3)})
    with pytest.raises(FileExistsError, match="choose another folder"):
        save(tmp_path / "a", {"x": pnp.ones(3)})
    with pytest.raises(TypeError, match="tree at"):
        save(tmp_path / "b", {"x": "text"})
    assert not (tmp_path / "b").exists()
    assert "differ at ['['y']']" in refused(tmp_path / "a", {"x": pnp.ones(3), "y": pnp.ones(1)}).replace('"', "'")
    assert "like['x']: expected shape (4,)" in refused(tmp_path / "a", {"x": pnp.ones(4)})
    assert "dtype int32, saved were (3,) and float32" in refused(tmp_path / "a", {"x": pnp.ones(3, "int32")})
    assert "does not exist" in refused(tmp_path / "c", {})


def test_damaged_folders(tmp_path):
    value = {"x": pb.device_put(np.arange(8.0, dtype=np.float32), on(8, "x"))}
    save(tmp_path / "a", value)
    (file,) = (tmp_path / "a").glob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    assert "is damaged" in refused(tmp_path / "a", value)
    file.unlink()
    assert "parts of leaf 0 are missing" in refused(tmp_path / "a", value)
    file.write_bytes(whole)
    same(load(tmp_path / "a", value), value)
    index = tmp_path / "a" / "index.json"
    content = json.loads(index.read_text())
    index.write_text(json.dumps({**content, "version": 7}))
    assert "has the version 7" in refused(tmp_path / "a", value)
    index.write_text("{")
    assert "index.json is damaged" in refused(tmp_path / "a", value)


def test_a_save_that_was_interrupted_is_not_seen_and_does_not_disturb(tmp_path):
    (tmp_path / "a.partial").mkdir()
    (tmp_path / "a.partial" / "process_00000.safetensors").write_bytes(b"half")
    assert "does not exist" in refused(tmp_path / "a", {"x": pnp.ones(3)})
    save(tmp_path / "a", {"x": pnp.ones(3)})
    assert not (tmp_path / "a.partial").exists()
    same(load(tmp_path / "a", {"x": pnp.ones(3)}), {"x": pnp.ones(3)})


def test_numbers(tmp_path):
    """What is saved serves as what is loaded like: numbers too."""
    state = {"step": 6, "rate": 0.5, "done": False, "phase": 1j}
    save(tmp_path / "state", state)
    loaded = load(tmp_path / "state", state)
    assert pb.tree.map(lambda x: x.item(), loaded) == state
    assert [x.dtype.name for x in pb.tree.leaves(loaded)] == ["bool", "complex64", "float32", "int32"]
