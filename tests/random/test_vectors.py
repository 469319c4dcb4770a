"""multivariate_normal and orthogonal: JAX's numbers, their moments, derivatives, refusals."""

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import random
from pullback.test_util import check_grads

RNG = np.random.default_rng(0)
A = RNG.standard_normal((4, 3, 3)).astype(np.float32)
COV = A @ A.transpose(0, 2, 1) + np.eye(3, dtype=np.float32)
MEAN = RNG.standard_normal((4, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("mean", "cov", "shape"),
    [
        (MEAN[0], COV[0], None),
        (MEAN[0], COV, None),
        (MEAN, COV[0], (2, 4)),
        (MEAN[:1], COV[:1], (4,)),
        (np.array([1, 2, 3]), COV[0], (5,)),
    ],
)
def test_the_numbers_are_those_of_jax(mean, cov, shape):
    expected = jax.random.multivariate_normal(jax.random.key(7), mean, cov, shape)
    got = random.multivariate_normal(random.key(7), mean, cov, shape)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["eigh", "svd"])
def test_factors_of_singular_matrices(method):
    expected = jax.random.multivariate_normal(jax.random.key(7), MEAN[0], COV[0], method=method)
    np.testing.assert_allclose(
        random.multivariate_normal(random.key(7), MEAN[0], COV[0], method=method), expected, rtol=1e-4, atol=1e-4
    )
    singular = np.outer(MEAN[0], MEAN[0])
    x = random.multivariate_normal(random.key(7), MEAN[0], singular, (4,), method=method)
    np.testing.assert_allclose(np.linalg.matrix_rank(np.asarray(x), tol=1e-2), 1)
    assert np.isfinite(x).all()


@pytest.mark.parametrize("method", ["cholesky", "eigh", "svd"])
def test_moments(method):
    x = random.multivariate_normal(random.key(1), MEAN[0], COV[0], (100_000,), method=method)
    np.testing.assert_allclose(x.mean(0), MEAN[0], atol=0.05)
    np.testing.assert_allclose(np.cov(np.asarray(x).T), COV[0], atol=0.1)


def test_dtypes():
    half = random.multivariate_normal(random.key(0), MEAN[0].astype(np.float16), COV[0], dtype=np.float16)
    assert half.dtype == np.float16
    with pb.enable_x64(True):
        assert random.multivariate_normal(random.key(0), MEAN[0], COV[0]).dtype == np.float64


def test_derivatives_and_batches():
    def fun(mean, a):
        return random.multivariate_normal(random.key(0), mean, a @ a.T + pnp.eye(3), (2,))

    with pb.enable_x64(True):
        check_grads(fun, (np.float64(MEAN[0]), np.float64(A[0])), order=2)
    keys = random.split(random.key(0), 4)
    got = pb.jit(pb.vmap(random.multivariate_normal))(keys, MEAN, COV)
    np.testing.assert_allclose(got[2], random.multivariate_normal(keys[2], MEAN[2], COV[2]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("args", "settings", "error", "match"),
    [
        ((0.0, COV[0]), {}, ValueError, r"expected mean of shape \(\.\.\., n\) and cov .* got \(\) and \(3, 3\)"),
        ((MEAN[0, :2], COV[0]), {}, ValueError, r"got \(2,\) and \(3, 3\)"),
        ((MEAN[0, :1], COV[0]), {}, ValueError, r"got \(1,\) and \(3, 3\)"),
        ((MEAN, COV, (2,)), {}, ValueError, r"must broadcast to shape \(2,\); got mean of shape \(4, 3\)"),
        ((MEAN[:3], COV), {}, ValueError, "do not broadcast"),
        ((MEAN[0], COV[0]), {"method": "lu"}, ValueError, "method must be one of 'cholesky'.*, got 'lu'"),
        ((MEAN[0], COV[0]), {"dtype": np.int32}, ValueError, "dtype must be a floating-point dtype"),
        ((MEAN[0] * 1j, COV[0]), {}, TypeError, "mean must be real"),
        (([0, 0], COV[0]), {}, TypeError, r"mean must be a number or an array, got \[0, 0\]"),
    ],
)
def test_refusals(args, settings, error, match):
    with pytest.raises(error, match=f"multivariate_normal: .*{match}"):
        random.multivariate_normal(random.key(0), *args, **settings)


@pytest.mark.parametrize(
    ("n", "m", "shape", "dtype"), [(3, None, (), np.float32), (2, 3, (2,), np.float32), (3, 2, (), np.complex64)]
)
def test_orthogonal_matrices_are_those_of_jax(n, m, shape, dtype):
    got = random.orthogonal(random.key(3), n, shape, dtype, m)
    expected = jax.random.orthogonal(jax.random.key(3), n, shape, dtype, m)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    x = np.asarray(got)
    gram = x @ x.conj().swapaxes(-1, -2) if n <= (m or n) else x.conj().swapaxes(-1, -2) @ x
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(min(n, m or n)), gram.shape), atol=1e-5)


def test_orthogonal_refusals():
    with pytest.raises(ValueError, match="orthogonal: n and m must not be negative, got -1 and -1"):
        random.orthogonal(random.key(0), -1)
    with pytest.raises(TypeError, match="orthogonal: n must be an integer, got 2"):
        random.orthogonal(random.key(0), 2.0)
    with pytest.raises(ValueError, match=r"orthogonal: dtype must be floating or complex, .* got float16"):
        random.orthogonal(random.key(0), 2, dtype=np.float16)
