"""Exponential, sine, Fresnel integrals and others of scipy.special: values and derivatives against mpmath; edges."""

import mpmath as mp
import numpy as np
import pytest
import scipy.special
from agreement import close
from exact import DTYPES, check, derivative
from refusals import raises

import pullback as pb
from pullback.scipy import special

RNG = np.random.default_rng(0)
WIDE = np.concatenate([np.logspace(-20, 1.9, 25), RNG.uniform(0, 8, 12)])
SIGNED = np.concatenate([WIDE, -WIDE])


def dawson(x):
    return mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x)


def erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


def spence(x):
    return mp.polylog(2, 1 - x).real


def sine(x):
    return special.sici(x)[0]


def cosine(x):
    return special.sici(x)[1]


def fresnel_s(x):
    return special.fresnel(x)[0]


def fresnel_c(x):
    return special.fresnel(x)[1]


FUNCTIONS = {
    "exp1": (special.exp1, mp.e1, WIDE),
    "expi": (special.expi, mp.ei, SIGNED),
    "si": (sine, mp.si, SIGNED),
    "ci": (cosine, mp.ci, WIDE),
    "fresnel s": (fresnel_s, mp.fresnels, np.concatenate([np.logspace(-9, 2, 25), RNG.uniform(-4, 4, 20)])),
    "fresnel c": (fresnel_c, mp.fresnelc, SIGNED),
    "dawsn": (special.dawsn, dawson, SIGNED),
    "spence": (special.spence, spence, np.concatenate([WIDE, [1.0, 0.5, 2.0, 0.999, 1.001]])),
    "erfcx": (special.erfcx, erfcx, np.concatenate([WIDE, -RNG.uniform(0, 8, 12)])),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values(name, dtype):
    function, reference, points = FUNCTIONS[name]
    check(function, reference, (points,), dtype, 32)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives(name):
    function, reference, points = FUNCTIONS[name]
    points = points[abs(points) < 50][::3]

    def slope(x):
        return mp.diff(reference, x)

    def bend(x):
        return mp.diff(reference, x, 2)

    check(derivative(function), slope, (points,), "float64", 64)
    check(derivative(function, 2), bend, (points[abs(points) > 1e-8],), "float64", 256)


def following(order, value, first, x, sign):
    """The derivative of a solution of f' = constant + 2 sign x f, from f and f'."""
    before = value
    for n in range(1, order):
        before, first = first, 2 * sign * (x * first + n * before)
    return first


def dawson_of_order(order):
    return lambda x: following(order, dawson(x), 1 - 2 * x * dawson(x), x, -1)


def erfcx_of_order(order):
    return lambda x: following(order, erfcx(x), 2 * x * erfcx(x) - 2 / mp.sqrt(mp.pi), x, 1)


def exp1_second(x):
    return mp.exp(-x) / x * (1 + 1 / x)


MIDDLE = np.concatenate([RNG.uniform(0.3, 12, 60), [0.5, 1.5019753, 18.730477836996073, 3.872957440739497, 6.5, 6.51]])
FAR = np.array([1e2, 3e3, 9.99e4, 1.01e5, 1e6])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_by_sums_of_their_own(order, dtype):
    points = np.concatenate([-MIDDLE, MIDDLE, FAR])
    with mp.workdps(120):
        check(derivative(special.dawsn, order), dawson_of_order(order), (points,), dtype, 16)
        if order < 3:  # beyond, they come from the recurrence
            points = points[points > -5]
            check(derivative(special.erfcx, order), erfcx_of_order(order), (points,), dtype, 16)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [3, 4, 6])
def test_further_derivatives_of_the_scaled_erfc(order, dtype):
    """They decrease with their order, so that a recurrence upwards cancels."""
    points = np.concatenate([-MIDDLE[:8] / 2, MIDDLE[::3], [1.19, 1.21, 1.55, 5.4, 6.6], FAR[:3]])
    with mp.workdps(200):
        check(derivative(special.erfcx, order), erfcx_of_order(order), (points,), dtype, {3: 32, 4: 64, 6: 128}[order])


def test_slopes_that_leave_the_range_later_than_their_parts():
    check(derivative(special.exp1, 2), exp1_second, (np.array([78.62068939208984, 80.0, 60.0]),), "float32", 64)
    check(derivative(special.exp1, 2), exp1_second, (np.array([697.6017765779516, 690.0]),), "float64", 64)
    for run in (derivative(special.expi, 2), pb.jit(derivative(special.expi, 2))):
        assert run(np.float32([300])) == np.inf


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_and_edges(dtype):
    for function, _, _ in FUNCTIONS.values():
        x = np.ones((2, 0)).astype(np.float32)
        assert function(pb.numpy.asarray(x).astype(dtype)).dtype == dtype
        assert function(x).shape == (2, 0)
        assert function(1).shape == ()
        assert np.isnan(function(np.nan))
        with pytest.raises(TypeError, match="a real number"):
            function(1j)


def test_ends():
    inf = np.inf
    for run in (lambda f: f, pb.jit):
        for name in ("exp1", "expi", "dawsn", "spence", "erfcx"):
            ours, exact = run(getattr(special, name)), getattr(scipy.special, name)
            x = np.array([0.0, inf, -inf, -1.0])
            with np.errstate(all="ignore"):
                expected = exact(x).astype("float32")
            # SciPy's of negative numbers is the real part, and of infinity nan
            expected = np.where((x < 0) & (name == "exp1"), np.nan, expected)
            expected = np.where((x == inf) & (name == "spence"), -inf, expected)
            close(ours(x.astype("float32")), expected)
        assert [v.tolist() for v in run(special.sici)(np.array([0.0, inf]))] == [
            [0, pytest.approx(np.pi / 2)],
            [-inf, 0],
        ]
        si, ci = run(special.sici)(-inf)
        assert si == pytest.approx(-np.pi / 2)
        assert np.isnan(ci)
        assert run(special.fresnel)(-inf) == (-0.5, -0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_integrals_of_whole_order(dtype):
    n = RNG.integers(0, 25, 40).astype(float)
    x = np.concatenate([np.logspace(-8, 1.8, 20), RNG.uniform(0.1, 5, 20)])
    check(special.expn, lambda n, x: mp.expint(n, x), (n, x), dtype, 32)
    if dtype == "float64":
        check(derivative(special.expn, 1, 1), lambda n, x: -mp.expint(n - 1, x), (n, x), dtype, 64)
        check(derivative(special.expn, 2, 1), lambda n, x: mp.expint(n - 2, x), (n, x), dtype, 64)


def test_edges_of_integrals_of_whole_order():
    for run in (special.expn, pb.jit(special.expn)):
        orders = np.array([0.0, 1, 3, 1.5, -1, 2, 5])
        x = np.array([0.0, 0, 0, 1, 1, -1, np.inf])
        np.testing.assert_array_equal(run(orders, x), np.array([np.inf, np.inf, 0.5, *[np.nan] * 3, 0], "float32"))
    with pytest.raises(NotImplementedError, match="expn has no derivative with respect to its order"):
        pb.grad(special.expn)(2.0, 1.0)


def owens_t(h, a):
    end = mp.mpf(min(abs(a), 60 / max(abs(h), 1)))
    total = mp.quad(lambda x: mp.exp(-h * h * (1 + x * x) / 2) / (1 + x * x), mp.linspace(0, end, 12))
    return mp.sign(a) * total / (2 * mp.pi)


@pytest.mark.parametrize("dtype", DTYPES)
def test_owens_function(dtype):
    h = np.concatenate([RNG.uniform(-8, 8, 15), np.logspace(-6, 0.9, 10)])
    a = np.concatenate([np.logspace(-6, 3, 15), RNG.uniform(-2, 2, 10)])
    check(special.owens_t, owens_t, (h, a), dtype, 32)
    with pb.enable_x64():
        for i in (0, 1):
            steps = [h, a]
            steps[i] = steps[i] + 1e-6
            low = [h, a]
            low[i] = low[i] - 1e-6
            numeric = (scipy.special.owens_t(*steps) - scipy.special.owens_t(*low)) / 2e-6
            np.testing.assert_allclose(pb.vmap(pb.grad(special.owens_t, i))(h, a), numeric, rtol=1e-4, atol=1e-9)
    assert special.owens_t(0.0, np.inf) == 0.25
    assert special.owens_t(1.0, 0.0) == 0
    with raises(TypeError, "owens_t: expected a real number"):
        special.owens_t(1j, 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("run", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_owens_function_at_the_end_of_the_dtype(run, dtype):
    """Beyond any a that matters it is that of infinity, half of the chance of more than |h|; and T(inf, a) is 0."""
    most = np.finfo(dtype).max
    h, a = (
        np.array([0.0, 2, -3, -2, 30, 2e-38, np.inf, np.inf, 0]),
        np.array([1.0, 1, -1, 0.9, 1, -1, 1, -1e-3, np.inf]),
    )
    right = np.sign(a) * scipy.special.erfc(np.abs(h) / np.sqrt(2)) / 4
    with pb.enable_x64():
        h, a = h.astype(dtype), (a * most).astype(dtype)
        np.testing.assert_allclose(run(special.owens_t)(h, a), right, rtol=1e-6, atol=np.finfo(dtype).tiny)
        for i in (0, 1):
            slope, bend = (run(derivative(special.owens_t, k, i))(h[1:5], a[1:5]) for k in (1, 2))
            size, sign = np.abs(h[1:5]), np.sign(a[1:5])
            density = sign * np.exp(-(size.astype(float) ** 2) / 2) / np.sqrt(8 * np.pi)
            right = (-np.sign(h[1:5]) * density, size * density) if i == 0 else (0, 0)
            np.testing.assert_allclose(slope, right[0], rtol=1e-6, atol=1e-37)
            np.testing.assert_allclose(bend, right[1], rtol=1e-6, atol=1e-37)


def faddeeva(z):
    return mp.exp(-z * z) * mp.erfc(-1j * z)


def faddeeva_slope(z):
    return -2 * z * faddeeva(z) + 2j / mp.sqrt(mp.pi)


def faddeeva_bend(z):
    return -2 * faddeeva(z) - 2 * z * faddeeva_slope(z)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_the_faddeeva_function(dtype):
    z = [(RNG.standard_normal(9) + 1j * RNG.standard_normal(9)) * size for size in (0.01, 1, 3, 8, 30)]
    z = np.concatenate([*z, RNG.uniform(-8, 8, 9), [0, 1j, 0.25, 0.5, 0.75, 1e6 + 1j, 1e10j]]).astype(dtype)
    info = np.finfo(dtype)

    def slope(z):
        return pb.vmap(pb.grad(special.wofz, holomorphic=True))(z)

    def bend(z):
        return pb.vmap(pb.grad(pb.grad(special.wofz, holomorphic=True), holomorphic=True))(z)

    with pb.enable_x64(dtype == "complex128"), mp.workdps(80):
        for function, exact, following in (
            (special.wofz, faddeeva, faddeeva_slope),
            (slope, faddeeva_slope, faddeeva_bend),
            (bend, faddeeva_bend, lambda z: -4 * faddeeva_slope(z) - 2 * z * faddeeva_bend(z)),
        ):
            for run in (function, pb.jit(function)):
                got = np.asarray(run(z))
                assert got.dtype == dtype
                for point, value in zip(z, got, strict=True):
                    at = mp.mpc(complex(point))
                    right = exact(at)
                    if not info.tiny < abs(right) < info.max:
                        continue
                    error = abs(mp.mpc(complex(value)) - right) / abs(right) / float(info.eps)
                    # SciPy's own is up to 33 units off
                    assert error <= 40 * (1 + abs(at * following(at) / right)), (point, value, right)
    assert special.wofz(0.0) == 1
    assert special.wofz(np.ones(2, "float16")).dtype == "complex64"
