"""The logistic function in compiled programs: what its value and its slope cost, and share; its inverse, and acosh."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import nn
from pullback._ops.sigmoids import logistic_slope_p, tanh_slope_p
from pullback.scipy import special

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


def test_the_slope_of_tanh_is_one_operation():
    jaxpr = pb.make_jaxpr(pb.grad(lambda x: pnp.tanh(x).sum()))(X).jaxpr
    names = [eqn.primitive.name for eqn in jaxpr.eqns]
    assert names.count("tanh_slope") == 1
    assert len([name for name in names if name == "mul"]) <= 1


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_the_slope_of_tanh_is_four_times_that_of_the_logistic_function_at_twice_x(dtype):
    with pb.enable_x64(True):
        x = np.concatenate([np.linspace(-9, 9, 200), [0.0, -0.0, 40.0, -44.0, 1e-30, np.inf, -np.inf, np.nan]])
        x = x.astype(dtype) if dtype.startswith("f") else (x[:200] * (1 + 0.1j)).astype(dtype)
        got = tanh_slope_p.kernel(x)
        assert got.dtype == x.dtype
        np.testing.assert_array_equal(got, 4 * logistic_slope_p.kernel(2 * x))
        np.testing.assert_allclose(
            pb.jit(tanh_slope_p.bind)(pnp.array(x)), got, rtol=8 * np.finfo(dtype).eps, atol=1e-37
        )
        np.testing.assert_allclose(tanh_slope_p.kernel(x[7]), got[7], rtol=4 * np.finfo(dtype).eps)


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


def test_logit_takes_one_logarithm():
    text = pb.jit(special.logit).lower(X).as_text()
    assert text.count("stablehlo.log") == 1
    text = pb.jit(pb.grad(lambda x: special.logit(x).sum())).lower(X).compile().as_text()
    assert " log(" not in text


@pytest.mark.parametrize("jit", [False, True])
def test_logit_at_the_ends_and_outside(jit):
    x = np.array([0.0, -0.0, 1.0, 0.5, -1e-3, 1.5, np.inf, -np.inf, np.nan, 1e-30], "float32")
    expected = [-np.inf, -np.inf, np.inf, 0.0, *[np.nan] * 5, np.log(1e-30)]
    f = pb.jit(special.logit) if jit else special.logit
    np.testing.assert_allclose(f(x), expected, rtol=2e-7)
    slope = pb.vmap(pb.grad(f))(np.array([0.0, 1.0, 0.5, 1e-30, 1 - 2.0**-24], "float32"))
    np.testing.assert_allclose(slope, [np.inf, np.inf, 4.0, 1e30, 2.0**24], rtol=3e-7)


@pytest.mark.parametrize("jit", [False, True])
def test_slopes_of_acosh(jit):
    x = np.array([1.0, 1 + 2.0**-23, 1.5, 3e9, 1e30, 8e37, np.inf, 0.5, -2.0, -np.inf, np.nan], "float32")
    wide = x.astype("float64")
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where(wide >= 1, 1 / np.sqrt((wide - 1) * (wide + 1)), np.nan)
    slope = pb.vmap(pb.grad(pnp.arccosh))
    np.testing.assert_allclose((pb.jit(slope) if jit else slope)(x), expected, rtol=5e-7)
    text = pb.jit(slope).lower(x).as_text()
    assert text.count("stablehlo.rsqrt") == 1
    z = np.array([2 + 1j, -3 + 0.5j], "complex64")
    got = pb.vmap(pb.grad(pnp.arccosh, holomorphic=True))(z)
    np.testing.assert_allclose(got, 1 / (np.sqrt(z - 1) * np.sqrt(z + 1)), rtol=1e-6)
