"""scipy.special beside JAX's: values, dtypes, derivatives of first order, limits."""

import jax
import jax.scipy.special as jspecial
import numpy as np
import pytest
from agreement import check_derivative

import pullback as pb
from pullback.scipy import special

SPECIAL = [
    "expit",
    "logit",
    "erf",
    "erfc",
    "erfinv",
    "ndtr",
    "ndtri",
    "log_ndtr",
    "gammaln",
    "digamma",
    "gamma",
    "entr",
    "i0",
    "i1",
    "i0e",
    "i1e",
    "gammasgn",
    "factorial",
]


def close(got, expected, tolerance=2e-5):
    np.testing.assert_allclose(
        np.asarray(got, np.float64), np.asarray(expected, np.float64), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions(name):
    fun, oracle = getattr(special, name), getattr(jspecial, name)
    x = np.float32([0.1, 0.25, 0.5, 0.75, 0.9])
    if name not in ("logit", "erfinv", "ndtri"):
        x = np.append(x, np.float32([-0.5, 1.5, 3, -2.5, 8]))
    close(fun(x), oracle(x), 1e-4)
    close(pb.jit(fun)(x), oracle(x), 1e-4)
    if name not in ("entr",):
        close(pb.vmap(pb.grad(fun))(x), jax.vmap(jax.grad(oracle))(x), 2e-4)
    assert fun(1).dtype == np.float32
    assert fun(np.float16(0.5)).dtype == np.float16


TWO = {
    "xlogy": (0, 1),
    "xlog1py": (0, 1),
    "betaln": (0, 1),
    "rel_entr": (0, 1),
    "kl_div": (0, 1),
    "gammainc": (1,),
    "gammaincc": (1,),
    "zeta": (1,),
    "beta": (0, 1),
    "poch": (0, 1),
}


@pytest.mark.parametrize("name", TWO)
def test_special_functions_of_two_arguments(name):
    fun, oracle = getattr(special, name), getattr(jspecial, name)
    x, y = (a.ravel() for a in np.meshgrid(np.float32([1.5, 2.5, 10]), np.float32([0.1, 0.5, 1.25, 3, 12])))
    close(fun(x, y), oracle(x, y), 1e-4)
    close(pb.jit(fun)(x, y), oracle(x, y), 1e-4)
    for i in TWO[name]:
        close(pb.vmap(pb.grad(fun, i))(x, y), jax.vmap(jax.grad(oracle, i))(x, y), 5e-4)


def test_polygamma_and_betainc():
    x = np.float32([0.5, 1, 2.5])
    for n in (0, 1, 2):
        close(special.polygamma(n, x), jspecial.polygamma(n, x), 1e-4)
    close(pb.vmap(pb.grad(lambda x: special.polygamma(1, x)))(x), jspecial.polygamma(2, x), 1e-4)
    u = np.float32([0.1, 0.4, 0.8])
    close(special.betainc(2.0, 0.5, u), jspecial.betainc(2.0, 0.5, u), 1e-5)
    check_derivative(lambda u: special.betainc(2.0, 0.5, u), u)


def test_products_with_logarithms_at_zero():
    assert float(special.xlogy(0.0, 0.0)) == 0
    assert float(special.xlog1py(0.0, -1.0)) == 0
    assert np.isnan(float(special.xlogy(0.0, np.nan)))
    assert float(special.entr(0.0)) == 0
    assert float(special.entr(-1.0)) == -np.inf
    close(pb.grad(special.xlogy)(0.0, 2.0), np.log(2))
    assert float(pb.grad(special.entr)(0.0)) == np.inf


def test_the_tail_of_the_normal_distribution_keeps_its_digits():
    with pb.enable_x64():
        from scipy import special as oracle

        x = np.array([-1e4, -300.0, -100, -21, -19, -5, -1, 0.5, 3, 9, 40])
        np.testing.assert_allclose(np.asarray(special.log_ndtr(x)), oracle.log_ndtr(x), rtol=1e-13)
        density = np.exp(-(x**2) / 2 - oracle.log_ndtr(x)) / np.sqrt(2 * np.pi)
        # the slope of log_ndtr is nearly -x far below 0, where the quotient above has lost its digits
        slope = np.where(x < -50, -x - 1 / x, density)
        np.testing.assert_allclose(np.asarray(pb.vmap(pb.grad(special.log_ndtr))(x)), slope, rtol=1e-6)
    assert abs(float(pb.grad(special.log_ndtr)(-100.0)) - 100.01) < 1e-3


def test_names_are_those_of_jax():
    for name in special.__all__:
        assert hasattr(jspecial, name), name
