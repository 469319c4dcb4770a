"""Arrays as sets: NumPy's results, JAX's with a given size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import all_close

import pullback as pb
import pullback.numpy as pnp
from pullback.errors import ConcretizationTypeError

PAIRS = [([3, 1, 1, 7], [1, 3, 3, 4]), ([], [1]), ([2, 2], []), ([[5, 1], [1, 2]], [2]), ([1, 2], [3])]
X, Y = np.array([3, 1, 2, 3, 9], np.int32), np.array([2, 3, 3, 5], np.int32)


@pytest.mark.parametrize("dtype", ["int32", "float32", "bool", "uint8"])
def test_results_are_those_of_numpy(dtype):
    for a, b in PAIRS:
        a, b = np.array(a, dtype), np.array(b, dtype)
        for invert in (False, True):
            np.testing.assert_array_equal(pnp.isin(a, b, invert=invert), np.isin(a, b, invert=invert))
        for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d"):
            got, expected = getattr(pnp, name)(a, b), getattr(np, name)(a, b)
            np.testing.assert_array_equal(got, expected)
            assert got.dtype == dtype
        for got, expected in zip(
            pnp.intersect1d(a, b, return_indices=True), np.intersect1d(a, b, return_indices=True), strict=True
        ):
            np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(pnp.setdiff1d(np.array([3, 1, 3]), Y[:1], assume_unique=True), [3, 1, 3])


def test_dtypes_are_promoted_and_nan_is_in_no_set():
    np.testing.assert_array_equal(pnp.isin(X, np.float32([2.5, 3])), X == 3)
    np.testing.assert_array_equal(pnp.isin(np.float32([1, np.nan]), np.float32([np.nan, 1])), [True, False])
    np.testing.assert_array_equal(pnp.setdiff1d(np.float32([np.nan, 1]), np.float32([np.nan, 1])), [np.nan])
    assert pnp.isin(3, X).shape == ()


def test_empty_ones_differ_in_nothing():
    for make in (lambda f: f, pb.jit):
        np.testing.assert_array_equal(make(lambda x: pnp.setxor1d(x, x, size=4))(X[:0]), np.zeros(4))
    got = pnp.setxor1d(X[:0], X[:0])
    assert got.shape == (0,)
    assert got.dtype == np.int32
    assert pb.grad(lambda x: pnp.sort(x).sum())(pnp.zeros(0)).shape == (0,)


def test_of_several_nans_one_is_kept():
    a, b = np.float32([1, np.nan, 2, np.nan]), np.float32([3, 1])
    for name in ("union1d", "setdiff1d", "setxor1d"):
        for x, y in ((a, b), (b, a), (a, a)):
            np.testing.assert_array_equal(getattr(pnp, name)(x, y), getattr(np, name)(x, y))
        np.testing.assert_array_equal(getattr(pnp, name)(a + 1j, b + 1j), getattr(np, name)(a + 1j, b + 1j))


def test_a_difference_has_the_dtype_of_the_first():
    got = pnp.setdiff1d(X, np.float32([2, 2.5]))
    np.testing.assert_array_equal(got, [1, 3, 9])
    assert got.dtype == np.int32
    assert pnp.setdiff1d(np.array([3, 1], np.uint8), X[:1], assume_unique=True).dtype == np.uint8


def test_complex_numbers_are_sorted_by_real_then_imaginary_part():
    a, b = np.complex64([2, 1j, 1j, 1 - 1j, -1j]), np.complex64([1 + 1j, 1j, 2, 1 - 1j, 3])
    np.testing.assert_array_equal(pnp.isin(a, b), np.isin(a, b))
    for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d"):
        expected = getattr(np, name)(a, b)
        np.testing.assert_array_equal(getattr(pnp, name)(a, b), expected)
        compiled = pb.jit(getattr(pnp, name), static_argnames="size")
        np.testing.assert_array_equal(compiled(a, b, size=len(expected)), expected)


def test_with_a_size_they_compile():
    def run(np):
        return lambda x, y: (
            np.isin(x, y),
            np.union1d(x, y, size=7, fill_value=-1),
            np.union1d(x, y, size=2),
            np.setdiff1d(x, y, size=3),
            np.setdiff1d(x, y, size=3, fill_value=8),
            np.intersect1d(x, y, size=3),
            np.setxor1d(x, y, size=5),
            np.setxor1d(x, y, size=1),
            np.intersect1d(x, y, size=3, fill_value=4, return_indices=True),
        )

    expected = jax.jit(run(jnp))(X, Y)
    all_close(pb.jit(run(pnp))(X, Y), expected)
    all_close(run(pnp)(X, Y), expected)


def test_refusals():
    with pytest.raises(ValueError, match=r"isin: method must be one of 'auto'.*, got 'hash'"):
        pnp.isin(X, Y, method="hash")
    for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d"):
        with pytest.raises(ConcretizationTypeError, match=f"{name}: the shape of the result depends on data"):
            pb.jit(getattr(pnp, name))(X, Y)
        with pytest.raises(TypeError, match=f"{name}: argument 1"):
            getattr(pnp, name)(X, [1])
