"""Large sorts, by a routine of NumPy's, eagerly and in compiled programs."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._ops import by_size

LARGE = ["float16", "float32", "float64", "int8", "uint8", "int32", "uint32", "int64", "uint64", "bool"]


def with_ties(dtype):
    """Few different values, the largest and smallest ones, and zeros of both signs, infinities and nan among floats."""
    dtype, rng = np.dtype(dtype), np.random.default_rng(0)
    if dtype.kind == "f":
        x = rng.integers(-300, 300, 2 * by_size.HOST).astype(dtype)
        edges = [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, np.finfo(dtype).max, np.finfo(dtype).tiny]
    elif dtype.kind == "b":
        return rng.random(2 * by_size.HOST) < 0.5
    else:
        x = rng.integers(0, 100, 2 * by_size.HOST).astype(dtype)
        edges = [np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1]
    places = rng.permutation(x.size)[: 8 * len(edges)].reshape(len(edges), 8)
    for at, value in zip(places, edges, strict=True):
        x[at] = value
    return x


@pytest.mark.parametrize("dtype", LARGE)
@pytest.mark.parametrize("axis", [0, 1])
def test_large_sorts_agree_with_stable_ones(dtype, axis):
    x = with_ties(dtype).reshape(40, -1)
    payload = np.arange(x.size, dtype="int32").reshape(x.shape)
    order = np.argsort(x, axis=axis, kind="stable")

    def sorts(x, payload):
        return lax.sort(x, axis), *lax.sort((x, payload), axis), pnp.argsort(x, axis)

    with pb.enable_x64():
        for run in (sorts, pb.jit(sorts)):
            values, keys, paired, positions = map(np.asarray, run(x, payload))
            np.testing.assert_array_equal(positions, order)
            np.testing.assert_array_equal(paired, np.take_along_axis(payload, order, axis))
            for y in (values, keys):
                expected = np.take_along_axis(x, order, axis)
                np.testing.assert_array_equal(y, expected)
                if x.dtype.kind == "f":
                    known = ~np.isnan(expected)
                    np.testing.assert_array_equal(np.signbit(y)[known], np.signbit(expected)[known])
        text = pb.jit(sorts).lower(x, payload).as_text()
    assert '"stablehlo.sort"' not in text


def test_large_sorts_by_several_keys():
    a, b = with_ties("float32"), with_ties("int8")
    c = np.arange(a.size, dtype="int32")
    order = np.lexsort((b, a))
    for run in (lax.sort, pb.jit(lax.sort, static_argnames="num_keys")):
        got = run((a, b, c), num_keys=2)
        for y, x in zip(got, (a, b, c), strict=True):
            np.testing.assert_array_equal(y, x[order])


@pytest.mark.parametrize("dtype", ["bfloat16", "complex64"])
def test_large_sorts_of_other_dtypes(dtype):
    x = np.random.default_rng(0).integers(-300, 300, 2 * by_size.HOST).astype(np.dtype(pnp.dtype(dtype)))
    np.testing.assert_array_equal(np.asarray(pb.jit(pnp.argsort)(x)), np.argsort(x.astype("complex64"), kind="stable"))


def test_derivatives_of_large_sorts():
    x = np.random.default_rng(0).permutation(2 * by_size.HOST).astype("float32")
    weights = np.cos(np.arange(x.size, dtype="float32"))

    def weighted(x):
        return (pnp.sort(x) * weights).sum()

    expected = weights[x.astype(int)]
    np.testing.assert_array_equal(pb.jit(pb.grad(weighted))(x), expected)
    np.testing.assert_allclose(pb.jit(pb.jvp, static_argnums=0)(weighted, (x,), (x,))[1], expected @ x, rtol=1e-4)
    rows = pb.jit(pb.vmap(pb.grad(lambda x: (pnp.sort(x) * pnp.arange(x.size)).sum())))(x.reshape(2, -1))
    np.testing.assert_array_equal(rows, np.argsort(np.argsort(x.reshape(2, -1), 1), 1))
