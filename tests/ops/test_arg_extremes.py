"""argmax and argmin: one way for short axes, one for rows, one for others, with the same results."""

import ml_dtypes
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._ops import by_size

DTYPES = "bool int8 uint8 int32 uint32 int64 uint64 float16 bfloat16 float32 float64".split()
SHORT, ROWS, COLUMNS = ((300, 9), 1), ((30, 100), 1), ((100, 30), 0)
FUNCTIONS = [(pnp.argmax, np.argmax), (pnp.argmin, np.argmin)]


def with_ties(shape, dtype):
    """Few different values, with zeros of both signs, infinities and nan in some of the rows and columns."""
    rng = np.random.default_rng(0)
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    x = rng.integers(-3 if dtype.kind in "fV" else 0, 3, shape).astype(dtype)
    if dtype.kind in "iu":
        x[3, 3], x[4, 4] = np.iinfo(dtype).min, np.iinfo(dtype).max
    if dtype.kind in "fV":
        x[:, 0] *= 0
        x[1:6, 1:6] = np.diag([np.inf, -np.inf, np.nan, -np.nan, -0.0])
        x[7, 5:8] = np.nan
        x[8] = -np.inf
        x[9] = np.abs(x[9]) * -0.0
    return x


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), [SHORT, ROWS, COLUMNS])
def test_the_first_of_equal_elements(dtype, shape, axis):
    with pb.enable_x64():
        x = with_ties(shape, dtype)
        wide = x.astype("float32") if dtype == "bfloat16" else x
        for ours, exact in FUNCTIONS:
            for run in (ours, pb.jit(ours, static_argnums=1)):
                got = run(pnp.asarray(x), axis)
                assert got.dtype == np.int64
                np.testing.assert_array_equal(got, exact(wide, axis))


def ways(shape, axis, wrapped=None):
    """How many calls of routines, and how many reductions, the program has."""

    def fun(x):
        return pnp.argmax(x, axis)

    text = pb.jit(wrapped(fun) if wrapped else fun).lower(pb.ShapeDtypeStruct(shape, "float32")).as_text()
    return text.count("pullback_kernel"), text.count('"stablehlo.reduce"')


def test_which_way():
    assert ways(*SHORT) == (0, 1)
    assert ways(*ROWS) == (1, 0)
    assert ways(*COLUMNS) == (0, 2)
    assert ways((5, 100), 1) == (0, 2)  # too little for a call
    assert ways((by_size.HOST,), None) == (1, 0)
    assert ways((20, 30, 100), 0, pb.vmap) == (0, 2)
    assert ways((20, 30, 100), 1, pb.vmap) == (1, 0)

    def looped(fun):
        def run(x):
            return lax.fori_loop(0, 3, lambda i, n: n + fun(x), np.zeros(x.shape[0], "int32"))

        return run

    assert ways(*ROWS, looped) == (0, 2)
    assert ways((400, 100), 1, looped) == (1, 0)


def test_subnormal_numbers_are_told_apart():
    x = np.array([[1e-40, 2e-40] * 20], "float32")
    assert pb.jit(pnp.argmax)(x) == 1
    assert pb.jit(lambda x: pnp.argmin(-x.T, 0))(x) == 1


def test_results_of_the_dtype_asked_for():
    x = np.zeros((2, 100, 3), "float32")
    x[:, 70] = 1
    for axis in (1, 2):
        got = pb.jit(lax.argmax, static_argnums=(1, 2))(x, axis, "uint8")
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, np.argmax(x, axis))
