"""Soft sorting, ranks and top-k: exact far from ties, optimal near them, derivatives against differences."""

import itertools

import numpy as np
import pytest
from scipy import stats

import pullback as pb
import pullback.numpy as pnp
from pullback import rules

RNG = np.random.default_rng(5)


def in_permutahedron(point, corner):
    """Whether a point is a mean of the orders of `corner`: its largest k never exceed those of the corner."""
    rises = np.cumsum(np.sort(point)[::-1]), np.cumsum(np.sort(corner)[::-1])
    return (rises[0] <= rises[1] + 1e-9).all() and np.isclose(rises[0][-1], rises[1][-1])


def is_nearest(point, target, corner):
    """Whether no corner of the permutahedron lies on the target's side of the plane through the point."""
    direction = target - point
    return all(direction @ (np.array(p) - point) <= 1e-9 for p in itertools.permutations(corner))


@pytest.mark.parametrize("strength", [1e-3, 0.3, 1.0, 10.0])
def test_ranks_are_the_nearest_point(strength):
    with pb.enable_x64(True):
        for _ in range(5):
            x = RNG.standard_normal(5)
            got = np.asarray(rules.soft_rank(x, strength))
            corner = np.arange(1.0, 6)
            assert in_permutahedron(got, corner)
            assert is_nearest(got, x / strength, corner)


@pytest.mark.parametrize("strength", [1e-3, 0.3, 1.0, 10.0])
def test_sorted_numbers_are_the_nearest_point(strength):
    with pb.enable_x64(True):
        for _ in range(5):
            x = RNG.standard_normal(5) * 2
            got = np.asarray(rules.soft_sort(x, strength))
            assert in_permutahedron(got, x)
            assert is_nearest(got, np.arange(1.0, 6) / strength, x)


def test_far_from_ties_they_are_exact():
    x = pnp.asarray(RNG.permutation(50).astype(np.float32) ** 2)
    np.testing.assert_array_equal(rules.soft_rank(x, 0.5), stats.rankdata(x))
    np.testing.assert_array_equal(rules.soft_sort(x, 1e-3), np.sort(x))
    np.testing.assert_array_equal(rules.soft_top_k(x, 3, 0.5), np.asarray(x) >= np.sort(x)[-3])


def test_large_numbers_near_each_other():
    near = np.array([0.5, 0.25, 3.0], np.float32)
    far = pnp.asarray(near + 2**21)
    np.testing.assert_array_equal(rules.soft_rank(far), rules.soft_rank(near))
    np.testing.assert_allclose(
        rules.soft_sort(far, 2.0), rules.soft_sort(near, 2.0) + 2**21, rtol=2e-7
    )  # means of them
    np.testing.assert_array_equal(rules.soft_top_k(far, 2, 4.0), rules.soft_top_k(near, 2, 4.0))


@pytest.mark.parametrize("function", [rules.soft_rank, rules.soft_sort, lambda x: rules.soft_top_k(x, 1)])
def test_a_nan_shows(function):
    x = pnp.array([[1.0, np.nan, 2.0], [3.0, 1.0, 2.0]])
    got = function(x)
    np.testing.assert_array_equal(np.isfinite(got), [[False] * 3, [True] * 3])
    np.testing.assert_array_equal(pb.jit(function)(x), got)


def test_infinite_numbers():
    x = pnp.array([1.0, -np.inf, 2.0])
    np.testing.assert_array_equal([rules.soft_sort(x), rules.soft_rank(x)], np.full((2, 3), np.nan))
    np.testing.assert_array_equal(rules.soft_top_k(x, 1), [0, 0, 1])  # how an entry is ruled out


def test_ties_share():
    np.testing.assert_array_equal(rules.soft_rank(pnp.array([2.0, 1.0, 2.0]), 0.5), [2.5, 1.0, 2.5])
    np.testing.assert_allclose(rules.soft_top_k(pnp.array([2.0, 1.0, 2.0]), 1, 0.1), [0.5, 0, 0.5])


@pytest.mark.parametrize("transform", [pb.jit, lambda f: f])
@pytest.mark.parametrize("function", [rules.soft_sort, rules.soft_rank])
def test_derivatives(function, transform):
    x = pnp.array([0.1, 0.9, 0.35, 2.0, 2.3])
    with pb.enable_x64(True):
        pb.check_rules(transform(lambda x, s: function(x, s)), np.asarray(x, np.float64), 0.7, order=2)


@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_weights_of_the_largest(k):
    with pb.enable_x64(True):
        x = np.array([0.1, 0.9, 0.35, 2.0, 2.3])
        got = np.asarray(rules.soft_top_k(x, k, 0.8))
        assert (got >= 0).all()
        assert (got <= 1).all()
        np.testing.assert_allclose(got.sum(), k, rtol=1e-14)
        # among all such weights the nearest: the plane through it has the corners on the other side
        direction = x / 0.8 - got
        for corner in itertools.product([0, 1], repeat=5):
            assert sum(corner) != k or direction @ (np.array(corner) - got) <= 1e-12
        pb.check_rules(lambda x, s: rules.soft_top_k(x, k, s), x, 0.8, order=2)


def test_axes_and_batches():
    x = pnp.asarray(RNG.standard_normal((2, 4, 3)).astype(np.float32))
    for function in (rules.soft_sort, rules.soft_rank, lambda x, axis=-1: rules.soft_top_k(x, 2, axis=axis)):
        whole = function(x, axis=1)
        for i, j in itertools.product(range(2), range(3)):
            np.testing.assert_allclose(whole[i, :, j], function(x[i, :, j]), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(pb.vmap(function)(pnp.moveaxis(x, 1, -1)), pnp.moveaxis(whole, 1, -1), atol=1e-6)
        assert function(pnp.zeros((0, 4))).shape == (0, 4)


def test_bad_arguments():
    with pytest.raises(ValueError, match="k must be from 0 to 3, the length of axis 0, got 4"):
        rules.soft_top_k(pnp.ones(3), 4)
    with pytest.raises(ValueError, match="strength must be a number"):
        rules.soft_rank(pnp.ones(3), pnp.ones(3))
    with pytest.raises(TypeError, match="soft_sort"):
        rules.soft_sort(pnp.ones(3) * 1j)
    with pytest.raises(ValueError, match="soft_sort"):
        rules.soft_sort(pnp.ones(3), axis=1)
