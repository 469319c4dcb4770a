"""Compiled functions of large arrays of float32 that are polynomials in place of calls of the C library."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from scipy import special

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._ops import large_arrays

N = large_arrays.LARGE


def reciprocal_root(x):
    return 1 / np.sqrt(x)


def inverse_error_function(x):
    return np.copysign(special.erfinv(x), x)


# ours, in float64, what the small program has in its text, the largest error in units in the last place
ONE = {
    "atan": (lax.atan, np.arctan, "chlo.atan", 1.5),
    "asin": (lax.asin, np.arcsin, "chlo.asin", 2.5),
    "acos": (lax.acos, np.arccos, "chlo.acos", 1.5),
    "sinh": (lax.sinh, np.sinh, "chlo.sinh", 2.5),
    "cosh": (lax.cosh, np.cosh, "chlo.cosh", 2.5),
    "asinh": (lax.asinh, np.arcsinh, "chlo.asinh", 3),
    "acosh": (lax.acosh, np.arccosh, "chlo.acosh", 3),
    "atanh": (lax.atanh, np.arctanh, "chlo.atanh", 2),
    "cbrt": (lax.cbrt, np.cbrt, "stablehlo.cbrt", 0.6),
    # the quotient is the processor's estimate and a step: 1.54 units by Intel's, 1.84 by AMD's
    "rsqrt": (lax.rsqrt, reciprocal_root, "stablehlo.rsqrt", 2),
    "erf_inv": (lax.erf_inv, inverse_error_function, "chlo.erf_inv", 4),
}
EDGES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.0,
    -2.0,
    0.5,
    -0.5,
    np.inf,
    -np.inf,
    np.nan,
    3e38,
    -3e38,
    1.2e-38,
    -1.2e-38,
    88.9,
    -89.3,
]


def numbers(n=4 * N):
    """Normal numbers of all sizes, half of them not far from 1, and those at the edges."""
    rng = np.random.default_rng(0)
    spread = np.concatenate([np.exp2(rng.uniform(-126, 127.9, n // 2)), np.exp2(rng.uniform(-3, 7, n // 2))])
    x = (spread * rng.choice([-1.0, 1.0], n)).astype("float32")
    rng.shuffle(x)
    x[: len(EDGES)] = EDGES
    return x


def exactly(function, *xs):
    with np.errstate(all="ignore"):
        return function(*[x.astype("float64") for x in xs])


def check_units(got, exact, units):
    """Within `units` in the last place, infinities and nan the same, zeros with their sign, subnormal results or 0."""
    got = np.asarray(got)
    assert got.dtype == np.float32
    with np.errstate(all="ignore"):
        rounded = exact.astype("float32")
        unit = np.spacing(np.abs(rounded)).astype("float64")
        near = np.abs(got - exact) <= units * unit
    subnormal = (np.abs(exact) < 2.0**-126) & (np.abs(got) <= 2.0**-126)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    wrong = ~(near | subnormal | same)
    assert not wrong.any(), (got[wrong][:5], exact[wrong][:5])
    signed = ~np.isnan(exact)
    np.testing.assert_array_equal(np.signbit(got)[signed], np.signbit(exact)[signed])


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_number(name):
    ours, exact, _, units = ONE[name]
    x = numbers()
    if name in ("asin", "acos", "atanh", "erf_inv"):
        x[100:] = np.where(np.abs(x[100:]) > 1, 1 / x[100:], x[100:])
    if name == "acosh":
        x[100:] = 1 + np.abs(x[100:])
    check_units(pb.jit(ours)(x), exactly(exact, x), units)


def pairs():
    """Pairs whose quotients have all sizes, every pair of edges among them."""
    rng = np.random.default_rng(1)
    edges = np.array(EDGES, "float32")
    x = numbers()
    with np.errstate(over="ignore", invalid="ignore"):
        y = x * np.exp2(rng.uniform(-20, 20, x.size)).astype("float32")
    y[::9] = x[::9]
    y = np.where(np.abs(y) < 2.0**-126, np.float32(1), y)
    x[: edges.size**2], y[: edges.size**2] = np.repeat(edges, edges.size), np.tile(edges, edges.size)
    return x, y


def test_angles_of_points():
    y, x = pairs()
    check_units(pb.jit(lax.atan2)(y, x), exactly(np.arctan2, y, x), 1.7)


def test_powers():
    rng = np.random.default_rng(5)
    x, y = pairs()
    # results of all sizes: half of the exponents go with the logarithm of the base
    start = len(EDGES) ** 2
    with np.errstate(all="ignore"):
        fitting = rng.uniform(-150, 150, x.size) / np.log2(np.abs(x).astype("float64"))
    y[start::2] = np.where(np.isfinite(fitting), fitting, 1)[start::2]
    whole = rng.choice(x.size, 5000)
    y[whole] = np.rint(y[whole] / 2)
    keep = (np.abs(x) >= 2.0**-126) | (x == 0) | np.isnan(x)
    x, y = np.where(keep, x, np.float32(3)), y.astype("float32")
    exact = exactly(np.power, x, y)
    check_units(pb.jit(lax.pow)(x, y), exact, 0.56)


def test_powers_are_not_left_to_the_compiler():
    x = pb.ShapeDtypeStruct((N,), "float32")
    assert "stablehlo.power" not in pb.jit(lambda x: x**2.5).lower(x).as_text()
    assert "stablehlo.power" in pb.jit(lambda x: x**2.5).lower(pb.ShapeDtypeStruct((9,), "float32")).as_text()
    assert "stablehlo.power" not in pb.jit(pnp.power).lower(x, x).as_text()


@pytest.mark.parametrize("shape", [(4 * N,), (4 * N // 128, 128)])
def test_powers_of_two(shape):
    x = np.random.default_rng(6).uniform(-127, 129, shape).astype("float32")
    x.flat[: len(EDGES)] = EDGES
    x.flat[100:1000] = np.arange(-450, 450)
    check_units(pb.jit(pnp.exp2)(x), exactly(np.exp2, x), 1)
    text = pb.jit(pnp.exp2).lower(pb.ShapeDtypeStruct((9,), "float32")).as_text()
    assert "exponential" not in text
    x = np.linspace(-20, 15.9, 1000).astype("float16")
    expected = exactly(np.exp2, x)
    np.testing.assert_allclose(pb.jit(pnp.exp2)(x), expected, rtol=2.0**-11, atol=6.2e-5)


def test_logarithms_of_sums():
    x, y = pairs()
    x, y = np.where(np.abs(x) > 1e30, np.sign(x) * 30, x), np.where(np.abs(y) > 1e30, np.sign(y) * 3, y)
    edges = np.array(EDGES, "float32")
    x[: edges.size**2], y[: edges.size**2] = np.repeat(edges, edges.size), np.tile(edges, edges.size)
    for function, exact, rate in [(pnp.logaddexp, np.logaddexp, 1), (pnp.logaddexp2, np.logaddexp2, np.log(2))]:
        expected = exactly(exact, x, y)
        got = np.asarray(pb.jit(function)(x, y))
        known = np.isfinite(expected)
        np.testing.assert_array_equal(got[~known], expected[~known])
        # next to the zeros the terms cancel, and the exponential knows the difference to its last digit
        got, expected, a, b = (v[known].astype("float64") for v in (got, expected, x, y))
        gap = np.minimum(np.abs(a - b), 1000)
        scale = np.maximum(np.abs(expected), np.abs(np.maximum(a, b))) + gap * np.exp(-gap * rate)
        assert (np.abs(got - expected) <= 5 * 2.0**-24 * scale + 2.0**-126).all()
        text = pb.jit(function).lower(*[pb.ShapeDtypeStruct((9,), "float32")] * 2).as_text()
        assert "log_plus_one" not in text


@pytest.mark.parametrize("name", ONE)
def test_only_large_arrays_of_float32(name):
    function, _, own, _ = ONE[name]

    def has_own(shape, dtype):
        return own in pb.jit(function).lower(pb.ShapeDtypeStruct(shape, dtype)).as_text()

    assert not has_own((N,), "float32")
    assert not has_own((2, N // 2), "float32")
    assert has_own((N - 1,), "float32")
    assert has_own((N,), "float16")


def test_no_angle_is_left_to_the_compiler():
    x = pb.ShapeDtypeStruct((N,), "float32")
    assert "atan2" not in pb.jit(pnp.arctan2).lower(x, x).as_text()
    # nor is one of a batch
    rows = pb.ShapeDtypeStruct((N // 4, 4), "float32")
    assert "atan2" not in pb.jit(pb.vmap(pnp.arctan2)).lower(rows, rows).as_text()


def test_slopes_of_angles_are_rounded_once():
    y, x = pairs()
    small = np.hypot(x.astype("float64"), y.astype("float64")) < 2.0**-126
    y, x = (np.where(small | ~np.isfinite(x) | ~np.isfinite(y), np.float32(1), v) for v in (y, x))
    slopes = pb.jit(pb.grad(lambda y, x: pnp.sum(pnp.arctan2(y, x)), (0, 1)))(y, x)
    b, a = y.astype("float64"), x.astype("float64")
    for got, exact in zip(slopes, [a / (a * a + b * b), -b / (a * a + b * b)], strict=True):
        np.testing.assert_allclose(got, exact, rtol=2.0**-23, atol=2.0**-126)


def test_subnormal_points_have_the_angle_of_zero():
    x = np.full(N, 1e-40, "float32")
    assert set(np.asarray(pb.jit(lax.atan2)(x, x))) == {0.0}
    np.testing.assert_array_equal(np.asarray(pb.jit(lax.atan2)(-x, -x)), np.float32(-np.pi))


def test_remainders_are_exact():
    x, y = pairs()
    got, expected = np.asarray(pb.jit(lax.rem)(x, y)), exactly(np.fmod, x, y).astype("float32")
    small = np.abs(expected) < 2.0**-126
    np.testing.assert_array_equal(np.where(small, 0, got), np.where(small, 0, expected))
    signed = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got)[signed], np.signbit(expected)[signed])


def test_remainders_of_moderate_quotients_are_not_left_to_the_compiler():
    text = pb.jit(lax.rem).lower(*[pb.ShapeDtypeStruct((N,), "float32")] * 2).as_text()
    # it stands in one branch of two
    assert text.count("stablehlo.remainder") == 1
    assert "stablehlo.case" in text
    rng = np.random.default_rng(2)
    x = rng.integers(2**23, 2**24, N).astype("float32") * np.float32(2.0**27)
    y = rng.integers(2**23, 2**24, N).astype("float32")
    np.testing.assert_array_equal(pb.jit(lax.rem)(x, y), np.fmod(x, y))


def exact_floor(x, y):
    return np.array([floor(Fraction(float(a)) / Fraction(float(b))) for a, b in zip(x, y, strict=True)], dtype=object)


@pytest.mark.parametrize("dtype", ["float32", "float16", pnp.bfloat16])
def test_floors_of_quotients_are_exact(dtype):
    rng = np.random.default_rng(3)
    y = (rng.standard_normal(4000) * np.exp2(rng.uniform(-6, 6, 4000))).astype(dtype)
    y = np.where(y == 0, np.ones_like(y), y)
    whole = np.rint(np.exp2(rng.uniform(0, 12, 4000))).astype(dtype)
    # next to whole multiples, on both sides of them
    with np.errstate(over="ignore"):
        x = whole * y
        x = np.concatenate([x, np.nextafter(x, np.inf, dtype=dtype) if dtype == "float32" else x * 3, -x, y])
    y = np.resize(y, x.size)
    keep = np.isfinite(x)
    x, y = x[keep], y[keep]
    expected = exact_floor(x, y).astype("float64").astype(dtype)
    for function in (pnp.floor_divide, pb.jit(pnp.floor_divide)):
        np.testing.assert_array_equal(np.asarray(function(x, y)), expected)


def test_floors_of_huge_quotients_are_rounded_once():
    rng = np.random.default_rng(4)
    x = (rng.standard_normal(3000) * np.exp2(rng.uniform(20, 120, 3000))).astype("float32")
    y = (rng.standard_normal(3000) * np.exp2(rng.uniform(-60, 20, 3000))).astype("float32")
    expected = np.array([float(q) if abs(q) < 2**128 else np.inf * q for q in exact_floor(x, y)])
    with np.errstate(over="ignore"):
        expected = expected.astype("float32")
    for function in (pnp.floor_divide, pb.jit(pnp.floor_divide)):
        np.testing.assert_array_max_ulp(np.asarray(function(x, y)), expected, 0)


def test_floors_of_quotients_need_no_remainder():
    x = pb.ShapeDtypeStruct((8,), "float32")
    assert "remainder" not in pb.jit(pnp.floor_divide).lower(x, x).as_text()
    x = np.linspace(-9, 9, 8, dtype="float32")
    for of in (0, 1):
        slope = pb.grad(lambda *xy: pnp.sum(pnp.floor_divide(*xy)), of)(x, x + 0.3)
        np.testing.assert_array_equal(slope, 0)


def test_the_derivative_of_a_reciprocal_root_is_in_range():
    x = np.exp2(np.linspace(-83, 83, N)).astype("float32")
    with np.errstate(over="ignore"):
        expected = -0.5 * x.astype("float64") ** -1.5
    slope = np.asarray(pb.jit(pb.vmap(pb.grad(lax.rsqrt)))(x))
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["atan", "asin", "sinh", "asinh", "cbrt", "erf_inv"])
def test_derivatives_and_loops(name):
    function, _, _, units = ONE[name]
    x = np.linspace(-0.9, 0.9, N, dtype="float32")
    small = np.concatenate([pb.jit(pb.vmap(pb.grad(function)))(part) for part in np.split(x, 4)])
    large = pb.jit(pb.grad(lambda x: pnp.sum(function(x))))(x)
    np.testing.assert_allclose(large, small, rtol=1e-6)

    def step(carry, x):
        return carry, pb.jit(function)(x)

    rows = x.reshape(2, -1)
    again = np.asarray(pb.jit(lambda rows: lax.scan(step, 0.0, rows)[1])(np.concatenate([rows, rows], 1))).ravel()
    exact = exactly(ONE[name][1], np.concatenate([rows, rows], 1).ravel())
    check_units(again, exact, units)
