"""Tridiagonal systems, Schur, Hessenberg and tridiagonal forms, reflections, updates, polar decompositions."""

import jax
import numpy as np
import pytest
from agreement import check_batching, check_derivative, close
from jax.lax import linalg as jll

import pullback as pb
from pullback import lax
from pullback.lax import linalg

rng = np.random.default_rng(0)
DTYPES = ["float32", "float64", "complex64", "complex128"]
TOLERANCE = {"float32": 2e-4, "complex64": 2e-4, "float64": 1e-10, "complex128": 1e-10}


def data(*shape, dtype="float32"):
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype.startswith("c") else x).astype(dtype)


def adjoint(x):
    return np.asarray(x).conj().swapaxes(-1, -2)


def tridiagonal_matrix(dl, d, du):
    n = d.shape[-1]
    a = np.zeros((*d.shape, n), d.dtype)
    for i in range(n):
        a[..., i, i] = d[..., i]
        if i:
            a[..., i, i - 1] = dl[..., i]
            a[..., i - 1, i] = du[..., i - 1]
    return a


# --- tridiagonal systems ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 2, 6])
def test_tridiagonal_systems(n, dtype):
    with pb.enable_x64():
        dl, du = data(3, n, dtype=dtype), data(3, n, dtype=dtype)
        d, b = data(3, n, dtype=dtype) + 3, data(3, n, 2, dtype=dtype)
        expected = np.linalg.solve(tridiagonal_matrix(dl, d, du), b) if n else b
        for run in (linalg.tridiagonal_solve, pb.jit(linalg.tridiagonal_solve)):
            x = run(dl, d, du, b)
            assert x.dtype == dtype
            np.testing.assert_allclose(x, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_tridiagonal_systems_are_differentiated_and_batched():
    dl, d, du, b = data(4), data(4) + 4, data(4), data(4, 2)
    close(linalg.tridiagonal_solve(dl, d, du, b), jll.tridiagonal_solve(dl, d, du, b), 10)
    check_derivative(linalg.tridiagonal_solve, dl, d, du, b)
    for f in (
        lambda d, b: linalg.tridiagonal_solve(dl, d, du, b),
        lambda dl, du: linalg.tridiagonal_solve(dl, d, du, b),
    ):
        check_batching(f, *((d, b) if f.__code__.co_varnames[0] == "d" else (dl, du)))
    # the elements outside of the matrix have no influence
    gradient = pb.grad(lambda dl, du: linalg.tridiagonal_solve(dl, d, du, b).sum(), (0, 1))(dl, du)
    assert gradient[0][0] == 0 == gradient[1][-1]
    ct = data(4, 2, dtype="complex64")
    z = data(4, dtype="complex64")
    back = pb.vjp(lambda b: linalg.tridiagonal_solve(z, d + 0j, z[::-1].copy(), b), ct)[1](ct)[0]
    matrix = tridiagonal_matrix(z, d + 0j, z[::-1].copy())
    np.testing.assert_allclose(back, np.linalg.solve(matrix.T, ct), rtol=1e-4)


def test_rows_are_exchanged_and_singular_matrices_give_nan():
    dl, d, du = np.array([0, 1.0], "float32"), np.zeros(2, "float32"), np.array([2, 0.0], "float32")
    for run in (linalg.tridiagonal_solve, pb.jit(linalg.tridiagonal_solve)):
        np.testing.assert_array_equal(run(dl, d, du, np.array([[4.0], [3]], "float32")), [[3], [2]])
        assert np.isnan(run(d, d, d, np.ones((2, 1), "float32"))).all()
        both = run(np.stack([dl, d]), np.stack([d, d]), np.stack([du, d]), np.ones((2, 2, 1), "float32"))
        assert np.isfinite(both[0]).all()
        assert np.isnan(both[1]).all()


# --- decompositions ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 2, 6])
def test_schur(n, dtype):
    with pb.enable_x64():
        x = data(2, n, n, dtype=dtype)
        for run in (linalg.schur, pb.jit(linalg.schur)):
            t, q = run(x)
            np.testing.assert_allclose(q @ t @ adjoint(q), x, atol=10 * TOLERANCE[dtype])
            np.testing.assert_allclose(q @ adjoint(q), np.broadcast_to(np.eye(n), x.shape), atol=10 * TOLERANCE[dtype])
            below = np.tril(np.asarray(t), -1 if dtype.startswith("c") else -2)
            np.testing.assert_array_equal(below, 0)
        (alone,) = linalg.schur(x, compute_schur_vectors=False)
        np.testing.assert_allclose(alone, linalg.schur(x)[0], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 2, 6])
def test_hessenberg(n, dtype):
    with pb.enable_x64():
        x = data(2, n, n, dtype=dtype)
        for run in (linalg.hessenberg, pb.jit(linalg.hessenberg)):
            stored, taus = run(x)
            assert taus.shape == (2, max(n - 1, 0))
            if n < 2:
                np.testing.assert_array_equal(stored, x)
                continue
            q = np.broadcast_to(np.eye(n, dtype=dtype), x.shape).copy()
            q[:, 1:, 1:] = linalg.householder_product(stored[:, 1:, :-1], taus)
            np.testing.assert_allclose(q @ np.triu(stored, -1) @ adjoint(q), x, atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tridiagonal_forms(dtype, lower):
    with pb.enable_x64():
        x = data(2, 5, 5, dtype=dtype)
        x = x + adjoint(x)
        half = np.tril(x) if lower else np.triu(x)
        for run in (linalg.tridiagonal, pb.jit(linalg.tridiagonal, static_argnames="lower")):
            stored, d, e, taus = run(half, lower=lower)
            assert (d.dtype, e.dtype, taus.dtype) == (x.real.dtype, x.real.dtype, x.dtype)
            t = np.stack(
                [np.diag(a) + np.diag(b, 1) + np.diag(b, -1) for a, b in zip(np.asarray(d), np.asarray(e), strict=True)]
            )
            np.testing.assert_allclose(np.linalg.eigvalsh(t), np.linalg.eigvalsh(x), atol=10 * TOLERANCE[dtype])
            np.testing.assert_allclose(np.diagonal(np.asarray(stored), 0, 1, 2).real, d, atol=TOLERANCE[dtype])
    for n in (0, 1):
        parts = linalg.tridiagonal(np.ones((n, n), "complex64"))
        assert [p.shape for p in parts] == [(n, n), (n,), (0,), (0,)]
        assert [p.shape for p in pb.jit(linalg.tridiagonal)(np.ones((n, n), "complex64"))] == [(n, n), (n,), (0,), (0,)]


def test_they_are_jax_s():
    x = data(4, 4)
    for got, expected in zip(linalg.hessenberg(x), jll.hessenberg(x), strict=True):
        close(got, expected, 10)
    for got, expected in zip(linalg.tridiagonal(x + x.T), jll.tridiagonal(x + x.T), strict=True):
        close(got, expected, 10)
    for got, expected in zip(linalg.schur(x), jll.schur(x), strict=True):
        close(got, expected, 100)


@pytest.mark.parametrize("name", ["schur", "hessenberg", "tridiagonal"])
def test_nan_stacks_and_refused_derivatives(name):
    f = getattr(linalg, name)
    x = np.full((2, 3, 3), np.nan, "float32")
    x[1] = np.eye(3)
    for run in (f, pb.jit(f)):
        parts = run(x)
        assert all(np.isnan(p[0]).all() for p in parts)
        assert all(np.isfinite(p[1]).all() for p in parts)
    mapped = pb.vmap(f, 1)(np.stack([np.eye(3, dtype="float32")] * 2, 1))
    close(mapped[0], np.stack([f(np.eye(3, dtype="float32"))[0]] * 2))
    with pytest.raises(NotImplementedError, match=f"{name} has no derivative"):
        pb.grad(lambda x: f(x)[0].sum())(np.eye(3, dtype="float32"))
    assert pb.grad(lambda x: f(lax.stop_gradient(x))[0].sum() + x[0, 0])(np.eye(3, dtype="float32"))[0, 0] == 1


# --- reflections ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("left", "transpose"), [(a, b) for a in (True, False) for b in (True, False)])
def test_products_with_reflections(dtype, left, transpose):
    with pb.enable_x64():
        stored, taus = map(np.asarray, (data(2, 5, 3, dtype=dtype), data(2, 3, dtype=dtype)))
        square = np.concatenate([stored, np.zeros((2, 5, 2), dtype)], -1)
        q = np.asarray(linalg.householder_product(square, taus))
        q = adjoint(q) if transpose else q
        c = data(2, *((5, 4) if left else (4, 5)), dtype=dtype)
        for run in (linalg.ormqr, pb.jit(linalg.ormqr, static_argnames=("left", "transpose"))):
            got = run(stored, taus, c, left=left, transpose=transpose)
            size = np.abs(q).max() * 10
            np.testing.assert_allclose(
                got, q @ c if left else c @ q, atol=size * TOLERANCE[dtype], rtol=TOLERANCE[dtype]
            )


def test_reflections_are_jax_s_and_differentiated():
    h, taus = np.linalg.qr(data(4, 3), mode="raw")
    h, taus = h.T.astype("float32"), taus.astype("float32")
    c = data(4, 2)
    close(linalg.ormqr(h, taus, c), jll.ormqr(h, taus, c), 10)
    check_derivative(linalg.ormqr, h, taus, c)
    check_batching(lambda c: linalg.ormqr(h, taus, c), c)
    close(linalg.ormqr(h[:, :0], taus[:0], c), c)


# --- updates ---


def test_symmetric_products():
    a, c = data(2, 3, 4), data(2, 3, 3)
    for options in ({}, {"alpha": 2.0}, {"alpha": 0.5, "beta": -1.0}):
        expected = options.get("alpha", 1) * a @ a.swapaxes(-1, -2) + options.get("beta", 0) * c
        close(linalg.symmetric_product(a, c, **options), expected.astype("float32"), 10)
        low = np.tril(expected)
        whole = linalg.symmetric_product(a, c, symmetrize_output=True, **options)
        np.testing.assert_allclose(whole, low + np.tril(low, -1).swapaxes(-1, -2), rtol=1e-4, atol=1e-5)
    check_derivative(lambda a, c: linalg.symmetric_product(a, c, beta=2.0), a, c)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_updates_of_a_cholesky_factor(n):
    a = data(n, n)
    r = np.linalg.cholesky(a @ a.T + 2 * np.eye(n, dtype="float32")).T.astype("float32")
    w = data(n)
    expected = np.linalg.cholesky(r.T @ r + np.outer(w, w)).T
    for run in (linalg.cholesky_update, pb.jit(linalg.cholesky_update)):
        np.testing.assert_allclose(run(r, w), expected, rtol=1e-4, atol=1e-5)
    if n:
        check_derivative(linalg.cholesky_update, r, w)
        check_batching(linalg.cholesky_update, r, w)
        np.testing.assert_allclose(linalg.cholesky_update(r, w), jll.cholesky_update(r, w), rtol=1e-4, atol=1e-5)


def test_updates_of_singular_and_of_negative_factors():
    np.testing.assert_array_equal(linalg.cholesky_update(np.zeros((2, 2)), np.zeros(2)), np.zeros((2, 2)))
    np.testing.assert_allclose(
        linalg.cholesky_update(-np.eye(2), np.ones(2)),
        jll.cholesky_update(-np.eye(2, dtype="float32"), np.ones(2, "float32")),
    )


# --- polar decompositions ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (2, 5, 3), (4, 0)])
def test_polar_decompositions(shape, dtype):
    with pb.enable_x64():
        x = data(*shape, dtype=dtype)
        for run in (linalg.qdwh, pb.jit(linalg.qdwh)):
            u, h, count, converged = run(x)
            np.testing.assert_allclose(u @ np.asarray(h), x, atol=10 * TOLERANCE[dtype])
            np.testing.assert_allclose(
                adjoint(u) @ u, np.broadcast_to(np.eye(shape[-1]), h.shape), atol=TOLERANCE[dtype]
            )
            np.testing.assert_array_equal(h, adjoint(h))
            assert (int(count), bool(converged)) == (0, True)


def test_polar_decompositions_are_differentiated_also_at_equal_singular_values():
    for x in (data(3, 3), data(4, 2), 2 * np.eye(3, dtype="float32")):
        check_derivative(lambda x: linalg.qdwh(x)[0], x)
        check_derivative(lambda x: linalg.qdwh(x)[1], x)
    check_batching(lambda x: linalg.qdwh(x)[1], data(3, 2))
    u, h, _, _ = jll.qdwh(jax.numpy.asarray(data(3, 3)))
    assert u.shape == h.shape


# --- implementations and refusals ---


def test_implementations_by_name():
    x = np.eye(2, dtype="float32")
    for name, kind in (("eigh", "EighImplementation"), ("eig", "EigImplementation")):
        assert {*getattr(linalg, kind).__members__} == {*getattr(jll, kind).__members__}
        getattr(linalg, name)(x, implementation=None)
    assert {*linalg.SvdAlgorithm.__members__} == {*jll.SvdAlgorithm.__members__}
    linalg.eigh(x, implementation=linalg.EighImplementation.QR)
    linalg.eig(x, implementation=linalg.EigImplementation.LAPACK, use_magma=False)
    linalg.svd(x, algorithm=linalg.SvdAlgorithm.QR)
    linalg.qr(x, use_magma=None)


X = np.eye(3, dtype="float32")
REFUSED = [
    (lambda: linalg.eigh(X, implementation=linalg.EighImplementation.JACOBI), NotImplementedError, r"eigh: .*\['QR'\]"),
    (lambda: linalg.eig(X, implementation="lapack"), NotImplementedError, r"eig: .*\['LAPACK'\]"),
    (lambda: linalg.svd(X, algorithm=linalg.SvdAlgorithm.POLAR), NotImplementedError, "svd: expected None or one of"),
    (lambda: linalg.qr(X, use_magma=True), NotImplementedError, "qr: use_magma is about GPUs"),
    (lambda: linalg.tridiagonal_solve(X[0], X[0], X[0], X[0]), ValueError, "tridiagonal_solve: expected diagonals"),
    (lambda: linalg.tridiagonal_solve(X[0], X[0], X[0], X > 0), TypeError, "operands of one dtype"),
    (lambda: linalg.tridiagonal_solve(*X, X, perturb_singular=True), NotImplementedError, "perturb_singular"),
    (lambda: linalg.schur(X[:2]), ValueError, "schur: expected square matrices"),
    (lambda: linalg.schur(X, sort_eig_vals=True), NotImplementedError, "schur: the order of the eigenvalues"),
    (lambda: linalg.hessenberg(X > 0), TypeError, "hessenberg: expected float32"),
    (lambda: linalg.ormqr(X, X[0], X[:2]), ValueError, "ormqr: expected a"),
    (lambda: linalg.ormqr(X, X[0], X + 0j), TypeError, "ormqr: operands must have one dtype"),
    (lambda: linalg.symmetric_product(X, X[:2]), ValueError, "symmetric_product: expected a"),
    (lambda: linalg.cholesky_update(X, X[0, :2]), ValueError, "cholesky_update: expected a matrix"),
    (lambda: linalg.cholesky_update(X + 0j, X[0] + 0j), TypeError, "cholesky_update: expected real numbers"),
    (lambda: linalg.qdwh(X[:2]), ValueError, "qdwh: expected matrices with at least as many rows"),
    (lambda: linalg.qdwh(X, dynamic_shape=(2, 2)), NotImplementedError, "dynamic_shape must be None"),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
