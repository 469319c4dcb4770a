"""Windows of convolutions as features, locally connected layers, and shapes of results: against JAX."""

import numpy as np
import pytest
from agreement import Sampler, agree, check_batching, check_derivative, close
from jax import lax as jlax

import pullback as pb
from pullback import lax

data = Sampler(2)
PATCHES = [
    ((2, 3, 7), (3,), (2,), "SAME", {}),
    ((1, 2, 6, 5), (2, 3), (1, 2), "VALID", {}),
    ((1, 2, 6, 5), (2, 3), (1, 2), [(1, 0), (2, 1)], {"rhs_dilation": (2, 1)}),
    ((1, 2, 4, 3), (2, 2), (2, 1), [(1, 1), (0, 2)], {"lhs_dilation": (2, 3)}),
    ((1, 6, 5, 2), (2, 3), (1, 1), "SAME", {"dimension_numbers": ("NHWC", "WHIO", "NWHC")}),
    ((1, 2, 6), (3,), (1,), [(-1, 0)], {}),
]


@pytest.mark.parametrize(("shape", "window", "strides", "padding", "options"), PATCHES)
def test_patches(shape, window, strides, padding, options):
    def of(library):
        return lambda x: library.conv_general_dilated_patches(x, window, strides, padding, **options)

    x = data(shape)
    agree(of(lax), of(jlax), x)
    check_derivative(of(lax), x)
    check_batching(of(lax), x)


@pytest.mark.parametrize("dtype", ["bool", "int8", "float16", "bfloat16", "complex64"])
def test_patches_of_every_dtype_are_the_elements(dtype):
    x = data((1, 1, 4), dtype)
    got = lax.conv_general_dilated_patches(x, (2,), (1,), "VALID")
    close(got, np.stack([x[0, 0, :3], x[0, 0, 1:]])[None])
    assert lax.conv_general_dilated_patches(x, (2,), (1,), "VALID", preferred_element_type="complex64").dtype == (
        "complex64"
    )


def test_infinity_and_nan_stay_where_they_are():
    """JAX multiplies by zeros, so that every window with an infinity is nan."""
    x = np.array([[[1, np.inf, np.nan, 2]]], "float32")
    np.testing.assert_array_equal(
        lax.conv_general_dilated_patches(x, (2,), (2,), "VALID")[0], [[1, np.nan], [np.inf, 2]]
    )


LOCAL = [
    ((2, 3, 7), (5, 6, 6), (1,), "VALID", (2,), {}),
    ((1, 2, 5, 4), (3, 12, 2, 4), (2, 1), [(0, 0), (1, 1)], (3, 2), {"rhs_dilation": (1, 2)}),
    (
        (2, 5, 4, 2),
        (4, 5, 8, 3),
        (1, 1),
        "SAME",
        (2, 2),
        {"dimension_numbers": ("NHWC", "WHIO", "NWHC")},
    ),
]


@pytest.mark.parametrize(("shape", "kernel", "strides", "padding", "window", "options"), LOCAL)
def test_locally_connected_layers(shape, kernel, strides, padding, window, options):
    def of(library):
        return lambda x, k: library.conv_general_dilated_local(x, k, strides, padding, window, **options)

    x, k = data(shape), data(kernel)
    agree(of(lax), of(jlax), x, k)
    check_derivative(of(lax), x, k)


SHAPES = [
    ("conv_shape_tuple", ((1, 3, 8, 7), (4, 3, 3, 2), (2, 1), "SAME")),
    ("conv_shape_tuple", ((4, 3, 8), (4, 3, 3), (2,), [(1, 0)], 2)),
    ("conv_general_shape_tuple", ((1, 8, 7, 3), (3, 3, 3, 4), (2, 1), "VALID", ("NHWC", "HWIO", "NCHW"))),
    ("conv_transpose_shape_tuple", ((1, 4, 3), (3, 3, 2), (2,), "SAME", ("NHC", "HIO", "NHC"))),
    ("conv_transpose_shape_tuple", ((1, 4, 3), (3, 3, 2), (2,), [(1, 2)], ("NHC", "HIO", "NHC"))),
    ("reduce_window_shape_tuple", ((6, 5), (2, 3), (2, 1), [(0, 0), (1, 1)])),
    ("reduce_window_shape_tuple", ((6, 5), (2, 2), (2, 1), [(0, 0), (1, 1)], (1, 2), (2, 1))),
    ("conv_general_permutations", (("NHWC", "WHIO", "CNHW"),)),
]


@pytest.mark.parametrize(("name", "args"), SHAPES)
def test_shapes_of_results(name, args):
    got = getattr(lax, name)(*args)
    assert got == tuple(tuple(map(int, v)) if np.ndim(v) else int(v) for v in getattr(jlax, name)(*args))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lax.conv_general_dilated_patches(np.ones((1, 1, 4)), (2, 2), (1,), "SAME"), "filter_shape"),
        (lambda: lax.conv_general_dilated_patches(np.ones((1, 1, 4)), (2,), (1,), "MIDDLE"), "padding"),
        (
            lambda: lax.conv_general_dilated_local(np.ones((1, 1, 4)), np.ones((1, 2, 4)), (1,), "VALID", (2,)),
            r"the kernel must have .* \(2, 3\), got \(2, 4\)",
        ),
        (lambda: lax.conv_shape_tuple((1, 1, 4), (1, 1, 2), (1,), []), "expected padding for each of 1"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_patches_in_second_derivatives():
    x = data((1, 1, 5))

    def energy(x):
        patches = lax.conv_general_dilated_patches(x, (2,), (1,), "VALID")
        return (patches[:, 0] * patches[:, 1]).sum()

    hessian = np.asarray(pb.hessian(energy)(x)).reshape(5, 5)
    np.testing.assert_allclose(hessian, np.eye(5, k=1) + np.eye(5, k=-1), atol=1e-6)
