"""Running sums, products, extremes and log-sum-exps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Sampler, agree, check_batching, check_derivative, check_value
from jax import lax

import pullback as pb
from pullback._ops import cumulative

NAMES = ["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"]
INEXACT = ["float16", "bfloat16", "float32"]
DTYPES = {
    "cumsum": [*INEXACT, "int8", "uint32", "complex64"],
    "cumprod": ["float32", "int8", "uint32", "complex64"],
    "cummax": [*INEXACT, "int8", "uint32", "complex64"],
    "cummin": [*INEXACT, "int8", "uint32", "complex64"],
    "cumlogsumexp": INEXACT,
}
rng = np.random.default_rng(0)


data = Sampler()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("name", "dtype"), [(name, dtype) for name in NAMES for dtype in DTYPES[name]])
def test_values(name, dtype, reverse):
    x = data((4, 5), dtype)
    for axis in (0, 1):
        agree(getattr(cumulative, name), getattr(lax, name), x, axis=axis, reverse=reverse)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0,), (1,), (17,), (2, 0)])
def test_short_and_empty_axes(name, shape):
    x = data(shape)
    check_value(
        lambda x: getattr(cumulative, name)(x, len(shape) - 1), lambda x: getattr(lax, name)(x, len(shape) - 1), x
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reverse", [False, True])
def test_rules(name, reverse):
    x = rng.permutation(15).reshape(3, 5).astype("float32") / 4 - 1.6
    f = lambda x: getattr(cumulative, name)(x, 1, reverse)  # noqa: E731
    check_derivative(f, x)
    check_batching(lambda x: getattr(cumulative, name)(x, 0, reverse), x[0])


@pytest.mark.parametrize("name", ["cumprod", "cumlogsumexp"])
def test_second_derivatives_are_jax_s(name):
    x = data((5,))
    x[2] = 0
    np.testing.assert_allclose(
        pb.hessian(lambda x: getattr(cumulative, name)(x, 0)[-1])(x),
        jax.hessian(lambda x: getattr(lax, name)(x, 0)[-1])(x),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", ["cumsum", "cummax", "cummin", "cumlogsumexp"])
def test_nan_and_infinity(name):
    for values in ([1, np.nan, 2], [-np.inf, -np.inf, 1, 2, -np.inf], [np.inf, 1, np.inf]):
        x = np.array(values, "float32")
        check_value(lambda x: getattr(cumulative, name)(x), lambda x: getattr(lax, name)(x), x)


def test_the_gradient_of_cumlogsumexp_is_finite_where_everything_so_far_is_nothing():
    x = np.array([-np.inf, -np.inf, 1, 2, -np.inf, 100, -100], "float32")
    weights = np.array([0, 0, 1, 1, 1, 1, 1], "float32")

    def f(x):
        return jnp.vdot(weights[2:], lax.cumlogsumexp(x)[2:])

    def ours(x):
        return (cumulative.cumlogsumexp(x)[2:] * weights[2:]).sum()

    np.testing.assert_allclose(pb.grad(ours)(x)[2:], jax.grad(f)(x)[2:], rtol=1e-5, atol=1e-6)
    assert np.isfinite(pb.grad(ours)(x)).all()


def test_refusals():
    with pytest.raises(TypeError, match="cumsum: expected a number"):
        cumulative.cumsum(np.zeros(3, bool))
    with pytest.raises(TypeError, match="cumlogsumexp: expected a floating-point dtype"):
        cumulative.cumlogsumexp(np.zeros(3, "int32"))
    with pytest.raises(IndexError, match="axis 2"):
        cumulative.cumsum(np.zeros(3, "float32"), 2)
