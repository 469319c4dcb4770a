"""custom_linear_solve under every transformation, with JAX and closed forms as oracles."""

from functools import partial

import numpy as np
import pytest
from transformations import PB, agree

import pullback as pb
from pullback import lax
from pullback.core import check_jaxpr

f32 = np.float32
A = np.array([[4.0, 1.0, 0.5], [-1.0, 5.0, 0.3], [0.2, 0.7, 6.0]], f32)
B = np.array([0.3, -0.7, 1.1], f32)
D = np.array([2.0, 3.0, 5.0], f32)


def relaxation(lib, matvec, b):
    """The solution for maps that are near a multiple of five, by a loop of unknown length."""

    def step(state):
        x, k = state
        return x + (b - matvec(x)) / 5, k + 1

    return lib.lax.while_loop(lambda s: s[1] < 60, step, (lib.np.zeros_like(b), 0))[0]


jacobi = partial(relaxation, PB)


def test_general_system_by_a_while_loop_agrees_with_jax():
    def make(lib):
        solve = partial(relaxation, lib)

        def fun(a, b):
            return lib.lax.custom_linear_solve(lambda x: 5 * x + a @ x / 2, b, solve, solve)

        return fun

    agree(make, A, B, scale=40.0)


def test_symmetric_system_agrees_with_jax():
    def make(lib):
        def solve(matvec, b):
            return b / matvec(lib.np.ones_like(b))

        def fun(d, b):
            return lib.lax.custom_linear_solve(lambda x: d * x, b, solve, symmetric=True)

        return fun

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
        def solve(matvec, b):
            return b / matvec(1.0) + 0 * guess

        return lax.custom_linear_solve(lambda x: 4 * x, 8.0, solve, symmetric=True)

    assert float(pb.grad(fun)(1.0)) == 0
    assert float(pb.jvp(fun, (1.0,), (1.0,))[1]) == 0


def test_forward_mode_needs_no_transpose_solve_and_reverse_mode_names_it():
    def fun(b):
        return lax.custom_linear_solve(lambda x: 2 * x, b, lambda matvec, b: b / matvec(1.0))

    assert float(pb.jvp(fun, (3.0,), (1.0,))[1]) == 0.5
    with pytest.raises(TypeError, match="transpose_solve"):
        pb.grad(fun)(3.0)


def test_the_solution_is_transposed_as_a_linear_function_of_b():
    def by_the_matrix(d):
        return lax.custom_linear_solve(lambda x: d * x, B, jacobi, jacobi)

    transposed = pb.linear_transpose(lambda b: solution(A, b), B)
    np.testing.assert_allclose(transposed(B)[0], np.linalg.solve(A.T, B), atol=1e-6)
    with pytest.raises(ValueError, match="matvec"):
        pb.linear_transpose(by_the_matrix, D)(B)


def test_batches_of_matrices_and_of_right_sides():
    matrices = np.stack([A, A.T, A + np.eye(3, dtype=f32)])
    sides = np.stack([B, 2 * B, -B])
    np.testing.assert_allclose(
        pb.vmap(solution)(matrices, sides), np.linalg.solve(matrices, sides[..., None])[..., 0], atol=1e-6
    )
    np.testing.assert_allclose(
        pb.jit(pb.vmap(solution, (None, 1)))(A, sides.T), np.linalg.solve(A, sides.T).T, atol=1e-6
    )


def test_the_jaxpr_holds_one_equation():
    jaxpr = pb.make_jaxpr(solution)(A, B)
    check_jaxpr(jaxpr)
    assert [eqn.primitive.name for eqn in jaxpr.eqns].count("linear_solve") == 1


def identity(x):
    return x


def first_two(x):
    return x[:2]


def square(x):
    return x * x


def right_side(matvec, b):
    return b


def two_of_the_right_side(matvec, b):
    return b[:2]


def right_side_in_a_tuple(matvec, b):
    return (b,)


def map_of_two(matvec, b):
    return matvec(b[:2])


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        ((first_two, B, jacobi), {}, "matvec"),
        ((identity, B, two_of_the_right_side), {}, "solve"),
        ((identity, B, right_side_in_a_tuple), {}, "solve"),
        ((identity, B, map_of_two), {}, "first argument"),
        ((identity, B, right_side), {"has_aux": True}, "pair"),
        ((identity, "b", jacobi), {}, "b must be an array"),
        ((A, B, jacobi), {}, "expected a function"),
        ((square, B, jacobi, jacobi), {}, r"matvec \(square .* must be linear"),
    ],
)
def test_what_does_not_fit_is_named(args, options, words):
    with pytest.raises(TypeError, match=words):
        lax.custom_linear_solve(*args, **options)
