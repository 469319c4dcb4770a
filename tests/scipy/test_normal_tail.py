"""The logarithm of the normal distribution function and its derivatives, up to the ends: mpmath, eager and compiled."""

import mpmath as mp
import numpy as np
import pytest
from exact import DTYPES, check, derivative

import pullback as pb
from pullback.scipy import special
from pullback.scipy.stats import norm

BOUND = 16
POINTS = [-1e4, -100.0, -18.73, -16.73, -14.446, -10.0, -5.0, -1.0, -0.2, 0.0, 0.5, 3.0, 7.0, 12.0]
FAR = {"float32": [-2.5e38, -1e30, -1e19], "float64": [-1.3e308, -1e200, -1e160]}


def below(x):
    return mp.erfc(-x / mp.sqrt(2)) / 2


def log(x):
    return mp.log(below(x)) if x < 0 else mp.log1p(-below(-x))


def hazard(x):
    if x < -1e6:  # DLMF 7.12.1
        return -x - 1 / x + 2 / x**3
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi) / below(x)


def second(x):
    return -1 + 1 / x**2 if x < -1e6 else -hazard(x) * (x + hazard(x))


def third(x):
    h, u = hazard(x), x + hazard(x)
    return -2 / x**3 if x < -1e6 else h * u * u - h * (1 - h * u)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_ndtr_and_its_derivatives(dtype):
    x = [*FAR[dtype], *POINTS]
    check(special.log_ndtr, log, [POINTS], dtype, BOUND)
    check(derivative(special.log_ndtr), hazard, [x], dtype, BOUND)
    check(derivative(special.log_ndtr, 2), second, [x], dtype, BOUND)
    check(derivative(norm.logcdf, 2), second, [x], dtype, BOUND)
    check(derivative(norm.logsf), lambda z: -hazard(-z), [[-z for z in x]], dtype, BOUND)
    check(derivative(norm.logsf, 2), lambda z: second(-z), [[-z for z in x]], dtype, BOUND)


@pytest.mark.parametrize("dtype", DTYPES)
def test_third_derivative_far_below(dtype):
    check(derivative(special.log_ndtr, 3), third, [[-1e4, -1e3, -100.0, -31.0, 0.0, 2.0]], dtype, 64)


def test_ends_and_other_dtypes():
    for run in (special.log_ndtr, pb.jit(special.log_ndtr)):
        np.testing.assert_array_equal(run(np.float32([-np.inf, np.inf, np.nan])), [-np.inf, 0, np.nan])
        assert run(np.float32(-1e30)) == -np.inf
        assert run(np.float16(-10)).dtype == np.float16
        assert abs(float(run(np.float16(-10))) + 53.23) < 0.05
