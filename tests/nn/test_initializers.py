"""Initializers: JAX's draws, the variances that are documented, complex numbers, and shapes of one axis."""

import jax
import jax.nn as jnn
import numpy as np
import pytest

from pullback import nn, random

KEY, JAX_KEY = random.key(3), jax.random.key(3)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated_normal"])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_the_variance_is_the_one_asked_for(distribution, dtype):
    draw = np.asarray(nn.initializers.variance_scaling(3.0, "fan_in", distribution)(KEY, (300, 400), dtype))
    # 120,000 draws: the standard error of the variance is below 0.5 %
    assert np.mean(abs(draw) ** 2) == pytest.approx(3 / 300, rel=0.02)
    assert abs(draw.mean()) < 2e-3
    if dtype == "complex64":
        assert np.var(draw.real) == pytest.approx(np.var(draw.imag), rel=0.03)
        bound = {
            "normal": np.inf,
            "uniform": np.sqrt(2 * 3 / 300),
            "truncated_normal": 2 * np.sqrt(3 / 300) / np.sqrt(1 - 4 / np.expm1(4)),
        }[distribution]
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
    np.testing.assert_allclose(ours / theirs, 0.95311164380491208 / np.sqrt(1 - 4 / np.expm1(4)), rtol=1e-5)


@pytest.mark.parametrize(
    ("in_axis", "out_axis", "shape"), [(0, 0, (4,)), (0, (), (4,)), ((), 0, (4,)), ((), (), ()), (-1, -1, (4,))]
)
def test_vectors_and_scalars(in_axis, out_axis, shape):
    for mode in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"):
        ours, theirs = (
            lib.initializers.variance_scaling(2.0, mode, "normal", in_axis, out_axis)(key, shape)
            for lib, key in ((nn, KEY), (jax.nn, JAX_KEY))
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_vector_with_the_default_axes():
    for init in (nn.initializers.glorot_normal(), nn.initializers.variance_scaling(1.0, "fan_out", "normal")):
        with pytest.raises(ValueError, match="by default need two axes, got shape \\(4,\\)"):
            init(KEY, (4,))


def close(got, expected, tolerance=2e-5):
    np.testing.assert_allclose(
        np.asarray(got, np.float64), np.asarray(expected, np.float64), rtol=tolerance, atol=tolerance
    )


FAMILY = ["glorot_uniform", "glorot_normal", "lecun_uniform", "lecun_normal", "he_uniform", "he_normal"]


@pytest.mark.parametrize("name", FAMILY)
def test_variance_scaling(name):
    init = getattr(nn.initializers, name)()
    x = np.asarray(init(random.key(1), (200, 300)))
    fans = {"glorot": 250, "lecun": 200, "he": 200}[name.split("_")[0]]
    scale = 2 if name.startswith("he") else 1
    np.testing.assert_allclose(x.var(), scale / fans, rtol=2e-2)
    np.testing.assert_allclose(x.mean(), 0, atol=1e-3)
    assert init(random.key(1), (3, 4), np.float16).dtype == np.float16
    close(init(random.key(7), (3, 4)), getattr(jnn.initializers, name)()(jax.random.key(7), (3, 4)))


@pytest.mark.parametrize(("shape", "axis"), [((4, 2), -1), ((2, 4), -1), ((3, 4, 2), 0), ((0, 3), -1)])
def test_orthogonal_matrices(shape, axis):
    ours = nn.initializers.orthogonal(2.0, axis)(random.key(1), shape)
    close(ours, jnn.initializers.orthogonal(2.0, axis)(jax.random.key(1), shape), 10)
    with pytest.raises(ValueError, match=r"orthogonal: .*matrix"):
        nn.initializers.orthogonal()(random.key(1), (3,))


def test_simple_initializers():
    key = random.key(0)
    assert np.asarray(nn.initializers.zeros(key, (2,))).tolist() == [0, 0]
    assert np.asarray(nn.initializers.ones(key, (2,), np.int32)).tolist() == [1, 1]
    assert np.asarray(nn.initializers.constant(3.0)(key, (2,))).tolist() == [3, 3]
    theirs = jax.random.key(0)
    close(nn.initializers.normal(0.5)(key, (4,)), jnn.initializers.normal(0.5)(theirs, (4,)))
    close(nn.initializers.uniform(0.5)(key, (4,)), jnn.initializers.uniform(0.5)(theirs, (4,)))
    close(nn.initializers.truncated_normal(0.5)(key, (4,)), jnn.initializers.truncated_normal(0.5)(theirs, (4,)))
    kernel = nn.initializers.variance_scaling(1.0, "fan_geo_avg", "normal", in_axis=2, out_axis=3)
    assert kernel(key, (3, 3, 8, 16)).shape == (3, 3, 8, 16)


def test_initializers_refuse_what_has_no_fans():
    with pytest.raises(ValueError, match=r"variance_scaling: fan_in .* by default need two axes, got shape \(3,"):
        nn.initializers.he_normal()(random.key(0), (3,))
    with pytest.raises(ValueError, match="mode must be one of"):
        nn.initializers.variance_scaling(1.0, "fan", "normal")
    with pytest.raises(ValueError, match="distribution must be one of"):
        nn.initializers.variance_scaling(1.0, "fan_in", "gauss")
    with pytest.raises(TypeError, match="must be floating-point"):
        nn.initializers.he_normal()(random.key(0), (3, 4), np.int32)


@pytest.mark.parametrize("shape", [(3, 2, 4), (2, 3, 3, 3), (3, 1, 2, 2, 2)])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_kernels_with_an_orthogonal_matrix_in_the_middle(shape, dtype):
    ours = np.asarray(nn.initializers.delta_orthogonal(2.0)(KEY, shape, dtype))
    np.testing.assert_allclose(ours, jnn.initializers.delta_orthogonal(2.0)(JAX_KEY, shape, dtype), atol=1e-6)
    middle = ours[tuple((n - 1) // 2 for n in shape[:-2])]
    np.testing.assert_allclose(middle @ middle.conj().T, 4 * np.eye(shape[-2]), atol=1e-5)
    assert np.count_nonzero(ours) == middle.size


@pytest.mark.parametrize(("shape", "message"), [((3, 3), "three to five axes"), ((3, 4, 2), "at least as many output")])
def test_shapes_of_kernels_are_checked(shape, message):
    with pytest.raises(ValueError, match=f"delta_orthogonal: .*{message}"):
        nn.initializers.delta_orthogonal()(KEY, shape)
