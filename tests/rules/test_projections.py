"""Projections: nearest points against SciPy or by their optimality, derivatives against differences."""

import numpy as np
import pytest
from scipy import linalg, optimize

import pullback as pb
import pullback.numpy as pnp
from pullback import rules

RNG = np.random.default_rng(3)


def nearest(x, **constraint):
    """The nearest point of a set, by a solver of SciPy's that knows nothing of it."""
    found = optimize.minimize(
        lambda z: 0.5 * ((z - x) ** 2).sum(), np.full(x.shape, 0.1), jac=lambda z: z - x, tol=1e-12, **constraint
    )
    assert found.success
    return found.x


@pytest.mark.parametrize("total", [0.5, 1.0, 3.0])
def test_the_simplex(total):
    x = RNG.standard_normal(6)
    expected = nearest(
        x, bounds=[(0, None)] * 6, constraints={"type": "eq", "fun": lambda z: z.sum() - total}, method="SLSQP"
    )
    with pb.enable_x64(True):
        got = rules.project_simplex(x, total)
        np.testing.assert_allclose(got, expected, atol=1e-6)
        np.testing.assert_allclose(got.sum(), total, rtol=1e-15)
        pb.check_rules(rules.project_simplex, x, total, order=2)


def test_the_simplex_in_batches_and_far_away():
    x = pnp.asarray(RNG.standard_normal((2, 3, 5)).astype(np.float32)) * 1e6
    rows = pb.jit(rules.project_simplex)(x, pnp.ones((2, 3)))
    for got, row in zip(rows.reshape(-1, 5), x.reshape(-1, 5), strict=True):
        np.testing.assert_array_equal(got, rules.project_simplex(row))
    np.testing.assert_allclose(rows.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(rules.project_simplex(pnp.array([7.0])), [1])
    np.testing.assert_allclose(rules.project_simplex(pnp.zeros(4)), 0.25)


def test_the_simplex_of_large_numbers_near_each_other():
    x = pnp.array([1.0, 0.75, -3.0]) + 2.0**21  # a quarter is the spacing: the total is three of its steps
    np.testing.assert_array_equal(rules.project_simplex(x, 0.75), rules.project_simplex(x - 2.0**21, 0.75))
    np.testing.assert_array_equal(pb.jacobian(rules.project_simplex)(x)[0], [0.5, -0.5, 0])


@pytest.mark.parametrize("function", [rules.project_simplex, rules.project_l1_ball])
def test_numbers_without_a_nearest_point_give_nan(function):
    for x in (pnp.array([1.0, np.nan, 2.0]), pnp.array([1.0, np.inf, 2.0])):
        assert np.isnan(function(x)).any()
        np.testing.assert_array_equal(pb.jit(function)(x), function(x))
    np.testing.assert_array_equal(rules.project_simplex(pnp.array([1.0, -np.inf, 2.0])), [0, 0, 1])


def test_a_simplex_of_total_zero():
    np.testing.assert_array_equal(rules.project_simplex(pnp.array([1.0, 0.5]), 0.0), [0, 0])
    assert np.isfinite(pb.jacobian(rules.project_simplex, (0, 1))(pnp.array([1.0, 0.5]), 0.0)[0]).all()


def test_the_l1_ball():
    x = RNG.standard_normal(5) * 2
    with pb.enable_x64(True):
        got = np.asarray(rules.project_l1_ball(x, 1.5))
        expected = np.sign(x) * np.asarray(rules.project_simplex(abs(x), 1.5))
        np.testing.assert_allclose(got, expected, rtol=1e-14)
        # no point of the ball is nearer: the gradient's largest entry bounds every vertex
        assert max(abs(x - got)) * 1.5 <= (x - got) @ got + 1e-12
        pb.check_rules(rules.project_l1_ball, x, 1.5, order=2)
        np.testing.assert_array_equal(rules.project_l1_ball(x, 100.0), x)
        pb.check_rules(lambda x: rules.project_l1_ball(x, 100.0), x)


def test_the_l2_ball():
    pb.check_rules(rules.project_l2_ball, pnp.array([3.0, 4.0]), 2.0)
    pb.check_rules(lambda x: rules.project_l2_ball(x, 9.0), pnp.array([3.0, 4.0]))
    pb.check_rules(lambda x: rules.project_l2_ball(x, 2.0), pnp.array([3.0j, 4.0]))
    np.testing.assert_allclose(rules.project_l2_ball(pnp.array([3e30, 4e30])), [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(pb.jacobian(rules.project_l2_ball)(pnp.zeros(2)), np.eye(2))


@pytest.mark.parametrize("function", [rules.project_simplex, rules.project_l1_ball, rules.project_l2_ball])
def test_an_empty_axis_is_refused(function):
    with pytest.raises(ValueError, match=f"{function.__name__}: expected one number or more"):
        function(pnp.zeros((2, 0)))


def test_soft_thresholds():
    x = pnp.array([-3.0, -0.5, 0.0, 2.0])
    np.testing.assert_array_equal(rules.soft_threshold(x, 1.0), [-2, 0, 0, 1])
    np.testing.assert_array_equal(pb.jacobian(lambda t: rules.soft_threshold(x, t))(1.0), [1, 0, 0, -1])
    pb.check_rules(rules.soft_threshold, x, 1.0, order=2)
    z = pnp.array([3.0 + 4j, 0.1j, 0.0])
    np.testing.assert_allclose(rules.soft_threshold(z, 1.0), [2.4 + 3.2j, 0, 0], rtol=1e-6)
    pb.check_rules(lambda z: rules.soft_threshold(z, 1.0), z)


SHAPES = [(2, 2), (3, 2), (2, 3), (2, 3, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_orthonormal_columns(shape, kind):
    x = RNG.standard_normal(shape) + (1j * RNG.standard_normal(shape) if kind == "complex" else 0)
    with pb.enable_x64(True):
        got = np.asarray(rules.project_orthogonal(x))
        for q, a in zip(got.reshape(-1, *shape[-2:]), x.reshape(-1, *shape[-2:]), strict=True):
            np.testing.assert_allclose(q, linalg.polar(a, "left" if shape[-2] < shape[-1] else "right")[0], atol=1e-12)
        pb.check_rules(rules.project_orthogonal, x, order=2 if x.size == 4 else 1)


def test_derivatives_where_singular_values_are_equal():
    with pb.enable_x64(True):
        pb.check_rules(rules.project_orthogonal, pnp.eye(2), order=2)
        pb.check_rules(pb.jit(rules.project_orthogonal), 2 * pnp.eye(3, 2))


def test_a_matrix_is_asked_for():
    with pytest.raises(ValueError, match=r"expected a matrix or a batch of matrices, got shape \(3,\)"):
        rules.project_orthogonal(pnp.ones(3))
