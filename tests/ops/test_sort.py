"""sort and searchsorted."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from agreement import check_batching, check_derivative, check_value, close
from jax import lax

import pullback as pb
from pullback._ops import sort as sorting

DTYPES = ["bool", "int8", "uint32", "float16", "bfloat16", "float32", "complex64"]
SPECIAL = np.array([3, np.nan, 1, -np.inf, np.inf, 0.0, -0.0, 2, 1, np.nan], "float32")
rng = np.random.default_rng(0)


def data(shape, dtype="float32"):
    """Random numbers of a dtype, with repetitions."""
    if dtype == "bool":
        return rng.random(shape) < 0.5
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    values = rng.integers(0, 5, shape)
    if dtype.kind == "c":
        values = values + 1j * rng.integers(0, 3, shape)
    return np.asarray(values).astype(dtype)


def agree(f, g, *args, **options):
    """`check_value` of two functions called with the same options."""
    check_value(lambda *xs: f(*xs, **options), lambda *xs: g(*xs, **options), *args)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dimension", [0, 1])
def test_sort(dtype, dimension):
    x = data((4, 6), dtype)
    check_value(lambda x: sorting.sort(x, dimension), lambda x: lax.sort(x, dimension=dimension), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_keys", [1, 2, 3])
def test_later_keys_break_ties_and_other_operands_follow(dtype, num_keys):
    keys, second, values = data((3, 7), dtype), data((3, 7), "int8"), data((3, 7), "float32")
    for dimension in (0, 1):
        options = {"dimension": dimension, "num_keys": num_keys}
        agree(
            lambda *xs, **o: sorting.sort(xs, **o), lambda *xs, **o: lax.sort(xs, **o), keys, second, values, **options
        )


def test_nan_comes_last_and_zeros_of_both_signs_keep_their_order():
    f = lambda x: sorting.sort((x, np.arange(10, dtype="int32")))[1]  # noqa: E731
    check_value(f, lambda x: lax.sort((x, jnp.arange(10)))[1], SPECIAL)
    got = np.asarray(sorting.sort(SPECIAL))
    assert np.isnan(got[-2:]).all()
    assert not np.isnan(got[:-2]).any()


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 0)])
def test_sort_of_little(shape):
    check_value(lambda x: sorting.sort(x), lambda x: lax.sort(x), np.zeros(shape, "float32"))


def test_rules_of_sort():
    x, y = rng.permutation(12).reshape(3, 4).astype("float32") / 2, rng.standard_normal((3, 4)).astype("float32")
    check_derivative(lambda x: sorting.sort(x, 0), x)
    check_derivative(lambda x, y: sorting.sort((x, y), 1)[1], x, y)
    check_batching(lambda x, y: sorting.sort((x, y), 1)[1], x, y)
    keys = data((12,), "int8")
    np.testing.assert_allclose(
        pb.grad(lambda v: (sorting.sort((keys, v))[1] * x.ravel()).sum())(y.ravel()),
        jax.grad(lambda v: (lax.sort((keys, v))[1] * x.ravel()).sum())(y.ravel()),
    )


def test_sort_key_val():
    got = sorting.sort_key_val(np.array([3, 1, 2]), np.array([30.0, 10.0, 20.0], "float32"))
    close(got[1], np.array([10.0, 20.0, 30.0], "float32"))


def test_refusals():
    with pytest.raises(ValueError, match="num_keys"):
        sorting.sort((np.zeros(2), np.zeros(2)), num_keys=3)
    with pytest.raises(ValueError, match="operands must have one shape"):
        sorting.sort((np.zeros(2), np.zeros(3)))
    with pytest.raises(IndexError, match="axis 1"):
        sorting.sort(np.zeros(3), 1)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7, 8, 33])
def test_searchsorted(side, n):
    a, v = np.sort(data((n,))), data((3, 5)) + np.float32(0.5) * data((3, 5))
    check_value(lambda a, v: sorting.searchsorted(a, v, side), lambda a, v: jnp.searchsorted(a, v, side=side), a, v)


def test_searchsorted_places_nan_at_the_end():
    a, v = np.array([1, 2, np.nan, np.nan], "float32"), np.array([np.nan, 3, np.inf, -np.inf], "float32")
    for side in ("left", "right"):
        agree(sorting.searchsorted, jnp.searchsorted, a, v, side=side)


def test_batched_searchsorted():
    a, v = np.sort(data((3, 6)), axis=1), data((3, 4))
    for dims in ((0, 0), (None, 0), (0, None)):
        xs = [x if d == 0 else x[0] for x, d in zip((a, v), dims, strict=True)]
        rows = [[x if d is None else x[i] for x, d in zip(xs, dims, strict=True)] for i in range(3)]
        expected = np.stack([np.searchsorted(*row) for row in rows]).astype("int32")
        f = pb.vmap(sorting.searchsorted, in_axes=dims)
        close(f(*xs), expected)
        close(pb.jit(f)(*xs), expected)
    twice = pb.vmap(pb.vmap(sorting.searchsorted, in_axes=(None, 0)), in_axes=(0, None))(a, v)
    assert twice.shape == (3, 3, 4)
    close(twice[1, 2], np.searchsorted(a[1], v[2]).astype("int32"))


def test_searchsorted_refuses():
    with pytest.raises(ValueError, match="side must be 'left' or 'right'"):
        sorting.searchsorted(np.zeros(3), np.zeros(2), "middle")
    with pytest.raises(ValueError, match="must be a vector"):
        sorting.searchsorted(np.zeros((3, 2)), np.zeros(2))
