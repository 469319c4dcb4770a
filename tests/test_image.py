"""Resized images: values against JAX, exact properties, derivatives by image, scale and translation, and refusals."""

import itertools

import jax.image
import numpy as np
import pytest
from agreement import Sampler, check_batching, check_derivative, check_value, close

import pullback as pb
from pullback import image

data = Sampler(8)
METHODS = list(image.ResizeMethod)
NAMES = ["nearest", "bilinear", "cubic", "lanczos3", "lanczos5", "bicubic-pytorch", "area"]
IMAGE = data((2, 7, 9, 1))


def theirs(method):
    return jax.image.ResizeMethod[method.name]


@pytest.mark.parametrize(("method", "antialias"), [*itertools.product(METHODS, (True, False))], ids=str)
def test_sizes_and_methods(method, antialias):
    shapes = [(2, 3, 5, 1), (2, 14, 4, 1), (2, 7, 20, 3), (2, 1, 1, 1), (2, 7, 9, 1)]
    check_value(
        lambda x: [image.resize(x, shape, method, antialias) for shape in shapes],
        lambda x: [jax.image.resize(x, shape, theirs(method), antialias) for shape in shapes],
        IMAGE,
    )


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    assert image.ResizeMethod.from_string(name).name == jax.image.ResizeMethod.from_string(name).name
    assert {m.name: m.value for m in METHODS} == {m.name: m.value for m in jax.image.ResizeMethod}
    close(image.resize(IMAGE, (2, 3, 9, 1), name), jax.image.resize(IMAGE, (2, 3, 9, 1), name), 10)


@pytest.mark.parametrize("dtype", ["bool", "int8", "float16", "bfloat16", "float32", "complex64"])
@pytest.mark.parametrize("name", ["nearest", "linear", "cubic"])
def test_dtypes(name, dtype):
    x = data((5, 4), dtype)
    got, expected = image.resize(x, (3, 7), name), jax.image.resize(x, (3, 7), name)
    # in half precision JAX rounds the weights
    close(got, expected, 3 if x.dtype.itemsize == 2 else 1)


@pytest.mark.parametrize("method", METHODS[1:], ids=str)
def test_constant_and_unchanged_images(method):
    ones = np.ones((6, 5), "float32")
    for shape in ((4, 11), (13, 2)):
        np.testing.assert_allclose(image.resize(ones, shape, method), np.ones(shape), rtol=1e-6)
    x = data((6, 5))
    unchanged = image.scale_and_translate(x, (6, 5), (0, 1), np.ones(2, "float32"), np.zeros(2, "float32"), method)
    np.testing.assert_allclose(unchanged, x, atol=1e-6)


MOVES = [((0.5, 1.7), (0.3, -2.0)), ((1.0, 1.0), (1.0, -1.0)), ((2.3, 0.4), (-3.0, 5.0))]


@pytest.mark.parametrize("move", MOVES, ids=range(3))
@pytest.mark.parametrize(("method", "antialias"), [*itertools.product(METHODS[1:], (True, False))], ids=str)
def test_scales_and_translations(method, antialias, move):
    scale, translation = (np.array(v, "float32") for v in move)
    args = (IMAGE, (2, 6, 11, 1), (1, 2), scale, translation)
    got = image.scale_and_translate(*args, method, antialias)
    close(got, jax.image.scale_and_translate(*args, theirs(method), antialias), 10)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_the_derivative_by_the_image(method):
    x = data((5, 4))
    for shape in ((3, 7), (8, 4)):
        check_derivative(lambda x, shape=shape: image.resize(x, shape, method), x)
    check_batching(lambda x: image.resize(x, (3, 7), method), x)


@pytest.mark.parametrize(
    "method", [image.ResizeMethod.CUBIC, image.ResizeMethod.LANCZOS3, image.ResizeMethod.AREA], ids=str
)
def test_derivatives_by_scale_and_translation(method):
    x = data((6, 5))

    def moved(scale, translation):
        return image.scale_and_translate(x, (5, 7), (1, 0), scale, translation, method)

    scale, translation = np.array([1.37, 0.83], "float32"), np.array([0.21, 0.34], "float32")
    check_derivative(moved, scale, translation)
    check_batching(moved, scale, translation)
    compiled = pb.jit(pb.grad(lambda s, t: (moved(s, t) ** 2).sum(), (0, 1)))(scale, translation)
    for got, expected in zip(
        compiled, pb.grad(lambda s, t: (moved(s, t) ** 2).sum(), (0, 1))(scale, translation), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_images_without_elements():
    assert image.resize(np.zeros((0, 4)), (0, 2), "linear").shape == (0, 2)
    assert image.resize(np.zeros((3, 4)), (0, 4), "linear").shape == (0, 4)
    assert image.resize(np.zeros((3, 4)), (0, 4), "nearest").shape == (0, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: image.resize(IMAGE, (3,), "linear"), "resize: shape must have a length for each of the 4 axes"),
        (lambda: image.resize(IMAGE, (2, 3, 3, 1), "soft"), "resize: the method must be a ResizeMethod or one of"),
        (lambda: image.resize(np.zeros((0, 4)), (2, 4), "linear"), r"shape \(0, 4\) without elements"),
        (
            lambda: image.scale_and_translate(IMAGE, IMAGE.shape, (1,), np.ones(1), np.zeros(1), "nearest"),
            "the nearest element is found by resize",
        ),
        (
            lambda: image.scale_and_translate(IMAGE, IMAGE.shape, (1,), np.ones(2), np.zeros(1), "linear"),
            "scale must have a number for each of 1 axes",
        ),
        (
            lambda: image.scale_and_translate(IMAGE, (2, 7, 5, 1), (1,), np.ones(1), np.zeros(1), "linear"),
            "the axis 2 is not among spatial_dims",
        ),
        (
            lambda: image.scale_and_translate(IMAGE, IMAGE.shape, (7,), np.ones(1), np.zeros(1), "linear"),
            "out of bounds",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
