"""Activations: values, dtypes and derivatives are JAX's, and what is safer than JAX's is said and tested."""

import jax
import jax.nn as jnn
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import check_derivative

import pullback as pb
from pullback import nn

RNG = np.random.default_rng(0)
POINTS = np.array([0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3.7, -3.7, 3, -3, 6, 30, -30, 100, -100, 1e-4], np.float32)
HALF = 0.5
ACTIVATIONS = [
    "relu",
    "relu6",
    "sigmoid",
    "softplus",
    "log_sigmoid",
    "soft_sign",
    "silu",
    "mish",
    "gelu",
    "elu",
    "selu",
    "celu",
    "leaky_relu",
    "hard_tanh",
    "hard_sigmoid",
    "hard_silu",
    "squareplus",
    "sparse_plus",
    "sparse_sigmoid",
    "tanh",
    "identity",
]


def close(got, expected, tolerance=2e-5):
    np.testing.assert_allclose(
        np.asarray(got, np.float64), np.asarray(expected, np.float64), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    fun, oracle = getattr(nn, name), getattr(jnn, name)
    close(fun(POINTS), oracle(POINTS))
    close(pb.jit(fun)(POINTS), oracle(POINTS))
    close(pb.vmap(pb.grad(fun))(POINTS), jax.vmap(jax.grad(oracle))(POINTS))
    for x in (np.float16([0.5, -2]), jnp.bfloat16(0.75), HALF):
        got, expected = fun(x), oracle(x)
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        assert got.weak_type == expected.weak_type
        close(got, expected, 2e-2)
    # JAX refuses integers in some of these
    assert fun(np.int32(2)).dtype == (np.int32 if name in ("relu", "hard_tanh", "identity") else np.float32)
    close(fun(2), fun(2.0))


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "silu", "gelu", "log_sigmoid", "mish"])
def test_second_derivatives_of_smooth_activations(name):
    fun, oracle = getattr(nn, name), getattr(jnn, name)
    close(pb.vmap(pb.grad(pb.grad(fun)))(POINTS), jax.vmap(jax.grad(jax.grad(oracle)))(POINTS), 1e-4)


def test_the_rectifier_has_derivative_zero_at_zero_and_keeps_nan():
    assert float(pb.grad(nn.relu)(0.0)) == 0
    assert float(pb.grad(pb.jit(nn.relu))(0.0)) == 0
    assert np.isnan(float(nn.relu(np.nan)))
    assert float(pb.grad(nn.relu)(np.inf)) == 1
    assert len(pb.make_jaxpr(nn.relu)(1.0).jaxpr.eqns) == 2


def test_parameters_of_activations():
    x = POINTS
    close(nn.elu(x, 0.5), jnn.elu(x, 0.5))
    close(nn.celu(x, 2.0), jnn.celu(x, 2.0))
    close(nn.leaky_relu(x, 0.2), jnn.leaky_relu(x, 0.2))
    close(nn.gelu(x, approximate=False), jnn.gelu(x, approximate=False))
    close(nn.squareplus(x, 1.0), jnn.squareplus(x, 1.0))
    close(pb.grad(lambda a: nn.elu(x, a).sum())(0.5), jax.grad(lambda a: jnn.elu(x, a).sum())(0.5))
    positive = np.float32([0.1, 0.5, 0.69, 0.7, 1, 10, 100])
    close(nn.log1mexp(positive), jnn.log1mexp(positive))
    close(pb.vmap(pb.grad(nn.log1mexp))(positive), jax.vmap(jax.grad(jnn.log1mexp))(positive))


def test_gated_linear_unit():
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    close(nn.glu(x), jnn.glu(x))
    close(nn.glu(x[:2], axis=0), jnn.glu(x[:2], axis=0))
    check_derivative(nn.glu, x)
    with pytest.raises(ValueError, match=r"glu: axis 0 must have even length, got shape \(3, 4\)"):
        nn.glu(x, axis=0)


def test_names_are_those_of_jax():
    for module, theirs in ((nn, jnn), (nn.initializers, jnn.initializers)):
        for name in getattr(module, "__all__", dir(module)):
            # the class of what get_scaled_dot_general_config returns is private there
            if not name.startswith("_") and callable(getattr(module, name)) and name != "BlockScaleConfig":
                assert hasattr(theirs, name), name
