"""Sorting, positions, distinct elements and bins."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import all_close, check_batching, check_derivative, check_value, close

import pullback as pb
import pullback.numpy as pnp
from pullback.errors import ConcretizationTypeError

rng = np.random.default_rng(0)
MASK = np.array([[0, 1, 0, 2], [3, 0, 0, 4]])


def data(shape, dtype="float32"):
    """Random numbers of a dtype, with repetitions."""
    values = rng.integers(0, 4, shape)
    return (values + 1j * rng.integers(0, 2, shape) if dtype == "complex64" else values).astype(dtype)


@pytest.mark.parametrize("dtype", ["bool", "int8", "float16", "float32", "complex64"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_sort_and_argsort(dtype, axis, descending):
    x = data((5, 6), dtype)
    check_value(
        lambda x: pnp.sort(x, axis, descending=descending), lambda x: jnp.sort(x, axis, descending=descending), x
    )
    check_value(
        lambda x: pnp.argsort(x, axis, descending=descending), lambda x: jnp.argsort(x, axis, descending=descending), x
    )


def test_sorts_of_nan_and_their_rules():
    x = np.array([2, np.nan, -1, np.nan, np.inf, -np.inf, 0], "float32")
    for f, g in ((pnp.sort, jnp.sort), (pnp.argsort, jnp.argsort)):
        check_value(f, g, x)
        check_value(lambda x, f=f: f(x, descending=True), lambda x, g=g: g(x, descending=True), x)
    y = rng.permutation(12).reshape(3, 4).astype("float32")
    check_derivative(lambda x: pnp.sort(x, 0, descending=True), y)
    check_batching(lambda x: pnp.argsort(x, 0), y)


def test_lexsort():
    keys = rng.integers(0, 3, (3, 8))
    check_value(pnp.lexsort, jnp.lexsort, keys)
    check_value(
        lambda a, b: pnp.lexsort((a, b), axis=0), lambda a, b: jnp.lexsort((a, b), axis=0), data((6, 2)), data((6, 2))
    )
    assert pnp.lexsort((1, 2)) == 0


def test_partitions():
    x = rng.permutation(20).reshape(4, 5).astype("float32")
    got = np.asarray(pnp.partition(x, 2))
    assert (got[:, :2] < got[:, 2:3]).all()
    assert (got[:, 3:] > got[:, 2:3]).all()
    np.testing.assert_array_equal(np.take_along_axis(x, np.asarray(pnp.argpartition(x, 2)), -1)[:, 2], got[:, 2])


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side):
    a, v = np.sort(rng.standard_normal(9)).astype("float32"), rng.standard_normal((3, 2)).astype("float32")
    check_value(lambda a, v: pnp.searchsorted(a, v, side), lambda a, v: jnp.searchsorted(a, v, side), a, v)
    check_value(lambda a, v: pnp.searchsorted(a, v, side), lambda a, v: jnp.searchsorted(a, v, side), np.arange(5), v)
    order = rng.permutation(9)
    check_value(
        lambda a, v: pnp.searchsorted(a, v, side, np.argsort(order)),
        lambda a, v: jnp.searchsorted(a, v, side, np.argsort(order)),
        a[order],
        v,
    )


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("bins", [[0, 1, 3], [3, 1, 0], [1], []])
def test_digitize(bins, right):
    bins, x = np.array(bins, "float32"), np.array([[0, 1, 2], [3, 4, -1]], "float32")
    for run in (pnp.digitize, pb.jit(pnp.digitize, static_argnums=2)):
        close(run(x, bins, right), np.digitize(x, bins, right).astype("int32"))


# --- positions ---


def test_positions_of_known_data():
    for x in (MASK, MASK > 1, MASK.astype("float32"), np.zeros((0, 3)), np.zeros(4)):
        all_close(pnp.nonzero(x), jnp.nonzero(x))
        all_close(pnp.where(x), jnp.where(x))
        close(pnp.flatnonzero(x), jnp.flatnonzero(x))
        close(pnp.argwhere(x), jnp.argwhere(x))
    close(pnp.argwhere(np.float32(3)), jnp.argwhere(np.float32(3)))
    assert pb.grad(lambda x: x[pnp.nonzero(x > 1)].sum())(np.array([0.0, 2.0, 3.0], "float32")).tolist() == [0, 1, 1]


@pytest.mark.parametrize("size", [0, 2, 4, 6])
@pytest.mark.parametrize("fill_value", [None, -1])
def test_positions_of_a_given_size(size, fill_value):
    options = {"size": size, "fill_value": fill_value}
    for name in ("nonzero", "flatnonzero", "argwhere", "where"):
        check_value(
            lambda x, name=name: getattr(pnp, name)(x, **options),
            lambda x, name=name: getattr(jnp, name)(x, **options),
            MASK,
        )
    check_value(lambda x: pnp.nonzero(x, size=size), lambda x: jnp.nonzero(x, size=size), np.zeros((0, 3)))
    options = {"size": size, "fill_value": (7, 8)}
    check_value(lambda x: pnp.nonzero(x, **options), lambda x: jnp.nonzero(x, **options), MASK)


def test_batched_positions():
    rows = np.stack([MASK, MASK[::-1]])
    all_close(pb.vmap(lambda x: pnp.nonzero(x, size=3))(rows), jax.vmap(lambda x: jnp.nonzero(x, size=3))(rows))


def test_where_of_three():
    check_value(lambda x: pnp.where(x > 1, x, 0), lambda x: jnp.where(x > 1, x, 0), MASK)
    with pytest.raises(ValueError, match="belong to where"):
        pnp.where(MASK, 1, 0, size=2)
    with pytest.raises(ValueError, match="both x and y"):
        pnp.where(MASK, 1)


@pytest.mark.parametrize("call", [pnp.nonzero, pnp.flatnonzero, pnp.argwhere, pnp.where, pnp.unique, pnp.bincount])
def test_a_shape_that_depends_on_traced_data_is_explained(call):
    with pytest.raises(ConcretizationTypeError, match=r"depends on data .* Give its size: .*(size|length)=n"):
        pb.jit(call)(np.array([1, 0, 2]))


# --- distinct elements ---

UNIQUE = [
    np.array([3, 1, 1, 7, 3]),
    np.array([3, 1, np.nan, np.nan, 1], "float32"),
    rng.integers(0, 2, (4, 2)),
    rng.integers(0, 2, (2, 3, 2)),
    np.zeros((0,), "float32"),
]
ALL = {"return_index": True, "return_inverse": True, "return_counts": True}


@pytest.mark.parametrize("x", UNIQUE)
@pytest.mark.parametrize("options", [{}, {"equal_nan": False}, {"axis": 0}, {"axis": -1}])
def test_unique(x, options):
    if x.size or "axis" not in options:
        all_close(pnp.unique(x, **options, **ALL), jnp.unique(x, **options, **ALL))
        close(pnp.unique(x, **options), jnp.unique(x, **options))


@pytest.mark.parametrize("x", UNIQUE[:-1])
@pytest.mark.parametrize("size", [1, 2, 6])
@pytest.mark.parametrize("fill_value", [None, 9])
def test_unique_of_a_given_size(x, size, fill_value):
    options = {"size": size, "fill_value": fill_value, **ALL}
    check_value(lambda x: pnp.unique(x, **options), lambda x: jnp.unique(x, **options), x)
    if x.ndim > 1:
        check_value(lambda x: pnp.unique(x, axis=1, **options), lambda x: jnp.unique(x, axis=1, **options), x)


def test_unique_s_relatives():
    x = UNIQUE[0]
    for name in ("unique_all", "unique_counts", "unique_inverse"):
        got, expected = getattr(pnp, name)(x), getattr(jnp, name)(x)
        assert got._fields == expected._fields
        all_close(tuple(got), tuple(expected))
    close(pnp.unique_values(UNIQUE[1]), jnp.unique_values(UNIQUE[1]))
    close(
        pb.grad(lambda x: (pnp.unique(x) * np.array([1, 2, 3], "float32")).sum())(x.astype("float32")),
        jax.grad(lambda x: (jnp.unique(x, size=3) * np.array([1, 2, 3], "float32")).sum())(x.astype("float32")),
    )


# --- bins ---


def test_bincount():
    x, w = np.array([1, 1, 5, -1, 2]), rng.standard_normal(5).astype("float32")
    close(pnp.bincount(x), jnp.bincount(x))
    close(pnp.bincount(x, minlength=9), jnp.bincount(x, minlength=9))
    close(pnp.bincount(np.zeros(0, int)), jnp.bincount(np.zeros(0, int)))
    check_value(lambda x: pnp.bincount(x, length=3), lambda x: jnp.bincount(x, length=3), x)
    check_value(lambda x, w: pnp.bincount(x, w, length=7), lambda x, w: jnp.bincount(x, w, length=7), x, w)
    check_derivative(lambda w: pnp.bincount(x, w, length=7), w)
    with pytest.raises(TypeError, match="expected a vector of integers"):
        pnp.bincount(w)
    with pytest.raises(ValueError, match="weights must have the shape of x"):
        pnp.bincount(x, w[:2])


HISTOGRAMS = [
    {"bins": 5},
    {"bins": 5, "density": True},
    {"bins": 3, "range": (-1, 2)},
    {"bins": np.array([-2, 0, 1.5])},
    {"bins": 4, "weights": rng.standard_normal(20).astype("float32")},
]


@pytest.mark.parametrize("options", HISTOGRAMS)
def test_histogram(options):
    x = rng.standard_normal(20).astype("float32")
    check_value(lambda x: pnp.histogram(x, **options), lambda x: jnp.histogram(x, **options), x)


def test_histograms_of_integers_and_of_one_value():
    for x in (np.array([1, 2, 2, 5]), np.array([2.0, 2.0], "float32")):
        check_value(lambda x: pnp.histogram(x, bins=3), lambda x: jnp.histogram(x, bins=3), x)
    check_value(
        lambda x: pnp.histogram_bin_edges(x, bins=4),
        lambda x: jnp.histogram_bin_edges(x, bins=4),
        np.array([1.0, 3.0], "float32"),
    )


REFUSED = [
    (partial(pnp.sort, np.zeros(3), kind="quicksort"), TypeError, "use stable"),
    (partial(pnp.sort, np.zeros(3), axis=1), ValueError, "sort: axis 1 is out of bounds"),
    (partial(pnp.lexsort, ()), TypeError, "at least one key"),
    (partial(pnp.lexsort, (np.zeros(2), np.zeros(3))), ValueError, "keys must have one shape"),
    (partial(pnp.partition, np.zeros(3), 3), ValueError, "kth=3 is out of bounds"),
    (partial(pnp.searchsorted, np.zeros(3), 1.0, "middle"), ValueError, "side must be"),
    (partial(pnp.searchsorted, np.zeros(3), 1.0, method="linear"), ValueError, "method must be"),
    (partial(pnp.searchsorted, np.zeros((3, 2)), 1.0), ValueError, "must be a vector"),
    (partial(pnp.nonzero, 3.0), ValueError, "got a scalar; use atleast_1d"),
    (partial(pnp.nonzero, MASK, size=3, fill_value=(1, 2, 3)), ValueError, "one for each of 2 axes"),
    (partial(pnp.unique, np.zeros(0), size=2), ValueError, "give fill_value"),
    (partial(pnp.histogram, np.zeros(3), bins="auto"), NotImplementedError, "must be a number or an array"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_places_in_an_array_too_long_for_int32_are_int64():
    x, v = pb.ShapeDtypeStruct((2**31,), np.int8), pb.ShapeDtypeStruct((3,), np.int8)
    with pytest.raises(ValueError, match="2147483648 elements do not fit int32"):
        pb.eval_shape(pnp.searchsorted, x, v)
    with pb.enable_x64():
        assert pb.eval_shape(pnp.searchsorted, x, v).dtype == np.int64
        assert pb.eval_shape(pnp.digitize, v, x).dtype == np.int64
        assert pnp.searchsorted(np.arange(5), 2).dtype == pnp.digitize(2, np.arange(5)).dtype == np.int32


def test_sort_complex_sorts_rows():
    x = np.array([[5, 3, 4], [6, 9, 2]])
    np.testing.assert_array_equal(pnp.sort_complex(x), np.sort_complex(x))
    z = np.array([[1 + 2j, 1 - 1j, 0.5]], "complex64")
    np.testing.assert_array_equal(pb.jit(pnp.sort_complex)(z), np.sort_complex(z))


def test_numpys_algorithms_sort_where_ours_does_not_take_them():
    """A TypeError tells NumPy's functions to sort the data themselves, as JAX's does."""
    x = pnp.array([3.0, 1.0, 2.0])
    assert np.argsort(x, kind="stable").tolist() == [1, 2, 0]
    assert np.sort(x, kind="heapsort").tolist() == [1, 2, 3]
    with pytest.raises(TypeError, match="'kind' argument to argsort is not supported: use stable=True"):
        pnp.argsort(x, kind="stable")
    with pytest.raises(TypeError, match="'order' argument to sort is not supported"):
        pnp.sort(x, order="field")
