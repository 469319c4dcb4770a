"""Dilated operands that negative padding cuts, divided among devices: the values of one device."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax

X = np.arange(1, 9, dtype=np.float32)


def divided(x):
    mesh = pb.make_mesh((4,), ("x",), devices=pb.devices()[:4])
    return pb.device_put(x, pb.NamedSharding(mesh, pb.P("x")))


def cases(low, step):
    """Functions of an array of 8 numbers: values of all, and gradients of those whose dilation comes from a stride."""
    kernel = pnp.array([[[1.0]], [[-2.0]], [[3.0]]])

    def convolved(x, pads, strides=(1,), dilation=(1,)):
        x = x[None, :, None]
        return lax.conv_general_dilated(
            x, kernel, strides, [pads], lhs_dilation=dilation, dimension_numbers=("NWC", "WIO", "NWC")
        ).ravel()

    def pooled(x, init, op, pads, strides=(1,), dilation=(1,)):
        return lax.reduce_window(x, init, op, (2,), strides, [pads], base_dilation=dilation)

    def weighed(f):
        return pb.grad(lambda x: (f(x) * pnp.arange(1.0, 1 + len(f(X)))).sum())

    return {
        "pad": lambda x: lax.pad(x, np.float32(9), [(low, 1, step - 1)]),
        "convolution": lambda x: convolved(x, (low, 2), dilation=(step,)),
        "gradient of a convolution": weighed(lambda x: convolved(x, (2 - low, 4), strides=(step,))),
        "sums of windows": lambda x: pooled(x, 0.0, lax.add, (low, 1), dilation=(step,)),
        "gradient of sums of windows": weighed(lambda x: pooled(x, 0.0, lax.add, (1 - low, 3), strides=(step,))),
        "extremes of windows": lambda x: pooled(x, -np.inf, lax.max, (low, 1), dilation=(step,)),
    }


# the last: all elements but the last one are cut off, or that one too
@pytest.mark.parametrize(("low", "step"), [(-1, 2), (-3, 2), (-2, 2), (-1, 3), (-5, 3), (-13, 2), (-21, 3)])
def test_values_of_one_device(low, step):
    functions = cases(low, step)

    def all_of(x):
        return {name: f(x) for name, f in functions.items()}

    expected, got = all_of(pnp.asarray(X)), pb.jit(all_of)(divided(X))
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-6, err_msg=name)


def test_nothing_is_left():
    def padded(x):
        return lax.pad(x, np.float32(9), [(-17, 5, 1)])

    assert pb.jit(padded)(divided(X)).tolist() == [9.0, 9.0, 9.0]


def test_an_eager_operation():
    got = lax.pad(divided(X), np.float32(9), [(-1, 0, 1)])
    assert got.tolist() == [9, 2, 9, 3, 9, 4, 9, 5, 9, 6, 9, 7, 9, 8]
