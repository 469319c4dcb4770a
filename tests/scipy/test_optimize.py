"""scipy.optimize.minimize: known minima, their derivatives by differences, refusals."""

import numpy as np
import pytest
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy.optimize import OptimizeResults, minimize
from pullback.test_util import check_grads

LIMITED = "l-bfgs-experimental-do-not-rely-on-this"
METHODS = ("BFGS", LIMITED)


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def himmelblau(x):
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def steep(x):
    return 1e6 * ((x - 1) ** 2).sum()


def narrow(x):
    return -pnp.log(1 - x @ x) + x[0]


PROBLEMS = {
    "rosenbrock": (rosenbrock, [-1.2, 1.0], [1, 1]),
    "rosenbrock of five": (rosenbrock, [1.3, 0.7, 0.8, 1.9, 1.2], [1] * 5),
    "himmelblau": (himmelblau, [0.0, 0.0], [3, 2]),
    "steep": (steep, [100.0, 100.0], [1, 1]),
    "nan beyond a circle": (narrow, [0.9, 0.1], [1 - np.sqrt(2), 0]),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_minima(problem, dtype, method):
    fun, start, right = PROBLEMS[problem]
    with pb.enable_x64(dtype == "float64"):
        found = minimize(fun, np.asarray(start, dtype), method=method)
        assert isinstance(found, OptimizeResults)
        assert found.success
        assert found.status == 0
        assert found.x.dtype == found.fun.dtype == dtype
        np.testing.assert_allclose(found.x, right, atol=1e-3)
        np.testing.assert_array_equal(found.jac, pb.grad(fun)(found.x))
        assert found.nfev == found.njev >= found.nit > 0


def test_the_inverse_of_the_hessian_is_found():
    with pb.enable_x64():
        a = np.array([[3.0, 1, 0], [1, 2, 0.5], [0, 0.5, 1]])
        found = minimize(lambda x: x @ a @ x / 2 - x.sum(), np.ones(3) * 5, method="BFGS", tol=1e-9)
        np.testing.assert_allclose(found.x, np.linalg.solve(a, np.ones(3)), atol=1e-8)
        np.testing.assert_allclose(found.hess_inv, np.linalg.inv(a), atol=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_derivatives_of_the_minimum(method):
    captured = np.array([0.3, 0.1, 0.2])

    def minimum(a, weight):
        def fun(x, a):
            return ((x - a) ** 4).sum() + weight * ((x - captured) ** 2).sum()

        found = minimize(fun, np.zeros(3), (a,), method=method, options={"gtol": 1e-11})
        return found.x, found.fun

    with pb.enable_x64():
        args = np.array([1.0, 2, 3]), np.array(0.7)
        check_grads(
            minimum, args, order=1 if method == "BFGS" else 2, modes=("fwd", "rev"), rtol=1e-3, atol=1e-3, eps=1e-4
        )
        many = pb.vmap(minimum)(np.stack([args[0], 2 * args[0]]), np.array([0.7, 0.5]))
        np.testing.assert_allclose(many[0][1], minimum(2 * args[0], 0.5)[0], atol=1e-8)
        np.testing.assert_allclose(pb.jit(minimum)(*args)[0], minimum(*args)[0], atol=1e-8)


def test_what_stops_it():
    found = minimize(rosenbrock, np.array([-1.2, 1.0]), method="BFGS", options={"maxiter": 3})
    assert (found.success, found.status, found.nit) == (False, 1, 3)
    few = minimize(rosenbrock, np.array([-1.2, 1.0]), method=LIMITED, options={"maxfun": 5})
    assert not few.success
    assert few.nfev < 30
    flat = minimize(lambda x: x.sum(), np.zeros(2), method="BFGS", options={"maxiter": 50})
    assert not flat.success
    there = minimize(steep, np.ones(2), method="BFGS")
    assert (there.success, there.nit) == (True, 0)
    assert minimize(lambda x: (x**2).sum(), np.zeros(0), method="BFGS").success
    whole = minimize(steep, np.array([3, 4]), method="BFGS", options={"norm": 2, "line_search_maxiter": 20})
    np.testing.assert_allclose(whole.x, [1, 1], atol=1e-5)


def test_refusals():
    with raises(ValueError, "minimize: method must be 'BFGS' or 'l-bfgs", "got 'Nelder-Mead'"):
        minimize(steep, np.ones(2), method="Nelder-Mead")
    with raises(TypeError, "minimize: args must be a tuple, got"):
        minimize(steep, np.ones(2), 3.0, method="BFGS")
    with raises(ValueError, "minimize: x0 must be a vector, got shape (2, 1)"):
        minimize(steep, np.ones((2, 1)), method="BFGS")
    with raises(ValueError, "minimize: unknown options 'xtol'; BFGS has maxiter, norm, gtol, line_search_maxiter"):
        minimize(steep, np.ones(2), method="BFGS", options={"xtol": 1})
    with pytest.raises(TypeError, match="must return a real number, got f32"):
        minimize(lambda x: x, np.ones(2), method="BFGS")
