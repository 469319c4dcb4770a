"""scipy.stats of samples: mode, rankdata, sem and gaussian_kde, against SciPy and JAX."""

import jax.scipy.stats as theirs
import numpy as np
import pytest
import scipy.stats
from agreement import all_close, close
from refusals import raises

import pullback as pb
from pullback.scipy import stats
from pullback.test_util import check_grads

RNG = np.random.default_rng(0)
AXES = (None, 0, 1, -1)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("dtype", ["int32", "float32", "bool"])
def test_mode(dtype, axis):
    x = RNG.integers(0, 4, (5, 6, 3)).astype(dtype)
    for keepdims in (False, True):
        expected = theirs.mode(x, axis, keepdims=keepdims)
        all_close(stats.mode(x, axis, keepdims=keepdims), expected)
        all_close(pb.jit(lambda x, k=keepdims: stats.mode(x, axis, keepdims=k))(x), expected)


def test_mode_at_its_edges():
    value, count = stats.mode(np.array([np.nan, 1, np.nan]))
    assert np.isnan(value)
    assert count == 2
    all_close(stats.mode(np.zeros((0, 3))), theirs.mode(np.zeros((0, 3))))
    assert stats.mode(3.0) == (3, 1)
    with raises(NotImplementedError, "mode: nan_policy='omit' is not implemented"):
        stats.mode(np.ones(3), nan_policy="omit")
    with raises(ValueError, "mode: nan_policy must be 'propagate', 'omit' or 'raise', got 'skip'"):
        stats.mode(np.ones(3), nan_policy="skip")
    with raises(ValueError, "mode: axis 2 is out of bounds"):
        stats.mode(np.ones(3), 2)


@pytest.mark.parametrize("method", ["average", "min", "max", "dense", "ordinal"])
@pytest.mark.parametrize("axis", AXES)
def test_rankdata(method, axis):
    x = RNG.integers(0, 4, (5, 6, 3)).astype("float32")
    for data in (x, x.astype("int32"), np.where(x[:1, :1] == x, np.nan, x)):
        expected = np.asarray(scipy.stats.rankdata(data, method, axis=axis), "float32")
        for run in (stats.rankdata, pb.jit(stats.rankdata, static_argnames=("method", "axis"))):
            got = run(data, method=method, axis=axis)
            close(got, expected.reshape(got.shape))
    assert stats.rankdata(np.zeros(0), method).shape == (0,)
    assert stats.rankdata(3.0, method).tolist() == [1]


def test_rankdata_refuses():
    with raises(ValueError, "rankdata: method must be one of 'average', 'min'", "got 'median'"):
        stats.rankdata(np.ones(3), "median")
    with raises(TypeError, "rankdata: a must be of real numbers"):
        stats.rankdata(np.ones(3) * 1j)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_sem(axis):
    x = RNG.standard_normal((5, 4)).astype("float32")
    gaps = np.where(x > 1, np.nan, x)
    for keepdims in (False, True):
        close(stats.sem(x, axis, keepdims=keepdims), np.asarray(theirs.sem(x, axis, keepdims=keepdims)))
        expected = theirs.sem(gaps, axis, nan_policy="omit", keepdims=keepdims)
        close(stats.sem(gaps, axis, nan_policy="omit", keepdims=keepdims), np.asarray(expected))
    with raises(NotImplementedError, "sem: nan_policy='raise' is not implemented"):
        stats.sem(x, nan_policy="raise")


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("method", [None, "silverman", 0.3])
def test_kernel_densities(d, method):
    samples, points, weights = RNG.standard_normal((d, 20)), RNG.standard_normal((d, 7)), RNG.uniform(size=20)
    with pb.enable_x64():
        for w in (None, weights):
            ours, exact = stats.gaussian_kde(samples, method, w), scipy.stats.gaussian_kde(samples, method, w)
            np.testing.assert_allclose(ours(points), exact(points), 1e-12)
            np.testing.assert_allclose(pb.jit(lambda k, x: k.pdf(x))(ours, points), exact(points), 1e-12)
            np.testing.assert_allclose(ours.logpdf(points), exact.logpdf(points), 1e-12)
            normal = np.ones(d), np.eye(d)
            np.testing.assert_allclose(ours.integrate_gaussian(*normal), exact.integrate_gaussian(*normal), 1e-12)
            np.testing.assert_allclose(ours.integrate_kde(ours), exact.integrate_kde(exact), 1e-12)
            if d == 1:
                np.testing.assert_allclose(ours.integrate_box_1d(-1, 0.5), exact.integrate_box_1d(-1, 0.5), 1e-12)

        def density(samples, points):
            return stats.gaussian_kde(samples, method).logpdf(points)

        check_grads(density, (samples, points), order=1, rtol=1e-5, atol=1e-6)


def test_kernel_densities_draw():
    samples = RNG.standard_normal((2, 20)).astype("float32")
    kde = stats.gaussian_kde(samples, lambda k: 0.1 * k.neff**0)
    drawn = kde.resample(pb.random.key(0), (4000,))
    assert drawn.shape == (2, 4000)
    assert kde.resample(pb.random.key(0)).shape == (2,)
    np.testing.assert_allclose(np.asarray(drawn).mean(1), samples.mean(1), atol=0.1)
    assert stats.gaussian_kde(samples).logpdf(np.full((2, 1), 1e3)) < -1e4


def test_kernel_densities_refuse():
    with raises(ValueError, "gaussian_kde: dataset must be a vector or a matrix of at least two numbers"):
        stats.gaussian_kde(np.ones(1))
    with raises(ValueError, "gaussian_kde: bw_method must be 'scott', 'silverman', a number or a function"):
        stats.gaussian_kde(np.arange(3.0), "wide")
    with raises(ValueError, "gaussian_kde: weights must have shape (3,), got (2,)"):
        stats.gaussian_kde(np.arange(3.0), weights=np.ones(2))
    kde = stats.gaussian_kde(np.arange(3.0))
    with raises(ValueError, "gaussian_kde.evaluate: points must have shape (1, m), got (2, 2)"):
        kde(np.ones((2, 2)))
    with raises(NotImplementedError, "use integrate_box_1d"):
        kde.integrate_box(0, 1)
    with raises(NotImplementedError, "make another one"):
        kde.set_bandwidth(1)
