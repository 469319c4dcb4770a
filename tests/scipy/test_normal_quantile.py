"""The quantile function of the normal distribution and its derivatives: against mpmath, eager and compiled."""

import mpmath as mp
import numpy as np
import pytest
from exact import DTYPES, check, derivative

import pullback as pb
from pullback.scipy import special
from pullback.scipy.stats import norm

BOUND = 8
# both pieces of the tail, the center, and where the square of the slope overflows in float32
PROBABILITIES = [
    3e-18,
    1e-15,
    1e-12,
    2e-11,
    2e-7,
    1e-4,
    0.01,
    0.07,
    0.08,
    0.2,
    0.4,
    0.49,
    0.51,
    0.7,
    0.93,
    0.99,
    0.9999,
]
FAR = {"float32": [1.2e-38, 1e-36, 1e-30, 1e-25], "float64": [3e-308, 1e-300, 1e-200, 1e-80]}


def quantile(p):
    rest = min(p, 1 - p)

    def excess(z):
        return mp.log(mp.erfc(z / mp.sqrt(2)) / 2) - mp.log(rest)

    z = mp.findroot(excess, mp.sqrt(-2 * mp.log(2 * rest)) * mp.mpf("0.95"))
    return -z if p < 0.5 else z


def slope(p):
    return mp.sqrt(2 * mp.pi) * mp.exp(quantile(p) ** 2 / 2)


def second(p):
    return quantile(p) * slope(p) ** 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_slopes_of_the_normal_quantile(dtype):
    p = [*FAR[dtype], *PROBABILITIES]
    check(norm.ppf, quantile, [p], dtype, BOUND)
    check(derivative(norm.ppf), slope, [p], dtype, BOUND)
    check(derivative(norm.isf), lambda p: -slope(p), [p], dtype, BOUND)
    check(derivative(special.ndtri), slope, [p], dtype, BOUND)


@pytest.mark.parametrize("dtype", DTYPES)
def test_higher_derivatives_of_the_normal_quantile(dtype):
    check(derivative(norm.ppf, 2), second, [PROBABILITIES], dtype, BOUND)
    p = [x for x in PROBABILITIES if x > 1e-11]  # the third one is 1e33 there
    check(derivative(norm.ppf, 3), lambda p: (1 + 2 * quantile(p) ** 2) * slope(p) ** 3, [p], dtype, BOUND)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slope_of_the_normal_quantile_at_the_ends_and_in_the_middle(dtype):
    with pb.enable_x64():
        for run in (derivative(norm.ppf), pb.jit(derivative(norm.ppf))):
            got = run(np.array([0, 1, -0.5, 1.5, np.nan], dtype))
            np.testing.assert_array_equal(got, [np.inf, np.inf, np.nan, np.nan, np.nan])
            np.testing.assert_allclose(run(np.array([0.5], dtype)), np.sqrt(2 * np.pi), 4 * np.finfo(dtype).eps)
        assert pb.grad(pb.grad(norm.ppf))(np.array(0.5, dtype)) == 0
