"""Functions that change gradients alone: `pullback.rules.gradients`, straight-through estimators, spikes."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import rules

X = pnp.array([-3.0, -0.5, 0.0, 2.0])


def gradient(fun, x, weight=1.0):
    return pb.grad(lambda x: (weight * fun(x)).sum())(x)


def test_clipped_entry_by_entry():
    weights = pnp.array([-5.0, 0.5, 3.0, pnp.nan])
    np.testing.assert_array_equal(gradient(lambda x: rules.clip_gradient(x, -1, 1), X, weights), [-1, 0.5, 1, np.nan])


@pytest.mark.parametrize("transform", [pb.jit, pb.checkpoint, lambda f: f])
def test_clipped_pytree_with_integers(transform):
    @transform
    def loss(x, n):
        tree = rules.clip_gradient({"x": x, "n": n}, -1, pnp.array([1.0, 2.0]))
        return (tree["x"] * 3 * tree["n"]).sum()

    np.testing.assert_array_equal(pb.grad(loss)(pnp.ones(2), pnp.array([1, 2])), [1, 2])


def test_the_dtype_of_a_clipped_gradient_is_its_own():
    x = pnp.ones(2, pnp.bfloat16)
    assert gradient(lambda x: rules.clip_gradient(x, pnp.float32(-1), pnp.float32(0.5)), x).dtype == pnp.bfloat16


def test_clipping_is_no_linear_map():
    with pytest.raises(TypeError, match="forward"):
        pb.jvp(lambda x: rules.clip_gradient(x, -1, 1), (X,), (X,))
    with pytest.raises(TypeError, match="clip_gradient: expected real numbers, got c64"):
        rules.clip_gradient(pnp.ones(2) * 1j, -1, 1)


def test_bounds_get_no_gradient():
    assert pb.grad(lambda low: (rules.clip_gradient(X, low, 1.0) ** 2).sum())(-1.0) == 0


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_norm_of_a_clipped_gradient(size):
    direction = {"a": pnp.array([3.0, 0.0]) * size, "b": pnp.array([[4.0]]) * size}

    def loss(x):
        x = rules.clip_gradient_norm(x, 2.0)
        return (x["a"] * direction["a"]).sum() + (x["b"] * direction["b"]).sum()

    got = pb.grad(loss)(direction)
    norm = np.hypot(np.linalg.norm(np.float64(got["a"])), np.linalg.norm(np.float64(got["b"])))
    np.testing.assert_allclose(norm, min(5.0 * size, 2.0), rtol=1e-6)
    assert got["a"][1] == 0


def test_a_gradient_without_a_direction():
    assert np.isnan(gradient(lambda x: rules.clip_gradient_norm(x, 1.0), X, pnp.inf)).all()
    np.testing.assert_array_equal(gradient(lambda x: rules.clip_gradient_norm(x, 1.0), X, 0.0), 0)
    assert gradient(lambda x: rules.clip_gradient_norm(x, 1.0), pnp.zeros((0, 2))).shape == (0, 2)


def test_clipped_examples_of_a_batch():
    per_example = pb.vmap(pb.grad(lambda x: (rules.clip_gradient_norm(x, 1.0) * pnp.array([3.0, 4.0])).sum()))
    np.testing.assert_allclose(per_example(pnp.zeros((2, 2))), [[0.6, 0.8]] * 2, rtol=1e-6)


def test_scaled_and_reversed_in_both_modes_and_orders():
    def cube(x):
        return rules.scale_gradient(x, 2.0) ** 3

    assert pb.grad(cube)(1.0) == 6
    assert pb.jacfwd(cube)(1.0) == 6
    assert pb.grad(pb.grad(cube))(1.0) == 24
    assert pb.jacfwd(pb.grad(cube))(1.0) == 24
    assert pb.grad(lambda x: rules.reverse_gradient({"x": x}, 0.5)["x"] ** 2)(3.0) == -3
    assert pb.grad(lambda s: rules.scale_gradient(2.0, s))(3.0) == 0


def test_a_masked_gradient():
    mask = pnp.array([True, False])
    x = pnp.ones((3, 2))
    np.testing.assert_array_equal(gradient(lambda x: rules.stop_gradient_where(mask, x), x), [[0, 1]] * 3)
    with pytest.raises(ValueError, match=r"\(3,\) does not broadcast to \(2,\)"):
        rules.stop_gradient_where(pnp.ones(3, bool), pnp.ones(2))
    with pytest.raises(TypeError, match="must be of bools, got f32"):
        rules.stop_gradient_where(pnp.ones(2), pnp.ones(2))


def test_the_value_of_one_and_the_gradient_of_another():
    value, surrogate = pnp.float32(0.1), pnp.float32(1e8)
    assert rules.with_gradient_of(value, surrogate) == value  # surrogate + (value - surrogate) is 0

    def f(x):
        return rules.with_gradient_of(pnp.round(x), pnp.sin(x))

    assert f(2.2) == 2
    for derivative, expected in ((pb.grad(f), np.cos(2.2)), (pb.grad(pb.grad(f)), -np.sin(2.2))):
        np.testing.assert_allclose(derivative(2.2), expected, rtol=1e-6)
    np.testing.assert_allclose(pb.jacfwd(pb.jacrev(f))(2.2), -np.sin(2.2), rtol=1e-6)
    with pytest.raises(ValueError, match=r"value of shape \(2,\), surrogate of shape \(3,\)"):
        rules.with_gradient_of(pnp.ones(2), pnp.ones(3))
    with pytest.raises(TypeError, match="i32"):
        rules.with_gradient_of(1, 2)


def test_straight_through_keeps_signature_and_refuses_other_shapes():
    def quantized(x, step, *, offset=0.0):
        """Multiples of the step."""
        return pnp.round((x - offset) / step) * step

    estimated = rules.straight_through(quantized)
    assert estimated.__name__ == "quantized"
    assert estimated(0.7, 0.5, offset=0.1) == 0.5
    assert pb.grad(estimated)(0.7, 0.5) == 1
    assert pb.grad(estimated, 1)(0.7, 0.5) == 0
    np.testing.assert_array_equal(gradient(rules.straight_through(lambda x: x > 0), X), 1)
    with pytest.raises(ValueError, match=r"must return an array of the shape \(4,\) of its first argument, got f32"):
        rules.straight_through(pnp.sum)(X)
    with pytest.raises(TypeError, match="straight_through: fun"):
        rules.straight_through(3)


def test_binarized():
    x = pnp.array([-2.0, -0.5, -0.0, 0.5, 2.0, pnp.nan])
    np.testing.assert_array_equal(rules.binarize(x), [-1, -1, 1, 1, 1, np.nan])
    np.testing.assert_array_equal(gradient(rules.binarize, x)[:5], [0, 1, 1, 1, 0])


@pytest.mark.parametrize("bits", [1, 2, 8, 16])
def test_quantized(bits):
    x = pnp.linspace(-1.5, 2.5, 101)
    got = np.asarray(pb.jit(lambda x: rules.fake_quantize(x, -1, 2, bits=bits))(x))
    assert got[0] == -1
    assert got[-1] == 2
    assert len(np.unique(got)) <= 2**bits
    np.testing.assert_allclose(got, np.clip(x, -1, 2), atol=1.5 / (2**bits - 1) + 1e-6)
    low, high = pb.grad(lambda b: rules.fake_quantize(x, *b, bits=bits).sum())((-1.0, 2.0))
    assert (low, high) == (np.sum(x < -1), np.sum(x > 2))


def test_bits_are_checked():
    with pytest.raises(ValueError, match="bits must be from 1 to 16, got 0"):
        rules.fake_quantize(X, 0, 1, bits=0)


SLOPES = {
    "superspike": lambda z: 1 / (1 + abs(z)) ** 2,
    "sigmoid": lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    "arctan": lambda z: 1 / (1 + (np.pi * z) ** 2),
    "triangle": lambda z: np.maximum(1 - abs(z), 0),
}


@pytest.mark.parametrize("surrogate", SLOPES)
@pytest.mark.parametrize("transform", [pb.jit, lambda f: f])
def test_spikes(surrogate, transform):
    def step(v):
        return rules.spike(v, surrogate, sharpness=2.0)

    np.testing.assert_array_equal(transform(step)(X), [0, 0, 0, 1])
    np.testing.assert_allclose(
        transform(lambda x: gradient(step, x))(X), 2 * SLOPES[surrogate](2 * np.asarray(X)), rtol=1e-5
    )


def test_a_surrogate_of_ones_own_and_spikes_of_nan():
    def rising(z):
        return z + 3

    assert pb.grad(lambda v: rules.spike(v, rising))(2.0) == 5
    assert np.isnan(rules.spike(pnp.nan))
    with pytest.raises(ValueError, match="surrogate must be a function or one of"):
        rules.spike(1.0, "box")


def test_a_spiking_neuron_learns_through_a_scan():
    def spikes(weight):
        def step(v, x):
            v = 0.9 * v + weight * x
            s = rules.spike(v - 1.0, sharpness=5.0)
            return v * (1 - s), s

        return pb.lax.scan(step, 0.0, pnp.full(20, 0.3))[1].sum()

    assert pb.grad(spikes)(0.5) > 0
    np.testing.assert_allclose(pb.jit(pb.grad(spikes))(0.5), pb.grad(spikes)(0.5), rtol=1e-5)
