"""Running operations along the last axis of large arrays: their blocks are the lanes of vectors."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback._ops import cumulative, cumulative_lanes

NAMES = ["cumsum", "cumprod", "cummax", "cummin"]
UFUNCS = {"cumsum": np.add, "cumprod": np.multiply, "cummax": np.maximum, "cummin": np.minimum}
# one block more and less than there are blocks in one, blocks of other lengths, several rows
SHAPES = [(64,), (16 * 16,), (16 * 17,), (17 * 23,), (16 * 16 * 17,), (3, 100), (5, 64), (2, 3, 1000)]
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    monkeypatch.setattr(cumulative_lanes, "LARGE", 1)


def compiled(name, x, reverse):
    return np.asarray(pb.jit(lambda x: getattr(cumulative, name)(x, x.ndim - 1, reverse))(x))


def exact(name, x, reverse, dtype):
    ufunc = UFUNCS[name]
    return np.flip(ufunc.accumulate(np.flip(x, -1), -1, dtype), -1) if reverse else ufunc.accumulate(x, -1, dtype)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_floats(name, shape, reverse):
    x = rng.standard_normal(shape).astype("float32")
    x = 1 + x / 100 if name == "cumprod" else x
    got, right = compiled(name, x, reverse), exact(name, x, reverse, "float64")
    # up to 17 roundings in each of 3 levels
    scale = exact("cumsum", np.abs(x), reverse, "float64") if name == "cumsum" else np.abs(right)
    bound = 0 if name in ("cummax", "cummin") else 51 * 2**-24 * scale
    assert (np.abs(got - right) <= bound).all()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "bfloat16", "float16", "bool", "complex64"])
@pytest.mark.parametrize("name", NAMES)
def test_dtypes(name, dtype):
    if dtype == "bool" and name in ("cumsum", "cumprod"):
        return
    x = np.asarray(pnp.asarray(rng.integers(0, 7, (2, 160))).astype(dtype))
    x = x / np.asarray(4).astype(x.dtype) if name == "cumprod" and dtype == "complex64" else x
    for reverse in (False, True):
        got = compiled(name, x, reverse)
        eager = np.asarray(getattr(cumulative, name)(x, 1, reverse))
        assert got.dtype == eager.dtype
        if dtype == "complex64":
            np.testing.assert_allclose(got, eager, rtol=1e-5)
        else:
            np.testing.assert_array_equal(got, eager)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_infinities_and_nan_go_as_far_as_they_do_one_by_one(name, reverse):
    x = np.ones((4, 160), "float32")
    x[0, 40], x[0, 90], x[0, 121] = -np.inf, np.inf, -np.nan
    x[1, 0], x[1, -1] = np.nan, -np.inf
    x[2, 15], x[2, 16], x[2, 17] = 0, np.inf, -0.0
    with np.errstate(invalid="ignore"):
        right = exact(name, x, reverse, "float32")
    np.testing.assert_array_equal(np.isnan(compiled(name, x, reverse)), np.isnan(right))
    np.testing.assert_allclose(compiled(name, x, reverse), right, rtol=1e-6)


@pytest.mark.parametrize(("name", "sign"), [("cummax", -1), ("cummin", 1)])
def test_extremes_keep_signs_of_zeros_and_subnormal_numbers(name, sign):
    x = np.full(160, sign * 0.0, "float32")
    assert (np.signbit(compiled(name, x, False)) == (sign < 0)).all()
    x[70] = -sign * 2.0**-140
    np.testing.assert_array_equal(compiled(name, x, False), exact(name, x, False, "float32"))


def test_values_do_not_depend_on_where_they_are_computed():
    x = rng.standard_normal((3, 320)).astype("float32")
    for name in NAMES:
        f = getattr(cumulative, name)
        plain = np.stack([compiled(name, row, False) for row in x])
        np.testing.assert_array_equal(pb.jit(pb.vmap(f))(x), plain)
        np.testing.assert_array_equal(pb.jit(pb.lax.map, static_argnums=0)(f, x), plain)


def test_gradients():
    x, w = rng.standard_normal((2, 3, 160)).astype("float32")

    def weighted(x):
        return (cumulative.cumsum(x, 1) * w).sum()

    def extreme(x):
        return cumulative.cummax(x, 1)

    grad = pb.jit(pb.grad(weighted))(x)
    np.testing.assert_allclose(grad, exact("cumsum", w, True, "float64"), rtol=1e-5, atol=1e-5)
    _, tangent = pb.jit(lambda x, w: pb.jvp(extreme, (x,), (w,)))(x, w)
    places = np.maximum.accumulate(np.where(x == np.maximum.accumulate(x, 1), np.arange(160), 0), 1)
    np.testing.assert_array_equal(tangent, np.take_along_axis(w, places, 1))


def test_which_arrays_are_treated_so(monkeypatch):
    monkeypatch.setattr(cumulative_lanes, "LARGE", 100_000)

    def calls(name, shape, dtype="float32", axis=-1):
        f = lambda x: getattr(cumulative, name)(x, axis % len(shape))  # noqa: E731
        return pb.jit(f).lower(pb.ShapeDtypeStruct(shape, dtype)).as_text().count(f"func private @{name}")

    assert calls("cumsum", (4_000_000,)) == 2  # the totals of 250,000 blocks, too
    assert calls("cummax", (1000, 1000)) == 1
    assert calls("cumsum", (100_000,), "int32") == 1
    assert calls("cumsum", (99_840,)) == 0
    assert calls("cumsum", (100_003,)) == 0  # a prime number
    assert calls("cumsum", (4000, 48)) == 0
    assert calls("cumsum", (1000, 1000), axis=0) == 0
    assert calls("cumsum", (100_000,), "complex64") == 0
    assert calls("cumlogsumexp", (100_000,)) == 0
