"""truncated_normal far out: the distribution in each tail, in each dtype, its slopes, and JAX's numbers elsewhere."""

import jax
import mpmath
import numpy as np
import pytest
import scipy.stats

import pullback as pb
from pullback import random
from pullback._core import dtypes

BOUNDS = [(5.5, 1e6), (8.0, 9.0), (-9.0, -8.0), (-1e6, -5.5), (-np.inf, -20.0), (30.0, np.inf), (4.0, 4.001)]


def samples(low, high, count, compiled):
    def draw(key, low, high):
        return random.truncated_normal(key, low, high, (count,))

    # compiled, the bounds are not known
    return np.asarray((pb.jit(draw) if compiled else draw)(random.key(0), low, high), np.float64)


def distribution(low, high):
    """The distribution function between bounds in one tail, by differences of the tail."""
    low, high, sign = (low, high, 1) if low > 0 else (-high, -low, -1)

    def above(x):
        return mpmath.ncdf(-mpmath.mpf(float(x)))

    def function(x):
        whole = above(low) - above(high)
        below = np.array([float((above(low) - above(sign * v)) / whole) for v in np.ravel(x)])
        return below if sign > 0 else 1 - below

    return function


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_the_tails_have_the_normal_distribution(low, high, compiled, x64):
    with pb.enable_x64(x64):
        x = samples(low, high, 1000, compiled)
    assert low < x.min() <= x.max() < high
    assert scipy.stats.kstest(x, distribution(low, high)).pvalue > 0.01


def test_the_mean_of_the_report():
    x = random.truncated_normal(random.key(0), 5.5, 1e6, (4000,))
    assert abs(float(x.mean()) - 5.6714103) < 0.01


def test_low_precision():
    for dtype in ("float16", "bfloat16"):
        x = random.truncated_normal(random.key(0), 3, np.inf, (2000,), dtype=dtype)
        eps = float(dtypes.finfo(x.dtype).eps)
        assert x.dtype == dtype
        assert float(x.min()) > 3
        assert abs(float(x.astype("float32").mean()) - 3.2831) < 3.3 * eps + 0.02


def test_bounds_of_both_kinds_at_once():
    low, high = np.float32([-1, 8, -np.inf]), np.float32([1, np.inf, -8])
    for run in (random.truncated_normal, pb.jit(random.truncated_normal, static_argnums=3)):
        x = np.asarray(run(random.key(0), low, high, (1000, 3)))
        expected = jax.random.truncated_normal(jax.random.key(0), low, high, (1000, 3))
        np.testing.assert_allclose(x[:, 0], np.asarray(expected)[:, 0], 1e-5, 1e-6)
        np.testing.assert_allclose(x.mean(0)[1:], [8.1213, -8.1213], 1e-3)
    batched = pb.vmap(lambda low: random.truncated_normal(random.key(0), low, np.inf, (2,)))(np.float32([0, 9]))
    assert (np.asarray(batched)[1] > 9).all()


def test_slopes_in_the_bounds():
    with pb.enable_x64(True):
        for low, high in ((8.0, 8.3), (-9.0, -8.0)):

            def first(low, high):
                return random.truncated_normal(random.key(0), low, high, (3,))[1]

            for slopes in (pb.grad(first, (0, 1))(low, high), pb.jit(pb.grad(first, (0, 1)))(low, high)):
                differences = (
                    (first(low + 1e-5, high) - first(low - 1e-5, high)) / 2e-5,
                    (first(low, high + 1e-5) - first(low, high - 1e-5)) / 2e-5,
                )
                np.testing.assert_allclose(slopes, differences, 1e-4, 1e-8)


def test_at_the_border_of_the_two_methods():
    # 3.625 is the first bound that is far out in float32
    for low, high in ((3.62, 3.8), (3.63, 3.8)):
        x = samples(low, high, 1000, False)
        assert scipy.stats.kstest(x, distribution(low, high)).pvalue > 0.01
