"""Powers, factorials, Bessel functions and spherical harmonics of scipy.special, against mpmath and SciPy."""

import mpmath as mp
import numpy as np
import pytest
import scipy.special
from exact import DTYPES, check, derivative
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.scipy import special

RNG = np.random.default_rng(0)
X = np.concatenate([np.logspace(-8, 2, 15), RNG.uniform(0, 5, 15)])
POWERS = np.concatenate([np.logspace(-12, 1, 15) * RNG.choice([-1, 1], 15), RNG.uniform(-4, 4, 15)])


def boxcox(x, power):
    return (x**power - 1) / power if power else mp.log(x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_transforms_by_powers(dtype):
    check(special.boxcox, boxcox, (X, POWERS), dtype, 32)
    check(special.boxcox1p, lambda x, power: boxcox(1 + x, power), (X - 1e-3, POWERS), dtype, 32)
    for i in (0, 1):

        def slope(*args, i=i):
            return mp.diff(lambda t: boxcox(*args[:i], t, *args[i + 1 :]), args[i])

        check(derivative(special.boxcox, 1, i), slope, (X, POWERS), dtype, 64)
    ends = special.boxcox(np.array([0.0, 0, 0, -1]), np.array([2.0, 0, -1, 1]))
    np.testing.assert_array_equal(ends, np.array([-0.5, -np.inf, -np.inf, np.nan], "float32"))


def boxcox_slope(x, power):
    """The derivative by the power."""
    with mp.workdps(700):  # the terms cancel
        raised = x**power
        return mp.log(x) ** 2 / 2 if not power else raised * mp.log(x) / power - (raised - 1) / power**2


# where x to the power of the parameter leaves the range, though what is asked for does not; and next to no parameter
BY_X = {
    "float32": [(1e-16, -0.3), (1e9, 4.9), (1e-18, 1e-4), (1e-17, -1e-7), (1e-15, 0.0), (900.0, 13.1), (1e-9, 3.0)],
    "float64": [(1e-150, -0.05), (1e9, 35.0), (1e-150, 1e-4), (1e-140, -1e-12), (1e-99, 0.0), (900.0, 104.5)],
}
BY_POWER = {
    "float32": [(2e-38, 1e-4), (1e-20, -1e-7), (2e-38, -0.9), (1e9, 3.5), (1e9, 0.0), (3.0, 81.0)],
    "float64": [(1e-300, 1e-4), (1e-290, -1e-12), (1e-300, -1.0), (1e9, 30.0), (1e9, 0.0), (3.0, 647.0)],
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_of_transforms_by_powers_far_out(dtype):
    x, power = np.array(BY_X[dtype], dtype).T
    check(derivative(special.boxcox), lambda x, power: x ** (power - 1), (x, power), dtype, 64)
    check(derivative(special.boxcox, 2), lambda x, power: (power - 1) * x ** (power - 2), (x, power), dtype, 64)
    y = np.where(x > 1, x - 1, -x)
    check(derivative(special.boxcox1p), lambda x, power: (1 + x) ** (power - 1), (y, power), dtype, 64)
    x, power = np.array(BY_POWER[dtype], dtype).T
    check(derivative(special.boxcox, 1, 1), boxcox_slope, (x, power), dtype, 64)
    y = np.where(x > 1, x - 1, -x)
    check(derivative(special.boxcox1p, 1, 1), lambda x, power: boxcox_slope(1 + x, power), (y, power), dtype, 64)


@pytest.mark.parametrize("run", [lambda f: f, pb.jit], ids=["eager", "compiled"])
def test_derivatives_of_transforms_by_powers_at_the_ends(run):
    x, power = np.array([0.0, 0, np.inf, np.inf, 1e-38, 1e38]), np.array([0.5, -1, -0.5, 2, -9, 9])
    by_power = run(derivative(special.boxcox, 1, 1))(x, power)
    np.testing.assert_allclose(by_power, [4, np.inf, 4, np.inf, np.inf, np.inf])
    second = run(derivative(special.boxcox, 2, 1))(x, power)
    np.testing.assert_allclose(second, [-16, -np.inf, 16, np.inf, -np.inf, np.inf])
    # beyond the range, not a difference of infinities; normal numbers, for compiled code flushes the others
    bend = run(derivative(special.boxcox, 2))(np.float32([1e-37, 1.2e-38]), np.float32([1e-5, -1e-5]))
    np.testing.assert_array_equal(bend, [-np.inf, -np.inf])
    with pb.enable_x64():
        np.testing.assert_allclose(run(derivative(special.boxcox1p))(np.array([-1.0]), np.array([1.0])), [1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_binomial_coefficients(dtype):
    n = RNG.uniform(0, 40, 30)
    k = n * RNG.uniform(0, 1, 30)
    check(special.comb, mp.binomial, (n, k), dtype, 32)
    with pb.enable_x64(dtype == "float64"):
        n, k = np.meshgrid(np.arange(-2, 15), np.arange(-2, 15))
        for repetition in (False, True):
            expected = [
                scipy.special.comb(int(a), int(b), exact=True, repetition=repetition)
                for a, b in zip(n.ravel(), k.ravel(), strict=True)
            ]
            got = special.comb(n.astype(dtype), k.astype(dtype), repetition=repetition)
            assert got.dtype == dtype
            np.testing.assert_array_equal(got.ravel(), expected)
        slopes = pb.grad(special.comb, (0, 1))(5.0, 2.0)
        exact = [float(mp.diff(lambda t: mp.binomial(t, 2), 5)), float(mp.diff(lambda t: mp.binomial(5, t), 2))]
        np.testing.assert_allclose(slopes, exact, rtol=1e-5)


@pytest.mark.parametrize(("n", "k"), [(2.0**-67, 2.0**-67), (2.0**-67, 2.0**-69), (2.0**-67, 0.0), (7.5, 2.0**-100)])
def test_slopes_of_comb_for_tiny_numbers(n, k):
    """Of log(n! / (k! (n - k)!)), by mpmath; 0 where they cancel in the dtype alone is wrong."""
    with mp.workdps(80):
        x, y = mp.mpf(n), mp.mpf(k)
        value, rest = mp.binomial(x, y), mp.digamma(x - y + 1)
        slopes = [float(value * (mp.digamma(x + 1) - rest)), float(value * (rest - mp.digamma(y + 1)))]
    with pb.enable_x64():
        for dtype in (np.float32, np.float64):
            eps = float(np.finfo(dtype).eps)
            slopes_of = pb.grad(special.comb, (0, 1))
            for run in (slopes_of, pb.jit(slopes_of)):
                found = [float(v) for v in run(dtype(n), dtype(k))]
                assert found == pytest.approx(slopes, rel=32 * eps, abs=0)


def test_bernoulli_numbers():
    with pb.enable_x64():
        exact = [float(mp.bernoulli(k)) for k in range(41)]
        exact[1] = -0.5
        np.testing.assert_allclose(special.bernoulli(40), exact, rtol=1e-15)
        assert special.bernoulli(270)[260:265:2].tolist() == [-np.inf, np.inf, -np.inf]
    assert special.bernoulli(0).tolist() == [1]
    assert special.bernoulli(1).dtype == "float32"
    with raises(ValueError, "bernoulli: n must be at least 0, got -1"):
        special.bernoulli(-1)
    with raises(TypeError, "bernoulli: n must be"):
        special.bernoulli(2.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_multivariate_gamma(dtype):
    def exact(a):
        return 3 * mp.log(mp.pi) + sum(mp.loggamma(a - mp.mpf(j) / 2) for j in range(4))

    def ours(a):
        return special.multigammaln(a, 4)

    check(ours, exact, (X + 1.6,), dtype, 32)
    check(derivative(ours), lambda a: mp.diff(exact, a), (X + 1.6,), dtype, 64)
    with raises(ValueError, "multigammaln: d must be at least 1, got 0"):
        special.multigammaln(2.0, 0)


def test_complex_log_gamma():
    z = (RNG.standard_normal(200) + 1j * RNG.standard_normal(200)) * np.repeat([0.01, 1, 10, 100], 50)
    z = np.concatenate([z, [-1.5 + 0j, 3 + 0j, -0.5 + 1e-3j, complex(-2.5, -0.0)]])
    with pb.enable_x64():
        for run in (special.loggamma, pb.jit(special.loggamma)):
            np.testing.assert_allclose(run(z), scipy.special.loggamma(z), rtol=1e-12, atol=1e-13)
        slopes = pb.vmap(pb.grad(special.loggamma, holomorphic=True))(z)
        np.testing.assert_allclose(slopes, scipy.special.psi(z), rtol=1e-12)
    got = special.loggamma(z.astype("complex64"))
    assert got.dtype == "complex64"
    np.testing.assert_allclose(got, scipy.special.loggamma(z), rtol=2e-4, atol=1e-5)
    assert np.isnan(special.loggamma(-1.5))
    assert special.loggamma(np.float32(0)) == np.inf


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("part", ["real", "imag"])
def test_parts_of_complex_log_gamma(part, dtype):
    def ours(x, y):
        return getattr(special.loggamma(lax.complex(x, y)), part)

    def exact(x, y):
        return getattr(mp.loggamma(mp.mpc(x, y)), part)

    info = np.finfo(dtype)
    # the zeros 1 and 2, the stationary point, the poles, both sides of 0.5 and of 10, and numbers next to them
    x = np.array(
        [1, 2, 1.46163214, 1e-7, 1e-30, 0.3, 0.499, 0.5, 1.62, 9.99, 10, 171, 9e3, -1e-7, -0.3, -1, -7.5, -99.9]
    )
    x = np.concatenate([x, [1 + 4 * info.eps, 2 - 4 * info.eps, -3 + 8 * info.eps, -2.7476826]])
    y = np.array([info.tiny, -8 * info.tiny, 1e-30, -1e-10, 1e-5, 1e-3, -0.2, 1.5, 9.99, -10, 300, 1e4])
    check(ours, exact, (x[:, None].repeat(len(y), 1).ravel(), np.tile(y, len(x))), dtype, 32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_complex_log_gamma_where_it_vanishes(dtype):
    """At a zero what y adds is right of itself, not beside the condition."""
    with pb.enable_x64():
        for x in (1.0, 2.0):
            y = np.array([1e-12, -1e-7, 1e-4, 0.01, 0.3], dtype)
            right = [mp.loggamma(mp.mpc(x, float(t))) for t in y]
            for run in (special.loggamma, pb.jit(special.loggamma)):
                got = run(lax.complex(pnp.full(5, x, dtype), pnp.asarray(y)))
                bound = 32 * np.finfo(dtype).eps
                np.testing.assert_allclose(got.real, [float(z.real) for z in right], rtol=bound)
                np.testing.assert_allclose(got.imag, [float(z.imag) for z in right], rtol=bound)


def test_derivatives_of_complex_log_gamma():
    z = (RNG.standard_normal(60) + 1j * RNG.standard_normal(60)) * np.repeat([0.01, 1, 30], 20)
    z = np.concatenate([z, [3, 1 + 1e-9j, -2.5 - 1e-3j, -0.5 + 40j]])
    with pb.enable_x64():
        for order in (1, 2):
            right = [complex(mp.psi(order - 1, mp.mpc(t))) for t in z]
            slope = special.loggamma
            for _ in range(order):
                slope = pb.grad(slope, holomorphic=True)
            for run in (pb.vmap(slope), pb.jit(pb.vmap(slope))):
                np.testing.assert_allclose(run(z), right, rtol=1e-13)
        # along the imaginary axis too, on the real axis
        _, tangent = pb.jvp(special.loggamma, (3 + 0j,), (1j,))
        np.testing.assert_allclose(tangent, 1j * scipy.special.psi(3), rtol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bessel_functions(dtype):
    z = np.concatenate([np.logspace(-6, 2.5, 20), -np.linspace(0.5, 60, 10)])
    for n in (0, 1, 5, 30):

        def ours(z, n=n):
            return special.bessel_jn(z, v=max(n, 6))[n]

        check(ours, lambda z, n=n: mp.besselj(n, z), (z,), dtype, 32)
        if n < 30:
            check(derivative(ours), lambda z, n=n: mp.besselj(n, z, 1), (z,), dtype, 64)
    edges = special.bessel_jn(np.array([[0.0, np.inf, np.nan]]), v=1)
    np.testing.assert_array_equal(edges, np.array([[[1, 0, np.nan]], [[0, 0, np.nan]]], "float32"))
    assert special.bessel_jn(pnp.ones(2, "bfloat16"), v=3).dtype == "bfloat16"
    with raises(ValueError, "bessel_jn: v must be at least 0, got -1"):
        special.bessel_jn(1.0, v=-1)


def test_spherical_harmonics():
    n, m = np.array([0, 1, 1, 2, 3, 5, 8, 20, 3, 3]), np.array([0, 1, -1, -1, 2, -5, 3, -7, 4, 0])
    theta, phi = np.linspace(0, np.pi, 10), np.linspace(0, 6, 10)
    exact = scipy.special.sph_harm_y

    def ours(*args):
        return special.sph_harm_y(*args, n_max=20)

    with pb.enable_x64():
        for run in (special.sph_harm_y, pb.jit(ours), pb.vmap(ours)):
            np.testing.assert_allclose(run(n, m, theta, phi), exact(n, m, theta, phi), rtol=1e-13, atol=1e-14)
        for part in (np.real, np.imag):
            slopes = pb.vmap(pb.grad(lambda *args, p=part: getattr(ours(*args), p.__name__), (2, 3)))(n, m, theta, phi)
            for i, step in enumerate(((1e-6, 0), (0, 1e-6))):
                up, down = (exact(n, m, theta + s * step[0], phi + s * step[1]) for s in (1, -1))
                np.testing.assert_allclose(slopes[i], part(up - down) / 2e-6, atol=1e-8)
        np.testing.assert_allclose(special.sph_harm_y(9, 2, 0.5, 0.3, n_max=4), exact(4, 2, 0.5, 0.3))
    assert special.sph_harm_y(2, 1, 0.5, 0.3).dtype == "complex64"
    with raises(TypeError, "sph_harm_y: n is traced, so its largest value is not known: give n_max"):
        pb.jit(special.sph_harm_y)(2, 1, 0.5, 0.3)
    with raises(NotImplementedError, "sph_harm_y: diff_n is not supported"):
        special.sph_harm_y(2, 1, 0.5, 0.3, diff_n=1)
