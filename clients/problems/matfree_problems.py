"""Matrix-free linear algebra: decompositions, functions of matrices, traces and their derivatives."""

import jax
import jax.numpy as jnp
from matfree import decomp, eig, funm, lstsq, stochtrace

_M = jnp.sin(jnp.arange(36.0) ** 2).reshape(6, 6)
_A = _M @ _M.T + 2.0 * jnp.eye(6)
_V = jnp.linspace(0.5, 1.5, 6)


def _matvec(v, a):
    return a @ v


def tridiagonal():
    decompose = decomp.tridiag_sym(4)

    def total(a, v):
        return jax.tree.map(lambda x: jnp.sum(x**2), decompose(_matvec, v, a).J_small)

    return decompose(_matvec, _V, _A).J_small, jax.grad(total, argnums=(0, 1))(_A, _V)


def hessenberg():
    found = decomp.hessenberg(3, reortho="full")(_matvec, _V, _M)
    return found.J_small, jax.grad(
        lambda m: jnp.sum(decomp.hessenberg(3, reortho="full")(_matvec, _V, m).J_small ** 2)
    )(_M)


def log_determinants():
    estimate = stochtrace.estimator_monte_carlo(
        funm.monte_carlo_funm_sym_logdet(decomp.tridiag_sym(5)), stochtrace.sampler_signs(_V, num=4)
    )
    of_product = stochtrace.estimator_monte_carlo(
        funm.monte_carlo_funm_product_logdet(decomp.bidiag(4)), stochtrace.sampler_normal(_V, num=4)
    )

    def f(a):
        return estimate(_matvec, jax.random.key(1), a), of_product(_matvec, jax.random.key(1), a)

    return f(_A), jax.jacobian(f)(_A)


def traces_and_diagonals():
    sampler = stochtrace.sampler_normal(_V, num=6)
    integrands = (stochtrace.monte_carlo_trace(), stochtrace.monte_carlo_diagonal())
    estimates = [stochtrace.estimator_monte_carlo(i, sampler)(_matvec, jax.random.key(2), _A) for i in integrands]
    of_one_left_out = stochtrace.estimator_leave_one_out(
        stochtrace.leave_one_out_xtrace(), stochtrace.sampler_sphere(_V, num=4)
    )
    return estimates, of_one_left_out(_matvec, jax.random.key(3), _A)


def matrix_functions():
    lanczos = funm.funm_lanczos_sym(funm.dense_funm_sym_eigh(jnp.exp), decomp.tridiag_sym(5))
    chebyshev = funm.funm_chebyshev(jnp.sin, 12, lambda v, a: a @ v)
    return (
        lanczos(_matvec, _V, 0.1 * _A),
        jax.jacobian(lambda v: lanczos(_matvec, v, 0.1 * _A))(_V),
        jax.jacobian(lambda a: chebyshev(_V, a))(0.02 * _A),
    )


def singular_values():
    return eig.svd_partial(decomp.bidiag(4))(_matvec, _V, _M)[1]


def least_squares():
    solve = lstsq.lsmr(atol=1e-10, btol=1e-10, ctol=1e-10)
    tall = _A[:, :4]

    def f(a):
        return solve(lambda u, p: u @ p, _V, a)[0]

    return f(tall), jax.jacrev(f)(tall)
