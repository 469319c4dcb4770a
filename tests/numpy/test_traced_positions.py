"""Functions that choose, leave out and apply by positions and masks which are traced, with JAX as oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.errors import ConcretizationTypeError

MASK = np.array([True, False, True, True, False])
X = np.arange(10, dtype="float32").reshape(2, 5)


def same(f, *args):
    """A function of the library gives the same under either `jit`, and eagerly."""
    expected = jax.jit(lambda *xs: f(jnp, *xs))(*args)
    for got in (pb.jit(lambda *xs: f(pnp, *xs))(*args), f(pnp, *args)):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("size", [0, 2, 3, 4, 7])
def test_compress_and_extract_with_size(size):
    if size <= 5:  # JAX refuses more than there are
        same(lambda np_, mask, x: np_.compress(mask, x, axis=1, size=size, fill_value=-1), MASK, X)
        same(lambda np_, mask, x: np_.compress(mask[:4], x, size=min(size, 4)), MASK, X)
    np.testing.assert_array_equal(
        pb.jit(lambda mask: pnp.compress(mask, X[0], size=size, fill_value=-1))(MASK),
        [*X[0][MASK], -1, -1, -1, -1][:size],
    )
    same(lambda np_, mask, x: np_.extract(mask, x, size=size, fill_value=-1), X > 3, X)
    same(lambda np_, mask, x: np_.extract(mask, x, size=min(size, 5)), MASK.astype("int32"), X[0])


def test_compress_differentiated():
    def f(x, mask):
        return (pnp.compress(mask, x, size=4, fill_value=3.0) * pnp.arange(1.0, 5.0)).sum()

    np.testing.assert_array_equal(pb.jit(pb.grad(f))(X[0], MASK), [1.0, 0.0, 2.0, 3.0, 0.0])


@pytest.mark.parametrize("positions", [[0, 2], [-1, 2], [4], [], [3, 0, 1]])
def test_delete_at_distinct_positions(positions):
    places = np.array(positions, "int32")
    same(lambda np_, i, x: np_.delete(x, i, axis=1, assume_unique_indices=True), places, X)
    same(lambda np_, i, x: np_.delete(x, i, assume_unique_indices=True), places, X)


def test_delete_at_one_traced_position():
    for i in (0, 3, -1):
        np.testing.assert_array_equal(pb.jit(lambda x, i: pnp.delete(x, i, 1))(X, i), np.delete(X, i, 1))
    np.testing.assert_array_equal(
        pb.vmap(lambda i: pnp.delete(X[0], i))(np.arange(5)), [np.delete(X[0], i) for i in range(5)]
    )
    np.testing.assert_array_equal(
        pb.jit(pb.grad(lambda x, i: (pnp.delete(x, i) ** 2).sum()))(X[0], 1), [0.0, 0.0, 4.0, 6.0, 8.0]
    )


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda mask: pnp.compress(mask, X[0]), "size"),
        (lambda mask: pnp.extract(mask, X[0]), "size"),
        (lambda mask: pnp.delete(X[0], mask), "known"),
        (lambda mask: pnp.delete(X[0], mask.astype("int32")), "known"),
    ],
)
def test_shapes_that_depend_on_data(call, part):
    with pytest.raises(ConcretizationTypeError, match=part):
        pb.jit(call)(MASK)


# ---- x.at[...]


@pytest.mark.parametrize("positions", [[0, 1], [1, 1, 3], [2, 2, 2, 2], [-1, 4], [7]])
def test_apply_at_traced_positions(positions):
    places, x = np.array(positions, "int32"), X[0] + 1

    def f(x, i):
        return x.at[i].apply(lambda v: v * 3)

    expected = np.asarray(jnp.asarray(x).at[places].apply(lambda v: v * 3))
    np.testing.assert_array_equal(pb.jit(f)(x, places), expected)
    np.testing.assert_array_equal(f(pnp.asarray(x), places), expected)
    factors = expected / x
    np.testing.assert_array_equal(pb.jit(pb.grad(lambda x, i: f(x, i).sum()))(x, places), factors)
    np.testing.assert_array_equal(
        pb.vmap(f, (None, 0))(pnp.asarray(x), places[:, None]), [f(pnp.asarray(x), i[None]) for i in places]
    )


def test_sums_and_products_of_bools():
    """`or` and `and`, as `x + y` and `x * y` of bools; JAX refuses them."""
    x = np.array([True, False, False, True])
    for key in (1, np.array([1, 1, 3]), slice(1, 3), MASK[:4]):
        for value in (True, False):
            added, multiplied = x.copy(), x.copy()
            np.add.at(added, key, value)
            np.multiply.at(multiplied, key, value)
            for run in (lambda f, *args: f(*args), lambda f, *args: pb.jit(f)(*args)):
                got = run(lambda x, v, key=key: x.at[key].add(v), pnp.asarray(x), np.bool_(value))
                np.testing.assert_array_equal(got, added)
                assert got.dtype == bool
                got = run(lambda x, v, key=key: x.at[key].multiply(v), pnp.asarray(x), np.bool_(value))
                np.testing.assert_array_equal(got, multiplied)
    with pytest.raises(TypeError):
        pnp.asarray(x).at[0].subtract(True)


def test_quotients_and_powers_of_bools():
    x = pnp.array([True, True, False])
    np.testing.assert_array_equal(x.at[0].divide(2.0), [0.5, 1.0, 0.0])
    np.testing.assert_array_equal(x.at[2].power(0), [1, 1, 1])
