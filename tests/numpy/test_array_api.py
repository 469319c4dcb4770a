"""The array API standard, 2024.12: its names are here, and its functions give NumPy's results, which follows it too.

`make test-array-api` runs the standard's own suite; this is what can be checked without it.
"""

import operator

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.array_api import make_strategies_namespace

import pullback as pb
import pullback.numpy as pnp

NAMES = """
__array_api_version__ __array_namespace_info__ abs acos acosh add all any arange argmax argmin argsort asarray asin
asinh astype atan atan2 atanh bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor
bool broadcast_arrays broadcast_to can_cast ceil clip complex128 complex64 concat conj copysign cos cosh count_nonzero
cumulative_prod cumulative_sum diff divide e empty empty_like equal exp expand_dims expm1 eye finfo flip float32
float64 floor floor_divide from_dlpack full full_like greater greater_equal hypot iinfo imag inf int16 int32 int64
int8 isdtype isfinite isinf isnan less less_equal linspace log log10 log1p log2 logaddexp logical_and logical_not
logical_or logical_xor matmul matrix_transpose max maximum mean meshgrid min minimum moveaxis multiply nan negative
newaxis nextafter nonzero not_equal ones ones_like permute_dims pi positive pow prod real reciprocal remainder repeat
reshape result_type roll round searchsorted sign signbit sin sinh sort sqrt square squeeze stack std subtract sum take
take_along_axis tan tanh tensordot tile tril triu trunc uint16 uint32 uint64 uint8 unique_all unique_counts
unique_inverse unique_values unstack var vecdot where zeros zeros_like
""".split()
LINALG = """
cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank matrix_transpose outer pinv
qr slogdet solve svd svdvals tensordot trace vecdot vector_norm
""".split()
FFT = "fft fftfreq fftn fftshift hfft ifft ifftn ifftshift ihfft irfft irfftn rfft rfftfreq rfftn".split()
OF_ARRAYS = """
__abs__ __add__ __and__ __array_namespace__ __bool__ __complex__ __dlpack__ __dlpack_device__ __eq__ __float__
__floordiv__ __ge__ __getitem__ __gt__ __index__ __int__ __invert__ __le__ __lshift__ __lt__ __matmul__ __mod__
__mul__ __ne__ __neg__ __or__ __pos__ __pow__ __radd__ __rand__ __rfloordiv__ __rlshift__ __rmatmul__ __rmod__
__rmul__ __ror__ __rpow__ __rrshift__ __rshift__ __rsub__ __rtruediv__ __rxor__ __sub__ __truediv__ __xor__ T device
dtype mT ndim shape size to_device
""".split()

FLOATS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, 1e30, -1e30, 1e-30, np.pi, np.inf, -np.inf, np.nan]

UNARY = """
abs acos acosh asin asinh atan atanh bitwise_invert ceil cos cosh exp expm1 floor isfinite isinf isnan log log10 log1p
log2 logical_not negative positive reciprocal round sign signbit sin sinh sqrt square tan tanh trunc
""".split()
BINARY = """
add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide equal floor_divide
greater greater_equal hypot less less_equal logaddexp logical_and logical_or logical_xor maximum minimum multiply
nextafter not_equal pow remainder subtract
""".split()
# the sign of a zero is JAX's, which differs from the standard where the quotient or the remainder vanishes
JAX_ZEROS = {"floor_divide", "remainder"}
# the standard leaves the dtype open where NumPy widens or refuses: integers, of which a floating function is taken
FLOATING_ONLY = set(
    """
    acos acosh asin asinh atan atanh cos cosh exp expm1 log log10 log1p log2 reciprocal sin sinh sqrt tan tanh atan2
    copysign divide hypot logaddexp nextafter signbit
    """.split()
)
INTEGERS_ONLY = {name for name in UNARY + BINARY if name.startswith("bitwise")}


@pytest.fixture(autouse=True)
def _wide():
    with pb.enable_x64(True), np.errstate(all="ignore"):
        yield


def test_every_name_is_there():
    missing = [name for name in NAMES if not hasattr(pnp, name)]
    missing += [f"linalg.{name}" for name in LINALG if not hasattr(pnp.linalg, name)]
    missing += [f"fft.{name}" for name in FFT if not hasattr(pnp.fft, name)]
    missing += [f"array.{name}" for name in OF_ARRAYS if not hasattr(pnp.ones((1, 1)), name)]
    assert not missing


def data(dtype):
    if dtype in FLOATS:
        return np.array(SPECIAL, dtype)
    if dtype == "bool":
        return np.array([True, False])
    info = np.iinfo(dtype)
    return np.array([0, 1, 2, 3, 5, 7, 100, info.max] + ([-1, -2, -7, info.min] if info.min < 0 else []), dtype)


def check(got, expected, signs=True):
    """Equal dtypes and shapes; equal values up to the rounding of elementary functions; equal signs of zeros."""
    got = np.asarray(got)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    if got.dtype.kind in "biu":
        np.testing.assert_array_equal(got, expected)
        return
    # a few units in the last place, in which two correct implementations may differ
    np.testing.assert_allclose(got, expected, rtol=16 * np.finfo(got.dtype).eps, atol=0)
    if signs and got.dtype.kind == "f":
        zeros = (got == 0) & (expected == 0)
        np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(expected[zeros]))


def domain(name):
    if name in INTEGERS_ONLY:
        return INTEGERS + ([] if "shift" in name else ["bool"])
    return FLOATS if name in FLOATING_ONLY else FLOATS + INTEGERS


@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in UNARY for dtype in domain(name)])
def test_functions_of_one_array(name, dtype):
    if name == "logical_not":
        dtype = "bool"
    x = data(dtype)
    check(getattr(pnp, name)(pnp.asarray(x)), getattr(np, name)(x))


@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in BINARY for dtype in domain(name)])
def test_functions_of_two_arrays(name, dtype):
    if name.startswith("logical"):
        dtype = "bool"
    x = data(dtype)
    x, y = np.repeat(x, len(x)), np.tile(x, len(x))
    if dtype in INTEGERS and ("shift" in name or name == "pow"):
        y = np.clip(y, 0, 7)  # what a negative or a larger one means is left open
    if dtype in INTEGERS and name in ("floor_divide", "remainder"):
        y = np.where(y == 0, y.dtype.type(1), y)
    check(getattr(pnp, name)(pnp.asarray(x), pnp.asarray(y)), getattr(np, name)(x, y), name not in JAX_ZEROS)


# What the standard has otherwise. Signs of zeros are JAX's alone; with infinities NumPy's too, but for the last sign.
QUOTIENTS_OF_JAX = [
    (-0.0, 1.0, 0.0),
    (-0.0, -1.0, -0.0),
    (np.inf, 2.5, np.nan),
    (np.inf, -1.0, np.nan),
    (-np.inf, 1.0, np.nan),
    (1.0, -np.inf, -1.0),
    (-1.0, np.inf, -1.0),
    (-1.0, -np.inf, -0.0),
]
REMAINDERS_OF_JAX = [(-0.0, 1.0, -0.0), (0.0, -1.0, 0.0)]


@pytest.mark.parametrize("run", [lambda f: f, pb.jit], ids=["eager", "jit"])
@pytest.mark.parametrize(("name", "expected"), [("floor_divide", QUOTIENTS_OF_JAX), ("remainder", REMAINDERS_OF_JAX)])
def test_special_quotients_are_those_of_jax(name, expected, run):
    x, y, quotients = np.array(expected, np.float32).T
    got = np.asarray(run(getattr(pnp, name))(pnp.asarray(x), pnp.asarray(y)))
    for found in (got, np.asarray(getattr(jnp, name)(x, y))):
        assert str(found.tolist()) == str(quotients.tolist())  # str tells the signs of zeros apart


@pytest.mark.parametrize(
    ("name", "axis"), [("expand_dims", 2), ("expand_dims", -3), ("squeeze", 1), ("sum", 1), ("flip", -2)]
)
@pytest.mark.parametrize("of", [IndexError, ValueError])
def test_an_axis_that_is_not_there_is_an_error_of_indices_and_of_values(name, axis, of):
    # the standard wants IndexError of expand_dims, JAX raises ValueError: NumPy's error is both
    with pytest.raises(of, match=f"{name}: axis {axis} is out of bounds"):
        getattr(pnp, name)(pnp.ones(1), axis=axis)
    with pytest.raises(of, match="out of bounds"):
        pb.jit(getattr(pnp, name), static_argnames="axis")(pnp.ones(1), axis=axis)


# --- arrays of any shape and dtype ---

with pb.enable_x64(True):
    xps = make_strategies_namespace(pnp, api_version="2024.12")
ARRAYS = xps.arrays(dtype=xps.real_dtypes(), shape=xps.array_shapes(min_dims=1, max_dims=3, max_side=4))
PER_TEST = settings(max_examples=40, deadline=None)


def exactly(got, expected):
    got = np.asarray(got)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(got, expected)


MOVED = {
    "flip": lambda xp, x: xp.flip(x),
    "roll": lambda xp, x: xp.roll(x, 3),
    "roll_axis": lambda xp, x: xp.roll(x, -1, axis=0),
    "reshape": lambda xp, x: xp.reshape(x, (-1,)),
    "permute_dims": lambda xp, x: xp.permute_dims(x, tuple(range(x.ndim))[::-1]),
    "expand_dims": lambda xp, x: xp.expand_dims(x, axis=-1),
    "moveaxis": lambda xp, x: xp.moveaxis(x, 0, -1),
    "stack": lambda xp, x: xp.stack([x, x], axis=-1),
    "concat": lambda xp, x: xp.concat([x, x], axis=None),
    "tile": lambda xp, x: xp.tile(x, (2, 1)),
    "repeat": lambda xp, x: xp.repeat(x, 2, axis=0),
    "unstack": lambda xp, x: xp.unstack(x)[0],
    "take": lambda xp, x: xp.take(x, xp.asarray([0, 0]), axis=0),
    "broadcast_to": lambda xp, x: xp.broadcast_to(x, (2, *x.shape)),
    "tril": lambda xp, x: xp.tril(xp.stack([x, x])),
    "sort": lambda xp, x: xp.sort(x, axis=0),
    "argsort": lambda xp, x: xp.argsort(x, axis=0, stable=True),
    "argmax": lambda xp, x: xp.argmax(x, axis=0, keepdims=True),
    "max": lambda xp, x: xp.max(x, axis=-1),
    "any": lambda xp, x: xp.any(x, axis=-1, keepdims=True),
    "count_nonzero": lambda xp, x: xp.count_nonzero(x, axis=0),
    "where": lambda xp, x: xp.where(x == x, x, xp.zeros_like(x)),
    "ellipsis": lambda xp, x: x[..., None, ::-1],
    "mask": lambda xp, x: x[x == x],
    "unique": lambda xp, x: xp.unique_counts(xp.where(x == x, x, xp.zeros_like(x)))[1],
    "cast": lambda xp, x: xp.astype(xp.isfinite(x), xp.int8),
}


@pytest.mark.parametrize("name", MOVED)
@PER_TEST
@given(x=ARRAYS)
def test_entries_are_moved_as_numpy_moves_them(name, x):
    exactly(MOVED[name](pnp, x), MOVED[name](np, np.asarray(x)))


SMALL = xps.arrays(
    dtype=xps.real_dtypes(), shape=xps.array_shapes(max_dims=3, max_side=4), elements={"min_value": 0, "max_value": 9}
)
SUMMED = {
    "sum": lambda xp, x: xp.sum(x, axis=0),
    "sum_as": lambda xp, x: xp.sum(x, dtype=xp.float64),
    "prod": lambda xp, x: xp.prod(x, axis=-1, keepdims=True),
    "cumulative_sum": lambda xp, x: xp.cumulative_sum(x, axis=0, include_initial=True),
    # without a dtype, JAX keeps narrow integers here, and the standard does not
    "cumulative_prod": lambda xp, x: xp.cumulative_prod(x, axis=0, dtype=xp.float64),
    "diff": lambda xp, x: xp.diff(x, axis=0),
    "vecdot": lambda xp, x: xp.vecdot(x, x),
    "tensordot": lambda xp, x: xp.tensordot(x, x, axes=x.ndim),
}


@pytest.mark.parametrize("name", SUMMED)
@PER_TEST
@given(x=SMALL)
def test_sums_have_numpy_s_dtypes_and_values(name, x):
    expected = SUMMED[name](np, np.asarray(x))
    got = np.asarray(SUMMED[name](pnp, x))
    assert (got.dtype, got.shape) == (np.asarray(expected).dtype, np.shape(expected))
    # at most 64 terms or factors, each rounded once
    tolerance = 64 * np.finfo(got.dtype).eps if got.dtype.kind == "f" else 0
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=0)


@PER_TEST
@given(x=SMALL, y=st.integers(0, 5))
def test_python_numbers_take_the_dtype_of_the_array(x, y):
    for operation in (operator.add, operator.mul, operator.sub, operator.ge):
        assert operation(x, y).dtype == operation(np.asarray(x), y).dtype
        assert operation(y, x).dtype == operation(y, np.asarray(x)).dtype
