"""Convolutions and sliding windows: values, derivatives, batching, refusals."""

import itertools

import jax
import ml_dtypes
import numpy as np
import pytest
from agreement import check_batching, check_derivative, close
from jax import lax

import pullback as pb
from pullback._higher_order import reductions as computations
from pullback._ops import conv, conv_axes, conv_functions, elementwise, window

rng = np.random.default_rng(0)

NHWC = ("NHWC", "HWIO", "NHWC")
CASES = [
    ((2, 4, 7), (3, 4, 3), {"window_strides": (1,), "padding": "VALID"}),
    ((2, 4), (3, 4), {"window_strides": (), "padding": "VALID"}),
    ((2, 4, 6, 5), (6, 4, 3, 2), {"window_strides": (2, 1), "padding": "SAME"}),
    ((2, 4, 6, 7), (6, 4, 3, 2), {"window_strides": (2, 3), "padding": "VALID", "rhs_dilation": (2, 1)}),
    ((2, 4, 5, 4), (6, 4, 3, 2), {"window_strides": (2, 3), "padding": [(1, 2), (0, 3)], "lhs_dilation": (2, 3)}),
    (
        (2, 4, 5, 4),
        (6, 2, 3, 2),
        {
            "window_strides": (2, 3),
            "padding": [(1, 2), (-1, 3)],
            "lhs_dilation": (2, 3),
            "rhs_dilation": (1, 2),
            "feature_group_count": 2,
        },
    ),
    (
        (4, 4, 5, 4),
        (6, 4, 3, 2),
        {"window_strides": (2, 1), "padding": [(1, 2), (0, 3)], "lhs_dilation": (1, 3), "batch_group_count": 2},
    ),
    ((2, 6, 5, 4), (3, 2, 4, 6), {"window_strides": (1, 1), "padding": "SAME", "dimension_numbers": NHWC}),
    (
        (2, 6, 5, 4),
        (3, 2, 1, 8),
        {"window_strides": (1, 2), "padding": "SAME_LOWER", "dimension_numbers": NHWC, "feature_group_count": 4},
    ),
    (
        (5, 6, 4, 4),
        (2, 3, 4, 8),
        {
            "window_strides": (1, 2),
            "padding": "SAME",
            "batch_group_count": 2,
            "dimension_numbers": ("HWNC", "WHIO", "NHWC"),
        },
    ),
    ((2, 3, 4, 3, 4), (2, 3, 2, 2, 2), {"window_strides": (1, 2, 1), "padding": "SAME"}),
]


def data(shape, dtype="float32"):
    """Random numbers of a dtype."""
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    values = rng.integers(0, 5, shape) if dtype.kind in "iu" else rng.standard_normal(shape)
    if dtype.kind == "c":
        values = values + 1j * rng.standard_normal(shape)
    return np.asarray(values).astype(dtype)


@pytest.mark.parametrize(("left", "right", "options"), CASES)
def test_convolution_and_its_derivatives(left, right, options):
    x, w = data(left), data(right)
    f = lambda x, w: conv.conv_general_dilated(x, w, **options)  # noqa: E731
    g = lambda x, w: lax.conv_general_dilated(x, w, **options)  # noqa: E731
    expected, pullback = jax.vjp(g, x, w)
    ct = data(expected.shape)
    close(f(x, w), expected, 10)
    y, ours = pb.vjp(f, x, w)
    for a, b in zip(ours(ct), pullback(ct), strict=True):
        close(a, b, 20)
    # linear in each operand: the jvp is a sum of two convolutions
    t, u = data(left), data(right)
    close(pb.jvp(f, (x, w), (t, u))[1], np.asarray(g(t, w)) + np.asarray(g(x, u)), 20)
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize(("left", "right", "options"), [c for c in CASES if len(c[0]) == 4])
@pytest.mark.parametrize(("in_x", "in_w"), [(0, None), (None, 0), (0, 0), (2, 1), (None, 3), (4, None)])
def test_batching_of_convolution(left, right, options, in_x, in_w):
    f = lambda x, w: conv.conv_general_dilated(x, w, **options)  # noqa: E731
    g = lambda x, w: lax.conv_general_dilated(x, w, **options)  # noqa: E731
    x, w = (
        data(shape) if d is None else data((*shape[:d], 3, *shape[d:])) for shape, d in ((left, in_x), (right, in_w))
    )
    close(pb.vmap(f, in_axes=(in_x, in_w))(x, w), jax.vmap(g, in_axes=(in_x, in_w))(x, w), 20)


@pytest.mark.parametrize("dtype", ["int32", "complex64", "float16", "bfloat16"])
def test_other_dtypes(dtype):
    x, w = data((1, 2, 5), dtype), data((2, 2, 3), dtype)
    close(conv_functions.conv(x, w, (1,), "SAME"), lax.conv(x, w, (1,), "SAME"))


def test_preferred_element_type_and_its_derivative():
    x, w = data((1, 2, 5), "bfloat16"), data((2, 2, 3), "bfloat16")
    f, g = (
        lambda x, w, c=c: c.conv(x, w, (1,), "SAME", preferred_element_type="float32").sum()
        for c in (conv_functions, lax)
    )
    for a, b in zip(pb.grad(f, argnums=(0, 1))(x, w), jax.grad(g, argnums=(0, 1))(x, w), strict=True):
        close(a, b)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), list(itertools.product((2, 3, 5), (1, 2, 3), ("SAME", "VALID", [(1, 2)])))
)
def test_conv_transpose(kernel, stride, padding):
    x, w = data((2, 6, 3)), data((kernel, 3, 3))
    for options in ({}, {"transpose_kernel": True, "rhs_dilation": (2,)}):
        close(
            conv_functions.conv_transpose(x, w, (stride,), padding, **options),
            lax.conv_transpose(x, w, (stride,), padding, **options),
            10,
        )


def test_conv_transpose_is_the_gradient_of_a_convolution():
    x, w, ct = data((2, 3, 9)), data((4, 3, 3)), data((2, 4, 4))
    (expected,) = pb.linear_transpose(lambda x: conv_functions.conv(x, w, (2,), "VALID"), x)(ct)
    got = conv_functions.conv_transpose(
        ct,
        w,
        (2,),
        [(0, 0)],
        dimension_numbers=("NCH", "OIH", "NCH"),
        transpose_kernel=True,
        use_consistent_padding=True,
    )
    close(got, expected, 10)


def test_axis_names_and_pads_as_jax_reads_them():
    for names in (None, NHWC, ("CHWN", "OIHW", "NCWH")):
        ours = conv_axes.conv_dimension_numbers((1, 2, 3, 4), (1, 2, 3, 4), names)
        assert tuple(ours) == tuple(lax.conv_dimension_numbers((1, 2, 3, 4), (1, 2, 3, 4), names))
    for padding in ("SAME", "VALID", "SAME_LOWER"):
        assert conv_axes.padtype_to_pads((7, 8), (3, 2), (2, 3), padding) == [
            tuple(map(int, p)) for p in lax.padtype_to_pads((7, 8), (3, 2), (2, 3), padding)
        ]


def test_refusals():
    x, w = data((1, 2, 5)), data((3, 2, 3))
    with pytest.raises(ValueError, match="the input's 2 features must be the kernel's 4"):
        conv_functions.conv(x, data((3, 4, 3)), (1,), "SAME")
    with pytest.raises(TypeError, match="one dtype"):
        conv.conv_general_dilated(x, w.astype("int32"), (1,), "SAME")
    with pytest.raises(ValueError, match="padding must be 'SAME'"):
        conv_functions.conv(x, w, (1,), "EQUAL")
    with pytest.raises(ValueError, match="window_strides must have a positive int"):
        conv_functions.conv(x, w, (1, 1), "SAME")
    with pytest.raises(ValueError, match="has no meaning with lhs_dilation"):
        conv_functions.conv_with_general_padding(x, w, (1,), "SAME", (2,), None)
    with pytest.raises(TypeError, match="three strings of 3 distinct letters"):
        conv.conv_general_dilated(x, w, (1,), "SAME", dimension_numbers=NHWC)
    with pytest.raises(ValueError, match="2 groups must divide"):
        conv.conv_general_dilated(data((1, 4, 5)), w, (1,), "SAME", feature_group_count=2)


# --- windows ---

WINDOWS = [
    {"window_dimensions": (2, 3), "window_strides": (1, 2)},
    {"window_dimensions": (2, 2), "window_strides": (2, 1), "padding": "SAME"},
    {"window_dimensions": (3, 2), "padding": ((1, 2), (0, 1)), "base_dilation": (2, 1), "window_dilation": (1, 2)},
    {"window_dimensions": (2, 3), "padding": ((0, 0), (4, 0))},
]
STARTS = {"add": 0.0, "max": -np.inf, "min": np.inf, "mul": 1.0}


def both(name, start, options):
    start = np.float32(start)
    ours = lambda x: computations.reduce_window(x, start, getattr(elementwise, name), **options)  # noqa: E731
    filled = {"window_strides": (1, 1), **options}
    return ours, lambda x: lax.reduce_window(x, start, getattr(lax, name), **filled)


@pytest.mark.parametrize("options", WINDOWS)
@pytest.mark.parametrize("name", STARTS)
def test_reduce_window(name, options):
    f, g = both(name, STARTS[name], options)
    x = rng.permutation(30).reshape(5, 6).astype("float32") / 8
    close(f(x), g(x))
    close(pb.jit(f)(x), g(x))
    if name != "mul":
        ct = data(f(x).shape)
        y, dy = pb.jvp(f, (x,), (x,))
        # an extreme is homogeneous, a sum linear: along x itself the derivative is the value (0 of empty windows)
        np.testing.assert_allclose(dy, np.where(np.isinf(y), 0, y), rtol=1e-5)
        (gx,) = pb.vjp(f, x)[1](ct)
        np.testing.assert_allclose(np.vdot(gx, x), np.vdot(ct, dy), rtol=1e-4)
    check_batching(f, x)


@pytest.mark.parametrize("name", ["add", "max", "min"])
def test_gradients_of_pooling_are_jax_s(name):
    f, g = both(name, STARTS[name], {"window_dimensions": (2, 2), "window_strides": (2, 2), "padding": "SAME"})
    x = rng.permutation(30).reshape(5, 6).astype("float32") / 8
    ct = data(f(x).shape)
    close(pb.vjp(f, x)[1](ct)[0], jax.vjp(g, x)[1](ct)[0])
    check_derivative(f, x)


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("shape", [(3, 4), (3, 0)], ids=str)
def test_batches_of_gradients_of_pooling(name, shape):
    f, _ = both(name, STARTS[name], {"window_dimensions": (2, 2), "padding": "SAME"})
    x = rng.permutation(shape[0] * shape[1]).reshape(shape).astype("float32")

    def slope(x):
        return pb.grad(lambda x: (f(x) * np.arange(x.size, dtype=np.float32).reshape(x.shape)).sum())(x)

    check_batching(slope, x)


@pytest.mark.parametrize("padding", ["SAME", [(0, 0), (2, 2)]], ids=str)
def test_gradients_of_pooling_of_nothing(padding):
    f, g = both("max", STARTS["max"], {"window_dimensions": (1, 2), "padding": padding})
    x = np.zeros((3, 0), np.float32)
    close(f(x), g(x))
    for run in (pb.grad(lambda x: f(x).sum()), pb.jit(pb.grad(lambda x: f(x).sum()))):
        assert run(x).shape == (3, 0)
    assert not np.asarray(pb.jvp(f, (x,), (x,))[1]).any()


def test_other_starts_and_functions():
    x = data((4, 5))
    for name, start in (("max", 0.5), ("min", -0.5), ("add", 1.0)):
        f, g = both(name, start, {"window_dimensions": (2, 2), "padding": "SAME"})
        close(f(x), g(x))

    def joined(a, b):
        """a + b + a b, which is (1 + a) (1 + b) - 1."""
        return elementwise.add(elementwise.add(a, b), elementwise.mul(a, b))

    def f(x):
        return computations.reduce_window(x, np.float32(0), joined, (3,))

    np.testing.assert_allclose(f(x[0])[0], np.prod(1 + x[0, :3]) - 1, rtol=1e-4)
    check_batching(f, x[0])


def test_windows_refuse():
    with pytest.raises(ValueError, match="window_dimensions must have an entry for each axis"):
        computations.reduce_window(np.zeros((2, 3), "float32"), 0.0, elementwise.add, (2,))
    with pytest.raises(ValueError, match="must be positive"):
        computations.reduce_window(np.zeros(3, "float32"), 0.0, elementwise.add, (0,))
    with pytest.raises(ValueError, match="init_value must be a scalar"):
        computations.reduce_window(np.zeros(3, "float32"), np.zeros(2, "float32"), elementwise.add, (2,))
    with pytest.raises(TypeError, match="expected a number"):
        window.reduce_window_sum_p.bind(pb.numpy.zeros(3, bool), **window.window_parameters((3,), (2,)))
