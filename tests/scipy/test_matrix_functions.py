"""Functions and forms of matrices, and Sylvester's equation, of scipy.linalg: SciPy's values, derivatives, edges."""

import numpy as np
import pytest
import scipy.linalg
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy import linalg
from pullback.test_util import check_grads

RNG = np.random.default_rng(0)
KINDS = ("real", "complex")


@pytest.fixture(autouse=True)
def double():
    with pb.enable_x64():
        yield


def matrix(kind, *shape):
    x = RNG.standard_normal(shape)
    return x + 1j * RNG.standard_normal(shape) if kind == "complex" else x


def parts(function):
    """The real and imaginary parts of all results, for differences."""

    def real(*args):
        leaves = pb.tree.leaves(function(*args))
        return [pnp.real(x) for x in leaves] + [pnp.imag(x) for x in leaves]

    return real


def near(got, expected, tolerance=1e-12):
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_sylvesters_equation(kind):
    a, b, c = matrix(kind, 4, 4), matrix(kind, 3, 3), matrix(kind, 4, 3)
    for run in (linalg.solve_sylvester, pb.jit(linalg.solve_sylvester)):
        x = run(a, b, c)
        assert x.dtype == c.dtype
        near(a @ x + x @ b, c)
    near(linalg.solve_sylvester(np.stack([a, 2 * a]), b, c)[0], np.asarray(x))
    near(pb.vmap(linalg.solve_sylvester, (0, None, None))(np.stack([a, 2 * a]), b, c)[0], np.asarray(x))
    check_grads(parts(linalg.solve_sylvester), (a, b, c), order=1, rtol=1e-4, atol=1e-4)
    assert np.isnan(linalg.solve_sylvester(np.eye(2), -np.eye(2), np.eye(2))).all()
    assert linalg.solve_sylvester(np.zeros((0, 0)), b, np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_square_roots(kind):
    a = matrix(kind, 4, 4)
    for x in (a, a @ a.conj().T, np.stack([a, a + np.eye(4)])):
        root = linalg.sqrtm(x)
        assert root.dtype == "complex128"
        near(root @ root, x.astype("complex128"), 1e-11)
    near(pb.jit(linalg.sqrtm)(a), scipy.linalg.sqrtm(a).astype("complex128"), 1e-11)
    check_grads(parts(linalg.sqrtm), (a + 3 * np.eye(4),), order=2, rtol=1e-4, atol=1e-4)
    assert linalg.sqrtm(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]
    assert np.isnan(linalg.sqrtm(np.array([[0.0, 1], [0, 0]]))).any()
    assert linalg.sqrtm(np.diag([-4.0, 1])).tolist() == [[2j, 0], [0, 1]]
    assert linalg.sqrtm(np.zeros((0, 0))).shape == (0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_functions_of_matrices(kind):
    a = matrix(kind, 4, 4)
    exact = scipy.linalg.expm(a).astype("complex128")
    near(linalg.funm(a, pnp.exp), exact, 1e-10)
    near(pb.jit(lambda a: linalg.funm(a, pnp.exp))(a), exact, 1e-10)
    _value, error = linalg.funm(a, pnp.exp, disp=False)
    assert 0 < error < 1e-10
    check_grads(parts(lambda a: linalg.funm(a, pnp.sin)), (a,), order=1, rtol=1e-4, atol=1e-4)
    # equal eigenvalues, with and without a basis of vectors
    q = np.linalg.qr(matrix(kind, 4, 4))[0]
    twice = q @ np.diag([1.0, 1, 2, 2]) @ q.conj().T
    near(linalg.funm(twice, pnp.exp), scipy.linalg.expm(twice).astype("complex128"), 1e-10)
    block = np.array([[2.0, 1], [0, 2]])
    near(linalg.funm(block, pnp.exp), scipy.linalg.expm(block).astype("complex128"), 1e-8)

    def scaled(c):
        return linalg.funm(a, lambda x: pnp.exp(c * x)).real.sum()

    assert pb.grad(scaled)(1.0) == pytest.approx((a @ exact).real.sum())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3)])
def test_polar_forms(shape, kind):
    a = matrix(kind, *shape)
    for side in ("right", "left"):
        for ours, exact in zip(linalg.polar(a, side), scipy.linalg.polar(a, side), strict=True):
            near(ours, exact)
        check_grads(parts(lambda a, s=side: linalg.polar(a, s)), (a,), order=1, rtol=1e-4, atol=1e-4)
    assert linalg.polar(np.stack([a, a]), "left")[0].shape == (2, *shape)


@pytest.mark.parametrize("kind", KINDS)
def test_triangular_and_hessenberg_forms(kind):
    a = matrix(kind, 5, 5)
    for output in ("real", "complex"):
        t, z = linalg.schur(a, output)
        near(z @ t @ z.conj().T, a.astype(t.dtype))
        assert t.dtype == ("float64" if output == kind == "real" else "complex128")
    if kind == "real":
        t, z = linalg.rsf2csf(*linalg.schur(a))
        near(z @ t @ z.conj().T, a.astype("complex128"))
        assert not np.tril(t, -1).any()
        real = tuple(np.asarray(x) for x in linalg.schur(a))
        for ours, exact in zip(linalg.rsf2csf(*real), scipy.linalg.rsf2csf(*real), strict=True):
            near(ours, exact)
        stacked = pb.vmap(linalg.rsf2csf)(*(np.stack([x, x]) for x in real))
        near(stacked[0][1], t)
    near(linalg.hessenberg(a), scipy.linalg.hessenberg(a))
    for ours, exact in zip(linalg.hessenberg(a, calc_q=True), scipy.linalg.hessenberg(a, calc_q=True), strict=True):
        near(ours, exact)
    assert linalg.hessenberg(np.stack([a, a]), calc_q=True)[1].shape == (2, 5, 5)
    for n in (0, 1):
        assert [x.shape for x in linalg.hessenberg(np.zeros((n, n)), calc_q=True)] == [(n, n)] * 2
    with pytest.raises(NotImplementedError, match="schur"):
        pb.jvp(linalg.schur, (a,), (a,))


def test_refusals():
    square, other = np.eye(2), np.ones((2, 3))
    with raises(ValueError, "schur: output must be 'real' or 'complex', got 'upper'"):
        linalg.schur(square, "upper")
    with raises(ValueError, "polar: side must be 'right' or 'left', got 'both'"):
        linalg.polar(square, "both")
    with raises(ValueError, "polar: method must be 'qdwh' or 'svd', got 'newton'"):
        linalg.polar(square, method="newton")
    with raises(ValueError, "solve_sylvester: C must have shape (..., 2, 2), got (2, 3)"):
        linalg.solve_sylvester(square, square, other)
    with raises(ValueError, "solve_sylvester: method must be 'schur' or 'eigen', got 'lu'"):
        linalg.solve_sylvester(square, square, square, method="lu")
    with raises(NotImplementedError, "sqrtm: blocksize must be 1, got 64"):
        linalg.sqrtm(square, 64)
    with raises(ValueError, "funm: A must be one matrix, got shape (1, 2, 2)"):
        linalg.funm(square[None], pnp.exp)
    with raises(ValueError, "rsf2csf: T and Z must have one shape"):
        linalg.rsf2csf(square, np.eye(3))
    for function in (linalg.schur, linalg.hessenberg, linalg.sqrtm):
        with pytest.raises(ValueError, match=function.__name__):
            function(other)
