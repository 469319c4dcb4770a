"""Initializers: complex numbers, and shapes of one axis, with JAX's draws and the variances that are documented."""

import jax
import numpy as np
import pytest

from pullback import nn, random

KEY, JAX_KEY = random.key(3), jax.random.key(3)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated_normal"])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_the_variance_is_the_one_asked_for(distribution, dtype):
    draw = np.asarray(nn.initializers.variance_scaling(3., "fan_in", distribution)(KEY, (300, 400), dtype))
    # 120,000 draws: the standard error of the variance is below 0.5 %
    assert np.mean(abs(draw) ** 2) == pytest.approx(3 / 300, rel=.02)
    assert abs(draw.mean()) < 2e-3
    if dtype == "complex64":
        assert np.var(draw.real) == pytest.approx(np.var(draw.imag), rel=.03)
        bound = {"normal": np.inf, "uniform": np.sqrt(2 * 3 / 300),
                 "truncated_normal": 2 * np.sqrt(3 / 300) / np.sqrt(1 - 4 / np.expm1(4))}[distribution]
        assert abs(draw).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("name", ["glorot_uniform", "he_uniform", "lecun_uniform"])
def test_complex_draws_are_those_of_jax(name):
    ours = getattr(nn.initializers, name)()(KEY, (4, 3), "complex64")
    theirs = getattr(jax.nn.initializers, name)()(JAX_KEY, (4, 3), "complex64")
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["glorot_normal", "he_normal", "lecun_normal"])
def test_truncated_complex_draws_have_the_angles_of_jax(name):
    """Their size is not JAX's, whose variance is 1.8 % too large for a cut at two standard deviations."""
    ours = np.asarray(getattr(nn.initializers, name)()(KEY, (4, 3), "complex64"))
    theirs = np.asarray(getattr(jax.nn.initializers, name)()(JAX_KEY, (4, 3), "complex64"))
    np.testing.assert_allclose(ours / theirs, .95311164380491208 / np.sqrt(1 - 4 / np.expm1(4)), rtol=1e-5)


@pytest.mark.parametrize(("in_axis", "out_axis", "shape"), [(0, 0, (4,)), (0, (), (4,)), ((), 0, (4,)), ((), (), ()),
                                                            (-1, -1, (4,))])
def test_vectors_and_scalars(in_axis, out_axis, shape):
    for mode in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"):
        ours, theirs = (lib.initializers.variance_scaling(2., mode, "normal", in_axis, out_axis)(key, shape)
                        for lib, key in ((nn, KEY), (jax.nn, JAX_KEY)))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_vector_with_the_default_axes():
    for init in (nn.initializers.glorot_normal(), nn.initializers.variance_scaling(1., "fan_out", "normal")):
        with pytest.raises(ValueError, match="by default need two axes, got shape \\(4,\\)"):
            init(KEY, (4,))
