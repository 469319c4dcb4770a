"""Matrices of scipy.linalg that few numbers give, against SciPy; the decompositions beside them."""

import jax.scipy.linalg
import numpy as np
import pytest
import scipy.linalg
from agreement import Sampler, check_derivative, close
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy import linalg

data = Sampler()
X = np.array([3.0, -1, 2, 5, 7, 1], "float32")


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
def test_matrices_of_a_vector(n):
    x = X[:n] if n <= 6 else np.arange(1, n + 1, dtype="float32")
    names = ["circulant", "hankel", "fiedler", "toeplitz", *(["companion", "fiedler_companion"] if n > 1 else [])]
    for name in names:
        ours, exact = getattr(linalg, name), getattr(scipy.linalg, name)
        close(ours(x), np.asarray(exact(x), "float32"))
        close(ours(np.stack([x, 2 * x + 1])), np.asarray(np.stack([exact(x), exact(2 * x + 1)]), "float32"))
        close(pb.jit(ours)(x), np.asarray(exact(x), "float32"))
        if name != "fiedler":
            check_derivative(ours, x / 10)
    for mode in ("full", "same", "valid"):
        for columns in (1, 3, 7):
            exact = scipy.linalg.convolution_matrix(x, columns, mode)
            close(linalg.convolution_matrix(x, columns, mode), np.asarray(exact, "float32"))
            v = np.arange(columns, dtype="float32")
            close(linalg.convolution_matrix(x, columns, mode) @ v, np.convolve(x, v, mode))
    if n > 1:
        close(linalg.leslie(x, x[1:]), scipy.linalg.leslie(x, x[1:]))
        check_derivative(linalg.leslie, x, x[1:])
    close(linalg.hankel(x, X), scipy.linalg.hankel(x, X))


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_matrices_of_a_number(n):
    with pb.enable_x64():
        close(linalg.hadamard(n), scipy.linalg.hadamard(n))
        close(linalg.helmert(n), scipy.linalg.helmert(n))
        close(linalg.helmert(n, full=True), scipy.linalg.helmert(n, full=True))
        close(linalg.hilbert(n), scipy.linalg.hilbert(n))
        close(linalg.invhilbert(min(n, 12)), scipy.linalg.invhilbert(min(n, 12)))
        for kind in ("symmetric", "lower", "upper"):
            np.testing.assert_array_equal(linalg.pascal(n, kind), scipy.linalg.pascal(n, kind).astype(float))
            np.testing.assert_array_equal(linalg.invpascal(n, kind), scipy.linalg.invpascal(n, kind).astype(float))
        for scale in (None, "sqrtn", "n"):
            close(linalg.dft(n, scale), scipy.linalg.dft(n, scale))
    assert linalg.dft(2).dtype == "complex64"
    assert linalg.pascal(0).shape == linalg.hilbert(0).shape == (0, 0)
    assert linalg.invhilbert(40)[20, 20] == np.inf


def test_dtypes_are_those_of_jax():
    whole = np.arange(1, 4)
    for name in ("circulant", "hankel", "fiedler", "companion", "fiedler_companion"):
        assert getattr(linalg, name)(whole).dtype == getattr(jax.scipy.linalg, name)(whole).dtype
    assert linalg.hadamard(4, "bfloat16").dtype == "bfloat16"


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3)])
def test_products_with_q(shape, dtype):
    m, k = shape[0], min(shape)
    a, b = data(shape, dtype), data((2, *shape), dtype)
    for conjugate in (False, True):
        for mode, c in (("right", data((5, m), dtype)), ("left", data((k, 5), dtype)), ("right", data((m,), dtype))):
            for pivoting in (False, True):
                got = linalg.qr_multiply(a, c, mode, pivoting, conjugate)
                expected = scipy.linalg.qr_multiply(a, c, mode, pivoting, conjugate)
                for ours, right in zip(got, expected, strict=True):
                    close(ours, right, 10)
    assert linalg.qr_multiply(b, data((5, m), dtype))[0].shape == (2, 5, k)


def test_tridiagonal_matrices():
    d, e = data((6,)), data((5,))
    values, vectors = (x.astype("float32") for x in scipy.linalg.eigh_tridiagonal(d, e))
    w, v = linalg.eigh_tridiagonal(d, e)
    close(w, values, 10)
    close(abs(np.asarray(v)), abs(vectors), 20)
    close(linalg.eigh_tridiagonal(d, e, eigvals_only=True, select="i", select_range=(1, 3)), values[1:4], 10)
    check_derivative(
        lambda d, e: linalg.eigh_tridiagonal(d, e, eigvals_only=True), 3 * np.arange(6, dtype="float32"), e
    )
    assert linalg.eigh_tridiagonal(np.ones((2, 3)), np.ones((2, 2)), eigvals_only=True).shape == (2, 3)
    assert linalg.eigh_tridiagonal(np.ones(1), np.ones(0))[0].tolist() == [1]


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_the_derivative_of_the_exponential(dtype):
    a, e = data((3, 3), dtype), data((3, 3), dtype)
    for ours, right in zip(linalg.expm_frechet(a, e), scipy.linalg.expm_frechet(a, e), strict=True):
        close(ours, right.astype(dtype), 20)
    close(linalg.expm_frechet(a, e, compute_expm=False), scipy.linalg.expm_frechet(a, e)[1].astype(dtype), 20)
    assert linalg.expm_frechet(np.stack([a, a]), e)[1].shape == (2, 3, 3)


def test_refusals():
    with raises(ValueError, "hadamard: n must be a power of two, got 3"):
        linalg.hadamard(3)
    with raises(ValueError, "companion: a must have at least 2 entries in the last axis, got (1,)"):
        linalg.companion(np.ones(1))
    with raises(ValueError, "leslie: s must have one entry less than f"):
        linalg.leslie(np.ones(3), np.ones(3))
    with raises(ValueError, "pascal: kind must be 'symmetric', 'lower' or 'upper', got 'middle'"):
        linalg.pascal(3, "middle")
    with raises(ValueError, "convolution_matrix: n must be at least 1, got 0"):
        linalg.convolution_matrix(np.ones(3), 0)
    with raises(ValueError, "dft: scale must be None, 'sqrtn' or 'n', got 'half'"):
        linalg.dft(3, "half")
    with raises(TypeError, "dft: dtype must be complex, got float32"):
        linalg.dft(3, dtype="float32")
    with raises(ValueError, "hilbert: n must be at least 0, got -1"):
        linalg.hilbert(-1)
    with raises(ValueError, "qr_multiply: mode must be 'left' or 'right', got 'middle'"):
        linalg.qr_multiply(np.eye(2), np.eye(2), "middle")
    with raises(ValueError, "qr_multiply: with mode 'right' c must have length 2 along its axis beside q"):
        linalg.qr_multiply(np.eye(2), np.eye(3))
    with raises(NotImplementedError, "eigh_tridiagonal: select='v' is not implemented"):
        linalg.eigh_tridiagonal(np.ones(2), np.ones(1), select="v")
    with raises(ValueError, "eigh_tridiagonal: e must have one entry less than d"):
        linalg.eigh_tridiagonal(np.ones(2), np.ones(2))
    with raises(ValueError, "eigh_tridiagonal: select_range must be two indices of 2 eigenvalues"):
        linalg.eigh_tridiagonal(np.ones(2), np.ones(1), select="i", select_range=(0, 2))
    assert pnp.asarray(linalg.helmert(1)).shape == (0, 1)
