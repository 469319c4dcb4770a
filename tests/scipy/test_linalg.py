"""scipy.linalg: linear systems, factors, matrices with a structure, the exponential."""

from functools import partial

import jax.scipy.linalg as jsl
import numpy as np
import pytest
import scipy.linalg
from agreement import Sampler, agree, close

import pullback as pb
import pullback.scipy.linalg as sl
from pullback.test_util import check_grads

data = Sampler()


def definite(n, dtype="float32"):
    x = data((n, n), dtype)
    return (x @ x.conj().T + n * np.eye(n)).astype(dtype)


A, S = data((3, 3)), definite(3)
INTEGERS = np.array([[5, 1], [2, 7]])


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("lower", [False, True])
def test_cholesky_reads_one_triangle(lower, dtype):
    a, b = definite(3, dtype), data((3, 2), dtype)
    half = np.tril(a) if lower else np.triu(a)
    close(sl.cholesky(half, lower), scipy.linalg.cholesky(a, lower), 10)
    factor = sl.cho_factor(half, lower)
    assert factor[1] is lower
    for rhs in (b, b[:, 0], np.stack([b, b])):
        close(sl.cho_solve(factor, rhs), np.linalg.solve(a, rhs), 10)
    close(sl.solve(half, b, lower, assume_a="pos"), np.linalg.solve(a, b), 10)
    compiled = pb.jit(lambda a, b: sl.solve(a, b, lower, assume_a="pos"))
    close(compiled(half, b), np.linalg.solve(a, b), 10)


def test_solve_assumes():
    b = data((2, 3, 1))
    for assume_a in ("gen", "sym", "her", "pos"):
        close(sl.solve(S, b, assume_a=assume_a), np.linalg.solve(S, b), 10)


@pytest.mark.parametrize("trans", [0, 1, 2, "N", "T", "C"])
def test_solve_triangular(trans):
    a, b = data((3, 3), "complex64") + 3 * np.eye(3, dtype="complex64"), data((3, 2), "complex64")
    for lower in (False, True):
        close(sl.solve_triangular(a, b, trans, lower), scipy.linalg.solve_triangular(a, b, trans, lower), 10)
    close(
        sl.solve_triangular(a, b[:, 0], trans, unit_diagonal=True),
        scipy.linalg.solve_triangular(a, b[:, 0], trans, unit_diagonal=True),
        10,
    )
    stack = sl.solve_triangular(np.stack([a, a]), b[:, 0], trans)
    close(stack[1], scipy.linalg.solve_triangular(a, b[:, 0], trans), 10)


@pytest.mark.parametrize("trans", [0, 1, 2])
def test_lu_solve(trans):
    a, b = data((3, 3), "complex64"), data((2, 3, 2), "complex64")
    op = (a, a.T, a.conj().T)[trans]
    solution = lambda a, b: sl.lu_solve(sl.lu_factor(a), b, trans)  # noqa: E731
    for run in (solution, pb.jit(solution)):
        close(run(a, b), np.linalg.solve(op, b), 20)
    close(solution(np.stack([a, a]), b[0, :, 0])[1], np.linalg.solve(op, b[0, :, 0]), 20)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2)])
def test_lu(shape):
    a = data(shape, "complex64")
    agree(sl.lu, jsl.lu, a)
    agree(sl.lu, jsl.lu, a, permute_l=True)
    p, low, up = sl.lu(np.stack([a, 2 * a]))
    close(p @ low @ up, np.stack([a, 2 * a]))


def test_inv_and_det():
    close(sl.inv(S), np.linalg.inv(S), 10)
    close(sl.det(A), np.linalg.det(A), 10)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_derivatives_of_solvers(dtype):
    with pb.enable_x64():
        a, p, b = data((3, 3), dtype) + 3 * np.eye(3), definite(3, dtype), data((2, 3, 1), dtype)
        for lower in (False, True):
            check_grads(lambda p, b, lower=lower: sl.solve(p, b, lower, assume_a="pos"), (p, b), order=2)
            check_grads(lambda p, lower=lower: sl.cholesky(p, lower), (p,), order=2)
        check_grads(lambda a, b: sl.solve_triangular(a, b, "C"), (a, b), order=2)
        for trans in (0, 2):
            check_grads(lambda a, b, t=trans: sl.lu_solve(sl.lu_factor(a), b, t), (a, b), order=2)
        check_grads(lambda a: sl.lu(a)[1:], (a[:, :2],), order=1)


def test_block_diag():
    agree(sl.block_diag, jsl.block_diag, A, 2.0, np.arange(3), np.ones((0, 2), "float32"))
    agree(sl.block_diag, jsl.block_diag)
    check_grads(sl.block_diag, (A, A[0]), order=1)


def test_toeplitz():
    agree(sl.toeplitz, jsl.toeplitz, np.array([1, 2j, 3], "complex64"))
    agree(sl.toeplitz, jsl.toeplitz, np.arange(3), np.arange(4.0))
    stack = sl.toeplitz(A, A[1, :2])
    close(stack, np.stack([scipy.linalg.toeplitz(c, A[1, :2]) for c in A]))
    assert sl.toeplitz(1).tolist() == [[1]]
    check_grads(sl.toeplitz, (A[0], A[1]), order=1)


# --- the exponential ---


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_expm(dtype):
    a = data((2, 3, 3), dtype) * np.array([1, 30], "float32")[:, None, None] / 4
    for run in (sl.expm, pb.jit(sl.expm), pb.vmap(sl.expm), pb.jit(pb.vmap(sl.expm))):
        np.testing.assert_allclose(run(a), scipy.linalg.expm(a.astype("complex128")), rtol=2e-4)
    assert sl.expm(INTEGERS).dtype == "float32"
    close(sl.expm(np.triu(a[0]), upper_triangular=True), scipy.linalg.expm(np.triu(a[0])), 10)


def test_limits_of_expm():
    far = np.array([[0, 1e6], [0, 0]], "float32")
    for run in (lambda f: f, pb.jit):
        assert np.isnan(run(sl.expm)(far)).all()
        close(run(lambda a: sl.expm(a, max_squarings=19))(far), np.eye(2, dtype="float32") + far)
    assert np.isnan(sl.expm(np.full((2, 2), np.nan, "float32"))).all()


def test_derivatives_of_expm():
    with pb.enable_x64():
        for size in (0.0, 1.0, 100.0):
            a, e = size * data((3, 3), "float64"), data((3, 3), "float64")
            expected = scipy.linalg.expm_frechet(a, e, compute_expm=False)
            np.testing.assert_allclose(pb.jvp(sl.expm, (a,), (e,))[1], expected, rtol=1e-8, atol=1e-12)
            gradient = pb.grad(lambda a, e=e: (sl.expm(a) * e.T).sum())
            # the transpose of the derivative at a is the derivative at a.T, and <c, t> = sum c t
            expected = scipy.linalg.expm_frechet(a.T, e.T, compute_expm=False)
            np.testing.assert_allclose(gradient(a), expected, rtol=1e-8, atol=1e-12)
        close(pb.jit(gradient)(a), gradient(a))
        check_grads(sl.expm, (4 * data((3, 3), "complex128"),), order=2)


# --- refusals ---


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


HALF = ones(2, 2, dtype="float16")


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            partial(sl.solve, A, A, assume_a="pod"),
            ValueError,
            "assume_a must be 'gen', 'sym', 'her' or 'pos', got 'pod'",
        ),
        (partial(sl.solve_triangular, A, A, trans="X"), ValueError, "trans must be 0, 1, 2, 'N', 'T' or 'C', got 'X'"),
        (partial(sl.cho_solve, A, A), TypeError, "c_and_lower must be the pair that cho_factor returns"),
        (
            partial(sl.cho_solve, (ones(2, 3), True), ones(2)),
            ValueError,
            "square matrices in the last two axes of the fac",
        ),
        (partial(sl.lu_solve, (A, ones(2)), A), ValueError, r"pivots of shape \(3,\) .* got \(2,\)"),
        (partial(sl.lu_solve, (A, ones(3)), A), TypeError, r"pivots of integers, got f32\[3\]"),
        (partial(sl.lu_solve, sl.lu_factor(A), A, trans=3), ValueError, "trans must be 0, 1 or 2, got 3"),
        (partial(sl.lu, ones(2)), ValueError, "lu: expected matrices"),
        (partial(sl.lu_factor, HALF), TypeError, "lu_factor: .*Convert"),
        (partial(sl.block_diag, ones(1, 1), ones(1, 1, 1)), ValueError, r"got shape \(1, 1, 1\) at argument 1"),
        (partial(sl.toeplitz, ones(2, 3), ones(3, 3)), ValueError, "toeplitz: shapes"),
        (partial(sl.expm, ones(2, 3)), ValueError, "expm: expected square matrices .* of A"),
        (partial(sl.expm, A, max_squarings=-1), ValueError, "max_squarings must be at least 0, got -1"),
    ],
)
def test_refusals(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
