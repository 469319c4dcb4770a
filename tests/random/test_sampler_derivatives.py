"""Samples as functions of the parameters of their distribution: derivatives at a fixed key."""

import jax
import numpy as np
import pytest
from scipy import special

import pullback as pb
from pullback import random


def test_location_and_scale_derivatives():
    key = random.key(0)
    u = np.asarray(random.uniform(key, (5,)))
    low, high = pb.grad(lambda low, high: random.uniform(key, (5,), minval=low, maxval=high).sum(), argnums=(0, 1))(
        1.0, 3.0
    )
    np.testing.assert_allclose([low, high], [(1 - u).sum(), u.sum()], rtol=1e-6)
    for transform in (lambda f: f, pb.jit):
        slope = transform(pb.grad(lambda s: (2.0 + s * random.normal(key, (5,))).sum()))(3.0)
        np.testing.assert_allclose(slope, np.asarray(random.normal(key, (5,))).sum(), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("truncated_normal", {"lower": -1.0, "upper": 0.5}),
        ("lognormal", {"sigma": 0.5}),
        ("pareto", {"b": 3.0}),
        ("rayleigh", {"scale": 2.0}),
        ("weibull_min", {"scale": 2.0, "concentration": 0.7}),
        ("triangular", {"left": 0.0, "mode": 1.0, "right": 4.0}),
        ("double_sided_maxwell", {"loc": 1.0, "scale": 2.0}),
    ],
)
def test_parameter_derivatives_by_finite_differences(name, params):
    with pb.enable_x64():

        def total(params):
            return getattr(random, name)(random.key(0), shape=(20,), **params).sum()

        slopes = pb.grad(total)(params)
        for p in params:
            step = 1e-6
            ends = [float(total({**params, p: params[p] + s})) for s in (step, -step)]
            np.testing.assert_allclose(slopes[p], (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("a", [0.05, 0.5, 1.0, 3.0, 40.0, 1000.0])
def test_gamma_derivative_is_that_of_the_quantile(a):
    with pb.enable_x64():
        key = random.key(0)
        z, slope = pb.jvp(lambda a: random.gamma(key, a, (50,)), (a,), (1.0,))
        z = np.asarray(z)
        step = 1e-5 * a
        keep = (z > 1e-200) & (special.gammainc(a, z) < 1 - 1e-9)
        p = special.gammainc(a, z[keep])
        ends = [special.gammaincinv(a + s, p) for s in (step, -step)]
        np.testing.assert_allclose(np.asarray(slope)[keep], (ends[0] - ends[1]) / (2 * step), rtol=2e-5)


def test_gamma_derivatives_agree_with_each_other():
    key = random.key(0)
    a = np.array([0.05, 0.7, 3.0, 40.0], np.float32)
    ones = (np.ones_like(a),)
    z, slope = pb.jvp(lambda a: random.gamma(key, a), (a,), ones)
    log_z, log_slope = pb.jvp(lambda a: random.loggamma(key, a), (a,), ones)
    derivative = pb.grad(lambda a: random.gamma(key, a).sum())(a)
    np.testing.assert_allclose(derivative, slope, rtol=1e-6)
    np.testing.assert_allclose(pb.jit(pb.grad(lambda a: random.gamma(key, a).sum()))(a), slope, rtol=2e-5)
    oracle = jax.grad(lambda a: jax.random.gamma(jax.random.key(0), a).sum())(a)
    np.testing.assert_allclose(derivative, oracle, rtol=2e-5)
    oracle = jax.grad(lambda a: jax.random.loggamma(jax.random.key(0), a).sum())(a)
    np.testing.assert_allclose(log_slope, oracle, rtol=2e-5)
    assert np.isfinite(np.asarray(z)).all()
    assert np.isfinite(np.asarray(log_z)).all()


def test_small_gamma_parameters_keep_a_derivative():
    slope = pb.grad(lambda a: random.loggamma(random.key(0), a))(1e-4)
    log_z = float(random.loggamma(random.key(0), 1e-4))
    # log z is about log(u) / a
    np.testing.assert_allclose(float(slope), -log_z / 1e-4, rtol=1e-3)
    assert float(pb.grad(lambda a: random.gamma(random.key(0), a))(1e-4)) == 0


@pytest.mark.parametrize("name", ["beta", "t", "chisquare", "dirichlet"])
def test_derivatives_of_what_gammas_make(name):
    a = np.array([0.5, 2.0, 5.0], np.float32)
    weights = np.array([1.0, -2.0, 3.0], np.float32)
    args = (a, 2.0) if name == "beta" else (a,)
    got = pb.grad(lambda *args: (getattr(random, name)(random.key(0), *args) * weights).sum())(*args)
    expected = jax.grad(lambda *args: (getattr(jax.random, name)(jax.random.key(0), *args) * weights).sum())(*args)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
