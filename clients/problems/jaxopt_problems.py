"""Solvers with implicit derivatives: bilevel problems, projections, quadratic programs, root finding."""

import jax
import jax.numpy as jnp
import jaxopt


def _data():
    key = jax.random.PRNGKey(0)
    x = jax.random.normal(key, (40, 5))
    return x, x @ jnp.arange(1.0, 6.0) + 0.1 * jax.random.normal(jax.random.PRNGKey(1), (40,))


def _ridge(params, strength, data):
    x, y = data
    return jnp.mean((x @ params - y) ** 2) + strength * jnp.sum(params**2)


def gradient_descent_and_its_implicit_derivative():
    solver = jaxopt.GradientDescent(_ridge, maxiter=500, tol=1e-6)

    def outer(strength):
        return solver.run(jnp.zeros(5), strength, _data()).params.sum()

    return outer(0.1), jax.grad(outer)(0.1)


def lbfgs():
    solver = jaxopt.LBFGS(_ridge, maxiter=100, tol=1e-6)
    return solver.run(jnp.zeros(5), 0.1, _data()).params


def nonlinear_conjugate_gradient():
    return jaxopt.NonlinearCG(_ridge, maxiter=100, tol=1e-5).run(jnp.zeros(5), 0.1, _data()).params


def lasso_by_proximal_gradient():
    def least_squares(params, data):
        x, y = data
        return 0.5 * jnp.mean((x @ params - y) ** 2)

    solver = jaxopt.ProximalGradient(least_squares, prox=jaxopt.prox.prox_lasso, maxiter=500, tol=1e-6)

    def outer(strength):
        return solver.run(jnp.zeros(5), hyperparams_prox=strength, data=_data()).params

    return outer(0.3), jax.jacobian(outer)(0.3)


def projected_gradient_on_the_simplex():
    def f(w, data):
        x, y = data
        return jnp.mean((x @ w - y / 10) ** 2)

    solver = jaxopt.ProjectedGradient(f, projection=jaxopt.projection.projection_simplex, maxiter=300, tol=1e-6)
    return solver.run(jnp.ones(5) / 5, data=_data()).params


def gauss_newton_and_levenberg_marquardt():
    t = jnp.linspace(0.0, 1.0, 20)
    y = 2.0 * jnp.exp(-1.5 * t) + 0.3

    def residual(p):
        return p[0] * jnp.exp(-p[1] * t) + p[2] - y

    start = jnp.array([1.0, 1.0, 0.0])
    return (
        jaxopt.GaussNewton(residual, maxiter=20).run(start).params,
        jaxopt.LevenbergMarquardt(residual, maxiter=50, damping_parameter=1e-3).run(start).params,
    )


def bisection():
    solver = jaxopt.Bisection(lambda x, c: x**3 - c, lower=0.0, upper=10.0, maxiter=60)

    def root(c):
        return solver.run(None, c).params

    return root(8.0), jax.grad(root)(8.0)


def anderson_acceleration_of_a_fixed_point():
    def step(x, theta):
        return jnp.cos(theta * x)

    def fixed_point(theta):
        solver = jaxopt.AndersonAcceleration(step, history_size=3, maxiter=50, tol=1e-6)
        return solver.run(jnp.ones(3), theta).params.sum()

    return fixed_point(0.8), jax.grad(fixed_point)(0.8)


def fixed_point_iteration():
    def solve(theta):
        return jaxopt.FixedPointIteration(lambda x, t: jnp.cos(t * x), maxiter=200, tol=1e-6).run(1.0, theta).params

    return solve(0.8), jax.grad(solve)(0.8)


def broyden():
    def f(x):
        return x**3 - jnp.array([1.0, 8.0])

    return jaxopt.Broyden(f, maxiter=100, tol=1e-5).run(jnp.array([0.9, 1.9])).params


def quadratic_programs():
    q = jnp.array([[2.0, 0.5], [0.5, 1.0]])
    c = jnp.array([1.0, 1.0])
    equality = (jnp.array([[1.0, 1.0]]), jnp.array([1.0]))
    inequality = (jnp.array([[-1.0, 0.0], [0.0, -1.0]]), jnp.array([0.0, 0.0]))

    def value(c):
        solution = jaxopt.OSQP(tol=1e-5).run(params_obj=(q, c), params_eq=equality, params_ineq=inequality).params
        return solution.primal

    return (
        jaxopt.EqualityConstrainedQP().run(params_obj=(q, c), params_eq=equality).params.primal,
        value(c),
        jax.jacobian(value)(c),
    )


def multiclass_logistic_regression():
    x, y = _data()
    labels = (y > 0).astype(jnp.int32) + (y > 3).astype(jnp.int32)
    solver = jaxopt.LBFGS(jaxopt.objective.l2_multiclass_logreg, maxiter=60, tol=1e-5)
    return solver.run(jnp.zeros((5, 3)), l2reg=0.1, data=(x, labels)).params


def linear_solvers():
    a = jnp.array([[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 2.0]])
    b = jnp.arange(1.0, 4.0)
    matvec = lambda v: a @ v  # noqa: E731
    return (
        jaxopt.linear_solve.solve_cg(matvec, b),
        jaxopt.linear_solve.solve_gmres(matvec, b),
        jaxopt.linear_solve.solve_bicgstab(matvec, b),
        jaxopt.linear_solve.solve_normal_cg(matvec, b),
        jaxopt.linear_solve.solve_lu(matvec, b),
    )


def projections():
    x = jnp.array([0.7, -0.3, 2.0])
    return (
        jaxopt.projection.projection_simplex(x),
        jaxopt.projection.projection_l1_ball(x, 1.0),
        jaxopt.projection.projection_box(x, (0.0, 1.0)),
        jaxopt.projection.projection_halfspace(x, (jnp.ones(3), 1.0)),
        jax.jacobian(jaxopt.projection.projection_simplex)(x),
    )


def stochastic_with_polyak_steps():
    return jaxopt.PolyakSGD(fun=_ridge, max_stepsize=0.5, maxiter=30).run(jnp.zeros(5), 0.01, _data()).params


def block_coordinate_descent():
    x, y = _data()
    solver = jaxopt.BlockCoordinateDescent(
        fun=jaxopt.objective.least_squares, block_prox=jaxopt.prox.prox_lasso, maxiter=100, tol=1e-6
    )
    return solver.run(jnp.zeros(5), hyperparams_prox=0.3, data=(x, y)).params
