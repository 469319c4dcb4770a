"""Optimal transport and quadratic programs: conditions of optimality, SciPy, differences."""

import numpy as np
import pytest
from scipy import optimize

import pullback as pb
import pullback.numpy as pnp
from pullback import rules

RNG = np.random.default_rng(11)
COST = RNG.uniform(size=(4, 3))
A, B = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, 0.2, 0.3])


def test_a_plan_has_its_sums_and_is_optimal():
    with pb.enable_x64(True):
        plan = np.asarray(rules.sinkhorn(COST, A, B, epsilon=0.1))
    np.testing.assert_allclose(plan.sum(1), A, rtol=1e-12)
    np.testing.assert_allclose(plan.sum(0), B, rtol=1e-10)
    # log plan + cost / epsilon is a sum of a function of the row and one of the column
    logs = np.log(plan) + COST / 0.1
    np.testing.assert_allclose(logs[1:, 1:] - logs[:1, 1:] - logs[1:, :1] + logs[0, 0], 0, atol=1e-11)


def total(cost, logits, epsilon):
    plan = rules.sinkhorn(cost, b=pb.nn.softmax(logits), epsilon=epsilon)
    return (plan * cost).sum()


def differences_of_gradient(cost, step=1e-5):
    gradient = pb.jit(pb.grad(total))
    rows = []
    for i in range(cost.size):
        h = step * np.eye(cost.size)[i].reshape(cost.shape)
        ends = [np.asarray(gradient(cost + s * h, np.log(B[:2]), 0.2)) for s in (1, -1)]
        rows.append((ends[0] - ends[1]).reshape(-1) / (2 * step))
    return np.array(rows)


def test_derivatives_of_a_plan():
    with pb.enable_x64(True):
        pb.check_rules(total, COST[:2, :2], np.log(B[:2]), 0.2)
        hessian = pb.hessian(lambda c: total(c, np.log(B[:2]), 0.2))(COST[:2, :2]).reshape(4, 4)
        np.testing.assert_allclose(hessian, hessian.T, atol=1e-9)
        np.testing.assert_allclose(hessian, differences_of_gradient(COST[:2, :2]), atol=1e-6)


def test_compiled_derivatives_of_a_plan():
    with pb.enable_x64(True):
        derivatives = pb.grad(total, (0, 1, 2))
        for got, expected in zip(pb.jit(derivatives)(COST, B, 0.2), derivatives(COST, B, 0.2), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-12)


def test_plans_in_a_batch_and_of_single_points():
    costs = pnp.asarray(RNG.uniform(size=(3, 2, 2)).astype(np.float32))
    plans = pb.vmap(rules.sinkhorn)(costs)
    for plan, cost in zip(plans, costs, strict=True):
        np.testing.assert_allclose(plan, rules.sinkhorn(cost), rtol=1e-5)
    np.testing.assert_allclose(rules.sinkhorn(pnp.ones((1, 1))), [[1]], rtol=1e-6)


def test_shapes_of_a_plan():
    with pytest.raises(ValueError, match=r"sinkhorn: a must be of shape \(4,\), as cost says, got \(3,\)"):
        rules.sinkhorn(COST, B)
    with pytest.raises(ValueError, match="cost must be of shape"):
        rules.sinkhorn(pnp.ones(3))


def random_program(n, m, p):
    root = RNG.standard_normal((n, n))
    x = RNG.standard_normal(n)
    g, a = RNG.standard_normal((m, n)), RNG.standard_normal((p, n))
    return {
        "q": root @ root.T + np.eye(n),
        "c": RNG.standard_normal(n) * 3,
        "g": g,
        "h": g @ x + 0.1,
        "a": a,
        "b": a @ x,
    }


@pytest.mark.parametrize(("n", "m", "p"), [(4, 6, 1), (6, 3, 2), (5, 12, 0), (3, 0, 1), (3, 0, 0)])
@pytest.mark.parametrize("transform", [pb.jit, lambda f: f])
def test_quadratic_programs_against_scipy(n, m, p, transform):
    program = random_program(n, m, p)
    with pb.enable_x64(True):
        got = transform(lambda **program: rules.quadratic_program(**program))(**program)
    x, inequality, equality = map(np.asarray, got)
    constraints = [{"type": "ineq", "fun": lambda x: program["h"] - program["g"] @ x}] if m else []
    constraints += [{"type": "eq", "fun": lambda x: program["a"] @ x - program["b"]}] if p else []
    found = optimize.minimize(
        lambda x: 0.5 * x @ program["q"] @ x + program["c"] @ x,
        np.zeros(n),
        jac=lambda x: program["q"] @ x + program["c"],
        constraints=constraints,
        method="SLSQP" if constraints else "BFGS",
        tol=1e-13,
    )
    np.testing.assert_allclose(x, found.x, atol=1e-5)
    slack = program["h"] - program["g"] @ x
    assert (slack >= -1e-10).all()
    assert (inequality >= -1e-10).all()
    np.testing.assert_allclose(slack * inequality, 0, atol=1e-10)
    stationary = program["q"] @ x + program["c"] + program["g"].T @ inequality + program["a"].T @ equality
    np.testing.assert_allclose(stationary, 0, atol=1e-10)


def test_derivatives_of_a_quadratic_program():
    program = random_program(2, 2, 1)
    with pb.enable_x64(True):

        def solution(root, c, g, h, a, b):
            return rules.quadratic_program(root @ root.T, c, g=g, h=h, a=a, b=b)

        root = np.linalg.cholesky(program.pop("q"))
        pb.check_rules(solution, root, *program.values())


def test_a_linear_program():
    c, g, h = (
        np.array([-1.0, -2.0]),
        np.array([[1.0, 1], [1, 0], [0, 1], [-1, 0], [0, -1]]),
        np.array([4.0, 3, 2, 0, 0]),
    )
    with pb.enable_x64(True):
        found = rules.quadratic_program(np.zeros((2, 2)), c, g=g, h=h)
        np.testing.assert_allclose(found.x, [2, 2], atol=1e-9)
        slope = pb.grad(lambda h: c @ rules.quadratic_program(np.zeros((2, 2)), c, g=g, h=h).x)(h)
        np.testing.assert_allclose(slope, -found.inequality, atol=1e-9)


def test_single_precision_and_batches():
    def nearest(y):
        return rules.quadratic_program(
            pnp.eye(3), -y, g=-pnp.eye(3), h=pnp.zeros(3), a=pnp.ones((1, 3)), b=pnp.ones(1)
        ).x

    y = pnp.asarray(RNG.standard_normal((5, 3)).astype(np.float32))
    np.testing.assert_allclose(pb.vmap(nearest)(y), rules.project_simplex(y), atol=1e-5)
    derivative = pb.vmap(pb.jacrev(nearest))(y)
    np.testing.assert_allclose(derivative, pb.vmap(pb.jacrev(rules.project_simplex))(y), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    c = pnp.array([2.0, 1.0, 0.0, 3.0], dtype)
    calls = {
        "plan": lambda c: rules.sinkhorn(c.reshape(2, 2)),
        "program": lambda c: rules.quadratic_program(pnp.eye(4), -c, g=pnp.eye(4), h=pnp.ones(4)).x.astype(c.dtype),
        "matrix": lambda c: rules.project_orthogonal(c.reshape(2, 2)),
    }
    for f in calls.values():
        single = np.asarray(f(c.astype("float32")))
        assert f(c).dtype == c.dtype
        np.testing.assert_allclose(np.asarray(f(c), "float32"), single, rtol=pnp.finfo(dtype).eps, atol=1e-7)
        assert np.isfinite(np.asarray(pb.jacrev(f)(c), "float32")).all()


def test_without_a_solution_all_is_nan():
    one = np.ones((1, 1))
    infeasible = rules.quadratic_program(one, np.zeros(1), g=np.array([[1.0], [-1.0]]), h=np.array([-1.0, -1.0]))
    assert all(np.isnan(part).all() for part in infeasible)
    unbounded = rules.quadratic_program(0 * one, np.ones(1), g=one, h=np.ones(1))
    assert np.isnan(unbounded.x).all()
    assert np.isnan(rules.quadratic_program(0 * one, np.ones(1)).x).all()


def test_redundant_constraints_have_a_value_and_no_derivative():
    def nearest(c):
        return rules.quadratic_program(np.eye(2), c, g=np.ones((2, 2)), h=np.ones(2)).x

    np.testing.assert_allclose(nearest(-np.ones(2) * 3), [0.5, 0.5], atol=1e-4)
    assert np.isnan(pb.jacrev(nearest)(-np.ones(2) * 3)).all()


def test_shapes_of_a_quadratic_program():
    with pytest.raises(ValueError, match=r"q must be \(n, n\) and c \(n,\), got shapes \(2, 2\) and \(3,\)"):
        rules.quadratic_program(np.eye(2), np.ones(3))
    with pytest.raises(TypeError, match="g and h belong together"):
        rules.quadratic_program(np.eye(2), np.ones(2), g=np.eye(2))
    with pytest.raises(ValueError, match=r"a and b must be \(m, 2\) and \(m,\), got shapes \(1, 3\) and \(1,\)"):
        rules.quadratic_program(np.eye(2), np.ones(2), a=np.ones((1, 3)), b=np.ones(1))
    with pytest.raises(TypeError, match="quadratic_program: expected a real number, got c64"):
        rules.quadratic_program(np.eye(2) * 1j, np.ones(2))
