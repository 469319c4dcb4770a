"""Sparse arrays against JAX's: the entries that are stored, their order and layout, and the arrays represented."""

import operator

import jax
import jax.experimental.sparse as jax_sparse
import numpy as np
import pytest
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback.experimental import sparse

M = np.array([[0, 2.0, 0, 1], [1, 0, 4, 0], [0, 0, 0, 3]], np.float32)
STACKED = np.stack([M, 2 * M + (M == 0) * np.eye(3, 4, dtype=np.float32)])
OURS, THEIRS = (sparse, pnp, pb), (jax_sparse, jax.numpy, jax)


def matrices(library):
    """BCOOs by name, with and without padding, duplicates, batch and dense axes."""
    s, np_, _ = library
    plain = s.BCOO.fromdense(np_.asarray(M))
    return {
        "plain": plain,
        "padded": s.BCOO.fromdense(np_.asarray(M), nse=8),
        "doubled": plain + plain,
        "batch": s.BCOO.fromdense(np_.asarray(STACKED), n_batch=1),
        "dense": s.BCOO.fromdense(np_.asarray(STACKED.transpose(1, 2, 0)), n_dense=1),
        "all dense": s.BCOO.fromdense(np_.asarray(M), n_dense=2),
        "all batch": s.BCOO.fromdense(np_.asarray(M), n_batch=2),
    }


def places(x, shape):
    """The indices of a BCOO, those of padding made all alike."""
    sizes = shape[x.n_batch : x.n_batch + x.n_sparse]
    indices = np.asarray(x.indices)
    return np.where((indices < np.array(sizes, int)).all(-1, keepdims=True), indices, -1)


def same(ours, theirs, layout=True):
    """Compare two results: arrays, or sparse arrays with all they store."""
    if not isinstance(theirs, jax_sparse.JAXSparse):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-6)
        return
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours.todense(), np.asarray(theirs.todense()), rtol=1e-6)
    if layout:
        assert (ours.nse, ours.n_batch, ours.n_dense) == (theirs.nse, theirs.n_batch, theirs.n_dense)
        np.testing.assert_array_equal(*(places(x, ours.shape) for x in (ours, theirs)))
        np.testing.assert_allclose(ours.data, np.asarray(theirs.data), rtol=1e-6)


ALL = ("padded", "batch", "dense")
MATRICES = ("padded",)
EXTREME = ("all dense", "all batch")
# what is computed of the library and a BCOO, and of which ones
OPERATIONS = {
    "itself": (lambda lib, x: x, ALL + EXTREME),
    "todense": (lambda lib, x: lib[0].todense(x), ALL + EXTREME),
    "neg": (lambda lib, x: -x, ALL),
    "abs": (lambda lib, x: abs(-x), ("padded", "batch", "dense")),
    "astype": (lambda lib, x: x.astype("int32"), ALL),
    "times a number": (lambda lib, x: 2 * x * 3.0, ALL),
    "over a number": (lambda lib, x: x / 2, ALL),
    "times a row": (lambda lib, x: x * lib[1].arange(4.0), (*MATRICES, "batch")),
    "times a column": (lambda lib, x: lib[1].arange(3.0)[:, None] * x, MATRICES),
    "times all": (lambda lib, x: x * lib[1].asarray(STACKED), ("batch",)),
    "times its dense axis": (lambda lib, x: x * lib[1].arange(2.0), ("dense",)),
    "squared": (lambda lib, x: x**2, ("padded", "batch", "dense")),
    "plus itself": (lambda lib, x: x + x, ALL),
    "minus itself": (lambda lib, x: x - x, ALL),
    "plus an array": (lambda lib, x: lib[1].ones(x.shape) + x, ALL),
    "sum": (lambda lib, x: x.sum(), ALL),
    "sum 0": (lambda lib, x: x.sum(0), ALL + EXTREME),
    "sum -1": (lambda lib, x: x.sum(-1), ALL),
    "sum two": (lambda lib, x: x.sum((0, 1)), ("batch", "dense")),
    "reduce_sum": (lambda lib, x: lib[0].bcoo_reduce_sum(x, axes=(0, 1)), ALL + EXTREME),
    "transpose": (lambda lib, x: x.T, MATRICES + EXTREME),
    "transpose inside": (lambda lib, x: x.transpose((0, 2, 1)), ("batch",)),
    "transpose in front": (lambda lib, x: x.transpose((1, 0, 2)), ("dense",)),
    "reshape": (lambda lib, x: x.reshape(2, 6), MATRICES),
    "ravel": (lambda lib, x: x.reshape(-1), MATRICES),
    "reshape to 3": (lambda lib, x: x.reshape((3, 2, 1, 2)), MATRICES),
    "reshape a batch": (lambda lib, x: x.reshape(2, 12), ("batch",)),
    "reshape dense": (lambda lib, x: x.reshape(12, 2), ("dense",)),
    "with a new axis": (lambda lib, x: x[None], ALL + EXTREME),
    "row": (lambda lib, x: x[1], ALL + EXTREME),
    "last row": (lambda lib, x: x[-1], MATRICES),
    "entry": (lambda lib, x: x[1, 2], MATRICES),
    "rows": (lambda lib, x: x[1:3], MATRICES),
    "steps": (lambda lib, x: x[::2, 1:], MATRICES),
    "of all in a batch": (lambda lib, x: x[:, 1], ("batch",)),
    "of the dense axis": (lambda lib, x: x[..., 0], ("dense",)),
    "at an array": (lambda lib, x: x[lib[1].array([2, 0])], MATRICES),
    "reversed": (lambda lib, x: x[::-1], ("padded",)),
    "first": (lambda lib, x: next(iter(x)), MATRICES),
    "dynamic_slice": (lambda lib, x: lib[0].bcoo_dynamic_slice(x, (5, 1), (2, 2)), MATRICES),
    "slice": (
        lambda lib, x: lib[0].bcoo_slice(x, start_indices=(1, 0), limit_indices=(3, 3), strides=(1, 2)),
        MATRICES,
    ),
    "squeeze": (lambda lib, x: lib[0].bcoo_squeeze(x[None], dimensions=(0,)), MATRICES),
    "sort_indices": (lambda lib, x: x.transpose().sort_indices(), ("doubled",)),
    "sum_duplicates": (lambda lib, x: x.sum_duplicates(), ("padded", "doubled", "batch", "dense")),
    "sum_duplicates to 3": (lambda lib, x: x.sum_duplicates(nse=3), ("doubled", "batch", "dense")),
    "sum_duplicates to 9": (lambda lib, x: x.sum_duplicates(nse=9), ("doubled", "batch", "dense")),
    "with zeros": (lambda lib, x: (x * 0).sum_duplicates(remove_zeros=False), MATRICES),
    "as batch": (lambda lib, x: x.update_layout(n_batch=1, on_inefficient=None), MATRICES),
    "as dense": (lambda lib, x: x.update_layout(n_dense=1, on_inefficient=None), MATRICES),
    "as both": (lambda lib, x: x.update_layout(n_batch=1, n_dense=1, on_inefficient=None), MATRICES),
    "as sparse": (lambda lib, x: x.update_layout(n_batch=0, n_dense=0), ("batch", "dense")),
    "concatenate 0": (lambda lib, x: lib[0].bcoo_concatenate([x, x], dimension=0), ALL),
    "concatenate 1": (lambda lib, x: lib[0].bcoo_concatenate([x, x], dimension=1), ALL),
    "broadcast": (
        lambda lib, x: lib[0].bcoo_broadcast_in_dim(x, shape=(2, 3, 4), broadcast_dimensions=(1, 2)),
        MATRICES,
    ),
    "broadcast a batch": (
        lambda lib, x: lib[0].bcoo_broadcast_in_dim(x, shape=(2, 5, 3, 4), broadcast_dimensions=(0, 2, 3)),
        ("batch",),
    ),
    "extract": (lambda lib, x: lib[0].bcoo_extract(x, lib[1].ones(x.shape)), ("padded", "doubled", "batch")),
    "extract all": (lambda lib, x: lib[0].bcoo_extract(x, lib[1].ones(x.shape), assume_unique=True), ALL),
    "multiply_dense": (lambda lib, x: lib[0].bcoo_multiply_dense(x, lib[1].ones(4)), MATRICES),
}


@pytest.mark.parametrize(("name", "which"), [(name, x) for name, (_, some) in OPERATIONS.items() for x in some])
def test_operations(name, which):
    f = OPERATIONS[name][0]
    same(f(OURS, matrices(OURS)[which]), f(THEIRS, matrices(THEIRS)[which]))


COMPILED = (
    "times a column",
    "sum -1",
    "reshape to 3",
    "row",
    "at an array",
    "slice",
    "sum_duplicates to 9",
    "as both",
    "concatenate 1",
    "broadcast",
    "extract",
)


@pytest.mark.parametrize("name", COMPILED)
def test_under_jit_and_with_derivatives(name):
    """Compiled, the same is stored; the gradient of a weighted sum agrees with the derivative in a direction."""
    f = OPERATIONS[name][0]
    x = matrices(OURS)["doubled"]
    direction = np.cos(np.arange(x.data.size, dtype=np.float32))

    def value(x):
        return f(OURS, x)

    def weighted(x):
        y = sparse.todense(value(x))
        return (y * pnp.arange(1.0, y.size + 1).reshape(y.shape)).sum()

    def both(x):
        slope = sparse.grad(weighted)(x)
        change = pb.jvp(lambda data: weighted(x._with(data)), (x.data,), (direction,))[1]
        return value(x), slope, change

    expected, (result, slope, change) = value(x), pb.jit(both)(x)
    assert pb.tree.structure(expected) == pb.tree.structure(result)
    for a, b in zip(pb.tree.leaves(expected), pb.tree.leaves(result), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    np.testing.assert_array_equal(slope.indices, x.indices)
    np.testing.assert_allclose((slope.data * direction).sum(), change, rtol=1e-5, atol=1e-4)
    nudged = weighted(x._with(x.data + direction)) - weighted(x)  # these functions are linear
    np.testing.assert_allclose(change, nudged, rtol=1e-4, atol=1e-3)


PAIRS = [("plain", "plain"), ("doubled", "padded"), ("batch", "batch"), ("dense", "dense")]


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_elementwise_products_store_the_entries_of_one(left, right):
    ours, theirs = matrices(OURS), matrices(THEIRS)
    product = ours[left] * ours[right]
    same(product, theirs[left] * theirs[right], layout=False)
    assert product.nse == ours[left].nse


def test_elementwise_products_with_broadcasting():
    row, column = sparse.BCOO.fromdense(M[:1]), sparse.BCOO.fromdense(M[:, 1:2])
    x = sparse.BCOO.fromdense(M)
    for a, b in ((x, row), (row, x), (column, x), (row, column)):
        np.testing.assert_allclose((a * b).todense(), a.todense() * b.todense())


def test_an_array_minus_a_sparse_array():
    """JAX's has it not."""
    for x in (matrices(OURS)[name] for name in ALL):
        np.testing.assert_allclose(np.ones(x.shape, np.float32) - x, 1 - np.asarray(x.todense()))


def test_division_leaves_padding_alone():
    x = matrices(OURS)["padded"]
    quotient = x / (M + 1)
    np.testing.assert_allclose(quotient.todense(), M / (M + 1), rtol=1e-6)
    assert np.isfinite(quotient.data).all()


def test_matrices_of_zeros():
    for shape in ((0, 3), (3, 0), (0,)):
        x = sparse.BCOO.fromdense(np.zeros(shape, np.float32))
        assert x.nse == 0
        assert x.todense().shape == shape
        assert (x + x).sum_duplicates().nse == 0
    assert sparse.empty((3, 4)).sum_duplicates(nse=2).indices.tolist() == [[3, 4], [3, 4]]


def test_indices_beyond_32_bits_are_refused():
    x = sparse.empty((100_000, 100_000, 2))
    assert x.reshape(100_000, 200_000).shape == (100_000, 200_000)
    with raises(OverflowError, "bcoo_reshape", "int32"):
        x.reshape(-1)


# --- batches ---


def test_vmap_takes_the_batch_axis_away_and_gives_it_back():
    x, y = matrices(OURS)["batch"], matrices(THEIRS)["batch"]
    shapes = []

    def transposed(x):
        shapes.append(x.shape)
        return x.T

    same(pb.vmap(transposed)(x), jax.vmap(lambda x: x.T)(y))
    assert shapes == [(3, 4)]
    v = np.arange(4, dtype=np.float32)
    same(pb.vmap(lambda x, v: x @ v, (0, None))(x, v), jax.vmap(lambda x, v: x @ v, (0, None))(y, v))
    made = pb.vmap(lambda m: sparse.BCOO.fromdense(m, nse=6))(STACKED)
    same(made, jax.vmap(lambda m: jax_sparse.BCOO.fromdense(m, nse=6))(STACKED))


def test_batch_axes_of_length_1_are_broadcast():
    data, indices = np.ones((1, 2), np.float32), np.array([[[0, 0], [1, 2]], [[0, 1], [1, 1]]])
    parts, shape = (data, indices), (2, 3, 4)
    ours, theirs = sparse.BCOO(parts, shape=shape), jax_sparse.BCOO(tuple(map(jax.numpy.asarray, parts)), shape=shape)
    assert ours.shape == shape
    same(ours, theirs, layout=False)
    same(ours @ np.ones(4, np.float32), theirs @ jax.numpy.ones(4))
    leaves, tree = pb.tree.flatten(ours)
    assert [x.shape for x in leaves] == [(1, 2), (2, 2, 2)]
    assert pb.tree.unflatten(tree, leaves).shape == shape


def test_a_loop_carries_a_sparse_array():
    x = matrices(OURS)["plain"]

    def step(x, factor):
        return x * factor, x.sum()

    last, sums = pb.lax.scan(step, x, pnp.array([2.0, 3.0]))
    np.testing.assert_allclose(last.todense(), 6 * M)
    np.testing.assert_allclose(sums, [M.sum(), 2 * M.sum()])
    assert pb.lax.cond(True, lambda x: -x, lambda x: x, x).todense().tolist() == (-M).tolist()


def test_pytrees():
    x = matrices(OURS)["plain"]
    assert len(pb.tree.leaves(x)) == 2
    assert pb.tree.structure(x) == pb.tree.structure(x * 2)
    assert repr(pb.tree.map(lambda leaf: leaf.ndim, x)) == "BCOO(1, 2)"
    assert pb.eval_shape(lambda x: x.T, x).shape == (4, 3)


# --- making and reading ---


def test_scipy():
    import scipy.sparse

    for make in (scipy.sparse.csr_matrix, scipy.sparse.coo_array, scipy.sparse.csc_array):
        for format in (sparse.BCOO, sparse.BCSR):
            np.testing.assert_array_equal(format.from_scipy_sparse(make(M)).todense(), M)
    x = matrices(OURS)["plain"]
    back = scipy.sparse.coo_array((np.asarray(x.data), tuple(np.asarray(x.indices).T)), shape=x.shape)
    np.testing.assert_array_equal(back.toarray(), M)
    with raises(NotImplementedError, "from_scipy_sparse"):
        sparse.BCOO.from_scipy_sparse(scipy.sparse.csr_matrix(M), n_batch=1)


@pytest.mark.parametrize(("n", "m", "k"), [(3, 3, 0), (3, 4, 1), (3, 4, -2), (4, 3, 2), (2, 2, 5)])
def test_eye(n, m, k):
    for more in ({}, {"n_batch": 1}, {"n_dense": 1}):
        ours, theirs = sparse.eye(n, m, k, **more), jax_sparse.eye(n, m, k, **more)
        np.testing.assert_array_equal(ours.todense(), np.eye(n, m, k))
        assert ours.nse == theirs.nse
    for format in ("bcsr", "coo", "csr", "csc"):
        np.testing.assert_array_equal(sparse.eye(n, m, k, sparse_format=format).todense(), np.eye(n, m, k))


def test_random_bcoo():
    for options in ({}, {"nse": 6, "sorted_indices": True}, {"nse": 0.5, "unique_indices": False}):
        ours = sparse.random_bcoo(pb.random.key(3), (4, 5), dtype="float32", **options)
        theirs = jax_sparse.random_bcoo(jax.random.key(3), (4, 5), dtype="float32", **options)
        same(ours, theirs)
    batched = sparse.random_bcoo(pb.random.key(3), (2, 4, 5, 3), dtype="float32", n_batch=1, n_dense=1, nse=4)
    assert (batched.nse, batched.n_batch, batched.n_dense) == (4, 1, 1)


# --- refusals ---


def test_refusals():
    x, doubled = matrices(OURS)["plain"], matrices(OURS)["doubled"]
    with raises(ValueError, "BCOO", "(4, 2)", "(3,)"):
        sparse.BCOO((np.ones(3), np.ones((4, 2), int)), shape=(3, 3))
    with raises(TypeError, "indices must be integers", "float32"):
        sparse.BCOO((np.ones(3), np.ones((3, 2))), shape=(3, 3))
    with raises(pb.errors.ConcretizationTypeError, "bcoo_fromdense", "nse"):
        pb.jit(sparse.BCOO.fromdense)(M)
    with raises(ValueError, "bcoo_sum_duplicates", "nse must be specified"):
        pb.jit(lambda x: x.sum_duplicates())(doubled)
    with raises(sparse.SparseEfficiencyError, "increasing n_batch from 0 to 1 results in inefficient storage"):
        x.update_layout(n_batch=1)
    with pytest.warns(sparse.SparseEfficiencyWarning, match="n_dense from 0 to 1"):
        x.update_layout(n_dense=1, on_inefficient="warn")
    with raises(NotImplementedError, "permute batch axes"):
        matrices(OURS)["batch"].transpose((1, 0, 2))
    with raises(NotImplementedError, "output shape is larger than Y.shape"):
        x + 1.0
    with raises(NotImplementedError, "Division by a sparse array"):
        1.0 / x
    with raises(NotImplementedError, "non-positive exponent 0"):
        x**0
    with raises(NotImplementedError, "sparse rule for gt", "dense output"):
        operator.gt(x, 0)
    with raises(TypeError, "sin", "BCOO"):
        pnp.sin(x)
    with raises(TypeError, "unhashable"):
        hash(x)
    with raises(ValueError, "sparse_format"):
        sparse.eye(2, sparse_format="dia")
    with raises(ValueError, "random_bcoo", "unique"):
        sparse.random_bcoo(pb.random.key(0), (2, 2), nse=5)
    with raises(TypeError, "dtype int32"):
        pb.grad(lambda x: x.sum())(x)
