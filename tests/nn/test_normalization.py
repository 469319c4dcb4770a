"""softmax, logsumexp and their relatives: values and derivatives are JAX's, and safe where nothing is left."""

import jax
import jax.nn as jnn
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import check_batching, check_derivative

import pullback as pb
from pullback import nn
from pullback.scipy import special

RNG = np.random.default_rng(0)
ROWS = np.float32([[1, 2, 3], [1000, 0, -1000], [-np.inf, 0, 1], [5, 5, 5]])
MASK = np.array([[True, False, True], [True, True, True], [True, True, False], [False, True, False]])


def close(got, expected, tolerance=2e-5):
    np.testing.assert_allclose(
        np.asarray(got, np.float64), np.asarray(expected, np.float64), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name):
    fun, oracle = getattr(nn, name), getattr(jnn, name)
    for axis in (-1, 0, (0, 1), None):
        close(fun(ROWS, axis), oracle(ROWS, axis))
        close(pb.jit(lambda x, axis=axis: fun(x, axis))(ROWS), oracle(ROWS, axis))
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    weights = RNG.standard_normal((3, 4)).astype(np.float32)
    close(pb.grad(lambda x: (fun(x) * weights).sum())(x), jax.grad(lambda x: (oracle(x) * weights).sum())(x))
    check_derivative(fun, x)
    check_batching(fun, x)
    for y in (np.float16([1, 2]), jnp.bfloat16([1, 2])):
        assert fun(y).dtype == oracle(y).dtype
    assert fun(np.int32([1, 2])).dtype == np.float32
    assert fun(np.zeros((2, 0), np.float32)).shape == (2, 0)


def test_masked_softmax():
    close(nn.softmax(ROWS, where=MASK), jnn.softmax(ROWS, where=MASK))
    got = np.asarray(nn.log_softmax(ROWS, where=MASK))
    close(np.exp(got), nn.softmax(ROWS, where=MASK))
    # where nothing is left of a row, there is no weight, and no nan in values or gradients
    nothing = np.zeros((2, 3), bool)
    x = np.ones((2, 3), np.float32)
    assert not np.asarray(nn.softmax(x, where=nothing)).any()
    for masked in (nn.log_softmax, pb.jit(nn.log_softmax)):
        assert np.all(np.asarray(masked(x, where=nothing)) == -np.inf)
    assert not np.asarray(pb.grad(lambda x: pb.numpy.exp(nn.log_softmax(x, where=nothing)).sum())(x)).any()
    assert not np.asarray(pb.grad(lambda x: nn.softmax(x, where=nothing).sum())(x)).any()


def test_logsumexp():
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    for kwargs in (
        {},
        {"axis": 1},
        {"axis": (0, 1), "keepdims": True},
        {"axis": 0, "b": x**2},
        {"axis": 1, "b": 2.0},
        {"axis": 1, "where": x > 0},
    ):
        close(nn.logsumexp(x, **kwargs), jnn.logsumexp(x, **kwargs))
        close(
            pb.grad(lambda x, k=kwargs: nn.logsumexp(x, **k).sum())(x),
            jax.grad(lambda x, k=kwargs: jnn.logsumexp(x, **k).sum())(x),
        )
    value, sign = nn.logsumexp(x, axis=1, b=-1.0, return_sign=True)
    expected = jnn.logsumexp(x, axis=1, b=-1.0, return_sign=True)
    close(value, expected[0])
    close(sign, expected[1])
    assert np.isnan(np.asarray(nn.logsumexp(x, b=-1.0)))
    close(nn.logsumexp(np.float32([1000, 1000])), 1000 + np.log(2))
    z = (x + 1j * x[::-1]).astype(np.complex64)
    np.testing.assert_allclose(np.asarray(nn.logsumexp(z, 1)), np.asarray(jnn.logsumexp(z, 1)), rtol=1e-5)
    close(nn.logmeanexp(x, 1), jnn.logmeanexp(x, 1))
    assert special.logsumexp is nn.logsumexp


def test_logsumexp_of_infinities_has_safe_gradients():
    nothing = np.float32([-np.inf, -np.inf])
    assert float(nn.logsumexp(nothing)) == -np.inf
    assert np.asarray(pb.grad(nn.logsumexp)(nothing)).tolist() == [0, 0]
    assert np.asarray(pb.grad(nn.logsumexp)(np.float32([-np.inf, 1]))).tolist() == [0, 1]
    assert float(nn.logsumexp(np.float32([np.inf, 1]))) == np.inf
    # a weight of 0 takes even an infinite element out
    assert float(nn.logsumexp(np.float32([np.inf, 1]), b=np.float32([0, 1]))) == 1


def test_standardize():
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    for kwargs in ({}, {"axis": 0}, {"mean": 0.5, "variance": 2.0}, {"epsilon": 0.1}, {"axis": (0, 1)}):
        close(nn.standardize(x, **kwargs), jnn.standardize(x, **kwargs))
    check_derivative(nn.standardize, x)
    mask = np.array([True, True, False, True])
    close(nn.standardize(x, where=mask), jnn.standardize(x, where=mask))


def test_one_hot():
    for x, n, kwargs in (
        (np.array([0, 2, -1, 5]), 3, {}),
        (np.uint8([[1, 0]]), 2, {"dtype": np.int32}),
        (1, 3, {"dtype": bool}),
        (np.array([0, 2]), 3, {"axis": 0}),
    ):
        got, expected = nn.one_hot(x, n, **kwargs), jnn.one_hot(x, n, **kwargs)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))
    assert float(nn.one_hot(np.uint8(0), 300).sum()) == 1
    with pytest.raises(TypeError, match="one_hot: num_classes must be a Python integer"):
        pb.jit(nn.one_hot)(np.array([0]), 3)


@pytest.mark.parametrize("run", [lambda f: f, pb.jit], ids=["eager", "compiled"])
@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e4m3b11fnuz", "float8_e5m2", "float16"])
def test_masks_in_formats_without_an_infinity(dtype, run):
    """The sums are those of float32, rounded: nothing is masked by a nan."""
    x, mask = np.array([1.0, 2.0, 4.0], dtype=pb.numpy.dtype(dtype)), np.array([True, True, False])
    wide = x.astype(np.float32)
    for f in (
        lambda x: nn.softmax(x, where=mask),
        lambda x: nn.log_softmax(x, where=mask)[:2],
        lambda x: nn.logsumexp(x, where=mask),
        lambda x: nn.logsumexp(x, b=mask),
    ):
        found = run(f)(x)
        assert found.dtype == dtype
        np.testing.assert_array_equal(np.asarray(found), np.asarray(f(wide)).astype(x.dtype))
