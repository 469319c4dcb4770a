"""Products of sparse arrays: every layout and choice of axes against the product of the arrays, and derivatives."""

import itertools

import jax
import jax.experimental.sparse as jax_sparse
import numpy as np
import pytest
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.experimental import sparse
from pullback.experimental.sparse.linalg import lobpcg_standard, spsolve

RNG = np.random.default_rng(0)
X = (RNG.integers(-3, 4, (2, 3, 4)) * (RNG.random((2, 3, 4)) < 0.5)).astype(np.float32)
LAYOUTS = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (3, 0), (0, 3)]
# axes of X and of the other operand that are summed over, axes of the batch, and the shape of the other operand
PRODUCTS = {
    "last": (((2,), (0,)), ((), ()), (4, 5)),
    "first": (((0,), (1,)), ((), ()), (5, 2)),
    "two": (((1, 2), (1, 0)), ((), ()), (4, 3)),
    "all": (((0, 1, 2), (2, 1, 0)), ((), ()), (4, 3, 2)),
    "none": (((), ()), ((), ()), (2,)),
    "with a batch": (((2,), (1,)), ((0,), (0,)), (2, 4, 5)),
    "with another batch": (((0,), (0,)), ((2, 1), (2, 1)), (2, 3, 4)),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize(("n_batch", "n_dense"), LAYOUTS)
def test_a_sparse_array_and_an_array(name, n_batch, n_dense):
    """From either side; the derivatives are those of the array at the stored places."""
    contract, batch, shape = PRODUCTS[name]
    y = RNG.standard_normal(shape).astype(np.float32)
    mat = sparse.BCOO.fromdense(X, n_batch=n_batch, n_dense=n_dense)
    mat = mat.sum_duplicates(nse=mat.nse + 2)
    for swapped in (False, True):
        numbers = (contract[::-1], batch[::-1]) if swapped else (contract, batch)

        def product(mat, y, numbers=numbers, swapped=swapped):
            pair = (y, mat) if swapped else (mat, y)
            return sparse.bcoo_dot_general(*pair, dimension_numbers=numbers)

        expected = lax.dot_general(*((y, X) if swapped else (X, y)), numbers)
        np.testing.assert_allclose(product(mat, y), expected, rtol=1e-5, atol=1e-5)
        if swapped:
            continue
        weights = np.cos(np.arange(expected.size, dtype=np.float32)).reshape(expected.shape)

        def whole(x, y, numbers=numbers, weights=weights):
            return (lax.dot_general(x, y, numbers) * weights).sum()

        def stored(data, y, product=product, weights=weights):
            return (product(mat._with(data), y) * weights).sum()

        slopes = pb.grad(stored, (0, 1))(mat.data, y)
        expected_slopes = pb.grad(whole, (0, 1))(X, y)
        picked = sparse.bcoo_extract(mat, expected_slopes[0]).data
        inside = np.asarray(mat.indices) < np.array(mat._sparse_shape, int)
        mask = inside.all(-1).reshape(inside.shape[:-1] + (1,) * n_dense)
        np.testing.assert_allclose(np.where(mask, slopes[0], 0), np.where(mask, picked, 0), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(slopes[1], expected_slopes[1], rtol=1e-5, atol=1e-5)
        change = pb.jvp(stored, (mat.data, y), (slopes[0], y))[1]
        np.testing.assert_allclose(change, (slopes[0] ** 2).sum() + (slopes[1] * y).sum(), rtol=1e-4)


SPARSE_PRODUCTS = {name: PRODUCTS[name] for name in ("last", "first", "two", "all", "none", "with a batch")}


@pytest.mark.parametrize("name", SPARSE_PRODUCTS)
def test_two_sparse_arrays(name):
    contract, batch, shape = PRODUCTS[name]
    y = (RNG.integers(-3, 4, shape) * (RNG.random(shape) < 0.5)).astype(np.float32)
    fewest = len(batch[0])
    for n, m in itertools.product(range(fewest, 3), range(fewest, 2)):
        a, b = sparse.BCOO.fromdense(X, n_batch=n), sparse.BCOO.fromdense(y, n_batch=m)
        out = sparse.bcoo_dot_general(a + a, b, dimension_numbers=(contract, batch))
        np.testing.assert_allclose(out.todense(), lax.dot_general(2 * X, y, (contract, batch)), rtol=1e-5)
    theirs = jax_sparse.bcoo_dot_general(
        jax_sparse.BCOO.fromdense(X, n_batch=fewest),
        jax_sparse.BCOO.fromdense(y, n_batch=fewest),
        dimension_numbers=(contract, batch),
    )
    a, b = sparse.BCOO.fromdense(X, n_batch=fewest), sparse.BCOO.fromdense(y, n_batch=fewest)
    ours = sparse.bcoo_dot_general(a, b, dimension_numbers=(contract, batch))
    assert (ours.nse, ours.n_batch) == (theirs.nse, theirs.n_batch)


def test_operators():
    x = sparse.BCOO.fromdense(X[0])
    y = RNG.standard_normal((4, 5)).astype(np.float32)
    np.testing.assert_allclose(x @ y, X[0] @ y, rtol=1e-5)
    np.testing.assert_allclose(y.T @ x.T, y.T @ X[0].T, rtol=1e-5)
    np.testing.assert_allclose(pnp.ones(3) @ x, np.ones(3) @ X[0], rtol=1e-5)
    np.testing.assert_allclose((x @ x.T).todense(), X[0] @ X[0].T, rtol=1e-5)
    batch = sparse.BCOO.fromdense(X, n_batch=1)
    np.testing.assert_allclose(batch @ y, X @ y, rtol=1e-5)
    np.testing.assert_allclose(pb.jit(lambda a, b: a @ b)(x, y), X[0] @ y, rtol=1e-5)
    with raises(ValueError, "bcoo_dot_general", "(3, 4)", "(3, 4)"):
        sparse.bcoo_dot_general(x, x, dimension_numbers=(((1,), (0,)), ((), ())))
    with raises(NotImplementedError, "dense axes"):
        sparse.BCOO.fromdense(X, n_dense=1) @ x.T


@pytest.mark.parametrize(
    ("numbers", "b", "places"),
    [
        ((((1,), (0,)), ((), ())), (4, 5), (6, 2)),
        ((((1,), (0,)), ((), ())), (4, 5), (6, 1)),
        ((((1,), (0,)), ((), ())), (4, 5), (3, 2, 1)),
        ((((1,), (1,)), ((0,), (0,))), (3, 4, 2), (3, 6, 1)),
        ((((), ()), ((0,), (0,))), (3, 2), (6, 3)),
    ],
)
def test_a_sampled_product(numbers, b, places):
    a, b = RNG.standard_normal((3, 4)).astype(np.float32), RNG.standard_normal(b).astype(np.float32)
    indices = RNG.integers(0, 2, places).astype(np.int32)
    whole = lax.dot_general(a, b, numbers)
    n = len(places) - 2
    mat = sparse.BCOO(
        (np.zeros((*places[:-1], *whole.shape[n + places[-1] :]), np.float32), indices), shape=whole.shape
    )
    expected = sparse.bcoo_extract(mat, whole, assume_unique=True).data
    ours = sparse.bcoo_dot_general_sampled(a, b, indices, dimension_numbers=numbers)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


# --- functions of sparse arrays ---


def test_sparsify_through_calls_loops_and_branches():
    x = sparse.BCOO.fromdense(X[0])
    v = np.arange(4, dtype=np.float32)

    @pb.custom_jvp
    def doubled(m):
        return 2 * m

    doubled.defjvp(lambda primals, tangents: (doubled(*primals), doubled(*tangents)))

    def f(m, v):
        a = pb.jit(lambda m: m @ v)(doubled(m))
        b = lax.fori_loop(0, 3, lambda i, s: s + m @ v, pnp.zeros(3))
        c, _ = lax.scan(lambda c, t: (c + t * (m @ v), None), pnp.zeros(3), pnp.ones(2))
        d = lax.cond(v[0] > 1, lambda m: m @ v, lambda m: (2 * m) @ v, m)
        e = lax.while_loop(lambda s: s.sum() < 9, lambda s: s + 1 + 0 * (m @ v), pnp.zeros(3))
        return a + b + c + d + e, sparse.todense(m).max() + pnp.sin(m).T.sum()

    out, peak = sparse.sparsify(f)(x, v)
    expected, expected_peak = f(pnp.asarray(X[0]), v)
    np.testing.assert_allclose(out, expected, rtol=1e-5)
    np.testing.assert_allclose(peak, expected_peak, rtol=1e-5)
    with raises(NotImplementedError, "sparse rule for exp is not implemented because it would result in dense output"):
        sparse.sparsify(pnp.exp)(x)
    with raises(TypeError, "sparsify"):
        sparse.sparsify(3)


def test_derivatives_at_the_stored_places():
    x, y = sparse.BCOO.fromdense(X[0]), jax_sparse.BCOO.fromdense(X[0])
    v = np.arange(1.0, 5, dtype=np.float32)

    def ours(m, v):
        return pnp.sin(m @ v)

    def theirs(m, v):
        return jax.numpy.sin(m @ v)

    for name in ("jacfwd", "jacrev"):
        a = getattr(sparse, name)(ours, argnums=(0, 1))(x, v)
        b = getattr(jax_sparse, name)(theirs, argnums=(0, 1))(y, v)
        assert a[0].shape == b[0].shape
        np.testing.assert_array_equal(a[0].indices, np.asarray(b[0].indices))
        np.testing.assert_allclose(a[0].data, np.asarray(b[0].data), rtol=1e-5)
        np.testing.assert_allclose(a[1], np.asarray(b[1]), rtol=1e-5)
    (_, aux), slope = sparse.value_and_grad(lambda m, v: (ours(m, v).sum(), m), has_aux=True)(x, v)
    assert isinstance(aux, sparse.BCOO)
    np.testing.assert_allclose(slope.data, jax_sparse.grad(lambda m, v: theirs(m, v).sum())(y, v).data, rtol=1e-5)
    bcsr = sparse.BCSR.fromdense(X[0])
    slope = sparse.grad(lambda m, v: ours(m, v).sum())(bcsr, v)
    assert isinstance(slope, sparse.BCSR)
    with raises(ValueError, "grad", "argnums=3"):
        sparse.grad(lambda m: m.sum(), argnums=3)(x)


# --- other formats ---


def test_bcsr():
    mat = np.stack([X[0], X[1]])
    for options in ({}, {"n_batch": 1}, {"n_dense": 1}):
        dense = X[0] if not options else mat if "n_batch" in options else mat.transpose(1, 2, 0)
        ours, theirs = sparse.BCSR.fromdense(dense, **options), jax_sparse.BCSR.fromdense(dense, **options)
        for a, b in zip((ours.data, ours.indices, ours.indptr), theirs._bufs, strict=True):
            np.testing.assert_array_equal(a, np.asarray(b))
        np.testing.assert_array_equal(ours.todense(), dense)
    x = sparse.BCSR.fromdense(X[0], nse=9)
    np.testing.assert_array_equal(x.to_bcoo().todense(), X[0])
    np.testing.assert_allclose(x @ pnp.arange(4.0), X[0] @ np.arange(4.0))
    np.testing.assert_allclose(pnp.arange(3.0) @ x, np.arange(3.0) @ X[0])
    np.testing.assert_array_equal(x.T.todense(), X[0].T)
    np.testing.assert_array_equal((-x)[1].todense(), -X[0][1])
    batch = sparse.BCSR.fromdense(mat, n_batch=1)
    np.testing.assert_array_equal(pb.vmap(lambda m: m.todense())(batch), mat)
    with raises(NotImplementedError, "BCSR has no x * y"):
        x * 2
    with raises(ValueError, "BCSR"):
        sparse.BCSR((np.ones(2), np.ones(2, int), np.ones(2, int)), shape=(3, 3))


def test_the_classic_formats():
    v, b = np.arange(4, dtype=np.float32), np.ones((4, 2), np.float32)
    for name in ("COO", "CSR", "CSC"):
        ours, theirs = (getattr(s, name).fromdense(X[0]) for s in (sparse, jax_sparse))
        np.testing.assert_array_equal(ours.todense(), X[0])
        np.testing.assert_array_equal(ours.T.todense(), X[0].T)
        np.testing.assert_allclose(ours @ v, X[0] @ v)
        np.testing.assert_allclose(b.T @ ours.T, b.T @ X[0].T)
        for a, c in zip(pb.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(a, np.asarray(c))
    np.testing.assert_allclose(sparse.csr_matvec(sparse.CSR.fromdense(X[0]), v), X[0] @ v)
    np.testing.assert_allclose(sparse.coo_matmat(sparse.COO.fromdense(X[0]), b[:3], transpose=True), X[0].T @ b[:3])
    with raises(NotImplementedError, "CSR has no x + y"):
        sparse.CSR.fromdense(X[0]) + 1
    with raises(TypeError, "coo_matvec", "COO"):
        sparse.coo_matvec(X[0], v)


# --- linear algebra ---


def test_spsolve():
    dense = np.array([[4.0, 1, 0], [0, 3, 2], [1, 0, 5]])
    b = np.array([1.0, 2, 3])
    with pb.enable_x64():
        mat = sparse.BCSR.fromdense(dense)

        def solved(data, b):
            return spsolve(data, mat.indices, mat.indptr, b)

        np.testing.assert_allclose(solved(mat.data, b), np.linalg.solve(dense, b), rtol=1e-12)
        pb.check_rules(solved, mat.data, b)
        np.testing.assert_allclose(pb.jit(solved)(mat.data, b), np.linalg.solve(dense, b), rtol=1e-12)
        many = pb.vmap(solved, (None, 0))(mat.data, np.stack([b, 2 * b]))
        np.testing.assert_allclose(many[1], 2 * np.linalg.solve(dense, b), rtol=1e-12)
        with raises(ValueError, "spsolve", "b of shape (n,)"):
            solved(mat.data, np.ones((3, 1)))


def test_lobpcg():
    q, _ = np.linalg.qr(RNG.standard_normal((30, 30)))
    values = np.linspace(1, 20, 30) ** 2
    a = ((q * values) @ q.T).astype(np.float32)
    start = RNG.standard_normal((30, 3)).astype(np.float32)
    for operator in (a, lambda x: pnp.asarray(a) @ x):
        found, vectors, steps = pb.jit(lambda x, operator=operator: lobpcg_standard(operator, x))(start)
        np.testing.assert_allclose(found, values[::-1][:3], rtol=1e-4)
        np.testing.assert_allclose(a @ np.asarray(vectors), np.asarray(vectors * found), rtol=0, atol=0.05)
        assert 0 < steps <= 100
    with raises(ValueError, "lobpcg_standard", "0 < 5 k < n"):
        lobpcg_standard(a, np.ones((30, 6), np.float32))
