"""top_k: small arrays, by XLA, and large ones, in two steps."""

import jax
import ml_dtypes
import numpy as np
import pytest
from agreement import check_batching, check_derivative, check_value
from jax import lax

import pullback as pb
import pullback.numpy as pnp
from pullback._ops.by_size import HOST
from pullback._ops.top_k import top_k

REAL = ["bool", "int8", "uint32", "float16", "bfloat16", "float32"]
SPECIAL = np.array([3, np.nan, 1, -np.inf, np.inf, 0.0, -0.0, 2, 1, np.nan, -np.nan], "float32")
rng = np.random.default_rng(0)


def data(shape, dtype, highest=5):
    """Random numbers of a dtype, with repetitions."""
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    return rng.integers(0, 2 if dtype == "bool" else highest, shape).astype(dtype)


def test_refusals():
    with pytest.raises(ValueError, match="top_k: k must lie between 0 and the length 3"):
        top_k(np.zeros(3), 4)
    with pytest.raises(TypeError, match="expected a real dtype"):
        top_k(np.zeros(3, "complex64"), 1)


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("k", [0, 1, 3])
def test_small_arrays(dtype, k):
    x = data((4, 5), dtype)
    check_value(lambda x: top_k(x, k, axis=0), lambda x: lax.top_k(x, k, axis=0), x)
    check_value(lambda x: top_k(x, k), lambda x: lax.top_k(x, k), x)


def test_nan_comes_first_and_zeros_are_told_apart():
    n = SPECIAL.size
    check_value(lambda x: top_k(x, n), lambda x: lax.top_k(x, n), SPECIAL)
    many = np.concatenate([SPECIAL, np.full(2 * HOST, -7, "float32")])
    for dtype in ("float32", "float16", ml_dtypes.bfloat16):
        for k in (n, HOST):
            got, expected = pb.jit(top_k, static_argnums=1)(many.astype(dtype), k), lax.top_k(many.astype(dtype), k)
            np.testing.assert_array_equal(got[1], expected[1])
            np.testing.assert_array_equal(np.asarray(got[0], "float32"), np.asarray(expected[0], "float32"))


@pytest.mark.parametrize("dtype", [*REAL, "int32", "uint8"])
@pytest.mark.parametrize("shape", [(2, 2 * HOST), (3, 5, 333), (1, 1009)])
def test_equal_elements_of_large_arrays_stay_in_order(dtype, shape):
    x = data(shape, dtype, 100)
    x = ~x if dtype == "uint32" else x
    order = np.argsort(-x.astype("int64"), axis=-1, kind="stable")
    for k in (1, 5, 50, shape[-1]):
        for f in (top_k, pb.jit(top_k, static_argnums=1)):
            values, positions = f(x, k)
            np.testing.assert_array_equal(positions, order[..., :k])
            np.testing.assert_array_equal(values, np.take_along_axis(x, order[..., :k], -1))


@pytest.mark.parametrize("n", [1000, 1023, 1025, 4096, 4099, 10_007])
def test_classes_of_any_number(n):
    x = rng.standard_normal((3, n)).astype("float32")
    order = np.argsort(-x, axis=1, kind="stable")
    for k in (1, 7, n // 70, n // 17):
        np.testing.assert_array_equal(pb.jit(top_k, static_argnums=1)(x, k)[1], order[:, :k])


def test_which_way_large_arrays_are_compiled():
    def ways(dtype, k, shape=(4, 1000)):
        text = pb.jit(top_k, static_argnums=1).lower(np.ones(shape, dtype), k).as_text()
        return text.count("pullback_kernel"), text.count("chlo.top_k")

    assert ways("float32", 8) == ways("bfloat16", 8) == ways("int32", 8) == (2, 0)
    assert ways("float32", 100) == (1, 0)  # classes of three elements would be no gain
    assert ways("float32", 8, (2, 50)) == ways("float32", 0) == (0, 1)


def test_only_maxima_and_the_elements_of_few_classes_come_to_the_host():
    text = pb.jit(lambda x: top_k(x, 8)).lower(np.ones((4, 1024), "float32")).as_text()
    calls = [line.rsplit(" : ", 1)[1] for line in text.splitlines() if "pullback_kernel" in line]
    assert calls == ["(tensor<4x128xi64>) -> (tensor<4x8xi64>)", "(tensor<4x64xi64>) -> (tensor<4x8xi64>)"]


def test_rules():
    x = rng.permutation(12).reshape(3, 4).astype("float32") / 2
    check_derivative(lambda x: top_k(x, 2)[0], x)
    check_batching(lambda x: top_k(x, 2)[0], x)
    check_batching(lambda x: top_k(x, 2, axis=0)[1], x)


def test_rules_of_large_arrays():
    x = rng.permutation(4 * HOST).reshape(4, HOST).astype("float32")
    w = rng.standard_normal((4, 3)).astype("float32")
    gradient = pb.jit(pb.grad(lambda x: (top_k(x, 3)[0] * w).sum()))(x)
    np.testing.assert_array_equal(gradient, jax.grad(lambda x: (lax.top_k(x, 3)[0] * w).sum())(x))
    mapped = pb.jit(pb.vmap(lambda x: top_k(x, 3)[0]))(pnp.stack([x, -x]))
    np.testing.assert_array_equal(mapped, lax.top_k(np.stack([x, -x]), 3)[0])
    scanned = pb.lax.scan(lambda c, x: (c + 1, top_k(x, 3)[0]), 0, np.stack([x, -x]))[1]
    np.testing.assert_array_equal(scanned, mapped)
