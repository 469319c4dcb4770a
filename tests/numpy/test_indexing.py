"""Indexing against NumPy, on random index expressions: eager, compiled, with traced positions; updates; derivatives."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import check_batching, check_derivative, close
from hypothesis import given, settings
from hypothesis import strategies as st

import pullback as pb
import pullback.numpy as pnp
from pullback.errors import NonConcreteBooleanIndexError

X = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


@st.composite
def index_expressions(draw, shape):
    """An index that NumPy takes for an array of this shape: a list of parts, arrays among them."""
    common = draw(st.sampled_from([(), (2,), (3, 1), (1, 2)]))
    parts, axis, dots = [], 0, False
    while axis < len(shape) and draw(st.integers(0, 9)) < 8:
        kind = draw(st.sampled_from(["int", "slice", "slice", "array", "mask", "none", "dots", "full", "flag"]))
        n = shape[axis]
        if kind == "int" and n:
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            bound = st.none() | st.integers(-n - 2, n + 2)
            parts.append(slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, 3, -1, -2]))))
        elif kind == "array" and n:
            size = draw(st.sampled_from([common, common, (1,) * len(common), ()]))
            count = int(np.prod(size))
            values = draw(st.lists(st.integers(-n, n - 1), min_size=count, max_size=count))
            parts.append(np.array(values, draw(st.sampled_from(["int32", "int64", "int8"]))).reshape(size))
        elif kind == "mask" and common in ((), (2,)) and n >= 2:
            mask = np.zeros(n, bool)
            mask[list(draw(st.permutations(range(n))))[: 2 if common else 1]] = True
            parts.append(mask)
        elif kind == "none":
            parts.append(None)
            continue
        elif kind == "dots" and not dots:
            dots = True
            parts.append(Ellipsis)
            axis += draw(st.integers(0, len(shape) - axis))
            continue
        elif kind == "flag":
            parts.append(draw(st.booleans()))
            continue
        else:
            parts.append(slice(None))
        axis += 1
    return tuple(parts)


def takes(x, key):
    """Whether NumPy takes the index."""
    try:
        x[key]
    except IndexError:
        return False
    return True


KEYS = index_expressions(X.shape).filter(lambda key: takes(X, key))


def positions(key):
    """The integer arrays and integers of an index, and a function that puts others in their places."""
    where = [i for i, k in enumerate(key) if (isinstance(k, np.ndarray) and k.dtype.kind == "i") or type(k) is int]

    def replaced(values):
        out = list(key)
        for i, v in zip(where, values, strict=True):
            out[i] = v
        return tuple(out)

    return [np.asarray(key[i]) for i in where], replaced


@settings(deadline=None, max_examples=400, derandomize=True)
@given(KEYS)
def test_reading_as_numpy(key):
    close(pnp.asarray(X)[key], X[key])


@settings(deadline=None, max_examples=80, derandomize=True)
@given(KEYS)
def test_compiled_reading_as_numpy(key):
    values, replaced = positions(key)
    close(pb.jit(lambda x: x[key])(X), X[key])
    # an integer that is data stays one of the array's axes' positions, so the result is the same
    close(pb.jit(lambda x, vs: x[replaced(vs)])(X, values), X[key])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(KEYS, st.integers(0, 2**16))
def test_reading_differentiates(key, seed):
    ct = np.random.default_rng(seed).standard_normal(X[key].shape).astype(np.float32)
    expected = np.zeros_like(X)
    np.add.at(expected, key, ct)
    got = pb.vjp(lambda x: x[key], pnp.asarray(X))[1](ct)[0]
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-5, atol=1e-5)


UPDATES = {
    "set": lambda x, key, v: x.__setitem__(key, v),
    "add": np.add.at,
    "subtract": np.subtract.at,
    "multiply": np.multiply.at,
    "min": np.minimum.at,
    "max": np.maximum.at,
    "divide": np.divide.at,
}


@settings(deadline=None, max_examples=200, derandomize=True)
@given(KEYS, st.sampled_from(sorted(UPDATES)), st.booleans(), st.integers(0, 2**16))
def test_updates_as_numpy(key, name, scalar, seed):
    v = np.random.default_rng(seed).integers(1, 5, () if scalar else X[key].shape).astype(np.float32)
    expected = X.copy()
    UPDATES[name](expected, key, v)
    close(getattr(pnp.asarray(X).at[key], name)(v), expected)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(KEYS, st.sampled_from(sorted(UPDATES)), st.integers(0, 2**16))
def test_compiled_updates_as_numpy(key, name, seed):
    v = np.random.default_rng(seed).integers(1, 5, X[key].shape).astype(np.float32)
    expected = X.copy()
    UPDATES[name](expected, key, v)
    values, replaced = positions(key)
    close(pb.jit(lambda x, vs, v: getattr(x.at[replaced(vs)], name)(v))(X, values, v), expected)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(KEYS, st.sampled_from(["set", "add", "min", "max"]), st.integers(0, 2**16))
def test_updates_differentiate(key, name, seed):
    v = X[key] + np.random.default_rng(seed).permutation(X[key].size).reshape(X[key].shape) / 64 + 0.25
    check_derivative(lambda x, v: getattr(pnp.asarray(x).at[key], name)(v), X / 4, v.astype(np.float32) / 4)


@pytest.mark.parametrize(
    "key",
    [
        2,
        -1,
        slice(1, 3),
        (slice(None), 0),
        (0, slice(None, None, -1)),
        (..., None),
        np.array([0, 2, 2]),
        (slice(None), np.array([[1], [0]]), 2),
        (0, np.array([1])),
    ],
    ids=str,
)
def test_indexing_batches(key):
    check_batching(lambda x: x[key] if isinstance(x, pb.Array) else pnp.asarray(x)[key], X[:, :3])


def test_indexing_by_batched_positions():
    i, j = np.array([2, 0], np.int32), np.int32(1)
    check_batching(lambda x, i: pnp.asarray(x)[pnp.asarray(i)], X[..., 0], i)
    check_batching(lambda x, j: pnp.asarray(x)[pnp.asarray(j)], X[..., 0], j)
    check_batching(lambda x, j: pnp.asarray(x)[:, pnp.asarray(j), 1:3], X, j)
    check_batching(lambda x, i: pnp.asarray(x).at[pnp.asarray(i)].add(1.0), X[..., 0], i)
    check_batching(lambda x, j: pnp.asarray(x).at[pnp.asarray(j), 1].set(7.0), X[..., 0], j)


# --- out of bounds, as JAX documents ---

V = np.arange(3, dtype=np.float32)


def test_positions_out_of_bounds_are_clamped():
    for key in (5, -5, np.array([5, -5, 0]), np.array(7)):
        close(pnp.asarray(V)[key], jnp.asarray(V)[key])
        traced = np.asarray(key, np.int32)
        close(pb.jit(lambda x, i: x[i])(V, traced), jnp.asarray(V)[key])
    with pytest.raises(IndexError, match="axis 0 of length 0"):
        pnp.zeros((0, 3))[0]
    with pytest.raises(IndexError, match="length 0"):
        pnp.zeros((0, 3))[np.array([1])]


@pytest.mark.parametrize(
    ("shape", "key"),
    [
        ((0, 0), (slice(None), [0])),
        ((0, 0), ([0],)),
        ((0, 0), ([], [0])),
        ((3, 0), ([], 0)),
        ((3, 0), ([], [0])),
        ((2, 0, 3), (slice(None), [0, 1], slice(0))),
        ((0,), ([0],)),
        ((3, 0), (slice(None), [0])),
    ],
)
def test_positions_along_an_axis_of_length_0(shape, key):
    """Of a result without elements none is read, and what would be written there is dropped; else it is refused."""
    key = tuple(np.array(k, np.int32) if isinstance(k, list) else k for k in key)

    def read(x):
        return x[key]

    def read_with_fill(x):
        return x.at[key].get(mode="fill")

    def write(x):
        return x.at[key].set(1)

    def add(x):
        return x.at[key].add(1)

    for f in (read, read_with_fill, write, add):
        try:
            expected = f(jnp.zeros(shape))
        except TypeError:
            for run in (f, pb.jit(f)):
                with pytest.raises(IndexError, match=f"of length 0 of shape {re.escape(str(shape))}"):
                    run(pnp.zeros(shape))
            continue
        for run in (f, pb.jit(f)):
            close(run(pnp.zeros(shape)), expected)


@pytest.mark.parametrize("mode", [None, "drop", "clip", "fill", "promise_in_bounds"])
@pytest.mark.parametrize("key", [5, -5, np.array([1, 9, -9]), np.array([-1, 2])], ids=str)
def test_modes_of_updates(mode, key):
    for name in ("set", "add", "multiply", "min"):
        if mode == "promise_in_bounds" and np.any(np.abs(key) > 2):
            continue
        expected = getattr(jnp.asarray(V).at[key], name)(7.0, mode=mode)
        close(getattr(pnp.asarray(V).at[key], name)(7.0, mode=mode), expected)
        compiled = pb.jit(lambda x, i: getattr(x.at[i], name)(7.0, mode=mode))  # noqa: B023
        close(compiled(V, np.asarray(key, np.int32)), expected)


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "bool"])
def test_get_with_modes(dtype):
    x = np.arange(3).astype(dtype)
    for key in (1, 5, -5, np.array([0, 7, -7])):
        for options in (
            {},
            {"mode": "fill"},
            {"mode": "clip"},
            {"mode": "fill", "fill_value": 1},
            {"wrap_negative_indices": False, "mode": "fill"},
        ):
            expected = jnp.asarray(x).at[key].get(**options)
            np.testing.assert_array_equal(np.asarray(pnp.asarray(x).at[key].get(**options)), np.asarray(expected))


def test_updates_without_wrapping():
    for key in (-1, np.array([-1, 1])):
        close(
            pnp.asarray(V).at[key].set(9.0, wrap_negative_indices=False),
            jnp.asarray(V).at[key].set(9.0, wrap_negative_indices=False),
        )


def test_update_dtypes_and_weakness():
    ints = np.arange(3, dtype=np.int32)
    for x, v in ((V, 1), (V, np.int8(3)), (V, True), (ints, 2), (ints.astype("int8"), np.int8(1)), (ints > 0, False)):
        ours, theirs = pnp.asarray(x).at[1].set(v), jnp.asarray(x).at[1].set(v)
        close(ours, theirs)
        assert ours.weak_type == theirs.weak_type
    with pytest.warns(FutureWarning, match=r"at\[...\].set: values of dtype float32 do not fit"):
        close(pnp.asarray(ints).at[0].set(1.5), np.array([1, 1, 2], np.int32))
    weak = pnp.asarray(1.0)[None]
    assert weak.weak_type
    assert weak.at[0].set(2.0).weak_type


def test_power_and_apply():
    x = np.array([1.0, 2.0, 3.0], np.float32)
    i = np.array([2, 0, 2])
    close(pnp.asarray(x).at[1].power(3), jnp.asarray(x).at[1].power(3))
    close(pnp.asarray(x).at[i].power(2.0), jnp.asarray(x).at[i].power(2.0), 10)
    for key in (1, i, slice(0, 2), np.array([0, 5])):
        close(pnp.asarray(x).at[key].apply(lambda v: 2 * v), jnp.asarray(x).at[key].apply(lambda v: 2 * v))
    close(pb.jit(lambda x, i: x.at[i].apply(pnp.negative))(x, 1), jnp.asarray(x).at[1].apply(jnp.negative))
    close(pb.jit(lambda x, i: x.at[i].apply(pnp.negative))(x, i), jnp.asarray(x).at[i].apply(jnp.negative))
    close(
        pb.jit(lambda x, i: x.at[i].apply(pnp.negative, unique_indices=True))(x, i[:2]),
        np.array([-1.0, 2.0, -3.0], np.float32),
    )


def test_updates_broadcast_to_the_place_only():
    close(pnp.zeros((3, 4)).at[1].set(np.arange(4.0)), jnp.zeros((3, 4)).at[1].set(np.arange(4.0)))
    with pytest.raises(ValueError, match=r"at\[...\].set: shape \(2,\) does not broadcast to \(4,\)"):
        pnp.zeros((3, 4)).at[1].set(np.arange(2.0))
    with pytest.raises(ValueError, match="does not broadcast"):
        pnp.zeros(3).at[0].set(np.arange(2.0))


# --- what is refused ---


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        ([0, 1], TypeError, "a list is no index"),
        (1.0, TypeError, "got 1.0 of type float"),
        (np.array([0.5]), TypeError, "integers or bools, got float"),
        ("a", TypeError, "string"),
        ((0, 0), IndexError, "too many indices"),
        ((..., ...), IndexError, "only one Ellipsis"),
        (np.array([True, False]), IndexError, r"a mask of shape \(2,\)"),
        (slice(0, 1.5), TypeError, "slice"),
        ((np.array([0, 1]), np.array([True, False, True]), 0), IndexError, "too many"),
        (object(), TypeError, "type object"),
    ],
)
def test_refused_indices(key, error, message):
    with pytest.raises(error, match=message):
        pnp.asarray(V)[key]
    with pytest.raises(error, match=message):
        pb.jit(lambda x: x[key])(V)
    with pytest.raises(error, match=message):
        pnp.asarray(V).at[key].set(0.0)


def test_a_traced_mask_is_refused_with_advice():
    with pytest.raises(NonConcreteBooleanIndexError, match=r"numpy.where\(mask, x, y\)"):
        pb.jit(lambda x: x[x > 1])(V)
    with pytest.raises(NonConcreteBooleanIndexError):
        pb.vmap(lambda x: x[x > 1])(V[None])
    # under grad the mask is known
    close(pb.grad(lambda x: x[x > 0.5].sum())(V), np.array([0.0, 1.0, 1.0], np.float32))


def test_traced_slice_bounds_are_refused_with_advice():
    with pytest.raises(TypeError, match="dynamic_slice"):
        pb.jit(lambda x, n: x[:n])(V, 2)


def test_arrays_are_immutable():
    x = pnp.asarray(V)
    with pytest.raises(TypeError, match=r"x.at\[i\].set\(y\)"):
        x[0] = 1.0
    x.at[0].set(9.0)
    close(x, V)


# --- iteration and membership ---


def test_iteration():
    assert [float(v) for v in pnp.asarray(V)] == [0.0, 1.0, 2.0]
    assert [row.shape for row in pnp.asarray(X)] == [(4, 5)] * 3
    close(pb.jit(lambda x: sum(row * k for k, row in enumerate(x)))(X), X[1] + 2 * X[2])
    a, b, c = pnp.asarray(V)
    assert float(a + b + c) == 3.0
    close(
        pb.grad(lambda x: sum(k * row.sum() for k, row in enumerate(x)))(X),
        np.broadcast_to(np.arange(3.0, dtype=np.float32)[:, None, None], X.shape),
    )
    assert list(pnp.zeros((0, 2))) == []
    for x in (pnp.asarray(1.0), 2.0):
        with pytest.raises(TypeError, match="0-d array"):
            pb.jit(lambda x: list(x))(x)
    with pytest.raises(TypeError, match="0-d array"):
        iter(pnp.asarray(1.0))


def test_membership():
    assert 1.0 in pnp.asarray(V)
    assert 7 not in pnp.asarray(V)


# --- functions that read by position ---

M = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("indices", "axis", "mode"),
    [
        (np.array([0, -1, 2]), 0, None),
        (np.array([[5, -5], [1, -1]]), 1, None),
        (5, 0, None),
        (-1, None, None),
        (np.array([0, 11, 12]), None, "fill"),
        (np.array([7, -7]), 1, "clip"),
        (np.array([7, -7]), 1, "wrap"),
        (np.zeros((0,), np.int32), 1, None),
        (2, 1, "clip"),
    ],
)
def test_take(indices, axis, mode):
    expected = jnp.take(jnp.asarray(M), jnp.asarray(indices), axis, mode=mode)
    close(pnp.take(M, indices, axis, mode=mode), expected)
    close(pb.jit(lambda x, i: pnp.take(x, i, axis, mode=mode))(M, np.asarray(indices, np.int32)), expected)
    check_derivative(lambda x: pnp.take(x, indices, axis, mode=mode, fill_value=0), M)


@pytest.mark.parametrize("mode", [None, "clip", "wrap", "fill"])
@pytest.mark.parametrize(("shape", "axis"), [((0,), None), ((0,), 0), ((4, 0), 1), ((4, 0, 2), -2), ((3, 0), None)])
def test_nothing_is_taken_from_nothing(shape, axis, mode):
    x = np.zeros(shape, np.float32)
    for index in (np.zeros(0, np.int32), np.zeros((2, 0), np.int32), []):
        index = np.asarray(index, np.int32)
        expected = np.take(x, index, axis).shape
        assert pnp.take(x, index, axis, mode=mode).shape == expected
        assert pb.jit(lambda x: pnp.take(x, index, axis, mode=mode))(x).shape == expected  # noqa: B023
        assert pb.grad(lambda x: pnp.take(x, index, axis, mode=mode).sum())(x).shape == shape  # noqa: B023


def test_take_refuses():
    with pytest.raises(TypeError, match="take: indices must be integers"):
        pnp.take(M, 0.5)
    with pytest.raises(IndexError, match="length 0"):
        pnp.take(pnp.zeros((0, 3)), np.array([0]), 0)
    with pytest.raises(IndexError, match=r"take: index 99 is out of bounds"):
        pnp.take(M, 99, mode="raise")


@pytest.mark.parametrize(("shape", "axis"), [((3, 2), 1), ((2, 4), 0), ((1, 2), 1), ((3, 1), -1), ((2, 1), 0)])
def test_take_along_axis(shape, axis):
    index = np.random.default_rng(1).integers(-3, 3, shape).astype(np.int32)
    expected = jnp.take_along_axis(jnp.asarray(M), index, axis)
    close(pnp.take_along_axis(M, index, axis), expected)
    close(pb.jit(lambda x, i: pnp.take_along_axis(x, i, axis))(M, index), expected)
    check_derivative(lambda x: pnp.take_along_axis(x, index, axis), M)
    check_batching(lambda x, i: pnp.take_along_axis(x, i, axis), M, index)


def test_take_along_axis_modes():
    index = np.array([[5, -5, 0]] * 3, np.int32)
    for mode in (None, "fill", "clip"):
        close(pnp.take_along_axis(M, index, 1, mode=mode), jnp.take_along_axis(jnp.asarray(M), index, 1, mode=mode))
    close(pnp.take_along_axis(M, np.array([3, 50]), None), jnp.take_along_axis(jnp.asarray(M), np.array([3, 50]), None))
    with pytest.raises(ValueError, match="as many axes"):
        pnp.take_along_axis(M, np.array([0]), 0)


def test_put_along_axis():
    index = np.array([[0, 3], [1, 1], [2, -1]], np.int32)
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    for v in (values, 7.0):
        expected = jnp.put_along_axis(jnp.asarray(M), index, v, 1, inplace=False)
        close(pnp.put_along_axis(M, index, v, 1, inplace=False), expected)
    check_derivative(lambda x, v: pnp.put_along_axis(x, index, v, 1, inplace=False), M, values)
    with pytest.raises(ValueError, match="inplace=False"):
        pnp.put_along_axis(M, index, values, 1)


def test_put_place_fill_diagonal():
    for ind, v, mode in (
        (np.array([0, 5, -1]), np.array([1.0, 2.0]), None),
        (np.array([40, 1]), 5.0, "clip"),
        (np.array([40, -41]), 5.0, "wrap"),
    ):
        close(
            pnp.put(M, ind, v, mode, inplace=False), jnp.put(jnp.asarray(M), ind, jnp.asarray(v), mode, inplace=False)
        )
    mask, values = M > 0, np.array([1.0, 2.0, 3.0], np.float32)
    close(pnp.place(M, mask, values, inplace=False), jnp.place(jnp.asarray(M), mask, values, inplace=False))
    for v in (9.0, values):
        close(pnp.fill_diagonal(M, v, inplace=False), jnp.fill_diagonal(jnp.asarray(M), v, inplace=False))
    cube = np.zeros((2, 2, 2), np.float32)
    close(pnp.fill_diagonal(cube, 1.0, inplace=False), jnp.fill_diagonal(jnp.asarray(cube), 1.0, inplace=False))


def test_compress_extract_ix():
    mask = np.array([True, False, True])
    close(pnp.compress(mask, M, 0), jnp.compress(mask, jnp.asarray(M), 0))
    close(pnp.compress(mask, M, 0, size=3), jnp.compress(mask, jnp.asarray(M), 0, size=3))
    close(pnp.extract(M > 0, M), jnp.extract(M > 0, jnp.asarray(M)))
    for ours, theirs in zip(pnp.ix_(np.array([0, 2]), mask), np.ix_([0, 2], mask), strict=True):
        close(ours, theirs.astype(np.int32))
    rows, columns = pnp.ix_(np.array([0, 2]), np.array([1, 3]))
    close(pnp.asarray(M)[rows, columns], M[np.ix_([0, 2], [1, 3])])


# --- what is staged ---


def primitives(fun, *args):
    return [eqn.primitive.name for eqn in pb.make_jaxpr(fun)(*args).jaxpr.eqns]


def test_known_indices_are_staged_as_slices():
    assert primitives(lambda x: x[1], X) == ["slice", "reshape"]
    assert primitives(lambda x: x[..., 1:3], X) == ["slice"]
    assert primitives(lambda x: x[:, None], X) == ["reshape"]
    assert primitives(lambda x: x[::-1], X) == ["rev"]
    assert primitives(lambda x: x.at[1:].set(0.0), X) == ["broadcast_in_dim", "dynamic_update_slice"]
    assert primitives(lambda x: x[np.array([0, 2])], X) == ["gather"]
    assert primitives(lambda x, i: x[i], V, np.uint8(1)) == ["dynamic_slice", "reshape"]


def test_arrays_share_nothing_with_the_users_data():
    data = V.copy()
    x = pnp.asarray(data)
    data[0] = 99.0
    close(x, V)
    y = x[1:]
    assert not np.asarray(y).flags.writeable


def test_jax_agrees_on_a_few_shapes_of_mixed_indices():
    for key in (
        (0, slice(None), np.array([1, 2])),
        (np.array([0, 1]), slice(None), np.array([1, 2])),
        (slice(None), 1, None, np.array([0, 3])),
        (None, np.array([0]), ..., np.array([[1], [2]])),
    ):
        ours = pb.jit(lambda x: x[key])(X)  # noqa: B023
        close(ours, jax.jit(lambda x: x[key])(X))  # noqa: B023


# ---- Derivatives of updates


OPERATIONS = {
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b,
    "min": pnp.minimum,
    "max": pnp.maximum,
}


@pytest.mark.parametrize("zeros", [(), (0,), (0, 2)], ids=["no zero", "a zero", "two zeros"])
@pytest.mark.parametrize(
    "positions",
    [[0, 2, 2, 0, 2], *(pytest.param(others, marks=pytest.mark.long) for others in ([1], [3, 0], [2, 2, 2, 2]))],
    ids=str,
)
@pytest.mark.parametrize("name", OPERATIONS)
def test_derivatives_of_updates_are_those_of_a_loop(name, positions, zeros):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.5, 1.5, 4), rng.uniform(0.5, 1.5, len(positions))
    if name != "divide":
        y[[z for z in zeros if z < len(y)]] = 0
    weights = np.array([1.0, -2.0, 0.5, 3.0])

    def at_once(x, y):
        return (getattr(x.at[np.array(positions)], name)(y) * weights).sum() ** 2

    def looped(x, y):
        places = list(x)
        for k, i in enumerate(positions):
            places[i] = OPERATIONS[name](places[i], y[k])
        return (pnp.stack(places) * weights).sum() ** 2

    with pb.enable_x64():
        x, y = pnp.array(x), pnp.array(y)
        for a in (0, 1):
            right = pb.grad(looped, a)(x, y)
            for run in (pb.grad(at_once, a), pb.jit(pb.grad(at_once, a)), pb.jacfwd(at_once, a)):
                np.testing.assert_allclose(run(x, y), right, rtol=1e-10, atol=1e-12)
            for b in (0, 1):
                right = pb.jacfwd(pb.grad(looped, a), b)(x, y)
                for run in (pb.jacfwd(pb.grad(at_once, a), b), pb.jit(pb.jacrev(pb.grad(at_once, a), b))):
                    np.testing.assert_allclose(run(x, y), right, rtol=1e-9, atol=1e-11)


def test_derivatives_of_dropped_and_batched_products():
    def total(y, x):
        return x.at[np.array([0, 5, -1, 0])].mul(y, mode="drop").sum()

    y, x = np.float32([2, 3, 4, 5]), np.float32([2, 3])
    np.testing.assert_array_equal(np.asarray(pb.grad(total)(y, pnp.array(x))), [10, 0, 3, 4])
    np.testing.assert_array_equal(
        np.asarray(pb.vmap(pb.grad(total), (0, None))(np.stack([y, y]), pnp.array(x))), [[10, 0, 3, 4]] * 2
    )
