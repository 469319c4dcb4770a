"""Convolutions in which each channel is a group: compiled as shifts, with the results of the general way."""

import jax
import ml_dtypes
import numpy as np
import pytest

import pullback as pb
import pullback.numpy
from pullback import export

rng = np.random.default_rng(0)
FIRST, LAST = ("NCHW", "OIHW", "NCHW"), ("NHWC", "HWIO", "NHWC")
# options of the convolution, the shape of the input and of the kernel as for `FIRST`
CASES = {
    "plain": ({"padding": "SAME"}, (2, 5, 7, 6), (5, 1, 3, 3)),
    "channels last": ({"padding": "SAME", "dimension_numbers": LAST}, (2, 5, 7, 6), (5, 1, 3, 3)),
    "other axes of the result": (
        {"padding": "VALID", "dimension_numbers": ("NCHW", "HWIO", "NHWC")},
        (2, 5, 7, 6),
        (5, 1, 3, 2),
    ),
    "strides": ({"padding": [(1, 2), (0, 1)], "window_strides": (2, 3)}, (2, 4, 9, 8), (4, 1, 3, 2)),
    "dilated kernel": ({"padding": "SAME", "rhs_dilation": (2, 1)}, (1, 3, 8, 7), (3, 1, 3, 2)),
    "dilated input": ({"padding": [(2, 1), (1, 1)], "lhs_dilation": (2, 3)}, (2, 3, 4, 3), (3, 1, 3, 3)),
    "cut input": ({"padding": [(-1, 2), (0, -2)]}, (2, 3, 8, 8), (3, 1, 2, 3)),
    "all": (
        {"padding": [(3, -1), (2, 2)], "window_strides": (2, 1), "lhs_dilation": (1, 2), "rhs_dilation": (2, 1)},
        (2, 3, 9, 5),
        (3, 1, 2, 3),
    ),
}


def arrange(x, spec, names):
    return np.transpose(x, [names.index(c) for c in spec])


def made(case, dtype="float32"):
    options, x, w = CASES[case]
    options = {"window_strides": (1, 1), "dimension_numbers": FIRST, **options}
    lhs, rhs, _ = options["dimension_numbers"]
    options["feature_group_count"] = w[0]
    x, w = rng.standard_normal(x).astype(dtype), rng.standard_normal(w).astype(dtype)
    return options, arrange(x, lhs, "NCHW"), arrange(w, rhs, "OIHW")


def convolved(library, options):
    def run(x, w):
        return library.lax.conv_general_dilated(x, w, **options)

    return run


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(case):
    options, x, w = made(case)

    def everything(library):
        f = convolved(library, options)

        def loss(x, w):
            y = f(x, w)
            return (y * library.numpy.cos(y)).sum()

        def run(x, w):
            pushed = library.jvp(f, (x, w), (x * 2, w + 1))[1]
            rows = library.vmap(f)(library.numpy.stack([x, -x]), library.numpy.stack([w, w * 3]))
            return f(x, w), *library.grad(loss, (0, 1))(x, w), pushed, rows

        return library.jit(run)

    for got, expected in zip(everything(pb)(x, w), everything(jax)(x, w), strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes(dtype):
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    options, x, w = made("plain", dtype)
    with pb.enable_x64():
        got = pb.jit(convolved(pb, options))(x, w)
        assert got.dtype == dtype
        wide = pb.jit(convolved(pb, options))(x.astype("float64"), w.astype("float64"))
    # one rounding of the result, sums of 9 terms of size 1 being exact in comparison
    bound = {"float16": 2e-3, "bfloat16": 2e-2, "float64": 1e-14}[dtype.name]
    np.testing.assert_allclose(np.asarray(got).astype("float64"), wide, rtol=bound, atol=bound)


def convolutions(function, *args):
    return pb.jit(function).lower(*args).as_text().count('"stablehlo.convolution"')


def gradients(f):
    return pb.grad(lambda x, w: f(x, w).sum(), (0, 1))


def test_which_are_shifts():
    for case in CASES:
        options, x, w = made(case)
        f = convolved(pb, options)
        assert convolutions(f, x, w) == 0
        assert convolutions(gradients(f), x, w) == 0
    x, w = np.ones((2, 4, 20, 20), "float32"), np.ones((4, 1, 9, 9), "float32")
    f = convolved(pb, {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 4})
    assert convolutions(f, x, w) == 1  # as many shifts take long to compile
    assert convolutions(f, x, np.ones((8, 1, 3, 3), "float32")) == 1
    grouped = convolved(pb, {"window_strides": (1, 1), "padding": "SAME", "feature_group_count": 2})
    assert convolutions(grouped, x, np.ones((4, 2, 3, 3), "float32")) == 1
    assert convolutions(f, x.astype("int32"), w[..., :3, :3].astype("int32")) == 1


def test_files_have_convolutions():
    options, x, w = made("plain")
    exported = export.export(pb.jit(convolved(pb, options)))(x, w)
    assert "stablehlo.convolution" in exported.mlir_module()
    np.testing.assert_allclose(exported.call(x, w), pb.jit(convolved(pb, options))(x, w), rtol=1e-5, atol=1e-5)
