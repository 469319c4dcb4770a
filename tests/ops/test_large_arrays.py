"""Kernels and lowerings that treat large arrays in another way: sines, choices, sums of exponentials, sorts."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._ops import choosing, large_arrays
from pullback._ops.trig import cos_p, sin_p
from pullback._xla import background

N = large_arrays.LARGE
FUNCTIONS = [(lax.sin, np.sin), (lax.cos, np.cos), (lax.tan, np.tan)]


def numbers():
    """Numbers of many sizes, and those next to multiples of pi / 2, where all but the last digits cancel."""
    rng = np.random.default_rng(0)
    spread = rng.uniform(-1, 1, 50_000) * np.exp2(rng.uniform(-30, 20, 50_000))
    near = np.arange(-40_000, 40_000) * (np.pi / 2)
    return np.concatenate([spread, near]).astype("float32")


def within_half_a_unit(got, expected):
    unit = np.spacing(np.abs(expected).astype("float32")).astype("float64")
    assert got.dtype == np.float32
    assert (np.abs(got.astype("float64") - expected) <= 0.500001 * unit).all()


@pytest.mark.parametrize(("ours", "exact"), FUNCTIONS)
def test_rounded_once(ours, exact):
    x = numbers()
    within_half_a_unit(np.asarray(pb.jit(ours)(x)), exact(x.astype("float64")))


@pytest.mark.parametrize(("ufunc", "quarter"), [(np.sin, 0.0), (np.cos, 0.5)])
def test_kernels_of_many_elements_are_rounded_once(ufunc, quarter):
    kernel = large_arrays.by_blocks(ufunc, quarter)
    x = numbers()[:100_000]
    within_half_a_unit(kernel(x), ufunc(x.astype("float64")))
    rows = x.reshape(100, 1000)
    np.testing.assert_array_equal(kernel(rows), kernel(x).reshape(100, 1000))
    # other layouts
    np.testing.assert_array_equal(kernel(rows.T), kernel(rows).T)
    np.testing.assert_array_equal(kernel(x[::-3]), kernel(x)[::-3])


@pytest.mark.parametrize(("ufunc", "quarter"), [(np.sin, 0.0), (np.cos, 0.5)])
def test_kernels_pass_numbers_that_are_huge_or_none_to_numpy(ufunc, quarter):
    passed = []

    def counted(x, **settings):
        passed.append(x.size)
        return ufunc(x, **settings)

    kernel = large_arrays.by_blocks(counted, quarter)
    x = np.full(40_000, -0.0, "float32")
    np.testing.assert_array_equal(np.signbit(kernel(x)), ufunc(x) == 0)
    assert passed == []
    x[[1, 9000, 30_000]] = [np.inf, np.nan, 3e38]
    with np.errstate(invalid="ignore"):
        got, expected = kernel(x), ufunc(x.astype("float64")).astype("float32")
    np.testing.assert_array_equal(got, expected)
    assert sum(passed) == 3 * 8192


@pytest.mark.parametrize(("p", "exact"), [(sin_p, np.sin), (cos_p, np.cos)])
def test_single_numbers_have_the_bits_of_arrays(p, exact):
    edges = np.float32([0.0, -0.0, 1e-38, -1e-42, np.inf, -np.inf, np.nan, 3e38, 2.0**20, 1e10, -1e25])
    x = np.concatenate([edges, numbers()[::97]])
    got = np.float32([p.kernel(one) for one in x])
    with np.errstate(invalid="ignore"):
        expected = exact(x.astype("float64")).astype("float32")
    assert type(p.kernel(x[0])) is np.float32
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got[:2]), np.signbit(expected[:2]))


@pytest.mark.parametrize(("ours", "exact"), FUNCTIONS)
def test_numbers_at_the_edges(ours, exact):
    x = np.zeros(N, "float32")
    edges = [0.0, -0.0, 1e-38, -1e-42, np.inf, -np.inf, np.nan, 3e38, 2.0**20, np.nextafter(2.0**20, 0), 1e10, -1e25]
    x[: len(edges)] = edges
    got = np.asarray(pb.jit(ours)(x))
    with np.errstate(invalid="ignore"):
        expected = exact(x.astype("float64"))
    np.testing.assert_allclose(got, expected, rtol=1.2e-7, atol=0)
    assert (np.signbit(got) == np.signbit(expected))[~np.isnan(expected)].all()
    # the smallest numbers without huge ones beside them
    x[4:12] = 1
    got, expected = np.asarray(pb.jit(ours)(x)), exact(x.astype("float64"))
    np.testing.assert_allclose(got, expected, rtol=1.2e-7, atol=0)
    assert (np.signbit(got) == np.signbit(expected)).all()


@pytest.mark.parametrize("function", [lax.sin, lax.cos, lax.tan])
def test_only_large_arrays_of_float32_take_the_polynomial(function):
    def by_polynomial(shape, dtype):
        text = pb.jit(function).lower(pb.ShapeDtypeStruct(shape, dtype)).as_text()
        return "round_nearest_even" in text

    assert by_polynomial((N,), "float32")
    assert by_polynomial((2, N // 2), "float32")
    assert not by_polynomial((N - 1,), "float32")
    assert not by_polynomial((N,), "float16")


def test_derivatives_and_batches():
    x = np.linspace(-9, 9, N, dtype="float32")
    gradient = pb.jit(pb.grad(lambda x: pnp.sum(pnp.sin(x) * x)))(x)
    wide = x.astype("float64")
    np.testing.assert_allclose(gradient, np.cos(wide) * wide + np.sin(wide), rtol=1e-6, atol=1e-6)
    rows = pb.jit(pb.vmap(pnp.cos))(x.reshape(4, -1))
    within_half_a_unit(np.asarray(rows).ravel(), np.cos(wide))


@pytest.mark.parametrize(("p", "exact"), [(sin_p, np.sin), (cos_p, np.cos)])
def test_eager_calls_pass_to_one_program_for_all_sizes(p, exact, monkeypatch):
    asked = []

    def program_if_worth(*args):
        found = through(*args)
        asked.append(found)
        return found

    block = large_arrays.block_programs.BLOCK
    through = large_arrays.block_programs.program_if_worth
    monkeypatch.setattr(large_arrays.block_programs, "program_if_worth", program_if_worth)
    monkeypatch.setattr(large_arrays, "_A_COMPILATION", 5000)
    pb.clear_caches()
    x = numbers()
    p.kernel(x[:5000])
    p.kernel(x[:5000])
    jobs = [job for job, _ in large_arrays.block_programs.lasting._kept.values() if type(job) is background.Job]
    assert asked == [None, None]
    assert all(job.wait(60) for job in jobs)
    for size in (4096, block - 1, block, block + 1, 3 * block, N + 7, 2 * N - 1):
        within_half_a_unit(p.kernel(x[:size]), exact(x[:size].astype("float64")))
    assert len({id(program) for program in asked[2:]}) == 1
    assert asked[2] is not None
    # other layouts
    rows = x[:60_000].reshape(100, 600)
    np.testing.assert_array_equal(p.kernel(rows), p.kernel(x[:60_000]).reshape(100, 600))
    np.testing.assert_array_equal(p.kernel(rows.T), p.kernel(rows).T)
    np.testing.assert_array_equal(p.kernel(x[:90_000:-3]), p.kernel(x[90_001:])[::-3])
    # the numbers at the edges, and the smallest ones, which the program's arithmetic takes for zero
    edges = np.float32([0.0, -0.0, 1e-38, -1e-42, np.inf, -np.inf, np.nan, 3e38, 2.0**20, 1e10, -1e25])
    got = p.kernel(np.resize(edges, 5500))
    expected = [p.kernel(one) for one in edges]
    np.testing.assert_array_equal(got, np.resize(np.float32(expected), 5500))
    np.testing.assert_array_equal(np.signbit(got[:2]), np.signbit(expected[:2]))
    assert np.float32(1e-40) * np.float32(2) > 0  # the mode of this thread is as it was
    # small arrays and other dtypes are not passed
    asked.clear()
    p.kernel(x[:9])
    p.kernel(np.ones(5000, "float16"))
    p.kernel(x[:0])
    assert not asked


def masks(n):
    """An irregular mask, and regular ones, which are left to NumPy."""
    rng = np.random.default_rng(1)
    return [rng.random(n) > 0.5, np.arange(n) > n // 2, rng.random(n) > 0.999]


def values(dtype, n):
    """Numbers of a dtype with all that has bits of its own: -0, infinities, nan."""
    x = np.resize(np.array([0.0, -0.0, 1.5, -2.0, np.inf, -np.inf, np.nan, 3.0, 7.0]), n)
    with np.errstate(invalid="ignore"):
        return x.astype(dtype)


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", pnp.bfloat16, "complex64", "complex128", "i4", "b1"]
)
@pytest.mark.parametrize("n", [choosing.LARGE, 2 * choosing._BLOCK + 5])
def test_choices_are_those_of_where(dtype, n):
    dtype = np.dtype(dtype)
    x, y = values(dtype, n), values(dtype, n)[::-1].copy()
    for mask in masks(n):
        for a, b in [(x, y), (x, dtype.type(0)), (dtype.type(0), y), (dtype.type(1), y), (x, np.array(0, dtype))]:
            got, expected = choosing.choose(mask, a, b), np.where(mask, a, b)
            assert got.dtype == dtype
            assert got.tobytes() == expected.tobytes()


def test_choices_in_other_layouts():
    n = 2 * choosing.LARGE
    mask, x = masks(n)[0], values("float32", n)
    for shape in [(n // 4, 4), (4, n // 4)]:
        m, a = mask.reshape(shape), x.reshape(shape)
        for args in [
            (m, a, a[::-1]),
            (m.T, a.T, np.float32(0)),
            (m, a[0], a),
            (m[..., ::2], a[..., ::2], np.float32(2)),
        ]:
            assert choosing.choose(*args).tobytes() == np.where(*args).tobytes()


def test_an_irregular_mask_does_not_reach_numpys_loop(monkeypatch):
    irregular, *regular = masks(choosing.LARGE)
    x = values("float32", irregular.size)
    monkeypatch.setattr(np, "where", None)
    choosing.choose(irregular, x, x)
    for mask in regular:
        with pytest.raises(TypeError, match="NoneType"):
            choosing.choose(mask, x, x)


def test_sums_of_exponentials_of_large_arrays():
    x = np.linspace(-80, 80, 4_001, dtype="float32")
    special = [np.inf, -np.inf, np.inf, -np.inf, np.nan, 0.0, -0.0]
    y = np.zeros_like(x)
    x[:7], y[:7] = special, [np.inf, -np.inf, -np.inf, np.inf, 1.0, np.nan, 0.0]
    with np.errstate(invalid="ignore"):
        expected = np.logaddexp(x.astype("float64"), y.astype("float64"))
    np.testing.assert_allclose(pnp.logaddexp(x, y), expected, rtol=4e-7)
    np.testing.assert_allclose(pnp.logaddexp(x[:8], y[:8]), expected[:8], rtol=4e-7)
    np.testing.assert_allclose(pnp.logaddexp(x, np.float32(0))[7:], expected[7:], rtol=4e-7)


@pytest.mark.parametrize("dtype", ["float32", "float16", pnp.bfloat16, "complex64", "int32"])
def test_sorts_keep_the_order_of_the_two_zeros(dtype):
    x = np.random.default_rng(0).integers(-50, 50, (3, 500)).astype(dtype)
    for zeros in (False, True):
        if zeros and np.dtype(dtype).kind != "i":
            x[:, ::7] *= np.array(-0.0, dtype)
        for axis in (0, 1):
            (got,) = [np.asarray(lax.sort(pnp.array(x), axis))]
            key = x.astype("complex64" if dtype == "complex64" else "float64")
            expected = np.take_along_axis(x, np.argsort(key, axis, kind="stable"), axis)
            assert got.tobytes() == expected.tobytes()
