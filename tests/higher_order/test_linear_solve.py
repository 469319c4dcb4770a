"""custom_linear_solve under every transformation, with JAX and closed forms as oracles."""

import jax
import numpy as np
import pytest
from transformations import agree

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr

f32 = np.float32
A = np.array([[4.0, 1.0, 0.5], [-1.0, 5.0, 0.3], [0.2, 0.7, 6.0]], f32)
B = np.array([0.3, -0.7, 1.1], f32)
D = np.array([2.0, 3.0, 5.0], f32)


def jacobi(matvec, b):
    """Relaxation for maps that are near a multiple of five, as a loop of unknown length."""
    def step(state):
        x, k = state
        return x + (b - matvec(x)) / 5, k + 1

    return lax.while_loop(lambda s: s[1] < 60, step, (pnp.zeros_like(b), 0))[0]


def jax_jacobi(matvec, b):
    def step(state):
        x, k = state
        return x + (b - matvec(x)) / 5, k + 1

    return jax.lax.while_loop(lambda s: s[1] < 60, step, (jax.numpy.zeros_like(b), 0))[0]


def test_general_system_by_a_while_loop_agrees_with_jax():
    def make(lib):
        solve = jacobi if lib.t is pb else jax_jacobi
        return lambda a, b: lib.lax.custom_linear_solve(lambda x: 5 * x + a @ x / 2, b, solve, solve)

    agree(make, A, B, scale=40.0)


def test_symmetric_system_agrees_with_jax():
    def make(lib):
        def solve(matvec, b):
            return b / matvec(lib.np.ones_like(b))

        return lambda d, b: lib.lax.custom_linear_solve(lambda x: d * x, b, solve, symmetric=True)

    agree(make, D, B)


def test_pytrees_and_aux_agree_with_jax():
    def make(lib):
        def fun(d, b):
            def matvec(x):
                return {"u": d * x["u"] + x["v"], "v": 3 * x["v"]}

            def solve(_, b):
                v = b["v"] / 3
                return {"u": (b["u"] - v) / d, "v": v}, lib.np.asarray(7)

            def transpose_solve(_, b):
                u = b["u"] / d
                return {"u": u, "v": (b["v"] - u) / 3}, lib.np.asarray(7)

            x, aux = lib.lax.custom_linear_solve(matvec, {"u": b, "v": b * b}, solve, transpose_solve, has_aux=True)
            return x, aux

        return fun

    agree(make, D, B)


def solution(a, b):
    return lax.custom_linear_solve(lambda x: a @ x, b, jacobi, jacobi)


def test_derivatives_are_those_of_the_closed_form():
    inverse = np.linalg.inv(A.astype(float))
    x = inverse @ B
    for jacobian in (pb.jacfwd, pb.jacrev):
        da, db = jacobian(solution, (0, 1))(A, B)
        np.testing.assert_allclose(db, inverse, atol=1e-6)
        np.testing.assert_allclose(da, -np.einsum("ij,k->ijk", inverse, x), atol=1e-6)


def test_solve_is_not_differentiated():
    # what solve alone closes over does not move the solution
    def fun(guess):
        return lax.custom_linear_solve(lambda x: 4 * x, 8.0, lambda mv, b: b / mv(1.0) + 0 * guess, symmetric=True)

    assert float(pb.grad(fun)(1.0)) == 0
    assert float(pb.jvp(fun, (1.0,), (1.0,))[1]) == 0


def test_forward_mode_needs_no_transpose_solve_and_reverse_mode_names_it():
    def fun(b):
        return lax.custom_linear_solve(lambda x: 2 * x, b, lambda matvec, b: b / matvec(1.0))

    assert float(pb.jvp(fun, (3.0,), (1.0,))[1]) == 0.5
    with pytest.raises(TypeError, match="transpose_solve"):
        pb.grad(fun)(3.0)


def test_the_solution_is_transposed_as_a_linear_function_of_b():
    transposed = pb.linear_transpose(lambda b: solution(A, b), B)
    np.testing.assert_allclose(transposed(B)[0], np.linalg.solve(A.T, B), atol=1e-6)
    with pytest.raises(ValueError, match="matvec"):
        pb.linear_transpose(lambda d: lax.custom_linear_solve(lambda x: d * x, B, jacobi, jacobi), D)(B)


def test_batches_of_matrices_and_of_right_sides():
    matrices = np.stack([A, A.T, A + np.eye(3, dtype=f32)])
    sides = np.stack([B, 2 * B, -B])
    np.testing.assert_allclose(pb.vmap(solution)(matrices, sides),
                               np.linalg.solve(matrices, sides[..., None])[..., 0], atol=1e-6)
    np.testing.assert_allclose(pb.jit(pb.vmap(solution, (None, 1)))(A, sides.T), np.linalg.solve(A, sides.T).T,
                               atol=1e-6)


def test_the_jaxpr_holds_one_equation():
    jaxpr = pb.make_jaxpr(solution)(A, B)
    check_jaxpr(jaxpr)
    assert [eqn.primitive.name for eqn in jaxpr.eqns].count("linear_solve") == 1


@pytest.mark.parametrize(("call", "words"), [
    (lambda: lax.custom_linear_solve(lambda x: x[:2], B, jacobi), "matvec"),
    (lambda: lax.custom_linear_solve(lambda x: x, B, lambda mv, b: b[:2]), "solve"),
    (lambda: lax.custom_linear_solve(lambda x: x, B, lambda mv, b: (b,)), "solve"),
    (lambda: lax.custom_linear_solve(lambda x: x, B, lambda mv, b: mv(b[:2])), "first argument"),
    (lambda: lax.custom_linear_solve(lambda x: x, B, lambda mv, b: b, has_aux=True), "pair"),
    (lambda: lax.custom_linear_solve(lambda x: x, "b", jacobi), "b must be an array"),
    (lambda: lax.custom_linear_solve(A, B, jacobi), "expected a function"),
    (lambda: lax.custom_linear_solve(lambda x: x * x, B, jacobi, jacobi), r"matvec \(<lambda> .* must be linear"),
])
def test_what_does_not_fit_is_named(call, words):
    with pytest.raises(TypeError, match=words):
        call()
