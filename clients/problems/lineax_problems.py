"""Linear solves with every solver, their derivatives, structured operators."""

import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx

_A = jnp.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
_B = jnp.array([1.0, 2.0, 3.0])


def _solve(solver, matrix=_A, vector=_B, tags=()):
    def f(m, v):
        return lx.linear_solve(lx.MatrixLinearOperator(m, tags), v, solver).value

    t_m, t_v = jnp.ones_like(matrix) * 0.1, jnp.ones_like(vector)
    if tags:
        t_m = (t_m + t_m.T) / 2
    value, tangent = jax.jvp(f, (matrix, vector), (t_m, t_v))
    grads = jax.grad(lambda m, v: jnp.sum(f(m, v) ** 2), (0, 1))(matrix, vector)
    batched = jax.vmap(f, in_axes=(None, 0))(matrix, jnp.stack([vector, 2 * vector]))
    return value, tangent, grads, batched, jax.jit(f)(matrix, vector)


def lu():
    return _solve(lx.LU())


def qr():
    return _solve(lx.QR(), jnp.concatenate([_A, jnp.ones((1, 3))]), jnp.array([1.0, 2.0, 3.0, 4.0]))


def svd():
    return _solve(lx.SVD(), jnp.concatenate([_A, jnp.ones((1, 3))]), jnp.array([1.0, 2.0, 3.0, 4.0]))


def svd_of_a_wide_matrix():
    return _solve(lx.SVD(), _A[:2], _B[:2])


def cholesky():
    return _solve(lx.Cholesky(), tags=lx.positive_semidefinite_tag)


def conjugate_gradient():
    return _solve(lx.CG(rtol=1e-7, atol=1e-7), tags=lx.positive_semidefinite_tag)


def normal_conjugate_gradient():
    return _solve(lx.Normal(lx.CG(rtol=1e-7, atol=1e-7)))


def gmres():
    return _solve(lx.GMRES(rtol=1e-7, atol=1e-7))


def bicgstab():
    return _solve(lx.BiCGStab(rtol=1e-7, atol=1e-7))


def auto():
    return _solve(lx.AutoLinearSolver(well_posed=None))


def structured_operators():
    diagonal = lx.DiagonalLinearOperator(jnp.array([1.0, 2.0, 4.0]))
    tridiagonal = lx.TridiagonalLinearOperator(jnp.array([4.0, 5.0, 6.0]), jnp.array([1.0, 1.0]), jnp.array([0.5, 0.5]))
    triangular = lx.MatrixLinearOperator(jnp.tril(_A), lx.lower_triangular_tag)
    composed = diagonal @ lx.MatrixLinearOperator(_A) + 2 * lx.IdentityLinearOperator(jax.eval_shape(lambda: _B))
    return (
        lx.linear_solve(diagonal, _B).value,
        lx.linear_solve(tridiagonal, _B, lx.Tridiagonal()).value,
        lx.linear_solve(triangular, _B).value,
        lx.linear_solve(composed, _B).value,
        composed.as_matrix(),
        composed.T.mv(_B),
        jax.grad(lambda d: lx.linear_solve(lx.DiagonalLinearOperator(d), _B).value.sum())(jnp.array([1.0, 2.0, 4.0])),
    )


def operators_on_pytrees():
    def f(x):
        return {"a": 2 * x["a"] + x["b"].sum(), "b": x["b"] * 3 + x["a"]}

    struct = {"a": jax.ShapeDtypeStruct((), _B.dtype), "b": jax.ShapeDtypeStruct((2,), _B.dtype)}
    operator = lx.FunctionLinearOperator(f, struct)
    vector = {"a": jnp.array(1.0), "b": jnp.array([1.0, 2.0])}
    return lx.linear_solve(operator, vector).value, operator.as_matrix(), lx.materialise(operator).mv(vector)


def jacobians_as_operators():
    def f(x, args):
        return jnp.sin(x) * args + x[::-1] ** 2

    operator = lx.JacobianLinearOperator(f, jnp.array([0.5, 1.0, 1.5]), 2.0)
    return operator.as_matrix(), lx.linear_solve(lx.linearise(operator), _B).value, operator.T.mv(_B)


def inverses_and_least_squares():
    rows = jr.normal(jr.PRNGKey(0), (6, 3))
    y = jr.normal(jr.PRNGKey(1), (6,))
    solution = lx.linear_solve(lx.MatrixLinearOperator(rows), y, lx.AutoLinearSolver(well_posed=False))
    singular = lx.linear_solve(lx.MatrixLinearOperator(jnp.ones((3, 3))), _B, lx.LU(), throw=False)
    return solution.value, int(singular.result == lx.RESULTS.successful), lx.invert(lx.MatrixLinearOperator(_A)).mv(_B)
