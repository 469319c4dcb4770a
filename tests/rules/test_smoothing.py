"""Functions smoothed by noise: means and derivatives against closed forms, within the error of sampling."""

import numpy as np
import pytest
from scipy import stats

import pullback as pb
import pullback.numpy as pnp
from pullback import rules

KEY = pb.random.key(7)
SAMPLES = 100_000


def step(x):
    return (x > 0).astype(x.dtype)


def test_a_step_becomes_the_normal_distribution_function():
    smooth = rules.perturbed(step, KEY, samples=SAMPLES, noise=0.5)
    z = 0.3 / 0.5
    # the standard errors of these means are below 0.005, 0.01 and 0.05
    np.testing.assert_allclose(smooth(0.3), stats.norm.cdf(z), atol=0.01)
    for derivative in (pb.grad, pb.jacfwd):
        np.testing.assert_allclose(derivative(smooth)(0.3), stats.norm.pdf(z) / 0.5, atol=0.03)
    for second in (pb.grad(pb.grad(smooth)), pb.jacfwd(pb.jacrev(smooth))):
        np.testing.assert_allclose(second(0.3), -z * stats.norm.pdf(z) / 0.25, atol=0.15)


def test_both_modes_see_the_same_noise():
    smooth = rules.perturbed(lambda x: pnp.sort(x)[::-1] > 0.5, KEY, samples=50)
    x = pnp.array([0.4, 0.5, 0.7])
    forward, reverse = pb.jacfwd(smooth)(x), pb.jit(pb.jacrev(smooth))(x)
    np.testing.assert_allclose(forward, reverse, rtol=1e-5, atol=1e-6)


def test_the_hessian_of_a_smooth_function_is_symmetric_and_right():
    smooth = rules.perturbed(lambda x: x[0] ** 2 + x[0] * x[1], KEY, samples=SAMPLES, noise=1.0)
    hessian = pb.hessian(smooth)(pnp.array([0.2, -0.1]))
    np.testing.assert_allclose(hessian, np.transpose(hessian), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(hessian, [[2, 1], [1, 0]], atol=0.1)


def test_argmax():
    logits = pnp.array([[1.0, 1.1, 0.0], [0.0, 3.0, 2.0]])
    weights = rules.perturbed_argmax(logits, KEY, samples=SAMPLES, noise=0.2)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights[0, 1], stats.norm.cdf(0.1 / (0.2 * np.sqrt(2))), atol=0.01)
    np.testing.assert_allclose(weights[1], [0, 1, 0], atol=1e-3)
    columns = rules.perturbed_argmax(logits.T, KEY, samples=10, axis=0)
    assert columns.shape == (3, 2)
    assert (columns.sum(0) == 1).all()
    slope = pb.grad(lambda x: rules.perturbed_argmax(x, KEY, samples=SAMPLES, noise=0.2)[1])(logits[0])
    density = stats.norm.pdf(0.1 / (0.2 * np.sqrt(2))) / (0.2 * np.sqrt(2))
    np.testing.assert_allclose(slope, [-density, density, 0], atol=0.06)


def test_mapped_over_keys():
    def one(key):
        return rules.perturbed(step, key, samples=10)(0.0)

    means = pb.vmap(one)(pb.random.split(KEY, 4))
    assert len(set(means.tolist())) > 1
    np.testing.assert_allclose(means[2], one(pb.random.split(KEY, 4)[2]))


def test_bad_arguments():
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        rules.perturbed(step, KEY, samples=0)
    with pytest.raises(ValueError, match="noise must be a positive number, got"):
        rules.perturbed(step, KEY, noise=0.0)
    with pytest.raises(TypeError, match="perturbed: fun"):
        rules.perturbed(1, KEY)
    with pytest.raises(TypeError, match="real number"):
        rules.perturbed(step, KEY)(1j)
