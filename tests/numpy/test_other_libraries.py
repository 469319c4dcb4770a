"""Where arrays meet what other libraries bring: labelled arrays, quantities, the array API standard, pickling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp

X = pnp.arange(3.0)


class Labelled:
    """An array with a label, as those of pandas and xarray: NumPy data on request, operators of its own."""

    def __init__(self, values, label):
        self.values = np.asarray(values)
        self.label = label

    def __array__(self, dtype=None, copy=None):
        return self.values

    def __radd__(self, other):
        return Labelled(np.asarray(other) + self.values, self.label)

    def __rmatmul__(self, other):
        return Labelled(np.asarray(other) @ self.values, self.label)

    def __rpow__(self, other):
        return Labelled(np.asarray(other) ** self.values, self.label)

    def __gt__(self, other):
        return Labelled(self.values > np.asarray(other), self.label)


class Quantity(np.ndarray):
    """A subclass with a meaning that its ufuncs keep."""

    def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
        plain = [np.asarray(x) for x in inputs]
        return getattr(ufunc, method)(*plain, **keywords).view(Quantity)


class OnlyData:
    def __array__(self, dtype=None, copy=None):
        return np.ones(3)


@pytest.mark.parametrize(
    "result",
    [
        X + Labelled([1, 2, 3], "a"),
        X ** Labelled([1, 2, 3], "a"),
        X @ Labelled([1, 2, 3], "a"),
        X < Labelled([1, 2, 3], "a"),
    ],
)
def test_operators_leave_labelled_arrays_their_turn(result):
    assert type(result) is Labelled
    assert result.label == "a"


def test_operators_keep_the_class_of_a_quantity():
    metres = np.ones(3, "float32").view(Quantity)
    assert type(X * metres) is Quantity
    np.testing.assert_array_equal(X * metres, [0, 1, 2])
    assert isinstance(X * metres.view(np.ndarray), pb.Array)


def test_an_operand_without_operators_is_refused():
    with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \*: 'Array' and 'OnlyData'"):
        X * OnlyData()
    with pytest.raises(TypeError, match="'Array' and 'OnlyData'"):
        pb.grad(lambda x: (x * OnlyData()).sum())(X)
    # functions take it, as NumPy's do
    np.testing.assert_array_equal(pnp.multiply(X, OnlyData()), X)


def test_numpy_takes_from_arrays():
    np.testing.assert_array_equal(np.take(X, [0, -1]), [0, 2])
    np.testing.assert_array_equal(pnp.take(X, pnp.array([2]), mode="raise"), [2])
    assert pnp.take(pnp.ones((0, 2)), pnp.array([], int), axis=0, mode="raise").shape == (0, 2)
    for bad in (3, -4):
        with pytest.raises(IndexError, match=f"take: index {bad} is out of bounds for axis 0 of length 3"):
            np.take(X, [0, bad])
    with pytest.raises(pb.errors.ConcretizationTypeError, match="take with mode 'raise'"):
        pb.jit(lambda i: pnp.take(X, i, mode="raise"))(0)


def test_the_namespace_and_its_versions():
    assert X.__array_namespace__() is pnp
    assert X.__array_namespace__(api_version=pnp.__array_api_version__) is pnp
    with pytest.raises(ValueError, match=r"api_version '1999\.12' is not available"):
        X.__array_namespace__(api_version="1999.12")


def test_what_the_namespace_can_do():
    about = pnp.__array_namespace_info__()
    assert about.dtypes(kind=("bool", "real floating")) == {"bool": np.dtype(bool), "float32": np.dtype("float32")}
    assert about.default_dtypes()["integral"] == np.int32
    with pb.enable_x64():
        assert "float64" in about.dtypes()
        assert about.default_dtypes(device=about.default_device())["indexing"] == np.int64
    assert "float64" not in about.dtypes(kind="numeric")
    assert X.device in about.devices()
    assert about.capabilities().keys() == {"boolean indexing", "data-dependent shapes", "max dimensions"}
    with pytest.raises(ValueError, match="kind must be one of 'bool'"):
        about.dtypes(kind="text")
    with pytest.raises(ValueError, match="expected None or one of"):
        about.dtypes(device="gpu")


def test_keys_have_a_scalar_type():
    dtype = pb.random.key(0).dtype
    assert dtype.type.__name__ == "prng_key"
    assert pb.dtypes.issubdtype(dtype, pb.dtypes.prng_key)
    assert pb.dtypes.issubdtype(dtype, pb.dtypes.extended)
    assert not pb.dtypes.issubdtype("float32", pb.dtypes.extended)
    assert not pb.dtypes.issubdtype(dtype, np.integer)


EXCHANGED = ["bool", "int8", "uint16", "float16", "float32", "complex64", "bfloat16", "float8_e5m2", "float8_e4m3fn"]


@pytest.mark.parametrize("dtype", EXCHANGED)
def test_every_dtype_crosses_by_dlpack(dtype):
    x = pnp.array([[0, 1, 3], [2, 1, 0]], dtype)
    for tensor in (jnp.asarray([[0, 1, 3], [2, 1, 0]], dtype), Exporter(x)):
        got = pnp.from_dlpack(tensor)
        assert got.dtype == x.dtype
        np.testing.assert_array_equal(np.asarray(got, "complex64"), np.asarray(x, "complex64"))
    back = jax.dlpack.from_dlpack(Exporter(x))
    assert back.dtype == x.dtype
    np.testing.assert_array_equal(np.asarray(back, "complex64"), np.asarray(x, "complex64"))


class Exporter:
    """Shows nothing of an array but DLPack's protocol."""

    def __init__(self, x, device=None):
        self.x = x
        self.device = device

    def __dlpack__(self, **settings):
        return self.x.__dlpack__(**settings)

    def __dlpack_device__(self):
        return self.device or self.x.__dlpack_device__()


def test_what_does_not_cross_by_dlpack():
    with pytest.raises(BufferError, match="arrays of dtype int4 are not exchanged"):
        pnp.zeros(2, "int4").__dlpack__()
    with pytest.raises(BufferError, match="bfloat16 cross as a copy"):
        pnp.zeros(2, "bfloat16").__dlpack__(copy=False)
    with pytest.raises(BufferError, match="a device of DLPack's type 2, not on the CPU"):
        pnp.from_dlpack(Exporter(X, (2, 0)))
    with pytest.raises(TypeError, match="an object with __dlpack__, got list"):
        pnp.from_dlpack([1, 2])


class WithoutNumPyForm(Exporter):
    """As PyTorch's bfloat16 tensors."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Got unsupported ScalarType BFloat16")


def test_what_has_no_numpy_form_is_read_by_dlpack():
    got = pnp.asarray(WithoutNumPyForm(pnp.ones(2, "bfloat16")))
    assert (got.dtype, got.tolist()) == (pnp.bfloat16, [1, 1])


def test_a_tensor_without_elements_crosses():
    got = pnp.from_dlpack(Exporter(pnp.zeros((0, 2), "bfloat16")))
    assert (got.shape, got.dtype) == ((0, 2), pnp.bfloat16)
