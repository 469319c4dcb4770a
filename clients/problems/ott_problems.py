"""Optimal transport: Sinkhorn with implicit derivatives, low rank, Gromov-Wasserstein, barycenters, soft sorting."""

import jax
import jax.numpy as jnp
from ott.geometry import costs, geometry, grid, pointcloud
from ott.problems.linear import linear_problem
from ott.problems.quadratic import quadratic_problem
from ott.solvers.linear import discrete_barycenter, implicit_differentiation, sinkhorn, sinkhorn_lr
from ott.solvers.quadratic import gromov_wasserstein
from ott.tools import sinkhorn_divergence, soft_sort

_X = jnp.sin(jnp.arange(24.0)).reshape(12, 2)
_Y = jnp.cos(1.7 * jnp.arange(20.0)).reshape(10, 2)
_A = jnp.arange(1.0, 13.0) / 78.0


def _solved(x, **options):
    problem = linear_problem.LinearProblem(pointcloud.PointCloud(x, _Y, epsilon=0.1), a=_A)
    return sinkhorn.Sinkhorn(threshold=1e-8, max_iterations=3000, **options)(problem)


def regularized_transport():
    out = _solved(_X)
    return out.matrix, out.reg_ot_cost, out.f, out.g, out.n_iters


def cost_differentiated():
    def cost(x):
        return _solved(x).reg_ot_cost

    return jax.grad(cost)(_X), jax.jit(jax.grad(cost))(_X)


def potentials_differentiated():
    def by_equation(x):
        implicit = implicit_differentiation.ImplicitDiff()
        return jnp.sum(_solved(x, implicit_diff=implicit).f * jnp.arange(12.0))

    def by_unrolling(x):
        return jnp.sum(_solved(x, implicit_diff=None).f * jnp.arange(12.0))

    return jax.grad(by_equation)(_X), jax.grad(by_unrolling)(_X)


def costs_of_other_kinds():
    results = []
    for cost in (costs.Euclidean(), costs.PNormP(1.5), costs.Cosine(), costs.SqPNorm(1.5)):
        geom = pointcloud.PointCloud(_X, _Y, cost_fn=cost, epsilon=0.2)
        results.append(sinkhorn.Sinkhorn(threshold=1e-7)(linear_problem.LinearProblem(geom)).matrix)
    return results


def divergence():
    def f(x):
        return sinkhorn_divergence.sinkdiv(x, _Y, epsilon=0.1)[0]

    return f(_X), jax.grad(f)(_X)


def unbalanced_and_momentum():
    geom = pointcloud.PointCloud(_X, _Y, epsilon=0.1)
    problem = linear_problem.LinearProblem(geom, tau_a=0.9, tau_b=0.95)
    lse = sinkhorn.Sinkhorn(threshold=1e-7)(problem)
    kernel = sinkhorn.Sinkhorn(threshold=1e-7, lse_mode=False)(problem)
    return lse.matrix, kernel.matrix


def low_rank():
    geom = pointcloud.PointCloud(_X, _Y)
    out = sinkhorn_lr.LRSinkhorn(rank=3, min_iterations=20, max_iterations=20)(linear_problem.LinearProblem(geom))
    return out.matrix


def gromov():
    problem = quadratic_problem.QuadraticProblem(pointcloud.PointCloud(_X), pointcloud.PointCloud(_Y))
    solver = gromov_wasserstein.GromovWasserstein(linear_solver=sinkhorn.Sinkhorn(), epsilon=0.5, max_iterations=10)
    out = solver(problem)
    return out.matrix, out.reg_gw_cost


def barycenter_on_a_grid():
    geom = grid.Grid(grid_size=(5, 4), epsilon=0.1)
    masses = jax.nn.softmax(jnp.sin(jnp.arange(40.0)).reshape(2, 20), axis=1)
    from ott.problems.linear import barycenter_problem

    problem = barycenter_problem.FixedBarycenterProblem(geom, masses, weights=jnp.array([0.4, 0.6]))
    return discrete_barycenter.FixedBarycenter()(problem).histogram


def soft_sorting():
    x = jnp.array([0.3, -1.2, 2.0, 0.7, -0.1])
    return (
        soft_sort.sort(x, epsilon=1e-2),
        soft_sort.ranks(x, epsilon=1e-2),
        soft_sort.quantile(x, q=jnp.array([0.2, 0.5])),
    )


def kernel_matrix():
    geom = geometry.Geometry(cost_matrix=jnp.abs(_X @ _Y.T), epsilon=0.3)
    return sinkhorn.Sinkhorn(threshold=1e-7)(linear_problem.LinearProblem(geom, a=_A)).matrix
