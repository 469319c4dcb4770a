"""scipy.stats: distributions made of functions that are there, against SciPy, mpmath and differences."""

import importlib

import mpmath as mp
import numpy as np
import pytest
import scipy.stats
from exact import check, derivative
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy import stats
from pullback.test_util import check_grads

RNG = np.random.default_rng(0)
N = 40
COUNTS, TRIALS = RNG.integers(-1, 12, N).astype(float), RNG.integers(0, 12, N).astype(float)
UNIT, SHAPES, OTHERS = RNG.uniform(0, 1, N), RNG.uniform(0.1, 5, N), RNG.uniform(0.1, 5, N)
REAL = 3 * RNG.standard_normal(N)
ARGUMENTS = {
    "betabinom": (COUNTS, TRIALS, SHAPES, OTHERS),
    "binom": (COUNTS, TRIALS, UNIT),
    "chi2": (REAL, SHAPES),
    "gennorm": (REAL, SHAPES),
    "geom": (COUNTS, UNIT),
    "gumbel_l": (REAL,),
    "gumbel_r": (REAL,),
    "nbinom": (COUNTS, SHAPES, UNIT),
    "pareto": (REAL, SHAPES),
    "truncnorm": (REAL, -SHAPES, OTHERS),
    "vonmises": (REAL, SHAPES),
    "wrapcauchy": (UNIT * 2 * np.pi, UNIT[::-1]),
}
FUNCTIONS = [
    (name, function)
    for name in ARGUMENTS
    for function in importlib.import_module(f"pullback.scipy.stats.{name}").__all__
]
# which arguments have derivatives
SMOOTH = {"betabinom": (2, 3), "binom": (2,), "nbinom": (1, 2), "geom": (1,)}


@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_values_and_derivatives(name, function):
    ours, oracle = getattr(getattr(stats, name), function), getattr(getattr(scipy.stats, name), function)
    args = (UNIT, *ARGUMENTS[name][1:]) if function == "ppf" else ARGUMENTS[name]
    with np.errstate(all="ignore"):
        expected = oracle(*args)
    with pb.enable_x64():
        for run in (ours, pb.jit(ours)):
            np.testing.assert_allclose(run(*args), expected, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(pb.vmap(ours)(*args), expected, rtol=1e-9, atol=1e-13)
        active = SMOOTH.get(name, range(len(args)))
        step = 1e-6
        for i in active:
            slopes = np.asarray(pb.vmap(pb.grad(ours, i))(*args))
            with np.errstate(all="ignore"):
                high, low = (oracle(*args[:i], args[i] + h, *args[i + 1 :]) for h in (step, -step))
                numeric = (high - low) / (2 * step)
            known = np.isfinite(numeric)
            np.testing.assert_allclose(slopes[known], numeric[known], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(("name", "function"), FUNCTIONS)
def test_dtypes_and_shapes(name, function, dtype):
    ours = getattr(getattr(stats, name), function)
    args = (UNIT, *ARGUMENTS[name][1:]) if function == "ppf" else ARGUMENTS[name]
    narrow = [pnp.asarray(x).astype(dtype) for x in args]
    got = ours(*narrow)
    assert got.dtype == dtype
    assert ours(*(x[:0] for x in narrow)).shape == (0,)
    assert ours(*(x[0] for x in narrow)).shape == ()
    with raises(TypeError, f"{name}.{function}: "):
        ours(1j, *args[1:])


def binom_logpmf(k, n, p):
    return mp.log(mp.binomial(n, k)) + k * mp.log(p) + (n - k) * mp.log1p(-p)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_counts(dtype):
    k, n, p = np.array([3e5, 1e4, 0, 1e6]), np.array([1e6, 1e6, 1e6, 1e6]), np.array([0.3, 0.011, 1e-9, 0.999999])
    check(stats.binom.logpmf, binom_logpmf, (k, n, p), dtype, 32)

    def betabinom(k, n, a, b):
        logs = mp.loggamma(k + a) + mp.loggamma(n - k + b) - mp.loggamma(n + a + b)
        return mp.log(mp.binomial(n, k)) + logs - mp.loggamma(a) - mp.loggamma(b) + mp.loggamma(a + b)

    check(
        stats.betabinom.logpmf, betabinom, (k, n, np.array([30.0, 2e4, 2, 5]), np.array([70.0, 2e6, 3, 1])), dtype, 64
    )


def test_the_tails_of_an_interval():
    with pb.enable_x64():
        below = stats.truncnorm.logcdf(np.array([30.0, 31.0]), 29.0, np.inf)
        exact = scipy.stats.truncnorm.logsf(np.array([30.0, 31.0]), 29.0, np.inf)
        np.testing.assert_allclose(np.expm1(np.asarray(below)), -np.exp(exact), rtol=1e-11)
        np.testing.assert_allclose(stats.truncnorm.logsf(31.0, 29.0, np.inf), exact[1], rtol=1e-12)
        # an interval far shorter than its distance from the center, and one around it
        np.testing.assert_allclose(stats.truncnorm.pdf(1e-9, 0.0, 1e-8), 1e8, rtol=1e-14)
        np.testing.assert_allclose(stats.truncnorm.pdf(40.0, 40.0, 40.0 + 1e-8), 1e8, rtol=1e-6)
    assert np.isnan(stats.truncnorm.logpdf(0.0, 1.0, -1.0))
    assert stats.truncnorm.logpdf(2.0, -1.0, 1.0) == -np.inf
    assert [stats.truncnorm.cdf(x, -1.0, 1.0) for x in (-2.0, 2.0)] == [0, 1]
    slopes = pb.grad(stats.truncnorm.logpdf, (0, 2))(-1.0, -np.inf, 0.5)
    assert np.isfinite(slopes).all()


def test_edges():
    assert stats.binom.pmf(0, 5, 0.0) == stats.binom.pmf(5, 5, 1.0) == 1
    assert stats.binom.logpmf(0.5, 5, 0.3) == stats.binom.logpmf(6, 5, 0.3) == -np.inf
    assert np.isnan(stats.binom.pmf(1, -1, 0.3))
    assert stats.geom.pmf(1, 1.0) == 1
    assert stats.geom.logpmf(0, 0.5) == -np.inf
    assert stats.nbinom.pmf(0, 3.0, 1.0) == 1
    assert np.isnan(stats.betabinom.pmf(1, 2, -1.0, 1.0))
    assert stats.gumbel_r.ppf(np.array([0.0, 1.0])).tolist() == [-np.inf, np.inf]
    assert stats.pareto.ppf(np.array([0.0, 1.0]), 2.0).tolist() == [1, np.inf]
    assert stats.gumbel_r.logsf(1000.0) == -1000
    for run in (stats.gumbel_r.pdf, stats.gumbel_r.cdf, stats.gumbel_r.sf, stats.gumbel_r.logsf):
        assert pb.grad(run)(-1e4) == 0
        assert pb.jit(pb.grad(run))(-1e4) == 0
    assert pb.grad(stats.gennorm.cdf)(0.0, 2.0) == pytest.approx(1 / np.sqrt(np.pi))
    assert stats.wrapcauchy.logpdf(7.0, 0.5) == -np.inf
    assert np.isnan(stats.wrapcauchy.logpdf(1.0, 1.5))
    assert stats.vonmises.pdf(1.0, 1e30) == 0


def test_categories():
    alpha = RNG.uniform(0.2, 5, 4)
    x = RNG.dirichlet(alpha, 7).T
    share = alpha / alpha.sum()
    counts = RNG.multinomial(9, share, 5)
    with pb.enable_x64():
        for given in (x, x[:-1]):
            np.testing.assert_allclose(
                stats.dirichlet.logpdf(given, alpha), scipy.stats.dirichlet.logpdf(x, alpha), 1e-12
            )
        np.testing.assert_allclose(
            stats.multinomial.logpmf(counts, 9, share), scipy.stats.multinomial.logpmf(counts, 9, share), 1e-12
        )
        # a number of trials for each row
        trials = np.array([9, 9, 8, 9, 9])
        expected = scipy.stats.multinomial.logpmf(counts, trials, share)
        np.testing.assert_allclose(stats.multinomial.logpmf(counts, trials, share), expected, 1e-12)
        check_grads(stats.dirichlet.logpdf, (x[:-1, 0], alpha), order=2, rtol=1e-4, atol=1e-4)

        def of_shares(shares):
            return stats.multinomial.logpmf(counts, 9, shares)

        np.testing.assert_allclose(pb.jacobian(of_shares)(share), counts / share, rtol=1e-9)
    assert stats.dirichlet.logpdf(np.array([0.5, 0.6]), np.ones(2)) == -np.inf
    assert stats.multinomial.pmf(np.array([1, 2]), 4, np.array([0.5, 0.5])) == 0
    assert stats.multinomial.pmf(np.array([0, 2]), 2, np.array([0.0, 1.0])) == 1
    with raises(ValueError, "dirichlet.logpdf: x must have 2 or 1 entries along its first axis, got shape (3,)"):
        stats.dirichlet.logpdf(np.ones(3) / 3, np.ones(2))
    with raises(ValueError, "multinomial.logpmf: x and p must have an axis of categories"):
        stats.multinomial.logpmf(1, 1, 1.0)


def pareto_log_below(x, b):
    return mp.log(-mp.expm1(-b * mp.log(x)))


def pareto_slope(x, b):
    return b / x / mp.expm1(b * mp.log(x))


def test_pareto_beyond_the_range_of_its_parts():
    # b log(x) and b / x are subnormal or 0
    x, b = np.float32([1.0000153, 46.153847, 3.8952429e32]), np.float32([1.1754944e-38, 1.1754944e-38, 3.7113291e-15])
    check(stats.pareto.logcdf, pareto_log_below, (x, b), "float32", 32)
    check(derivative(stats.pareto.logcdf), pareto_slope, (x, b), "float32", 64)
    x, b = np.float32([2.5316437e38, 8.4927411e20]), np.float32([64.615387, 1e7])
    check(derivative(stats.pareto.logpdf), lambda x, b: -(b + 1) / x, (x[:1], b[:1]), "float32", 64)
    check(derivative(stats.pareto.logpdf, 2), lambda x, b: (b + 1) / x**2, (x[1:], b[1:]), "float32", 256)
    assert stats.pareto.logcdf(np.array([1.0, 0.5]), 2.0).tolist() == [-np.inf, -np.inf]
    assert np.isnan(stats.pareto.logcdf(np.nan, 2.0))


def gumbel_bend(z):
    w = mp.exp(-z)
    return w * mp.exp(-w) * (w - 1)


def test_the_curvature_of_gumbels_distribution_at_its_mode():
    z = np.array([1e-20, -1e-9, 3e-5, 0.5, -2.0, 30.0])
    for dtype in ("float32", "float64"):
        check(derivative(stats.gumbel_r.cdf, 2), gumbel_bend, (z,), dtype, 64)
        check(derivative(stats.gumbel_r.sf, 2), lambda z: -gumbel_bend(z), (z,), dtype, 64)
        check(derivative(stats.gumbel_l.cdf, 2), lambda z: -gumbel_bend(-z), (-z,), dtype, 64)


def normal_mass(a, b):
    """Of an interval; where both ends are positive by the mirrored one."""
    return mp.ncdf(b) - mp.ncdf(a) if a < 0 else mp.ncdf(-a) - mp.ncdf(-b)


def truncnorm_below(x, a, b):
    return normal_mass(a, x) / normal_mass(a, b)


def truncnorm_density(x, a, b):
    return mp.npdf(x) / normal_mass(a, b)


def truncnorm_log_below(x, a, b):
    return mp.log(truncnorm_below(x, a, b))


def truncnorm_hazard(x, a, b):
    return mp.npdf(x) / normal_mass(a, x)


def truncnorm_bend(x, a, b):
    return -x * truncnorm_density(x, a, b)


def by_lower_end(x, a, b):
    return -mp.npdf(a) * normal_mass(x, b) / normal_mass(a, b) ** 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_truncnorm_next_to_its_ends_and_on_narrow_intervals(dtype):
    below, above = np.nextafter(np.ones(1, dtype), 0), np.nextafter(np.ones(1, dtype), 2)
    points = [
        (below[0], 0, 1),
        (1, below[0], above[0]),
        (1, 0.75, 1.0078125),
        (-25.0, -25.0078125, 3.0),
        (0.25, -3.0, 8.0),
    ]
    args = np.array(points, dtype).T
    functions = {
        truncnorm_below: stats.truncnorm.cdf,
        truncnorm_log_below: stats.truncnorm.logcdf,
        truncnorm_density: derivative(stats.truncnorm.cdf),
        truncnorm_hazard: derivative(stats.truncnorm.logcdf),
        truncnorm_bend: derivative(stats.truncnorm.cdf, 2),
        by_lower_end: derivative(stats.truncnorm.cdf, 1, 1),
    }
    with mp.workdps(120):
        for reference, function in functions.items():
            check(function, reference, args, dtype, 64)


def geom_mass(k, p):
    return p * (1 - p) ** (k - 1)


def geom_bend(k, p):
    return -(k - 1) * (1 - p) ** (k - 2) * (2 - (k - 2) * p / (1 - p))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_geom_of_rare_successes(dtype):
    args = np.array([[1000, 1e-33], [1000, 1.2e-38], [2, 5e-21], [3, 1e-30], [1, 0.25]], dtype).T
    check(stats.geom.pmf, geom_mass, args, dtype, 32)
    check(derivative(stats.geom.pmf, 2, 1), geom_bend, args, dtype, 256)
    assert stats.geom.pmf(np.array([1, 2]), 1.0).tolist() == [1, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_beta_density_next_to_the_smallest_numbers(dtype):
    tiny = float(np.finfo(dtype).tiny)

    def density(x, a, b):
        return mp.mpf(x) ** (a - 1) * (1 - mp.mpf(x)) ** (b - 1) / mp.beta(a, b)

    def log_density(x, a, b):
        return mp.log(density(x, a, b))

    # the front factor would be subnormal, which compiled code flushes, though the density is not
    x, a, b = np.array([0.47, 0.5, 0.01, 0.3, 0.9]), np.array([1, 1, tiny, 2 * tiny, tiny]), np.array([1, 2, 1, 3, 1])
    b = b * np.where(a == 1, tiny, 1)
    with mp.workdps(400):
        check(stats.beta.logpdf, log_density, (x, a, b), dtype, 32)
        check(stats.beta.pdf, density, (x[2:], a[2:], b[2:]), dtype, 32)


@pytest.mark.parametrize("run", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_the_slope_of_a_beta_density_that_vanishes(run):
    """By the parameter that makes it vanish at an end: 0, not 0 times infinity."""
    x, a, b = np.array([0.0, 0.0]), np.array([3.0, 0.5]), np.array([2.0, 2.0])
    np.testing.assert_array_equal(run(derivative(stats.beta.pdf, 1, 1))(x, a, b), [0, -np.inf])
    np.testing.assert_array_equal(run(derivative(stats.beta.pdf, 1, 2))(1 - x, b, a), [0, -np.inf])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_quantile_of_the_largest_next_to_the_ends(dtype):
    p = np.array([2 * np.finfo(dtype).tiny, 1e-30, 4.7e-20, 0.2, 0.9, 1 - 2 * np.finfo(dtype).eps])
    check(derivative(stats.gumbel_r.ppf), lambda p: -1 / (p * mp.log(p)), (p,), dtype, 16)
    check(derivative(stats.gumbel_r.ppf, 2), lambda p: (1 + mp.log(p)) / (p * mp.log(p)) ** 2, (p[2:],), dtype, 32)
    ends = np.array([0.0, np.finfo(dtype).tiny, 1.0], dtype)
    with pb.enable_x64(dtype == "float64"):
        for run in (lambda f: f, pb.jit):
            assert run(derivative(stats.gumbel_r.ppf))(ends)[::2].tolist() == [np.inf, np.inf]
            assert run(derivative(stats.gumbel_r.ppf, 2))(ends).tolist() == [-np.inf, -np.inf, np.inf]


def betabinom_mass(k, n, a, b):
    return mp.binomial(n, k) * mp.beta(k + a, n - k + b) / mp.beta(a, b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_betabinom_of_tiny_parameters(dtype):
    """The mass is nearly linear in a tiny parameter, or nearly constant: its second derivative has no pole."""
    k = np.array([7.0, 10, 3, 0, 0, 10, 5])
    n = np.array([10.0, 10, 1000, 10, 1000, 10, 10])
    a = np.array([1e-7, 1e-30, 1e-20, 1e-6, 2e-5, 0.25, 1e-3])
    b = np.array([1.9, 0.25, 0.5, 2.0, 0.5, 1e-12, 1e-6])
    for i in (2, 3):
        for order in (1, 2):

            def slope(*args, i=i, order=order):
                with mp.workdps(150):
                    return mp.diff(lambda t: betabinom_mass(*args[:i], t, *args[i + 1 :]), args[i], order)

            args = [np.delete(x, 5 if i == 2 else [1, 2]) for x in (k, n, a, b)]
            check(derivative(stats.betabinom.pmf, order, i), slope, args, dtype, (64, 256)[order - 1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_betabinom_of_a_mass_next_to_one(dtype):
    """Where all trials end alike, the logarithm of the mass and its derivatives keep digits though they are small."""
    k = np.array([0.0, 0, 0, 5, 1000, 0])
    n = np.array([1000.0, 1000, 10, 5, 1000, 1])
    a = np.array([1.0035, 1.8e-5, 1e-30, 2e6, 0.5, 3.0])
    b = np.array([1e7, 0.5, 1e-3, 0.7, 1e-9, 1e6])

    def log_mass(k, n, a, b):
        return mp.log(betabinom_mass(k, n, a, b))

    check(stats.betabinom.logpmf, log_mass, (k, n, a, b), dtype, 32)
    for i in (2, 3):
        for order in (1, 2):

            def slope(*args, i=i, order=order):
                with mp.workdps(150):
                    return mp.diff(lambda t: log_mass(*args[:i], t, *args[i + 1 :]), args[i], order)

            args = [np.delete(x, 2) for x in (k, n, a, b)]
            check(derivative(stats.betabinom.logpmf, order, i), slope, args, dtype, (64, 256)[order - 1])
    check(stats.betabinom.pmf, betabinom_mass, (k, n, a, b), dtype, 16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nbinom_of_a_tiny_number_of_successes(dtype):
    k = np.array([7.0, 4, 15, 11, 3, 1])
    n = np.array([1e-33, 5e-27, 1e-20, 1.7e-3, 0.9, 1e-9])
    p = np.array([0.99, 0.5, 1.5e-5, 5e-21, 1e-15, 0.3])

    def mass(k, n, p):
        return mp.gamma(n + k) / mp.gamma(n) / mp.factorial(k) * p**n * (1 - p) ** k

    check(stats.nbinom.pmf, mass, (k, n, p), dtype, 32)
    for i in (1, 2):
        for order in (1, 2):

            def slope(*args, i=i, order=order):
                with mp.workdps(150):
                    return mp.diff(lambda t: mass(*args[:i], t, *args[i + 1 :]), args[i], order, relative=True)

            check(derivative(stats.nbinom.pmf, order, i), slope, (k, n, p), dtype, (64, 256)[order - 1])


@pytest.mark.parametrize(
    ("k", "n", "a", "b"), [(0, 1000, 1.0078125, 1e7), (1000, 1000, 1e7, 1.0078125), (2, 2, 643, 1e7)]
)
def test_betabinom_by_the_smaller_shape(k, n, a, b):
    """Where the other one is far larger, slopes by the smaller one are small differences of large logarithms."""
    argument = 2 if a < b else 3
    with mp.workdps(60):
        x, y = (mp.mpf(a), mp.mpf(b)) if a < b else (mp.mpf(b), mp.mpf(a))
        hits = k if a < b else n - k
        slope, curve = (
            mp.psi(order, hits + x) - mp.psi(order, x) - mp.psi(order, n + x + y) + mp.psi(order, x + y)
            for order in (0, 1)
        )
    slope_of = pb.grad(stats.betabinom.logpmf, argument)
    with pb.enable_x64():
        for dtype in (np.float32, np.float64):
            point = [dtype(v) for v in (k, n, a, b)]
            eps = float(np.finfo(dtype).eps)
            for transform in (lambda f: f, pb.jit):
                assert float(transform(slope_of)(*point)) == pytest.approx(float(slope), rel=64 * eps)
                assert float(transform(pb.grad(slope_of, argument))(*point)) == pytest.approx(
                    float(curve), rel=64 * eps
                )


@pytest.mark.parametrize("x", [2.0**-500, 2.0**-700, 2.0**-1000])
def test_slope_of_a_logarithmic_tail_next_to_0(x):
    """There x**a vanishes, but not x**(a - 1), which the density is."""
    with mp.workdps(40), pb.enable_x64():
        for distribution, z, scale in ((stats.gamma, mp.mpf(x), 1), (stats.chi2, mp.mpf(x) / 2, 2)):
            exact = float(-(z ** mp.mpf("0.625")) / mp.gamma(mp.mpf("1.625")) / scale)
            slope = pb.grad(distribution.logsf)
            for run in (slope, pb.jit(slope)):
                assert float(run(x, 1.625 * scale)) == pytest.approx(exact, rel=1e-13)
