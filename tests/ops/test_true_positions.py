"""Positions of true elements, and what is made of them: NumPy's on the program's memory where arrays are large."""

from functools import partial

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import export, random
from pullback._ops.by_size import HOST
from pullback._ops.true_positions import true_positions

rng = np.random.default_rng(0)


def calls(function, *args):
    """How many calls of routines, and how many sorts of XLA's, the program of the function has."""
    text = pb.jit(function).lower(*args).as_text()
    return text.count("pullback_kernel"), text.count('"stablehlo.sort"')


def expected(mask, size):
    out = np.zeros((*mask.shape[:-1], size), "int32")
    for index in np.ndindex(mask.shape[:-1]):
        found = np.flatnonzero(mask[index])[:size]
        out[index][: found.size] = found
    return out


@pytest.mark.parametrize(
    "shape", [(0,), (5,), (HOST - 1,), (HOST,), (3 * HOST,), (2, HOST), (HOST, 2), (3, 4, 5)], ids=str
)
@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_positions(shape, share):
    mask = rng.random(shape) < share
    for size in (0, 1, 4, shape[-1], shape[-1] + 3):
        right = expected(mask, size)
        got = pb.jit(true_positions, static_argnums=1)(pnp.asarray(mask), size)
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, right)
        np.testing.assert_array_equal(true_positions(pnp.asarray(mask), size), right)


def test_which_way():
    for n, size, count in ((HOST - 1, 5, 0), (HOST, 5, 1), (HOST, 0, 0)):
        assert calls(partial(true_positions, size=size), np.ones(n, bool))[0] == count
    many_rows = np.ones((2 * HOST, 3), bool)
    assert calls(pb.vmap(partial(true_positions, size=2)), many_rows)[0] == 0
    assert calls(pb.vmap(partial(true_positions, size=2)), np.ones((3, HOST), bool))[0] == 1


def test_batches_loops_and_files():
    masks = rng.random((3, 2 * HOST)) < 0.5

    def found(mask):
        return true_positions(mask, 700)

    right = expected(masks, 700)
    np.testing.assert_array_equal(pb.jit(pb.vmap(found))(masks), right)
    np.testing.assert_array_equal(pb.jit(pb.vmap(found, 1))(masks.T), right)
    np.testing.assert_array_equal(pb.jit(pb.lax.map, static_argnums=0)(found, masks), right)
    kept = export.export(pb.jit(found))(pb.ShapeDtypeStruct((2 * HOST,), bool))
    np.testing.assert_array_equal(export.deserialize(kept.serialize()).call(masks[0]), right[0])


def test_nonzero_fills_up():
    x = np.zeros((2, HOST), "float32")
    x[1, 7], x[0, 3] = 1, np.nan
    rows, columns = pb.jit(lambda x: pnp.nonzero(x, size=4, fill_value=(-1, -2)))(x)
    np.testing.assert_array_equal(rows, [0, 1, -1, -1])
    np.testing.assert_array_equal(columns, [3, 7, -2, -2])
    with pytest.raises(TypeError, match="expected bools along an axis"):
        true_positions(pnp.ones(3), 1)


# --- distinct elements ---


@pytest.mark.parametrize("n", [5, 2 * HOST])
def test_distinct_elements_alone_are_those_with_their_positions(n):
    x = rng.integers(-9, 9, n).astype("float32")
    x[:3] = np.nan, -0.0, np.nan
    for equal_nan in (False, True):
        for size, fill in ((None, None), (25, None), (25, 7), (3, None)):
            options = {"equal_nan": equal_nan, "size": size, "fill_value": fill}
            values = pnp.unique(x, True, **options)[0]
            alone = pnp.unique(x, **options)
            np.testing.assert_array_equal(alone, values)
            np.testing.assert_array_equal(np.signbit(alone), np.signbit(values))
            if size is not None:
                np.testing.assert_array_equal(pb.jit(partial(pnp.unique, **options))(x), values)
    if n >= HOST:
        assert calls(lambda x: pnp.unique(x, size=9), x) == (2, 0)


def test_the_gradient_of_distinct_elements():
    x = np.array([3.0, 1.0, 3.0, 2.0] * HOST, "float32") + np.repeat(np.arange(HOST), 4) * 4
    w = rng.standard_normal(3 * HOST).astype("float32")
    grad = pb.jit(pb.grad(lambda x: (pnp.unique(x, size=3 * HOST) * w).sum()))(x.astype("float32"))
    right = np.zeros((HOST, 4))
    right[:, 1], right[:, 3], right[:, 0] = w.reshape(-1, 3).T  # the first of two equal ones
    np.testing.assert_allclose(grad, right.ravel(), rtol=1e-6)


# --- draws without replacement ---


@pytest.mark.parametrize("n", [1, 7, 3 * HOST])
def test_draws_are_the_first_of_a_permutation(n):
    key = random.key(3)
    x = rng.standard_normal((n, 2)).astype("float32")
    order = np.asarray(random.permutation(key, n))
    for draws in {1, n // 2, n} - {0}:

        def drawn(x, shape, draws=draws):
            return random.choice(key, x, (draws, *shape), False)

        for draw in (drawn, pb.jit(drawn, static_argnums=1)):
            np.testing.assert_array_equal(draw(pnp.arange(n), ()), order[:draws])
            np.testing.assert_array_equal(draw(x, ()), x[order[:draws]])
            np.testing.assert_array_equal(draw(x[:, 0], (1,)), x[order[:draws], :1])
        np.testing.assert_array_equal(drawn(n, ()), order[:draws])
    across = random.choice(key, x.T, (1,), False, axis=1)
    np.testing.assert_array_equal(across, x.T[:, order[:1]])


def test_sorts_together_bring_their_keys_alone_to_the_host():
    def order(x):
        return pb.lax.sort((x, 2 * x, x > 0), num_keys=1)[1]

    text = pb.jit(order).lower(rng.standard_normal(HOST).astype("float32")).as_text()
    (call,) = [line for line in text.splitlines() if "pullback_kernel" in line]
    assert call.endswith(f": (tensor<{HOST}xi64>) -> (tensor<{HOST}xi64>)")
    assert "output_operand_alias" in call
