"""scipy.sparse.linalg: solutions and derivatives of linear systems against the dense solution, in double precision."""

from functools import partial

import numpy as np
import pytest
from agreement import Sampler, all_close

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy.sparse.linalg import bicgstab, cg, gmres
from pullback.test_util import check_grads

data = Sampler()
N = 12
GENERAL = data((N, N), "float64") + 6 * np.eye(N)
DEFINITE = GENERAL @ GENERAL.T
B = data((N,), "float64")
SOLVERS = {
    "cg": (partial(cg, tol=1e-13), DEFINITE),
    "bicgstab": (partial(bicgstab, tol=1e-13), GENERAL),
    "gmres": (partial(gmres, tol=1e-13), GENERAL),
    "gmres, one by one": (partial(gmres, tol=1e-13, solve_method="incremental"), GENERAL),
    "gmres, restarted": (partial(gmres, tol=1e-13, restart=5), GENERAL),
}


@pytest.fixture(autouse=True)
def double():
    with pb.enable_x64():
        yield


@pytest.fixture(params=SOLVERS, name="case")
def case_(request):
    return SOLVERS[request.param]


def residual(a, x, b):
    return np.linalg.norm(a @ np.asarray(x) - b) / np.linalg.norm(b)


def test_matrices_functions_and_starts(case):
    solver, a = case
    assert residual(a, solver(a, B)[0], B) < 1e-12
    assert residual(a, solver(lambda x: a @ x, B, B)[0], B) < 1e-12
    assert residual(a, pb.jit(lambda a, b: solver(a, b)[0])(a, B), B) < 1e-12
    many = pb.vmap(lambda b: solver(a, b)[0])(np.stack([B, 1e200 * B, 1e-200 * B, 0 * B]))
    assert residual(a, many[1] / 1e200, B) < 1e-12
    assert residual(a, many[2] * 1e200, B) < 1e-12
    assert not np.any(many[3])


def test_preconditioners(case):
    solver, a = case
    inverse = np.diag(1 / np.diag(a))
    for M in (inverse, lambda v: inverse @ v):
        assert residual(a, solver(a, B, M=M)[0], B) < 1e-12
    exact = np.linalg.inv(a)
    assert residual(a, solver(a, B, M=exact, maxiter=2)[0], B) < 1e-12

    def solved(a, b):
        return solver(a @ a.T if solver.func is cg else a, b, M=inverse)[0]

    check_grads(solved, (GENERAL, B), order=2, modes=("fwd", "rev"), rtol=1e-5, atol=1e-6)


def test_complex_systems(case):
    solver, a = case
    a = a + (1j * (GENERAL - GENERAL.T) if a is DEFINITE else 1j * GENERAL.T)
    b = B + 1j * B[::-1]
    assert residual(a, solver(a, b)[0], b) < 1e-12
    weights = data((N,), "complex128")

    def objective(solve, a, b):
        return (weights * solve(a, b)).sum().real

    ours = pb.grad(partial(objective, lambda a, b: solver(a, b)[0]), (0, 1))(a, b)
    dense = pb.grad(partial(objective, pnp.linalg.solve), (0, 1))(a, b)
    all_close(ours, dense, 1e2)


def test_pytrees(case):
    solver, a = case
    tree = {"first": B[:8].reshape(2, 4), "second": [B[8:], ()]}
    vector, back = pb.flatten_util.ravel_pytree(tree)
    x, _ = solver(lambda t: back(a @ pb.flatten_util.ravel_pytree(t)[0]), tree)
    assert residual(a, pb.flatten_util.ravel_pytree(x)[0], vector) < 1e-12


def test_half_precision_and_integers(case):
    solver, _ = case
    x, _ = solver(lambda x: 2 * x, pnp.ones(3, "bfloat16"), tol=1e-3)
    assert x.dtype == "bfloat16"
    assert (x == 0.5).all()
    all_close(solver(2 * np.eye(3), np.array([1, 2, 3]))[0], np.array([0.5, 1, 1.5]))
    if solver.func is not cg:
        all_close(solver(np.eye(2) * 2j, np.ones(2))[0], np.array([-0.5j, -0.5j]))


def test_empty_and_zero(case):
    solver, _ = case
    assert solver(lambda x: x, np.zeros(0))[0].shape == (0,)
    assert not solver(GENERAL, np.zeros(N))[0].any()


def test_the_tolerances_are_obeyed(case):
    solver, a = case
    assert residual(a, solver(a, B, tol=1e-2)[0], B) <= 1e-2
    assert np.linalg.norm(a @ solver(a, B, tol=0.0, atol=1e-2)[0] - B) <= 1e-2
    assert not np.any(solver(a, B, maxiter=0)[0])


def test_singular_systems_and_skew_ones():
    singular = np.diag([1.0, 0.0])
    assert gmres(singular, np.array([2.0, 0.0]))[0].tolist() == [2, 0]
    assert np.isfinite(gmres(singular, np.array([1.0, 1.0]), maxiter=3)[0]).all()
    skew = np.array([[0.0, 1.0], [-1.0, 0.0]])
    assert residual(skew, gmres(skew, np.array([1.0, 2.0]))[0], np.array([1.0, 2.0])) < 1e-12
    x, info = gmres(lambda x: x * np.nan, np.ones(2), maxiter=2)
    assert np.isnan(x).all()
    assert info == -1


def test_refusals():
    for solver in (cg, bicgstab, gmres):
        name = solver.__name__
        with pytest.raises(ValueError, match=f"{name}: A must be a square matrix or a function, got shape .2, 3."):
            solver(np.ones((2, 3)), np.ones(3))
        with pytest.raises(TypeError, match=f"{name}: M must be a matrix or a linear function, got"):
            solver(np.eye(3), np.ones(3), M="jacobi")
        with pytest.raises(ValueError, match=f"{name}: x0 must have the shapes of b"):
            solver(np.eye(3), np.ones(3), np.ones(2))
        with pytest.raises(ValueError, match=f"{name}: x0 must have the structure of b"):
            solver(np.eye(3), np.ones(3), (np.ones(3),))
        with pytest.raises(TypeError, match="must return a value with the structure and types of b"):
            solver(lambda x: x[:2], np.ones(3))
    with pytest.raises(ValueError, match="gmres: solve_method must be 'batched' or 'incremental', got 'both'"):
        gmres(np.eye(3), np.ones(3), solve_method="both")
    with pytest.raises(ValueError, match="gmres: restart must be at least 1, got 0"):
        gmres(np.eye(3), np.ones(3), restart=0)
