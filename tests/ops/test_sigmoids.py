"""The logistic function in compiled programs: what its value and its slope cost, and share."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import nn

X = pnp.linspace(-8.0, 8.0, 64)


def value_and_slope(x):
    return nn.sigmoid(x), pb.grad(lambda x: nn.sigmoid(x).sum())(x)


def slope_of_tanh_twice(x):
    """The slope of tanh, read by two sums along different axes."""
    slope = pb.grad(lambda x: pnp.tanh(x).sum())(x.reshape(8, 8))
    return slope.sum(0), (slope * slope).sum(1)


@pytest.mark.parametrize(("fun", "loops"), [(value_and_slope, 3), (slope_of_tanh_twice, 3)])
def test_what_value_and_slope_share_is_one_loop(fun, loops):
    text = pb.jit(fun).lower(X).compile().as_text()
    assert text.count(" exponential(") == text.count(" divide(") == 1
    assert text.count(" fusion(") <= loops


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_slope_in_both_tails(dtype):
    with pb.enable_x64(True):
        x = pnp.linspace(-80.0, 80.0, 641).astype(dtype)
        y, slope = pb.jit(value_and_slope)(x)
    exact = np.asarray(x, np.longdouble)
    expected = 1 / (1 + np.exp(-exact))
    # an exponential, a sum, a quotient and a product, each rounded once or twice
    close = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(np.asarray(y), expected, rtol=close)
    np.testing.assert_allclose(np.asarray(slope), expected / (1 + np.exp(exact)), rtol=close)
