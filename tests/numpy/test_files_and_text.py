"""Arrays in files and in text, and the options of printing."""

import io

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "float16", "bfloat16", "float32", "complex64"])
@pytest.mark.parametrize("shape", [(), (0, 2), (2, 3)])
def test_what_is_saved_is_loaded(dtype, shape, tmp_path):
    x = pnp.full(shape, 1, dtype)
    pnp.save(tmp_path / "x.npy", x)
    y = pnp.load(tmp_path / "x.npy")
    assert isinstance(y, pb.Array)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    np.testing.assert_array_equal(np.asarray(y, "complex64"), np.asarray(x, "complex64"))


def test_several_arrays_in_a_file():
    file = io.BytesIO()
    pnp.savez(file, pnp.arange(3), weights=pnp.ones(2))
    file.seek(0)
    loaded = pnp.load(file)
    assert sorted(loaded) == ["arr_0", "weights"]
    np.testing.assert_array_equal(loaded["arr_0"], [0, 1, 2])


def test_what_arrays_cannot_hold_stays_numpy_s(tmp_path):
    np.save(tmp_path / "text.npy", np.array(["a", "b"]))
    assert type(pnp.load(tmp_path / "text.npy")) is np.ndarray
    np.save(tmp_path / "wide.npy", np.arange(2.0))
    assert pnp.load(tmp_path / "wide.npy").dtype == "float32"


def test_traced_arrays_are_not_saved(tmp_path):
    with pytest.raises(pb.errors.TracerArrayConversionError):
        pb.jit(lambda x: pnp.save(tmp_path / "x.npy", x))(1.0)
    with pytest.raises(NotImplementedError, match=r"numpy\.fromfile"):
        pnp.fromfile(tmp_path / "x.npy")


def test_numbers_in_text():
    np.testing.assert_array_equal(pnp.fromstring("1 2 3", dtype=int, sep=" "), [1, 2, 3])
    x = pnp.fromstring("0.5,1,2", count=2, sep=",")
    assert x.dtype == "float32"
    assert x.tolist() == [0.5, 1.0]


def test_printing():
    x = pnp.array([1 / 3, 1e-9])
    assert pnp.array_repr(x, precision=2, suppress_small=True) == "Array([0.33, 0.  ], dtype=float32)"
    assert pnp.array_str(x, precision=2, suppress_small=True) == "[0.33 0.  ]"
    with pnp.printoptions(precision=1):
        assert str(pnp.array([1 / 3])) == "[0.3]" == str(np.array([1 / 3]))
        assert pnp.get_printoptions()["precision"] == 1
    assert pnp.array_repr(x) == repr(x)
