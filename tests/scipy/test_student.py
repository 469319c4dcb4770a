"""Student's t distribution: the density, its logarithm and their derivatives, from tiny to huge degrees of freedom."""

import mpmath as mp
import numpy as np
import pytest
from exact import DTYPES, check, derivative

import pullback as pb
from pullback.scipy.stats import t

BOUND = 32
# next to the ends of the range; where the difference of digammas cancels; and where the power underflows
Z = [0.0, 0.5, -1.0, 1.85, -30.0, 1e3, 1e25, 0.3, -120.0]
N = [1e-30, 3.0, 1e10, 9.99e9, 1e-20, 30.0, 3.0, 1e7, 5e-21]
FAR = {
    "float32": ([-30.0, 2e-38, 3e38], [1.2e-38, 1.2e-38, 0.2]),
    "float64": ([-175.0, 3e-308, 1.3e308], [2.3e-308, 2.3e-308, 0.2]),
}


def log_density(z, n):
    return mp.loggamma((n + 1) / 2) - mp.loggamma(n / 2) - mp.log(n * mp.pi) / 2 - (n + 1) / 2 * mp.log1p(z * z / n)


def log_by_z(z, n):
    return -(n + 1) * z / (n + z * z)


def log_by_n(z, n):
    with mp.workdps(100):
        w = z * z / n
        return (
            (mp.digamma((n + 1) / 2) - mp.digamma(n / 2)) / 2
            - 1 / (2 * n)
            - mp.log1p(w) / 2
            + (n + 1) / (2 * n) * w / (1 + w)
        )


def log_twice_by_n(z, n):
    with mp.workdps(100):
        w = z * z / n
        return (
            (mp.psi(1, (n + 1) / 2) - mp.psi(1, n / 2)) / 4
            + 1 / (2 * n**2)
            + w / (1 + w) / (2 * n)
            - w / (1 + w) / (2 * n**2)
            - (n + 1) / (2 * n**2) * w / (1 + w) ** 2
        )


def density(z, n):
    return mp.exp(log_density(z, n))


def by_n(z, n):
    return density(z, n) * log_by_n(z, n)


def twice_by_n(z, n):
    with mp.workdps(150):
        return density(z, n) * (log_by_n(z, n) ** 2 + log_twice_by_n(z, n))


def points(dtype):
    far = FAR[dtype]
    return [[*Z, *far[0]], [*N, *far[1]]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_values(dtype):
    check(t.logpdf, log_density, points(dtype), dtype, BOUND)
    check(t.pdf, density, points(dtype), dtype, BOUND)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_by_the_argument(dtype):
    check(derivative(t.logpdf), log_by_z, points(dtype), dtype, BOUND)
    check(derivative(t.logpdf, 2), lambda z, n: -(n + 1) * (n - z * z) / (n + z * z) ** 2, [Z, N], dtype, BOUND)
    check(derivative(t.pdf), lambda z, n: density(z, n) * log_by_z(z, n), [Z[:-1], N[:-1]], dtype, BOUND)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_by_the_degrees_of_freedom(dtype):
    check(derivative(t.logpdf, 1, 1), log_by_n, points(dtype), dtype, BOUND)
    check(derivative(t.logpdf, 2, 1), log_twice_by_n, [Z[1:8], [0.5, *N[1:4], 0.01, *N[5:8]][:7]], dtype, BOUND)
    check(derivative(t.pdf, 1, 1), by_n, [Z[1:], N[1:]], dtype, BOUND)
    # the powers of 1 / n cancel
    check(derivative(t.pdf, 2, 1), twice_by_n, [[-120.0, 0.5, 1.5, -2.0], [5e-21, 1e10, 0.01, 3.0]], dtype, BOUND)


def test_other_dtypes_and_what_is_no_distribution():
    assert t.pdf(np.float16(0), np.float16(1)).dtype == np.float16
    for run in (t.logpdf, pb.jit(t.logpdf)):
        np.testing.assert_array_equal(
            run(np.float32([np.nan, 1, np.inf]), np.float32([1, -1, 2])), [np.nan, np.nan, -np.inf]
        )
