"""Window functions: values in double precision, by the definition, and Kaiser's derivative by its parameter."""

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from agreement import check_batching, check_derivative

import pullback as pb
import pullback.numpy as pnp

FIXED = ["bartlett", "blackman", "hamming", "hanning"]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 64])
@pytest.mark.parametrize("name", FIXED)
def test_windows_are_numpy_s(name, count):
    window = getattr(pnp, name)(count)
    assert window.dtype == "float32"
    assert window.shape == getattr(jnp, name)(count).shape
    # blackman and hanning are 0 at the ends; NumPy leaves a rounding error there
    np.testing.assert_allclose(window, getattr(np, name)(count), rtol=1e-7, atol=1e-16)
    np.testing.assert_array_equal(window, np.asarray(window)[::-1])


@pytest.mark.parametrize("beta", [0.0, 0.5, -3.0, 14.0, 600.0])
def test_kaiser(beta):
    with pb.enable_x64():
        window = pnp.kaiser(9, np.float64(beta))
        assert window.dtype == "float64"
        places = [mpmath.mpf(k) / 4 for k in range(-4, 5)]
        exact = [mpmath.besseli(0, beta * mpmath.sqrt(1 - x * x)) / mpmath.besseli(0, beta) for x in places]
        np.testing.assert_allclose(window, np.array(exact, float), rtol=1e-13)
    # rounding the exponent, up to 600, costs digits; what is too small for float32 is 0
    np.testing.assert_allclose(pnp.kaiser(9, beta), np.array(exact, float), rtol=1e-4, atol=1e-38)
    assert pnp.kaiser(0, beta).shape == (0,)
    assert pnp.kaiser(1, beta) == 1


def test_kaiser_is_differentiated_by_its_parameter():
    check_derivative(lambda beta: pnp.kaiser(6, beta), np.float32(2.5))
    check_batching(lambda beta: pnp.kaiser(6, beta), np.float32(2.5))
    assert float(pb.grad(lambda beta: pnp.kaiser(6, beta).sum())(0.0)) == 0.0


@pytest.mark.parametrize("name", [*FIXED, "kaiser"])
def test_what_is_refused(name):
    args = (2.0,) if name == "kaiser" else ()
    with pytest.raises(ValueError, match=f"{name}: the number of samples M must not be negative, got -1"):
        getattr(pnp, name)(-1, *args)
    with pytest.raises(TypeError, match=f"{name}: M must be an integer"):
        getattr(pnp, name)(2.5, *args)
    with pytest.raises(ValueError, match="kaiser: beta must be a number"):
        pnp.kaiser(3, np.ones(2))
    with pytest.raises(TypeError, match="kaiser"):
        pnp.kaiser(3, 1j)
