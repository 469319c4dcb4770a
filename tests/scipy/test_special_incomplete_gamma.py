"""The incomplete gamma functions, their derivatives in both arguments and the distributions made of them, against
mpmath: eager and compiled, in both precisions."""

import mpmath as mp
import numpy as np
import pytest
from exact import DTYPES, check, derivative

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy import special, stats
from pullback.test_util import check_grads

VALUE, FIRST, SECOND = 32, 64, 256


def lower(a, x):
    return mp.gammainc(a, 0, x, regularized=True)


def upper(a, x):
    return mp.gammainc(a, x, mp.inf, regularized=True)


def density(a, x):
    return mp.exp((a - 1) * mp.log(x) - x - mp.loggamma(a))


def by_order(function, order):
    def slope(a, x):
        with mp.workdps(90):
            return mp.diff(lambda a: function(a, x), a, order, h=a * mp.mpf(10) ** -15)

    return slope


# every formula, on both sides of where it ends: the series, the integrals from below and above; tails and centres
A = [1e-8, 1e-3, 0.3, 0.3, 0.9, 0.99, 1, 1, 1.2, 1.5, 2.5, 3, 7.9, 8, 8.1, 30, 30, 30, 30, 100, 100, 250]
X = [0.5, 2.0, 1e-3, 0.99, 1.01, 9, 1e-6, 1, 1.1, 0.2, 2.4, 20, 7.7, 8, 9, 5, 28, 33, 90, 99, 102, 240]


@pytest.mark.parametrize("dtype", DTYPES)
def test_values(dtype):
    check(special.gammainc, lower, [A, X], dtype, VALUE)
    check(special.gammaincc, upper, [A, X], dtype, VALUE)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives(dtype):
    a, x = A[1::2], X[1::2]
    check(derivative(special.gammainc, 1, 1), density, [a, x], dtype, FIRST)
    check(derivative(special.gammainc), by_order(lower, 1), [a, x], dtype, FIRST)
    check(derivative(special.gammaincc), by_order(upper, 1), [a, x], dtype, FIRST)
    check(derivative(special.gammainc, 2), by_order(lower, 2), [a, x], dtype, SECOND)
    check(derivative(special.gammainc, 2, 1), lambda a, x: density(a, x) * ((a - 1) / x - 1), [a, x], dtype, SECOND)
    for first, second in ((0, 1), (1, 0)):
        check(
            pb.vmap(pb.grad(pb.grad(special.gammainc, first), second)),
            lambda a, x: density(a, x) * (mp.log(x) - mp.digamma(a)),
            [a, x],
            dtype,
            SECOND,
        )


def test_the_third_derivative_in_the_order():
    check(derivative(special.gammainc, 3), by_order(lower, 3), [[0.3, 3.3, 20], [0.8, 2.5, 26]], "float64", 4 * SECOND)


LARGE = [
    (1e5, 1e5, 0.5004205221103652),
    (1e6, 1e6, 0.5001329807608725),
    (1e7, 1e7, 0.5000420522087235),
    (1e9, 1e9, 0.5000042052208720),
    (1e9, 1e9 - 31622.7766015, 0.1586552538921288),
    (1e30, 1e30, 0.5),
]


def mixed(function, by_order, by_x):
    """The mixed derivative of a function of mpmath's."""

    def slope(a, x):
        with mp.workdps(80):
            return mp.diff(function, (a, x), (by_order, by_x))

    return slope


PATHS = [
    (1, 1, 1),
    (1, 0, 1),
    (0, 1, 1),
    (1, 1, 0),
    (1, 0, 0, 1),
    (0, 1, 0, 1),
    (1, 1, 1, 1),
    (1, 0, 1, 1),
    (1, 0, 0, 1, 1),
]


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_mixed_derivatives_of_higher_order(path):
    """Each path to a derivative of third order or more has its formula: argument by argument, 0 is a, 1 is x."""
    a, x = [0.7, 2.5, 9.0, 30.0], [0.4, 2.0, 11.0, 27.0]
    f = special.gammainc
    for argument in path:
        f = pb.grad(f, argument)
    right = mixed(density, path.count(0), path.count(1) - 1)  # the density is the first derivative by x
    check(pb.vmap(f), right, [a, x], "float64", 2 * SECOND)


@pytest.mark.parametrize("path", [(1, 0), (1, 0, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1)], ids=str)
@pytest.mark.parametrize(
    ("log_probability", "probability"),
    [(stats.gamma.logcdf, lower), (stats.gamma.logsf, upper)],
    ids=["logcdf", "logsf"],
)
def test_mixed_derivatives_of_logarithms(log_probability, probability, path):
    a, x = [0.7, 2.5, 9.0], [0.4, 2.0, 11.0]

    def logarithm(a, x):
        return mp.log(probability(a, x))

    def ours(a, x):
        return log_probability(x, a)

    f = ours
    for argument in path:
        f = pb.grad(f, argument)
    check(pb.vmap(f), mixed(logarithm, path.count(0), path.count(1)), [a, x], "float64", 2 * SECOND)


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_orders(dtype):
    tolerance = {"float64": 1e-12, "float32": 2e-7}[dtype]
    with pb.enable_x64():
        for a, x, right in LARGE[:4] + LARGE[5:] if dtype == "float32" else LARGE:
            a, x = pnp.array(a, dtype), pnp.array(x, dtype)
            for run in (lambda f: f, pb.jit):
                np.testing.assert_allclose(float(run(special.gammainc)(a, x)), right, rtol=tolerance)
                np.testing.assert_allclose(float(run(special.gammaincc)(a, x)), 1 - right, rtol=2 * tolerance)
                assert np.isfinite(float(run(pb.grad(special.gammainc))(a, x)))


def test_the_far_tail_of_a_large_order():
    right = 7.5399586582069807e-24  # P at ten standard deviations below; mpmath, by quadrature in 50 digits
    with pb.enable_x64():
        for run in (special.gammainc, pb.jit(special.gammainc)):
            np.testing.assert_allclose(float(run(1e9, 999683772.2339832)), right, rtol=1e-13)


def test_tiny_orders_are_probabilities():
    for a, right in ((1e-30, 2.1938393e-31), (1e-3, None), (1e-8, None)):
        right = float(upper(mp.mpf(float(np.float32(a))), mp.mpf(1))) if right is None else right
        for run in (special.gammaincc, pb.jit(special.gammaincc)):
            np.testing.assert_allclose(float(run(np.float32(a), np.float32(1))), right, rtol=1e-6)


EDGES = [
    (0, 1, 1),
    (1, 0, 0),
    (0, np.inf, 1),
    (np.inf, 1, 0),
    (1, np.inf, 1),
    (0, 0, np.nan),
    (np.inf, np.inf, np.nan),
    (-1, 1, np.nan),
    (1, -1, np.nan),
    (np.nan, 1, np.nan),
    (1, np.nan, np.nan),
    (1e-5, 1e30, 1),
    (1e30, 1e31, 1),
]


@pytest.mark.parametrize("dtype", [*DTYPES, "float16", "bfloat16"])
def test_edges(dtype):
    # the last two are infinite in half precision
    a, x, right = (np.array(v) for v in zip(*EDGES[: -2 if "16" in dtype else None], strict=True))
    with pb.enable_x64(), np.errstate(all="ignore"):
        a, x = pnp.array(a).astype(dtype), pnp.array(x).astype(dtype)
        for run in (lambda f: f, pb.jit):
            got = np.asarray(run(special.gammainc)(a, x)).astype("float64")
            np.testing.assert_array_equal(got, right)
            got = np.asarray(run(special.gammaincc)(a, x)).astype("float64")
            np.testing.assert_array_equal(got, 1 - right)
    assert float(pb.grad(special.gammainc, 1)(1.0, 0.0)) == 1
    assert float(pb.grad(special.gammainc)(1.0, 0.0)) == 0


# ---- Distributions


def log_lower(a, x):
    return mp.log(lower(a, x)) if x < a else mp.log1p(-upper(a, x))


def log_upper(a, x):
    return mp.log(upper(a, x)) if x > a else mp.log1p(-lower(a, x))


def logcdf(a, x):
    return stats.gamma.logcdf(x, a)


def logsf(a, x):
    return stats.gamma.logsf(x, a)


TAIL_A, TAIL_X = [0.3, 0.3, 0.7, 1, 2.5, 2.5, 8, 50, 50, 50, 120], [1e-6, 3, 300, 0.4, 900, 2.4, 9, 1e-8, 49, 1500, 130]


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithms_of_probabilities(dtype):
    args = [TAIL_A, TAIL_X]
    check(logcdf, log_lower, args, dtype, VALUE)
    check(logsf, log_upper, args, dtype, VALUE)
    check(derivative(logcdf), by_order(log_lower, 1), args, dtype, FIRST)
    check(derivative(logsf), by_order(log_upper, 1), args, dtype, FIRST)
    check(derivative(logcdf, 1, 1), lambda a, x: density(a, x) / lower(a, x), args, dtype, FIRST)
    check(derivative(logsf, 1, 1), lambda a, x: -density(a, x) / upper(a, x), args, dtype, FIRST)


def test_higher_derivatives_of_logarithms():
    a, x = np.array([0.4, 0.6, 3.0, 3.0, 20.0]), np.array([0.3, 1.7, 2.0, 5.0, 19.0])
    with pb.enable_x64():
        check_grads(logcdf, (a, x), order=2)
        check_grads(logsf, (a, x), order=2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_densities(dtype):
    a, x = [0.3, 1, 2.5, 30, 1e3, 1e5], [0.2, 3, 90, 31, 970, 1.001e5]
    check(lambda a, x: stats.gamma.pdf(x, a), density, [a, x], dtype, VALUE)
    check(lambda a, x: stats.gamma.logpdf(x, a), lambda a, x: mp.log(density(a, x)), [a, x], dtype, VALUE)
    check(
        derivative(lambda a, x: stats.gamma.logpdf(x, a)), lambda a, x: mp.log(x) - mp.digamma(a), [a, x], dtype, FIRST
    )
    k, mu = [0, 1, 7, 40, 1000, 100000], [0.2, 60, 6.5, 41, 1010, 1e5]
    check(stats.poisson.pmf, lambda k, mu: density(k + 1, mu), [k, mu], dtype, VALUE)
    check(stats.poisson.logpmf, lambda k, mu: mp.log(density(k + 1, mu)), [k, mu], dtype, VALUE)


def test_poisson_of_a_large_mean():
    right = 0.50084104309934012  # mpmath: Q(100001, 100000), by quadrature
    with pb.enable_x64():
        for run in (stats.poisson.cdf, pb.jit(stats.poisson.cdf)):
            np.testing.assert_allclose(float(run(100000, 1e5)), right, rtol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_densities_up_to_the_ends_of_the_range(dtype):
    tiny = float(np.finfo(dtype).tiny)
    a = [1.0, 1.0, 3.29, 1.9, 10.0, 10.03, tiny, 0.3]
    x = [5e-27, 1e-7, tiny**0.35, tiny, tiny, 2.4e-4, 0.5, tiny]

    def log_density(a, x):
        return (a - 1) * mp.log(x) - x - mp.loggamma(a)

    def slope(a, x):
        return (a - 1) / x - 1

    check(lambda a, x: stats.gamma.logpdf(x, a), log_density, [a, x], dtype, VALUE)
    check(lambda a, x: stats.gamma.pdf(x, a), density, [a, x], dtype, VALUE)
    check(derivative(lambda x, a: stats.gamma.logpdf(x, a)), lambda x, a: slope(a, x), [x[:3], a[:3]], dtype, FIRST)
    check(
        derivative(lambda x, a: stats.gamma.logpdf(x, a), 2),
        lambda x, a: -(a - 1) / x**2,
        [[1.0, 1e-6, 3.0, 0.2], [1.0, 1.0, 2.5, 30.0]],
        dtype,
        SECOND,
    )
    check(derivative(special.gammainc, 2, 1), lambda a, x: density(a, x) * slope(a, x), [a[:-1], x[:-1]], dtype, SECOND)
    # the first derivative of a density that is 0 at 0
    for run in (pb.grad(stats.gamma.pdf), pb.jit(pb.grad(stats.gamma.pdf))):
        with pb.enable_x64():
            assert [float(run(np.array(0, dtype), np.array(n, dtype))) for n in (1, 1.5, 2, 3)] == [-1, np.inf, 1, 0]


def test_where_the_series_of_scipy_ends_early():
    a, x = [0.5000001, 0.5032, 0.49999822, 0.51, 0.5000000000000346], [0.9, 0.985, 0.9999957, 1.05, 1.0000043]
    check(special.gammaincc, upper, [a, x], "float64", 12)
    check(special.gammainc, lower, [a, x], "float64", 12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_poisson_of_a_tiny_mean(dtype):
    def log_mass(k, mu):
        return k * mp.log(mu) - mu - mp.loggamma(k + 1)

    k, mu = [0.0, 0.0, 7.0, 3.0], [5e-27, 1e-16, float(np.finfo(dtype).tiny), 2.0]
    check(stats.poisson.logpmf, log_mass, [k, mu], dtype, VALUE)
    check(derivative(stats.poisson.logpmf, 1, 1), lambda k, mu: k / mu - 1, [k[:2], mu[:2]], dtype, FIRST)
    check(derivative(stats.poisson.logpmf, 2, 1), lambda k, mu: -k / mu**2, [[0.0, 3.0], [1e-7, 2.0]], dtype, SECOND)


@pytest.mark.parametrize("dtype", DTYPES)
def test_curvatures_of_densities_and_of_log_tails(dtype):
    tiny = float(np.finfo(dtype).tiny)

    def second(a, x):
        return density(a, x) * ((a - 1 - x) ** 2 - (a - 1)) / x**2

    a = [1.0, 1.0, 3.0, 10.0, 30.0, 3.29, 3.5, 0.4]
    x = [tiny**0.4, 1e-3, tiny**0.4, 2e-4, 29.0, tiny**0.4, 2.0, 0.5]
    check(derivative(lambda a, x: stats.gamma.pdf(x, a), 2, 1), second, [a, x], dtype, SECOND)
    check(derivative(lambda a, mu: stats.poisson.pmf(a - 1, mu), 2, 1), second, [a[:5], x[:5]], dtype, SECOND)
    with pb.enable_x64():
        curvature = pb.grad(pb.grad(stats.gamma.pdf))
        for run in (curvature, pb.jit(curvature)):
            got = [float(run(np.array(0, dtype), np.array(n, dtype))) for n in (0.5, 1, 1.5, 2, 2.5, 3, 4)]
            assert got == [np.inf, 1, -np.inf, -2, np.inf, 1, 0]

    def log_upper(a, x):
        h = density(a, x) / upper(a, x)
        return -h * ((a - 1) / x - 1 + h)

    check(
        derivative(lambda x, a: stats.gamma.logsf(x, a), 2),
        lambda x, a: log_upper(a, x),
        [[50.0 if dtype == "float32" else 5.0, 0.7, 0.3, tiny], [2.5, 0.7, 9.0, 10.0]],
        dtype,
        SECOND,
    )


def bend(tail, sign):
    """The second derivative by x of the logarithm of a tail whose density has this sign."""

    def second(x, a):
        with mp.workdps(120):
            hazard = sign * density(a, x) / tail(a, x)
            return hazard * ((a - 1) / x - 1 - hazard)

    return second


@pytest.mark.parametrize("dtype", DTYPES)
def test_bends_of_the_logarithms_of_both_tails(dtype):
    """Far out the slopes are next to constant: the bend is far smaller than what its terms are."""
    x = np.array([1e4, 3e3, 20, 2.7, 500, 4.5, 60, 1e3, 2e3])
    a = np.array([0.999, 1.001, 0.5, 1e-20, 1.0000001, 1e-6, 2.5, 900, 1e3])
    check(derivative(stats.gamma.logsf, 2), bend(upper, -1), (x, a), dtype, SECOND)
    x = np.array([1e-15, 0.4, 2, 0.5, 300, 1e3, 0.1, 9])
    a = np.array([1e-3, 58.5, 58.5, 1e6, 1e6, 1300, 3, 50])
    check(derivative(stats.gamma.logcdf, 2), bend(lower, 1), (x, a), dtype, SECOND)


@pytest.mark.parametrize("run", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_the_bend_of_a_power_beyond_the_range(run):
    x, a = np.float32([2e-38, 2e-38]), np.float32([10, 1e7])
    np.testing.assert_array_equal(run(derivative(stats.gamma.logcdf, 2))(x, a), [-np.inf, -np.inf])


def chi2_log_density(x, df):
    return mp.log(density(df / 2, x / 2) / 2)


def chi2_by_order(x, df):
    return mp.diff(lambda order: chi2_log_density(x, order), df)


def chi2_log_part(x, df):
    return mp.log(lower(df / 2, x / 2))


def chi2_rest(x, df):
    with mp.workdps(700):
        return 1 - lower(df / 2, x / 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_chi2_at_the_smallest_numbers(dtype):
    """Half of these is subnormal."""
    tiny = float(np.finfo(dtype).tiny)
    x, df = np.array([[tiny, 1.5 * tiny, 1.1 * tiny, 4 * tiny, 1e-31, 2e-30], [0.5, 1.2, 1e-5, 0.7, 1e-7, 0.3]])

    check(stats.chi2.logpdf, chi2_log_density, (x, df), dtype, VALUE)
    check(stats.chi2.pdf, lambda x, df: density(df / 2, x / 2) / 2, (x, df), dtype, VALUE)
    check(stats.chi2.cdf, lambda x, df: lower(df / 2, x / 2), (x, df), dtype, VALUE)
    check(stats.chi2.logcdf, chi2_log_part, (x, df), dtype, VALUE)
    check(stats.chi2.sf, chi2_rest, (x, df), dtype, VALUE)
    check(stats.chi2.logsf, lambda x, df: mp.log(chi2_rest(x, df)), (x, df), dtype, VALUE)
    some = x[:4] * 8, df[:4]
    check(derivative(stats.chi2.cdf), lambda x, df: density(df / 2, x / 2) / 2, some, dtype, FIRST)
    check(derivative(stats.chi2.logpdf, 1, 1), chi2_by_order, some, dtype, FIRST)
