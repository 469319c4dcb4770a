"""Decompositions under NumPy's and SciPy's names, pseudo-inverses, least squares, ranks and condition numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from agreement import Sampler, close

import pullback as pb
import pullback.numpy as pnp
from pullback.numpy._linalg import decompositions as ours
from pullback.numpy.linalg import lstsq
from pullback.scipy import linalg as scipy_linalg
from pullback.test_util import check_grads

theirs = jnp.linalg
data = Sampler()
SHAPES = [(4, 3), (2, 3, 3)]


def deficient(shape, dtype="float32"):
    """A matrix of rank 2."""
    return data((*shape[:-1], 2), dtype) @ data((*shape[:-2], 2, shape[-1]), dtype)


def leaves(results):
    return list(results) if isinstance(results, (tuple, list)) else [results]


def agree(function, oracle, *args, scale=10.0, **options):
    got, expected = leaves(function(*args, **options)), leaves(oracle(*args, **options))
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        close(g, e, scale)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_as_jax(shape, dtype):
    """To the sign and the phase: the routines are the same."""
    x = data(shape, dtype)
    for mode in ("reduced", "complete", "r", "raw"):
        agree(ours.qr, theirs.qr, x, mode=mode)
    agree(ours.svd, theirs.svd, x)
    agree(ours.svd, theirs.svd, x, full_matrices=False)
    agree(ours.svdvals, theirs.svdvals, x)
    for p in (None, -2):
        agree(ours.cond, theirs.cond, x, p=p)
    for y in (x, deficient(shape, dtype)):
        agree(ours.pinv, theirs.pinv, y, scale=100)
        agree(ours.matrix_rank, theirs.matrix_rank, y)
    if shape[-1] == shape[-2]:
        for UPLO in ("L", "U"):
            agree(ours.eigh, theirs.eigh, x, UPLO=UPLO, symmetrize_input=False)
        agree(ours.eigh, theirs.eigh, x)
        agree(ours.eigvalsh, theirs.eigvalsh, x)
        agree(ours.eig, theirs.eig, x)
        agree(ours.eigvals, theirs.eigvals, x)


@pytest.mark.parametrize("p", ["fro", "nuc", 1, -1, np.inf, -np.inf])
def test_condition_numbers(p):
    x = data((3, 3)) + 2 * np.eye(3, dtype="float32")
    agree(ours.cond, np.linalg.cond, x, p=p, scale=100)
    assert ours.cond(np.zeros((3, 3), "float32"), p) == np.inf
    assert np.isnan(ours.cond(np.full((3, 3), np.nan, "float32"), p))
    with pb.enable_x64():
        check_grads(lambda x: ours.cond(x, p), (x.astype(np.float64),), order=1)


def test_hermitian():
    x = data((3, 3), "complex64")
    x = x + x.conj().T
    agree(ours.svd, theirs.svd, x, hermitian=True)
    agree(ours.svd, np.linalg.svd, x, hermitian=True, compute_uv=False)
    agree(ours.pinv, np.linalg.pinv, x, hermitian=True)
    assert ours.matrix_rank(np.diag([1.0, -2.0, 0.0]).astype("float32"), hermitian=True) == 2


def test_result_types():
    x = np.eye(3, dtype="float32")
    assert ours.qr(x)._fields == theirs.qr(x)._fields
    assert ours.eigh(x)._fields == theirs.eigh(x)._fields
    assert ours.eig(x)._fields == theirs.eig(x)._fields
    assert ours.svd(x)._fields == theirs.svd(x)._fields
    assert type(pb.jit(ours.svd)(x)) is ours.SVDResult
    for function in (ours.qr, ours.svd, ours.eigh):
        assert {y.dtype.name for y in function(np.eye(2, dtype="int32"))} == {"float32"}


def test_tolerances():
    x = np.diag([10.0, 1.0, 0.1]).astype("float32")
    assert [int(ours.matrix_rank(x, rtol)) for rtol in (None, 0.05, 0.5)] == [3, 2, 1]
    assert ours.matrix_rank(x, tol=0.5) == 2
    assert [int(ours.matrix_rank(y)) for y in (np.ones(3), np.zeros(3), 2.0)] == [1, 0, 1]
    stack = np.stack([x, x])
    np.testing.assert_array_equal(ours.matrix_rank(stack, np.array([0.05, 0.5])), [2, 1])
    close(
        np.diagonal(ours.pinv(stack, np.array([0.05, 0.5], "float32")), axis1=1, axis2=2),
        np.array([[0.1, 1, 0], [0.1, 0, 0]], "float32"),
    )
    close(ours.pinv(x, rcond=0.05), np.diag([0.1, 1, 0]).astype("float32"))
    solution, _, rank, _ = lstsq(x, np.ones(3, "float32"), rcond=0.05)
    close(solution, np.array([0.1, 1, 0], "float32"))
    assert rank == 2
    assert lstsq(x, np.ones(3), rcond=-1)[2] == 3


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_least_squares(shape):
    for x in (data(shape), deficient(shape), data(shape, "complex64")):
        for b in (data(shape[:1]), data((shape[0], 2))):
            agree(lstsq, theirs.lstsq, x, b, rcond=1e-4, scale=100)
            as_numpy = lstsq(x, b, 1e-4, numpy_resid=True)
            for got, expected in zip(as_numpy, np.linalg.lstsq(x, b, 1e-4), strict=True):
                np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-4)


def test_least_squares_keep_their_accuracy():
    """By the singular vectors: through the pseudo-inverse, errors grow with the square of the condition number."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((n, 6)))[0] for n in (50, 6))
    a = ((left * np.logspace(0, -3, 6)) @ right).astype("float32")
    b = (left[:, 0]).astype("float32")
    exact = np.linalg.lstsq(a.astype(np.float64), b.astype(np.float64))[0]
    np.testing.assert_allclose(lstsq(a, b)[0], exact, atol=2e-4)


def test_least_squares_decompose_once():
    x, b = data((4, 3)), data(4)
    solve = lambda x: lstsq(x, b)  # noqa: E731
    for function in (
        solve,
        lambda x: pb.jvp(solve, (x,), (x,)),
        pb.grad(lambda x: solve(x)[0].sum()),
        pb.grad(lambda x: solve(x)[3].sum()),
    ):
        assert str(pb.make_jaxpr(function)(x)).count(" svd[") == 1


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 3), (0, 3, 3), (3, 0)])
def test_empty(shape):
    x = pnp.zeros(shape)
    for function in (
        ours.pinv,
        ours.svdvals,
        ours.matrix_rank,
        lambda x: ours.singular_norm(x, 2),
        lambda x: ours.singular_norm(x, "nuc"),
    ):
        close(np.asarray(function(x)), np.asarray(pb.jit(function)(x)))
    assert ours.pinv(x).shape == (*shape[:-2], shape[-1], shape[-2])
    assert pb.grad(lambda x: ours.pinv(x).sum())(x).shape == shape


# --- derivatives ---


def parts(z):
    return (pnp.real(z), pnp.imag(z)) if np.dtype(z.dtype).kind == "c" else z


@pytest.mark.parametrize(("shape", "dtype"), [((4, 3), "float64"), ((3, 4), "complex128"), ((2, 3, 3), "float64")])
def test_derivatives(shape, dtype):
    with pb.enable_x64():
        x = data(shape, dtype)
        for ord in (2, -2, "nuc"):
            check_grads(lambda x, ord=ord: ours.singular_norm(x, ord), (x,), order=2)
        check_grads(ours.cond, (x,), order=1)
        check_grads(lambda x: parts(ours.pinv(x)), (x,), order=2)


@pytest.mark.parametrize(("shape", "dtype"), [((4, 3), "complex128"), ((3, 3), "float64"), ((3, 4), "float64")])
def test_derivatives_of_constant_rank(shape, dtype):
    with pb.enable_x64():
        left, right, b = data((shape[0], 2), dtype), data((2, shape[1]), dtype), data((shape[0], 2), dtype)
        check_grads(lambda u, v: parts(ours.pinv(u @ v, 1e-8)), (left, right), order=2)
        check_grads(lambda u, v, b: parts(lstsq(u @ v, b, 1e-8)[0]), (left, right, b), order=2)
        check_grads(lambda a, b: parts(lstsq(a, b)[0]), (data(shape, dtype), b), order=1)
        check_grads(lambda a: lstsq(a, b)[3], (data(shape, dtype),), order=2)
        # equal singular values, whose vectors have no derivative
        check_grads(lambda a: parts(lstsq(a, b)[0]), (np.eye(*shape, dtype=dtype),), order=2)


def test_derivatives_of_hermitian_ones():
    def function(x):
        x = x + pnp.conj(x).T
        u, s, vh = ours.svd(x, hermitian=True)
        return (
            s,
            ours.svd(x, compute_uv=False, hermitian=True),
            parts(ours.pinv(x, hermitian=True)),
            parts((u * pnp.arange(3.0)) @ vh),
        )

    with pb.enable_x64():
        check_grads(function, (data((3, 3), "complex128") + 3 * np.eye(3),), order=1)


def test_repeated_values():
    eye = pnp.eye(3)
    for function in (
        lambda x: ours.eigvalsh(x).sum(),
        lambda x: ours.svdvals(x).sum(),
        lambda x: ours.singular_norm(x, "nuc"),
        lambda x: pnp.real(ours.eigvals(x)).sum(),
        lambda x: 3 * ours.singular_norm(x, 2),
        lambda x: 3 * ours.singular_norm(x, -2),
    ):
        close(pb.grad(function)(eye), np.asarray(eye))
        close(pb.grad(pb.jit(function))(eye), np.asarray(eye))
    close(pb.grad(ours.cond)(eye), np.zeros((3, 3), "float32"))
    close(pb.grad(lambda x: ours.pinv(x).sum())(eye), -np.ones((3, 3), "float32"))
    close(pb.grad(lambda x: ours.singular_norm(x, "nuc"))(0 * eye), np.asarray(eye))


def test_transformations_together():
    x = data((4, 3, 2))

    def function(x):
        return ours.pinv(x).sum() + ours.singular_norm(x, 2) + lstsq(x, x[:, 0] + 1)[0].sum()

    expected = np.stack([np.asarray(pb.grad(function)(row)) for row in x])
    total = pb.grad(lambda x: pb.vmap(pb.jit(function))(x).sum())
    np.testing.assert_allclose(total(x), expected, rtol=1e-3, atol=1e-3)
    agree(pb.vmap(ours.pinv), jax.vmap(theirs.pinv), x, scale=100)


# --- SciPy's names ---


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_scipy(dtype):
    x, a, b = data((4, 3), dtype), data((3, 3), dtype), data((3, 3), dtype)
    a, b = a + a.conj().T, b @ b.conj().T + np.eye(3, dtype=dtype)
    for mode in ("full", "economic", "r"):
        for pivoting in (False, True):
            agree(scipy_linalg.qr, scipy.linalg.qr, x, mode=mode, pivoting=pivoting)
    agree(scipy_linalg.svd, scipy.linalg.svd, x)
    agree(scipy_linalg.svdvals, scipy.linalg.svdvals, x)
    agree(scipy_linalg.eigvalsh, scipy.linalg.eigvalsh, a)
    for type in (1, 2, 3):
        w, v = scipy_linalg.eigh(a, b, type=type)
        expected = scipy.linalg.eigh(a, b, type=type)
        np.testing.assert_allclose(w, expected[0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(np.abs(v), np.abs(expected[1]), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(scipy_linalg.eigh(a, b, eigvals_only=True, type=type), w, rtol=1e-4, atol=1e-4)


def test_derivatives_in_both_matrices():
    with pb.enable_x64():
        a, b = data((3, 3), "float64"), data((3, 3), "float64")
        check_grads(lambda a, b: scipy_linalg.eigvalsh(a, b, type=1), (a, b @ b.T + np.eye(3)), order=1)


# --- errors ---


def test_errors():
    x = np.ones((2, 3), "float32")
    for function in (ours.eigh, ours.eigvalsh, ours.eig, ours.eigvals, scipy_linalg.eigh):
        with pytest.raises(ValueError, match=rf"{function.__name__}: expected square matrices.*a, got shape \(2, 3\)"):
            function(x)
    for function in (ours.qr, ours.svd, ours.svdvals, ours.pinv, ours.cond, scipy_linalg.qr, scipy_linalg.svdvals):
        with pytest.raises(ValueError, match=rf"{function.__name__}: expected matrices.*a, got shape \(3,\)"):
            function(x[0])
        with pytest.raises(TypeError, match=rf"{function.__name__}: expected float32.*got f16\[2,3\].*astype"):
            function(x.astype("float16"))
    for call, message in (
        (lambda: ours.qr(x, "economic"), r"qr: mode must be 'reduced'.*got 'economic'"),
        (lambda: ours.eigh(x[:, :2], "X"), r"eigh: UPLO must be 'L', 'U' or None, got 'X'"),
        (lambda: ours.cond(x, 3), r"cond: p must be None.*got 3"),
        (lambda: ours.cond(x, 1), r"cond: expected square matrices"),
        (lambda: ours.cond(x[:0]), r"cond: expected matrices with elements, got shape \(0, 3\)"),
        (lambda: ours.matrix_rank(x, 0.1, tol=0.1), r"matrix_rank: expected rtol or tol, not both"),
        (lambda: ours.pinv(x, 0.1, rcond=0.1), r"pinv: expected rtol or rcond"),
        (lambda: ours.pinv(x, np.ones(2)), r"pinv: the tolerance must be a number or broadcast.*got shape \(2,\)"),
        (lambda: lstsq(x, x[0]), r"lstsq: expected a of shape \(m, n\).*got \(2, 3\) and \(3,\)"),
        (lambda: lstsq(x[None], x[0]), r"lstsq: expected a of shape \(m, n\).*vmap"),
        (lambda: ours.singular_norm(pnp.zeros((0, 3)), -2), r"norm: a matrix without elements"),
        (lambda: scipy_linalg.qr(x, mode="raw"), r"qr: mode must be 'full', 'economic' or 'r', got 'raw'"),
        (lambda: scipy_linalg.svd(x, lapack_driver="qr"), r"svd: lapack_driver must be.*got 'qr'"),
        (lambda: scipy_linalg.eigh(x[:, :2], type=4), r"eigh: type must be 1, 2 or 3, got 4"),
        (lambda: scipy_linalg.eigh(x[:, :2], np.eye(3)), r"eigh: expected b of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(NotImplementedError, match="eigh: eigvals="):
        scipy_linalg.eigh(x[:, :2], eigvals=(0, 1))
