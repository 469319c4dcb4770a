"""Gamma numbers of large arrays: the rejected ones are drawn apart from the others, and all are JAX's."""

import jax
import numpy as np
import pytest

import pullback as pb
from pullback import random
from pullback.random import gamma_sampler

N = 2 * gamma_sampler._MANY
A = np.exp(np.random.default_rng(0).standard_normal(N) * 2).astype("float32")
NAMES = ["gamma", "loggamma"]


def check(name, a, compiled, eager, seed=3, shape=(N,)):
    """Compare with JAX, in units of eps relative to 1 + |x|: the formulas cancel where the functions are NumPy's."""
    key, expected = random.key(seed), getattr(jax.random, name)(jax.random.key(seed), a, shape)
    sample = getattr(random, name)
    for got, units in (
        (pb.jit(lambda key, a: sample(key, a, shape))(key, a), compiled),
        (sample(key, a, shape), eager),
    ):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        eps = float(np.finfo(got.dtype).eps)
        np.testing.assert_allclose(got, expected, rtol=units * eps, atol=units * eps)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("a", [1.0, 2.5, 0.3, 1e-3, A, np.where(A < 1, 1.0, A)], ids=str)
def test_numbers_are_those_of_jax(name, a):
    check(name, np.asarray(a, "float32"), 0, 16)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_without_a_distribution(name):
    a = A.copy()
    a[:6] = [np.nan, np.inf, 0.0, 1e-40, 1e30, 3e38]
    check(name, a, 0, 16)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_dtypes(dtype):
    key, jax_key, a = random.key(1), jax.random.key(1), np.full(N, 2.5, "float32")
    got = pb.jit(lambda key, a: random.gamma(key, a, (N,), dtype))(key, a)
    np.testing.assert_array_equal(got.astype("float32"), jax.random.gamma(jax_key, a, (N,), dtype).astype("float32"))


def test_doubles():
    with pb.enable_x64(True), jax.enable_x64(True):
        check("gamma", np.asarray(A, "float64"), 300, 300)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("beta", {"a": 2.0, "b": 0.5}), ("chisquare", {"df": 0.5}), ("f", {"dfnum": 5.0, "dfden": 2.5})],
    ids=str,
)
def test_numbers_that_come_from_these_are_those_of_jax(name, parameters):
    sample, expected = getattr(random, name), getattr(jax.random, name)(jax.random.key(3), shape=(N,), **parameters)
    got = pb.jit(lambda key, parameters: sample(key, shape=(N,), **parameters))(random.key(3), parameters)
    # equal to the bit, but where the compiler is told to optimize nothing, as here: it fuses other operations then
    np.testing.assert_allclose(got, expected, rtol=5e-7, atol=5e-7)


@pytest.mark.parametrize("name", NAMES)
def test_more_are_rejected_than_there_is_room_for(name, monkeypatch):
    monkeypatch.setattr(gamma_sampler, "_FEW", N // 100)
    gamma_sampler._traced.cache_clear()
    check(name, A, 0, 16)
    gamma_sampler._traced.cache_clear()


def test_only_rejected_elements_are_drawn_again():
    text = pb.jit(lambda key, a: random.gamma(key, a)).lower(random.key(0), A).as_text()
    lines = text.splitlines()
    hashes = [line for line in lines if "callee = @threefry2x32" in line]
    few = [line for line in hashes if f"tensor<{N // gamma_sampler._FEW}x" in line]
    # a loop over parts of the rejected ones, in it one until all are drawn, and in this one until roots are positive
    assert sum('"stablehlo.while"' in line for line in lines) == 3
    assert sum('"stablehlo.case"' in line for line in lines) == 1
    assert 2 * len(few) < len(hashes)


def test_batches_and_loops():
    a = A.reshape(2, -1)
    keys = random.split(random.key(5), 2)
    expected = np.stack([random.gamma(k, x) for k, x in zip(keys, a, strict=True)])
    for f in (pb.vmap(random.gamma), pb.jit(pb.vmap(random.gamma))):
        np.testing.assert_allclose(f(keys, a), expected, rtol=4e-6, atol=1e-37)
    scanned = pb.lax.scan(lambda c, ka: (c, random.gamma(*ka)), 0, (keys, a))[1]
    np.testing.assert_allclose(scanned, expected, rtol=4e-6, atol=1e-37)


def test_derivatives():
    key, jax_key = random.key(0), jax.random.key(0)
    slope = pb.jit(pb.grad(lambda a: random.gamma(key, a).sum()))(A)
    np.testing.assert_allclose(slope, jax.grad(lambda a: jax.random.gamma(jax_key, a).sum())(A), rtol=2e-3, atol=1e-6)
