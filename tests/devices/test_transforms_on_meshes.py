"""Fourier transforms along axes that are divided among devices: the values of one device."""

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp

A = np.random.RandomState(0).randn(8, 8, 4).astype(np.float32)
FUNCTIONS = {
    "fft": lambda a: pnp.fft.fft(a, axis=0),
    "rfft": lambda a: pnp.fft.rfft(a, axis=0),
    "irfft": lambda a: pnp.fft.irfft(a, axis=0),
    "fft2": lambda a: pnp.fft.fft2(a, axes=(2, 0)),
    "power": pb.grad(lambda a: (abs(pnp.fft.fft(a, axis=0)) ** 2 * pnp.arange(4.0)).sum()),
}


@pytest.mark.parametrize("sizes", [(8, 1), (4, 2)])
def test_values_of_one_device(sizes):
    place = pb.NamedSharding(pb.make_mesh(sizes, ("x", "y")), pb.P("x", "y"))

    def all_of(a):
        return {name: f(a) for name, f in FUNCTIONS.items()}

    expected, got = all_of(pnp.asarray(A)), pb.jit(all_of)(pb.device_put(A, place))
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-3, err_msg=name)
