"""Functions with finite derivatives at the edge of their domain: `pullback.rules.safe`."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import rules

# function, plain function, points inside, points on the edge and outside, values there
ROWS = {
    "safe_sqrt": (pnp.sqrt, [0.5, 2.0, 1e30, 1e-30], [0.0, -0.0, -2.0], [0, 0, 0]),
    "safe_log": (pnp.log, [0.5, 2.0, 1e30, 1e-30], [0.0, -2.0], [np.log(np.finfo(np.float32).tiny)] * 2),
    "safe_arccos": (pnp.arccos, [0.5, -0.999, 0.9999999, 0.0], [1.0, -1.0, 2.0], [0, np.pi, 0]),
    "safe_arcsin": (pnp.arcsin, [0.5, -0.999, 0.9999999, 0.0], [1.0, -1.0, 2.0], [np.pi / 2, -np.pi / 2, np.pi / 2]),
}


def up_to_second(fun):
    first = pb.grad(lambda x: fun(x).sum())
    return fun, first, pb.grad(lambda x: first(x).sum())


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("transform", [pb.jit, lambda f: f])
def test_inside_the_plain_function(name, transform):
    plain, inside, _, _ = ROWS[name]
    x = pnp.array(inside)
    for got, expected in zip(up_to_second(getattr(rules, name)), up_to_second(plain), strict=True):
        np.testing.assert_allclose(transform(got)(x), expected(x), rtol=2e-6)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("transform", [pb.jit, lambda f: f])
def test_on_the_edge_derivatives_vanish(name, transform):
    _, _, outside, values = ROWS[name]
    fun, first, second = up_to_second(getattr(rules, name))
    x = pnp.array(outside)
    np.testing.assert_allclose(transform(fun)(x), values, rtol=1e-6)
    np.testing.assert_array_equal(transform(first)(x), 0)
    np.testing.assert_array_equal(transform(second)(x), 0)
    np.testing.assert_array_equal(transform(lambda x: pb.jvp(fun, (x,), (x,))[1])(x), 0)


@pytest.mark.parametrize("name", ROWS)
def test_nan_stays(name):
    fun, first, _ = up_to_second(getattr(rules, name))
    assert np.isnan(fun(pnp.nan))
    assert np.isnan(first(pnp.nan))


@pytest.mark.parametrize("name", [*ROWS, "safe_norm"])
def test_rules(name):
    fun = getattr(rules, name)
    pb.check_rules(fun, pnp.array([0.3, 0.7]), order=2)
    with pytest.raises(TypeError, match=name) if name != "safe_norm" else pytest.raises(ValueError, match=name):
        fun(1j) if name != "safe_norm" else fun(1.0, axis=3)


def test_quotients():
    x, y = pnp.array([1.0, 0.0, 2.0]), pnp.array([0.0, 0.0, 4.0])
    np.testing.assert_array_equal(rules.safe_divide(x, y), [0, 0, 0.5])
    dx, dy = pb.grad(lambda x, y: rules.safe_divide(x, y).sum(), (0, 1))(x, y)
    np.testing.assert_array_equal(dx, [0, 0, 0.25])
    np.testing.assert_array_equal(abs(dy), [0, 0, 0.125])
    np.testing.assert_array_equal(pb.hessian(lambda y: rules.safe_divide(1.0, y))(0.0), 0)
    pb.check_rules(rules.safe_divide, 1.5 + 0.5j, 0.7 - 0.2j, order=2)
    assert rules.safe_divide(1, 2) == 0.5


@pytest.mark.parametrize("size", [1e-38, 1e-30, 1.0, 1e30])
def test_a_norm_over_the_range(size):
    x = pnp.array([[3.0, 0.0], [4.0, 0.0]], pnp.float32) * pnp.float32(size)
    np.testing.assert_allclose(rules.safe_norm(x, axis=0), [5 * size, 0], rtol=1e-6)
    slope = pb.jit(pb.grad(lambda x: rules.safe_norm(x, axis=0).sum()))(x)
    np.testing.assert_allclose(slope, [[0.6, 0], [0.8, 0]], rtol=1e-6)
    assert rules.safe_norm(x, axis=(0, 1), keepdims=True).shape == (1, 1)


def test_norms_of_zeros_and_nothing():
    x = pnp.zeros(3)
    np.testing.assert_array_equal(pb.grad(rules.safe_norm)(x), 0)
    np.testing.assert_array_equal(pb.hessian(rules.safe_norm)(x), 0)
    assert rules.safe_norm(pnp.zeros((0, 2)), axis=0).tolist() == [0, 0]
    assert rules.safe_norm(pnp.array([pnp.inf, 1])) == pnp.inf
    assert np.isnan(rules.safe_norm(pnp.array([pnp.nan, 1])))


def test_a_complex_norm():
    z = pnp.array([3j, 4.0])
    assert rules.safe_norm(z) == 5
    pb.check_rules(rules.safe_norm, z, order=2)
