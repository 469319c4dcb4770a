"""LAPACK's routines called from a program: layouts, stacks, options, each dtype, and the flag of what was not done."""

import numpy as np
import pytest
from emitted import aval_of, run_emitted

from pullback._xla import lapack
from pullback._xla.lapack import lapack_call

DTYPES = [np.float32, np.float64, np.complex64, np.complex128]


def positive_definite(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return (x @ np.swapaxes(x, -1, -2).conj() + 4 * np.eye(shape[-1])).astype(dtype)


def cholesky(uplo):
    """The emission of potrf: the factor, and for each matrix 0 or where it ended."""

    def emit(ctx, x):
        rank = x.aval.ndim - 2
        return lapack_call(ctx, "potrf", [x], [x.aval, aval_of(x.aval.shape[:rank], np.int32)], rank, {"uplo": uplo})

    return emit


def run_cholesky(x, uplo="L"):
    return run_emitted(cholesky(uplo), [aval_of(x.shape, x.dtype), aval_of(x.shape[:-2], np.int32)], x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (2, 1, 4, 4), (0, 2, 2), (1, 1)], ids=str)
def test_a_factor_of_each_matrix_of_a_stack(shape, dtype):
    x = positive_definite(shape, dtype)
    factor, info = run_cholesky(x)
    lower = np.tril(factor)
    assert info.shape == shape[:-2]
    assert not info.any()
    # well conditioned matrices: some roundings of their numbers
    np.testing.assert_allclose(
        lower @ np.swapaxes(lower, -1, -2).conj(),
        x,
        rtol=30 * np.finfo(dtype).eps,
        atol=30 * np.finfo(dtype).eps * (np.abs(x).max() if x.size else 0),
    )


def test_options_are_letters():
    x = positive_definite((3, 3), np.float64)
    upper, info = run_cholesky(x, "U")
    assert info == 0
    np.testing.assert_allclose(np.triu(upper), np.linalg.cholesky(x).T, rtol=1e-12)


def test_what_was_not_done_is_said_for_each_matrix():
    x = np.stack([np.eye(3), np.diag([1.0, -1.0, 1.0]), np.diag([1.0, 1.0, -1.0])])
    _, info = run_cholesky(x)
    assert info.tolist() == [0, 2, 3]


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (2, 4, 3)], ids=str)
def test_matrices_that_are_not_square_and_results_of_several_ranks(shape):
    """getrf: factors, the rows that were exchanged, counted from 1, and the flag; operands are not transposed."""
    x = np.random.default_rng(1).standard_normal(shape)
    stack, (m, n) = shape[:-2], shape[-2:]
    outs = [aval_of(shape, np.float64), aval_of((*stack, min(m, n)), np.int32), aval_of(stack, np.int32)]
    factors, pivots, info = run_emitted(lambda ctx, x: lapack_call(ctx, "getrf", [x], outs, len(stack)), outs, x)
    assert not info.any()
    for matrix, factor, exchanged in zip(
        x.reshape(-1, m, n), factors.reshape(-1, m, n), pivots.reshape(-1, min(m, n)), strict=True
    ):
        lower = np.tril(factor, -1)[:, : min(m, n)] + np.eye(m, min(m, n))
        rows = matrix.copy()
        for i, j in enumerate(exchanged - 1):
            rows[[i, j]] = rows[[j, i]]
        np.testing.assert_allclose(lower @ np.triu(factor)[: min(m, n)], rows, rtol=1e-12, atol=1e-14)


def test_the_second_operand_may_be_overwritten_with_the_result():
    """trsm: a triangular system, its right side taken by the solution."""
    a, b = np.array([[2.0, 0.0], [1.0, 4.0]]), np.array([[2.0, 4.0], [9.0, 18.0]])
    settings = {"side": "L", "uplo": "L", "trans_x": "N", "diag": "N"}
    (out,) = run_emitted(
        lambda ctx, a, b: lapack_call(ctx, "trsm", [a, b], [b.aval], 0, settings, overwrites=1),
        [aval_of(b.shape, np.float64)],
        a,
        b,
    )
    assert out.tolist() == [[1, 2], [2, 4]]
    assert b.tolist() == [[2, 4], [9, 18]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_there_are_routines_for_four_dtypes(dtype):
    assert lapack.takes(np.dtype(dtype))


@pytest.mark.parametrize("dtype", [np.float16, np.int32, bool])
def test_there_are_none_for_others(dtype):
    assert not lapack.takes(np.dtype(dtype))
