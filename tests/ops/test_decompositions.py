"""QR, Hermitian and general eigenvalues, singular values: factors, derivatives, and where there are none."""

import numpy as np
import pytest
from agreement import Sampler

import pullback as pb
import pullback.numpy as pnp
from pullback.lax import linalg
from pullback.test_util import check_grads

DTYPES = ["float32", "complex64"]
SHAPES = [(5, 3), (3, 5), (2, 4, 4), (1, 1), (0, 0), (2, 0, 3), (0, 3, 3), (3, 0)]
SQUARE = [shape for shape in SHAPES if shape[-1] == shape[-2]]
TOLERANCE = {"rtol": 1e-4, "atol": 2e-5}

data = Sampler()


def values(results):
    return [np.asarray(y) for y in results]


def adjoint(x):
    return np.conj(np.swapaxes(x, -1, -2))


def near(x, y):
    np.testing.assert_allclose(x, y, **TOLERANCE)


def orthonormal(x):
    near(adjoint(x) @ x, np.broadcast_to(np.eye(x.shape[-1]), (*x.shape[:-2], x.shape[-1], x.shape[-1])))


# --- factors ---


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_qr(shape, dtype, full):
    x = data(shape, dtype)
    m, n = shape[-2:]
    k = m if full else min(m, n)
    q, r = values(linalg.qr(x, full_matrices=full))
    assert (q.shape, r.shape, q.dtype, r.dtype) == ((*shape[:-1], k), (*shape[:-2], k, n), x.dtype, x.dtype)
    near(q @ r, x)
    orthonormal(q)
    np.testing.assert_array_equal(r, np.triu(r))
    np.testing.assert_array_equal(np.diagonal(r, axis1=-2, axis2=-1).imag, 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_pivoting(shape, dtype):
    x = data(shape, dtype)
    q, r, p = values(linalg.qr(x, pivoting=True, full_matrices=False))
    assert p.dtype == np.int32
    near(q @ r, np.take_along_axis(x, np.broadcast_to(p[..., None, :], x.shape), -1))
    sizes = abs(np.diagonal(r, axis1=-2, axis2=-1))
    assert (sizes[..., 1:] <= sizes[..., :-1] * 1.0001).all()


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_svd(shape, dtype, full):
    x = data(shape, dtype)
    u, s, vh = values(linalg.svd(x, full_matrices=full))
    expected = np.linalg.svd(x, full_matrices=full)
    assert [(y.shape, y.dtype) for y in (u, s, vh)] == [(y.shape, y.dtype) for y in expected]
    k = s.shape[-1]
    near((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], x)
    near(s, expected.S)
    near(np.asarray(linalg.svd(x, compute_uv=False)), s)
    orthonormal(u)
    orthonormal(adjoint(vh))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SQUARE)
def test_eigh(shape, dtype):
    x = data(shape, dtype)
    hermitian = (x + adjoint(x)) / 2
    v, w = values(linalg.eigh(x))
    assert (v.dtype, w.dtype, w.shape) == (x.dtype, x.real.dtype, shape[:-1])
    near(hermitian @ v, v * w[..., None, :])
    orthonormal(v)
    assert (np.diff(w) >= 0).all()
    for lower in (True, False):
        w = np.asarray(linalg.eigh(x, lower=lower, symmetrize_input=False)[1])
        near(w, np.linalg.eigvalsh(x, "L" if lower else "U"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SQUARE)
def test_eig(shape, dtype):
    x = data(shape, dtype)
    w, left, right = values(linalg.eig(x))
    assert {y.dtype for y in (w, left, right)} == {np.dtype("complex64")}
    near(x @ right, right * w[..., None, :])
    near(adjoint(left) @ x, w[..., None] * adjoint(left))
    (only_w,) = values(linalg.eig(x, compute_left_eigenvectors=False, compute_right_eigenvectors=False))
    near(np.sort_complex(only_w), np.sort_complex(w))


def everything(x):
    square = x.shape[-1] == x.shape[-2]
    return [
        *linalg.qr(x),
        *linalg.qr(x, full_matrices=False, pivoting=True),
        *linalg.svd(x, full_matrices=False),
        *linalg.svd(x),
        linalg.svd(x, compute_uv=False),
        *(linalg.eigh(x) if square else []),
        *(linalg.eig(x) if square else []),
    ]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((5, 3), "float32"),
        ((2, 3, 3), "float32"),
        ((2, 3, 3), "complex64"),
        ((2, 0, 3), "float32"),
        ((0, 0), "float32"),
    ],
)
def test_compiled_results_are_the_eager_ones(shape, dtype):
    """To the sign and the phase, since both call the same routines."""
    x = data(shape, dtype)
    for eager, compiled in zip(everything(x), pb.jit(everything)(x), strict=True):
        assert (eager.shape, eager.dtype) == (compiled.shape, compiled.dtype)
        near(np.asarray(eager), np.asarray(compiled))


def test_subsets():
    x = data((4, 4))
    v, w = linalg.eigh(x, subset_by_index=(1, 3))
    near(w, linalg.eigh(x)[1][1:3])
    near(v, linalg.eigh(x)[0][:, 1:3])
    u, s, vh = linalg.svd(x, full_matrices=False, subset_by_index=(0, 2))
    assert (u.shape, s.shape, vh.shape) == ((4, 2), (2,), (2, 4))
    near(linalg.svd(x, compute_uv=False, subset_by_index=(0, 2)), s)


def test_one_equation_each():
    x = data((3, 3))
    for function in (linalg.qr, linalg.eigh, linalg.svd, linalg.eig):
        name = function.__name__
        assert [e.primitive.name for e in pb.make_jaxpr(function)(x).eqns].count(name) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_gives_nan(bad):
    """And comes back: LAPACK may not return from such a matrix."""
    x = np.stack([data((5, 5)), np.eye(5, dtype="float32")])
    x[0, 3, 1] = bad

    def results(x):
        return [*linalg.eigh(x), *linalg.svd(x), linalg.svd(x, compute_uv=False), *linalg.eig(x)]

    for run in (results, pb.jit(results)):
        for y in values(run(x)):
            assert np.isnan(y[0]).all()
            assert np.isfinite(y[1]).all()


def test_householder_product():
    x = data((4, 3), "complex64")
    reflections, taus = np.linalg.qr(x, mode="raw")
    near(linalg.householder_product(reflections.T, taus), np.linalg.qr(x)[0])
    first = linalg.householder_product(reflections.T, taus[:1])
    orthonormal(np.asarray(first))
    near(first, pb.jit(linalg.householder_product)(reflections.T, taus[:1]))
    near(linalg.householder_product(np.ones((3, 2), "float32"), np.zeros((0,), "float32")), np.eye(3, 2))


# --- derivatives, of functions that do not depend on the choice of signs and phases ---


def parts(z):
    return (pnp.real(z), pnp.imag(z)) if np.dtype(z.dtype).kind == "c" else z


def hermitian_of(z):
    return pnp.conj(pnp.swapaxes(z, -1, -2))


def by_qr(full, pivoting):
    def function(x):
        q, r, *_ = linalg.qr(x, full_matrices=full, pivoting=pivoting)
        n = min(x.shape[-2:])
        rest = q[..., n:]
        return parts(q[..., :n]), parts(r), parts(rest @ hermitian_of(rest))

    return function


def by_svd(full):
    def function(x):
        u, s, vh = linalg.svd(x, full_matrices=full)
        k = s.shape[-1]
        left, right, weights = u[..., :k], vh[..., :k, :], pnp.arange(1.0, k + 1)
        beyond = (u[..., k:] @ hermitian_of(u[..., k:]), hermitian_of(vh[..., k:, :]) @ vh[..., k:, :])
        pairs = (left, right), (left, hermitian_of(left)), (hermitian_of(right), right)
        products = [(a * weights) @ b for a, b in pairs]
        return s, [parts(z) for z in (*products, *beyond)]

    return function


def by_eigh(lower, symmetrize):
    def function(x):
        v, w = linalg.eigh(x, lower=lower, symmetrize_input=symmetrize)
        return w, parts((v * pnp.arange(1.0, w.shape[-1] + 1)) @ hermitian_of(v))

    return function


def by_eig(x):
    # nothing is arbitrary: LAPACK makes the largest elements real
    return [parts(y) for y in linalg.eig(x)]


RULES = [
    (by_qr(False, False), (4, 3), "float64"),
    (by_qr(True, False), (4, 3), "complex128"),
    (by_qr(False, True), (3, 4), "complex128"),
    (by_qr(True, True), (2, 3, 2), "float64"),
    (by_svd(False), (4, 3), "float64"),
    (by_svd(True), (4, 3), "complex128"),
    (by_svd(False), (3, 4), "complex128"),
    (by_svd(True), (2, 2, 3), "float64"),
    (by_svd(False), (3, 3), "complex128"),
    (lambda x: linalg.svd(x, compute_uv=False), (4, 3), "complex128"),
    (by_eigh(True, True), (3, 3), "complex128"),
    (by_eigh(False, False), (3, 3), "complex128"),
    (by_eigh(True, False), (2, 2, 2), "float64"),
    (by_eig, (3, 3), "float64"),
    (by_eig, (2, 2), "complex128"),
    (
        lambda x: parts(linalg.eig(x, compute_left_eigenvectors=False, compute_right_eigenvectors=False)[0]),
        (3, 3),
        "float64",
    ),
]


@pytest.mark.parametrize(("function", "shape", "dtype"), RULES)
def test_derivatives(function, shape, dtype):
    with pb.enable_x64():
        check_grads(function, (Sampler(1)(shape, dtype),), order=2)


def test_derivatives_of_householder_products():
    with pb.enable_x64():
        reflections, taus = np.linalg.qr(data((4, 3), "complex128"), mode="raw")
        check_grads(lambda a, t: parts(linalg.householder_product(a, t)), (reflections.T.copy(), taus[:2]), order=2)


def test_compiled_derivatives_and_mapped_ones():
    x = data((4, 3, 3))

    def function(x):
        v, w = linalg.eigh(x)
        u, s, _ = linalg.svd(x)
        q, r = linalg.qr(x)
        values, vectors = linalg.eig(x, compute_left_eigenvectors=False)
        return ((v * w) @ v.T @ (u * s) @ u.T @ q @ r).sum() + (pnp.abs(vectors) * pnp.abs(values)).sum()

    expected = np.stack([np.asarray(pb.grad(function)(row)) for row in x])
    total = pb.grad(lambda x: pb.vmap(pb.jit(function))(x).sum())
    np.testing.assert_allclose(total(x), expected, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(pb.jit(total)(x), expected, rtol=2e-3, atol=2e-3)


def test_only_the_triangle_that_is_read_has_a_derivative():
    x = data((3, 3))
    g = pb.grad(lambda x: (linalg.eigh(x, symmetrize_input=False)[1] * pnp.arange(3.0)).sum())(x)
    np.testing.assert_array_equal(np.triu(g, 1), 0)
    assert (np.tril(g) != 0).sum() == 6


# --- repeated values ---


def test_repeated_values_have_a_derivative():
    eye = np.eye(3, dtype="float32")
    for transform in (lambda f: f, pb.jit):
        near(transform(pb.grad(lambda x: linalg.eigh(x)[1].sum()))(eye), eye)
        near(transform(pb.grad(lambda x: linalg.svd(x)[1].sum()))(2 * eye), eye)
        near(transform(pb.grad(lambda x: linalg.svd(x, compute_uv=False).sum()))(0 * eye), eye)
        near(transform(pb.grad(lambda x: pnp.real(linalg.eig(x)[0]).sum()))(eye), eye)
    # through zeros that are arrays, too
    near(pb.grad(lambda x: pb.lax.cond(True, linalg.eigh, linalg.eigh, x)[1].sum())(eye), eye)


def test_vectors_of_repeated_values_have_none_and_others_keep_theirs():
    x = np.diag([1.0, 1.0, 2.0, 4.0]).astype("float32")
    direction = data((4, 4))
    for transform in (lambda f: f, pb.jit):

        def vector(i, transform=transform):
            return transform(pb.grad(lambda x: (linalg.eigh(x)[0][:, i] * pnp.arange(1.0, 5.0)).sum()))

        assert np.isnan(vector(0)(x)).any()
        # the last vector turns to the i-th by x'[i, 3] / (4 - w[i])
        expected = np.zeros((4, 4), "float32")
        expected[:3, 3] = np.array([1.0, 2.0, 3.0]) / (4 - np.diag(x)[:3]) / 2
        near(vector(3)(x), expected + expected.T)
    tangent = np.asarray(pb.jvp(linalg.eigh, (x,), (direction,))[1][0])
    assert np.isnan(tangent[:2, :2]).all()
    assert np.isfinite(tangent[:, 2:]).all()
    # where the direction does not mix them they stay
    tangent = np.asarray(pb.jvp(linalg.eigh, (x,), (np.diag([1.0, 2.0, 3.0, 4.0]).astype("float32"),))[1][0])
    np.testing.assert_array_equal(tangent, 0)


def test_one_singular_value_of_zero_is_no_harm():
    with pb.enable_x64():

        def projector(x):
            v = linalg.svd(x)[2][2]
            return v[:, None] * v[None]

        check_grads(projector, (np.diag([2.0, 1.0, 0.0]),), order=2)


# --- errors ---


def test_errors():
    wide, vector, ints = np.ones((2, 3), "float32"), np.ones(3, "float32"), np.ones((2, 2), "int32")
    for function in (linalg.eigh, linalg.eig):
        with pytest.raises(ValueError, match=rf"{function.__name__}: expected square matrices.*got shape \(2, 3\)"):
            function(wide)
    for function in (linalg.qr, linalg.svd, linalg.eigh, linalg.eig):
        with pytest.raises(ValueError, match=rf"{function.__name__}: .*got shape \(3,\)"):
            function(vector)
        with pytest.raises(TypeError, match=rf"{function.__name__}: expected float32.*got i32\[2,2\].*astype"):
            function(ints)
    with pytest.raises(ValueError, match=r"svd: subset_by_index.*full_matrices=False"):
        linalg.svd(wide, subset_by_index=(0, 1))
    with pytest.raises(ValueError, match=r"svd: subset_by_index must be a pair.*got \(0, 3\)"):
        linalg.svd(wide, full_matrices=False, subset_by_index=(0, 3))
    with pytest.raises(TypeError, match=r"eigh: subset_by_index must be a pair of integers, got 1"):
        linalg.eigh(np.eye(2, dtype="float32"), subset_by_index=1)
    with pytest.raises(ValueError, match=r"householder_product: expected a of shape.*got \(2, 3\) and \(2,\)"):
        linalg.householder_product(wide, wide[:, 0])
    with pytest.raises(TypeError, match=r"householder_product: a and taus must have one dtype"):
        linalg.householder_product(wide.T, ints[0])
