"""slice, pad, rev, dynamic slices, concatenate, split, iota, bitcasts: values, derivatives, batching, refusals."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from agreement import Sampler, check_batching, check_derivative, check_value, close
from jax import lax

import pullback as pb
from pullback._ops import assemble, dynamic_slicing, slicing

DTYPES = ["bool", "int8", "uint32", "float16", "bfloat16", "float32", "complex64"]


data = Sampler(largest=90)


SLICES = [
    ((5, 4), (1, 0), (4, 4), None),
    ((5, 4), (0, 1), (5, 4), (2, 3)),
    ((5,), (2,), (2,), None),
    ((0, 3), (0, 0), (0, 2), (1, 2)),
    ((), (), (), None),
    ((7,), (1,), (7,), (4,)),
]


@pytest.mark.parametrize(("shape", "start", "limit", "strides"), SLICES)
def test_slice(shape, start, limit, strides):
    x = data(shape)
    f = lambda x: slicing.slice(x, start, limit, strides)  # noqa: E731
    check_value(f, lambda x: lax.slice(x, start, limit, strides), x)
    check_derivative(f, x)
    check_batching(f, x)


@pytest.mark.parametrize("dtype", DTYPES)
def test_static_pieces_in_every_dtype(dtype):
    x = data((4, 3), dtype)
    zero = np.zeros((), x.dtype)
    check_value(lambda x: slicing.slice(x, (1, 0), (4, 3), (2, 1)), lambda x: lax.slice(x, (1, 0), (4, 3), (2, 1)), x)
    config = [(1, 0, 1), (-1, 2, 0)]
    check_value(lambda x: slicing.pad(x, zero, config), lambda x: lax.pad(x, zero, config), x)
    check_value(lambda x: slicing.rev(x, (1,)), lambda x: lax.rev(x, (1,)), x)
    check_value(lambda x: assemble.concatenate([x, x], 1), lambda x: lax.concatenate([x, x], 1), x)
    check_value(
        lambda x: dynamic_slicing.dynamic_slice(x, (1, 2), (2, 2)), lambda x: lax.dynamic_slice(x, (1, 2), (2, 2)), x
    )
    check_value(
        lambda x: dynamic_slicing.dynamic_update_slice(x, x[:2, :1], (3, 1)),
        lambda x: lax.dynamic_update_slice(x, x[:2, :1], (3, 1)),
        x,
    )


def test_slice_in_dim_and_index_in_dim():
    x = data((4, 5))
    check_value(
        lambda x: slicing.slice_in_dim(x, 1, -1, 2, axis=-1), lambda x: lax.slice_in_dim(x, 1, -1, 2, axis=-1), x
    )
    check_value(lambda x: slicing.index_in_dim(x, -2, 1, False), lambda x: lax.index_in_dim(x, -2, 1, False), x)
    with pytest.raises(IndexError, match=r"index 4 is out of bounds for axis 0 of length 4"):
        slicing.index_in_dim(x, 4)
    with pytest.raises(IndexError, match="axis 2"):
        slicing.slice_in_dim(x, 0, 1, axis=2)


@pytest.mark.parametrize(
    ("start", "limit", "strides"),
    [((0,), (6,), None), ((-1,), (2,), None), ((3,), (2,), None), ((0,), (2,), (0,)), ((0, 0), (1, 1), None)],
)
def test_slice_refuses(start, limit, strides):
    with pytest.raises(ValueError, match=r"^slice: "):
        slicing.slice(np.zeros(5), start, limit, strides)


CONFIGS = [
    ((3, 2), [(1, 2, 0), (0, 0, 1)]),
    ((4,), [(-1, -1, 0)]),
    ((4,), [(-2, 3, 2)]),
    ((4,), [(2, -4, 3)]),
    ((0,), [(2, 1, 3)]),
    ((5,), [(-7, 1, 1)]),
    ((), []),
    ((3,), [(-3, 0, 0)]),
    ((1, 4), [(0, 0, 5), (-1, -5, 1)]),
]


@pytest.mark.parametrize(("shape", "config"), CONFIGS)
def test_pad(shape, config):
    x, value = data(shape), np.float32(7)
    f = lambda x, v: slicing.pad(x, v, config)  # noqa: E731
    check_value(f, lambda x, v: lax.pad(x, v, config), x, value)
    check_derivative(f, x, value)
    check_batching(f, x, value)


def test_pad_refuses():
    with pytest.raises(TypeError, match=r"pad: operand and padding_value must have one dtype"):
        slicing.pad(np.zeros(3, "float32"), np.zeros((), "int32"), [(1, 1, 0)])
    with pytest.raises(ValueError, match="takes more"):
        slicing.pad(np.zeros(3), 0.0, [(-2, -2, 0)])
    with pytest.raises(ValueError, match="interior >= 0"):
        slicing.pad(np.zeros(3), 0.0, [(0, 0, -1)])


@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 2)])
def test_rev(axes):
    x = data((2, 3, 2))
    check_value(lambda x: slicing.rev(x, axes), lambda x: lax.rev(x, axes), x)
    check_derivative(lambda x: slicing.rev(x, axes), x)
    check_batching(lambda x: slicing.rev(x, axes), x)


STARTS = [(0, 0), (3, 1), (-1, -2), (9, -9), (2, 2)]


@pytest.mark.parametrize("starts", STARTS)
@pytest.mark.parametrize("dtype", ["int32", "uint8", "int8"])
def test_dynamic_slice(starts, dtype):
    if dtype == "uint8":
        starts = tuple(abs(s) for s in starts)
    x, i, j = data((5, 4)), *(np.asarray(s, dtype) for s in starts)
    f = lambda x, i, j: dynamic_slicing.dynamic_slice(x, (i, j), (2, 3))  # noqa: E731
    check_value(f, lambda x, i, j: lax.dynamic_slice(x, (i, j), (2, 3)), x, i, j)
    check_derivative(lambda x: f(x, i, j), x)


@pytest.mark.parametrize("starts", STARTS)
def test_dynamic_update_slice(starts):
    x, u, i, j = data((5, 4)), data((2, 3)), *map(np.int32, starts)
    f = lambda x, u, i, j: dynamic_slicing.dynamic_update_slice(x, u, (i, j))  # noqa: E731
    check_value(f, lambda x, u, i, j: lax.dynamic_update_slice(x, u, (i, j)), x, u, i, j)
    check_derivative(lambda x, u: f(x, u, i, j), x, u)


def test_dynamic_slices_batch_over_every_argument():
    x, u, i = data((5, 2)), data((2, 2)), np.array([3, 0], np.int32)
    check_batching(lambda x, i: dynamic_slicing.dynamic_slice(x, i, (2, 1)), x, i)
    check_batching(lambda x, u, i: dynamic_slicing.dynamic_update_slice(x, u, i), x, u, i)


def test_derivatives_of_batched_dynamic_slices():
    x, u, i = data((3, 5)), data((3, 2)), np.array([3, 0, 9], np.int32)

    def two_from(x, i):
        return dynamic_slicing.dynamic_slice(x, (i,), (2,))

    def updated(x, u, i):
        return dynamic_slicing.dynamic_update_slice(x, u, (i,))

    check_derivative(lambda x: pb.vmap(two_from)(x, i), x)
    check_derivative(lambda x, u: pb.vmap(updated)(x, u, i), x, u)


def test_dynamic_slices_along_one_axis():
    x = data((4, 5))
    check_value(
        lambda x, i: dynamic_slicing.dynamic_slice_in_dim(x, i, 2, 1),
        lambda x, i: lax.dynamic_slice_in_dim(x, i, 2, 1),
        x,
        np.int32(-1),
    )
    check_value(
        lambda x, i: dynamic_slicing.dynamic_index_in_dim(x, i, 1, keepdims=False),
        lambda x, i: lax.dynamic_index_in_dim(x, i, 1, keepdims=False),
        x,
        np.int32(3),
    )
    check_value(
        lambda x, i: dynamic_slicing.dynamic_update_slice_in_dim(x, x[:2], i, 0),
        lambda x, i: lax.dynamic_update_slice_in_dim(x, x[:2], i, 0),
        x,
        np.int32(1),
    )
    check_value(
        lambda x, i: dynamic_slicing.dynamic_update_index_in_dim(x, x[:, 0], i, 1),
        lambda x, i: lax.dynamic_update_index_in_dim(x, x[:, 0], i, 1),
        x,
        np.int32(1),
    )


def test_negative_starts_are_clamped_where_they_do_not_count_from_the_end():
    x = np.arange(5.0)
    close(
        dynamic_slicing.dynamic_slice(x, (np.int32(-1),), (2,), allow_negative_indices=False),
        lax.dynamic_slice(jnp.asarray(x), (jnp.int32(-1),), (2,), allow_negative_indices=False),
    )


def test_dynamic_slice_refuses():
    with pytest.raises(ValueError, match="does not fit"):
        dynamic_slicing.dynamic_slice(np.zeros(3), (0,), (4,))
    with pytest.raises(ValueError, match="a start for each of the 2 axes"):
        dynamic_slicing.dynamic_slice(np.zeros((3, 3)), (0,), (1, 1))
    with pytest.raises(TypeError, match="integer scalars"):
        dynamic_slicing.dynamic_slice(np.zeros(3), (0.5,), (1,))
    with pytest.raises(TypeError, match="one dtype"):
        dynamic_slicing.dynamic_update_slice(np.zeros(3, "float32"), np.zeros(1, "int32"), (0,))


def test_concatenate():
    xs = [data((2, n)) for n in (1, 0, 3)]
    f = lambda *xs: assemble.concatenate(xs, 1)  # noqa: E731
    check_value(f, lambda *xs: lax.concatenate(xs, 1), *xs)
    check_derivative(f, *xs)
    check_batching(f, *xs)
    check_derivative(lambda x: assemble.concatenate([x, xs[2]], 1), xs[0])


@pytest.mark.parametrize(
    ("shapes", "axis"), [([(2, 3), (2, 2)], 0), ([(2,), (2, 2)], 0), ([(), ()], 0), ([(2,)] * 2, 1)]
)
def test_concatenate_refuses(shapes, axis):
    with pytest.raises(ValueError, match=r"^concatenate: "):
        assemble.concatenate([np.zeros(s) for s in shapes], axis)


def test_split():
    x = data((2, 6))
    check_value(lambda x: assemble.split(x, (1, 0, 5), 1), lambda x: lax.split(x, (1, 0, 5), 1), x)
    check_derivative(lambda x: assemble.split(x, (1, 5), 1)[1], x)
    check_batching(lambda x: assemble.split(x, (2, 4), -1)[0], x)
    with pytest.raises(ValueError, match="add up"):
        assemble.split(x, (1, 2), 1)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "float32", "bfloat16", "complex64"])
def test_iota(dtype):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    check_value(lambda: assemble.iota(kind, 5), lambda: lax.iota(kind, 5))
    check_value(lambda: assemble.broadcasted_iota(kind, (2, 3, 0), 1), lambda: lax.broadcasted_iota(kind, (2, 3, 0), 1))
    with pytest.raises(ValueError, match="dimension"):
        assemble.broadcasted_iota(kind, (2,), 1)


BITS = [
    ("float32", "int32", (3,)),
    ("float32", "uint8", (3,)),
    ("uint8", "float32", (3, 4)),
    ("int16", "bfloat16", ()),
    ("bfloat16", "uint8", (2,)),
    ("int8", "uint32", (2, 4)),
    ("uint8", "float16", (0, 2)),
]


@pytest.mark.parametrize(("old", "new", "shape"), BITS)
def test_bitcast_convert_type(old, new, shape):
    x = data(shape, old)
    target = ml_dtypes.bfloat16 if new == "bfloat16" else new
    f = lambda x: assemble.bitcast_convert_type(x, target)  # noqa: E731
    expected = lax.bitcast_convert_type(jnp.asarray(x), target)
    for run in (f, pb.jit(f)):
        assert np.asarray(run(x)).tobytes() == np.asarray(expected).tobytes()
        assert run(x).shape == expected.shape
    check_batching(lambda x: assemble.bitcast_convert_type(f(x), old), x)


def test_bitcast_of_four_bit_integers():
    x = np.array([[1, 7], [15, 3]]).astype(ml_dtypes.uint4)
    for run in (lambda f: f, pb.jit):
        packed = run(lambda x: assemble.bitcast_convert_type(x, "uint8"))(x)
        close(packed, np.array([1 + 7 * 16, 15 + 3 * 16], "uint8"))
        close(run(lambda p: assemble.bitcast_convert_type(p, "uint4"))(packed), x)
        close(run(lambda x: assemble.bitcast_convert_type(x, "int4"))(x), x.astype(np.int8).astype(ml_dtypes.int4))


def test_bitcast_refuses():
    with pytest.raises(TypeError, match="bools and complex numbers"):
        assemble.bitcast_convert_type(np.zeros(2, "complex64"), "float32")
    with pytest.raises(ValueError, match="last axis"):
        assemble.bitcast_convert_type(np.zeros(3, "uint8"), "float32")


def test_second_derivatives_go_through_transposes():
    x = data((6,))
    f = lambda x: jnp.sum(lax.slice(x, (1,), (6,), (2,)) ** 3)  # noqa: E731
    g = lambda x: assemble.concatenate([slicing.slice(x, (1,), (6,), (2,))] * 2, 0)  # noqa: E731
    ours = pb.hessian(lambda x: (g(x) * g(x) * g(x)).sum() / 2)(x)
    close(ours, jax.hessian(f)(x), 10)
