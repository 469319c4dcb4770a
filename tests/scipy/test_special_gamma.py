"""The gamma function, its logarithm and their derivatives, and zeta: against mpmath, eager and compiled."""

import jax.scipy.special as jspecial
import mpmath as mp
import numpy as np
import pytest
from exact import DTYPES, check, derivative

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy import special

VALUE, FIRST, SECOND = 16, 32, 64


def log_gamma(x):
    return mp.log(abs(mp.gamma(x))) if x < 1e4 else mp.loggamma(x)


def zeta(s, q, order=0):
    """By its definition below 0 and the formula of Euler and Maclaurin: mpmath's own loses digits of small values."""
    total = mp.mpf(0)
    while q < 1:
        total += (-mp.log(abs(q))) ** order * (q ** -int(s) if q < 0 else q**-s)
        q += 1
    w = q + 40

    def value(s):
        terms = mp.fsum((q + k) ** -s for k in range(40)) + w ** (1 - s) / (s - 1) + w**-s / 2
        return terms + mp.fsum(
            mp.bernoulli(2 * j) / mp.factorial(2 * j) * mp.rf(s, 2 * j - 1) * w ** (1 - s - 2 * j) for j in range(1, 20)
        )

    return total + (mp.diff(value, s, order, h=mp.mpf(10) ** -12) if order else value(s))


def polygamma(n, x):
    return (-1) ** (int(n) + 1) * mp.factorial(int(n)) * zeta(n + 1, x)


ABOVE = [1e-30, 1e-8, 0.1, 0.5, 0.7, 0.99, 1.01, 1.4, 1.5, 1.9, 2.5, 3, 3.7, 5.5, 7.9, 8, 8.1, 20, 33, 1e3, 1e6, 1e30]
BELOW = [-1e-30, -1e-8, -0.1, -0.5, -0.9, -1.2, -1.99, -3.5, -7.99, -8.01, -16.5, -30.25]
NEAR = [1 + 2e-7, 1 - 2e-7, 2 + 3e-7, 2 - 3e-7, 1.001, 0.999, 2.001, 1.999]


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_gamma(dtype):
    check(special.gammaln, log_gamma, [ABOVE + BELOW + NEAR], dtype, VALUE)
    if dtype == "float64":
        check(special.gammaln, log_gamma, [[1 + 1e-13, 1 - 1e-13, 2 + 1e-13, 2 - 1e-13, 1e300]], dtype, VALUE)


def test_log_gamma_keeps_its_digits_at_its_zeros():
    with pb.enable_x64(), mp.workdps(40):
        for x in (1 + 1e-10, 1 - 1e-12, 2 + 1e-9, 2 - 1e-13):
            right = float(log_gamma(mp.mpf(x)))
            for run in (special.gammaln, pb.jit(special.gammaln)):
                assert abs(float(run(x)) / right - 1) < 4e-15


@pytest.mark.parametrize("dtype", DTYPES)
def test_gamma(dtype):
    inside = [x for x in ABOVE + BELOW + NEAR if x < 34]
    check(special.gamma, mp.gamma, [inside], dtype, VALUE)
    check(special.factorial, mp.factorial, [[0, 1, 3, 5.5, 12, 33]], dtype, VALUE)
    check(derivative(special.gamma), lambda x: mp.gamma(x) * mp.digamma(x), [[0.3, 2.5, 9.5, 30, -1.5]], dtype, FIRST)
    if dtype == "float64":
        check(special.gamma, mp.gamma, [[100.5, 171.6, -100.5, -169.25]], dtype, VALUE)


@pytest.mark.parametrize("dtype", DTYPES)
def test_digamma_and_its_derivatives(dtype):
    x = [v for v in ABOVE + BELOW + NEAR if 1e-9 < abs(v) < 1e9]
    check(special.digamma, mp.digamma, [x], dtype, VALUE)
    check(derivative(special.gammaln), mp.digamma, [x], dtype, FIRST)
    check(derivative(special.gammaln, 2), lambda x: polygamma(1, x), [x], dtype, SECOND)
    check(derivative(special.digamma, 2), lambda x: polygamma(2, x), [x], dtype, SECOND)


@pytest.mark.parametrize("dtype", DTYPES)
def test_digamma_keeps_its_digits_at_its_zero(dtype):
    x = np.array([1.4616321, 1.4616322, 1.46163, 1.4617], dtype)
    with pb.enable_x64(), mp.workdps(40):
        right = [float(mp.digamma(mp.mpf(float(v)))) for v in x]
        for run in (special.digamma, pb.jit(special.digamma)):
            np.testing.assert_allclose(np.asarray(run(x), "float64"), right, rtol=16 * np.finfo(dtype).eps)


def test_the_derivative_of_digamma_below_zero():
    for run in (pb.grad(special.digamma), pb.jit(pb.grad(special.digamma))):
        assert abs(float(run(-16.5)) - 9.810807) < 1e-5


@pytest.mark.parametrize("dtype", DTYPES)
def test_polygamma(dtype):
    n, x = [1, 1, 2, 2, 3, 4, 5, 10, 20, 3, 2, 1], [0.01, 700, 0.3, 40, 2.5, 1e3, 0.7, 3, 1.5, -2.4, -0.3, -200.5]
    check(special.polygamma, polygamma, [n, x], dtype, VALUE)
    if dtype == "float64":  # n! overflows, or the sum vanishes, though the product does not
        check(
            special.polygamma,
            lambda n, x: (
                polygamma(int(n), x)
                if x < 9000
                else (-1) ** (int(n) + 1) * mp.gamma(n) / x**n * (1 + n / (2 * x) + n * (n + 1) / (12 * x * x))
            ),
            [[200, 100], [150, 9572]],
            dtype,
            1000,
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeta_and_its_derivatives(dtype):
    s = [1.001, 1.5, 2, 3, 3, 4, 10, 5.5, 30]
    q = [3, 0.1, 1, 700, 2.5, 0.3, 5, 1e4, 1.5]
    check(special.zeta, zeta, [s, q], dtype, VALUE)
    check(special.zeta, lambda s, q: q ** (1 - s) / (s - 1), [[1 + 2e-7, 1.5, 1.25], [1e35, 1e30, 1e30]], dtype, VALUE)
    check(special.zeta, zeta, [[2, 3, 5, 2], [-2.5, -0.25, -7.75, -30.5]], dtype, VALUE)
    check(derivative(special.zeta), lambda s, q: zeta(s, q, 1), [s, q], dtype, FIRST)
    check(derivative(special.zeta, 2), lambda s, q: zeta(s, q, 2), [s, q], dtype, SECOND)
    check(derivative(special.zeta, 1, 1), lambda s, q: -s * zeta(s + 1, q), [s, q], dtype, FIRST)
    check(
        pb.vmap(pb.grad(pb.grad(special.zeta), 1)),
        lambda s, q: -zeta(s + 1, q) - s * zeta(s + 1, q, 1),
        [s, q],
        dtype,
        SECOND,
    )


def test_edges():
    inf, nan = np.inf, np.nan
    table = [
        (special.gammaln, [[0, -0.0, -1, inf, -inf, nan]], [inf, inf, inf, inf, inf, nan]),
        (special.digamma, [[0, -1, inf, -inf, nan]], [nan, nan, inf, nan, nan]),
        (special.gamma, [[0, -0.0, -1, inf, nan, 200, 172, -200.5]], [inf, -inf, nan, inf, nan, inf, inf, -0.0]),
        (
            special.zeta,
            [[1, 1, 0.5, 2, 2, 2.5, nan, inf, 2], [1, -1, 1, 0, inf, -2.5, 1, 2, nan]],
            [inf, inf, nan, inf, 0, nan, nan, 0, nan],
        ),
        (
            special.polygamma,
            [[1, 1, 2, -1, 1.5, 1, 0], [0, inf, -3, 1, 1, nan, inf]],
            [inf, 0, -inf, nan, nan, nan, inf],
        ),
    ]
    for function, args, right in table:
        for dtype in ("float32", "float64"):
            with pb.enable_x64():
                arrays = [pnp.array(x, dtype) for x in args]
                for run in (function, pb.jit(function)):
                    np.testing.assert_array_equal(np.asarray(run(*arrays)), right, err_msg=function.__name__)


def test_low_precision_is_that_of_float32_rounded():
    x = np.array([0.3, 1.5, 2.5, 7.0, 20.0])
    for dtype in (np.float16, pnp.bfloat16):
        for function in (special.gammaln, special.digamma):
            small = pnp.array(x, dtype)
            right = np.asarray(function(small.astype("float32"))).astype(small.dtype)
            for run in (function, pb.jit(function)):
                np.testing.assert_allclose(np.asarray(run(small), "float32"), right.astype("float32"), rtol=1e-6)


def test_where_jax_is_right_it_agrees():
    x = np.linspace(0.3, 20, 50).astype("float32")
    for name in ("gammaln", "digamma"):
        np.testing.assert_allclose(pb.jit(getattr(special, name))(x), getattr(jspecial, name)(x), rtol=2e-5, atol=1e-6)


# ---- The rising factorial, relative entropies


def rising(z, m):
    return mp.gammaprod([z + m], [z])


RISING = [
    [0.3, 2.7, 40, 1e4, 1e6, 1, -2.5, -2.5, -7.3, -7.3, 3.5, -12.9],
    [1.5, 3e-3, 11.3, -0.27, 2.3, 30, 1, 0.25, 20, 3, -6.2, -4],
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_rising_factorials(dtype):
    check(special.poch, rising, RISING, dtype, 32)
    check(derivative(special.poch), lambda z, m: rising(z, m) * (mp.digamma(z + m) - mp.digamma(z)), RISING, dtype, 64)
    check(derivative(special.poch, 1, 1), lambda z, m: rising(z, m) * mp.digamma(z + m), RISING, dtype, 64)


def test_rising_factorials_at_poles_are_limits():
    z = [0.0, 0.0, -2.5, -3.0, -3.0, -3.0, 2.0, 1.0, -0.5, np.inf, 4.65]
    m = [0.0, 1.0, 1.0, 2.0, -2.0, 5.0, -2.0, 8.0, -0.5, 1.0, 1e7]
    right = [1, 0, -2.5, 6, 0.05, 0, np.inf, 40320, np.inf, np.inf, np.inf]
    for run in (special.poch, pb.jit(special.poch)):
        np.testing.assert_allclose(run(np.array(z), np.array(m)), right, rtol=1e-7)
    slope = derivative(special.poch)
    for run in (slope, pb.jit(slope)):  # z, z (z + 1), z (z + 1) (z + 2) ... are polynomials
        np.testing.assert_allclose(
            run(np.float32([0, -2, -3, -2, -3]), np.float32([1, 1, 2, 3, 5])), [1, 1, -5, 2, -6], rtol=1e-6
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_relative_entropies_where_the_quotient_is_out_of_range(dtype):
    tiny, huge = 4 * float(np.finfo(dtype).tiny), float(np.finfo(dtype).max) / 1e4
    p, q = [tiny, tiny, 100, huge, 1e-20], [huge, 100, tiny, tiny, huge]
    check(special.kl_div, lambda p, q: p * mp.log(p / q) - p + q, [p, q], dtype, VALUE)
    check(special.rel_entr, lambda p, q: p * mp.log(p / q), [p, q], dtype, VALUE)
    p, q = [1e-25, 1e25, 3e-7], [1e-18, 1e24, 2e-22]  # the square of q is out of the range of float32
    check(derivative(special.kl_div, 2, 1), lambda p, q: p / q**2, [p, q], dtype, VALUE)


@pytest.mark.parametrize("dtype", DTYPES)
def test_relative_entropies(dtype):
    p, q = [1e-20, 0.3, 1, 1, 1, 3, 40, 1e10], [0.3, 0.31, 1.0001, 0.9999, 1.000001, 700, 39, 1.01e10]
    check(special.kl_div, lambda p, q: p * mp.log(p / q) - p + q, [p, q], dtype, VALUE)
    check(special.rel_entr, lambda p, q: p * mp.log(p / q), [p, q], dtype, VALUE)
    check(derivative(special.kl_div), lambda p, q: mp.log(p / q), [p, q], dtype, VALUE)
    check(derivative(special.kl_div, 1, 1), lambda p, q: 1 - p / q, [p, q], dtype, VALUE)
    check(derivative(special.rel_entr), lambda p, q: mp.log(p / q) + 1, [p, q], dtype, VALUE)
    check(derivative(special.kl_div, 2, 1), lambda p, q: p / q**2, [p, q], dtype, VALUE)
    check(derivative(special.kl_div, 3, 1), lambda p, q: -2 * p / q**3, [p, q], dtype, VALUE)
    check(pb.vmap(pb.grad(pb.grad(special.kl_div, 1))), lambda p, q: -1 / q, [p, q], dtype, VALUE)
    edges = np.array([0.0, 0.0, 1.0, -1.0, np.nan]), np.array([0.0, 2.0, 0.0, 1.0, 1.0])
    for run in (lambda f: f, pb.jit):
        np.testing.assert_array_equal(run(special.rel_entr)(*edges), [0, 0, np.inf, np.inf, np.nan])
        np.testing.assert_array_equal(run(special.kl_div)(*edges), [0, 2, np.inf, np.inf, np.nan])


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_gamma_is_infinite_at_its_poles(dtype):
    x = np.array([0, -1, -7, -8, -(2.0**22), -1e30, -np.finfo(dtype).max, -np.inf], dtype)
    with pb.enable_x64():
        for run in (special.gammaln, pb.jit(special.gammaln)):
            np.testing.assert_array_equal(run(x), np.full(x.shape, np.inf, dtype))
        assert np.isnan(pb.jit(special.gammaln)(np.array(np.nan, dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeta_next_to_its_pole_and_to_the_ends_of_the_range(dtype):
    near = {"float32": 1 + 2.0**-23, "float64": 1 + 2.0**-40}[dtype]
    s = [near, 1.0000034660309314, near, near, 1.5, 3.0]
    q = [1e-16, 2.2e-16, 3.9e32, 1e10, 1e25, 1e12]

    def by_s(s, q, order):
        with mp.workdps(80):
            if q < 1e-10:  # the first term is all but a digit that counts
                head = (-mp.log(q)) ** order * q**-s
                return head + mp.diff(lambda t: mp.zeta(t, q + 1), s, order, h=(s - 1) * mp.mpf(10) ** -20)
            # the integral, half of the first term, and what is far below a unit
            return mp.diff(
                lambda t: q ** (1 - t) / (t - 1) + q**-t / 2 + t * q ** (-t - 1) / 12,
                s,
                order,
                h=(s - 1) * mp.mpf(10) ** -20,
            )

    check(special.zeta, lambda s, q: by_s(s, q, 0), [s, q], dtype, 8)
    check(derivative(special.zeta), lambda s, q: by_s(s, q, 1), [s, q], dtype, 16)
    check(derivative(special.zeta, 2), lambda s, q: by_s(s, q, 2), [s, q], dtype, 16)
    with pb.enable_x64():
        tiny = np.finfo(dtype).tiny
        for run in (pb.grad(special.zeta), pb.jit(pb.grad(special.zeta))):
            assert run(np.array(1.00002, dtype), np.array(tiny, dtype)) == np.inf


@pytest.mark.parametrize("dtype", DTYPES)
def test_rising_factorials_from_tiny_numbers(dtype):
    tiny = float(np.finfo(dtype).tiny)
    z, m = [1.7e-16, 4 * tiny, 1e-20, 5e-21, 0.3], [20.5, 10.0, 3.5, 5e-21, 0.7]

    def value(z, m):
        with mp.workdps(700):
            return mp.rf(z, m)

    def slope(z, m):
        with mp.workdps(700):
            return mp.gamma(z + m) / mp.gamma(z + 1) * (1 + z * (mp.digamma(z + m) - mp.digamma(z + 1)))

    def second(z, m):
        with mp.workdps(700):
            step = mp.digamma(z + m) - mp.digamma(z + 1)
            return (
                mp.gamma(z + m) / mp.gamma(z + 1) * (step * (2 + z * step) + z * (mp.psi(1, z + m) - mp.psi(1, z + 1)))
            )

    check(special.poch, value, [z, m], dtype, VALUE)
    check(derivative(special.poch), slope, [z, m], dtype, FIRST)
    check(derivative(special.poch, 2), second, [[1.7e-16, 1e-20, 0.3], [20.5, 3.5, 0.7]], dtype, SECOND)
