"""scipy.stats: SciPy's values in float64, JAX's types and values in float32, derivatives, tails, ends, refusals."""

import functools
import importlib
import inspect

import jax
import jax.numpy as jnp
import jax.scipy.stats as jstats
import ml_dtypes
import mpmath
import numpy as np
import pytest
import scipy.stats
from exact import DTYPES, check, derivative

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy import stats
from pullback.test_util import check_grads

RNG = np.random.default_rng(0)
FAR = np.concatenate([-np.logspace(-3, 8, 12), [0.0], np.logspace(-3, 8, 12)])
REAL = np.concatenate([FAR, 3 * RNG.standard_normal(20)])
UNIT = np.concatenate([RNG.uniform(-0.2, 1.2, 20), np.logspace(-10, -0.1, 8)])
PROBABILITIES = np.concatenate(
    [np.logspace(-300, -0.001, 20), 1 - np.logspace(-15, -0.5, 10), [0, 1, -0.1, 1.1, np.nan]]
)
# where to evaluate each distribution, and its parameters
CONTINUOUS = {
    "norm": (REAL, ()),
    "uniform": (UNIT, ()),
    "expon": (REAL, ()),
    "laplace": (REAL, ()),
    "logistic": (REAL, ()),
    "gamma": (REAL, (2.3,)),
    "beta": (UNIT, (2.3, 0.7)),
    "t": (REAL, (3.3,)),
    "cauchy": (REAL, ()),
}
DISCRETE = {"bernoulli": (0.3,), "poisson": (2.3,)}
FUNCTIONS = [(name, function) for name in (*CONTINUOUS, *DISCRETE) for function in getattr(stats, name).__all__]
DENSITIES = [pair for pair in FUNCTIONS if pair[0] in CONTINUOUS]


def get(name, function):
    return getattr(getattr(stats, name), function)


def points(name, function):
    if function in ("ppf", "isf"):
        return PROBABILITIES
    return CONTINUOUS[name][0] if name in CONTINUOUS else np.array([-1.0, 0, 1, 2, 7])


def parameters(name):
    return CONTINUOUS[name][1] if name in CONTINUOUS else DISCRETE[name]


def close(got, expected, tolerance):
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    np.testing.assert_allclose(got, expected, tolerance, tolerance / 1e3)


def test_the_functions_are_those_of_jax():
    for name in (*CONTINUOUS, *DISCRETE, "multivariate_normal"):
        ours, oracle = importlib.import_module(f"pullback.scipy.stats.{name}"), getattr(jstats, name)
        assert ours.__all__ == [f for f in dir(oracle) if callable(getattr(oracle, f)) and f[0] != "_"]
        for function in ours.__all__:
            assert list(inspect.signature(getattr(ours, function)).parameters) == list(
                inspect.signature(getattr(oracle, function)).parameters
            )


@pytest.mark.parametrize(("name", "function"), DENSITIES)
def test_float64_is_as_accurate_as_scipy(name, function):
    x, settings = points(name, function), {} if function in ("ppf", "isf") else {"loc": 0.3, "scale": 1.7}
    with np.errstate(all="ignore"):
        expected = getattr(getattr(scipy.stats, name), function)(x, *parameters(name), **settings)
    with pb.enable_x64(True):
        got = get(name, function)(x, *parameters(name), **settings)
        # not where SciPy takes logarithms of probabilities that are rounded to 1, or underflow
        keep = (np.abs(expected) > 1e-4) | (function not in ("logcdf", "logsf"))
        keep &= np.isfinite(expected) | (name not in ("laplace", "gamma"))
        close(got[keep], expected[keep], 2e-12)


def test_whole_numbers():
    k = np.array([-1, 0, 1, 2, 7, 60, np.inf])
    with pb.enable_x64(True):
        close(stats.poisson.cdf(k, 3.0), scipy.stats.poisson.cdf(k, 3.0), 1e-13)
        close(stats.poisson.logpmf(k[:-1], 3.0, 1), scipy.stats.poisson.logpmf(k[:-1], 3.0, 1), 1e-13)
        close(stats.poisson.logpmf(np.array([0.5, np.inf]), 3.0), [-np.inf, -np.inf], 0)
        means = np.array([0, 0.01, 3, 99.9, 100.1, 150])
        close(stats.poisson.entropy(means), [0, *scipy.stats.poisson.entropy(means[1:])], 1e-12)
        close(stats.bernoulli.pmf(k, 0.3), scipy.stats.bernoulli.pmf(k, 0.3), 1e-13)
        close(stats.bernoulli.cdf(k, 0.3), scipy.stats.bernoulli.cdf(k, 0.3), 1e-13)
    for p in (0.0, 0.3, 1.0, 1.5):
        q = np.array([-0.1, 0, 0.3, 0.71, 1, 1.1])
        np.testing.assert_array_equal(stats.bernoulli.ppf(q, p), jstats.bernoulli.ppf(q, p))
    # soft labels, as in JAX
    close(stats.bernoulli.logpmf(0.5, 0.3), (np.log(0.3) + np.log(0.7)) / 2, 1e-6)


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_types_are_those_of_jax(name):
    for function in getattr(stats, name).__all__:
        fun, oracle, args = get(name, function), getattr(getattr(jstats, name), function), parameters(name)
        shaped = [np.ones((2, 1), np.float32), *(np.ones(3, np.float32) for _ in args)]
        numbers = np.float16(0.5), np.float32(0.5), ml_dtypes.bfloat16(0.5), np.arange(3)
        cases = [*((x, *args) for x in numbers), shaped]
        for case in cases:
            case = case[-1:] if function == "entropy" else case
            if name == "norm" and case[0].dtype != np.float32 and function not in ("logpdf", "pdf"):
                assert fun(*case).dtype == (np.float32 if case[0].dtype.kind == "i" else case[0].dtype)
                continue  # JAX refuses them
            got, expected = pb.eval_shape(fun, *case), jax.eval_shape(oracle, *case)
            assert (got.shape, got.dtype) == (expected.shape, expected.dtype)


def test_weak_types_are_those_of_jax():
    for function in stats.norm.__all__:
        fun, oracle = getattr(stats.norm, function), getattr(jstats.norm, function)
        assert pb.eval_shape(fun, 0.4).weak_type == jax.eval_shape(oracle, 0.4).weak_type
    flags, labels, x = np.array([True]), np.arange(2), np.float32([0, 1])
    for name, args in (
        ("norm.pdf", (flags,)),
        ("norm.cdf", (flags,)),
        ("bernoulli.pmf", (labels, 0.3)),
        ("bernoulli.cdf", (x, 0.3)),
        ("gamma.pdf", (labels, 2.0)),
    ):
        module, function = name.split(".")
        assert not getattr(getattr(stats, module), function)(*args).weak_type


def table(lib, x, unit, q):
    """Every function of every distribution, in float32."""
    out = {}
    for name, function in FUNCTIONS:
        args = [np.float32(a) for a in parameters(name)]
        if function == "entropy" or (name in ("beta", "gamma") and "pdf" not in function):  # slow to compile
            continue
        place = q if function in ("ppf", "isf") else unit if name in ("uniform", "beta") else x
        place = lib.round(place) if name in DISCRETE and function != "ppf" else place
        out[f"{name}.{function}"] = (place, args)
    return out


def test_values_are_those_of_jax_eagerly_and_compiled():
    x, unit, q = (
        np.float32(v) for v in ([-2.2, -0.4, 0.3, 1.6, 5.2], [0.1, 0.4, 0.6, 0.7, 0.9], [0.02, 0.1, 0.5, 0.8, 0.97])
    )

    def run(module):
        def fun(x, unit, q):
            return {
                key: getattr(getattr(module, key.split(".")[0]), key.split(".")[1])(place, *args)
                for key, (place, args) in table(jnp if module is jstats else pnp, x, unit, q).items()
            }

        return fun

    expected = jax.jit(run(jstats))(x, unit, q)
    for got in (run(stats)(x, unit, q), pb.jit(run(stats))(x, unit, q)):
        for key in expected:
            np.testing.assert_allclose(got[key], expected[key], 1e-4, 2e-6, err_msg=key)


@pytest.mark.parametrize(("name", "function"), DENSITIES)
def test_derivatives(name, function):
    x = np.array([0.55, 1.15]) if name not in ("uniform", "beta") else np.array([0.55, 0.95])
    args = [np.array(a) for a in parameters(name)]
    with pb.enable_x64(True):
        if function in ("ppf", "isf"):
            check_grads(get(name, function), (np.array([1e-3, 0.3, 0.9]), 0.3, 1.7), order=2)
        else:
            check_grads(
                lambda x, loc, scale, *args: get(name, function)(x, *args, loc, scale), (x, 0.3, 1.7, *args), order=2
            )


def test_derivatives_of_whole_numbers():
    k = np.array([0.0, 1.0])
    with pb.enable_x64(True):
        for fun in (
            stats.bernoulli.logpmf,
            stats.bernoulli.pmf,
            stats.poisson.logpmf,
            stats.poisson.pmf,
            stats.poisson.cdf,
        ):
            check_grads(lambda p, fun=fun: fun(k, p), (np.array([0.3, 0.8]),), order=2)
        check_grads(stats.poisson.entropy, (np.array([0.3, 8.0, 120.0]),), order=2)


def test_tails_of_the_normal_distribution():
    with pb.enable_x64(True):
        x = np.array([-1e4, -300.0, -38.0, -5.0, 0.0, 5.0, 40.0])
        for fun, sign in ((stats.norm.logcdf, 1), (stats.norm.logsf, -1)):
            close(fun(sign * x), scipy.stats.norm.logcdf(x), 1e-13)
            slope = np.exp(scipy.stats.norm.logpdf(x) - scipy.stats.norm.logcdf(x))
            # SciPy's quotient of logarithms loses digits far out
            close(pb.vmap(pb.grad(fun))(sign * x), sign * slope, 1e-7)
            close(pb.vmap(pb.grad(pb.grad(fun)))(sign * x[1:]), (-slope * (x + slope))[1:], 1e-3)
        assert abs(float(pb.grad(stats.norm.logcdf)(-1e4)) / (1e4 + 1e-4) - 1) < 1e-11
    for x in (-20.0, -1e3, -1e18):
        assert np.isfinite(stats.norm.logcdf(np.float32(x)))
        close(pb.jit(pb.grad(stats.norm.logcdf))(np.float32(x)), -x, 1e-2)
    close(stats.norm.ppf(np.float32(1e-30)), scipy.stats.norm.ppf(1e-30), 1e-6)
    close(pb.grad(stats.norm.ppf)(np.float32(1e-10)), 1 / scipy.stats.norm.pdf(scipy.stats.norm.ppf(1e-10)), 1e-4)
    close(stats.norm.ppf(np.float16(0.975)), 1.96, 2e-2)


def test_tails_of_other_distributions():
    close(stats.cauchy.cdf(np.float32(-1e10)), 1 / (np.pi * 1e10), 1e-6)
    close(stats.cauchy.logpdf(np.float32(1e25)), -np.log(np.pi) - 50 * np.log(10), 1e-6)
    close(stats.t.logpdf(np.float32(0.3), np.float32(1e7)), scipy.stats.t.logpdf(np.float32(0.3), 1e7), 1e-6)
    close(stats.logistic.logpdf(np.float32([-1e4, 1e4])), [-1e4, -1e4], 1e-6)
    close(stats.expon.logcdf(np.float32(1e-30)), np.log(1e-30), 1e-6)
    close(stats.gamma.logcdf(np.float32(30), np.float32(2)), scipy.stats.gamma.logcdf(30, 2), 1e-5)
    close(stats.norm.logpdf(np.float32(0), 0, np.float32(1e-30)), scipy.stats.norm.logpdf(0, 0, 1e-30), 1e-6)


@pytest.mark.parametrize("name", ["uniform", "expon", "gamma", "beta"])
def test_outside_of_the_interval_densities_and_slopes_vanish(name):
    module, args = getattr(stats, name), [np.float32(a) for a in parameters(name)]
    below, above = np.float32(-1), np.float32(np.inf if name in ("gamma", "expon") else 2)
    for x in (below, above):
        assert module.logpdf(x, *args) == -np.inf
        assert module.pdf(x, *args) == 0
        assert module.cdf(x, *args) == (x > 0)
    for function in module.__all__:
        if function not in ("ppf", "isf"):
            assert float(pb.grad(getattr(module, function))(below, *args)) == 0
            assert np.isnan(getattr(module, function)(np.float32(np.nan), *args))


def test_parameters_do_not_matter_outside_of_the_interval():
    for function, args in ((stats.gamma.logpdf, (-1.0, 2.0)), (stats.beta.logpdf, (2.0, 2.0, 3.0))):
        for slope in pb.grad(function, tuple(range(1, len(args))))(*args):
            assert slope == 0


def test_slopes_at_the_end_of_a_gamma_distribution():
    for function, expected in ((stats.gamma.cdf, 1), (stats.gamma.sf, -1)):
        for fun in (function, pb.jit(function)):
            close(pb.grad(fun)(0.0, 1.0), expected, 1e-6)
            close(pb.grad(pb.grad(fun))(0.0, 1.0), -expected, 1e-6)


def test_nothing_is_nan_on_the_way_to_a_number():
    with pb.debug_nans(True):
        for name, function in DENSITIES:
            if function not in ("ppf", "isf"):
                names = ("df",) if name == "t" else ("a", "b")
                fun = functools.partial(get(name, function), **dict(zip(names, parameters(name), strict=False)))
                pb.vjp(fun, np.float32([-1.5, 0.3, 2]))[1](np.ones(3, np.float32))
            else:
                get(name, function)(np.float32([0, 1e-30, 0.5, 1]))
                pb.vjp(get(name, function), np.float32([1e-30, 0.5]))[1](np.ones(2, np.float32))


def test_vectors():
    a = RNG.standard_normal((5, 3, 3))
    cov, mean, x = a @ a.transpose(0, 2, 1) + np.eye(3), RNG.standard_normal((5, 3)), RNG.standard_normal((4, 1, 3))
    expected = np.array(
        [[scipy.stats.multivariate_normal.logpdf(x[i, 0], mean[j], cov[j]) for j in range(5)] for i in range(4)]
    )
    with pb.enable_x64(True):
        close(stats.multivariate_normal.logpdf(x, mean, cov), expected, 1e-12)
        close(stats.multivariate_normal.logpdf(x[:, 0], mean[0], cov[0]), expected[:, 0], 1e-12)
        close(stats.multivariate_normal.pdf(x[0, 0], mean[0], cov[0]), np.exp(expected[0, 0]), 1e-12)
        close(
            stats.multivariate_normal.logpdf(x, mean, 2.0),
            stats.multivariate_normal.logpdf(x, mean, 2 * np.eye(3)),
            1e-12,
        )
        close(stats.multivariate_normal.logpdf(x, 1.0, 2.0), scipy.stats.norm.logpdf(x, 1, np.sqrt(2)), 1e-12)
        check_grads(
            lambda x, mean, a: stats.multivariate_normal.logpdf(x, mean, a @ a.T + pnp.eye(3)),
            (x[:2, 0], mean[0], a[0]),
            order=2,
        )
    batched = pb.vmap(stats.multivariate_normal.logpdf, (None, 0, 0))(x, *map(np.float32, (mean, cov)))
    close(batched, expected.T[..., None], 1e-4)
    assert np.isnan(stats.multivariate_normal.logpdf(np.zeros(3), np.zeros(3), -np.eye(3)))


def test_refusals():
    with pytest.raises(TypeError, match=r"norm\.logpdf: expected a real number, got c64"):
        stats.norm.logpdf(1j)
    with pytest.raises(ValueError, match=r"gamma\.cdf: shapes \(2,\), \(3,\).* do not broadcast"):
        stats.gamma.cdf(np.ones(2), np.ones(3))
    with pytest.raises(TypeError, match=r"cauchy\.pdf: argument 0"):
        stats.cauchy.pdf("x")
    logpdf = stats.multivariate_normal.logpdf
    with pytest.raises(ValueError, match=r"logpdf: cov must be a number or have shape \(\.\.\., 3, 3\) .* got \(2,\)"):
        logpdf(np.ones(3), np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"logpdf: x and mean must have one length .* \(2,\) and \(3,\)"):
        logpdf(np.ones(2), np.ones(3), np.eye(3))
    with pytest.raises(ValueError, match=r"logpdf: mean is a number, so cov must be the variance"):
        logpdf(np.ones(3), 0, np.eye(3))
    with pytest.raises(NotImplementedError, match="allow_singular is not supported"):
        logpdf(0, 0, 1, True)


def in_both(fun, *args):
    return [float(run(fun)(*args)) for run in (lambda fun: fun, pb.jit)]


def test_tails_of_the_beta_distribution():
    with pb.enable_x64(True):
        for x, a, b in ((1e-10, 50.0, 50.0), (1e-100, 20.0, 3.0), (0.3, 2.0, 900.0), (0.9, 3e4, 1e3), (0.5, 2.0, 3.0)):
            with mpmath.workdps(60):
                p, q, z = map(mpmath.mpf, (a, b, x))
                # the integral by the density's value at x, of its series for the lower tail, DLMF 8.17.8
                lower = a * (1 - x) > b * x
                if not lower:
                    p, q, z = q, p, 1 - z
                tail = (
                    p * mpmath.log(z)
                    + q * mpmath.log1p(-z)
                    - mpmath.log(p)
                    - mpmath.log(mpmath.beta(p, q))
                    + mpmath.log(mpmath.hyp2f1(p + q, 1, p + 1, z))
                )
                slope = mpmath.exp(
                    (p - 1) * mpmath.log(z) + (q - 1) * mpmath.log1p(-z) - mpmath.log(mpmath.beta(p, q)) - tail
                )
                rest = mpmath.log1p(-mpmath.exp(tail))
                small, large = (stats.beta.logcdf, stats.beta.logsf) if lower else (stats.beta.logsf, stats.beta.logcdf)
            close(in_both(small, x, a, b), float(tail), 1e-13)
            close(in_both(pb.grad(small), x, a, b), float(slope) if lower else -float(slope), 1e-11)
            np.testing.assert_allclose(in_both(large, x, a, b), float(rest), 1e-11)
    for value in in_both(stats.beta.logpdf, np.float32(1e-5), np.float32(2), np.float32(1e5)):
        assert abs(value - 10.51294) < 1e-4
    for value in in_both(stats.beta.cdf, np.float32(0.01), np.float32(30), np.float32(1e4)):
        assert value == 1


def test_slopes_of_the_log_tails_in_the_parameters():
    with pb.enable_x64(True):
        for function in (stats.beta.logcdf, stats.beta.logsf):
            # also where the tail itself underflows
            for x, a, b in ((0.4, 2.0, 3.0), (1e-10, 50.0, 50.0), (1 - 1e-10, 50.0, 50.0)):
                for place in (1, 2):

                    def along(v, place=place, function=function, x=x, a=a, b=b):
                        return function(x, *((v, b) if place == 1 else (a, v)))

                    at = (a, b)[place - 1]
                    difference = (float(along(at + 1e-4)) - float(along(at - 1e-4))) / 2e-4
                    np.testing.assert_allclose(in_both(pb.grad(along), at), difference, 1e-5, 1e-12)


def test_far_out_on_the_t_and_cauchy_distributions():
    x, pi = 1e25, np.pi
    close(in_both(stats.cauchy.logcdf, np.float32(-3e38)), -np.log(pi) - np.log(3e38), 1e-6)
    np.testing.assert_allclose(in_both(pb.grad(stats.cauchy.logpdf), np.float32(x)), -2 / x, 1e-6)
    np.testing.assert_allclose(in_both(stats.cauchy.pdf, np.float32(1e10)), 1 / (pi * 1e20), 1e-6)
    np.testing.assert_allclose(in_both(pb.grad(stats.cauchy.pdf), np.float32(1e10)), -2 / (pi * 1e30), 1e-6)
    np.testing.assert_allclose(in_both(pb.grad(stats.t.logpdf), np.float32(x), np.float32(3)), -4 / x, 1e-6)
    for value in in_both(stats.t.logpdf, np.float32(1e30), np.float32(1e-20)):
        assert abs(value + 115.822402) < 1e-4
    assert in_both(pb.grad(stats.norm.pdf), np.float32(3e38)) == [0, 0]
    # the slope by the degrees of freedom is a difference of digammas
    with pb.enable_x64(True):
        n = mpmath.mpf(1e6)
        with mpmath.workdps(50):
            decay = mpmath.log1p(mpmath.mpf("0.25") / n)
            exact = (
                (mpmath.digamma((n + 1) / 2) - mpmath.digamma(n / 2)) / 2
                - 1 / (2 * n)
                - decay / 2
                + (n + 1) / 2 * mpmath.mpf("0.25") / n**2 / (1 + mpmath.mpf("0.25") / n)
            )
        np.testing.assert_allclose(in_both(pb.grad(stats.t.logpdf, 1), 0.5, 1e6), float(exact), 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_of_the_cauchy_quantile(dtype):
    # the second is infinite where the first still is a number, and 0 at the median
    q = [1e-37, 3e-13, 1e-5, 0.2, 0.26, 0.4999, 0.6, 0.9]
    check(stats.cauchy.ppf, lambda q: -mpmath.cot(mpmath.pi * q), [q], dtype, 8)
    check(derivative(stats.cauchy.ppf), lambda q: mpmath.pi * mpmath.csc(mpmath.pi * q) ** 2, [q[1:]], dtype, 8)
    check(
        derivative(stats.cauchy.isf, 2),
        lambda q: 2 * mpmath.pi**2 * mpmath.cot(mpmath.pi * q) * mpmath.csc(mpmath.pi * q) ** 2,
        [q[2:]],
        dtype,
        8,
    )
    with pb.enable_x64():
        for order, values in ((1, [np.inf, np.pi]), (2, [-np.inf, 0])):
            slope = derivative(stats.cauchy.ppf, order)
            for run in (slope, pb.jit(slope)):
                np.testing.assert_allclose(run(np.array([np.finfo(dtype).tiny, 0.5], dtype)), values, 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_of_the_logistic_density(dtype):
    x = [-80.0, -3.0, -1e-5, -1e-30, 1e-30, 1e-12, 0.3, 40.0]
    check(derivative(stats.logistic.logpdf), lambda x: -mpmath.tanh(x / 2), [x], dtype, 8)
    check(derivative(stats.logistic.pdf), lambda x: -mpmath.tanh(x / 2) / (2 + 2 * mpmath.cosh(x)), [x], dtype, 8)


def test_derivative_of_the_normal_quantile_in_float32_with_64_bit_types():
    with pb.enable_x64(True):
        assert pb.grad(stats.norm.ppf)(np.float32(0.25)).dtype == np.float32
