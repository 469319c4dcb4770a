"""Reductions over segments: values are JAX's, derivatives are right, repeated and foreign ids included."""

import jax
import numpy as np
import pytest
from agreement import all_close

import pullback as pb
from pullback import ops
from pullback.errors import ConcretizationTypeError
from pullback.test_util import check_grads

NAMES = ["segment_sum", "segment_prod", "segment_max", "segment_min"]
IDS = np.array([0, 2, 0, -1, 3, 7, 2, 0], np.int32)
FILLED = np.array([0, 2, 3])  # of 4 segments
DATA = np.random.default_rng(0).standard_normal((8, 2)).astype(np.float32)
GROUND = {"segment_sum": np.add, "segment_prod": np.multiply, "segment_max": np.maximum, "segment_min": np.minimum}


def reduced(name, data, ids, n, start):
    """The definition, row by row."""
    out = np.full((n, *data.shape[1:]), start, data.dtype)
    for row, i in zip(data, ids, strict=True):
        if 0 <= i < n:
            out[i] = GROUND[name](out[i], row)
    return out


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_jax(name):
    fun, oracle = getattr(ops, name), getattr(jax.ops, name)
    cases = [
        ((DATA, IDS, 8), {}),
        ((DATA, IDS, 4), {"mode": "clip"}),
        ((DATA, IDS, 3), {"bucket_size": 3}),
        (((DATA * 9).astype(np.int32), IDS, 5), {}),
    ]
    expected = jax.jit(lambda: [oracle(*args, **options) for args, options in cases])()
    all_close([fun(*args, **options) for args, options in cases], expected)
    all_close(fun(DATA, IDS), expected[0])
    all_close(pb.jit(lambda: [fun(*args, **options) for args, options in cases])(), expected)


@pytest.mark.parametrize(
    ("name", "starts"),
    list(
        zip(
            NAMES,
            [
                {"uint8": 0, "float16": 0, "int32": 0},
                {"uint8": 1, "float16": 1, "int32": 1},
                {"uint8": 0, "float16": -np.inf, "int32": -(2**31), "bool": False},
                {"uint8": 255, "float16": np.inf, "int32": 2**31 - 1, "bool": True},
            ],
            strict=True,
        )
    ),
)
def test_dtypes_are_kept_and_empty_segments_get_the_neutral_element(name, starts):
    for dtype, start in starts.items():
        data = np.arange(8).astype(dtype)
        for options in ({}, {"bucket_size": 2}):
            got = getattr(ops, name)(data, IDS, 6, **options)
            all_close(got, reduced(name, data, IDS, 6, start))
        all_close(getattr(ops, name)(data[:0], IDS[:0], 2, bucket_size=2), np.full(2, start, dtype))


@pytest.mark.parametrize("name", NAMES)
def test_derivatives(name):
    fun = getattr(ops, name)
    for options in ({}, {"bucket_size": 3}, {"mode": "clip"}):
        check_grads(lambda x, options=options: fun(x, IDS, 4, **options)[FILLED], (DATA,), order=2)


def test_the_derivative_of_a_product_is_right_where_factors_are_zero():
    x = np.array([0, 2, 0, 5, 6, 7, 3, 4], np.float32)

    def factors(x):
        return pb.numpy.stack([x[0] * x[2] * x[7], x[1] * x[6], x[4]])

    def product(x):
        return ops.segment_prod(x, IDS, 4)[FILLED]

    for derivative in (pb.jacrev, pb.jacfwd, lambda f: pb.jacfwd(pb.jacrev(f)), lambda f: pb.jit(pb.jacrev(f))):
        np.testing.assert_array_equal(derivative(product)(x), derivative(factors)(x))


def test_narrow_ids():
    ids = np.array([250, 3], np.uint8)
    for options in ({}, {"mode": "clip"}, {"bucket_size": 1}):
        got = ops.segment_sum(np.float32([1, 2]), ids, 300, **options)
        assert (got[250], got[3], got.sum()) == (1, 2, 3)


def test_ties_share_the_derivative():
    x = np.array([2, 1, 2, 9, 1, 1, 1, 0], np.float32)
    gradient = pb.grad(lambda x: ops.segment_max(x, IDS, 3)[2] + ops.segment_max(x, IDS, 3)[0])(x)
    np.testing.assert_array_equal(gradient, [0.5, 0.5, 0.5, 0, 0, 0, 0.5, 0])


def test_batches_of_data_and_ids():
    ids = np.stack([IDS, IDS + 1])
    for name, start in zip(NAMES, [0, 1, -np.inf, np.inf], strict=True):
        got = pb.vmap(lambda x, i, name=name: getattr(ops, name)(x, i, 4), (None, 0))(DATA, ids)
        all_close(got, np.stack([reduced(name, DATA, i, 4, start) for i in ids]))
        all_close(
            pb.vmap(lambda x, name=name: getattr(ops, name)(x, IDS, 4), 1, 1)(DATA), reduced(name, DATA, IDS, 4, start)
        )


def test_promises_are_kept_to():
    ids = np.sort(IDS)
    for name, start in zip(NAMES, [0, 1, -np.inf, np.inf], strict=True):
        fun = getattr(ops, name)
        got = pb.jit(lambda x, fun=fun: fun(x, ids, 4, indices_are_sorted=True, bucket_size=2))(DATA)
        all_close(got, reduced(name, DATA, ids, 4, start))


def test_refusals():
    with pytest.raises(TypeError, match=r"segment_sum: segment_ids must be integers, got f32\[8\]"):
        ops.segment_sum(DATA, IDS * np.float32(1))
    with pytest.raises(ValueError, match=r"segment_max: .* segment_ids of shape \(3,\) and data of shape \(8, 2\)"):
        ops.segment_max(DATA, IDS[:3])
    with pytest.raises(ValueError, match=r"segment_prod: .* segment_ids of shape \(8,\) and data of shape \(\)"):
        ops.segment_prod(1.0, IDS)
    with pytest.raises(ValueError, match="segment_min: num_segments must not be negative, got -1"):
        ops.segment_min(DATA, IDS, -1)
    with pytest.raises(TypeError, match=r"segment_sum: num_segments must be an integer, got 2\.5"):
        ops.segment_sum(DATA, IDS, 2.5)
    with pytest.raises(ValueError, match="segment_sum: bucket_size must be positive, got 0"):
        ops.segment_sum(DATA, IDS, 4, bucket_size=0)
    with pytest.raises(ValueError, match=r"segment_sum: without segment_ids .* give num_segments"):
        ops.segment_sum(DATA[:0], IDS[:0])
    with pytest.raises(TypeError, match="segment_sum: data must be numbers, got bool"):
        ops.segment_sum(DATA > 0, IDS)
    with pytest.raises(TypeError, match="segment_max: data must be real"):
        ops.segment_max(DATA * 1j, IDS)
    with pytest.raises(ConcretizationTypeError, match=r"segment_sum: .* Give num_segments"):
        pb.jit(ops.segment_sum)(DATA, IDS)


@pytest.mark.parametrize("name", NAMES)
def test_of_no_segments_there_is_nothing(name):
    for options in ({}, {"mode": "clip"}, {"bucket_size": 3}):
        got = getattr(ops, name)(DATA, IDS, num_segments=0, **options)
        assert (got.shape, got.dtype) == ((0, 2), np.float32)
    total = pb.jit(pb.grad(lambda x: getattr(ops, name)(x, IDS, num_segments=0).sum()))
    np.testing.assert_array_equal(total(DATA), np.zeros_like(DATA))
