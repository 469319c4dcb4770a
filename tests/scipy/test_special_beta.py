"""beta, betaln and betainc: values and derivatives against mpmath, eager and compiled; limits, large parameters."""

import itertools

import mpmath
import numpy as np
import pytest
from exact import DTYPES, check, derivative
from mpmath import mp

import pullback as pb
import pullback.numpy as pnp
from benchmarks.accuracy.special import beta_tails
from pullback.scipy import special, stats

ORDERS = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0), (1, 1, 0), (0, 2, 0), (1, 0, 1), (0, 1, 1), (0, 0, 2)]
# a, b, x: inside, in both tails, tiny and moderately large parameters
POINTS = [
    (2.3, 0.7, 0.4),
    (2.3, 0.7, 0.96),
    (50.0, 70.0, 0.4),
    (50.0, 70.0, 0.1),
    (50.0, 70.0, 0.75),
    (0.01, 3.0, 0.001),
    (1e-3, 2e-3, 0.2),
    (1.0, 1.0, 0.25),
    (0.5, 12.0, 1e-7),
    (300.0, 0.5, 0.99),
    (800.0, 1200.0, 0.41),
]
BOTH = [lambda fun: fun, pb.jit]


def relative(got, expected):
    return abs(float((mpmath.mpf(float(got)) - expected) / expected))


def exact(a, b, x):
    return mpmath.betainc(a, b, 0, x, regularized=True)


def all_derivatives(fun):
    """Of betainc: the value and the derivatives in the order of ORDERS."""

    def run(*args):
        places = (0, 1, 2)
        first = pb.grad(fun, places)(*args)
        second = pb.hessian(fun, places)(*args)
        pairs = [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)]
        return [fun(*args), *first, *[second[i][j] for i, j in pairs]]

    return run


@pytest.mark.parametrize("x64", [True, False])
def test_betainc_and_its_derivatives_in_all_arguments(x64):
    eps = 2.0**-52 if x64 else 2.0**-23
    dtype = np.float64 if x64 else np.float32
    with pb.enable_x64(x64):
        compiled = pb.jit(all_derivatives(special.betainc))
        for point in POINTS:
            args = [dtype(v) for v in point]
            with mpmath.workdps(50):
                numbers = [mpmath.mpf(float(v)) for v in args]
                expected = [
                    mpmath.diff(exact, tuple(numbers), order) if any(order) else exact(*numbers) for order in ORDERS
                ]
            # what a rounding of the arguments does to the function and its derivatives
            change = [abs(v * expected[1 + i]) for i, v in enumerate(numbers)]
            unclear = 1 + float(sum(change) / abs(expected[0])) + max(point[:2]) ** 0.5
            for got in (all_derivatives(special.betainc)(*args), compiled(*args)):
                for order, g, e in zip(ORDERS, got, expected, strict=True):
                    if abs(e) > (1e-290 if x64 else 1e-30):
                        bound = (32, 64, 256)[sum(order)] * eps * unclear
                        assert relative(g, e) < bound, (point, order, g, e)


def tail_by_quadrature(a, b, x):
    """I_x(a, b) where a and b are large and x lies a few widths below the mean."""
    with mpmath.workdps(60):
        a, b, x = (mpmath.mpf(float(v)) for v in (a, b, x))
        width = mpmath.sqrt(a * b / (a + b) ** 3)
        logarithm = mpmath.loggamma(a + b) - mpmath.loggamma(a) - mpmath.loggamma(b)
        points = [x - k * width for k in range(40, -1, -4)]
        return mpmath.quad(
            lambda t: mpmath.exp((a - 1) * mpmath.log(t) + (b - 1) * mpmath.log(1 - t) + logarithm), points
        )


def test_large_parameters():
    with pb.enable_x64(True):
        for run in BOTH:
            betainc = run(special.betainc)
            for n in (1e4, 1e6, 1e10, 1e17, 1e200):
                assert abs(float(betainc(n, n, 0.5)) - 0.5) < 1e-14
            for a, b, widths in ((1e5, 3e5, 1.0), (1e8, 1e8, 3.0), (1e6, 1e9, 0.0), (4e5, 2e4, 8.0)):
                x = a / (a + b) - widths * (a * b / (a + b) ** 3) ** 0.5
                # the argument is rounded, and the slope is x sqrt(a (a + b) / b) or so
                bound = 2.0**-52 * (32 + 8 * (1 + widths) * (a * (a + b) / b) ** 0.5)
                assert relative(betainc(a, b, x), tail_by_quadrature(a, b, x)) < bound
    for run in BOTH:
        assert abs(float(run(special.betainc)(30.0, 1e4, 0.01)) - 1) < 1e-6
        assert abs(float(run(special.betainc)(1e17, 1e17, 0.5)) - 0.5) < 1e-6
        assert run(special.betainc)(3e38, 1e38, 0.5) == 0
        assert run(special.betainc)(1e38, 3e38, 0.5) == 1


@pytest.mark.parametrize("run", BOTH)
def test_limits_of_betainc(run):
    inf, nan = np.inf, np.nan
    cases = [
        ((0, 1, 0.5), 1),
        ((2, 0, 0.5), 0),
        ((inf, 1, 0.5), 0),
        ((1, inf, 0.5), 1),
        ((2, 3, 0), 0),
        ((2, 3, 1), 1),
        ((0, inf, 0.5), 1),
        ((inf, 0, 0.5), 0),
        ((0, 0, 0.5), nan),
        ((inf, inf, 0.5), nan),
        ((-1, 2, 0.5), nan),
        ((1, -2, 0.5), nan),
        ((1, 2, -0.1), nan),
        ((1, 2, 1.1), nan),
        ((nan, 1, 0.5), nan),
        ((1, 1, nan), nan),
        ((1e-30, 1, 0.5), 1),
        ((1, 1e-30, 0.5), 6.931472e-31),
        ((1e-30, 1e-30, 0.3), 0.5),
        ((0.5, 0.5, 1e-30), 6.3661977e-16),
    ]
    a, b, x = np.array([case for case, _ in cases], np.float32).T
    np.testing.assert_allclose(run(special.betainc)(a, b, x), np.array([value for _, value in cases]), 4e-6)
    # nothing is below 0 or above 1, and no slope is nan where the value is none
    for tiny in (1e-30, 1e-10):
        value = np.asarray(run(special.betainc)(np.float32(tiny), np.float32([tiny, 1, 5]), np.float32(0.3)))
        assert (value >= 0).all()
        assert (value <= 1).all()
    slopes = run(pb.grad(lambda *args: special.betainc(*args).sum(), (0, 1, 2)))(a, b, x)
    for slope in slopes[:2]:
        assert not np.isnan(np.asarray(slope)[:8]).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_betaln_and_its_slopes(dtype):
    eps = float(np.finfo(dtype).eps)
    values = [1e-20, 1e-3, 0.5, 1.0, 2.5, 7.0, 9.0, 200.0, 1e6, 3e9, 1e17]
    pairs = np.array(list(itertools.product(values, values)), dtype)
    with pb.enable_x64(True):
        for run in BOTH:
            got = np.asarray(run(special.betaln)(*pairs.T), np.float64)
            slopes = run(pb.grad(lambda a, b: special.betaln(a, b).sum(), (0, 1)))(*pairs.T)
            for i, (a, b) in enumerate(pairs):
                with mpmath.workdps(60):
                    p, q = mpmath.mpf(float(a)), mpmath.mpf(float(b))
                    value = mpmath.loggamma(p) + mpmath.loggamma(q) - mpmath.loggamma(p + q)
                    by_a = mpmath.digamma(p) - mpmath.digamma(p + q)
                    by_b = mpmath.digamma(q) - mpmath.digamma(p + q)
                # near its zeros, of which (1, 1) is one, the value has an absolute error
                assert abs(float(got[i] - value)) < 16 * eps * max(1, abs(float(value))), (a, b)
                for slope, e in ((slopes[0][i], by_a), (slopes[1][i], by_b)):
                    assert relative(slope, e) < 16 * eps, (a, b)


def test_betaln_of_the_report():
    for run in BOTH:
        np.testing.assert_allclose(run(special.betaln)(np.float32(1e6), np.float32(0.5)), -6.3353902, 3e-7)
        np.testing.assert_allclose(run(special.beta)(np.float32(1), np.float32(3e9)), 1 / 3e9, 2e-6)


@pytest.mark.parametrize("run", BOTH)
def test_beta_of_negative_and_infinite_operands(run):
    with pb.enable_x64(True):
        a, b = np.array([-0.5, -2.5, 2.3, -1.5]), np.array([2.3, 0.7, -0.5, -0.25])
        np.testing.assert_allclose(
            run(special.beta)(a, b), [float(mpmath.beta(*ab)) for ab in zip(a, b, strict=True)], 1e-13
        )
        slope = run(pb.grad(lambda a, b: special.betaln(a, b).sum()))(a, b)
        np.testing.assert_allclose(
            slope, [float(mpmath.digamma(p) - mpmath.digamma(p + q)) for p, q in zip(a, b, strict=True)], 1e-12
        )
        assert run(special.betaln)(np.inf, 2.0) == -np.inf
        assert run(special.beta)(2.0, np.inf) == 0
        assert run(special.betaln)(0.0, 2.0) == np.inf


def test_second_derivatives_of_betaln_do_not_cancel():
    with pb.enable_x64(True):
        for run in BOTH:
            for a, b in ((1e6, 0.5), (3.0, 1e-9), (1e-3, 1e5)):
                got = run(pb.grad(pb.grad(special.betaln)))(a, b)
                with mpmath.workdps(60):
                    p, q = mpmath.mpf(a), mpmath.mpf(b)
                    assert relative(got, mpmath.psi(1, p) - mpmath.psi(1, p + q)) < 256 * 2.0**-52


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_computed_in_float32(dtype):
    a, b, x = (pnp.asarray(v, dtype) for v in ([0.5, 3.0], [2.0, 40.0], [0.1, 0.05]))
    expected = np.asarray(special.betainc(*(v.astype("float32") for v in (a, b, x))))
    for got in (special.betainc(a, b, x), pb.jit(special.betainc)(a, b, x)):
        assert got.dtype == a.dtype
        np.testing.assert_allclose(np.asarray(got, np.float32), expected, 0.51 * float(pnp.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_of_betaln_next_to_the_ends_of_the_range(dtype):
    tiny, largest = float(np.finfo(dtype).tiny), 0.7 * float(np.finfo(dtype).max)

    def first(a, b):
        with mp.workdps(700):
            return mp.digamma(a) - mp.digamma(a + b)

    def second(a, b):
        with mp.workdps(700):
            return mp.psi(1, a) - mp.psi(1, a + b)

    a = [1.37e-6, 0.148, 3.0, tiny**0.54, 0.2]
    b = [largest, tiny, 2 * tiny, largest**0.54, largest / 4]
    check(derivative(special.betaln), first, [a, b], dtype, 16)
    check(
        derivative(special.betaln, 2), second, [[1.37e-6, tiny**0.54, 0.3], [largest, tiny**0.8, 4 * tiny]], dtype, 16
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_beta_densities_up_to_the_ends_of_the_range(dtype):
    tiny = float(np.finfo(dtype).tiny)
    x = [tiny, 1e-33, 7.7e-9, tiny**0.4, 1e-4, 0.4, 0.97, 0.3]
    a = [9.3, 1.5, 1e-30, tiny**0.4, 3.0, 50.0, 4.0, 1.0]
    b = [1e-5, 4e6, 0.99, tiny**0.4, 643.0, 70.0, 1e-3, 1.0]

    def log_density(x, a, b):
        with mp.workdps(700):
            return (a - 1) * mp.log(x) + (b - 1) * mp.log1p(-x) - mp.loggamma(a) - mp.loggamma(b) + mp.loggamma(a + b)

    def density(x, a, b):
        return mp.exp(log_density(x, a, b))

    def slope(x, a, b):
        return density(x, a, b) * ((a - 1) / x - (b - 1) / (1 - x))

    def second(x, a, b):
        return density(x, a, b) * (((a - 1) / x - (b - 1) / (1 - x)) ** 2 - (a - 1) / x**2 - (b - 1) / (1 - x) ** 2)

    check(stats.beta.logpdf, log_density, [x, a, b], dtype, 64)
    check(stats.beta.pdf, density, [x, a, b], dtype, 32)
    check(derivative(stats.beta.pdf), slope, [x[3:] + x[:1], a[3:] + a[:1], b[3:] + b[:1]], dtype, 64)
    check(derivative(stats.beta.pdf, 2), second, [x[4:] + x[:1], a[4:] + a[:1], b[4:] + b[:1]], dtype, 256)


@pytest.mark.parametrize("dtype", DTYPES)
def test_beta_of_a_tiny_and_a_small_parameter(dtype):
    def value(a, b):
        with mp.workdps(700):
            return mp.beta(a, b)

    check(special.beta, value, [[8.7e-33, 1e-30, 3e5, 2.0], [9.9e-7, 20.0, 1e-8, 3.0]], dtype, 8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_of_the_log_tails_where_the_logarithms_are_huge(dtype):
    # below the mean by so much that the tail is a/x: its logarithm is -1e8
    x, a = np.array(1.1274565e-06, dtype), np.array(1e7, dtype)
    b = np.array(1e4, dtype)
    with pb.enable_x64(), mp.workdps(30):
        for function, args in ((stats.beta.logcdf, (x, a, b)), (stats.beta.logsf, (1 - x, b, a))):
            # DLMF 8.17.8: the tail is x (1 - x) / p F(p + q, 1; p + 1; x) times the density
            z = mp.mpf(float(x)) if function is stats.beta.logcdf else 1 - mp.mpf(float(1 - x))
            p, q = mp.mpf(float(a)), mp.mpf(float(b))
            right = p / (z * (1 - z) * mp.hyp2f1(p + q, 1, p + 1, z))
            sign = 1 if function is stats.beta.logcdf else -1
            for run in (pb.grad(function), pb.jit(pb.grad(function))):
                assert abs(float(run(*args)) * sign / float(right) - 1) < 64 * np.finfo(dtype).eps


TINY = {
    "float32": [
        (2.5e-34, 0.05, 2.5e-35),
        (7e-33, 1.4e-5, 7.6e-30),
        (0.007, 3.8e-9, 0.9999997),
        (3e-37, 2.5e-31, 0.9999996),
        (463.0, 1.7e-37, 0.75),
        (1e-9, 1e-10, 0.3),
        (3.5e-15, 0.016, 1.1e-32),
        (8e-26, 14.0, 3.5e-33),
    ],
    "float64": [
        (2.4e-217, 0.005, 2.5e-269),
        (4.5e-165, 16.0, 4.2e-212),
        (8.4e-275, 1.9e-284, 0.99998),
        (6.6e-155, 2.3e-157, 1 - 3e-10),
        (2.3e-157, 6.6e-155, 3e-41),
        (1.4e-3, 2.6e-90, 1 - 1e-12),
        (1e-9, 3e-10, 0.3),
    ],
}


@pytest.mark.parametrize("run", BOTH)
@pytest.mark.parametrize(("dtype", "point"), [(dtype, point) for dtype, points in TINY.items() for point in points])
def test_both_tails_and_their_logarithms_for_tiny_parameters(run, dtype, point):
    a, b, x = (np.dtype(dtype).type(v) for v in point)
    with mp.workprec(200):
        below, above = beta_tails(*(mpmath.mpf(float(v)) for v in (a, b, x)))
        exact = {
            stats.beta.cdf: below,
            stats.beta.sf: above,
            stats.beta.logcdf: mp.log(below) if below < 0.5 else mp.log1p(-above),
            stats.beta.logsf: mp.log(above) if above < 0.5 else mp.log1p(-below),
        }
    with pb.enable_x64(dtype == "float64"):
        for fun, right in exact.items():
            if abs(right) > np.finfo(dtype).tiny:
                # the exponential of numbers of some hundreds
                assert relative(run(fun)(x, a, b), right) < 600 * np.finfo(dtype).eps, fun


@pytest.mark.parametrize("fun", [stats.beta.cdf, stats.beta.sf, stats.beta.logcdf, stats.beta.logsf])
def test_subnormal_parameters(fun):
    # of two alike each end has a half; beside a larger one the distribution is at one end
    with pb.enable_x64(True):
        half = float(fun(0.3, 1e-310, 1e-310))
        assert np.isclose(half, np.log(0.5) if "log" in fun.__name__ else 0.5, rtol=1e-6)
        at_zero, at_one = float(fun(0.3, 1e-310, 2.0)), float(fun(0.3, 2.0, 1e-310))
    low, high = {"cdf": (1, 0), "sf": (0, 1)}[fun.__name__.removeprefix("log")]
    if "log" in fun.__name__:
        at_zero, at_one = np.exp(at_zero), np.exp(at_one)
    assert abs(at_zero - low) < 1e-300
    assert abs(at_one - high) < 1e-300
